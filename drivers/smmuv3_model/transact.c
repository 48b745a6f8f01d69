/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Transactions. A DMA is cut at page boundaries and has one transaction at a time. The
 * transaction is translated, and then its data moves, or it stalls, or it ends with an abort
 * or RAZ/WI. The oracle checks that each one is answered exactly once.
 */

#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_endpoint.h"
#include "model_evtq.h"
#include "model_flight.h"
#include "model_frames.h"
#include "model_log.h"
#include "model_slot.h"
#include "model_stag.h"
#include "model_stall.h"
#include "model_transact.h"
#include "model_translate.h"
#include "model_win.h"

/* The bounce page of a COPY between its read and its write. */
static uint8_t *
bounce_page(const struct smmuv3_slot *s)
{
	return s->dma->bounce + ((size_t)(s - s->dma->slot) << SMMUV3_PAGE_SHIFT);
}

uint64_t
smmuv3_slot_addr(const struct smmuv3_slot *s)
{
	return (s->dst_phase ? s->op.dst : s->op.addr) + s->off;
}

static size_t
bytes_to_boundary(uint64_t addr)
{
	return (size_t)((UINT64_C(1) << SMMUV3_PAGE_SHIFT) -
			(addr & SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0)));
}

static size_t
slot_len(const struct smmuv3_slot *s)
{
	size_t len = s->op.len - s->off, n;

	n = bytes_to_boundary(s->op.addr + s->off);
	if (n < len)
		len = n;
	if (s->op.type == SMMUV3_MODEL_COPY) {
		n = bytes_to_boundary(s->op.dst + s->off);
		if (n < len)
			len = n;
	}
	return len;
}

static __attribute__((noinline, cold)) void
evt_make_s2(const struct smmuv3_fault *fault, struct smmuv3_evt *evt)
{
	evt->dw[1] = SMMUV3_EVT1_S2 | SMMUV3_PUT(SMMUV3_EVT1_CLASS, fault->s2_class);
	/* The SMMU writes a descriptor only to update its flags. */
	if (fault->id == SMMUV3_F_PERMISSION && fault->s2_class == SMMUV3_CLASS_TT &&
			!fault->s2_update)
		evt->dw[1] |= SMMUV3_EVT1_TTRNW;
	evt->dw[3] = fault->fetch & SMMUV3_EVT3_IPA;
}

/* The valid fields of each record [7.3]. */
void
smmuv3_evt_make(const struct smmuv3_model_dma_conf *client, const struct smmuv3_access *acc,
		const struct smmuv3_fault *fault, struct smmuv3_evt *evt)
{
	*evt = (struct smmuv3_evt){ .dw = {
		SMMUV3_PUT(SMMUV3_EVT0_ID, fault->id) |
		SMMUV3_PUT(SMMUV3_EVT0_SID, client->sid) } };
	if (client->has_ssid && !fault->no_ssid) {
		evt->dw[0] |= SMMUV3_PUT(SMMUV3_EVT0_SSID, client->ssid);
		if (!fault->ssid_no_ssv)
			evt->dw[0] |= SMMUV3_EVT0_SSV;
	}
	switch (fault->id) {
	case SMMUV3_F_STE_FETCH:
	case SMMUV3_F_CD_FETCH:
		evt->dw[3] = fault->fetch & SMMUV3_EVT3_FETCHADDR;
		return;
	case SMMUV3_F_WALK_EABT:
		evt->dw[1] = fault->s2 ? SMMUV3_EVT1_S2 |
			SMMUV3_PUT(SMMUV3_EVT1_CLASS, fault->s2_class) :
			SMMUV3_PUT(SMMUV3_EVT1_CLASS, SMMUV3_CLASS_TT);
		evt->dw[3] = fault->fetch & SMMUV3_EVT3_FETCHADDR;
		break;
	case SMMUV3_F_BAD_ATS_TREQ:
		/* A PCIe request always requests read permission, for one STU. */
		evt->dw[1] = SMMUV3_PUT(SMMUV3_EVT1_TREQ_SPAN, 1) | SMMUV3_EVT1_TREQ_R |
			SMMUV3_PUT(SMMUV3_EVT1_TREQ_P, acc->priv) |
			SMMUV3_PUT(SMMUV3_EVT1_TREQ_X, acc->instr) |
			SMMUV3_PUT(SMMUV3_EVT1_TREQ_W, acc->write);
		evt->dw[2] = acc->va & ~SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0);
		return;
	case SMMUV3_F_TRANSL_FORBIDDEN:
		evt->dw[1] = SMMUV3_PUT(SMMUV3_EVT1_RNW, !acc->write);
		evt->dw[2] = acc->va;
		return;
	case SMMUV3_F_TRANSLATION:
	case SMMUV3_F_ADDR_SIZE:
	case SMMUV3_F_ACCESS:
	case SMMUV3_F_PERMISSION:
		evt->dw[1] = SMMUV3_PUT(SMMUV3_EVT1_CLASS, SMMUV3_CLASS_IN);
		if (__builtin_expect(fault->s2, 0))
			evt_make_s2(fault, evt);
		break;
	default:
		return;
	}
	evt->dw[1] |= SMMUV3_PUT(SMMUV3_EVT1_PNU, acc->priv) |
		SMMUV3_PUT(SMMUV3_EVT1_IND, acc->instr) | SMMUV3_PUT(SMMUV3_EVT1_RNW, !acc->write);
	evt->dw[2] = acc->va;
}

