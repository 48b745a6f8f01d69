/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Managed memory and groups of page requests: what the two handlers say of groups made by
 * hand, what they map, and that a group costs one invalidation at most; then a device of
 * the software SMMU that asks for pages, beside one that stalls.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_log.h>

#include "interpose.h"
#include "iopf_private.h"
#include "mmem.h"
#include "mmem_fault.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "pgtable.h"
#include "smmuv3_model.h"
#include "smmuv3_pmd.h"
#include "test.h"

#define SID		8
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define RW		(MMEM_READ | MMEM_WRITE)
#define TRACKED		(RW | MMEM_TRACK_WRITES | MMEM_POPULATE)
#define R		IOPF_PERM_READ
#define W		IOPF_PERM_WRITE
#define SUCCESS		IOPF_ANSWER(IOPF_SUCCESS)
#define INVALID		IOPF_ANSWER(IOPF_INVALID)
#define SUCCESS_AFTER	IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS)
#define INVALID_AFTER	IOPF_ANSWER_AFTER_INV(IOPF_INVALID)

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct mmem_pool *pool;
	struct mmem_space *space;
	unsigned int reports;
	struct mmem_report report;		/* the last */
	unsigned int invs;			/* of the deferred half and of unmaps */
	struct iopf_inv inv;			/* the last */
	_Atomic unsigned int fills;
	_Atomic int fill_result;

	/* with devices */
	struct iopf_poller *poller;
	struct iopf_dev *stalls;
	struct smmuv3_model_dma *pri_dma, *stall_dma;
	unsigned int answers_after;		/* batches behind invalidations */
	struct iopf_inv after;			/* the last of these */
} rig;

/* The driver for the SMMUv3, overheard. */
static struct iopf_driver overheard;

static int
overheard_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done)
{
	rig.invs++;
	rig.inv = inv[n - 1];
	assert_int_equal(n, 1);
	return smmuv3_pmd.ops.invalidate(priv, domain, inv, n, done);
}

static uint16_t
overheard_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n)
{
	if (n_inv != 0) {
		rig.answers_after++;
		rig.after = inv[n_inv - 1];
		assert_int_equal(n_inv, 1);
	}
	return smmuv3_pmd.ops.answer_after(priv, domain, inv, n_inv, answers, n);
}

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	(void)space;
	(void)ctx;
	rig.reports++;
	rig.report = *report;
}

static int
fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	atomic_fetch_add(&rig.fills, 1);
	memset(dst, 0x5a, len);
	return rig.fill_result;
}

static int
setup_queue(uint8_t priq_log2)
{
	static unsigned int serial;
	uint32_t sid = SID;
	char devstr[64];

	if (overheard.name == NULL) {
		overheard = smmuv3_pmd;
		overheard.name = "overheard";
		overheard.ops.invalidate = overheard_invalidate;
		overheard.ops.answer_after = overheard_answer_after;
		iopf_driver_register(&overheard);
	}
	memset(&rig, 0, sizeof(rig));
	snprintf(devstr, sizeof(devstr), "overheard,model=groups%u", serial++);
	rig.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.priq_log2 = priq_log2 });
	rig.smmu = iopf_iommu_open(devstr);
	assert_non_null(rig.smmu);
	rig.pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "g", .iommu = rig.smmu,
			.size = 16 * CHUNK, .no_hugepages = true });
	rig.space = mmem_space_create(&(struct mmem_space_conf){ .name = "g", .pool = rig.pool,
			.report = on_report });
	assert_non_null(rig.space);
	rig.dev = iopf_dev_add(rig.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_start(rig.smmu), 0);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_queue(0);
}

static int
teardown(void **state)
{
	(void)state;
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(rig.space), 0);
	assert_int_equal(iopf_dev_remove(rig.dev), 0);
	assert_int_equal(mmem_pool_destroy(rig.pool), 0);
	assert_int_equal(iopf_iommu_stop(rig.smmu), 0);
	assert_int_equal(iopf_iommu_close(rig.smmu), 0);
	assert_int_equal(smmuv3_model_driver_errors(rig.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(rig.model), 0);
	smmuv3_model_destroy(rig.model);
	return 0;
}

static uint8_t *
alloc(size_t size, unsigned int flags)
{
	uint8_t *p = mmem_alloc(rig.space, size, flags);

	assert_non_null(p);
	return p;
}

