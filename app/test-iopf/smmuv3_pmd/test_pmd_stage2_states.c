/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Devices with a stage-2 domain: stalls that are switched off, blocks, page requests, recoveries. */

#include <errno.h>
#include <string.h>

#include "breaker_rig.h"
#include "iopf_handler.h"
#include "pmd_s2_rig.h"
#include "test.h"

#define IPA	UINT64_C(0x1234123)
#define HOLE	UINT64_C(0x7654321)

struct states_rig {
	struct breaker_rig b;		/* its driver; its devices are not used */
	struct pmd_s2_space s;
	void *attachment;
	struct smmuv3_model_dma *dma;
};

/* A page is mapped at IPA. */
static void
states_open(struct states_rig *r, enum iopf_recover recover, unsigned int stall_model)
{
	struct pmd *p = &r->b.p;

	memset(r, 0, sizeof(*r));
	pmd_s2_open(p, &(struct smmuv3_model_conf){ .stall_model = stall_model });
	p->dev = pmd_s2_add_dev(p, 0, recover, 8);
	r->dma = pmd_s2_add_engine(p, 0);
	pmd_s2_create(p, &r->s, 12, 40);
	pmd_s2_map(p, &r->s, IPA);
	assert_int_equal(p->ops->attach(p->s, p->dev, IOPF_NO_PASID, r->s.domain,
			&r->attachment), 0);
	assert_int_equal(pmd_s2_touch(p, r->dma, IPA), SMMUV3_MODEL_OK);
}

static void
states_close(struct states_rig *r)
{
	struct pmd *p = &r->b.p;

	if (r->attachment != NULL)
		assert_int_equal(p->ops->detach(p->s, r->attachment), 0);
	assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	smmuv3_model_dma_destroy(r->dma);
	pmd_s2_destroy(p, &r->s);
	pmd_s2_close(p);
}

static void
end_stall(struct states_rig *r, const struct iopf_event *event)
{
	pmd_answer(&r->b.p, event, IOPF_INVALID);
	r->b.p.dma = r->dma;
	assert_int_equal(pmd_wait_done(&r->b.p), SMMUV3_MODEL_ABORTED);
}

static void
expect_stalls(struct states_rig *r)
{
	struct iopf_event event = pmd_s2_fault(&r->b.p, r->dma, HOLE);

	assert_true(event.flags & IOPF_EVENT_STALL);
	end_stall(r, &event);
}

/* It aborts, with a record that has the IPA. */
static void
expect_aborts(struct states_rig *r)
{
	struct iopf_event event = pmd_s2_fault(&r->b.p, r->dma, HOLE);

	assert_false(event.flags & IOPF_EVENT_STALL);
	assert_int_equal(event.stage, 2);
	assert_int_equal(pmd_wait_done(&r->b.p), SMMUV3_MODEL_ABORTED);
	pmd_s2_expect_no_event(&r->b.p);
}

static void
test_stalls_are_switched_off_and_on(void **state)
{
	struct states_rig r;
	struct pmd *p = &r.b.p;
	struct iopf_event event;

	(void)state;
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	event = pmd_s2_fault(p, r.dma, HOLE);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	/* The stall from before still waits. */
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 1);
	end_stall(&r, &event);
	expect_aborts(&r);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_OK);
	/* A block and its end do not switch them on. */
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	expect_aborts(&r);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, true), 0);
	expect_stalls(&r);
	/* An attach does. */
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	assert_int_equal(p->ops->attach(p->s, p->dev, IOPF_NO_PASID, r.s.domain,
			&r.attachment), 0);
	expect_stalls(&r);
	states_close(&r);

	/* An SMMU that can only stall, and one that cannot. */
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_FORCED);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), -ENOTSUP);
	expect_stalls(&r);
	states_close(&r);
	states_open(&r, IOPF_TERMINATE, SMMUV3_STALL_MODEL_TERM);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	expect_aborts(&r);
	states_close(&r);
}

