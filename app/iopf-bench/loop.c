/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Engines, usually in a closed loop: `depth` writes are pending, each to its own unmapped page
 * (or group of pages); each completed write starts the next. All of this runs on the model's
 * thread, in the function that the engine calls for completed DMAs.
 *
 * The first sixteenth of the pages is warm-up. The measurement ends with the submission of the last
 * page, so that the depth is constant throughout.
 */

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>

#include "bench.h"

/* The contents of a write: words with its page and cell, repeated. */
#define WORDS		(BENCH_OP_SIZE / sizeof(uint64_t))
/* Distance of the words that are checked in each page of a group; other words are not. */
#define PAGE_WORDS	(BENCH_PAGE_SIZE / sizeof(uint64_t))

struct engines {
	struct smmuv3_model_dma *dma[BENCH_MAX_REQUESTERS];
};

struct loop {
	struct mode *mode;
	struct engines engines[BENCH_NB_GROUPS];	/* one set for writes without groups */
	struct engines open_engines;	/* none without an open loop */
	const struct engines *now;	/* those of this cell */
	unsigned int nb_engines, nb_sids;
	const uint32_t *order;		/* the page of the i-th fault; NULL: i */
	void (*hook)(const struct smmuv3_model_done *done, void *ctx);	/* or NULL */
	void *hook_ctx;
	struct cell *cell;
	uint64_t stamp;		/* identifies the cell, in the upper half of each word */
	uint32_t group;		/* pages of a write */
	uint32_t pages;
	uint32_t warm;		/* writes */
	uint32_t next;		/* page */
	uint32_t submitted;
	_Atomic uint32_t done;	/* the main thread reads it for progress */
	uint32_t bad_status;
	uint32_t bad_faults;
	uint32_t bad_submit;
	bool refill;
	uint64_t budget;	/* cycles */
	uint64_t t_warm;
	uint64_t *buf;		/* one buffer for each pending write */
	uint32_t stamps;
	sem_t end;
};

/*
 * The offset of the checked line in its page. It varies by page, or all lines would share one set
 * of the CPU's cache.
 */
static uint64_t
loop_get_offset(const struct loop *loop, uint32_t page)
{
	return (uint64_t)page * BENCH_PAGE_SIZE +
			page / loop->group % (BENCH_PAGE_SIZE / BENCH_OP_SIZE) * BENCH_OP_SIZE;
}

static uint32_t
loop_get_page(const struct loop *loop, uint32_t i)
{
	return loop->order != NULL ? loop->order[i] : i;
}

bool
loop_submit_write(struct loop *loop, uint32_t slot)
{
	size_t gap = (loop->group - 1) * PAGE_WORDS;
	uint64_t *words = loop->buf + slot * (gap + WORDS);
	uint32_t first = loop_get_page(loop, loop->next);
	struct smmuv3_model_op op = {
		.type = SMMUV3_MODEL_WRITE,
		.addr = loop->mode->va + loop_get_offset(loop, first),
		.buf = words,
		.len = gap * sizeof(*words) + BENCH_OP_SIZE,
		.cookie = slot,
	};
	unsigned int i, page;

	for (page = 0; page < loop->group; page++)
		for (i = 0; i < WORDS; i++)
			words[page * PAGE_WORDS + i] = loop->stamp | (first + page);
	if (smmuv3_model_dma_submit(loop->now->dma[slot % loop->nb_engines], &op) < 0) {
		loop->bad_submit++;
		return false;
	}
	loop->next += loop->group;
	loop->submitted++;
	return true;
}

/* Runs on the model's thread. */
static void
loop_on_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	struct loop *loop = ctx;
	uint32_t n = atomic_load_explicit(&loop->done, memory_order_relaxed) + 1;

	(void)dma;
	if (done->status != SMMUV3_MODEL_OK)
		loop->bad_status++;
	if (done->nb_stalls != !loop->mode->ops->requests ||
			done->nb_groups != loop->mode->ops->requests)
		loop->bad_faults++;

	if (loop->hook != NULL)
		loop->hook(done, loop->hook_ctx);
	if (!loop->refill) {
		atomic_store_explicit(&loop->done, n, memory_order_relaxed);
		return;
	}
	if (n == loop->warm) {
		loop->t_warm = done->t_end;
	} else if (n > loop->warm && loop->next < loop->pages) {
		hist_add(&loop->cell->service, done->t_resume - done->t_event);
		hist_add(&loop->cell->whole, done->t_end - done->t_start);
		loop->cell->cycles = done->t_end - loop->t_warm;
		if (loop->cell->cycles > loop->budget)
			loop->pages = loop->next;
	}
	if (loop->next < loop->pages)
		loop_submit_write(loop, done->cookie);

	atomic_store_explicit(&loop->done, n, memory_order_relaxed);
	if (n == loop->submitted)
		sem_post(&loop->end);
}

