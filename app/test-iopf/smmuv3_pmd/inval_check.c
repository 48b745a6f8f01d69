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
	uint64_t most = d->nested && inv->leaf_log2 == 0 ? d->max_unknown : d->max_entries;

	if (inv->all || inv->type == IOPF_INV_PASID)
		return true;
	return inv->type != IOPF_INV_DEVICE_TLB && (inv->size - 1) >> get_entry_log2(inv) >= most;
}

/* The opcodes that the request needs, and the ASID that they need; -1: each, or none. */
static void
find_ops(const struct check_domain *d, const struct iopf_inv *inv, unsigned int *one,
		unsigned int *everything, int *asid)
{
	*asid = d->stage2 ? -1 : d->asid;
	*one = d->stage2 ? SMMUV3_OP_TLBI_S2_IPA : SMMUV3_OP_TLBI_NH_VA;
	*everything = d->stage2 ? SMMUV3_OP_TLBI_S12_VMALL : SMMUV3_OP_TLBI_NH_ASID;
	if (!d->nested)
		return;
	*asid = inv->tag;
	/* NH_ASID leaves global entries, which a range of a tag includes. */
	if (inv->type == IOPF_INV_TAG && !inv->all)
		*everything = SMMUV3_OP_TLBI_NH_ALL;
	if (inv->type != IOPF_INV_RANGE)
		return;
	*asid = -1;
	*one = SMMUV3_OP_TLBI_NH_VAA;
	*everything = SMMUV3_OP_TLBI_NH_ALL;
}

/* False: the command is none of these, or another domain's, or spares tables that were removed. */
static bool
decode_tlbi(const struct check_domain *d, const struct smmuv3_cmd *cmd,
		const struct iopf_inv *inv, struct extent *e)
{
	unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]), one, everything;
	unsigned int tg = SMMUV3_GET(SMMUV3_TLBI1_TG, cmd->dw[1]);
	/* Without a range a TLBI removes the entry that has the address. */
	uint64_t size = UINT64_C(1) << get_entry_log2(inv);
	int asid;

	*e = (struct extent){ .last = UINT64_MAX };
	find_ops(d, inv, &one, &everything, &asid);
	if (SMMUV3_GET(SMMUV3_TLBI0_VMID, cmd->dw[0]) != d->vmid)
		return false;
	if (asid >= 0 && op != SMMUV3_OP_TLBI_NH_ALL &&
			SMMUV3_GET(SMMUV3_TLBI0_ASID, cmd->dw[0]) != (unsigned int)asid)
		return false;
	e->everything = op == everything;
	if (e->everything)
		return true;
	if (op != one || (cmd->dw[1] & SMMUV3_TLBI1_LEAF && !inv->leaf_only))
		return false;
	if (tg != SMMUV3_TLBI_TG_NONE)
		size = (SMMUV3_GET(SMMUV3_TLBI0_NUM, cmd->dw[0]) + 1) <<
			SMMUV3_GET(SMMUV3_TLBI0_SCALE, cmd->dw[0]) << (10 + 2 * tg);
	e->first = cmd->dw[1] & SMMUV3_TLBI1_VA;
	e->last = e->first + (size - 1);
	return true;
}

/* The request names one ATC. */
static bool
has_dev(const struct iopf_inv *inv)
{
	return inv->type == IOPF_INV_PASID || inv->type == IOPF_INV_CONFIG ||
		(inv->type == IOPF_INV_DEVICE_TLB && inv->dev != NULL);
}

/* The request needs an ATC_INV for it. */
static bool
needs_atc(const struct check_domain *d, const struct iopf_inv *inv, const struct check_atc *atc)
{
	if (inv->type == IOPF_INV_CONFIG)
		return false;
	if (!has_dev(inv))
		return true;
	if (inv->dev != atc->dev)
		return false;
	return d->nested ? atc->each_pasid == (inv->pasid != IOPF_NO_PASID) :
		atc->pasid == inv->pasid;
}