static uint8_t *
alloc_paged(size_t size)
{
	uint8_t *p = mmem_alloc_paged(rig.space, size, RW, &(struct mmem_pager){ .fill = fill });

	assert_non_null(p);
	return p;
}

static uint64_t
stat_of(enum mmem_stat stat)
{
	return mmem_stat(rig.space, stat);
}

/* What the page table lets devices do. */
static uint32_t
rights_at(const void *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(rig.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf.prot & MMEM_RIGHTS;
}

/* A group as lib/iopf hands it to a handler, and what came of it. */
struct hand {
	unsigned int nb;
	struct iopf_fault fault[IOPF_MAX_GROUP_FAULTS];
	const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
	struct iopf_pass pass;
};

static struct hand hand;

static void
clear(struct hand *h)
{
	h->nb = 0;
}

static struct iopf_fault *
want(struct hand *h, const void *addr, uint8_t perm)
{
	struct iopf_fault *f = &h->fault[h->nb];

	*f = (struct iopf_fault){ .addr = (uintptr_t)addr, .time = rte_rdtsc(), .sid = SID,
		.pasid = IOPF_NO_PASID, .perm = perm, .flags = IOPF_FAULT_PAGE_REQUEST,
		.reason = IOPF_REASON_OTHER };
	h->faults[h->nb++] = f;
	return f;
}

static void
want_pages(struct hand *h, uint8_t *addr, unsigned int n, uint8_t perm)
{
	for (unsigned int i = 0; i < n; i++)
		want(h, addr + i * PAGE, perm);
}

/* Not a page request, but a stall. */
static void
stall(struct hand *h, const void *addr, uint8_t perm, enum iopf_reason reason)
{
	struct iopf_fault *f;

	clear(h);
	f = want(h, addr, perm);
	f->flags = IOPF_FAULT_STALLED;
	f->reason = reason;
}

static struct iopf_group
group_of(struct hand *h)
{
	return (struct iopf_group){ .id = 1, .dev = rig.dev, .pasid = IOPF_NO_PASID,
		.nb_faults = (uint16_t)h->nb, .faults = h->faults, .pass = &h->pass };
}

static enum iopf_verdict
fast(struct hand *h)
{
	struct iopf_group group = group_of(h);
	enum iopf_verdict verdict;

	memset(&h->pass, 0, sizeof(h->pass));
	iopf_self.in_fast = true;
	verdict = mmem_handle_fault(mmem_space_domain(rig.space), &group, rig.space);
	iopf_self.in_fast = false;
	return verdict;
}

static enum iopf_verdict
deferred(struct hand *h)
{
	struct iopf_group group = group_of(h);
	enum iopf_verdict verdict;

	/* Taken until its bytes are there, and deferred again then: here by looking again. */
	while ((verdict = mmem_handle_deferred(mmem_space_domain(rig.space), &group, rig.space)) ==
			IOPF_TAKEN)
		sched_yield();
	return verdict;
}

static void
expect_inv(const struct iopf_inv *inv, const uint8_t *addr, size_t pages)
{
	assert_false(inv->all);
	assert_int_equal(inv->addr, (uintptr_t)addr);
	assert_int_equal(inv->size, pages * PAGE);
	assert_int_equal(inv->leaf_log2, 12);
	assert_true(inv->leaf_only);
}

/* Mapped to be read; a write raises the rights. */
static uint8_t *
tracked(unsigned int pages)
{
	uint8_t *buf = alloc(CHUNK, TRACKED);

	clear(&hand);
	want_pages(&hand, buf, pages, R);
	assert_int_equal(fast(&hand), SUCCESS);
	clear(&hand);
	return buf;
}

static void
test_pages_of_a_group_are_mapped_without_invalidation(void **state)
{
	uint8_t *buf = alloc(2 * CHUNK, RW | MMEM_POPULATE);

	(void)state;
	clear(&hand);
	want_pages(&hand, buf + CHUNK - 5 * PAGE, IOPF_MAX_GROUP_FAULTS, W);
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), IOPF_MAX_GROUP_FAULTS);
	for (unsigned int i = 0; i < IOPF_MAX_GROUP_FAULTS; i++)
		assert_int_equal(rights_at(buf + CHUNK - 5 * PAGE + i * PAGE), RW);
	/* Asked for again: joined, and nothing to invalidate. */
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), IOPF_MAX_GROUP_FAULTS);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), IOPF_MAX_GROUP_FAULTS);
	assert_int_equal(rig.invs, 0);
}

