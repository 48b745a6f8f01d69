/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <sched.h>

#include <rte_common.h>
#include <rte_lcore.h>

#include "iopf_support.h"

/* The processors of the process before EAL pins its threads. */
static cpu_set_t at_start;

RTE_INIT(iopf_thread_init)
{
	if (sched_getaffinity(0, sizeof(at_start), &at_start) != 0)
		CPU_ZERO(&at_start);
}

static cpu_set_t
cpus_without_lcores(void)
{
	cpu_set_t cpus = at_start;
	unsigned int lcore;

	RTE_LCORE_FOREACH(lcore) {
		cpu_set_t taken = rte_lcore_cpuset(lcore);

		/* Remove from cpus the processors of this lcore. */
		CPU_AND(&taken, &taken, &cpus);
		CPU_XOR(&cpus, &cpus, &taken);
	}
	return CPU_COUNT(&cpus) != 0 ? cpus : rte_lcore_cpuset(rte_get_main_lcore());
}

int
iopf_thread_create(pthread_t *thread, const char *name, void *(*run)(void *arg), void *arg)
{
	cpu_set_t cpus = cpus_without_lcores();
	pthread_attr_t attr;
	int ret;

	ret = pthread_attr_init(&attr);
	if (ret != 0)
		return -ret;
	if (CPU_COUNT(&cpus) != 0)
		ret = pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	if (ret == 0)
		ret = pthread_create(thread, &attr, run, arg);
	pthread_attr_destroy(&attr);
	if (ret == 0)
		pthread_setname_np(*thread, name);
	return -ret;
}
