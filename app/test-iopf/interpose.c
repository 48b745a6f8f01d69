/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "interpose.h"

unsigned int interpose_allocs, interpose_locks;
void (*interpose_on_fail)(void);
static _Thread_local bool watching;
static _Thread_local unsigned int fail_in;
static _Thread_local bool failed;

void
interpose_watch(bool on)
{
	watching = on;
}

void
interpose_fail(unsigned int n)
{
	fail_in = n;
	if (n != 0)
		failed = false;
}

bool
interpose_failed(void)
{
	return failed;
}

#ifndef INTERPOSE_OFF
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static bool
refused(void)
{
	interpose_allocs += watching;
	if (fail_in == 0 || --fail_in > 0)
		return false;
	failed = true;
	if (interpose_on_fail != NULL)
		interpose_on_fail();
	errno = ENOMEM;
	return true;
}

void *
malloc(size_t size)
{
	return refused() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return refused() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	return refused() ? NULL : __libc_realloc(p, size);
}

void *
aligned_alloc(size_t align, size_t size)
{
	return refused() ? NULL : __libc_memalign(align, size);
}

int
posix_memalign(void **p, size_t align, size_t size)
{
	*p = refused() ? NULL : __libc_memalign(align, size);
	return *p == NULL ? ENOMEM : 0;
}

void
free(void *p)
{
	interpose_allocs += watching;
	__libc_free(p);
}

#define COUNT_LOCK(fn, type)						\
int									\
fn(type *lock)								\
{									\
	static _Atomic(int (*)(type *)) next;				\
	int (*f)(type *) = atomic_load(&next);				\
									\
	if (f == NULL) {						\
		f = (int (*)(type *))dlsym(RTLD_NEXT, #fn);		\
		atomic_store(&next, f);					\
	}								\
	interpose_locks += watching;					\
	return f(lock);							\
}
COUNT_LOCK(pthread_mutex_lock, pthread_mutex_t)
COUNT_LOCK(pthread_mutex_trylock, pthread_mutex_t)
COUNT_LOCK(pthread_rwlock_rdlock, pthread_rwlock_t)
COUNT_LOCK(pthread_rwlock_wrlock, pthread_rwlock_t)
COUNT_LOCK(pthread_spin_lock, pthread_spinlock_t)
#endif

_Atomic unsigned int interpose_grace_periods;

/* Enabled under the sanitizers too, which do not interpose it. */
void urcu_memb_synchronize_rcu(void);

void
urcu_memb_synchronize_rcu(void)
{
	static _Atomic(void (*)(void)) next;
	void (*f)(void) = atomic_load(&next);

	if (f == NULL) {
		f = (void (*)(void))dlsym(RTLD_NEXT, "urcu_memb_synchronize_rcu");
		atomic_store(&next, f);
	}
	atomic_fetch_add(&interpose_grace_periods, 1);
	f();
}
