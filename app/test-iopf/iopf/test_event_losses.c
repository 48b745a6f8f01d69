/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Overflow and aborts of the event queue, and Service Failure Mode, through the public interface:
 * no stall is lost, or all of them end; losses of other events are visible. The model has no
 * thread.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_log.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_listener.h"
#include "iopf_poller.h"
#include "iopf_stats.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define STALL_SID	8
#define ABORT_SID	9
#define UNKNOWN_SID	0x4321	/* the stream table has no STE there */
#define MAX_STALLS	32
#define EVTQ_LOG2	2

enum { STALLS, ABORTS, UNKNOWN, NB_ENGINES };

static struct {
	struct smmuv3_model *model;
	struct smmuv3_model_dma *dma[NB_ENGINES];
	uint64_t submitted[NB_ENGINES], done[NB_ENGINES];
	struct iopf_iommu *iommu;
	struct iopf_dev *dev[2];
	struct iopf_domain *domain[2];
	struct iopf_poller *poller;
	struct iopf_listener *listener;
	enum iopf_verdict verdict;
	uint64_t ids[MAX_STALLS];
	unsigned int nb_ids;
	uint64_t next, gaps, losses, failures, events;	/* of the listener */
} t;

static char byte;

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	if (t.nb_ids < MAX_STALLS)
		t.ids[t.nb_ids++] = group->id;
	return t.verdict;
}

static int
setup(void **state)
{
	static const uint32_t sids[] = { STALL_SID, ABORT_SID, UNKNOWN_SID };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.verdict = IOPF_ANSWER(IOPF_INVALID);
	t.model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "losses",
			.evtq_log2 = EVTQ_LOG2, .stall_max = MAX_STALLS });
	assert_non_null(t.model);
	t.iommu = iopf_iommu_open("smmuv3,model=losses");
	assert_non_null(t.iommu);
	for (unsigned int i = 0; i < NB_ENGINES; i++) {
		t.dma[i] = smmuv3_model_dma_create(t.model, &(struct smmuv3_model_dma_conf){
				.sid = sids[i] });
		assert_non_null(t.dma[i]);
	}
	for (unsigned int i = 0; i < 2; i++) {
		t.dev[i] = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sids[i],
				.nb_sids = 1, .recover = i == STALLS ? IOPF_STALL :
				IOPF_TERMINATE });
		assert_non_null(t.dev[i]);
		t.domain[i] = iopf_domain_create(&(struct iopf_domain_conf){
				.handler = on_fault });
		assert_non_null(t.domain[i]);
		assert_int_equal(0, iopf_domain_attach(t.domain[i], t.dev[i], IOPF_NO_PASID));
	}
	t.listener = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = t.iommu });
	assert_non_null(t.listener);
	t.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_listener_close(t.listener));
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(0, iopf_dev_remove(t.dev[i]));
		assert_int_equal(0, iopf_domain_destroy(t.domain[i]));
	}
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		smmuv3_model_dma_destroy(t.dma[i]);
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
	assert_int_equal(0, smmuv3_model_driver_errors(t.model));
	assert_int_equal(0, smmuv3_model_oracle_errors(t.model));
	smmuv3_model_destroy(t.model);
	return 0;
}

static void
mute_log(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
}

static void
submit(unsigned int engine)
{
	assert_int_equal(0, smmuv3_model_dma_submit(t.dma[engine], &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = t.submitted[engine]++ << 12,
			.buf = &byte, .len = 1 }));
}

/* The model goes on without a poll thread. */
static void
run_model(void)
{
	struct smmuv3_model_done done;

	while (smmuv3_model_step(t.model, 64) != 0)
		;
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		while (smmuv3_model_dma_poll(t.dma[i], &done, 1) == 1) {
			assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
			t.done[i]++;
		}
}

static void
read_listener(void)
{
	struct iopf_record r[8];
	int n;

	while ((n = iopf_listener_read(t.listener, r, 8)) > 0)
		for (int i = 0; i < n; i++) {
			t.gaps += r[i].seq - t.next;
			t.next = r[i].seq + 1;
			t.losses += (r[i].flags & IOPF_RECORD_LOST) != 0;
			t.failures += (r[i].flags & IOPF_RECORD_FAILED) != 0;
			if (r[i].flags & IOPF_RECORD_LOST)
				continue;
			t.events++;
			assert_true(r[i].sid == ABORT_SID || r[i].sid == UNKNOWN_SID ||
					r[i].sid == STALL_SID);
			if (r[i].sid == UNKNOWN_SID)
				assert_int_equal(r[i].raw_id, 0x02);
		}
	assert_int_equal(0, n);
}

