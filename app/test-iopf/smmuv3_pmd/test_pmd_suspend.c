/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 12 in the driver: what is not invalidated while the SMMU is suspended is made good by
 * the resume, and no register is accessed in between. Without a loss of power the model keeps its
 * caches; with one an access of a register is SIGSEGV.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ats_rig.h"
#include "iopf_handler.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define STICKY (&(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB })
#define MAPPERS	4

/* With a command queue for each thread. */
static const struct smmuv3_model_conf ecmdq_conf = {
	.features = SMMUV3_MODEL_ECMDQ,
	.choices = SMMUV3_MODEL_STICKY_TLB,
};

/* The host's power stays on. */
static void
suspend(struct pmd *p, bool power_off)
{
	assert_int_equal(p->ops->suspend(p->s, false), 0);
	if (power_off && !backend_rig_is_relay())
		assert_int_equal(smmuv3_model_power_off(p->m), 0);
}

static void
resume(struct pmd *p, bool power_on)
{
	if (power_on && !backend_rig_is_relay())
		assert_int_equal(smmuv3_model_power_on(p->m), 0);
	assert_int_equal(p->ops->resume(p->s), 0);
}

static enum smmuv3_model_status
write_byte(struct pmd *p, uint64_t va, uint8_t byte)
{
	pmd_write(p, va, &byte, 1);
	return pmd_wait_done(p);
}

static void *
map_new(struct pmd *p, uint64_t va)
{
	size_t size = (size_t)1 << p->granule_log2;
	void *page = pmd_alloc(p, size, size);

	pmd_map(p, va, page);
	return page;
}

static int
invalidate_page(struct pmd *p, uint64_t va)
{
	const struct iopf_inv inv = { .addr = va, .size = 1u << p->granule_log2 };
	struct iopf_inv_result result = { .done = 1 };
	int ret = p->ops->invalidate(p->s, p->domain, &inv, 1, &result);

	assert_int_equal(result.done, ret == 0);
	return ret;
}

