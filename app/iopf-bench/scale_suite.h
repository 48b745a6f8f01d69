/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SCALE_SUITE_H
#define SCALE_SUITE_H

/*
 * iopf-bench --suite scaling: one servicer and two, 1 to 64 SMMUs, and what an idle pass costs.
 *
 *	scale_suite.c	the parts and their ratios
 *	scale_drain.c	servicers: threads that fill queues, serve them, and finish the accesses
 *	scale_rig.c	SMMUs and lanes
 *
 * Model. A lane is a hardware queue with one device that fills it: the event queue of an SMMU
 * with a device that stalls, or its page request queue with an endpoint. A servicer is a thread on
 * a CPU of its own, with a poller for its lanes. A drain has three phases, and all servicers end
 * one before the next begins:
 *
 *	fill	one servicer after the other: its devices start conf.faults accesses each, and it
 *		steps their SMMUs until all faults are recorded
 *	serve	all servicers at once: each calls iopf_poll() until it has served its faults. Only
 *		this phase is timed, and no SMMU runs in it
 *	finish	one after the other: the SMMUs execute the answers, the accesses end, the pages are
 *		unmapped
 *
 * A servicer fills its queues on its own CPU: then the records are in the caches of the core that
 * serves them, and two servicers have nothing in common but what the library or the driver shares.
 * Or on another CPU: then each record crosses between the cores.
 *
 * Call order, and an example:
 *
 *	ret = scale_open(&rig, suite, &(struct scale_conf){ .nb_smmus = 1, .stalls = 512 });
 *	if (ret == 0)
 *		ret = scale_add_lane(&rig, &(struct scale_lane_conf){ .faults = 512 });
 *	if (ret == 0)
 *		ret = scale_drain(&rig, &(struct scale_servicer){ .cpu = 1, .fill_cpu = 1,
 *				.nb_lanes = 1 }, 1, &result);
 *	ret = scale_close(&rig, ret);
 *
 * Threads. All functions are called by the main thread. scale_drain() makes the threads of the
 * servicers, and waits until they have ended.
 *
 * Audit. After each drain every access has ended, with one fault each, and with the data or the
 * RAZ/WI of its answer. At the end the domains have counted as many answers, and no SMMU has seen
 * an error of its driver, which a second answer would be.
 */

#include <pthread.h>

#include <iopf.h>
#include <iopf_poller.h>
#include <iopf_stats.h>
#include <mmem.h>

#include "bench.h"

struct suite;

#define SCALE_MAX_SMMUS		64
#define SCALE_MAX_SERVICERS	2
#define SCALE_ALIGN		128

struct scale_conf {
	unsigned int nb_smmus;
	unsigned int stalls;	/* STALL_MAX of each; its queues hold more */
	uint32_t features;	/* SMMUV3_MODEL_PRI and so on */
	uint32_t no_features;	/* SMMUV3_MODEL_NO_MSI and so on */
};

struct scale_lane_conf {
	unsigned int smmu;
	unsigned int faults;	/* of a drain */
	bool requests;		/* page requests instead of stalls; 512 faults at most */
	bool echo;		/* the handler answers RAZ/WI; else it maps a page of its region */
};

struct scale_rig;

struct scale_lane {
	struct scale_lane_conf conf;
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct smmuv3_model_dma *dma;
	struct iopf_dev *dev;
	struct iopf_domain *domain;	/* of an echo */
	struct mmem_pool *pool;
	struct mmem_space *space;
	void *region;
	bool attached;
	uint64_t faults;		/* of all drains so far */
	uint64_t bytes;			/* the device's side of all accesses */
	/* Written by the thread that steps the SMMU. */
	unsigned int done;		/* accesses of this drain that have ended */
	unsigned int wrong;		/* of these: another end than expected, or not one fault */
};

struct scale_rig {
	const struct suite *suite;
	struct scale_conf conf;
	struct smmuv3_model *models[SCALE_MAX_SMMUS];
	struct iopf_iommu *iommus[SCALE_MAX_SMMUS];
	bool started[SCALE_MAX_SMMUS];
	struct scale_lane *lanes[SCALE_MAX_SMMUS];
	unsigned int nb_lanes;
};

/*
 * Each returns 0, or -errno after reporting the error. scale_close() undoes what was done, also
 * after an error: it returns @p ret, or what the audit found.
 */
int scale_open(struct scale_rig *rig, const struct suite *suite, const struct scale_conf *conf);
int scale_add_lane(struct scale_rig *rig, const struct scale_lane_conf *conf);
int scale_close(struct scale_rig *rig, int ret);
/* Phases of a drain, on the thread of the lane's servicer. Both return 0, or -errno. */
int scale_lane_fill(struct scale_lane *lane);
int scale_lane_finish(struct scale_lane *lane);
/* A counter of the driver, the sum of all SMMUs. */
uint64_t scale_get_stat(const struct scale_rig *rig, const char *name);

struct scale_servicer {
	int cpu;
	int fill_cpu;
	unsigned int first_lane, nb_lanes;
	/* Instead of lanes: steps of a loop in registers, which shows what two CPUs can do. */
	uint64_t steps;
};

struct scale_result {
	double ns;		/* the median drain: from the first begin to the last end */
	double faults;		/* of a drain; or steps */
	double prod_writes;	/* of CMDQ_PROD, of a drain, the mean */
	double pushed;		/* answers that found the command queue owned, likewise */
};

/* Make the drains of a cell. Returns 0, or -errno after reporting the error. */
int scale_drain(struct scale_rig *rig, const struct scale_servicer *servicers, unsigned int nb,
		struct scale_result *result);

int scale_suite_private(struct suite *suite);
int scale_suite_shared(struct suite *suite);
int scale_suite_smmus(struct suite *suite);
int scale_suite_idle(struct suite *suite);

#endif /* SCALE_SUITE_H */
