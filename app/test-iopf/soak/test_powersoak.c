/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12: a few hundred suspends and resumes, thousands with IOPF_TEST_SCALE=10, while devices
 * access memory between a get and a put, by stalls and page requests, while pages are unmapped, and
 * while a device is added, attached, detached and removed with a new address space each time. The
 * suspends are at rest, by calls and by themselves, or forced. The model is harsh, often without
 * power while it is suspended, so that an access of a register is a SIGSEGV, and its oracle knows
 * the owner of each frame. An access is aborted only by a forced suspend, the data is intact, and each
 * fault is answered once.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iopf.h"
#include "iopf_power.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "soak.h"
#include "test.h"

#define NB_DEVS		4	/* the first two stall, the others request pages */
#define PAGE		4096
#define PAGES		64	/* of each device */
#define MAX_PAGES	4	/* of one DMA */
#define CHURN_PAGES	4
#define CYCLES		300
#define OWNER_CHURN	(NB_DEVS + 1)

struct user {
	struct pcie_fn fn;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	uint8_t *mem;
	uint32_t owner, seed;
	pthread_t thread;
	uint64_t dmas, aborted, refused;
	_Atomic uint64_t errors;
};

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct mmem_pool *pool;
	struct soak_poller poller;
	struct user user[NB_DEVS];
	unsigned int seed;
	unsigned int power_seed;	/* this and is_off: the thread that suspends or resumes */
	bool is_off;
	_Atomic bool end;
	_Atomic uint32_t forced_begun, forced_ended;
	_Atomic uint64_t unmaps, churns, errors;
	uint64_t churn_faults_ended;	/* faults of the spaces that are gone, without an answer */
} t;

static unsigned int
pick(unsigned int *seed, unsigned int n)
{
	return (unsigned int)rand_r(seed) % n;
}

static int
power_on(struct iopf_iommu *iommu, void *ctx)
{
	(void)iommu;
	(void)ctx;
	return t.is_off ? smmuv3_model_power_on(t.model) : 0;
}

/*
 * Half the suspends keep the power. Then the SMMU keeps what it has cached too, and only the
 * resume's commands end that.
 */

static void
power_off(struct iopf_iommu *iommu, void *ctx)
{
	(void)iommu;
	(void)ctx;
	t.is_off = pick(&t.power_seed, 2) != 0;
	if (t.is_off)
		atomic_fetch_add(&t.errors, smmuv3_model_power_off(t.model) != 0);
}

/* 0, or -ESHUTDOWN during a forced suspend. */
static int
take_use(struct iopf_dev *dev)
{
	int ret = iopf_dev_get(dev);

	if (ret < 0 && ret != -EINPROGRESS)
		return ret;
	while (ret == -EINPROGRESS) {
		sched_yield();
		ret = iopf_dev_active(dev);
	}
	if (ret < 0)
		iopf_dev_put(dev);
	return ret;
}

/*
 * One DMA, with a use taken. @p before is forced_ended from before the use. False: a forced suspend
 * has aborted it.
 */
static bool
dma_succeeds(int ret, uint32_t before, _Atomic uint64_t *errors)
{
	if (ret == 0)
		return true;
	/* Only a forced suspend that has begun since, or was under way then. */
	if (ret != -EFAULT || atomic_load(&t.forced_begun) == before)
		atomic_fetch_add(errors, 1);
	return false;
}

static void *
use_device(void *arg)
{
	uint8_t out[MAX_PAGES * PAGE], in[MAX_PAGES * PAGE];
	struct user *u = arg;

	while (!atomic_load(&t.end)) {
		unsigned int pages = 1 + pick(&u->seed, MAX_PAGES);
		unsigned int page = pick(&u->seed, PAGES - pages + 1);
		uint32_t before = atomic_load(&t.forced_ended);
		uintptr_t at = (uintptr_t)u->mem + (size_t)page * PAGE;
		size_t len = (size_t)pages * PAGE;
		int ret = take_use(u->fn.dev);

		if (ret < 0) {
			atomic_fetch_add(&u->errors, ret != -ESHUTDOWN);
			u->refused++;
			usleep(100);
			continue;
		}
		memset(out, pick(&u->seed, 256), len);
		memset(in, 0, len);
		u->dmas++;
		if (!dma_succeeds(smmuv3_model_dma_write(u->dma, at, out, len), before,
				&u->errors) ||
				!dma_succeeds(smmuv3_model_dma_read(u->dma, in, at, len), before,
				&u->errors))
			u->aborted++;
		else
			atomic_fetch_add(&u->errors, memcmp(in, out, len) != 0 ||
					memcmp((void *)at, out, len) != 0);
		atomic_fetch_add(&u->errors, iopf_dev_put(u->fn.dev) != 0);
		usleep(pick(&u->seed, 4) * 500);
	}
	return NULL;
}

