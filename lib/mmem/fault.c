/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* What a fault means. The fast half takes no lock and looks at nothing unpopulated. */

#include <assert.h>
#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "mmem_internal.h"

/* Rights are the same bits in all three headers. */
static_assert(MMEM_READ == IOPF_PERM_READ && MMEM_WRITE == IOPF_PERM_WRITE &&
		MMEM_EXEC == IOPF_PERM_EXEC, "rights of mmem.h and iopf.h");
static_assert(MMEM_READ == PGT_READ && MMEM_WRITE == PGT_WRITE && MMEM_EXEC == PGT_EXEC,
		"rights of mmem.h and pgtable.h");

/* Resolved, once the page is invalidated. Besides 0 and -errno; -EAGAIN: not here. */
#define AFTER_INV 1

/* A region that changes under a deferred fault's eyes, so often in a row. */
#define SLOW_TRIES 4

struct access {
	uint64_t addr;
	unsigned int perm;
	bool permission;	/* refused by a valid entry */
};

/*
 * Zero a page, then map it. The marker in its entry keeps others off meanwhile. The
 * byte is read again behind it: whoever had the marker before may have zeroed the page
 * and mapped it, and it may hold a device's bytes since. Its clearing of the byte
 * happened before its commit, and that before this begin, by the swaps of the entry.
 */
static int
zero_and_map(struct mmem_space *space, uint64_t off, uint32_t prot)
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
		/* Pairs with the acquire in resolve(), which maps without looking further. */
		atomic_fetch_and_explicit(page, (uint8_t)~PAGE_DIRTY, memory_order_release);
		mmem_count(space, MMEM_STAT_ZEROED, 1);
	}
	return pgt_resolve_commit(&ticket, mmem_pa(space, off), prot);
}

int
mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot)
{
	if (unlikely(page & PAGE_DIRTY))
		return zero_and_map(space, off, prot);
	return pgt_resolve(space->pgt, mmem_va(space, off), mmem_pa(space, off), prot);
}

/* The entry is valid and allows less than it may. */
static int
upgrade(struct mmem_space *space, uint64_t off, uint32_t prot)
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
forbidden(unsigned int perm, uint8_t page)
{
	if (perm & MMEM_RIGHTS & ~page)
		return true;
	/* Writable without privilege is not executable with it [Arm ARM D8.4]. */
	return (perm & IOPF_PERM_PRIV) && (perm & IOPF_PERM_EXEC) && (page & MMEM_WRITE);
}

/*
 * One access. 0: its page is mapped; AFTER_INV: and must be invalidated; -EAGAIN: it
 * takes more than this core may do; -EFAULT, -EACCES, -EIO.
 */
static inline int
resolve(struct mmem_space *space, const struct access *access)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	struct mmem_chunk *chunk;
	uint32_t state, prot;
	uint8_t page;
	int rc;

	if (off >= space->size)
		return -EFAULT;
	chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	/* Pairs with the release in publish(): the pages' bytes, the tables. */
	if (atomic_load_explicit(&chunk->space, memory_order_acquire) != space)
		return -EFAULT;
	/* Pairs with the release in zero_and_map(). */
	page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
	if (!(page & PAGE_USED))
		return -EFAULT;
	if (forbidden(access->perm, page))
		return -EACCES;
	/* Pairs with the release of who fetched the chunk: its bytes. */
	state = atomic_load_explicit(&chunk->state, memory_order_acquire);
	if (!(state & CHUNK_READY))
		return -EAGAIN;
	if (unlikely(!(state & CHUNK_TOUCHED)))
		atomic_fetch_or_explicit(&chunk->state, CHUNK_TOUCHED, memory_order_relaxed);

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
		return upgrade(space, off, prot);
	case -ECANCELED:	/* being unmapped */
	case -ENOENT:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

/*
 * The same on a thread that may wait. Under space->lock nothing is being unmapped.
 * -EAGAIN: came too late again and again; the device may try once more.
 */