static void
test_raised_rights_of_a_group_are_one_invalidation(void **state)
{
	uint8_t *buf = tracked(100);

	(void)state;
	/* In any order, with pages between that do not change and some that were not mapped. */
	for (unsigned int i = 0; i < 40; i++)
		want(&hand, buf + (80 - i) * PAGE + 8, i % 2 ? W : R);
	want_pages(&hand, buf + 100 * PAGE, 10, W);
	assert_int_equal(fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	expect_inv(&hand.pass.inv[0], buf + 41 * PAGE, 39);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 20);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 110);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(rights_at(buf + 41 * PAGE), RW);
	assert_int_equal(rights_at(buf + 42 * PAGE), MMEM_READ);
}

static void
test_pages_far_apart_are_one_invalidation_of_all(void **state)
{
	uint8_t *buf = tracked(512);

	(void)state;
	want(&hand, buf, W);
	want(&hand, buf + 31 * PAGE, W);
	assert_int_equal(fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	expect_inv(&hand.pass.inv[0], buf, 32);
	clear(&hand);
	want(&hand, buf + 500 * PAGE, W);
	want(&hand, buf + 468 * PAGE, W);
	assert_int_equal(fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	assert_true(hand.pass.inv[0].all);
}

static void
test_a_page_may_be_in_a_group_twice(void **state)
{
	uint8_t *buf = tracked(4);

	(void)state;
	want(&hand, buf + 9 * PAGE, R);
	want(&hand, buf + 9 * PAGE + 100, R);
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 5);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 1);
	clear(&hand);
	/* To read and to write, in either order. */
	want(&hand, buf + PAGE, W);
	want(&hand, buf + PAGE, R);
	want(&hand, buf + PAGE, W);
	want(&hand, buf + 10 * PAGE, R);
	want(&hand, buf + 10 * PAGE, W);
	assert_int_equal(fast(&hand), SUCCESS_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	expect_inv(&hand.pass.inv[0], buf + PAGE, 10);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 2);
	assert_int_equal(rights_at(buf + PAGE), RW);
	assert_int_equal(rights_at(buf + 10 * PAGE), RW);
}

static void
test_a_request_that_wants_nothing_gets_it(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	clear(&hand);
	/* What a stop marker without PASID is; and an address that is in no region. */
	want(&hand, NULL, 0);
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(deferred(&hand), SUCCESS);
	want(&hand, buf, IOPF_PERM_PRIV);
	want(&hand, buf + PAGE, R);
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(rights_at(buf), 0);
	assert_int_equal(rights_at(buf + PAGE), RW);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 1);
	assert_int_equal(rig.reports, 0);
	/* A stall wants something: at least to read. */
	stall(&hand, NULL, 0, IOPF_REASON_TRANSLATION);
	assert_int_equal(fast(&hand), INVALID);
	assert_int_equal(rig.reports, 1);
}

static void
test_one_refused_page_refuses_the_group_and_is_reported_once(void **state)
{
	uint8_t *buf = tracked(4), *ro = alloc(CHUNK, MMEM_READ | MMEM_POPULATE);

	(void)state;
	want(&hand, buf + 8 * PAGE, R);
	want(&hand, ro, W);
	want(&hand, ro + PAGE, W);
	want(&hand, NULL, R);
	assert_int_equal(fast(&hand), INVALID);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(rig.reports, 1);
	assert_int_equal(rig.report.addr, (uintptr_t)ro);
	assert_int_equal(rig.report.error, -EACCES);
	assert_int_equal(rig.report.perm, W);
	assert_int_equal(stat_of(MMEM_STAT_FORBIDDEN), 1);
	assert_int_equal(stat_of(MMEM_STAT_NO_REGION), 0);
	assert_int_equal(rights_at(buf + 8 * PAGE), MMEM_READ);
	/* Rights were raised before it was found: that is invalidated all the same. */
	clear(&hand);
	want(&hand, buf, W);
	want(&hand, NULL, R);
	assert_int_equal(fast(&hand), INVALID_AFTER);
	assert_int_equal(hand.pass.nb_inv, 1);
	expect_inv(&hand.pass.inv[0], buf, 1);
	assert_int_equal(rig.reports, 2);
	assert_int_equal(rig.report.error, -EFAULT);
	/* The deferred half looks at all of them before it changes anything. */
	clear(&hand);
	want(&hand, buf + PAGE, W);
	want(&hand, ro, R);
	want(&hand, ro, W);
	assert_int_equal(deferred(&hand), INVALID);
	assert_int_equal(rig.invs, 0);
	assert_int_equal(rights_at(buf + PAGE), MMEM_READ);
	assert_int_equal(rig.reports, 3);
	assert_int_equal(rig.report.addr, (uintptr_t)ro);
	assert_int_equal(rig.report.perm, W);
}