/* Pages of all devices are unmapped, also while the IOMMU is suspended, and fault again. */
static void *
unmap_pages(void *arg)
{
	unsigned int seed = t.seed + 1;

	(void)arg;
	while (!atomic_load(&t.end)) {
		struct user *u = &t.user[pick(&seed, NB_DEVS)];
		unsigned int pages = 1 + pick(&seed, 16);

		atomic_fetch_add(&t.errors, mmem_unmap(u->space, u->mem +
				(size_t)pick(&seed, PAGES - pages) * PAGE,
				(size_t)pages * PAGE) != 0);
		atomic_fetch_add(&t.unmaps, 1);
		if (pick(&seed, 8) == 0)
			usleep(100);
	}
	return NULL;
}

/* A device comes and goes, with an address space and an ASID of its own. */
static void
churn_once(unsigned int *seed)
{
	const uint32_t sid = 100 + pick(seed, 2);
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){ .pool = t.pool });
	struct iopf_dev *dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid,
		.nb_sids = 1 });
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(t.model,
			&(struct smmuv3_model_dma_conf){ .sid = sid });
	uint8_t *mem = mmem_alloc(space, CHURN_PAGES * PAGE, MMEM_READ | MMEM_WRITE);
	uint32_t before = atomic_load(&t.forced_ended);
	struct iopf_domain *domain = mmem_space_domain(space);
	uint64_t word = *seed;
	int errors = 0, ret;

	errors += smmuv3_model_frame_give(t.model, (uintptr_t)mem, CHURN_PAGES * PAGE,
			OWNER_CHURN) != 0;
	errors += mmem_attach(space, dev, IOPF_NO_PASID) != 0;
	smmuv3_model_dma_owner(dma, OWNER_CHURN);
	if (take_use(dev) == 0) {
		for (unsigned int i = 0; i < CHURN_PAGES; i++)
			dma_succeeds(smmuv3_model_dma_write(dma, (uintptr_t)mem + i * PAGE, &word,
					sizeof(word)), before, &t.errors);
		errors += iopf_dev_put(dev) != 0;
	}
	/* Now and then in a suspend that keeps the TLB: a translation left over reaches a frame. */
	usleep(pick(seed, 4) * 300);
	errors += mmem_free(space, mem) != 0;
	errors += smmuv3_model_frame_free(t.model, (uintptr_t)mem, CHURN_PAGES * PAGE) != 0;
	/* After the resume. */
	while ((ret = take_use(dev)) == -ESHUTDOWN)
		usleep(100);
	if (ret == 0) {
		errors += smmuv3_model_dma_read(dma, &word, (uintptr_t)mem, sizeof(word)) !=
			-EFAULT;
		errors += iopf_dev_put(dev) != 0;
	}
	smmuv3_model_dma_owner(dma, 0);
	if (pick(seed, 2) == 0)
		errors += mmem_detach(space, dev, IOPF_NO_PASID) != 0;
	/* Else with the removal. */
	errors += iopf_dev_remove(dev) != 0;
	t.churn_faults_ended += iopf_domain_stat(domain, IOPF_STAT_TERMINATED);
	errors += mmem_space_destroy(space) != 0;
	smmuv3_model_dma_destroy(dma);
	atomic_fetch_add(&t.errors, errors);
	atomic_fetch_add(&t.churns, 1);
}

static void *
churn(void *arg)
{
	unsigned int seed = t.seed + 2;

	(void)arg;
	while (!atomic_load(&t.end)) {
		churn_once(&seed);
		if (pick(&seed, 4) == 0)
			usleep(200);
	}
	return NULL;
}