static void
test_an_unmap_while_suspended_is_made_good(void **state)
{
	struct iopf_event event;
	uint64_t commands;
	uint8_t byte = 1;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < 4; i++) {
		bool off = i & 1;
		const struct smmuv3_model_conf *conf = i & 2 ? &ecmdq_conf : STICKY;

		if (backend_rig_lacks(conf))
			continue;
		pmd_open(&p, conf);
		pmd_start(&p, IOPF_STALL);
		map_new(&p, PMD_VA);
		assert_int_equal(write_byte(&p, PMD_VA, 1), SMMUV3_MODEL_OK);
		suspend(&p, off);
		commands = pmd_read_stat(&p, "commands");
		*pmd_get_pte(&p, PMD_VA) = 0;
		assert_int_equal(invalidate_page(&p, PMD_VA), 0);
		assert_int_equal(pmd_read_stat(&p, "commands"), commands);
		assert_int_equal(write_byte(&p, PMD_VA, 1), SMMUV3_MODEL_ABORTED);
		resume(&p, off);
		/* The access faults: no entry is left from before. */
		pmd_write(&p, PMD_VA, &byte, 1);
		pmd_wait_event(&p, &event);
		assert_int_equal(event.addr, PMD_VA);
		map_new(&p, PMD_VA);
		pmd_answer(&p, &event, IOPF_SUCCESS);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* A detach while suspended releases the ASID and the CD, and another domain gets both. */
static void
test_an_asid_and_a_cd_are_used_again_after_the_resume_only(void **state)
{
	struct smmuv3_domain *domain;
	struct iopf_translation tr;
	uint8_t *first, *second;
	uint16_t asid;
	struct pmd p;

	(void)state;
	for (unsigned int off = 0; off < 2; off++) {
		pmd_open(&p, STICKY);
		pmd_start(&p, IOPF_STALL);
		domain = p.domain;
		asid = domain->asid;
		first = map_new(&p, PMD_VA);
		assert_int_equal(write_byte(&p, PMD_VA, 1), SMMUV3_MODEL_OK);
		suspend(&p, off);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		tr = domain->tr;
		p.ops->domain_del(p.s, p.domain);
		p.root = pmd_alloc(&p, (size_t)1 << p.granule_log2, (size_t)1 << p.granule_log2);
		tr.root = (uintptr_t)p.root;
		/* All others were given out meanwhile. */
		p.s->asids.next = asid;
		assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &p.domain), 0);
		domain = p.domain;
		assert_int_equal(domain->asid, asid);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
		second = map_new(&p, PMD_VA);
		assert_int_equal(write_byte(&p, PMD_VA, 2), SMMUV3_MODEL_ABORTED);
		resume(&p, off);
		assert_int_equal(write_byte(&p, PMD_VA, 3), SMMUV3_MODEL_OK);
		assert_int_equal(*first, 1);
		assert_int_equal(*second, 3);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* The endpoint keeps ATS on and its ATC: the driver alone makes the invalidation good. */
static void
test_an_atc_is_empty_after_the_resume(void **state)
{
	struct smmuv3_model_dma *dma;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 0);
	domain = ats_add_domain(&p);
	ats_attach(&p, dev, IOPF_NO_PASID, domain);
	dma = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
	ats_map(&p, VA);
	assert_true(ats_can_reach(&p, dma, VA));
	suspend(&p, false);
	ats_unmap(&p, VA);
	ats_invalidate_page(&p, domain, VA);
	resume(&p, false);
	assert_false(ats_can_reach(&p, dma, VA));
	smmuv3_model_dma_destroy(dma);
	ats_detach(&p, dev, IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

/* Each operation of a driver that the library may call while the SMMU is suspended. */
static void
use_everything(struct pmd *p)
{
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 1u << p->granule_log2 };
	const struct iopf_answer answer = { .sid = PMD_SID, .pasid = IOPF_NO_PASID,
		.code = IOPF_INVALID };
	const struct iopf_translation none = { .format = IOPF_FORMAT_NONE };
	const uint32_t sid = 0x201;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .nb_pasids = 4 };
	void *dev, *domain, *a, *next, *memory;
	struct iopf_event events[4];
	uint64_t addr, mark;
	const char *name;
	FILE *f = fopen("/dev/null", "w");

	assert_non_null(f);
	for (unsigned int i = 0; i < 200; i++) {
		for (uint16_t q = 0; q < p->info.nb_queues; q++) {
			assert_int_equal(p->ops->poll(p->s, q, events, 4), 0);
			mark = p->ops->queue_mark(p->s, q);
			assert_true(p->ops->queue_passed(p->s, q, mark));
			p->ops->peek(p->s, q);
		}
		assert_int_equal(p->ops->check(p->s), 0);
		p->ops->wait(p->s);
	}
	assert_false(p->ops->is_recovering(p->s));
	for (unsigned int i = 0; i < p->info.nb_stats; i++)
		p->ops->stat(p->s, i, &name);
	p->ops->dump(p->s, f);
	assert_int_equal(p->ops->answer(p->s, &answer, 1), 1);
	assert_int_equal(p->ops->answer_after(p->s, p->domain, &inv, 1, &answer, 1), 1);
	assert_int_equal(p->ops->sync(p->s), 0);
	assert_int_equal(invalidate_page(p, PMD_VA), 0);
	assert_int_equal(p->ops->dev_add(p->s, &conf, &dev), 0);
	assert_int_equal(p->ops->domain_add(p->s, &none, NULL, &domain), 0);
	assert_int_equal(p->ops->attach(p->s, dev, 1, p->domain, &a), 0);
	assert_int_equal(p->ops->stall_set(p->s, a, false), 0);
	assert_int_equal(p->ops->stall_set(p->s, a, true), 0);
	assert_int_equal(p->ops->replace(p->s, a, domain, &next), 0);
	assert_int_equal(p->ops->dev_block(p->s, dev, true), 0);
	assert_int_equal(p->ops->dev_block(p->s, dev, false), 0);
	assert_int_equal(p->ops->dev_usable(p->s, dev), 0);
	assert_int_equal(p->ops->detach(p->s, next), 0);
	assert_int_equal(p->ops->dev_del(p->s, dev), 0);
	p->ops->domain_del(p->s, domain);
	memory = aligned_alloc(4096, 4096);
	assert_int_equal(p->ops->dma_map(p->s, memory, 4096, &addr), 0);
	assert_int_equal(p->ops->dma_unmap(p->s, memory, 4096, addr), 0);
	free(memory);
	fclose(f);
}

