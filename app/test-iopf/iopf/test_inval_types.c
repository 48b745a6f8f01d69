/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10: each type of invalidation request, for each kind of domain, with an IOMMU made of
 * arrays. What a domain does not have is refused before the driver is called.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>

#include "iopf_handler.h"
#include "log_lines.h"
#include "prg_rig.h"
#include "test.h"

#define SID_T	30
#define PASIDS	16

enum kind { NONE, STAGE1, STAGE2, NESTED, NB_KINDS };
static const enum iopf_format formats[NB_KINDS] = { IOPF_FORMAT_NONE, IOPF_FORMAT_ARM64_S1,
	IOPF_FORMAT_ARM64_S2, IOPF_FORMAT_ARM64_GUEST };

static struct {
	struct iopf_dev *dev;
	struct iopf_domain *domain[NB_KINDS];
	struct iopf_inv inv;			/* in the handler */
	unsigned int called;
} t;

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct iopf_inv_result result = { .done = 7 };

	(void)ctx;
	t.called++;
	assert_int_equal(-EDEADLK, iopf_invalidate(domain, &t.inv, 1, &result));
	assert_int_equal(IOPF_INV_REFUSED, result.error);
	assert_int_equal(0, result.done);
	SAYS("a handler can invalidate ranges only",
			assert_int_equal(-EINVAL, iopf_group_invalidate(group, &t.inv)));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static struct iopf_domain *
create_domain(enum kind kind)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = on_fault, .translation = { .format = formats[kind] },
		.parent = kind == NESTED ? t.domain[STAGE2] : NULL });

	assert_non_null(domain);
	return domain;
}

static int
setup(void **state)
{
	prg_setup(state);
	t.called = 0;
	t.dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){
		.sids = (const uint32_t[]){ SID_T }, .nb_sids = 1, .nb_pasids = PASIDS,
		.wait_ms = 1000 });
	assert_non_null(t.dev);
	for (unsigned int i = 0; i < NB_KINDS; i++)
		t.domain[i] = create_domain(i);
	return 0;
}

static int
teardown(void **state)
{
	assert_int_equal(0, iopf_dev_remove(t.dev));
	for (unsigned int i = NB_KINDS; i > 0; i--)
		assert_int_equal(0, iopf_domain_destroy(t.domain[i - 1]));
	return prg_teardown(state);
}

static void
each_domain_has_its_types(void **state)
{
	const struct {
		struct iopf_inv inv;
		const char *why[NB_KINDS];	/* NULL: the domain has it */
	} rows[] = {
#define TAG	"its tag is the driver's"
#define CONFIG	"its descriptors are the driver's"
		{ { .addr = 0x1000, .size = 4096 }, { NULL } },
		{ { .all = true }, { NULL } },
		{ { .type = IOPF_INV_TAG, .size = 4096 }, { TAG, TAG, TAG, NULL } },
		{ { .type = IOPF_INV_TAG, .all = true, .tag = 7 }, { TAG, TAG, TAG, NULL } },
		{ { .type = IOPF_INV_PASID, .dev = t.dev, .pasid = IOPF_NO_PASID }, { NULL } },
		{ { .type = IOPF_INV_PASID, .dev = t.dev, .pasid = PASIDS - 1 },
			{ [STAGE2] = "a stage-2 domain has no PASIDs" } },
		{ { .type = IOPF_INV_DEVICE_TLB, .all = true }, { NULL } },
		{ { .type = IOPF_INV_DEVICE_TLB, .all = true, .dev = t.dev,
			.pasid = IOPF_NO_PASID }, { NULL } },
		{ { .type = IOPF_INV_DEVICE_TLB, .size = 8192, .dev = t.dev, .pasid = 1 },
			{ [STAGE2] = "a stage-2 domain has no PASIDs" } },
		{ { .type = IOPF_INV_CONFIG, .all = true }, { CONFIG, CONFIG, CONFIG, NULL } },
		{ { .type = IOPF_INV_CONFIG, .all = true, .dev = t.dev, .pasid = 99 },
			{ CONFIG, CONFIG, CONFIG, NULL } },
		{ { .type = IOPF_INV_CONFIG, .dev = t.dev, .pasid = 2 },
			{ CONFIG, CONFIG, CONFIG, NULL } },
	};

	(void)state;
	for (unsigned int k = 0; k < NB_KINDS; k++) {
		struct iopf_domain *domain = t.domain[k];

		assert_int_equal(0, iopf_domain_attach(domain, t.dev, IOPF_NO_PASID));
		for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
			const struct iopf_inv *inv = &rows[i].inv;
			unsigned int all = hw.invalidated, typed = hw.invalidated_typed;
			bool is_typed = k == NESTED || inv->type != IOPF_INV_RANGE;
			struct iopf_inv_result result = { .done = 7 };

			if (rows[i].why[k] == NULL) {
				assert_int_equal(0, iopf_invalidate(domain, inv, 1, &result));
				assert_int_equal(1, result.done);
				assert_int_equal(IOPF_INV_OK, result.error);
				assert_int_equal(all + 1, hw.invalidated);
				assert_int_equal(typed + is_typed, hw.invalidated_typed);
				continue;
			}
			SAYS(rows[i].why[k], assert_int_equal(-EINVAL,
					iopf_invalidate(domain, inv, 1, &result)));
			assert_int_equal(0, result.done);
			assert_int_equal(0, result.failed);
			assert_int_equal(IOPF_INV_REFUSED, result.error);
			assert_int_equal(all, hw.invalidated);
		}
		assert_int_equal(0, iopf_domain_detach(domain, t.dev, IOPF_NO_PASID));
	}
}

