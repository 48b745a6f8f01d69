/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9: each configuration that the SMMU can put together from words of L1STD, STE, L1CD and
 * CD that it read at different times is the old one, the new one, or not valid. The driver's own
 * operations run here, also with each of their CMD_SYNCs failing.
 */

#include <errno.h>

#include "hitless_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

#define MAX_SYNCS	64
#define MAX_SIDS	3
#define NB_S2_KINDS	4

struct kind {
	enum iopf_recover recover;
	unsigned int nb_sids;
	uint32_t nb_pasids, pasid, other, third;	/* no third: equal to other */
	uint32_t no_features;
	unsigned int stall_model;
};

static const struct kind kinds[] = {
	/* One CD. */
	{ IOPF_STALL, 1, 0, IOPF_NO_PASID, IOPF_NO_PASID, IOPF_NO_PASID,
		SMMUV3_MODEL_NO_2LVL_STRTAB, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_STALL, 2, 0, IOPF_NO_PASID, IOPF_NO_PASID, IOPF_NO_PASID, 0,
		SMMUV3_STALL_MODEL_FORCED },
	/* Linear CD tables. */
	{ IOPF_STALL, 3, 8, 1, 2, IOPF_NO_PASID, 0, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_TERMINATE, 1, 1024, 700, 1, 701, SMMUV3_MODEL_NO_2LVL_CD, SMMUV3_STALL_MODEL_TERM },
	/* Two levels: a PASID in the same leaf, and one in another leaf. */
	{ IOPF_STALL, 2, 1024, 700, 701, 1, 0, SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_TERMINATE, 1, 1024, 1, IOPF_NO_PASID, 64, 0, SMMUV3_STALL_MODEL_BOTH },
	/* ATS */
	{ IOPF_PRI, 1, 0, IOPF_NO_PASID, IOPF_NO_PASID, IOPF_NO_PASID, 0,
		SMMUV3_STALL_MODEL_BOTH },
	{ IOPF_PRI, 2, 1024, 700, 701, 1, 0, SMMUV3_STALL_MODEL_BOTH },
};

static const uint32_t sids[MAX_SIDS] = { PMD_SID, PMD_SID + 1, 0x345 };

struct rig {
	const struct kind *kind;
	struct pmd p;
	void *dev, *a, *b, *none, *keeper;
	uint32_t ssids[3];
	unsigned int nb_ssids;
};

static uint32_t
ssid_of(uint32_t pasid)
{
	return pasid == IOPF_NO_PASID ? 0 : pasid;
}

static void *
add_domain(struct rig *r, unsigned int va_bits)
{
	struct iopf_translation tr = {
		.format = va_bits != 0 ? IOPF_FORMAT_ARM64_S1 : IOPF_FORMAT_NONE,
		.va_bits = va_bits,
		.granule_log2 = r->p.granule_log2,
		.mair = va_bits == 39 ? 0x44ff : 0,
	};
	void *domain;

	if (va_bits != 0)
		tr.root = (uintptr_t)pmd_alloc(&r->p, 1 << 16, 1 << 16);
	assert_int_equal(r->p.ops->domain_add(r->p.s, &tr, NULL, &domain), 0);
	return domain;
}

static void
open_rig(struct rig *r, const struct kind *kind)
{
	struct iopf_dev_conf conf = {
		.sids = sids,
		.nb_sids = kind->nb_sids,
		.nb_pasids = kind->nb_pasids,
		.recover = kind->recover,
	};

	r->kind = kind;
	pmd_open(&r->p, &(struct smmuv3_model_conf){
		.no_features = kind->no_features,
		.features = SMMUV3_MODEL_S2 |
			(kind->recover == IOPF_PRI ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0),
		.stall_model = kind->stall_model,
		.choices = SMMUV3_MODEL_STICKY_TLB });
	assert_int_equal(r->p.ops->start(r->p.s), 0);
	r->a = add_domain(r, 48);
	r->b = add_domain(r, 39);
	r->none = add_domain(r, 0);
	r->keeper = add_domain(r, 42);
	r->nb_ssids = 0;
	r->ssids[r->nb_ssids++] = ssid_of(kind->pasid);
	if (kind->other != kind->pasid)
		r->ssids[r->nb_ssids++] = ssid_of(kind->other);
	if (kind->third != kind->other)
		r->ssids[r->nb_ssids++] = ssid_of(kind->third);
	/* The first STEs of their second-level tables: also the L1STD changes. */
	hitless_watch(&r->p, sids, kind->nb_sids, r->ssids, r->nb_ssids);
	hitless_begin();
	assert_int_equal(r->p.ops->dev_add(r->p.s, &conf, &r->dev), 0);
	for (unsigned int i = 0; i < kind->nb_sids; i++)
		for (unsigned int k = 0; k < r->nb_ssids; k++) {
			struct hitless_seen seen = hitless_end(sids[i], r->ssids[k]);

			assert_false(seen.ends_valid || seen.mixed);
		}
}

