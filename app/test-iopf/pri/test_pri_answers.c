/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Verdicts of handlers and their answers, with and without a worker.
 */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_pgtable.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "test.h"

#define SID	8
#define AT(page) (PCIE_VA + (uint64_t)(page) * PCIE_PAGE)

static struct pcie r;

static void
an_invalid_group_aborts_its_dma_and_leaves_pri_enabled(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_ANSWER(IOPF_INVALID);
	s.leave_unmapped = true;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_ABORTED).bytes, 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s.leave_unmapped = false;
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_INVALID), 1);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_SUCCESS), 1);
	pcie_close(&r);
}

static void
a_group_answered_success_without_a_map_is_requested_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	s.leave_unmapped = true;
	pcie_write(&r, dma, 0, 4);
	for (unsigned int i = 0; i < 5; i++) {
		pcie_run_model(&r);
		pcie_poll(&r);
	}
	assert_int_equal(s.calls, 5);
	s.leave_unmapped = false;
	pcie_run(&r);
	assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_OK).nb_groups, 6);
	pcie_close(&r);
}

static void
a_response_failure_disables_pri_until_its_restart(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;
	uint64_t groups;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_ANSWER(IOPF_FAILURE);
	s.leave_unmapped = true;
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_FAILURE), 1);
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s.leave_unmapped = false;
	groups = pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS);
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS), groups);

	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	assert_string_equal(f.log, "APpaAP");
	assert_int_equal(f.credits, 32);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 4);

	/* Without an attachment there is no PRI to restart. */
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_mute_log(true);
	assert_int_equal(iopf_dev_pri_restart(f.dev), -ENOTCONN);
	pcie_mute_log(false);
	assert_string_equal(f.log, "APpaAPpa");
	pcie_close(&r);
}

static void
a_taken_group_is_answered_once_by_its_owner(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 8);
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 8);
	pcie_run(&r);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.group.nb_faults, 8);
	assert_int_equal(iopf_domain_pending(s.domain), 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	assert_int_equal(iopf_domain_pending(s.domain), 0);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	/* PRI_RESP has no RAZ/WI: the answer is Invalid. */
	pcie_write(&r, dma, 16, 1);
	pcie_run(&r);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_RAZWI), 0);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

/* The handler maps reads read-only, so that writes need an upgrade. */
static enum iopf_verdict
upgrade_on_write(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_fault *fault = group->faults[0];
	struct pcie_space *s = ctx;
	struct pgt_unmapped out;
	struct iopf_inv iinv;
	struct pgt_inv inv;
	int rc;

	(void)domain;
	s->calls++;
	rc = pgt_resolve(s->pgt, fault->addr, (uintptr_t)s->data + fault->addr - PCIE_VA,
			fault->perm & IOPF_PERM_WRITE ? PGT_READ | PGT_WRITE : PGT_READ);
	if (rc != -EACCES) {
		assert_int_equal(rc, 0);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_protect(s->pgt, fault->addr, (uint64_t)group->nb_faults * PCIE_PAGE,
			PGT_READ | PGT_WRITE, &out), 0);
	iinv = iopf_inv_from_pgt(&inv);
	assert_int_equal(iopf_group_invalidate(group, &iinv), 0);
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_upgrade_is_answered_after_the_invalidation_of_the_atc(void **state)
{
	struct smmuv3_model_dma *dma;
	struct iopf_domain *domain;
	struct pcie_space s;
	struct pcie_fn f;
	uint64_t invs;
	uint8_t buf[8];

	(void)state;
	pcie_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB }, NULL);
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 1 });
	pcie_create_space(&r, &s);
	domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = upgrade_on_write,
		.ctx = &s,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(s.pgt),
			.va_bits = pgt_va_bits(s.pgt), .granule_log2 = pgt_granule_log2(s.pgt) },
	});
	assert_non_null(domain);
	assert_int_equal(iopf_domain_attach(domain, f.dev, IOPF_NO_PASID), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = AT(i), .buf = buf, .len = 8 }), 0);
		pcie_run(&r);
		pcie_expect_end(dma, SMMUV3_MODEL_OK);
		invs = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS);
		pcie_write(&r, dma, i, 1);
		pcie_run(&r);
		/* One group: the ATC and the TLB were invalidated before the answer. */
		assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_OK).nb_groups, 1);
		assert_true(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS) > invs);
	}
	pcie_expect_pattern(&r, &s, 0, 8);
	assert_int_equal(s.calls, 16);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_AFTER_INV), 8);
	assert_int_equal(iopf_domain_detach(domain, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	pcie_close(&r);
}

/*
 * Groups on a worker
 */

static struct {
	sem_t in, go;
	unsigned int nb;
} deferred;

static enum iopf_verdict
defer_group(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_DEFER;
}

static enum iopf_verdict
resolve_on_worker(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct pcie_space *s = ctx;

	(void)domain;
	deferred.nb = group->nb_faults;
	for (unsigned int i = 0; i < group->nb_faults; i++)
		pgt_resolve(s->pgt, group->faults[i]->addr, (uintptr_t)s->data +
				group->faults[i]->addr - PCIE_VA, PGT_READ | PGT_WRITE);
	sem_post(&deferred.in);
	sem_wait(&deferred.go);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

struct deferring {
	struct iopf_domain *domain;
	struct iopf_worker *worker;
	struct pcie_space s;
	struct pcie_fn f;
	struct smmuv3_model_dma *dma;
	_Atomic bool detached;
	int rc;
};

static void
deferring_open(struct deferring *d)
{
	pcie_open(&r, NULL, NULL);
	sem_init(&deferred.in, 0, 0);
	sem_init(&deferred.go, 0, 0);
	d->worker = iopf_worker_create(NULL);
	assert_non_null(d->worker);
	pcie_add_fn(&r, &d->f, SID, NULL);
	d->dma = pcie_create_engine(&r, &d->f,
			&(struct smmuv3_model_dma_conf){ .group_pages = 16 });
	pcie_create_space(&r, &d->s);
	d->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = defer_group,
		.deferred = resolve_on_worker,
		.worker = d->worker,
		.ctx = &d->s,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(d->s.pgt),
			.va_bits = pgt_va_bits(d->s.pgt),
			.granule_log2 = pgt_granule_log2(d->s.pgt) },
	});
	assert_non_null(d->domain);
	assert_int_equal(iopf_domain_attach(d->domain, d->f.dev, IOPF_NO_PASID), 0);
}

