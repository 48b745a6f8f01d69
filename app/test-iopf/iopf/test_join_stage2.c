/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 7 for faults of stage 2: they join by the page of the IPA, which many input addresses
 * may need, and not by the input address.
 */

#include "iopf_handler.h"
#include "join_rig.h"
#include "test.h"

#define VA	UINT64_C(0x700000)
#define READ	IOPF_PERM_READ
#define WRITE	IOPF_PERM_WRITE
#define PRIV	IOPF_PERM_PRIV

struct stage2 {
	uint64_t addr, ipa;
	enum iopf_event_class fault_class;
	uint8_t perm;
};

static void
put(uint16_t stag, struct stage2 f)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = f.addr, .ipa = f.ipa,
			.sid = SID_A, .pasid = 1, .token = stag, .perm = f.perm,
			.event_class = f.fault_class,
			.flags = IOPF_EVENT_STALL | IOPF_EVENT_STAGE2 });
}

/* Of two stalls the second joins the first, whether that is taken or answered in the burst. */
static void
expect_pair(struct stage2 first, struct stage2 second, bool joins)
{
	join.called = 0;
	hw.nb_out = 0;
	join.verdict = IOPF_TAKEN;
	put(1, first);
	prg_poll_all();
	put(2, second);
	prg_poll_all();
	assert_int_equal(joins ? 1 : 2, join.called);
	if (!joins) {
		assert_int_equal(0, iopf_domain_detach(join.domain, join.a, 1));
		assert_int_equal(0, iopf_domain_attach(join.domain, join.a, 1));
		assert_int_equal(2, hw.nb_out);
	} else {
		assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
		join_check_answers(2, (uint16_t []){ 1, 2 }, IOPF_SUCCESS);
	}
	join.called = 0;
	join.verdict = IOPF_ANSWER(IOPF_INVALID);
	put(3, first);
	put(4, second);
	prg_poll_all();
	assert_int_equal(joins ? 1 : 2, join.called);
	join_await_counts();
}

static void
faults_that_need_one_ipa_join(void **state)
{
	const struct stage2 in = { VA + 0x123, PAGE, IOPF_CLASS_IN, READ };
	const struct stage2 walk = { VA, PAGE, IOPF_CLASS_TT, WRITE };

	(void)state;
	expect_pair(in, (struct stage2){ VA + 0x9000, PAGE, IOPF_CLASS_IN, READ }, true);
	/* The IOMMU reads its tables, whatever the access is: many accesses wait for one page. */
	expect_pair(walk, (struct stage2){ VA + 0x9000, PAGE, IOPF_CLASS_TT, READ | PRIV }, true);
	expect_pair(walk, (struct stage2){ VA + 0x9000, PAGE, IOPF_CLASS_CD, WRITE }, true);
	expect_pair(in, walk, true);
	expect_pair(walk, in, true);
	/* Stage 2 has no privilege. */
	expect_pair(in, (struct stage2){ VA, PAGE, IOPF_CLASS_IN, READ | PRIV }, true);
}

static void
faults_that_need_other_pages_or_more_do_not_join(void **state)
{
	const struct stage2 walk = { VA, PAGE, IOPF_CLASS_TT, WRITE };

	(void)state;
	/* One input address, whose walk and then whose page is not there. */
	expect_pair(walk, (struct stage2){ VA, PAGE + 0x1000, IOPF_CLASS_TT, WRITE }, false);
	expect_pair(walk, (struct stage2){ VA, PAGE + 0x1000, IOPF_CLASS_IN, WRITE }, false);
	/* The answer to a walk is that to a read. */
	expect_pair(walk, (struct stage2){ VA, PAGE, IOPF_CLASS_IN, WRITE }, false);
}

/* An IPA is no VA, though it may be the same number. */
static void
stages_do_not_join_each_other(void **state)
{
	(void)state;
	join_put_stall(SID_A, 1, PAGE, RW);
	prg_poll_all();
	put(2, (struct stage2){ PAGE, PAGE, IOPF_CLASS_IN, READ });
	prg_poll_all();
	assert_int_equal(2, join.called);
	join_put_stall(SID_A, 3, PAGE, READ);
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	/* The entries of the two pages are different ones. */
	assert_int_equal(2, join.called);
	assert_int_equal(2, join_stat(IOPF_STAT_JOINED));
}

static const struct CMUnitTest tests[] = {
	JOIN_TEST(faults_that_need_one_ipa_join),
	JOIN_TEST(faults_that_need_other_pages_or_more_do_not_join),
	JOIN_TEST(stages_do_not_join_each_other),
};
TEST_SUITE(join_stage2, tests, NULL, NULL);
