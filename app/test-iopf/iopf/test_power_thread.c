/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12: suspend and resume by themselves, by use counts, and threads that use devices and
 * change tables meanwhile. The model has no power while it is suspended.
 */

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "call.h"
#include "iommu.h"
#include "power_rig.h"
#include "test.h"

#define USERS		3
#define MAPPERS		3
#define CYCLES		30

static const struct iopf_power_conf autosuspend = { .autosuspend_ms = 2 };

/* Take a use, and wait until the IOMMU runs. */
static int
get_active(struct power *p)
{
	int ret = iopf_dev_get(p->fn.dev);

	while (ret == -EINPROGRESS) {
		sched_yield();
		ret = iopf_dev_active(p->fn.dev);
	}
	return ret;
}

static void
it_suspends_by_itself_and_the_next_use_resumes_it(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, &autosuspend);
		for (unsigned int i = 0; i < 5; i++) {
			power_await(&p, true);
			assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
			power_await(&p, false);
			assert_int_equal(get_active(&p), 0);
			power_access(&p, i);
			assert_int_equal(iopf_dev_put(p.fn.dev), 0);
			assert_false(iopf_iommu_is_suspended(p.r.iommu));
			assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		}
		power_close(&p);
		assert_true(p.nb_resumed >= 5);
		assert_int_equal(p.resumed_result, 0);
	}
}

static void
it_does_not_suspend_by_itself_while_a_fault_waits(void **state)
{
	struct power p;
	uint64_t id;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		id = power_take_fault(&p, 0);
		assert_int_equal(iopf_iommu_set_power(p.r.iommu, &autosuspend), 0);
		while (pcie_stat(&p.r, IOPF_IOMMU_STAT_SUSPENDS_REFUSED) < 3)
			usleep(1000);
		assert_false(iopf_iommu_is_suspended(p.r.iommu));
		power_answer_fault(&p, id);
		while (!iopf_iommu_is_suspended(p.r.iommu))
			usleep(1000);
		power_close(&p);
	}
}

/* The clocks of two processors differ, or a put comes after this clock was read. */
static void
it_does_not_suspend_after_a_put_that_is_later_than_its_clock(void **state)
{
	struct iopf_power *power;
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	power = &p.r.iommu->power;
	assert_int_equal(iopf_dev_get(p.fn.dev), 0);
	assert_int_equal(iopf_iommu_set_power(p.r.iommu, &autosuspend), 0);
	/* An iopf_dev_put() an hour ahead. */
	atomic_store(&power->idle_since, rte_rdtsc() + 3600 * rte_get_tsc_hz());
	atomic_store(&p.fn.dev->uses, 0);
	atomic_store(&power->uses, 0);
	usleep(50000);
	assert_false(iopf_iommu_is_suspended(p.r.iommu));
	power_close(&p);
}

/* Also from a fast handler: nothing waits. */
static void
a_use_resumes_what_the_application_has_suspended(void **state)
{
	struct power p;
	int ret;

	(void)state;
	power_open(&p, true, NULL);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), 0);
	iopf_self.in_fast = true;
	assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
	ret = iopf_dev_get(p.fn.dev);
	assert_true(ret == 0 || ret == -EINPROGRESS);
	iopf_self.in_fast = false;
	power_await(&p, false);
	while (p.nb_resumed == 0)
		usleep(1000);
	assert_int_equal(iopf_dev_active(p.fn.dev), 0);
	power_access(&p, 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	assert_int_equal(p.nb_resumed, 1);
	power_close(&p);
}

static void
a_resume_that_fails_is_told_and_tried_again(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), 0);
	atomic_store(&p.on_result, -ENODEV);
	assert_int_equal(get_active(&p), -ENODEV);
	while (p.nb_resumed == 0)
		usleep(1000);
	assert_int_equal(p.resumed_result, -ENODEV);
	assert_true(iopf_iommu_is_suspended(p.r.iommu));
	/* The use is taken all the same. */
	assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	assert_int_equal(get_active(&p), -ENODEV);
	atomic_store(&p.on_result, 0);
	assert_int_equal(get_active(&p), 0);
	power_access(&p, 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	power_close(&p);
}

