/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The fault handlers. The fast handler takes no lock and reads populated memory only. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_access.h"
#include "mmem_ahead.h"
#include "mmem_fault.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"
#include "mmem_waiting.h"

/* The three headers use the same bits for rights. */
static_assert(MMEM_READ == IOPF_PERM_READ && MMEM_WRITE == IOPF_PERM_WRITE &&
		MMEM_EXEC == IOPF_PERM_EXEC, "rights of mmem.h and iopf.h");
static_assert(MMEM_READ == PGT_READ && MMEM_WRITE == PGT_WRITE && MMEM_EXEC == PGT_EXEC,
		"rights of mmem.h and pgtable.h");

/* Attempts of a deferred fault whose region keeps changing. */
#define SLOW_TRIES 4

/* Limit of a ranged invalidation: pages for each changed page. Beyond it, invalidate all. */
#define HULL_SPREAD 16

/* The first and last page that the one invalidation of a group covers. */
struct hull {
	uint64_t first, last;
	unsigned int nb;
	int how;			/* MMEM_AFTER_INV and MMEM_AFTER_INV_BLOCK, or-ed */
};

static inline void
hull_add(struct hull *hull, uint64_t addr, int how)
{
	uint64_t page = addr & ~(uint64_t)(MMEM_PAGE_SIZE - 1);

	hull->how |= how;
	if (hull->nb++ == 0)
		hull->first = hull->last = page;
	hull->first = RTE_MIN(hull->first, page);
	hull->last = RTE_MAX(hull->last, page);
}

static struct iopf_inv
hull_to_inv(const struct hull *hull)
{
	uint64_t pages = ((hull->last - hull->first) >> MMEM_PAGE_LOG2) + 1;

	if ((hull->how & MMEM_AFTER_INV_BLOCK) || pages > (uint64_t)hull->nb * HULL_SPREAD)
		return (struct iopf_inv){ .all = true };
	return (struct iopf_inv){
		.addr = hull->first,
		.size = pages << MMEM_PAGE_LOG2,
		.leaf_log2 = MMEM_PAGE_LOG2,
		.leaf_only = true,
	};
}

/* Returns 1; 0: the request needs no rights; -EIO: no mapping can resolve it. */
static inline int
access_decode(const struct iopf_fault *fault, struct mmem_access *access)
{
	access->addr = fault->addr;
	access->perm = fault->perm;
	/* A page request names the needed rights, not whether an entry refused the access. */
	access->permission = false;
	if (fault->flags & IOPF_FAULT_PAGE_REQUEST)
		return (fault->perm & MMEM_RIGHTS) != 0;
	if (!(fault->perm & MMEM_RIGHTS))
		access->perm |= IOPF_PERM_READ;
	access->permission = fault->reason == IOPF_REASON_PERMISSION;
	if (fault->flags & IOPF_FAULT_STAGE2)
		return -EIO;
	return access->permission || fault->reason == IOPF_REASON_TRANSLATION ||
		fault->reason == IOPF_REASON_ACCESS ? 1 : -EIO;
}

/*
 * Fetch contents before taking space->lock, so that the lock is not held across a fetch. Returns 0,
 * or the error of faults[*which]; -EINPROGRESS: the group @p id will be deferred again.
 */
static int
faults_fetch_pages(struct mmem_space *space, const struct iopf_fault *const *faults,
		unsigned int nb, uint64_t id, unsigned int *which)
{
	struct mmem_access access;
	uint8_t page;
	unsigned int i;
	int rc, ret = 0;

	for (i = 0; i < nb; i++) {
		rc = access_decode(faults[i], &access);
		/* Imported memory has its contents, and is looked up under the lock. */
		if (rc > 0 && mmem_may_be_import(space, access.addr))
			continue;
		if (rc > 0)
			rc = mmem_access_check(space, &access, &page);
		if (rc == -EAGAIN)
			rc = mmem_pool_bring_page(space->pool, space,
					access.addr - (uintptr_t)space->mem, faults[i]->time, id);
		/* Start all missing fetches before waiting for one. */
		if (rc == -EINPROGRESS) {
			ret = rc;
		} else if (rc < 0) {
			*which = i;
			return rc;
		}
	}
	return ret;
}

