/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Cells of userfaultfd. In a closed loop each of `depth` threads writes to a page, continues when
 * the fault has been resolved, and takes the next page. The latency of a fault is the time of the
 * write, as its thread sees it: the exception, the event, the handler's work and both wake-ups.
 *
 * For the servicer alone, DRAIN_DEPTH threads write to a page each and sleep; then the handler reads
 * and resolves all of these faults, and only this is timed.
 *
 * Each variant has the scheduling that is best for it. A single thread that was woken preempts a
 * handler that polls on the same core (SCHED_IDLE), and several do not preempt it (SCHED_BATCH), so
 * that it resolves all that waits before they run.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_pause.h>

#include "bench.h"
#include "uffd.h"

/* Enough for a median, and quick: a fault takes microseconds. */
#define MAX_PAGES	4096
#define BUDGET_SHARE	8	/* of the budget of other modes */
#define WARM_FAULTS	2	/* of each thread */
/* In this time a thread that has begun its write sleeps in the fault. */
#define SETTLE_NS	100000

struct uffd_mode {
	struct uffd regions[2];	/* [zeropage] */
	int cpu_model, cpu_servicer;
	uint64_t served;	/* pages of all cells so far */
	uint32_t stamps;
	uint64_t t0[MAX_PAGES], t1[MAX_PAGES];	/* of each write of a cell; t1 0: there was none */
};

/* One cell, on the stack of uffd_run_cell(). */
struct uffd_cell {
	struct uffd_mode *um;
	struct uffd *u;
	struct hist *turns;	/* of the servicer alone; NULL: a closed loop */
	uint32_t threads, pages;
	uint32_t nb_turns;
	int cpu_faults, cpu_handler;
	bool busy;
	bool same_core;
	uint64_t stamp;		/* identifies the cell, in the upper half of each word */
	uint64_t budget;	/* cycles */
	uint64_t start;
	_Atomic uint32_t next;	/* page */
	atomic_bool failed;	/* not all threads could be created */
	pthread_mutex_t gate;	/* locked until all threads are created */
	pthread_barrier_t turn;
	sem_t end;		/* posted by each thread that faults, and by the handler */
};

static const char *const variants[] = {
	[0] = "continue_same_block",
	[UFFD_ZEROPAGE] = "zeropage_same_block",
	[UFFD_CROSS] = "continue_cross_block",
	[UFFD_CROSS | UFFD_ZEROPAGE] = "zeropage_cross_block",
	[UFFD_BUSY] = "continue_same_busy",
	[UFFD_BUSY | UFFD_ZEROPAGE] = "zeropage_same_busy",
	[UFFD_BUSY | UFFD_CROSS] = "continue_cross_busy",
	[UFFD_BUSY | UFFD_CROSS | UFFD_ZEROPAGE] = "zeropage_cross_busy",
};

/* The written bytes vary by page, as in loop.c, and leave the last ones of the page. */
static uint64_t *
get_words(const struct uffd *u, uint32_t page)
{
	return (uint64_t *)(void *)(u->mem + (size_t)page * BENCH_PAGE_SIZE +
			page % (BENCH_PAGE_SIZE / BENCH_OP_SIZE - 1) * BENCH_OP_SIZE);
}

static void
write_page(struct uffd_cell *cell, uint32_t page)
{
	uint64_t *words = get_words(cell->u, page);
	unsigned int i;

	cell->um->t0[page] = smmuv3_model_cycles();
	/* The writes stay between the two readings of the clock. */
	rte_compiler_barrier();
	for (i = 0; i < BENCH_OP_SIZE / sizeof(*words); i++)
		words[i] = cell->stamp | page;
	rte_compiler_barrier();
	cell->um->t1[page] = smmuv3_model_cycles();
}

static void
run_faults(struct uffd_cell *cell)
{
	uint32_t page;

	while ((page = atomic_fetch_add(&cell->next, 1)) < cell->pages) {
		write_page(cell, page);
		if (page >= WARM_FAULTS * cell->threads &&
				cell->um->t1[page] - cell->start > cell->budget)
			atomic_store(&cell->next, cell->pages);
	}
}

static void *
run_faulting_thread(void *arg)
{
	struct uffd_cell *cell = arg;
	struct sched_param param = { 0 };
	uint32_t i;

	bench_pin_thread("uffd-faults", cell->cpu_faults);
	if (cell->threads > 1)
		pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
	pthread_mutex_lock(&cell->gate);
	pthread_mutex_unlock(&cell->gate);
	if (!atomic_load(&cell->failed) && cell->turns == NULL)
		run_faults(cell);
	for (i = 0; i < cell->nb_turns && !atomic_load(&cell->failed); i++) {
		pthread_barrier_wait(&cell->turn);
		write_page(cell, atomic_fetch_add(&cell->next, 1));
	}
	sem_post(&cell->end);
	return NULL;
}

