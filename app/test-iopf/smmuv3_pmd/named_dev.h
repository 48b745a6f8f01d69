/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef NAMED_DEV_H
#define NAMED_DEV_H

/*
 * Invalidation requests name a device of the library. Tests that have the driver's only make one
 * of the handle, to be freed with free().
 */

struct iopf_dev *named_dev_create(void *handle);

#endif /* NAMED_DEV_H */
