/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12: suspend and resume by calls. What is refused, what ends, in which order, and that no
 * call accesses a register meanwhile.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "array_iommu.h"
#include "iommu.h"
#include "iopf_listener.h"
#include "iopf_policy.h"
#include "power_rig.h"
#include "smmuv3_pmd.h"
#include "test.h"

static void
accesses_abort_while_it_is_suspended_and_succeed_after_the_resume(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		power_access(&p, 0);
		assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
		for (unsigned int i = 1; i < 4; i++) {
			power_suspend(&p, i == 2 ? IOPF_SUSPEND_FORCE : 0);
			assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), 0);
			power_expect(&p, 0, SMMUV3_MODEL_ABORTED);
			power_resume(&p);
			assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
			power_expect(&p, 0, SMMUV3_MODEL_OK);
			power_access(&p, i);
		}
		assert_int_equal(pcie_stat(&p.r, IOPF_IOMMU_STAT_SUSPENDS), 3);
		assert_int_equal(pcie_stat(&p.r, IOPF_IOMMU_STAT_RESUMES), 3);
		power_close(&p);
	}
}

/* Of the driver's operations, with the device's log at their calls. */
static struct {
	struct power *p;
	struct iopf_driver_ops real;
	char at_suspend[16], at_resume[16];
} order;

static int
logged_suspend(void *priv, bool bypass)
{
	strcpy(order.at_suspend, order.p->fn.log);
	return order.real.suspend(priv, bypass);
}

static int
logged_resume(void *priv)
{
	int ret = order.real.resume(priv);

	strcpy(order.at_resume, order.p->fn.log);
	return ret;
}

static void
pri_and_ats_are_off_before_translation_and_on_after_it(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int force = 0; force < 2; force++) {
		power_open(&p, true, NULL);
		order.p = &p;
		order.real = smmuv3_pmd.ops;
		smmuv3_pmd.ops.suspend = logged_suspend;
		smmuv3_pmd.ops.resume = logged_resume;
		power_suspend(&p, force ? IOPF_SUSPEND_FORCE : 0);
		power_resume(&p);
		smmuv3_pmd.ops = order.real;
		assert_string_equal(order.at_suspend, "APpa");
		assert_string_equal(order.at_resume, "APpa");
		assert_string_equal(p.fn.log, "APpaAP");
		power_access(&p, 0);
		power_close(&p);
	}
}

static void
a_forced_suspend_ends_faults_and_their_late_answers_are_stale(void **state)
{
	struct power p;
	uint64_t id;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		p.fn.resets = true;
		id = power_take_fault(&p, 0);
		assert_int_equal(iopf_dev_get(p.fn.dev), 0);
		power_suspend(&p, IOPF_SUSPEND_FORCE);
		assert_int_equal(iopf_domain_pending(p.space.domain), 0);
		assert_int_equal(iopf_group_respond(id, IOPF_SUCCESS), -ESTALE);
		pcie_run(&p.r);
		pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
		/* Uses do not end it. */
		assert_int_equal(iopf_dev_get(p.fn.dev), -ESHUTDOWN);
		assert_int_equal(iopf_dev_active(p.fn.dev), -ESHUTDOWN);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		assert_int_equal(iopf_dev_put(p.fn.dev), -EINVAL);
		power_resume(&p);
		assert_int_equal(iopf_group_respond(id, IOPF_SUCCESS), -ESTALE);
		assert_int_equal(iopf_dev_get(p.fn.dev), 0);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		power_access(&p, 1);
		power_close(&p);
	}
}

/* A suspend at rest becomes a forced one. */
static void
force_holds_a_suspend_that_was_at_rest(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	power_suspend(&p, 0);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, IOPF_SUSPEND_FORCE), 0);
	assert_int_equal(iopf_dev_get(p.fn.dev), -ESHUTDOWN);
	power_resume(&p);
	power_close(&p);
}

