/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests with concurrent disturbances: handlers answer, defer, take, refuse or fail at
 * random, a thread answers taken groups, pages are unmapped, devices are detached, the IOMMU stops
 * and starts, with a power cycle in between, ATCs do not answer and their endpoints are reset, the
 * request queue overflows and has errors, the poll thread sleeps. The model is harsh, and an
 * unmapped frame is free for a moment before it can be mapped again. Every group is answered once,
 * by the library or by the SMMU.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_ring.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_pgtable.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "soak.h"
#include "test.h"

#define DEPTH 16
#define SLEEP_ONE_IN 200	/* passes that found nothing */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define REQUESTS 20000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define REQUESTS 20000
#endif
#endif
#ifndef REQUESTS
#define REQUESTS 200000
#endif

#define NB_FNS 4

static struct {
	struct pcie r;
	struct pcie_fn fn[NB_FNS];
	struct pcie_space space[NB_FNS];
	struct iopf_domain *domain[NB_FNS];
	struct rte_ring *taken;
	struct iopf_worker *worker;
	unsigned int seed;		/* of the test thread */
	unsigned int handler_seed;
	_Atomic bool stop;
	_Atomic bool gentle;		/* the handler maps and answers each group at once */
	_Atomic uint64_t late, stale;
	struct soak_poller poller;
	uint64_t ok, aborted, failed, restarts;
	unsigned int cycles, cuts;
} c;

static unsigned int
pick(unsigned int n)
{
	return (unsigned int)rand_r(&c.seed) % n;
}

static void
map_group(const struct pcie_space *s, const struct iopf_group *group)
{
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		uint64_t off = group->faults[i]->addr - PCIE_VA;
		int rc = pgt_resolve(s->pgt, PCIE_VA + off, (uintptr_t)s->data + off,
				PGT_READ | PGT_WRITE);

		assert_true(rc == 0 || rc == -EALREADY || rc == -ECANCELED);
	}
}

static enum iopf_verdict
handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	unsigned int what = (unsigned int)rand_r(&c.handler_seed) % 1000;

	RTE_SET_USED(domain);
	if (atomic_load_explicit(&c.gentle, memory_order_relaxed))
		what = 0;
	if (what < 800)
		map_group(ctx, group);
	if (what < 500 || (what >= 800 && what < 900))
		return IOPF_ANSWER(IOPF_SUCCESS);
	if (what < 700 || what >= 950)
		return what == 999 ? IOPF_ANSWER(IOPF_FAILURE) : IOPF_DEFER;
	if (what >= 900)
		return IOPF_ANSWER(IOPF_INVALID);
	if (what < 710) {
		int rc = iopf_group_respond(group->id, IOPF_SUCCESS);

		/* A detach may have answered the group. */
		assert_true(rc == 0 || rc == -ESTALE);
	} else if (rte_ring_enqueue(c.taken, (void *)(uintptr_t)group->id) != 0) {
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	return IOPF_TAKEN;
}

static enum iopf_verdict
deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	map_group(ctx, group);
	if (group->id % 64 == 0)
		usleep(100);
	return IOPF_ANSWER(group->id % 7 == 0 ? IOPF_INVALID : IOPF_SUCCESS);
}

static void
lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	map_group(ctx, group);
}

static void *
respond_thread(void *arg)
{
	unsigned int seed = 5;
	void *id;

	RTE_SET_USED(arg);
	while (!atomic_load_explicit(&c.stop, memory_order_relaxed)) {
		int rc;

		if (rte_ring_dequeue(c.taken, &id) != 0) {
			sched_yield();
			continue;
		}
		if (rand_r(&seed) % 64 == 0)
			usleep(50);
		rc = iopf_group_respond((uintptr_t)id, rand_r(&seed) % 8 == 0 ? IOPF_INVALID :
				IOPF_SUCCESS);
		/* A detach or a stop may have answered the group. A second answer is stale. */
		assert_true(rc == 0 || rc == -ESTALE);
		atomic_fetch_add_explicit(rc == 0 ? &c.late : &c.stale, 1, memory_order_relaxed);
		assert_int_equal(iopf_group_respond((uintptr_t)id, IOPF_SUCCESS), -ESTALE);
	}
	return NULL;
}

