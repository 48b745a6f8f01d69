/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A stage-2 domain and domains nested in it replace each other: what the SMMU may see of the STE
 * meanwhile, also where a CMD_SYNC fails. The CDs are a guest's, and not looked at.
 */

#include <errno.h>

#include "hitless_rig.h"
#include "attach_rig.h"
#include "pmd_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

#define CDS(i)	(UINT64_C(0x1230000) + (i) * 0x1000)	/* IPAs */
#define MAX_SYNCS	16

enum { PARENT, CHILD, SIBLING, OTHER_WORD1, NB_DOMAINS };

struct rig {
	struct pmd p;
	uint64_t root;
	void *dev;
	void *domain[NB_DOMAINS];
};

static void
open_rig(struct rig *r, enum iopf_recover recover)
{
	const uint32_t sid = PMD_SID, ssid = 0;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 16,
		.recover = recover };
	struct iopf_translation parent = { .format = IOPF_FORMAT_ARM64_S2, .va_bits = 40 };

	pmd_open(&r->p, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB,
		.features = SMMUV3_MODEL_S2 | (recover == IOPF_PRI ? SMMUV3_MODEL_ATS |
			SMMUV3_MODEL_PRI : 0) });
	assert_int_equal(r->p.ops->start(r->p.s), 0);
	r->root = (uintptr_t)pmd_alloc(&r->p, 1 << 16, 1 << 16);
	parent.root = r->root;
	parent.granule_log2 = r->p.granule_log2;
	assert_int_equal(r->p.ops->domain_add(r->p.s, &parent, NULL, &r->domain[PARENT]), 0);
	for (unsigned int i = CHILD; i < NB_DOMAINS; i++) {
		const struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_GUEST,
			.guest_ste = { UINT64_C(0x2000000000000000) | CDS(i) | 0xb,
				i == OTHER_WORD1 ? 1 : 2 } };

		assert_int_equal(r->p.ops->domain_add(r->p.s, &tr, r->domain[PARENT],
				&r->domain[i]), 0);
	}
	assert_int_equal(r->p.ops->dev_add(r->p.s, &conf, &r->dev), 0);
	hitless_watch(&r->p, &sid, 1, &ssid, 1);
}

static void
close_rig(struct rig *r)
{
	hitless_unwatch();
	for (unsigned int i = CHILD; i < NB_DOMAINS; i++)
		r->p.ops->domain_del(r->p.s, r->domain[i]);
	assert_int_equal(r->p.ops->dev_del(r->p.s, r->dev), 0);
	r->p.ops->domain_del(r->p.s, r->domain[PARENT]);
	assert_int_equal(r->p.ops->stop(r->p.s), 0);
	pmd_close(&r->p);
}

static bool
is_hitless(unsigned int from, unsigned int to)
{
	/* Of two nested domains with other words 1 the STE is not valid in between. */
	return from == PARENT || to == PARENT || (from == OTHER_WORD1) == (to == OTHER_WORD1);
}

static void
expect_ste(const struct rig *r, unsigned int i)
{
	const struct smmuv3_ste *ste = smmuv3_strtab_ste(&r->p.s->strtab, PMD_SID);

	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]), i == PARENT ?
			SMMUV3_STE_S2 : SMMUV3_STE_S1_S2);
	if (i != PARENT) {
		assert_int_equal(ste->dw[0] & SMMUV3_STE0_S1CONTEXTPTR, CDS(i));
		assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1DSS, ste->dw[1]),
				i == OTHER_WORD1 ? 1 : 2);
	}
	assert_int_equal(ste->dw[3], r->root);
}

