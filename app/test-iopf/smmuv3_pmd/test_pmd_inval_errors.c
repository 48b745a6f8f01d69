/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 10: the result of an array that fails, at chosen places. The prefix is what was issued
 * and covered by a completed CMD_SYNC: neither all before the error, issued or not, nor all but the
 * last of the batch that failed. The suite inval_arrays has the same at random places.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include <rte_cycles.h>

#include "cmd_trace.h"
#include "pmd_s2_rig.h"
#include "test.h"
#include "topo_rig.h"

#define NB	300		/* single pages: a command each, five batches */

static struct cmd_trace trace;
static struct iopf_inv inv[NB];

static struct {
	struct smmuv3_model *m;
	enum smmuv3_model_knob knob;
	uint32_t value;
} injected;

static void
inject(void *ctx)
{
	(void)ctx;
	smmuv3_model_knob(injected.m, injected.knob, injected.value);
}

static void
inject_at(struct smmuv3_model *m, unsigned int at, enum smmuv3_model_knob knob, uint32_t value)
{
	injected.m = m;
	injected.knob = knob;
	injected.value = value;
	cmd_trace_begin(&trace, at, inject, NULL);
}

static void
make_array(void)
{
	for (unsigned int i = 0; i < NB; i++)
		inv[i] = (struct iopf_inv){ .addr = (uint64_t)i << 13, .size = 4096,
			.leaf_only = true };
}

static void
test_requests_behind_a_refused_one_are_not_counted(void **state)
{
	static const unsigned int bad[] = { 0, 1, 63, 64, 100, 127, 128, NB - 1 };
	struct iopf_inv_result r;
	struct pmd p;

	(void)state;
	make_array();
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	cmd_trace_open(&trace, p.m);
	for (unsigned int k = 0; k < RTE_DIM(bad); k++) {
		unsigned int batch = bad[k] / SMMUV3_CHUNK;

		/* With the CMD_SYNCs of the batches before. */
		inject_at(p.m, bad[k] + batch, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
		assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, NB, &r), -EIO);
		cmd_trace_end(&trace);
		assert_int_equal(r.done, bad[k]);
		assert_int_equal(r.failed, bad[k]);
		assert_int_equal(r.error, IOPF_INV_ILL);
		/* The rest of the batch was executed, and no further one issued. */
		assert_int_equal(trace.n, RTE_MIN((batch + 1) * SMMUV3_CHUNK, (unsigned int)NB) - 1);
	}
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_a_batch_without_a_completed_sync_is_not_counted(void **state)
{
	struct iopf_inv_result r;
	struct pmd p;

	(void)state;
	make_array();
	/* Small: the SMMU stops within the batch, as it reads a part of it at a time. */
	pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = 3 });
	pmd_start(&p, IOPF_STALL);
	cmd_trace_open(&trace, p.m);
	inject_at(p.m, 2 * (SMMUV3_CHUNK + 1) + 50, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	p.s->timeout = rte_get_tsc_hz() / 1000;
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, NB, &r), -ETIMEDOUT);
	cmd_trace_end(&trace);
	assert_in_range(trace.n, 2 * SMMUV3_CHUNK + 50, 3 * SMMUV3_CHUNK - 1);
	assert_int_equal(r.done, 2 * SMMUV3_CHUNK);
	assert_int_equal(r.failed, 2 * SMMUV3_CHUNK);
	assert_int_equal(r.error, IOPF_INV_TIMEOUT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	p.s->timeout = rte_get_tsc_hz();
	/* The same for a queue that cannot be read any more. */
	assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, NULL, 0, NULL), 0);
	inject_at(p.m, 3 * (SMMUV3_CHUNK + 1) + 40, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, NB, &r), -EIO);
	cmd_trace_end(&trace);
	assert_int_equal(trace.n, 3 * SMMUV3_CHUNK + 40);
	assert_int_equal(r.done, 3 * SMMUV3_CHUNK);
	assert_int_equal(r.failed, 3 * SMMUV3_CHUNK);
	assert_int_equal(r.error, IOPF_INV_ABT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, NB, &r), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

struct waiter {
	struct pmd *p;
	struct iopf_inv_result r;
	_Atomic unsigned int rounds;
	pthread_t thread;
	int ret;
};

static void *
invalidate_until_error(void *arg)
{
	struct waiter *w = arg;

	do {
		w->ret = w->p->ops->invalidate(w->p->s, w->p->domain, inv, NB, &w->r);
		atomic_fetch_add(&w->rounds, 1);
	} while (w->ret == 0);
	return NULL;
}