static void
test_a_blocked_device_aborts_until_it_is_unblocked(void **state)
{
	struct states_rig r;
	struct pmd *p = &r.b.p;
	struct iopf_event event;

	(void)state;
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	event = pmd_s2_fault(p, r.dma, HOLE);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	/* STALL_TERM has ended its stall, and the late answer does not count. */
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 0);
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
	pmd_answer(p, &event, IOPF_SUCCESS);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_ABORTED);
	pmd_s2_expect_no_event(p);
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_ABORTED);
	assert_int_equal(p->ops->attach(p->s, p->dev, IOPF_NO_PASID, r.s.domain,
			&r.attachment), 0);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_ABORTED);
	pmd_s2_expect_no_event(p);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_OK);
	expect_stalls(&r);
	states_close(&r);
}

/* Stage 2 alone has no SubstreamIDs. */
static void
test_an_access_with_a_pasid_aborts_and_is_recorded(void **state)
{
	struct states_rig r;

	(void)state;
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	assert_int_equal(breaker_read_record(&r.b.p, PMD_SID, 3), SMMUV3_C_BAD_SUBSTREAMID);
	assert_int_equal(pmd_s2_touch(&r.b.p, r.dma, IPA), SMMUV3_MODEL_OK);
	states_close(&r);
}

/* The removal ends stalls that no answer has ended. */
static void
test_a_removal_ends_stalls(void **state)
{
	struct states_rig r;
	struct pmd *p = &r.b.p;

	(void)state;
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	pmd_s2_fault(p, r.dma, HOLE);
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 1);
	assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 0);
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
	p->dev = pmd_s2_add_dev(p, 0, IOPF_TERMINATE, 0);
	r.attachment = NULL;
	states_close(&r);
}

/* Lost records end all stalls; a stop and a start keep the domain. */
static void
test_stage2_is_as_before_after_a_recovery(void **state)
{
	struct states_rig r;
	struct pmd *p = &r.b.p;
	struct iopf_event event;
	unsigned int told = 0;
	uint8_t byte = 1;

	(void)state;
	states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	event = pmd_s2_fault(p, r.dma, HOLE);
	smmuv3_model_knob(p->m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(p, HOLE + 0x10000, &byte, 1);
	pmd_step(p);
	for (unsigned int i = 0; i < 100 && told == 0; i++) {
		told = p->ops->check(p->s);
		smmuv3_model_step(p->m, 1);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
	pmd_answer(p, &event, IOPF_SUCCESS);
	while (p->ops->poll(p->s, IOPF_QUEUE_EVENTS, &event, 1) == 1)
		;
	for (unsigned int i = 0; i < 20; i++) {
		p->ops->check(p->s);
		smmuv3_model_step(p->m, 1);
	}
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_OK);
	expect_stalls(&r);
	assert_int_equal(p->ops->stop(p->s), 0);
	assert_int_equal(p->ops->start(p->s), 0);
	assert_int_equal(pmd_s2_touch(p, r.dma, IPA), SMMUV3_MODEL_OK);
	pmd_s2_unmap(p, &r.s, IPA);
	pmd_s2_serve(p, &r.s, r.dma, IPA);
	states_close(&r);
}

static struct iopf_event
wait_for_request(struct pmd *p)
{
	struct iopf_event event;

	for (unsigned int i = 0; i < 10000; i++) {
		if (p->ops->poll(p->s, IOPF_QUEUE_REQUESTS, &event, 1) == 1)
			return event;
		smmuv3_model_step(p->m, 64);
	}
	fail_msg("no page request");
	return event;
}

/* A page request for the IPA, the page mapped, the answer, the access. */
static void
serve_request(struct pmd *p, struct pmd_s2_space *s, struct smmuv3_model_dma *dma, uint64_t ipa)
{
	struct iopf_answer answer = { .code = IOPF_SUCCESS, .page_request = true };
	struct iopf_event event;
	uint8_t byte = 9, *page;

	p->dma = dma;
	pmd_write(p, ipa, &byte, 1);
	event = wait_for_request(p);
	assert_int_equal(event.addr, ipa & ~UINT64_C(0xfff));
	page = pmd_s2_map(p, s, ipa);
	answer.sid = event.sid;
	answer.pasid = event.pasid;
	answer.token = event.token;
	assert_int_equal(p->ops->answer(p->s, &answer, 1), 1);
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_OK);
	assert_int_equal(page[ipa & 0xfff], 9);
}

