/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Nested domains, with an IOMMU made of arrays: a fault with any PASID finds the domain of its
 * device, and the parent lives longer than they do.
 */

#include <errno.h>
#include <string.h>

#include <rte_errno.h>

#include "iopf_guest.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "log_lines.h"
#include "prg_rig.h"
#include "test.h"

#define SIDS	2
#define SID_N	20	/* the first */
#define VA	UINT64_C(0x5000)

static struct nested {
	struct iopf_domain *parent, *child, *sibling, *plain;
	struct iopf_dev *dev;
	enum iopf_verdict verdict;
	const struct iopf_domain *domain;	/* of the last call */
	struct iopf_fault fault;
	uint32_t pasid;
	uint64_t id;
	unsigned int called;
} n;

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)ctx;
	assert_ptr_equal(group->dev, n.dev != NULL ? n.dev : group->dev);
	n.domain = domain;
	n.fault = *group->faults[0];
	n.pasid = group->pasid;
	n.id = group->id;
	n.called++;
	return n.verdict;
}

static enum iopf_verdict
invalidate_in_handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_guest_cmd cmd = { { 0x10 } };
	struct iopf_inv_result result;

	(void)group;
	(void)ctx;
	n.called++;
	assert_int_equal(-EDEADLK, iopf_invalidate_guest(prg.iommu, domain, &cmd, 1, &result));
	assert_int_equal(IOPF_INV_REFUSED, result.error);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static struct iopf_domain *
create(enum iopf_format format, struct iopf_domain *parent, const struct iopf_storm_conf *storm)
{
	return iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_fault,
		.translation = { .format = format }, .parent = parent, .storm = storm });
}

static int
setup(void **state)
{
	const uint32_t sids[SIDS] = { SID_N, SID_N + 1 };
	const struct iopf_storm_conf storm = { .join_log2 = 12 };

	prg_setup(state);
	memset(&n, 0, sizeof(n));
	n.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	n.dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = SIDS,
			.nb_pasids = 16, .wait_ms = 1000 });
	n.parent = create(IOPF_FORMAT_ARM64_S2, NULL, NULL);
	n.child = create(IOPF_FORMAT_ARM64_GUEST, n.parent, &storm);
	n.sibling = create(IOPF_FORMAT_ARM64_GUEST, n.parent, NULL);
	n.plain = create(IOPF_FORMAT_NONE, NULL, NULL);
	assert_true(n.dev != NULL && n.parent != NULL && n.child != NULL && n.sibling != NULL &&
			n.plain != NULL);
	return 0;
}

static int
teardown(void **state)
{
	assert_int_equal(0, iopf_dev_remove(n.dev));
	assert_int_equal(0, iopf_domain_destroy(n.child));
	assert_int_equal(0, iopf_domain_destroy(n.sibling));
	assert_int_equal(0, iopf_domain_destroy(n.parent));
	assert_int_equal(0, iopf_domain_destroy(n.plain));
	return prg_teardown(state);
}

static void
put(uint32_t sid, uint32_t pasid, uint16_t stag, uint8_t flags, enum iopf_event_class fault_class)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = VA, .ipa = 0x9000, .sid = sid,
			.pasid = pasid, .token = stag, .perm = IOPF_PERM_READ,
			.event_class = fault_class, .flags = IOPF_EVENT_STALL | flags });
	prg_poll_all();
}

