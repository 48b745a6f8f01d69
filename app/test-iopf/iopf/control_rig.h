/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CONTROL_RIG_H
#define CONTROL_RIG_H

/*
 * Control calls on an IOMMU made of arrays: three devices with a domain each, and calls on threads
 * of their own.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "array_iommu.h"
#include "iopf.h"

#define SID		7
#define NB_DEVS		3
#define NB_PASIDS	8
#define MAX_THREADS	8

/* A control call on a thread of its own. */
struct call {
	pthread_t thread;
	int (*fn)(void *arg);
	void *arg;
	int ret;
	_Atomic bool ended;
};

/* A device with PRI, as its operations leave it. It does not drain while its PRI is on. */
struct pri_fn {
	bool ats;
	bool pri;
	unsigned int nb_pri_off;	/* calls of pri_disable */
	unsigned int nb_wrong;		/* what is on goes on, PRI goes on without ATS */
	unsigned int nb_early;		/* pri_drained is called while PRI is on */
};

struct ctl {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev[NB_DEVS];
	struct iopf_domain *domain[NB_DEVS];
	struct iopf_poller *poller;
	struct iopf_worker *worker;
	struct call calls[MAX_THREADS];
	unsigned int nb_calls;
	_Atomic bool hold;		/* the deferred handler waits while set */
	_Atomic unsigned int holding;
	_Atomic bool storm_stop;
	_Atomic bool not_drained;
	_Atomic unsigned int asked;	/* calls of pri_drained that returned false */
	void (*in_pci_op)(void);	/* called when ATS goes on, when ATS or PRI goes off */
	int fail_ats;			/* ats_enable returns this, and changes nothing */
	int fail_ats_off;		/* the same for ats_disable, pri_enable, pri_disable */
	int fail_pri;
	int fail_pri_off;
	struct pri_fn pri_fn;		/* of device 0 */
	uint32_t wait_ms;
	uint32_t share_ms;
	unsigned int nb_threads;
	const struct iopf_dev_limits *limits;	/* of device 0 */
	const struct iopf_storm_conf *storm;	/* of domain 0 */
	bool bare;
	bool upgrade;
	enum iopf_verdict verdict;
	_Atomic uint64_t last_id;	/* of the last group that the handler had */
};

extern struct ctl ctl;

void ctl_open(bool requests, bool attach);
int ctl_setup(void **state);
int ctl_teardown(void **state);
struct call *ctl_start_call(int (*fn)(void *arg), void *arg);
/* Wait for the end of a call and return its result. */
int ctl_end_call(struct call *call);
/* ctl_start_call() and ctl_end_call(). */
int ctl_run_call(int (*fn)(void *arg), void *arg);
void ctl_put_stall(unsigned int dev, uint16_t stag);
/* Wait until a deferred handler runs, which waits while ctl.hold is set. */
void ctl_await_handler(void);
/* Put a stall of this device whose deferred handler does not return. */
void ctl_hold_handler(unsigned int dev);
/* Wait until the IOMMU has n answers. */
void ctl_await_answers(unsigned int n);
int ctl_attach0(void *domain);
int ctl_detach2(void *domain);
int ctl_invalidate(void *domain);

#define CTL_TEST(fn) cmocka_unit_test_setup_teardown(fn, ctl_setup, ctl_teardown)

#endif /* CONTROL_RIG_H */
