/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 14: an attach, detach or removal that fails half-way can be repeated until it succeeds.
 * Nothing that the SMMU may still use is given to another owner.
 */

#include <errno.h>
#include <string.h>

#include "breaker_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* Like the library: enables ATS after the first attach, disables it before the last detach. */
static void
breaker_set_ats(struct breaker_rig *r, bool on)
{
	for (unsigned int i = 0; r->kind->recover == IOPF_PRI && i < r->kind->nb_sids; i++)
		assert_int_equal(on ? smmuv3_model_dma_ats_enable(r->dma[i], 12) :
				smmuv3_model_dma_ats_disable(r->dma[i]), 0);
}

/*
 * After a successful detach, or without an attach, nothing remains in memory, in the TLB or in an
 * ATC. The page is freed, so the oracle would report an access.
 */
static void
check_nothing_left(struct breaker_rig *r, bool with_ats)
{
	unsigned int atcs = r->kind->recover == IOPF_PRI && r->kind->keeper ? r->kind->nb_sids : 0;
	struct pmd *p = &r->p;

	assert_int_equal(breaker_count_atcs(p), atcs);
	breaker_tell_frame(p, r->page, false);
	memset(r->page, OLD, 1 << p->granule_log2);
	assert_int_equal(breaker_write_all(r, NEW), 0);
	p->ops->domain_del(p->s, r->domain);
	r->domain = breaker_add_heir(r);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, r->pasid, r->domain), 0);
	if (!with_ats)
		breaker_set_ats(r, true);
	assert_int_equal(breaker_write_all(r, NEW), 0);
	for (size_t i = 0; i < (size_t)1 << p->granule_log2; i++)
		assert_int_equal(r->page[i], OLD);
	/* The PASID can be used again. */
	breaker_tell_frame(p, r->page, true);
	pmd_map(p, VA, r->page);
	assert_int_equal(breaker_write_all(r, NEW), r->kind->nb_sids);
	breaker_set_ats(r, false);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, r->pasid), 0);
	p->ops->domain_del(p->s, r->domain);
}

/* Detach until it succeeds. */
static void
detach_until_done(struct breaker_rig *r)
{
	struct pmd *p = &r->p;
	int ret;

	/* An attach that failed may have left nothing to detach. */
	do
		ret = rig_detach(p->ops, p->s, p->dev, r->pasid);
	while (ret == -ETIMEDOUT || ret == -EIO);
	assert_true(ret == 0 || ret == -ENOENT);
}

/* @return true if the call reached its n-th CMD_SYNC. */
static bool
fail_detach(const struct breaker_kind *kind, enum breaker_fault fault, unsigned int n)
{
	struct breaker_rig r = { .domain = NULL };
	struct pmd *p = &r.p;
	bool with_ats = kind->recover == IOPF_PRI && kind->keeper;
	int ret;

	breaker_open(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, r.pasid, r.domain), 0);
	breaker_set_ats(&r, true);
	assert_int_equal(breaker_write_all(&r, OLD), kind->nb_sids);
	if (!with_ats)
		breaker_set_ats(&r, false);
	assert_int_equal(breaker_write_all(&r, OLD), kind->nb_sids);
	breaker_arm(p, fault, n);
	ret = rig_detach(p->ops, p->s, p->dev, r.pasid);
	if (fault == STUCK)
		assert_int_equal(ret, breaker.hit ? -ETIMEDOUT : 0);
	if (ret < 0) {
		breaker_write_all(&r, OLD);
		breaker_check_asid(&r);
		/* Another try fails too. */
		if (fault == STUCK) {
			assert_int_equal(rig_detach(p->ops, p->s, p->dev, r.pasid), -ETIMEDOUT);
			breaker_check_asid(&r);
		}
	}
	breaker_repair(p);
	detach_until_done(&r);
	check_nothing_left(&r, with_ats);
	breaker_close(&r);
	return breaker.hit;
}

