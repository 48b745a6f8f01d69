/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Endpoints: PCIe functions with an ATC. The engines of one StreamID form an endpoint. The ATC
 * translates an access, or a Translation Request does. If the page is not mapped, the
 * endpoint starts a page request group (prg.c).
 */

#include <errno.h>
#include <stdlib.h>

#include "model.h"
#include "model_access.h"
#include "model_atc.h"
#include "model_ats.h"
#include "model_dma.h"
#include "model_endpoint.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_prg.h"
#include "model_silent.h"
#include "model_slot.h"
#include "model_translate.h"

static struct smmuv3_ep **
ep_bucket(struct smmuv3_model *m, uint32_t sid)
{
	return &m->ep[sid % SMMUV3_EP_BUCKETS];
}

struct smmuv3_ep *
smmuv3_ep_find(struct smmuv3_model *m, uint32_t sid)
{
	struct smmuv3_ep *ep = *ep_bucket(m, sid);

	while (ep != NULL && ep->sid != sid)
		ep = ep->next;
	return ep;
}

static void
ep_free(struct smmuv3_ep *ep)
{
	smmuv3_prgs_free_all(ep);
	free(ep);
}

void
smmuv3_ep_free_all(struct smmuv3_model *m)
{
	for (unsigned int i = 0; i < SMMUV3_EP_BUCKETS; i++)
		while (m->ep[i] != NULL) {
			struct smmuv3_ep *next = m->ep[i]->next;

			ep_free(m->ep[i]);
			m->ep[i] = next;
		}
}

/* Join and leave run with stepping excluded. */
int
smmuv3_ep_join(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_dma_conf *conf = &dma->conf;
	struct smmuv3_model *m = dma->m;
	struct smmuv3_ep *ep = smmuv3_ep_find(m, conf->sid), **bucket = ep_bucket(m, conf->sid);
	unsigned int nb_prgs = conf->prg_indices == 0 ? SMMUV3_PRG_MAX : conf->prg_indices;

	if (!conf->has_ssid)
		conf->ssid = 0;
	if (conf->group_pages == 0)
		conf->group_pages = 1;
	if (ep != NULL && (ep->nb_prgs != nb_prgs || ep->prg_pasid != conf->prg_pasid))
		return EINVAL;
	if (ep == NULL) {
		ep = calloc(1, sizeof(*ep));
		if (ep == NULL)
			return ENOMEM;
		ep->m = m;
		ep->sid = conf->sid;
		ep->nb_prgs = nb_prgs;
		ep->prg_pasid = conf->prg_pasid;
		ep->waiting.last = &ep->waiting.first;
		ep->atc_gen = 1;
		ep->next = *bucket;
		*bucket = ep;
	}
	dma->prgs = smmuv3_prgs_get(ep, conf);
	if (dma->prgs == NULL && ep->refs == 0) {
		*bucket = ep->next;
		ep_free(ep);
	}
	if (dma->prgs == NULL)
		return ENOMEM;
	ep->refs++;
	dma->ep = ep;
	return 0;
}

void
smmuv3_ep_leave(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model *m = dma->m;
	struct smmuv3_ep *ep = dma->ep, **link = ep_bucket(m, ep->sid);

	if (--ep->refs != 0)
		return;
	smmuv3_atc_check_end(ep);
	if (ep->started != ep->ended)
		smmuv3_log_add(&m->oracle.log, "SID %u: %llu page request groups started, %llu "
				"answered", ep->sid, (unsigned long long)ep->started,
				(unsigned long long)ep->ended);
	while (*link != ep)
		link = &(*link)->next;
	*link = ep->next;
	ep_free(ep);
}

static enum smmuv3_result
translate_access(struct smmuv3_model *m, struct smmuv3_slot *s, struct smmuv3_access *acc,
		struct smmuv3_target *to, struct smmuv3_fault *fault)
{
	const struct smmuv3_model_dma_conf *client = &s->dma->conf;
	struct smmuv3_ep *ep = s->dma->ep;
	struct smmuv3_atc_entry *e;
	struct smmuv3_page page;
	enum smmuv3_result r;