static void
close_rig(struct rig *r)
{
	hitless_unwatch();
	assert_int_equal(r->p.ops->dev_del(r->p.s, r->dev), 0);
	r->p.ops->domain_del(r->p.s, r->a);
	r->p.ops->domain_del(r->p.s, r->b);
	r->p.ops->domain_del(r->p.s, r->none);
	r->p.ops->domain_del(r->p.s, r->keeper);
	assert_int_equal(r->p.ops->stop(r->p.s), 0);
	pmd_close(&r->p);
}

static void
attach_keepers(struct rig *r)
{
	const struct kind *kind = r->kind;

	if (kind->other != kind->pasid)
		assert_int_equal(rig_attach(r->p.ops, r->p.s, r->dev, kind->other, r->keeper), 0);
	if (kind->third != kind->other)
		assert_int_equal(rig_attach(r->p.ops, r->p.s, r->dev, kind->third, r->keeper), 0);
}

static void
detach_keepers(struct rig *r)
{
	const struct kind *kind = r->kind;

	if (kind->other != kind->pasid)
		assert_int_equal(rig_detach(r->p.ops, r->p.s, r->dev, kind->other), 0);
	if (kind->third != kind->other)
		assert_int_equal(rig_detach(r->p.ops, r->p.s, r->dev, kind->third), 0);
}

/*
 * After an operation on the PASID: @p valid, the SMMU translates through it now. The operation was
 * @p complete: the SMMU has one configuration. The other PASIDs were untouched at any time.
 */
static void
check_seen(const struct rig *r, bool valid, bool complete)
{
	struct hitless_seen seen;

	for (unsigned int i = 0; i < r->kind->nb_sids; i++)
		for (unsigned int k = 0; k < r->nb_ssids; k++) {
			seen = hitless_end(sids[i], r->ssids[k]);
			assert_false(seen.mixed);
			if (k > 0) {
				assert_false(seen.invalid || seen.changed);
				assert_int_equal(seen.left, 1);
				continue;
			}
			if (!complete)
				continue;
			assert_int_equal(seen.ends_valid, valid);
			assert_int_equal(seen.left, 1);
		}
}

/* After a replace: at no time was there no valid configuration, or one of neither domain. */
static void
check_replaced(const struct rig *r, bool changed, bool complete)
{
	struct hitless_seen seen;

	check_seen(r, true, complete);
	for (unsigned int i = 0; i < r->kind->nb_sids; i++) {
		seen = hitless_end(sids[i], r->ssids[0]);
		assert_false(seen.invalid);
		if (complete)
			assert_int_equal(seen.changed, changed);
	}
}

static int
detach(struct rig *r)
{
	return rig_detach(r->p.ops, r->p.s, r->dev, r->kind->pasid);
}

/* Attach and detach @p domain; the n-th CMD_SYNC fails (0: none). True: that CMD_SYNC has come. */
static bool
attach_and_detach(struct rig *r, void *domain, unsigned int n, bool done)
{
	bool hit;
	int ret;

	hitless_begin();
	hitless_fail_sync(n, done);
	ret = rig_attach(r->p.ops, r->p.s, r->dev, r->kind->pasid, domain);
	if (ret == 0) {
		check_seen(r, true, true);
		if (n == 0)
			hitless_learn();
		hitless_begin();
		ret = detach(r);
	} else {
		check_seen(r, false, false);
		assert_true(hitless_has_failed());
		hitless_begin();
		/* It may be undone already. */
		ret = detach(r);
		ret = ret == -ENOENT ? 0 : ret;
	}
	check_seen(r, false, ret == 0);
	if (ret < 0) {
		assert_true(hitless_has_failed());
		assert_int_equal(detach(r), 0);
		check_seen(r, false, true);
	}
	hit = hitless_has_failed();
	hitless_fail_sync(0, false);
	return hit;
}

