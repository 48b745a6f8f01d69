/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's thread, and waits for the model. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE	/* sched_getcpu(), CPU_SET() */
#endif

#include <errno.h>
#include <sched.h>

#include "model.h"

#define THREAD_BUDGET	256
#define THREAD_FULL	64	/* steps between two checks of all registers */
#define THREAD_SPIN	4	/* idle steps before the thread yields the processor */
#define THREAD_SPIN_PINNED	256
#define WAIT_SPIN	64

static inline void
cpu_relax(void)
{
#if defined(__x86_64__)
	__asm__ volatile("pause");
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

static void
yield_lock(struct smmuv3_model *m)
{
	pthread_mutex_unlock(&m->lock);
	while (atomic_load_explicit(&m->waiting, memory_order_relaxed) != 0)
		sched_yield();
	pthread_mutex_lock(&m->lock);
}

static void *
thread_main(void *arg)
{
	struct smmuv3_model *m = arg;
	/* No other thread needs the processor of a pinned thread. */
	unsigned int spin = atomic_load_explicit(&m->cpu, memory_order_relaxed) >= 0 ?
		THREAD_SPIN_PINNED : THREAD_SPIN;
	unsigned int idle = 0, steps = 0;

	pthread_mutex_lock(&m->lock);
	while (!atomic_load_explicit(&m->stop, memory_order_relaxed)) {
		if (smmuv3_step(m, THREAD_BUDGET, steps++ % THREAD_FULL == 0) != 0) {
			idle = 0;
			/* Endpoints repeat requests until software acknowledges: let it run. */
			if (m->fe.pri_over) {
				pthread_mutex_unlock(&m->lock);
				sched_yield();
				pthread_mutex_lock(&m->lock);
			}
		} else if (++idle % spin == 0) {
			pthread_mutex_unlock(&m->lock);
			sched_yield();
			pthread_mutex_lock(&m->lock);
		} else {
			cpu_relax();
		}
		if (atomic_load_explicit(&m->waiting, memory_order_relaxed) != 0)
			yield_lock(m);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

int
smmuv3_model_start(struct smmuv3_model *m, int cpu)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	if (m == NULL)
		return -EINVAL;
	/* Loads of threaded pair with the releases below and in smmuv3_model_stop(). */
	if (atomic_load_explicit(&m->threaded, memory_order_acquire))
		return -EBUSY;
	ret = pthread_attr_init(&attr);
	if (ret != 0)
		return -ret;
	if (cpu >= CPU_SETSIZE) {
		pthread_attr_destroy(&attr);
		return -EINVAL;
	}
	if (cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	atomic_store_explicit(&m->cpu, cpu, memory_order_relaxed);
	atomic_store_explicit(&m->stop, false, memory_order_relaxed);
	/* Waiting threads step a model without a thread: exclude them from here on. */
	smmuv3_ctl_enter(m);
	atomic_store_explicit(&m->threaded, true, memory_order_release);
	ret = pthread_create(&m->thread, &attr, thread_main, m);
	if (ret != 0)
		atomic_store_explicit(&m->threaded, false, memory_order_release);
	smmuv3_ctl_leave(m);
	pthread_attr_destroy(&attr);
	return -ret;
}

int
smmuv3_model_stop(struct smmuv3_model *m)
{
	if (m == NULL)
		return -EINVAL;
	if (!atomic_load_explicit(&m->threaded, memory_order_acquire))
		return -EINVAL;
	atomic_store_explicit(&m->stop, true, memory_order_relaxed);
	pthread_join(m->thread, NULL);
	atomic_store_explicit(&m->threaded, false, memory_order_release);
	return 0;
}

void
smmuv3_model_wait(struct smmuv3_model *m)
{
	static _Thread_local unsigned int waits;
	int cpu;

	if (m == NULL)
		return;
	if (smmuv3_inside_step(m))
		return;
	if (!atomic_load_explicit(&m->threaded, memory_order_acquire)) {
		if (pthread_mutex_trylock(&m->lock) != 0) {
			sched_yield();
			return;
		}
		if (!atomic_load_explicit(&m->threaded, memory_order_acquire))
			smmuv3_step(m, SMMUV3_BATCH, true);
		pthread_mutex_unlock(&m->lock);
		return;
	}
	cpu = atomic_load_explicit(&m->cpu, memory_order_relaxed);
	if ((cpu >= 0 && sched_getcpu() == cpu) || ++waits % WAIT_SPIN == 0)
		sched_yield();
	else
		cpu_relax();
}