static int
resolve_slow(struct mmem_space *space, const struct access *access, uint64_t began)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	struct pgt_unmapped out;
	struct pgt_inv inv;
	unsigned int i;
	int rc = -EAGAIN;

	for (i = 0; i < SLOW_TRIES && rc == -EAGAIN; i++) {
		pthread_mutex_lock(&space->lock);
		rc = resolve(space, access);
		if (rc == AFTER_INV) {
			inv = (struct pgt_inv){
				.va = mmem_va(space, off & ~(uint64_t)(MMEM_PAGE_SIZE - 1)),
				.size = MMEM_PAGE_SIZE, .level = 3, .leaf_only = true,
			};
			pgt_unmapped_init(&out, &inv, 1);
			out.nb_inv = 1;
			rc = mmem_invalidate(space, &out) < 0 ? -EIO : 0;
		}
		pthread_mutex_unlock(&space->lock);
		if (rc == -EAGAIN) {
			rc = mmem_pool_fetch(space->pool, space, off, began);
			if (rc == 0)
				rc = -EAGAIN;
			else
				break;
		}
	}
	return rc;
}

static void
count_error(struct mmem_space *space, int error)
{
	mmem_count(space, error == -EFAULT ? MMEM_STAT_NO_REGION :
			error == -EACCES ? MMEM_STAT_FORBIDDEN : MMEM_STAT_FAILED, 1);
}

static enum iopf_verdict
refuse(struct mmem_space *space, const struct iopf_group *group, const struct iopf_fault *fault,
		int error)
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
		space->report(space, &report, space->ctx);
	}
	return IOPF_ANSWER(IOPF_INVALID);
}

/* False: nothing that a mapping of ours can help. */
static bool
access_of(const struct iopf_fault *fault, struct access *access)
{
	access->addr = fault->addr;
	access->perm = fault->perm & MMEM_RIGHTS ? fault->perm : fault->perm | IOPF_PERM_READ;
	access->permission = fault->reason == IOPF_REASON_PERMISSION;
	return !(fault->flags & IOPF_FAULT_STAGE2) &&
		(access->permission || fault->reason == IOPF_REASON_TRANSLATION);
}

enum iopf_verdict
mmem_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	enum iopf_verdict verdict = IOPF_ANSWER(IOPF_SUCCESS);
	struct access access;
	struct iopf_inv inv;
	unsigned int i;
	int rc;

	RTE_SET_USED(domain);
	/* What is mapped before one of the group defers stays, and is joined later. */
	for (i = 0; i < group->nb_faults; i++) {
		rc = access_of(group->faults[i], &access) ? resolve(space, &access) : -EIO;
		if (rc == AFTER_INV) {
			inv = (struct iopf_inv){
				.addr = access.addr & ~(uint64_t)(MMEM_PAGE_SIZE - 1),
				.size = MMEM_PAGE_SIZE,
				.leaf_log2 = MMEM_PAGE_LOG2,
				.leaf_only = true,
			};
			verdict = IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
			if (iopf_group_invalidate(group, &inv) < 0)
				rc = -EAGAIN;
		}
		if (rc == -EAGAIN) {
			mmem_count(space, MMEM_STAT_DEFERRED, 1);
			return IOPF_DEFER;
		}
		if (rc < 0)
			return refuse(space, group, group->faults[i], rc);
	}
	return verdict;
}

enum iopf_verdict
mmem_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct mmem_space *space = ctx;
	struct access access;
	unsigned int i;
	int rc;

	RTE_SET_USED(domain);
	for (i = 0; i < group->nb_faults; i++) {
		rc = -EIO;
		if (access_of(group->faults[i], &access)) {
			/* The fast half may have raised rights and left invalidating to this. */
			rc = resolve_slow(space, &access, group->faults[i]->time);
		}
		if (rc < 0 && rc != -EAGAIN)
			return refuse(space, group, group->faults[i], rc);
	}
	return IOPF_ANSWER(IOPF_SUCCESS);
}

int
mmem_resolve(struct mmem_space *space, uint64_t addr, unsigned int perm)
{
	struct access access = { .addr = addr, .perm = perm };
	int rc;

	if (!(perm & MMEM_RIGHTS))
		access.perm |= IOPF_PERM_READ;
	rc = resolve_slow(space, &access, rte_rdtsc());
	if (rc == -EAGAIN)
		rc = 0;
	if (rc < 0)
		count_error(space, rc);
	return mmem_ret(rc);
}
