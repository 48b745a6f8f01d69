/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ATTACH_RIG_H
#define ATTACH_RIG_H

/*
 * The driver's attach and detach by (device, PASID), for tests that call the driver's operations
 * themselves. The rig keeps the handles. Threads of different devices may call these functions
 * concurrently.
 */

#include <stdint.h>

#include <iopf_driver.h>

int rig_attach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid, void *domain);
/* -ENOENT: not attached. After another error the rig keeps the handle for the next call. */
int rig_detach(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid);

/* -ENOENT: not attached. After an error there may be two handles of the PASID. */
int rig_replace(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid,
		void *domain);
/* Detaches the older of two handles. 0: there is one. */
int rig_finish_replace(const struct iopf_driver_ops *ops, void *s, void *dev, uint32_t pasid);
unsigned int rig_count_handles(void *s, void *dev, uint32_t pasid);

#endif /* ATTACH_RIG_H */
