/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DEV_LIMITS_H
#define DEV_LIMITS_H

/*
 * The limits of a device (iopf_policy.h): its share of the stalls, its rate, and its quarantine.
 *
 *	dev_limits.c	the configuration; the poll thread's part: it counts and refuses
 *	quarantine.c	the control part: the IOMMU blocks the device, and the way back
 *
 * The states of a quarantine:
 *	FREE -> WANTED		a poll thread, past the rate; or iopf_dev_quarantine()
 *	WANTED -> BLOCKED	under the device's lock: the IOMMU blocks the device
 *	WANTED, BLOCKED -> FREE	under the device's lock, before the IOMMU ends the block; a poll
 *				thread may go on to WANTED at once
 *	FREE, WANTED -> the state from before	the IOMMU did not end the block
 * In all states but FREE each fault of the device is answered INVALID without a handler.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bucket.h"
#include "iopf_policy.h"

struct iopf_attachment;
struct iopf_dev;
struct iopf_dev_conf;
struct iopf_fault;
struct iopf_iommu;

enum iopf_quarantine {
	IOPF_QUARANTINE_FREE,
	IOPF_QUARANTINE_WANTED,
	IOPF_QUARANTINE_BLOCKED,
};

struct iopf_limits {
	struct iopf_dev_limits conf;
	_Atomic uint32_t share;		/* conf.stalls */
	struct iopf_bucket rate;	/* faults that reach handlers */
	struct iopf_bucket storm;	/* all faults, to the quarantine */
	_Atomic uint32_t quarantine;	/* enum iopf_quarantine */
	/* under the device's lock */
	bool by_hand;			/* until iopf_dev_release() */
	unsigned int level;		/* of relapses: conf.quarantine_ms << level */
	uint64_t next_step;		/* the way back, or a level less; TSC cycles */
	bool pri_is_due;		/* it is free, and its PRI is still off */
	uint64_t next_pri;		/* the next attempt to switch it on; TSC cycles */
};

/* 0, -EINVAL or -ENOTSUP. conf->limits may be NULL. */
int iopf_limits_check_conf(const struct iopf_iommu *iommu, const char *name,
		const struct iopf_dev_conf *conf);
void iopf_limits_init(struct iopf_limits *limits, const struct iopf_dev_limits *conf);

/* An attachment of the device needs IOPF_GATE_LIMIT. The caller holds the device's lock. */
static inline bool
iopf_limits_need_gate(const struct iopf_limits *limits)
{
	return limits->rate.interval != 0 || limits->storm.interval != 0 ||
		atomic_load_explicit(&limits->quarantine, memory_order_relaxed) !=
		IOPF_QUARANTINE_FREE;
}

/* Poll thread: a fault of the device was read at @p now. True: the device is quarantined. */
bool iopf_limits_refuse(struct iopf_dev *dev, uint64_t now);
/* Poll thread: a handler is to get the fault. True: it is past the device's rate. */
bool iopf_limits_exceed_rate(struct iopf_dev *dev, uint64_t now);
/*
 * Poll thread: a stall past the device's share was refused after a handler of the attachment had
 * deferred or taken it. The next ones are refused without the handler, for a while.
 */
void iopf_limits_set_full(struct iopf_attachment *attachment, const struct iopf_fault *fault);
/* Poll thread, with IOPF_GATE_FULL. True: the fault is refused, and counted. */
bool iopf_limits_are_full(struct iopf_attachment *attachment, const struct iopf_fault *fault);
/* Poll thread: an access of the device was aborted. The device has a quarantine_rate. */
void iopf_limits_count_abort(struct iopf_dev *dev);

#endif /* DEV_LIMITS_H */
