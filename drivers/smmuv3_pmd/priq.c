/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The page request queue [3.5, 8].
 *
 * Page requests are lost in three ways. For each loss poll returns one IOPF_EVENT_LOST, after
 * the entries that were in the queue before the loss, and before those that came after it:
 *
 *   - Overflow. From the request that found the queue full until OVACKFLG equals OVFLG the
 *     SMMU writes no entry, whatever is free [8.2]. So the PROD that is read together with a
 *     new OVFLG is the last one before the loss. The LOST event follows the last entry in the
 *     same burst, and the CONS store that frees this entry acknowledges the overflow. A burst
 *     that the entries would fill is one entry shorter.
 *   - PRIQ_ABT_ERR, or SMMUEN = 0. The SMMU writes no entry until check() goes on. check()
 *     first stores the PROD of that time in loss_pos, then increments losses_seen. Poll reads
 *     PROD first and then acquires losses_seen: a PROD that shows a later entry shows the
 *     loss too.
 *   - PROD is not within the queue: all entries are dropped.
 *
 * One loss of the first kind and one of the second can be pending at a time. Two of the
 * second can be pending only after a recovery while no thread polls: then poll reports both
 * at the later position.
 *
 * After an asynchronous abort PROD may have passed entries that the SMMU never wrote [8.2].
 * Poll clears each entry before it frees it. So it reads such an entry as a request for
 * nothing, and not as the request that the entry held before.
 */

#include <rte_prefetch.h>

#include "base.h"
#include "cmdq.h"
#include "inq.h"
#include "priq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

static inline uint8_t
decode_perm(uint64_t dw0)
{
	uint8_t perm = (dw0 & SMMUV3_PPR0_R ? IOPF_PERM_READ : 0) |
		(dw0 & SMMUV3_PPR0_W ? IOPF_PERM_WRITE : 0);

	/* Execute and Privileged exist only with a PASID [8.1]. */
	if (!(dw0 & SMMUV3_PPR0_SSV))
		return perm;
	return perm | (dw0 & SMMUV3_PPR0_X ? IOPF_PERM_EXEC : 0) |
		(dw0 & SMMUV3_PPR0_PRIV ? IOPF_PERM_PRIV : 0);
}

static inline void
decode_request(unsigned int sid_bits, uint64_t dw0, uint64_t dw1, struct iopf_event *event)
{
	bool ssv = dw0 & SMMUV3_PPR0_SSV, last = dw0 & SMMUV3_PPR0_LAST;
	bool nothing = !(dw0 & (SMMUV3_PPR0_R | SMMUV3_PPR0_W));
	uint64_t sid = SMMUV3_GET(SMMUV3_PPR0_SID, dw0);

	*event = (struct iopf_event){
		.addr = dw1 & SMMUV3_PPR1_ADDR,
		.sid = sid,
		.pasid = ssv ? SMMUV3_GET(SMMUV3_PPR0_SSID, dw0) : IOPF_NO_PASID,
		.token = SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, dw1),
		.perm = decode_perm(dw0),
		.reason = IOPF_REASON_TRANSLATION,
		.flags = IOPF_EVENT_PAGE_REQUEST | (last ? IOPF_EVENT_LAST : 0),
	};
	/*
	 * Any StreamID that the SMMU has, not only those in the stream table: the SMMU reads no
	 * STE for a page request [8.1], and the endpoint expects an answer.
	 */
	if (unlikely(sid >> sid_bits != 0 || (nothing && !last))) {
		event->reason = IOPF_REASON_OTHER;
		event->flags = IOPF_EVENT_BAD;
	} else if (unlikely(nothing && ssv)) {
		/*
		 * A stop marker: its other fields have no meaning [8.1]. Without a PASID it is a
		 * request.
		 */
		event->addr = 0;
		event->token = 0;
		event->perm = 0;
		event->flags = IOPF_EVENT_STOP_MARKER;
	}
}

static inline void
write_lost_event(struct smmuv3_priq *p, struct iopf_event *event)
{
	*event = (struct iopf_event){
		.pasid = IOPF_NO_PASID,
		.reason = IOPF_REASON_OTHER,
		.flags = IOPF_EVENT_LOST,
	};
	smmuv3_counter_add(&p->losses, 1);
}

/* Free the entries that were read and cleared, and acknowledge an overflow. */
static inline void
free_entries(struct smmuv3_inq *q, uint64_t cons)
{
	/* Stores before the CONS store, which orders loads only. */
	smmuv3_io_wmb();
	smmuv3_inq_store_cons(q, cons);
}

/* PROD is not within the queue: drop the entries, which cannot be trusted. */
static uint16_t
drop_all_entries(struct smmuv3_priq *p, struct iopf_event *events)
{
	struct smmuv3_inq *q = &p->q;

	if (q->prod_flags & SMMUV3_INQ_OVERFLOW) {
		q->ovackflg ^= SMMUV3_Q_OVFLG;
		smmuv3_counter_add(&q->overflows, 1);
	}
	q->prod_flags = 0;
	smmuv3_counter_add(&q->bad_prod, 1);
	memset(q->ring, 0, sizeof(struct smmuv3_ppr) << q->log2);
	write_lost_event(p, events);
	free_entries(q, q->prod);
	return 1;
}

