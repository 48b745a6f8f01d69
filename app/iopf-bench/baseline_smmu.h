/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BASELINE_SMMU_H
#define BASELINE_SMMU_H

/*
 * The SMMU driver of the baselines: only as large as one stream with stalls needs. The device
 * address of memory is its CPU pointer.
 */

#include <smmuv3_cmd.h>
#include <smmuv3_order.h>
#include <smmuv3_queue.h>
#include <smmuv3_spec.h>

#include "bench.h"
#include "mmio.h"

/* Device address of the baselines' region: one table of each level leads to it. */
#define BASELINE_VA		(UINT64_C(0x7f) << 40)
#define BASELINE_VA_BITS	48
#define BASELINE_ASID		1

struct baseline_smmu {
	struct smmuv3_model *model;
	void *regs;
	uint8_t *arena;		/* queues, stream table, CD and translation tables: one window */
	size_t arena_size;
	size_t arena_used;
	uint8_t *mem;		/* the region */
	size_t mem_size;
	struct smmuv3_cmd *cmdq;
	const struct smmuv3_evt *evtq;
	unsigned int cmdq_log2;
	unsigned int evtq_log2;
	uint32_t cmdq_prod;
	uint32_t evtq_cons;
	unsigned int nb_sids;	/* from BENCH_SID on */
	bool zero_pool;
};

/*
 * Create a model and its memory (@p table_bytes of the arena are for tables). Returns 0 or -errno.
 */
int baseline_smmu_create(struct baseline_smmu *smmu, const char *name,
		const struct bench_conf *conf, size_t table_bytes);
/* Allocate zeroed memory aligned to its size; NULL if the arena is used up. */
void *baseline_smmu_alloc(struct baseline_smmu *smmu, size_t size);
/*
 * Start the SMMU with the tables at @p root. Enables the wired event interrupt if @p irq_fd is not
 * -1.
 */
int baseline_smmu_start(struct baseline_smmu *smmu, uint64_t root, int irq_fd);
/*
 * After an unmap of all pages: TLBI by ASID and SYNC, then zero the region if that is to be done
 * beforehand. No servicer may run.
 */
int baseline_smmu_flush(struct baseline_smmu *smmu);
bool baseline_smmu_check(struct baseline_smmu *smmu);
void baseline_smmu_destroy(struct baseline_smmu *smmu);

/*
 * The CMDQ has a free slot: each stall has at most one RESUME pending, and the queue holds twice as
 * many commands as there are stalls.
 */
static inline void
baseline_smmu_put_command(struct baseline_smmu *smmu, struct smmuv3_cmd cmd)
{
	smmu->cmdq[smmuv3_q_slot(smmu->cmdq_log2, smmu->cmdq_prod)] = cmd;
	smmu->cmdq_prod = smmuv3_q_add(smmu->cmdq_log2, smmu->cmdq_prod, 1);
}

/* Pairs with the model's PROD store, which releases the records. */
static inline uint32_t
baseline_smmu_load_prod(struct baseline_smmu *smmu)
{
	uint64_t begin = mmio_begin();
	uint32_t prod = smmuv3_load_prod(smmu->regs, SMMUV3_EVENTQ_PROD);

	mmio_end(begin);
	return prod;
}

static inline void
baseline_smmu_publish_prod(struct baseline_smmu *smmu)
{
	smmuv3_store_prod(smmu->regs, SMMUV3_CMDQ_PROD, smmu->cmdq_prod);
}

#endif /* BASELINE_SMMU_H */