static void
test_a_group_that_defers_keeps_what_is_mapped(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_POPULATE), *paged = alloc_paged(2 * CHUNK);

	(void)state;
	clear(&hand);
	want_pages(&hand, buf, 3, W);
	want_pages(&hand, paged + CHUNK - 2 * PAGE, 4, W);
	want_pages(&hand, buf + 3 * PAGE, 1, R);
	assert_int_equal(fast(&hand), IOPF_DEFER);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 1);
	assert_int_equal(rights_at(buf + 2 * PAGE), RW);
	assert_int_equal(rights_at(paged + CHUNK - 2 * PAGE), 0);
	assert_int_equal(deferred(&hand), SUCCESS);
	for (unsigned int i = 0; i < hand.nb; i++)
		assert_int_equal(rights_at((void *)(uintptr_t)hand.fault[i].addr), RW);
	assert_int_equal(paged[CHUNK], 0x5a);
	assert_int_equal(atomic_load(&rig.fills), 2);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 8);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 3);
	/* Nothing was mapped otherwise before. */
	assert_int_equal(rig.invs, 0);
}

static void
test_a_pager_that_fails_refuses_the_group(void **state)
{
	uint8_t *paged = alloc_paged(CHUNK);

	(void)state;
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	rig.fill_result = -EIO;
	clear(&hand);
	want_pages(&hand, paged, 4, R);
	assert_int_equal(fast(&hand), IOPF_DEFER);
	assert_int_equal(deferred(&hand), INVALID);
	assert_int_equal(rig.reports, 1);
	assert_int_equal(rig.report.error, -EIO);
	assert_int_equal(atomic_load(&rig.fills), 1);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
}

/* The fast half raised rights and found that it had to defer: it invalidated nothing. */
static void
test_rights_raised_before_a_deferral_are_invalidated_by_the_deferred_half(void **state)
{
	uint8_t *buf = tracked(4), *paged = alloc_paged(3 * CHUNK);

	(void)state;
	want(&hand, buf, W);
	want(&hand, paged, R);
	assert_int_equal(fast(&hand), IOPF_DEFER);
	assert_int_equal(hand.pass.nb_inv, 0);
	assert_int_equal(rig.invs, 0);
	assert_int_equal(deferred(&hand), SUCCESS);
	assert_int_equal(rig.invs, 1);
	assert_true(rig.inv.all);
	/* Somebody else's invalidation in between did it too. */
	clear(&hand);
	want(&hand, buf + PAGE, W);
	want(&hand, paged + CHUNK, R);
	assert_int_equal(fast(&hand), IOPF_DEFER);
	assert_int_equal(mmem_unmap(rig.space, buf + 3 * PAGE, PAGE), 0);
	assert_int_equal(rig.invs, 2);
	assert_true(rig.inv.all);
	assert_int_equal(deferred(&hand), SUCCESS);
	assert_int_equal(rig.invs, 2);
	/* And once it is done it is not done again. */
	clear(&hand);
	want(&hand, paged + 2 * CHUNK, R);
	assert_int_equal(fast(&hand), IOPF_DEFER);
	assert_int_equal(deferred(&hand), SUCCESS);
	assert_int_equal(rig.invs, 2);
}

/* Locks that the deferred half takes for this group. */
static unsigned int
locks(void)
{
	interpose_locks = 0;
	interpose_watch(true);
	assert_int_equal(deferred(&hand), SUCCESS);
	interpose_watch(false);
	return interpose_locks;
}

static void
test_the_deferred_half_takes_its_lock_once_and_invalidates_once(void **state)
{
	uint8_t *buf = tracked(200);
	unsigned int one;

	(void)state;
	want(&hand, buf, W);
	one = locks();
	assert_int_equal(rig.invs, 1);
	expect_inv(&rig.inv, buf, 1);
	clear(&hand);
	want_pages(&hand, buf + PAGE, 100, W);
	want_pages(&hand, buf + 200 * PAGE, 100, W);
	assert_int_equal(locks(), one);
	assert_int_equal(rig.invs, 2);
	expect_inv(&rig.inv, buf + PAGE, 100);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 101);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 300);
	clear(&hand);
	want(&hand, buf + 101 * PAGE, W);
	want(&hand, buf + 199 * PAGE, W);
	assert_int_equal(locks(), one);
	assert_int_equal(rig.invs, 3);
	assert_true(rig.inv.all);
}

