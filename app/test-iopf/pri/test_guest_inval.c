/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A guest's commands, on a model that forgets nothing without a command: what the guest changes
 * shows after the right command and not before, and nothing of another guest changes.
 */

#include <errno.h>
#include <string.h>

#include <rte_common.h>

#include "guest_rig.h"
#include "iopf_guest.h"
#include "iopf_power.h"
#include "log_lines.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "test.h"

#define SID	9			/* of guest 0; guest 1 has the next */
#define ASID	(GUEST_ASID + GUEST_PASID)
#define PAGE	7			/* of VAs */
#define OLD	(GUEST_DATA + PAGE)	/* where it is */
#define NEW	(GUEST_DATA + 40)	/* where the guest moves it */

static struct pcie r;
static struct guest guest[2];

static void
open_guests(unsigned int n, bool stalls)
{
	pcie_open(&r, &guest_model_conf, NULL);
	for (unsigned int i = 0; i < n; i++) {
		guest_add(&r, &guest[i], SID + i, stalls);
		pcie_map(&guest[i].parent, &(struct iopf_fault){ .addr = GUEST_IPA(NEW) });
	}
}

static void
close_guests(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		guest_remove(&guest[i]);
	pcie_close(&r);
}

static int
issue(struct guest *g, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	return iopf_invalidate_guest(r.iommu, g->parent.domain,
			(const struct iopf_guest_cmd *)(const void *)cmds, n, result);
}

static void
issue_ok(struct guest *g, const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct iopf_inv_result result = { .done = 77 };

	assert_int_equal(issue(g, cmds, n, &result), 0);
	assert_int_equal(result.done, n);
	assert_int_equal(result.failed, n);
	assert_int_equal(result.error, IOPF_INV_OK);
}

/* Nothing is issued. */
static void
issue_refused(struct guest *g, const struct smmuv3_cmd *cmds, unsigned int n, unsigned int failed,
		const char *why)
{
	uint64_t commands = pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS);
	struct iopf_inv_result result = { .done = 77 };

	SAYS(why, assert_int_equal(issue(g, cmds, n, &result), -EINVAL));
	assert_int_equal(result.done, 0);
	assert_int_equal(result.failed, failed);
	assert_int_equal(result.error, IOPF_INV_REFUSED);
	pcie_run_model(&r);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS), commands);
}

/* The device uses the page; then the guest moves it, and the device does not see that. */
static void
move_page(struct guest *g)
{
	guest_expect_at(g, 1, PAGE, OLD);
	smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(NEW) | GUEST_LEAF);
	guest_expect_at(g, 1, PAGE, OLD);
}

static void
test_a_change_of_a_table_shows_after_its_tlbi(void **state)
{
	const struct smmuv3_cmd right[] = {
		smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE), true),
		smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE), false),
		smmuv3_cmd_tlbi_nh_vaa(0, GUEST_VA(PAGE), true),
		smmuv3_cmd_tlbi_nh_va_range(0, ASID, GUEST_VA(0), true, 1, 7, 0, 3),
		smmuv3_cmd_tlbi_nh_asid(0, ASID),
		smmuv3_cmd_tlbi_nh_all(0),
		smmuv3_cmd_tlbi_nsnh_all(),
		/* The VMID of a guest's command is of no importance. */
		smmuv3_cmd_tlbi_nh_all(0xffff),
		smmuv3_cmd_tlbi_nh_va(7, ASID, GUEST_VA(PAGE), true),
	};
	const struct smmuv3_cmd wrong[] = {
		smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE + 1), true),
		smmuv3_cmd_tlbi_nh_va(0, ASID + 1, GUEST_VA(PAGE), true),
		smmuv3_cmd_tlbi_nh_asid(0, ASID + 1),
		smmuv3_cmd_cfgi_cd_all(SID),
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, true);
		move_page(&guest[0]);
		issue_ok(&guest[0], wrong, RTE_DIM(wrong));
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		issue_ok(&guest[0], &right[i], 1);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

