/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_ACCESS_H
#define MMEM_ACCESS_H

/*
 * One access of a device: may it proceed, and its page's entry. Any thread. They take no lock, and
 * read populated memory only.
 */

#include <stdbool.h>
#include <stdint.h>

struct mmem_space;

/* A return value beside 0 and -errno: resolved, but the page must be invalidated first. */
#define MMEM_AFTER_INV 1

struct mmem_access {
	uint64_t addr;
	unsigned int perm;
	bool permission;	/* a valid entry refused it */
};

/*
 * May the access proceed, and are its contents present? Returns 0, -EAGAIN (absent), -EFAULT or
 * -EACCES.
 */
int mmem_access_check(struct mmem_space *space, const struct mmem_access *access, uint8_t *page);

/*
 * Resolve one access. Returns 0: its page is mapped; MMEM_AFTER_INV: mapped, and must be
 * invalidated; -EAGAIN: needs the deferred handler; -EFAULT, -EACCES, -EIO.
 */
int mmem_access_resolve(struct mmem_space *space, const struct mmem_access *access);

/*
 * Map a page whose contents are present; zero it first if it is PAGE_DIRTY. Returns as
 * pgt_resolve().
 */
int mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot);

#endif /* MMEM_ACCESS_H */
