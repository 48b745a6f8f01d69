/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Blocks of regions with MMEM_HUGE: mapped by faults, split, and joined again. */

#include <errno.h>

#include <rte_common.h>

#include <pgtable.h>
#include <pgtable_resize.h>

#include "iopf_handler.h"
#include "mmem_access.h"
#include "mmem_huge.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_unmap.h"

#define GIB (UINT64_C(1) << 30)
#define CHUNK_PAGES (MMEM_CHUNK_SIZE / MMEM_PAGE_SIZE)
/* Attempts to make a table of pages. A fault maps the block between two of them once. */
#define SPLIT_TRIES 4
#define MAX_INV 8

static bool
is_huge(const struct mmem_space *space, uint64_t va)
{
	uint64_t off = va - (uintptr_t)space->mem;

	return mmem_chunk_is_huge(&space->chunks[off >> MMEM_CHUNK_LOG2]);
}

/*
 * Invalidate. Then no device walks the unlinked tables in @p out any more, and after iopf_quiesce()
 * no handler: free them. Other threads walk under space->lock, or walk tables of other chunks only.
 * Without a confirmed invalidation the tables are kept for the next call. Under space->lock.
 */
static int
tables_retire(struct mmem_space *space, struct pgt_unmapped *out)
{
	int rc = mmem_invalidate_unmapped(space, out);

	if (rc == 0 && out->tables.nb != 0)
		rc = iopf_quiesce();
	if (rc == 0)
		pgt_free_tables(space->pgt, &out->tables);
	space->retired = out->tables;
	return rc;
}

/* What is changed from now on, with the tables that earlier calls kept. Under space->lock. */
static void
unmapped_init(const struct mmem_space *space, struct pgt_unmapped *out, struct pgt_inv *inv)
{
	pgt_unmapped_init(out, inv, MAX_INV);
	out->tables = space->retired;
}

int
mmem_make_tables_for_blocks(struct mmem_space *space, uint64_t va, size_t size)
{
	uint64_t end = va + size;
	struct pgt_unmapped out;
	struct pgt_inv inv;
	int rc = 0;

	/*
	 * A table above blocks is made by closing one of them: nothing is valid there, so nothing
	 * needs an invalidation.
	 */
	for (; va < end && rc == 0; va = RTE_ALIGN_FLOOR(va, GIB) + GIB) {
		pgt_unmapped_init(&out, &inv, 1);
		rc = pgt_unmap(space->pgt, va, MMEM_CHUNK_SIZE, PGT_CLOSE, &out);
		if (rc == 0)
			rc = pgt_open(space->pgt, va, MMEM_CHUNK_SIZE);
	}
	return rc;
}

/* Tables of pages, of an earlier region in these chunks, would keep faults from mapping blocks. */
static int
unlink_old_tables(struct mmem_space *space, uint64_t va, size_t size)
{
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc, rc_retire;

	pthread_mutex_lock(&space->lock);
	unmapped_init(space, &out, inv);
	rc = pgt_unmap(space->pgt, va, size, PGT_TABLES, &out);
	rc_retire = tables_retire(space, &out);
	mmem_space_unlock(space);
	return rc < 0 ? rc : rc_retire;
}

int
mmem_region_make_tables(struct mmem_region *region)
{
	struct mmem_space *space = region->space;
	uint64_t va = mmem_off_to_va(space, mmem_region_off(region));
	struct mmem_chunk *chunk = &space->chunks[region->first_chunk];
	size_t whole = region->size & ~(MMEM_CHUNK_SIZE - 1), i;
	int rc = 0;

	/* A block's output address is aligned. The chunks' are all aligned, or none. */
	if (!(region->flags & MMEM_HUGE) || (region->flags & MMEM_TRACK_WRITES) ||
			(chunk->dma & (MMEM_CHUNK_SIZE - 1)))
		whole = 0;
	if (whole != 0)
		rc = unlink_old_tables(space, va, whole);
	if (rc == 0)
		rc = mmem_make_tables_for_blocks(space, va, whole);
	if (rc == 0 && whole < region->size)
		rc = pgt_prealloc(space->pgt, va + whole, region->size - whole);
	for (i = 0; rc == 0 && i < whole >> MMEM_CHUNK_LOG2; i++)
		atomic_fetch_or_explicit(&chunk[i].state, CHUNK_HUGE, memory_order_relaxed);
	return rc;
}

int
mmem_huge_map(struct mmem_space *space, uint64_t off, uint32_t prot)
{
	off = RTE_ALIGN_FLOOR(off, MMEM_CHUNK_SIZE);
	return pgt_resolve_block(space->pgt, mmem_off_to_va(space, off),
			mmem_off_to_pa(space, off), MMEM_CHUNK_SIZE, prot);
}

/* Of the leaf that maps an address, or of a page. */
static size_t
leaf_size(const struct mmem_space *space, uint64_t va)
{
	struct pgt_leaf leaf;

	return pgt_walk(space->pgt, va, &leaf) == 0 && leaf.state == PGT_VALID ? leaf.size :
			MMEM_PAGE_SIZE;
}

int
mmem_huge_resolve(struct mmem_space *space, const struct mmem_access *access, uint64_t off, int rc,
		uint32_t prot)
{
	if (rc == -ENOENT) {
		rc = mmem_huge_map(space, off, prot);
		if (rc == 0)
			mmem_stat_add(space, MMEM_STAT_MAPPED, CHUNK_PAGES - 1);
	}
	rc = mmem_access_finish(space, access, rc, leaf_size(space, access->addr), prot);
	/* The leaf may have been split or joined since its size was read: again, under the lock. */
	return rc == -EIO ? -EAGAIN : rc;
}

