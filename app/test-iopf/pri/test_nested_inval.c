/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10: invalidations of nested domains by type, on a model that forgets nothing without a
 * command: what the guest changes shows after the right request and not before.
 */

#include <errno.h>

#include <rte_common.h>

#include "guest_rig.h"
#include "iopf_guest.h"
#include "iopf_handler.h"
#include "iopf_power.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "test.h"

#define SID	9			/* of guest 0; guest 1 has the next */
#define TAG	(GUEST_ASID + GUEST_PASID)
#define PAGE	7			/* of VAs */
#define OLD	(GUEST_DATA + PAGE)	/* where it is */
#define NEW	(GUEST_DATA + 40)	/* where the guest moves it */
#define OTHER_L1	4u		/* and two tables more: see switch_cd() */

static struct pcie r;
static struct guest guest[2];

/* In a table of requests: the guest's device, which is not there yet. */
#define OWN	((struct iopf_dev *)(void *)guest)

static void
open_guests(unsigned int n, bool stalls)
{
	pcie_open(&r, &guest_model_conf, NULL);
	for (unsigned int i = 0; i < n; i++) {
		guest_add(&r, &guest[i], SID + i, stalls);
		pcie_map(&guest[i].parent, &(struct iopf_fault){ .addr = GUEST_IPA(NEW) });
		/* A page request tells nothing of them. */
		for (unsigned int k = OTHER_L1; k < OTHER_L1 + 3; k++)
			pcie_map(&guest[i].parent, &(struct iopf_fault){ .addr = GUEST_IPA(k) });
	}
}

static void
close_guests(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		guest_remove(&guest[i]);
	pcie_close(&r);
}

static void
issue(struct guest *g, const struct iopf_inv *inv, unsigned int n)
{
	struct iopf_inv_result result = { .done = 77 };
	struct iopf_inv copy[8];

	assert_in_range(n, 0, RTE_DIM(copy));
	for (unsigned int i = 0; i < n; i++) {
		copy[i] = inv[i];
		if (copy[i].dev == OWN)
			copy[i].dev = g->f.dev;
	}
	assert_int_equal(iopf_invalidate(g->domain, copy, n, &result), 0);
	assert_int_equal(result.done, n);
	assert_int_equal(result.failed, n);
	assert_int_equal(result.error, IOPF_INV_OK);
}

/* The device uses the page; then the guest moves it, and the device does not see that. */
static void
move_page(struct guest *g, unsigned int engine)
{
	guest_expect_at(g, engine, PAGE, OLD);
	smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(NEW) | GUEST_LEAF);
	guest_expect_at(g, engine, PAGE, OLD);
}

static void
test_a_change_of_a_table_shows_after_its_request(void **state)
{
	const struct iopf_inv right[] = {
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(PAGE), .size = 4096,
			.leaf_only = true, .leaf_log2 = 12 },
		/* Range commands. */
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 15 * 4096,
			.leaf_log2 = 12 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 500 * 4096,
			.leaf_log2 = 12 },
		/* A command for each page, and too many of these. */
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 31 * 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 33 * 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .all = true },
		/* Of each tag. */
		{ .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .addr = GUEST_VA(PAGE), .size = 4096, .leaf_only = true },
		{ .addr = GUEST_VA(0), .size = 500 * 4096, .leaf_log2 = 12 },
		{ .addr = GUEST_VA(0), .size = 33 * 4096 },
		{ .all = true },
		{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = GUEST_PASID, .tag = TAG },
	};
	const struct iopf_inv wrong[] = {
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(PAGE + 1), .size = 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG + 1, .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG + 1, .all = true },
		{ .addr = GUEST_VA(PAGE + 1), .size = 8 * 4096, .leaf_log2 = 12 },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .all = true },
		{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = IOPF_NO_PASID, .tag = GUEST_ASID },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, true);
		move_page(&guest[0], 1);
		issue(&guest[0], wrong, RTE_DIM(wrong));
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		issue(&guest[0], &right[i], 1);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

