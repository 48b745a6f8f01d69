/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "iommu.h"
#include "power_rig.h"
#include "smmuv3_pmd.h"
#include "test.h"

static int
power_on(struct iopf_iommu *iommu, void *ctx)
{
	struct power *p = ctx;
	int ret = atomic_load(&p->on_result);

	assert_ptr_equal(iommu, p->r.iommu);
	/* State and locks are the library's: control calls are refused. */
	assert_int_equal(iopf_iommu_resume(iommu), -EDEADLK);
	atomic_fetch_add(&p->nb_begun, 1);
	while (atomic_load(&p->nb_begun) > atomic_load(&p->nb_may_end))
		usleep(100);
	if (ret != 0)
		return ret;
	atomic_fetch_add(&p->nb_on, 1);
	return smmuv3_model_power_on(p->r.m);
}

static void
power_off(struct iopf_iommu *iommu, void *ctx)
{
	struct power *p = ctx;

	assert_int_equal(iopf_iommu_suspend(iommu, 0), -EDEADLK);
	assert_int_equal(smmuv3_model_power_off(p->r.m), 0);
	atomic_fetch_add(&p->nb_off, 1);
}

static void
resumed(struct iopf_iommu *iommu, int ret, void *ctx)
{
	struct power *p = ctx;

	assert_int_equal(iopf_iommu_start(iommu), -EDEADLK);
	atomic_store(&p->resumed_result, ret);
	atomic_fetch_add(&p->nb_resumed, 1);
}

void
power_open(struct power *p, bool pri, const struct iopf_power_conf *conf)
{
	struct iopf_power_conf how = { .autosuspend_ms = 0 };

	memset(p, 0, sizeof(*p));
	atomic_store(&p->nb_may_end, UINT_MAX);
	pcie_open(&p->r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB }, NULL);
	if (conf != NULL)
		how = *conf;
	how.power_on = power_on;
	how.power_off = power_off;
	how.resumed = resumed;
	how.ctx = p;
	if (pri) {
		p->dma = pcie_add_simple(&p->r, &p->fn, &p->space, 8, 4);
	} else {
		p->dma = power_add_stalling(p, &p->fn, 8);
		pcie_create_space(&p->r, &p->space);
		pcie_attach(&p->space, &p->fn, IOPF_NO_PASID);
	}
	assert_int_equal(iopf_iommu_set_power(p->r.iommu, &how), 0);
}

void
power_run_model(struct power *p)
{
	struct smmuv3 *s = p->r.iommu->priv;

	s->timeout *= 60;
	assert_int_equal(smmuv3_model_start(p->r.m, -1), 0);
}

struct smmuv3_model_dma *
power_add_stalling(struct power *p, struct pcie_fn *fn, uint32_t sid)
{
	pcie_add_stalling_fn(&p->r, fn, sid, NULL);
	return pcie_create_engine(&p->r, fn, &(struct smmuv3_model_dma_conf){ .depth = 8 });
}

void
power_close(struct power *p)
{
	int ret;

	/* It may suspend by itself in between. */
	do {
		assert_int_equal(iopf_iommu_resume(p->r.iommu), 0);
		ret = iopf_iommu_set_power(p->r.iommu, NULL);
	} while (ret == -EBUSY);
	assert_int_equal(ret, 0);
	assert_int_equal(p->nb_on, p->nb_off);
	pcie_close(&p->r);
}

void
power_suspend(struct power *p, uint32_t flags)
{
	unsigned int nb_off = p->nb_off;

	assert_int_equal(iopf_iommu_suspend(p->r.iommu, flags), 0);
	assert_true(iopf_iommu_is_suspended(p->r.iommu));
	assert_int_equal(p->nb_off, nb_off + 1);
}

void
power_resume(struct power *p)
{
	assert_int_equal(iopf_iommu_resume(p->r.iommu), 0);
	assert_false(iopf_iommu_is_suspended(p->r.iommu));
	assert_int_equal(p->nb_on, p->nb_off);
}

void
power_expect(struct power *p, unsigned int page, enum smmuv3_model_status status)
{
	pcie_write_and_wait(&p->r, p->dma, page, 1, status);
}

void
power_access(struct power *p, unsigned int page)
{
	unsigned int calls = p->space.calls;

	power_expect(p, page, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&p->r, &p->space, page, 1);
	assert_int_equal(p->space.calls, calls + 1);
}

uint64_t
power_take_fault(struct power *p, unsigned int page)
{
	unsigned int calls = p->space.calls;

	p->space.verdict = IOPF_TAKEN;
	pcie_write(&p->r, p->dma, page, 1);
	pcie_run(&p->r);
	assert_int_equal(p->space.calls, calls + 1);
	p->space.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	return p->space.group.id;
}

void
power_answer_fault(struct power *p, uint64_t id)
{
	assert_int_equal(iopf_group_respond(id, IOPF_SUCCESS), 0);
	pcie_run(&p->r);
	pcie_expect_end(p->dma, SMMUV3_MODEL_OK);
}

void
power_await(struct power *p, bool suspended)
{
	for (unsigned int i = 0; i < 60000; i++) {
		if (iopf_iommu_is_suspended(p->r.iommu) == suspended)
			return;
		iopf_poll(p->r.poller);
		usleep(1000);
	}
	fail_msg("the IOMMU is not %s after a minute", suspended ? "suspended" : "resumed");
}

void
power_await_active(struct power *p)
{
	for (unsigned int i = 0; i < 60000; i++) {
		if (iopf_dev_active(p->fn.dev) == 0)
			return;
		iopf_poll(p->r.poller);
		usleep(1000);
	}
	fail_msg("the device is not active after a minute");
}
