/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_LISTENER_WRITE_H
#define IOPF_LISTENER_WRITE_H

/* The listeners of an IOMMU, for the library. The public header is iopf_listener.h. */

#include <stdio.h>

#include "iommu.h"
#include "iopf_driver.h"
#include "iopf_listener.h"

/*
 * Give an event to the listeners that it is for. The caller owns the event queue and is in an RCU
 * read section. No lock, no allocation, no system call, bounded.
 */
void iopf_listeners_write(struct iopf_iommu *iommu, const struct iopf_event *ev, uint64_t now);
/* The same for a loss of events: IOPF_RECORD_LOST, and IOPF_RECORD_FAILED. */
void iopf_listeners_write_lost(struct iopf_iommu *iommu, uint8_t flags);

/*
 * The device, or with NULL the IOMMU, ends: no poll thread finds events of it any more. Its
 * listeners end too. Waits for a grace period if there are any.
 */
void iopf_listeners_end(struct iopf_iommu *iommu, const struct iopf_dev *dev);

/* For telemetry, in an RCU read section: the listener with this number, or NULL. */
const struct iopf_listener *iopf_listener_get(const struct iopf_iommu *iommu, unsigned int i);
/* Its device, or NULL; valid while the listener is found by iopf_listener_get(). */
const struct iopf_dev *iopf_listener_dev(const struct iopf_listener *listener);
uint32_t iopf_listener_size(const struct iopf_listener *listener);
/* One line for each listener. */
void iopf_listeners_dump(const struct iopf_iommu *iommu, FILE *f);

#endif /* IOPF_LISTENER_WRITE_H */
