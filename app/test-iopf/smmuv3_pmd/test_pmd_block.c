/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The operations stall_set and dev_block: what the model's SMMU does after each of them returns. */

#include <errno.h>
#include <string.h>

#include "breaker_rig.h"
#include "test.h"

#define HOLE	(PMD_VA + (UINT64_C(1) << 30))	/* an address that is never mapped */

struct block_rig {
	struct pmd p;
	void *attachment;
	struct smmuv3_model_dma *dma, *other;	/* of PASID 1 and PASID 2 */
	void *keeper;				/* attachment of PASID 2 */
	uint8_t byte;
};

static struct smmuv3_model_dma *
add_engine(struct pmd *p, uint32_t pasid, enum iopf_recover recover)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(p->m,
			&(struct smmuv3_model_dma_conf){ .sid = PMD_SID, .has_ssid = true,
				.ssid = pasid, .kind = recover == IOPF_PRI ?
				SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN });

	assert_non_null(dma);
	return dma;
}

static void
block_open(struct block_rig *r, enum iopf_recover recover, unsigned int stall_model)
{
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 8,
		.recover = recover };
	struct pmd *p = &r->p;

	memset(r, 0, sizeof(*r));
	pmd_open(p, &(struct smmuv3_model_conf){
		.stall_model = stall_model,
		.features = recover == IOPF_PRI ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
		.harsh = SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT,
	});
	assert_int_equal(p->ops->start(p->s), 0);
	assert_int_equal(p->ops->dev_add(p->s, &conf, &p->dev), 0);
	p->domain = breaker_add_domain(p);
	pmd_map(p, PMD_VA, pmd_alloc(p, 1 << 16, 1 << 16));
	assert_int_equal(p->ops->attach(p->s, p->dev, 1, p->domain, &r->attachment), 0);
	assert_int_equal(p->ops->attach(p->s, p->dev, 2, p->domain, &r->keeper), 0);
	r->dma = add_engine(p, 1, recover);
	r->other = add_engine(p, 2, recover);
}

static void
block_close(struct block_rig *r)
{
	struct pmd *p = &r->p;

	if (r->attachment != NULL)
		assert_int_equal(p->ops->detach(p->s, r->attachment), 0);
	if (r->keeper != NULL)
		assert_int_equal(p->ops->detach(p->s, r->keeper), 0);
	if (p->dev != NULL)
		assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	p->ops->domain_del(p->s, p->domain);
	assert_int_equal(p->ops->stop(p->s), 0);
	smmuv3_model_dma_destroy(r->dma);
	smmuv3_model_dma_destroy(r->other);
	pmd_close(p);
}

static void
submit(struct block_rig *r, struct smmuv3_model_dma *dma, uint64_t va)
{
	r->p.dma = dma;
	pmd_write(&r->p, va, &r->byte, 1);
}

/* A write to a hole leaves a record that stalls. */
static struct iopf_event
expect_stall(struct block_rig *r, struct smmuv3_model_dma *dma)
{
	struct iopf_event event;

	submit(r, dma, HOLE);
	pmd_wait_event(&r->p, &event);
	assert_true(event.flags & IOPF_EVENT_STALL);
	assert_int_equal(event.addr, HOLE);
	return event;
}

static void
end_stall(struct block_rig *r, const struct iopf_event *event, struct smmuv3_model_dma *dma)
{
	pmd_answer(&r->p, event, IOPF_INVALID);
	r->p.dma = dma;
	assert_int_equal(pmd_wait_done(&r->p), SMMUV3_MODEL_ABORTED);
}

static void
expect_status(struct block_rig *r, struct smmuv3_model_dma *dma, uint64_t va,
		enum smmuv3_model_status status)
{
	submit(r, dma, va);
	assert_int_equal(pmd_wait_done(&r->p), status);
}

static void
expect_no_event(struct block_rig *r)
{
	struct iopf_event event;

	pmd_step(&r->p);
	assert_int_equal(r->p.ops->poll(r->p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
}

static void
expect_record(struct block_rig *r, uint8_t raw_id)
{
	struct iopf_event event;

	pmd_wait_event(&r->p, &event);
	assert_int_equal(event.flags & IOPF_EVENT_STALL, 0);
	assert_int_equal(event.raw_id, raw_id);
	expect_no_event(r);
}

static void
test_accesses_abort_with_a_record_until_they_stall_again(void **state)
{
	struct iopf_event before, other;
	struct block_rig r;
	struct pmd *p = &r.p;

	(void)state;
	block_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	before = expect_stall(&r, r.dma);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	/* Another engine of the PASID does not stall, and mapped pages are reached. */
	smmuv3_model_dma_destroy(r.other);
	r.other = add_engine(p, 1, IOPF_STALL);
	expect_status(&r, r.other, HOLE, SMMUV3_MODEL_ABORTED);
	expect_record(&r, SMMUV3_F_TRANSLATION);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_OK);
	/* The stall from before still waits. Its retry aborts: it does not stall again. */
	assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 1);
	pmd_answer(p, &before, IOPF_SUCCESS);
	p->dma = r.dma;
	assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
	expect_record(&r, SMMUV3_F_TRANSLATION);
	/* Another PASID of the device stalls as before. */
	smmuv3_model_dma_destroy(r.other);
	r.other = add_engine(p, 2, IOPF_STALL);
	other = expect_stall(&r, r.other);
	end_stall(&r, &other, r.other);

	assert_int_equal(p->ops->stall_set(p->s, r.attachment, true), 0);
	before = expect_stall(&r, r.dma);
	end_stall(&r, &before, r.dma);
	block_close(&r);
}

