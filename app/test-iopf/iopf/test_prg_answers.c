/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 6 with groups: verdicts, the worker, and answers after a recovery or an IOMMU failure.
 */

#include <errno.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "cancel.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "prg_rig.h"
#include "rcu.h"
#include "test.h"

static void
a_worker_gets_the_whole_group(void **state)
{
	(void)state;
	prg.verdict = IOPF_DEFER;
	prg_put_group(SID, 1, 1, 7);
	prg_poll_all();
	for (unsigned int i = 0; i < 200000 && hw.nb_out == 0; i++)
		usleep(100);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(7, prg.deferred_faults);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	/* All slots of the group are free again. */
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < SLOTS; i++) {
		prg_put_group(SID, 1, 1, 5);
		prg_poll_all();
	}
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_CUT));
}

static void
an_answer_during_the_handler_lets_the_index_be_used_again(void **state)
{
	(void)state;
	prg.verdict = IOPF_DEFER;
	prg.hold = true;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	while (!prg.holding)
		usleep(10);
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg_put_group(SID, 1, 1, 3);
	prg_poll_all();
	prg.hold = false;
	assert_int_equal(2, prg.called);
	assert_int_equal(3, prg.nb_faults);
	assert_int_equal(2, hw.nb_out);
}

static enum iopf_verdict
upgrade_one(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){
			.addr = 0x1000, .size = 0x3000, .leaf_log2 = 12, .leaf_only = true }));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_answer_behind_an_invalidation_goes_out_behind_it(void **state)
{
	(void)state;
	prg.in_handler = upgrade_one;
	prg_put_group(SID, 1, 1, 3);
	prg_put_group(SID2, 1, 1, 3);
	prg_poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, hw.out[0].answer.page_request);
	assert_int_equal(2, hw.out[0].nb_inv);
	assert_int_equal(0x1000, hw.out[0].inv_addr);
}

static void
razwi_for_a_page_request_is_answered_invalid(void **state)
{
	(void)state;
	prg.verdict = IOPF_ANSWER(IOPF_RAZWI);
	prg_put_group(SID, 1, 1, 1);
	prg.verdict = IOPF_ANSWER(IOPF_RAZWI);
	prg_poll_all();
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 1);
	prg_poll_all();
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_RAZWI));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
}

static void
a_recovery_ends_stalls_and_not_page_requests(void **state)
{
	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 1);
	prg_poll_all();
	hw.check = IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && prg_stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(prg.poller);
		usleep(10);
	}
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_RESETS));
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static void
a_dead_iommu_gets_no_answers(void **state)
{
	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	hw.check = IOPF_CHECK_DEAD | IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && prg_stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(prg.poller);
		usleep(10);
	}
	assert_int_equal(-ESTALE, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, iopf_domain_stat(prg.domain, IOPF_STAT_TERMINATED));
	/* The detach does not wait until the PRI of the device is drained. */
	prg.not_drained = true;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_string_equal("pdta", prg.log);
}

static void
a_poller_of_page_requests_alone_handles_errors(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_EVENTS));
	hw.check = IOPF_CHECK_TERMINATED;
	for (unsigned int i = 0; i < 20000 && prg_stat(IOPF_IOMMU_STAT_RESETS) == 0; i++) {
		iopf_poll(prg.poller);
		usleep(10);
	}
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_RESETS));
}

/* One answer, and a report of each request. */
static void
a_group_of_requests_expires_at_its_deadline(void **state)
{
	struct iopf_queue *q = &prg.iommu->queues[IOPF_QUEUE_REQUESTS];

	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 3);
	prg_put(SID, 1, 2, 0x9000, 0);	/* without its Last: no deadline */
	prg_poll_all();
	assert_int_equal(0, iopf_group_set_deadline(prg.last_id, 100000));
	assert_true(iopf_queue_own(q));
	iopf_rcu_read_lock();
	iopf_queue_expire(q, rte_rdtsc() + 90 * rte_get_tsc_hz());
	assert_int_equal(0, hw.nb_out);
	iopf_queue_expire(q, rte_rdtsc() + 101 * rte_get_tsc_hz());
	iopf_rcu_read_unlock();
	iopf_queue_disown(q);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, hw.out[0].answer.token);
	assert_int_equal(1, iopf_domain_stat(prg.domain, IOPF_STAT_EXPIRED));
	assert_int_equal(1, iopf_dev_stat(prg.dev, IOPF_DEV_STAT_EXPIRED));
	assert_int_equal(3, prg.reported);
	assert_int_equal(IOPF_FAULT_EXPIRED | IOPF_FAULT_PAGE_REQUEST, prg.report.flags);
	assert_int_equal(-ESTALE, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	/* The slots are free again. */
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg_put(SID, 1, 2, 0xa000, LAST);
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(0, iopf_queue_nb_held(q));
}

/* Success would have the device request the page for ever. */
static void
groups_are_refused_when_all_slots_are_retired(void **state)
{
	struct iopf_slot *slots = prg.iommu->queues[IOPF_QUEUE_REQUESTS].slots;
	uint64_t gens[SLOTS];

	(void)state;
	for (unsigned int i = 0; i < SLOTS; i++) {
		gens[i] = IOPF_SLOT_GEN(slots[i].state);
		slots[i].state = IOPF_SLOT_WORD(IOPF_GEN_END, IOPF_SLOT_FREE);
	}
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_put(SID, 1, 1, 0x2000, LAST);
	SAYS("each slot of queue 1 has served its 2^40 faults", prg_poll_all());
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(SLOTS, prg_stat(IOPF_IOMMU_STAT_SLOTS_RETIRED));
	assert_int_equal(0, prg.called);
	/* For the tests after this one. */
	for (unsigned int i = 0; i < SLOTS; i++)
		slots[i].state = IOPF_SLOT_WORD(gens[i], IOPF_SLOT_FREE);
}

static const struct CMUnitTest tests[] = {
	PRG_TEST(a_worker_gets_the_whole_group),
	PRG_TEST(an_answer_during_the_handler_lets_the_index_be_used_again),
	PRG_TEST(an_answer_behind_an_invalidation_goes_out_behind_it),
	PRG_TEST(razwi_for_a_page_request_is_answered_invalid),
	PRG_TEST(a_recovery_ends_stalls_and_not_page_requests),
	PRG_TEST(a_dead_iommu_gets_no_answers),
	PRG_TEST(a_poller_of_page_requests_alone_handles_errors),
	PRG_TEST(a_group_of_requests_expires_at_its_deadline),
	PRG_TEST(groups_are_refused_when_all_slots_are_retired),
};
TEST_SUITE(prg_answers, tests, NULL, NULL);