/* A get from an operation of the device, in the middle of a change of state. */
static struct {
	int (*ats_enable)(struct iopf_dev *dev, unsigned int stu, void *ctx);
	int (*ats_disable)(struct iopf_dev *dev, void *ctx);
	int got;
} within;

static int
ats_enable_and_get(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	within.got = iopf_dev_get(dev);
	return within.ats_enable(dev, stu, ctx);
}

static int
ats_disable_and_get(struct iopf_dev *dev, void *ctx)
{
	(void)ctx;
	within.got = iopf_dev_get(dev);
	dev->pci.ats_disable = within.ats_disable;
	return -EAGAIN;
}

static void
await_resumed(struct power *p, unsigned int n)
{
	for (unsigned int i = 0; i < 600000 && atomic_load(&p->nb_resumed) < n; i++)
		usleep(100);
	assert_int_equal(atomic_load(&p->nb_resumed), n);
	assert_int_equal(atomic_load(&p->resumed_result), 0);
	assert_int_equal(within.got, -EINPROGRESS);
	assert_int_equal(iopf_dev_put(p->fn.dev), 0);
}

/* Each get that returned -EINPROGRESS is told of the end, also where no resume is for it. */
static void
a_use_taken_in_the_middle_of_any_change_is_told_of_its_end(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	within.ats_enable = p.fn.dev->pci.ats_enable;
	within.ats_disable = p.fn.dev->pci.ats_disable;
	p.fn.dev->pci.ats_enable = ats_enable_and_get;
	assert_int_equal(iopf_iommu_stop(p.r.iommu), 0);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	await_resumed(&p, 1);
	power_suspend(&p, IOPF_SUSPEND_FORCE);
	power_resume(&p);
	await_resumed(&p, 2);
	p.fn.dev->pci.ats_enable = within.ats_enable;
	within.got = 0;
	/* A suspend that is refused. */
	p.fn.dev->pci.ats_disable = ats_disable_and_get;
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
	await_resumed(&p, 3);
	power_access(&p, 0);
	power_close(&p);
}

static void
await_begun(struct power *p, unsigned int n)
{
	for (unsigned int i = 0; i < 600000 && atomic_load(&p->nb_begun) < n; i++)
		usleep(100);
	assert_int_equal(atomic_load(&p->nb_begun), n);
}

/* The error of an attempt that began before a use says nothing about that use. */
static void
a_use_is_not_told_the_error_of_an_older_attempt(void **state)
{
	unsigned int n;
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), 0);
	atomic_store(&p.on_result, -ENODEV);
	assert_int_equal(get_active(&p), -ENODEV);
	usleep(2000);
	n = atomic_load(&p.nb_begun);
	atomic_store(&p.nb_may_end, n);
	/* Two uses: the second one wakes the thread while it is in power_on. */
	assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
	await_begun(&p, n + 1);
	assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
	atomic_store(&p.nb_may_end, n + 1);
	await_begun(&p, n + 2);
	/* The error of the first is known, and the second, under way, fails too. */
	atomic_store(&p.on_result, 0);
	assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
	atomic_store(&p.nb_may_end, n + 2);
	await_begun(&p, n + 3);
	assert_int_equal(iopf_dev_active(p.fn.dev), -EINPROGRESS);
	atomic_store(&p.nb_may_end, UINT_MAX);
	power_await(&p, false);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	power_close(&p);
}

/* A deferred handler that is at work while the IOMMU is suspended by force. */
static struct {
	_Atomic bool hold;
	_Atomic unsigned int began, ended;
	_Atomic int stale;
} work;

