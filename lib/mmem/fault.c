/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What a fault means. The fast half takes no lock and looks at nothing unpopulated. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include <pgtable.h>

#include "mmem_fault.h"
#include "mmem_groups.h"
#include "mmem_pool.h"
#include "mmem_populate.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Rights are the same bits in all three headers. */
static_assert(MMEM_READ == IOPF_PERM_READ && MMEM_WRITE == IOPF_PERM_WRITE &&
		MMEM_EXEC == IOPF_PERM_EXEC, "rights of mmem.h and iopf.h");
static_assert(MMEM_READ == PGT_READ && MMEM_WRITE == PGT_WRITE && MMEM_EXEC == PGT_EXEC,
		"rights of mmem.h and pgtable.h");

/* Resolved, once the page is invalidated. Besides 0 and -errno; -EAGAIN: not here. */
#define AFTER_INV 1

/* A region that changes under a deferred fault's eyes, so often in a row. */
#define SLOW_TRIES 4

/* Pages that one invalidation may name for each that changed; beyond, all are fewer. */
#define HULL_SPREAD 16

struct access {
	uint64_t addr;
	unsigned int perm;
	bool permission;	/* refused by a valid entry */
};

/* What a group's one invalidation must cover: addresses of pages. */
struct hull {
	uint64_t first, last;
	unsigned int nb;
};

/*
 * Zero a page, then map it. The marker in its entry keeps others off meanwhile. The
 * byte is read again behind it: whoever had the marker before may have zeroed the page
 * and mapped it, and it may hold a device's bytes since. Its clearing of the byte
 * happened before its commit, and that before this begin, by the swaps of the entry.
 */
static int
page_zero_and_map(struct mmem_space *space, uint64_t off, uint32_t prot)
{
	_Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	struct pgt_ticket ticket;
	int rc;

	/* The address is this thread's as long as the ticket is. */
	rc = pgt_resolve_begin(space->pgt, mmem_va(space, off), prot, (uintptr_t)&ticket, &ticket);
	if (rc < 0)
		return rc;
	if (atomic_load_explicit(page, memory_order_relaxed) & PAGE_DIRTY) {
		memset(space->mem + off, 0, MMEM_PAGE_SIZE);
		/* Pairs with the acquire in access_check(). */
		atomic_fetch_and_explicit(page, (uint8_t)~PAGE_DIRTY, memory_order_release);
		mmem_count(space, MMEM_STAT_ZEROED, 1);
	}
	return pgt_resolve_commit(&ticket, mmem_pa(space, off), prot);
}

int
mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot)
{
	if (unlikely(page & PAGE_DIRTY))
		return page_zero_and_map(space, off, prot);
	return pgt_resolve(space->pgt, mmem_va(space, off), mmem_pa(space, off), prot);
}

/* The entry is valid and allows less than it may. */
static int
page_upgrade(struct mmem_space *space, uint64_t off, uint32_t prot)
{
	struct pgt_unmapped out;
	struct pgt_inv inv;
	int rc;

	pgt_unmapped_init(&out, &inv, 1);
	rc = pgt_protect(space->pgt, mmem_va(space, off), MMEM_PAGE_SIZE, prot, &out);
	if (rc == -EAGAIN)
		return rc;
	if (rc < 0)
		return -EIO;
	mmem_count(space, out.nb_inv ? MMEM_STAT_UPGRADED : MMEM_STAT_JOINED, 1);
	return AFTER_INV;
}

static bool
is_forbidden(unsigned int perm, uint8_t page)
{
	if (perm & MMEM_RIGHTS & ~page)
		return true;
	/* Writable without privilege is not executable with it [Arm ARM D8.4]. */
	return (perm & IOPF_PERM_PRIV) && (perm & IOPF_PERM_EXEC) && (page & MMEM_WRITE);
}

/* The first access of a chunk: the control thread populates those behind it. */
static __rte_noinline void
chunk_mark_touched(struct mmem_space *space, struct mmem_chunk *chunk)
{
	atomic_fetch_or_explicit(&chunk->state, CHUNK_TOUCHED, memory_order_relaxed);
	mmem_control_notify(space->pool, true);
}

/* In no region, or without bytes. */
static __rte_noinline int
check_unusable_page(const struct access *access, uint8_t page)
{
	if (!(page & PAGE_ABSENT))
		return -EFAULT;
	return is_forbidden(access->perm, page) ? -EACCES : -EAGAIN;
}

