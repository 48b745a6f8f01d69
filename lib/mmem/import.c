/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Imports and releases memory of the application. */

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <pgtable.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "mmem_huge.h"
#include "mmem_import.h"
#include "mmem_log.h"
#include "mmem_pool.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_telemetry.h"
#include "mmem_thread.h"
#include "mmem_unmap.h"
#include "mmem_window.h"

#define IMPORT_FLAGS (MMEM_RIGHTS | MMEM_TRACK_WRITES)

/* Let faults find all imports that are not hidden, and only these. Under space->lock. */
static void
table_publish(struct mmem_space *space)
{
	struct mmem_import_table *table = space->import_spare;
	struct mmem_import *import;

	table->nb = 0;
	TAILQ_FOREACH(import, &space->imports, next)
		if (!import->hidden)
			table->at[table->nb++] = import;
	space->import_spare = atomic_load_explicit(&space->import_table, memory_order_relaxed);
	/* Pairs with the acquire in mmem_import_find(). */
	atomic_store_explicit(&space->import_table, table, memory_order_release);
	/* Handlers that read the old array have returned: it can be overwritten. */
	iopf_quiesce();
}

/* Make two arrays for one more import. Under space->lock. */
static int
tables_grow(struct mmem_space *space)
{
	size_t max = space->imports_max ? 2 * space->imports_max : 8;
	struct mmem_import_table *tables[2];

	if (space->nb_imports < space->imports_max)
		return 0;
	for (unsigned int i = 0; i < RTE_DIM(tables); i++)
		tables[i] = malloc(sizeof(*tables[i]) + max * sizeof(tables[i]->at[0]));
	if (tables[0] == NULL || tables[1] == NULL) {
		free(tables[0]);
		free(tables[1]);
		return -ENOMEM;
	}
	free(space->import_spare);
	space->import_spare = tables[0];
	table_publish(space);
	free(space->import_spare);
	space->import_spare = tables[1];
	space->imports_max = max;
	return 0;
}

/* Under space->lock. NULL: the space has no import that overlaps the range. */
static struct mmem_import *
find_overlap(struct mmem_space *space, const uint8_t *ptr, size_t size)
{
	struct mmem_import *import;

	TAILQ_FOREACH(import, &space->imports, next)
		if (ptr < import->ptr + import->size && import->ptr < ptr + size)
			break;
	return import;
}

static void
insert_sorted(struct mmem_space *space, struct mmem_import *import)
{
	struct mmem_import *after;

	TAILQ_FOREACH(after, &space->imports, next)
		if (after->ptr > import->ptr)
			break;
	if (after != NULL)
		TAILQ_INSERT_BEFORE(after, import, next);
	else
		TAILQ_INSERT_TAIL(&space->imports, import, next);
	atomic_fetch_add_explicit(&space->nb_imports, 1, memory_order_relaxed);
}

/* Make the tables that faults need: they allocate nothing. */
static int
import_make_tables(struct mmem_space *space, const struct mmem_import *import)
{
	uint64_t va = (uintptr_t)import->ptr;

	return import->granule_log2 == MMEM_PAGE_LOG2 ?
			pgt_prealloc(space->pgt, va, import->size) :
			mmem_make_tables_for_blocks(space, va, import->size);
}

/* Returns 0, or the error that forbids the import, after logging it. */
static int
check_args(struct mmem_space *space, const void *ptr, size_t len, unsigned int flags)
{
	uintptr_t start = (uintptr_t)ptr;
	unsigned int va_bits;

	if (space == NULL)
		return -EINVAL;
	if (mmem_may_wait() < 0)
		return -EDEADLK;
	va_bits = pgt_va_bits(space->pgt);
	if (len == 0 || ((start | len) & (MMEM_PAGE_SIZE - 1)) || len > UINTPTR_MAX - start) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: use multiples of 4 KiB, not "
				"0", len, ptr);
		return -EINVAL;
	}
	if (!(flags & MMEM_RIGHTS) || (flags & ~IMPORT_FLAGS)) {
		MMEM_LOG_LIMITED(space, "flags 0x%x of an import: set at least one of MMEM_READ, "
				"MMEM_WRITE and MMEM_EXEC, and no bit outside 0x%x",
				flags, IMPORT_FLAGS);
		return -EINVAL;
	}
	if ((start + len - 1) >> va_bits) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: %s has %u address bits: map "
				"the memory at a lower address", len, ptr,
				iopf_iommu_name(space->pool->iommus[0]), va_bits);
		return -ERANGE;
	}
	if (mmem_pools_overlap(ptr, len)) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: it is memory of a pool: use "
				"mmem_alloc()", len, ptr);
		return -EEXIST;
	}
	return 0;
}