/* Poll until there is nothing more to do. */
static void
settle(void)
{
	unsigned int quiet = 0;

	while (quiet < 200) {
		quiet = iopf_poll(t.poller) != 0 ? 0 : quiet + 1;
		run_model();
	}
	read_listener();
}

/* Poll until a stall is served: in a recovery accesses abort without one. */
static void
serve_a_stall(void)
{
	enum iopf_verdict verdict = t.verdict;

	t.verdict = IOPF_ANSWER(IOPF_INVALID);
	t.nb_ids = 0;
	while (t.nb_ids == 0) {
		submit(STALLS);
		settle();
		assert_int_equal(t.done[STALLS], t.submitted[STALLS]);
	}
	t.verdict = verdict;
}

static uint64_t
driver_stat(const char *want)
{
	const char *name;

	for (unsigned int i = 0; i < iopf_iommu_info(t.iommu)->nb_stats; i++) {
		uint64_t v = iopf_iommu_driver_stat(t.iommu, i, &name);

		if (strcmp(name, want) == 0)
			return v;
	}
	fail_msg("no counter %s", want);
	return 0;
}

static void
all_have_ended(void)
{
	for (unsigned int i = 0; i < NB_ENGINES; i++)
		assert_int_equal(t.done[i], t.submitted[i]);
	assert_int_equal(0, iopf_domain_pending(t.domain[STALLS]));
}

/*
 * A queue of four: aborted accesses fill it, and are lost, before, between and behind stalls. Each
 * stall has its record and its answer; each aborted access a record or is among the lost ones.
 */
static void
an_overflow_loses_no_stall_and_shows_what_it_loses(void **state)
{
	uint64_t lost;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		for (unsigned int i = 0; i < 1 + round % 7; i++)
			submit(ABORTS);
		run_model();
		for (unsigned int i = 0; i < 1 + round % 11; i++)
			submit(STALLS);
		run_model();
		for (unsigned int i = 0; i < 1 + round % 5; i++)
			submit(UNKNOWN);
		run_model();
		settle();
		all_have_ended();
	}
	lost = smmuv3_model_stat(t.model, SMMUV3_MODEL_STAT_EVENTS_LOST);
	assert_true(lost > 0);
	assert_int_equal(t.submitted[STALLS], iopf_domain_stat(t.domain[STALLS],
			IOPF_STAT_FAULTS));
	assert_int_equal(t.submitted[STALLS], iopf_domain_stat(t.domain[STALLS],
			IOPF_STAT_INVALID));
	assert_int_equal(t.submitted[STALLS], smmuv3_model_stat(t.model,
			SMMUV3_MODEL_STAT_STALLS));
	assert_int_equal(0, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS));
	/* What is not lost is delivered once; what is lost is seen, at each overflow. */
	assert_int_equal(t.events, t.submitted[ABORTS] + t.submitted[UNKNOWN] - lost);
	assert_true(t.losses > 0);
	assert_int_equal(t.losses, driver_stat("event_overflows"));
	assert_int_equal(t.losses, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_EVENT_LOSSES));
	assert_int_equal(t.gaps, t.losses);
}

