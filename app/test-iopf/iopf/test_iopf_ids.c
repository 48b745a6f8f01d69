/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A group id names one fault for ever: an answer that comes late is -ESTALE, whatever has happened
 * to the slot, the device or the IOMMU; and a slot without further generations retires.
 */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "slot.h"
#include "test.h"

#define NB_SLOTS	(2 * MAX_STALLS)
#define ADDR		UINT64_C(0x5000)

static uint64_t
stale_answers(void)
{
	return iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_STALE_ANSWERS);
}

/* The next fault uses the slot that was freed last. */
static void
reclaim(void)
{
	iopf_slot_reclaim(&one.iommu->queues[IOPF_QUEUE_EVENTS]);
}

/* A fault that the fast handler takes. Returns its id. */
static uint64_t
take_one(uint16_t stag)
{
	reclaim();
	one.verdict = IOPF_TAKEN;
	one_put_stall(stag, ADDR);
	assert_int_equal(1, iopf_poll(one.poller));
	assert_int_equal(1, iopf_domain_pending(one.domain));
	return one.last_id;
}

/* The late answer changes nothing; it is counted, since there is an IOMMU with the id's index. */
static void
check_is_late(uint64_t id)
{
	unsigned int answers = hw.nb_out;
	uint64_t stale = stale_answers();

	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	assert_int_equal(stale + 1, stale_answers());
	assert_int_equal(-ESTALE, iopf_group_defer(id));
	assert_int_equal(-ESTALE, iopf_group_set_deadline(id, 1));
	assert_int_equal(answers, hw.nb_out);
}

static void
close_all(void)
{
	assert_int_equal(0, iopf_dev_remove(one.dev));
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, iopf_poller_destroy(one.poller));
	assert_int_equal(0, iopf_iommu_close(one.iommu));
}

static void
open_all(const char *devstr)
{
	const uint32_t sid = SID;

	one.iommu = iopf_iommu_open(devstr);
	assert_non_null(one.iommu);
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
	assert_non_null(one.dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	one.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(one.poller, one.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
}

/*
 * Late answers
 */

static void
an_answer_is_late_after_the_slot_was_used_again(void **state)
{
	uint64_t old = take_one(1), id;

	(void)state;
	assert_int_equal(0, iopf_group_respond(old, IOPF_SUCCESS));
	id = take_one(2);
	assert_int_equal(IOPF_ID_SLOT(old), IOPF_ID_SLOT(id));
	check_is_late(old);
	assert_int_equal(1, iopf_domain_pending(one.domain));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	check_is_late(id);
}

static void
an_answer_is_late_after_the_device_was_removed(void **state)
{
	const uint32_t sid = SID;
	uint64_t old = take_one(1), id;

	(void)state;
	assert_int_equal(0, iopf_dev_remove(one.dev));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	check_is_late(old);
	one.dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = NB_PASIDS });
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
	id = take_one(2);
	assert_int_equal(IOPF_ID_SLOT(old), IOPF_ID_SLOT(id));
	check_is_late(old);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
}

