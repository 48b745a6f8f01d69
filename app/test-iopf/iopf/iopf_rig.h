/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_RIG_H
#define IOPF_RIG_H

/*
 * One IOMMU made of arrays, with one device, domain, worker and poller for each test.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "array_iommu.h"
#include "iopf.h"

#define SID		7
#define NB_PASIDS	16

struct one {
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_poller *poller;
	struct iopf_worker *worker;

	enum iopf_verdict verdict;
	enum iopf_verdict deferred_verdict;
	enum iopf_verdict (*in_handler)(const struct iopf_group *group);
	_Atomic uint64_t last_id;
	_Atomic unsigned int called;
	_Atomic unsigned int called_deferred;
	_Atomic bool hold;	/* the deferred handler waits while set */
	unsigned int reported;
	struct iopf_fault report;
};

extern struct one one;
extern unsigned int one_max_stalls;	/* of the next IOMMU; 0: MAX_STALLS */

enum iopf_verdict one_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
enum iopf_verdict one_deferred(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);
int one_setup(void **state);
int one_teardown(void **state);
void one_put(struct iopf_event ev);
void one_put_stall(uint16_t stag, uint64_t addr);
/* Poll until there are n answers. */
void one_await_answers(unsigned int n);
/*
 * Wait until no fault of the domain is pending. A worker counts an answer after it has sent it.
 */
void one_await_counts(void);
void one_mute_log(bool on);

#define ONE_TEST(fn) cmocka_unit_test_setup_teardown(fn, one_setup, one_teardown)

#endif /* IOPF_RIG_H */
