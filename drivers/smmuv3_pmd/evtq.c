/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The event queue [3.5, 7.2, 7.3].
 *
 * Idle. With MSIs the queue's interrupt is a word in memory, written when the
 * queue turns from empty to not empty. It may be trusted once this has happened
 * in this order: CONS written for all that was read, the word cleared, a full
 * barrier, PROD read and found equal to CONS. The barrier orders the CONS store
 * before the PROD read, so an event that this PROD does not show finds the queue
 * empty and writes the word after it was cleared (the interrupt comes after the
 * PROD that caused it [3.18]). Every 64th idle pass looks at PROD all the same.
 */

#include <rte_prefetch.h>

#include "backlog.h"
#include "smmuv3_pmd.h"

#define IDLE_PASSES	64

/* What the fields of a record mean, by id [7.3]. */
#define KNOWN		(1u << 7)
#define STALLS		(1u << 6)	/* bit 31 of dw1 is STALL */
#define ACCESS		(1u << 5)	/* RnW, InD, PnU */
#define ADDR		(1u << 4)	/* InputAddr */
#define BIT31		(1u << 3)	/* bit 31 of dw1 is something else */
#define REASON		(BIT31 - 1)	/* enum iopf_reason */

static const uint8_t records[256] = {
	[SMMUV3_F_UUT] = KNOWN | ACCESS | ADDR | IOPF_REASON_OTHER,
	[SMMUV3_C_BAD_STREAMID] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_F_STE_FETCH] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_C_BAD_STE] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_F_BAD_ATS_TREQ] = KNOWN | ADDR | BIT31 | IOPF_REASON_CONFIG,
	[SMMUV3_F_STREAM_DISABLED] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_F_TRANSL_FORBIDDEN] = KNOWN | ADDR | IOPF_REASON_CONFIG,
	[SMMUV3_C_BAD_SUBSTREAMID] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_F_CD_FETCH] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_C_BAD_CD] = KNOWN | IOPF_REASON_CONFIG,
	[SMMUV3_F_WALK_EABT] = KNOWN | ACCESS | ADDR | IOPF_REASON_OTHER,
	[SMMUV3_F_TRANSLATION] = KNOWN | STALLS | ACCESS | ADDR | IOPF_REASON_TRANSLATION,
	[SMMUV3_F_ADDR_SIZE] = KNOWN | STALLS | ACCESS | ADDR | IOPF_REASON_ADDR_SIZE,
	[SMMUV3_F_ACCESS] = KNOWN | STALLS | ACCESS | ADDR | IOPF_REASON_ACCESS,
	[SMMUV3_F_PERMISSION] = KNOWN | STALLS | ACCESS | ADDR | IOPF_REASON_PERMISSION,
	[SMMUV3_F_TLB_CONFLICT] = KNOWN | ACCESS | ADDR | BIT31 | IOPF_REASON_OTHER,
	[SMMUV3_F_CFG_CONFLICT] = KNOWN | BIT31 | IOPF_REASON_CONFIG,
	[SMMUV3_E_PAGE_REQUEST] = KNOWN | ADDR | IOPF_REASON_OTHER,
	[SMMUV3_F_VMS_FETCH] = KNOWN | IOPF_REASON_CONFIG,
	/* Implementation defined. */
	[0xe0 ... 0xef] = KNOWN | BIT31 | IOPF_REASON_OTHER,
};

static inline uint64_t
entries(const struct smmuv3_evtq *q)
{
	return UINT64_C(1) << q->log2;
}

static inline uint8_t
decode_perm(uint64_t dw1)
{
	uint8_t perm;

	if (!(dw1 & SMMUV3_EVT1_RNW))
		perm = IOPF_PERM_WRITE;
	else if (dw1 & SMMUV3_EVT1_IND)
		perm = IOPF_PERM_READ | IOPF_PERM_EXEC;
	else
		perm = IOPF_PERM_READ;
	return dw1 & SMMUV3_EVT1_PNU ? perm | IOPF_PERM_PRIV : perm;
}