/* Each call that an application may make, without power. */
static void
call_everything(struct power *p, uint64_t stale)
{
	const uint32_t sids[2] = { 0x100, 0x101 };
	struct iopf_domain *domain = p->space.domain;
	struct iopf_iommu *iommu = p->r.iommu;
	struct iopf_listener *listener;
	struct iopf_latency latency;
	struct iopf_record records[4];
	struct iopf_dev *dev;
	struct pcie_space other;
	int fd = eventfd(0, EFD_NONBLOCK);
	FILE *f = fopen("/dev/null", "w");
	uint64_t addr;
	void *memory;

	assert_non_null(f);
	for (unsigned int i = 0; i < 200; i++)
		assert_int_equal(iopf_poll(p->r.poller), 0);
	iopf_iommu_dump(iommu, f);
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		iopf_iommu_stat(iommu, i);
	for (unsigned int i = 0; i < iopf_iommu_info(iommu)->nb_stats; i++)
		iopf_iommu_driver_stat(iommu, i, NULL);
	iopf_domain_latency(domain, &latency);
	if (stale != 0)
		assert_int_equal(iopf_group_respond(stale, IOPF_SUCCESS), -ESTALE);
	assert_int_equal(iopf_invalidate(domain, &(struct iopf_inv){ .all = true }, 1, NULL), 0);
	assert_int_equal(iopf_dev_fence(p->fn.dev), 0);
	assert_int_equal(iopf_iommu_idle(iommu, fd), 0);
	assert_int_equal(iopf_iommu_idle(iommu, -1), 0);
	assert_int_equal(iopf_iommu_configure(iommu, NULL), -EBUSY);
	assert_int_equal(iopf_iommu_set_power(iommu, NULL), -EBUSY);
	assert_int_equal(iopf_iommu_close(iommu), -EBUSY);
	listener = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = iommu });
	assert_non_null(listener);
	iopf_listener_read(listener, records, 4);
	iopf_listener_close(listener);
	assert_int_equal(iopf_dev_quarantine(p->fn.dev), 0);
	assert_int_equal(iopf_dev_release(p->fn.dev), 0);
	assert_true(iopf_dev_pri_restart(p->fn.dev) < 0);
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = 2,
		.nb_pasids = 4 });
	assert_non_null(dev);
	pcie_create_space(&p->r, &other);
	assert_int_equal(iopf_domain_attach(other.domain, dev, 1), 0);
	assert_int_equal(iopf_domain_replace(domain, dev, 1), 0);
	assert_int_equal(iopf_domain_attach(other.domain, dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_detach(domain, dev, 1), 0);
	assert_int_equal(iopf_dev_remove(dev), 0);
	p->r.nb_spaces--;
	assert_int_equal(iopf_domain_destroy(other.domain), 0);
	pgt_destroy(other.pgt);
	memory = aligned_alloc(4096, 4096);
	assert_int_equal(iopf_dma_map(iommu, memory, 4096, &addr), 0);
	assert_int_equal(iopf_dma_unmap(iommu, memory, 4096, addr), 0);
	free(memory);
	assert_int_equal(iopf_poller_remove(p->r.poller, iommu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_poller_add(p->r.poller, iommu, IOPF_QUEUE_ALL), 0);
	fclose(f);
	close(fd);
}

static void
no_call_accesses_a_register_without_power(void **state)
{
	struct power p;
	uint64_t id;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		power_suspend(&p, 0);
		call_everything(&p, 0);
		power_resume(&p);
		power_access(&p, 0);
		p.fn.resets = true;
		id = power_take_fault(&p, 1);
		power_suspend(&p, IOPF_SUSPEND_FORCE);
		call_everything(&p, id);
		power_resume(&p);
		pcie_run(&p.r);
		pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
		power_access(&p, 2);
		power_close(&p);
	}
}

/* Stop, removal and close need no resume. The next start switches the power on. */
static void
a_suspended_iommu_can_be_stopped_started_and_closed(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	power_suspend(&p, IOPF_SUSPEND_FORCE);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	power_access(&p, 0);
	power_suspend(&p, 0);
	assert_int_equal(iopf_iommu_stop(p.r.iommu), 0);
	assert_false(iopf_iommu_is_suspended(p.r.iommu));
	assert_int_equal(iopf_iommu_resume(p.r.iommu), -ENOTCONN);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -ENOTCONN);
	assert_int_equal(iopf_dev_get(p.fn.dev), -ENOTCONN);
	assert_int_equal(p.nb_on, 1);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	assert_int_equal(p.nb_on, 2);
	power_access(&p, 1);
	power_suspend(&p, 0);
	pcie_close(&p.r);
	assert_int_equal(p.nb_on, 2);
}

