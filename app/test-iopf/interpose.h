/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef INTERPOSE_H
#define INTERPOSE_H

/*
 * Counts the calls of libc's allocation and locking functions while the calling thread watches, and
 * makes chosen allocations fail. Disabled under the sanitizers, which interpose the same functions.
 */

#include <stdatomic.h>
#include <stdbool.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define INTERPOSE_OFF
#endif
#endif
#if (defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)) && !defined(INTERPOSE_OFF)
#define INTERPOSE_OFF
#endif

extern unsigned int interpose_allocs, interpose_locks;

/* Grace periods of liburcu, started by any thread. */
extern _Atomic unsigned int interpose_grace_periods;

void interpose_watch(bool on);

/* Make the n-th allocation of this thread from now on fail, once. 0: none fails. */
void interpose_fail(unsigned int n);
/* Called inside the allocation that fails, with the locks that the caller holds. May be NULL. */
extern void (*interpose_on_fail)(void);

/* True when that allocation has failed. */
bool interpose_failed(void);

#endif /* INTERPOSE_H */
