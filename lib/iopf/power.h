/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POWER_H
#define POWER_H

/*
 * Suspend, resume and use counts.
 *
 * No use is lost. A thread that takes a use counts it, then loads the state. A suspend at rest
 * stores a state other than RUNNING, then loads the count:
 *
 *	iopf_dev_get()				suspend at rest
 *	uses + 1				state = QUIESCING
 *	state RUNNING: return 0			uses 0: go on; else state = RUNNING
 *	else wake the power thread		state = SUSPENDED
 *
 * All four are sequentially consistent: the store buffering pattern, in which at least one of the
 * two sees the other. If both do, the suspend goes back and the power thread finds nothing to do.
 * If only the get does, the power thread, which waits for state_lock, finds the state SUSPENDED and
 * a use, and resumes. devtools/spin/use_count.pml checks this.
 *
 * The thread. It waits on an eventfd, which a get writes to after its load of the state, so that
 * the thread, which reads the eventfd first and then the state and the count, misses none. A put
 * does not wake the thread: while the IOMMU runs and is to suspend by itself, the thread looks at
 * the count each autosuspend_ms, and at the time of the last put.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf_power.h"

struct iopf_iommu;

struct iopf_power {
	_Atomic uint32_t uses;		/* of all devices together */
	_Atomic bool forced;		/* the suspend holds until iopf_iommu_resume() */
	/*
	 * In state RUNNING: ATS and PRI are not on yet, and accesses of devices with PRI may abort.
	 * Set before that state, so that a get that finds the state finds this.
	 */
	_Atomic bool settling;
	/*
	 * The error of power_on, in state SUSPENDED, in the lower half. The upper half counts the
	 * gets that have cleared it: an attempt that began before such a get does not set it again.
	 */
	_Atomic uint64_t error;
	_Atomic bool asked;		/* a get returned -EINPROGRESS: resumed is to be called */
	_Atomic int fd;			/* eventfd of the thread; -1: there is none */
	_Atomic uint64_t idle_since;	/* rte_rdtsc() of the last put or resume */
	_Atomic bool stop;		/* the thread ends */
	pthread_t thread;
	/* under state_lock */
	struct iopf_power_conf conf;
	bool is_off;			/* power_off was called last */
	bool pri_due;			/* of a device: iopf_pri_switch_on_due() */
};

void iopf_power_init(struct iopf_power *power);
/* The IOMMU is closed. Without state_lock. */
void iopf_power_fini(struct iopf_power *power);
/*
 * Start the IOMMU, or resume it if it is suspended. The caller holds state_lock. An error of
 * power_on leaves the state as it is.
 */
int iopf_iommu_start_up(struct iopf_iommu *iommu);
/* A suspend ends in state OFF. The caller holds state_lock. */
void iopf_iommu_stop_suspended(struct iopf_iommu *iommu);

#endif /* POWER_H */
