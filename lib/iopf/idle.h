/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IDLE_H
#define IDLE_H

/* Interrupts of an IOMMU in place of polling, for a poll thread that sleeps. */

#include <stdbool.h>

struct iopf_iommu;
struct iopf_poller;

/*
 * Neither call waits for a start or a stop, which may need passes of the caller: they take
 * iommu->idle_lock. iopf_idle_begin() returns 0: the IOMMU writes to @p fd, or it is not serving
 * and its start wakes the pollers. Anything else forbids the sleep: 1 (it has work, or a start or a
 * stop is under way), -ENOTSUP (no interrupts), or the driver's error. iopf_idle_end() follows in
 * each case. A stop calls it too, with @p self NULL: its waits need poll threads that see the
 * records.
 */
int iopf_idle_begin(struct iopf_iommu *iommu, int fd);
void iopf_idle_end(struct iopf_iommu *iommu, const struct iopf_poller *self);
/* The state has changed: wake all threads that sleep, or keep them from it. */
void iopf_idle_wake(struct iopf_iommu *iommu);

void iopf_idle_init(struct iopf_iommu *iommu);
void iopf_idle_fini(struct iopf_iommu *iommu);

#endif /* IDLE_H */