/* A detach, and an attach after it: the CD stalls again. */
static void
test_an_attach_stalls_again(void **state)
{
	struct iopf_event event;
	struct block_rig r;
	struct pmd *p = &r.p;

	(void)state;
	block_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	assert_int_equal(p->ops->attach(p->s, p->dev, 1, p->domain, &r.attachment), 0);
	event = expect_stall(&r, r.dma);
	end_stall(&r, &event, r.dma);
	block_close(&r);
}

static void
test_a_smmu_that_can_only_stall_refuses(void **state)
{
	struct iopf_event event;
	struct block_rig r;
	struct pmd *p = &r.p;

	(void)state;
	block_open(&r, IOPF_STALL, SMMUV3_STALL_MODEL_FORCED);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), -ENOTSUP);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, true), 0);
	event = expect_stall(&r, r.dma);
	end_stall(&r, &event, r.dma);
	block_close(&r);
}

/* Devices whose accesses do not stall: nothing changes. */
static void
test_accesses_that_never_stall_are_left_alone(void **state)
{
	struct block_rig r;
	struct pmd *p = &r.p;
	uint64_t syncs;

	(void)state;
	block_open(&r, IOPF_TERMINATE, SMMUV3_STALL_MODEL_TERM);
	syncs = pmd_read_stat(p, "syncs");
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, false), 0);
	assert_int_equal(p->ops->stall_set(p->s, r.attachment, true), 0);
	assert_int_equal(pmd_read_stat(p, "syncs"), syncs);
	expect_status(&r, r.dma, HOLE, SMMUV3_MODEL_ABORTED);
	expect_record(&r, SMMUV3_F_TRANSLATION);
	block_close(&r);
}

static void
check_block(enum iopf_recover recover, unsigned int stall_model)
{
	struct iopf_event event = { .sid = 0 };
	struct block_rig r;
	struct pmd *p = &r.p;

	block_open(&r, recover, stall_model);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_OK);
	if (recover == IOPF_STALL)
		event = expect_stall(&r, r.dma);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	/* Its stalls have ended, and the late answer does not count. */
	if (recover == IOPF_STALL) {
		assert_int_equal(smmuv3_model_stalls_outstanding(p->m), 0);
		p->dma = r.dma;
		assert_int_equal(pmd_wait_done(p), SMMUV3_MODEL_ABORTED);
		pmd_answer(p, &event, IOPF_INVALID);
	}
	/* Each PASID aborts, mapped or not, and leaves no record. */
	expect_status(&r, r.dma, HOLE, SMMUV3_MODEL_ABORTED);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	expect_no_event(&r);
	/* Nothing that is attached, detached, stopped or started changes it. */
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	expect_status(&r, r.dma, PMD_VA, SMMUV3_MODEL_ABORTED);
	assert_int_equal(p->ops->detach(p->s, r.keeper), 0);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	assert_int_equal(p->ops->attach(p->s, p->dev, 1, p->domain, &r.attachment), 0);
	assert_int_equal(p->ops->attach(p->s, p->dev, 2, p->domain, &r.keeper), 0);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	assert_int_equal(p->ops->stop(p->s), 0);
	assert_int_equal(p->ops->start(p->s), 0);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	expect_no_event(&r);

	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_OK);
	if (recover == IOPF_STALL) {
		event = expect_stall(&r, r.dma);
		end_stall(&r, &event, r.dma);
	}
	/* Nothing is attached: its accesses abort with a record when it is unblocked. */
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	assert_int_equal(p->ops->detach(p->s, r.attachment), 0);
	assert_int_equal(p->ops->detach(p->s, r.keeper), 0);
	r.attachment = r.keeper = NULL;
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	expect_record(&r, SMMUV3_C_BAD_STE);
	/* It is removed while it is blocked: its StreamID is free as after any removal. */
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	assert_int_equal(p->ops->dev_del(p->s, p->dev), 0);
	p->dev = NULL;
	expect_status(&r, r.other, PMD_VA, SMMUV3_MODEL_ABORTED);
	expect_record(&r, SMMUV3_C_BAD_STE);
	block_close(&r);
}

