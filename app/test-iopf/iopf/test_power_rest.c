/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12: a suspend at rest is refused while a device or a fault needs the IOMMU. After that
 * the IOMMU, its devices and those that wait for it are as before.
 */

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "attachment.h"
#include "iommu.h"
#include "iopf_listener.h"
#include "power_rig.h"
#include "smmuv3_pmd.h"
#include "test.h"

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
	power_suspend(&p, 0);
	assert_int_equal(iopf_dev_put(p.fn.dev), -EINVAL);
	power_resume(&p);
	/* A removal drops the uses of the device. */
	assert_int_equal(iopf_dev_get(p.fn.dev), 0);
	assert_int_equal(atomic_load(&p.r.iommu->power.uses), 1);
	assert_int_equal(iopf_dev_remove(p.fn.dev), 0);
	assert_int_equal(atomic_load(&p.r.iommu->power.uses), 0);
	smmuv3_model_dma_destroy(p.dma);
	p.r.nb_fns = 0;
	power_suspend(&p, 0);
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
		power_answer_fault(&p, p.space.group.id);
		pcie_expect_pattern(&p.r, &p.space, 0, 1);
		power_suspend(&p, 0);
		power_resume(&p);
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
	power_suspend(&p, 0);
	power_resume(&p);
	power_access(&p, 0);
	power_close(&p);
}

/* A device that is not in use stalls while the suspend switches the ATS of another one off. */
static struct {
	struct power *p;
	struct smmuv3_model_dma *dma;
	int (*real)(struct iopf_dev *dev, void *ctx);
	uint64_t id;
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
	late.p = &p;
	late.dma = power_add_stalling(&p, &other, 9);
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
	power_suspend(&p, 0);
	power_resume(&p);
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
	power_suspend(&p, 0);
	power_resume(&p);
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

/*
 * A device that is not in use requests a page after the first look for outstanding faults. Its PRI
 * is off then, and cannot go on before the group is answered.
 */
static int
pri_disable_after_a_request(struct iopf_dev *dev, void *ctx)
{
	struct pcie_fn *fn = ctx;

	late.p->fn.dev->pci.pri_disable = late.real;
	late.id = power_take_fault(late.p, 0);
	return late.real(dev, fn);
}

static void
pri_that_a_refused_suspend_switched_off_goes_on_again(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int reset = 0; reset < 2; reset++) {
		power_open(&p, true, NULL);
		late.p = &p;
		late.real = p.fn.dev->pci.pri_disable;
		p.fn.dev->pci.pri_disable = pri_disable_after_a_request;
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		assert_string_equal(p.fn.log, "APp");
		/* An access to a page that is not mapped would abort. */
		assert_int_equal(iopf_dev_active(p.fn.dev), -EINPROGRESS);
		assert_int_equal(iopf_dev_get(p.fn.dev), -EINPROGRESS);
		assert_int_equal(iopf_dev_put(p.fn.dev), 0);
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		assert_string_equal(p.fn.log, "APp");
		if (reset)
			pcie_reset_fn(&p.r, &p.fn);
		else
			power_answer_fault(&p, late.id);
		power_await_active(&p);
		assert_string_equal(p.fn.log, "APpaAP");
		if (reset) {
			assert_int_equal(iopf_group_respond(late.id, IOPF_SUCCESS), -ESTALE);
			pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
		}
		power_access(&p, 1);
		power_suspend(&p, 0);
		power_resume(&p);
		power_access(&p, 2);
		power_close(&p);
	}
}

/* A stop, a detach and a removal need not wait for such a device. */
static void
a_device_whose_pri_is_to_go_on_can_stop_and_go(void **state)
{
	struct power p;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		power_open(&p, true, NULL);
		p.fn.resets = true;
		late.p = &p;
		late.real = p.fn.dev->pci.pri_disable;
		p.fn.dev->pci.pri_disable = pri_disable_after_a_request;
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EBUSY);
		if (i == 0) {
			power_suspend(&p, IOPF_SUSPEND_FORCE);
			power_resume(&p);
			assert_int_equal(iopf_dev_active(p.fn.dev), 0);
			assert_string_equal(p.fn.log, "APpaAP");
			pcie_run(&p.r);
			pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
			power_access(&p, 1);
		} else if (i == 1) {
			assert_int_equal(iopf_domain_detach(p.space.domain, p.fn.dev,
					IOPF_NO_PASID), 0);
			assert_int_equal(iopf_dev_active(p.fn.dev), 0);
			assert_string_equal(p.fn.log, "APpa");
			pcie_run(&p.r);
			pcie_expect_end(p.dma, SMMUV3_MODEL_ABORTED);
			pcie_attach(&p.space, &p.fn, IOPF_NO_PASID);
			power_access(&p, 1);
		}
		power_close(&p);
	}
}

static int
ats_disable_while_it_fails(struct iopf_dev *dev, void *ctx)
{
	smmuv3_model_knob(late.p->r.m, SMMUV3_MODEL_KNOB_SFM, 1);
	while (pcie_stat(&late.p->r, IOPF_IOMMU_STAT_RESETS) == 0) {
		pcie_run_model(&late.p->r);
		iopf_poll(late.p->r.poller);
	}
	return late.real(dev, ctx);
}

static void
an_iommu_that_fails_during_the_suspend_has_failed(void **state)
{
	struct power p;

	(void)state;
	pcie_mute_log(true);
	for (unsigned int i = 0; i < 2; i++) {
		power_open(&p, true, NULL);
		late.p = &p;
		late.real = p.fn.dev->pci.ats_disable;
		p.fn.dev->pci.ats_disable = ats_disable_while_it_fails;
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, 0), -EIO);
		p.fn.dev->pci.ats_disable = late.real;
		assert_int_equal(iopf_dev_active(p.fn.dev), -EIO);
		assert_int_equal(iopf_iommu_suspend(p.r.iommu, i == 0 ? 0 : IOPF_SUSPEND_FORCE),
				-EIO);
		assert_int_equal(pcie_stat(&p.r, IOPF_IOMMU_STAT_RESETS), 1);
		pcie_close(&p.r);
	}
	pcie_mute_log(false);
}

