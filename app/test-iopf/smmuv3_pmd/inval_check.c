/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <iopf.h>

#include "inval_check.h"
#include "smmuv3_spec.h"

#define GRANULE_LOG2 12

/* What a command invalidates. */
struct extent {
	uint64_t first, last;
	bool everything;
};

/* log2 of the size of the entries that changed. */
static unsigned int
get_entry_log2(const struct iopf_inv *inv)
{
	return inv->leaf_only && inv->leaf_log2 > GRANULE_LOG2 ? inv->leaf_log2 : GRANULE_LOG2;
}

bool
check_is_everything(const struct check_domain *d, const struct iopf_inv *inv)
{
	return inv->all || (inv->size - 1) >> get_entry_log2(inv) >= d->max_entries;
}

/* False: the command is none of these, or another domain's, or spares tables that were removed. */
static bool
decode_tlbi(const struct check_domain *d, const struct smmuv3_cmd *cmd,
		const struct iopf_inv *inv, struct extent *e)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);
	unsigned int tg = SMMUV3_GET(SMMUV3_TLBI1_TG, cmd->dw[1]);
	/* Without a range a TLBI removes the entry that has the address. */
	uint64_t size = UINT64_C(1) << get_entry_log2(inv);

	*e = (struct extent){ .last = UINT64_MAX };
	if (SMMUV3_GET(SMMUV3_TLBI0_VMID, cmd->dw[0]) != d->vmid)
		return false;
	if (!d->stage2 && SMMUV3_GET(SMMUV3_TLBI0_ASID, cmd->dw[0]) != d->asid)
		return false;
	e->everything = op == (d->stage2 ? SMMUV3_OP_TLBI_S12_VMALL : SMMUV3_OP_TLBI_NH_ASID);
	if (e->everything)
		return true;
	if (op != (d->stage2 ? SMMUV3_OP_TLBI_S2_IPA : SMMUV3_OP_TLBI_NH_VA) ||
			(cmd->dw[1] & SMMUV3_TLBI1_LEAF && !inv->leaf_only))
		return false;
	if (tg != SMMUV3_TLBI_TG_NONE)
		size = (SMMUV3_GET(SMMUV3_TLBI0_NUM, cmd->dw[0]) + 1) <<
			SMMUV3_GET(SMMUV3_TLBI0_SCALE, cmd->dw[0]) << (10 + 2 * tg);
	e->first = cmd->dw[1] & SMMUV3_TLBI1_VA;
	e->last = e->first + (size - 1);
	return true;
}

static bool
decode_atc_inv(const struct check_atc *atc, const struct smmuv3_cmd *cmd, struct extent *e)
{
	unsigned int size = SMMUV3_GET(SMMUV3_ATC1_SIZE, cmd->dw[1]);
	bool ssv = cmd->dw[0] & SMMUV3_CMD0_SSV;

	if (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]) != SMMUV3_OP_ATC_INV ||
			SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) != atc->sid ||
			ssv != (atc->pasid != IOPF_NO_PASID) ||
			(ssv && SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]) != atc->pasid))
		return false;
	*e = (struct extent){ .last = UINT64_MAX };
	if (size < SMMUV3_ATC_SIZE_ALL) {
		uint64_t low = (UINT64_C(1) << (12 + size)) - 1;

		e->first = cmd->dw[1] & SMMUV3_ATC1_ADDR & ~low;
		e->last = e->first | low;
	}
	return true;
}

/*
 * Walk over the request: each step is a command, executed at *after or later, that contains the
 * next address. Then *after is the place behind the last CMD_SYNC. @p atc NULL: TLBIs.
 */
static bool
is_covered(const struct check_domain *d, const struct iopf_inv *inv, const struct cmd_trace *t,
		const struct check_atc *atc, unsigned int *after)
{
	bool everything = check_is_everything(d, inv);
	uint64_t at = inv->all ? 0 : inv->addr;
	uint64_t end = inv->all ? UINT64_MAX : inv->addr + (inv->size - 1);
	unsigned int i = *after, left, synced = *after;

	for (left = t->n - i; left > 0; left--, i = i + 1 < t->n ? i + 1 : *after) {
		const struct traced_cmd *c = &t->cmds[i];
		struct extent e;

		if (c->synced == 0 || !(atc != NULL ? decode_atc_inv(atc, &c->cmd, &e) :
				decode_tlbi(d, &c->cmd, inv, &e)))
			continue;
		if (atc == NULL && e.everything && !everything)
			continue;
		if (e.first > at || e.last < at)
			continue;
		synced = c->synced > synced ? c->synced : synced;
		if (e.last >= end) {
			*after = synced;
			return true;
		}
		at = e.last + 1;
		left = t->n - *after + 1;
	}
	return false;
}

struct check_result
check_array(const struct check_domain *d, const struct iopf_inv *inv, unsigned int n,
		const struct cmd_trace *t)
{
	struct check_result r = { .first = 0 };

	for (; r.first < n; r.first++) {
		unsigned int after = 0;

		r.tlb = !is_covered(d, &inv[r.first], t, NULL, &after);
		for (unsigned int k = 0; k < d->nb_atcs && !r.tlb; k++) {
			unsigned int from = after;

			if (!is_covered(d, &inv[r.first], t, &d->atcs[k], &from))
				r.missing |= UINT32_C(1) << k;
		}
		if (r.tlb || r.missing != 0)
			break;
	}
	return r;
}