static enum iopf_verdict
work_long(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_inv inv = { .all = true };

	(void)ctx;
	atomic_fetch_add(&work.began, 1);
	while (atomic_load(&work.hold))
		sched_yield();
	if (iopf_invalidate(domain, &inv, 1, NULL) == 0)
		atomic_store(&work.stale, iopf_group_respond(group->id, IOPF_SUCCESS));
	atomic_fetch_add(&work.ended, 1);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_handler_at_work_ends_while_it_is_suspended(void **state)
{
	struct pcie_fn fn = { .dev = NULL };
	struct pcie_space space = { .domain = NULL };
	struct iopf_worker *worker = iopf_worker_create(NULL);
	struct smmuv3_model_dma *dma;
	struct iopf_domain *domain;
	struct power p;

	(void)state;
	assert_non_null(worker);
	power_open(&p, false, NULL);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .deferred = work_long,
		.worker = worker });
	assert_non_null(domain);
	dma = power_add_stalling(&p, &fn, 9);
	assert_int_equal(iopf_domain_attach(domain, fn.dev, IOPF_NO_PASID), 0);
	atomic_store(&work.hold, true);
	pcie_write(&p.r, dma, 0, 1);
	pcie_run(&p.r);
	while (work.began == 0)
		sched_yield();
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, IOPF_SUSPEND_FORCE), 0);
	assert_int_equal(work.ended, 0);
	atomic_store(&work.hold, false);
	while (work.ended == 0)
		sched_yield();
	assert_int_equal(work.stale, -ESTALE);
	assert_int_equal(iopf_domain_detach(domain, fn.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_TERMINATED), 1);
	assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
	pcie_run(&p.r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	power_access(&p, 0);
	/* For the sum of all faults. */
	space.domain = domain;
	p.r.space[p.r.nb_spaces++] = &space;
	power_close(&p);
	assert_int_equal(iopf_worker_destroy(worker), 0);
}

struct user {
	struct power *p;
	struct smmuv3_model_dma *dma;
	unsigned int page;
	_Atomic bool *end;
	uint64_t uses, resumes;
	_Atomic uint64_t errors;
};

/* An access between a get and its put is translated: it never aborts. */
static void *
use_device(void *arg)
{
	struct user *u = arg;
	struct power *p = u->p;
	uint64_t va = PCIE_VA + (uint64_t)u->page * PCIE_PAGE, word;
	int ret;

	while (!atomic_load(u->end)) {
		ret = iopf_dev_get(p->fn.dev);
		u->resumes += ret == -EINPROGRESS;
		while (ret == -EINPROGRESS) {
			sched_yield();
			ret = iopf_dev_active(p->fn.dev);
		}
		u->errors += ret != 0;
		u->errors += iopf_iommu_is_suspended(p->r.iommu);
		word = u->uses;
		for (unsigned int i = 0; i < 4; i++)
			u->errors += smmuv3_model_dma_write(u->dma, va, &word,
					sizeof(word)) != 0;
		u->errors += iopf_dev_put(p->fn.dev) != 0;
		u->uses++;
		usleep(word % 8 * 300);
	}
	return NULL;
}

static void
an_iommu_in_use_never_suspends_at_rest(void **state)
{
	struct user users[USERS];
	pthread_t threads[USERS];
	_Atomic bool end = false;
	uint64_t resumes = 0, errors = 0;
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	for (unsigned int i = 0; i < USERS; i++) {
		power_access(&p, i);
		users[i] = (struct user){ .p = &p, .page = i, .end = &end,
			.dma = pcie_create_engine(&p.r, &p.fn, &(struct smmuv3_model_dma_conf){
				.depth = 8 }) };
	}
	power_run_model(&p);
	assert_int_equal(iopf_iommu_set_power(p.r.iommu, &(struct iopf_power_conf){
		.autosuspend_ms = 1, .power_on = p.r.iommu->power.conf.power_on,
		.power_off = p.r.iommu->power.conf.power_off, .ctx = &p }), 0);
	for (unsigned int i = 0; i < USERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, use_device, &users[i]), 0);
	while (errors == 0 && (pcie_stat(&p.r, IOPF_IOMMU_STAT_SUSPENDS) < CYCLES ||
			pcie_stat(&p.r, IOPF_IOMMU_STAT_SUSPENDS_REFUSED) < CYCLES)) {
		int ret = iopf_iommu_suspend(p.r.iommu, 0);

		assert_true(ret == 0 || ret == -EBUSY);
		for (unsigned int i = 0; i < USERS; i++)
			errors += users[i].errors;
		iopf_poll(p.r.poller);
		usleep(200);
	}
	atomic_store(&end, true);
	for (unsigned int i = 0; i < USERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(users[i].errors, 0);
		resumes += users[i].resumes;
	}
	assert_true(resumes > 0);
	assert_int_equal(atomic_load(&p.r.iommu->power.uses), 0);
	power_close(&p);
}

