/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contracts 1 and 6: every fault is answered exactly once, by the handler, the worker or the owner
 * that took it.
 */

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

static void
a_fault_is_answered_once_with_the_handlers_code(void **state)
{
	static const enum iopf_code codes[] = { IOPF_SUCCESS, IOPF_INVALID, IOPF_FAILURE };

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		one.verdict = IOPF_ANSWER(codes[i]);
		one_put_stall(i + 100, 0x1000 * i);
		assert_int_equal(1, iopf_poll(one.poller));
		assert_int_equal(i + 1, hw.nb_out);
		assert_int_equal(codes[i], hw.out[i].answer.code);
		assert_int_equal(i + 100, hw.out[i].answer.token);
		assert_int_equal(SID, hw.out[i].answer.sid);
	}
	assert_int_equal(0, iopf_poll(one.poller));
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(3, iopf_domain_stat(one.domain, IOPF_STAT_FAULTS));
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

static void
razwi_without_support_is_answered_invalid(void **state)
{
	(void)state;
	one.verdict = IOPF_ANSWER(IOPF_RAZWI);
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
unknown_streamid_and_missing_domain_get_invalid(void **state)
{
	(void)state;
	one_put((struct iopf_event){ .sid = SID + 1, .pasid = IOPF_NO_PASID, .token = 1,
			.flags = IOPF_EVENT_STALL });
	one_put((struct iopf_event){ .sid = SID, .pasid = 3, .token = 2,
			.flags = IOPF_EVENT_STALL });
	iopf_poll(one.poller);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(2, hw.out[1].answer.token);
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(0, one.called);
}

static void
a_record_without_a_stall_is_reported_and_not_answered(void **state)
{
	(void)state;
	one_put((struct iopf_event){ .sid = SID, .pasid = 5, .addr = 0xabc000, .raw_id = 0x04,
			.reason = IOPF_REASON_CONFIG });
	one_put((struct iopf_event){ .sid = SID, .pasid = 5, .flags = IOPF_EVENT_BAD |
			IOPF_EVENT_STALL });
	iopf_poll(one.poller);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, one.reported);
	assert_int_equal(0xabc000, one.report.addr);
	assert_int_equal(5, one.report.pasid);
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_REPORTS));
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_BAD_RECORD));
}

static void
more_stalls_than_slots_get_invalid_and_are_counted(void **state)
{
	unsigned int slots = 2 * MAX_STALLS;

	(void)state;
	one.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < slots + 5; i++)
		one_put_stall(i, 0x1000 * i);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(5, hw.nb_out);
	assert_int_equal(5, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(slots, iopf_domain_pending(one.domain));
}

static void
a_taken_fault_is_answered_later_and_once(void **state)
{
	uint64_t id;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(9, 0x5000);
	iopf_poll(one.poller);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_pending(one.domain));
	id = one.last_id;
	assert_int_not_equal(0, id);
	assert_int_equal(-EINVAL, iopf_group_respond(id, (enum iopf_code)9));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(ESTALE, rte_errno);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(9, hw.out[0].answer.token);
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_STALE_ANSWERS));
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

/* A caller with a wrong code may repeat it for each fault: the number of lines is limited. */
static void
a_code_that_is_none_is_refused_with_a_line(void **state)
{
	unsigned int lines = 0;
	char *text;
	uint64_t id;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(9, 0x5000);
	iopf_poll(one.poller);
	id = one.last_id;
	SAYS("iopf_group_respond(): 9 is no answer",
		assert_int_equal(-EINVAL, iopf_group_respond(id, (enum iopf_code)9)));
	log_lines_begin();
	for (unsigned int i = 0; i < 1000; i++)
		assert_int_equal(-EINVAL, iopf_group_respond(id, (enum iopf_code)9));
	text = log_lines_end();
	for (const char *at = text; *at != '\0'; at++)
		lines += *at == '\n';
	assert_true(lines < 500);
	free(text);
	assert_int_equal(1, iopf_domain_pending(one.domain));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
}

static void
a_device_without_page_requests_has_none_to_restart(void **state)
{
	(void)state;
	SAYS("its faults stall, and there is nothing to restart",
		assert_int_equal(-EINVAL, iopf_dev_pri_restart(one.dev)));
}

static void
a_late_answer_does_not_answer_the_next_fault_of_the_slot(void **state)
{
	uint64_t old;

	(void)state;
	one.verdict = IOPF_TAKEN;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	old = one.last_id;
	assert_int_equal(0, iopf_group_respond(old, IOPF_SUCCESS));
	/* Use every slot again, also that of the first fault. */
	for (unsigned int i = 0; i < 2 * MAX_STALLS; i++)
		one_put_stall(i, 0);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(-ESTALE, iopf_group_respond(old, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static enum iopf_verdict
answer_inside(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_respond(group->id, IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(group->id, IOPF_INVALID));
	/* The fault stays readable until the handler returns. */
	assert_int_equal(0x7000, group->faults[0]->addr);
	return IOPF_TAKEN;
}

static void
an_answer_may_come_before_the_handler_returns(void **state)
{
	(void)state;
	one.in_handler = answer_inside;
	one_put_stall(3, 0x7000);
	iopf_poll(one.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

static enum iopf_verdict
answer_twice(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_respond(group->id, IOPF_INVALID));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_verdict_after_an_answer_is_ignored(void **state)
{
	(void)state;
	one.in_handler = answer_twice;
	one_put_stall(3, 0x7000);
	iopf_poll(one.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
a_deferred_fault_is_answered_by_the_worker(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	for (unsigned int i = 0; i < 20; i++)
		one_put_stall(i, 0x1000 * i);
	one_await_answers(20);
	assert_int_equal(20, one.called_deferred);
	assert_int_equal(20, iopf_domain_stat(one.domain, IOPF_STAT_DEFERRED));
	one_await_counts();
}

static void
a_deferred_handler_may_take_too(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_TAKEN;
	one_put_stall(4, 0);
	iopf_poll(one.poller);
	while (iopf_domain_stat(one.domain, IOPF_STAT_TAKEN) == 0)
		usleep(100);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(a_fault_is_answered_once_with_the_handlers_code),
	ONE_TEST(razwi_without_support_is_answered_invalid),
	ONE_TEST(unknown_streamid_and_missing_domain_get_invalid),
	ONE_TEST(a_record_without_a_stall_is_reported_and_not_answered),
	ONE_TEST(more_stalls_than_slots_get_invalid_and_are_counted),
	ONE_TEST(a_taken_fault_is_answered_later_and_once),
	ONE_TEST(a_code_that_is_none_is_refused_with_a_line),
	ONE_TEST(a_device_without_page_requests_has_none_to_restart),
	ONE_TEST(a_late_answer_does_not_answer_the_next_fault_of_the_slot),
	ONE_TEST(an_answer_may_come_before_the_handler_returns),
	ONE_TEST(a_verdict_after_an_answer_is_ignored),
	ONE_TEST(a_deferred_fault_is_answered_by_the_worker),
	ONE_TEST(a_deferred_handler_may_take_too),
};

TEST_SUITE(iopf_answers, tests, NULL, NULL);
