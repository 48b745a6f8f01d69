/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Faults and ranges of imported memory. */

#include <errno.h>

#include <rte_common.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "mmem_access.h"
#include "mmem_import.h"
#include "mmem_space.h"
#include "mmem_window.h"

struct mmem_import *
mmem_import_find(struct mmem_space *space, uint64_t addr)
{
	/* Pairs with the release in table_publish(): the array and the imports. */
	const struct mmem_import_table *table = atomic_load_explicit(&space->import_table,
			memory_order_acquire);
	size_t low = 0, high, mid;
	struct mmem_import *import;

	if (table == NULL)
		return NULL;
	/* The last one that begins at or before the address. */
	for (high = table->nb; low < high;) {
		mid = low + (high - low) / 2;
		if ((uintptr_t)table->at[mid]->ptr <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == 0)
		return NULL;
	import = table->at[low - 1];
	return addr - (uintptr_t)import->ptr < import->size ? import : NULL;
}

int
mmem_import_extend_range(struct mmem_space *space, void **ptr, size_t *len,
		struct mmem_import **import)
{
	uint64_t start = (uintptr_t)*ptr, end;
	size_t granule;

	*import = mmem_import_find(space, start);
	if (*import == NULL)
		return 0;
	if (*len == 0 || ((start | *len) & (MMEM_PAGE_SIZE - 1)) ||
			*len > (*import)->size - (start - (uintptr_t)(*import)->ptr)) {
		MMEM_LOG_LIMITED(space, "%zu bytes at %p are no range of the import at %p of %zu "
				"bytes: use multiples of 4 KiB, not 0, within it", *len, *ptr,
				(*import)->ptr, (*import)->size);
		return -EINVAL;
	}
	granule = mmem_import_granule(*import);
	end = RTE_ALIGN_CEIL(start + *len, granule);
	start = RTE_ALIGN_FLOOR(start, granule);
	*ptr = (*import)->ptr + (start - (uintptr_t)(*import)->ptr);
	*len = end - start;
	return 0;
}

/*
 * Map the granule of an address. Returns as pgt_resolve(), and the number of pages that became
 * valid. The tables that it needs exist: see import_make_tables().
 */
static int
granule_map(struct mmem_space *space, const struct mmem_import *import, uint64_t va, uint32_t prot,
		unsigned int *nb)
{
	int rc;

	*nb = 1;
	va = RTE_ALIGN_FLOOR(va, (uint64_t)MMEM_PAGE_SIZE);
	rc = pgt_resolve(space->pgt, va, mmem_window_to_pa(import->window, va), prot);
	/* A table where a block would be: an earlier import at this address had pages. */
	if (rc != -ENOENT || import->granule_log2 == MMEM_PAGE_LOG2)
		return rc;
	*nb = MMEM_CHUNK_SIZE / MMEM_PAGE_SIZE;
	va = RTE_ALIGN_FLOOR(va, (uint64_t)MMEM_CHUNK_SIZE);
	return pgt_resolve_block(space->pgt, va, mmem_window_to_pa(import->window, va),
			MMEM_CHUNK_SIZE, prot);
}

static uint32_t
page_to_prot(uint8_t page, bool write)
{
	return (page & MMEM_TRACK_WRITES) && !write ? page & MMEM_RIGHTS & ~MMEM_WRITE :
			page & MMEM_RIGHTS;
}

static uint8_t
load_page(const struct mmem_import *import, uint64_t va)
{
	return atomic_load_explicit(&import->pages[(va - (uintptr_t)import->ptr) >>
			import->granule_log2], memory_order_relaxed);
}

int
mmem_import_resolve(struct mmem_space *space, const struct mmem_access *access)
{
	const struct mmem_import *import = mmem_import_find(space, access->addr);
	unsigned int nb;
	uint32_t prot;
	uint8_t page;
	int rc;

	if (import == NULL)
		return -EFAULT;
	page = load_page(import, access->addr);
	if (mmem_access_is_forbidden(access->perm, page))
		return -EACCES;
	prot = page_to_prot(page, access->perm & IOPF_PERM_WRITE);
	rc = granule_map(space, import, access->addr, prot, &nb);
	if (rc == 0)
		mmem_stat_add(space, MMEM_STAT_MAPPED, nb - 1);
	return mmem_access_finish(space, access, rc, mmem_import_granule(import), prot);
}

int
mmem_import_prefetch(struct mmem_space *space, const struct mmem_import *import, void *ptr,
		size_t len)
{
	uint64_t va = (uintptr_t)ptr, end = va + len, mapped = 0;
	unsigned int nb;
	uint32_t prot;
	int rc = 0;

	for (; va < end && rc == 0; va += mmem_import_granule(import)) {
		prot = page_to_prot(load_page(import, va), false);
		if (prot == 0)
			continue;
		rc = granule_map(space, import, va, prot, &nb);
		if (rc == 0)
			mapped += nb;
		else if (rc == -EALREADY || rc == -EACCES || rc == -EBUSY)
			rc = 0;		/* a fault has mapped it */
	}
	mmem_stat_add(space, MMEM_STAT_PREFETCHED, mapped);
	return rc;
}