static void
a_fault_with_each_pasid_finds_the_domain(void **state)
{
	static const uint32_t pasids[] = { IOPF_NO_PASID, 0, 1, 15, 0xfffff };

	(void)state;
	assert_int_equal(0, iopf_domain_attach(n.child, n.dev, IOPF_NO_PASID));
	for (unsigned int i = 0; i < RTE_DIM(pasids) * SIDS; i++) {
		uint32_t sid = SID_N + i % SIDS, pasid = pasids[i / SIDS];

		put(sid, pasid, i, IOPF_EVENT_STAGE2, IOPF_CLASS_TT);
		assert_int_equal(i + 1, n.called);
		assert_ptr_equal(n.domain, n.child);
		assert_int_equal(pasid, n.pasid);
		assert_int_equal(pasid, n.fault.pasid);
		assert_int_equal(IOPF_CLASS_TT, n.fault.fault_class);
		assert_int_equal(0x9000, n.fault.ipa);
		assert_int_equal(i + 1, hw.nb_out);
		assert_int_equal(sid, hw.out[i].answer.sid);
		assert_int_equal(pasid, hw.out[i].answer.pasid);
		assert_int_equal(IOPF_SUCCESS, hw.out[i].answer.code);
	}
	/* Nor is one without the flag taken for one of a table. */
	put(SID_N, 3, 1, 0, IOPF_CLASS_TT);
	assert_int_equal(IOPF_CLASS_NONE, n.fault.fault_class);
	assert_int_equal(0, iopf_domain_detach(n.child, n.dev, IOPF_NO_PASID));
	n.called = 0;
	for (unsigned int i = 0; i < RTE_DIM(pasids); i++)
		put(SID_N, pasids[i], i, 0, 0);
	assert_int_equal(0, n.called);
	assert_int_equal(IOPF_INVALID, hw.out[hw.nb_out - 1].answer.code);
}

static void
a_page_request_with_each_pasid_finds_the_domain(void **state)
{
	struct iopf_domain *child = create(IOPF_FORMAT_ARM64_GUEST, n.parent, NULL);
	struct iopf_dev *own = n.dev;

	(void)state;
	n.dev = NULL;
	assert_non_null(child);
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(0, iopf_domain_attach(child, prg.dev2, IOPF_NO_PASID));
	for (uint32_t pasid = 1; pasid < 4; pasid++) {
		prg_put(SID2, pasid, pasid, VA, LAST);
		prg_poll_all();
		assert_int_equal(pasid, n.called);
		assert_ptr_equal(n.domain, child);
		assert_int_equal(pasid, n.pasid);
		assert_int_equal(SID2, hw.out[hw.nb_out - 1].answer.sid);
	}
	assert_int_equal(0, iopf_domain_detach(child, prg.dev2, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
	assert_int_equal(0, iopf_domain_destroy(child));
	n.dev = own;
}

/* Faults of stage 1 are of a guest's many address spaces. */
static void
only_faults_of_stage_2_join(void **state)
{
	(void)state;
	n.verdict = IOPF_TAKEN;
	assert_int_equal(0, iopf_domain_attach(n.child, n.dev, IOPF_NO_PASID));
	put(SID_N, 1, 1, 0, 0);
	put(SID_N, 2, 2, 0, 0);
	put(SID_N, 1, 3, 0, 0);
	assert_int_equal(3, n.called);
	put(SID_N, 1, 4, IOPF_EVENT_STAGE2, IOPF_CLASS_CD);
	put(SID_N, 2, 5, IOPF_EVENT_STAGE2, IOPF_CLASS_TT);
	assert_int_equal(4, n.called);
	assert_int_equal(0, iopf_group_respond(n.id, IOPF_SUCCESS));
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, iopf_domain_stat(n.child, IOPF_STAT_JOINED));
	/* Nor do they get the answer of another one of their burst. */
	n.verdict = IOPF_ANSWER(IOPF_INVALID);
	for (unsigned int i = 6; i < 8; i++)
		array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = VA, .sid = SID_N,
				.pasid = i, .token = i, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_STALL });
	prg_poll_all();
	assert_int_equal(6, n.called);
}

