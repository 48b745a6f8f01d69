/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12: suspend and resume by calls. What is refused, what ends, in which order, and that no
 * call accesses a register meanwhile.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_errno.h>

#include "array_iommu.h"
#include "attachment.h"
#include "iommu.h"
#include "iopf_listener.h"
#include "iopf_policy.h"
#include "power_rig.h"
#include "smmuv3_pmd.h"
#include "test.h"

static void
suspend(struct power *p, uint32_t flags)
{
	unsigned int nb_off = p->nb_off;

	assert_int_equal(iopf_iommu_suspend(p->r.iommu, flags), 0);
	assert_true(iopf_iommu_is_suspended(p->r.iommu));
	assert_int_equal(p->nb_off, nb_off + 1);
}

static void
resume(struct power *p)
{
	assert_int_equal(iopf_iommu_resume(p->r.iommu), 0);
	assert_false(iopf_iommu_is_suspended(p->r.iommu));
	assert_int_equal(p->nb_on, p->nb_off);
}

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
			suspend(&p, i == 2 ? IOPF_SUSPEND_FORCE : 0);
			assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), 0);
			power_expect(&p, 0, SMMUV3_MODEL_ABORTED);
			resume(&p);
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
		suspend(&p, force ? IOPF_SUSPEND_FORCE : 0);
		resume(&p);
		smmuv3_pmd.ops = order.real;
		assert_string_equal(order.at_suspend, "APpa");
		assert_string_equal(order.at_resume, "APpa");
		assert_string_equal(p.fn.log, "APpaAP");
		power_access(&p, 0);
		power_close(&p);
	}
}

static void
a_use_prevents_a_suspend_at_rest(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	assert_int_equal(iopf_dev_put(p.fn.dev), -EINVAL);
	assert_int_equal(iopf_dev_get(p.fn.dev), 0);
	assert_int_equal(iopf_dev_get(p.fn.dev), 0);
	assert_int_equal(iopf_dev_active(p.fn.dev), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		assert_false(iopf_iommu_is_suspended(p.r.iommu));
		power_access(&p, i);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
	}
	assert_int_equal(pcie_stat(&p.r, IOPF_IOMMU_STAT_SUSPENDS_REFUSED), 2);
	suspend(&p, 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), -EINVAL);
	resume(&p);
	/* A removal drops the uses of the device. */
	assert_int_equal(iopf_dev_get(p.fn.dev), 0);
	assert_int_equal(atomic_load(&p.r.iommu->power.uses), 1);
	assert_int_equal(iopf_dev_remove(p.fn.dev), 0);
	assert_int_equal(atomic_load(&p.r.iommu->power.uses), 0);
	smmuv3_model_dma_destroy(p.dma);
	p.r.nb_fns = 0;
	suspend(&p, 0);
	power_close(&p);
}

/* A stall, or a page request group, that its handler has taken; and a group without Last. */
static void
an_outstanding_fault_prevents_a_suspend_at_rest(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int pri = 0; pri < 2; pri++) {
		power_open(&p, pri, NULL);
		p.space.verdict = IOPF_TAKEN;
		pcie_write(&p.r, p.dma, 0, 1);
		/* The record is in the queue: the suspend reads it. */
		pcie_run_model(&p.r);
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		assert_int_equal(p.space.calls, 1);
		assert_int_equal(iopf_domain_pending(p.space.domain), 1);
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		assert_int_equal(iopf_group_respond(p.space.group.id, IOPF_SUCCESS), 0);
		pcie_run(&p.r);
		pcie_expect_end(p.dma, SMMUV3_MODEL_OK);
		pcie_expect_pattern(&p.r, &p.space, 0, 1);
		suspend(&p, 0);
		resume(&p);
		p.space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		power_access(&p, 1);
		power_close(&p);
	}
	power_open(&p, true, NULL);
	smmuv3_model_dma_quirks(p.dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 1);
	pcie_write(&p.r, p.dma, 0, 4);
	pcie_run(&p.r);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
	smmuv3_model_dma_quirks(p.dma, 0, 0);
	pcie_reset_fn(&p.r, &p.fn);
	pcie_run(&p.r);
	pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_dev_pri_restart(p.fn.dev), 0);
	suspend(&p, 0);
	resume(&p);
	power_access(&p, 0);
	power_close(&p);
}