/* Take space->lock. For a group that can be deferred again, do not wait: -EINPROGRESS. */
static int
space_lock(struct mmem_space *space, uint64_t id)
{
	int rc;

	if (id == 0) {
		pthread_mutex_lock(&space->lock);
		return 0;
	}
	if (pthread_mutex_trylock(&space->lock) == 0)
		return 0;
	pthread_mutex_lock(&space->pool->lock);
	rc = mmem_waiting_add(&space->blocked, id);
	atomic_store_explicit(&space->is_blocked, true, memory_order_relaxed);
	pthread_mutex_unlock(&space->pool->lock);
	if (rc < 0) {
		pthread_mutex_lock(&space->lock);
		return 0;
	}
	/*
	 * The owner may have released the lock without seeing is_blocked. Pairs with the fence in
	 * mmem_space_unlock(): either that thread sees is_blocked, or this thread finds the lock
	 * free.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return pthread_mutex_trylock(&space->lock) == 0 ? 0 : -EINPROGRESS;
}

/* Map all pages of a group under the lock, where no unmap is in progress, with one invalidation. */
static int
faults_map_pages(struct mmem_space *space, const struct iopf_fault *const *faults,
		unsigned int nb, uint64_t id, unsigned int *which)
{
	unsigned int i, ahead = MMEM_AHEAD_WORKER;
	struct mmem_access access = { .ahead = &ahead };
	struct hull hull = { 0 };
	struct iopf_inv inv;
	int rc, rc_inv;

	rc = space_lock(space, id);
	if (rc < 0)
		return rc;
	for (i = 0; i < nb && rc == 0; i++) {
		rc = access_decode(faults[i], &access);
		if (rc > 0)
			rc = mmem_access_resolve(space, &access);
		if (rc > 0) {
			hull_add(&hull, access.addr, rc);
			rc = 0;
		}
		*which = i;
	}
	if (hull.nb != 0)
		inv = hull_to_inv(&hull);
	rc_inv = mmem_invalidate(space, &inv, hull.nb != 0);
	mmem_space_unlock(space);
	return rc == 0 && rc_inv < 0 ? -EIO : rc;
}

/*
 * Fetch and map on a thread that may wait, or for a group that can be deferred again. Returns 0, or
 * the error of faults[*which]; -EINPROGRESS: the group will be deferred again; -EAGAIN: the region
 * changed on each attempt, and the device may retry.
 */
static int
faults_resolve(struct mmem_space *space, const struct iopf_fault *const *faults, unsigned int nb,
		uint64_t id, unsigned int *which)
{
	unsigned int i;
	int rc = -EAGAIN;

	for (i = 0; i < SLOW_TRIES && rc == -EAGAIN; i++) {
		rc = faults_fetch_pages(space, faults, nb, id, which);
		if (rc == 0)
			rc = faults_map_pages(space, faults, nb, id, which);
	}
	return rc;
}

static void
count_error(struct mmem_space *space, int error)
{
	mmem_stat_add(space, error == -EFAULT ? MMEM_STAT_NO_REGION :
			error == -EACCES ? MMEM_STAT_FORBIDDEN :
			error == -ETIMEDOUT ? MMEM_STAT_EXPIRED : MMEM_STAT_FAILED, 1);
}

static void
fault_refuse(struct mmem_space *space, const struct iopf_group *group,
		const struct iopf_fault *fault, int error)
{
	struct mmem_report report;

	count_error(space, error);
	if (space->report) {
		report = (struct mmem_report){
			.dev = group->dev,
			.pasid = group->pasid,
			.addr = fault->addr,
			.perm = fault->perm,
			.error = error,
		};
		mmem_self.in_report = true;
		space->report(space, &report, space->ctx);
		mmem_self.in_report = false;
	}
}

/*
 * Map the page of the most frequent fault, a stall on data that is present and need not be zeroed.
 * False: nothing was done; faults_map() tells the other cases apart.
 */
static inline bool
fault_map_plain(struct mmem_space *space, const struct iopf_fault *fault)
{
	uint64_t off = fault->addr - (uintptr_t)space->mem;
	uint32_t perm = fault->perm & MMEM_RIGHTS;
	const struct mmem_chunk *chunk;
	uint8_t page;

	if (fault->reason != IOPF_REASON_TRANSLATION || fault->flags != IOPF_FAULT_STALLED ||
			off >= space->size)
		return false;
	chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	/* These three loads pair as in mmem_access_check(). */
	if (atomic_load_explicit(&chunk->space, memory_order_acquire) != space)
		return false;
	page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
	/* A fault without a right is one to read; without a right of the page the table refuses. */
	if ((page & (PAGE_USED | PAGE_DIRTY | MMEM_TRACK_WRITES)) != PAGE_USED ||
			(perm & ~(page & (MMEM_READ | MMEM_WRITE))) != 0)
		return false;
	if ((atomic_load_explicit(&chunk->state, memory_order_acquire) &
			(CHUNK_POPULATED | CHUNK_TOUCHED)) != (CHUNK_POPULATED | CHUNK_TOUCHED))
		return false;
	off &= ~(uint64_t)(MMEM_PAGE_SIZE - 1);
	if (pgt_resolve(space->pgt, mmem_off_to_va(space, off), mmem_off_to_pa(space, off),
			page & MMEM_RIGHTS) != 0)
		return false;
	mmem_stat_add(space, MMEM_STAT_MAPPED, 1);
	return true;
}

/* All faults of a group, with one invalidation. */
static __rte_noinline enum iopf_verdict
faults_map(struct mmem_space *space, const struct iopf_group *group)
{
	unsigned int i, ahead = MMEM_AHEAD_POLL;
	struct mmem_access access = { .ahead = &ahead };
	struct hull hull = { 0 };
	struct iopf_inv inv;
	enum iopf_code code;
	int rc = 0;

	/*
	 * If a fault defers the group, pages that were mapped before stay mapped, and the deferred
	 * handler counts them as joined.
	 */
	for (i = 0; i < group->nb_faults; i++) {
		rc = access_decode(group->faults[i], &access);
		if (rc > 0)
			rc = mmem_access_resolve(space, &access);
		if (rc > 0)
			hull_add(&hull, access.addr, rc);
		else if (rc < 0)
			break;
	}
	if (hull.nb != 0) {
		inv = hull_to_inv(&hull);
		if (rc == -EAGAIN || iopf_group_invalidate(group, &inv) < 0) {
			/*
			 * A deferred group invalidates nothing here. The deferred handler, or the
			 * next thread that takes space->lock, invalidates upgraded entries. Pairs
			 * with the acquire in mmem_invalidate(): the entries.
			 */
			atomic_store_explicit(&space->inv_missing, true, memory_order_release);
			rc = -EAGAIN;
		}
	}
	if (rc == -EAGAIN) {
		mmem_stat_add(space, MMEM_STAT_DEFERRED, 1);
		return IOPF_DEFER;
	}
	if (rc < 0)
		fault_refuse(space, group, group->faults[i], rc);
	code = rc < 0 ? IOPF_INVALID : IOPF_SUCCESS;
	return hull.nb != 0 ? IOPF_ANSWER_AFTER_INV(code) : IOPF_ANSWER(code);
}

enum iopf_verdict
mmem_handle_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;

	RTE_SET_USED(domain);
	if (likely(group->nb_faults == 1) && likely(fault_map_plain(space, group->faults[0])))
		return IOPF_ANSWER(IOPF_SUCCESS);
	return faults_map(space, group);
}