/* More than a handler may ask for: left to the deferred half, and nothing is forgotten. */
static void
test_an_invalidation_that_is_not_taken_is_made_up_for(void **state)
{
	uint8_t *buf = tracked(4);
	struct iopf_group group;

	(void)state;
	want(&hand, buf, W);
	group = group_of(&hand);
	/* Outside of a handler it is refused. */
	assert_int_equal(mmem_handle_fault(mmem_space_domain(rig.space), &group, rig.space), IOPF_DEFER);
	assert_int_equal(deferred(&hand), SUCCESS);
	assert_int_equal(rig.invs, 1);
	assert_true(rig.inv.all);
}

static void
test_stalls_and_page_requests_of_a_page_join(void **state)
{
	static struct hand stalled, again;
	uint8_t *buf = alloc(CHUNK, TRACKED);

	(void)state;
	clear(&hand);
	want_pages(&hand, buf, 2, R);
	clear(&again);
	want_pages(&again, buf + PAGE, 2, R);
	stall(&stalled, buf, R, IOPF_REASON_TRANSLATION);
	assert_int_equal(fast(&stalled), SUCCESS);
	assert_int_equal(fast(&hand), SUCCESS);
	assert_int_equal(fast(&again), SUCCESS);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 3);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 2);
	/* The other way round: a group maps, a stall joins. */
	stall(&stalled, buf + 2 * PAGE, R, IOPF_REASON_TRANSLATION);
	assert_int_equal(fast(&stalled), SUCCESS);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 3);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 3);
	/* Rights raised for a group: a stall refused by the old ones waits for the same. */
	clear(&hand);
	want(&hand, buf, W);
	stall(&stalled, buf, W, IOPF_REASON_PERMISSION);
	assert_int_equal(fast(&hand), SUCCESS_AFTER);
	assert_int_equal(fast(&stalled), SUCCESS_AFTER);
	expect_inv(&stalled.pass.inv[0], buf, 1);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 4);
	assert_int_equal(fast(&hand), SUCCESS);
}

/* Poll cores of stalls and of page requests at the same pages. */
#define RACERS 2
#define ROUNDS 200

struct racer {
	pthread_t thread;
	uint8_t *buf;
	bool pri;
	unsigned int bad;
	struct hand hand;
};

static pthread_barrier_t barrier;

static void *
race(void *arg)
{
	struct racer *r = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&barrier);
		for (unsigned int k = 0; k < 8; k++) {
			if (r->pri && k != 0)
				break;
			clear(&r->hand);
			if (r->pri)
				want_pages(&r->hand, r->buf + i * 8 * PAGE, 8, W);
			else
				stall(&r->hand, r->buf + (i * 8 + k) * PAGE, W,
						IOPF_REASON_TRANSLATION);
			r->bad += fast(&r->hand) != SUCCESS;
		}
	}
	return NULL;
}

static void
test_a_page_wanted_at_once_by_a_stall_and_a_group_is_mapped_once(void **state)
{
	static struct racer racer[RACERS];
	uint8_t *buf;

	(void)state;
	for (unsigned int round = 0; round < test_scale(); round++) {
		uint64_t mapped = stat_of(MMEM_STAT_MAPPED), joined = stat_of(MMEM_STAT_JOINED);

		buf = alloc(ROUNDS * 8 * PAGE, RW | MMEM_POPULATE);
		pthread_barrier_init(&barrier, NULL, RACERS);
		for (unsigned int i = 0; i < RACERS; i++) {
			racer[i].buf = buf;
			racer[i].pri = i == 0;
			racer[i].bad = 0;
			assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]),
					0);
		}
		for (unsigned int i = 0; i < RACERS; i++) {
			assert_int_equal(pthread_join(racer[i].thread, NULL), 0);
			assert_int_equal(racer[i].bad, 0);
		}
		pthread_barrier_destroy(&barrier);
		assert_int_equal(stat_of(MMEM_STAT_MAPPED) - mapped, ROUNDS * 8);
		assert_int_equal(stat_of(MMEM_STAT_JOINED) - joined, ROUNDS * 8);
		assert_int_equal(mmem_free(rig.space, buf), 0);
	}
}