static void
open_transaction(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	if (s->open)
		return;
	s->open = true;
	s->dma->started++;
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_TRANSACTIONS);
}

/* The client receives the response of its transaction. */
static void
answer_transaction(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	if (!s->open)
		smmuv3_log_add(&m->oracle.log, "SID %u: a transaction was answered twice "
				"(address 0x%llx)", s->dma->conf.sid,
				(unsigned long long)smmuv3_slot_addr(s));
	s->open = false;
	s->dma->answered++;
}

void
smmuv3_ready_add(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	smmuv3_list_add(&m->ready, s);
}

/* Answer a transaction and go on to the next. False: the DMA is done. */
static bool
advance_dma(struct smmuv3_model *m, struct smmuv3_slot *s, size_t len)
{
	answer_transaction(m, s);
	if (s->op.type == SMMUV3_MODEL_COPY) {
		s->dst_phase = !s->dst_phase;
		if (s->dst_phase)
			return true;
	}
	s->off += len;
	if (s->off < s->op.len)
		return true;
	smmuv3_dma_finish(m, s);
	return false;
}

/* Copy between the device and one target. False: an external abort. */
static bool
move_bytes_at(struct smmuv3_model *m, const struct smmuv3_target *to, bool write, uint8_t *dev,
		size_t len)
{
	uint8_t *mem = to->host;
	uint64_t pa = to->pa;

	while (len > 0) {
		size_t n = len;

		if (mem == NULL)
			mem = smmuv3_win_find(&m->wins, &m->data_win, pa, n);
		if (mem == NULL) {
			/* A page may lie in adjacent windows. */
			n = 1;
			mem = smmuv3_win_find(&m->wins, &m->data_win, pa, n);
			if (mem == NULL)
				return false;
		}
		if (write)
			memcpy(mem, dev, n);
		else
			memcpy(dev, mem, n);
		dev += n;
		pa += n;
		len -= n;
		mem = NULL;
	}
	return true;
}

static __attribute__((noinline, cold)) void
check_frames(struct smmuv3_model *m, const struct smmuv3_slot *s, const struct smmuv3_target *to,
		size_t len)
{
	bool write = s->op.type == SMMUV3_MODEL_WRITE || s->dst_phase;
	/* The load of the owner pairs with the release in smmuv3_model_dma_owner(). */
	struct smmuv3_frame_use use = {
		.what = write ? "a write" : "a read", .va = smmuv3_slot_addr(s),
		.sid = s->dma->conf.sid, .bypass = to->bypass,
		.owner = atomic_load_explicit(&s->dma->owner, memory_order_acquire),
	};

	smmuv3_frames_check(&m->frames, &use, to->pa, len);
}

