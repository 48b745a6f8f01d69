/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10: random arrays of invalidations with random errors. What invalidate() reports (the
 * prefix that is complete, the request that failed, the kind of the error, the StreamID) equals
 * what the model executed and covered by completed CMD_SYNCs: inval_check.h. An endpoint that does
 * not answer costs one timeout beside the first. IOPF_TEST_SCALE=N: N times as many arrays.
 */

#include <errno.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_log.h>

#include "arrays_world.h"
#include "cmdq.h"
#include "ecmdq.h"
#include "test.h"

#define WORLDS		12	/* of scale 1 */
#define ARRAYS		1024	/* of a world */
#define ARRAYS_THREADS	128	/* of one with threads, which wait for each other */
#define MAX_RANGES	160
#define FATAL_ABORTS	1000

enum injected {
	NOTHING, ILLEGAL, DEAD, ILLEGAL_AND_DEAD, ABORTS, FATAL, STUCK, SLOW,
	NB_INJECTED,
};
static const char *const injected_names[NB_INJECTED] = {
	"nothing", "illegal command", "dead ATCs", "illegal command and dead ATCs",
	"fetches abort", "fetches abort for good", "stuck queue", "slow ATC",
};

static struct {
	enum injected injected;
	unsigned int nb_aborts;
	uint32_t victims;		/* endpoints, a bit each */
	struct iopf_inv inv[MAX_RANGES];
	unsigned int n, fire_at;
	bool typed;			/* some requests have a type, or the domain is nested */
	uint64_t reported[IOPF_NB_INV_ERRORS];
} a;

/*
 * Arrays
 */

static void
make_range(struct iopf_inv *inv, uint64_t *at, bool simple)
{
	static const unsigned int most[] = { 1, 1, 1, 1, 2, 8, 33, 70, 1 << 20 };

	*inv = (struct iopf_inv){ .addr = *at, .leaf_only = one_in(2) };
	if (simple) {
		inv->size = PAGE;
	} else if (inv->leaf_only && one_in(8)) {
		inv->addr = RTE_ALIGN_CEIL(*at, UINT64_C(1) << 21);
		inv->size = UINT64_C(1) << 21 << pick(3);
		inv->leaf_log2 = 21;
	} else {
		inv->size = (1 + pick(most[pick(RTE_DIM(most))])) * PAGE;
		inv->leaf_log2 = one_in(2) ? 12 : 0;
	}
	*at = inv->addr + inv->size + (one_in(2) ? 0 : pick(1 << pick(16)) * PAGE);
}

/*
 * @p simple: of single pages, each of which has ATC_INVs of its own, so that one that is refused
 * is nowhere made up for.
 */
static void
make_array(bool simple)
{
	uint64_t at = pick(1 << 16) * PAGE;
	bool everything = false;
	unsigned int i, k;

	a.n = one_in(4) ? pick(MAX_RANGES + 1) : one_in(2) ? pick(5) : pick(30);
	if (simple && w.check.nb_atcs > 0)
		a.n = RTE_MIN(a.n, SMMUV3_CHUNK / w.check.nb_atcs);
	for (i = 0; i < a.n; i++) {
		struct iopf_inv *inv = &a.inv[i];

		make_range(inv, &at, simple);
		if (!simple && one_in(64))
			*inv = (struct iopf_inv){ .all = true };
		/* Once in an array: see inval_check.h. */
		if (check_is_everything(&w.check, inv)) {
			if (everything)
				*inv = (struct iopf_inv){ .addr = RTE_MAX(inv->addr, at),
					.size = PAGE };
			if (everything)
				at = inv->addr + PAGE;
			everything = true;
		}
	}
	for (i = 0; i + 1 < a.n && one_in(2); i++) {
		struct iopf_inv inv = a.inv[i];

		k = i + pick(a.n - i);
		a.inv[i] = a.inv[k];
		a.inv[k] = inv;
	}
}

/* Of one ATC, or of all. */
static void
make_everything(struct iopf_inv *inv)
{
	const struct endpoint *e = w.nb_eps > 0 ? &w.ep[pick(w.nb_eps)] : NULL;

	*inv = (struct iopf_inv){ .type = IOPF_INV_DEVICE_TLB, .all = true };
	if (e != NULL && one_in(2))
		*inv = (struct iopf_inv){ .type = IOPF_INV_PASID, .dev = e->named, .tag = 9,
			.pasid = endpoint_get_pasid(e, pick(endpoint_count_pasids(e))) };
}