static void
a_parent_lives_longer(void **state)
{
	struct iopf_domain *parent = create(IOPF_FORMAT_ARM64_S2, NULL, NULL), *child;
	unsigned int domains = hw.domains, before = hw.invalidated;

	(void)state;
	assert_non_null(parent);
	child = create(IOPF_FORMAT_ARM64_GUEST, parent, NULL);
	assert_non_null(child);
	assert_int_equal(0, iopf_domain_attach(child, n.dev, IOPF_NO_PASID));
	/* Both have a handle; the driver sees one that is deleted too early. */
	assert_int_equal(domains + 2, hw.domains);
	SAYS("is the parent of 1 nested domains; destroy those first",
			assert_int_equal(-EBUSY, iopf_domain_destroy(parent)));
	assert_int_equal(0, iopf_invalidate(parent, &(struct iopf_inv){ .all = true }, 1, NULL));
	assert_int_equal(before + 1, hw.invalidated);
	assert_int_equal(0, iopf_domain_detach(child, n.dev, IOPF_NO_PASID));
	assert_int_equal(domains, hw.domains);
	assert_int_equal(0, hw.misused);
	assert_int_equal(0, iopf_domain_destroy(child));
	assert_int_equal(0, iopf_domain_destroy(parent));
}

static void
a_fast_handler_issues_no_commands_of_a_guest(void **state)
{
	struct iopf_domain *parent = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = invalidate_in_handler,
		.translation = { .format = IOPF_FORMAT_ARM64_S2 } });

	(void)state;
	assert_non_null(parent);
	assert_int_equal(0, iopf_domain_attach(parent, n.dev, IOPF_NO_PASID));
	put(SID_N, IOPF_NO_PASID, 1, IOPF_EVENT_STAGE2, IOPF_CLASS_IN);
	assert_int_equal(1, n.called);
	assert_int_equal(0, iopf_domain_detach(parent, n.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(parent));
}

/* As iopf_driver.h says of an absent operation. */
static void
a_driver_may_have_no_commands_of_guests(void **state)
{
	const struct iopf_guest_cmd cmd = { { 0x10 } };
	struct iopf_inv_result result;

	(void)state;
	assert_int_equal(-ENOTSUP, iopf_invalidate_guest(prg.iommu, n.parent, &cmd, 1, &result));
	assert_int_equal(IOPF_INV_REFUSED, result.error);
	assert_int_equal(1, result.failed);
	assert_int_equal(0, result.done);
}

static void
a_domain_of_the_device_is_its_only_one(void **state)
{
	struct iopf_domain *of_device[] = { n.child, n.parent };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		SAYS("for all traffic of a device: attach it with IOPF_NO_PASID",
				assert_int_equal(-ERANGE, iopf_domain_attach(of_device[i], n.dev,
				3)));
		assert_int_equal(0, iopf_domain_attach(n.plain, n.dev, 3));
		SAYS("must be the device's only one", assert_int_equal(-EINVAL,
				iopf_domain_attach(of_device[i], n.dev, IOPF_NO_PASID)));
		assert_int_equal(0, iopf_domain_detach(n.plain, n.dev, 3));
		assert_int_equal(0, iopf_domain_attach(of_device[i], n.dev, IOPF_NO_PASID));
		SAYS("must be the device's only one", assert_int_equal(-EINVAL,
				iopf_domain_attach(n.plain, n.dev, 3)));
		/* Its fault has not found another domain since. */
		put(SID_N, 3, 1, 0, 0);
		assert_ptr_equal(n.domain, of_device[i]);
		assert_int_equal(0, iopf_domain_detach(of_device[i], n.dev, IOPF_NO_PASID));
	}
}

