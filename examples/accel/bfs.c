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

#include "graph.h"

#define UNREACHED	UINT32_MAX
#define BATCH		256	/* vertices whose rows are read together */
#define ROOM		16384	/* neighbours read together */

struct row {
	uint64_t begin;
	uint64_t end;
};

/* The device's local memory. */
struct search {
	struct accel *accel;
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

	if (accel_wait(s->accel, NULL) < 0)
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
		if (accel_read(s->accel, &s->rows[i], &s->csr->ptr[vertices[i]],
				sizeof(s->rows[i]), NULL) < 0)
			return -1;
	}
	if (accel_wait(s->accel, NULL) < 0)
		return -1;
	for (i = 0; i < n; i++) {
		row = &s->rows[i];
		if (row->begin > row->end || row->end > s->csr->nb_entries)
			return accel_fail("the device read row %" PRIu64 " to %" PRIu64
					": its data is damaged", row->begin, row->end);
		while (row->begin < row->end) {
			take = RTE_MIN(row->end - row->begin, (uint64_t)(ROOM - used));
			if (accel_read(s->accel, &s->neighbours[used], &s->csr->col[row->begin],
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

static int
search_on_device(struct search *s, uint32_t *result)
{
	uint32_t begin, end, n;

	s->depths[0] = 0;
	s->frontier[0] = 0;
	s->nb_met = 1;
	for (begin = 0; begin < s->nb_met; s->depth++) {
		end = s->nb_met;
		for (; begin < end; begin += n) {
			n = RTE_MIN(end - begin, (uint32_t)BATCH);
			if (expand_batch(s, s->frontier + begin, n) < 0)
				return -1;
		}
	}
	return accel_store(s->accel, result, s->depths, s->csr->rows * sizeof(*result));
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
run_device(struct search *s, struct graph *graph, struct outcome *out)
{
	uint32_t n = graph->mtx.rows;
	uint32_t *result;

	s->accel = accel_open(graph_get_shared_size(graph) + n * sizeof(*result), out->pri);
	if (s->accel == NULL || graph_share(graph, s->accel) < 0)
		return -1;
	result = accel_alloc(s->accel, n * sizeof(*result), MMEM_WRITE);
	if (result == NULL)
		return -1;
	s->csr = &graph->shared;
	if (search_on_device(s, result) < 0)
		return -1;
	put_result(out->device, result, n);
	accel_get_figures(s->accel, &out->figures);
	return 0;
}

int
kernel_bfs(const char *path, struct outcome *out)
{
	struct graph graph = { 0 };
	struct search *s = calloc(1, sizeof(*s));
	size_t size;
	int ret = -1;

	if (s == NULL)
		return accel_fail("out of memory");
	if (graph_open(&graph, path, false) < 0)
		goto out;
	if (graph.mtx.rows != graph.mtx.cols) {
		accel_fail("%s: bfs needs a square matrix, and this one is %" PRIu32 " x %" PRIu32
				"; give a graph", path, graph.mtx.rows, graph.mtx.cols);
		goto out;
	}
	size = graph.mtx.rows * sizeof(uint32_t);
	s->depths = malloc(size);
	s->frontier = malloc(size);
	if (s->depths == NULL || s->frontier == NULL) {
		accel_fail("%s: out of memory for its vertices; give a smaller file", path);
		goto out;
	}
	memset(s->depths, 0xff, size);
	ret = run_device(s, &graph, out);
	accel_close(s->accel);
	if (ret < 0)
		goto out;
	memset(s->depths, 0xff, size);
	search_on_cpu(&graph.own, s->depths, s->frontier);
	put_result(out->cpu, s->depths, graph.mtx.rows);
out:
	graph_close(&graph);
	free(s->depths);
	free(s->frontier);
	free(s);
	return ret;
}
