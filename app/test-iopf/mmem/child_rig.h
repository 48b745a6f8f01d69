/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CHILD_RIG_H
#define CHILD_RIG_H

/*
 * Cases of managed memory that need a process of their own: this program again, with the name of
 * the case in IOPF_TEST_CHILD, which the set-up of the suite runs in place of the tests.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <rte_errno.h>

#include "mmem.h"
#include "smmuv3_model.h"

#define RW		(MMEM_READ | MMEM_WRITE)

/* A child that takes longer is taken to hang. */
#define PATIENCE_S	120

/*
 * In the child. Exit codes: 0: passed, 2: failed, 77: not possible on this machine.
 */

#define CHECK(condition) do {							\
	if (!(condition)) {							\
		fprintf(stderr, "%s:%d: failed: %s (rte_errno %d)\n", __FILE__,	\
				__LINE__, #condition, rte_errno);		\
		_exit(2);							\
	}									\
} while (0)

struct child {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;
	uint8_t *buf;
	size_t len;
	pthread_t thread;
	_Atomic bool quit;
};

extern struct child child;

extern uint8_t child_data[64][4096];

void child_open(void);
void child_close(void);
struct mmem_pool *child_make_pool(size_t size);
void child_attach(void);

/*
 * In the parent
 */

struct child_case {
	const char *name;
	void (*run)(void);
};

/* Set-up of a suite. In the child it runs the case and does not return. */
int child_setup(const char *suite, const struct child_case *cases, unsigned int n);
/* Run a case in a child; its log is in child_log. */
int child_run(const char *name);
void child_expect_exit(const char *name);
void child_expect_log(const char *text);

#endif /* CHILD_RIG_H */
