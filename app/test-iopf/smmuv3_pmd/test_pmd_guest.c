/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10, a guest's commands in the driver: the longest prefix that is complete, the command
 * that failed and why; and a detach at the same time.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "ats_rig.h"
#include "iopf_guest.h"
#include "pmd_s2_rig.h"
#include "smmuv3_cmd.h"
#include "test.h"

#define DEVS	4

static struct pmd p;
static struct pmd_s2_space space;
static void *dev[DEVS];
static struct smmuv3_model_dma *dma[DEVS];

/* Devices with ATS that have the stage-2 domain, behind no stage 1. */
static void
open_devs(uint32_t no_features)
{
	pmd_s2_open(&p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI, .no_features = no_features });
	pmd_s2_create(&p, &space, 12, 40);
	for (unsigned int i = 0; i < DEVS; i++) {
		dev[i] = pmd_s2_add_dev(&p, i, IOPF_PRI, 16);
		assert_int_equal(rig_attach(p.ops, p.s, dev[i], IOPF_NO_PASID, space.domain), 0);
		dma[i] = ats_add_engine(&p, PMD_SID + i, IOPF_NO_PASID, false);
	}
}

static void
close_devs(void)
{
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(smmuv3_model_dma_ats_disable(dma[i]), 0);
		assert_int_equal(rig_detach(p.ops, p.s, dev[i], IOPF_NO_PASID), 0);
		smmuv3_model_dma_destroy(dma[i]);
		assert_int_equal(p.ops->dev_del(p.s, dev[i]), 0);
	}
	pmd_s2_destroy(&p, &space);
	pmd_s2_close(&p);
}

static struct smmuv3_cmd
make_atc_inv(unsigned int i)
{
	return smmuv3_cmd_atc_inv(PMD_SID + i, false, 0, false, 0, SMMUV3_ATC_SIZE_ALL);
}

static int
issue(const struct smmuv3_cmd *cmds, unsigned int n, struct iopf_inv_result *result)
{
	const char *why = NULL;

	*result = (struct iopf_inv_result){ .done = n, .failed = n };
	return p.ops->invalidate_guest(p.s, space.domain,
			(const struct iopf_guest_cmd *)(const void *)cmds, n, result, &why);
}

static void
issue_ok(const struct smmuv3_cmd *cmds, unsigned int n)
{
	struct iopf_inv_result result;

	assert_int_equal(issue(cmds, n, &result), 0);
}

static void
issue_fails(const struct smmuv3_cmd *cmds, unsigned int n, unsigned int done,
		enum iopf_inv_error error, uint32_t sid)
{
	struct iopf_inv_result result;

	assert_int_equal(issue(cmds, n, &result), -EIO);
	assert_int_equal(result.done, done);
	assert_int_equal(result.failed, done);
	assert_int_equal(result.error, error);
	if (error == IOPF_INV_ATC)
		assert_int_equal(result.sid, sid);
}

static void
test_an_illegal_command_ends_the_prefix(void **state)
{
	struct smmuv3_cmd cmds[200];

	(void)state;
	open_devs(SMMUV3_MODEL_NO_RIL);
	for (unsigned int i = 0; i < RTE_DIM(cmds); i++)
		cmds[i] = smmuv3_cmd_tlbi_nh_all(0);
	/* The driver takes the SMMU for one that has ranges. */
	p.s->idr3 |= SMMUV3_IDR3_RIL;
	for (unsigned int at = 0; at < RTE_DIM(cmds); at++) {
		struct smmuv3_cmd good = cmds[at];

		cmds[at] = smmuv3_cmd_tlbi_nh_va_range(0, 0, 0, true, 1, 3, 0, 0);
		issue_fails(cmds, RTE_DIM(cmds), at, IOPF_INV_ILL, 0);
		/* The first of two, in one chunk or two. */
		cmds[RTE_DIM(cmds) - 1] = cmds[at];
		issue_fails(cmds, RTE_DIM(cmds), at, IOPF_INV_ILL, 0);
		cmds[RTE_DIM(cmds) - 1] = cmds[at] = good;
	}
	issue_ok(cmds, RTE_DIM(cmds));
	p.s->idr3 &= ~SMMUV3_IDR3_RIL;
	close_devs();
}