static void
test_a_blocked_device_aborts_until_it_is_unblocked(void **state)
{
	(void)state;
	check_block(IOPF_STALL, SMMUV3_STALL_MODEL_BOTH);
	check_block(IOPF_STALL, SMMUV3_STALL_MODEL_FORCED);
	check_block(IOPF_TERMINATE, SMMUV3_STALL_MODEL_TERM);
}

/* A device that stalls, with one attachment, which is returned. */
static void *
open_attached(struct breaker_rig *r)
{
	struct pmd *p = &r->p;
	void *attachment;

	memset(r, 0, sizeof(*r));
	breaker_open(r, &breaker_kinds[0]);
	assert_int_equal(p->ops->attach(p->s, p->dev, PASID, r->domain, &attachment), 0);
	return attachment;
}

static void
close_attached(struct breaker_rig *r, void *attachment)
{
	struct pmd *p = &r->p;

	assert_int_equal(p->ops->detach(p->s, attachment), 0);
	p->ops->domain_del(p->s, r->domain);
	breaker_close(r);
}

static void
test_a_step_that_fails_is_made_again(void **state)
{
	struct breaker_rig r;
	struct pmd *p = &r.p;
	void *attachment;

	(void)state;
	attachment = open_attached(&r);
	breaker_arm(p, STUCK, 0);
	breaker.quiet = true;
	assert_int_equal(p->ops->stall_set(p->s, attachment, false), -ETIMEDOUT);
	breaker_repair(p);
	assert_int_equal(p->ops->stall_set(p->s, attachment, false), 0);
	/* The STE, STALL_TERM. */
	for (unsigned int n = 0; n < 2; n++) {
		breaker_arm(p, STUCK, n);
		breaker.quiet = true;
		assert_int_equal(p->ops->dev_block(p->s, p->dev, true), -ETIMEDOUT);
		breaker_repair(p);
	}
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 0);
	breaker_arm(p, STUCK, 0);
	breaker.quiet = true;
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), -ETIMEDOUT);
	breaker_repair(p);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 1);
	close_attached(&r, attachment);
}

/*
 * The SMMU does not consume commands, among which answers to the stalls that the block has ended may
 * be: no access stalls yet.
 */
static void
test_no_access_passes_before_the_answers_are_consumed(void **state)
{
	struct breaker_rig r;
	struct pmd *p = &r.p;
	void *attachment;

	(void)state;
	attachment = open_attached(&r);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	breaker_arm(p, STUCK, 0);
	breaker.quiet = true;
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), -ETIMEDOUT);
	assert_int_equal(breaker_write_all(&r, NEW), 0);
	breaker_repair(p);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 1);
	close_attached(&r, attachment);
}

/* Each CMD_SYNC of the removal fails once; each time the device is attached again instead. */
static void
test_a_removal_that_fails_ends_no_block(void **state)
{
	struct breaker_rig r;
	struct pmd *p = &r.p;
	void *attachment;

	(void)state;
	attachment = open_attached(&r);
	assert_int_equal(p->ops->dev_block(p->s, p->dev, true), 0);
	/* The STE that aborts, STALL_TERM, answers from before, the STE that is not valid. */
	for (unsigned int n = 1; n <= 4; n++) {
		assert_int_equal(p->ops->detach(p->s, attachment), 0);
		breaker_arm(p, STUCK, n);
		breaker.quiet = true;
		assert_int_equal(p->ops->dev_del(p->s, p->dev), -ETIMEDOUT);
		assert_true(breaker.hit);
		breaker_repair(p);
		assert_int_equal(p->ops->attach(p->s, p->dev, PASID, r.domain, &attachment), 0);
		assert_int_equal(breaker_write_all(&r, NEW), 0);
	}
	assert_int_equal(p->ops->dev_block(p->s, p->dev, false), 0);
	assert_int_equal(breaker_write_all(&r, NEW), 1);
	close_attached(&r, attachment);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_accesses_abort_with_a_record_until_they_stall_again),
	cmocka_unit_test(test_an_attach_stalls_again),
	cmocka_unit_test(test_a_smmu_that_can_only_stall_refuses),
	cmocka_unit_test(test_accesses_that_never_stall_are_left_alone),
	cmocka_unit_test(test_a_blocked_device_aborts_until_it_is_unblocked),
	cmocka_unit_test(test_a_step_that_fails_is_made_again),
	cmocka_unit_test(test_no_access_passes_before_the_answers_are_consumed),
	cmocka_unit_test(test_a_removal_that_fails_ends_no_block),
};

TEST_SUITE(pmd_block, tests, NULL, NULL);
