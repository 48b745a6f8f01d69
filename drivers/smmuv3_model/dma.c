/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Engines. A submission goes to the stepping thread through a ring with one producer and one
 * consumer. A list passes the engines with new work to the stepping thread, so that it never
 * polls an idle engine. Completions come back through a second ring or on_done. Submissions
 * of on_done have their own ring, because another thread may submit at the same time.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_endpoint.h"
#include "model_log.h"
#include "model_prg.h"
#include "model_slot.h"
#include "model_transact.h"

#define DMA_DEPTH 256
#define DMA_DEPTH_MAX 65536
#define DMA_RUN 16		/* transactions of an engine before the next engine runs */

static uint32_t
ring_size(uint32_t depth)
{
	uint32_t size = 1;

	while (size < depth)
		size *= 2;
	return size;
}

static bool
ring_init(struct smmuv3_ring *ring, uint32_t size)
{
	ring->mask = size - 1;
	ring->op = calloc(size, sizeof(*ring->op));
	return ring->op != NULL;
}

static void
ring_put(struct smmuv3_ring *ring, const struct smmuv3_model_op *op)
{
	uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
	struct smmuv3_model_op *to = &ring->op[tail & ring->mask];
	uint64_t addr = op->addr, cookie = op->cookie;
	size_t len = op->len;
	void *buf = op->buf;

	/*
	 * Copy single fields, and only those in use. The caller has just stored them, and a
	 * load that overlaps two stores waits for both (a sixth of the cost of a fault).
	 */
	__asm__("" : "+r"(addr), "+r"(cookie), "+r"(len), "+r"(buf));
	to->type = op->type;
	to->privileged = op->privileged;
	to->instruction = op->instruction;
	to->addr = addr;
	if (op->type == SMMUV3_MODEL_COPY)
		to->dst = op->dst;
	to->buf = buf;
	to->len = len;
	to->cookie = cookie;
	/* Pairs with the acquire in ring_first(): the operation and its buffer are visible. */
	atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}

static const struct smmuv3_model_op *
ring_first(const struct smmuv3_ring *ring)
{
	/* Pairs with the release in ring_put(). */
	if (ring->head == atomic_load_explicit(&ring->tail, memory_order_acquire))
		return NULL;
	return &ring->op[ring->head & ring->mask];
}

void
smmuv3_dma_free(struct smmuv3_model_dma *dma)
{
	if (dma->bounce != NULL)
		munmap(dma->bounce, (size_t)dma->conf.depth << SMMUV3_PAGE_SHIFT);
	free(dma->slot);
	free(dma->done);
	free(dma->own.op);
	free(dma->ring.op);
	free(dma);
}

struct smmuv3_model_dma *
smmuv3_model_dma_create(struct smmuv3_model *m, const struct smmuv3_model_dma_conf *conf)
{
	uint32_t depth = conf != NULL && conf->depth != 0 ? conf->depth : DMA_DEPTH;
	struct smmuv3_model_dma *dma;
	uint32_t size;
	void *mem;
	int err = 0;

	if (m == NULL || conf == NULL || depth > DMA_DEPTH_MAX ||
			(conf->has_ssid && conf->ssid >> 20 != 0) ||
			(unsigned int)conf->kind > SMMUV3_MODEL_DMA_ATS ||
			(conf->kind == SMMUV3_MODEL_DMA_ATS &&
			 !(m->features & SMMUV3_MODEL_ATS)) ||
			conf->group_pages > SMMUV3_PRG_MAX || conf->prg_indices > SMMUV3_PRG_MAX) {
		errno = EINVAL;
		return NULL;
	}
	dma = aligned_alloc(64, (sizeof(*dma) + 63) / 64 * 64);
	if (dma == NULL)
		return NULL;
	memset(dma, 0, sizeof(*dma));
	dma->m = m;
	dma->conf = *conf;
	dma->conf.depth = depth;
	size = ring_size(depth);
	dma->done_mask = size - 1;
	dma->slot = calloc(depth, sizeof(*dma->slot));
	/* Only COPY uses these pages. */
	mem = mmap(NULL, (size_t)depth << SMMUV3_PAGE_SHIFT, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem != MAP_FAILED)
		dma->bounce = mem;
	if (conf->on_done == NULL)
		dma->done = calloc(size, sizeof(*dma->done));
	if (dma->slot == NULL || dma->bounce == NULL || !ring_init(&dma->ring, size) ||
			!ring_init(&dma->own, size) ||
			(conf->on_done == NULL && dma->done == NULL)) {
		smmuv3_dma_free(dma);
		errno = ENOMEM;
		return NULL;
	}
	for (uint32_t i = depth; i-- > 0;) {
		dma->slot[i].dma = dma;
		dma->slot[i].next = dma->free_slot;
		dma->free_slot = &dma->slot[i];
	}
	smmuv3_ctl_enter(m);
	if (conf->kind == SMMUV3_MODEL_DMA_ATS)
		err = smmuv3_ep_join(dma);
	if (err == 0) {
		dma->all_next = m->all;
		m->all = dma;
	}
	smmuv3_ctl_leave(m);
	if (err != 0) {
		smmuv3_dma_free(dma);
		errno = err;
		return NULL;
	}
	return dma;
}

