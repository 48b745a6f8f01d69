/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_BASE_H
#define SMMUV3_BASE_H

/**
 * @file
 * The log and the counters of the driver.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_common.h>
#include <rte_log.h>

#include <iopf_support.h>

extern int smmuv3_logtype;

/* Log line: "smmuv3 model=1: text". */
#define SMMUV3_LOG(level, s, fmt, ...)						\
	rte_log(RTE_LOG_ ## level, smmuv3_logtype, "smmuv3 %s: " fmt "\n",	\
		(s)->name, ##__VA_ARGS__)

/* A line that a device or a guest can cause. */
#define SMMUV3_LOG_LIMITED(level, s, limit, fmt, ...)				\
	do {									\
		char tail_[IOPF_LOG_TAIL];					\
		uint64_t before_;						\
										\
		if (iopf_log_take(limit, &before_))				\
			SMMUV3_LOG(level, s, fmt "%s", ##__VA_ARGS__,		\
					iopf_log_tail(tail_, before_));		\
	} while (0)

/* Two cache lines, because processors prefetch the adjacent line: no false sharing. */
#define SMMUV3_ALIGN	128

/* A counter with one writer at a time. */
static inline void
smmuv3_counter_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n,
			memory_order_relaxed);
}

/* A counter with several writers. */
static inline void
smmuv3_counter_add_shared(_Atomic uint64_t *c, uint64_t n)
{
	atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}

#endif /* SMMUV3_BASE_H */