/* May it be, and are its bytes there? 0, -EAGAIN (not yet), -EFAULT, -EACCES. */
static inline int
access_check(struct mmem_space *space, const struct access *access, uint8_t *page)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	struct mmem_chunk *chunk;
	uint32_t state;

	if (off >= space->size)
		return -EFAULT;
	chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	/* Pairs with the release in region_publish(): the pages' bytes, the tables. */
	if (atomic_load_explicit(&chunk->space, memory_order_acquire) != space)
		return -EFAULT;
	/* Pairs with the releases in page_zero_and_map() and pages_set_present(). */
	*page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
	if (unlikely(!(*page & PAGE_USED)))
		return check_unusable_page(access, *page);
	if (is_forbidden(access->perm, *page))
		return -EACCES;
	/* Pairs with the release in mmem_pool_populate_chunk(): its memory. */
	state = atomic_load_explicit(&chunk->state, memory_order_acquire);
	if (!(state & CHUNK_POPULATED))
		return -EAGAIN;
	if (unlikely(!(state & CHUNK_TOUCHED)))
		chunk_mark_touched(space, chunk);
	return 0;
}

/*
 * One access. 0: its page is mapped; AFTER_INV: and must be invalidated; -EAGAIN: it
 * takes more than this core may do; -EFAULT, -EACCES, -EIO.
 */
