/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A million stalls of several devices and PASIDs, with a harsh model, a poll thread that sleeps and
 * power cycles: each stall is answered once, the data is intact, and the model reports no error of
 * the driver or of the oracle, which knows the owner of each frame. Ten million with
 * IOPF_TEST_SCALE=10. A tenth of that again while event records are lost.
 */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iopf.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "soak.h"
#include "test.h"

#define NB_DEVS		4
#define NB_PASIDS	4	/* with untagged traffic in place of PASID 0 */
#define NB_ENGINES	(NB_DEVS * NB_PASIDS)
#define PAGE		4096
#define PAGES		1024	/* of each engine, for each pass */
#define DEPTH		32
#define WORDS		8	/* moved for each page */
#define LOSE_ONE_IN	2000	/* DMAs; event records abort */
#define SLEEP_ONE_IN	200	/* passes that found nothing */
#define CYCLE_ONE_IN	4	/* passes; a power cycle */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define STALLS 40000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define STALLS 40000
#endif
#endif
#ifndef STALLS
#define STALLS 1000000
#endif

struct engine {
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	uint32_t owner;			/* of its frames */
	uint64_t *mem;			/* managed: PAGES pages */
	uint64_t (*local)[WORDS];	/* memory of the device, one entry for each page */
	unsigned int submitted, done;
};

static struct engine engines[NB_ENGINES];
static struct iopf_dev *devs[NB_DEVS];
static struct mmem_pool *pool;
static struct smmuv3_model *model;
static struct soak_poller poller;
/* aborted: DMAs, by a recovery. lost: records of stalls that the test lost. */
static uint64_t answered, terminated, probes, cycles, aborted, lost;
/* An access may abort and is repeated. */
static bool losing;
static unsigned int seed;

static uint64_t
pattern(unsigned int engine, unsigned int page, unsigned int pass, unsigned int word)
{
	return ((uint64_t)engine << 56 | (uint64_t)page << 32 | (uint64_t)pass << 8 | word) *
		UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t *
page_of(struct engine *e, unsigned int page)
{
	/* At varying offsets in the page. */
	return e->mem + (size_t)page * (PAGE / 8) + (page % 7) * WORDS;
}

static void
submit_dma(struct engine *e, enum smmuv3_model_op_type type, unsigned int page)
{
	assert_int_equal(0, smmuv3_model_dma_submit(e->dma, &(struct smmuv3_model_op){
		.type = type,
		.addr = (uintptr_t)page_of(e, page),
		.buf = e->local[page],
		.len = WORDS * 8,
		.cookie = page,
	}));
}

/* Returns false if all pages are done. */
static bool
run_engine(struct engine *e, enum smmuv3_model_op_type type)
{
	struct smmuv3_model_done d[DEPTH];
	unsigned int n = smmuv3_model_dma_poll(e->dma, d, DEPTH);

	for (unsigned int k = 0; k < n; k++) {
		if (losing && d[k].status == SMMUV3_MODEL_ABORTED) {
			aborted++;
			submit_dma(e, type, d[k].cookie);
			continue;
		}
		assert_int_equal(SMMUV3_MODEL_OK, d[k].status);
		assert_int_equal(WORDS * 8, d[k].bytes);
		e->done++;
	}
	while (e->submitted < PAGES && e->submitted - e->done < DEPTH) {
		submit_dma(e, type, e->submitted++);
		if (losing && rand_r(&seed) % LOSE_ONE_IN == 0)
			smmuv3_model_knob(model, SMMUV3_MODEL_KNOB_EVTQ_LOSE,
					1 + rand_r(&seed) % 3);
	}
	return e->done < PAGES;
}

static void
run_phase(enum smmuv3_model_op_type type)
{
	unsigned int running = NB_ENGINES;

	for (unsigned int i = 0; i < NB_ENGINES; i++)
		engines[i].submitted = engines[i].done = 0;
	while (running > 0) {
		running = 0;
		for (unsigned int i = 0; i < NB_ENGINES; i++)
			running += run_engine(&engines[i], type);
		sched_yield();
	}
	/* Each page faults again in the next phase. */
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(0, mmem_unmap(engines[i].space, engines[i].mem,
				(size_t)PAGES * PAGE));
}

static void
count_answers(const struct engine *e)
{
	struct iopf_domain *domain = mmem_space_domain(e->space);
	uint64_t n = iopf_domain_stat(domain, IOPF_STAT_SUCCESS) +
		iopf_domain_stat(domain, IOPF_STAT_INVALID);
	uint64_t ended = iopf_domain_stat(domain, IOPF_STAT_TERMINATED);

	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_FAULTS), n + ended);
	answered += n;
	terminated += ended;
}

static void
create_space(struct engine *e)
{
	unsigned int pasid = (e - engines) % NB_PASIDS;

	e->space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(e->space);
	assert_int_equal(0, mmem_attach(e->space, devs[(e - engines) / NB_PASIDS],
			pasid == 0 ? IOPF_NO_PASID : pasid));
}

