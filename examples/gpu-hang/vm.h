/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VM_H
#define VM_H

/*
 * The address space of a context, with page tables of its own and the policies for a context that
 * hangs. One buffer is mapped on demand at VM_BASE. An access elsewhere is fatal: it opens an
 * episode, in which the IOMMU library answers and counts all further faults of the context without
 * calling the handler.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_policy.h>

#define VM_BASE		UINT64_C(0x1000000000)
#define VM_BUFFER_MAX	(2 << 20)

struct vm;

struct vm_stats {
	uint64_t mapped;	/* faults on the buffer */
	uint64_t fatal;		/* faults that were given to the handler and are fatal */
};

/* Returns NULL after one line on stderr. */
struct vm *vm_open(struct iopf_iommu *iommu, struct iopf_dev *dev, uint32_t pasid);
void vm_close(struct vm *vm);

/* The CPU's pointer to the buffer. */
void *vm_buffer(const struct vm *vm);

/* Unmap the buffer: the next access to each page faults. Returns 0 or -1 after one line on stderr. */
int vm_unmap(struct vm *vm);

/* A fatal fault has come since the last vm_rearm(). Any thread. */
bool vm_is_hung(const struct vm *vm);

/*
 * The context has been reset: none of its accesses is outstanding. The next fault goes to the
 * handler again. Returns 0 or -errno: -ENOENT if no episode is open.
 */
int vm_rearm(struct vm *vm, struct iopf_episode *episode);

bool vm_has_episode(const struct vm *vm);
void vm_get_stats(const struct vm *vm, struct vm_stats *stats);

#endif /* VM_H */
