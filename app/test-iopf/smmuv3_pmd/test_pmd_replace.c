/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contracts 9 and 14: after a replace no access uses the old domain, also when it failed half-way
 * and was finished later. The SMMU and the ATCs keep no translation of the old domain, and its ASID
 * can be given to another.
 */

#include <errno.h>
#include <string.h>

#include "breaker_rig.h"
#include "interpose.h"
#include "smmuv3_model_test.h"
#include "test.h"

/* A second domain with a page of its own at the same address. */
struct other {
	void *domain;
	uint8_t *page;
};

static void
set_ats(struct breaker_rig *r, bool on)
{
	for (unsigned int i = 0; r->kind->recover == IOPF_PRI && i < r->kind->nb_sids; i++)
		assert_int_equal(on ? smmuv3_model_dma_ats_enable(r->dma[i], 12) :
				smmuv3_model_dma_ats_disable(r->dma[i]), 0);
}

static void
add_other(struct breaker_rig *r, struct other *other)
{
	struct pmd *p = &r->p;

	other->domain = breaker_add_domain(p);
	other->page = pmd_alloc(p, 1 << 16, 1 << 16);
	breaker_tell_frame(p, other->page, true);
	pmd_map(p, VA, other->page);
}

/* Until the replace is complete. An attempt that changed nothing is made again. */
static void
finish_replace(struct breaker_rig *r, const struct other *other)
{
	struct pmd *p = &r->p;
	bool before = rig_count_handles(p->s, p->dev, PASID) == 1;
	int ret;

	for (unsigned int i = 0; i < 4; i++) {
		ret = before ? rig_replace(p->ops, p->s, p->dev, PASID, other->domain) :
			rig_finish_replace(p->ops, p->s, p->dev, PASID);
		if (ret == 0)
			return;
		before = rig_count_handles(p->s, p->dev, PASID) == 1;
	}
	assert_int_equal(ret, 0);
}

/* True: the n-th CMD_SYNC has come. */
static bool
fail_replace(const struct breaker_kind *kind, enum breaker_fault fault, unsigned int n)
{
	struct breaker_rig r = { .domain = NULL };
	struct other other;
	struct pmd *p = &r.p;
	void *heir;
	int ret;

	breaker_open(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	set_ats(&r, true);
	assert_int_equal(breaker_write_all(&r, OLD), kind->nb_sids);
	add_other(&r, &other);
	breaker_arm(p, fault, n);
	ret = rig_replace(p->ops, p->s, p->dev, PASID, other.domain);
	if (fault == STUCK)
		assert_int_equal(ret, breaker.hit ? -ETIMEDOUT : 0);
	if (ret < 0) {
		/* Its own ASID is not free before the SMMU has forgotten it. */
		breaker_check_asid(&r);
		if (fault == STUCK)
			assert_int_equal(rig_count_handles(p->s, p->dev, PASID) == 2 ?
					rig_finish_replace(p->ops, p->s, p->dev, PASID) :
					-ETIMEDOUT, -ETIMEDOUT);
	}
	breaker_repair(p);
	if (ret < 0)
		finish_replace(&r, &other);
	assert_int_equal(rig_count_handles(p->s, p->dev, PASID), 1);
	/* From here on the oracle reports an access to the old page. */
	breaker_tell_frame(p, r.page, false);
	memset(r.page, OLD, 1 << p->granule_log2);
	assert_int_equal(breaker_write_all(&r, NEW), kind->nb_sids);
	assert_int_equal(other.page[0], NEW);
	assert_int_equal(r.page[0], OLD);
	/* The other PASIDs' ATC words, and one for each StreamID of this one. */
	if (kind->recover == IOPF_PRI)
		assert_int_equal(breaker_count_atcs(p), kind->nb_sids * (kind->keeper ? 2 : 1));
	/* The next owner of the ASID finds no translation of it. */
	p->ops->domain_del(p->s, r.domain);
	heir = breaker_add_heir(&r);
	assert_int_equal(rig_replace(p->ops, p->s, p->dev, PASID, heir), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 0);
	set_ats(&r, false);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	p->ops->domain_del(p->s, heir);
	p->ops->domain_del(p->s, other.domain);
	breaker_close(&r);
	return breaker.hit;
}

static void
test_a_replace_that_fails_anywhere_can_be_finished(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < RTE_DIM(breaker_kinds); k++)
		for (enum breaker_fault fault = 0; fault < NB_FAULTS; fault++) {
			unsigned int n = 1;

			if (!breaker_has_kind(&breaker_kinds[k]))
				continue;
			while (fail_replace(&breaker_kinds[k], fault, n))
				assert_in_range(++n, 2, MAX_SYNCS);
			/* CFGI, TLBI; with ATS also TLBI before and ATC_INV. */
			assert_in_range(n, breaker_kinds[k].recover == IOPF_PRI ? 5 : 3,
					MAX_SYNCS);
		}
}

/* Nothing changes if there is no memory for the new attachment, the spare table or the ATCs. */
static void
test_a_replace_without_room_changes_nothing(void **state)
{
	struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	const struct breaker_kind *kind = &breaker_kinds[5];
	struct breaker_rig r = { .domain = NULL };
	struct smmuv3_domain *full;
	struct pmd *p = &r.p;
	void *domain;

	(void)state;
	breaker_open(&r, kind);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	assert_int_equal(p->ops->domain_add(p->s, &none, NULL, &domain), 0);
	full = domain;
	/* One entry is left, and the device has two StreamIDs. */
	for (unsigned int i = 0; i < SMMUV3_MAX_ATCS - 1; i++)
		atomic_store(&full->atc[i], SMMUV3_NB_ATCS);
	atomic_store(&full->atc_end, SMMUV3_MAX_ATCS - 1);
	assert_int_equal(rig_replace(p->ops, p->s, p->dev, PASID, domain), -ENOSPC);
	assert_int_equal(rig_count_handles(p->s, p->dev, PASID), 1);
	set_ats(&r, true);
	assert_int_equal(breaker_write_all(&r, NEW), kind->nb_sids);
	assert_int_equal(r.page[0], NEW);
	set_ats(&r, false);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	p->ops->domain_del(p->s, domain);
	p->ops->domain_del(p->s, r.domain);
	breaker_close(&r);
}

static void
test_a_replace_without_memory_changes_nothing(void **state)
{
	struct breaker_rig r = { .domain = NULL };
	struct other other;
	struct pmd *p = &r.p;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizer interposes malloc itself");
#endif
	breaker_open(&r, &breaker_kinds[0]);
	assert_int_equal(rig_attach(p->ops, p->s, p->dev, PASID, r.domain), 0);
	add_other(&r, &other);
	interpose_fail(1);
	assert_int_equal(rig_replace(p->ops, p->s, p->dev, PASID, other.domain), -ENOMEM);
	assert_true(interpose_failed());
	interpose_fail(0);
	assert_int_equal(rig_count_handles(p->s, p->dev, PASID), 1);
	assert_int_equal(breaker_write_all(&r, NEW), breaker_kinds[0].nb_sids);
	assert_int_equal(r.page[0], NEW);
	assert_int_equal(rig_detach(p->ops, p->s, p->dev, PASID), 0);
	p->ops->domain_del(p->s, other.domain);
	p->ops->domain_del(p->s, r.domain);
	breaker_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_replace_that_fails_anywhere_can_be_finished),
	cmocka_unit_test(test_a_replace_without_room_changes_nothing),
	cmocka_unit_test(test_a_replace_without_memory_changes_nothing),
};

TEST_SUITE(pmd_replace, tests, NULL, NULL);