/* @p devstr is opened in the place of the IOMMU that is closed. */
static void
check_late_after_close(const char *devstr)
{
	uint64_t old = take_one(1), id;

	close_all();
	assert_int_equal(-ESTALE, iopf_group_respond(old, IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_defer(old));
	open_all(devstr);
	check_is_late(old);
	/* The fault of the same slot, of the first generation after the open. */
	id = take_one(2);
	assert_int_equal(IOPF_ID_IOMMU(old), IOPF_ID_IOMMU(id));
	assert_int_equal(IOPF_ID_SLOT(old), IOPF_ID_SLOT(id));
	assert_int_equal(IOPF_ID_GEN(old) + 1, IOPF_ID_GEN(id));
	check_is_late(old);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	check_is_late(id);
}

static void
an_answer_is_late_after_the_iommu_was_closed_and_opened(void **state)
{
	(void)state;
	check_late_after_close("arrays,n=1");
}

static void
an_answer_is_late_after_another_iommu_took_the_index(void **state)
{
	(void)state;
	check_late_after_close("bare,n=2");
}

/* Each close and open uses up no generation: the next id of a slot is the next one. */
static void
close_and_open_use_up_no_generation(void **state)
{
	uint64_t gen = IOPF_ID_GEN(take_one(1));

	(void)state;
	for (unsigned int i = 0; i < 5; i++) {
		close_all();
		open_all("arrays,n=1");
	}
	assert_int_equal(gen + 1, IOPF_ID_GEN(take_one(2)));
}

/*
 * The worker's ring has an id whose fault was answered. One fault holds the worker's only thread
 * meanwhile.
 */
static void
put_deferred(uint16_t stag)
{
	one.verdict = IOPF_DEFER;
	one_put_stall(stag, ADDR);
	assert_int_equal(1, iopf_poll(one.poller));
}

static void
await_deferred(unsigned int n)
{
	for (unsigned int i = 0; i < 100000 && one.called_deferred < n; i++)
		usleep(100);
	assert_int_equal(n, one.called_deferred);
}

static void
a_worker_leaves_out_an_id_whose_slot_was_used_again(void **state)
{
	uint64_t old, id;

	(void)state;
	one.hold = true;
	put_deferred(1);
	await_deferred(1);
	put_deferred(2);
	old = one.last_id;
	assert_int_equal(0, iopf_group_respond(old, IOPF_SUCCESS));
	reclaim();
	one.verdict = IOPF_TAKEN;
	one_put_stall(3, ADDR);
	iopf_poll(one.poller);
	id = one.last_id;
	assert_int_equal(IOPF_ID_SLOT(old), IOPF_ID_SLOT(id));
	one.hold = false;
	/* The ring is in order: when the worker has this one, it has left out the old one. */
	put_deferred(4);
	await_deferred(2);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	one_await_answers(4);
}

/* The same after close and open. Another IOMMU has the fault that holds the worker. */
static void
a_worker_leaves_out_an_id_of_an_iommu_that_was_closed(void **state)
{
	const uint32_t sid = SID;
	struct iopf_iommu *other;
	struct iopf_poller *poller;
	struct iopf_dev *dev;
	uint64_t old, id;

	(void)state;
	other = iopf_iommu_open("bare,n=9");
	dev = iopf_dev_add(other, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_poller_add(poller, other, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(other));
	one.hold = true;
	one.verdict = IOPF_DEFER;
	one_put_stall(1, ADDR);
	assert_int_equal(1, iopf_poll(poller));
	await_deferred(1);

	put_deferred(2);
	old = one.last_id;
	close_all();
	open_all("arrays,n=1");
	one.verdict = IOPF_TAKEN;
	one_put_stall(3, ADDR);
	iopf_poll(one.poller);
	id = one.last_id;
	assert_int_equal(old & ((UINT64_C(1) << IOPF_ID_GEN_SHIFT) - 1),
			id & ((UINT64_C(1) << IOPF_ID_GEN_SHIFT) - 1));
	one.hold = false;
	put_deferred(4);
	await_deferred(2);
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
	one_await_answers(4);

	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_iommu_stop(other));
	assert_int_equal(0, iopf_poller_destroy(poller));
	assert_int_equal(0, iopf_iommu_close(other));
}

/*
 * Retired slots. The tests set the words of free slots, and set them back for the tests that come
 * after them in this process.
 */

static uint64_t first_gens[NB_SLOTS];

static void
set_gens(uint64_t gen)
{
	for (unsigned int i = 0; i < NB_SLOTS; i++) {
		struct iopf_slot *slot = &one.iommu->queues[IOPF_QUEUE_EVENTS].slots[i];

		assert_int_equal(IOPF_SLOT_FREE, IOPF_SLOT_STATE(slot->state));
		first_gens[i] = IOPF_SLOT_GEN(slot->state) + 2;
		slot->state = IOPF_SLOT_WORD(gen, IOPF_SLOT_FREE);
	}
}

static int
teardown_gens(void **state)
{
	struct iopf_queue *q = &one.iommu->queues[IOPF_QUEUE_EVENTS];

	iopf_iommu_stop(one.iommu);
	for (unsigned int i = 0; i < NB_SLOTS; i++)
		q->slots[i].state = IOPF_SLOT_WORD(first_gens[i], IOPF_SLOT_FREE);
	return one_teardown(state);
}

static uint64_t
retired(void)
{
	return iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_SLOTS_RETIRED);
}

static void
a_slot_retires_after_its_last_generation(void **state)
{
	uint64_t last, id;

	(void)state;
	set_gens(IOPF_GEN_END - 1);
	last = take_one(1);
	assert_int_equal(IOPF_GEN_END - 1, IOPF_ID_GEN(last));
	assert_int_equal(0, iopf_group_respond(last, IOPF_SUCCESS));
	check_is_late(last);
	assert_int_equal(0, retired());
	id = take_one(2);
	assert_int_equal(1, retired());
	assert_int_not_equal(IOPF_ID_SLOT(last), IOPF_ID_SLOT(id));
	check_is_late(last);
	/* Not even id 0 names the retired slot. */
	assert_int_equal(-ESTALE, iopf_group_respond(0, IOPF_SUCCESS));
	assert_int_equal(0, iopf_group_respond(id, IOPF_SUCCESS));
}