/* The record of a stall aborts, at once or late: three more were read, two were not. */
static void
after_an_abort_all_stalls_have_ended_and_are_counted(void **state)
{
	static const enum smmuv3_model_knob knobs[] = { SMMUV3_MODEL_KNOB_EVTQ_ABORT,
		SMMUV3_MODEL_KNOB_EVTQ_LOSE };
	uint64_t ended = 0, faults = 0, recoveries = 0;

	(void)state;
	mute_log(true);
	for (unsigned int round = 0; round < 20; round++) {
		t.verdict = IOPF_TAKEN;
		t.nb_ids = 0;
		for (unsigned int i = 0; i < 3; i++)
			submit(STALLS);
		run_model();
		while (t.nb_ids < 3)
			iopf_poll(t.poller);
		for (unsigned int i = 0; i < 2; i++)
			submit(STALLS);
		run_model();
		smmuv3_model_knob(t.model, knobs[round % 2], 1);
		submit(STALLS);
		/* A late abort may end the stalls twice. */
		while (driver_stat("evtq_aborts") != round + 1)
			settle();
		all_have_ended();
		/* Each stall that a handler got is counted, and its answer comes too late. */
		faults = iopf_domain_stat(t.domain[STALLS], IOPF_STAT_FAULTS);
		ended = iopf_domain_stat(t.domain[STALLS], IOPF_STAT_TERMINATED);
		assert_int_equal(faults, ended + round);
		assert_true(t.nb_ids >= 3);
		for (unsigned int i = 0; i < t.nb_ids; i++)
			assert_int_equal(-ESTALE, iopf_group_respond(t.ids[i], IOPF_SUCCESS));
		assert_true(iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS) > recoveries);
		recoveries = iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS);
		assert_int_equal(t.losses, recoveries);
		/* The next stalls are served as before. */
		serve_a_stall();
		assert_int_equal(round + 1, iopf_domain_stat(t.domain[STALLS],
				IOPF_STAT_INVALID));
	}
	assert_int_equal(0, t.failures);
	mute_log(false);
}

/*
 * Service Failure Mode: outstanding faults end, callers and pollers come back, and only a reset of
 * the SMMU, followed by stop and start, leads back.
 */
static void
in_service_failure_mode_everything_ends(void **state)
{
	const struct iopf_inv all = { .all = true };
	uint64_t begin = rte_rdtsc();

	(void)state;
	mute_log(true);
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 5; i++)
		submit(STALLS);
	run_model();
	while (t.nb_ids < 5) {
		iopf_poll(t.poller);
		run_model();
	}
	submit(STALLS);
	run_model();
	smmuv3_model_knob(t.model, SMMUV3_MODEL_KNOB_SFM, 1);
	/* A caller that does not know yet: it comes back. */
	iopf_invalidate(t.domain[STALLS], &all, 1, NULL);
	while (t.failures == 0)
		settle();
	assert_int_equal(1, t.failures);
	assert_int_equal(1, iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS));
	assert_int_equal(0, iopf_domain_pending(t.domain[STALLS]));
	assert_int_equal(iopf_domain_stat(t.domain[STALLS], IOPF_STAT_FAULTS),
			iopf_domain_stat(t.domain[STALLS], IOPF_STAT_TERMINATED));
	for (unsigned int i = 0; i < t.nb_ids; i++)
		assert_int_equal(-ESTALE, iopf_group_respond(t.ids[i], IOPF_SUCCESS));
	/* The SMMU translates nothing: no invalidation is needed. Devices can be changed. */
	assert_int_equal(0, iopf_invalidate(t.domain[STALLS], &all, 1, NULL));
	assert_int_equal(0, iopf_domain_detach(t.domain[STALLS], t.dev[STALLS], IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(t.domain[STALLS], t.dev[STALLS], IOPF_NO_PASID));
	assert_int_equal(-EIO, iopf_iommu_start(t.iommu));
	/* A stop does not leave the mode. */
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_true(iopf_iommu_start(t.iommu) < 0);
	submit(STALLS);
	settle();
	all_have_ended();
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	/* The SMMU is reset. */
	assert_int_equal(0, smmuv3_model_power_off(t.model));
	smmuv3_model_knob(t.model, SMMUV3_MODEL_KNOB_SFM, 0);
	assert_int_equal(0, smmuv3_model_power_on(t.model));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
	t.verdict = IOPF_ANSWER(IOPF_INVALID);
	submit(STALLS);
	submit(UNKNOWN);
	t.events = 0;
	settle();
	all_have_ended();
	assert_int_equal(1, iopf_domain_stat(t.domain[STALLS], IOPF_STAT_INVALID));
	assert_int_equal(1, t.events);
	/* Bounded: each wait takes a second. */
	assert_true(rte_rdtsc() - begin < 60 * rte_get_tsc_hz());
	mute_log(false);
}

#define LOSS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	LOSS_TEST(an_overflow_loses_no_stall_and_shows_what_it_loses),
	LOSS_TEST(after_an_abort_all_stalls_have_ended_and_are_counted),
	LOSS_TEST(in_service_failure_mode_everything_ends),
};

TEST_SUITE(event_losses, tests, NULL, NULL);