/* A page that the guest's tables make global has no tag: all of a tag is not all of its pages. */
static void
test_a_global_page_has_no_tag(void **state)
{
	const struct iopf_inv tag = { .type = IOPF_INV_TAG, .tag = TAG, .all = true };
	const struct iopf_inv right[] = {
		{ .all = true },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 31 * 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 500 * 4096,
			.leaf_log2 = 12 },
		/* More than the driver sends commands for. */
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(0), .size = 33 * 4096 },
	};
	struct guest *g = &guest[0];
	const uint64_t global = GUEST_LEAF & ~(UINT64_C(1) << 11);

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, true);
		smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(OLD) | global);
		guest_expect_at(g, 1, PAGE, OLD);
		smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(NEW) | global);
		issue(g, &tag, 1);
		guest_expect_at(g, 1, PAGE, OLD);
		issue(g, &right[i], 1);
		guest_expect_at(g, 1, PAGE, NEW);
		close_guests(1);
	}
}

/* Another table for a PASID, with an ASID of its own, in which the page is at NEW. */
static void
switch_cd(struct guest *g, unsigned int pasid)
{
	struct smmuv3_cd *cd = (struct smmuv3_cd *)(void *)guest_page(g, GUEST_CDS);
	const unsigned int l1 = OTHER_L1, l2 = l1 + 1, l3 = l1 + 2;

	cd += pasid;
	smmuv3_set_dw(&guest_page(g, l1)[(PCIE_VA >> 30) & 511], GUEST_IPA(l2) | 3);
	smmuv3_set_dw(&guest_page(g, l2)[(PCIE_VA >> 21) & 511], GUEST_IPA(l3) | 3);
	smmuv3_set_dw(&guest_page(g, l3)[(GUEST_VA(PAGE) >> 12) & 511],
			GUEST_IPA(NEW) | GUEST_LEAF);
	smmuv3_set_dw(&cd->dw[1], GUEST_IPA(l1));
	smmuv3_set_dw(&cd->dw[0], (cd->dw[0] & ~SMMUV3_CD0_ASID) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, TAG + 100));
}

static void
test_a_change_of_a_descriptor_shows_after_its_request(void **state)
{
	static const struct {
		struct iopf_inv inv[2];		/* of untagged traffic, and of the PASID */
	} right[] = {
		{ { { .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = IOPF_NO_PASID },
			{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = GUEST_PASID } } },
		{ { { .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = IOPF_NO_PASID,
			.leaf_only = true }, { .type = IOPF_INV_CONFIG, .dev = OWN,
			.pasid = GUEST_PASID, .leaf_only = true } } },
		{ { { .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = 3, .all = true },
			{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = 3, .all = true } } },
		{ { { .type = IOPF_INV_CONFIG, .all = true },
			{ .type = IOPF_INV_CONFIG, .all = true } } },
		{ { { .type = IOPF_INV_PASID, .dev = OWN, .pasid = IOPF_NO_PASID,
			.tag = GUEST_ASID }, { .type = IOPF_INV_PASID, .dev = OWN,
			.pasid = GUEST_PASID, .tag = TAG } } },
	};
	const struct iopf_inv wrong[2][3] = {
		{ { .all = true }, { .type = IOPF_INV_TAG, .tag = GUEST_ASID, .all = true },
			{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = GUEST_PASID } },
		{ { .all = true }, { .type = IOPF_INV_TAG, .tag = TAG, .all = true },
			{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = IOPF_NO_PASID } },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right) * 2; i++) {
		unsigned int e = i % 2;

		open_guests(1, true);
		guest_expect_at(&guest[0], e, PAGE, OLD);
		switch_cd(&guest[0], e ? GUEST_PASID : 0);
		issue(&guest[0], wrong[e], RTE_DIM(wrong[e]));
		guest_expect_at(&guest[0], e, PAGE, OLD);
		issue(&guest[0], &right[i / 2].inv[e], 1);
		guest_expect_at(&guest[0], e, PAGE, NEW);
		close_guests(1);
	}
}

/* The TLB has forgotten the page, and the device's ATC has not. */
static void
forget_in_tlb(struct guest *g, unsigned int asid)
{
	const struct smmuv3_cmd cmd = smmuv3_cmd_tlbi_nh_asid(0, asid);

	assert_int_equal(iopf_invalidate_guest(r.iommu, g->parent.domain,
			(const struct iopf_guest_cmd *)(const void *)&cmd, 1, NULL), 0);
}