static bool
decode_atc_inv(const struct check_domain *d, const struct iopf_inv *inv,
		const struct check_atc *atc, const struct smmuv3_cmd *cmd, struct extent *e)
{
	unsigned int size = SMMUV3_GET(SMMUV3_ATC1_SIZE, cmd->dw[1]);
	bool global = atc->each_pasid && !has_dev(inv);
	uint32_t pasid = atc->each_pasid && has_dev(inv) ? inv->pasid : atc->pasid;
	bool ssv = cmd->dw[0] & SMMUV3_CMD0_SSV;

	if (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]) != SMMUV3_OP_ATC_INV ||
			SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) != atc->sid ||
			global != !!(cmd->dw[0] & SMMUV3_ATC0_GLOBAL) ||
			ssv != (global || pasid != IOPF_NO_PASID) ||
			(ssv && !global && SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]) != pasid))
		return false;
	*e = (struct extent){ .last = UINT64_MAX };
	e->everything = d->typed && size == SMMUV3_ATC_SIZE_ALL;
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
	bool whole = inv->all || inv->type == IOPF_INV_PASID;
	uint64_t at = whole ? 0 : inv->addr;
	uint64_t end = whole ? UINT64_MAX : inv->addr + (inv->size - 1);
	unsigned int i = *after, left, synced = *after;

	for (left = t->n - i; left > 0; left--, i = i + 1 < t->n ? i + 1 : *after) {
		const struct traced_cmd *c = &t->cmds[i];
		struct extent e;

		if (c->synced == 0 || !(atc != NULL ? decode_atc_inv(d, inv, atc, &c->cmd, &e) :
				decode_tlbi(d, &c->cmd, inv, &e)))
			continue;
		if (e.everything && !(atc != NULL ? whole : everything))
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

/*
 * Each device that the request means has its CFGI_CD, or a CFGI of all. Then *after is the place
 * behind their last CMD_SYNC.
 */
static bool
is_configured(const struct check_domain *d, const struct iopf_inv *inv, const struct cmd_trace *t,
		unsigned int *after)
{
	uint32_t ssid = inv->pasid != IOPF_NO_PASID ? inv->pasid : 0;
	bool all = inv->type == IOPF_INV_CONFIG && inv->all;

	for (unsigned int k = 0; k < d->nb_devs; k++) {
		unsigned int i;

		if (inv->dev != NULL && inv->dev != d->devs[k].dev)
			continue;
		for (i = 0; i < t->n; i++) {
			const struct traced_cmd *c = &t->cmds[i];
			unsigned int op = SMMUV3_GET(SMMUV3_CMD0_OP, c->cmd.dw[0]);

			if (c->synced != 0 && SMMUV3_GET(SMMUV3_CMD0_SID, c->cmd.dw[0]) ==
					d->devs[k].sid && (all ? op == SMMUV3_OP_CFGI_CD_ALL :
					op == SMMUV3_OP_CFGI_CD && SMMUV3_GET(SMMUV3_CMD0_SSID,
					c->cmd.dw[0]) == ssid))
				break;
		}
		if (i == t->n)
			return false;
		*after = t->cmds[i].synced > *after ? t->cmds[i].synced : *after;
	}
	return true;
}

static bool
is_tlb_done(const struct check_domain *d, const struct iopf_inv *inv, const struct cmd_trace *t,
		unsigned int *after)
{
	bool config = inv->type == IOPF_INV_CONFIG ||
		(inv->type == IOPF_INV_PASID && d->nested);

	if (config && !is_configured(d, inv, t, after))
		return false;
	if (inv->type == IOPF_INV_CONFIG || inv->type == IOPF_INV_DEVICE_TLB)
		return true;
	return is_covered(d, inv, t, NULL, after);
}

struct check_result
check_array(const struct check_domain *d, const struct iopf_inv *inv, unsigned int n,
		const struct cmd_trace *t)
{
	struct check_result r = { .first = 0 };

	for (; r.first < n; r.first++) {
		unsigned int after = 0;

		r.tlb = !is_tlb_done(d, &inv[r.first], t, &after);
		for (unsigned int k = 0; k < d->nb_atcs && !r.tlb; k++) {
			unsigned int from = after;

			if (needs_atc(d, &inv[r.first], &d->atcs[k]) &&
					!is_covered(d, &inv[r.first], t, &d->atcs[k], &from))
				r.missing |= UINT32_C(1) << k;
		}
		if (r.tlb || r.missing != 0)
			break;
	}
	return r;
}