static void
serve_turns(struct uffd_cell *cell)
{
	const struct timespec settle = { .tv_nsec = SETTLE_NS };
	uint64_t t0;
	uint32_t i;
	int n, done;

	for (i = 1; i <= cell->nb_turns; i++) {
		pthread_barrier_wait(&cell->turn);
		while (atomic_load(&cell->next) != i * cell->threads)
			nanosleep(&settle, NULL);
		nanosleep(&settle, NULL);
		t0 = smmuv3_model_cycles();
		for (done = 0; done < (int)cell->threads; done += n)
			n = uffd_serve(cell->u);
		hist_add(cell->turns, smmuv3_model_cycles() - t0);
	}
}

static void *
run_handler(void *arg)
{
	struct uffd_cell *cell = arg;
	struct sched_param param = { 0 };

	bench_pin_thread("uffd-handler", cell->cpu_handler);
	if (cell->busy && cell->same_core)
		pthread_setschedparam(pthread_self(), SCHED_IDLE, &param);
	pthread_mutex_lock(&cell->gate);
	pthread_mutex_unlock(&cell->gate);
	if (cell->turns == NULL)
		while (uffd_serve(cell->u) >= 0)
			if (cell->busy)
				rte_pause();
	if (cell->turns != NULL && !atomic_load(&cell->failed))
		serve_turns(cell);
	sem_post(&cell->end);
	return NULL;
}

/* Wait until n threads have ended, or for BENCH_STUCK_SECONDS without a fault. */
static int
wait_end(struct uffd_cell *cell, uint32_t n)
{
	uint32_t seen = 0, now, i;
	unsigned int idle = 0;
	struct timespec ts;

	for (i = 0; i < n; ) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		if (sem_timedwait(&cell->end, &ts) == 0) {
			i++;
			continue;
		}
		if (errno == EINTR)
			continue;
		now = atomic_load(&cell->next);
		idle = now == seen ? idle + 1 : 0;
		seen = now;
		if (idle == BENCH_STUCK_SECONDS)
			return -ETIMEDOUT;
	}
	return 0;
}

static int
run_threads(struct uffd_cell *cell)
{
	pthread_t threads[1 + DRAIN_DEPTH];	/* the handler is the first */
	uint32_t i, n = 0;
	int ret = 0;

	pthread_mutex_lock(&cell->gate);
	while (n <= cell->threads && ret == 0) {
		ret = pthread_create(&threads[n], NULL, n == 0 ? run_handler : run_faulting_thread,
				cell);
		n += ret == 0;
	}
	if (ret != 0)
		atomic_store(&cell->failed, true);
	cell->start = smmuv3_model_cycles();
	pthread_mutex_unlock(&cell->gate);
	/* Threads that sleep in a fault for ever, or wait for one, cannot be joined. */
	if (n > 0 && wait_end(cell, n - 1) != 0)
		return -ETIMEDOUT;
	if (n > 0 && cell->turns == NULL)
		uffd_end_handler(cell->u);
	if (n > 0 && wait_end(cell, 1) != 0)
		return -ETIMEDOUT;
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return -ret;
}

/* Returns the number of pages that were not resolved exactly once, or hold other bytes. */
static uint32_t
verify_pages(const struct uffd_cell *cell)
{
	const struct uffd *u = cell->u;
	uint32_t page, bad = 0;
	const uint64_t *words;
	unsigned int i;
	bool right;

	for (page = 0; page < cell->pages; page++) {
		if (u->resolved[page] != (cell->um->t1[page] != 0)) {
			bad++;
			continue;
		}
		if (u->resolved[page] == 0)
			continue;
		right = uffd_holds_its_words(u, page);
		words = get_words(u, page);
		for (i = 0; i < BENCH_OP_SIZE / sizeof(*words); i++)
			right = right && words[i] == (cell->stamp | page);
		bad += !right;
	}
	return bad;
}

static int
finish_cell(struct uffd_cell *cell, const struct bench_case *c)
{
	struct uffd *u = cell->u;
	uint32_t page, n = 0, bad = verify_pages(cell);

	for (page = 0; page < cell->pages; page++)
		n += cell->um->t1[page] != 0;
	if (bad != 0 || u->strange != 0 || u->error != 0) {
		bench_error("%s: of %u pages %u were not resolved exactly once or hold other bytes, "
				"%u events were strange, error: %s", c->name, n, bad, u->strange,
				u->error == 0 ? "none" : strerror(u->error));
		return -EIO;
	}
	cell->um->served += n;
	return uffd_unmap_pages(u);
}

