/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The event queue [3.5, 7.2, 7.3].
 *
 * After an asynchronous abort PROD may have passed records that the SMMU never wrote [7.2].
 * Such an entry still holds the record of an earlier stall, which was answered, and whose STAG
 * may belong to another stall by now. So poll clears each record before it frees its entry. A
 * record that reads as event 0 (no such event) was not written. The lost record may be that of
 * a stall, so check() ends all stalls.
 */

#include <rte_prefetch.h>

#include "base.h"
#include "cmdq.h"
#include "ecmdq.h"
#include "event.h"
#include "evtq.h"
#include "inq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

/* Fields of a record, by event id [7.3]. */
#define KNOWN		(1u << 7)
#define STALLS		(1u << 6)	/* bit 31 of dw1 is STALL; with KNOWN, ACCESS and ADDR */
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

/* RnW, InD, PnU: a write has no InD. */
#define ACCESS_BITS	(SMMUV3_EVT1_RNW | SMMUV3_EVT1_IND | SMMUV3_EVT1_PNU)

static inline uint8_t
decode_perm(uint64_t dw1)
{
	static const uint8_t perms[] = {
		[0] = IOPF_PERM_WRITE,
		[1] = IOPF_PERM_WRITE | IOPF_PERM_PRIV,
		[2] = IOPF_PERM_WRITE,
		[3] = IOPF_PERM_WRITE | IOPF_PERM_PRIV,
		[4] = IOPF_PERM_READ,
		[5] = IOPF_PERM_READ | IOPF_PERM_PRIV,
		[6] = IOPF_PERM_READ | IOPF_PERM_EXEC,
		[7] = IOPF_PERM_READ | IOPF_PERM_EXEC | IOPF_PERM_PRIV,
	};

	return perms[SMMUV3_GET(ACCESS_BITS, dw1)];
}

/* StreamIDs below this may stall: none if no stall is possible here. */
static inline uint64_t
get_stall_sid_end(const struct smmuv3 *s)
{
	return s->max_stalls != 0 ? UINT64_C(1) << s->sid_bits : 0;
}

/* A record of a kind that never stalls. */
static void
decode_other_kind(const struct smmuv3_evt *evt, uint8_t kind, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	event->addr = kind & ADDR ? evt->dw[2] : 0;
	event->perm = kind & ACCESS ? decode_perm(dw1) : 0;
	event->reason = kind & KNOWN ? kind & REASON : IOPF_REASON_OTHER;
	if (!(kind & KNOWN) || (dw1 & SMMUV3_EVT1_STALL && !(kind & BIT31)))
		event->flags = IOPF_EVENT_BAD;
	if (event->raw_id == SMMUV3_C_BAD_SUBSTREAMID)
		event->pasid = SMMUV3_GET(SMMUV3_EVT0_SSID, evt->dw[0]);
	smmuv3_event_decode_rest(evt, event);
}

/* A fault that is not that of stage 1 and a good stall. The fields of those are decoded. */
static void
decode_other_fault(const struct smmuv3_evt *evt, uint64_t stall_sid_end, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	if (dw1 & SMMUV3_EVT1_S2) {
		event->flags = IOPF_EVENT_STAGE2;
		event->ipa = evt->dw[3] & SMMUV3_EVT3_IPA;
		event->event_class = smmuv3_event_decode_class(dw1);
	}
	if (!(dw1 & SMMUV3_EVT1_STALL)) {
		smmuv3_event_decode_rest(evt, event);
		return;
	}
	/* No stall is possible here, or the SMMU does not have this StreamID. */
	if (event->sid >= stall_sid_end) {
		event->flags |= IOPF_EVENT_BAD;
		smmuv3_event_decode_rest(evt, event);
		return;
	}
	event->flags |= IOPF_EVENT_STALL;
	event->token = SMMUV3_GET(SMMUV3_EVT1_STAG, dw1);
}

static __rte_noinline uint8_t
decode_other(const struct smmuv3_evt *evt, uint64_t stall_sid_end, uint8_t kind,
		struct iopf_event *event)
{
	event->token = 0;
	event->flags = 0;
	if (kind & STALLS)
		decode_other_fault(evt, stall_sid_end, event);
	else
		decode_other_kind(evt, kind, event);
	return event->flags;
}