/* A device that is not in use stalls while the suspend switches the ATS of another one off. */
static struct {
	struct power *p;
	struct smmuv3_model_dma *dma;
	int (*real)(struct iopf_dev *dev, void *ctx);
} late;

static int
ats_disable_while_another_stalls(struct iopf_dev *dev, void *ctx)
{
	pcie_write(&late.p->r, late.dma, 1, 1);
	pcie_run(&late.p->r);
	return late.real(dev, ctx);
}

static void
a_fault_that_comes_during_the_suspend_is_not_lost(void **state)
{
	struct pcie_fn other = { .dev = NULL };
	struct pcie_space space;
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	pcie_add_stalling_fn(&p.r, &other, 9, NULL);
	late.p = &p;
	late.dma = pcie_create_engine(&p.r, &other, &(struct smmuv3_model_dma_conf){ .depth = 8 });
	pcie_create_space(&p.r, &space);
	pcie_attach(&space, &other, IOPF_NO_PASID);
	space.verdict = IOPF_TAKEN;
	late.real = p.fn.dev->pci.ats_disable;
	p.fn.dev->pci.ats_disable = ats_disable_while_another_stalls;
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
	p.fn.dev->pci.ats_disable = late.real;
	assert_int_equal(space.calls, 1);
	/* PRI is on again. */
	assert_string_equal(p.fn.log, "APpaAP");
	power_access(&p, 0);
	assert_int_equal(iopf_group_respond(space.group.id, IOPF_SUCCESS), 0);
	pcie_run(&p.r);
	pcie_expect_end(late.dma, SMMUV3_MODEL_OK);
	suspend(&p, 0);
	resume(&p);
	power_close(&p);
}

/* Without PRI an access of the device would abort. */
static struct {
	int (*real)(struct iopf_dev *dev, unsigned int stu, void *ctx);
	int active, nb;
} settling;

static int
ats_enable_while_asked(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	settling.active = iopf_dev_active(dev);
	settling.nb++;
	return settling.real(dev, stu, ctx);
}

static int
ats_disable_that_fails(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return -EAGAIN;
}