static void
test_no_operation_accesses_a_register_while_suspended(void **state)
{
	struct pmd p;

	(void)state;
	backend_rig_skip_page("the driver's own mapping of the registers has no power switch");
	for (unsigned int i = 0; i < 3; i++) {
		pmd_open(&p, i == 0 ? NULL : i == 1 ? &ats_conf : &ecmdq_conf);
		pmd_start(&p, IOPF_STALL);
		pmd_serve_fault(&p, PMD_VA);
		suspend(&p, true);
		use_everything(&p);
		resume(&p, true);
		pmd_serve_fault(&p, PMD_VA + (1 << 16));
		suspend(&p, true);
		use_everything(&p);
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		p.ops->domain_del(p.s, p.domain);
		assert_int_equal(p.ops->dev_del(p.s, p.dev), 0);
		smmuv3_model_dma_destroy(p.dma);
		pmd_close(&p);
	}
}

/* What close restores is a register. */
static void
test_close_while_suspended_restores_nothing(void **state)
{
	struct pmd p;

	(void)state;
	assert_int_equal(pmd_try_open(&p, NULL, ",close=restore"), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	suspend(&p, true);
	assert_int_equal(p.ops->close(p.s), 0);
	backend_rig_destroy(&p.backend);
}

static void
test_dma_passes_while_suspended_only_with_the_unsafe_flag(void **state)
{
	struct pmd p;
	uint8_t *page;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	page = map_new(&p, PMD_VA);
	for (unsigned int bypass = 0; bypass < 2; bypass++) {
		assert_int_equal(p.ops->suspend(p.s, bypass), 0);
		assert_int_equal(write_byte(&p, (uintptr_t)page, 3 + bypass),
				bypass ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
		assert_int_equal(*page, bypass ? 4 : 0);
		assert_int_equal(p.ops->resume(p.s), 0);
		assert_true(smmuv3_read32(p.s->regs, SMMUV3_GBPA) & SMMUV3_GBPA_ABORT);
	}
	assert_int_equal(write_byte(&p, PMD_VA, 9), SMMUV3_MODEL_OK);
	assert_int_equal(*page, 9);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* Two stalls fill the queue: they are no events, and an event after them finds no room. */
static void
test_a_suspend_tells_of_events_that_an_overflow_lost(void **state)
{
	struct smmuv3_model_dma *stranger;
	struct smmuv3_model_done done;
	uint8_t byte = 1;
	const struct smmuv3_model_op op = { .type = SMMUV3_MODEL_WRITE, .addr = PMD_VA,
		.buf = &byte, .len = 1 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){ .evtq_log2 = 1 });
	pmd_start(&p, IOPF_STALL);
	stranger = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = 77 });
	for (int lost = 0; lost < 2; lost++) {
		pmd_write(&p, PMD_VA, &byte, 1);
		pmd_write(&p, PMD_VA, &byte, 1);
		pmd_step(&p);
		if (lost)
			assert_int_equal(smmuv3_model_dma_submit(stranger, &op), 0);
		pmd_step(&p);
		assert_int_equal(p.ops->suspend(p.s, false), lost);
		resume(&p, false);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	}
	assert_int_equal(smmuv3_model_dma_poll(stranger, &done, 1), 1);
	smmuv3_model_dma_destroy(stranger);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_suspend_that_fails_can_be_followed_by_a_stop(void **state)
{
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	map_new(&p, PMD_VA);
	p.s->timeout /= 20;
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 1);
	assert_int_equal(p.ops->suspend(p.s, true), -ETIMEDOUT);
	/* It still translates. */
	assert_int_equal(write_byte(&p, PMD_VA, 1), SMMUV3_MODEL_OK);
	assert_true(invalidate_page(&p, PMD_VA) < 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_NO_ACK, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_true(smmuv3_read32(p.s->regs, SMMUV3_GBPA) & SMMUV3_GBPA_ABORT);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* A caller finds the SMMU off, and does not go on before it is resumed. */
static struct {
	struct pmd *p;
	const struct smmuv3_cmdq_ops *real;
} slow;

static int
resume_before_closed_error(void *ctx)
{
	resume(slow.p, true);
	return slow.real->closed_error(ctx);
}

static void
test_a_caller_that_found_it_off_succeeds_after_the_resume(void **state)
{
	struct smmuv3_cmdq_ops ops;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	slow.p = &p;
	slow.real = p.s->cmdq.ops;
	ops = *slow.real;
	ops.closed_error = resume_before_closed_error;
	suspend(&p, true);
	p.s->cmdq.ops = &ops;
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
	p.s->cmdq.ops = slow.real;
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

struct mapper {
	struct pmd *p;
	uint64_t va;
	uint64_t *pte, entry;
	_Atomic bool *end;
	uint64_t calls, errors;
};

static void *
map_and_unmap(void *arg)
{
	struct mapper *m = arg;

	while (!atomic_load_explicit(m->end, memory_order_relaxed)) {
		__atomic_store_n(m->pte, m->entry, __ATOMIC_RELEASE);
		__atomic_store_n(m->pte, 0, __ATOMIC_RELEASE);
		m->errors += invalidate_page(m->p, m->va) != 0;
		m->calls++;
	}
	return NULL;
}

/* More threads than processors: some are preempted between any two instructions. */
static void
map_while_it_suspends(const struct smmuv3_model_conf *conf)
{
	struct mapper mappers[MAPPERS];
	pthread_t threads[MAPPERS];
	_Atomic bool end = false;
	struct pmd p;

	pmd_open(&p, conf);
	p.s->timeout *= 60;
	pmd_start(&p, IOPF_STALL);
	for (unsigned int i = 0; i < MAPPERS; i++) {
		uint64_t va = PMD_VA + ((uint64_t)i << 16);

		map_new(&p, va);
		mappers[i] = (struct mapper){ .p = &p, .va = va, .pte = pmd_get_pte(&p, va),
			.entry = *pmd_get_pte(&p, va), .end = &end };
		assert_int_equal(pthread_create(&threads[i], NULL, map_and_unmap, &mappers[i]), 0);
	}
	for (unsigned int i = 0; i < 60; i++) {
		suspend(&p, true);
		usleep(2000);
		resume(&p, true);
		usleep(1000);
	}
	atomic_store(&end, true);
	for (unsigned int i = 0; i < MAPPERS; i++) {
		pthread_join(threads[i], NULL);
		assert_true(mappers[i].calls > 0);
		assert_int_equal(mappers[i].errors, 0);
	}
	p.s->timeout /= 60;
	pmd_serve_fault(&p, PMD_VA);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_threads_map_and_unmap_while_it_suspends_and_resumes(void **state)
{
	(void)state;
	map_while_it_suspends(STICKY);
	map_while_it_suspends(&ecmdq_conf);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_an_unmap_while_suspended_is_made_good),
	cmocka_unit_test(test_an_asid_and_a_cd_are_used_again_after_the_resume_only),
	cmocka_unit_test(test_an_atc_is_empty_after_the_resume),
	cmocka_unit_test(test_no_operation_accesses_a_register_while_suspended),
	cmocka_unit_test(test_close_while_suspended_restores_nothing),
	cmocka_unit_test(test_dma_passes_while_suspended_only_with_the_unsafe_flag),
	cmocka_unit_test(test_a_suspend_tells_of_events_that_an_overflow_lost),
	cmocka_unit_test(test_a_suspend_that_fails_can_be_followed_by_a_stop),
	cmocka_unit_test(test_a_caller_that_found_it_off_succeeds_after_the_resume),
	cmocka_unit_test(test_threads_map_and_unmap_while_it_suspends_and_resumes),
};

TEST_SUITE(pmd_suspend, tests, NULL, NULL);