static void
test_a_replace_shows_the_old_or_the_new_domain(void **state)
{
	static const enum iopf_recover recovers[] = { IOPF_STALL, IOPF_PRI, IOPF_TERMINATE };
	struct hitless_seen seen;
	struct rig r;

	(void)state;
	for (unsigned int k = 0; k < RTE_DIM(recovers); k++)
		for (unsigned int n = 0; n < NB_DOMAINS * NB_DOMAINS; n++) {
			unsigned int from = n % NB_DOMAINS, to = n / NB_DOMAINS;

			if (from == to)
				continue;
			open_rig(&r, recovers[k]);
			assert_int_equal(rig_attach(r.p.ops, r.p.s, r.dev, IOPF_NO_PASID,
					r.domain[from]), 0);
			hitless_begin();
			assert_int_equal(rig_replace(r.p.ops, r.p.s, r.dev, IOPF_NO_PASID,
					r.domain[to]), 0);
			seen = hitless_end(PMD_SID, 0);
			assert_true(seen.changed && seen.ends_valid);
			assert_false(seen.mixed);
			assert_int_equal(seen.invalid, !is_hitless(from, to));
			assert_int_equal(seen.left, 1);
			expect_ste(&r, to);
			/* And back: a switch leaves word 1 of the nested domain. */
			hitless_begin();
			assert_int_equal(rig_replace(r.p.ops, r.p.s, r.dev, IOPF_NO_PASID,
					r.domain[from]), 0);
			seen = hitless_end(PMD_SID, 0);
			assert_false(seen.mixed);
			assert_int_equal(seen.invalid, !is_hitless(from, to));
			expect_ste(&r, from);
			assert_int_equal(rig_detach(r.p.ops, r.p.s, r.dev, IOPF_NO_PASID), 0);
			close_rig(&r);
		}
}

static void
learn(struct rig *r, unsigned int i)
{
	assert_int_equal(rig_attach(r->p.ops, r->p.s, r->dev, IOPF_NO_PASID, r->domain[i]), 0);
	hitless_learn();
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->dev, IOPF_NO_PASID), 0);
}

/* A replace that fails: as before, or half done. Then either is detached first. */
static void
replace_and_fail(unsigned int from, unsigned int to, unsigned int n, bool done, bool old_first,
		bool *failed)
{
	void *old, *next, *first, *second;
	struct hitless_seen seen;
	struct rig r;
	int ret;

	open_rig(&r, IOPF_STALL);
	r.p.untidy = true;
	/* After a failure the SMMU may have either. */
	learn(&r, to);
	learn(&r, from);
	assert_int_equal(r.p.ops->attach(r.p.s, r.dev, IOPF_NO_PASID, r.domain[from], &old), 0);
	hitless_begin();
	hitless_fail_sync(n, done);
	ret = r.p.ops->replace(r.p.s, old, r.domain[to], &next);
	*failed = hitless_has_failed();
	hitless_fail_sync(0, false);
	assert_int_equal(ret, *failed ? -ETIMEDOUT : 0);
	seen = hitless_end(PMD_SID, 0);
	assert_false(seen.mixed);
	if (*failed && next == NULL) {
		expect_ste(&r, from);
		assert_false(seen.changed);
		assert_int_equal(r.p.ops->detach(r.p.s, old), 0);
	} else if (*failed) {
		/* A block and its end put no mix together either. */
		hitless_begin();
		assert_int_equal(r.p.ops->dev_block(r.p.s, r.dev, true), 0);
		assert_int_equal(r.p.ops->dev_block(r.p.s, r.dev, false), 0);
		assert_false(hitless_end(PMD_SID, 0).mixed);
		expect_ste(&r, to);
		first = old_first ? old : next;
		second = old_first ? next : old;
		assert_int_equal(r.p.ops->detach(r.p.s, first), 0);
		if (old_first)
			expect_ste(&r, to);
		else
			assert_int_equal(smmuv3_strtab_ste(&r.p.s->strtab, PMD_SID)->dw[0], 0);
		assert_int_equal(r.p.ops->detach(r.p.s, second), 0);
	} else {
		assert_int_equal(r.p.ops->detach(r.p.s, next), 0);
	}
	assert_int_equal(smmuv3_strtab_ste(&r.p.s->strtab, PMD_SID)->dw[0], 0);
	close_rig(&r);
}