/* Another table for the PASID, with an ASID of its own, in which the page is at NEW. */
static void
switch_cd(struct guest *g)
{
	struct smmuv3_cd *cd = (struct smmuv3_cd *)(void *)guest_page(g, GUEST_CDS);
	const unsigned int l1 = 4, l2 = 5, l3 = 6;

	cd += GUEST_PASID;
	smmuv3_set_dw(&guest_page(g, l1)[(PCIE_VA >> 30) & 511], GUEST_IPA(l2) | 3);
	smmuv3_set_dw(&guest_page(g, l2)[(PCIE_VA >> 21) & 511], GUEST_IPA(l3) | 3);
	smmuv3_set_dw(&guest_page(g, l3)[(GUEST_VA(PAGE) >> 12) & 511],
			GUEST_IPA(NEW) | GUEST_LEAF);
	smmuv3_set_dw(&cd->dw[1], GUEST_IPA(l1));
	smmuv3_set_dw(&cd->dw[0], (cd->dw[0] & ~SMMUV3_CD0_ASID) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, ASID + 100));
}

static void
test_a_change_of_a_cd_shows_after_its_cfgi(void **state)
{
	const struct smmuv3_cmd right[] = {
		smmuv3_cmd_cfgi_cd(SID, GUEST_PASID, true),
		smmuv3_cmd_cfgi_cd(SID, GUEST_PASID, false),
		smmuv3_cmd_cfgi_cd_all(SID),
	};
	const struct smmuv3_cmd wrong[] = {
		smmuv3_cmd_cfgi_cd(SID, GUEST_PASID - 1, true),
		smmuv3_cmd_tlbi_nh_all(0),
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, true);
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		switch_cd(&guest[0]);
		issue_ok(&guest[0], wrong, RTE_DIM(wrong));
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		issue_ok(&guest[0], &right[i], 1);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

static void
test_a_device_forgets_after_its_atc_inv(void **state)
{
	const struct smmuv3_cmd right[] = {
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID, false, GUEST_VA(PAGE), 0),
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID, false, GUEST_VA(0), 5),
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID, false, 0, SMMUV3_ATC_SIZE_ALL),
		smmuv3_cmd_atc_inv(SID, true, 0, true, GUEST_VA(PAGE), 0),
	};
	const struct smmuv3_cmd wrong[] = {
		smmuv3_cmd_atc_inv(SID, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL),
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID + 1, false, GUEST_VA(PAGE), 0),
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID, false, GUEST_VA(PAGE + 1), 0),
	};
	struct smmuv3_cmd both[2] = { smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE), true) };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, false);
		move_page(&guest[0]);
		issue_ok(&guest[0], &both[0], 1);
		issue_ok(&guest[0], wrong, RTE_DIM(wrong));
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		/* In the order of the array: an ATC could be filled from the TLB again. */
		both[1] = right[i];
		issue_ok(&guest[0], both, 2);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

