/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DRIVER_REGISTRY_H
#define IOPF_DRIVER_REGISTRY_H

/* Drivers that are registered, and the device string that chooses one. */

struct iopf_iommu;

/* Open the driver that @p devstr names: sets driver, priv and info. */
int iopf_driver_open(struct iopf_iommu *iommu, const char *devstr);

#endif /* IOPF_DRIVER_REGISTRY_H */
