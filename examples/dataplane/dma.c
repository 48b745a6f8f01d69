/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_ring.h>

#include "dma.h"
#include "engine.h"

#define PAGE_SIZE	UINT64_C(4096)
#define ANSWER_MS	20
#define ANSWER_DOUBLE	7u	/* doublings of the patience, at most: to 2.5 s */

struct dma {
	const struct engine_ops *ops;
	void *engine;
	struct dma_conf conf;
	struct rte_ring *answers;		/* of page address | enum iopf_code */
	TAILQ_HEAD(, dma_req) active;
	unsigned int nb_kept;
	uint64_t patience;		/* cycles */
	uint64_t checked;
	struct dma_stats stats;
};

struct dma *
dma_open(const struct dma_conf *conf)
{
	struct dma *dma = calloc(1, sizeof(*dma));

	if (dma == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	dma->conf = *conf;
	dma->patience = ANSWER_MS * rte_get_tsc_hz() / 1000;
	TAILQ_INIT(&dma->active);
	dma->ops = conf->edu != NULL ? &engine_edu : &engine_model;
	dma->engine = dma->ops->open(conf);
	if (dma->engine != NULL && conf->retry)
		dma->answers = rte_ring_create("dataplane_answers",
				rte_align32pow2(conf->depth + 1), SOCKET_ID_ANY, RING_F_SC_DEQ);
	if (dma->engine == NULL || (conf->retry && dma->answers == NULL)) {
		dma_close(dma);
		return NULL;
	}
	return dma;
}

void
dma_close(struct dma *dma)
{
	int error = rte_errno;

	if (dma == NULL)
		return;
	dma->ops->close(dma->engine);
	rte_ring_free(dma->answers);
	free(dma);
	rte_errno = error;
}

void
dma_wait(struct dma *dma)
{
	dma->ops->wait(dma->engine);
}

bool
dma_is_idle(const struct dma *dma)
{
	return TAILQ_EMPTY(&dma->active);
}

const struct dma_stats *
dma_stats(const struct dma *dma)
{
	return &dma->stats;
}

/*
 * Called on the poll thread or a worker thread, where it must not block, so it only passes the
 * answer on. An answer that does not fit into the ring is lost, like one whose record was lost.
 */
void
dma_notify(struct iopf_dev *dev __rte_unused, const struct iopf_retry *retry, void *ctx)
{
	struct dma *dma = ctx;
	uintptr_t answer = RTE_ALIGN_FLOOR(retry->addr, PAGE_SIZE) | retry->code;

	rte_ring_mp_enqueue(dma->answers, (void *)answer);
}

static int
submit_req(struct dma *dma, struct dma_req *req)
{
	int ret;

	req->answer = 0;
	ret = dma->ops->submit(dma->engine, req);
	if (ret == 0)
		req->state = DMA_BUSY;
	return ret;
}

int
dma_start(struct dma *dma, struct dma_req *req)
{
	int ret;

	req->tries = 0;
	req->unanswered = 0;
	ret = submit_req(dma, req);
	if (ret == 0)
		TAILQ_INSERT_TAIL(&dma->active, req, link);
	return ret;
}

static void
end_req(struct dma *dma, struct dma_req *req, enum dma_state state)
{
	TAILQ_REMOVE(&dma->active, req, link);
	req->state = state;
}

/* Continue an aborted request: its page has an answer, or the patience is over. */
static void
retry_or_fail(struct dma *dma, struct dma_req *req)
{
	unsigned int pages = (req->addr % PAGE_SIZE + req->len + PAGE_SIZE - 1) / PAGE_SIZE;

	dma->nb_kept--;
	if (req->answer != 0 && req->answer != 1 + IOPF_SUCCESS) {
		dma->stats.refused++;
		end_req(dma, req, DMA_FAILED);
		return;
	}
	/* The page may be unmapped between an answer and the retry, so retries are bounded. */
	if (req->tries++ == pages * dma->conf.max_retries) {
		dma->stats.given_up++;
		end_req(dma, req, DMA_FAILED);
		return;
	}
	dma->stats.retries++;
	req->unanswered = req->answer == 0 ? req->unanswered + 1 : 0;
	dma->stats.unanswered += req->answer == 0;
	if (submit_req(dma, req) < 0)
		end_req(dma, req, DMA_FAILED);
}

static void
handle_abort(struct dma *dma, struct dma_req *req)
{
	if (!dma->conf.retry) {
		/* The stall was answered with an abort. */
		dma->stats.refused++;
		end_req(dma, req, DMA_FAILED);
		return;
	}
	req->state = DMA_KEPT;
	req->since = rte_rdtsc();
	dma->nb_kept++;
	if (req->answer != 0)
		retry_or_fail(dma, req);
}

/*
 * The answer may come before the abort, so pending requests note it too. An answer for another
 * request costs at most one early retry.
 */
static void
handle_answer(struct dma *dma, uint64_t answer)
{
	uint64_t page = RTE_ALIGN_FLOOR(answer, PAGE_SIZE);
	struct dma_req *req, *next;

	for (req = TAILQ_FIRST(&dma->active); req != NULL; req = next) {
		next = TAILQ_NEXT(req, link);
		if (req->addr + req->len <= page || req->addr >= page + PAGE_SIZE)
			continue;
		req->answer = 1 + answer % PAGE_SIZE;
		if (req->state == DMA_KEPT)
			retry_or_fail(dma, req);
	}
}

/*
 * Records can be lost, for example in a full event queue: a retry makes a new record. The patience
 * doubles, so that retries do not flood a slow poller.
 */
static void
retry_unanswered(struct dma *dma)
{
	struct dma_req *req, *next;
	uint64_t now = rte_rdtsc();

	if (dma->nb_kept == 0 || now - dma->checked < dma->patience / 4)
		return;
	dma->checked = now;
	for (req = TAILQ_FIRST(&dma->active); req != NULL; req = next) {
		next = TAILQ_NEXT(req, link);
		if (req->state == DMA_KEPT && now - req->since >
				dma->patience << RTE_MIN(req->unanswered, ANSWER_DOUBLE))
			retry_or_fail(dma, req);
	}
}

unsigned int
dma_poll(struct dma *dma)
{
	struct engine_done done[32];
	void *answers[32];
	unsigned int i, n, nb_answers;

	n = dma->ops->poll(dma->engine, done, RTE_DIM(done));
	for (i = 0; i < n; i++) {
		if (done[i].aborted)
			handle_abort(dma, done[i].req);
		else
			end_req(dma, done[i].req, DMA_DONE);
	}
	if (!dma->conf.retry)
		return n;
	nb_answers = rte_ring_sc_dequeue_burst(dma->answers, answers, RTE_DIM(answers), NULL);
	for (i = 0; i < nb_answers; i++)
		handle_answer(dma, (uintptr_t)answers[i]);
	/* Skip this while the ring may hold answers that this thread has not read. */
	if (nb_answers < RTE_DIM(answers))
		retry_unanswered(dma);
	return n;
}
