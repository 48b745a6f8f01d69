/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POLLER_H
#define POLLER_H

/* A poller: the queues of a poll thread, its loop and its sleep. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf_poller.h"

#define IOPF_POLLER_MAX_QUEUES	64

struct iopf_hazard;
struct iopf_iommu;
struct iopf_queue;

/*
 * Read by the poll thread in an RCU read section, or under a hazard pointer while it sleeps: an
 * IOMMU of a list that is in use is not closed.
 */
struct iopf_poller_queues {
	uint64_t change;		/* differs from that of each other list of the poller */
	unsigned int nb;
	/* By queue. Beside the list, so that a pass reads nothing else of a queue that is idle. */
	const struct iopf_peek *peeks[IOPF_POLLER_MAX_QUEUES];
	struct iopf_queue *queues[IOPF_POLLER_MAX_QUEUES];
};

struct iopf_poller {
	char name[32];
	unsigned int id;		/* of this process; names may be equal */
	uint16_t burst;
	uint16_t bursts;
	enum iopf_idle idle;
	uint32_t idle_passes;
	unsigned int turn;		/* the next pass visits this queue in any case */
	int fd;				/* eventfd of a poller that sleeps; else -1 */
	_Atomic(void *) queues;		/* struct iopf_poller_queues; written under pollers_lock */
	_Atomic bool stop;
	_Atomic unsigned int inside;	/* calls under way of iopf_poller_run() and iopf_poll() */
	_Atomic unsigned int stoppers;	/* calls under way of iopf_poller_stop() */

	/* Of the thread in iopf_poller_run(). */
	struct iopf_poller_queues *slept; /* whose IOMMUs may still be in the mode of a sleep */
	struct iopf_hazard *line;	/* has slept */
	uint64_t unsupported;		/* change + 1 of the list that cannot sleep; or 0 */
	_Atomic uint64_t stats[IOPF_NB_POLLER_STATS];
	_Atomic uint64_t away_cycles;	/* of the TSC: asleep, or another thread ran */
};

/* A poller as telemetry shows it. */
struct iopf_poller_info {
	char name[32];
	unsigned int id;
	enum iopf_idle idle;
	uint64_t stats[IOPF_NB_POLLER_STATS];
};

/* poller.c */
/* The poller of a queue. False: it has none, or the lists of queues are being changed. */
bool iopf_queue_get_poller(const struct iopf_queue *q, struct iopf_poller_info *info);
const char *iopf_idle_name(enum iopf_idle idle);
/* Wake the poll threads of the queues of an IOMMU, but not @p self. Takes pollers_lock. */
void iopf_pollers_wake(struct iopf_iommu *iommu, const struct iopf_poller *self);

/* poller_sleep.c */
/* Wake the poll thread, or keep it from the sleep that it is about to begin. */
void iopf_poller_wake(const struct iopf_poller *poller);
/*
 * Sleep until woken. Returns 0, -EAGAIN (refused) or -ENOTSUP. iopf_poller_end_sleep() has to
 * follow: passes can be made before.
 */
int iopf_poller_sleep(struct iopf_poller *poller);
void iopf_poller_end_sleep(struct iopf_poller *poller);

#endif /* POLLER_H */