static inline void
decode(const struct smmuv3 *s, const struct smmuv3_evt *evt, struct iopf_event *event)
{
	uint64_t dw0 = evt->dw[0], dw1 = evt->dw[1];
	uint8_t id = SMMUV3_GET(SMMUV3_EVT0_ID, dw0);
	uint8_t kind = records[id];
	bool ssv = dw0 & SMMUV3_EVT0_SSV || id == SMMUV3_C_BAD_SUBSTREAMID;

	event->addr = kind & ADDR ? evt->dw[2] : 0;
	event->ipa = 0;
	event->sid = SMMUV3_GET(SMMUV3_EVT0_SID, dw0);
	event->pasid = ssv ? SMMUV3_GET(SMMUV3_EVT0_SSID, dw0) : IOPF_NO_PASID;
	event->token = 0;
	event->perm = kind & ACCESS ? decode_perm(dw1) : 0;
	event->reason = kind & KNOWN ? kind & REASON : IOPF_REASON_OTHER;
	event->flags = kind & KNOWN ? 0 : IOPF_EVENT_BAD;
	event->raw_id = id;
	if (kind & STALLS && dw1 & SMMUV3_EVT1_S2) {
		event->flags |= IOPF_EVENT_STAGE2;
		event->ipa = evt->dw[3] & SMMUV3_EVT3_IPA;
	}
	if (!(dw1 & SMMUV3_EVT1_STALL) || kind & BIT31)
		return;
	/* A stall where none can be, or of a stream that the SMMU does not have. */
	if (unlikely(!(kind & STALLS) || s->max_stalls == 0 ||
			(uint64_t)event->sid >> s->sid_bits != 0)) {
		event->flags |= IOPF_EVENT_BAD;
		return;
	}
	event->flags |= IOPF_EVENT_STALL;
	event->token = SMMUV3_GET(SMMUV3_EVT1_STAG, dw1);
}

static inline void
store_cons(struct smmuv3_evtq *q, uint64_t cons)
{
	/* Before the register: see smmuv3_evtq_mark(). */
	atomic_store_explicit(&q->cons, cons, memory_order_release);
	smmuv3_store_cons(q->regs, SMMUV3_EVENTQ_CONS,
			smmuv3_q_pos(q->log2, cons) | q->ovackflg);
}

/* Entries that may be read, from the register. */
static uint64_t
read_prod(struct smmuv3 *s, uint64_t cons)
{
	struct smmuv3_evtq *q = &s->evtq;
	/* Acquires the SMMU's release of PROD: the entries are there. */
	uint32_t reg = smmuv3_load_prod(q->regs, SMMUV3_EVENTQ_PROD);
	uint32_t count = smmuv3_q_count(q->log2, reg, cons);
	bool overflow = (reg ^ q->ovackflg) & SMMUV3_Q_OVFLG;

	if (overflow) {
		/* Acknowledged with the next CONS [7.4]. */
		q->ovackflg ^= SMMUV3_Q_OVFLG;
		smmuv3_count(&q->overflows, 1);
	}
	if (unlikely(count > entries(q))) {
		/* Nothing in it can be believed; stalls among it are ended by check(). */
		smmuv3_count(&q->bad_prod, 1);
		atomic_store_explicit(&s->reset_wanted, true, memory_order_relaxed);
		q->prod = cons + count;
		store_cons(q, q->prod);
		return 0;
	}
	q->prod = cons + count;
	if (unlikely(overflow && count == 0))
		store_cons(q, cons);
	return count;
}

static uint64_t
look(struct smmuv3 *s, uint64_t cons)
{
	struct smmuv3_evtq *q = &s->evtq;
	uint64_t avail;

	if (!q->msi)
		return read_prod(s, cons);
	if (q->trust) {
		bool said = smmuv3_load_word(q->word) != 0;

		if (likely(!said && ++q->idle % IDLE_PASSES != 0))
			return 0;
		avail = read_prod(s, cons);
		if (avail == 0 && !said)
			return 0;
		if (!said)
			smmuv3_count(&q->missed_msis, 1);
		q->trust = false;
	} else {
		avail = read_prod(s, cons);
	}
	if (avail > 0)
		return avail;
	atomic_store_explicit(q->word, 0, memory_order_relaxed);
	smmuv3_io_mb();
	avail = read_prod(s, cons);
	q->trust = avail == 0;
	return avail;
}

