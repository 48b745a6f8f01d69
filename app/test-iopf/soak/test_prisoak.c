/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Eight hundred thousand page requests of several endpoints and PASIDs, in groups of random size.
 * The request queue is far too small and the poll thread pauses and sleeps at random, so that the
 * queue overflows repeatedly. One endpoint ignores its credits, one sometimes repeats a Last. The
 * model is harsh and its oracle knows the owner of each frame. Every group is answered once, by the
 * library or by the SMMU; the data is intact, and the model reports no error of the driver or of
 * the oracle. With IOPF_TEST_SCALE=10 ten million, together with the suite prichaos.
 */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "iopf.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "soak.h"
#include "test.h"

#define NB_DEVS		4
#define NB_PASIDS	4	/* with untagged traffic in place of PASID 0 */
#define NB_ENGINES	(NB_DEVS * NB_PASIDS)
#define PAGE		4096
#define PAGES		256	/* of each engine, for each phase */
#define DEPTH		16
#define MAX_PAGES	24	/* of one DMA */
#define WORDS		8	/* of a page that are checked */
#define SLEEP_ONE_IN	200	/* passes that found nothing */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define REQUESTS 40000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define REQUESTS 40000
#endif
#endif
#ifndef REQUESTS
#define REQUESTS 1000000
#endif

/* The configurations and quirks of the endpoints. */
static const struct {
	struct iopf_dev_conf conf;
	unsigned int prg_indices, group_pages;
	uint32_t quirks, one_in;
} kinds[NB_DEVS] = {
	{ { .pri_requests = 32 }, 4, 8, 0, 0 },
	{ { .pri_requests = 32, .prg_pasid = true }, 2, MAX_PAGES, 0, 0 },
	{ { .pri_requests = 8 }, 64, 5, SMMUV3_MODEL_QUIRK_CREDITS, 0 },
	{ { .pri_requests = 32 }, 8, 3, SMMUV3_MODEL_QUIRK_DUP_LAST, 8 },
};

struct dma {
	uint16_t page, pages;
	uint32_t attached;	/* count of the engine at the submission */
};

struct engine {
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	uint32_t pasid;
	uint32_t owner;		/* of its frames */
	uint8_t *mem;		/* managed: PAGES pages */
	uint8_t *local;		/* memory of the device, as large */
	uint32_t attached;	/* number of attaches and detaches; even: detached */
	unsigned int next;	/* first page not yet submitted */
	unsigned int running;
	struct dma op[DEPTH];
	uint16_t free[DEPTH];
};

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct soak_poller poller;
	struct pcie_fn fn[NB_DEVS];
	struct engine engine[NB_ENGINES];
	unsigned int seed;
	unsigned int aborted, detached, probes;
} t;

static unsigned int
pick(unsigned int n)
{
	return (unsigned int)rand_r(&t.seed) % n;
}

static uint64_t
pattern(const struct engine *e, unsigned int page, unsigned int pass, unsigned int word)
{
	uint64_t engine = (uint64_t)(e - t.engine);

	return (engine << 56 | (uint64_t)page << 32 | (uint64_t)pass << 8 | word) *
		UINT64_C(0x9e3779b97f4a7c15);
}

static void
attach_engine(struct engine *e)
{
	assert_int_equal(0, mmem_attach(e->space, t.fn[(e - t.engine) / NB_PASIDS].dev, e->pasid));
	e->attached++;
	smmuv3_model_dma_owner(e->dma, e->owner);
}

static void
detach_engine(struct engine *e)
{
	smmuv3_model_dma_owner(e->dma, 0);
	assert_int_equal(0, mmem_detach(e->space, t.fn[(e - t.engine) / NB_PASIDS].dev, e->pasid));
	e->attached++;
	t.detached++;
}

static void
submit_dma(struct engine *e, enum smmuv3_model_op_type type, uint16_t slot)
{
	struct dma *d = &e->op[slot];

	d->attached = e->attached;
	assert_int_equal(0, smmuv3_model_dma_submit(e->dma, &(struct smmuv3_model_op){
		.type = type,
		.addr = (uintptr_t)e->mem + (size_t)d->page * PAGE,
		.buf = e->local + (size_t)d->page * PAGE,
		.len = (size_t)d->pages * PAGE,
		.cookie = slot,
	}));
}

/*
 * A DMA may abort if its engine was detached since the submission. It also may if its endpoint
 * repeats a Last and another PASID of it was detached: the Invalid answer to the repeated Last
 * meets the next group of the index.
 */
static bool
may_abort(const struct engine *e, const struct dma *d)
{
	return d->attached != e->attached || (t.detached > 0 &&
			kinds[(e - t.engine) / NB_PASIDS].quirks == SMMUV3_MODEL_QUIRK_DUP_LAST);
}

