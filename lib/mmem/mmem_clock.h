/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_CLOCK_H
#define MMEM_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Time on CLOCK_MONOTONIC. */
static inline uint64_t
mmem_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline struct timespec
mmem_ns_to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };
}

#endif /* MMEM_CLOCK_H */
