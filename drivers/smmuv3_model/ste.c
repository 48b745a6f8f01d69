/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stream table entries (STE): their place in the stream table, their fields, illegal values
 * [5.2, 7.3].
 */

#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_cd.h"
#include "model_cfg_cache.h"
#include "model_ctx.h"
#include "model_ste.h"
#include "model_win.h"

static enum smmuv3_result
fault_bad_streamid(const struct smmuv3_model *m, struct smmuv3_fault *fault)
{
	return smmuv3_fault_set(fault, m->fe.val[SMMUV3_FE_CR2] & SMMUV3_CR2_RECINVSID ?
			SMMUV3_C_BAD_STREAMID : 0, 0);
}

struct strtab {
	uint64_t base;
	unsigned int log2;		/* in use */
	unsigned int split;		/* 0: linear */
};

static struct strtab
strtab_get(const struct smmuv3_model *m)
{
	uint32_t cfg = (uint32_t)m->fe.val[SMMUV3_FE_STRTAB_BASE_CFG];
	uint64_t base = m->fe.val[SMMUV3_FE_STRTAB_BASE] & SMMUV3_STRTAB_BASE_ADDR;
	unsigned int log2 = SMMUV3_GET(SMMUV3_STRTAB_CFG_LOG2SIZE, cfg);
	struct strtab t = { .log2 = log2 < m->sid_bits ? log2 : m->sid_bits };

	if (SMMUV3_GET(SMMUV3_STRTAB_CFG_FMT, cfg) == SMMUV3_STRTAB_2LVL &&
			!(m->no_features & SMMUV3_MODEL_NO_2LVL_STRTAB)) {
		t.split = SMMUV3_GET(SMMUV3_STRTAB_CFG_SPLIT, cfg);
		if (t.split != 8 && t.split != 10)
			t.split = 6;
		/* ADDR[max(5, LOG2SIZE - SPLIT - 1 + 3):0] is 0 [6.3.23]. */
		t.base = base & ~smmuv3_low_bits(log2 + 3 > t.split + 6 ? log2 + 3 - t.split : 6);
	} else {
		t.base = base & ~smmuv3_low_bits(log2 + 6);
	}
	return t;
}

/* The address of the STE of @p sid. */
static enum smmuv3_result
ste_find(struct smmuv3_model *m, uint32_t sid, uint64_t *addr, struct smmuv3_fault *fault)
{
	struct strtab t = strtab_get(m);
	const struct smmuv3_cfg_entry *e;
	uint32_t low, span;
	uint64_t l1;

	if ((uint64_t)sid >> t.log2 != 0)
		return fault_bad_streamid(m, fault);
	if (t.split == 0) {
		*addr = t.base + sizeof(struct smmuv3_ste) * sid;
		return SMMUV3_OK;
	}
	low = sid & (uint32_t)smmuv3_low_bits(t.split);
	l1 = t.base + 8 * (uint64_t)(sid >> t.split);
	if (smmuv3_cfg_get(m, SMMUV3_CFG_L1STD, sid - low, 0, l1, &e) != SMMUV3_FETCH_OK)
		return smmuv3_fault_set(fault, SMMUV3_F_STE_FETCH, l1);
	span = SMMUV3_GET(SMMUV3_L1STD_SPAN, e->dw[0]);
	if (span == 0 || span > 11 || span > t.split + 1 || low >> (span - 1) != 0)
		return fault_bad_streamid(m, fault);
	*addr = (e->dw[0] & SMMUV3_L1STD_L2PTR & ~smmuv3_low_bits(span - 1 + 6)) +
		sizeof(struct smmuv3_ste) * low;
	return SMMUV3_OK;
}

enum smmuv3_result
smmuv3_ste_fetch(struct smmuv3_model *m, uint32_t sid, struct smmuv3_ste *ste, uint64_t *born,
		struct smmuv3_fault *fault)
{
	const struct smmuv3_cfg_entry *e;
	enum smmuv3_result r;
	uint64_t addr;

	r = ste_find(m, sid, &addr, fault);
	if (r != SMMUV3_OK)
		return r;
	switch (smmuv3_cfg_get(m, SMMUV3_CFG_STE, sid, 0, addr, &e)) {
	case SMMUV3_FETCH_ABORT:
		return smmuv3_fault_set(fault, SMMUV3_F_STE_FETCH, addr);
	case SMMUV3_FETCH_BUSY:
		return SMMUV3_BUSY;
	default:
		memcpy(ste->dw, e->dw, sizeof(ste->dw));
		*born = e->born;
		return SMMUV3_OK;
	}
}

