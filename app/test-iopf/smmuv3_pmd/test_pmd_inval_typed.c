/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10, requests with a type in the driver: the commands and their order, the longest prefix
 * that is complete, and a detach at the same time.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "ats_rig.h"
#include "cmd_trace.h"
#include "named_dev.h"
#include "pmd_s2_rig.h"
#include "smmuv3_cmd.h"
#include "test.h"

#define DEVS	4
#define PASIDS	16
#define TAG	7
#define WORD0	(UINT64_C(0x2000000000000000) | 0x1234000 | 0xb)

static struct pmd p;
static struct pmd_s2_space space;
static void *nested, *dev[DEVS];
static struct iopf_dev *named[DEVS];
static struct smmuv3_model_dma *dma[DEVS];
static struct cmd_trace trace;

static void
open_devs(uint32_t no_features)
{
	const struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_GUEST,
		.guest_ste = { WORD0, 0 } };

	pmd_s2_open(&p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI, .no_features = no_features });
	pmd_s2_create(&p, &space, 12, 40);
	assert_int_equal(p.ops->domain_add(p.s, &tr, space.domain, &nested), 0);
	for (unsigned int i = 0; i < DEVS; i++) {
		dev[i] = pmd_s2_add_dev(&p, i, IOPF_PRI, PASIDS);
		named[i] = named_dev_create(dev[i]);
		assert_int_equal(rig_attach(p.ops, p.s, dev[i], IOPF_NO_PASID, nested), 0);
		dma[i] = ats_add_engine(&p, PMD_SID + i, IOPF_NO_PASID, false);
	}
	cmd_trace_open(&trace, p.m);
}

static void
close_devs(void)
{
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(smmuv3_model_dma_ats_disable(dma[i]), 0);
		assert_int_equal(rig_detach(p.ops, p.s, dev[i], IOPF_NO_PASID), 0);
		smmuv3_model_dma_destroy(dma[i]);
		assert_int_equal(p.ops->dev_del(p.s, dev[i]), 0);
		free(named[i]);
	}
	p.ops->domain_del(p.s, nested);
	pmd_s2_destroy(&p, &space);
	pmd_s2_close(&p);
}

static int
issue(const struct iopf_inv *inv, unsigned int n, struct iopf_inv_result *result)
{
	return p.ops->invalidate_typed(p.s, nested, inv, n, result);
}

static void
issue_fails(const struct iopf_inv *inv, unsigned int n, unsigned int done,
		enum iopf_inv_error error, uint32_t sid)
{
	struct iopf_inv_result result;

	assert_int_equal(issue(inv, n, &result), -EIO);
	assert_int_equal(result.error, error);
	assert_int_equal(result.done, done);
	assert_int_equal(result.failed, done);
	if (error == IOPF_INV_ATC)
		assert_int_equal(result.sid, sid);
}

/* The commands that the model executes for an array; NULL: a CMD_SYNC before the next. */
static void
expect_trace(void *domain, const struct iopf_inv *inv, unsigned int n,
		const struct smmuv3_cmd *const *want)
{
	struct iopf_inv_result result;
	unsigned int from = 0, i = 0;

	cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
	assert_int_equal(p.ops->invalidate_typed(p.s, domain, inv, n, &result), 0);
	cmd_trace_end(&trace);
	for (; want[0] != NULL || want[1] != NULL; want++) {
		if (want[0] == NULL) {
			for (; from < i; from++)
				assert_int_equal(trace.cmds[from].synced, i);
			continue;
		}
		assert_in_range(i, 0, trace.n - 1);
		assert_int_equal(trace.cmds[i].cmd.dw[0], want[0]->dw[0]);
		assert_int_equal(trace.cmds[i].cmd.dw[1], want[0]->dw[1]);
		i++;
	}
	assert_int_equal(trace.n, i);
}

#define SYNC		NULL
#define END		NULL, NULL

static struct smmuv3_cmd
atc_inv(unsigned int i, bool global)
{
	return smmuv3_cmd_atc_inv(PMD_SID + i, global, 0, global, 0, SMMUV3_ATC_SIZE_ALL);
}

/* A descriptor before the TLB, and the TLB before the ATC, each complete. */
static void
test_each_step_follows_the_synchronisation_of_the_one_before(void **state)
{
	struct iopf_inv inv[3];
	uint16_t vmid;

	(void)state;
	open_devs(0);
	vmid = ((struct smmuv3_domain *)nested)->vmid;
	inv[0] = (struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true, .dev = named[1],
		.pasid = IOPF_NO_PASID };
	inv[1] = (struct iopf_inv){ .type = IOPF_INV_PASID, .dev = named[2], .pasid = 5,
		.tag = TAG };
	inv[2] = (struct iopf_inv){ .type = IOPF_INV_CONFIG, .dev = named[3], .all = true };
	{
		const struct smmuv3_cmd cmds[] = {
			smmuv3_cmd_cfgi_cd(PMD_SID + 2, 5, false),
			smmuv3_cmd_cfgi_cd_all(PMD_SID + 3),
			smmuv3_cmd_tlbi_nh_asid(vmid, TAG),
			atc_inv(1, false),
			smmuv3_cmd_atc_inv(PMD_SID + 2, true, 5, false, 0, SMMUV3_ATC_SIZE_ALL),
		};
		const struct smmuv3_cmd *const want[] = { &cmds[0], &cmds[1], SYNC, &cmds[2], SYNC,
			&cmds[3], &cmds[4], SYNC, END };

		expect_trace(nested, inv, 3, want);
	}
	close_devs();
}