/* DMAs submitted by all threads. */
static uint32_t
count_submitted(const struct smmuv3_model_dma *dma)
{
	return atomic_load_explicit(&dma->ring.tail, memory_order_relaxed) +
		atomic_load_explicit(&dma->own.tail, memory_order_relaxed);
}

static uint32_t
count_completed(const struct smmuv3_model_dma *dma)
{
	/* Pairs with the release in smmuv3_dma_finish(): the data of reads is visible. */
	return atomic_load_explicit(&dma->done_tail, memory_order_acquire);
}

unsigned int
smmuv3_model_dma_outstanding(const struct smmuv3_model_dma *dma)
{
	uint32_t out;

	if (dma == NULL)
		return 0;
	/*
	 * Load the retired DMAs before the submitted ones: never more than these. Pairs with the
	 * releases in smmuv3_dma_finish() and smmuv3_model_dma_poll().
	 */
	out = dma->conf.on_done != NULL ? count_completed(dma) :
		atomic_load_explicit(&dma->done_head, memory_order_acquire);
	return count_submitted(dma) - out;
}

static void
list_engine(struct smmuv3_model *m, struct smmuv3_model_dma *dma)
{
	if (dma->listed)
		return;
	dma->listed = true;
	dma->run_next = NULL;
	*m->run_last = dma;
	m->run_last = &dma->run_next;
}

/* Put the engines with new submissions of other threads into the run list. */
static void
collect_engines(struct smmuv3_model *m)
{
	struct smmuv3_model_dma *dma, *next;

	if (atomic_load_explicit(&m->work, memory_order_relaxed) == NULL)
		return;
	/* Pairs with the release in announce_engine(). */
	dma = atomic_exchange_explicit(&m->work, NULL, memory_order_acquire);
	for (; dma != NULL; dma = next) {
		next = atomic_load_explicit(&dma->work_next, memory_order_relaxed);
		/*
		 * Acquire: pairs with the exchange in announce_engine(). A submitter that
		 * found the flag set did so before this, so its operation is visible below.
		 */
		atomic_exchange_explicit(&dma->queued, false, memory_order_acq_rel);
		list_engine(m, dma);
	}
}

static void
announce_engine(struct smmuv3_model *m, struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_dma *head;

	if (atomic_exchange_explicit(&dma->queued, true, memory_order_acq_rel))
		return;
	head = atomic_load_explicit(&m->work, memory_order_relaxed);
	do
		atomic_store_explicit(&dma->work_next, head, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&m->work, &head, dma, memory_order_release,
			memory_order_relaxed));
}

int
smmuv3_model_dma_submit(struct smmuv3_model_dma *dma, const struct smmuv3_model_op *op)
{
	uint64_t last;

	if (dma == NULL || op == NULL)
		return -EINVAL;
	last = op->len - 1;
	if (op->len == 0 || op->addr + last < op->addr ||
			(op->type == SMMUV3_MODEL_COPY && op->dst + last < op->dst) ||
			(op->type != SMMUV3_MODEL_COPY && op->buf == NULL) ||
			(op->type != SMMUV3_MODEL_READ && op->instruction) ||
			(unsigned int)op->type > SMMUV3_MODEL_COPY)
		return -EINVAL;
	if (smmuv3_model_dma_outstanding(dma) >= dma->conf.depth)
		return -EAGAIN;
	if (smmuv3_inside_step(dma->m)) {
		ring_put(&dma->own, op);
		list_engine(dma->m, dma);
	} else {
		ring_put(&dma->ring, op);
		announce_engine(dma->m, dma);
	}
	return 0;
}

unsigned int
smmuv3_model_dma_poll(struct smmuv3_model_dma *dma, struct smmuv3_model_done *done,
		unsigned int n)
{
	uint32_t head, nb;

	if (dma == NULL || done == NULL || dma->done == NULL)
		return 0;
	head = atomic_load_explicit(&dma->done_head, memory_order_relaxed);
	nb = count_completed(dma) - head;
	if (nb > n)
		nb = n;
	for (uint32_t i = 0; i < nb; i++)
		done[i] = dma->done[(head + i) & dma->done_mask];
	/* Release: the entries are read before the stepping thread may overwrite them. */
	atomic_store_explicit(&dma->done_head, head + nb, memory_order_release);
	return nb;
}

/*
 * Complete a DMA. Its slot is free before the call of on_done, which may submit the next DMA.
 * No DMA uses the slot before on_done returns.
 */
void
smmuv3_dma_finish(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_model_dma *dma = s->dma;
	uint32_t tail = atomic_load_explicit(&dma->done_tail, memory_order_relaxed);

	s->done.t_end = smmuv3_model_cycles();
	s->state = SMMUV3_SLOT_FREE;
	s->next = dma->free_slot;
	dma->free_slot = s;
	if (dma->starved) {
		dma->starved = false;
		list_engine(m, dma);
	}
	if (dma->done != NULL)
		dma->done[tail & dma->done_mask] = s->done;
	/* Pairs with count_completed(). */
	atomic_store_explicit(&dma->done_tail, tail + 1, memory_order_release);
	if (dma->conf.on_done != NULL)
		dma->conf.on_done(dma, &s->done, dma->conf.ctx);
}

