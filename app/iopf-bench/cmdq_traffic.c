/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A cell of the suite cmdq: the callers of one queue. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <pgtable.h>
#include <rte_cycles.h>

#include "cmdq_suite.h"
#include "suite.h"

#define PAGE		UINT64_C(4096)
#define REGION		(UINT64_C(2) << 20)	/* of a thread: one table of the last level */
#define VA_BITS		39
#define BURST_NS	20000			/* CMDQ_RESUME: from one burst to the next */
#define WARM_UP		10			/* of the cell's time, one part in so many */
/* On a busy machine a cell is longer, until the callers have made calls. */
#define MIN_CALLS	16			/* of each */
#define CELL_CALLS	1000
#define CELL_TIMES	20			/* at most */

_Thread_local uint64_t cmdq_nb_rmws, cmdq_nb_barriers;

struct traffic;

struct caller {
	_Atomic uint64_t calls __attribute__((aligned(CMDQ_ALIGN)));
	struct traffic *traffic;
	unsigned int index;
	pthread_t thread;
	uint64_t tlbis, resumes;
	uint64_t rmws, barriers;
	int ret;
};

struct traffic {
	struct cmdq_rig rig;
	struct cmdq_cell *cell;
	struct pgt *pgt;
	cpu_set_t cpus;
	pthread_barrier_t begin;
	atomic_bool stop;
	uint64_t stamps[CMDQ_STAGS];
	struct caller callers[CMDQ_MAX_THREADS];
};

