/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A bare loop over the event queue. For each event it writes one descriptor into an existing leaf
 * table and one RESUME; for each burst it stores CONS and PROD once. It looks up no domain, keeps
 * no state, counts nothing and prefetches nothing. The driver prefetches the next entry and PROD,
 * so that it can be faster where cache lines take long between the cores.
 */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_pause.h>

#include "baseline_smmu.h"

#define TABLE_ENTRIES	(BENCH_PAGE_SIZE / sizeof(uint64_t))
#define DESC_TABLE	UINT64_C(3)
/* Page, AF, inner shareable, read and write for all, not global, not executable. */
#define DESC_PAGE	(UINT64_C(3) | UINT64_C(1) << 6 | UINT64_C(3) << 8 | UINT64_C(1) << 10 | \
			UINT64_C(1) << 11 | UINT64_C(3) << 53)

struct null {
	struct baseline_smmu smmu;
	uint64_t *leaf;		/* the last level of the whole region */
	uint32_t pages;
	bool zero;		/* each page */
	uint32_t strange;	/* events that are no stall of the region */
	pthread_t thread;
	atomic_bool stop;
	int cpu;
};

static uint64_t *
null_make_tables(struct null *null)
{
	size_t nb_leaf = (null->pages + TABLE_ENTRIES - 1) / TABLE_ENTRIES, i;
	uint64_t *level[3];

	for (i = 0; i < 3; i++) {
		level[i] = baseline_smmu_alloc(&null->smmu, BENCH_PAGE_SIZE);
		if (level[i] == NULL)
			return NULL;
	}
	for (i = 0; i < nb_leaf; i++) {
		uint64_t *table = baseline_smmu_alloc(&null->smmu, BENCH_PAGE_SIZE);

		if (table == NULL)
			return NULL;
		if (i == 0)
			null->leaf = table;
		level[2][i] = (uintptr_t)table | DESC_TABLE;
	}
	level[0][BASELINE_VA >> 39 & (TABLE_ENTRIES - 1)] = (uintptr_t)level[1] | DESC_TABLE;
	level[1][BASELINE_VA >> 30 & (TABLE_ENTRIES - 1)] = (uintptr_t)level[2] | DESC_TABLE;
	return level[0];
}

static int
null_setup(struct mode *mode, const struct bench_conf *conf)
{
	struct null *null = calloc(1, sizeof(*null));
	uint64_t *root;
	int ret;

	if (null == NULL)
		return -ENOMEM;
	mode->priv = null;
	null->cpu = conf->cpu_servicer;
	null->pages = conf->faults;
	null->zero = conf->zero_inline;
	ret = baseline_smmu_create(&null->smmu, "iopf-bench-null", conf,
			(size_t)null->pages * sizeof(uint64_t) + 8 * BENCH_PAGE_SIZE);
	if (ret < 0)
		return ret;
	root = null_make_tables(null);
	if (root == NULL)
		return -ENOMEM;
	mode->model = null->smmu.model;
	mode->va = BASELINE_VA;
	mode->mem = null->smmu.mem;
	return baseline_smmu_start(&null->smmu, (uintptr_t)root, -1);
}

static inline void
null_handle_event(struct null *null, const struct smmuv3_evt *evt)
{
	struct baseline_smmu *smmu = &null->smmu;
	uint64_t page = (evt->dw[2] - BASELINE_VA) / BENCH_PAGE_SIZE;

	if (page >= null->pages) {
		null->strange++;
		return;
	}
	if (null->zero)
		memset(smmu->mem + page * BENCH_PAGE_SIZE, 0, BENCH_PAGE_SIZE);
	smmuv3_set_dw(&null->leaf[page],
			((uintptr_t)smmu->mem + page * BENCH_PAGE_SIZE) | DESC_PAGE);
	baseline_smmu_put_command(smmu, smmuv3_cmd_resume(SMMUV3_GET(SMMUV3_EVT0_SID, evt->dw[0]),
			SMMUV3_GET(SMMUV3_EVT1_STAG, evt->dw[1]), true, false));
}

/* Serve one burst. Returns the number of its events. */
static uint32_t
null_poll_evtq(struct null *null)
{
	struct baseline_smmu *smmu = &null->smmu;
	uint32_t prod, i, n;

	prod = baseline_smmu_load_prod(smmu);
	n = smmuv3_q_count(smmu->evtq_log2, prod, smmu->evtq_cons);
	if (n == 0)
		return 0;
	if (n > BENCH_BURST)
		n = BENCH_BURST;
	for (i = 0; i < n; i++)
		null_handle_event(null, &smmu->evtq[smmuv3_q_slot(smmu->evtq_log2,
				smmu->evtq_cons + i)]);
	smmu->evtq_cons = smmuv3_q_add(smmu->evtq_log2, smmu->evtq_cons, n);
	smmuv3_store_cons(smmu->regs, SMMUV3_EVENTQ_CONS, smmu->evtq_cons);
	baseline_smmu_publish_prod(smmu);
	return n;
}

static void *
null_run_servicer(void *arg)
{
	struct mode *mode = arg;
	struct null *null = mode->priv;
	uint32_t n;

	bench_pin_thread("null", null->cpu);
	while (!atomic_load_explicit(&null->stop, memory_order_relaxed)) {
		n = null_poll_evtq(null);
		cpu_count_pass(&mode->use, n);
		if (n == 0)
			rte_pause();
	}
	return NULL;
}

static uint64_t
null_drain_queue(struct mode *mode, unsigned int n)
{
	unsigned int done = 0;

	while (done < n)
		done += null_poll_evtq(mode->priv);
	return smmuv3_model_cycles();
}

static void
null_look(struct mode *mode)
{
	null_poll_evtq(mode->priv);
}

static int
null_start(struct mode *mode)
{
	struct null *null = mode->priv;
	int ret;

	atomic_store(&null->stop, false);
	ret = pthread_create(&null->thread, NULL, null_run_servicer, mode);
	if (ret != 0) {
		bench_error("null: cannot create a thread: %s", strerror(ret));
		return -ret;
	}
	cpu_set_poll_thread(&mode->use, null->thread);
	return 0;
}

static void
null_stop(struct mode *mode)
{
	struct null *null = mode->priv;

	atomic_store(&null->stop, true);
	pthread_join(null->thread, NULL);
}

static int
null_unmap_pages(struct mode *mode)
{
	struct null *null = mode->priv;
	uint32_t i;

	for (i = 0; i < null->pages; i++)
		smmuv3_set_dw(&null->leaf[i], 0);
	return baseline_smmu_flush(&null->smmu);
}

static bool
null_check_counts(struct mode *mode)
{
	struct null *null = mode->priv;

	if (null->strange != 0)
		bench_error("null: %u events were not stalls of the region", null->strange);
	return baseline_smmu_check(&null->smmu) && null->strange == 0;
}

static void
null_teardown(struct mode *mode)
{
	struct null *null = mode->priv;

	if (null == NULL)
		return;
	baseline_smmu_destroy(&null->smmu);
	free(null);
	mode->priv = NULL;
}

const struct mode_ops mode_null = {
	.name = "null",
	.what = "an echo of each event, nothing else, without prefetches",
	.setup = null_setup,
	.start = null_start,
	.stop = null_stop,
	.drain = null_drain_queue,
	.look = null_look,
	.unmap = null_unmap_pages,
	.check = null_check_counts,
	.teardown = null_teardown,
};
