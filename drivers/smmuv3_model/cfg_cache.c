/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The configuration cache: L1STDs, STEs, L1CDs and CDs as they were fetched, valid or not
 * [3.21]. A failed fetch is not cached. A command removes entries, and so does a full cache
 * (unless SMMUV3_MODEL_STICKY_TLB is set).
 */

#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_cfg_cache.h"
#include "model_frames.h"
#include "model_inval.h"
#include "model_win.h"

#define CFG_CAP_MIN 256
#define CFG_CAP_MAX 16384	/* a full cache of this size is cleared, unless sticky */

static uint32_t
cfg_hash(enum smmuv3_cfg_kind kind, uint32_t sid, uint32_t idx)
{
	uint64_t h = ((uint64_t)sid << 32 | idx) ^ (uint64_t)kind << 60;

	return (uint32_t)((h * UINT64_C(0x9e3779b97f4a7c15)) >> 52) % SMMUV3_CFG_BUCKETS;
}

static struct smmuv3_cfg_entry *
cfg_find(struct smmuv3_cfg *c, enum smmuv3_cfg_kind kind, uint32_t sid, uint32_t idx)
{
	for (uint32_t i = c->bucket[cfg_hash(kind, sid, idx)]; i != 0; i = c->entry[i - 1].next) {
		struct smmuv3_cfg_entry *e = &c->entry[i - 1];

		if (e->kind == kind && e->sid == sid && e->idx == idx)
			return e;
	}
	return NULL;
}

static void
cfg_remove(struct smmuv3_cfg *c, struct smmuv3_cfg_entry *e)
{
	uint32_t *link = &c->bucket[cfg_hash(e->kind, e->sid, e->idx)];
	uint32_t i = (uint32_t)(e - c->entry) + 1;

	while (*link != i)
		link = &c->entry[*link - 1].next;
	*link = e->next;
	e->used = false;
	e->next = c->free;
	c->free = i;
}

void
smmuv3_cfg_clear(struct smmuv3_model *m)
{
	memset(m->cfg.bucket, 0, sizeof(m->cfg.bucket));
	m->cfg.nb = 0;
	m->cfg.free = 0;
	m->cfg_gen++;
}

static struct smmuv3_cfg_entry *
cfg_new(struct smmuv3_model *m)
{
	struct smmuv3_cfg *c = &m->cfg;
	struct smmuv3_cfg_entry *more, *e;

	if (c->free != 0) {
		e = &c->entry[c->free - 1];
		c->free = e->next;
		return e;
	}
	if (c->nb == c->cap) {
		uint32_t cap = c->cap == 0 ? CFG_CAP_MIN : 2 * c->cap;

		more = NULL;
		if (cap <= CFG_CAP_MAX || m->choices & SMMUV3_MODEL_STICKY_TLB)
			more = realloc(c->entry, cap * sizeof(*more));
		if (more != NULL) {
			c->entry = more;
			c->cap = cap;
		} else if (c->cap == 0) {
			return NULL;
		} else {
			smmuv3_cfg_clear(m);
		}
	}
	return &c->entry[c->nb++];
}

/* Fetch missing words: all, or some in random order [3.21.3]. */
static bool
cfg_fetch(struct smmuv3_model *m, struct smmuv3_cfg_entry *e, uint64_t addr)
{
	unsigned int nb = e->want == 1 ? 1 : 8;
	unsigned int left = 8;
	const uint64_t *dw;

	smmuv3_frames_check_smmu(&m->frames, "a configuration fetch", e->sid, 0, addr,
			nb * sizeof(*dw));
	dw = smmuv3_win_find(&m->wins, &m->cfg_win, addr, nb * sizeof(*dw));
	if (dw == NULL)
		return false;
	if (m->choices & SMMUV3_MODEL_TORN_FETCH)
		left = 1 + smmuv3_rand(m) % 4;
	while (left-- > 0 && e->have != e->want) {
		unsigned int i = 0;

		if (m->choices & SMMUV3_MODEL_TORN_FETCH)
			i = smmuv3_rand(m) % nb;
		while (e->have & 1 << i)
			i = (i + 1) % nb;
		/* Acquire: software wrote the structure that a new word points at before it. */
		e->dw[i] = atomic_load_explicit((const smmuv3_reg64_t *)(const void *)&dw[i],
				memory_order_acquire);
		e->have |= (uint8_t)(1 << i);
	}
	return true;
}

