/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10: invalidations by type of domains that are not nested, for devices with ATCs, on a
 * model that forgets nothing without a command.
 */

#include <errno.h>

#include <rte_common.h>

#include "iopf_handler.h"
#include "iopf_pgtable.h"
#include "pcie_rig.h"
#include "test.h"

#define SID	9
#define PASID	3
#define PAGE	7
#define VA	(PCIE_VA + (uint64_t)PAGE * PCIE_PAGE)
#define NB	4	/* engines */

static const struct smmuv3_model_conf conf = {
	.features = SMMUV3_MODEL_S2,
	.choices = SMMUV3_MODEL_STICKY_TLB,
	.harsh = SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE,
};

static struct pcie r;
static struct pcie_space space;
static struct pcie_fn fn[2];
/* Of fn[0] untagged and with the PASID, then of fn[1]. */
static struct smmuv3_model_dma *dma[NB];

/* One domain, attached to each. */
static void
open_devices(void)
{
	pcie_open(&r, &conf, NULL);
	pcie_create_space(&r, &space);
	for (unsigned int i = 0; i < 2; i++) {
		pcie_add_fn(&r, &fn[i], SID + i, &(struct iopf_dev_conf){ .nb_pasids = 8 });
		for (unsigned int k = 0; k < 2; k++)
			dma[2 * i + k] = pcie_create_engine(&r, &fn[i],
					&(struct smmuv3_model_dma_conf){ .depth = 16,
				.has_ssid = k != 0, .ssid = k != 0 ? PASID : 0, .group_pages = 1 });
		pcie_attach(&space, &fn[i], IOPF_NO_PASID);
		pcie_attach(&space, &fn[i], PASID);
	}
}

static void
close_devices(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(iopf_domain_detach(space.domain, fn[i].dev, PASID), 0);
		assert_int_equal(iopf_domain_detach(space.domain, fn[i].dev, IOPF_NO_PASID), 0);
	}
	pcie_close(&r);
}

/* The access finds the page without a page request. */
static bool
is_cached(unsigned int i)
{
	unsigned int calls = space.calls;

	pcie_write_and_wait(&r, dma[i], PAGE, 1, SMMUV3_MODEL_OK);
	return space.calls == calls;
}

/* All have the page; then it leaves the table, and no command tells the SMMU. */
static struct iopf_inv
take_page_away(void)
{
	struct pgt_inv range;
	struct pgt_unmapped out;

	for (unsigned int i = 0; i < NB; i++) {
		is_cached(i);
		assert_true(is_cached(i));
	}
	pgt_unmapped_init(&out, &range, 1);
	pgt_unmap(space.pgt, VA, PCIE_PAGE, 0, &out);
	assert_int_equal(out.nb_inv, 1);
	return iopf_inv_from_pgt(&range);
}

static void
issue(const struct iopf_inv *inv, unsigned int n)
{
	struct iopf_inv_result result = { .done = 77 };

	assert_int_equal(iopf_invalidate(space.domain, inv, n, &result), 0);
	assert_int_equal(result.done, n);
	assert_int_equal(result.failed, n);
	assert_int_equal(result.error, IOPF_INV_OK);
}

/* Counts the ATC_INVs and the other commands of one request, without CMD_SYNCs. */
static void
expect_commands(const struct iopf_inv *inv, unsigned int atc_invs, unsigned int others)
{
	uint64_t atc = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS);
	uint64_t syncs = pcie_model_stat(&r, SMMUV3_MODEL_STAT_SYNCS);
	uint64_t all = pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS);

	issue(inv, 1);
	pcie_run_model(&r);
	atc = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS) - atc;
	syncs = pcie_model_stat(&r, SMMUV3_MODEL_STAT_SYNCS) - syncs;
	all = pcie_model_stat(&r, SMMUV3_MODEL_STAT_COMMANDS) - all;
	assert_int_equal(atc, atc_invs);
	assert_int_equal(all - syncs - atc, others);
}

