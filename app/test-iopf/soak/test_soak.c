/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A million stalls in a row over several devices and PASIDs, with a model that is harsh:
 * each answered once, data intact, no mistake of the driver, oracle clean, the oracle knowing
 * whose each frame is. Ten million with IOPF_TEST_SCALE=10.
 */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iopf.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define NB_DEVS		4
#define NB_PASIDS	4	/* and the untagged traffic in place of PASID 0 */
#define NB_ENGINES	(NB_DEVS * NB_PASIDS)
#define PAGE		4096
#define PAGES		1024	/* of each engine, per pass */
#define DEPTH		32
#define WORDS		8	/* moved per page */

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
	uint64_t (*local)[WORDS];	/* the device's own, one entry per page */
	unsigned int submitted, done;
};

static struct engine engines[NB_ENGINES];
static struct iopf_dev *devs[NB_DEVS];
static struct mmem_pool *pool;
static struct smmuv3_model *model;
static uint64_t answered, probes;
static unsigned int seed;

static void *
poll_thread(void *poller)
{
	iopf_poller_run(poller);
	return NULL;
}

static uint64_t
pattern(unsigned int engine, unsigned int page, unsigned int pass, unsigned int word)
{
	return ((uint64_t)engine << 56 | (uint64_t)page << 32 | (uint64_t)pass << 8 | word) *
		UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t *
page_of(struct engine *e, unsigned int page)
{
	/* Not always the start of the page. */
	return e->mem + (size_t)page * (PAGE / 8) + (page % 7) * WORDS;
}

static void
one_phase(enum smmuv3_model_op_type type)
{
	unsigned int running = NB_ENGINES;

	for (unsigned int i = 0; i < NB_ENGINES; i++)
		engines[i].submitted = engines[i].done = 0;
	while (running > 0) {
		running = 0;
		for (unsigned int i = 0; i < NB_ENGINES; i++) {
			struct engine *e = &engines[i];
			struct smmuv3_model_done d[DEPTH];
			unsigned int n = smmuv3_model_dma_poll(e->dma, d, DEPTH);

			for (unsigned int k = 0; k < n; k++) {
				assert_int_equal(SMMUV3_MODEL_OK, d[k].status);
				assert_int_equal(WORDS * 8, d[k].bytes);
			}
			e->done += n;
			while (e->submitted < PAGES && e->submitted - e->done < DEPTH) {
				struct smmuv3_model_op op = {
					.type = type,
					.addr = (uintptr_t)page_of(e, e->submitted),
					.buf = e->local[e->submitted],
					.len = WORDS * 8,
				};

				assert_int_equal(0, smmuv3_model_dma_submit(e->dma, &op));
				e->submitted++;
			}
			running += e->done < PAGES;
		}
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

	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_FAULTS), n);
	answered += n;
}

static void
make_space(struct engine *e)
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

/* A page that the engine had a moment ago: what is left of it would reach the frame. */
static void
probe(struct engine *e, const void *page)
{
	assert_int_equal(-EFAULT, smmuv3_model_dma_read(e->dma, e->local, (uintptr_t)page, 8));
	probes++;
}

/* Another address space, with the ASID of one that went. */
static void
change_space(struct engine *e)
{
	struct iopf_dev *dev = devs[(e - engines) / NB_PASIDS];
	unsigned int pasid = (e - engines) % NB_PASIDS;

	smmuv3_model_dma_owner(e->dma, 0);
	assert_int_equal(0, mmem_detach(e->space, dev, pasid == 0 ? IOPF_NO_PASID : pasid));
	count_answers(e);
	assert_int_equal(0, mmem_space_destroy(e->space));
	make_space(e);
	smmuv3_model_dma_owner(e->dma, e->owner);
}

/* The frames of each engine become those of others. */
static void
change_memory(unsigned int pass)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		const void *page = page_of(&engines[i], rand_r(&seed) % PAGES);

		take_memory(&engines[i]);
		probe(&engines[i], page);
		change_space(&engines[i]);
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		give_memory(&engines[(i + pass + 1) % NB_ENGINES]);
}