static bool
move_bytes(struct smmuv3_model *m, struct smmuv3_slot *s, const struct smmuv3_target *to,
		size_t len)
{
	bool ok;

	if (smmuv3_frames_are_used(&m->frames))
		check_frames(m, s, to, len);
	switch (s->op.type) {
	case SMMUV3_MODEL_READ:
		ok = move_bytes_at(m, to, false, (uint8_t *)s->op.buf + s->off, len);
		break;
	case SMMUV3_MODEL_WRITE:
		ok = move_bytes_at(m, to, true, (uint8_t *)s->op.buf + s->off, len);
		break;
	default:
		ok = move_bytes_at(m, to, s->dst_phase, bounce_page(s), len);
		if (!s->dst_phase)
			return ok;
	}
	if (ok) {
		s->done.bytes += len;
		smmuv3_count_add(&m->stats, SMMUV3_MODEL_STAT_BYTES, len);
	}
	return ok;
}

/* Answer a transaction without its data. True: the DMA goes on. */
static bool
answer_fault(struct smmuv3_model *m, struct smmuv3_slot *s, enum smmuv3_model_status status)
{
	size_t len = slot_len(s);

	s->done.status = status;
	if (status == SMMUV3_MODEL_ABORTED) {
		answer_transaction(m, s);
		smmuv3_dma_finish(m, s);
		return false;
	}
	if (s->op.type == SMMUV3_MODEL_READ)
		memset((uint8_t *)s->op.buf + s->off, 0, len);
	else if (s->op.type == SMMUV3_MODEL_COPY && !s->dst_phase)
		memset(bounce_page(s), 0, len);
	return advance_dma(m, s, len);
}

static void
report_stalling_endpoint(struct smmuv3_model *m, const struct smmuv3_slot *s, const char *field)
{
	smmuv3_log_add(&m->driver_log, "SID %u is an endpoint and its %s set, but its transactions "
			"must not stall", s->dma->conf.sid, field);
}

static bool
is_translation_fault(const struct smmuv3_fault *fault)
{
	return fault->id >= SMMUV3_F_TRANSLATION && fault->id <= SMMUV3_F_PERMISSION;
}

/* STE.S2S and S2R decide, also if the SMMU read a CD or a descriptor of stage 1. */
static __attribute__((noinline, cold)) bool
stall_or_terminate_s2(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault)
{
	const struct smmuv3_ctx *ctx = &s->dma->ctx;
	bool by_ste = is_translation_fault(fault);
	struct smmuv3_evt evt;

	if (by_ste && ctx->s2.stall) {
		if (s->dma->ep != NULL)
			report_stalling_endpoint(m, s, "STE has S2S");
		smmuv3_stall_begin(m, s, acc, fault);
		return false;
	}
	if (!by_ste || ctx->s2.record) {
		smmuv3_evt_make(&s->dma->conf, acc, fault, &evt);
		if (!by_ste || !ctx->merge || !smmuv3_fe_evt_is_merged(&m->fe, &evt))
			smmuv3_fe_evt_report(&m->fe, &evt);
	}
	return answer_fault(m, s, SMMUV3_MODEL_ABORTED);
}

/* Stall or terminate a transaction [5.5]. True: the DMA goes on. */
static bool
stall_or_terminate(struct smmuv3_model *m, struct smmuv3_slot *s, const struct smmuv3_access *acc,
		const struct smmuv3_fault *fault)
{
	const struct smmuv3_ctx *ctx = &s->dma->ctx;
	struct smmuv3_evt evt;
	bool by_cd = is_translation_fault(fault) && ctx->kind >= SMMUV3_CTX_NESTED;

	if (__builtin_expect(fault->s2, 0))
		return stall_or_terminate_s2(m, s, acc, fault);
	if (by_cd && ctx->stall) {
		if (s->dma->ep != NULL)
			report_stalling_endpoint(m, s, "CD has S");
		smmuv3_stall_begin(m, s, acc, fault);
		return false;
	}
	if (fault->id != 0 && (!by_cd || ctx->record)) {
		smmuv3_evt_make(&s->dma->conf, acc, fault, &evt);
		if (!by_cd || !ctx->merge || !smmuv3_fe_evt_is_merged(&m->fe, &evt))
			smmuv3_fe_evt_report(&m->fe, &evt);
	}
	return answer_fault(m, s, by_cd && !ctx->abort ? SMMUV3_MODEL_RAZWI :
			SMMUV3_MODEL_ABORTED);
}