static void
give_memory(struct engine *e)
{
	e->mem = mmem_alloc(e->space, (size_t)PAGES * PAGE, MMEM_READ | MMEM_WRITE);
	assert_non_null(e->mem);
	assert_int_equal(0, smmuv3_model_frame_give(model, (uintptr_t)e->mem,
			(size_t)PAGES * PAGE, e->owner));
}

static void
take_memory(struct engine *e)
{
	uintptr_t addr = (uintptr_t)e->mem;

	assert_int_equal(0, mmem_free(e->space, e->mem));
	assert_int_equal(0, smmuv3_model_frame_free(model, addr, (size_t)PAGES * PAGE));
}

/* Access a page that the engine has just lost: a translation left over would reach the frame. */
static void
probe_page(struct engine *e, const void *page)
{
	assert_int_equal(-EFAULT, smmuv3_model_dma_read(e->dma, e->local, (uintptr_t)page, 8));
	probes++;
}

/* Attach another address space, which reuses the ASID of a destroyed one. */
static void
change_space(struct engine *e)
{
	struct iopf_dev *dev = devs[(e - engines) / NB_PASIDS];
	unsigned int pasid = (e - engines) % NB_PASIDS;

	smmuv3_model_dma_owner(e->dma, 0);
	assert_int_equal(0, mmem_detach(e->space, dev, pasid == 0 ? IOPF_NO_PASID : pasid));
	count_answers(e);
	assert_int_equal(0, mmem_space_destroy(e->space));
	create_space(e);
	smmuv3_model_dma_owner(e->dma, e->owner);
}

/* Give the frames of each engine to another engine. */
static void
change_memory(unsigned int pass)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		const void *page = page_of(&engines[i], rand_r(&seed) % PAGES);

		take_memory(&engines[i]);
		probe_page(&engines[i], page);
		change_space(&engines[i]);
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		give_memory(&engines[(i + pass + 1) % NB_ENGINES]);
}

static void
run_pass(unsigned int pass)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			for (unsigned int w = 0; w < WORDS; w++)
				engines[i].local[p][w] = pattern(i, p, pass, w);
	run_phase(SMMUV3_MODEL_WRITE);
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		for (unsigned int p = 0; p < PAGES; p++)
			assert_memory_equal(page_of(&engines[i], p), engines[i].local[p],
					WORDS * 8);
		memset(engines[i].local, 0, (size_t)PAGES * WORDS * 8);
	}
	run_phase(SMMUV3_MODEL_READ);
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			for (unsigned int w = 0; w < WORDS; w++)
				assert_int_equal(pattern(i, p, pass, w), engines[i].local[p][w]);
	change_memory(pass);
}

static void
open_all(const char *name, uint32_t may)
{
	struct smmuv3_model_conf conf = { .name = name, .choices = SMMUV3_MODEL_STICKY_TLB,
		/* With few ASIDs each is reused soon. */
		.no_features = SMMUV3_MODEL_NO_ASID16 };
	struct iopf_iommu *iommu;
	char str[64];

	answered = terminated = probes = cycles = aborted = lost = 0;
	soak_choose(name, may, &conf);
	seed = conf.seed;
	model = smmuv3_model_create(&conf);
	assert_non_null(model);
	soak_print_severities(name, model, &conf);
	assert_int_equal(0, smmuv3_model_start(model, -1));
	snprintf(str, sizeof(str), "smmuv3,model=%s", name);
	iommu = iopf_iommu_open(str);
	assert_non_null(iommu);
	soak_be_patient(iommu);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = iommu, .size = 256 << 20 });
	assert_non_null(pool);
	poller = (struct soak_poller){ .poller = soak_poller_create(), .iommu = iommu,
		.sleep_one_in = SLEEP_ONE_IN, .seed = conf.seed };
	assert_int_equal(0, iopf_poller_add(poller.poller, iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(iommu));
	soak_poller_start(&poller);

	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		uint32_t sid = 16 + i / NB_PASIDS, pasid = i % NB_PASIDS;
		struct engine *e = &engines[i];

		if (pasid == 0)
			devs[i / NB_PASIDS] = iopf_dev_add(iommu, &(struct iopf_dev_conf){
					.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
		assert_non_null(devs[i / NB_PASIDS]);
		create_space(e);
		e->owner = i + 1;
		give_memory(e);
		e->local = calloc(PAGES, sizeof(e->local[0]));
		e->dma = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){
				.sid = sid, .has_ssid = pasid != 0, .ssid = pasid,
				.depth = DEPTH });
		assert_non_null(e->dma);
		smmuv3_model_dma_owner(e->dma, e->owner);
	}
}