static void
one_pass(unsigned int pass)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			for (unsigned int w = 0; w < WORDS; w++)
				engines[i].local[p][w] = pattern(i, p, pass, w);
	one_phase(SMMUV3_MODEL_WRITE);
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		for (unsigned int p = 0; p < PAGES; p++)
			assert_memory_equal(page_of(&engines[i], p), engines[i].local[p],
					WORDS * 8);
		memset(engines[i].local, 0, (size_t)PAGES * WORDS * 8);
	}
	one_phase(SMMUV3_MODEL_READ);
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		for (unsigned int p = 0; p < PAGES; p++)
			for (unsigned int w = 0; w < WORDS; w++)
				assert_int_equal(pattern(i, p, pass, w), engines[i].local[p][w]);
	change_memory(pass);
}

static void
every_stall_of_many_is_answered_once_and_data_is_intact(void **state)
{
	uint64_t target = (uint64_t)STALLS * test_scale(), stalls;
	struct iopf_poller *poller;
	struct iopf_iommu *iommu;
	pthread_t thread;

	(void)state;
	answered = probes = 0;
	seed = test_seed("soak");
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "soak",
			.harsh = SMMUV3_MODEL_HARSH_ALL, .seed = seed,
			.choices = SMMUV3_MODEL_STICKY_TLB,
			/* ASIDs come back soon. */
			.no_features = SMMUV3_MODEL_NO_ASID16 });
	assert_non_null(model);
	assert_int_equal(0, smmuv3_model_start(model, -1));
	iommu = iopf_iommu_open("smmuv3,model=soak");
	assert_non_null(iommu);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = iommu, .size = 256 << 20 });
	assert_non_null(pool);
	poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(poller, iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(iommu));
	assert_int_equal(0, pthread_create(&thread, NULL, poll_thread, poller));

	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		uint32_t sid = 16 + i / NB_PASIDS, pasid = i % NB_PASIDS;
		struct engine *e = &engines[i];

		if (pasid == 0)
			devs[i / NB_PASIDS] = iopf_dev_add(iommu, &(struct iopf_dev_conf){
					.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
		assert_non_null(devs[i / NB_PASIDS]);
		make_space(e);
		e->owner = i + 1;
		give_memory(e);
		e->local = calloc(PAGES, sizeof(e->local[0]));
		e->dma = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){
				.sid = sid, .has_ssid = pasid != 0, .ssid = pasid,
				.depth = DEPTH });
		assert_non_null(e->dma);
		smmuv3_model_dma_owner(e->dma, e->owner);
	}

	for (unsigned int pass = 0; smmuv3_model_stat(model, SMMUV3_MODEL_STAT_STALLS) < target;
			pass++)
		one_pass(pass);

	stalls = smmuv3_model_stat(model, SMMUV3_MODEL_STAT_STALLS);
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		count_answers(&engines[i]);
	print_message("%llu stalls, %llu answered; %llu pages that were gone\n",
			(unsigned long long)stalls, (unsigned long long)answered,
			(unsigned long long)probes);
	assert_int_equal(stalls, answered);
	assert_int_equal(stalls, smmuv3_model_stat(model, SMMUV3_MODEL_STAT_RESUMES));
	assert_int_equal(0, smmuv3_model_stat(model, SMMUV3_MODEL_STAT_RESUMES_STALE));
	assert_int_equal(0, smmuv3_model_stalls_outstanding(model));

	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		smmuv3_model_dma_destroy(engines[i].dma);
		free(engines[i].local);
	}
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(devs[i]));
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(0, mmem_space_destroy(engines[i].space));
	assert_int_equal(0, mmem_pool_destroy(pool));
	iopf_poller_stop(poller);
	pthread_join(thread, NULL);
	assert_int_equal(0, iopf_poller_destroy(poller));
	assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_iommu_close(iommu));
	for (unsigned int i = 0; smmuv3_model_driver_error(model, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(model, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(model, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(model, i));
	assert_int_equal(0, smmuv3_model_driver_errors(model));
	assert_int_equal(0, smmuv3_model_oracle_errors(model));
	smmuv3_model_destroy(model);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_stall_of_many_is_answered_once_and_data_is_intact),
};
TEST_SUITE(soak, tests, NULL, NULL);