/* How a failed replace goes on. */
enum sequel {
	FINISH,
	DETACH_NEW_FIRST,
	REPLACE_AGAIN,		/* with the next domain */
	DETACH_OTHER,		/* another PASID, before FINISH */
	NB_SEQUELS
};

static void
detach_other(struct rig *r)
{
	struct hitless_seen seen;

	if (r->nb_ssids < 2)
		return;
	hitless_begin();
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->dev, r->kind->other), 0);
	for (unsigned int i = 0; i < r->kind->nb_sids; i++) {
		/* The SMMU uses no CD of it, in the old table either. */
		seen = hitless_end(sids[i], r->ssids[1]);
		assert_false(seen.ends_valid || seen.mixed);
		assert_int_equal(seen.left, 1);
	}
	assert_int_equal(rig_attach(r->p.ops, r->p.s, r->dev, r->kind->other, r->keeper), 0);
	for (unsigned int i = 0; i < r->kind->nb_sids; i++) {
		seen = hitless_end(sids[i], r->ssids[1]);
		assert_true(seen.ends_valid && !seen.mixed && !seen.changed);
		assert_int_equal(seen.left, 1);
	}
	hitless_begin();
}

static void
finish_replace(struct rig *r, void *next, void *after, enum sequel sequel)
{
	const struct iopf_driver_ops *ops = r->p.ops;
	uint32_t pasid = r->kind->pasid;

	if (rig_count_handles(r->p.s, r->dev, pasid) == 1) {
		/* It failed before the switch. */
		check_replaced(r, false, true);
		assert_int_equal(rig_replace(ops, r->p.s, r->dev, pasid, next), 0);
		check_replaced(r, true, true);
		return;
	}
	if (sequel == DETACH_OTHER)
		detach_other(r);
	if (sequel == DETACH_NEW_FIRST) {
		assert_int_equal(detach(r), 0);
		check_seen(r, false, true);
		assert_int_equal(detach(r), 0);
		assert_int_equal(rig_attach(ops, r->p.s, r->dev, pasid, next), 0);
		check_seen(r, true, true);
		return;
	}
	if (sequel == REPLACE_AGAIN) {
		/* The SMMU reads the spare table no more when it is written. */
		assert_int_equal(rig_replace(ops, r->p.s, r->dev, pasid, after), 0);
		check_replaced(r, true, true);
		assert_int_equal(rig_finish_replace(ops, r->p.s, r->dev, pasid), 0);
		hitless_begin();
		assert_int_equal(rig_replace(ops, r->p.s, r->dev, pasid, next), 0);
		check_replaced(r, true, true);
		return;
	}
	assert_int_equal(rig_finish_replace(ops, r->p.s, r->dev, pasid), 0);
	check_seen(r, true, true);
}

/* True: the n-th CMD_SYNC has come. */
static bool
replace(struct rig *r, void *next, void *after, unsigned int n, bool done, enum sequel sequel)
{
	bool hit;
	int ret;

	hitless_begin();
	hitless_fail_sync(n, done);
	ret = rig_replace(r->p.ops, r->p.s, r->dev, r->kind->pasid, next);
	hit = hitless_has_failed();
	hitless_fail_sync(0, false);
	assert_int_equal(ret, hit ? -ETIMEDOUT : 0);
	check_replaced(r, true, ret == 0);
	if (ret < 0)
		finish_replace(r, next, after, sequel);
	return hit;
}

/* Each domain's configuration is known, and the domain a is attached. */
static void
open_replace_rig(struct rig *r, const struct kind *kind)
{
	open_rig(r, kind);
	attach_keepers(r);
	attach_and_detach(r, r->a, 0, false);
	attach_and_detach(r, r->b, 0, false);
	attach_and_detach(r, r->none, 0, false);
	assert_int_equal(rig_attach(r->p.ops, r->p.s, r->dev, kind->pasid, r->a), 0);
}