static inline int
access_resolve(struct mmem_space *space, const struct access *access)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	uint32_t prot;
	uint8_t page;
	int rc;

	rc = access_check(space, access, &page);
	if (rc < 0)
		return rc;
	prot = page & MMEM_RIGHTS;
	if ((page & MMEM_TRACK_WRITES) && !(access->perm & IOPF_PERM_WRITE))
		prot &= ~MMEM_WRITE;
	off &= ~(uint64_t)(MMEM_PAGE_SIZE - 1);
	rc = mmem_page_map(space, off, page, prot);
	switch (rc) {
	case 0:
		mmem_count(space, MMEM_STAT_MAPPED, 1);
		return 0;
	case -EALREADY:
		mmem_count(space, MMEM_STAT_JOINED, 1);
		/* Refused by what the IOMMU remembers: it must forget before it is asked again. */
		return access->permission ? AFTER_INV : 0;
	case -EBUSY:
		/* Another core is zeroing it: done before the device is back. */
		mmem_count(space, MMEM_STAT_JOINED, 1);
		return 0;
	case -EACCES:
		return page_upgrade(space, off, prot);
	case -ECANCELED:	/* being unmapped */
	case -ENOENT:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

static inline void
hull_add(struct hull *hull, uint64_t addr)
{
	uint64_t page = addr & ~(uint64_t)(MMEM_PAGE_SIZE - 1);

	if (hull->nb++ == 0)
		hull->first = hull->last = page;
	hull->first = RTE_MIN(hull->first, page);
	hull->last = RTE_MAX(hull->last, page);
}

static struct iopf_inv
hull_to_inv(const struct hull *hull)
{
	uint64_t pages = ((hull->last - hull->first) >> MMEM_PAGE_LOG2) + 1;

	if (pages > (uint64_t)hull->nb * HULL_SPREAD)
		return (struct iopf_inv){ .all = true };
	return (struct iopf_inv){
		.addr = hull->first,
		.size = pages << MMEM_PAGE_LOG2,
		.leaf_log2 = MMEM_PAGE_LOG2,
		.leaf_only = true,
	};
}

/* 0: it wants nothing. -EIO: nothing that a mapping of ours can help. */
static inline int
access_decode(const struct iopf_fault *fault, struct access *access)
{
	access->addr = fault->addr;
	access->perm = fault->perm;
	/* The device asks for what it lacks, and does not say whether anything was mapped. */
	access->permission = false;
	if (fault->flags & IOPF_FAULT_PAGE_REQUEST)
		return (fault->perm & MMEM_RIGHTS) != 0;
	if (!(fault->perm & MMEM_RIGHTS))
		access->perm |= IOPF_PERM_READ;
	access->permission = fault->reason == IOPF_REASON_PERMISSION;
	if (fault->flags & IOPF_FAULT_STAGE2)
		return -EIO;
	return access->permission || fault->reason == IOPF_REASON_TRANSLATION ? 1 : -EIO;
}

/*
 * Bytes first, so that the lock is not held across a fetch. 0, or why faults[*which] fails;
 * -EINPROGRESS: the group @p id will be deferred again.
 */
static int
faults_fetch_pages(struct mmem_space *space, const struct iopf_fault *const *faults,
		unsigned int nb, uint64_t id, unsigned int *which)
{
	struct access access;
	uint8_t page;
	unsigned int i;
	int rc, ret = 0;

	for (i = 0; i < nb; i++) {
		rc = access_decode(faults[i], &access);
		if (rc > 0)
			rc = access_check(space, &access, &page);
		if (rc == -EAGAIN)
			rc = mmem_pool_bring_page(space->pool, space,
					access.addr - (uintptr_t)space->mem, faults[i]->time, id);
		/* All that is missing is fetched at a time. */
		if (rc == -EINPROGRESS) {
			ret = rc;
		} else if (rc < 0) {
			*which = i;
			return rc;
		}
	}
	return ret;
}

/* With a group to be deferred again, no wait: -EINPROGRESS. */
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
	rc = mmem_groups_add(&space->blocked, id);
	atomic_store_explicit(&space->is_blocked, true, memory_order_relaxed);
	pthread_mutex_unlock(&space->pool->lock);
	if (rc < 0) {
		pthread_mutex_lock(&space->lock);
		return 0;
	}
	/*
	 * Let go meanwhile, perhaps, by a thread that did not find the list in use. Pairs with the
	 * fence in mmem_space_unlock(): that thread finds the list in use, or this one the lock
	 * free.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	return pthread_mutex_trylock(&space->lock) == 0 ? 0 : -EINPROGRESS;
}

/* All of them, under the lock, where nothing is being unmapped; one invalidation. */
static int
faults_map_pages(struct mmem_space *space, const struct iopf_fault *const *faults,
		unsigned int nb, uint64_t id, unsigned int *which)
{
	struct hull hull = { 0 };
	struct access access;
	struct iopf_inv inv;
	unsigned int i;
	int rc, rc_inv;

	rc = space_lock(space, id);
	if (rc < 0)
		return rc;
	for (i = 0; i < nb && rc == 0; i++) {
		rc = access_decode(faults[i], &access);
		if (rc > 0)
			rc = access_resolve(space, &access);
		if (rc == AFTER_INV) {
			hull_add(&hull, access.addr);
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
 * The same on a thread that may wait, or with a group that can be deferred again. 0, or why
 * faults[*which] fails; -EINPROGRESS: it will be; -EAGAIN: came too late again and again, and
 * the device may try once more.
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
	mmem_count(space, error == -EFAULT ? MMEM_STAT_NO_REGION :
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

enum iopf_verdict
mmem_handle_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	struct hull hull = { 0 };
	struct access access;
	struct iopf_inv inv;
	enum iopf_code code;
	unsigned int i;
	int rc = 0;

	RTE_SET_USED(domain);
	/* What is mapped before one of the group defers stays, and is joined later. */
	for (i = 0; i < group->nb_faults; i++) {
		rc = access_decode(group->faults[i], &access);
		if (rc > 0)
			rc = access_resolve(space, &access);
		if (rc == AFTER_INV)
			hull_add(&hull, access.addr);
		else if (rc < 0)
			break;
	}
	if (hull.nb != 0) {
		inv = hull_to_inv(&hull);
		if (rc == -EAGAIN || iopf_group_invalidate(group, &inv) < 0) {
			/*
			 * Whoever defers invalidates nothing here: rights that were raised are
			 * left to the deferred half, or to who has the lock before it. Pairs
			 * with the acquire in mmem_invalidate(): the entries.
			 */
			atomic_store_explicit(&space->inv_missing, true, memory_order_release);
			rc = -EAGAIN;
		}
	}
	if (rc == -EAGAIN) {
		mmem_count(space, MMEM_STAT_DEFERRED, 1);
		return IOPF_DEFER;
	}
	if (rc < 0)
		fault_refuse(space, group, group->faults[i], rc);
	code = rc < 0 ? IOPF_INVALID : IOPF_SUCCESS;
	return hull.nb != 0 ? IOPF_ANSWER_AFTER_INV(code) : IOPF_ANSWER(code);
}

/* Have the control thread see to it: for a lost group no worker ever may. */
static void
page_mark_wanted(struct mmem_space *space, uint64_t addr)
{
	uint64_t off = addr - (uintptr_t)space->mem;
	struct mmem_chunk *chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];

	atomic_fetch_or_explicit(&space->pages[off >> MMEM_PAGE_LOG2], PAGE_WANTED,
			memory_order_relaxed);
	/* Pairs with the acquire in fetch_wanted_chunks(): the page's mark. */
	if (atomic_fetch_or_explicit(&chunk->state, CHUNK_WANTED, memory_order_release) &
			CHUNK_WANTED)
		return;		/* what set that mark says so, if it has not yet */
	/* Pairs with the acquire in fetch_wanted_chunks(): the mark. */
	atomic_store_explicit(&space->pool->wanted, true, memory_order_release);
	mmem_control_notify(space->pool, false);
}

void
mmem_handle_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	struct hull hull = { 0 };
	struct access access;
	struct iopf_inv inv;
	unsigned int i;
	int rc;

	RTE_SET_USED(domain);
	for (i = 0; i < group->nb_faults; i++) {
		rc = access_decode(group->faults[i], &access);
		if (rc > 0)
			rc = access_resolve(space, &access);
		if (rc == AFTER_INV)
			hull_add(&hull, access.addr);
		else if (rc == -EAGAIN)
			page_mark_wanted(space, access.addr);
	}
	if (hull.nb == 0)
		return;
	inv = hull_to_inv(&hull);
	if (iopf_group_invalidate(group, &inv) < 0)
		/* As in mmem_handle_fault(). */
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
