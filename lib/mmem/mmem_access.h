/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_ACCESS_H
#define MMEM_ACCESS_H

/*
 * One access of a device: may it proceed, and its page's entry. Any thread. They take no lock, and
 * read populated memory only.
 */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iopf.h"
#include "mmem_chunk.h"
#include "mmem_space.h"

struct mmem_space;

/* Return values beside 0 and -errno: resolved, but the page or block must be invalidated first. */
#define MMEM_AFTER_INV		1
#define MMEM_AFTER_INV_BLOCK	2

struct mmem_access {
	uint64_t addr;
	unsigned int perm;
	bool permission;	/* a valid entry refused it */
	unsigned int *ahead;	/* pages that the caller may still map ahead; NULL: none. The
				 * caller is in a read section or has space->lock */
};

/*
 * May the access proceed, and are its contents present? Returns 0, -EAGAIN (absent), -EFAULT or
 * -EACCES.
 */
int mmem_access_check(struct mmem_space *space, const struct mmem_access *access, uint8_t *page);

/* May an access proceed, by the byte of its page? */
static inline bool
mmem_access_is_forbidden(unsigned int perm, uint8_t page)
{
	if (perm & MMEM_RIGHTS & ~page)
		return true;
	/* A page writable without privilege is not executable with privilege [Arm ARM D8.4]. */
	return (perm & IOPF_PERM_PRIV) && (perm & IOPF_PERM_EXEC) && (page & MMEM_WRITE);
}

/*
 * Resolve one access. Returns 0: its page is mapped; MMEM_AFTER_INV: mapped, and must be
 * invalidated; -EAGAIN: needs the deferred handler; -EFAULT, -EACCES, -EIO. In a fast handler, or
 * under space->lock, because of imports.
 */
int mmem_access_resolve(struct mmem_space *space, const struct mmem_access *access);

static inline int
mmem_after_inv(size_t size)
{
	return size == MMEM_PAGE_SIZE ? MMEM_AFTER_INV : MMEM_AFTER_INV_BLOCK;
}

/*
 * Give the valid entries of a granule of @p size bytes the rights that its region or import allows
 * and they lack. Returns mmem_after_inv(), -EAGAIN or -EIO.
 */
int mmem_entry_upgrade(struct mmem_space *space, uint64_t va, size_t size, uint32_t prot);

/*
 * The second half of it: @p rc is the result of mapping its granule of @p size bytes (a page or a
 * block) with @p prot, as of pgt_resolve().
 */
static inline int
mmem_access_finish(struct mmem_space *space, const struct mmem_access *access, int rc,
		size_t size, uint32_t prot)
{
	switch (rc) {
	case 0:
		mmem_stat_add(space, MMEM_STAT_MAPPED, 1);
		return 0;
	case -EALREADY:
		mmem_stat_add(space, MMEM_STAT_JOINED, 1);
		/* A stale entry in the IOMMU refused the access: invalidate it before the retry. */
		return access->permission ? mmem_after_inv(size) : 0;
	case -EBUSY:
		/*
		 * Another thread zeroes the page; the device's retry finds it mapped or faults
		 * again.
		 */
		mmem_stat_add(space, MMEM_STAT_JOINED, 1);
		return 0;
	case -EACCES:
		return mmem_entry_upgrade(space, access->addr, size, prot);
	case -ECANCELED:	/* unmap in progress */
	case -ENOENT:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

/*
 * The rights of a page's entry after an access. With MMEM_TRACK_WRITES, one that is no write leaves
 * the first write to be noticed: by a fault, or by the IOMMU.
 */
uint32_t mmem_page_get_prot(const struct mmem_space *space, uint64_t off, uint8_t page, bool write);

/*
 * Map a page whose contents are present; zero it first if it is PAGE_DIRTY. Returns as
 * pgt_resolve().
 */
int mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot);

#endif /* MMEM_ACCESS_H */
