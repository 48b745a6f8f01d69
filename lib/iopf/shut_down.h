/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SHUT_DOWN_H
#define SHUT_DOWN_H

/* How an IOMMU goes off: by a stop, or by a suspend. */

#include <stdbool.h>

#include "iommu.h"

/* The caller of all three holds state_lock. */
int iopf_iommu_shut_down(struct iopf_iommu *iommu);
/* The state is RUNNING. @p bypass as the driver's suspend. */
int iopf_iommu_suspend_forced(struct iopf_iommu *iommu, bool bypass);
/*
 * The same, and only if no device is in use and no fault waits for its answer. -EBUSY: the IOMMU
 * runs on. -EIO: it has failed meanwhile.
 */
int iopf_iommu_suspend_at_rest(struct iopf_iommu *iommu, bool bypass);

#endif /* SHUT_DOWN_H */