struct mapper {
	struct power *p;
	unsigned int page;
	_Atomic bool *end;
	uint64_t calls, errors;
};

static void *
map_and_unmap(void *arg)
{
	struct mapper *m = arg;
	struct pcie_space *s = &m->p->space;
	uint64_t va = PCIE_VA + (uint64_t)m->page * PCIE_PAGE;
	const struct iopf_inv inv = { .addr = va, .size = PCIE_PAGE };
	struct pgt_inv list[4];
	struct pgt_unmapped out;

	while (!atomic_load_explicit(m->end, memory_order_relaxed)) {
		m->errors += pgt_map(s->pgt, va, (uintptr_t)s->data + m->page * PCIE_PAGE,
				PCIE_PAGE, PGT_READ) != 0;
		pgt_unmapped_init(&out, list, 4);
		m->errors += pgt_unmap(s->pgt, va, PCIE_PAGE, 0, &out) != 0;
		m->errors += iopf_invalidate(s->domain, &inv, 1, NULL) != 0;
		m->calls++;
	}
	return NULL;
}

static void
tables_change_at_full_speed_while_it_suspends_and_resumes(void **state)
{
	struct mapper mappers[MAPPERS];
	pthread_t threads[MAPPERS];
	_Atomic bool end = false;
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	power_run_model(&p);
	p.fn.silent = true;
	for (unsigned int i = 0; i < MAPPERS; i++) {
		mappers[i] = (struct mapper){ .p = &p, .page = i, .end = &end };
		assert_int_equal(pthread_create(&threads[i], NULL, map_and_unmap, &mappers[i]), 0);
	}
	for (unsigned int i = 0; i < CYCLES; i++) {
		assert_int_equal(iopf_iommu_suspend(p.r.iommu,
				i % 2 != 0 ? IOPF_SUSPEND_FORCE : 0), 0);
		usleep(1000);
		assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
	}
	atomic_store(&end, true);
	for (unsigned int i = 0; i < MAPPERS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(mappers[i].calls > 0);
		assert_int_equal(mappers[i].errors, 0);
	}
	power_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(it_suspends_by_itself_and_the_next_use_resumes_it),
	cmocka_unit_test(it_does_not_suspend_by_itself_while_a_fault_waits),
	cmocka_unit_test(it_does_not_suspend_after_a_put_that_is_later_than_its_clock),
	cmocka_unit_test(a_use_resumes_what_the_application_has_suspended),
	cmocka_unit_test(a_resume_that_fails_is_told_and_tried_again),
	cmocka_unit_test(a_use_taken_in_the_middle_of_any_change_is_told_of_its_end),
	cmocka_unit_test(a_use_is_not_told_the_error_of_an_older_attempt),
	cmocka_unit_test(a_handler_at_work_ends_while_it_is_suspended),
	cmocka_unit_test(an_iommu_in_use_never_suspends_at_rest),
	cmocka_unit_test(tables_change_at_full_speed_while_it_suspends_and_resumes),
};

TEST_SUITE(power_thread, tests, NULL, NULL);
