/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Two devices with spaces of one pool: each access of the first one fetches a page from a fast
 * pager; the second one always waits for a slow pager, or does nothing.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "mem_rig.h"
#include "mem_suite.h"
#include "progress.h"
#include "suite.h"

#define NB_PAGES	4096
#define SLOW_MS		20
/* The two cases alternate. */
#define TURN_PAGES	256

enum { ALONE, BESIDE, NB_CASES };

struct slow {
	struct mem_rig rig;
	atomic_bool ending;		/* the slow pager is fast */
	uint32_t next;			/* page of the second device */
	struct hist times[NB_CASES];	/* of the first device's accesses, in cycles */
};

static int
fill_slowly(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct slow *slow = ctx;

	RTE_SET_USED(offset);
	RTE_SET_USED(dst);
	RTE_SET_USED(len);
	if (!atomic_load(&slow->ending))
		usleep(SLOW_MS * 1000);
	return 0;
}

/* The second device always has accesses that wait. */
static int
keep_waiting(struct slow *slow)
{
	struct smmuv3_model_done done[MEM_MAX_DEPTH];
	struct mem_dev *dev = &slow->rig.devs[1];
	int ret = 0;

	smmuv3_model_dma_poll(dev->dma, done, RTE_DIM(done));
	while (ret == 0 && smmuv3_model_dma_outstanding(dev->dma) < MEM_MAX_DEPTH)
		ret = mem_access_start(dev, slow->next++ % NB_PAGES);
	return ret;
}

static void
end_waiting(struct slow *slow)
{
	struct smmuv3_model_done done[MEM_MAX_DEPTH];
	struct mem_dev *dev = &slow->rig.devs[1];

	/* What has begun takes its time. */
	atomic_store(&slow->ending, true);
	while (smmuv3_model_dma_outstanding(dev->dma) != 0) {
		mem_turn(&slow->rig);
		smmuv3_model_dma_poll(dev->dma, done, RTE_DIM(done));
	}
	atomic_store(&slow->ending, false);
}

static int
access_pages(struct slow *slow, unsigned int c, uint32_t first)
{
	uint64_t begin;
	uint32_t i;
	int ret = 0;

	for (i = first; ret == 0 && i < first + TURN_PAGES; i++) {
		if (c == BESIDE)
			ret = keep_waiting(slow);
		begin = rte_rdtsc();
		if (ret == 0)
			ret = interrupt_is_asked() ? -EINTR :
					mem_access(&slow->rig.devs[0], i);
		if (ret == 0)
			hist_add(&slow->times[c], rte_rdtsc() - begin);
	}
	if (c == BESIDE && ret == 0)
		end_waiting(slow);
	return ret;
}

static int
open_rig(struct slow *slow)
{
	const struct mmem_pager pager = { .fill = fill_slowly, .ctx = slow,
		.fetch_size = BENCH_PAGE_SIZE };
	int ret;

	ret = mem_rig_open(&slow->rig, &(struct mem_rig_conf){ .nb_pages = 2 * NB_PAGES });
	if (ret == 0)
		ret = mem_rig_add(&slow->rig, &(struct mem_dev_conf){ .nb_pages = NB_PAGES,
				.window = 1, .pager = &mem_zero_pager });
	if (ret == 0)
		ret = mem_rig_add(&slow->rig, &(struct mem_dev_conf){ .nb_pages = NB_PAGES,
				.window = 1, .pager = &pager });
	return ret;
}

int
mem_suite_slow(struct suite *suite)
{
	/* Histograms are large. */
	struct slow *slow = calloc(1, sizeof(*slow));
	double us[NB_CASES];
	unsigned int c;
	uint32_t i;
	int ret;

	if (slow == NULL) {
		bench_error("no memory for histograms");
		return -ENOMEM;
	}
	ret = open_rig(slow);
	for (i = 0; ret == 0 && i < NB_PAGES; i += TURN_PAGES)
		ret = access_pages(slow, i / TURN_PAGES % NB_CASES, i);
	for (c = 0; ret == 0 && c < NB_CASES; c++) {
		us[c] = hist_get_percentile(&slow->times[c], 0.5) / suite->cycles_per_ns / 1000;
		suite_put(suite, us[c], "slow.neighbour.p50_us_%s",
				c == ALONE ? "alone" : "beside");
	}
	if (ret == 0)
		suite_put(suite, us[BESIDE] / us[ALONE], "slow_pager_neighbour_over_alone");
	ret = mem_rig_close(&slow->rig, ret);
	free(slow);
	return ret;
}