/* Returns 0, or -errno after logging it. */
static int
check_memory(struct mmem_space *space, void *ptr, size_t len, unsigned int flags,
		struct mmem_mapping *mapping)
{
	const char *why = NULL;
	int rc;

	rc = mmem_mapping_check(ptr, len, flags & MMEM_WRITE, mapping, &why);
	if (rc == 0)
		rc = mmem_mapping_populate(ptr, len, mapping, &why);
	if (rc < 0)
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: %s", len, ptr, why);
	return rc;
}

static struct mmem_import *
import_alloc(uint8_t *ptr, size_t len)
{
	struct mmem_import *import;

	/* A byte for each page, written now: the fault path must not take a CPU page fault. */
	import = malloc(sizeof(*import) + (len >> MMEM_PAGE_LOG2));
	if (import != NULL)
		*import = (struct mmem_import){ .ptr = ptr, .size = len };
	return import;
}

static void
import_init_pages(struct mmem_import *import, unsigned int flags)
{
	bool blocks = mmem_window_has_blocks(import->window) && !(flags & MMEM_TRACK_WRITES);
	size_t i;

	import->granule_log2 = blocks ? MMEM_CHUNK_LOG2 : MMEM_PAGE_LOG2;
	for (i = 0; i < import->size >> import->granule_log2; i++)
		atomic_init(&import->pages[i], mmem_flags_to_rights(flags));
}

static void
log_no_window(struct mmem_space *space, const struct mmem_import *import, unsigned int i,
		int error)
{
	const char *iommu = iopf_iommu_name(space->pool->iommus[i]);

	if (error == -EXDEV)
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: it has another device "
				"address behind %s than behind %s: use a pool for each",
				import->size, import->ptr, iommu,
				iopf_iommu_name(space->pool->iommus[0]));
	else if (error == -EEXIST)
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: a part of it is mapped for "
				"%s already: import the same range as the other space",
				import->size, import->ptr, iommu);
	else
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: %s cannot reach it: %s%s",
				import->size, import->ptr, iommu, rte_strerror(-error),
				error == -ENOTSUP ? "; use hugepages or memory of EAL" : "");
}

/* Returns 0, or the error of iopf_dma_unmap(): call it again. */
static int
windows_put(struct mmem_import *import)
{
	int rc = 0;

	while (import->nb_others != 0 && rc == 0) {
		rc = mmem_window_put(import->others[import->nb_others - 1]);
		if (rc == 0)
			import->nb_others--;
	}
	return rc < 0 ? rc : mmem_window_put(import->window);
}

/* The windows of all IOMMUs. Returns 0, or -errno after logging it. */
static int
windows_get(struct mmem_space *space, struct mmem_import *import, size_t page_size)
{
	const struct mmem_pool *pool = space->pool;
	struct mmem_window *window;
	unsigned int i;
	int rc = 0;

	import->others = calloc(pool->nb_iommus, sizeof(*import->others));
	if (import->others == NULL)
		return -ENOMEM;
	for (i = 0; i < pool->nb_iommus; i++) {
		rc = mmem_window_get(pool->iommus[i], import->ptr, import->size, page_size,
				&window);
		if (rc < 0)
			break;
		if (i == 0)
			import->window = window;
		else
			import->others[import->nb_others++] = window;
		if (!mmem_window_is_same(import->window, window)) {
			rc = -EXDEV;
			break;
		}
	}
	if (rc == 0)
		return 0;
	log_no_window(space, import, i, rc);
	if (i != 0)
		windows_put(import);
	return rc == -EXDEV ? -ENOTSUP : rc;
}

static void
import_free(struct mmem_import *import)
{
	free(import->others);
	free(import);
}

