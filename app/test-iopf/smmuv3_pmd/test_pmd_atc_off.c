/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ATCs while SMMUEN is 0: the SMMU ignores ATC_INVs, and no stale entry may survive. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ats_rig.h"
#include "iopf_handler.h"
#include "log_lines.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_a_start_invalidates_atcs(void **state)
{
	struct smmuv3_model_dma *dma[2];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 8);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev, IOPF_NO_PASID, domain);
	ats_attach(&p, dev, 5, domain);
	dma[0] = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
	dma[1] = ats_add_engine(&p, SID, 5, false);
	assert_true(ats_can_reach(&p, dma[0], VA));
	assert_true(ats_can_reach(&p, dma[1], VA));
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_false(ats_can_reach(&p, dma[0], VA));
	ats_unmap(&p, VA);
	ats_invalidate_page(&p, domain, VA);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(ats_can_reach(&p, dma[0], VA));
	assert_false(ats_can_reach(&p, dma[1], VA));
	/* The attach happens while SMMUEN is 0. */
	ats_map(&p, VA);
	assert_true(ats_can_reach(&p, dma[1], VA));
	assert_int_equal(p.ops->stop(p.s), 0);
	ats_detach(&p, dev, 5);
	ats_detach(&p, dev, IOPF_NO_PASID);
	ats_unmap(&p, VA);
	ats_attach(&p, dev, 5, domain);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(ats_can_reach(&p, dma[1], VA));
	ats_detach(&p, dev, 5);
	smmuv3_model_dma_destroy(dma[0]);
	smmuv3_model_dma_destroy(dma[1]);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

/* Stalls were lost: SMMUEN is 0 for a while, and the SMMU ignores ATC_INVs meanwhile. */
static void
test_a_recovery_empties_all_atcs(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	const uint32_t sid = SID + 1;
	const struct iopf_dev_conf stalls = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct smmuv3_model_dma *dma, *plain;
	void *dev, *domain, *staller;
	struct iopf_event event;
	unsigned int told = 0, done;
	uint8_t byte = 1;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 4);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev, 1, domain);
	assert_int_equal(p.ops->dev_add(p.s, &stalls, &staller), 0);
	ats_attach(&p, staller, IOPF_NO_PASID, domain);
	dma = ats_add_engine(&p, SID, 1, false);
	plain = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_true(ats_can_reach(&p, dma, VA));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	p.dma = plain;
	pmd_write(&p, VA + 64 * PAGE, &byte, 1);
	for (unsigned int i = 0; i < 1000 && told == 0; i++) {
		smmuv3_model_step(p.m, 64);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	/* SMMUEN is 0 here. */
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_STOPPED);
	assert_true(p.ops->is_recovering(p.s));
	ats_unmap(&p, VA);
	/* Without check() the recovery does not continue. */
	p.s->timeout /= 20;
	SAYS("a recovery holds ATC_INVs back",
		assert_int_equal(ats_invalidate(&p, domain, VA, &done), -ETIMEDOUT));
	p.s->timeout *= 20;
	p.ops->answer_after(p.s, domain, &inv, 1, NULL, 0);
	pmd_step(&p);
	ats_finish_recovery(&p);
	assert_int_equal(p.s->recovery.step, SMMUV3_RECOVERY_NONE);
	assert_false(p.ops->is_recovering(p.s));
	assert_false(ats_can_reach(&p, dma, VA));
	p.dma = plain;
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	while (p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1) > 0)
		;
	while (p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1) > 0)
		assert_int_equal(event.flags, IOPF_EVENT_LOST);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(plain);
	ats_detach(&p, dev, 1);
	ats_detach(&p, staller, IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	p.ops->dev_del(p.s, staller);
	ats_close(&p);
}

struct waiter {
	struct pmd *p;
	void *domain;
	_Atomic bool done;
	int ret;
};

static void *
wait_for_invalidation(void *arg)
{
	struct waiter *w = arg;
	unsigned int done;

	w->ret = ats_invalidate(w->p, w->domain, VA, &done);
	atomic_store(&w->done, true);
	return NULL;
}

/* An invalidation waits for the end of a recovery. */
static void
test_an_invalidation_during_a_recovery_is_not_ignored(void **state)
{
	const uint32_t sid = SID + 1;
	const struct iopf_dev_conf stalls = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct smmuv3_model_dma *dma, *plain;
	void *dev, *domain, *staller;
	struct iopf_event event;
	struct waiter w;
	pthread_t thread;
	uint8_t byte = 1;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 4);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev, 1, domain);
	assert_int_equal(p.ops->dev_add(p.s, &stalls, &staller), 0);
	ats_attach(&p, staller, IOPF_NO_PASID, domain);
	dma = ats_add_engine(&p, SID, 1, false);
	plain = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	ats_run_model(&p);
	assert_int_equal(smmuv3_model_dma_write(dma, VA, &byte, 1), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	p.dma = plain;
	pmd_write(&p, VA + 64 * PAGE, &byte, 1);
	while (p.ops->check(p.s) != IOPF_CHECK_TERMINATED)
		sched_yield();
	ats_unmap(&p, VA);
	w = (struct waiter){ .p = &p, .domain = domain };
	assert_int_equal(pthread_create(&thread, NULL, wait_for_invalidation, &w), 0);
	for (unsigned int i = 0; i < 1000; i++)
		sched_yield();
	assert_false(atomic_load(&w.done));
	while (!atomic_load(&w.done)) {
		p.ops->check(p.s);
		sched_yield();
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.ret, 0);
	assert_int_equal(smmuv3_model_dma_write(dma, VA, &byte, 1), -EFAULT);
	while (smmuv3_model_dma_poll(plain, &(struct smmuv3_model_done){ .cookie = 0 }, 1) == 0)
		sched_yield();
	while (p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1) > 0)
		;
	assert_int_equal(smmuv3_model_stop(p.m), 0);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(plain);
	ats_detach(&p, dev, 1);
	ats_detach(&p, staller, IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	p.ops->dev_del(p.s, staller);
	ats_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_start_invalidates_atcs),
	cmocka_unit_test(test_a_recovery_empties_all_atcs),
	cmocka_unit_test(test_an_invalidation_during_a_recovery_is_not_ignored),
};

TEST_SUITE(pmd_atc_off, tests, NULL, NULL);
