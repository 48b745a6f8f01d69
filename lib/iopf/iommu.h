/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOMMU_H
#define IOMMU_H

/*
 * An IOMMU: its state, its queues, its devices.
 *
 * Locks of the control path, in this order:
 *	iommu->state_lock	configure, start, stop, suspend, resume, close: one at a time
 *	dev->lock		addition, attach, detach, PRI, removal of that device: one at a
 *				time
 *	iommu->lock		lists, tables, the budget of page requests. No wait is made under
 *				it: not for the driver, a device, a handler, a grace period
 *	iommu->idle_lock	sleep or poll, one call at a time. A stop leaves the states that are
 *				polled under it. Poll threads take it: no wait is made under it but
 *				the driver's for its interrupts
 *	domain->lock		handles of a domain; held during the driver's domain_add only. That
 *				of a nested domain before its parent's
 *	domain->handlers_lock	a change of the handlers; held while it waits for those of before
 *	iommu->dma_lock		a mapping of memory for DMA; held during the driver's call
 *	changes_lock of the pollers, held over a grace period and the end of a poll thread's sleep;
 *				pollers_lock is taken under it
 *	domains_lock, registry_lock, pollers_lock, listeners_lock	no other lock is taken under
 *				these
 * So the wait of a device's control call costs that device alone, and the wait of an IOMMU's
 * start or stop that IOMMU.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <rte_cycles.h>

#include "bucket.h"
#include "fault_queue.h"
#include "iopf.h"
#include "iopf_driver.h"
#include "iopf_iommu.h"
#include "iopf_stats.h"
#include "iopf_support.h"
#include "power.h"
#include "table.h"

#define IOPF_MAX_IOMMUS		64
#define IOPF_MAX_QUEUES		2
#define IOPF_MAX_REQUESTS	4096
#define IOPF_MAX_LISTENERS	8

struct iopf_dev;
struct iopf_listener;

/* In order: iopf_iommu_is_polled() and iopf_iommu_is_serving() compare. */
enum iopf_state {
	IOPF_STATE_OFF,
	IOPF_STATE_STARTING,
	IOPF_STATE_STOPPING,
	/* A start or a stop failed: only the driver knows whether the IOMMU translates. */
	IOPF_STATE_STUCK,
	/* No register is accessed. */
	IOPF_STATE_SUSPENDED,
	/* The driver's check() has given the IOMMU up; until a stop. */
	IOPF_STATE_FAILED,
	IOPF_STATE_RUNNING,
	/* A stop or a suspend switches off the PRI of the devices. */
	IOPF_STATE_QUIESCING,
};

struct iopf_iommu {
	uint16_t id;
	char *name;
	struct iopf_driver *driver;
	void *priv;
	struct iopf_iommu_info info;
	struct iopf_iommu_conf conf;
	struct iopf_bucket unknown_sids; /* reports of these; owner of the event queue */
	_Atomic uint32_t state;		/* enum iopf_state */
	bool idle;			/* interrupts replace polling; under idle_lock */
	bool sleeps;			/* a thread does, by iopf_iommu_idle(); under idle_lock */
	int sleep_fd;			/* copy of its eventfd, or -1; under idle_lock */
	bool recovering;		/* check() has terminated the stalls; owner of queue 0 */
	_Atomic uint32_t answering;	/* answers claimed, not yet sent: iopf_answering_begin() */
	_Atomic uint32_t nb_deadlines;	/* attachments whose domain has a deadline */
	_Atomic uint32_t nb_attached;	/* devices with an attachment */
	uint32_t default_requests;	/* request_queue_size as the driver said */
	uint64_t partial_cycles;	/* limit for a group without Last, in TSC cycles */
	_Atomic uint32_t default_share;	/* stalls of a device; written under lock */
	uint64_t share_cycles;		/* limit for a stall of a device over its share */
	_Atomic uint32_t granted;	/* page requests granted to devices; written under lock */

	pthread_mutex_t state_lock;
	pthread_mutex_t idle_lock;
	pthread_mutex_t lock;
	pthread_mutex_t dma_lock;
	uint32_t nb_dma;		/* areas mapped; under dma_lock */
	struct iopf_log_limit log;	/* of lines that a caller can cause */
	LIST_HEAD(, iopf_dev) devs;
	struct iopf_table sids;		/* StreamID -> iopf_dev */
	struct iopf_table attached;	/* iopf_attachment_key() -> iopf_attachment */
	struct iopf_queue queues[IOPF_MAX_QUEUES];
	/* Written under listeners_lock, freed after a grace period. */
	_Atomic(struct iopf_listener *) listeners[IOPF_MAX_LISTENERS];

