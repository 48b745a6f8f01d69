/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The ATC of an endpoint: pages of 4 KiB, with and without PASID. An entry stays until an
 * ATC_INV covers it, or until another page takes its place.
 */

#include "model.h"
#include "model_access.h"
#include "model_atc.h"
#include "model_endpoint.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_silent.h"
#include "model_translate.h"

#define SLOW_MS		20	/* SMMUV3_MODEL_HARSH_SLOW_ATC */
#define SLOW_ONE_IN	512	/* with SMMUV3_MODEL_HARSH_RANDOM */

#define ATC_LOOKUPS 64		/* an ATC_INV of fewer pages looks each of them up */

static struct smmuv3_atc_entry *
atc_slot(struct smmuv3_ep *ep, bool ssv, uint32_t ssid, bool priv, uint64_t vpn)
{
	uint64_t pasid = ssv ? (uint64_t)ssid << 1 | 1 : 0;
	uint64_t h = (vpn ^ pasid << 40 ^ (uint64_t)priv << 62) * UINT64_C(0x9e3779b97f4a7c15);

	return &ep->atc[h >> (64 - SMMUV3_ATC_LOG2)];
}

struct smmuv3_atc_entry *
smmuv3_atc_find(struct smmuv3_ep *ep, bool ssv, uint32_t ssid, const struct smmuv3_access *acc)
{
	uint64_t vpn = acc->va >> SMMUV3_PAGE_SHIFT;
	struct smmuv3_atc_entry *e = atc_slot(ep, ssv, ssid, acc->priv, vpn);

	if (e->gen != ep->atc_gen || e->vpn != vpn || e->ssv != ssv || e->ssid != ssid ||
			e->priv != acc->priv)
		return NULL;
	return (acc->write ? e->write : acc->instr ? e->exec : e->read) ? e : NULL;
}

void
smmuv3_atc_insert(struct smmuv3_ep *ep, bool ssv, uint32_t ssid, const struct smmuv3_access *acc,
		const struct smmuv3_page *page)
{
	uint64_t vpn = acc->va >> SMMUV3_PAGE_SHIFT;

	*atc_slot(ep, ssv, ssid, acc->priv, vpn) = (struct smmuv3_atc_entry){
		.vpn = vpn, .pa = page->pa, .checked = ep->m->oracle.seq,
		.born = ep->m->oracle.seq, .gen = ep->atc_gen,
		.ssid = ssid, .ssv = ssv, .priv = acc->priv,
		.space = page->space, .ipa = page->ipa, .s1 = page->s1, .s2 = page->s2,
		.read = page->read, .write = page->write, .exec = page->exec,
	};
}

void
smmuv3_atc_clear(struct smmuv3_ep *ep)
{
	ep->atc_gen++;
}

static bool
is_covered(const struct smmuv3_atc_entry *e, const struct smmuv3_inv *inv)
{
	uint64_t va = e->vpn << SMMUV3_PAGE_SHIFT;

	/* Without SSV only entries of requests without a PASID. */
	return e->ssv == inv->ssv && (!e->ssv || inv->global || e->ssid == inv->ssid) &&
		va >= inv->va && va <= inv->last;
}

void
smmuv3_atc_drop_pages(struct smmuv3_ep *ep, const struct smmuv3_inv *inv)
{
	if (!inv->global && (inv->last - inv->va) >> SMMUV3_PAGE_SHIFT < ATC_LOOKUPS) {
		for (uint64_t vpn = inv->va >> SMMUV3_PAGE_SHIFT;
				vpn <= inv->last >> SMMUV3_PAGE_SHIFT; vpn++)
			for (int priv = 0; priv < 2; priv++) {
				struct smmuv3_atc_entry *e = atc_slot(ep, inv->ssv, inv->ssid,
						priv, vpn);

				if (is_covered(e, inv))
					e->gen = 0;
			}
		return;
	}
	for (size_t i = 0; i < sizeof(ep->atc) / sizeof(ep->atc[0]); i++)
		if (is_covered(&ep->atc[i], inv))
			ep->atc[i].gen = 0;
}

/* The newest TLBI of the entry's page that no completed SYNC covers; 0: none. */
static uint64_t
find_pending_tlbi(const struct smmuv3_oracle *o, const struct smmuv3_atc_entry *e)
{
	uint64_t seq;

	for (seq = o->tlb_seq; seq > o->floor && seq + SMMUV3_ORACLE_MAX > o->seq; seq--)
		if (!smmuv3_oracle_is_done(o, seq) &&
				smmuv3_inv_reaches_atc(&o->inv[seq % SMMUV3_ORACLE_MAX], e))
			return seq;
	return 0;
}

