/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PRI_H
#define IOPF_PRI_H

/* ATS and PRI of devices, and the budget of page requests. */

#include <stdbool.h>
#include <stdint.h>

#include "attachment.h"

/* The wait of a start, a stop or a suspend for all devices together. */
#define IOPF_PRI_ALL_MS		1000

int iopf_pri_check_conf(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf);
/* The caller holds the IOMMU's lock. */
int iopf_pri_reserve(struct iopf_dev *dev);
void iopf_pri_release(struct iopf_dev *dev);
/* The caller holds the device's lock. */
int iopf_pri_switch_on(struct iopf_dev *dev);
int iopf_pri_switch_off(struct iopf_dev *dev);
/*
 * The same before a suspend at rest: no group is cancelled. A group that waits for its handler
 * makes it fail, with -EBUSY. After an error PRI may be off: iopf_pri_switch_on_due().
 */
int iopf_pri_rest(struct iopf_dev *dev, struct iopf_wait *wait);
/* PRI goes off, without a wait. */
int iopf_pri_begin_off(struct iopf_dev *dev);
/* Only an attach brings back a device that the driver has cut off. */
int iopf_pri_check_usable(struct iopf_dev *dev);
/* As iopf_pri_switch_off(), and ATS goes off at the end even if the device has not drained. */
void iopf_pri_force_off(struct iopf_dev *dev, struct iopf_wait *wait);
/*
 * Before the driver's attach or detach: a recovery of the IOMMU holds invalidations of ATCs back,
 * and only passes continue it. Where no poller runs, this makes passes until the recovery ends, for
 * one second at most. After that the driver's operation fails, and can be called again.
 */
void iopf_pri_wait_recovery(struct iopf_dev *dev);
/* Wait until the device has nothing outstanding of an attachment that is cut. */
int iopf_pri_drain_pasid(struct iopf_attachment *attachment);
/* All devices: after a start, and before a stop. */
void iopf_pri_switch_on_all(struct iopf_iommu *iommu);
void iopf_pri_switch_off_all(struct iopf_iommu *iommu);
/*
 * Before a suspend at rest: iopf_pri_rest() of all devices. After an error some may be off:
 * iopf_pri_switch_on_all().
 */
int iopf_pri_rest_all(struct iopf_iommu *iommu);
/*
 * After a suspend that was refused, in state RUNNING: switch on the PRI of devices that have
 * drained now. True: one has not, or another control call has its lock. The caller has state_lock.
 */
bool iopf_pri_switch_on_due(struct iopf_iommu *iommu);

#endif /* IOPF_PRI_H */