/* Returns the event's flags. */
static inline uint8_t
decode_event(const struct smmuv3_evt *evt, uint64_t stall_sid_end, struct iopf_event *event)
{
	uint64_t dw0 = evt->dw[0], dw1 = evt->dw[1];
	uint8_t id = SMMUV3_GET(SMMUV3_EVT0_ID, dw0);
	uint8_t kind = records[id];
	uint32_t sid = SMMUV3_GET(SMMUV3_EVT0_SID, dw0);

	event->addr = evt->dw[2];
	event->ipa = 0;
	event->sid = sid;
	event->pasid = dw0 & SMMUV3_EVT0_SSV ? SMMUV3_GET(SMMUV3_EVT0_SSID, dw0) : IOPF_NO_PASID;
	event->perm = decode_perm(dw1);
	event->reason = kind & REASON;
	event->raw_id = id;
	if (unlikely(!(kind & STALLS) || sid >= stall_sid_end ||
			(dw1 & (SMMUV3_EVT1_STALL | SMMUV3_EVT1_S2)) != SMMUV3_EVT1_STALL))
		return decode_other(evt, stall_sid_end, kind, event);
	event->token = SMMUV3_GET(SMMUV3_EVT1_STAG, dw1);
	event->flags = IOPF_EVENT_STALL;
	return IOPF_EVENT_STALL;
}

/*
 * PROD showed an overflow or is not within the queue, or records were not written. Returns 1: an
 * IOPF_EVENT_LOST. Its place among the records is not exact: with the overflow PROD may show
 * records from before and after it.
 */
static uint16_t
handle_prod_flags(struct smmuv3 *s, uint64_t cons, uint64_t avail, struct iopf_event *event)
{
	struct smmuv3_inq *q = &s->evtq.q;

	*event = (struct iopf_event){
		.pasid = IOPF_NO_PASID,
		.reason = IOPF_REASON_OTHER,
		.flags = IOPF_EVENT_LOST,
	};
	if (q->prod_flags & SMMUV3_INQ_OVERFLOW) {
		/* Acknowledged with the next CONS [7.4]. */
		q->ovackflg ^= SMMUV3_Q_OVFLG;
		smmuv3_counter_add(&q->overflows, 1);
	}
	if (q->prod_flags & SMMUV3_INQ_BAD) {
		/* The entries cannot be trusted. check() ends the stalls among them. */
		smmuv3_counter_add(&q->bad_prod, 1);
		memset(q->ring, 0, sizeof(struct smmuv3_evt) << q->log2);
		/* Stores before the CONS store, which orders loads only. */
		smmuv3_io_wmb();
		atomic_store_explicit(&s->recovery.wanted, true, memory_order_relaxed);
		cons = q->prod;
	}
	q->prod_flags = 0;
	if (avail == 0)
		smmuv3_inq_store_cons(q, cons);
	return 1;
}

/* The stalls before the position @p stale have ended: they get no answer. */
static __rte_noinline void
drop_stale_stalls(struct smmuv3 *s, uint64_t cons, uint64_t stale, struct iopf_event *events,
		uint16_t n)
{
	const struct smmuv3_evt *ring = s->evtq.q.ring;

	for (uint16_t i = 0; i < n && (int64_t)(cons + i - stale) < 0; i++) {
		if (!(events[i].flags & IOPF_EVENT_STALL))
			continue;
		events[i].flags &= ~IOPF_EVENT_STALL;
		smmuv3_event_decode_rest(&ring[smmuv3_q_slot(s->evtq.q.log2, cons + i)],
				&events[i]);
		smmuv3_counter_add(&s->evtq.stale_stalls, 1);
	}
}

/* Some event of the burst is no good stall: count the stalls one by one. */
static __rte_noinline uint16_t
count_stalls(const struct iopf_event *events, uint16_t n)
{
	uint16_t i, stalls = 0;

	for (i = 0; i < n; i++)
		stalls += (events[i].flags & IOPF_EVENT_STALL) != 0;
	return stalls;
}

static void
count_bad_events(struct smmuv3 *s, const struct iopf_event *events, uint16_t n)
{
	uint16_t i, bad = 0, unwritten = 0;

	for (i = 0; i < n; i++) {
		bad += (events[i].flags & IOPF_EVENT_BAD) != 0;
		unwritten += events[i].raw_id == 0;
	}
	smmuv3_counter_add(&s->evtq.q.bad, bad);
	if (unwritten == 0)
		return;
	smmuv3_counter_add(&s->evtq.unwritten, unwritten);
	if (s->max_stalls == 0)
		s->evtq.q.prod_flags |= SMMUV3_INQ_LOST;
	atomic_store_explicit(&s->recovery.wanted, true, memory_order_relaxed);
}