enum smmuv3_fetch
smmuv3_cfg_get(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid, uint32_t idx,
		uint64_t addr, const struct smmuv3_cfg_entry **entry)
{
	bool whole = kind == SMMUV3_CFG_STE || kind == SMMUV3_CFG_CD;
	struct smmuv3_cfg_entry *e = cfg_find(&m->cfg, kind, sid, idx);

	if (e == NULL) {
		uint32_t *bucket = &m->cfg.bucket[cfg_hash(kind, sid, idx)];

		if (kind == SMMUV3_CFG_STE)
			smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_STE_FETCHES);
		else if (kind == SMMUV3_CFG_CD)
			smmuv3_count(&m->stats, SMMUV3_MODEL_STAT_CD_FETCHES);
		e = cfg_new(m);
		if (e == NULL)
			return SMMUV3_FETCH_ABORT;
		*e = (struct smmuv3_cfg_entry){
			.next = *bucket, .kind = kind, .used = true, .want = whole ? 0xff : 1,
			.sid = sid, .idx = idx, .born = m->oracle.seq, .addr = addr,
		};
		*bucket = (uint32_t)(e - m->cfg.entry) + 1;
	}
	if (e->have != e->want && !cfg_fetch(m, e, addr)) {
		cfg_remove(&m->cfg, e);
		return SMMUV3_FETCH_ABORT;
	}
	*entry = e;
	return e->have == e->want ? SMMUV3_FETCH_OK : SMMUV3_FETCH_BUSY;
}

const struct smmuv3_cfg_entry *
smmuv3_cfg_peek(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid, uint32_t idx)
{
	struct smmuv3_cfg_entry *e = cfg_find(&m->cfg, kind, sid, idx);

	return e != NULL && e->have == e->want ? e : NULL;
}

void
smmuv3_cfg_forget(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid, uint32_t idx)
{
	struct smmuv3_cfg_entry *e = cfg_find(&m->cfg, kind, sid, idx);

	if (e != NULL)
		cfg_remove(&m->cfg, e);
}

/* The largest number of SIDs of an L1STD, and of SSIDs of an L1CD. */
#define L1_SPAN 1024

static bool
cfg_is_covered(const struct smmuv3_cfg_entry *e, const struct smmuv3_inv *inv)
{
	switch (inv->kind) {
	case SMMUV3_INV_CFG_SIDS:
		if (e->kind == SMMUV3_CFG_L1STD)
			return !inv->leaf && e->sid <= inv->sid_last &&
				(uint64_t)e->sid + L1_SPAN > inv->sid;
		return e->sid >= inv->sid && e->sid <= inv->sid_last;
	case SMMUV3_INV_CFG_CDS:
		return e->kind >= SMMUV3_CFG_L1CD && e->sid == inv->sid;
	case SMMUV3_INV_CFG_CD:
		if (e->sid != inv->sid)
			return false;
		if (e->kind == SMMUV3_CFG_L1CD)
			return !inv->leaf && e->idx <= inv->ssid && e->idx + L1_SPAN > inv->ssid;
		return e->kind == SMMUV3_CFG_CD && e->idx == inv->ssid;
	default:
		return inv->kind == SMMUV3_INV_CFG_ALL;
	}
}

void
smmuv3_cfg_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv)
{
	struct smmuv3_cfg *c = &m->cfg;
	struct smmuv3_cfg_entry *e;

	m->cfg_gen++;
	if (inv->kind == SMMUV3_INV_CFG_ALL) {
		smmuv3_cfg_clear(m);
		return;
	}
	if (inv->kind == SMMUV3_INV_CFG_CD && inv->leaf) {
		e = cfg_find(c, SMMUV3_CFG_CD, inv->sid, inv->ssid);
		if (e != NULL)
			cfg_remove(c, e);
		return;
	}
	for (uint32_t i = 0; i < c->nb; i++)
		if (c->entry[i].used && cfg_is_covered(&c->entry[i], inv))
			cfg_remove(c, &c->entry[i]);
}