static void
test_a_device_forgets_after_its_request(void **state)
{
	const struct iopf_inv right[2][7] = {
		{
			{ .type = IOPF_INV_DEVICE_TLB, .all = true },
			{ .type = IOPF_INV_DEVICE_TLB, .addr = GUEST_VA(PAGE), .size = 4096 },
			{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = IOPF_NO_PASID,
				.all = true },
			{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = IOPF_NO_PASID,
				.addr = GUEST_VA(0), .size = 9 * 4096 },
			{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = IOPF_NO_PASID },
			{ .type = IOPF_INV_TAG, .addr = GUEST_VA(PAGE), .size = 4096 },
			{ .addr = GUEST_VA(PAGE), .size = 4096 },
		},
		{
			{ .type = IOPF_INV_DEVICE_TLB, .all = true },
			{ .type = IOPF_INV_DEVICE_TLB, .addr = GUEST_VA(PAGE), .size = 4096 },
			{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = GUEST_PASID,
				.all = true },
			{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = GUEST_PASID,
				.addr = GUEST_VA(0), .size = 9 * 4096 },
			{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = GUEST_PASID },
			{ .type = IOPF_INV_TAG, .addr = GUEST_VA(PAGE), .size = 4096 },
			{ .addr = GUEST_VA(PAGE), .size = 4096 },
		},
	};
	const struct iopf_inv wrong[] = {
		{ .type = IOPF_INV_DEVICE_TLB, .addr = GUEST_VA(PAGE + 1), .size = 4096 },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = GUEST_PASID + 1, .all = true },
		{ .type = IOPF_INV_TAG, .addr = GUEST_VA(PAGE + 1), .size = 4096 },
	};
	const struct iopf_inv untagged = { .type = IOPF_INV_DEVICE_TLB, .dev = OWN,
		.pasid = IOPF_NO_PASID, .all = true };

	(void)state;
	for (unsigned int i = 0; i < 14; i++) {
		unsigned int e = i % 2;

		open_guests(1, false);
		move_page(&guest[0], e);
		/* The ATC alone: it gets the page again from the TLB. */
		issue(&guest[0], &right[e][i / 2], i / 2 < 4);
		guest_expect_at(&guest[0], e, PAGE, OLD);
		forget_in_tlb(&guest[0], e ? TAG : GUEST_ASID);
		issue(&guest[0], wrong, RTE_DIM(wrong));
		if (e == 1)
			issue(&guest[0], &untagged, 1);
		guest_expect_at(&guest[0], e, PAGE, OLD);
		issue(&guest[0], &right[e][i / 2], 1);
		guest_expect_at(&guest[0], e, PAGE, NEW);
		close_guests(1);
	}
}

/* One request for TLB and ATC. */
static void
test_a_tag_is_forgotten_by_devices_too(void **state)
{
	const struct iopf_inv right[] = {
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .type = IOPF_INV_TAG, .tag = TAG, .all = true },
		{ .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .all = true },
		{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = GUEST_PASID, .tag = TAG },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(right); i++) {
		open_guests(1, false);
		move_page(&guest[0], 1);
		issue(&guest[0], &right[i], 1);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

/* As in iopf_inval.h: what a guest does when it gives a PASID to another process. */
static void
test_an_array_of_types_is_of_all_of_them(void **state)
{
	const struct iopf_inv inv[] = {
		{ .type = IOPF_INV_TAG, .tag = GUEST_ASID, .addr = GUEST_VA(PAGE), .size = 4096,
			.leaf_only = true },
		{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = GUEST_PASID, .all = true },
		{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = GUEST_PASID },
	};

	(void)state;
	for (unsigned int stalls = 0; stalls < 2; stalls++) {
		open_guests(1, stalls);
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		move_page(&guest[0], 0);
		switch_cd(&guest[0], GUEST_PASID);
		guest_expect_at(&guest[0], 1, PAGE, OLD);
		/* Whatever their places: descriptors and TLBs come before ATCs. */
		issue(&guest[0], inv, RTE_DIM(inv));
		guest_expect_at(&guest[0], 0, PAGE, NEW);
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		close_guests(1);
	}
}

/* The other guest has the same VAs, tags and PASIDs, and moves its page too, without a request. */
static void
test_nothing_of_another_guest_is_invalidated(void **state)
{
	const struct iopf_inv all[] = {
		{ .all = true },
		{ .type = IOPF_INV_TAG, .tag = TAG, .all = true },
		{ .type = IOPF_INV_TAG, .tag = TAG, .addr = GUEST_VA(PAGE), .size = 4096 },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .all = true },
		{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = GUEST_PASID, .tag = TAG },
	};

	(void)state;
	for (unsigned int stalls = 0; stalls < 2; stalls++) {
		struct iopf_inv other = { .type = IOPF_INV_PASID, .pasid = GUEST_PASID,
			.tag = TAG };

		open_guests(2, stalls);
		move_page(&guest[0], 1);
		move_page(&guest[1], 1);
		issue(&guest[0], all, RTE_DIM(all));
		guest_expect_at(&guest[0], 1, PAGE, NEW);
		guest_expect_at(&guest[1], 1, PAGE, OLD);
		/* Nor by a request for its device: the tag is of the domain's guest. */
		other.dev = guest[1].f.dev;
		issue(&guest[0], &other, 1);
		guest_expect_at(&guest[1], 1, PAGE, OLD);
		issue(&guest[1], &other, 1);
		guest_expect_at(&guest[1], 1, PAGE, NEW);
		close_guests(2);
	}
}