/* SMMUV3_ABT_RETRIES later the SMMU has failed, and each call that waits ends. */
static void
test_all_arrays_that_wait_are_told_that_the_queue_is_given_up(void **state)
{
	struct waiter w[4];
	struct pmd p;

	(void)state;
	make_array();
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	p.s->timeout *= 60;
	assert_int_equal(smmuv3_model_start(p.m, -1), 0);
	for (unsigned int i = 0; i < RTE_DIM(w); i++) {
		w[i] = (struct waiter){ .p = &p };
		assert_int_equal(pthread_create(&w[i].thread, NULL, invalidate_until_error,
				&w[i]), 0);
	}
	for (unsigned int i = 0; i < RTE_DIM(w); i++)
		while (atomic_load(&w[i].rounds) < 3)
			sched_yield();
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
	for (unsigned int i = 0; i < RTE_DIM(w); i++) {
		pthread_join(w[i].thread, NULL);
		assert_int_equal(w[i].ret, -EIO);
		assert_int_equal(w[i].r.error, IOPF_INV_ABT);
		assert_true(w[i].r.done < NB && w[i].r.done % SMMUV3_CHUNK == 0);
	}
	assert_true(p.ops->check(p.s) & IOPF_CHECK_DEAD);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, NB, &w[0].r), 0);
	assert_int_equal(smmuv3_model_stop(p.m), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* With nested domains no IPA is complete before TLBI_NH_ALL is: see inv_combined(). */
static void
test_the_parent_of_nested_domains_needs_all_its_commands(void **state)
{
	struct smmuv3_domain *domain;
	struct pmd_s2_space s;
	struct iopf_inv_result r;
	struct pmd p;

	(void)state;
	make_array();
	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	domain = s.domain;
	cmd_trace_open(&trace, p.m);
	for (unsigned int nested = 0; nested < 2; nested++) {
		atomic_store(&domain->nb_nested, nested);
		/* TLBI_S2_IPA */
		inject_at(p.m, 2, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
		assert_int_equal(p.ops->invalidate(p.s, domain, inv, 4, &r), -EIO);
		assert_int_equal(r.done, 2);
		assert_int_equal(r.failed, 2);
		assert_int_equal(r.error, IOPF_INV_ILL);
		/* TLBI_NH_ALL, behind these and a CMD_SYNC */
		inject_at(p.m, 5, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
		r.done = 77;
		assert_int_equal(p.ops->invalidate(p.s, domain, inv, 4, &r), nested ? -EIO : 0);
		cmd_trace_end(&trace);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ILL, 0);
		if (nested) {
			assert_int_equal(r.done, 0);
			assert_int_equal(r.failed, 0);
			assert_int_equal(r.error, IOPF_INV_ILL);
		}
	}
	atomic_store(&domain->nb_nested, 0);
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

static void
test_of_several_iommus_the_least_prefix_counts(void **state)
{
	/* No device accesses it. */
	static _Alignas(4096) uint8_t root[4096];
	const struct iopf_domain_conf conf = { .handler = topo_handler, .translation = {
		.format = IOPF_FORMAT_ARM64_S1, .va_bits = 48, .granule_log2 = 12,
		.root = (uintptr_t)root } };
	struct iopf_inv_result r;

	(void)state;
	make_array();
	topo_open(3, &conf);
	cmd_trace_open(&trace, topo.smmu[1]->model);
	inject_at(topo.smmu[1]->model, 4, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
	assert_int_equal(iopf_invalidate(topo.domain, inv, 10, &r), -EIO);
	assert_int_equal(r.done, 4);
	assert_int_equal(r.failed, 4);
	assert_int_equal(r.error, IOPF_INV_ILL);
	/* The kind is that of the least prefix: of an IOMMU behind it, or before it. */
	for (unsigned int i = 0; i < 3; i += 2) {
		inject_at(topo.smmu[1]->model, 4, SMMUV3_MODEL_KNOB_CMD_ILL, 1);
		smmuv3_model_knob(topo.smmu[i]->model, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
		assert_int_equal(iopf_invalidate(topo.domain, inv, 10, &r), -EIO);
		assert_int_equal(r.done, 0);
		assert_int_equal(r.failed, 0);
		assert_int_equal(r.error, IOPF_INV_ABT);
		smmuv3_model_knob(topo.smmu[i]->model, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);
		assert_int_equal(iopf_iommu_stop(topo.smmu[i]->iommu), 0);
		assert_int_equal(iopf_iommu_start(topo.smmu[i]->iommu), 0);
	}
	cmd_trace_begin(&trace, CMD_TRACE_NEVER, NULL, NULL);
	cmd_trace_end(&trace);
	assert_int_equal(iopf_invalidate(topo.domain, inv, 10, &r), 0);
	assert_int_equal(r.done, 10);
	assert_int_equal(r.failed, 10);
	assert_int_equal(r.error, IOPF_INV_OK);
	topo_close();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_requests_behind_a_refused_one_are_not_counted),
	cmocka_unit_test(test_a_batch_without_a_completed_sync_is_not_counted),
	cmocka_unit_test(test_all_arrays_that_wait_are_told_that_the_queue_is_given_up),
	cmocka_unit_test(test_the_parent_of_nested_domains_needs_all_its_commands),
	cmocka_unit_test(test_of_several_iommus_the_least_prefix_counts),
};

TEST_SUITE(pmd_inval_errors, tests, NULL, NULL);