static bool
fail_attach(const struct breaker_kind *kind, enum breaker_fault fault, unsigned int n)
{
	struct breaker_rig r = { .domain = NULL };
	bool with_ats = kind->recover == IOPF_PRI && kind->keeper;
	struct pmd *p = &r.p;
	int ret;

	breaker_open(&r, kind);
	if (with_ats)
		breaker_set_ats(&r, true);
	breaker_arm(p, fault, n);
	ret = rig_attach(p->ops, p->s, p->dev, r.pasid, r.domain);
	/* No command fails unnoticed. An ATC_INV that is refused is repeated by itself. */
	if (fault == STUCK || kind->recover != IOPF_PRI)
		assert_int_equal(ret, !breaker.hit ? 0 : fault == STUCK ? -ETIMEDOUT : -EIO);
	if (ret < 0) {
		breaker_write_all(&r, OLD);
		breaker_check_asid(&r);
	}
	breaker_repair(p);
	detach_until_done(&r);
	check_nothing_left(&r, with_ats);
	breaker_close(&r);
	return breaker.hit;
}

static void
fail_every_sync(bool (*fail_one)(const struct breaker_kind *kind, enum breaker_fault fault,
		unsigned int n))
{
	for (unsigned int k = 0; k < NB_KINDS + NB_S2_KINDS; k++)
		for (enum breaker_fault fault = 0; fault < NB_FAULTS; fault++) {
			const struct breaker_kind *kind = k < NB_KINDS ? &breaker_kinds[k] :
					&breaker_s2_kinds[k - NB_KINDS];
			unsigned int n = 1;

			if (!breaker_has_kind(kind))
				continue;
			while (fail_one(kind, fault, n))
				assert_in_range(++n, 2, MAX_SYNCS);
			/* The call has several CMD_SYNCs. */
			assert_in_range(n, 3, MAX_SYNCS);
		}
}

static void
test_a_detach_that_fails_anywhere_can_be_repeated(void **state)
{
	(void)state;
	fail_every_sync(fail_detach);
}

static void
test_an_attach_that_fails_anywhere_leaves_nothing(void **state)
{
	(void)state;
	fail_every_sync(fail_attach);
}

/* The attachment whose detach begins last may not be the one that is released last. */
static void
test_the_last_of_two_failed_detaches_stops_the_device(void **state)
{
	const struct breaker_kind *kind = &breaker_kinds[5];
	struct breaker_rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	breaker_open(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	/* CD, TLBI; the SYNC of its ATC_INV fails. */
	breaker_arm(p, STUCK, 3);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), -ETIMEDOUT);
	breaker_repair(p);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, KEEPER), 0);
	assert_int_equal(breaker_read_record(p, PMD_SID, KEEPER), SMMUV3_C_BAD_STE);
	/* Another domain is attached and detached meanwhile. */
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r.keeper), 0);
	assert_int_equal(breaker_read_record(p, PMD_SID, KEEPER), SMMUV3_F_TRANSLATION);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, KEEPER), 0);
	assert_int_equal(breaker_read_record(p, PMD_SID, KEEPER), SMMUV3_C_BAD_STE);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, KEEPER, r.keeper), 0);
	p->ops->domain_del(p->s, r.domain);
	breaker_close(&r);
}

/* Stops the CMDQ as soon as the CMD_SYNC that timed out is complete. */
static bool
stop_cmdq_behind_cut(void *ctx, struct smmuv3_wait *w)
{
	struct pmd *p = &breaker.rig->p;

	if (!breaker.hit && pmd_read_stat(p, "atc_cuts") == 0) {
		breaker.at = atomic_load(&p->s->cmdq.prod);
	} else if (!breaker.hit) {
		while (smmuv3_cmdq_load_cons(&p->s->cmdq) < breaker.at)
			smmuv3_model_step(p->m, 1);
		breaker_stop_cmdq(true);
		breaker.hit = true;
		return true;
	}
	breaker.real->wait(ctx, w);
	return !breaker.stuck;
}

