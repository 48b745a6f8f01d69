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
	if (o->first[inv->queue] == 0) {
		o->first[inv->queue] = o->seq;
		o->nb_open++;
	}
}

void
smmuv3_oracle_note_sync(struct smmuv3_oracle *o, unsigned int queue)
{
	o->done[queue] = o->seq;
	if (o->first[queue] != 0) {
		o->first[queue] = 0;
		o->nb_open--;
	}
	o->completed = o->floor = o->seq;
	if (__builtin_expect(o->nb_open == 0, 1))
		return;
	for (unsigned int i = 0; i < SMMUV3_ORACLE_QUEUES; i++)
		if (o->first[i] != 0 && o->first[i] - 1 < o->floor)
			o->floor = o->first[i] - 1;
}

/* Later accesses need not check up to the floor again. An entry may be newer than the floor. */
static inline void
note_checked(const struct smmuv3_oracle *o, uint64_t *checked)
{
	if (*checked < o->floor)
		*checked = o->floor;
}

/* Invalidations that a completed SYNC covers, from the newest back to @p after. */
#define FOREACH_COMPLETED(o, p, after)							\
	for (uint64_t seq_ = (o)->completed;						\
			seq_ > (after) && seq_ + SMMUV3_ORACLE_MAX > (o)->seq &&		\
			((p) = &(o)->inv[seq_ % SMMUV3_ORACLE_MAX], true); seq_--)		\
		if (seq_ <= (o)->done[(p)->queue])

bool
smmuv3_inv_reaches(const struct smmuv3_inv *p, uint32_t space, bool global, uint64_t first,
		uint64_t last)
{
	bool same_vm = smmuv3_space_is_same_vm(p->space, space);

	switch (p->kind) {
	case SMMUV3_INV_TLB_ALL:
		return true;
	case SMMUV3_INV_TLB_VM:
	case SMMUV3_INV_TLB_VM_S1:
		return same_vm;
	case SMMUV3_INV_TLB_ASID:
		return !global && p->space == space;
	case SMMUV3_INV_TLB_VA:
		return (global ? same_vm : p->space == space) && p->va <= last &&
			p->last >= first;
	case SMMUV3_INV_TLB_VAA:
		return same_vm && p->va <= last && p->last >= first;
	default:
		return false;
	}
}

bool
smmuv3_inv_reaches_ipa(const struct smmuv3_inv *p, uint32_t space, uint64_t first, uint64_t last)
{
	switch (p->kind) {
	case SMMUV3_INV_TLB_ALL:
		return true;
	case SMMUV3_INV_TLB_VM:
		return smmuv3_space_is_same_vm(p->space, space);
	case SMMUV3_INV_TLB_IPA:
		return smmuv3_space_is_same_vm(p->space, space) && p->va <= last &&
			p->last >= first;
	default:
		return false;
	}
}

bool
smmuv3_inv_reaches_atc(const struct smmuv3_inv *p, const struct smmuv3_atc_entry *e)
{
	uint64_t va = (e->vpn << SMMUV3_PAGE_SHIFT) & SMMUV3_BITS(55, 0);
	uint64_t low = SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0);

	return (e->s1 && smmuv3_inv_reaches(p, e->space, false, va, va + low)) ||
		(e->s2 && smmuv3_inv_reaches_ipa(p, e->space, e->ipa, e->ipa + low));
}

void
smmuv3_oracle_check_leaf(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space, bool global,
		unsigned int gran, unsigned int level, unsigned int shift, uint64_t va)
{
	uint64_t first = va >> shift << shift;
	const struct smmuv3_inv *p;

	if (*checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, *checked) {
		if (!smmuv3_inv_reaches(p, space, global, first,
					first + (UINT64_C(1) << shift) - 1) ||
				(p->tg != 0 && p->tg != gran) ||
				(p->ttl != 0 && p->ttl != level))
			continue;
		smmuv3_log_add(&o->log, "VA 0x%llx, ASID %u: a TLB entry translated an access "
				"after the invalidation of the entry completed",
				(unsigned long long)va, (uint16_t)space);
		break;
	}
	note_checked(o, checked);
}

void
smmuv3_oracle_check_table(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space,
		unsigned int gran, unsigned int shift, uint64_t va)
{
	uint64_t first = (va & SMMUV3_BITS(55, 0)) >> shift << shift;
	const struct smmuv3_inv *p;

	if (*checked >= o->completed)
		return;
	FOREACH_COMPLETED(o, p, *checked) {
		if (p->leaf || (p->tg != 0 && p->tg != gran) ||
				!smmuv3_inv_reaches(p, space, false, first,
					first + (UINT64_C(1) << shift) - 1))
			continue;
		smmuv3_log_add(&o->log, "VA 0x%llx, ASID %u: a walk used a cached table pointer "
				"after the invalidation of the pointer completed",
				(unsigned long long)va, (uint16_t)space);
		break;
	}
	note_checked(o, checked);
}