uint16_t
smmuv3_evtq_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n)
{
	struct smmuv3 *s = priv;
	struct smmuv3_evtq *q = &s->evtq;
	uint64_t cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	uint64_t stale, avail;
	uint16_t i, stalls = 0, bad = 0;

	/* Acquires start's release: the ring and its positions. */
	if (unlikely(queue != IOPF_QUEUE_EVENTS || !atomic_load_explicit(&q->on, memory_order_acquire)))
		return 0;
	if (atomic_load_explicit(&q->returned, memory_order_relaxed) != cons)
		atomic_store_explicit(&q->returned, cons, memory_order_release);
	if (unlikely(smmuv3_backlog_waits(&s->cmdq.backlog))) {
		smmuv3_cmdq_kick(s);
		if (unlikely(smmuv3_backlog_tight(s)))
			return 0;
	}

	avail = q->prod - cons;
	if (avail == 0) {
		/*
		 * The entry, PROD and the word change together and come one after the other
		 * if they are only asked for as each is needed. To a register in Device
		 * memory a prefetch does nothing.
		 */
		rte_prefetch0(&q->ring[smmuv3_q_slot(q->log2, cons)]);
		rte_prefetch0(smmuv3_reg32(q->regs, SMMUV3_EVENTQ_PROD));
		avail = look(s, cons);
		if (avail == 0) {
			/* It may have moved past what cannot be believed. */
			cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
			if (unlikely(cons != atomic_load_explicit(&q->returned,
					memory_order_relaxed)))
				atomic_store_explicit(&q->returned, cons,
						memory_order_release);
			return 0;
		}
	}
	n = RTE_MIN(avail, n);
	/* Acquires reset_step()'s release. */
	stale = atomic_load_explicit(&q->stale, memory_order_acquire);
	for (i = 0; i < n; i++) {
		rte_prefetch0(&q->ring[smmuv3_q_slot(q->log2, cons + i + 4)]);
		decode(s, &q->ring[smmuv3_q_slot(q->log2, cons + i)], &events[i]);
		if (unlikely((int64_t)(cons + i - stale) < 0 &&
				events[i].flags & IOPF_EVENT_STALL)) {
			events[i].flags &= ~IOPF_EVENT_STALL;
			smmuv3_count(&q->stale_stalls, 1);
		}
		stalls += (events[i].flags & IOPF_EVENT_STALL) != 0;
		bad += (events[i].flags & IOPF_EVENT_BAD) != 0;
	}
	store_cons(q, cons + n);
	smmuv3_count(&q->events, n);
	smmuv3_count(&q->bursts, 1);
	smmuv3_count(&q->stalls, stalls);
	if (unlikely(bad > 0))
		smmuv3_count(&q->bad_events, bad);
	return n;
}

/*
 * PROD as a position, in a thread that does not poll. With c1 and c2 read from
 * cons before and after PROD, it lies in [c1, c2 + entries]: PROD was at c1 before
 * c1 was stored, and the SMMU had read a CONS that was stored after cons. The
 * register tells positions apart that are less than 2 * entries from each other.
 */
uint64_t
smmuv3_evtq_mark(void *priv, uint16_t queue)
{
	struct smmuv3 *s = priv;
	struct smmuv3_evtq *q = &s->evtq;
	uint64_t c1, c2;
	uint32_t prod;

	if (queue != IOPF_QUEUE_EVENTS)
		return 0;
	if (!atomic_load_explicit(&q->on, memory_order_acquire))
		return atomic_load_explicit(&q->cons, memory_order_acquire);
	do {
		c1 = atomic_load_explicit(&q->cons, memory_order_acquire);
		prod = smmuv3_load_prod(s->regs, SMMUV3_EVENTQ_PROD);
		c2 = atomic_load_explicit(&q->cons, memory_order_acquire);
	} while (c2 - c1 >= entries(q));
	return c1 + smmuv3_q_pos(q->log2, prod - (uint32_t)c1);
}

bool
smmuv3_evtq_passed(void *priv, uint16_t queue, uint64_t mark)
{
	struct smmuv3 *s = priv;

	/* Off: what is left in it is never read. Acquires poll's release. */
	return queue != IOPF_QUEUE_EVENTS ||
		!atomic_load_explicit(&s->evtq.on, memory_order_acquire) ||
		(int64_t)(atomic_load_explicit(&s->evtq.returned, memory_order_acquire) -
				mark) >= 0;
}

int
smmuv3_evtq_alloc(struct smmuv3 *s, unsigned int log2)
{
	struct smmuv3_evtq *q = &s->evtq;
	struct smmuv3_mem mem;
	int ret;

	if (q->ring != NULL && q->log2 == log2)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_evt) << log2, &mem);
	if (ret < 0)
		return ret;
	if (q->ring != NULL)
		smmuv3_mem_free(s, &q->mem);
	q->mem = mem;
	q->ring = mem.va;
	q->log2 = log2;
	return 0;
}

/* Registers of a queue that is off. */
void
smmuv3_evtq_setup(struct smmuv3 *s)
{
	struct smmuv3_evtq *q = &s->evtq;
	/* A position that the registers, both 0, stand for; beyond all marks. */
	uint64_t pos = RTE_ALIGN_CEIL(RTE_MAX(q->prod,
			atomic_load_explicit(&q->cons, memory_order_relaxed)) + entries(q),
			2 * entries(q));

	q->regs = s->regs;
	q->msi = (s->idr0 & SMMUV3_IDR0_MSI) != 0;
	q->word = &s->words->evtq.v;
	q->trust = false;
	q->ovackflg = 0;
	q->prod = pos;
	atomic_store_explicit(&q->cons, pos, memory_order_relaxed);
	atomic_store_explicit(&q->returned, pos, memory_order_relaxed);
	atomic_store_explicit(&q->stale, pos, memory_order_relaxed);
	smmuv3_write64(s->regs, SMMUV3_EVENTQ_BASE, SMMUV3_Q_BASE_RWA |
			(q->mem.addr & SMMUV3_Q_BASE_ADDR) |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, q->log2));
	smmuv3_write32(s->regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(s->regs, SMMUV3_EVENTQ_CONS, 0);
}