void
mmem_handle_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	struct hull hull = { 0 };
	struct mmem_access access = { .ahead = NULL };
	struct iopf_inv inv;
	unsigned int i;
	int rc;

	RTE_SET_USED(domain);
	for (i = 0; i < group->nb_faults; i++) {
		rc = access_decode(group->faults[i], &access);
		if (rc > 0)
			rc = mmem_access_resolve(space, &access);
		if (rc > 0)
			hull_add(&hull, access.addr, rc);
		else if (rc == -EAGAIN && mmem_is_in_pool(space, access.addr))
			/* A lost group cannot be deferred to a worker. */
			mmem_page_mark_wanted(space, access.addr - (uintptr_t)space->mem);
	}
	if (hull.nb == 0)
		return;
	inv = hull_to_inv(&hull);
	if (iopf_group_invalidate(group, &inv) < 0)
		/* Pairs with the acquire in mmem_invalidate(), as in mmem_handle_fault(). */
		atomic_store_explicit(&space->inv_missing, true, memory_order_release);
}

enum iopf_verdict
mmem_handle_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	unsigned int which = 0;
	int rc;

	RTE_SET_USED(domain);
	rc = faults_resolve(space, group->faults, group->nb_faults, group->id, &which);
	if (rc == -EINPROGRESS)
		return IOPF_TAKEN;
	if (rc == 0 || rc == -EAGAIN)
		return IOPF_ANSWER(IOPF_SUCCESS);
	fault_refuse(space, group, group->faults[which], rc);
	return IOPF_ANSWER(IOPF_INVALID);
}

int
mmem_resolve(struct mmem_space *space, uint64_t addr, unsigned int perm)
{
	const struct iopf_fault fault = {
		.addr = addr,
		.time = rte_rdtsc(),
		.perm = perm,
		.reason = IOPF_REASON_TRANSLATION,
	};
	const struct iopf_fault *faults[1] = { &fault };
	unsigned int which;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	rc = faults_resolve(space, faults, 1, 0, &which);
	if (rc == -EAGAIN)
		rc = 0;
	if (rc < 0 && rc != -EDEADLK)
		count_error(space, rc);
	return mmem_ret(rc);
}
