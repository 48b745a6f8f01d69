/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The oracle records each invalidation and whether a completed SYNC covers it. It is
 * independent of the caches and has its own rules for what an invalidation covers. A cache
 * entry has the number of the last invalidation that was checked against it; an access
 * through the entry checks only later ones.
 */

#include "model_access.h"
#include "model_atc.h"
#include "model_ctx.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_tlb.h"
#include "smmuv3_spec.h"

void
smmuv3_oracle_note_invalidation(struct smmuv3_oracle *o, const struct smmuv3_inv *inv)
{
	o->seq++;
	o->inv[o->seq % SMMUV3_ORACLE_MAX] = *inv;
	o->inv[o->seq % SMMUV3_ORACLE_MAX].seq = o->seq;
	if (inv->kind <= SMMUV3_INV_TLB_VAA)
		o->tlb_seq = o->seq;
}

void
smmuv3_oracle_note_sync(struct smmuv3_oracle *o)
{
	o->completed = o->seq;
}

/* Invalidations that a completed SYNC covers, from the newest back to @p after. */
#define FOREACH_COMPLETED(o, p, after)							\
	for (uint64_t seq_ = (o)->completed;						\
			seq_ > (after) && seq_ + SMMUV3_ORACLE_MAX > (o)->seq &&		\
			((p) = &(o)->inv[seq_ % SMMUV3_ORACLE_MAX], true); seq_--)

bool
smmuv3_inv_reaches(const struct smmuv3_inv *p, uint16_t asid, bool global, uint64_t first,
		uint64_t last)
{
	switch (p->kind) {
	case SMMUV3_INV_TLB_ALL:
		return true;
	case SMMUV3_INV_TLB_ASID:
		return !global && p->asid == asid;
	case SMMUV3_INV_TLB_VA:
		return (global || p->asid == asid) && p->va <= last && p->last >= first;
	case SMMUV3_INV_TLB_VAA:
		return p->va <= last && p->last >= first;
	default:
		return false;
	}
}

void
smmuv3_oracle_check_leaf(struct smmuv3_oracle *o, uint64_t *checked, uint16_t asid, bool global,
		unsigned int gran, unsigned int level, unsigned int shift, uint64_t va)
{
	uint64_t first = va >> shift << shift;
	const struct smmuv3_inv *p;

	if (*checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, *checked) {
		if (!smmuv3_inv_reaches(p, asid, global, first,
					first + (UINT64_C(1) << shift) - 1) ||
				(p->tg != 0 && p->tg != gran) ||
				(p->ttl != 0 && p->ttl != level))
			continue;
		smmuv3_log_add(&o->log, "VA 0x%llx, ASID %u: a TLB entry translated an access "
				"after the invalidation of the entry completed",
				(unsigned long long)va, asid);
		break;
	}
	*checked = o->completed;
}

void
smmuv3_oracle_check_table(struct smmuv3_oracle *o, uint64_t *checked, uint16_t asid,
		unsigned int gran, unsigned int shift, uint64_t va)
{
	uint64_t first = (va & SMMUV3_BITS(55, 0)) >> shift << shift;
	const struct smmuv3_inv *p;

	if (*checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, *checked) {
		if (p->leaf || (p->tg != 0 && p->tg != gran) ||
				!smmuv3_inv_reaches(p, asid, false, first,
					first + (UINT64_C(1) << shift) - 1))
			continue;
		smmuv3_log_add(&o->log, "VA 0x%llx, ASID %u: a walk used a cached table pointer "
				"after the invalidation of the pointer completed",
				(unsigned long long)va, asid);
		break;
	}
	*checked = o->completed;
}

void
smmuv3_oracle_check_cfg(struct smmuv3_oracle *o, struct smmuv3_ctx *ctx, uint32_t sid,
		uint32_t ssid)
{
	const struct smmuv3_inv *p;

	if (ctx->checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, ctx->checked) {
		bool ste = false, cd = false;

		switch (p->kind) {
		case SMMUV3_INV_CFG_ALL:
			ste = cd = true;
			break;
		case SMMUV3_INV_CFG_SIDS:
			ste = cd = sid >= p->sid && sid <= p->sid_last;
			break;
		case SMMUV3_INV_CFG_CDS:
			cd = sid == p->sid;
			break;
		case SMMUV3_INV_CFG_CD:
			cd = sid == p->sid && ssid == p->ssid;
			break;
		default:
			break;
		}
		if ((ste && p->seq > ctx->ste_born) ||
				(cd && ctx->kind == SMMUV3_CTX_S1 && p->seq > ctx->cd_born)) {
			smmuv3_log_add(&o->log, "SID %u SSID %u: an access used a cached STE or CD "
					"after its invalidation completed", sid, ssid);
			break;
		}
	}
	ctx->checked = o->completed;
}

void
smmuv3_oracle_check_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t va)
{
	const struct smmuv3_half *half = &ctx->half[(va >> 55) & 1];

	if (e->global || half->epd || e->root == half->ttb)
		return;
	smmuv3_log_add(&o->log, "SID %u, VA 0x%llx: ASID %u has table 0x%llx, but the TLB entry "
			"comes from table 0x%llx", ctx->sid, (unsigned long long)va, e->asid,
			(unsigned long long)half->ttb, (unsigned long long)e->root);
}

void
smmuv3_oracle_void_atc_invs(struct smmuv3_oracle *o)
{
	for (uint64_t seq = o->seq; seq > o->completed && seq + SMMUV3_ORACLE_MAX > o->seq; seq--) {
		struct smmuv3_inv *p = &o->inv[seq % SMMUV3_ORACLE_MAX];

		if (p->kind == SMMUV3_INV_ATC)
			p->kind = SMMUV3_INV_VOID;
	}
}

void
smmuv3_oracle_check_atc(struct smmuv3_oracle *o, struct smmuv3_atc_entry *e, uint32_t sid,
		uint64_t va)
{
	uint64_t page = va & ~SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0);
	const struct smmuv3_inv *p;

	if (e->checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, e->checked) {
		if (p->kind != SMMUV3_INV_ATC || p->sid != sid || p->ssv != e->ssv ||
				(p->ssv && !p->global && p->ssid != e->ssid) ||
				page < p->va || page > p->last)
			continue;
		smmuv3_log_add(&o->log, "SID %u, VA 0x%llx: an ATC entry translated an access "
				"after the invalidation of the entry completed", sid,
				(unsigned long long)va);
		break;
	}
	e->checked = o->completed;
}
