/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef JOIN_RIG_H
#define JOIN_RIG_H

/*
 * A domain whose faults join: a device with page requests (prg.dev, PASID 3) and two that stall, on
 * one IOMMU made of arrays.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf_policy.h"
#include "prg_rig.h"

#define SID_A	3
#define SID_B	4
#define PAGE	0x5000
#define RW	(IOPF_PERM_READ | IOPF_PERM_WRITE)

struct join {
	struct iopf_dev *a, *b;
	struct iopf_domain *domain;
	struct iopf_worker *worker;
	uint64_t id;			/* of the last group given to a handler */
	unsigned int called, called_deferred;
	_Atomic bool hold;
	_Atomic bool holding;
	enum iopf_verdict verdict, deferred_verdict;
	unsigned int nb_inv;		/* invalidations of the handler */
	bool respond;			/* the handler answers the group itself */
};

extern struct join join;

enum iopf_verdict join_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
/* The domain, attached to the three devices. */
void join_open_domain(struct iopf_domain_conf conf);
void join_close_domain(void);
/* The two devices that stall, attached with PASID 1. */
void join_add_devs(void);
int join_setup(void **state);
int join_teardown(void **state);
void join_put_stall(uint32_t sid, uint16_t stag, uint64_t addr, uint8_t perm);
uint64_t join_stat(enum iopf_stat which);
/* Wait until no fault of the domain is pending. A worker counts an answer after it has sent it. */
void join_await_counts(void);
/* There are n answers with these tokens, the first of which comes first, each with the code. */
void join_check_answers(unsigned int n, const uint16_t *tokens, enum iopf_code code);

#define JOIN_TEST(fn) cmocka_unit_test_setup_teardown(fn, join_setup, join_teardown)

#endif /* JOIN_RIG_H */