static struct smmuv3_access
slot_access(const struct smmuv3_slot *s)
{
	return (struct smmuv3_access){
		.va = smmuv3_slot_addr(s),
		.write = s->op.type == SMMUV3_MODEL_WRITE || s->dst_phase,
		.priv = s->op.privileged,
		.instr = s->op.instruction,
	};
}

unsigned int
smmuv3_slot_run(struct smmuv3_model *m, struct smmuv3_slot *s, unsigned int max)
{
	unsigned int n = 0;
	bool more = true;

	while (more && n < max) {
		struct smmuv3_access acc = slot_access(s);
		struct smmuv3_target to;
		struct smmuv3_fault fault;
		size_t len = slot_len(s);

		n++;
		open_transaction(m, s);
		switch (s->dma->ep == NULL ? smmuv3_translate(m, s->dma, &acc, &to, &fault) :
				smmuv3_ep_access(m, s, &acc, &to, &fault)) {
		case SMMUV3_WAIT:
			return n;
		case SMMUV3_OK:
			if (__builtin_expect(m->harsh & SMMUV3_MODEL_HARSH_FLIGHT, 0) &&
					smmuv3_flight_start(m, s, &to))
				return n;
			if (move_bytes(m, s, &to, len))
				more = advance_dma(m, s, len);
			else
				more = answer_fault(m, s, SMMUV3_MODEL_ABORTED);
			break;
		case SMMUV3_BUSY:
			smmuv3_list_add(&m->later, s);
			return n;
		default:
			more = stall_or_terminate(m, s, &acc, &fault);
			break;
		}
	}
	if (more)
		smmuv3_ready_add(m, s);
	return n;
}

void
smmuv3_slot_land(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	size_t len = slot_len(s);
	bool reset = s->reset, more;

	/* If this is the last transaction, a reset must not abort the next DMA of the slot. */
	s->reset = false;
	s->state = SMMUV3_SLOT_READY;
	if (move_bytes(m, s, &s->target, len))
		more = advance_dma(m, s, len);
	else
		more = answer_fault(m, s, SMMUV3_MODEL_ABORTED);
	if (!more)
		return;
	s->reset = reset;
	smmuv3_ready_add(m, s);
}

bool
smmuv3_slot_try(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_stall *st = &m->stall[s->stag];
	struct smmuv3_access acc = slot_access(s);
	struct smmuv3_target to;
	struct smmuv3_fault fault;
	size_t len = slot_len(s);
	bool more;

	switch (smmuv3_translate(m, s->dma, &acc, &to, &fault)) {
	case SMMUV3_OK:
		st->slot = NULL;
		s->has_stag = false;
		s->state = SMMUV3_SLOT_READY;
		if (move_bytes(m, s, &to, len))
			more = advance_dma(m, s, len);
		else
			more = answer_fault(m, s, SMMUV3_MODEL_ABORTED);
		break;
	case SMMUV3_BUSY:
		return false;
	default:
		/* It stalls again: the first record remains. */
		if (is_translation_fault(&fault) && (fault.s2 ? s->dma->ctx.s2.stall :
				s->dma->ctx.kind >= SMMUV3_CTX_NESTED && s->dma->ctx.stall))
			return false;
		st->slot = NULL;
		s->has_stag = false;
		s->state = SMMUV3_SLOT_READY;
		more = answer_fault(m, s, SMMUV3_MODEL_ABORTED);
		break;
	}
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_RETRIES);
	if (more)
		smmuv3_ready_add(m, s);
	return true;
}

void
smmuv3_slot_end(struct smmuv3_model *m, struct smmuv3_slot *s, enum smmuv3_model_status status)
{
	s->state = SMMUV3_SLOT_READY;
	if (answer_fault(m, s, status))
		smmuv3_ready_add(m, s);
}