/* A generation has more than 32 bits: a function that cuts it off loses the answer. */
static void
a_fault_of_a_late_generation_is_answered_in_each_way(void **state)
{
	const enum iopf_code codes[] = { IOPF_SUCCESS, IOPF_INVALID, IOPF_FAILURE };
	unsigned int n = 0;

	(void)state;
	set_gens(IOPF_GEN_END / 2);
	for (; n < RTE_DIM(codes); n++) {
		assert_int_equal(0, iopf_group_respond(take_one(n), codes[n]));
		assert_int_equal(codes[n], hw.out[n].answer.code);
	}
	one.verdict = IOPF_DEFER;
	one_put_stall(n, ADDR);
	iopf_poll(one.poller);
	one_await_answers(++n);
	take_one(n);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	one_await_answers(++n);
}

/* Each slot serves one fault more, and then no fault has a slot. */
static void
faults_are_refused_when_all_slots_are_retired(void **state)
{
	(void)state;
	set_gens(IOPF_GEN_END - 1);
	one.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < NB_SLOTS; i++) {
		one_put_stall(i, ADDR);
		assert_int_equal(1, iopf_poll(one.poller));
		assert_int_equal(IOPF_SUCCESS, hw.out[i].answer.code);
	}
	assert_int_equal(NB_SLOTS, one.called);
	one_put_stall(1, ADDR);
	SAYS("\"arrays,n=1\": each slot of queue 0 has served its 2^40 faults",
		iopf_poll(one.poller));
	assert_int_equal(NB_SLOTS + 1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[NB_SLOTS].answer.code);
	assert_int_equal(NB_SLOTS, one.called);
	assert_int_equal(NB_SLOTS, retired());
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_NO_SLOT));
	/* Retired slots hold no fault. */
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, iopf_iommu_configure(one.iommu, NULL));
	assert_int_equal(NB_SLOTS, retired());
}

/* The other slots go on. */
static void
a_retired_slot_stays_retired_after_close_and_open(void **state)
{
	uint64_t saved[NB_SLOTS], old;
	struct iopf_slot *slots;

	(void)state;
	set_gens(5);
	memcpy(saved, first_gens, sizeof(saved));
	slots = one.iommu->queues[IOPF_QUEUE_EVENTS].slots;
	slots[0].state = IOPF_SLOT_WORD(IOPF_GEN_END - 1, IOPF_SLOT_FREE);
	old = take_one(1);
	assert_int_equal(0, IOPF_ID_SLOT(old));
	close_all();
	open_all("arrays,n=1");
	assert_int_equal(1, retired());
	for (unsigned int i = 1; i < NB_SLOTS; i++) {
		one.verdict = IOPF_TAKEN;
		one_put_stall(i, ADDR);
		iopf_poll(one.poller);
		assert_int_equal(i, IOPF_ID_SLOT(one.last_id));
		assert_int_equal(5, IOPF_ID_GEN(one.last_id));
	}
	one_put_stall(0, ADDR);
	iopf_poll(one.poller);
	assert_int_equal(1, iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_NO_SLOT));
	check_is_late(old);
	memcpy(first_gens, saved, sizeof(saved));
}

#define GENS_TEST(fn) cmocka_unit_test_setup_teardown(fn, one_setup, teardown_gens)

static const struct CMUnitTest tests[] = {
	ONE_TEST(an_answer_is_late_after_the_slot_was_used_again),
	ONE_TEST(an_answer_is_late_after_the_device_was_removed),
	ONE_TEST(an_answer_is_late_after_the_iommu_was_closed_and_opened),
	ONE_TEST(an_answer_is_late_after_another_iommu_took_the_index),
	ONE_TEST(close_and_open_use_up_no_generation),
	ONE_TEST(a_worker_leaves_out_an_id_whose_slot_was_used_again),
	ONE_TEST(a_worker_leaves_out_an_id_of_an_iommu_that_was_closed),
	GENS_TEST(a_slot_retires_after_its_last_generation),
	GENS_TEST(a_fault_of_a_late_generation_is_answered_in_each_way),
	GENS_TEST(faults_are_refused_when_all_slots_are_retired),
	GENS_TEST(a_retired_slot_stays_retired_after_close_and_open),
};

TEST_SUITE(iopf_ids, tests, NULL, NULL);
