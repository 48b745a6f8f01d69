/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "call.h"
#include "cancel.h"
#include "iopf_log.h"
#include "pri.h"
#include "quarantine.h"
#include "rcu.h"

#define DEFAULT_MS	1000
#define MAX_LEVEL	6
/* The policy thread's wait for a device, and the wait for the queues before the end of a block. */
#define BLOCK_WAIT_MS	100

static uint64_t
cycles_of_ms(uint64_t ms)
{
	return rte_get_tsc_hz() / 1000 * ms;
}

static uint32_t
quarantine_ms_of(const struct iopf_limits *limits, unsigned int level)
{
	uint64_t ms = limits->conf.quarantine_ms != 0 ? limits->conf.quarantine_ms : DEFAULT_MS;

	return RTE_MIN(ms << level, (uint64_t)UINT32_MAX);
}

static enum iopf_quarantine
quarantine_of(const struct iopf_dev *dev)
{
	return atomic_load_explicit(&dev->limits.quarantine, memory_order_relaxed);
}

bool
iopf_dev_is_quarantined(const struct iopf_dev *dev)
{
	if (dev == NULL) {
		rte_errno = EINVAL;
		return false;
	}
	return quarantine_of(dev) != IOPF_QUARANTINE_FREE;
}

/*
 * The device is blocked: no fault comes any more, and each is answered when this returns 0. The
 * records are read, the passes that have them are over, so that the handlers that they were given
 * to have returned, what these hold is answered, and a thread that claimed one has sent its answer.
 */
static int
outstanding_faults_end(struct iopf_dev *dev, uint64_t cycles)
{
	int ret = iopf_iommu_fence(dev->iommu, cycles);

	if (ret < 0)
		return ret;
	iopf_rcu_synchronize();
	iopf_dev_answer_faults(dev);
	iopf_rcu_synchronize();
	return 0;
}

/*
 * Before the end of a block. The IOMMU may use the tokens of the stalls that the block ended again
 * as soon as accesses stall: a later answer to an old one would resume a new one.
 */
static int
stale_faults_end(struct iopf_dev *dev)
{
	return outstanding_faults_end(dev, cycles_of_ms(BLOCK_WAIT_MS));
}

/* The driver has the device blocked, or not, as it is. */
static bool
is_block(const struct iopf_dev *dev, bool on)
{
	return dev->blocked == on && !dev->block_failed;
}

static int
block_set(struct iopf_dev *dev, bool on)
{
	int ret;

	if (is_block(dev, on))
		return 0;
	ret = dev->iommu->driver->ops.dev_block(dev->iommu->priv, dev->priv, on);
	/* After an error the driver may have done it or not. */
	dev->block_failed = ret < 0;
	if (ret == 0)
		dev->blocked = on;
	return ret;
}

int
iopf_dev_begin_block(struct iopf_dev *dev)
{
	return block_set(dev, true);
}

int
iopf_dev_end_block(struct iopf_dev *dev)
{
	bool stays = quarantine_of(dev) != IOPF_QUARANTINE_FREE || dev->nb_blocks != 0;
	int ret;

	if (stays || is_block(dev, false))
		return 0;
	ret = stale_faults_end(dev);
	return ret < 0 ? ret : block_set(dev, false);
}

void
iopf_dev_answer_faults(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_attachment *attachment;

	if (!iopf_iommu_is_serving(iommu))
		return;
	LIST_FOREACH(attachment, &dev->attachments, next)
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			iopf_queue_cancel(&iommu->queues[i], attachment, IOPF_CANCEL_DRAIN);
}

/*
 * The state is WANTED: each further fault is answered INVALID when its record is read. What
 * handlers hold is answered before the driver ends the stalls, so that each has its answer, and
 * again after it, for a fault that a handler got at the time of the change.
 */
