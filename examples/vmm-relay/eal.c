/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <sched.h>

#include <rte_common.h>
#include <rte_eal.h>

#include "eal.h"

int
eal_start(char *program)
{
	char *args[] = { program, "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
		"--no-shconf", "--log-level=lib.eal:warning" };
	cpu_set_t cpus;
	int known, ret;

	/* EAL pins this thread to one of them. */
	known = pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) == 0;
	ret = rte_eal_init(RTE_DIM(args), args);
	if (known)
		pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	return ret < 0 ? -1 : 0;
}
