/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contracts 1 and 6: every fault is answered exactly once, by the handler, the worker or the owner
 * that took it.
 */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

/*
 * Contract 1: every fault is answered exactly once
 */

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
an_unknown_verdict_is_answered_invalid(void **state)
{
	(void)state;
	one.verdict = (enum iopf_verdict)12345;
	one_put_stall(1, 0);
	SAYS("domain:", iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

/* IOPF_ANSWER() forgotten, a negative errno, and a code that does not exist. */
static void
a_verdict_that_is_none_is_named_in_a_line(void **state)
{
	(void)state;
	one.verdict = (enum iopf_verdict)IOPF_SUCCESS;
	one_put_stall(1, 0);
	SAYS(": its handler returned 0 (0), which is no verdict: return IOPF_ANSWER(code)",
		iopf_poll(one.poller));
	one.verdict = (enum iopf_verdict)-EIO;
	one_put_stall(2, 0);
	SAYS(": its handler returned -5 (0xfffffffb), which is no verdict",
		iopf_poll(one.poller));
	one.verdict = IOPF_ANSWER(99);
	one_put_stall(3, 0);
	SAYS(": its handler returned 611 (0x263), which is no verdict", iopf_poll(one.poller));
	assert_int_equal(3, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
}

/* Each fault is one line too many. */
static void
lines_of_verdicts_that_are_none_are_limited(void **state)
{
	unsigned int lines = 0;
	char *text;

	(void)state;
	one.verdict = (enum iopf_verdict)IOPF_SUCCESS;
	log_lines_begin();
	for (unsigned int i = 0; i < 200; i++) {
		one_put_stall(i, 0);
		iopf_poll(one.poller);
	}
	text = log_lines_end();
	for (const char *at = text; *at != '\0'; at++)
		lines += *at == '\n';
	free(text);
	assert_true(lines > 0 && lines < 100);
	assert_int_equal(200, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
}

static enum iopf_verdict
defer_always(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_DEFER;
}

static void
a_defer_without_a_deferred_handler_is_named_in_a_line(void **state)
{
	struct iopf_domain *plain = iopf_domain_create(&(struct iopf_domain_conf){
			.name = "plain", .handler = defer_always });

	(void)state;
	assert_non_null(plain);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(plain, one.dev, IOPF_NO_PASID));
	one_put_stall(1, 0);
	SAYS("plain: its handler returned IOPF_DEFER, and the domain has no deferred handler: set "
			"deferred and worker", iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_detach(plain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(plain));
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
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

/*
 * Contract 6: fast, deferred, taken
 */

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
	assert_int_equal(0, iopf_domain_pending(one.domain));
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

static void
a_deferred_handler_that_defers_gets_invalid(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_DEFER;
	one_put_stall(4, 0);
	/* The worker thread logs before it answers. */
	SAYS(": its deferred handler returned 256 (0x100): return IOPF_ANSWER(code) or IOPF_TAKEN",
		one_await_answers(1));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static enum iopf_verdict
upgrade(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = group->faults[0]->addr & ~UINT64_C(0xfff), .size = 4096 };

	assert_int_equal(-EINVAL, iopf_group_invalidate(group, &(struct iopf_inv){ .addr = 1 }));
	assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-EDEADLK, iopf_invalidate(one.domain, &inv, 1, NULL));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_upgrade_is_invalidated_before_it_is_answered(void **state)
{
	(void)state;
	one.in_handler = upgrade;
	for (unsigned int i = 0; i < 40; i++)
		one_put_stall(i, 0x10000 + 0x1000 * i);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(40, hw.nb_out);
	for (unsigned int i = 0; i < 40; i++)
		assert_true(hw.out[i].nb_inv > 0);
	assert_int_equal(0x10000, hw.out[0].inv_addr);
	assert_int_equal(40, iopf_domain_stat(one.domain, IOPF_STAT_AFTER_INV));
}

static void
answer_after_inv_without_an_invalidation_answers(void **state)
{
	(void)state;
	one.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	one.verdict = (enum iopf_verdict)(IOPF_VERDICT_AFTER_INV | 77);
	one_put_stall(2, 0);
	SAYS("which is no verdict", iopf_poll(one.poller));
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
}

static enum iopf_verdict
upgrade_five(const struct iopf_group *group)
{
	struct iopf_inv inv = { .addr = 0x1000, .size = 4096 };

	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(0, iopf_group_invalidate(group, &inv));
	assert_int_equal(-ENOSPC, iopf_group_invalidate(group, &inv));
	inv.addr = UINT64_C(0) - 4096;
	inv.size = 8192;
	assert_int_equal(-EINVAL, iopf_group_invalidate(group, &inv));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
a_group_has_four_invalidations(void **state)
{
	(void)state;
	one.in_handler = upgrade_five;
	for (unsigned int i = 0; i < 30; i++)
		one_put_stall(i, 0);
	while (iopf_poll(one.poller) != 0)
		;
	assert_int_equal(30, hw.nb_out);
}

static void
an_unknown_deferred_verdict_is_answered_invalid(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_ANSWER(99);
	one_put_stall(4, 0);
	SAYS(": its deferred handler returned 611 (0x263)", one_await_answers(1));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static enum iopf_verdict
invalidate_then_answer_plain(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){ .size = 4096 }));
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
an_invalidation_without_its_verdict_is_dropped(void **state)
{
	(void)state;
	one.in_handler = invalidate_then_answer_plain;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, hw.out[0].nb_inv);
}

/*
 * A device that cannot stall
 */

static struct iopf_retry retried[64];

static _Atomic unsigned int nb_retried;

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	assert_ptr_equal(iopf_dev_ctx(dev), ctx);
	assert_int_equal(-EDEADLK, iopf_dev_remove(dev));
	retried[nb_retried % 64] = *retry;
	nb_retried++;
}

static void
a_device_that_cannot_stall_gets_a_retry(void **state)
{
	const uint32_t sid = 30;
	struct iopf_event ev = { .addr = 0x9000, .sid = sid, .pasid = IOPF_NO_PASID,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_TRANSLATION, .raw_id = 0x10 };
	struct iopf_dev *dev;

	(void)state;
	nb_retried = 0;
	one_mute_log(true);
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.ops = { .retry = on_retry } }));
	assert_int_equal(EINVAL, rte_errno);
	one_mute_log(false);
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry }, .ctx = &one });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));

	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(1, nb_retried);
	assert_int_equal(0x9000, retried[0].addr);
	assert_int_equal(IOPF_PERM_WRITE, retried[0].perm);
	assert_int_equal(IOPF_SUCCESS, retried[0].code);
	assert_int_equal(0, hw.nb_out);

	/* After an invalidation, from a worker, from the owner, and by detach. */
	one.in_handler = upgrade;
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(2, nb_retried);
	one.in_handler = NULL;
	one.verdict = IOPF_DEFER;
	one_put(ev);
	iopf_poll(one.poller);
	while (nb_retried < 3)
		usleep(100);
	one.verdict = IOPF_TAKEN;
	one_put(ev);
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_INVALID));
	assert_int_equal(4, nb_retried);
	assert_int_equal(IOPF_INVALID, retried[3].code);
	assert_int_equal(0, iopf_domain_detach(one.domain, dev, IOPF_NO_PASID));
	assert_int_equal(5, nb_retried);

	/*
	 * A fault that no handler can resolve and a fault of a PASID that is not attached are
	 * reported.
	 */
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	ev.reason = IOPF_REASON_CONFIG;
	one_put(ev);
	ev.reason = IOPF_REASON_TRANSLATION;
	ev.pasid = 1;
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(5, nb_retried);
	assert_int_equal(2, one.reported);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_dev_remove(dev));
}