/* Of the parent: a range as ever, with what the nested domains combine, and each ATC. */
static void
test_ranges_of_stage_2_are_the_same_beside_others(void **state)
{
	const struct iopf_inv inv[] = { { .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .addr = 0x4000, .size = 4096 } };
	struct iopf_inv_result result;
	unsigned int alone;

	(void)state;
	open_devs(0);
	cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
	assert_int_equal(p.ops->invalidate(p.s, space.domain, inv, 1, &result), 0);
	cmd_trace_end(&trace);
	alone = trace.n;
	assert_int_equal(alone, 2 + 2 * DEVS);
	cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
	assert_int_equal(p.ops->invalidate_typed(p.s, space.domain, inv, 2, &result), 0);
	cmd_trace_end(&trace);
	assert_int_equal(trace.n, alone + 2 * DEVS);
	/* Its addresses are IPAs, so that all of a nested domain's ATCs is invalidated. */
	for (unsigned int i = alone; i < trace.n; i++) {
		assert_int_equal(SMMUV3_GET(SMMUV3_CMD0_OP, trace.cmds[i].cmd.dw[0]),
				SMMUV3_OP_ATC_INV);
		assert_int_equal(SMMUV3_GET(SMMUV3_ATC1_SIZE, trace.cmds[i].cmd.dw[1]),
				SMMUV3_ATC_SIZE_ALL);
	}
	close_devs();
}

static void
test_many_stream_ids_take_one_command(void **state)
{
	static uint32_t sids[100];
	const struct iopf_inv all = { .type = IOPF_INV_CONFIG, .all = true };
	const struct smmuv3_cmd everything = smmuv3_cmd_cfgi_all();
	const struct smmuv3_cmd *const want[] = { &everything, SYNC, END };
	struct iopf_dev_conf conf = { .sids = sids, .nb_sids = RTE_DIM(sids),
		.recover = IOPF_STALL, .nb_pasids = PASIDS };
	struct iopf_inv_result result;
	void *many;

	(void)state;
	open_devs(0);
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		sids[i] = PMD_SID + DEVS + i;
	cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
	assert_int_equal(issue(&all, 1, &result), 0);
	cmd_trace_end(&trace);
	assert_int_equal(trace.n, DEVS);
	/* One for each still fits in a step. */
	for (unsigned int n = SMMUV3_MAX_ATCS - DEVS; n <= RTE_DIM(sids); n += 36) {
		conf.nb_sids = n;
		assert_int_equal(p.ops->dev_add(p.s, &conf, &many), 0);
		assert_int_equal(rig_attach(p.ops, p.s, many, IOPF_NO_PASID, nested), 0);
		if (n == SMMUV3_MAX_ATCS - DEVS) {
			cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
			assert_int_equal(issue(&all, 1, &result), 0);
			cmd_trace_end(&trace);
			assert_int_equal(trace.n, SMMUV3_MAX_ATCS);
		} else {
			expect_trace(nested, &all, 1, want);
		}
		assert_int_equal(rig_detach(p.ops, p.s, many, IOPF_NO_PASID), 0);
		assert_int_equal(p.ops->dev_del(p.s, many), 0);
	}
	close_devs();
}

/* Ranges become range commands, which an SMMU without IDR3.RIL refuses. */
static void
test_an_illegal_command_ends_the_prefix(void **state)
{
	struct iopf_inv inv[150];
	struct iopf_inv_result result;

	(void)state;
	open_devs(SMMUV3_MODEL_NO_RIL);
	for (unsigned int i = 0; i < RTE_DIM(inv); i++)
		inv[i] = (struct iopf_inv){ .type = IOPF_INV_TAG, .tag = TAG, .all = true };
	p.s->idr3 |= SMMUV3_IDR3_RIL;
	for (unsigned int at = 0; at < RTE_DIM(inv); at++) {
		const struct iopf_inv bad = { .type = IOPF_INV_TAG, .tag = TAG, .size = 5 * 4096,
			.leaf_log2 = 12 }, good = inv[at];

		inv[at] = bad;
		issue_fails(inv, RTE_DIM(inv), at, IOPF_INV_ILL, 0);
		/* The first of two. */
		inv[RTE_DIM(inv) - 1] = bad;
		issue_fails(inv, RTE_DIM(inv), at, IOPF_INV_ILL, 0);
		inv[at] = inv[RTE_DIM(inv) - 1] = good;
	}
	assert_int_equal(issue(inv, RTE_DIM(inv), &result), 0);
	p.s->idr3 &= ~SMMUV3_IDR3_RIL;
	close_devs();
}