bool
smmuv3_ste_aborts(struct smmuv3_model *m, uint32_t sid)
{
	const struct smmuv3_cfg_entry *e = smmuv3_cfg_peek(m, SMMUV3_CFG_STE, sid, 0);
	struct smmuv3_fault fault = { 0 };
	const uint64_t *dw;
	uint64_t addr, dw0;

	if (e != NULL) {
		dw0 = e->dw[0];
	} else {
		if (ste_find(m, sid, &addr, &fault) != SMMUV3_OK)
			return true;
		dw = smmuv3_win_find(&m->wins, &m->cfg_win, addr, sizeof(struct smmuv3_ste));
		if (dw == NULL)
			return true;
		dw0 = smmuv3_get_dw(dw);
	}
	return dw0 & SMMUV3_STE0_V && SMMUV3_GET(SMMUV3_STE0_CONFIG, dw0) < SMMUV3_STE_BYPASS;
}

unsigned int
smmuv3_ste_cdmax(const struct smmuv3_model *m, const struct smmuv3_ste *ste)
{
	return m->ssid_bits == 0 ? 0 : (unsigned int)SMMUV3_GET(SMMUV3_STE0_S1CDMAX, ste->dw[0]);
}

bool
smmuv3_ste_is_2lvl(const struct smmuv3_ste *ste)
{
	unsigned int fmt = SMMUV3_GET(SMMUV3_STE0_S1FMT, ste->dw[0]);

	return fmt == SMMUV3_S1FMT_2LVL_4K || fmt == SMMUV3_S1FMT_2LVL_64K;
}

/*
 * The level where the stage-2 walk starts. Up to 16 tables are concatenated there, so that its
 * index has up to 4 bits more than a table. 0xff: S2SL0 is reserved, without STT and DS.
 */
static uint8_t
s2_start_level(unsigned int gran, unsigned int sl0)
{
	if (sl0 == 3)
		return 0xff;
	return (uint8_t)(gran == 12 ? 2 - sl0 : 3 - sl0);
}

bool
smmuv3_ste_decode_s2(const struct smmuv3_model *m, const struct smmuv3_ste *ste,
		struct smmuv3_s2 *s2)
{
	unsigned int config = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]);
	uint64_t dw2 = ste->dw[2], idr0 = m->fe.val[SMMUV3_FE_IDR0];
	unsigned int stall_model = SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0);
	unsigned int tsz = SMMUV3_GET(SMMUV3_STE2_S2T0SZ, dw2), ps, width;
	unsigned int httu = SMMUV3_GET(SMMUV3_IDR0_HTTU, idr0);

	*s2 = (struct smmuv3_s2){ 0 };
	if (!(idr0 & SMMUV3_IDR0_S2P) || config == SMMUV3_STE_BYPASS)
		return true;
	/* The VMID tags stage-1 entries too. */
	s2->space = smmuv3_space_make((uint16_t)SMMUV3_GET(SMMUV3_STE2_S2VMID, dw2),
			SMMUV3_ANY_ASID);
	if (s2->space >> 24 != 0 && !(idr0 & SMMUV3_IDR0_VMID16))
		return false;					/* S2VMID */
	if (config == SMMUV3_STE_S1)
		return true;
	s2->on = true;
	s2->stall = dw2 & SMMUV3_STE2_S2S;
	s2->record = dw2 & SMMUV3_STE2_S2R;
	if ((s2->stall && stall_model == SMMUV3_STALL_MODEL_TERM) ||
			(!s2->stall && stall_model == SMMUV3_STALL_MODEL_FORCED))
		return false;					/* S2S, STALL_MODEL */
	if (s2->stall && m->choices & SMMUV3_MODEL_NO_STALL_SUPPORT) {
		s2->stall = false;
		s2->record = true;
	}
	if (!(dw2 & SMMUV3_STE2_S2AA64))
		return false;					/* S2AA64, TTF */
	if ((dw2 & SMMUV3_STE2_S2HA && httu < SMMUV3_HTTU_AF) ||
			(dw2 & SMMUV3_STE2_S2HD && httu < SMMUV3_HTTU_DIRTY))
		return false;					/* S2HA, S2HD, HTTU */
	if (dw2 & SMMUV3_STE2_S2ENDI)
		return false;					/* S2ENDI: LE only */
	s2->gran = (uint8_t)smmuv3_granule_log2(m, SMMUV3_GET(SMMUV3_STE2_S2TG, dw2), false);
	if (s2->gran == 0)
		return false;					/* S2TG */
	ps = smmuv3_oas_bits(SMMUV3_GET(SMMUV3_STE2_S2PS, dw2));
	s2->out_bits = (uint8_t)(ps < m->oas_bits ? ps : m->oas_bits);
	if ((ste->dw[3] & SMMUV3_STE3_S2TTB) >> s2->out_bits != 0)
		return false;					/* S2TTB, S2PS */
	/* IAS equals OAS, because TTF is AArch64 only [3.4]. */
	if (tsz < 16 || tsz < 64 - m->oas_bits || tsz > 39)
		return false;					/* S2T0SZ */
	s2->bits = (uint8_t)(64 - tsz);
	s2->start = s2_start_level(s2->gran, SMMUV3_GET(SMMUV3_STE2_S2SL0, dw2));
	if (s2->start > 3)
		return false;					/* S2SL0 */
	width = s2->gran + (3u - s2->start) * (s2->gran - 3u);
	if (s2->bits <= width || s2->bits - width > s2->gran - 3u + 4)
		return false;					/* S2T0SZ, S2SL0, S2TG */
	width = s2->bits - width + 3;
	s2->ttb = ste->dw[3] & SMMUV3_STE3_S2TTB & ~smmuv3_low_bits(width < 6 ? 6 : width);
	s2->ha = dw2 & SMMUV3_STE2_S2HA;
	s2->hd = s2->ha && dw2 & SMMUV3_STE2_S2HD;
	s2->affd = s2->ha || dw2 & SMMUV3_STE2_S2AFFD;
	s2->ptw = dw2 & SMMUV3_STE2_S2PTW;
	return true;
}

