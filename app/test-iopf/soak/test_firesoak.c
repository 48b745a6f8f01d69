/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A hundred thousand faults under fire, a hundred million with IOPF_TEST_SCALE=1000: see fire.h. A
 * round has its own SMMU and severities, and each kind of change at least once. At its end the
 * control threads stop, everything is detached, attached again, and each access of a calm moment
 * succeeds. Then each fault was answered once, and all counters add up.
 *
 * The seed repeats the choices of each thread. How the threads run side by side differs.
 */

#include <sched.h>

#include <rte_cycles.h>

#include "fire.h"
#include "test.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define FAULTS 20000
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define FAULTS 20000
#endif
#endif
#ifndef FAULTS
#define FAULTS 50000	/* of a round */
#endif
#define ROUNDS 2

static void
run_traffic(uint64_t faults)
{
	uint64_t last = 0, since = rte_rdtsc(), late = 0;

	while (fire_faults() < faults || !fire_had_all()) {
		fire_traffic(true);
		sched_yield();
		if (fire_faults() != last) {
			last = fire_faults();
			since = rte_rdtsc();
		} else if (fire_is_late(since)) {
			fire_hang("the wait for the next fault");
		}
		if (fire_faults() < faults)
			late = rte_rdtsc();
		else if (fire_is_late(late))
			fire_hang("the wait for each kind of change");
	}
}

static void
end_traffic(void)
{
	uint64_t since = rte_rdtsc();

	while (fire_traffic(false) != 0) {
		sched_yield();
		if (fire_is_late(since))
			fire_hang("DMA without a domain");
	}
}

static void *
join_controls(void *arg)
{
	for (unsigned int i = 0; i < FIRE_CONTROLS; i++)
		pthread_join(fire.control[i], NULL);
	atomic_store((_Atomic bool *)arg, true);
	return NULL;
}

/* The control threads may wait for DMA to end: the traffic goes on meanwhile. */
static void
stop_controls(void)
{
	_Atomic bool joined = false;
	uint64_t since = rte_rdtsc();
	pthread_t joiner;

	atomic_store(&fire.stop_control, true);
	assert_int_equal(pthread_create(&joiner, NULL, join_controls, (void *)&joined), 0);
	while (!atomic_load(&joined)) {
		fire_traffic(true);
		sched_yield();
		if (fire_is_late(since))
			fire_hang("a control thread");
	}
	pthread_join(joiner, NULL);
}

static void
run_round(uint32_t seed)
{
	fire_open("firesoak", seed);
	run_traffic(FAULTS);
	stop_controls();
	smmuv3_model_knob(fire.m, SMMUV3_MODEL_KNOB_EVTQ_LOSE, 0);
	smmuv3_model_knob(fire.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 0);
	smmuv3_model_knob(fire.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 0);
	atomic_store(&fire.gentle, true);
	fire_detach_all();
	end_traffic();
	fire_renew_devs();
	fire_attach_all();
	fire_traffic_calm();
	fire_detach_all();
	atomic_store(&fire.stop_responders, true);
	for (unsigned int i = 0; i < FIRE_RESPONDERS; i++)
		pthread_join(fire.responder[i], NULL);
	pthread_join(fire.reader, NULL);
	for (unsigned int i = 0; i < FIRE_POLLERS; i++)
		soak_poller_stop(&fire.poller[i]);
	fire_check_round();
	fire_close();
}

static void
each_fault_ends_once_under_fire(void **state)
{
	uint32_t seed = test_seed("firesoak");

	(void)state;
	for (unsigned int i = 0; i < ROUNDS * test_scale(); i++) {
		if (i > 0)
			print_message("firesoak: round %u: IOPF_TEST_SEED=%u\n", i, seed);
		run_round(seed);
		seed = seed * UINT32_C(2654435761) + 1;
		if (seed == 0)
			seed = 1;
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_fault_ends_once_under_fire),
};
TEST_SUITE(firesoak, tests, NULL, NULL);
