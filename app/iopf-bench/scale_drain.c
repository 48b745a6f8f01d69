/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The servicers of a cell, and their drains. */

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_pause.h>

#include "scale_suite.h"
#include "suite.h"

#define WARM_UP		2
#define DRAINS		8	/* of a cell, after the warm-up */
#define TIMEOUT_S	10
/* Counters of the driver. */
#define PROD_WRITES	"batches"
#define PUSHED		"backlog_pushes"
#define WAIT_SPIN	4096	/* test runs have one CPU for both threads */

struct scale_cell;

struct servicer {
	struct scale_cell *cell;
	const struct scale_servicer *conf;
	struct iopf_poller *poller;
	unsigned int index;
	unsigned int faults;
	unsigned int passed;		/* barriers */
	uint64_t begin, end;		/* of the present drain's serve phase */
	pthread_t thread;
} __rte_aligned(SCALE_ALIGN);

struct scale_cell {
	struct scale_rig *rig;
	unsigned int nb;
	_Atomic unsigned int arrived __rte_aligned(SCALE_ALIGN);	/* at all barriers so far */
	_Atomic unsigned int failed_at __rte_aligned(SCALE_ALIGN);	/* drain; UINT_MAX: none */
	_Atomic int error;
	struct servicer servicers[SCALE_MAX_SERVICERS];
	/* Of the first servicer. */
	double ns[DRAINS];
	uint64_t prod_writes, pushed;
};

/*
 * A wait of spinning threads: one that slept would begin with cold caches, later than the others.
 * Acquire and release: what a servicer wrote before is seen by all after it.
 */
static void
pass_barrier(struct servicer *s)
{
	struct scale_cell *cell = s->cell;
	unsigned int n = 0, all = ++s->passed * cell->nb;

	atomic_fetch_add_explicit(&cell->arrived, 1, memory_order_acq_rel);
	while ((int)(atomic_load_explicit(&cell->arrived, memory_order_acquire) - all) < 0) {
		if (++n % WAIT_SPIN == 0)
			sched_yield();
		else
			rte_pause();
	}
}

static bool
has_failed(const struct scale_cell *cell, unsigned int drain)
{
	return atomic_load_explicit(&cell->failed_at, memory_order_relaxed) <= drain;
}

static void
note_error(struct servicer *s, unsigned int drain, int ret)
{
	if (ret == 0)
		return;
	atomic_store_explicit(&s->cell->error, ret, memory_order_relaxed);
	atomic_store_explicit(&s->cell->failed_at, drain, memory_order_relaxed);
}

static int
for_own_lanes(struct servicer *s, int (*fn)(struct scale_lane *lane))
{
	unsigned int i;
	int ret = 0;

	for (i = 0; ret == 0 && i < s->conf->nb_lanes; i++)
		ret = fn(s->cell->rig->lanes[s->conf->first_lane + i]);
	return ret;
}

static int
fill(struct servicer *s)
{
	int ret;

	if (s->conf->fill_cpu == s->conf->cpu)
		return for_own_lanes(s, scale_lane_fill);
	bench_pin_thread("servicer", s->conf->fill_cpu);
	ret = for_own_lanes(s, scale_lane_fill);
	bench_pin_thread("servicer", s->conf->cpu);
	return ret;
}

static int
finish(struct servicer *s)
{
	return for_own_lanes(s, scale_lane_finish);
}

/* One servicer after the other: two lanes may be of one SMMU. */
static void
run_phase(struct servicer *s, unsigned int drain, int (*fn)(struct servicer *s))
{
	unsigned int i;

	for (i = 0; i < s->cell->nb; i++) {
		if (i == s->index && !has_failed(s->cell, drain))
			note_error(s, drain, fn(s));
		pass_barrier(s);
	}
}

static int
serve(struct servicer *s)
{
	uint64_t limit = rte_rdtsc() + TIMEOUT_S * rte_get_tsc_hz();
	unsigned int n, done = 0;

	while (done < s->faults) {
		n = iopf_poll(s->poller);
		done += n;
		if (n == 0 && rte_rdtsc() > limit) {
			bench_error("%u of %u faults were served", done, s->faults);
			return -ETIMEDOUT;
		}
	}
	return 0;
}

/* Depends on each step before, and on no memory. */
static void
loop_in_registers(uint64_t steps)
{
	uint64_t i, x = 1;

	for (i = 0; i < steps; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		__asm__ volatile("" : "+r"(x));
	}
}