/* The first command of the StreamID ends the prefix, wherever it is; the others' are complete. */
static void
test_a_dead_atc_ends_the_prefix(void **state)
{
	(void)state;
	for (unsigned int dead = 0; dead < DEVS; dead++) {
		struct smmuv3_cmd cmds[2 + 2 * DEVS];
		unsigned int n = 0;

		open_devs(0);
		cmds[n++] = smmuv3_cmd_tlbi_nh_all(0);
		for (unsigned int i = 0; i < DEVS; i++)
			cmds[n++] = make_atc_inv(i);
		cmds[n++] = smmuv3_cmd_tlbi_nh_all(0);
		for (unsigned int i = 0; i < DEVS; i++)
			cmds[n++] = make_atc_inv(i);
		smmuv3_model_dma_quirks(dma[dead], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		issue_fails(cmds, n, 1 + dead, IOPF_INV_ATC, PMD_SID + dead);
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
		/* It is cut off: nothing is left of it. */
		issue_ok(cmds, n);
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
		smmuv3_model_dma_quirks(dma[dead], 0, 0);
		close_devs();
	}
}

/* Of several the first; each call finds at least one. */
static void
test_each_dead_atc_is_reported(void **state)
{
	struct iopf_inv_result result;
	struct smmuv3_cmd cmds[DEVS];

	(void)state;
	for (unsigned int bad = 1; bad < 1 << DEVS; bad++) {
		unsigned int first = __builtin_ctz(bad), errors = 0;

		open_devs(0);
		for (unsigned int i = 0; i < DEVS; i++) {
			cmds[i] = make_atc_inv(i);
			if (bad >> i & 1)
				smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		}
		issue_fails(cmds, DEVS, first, IOPF_INV_ATC, PMD_SID + first);
		while (issue(cmds, DEVS, &result) < 0) {
			assert_true(bad >> result.failed & 1);
			assert_int_equal(result.sid, PMD_SID + result.failed);
			assert_in_range(++errors, 1, DEVS);
		}
		assert_int_equal(pmd_read_stat(&p, "atc_cuts"), __builtin_popcount(bad));
		for (unsigned int i = 0; i < DEVS; i++)
			smmuv3_model_dma_quirks(dma[i], 0, 0);
		close_devs();
	}
}

/* A sequence with each kind of change of kind, and chunks that are full. */
static void
test_all_commands_of_a_long_array_are_issued(void **state)
{
	struct smmuv3_cmd cmds[400];
	uint64_t invs, commands;
	unsigned int nb_atc = 0;

	(void)state;
	open_devs(0);
	for (unsigned int i = 0; i < RTE_DIM(cmds); i++) {
		bool atc = i % 150 >= 65 || i % 7 == 0;

		cmds[i] = atc ? make_atc_inv(i % DEVS) : i % 3 == 0 ?
			smmuv3_cmd_cfgi_cd(PMD_SID + i % DEVS, i % 16, true) :
			smmuv3_cmd_tlbi_nh_asid(0, i);
		nb_atc += atc;
	}
	invs = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS);
	commands = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_COMMANDS) -
		smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_SYNCS);
	issue_ok(cmds, RTE_DIM(cmds));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS), invs + nb_atc);
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_COMMANDS) -
			smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_SYNCS),
			commands + RTE_DIM(cmds));
	close_devs();
}

