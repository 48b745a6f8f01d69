/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_IMPORT_H
#define MMEM_IMPORT_H

/*
 * Memory of the application in a space. space->imports lists it by address; a thread changes the
 * list under space->lock. The fault path searches space->import_table, a sorted array of those that
 * are not hidden: published by release, and reused or freed only after iopf_quiesce(). Any other
 * reader holds space->lock. A space owns two arrays, so that a release allocates nothing.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "mmem_chunk.h"
#include "mmem_space.h"

struct mmem_access;
struct mmem_space;
struct mmem_window;

struct mmem_import {
	TAILQ_ENTRY(mmem_import) next;
	uint8_t *ptr;
	size_t size;
	unsigned int granule_log2;	/* MMEM_CHUNK_LOG2: a fault maps a block, else a page */
	bool is_mapped_here;		/* by mmem_import_fd(): unmapped from the CPU at the end */
	struct mmem_window *window;	/* of the first IOMMU */
	struct mmem_window **others;	/* of the others, with the same device addresses */
	unsigned int nb_others;
	/* Progress of a release. Under space->lock. */
	bool hidden;			/* faults do not find it */
	bool is_closed;			/* unmapped from the devices, invalidation confirmed */
	_Atomic uint8_t pages[];	/* by granule: as the byte of a page, with rights only */
};

struct mmem_import_table {
	size_t nb;
	struct mmem_import *at[];
};

static inline size_t
mmem_import_granule(const struct mmem_import *import)
{
	return (size_t)1 << import->granule_log2;
}

/*
 * The import that holds this address and is not hidden, or NULL. In a fast handler, or under
 * space->lock.
 */
struct mmem_import *mmem_import_find(struct mmem_space *space, uint64_t addr);

/* For a range whose first byte an import may hold. */
int mmem_import_extend_range(struct mmem_space *space, void **ptr, size_t *len,
		struct mmem_import **import);

/*
 * The import that holds the range, which is extended to whole blocks where a block maps it. NULL:
 * no import holds its first byte. -EINVAL is logged. Under space->lock.
 */
static inline int
mmem_import_find_range(struct mmem_space *space, void **ptr, size_t *len,
		struct mmem_import **import)
{
	*import = NULL;
	return mmem_may_be_import(space, (uintptr_t)*ptr) ?
			mmem_import_extend_range(space, ptr, len, import) : 0;
}

/* As mmem_access_resolve(), for an address outside the pool. As mmem_import_find(). */
int mmem_import_resolve(struct mmem_space *space, const struct mmem_access *access);

/* Map a range of mmem_import_find_range(). Under space->lock. Returns 0 or -errno. */
int mmem_import_prefetch(struct mmem_space *space, const struct mmem_import *import, void *ptr,
		size_t len);

/*
 * Import memory that is mapped. @p is_mapped_here: its release unmaps it from the CPU. Returns 0 or
 * -errno, logged.
 */
int mmem_import_mapping(struct mmem_space *space, void *ptr, size_t len, unsigned int flags,
		bool is_mapped_here);

/* Release all imports of a space without a domain. Returns 0, or the error of iopf_dma_unmap(). */
int mmem_imports_release_all(struct mmem_space *space);

#endif /* MMEM_IMPORT_H */