/*
 * Split the block of a chunk. If the IOMMU does not confirm the invalidation, the chunk is left
 * empty: what it maps does not change, as in mmem_unmap().
 */
static int
split_block(struct mmem_space *space, uint64_t va)
{
	struct pgt_inv inv[MAX_INV];
	struct pgt_resize resize;
	struct pgt_unmapped out;
	int rc;

	pgt_unmapped_init(&out, inv, MAX_INV);
	rc = pgt_split_begin(space->pgt, va, &resize, &out);
	if (rc < 0)
		return rc;
	rc = mmem_invalidate_unmapped(space, &out);
	if (rc < 0)
		pgt_open(space->pgt, va, MMEM_CHUNK_SIZE);
	pgt_resize_end(&resize);
	return rc;
}

/* After 0 no fault maps the chunk by a block. */
static int
make_table(struct mmem_space *space, uint64_t va)
{
	unsigned int tries;
	int rc = -EAGAIN;

	for (tries = 0; tries < SPLIT_TRIES && rc == -EAGAIN; tries++) {
		rc = split_block(space, va);
		if (rc != -ENOENT)
			continue;
		rc = pgt_prealloc(space->pgt, va, MMEM_CHUNK_SIZE);
		if (rc == 0 && leaf_size(space, va) != MMEM_PAGE_SIZE)
			rc = -EAGAIN;	/* a fault has mapped the block */
	}
	return rc;
}

/* The chunk at an address, and the range covers a part of it only. */
static bool
is_huge_part(const struct mmem_space *space, uint64_t chunk_va, uint64_t va, size_t len)
{
	return is_huge(space, chunk_va) &&
			(chunk_va < va || chunk_va + MMEM_CHUNK_SIZE > va + len);
}

int
mmem_huge_split(struct mmem_space *space, uint64_t va, size_t len, bool all)
{
	uint64_t first = RTE_ALIGN_FLOOR(va, MMEM_CHUNK_SIZE);
	uint64_t last = RTE_ALIGN_FLOOR(va + len - 1, MMEM_CHUNK_SIZE), at;
	uint64_t step = all || first == last ? MMEM_CHUNK_SIZE : last - first;
	int rc = 0;

	for (at = first; at <= last && rc == 0; at += step)
		if (all ? is_huge(space, at) : is_huge_part(space, at, va, len))
			rc = make_table(space, at);
	return rc;
}

int
mmem_huge_split_or_extend(struct mmem_space *space, uint64_t *va, size_t *len)
{
	uint64_t first = RTE_ALIGN_FLOOR(*va, MMEM_CHUNK_SIZE), end = *va + *len;
	uint64_t last = RTE_ALIGN_FLOOR(end - 1, MMEM_CHUNK_SIZE);
	int rc = mmem_huge_split(space, *va, *len, false);

	if (rc != -ENOMEM)
		return rc;
	if (is_huge_part(space, last, *va, *len))
		end = last + MMEM_CHUNK_SIZE;
	if (is_huge_part(space, first, *va, *len))
		*va = first;
	*len = end - *va;
	return 0;
}

/* The pages of a chunk have the same rights, and no writes are tracked. */
static bool
pages_are_alike(const struct mmem_space *space, uint64_t off)
{
	const _Atomic uint8_t *page = &space->pages[off >> MMEM_PAGE_LOG2];
	uint8_t first = atomic_load_explicit(page, memory_order_relaxed), differs = 0;
	size_t i;

	for (i = 1; i < CHUNK_PAGES; i++)
		differs |= atomic_load_explicit(&page[i], memory_order_relaxed) ^ first;
	return !(differs & (MMEM_RIGHTS | MMEM_TRACK_WRITES | PAGE_USED | PAGE_DIRTY)) &&
			!(first & (MMEM_TRACK_WRITES | PAGE_DIRTY));
}

/*
 * Make a block of a full table, which is unlinked. If the IOMMU does not confirm the invalidation,
 * the chunk is left empty.
 */
static int
join_table(struct mmem_space *space, uint64_t va, struct pgt_unmapped *out)
{
	struct pgt_resize resize;
	int rc;

	out->nb_inv = 0;
	rc = pgt_join_begin(space->pgt, va, MMEM_CHUNK_SIZE, &resize, out);
	if (rc < 0)
		return rc;
	rc = mmem_invalidate_unmapped(space, out);
	if (rc < 0)
		pgt_open(space->pgt, va, MMEM_CHUNK_SIZE);
	pgt_resize_end(&resize);
	return rc;
}

int
mmem_huge_join(struct mmem_space *space, uint64_t va, size_t len)
{
	uint64_t end = RTE_ALIGN_FLOOR(va + len, MMEM_CHUNK_SIZE);
	struct pgt_inv inv[MAX_INV];
	struct pgt_unmapped out;
	int rc = 0, rc_retire;

	unmapped_init(space, &out, inv);
	for (va = RTE_ALIGN_CEIL(va, MMEM_CHUNK_SIZE); va < end && rc == 0;
			va += MMEM_CHUNK_SIZE) {
		if (!is_huge(space, va) || !pages_are_alike(space, va - (uintptr_t)space->mem))
			continue;
		rc = join_table(space, va, &out);
		/* It is a block, is not full, or changes now. */
		if (rc == -EALREADY || rc == -ENOENT || rc == -EAGAIN)
			rc = 0;
	}
	out.nb_inv = 0;
	rc_retire = tables_retire(space, &out);
	return rc < 0 ? rc : rc_retire;
}
