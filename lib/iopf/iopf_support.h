/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_SUPPORT_H
#define IOPF_SUPPORT_H

/*
 * Helpers for the libraries and drivers of this project. Not installed.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Create a thread for work that is not on the fault path. It may run on the processors that the
 * process had when it was loaded, except those of lcores, or on the main lcore's if none is left.
 * It does not inherit the affinity of its creator, which may be pinned to a poll core.
 *
 * name: at most 15 characters. Returns 0 or -errno.
 */
int iopf_thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

/*
 * The limit for log lines that a device or a guest can cause. Each object has its own, zeroed at
 * first: the lines of one object do not suppress those of another.
 */
#define IOPF_LOG_LINES_PER_S 10

struct iopf_log_limit {
	_Atomic uint64_t begin;		/* of the current second, in TSC cycles */
	_Atomic uint32_t lines;		/* in this second, including suppressed lines */
	_Atomic uint64_t unsaid;	/* suppressed since the last line that was written */
	_Atomic uint64_t left_out;	/* suppressed in all; for a counter of the object */
};

/*
 * True: the caller may write a line now, and *before lines were suppressed before it, which the
 * line reports. Any thread; does not wait and makes no system call.
 */
bool iopf_log_take(struct iopf_log_limit *limit, uint64_t *before);

/* The end of such a line in @p text: " (3 lines left out before)", or "" if *before was 0. */
#define IOPF_LOG_TAIL 56
const char *iopf_log_tail(char text[IOPF_LOG_TAIL], uint64_t before);

/*
 * Write a name that an application has given as printable ASCII, cut to @p size with "..." at
 * its end: other bytes, and the characters ", \ and %, become %XX. For telemetry and dumps.
 */
void iopf_name_encode(char *buf, size_t size, const char *name);

#endif /* IOPF_SUPPORT_H */
