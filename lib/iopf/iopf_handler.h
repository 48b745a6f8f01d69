/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_HANDLER_H
#define IOPF_HANDLER_H

/**
 * @file
 * For the author of a domain whose handlers do more than answer: invalidations before an answer
 * (iopf_inval.h has those that wait), groups that are taken and answered later, workers for
 * deferred handlers, the operation retry; and for domains and handlers that are replaced while the
 * device runs.
 *
 * Lost page requests (iopf_domain_conf.lost). The callback is called like handler, for page
 * requests that are discarded because others were lost. No answer is needed (the id is 0). The
 * device requests these pages again: a domain that maps them now, or has them mapped, lets devices
 * progress however often the queue overflows, also with groups too large for it. After raising a
 * permission: iopf_group_invalidate().
 */

#include <stdbool.h>
#include <stdint.h>

#include "iopf.h"
#include "iopf_inval.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The most page requests of a group that a handler gets. Further ones are dropped and counted
 * (IOPF_IOMMU_STAT_CUT); the answer covers them, and the device requests them again. */
#define IOPF_MAX_GROUP_FAULTS 512

/**
 * An access that was aborted, and the answer to its fault: iopf_dev_ops.retry gets it once for each
 * record, of which an access may leave many, on the thread that answers.
 */
struct iopf_retry {
	uint64_t addr;
	uint32_t sid;
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint8_t perm;		/**< IOPF_PERM_* that the access needs */
	enum iopf_code code;	/**< after IOPF_ANSWER_AFTER_INV the access may fail again */
};

/**
 * Wait until every fast handler that runs now has returned and its answers are sent: memory that
 * they may have read can then be freed. 0, or -EDEADLK in a fast handler.
 */
int iopf_quiesce(void);

/** 0: the caller may wait. -EDEADLK: it is in a fast handler, a report or a retry. */
int iopf_may_wait(void);

/**
 * Invalidate before the answer: in a fast handler that returns IOPF_ANSWER_AFTER_INV, or in lost.
 * @return 0, -EINVAL, -ENOSPC (more than 4 for one group), -EPERM (not in a fast handler).
 */
int iopf_group_invalidate(const struct iopf_group *group, const struct iopf_inv *inv);

/**
 * Answer a group that was taken. From any thread, the handler included.
 * @return 0, -ESTALE (answered, cancelled or unknown; counted if the id is of a queue of an open
 *   IOMMU), -EINVAL (code).
 */
int iopf_group_respond(uint64_t id, enum iopf_code code);

/**
 * Have the deferred handler called for a group that the fast or the deferred handler took. From
 * any thread but a fast handler, also before the handler that took the group has returned. The
 * group stays taken until then: an answer, a detach or the deadline may come first.
 * @return 0, -EDEADLK in a fast handler, -ESTALE (answered, cancelled or unknown), -EINVAL (the
 *   domain has no deferred handler), -ENOSPC (the worker's size; the group still needs an answer).
 */
int iopf_group_defer(uint64_t id);

/** The longest deadline of a group: 70 minutes. */
#define IOPF_MAX_DEADLINE_MS (1u << 22)

/**
 * Set when a group that is deferred or taken must be answered: from now, in place of its domain's
 * deadline_ms. After that time the poll thread answers it IOPF_INVALID, counts it
 * (IOPF_STAT_EXPIRED, IOPF_DEV_STAT_EXPIRED) and gives its faults to report (IOPF_FAULT_EXPIRED); a
 * later answer returns -ESTALE. From any thread, handlers included; the last call counts. The
 * deadline_ms of a domain has the same effect, counts from the read of the record, and has the same
 * maximum.
 *
 * Never early. Late by up to a sweep: 1 ms for each 256 slots of the queue, 64 ms at most, while
 * the queue is polled.
 * @param ms 0: no deadline, also if the domain has one.
 * @return 0, -ESTALE (answered, cancelled or unknown), -ERANGE (above IOPF_MAX_DEADLINE_MS).
 */
int iopf_group_set_deadline(uint64_t id, uint32_t ms);

/**
 * Replace a domain's handlers and their context, which lost gets too, all at once: a handler never
 * runs with the context of another. When it returns, the former handlers do not run and will not be
 * called, so that their code and context can be freed. No fault is lost or answered by this: those
 * that wait for a worker go to the new deferred handler, and those that are taken stay taken. Waits
 * for the present pass of the poll threads, and for deferred handlers that run.
 * @param deferred not NULL if, and only if, the domain was created with a worker.
 * @return 0; -EINVAL; -EDEADLK in a handler; -ETIMEDOUT (a deferred handler has not returned for
 *   10 s: the new ones are in use, unless the call before has timed out too; call it again).
 */
int iopf_domain_set_handler(struct iopf_domain *domain, iopf_handler_t handler,
		iopf_handler_t deferred, void *ctx);

/**
 * Replace the domain that is attached there, while the device accesses memory: no access is aborted
 * by it, and each access uses the old domain or the new one. Faults of the old domain that wait for
 * an answer get IOPF_SUCCESS (counter retried): the device tries again in the new domain. When it
 * returns 0, what a detach promises is true of the old domain. That domain again: 0.
 * @return 0; -ENOTCONN (nothing is attached), -ERANGE (no such PASID), -EBUSY (its detach, or the
 *   undo of its attach, is not complete), -ENOTSUP (the driver cannot, or the stage-2 domain would
 *   change: a nested domain, its parent, and the parent's other nested domains have the same), or
 *   those of attach: the old domain is attached as before. After -ETIMEDOUT and other errors of the
 *   driver either may be attached, the old one may still be in use, and its handlers may have
 *   faults: replace by the same domain again, until that returns 0. If a queue was not read in
 *   time, faults get IOPF_SUCCESS without a handler until then. If the driver failed, a handler of
 *   the new domain may get faults of the old one. An open episode of the old domain ends and its
 *   counts are lost, and so does a trip of its breaker (iopf_policy.h).
 */
int iopf_domain_replace(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid);

struct iopf_worker_conf {
	const char *name;
	unsigned int nb_threads;	/**< made by the library, not pinned to a poll core [1] */
	unsigned int size;		/**< groups that can wait; all slots of the domains' IOMMUs
					  * should fit [65536] */
};

/**
 * Threads that run deferred handlers. They sleep when idle. The poll thread makes a system call,
 * to wake one, only if it defers a fault while one sleeps.
 */
struct iopf_worker *iopf_worker_create(const struct iopf_worker_conf *conf);

/** -EBUSY while a domain uses it, -EDEADLK in a handler. */
int iopf_worker_destroy(struct iopf_worker *worker);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_HANDLER_H */
