/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 7: faults on a page that is being resolved join it, stalls and page requests alike. Each
 * joined fault is answered exactly once, not before the fault it has joined.
 */

#include <errno.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "join_rig.h"
#include "log_lines.h"
#include "test.h"

static void
faults_on_a_taken_page_are_answered_with_it(void **state)
{
	(void)state;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	join_put_stall(SID_A, 2, PAGE + 0x123, IOPF_PERM_READ);
	join_put_stall(SID_B, 3, PAGE + 0xff8, IOPF_PERM_READ);
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(1, join.called);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(4, iopf_domain_pending(join.domain));
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
	for (unsigned int i = 0; i < 4; i++) {
		const struct iopf_answer *answer = &hw.out[i].answer;

		assert_int_equal(answer->token == 4, answer->page_request);
		assert_int_equal(answer->token == 4 ? SID : answer->token == 3 ? SID_B : SID_A,
				answer->sid);
	}
	assert_int_equal(3, join_stat(IOPF_STAT_JOINED));
	assert_int_equal(4, join_stat(IOPF_STAT_FAULTS));
	assert_int_equal(4, join_stat(IOPF_STAT_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(join.id, IOPF_SUCCESS));
}

static void
stalls_join_a_page_request(void **state)
{
	(void)state;
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	for (unsigned int i = 5; i < 8; i++)
		join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(4, (uint16_t []){ 4, 5, 6, 7 }, IOPF_SUCCESS);
}

static void
joined_faults_get_the_code_of_their_leader(void **state)
{
	static const enum iopf_code codes[] = { IOPF_INVALID, IOPF_SUCCESS };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		hw.nb_out = 0;
		join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
		join_put_stall(SID_B, 2, PAGE, IOPF_PERM_READ);
		prg_put(SID, 3, 3, PAGE, LAST);
		prg_poll_all();
		assert_int_equal(0, iopf_group_respond(join.id, codes[i]));
		join_check_answers(3, (uint16_t []){ 1, 2, 3 }, codes[i]);
	}
	/* A page request has no RAZWI. */
	hw.nb_out = 0;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 3, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_RAZWI));
	assert_int_equal(IOPF_RAZWI, hw.out[0].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	assert_int_equal(3, join.called);
}

static void
other_pages_and_permissions_do_not_join(void **state)
{
	static const struct {
		uint64_t addr;
		uint8_t perm;
	} others[] = {
		{ PAGE + 0x1000, IOPF_PERM_READ },
		{ PAGE - 1, IOPF_PERM_READ },
		{ PAGE, IOPF_PERM_WRITE },
		{ PAGE, RW },
		{ PAGE, IOPF_PERM_READ | IOPF_PERM_PRIV },
		{ PAGE | UINT64_C(1) << 44, IOPF_PERM_READ },
	};

	(void)state;
	for (unsigned int i = 0; i < 6; i++) {
		uint64_t id;

		hw.nb_out = 0;
		join.called = 0;
		join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
		prg_poll_all();
		id = join.id;
		join_put_stall(SID_A, 2, others[i].addr, others[i].perm);
		prg_poll_all();
		assert_int_equal(2, join.called);
		assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
		assert_int_equal(1, hw.nb_out);
		assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
		assert_int_equal(2, hw.nb_out);
	}
	/* Nor does an unprivileged access join a privileged one. */
	join.called = 0;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ | IOPF_PERM_PRIV);
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(2, join.called);
	assert_int_equal(0, iopf_domain_detach(join.domain, join.a, 1));
	assert_int_equal(0, iopf_domain_attach(join.domain, join.a, 1));
	/* A read joins an access that reads and writes. */
	join.called = 0;
	join_put_stall(SID_A, 1, PAGE, RW);
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(1, join_stat(IOPF_STAT_JOINED));
}

static void
faults_after_the_answer_go_to_the_handler(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 200; i++) {
		join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
		prg_poll_all();
		assert_int_equal(i + 1, join.called);
		assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	}
	assert_int_equal(0, join_stat(IOPF_STAT_JOINED));
}

static void
a_fault_that_its_handler_has_answered_has_no_joined_ones(void **state)
{
	(void)state;
	join.respond = true;
	for (unsigned int i = 1; i < 5; i++)
		join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(4, join.called);
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
}