	struct iopf_power power;

	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t stats[IOPF_NB_IOMMU_STATS];
};

/* Poll threads read the queues. In state FAILED no record comes, but check() is still called. */
static inline bool
iopf_iommu_is_polled(const struct iopf_iommu *iommu)
{
	/* Acquire: with the store in iopf_iommu_start(), as in iopf_iommu_is_serving(). */
	return atomic_load_explicit(&iommu->state, memory_order_acquire) >= IOPF_STATE_FAILED;
}

/* Poll threads read the queues, records come, and faults are answered. */
static inline bool
iopf_iommu_is_serving(const struct iopf_iommu *iommu)
{
	return atomic_load_explicit(&iommu->state, memory_order_acquire) >= IOPF_STATE_RUNNING;
}

/*
 * The answer to a page request is delivered. A stop delivers those that are sent before the driver
 * stops: a device whose PRI stays on waits for them.
 */
static inline bool
iopf_iommu_answers_requests(const struct iopf_iommu *iommu)
{
	uint32_t state = atomic_load_explicit(&iommu->state, memory_order_relaxed);

	return state == IOPF_STATE_STOPPING || state >= IOPF_STATE_RUNNING;
}

/* The IOMMU may translate, and no poll thread reads its queues. */
static inline bool
iopf_iommu_is_starting(const struct iopf_iommu *iommu)
{
	/* Acquire: with the store in iopf_iommu_start(), as in iopf_iommu_is_serving(). */
	return atomic_load_explicit(&iommu->state, memory_order_acquire) == IOPF_STATE_STARTING;
}

/*
 * No record comes, nor will one without a start that has not begun. Not the reverse of
 * iopf_iommu_is_serving(): while a start runs, the IOMMU may translate. In one load, since a start
 * may end between two.
 */
static inline bool
iopf_iommu_is_down(const struct iopf_iommu *iommu)
{
	uint32_t state = atomic_load_explicit(&iommu->state, memory_order_acquire);

	return state < IOPF_STATE_RUNNING && state != IOPF_STATE_STARTING;
}

static inline void
iopf_iommu_count(struct iopf_iommu *iommu, enum iopf_iommu_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&iommu->stats[stat], n, memory_order_relaxed);
}

/* The key of the table attached. */
static inline uint64_t
iopf_attachment_key(uint32_t sid, uint32_t pasid)
{
	return (uint64_t)pasid << 32 | sid;
}

/*
 * A stage-2 or nested domain is attached with IOPF_NO_PASID and with this one, which is none: its
 * device's accesses with each PASID find it.
 */
#define IOPF_ANY_PASID	(IOPF_NO_PASID - 2)

/* Without an attachment of the PASID: one of the device, or NULL. */
struct iopf_attachment *iopf_attachment_of_device(const struct iopf_iommu *iommu, uint32_t sid);

/* The attachment that an access uses, or NULL. In a read section. */
static inline struct iopf_attachment *
iopf_attachment_of(const struct iopf_iommu *iommu, uint32_t sid, uint32_t pasid)
{
	struct iopf_attachment *attachment = iopf_table_find(&iommu->attached,
			iopf_attachment_key(sid, pasid));

	return likely(attachment != NULL) ? attachment : iopf_attachment_of_device(iommu, sid);
}

/* See IOPF_ID_GEN() and the other fields of an id. */
static inline uint64_t
iopf_group_make_id(const struct iopf_queue *q, uint32_t slot, uint64_t gen)
{
	return gen << IOPF_ID_GEN_SHIFT |
		(uint64_t)q->iommu->id << (IOPF_ID_SLOT_BITS + IOPF_ID_QUEUE_BITS) |
		(uint64_t)q->id << IOPF_ID_SLOT_BITS | slot;
}

/* Add to the devices with an attachment. The caller holds lock. */
void iopf_iommu_count_attached(struct iopf_iommu *iommu, int n);
struct iopf_iommu *iopf_iommu_get(unsigned int id);
const char *iopf_state_name(enum iopf_state state);
/* Give a fault that needs no answer to the application's report. */
void iopf_fault_report(struct iopf_iommu *iommu, const struct iopf_fault *fault);

#endif /* IOMMU_H */
