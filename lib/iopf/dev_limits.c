/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "call.h"
#include "dev.h"
#include "iopf_log.h"
#include "dev_limits.h"

/*
 * Of an attachment whose device holds its share. Each may cost as much as the service of a fault of
 * another device, and is without effect if the handler defers or takes again.
 */
#define HANDLER_CALLS_PER_S	5000

int
iopf_limits_check_conf(const struct iopf_iommu *iommu, const char *name,
		const struct iopf_dev_conf *dev_conf)
{
	const struct iopf_dev_limits *conf = dev_conf->limits;

	if (conf == NULL)
		return 0;
	if (conf->rate == 0 && conf->burst != 0) {
		IOPF_LOG(ERR, "%s: limits: a burst of %u without a rate: set rate too", name,
				conf->burst);
		return -EINVAL;
	}
	if (conf->quarantine_rate == 0 && (conf->quarantine_ms != 0 ||
			conf->quarantined != NULL)) {
		IOPF_LOG(ERR, "%s: limits: quarantine_ms and quarantined are for quarantine_rate: "
				"set that too", name);
		return -EINVAL;
	}
	if (conf->quarantine_rate != 0 && iommu->driver->ops.dev_block == NULL) {
		IOPF_LOG(ERR, "%s: limits: the driver of \"%s\" cannot block a device: use no "
				"quarantine_rate", name, iommu->name);
		return -ENOTSUP;
	}
	if (dev_conf->recover == IOPF_STALL && conf->stalls > iommu->info.max_stalls)
		IOPF_LOG(WARNING, "%s: limits: stalls %u limits nothing: \"%s\" has %u stalls: use "
				"fewer, or 0", name, conf->stalls, iommu->name,
				iommu->info.max_stalls);
	return 0;
}

void
iopf_limits_init(struct iopf_limits *limits, const struct iopf_dev_limits *conf)
{
	uint64_t hz = rte_get_tsc_hz();

	if (conf != NULL)
		limits->conf = *conf;
	conf = &limits->conf;
	atomic_init(&limits->share, conf->stalls);
	bucket_init(&limits->rate, hz, conf->rate, conf->burst != 0 ? conf->burst : conf->rate);
	bucket_init(&limits->storm, hz, conf->quarantine_rate, conf->quarantine_rate);
}

/* True: the device is quarantined, or will be. */
static bool
storm_count(struct iopf_dev *dev, uint64_t now)
{
	struct iopf_limits *limits = &dev->limits;
	uint32_t state = IOPF_QUARANTINE_FREE;

	if (atomic_load_explicit(&limits->quarantine, memory_order_relaxed) != state)
		return true;
	if (likely(bucket_take(&limits->storm, now)))
		return false;
	if (atomic_compare_exchange_strong(&limits->quarantine, &state, IOPF_QUARANTINE_WANTED))
		iopf_policy_want(&dev->policy);
	return true;
}

bool
iopf_limits_refuse(struct iopf_dev *dev, uint64_t now)
{
	if (likely(!storm_count(dev, now)))
		return false;
	iopf_dev_count(dev, IOPF_DEV_STAT_REFUSED_QUARANTINE, 1);
	return true;
}

bool
iopf_limits_exceed_rate(struct iopf_dev *dev, uint64_t now)
{
	if (likely(bucket_take(&dev->limits.rate, now)))
		return false;
	iopf_dev_count(dev, IOPF_DEV_STAT_REFUSED_RATE, 1);
	return true;
}

void
iopf_limits_set_full(struct iopf_attachment *attachment, const struct iopf_fault *fault)
{
	iopf_dev_count(attachment->dev, IOPF_DEV_STAT_REFUSED_SHARE, 1);
	attachment->full_since = fault->time;
	atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_FULL, memory_order_relaxed);
}

bool
iopf_limits_are_full(struct iopf_attachment *attachment, const struct iopf_fault *fault)
{
	struct iopf_dev *dev = attachment->dev;

	if (fault->flags & IOPF_FAULT_PAGE_REQUEST)
		return false;
	/* This thread is the one that adds to held. A clock that is behind ends it: no harm. */
	if (atomic_load_explicit(&dev->held, memory_order_relaxed) >=
			atomic_load_explicit(dev->share, memory_order_relaxed) &&
			fault->time - attachment->full_since <
			rte_get_tsc_hz() / HANDLER_CALLS_PER_S) {
		iopf_dev_count(dev, IOPF_DEV_STAT_REFUSED_SHARE, 1);
		return true;
	}
	atomic_fetch_and_explicit(&attachment->gate, ~IOPF_GATE_FULL, memory_order_relaxed);
	return false;
}

void
iopf_limits_count_abort(struct iopf_dev *dev)
{
	storm_count(dev, rte_rdtsc());
}

bool
iopf_group_has_room(const struct iopf_group *group)
{
	if (group == NULL) {
		rte_errno = EINVAL;
		return false;
	}
	/* This thread is the one that adds to held: see dev_count_held_slot(). */
	return iopf_self.pass == NULL || group->faults[0]->flags & IOPF_FAULT_PAGE_REQUEST ||
		atomic_load_explicit(&group->dev->held, memory_order_relaxed) <
		atomic_load_explicit(group->dev->share, memory_order_relaxed);
}