/* Returns false if all pages are done. */
static bool
run_engine(struct engine *e, enum smmuv3_model_op_type type)
{
	struct smmuv3_model_done done[DEPTH];
	unsigned int n = smmuv3_model_dma_poll(e->dma, done, DEPTH);

	for (unsigned int i = 0; i < n; i++) {
		uint16_t slot = (uint16_t)done[i].cookie;
		struct dma *d = &e->op[slot];

		if (done[i].status == SMMUV3_MODEL_ABORTED && may_abort(e, d)) {
			t.aborted++;
			submit_dma(e, type, slot);
			continue;
		}
		assert_int_equal(SMMUV3_MODEL_OK, done[i].status);
		assert_int_equal((size_t)d->pages * PAGE, done[i].bytes);
		e->free[DEPTH - e->running--] = slot;
	}
	while (e->next < PAGES && e->running < DEPTH) {
		uint16_t slot = e->free[DEPTH - ++e->running];
		struct dma *d = &e->op[slot];

		d->page = (uint16_t)e->next;
		d->pages = (uint16_t)(1 + pick(RTE_MIN(MAX_PAGES, PAGES - e->next)));
		e->next += d->pages;
		submit_dma(e, type, slot);
	}
	return e->running > 0;
}

/* Detach one PASID or a whole endpoint, and attach it again. */
static void
detach_at_random(void)
{
	unsigned int i = pick(NB_ENGINES), n = 1;

	if (pick(4) == 0) {
		i -= i % NB_PASIDS;
		n = NB_PASIDS;
	}
	for (unsigned int k = i; k < i + n; k++)
		detach_engine(&t.engine[k]);
	for (unsigned int k = i; k < i + n; k++)
		attach_engine(&t.engine[k]);
}

static void
run_phase(enum smmuv3_model_op_type type, bool detaches)
{
	bool running = true;

	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		t.engine[i].next = t.engine[i].running = 0;
		for (uint16_t k = 0; k < DEPTH; k++)
			t.engine[i].free[k] = k;
	}
	while (running) {
		running = false;
		for (unsigned int i = 0; i < NB_ENGINES; i++)
			running |= run_engine(&t.engine[i], type);
		if (detaches && pick(64) == 0)
			detach_at_random();
		sched_yield();
	}
	/* Each page faults again in the next phase. */
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(0, mmem_unmap(t.engine[i].space, t.engine[i].mem,
				(size_t)PAGES * PAGE));
}

static void
give_memory(struct engine *e)
{
	e->mem = mmem_alloc(e->space, (size_t)PAGES * PAGE, MMEM_READ | MMEM_WRITE);
	assert_non_null(e->mem);
	assert_int_equal(0, smmuv3_model_frame_give(t.model, (uintptr_t)e->mem,
			(size_t)PAGES * PAGE, e->owner));
}

/*
 * Access a page that the engine has just lost: a translation left over would reach the frame. Not
 * for an endpoint that repeats a Last: see may_abort().
 */
static void
probe_page(struct engine *e, uintptr_t page)
{
	if (kinds[(e - t.engine) / NB_PASIDS].quirks == SMMUV3_MODEL_QUIRK_DUP_LAST)
		return;
	assert_int_equal(-EFAULT, smmuv3_model_dma_read(e->dma, e->local, page, 8));
	t.probes++;
}

/* Give the frames of each engine to another engine. */
static void
change_memory(unsigned int pass)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		struct engine *e = &t.engine[i];
		uintptr_t addr = (uintptr_t)e->mem;

		assert_int_equal(0, mmem_free(e->space, e->mem));
		assert_int_equal(0, smmuv3_model_frame_free(t.model, addr, (size_t)PAGES * PAGE));
		probe_page(e, addr + (size_t)pick(PAGES) * PAGE);
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		give_memory(&t.engine[(i + pass + 1) % NB_ENGINES]);
}

static void
run_pass(unsigned int pass, bool detaches)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			for (unsigned int w = 0; w < WORDS; w++)
				((uint64_t *)(void *)(t.engine[i].local + (size_t)p * PAGE))[w] =
					pattern(&t.engine[i], p, pass, w);
	run_phase(SMMUV3_MODEL_WRITE, detaches);
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++) {
			assert_memory_equal(t.engine[i].mem + (size_t)p * PAGE,
					t.engine[i].local + (size_t)p * PAGE, WORDS * 8);
			memset(t.engine[i].local + (size_t)p * PAGE, 0, WORDS * 8);
		}
	run_phase(SMMUV3_MODEL_READ, detaches);
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			assert_memory_equal(t.engine[i].mem + (size_t)p * PAGE,
					t.engine[i].local + (size_t)p * PAGE, WORDS * 8);
	change_memory(pass);
}

