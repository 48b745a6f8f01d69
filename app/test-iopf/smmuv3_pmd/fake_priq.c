/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#define SMMUV3_ACCESS_LOG

#include <stdlib.h>
#include <string.h>

#include "fake_priq.h"
#include "test.h"

#define smmuv3_priq_poll	seen_poll
#define smmuv3_priq_record_loss	seen_lost
#define smmuv3_priq_has_unreported_loss	seen_losing
#define smmuv3_priq_alloc	seen_alloc
#define smmuv3_priq_setup	seen_setup
#include "../../drivers/smmuv3_pmd/priq.c"

struct fake_priq *fq;

bool
fq_chance(unsigned int one_in)
{
	return one_in > 0 && (unsigned int)rand_r(&fq->seed) % one_in == 0;
}

static void
fq_expect(enum fq_item item, uint32_t serial)
{
	/* Losses without a record between them count as one. */
	if (item == LOST && (fq->tail == fq->head ? fq->told :
			fq->stream[(fq->tail - 1) % RTE_DIM(fq->stream)].item == LOST))
		return;
	fq->stream[fq->tail % RTE_DIM(fq->stream)].item = item;
	fq->stream[fq->tail % RTE_DIM(fq->stream)].serial = serial;
	fq->tail++;
	assert_true(fq->tail - fq->head <= RTE_DIM(fq->stream));
}

uint32_t
fq_read(uint32_t offset)
{
	/* The log contains the driver's accesses alone. */
	return atomic_load(smmuv3_reg32(fq->p.s->regs, offset));
}

void
fq_write_prod(uint32_t prod)
{
	fq->prod = prod;
	atomic_store(smmuv3_reg32(fq->p.s->regs, SMMUV3_PRIQ_PROD), prod);
}

void
fq_add(enum fq_item item, uint64_t dw0, uint64_t dw1)
{
	struct smmuv3_ppr *ring = fq->p.s->priq.q.ring;
	uint32_t cons = fq_read(SMMUV3_PRIQ_CONS), prod = fq->prod;
	bool over = (prod ^ cons) & SMMUV3_Q_OVFLG;

	if (fq->blocked || over)
		return;
	assert_true(smmuv3_q_legal(fq->log2, prod, cons));
	if (smmuv3_q_full(fq->log2, prod, cons)) {
		fq_write_prod(prod ^ SMMUV3_Q_OVFLG);
		fq->nb_overflows++;
		fq_expect(LOST, 0);
		return;
	}
	if (item == REQUEST)
		ring[smmuv3_q_slot(fq->log2, prod)] = (struct smmuv3_ppr){ .dw = { dw0, dw1 } };
	fq_expect(item, dw1 >> 12);
	fq_write_prod(smmuv3_q_add(fq->log2, prod, 1) | (prod & SMMUV3_Q_OVFLG));
	if (fq->p.s->idr0 & SMMUV3_IDR0_MSI && smmuv3_q_empty(fq->log2, prod, cons))
		atomic_store(&fq->p.s->words->priq.v, 1);
}

void
fq_add_request(void)
{
	fq->serial++;
	fq_add(REQUEST, SID | W | (fq->serial & 1 ? LAST : 0),
			(uint64_t)fq->serial << 12 | (fq->serial & 0x1ff));
}

void
fq_block(void)
{
	if (fq->blocked)
		return;
	/* Perhaps PROD passes an entry that was not written. */
	if (fq_chance(2))
		fq_add(UNWRITTEN, 0, 0);
	fq->blocked = true;
	fq_expect(LOST, 0);
}

void
fq_unblock(void)
{
	if (!fq->blocked || seen_losing(fq->p.s))
		return;
	seen_lost(fq->p.s);
	fq->nb_lost++;
	fq->blocked = false;
}

void
fq_act_randomly(void)
{
	if (fq_chance(20))
		fq_block();
	if (fq_chance(4))
		fq_unblock();
	for (unsigned int i = (unsigned int)rand_r(&fq->seed) % 4; i > 0; i--)
		fq_add_request();
}