static void
test_a_device_tlb_request_leaves_the_tlb_alone(void **state)
{
	const struct iopf_inv all = { .type = IOPF_INV_DEVICE_TLB, .all = true };
	struct iopf_inv range;

	(void)state;
	open_devices();
	expect_commands(&all, NB, 0);
	expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .addr = VA,
		.size = 4096 }, NB, 0);
	range = take_page_away();
	/* The TLB keeps the page, and gives it to the ATCs again. */
	issue(&all, 1);
	for (unsigned int i = 0; i < NB; i++)
		assert_true(is_cached(i));
	issue(&range, 1);
	assert_false(is_cached(0));
	close_devices();
}

/* Each device and PASID alone; the ATCs that are not named keep the page until the range is. */
static void
test_a_request_is_of_the_atc_that_it_names(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2 * NB; i++) {
		unsigned int of = i / 2;
		struct iopf_inv inv[3];
		struct iopf_inv one = { .type = IOPF_INV_DEVICE_TLB, .all = i % 2, .addr = VA,
			.size = 4096 };

		open_devices();
		one.dev = fn[of / 2].dev;
		one.pasid = of % 2 ? PASID : IOPF_NO_PASID;
		expect_commands(&one, 1, 0);
		/* The commands for the TLB, and the ATC of the request. */
		one.type = IOPF_INV_PASID;
		expect_commands(&one, 1, 1);
		inv[0] = take_page_away();
		inv[1] = one;
		issue(&one, 1);
		for (unsigned int k = 0; k < NB; k++)
			if (k != of)
				assert_true(is_cached(k));
		assert_false(is_cached(of));
		/* The page is there again. Ranges and requests of devices in one array. */
		inv[0] = take_page_away();
		inv[1].type = IOPF_INV_DEVICE_TLB;
		inv[2] = inv[0];
		issue(inv, 3);
		assert_false(is_cached((of + 1) % NB));
		close_devices();
	}
}

/* Neither device has the PASID or the domain, so nothing is cached of it. */
static void
test_what_is_not_attached_needs_no_command(void **state)
{
	struct pcie_space other;

	(void)state;
	open_devices();
	pcie_create_space(&r, &other);
	for (unsigned int i = 0; i < 2; i++) {
		expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true,
			.dev = fn[i].dev, .pasid = PASID + 1 }, 0, 0);
		assert_int_equal(iopf_domain_detach(space.domain, fn[i].dev, PASID), 0);
		expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true,
			.dev = fn[i].dev, .pasid = PASID }, 0, 0);
		pcie_attach(&other, &fn[i], PASID);
		expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true,
			.dev = fn[i].dev, .pasid = PASID }, 0, 0);
		expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true },
			NB - 1 - i, 0);
		assert_int_equal(iopf_domain_detach(other.domain, fn[i].dev, PASID), 0);
	}
	for (unsigned int i = 0; i < 2; i++)
		pcie_attach(&space, &fn[i], PASID);
	close_devices();
}

/* A stage-2 domain has all of its devices, and those of the domains nested in it. */
static void
test_a_stage_2_domain_has_the_whole_device(void **state)
{
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, &conf, NULL);
	pcie_create_stage2_space(&r, &space, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	dma[0] = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .depth = 16,
		.group_pages = 1 });
	pcie_attach(&space, &f, IOPF_NO_PASID);
	is_cached(0);
	expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true }, 1, 0);
	expect_commands(&(struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true,
		.dev = f.dev, .pasid = IOPF_NO_PASID }, 1, 0);
	expect_commands(&(struct iopf_inv){ .type = IOPF_INV_PASID, .dev = f.dev,
		.pasid = IOPF_NO_PASID }, 1, 1);
	assert_int_equal(iopf_domain_detach(space.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_device_tlb_request_leaves_the_tlb_alone),
	cmocka_unit_test(test_a_request_is_of_the_atc_that_it_names),
	cmocka_unit_test(test_what_is_not_attached_needs_no_command),
	cmocka_unit_test(test_a_stage_2_domain_has_the_whole_device),
};

TEST_SUITE(device_inval, tests, NULL, NULL);