/*
 * Devices
 */

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_enable(rig.pri_dma, stu);
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_disable(rig.pri_dma);
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_enable(rig.pri_dma, n);
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_disable(rig.pri_dma);
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_drained(rig.pri_dma);
}

static int
add_devices(void)
{
	uint32_t sids[2] = { SID, SID + 1 };

	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(rig.dev), 0);
	rig.pri_dma = smmuv3_model_dma_create(rig.model, &(struct smmuv3_model_dma_conf){
			.sid = sids[0], .kind = SMMUV3_MODEL_DMA_ATS, .group_pages = 64 });
	rig.stall_dma = smmuv3_model_dma_create(rig.model, &(struct smmuv3_model_dma_conf){
			.sid = sids[1] });
	assert_non_null(rig.pri_dma);
	assert_non_null(rig.stall_dma);
	rig.dev = iopf_dev_add(rig.smmu, &(struct iopf_dev_conf){ .sids = &sids[0], .nb_sids = 1,
			.recover = IOPF_PRI, .pri_requests = 64, .pri_overcommit = true, .ops = {
				.ats_enable = ats_enable, .ats_disable = ats_disable,
				.pri_enable = pri_enable, .pri_disable = pri_disable,
				.pri_drained = pri_drained } });
	rig.stalls = iopf_dev_add(rig.smmu, &(struct iopf_dev_conf){ .sids = &sids[1],
			.nb_sids = 1 });
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(rig.space, rig.stalls, IOPF_NO_PASID), 0);
	rig.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(rig.poller, rig.smmu, IOPF_QUEUE_ALL), 0);
	return 0;
}

static int
setup_devices(void **state)
{
	setup(state);
	return add_devices();
}

/* None of their groups fits the queue. */
static int
setup_too_large(void **state)
{
	(void)state;
	setup_queue(3);
	assert_int_equal(iopf_iommu_info(rig.smmu)->request_queue_size, 8);
	return add_devices();
}

static int
teardown_devices(void **state)
{
	assert_int_equal(iopf_poller_remove(rig.poller, rig.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_poller_destroy(rig.poller), 0);
	assert_int_equal(mmem_detach(rig.space, rig.stalls, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(rig.stalls), 0);
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	smmuv3_model_dma_destroy(rig.pri_dma);
	smmuv3_model_dma_destroy(rig.stall_dma);
	return teardown(state);
}

static uint8_t bytes[64 * 4096];

static void
submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, uint8_t *addr, size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = bytes, .len = len }), 0);
}

/* Everything that the SMMU does without the poller. */
static void
settle(void)
{
	while (smmuv3_model_step(rig.model, 64) != 0)
		;
}

static struct smmuv3_model_done
await(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done = { 0 };
	unsigned int i;

	for (i = 0; smmuv3_model_dma_poll(dma, &done, 1) == 0; i++) {
		assert_true(i < 1000);
		settle();
		iopf_poll(rig.poller);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	return done;
}

static void
test_a_device_asks_once_and_is_answered_once(void **state)
{
	uint8_t *buf = alloc(CHUNK, TRACKED);
	struct iopf_domain *domain = mmem_space_domain(rig.space);

	(void)state;
	submit(rig.pri_dma, SMMUV3_MODEL_READ, buf, 64 * PAGE);
	assert_int_equal(await(rig.pri_dma).nb_groups, 1);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 64);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_FAULTS), 1);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_REQUESTS), 64);
	assert_int_equal(rig.answers_after, 0);
	/* 64 pages made writable: one invalidation, and the device goes on at once. */
	memset(bytes, 0xa5, sizeof(bytes));
	submit(rig.pri_dma, SMMUV3_MODEL_WRITE, buf, 64 * PAGE);
	assert_int_equal(await(rig.pri_dma).nb_groups, 1);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 64);
	assert_int_equal(rig.answers_after, 1);
	expect_inv(&rig.after, buf, 64);
	assert_int_equal(rig.invs, 0);
	assert_memory_equal(buf, bytes, sizeof(bytes));
	/* Taken away: its ATC forgets, and it asks again. */
	assert_int_equal(mmem_unmap(rig.space, buf, CHUNK), 0);
	submit(rig.pri_dma, SMMUV3_MODEL_READ, buf, PAGE);
	assert_int_equal(await(rig.pri_dma).nb_groups, 1);
}

