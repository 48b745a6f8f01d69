/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef HOST_H
#define HOST_H

/*
 * The host: a software SMMUv3 with stage 2, two devices, and the stage 2 of a guest, which maps all
 * of its memory. A VMM on hardware opens "smmuv3,vfio=..." instead.
 */

#include <iopf.h>
#include <smmuv3_model.h>
#include <smmuv3_model_page.h>

#include "arena.h"
#include "relay.h"

/* The devices that the guest gets: accesses of one stall, the other has ATS and PRI. */
enum { HOST_STALLS, HOST_PRI, HOST_DEVS };
#define HOST_SID	8	/* of the first; that of the other follows */

struct host;

struct host_dev {
	struct host *host;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *engine;	/* the device */
};

struct host {
	struct iopf_iommu *smmu;
	struct iopf_poller *poller;
	struct iopf_domain *stage2;
	struct smmuv3_model *model;
	struct host_dev dev[HOST_DEVS];
	struct arena arena;
	struct pgt *pgt;
	struct relay *relay;		/* gets the reports; set after host_open() */
};

/* @p cpu: for the SMMU alone; -1: none. 0 or -1, with a message. */
int host_open(struct host *h, const struct smmuv3_model_page *guest, int cpu);
/* After the relay is destroyed. */
int host_close(struct host *h, const struct smmuv3_model_page *guest);

#endif /* HOST_H */
