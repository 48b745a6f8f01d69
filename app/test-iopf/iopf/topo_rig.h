/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef TOPO_RIG_H
#define TOPO_RIG_H

/*
 * Several SMMUs in one process, each a model with one device, whose accesses all fault. The models
 * have no threads: they move in topo_step(), topo_finish() and while the library waits for them.
 * Each access has an address of its own, so that a fault that is lost or handled twice shows.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf.h"
#include "iopf_poller.h"
#include "smmuv3_model.h"

#define TOPO_MAX	8
#define TOPO_SID	8
#define TOPO_ACCESSES	(1u << 17)	/* of each SMMU in a test */

struct topo_smmu {
	struct smmuv3_model *model;
	struct smmuv3_model_dma *dma;
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	unsigned int submitted, done;
	_Atomic unsigned int calls;		/* of a handler */
	_Atomic uint8_t seen[TOPO_ACCESSES];	/* calls for each access */
};

struct topo_poller {
	struct iopf_poller *poller;
	pthread_t thread;
	bool runs;
};

extern struct topo {
	unsigned int nb;
	struct topo_smmu *smmu[TOPO_MAX];
	struct iopf_domain *domain;
	struct topo_poller pollers[TOPO_MAX];
	_Atomic unsigned int wrong;		/* calls for unknown accesses */
} topo;

/* For all handlers: notes the call and answers INVALID. */
enum iopf_verdict topo_handler(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);

/*
 * @p nb SMMUs with a device each, all attached to one domain with @p conf [topo_handler()]. The
 * SMMUs are started and in no poller.
 */
void topo_open(unsigned int nb, const struct iopf_domain_conf *conf);
/* Remove and free all; stop the pollers that run. Fails the test if a model found an error. */
void topo_close(void);

/* Create poller @p i. The idle policy is @p idle, after @p idle_passes. */
struct iopf_poller *topo_poller(unsigned int i, enum iopf_idle idle, uint32_t idle_passes);
/* Run it on a thread of its own, or end that. */
void topo_run(unsigned int i);
void topo_stop(unsigned int i);

/* Begin one access of the SMMU's device. */
void topo_submit(unsigned int i);
/* Move all models, and collect the accesses that have ended. */
void topo_step(void);
/* Move the models until each access has ended. Each was aborted after one call of the handler. */
void topo_finish(void);
/* Move the models until the counter of poller @p i is at least @p n. */
void topo_wait_stat(unsigned int i, enum iopf_poller_stat stat, uint64_t n);

#endif /* TOPO_RIG_H */
