/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 8: groups of page requests.
 */

#include <errno.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "iopf_stats.h"
#include "prg_rig.h"
#include "iopf_iommu.h"
#include "test.h"

#define BURST	64	/* maximum burst */

static void
a_group_is_answered_once_after_last(void **state)
{
	(void)state;
	prg_put_group(SID, 1, 5, 3);
	assert_int_equal(3, iopf_poll(prg.poller));
	assert_int_equal(1, prg.called);
	assert_int_equal(3, prg.nb_faults);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(0x1000 * (i + 1), prg.addrs[i]);
	assert_int_equal(1, hw.nb_out);
	assert_true(hw.out[0].answer.page_request);
	assert_int_equal(5, hw.out[0].answer.token);
	assert_int_equal(SID, hw.out[0].answer.sid);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(prg.domain, IOPF_STAT_FAULTS));
	assert_int_equal(3, iopf_domain_stat(prg.domain, IOPF_STAT_REQUESTS));
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_GROUPS));
	assert_int_equal(0, iopf_domain_pending(prg.domain));
}

static void
a_group_may_come_in_many_bursts(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		prg_put(SID, 1, 5, 0x1000 * i, i == 9 ? LAST : 0);
		assert_int_equal(0, hw.nb_out);
		prg_poll_all();
	}
	assert_int_equal(10, prg.nb_faults);
	assert_int_equal(1, hw.nb_out);
}

static void
groups_of_devices_pasids_and_indices_interleave(void **state)
{
	(void)state;
	prg_put(SID, 1, 5, 0x1000, 0);
	prg_put(SID2, 1, 5, 0x2000, 0);
	prg_put(SID, 2, 5, 0x3000, 0);
	prg_put(SID, 1, 6, 0x4000, 0);
	prg_put(SID, IOPF_NO_PASID, 5, 0x5000, 0);
	prg_poll_all();
	assert_int_equal(0, prg.called);

	prg_put(SID, 1, 6, 0x4001, LAST);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
	assert_int_equal(0x4000, prg.addrs[0]);
	prg_put(SID, 2, 5, 0x3001, LAST);
	prg_poll_all();
	assert_int_equal(0x3000, prg.addrs[0]);
	assert_int_equal(2, prg.pasid);
	prg_put(SID, IOPF_NO_PASID, 5, 0x5001, LAST);
	prg_poll_all();
	assert_int_equal(0x5000, prg.addrs[0]);
	assert_int_equal(IOPF_NO_PASID, prg.pasid);
	prg_put(SID2, 1, 5, 0x2001, LAST);
	prg_poll_all();
	assert_int_equal(0x2000, prg.addrs[0]);
	assert_ptr_equal(prg.dev2, prg.of);
	prg_put(SID, 1, 5, 0x1001, LAST);
	prg_poll_all();
	assert_int_equal(0x1000, prg.addrs[0]);
	assert_int_equal(5, hw.nb_out);
	assert_int_equal(5, prg.called);
}

/* With PRG Response PASID Required or IDR3.PPS, and never if the request had no PASID. */
static void
the_answer_carries_the_pasid_if_the_device_requires_it(void **state)
{
	(void)state;
	prg_put_group(SID, 1, 5, 1);
	prg_put_group(SID2, 1, 5, 1);
	prg_put_group(SID, IOPF_NO_PASID, 6, 1);
	prg_put_group(SID2 + 1, 3, 7, 1);
	prg_poll_all();
	assert_int_equal(IOPF_NO_PASID, hw.out[0].answer.pasid);
	assert_int_equal(1, hw.out[1].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[2].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[3].answer.pasid);
}

static void
with_pps_the_answer_carries_the_pasid_of_its_request(void **state)
{
	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 5, 1);
	prg_put_group(SID2 + 1, 3, 7, 1);
	prg_put_group(SID2 + 1, IOPF_NO_PASID, 8, 1);
	prg_poll_all();
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	assert_int_equal(3, hw.out[0].answer.pasid);
	assert_int_equal(IOPF_NO_PASID, hw.out[1].answer.pasid);
	assert_int_equal(1, hw.out[2].answer.pasid);
}

static void
a_loss_discards_partial_groups_only(void **state)
{
	uint64_t pending;

	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	pending = prg.last_id;
	prg_put(SID2, 1, 2, 0x1000, 0);
	prg_put(SID, 1, 2, 0x1000, 0);
	prg_put(SID, 1, 2, 0x2000, 0);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	/* The device can reuse the indices at once, in the same burst. */
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg_put_group(SID, 1, 2, 1);
	prg_put_group(SID2, 1, 2, 4);
	prg_poll_all();
	assert_int_equal(3, prg.called);
	assert_int_equal(4, prg.nb_faults);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(3, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_OVERFLOWS));
	/* A marker does not count as a record. */
	assert_int_equal(10, prg_stat(IOPF_IOMMU_STAT_RECORDS));
	assert_int_equal(0, iopf_group_respond(pending, IOPF_SUCCESS));
	assert_int_equal(1, hw.out[2].answer.token);
}

