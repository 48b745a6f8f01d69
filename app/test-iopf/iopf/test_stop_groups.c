/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page request groups at a stop, of a device whose PRI stays on, since another control call has its
 * lock: each gets its answer before the IOMMU is off. On an IOMMU made of arrays.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_policy.h"
#include "prg_rig.h"
#include "test.h"

#define SID3	11
#define PAGE	0x5000

static struct {
	struct iopf_dev *dev;		/* its PASIDs 1 and 2 have the domain */
	struct iopf_domain *domain;	/* its groups are taken */
	pthread_t poller, stopper;
	_Atomic bool in_handler;	/* of another device, on the poll thread */
	bool begins_stop;		/* when PASID 1 has drained */
	uint64_t id;			/* of the group taken last */
	_Atomic bool holds_answer, is_answering, stops_early, hold;
} st;

static enum iopf_verdict
take(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	st.id = group->id;
	return IOPF_TAKEN;
}

/* Until the detach has ended the groups, the pass of this handler delays the stop. */
static enum iopf_verdict
delay_stop(const struct iopf_group *group)
{
	(void)group;
	st.in_handler = true;
	for (unsigned int i = 0; i < 100000 && iopf_domain_pending(st.domain) != 0; i++)
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void *
poll_once(void *arg)
{
	(void)arg;
	iopf_poll(prg.poller);
	return NULL;
}

static void *
stop(void *arg)
{
	(void)arg;
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	return NULL;
}

/* The detach asks this without a read section, and cancels what is left next. */
static bool
pasid_drained(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	(void)dev;
	(void)pasid;
	(void)ctx;
	if (!st.begins_stop)
		return true;
	st.begins_stop = false;
	prg_put(SID2, 1, 9, 0x1000, LAST);
	assert_int_equal(0, pthread_create(&st.poller, NULL, poll_once, NULL));
	while (!st.in_handler)
		usleep(100);
	assert_int_equal(0, pthread_create(&st.stopper, NULL, stop, NULL));
	while (atomic_load(&prg.iommu->state) != IOPF_STATE_STOPPING)
		usleep(100);
	return true;
}

static int
st_setup(void **state)
{
	static struct iopf_pci_ops ops;
	const uint32_t sid = SID3;

	prg_setup(state);
	memset(&st, 0, sizeof(st));
	ops = prg_ops;
	ops.pasid_drained = pasid_drained;
	st.dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = 4, .recover = IOPF_PRI, .pri_requests = 2, .pci = &ops,
			.ctx = &prg });
	assert_non_null(st.dev);
	st.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = take,
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	assert_non_null(st.domain);
	for (uint32_t pasid = 1; pasid <= 2; pasid++)
		assert_int_equal(0, iopf_domain_attach(st.domain, st.dev, pasid));
	prg.in_handler = delay_stop;
	prg_mute_log(true);
	return 0;
}

static int
st_teardown(void **state)
{
	assert_int_equal(0, iopf_dev_remove(st.dev));
	assert_int_equal(0, iopf_domain_destroy(st.domain));
	return prg_teardown(state);
}

/* Stop while a detach of PASID 1 is about to cancel what handlers have. */
static void
detach_during_a_stop(void)
{
	st.begins_stop = true;
	assert_int_equal(0, iopf_domain_detach(st.domain, st.dev, 1));
	pthread_join(st.poller, NULL);
	pthread_join(st.stopper, NULL);
}

static unsigned int
nb_answers(uint16_t index)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < hw.nb_out; i++)
		n += hw.out[i].answer.page_request && hw.out[i].answer.sid == SID3 &&
			hw.out[i].answer.token == index;
	return n;
}

static void
a_detach_during_a_stop_answers_groups(void **state)
{
	(void)state;
	prg_put(SID3, 1, 3, PAGE, LAST);
	prg_poll_all();
	detach_during_a_stop();
	assert_int_equal(1, nb_answers(3));
	assert_int_equal(0, iopf_domain_pending(st.domain));
}

/* The leader is a stall, which the stop ends. */
static void
a_detach_during_a_stop_answers_groups_that_have_joined(void **state)
{
	(void)state;
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = PAGE, .sid = SID3, .pasid = 1,
			.token = 1, .perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL });
	prg_poll_all();
	prg_put(SID3, 2, 4, PAGE, LAST);
	prg_poll_all();
	assert_int_equal(1, iopf_domain_stat(st.domain, IOPF_STAT_JOINED));
	detach_during_a_stop();
	assert_int_equal(1, nb_answers(4));
	assert_int_equal(0, iopf_domain_pending(st.domain));
}

static enum iopf_verdict
hold_pass(const struct iopf_group *group)
{
	(void)group;
	st.in_handler = true;
	while (st.hold)
		usleep(100);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/* Has claimed the group, and sends its answer a while later, or when the driver stops. */
static void
send_late(void)
{
	if (!st.holds_answer)
		return;
	st.holds_answer = false;
	st.is_answering = true;
	for (unsigned int i = 0; i < 3000 && hw.knobs[ARRAY_STOP].calls == 0; i++)
		usleep(100);
	st.stops_early = hw.knobs[ARRAY_STOP].calls != 0;
}

static void *
respond(void *arg)
{
	(void)arg;
	assert_int_equal(0, iopf_group_respond(st.id, IOPF_SUCCESS));
	return NULL;
}

/* When the driver has stopped, the answer would not be delivered. */
static void
a_stop_waits_for_answers_that_are_being_sent(void **state)
{
	pthread_t responder;

	(void)state;
	prg_put(SID3, 1, 3, PAGE, LAST);
	prg_poll_all();
	/* The stop waits for this pass. Then it has not waited for a later read section. */
	st.hold = true;
	prg.in_handler = hold_pass;
	prg_put(SID2, 1, 9, 0x1000, LAST);
	assert_int_equal(0, pthread_create(&st.poller, NULL, poll_once, NULL));
	while (!st.in_handler)
		usleep(100);
	assert_int_equal(0, pthread_create(&st.stopper, NULL, stop, NULL));
	while (atomic_load(&prg.iommu->state) != IOPF_STATE_STOPPING)
		usleep(100);
	usleep(50000);
	st.holds_answer = true;
	hw.on_answer = send_late;
	assert_int_equal(0, pthread_create(&responder, NULL, respond, NULL));
	while (!st.is_answering)
		usleep(100);
	st.hold = false;
	pthread_join(st.poller, NULL);
	pthread_join(responder, NULL);
	pthread_join(st.stopper, NULL);
	assert_int_equal(1, nb_answers(3));
	assert_false(st.stops_early);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(a_detach_during_a_stop_answers_groups, st_setup,
			st_teardown),
	cmocka_unit_test_setup_teardown(a_detach_during_a_stop_answers_groups_that_have_joined,
			st_setup, st_teardown),
	cmocka_unit_test_setup_teardown(a_stop_waits_for_answers_that_are_being_sent, st_setup,
			st_teardown),
};

TEST_SUITE(stop_groups, tests, NULL, NULL);
