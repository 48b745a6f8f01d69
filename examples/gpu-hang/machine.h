/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MACHINE_H
#define MACHINE_H

/* The software SMMU, its poll thread, and the GPU with its contexts. */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <iopf.h>
#include <mmem.h>
#include <smmuv3_model.h>

#include "compute.h"
#include "options.h"
#include "render.h"

#define RENDER_PASID	1	/* the contexts that compute have the next ones */

struct machine {
	const struct options *options;
	struct iopf_iommu *smmu;
	struct iopf_dev *gpu;
	struct iopf_poller *poller;
	struct smmuv3_model *model;
	struct mmem_pool *pool;
	struct render *render;
	struct compute *computes[OPTIONS_MAX_CONTEXTS];
	unsigned int nb_computes;
	bool polling;
	unsigned int lcore;	/* of the poll thread; RTE_MAX_LCORE if thread polls */
	pthread_t thread;
	atomic_bool quit;
};

/* Returns 0, or -1 after one line on stderr. Close it in either case. */
int machine_open(struct machine *machine, const struct options *options);

/* @p failed: faults may wait for an answer. */
void machine_close(struct machine *machine, bool failed);

#endif /* MACHINE_H */