static void
a_wrong_request_is_refused_with_a_line(void **state)
{
	const struct {
		struct iopf_inv inv;
		const char *line;
	} rows[] = {
#define MORE	"its pasid is more than the device was added with"
		{ { .type = IOPF_INV_TAG, .addr = 0x1000 }, "tag 0x1000 + 0: the size is 0" },
		{ { .type = IOPF_INV_TAG, .addr = 0x1001, .size = 4096 }, "tag 0x1001 + 0x1000: "
			"use an address and a size that are multiples of 4096" },
		{ { .type = IOPF_INV_DEVICE_TLB }, "device_tlb 0 + 0: the size is 0" },
		{ { .type = IOPF_INV_DEVICE_TLB, .addr = UINT64_MAX - 4095, .size = 8192 },
			"device_tlb 0xfffffffffffff000 + 0x2000: the range ends beyond 2^64" },
		{ { .type = IOPF_INV_PASID, .pasid = 1 }, "pasid 0 + 0: it needs a device" },
		{ { .type = IOPF_INV_PASID, .pasid = PASIDS, .dev = t.dev },
			"pasid 0 + 0: " MORE },
		{ { .type = IOPF_INV_DEVICE_TLB, .all = true, .pasid = PASIDS, .dev = t.dev },
			"device_tlb 0 + 0: " MORE },
		{ { .type = IOPF_INV_CONFIG, .pasid = UINT32_MAX - 1, .dev = t.dev },
			"config 0 + 0: " MORE },
		{ { .type = IOPF_INV_CONFIG, .pasid = 1 },
			"config 0 + 0: it needs a device, or all" },
		{ { .type = (enum iopf_inv_type)IOPF_NB_INV_TYPES, .all = true },
			"unknown 0 + 0: its type is unknown" },
		{ { .size = 0 }, "range 0 + 0: the size is 0" },
	};
	const struct iopf_inv good = { .type = IOPF_INV_TAG, .all = true };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
		const struct iopf_inv inv[3] = { good, good, rows[i].inv };
		unsigned int before = hw.invalidated;
		struct iopf_inv_result result;
		struct iopf_domain *domain;
		char line[160];

		/* Each with a limit of lines of its own. */
		domain = create_domain(NESTED);
		assert_int_equal(0, iopf_domain_attach(domain, t.dev, IOPF_NO_PASID));
		snprintf(line, sizeof(line), "invalidation 2 of 3, %s", rows[i].line);
		SAYS(line, assert_int_equal(-EINVAL, iopf_invalidate(domain, inv, 3, &result)));
		assert_int_equal(0, result.done);
		assert_int_equal(2, result.failed);
		assert_int_equal(IOPF_INV_REFUSED, result.error);
		assert_int_equal(before, hw.invalidated);
		assert_int_equal(0, iopf_domain_detach(domain, t.dev, IOPF_NO_PASID));
		assert_int_equal(0, iopf_domain_destroy(domain));
	}
}

/* A request that names a device and forgets the PASID. */
static void
pasid_0_is_refused_where_it_cannot_be_attached(void **state)
{
	const struct iopf_inv inv[] = {
		{ .type = IOPF_INV_PASID, .dev = t.dev },
		{ .type = IOPF_INV_DEVICE_TLB, .dev = t.dev, .all = true },
	};

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(inv); i++) {
		SAYS("PASID 0 cannot be attached: use IOPF_NO_PASID", assert_int_equal(-EINVAL,
				iopf_invalidate(t.domain[STAGE1], &inv[i], 1, NULL)));
		assert_int_equal(0, iopf_invalidate(t.domain[NESTED], &inv[i], 1, NULL));
	}
}

