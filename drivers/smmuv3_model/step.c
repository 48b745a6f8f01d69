/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A step: registers, commands, resumed transactions, new DMAs. */

#include "model.h"
#include "model_cmdq.h"
#include "model_dma.h"
#include "model_ecmdq.h"
#include "model_evtq.h"
#include "model_flight.h"
#include "model_irq.h"
#include "model_priq.h"
#include "model_resume.h"
#include "model_slot.h"
#include "model_stall.h"
#include "model_transact.h"
#include "model_win.h"

/* The model that this thread steps, or NULL. */
static _Thread_local const struct smmuv3_model *stepping;

bool
smmuv3_inside_step(const struct smmuv3_model *m)
{
	return stepping == m;
}

/* The units that the next kind of work may use: no kind starves the others. */
static unsigned int
budget_share(unsigned int budget, unsigned int n)
{
	if (n >= budget)
		return 0;
	return budget - n < SMMUV3_BATCH ? budget - n : SMMUV3_BATCH;
}

/* The number of retries between a prefetch and its use. */
#define READY_AHEAD 6

/*
 * Prefetch the memory that a retry will access if its page is mapped now. The address is a
 * guess; the retry walks the tables itself.
 */
static void
prefetch_data(struct smmuv3_model *m, const struct smmuv3_slot *s)
{
	const smmuv3_reg64_t *desc = s->fault.desc;
	uint64_t d, va = smmuv3_slot_addr(s);
	void *host;

	if (desc == NULL || s->desc_gen != m->wins.gen)
		return;
	d = atomic_load_explicit(desc, memory_order_relaxed);
	if (!(d & 1))
		return;
	host = smmuv3_win_find(&m->wins, &m->data_win, (d & SMMUV3_BITS(47, 12)) |
			(va & SMMUV3_BITS(11, 0)), 1);
	if (host != NULL)
		smmuv3_prefetch_write(host);
}

static unsigned int
run_ready(struct smmuv3_model *m, unsigned int max)
{
	const struct smmuv3_slot *ahead = m->ready.first;
	unsigned int n = 0;

	for (unsigned int i = 0; i < READY_AHEAD && ahead != NULL; i++)
		ahead = ahead->next;
	while (m->ready.first != NULL && n < max) {
		if (ahead != NULL) {
			prefetch_data(m, ahead);
			ahead = ahead->next;
		}
		n += smmuv3_slot_run(m, smmuv3_list_take(&m->ready), max - n);
	}
	return n;
}

/*
 * Commands come first, then the transactions that they resumed, then new DMAs. Records become
 * visible after at most SMMUV3_BATCH transactions.
 */
unsigned int
smmuv3_step(struct smmuv3_model *m, unsigned int budget, bool full)
{
	unsigned int n = 0, before;

	stepping = m;
	if (__builtin_expect(!m->off, 1))
		n = smmuv3_fe_poll_regs(&m->fe, full);
	else if (atomic_load_explicit(&m->stalls_out, memory_order_relaxed) != 0 ||
			m->held.first != NULL)
		smmuv3_stalls_end_all(m);
	if (m->later.first != NULL) {
		*m->ready.last = m->later.first;
		m->ready.last = m->later.last;
		m->later.first = NULL;
		m->later.last = &m->later.first;
	}
	if (m->flight.list.first != NULL)
		n += smmuv3_flight_step(m);
	do {
		before = n;
		m->now = 0;
		if (n < budget)
			n += smmuv3_fe_consume_all(&m->fe, budget_share(budget, n));
		if (m->held.first != NULL)
			n += smmuv3_stall_record_held(m, budget_share(budget, n));
		n += run_ready(m, budget_share(budget, n));
		smmuv3_fe_evtq_publish(&m->fe);
		smmuv3_fe_priq_publish(&m->fe);
		n += smmuv3_dma_run(m, budget_share(budget, n));
		smmuv3_fe_evtq_publish(&m->fe);
		smmuv3_fe_priq_publish(&m->fe);
	} while (n != before);
	if (m->choices & SMMUV3_MODEL_EARLY_RETRY)
		n += smmuv3_stall_retry_early(m);
	if (m->harsh & SMMUV3_MODEL_HARSH_LEVEL_IRQ)
		smmuv3_fe_update_levels(&m->fe);
	stepping = NULL;
	return n;
}

unsigned int
smmuv3_model_step(struct smmuv3_model *m, unsigned int budget)
{
	unsigned int n;

	if (m == NULL)
		return 0;
	pthread_mutex_lock(&m->lock);
	n = smmuv3_step(m, budget, true);
	pthread_mutex_unlock(&m->lock);
	return n;
}
