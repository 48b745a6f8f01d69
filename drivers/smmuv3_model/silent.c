/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Reports of SMMUV3_MODEL_HARSH_REPORT, on behaviour that is allowed but often comes from an
 * error: cached leaves that do not match the TTL or TG of a TLBI, entries of both stages that
 * outlive a TLBI_S2_IPA, cached configuration that
 * differs from memory when a SYNC completes, ATC entries that are used after the TLBI and
 * SYNC of their page and are never invalidated.
 */

#include "model.h"
#include "model_access.h"
#include "model_atc.h"
#include "model_cfg_cache.h"
#include "model_endpoint.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_silent.h"
#include "model_tlb.h"
#include "model_win.h"

/* A TLBI need not invalidate leaves that do not match its TTL and TG [4.4.1.1]. */
void
smmuv3_silent_check_tlbi(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	bool ipa = inv->kind == SMMUV3_INV_TLB_IPA;
	const struct smmuv3_tlb *tlb = ipa ? &m->tlb2 : &m->tlb;
	const struct smmuv3_tlb_entry *e;

	if (!ipa && inv->kind != SMMUV3_INV_TLB_VA && inv->kind != SMMUV3_INV_TLB_VAA)
		return;
	if (inv->tg == 0)
		return;
	for (size_t i = 0; i < smmuv3_tlb_size(tlb); i++) {
		uint64_t first, last;

		e = smmuv3_tlb_at(tlb, i);
		if (e == NULL)
			continue;
		first = e->vpn << e->shift;
		last = first + smmuv3_low_bits(e->shift);
		if ((e->gran == inv->tg && (inv->ttl == 0 || e->level == inv->ttl)) ||
				!(ipa ? smmuv3_inv_reaches_ipa(inv, e->space, first, last) :
				  smmuv3_inv_reaches(inv, e->space, e->global, first, last)))
			continue;
		smmuv3_log_add(&m->silent, "TLBI of %s 0x%llx to 0x%llx with TG 2^%u, TTL %u "
				"misses a leaf of level %u, granule 2^%u at %s 0x%llx, ASID %u, "
				"VMID %u", ipa ? "IPA" : "VA", (unsigned long long)inv->va,
				(unsigned long long)inv->last, inv->tg, inv->ttl, e->level,
				e->gran, ipa ? "IPA" : "VA", (unsigned long long)first,
				(uint16_t)e->space, e->space >> 16);
	}
}

/*
 * An access uses an entry that combines both stages. TLBI_S2_IPA does not remove it: a
 * TLBI_NH_ALL or NH_VAA has to follow [4.4].
 */
void
smmuv3_silent_check_combined(struct smmuv3_model *m, const struct smmuv3_tlb_entry *e, uint64_t va)
{
	uint64_t first = (uint64_t)e->ipa_page << SMMUV3_PAGE_SHIFT;
	const struct smmuv3_oracle *o = &m->oracle;

	for (uint64_t seq = o->completed; seq > e->checked && seq + SMMUV3_ORACLE_MAX > o->seq;
			seq--) {
		const struct smmuv3_inv *inv = &o->inv[seq % SMMUV3_ORACLE_MAX];

		if (inv->kind != SMMUV3_INV_TLB_IPA || !smmuv3_oracle_is_done(o, seq) ||
				!smmuv3_inv_reaches_ipa(inv, e->space,
				first, first + smmuv3_low_bits(e->shift)))
			continue;
		smmuv3_log_add(&m->silent, "VA 0x%llx, VMID %u: a TLB entry of both stages was "
				"used after the TLBI_S2_IPA and SYNC of its IPA 0x%llx, without "
				"a TLBI of stage 1", (unsigned long long)va, e->space >> 16,
				(unsigned long long)first);
		return;
	}
}

/* At a SYNC: does the cached configuration equal memory? Each entry is reported once. */
void
smmuv3_silent_check_cfg(struct smmuv3_model *m)
{
	static const char *const names[] = {
		[SMMUV3_CFG_L1STD] = "L1STD", [SMMUV3_CFG_STE] = "STE",
		[SMMUV3_CFG_L1CD] = "L1CD", [SMMUV3_CFG_CD] = "CD",
	};

	for (uint32_t i = 0; i < m->cfg.nb; i++) {
		struct smmuv3_cfg_entry *e = &m->cfg.entry[i];
		unsigned int nb = e->want == 1 ? 1 : 8, differs = nb;
		const uint64_t *dw;

		if (!e->used || e->reported)
			continue;
		dw = smmuv3_win_find(&m->wins, &m->cfg_win, e->addr, nb * sizeof(*dw));
		for (unsigned int w = 0; w < nb && differs == nb; w++)
			if (dw == NULL || (e->have & 1 << w && smmuv3_get_dw(&dw[w]) != e->dw[w]))
				differs = w;
		if (differs == nb)
			continue;
		e->reported = true;
		smmuv3_log_add(&m->silent, "%s of SID %u, SSID %u: at a SYNC, word %u is 0x%llx in "
				"the cache and 0x%llx in memory", names[e->kind], e->sid, e->idx,
				differs, (unsigned long long)e->dw[differs],
				dw == NULL ? 0ull :
				(unsigned long long)smmuv3_get_dw(&dw[differs]));
	}
}

/* An access uses an ATC entry. Its ATC_INV may follow: smmuv3_silent_check_atc_end() reports. */
void
smmuv3_silent_note_atc(struct smmuv3_model *m, struct smmuv3_atc_entry *e)
{
	const struct smmuv3_oracle *o = &m->oracle;

	if (e->stale)
		return;
	for (uint64_t seq = o->completed; seq > e->born && seq + SMMUV3_ORACLE_MAX > o->seq; seq--)
		if (smmuv3_oracle_is_done(o, seq) &&
				smmuv3_inv_reaches_atc(&o->inv[seq % SMMUV3_ORACLE_MAX], e))
			e->stale = true;
}

/* No ATC_INV follows for this endpoint. */
void
smmuv3_silent_check_atc_end(struct smmuv3_ep *ep)
{
	for (size_t i = 0; i < sizeof(ep->atc) / sizeof(ep->atc[0]); i++) {
		struct smmuv3_atc_entry *e = &ep->atc[i];

		if (e->gen == ep->atc_gen && e->stale)
			smmuv3_log_add(&ep->m->silent, "SID %u, VA 0x%llx: an ATC entry was used "
					"after the TLBI and SYNC of its page, and no ATC_INV "
					"followed",
					ep->sid, (unsigned long long)(e->vpn << SMMUV3_PAGE_SHIFT));
		e->stale = false;
	}
}
