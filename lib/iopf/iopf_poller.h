/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POLLER_H
#define IOPF_POLLER_H

/**
 * @file
 * For an application that gives its poll threads a loop, an idle policy or other queues.
 *
 * @code
 *	poller = iopf_poller_create(&(struct iopf_poller_conf){
 *			.name = "faults", .idle = IOPF_IDLE_SLEEP });
 *	iopf_poller_add(poller, smmu0, IOPF_QUEUE_ALL);
 *	iopf_poller_add(poller, smmu1, IOPF_QUEUE_ALL);
 *	rte_eal_remote_launch(iopf_poller_run, poller, lcore);
 *	...
 *	iopf_poller_move(other, smmu1, IOPF_QUEUE_ALL);	// load moves to another core
 *	...
 *	iopf_poller_stop(poller);
 *	rte_eal_wait_lcore(lcore);
 *	iopf_poller_destroy(poller);
 * @endcode
 *
 * A poll thread that shares its core with other work calls iopf_poll() itself, between the other
 * work. A pass is bounded: it takes at most burst * bursts records from each queue. The library
 * makes no system call in iopf_poll(), except to wake a sleeping worker (iopf_handler.h) or a
 * pool's control thread (mmem.h), and for a log line. The idle policy is that of iopf_poller_run().
 *
 * Sleep. A poll thread with IOPF_IDLE_SLEEP waits for all IOMMUs of its queues on one eventfd. Wake
 * it: a record or an error of an IOMMU; iopf_poller_add(), iopf_poller_remove(), iopf_poller_move()
 * and iopf_poller_stop() of the poller; the start and the stop of an IOMMU of it. A stopped or
 * failed IOMMU does not keep it awake. While a fault of a running IOMMU is held by a handler, it
 * makes a few passes each millisecond, for deadlines. The application must not call
 * iopf_iommu_idle() of these IOMMUs.
 */

#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What iopf_poller_run() does after a pass that read no record. */
enum iopf_idle {
	IOPF_IDLE_PAUSE,	/**< a pause instruction; each 1024th time it yields */
	IOPF_IDLE_SPIN,		/**< nothing: the next pass, for a core without other threads */
	IOPF_IDLE_YIELD,	/**< from the idle_passes-th pass in a row on it yields, for a core
				  * with other threads */
	IOPF_IDLE_SLEEP,	/**< after idle_passes in a row it sleeps. After a sleep shorter
				  * than the idle time before it, or a refused one, it needs twice
				  * as many, up to 64 * idle_passes; after a longer one half as
				  * many, down to idle_passes. If an IOMMU has no interrupts it
				  * yields instead, with a line in the log */
};

struct iopf_poller_conf {
	const char *name;	/**< for log lines ["poller"] */
	uint16_t burst;		/**< records taken from a queue at a time, at most 64 [32] */
	uint16_t bursts;	/**< at most so many in one pass over a queue [4] */
	enum iopf_idle idle;	/**< of iopf_poller_run() [IOPF_IDLE_PAUSE] */
	uint32_t idle_passes;	/**< passes in a row without a record [YIELD: 16, SLEEP: 4096] */
};

/**
 * Call iopf_poll() until iopf_poller_stop(). One thread at a time.
 * @return 0, for rte_eal_remote_launch(); -EINVAL; -EDEADLK in a fast handler.
 */
int iopf_poller_run(void *poller);

/**
 * Let iopf_poller_run() return after its present pass; without one, the next call returns at once.
 * From any thread, also from a signal handler.
 */
void iopf_poller_stop(struct iopf_poller *poller);

/**
 * Move a queue to this poller from the one that it is in, while both may run. No fault is lost or
 * handled twice: during the call the queue has one of the two poll threads at a time. When it
 * returns 0, no pass of the other poller uses the queue. Waits for the passes under way.
 * @param queue as in iopf_poller_add(); IOPF_QUEUE_ALL moves all or none.
 * @return 0, also if it is in @p to already; -EINVAL (no such queue, or it is in no poller: use
 *   iopf_poller_add()); -ENOSPC (64 queues); -ENOMEM; -EDEADLK in a handler.
 */
int iopf_poller_move(struct iopf_poller *to, struct iopf_iommu *iommu, uint32_t queue);

/** Counters of iopf_poller_run() with IOPF_IDLE_SLEEP. */
enum iopf_poller_stat {
	IOPF_POLLER_STAT_SLEEPS,	/**< times asleep */
	IOPF_POLLER_STAT_SHORT,		/**< sleeps shorter than the idle time before them */
	IOPF_POLLER_STAT_REFUSED,	/**< sleeps not begun: an IOMMU had a record or other work,
					  * or was being started or stopped, or its driver failed */
	IOPF_POLLER_STAT_TIMED,		/**< times awake during a sleep, for a deadline */
	IOPF_POLLER_STAT_UNSUPPORTED,	/**< an IOMMU has no interrupts, so the thread yields */
};
#define IOPF_NB_POLLER_STATS 5
const char *iopf_poller_stat_name(enum iopf_poller_stat stat);

/** Any thread. 0 with rte_errno EINVAL: no such counter. */
uint64_t iopf_poller_stat(const struct iopf_poller *poller, enum iopf_poller_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POLLER_H */