static void
close_replace_rig(struct rig *r)
{
	assert_int_equal(detach(r), 0);
	assert_int_equal(rig_count_handles(r->p.s, r->dev, r->kind->pasid), 0);
	detach_keepers(r);
	close_rig(r);
}

static void
test_a_replace_shows_the_old_or_the_new_domain(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		open_replace_rig(&r, &kinds[k]);
		for (unsigned int i = 0; i < 3; i++) {
			replace(&r, r.b, NULL, 0, false, FINISH);
			replace(&r, r.none, NULL, 0, false, FINISH);
			replace(&r, r.a, NULL, 0, false, FINISH);
		}
		close_replace_rig(&r);
	}
}

static void
test_a_replace_that_fails_shows_the_old_or_the_new_domain(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (unsigned int i = 0; i < 2 * NB_SEQUELS; i++) {
			unsigned int n = 1;

			open_replace_rig(&r, &kinds[k]);
			while (replace(&r, n % 2 ? r.b : r.a, r.none, n, i % 2, i / 2))
				assert_in_range(++n, 2, MAX_SYNCS);
			/* CFGI, TLBI. */
			assert_in_range(n, 3, MAX_SYNCS);
			close_replace_rig(&r);
		}
}

static void
test_attach_and_detach_never_show_a_mix(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		open_rig(&r, &kinds[k]);
		attach_keepers(&r);
		/* Each follows another: other ASID, root, T0SZ and MAIR, or no root. */
		for (unsigned int i = 0; i < 2; i++) {
			attach_and_detach(&r, r.a, 0, false);
			attach_and_detach(&r, r.b, 0, false);
			if (i == 0)
				attach_and_detach(&r, r.none, 0, false);
		}
		detach_keepers(&r);
		close_rig(&r);
	}
}

static void
test_attach_and_detach_that_fail_never_show_a_mix(void **state)
{
	struct rig r;

	(void)state;
	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
		for (unsigned int done = 0; done < 2; done++) {
			unsigned int n = 1;

			open_rig(&r, &kinds[k]);
			attach_keepers(&r);
			attach_and_detach(&r, r.a, 0, false);
			attach_and_detach(&r, r.b, 0, false);
			while (attach_and_detach(&r, n % 2 ? r.a : r.b, n, done))
				assert_in_range(++n, 2, MAX_SYNCS);
			/* Those of attach and those of detach. */
			assert_in_range(n, 5, MAX_SYNCS);
			detach_keepers(&r);
			close_rig(&r);
		}
}

/* A device of each kind, without PASIDs, and two stage-2 domains beside the others. */
static void
open_stage2_rig(struct rig *r, struct kind *kind, unsigned int i, void *s2[2])
{
	static const struct kind s2_kinds[] = {
		{ .recover = IOPF_STALL, .nb_sids = 2, .stall_model = SMMUV3_STALL_MODEL_BOTH },
		{ .recover = IOPF_STALL, .nb_sids = 1, .nb_pasids = 1024,
			.stall_model = SMMUV3_STALL_MODEL_FORCED },
		{ .recover = IOPF_TERMINATE, .nb_sids = 1,
			.stall_model = SMMUV3_STALL_MODEL_TERM },
		{ .recover = IOPF_PRI, .nb_sids = 2, .nb_pasids = 8,
			.stall_model = SMMUV3_STALL_MODEL_BOTH },
	};

	*kind = s2_kinds[i % NB_S2_KINDS];
	kind->pasid = kind->other = kind->third = IOPF_NO_PASID;
	open_rig(r, kind);
	for (unsigned int k = 0; k < 2; k++) {
		const struct iopf_translation tr = {
			.format = IOPF_FORMAT_ARM64_S2,
			.root = (uintptr_t)pmd_alloc(&r->p, 1 << 16, 1 << 16),
			.va_bits = k == 0 ? 40 : 36,
			.granule_log2 = r->p.granule_log2,
		};

		assert_int_equal(r->p.ops->domain_add(r->p.s, &tr, NULL, &s2[k]), 0);
	}
}