static void *
alloc_table(void *ctx, size_t size)
{
	void *p = aligned_alloc(size, size);

	(void)ctx;
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

static void
free_table(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	free(p);
}

static uint64_t
get_table_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

/* sync() of the next n TLBIs of this caller. The VA is its number, for the audit. */
static int
invalidate(struct caller *c, unsigned int n)
{
	struct cmdq_rig *rig = &c->traffic->rig;
	struct smmuv3_cmd cmds[CMDQ_LONG];
	unsigned int i;

	for (i = 0; i < n; i++)
		cmds[i] = smmuv3_cmd_tlbi_nh_va(0, (uint16_t)(c->index + 1), c->tlbis++ << 12,
				true);
	return rig->impl->sync(rig->queue, cmds, n);
}

static int
post_burst(struct caller *c)
{
	struct cmdq_rig *rig = &c->traffic->rig;
	struct smmuv3_cmd cmds[CMDQ_BURST];
	unsigned int i;

	for (i = 0; i < CMDQ_BURST; i++)
		cmds[i] = smmuv3_cmd_resume(c->index + 1,
				(uint16_t)(c->resumes++ % CMDQ_STAGS | CMDQ_STAG_BIT), true, false);
	return rig->impl->post(rig->queue, cmds, CMDQ_BURST);
}

static int
map_and_unmap(struct caller *c)
{
	struct pgt *pgt = c->traffic->pgt;
	uint64_t va = c->index * REGION + c->tlbis % (REGION / PAGE) * PAGE;
	struct pgt_unmapped out;
	struct pgt_inv inv;
	int ret;

	pgt_unmapped_init(&out, &inv, 1);
	ret = pgt_map(pgt, va, va, PAGE, PGT_READ | PGT_WRITE | PGT_PAGES_ONLY);
	if (ret == 0)
		ret = pgt_unmap(pgt, va, PAGE, PGT_CLOSE, &out);
	if (ret == 0 && out.nb_inv != 1)
		ret = -EIO;
	if (ret == 0)
		ret = invalidate(c, 1);
	if (ret == 0)
		ret = pgt_open(pgt, va, PAGE);
	return ret;
}

/* A burst by the clock: the stamp says how many commands were executed when it was posted. */
static int
post_by_clock(struct caller *c, uint64_t *due)
{
	struct traffic *t = c->traffic;
	uint64_t now = rte_get_tsc_cycles();
	int ret;

	if (now < *due || c->resumes - atomic_load_explicit(&t->rig.answered,
			memory_order_relaxed) > CMDQ_STALLS - CMDQ_BURST) {
		sched_yield();
		return 0;
	}
	t->stamps[c->resumes % CMDQ_STAGS] = atomic_load_explicit(&t->rig.shown,
			memory_order_relaxed);
	now = rte_get_tsc_cycles();
	ret = post_burst(c);
	hist_add(&t->cell->post, rte_get_tsc_cycles() - now);
	*due = now + (uint64_t)(BURST_NS * t->rig.cycles_per_ns);
	return ret;
}

static int
call_once(struct caller *c, uint64_t *due)
{
	int ret;

	switch (c->traffic->cell->kind) {
	case CMDQ_MAP:
		return map_and_unmap(c);
	case CMDQ_MIXED:
		ret = post_burst(c);
		return ret < 0 ? ret : invalidate(c, 1);
	default:
		return c->index == 0 ? post_by_clock(c, due) : invalidate(c, CMDQ_LONG);
	}
}

static void *
caller_main(void *arg)
{
	struct caller *c = arg;
	struct traffic *t = c->traffic;
	uint64_t calls = 0, due = 0;

	pthread_setname_np(pthread_self(), "caller");
	pthread_setaffinity_np(pthread_self(), sizeof(t->cpus), &t->cpus);
	cmdq_nb_rmws = cmdq_nb_barriers = 0;
	pthread_barrier_wait(&t->begin);
	while (c->ret == 0 && (calls < MIN_CALLS ||
			!atomic_load_explicit(&t->stop, memory_order_relaxed))) {
		c->ret = call_once(c, &due);
		atomic_store_explicit(&c->calls, ++calls, memory_order_relaxed);
	}
	c->rmws = cmdq_nb_rmws;
	c->barriers = cmdq_nb_barriers;
	return NULL;
}

static uint64_t
sum_calls(const struct traffic *t)
{
	uint64_t sum = 0;
	unsigned int i;

	for (i = 0; i < t->cell->threads; i++)
		sum += atomic_load_explicit(&t->callers[i].calls, memory_order_relaxed);
	return sum;
}

static void
sleep_ms(double ms)
{
	struct timespec ts = { .tv_sec = (time_t)(ms / 1000) };

	ts.tv_nsec = (long)((ms - (double)ts.tv_sec * 1000) * 1e6);
	nanosleep(&ts, NULL);
}

static void
measure(struct traffic *t, double ms)
{
	uint64_t start, before, calls;
	unsigned int i = 0;

	pthread_barrier_wait(&t->begin);
	sleep_ms(ms / WARM_UP);
	before = sum_calls(t);
	start = rte_get_tsc_cycles();
	do {
		sleep_ms(ms);
		calls = sum_calls(t) - before;
	} while (calls < CELL_CALLS && ++i < CELL_TIMES);
	t->cell->rate = (double)calls / ((double)(rte_get_tsc_cycles() - start) /
			t->rig.cycles_per_ns) * 1e9;
	atomic_store_explicit(&t->stop, true, memory_order_relaxed);
}

static int
run_callers(struct traffic *t, double ms)
{
	unsigned int i;
	int ret;

	/* A thread that cannot be started would leave the others at the barrier. */
	pthread_barrier_init(&t->begin, NULL, t->cell->threads + 1);
	for (i = 0; i < t->cell->threads; i++) {
		t->callers[i].traffic = t;
		t->callers[i].index = i;
		ret = pthread_create(&t->callers[i].thread, NULL, caller_main, &t->callers[i]);
		if (ret != 0) {
			bench_error("cannot start %u threads: %s", t->cell->threads, strerror(ret));
			exit(EXIT_FAILURE);
		}
	}
	measure(t, ms);
	ret = 0;
	for (i = 0; i < t->cell->threads; i++) {
		pthread_join(t->callers[i].thread, NULL);
		if (ret == 0 && t->callers[i].ret < 0) {
			ret = t->callers[i].ret;
			bench_error("%s: a caller failed: %s", t->cell->impl->name, strerror(-ret));
		}
	}
	pthread_barrier_destroy(&t->begin);
	return ret;
}

/* All CPUs but that of the SMMU's thread. */
static void
choose_cpus(struct traffic *t)
{
	sched_getaffinity(0, sizeof(t->cpus), &t->cpus);
	CPU_CLR(t->rig.conf->cpu_model, &t->cpus);
	if (CPU_COUNT(&t->cpus) == 0)
		CPU_SET(t->rig.conf->cpu_model, &t->cpus);
}

static int
make_tables(struct traffic *t)
{
	t->pgt = pgt_create(&(struct pgt_conf){ .va_bits = VA_BITS,
			.mem = { .alloc = alloc_table, .free = free_table,
				.va_to_pa = get_table_pa } });
	if (t->pgt == NULL)
		return -ENOMEM;
	return pgt_prealloc(t->pgt, 0, t->cell->threads * REGION);
}

/* What the callers have sent, and what the SMMU has executed. */
static int
count_cmds(struct traffic *t, int ret)
{
	uint64_t tlbis = 0, resumes = 0, rmws = 0, barriers = 0;
	struct cmdq_cell *cell = t->cell;
	double cmds, syncs;
	unsigned int i;

	for (i = 0; i < cell->threads; i++) {
		tlbis += t->callers[i].tlbis;
		resumes += t->callers[i].resumes;
		rmws += t->callers[i].rmws;
		barriers += t->callers[i].barriers;
	}
	if (ret == 0 && (t->rig.tlbis != tlbis || t->rig.resumes != resumes)) {
		bench_error("%s: %" PRIu64 " TLBIs and %" PRIu64 " RESUMEs of %" PRIu64 " and %"
				PRIu64 " were executed", cell->impl->name, t->rig.tlbis,
				t->rig.resumes, tlbis, resumes);
		ret = -EIO;
	}
	cmds = (double)(tlbis + resumes);
	syncs = (double)tlbis / t->rig.tlbis_per_sync;
	if (cmds > 0) {
		cell->rmws_per_cmd = (double)rmws / cmds;
		cell->barriers_per_cmd = (double)barriers / cmds;
	}
	if (syncs > 0)
		cell->syncs_per_call = (double)t->rig.syncs / syncs;
	cell->ahead = t->rig.ahead;
	return ret;
}

int
cmdq_cell_run(const struct suite *suite, struct cmdq_cell *cell, double ms)
{
	struct traffic *t = aligned_alloc(CMDQ_ALIGN, sizeof(*t));
	uint64_t writes;
	int ret;

	if (t == NULL)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->cell = cell;
	hist_reset(&cell->post);
	ret = cmdq_rig_open(&t->rig, suite, cell->impl, cell->kind == CMDQ_RESUME ? CMDQ_LONG : 1,
			cell->kind == CMDQ_RESUME ? t->stamps : NULL);
	if (ret == 0)
		ret = make_tables(t);
	if (ret == 0) {
		choose_cpus(t);
		ret = run_callers(t, ms);
	}
	writes = ret == 0 ? cell->impl->count_prod_writes(t->rig.queue) : 0;
	ret = count_cmds(t, cmdq_rig_close(&t->rig, ret));
	if (t->rig.tlbis + t->rig.resumes > 0)
		cell->prod_writes_per_cmd = (double)writes / (double)(t->rig.tlbis +
				t->rig.resumes);
	pgt_destroy(t->pgt);
	free(t);
	return ret;
}