static void
a_device_is_active_when_its_pri_is_on(void **state)
{
	struct power p;

	(void)state;
	power_open(&p, true, NULL);
	settling.nb = 0;
	settling.real = p.fn.dev->pci.ats_enable;
	p.fn.dev->pci.ats_enable = ats_enable_while_asked;
	suspend(&p, 0);
	resume(&p);
	assert_int_equal(settling.nb, 1);
	assert_int_equal(settling.active, -EINPROGRESS);
	assert_int_equal(iopf_dev_active(p.fn.dev), 0);
	/* Also after a suspend that is refused when PRI is off. */
	late.p = &p;
	late.real = p.fn.dev->pci.ats_disable;
	p.fn.dev->pci.ats_disable = ats_disable_that_fails;
	settling.active = 0;
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
	p.fn.dev->pci.ats_disable = late.real;
	assert_int_equal(iopf_dev_pri_restart(p.fn.dev), 0);
	assert_true(settling.nb > 1);
	assert_int_equal(iopf_dev_active(p.fn.dev), 0);
	p.fn.dev->pci.ats_enable = settling.real;
	power_access(&p, 0);
	power_close(&p);
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
		p.space.verdict = IOPF_TAKEN;
		pcie_write(&p.r, p.dma, 0, 1);
		pcie_run(&p.r);
		id = p.space.group.id;
		assert_int_equal(iopf_dev_get(p.fn.dev), 0);
		suspend(&p, IOPF_SUSPEND_FORCE);
		assert_int_equal(iopf_domain_pending(p.space.domain), 0);
		assert_int_equal(iopf_group_respond(id, IOPF_SUCCESS), -ESTALE);
		pcie_run(&p.r);
		pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
		/* Uses do not end it. */
		assert_int_equal(iopf_dev_get(p.fn.dev), -ESHUTDOWN);
		assert_int_equal(iopf_dev_active(p.fn.dev), -ESHUTDOWN);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		assert_int_equal(iopf_dev_put(p.fn.dev), -EINVAL);
		resume(&p);
		assert_int_equal(iopf_group_respond(id, IOPF_SUCCESS), -ESTALE);
		assert_int_equal(iopf_dev_get(p.fn.dev), 0);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		p.space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
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
	suspend(&p, 0);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, IOPF_SUSPEND_FORCE), 0);
	assert_int_equal(iopf_dev_get(p.fn.dev), -ESHUTDOWN);
	resume(&p);
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
		suspend(&p, 0);
		call_everything(&p, 0);
		resume(&p);
		power_access(&p, 0);
		p.fn.resets = true;
		p.space.verdict = IOPF_TAKEN;
		pcie_write(&p.r, p.dma, 1, 1);
		pcie_run(&p.r);
		id = p.space.group.id;
		suspend(&p, IOPF_SUSPEND_FORCE);
		call_everything(&p, id);
		p.space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		resume(&p);
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
	suspend(&p, IOPF_SUSPEND_FORCE);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	power_access(&p, 0);
	suspend(&p, 0);
	assert_int_equal(iopf_iommu_stop(p.r.iommu), 0);
	assert_false(iopf_iommu_is_suspended(p.r.iommu));
	assert_int_equal(iopf_iommu_resume(p.r.iommu), -ENOTCONN);
	assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -ENOTCONN);
	assert_int_equal(iopf_dev_get(p.fn.dev), -ENOTCONN);
	assert_int_equal(p.nb_on, 1);
	assert_int_equal(iopf_iommu_start(p.r.iommu), 0);
	assert_int_equal(p.nb_on, 2);
	power_access(&p, 1);
	suspend(&p, 0);
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
		suspend(&p, 0);
		pgt_unmapped_init(&out, list, 4);
		assert_int_equal(pgt_unmap(p.space.pgt, PCIE_VA, PCIE_PAGE, 0, &out), 0);
		assert_int_equal(iopf_invalidate(p.space.domain, &inv, 1, NULL), 0);
		resume(&p);
		power_access(&p, 0);
		power_expect(&p, 1, SMMUV3_MODEL_OK);
		suspend(&p, 0);
		pcie_create_space(&p.r, &next);
		assert_int_equal(iopf_domain_replace(next.domain, p.fn.dev, IOPF_NO_PASID), 0);
		resume(&p);
		power_expect(&p, 0, SMMUV3_MODEL_OK);
		pcie_expect_pattern(&p.r, &next, 0, 1);
		assert_int_equal(next.calls, 1);
		suspend(&p, 0);
		assert_int_equal(iopf_domain_detach(next.domain, p.fn.dev, IOPF_NO_PASID), 0);
		resume(&p);
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
	suspend(&p, 0);
	atomic_store(&p.on_result, -ENODEV);
	assert_int_equal(iopf_iommu_resume(p.r.iommu), -ENODEV);
	assert_int_equal(iopf_iommu_start(p.r.iommu), -ENODEV);
	assert_true(iopf_iommu_is_suspended(p.r.iommu));
	call_everything(&p, 0);
	atomic_store(&p.on_result, 0);
	assert_int_equal(iopf_iommu_resume(p.r.iommu), 0);
	power_access(&p, 0);
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
	cmocka_unit_test(a_use_prevents_a_suspend_at_rest),
	cmocka_unit_test(an_outstanding_fault_prevents_a_suspend_at_rest),
	cmocka_unit_test(a_fault_that_comes_during_the_suspend_is_not_lost),
	cmocka_unit_test(a_device_is_active_when_its_pri_is_on),
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