static void
close_all(void)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		smmuv3_model_dma_destroy(engines[i].dma);
		free(engines[i].local);
	}
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(devs[i]));
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(0, mmem_space_destroy(engines[i].space));
	assert_int_equal(0, mmem_pool_destroy(pool));
	soak_poller_stop(&poller);
	assert_int_equal(0, iopf_poller_destroy(poller.poller));
	assert_int_equal(0, iopf_iommu_stop(poller.iommu));
	assert_int_equal(0, iopf_iommu_close(poller.iommu));
	for (unsigned int i = 0; smmuv3_model_driver_error(model, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(model, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(model, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(model, i));
	assert_int_equal(0, smmuv3_model_driver_errors(model));
	assert_int_equal(0, smmuv3_model_oracle_errors(model));
	smmuv3_model_destroy(model);
}

static uint64_t
read_stat(enum smmuv3_model_stat which)
{
	return smmuv3_model_stat(model, which);
}

static void
run_soak(uint64_t target)
{
	for (unsigned int pass = 0; read_stat(SMMUV3_MODEL_STAT_STALLS) < target; pass++) {
		run_pass(pass);
		/*
		 * No device accesses memory now, so no access may reach a frame during the power
		 * cycle.
		 */
		if (rand_r(&seed) % CYCLE_ONE_IN == 0) {
			soak_power_cycle(&poller, model);
			cycles++;
		}
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		count_answers(&engines[i]);
	print_message("%llu stalls, %llu answered; %llu accesses to freed pages; "
			"%llu power cycles\n",
			(unsigned long long)read_stat(SMMUV3_MODEL_STAT_STALLS),
			(unsigned long long)answered, (unsigned long long)probes,
			(unsigned long long)cycles);
	assert_int_equal(0, smmuv3_model_stalls_outstanding(model));
}

static void
every_stall_of_many_is_answered_once_and_data_is_intact(void **state)
{
	(void)state;
	losing = false;
	/* GBPA need not abort: no device accesses memory while SMMUEN is 0. */
	open_all("soak", SMMUV3_MODEL_HARSH_LEVEL_IRQ | SMMUV3_MODEL_HARSH_GBPA);
	run_soak((uint64_t)STALLS * test_scale());
	assert_int_equal(read_stat(SMMUV3_MODEL_STAT_STALLS), answered);
	assert_int_equal(read_stat(SMMUV3_MODEL_STAT_STALLS), read_stat(SMMUV3_MODEL_STAT_RESUMES));
	assert_int_equal(0, read_stat(SMMUV3_MODEL_STAT_RESUMES_STALE));
	close_all();
}

/*
 * Records of stalls are lost (EVENTQ_ABT_ERR, after PROD): the driver ends all stalls by SMMUEN 1
 * -> 0 -> 1, and devices see aborts. GBPA has to abort: accesses while SMMUEN is 0 would bypass the
 * SMMU, whatever the driver does.
 */
static void
every_stall_ends_once_while_event_records_are_lost(void **state)
{
	(void)state;
	losing = true;
	open_all("soak2", SMMUV3_MODEL_HARSH_LEVEL_IRQ);
	run_soak((uint64_t)STALLS / 10 * test_scale());
	smmuv3_model_knob(model, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 0);
	lost = read_stat(SMMUV3_MODEL_STAT_EVENTS_LOST);
	print_message("%llu records lost, %llu recoveries; %llu stalls terminated, %llu of them "
			"known; %llu DMAs aborted\n", (unsigned long long)lost,
			(unsigned long long)iopf_iommu_stat(poller.iommu, IOPF_IOMMU_STAT_RESETS),
			(unsigned long long)read_stat(SMMUV3_MODEL_STAT_TERMINATED),
			(unsigned long long)terminated, (unsigned long long)aborted);
	/*
	 * Each stall ended once: by an answer or with SMMUEN = 0, also a stall whose record was
	 * lost or found no room. Each answered stall had a record. Answers that were on their way
	 * when SMMUEN was cleared are ignored.
	 */
	assert_true(read_stat(SMMUV3_MODEL_STAT_RESUMES) +
			read_stat(SMMUV3_MODEL_STAT_TERMINATED) >=
			read_stat(SMMUV3_MODEL_STAT_STALLS) + lost);
	assert_true(answered + terminated <= read_stat(SMMUV3_MODEL_STAT_STALLS));
	assert_true(read_stat(SMMUV3_MODEL_STAT_RESUMES) <= answered);
	assert_true(answered - read_stat(SMMUV3_MODEL_STAT_RESUMES) >=
			read_stat(SMMUV3_MODEL_STAT_RESUMES_STALE));
	/* The soak had the events it is meant to have. */
	assert_true(lost > 0 && aborted > 0);
	close_all();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_stall_of_many_is_answered_once_and_data_is_intact),
	cmocka_unit_test(every_stall_ends_once_while_event_records_are_lost),
};
TEST_SUITE(soak, tests, NULL, NULL);