static void
invalidate_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_inv inv = { .addr = group->faults[0]->addr, .size = 0x1000 };

	(void)domain;
	assert_int_equal(0, group->id);
	assert_int_equal(0, iopf_group_invalidate(group, &inv));
	++*(unsigned int *)ctx;
}

/* Put partial groups of two domains alternately, oldest first. */
static void
put_turns(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		prg_put(SID, 3 + i % 2, (uint16_t)i, 0x1000 * (i + 1), 0);
	prg_poll_all();
	hw.posts = hw.posted_invs = 0;
}

static void
invalidations_for_lost_requests_are_made_per_domain(void **state)
{
	unsigned int lost[2] = { 0 };
	struct iopf_domain *domain[2];
	struct iopf_poller *poller;

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		domain[i] = iopf_domain_create(&(struct iopf_domain_conf){ .handler = prg_fast,
				.lost = invalidate_lost, .ctx = &lost[i] });
		assert_int_equal(0, iopf_domain_attach(domain[i], prg.dev, 3 + i));
	}
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	poller = prg.poller;
	prg.poller = iopf_poller_create(&(struct iopf_poller_conf){ .burst = BURST });
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));

	put_turns(SLOTS);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(SLOTS, hw.posts);
	assert_int_equal(SLOTS, hw.posted_invs);
	assert_int_equal(SLOTS / 2, lost[0]);
	assert_int_equal(SLOTS / 2, lost[1]);
	assert_int_equal(0, hw.nb_out);

	/*
	 * Each later event of the burst may need an invalidation, for which the driver needs room.
	 */
	put_turns(SLOTS);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	for (unsigned int i = 1; i < BURST; i++)
		prg_put(SID, 3, 0, 0x1000, LAST);
	prg.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	prg_poll_all();
	assert_int_equal(1, hw.posts);
	assert_int_equal(SLOTS / 2, hw.posted_invs);
	assert_int_equal(SLOTS, lost[0]);
	assert_int_equal(SLOTS / 2, lost[1]);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(SLOTS / 2, hw.out[0].nb_inv);

	/* The rest is reported with the next loss. */
	put_turns(2);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(2, hw.posts);
	assert_int_equal(SLOTS / 2 + 1, lost[1]);

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(0, iopf_domain_detach(domain[i], prg.dev, 3 + i));
		assert_int_equal(0, iopf_domain_destroy(domain[i]));
	}
	assert_int_equal(0, iopf_poller_destroy(poller));
}

static void
each_request_of_a_pending_group_is_a_duplicate(void **state)
{
	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	prg_put(SID, 1, 1, 0x2000, LAST);
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(2, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
	/* After the answer the next request with this index begins another group. */
	prg_put_group(SID, 1, 1, 3);
	prg_poll_all();
	assert_int_equal(2, prg.called);
	assert_int_equal(3, prg.nb_faults);
	assert_int_equal(0, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
}

static void
a_last_twice_in_a_burst_is_answered_once(void **state)
{
	(void)state;
	prg_put_group(SID, 1, 1, 2);
	prg_put(SID, 1, 1, 0x2000, LAST);
	prg_put_group(SID, 1, 2, 1);
	prg_poll_all();
	assert_int_equal(2, prg.called);
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(2, hw.out[1].answer.token);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
}

static void
an_index_is_free_for_another_group_after_its_answer(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 3 * SLOTS; i++) {
		prg_put_group(SID, 1, 1, 1 + i % 5);
		prg_poll_all();
		assert_int_equal(1 + i % 5, prg.nb_faults);
		assert_int_equal(i + 1, hw.nb_out);
	}
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_CUT));
}

static void
a_stop_marker_discards_the_partial_groups_of_its_pasid(void **state)
{
	(void)state;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_put(SID, 2, 1, 0x2000, 0);
	prg_put(SID2, 1, 1, 0x3000, 0);
	prg_put_mark(SID, 1, IOPF_EVENT_STOP_MARKER);
	prg_poll_all();
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_STOP_MARKERS));
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	prg_put(SID, 2, 1, 0x2001, LAST);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
	prg_put(SID2, 1, 1, 0x3001, LAST);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
	prg_put(SID, 1, 1, 0x1001, LAST);
	prg_poll_all();
	assert_int_equal(1, prg.nb_faults);
	assert_int_equal(3, hw.nb_out);
}

static void
a_group_without_a_domain_is_answered_invalid_once(void **state)
{
	(void)state;
	prg_put_group(SID, 9, 1, 3);
	prg_put_group(SID2 + 1, 1, 1, 3);
	prg_poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_UNKNOWN_SID));
	assert_int_equal(0, prg.called);
}

static void
a_malformed_record_is_only_counted(void **state)
{
	(void)state;
	prg_put(SID, 1, 1, 0x1000, LAST | IOPF_EVENT_BAD);
	prg_put_mark(SID, 1, 0);
	prg_poll_all();
	assert_int_equal(2, prg_stat(IOPF_IOMMU_STAT_BAD_RECORD));
	assert_int_equal(0, hw.nb_out);
}