static void
close_stage2_rig(struct rig *r, void *s2[2])
{
	r->p.ops->domain_del(r->p.s, s2[0]);
	r->p.ops->domain_del(r->p.s, s2[1]);
	close_rig(r);
}

/* Stage 1 and stage 2 follow each other: other CONFIG, VMID, S2TTB and S2T0SZ. */
static void
test_attach_and_detach_of_stage2_never_show_a_mix(void **state)
{
	struct kind kind;
	struct rig r;
	void *s2[2];

	(void)state;
	for (unsigned int k = 0; k < NB_S2_KINDS; k++) {
		open_stage2_rig(&r, &kind, k, s2);
		for (unsigned int i = 0; i < 2; i++) {
			attach_and_detach(&r, s2[0], 0, false);
			attach_and_detach(&r, s2[1], 0, false);
			attach_and_detach(&r, r.a, 0, false);
			attach_and_detach(&r, s2[0], 0, false);
		}
		close_stage2_rig(&r, s2);
	}
}

static void
test_attach_and_detach_of_stage2_that_fail_never_show_a_mix(void **state)
{
	struct kind kind;
	struct rig r;
	void *s2[2];

	(void)state;
	for (unsigned int k = 0; k < 2 * NB_S2_KINDS; k++) {
		void *domains[3];
		unsigned int n = 1;

		open_stage2_rig(&r, &kind, k, s2);
		domains[0] = s2[0];
		domains[1] = r.a;
		domains[2] = s2[1];
		for (unsigned int i = 0; i < RTE_DIM(domains); i++)
			attach_and_detach(&r, domains[i], 0, false);
		/* Each domain with each CMD_SYNC that fails. */
		for (unsigned int i = 0; i < RTE_DIM(domains); i++) {
			for (n = 1; attach_and_detach(&r, domains[i], n, k / NB_S2_KINDS); n++)
				assert_in_range(n, 1, MAX_SYNCS);
			/* Words 1 to 3, word 0; word 0, TLBI. */
			assert_in_range(n, 5, MAX_SYNCS);
		}
		close_stage2_rig(&r, s2);
	}
}

/* S2S changes in place: the SMMU has the old word 2 or the new one. */
static void
test_stalls_of_stage2_are_switched_in_place(void **state)
{
	struct hitless_seen seen;
	void *s2[2], *attachment;
	struct kind kind;
	struct rig r;

	(void)state;
	open_stage2_rig(&r, &kind, 0, s2);
	assert_int_equal(r.p.ops->attach(r.p.s, r.dev, IOPF_NO_PASID, s2[0], &attachment), 0);
	for (unsigned int i = 0; i < 4; i++) {
		hitless_begin();
		assert_int_equal(r.p.ops->stall_set(r.p.s, attachment, i & 1), 0);
		for (unsigned int k = 0; k < kind.nb_sids; k++) {
			seen = hitless_end(sids[k], 0);
			assert_true(seen.ends_valid && seen.changed);
			assert_false(seen.invalid || seen.mixed);
			assert_int_equal(seen.left, 1);
		}
	}
	assert_int_equal(r.p.ops->detach(r.p.s, attachment), 0);
	close_stage2_rig(&r, s2);
}

/* A test that failed has left its views. */
static int
stop_watching(void **state)
{
	(void)state;
	hitless_unwatch();
	return 0;
}

#define HITLESS_TEST(fn) cmocka_unit_test_teardown(fn, stop_watching)

static const struct CMUnitTest tests[] = {
	HITLESS_TEST(test_attach_and_detach_of_stage2_never_show_a_mix),
	HITLESS_TEST(test_attach_and_detach_of_stage2_that_fail_never_show_a_mix),
	HITLESS_TEST(test_stalls_of_stage2_are_switched_in_place),
	HITLESS_TEST(test_attach_and_detach_never_show_a_mix),
	HITLESS_TEST(test_attach_and_detach_that_fail_never_show_a_mix),
	HITLESS_TEST(test_a_replace_shows_the_old_or_the_new_domain),
	HITLESS_TEST(test_a_replace_that_fails_shows_the_old_or_the_new_domain),
};

TEST_SUITE(pmd_hitless, tests, NULL, NULL);
