/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contract 15: threads that attach and detach devices do not wait for each other. */

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "breaker_rig.h"
#include "iopf_handler.h"
#include "smmuv3_model_test.h"
#include "test.h"

/*
 * A thread stays inside the driver at its at-th CMD_SYNC while others attach and detach: they must
 * not wait for it. No other thread runs before that, so all commands are its own.
 */
static struct {
	struct pmd *p;
	const struct smmuv3_backend *real;
	struct smmuv3_backend backend;
	pthread_t thread;
	unsigned int at, syncs;
	uint64_t prod;
	_Atomic bool held, open, ended;
	void *dev, *domain;
} slow;

static _Thread_local bool is_slow;

static void
hold_slow_thread(void *ctx)
{
	uint64_t prod = atomic_load(&slow.p->s->cmdq.prod);

	if (is_slow && prod != slow.prod && ++slow.syncs == slow.at) {
		atomic_store(&slow.held, true);
		while (!atomic_load(&slow.open))
			sched_yield();
	}
	if (is_slow)
		slow.prod = prod;
	slow.real->wait(ctx);
}

static void *
attach_and_detach_slowly(void *arg)
{
	struct pmd *p = slow.p;
	intptr_t bad = 0;

	(void)arg;
	is_slow = true;
	bad |= rig_attach(p->ops, p->s, slow.dev, PASID, slow.domain) != 0;
	bad |= rig_detach(p->ops, p->s, slow.dev, PASID) != 0;
	atomic_store(&slow.ended, true);
	return (void *)bad;
}

/* Devices of one thread, and a domain that all threads use. */
struct other {
	struct pmd *p;
	void *domain;
	uint32_t sid;
	enum iopf_recover recover;
	unsigned int rounds;
};

/* A stage-2 domain of its own: VMIDs are shared out as ASIDs are. Its devices do no DMA. */
static bool
cycle_stage2(struct pmd *p, void *dev)
{
	const struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S2,
		.root = (uintptr_t)p->root, .va_bits = 48, .granule_log2 = p->granule_log2 };
	void *domain;

	if (p->ops->domain_add(p->s, &tr, NULL, &domain) != 0 ||
			rig_attach(p->ops, p->s, dev, IOPF_NO_PASID, domain) != 0 ||
			rig_detach(p->ops, p->s, dev, IOPF_NO_PASID) != 0)
		return false;
	p->ops->domain_del(p->s, domain);
	return true;
}

static void *
cycle_devices(void *arg)
{
	const struct other *o = arg;
	const struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	const uint32_t sids[2] = { o->sid, o->sid + 0x200 };
	const struct iopf_dev_conf conf = { .sids = sids, .nb_sids = 2, .nb_pasids = 128,
		.recover = o->recover };
	struct pmd *p = o->p;
	void *dev, *own;

	for (unsigned int i = 0; i < o->rounds; i++)
		if (p->ops->dev_add(p->s, &conf, &dev) != 0 ||
				p->ops->domain_add(p->s, &none, NULL, &own) != 0 ||
				rig_attach(p->ops, p->s, dev, 100, o->domain) != 0 ||
				rig_attach(p->ops, p->s, dev, IOPF_NO_PASID, own) != 0 ||
				rig_detach(p->ops, p->s, dev, 100) != 0 ||
				rig_detach(p->ops, p->s, dev, IOPF_NO_PASID) != 0 ||
				!cycle_stage2(p, dev) || p->ops->dev_del(p->s, dev) != 0)
			return (void *)1;
		else
			p->ops->domain_del(p->s, own);
	return NULL;
}

static void
open_for_threads(struct pmd *p)
{
	pmd_open(p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI | SMMUV3_MODEL_S2,
		.choices = SMMUV3_MODEL_STICKY_TLB,
		.harsh = HARSH });
	p->s->timeout *= 60;
	assert_int_equal(p->ops->start(p->s), 0);
	p->domain = breaker_add_domain(p);
	pmd_map(p, VA, pmd_alloc(p, 1 << 16, 1 << 16));
}

