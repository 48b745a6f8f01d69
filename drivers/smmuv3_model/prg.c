/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page request groups (PRG) of an endpoint, with their PRG indices and credits. A slot
 *
 *	waits for an index or a credit -> sends its requests, one in each run -> waits for
 *	the answer -> translates again, or aborts
 *
 * The end of a group returns its index and its credits and wakes slots that wait for them. A
 * woken slot that needs neither any more wakes the next. While a slot waits, a group is
 * outstanding that will return an index or a credit.
 */

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "model.h"
#include "model_access.h"
#include "model_dma.h"
#include "model_endpoint.h"
#include "model_log.h"
#include "model_prg.h"
#include "model_pri.h"
#include "model_priq.h"
#include "model_slot.h"
#include "model_transact.h"

void
smmuv3_prgs_free_all(struct smmuv3_ep *ep)
{
	while (ep->prgs != NULL) {
		struct smmuv3_prgs *next = ep->prgs->next;

		free(ep->prgs);
		ep->prgs = next;
	}
}

struct smmuv3_prgs *
smmuv3_prgs_get(struct smmuv3_ep *ep, const struct smmuv3_model_dma_conf *client)
{
	struct smmuv3_prgs *p = ep->prgs;

	while (p != NULL && ep->prg_pasid &&
			(p->ssv != client->has_ssid || p->ssid != client->ssid))
		p = p->next;
	if (p != NULL)
		return p;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return NULL;
	p->ssv = client->has_ssid;
	p->ssid = client->ssid;
	p->waiting.last = &p->waiting.first;
	p->nb_free = ep->nb_prgs;
	for (unsigned int i = 0; i < SMMUV3_PRG_MAX; i++) {
		p->fifo[i] = (uint16_t)i;
		p->group[i].idx = (uint16_t)i;
	}
	p->next = ep->prgs;
	ep->prgs = p;
	return p;
}

/* Let up to @p n waiting slots try again. */
static void
wake_slots(struct smmuv3_model *m, struct smmuv3_list *waiting, unsigned int n)
{
	struct smmuv3_slot *s;

	while (n-- > 0 && (s = smmuv3_list_take(waiting)) != NULL) {
		s->state = SMMUV3_SLOT_READY;
		s->woken = true;
		smmuv3_ready_add(m, s);
	}
}

void
smmuv3_prg_wake_all(struct smmuv3_model *m, struct smmuv3_ep *ep)
{
	wake_slots(m, &ep->waiting, UINT32_MAX);
	for (struct smmuv3_prgs *p = ep->prgs; p != NULL; p = p->next)
		wake_slots(m, &p->waiting, UINT32_MAX);
}

void
smmuv3_prg_wake_next(struct smmuv3_model *m, struct smmuv3_model_dma *dma)
{
	wake_slots(m, &dma->prgs->waiting, 1);
	wake_slots(m, &dma->ep->waiting, 1);
}

/* The PRG indices that the index of a group belongs to. */
static struct smmuv3_prgs *
prgs_of_group(const struct smmuv3_group *g)
{
	return (struct smmuv3_prgs *)(uintptr_t)((const uint8_t *)(g - g->idx) -
			offsetof(struct smmuv3_prgs, group));
}

/* End a group: its index and its credits are free again. */
static void
group_end(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g)
{
	struct smmuv3_prgs *p = prgs_of_group(g);

	if (!g->open) {
		smmuv3_log_add(&m->oracle.log, "SID %u: PRG %u was answered twice", ep->sid,
				g->idx);
		return;
	}
	g->open = false;
	if (g->slot != NULL)
		g->slot->group = NULL;
	g->slot = NULL;
	ep->ended++;
	ep->nb_open--;
	ep->used -= g->nb;
	p->fifo[(p->head + p->nb_free++) % ep->nb_prgs] = g->idx;
	wake_slots(m, &p->waiting, 1);
	wake_slots(m, &ep->waiting, g->nb);
}

void
smmuv3_prg_answer(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		unsigned int code)
{
	struct smmuv3_slot *s = g->slot;

	group_end(m, ep, g);
	if (code == SMMUV3_PRI_RESP_FAILURE) {
		ep->failed = true;
		smmuv3_prg_wake_all(m, ep);
	}
	if (s == NULL)
		return;
	s->state = SMMUV3_SLOT_READY;
	if (code == SMMUV3_PRI_RESP_SUCCESS)
		smmuv3_ready_add(m, s);
	else
		smmuv3_slot_end(m, s, SMMUV3_MODEL_ABORTED);
}

static struct smmuv3_group *
group_start(struct smmuv3_model *m, struct smmuv3_model_dma *dma, unsigned int pages)
{
	struct smmuv3_prgs *p = dma->prgs;
	struct smmuv3_ep *ep = dma->ep;
	struct smmuv3_group *g = &p->group[p->fifo[p->head]];

	p->head = (p->head + 1) % ep->nb_prgs;
	p->nb_free--;
	g->slot = NULL;
	g->open = true;
	g->nb = (uint16_t)pages;
	g->sent = 0;
	g->ssv = dma->conf.has_ssid;
	g->ssid = dma->conf.ssid;
	ep->used += pages;
	ep->nb_open++;
	ep->started++;
	smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_GROUPS);
	return g;
}