/*
 * Of the driver's suspend: a device accesses memory when the last record was read. Without an
 * attachment (an event), or with a stall, which the suspend ends.
 */
static struct {
	struct power *p;
	struct smmuv3_model_dma *dma;
	struct iopf_driver_ops real;
} unread;

static int
suspend_with_an_unread_record(void *priv, bool bypass)
{
	pcie_write(&unread.p->r, unread.dma, 0, 1);
	pcie_run_model(&unread.p->r);
	return unread.real.suspend(priv, bypass);
}

static void
listeners_are_told_of_a_loss_only_if_a_suspend_lost_an_event(void **state)
{
	struct iopf_listener *listener;
	struct smmuv3_model_dma *stranger;
	struct iopf_record records[4];
	struct power p;

	(void)state;
	for (uint32_t flags = 0; flags <= IOPF_SUSPEND_FORCE; flags += IOPF_SUSPEND_FORCE) {
		power_open(&p, false, NULL);
		stranger = smmuv3_model_dma_create(p.r.m, &(struct smmuv3_model_dma_conf){
				.sid = 77 });
		listener = iopf_listener_open(&(struct iopf_listener_conf){
				.iommu = p.r.iommu });
		assert_non_null(listener);
		power_suspend(&p, flags);
		power_resume(&p);
		assert_int_equal(iopf_listener_read(listener, records, 4), 0);
		unread.p = &p;
		unread.real = smmuv3_pmd.ops;
		smmuv3_pmd.ops.suspend = suspend_with_an_unread_record;
		for (unsigned int i = 0; i < 2; i++) {
			unread.dma = i == 0 ? p.dma : stranger;
			power_suspend(&p, flags);
			power_resume(&p);
			assert_int_equal(iopf_listener_read(listener, records, 4), i);
			pcie_run_model(&p.r);
			pcie_expect_end(unread.dma, SMMUV3_MODEL_ABORTED);
		}
		assert_int_equal(records[0].flags, IOPF_RECORD_LOST);
		smmuv3_pmd.ops = unread.real;
		assert_int_equal(iopf_listener_close(listener), 0);
		smmuv3_model_dma_destroy(stranger);
		power_close(&p);
	}
}

/* By iopf_iommu_idle(), without a timeout. */
static bool
is_woken(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void
a_thread_that_sleeps_is_woken_when_its_interrupts_end_and_begin(void **state)
{
	struct iopf_iommu *iommu;
	struct power p;
	int fd;

	(void)state;
	power_open(&p, false, NULL);
	iommu = p.r.iommu;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(fd >= 0);
	for (uint32_t flags = 0; flags <= IOPF_SUSPEND_FORCE; flags += IOPF_SUSPEND_FORCE) {
		assert_int_equal(iopf_iommu_idle(iommu, fd), 0);
		assert_false(is_woken(fd));
		power_suspend(&p, flags);
		assert_true(is_woken(fd));
		assert_int_equal(iopf_iommu_idle(iommu, -1), 0);
		assert_int_equal(iopf_iommu_idle(iommu, fd), 0);
		assert_false(is_woken(fd));
		power_resume(&p);
		assert_true(is_woken(fd));
		assert_int_equal(iopf_iommu_idle(iommu, -1), 0);
	}
	/* A suspend that is refused has ended the interrupts too. */
	p.space.verdict = IOPF_TAKEN;
	assert_int_equal(iopf_iommu_idle(iommu, fd), 0);
	pcie_write(&p.r, p.dma, 0, 1);
	pcie_run_model(&p.r);
	assert_true(is_woken(fd));
	assert_int_equal(iopf_iommu_suspend(iommu, 0), -EBUSY);
	assert_true(is_woken(fd));
	power_answer_fault(&p, p.space.group.id);
	/* A stop, also of a suspended IOMMU, and the start. */
	for (unsigned int i = 0; i < 2; i++) {
		if (i == 1)
			power_suspend(&p, 0);
		assert_int_equal(iopf_iommu_idle(iommu, fd), 0);
		assert_int_equal(iopf_iommu_stop(iommu), 0);
		assert_true(is_woken(fd));
		assert_int_equal(iopf_iommu_start(iommu), 0);
		assert_true(is_woken(fd));
		assert_int_equal(iopf_iommu_idle(iommu, -1), 0);
	}
	/* None after the end of the sleep. */
	power_suspend(&p, 0);
	power_resume(&p);
	assert_false(is_woken(fd));
	close(fd);
	power_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_use_prevents_a_suspend_at_rest),
	cmocka_unit_test(an_outstanding_fault_prevents_a_suspend_at_rest),
	cmocka_unit_test(a_fault_that_comes_during_the_suspend_is_not_lost),
	cmocka_unit_test(a_device_is_active_when_its_pri_is_on),
	cmocka_unit_test(pri_that_a_refused_suspend_switched_off_goes_on_again),
	cmocka_unit_test(a_device_whose_pri_is_to_go_on_can_stop_and_go),
	cmocka_unit_test(an_iommu_that_fails_during_the_suspend_has_failed),
	cmocka_unit_test(listeners_are_told_of_a_loss_only_if_a_suspend_lost_an_event),
	cmocka_unit_test(a_thread_that_sleeps_is_woken_when_its_interrupts_end_and_begin),
};

TEST_SUITE(power_rest, tests, NULL, NULL);