/* Add an import to the space. Under space->lock. */
static int
import_add(struct mmem_space *space, struct mmem_import *import, unsigned int flags,
		const struct mmem_mapping *mapping)
{
	const struct mmem_import *other;
	int rc;

	if (space->domain == NULL) {
		MMEM_LOG_LIMITED(space, "half destroyed, cannot import memory: destroy it again");
		return -ESHUTDOWN;
	}
	other = find_overlap(space, import->ptr, import->size);
	if (other != NULL) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: the import at %p of %zu "
				"bytes overlaps it%s", import->size, import->ptr, other->ptr,
				other->size, other->hidden ?
				", and its release failed: release it again" : "");
		return -EEXIST;
	}
	rc = tables_grow(space);
	if (rc < 0)
		return rc;
	rc = windows_get(space, import, mapping->page_size);
	if (rc < 0)
		return rc;
	import_init_pages(import, flags);
	rc = import_make_tables(space, import);
	if (rc < 0) {
		MMEM_LOG_LIMITED(space, "no import of %zu bytes at %p: no chunk is left in pool %s "
				"for its page tables: free regions, or use a larger pool",
				import->size, import->ptr, space->pool->name);
		windows_put(import);
		return rc;
	}
	insert_sorted(space, import);
	table_publish(space);
	return 0;
}

int
mmem_import_mapping(struct mmem_space *space, void *ptr, size_t len, unsigned int flags,
		bool is_mapped_here)
{
	struct mmem_mapping mapping;
	struct mmem_import *import;
	int rc;

	rc = check_args(space, ptr, len, flags);
	if (rc == 0)
		rc = check_memory(space, ptr, len, flags, &mapping);
	if (rc < 0)
		return rc;
	import = import_alloc(ptr, len);
	if (import == NULL)
		return -ENOMEM;
	import->is_mapped_here = is_mapped_here;
	pthread_mutex_lock(&space->lock);
	rc = import_add(space, import, flags, &mapping);
	mmem_space_unlock(space);
	if (rc < 0)
		import_free(import);
	return rc;
}

int
mmem_import(struct mmem_space *space, void *ptr, size_t len, unsigned int flags)
{
	return mmem_ret(mmem_import_mapping(space, ptr, len, flags, false));
}

/*
 * Release an import, or make progress with it. Under space->lock, which deferred faults need too.
 * Once it is hidden, table_publish() has waited for handlers that found it, so that none can map a
 * page after the entries are opened.
 */
static int
import_release(struct mmem_space *space, struct mmem_import *import)
{
	uint64_t va = (uintptr_t)import->ptr;
	int rc = 0;

	if (!import->hidden) {
		import->hidden = true;
		table_publish(space);
	}
	/* Without a domain no device has a mapping. */
	if (space->domain == NULL)
		import->is_closed = true;
	if (!import->is_closed)
		rc = mmem_range_close(space, NULL, va, import->size);
	if (rc < 0)
		return rc;
	import->is_closed = true;
	rc = pgt_open(space->pgt, va, import->size);
	if (rc == 0)
		rc = windows_put(import);
	if (rc < 0)
		return rc;
	if (import->is_mapped_here)
		munmap(import->ptr, import->size);
	TAILQ_REMOVE(&space->imports, import, next);
	atomic_fetch_sub_explicit(&space->nb_imports, 1, memory_order_relaxed);
	import_free(import);
	return 0;
}

int
mmem_release(struct mmem_space *space, void *ptr)
{
	struct mmem_import *import;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	pthread_mutex_lock(&space->lock);
	TAILQ_FOREACH(import, &space->imports, next)
		if (import->ptr == ptr)
			break;
	if (import == NULL) {
		rc = -EINVAL;
		MMEM_LOG_LIMITED(space, "no import begins at %p: pass the pointer of "
				"mmem_import() or mmem_import_fd(), and release it once", ptr);
	} else {
		rc = import_release(space, import);
		if (rc < 0)
			MMEM_LOG_LIMITED(space, "the import at %p is kept: %s: release it again",
					ptr, rte_strerror(-rc));
	}
	mmem_space_unlock(space);
	if (rc == 0)
		mmem_regions_free_kept(space);
	return mmem_ret(rc);
}

int
mmem_imports_release_all(struct mmem_space *space)
{
	struct mmem_import *import;
	int rc = 0;

	pthread_mutex_lock(&space->lock);
	while (rc == 0 && (import = TAILQ_FIRST(&space->imports)) != NULL)
		rc = import_release(space, import);
	if (rc < 0)
		MMEM_LOG(ERR, "space %s: the import at %p is kept: %s: destroy the space again",
				space->name, import->ptr, rte_strerror(-rc));
	pthread_mutex_unlock(&space->lock);
	return rc;
}
