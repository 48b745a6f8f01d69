/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Many faults, answered by the handler, a worker, owners and detaches at the same time.
 */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "test.h"

static _Atomic uint64_t race_ids[64];

static _Atomic bool race_stop;

static enum iopf_verdict
race_handler(const struct iopf_group *group)
{
	static unsigned int n;

	switch (n++ % 3) {
	case 0:
		return IOPF_ANSWER(IOPF_SUCCESS);
	case 1:
		return IOPF_DEFER;
	default:
		race_ids[n % 64] = group->id;
		return IOPF_TAKEN;
	}
}

static void *
race_responder(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	/* With fewer processors than threads, a thread that finds nothing must not keep one. */
	while (!race_stop)
		if (iopf_group_respond(race_ids[rand_r(&seed) % 64], IOPF_SUCCESS) < 0)
			sched_yield();
	return NULL;
}

static void *
race_poller(void *arg)
{
	(void)arg;
	iopf_poller_run(one.poller);
	return NULL;
}

static void
concurrent_answers_give_each_fault_one_answer(void **state)
{
	unsigned int nb_faults = 20000 * test_scale(), outstanding_max = MAX_STALLS;
	pthread_t responders[2], poller;
	uint8_t used[MAX_STALLS] = { 0 };
	unsigned int seen = 0;

	(void)state;
	race_stop = false;
	one.in_handler = race_handler;
	pthread_create(&poller, NULL, race_poller, NULL);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&responders[i], NULL, race_responder, (void *)(i + 1));
	for (unsigned int i = 0; i < nb_faults;) {
		unsigned int out;

		/* Check the answers: each must be for an outstanding token. */
		pthread_mutex_lock(&hw.lock);
		for (out = hw.nb_out; seen < out; seen++) {
			const struct iopf_answer *a = &hw.out[seen % QUEUE].answer;

			assert_int_equal(1, used[a->token]);
			used[a->token] = 0;
		}
		pthread_mutex_unlock(&hw.lock);
		if (i - seen == outstanding_max) {
			/* A detach answers the faults that no thread has answered. */
			if (i % 7 == 0) {
				assert_int_equal(0, iopf_domain_detach(one.domain, one.dev,
						IOPF_NO_PASID));
				assert_int_equal(0, iopf_domain_attach(one.domain, one.dev,
						IOPF_NO_PASID));
			}
			for (unsigned int k = 0; k < 64; k++)
				iopf_group_respond(race_ids[k], IOPF_SUCCESS);
			sched_yield();
			continue;
		}
		for (unsigned int k = 0; k < MAX_STALLS; k++) {
			if (!used[k]) {
				used[k] = 1;
				one_put_stall(k, 0x1000 * i++);
				break;
			}
		}
	}
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	race_stop = true;
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(responders[i], NULL);
	iopf_poller_stop(one.poller);
	pthread_join(poller, NULL);
	assert_int_equal(nb_faults, hw.nb_out);
	assert_int_equal(0, iopf_domain_pending(one.domain));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(concurrent_answers_give_each_fault_one_answer),
};
TEST_SUITE(iopf_races, tests, NULL, NULL);