/*
 * If an ATC_INV comes before the SYNC of the TLBI of the same page, the endpoint can get the
 * stale translation again [3.9.1]. This is correct only if another ATC_INV follows the SYNC:
 * the TLBI may be another thread's, whose ATC_INV is still to come.
 */
static void
check_order(struct smmuv3_ep *ep, const struct smmuv3_inv *inv)
{
	const struct smmuv3_oracle *o = &ep->m->oracle;

	if (ep->early_seq != 0 && smmuv3_oracle_is_done(o, ep->early_seq) &&
			is_covered(&ep->early, inv))
		ep->early_seq = 0;
	if (o->tlb_seq <= o->floor)
		return;
	for (size_t i = 0; ep->early_seq == 0 && i < sizeof(ep->atc) / sizeof(ep->atc[0]); i++)
		if (ep->atc[i].gen == ep->atc_gen && is_covered(&ep->atc[i], inv)) {
			ep->early = ep->atc[i];
			ep->early_seq = find_pending_tlbi(o, &ep->early);
		}
}

void
smmuv3_atc_check_end(struct smmuv3_ep *ep)
{
	if (ep->m->harsh & SMMUV3_MODEL_HARSH_REPORT)
		smmuv3_silent_check_atc_end(ep);
	if (ep->early_seq != 0)
		smmuv3_log_add(&ep->m->driver_log, "ATC_INV for SID %u, VA 0x%llx was sent before "
				"the SYNC of its TLBI completed, and no other followed", ep->sid,
				(unsigned long long)(ep->early.vpn << SMMUV3_PAGE_SHIFT));
	ep->early_seq = 0;
}

/* The time in ms until the ATC answers. */
static uint32_t
choose_delay(struct smmuv3_model *m, const struct smmuv3_ep *ep)
{
	if (ep->atc_delay != 0 || !(m->harsh & SMMUV3_MODEL_HARSH_SLOW_ATC))
		return ep->atc_delay;
	if (!(m->harsh & SMMUV3_MODEL_HARSH_RANDOM))
		return SLOW_MS;
	return smmuv3_rand(m) % SLOW_ONE_IN == 0 ? smmuv3_rand(m) % SLOW_MS : 0;
}

/* CMD_ATC_INV [4.5.1] */
void
smmuv3_execute_atc_inv(struct smmuv3_model *m, unsigned int queue, const struct smmuv3_cmd *cmd)
{
	unsigned int size = SMMUV3_GET(SMMUV3_ATC1_SIZE, cmd->dw[1]);
	uint32_t sid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]);
	struct smmuv3_ep *ep = smmuv3_ep_find(m, sid);
	struct smmuv3_inv inv = {
		.kind = SMMUV3_INV_ATC, .queue = (uint16_t)queue, .sid = sid,
		.ssv = cmd->dw[0] & SMMUV3_CMD0_SSV,
		.global = cmd->dw[0] & SMMUV3_ATC0_GLOBAL, .last = UINT64_MAX,
	};
	uint32_t delay;
	uint64_t low;

	/* Ignored while SMMUEN is 0 [6.3.9]. A StreamID without an endpoint answers UR. */
	if (!smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN) || ep == NULL)
		return;
	if (ep->quirks & SMMUV3_MODEL_QUIRK_DEAD_ATC) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_ATC_TIMEOUTS);
		smmuv3_inv_issue_slow(m, &inv, m->atc_timeout_ms, true);
		return;
	}
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_ATC_INVS);
	if (!inv.ssv)
		inv.global = false;	/* no meaning without SSV */
	else if (!inv.global)
		inv.ssid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]);
	if (size < SMMUV3_ATC_SIZE_ALL) {
		low = (UINT64_C(1) << (SMMUV3_PAGE_SHIFT + size)) - 1;
		inv.va = cmd->dw[1] & SMMUV3_ATC1_ADDR & ~low;
		inv.last = inv.va | low;
	}
	if (ep->ats && inv.last - inv.va < (UINT64_C(1) << ep->stu) - 1) {
		smmuv3_log_add(&m->driver_log, "ATC_INV for SID %u covers less than its "
				"smallest translation unit (2^%u bytes)", sid, ep->stu);
		return;
	}
	if (ep->ats)
		check_order(ep, &inv);
	delay = choose_delay(m, ep);
	if (delay != 0)
		smmuv3_inv_issue_slow(m, &inv, delay, false);
	else
		smmuv3_inv_issue(m, &inv);
}
