/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PCI_H
#define IOPF_PCI_H

/**
 * @file
 * For the driver of a PCIe function with ATS and PRI (IOPF_PRI): the operations that the
 * library calls, and what to do after a Response Failure.
 *
 * ATS and PRI are on while the device is attached and the IOMMU started.
 *   - On: the IOMMU allows ATS, ats_enable, pri_enable.
 *   - Off: pri_disable, wait until pri_drained, ats_disable, the IOMMU forbids ATS.
 *
 * While attached the device has iopf_dev_conf.pri_requests of the IOMMU's max_requests. With
 * pri_overcommit it attaches even if fewer are left: an overflow of the queue costs time only (see
 * iopf_domain_conf.lost). With prg_pasid its answers have the PASID.
 */

#include <stdbool.h>
#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Operations of a device with IOPF_PRI; all but the last are needed. Those that return int
 * return 0 or -errno; another result is taken as -EIO. Attach, detach, removal, start, stop,
 * iopf_dev_pri_restart(), iopf_dev_quarantine() and iopf_dev_release() call them, on the thread
 * that called these; the library's policy thread does for a quarantine by rate and at its end, at
 * any time: where the driver of the device resets it, it needs a lock that the operations take too.
 * The operations must not make these calls. A pri_disable or ats_disable that failed is called
 * again by the next of these calls that needs PRI off, or on again.
 */
struct iopf_pci_ops {
	/** Use ATS, with an empty ATC. @p stu is log2 of the smallest translation unit. */
	int (*ats_enable)(struct iopf_dev *dev, unsigned int stu, void *ctx);
	/**
	 * The reverse; the ATC is empty when it returns. It returns 0 also if ATS is off already,
	 * as after a reset (the model's function does not: wrap it). A stop and a quarantine call
	 * it also for a device that has not drained in time, or whose pri_disable failed: then it
	 * resets the device, since ATS must stay on while page requests are outstanding.
	 */
	int (*ats_disable)(struct iopf_dev *dev, void *ctx);
	/** Have at most @p n page requests outstanding, of all its StreamIDs together. */
	int (*pri_enable)(struct iopf_dev *dev, uint32_t n, void *ctx);
	/** Start no more groups. It returns 0 also if PRI is off already. */
	int (*pri_disable)(struct iopf_dev *dev, void *ctx);
	/** Each group has been answered. Called repeatedly after pri_disable. */
	bool (*pri_drained)(struct iopf_dev *dev, void *ctx);
	/**
	 * The device has nothing outstanding of this PASID (or IOPF_NO_PASID). The detach of one
	 * PASID while others stay attached calls it repeatedly, after the PASID's accesses abort.
	 * NULL: the device's driver stops the PASID before the detach.
	 */
	bool (*pasid_drained)(struct iopf_dev *dev, uint32_t pasid, void *ctx);
};

/**
 * Switch PRI off, wait until the device has drained, and switch PRI on again; ATS with it.
 * Needed after a Response Failure (IOPF_FAILURE, or the IOMMU's own when its request queue broke
 * down or it was reset): the device sends no page requests after it. During the call an access
 * to a page that is not mapped aborts. Groups that handlers have from before a reset of the device
 * are answered INVALID.
 *
 * @return 0; -EINVAL (not IOPF_PRI); -ENOTCONN (its PRI is off: not attached, or not
 *   started); -EIO (the driver has cut it off, since its ATC did not answer: detach all of it,
 *   reset it, and attach it again); -ETIMEDOUT (a group of the device is not answered: a handler
 *   has it, or its Last never came; the log says which; answer it, or reset the device, then call
 *   this again; or the IOMMU does not process answers);
 *   -EBUSY (it is quarantined: iopf_policy.h); -EDEADLK in a handler; or the error of an operation.
 */
int iopf_dev_pri_restart(struct iopf_dev *dev);

/** Page requests of info.max_requests that are granted to devices, over-commitment included. */
uint32_t iopf_iommu_requests_granted(const struct iopf_iommu *iommu);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_PCI_H */