/* One of two counters: the fault would end twice, and hide one that still waits. */
static void
a_retry_by_a_stop_is_an_answer_and_no_termination(void **state)
{
	const uint32_t sid = 30;
	struct iopf_dev *dev;

	(void)state;
	nb_retried = 0;
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry }, .ctx = &one });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	one.verdict = IOPF_TAKEN;
	one_put((struct iopf_event){ .addr = 0x9000, .sid = sid, .pasid = IOPF_NO_PASID,
			.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_TRANSLATION });
	iopf_poll(one.poller);
	assert_int_equal(1, iopf_domain_pending(one.domain));
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(1, nb_retried);
	assert_int_equal(IOPF_INVALID, retried[0].code);
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_FAULTS));
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_TERMINATED));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	assert_int_equal(0, iopf_dev_remove(dev));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(a_fault_is_answered_once_with_the_handlers_code),
	ONE_TEST(razwi_without_support_is_answered_invalid),
	ONE_TEST(an_unknown_verdict_is_answered_invalid),
	ONE_TEST(a_verdict_that_is_none_is_named_in_a_line),
	ONE_TEST(lines_of_verdicts_that_are_none_are_limited),
	ONE_TEST(a_defer_without_a_deferred_handler_is_named_in_a_line),
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
	ONE_TEST(a_deferred_handler_that_defers_gets_invalid),
	ONE_TEST(an_upgrade_is_invalidated_before_it_is_answered),
	ONE_TEST(an_invalidation_without_its_verdict_is_dropped),
	ONE_TEST(answer_after_inv_without_an_invalidation_answers),
	ONE_TEST(a_group_has_four_invalidations),
	ONE_TEST(an_unknown_deferred_verdict_is_answered_invalid),
	ONE_TEST(a_device_that_cannot_stall_gets_a_retry),
	ONE_TEST(a_retry_by_a_stop_is_an_answer_and_no_termination),
};
TEST_SUITE(iopf_answers, tests, NULL, NULL);
