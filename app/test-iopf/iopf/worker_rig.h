/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef WORKER_RIG_H
#define WORKER_RIG_H

/* A worker of one thread or of three, with one domain and one device, on an IOMMU made of arrays. */

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <rte_cycles.h>

#include "array_iommu.h"
#include "iopf.h"

#define SID		8
#define PATIENCE_S	120

struct wk {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_worker *worker;
	struct iopf_poller *poller;
	enum iopf_verdict verdict;
	enum iopf_verdict (*_Atomic deferred)(const struct iopf_group *group);
	_Atomic unsigned int called;
	_Atomic uint64_t id;		/* of the last group */
	_Atomic bool hold;
};

extern struct wk wk;

int wk_setup(void **state);
int wk_setup_three(void **state);
int wk_teardown(void **state);
void wk_put_stall(uint16_t stag);
/* The fast handler: returns wk.verdict. */
enum iopf_verdict wk_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
/* For wk.deferred: answers once wk.hold is clear. */
enum iopf_verdict wk_wait_for_release(const struct iopf_group *group);

/* Poll until the condition is true. */
#define WK_AWAIT(condition) do {					\
	uint64_t end_ = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();	\
									\
	while (!(condition)) {						\
		assert_true(rte_rdtsc() < end_);			\
		iopf_poll(wk.poller);					\
		sched_yield();						\
	}								\
} while (0)

#define WK_TEST(f) cmocka_unit_test_setup_teardown(f, wk_setup, wk_teardown)
#define WK_TEST_THREE(f) { #f "_of_three_threads", f, wk_setup_three, wk_teardown, NULL }

#endif /* WORKER_RIG_H */