uint16_t
smmuv3_evtq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n)
{
	struct smmuv3_inq *q = &s->evtq.q;
	struct smmuv3_evt *ring;
	uint64_t cons, mask;
	uint64_t stale, avail, stall_sid_end;
	uint8_t flags, any = 0, all = IOPF_EVENT_STALL;
	uint16_t i;

	/* Pairs with the release in smmuv3_start(): the ring and its positions are visible. */
	if (unlikely(!atomic_load_explicit(&q->on, memory_order_acquire)))
		return 0;
	ring = q->ring;
	cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	mask = smmuv3_inq_entries(q) - 1;
	smmuv3_inq_store_returned_pos(q, cons);
	if (unlikely(!smmuv3_cmdq_has_room_for_answers(&s->cmdq)))
		return 0;

	avail = q->prod - cons;
	if (avail == 0) {
		/*
		 * The entry, PROD and the word change together. Without prefetches their cache
		 * misses would follow one another. To a register in Device memory a prefetch does
		 * nothing.
		 */
		rte_prefetch0(&ring[cons & mask]);
		rte_prefetch0(smmuv3_reg32(q->regs, SMMUV3_EVENTQ_PROD));
		avail = smmuv3_inq_find_entries(q, cons);
		if (unlikely(q->prod_flags != 0))
			return handle_prod_flags(s, cons, avail, events);
		if (avail == 0) {
			/* Answers that found no room go before the next check. */
			if (unlikely(s->nb_ecmdqs != 0))
				smmuv3_cmdq_try_flush(smmuv3_ecmdq_of_thread(s));
			return 0;
		}
	}
	n = RTE_MIN(avail, n);
	stall_sid_end = get_stall_sid_end(s);
	for (i = 0; i < n; i++) {
		struct smmuv3_evt *evt = &ring[(cons + i) & mask];

		rte_prefetch0(&ring[(cons + i + 4) & mask]);
		flags = decode_event(evt, stall_sid_end, &events[i]);
		evt->dw[0] = 0;
		any |= flags;
		all &= flags;
	}
	/* Pairs with the release in smmuv3_recovery_advance(). */
	stale = atomic_load_explicit(&s->evtq.stale_end, memory_order_acquire);
	if (unlikely((int64_t)(cons - stale) < 0)) {
		drop_stale_stalls(s, cons, stale, events, n);
		all = 0;
	}
	/* The records are cleared before the CONS store, which orders loads only. */
	smmuv3_io_wmb();
	smmuv3_inq_store_cons(q, cons + n);
	smmuv3_counter_add(&q->entries, n);
	smmuv3_counter_add(&q->bursts, 1);
	smmuv3_counter_add(&s->evtq.stalls, likely(all & IOPF_EVENT_STALL) ? n :
			count_stalls(events, n));
	if (unlikely(any & IOPF_EVENT_BAD))
		count_bad_events(s, events, n);
	return n;
}

bool
smmuv3_evtq_has_lost_events(struct smmuv3 *s)
{
	struct smmuv3_inq *q = &s->evtq.q;
	uint64_t cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	uint64_t avail = smmuv3_inq_read_prod(q, cons);
	const struct smmuv3_evt *ring = q->ring;
	struct iopf_event event;

	for (uint64_t i = 0; i < avail && q->prod_flags == 0; i++) {
		decode_event(&ring[smmuv3_q_slot(q->log2, cons + i)], get_stall_sid_end(s),
				&event);
		if (!(event.flags & IOPF_EVENT_STALL))
			return true;
	}
	return q->prod_flags != 0;
}

int
smmuv3_evtq_alloc(struct smmuv3 *s, unsigned int log2)
{
	return smmuv3_inq_alloc(s, &s->evtq.q, sizeof(struct smmuv3_evt), log2);
}

void
smmuv3_evtq_setup(struct smmuv3 *s)
{
	uint64_t pos;

	memset(s->evtq.q.ring, 0, sizeof(struct smmuv3_evt) << s->evtq.q.log2);
	pos = smmuv3_inq_setup(s, &s->evtq.q, SMMUV3_EVENTQ_BASE);
	atomic_store_explicit(&s->evtq.stale_end, pos, memory_order_relaxed);
}