/* EATS is on, and S2S off: together they are illegal. ATC entries are of IPAs. */
static void
test_a_device_with_page_requests(void **state)
{
	struct smmuv3_model_dma *dma[2];
	const struct smmuv3_ste *ste = NULL;
	struct pmd_s2_space s;
	void *dev[2], *a[2];
	struct pmd p;

	(void)state;
	pmd_s2_open(&p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	pmd_s2_create(&p, &s, 12, 40);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i] = pmd_s2_add_dev(&p, i, IOPF_PRI, 0);
		assert_int_equal(p.ops->attach(p.s, dev[i], IOPF_NO_PASID, s.domain, &a[i]), 0);
		ste = smmuv3_strtab_ste(&p.s->strtab, PMD_SID + i);
		assert_int_equal(SMMUV3_GET(SMMUV3_STE1_EATS, ste->dw[1]), SMMUV3_EATS_FULL);
		assert_int_equal(ste->dw[2] & SMMUV3_STE2_S2S, 0);
		dma[i] = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){
			.sid = PMD_SID + i, .kind = SMMUV3_MODEL_DMA_ATS });
		assert_non_null(dma[i]);
		assert_int_equal(smmuv3_model_dma_ats_enable(dma[i], 12), 0);
		assert_int_equal(smmuv3_model_dma_pri_enable(dma[i], 8), 0);
	}
	/* Nothing of it stalls, so nothing changes. */
	assert_int_equal(p.ops->stall_set(p.s, a[0], false), 0);
	assert_int_equal(p.ops->stall_set(p.s, a[0], true), 0);
	assert_int_equal(ste->dw[2] & SMMUV3_STE2_S2S, 0);
	serve_request(&p, &s, dma[0], IPA);
	assert_int_equal(pmd_s2_touch(&p, dma[1], IPA), SMMUV3_MODEL_OK);
	/* Both ATCs have the page; after the invalidation neither has. */
	pmd_s2_unmap(&p, &s, IPA);
	serve_request(&p, &s, dma[1], IPA);
	pmd_s2_unmap(&p, &s, IPA);
	serve_request(&p, &s, dma[0], IPA);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(smmuv3_model_dma_pri_disable(dma[i]), 0);
		pmd_step(&p);
		assert_int_equal(smmuv3_model_dma_ats_disable(dma[i]), 0);
		assert_int_equal(p.ops->detach(p.s, a[i]), 0);
		smmuv3_model_dma_destroy(dma[i]);
		assert_int_equal(p.ops->dev_del(p.s, dev[i]), 0);
	}
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

/* The VMID of a detach that failed is free once a later one has invalidated the TLB. */
static void
test_a_failed_detach_keeps_the_vmid(void **state)
{
	struct states_rig r;
	struct pmd *p = &r.b.p;
	unsigned int n;

	(void)state;
	for (n = 1; n <= 2; n++) {
		struct smmuv3_domain *domain;
		uint16_t vmid;
		int ret;

		states_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
		p->untidy = true;
		breaker_set(&r.b);
		domain = r.s.domain;
		vmid = domain->vmid;
		breaker_arm(p, STUCK, n);
		breaker.quiet = true;
		ret = p->ops->detach(p->s, r.attachment);
		assert_int_equal(ret, -ETIMEDOUT);
		breaker_repair(p);
		/* The library has removed the domain; the attachment holds it. */
		p->ops->domain_del(p->s, domain);
		assert_true(p->s->vmids.used[vmid / 64] & UINT64_C(1) << vmid % 64);
		assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
		assert_false(p->s->vmids.used[vmid / 64] & UINT64_C(1) << vmid % 64);
		r.attachment = NULL;
		pgt_destroy(r.s.pgt);
		pmd_s2_create(p, &r.s, 12, 40);
		states_close(&r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_stalls_are_switched_off_and_on),
	cmocka_unit_test(test_a_blocked_device_aborts_until_it_is_unblocked),
	cmocka_unit_test(test_an_access_with_a_pasid_aborts_and_is_recorded),
	cmocka_unit_test(test_a_removal_ends_stalls),
	cmocka_unit_test(test_stage2_is_as_before_after_a_recovery),
	cmocka_unit_test(test_a_device_with_page_requests),
	cmocka_unit_test(test_a_failed_detach_keeps_the_vmid),
};

TEST_SUITE(pmd_stage2_states, tests, NULL, NULL);
