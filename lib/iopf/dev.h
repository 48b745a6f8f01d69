/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DEV_H
#define IOPF_DEV_H

/* A device. */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "call.h"
#include "iommu.h"
#include "iopf_pci.h"
#include "iopf_support.h"
#include "dev_limits.h"
#include "policy_thread.h"

struct iopf_dev {
	struct iopf_iommu *iommu;
	char *name;
	struct iopf_dev_conf conf;
	struct iopf_pci_ops pci;	/* copied, if conf.pci is not NULL */
	uint32_t *sids;
	unsigned int refs;		/* under the IOMMU's lock; at 0 the device is freed */

	pthread_mutex_t lock;
	_Atomic uint32_t nb_state_waits; /* threads in iopf_dev_lock_until() */
	pthread_cond_t settled;		/* an attachment is not busy any more */
	void *priv;			/* the driver's handle; invalid once deleted is set */
	bool deleted;			/* dev_add has failed, or dev_del has returned 0 */
	bool removed;			/* the removal is complete */
	_Atomic uint32_t uses;		/* iopf_dev_get() without iopf_dev_put() */
	uint32_t granted;		/* page requests, of the IOMMU's budget */
	bool ats_on;			/* at the device, or the operation to end it failed */
	bool pri_on;			/* the same */
	bool pri_forced;		/* pri_on, but a stop or quarantine counts it as off */
	/*
	 * A suspend that was refused has switched PRI off. It goes on when the device has drained:
	 * iopf_pri_switch_on_due(). Written under lock.
	 */
	_Atomic bool pri_due;
	struct iopf_log_limit log;	/* of lines that a caller can cause */
	bool blocked;			/* by the driver: quarantine.h */
	bool block_failed;		/* the last change of this failed */
	unsigned int nb_blocks;		/* breakers of its attachments that need it blocked */
	/* Its breaker's callback is called. The policy thread sets it under lock, and clears it. */
	_Atomic(struct iopf_attachment *) told;
	struct iopf_limits limits;
	struct iopf_policy_client policy;
	/* Slots of stalls that outlive their pass: deferred or taken, and not yet free. */
	_Atomic uint32_t held;
	const _Atomic uint32_t *share;	/* the most of them: the limit's, or the IOMMU's default */
	_Atomic uint64_t stats[IOPF_NB_DEV_STATS];
	/* Written under both locks, so read under either. */
	LIST_HEAD(, iopf_attachment) attachments;
	LIST_ENTRY(iopf_dev) next;	/* under the IOMMU's lock */
};

static inline void
iopf_dev_count(struct iopf_dev *dev, enum iopf_dev_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&dev->stats[stat], n, memory_order_relaxed);
}

/* An access of the device was aborted, or its fault has no attachment. */
static inline void
iopf_dev_count_abort(struct iopf_dev *dev)
{
	if (unlikely(dev->limits.storm.interval != 0))
		iopf_limits_count_abort(dev);
}

/* Count a fault without an attachment for its device, and return the IOMMU's counter for it. */
static inline enum iopf_iommu_stat
iopf_count_no_attachment(const struct iopf_iommu *iommu, uint32_t sid)
{
	struct iopf_dev *dev = iopf_table_find(&iommu->sids, sid);

	if (dev == NULL)
		return IOPF_IOMMU_STAT_UNKNOWN_SID;
	iopf_dev_count(dev, IOPF_DEV_STAT_NO_DOMAIN, 1);
	iopf_dev_count_abort(dev);
	return IOPF_IOMMU_STAT_NO_DOMAIN;
}

/* Call the device's operation retry, which must not block. */
static inline void
iopf_dev_retry(struct iopf_dev *dev, const struct iopf_retry *retry)
{
	bool in_fast = iopf_self.in_fast;

	iopf_self.in_fast = true;
	dev->conf.ops.retry(dev, retry, dev->conf.ctx);
	iopf_self.in_fast = in_fast;
}

/*
 * The device after @p dev (NULL: the first), with a reference; the reference to @p dev is
 * dropped. NULL: no more devices.
 */
struct iopf_dev *iopf_dev_next(struct iopf_iommu *iommu, struct iopf_dev *dev);
/*
 * Take lock for a control call. A thread in iopf_dev_lock_until() goes first: a thread that makes
 * control calls without pause takes the lock once at most while that one waits.
 */
void iopf_dev_lock(struct iopf_dev *dev);
/* For a change of the IOMMU's state. False: the wait is over. */
bool iopf_dev_lock_until(struct iopf_dev *dev, struct iopf_wait *wait);
/* The device is removed: drop the uses that are still taken. */
void iopf_dev_drop_uses(struct iopf_dev *dev);
/* wait_ms: the longest wait of a control call of this device, in TSC cycles. */
uint64_t iopf_dev_wait_cycles(const struct iopf_dev *dev);

/*
 * Begin a wait of wait_ms. Each wait of a call has its own: a step that took long before it, such
 * as another wait or the driver's, does not end it early, with a line in the log that blames the
 * wrong party.
 */
static inline void
iopf_dev_wait_begin(const struct iopf_dev *dev, struct iopf_wait *wait)
{
	iopf_wait_begin(wait, iopf_dev_wait_cycles(dev));
}

#endif /* IOPF_DEV_H */