static void
a_group_without_a_slot_is_answered_success(void **state)
{
	uint64_t first;

	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 0, 1);
	prg_poll_all();
	first = prg.last_id;
	for (unsigned int i = 1; i < SLOTS - 1; i++) {
		prg_put_group(SID, 1, i, 1);
		prg_poll_all();
	}
	/* The last slot: its group is cut, and its answer is for the whole group. */
	prg_put(SID, 1, 100, 0x1000, 0);
	prg_put(SID, 1, 100, 0x2000, 0);
	prg_put(SID, 1, 100, 0x3000, LAST);
	prg_put(SID, 1, 101, 0x1000, 0);
	prg_put(SID, 1, 101, 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(SLOTS, prg.called);
	assert_int_equal(1, prg.nb_faults);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(101, hw.out[0].answer.token);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_int_equal(3, prg_stat(IOPF_IOMMU_STAT_CUT));
	assert_int_equal(0, iopf_group_respond(first, IOPF_SUCCESS));
	prg_put_group(SID, 1, 101, 1);
	prg_poll_all();
	assert_int_equal(SLOTS + 1, prg.called);
}

static void
a_group_beyond_its_limit_is_cut_and_answered(void **state)
{
	const unsigned int n = IOPF_MAX_GROUP_FAULTS + 88;

	(void)state;
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_int_equal(0, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 512 }));
	assert_int_equal(512 - 64, iopf_iommu_info(prg.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	prg_put_group(SID, 1, 1, n);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	assert_int_equal(IOPF_MAX_GROUP_FAULTS, prg.nb_faults);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(88, prg_stat(IOPF_IOMMU_STAT_CUT));
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
}

static void
a_group_without_last_is_reported_when_it_is_too_old(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_int_equal(0, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .report = prg_report, .partial_ms = 1 }));
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	prg_put(SID, 1, 3, 0x1000, 0);
	prg_put(SID, 1, 3, 0x2000, 0);
	prg_poll_all();
	assert_int_equal(0, prg.reported);
	for (unsigned int i = 0; i < 20000 && prg.reported == 0; i++) {
		iopf_poll(prg.poller);
		usleep(10);
	}
	assert_int_equal(2, prg.reported);
	assert_int_equal(0x2000, prg.report.addr);
	assert_int_equal(3, prg.report.token);
	assert_true(prg.report.flags & IOPF_FAULT_PAGE_REQUEST);
	assert_int_equal(2, prg_stat(IOPF_IOMMU_STAT_AGED));
	assert_int_equal(0, hw.nb_out);
	prg_put(SID, 1, 3, 0x3000, LAST);
	prg_poll_all();
	assert_int_equal(1, prg.nb_faults);
	assert_int_equal(1, hw.nb_out);
}

static void
the_request_queue_is_not_made_smaller_than_the_granted_requests(void **state)
{
	(void)state;
	prg_mute_log(true);
	assert_int_equal(-EBUSY, iopf_iommu_configure(prg.iommu, NULL));
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 8 }));
	assert_int_equal(-EINVAL, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 24 }));
	assert_int_equal(-EINVAL, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 8192 }));
	assert_int_equal(0, iopf_iommu_configure(prg.iommu,
			&(struct iopf_iommu_conf){ .request_queue_size = 64 }));
	assert_int_equal(56, iopf_iommu_info(prg.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_configure(prg.iommu, NULL));
	assert_int_equal(14, iopf_iommu_info(prg.iommu)->max_requests);
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	a_group_is_answered_once_after_last(NULL);
}

static const struct CMUnitTest tests[] = {
	PRG_TEST(a_group_is_answered_once_after_last),
	PRG_TEST(a_group_may_come_in_many_bursts),
	PRG_TEST(groups_of_devices_pasids_and_indices_interleave),
	PRG_TEST(the_answer_carries_the_pasid_if_the_device_requires_it),
	PRG_TEST_PPS(with_pps_the_answer_carries_the_pasid_of_its_request),
	PRG_TEST(a_loss_discards_partial_groups_only),
	PRG_TEST(invalidations_for_lost_requests_are_made_per_domain),
	PRG_TEST(each_request_of_a_pending_group_is_a_duplicate),
	PRG_TEST(a_last_twice_in_a_burst_is_answered_once),
	PRG_TEST(an_index_is_free_for_another_group_after_its_answer),
	PRG_TEST(a_stop_marker_discards_the_partial_groups_of_its_pasid),
	PRG_TEST(a_group_without_a_domain_is_answered_invalid_once),
	PRG_TEST(a_malformed_record_is_only_counted),
	PRG_TEST(a_group_without_a_slot_is_answered_success),
	PRG_TEST(a_group_beyond_its_limit_is_cut_and_answered),
	PRG_TEST(a_group_without_last_is_reported_when_it_is_too_old),
	PRG_TEST(the_request_queue_is_not_made_smaller_than_the_granted_requests),
};
TEST_SUITE(prg_groups, tests, NULL, NULL);