/* Other types for some of the requests. The addresses stay disjoint. */
static void
choose_types(void)
{
	bool everything = false, config = false;

	for (unsigned int i = 0; i < a.n; i++) {
		struct iopf_inv *inv = &a.inv[i];
		const struct endpoint *e = w.nb_eps > 0 ? &w.ep[pick(w.nb_eps)] : NULL;

		everything |= check_is_everything(&w.check, inv);
		if (w.check.nested && one_in(2)) {
			inv->type = IOPF_INV_TAG;
			inv->tag = 1 + pick(3);
		} else if (one_in(3)) {
			inv->type = IOPF_INV_DEVICE_TLB;
		} else if (w.check.nested && !config && one_in(3)) {
			config = true;
			inv->type = IOPF_INV_CONFIG;
			inv->all = e == NULL || one_in(2);
		} else {
			continue;
		}
		if (inv->type == IOPF_INV_TAG || e == NULL || one_in(3))
			continue;
		inv->dev = e->named;
		inv->pasid = endpoint_get_pasid(e, pick(endpoint_count_pasids(e)));
	}
	/* Once in an array: its commands are no other request's. */
	if (!everything && !config && a.n > 0 && one_in(2))
		make_everything(&a.inv[pick(a.n)]);
}

/*
 * Errors
 */