static void
test_a_replace_that_fails_shows_no_mix(void **state)
{
	static const unsigned int pairs[][2] = { { PARENT, CHILD }, { CHILD, PARENT },
		{ CHILD, SIBLING }, { CHILD, OTHER_WORD1 } };

	(void)state;
	for (unsigned int i = 0; i < 4 * RTE_DIM(pairs); i++) {
		unsigned int from = pairs[i / 4][0], to = pairs[i / 4][1], n = 0;
		bool failed = true;

		while (failed) {
			assert_in_range(n, 0, MAX_SYNCS);
			replace_and_fail(from, to, ++n, i & 1, i & 2, &failed);
		}
		/* To a nested domain: the TLBI before it. The switch, and the TLBI after it. */
		assert_in_range(n, 3, MAX_SYNCS);
	}
}

/* An attach, and a detach, in which the n-th CMD_SYNC fails; both can be repeated. */
static bool
attach_and_fail(unsigned int i, unsigned int n, bool done, bool detach)
{
	struct hitless_seen seen;
	void *attachment;
	struct rig r;
	bool failed;
	int ret;

	open_rig(&r, IOPF_STALL);
	r.p.untidy = true;
	learn(&r, i);
	hitless_begin();
	if (!detach)
		hitless_fail_sync(n, done);
	ret = r.p.ops->attach(r.p.s, r.dev, IOPF_NO_PASID, r.domain[i], &attachment);
	if (detach) {
		assert_int_equal(ret, 0);
		hitless_fail_sync(n, done);
		ret = r.p.ops->detach(r.p.s, attachment);
	}
	failed = hitless_has_failed();
	hitless_fail_sync(0, false);
	assert_int_equal(ret, failed ? -ETIMEDOUT : 0);
	seen = hitless_end(PMD_SID, 0);
	assert_false(seen.mixed);
	/* The undo of an attach may have been complete, and a detach that failed is not. */
	if (failed ? attachment != NULL : !detach)
		assert_int_equal(r.p.ops->detach(r.p.s, attachment), 0);
	assert_int_equal(smmuv3_strtab_ste(&r.p.s->strtab, PMD_SID)->dw[0], 0);
	learn(&r, i);
	close_rig(&r);
	return failed;
}

static void
test_attach_and_detach_that_fail_can_be_repeated(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		unsigned int n = 1;

		while (attach_and_fail(CHILD, n, k & 1, k & 2))
			assert_in_range(n++, 0, MAX_SYNCS);
		/* TLBI, words 1 to 3, word 0; word 0, TLBI. */
		assert_in_range(n, k & 2 ? 3 : 4, MAX_SYNCS);
	}
}

/* What a breaker switched off is on for the next domain. */
static void
test_accesses_of_the_next_domain_stall(void **state)
{
	const struct smmuv3_ste *ste;
	void *old, *next;
	struct rig r;

	(void)state;
	open_rig(&r, IOPF_STALL);
	assert_int_equal(r.p.ops->attach(r.p.s, r.dev, IOPF_NO_PASID, r.domain[PARENT], &old), 0);
	ste = smmuv3_strtab_ste(&r.p.s->strtab, PMD_SID);
	assert_int_equal(r.p.ops->stall_set(r.p.s, old, false), 0);
	assert_int_equal(ste->dw[2] & SMMUV3_STE2_S2S, 0);
	assert_int_equal(r.p.ops->replace(r.p.s, old, r.domain[CHILD], &next), 0);
	assert_int_not_equal(ste->dw[2] & SMMUV3_STE2_S2S, 0);
	assert_int_equal(r.p.ops->detach(r.p.s, next), 0);
	close_rig(&r);
}

static int
stop_watching(void **state)
{
	(void)state;
	hitless_unwatch();
	return 0;
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_a_replace_shows_the_old_or_the_new_domain, stop_watching),
	cmocka_unit_test_teardown(test_a_replace_that_fails_shows_no_mix, stop_watching),
	cmocka_unit_test_teardown(test_attach_and_detach_that_fail_can_be_repeated, stop_watching),
	cmocka_unit_test_teardown(test_accesses_of_the_next_domain_stall, stop_watching),
};

TEST_SUITE(pmd_nested_replace, tests, NULL, NULL);
