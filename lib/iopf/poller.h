/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POLLER_H
#define POLLER_H

/* A poller: the queues of a poll thread. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define IOPF_POLLER_MAX_QUEUES	64

struct iopf_queue;

struct iopf_poller_queues {
	unsigned int nb;
	struct iopf_queue *queues[IOPF_POLLER_MAX_QUEUES];
};

struct iopf_poller {
	char name[32];
	uint16_t burst;
	uint16_t bursts;
	_Atomic(struct iopf_poller_queues *) queues;
	_Atomic bool stop;
	_Atomic unsigned int inside;	/* calls under way of iopf_poller_run() and iopf_poll() */
};

#endif /* POLLER_H */