/* Before the CFGI_STE of the cut is complete, the SMMU may use the old STE. */
static void
test_a_detach_of_a_dead_atc_waits_until_it_is_cut_off(void **state)
{
	struct breaker_kind kind = { IOPF_PRI, 1, true, SMMUV3_STALL_MODEL_BOTH, false };
	struct breaker_rig r = { .domain = NULL };
	struct pmd *p = &r.p;

	(void)state;
	breaker_open(&r, &kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	breaker_set_ats(&r, true);
	assert_int_equal(breaker_write_all(&r, OLD), 1);
	smmuv3_model_dma_quirks(r.dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	breaker.ops.wait = stop_cmdq_behind_cut;
	breaker.hit = false;
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), -ETIMEDOUT);
	assert_true(breaker.hit);
	assert_int_equal(breaker_count_atcs(p), 2);
	breaker_repair(p);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 0);
	assert_int_equal(r.page[0], OLD);
	smmuv3_model_dma_reset(r.dma[0]);
	p->ops->domain_del(p->s, r.domain);
	breaker_close(&r);
}

/* A stall is outstanding, and each CMD_SYNC of the removal fails once. */
static bool
fail_dev_del(const struct breaker_kind *kind, enum breaker_fault fault, unsigned int n)
{
	struct breaker_rig r = { .domain = NULL };
	const uint32_t sids[1] = { PMD_SID };
	struct smmuv3_model_done done;
	struct iopf_event event;
	struct pmd *p = &r.p;
	uint8_t byte = NEW;
	unsigned int i;
	bool hit;
	int ret;

	breaker_open(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, r.pasid, r.domain), 0);
	p->dma = r.dma[0];
	pmd_write(p, VA + (1 << 16), &byte, 1);
	pmd_wait_event(p, &event);
	assert_true(event.flags & IOPF_EVENT_STALL);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, r.pasid), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 1);
	breaker_arm(p, fault, n);
	breaker.quiet = true;
	ret = p->ops->dev_del(p->s, p->dev);
	hit = breaker.hit;
	assert_int_equal(ret < 0, hit || ret < 0);
	breaker_repair(p);
	/* The device is as before: it can be attached, and removed. */
	if (ret < 0 && n % 2 == 0) {
		assert_int_equal(rig_attach(p->ops, p->s, p->dev, r.pasid, r.domain), 0);
		assert_int_equal(rig_detach(p->ops, p->s, p->dev, r.pasid), 0);
	}
	if (ret < 0)
		assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	/* The removal ended the stall. */
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 0);
	for (i = 0; smmuv3_model_dma_poll(p->dma, &done, 1) == 0; i++) {
		assert_in_range(i, 0, 1000);
		smmuv3_model_step(p->m, 64);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(breaker_write_all(&r, NEW), 0);
	p->ops->domain_del(p->s, r.domain);
	assert_int_equal(p->ops->dev_add(p->s, &(struct iopf_dev_conf){ .sids = sids,
		.nb_sids = 1, .nb_pasids = 8, .recover = IOPF_STALL }, &p->dev), 0);
	breaker_close(&r);
	return hit;
}

static void
test_a_removal_that_fails_anywhere_can_be_repeated(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 2 * NB_FAULTS; k++) {
		const struct breaker_kind *kind = k % 2 ? &breaker_s2_kinds[0] : &breaker_kinds[0];
		unsigned int n = 1;

		while (fail_dev_del(kind, k / 2, n))
			assert_in_range(++n, 2, MAX_SYNCS);
		/* CMD_SYNCs of the STE, of STALL_TERM, and of the STE again. */
		assert_int_equal(n, 4);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_detach_that_fails_anywhere_can_be_repeated),
	cmocka_unit_test(test_an_attach_that_fails_anywhere_leaves_nothing),
	cmocka_unit_test(test_the_last_of_two_failed_detaches_stops_the_device),
	cmocka_unit_test(test_a_detach_of_a_dead_atc_waits_until_it_is_cut_off),
	cmocka_unit_test(test_a_removal_that_fails_anywhere_can_be_repeated),
};

TEST_SUITE(pmd_attach_repeat, tests, NULL, NULL);