static void
test_a_stuck_queue_is_a_timeout(void **state)
{
	struct smmuv3_cmd cmds[70];
	struct iopf_inv_result result;

	(void)state;
	open_devs(0);
	p.s->timeout /= 10;
	for (unsigned int i = 0; i < RTE_DIM(cmds); i++)
		cmds[i] = smmuv3_cmd_tlbi_nh_all(0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	assert_int_equal(issue(cmds, RTE_DIM(cmds), &result), -ETIMEDOUT);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_TIMEOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	p.s->timeout *= 10;
	issue_ok(cmds, RTE_DIM(cmds));
	close_devs();
}

/* A guest's thread, which stays in the driver's wait while the test wants it. */
static struct {
	const struct smmuv3_backend *real;
	struct smmuv3_backend backend;
	_Atomic bool hold, held, open, stop;
	_Atomic unsigned int calls;
} slow;

static _Thread_local bool is_guest;

static void
hold_guest(void *ctx)
{
	if (is_guest && atomic_load(&slow.hold)) {
		atomic_store(&slow.held, true);
		while (!atomic_load(&slow.open))
			sched_yield();
	}
	slow.real->wait(ctx);
}

static void *
run_guest(void *arg)
{
	const struct smmuv3_cmd cmds[] = { smmuv3_cmd_cfgi_cd_all(PMD_SID), make_atc_inv(0),
		smmuv3_cmd_cfgi_cd(PMD_SID, 1, true) };
	struct iopf_inv_result result;
	intptr_t bad = 0;

	(void)arg;
	is_guest = true;
	while (!atomic_load(&slow.stop)) {
		int ret = issue(cmds, RTE_DIM(cmds), &result);

		bad |= ret != 0 && (ret != -EINVAL || result.error != IOPF_INV_REFUSED);
		atomic_fetch_add(&slow.calls, 1);
	}
	return (void *)bad;
}

static void
start_guest(pthread_t *thread)
{
	memset(&slow, 0, sizeof(slow));
	slow.real = p.s->backend;
	slow.backend = *slow.real;
	slow.backend.wait = hold_guest;
	p.s->backend = &slow.backend;
	ats_run_model(&p);
	assert_int_equal(pthread_create(thread, NULL, run_guest, NULL), 0);
}

static void
end_guest(pthread_t thread)
{
	void *bad;

	atomic_store(&slow.stop, true);
	assert_int_equal(pthread_join(thread, &bad), 0);
	assert_null(bad);
	p.s->backend = slow.real;
	smmuv3_model_stop(p.m);
}

static void *
detach_device(void *arg)
{
	intptr_t bad = rig_detach(p.ops, p.s, dev[0], IOPF_NO_PASID) != 0;

	(void)arg;
	return (void *)(bad | !atomic_load(&slow.open));
}

/* The device can be given to another guest then: no command is on its way to it. */
static void
test_a_detach_waits_for_commands_of_its_device(void **state)
{
	pthread_t guest, thread;
	uint64_t commands;
	void *bad;

	(void)state;
	open_devs(0);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma[0]), 0);
	start_guest(&guest);
	atomic_store(&slow.hold, true);
	while (!atomic_load(&slow.held))
		sched_yield();
	commands = pmd_read_stat(&p, "commands");
	assert_int_equal(pthread_create(&thread, NULL, detach_device, NULL), 0);
	/* Another device's detach does not wait. */
	assert_int_equal(smmuv3_model_dma_ats_disable(dma[1]), 0);
	assert_int_equal(rig_detach(p.ops, p.s, dev[1], IOPF_NO_PASID), 0);
	/* Twice as many as that took: the first detach has issued all of its own. */
	commands += 2 * (pmd_read_stat(&p, "commands") - commands);
	for (unsigned int i = 0; i < 1000 && pmd_read_stat(&p, "commands") < commands; i++)
		usleep(100);
	usleep(20000);
	atomic_store(&slow.open, true);
	assert_int_equal(pthread_join(thread, &bad), 0);
	assert_null(bad);
	commands = pmd_read_stat(&p, "commands");
	/* The guest goes on, and is refused. */
	for (unsigned int calls = slow.calls; slow.calls < calls + 2;)
		sched_yield();
	assert_int_equal(pmd_read_stat(&p, "commands"), commands);
	end_guest(guest);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(rig_attach(p.ops, p.s, dev[i], IOPF_NO_PASID, space.domain), 0);
		assert_int_equal(smmuv3_model_dma_ats_enable(dma[i], 0), 0);
	}
	close_devs();
}

/* Attachments come and go under the guest's commands. */
static void
test_a_device_comes_and_goes(void **state)
{
	pthread_t guest;

	(void)state;
	open_devs(0);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma[0]), 0);
	start_guest(&guest);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t commands;

		assert_int_equal(rig_detach(p.ops, p.s, dev[0], IOPF_NO_PASID), 0);
		commands = pmd_read_stat(&p, "commands");
		sched_yield();
		assert_int_equal(pmd_read_stat(&p, "commands"), commands);
		assert_int_equal(rig_attach(p.ops, p.s, dev[0], IOPF_NO_PASID, space.domain), 0);
		sched_yield();
	}
	end_guest(guest);
	assert_int_equal(smmuv3_model_dma_ats_enable(dma[0], 0), 0);
	close_devs();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_illegal_command_ends_the_prefix),
	cmocka_unit_test(test_a_dead_atc_ends_the_prefix),
	cmocka_unit_test(test_each_dead_atc_is_reported),
	cmocka_unit_test(test_all_commands_of_a_long_array_are_issued),
	cmocka_unit_test(test_a_stuck_queue_is_a_timeout),
	cmocka_unit_test(test_a_detach_waits_for_commands_of_its_device),
	cmocka_unit_test(test_a_device_comes_and_goes),
};

TEST_SUITE(pmd_guest, tests, NULL, NULL);