static void
add_samples(const struct uffd_cell *cell, struct cell *result)
{
	uint32_t page, warm = WARM_FAULTS * cell->threads;
	const uint64_t *t0 = cell->um->t0, *t1 = cell->um->t1;
	uint64_t last = 0;

	for (page = warm; page < cell->pages && t1[page] != 0; page++) {
		hist_add(&result->service, t1[page] - t0[page]);
		if (t1[page] > last)
			last = t1[page];
	}
	result->whole = result->service;
	result->cycles = last - t0[warm];
}

static int
uffd_run_cell(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *result)
{
	struct uffd_mode *um = mode->priv;
	struct uffd_cell cell = {
		.um = um,
		.u = &um->regions[(c->variant & UFFD_ZEROPAGE) != 0],
		.turns = c->kind == CASE_DRAIN ? &result->service : NULL,
		.threads = c->kind == CASE_DRAIN ? DRAIN_DEPTH : c->depth,
		.same_core = !(c->variant & UFFD_CROSS),
		.cpu_faults = c->variant & UFFD_CROSS ? um->cpu_model : um->cpu_servicer,
		.cpu_handler = um->cpu_servicer,
		.busy = c->variant & UFFD_BUSY,
		.stamp = (uint64_t)++um->stamps << 32,
		.budget = rte_get_tsc_hz() / 1000 * conf->budget_ms / BUDGET_SHARE,
		.gate = PTHREAD_MUTEX_INITIALIZER,
	};
	int ret;

	cell.pages = cell.u->pages;
	cell.nb_turns = cell.turns == NULL ? 0 : cell.pages / DRAIN_DEPTH;
	hist_reset(&result->service);
	hist_reset(&result->whole);
	memset(um->t1, 0, sizeof(um->t1));
	sem_init(&cell.end, 0, 0);
	pthread_barrier_init(&cell.turn, NULL, cell.threads + 1);
	ret = uffd_set_blocking(cell.u, !cell.busy);
	if (ret == 0)
		ret = run_threads(&cell);
	if (ret == -ETIMEDOUT) {
		bench_error("%s: no progress for %d s (%u writes began, error: %s); this is a "
				"defect, please report it", c->name, BENCH_STUCK_SECONDS,
				atomic_load(&cell.next), strerror(cell.u->error));
		return ret;
	}
	pthread_barrier_destroy(&cell.turn);
	sem_destroy(&cell.end);
	if (ret < 0) {
		bench_error("%s: cannot run %u threads: %s", c->name, cell.threads, strerror(-ret));
		return ret;
	}
	if (cell.turns == NULL)
		add_samples(&cell, result);
	return finish_cell(&cell, c);
}

static int
uffd_setup(struct mode *mode, const struct bench_conf *conf)
{
	struct uffd_mode *um = calloc(1, sizeof(*um));
	uint32_t pages = RTE_MIN(conf->faults, (unsigned int)MAX_PAGES);
	int ret;

	if (um == NULL)
		return -ENOMEM;
	mode->priv = um;
	um->cpu_model = conf->cpu_model;
	um->cpu_servicer = conf->cpu_servicer;
	um->regions[1].fd = -1;
	ret = uffd_open(&um->regions[0], false, pages, conf->zero_inline);
	return ret < 0 ? ret : uffd_open(&um->regions[1], true, pages, conf->zero_inline);
}

/* Each cell has checked its pages. */
static bool
uffd_check(struct mode *mode)
{
	const struct uffd_mode *um = mode->priv;

	return um->served > 0;
}

static void
uffd_teardown(struct mode *mode)
{
	struct uffd_mode *um = mode->priv;

	if (um == NULL)
		return;
	uffd_close(&um->regions[0]);
	uffd_close(&um->regions[1]);
	free(um);
	mode->priv = NULL;
}

const struct mode_ops mode_uffd = {
	.name = "uffd",
	.what = "faults of threads that userfaultfd hands to another thread; no SMMU",
	.find_obstacle = uffd_find_obstacle,
	.variants = variants,
	.nb_variants = RTE_DIM(variants),
	/* The faults wait already, so that the handler need not. */
	.nb_drain_variants = UFFD_BUSY,
	.max_depth = 32,
	.setup = uffd_setup,
	.run = uffd_run_cell,
	.check = uffd_check,
	.teardown = uffd_teardown,
};
