/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_access.h"
#include "mmem_ahead.h"
#include "mmem_frame.h"
#include "mmem_huge.h"
#include "mmem_import.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "mmem_thread.h"

/*
 * Zero a page, then map it. Meanwhile the marker in its entry keeps other threads off. Test
 * PAGE_DIRTY again after the marker is set: another thread may have zeroed and mapped the page, and
 * a device may have written it since. That thread cleared PAGE_DIRTY before its commit, and its
 * commit precedes this begin through the swaps of the entry. Not inline: it would need more
 * registers, which each fault would save.
 */
static __rte_noinline int
page_zero_and_map(struct mmem_space *space, uint64_t off, uint32_t prot)
{
	_Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	struct pgt_ticket ticket;
	int rc;

	/* No other ticket has this tag: it is the address of this thread's ticket. */
	rc = pgt_resolve_begin(space->pgt, mmem_off_to_va(space, off), prot, (uintptr_t)&ticket,
			&ticket);
	if (rc < 0)
		return rc;
	if (atomic_load_explicit(page, memory_order_relaxed) & PAGE_DIRTY) {
		memset(mmem_off_to_dev(space->pool, off), 0, MMEM_PAGE_SIZE);
		/* Pairs with the acquire in mmem_access_check(). */
		atomic_fetch_and_explicit(page, (uint8_t)~PAGE_DIRTY, memory_order_release);
		mmem_stat_add(space, MMEM_STAT_ZEROED, 1);
	}
	return pgt_resolve_commit(&ticket, mmem_off_to_pa(space, off), prot);
}

int
mmem_page_map(struct mmem_space *space, uint64_t off, uint8_t page, uint32_t prot)
{
	if (unlikely(page & PAGE_DIRTY))
		return page_zero_and_map(space, off, prot);
	return pgt_resolve(space->pgt, mmem_off_to_va(space, off), mmem_off_to_pa(space, off),
			prot);
}

int
mmem_entry_upgrade(struct mmem_space *space, uint64_t va, size_t size, uint32_t prot)
{
	struct pgt_unmapped out;
	struct pgt_inv inv;
	int rc;

	pgt_unmapped_init(&out, &inv, 1);
	rc = pgt_protect(space->pgt, va & ~(uint64_t)(size - 1), size, prot, &out);
	if (rc == -EAGAIN)
		return rc;
	if (rc < 0)
		return -EIO;
	mmem_stat_add(space, out.nb_inv ? MMEM_STAT_UPGRADED : MMEM_STAT_JOINED, 1);
	return mmem_after_inv(size);
}

/* The reason for a page without PAGE_USED: in no region, or contents absent. */
static __rte_noinline int
check_unusable_page(const struct mmem_access *access, uint8_t page)
{
	if (!(page & PAGE_ABSENT))
		return -EFAULT;
	return mmem_access_is_forbidden(access->perm, page) ? -EACCES : -EAGAIN;
}

int
mmem_access_check(struct mmem_space *space, const struct mmem_access *access, uint8_t *page)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	struct mmem_chunk *chunk;
	uint32_t state;

	if (off >= space->size)
		return -EFAULT;
	chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
	/* Pairs with the release in region_publish(): the pages' bytes and the tables. */
	if (atomic_load_explicit(&chunk->space, memory_order_acquire) != space)
		return -EFAULT;
	/* Pairs with the releases in page_zero_and_map() and mmem_block_switch_pages(). */
	*page = atomic_load_explicit(&space->pages[off >> MMEM_PAGE_LOG2], memory_order_acquire);
	if (unlikely(!(*page & PAGE_USED)))
		return check_unusable_page(access, *page);
	if (mmem_access_is_forbidden(access->perm, *page))
		return -EACCES;
	/* Pairs with the release in mmem_pool_populate_chunk(): the chunk's memory. */
	state = atomic_load_explicit(&chunk->state, memory_order_acquire);
	if (!(state & CHUNK_POPULATED))
		return -EAGAIN;
	if (unlikely(!(state & (CHUNK_TOUCHED | CHUNK_STREAMED))))
		mmem_chunk_mark_touched(space, chunk);
	return 0;
}

uint32_t
mmem_page_get_prot(const struct mmem_space *space, uint64_t off, uint8_t page, bool write)
{
	uint32_t prot = page & MMEM_RIGHTS;

	if (write || !(page & MMEM_TRACK_WRITES))
		return prot;
	return atomic_load_explicit(&space->chunks[off >> MMEM_CHUNK_LOG2].state,
			memory_order_relaxed) & CHUNK_HW_DIRTY ? prot | PGT_CLEAN :
			prot & ~MMEM_WRITE;
}

int
mmem_access_resolve(struct mmem_space *space, const struct mmem_access *access)
{
	uint64_t off = access->addr - (uintptr_t)space->mem;
	struct mmem_chunk *chunk;
	uint32_t prot;
	uint8_t page;
	int rc;

	rc = mmem_access_check(space, access, &page);
	if (rc < 0)
		return off >= space->size ? mmem_import_resolve(space, access) : rc;
	prot = mmem_page_get_prot(space, off, page, access->perm & IOPF_PERM_WRITE);
	off &= ~(uint64_t)(MMEM_PAGE_SIZE - 1);
	rc = mmem_page_map(space, off, page, prot);
	if (rc == 0) {
		chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
		if (unlikely(mmem_chunk_is_streamed(chunk)) && access->ahead != NULL)
			mmem_ahead_follow(space, chunk, off, access->ahead);
	} else if (mmem_chunk_is_huge(&space->chunks[off >> MMEM_CHUNK_LOG2])) {
		return mmem_huge_resolve(space, access, off, rc, prot);
	}
	return mmem_access_finish(space, access, rc, MMEM_PAGE_SIZE, prot);
}