/* Unmap some pages. Returns false if an ATC did not answer. */
static bool
unmap_pages(unsigned int i)
{
	struct pgt_unmapped out;
	bool answered = true;
	struct pgt_inv inv[4];
	struct iopf_inv iinv[4];
	unsigned int page = pick(PCIE_PAGES), n = 1 + pick(PCIE_PAGES - page);
	uintptr_t frames = (uintptr_t)c.space[i].data + (size_t)page * PCIE_PAGE;
	size_t len = (size_t)n * PCIE_PAGE;

	pgt_unmapped_init(&out, inv, RTE_DIM(inv));
	assert_int_equal(pgt_unmap(c.space[i].pgt, PCIE_VA + page * PCIE_PAGE,
			(uint64_t)n * PCIE_PAGE, PGT_CLOSE, &out), 0);
	for (unsigned int k = 0; k < out.nb_inv; k++)
		iinv[k] = iopf_inv_from_pgt(&inv[k]);
	if (out.nb_inv != 0) {
		int rc = iopf_invalidate(c.domain[i], iinv, out.nb_inv, NULL);

		answered = rc == 0;
		assert_true(rc == 0 || rc == -EIO);
		/* The driver has cut the endpoint off, so the next invalidation succeeds. */
		if (rc < 0)
			assert_int_equal(iopf_invalidate(c.domain[i], iinv, out.nb_inv, NULL), 0);
	}
	/*
	 * No access can reach the frames, and the range is closed, so that no page of it can be
	 * mapped.
	 */
	assert_int_equal(smmuv3_model_frame_free(c.r.m, frames, len), 0);
	usleep(pick(20));
	assert_int_equal(smmuv3_model_frame_give(c.r.m, frames, len, i + 1), 0);
	assert_int_equal(pgt_open(c.space[i].pgt, PCIE_VA + page * PCIE_PAGE,
			(uint64_t)n * PCIE_PAGE), 0);
	return answered;
}

/*
 * The driver cuts off an endpoint whose ATC does not answer. The endpoint is reset, detached and
 * attached again.
 */
static void
kill_atc(unsigned int i)
{
	bool answered = true;

	smmuv3_model_dma_quirks(c.fn[i].dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	/* Only an unmap of mapped pages invalidates the ATC. */
	for (unsigned int k = 0; k < 8 && answered; k++)
		answered = unmap_pages(i);
	c.cuts += !answered;
	if (!answered)
		assert_int_equal(iopf_dev_pri_restart(c.fn[i].dev), -EIO);
	pcie_reset_fn(&c.r, &c.fn[i]);
	smmuv3_model_dma_quirks(c.fn[i].dma[0], 0, 0);
	assert_int_equal(iopf_domain_detach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_attach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID), 0);
}

static void
cycle_power(void)
{
	soak_power_cycle(&c.poller, c.r.m);
	c.cycles++;
}

static void
disturb_devices(void)
{
	unsigned int i = pick(NB_FNS), what = pick(100);

	if (what < 60) {
		assert_int_equal(iopf_domain_detach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID), 0);
		assert_int_equal(iopf_domain_attach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID), 0);
	} else if (what < 72) {
		smmuv3_model_knob(c.r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	} else if (what < 82) {
		kill_atc(i);
	} else if (what < 92) {
		cycle_power();
	} else {
		assert_int_equal(iopf_iommu_stop(c.r.iommu), 0);
		assert_int_equal(iopf_iommu_start(c.r.iommu), 0);
		soak_poller_wake(&c.poller);
	}
}