/* Returns false with errno. */
static bool
engines_create(struct loop *loop, struct engines *engines,
		const struct smmuv3_model_dma_conf *conf)
{
	struct smmuv3_model_dma_conf engine = *conf;
	unsigned int i;

	for (i = 0; i < loop->nb_engines; i++) {
		engine.sid = BENCH_SID + i % loop->nb_sids;
		engines->dma[i] = smmuv3_model_dma_create(loop->mode->model, &engine);
		if (engines->dma[i] == NULL)
			return false;
	}
	return true;
}

static void
engines_destroy(struct engines *engines)
{
	unsigned int i;

	for (i = 0; i < BENCH_MAX_REQUESTERS; i++)
		smmuv3_model_dma_destroy(engines->dma[i]);
}

struct loop *
loop_create(struct mode *mode, const struct bench_conf *conf)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	struct smmuv3_model_dma_conf engine = { .on_done = loop_on_done, .ctx = loop,
		.kind = mode->ops->requests ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN };
	unsigned int depth, g;

	if (loop == NULL)
		return NULL;
	loop->mode = mode;
	loop->nb_engines = conf->requesters;
	loop->nb_sids = conf->sids;
	loop->order = conf->order;
	sem_init(&loop->end, 0, 0);
	depth = conf->max_depth > DRAIN_DEPTH ? conf->max_depth : DRAIN_DEPTH;
	if (mode->ops->requests)
		depth = BENCH_MAX_DEPTH;
	/* Groups need no more room: at most the same number of pages is pending. */
	loop->buf = calloc(BENCH_MAX_DEPTH, mode->ops->requests ? BENCH_PAGE_SIZE : BENCH_OP_SIZE);
	if (loop->buf == NULL)
		goto fail;
	if (conf->open) {
		engine.depth = BENCH_MAX_DEPTH;
		if (!engines_create(loop, &loop->open_engines, &engine))
			goto fail;
	}
	for (g = 0; g < (mode->ops->requests ? BENCH_NB_GROUPS : 1); g++) {
		engine.depth = depth >> g;
		engine.group_pages = 1u << g;
		if (!engines_create(loop, &loop->engines[g], &engine))
			goto fail;
	}
	return loop;
fail:
	loop_destroy(loop);
	return NULL;
}

void
loop_destroy(struct loop *loop)
{
	unsigned int g;

	if (loop == NULL)
		return;
	for (g = 0; g < BENCH_NB_GROUPS; g++)
		engines_destroy(&loop->engines[g]);
	engines_destroy(&loop->open_engines);
	sem_destroy(&loop->end);
	free(loop->buf);
	free(loop);
}

/* Wait for the end, or for BENCH_STUCK_SECONDS without any progress. */
static int
loop_wait_end(struct loop *loop)
{
	uint32_t seen = 0, now;
	unsigned int idle = 0;
	struct timespec ts;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec++;
		if (sem_timedwait(&loop->end, &ts) == 0)
			return 0;
		if (errno == EINTR)
			continue;
		now = atomic_load_explicit(&loop->done, memory_order_relaxed);
		idle = now == seen ? idle + 1 : 0;
		seen = now;
		if (idle == BENCH_STUCK_SECONDS)
			return -ETIMEDOUT;
	}
}

/* Check every word of every written page. */
static uint32_t
loop_verify_pages(const struct loop *loop)
{
	const uint64_t *words;
	uint32_t fault, page, bad = 0;
	unsigned int i;

	for (fault = 0; fault < loop->next; fault++) {
		page = loop_get_page(loop, fault);
		words = (const uint64_t *)(const void *)(loop->mode->mem +
				loop_get_offset(loop, page));
		for (i = 0; i < WORDS; i++) {
			if (words[i] != (loop->stamp | page)) {
				bad++;
				break;
			}
		}
	}
	return bad;
}

