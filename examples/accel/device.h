/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DEVICE_H
#define DEVICE_H

/* Shared by the runtime's files and hidden from the kernels. */

#include <pthread.h>
#include <stdatomic.h>

#include <smmuv3_model.h>

#include "runtime.h"

#define PAGE_SIZE	4096
#define NB_QUEUES	4
#define NB_BUFS		8

/* A managed buffer, and the pages of it that the device's DMAs used. */
struct buf {
	char *ptr;
	size_t size;
	bool *touched;
};

struct accel {
	bool pri;
	const char *smmu_name;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct iopf_poller *poller;
	struct smmuv3_model *model;
	struct smmuv3_model_dma *dma[NB_QUEUES];
	unsigned int next;		/* queue for the next DMA */
	unsigned int nb_attached;
	unsigned int lcore;		/* of the poll thread; RTE_MAX_LCORE if thread polls */
	pthread_t thread;
	bool polling;
	atomic_bool quit;
	atomic_int refused;		/* the error of a refused access; written on the poll
					 * thread */
	bool failed;			/* the error has been printed */
	uint64_t idle_since;		/* cycles, 0 after progress */
	uint64_t t_start;
	uint64_t t_end;
	uint64_t bytes;
	unsigned int nb_bufs;
	struct buf bufs[NB_BUFS];
};

/* A DMA to managed memory. Without accel_record() nothing. 0, or -1 after one line on stderr. */
int record_add(uint64_t addr, size_t len, bool write);

#endif /* DEVICE_H */
