/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>

#include <rte_common.h>

#include "graph.h"

/* An empty array still needs an address. */
static size_t
get_col_size(const struct graph *graph)
{
	return RTE_MAX(graph->mtx.nb_entries, UINT64_C(1)) * sizeof(uint32_t);
}

static size_t
get_val_size(const struct graph *graph)
{
	return RTE_MAX(graph->mtx.nb_entries, UINT64_C(1)) * sizeof(int64_t);
}

static size_t
get_ptr_size(const struct graph *graph)
{
	return (graph->mtx.rows + UINT64_C(1)) * sizeof(uint64_t);
}

int
graph_open(struct graph *graph, const char *path, bool values)
{
	char err[512];

	if (mtx_read(path, &graph->mtx, err, sizeof(err)) < 0)
		return accel_fail("%s", err);
	graph->own.ptr = malloc(get_ptr_size(graph));
	graph->own.col = malloc(get_col_size(graph));
	graph->own.val = values ? malloc(get_val_size(graph)) : NULL;
	if (graph->own.ptr == NULL || graph->own.col == NULL ||
			(values && graph->own.val == NULL))
		return accel_fail("%s: out of memory for its arrays; give a smaller file", path);
	csr_fill(&graph->own, &graph->mtx);
	return 0;
}

void
graph_close(struct graph *graph)
{
	free(graph->own.ptr);
	free(graph->own.col);
	free(graph->own.val);
	mtx_free(&graph->mtx);
}

size_t
graph_get_shared_size(const struct graph *graph)
{
	return get_ptr_size(graph) + get_col_size(graph) +
			(graph->own.val != NULL ? get_val_size(graph) : 0);
}

int
graph_share(struct graph *graph, struct machine *m)
{
	struct csr *shared = &graph->shared;

	shared->ptr = accel_malloc_managed(m->accel, get_ptr_size(graph), MMEM_READ);
	if (shared->ptr == NULL)
		return -1;
	shared->col = accel_malloc_managed(m->accel, get_col_size(graph), MMEM_READ);
	if (shared->col == NULL)
		return -1;
	if (graph->own.val != NULL) {
		shared->val = accel_malloc_managed(m->accel, get_val_size(graph), MMEM_READ);
		if (shared->val == NULL)
			return -1;
	}
	csr_fill(shared, &graph->mtx);
	if (machine_prefetch(m, shared->ptr, get_ptr_size(graph)) < 0 ||
			machine_prefetch(m, shared->col, get_col_size(graph)) < 0)
		return -1;
	return shared->val == NULL ? 0 : machine_prefetch(m, shared->val, get_val_size(graph));
}
