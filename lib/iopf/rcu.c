/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <urcu/static/urcu-memb.h>
#include <urcu/urcu-memb.h>

#include <rte_branch_prediction.h>

#include "rcu.h"

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;
/* As iopf_self. Not urcu_memb_reader: liburcu's variables are too large, too. */
static _Thread_local bool registered __attribute__((tls_model("initial-exec")));

/*
 * Readers of the memb flavour use no barriers: membarrier(2) in the writer replaces them, which
 * ThreadSanitizer does not see. This tells it that the end of a read section comes before the end
 * of the grace period that waited for it.
 */
#if defined(__SANITIZE_THREAD__)
#define IOPF_RCU_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define IOPF_RCU_TSAN
#endif
#endif
#ifdef IOPF_RCU_TSAN
static _Atomic unsigned long tsan_sections;
#endif

static void
thread_exit(void *arg)
{
	(void)arg;
	urcu_memb_unregister_thread();
	registered = false;
}

static void
make_key(void)
{
	pthread_key_create(&thread_key, thread_exit);
}

static void
thread_register(void)
{
	pthread_once(&thread_once, make_key);
	urcu_memb_register_thread();
	/* Any value but NULL, so that thread_exit() is called. */
	pthread_setspecific(thread_key, &thread_key);
	registered = true;
}

void
iopf_rcu_read_lock(void)
{
	if (unlikely(!registered))
		thread_register();
	/* Its authors allow this call without a function of theirs from any code. */
	_urcu_memb_read_lock();
#ifdef IOPF_RCU_TSAN
	atomic_load_explicit(&tsan_sections, memory_order_acquire);
#endif
}

void
iopf_rcu_read_unlock(void)
{
#ifdef IOPF_RCU_TSAN
	atomic_fetch_add_explicit(&tsan_sections, 1, memory_order_release);
#endif
	_urcu_memb_read_unlock();
}

void
iopf_rcu_synchronize(void)
{
	urcu_memb_synchronize_rcu();
#ifdef IOPF_RCU_TSAN
	atomic_fetch_add_explicit(&tsan_sections, 1, memory_order_acq_rel);
#endif
}