static uint32_t
count_credits(const struct smmuv3_ep *ep)
{
	if (ep->quirks & SMMUV3_MODEL_QUIRK_CREDITS)
		return SMMUV3_PRG_MAX;
	return ep->allowed > ep->used ? ep->allowed - ep->used : 0;
}

static bool
is_quirk_due(struct smmuv3_model *m, const struct smmuv3_ep *ep, uint32_t which)
{
	return ep->quirks & which && (ep->one_in <= 1 || smmuv3_rand(m) % ep->one_in == 0);
}

static struct smmuv3_ppr
ppr_make(const struct smmuv3_ep *ep, const struct smmuv3_group *g, bool last)
{
	return (struct smmuv3_ppr){ .dw = {
		SMMUV3_PUT(SMMUV3_PPR0_SID, ep->sid) | SMMUV3_PUT(SMMUV3_PPR0_SSV, g->ssv) |
		SMMUV3_PUT(SMMUV3_PPR0_SSID, g->ssid) | SMMUV3_PUT(SMMUV3_PPR0_PRIV, g->priv) |
		SMMUV3_PUT(SMMUV3_PPR0_X, g->instr) | SMMUV3_PUT(SMMUV3_PPR0_R, g->read) |
		SMMUV3_PUT(SMMUV3_PPR0_W, g->write) | SMMUV3_PUT(SMMUV3_PPR0_LAST, last),
		SMMUV3_PUT(SMMUV3_PPR1_PRGINDEX, g->idx) |
		(g->va + ((uint64_t)g->sent << SMMUV3_PAGE_SHIFT)) } };
}

/* Send the next request of a group. An automatic response may end the group inside. */
void
smmuv3_prg_send_next(struct smmuv3_model *m, struct smmuv3_slot *s)
{
	struct smmuv3_ep *ep = s->dma->ep;
	struct smmuv3_group *g = s->group;
	bool last = g->sent + 1 == g->nb;
	struct smmuv3_ppr ppr = ppr_make(ep, g, last);

	g->sent++;
	if (!last || !is_quirk_due(m, ep, SMMUV3_MODEL_QUIRK_LOSE_LAST))
		smmuv3_pri_send(m, ep, g, &ppr);
	if (last && is_quirk_due(m, ep, SMMUV3_MODEL_QUIRK_DUP_LAST))
		smmuv3_pri_send(m, ep, g, &ppr);
	if (g->open && !last)
		smmuv3_ready_add(m, s);
}

/* Request the page of an access and, with group_pages, the following pages of the DMA. */
enum smmuv3_result
smmuv3_prg_request(struct smmuv3_model *m, struct smmuv3_slot *s, const struct smmuv3_access *acc)
{
	uint64_t first = acc->va >> SMMUV3_PAGE_SHIFT;
	uint64_t end = acc->va + (s->op.len - s->off) - 1;
	uint64_t pages = (end >> SMMUV3_PAGE_SHIFT) - first + 1;
	struct smmuv3_model_dma *dma = s->dma;
	struct smmuv3_ep *ep = dma->ep;
	struct smmuv3_group *g;

	if (!ep->pri || ep->failed)
		return SMMUV3_FAULT;
	s->state = SMMUV3_SLOT_REQUESTING;
	if (count_credits(ep) == 0 || dma->prgs->nb_free == 0) {
		smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PRI_WAITS);
		smmuv3_list_add(count_credits(ep) == 0 ? &ep->waiting : &dma->prgs->waiting, s);
		return SMMUV3_WAIT;
	}
	if (pages > dma->conf.group_pages)
		pages = dma->conf.group_pages;
	if (pages > count_credits(ep))
		pages = count_credits(ep);
	g = group_start(m, dma, (unsigned int)pages);
	g->slot = s;
	g->va = first << SMMUV3_PAGE_SHIFT;
	g->read = !acc->write;
	g->write = acc->write;
	g->priv = acc->priv;
	g->instr = acc->instr;
	s->group = g;
	s->done.nb_groups++;
	smmuv3_prg_send_next(m, s);
	return SMMUV3_WAIT;
}

/*
 * Operations of the device's driver.
 */
int
smmuv3_model_dma_pri_enable(struct smmuv3_model_dma *dma, uint32_t n)
{
	struct smmuv3_ep *ep = dma != NULL ? dma->ep : NULL;
	int ret = 0;

	if (ep == NULL || n == 0 || !(dma->m->features & SMMUV3_MODEL_PRI))
		return -EINVAL;
	smmuv3_ctl_enter(dma->m);
	if (!ep->ats) {
		ret = -EINVAL;
	} else if (ep->pri || ep->nb_open != 0) {
		ret = -EBUSY;
	} else {
		ep->allowed = n;
		ep->failed = false;
		ep->pri = true;
	}
	smmuv3_ctl_leave(dma->m);
	return ret;
}

