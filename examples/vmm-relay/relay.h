/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RELAY_H
#define RELAY_H

/*
 * The virtual SMMU of one guest. Its registers and queues are a front end (smmuv3_front.h) over the
 * guest's memory, its translation is a nested domain of the host's SMMU for each device:
 *
 *	guest  STE of vSID          -> ste.c     a nested domain behind the guest's stage 2
 *	guest  CFGI_CD, TLBI ...    -> command.c iopf_invalidate_guest(), as arrays
 *	guest  RESUME, PRI_RESP     -> command.c iopf_group_respond()
 *	host   fault of a device    -> stall.c   event record with vSID and a STAG of the guest's
 *	host   page request group   -> request.c page requests with vSID and the guest's PRG index
 *	host   aborted access       -> event.c   event record with vSID
 *
 * One thread calls relay_step() and polls the host's SMMU, so no state here has a lock. The library
 * may read the host's queues on another thread, one that waits for them, when this one has not for
 * 20 ms: then an access that faults is repeated, and an event has no record. A device is cut off
 * until the guest has written an STE for it. What the guest gets wrong is refused where the
 * guest sees it (CMDQ_CONS, GERROR), and costs the guest alone.
 *
 * A device with ATS and PRI (IOPF_PRI) has operations of the VMM (iopf_pci.h), called when the
 * guest writes an STE. ats_enable and pri_enable do nothing unless relay_uses_ats(): then the guest
 * has chosen a device without ATS, which has no ATC, and whose faults are events.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <iopf.h>
#include <smmuv3_model.h>

struct relay;
struct smmuv3_front;

struct relay_conf {
	struct iopf_iommu *iommu;	/* the host's */
	struct iopf_domain *parent;	/* the guest's stage 2: all that its tables reach */
	void *regs;			/* the guest's registers */
	size_t regs_size;
	uint64_t mem_addr;		/* the guest's memory: its IPA */
	void *mem;
	size_t mem_size;
	uint32_t deadline_ms;		/* for the answer to a stall or a page request [never] */
	bool no_ats;			/* show the guest no ATS and no PRI [as the host's SMMU] */
	/*
	 * What the guest's SMMU is, as in smmuv3_front.h, but for the registers, the PASIDs and
	 * ATS and PRI, which it has as the host's. What the host's SMMU lacks (no_features), the
	 * guest's must lack too. stall_max is at most 64, the default.
	 */
	struct smmuv3_model_conf smmu;
};

/* NULL with errno. */
struct relay *relay_create(const struct relay_conf *conf);
/* All devices are cut off. Not inside of a handler. 0 or -errno: call it again. */
int relay_destroy(struct relay *r);

/*
 * Give the guest a device of the host's, as @p vsid, of at most 16 bits. The guest's SMMU has as
 * many PASIDs as the host's: add the device with all of them, or the guest must not use the rest.
 * 0, or -ENOSPC, -EINVAL.
 */
int relay_add_dev(struct relay *r, uint32_t vsid, struct iopf_dev *dev, uint32_t sid);

/* Process what the guest has written. Returns the units of work done. */
unsigned int relay_step(struct relay *r);

/*
 * The guest is gone, or is reset: cut off its devices, answer all that is stalled, and forget what
 * it has written to its registers.
 */
int relay_reset(struct relay *r);

/*
 * Does the guest's STE allow the device ATS and PRI (EATS) [5.2]? From any thread: the library
 * calls the device's operations on its policy thread, too.
 */
bool relay_uses_ats(struct relay *r, uint32_t vsid);

/* From iopf_iommu_conf.report: an event that needs no answer. */
void relay_report(struct relay *r, const struct iopf_fault *fault);

/*
 * For its wired interrupts (smmuv3_front_irq_fd()) and the guest's errors (smmuv3_front_error()).
 */
struct smmuv3_front *relay_get_front(struct relay *r);

/* Stalls that the guest has not answered. */
unsigned int relay_count_stalls(const struct relay *r);
/* Page request groups that the guest has not answered. */
unsigned int relay_count_groups(const struct relay *r);

struct relay_stats {
	uint64_t stes, invalidations, stalls, resumes, groups, responses;
	uint64_t refused;		/* STEs, commands, and answers to nothing outstanding */
	uint64_t commands;		/* that the guest's SMMU has executed, without SYNCs */
};
const struct relay_stats *relay_get_stats(const struct relay *r);

#endif /* RELAY_H */