void
smmuv3_access_log(const void *regs, uint32_t offset, unsigned int size, int write, uint64_t value)
{
	if (fq == NULL || regs != fq->p.s->regs)
		return;
	if (offset == SMMUV3_PRIQ_PROD || offset == SMMUV3_PRIQ_CONS)
		assert_int_equal(size, 4);
	/* The log is called after a load and before a store. */
	if (fq_chance(fq->meanwhile))
		fq_act_randomly();
	if (write) {
		assert_int_equal(offset, SMMUV3_PRIQ_CONS);
		fq->cons_stores++;
		fq->cons = value;
	}
}

void
fq_open_sids(struct fake_priq *fake, unsigned int log2, bool msi, unsigned int sid_bits)
{
	memset(fake, 0, sizeof(*fake));
	fake->log2 = log2;
	fake->seed = 1 + log2;
	pmd_open(&fake->p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
		.no_features = msi ? 0 : SMMUV3_MODEL_NO_MSI,
		.sid_bits = sid_bits,
		.priq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2 });
	assert_int_equal(fake->p.ops->start(fake->p.s), 0);
	assert_int_equal(fake->p.s->priq.q.log2, log2);
	/* The model does not step from here on. */
	fake->p.untidy = true;
	fq = fake;
}

void
fq_open(struct fake_priq *fake, unsigned int log2, bool msi)
{
	fq_open_sids(fake, log2, msi, 16);
}

void
fq_close(void)
{
	struct pmd *p = &fq->p;

	fq_write_prod(fq_read(SMMUV3_PRIQ_CONS));
	fq = NULL;
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

uint16_t
fq_poll(struct iopf_event *events, uint16_t n)
{
	const struct iopf_peek *peek = fq->p.ops->peek(fq->p.s, IOPF_QUEUE_REQUESTS);
	bool idle = peek != NULL && *peek->word == peek->idle && fq->meanwhile == 0;
	uint16_t got;

	memset(events, 0xa5, n * sizeof(*events));
	fq->cons_stores = 0;
	fq->cons_before = fq_read(SMMUV3_PRIQ_CONS);
	got = seen_poll(fq->p.s, events, n);
	assert_true(got <= n);
	/* A queue that peeks idle has no request; a loss without overflow does not end that. */
	assert_true(!idle || got == 0 || (got == 1 && events[0].flags == IOPF_EVENT_LOST));
	/* Until a poll has found the queue empty, the next one is needed. */
	assert_true(got == 0 || peek == NULL || peek->idle == IOPF_PEEK_POLL ||
			(got == 1 && events[0].flags == IOPF_EVENT_LOST));
	/* One store for a burst, no store for an empty poll. */
	assert_int_equal(fq->cons_stores, got > 0);
	if (got > 0)
		assert_int_equal(fq_read(SMMUV3_PRIQ_CONS), fq->cons);
	return got;
}

uint16_t
fq_poll_stream(uint16_t n)
{
	struct iopf_event events[64];
	uint16_t got = fq_poll(events, n), records = got;

	for (unsigned int i = 0; i < got; i++) {
		if (events[i].flags == IOPF_EVENT_LOST && fq->told)
			continue;
		assert_true(fq->head != fq->tail);
		switch (fq->stream[fq->head % RTE_DIM(fq->stream)].item) {
		case REQUEST:
			assert_int_equal(events[i].flags & ~IOPF_EVENT_LAST,
					IOPF_EVENT_PAGE_REQUEST);
			assert_int_equal(events[i].addr >> 12,
					fq->stream[fq->head % RTE_DIM(fq->stream)].serial);
			break;
		case UNWRITTEN:
			assert_int_equal(events[i].flags, IOPF_EVENT_BAD);
			break;
		case LOST:
			assert_int_equal(events[i].flags, IOPF_EVENT_LOST);
			/* LOST is the last item of its burst. */
			assert_int_equal(i, got - 1);
			break;
		}
		fq->told = events[i].flags == IOPF_EVENT_LOST;
		fq->head++;
	}
	if (got > 0 && events[got - 1].flags == IOPF_EVENT_LOST)
		records--;
	if (got > 0)
		assert_int_equal(smmuv3_q_count(fq->log2, fq->cons, fq->cons_before), records);
	/* An overflow is acknowledged together with LOST, and never without. */
	if (got > 0 && (fq->cons ^ fq->cons_before) & SMMUV3_Q_OVFLG)
		assert_int_equal(events[got - 1].flags, IOPF_EVENT_LOST);
	return got;
}