static void
add_user(unsigned int i)
{
	struct user *u = &t.user[i];
	bool pri = i >= NB_DEVS / 2;

	u->seed = t.seed + 10 + i;
	u->owner = i + 1;
	u->fn.sid = 16 + i;
	u->fn.silent = true;
	u->fn.resets = true;
	u->fn.dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){
		.sids = &u->fn.sid,
		.nb_sids = 1,
		.recover = pri ? IOPF_PRI : IOPF_STALL,
		.pci = pri ? &pcie_fn_ops : NULL,
		.ctx = &u->fn,
	});
	assert_non_null(u->fn.dev);
	u->dma = smmuv3_model_dma_create(t.model, &(struct smmuv3_model_dma_conf){
		.sid = u->fn.sid,
		.kind = pri ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN,
		.group_pages = MAX_PAGES,
	});
	assert_non_null(u->dma);
	u->fn.dma[0] = u->dma;
	u->space = mmem_space_create(&(struct mmem_space_conf){ .pool = t.pool });
	assert_non_null(u->space);
	u->mem = mmem_alloc(u->space, PAGES * PAGE, MMEM_READ | MMEM_WRITE);
	assert_non_null(u->mem);
	assert_int_equal(0, smmuv3_model_frame_give(t.model, (uintptr_t)u->mem, PAGES * PAGE,
			u->owner));
	assert_int_equal(0, mmem_attach(u->space, u->fn.dev, IOPF_NO_PASID));
	smmuv3_model_dma_owner(u->dma, u->owner);
}