/* The deferred half, on its worker. */
static void
test_a_device_waits_for_bytes(void **state)
{
	uint8_t *buf = alloc_paged(2 * CHUNK);
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	submit(rig.pri_dma, SMMUV3_MODEL_READ, buf + CHUNK - 4 * PAGE, 8 * PAGE);
	for (i = 0; smmuv3_model_dma_poll(rig.pri_dma, &done, 1) == 0; i++) {
		assert_true(i < 20000);
		settle();
		if (iopf_poll(rig.poller) == 0)
			usleep(1000);
	}
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_groups, 1);
	assert_int_equal(bytes[0], 0x5a);
	assert_int_equal(atomic_load(&rig.fills), 2);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 8);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 1);
}

static void
test_a_device_that_stalls_and_one_that_asks_share_a_map(void **state)
{
	struct iopf_domain *domain = mmem_space_domain(rig.space);
	uint8_t *buf = alloc(CHUNK, TRACKED);

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		/* Both have faulted on the page before either is looked at. */
		submit(rig.pri_dma, i ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, buf, 8);
		submit(rig.stall_dma, i ? SMMUV3_MODEL_WRITE : SMMUV3_MODEL_READ, buf + 64, 8);
		settle();
		assert_int_equal(smmuv3_model_stalls_outstanding(rig.model), 1);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(rig.pri_dma), 1);
		assert_int_equal(await(rig.pri_dma).nb_groups, 1);
		assert_int_equal(await(rig.stall_dma).nb_stalls, 1);
		assert_int_equal(stat_of(MMEM_STAT_MAPPED), 1);
		assert_int_equal(stat_of(MMEM_STAT_UPGRADED), i);
		assert_int_equal(stat_of(MMEM_STAT_JOINED), i + 1);
		assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_SUCCESS), 2 * (i + 1));
	}
}

/* The SMMU, until it has told a group itself to ask again or rests, and the poller, by turns. */
static bool
turns(unsigned int n, struct smmuv3_model_done *done)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t told = smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS);

		while (smmuv3_model_step(rig.model, 1) != 0 && smmuv3_model_stat(rig.model,
				SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) == told)
			;
		iopf_poll(rig.poller);
		if (smmuv3_model_dma_poll(rig.pri_dma, done, 1) != 0) {
			assert_int_equal(done->status, SMMUV3_MODEL_OK);
			return true;
		}
	}
	return false;
}

static void
test_a_group_too_large_for_the_queue_gets_its_rights_raised(void **state)
{
	uint8_t *buf = alloc(CHUNK, TRACKED);
	struct smmuv3_model_done done;

	(void)state;
	submit(rig.pri_dma, SMMUV3_MODEL_READ, buf, 64 * PAGE);
	assert_true(turns(1000, &done));
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 64);
	assert_int_equal(rig.answers_after, 0);
	memset(bytes, 0xa5, sizeof(bytes));
	submit(rig.pri_dma, SMMUV3_MODEL_WRITE, buf, 64 * PAGE);
	assert_true(turns(1000, &done));
	assert_memory_equal(buf, bytes, sizeof(bytes));
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 64);
	assert_in_range(rig.answers_after, 2, 64);
	/* Nobody waited, and nothing is left to be made up for. */
	assert_int_equal(rig.invs, 0);
	assert_false(atomic_load(&rig.space->inv_missing));
	assert_in_range(iopf_iommu_stat(rig.smmu, IOPF_IOMMU_STAT_OVERFLOWS), 2, 1000);
}

/* The control thread fetches: each chunk once, and again if that failed. */
static void
test_a_group_too_large_for_the_queue_gets_its_bytes(void **state)
{
	/* With memory there is nothing to populate ahead, and the thread sleeps. */
	uint8_t *buf = mmem_alloc_paged(rig.space, 2 * CHUNK, RW | MMEM_POPULATE,
			&(struct mmem_pager){ .fill = fill });
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	assert_non_null(buf);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	rig.fill_result = -EIO;
	submit(rig.pri_dma, SMMUV3_MODEL_READ, buf + CHUNK - 32 * PAGE, 64 * PAGE);
	for (i = 0; atomic_load(&rig.fills) < 3 && i < 20000; i++) {
		assert_false(turns(1, &done));
		usleep(100);
	}
	assert_in_range(i, 1, 19999);
	rig.fill_result = 0;
	for (i = 0; !turns(1, &done) && i < 20000; i++)
		usleep(100);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
	assert_in_range(i, 0, 19999);
	for (i = 0; i < sizeof(bytes); i += PAGE)
		assert_int_equal(bytes[i], 0x5a);
	assert_int_equal(stat_of(MMEM_STAT_FILLED), 2 * CHUNK / PAGE);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 64);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(rig.reports, 0);
}