/* ATS of an SMMU that has it: EATS. */
static bool
is_eats_legal(const struct smmuv3_model *m, const struct smmuv3_ste *ste, unsigned int config)
{
	uint64_t idr0 = m->fe.val[SMMUV3_FE_IDR0];
	bool s2s = config >= SMMUV3_STE_S2 && ste->dw[2] & SMMUV3_STE2_S2S;

	if (!(idr0 & SMMUV3_IDR0_ATS))
		return true;
	switch (SMMUV3_GET(SMMUV3_STE1_EATS, ste->dw[1])) {
	case SMMUV3_EATS_FULL:
		return !s2s;
	case SMMUV3_EATS_SPLIT:
		return config == SMMUV3_STE_S1_S2 && !s2s && !(idr0 & SMMUV3_IDR0_NS1ATS);
	default:
		return true;
	}
}

/* Illegal values of a valid STE with Config[2] set [5.2]. */
bool
smmuv3_ste_is_legal(const struct smmuv3_model *m, const struct smmuv3_ste *ste)
{
	unsigned int config = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]);
	uint64_t idr0 = m->fe.val[SMMUV3_FE_IDR0];
	unsigned int cdmax = smmuv3_ste_cdmax(m, ste);
	struct smmuv3_s2 s2;

	if (config >= SMMUV3_STE_S2 && !(idr0 & SMMUV3_IDR0_S2P))
		return false;					/* S2P = 0 */
	if (config == SMMUV3_STE_BYPASS)
		return true;
	if (!is_eats_legal(m, ste, config) || !smmuv3_ste_decode_s2(m, ste, &s2))
		return false;
	if (config == SMMUV3_STE_S2)
		return true;					/* no field of stage 1 */
	if (ste->dw[1] & SMMUV3_STE1_S1STALLD &&
			SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0) != SMMUV3_STALL_MODEL_BOTH)
		return false;					/* S1STALLD */
	if (cdmax > m->ssid_bits)
		return false;					/* S1CDMax */
	if (cdmax != 0 && !(idr0 & SMMUV3_IDR0_CD2L) && smmuv3_ste_is_2lvl(ste))
		return false;					/* S1Fmt */
	if ((ste->dw[0] & SMMUV3_STE0_S1CONTEXTPTR) >> m->oas_bits != 0)
		return false;			/* S1ContextPtr; an IPA has as many bits */
	return true;
}

/* For an automatic response the SMMU reads the STE alone, through the cache [3.5.3, 8.3]. */
bool
smmuv3_ste_ppar(struct smmuv3_model *m, uint32_t sid, bool *ppar, struct smmuv3_fault *fault)
{
	enum smmuv3_result r;
	struct smmuv3_ste ste;
	uint64_t born;

	*fault = (struct smmuv3_fault){ 0 };
	/* Each call fetches at least one more word. */
	do
		r = smmuv3_ste_fetch(m, sid, &ste, &born, fault);
	while (r == SMMUV3_BUSY);
	if (r != SMMUV3_OK)
		return false;
	if (!(ste.dw[0] & SMMUV3_STE0_V) ||
			(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) >= SMMUV3_STE_BYPASS &&
			 !smmuv3_ste_is_legal(m, &ste))) {
		fault->id = SMMUV3_C_BAD_STE;
		return false;
	}
	*ppar = ste.dw[1] & SMMUV3_STE1_PPAR;
	return true;
}
