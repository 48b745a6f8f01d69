/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_WORKER_H
#define IOPF_WORKER_H

/* Worker threads, which run deferred handlers. */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_ring.h>

struct iopf_worker {
	char *name;
	struct rte_ring *ring;		/* group ids */
	_Atomic uint32_t nb_asleep;	/* threads that sleep, minus posts that wake them */
	sem_t wake;
	pthread_mutex_t again_lock;
	uint64_t *again;		/* groups to be deferred again */
	_Atomic uint32_t nb_again;
	uint32_t first_again;
	uint32_t max_again;
	_Atomic uint64_t nb_put_back;	/* attempts that came while the group's handler ran */
	_Atomic bool stop;
	_Atomic unsigned int nb_domains;
	unsigned int nb_threads;
	pthread_t threads[];
};

/* Returns 0, or an error: the ring is full. */
int iopf_worker_defer(struct iopf_worker *worker, uint64_t id);

#endif /* IOPF_WORKER_H */