static int
quarantine_enter(struct iopf_dev *dev, struct iopf_wait *wait)
{
	int ret;

	iopf_dev_answer_faults(dev);
	iopf_pri_force_off(dev, wait);
	ret = iopf_dev_begin_block(dev);
	if (ret < 0) {
		IOPF_LOG_LIMITED(&dev->log, "%s: the driver could not block it (%s): its faults "
				"are refused, and its accesses may still succeed", dev->name,
				strerror(-ret));
		return ret;
	}
	iopf_dev_answer_faults(dev);
	atomic_store_explicit(&dev->limits.quarantine, IOPF_QUARANTINE_BLOCKED,
			memory_order_relaxed);
	iopf_dev_count(dev, IOPF_DEV_STAT_QUARANTINES, 1);
	return 0;
}

/*
 * 0: it has left, and only PRI has to come back. Its rate may quarantine it again from then on, so
 * the state does not tell whether it has left.
 */
static int
quarantine_leave(struct iopf_dev *dev)
{
	enum iopf_quarantine was = quarantine_of(dev);
	bool stays = dev->nb_blocks != 0;
	int ret = stays || is_block(dev, false) ? 0 : stale_faults_end(dev);

	/* Records from before were refused in the state from before: no handler got one. */
	if (ret == 0) {
		/* Until the state is FREE no poll thread takes from them. */
		bucket_fill(&dev->limits.rate);
		bucket_fill(&dev->limits.storm);
		atomic_store_explicit(&dev->limits.quarantine, IOPF_QUARANTINE_FREE,
				memory_order_relaxed);
		ret = stays ? 0 : block_set(dev, false);
	}
	if (ret < 0) {
		atomic_store_explicit(&dev->limits.quarantine, was, memory_order_relaxed);
		IOPF_LOG_LIMITED(&dev->log, "%s: the driver could not end its quarantine (%s)",
				dev->name, strerror(-ret));
	}
	return ret;
}

/* Without effect if it is quarantined again, or the IOMMU does not run. */
static int
pri_bring_back(struct iopf_dev *dev)
{
	return iopf_dev_is_attached(dev) ? iopf_pri_switch_on(dev) : 0;
}

/*
 * It has its PRI, or needs none. If the IOMMU does not run, the start switches it on, and if no
 * domain is attached, the attach does: an attached device has come back with the start only.
 */
static bool
pri_is_back(const struct iopf_dev *dev)
{
	return dev->conf.recover != IOPF_PRI || !iopf_dev_is_attached(dev) ||
		(dev->pri_on && !dev->pri_forced);
}

/* Without limits, attachments have the gate's bit during a quarantine only. */
static void
gates_set(struct iopf_dev *dev)
{
	bool on = iopf_limits_need_gate(&dev->limits);
	struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (on)
			atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_LIMIT,
					memory_order_relaxed);
		else
			atomic_fetch_and_explicit(&attachment->gate, ~IOPF_GATE_LIMIT,
					memory_order_relaxed);
}

static bool
serve_wanted(struct iopf_dev *dev, struct iopf_quarantine_note *note)
{
	struct iopf_limits *limits = &dev->limits;
	struct iopf_wait wait;

	iopf_wait_begin(&wait, cycles_of_ms(BLOCK_WAIT_MS));
	if (quarantine_enter(dev, &wait) < 0)
		return true;
	limits->pri_is_due = false;
	note->is_due = true;
	note->ms = quarantine_ms_of(limits, limits->level);
	limits->next_step = rte_rdtsc() + cycles_of_ms(note->ms);
	limits->level = RTE_MIN(limits->level + 1, (unsigned int)MAX_LEVEL);
	IOPF_LOG_LIMITED(&dev->log, "%s: quarantined for %u ms: more than %u faults in a second",
			dev->name, note->ms, limits->conf.quarantine_rate);
	return true;
}

static void
serve_end(struct iopf_dev *dev, uint64_t now, struct iopf_quarantine_note *note)
{
	struct iopf_limits *limits = &dev->limits;
	uint64_t wait = cycles_of_ms(BLOCK_WAIT_MS);

	if (quarantine_leave(dev) < 0) {
		limits->next_step = now + wait;
		return;
	}
	limits->next_step = rte_rdtsc() + cycles_of_ms(quarantine_ms_of(limits,
			limits->level - 1));
	/* The device's operation has logged an error. */
	pri_bring_back(dev);
	limits->pri_is_due = !pri_is_back(dev);
	limits->next_pri = rte_rdtsc() + cycles_of_ms(quarantine_ms_of(limits, 0));
	note->is_due = !limits->pri_is_due;
	note->ms = 0;
}

