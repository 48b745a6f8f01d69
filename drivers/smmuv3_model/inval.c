/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Invalidations between their command and their SYNC. Only a completed SYNC guarantees that
 * an invalidation has taken effect, not the consumption of its command [4.7.3]. With
 * SMMUV3_MODEL_HARSH_LATE cached entries stay in use until a SYNC of the same queue completes. An
 * ATC that does not answer delays the SYNC.
 */

#include <stdlib.h>
#include <time.h>

#include "model.h"
#include "model_atc.h"
#include "model_cfg_cache.h"
#include "model_endpoint.h"
#include "model_inval.h"
#include "model_oracle.h"
#include "model_silent.h"
#include "model_tlb.h"
#include "model_walk.h"

#define PENDING_MAX 65536	/* with a full list invalidations are executed at once */

static void
clear_caches(struct smmuv3_model *m)
{
	smmuv3_cfg_clear(m);
	smmuv3_tlb_clear(m);
	smmuv3_wc_clear(m);
}

static void
carry_out_invalidation(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	struct smmuv3_ep *ep;

	switch (inv->kind) {
	case SMMUV3_INV_ATC:
		ep = smmuv3_ep_find(m, inv->sid);
		if (ep == NULL)
			return;
		if (m->choices & SMMUV3_MODEL_OVER_INVALIDATE)
			smmuv3_atc_clear(ep);
		else
			smmuv3_atc_drop_pages(ep, inv);
		return;
	case SMMUV3_INV_CFG_ALL:
	case SMMUV3_INV_CFG_SIDS:
	case SMMUV3_INV_CFG_CDS:
	case SMMUV3_INV_CFG_CD:
		smmuv3_cfg_invalidate(m, inv);
		break;
	default:
		smmuv3_tlb_invalidate(m, inv);
		smmuv3_wc_invalidate(m, inv);
		break;
	}
	if (m->choices & SMMUV3_MODEL_OVER_INVALIDATE)
		clear_caches(m);
}

static struct smmuv3_pending *
pending_add(struct smmuv3_inval_list *l)
{
	if (l->nb == l->cap) {
		unsigned int cap = l->cap == 0 ? 64 : 2 * l->cap;
		struct smmuv3_pending *more = NULL;

		if (cap <= PENDING_MAX)
			more = realloc(l->pending, cap * sizeof(*more));
		if (more == NULL)
			return NULL;
		l->pending = more;
		l->cap = cap;
	}
	return &l->pending[l->nb++];
}

static uint64_t
now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void
smmuv3_inv_issue(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	struct smmuv3_pending *p = NULL;

	if (m->harsh & SMMUV3_MODEL_HARSH_REPORT)
		smmuv3_silent_check_tlbi(m, inv);
	smmuv3_oracle_note_invalidation(&m->oracle, inv);
	if (smmuv3_harsh(m, SMMUV3_MODEL_HARSH_LATE))
		p = pending_add(&m->inval);
	if (p == NULL)
		carry_out_invalidation(m, inv);
	else
		*p = (struct smmuv3_pending){ .inv = *inv };
}

void
smmuv3_inv_issue_slow(struct smmuv3_model *m, const struct smmuv3_inv *inv, uint32_t ms,
		bool fails)
{
	struct smmuv3_pending *p;

	if (!fails)
		smmuv3_oracle_note_invalidation(&m->oracle, inv);
	p = pending_add(&m->inval);
	if (p != NULL)
		*p = (struct smmuv3_pending){ .inv = *inv, .slow = true, .fails = fails,
			.due = now_ms() + ms };
	else if (!fails)
		carry_out_invalidation(m, inv);
}

/* Must the SYNC wait for this answer? Not if the endpoint answers again, or is destroyed. */
static bool
is_answer_awaited(struct smmuv3_model *m, const struct smmuv3_pending *p)
{
	const struct smmuv3_ep *ep = smmuv3_ep_find(m, p->inv.sid);

	return ep != NULL && (p->fails ? ep->quirks & SMMUV3_MODEL_QUIRK_DEAD_ATC :
			ep->atc_delay != 0 || m->harsh & SMMUV3_MODEL_HARSH_SLOW_ATC) &&
		now_ms() < p->due;
}

enum smmuv3_fe_sync
smmuv3_inv_complete(struct smmuv3_model *m, unsigned int queue)
{
	struct smmuv3_inval_list *l = &m->inval;
	unsigned int kept = 0;
	bool failed = false;

	for (unsigned int i = 0; i < l->nb; i++) {
		const struct smmuv3_pending *p = &l->pending[i];

		if (!p->slow || p->inv.queue != queue)
			continue;
		if (is_answer_awaited(m, p))
			return SMMUV3_FE_SYNC_WAIT;
		failed |= p->fails && now_ms() >= p->due;
	}
	/* Software does not learn which ATC_INV failed [4.7.3]: here, all of the queue fail. */
	for (unsigned int i = 0; i < l->nb; i++) {
		const struct smmuv3_inv *inv = &l->pending[i].inv;

		if (inv->queue != queue || (failed && inv->kind != SMMUV3_INV_ATC))
			l->pending[kept++] = l->pending[i];
		else if (!failed)
			carry_out_invalidation(m, inv);
	}
	l->nb = kept;
	return failed ? SMMUV3_FE_SYNC_FAILED : SMMUV3_FE_SYNC_DONE;
}
