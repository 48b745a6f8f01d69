/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_SUPPORT_H
#define IOPF_SUPPORT_H

/*
 * For the libraries and drivers of this project: what each would write again. Not
 * installed.
 */

#include <pthread.h>

/*
 * A thread for work beside the fault path. It may run on the processors that the process
 * had when it was loaded, without those of the lcores, or on the main lcore's if none is
 * left: it does not inherit the affinity of its creator, which may be pinned to a poll core.
 *
 * name: at most 15 characters. Returns 0 or -errno.
 */
int iopf_thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg);

#endif /* IOPF_SUPPORT_H */
