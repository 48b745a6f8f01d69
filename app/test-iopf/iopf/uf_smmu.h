/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef UF_SMMU_H
#define UF_SMMU_H

/*
 * Changes under fire on the software SMMUv3: a device with two PASIDs, of which the first has an
 * access in one of these places, and a bystander. No poll thread runs, and the model has no thread:
 * both step in sm_run() and while the library waits.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "iopf_poller.h"
#include "pcie_rig.h"

enum sm_place {
	SM_UNSENT,	/* submitted, and the SMMU has not seen it */
	SM_HELD,	/* the event queue is full: the SMMU holds the stall back [7.4] */
	SM_PARTIAL,	/* two requests of a group are read, and the device sends the others */
	SM_QUEUE,	/* the record is written, and not read */
	SM_RING,	/* in the worker's queue: its thread has a fault of the bystander */
	SM_WORKER,	/* in the deferred handler */
	SM_TAKEN,
	SM_JOINED,	/* it waits for a fault of the bystander in the same domain */
};
#define NB_SM_PLACES 8

struct sm_space {
	struct pcie_space space;
	enum iopf_verdict verdict;
	_Atomic unsigned int calls, deferred_calls, deferred_ends;
	_Atomic bool hold;		/* the deferred handler waits */
	_Atomic uint64_t id;		/* of the last group */
};

struct sm {
	struct pcie r;
	struct pcie_fn fn;
	bool requests;			/* page requests; otherwise stalls */
	enum sm_place place;
	unsigned int pages;		/* of an access */
	struct iopf_dev *dev, *bystander;
	struct smmuv3_model_dma *dma, *other_dma, *by_dma, *leader_dma;
	struct sm_space space;		/* of PASID 1; of the bystander's PASID 2 with SM_JOINED */
	struct sm_space other;		/* of PASID 2 */
	struct sm_space by;		/* of the bystander's PASID 1 */
	struct sm_space next;		/* replaces that of PASID 1 */
	struct sm_space spare;		/* the context of handlers that replace the first */
	struct iopf_worker *worker;
	struct iopf_poller *second;
};

extern struct sm sm;

/* The handlers; ctx: a struct sm_space. They map pages of the space of PASID 1 for sm.spare. */
enum iopf_verdict sm_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
enum iopf_verdict sm_deferred(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);

void sm_open(enum sm_place place, bool requests, bool other_pasid);
/* All is removed and closed. The oracle has seen each access end once. */
void sm_close(void);
/* Bring the access to its place. */
void sm_put_in_place(void);
/* Passes of both pollers, until the model rests. */
void sm_run(void);
/* sm_run() until the engine has one finished DMA, which was its only one. Returns its status. */
enum smmuv3_model_status sm_take_end(struct smmuv3_model_dma *dma);
enum smmuv3_model_status sm_access(struct smmuv3_model_dma *dma, unsigned int page);
/* Map the first page of an access, as a handler that has taken the fault does. */
void sm_map_first(struct sm_space *s);
/* No byte was written to its memory. */
bool sm_is_untouched(const struct sm_space *s);

#endif /* UF_SMMU_H */
