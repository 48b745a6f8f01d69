/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IDLE_H
#define IDLE_H

/* Interrupts of an IOMMU in place of polling, for a poll thread that sleeps. */

#include <stdbool.h>

struct iopf_iommu;
struct iopf_poller;

/*
 * Never waits for a start or a stop. Returns 0: the IOMMU writes to @p fd, or it is not serving and
 * its start wakes the pollers. Anything else forbids the sleep: 1 (it has work, or a start or a
 * stop is under way), -ENOTSUP (no interrupts), or the driver's error. iopf_idle_end() follows in
 * each case.
 */
int iopf_idle_begin(struct iopf_iommu *iommu, int fd);
/* False: a control call of the IOMMU is under way; call it again. */
bool iopf_idle_end(struct iopf_iommu *iommu, const struct iopf_poller *self);
/* A stop begins: its waits need poll threads that see the records. The caller has state_lock. */
void iopf_idle_cancel(struct iopf_iommu *iommu);

#endif /* IDLE_H */
