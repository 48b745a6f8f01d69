/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef GROUPS_RIG_H
#define GROUPS_RIG_H

/*
 * Managed memory on a model with ATS and PRI, and a driver that counts the invalidations it passes
 * to the SMMUv3 driver.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "call.h"
#include "iopf_handler.h"
#include "mmem.h"
#include "mmem_chunk.h"
#include "mmem_fault.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "pass.h"
#include "pgtable.h"
#include "smmuv3_model.h"

#define SID		8
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define RW		(MMEM_READ | MMEM_WRITE)
#define TRACKED		(RW | MMEM_TRACK_WRITES | MMEM_POPULATE)

struct gr {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct mmem_pool *pool;
	struct mmem_space *space;
	unsigned int reports;
	struct mmem_report report;		/* the last */
	unsigned int invs;			/* of the deferred half and of unmaps */
	struct iopf_inv inv;			/* the last */
	_Atomic unsigned int fills;
	_Atomic int fill_result;

	/* with devices */
	struct iopf_poller *poller;
	struct iopf_dev *stalls;
	struct smmuv3_model_dma *pri_dma, *stall_dma;
	unsigned int answers_after;		/* batches with invalidations in front */
	struct iopf_inv after;			/* the last of these */
};

extern struct gr gr;

int gr_setup_queue(uint8_t priq_log2);
int gr_setup(void **state);
int gr_teardown(void **state);
int gr_fill(void *ctx, uint64_t offset, void *dst, size_t len);
uint8_t *gr_alloc(size_t size, unsigned int flags);
uint8_t *gr_alloc_paged(size_t size);
uint64_t gr_stat(enum mmem_stat stat);
/* The rights that devices have in the page table. */
uint32_t gr_rights_at(const void *p);
void gr_expect_inv(const struct iopf_inv *inv, const uint8_t *addr, size_t pages);

/* A group as lib/iopf hands it to a handler, and the state of the pass. */
struct hand {
	unsigned int nb;
	struct iopf_fault fault[IOPF_MAX_GROUP_FAULTS];
	const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
	struct iopf_pass pass;
};

void hand_clear(struct hand *h);
struct iopf_fault *hand_add(struct hand *h, const void *addr, uint8_t perm);
void hand_add_pages(struct hand *h, uint8_t *addr, unsigned int n, uint8_t perm);
/* Make the group one stall. */
void hand_make_stall(struct hand *h, const void *addr, uint8_t perm, enum iopf_reason reason);
struct iopf_group hand_make_group(struct hand *h);
enum iopf_verdict hand_run_fast(struct hand *h);
enum iopf_verdict hand_run_deferred(struct hand *h);

#endif /* GROUPS_RIG_H */