static atomic_bool gone;
static _Atomic unsigned int filled, filled_late;

static int
fill_while_there(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	usleep(200);
	memset(dst, 0x5a, len);
	atomic_fetch_add(atomic_load(&gone) ? &filled_late : &filled, 1);
	return 0;
}

static void
release(void *ctx)
{
	(void)ctx;
	atomic_store(&gone, true);
}

static void
lose(struct hand *h)
{
	struct iopf_group group = group_of(h);

	memset(&h->pass, 0, sizeof(h->pass));
	iopf_self.in_fast = true;
	mmem_handle_lost(mmem_space_domain(rig.space), &group, rig.space);
	iopf_self.in_fast = false;
}

static void
test_what_is_freed_while_it_is_wanted_is_not_fetched_afterwards(void **state)
{
	const struct mmem_pager pager = { .fill = fill_while_there, .release = release };
	uint8_t *buf;

	(void)state;
	atomic_store(&filled, 0);
	atomic_store(&filled_late, 0);
	for (unsigned int i = 0; i < 100 || (atomic_load(&filled) == 0 && i < 10000); i++) {
		atomic_store(&gone, false);
		buf = mmem_alloc_paged(rig.space, 2 * CHUNK, RW, &pager);
		assert_non_null(buf);
		clear(&hand);
		want_pages(&hand, buf + CHUNK - 2 * PAGE, 4, R);
		lose(&hand);
		usleep(i % 16 * 100);
		if (i % 2 == 0)
			lose(&hand);
		assert_int_equal(mmem_free(rig.space, buf), 0);
		assert_true(atomic_load(&gone));
		/* In no region any more: nothing to want. */
		lose(&hand);
		assert_false(atomic_load(&rig.space->chunks[(buf - rig.pool->mem) /
				CHUNK].state) & CHUNK_WANTED);
		assert_int_equal(atomic_load(&filled_late), 0);
	}
	assert_int_equal(rig.reports, 0);
	/* Wanted still when the space goes. */
	atomic_store(&gone, false);
	assert_non_null(mmem_alloc_paged(rig.space, 2 * CHUNK, RW, &pager));
	lose(&hand);
}

#define LARGE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_too_large, teardown_devices)
#define DEVICE_TEST(f) cmocka_unit_test_setup_teardown(f, setup_devices, teardown_devices)
#define GROUP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
static const struct CMUnitTest tests[] = {
	GROUP_TEST(test_pages_of_a_group_are_mapped_without_invalidation),
	GROUP_TEST(test_raised_rights_of_a_group_are_one_invalidation),
	GROUP_TEST(test_pages_far_apart_are_one_invalidation_of_all),
	GROUP_TEST(test_a_page_may_be_in_a_group_twice),
	GROUP_TEST(test_a_request_that_wants_nothing_gets_it),
	GROUP_TEST(test_one_refused_page_refuses_the_group_and_is_reported_once),
	GROUP_TEST(test_a_group_that_defers_keeps_what_is_mapped),
	GROUP_TEST(test_a_pager_that_fails_refuses_the_group),
	GROUP_TEST(test_rights_raised_before_a_deferral_are_invalidated_by_the_deferred_half),
	GROUP_TEST(test_the_deferred_half_takes_its_lock_once_and_invalidates_once),
	GROUP_TEST(test_an_invalidation_that_is_not_taken_is_made_up_for),
	GROUP_TEST(test_stalls_and_page_requests_of_a_page_join),
	GROUP_TEST(test_a_page_wanted_at_once_by_a_stall_and_a_group_is_mapped_once),
	DEVICE_TEST(test_a_device_asks_once_and_is_answered_once),
	DEVICE_TEST(test_a_device_waits_for_bytes),
	DEVICE_TEST(test_a_device_that_stalls_and_one_that_asks_share_a_map),
	LARGE_TEST(test_a_group_too_large_for_the_queue_gets_its_rights_raised),
	LARGE_TEST(test_a_group_too_large_for_the_queue_gets_its_bytes),
	GROUP_TEST(test_what_is_freed_while_it_is_wanted_is_not_fetched_afterwards),
};

TEST_SUITE(mmem_groups, tests, NULL, NULL);