/* Contract 15: the ATC of one device does not answer. */
static void
test_control_calls_do_not_wait_for_a_slow_device(void **state)
{
	const uint32_t sid = PMD_SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 8,
		.recover = IOPF_PRI };
	struct smmuv3_model_dma *dma;
	struct timespec until;
	struct pmd p;
	bool held = true;
	void *bad;

	(void)state;
	for (unsigned int at = 1; held; at++) {
		struct other other = { &p, NULL, 0x100, at % 2 ? IOPF_STALL : IOPF_PRI, 3 };
		pthread_t thread;

		open_for_threads(&p);
		other.domain = p.domain;
		slow.p = &p;
		slow.domain = p.domain;
		slow.real = p.s->backend;
		slow.backend = *slow.real;
		slow.backend.wait = hold_slow_thread;
		slow.at = at;
		slow.syncs = 0;
		atomic_store(&slow.held, false);
		atomic_store(&slow.open, false);
		atomic_store(&slow.ended, false);
		assert_int_equal(p.ops->dev_add(p.s, &conf, &slow.dev), 0);
		assert_int_equal(rig_attach(p.ops, p.s, slow.dev, KEEPER, p.domain), 0);
		dma = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.has_ssid = true, .ssid = KEEPER, .kind = SMMUV3_MODEL_DMA_ATS });
		assert_int_equal(smmuv3_model_dma_ats_enable(dma, 12), 0);
		assert_int_equal(smmuv3_model_start(p.m, -1), 0);
		slow.prod = atomic_load(&p.s->cmdq.prod);
		p.s->backend = &slow.backend;
		assert_int_equal(pthread_create(&slow.thread, NULL, attach_and_detach_slowly,
				NULL), 0);
		while (!atomic_load(&slow.held) && !atomic_load(&slow.ended))
			sched_yield();
		held = atomic_load(&slow.held);
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);

		assert_int_equal(pthread_create(&thread, NULL, cycle_devices, &other), 0);
		assert_int_equal(clock_gettime(CLOCK_REALTIME, &until), 0);
		until.tv_sec += 120;
		if (pthread_timedjoin_np(thread, &bad, &until) != 0)
			fail_msg("a thread is held at wait %u, and other threads wait for it", at);
		assert_null(bad);
		assert_int_equal(atomic_load(&slow.ended), !held);

		atomic_store(&slow.open, true);
		assert_int_equal(pthread_join(slow.thread, &bad), 0);
		/* An attach that finds its ATC dead fails, and there is nothing to detach. */
		if (!held)
			assert_null(bad);
		smmuv3_model_dma_quirks(dma, 0, 0);
		p.s->backend = slow.real;
		assert_int_equal(smmuv3_model_stop(p.m), 0);
		smmuv3_model_dma_reset(dma);
		smmuv3_model_dma_destroy(dma);
		assert_int_equal(rig_detach(p.ops, p.s, slow.dev, KEEPER), 0);
		assert_int_equal(breaker_count_atcs(&p), 0);
		assert_int_equal(p.ops->dev_del(p.s, slow.dev), 0);
		p.ops->domain_del(p.s, p.domain);
		assert_int_equal(p.ops->stop(p.s), 0);
		pmd_close(&p);
		assert_in_range(at, 1, MAX_SYNCS);
	}
}

/* TSan and the model's logs find the errors here. */
static void
test_threads_attach_devices_of_their_own(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = 1 << 12 };
	struct other others[3];
	pthread_t threads[3];
	struct iopf_inv_result result;
	struct pmd p;
	void *bad;

	(void)state;
	open_for_threads(&p);
	assert_int_equal(smmuv3_model_start(p.m, -1), 0);
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		others[i] = (struct other){ &p, p.domain, 0x10 + i,
			i == 0 ? IOPF_STALL : IOPF_PRI, 50 };
		assert_int_equal(pthread_create(&threads[i], NULL, cycle_devices, &others[i]), 0);
	}
	for (unsigned int i = 0; i < 200; i++) {
		assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), 0);
		p.ops->answer_after(p.s, p.domain, &inv, 1, NULL, 0);
		p.ops->check(p.s);
	}
	for (unsigned int i = 0; i < RTE_DIM(threads); i++) {
		assert_int_equal(pthread_join(threads[i], &bad), 0);
		assert_null(bad);
	}
	assert_int_equal(smmuv3_model_stop(p.m), 0);
	assert_int_equal(breaker_count_atcs(&p), 0);
	p.ops->domain_del(p.s, p.domain);
	assert_int_equal(p.ops->stop(p.s), 0);
	pmd_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_control_calls_do_not_wait_for_a_slow_device),
	cmocka_unit_test(test_threads_attach_devices_of_their_own),
};

TEST_SUITE(pmd_attach_threads, tests, NULL, NULL);