static void
bring_up(void)
{
	struct smmuv3_model_conf conf = { .priq_log2 = 5, .choices = SMMUV3_MODEL_STICKY_TLB,
		.atc_timeout_ms = 2 };

	memset(&c, 0, sizeof(c));
	/*
	 * GBPA must abort: devices access memory while the SMMU stops and starts. If GBPA cannot
	 * abort, these accesses bypass the SMMU, whatever the driver does, and the oracle reports
	 * them. After a power cycle accesses bypass the SMMU until the start has set GBPA.ABORT: no
	 * frame is given at the addresses that the devices use.
	 */
	soak_choose("prichaos", SMMUV3_MODEL_HARSH_LEVEL_IRQ, &conf);
	c.seed = c.handler_seed = conf.seed;
	pcie_open(&c.r, &conf, NULL);
	soak_be_patient(c.r.iommu);
	soak_print_severities("prichaos", c.r.m, &conf);
	c.poller = (struct soak_poller){ .poller = c.r.poller, .iommu = c.r.iommu,
		.pause_one_in = 8192, .sleep_one_in = SLEEP_ONE_IN, .seed = conf.seed };
	c.taken = rte_ring_create("prichaos", 4096, SOCKET_ID_ANY, RING_F_SC_DEQ);
	assert_non_null(c.taken);
	c.worker = iopf_worker_create(NULL);
	assert_non_null(c.worker);
	for (unsigned int i = 0; i < NB_FNS; i++) {
		struct pcie_space *s = &c.space[i];

		/* The machine may be busy: a handler's thread, and all at the stop. */
		pcie_add_fn(&c.r, &c.fn[i], 8 + i, &(struct iopf_dev_conf){ .pri_requests = 24,
				.pri_overcommit = true, .wait_ms = 60000 });
		c.fn[i].resets = true;
		c.fn[i].silent = true;
		pcie_create_engine(&c.r, &c.fn[i], &(struct smmuv3_model_dma_conf){ .depth = DEPTH,
				.group_pages = 1 + 2 * i, .prg_indices = 2 + i });
		pcie_create_space(&c.r, s);
		assert_int_equal(smmuv3_model_frame_give(c.r.m, (uintptr_t)s->data,
				(size_t)PCIE_PAGES * PCIE_PAGE, i + 1), 0);
		smmuv3_model_dma_owner(c.fn[i].dma[0], i + 1);
		c.domain[i] = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = handler,
			.deferred = deferred,
			.lost = lost,
			.worker = c.worker,
			.ctx = s,
			.translation = { .format = IOPF_FORMAT_ARM64_S1,
				.root = pgt_root(s->pgt), .va_bits = pgt_va_bits(s->pgt),
				.granule_log2 = pgt_granule_log2(s->pgt) },
		});
		assert_non_null(c.domain[i]);
		assert_int_equal(iopf_domain_attach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID), 0);
	}
	assert_int_equal(smmuv3_model_start(c.r.m, -1), 0);
}

/* Check DMAs that have ended, and start more of them if asked to. */
static unsigned int
serve_dmas(unsigned int i, bool more)
{
	struct smmuv3_model_done d[DEPTH];
	struct smmuv3_model_dma *dma = c.fn[i].dma[0];
	unsigned int n = smmuv3_model_dma_poll(dma, d, DEPTH);

	for (unsigned int k = 0; k < n; k++) {
		if (d[k].status == SMMUV3_MODEL_OK) {
			pcie_expect_pattern(&c.r, &c.space[i], d[k].cookie & 0xffff,
					d[k].cookie >> 16);
			c.ok++;
		} else {
			assert_int_equal(d[k].status, SMMUV3_MODEL_ABORTED);
			c.aborted++;
		}
	}
	if (smmuv3_model_dma_pri_failed(dma)) {
		c.failed++;
		c.restarts += iopf_dev_pri_restart(c.fn[i].dev) == 0;
	}
	while (more && smmuv3_model_dma_outstanding(dma) < DEPTH) {
		uint64_t page = pick(PCIE_PAGES), pages = 1 + pick(RTE_MIN(12, PCIE_PAGES - page));

		assert_int_equal(0, smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE,
			.addr = PCIE_VA + page * PCIE_PAGE,
			.buf = c.r.pattern + page * PCIE_PAGE,
			.len = pages * PCIE_PAGE,
			.cookie = page | pages << 16,
		}));
	}
	return smmuv3_model_dma_outstanding(dma);
}

