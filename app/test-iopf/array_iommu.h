/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ARRAY_IOMMU_H
#define ARRAY_IOMMU_H

/*
 * An IOMMU made of arrays, the driver "arrays": what the test puts into its queues,
 * and the answers that came out, in order.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "iopf_driver.h"

#define QUEUE		1024
#define MAX_STALLS	32
#define REQUESTS	16	/* the request queue, when there is one */

struct out {
	struct iopf_answer answer;
	unsigned int nb_inv;	/* invalidations in front of it in the same batch */
	uint64_t inv_addr;
};

struct array_queue {
	struct iopf_event events[QUEUE];
	_Atomic unsigned int prod;
	_Atomic unsigned int cons;
};

extern struct array_iommu {
	struct array_queue q[2];	/* by IOPF_QUEUE_* */
	struct out out[QUEUE];
	_Atomic unsigned int nb_out;
	_Atomic unsigned int check;
	unsigned int domains;
	unsigned int attached;
	unsigned int invalidate_fails_at;
	unsigned int invalidated;
	unsigned int posts, posted_invs;	/* answer_after(), and what was in them */
	bool stall_forced;
	bool requests;			/* there is a request queue */
	bool pri_pasid;
	int fail_attach;
	void (*on_attach)(bool attached);	/* called when a device's STE changes */
	pthread_mutex_t lock;
} hw;

/* As before the first test. */
void array_iommu_reset(void);
void array_put(unsigned int queue, const struct iopf_event *ev);

#endif /* ARRAY_IOMMU_H */