static void
duplicates_in_a_burst_get_the_same_answer(void **state)
{
	static const enum iopf_code codes[] = { IOPF_SUCCESS, IOPF_INVALID };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		hw.nb_out = 0;
		join.called = 0;
		join.verdict = IOPF_ANSWER(codes[i]);
		join_put_stall(SID_A, 1, PAGE, RW);
		join_put_stall(SID_B, 2, PAGE + 8, IOPF_PERM_READ);
		join_put_stall(SID_A, 3, PAGE + 0xfff, IOPF_PERM_WRITE);
		prg_poll_all();
		assert_int_equal(1, join.called);
		join_check_answers(3, (uint16_t []){ 1, 2, 3 }, codes[i]);
		/* The next burst has faults that were raised after the answer. */
		join_put_stall(SID_A, 4, PAGE, RW);
		prg_poll_all();
		assert_int_equal(2, join.called);
		join_put_stall(SID_A, 5, PAGE, IOPF_PERM_READ);
		join_put_stall(SID_A, 6, PAGE, IOPF_PERM_WRITE);
		join_put_stall(SID_A, 7, PAGE + 0x1000, IOPF_PERM_READ);
		prg_poll_all();
		assert_int_equal(5, join.called);
		assert_int_equal(7, hw.nb_out);
	}
	assert_int_equal(4, join_stat(IOPF_STAT_JOINED));
}

static void
duplicates_wait_for_the_invalidation_of_the_first(void **state)
{
	(void)state;
	join.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	join.nb_inv = 2;
	for (unsigned int i = 1; i < 5; i++)
		join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
	hw.posts = hw.posted_invs = 0;
	prg_poll_all();
	assert_int_equal(1, join.called);
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
	/* In the same batch. */
	assert_int_equal(1, hw.posts);
	assert_int_equal(2, hw.posted_invs);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(2, hw.out[i].nb_inv);
		assert_int_equal(PAGE, hw.out[i].inv_addr);
	}
	assert_int_equal(4, join_stat(IOPF_STAT_AFTER_INV));
}

/* Two bursts of one pass: the second has faults that may be raised after the answer. */
static void
a_fault_of_the_next_burst_goes_to_the_handler(void **state)
{
	(void)state;
	join.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < 33; i++)
		join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
	assert_int_equal(33, iopf_poll(prg.poller));
	assert_int_equal(2, join.called);
	assert_int_equal(33, hw.nb_out);
	assert_int_equal(31, join_stat(IOPF_STAT_JOINED));
}

static struct iopf_dev *
add_other_domain(struct iopf_domain **other)
{
	const uint32_t sid = SID_B + 1;
	struct iopf_dev *dev;

	*other = iopf_domain_create(&(struct iopf_domain_conf){ .handler = join_fast,
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = 16 });
	assert_int_equal(0, iopf_domain_attach(*other, dev, 1));
	return dev;
}

/* Another domain's page with the same address is another page. */
static void
faults_of_another_domain_do_not_join(void **state)
{
	struct iopf_domain *other;
	struct iopf_dev *dev = add_other_domain(&other);

	(void)state;
	join.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B + 1, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(2, join.called);
	join.verdict = IOPF_TAKEN;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B + 1, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(4, join.called);
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(other));
}

/* Another domain's invalidations end the batch. */
static void
a_duplicate_of_another_batch_goes_to_the_handler(void **state)
{
	struct iopf_domain *other;
	struct iopf_dev *dev = add_other_domain(&other);

	(void)state;
	join.verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	join.nb_inv = 1;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B + 1, 2, PAGE + 0x1000, IOPF_PERM_READ);
	join_put_stall(SID_A, 3, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(3, join.called);
	assert_int_equal(3, hw.nb_out);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(1, hw.out[i].nb_inv);
		assert_int_equal(i == 1 ? PAGE + 0x1000 : PAGE, hw.out[i].inv_addr);
	}
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(other));
}

