/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Removes pages or rights from the devices: unmap, protect, and their invalidation. */

#include <errno.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "iopf_pgtable.h"
#include "mmem_block.h"
#include "mmem_dirty_map.h"
#include "mmem_huge.h"
#include "mmem_import.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"

/* Ranges in one invalidation; pgt_unmap() merges ranges beyond this number. */
#define MAX_INV 16

int
mmem_invalidate(struct mmem_space *space, const struct iopf_inv *inv, unsigned int n)
{
	const struct iopf_inv all = { .all = true };
	int rc;

	/* Pairs with the release in mmem_handle_fault(): the entries that it did not invalidate. */
	if (atomic_exchange_explicit(&space->inv_missing, false, memory_order_acquire)) {
		inv = &all;
		n = 1;
	}
	/* A space without a domain has no attachment. */
	if (n == 0 || space->domain == NULL)
		return 0;
	rc = iopf_invalidate(space->domain, inv, n, NULL);
	if (rc < 0) {
		MMEM_LOG_LIMITED(space, "invalidation failed: %s: devices may still access "
				"unmapped pages", rte_strerror(-rc));
		atomic_store_explicit(&space->inv_missing, true, memory_order_relaxed);
	}
	return rc;
}

int
mmem_invalidate_unmapped(struct mmem_space *space, const struct pgt_unmapped *out)
{
	struct iopf_inv inv[MMEM_MAX_INV];
	unsigned int i;

	for (i = 0; i < out->nb_inv; i++)
		inv[i] = iopf_inv_from_pgt(&out->inv[i]);
	return mmem_invalidate(space, inv, out->nb_inv);
}