static void
deferring_close(struct deferring *d)
{
	assert_int_equal(iopf_domain_detach(d->domain, d->f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(d->domain), 0);
	assert_int_equal(iopf_worker_destroy(d->worker), 0);
	pcie_close(&r);
}

static void
a_deferred_group_is_whole_on_the_worker_and_answered_once(void **state)
{
	struct deferring d = { .rc = 0 };

	(void)state;
	deferring_open(&d);
	pcie_write(&r, d.dma, 0, 16);
	pcie_run(&r);
	sem_wait(&deferred.in);
	assert_int_equal(deferred.nb, 16);
	assert_int_equal(smmuv3_model_dma_outstanding(d.dma), 1);
	sem_post(&deferred.go);
	while (iopf_domain_pending(d.domain) != 0)
		usleep(100);
	pcie_run(&r);
	pcie_expect_end(d.dma, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &d.s, 0, 16);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	deferring_close(&d);
}

static void *
detach_thread(void *arg)
{
	struct deferring *d = arg;

	d->rc = iopf_domain_detach(d->domain, d->f.dev, IOPF_NO_PASID);
	atomic_store(&d->detached, true);
	return NULL;
}

static void
detach_answers_a_group_on_a_worker_and_waits_for_its_handler(void **state)
{
	struct deferring d = { .rc = 0 };
	struct smmuv3_model_done done;
	pthread_t thread;

	(void)state;
	deferring_open(&d);
	pcie_write(&r, d.dma, 0, 16);
	pcie_run(&r);
	sem_wait(&deferred.in);
	assert_int_equal(pthread_create(&thread, NULL, detach_thread, &d), 0);
	/* The detach answers while the handler runs. */
	while (smmuv3_model_dma_poll(d.dma, &done, 1) == 0)
		usleep(100);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	usleep(10000);
	assert_false(atomic_load(&d.detached));
	sem_post(&deferred.go);
	pthread_join(thread, NULL);
	assert_int_equal(d.rc, 0);
	assert_string_equal(d.f.log, "APpa");
	assert_int_equal(iopf_domain_stat(d.domain, IOPF_STAT_CANCELLED), 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	deferring_close(&d);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_invalid_group_aborts_its_dma_and_leaves_pri_enabled),
	cmocka_unit_test(a_group_answered_success_without_a_map_is_requested_again),
	cmocka_unit_test(a_response_failure_disables_pri_until_its_restart),
	cmocka_unit_test(a_taken_group_is_answered_once_by_its_owner),
	cmocka_unit_test(an_upgrade_is_answered_after_the_invalidation_of_the_atc),
	cmocka_unit_test(a_deferred_group_is_whole_on_the_worker_and_answered_once),
	cmocka_unit_test(detach_answers_a_group_on_a_worker_and_waits_for_its_handler),
};
TEST_SUITE(pri_answers, tests, NULL, NULL);