void
loop_reset(struct loop *loop, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell)
{
	hist_reset(&cell->service);
	hist_reset(&cell->whole);
	cell->cycles = 0;
	loop->now = c->kind == CASE_OPEN || c->kind == CASE_OPEN_MAX ? &loop->open_engines :
			&loop->engines[c->group_log2];
	loop->hook = NULL;
	loop->cell = cell;
	loop->refill = c->kind == CASE_CLOSED;
	loop->stamp = (uint64_t)++loop->stamps << 32;
	loop->group = 1u << c->group_log2;
	loop->pages = conf->faults / loop->group * loop->group;
	loop->warm = conf->faults / loop->group / BENCH_WARM_SHARE;
	loop->next = 0;
	loop->submitted = 0;
	atomic_store(&loop->done, 0);
	loop->bad_status = 0;
	loop->bad_faults = 0;
	loop->bad_submit = 0;
	loop->budget = rte_get_tsc_hz() / 1000 * conf->budget_ms;
}

void
loop_set_hook(struct loop *loop, void (*fn)(const struct smmuv3_model_done *done, void *ctx),
		void *ctx)
{
	loop->hook = fn;
	loop->hook_ctx = ctx;
}

unsigned int
loop_count_waiting(const struct mode *mode)
{
	return mode->ops->requests ? smmuv3_model_dma_pri_outstanding(mode->loop->now->dma[0]) :
			smmuv3_model_stalls_outstanding(mode->model);
}

unsigned int
loop_count_pending(const struct mode *mode)
{
	unsigned int i, n = 0;

	for (i = 0; i < mode->loop->nb_engines; i++)
		n += smmuv3_model_dma_outstanding(mode->loop->now->dma[i]);
	return n;
}

bool
loop_submit_writes(struct loop *loop, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		if (!loop_submit_write(loop, i))
			return false;
	return true;
}

int
loop_finish_cell(struct mode *mode, const struct bench_case *c)
{
	struct loop *loop = mode->loop;
	uint32_t bad = loop_verify_pages(loop);

	mode->faults += loop->submitted;
	mode->pages += loop->next;
	if (loop->bad_status || loop->bad_faults || loop->bad_submit || bad) {
		bench_error("%s: of %u writes %u failed, %u did not %s exactly once, %u were "
				"refused, %u pages hold other bytes", c->name, loop->submitted,
				loop->bad_status, loop->bad_faults,
				mode->ops->requests ? "ask" : "stall", loop->bad_submit, bad);
		return -EIO;
	}
	return mode->ops->unmap(mode);
}

int
loop_report_stuck(struct mode *mode, const struct bench_case *c)
{
	bench_error("%s: no progress for %d s (%u of %u writes ended, %u faults wait for an "
			"answer, %u driver errors); this is a defect, please report it",
			c->name, BENCH_STUCK_SECONDS, atomic_load(&mode->loop->done),
			mode->loop->submitted, loop_count_waiting(mode),
			smmuv3_model_driver_errors(mode->model));
	return -ETIMEDOUT;
}

int
loop_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell)
{
	struct loop *loop = mode->loop;
	int ret;

	loop_reset(loop, conf, c, cell);
	if (!loop_submit_writes(loop, c->depth)) {
		bench_error("%s: a DMA engine accepts only %u writes", c->name, loop->submitted);
		return -EAGAIN;
	}
	ret = mode->ops->start(mode);
	if (ret < 0)
		return ret;
	ret = smmuv3_model_start(mode->model, conf->cpu_model);
	if (ret < 0) {
		bench_error("cannot start the model's thread on CPU %d: %s", conf->cpu_model,
				strerror(-ret));
		return ret;
	}
	ret = loop_wait_end(loop);
	if (ret < 0)
		return loop_report_stuck(mode, c);
	smmuv3_model_stop(mode->model);
	mode->ops->stop(mode);

	if (cell->service.samples == 0) {
		bench_error("%s: no samples", c->name);
		return -EIO;
	}
	return loop_finish_cell(mode, c);
}