int
smmuv3_model_dma_pri_disable(struct smmuv3_model_dma *dma)
{
	struct smmuv3_ep *ep = dma != NULL ? dma->ep : NULL;
	int ret = -EINVAL;

	if (ep == NULL)
		return ret;
	smmuv3_ctl_enter(dma->m);
	if (ep->pri) {
		ep->pri = false;
		smmuv3_prg_wake_all(dma->m, ep);
		ret = 0;
	}
	smmuv3_ctl_leave(dma->m);
	return ret;
}

/* The functions below only read, but they take the lock, which is not const. */
static struct smmuv3_model *
model_of(const struct smmuv3_model_dma *dma)
{
	return dma->m;
}

bool
smmuv3_model_dma_pri_drained(const struct smmuv3_model_dma *dma)
{
	bool drained;

	if (dma == NULL || dma->ep == NULL)
		return true;
	smmuv3_ctl_enter(model_of(dma));
	drained = !dma->ep->pri && dma->ep->nb_open == 0;
	smmuv3_ctl_leave(model_of(dma));
	return drained;
}

bool
smmuv3_model_dma_pri_failed(const struct smmuv3_model_dma *dma)
{
	bool failed;

	if (dma == NULL || dma->ep == NULL)
		return false;
	smmuv3_ctl_enter(model_of(dma));
	failed = dma->ep->failed;
	smmuv3_ctl_leave(model_of(dma));
	return failed;
}

uint32_t
smmuv3_model_dma_pri_outstanding(const struct smmuv3_model_dma *dma)
{
	uint32_t used;

	if (dma == NULL || dma->ep == NULL)
		return 0;
	smmuv3_ctl_enter(model_of(dma));
	used = dma->ep->used;
	smmuv3_ctl_leave(model_of(dma));
	return used;
}

/* Is a group of this PASID not sent completely? */
static bool
is_pasid_sending(const struct smmuv3_model_dma *dma)
{
	for (unsigned int i = 0; i < dma->ep->nb_prgs; i++) {
		const struct smmuv3_group *g = &dma->prgs->group[i];

		if (g->open && g->sent != g->nb && g->ssv == dma->conf.has_ssid &&
				g->ssid == dma->conf.ssid)
			return true;
	}
	return false;
}

static int
send_stop_marker(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model *m = dma->m;
	struct smmuv3_ep *ep = dma->ep;
	struct smmuv3_group marker = { .ssv = true, .ssid = dma->conf.ssid }, *g;
	struct smmuv3_ppr ppr;

	if (!ep->pri || ep->failed)
		return -EINVAL;
	if (is_pasid_sending(dma))
		return -EAGAIN;
	if (dma->conf.has_ssid) {
		ppr = ppr_make(ep, &marker, true);
		/* A stop marker gets no answer, also if it is lost [8.1]. */
		if (smmuv3_fe_ppr_put(&m->fe, &ppr) != SMMUV3_FE_PPR_PUT)
			smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_PPRS_LOST);
	} else {
		if (count_credits(ep) == 0 || dma->prgs->nb_free == 0)
			return -EAGAIN;
		g = group_start(m, dma, 1);
		g->va = 0;
		g->read = g->write = g->priv = g->instr = false;
		ppr = ppr_make(ep, g, true);
		g->sent = 1;
		smmuv3_pri_send(m, ep, g, &ppr);
	}
	smmuv3_fe_priq_publish(&m->fe);
	return 0;
}

int
smmuv3_model_dma_stop_marker(struct smmuv3_model_dma *dma)
{
	int ret;

	if (dma == NULL || dma->ep == NULL)
		return -EINVAL;
	smmuv3_ctl_enter(dma->m);
	ret = send_stop_marker(dma);
	smmuv3_ctl_leave(dma->m);
	return ret;
}

/* The slots abort in the next step, because on_done runs on the stepping thread only. */
void
smmuv3_prg_reset_slots(struct smmuv3_model *m, struct smmuv3_model_dma *dma)
{
	for (uint32_t i = 0; i < dma->conf.depth; i++) {
		struct smmuv3_slot *s = &dma->slot[i];
		struct smmuv3_group *g = s->group;

		if (s->state != SMMUV3_SLOT_READY && s->state != SMMUV3_SLOT_REQUESTING &&
				s->state != SMMUV3_SLOT_IN_FLIGHT)
			continue;
		s->reset = true;
		if (g == NULL)
			continue;
		/* A slot that sends its group is in the ready list already. */
		if (g->sent == g->nb)
			smmuv3_ready_add(m, s);
		s->state = SMMUV3_SLOT_READY;
		group_end(m, dma->ep, g);
	}
}

void
smmuv3_prg_end_all(struct smmuv3_model *m, struct smmuv3_ep *ep)
{
	for (struct smmuv3_prgs *p = ep->prgs; p != NULL; p = p->next)
		for (unsigned int i = 0; i < ep->nb_prgs; i++)
			if (p->group[i].open)
				group_end(m, ep, &p->group[i]);
}
