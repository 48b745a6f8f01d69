/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The product with explicit copies, as a program makes it that has no managed memory. */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "spmv.h"

#define ENTRY_SIZE	(sizeof(uint32_t) + sizeof(int64_t))

/* Buffers: those of the blocks that stay come first. */
struct spmv_store {
	FILE *file;			/* all columns, then all values */
	struct spmv_block *blocks;
	unsigned int nb_blocks;
	unsigned int nb_kept;
	unsigned int nb_buffers;
	uint32_t *col;			/* SPMV_BLOCK_ENTRIES for each buffer */
	int64_t *val;
	struct accel_event *done;	/* for each buffer: its kernel has ended */
};

static int
write_store(struct spmv_store *store, const struct csr *csr)
{
	store->file = tmpfile();
	if (store->file == NULL)
		return accel_fail("cannot make a temporary file: %s", strerror(errno));
	if (fwrite(csr->col, sizeof(*csr->col), csr->nb_entries, store->file) != csr->nb_entries ||
			fwrite(csr->val, sizeof(*csr->val), csr->nb_entries, store->file) !=
			csr->nb_entries || fflush(store->file) != 0)
		return accel_fail("cannot write a temporary file: %s", strerror(errno));
	return 0;
}

/* A buffer has room for the largest block. */
static int
cut_blocks(struct spmv_store *store, const struct csr *csr, struct spmv *p,
		unsigned int nb_queues)
{
	const struct spmv_block *b;

	store->blocks = spmv_cut_all(csr, p, nb_queues, &store->nb_blocks);
	if (store->blocks == NULL)
		return -1;
	for (b = store->blocks; b < store->blocks + store->nb_blocks; b++) {
		if (b->nb_entries > SPMV_BLOCK_ENTRIES)
			return accel_fail("row %" PRIu32 " has %" PRIu64 " entries, too many for "
					"--copies", b->row + 1, b->nb_entries);
	}
	return 0;
}

/* The budget is that of all managed memory. */
static int
share_budget(struct machine *m, struct graph *graph, struct spmv_store *store)
{
	size_t used = graph_get_shared_size(graph) - graph->mtx.nb_entries * ENTRY_SIZE +
			(graph->mtx.cols + (size_t)graph->mtx.rows) * sizeof(int64_t);
	size_t budget = m->out->setup.budget, least = 2 * m->nb_queues;

	store->nb_buffers = store->nb_blocks;
	if (budget != 0)
		store->nb_buffers = RTE_MIN((budget - RTE_MIN(budget, used)) /
				(SPMV_BLOCK_ENTRIES * ENTRY_SIZE), (size_t)store->nb_blocks);
	if (store->nb_buffers < RTE_MIN(least, (size_t)store->nb_blocks))
		return accel_fail("a budget of %zu bytes has no room for the vectors, with %zu "
				"bytes, and two buffers for each queue", budget, used);
	store->nb_kept = store->nb_buffers == store->nb_blocks ? store->nb_blocks :
			store->nb_buffers - least;
	return 0;
}

int
spmv_copies_open(struct machine *m, struct graph *graph, struct spmv *p)
{
	struct spmv_store *store = calloc(1, sizeof(*store));
	struct csr *shared = &graph->shared;
	size_t ptr_size = (graph->mtx.rows + UINT64_C(1)) * sizeof(*shared->ptr);
	size_t entries;

	p->store = store;
	if (store == NULL)
		return accel_fail("out of memory");
	if (write_store(store, &graph->own) < 0 ||
			cut_blocks(store, &graph->own, p, m->nb_queues) < 0 ||
			share_budget(m, graph, store) < 0)
		return -1;
	store->done = calloc(store->nb_buffers + 1, sizeof(*store->done));
	if (store->done == NULL)
		return accel_fail("out of memory");
	entries = RTE_MAX(store->nb_buffers, 1U) * SPMV_BLOCK_ENTRIES;
	shared->ptr = accel_malloc_managed(m->accel, ptr_size, MMEM_READ);
	store->col = accel_malloc_managed(m->accel, entries * sizeof(*store->col), MMEM_READ);
	store->val = accel_malloc_managed(m->accel, entries * sizeof(*store->val), MMEM_READ);
	if (shared->ptr == NULL || store->col == NULL || store->val == NULL)
		return -1;
	memcpy(shared->ptr, graph->own.ptr, ptr_size);
	/* Pinned: there is no budget, and nothing is evicted. */
	m->out->setup.prefetch = true;
	if (machine_prefetch(m, shared->ptr, ptr_size) < 0 ||
			machine_prefetch(m, store->col, entries * sizeof(*store->col)) < 0)
		return -1;
	return machine_prefetch(m, store->val, entries * sizeof(*store->val));
}

static int
read_all(struct spmv_store *store, void *dst, size_t size, uint64_t offset)
{
	ssize_t n;

	while (size > 0) {
		n = pread(fileno(store->file), dst, size, offset);
		if (n <= 0)
			return accel_fail("cannot read a temporary file: %s",
					n < 0 ? strerror(errno) : "it has become shorter");
		dst = (char *)dst + n;
		size -= n;
		offset += n;
	}
	return 0;
}

/* Copy a block into a buffer whose kernel has ended. */
static int
copy_block(struct spmv_store *store, const struct csr *csr, struct spmv_block *b,
		unsigned int buffer)
{
	uint32_t *col = store->col + buffer * SPMV_BLOCK_ENTRIES;
	int64_t *val = store->val + buffer * SPMV_BLOCK_ENTRIES;
	uint64_t first = csr->ptr[b->row];

	b->col = col;
	b->val = val;
	if (read_all(store, col, b->nb_entries * sizeof(*col), first * sizeof(*col)) < 0)
		return -1;
	return read_all(store, val, b->nb_entries * sizeof(*val),
			csr->nb_entries * sizeof(*col) + first * sizeof(*val));
}

static int
run_pass(struct machine *m, const struct graph *graph, struct spmv_store *store, bool first)
{
	unsigned int i, buffer, nb_turns = store->nb_buffers - store->nb_kept;
	struct accel_queue *queue;

	for (i = 0; i < store->nb_blocks; i++) {
		queue = m->queues[store->blocks[i].queue];
		buffer = i < store->nb_kept ? i :
				store->nb_kept + (i - store->nb_kept) % nb_turns;
		if (i >= store->nb_kept && accel_event_wait(&store->done[buffer]) < 0)
			return -1;
		if ((i >= store->nb_kept || first) &&
				copy_block(store, &graph->own, &store->blocks[i], buffer) < 0)
			return -1;
		if (accel_launch(queue, spmv_multiply, &store->blocks[i]) < 0 ||
				accel_event_record(&store->done[buffer], queue) < 0)
			return -1;
	}
	return 0;
}

int
spmv_copies_run(struct machine *m, struct graph *graph, struct spmv *p)
{
	unsigned int k;
	int ret = machine_start(m);

	for (k = 0; ret == 0 && k < m->out->setup.repeat; k++)
		ret = run_pass(m, graph, p->store, k == 0);
	/* The kernels use the blocks until they have ended. */
	return machine_finish(m) < 0 ? -1 : ret;
}

void
spmv_copies_free(struct spmv_store *store)
{
	if (store == NULL)
		return;
	if (store->file != NULL)
		fclose(store->file);
	free(store->blocks);
	free(store->done);
	free(store);
}
