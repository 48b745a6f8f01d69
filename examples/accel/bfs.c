/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Breadth-first search from vertex 1 along the edges row -> column. The device keeps depths and
 * frontier in its local memory and reads the graph by DMA, with many small reads at addresses that
 * depend on the frontier.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "accel_device.h"
#include "graph.h"

#define UNREACHED	UINT32_MAX
#define BATCH		256	/* vertices whose rows are read together */
#define ROOM		16384	/* neighbours read together */

struct row {
	uint64_t begin;
	uint64_t end;
};

struct search_args {
	const struct csr *csr;
	uint32_t *result;	/* depths */
};

/* The device's local memory. */
struct search {
	struct accel_queue *queue;
	const struct csr *csr;
	uint32_t depth;
	uint32_t *depths;
	uint32_t *frontier;	/* the vertices of all levels, in the order of their discovery */
	uint32_t nb_met;
	struct row rows[BATCH];
	uint32_t neighbours[ROOM];
};

static int
visit_neighbours(struct search *s, uint32_t n)
{
	uint32_t i, vertex;

	if (accel_req_wait(s->queue, NULL) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		vertex = s->neighbours[i];
		if (vertex >= s->csr->rows)
			return accel_fail("the device read vertex %" PRIu32 " of %" PRIu32
					": its data is damaged", vertex, s->csr->rows);
		if (s->depths[vertex] != UNREACHED)
			continue;
		s->depths[vertex] = s->depth + 1;
		s->frontier[s->nb_met++] = vertex;
	}
	return 0;
}

static int
expand_batch(struct search *s, const uint32_t *vertices, uint32_t n)
{
	uint32_t i, take, used = 0;
	struct row *row;

	for (i = 0; i < n; i++) {
		if (accel_read(s->queue, &s->rows[i], &s->csr->ptr[vertices[i]],
				sizeof(s->rows[i]), NULL) < 0)
			return -1;
	}
	if (accel_req_wait(s->queue, NULL) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		row = &s->rows[i];
		if (row->begin > row->end || row->end > s->csr->nb_entries)
			return accel_fail("the device read row %" PRIu64 " to %" PRIu64
					": its data is damaged", row->begin, row->end);
		while (row->begin < row->end) {
			take = RTE_MIN(row->end - row->begin, (uint64_t)(ROOM - used));
			if (accel_read(s->queue, &s->neighbours[used], &s->csr->col[row->begin],
					take * sizeof(uint32_t), NULL) < 0)
				return -1;
			row->begin += take;
			used += take;
			if (used == ROOM) {
				if (visit_neighbours(s, used) < 0)
					return -1;
				used = 0;
			}
		}
	}
	return visit_neighbours(s, used);
}

/* On the device. */
static int
search_graph(struct accel_queue *queue, void *args)
{
	const struct search_args *a = args;
	size_t size = a->csr->rows * sizeof(uint32_t);
	struct search *s = accel_local(queue, sizeof(*s));
	uint32_t begin, end, n;

	if (s == NULL)
		return -1;
	s->queue = queue;
	s->csr = a->csr;
	s->depths = accel_local(queue, size);
	s->frontier = accel_local(queue, size);
	if (s->depths == NULL || s->frontier == NULL)
		return -1;
	memset(s->depths, 0xff, size);
	s->depths[0] = 0;
	s->nb_met = 1;
	for (begin = 0; begin < s->nb_met; s->depth++) {
		end = s->nb_met;
		for (; begin < end; begin += n) {
			n = RTE_MIN(end - begin, (uint32_t)BATCH);
			if (expand_batch(s, s->frontier + begin, n) < 0)
				return -1;
		}
	}
	return accel_store(queue, a->result, s->depths, size);
}

static void
search_on_cpu(const struct csr *csr, uint32_t *depths, uint32_t *queue)
{
	uint32_t head, tail = 1;
	uint64_t i;

	depths[0] = 0;
	queue[0] = 0;
	for (head = 0; head < tail; head++) {
		for (i = csr->ptr[queue[head]]; i < csr->ptr[queue[head] + 1]; i++) {
			if (depths[csr->col[i]] != UNREACHED)
				continue;
			depths[csr->col[i]] = depths[queue[head]] + 1;
			queue[tail++] = csr->col[i];
		}
	}
}

static void
put_result(char *text, const uint32_t *depths, uint32_t n)
{
	uint64_t sum = 0;
	uint32_t i, reached = 0;

	for (i = 0; i < n; i++) {
		if (depths[i] == UNREACHED)
			continue;
		reached++;
		sum += depths[i];
	}
	snprintf(text, RESULT_LEN, "%" PRIu32 " of %" PRIu32 " vertices reached, sum of depths %"
			PRIu64, reached, n, sum);
}

static int
run_device(struct machine *m, struct graph *graph, struct outcome *out)
{
	size_t size = graph->mtx.rows * sizeof(uint32_t);
	struct search_args args = { .csr = &graph->shared };
	unsigned int i;

	if (machine_open(m, out, graph_get_shared_size(graph) + size) < 0 ||
			graph_share(graph, m) < 0)
		return -1;
	args.result = accel_malloc_managed(m->accel, size, MMEM_WRITE);
	if (args.result == NULL || machine_prefetch(m, args.result, size) < 0 ||
			machine_start(m) < 0)
		return -1;
	/* A level needs those before it: one queue. */
	for (i = 0; i < out->setup.repeat; i++) {
		if (accel_launch(m->queues[0], search_graph, &args) < 0)
			break;
	}
	if (machine_finish(m) < 0)
		return -1;
	put_result(out->device, args.result, graph->mtx.rows);
	return 0;
}

static int
run_cpu(const struct graph *graph, struct outcome *out)
{
	size_t size = graph->mtx.rows * sizeof(uint32_t);
	uint32_t *depths = malloc(size), *queue = malloc(size);
	int ret = 0;

	if (depths == NULL || queue == NULL) {
		ret = accel_fail("out of memory for the vertices; give a smaller file");
	} else {
		memset(depths, 0xff, size);
		search_on_cpu(&graph->own, depths, queue);
		put_result(out->cpu, depths, graph->mtx.rows);
	}
	free(depths);
	free(queue);
	return ret;
}

int
kernel_bfs(const char *path, struct outcome *out)
{
	struct graph graph = { 0 };
	struct machine m = { 0 };
	int ret = -1;

	if (graph_open(&graph, path, false) < 0)
		goto out;
	if (graph.mtx.rows != graph.mtx.cols) {
		accel_fail("%s: bfs needs a square matrix, and this one is %" PRIu32 " x %" PRIu32
				"; give a graph", path, graph.mtx.rows, graph.mtx.cols);
		goto out;
	}
	ret = run_device(&m, &graph, out);
	machine_close(&m);
	if (ret == 0)
		ret = run_cpu(&graph, out);
out:
	graph_close(&graph);
	return ret;
}