/* The other guest has the same VAs, ASIDs and PASIDs, and moves its page too, without a command. */
static void
test_nothing_of_another_guest_is_invalidated(void **state)
{
	struct smmuv3_cmd all[] = {
		smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE), false),
		smmuv3_cmd_tlbi_nh_vaa(0, GUEST_VA(PAGE), false),
		smmuv3_cmd_tlbi_nh_asid(0, ASID),
		smmuv3_cmd_tlbi_nh_all(0),
		smmuv3_cmd_tlbi_nsnh_all(),
		smmuv3_cmd_cfgi_cd_all(SID),
		smmuv3_cmd_atc_inv(SID, true, GUEST_PASID, false, 0, SMMUV3_ATC_SIZE_ALL),
		smmuv3_cmd_atc_inv(SID, true, 0, true, 0, SMMUV3_ATC_SIZE_ALL),
	};
	struct guest *own = &guest[0], *other = &guest[1];

	(void)state;
	for (unsigned int stalls = 0; stalls < 2; stalls++) {
		open_guests(2, stalls);
		move_page(own);
		move_page(other);
		for (unsigned int vmid = 0; vmid < 256; vmid++) {
			for (unsigned int i = 0; i < 4; i++)
				all[i].dw[0] = (all[i].dw[0] & ~SMMUV3_TLBI0_VMID) |
					SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid);
			/* A device that stalls has no ATC. */
			issue_ok(own, all, stalls ? 6 : RTE_DIM(all));
		}
		guest_expect_at(own, 1, PAGE, NEW);
		guest_expect_at(other, 1, PAGE, OLD);
		issue_ok(other, all, 4);
		all[6].dw[0] += UINT64_C(1) << 32;
		if (!stalls)
			issue_ok(other, &all[6], 1);
		all[6].dw[0] -= UINT64_C(1) << 32;
		guest_expect_at(other, 1, PAGE, NEW);
		close_guests(2);
	}
}

static void
test_a_guest_names_its_own_devices_only(void **state)
{
	const struct smmuv3_cmd no_one[] = {
		smmuv3_cmd_cfgi_cd(SID + 1, 0, true),
		smmuv3_cmd_cfgi_cd_all(SID + 1),
		smmuv3_cmd_atc_inv(SID + 1, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL),
		smmuv3_cmd_cfgi_cd(SID + 2, 0, true),
		smmuv3_cmd_cfgi_cd_all(0xffffffff),
		smmuv3_cmd_atc_inv(0, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL),
	};
	const struct smmuv3_cmd more[] = {
		smmuv3_cmd_cfgi_cd(SID, 16, true),
		smmuv3_cmd_atc_inv(SID, true, 16, false, 0, 0),
	};
	const struct smmuv3_cmd no_ats = smmuv3_cmd_atc_inv(SID, false, 0, false, 0, 0);

	(void)state;
	open_guests(2, false);
	for (unsigned int i = 0; i < RTE_DIM(no_one); i++)
		issue_refused(&guest[0], &no_one[i], 1, 0,
				"its StreamID is of no device of the guest");
	for (unsigned int i = 0; i < 3; i++)
		issue_ok(&guest[1], &no_one[i], 1);
	for (unsigned int i = 0; i < RTE_DIM(more); i++)
		issue_refused(&guest[0], &more[i], 1, 0,
				"its SubstreamID is more than the device was added with");
	close_guests(2);
	open_guests(1, true);
	issue_refused(&guest[0], &no_ats, 1, 0, "the device has no ATS");
	close_guests(1);
}

static void
test_all_commands_are_checked_before_the_first_is_issued(void **state)
{
	static const unsigned int places[] = { 0, 1, 63, 64, 199 };
	struct smmuv3_cmd cmds[200];

	(void)state;
	open_guests(2, true);
	move_page(&guest[0]);
	for (unsigned int i = 0; i < RTE_DIM(cmds); i++)
		cmds[i] = smmuv3_cmd_tlbi_nh_all(0);
	for (unsigned int k = 0; k < RTE_DIM(places); k++) {
		unsigned int i = places[k];
		const struct smmuv3_cmd good = cmds[i];

		cmds[i] = smmuv3_cmd_sync();
		issue_refused(&guest[0], cmds, RTE_DIM(cmds), i, "opcode");
		cmds[i] = smmuv3_cmd_cfgi_cd_all(SID + 1);
		issue_refused(&guest[0], cmds, RTE_DIM(cmds), i, "of no device of the guest");
		cmds[i] = good;
	}
	guest_expect_at(&guest[0], 1, PAGE, OLD);
	issue_ok(&guest[0], cmds, RTE_DIM(cmds));
	guest_expect_at(&guest[0], 1, PAGE, NEW);
	close_guests(2);
}