/* All servicers have served, and the first one adds up. */
static void
record_drain(struct scale_cell *cell, unsigned int at)
{
	uint64_t begin = cell->servicers[0].begin, end = cell->servicers[0].end;
	unsigned int i;

	for (i = 1; i < cell->nb; i++) {
		begin = RTE_MIN(begin, cell->servicers[i].begin);
		end = RTE_MAX(end, cell->servicers[i].end);
	}
	cell->ns[at] = (double)(end - begin) / cell->rig->suite->cycles_per_ns;
	cell->prod_writes += scale_get_stat(cell->rig, PROD_WRITES);
	cell->pushed += scale_get_stat(cell->rig, PUSHED);
}

static void
run_drain(struct servicer *s, unsigned int drain)
{
	struct scale_cell *cell = s->cell;
	bool first = s->index == 0 && drain >= WARM_UP;
	int ret = 0;

	run_phase(s, drain, fill);
	if (first) {
		cell->prod_writes -= scale_get_stat(cell->rig, PROD_WRITES);
		cell->pushed -= scale_get_stat(cell->rig, PUSHED);
	}
	pass_barrier(s);
	s->begin = rte_rdtsc();
	if (s->conf->steps != 0)
		loop_in_registers(s->conf->steps);
	else if (!has_failed(cell, drain))
		ret = serve(s);
	s->end = rte_rdtsc();
	note_error(s, drain, ret);
	pass_barrier(s);
	if (first)
		record_drain(cell, drain - WARM_UP);
	/* The counters are read: the unmap of the next phase sends commands too. */
	pass_barrier(s);
	run_phase(s, drain, finish);
}

static void *
run_servicer(void *arg)
{
	struct servicer *s = arg;
	unsigned int d;

	bench_pin_thread("servicer", s->conf->cpu);
	/* Before drain d all servicers agree on the errors of those before it, and on no others. */
	for (d = 0; d < WARM_UP + DRAINS && (d == 0 || !has_failed(s->cell, d - 1)); d++)
		run_drain(s, d);
	return NULL;
}

static int
open_poller(struct servicer *s)
{
	struct scale_lane *lane;
	unsigned int i;

	s->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "scale",
			.burst = BENCH_BURST });
	for (i = 0; s->poller != NULL && i < s->conf->nb_lanes; i++) {
		lane = s->cell->rig->lanes[s->conf->first_lane + i];
		s->faults += lane->conf.faults;
		if (iopf_poller_add(s->poller, lane->iommu, lane->conf.requests ?
				IOPF_QUEUE_REQUESTS : IOPF_QUEUE_EVENTS) < 0)
			break;
	}
	if (s->poller != NULL && i == s->conf->nb_lanes)
		return 0;
	bench_error("a poller: %s", rte_strerror(rte_errno));
	return -rte_errno;
}

static int
run_threads(struct scale_cell *cell)
{
	unsigned int i;
	int ret;

	for (i = 0; i < cell->nb; i++) {
		ret = pthread_create(&cell->servicers[i].thread, NULL, run_servicer,
				&cell->servicers[i]);
		if (ret != 0) {
			/* It would leave the others at a barrier. */
			bench_error("cannot start %u threads: %s", cell->nb, strerror(ret));
			exit(EXIT_FAILURE);
		}
	}
	for (i = 0; i < cell->nb; i++)
		pthread_join(cell->servicers[i].thread, NULL);
	return atomic_load(&cell->error);
}

int
scale_drain(struct scale_rig *rig, const struct scale_servicer *servicers, unsigned int nb,
		struct scale_result *result)
{
	struct scale_cell *cell = aligned_alloc(SCALE_ALIGN, sizeof(*cell));
	unsigned int i;
	int ret = 0;

	if (cell == NULL)
		return -ENOMEM;
	memset(cell, 0, sizeof(*cell));
	memset(result, 0, sizeof(*result));
	cell->rig = rig;
	cell->nb = nb;
	atomic_init(&cell->failed_at, UINT_MAX);
	for (i = 0; ret == 0 && i < nb; i++) {
		cell->servicers[i].cell = cell;
		cell->servicers[i].conf = &servicers[i];
		cell->servicers[i].index = i;
		ret = open_poller(&cell->servicers[i]);
		result->faults += servicers[i].steps != 0 ? (double)servicers[i].steps :
				cell->servicers[i].faults;
	}
	if (ret == 0)
		ret = run_threads(cell);
	result->ns = spread_make(cell->ns, DRAINS).median;
	result->prod_writes = (double)cell->prod_writes / DRAINS;
	result->pushed = (double)cell->pushed / DRAINS;
	for (i = 0; i < nb; i++)
		iopf_poller_destroy(cell->servicers[i].poller);
	free(cell);
	return ret;
}