static void
a_replace_keeps_the_stage_2_domain(void **state)
{
	struct iopf_domain *other = create(IOPF_FORMAT_ARM64_S2, NULL, NULL);
	struct iopf_domain *cousin = create(IOPF_FORMAT_ARM64_GUEST, other, NULL);
	struct iopf_domain *good[] = { n.sibling, n.parent, n.child, n.parent };
	struct iopf_domain *bad[] = { other, cousin, n.plain };

	(void)state;
	assert_non_null(cousin);
	assert_int_equal(0, iopf_domain_attach(n.child, n.dev, IOPF_NO_PASID));
	for (unsigned int i = 0; i < RTE_DIM(good); i++) {
		for (unsigned int k = 0; k < RTE_DIM(bad); k++)
			SAYS("since its stage-2 domain is another one or none",
					assert_int_equal(-ENOTSUP, iopf_domain_replace(bad[k],
					n.dev, IOPF_NO_PASID)));
		assert_int_equal(0, iopf_domain_replace(good[i], n.dev, IOPF_NO_PASID));
		put(SID_N + 1, 7, 1, 0, 0);
		assert_ptr_equal(n.domain, good[i]);
		put(SID_N, IOPF_NO_PASID, 1, 0, 0);
		assert_ptr_equal(n.domain, good[i]);
	}
	assert_int_equal(0, iopf_domain_detach(n.parent, n.dev, IOPF_NO_PASID));
	/* Nor does a replace that fails leave the device with it. */
	assert_int_equal(0, iopf_domain_attach(n.child, n.dev, IOPF_NO_PASID));
	hw.knobs[ARRAY_REPLACE].fail = -EIO;
	hw.knobs[ARRAY_REPLACE].nb_fail = 1;
	SAYS("could not replace", assert_int_equal(-EIO, iopf_domain_replace(n.sibling, n.dev,
			IOPF_NO_PASID)));
	put(SID_N + 1, 7, 1, 0, 0);
	assert_ptr_equal(n.domain, n.child);
	assert_int_equal(0, iopf_domain_detach(n.child, n.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(cousin));
	assert_int_equal(0, iopf_domain_destroy(other));
}

static void
what_makes_no_nested_domain_is_refused(void **state)
{
	const struct iopf_storm_conf storm = { .max_held = 4 };
	struct iopf_domain *child;

	(void)state;
#define REFUSED(line_, ...) do {						\
		rte_errno = 0;							\
		SAYS(line_, assert_null(create(__VA_ARGS__)));			\
		assert_int_equal(EINVAL, rte_errno);				\
	} while (0)
	REFUSED("needs both IOPF_FORMAT_ARM64_GUEST and parent", IOPF_FORMAT_ARM64_GUEST, NULL,
			NULL);
	REFUSED("needs both", IOPF_FORMAT_ARM64_S1, n.parent, NULL);
	REFUSED("needs both", IOPF_FORMAT_ARM64_S2, n.parent, NULL);
	REFUSED("is not of stage 2", IOPF_FORMAT_ARM64_GUEST, n.child, NULL);
	REFUSED("is not of stage 2", IOPF_FORMAT_ARM64_GUEST, n.plain, NULL);
	/* The guest says which accesses stall. */
	child = create(IOPF_FORMAT_ARM64_GUEST, n.parent, &storm);
	assert_non_null(child);
	SAYS("and a nested domain can only stall: set abort_device", assert_int_equal(-ENOTSUP,
			iopf_domain_attach(child, n.dev, IOPF_NO_PASID)));
	assert_int_equal(0, iopf_domain_destroy(child));
}

#define NESTED_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	NESTED_TEST(a_fault_with_each_pasid_finds_the_domain),
	NESTED_TEST(a_page_request_with_each_pasid_finds_the_domain),
	NESTED_TEST(only_faults_of_stage_2_join),
	NESTED_TEST(a_parent_lives_longer),
	NESTED_TEST(a_fast_handler_issues_no_commands_of_a_guest),
	NESTED_TEST(a_driver_may_have_no_commands_of_guests),
	NESTED_TEST(a_domain_of_the_device_is_its_only_one),
	NESTED_TEST(a_replace_keeps_the_stage_2_domain),
	NESTED_TEST(what_makes_no_nested_domain_is_refused),
};
TEST_SUITE(nested_domain, tests, NULL, NULL);
