/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Measures how far apart the two cores are now: in a virtual machine the host moves them, and each
 * latency of the benchmark moves with them.
 */

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "bench.h"

#define PINGPONG_ROUNDS	20000
#define PINGPONG_MS	20

struct pingpong {
	_Atomic uint32_t ball __rte_cache_aligned;	/* odd: served; even: returned */
	atomic_bool stop __rte_cache_aligned;
	int cpu_a, cpu_b;
	int error;
	double ns;
	struct hist hist;
};

static void *
pingpong_answer(void *arg)
{
	struct pingpong *p = arg;
	uint32_t want = 1;

	bench_pin_thread("pong", p->cpu_b);
	while (!atomic_load_explicit(&p->stop, memory_order_relaxed)) {
		if (atomic_load_explicit(&p->ball, memory_order_relaxed) != want)
			continue;
		atomic_store_explicit(&p->ball, want + 1, memory_order_relaxed);
		want += 2;
	}
	return NULL;
}

static void *
pingpong_measure(void *arg)
{
	struct pingpong *p = arg;
	uint64_t end, t0, t1;
	uint32_t i;

	p->error = bench_pin_thread("ping", p->cpu_a);
	end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * PINGPONG_MS;
	for (i = 0; i < PINGPONG_ROUNDS; i++) {
		t0 = rte_rdtsc();
		atomic_store_explicit(&p->ball, 2 * i + 1, memory_order_relaxed);
		do {
			t1 = rte_rdtsc();
			if (t1 > end)
				goto out;
		} while (atomic_load_explicit(&p->ball, memory_order_relaxed) != 2 * i + 2);
		hist_add(&p->hist, t1 - t0);
	}
out:
	atomic_store_explicit(&p->stop, true, memory_order_relaxed);
	p->ns = hist_get_percentile(&p->hist, 0.5) * 1e9 / (double)rte_get_tsc_hz();
	return NULL;
}

double
pingpong_measure_ns(int cpu_a, int cpu_b)
{
	struct pingpong *p = NULL;
	pthread_t a, b;
	double ns = -1;

	if (posix_memalign((void **)&p, RTE_CACHE_LINE_SIZE, sizeof(*p)) != 0)
		return -1;
	memset(p, 0, sizeof(*p));
	p->cpu_a = cpu_a;
	p->cpu_b = cpu_b;
	if (pthread_create(&b, NULL, pingpong_answer, p) != 0)
		goto out;
	if (pthread_create(&a, NULL, pingpong_measure, p) != 0) {
		atomic_store(&p->stop, true);
		pthread_join(b, NULL);
		goto out;
	}
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	if (p->error == 0 && p->hist.samples > 0)
		ns = p->ns;
out:
	free(p);
	return ns;
}
