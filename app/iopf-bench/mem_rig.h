/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MEM_RIG_H
#define MEM_RIG_H

/*
 * Devices of the software SMMU, each with a space and a region of its own in one pool. The main
 * thread is the SMMU, the devices and the poll thread; the library has its own threads.
 *
 *	ret = mem_rig_open(&rig, &(struct mem_rig_conf){ .nb_pages = nb_pages });
 *	if (ret == 0)
 *		ret = mem_rig_add(&rig, &(struct mem_dev_conf){ .nb_pages = nb_pages,
 *				.pager = &mem_zero_pager });
 *	for (i = 0; ret == 0 && i < nb_pages; i++)
 *		ret = mem_access(&rig.devs[0], i);
 *	...					// mmem_stat(rig.devs[0].space, ...)
 *	ret = mem_rig_close(&rig, ret);
 *
 * Each returns 0, or -errno after reporting the error; mem_rig_close() undoes what was done, also
 * after an error.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf.h>
#include <iopf_poller.h>
#include <mmem.h>

#include <smmuv3_model.h>

#define MEM_MAX_DEVS	2
#define MEM_MAX_DEPTH	8

struct mem_rig;

struct mem_dev {
	struct mem_rig *rig;
	struct smmuv3_model_dma *dma;
	struct iopf_dev *dev;
	struct mmem_space *space;
	bool attached;
	uint8_t *region;
	uint64_t data;		/* the device's side of its accesses */
};

struct mem_rig {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	bool started;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mem_dev devs[MEM_MAX_DEVS];
	unsigned int nb_devs;
};

struct mem_rig_conf {
	uint32_t nb_pages;		/* of all regions together */
	unsigned int tlb_log2;		/* the entries of the SMMU's TLB [12] */
	bool no_httu;			/* the SMMU sets no access flags */
};

struct mem_dev_conf {
	uint32_t nb_pages;
	uint32_t budget;		/* pages in memory at most [no limit] */
	unsigned int window;		/* mmem_space_conf.window; 1: nothing is fetched ahead */
	const struct mmem_pager *pager;	/* [none: zeros in memory] */
};

/* All bytes are zero, and so is fresh memory. The blocks of the first one have a page. */
extern const struct mmem_pager mem_zero_pager;
extern const struct mmem_pager mem_zero_pager_64k;
extern const struct mmem_pager mem_zero_pager_2m;

int mem_rig_open(struct mem_rig *rig, const struct mem_rig_conf *conf);
int mem_rig_add(struct mem_rig *rig, const struct mem_dev_conf *conf);
int mem_rig_close(struct mem_rig *rig, int ret);

/* One access from its start to its end. */
int mem_access(struct mem_dev *dev, uint32_t page);
/* An access whose end is not awaited: at most MEM_MAX_DEPTH. */
int mem_access_start(struct mem_dev *dev, uint32_t page);
/* Let the SMMU, the poller and, if these had nothing to do, other threads work. */
void mem_turn(struct mem_rig *rig);

/* Faults of the device so far, from the record to the answer. */
uint64_t mem_count_faults(const struct mem_dev *dev);

#endif /* MEM_RIG_H */