static void
test_a_device_is_the_guests_while_attached(void **state)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_cfgi_cd_all(SID);
	struct iopf_inv_result result;
	struct iopf_domain *sibling;
	struct guest *g = &guest[0];

	(void)state;
	open_guests(1, true);
	sibling = guest_create_domain(g, NULL);
	assert_int_equal(iopf_domain_replace(sibling, g->f.dev, IOPF_NO_PASID), 0);
	issue_ok(g, &cmd, 1);
	/* A bypass of the guest's stage 1. */
	assert_int_equal(iopf_domain_replace(g->parent.domain, g->f.dev, IOPF_NO_PASID), 0);
	issue_ok(g, &cmd, 1);
	assert_int_equal(iopf_domain_replace(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	issue_ok(g, &cmd, 1);
	assert_int_equal(iopf_domain_detach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	/* The guest has no device here: the SMMU has nothing of it. */
	assert_int_equal(issue(g, &cmd, 1, &result), -ENOTCONN);
	assert_int_equal(result.error, IOPF_INV_REFUSED);
	assert_int_equal(result.done, 0);
	assert_int_equal(iopf_domain_attach(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	issue_ok(g, &cmd, 1);
	assert_int_equal(iopf_domain_destroy(sibling), 0);
	close_guests(1);
}

static void
test_while_suspended_nothing_is_issued(void **state)
{
	const struct smmuv3_cmd cmds[] = {
		smmuv3_cmd_tlbi_nh_va(0, ASID, GUEST_VA(PAGE), true),
		smmuv3_cmd_cfgi_cd_all(SID),
	};

	(void)state;
	open_guests(1, true);
	move_page(&guest[0]);
	assert_int_equal(iopf_iommu_suspend(r.iommu, 0), 0);
	/* An access of a register is an error of the driver. */
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	issue_ok(&guest[0], cmds, RTE_DIM(cmds));
	issue_refused(&guest[0], &(struct smmuv3_cmd){ { 0x46 } }, 1, 0, "opcode");
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	assert_int_equal(iopf_iommu_resume(r.iommu), 0);
	guest_expect_at(&guest[0], 1, PAGE, NEW);
	close_guests(1);
}

static void
test_only_a_stage_2_domain_has_a_guest(void **state)
{
	const struct iopf_guest_cmd cmd = { { 0x10 } };
	struct iopf_inv_result result = { .done = 77 };
	struct pcie_space plain;

	(void)state;
	open_guests(1, true);
	pcie_create_space(&r, &plain);
	SAYS("it is not of stage 2", assert_int_equal(iopf_invalidate_guest(r.iommu,
			guest[0].domain, &cmd, 1, &result), -EINVAL));
	assert_int_equal(result.error, IOPF_INV_REFUSED);
	assert_int_equal(result.failed, 1);
	assert_int_equal(result.done, 0);
	SAYS("it is not of stage 2", assert_int_equal(iopf_invalidate_guest(r.iommu,
			plain.domain, &cmd, 1, NULL), -EINVAL));
	assert_int_equal(iopf_invalidate_guest(r.iommu, guest[0].parent.domain, NULL, 0, &result),
			0);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_OK);
	close_guests(1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_change_of_a_table_shows_after_its_tlbi),
	cmocka_unit_test(test_a_change_of_a_cd_shows_after_its_cfgi),
	cmocka_unit_test(test_a_device_forgets_after_its_atc_inv),
	cmocka_unit_test(test_nothing_of_another_guest_is_invalidated),
	cmocka_unit_test(test_a_guest_names_its_own_devices_only),
	cmocka_unit_test(test_all_commands_are_checked_before_the_first_is_issued),
	cmocka_unit_test(test_a_device_is_the_guests_while_attached),
	cmocka_unit_test(test_while_suspended_nothing_is_issued),
	cmocka_unit_test(test_only_a_stage_2_domain_has_a_guest),
};

TEST_SUITE(guest_inval, tests, NULL, NULL);