/* Runs in a step of the model. */
static void
inject(void *ctx)
{
	(void)ctx;
	switch (a.injected) {
	case ABORTS:
	case FATAL:
		smmuv3_model_knob(w.p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, a.nb_aborts);
		break;
	case STUCK:
		smmuv3_model_knob(w.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		break;
	case ILLEGAL:
	case ILLEGAL_AND_DEAD:
		smmuv3_model_knob(w.p.m, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
		break;
	default:
		break;
	}
	for (unsigned int i = 0; i < w.nb_eps; i++)
		if (a.victims & 1u << i && !w.ep[i].dead) {
			cmd_trace_kill(w.ep[i].dma);
			w.ep[i].dead = true;
		}
}

static bool
is_illegal(void)
{
	return a.injected == ILLEGAL || a.injected == ILLEGAL_AND_DEAD;
}

static bool
is_possible(enum injected injected)
{
	if (injected != STUCK && injected != SLOW && injected != FATAL)
		return true;
	/*
	 * What was executed when the time is over has to be known, and the queue of the other
	 * thread must not fail in the next array.
	 */
	if (w.threaded)
		return false;
	/* If all are cut off, the call waits for that once more, and may fail then. */
	if (w.nb_eps > 0 ? w.check.nb_atcs == 0 : injected == SLOW)
		return false;
	/* A chunk may be of such ATCs alone. */
	for (unsigned int i = 0; i < w.nb_eps; i++)
		if (a.typed && w.ep[i].cut)
			return false;
	/* One that died after its ATC_INVs of the last call is found by this one: one kind each. */
	for (unsigned int i = 0; i < w.nb_eps; i++)
		if (w.ep[i].dead && !w.ep[i].cut)
			return false;
	return true;
}

static void
choose_errors(void)
{
	static const enum injected of[] = { NOTHING, NOTHING, NOTHING, NOTHING, ILLEGAL, ILLEGAL,
		ILLEGAL, DEAD, DEAD, DEAD, DEAD, ILLEGAL_AND_DEAD, ABORTS, ABORTS, STUCK, SLOW };

	a.injected = of[pick(RTE_DIM(of))];
	if (a.injected == ABORTS && one_in(8))
		a.injected = FATAL;
	if (!is_possible(a.injected))
		a.injected = NOTHING;
	a.victims = 0;
	if (a.injected == DEAD || a.injected == ILLEGAL_AND_DEAD)
		a.victims = w.nb_eps != 0 ? 1 + pick((1u << w.nb_eps) - 1) : 0;
	/* All may meet one command of the other thread, also those of the next arrays. */
	a.nb_aborts = a.injected == FATAL ? FATAL_ABORTS :
		1 + pick(w.threaded ? 2 : SMMUV3_ABT_RETRIES);
	a.fire_at = one_in(4) ? 0 : pick(one_in(2) ? 20 : 400);
}

/* ATCs that are cut off need no ATC_INV. */
static void
list_atcs(void)
{
	w.check.nb_atcs = 0;
	for (unsigned int i = 0; i < w.nb_eps && w.check.nested; i++)
		for (unsigned int k = 0; k < 1 + (w.ep[i].nb_pasids > 0) && !w.ep[i].cut; k++)
			w.check.atcs[w.check.nb_atcs++] = (struct check_atc){ .dev = w.ep[i].named,
				.sid = w.ep[i].sid, .pasid = IOPF_NO_PASID, .each_pasid = k != 0 };
	if (w.check.nested)
		return;
	for (unsigned int i = 0; i < w.nb_eps; i++)
		for (unsigned int k = 0; k < endpoint_count_pasids(&w.ep[i]) && !w.ep[i].cut; k++)
			w.check.atcs[w.check.nb_atcs++] = (struct check_atc){
				.dev = w.ep[i].named, .sid = w.ep[i].sid,
				.pasid = endpoint_get_pasid(&w.ep[i], k) };
}

/* The last ATC_INV of this call for it was executed and not answered. */
static bool
has_failed(uint32_t sid)
{
	for (unsigned int i = w.trace.n; i > 0; i--) {
		const struct traced_cmd *c = &w.trace.cmds[i - 1];

		if (SMMUV3_GET(SMMUV3_CMD0_OP, c->cmd.dw[0]) == SMMUV3_OP_ATC_INV &&
				SMMUV3_GET(SMMUV3_CMD0_SID, c->cmd.dw[0]) == sid)
			return c->failed;
	}
	return false;
}

static bool
is_dead(uint32_t sid)
{
	assert_in_range(sid, SID, SID + w.nb_eps - 1);
	return w.ep[sid - SID].dead && has_failed(sid);
}

static void
clear_errors(void)
{
	struct smmuv3_model *m = w.p.m;

	if (a.injected == SLOW)
		smmuv3_model_dma_atc_delay(w.ep[0].dma, 0);
	smmuv3_model_knob(m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
	smmuv3_model_knob(m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	smmuv3_model_knob(m, SMMUV3_MODEL_KNOB_CMD_ILL, 0);
	if (smmuv3_state_get(&w.p.s->state) == SMMUV3_STATE_FAILED) {
		assert_int_equal(w.p.ops->stop(w.p.s), 0);
		assert_int_equal(w.p.ops->start(w.p.s), 0);
	}
	/* Nothing is left in the queue. */
	assert_int_equal(smmuv3_cmdq_sync(&w.p.s->cmdq, NULL, 0, NULL), 0);
	assert_int_equal(smmuv3_cmdq_sync(smmuv3_thread_cmdq(w.p.s), NULL, 0, NULL), 0);
}

/*
 * One array
 */

/* The errors that the report may have, a bit each. */
static unsigned int
get_errors(const struct check_result *want)
{
	unsigned int errors = 0;

	if (want->first == a.n)
		return 1u << IOPF_INV_OK;
	if (a.injected == FATAL)
		return 1u << IOPF_INV_ABT;
	if (a.injected == STUCK || a.injected == SLOW)
		return 1u << IOPF_INV_TIMEOUT;
	for (unsigned int k = 0; k < w.check.nb_atcs && !want->tlb; k++)
		if (want->missing & 1u << k && is_dead(w.check.atcs[k].sid))
			errors = 1u << IOPF_INV_ATC;
	/* Its ATC_INV was not answered, and then refused; or another one was refused. */
	return is_illegal() ? errors | 1u << IOPF_INV_ILL : errors;
}

/* Endpoints that are dead and whose ATC_INVs failed are cut off, and no others. */
static void
check_cuts(void)
{
	unsigned int failed = 0;

	for (unsigned int i = 0; i < w.nb_eps; i++) {
		struct endpoint *e = &w.ep[i];
		bool was = e->cut;

		/* With an illegal command its ATC_INV may have been refused when it was asked. */
		e->cut |= is_dead(e->sid) && (!is_illegal() ||
				smmuv3_atc_is_sid_cut(w.p.s, e->sid));
		failed += e->cut && !was;
		if (smmuv3_atc_is_sid_cut(w.p.s, e->sid) != e->cut)
			fail_msg("StreamID %u %s cut off, after %s at command %u (%s)%s", e->sid,
					e->cut ? "is not" : "is", injected_names[a.injected],
					a.fire_at, w.trace.fired ? "came" : "did not come",
					world_describe());
	}
	/*
	 * One for each beside the first. An illegal command adds some: it became a CMD_SYNC, which
	 * fails too.
	 */
	if (!is_illegal() && w.trace.failed_syncs > failed + (failed != 0))
		fail_msg("%u timeouts for %u dead ATCs of %u (%s)%s", w.trace.failed_syncs, failed,
				w.check.nb_atcs, injected_names[a.injected], world_describe());
}

static void
check_report(int ret, const struct iopf_inv_result *result)
{
	struct check_result want = check_array(&w.check, a.inv, a.n, &w.trace);
	enum iopf_inv_error error = ret < 0 ? result->error : IOPF_INV_OK;
	unsigned int got = ret < 0 ? result->done : a.n;

	if (got != want.first || !(get_errors(&want) & 1u << error))
		fail_msg("array of %u requests, %s at command %u (%s): done %u, %s; the model did "
				"%u (%s, ATCs 0x%x of %u missing), errors 0x%x%s", a.n,
				injected_names[a.injected], a.fire_at,
				w.trace.fired ? "came" : "did not come", got,
				iopf_inv_error_name(error), want.first,
				want.tlb ? "no TLBI" : "TLBI", want.missing, w.check.nb_atcs,
				get_errors(&want), world_describe());
	a.reported[error]++;
	assert_int_equal(ret, error == IOPF_INV_OK ? 0 : error == IOPF_INV_TIMEOUT ? -ETIMEDOUT :
			-EIO);
	if (ret == 0)
		return;
	assert_int_equal(result->failed, want.first);
	if (error == IOPF_INV_ATC) {
		bool named = false;

		/* A dead ATC that lacks the request. */
		for (unsigned int k = 0; k < w.check.nb_atcs; k++)
			named |= want.missing & 1u << k && w.check.atcs[k].sid == result->sid;
		assert_true(named && is_dead(result->sid));
	}
}

static void
run_array(void)
{
	struct iopf_inv_result result = { .done = UINT32_MAX };
	uint64_t timeout = w.p.s->timeout;
	int ret;

	list_atcs();
	a.typed = w.check.nested || one_in(3);
	w.check.typed = a.typed;
	choose_errors();
	make_array(w.ats && (is_illegal() || a.typed));
	if (a.typed)
		choose_types();
	if (a.injected == STUCK || a.injected == SLOW)
		w.p.s->timeout = rte_get_tsc_hz() / 2000;
	if (a.injected == SLOW)
		smmuv3_model_dma_atc_delay(w.ep[0].dma, 3600 * 1000);
	cmd_trace_begin(&w.trace, a.fire_at, inject, NULL);
	ret = (a.typed ? w.p.ops->invalidate_typed : w.p.ops->invalidate)(w.p.s, w.domain, a.inv,
			a.n, &result);
	cmd_trace_end(&w.trace);
	if (a.injected == STUCK || a.injected == SLOW)
		w.p.s->timeout = timeout;
	if (w.trace.n < CMD_TRACE_MAX) {
		check_report(ret, &result);
		if (a.injected != FATAL && a.injected != STUCK && a.injected != SLOW)
			check_cuts();
	} else {
		/* While this thread was not running the other one has filled the trace. */
		assert_true(w.threaded);
	}
	clear_errors();
	for (unsigned int i = 0; i < w.nb_eps; i++) {
		w.ep[i].cut = smmuv3_atc_is_sid_cut(w.p.s, w.ep[i].sid);
		if (w.ep[i].dead && one_in(4))
			world_revive(&w.ep[i]);
	}
}

static void
test_the_report_equals_what_the_model_executed(void **state)
{
	uint32_t seed = test_seed("inval_arrays");

	(void)state;
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	memset(a.reported, 0, sizeof(a.reported));
	for (unsigned int i = 0; i < WORLDS * test_scale(); i++) {
		world_open(seed + i);
		for (unsigned int k = 0; k < (w.threaded ? ARRAYS_THREADS : ARRAYS); k++)
			run_array();
		world_close();
	}
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_INFO);
	for (unsigned int i = 0; i < IOPF_NB_INV_ERRORS; i++)
		print_message("inval_arrays: %llu %s\n", (unsigned long long)a.reported[i],
				iopf_inv_error_name(i));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_the_report_equals_what_the_model_executed),
};

TEST_SUITE(inval_arrays, tests, NULL, NULL);