/* The first request of a dead device, or an error of a step before that comes earlier. */
static void
test_the_earliest_error_of_all_steps_ends_the_prefix(void **state)
{
	const struct iopf_inv bad = { .type = IOPF_INV_TAG, .tag = TAG, .size = 5 * 4096,
		.leaf_log2 = 12 };
	struct iopf_inv_result result;

	(void)state;
	for (unsigned int dead = 0; dead < DEVS; dead++)
		for (unsigned int at = 0; at <= DEVS; at++) {
			struct iopf_inv inv[DEVS + 1];
			unsigned int n = 0;

			open_devs(SMMUV3_MODEL_NO_RIL);
			for (unsigned int i = 0; i < DEVS; i++) {
				if (i == at)
					inv[n++] = bad;
				inv[n++] = (struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB,
					.dev = named[i], .pasid = 1, .all = true };
			}
			p.s->idr3 |= SMMUV3_IDR3_RIL;
			smmuv3_model_dma_quirks(dma[dead], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
			if (at <= dead && at < DEVS)
				issue_fails(inv, n, at, IOPF_INV_ILL, 0);
			else
				issue_fails(inv, n, dead, IOPF_INV_ATC, PMD_SID + dead);
			p.s->idr3 &= ~SMMUV3_IDR3_RIL;
			assert_int_equal(issue(inv, n, &result),
					at <= dead && at < DEVS ? -EIO : 0);
			/* It is cut off. */
			assert_int_equal(issue(inv, n, &result), 0);
			assert_int_equal(pmd_read_stat(&p, "atc_cuts"), 1);
			smmuv3_model_dma_quirks(dma[dead], 0, 0);
			close_devs();
		}
}

static void
test_a_stuck_queue_is_a_timeout(void **state)
{
	const struct iopf_inv inv = { .type = IOPF_INV_PASID, .pasid = 1, .tag = TAG };
	struct iopf_inv both[2] = { inv, inv };
	struct iopf_inv_result result;

	(void)state;
	open_devs(0);
	both[0].dev = named[0];
	both[1].dev = named[1];
	p.s->timeout /= 10;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	assert_int_equal(issue(both, 2, &result), -ETIMEDOUT);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_TIMEOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	p.s->timeout *= 10;
	assert_int_equal(issue(both, 2, &result), 0);
	close_devs();
}

/* A thread that invalidates without pause. */
static _Atomic bool stop;

static void *
invalidate_all(void *arg)
{
	const struct iopf_inv inv[] = {
		{ .type = IOPF_INV_DEVICE_TLB, .all = true },
		{ .type = IOPF_INV_CONFIG, .all = true },
		{ .type = IOPF_INV_DEVICE_TLB, .all = true, .dev = named[0], .pasid = 3 },
	};
	struct iopf_inv_result result;
	intptr_t bad = 0;

	(void)arg;
	while (!atomic_load(&stop))
		bad |= issue(inv, RTE_DIM(inv), &result);
	return (void *)bad;
}

/* When a detach has returned, no command for the device is on its way, and none comes. */
static void
test_a_device_comes_and_goes(void **state)
{
	pthread_t thread;
	void *bad;

	(void)state;
	open_devs(0);
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(smmuv3_model_dma_ats_disable(dma[i]), 0);
		assert_int_equal(rig_detach(p.ops, p.s, dev[i], IOPF_NO_PASID), 0);
	}
	atomic_store(&stop, false);
	ats_run_model(&p);
	assert_int_equal(pthread_create(&thread, NULL, invalidate_all, NULL), 0);
	for (unsigned int i = 0; i < 100; i++) {
		uint64_t invs;

		assert_int_equal(rig_attach(p.ops, p.s, dev[0], IOPF_NO_PASID, nested), 0);
		sched_yield();
		assert_int_equal(rig_detach(p.ops, p.s, dev[0], IOPF_NO_PASID), 0);
		invs = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS);
		sched_yield();
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS), invs);
	}
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(thread, &bad), 0);
	assert_null(bad);
	smmuv3_model_stop(p.m);
	for (unsigned int i = 0; i < DEVS; i++) {
		assert_int_equal(rig_attach(p.ops, p.s, dev[i], IOPF_NO_PASID, nested), 0);
		assert_int_equal(smmuv3_model_dma_ats_enable(dma[i], 0), 0);
	}
	close_devs();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_each_step_follows_the_synchronisation_of_the_one_before),
	cmocka_unit_test(test_ranges_of_stage_2_are_the_same_beside_others),
	cmocka_unit_test(test_many_stream_ids_take_one_command),
	cmocka_unit_test(test_an_illegal_command_ends_the_prefix),
	cmocka_unit_test(test_the_earliest_error_of_all_steps_ends_the_prefix),
	cmocka_unit_test(test_a_stuck_queue_is_a_timeout),
	cmocka_unit_test(test_a_device_comes_and_goes),
};

TEST_SUITE(pmd_inval_typed, tests, NULL, NULL);