/* No IOMMU has anything of it. */
static void
a_domain_that_is_not_attached_needs_nothing(void **state)
{
	const struct iopf_inv inv = { .type = IOPF_INV_PASID, .dev = t.dev, .pasid = 1 };
	unsigned int before = hw.invalidated;
	struct iopf_inv_result result;

	(void)state;
	for (unsigned int k = 0; k < NB_KINDS; k++) {
		if (k == STAGE2)
			continue;
		assert_int_equal(0, iopf_invalidate(t.domain[k], &inv, 1, &result));
		assert_int_equal(1, result.done);
	}
	assert_int_equal(0, iopf_invalidate(t.domain[NESTED], NULL, 0, &result));
	assert_int_equal(0, result.done);
	assert_int_equal(before, hw.invalidated);
}

static void
a_fast_handler_invalidates_ranges_only(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_attach(t.domain[STAGE1], t.dev, IOPF_NO_PASID));
	t.inv = (struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true };
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x5000, .sid = SID_T,
			.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL });
	prg_poll_all();
	assert_int_equal(1, t.called);
	assert_int_equal(0, iopf_domain_detach(t.domain[STAGE1], t.dev, IOPF_NO_PASID));
}

static void
an_error_of_the_driver_ends_the_prefix(void **state)
{
	struct iopf_inv inv[4] = { { .all = true } };
	struct iopf_inv_result result;

	(void)state;
	for (unsigned int i = 1; i < RTE_DIM(inv); i++)
		inv[i] = (struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true };
	assert_int_equal(0, iopf_domain_attach(t.domain[STAGE1], t.dev, IOPF_NO_PASID));
	hw.invalidate_fails_at = 2;
	assert_int_equal(-EIO, iopf_invalidate(t.domain[STAGE1], inv, 4, &result));
	assert_int_equal(2, result.done);
	assert_int_equal(2, result.failed);
	assert_int_equal(IOPF_INV_ILL, result.error);
	hw.invalidate_fails_at = UINT32_MAX;
	assert_int_equal(0, iopf_domain_detach(t.domain[STAGE1], t.dev, IOPF_NO_PASID));
}

/* As iopf_driver.h says of an absent operation. */
static void
a_driver_may_have_ranges_only(void **state)
{
	const struct iopf_inv range = { .all = true };
	const struct iopf_inv inv[2] = { range, { .type = IOPF_INV_DEVICE_TLB, .all = true } };
	struct iopf_iommu *iommu = iopf_iommu_open("bare,n=8");
	struct iopf_inv_result result = { .done = 7 };
	struct iopf_dev *dev;

	(void)state;
	assert_non_null(iommu);
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .sids = (const uint32_t[]){ SID_T },
			.nb_sids = 1, .wait_ms = 1000 });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(t.domain[STAGE1], dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_invalidate(t.domain[STAGE1], &range, 1, &result));
	assert_int_equal(-ENOTSUP, iopf_invalidate(t.domain[STAGE1], inv, 2, &result));
	assert_int_equal(0, result.done);
	assert_int_equal(2, result.failed);
	assert_int_equal(IOPF_INV_REFUSED, result.error);
	assert_int_equal(0, iopf_domain_detach(t.domain[STAGE1], dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_iommu_close(iommu));
}

static void
each_type_has_a_name(void **state)
{
	(void)state;
	assert_string_equal("range", iopf_inv_type_name(IOPF_INV_RANGE));
	assert_string_equal("tag", iopf_inv_type_name(IOPF_INV_TAG));
	assert_string_equal("pasid", iopf_inv_type_name(IOPF_INV_PASID));
	assert_string_equal("device_tlb", iopf_inv_type_name(IOPF_INV_DEVICE_TLB));
	assert_string_equal("config", iopf_inv_type_name(IOPF_INV_CONFIG));
	assert_string_equal("unknown",
			iopf_inv_type_name((enum iopf_inv_type)IOPF_NB_INV_TYPES));
}

#define TYPES_TEST(test)	cmocka_unit_test_setup_teardown(test, setup, teardown)

static const struct CMUnitTest tests[] = {
	TYPES_TEST(each_domain_has_its_types),
	TYPES_TEST(a_wrong_request_is_refused_with_a_line),
	TYPES_TEST(pasid_0_is_refused_where_it_cannot_be_attached),
	TYPES_TEST(a_domain_that_is_not_attached_needs_nothing),
	TYPES_TEST(a_fast_handler_invalidates_ranges_only),
	TYPES_TEST(an_error_of_the_driver_ends_the_prefix),
	TYPES_TEST(a_driver_may_have_ranges_only),
	cmocka_unit_test(each_type_has_a_name),
};

TEST_SUITE(inval_types, tests, NULL, NULL);
