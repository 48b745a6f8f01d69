/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A restart of PRI after a reset of the device, which then uses its PRG indices again: no answer to
 * a group from before is for a new group.
 */

#include <errno.h>

#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "test.h"

#define SID	8

static struct pcie r;

static struct smmuv3_model_dma *
open_with_one_index(struct pcie_fn *f, struct pcie_space *s)
{
	struct smmuv3_model_dma *dma;

	pcie_open(&r, NULL, NULL);
	dma = pcie_add_attached_fn(&r, f, s, SID, 4, 1, NULL);
	s->verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	assert_int_equal(s->calls, 1);
	s->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	return dma;
}

/* The SMMU has the new group before the answer to the old one. */
static void
expect_new_group_answered(struct pcie_space *s, struct smmuv3_model_dma *dma)
{
	pcie_run_model(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	pcie_write(&r, dma, 8, 4);
	pcie_run_model(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	pcie_run_ms(&r, 20);
	assert_int_equal(s->calls, 2);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, s, 8, 4);
}

static void
a_restart_waits_for_answers_in_the_command_queue(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = open_with_one_index(&f, &s);
	((struct smmuv3 *)r.iommu->priv)->timeout /= 20;
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_INVALID), 0);
	pcie_reset_fn(&r, &f);
	pcie_mute_log(true);
	if (iopf_dev_pri_restart(f.dev) < 0) {
		smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	}
	expect_new_group_answered(&s, dma);
	pcie_mute_log(false);
	pcie_close(&r);
}

/* A handler that has a group from before the reset must not answer a new one. */
static void
a_restart_ends_groups_that_handlers_have(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = open_with_one_index(&f, &s);
	pcie_reset_fn(&r, &f);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_INVALID), -ESTALE);
	expect_new_group_answered(&s, dma);
	pcie_close(&r);
}

/* A recovery holds answers to page requests back until the SMMU is on again. */
static void
a_restart_waits_for_answers_that_a_recovery_holds(void **state)
{
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct pcie_space s, ss;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	dma = open_with_one_index(&f, &s);
	pcie_create_space(&r, &ss);
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	assert_int_equal(iopf_domain_attach(ss.domain, dev, IOPF_NO_PASID), 0);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	pcie_mute_log(true);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_INVALID), 0);
	pcie_reset_fn(&r, &f);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	/* The next check sends the answers. */
	while ((smmuv3_read32(smmuv3_model_regs(r.m), SMMUV3_CR0) & SMMUV3_CR0_SMMUEN) == 0)
		iopf_poll(r.poller);
	expect_new_group_answered(&s, dma);
	pcie_mute_log(false);
	pcie_expect_end(stalling, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_restart_waits_for_answers_in_the_command_queue),
	cmocka_unit_test(a_restart_waits_for_answers_that_a_recovery_holds),
	cmocka_unit_test(a_restart_ends_groups_that_handlers_have),
};

TEST_SUITE(pri_restart, tests, NULL, NULL);