static void
every_group_is_answered_once_with_disturbances(void **state)
{
	uint64_t target = (uint64_t)REQUESTS * test_scale();
	pthread_t responder;
	unsigned int running = 1;

	(void)state;
	bring_up();
	soak_poller_start(&c.poller);
	assert_int_equal(0, pthread_create(&responder, NULL, respond_thread, NULL));
	while (pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PPRS) < target) {
		for (unsigned int i = 0; i < NB_FNS; i++)
			serve_dmas(i, true);
		unmap_pages(pick(NB_FNS));
		if (pick(32) == 0)
			disturb_devices();
		/* The rare disturbances at least once. */
		if (c.cycles == 0)
			cycle_power();
		if (c.cuts == 0)
			kill_atc(pick(NB_FNS));
		sched_yield();
	}
	atomic_store(&c.gentle, true);
	smmuv3_model_knob(c.r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 0);
	while (running > 0) {
		running = 0;
		for (unsigned int i = 0; i < NB_FNS; i++)
			running += serve_dmas(i, false);
		sched_yield();
	}
	atomic_store(&c.stop, true);
	pthread_join(responder, NULL);
	soak_poller_stop(&c.poller);
	print_message("%llu requests, %llu overflows, %llu groups answered by the library "
			"(%llu late, %llu too late), %llu by the SMMU; DMAs: %llu ok, "
			"%llu aborted; PRI failed %llu times; %u ATCs died; %u power cycles\n",
			(unsigned long long)pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PPRS),
			(unsigned long long)pcie_stat(&c.r, IOPF_IOMMU_STAT_OVERFLOWS),
			(unsigned long long)pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PRI_RESPS),
			(unsigned long long)c.late, (unsigned long long)c.stale,
			(unsigned long long)pcie_model_stat(&c.r,
				SMMUV3_MODEL_STAT_PRI_AUTO_RESPS),
			(unsigned long long)c.ok, (unsigned long long)c.aborted,
			(unsigned long long)c.failed, c.cuts, c.cycles);
	assert_int_equal(0, smmuv3_model_stop(c.r.m));
	for (unsigned int i = 0; i < NB_FNS; i++)
		assert_int_equal(0, iopf_domain_detach(c.domain[i], c.fn[i].dev, IOPF_NO_PASID));
	/* Stale answers are for endpoints that were reset and not yet attached again. */
	assert_int_equal(pcie_stat(&c.r, IOPF_IOMMU_STAT_FAULTS),
			pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PRI_RESPS) +
			pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE));
	assert_true(pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE) <=
			pcie_model_stat(&c.r, SMMUV3_MODEL_STAT_PRI_FORGOTTEN));
	for (unsigned int i = 0; i < NB_FNS; i++) {
		assert_int_equal(0, iopf_domain_pending(c.domain[i]));
		assert_int_equal(0, iopf_domain_destroy(c.domain[i]));
	}
	assert_int_equal(0, iopf_worker_destroy(c.worker));
	rte_ring_free(c.taken);
	/* Each kind of disturbance happened. */
	assert_true(c.ok > 0 && c.late > 0 && c.failed > 0 && c.restarts > 0);
	assert_true(c.cycles > 0 && c.cuts > 0);
	pcie_close(&c.r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_group_is_answered_once_with_disturbances),
};
TEST_SUITE(prichaos, tests, NULL, NULL);