static void
open_all(struct mmem_pool **pool, const char *name, unsigned int priq_log2)
{
	struct smmuv3_model_conf conf = { .name = name, .priq_log2 = priq_log2,
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.choices = SMMUV3_MODEL_STICKY_TLB };
	char str[64];

	memset(&t, 0, sizeof(t));
	/* GBPA need not abort: no device accesses memory while SMMUEN is 0. */
	soak_choose(name, SMMUV3_MODEL_HARSH_LEVEL_IRQ | SMMUV3_MODEL_HARSH_GBPA, &conf);
	t.seed = conf.seed;
	t.model = smmuv3_model_create(&conf);
	assert_non_null(t.model);
	soak_print_severities(name, t.model, &conf);
	assert_int_equal(0, smmuv3_model_start(t.model, -1));
	snprintf(str, sizeof(str), "smmuv3,model=%s", name);
	t.iommu = iopf_iommu_open(str);
	assert_non_null(t.iommu);
	soak_be_patient(t.iommu);
	*pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = t.iommu, .size = 256 << 20 });
	assert_non_null(*pool);
	t.poller = (struct soak_poller){ .poller = soak_poller_create(), .iommu = t.iommu,
		.pause_one_in = 8192, .sleep_one_in = SLEEP_ONE_IN, .seed = conf.seed };
	assert_int_equal(0, iopf_poller_add(t.poller.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));

	for (unsigned int i = 0; i < NB_DEVS; i++) {
		struct iopf_dev_conf conf = kinds[i].conf;

		t.fn[i].sid = 16 + i;
		t.fn[i].silent = true;
		conf.sids = &t.fn[i].sid;
		conf.nb_sids = 1;
		conf.nb_pasids = NB_PASIDS;
		conf.recover = IOPF_PRI;
		conf.pri_overcommit = true;
		conf.pci = &pcie_fn_ops;
		conf.ctx = &t.fn[i];
		t.fn[i].dev = iopf_dev_add(t.iommu, &conf);
		assert_non_null(t.fn[i].dev);
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		struct engine *e = &t.engine[i];
		unsigned int dev = i / NB_PASIDS, pasid = i % NB_PASIDS;

		e->pasid = pasid == 0 ? IOPF_NO_PASID : pasid;
		e->space = mmem_space_create(&(struct mmem_space_conf){ .pool = *pool });
		assert_non_null(e->space);
		e->owner = i + 1;
		give_memory(e);
		e->local = calloc(PAGES, PAGE);
		assert_non_null(e->local);
		e->dma = smmuv3_model_dma_create(t.model, &(struct smmuv3_model_dma_conf){
			.sid = t.fn[dev].sid,
			.has_ssid = pasid != 0,
			.ssid = pasid,
			.depth = DEPTH,
			.kind = SMMUV3_MODEL_DMA_ATS,
			.group_pages = kinds[dev].group_pages,
			.prg_indices = kinds[dev].prg_indices,
			.prg_pasid = kinds[dev].conf.prg_pasid,
		});
		assert_non_null(e->dma);
		t.fn[dev].dma[pasid] = e->dma;
		smmuv3_model_dma_quirks(e->dma, kinds[dev].quirks, kinds[dev].one_in);
		attach_engine(e);
	}
}

static uint64_t
read_model_stat(enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(t.model, stat);
}

/* Answers that the SMMU got, also those to groups that had ended. */
static uint64_t
count_model_answers(void)
{
	return read_model_stat(SMMUV3_MODEL_STAT_PRI_RESPS) +
		read_model_stat(SMMUV3_MODEL_STAT_PRI_RESPS_STALE);
}

static uint64_t
read_stat(enum iopf_iommu_stat which)
{
	return iopf_iommu_stat(t.iommu, which);
}