static void
faults_join_a_deferred_one(void **state)
{
	(void)state;
	join.verdict = IOPF_DEFER;
	join.hold = true;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	while (!join.holding)
		usleep(10);
	join_put_stall(SID_B, 3, PAGE, IOPF_PERM_READ);
	prg_put(SID, 3, 4, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(1, join.called);
	assert_int_equal(0, hw.nb_out);
	join.hold = false;
	for (unsigned int i = 0; i < 100000 && hw.nb_out < 4; i++)
		usleep(10);
	join_check_answers(4, (uint16_t []){ 1, 2, 3, 4 }, IOPF_SUCCESS);
	assert_int_equal(1, join.called_deferred);
	assert_int_equal(3, join_stat(IOPF_STAT_JOINED));
}

static void
faults_join_one_that_a_deferred_handler_has_taken(void **state)
{
	(void)state;
	join.verdict = IOPF_DEFER;
	join.deferred_verdict = IOPF_TAKEN;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	for (unsigned int i = 0; i < 100000 && join_stat(IOPF_STAT_TAKEN) == 0; i++)
		usleep(10);
	join_put_stall(SID_A, 2, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	while (iopf_group_respond(join.id, IOPF_SUCCESS) < 0)
		usleep(10);
	join_check_answers(2, (uint16_t []){ 1, 2 }, IOPF_SUCCESS);
}

static void
a_group_joins_if_all_its_pages_have_one_leader(void **state)
{
	uint64_t id;

	(void)state;
	prg_put(SID, 3, 1, PAGE, 0);
	prg_put(SID, 3, 1, PAGE + 0x1000, LAST);
	prg_poll_all();
	id = join.id;
	prg_put(SID, 3, 2, PAGE + 0x1000, 0);
	prg_put(SID, 3, 2, PAGE, LAST);
	join_put_stall(SID_A, 3, PAGE + 0x1000, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	/* Two pages with different leaders, and one without. */
	join_put_stall(SID_A, 4, PAGE + 0x2000, IOPF_PERM_READ);
	prg_put(SID, 3, 5, PAGE, 0);
	prg_put(SID, 3, 5, PAGE + 0x2000, LAST);
	prg_put(SID, 3, 6, PAGE, 0);
	prg_put(SID, 3, 6, PAGE + 0x3000, LAST);
	prg_poll_all();
	assert_int_equal(4, join.called);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(2, join_stat(IOPF_STAT_JOINED));
}

static void
groups_in_a_burst_get_the_answer_of_one_group(void **state)
{
	(void)state;
	join.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg_put(SID, 3, 1, PAGE, 0);
	prg_put(SID, 3, 1, PAGE + 0x1000, LAST);
	prg_put(SID, 3, 2, PAGE + 0x1000, 0);
	prg_put(SID, 3, 2, PAGE, LAST);
	prg_put(SID, 3, 3, PAGE, 0);
	prg_put(SID, 3, 3, PAGE + 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(2, join.called);
	join_check_answers(3, (uint16_t []){ 1, 2, 3 }, IOPF_SUCCESS);
	/* Two pages that two groups had. */
	hw.nb_out = join.called = 0;
	prg_put(SID, 3, 1, PAGE, LAST);
	prg_put(SID, 3, 2, PAGE + 0x1000, LAST);
	prg_put(SID, 3, 3, PAGE, 0);
	prg_put(SID, 3, 3, PAGE + 0x1000, LAST);
	prg_poll_all();
	assert_int_equal(3, join.called);
	join_check_answers(3, (uint16_t []){ 1, 2, 3 }, IOPF_SUCCESS);
}

static void
a_request_of_a_joined_group_is_a_duplicate(void **state)
{
	(void)state;
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	prg_put(SID, 3, 2, PAGE, LAST);
	prg_put(SID, 3, 2, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	join_check_answers(2, (uint16_t []){ 1, 2 }, IOPF_SUCCESS);
	/* The name is free again. */
	join_put_stall(SID_A, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	prg_put(SID, 3, 2, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
}

/* More than go to the driver at a time, as many as can be outstanding. */
static void
each_of_many_joined_faults_is_answered_once(void **state)
{
	unsigned int stalls = MAX_STALLS / 2, requests = REQUESTS, n = 2 * stalls + requests;

	(void)state;
	for (unsigned int round = 0; round < 3; round++) {
		uint64_t seen[3] = { 0, 0, 0 };

		hw.nb_out = 0;
		for (unsigned int i = 0; i < stalls; i++) {
			join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
			join_put_stall(SID_B, i, PAGE, IOPF_PERM_READ);
		}
		for (unsigned int i = 0; i < requests; i++)
			prg_put(SID, 3, i, PAGE, LAST);
		prg_poll_all();
		assert_int_equal(round + 1, join.called);
		assert_int_equal(0, hw.nb_out);
		assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
		assert_int_equal(n, hw.nb_out);
		for (unsigned int i = 0; i < n; i++) {
			const struct iopf_answer *answer = &hw.out[i].answer;

			assert_int_equal(IOPF_SUCCESS, answer->code);
			seen[answer->page_request ? 2 : answer->sid == SID_B] |=
				UINT64_C(1) << answer->token;
		}
		assert_true(seen[0] == (UINT64_C(1) << stalls) - 1 && seen[1] == seen[0]);
		assert_true(seen[2] == (UINT64_C(1) << requests) - 1);
	}
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
}

static void
a_larger_page_may_be_set(void **state)
{
	(void)state;
	join_close_domain();
	join_open_domain((struct iopf_domain_conf){
			.storm = &(struct iopf_storm_conf){ .join_log2 = 21 } });
	join_put_stall(SID_A, 1, 0x400000, IOPF_PERM_READ);
	join_put_stall(SID_A, 2, 0x5ff000, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(1, join.called);
	join_put_stall(SID_A, 3, 0x600000, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(2, join.called);
}

static void
without_the_policy_no_fault_joins(void **state)
{
	(void)state;
	join_close_domain();
	join_open_domain((struct iopf_domain_conf){ .name = NULL });
	for (unsigned int i = 1; i < 4; i++)
		join_put_stall(SID_A, i, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(3, join.called);
	assert_int_equal(0, iopf_group_respond(join.id, IOPF_SUCCESS));
	assert_int_equal(1, hw.nb_out);
}

static void
a_page_size_that_is_none_is_refused(void **state)
{
	static const uint8_t bad[] = { 1, 11, 49, 255 };

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		rte_errno = 0;
		SAYS("join_log2", assert_null(iopf_domain_create(&(struct iopf_domain_conf){
				.handler = join_fast,
				.storm = &(struct iopf_storm_conf){ .join_log2 = bad[i] } })));
		assert_int_equal(EINVAL, rte_errno);
	}
}

/* Its faults have been counted, so they wait for no leader. */
static void
faults_of_an_episode_do_not_join(void **state)
{
	uint64_t id;

	(void)state;
	join_close_domain();
	join_open_domain((struct iopf_domain_conf){ .storm = &(struct iopf_storm_conf){
			.join_log2 = 12, .report_first = true } });
	join_put_stall(SID_B, 1, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	id = join.id;
	join.verdict = IOPF_ANSWER(IOPF_INVALID);
	join_put_stall(SID_A, 2, PAGE + 0x1000, IOPF_PERM_READ);
	join_put_stall(SID_A, 3, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_B, 4, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(1, join_stat(IOPF_STAT_COUNTED));
	assert_int_equal(1, join_stat(IOPF_STAT_JOINED));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(4, hw.nb_out);
	/* Nor do they get the answer of another device's fault in their burst. */
	join.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	join_put_stall(SID_B, 5, PAGE, IOPF_PERM_READ);
	join_put_stall(SID_A, 6, PAGE, IOPF_PERM_READ);
	prg_poll_all();
	assert_int_equal(6, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[4].answer.code);
	assert_int_equal(IOPF_INVALID, hw.out[5].answer.code);
	assert_int_equal(2, join_stat(IOPF_STAT_COUNTED));
}

static const struct CMUnitTest tests[] = {
	JOIN_TEST(faults_on_a_taken_page_are_answered_with_it),
	JOIN_TEST(stalls_join_a_page_request),
	JOIN_TEST(joined_faults_get_the_code_of_their_leader),
	JOIN_TEST(other_pages_and_permissions_do_not_join),
	JOIN_TEST(faults_after_the_answer_go_to_the_handler),
	JOIN_TEST(a_fault_that_its_handler_has_answered_has_no_joined_ones),
	JOIN_TEST(duplicates_in_a_burst_get_the_same_answer),
	JOIN_TEST(duplicates_wait_for_the_invalidation_of_the_first),
	JOIN_TEST(a_fault_of_the_next_burst_goes_to_the_handler),
	JOIN_TEST(faults_of_another_domain_do_not_join),
	JOIN_TEST(a_duplicate_of_another_batch_goes_to_the_handler),
	JOIN_TEST(faults_join_a_deferred_one),
	JOIN_TEST(faults_join_one_that_a_deferred_handler_has_taken),
	JOIN_TEST(a_group_joins_if_all_its_pages_have_one_leader),
	JOIN_TEST(groups_in_a_burst_get_the_answer_of_one_group),
	JOIN_TEST(a_request_of_a_joined_group_is_a_duplicate),
	JOIN_TEST(each_of_many_joined_faults_is_answered_once),
	JOIN_TEST(a_larger_page_may_be_set),
	JOIN_TEST(without_the_policy_no_fault_joins),
	JOIN_TEST(a_page_size_that_is_none_is_refused),
	JOIN_TEST(faults_of_an_episode_do_not_join),
};
TEST_SUITE(join, tests, NULL, NULL);