/* Is an entry of stage 2 for these IPAs used after its invalidation completed? */
static bool
is_ipa_stale(const struct smmuv3_oracle *o, uint64_t checked, uint32_t space, unsigned int gran,
		unsigned int level, uint64_t first, uint64_t last)
{
	const struct smmuv3_inv *p;

	FOREACH_COMPLETED(o, p, checked)
		if (smmuv3_inv_reaches_ipa(p, space, first, last) &&
				(p->tg == 0 || p->tg == gran) &&
				(level != 0 ? p->ttl == 0 || p->ttl == level : !p->leaf))
			return true;
	return false;
}

void
smmuv3_oracle_check_ipa(struct smmuv3_oracle *o, struct smmuv3_tlb_entry *e, uint64_t ipa)
{
	uint64_t first = ipa >> e->shift << e->shift;

	if (e->checked >= o->completed)
		return;
	if (is_ipa_stale(o, e->checked, e->space, e->gran, e->level, first,
				first + (UINT64_C(1) << e->shift) - 1))
		smmuv3_log_add(&o->log, "IPA 0x%llx, VMID %u: a stage-2 TLB entry translated an "
				"access after the invalidation of the entry completed",
				(unsigned long long)ipa, e->space >> 16);
	note_checked(o, &e->checked);
}

void
smmuv3_oracle_check_s2_table(struct smmuv3_oracle *o, uint64_t *checked, uint32_t space,
		unsigned int gran, unsigned int shift, uint64_t ipa)
{
	uint64_t first = ipa >> shift << shift;

	if (*checked >= o->completed)
		return;
	if (is_ipa_stale(o, *checked, space, gran, 0, first,
				first + (UINT64_C(1) << shift) - 1))
		smmuv3_log_add(&o->log, "IPA 0x%llx, VMID %u: a stage-2 walk used a cached table "
				"pointer after the invalidation of the pointer completed",
				(unsigned long long)ipa, space >> 16);
	note_checked(o, checked);
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
				(cd && ctx->kind >= SMMUV3_CTX_NESTED && p->seq > ctx->cd_born)) {
			smmuv3_log_add(&o->log, "SID %u SSID %u: an access used a cached STE or CD "
					"after its invalidation completed", sid, ssid);
			break;
		}
	}
	note_checked(o, &ctx->checked);
}

void
smmuv3_oracle_check_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t va)
{
	const struct smmuv3_half *half = &ctx->half[(va >> 55) & 1];

	if (e->global || half->epd || e->root == smmuv3_ctx_root(ctx, half))
		return;
	if (ctx->s2.on) {
		smmuv3_log_add(&o->log, "SID %u, VA 0x%llx: a TLB entry of VMID %u and ASID %u "
				"does not come from the tables of the STE and CD", ctx->sid,
				(unsigned long long)va, ctx->space >> 16, (uint16_t)ctx->space);
		return;
	}
	smmuv3_log_add(&o->log, "SID %u, VA 0x%llx: ASID %u has table 0x%llx, but the TLB entry "
			"comes from table 0x%llx", ctx->sid, (unsigned long long)va,
			(uint16_t)e->space,
			(unsigned long long)half->ttb, (unsigned long long)e->root);
}

void
smmuv3_oracle_check_s2_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t ipa)
{
	if (e->root == ctx->s2.ttb)
		return;
	smmuv3_log_add(&o->log, "SID %u, IPA 0x%llx: VMID %u has table 0x%llx, but the stage-2 TLB "
			"entry comes from table 0x%llx", ctx->sid, (unsigned long long)ipa,
			ctx->s2.space >> 16, (unsigned long long)ctx->s2.ttb,
			(unsigned long long)e->root);
}

void
smmuv3_oracle_void_atc_invs(struct smmuv3_oracle *o, unsigned int queue)
{
	for (uint64_t seq = o->seq; seq > o->floor && seq + SMMUV3_ORACLE_MAX > o->seq; seq--) {
		struct smmuv3_inv *p = &o->inv[seq % SMMUV3_ORACLE_MAX];

		if (p->kind == SMMUV3_INV_ATC && p->queue == queue && seq > o->done[queue])
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
	note_checked(o, &e->checked);
}
