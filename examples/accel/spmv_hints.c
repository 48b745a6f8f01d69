/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The product in managed memory by a program that knows its order: one queue fetches and maps the
 * blocks ahead, another one multiplies, and events keep them a few blocks apart.
 */

#include <stdlib.h>

#include <rte_common.h>

#include "spmv.h"

#define AHEAD		4	/* blocks */
#define PAGE_SIZE	4096

struct hints {
	struct accel_queue *fetcher;
	struct accel_queue *worker;
	struct accel_event fetched[AHEAD];
	struct accel_event done[AHEAD];
};

/* The pages of an array's part. */
static int
prefetch_part(struct accel_queue *queue, const void *part, size_t size)
{
	uintptr_t begin = (uintptr_t)part & ~(uintptr_t)(PAGE_SIZE - 1);

	return size == 0 ? 0 : accel_prefetch(queue, (void *)begin,
			(uintptr_t)part + size - begin);
}

static int
run_block(struct hints *h, struct spmv_block *b, unsigned int slot)
{
	if (accel_event_delay(&h->done[slot], h->fetcher) < 0 ||
			prefetch_part(h->fetcher, b->col, b->nb_entries * sizeof(*b->col)) < 0 ||
			prefetch_part(h->fetcher, b->val, b->nb_entries * sizeof(*b->val)) < 0 ||
			accel_event_record(&h->fetched[slot], h->fetcher) < 0 ||
			accel_event_delay(&h->fetched[slot], h->worker) < 0 ||
			accel_launch(h->worker, spmv_multiply, b) < 0)
		return -1;
	return accel_event_record(&h->done[slot], h->worker);
}

int
spmv_hints_run(struct machine *m, struct graph *graph, struct spmv *p)
{
	struct hints h = { .worker = m->queues[0], .fetcher = m->queues[1] };
	struct spmv_block *blocks;
	unsigned int i, k, nb, slot = 0;
	int ret;

	blocks = spmv_cut_all(&graph->own, p, 1, &nb);
	if (blocks == NULL)
		return -1;
	for (i = 0; i < nb; i++) {
		blocks[i].col = graph->shared.col + graph->own.ptr[blocks[i].row];
		blocks[i].val = graph->shared.val + graph->own.ptr[blocks[i].row];
	}
	ret = machine_start(m);
	for (k = 0; ret == 0 && k < m->out->setup.repeat; k++) {
		for (i = 0; ret == 0 && i < nb; i++)
			ret = run_block(&h, &blocks[i], slot++ % AHEAD);
	}
	/* The queues use the blocks and events until they have ended. */
	if (machine_finish(m) < 0)
		ret = -1;
	free(blocks);
	return ret;
}
