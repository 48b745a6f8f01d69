/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * PRI at the SMMU [3.5.3, 4.5.2, 8]. A page request is written to the PRIQ, or discarded; the
 * SMMU answers some of the discarded ones. PRI_RESP is checked: software owes one for each
 * record with Last.
 */

#include "model.h"
#include "model_access.h"
#include "model_endpoint.h"
#include "model_evtq.h"
#include "model_log.h"
#include "model_prg.h"
#include "model_pri.h"
#include "model_priq.h"
#include "model_slot.h"
#include "model_ste.h"
#include "model_transact.h"

static bool
has_pasid_in_response(const struct smmuv3_model *m, const struct smmuv3_ep *ep,
		const struct smmuv3_group *g)
{
	return g->ssv && (ep->prg_pasid || m->features & SMMUV3_MODEL_PPS);
}

/* An automatic response. If Last was sent twice, the group may be answered already. */
static void
respond_automatically(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		unsigned int code)
{
	if (!g->open)
		return;
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS);
	g->responded = false;
	smmuv3_prg_answer(m, ep, g, code);
}

/* The automatic response to a request with Last that an overflow discards [3.5.3, 8.3]. */
static void
respond_overflow(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g)
{
	bool pasid = false;
	struct smmuv3_fault fault;

	if (m->ssid_bits != 0 && g->ssv) {
		if (m->features & SMMUV3_MODEL_PPS) {
			pasid = true;
		} else if (!smmuv3_ste_ppar(m, ep->sid, &pasid, &fault)) {
			struct smmuv3_model_dma_conf client = { .sid = ep->sid,
				.has_ssid = g->ssv, .ssid = g->ssid };
			struct smmuv3_evt evt;

			if (fault.id != 0 && m->fe.val[SMMUV3_FE_CR2] & SMMUV3_CR2_REC_CFG_ATS) {
				smmuv3_evt_make(&client, NULL, &fault, &evt);
				smmuv3_fe_evt_report(&m->fe, &evt);
			}
			respond_automatically(m, ep, g, SMMUV3_PRI_RESP_FAILURE);
			return;
		}
		if (pasid != has_pasid_in_response(m, ep, g))
			smmuv3_log_add(&m->driver_log, "SID %u: the SMMU sent an automatic "
					"response %s PASID, but the endpoint expects the other "
					"form: check STE.PPAR", ep->sid,
					pasid ? "with" : "without");
	}
	respond_automatically(m, ep, g, SMMUV3_PRI_RESP_SUCCESS);
}

void
smmuv3_pri_send(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		const struct smmuv3_ppr *ppr)
{
	bool last = ppr->dw[0] & SMMUV3_PPR0_LAST;

	switch (smmuv3_fe_ppr_put(&m->fe, ppr)) {
	case SMMUV3_FE_PPR_PUT:
		if (!last)
			return;
		g->last_nb = m->fe.nb_pprs;
		if (g->owed++ == 0)
			g->first_nb = g->last_nb;
		if (g->slot == NULL)
			return;
		m->pri_unshown[m->nb_pri_unshown++] = g->slot;
		if (m->nb_pri_unshown == 2 * SMMUV3_BATCH)
			smmuv3_fe_priq_publish(&m->fe);
		return;
	case SMMUV3_FE_PPR_OVERFLOW:
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PPRS_LOST);
		if (last)
			respond_overflow(m, ep, g);
		return;
	case SMMUV3_FE_PPR_LOST:
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PPRS_LOST);
		return;
	default:
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PPRS_LOST);
		if (last || m->choices & SMMUV3_MODEL_FAIL_EACH_PPR)
			respond_automatically(m, ep, g, SMMUV3_PRI_RESP_FAILURE);
		return;
	}
}

void
smmuv3_pri_publish(struct smmuv3_model *m)
{
	uint64_t now;

	if (m->nb_pri_unshown == 0)
		return;
	now = smmuv3_model_cycles();
	for (unsigned int i = 0; i < m->nb_pri_unshown; i++)
		m->pri_unshown[i]->done.t_event = now;
	m->nb_pri_unshown = 0;
}

struct response {
	uint32_t sid, ssid;
	uint16_t idx;
	uint8_t code;
	bool ssv;
};

