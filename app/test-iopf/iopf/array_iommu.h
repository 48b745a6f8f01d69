/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ARRAY_IOMMU_H
#define ARRAY_IOMMU_H

/*
 * The driver "arrays", an IOMMU made of arrays: the test puts records into its queues, and finds
 * the answers in order.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "iopf_driver.h"

#define QUEUE		1024
#define MAX_STALLS	32
#define REQUESTS	16	/* entries of the request queue */

struct out {
	struct iopf_answer answer;
	unsigned int nb_inv;	/* invalidations in front of it, in the same batch */
	uint64_t inv_addr;
};

struct array_queue {
	struct iopf_event events[QUEUE];
	_Atomic unsigned int prod;
	_Atomic unsigned int cons;
	struct iopf_peek peek;
	_Atomic unsigned int polls;	/* calls of poll() */
};

/* Driver operations that a test can make wait or fail. */
enum array_call {
	ARRAY_ATTACH,
	ARRAY_DETACH,
	ARRAY_REPLACE,
	ARRAY_DEV_ADD,
	ARRAY_DEV_DEL,
	ARRAY_STALL_SET,
	ARRAY_DEV_BLOCK,
	ARRAY_INVALIDATE,
	ARRAY_SYNC,
	ARRAY_MARK,
	ARRAY_START,
	ARRAY_STOP,
	ARRAY_CLOSE,
	ARRAY_IDLE,
	NB_ARRAY_CALLS,
};

struct array_knob {
	_Atomic unsigned int hold;	/* this many calls wait until array_release() */
	_Atomic unsigned int held;	/* calls that wait now */
	_Atomic unsigned int calls;	/* calls that have begun */
	_Atomic int fail;		/* the result of the next nb_fail calls */
	_Atomic unsigned int nb_fail;
};

extern struct array_iommu {
	struct array_queue q[2];	/* by IOPF_QUEUE_* */
	struct out out[QUEUE];
	_Atomic unsigned int nb_out;
	_Atomic unsigned int check;
	struct array_knob knobs[NB_ARRAY_CALLS];
	_Atomic unsigned int domains;
	_Atomic unsigned int attached;
	_Atomic bool blocked;		/* by the last dev_block */
	_Atomic bool stalls;		/* by the last stall_set; true at first */
	_Atomic unsigned int misused;	/* late uses and early releases of a handle */
	unsigned int invalidate_fails_at;
	unsigned int invalidate_us;	/* duration of an invalidation */
	_Atomic unsigned int invalidated;
	_Atomic unsigned int invalidated_typed;	/* of these */
	unsigned int posts, posted_invs;	/* answer_after() calls, their invalidations */
	unsigned int sid_bits;
	unsigned int max_stalls;
	bool stall_forced;
	bool requests;			/* there is a request queue */
	bool pri_pasid;
	int fail_attach;
	bool can_idle;			/* there are interrupts: idle returns 0 */
	bool attach_half;		/* an attach that fails leaves its attachment */
	bool replace_half;		/* a replace that fails has switched already */
	void (*on_replace)(void);	/* called before and after the switch */
	void (*on_dev_add)(void);	/* called before the driver has the device */
	void (*on_sync)(void);		/* called when a sync begins */
	void (*on_answer)(void);	/* called when an answer begins */
	void (*on_attach)(bool attached);	/* called when a device's STE changes */
	void (*on_block)(bool on);	/* called when a dev_block begins */
	_Atomic(void (*)(void)) on_wait;	/* called once, in a wait of a control call */
	pthread_mutex_t lock;
} hw;
/* The records are read 2 ms before poll returns them. */
extern bool array_slow_poll;
/* An IOMMU that is opened has the operation peek. */
extern bool array_has_peek;

/* Reset to the state before the first test. */
void array_iommu_reset(void);
/* Let waiting calls go on. */
void array_release(enum array_call call);
/* Wait until n calls wait there. False on a timeout. */
bool array_wait_held(enum array_call call, unsigned int n);
void array_put(unsigned int queue, const struct iopf_event *ev);

#endif /* ARRAY_IOMMU_H */
