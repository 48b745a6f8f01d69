/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_VFIO_CHECK_H
#define SMMUV3_VFIO_CHECK_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Check whether the platform device can be opened through VFIO. @p root is "", or the root of
 * another tree of /sys and /dev for tests. 0, or with the reason and its remedy in @p why: -EINVAL
 * (name), -ENODEV, -EBUSY (the kernel's driver owns it), -EACCES.
 */
int smmuv3_vfio_check(const char *root, const char *name, char *why, size_t len);

#endif /* SMMUV3_VFIO_CHECK_H */