static void
report_mistake(struct smmuv3_model *m, const struct response *r, const char *what)
{
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_RESPS_STALE);
	smmuv3_log_add(&m->driver_log, "PRI_RESP for SID %u%s PRG %u %s", r->sid,
			r->ssv ? " with PASID," : ",", r->idx, what);
}

static bool
has_right_form(const struct smmuv3_model *m, const struct smmuv3_ep *ep,
		const struct smmuv3_group *g, const struct response *r)
{
	return r->ssv == has_pasid_in_response(m, ep, g) && (!r->ssv || r->ssid == g->ssid);
}

/* No record waits for this answer: report the reason. */
static void
report_not_owed(struct smmuv3_model *m, const struct smmuv3_ep *ep, const struct smmuv3_group *g,
		const struct response *r)
{
	const struct smmuv3_prgs *p;

	for (p = ep->prgs; p != NULL; p = p->next)
		if (p->group[r->idx].open && !has_right_form(m, ep, &p->group[r->idx], r)) {
			report_mistake(m, r, "has the wrong PASID form for this endpoint");
			return;
		}
	if (g != NULL && g->open)
		report_mistake(m, r, "was sent before the group's Last");
	else if (g != NULL && g->responded)
		report_mistake(m, r, "was sent twice");
	else
		report_mistake(m, r, "names a group that is not outstanding");
}

/* The group that a PRI_RESP names, or NULL. */
static struct smmuv3_group *
group_find(struct smmuv3_ep *ep, const struct response *r)
{
	struct smmuv3_prgs *p;

	for (p = ep->prgs; p != NULL; p = p->next)
		if (!ep->prg_pasid || (p->ssv == r->ssv && (!r->ssv || p->ssid == r->ssid)))
			return &p->group[r->idx];
	return NULL;
}

/* CMD_PRI_RESP [4.5.2] */
void
smmuv3_execute_pri_resp(struct smmuv3_model *m, const struct smmuv3_cmd *cmd)
{
	struct response r = {
		.sid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]),
		.ssv = cmd->dw[0] & SMMUV3_CMD0_SSV,
		.ssid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]),
		.idx = (uint16_t)SMMUV3_GET(SMMUV3_PRI1_PRGINDEX, cmd->dw[1]),
		.code = (uint8_t)SMMUV3_GET(SMMUV3_PRI1_RESP, cmd->dw[1]),
	};
	struct smmuv3_ep *ep = smmuv3_ep_find(m, r.sid);
	struct smmuv3_group *g;

	/* Ignored while SMMUEN is 0 [6.3.9]. */
	if (!smmuv3_fe_is_on(&m->fe, SMMUV3_CR0_SMMUEN)) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_RESPS_STALE);
		return;
	}
	if (ep == NULL) {
		report_mistake(m, &r, "names an endpoint that does not exist");
		return;
	}
	g = group_find(ep, &r);
	if (g == NULL || !has_right_form(m, ep, g, &r) || (g->owed == 0 &&
			!(g->open && g->sent == g->nb))) {
		report_not_owed(m, ep, g, &r);
		return;
	}
	/* Read the clock before PRIQ_CONS, whose load is no part of the time of the answer. */
	if (m->now == 0)
		m->now = smmuv3_model_cycles();
	if (g->owed != 0) {
		if (g->first_nb != 0 && !smmuv3_fe_is_ppr_freed(&m->fe, g->first_nb))
			smmuv3_log_add(&m->driver_log, "PRI_RESP for SID %u, PRG %u was sent "
					"before PRIQ_CONS passed its request", r.sid, r.idx);
		g->owed--;
		g->first_nb = g->owed == 1 ? g->last_nb : 0;
	}
	if (!g->open || g->sent != g->nb) {
		/* The second answer to a Last that was sent twice. */
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_RESPS_STALE);
		return;
	}
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_RESPS);
	if (g->slot != NULL) {
		g->slot->done.t_resume = m->now;
		/* As with RESUME: software has just written the descriptor. */
		__builtin_prefetch(g->slot->fault.desc);
	}
	g->responded = true;
	smmuv3_prg_answer(m, ep, g, r.code);
}