static void
close_all(struct mmem_pool *pool)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		detach_engine(&t.engine[i]);
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		smmuv3_model_dma_destroy(t.engine[i].dma);
		free(t.engine[i].local);
	}
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(t.fn[i].dev));
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(0, mmem_space_destroy(t.engine[i].space));
	assert_int_equal(0, mmem_pool_destroy(pool));
	assert_int_equal(0, iopf_iommu_requests_granted(t.iommu));
	assert_int_equal(0, iopf_poller_destroy(t.poller.poller));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	for (unsigned int i = 0; smmuv3_model_driver_error(t.model, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(t.model, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(t.model, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(t.model, i));
	assert_int_equal(0, smmuv3_model_driver_errors(t.model));
	assert_int_equal(0, smmuv3_model_oracle_errors(t.model));
	smmuv3_model_destroy(t.model);
}

static void
run_soak(const char *name, uint64_t target, unsigned int priq_log2, bool detaches)
{
	uint64_t answers, requests, faults = 0, said = 0, given = 0, invalid = 0;
	struct mmem_pool *pool;

	open_all(&pool, name, priq_log2);
	soak_poller_start(&t.poller);
	for (unsigned int pass = 0; read_model_stat(SMMUV3_MODEL_STAT_PPRS) < target; pass++)
		run_pass(pass, detaches);
	soak_poller_stop(&t.poller);
	/* A repeated Last may still be in the queue without an answer. */
	while (iopf_poll(t.poller.poller) != 0)
		;
	while (count_model_answers() < read_stat(IOPF_IOMMU_STAT_ANSWERS))
		sched_yield();

	answers = count_model_answers();
	requests = read_model_stat(SMMUV3_MODEL_STAT_PPRS);
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		struct iopf_domain *domain = mmem_space_domain(t.engine[i].space);

		faults += iopf_domain_stat(domain, IOPF_STAT_FAULTS);
		said += iopf_domain_stat(domain, IOPF_STAT_SUCCESS) +
			iopf_domain_stat(domain, IOPF_STAT_INVALID);
		given += iopf_domain_stat(domain, IOPF_STAT_REQUESTS);
		invalid += iopf_domain_stat(domain, IOPF_STAT_INVALID);
	}
	if (!detaches)
		assert_int_equal(t.probes, invalid);
	print_message("%llu requests in %llu groups; %llu overflows, %llu groups answered by "
			"the library, %llu by the SMMU; %llu partial requests discarded, "
			"%llu duplicates, %llu without a slot; %u detaches, "
			"%u DMAs aborted by them\n",
			(unsigned long long)requests,
			(unsigned long long)read_model_stat(SMMUV3_MODEL_STAT_PRI_GROUPS),
			(unsigned long long)read_model_stat(SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS),
			(unsigned long long)answers,
			(unsigned long long)read_model_stat(SMMUV3_MODEL_STAT_PRI_AUTO_RESPS),
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_DISCARDED),
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_DUPLICATES),
			(unsigned long long)(read_stat(IOPF_IOMMU_STAT_CUT) +
				read_stat(IOPF_IOMMU_STAT_NO_SLOT)),
			t.detached, t.aborted);
	/* Each group has one answer, by the library or by the SMMU. */
	assert_int_equal(read_model_stat(SMMUV3_MODEL_STAT_PRI_GROUPS),
			read_model_stat(SMMUV3_MODEL_STAT_PRI_RESPS) +
			read_model_stat(SMMUV3_MODEL_STAT_PRI_AUTO_RESPS));
	/*
	 * The SMMU got each answer that the library sent, and the library sent one for each group.
	 */
	assert_int_equal(answers, read_stat(IOPF_IOMMU_STAT_ANSWERS));
	assert_int_equal(answers, read_stat(IOPF_IOMMU_STAT_FAULTS));
	assert_int_equal(answers, read_stat(IOPF_IOMMU_STAT_GROUPS));
	assert_int_equal(answers, faults + read_stat(IOPF_IOMMU_STAT_NO_DOMAIN) +
			read_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(faults, said);
	/* Each request is in a group or counted by its reason. */
	assert_int_equal(requests + read_stat(IOPF_IOMMU_STAT_REPORTS),
			read_stat(IOPF_IOMMU_STAT_RECORDS));
	if (read_stat(IOPF_IOMMU_STAT_NO_DOMAIN) == 0)
		assert_int_equal(requests, given + read_stat(IOPF_IOMMU_STAT_DISCARDED) +
				read_stat(IOPF_IOMMU_STAT_DUPLICATES) +
				read_stat(IOPF_IOMMU_STAT_CUT) +
				read_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(0, read_stat(IOPF_IOMMU_STAT_BAD_RECORD));
	assert_int_equal(0, read_stat(IOPF_IOMMU_STAT_AGED));
	assert_int_equal(read_model_stat(SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS),
			read_stat(IOPF_IOMMU_STAT_OVERFLOWS));
	/* The soak had the events it is meant to have. */
	assert_true(read_model_stat(SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS) > requests / 10000);
	assert_true(read_stat(IOPF_IOMMU_STAT_DISCARDED) > 0);
	assert_true(read_stat(IOPF_IOMMU_STAT_DUPLICATES) > 0);
	assert_int_equal(detaches, t.aborted > 0);
	close_all(pool);
}

static void
every_group_of_many_is_answered_once_and_data_is_intact(void **state)
{
	(void)state;
	run_soak("prisoak", (uint64_t)REQUESTS / 5 * 2 * test_scale(), 6, false);
}

static void
every_group_is_answered_once_while_devices_come_and_go(void **state)
{
	(void)state;
	run_soak("prisoak2", (uint64_t)REQUESTS / 5 * 2 * test_scale(), 5, true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_group_of_many_is_answered_once_and_data_is_intact),
	cmocka_unit_test(every_group_is_answered_once_while_devices_come_and_go),
};
TEST_SUITE(prisoak, tests, NULL, NULL);