/* The device is free, but its PRI is off: it has not come back before that. */
static void
serve_pri(struct iopf_dev *dev, uint64_t now, struct iopf_quarantine_note *note)
{
	struct iopf_limits *limits = &dev->limits;

	if (!pri_is_back(dev)) {
		if ((int64_t)(now - limits->next_pri) < 0)
			return;
		limits->next_pri = now + cycles_of_ms(quarantine_ms_of(limits, 0));
		pri_bring_back(dev);
		if (!pri_is_back(dev))
			return;
	}
	limits->pri_is_due = false;
	note->is_due = true;
	note->ms = 0;
}

bool
iopf_quarantine_serve(struct iopf_dev *dev, uint64_t now, struct iopf_quarantine_note *note)
{
	struct iopf_limits *limits = &dev->limits;
	enum iopf_quarantine state = quarantine_of(dev);

	note->is_due = false;
	if (limits->by_hand)
		return false;
	if (state == IOPF_QUARANTINE_WANTED)
		return serve_wanted(dev, note);
	if (state == IOPF_QUARANTINE_FREE && limits->pri_is_due) {
		serve_pri(dev, now, note);
		return true;
	}
	if (state == IOPF_QUARANTINE_FREE && limits->level == 0)
		return false;
	if ((int64_t)(now - limits->next_step) < 0)
		return true;
	if (state == IOPF_QUARANTINE_BLOCKED) {
		serve_end(dev, now, note);
	} else if (--limits->level != 0) {
		/* It was free for as long as it was quarantined. */
		limits->next_step = now + cycles_of_ms(quarantine_ms_of(limits,
				limits->level - 1));
	}
	return true;
}

/* The caller holds the device's lock. */
static int
dev_quarantine(struct iopf_dev *dev)
{
	uint32_t state = IOPF_QUARANTINE_FREE;
	struct iopf_wait wait;
	int ret = 0;

	dev->limits.by_hand = true;
	/* A poll thread may do the same. */
	atomic_compare_exchange_strong(&dev->limits.quarantine, &state, IOPF_QUARANTINE_WANTED);
	gates_set(dev);
	iopf_dev_wait_begin(dev, &wait);
	if (quarantine_of(dev) == IOPF_QUARANTINE_WANTED)
		ret = quarantine_enter(dev, &wait);
	return ret < 0 ? ret : outstanding_faults_end(dev, iopf_dev_wait_cycles(dev));
}

/* The caller holds the device's lock. */
static int
dev_release(struct iopf_dev *dev)
{
	bool was_free = quarantine_of(dev) == IOPF_QUARANTINE_FREE;
	int ret = was_free ? 0 : quarantine_leave(dev);

	if (ret < 0)
		return ret;
	/* If its rate has quarantined it again already, the policy thread serves that. */
	dev->limits.by_hand = false;
	dev->limits.level = 0;
	gates_set(dev);
	/* If its PRI is still due, the policy thread goes on with that. */
	if (was_free)
		return 0;
	/* After an error the caller has PRI switched on. */
	dev->limits.pri_is_due = false;
	return pri_bring_back(dev);
}

static int
dev_call(struct iopf_dev *dev, int (*fn)(struct iopf_dev *dev))
{
	int ret;

	if (dev == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (dev->iommu->driver->ops.dev_block == NULL)
		return iopf_ret(-ENOTSUP);
	iopf_dev_lock(dev);
	ret = dev->deleted ? -ENODEV : fn(dev);
	pthread_mutex_unlock(&dev->lock);
	return iopf_ret(ret);
}

int
iopf_dev_quarantine(struct iopf_dev *dev)
{
	return dev_call(dev, dev_quarantine);
}

int
iopf_dev_release(struct iopf_dev *dev)
{
	return dev_call(dev, dev_release);
}