static struct smmuv3_slot *
slot_start(struct smmuv3_model_dma *dma, struct smmuv3_ring *ring)
{
	const struct smmuv3_model_op *op = ring_first(ring);
	struct smmuv3_slot *s = dma->free_slot;

	if (op == NULL)
		return NULL;
	if (s == NULL) {
		dma->starved = true;
		return NULL;
	}
	dma->free_slot = s->next;
	s->op = *op;
	ring->head++;
	s->off = 0;
	s->state = SMMUV3_SLOT_READY;
	s->open = false;
	s->dst_phase = false;
	s->has_stag = false;
	s->done.cookie = s->op.cookie;
	s->done.status = SMMUV3_MODEL_OK;
	s->done.nb_stalls = 0;
	s->done.bytes = 0;
	s->done.t_start = dma->m->run_now;
	s->done.t_event = 0;
	s->done.t_resume = 0;
	s->done.nb_groups = 0;
	return s;
}

unsigned int
smmuv3_dma_run(struct smmuv3_model *m, unsigned int max)
{
	unsigned int n = 0;

	collect_engines(m);
	if (m->run == NULL || max == 0)
		return 0;
	/* Read the clock once for a batch: it costs a good part of an operation. */
	m->run_now = smmuv3_model_cycles();
	while (m->run != NULL && n < max) {
		struct smmuv3_model_dma *dma = m->run;
		unsigned int end = n + DMA_RUN < max ? n + DMA_RUN : max;
		struct smmuv3_slot *s = NULL;

		m->run = dma->run_next;
		if (m->run == NULL)
			m->run_last = &m->run;
		dma->listed = false;
		while (n < end) {
			s = slot_start(dma, &dma->own);
			if (s == NULL)
				s = slot_start(dma, &dma->ring);
			if (s == NULL)
				break;
			n += smmuv3_slot_run(m, s, end - n);
		}
		if (s != NULL)
			list_engine(m, dma);
	}
	return n;
}

/* Remove an engine from all lists, with stepping excluded. */
static void
unlist_engine(struct smmuv3_model *m, struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_dma **link;

	collect_engines(m);
	for (link = &m->run; *link != NULL && *link != dma; link = &(*link)->run_next)
		;
	if (*link == dma) {
		*link = dma->run_next;
		if (*link == NULL)
			m->run_last = link;
	}
	for (link = &m->all; *link != dma; link = &(*link)->all_next)
		;
	*link = dma->all_next;
}

void
smmuv3_model_dma_destroy(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model *m;

	if (dma == NULL)
		return;
	m = dma->m;
	smmuv3_ctl_enter(m);
	/* Compare with the lock held: a running on_done may submit another DMA. */
	while (count_submitted(dma) != count_completed(dma)) {
		smmuv3_ctl_leave(m);
		smmuv3_model_wait(m);
		smmuv3_ctl_enter(m);
	}
	unlist_engine(m, dma);
	if (dma->started != dma->answered)
		smmuv3_log_add(&m->oracle.log, "SID %u: %llu transactions started, %llu answered",
				dma->conf.sid, (unsigned long long)dma->started,
				(unsigned long long)dma->answered);
	if (dma->ep != NULL)
		smmuv3_ep_leave(dma);
	smmuv3_ctl_leave(m);
	smmuv3_dma_free(dma);
}

bool
smmuv3_model_has_dma(struct smmuv3_model *m)
{
	bool has;

	if (m == NULL)
		return false;
	smmuv3_ctl_enter(m);
	has = m->all != NULL;
	smmuv3_ctl_leave(m);
	return has;
}

/* One DMA from start to end. */
static int
run_dma(struct smmuv3_model_dma *dma, const struct smmuv3_model_op *op)
{
	struct smmuv3_model_done done;
	int ret;

	if (dma == NULL || dma->done == NULL)
		return -EINVAL;
	ret = smmuv3_model_dma_submit(dma, op);
	if (ret < 0)
		return ret;
	while (smmuv3_model_dma_poll(dma, &done, 1) == 0)
		smmuv3_model_wait(dma->m);
	if (done.status == SMMUV3_MODEL_ABORTED)
		return -EFAULT;
	return done.status == SMMUV3_MODEL_OK ? 0 : -EIO;
}

int
smmuv3_model_dma_read(struct smmuv3_model_dma *dma, void *buf, uint64_t addr, size_t len)
{
	return run_dma(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_READ, .addr = addr, .buf = buf, .len = len });
}

int
smmuv3_model_dma_write(struct smmuv3_model_dma *dma, uint64_t addr, const void *buf, size_t len)
{
	return run_dma(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = addr, .buf = (void *)(uintptr_t)buf,
		.len = len });
}

int
smmuv3_model_dma_copy(struct smmuv3_model_dma *dma, uint64_t dst, uint64_t src, size_t len)
{
	return run_dma(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_COPY, .addr = src, .dst = dst, .len = len });
}
