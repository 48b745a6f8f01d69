/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VM_H
#define VM_H

/*
 * The address space of a context, with page tables of its own and the policies for a context that
 * hangs. One buffer is mapped on demand at VM_BASE. An access elsewhere is fatal: it opens an
 * episode, in which the IOMMU library answers and counts all further faults of the context without
 * calling the handler. Past a number of faults in a second the breaker trips: then the accesses
 * abort and do not stall.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_policy.h>

#define VM_BASE		UINT64_C(0x1000000000)
#define VM_BUFFER_MAX	(2 << 20)

struct vm;

struct vm_conf {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	uint32_t pasid;
	uint32_t breaker;	/* faults a second; 0: off */
};

/* The callback of the breaker. */
struct vm_trip {
	uint64_t time;		/* rte_rdtsc() */
	uint64_t stalls;	/* stalled accesses of the episode until then */
};

struct vm_stats {
	uint64_t mapped;	/* faults on the buffer */
	uint64_t fatal;		/* faults that were given to the handler and are fatal */
	uint64_t trips;		/* calls of the breaker's callback */
};

/* Returns NULL after one line on stderr. */
struct vm *vm_open(const struct vm_conf *conf);
void vm_close(struct vm *vm);

/* The CPU's pointer to the buffer. */
void *vm_buffer(const struct vm *vm);

/* A fatal fault has come since the last vm_reset(). Any thread. */
bool vm_is_hung(const struct vm *vm);

/* The breaker has tripped: a runtime kills the context. Any thread. */
bool vm_has_tripped(const struct vm *vm);

/*
 * Reset the address space, when the GPU has ended all accesses of the context: take the episode
 * with all its counts, and begin again with nothing mapped. @p trip: of the last call of the
 * breaker's callback. Returns 0 or -1 after one line on stderr.
 */
int vm_reset(struct vm *vm, struct iopf_episode *episode, struct vm_trip *trip);

/* An episode is open, or accesses do not stall. */
bool vm_is_cut_off(const struct vm *vm);
void vm_get_stats(const struct vm *vm, struct vm_stats *stats);

#endif /* VM_H */