void
mmem_block_keep_dirty(struct mmem_region *region, uint64_t off, const struct pgt_used *used)
{
	struct mmem_pool *pool = region->space->pool;

	if (used->dirty_bytes == 0 || region->blocks == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	region->blocks[mmem_region_get_block(region, off)].state |= BLOCK_WRITTEN;
	pthread_mutex_unlock(&pool->lock);
}

/* prot 0: close; else change the rights. */
static int
entries_change(struct mmem_space *space, uint64_t va, size_t len, uint32_t prot,
		struct pgt_unmapped *out)
{
	return prot != 0 ? pgt_protect(space->pgt, va, len, prot, out) :
			pgt_unmap(space->pgt, va, len, PGT_CLOSE, out);
}

/* The same, and keep the dirty state of the region's blocks and pages. NULL: an import. */
static int
range_change(struct mmem_space *space, struct mmem_region *region, uint64_t va, size_t len,
		uint32_t prot, struct pgt_unmapped *out)
{
	uint64_t off = va - (uintptr_t)space->mem, end = off + len, next;
	struct mmem_dirty_step step;
	int rc = 0;

	if (region == NULL || !region->keeps_dirty)
		return entries_change(space, va, len, prot, out);
	out->used = &step.used;
	for (; off < end && rc == 0; off = next) {
		next = RTE_MIN(end, mmem_dirty_step_end(region, off));
		mmem_dirty_step_init(&step, region, mmem_off_to_va(space, off), next - off);
		rc = entries_change(space, step.used.va, step.used.size, prot, out);
		mmem_block_keep_dirty(region, off, &step.used);
		mmem_dirty_step_keep(region, &step);
	}
	out->used = NULL;
	return rc;
}

int
mmem_range_close(struct mmem_space *space, struct mmem_region *region, uint64_t va, size_t len)
{
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc, rc_inv;

	pgt_unmapped_init(&out, inv, MAX_INV);
	rc = range_change(space, region, va, len, 0, &out);
	rc_inv = mmem_invalidate_unmapped(space, &out);
	mmem_stat_add(space, MMEM_STAT_UNMAPPED, out.bytes >> MMEM_PAGE_LOG2);
	return rc < 0 ? rc : rc_inv;
}

/*
 * A range was not closed, or not confirmed, with this error. In a region with MMEM_HUGE it may
 * cover a block in part, or no table is left: split the block, or close all of it too. Open the
 * range in any case: the page behind each entry stays the same.
 */
static __rte_noinline int
range_unmap_again(struct mmem_space *space, struct mmem_region *region, uint64_t va, size_t len,
		int rc)
{
	int rc_open;

	if (region != NULL && (region->flags & MMEM_HUGE) && (rc == -EINVAL || rc == -ENOMEM)) {
		rc = mmem_huge_split_or_extend(space, &va, &len);
		if (rc == 0)
			rc = mmem_range_close(space, region, va, len);
	}
	rc_open = pgt_open(space->pgt, va, len);
	return rc < 0 ? rc : rc_open;
}

int
mmem_unmap(struct mmem_space *space, void *ptr, size_t len)
{
	struct mmem_region *region;
	struct mmem_import *import;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	rc = mmem_import_find_range(space, &ptr, &len, &import);
	region = rc == 0 && import == NULL ? mmem_region_find_range(space, ptr, len) : NULL;
	if (rc == 0 && import == NULL && region == NULL)
		rc = -EINVAL;
	if (rc == 0) {
		rc = mmem_range_close(space, region, (uintptr_t)ptr, len);
		if (likely(rc == 0))
			rc = pgt_open(space->pgt, (uintptr_t)ptr, len);
		else
			rc = range_unmap_again(space, region, (uintptr_t)ptr, len, rc);
	}
	mmem_space_unlock(space);
	if (rc == 0)
		mmem_regions_free_kept(space);
	return mmem_ret(rc);
}

/*
 * The bytes of the pages in a range, or of its blocks, their number, and the region, or NULL for an
 * import. NULL: no such range, which is logged. Under space->lock.
 */
static _Atomic uint8_t *
pages_find(struct mmem_space *space, void *ptr, size_t len, size_t *nb,
		struct mmem_region **region)
{
	struct mmem_import *import;
	void *block = ptr;
	size_t size = len;

	*region = NULL;
	if (mmem_import_find_range(space, &block, &size, &import) < 0)
		return NULL;
	if (import != NULL && (block != ptr || size != len)) {
		MMEM_LOG_LIMITED(space, "%zu bytes at %p of the import at %p: its rights are those "
				"of whole blocks: use multiples of 2 MiB", len, ptr, import->ptr);
		return NULL;
	}
	if (import != NULL) {
		*nb = len >> import->granule_log2;
		return &import->pages[((uintptr_t)ptr - (uintptr_t)import->ptr) >>
				import->granule_log2];
	}
	*region = mmem_region_find_range(space, ptr, len);
	if (*region == NULL)
		return NULL;
	*nb = len >> MMEM_PAGE_LOG2;
	return &space->pages[((uintptr_t)ptr - (uintptr_t)space->mem) >> MMEM_PAGE_LOG2];
}

static void
pages_set_rights(_Atomic uint8_t *page, size_t nb, uint8_t rights)
{
	_Atomic uint8_t *end = page + nb;
	uint8_t old;

	for (; page < end; page++) {
		/* A handler or a fetch may change the other bits concurrently. */
		old = atomic_load_explicit(page, memory_order_relaxed);
		while (!atomic_compare_exchange_weak_explicit(page, &old,
				(old & ~(MMEM_RIGHTS | MMEM_TRACK_WRITES)) | rights,
				memory_order_relaxed, memory_order_relaxed))
			;
	}
}

/*
 * Shall pages that are only read be mapped writable-clean? Not where the caller wants to see the
 * first write as a fault: in the chunks that the range touches, until it is taken back.
 */
static bool
range_set_hw_dirty(struct mmem_region *region, uint64_t off, size_t len, unsigned int flags)
{
	bool hw_dirty = region->hw_dirty && !(flags & MMEM_TRACK_WRITES);
	uint64_t end = off + len;
	struct mmem_chunk *chunk;

	for (off = RTE_ALIGN_FLOOR(off, MMEM_CHUNK_SIZE); region->hw_dirty && off < end;
			off += MMEM_CHUNK_SIZE) {
		chunk = &region->space->chunks[off >> MMEM_CHUNK_LOG2];
		if (hw_dirty)
			atomic_fetch_or_explicit(&chunk->state, CHUNK_HW_DIRTY,
					memory_order_relaxed);
		else
			atomic_fetch_and_explicit(&chunk->state, ~CHUNK_HW_DIRTY,
					memory_order_relaxed);
	}
	return hw_dirty;
}

/* Give valid entries the rights of their pages; unmap entries without rights. */
static int
entries_apply_rights(struct mmem_space *space, struct mmem_region *region, uint64_t va, size_t len,
		uint8_t rights, bool hw_dirty)
{
	uint32_t prot = rights & MMEM_RIGHTS;
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc, rc_open;

	if (rights & MMEM_TRACK_WRITES)
		prot = hw_dirty && (prot & MMEM_WRITE) ? prot | PGT_CLEAN : prot & ~MMEM_WRITE;
	if (prot) {
		pgt_unmapped_init(&out, inv, MAX_INV);
		rc = range_change(space, region, va, len, prot, &out);
		if (rc == 0)
			return mmem_invalidate_unmapped(space, &out);
		/*
		 * An entry kept changing. Closing it always works; the invalidation then covers
		 * all.
		 */
		atomic_store_explicit(&space->inv_missing, true, memory_order_relaxed);
	}
	rc = mmem_range_close(space, region, va, len);
	rc_open = pgt_open(space->pgt, va, len);
	return rc < 0 ? rc : rc_open;
}

int
mmem_protect(struct mmem_space *space, void *ptr, size_t len, unsigned int flags)
{
	uint64_t off = (uintptr_t)ptr - (uintptr_t)(space != NULL ? space->mem : NULL);
	struct mmem_region *region;
	bool hw_dirty = false;
	_Atomic uint8_t *pages;
	uint8_t rights;
	size_t nb;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	if (flags & ~(MMEM_RIGHTS | MMEM_TRACK_WRITES)) {
		MMEM_LOG_LIMITED(space, "flags 0x%x of mmem_protect(): use MMEM_READ, MMEM_WRITE, "
				"MMEM_EXEC and MMEM_TRACK_WRITES only", flags);
		return mmem_ret(-EINVAL);
	}
	pthread_mutex_lock(&space->lock);
	pages = pages_find(space, ptr, len, &nb, &region);
	if (pages == NULL) {
		rc = -EINVAL;
	} else {
		rights = region != NULL ? mmem_region_get_rights(region, flags) :
				mmem_flags_to_rights(flags);
		if (region != NULL && (region->flags & MMEM_HUGE))
			rc = mmem_huge_split(space, (uintptr_t)ptr, len,
					rights & MMEM_TRACK_WRITES);
		/*
		 * Handlers that read the old rights have returned; change the entries they mapped.
		 */
		if (rc == 0) {
			pages_set_rights(pages, nb, rights);
			if (region != NULL) {
				mmem_dirty_protect(region, off, len, flags);
				hw_dirty = range_set_hw_dirty(region, off, len, flags);
			}
			rc = iopf_quiesce();
		}
		if (rc == 0)
			rc = entries_apply_rights(space, region, (uintptr_t)ptr, len, rights,
					hw_dirty);
	}
	mmem_space_unlock(space);
	if (rc == 0)
		mmem_regions_free_kept(space);
	return mmem_ret(rc);
}
