/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The groups of a random sequence of records are those that this file computes by the same rules.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "prg_rig.h"
#include "test.h"

#define KEYS	24	/* 2 StreamIDs, 3 PASIDs, 4 indices */
#define MAX_OPEN 20	/* requests, so that slots never run out */

static struct {
	unsigned int partial[KEYS];	/* requests */
	uint64_t pending[KEYS];		/* the id of a taken group */
	unsigned int size[KEYS];	/* of that */
	unsigned int open;
	unsigned int calls, answers, duplicates, discarded;
	unsigned int expected;		/* requests of the next group */
} sim;

static uint32_t
key_sid(unsigned int key)
{
	return key & 1 ? SID2 : SID;
}

static uint32_t
key_pasid(unsigned int key)
{
	static const uint32_t pasids[] = { IOPF_NO_PASID, 1, 2 };

	return pasids[key / 2 % 3];
}

static void
sim_discard(unsigned int key)
{
	sim.discarded += sim.partial[key];
	sim.open -= sim.partial[key];
	sim.partial[key] = 0;
}

static enum iopf_verdict
sim_handler(const struct iopf_group *group)
{
	assert_int_equal(sim.expected, group->nb_faults);
	return prg.verdict;
}

static void
sim_request(unsigned int key, bool last)
{
	if (sim.pending[key] == 0 && sim.open >= MAX_OPEN && !last)
		return;
	prg_put(key_sid(key), key_pasid(key), key / 6, 0x1000 * (sim.partial[key] + 1),
			last ? LAST : 0);
	if (sim.pending[key] != 0) {
		sim.duplicates++;
	} else if (!last) {
		sim.partial[key]++;
		sim.open++;
	} else {
		sim.expected = sim.partial[key] + 1;
		sim.open -= sim.partial[key];
		sim.partial[key] = 0;
		sim.calls++;
		prg.verdict = rand() % 3 == 0 && sim.open < MAX_OPEN ? IOPF_TAKEN :
				IOPF_ANSWER(IOPF_SUCCESS);
	}
	prg_poll_all();
	if (last && sim.pending[key] == 0) {
		if (prg.verdict == IOPF_TAKEN) {
			sim.pending[key] = prg.last_id;
			sim.size[key] = sim.expected;
			sim.open += sim.expected;
		} else {
			sim.answers++;
		}
	}
}

static void
sim_answer(unsigned int key)
{
	if (sim.pending[key] == 0)
		return;
	assert_int_equal(0, iopf_group_respond(sim.pending[key], IOPF_SUCCESS));
	assert_int_equal(-ESTALE, iopf_group_respond(sim.pending[key], IOPF_SUCCESS));
	sim.pending[key] = 0;
	sim.open -= sim.size[key];
	sim.answers++;
}

static void
any_sequence_of_records_makes_the_expected_groups(void **state)
{
	(void)state;
	memset(&sim, 0, sizeof(sim));
	srand(4);
	prg_mute_log(true);
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 2));
	prg.in_handler = sim_handler;
	for (unsigned int i = 0; i < 100000; i++) {
		unsigned int key = rand() % KEYS;

		switch (rand() % 16) {
		case 0:
			prg_put_mark(0, 0, IOPF_EVENT_LOST);
			prg_poll_all();
			for (unsigned int k = 0; k < KEYS; k++)
				sim_discard(k);
			break;
		case 1:
			prg_put_mark(key_sid(key), key_pasid(key), IOPF_EVENT_STOP_MARKER);
			prg_poll_all();
			for (unsigned int k = 0; k < KEYS; k++)
				if (key_sid(k) == key_sid(key) && key_pasid(k) == key_pasid(key))
					sim_discard(k);
			break;
		case 2:
		case 3:
			sim_answer(key);
			break;
		default:
			sim_request(key, rand() % 3 == 0);
		}
		assert_int_equal(sim.calls, prg.called);
		assert_int_equal(sim.answers, hw.nb_out);
	}
	for (unsigned int k = 0; k < KEYS; k++)
		sim_answer(k);
	assert_int_equal(sim.duplicates, prg_stat(IOPF_IOMMU_STAT_DUPLICATES));
	assert_int_equal(sim.discarded, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_CUT));
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	assert_true(sim.calls > 10000 && sim.duplicates > 1000 && sim.discarded > 1000);
}

static const struct CMUnitTest tests[] = {
	PRG_TEST(any_sequence_of_records_makes_the_expected_groups),
};
TEST_SUITE(prg_any, tests, NULL, NULL);