uint16_t
smmuv3_priq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n)
{
	struct smmuv3_priq *p = &s->priq;
	struct smmuv3_inq *q = &p->q;
	uint64_t cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	uint64_t avail, before, pos = 0;
	uint32_t losses, reported;
	uint16_t i, bad = 0, markers = 0;
	const unsigned int sid_bits = SMMUV3_GET(SMMUV3_IDR1_SIDSIZE, s->idr1);
	struct smmuv3_ppr *ring = q->ring;
	bool lost_event = false;

	/* Pairs with the release in smmuv3_start(): the ring and its positions are visible. */
	if (unlikely(n == 0 || !atomic_load_explicit(&q->on, memory_order_acquire)))
		return 0;
	smmuv3_inq_store_returned_pos(q, cons);
	if (unlikely(!smmuv3_cmdq_has_room_for_answers(&s->cmdq)))
		return 0;
	/*
	 * While recovery holds answers back, poll takes no requests. Otherwise the number of held
	 * answers would have no bound: a refused request needs an answer and takes no slot of the
	 * library, and an answered request frees its slot for the next one. Few requests are lost
	 * by this: SMMUEN is 0 most of the time, and the SMMU writes no entry then [8]. A poll
	 * thread that read the old value of paused takes one more burst.
	 */
	if (unlikely(atomic_load_explicit(&p->paused, memory_order_relaxed)))
		return 0;

	avail = q->prod - cons;
	if (avail == 0 && !p->overflow_seen) {
		rte_prefetch0(&ring[smmuv3_q_slot(q->log2, cons)]);
		rte_prefetch0(smmuv3_reg32(q->regs, SMMUV3_PRIQ_PROD));
		avail = smmuv3_inq_find_entries(q, cons);
		if (unlikely(q->prod_flags & SMMUV3_INQ_BAD))
			return drop_all_entries(p, events);
		if (unlikely(q->prod_flags != 0)) {
			p->overflow_seen = true;
			q->prod_flags = 0;
			smmuv3_counter_add(&q->overflows, 1);
		}
	}
	/* Pairs with the release in smmuv3_priq_record_loss(). */
	losses = atomic_load_explicit(&p->losses_seen, memory_order_acquire);
	reported = atomic_load_explicit(&p->losses_reported, memory_order_relaxed);
	if (unlikely(p->overflow_seen || losses != reported)) {
		before = p->overflow_seen ? avail : UINT64_MAX;
		if (losses != reported) {
			pos = atomic_load_explicit(&p->loss_pos, memory_order_relaxed);
			before = RTE_MIN(before, (uint64_t)RTE_MAX((int64_t)(pos - cons), 0));
		}
		/* Return the LOST event now if all entries before it fit too, else next time. */
		avail = RTE_MIN(avail, before);
		if (avail == n && n > 1 && avail == before)
			n--;
		else
			lost_event = avail == before && avail < n;
	}
	n = RTE_MIN(avail, n);
	for (i = 0; i < n; i++) {
		struct smmuv3_ppr *ppr = &ring[smmuv3_q_slot(q->log2, cons + i)];

		decode_request(sid_bits, ppr->dw[0], ppr->dw[1], &events[i]);
		ppr->dw[0] = 0;
		markers += (events[i].flags & IOPF_EVENT_STOP_MARKER) != 0;
		bad += (events[i].flags & IOPF_EVENT_BAD) != 0;
	}
	if (n == 0 && !lost_event)
		return 0;
	cons += n;
	if (unlikely(lost_event)) {
		write_lost_event(p, &events[n]);
		if (p->overflow_seen && cons == q->prod) {
			p->overflow_seen = false;
			q->ovackflg ^= SMMUV3_Q_OVFLG;
		}
		if (losses != reported && (int64_t)(cons - pos) >= 0)
			atomic_store_explicit(&p->losses_reported, losses, memory_order_relaxed);
	}
	free_entries(q, cons);
	smmuv3_counter_add(&q->entries, n);
	smmuv3_counter_add(&q->bursts, 1);
	smmuv3_counter_add(&p->markers, markers);
	if (unlikely(bad > 0))
		smmuv3_counter_add(&q->bad, bad);
	return n + lost_event;
}

void
smmuv3_priq_record_loss(struct smmuv3 *s)
{
	atomic_store_explicit(&s->priq.loss_pos, smmuv3_inq_take_mark(&s->priq.q),
			memory_order_relaxed);
	/* Pairs with the acquire in smmuv3_priq_poll(). */
	atomic_fetch_add_explicit(&s->priq.losses_seen, 1, memory_order_release);
}

bool
smmuv3_priq_has_unreported_loss(const struct smmuv3 *s)
{
	return atomic_load_explicit(&s->priq.losses_seen, memory_order_relaxed) !=
		atomic_load_explicit(&s->priq.losses_reported, memory_order_relaxed);
}

int
smmuv3_priq_alloc(struct smmuv3 *s, unsigned int log2)
{
	return smmuv3_inq_alloc(s, &s->priq.q, sizeof(struct smmuv3_ppr), log2);
}

void
smmuv3_priq_setup(struct smmuv3 *s)
{
	struct smmuv3_priq *p = &s->priq;

	memset(p->q.ring, 0, sizeof(struct smmuv3_ppr) << p->q.log2);
	smmuv3_inq_setup(s, &p->q, SMMUV3_PRIQ_BASE);
	p->overflow_seen = false;
	atomic_store_explicit(&p->paused, false, memory_order_relaxed);
	atomic_store_explicit(&p->losses_reported,
			atomic_load_explicit(&p->losses_seen, memory_order_relaxed),
			memory_order_relaxed);
}