/* A device that was detached has nothing cached; one that came back is invalidated again. */
static void
test_only_devices_of_the_domain_are_invalidated(void **state)
{
	const struct iopf_inv all[] = {
		{ .type = IOPF_INV_DEVICE_TLB, .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .dev = OWN, .pasid = GUEST_PASID, .all = true },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_CONFIG, .dev = OWN, .pasid = 1 },
	};
	struct guest *g = &guest[0];
	struct iopf_domain *sibling;
	uint64_t commands;

	(void)state;
	open_guests(1, false);
	sibling = guest_create_domain(g, NULL);
	move_page(g, 1);
	assert_int_equal(iopf_domain_replace(sibling, g->f.dev, IOPF_NO_PASID), 0);
	/* The replace has invalidated all of it. */
	guest_expect_at(g, 1, PAGE, NEW);
	commands = pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS);
	issue(g, all, RTE_DIM(all));
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS), commands);
	smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(OLD) | GUEST_LEAF);
	forget_in_tlb(g, TAG);
	issue(g, all, RTE_DIM(all));
	guest_expect_at(g, 1, PAGE, NEW);
	assert_int_equal(iopf_domain_replace(g->domain, g->f.dev, IOPF_NO_PASID), 0);
	guest_expect_at(g, 1, PAGE, OLD);
	smmuv3_set_dw(guest_leaf(g, PAGE), GUEST_IPA(NEW) | GUEST_LEAF);
	forget_in_tlb(g, TAG);
	issue(g, all, RTE_DIM(all));
	guest_expect_at(g, 1, PAGE, NEW);
	assert_int_equal(iopf_domain_destroy(sibling), 0);
	close_guests(1);
}

static void
test_while_suspended_nothing_is_issued(void **state)
{
	const struct iopf_inv inv[] = {
		{ .type = IOPF_INV_TAG, .tag = TAG, .all = true },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_PASID, .dev = OWN, .pasid = GUEST_PASID, .tag = TAG },
	};

	(void)state;
	open_guests(1, true);
	move_page(&guest[0], 1);
	assert_int_equal(iopf_iommu_suspend(r.iommu, 0), 0);
	/* An access of a register is an error of the driver. */
	assert_int_equal(smmuv3_model_power_off(r.m), 0);
	issue(&guest[0], inv, RTE_DIM(inv));
	assert_int_equal(smmuv3_model_power_on(r.m), 0);
	assert_int_equal(iopf_iommu_resume(r.iommu), 0);
	guest_expect_at(&guest[0], 1, PAGE, NEW);
	close_guests(1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_change_of_a_table_shows_after_its_request),
	cmocka_unit_test(test_a_global_page_has_no_tag),
	cmocka_unit_test(test_a_change_of_a_descriptor_shows_after_its_request),
	cmocka_unit_test(test_a_device_forgets_after_its_request),
	cmocka_unit_test(test_a_tag_is_forgotten_by_devices_too),
	cmocka_unit_test(test_an_array_of_types_is_of_all_of_them),
	cmocka_unit_test(test_nothing_of_another_guest_is_invalidated),
	cmocka_unit_test(test_only_devices_of_the_domain_are_invalidated),
	cmocka_unit_test(test_while_suspended_nothing_is_issued),
};

TEST_SUITE(nested_inval, tests, NULL, NULL);