/* The memory of a page that is unmapped meanwhile is free at once. */
static void
what_changes_while_it_is_suspended_has_its_effect_with_the_resume(void **state)
{
	const struct iopf_inv inv = { .addr = PCIE_VA, .size = PCIE_PAGE };
	struct pcie_space next;
	struct pgt_unmapped out;
	struct pgt_inv list[4];
	struct power p;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		power_access(&p, 0);
		power_access(&p, 1);
		power_suspend(&p, 0);
		pgt_unmapped_init(&out, list, 4);
		assert_int_equal(pgt_unmap(p.space.pgt, PCIE_VA, PCIE_PAGE, 0, &out), 0);
		assert_int_equal(iopf_invalidate(p.space.domain, &inv, 1, NULL), 0);
		power_resume(&p);
		power_access(&p, 0);
		power_expect(&p, 1, SMMUV3_MODEL_OK);
		power_suspend(&p, 0);
		pcie_create_space(&p.r, &next);
		assert_int_equal(iopf_domain_replace(next.domain, p.fn.dev, IOPF_NO_PASID), 0);
		power_resume(&p);
		power_expect(&p, 0, SMMUV3_MODEL_OK);
		pcie_expect_pattern(&p.r, &next, 0, 1);
		assert_int_equal(next.calls, 1);
		power_suspend(&p, 0);
		assert_int_equal(iopf_domain_detach(next.domain, p.fn.dev, IOPF_NO_PASID), 0);
		power_resume(&p);
		power_expect(&p, 0, SMMUV3_MODEL_ABORTED);
		power_close(&p);
	}
}

static void
a_power_on_that_fails_leaves_it_suspended(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	for (uint32_t flags = 0; flags <= IOPF_SUSPEND_FORCE; flags += IOPF_SUSPEND_FORCE) {
		power_suspend(&p, flags);
		atomic_store(&p.on_result, -ENODEV);
		assert_int_equal(iopf_iommu_resume(p.r.iommu), -ENODEV);
		assert_int_equal(iopf_iommu_start(p.r.iommu), -ENODEV);
		assert_true(iopf_iommu_is_suspended(p.r.iommu));
		call_everything(&p, 0);
		assert_int_equal(iopf_dev_active(p.fn.dev),
				flags & IOPF_SUSPEND_FORCE ? -ESHUTDOWN : -ENODEV);
		if (flags & IOPF_SUSPEND_FORCE)
			assert_int_equal(iopf_dev_get(p.fn.dev), -ESHUTDOWN);
		atomic_store(&p.on_result, 0);
		assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
		power_access(&p, flags);
	}
	power_close(&p);
}

static void
wrong_calls_are_refused(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, false, NULL);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 4), -EINVAL);
	assert_int_equal(iopf_iommu_set_power(p.r.iommu, &(struct iopf_power_conf){
		.power_off = (void (*)(struct iopf_iommu *, void *))(void (*)(void))abort }),
		-EINVAL);
	assert_int_equal(iopf_iommu_stop(p.r.iommu), 0);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, IOPF_SUSPEND_FORCE), -ENOTCONN);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	power_close(&p);
}

static void
a_driver_may_have_no_suspend(void **state)
{
	struct iopf_iommu *iommu;

	(void)state;
	array_iommu_reset();
	iommu = iopf_iommu_open("arrays,n=1");
	assert_non_null(iommu);
	assert_int_equal(iopf_iommu_start(iommu), 0);
	assert_int_equal(iopf_iommu_suspend(iommu, 0), -ENOTSUP);
	assert_int_equal(iopf_iommu_resume(iommu), -ENOTSUP);
	assert_int_equal(iopf_iommu_set_power(iommu, NULL), -ENOTSUP);
	assert_int_equal(iopf_iommu_stop(iommu), 0);
	assert_int_equal(iopf_iommu_close(iommu), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(accesses_abort_while_it_is_suspended_and_succeed_after_the_resume),
	cmocka_unit_test(pri_and_ats_are_off_before_translation_and_on_after_it),
	cmocka_unit_test(a_forced_suspend_ends_faults_and_their_late_answers_are_stale),
	cmocka_unit_test(force_holds_a_suspend_that_was_at_rest),
	cmocka_unit_test(no_call_accesses_a_register_without_power),
	cmocka_unit_test(a_suspended_iommu_can_be_stopped_started_and_closed),
	cmocka_unit_test(what_changes_while_it_is_suspended_has_its_effect_with_the_resume),
	cmocka_unit_test(a_power_on_that_fails_leaves_it_suspended),
	cmocka_unit_test(wrong_calls_are_refused),
	cmocka_unit_test(a_driver_may_have_no_suspend),
};

TEST_SUITE(power, tests, NULL, NULL);