	*fault = (struct smmuv3_fault){ 0 };
	if (s->reset) {
		s->reset = false;
		return SMMUV3_FAULT;
	}
	if (s->group != NULL) {
		smmuv3_prg_send_next(m, s);
		return SMMUV3_WAIT;
	}
	s->state = SMMUV3_SLOT_READY;
	if (!ep->ats)
		return smmuv3_translate(m, s->dma, acc, to, fault);
	/* Requests without a PASID have neither. */
	acc->priv &= client->has_ssid;
	acc->instr &= client->has_ssid;
	e = smmuv3_atc_find(ep, client->has_ssid, client->ssid, acc);
	if (e != NULL) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_ATC_HITS);
		smmuv3_oracle_check_atc(&m->oracle, e, ep->sid, acc->va);
		if (m->harsh & SMMUV3_MODEL_HARSH_REPORT)
			smmuv3_silent_note_atc(m, e);
		page.pa = e->pa;
	} else {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_ATS_REQUESTS);
		r = smmuv3_ats_request(m, s->dma, acc, &page, fault);
		s->fault.desc = fault->desc;
		s->desc_gen = m->wins.gen;
		*fault = (struct smmuv3_fault){ 0 };
		if (r != SMMUV3_OK)
			return r;
		if (page.read || page.write)
			smmuv3_atc_insert(ep, client->has_ssid, client->ssid, acc, &page);
		if (!(acc->write ? page.write : acc->instr ? page.exec : page.read))
			return smmuv3_prg_request(m, s, acc);
	}
	to->host = NULL;
	to->bypass = false;
	to->pa = page.pa + (acc->va & SMMUV3_BITS(SMMUV3_PAGE_SHIFT - 1, 0));
	return smmuv3_ats_check_translated(m, s->dma, acc->write, to);
}

enum smmuv3_result
smmuv3_ep_access(struct smmuv3_model *m, struct smmuv3_slot *s, struct smmuv3_access *acc,
		struct smmuv3_target *to, struct smmuv3_fault *fault)
{
	enum smmuv3_result r = translate_access(m, s, acc, to, fault);

	if (s->woken && r != SMMUV3_BUSY) {
		s->woken = false;
		/* Its page is mapped now: it needs no index and no credit. */
		if (s->state != SMMUV3_SLOT_REQUESTING)
			smmuv3_prg_wake_next(m, s->dma);
	}
	return r;
}

/*
 * Operations of the device's driver.
 */
int
smmuv3_model_dma_ats_enable(struct smmuv3_model_dma *dma, unsigned int stu)
{
	struct smmuv3_ep *ep = dma != NULL ? dma->ep : NULL;
	int ret = 0;

	if (stu == 0)
		stu = SMMUV3_PAGE_SHIFT;
	if (ep == NULL || stu < SMMUV3_PAGE_SHIFT || stu > 30)
		return -EINVAL;
	smmuv3_ctl_enter(dma->m);
	if (ep->ats) {
		ret = -EBUSY;
	} else {
		smmuv3_atc_clear(ep);
		ep->stu = (uint8_t)stu;
		ep->ats = true;
	}
	smmuv3_ctl_leave(dma->m);
	return ret;
}

int
smmuv3_model_dma_ats_disable(struct smmuv3_model_dma *dma)
{
	struct smmuv3_ep *ep = dma != NULL ? dma->ep : NULL;
	int ret = -EINVAL;

	if (ep == NULL)
		return ret;
	smmuv3_ctl_enter(dma->m);
	if (ep->ats) {
		if (ep->pri || ep->nb_open != 0)
			smmuv3_log_add(&dma->m->driver_log, "ATS of SID %u was disabled while its "
					"PRI is %s", ep->sid, ep->pri ? "on" : "not drained");
		smmuv3_atc_check_end(ep);
		ep->ats = false;
		ret = 0;
	}
	smmuv3_ctl_leave(dma->m);
	return ret;
}

void
smmuv3_model_dma_atc_delay(struct smmuv3_model_dma *dma, uint32_t ms)
{
	if (dma == NULL || dma->ep == NULL)
		return;
	smmuv3_ctl_enter(dma->m);
	dma->ep->atc_delay = ms;
	smmuv3_ctl_leave(dma->m);
}

void
smmuv3_model_dma_quirks(struct smmuv3_model_dma *dma, uint32_t quirks, uint32_t one_in)
{
	if (dma == NULL || dma->ep == NULL)
		return;
	smmuv3_ctl_enter(dma->m);
	dma->ep->quirks = quirks;
	dma->ep->one_in = one_in;
	smmuv3_ctl_leave(dma->m);
}

void
smmuv3_model_dma_reset(struct smmuv3_model_dma *dma)
{
	struct smmuv3_ep *ep = dma != NULL ? dma->ep : NULL;
	struct smmuv3_model *m;

	if (ep == NULL)
		return;
	m = dma->m;
	smmuv3_ctl_enter(m);
	for (unsigned int i = 0; i < ep->nb_open; i++)
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_FORGOTTEN);
	smmuv3_prg_wake_all(m, ep);
	for (struct smmuv3_model_dma *d = m->all; d != NULL; d = d->all_next)
		if (d->ep == ep)
			smmuv3_prg_reset_slots(m, d);
	smmuv3_prg_end_all(m, ep);
	smmuv3_atc_clear(ep);
	ep->early_seq = 0;
	ep->ats = ep->pri = ep->failed = false;
	smmuv3_ctl_leave(m);
}