static void
open_all(void)
{
	struct smmuv3_model_conf conf = { .name = "powersoak",
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		/* Devices access memory from the power-on to the resume too, in a forced suspend. */
		.choices = SMMUV3_MODEL_STICKY_TLB | SMMUV3_MODEL_GBPA_RESET_ABORT,
		/* With few ASIDs each is reused soon. */
		.no_features = SMMUV3_MODEL_NO_ASID16 };

	memset(&t, 0, sizeof(t));
	/* GBPA has to abort: devices access memory while SMMUEN is 0. */
	soak_choose(conf.name, SMMUV3_MODEL_HARSH_LEVEL_IRQ, &conf);
	/* They need MSIs. */
	if (test_adds_ecmdqs())
		conf.no_features &= ~SMMUV3_MODEL_NO_MSI;
	else if (!(conf.no_features & SMMUV3_MODEL_NO_MSI) && conf.seed / 2 % 2 != 0)
		conf.features |= SMMUV3_MODEL_ECMDQ;
	t.seed = conf.seed;
	t.power_seed = conf.seed + 3;
	t.model = smmuv3_model_create(&conf);
	assert_non_null(t.model);
	soak_print_severities(conf.name, t.model, &conf);
	print_message("%s: %s ECMDQs\n", conf.name,
			test_adds_ecmdqs() || conf.features & SMMUV3_MODEL_ECMDQ ? "with" :
			"without");
	assert_int_equal(0, smmuv3_model_start(t.model, -1));
	t.iommu = iopf_iommu_open("smmuv3,model=powersoak");
	assert_non_null(t.iommu);
	soak_be_patient(t.iommu);
	t.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = t.iommu, .size = 64 << 20 });
	assert_non_null(t.pool);
	/* iopf_poller_run() with an odd seed, which the resume wakes; else a thread that spins. */
	t.poller = (struct soak_poller){ .poller = soak_poller_create(), .iommu = t.iommu,
		.seed = conf.seed };
	assert_int_equal(0, iopf_poller_add(t.poller.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	soak_poller_start(&t.poller);
	for (unsigned int i = 0; i < NB_DEVS; i++)
		add_user(i);
	assert_int_equal(0, iopf_iommu_set_power(t.iommu, &(struct iopf_power_conf){
		.autosuspend_ms = 1, .power_on = power_on, .power_off = power_off }));
}

static uint64_t
read_stat(enum iopf_iommu_stat stat)
{
	return iopf_iommu_stat(t.iommu, stat);
}

static void
suspend_forced(void)
{
	atomic_fetch_add(&t.forced_begun, 1);
	assert_int_equal(0, iopf_iommu_suspend(t.iommu, IOPF_SUSPEND_FORCE));
	assert_true(iopf_iommu_is_suspended(t.iommu));
	usleep(pick(&t.seed, pick(&t.seed, 4) == 0 ? 5000 : 300));
	assert_true(iopf_iommu_is_suspended(t.iommu));
	assert_int_equal(0, iopf_iommu_resume(t.iommu));
	atomic_fetch_add(&t.forced_ended, 1);
}

static void
suspend_and_resume(uint64_t cycles)
{
	int ret;

	while (read_stat(IOPF_IOMMU_STAT_SUSPENDS) < cycles && atomic_load(&t.errors) == 0) {
		switch (pick(&t.seed, 6)) {
		case 0:
			suspend_forced();
			break;
		case 1:
			assert_int_equal(0, iopf_iommu_resume(t.iommu));
			break;
		case 2:
			usleep(pick(&t.seed, 3000));
			break;
		default:
			ret = iopf_iommu_suspend(t.iommu, 0);
			assert_true(ret == 0 || ret == -EBUSY);
			usleep(pick(&t.seed, 500));
		}
	}
}

static void
close_all(void)
{
	uint64_t ended = t.churn_faults_ended;
	int ret;

	for (unsigned int i = 0; i < NB_DEVS; i++) {
		struct user *u = &t.user[i];

		smmuv3_model_dma_owner(u->dma, 0);
		assert_int_equal(0, mmem_detach(u->space, u->fn.dev, IOPF_NO_PASID));
		assert_int_equal(0, iopf_dev_remove(u->fn.dev));
		smmuv3_model_dma_destroy(u->dma);
		assert_int_equal(0, mmem_free(u->space, u->mem));
		assert_int_equal(0, smmuv3_model_frame_free(t.model, (uintptr_t)u->mem,
				PAGES * PAGE));
		ended += iopf_domain_stat(mmem_space_domain(u->space), IOPF_STAT_TERMINATED);
		assert_int_equal(0, mmem_space_destroy(u->space));
	}
	assert_int_equal(read_stat(IOPF_IOMMU_STAT_FAULTS),
			read_stat(IOPF_IOMMU_STAT_ANSWERS) + ended);
	assert_int_equal(0, mmem_pool_destroy(t.pool));
	soak_poller_stop(&t.poller);
	assert_int_equal(0, iopf_poller_destroy(t.poller.poller));
	do {
		assert_int_equal(0, iopf_iommu_resume(t.iommu));
		ret = iopf_iommu_set_power(t.iommu, NULL);
	} while (ret == -EBUSY);
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
devices_in_use_are_served_and_nothing_touches_the_smmu_while_it_is_off(void **state)
{
	uint64_t dmas = 0, aborted = 0, refused = 0, errors;
	pthread_t unmapper, churner;

	(void)state;
	open_all();
	for (unsigned int i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, pthread_create(&t.user[i].thread, NULL, use_device,
				&t.user[i]));
	assert_int_equal(0, pthread_create(&unmapper, NULL, unmap_pages, NULL));
	assert_int_equal(0, pthread_create(&churner, NULL, churn, NULL));
	suspend_and_resume((uint64_t)CYCLES * test_scale());
	atomic_store(&t.end, true);
	pthread_join(unmapper, NULL);
	pthread_join(churner, NULL);
	errors = t.errors;
	for (unsigned int i = 0; i < NB_DEVS; i++) {
		pthread_join(t.user[i].thread, NULL);
		dmas += t.user[i].dmas;
		aborted += t.user[i].aborted;
		refused += t.user[i].refused;
		errors += t.user[i].errors;
	}
	print_message("%llu suspends, %u forced, %llu refused, %llu resumes; %llu uses, %llu refused, "
			"%llu aborted; %llu faults, %llu unmaps, %llu devices\n",
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_SUSPENDS),
			atomic_load(&t.forced_begun),
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_SUSPENDS_REFUSED),
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_RESUMES),
			(unsigned long long)dmas, (unsigned long long)refused,
			(unsigned long long)aborted,
			(unsigned long long)read_stat(IOPF_IOMMU_STAT_FAULTS),
			(unsigned long long)t.unmaps, (unsigned long long)t.churns);
	assert_int_equal(0, errors);
	/* The soak had the events it is meant to have. */
	assert_true(dmas > 0 && t.unmaps > 0 && t.churns > 0 && t.forced_begun > 0);
	close_all();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(devices_in_use_are_served_and_nothing_touches_the_smmu_while_it_is_off),
};

TEST_SUITE(powersoak, tests, NULL, NULL);
