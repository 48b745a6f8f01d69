/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * From StreamID and SubstreamID to a translation context: stream table, STE, CD
 * table, CD, and what makes each of them illegal [5.2, 5.4, 7.3].
 */

#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_cfg_cache.h"
#include "model_ctx.h"
#include "model_dma.h"
#include "model_win.h"

static enum smmuv3_result
fail(struct smmuv3_fault *fault, uint8_t id, uint64_t fetch)
{
	fault->id = id;
	fault->fetch = fetch;
	return SMMUV3_FAULT;
}

static enum smmuv3_result
bad_streamid(const struct smmuv3_model *m, struct smmuv3_fault *fault)
{
	return fail(fault, m->fe.val[SMMUV3_FE_CR2] & SMMUV3_CR2_RECINVSID ?
			SMMUV3_C_BAD_STREAMID : 0, 0);
}

static enum smmuv3_result
bad_substreamid(struct smmuv3_fault *fault)
{
	fault->ssid_no_ssv = true;
	return fail(fault, SMMUV3_C_BAD_SUBSTREAMID, 0);
}

static enum smmuv3_result
stream_disabled(struct smmuv3_fault *fault)
{
	fault->no_ssid = true;
	return fail(fault, SMMUV3_F_STREAM_DISABLED, 0);
}

/* Address bits that a table of 2^log2 bytes has below its base. */
static uint64_t
low_bits(unsigned int log2)
{
	return log2 >= 64 ? UINT64_MAX : (UINT64_C(1) << log2) - 1;
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
		t.base = base & ~low_bits(log2 + 3 > t.split + 6 ? log2 + 3 - t.split : 6);
	} else {
		t.base = base & ~low_bits(log2 + 6);
	}
	return t;
}

/* Where the STE of @p sid is. */
static enum smmuv3_result
ste_find(struct smmuv3_model *m, uint32_t sid, uint64_t *addr, struct smmuv3_fault *fault)
{
	struct strtab t = strtab_get(m);
	const struct smmuv3_cfg_entry *e;
	uint32_t low, span;
	uint64_t l1;

	if ((uint64_t)sid >> t.log2 != 0)
		return bad_streamid(m, fault);
	if (t.split == 0) {
		*addr = t.base + sizeof(struct smmuv3_ste) * sid;
		return SMMUV3_OK;
	}
	low = sid & (uint32_t)low_bits(t.split);
	l1 = t.base + 8 * (uint64_t)(sid >> t.split);
	if (smmuv3_cfg_get(m, SMMUV3_CFG_L1STD, sid - low, 0, l1, &e) != SMMUV3_FETCH_OK)
		return fail(fault, SMMUV3_F_STE_FETCH, l1);
	span = SMMUV3_GET(SMMUV3_L1STD_SPAN, e->dw[0]);
	if (span == 0 || span > 11 || span > t.split + 1 || low >> (span - 1) != 0)
		return bad_streamid(m, fault);
	*addr = (e->dw[0] & SMMUV3_L1STD_L2PTR & ~low_bits(span - 1 + 6)) +
		sizeof(struct smmuv3_ste) * low;
	return SMMUV3_OK;
}

static enum smmuv3_result
ste_get(struct smmuv3_model *m, uint32_t sid, struct smmuv3_ste *ste, uint64_t *born,
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
		return fail(fault, SMMUV3_F_STE_FETCH, addr);
	case SMMUV3_FETCH_BUSY:
		return SMMUV3_BUSY;
	default:
		memcpy(ste->dw, e->dw, sizeof(ste->dw));
		*born = e->born;
		return SMMUV3_OK;
	}
}

/* Does the STE in effect end all transactions, and the one in memory too? */
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

static unsigned int
ste_cdmax(const struct smmuv3_model *m, const struct smmuv3_ste *ste)
{
	return m->ssid_bits == 0 ? 0 : (unsigned int)SMMUV3_GET(SMMUV3_STE0_S1CDMAX, ste->dw[0]);
}

static bool
ste_2lvl(const struct smmuv3_ste *ste)
{
	unsigned int fmt = SMMUV3_GET(SMMUV3_STE0_S1FMT, ste->dw[0]);

	return fmt == SMMUV3_S1FMT_2LVL_4K || fmt == SMMUV3_S1FMT_2LVL_64K;
}

/* A valid STE with Config[2] set [5.2; 6.4 of the facts, by number]. */
static bool
ste_legal(const struct smmuv3_model *m, const struct smmuv3_ste *ste)
{
	unsigned int config = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]);
	uint64_t idr0 = m->fe.val[SMMUV3_FE_IDR0];
	unsigned int cdmax = ste_cdmax(m, ste);

	if (config >= SMMUV3_STE_S2)
		return false;					/* 3: S2P = 0 */
	if (config == SMMUV3_STE_BYPASS)
		return true;
	if (idr0 & SMMUV3_IDR0_ATS &&
			SMMUV3_GET(SMMUV3_STE1_EATS, ste->dw[1]) == SMMUV3_EATS_SPLIT)
		return false;					/* 4: not nested */
	if (ste->dw[1] & SMMUV3_STE1_S1STALLD &&
			SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0) != SMMUV3_STALL_MODEL_BOTH)
		return false;					/* 8 */
	if (cdmax > m->ssid_bits)
		return false;					/* 9 */
	if (cdmax != 0 && !(idr0 & SMMUV3_IDR0_CD2L) && ste_2lvl(ste))
		return false;					/* 10 */
	if ((ste->dw[0] & SMMUV3_STE0_S1CONTEXTPTR) >> m->oas_bits != 0)
		return false;					/* 11 */
	return true;
}

/* Which CD a transaction uses [5.2, 3.9.2.1]. @return OK with *bypass or *idx. */
static enum smmuv3_result
cd_choose(const struct smmuv3_model *m, const struct smmuv3_model_dma_conf *who,
		const struct smmuv3_ste *ste, bool *bypass, uint32_t *idx,
		struct smmuv3_fault *fault)
{
	unsigned int cdmax = ste_cdmax(m, ste);
	unsigned int dss = SMMUV3_GET(SMMUV3_STE1_S1DSS, ste->dw[1]);

	*bypass = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]) == SMMUV3_STE_BYPASS;
	*idx = 0;
	if (*bypass || cdmax == 0)
		return who->has_ssid ? bad_substreamid(fault) : SMMUV3_OK;
	if (who->has_ssid) {
		if ((uint64_t)who->ssid >> cdmax != 0)
			return bad_substreamid(fault);
		if (dss == SMMUV3_S1DSS_SSID0 && who->ssid == 0)
			return stream_disabled(fault);
		*idx = who->ssid;
		return SMMUV3_OK;
	}
	switch (dss) {
	case SMMUV3_S1DSS_BYPASS:
		*bypass = true;
		return SMMUV3_OK;
	case SMMUV3_S1DSS_SSID0:
		return SMMUV3_OK;
	default:
		return stream_disabled(fault);
	}
}

static enum smmuv3_result
cd_get(struct smmuv3_model *m, uint32_t sid, const struct smmuv3_ste *ste, uint32_t idx,
		struct smmuv3_cd *cd, uint64_t *born, struct smmuv3_fault *fault)
{
	uint64_t addr = ste->dw[0] & SMMUV3_STE0_S1CONTEXTPTR;
	const struct smmuv3_cfg_entry *e;

	if (ste_cdmax(m, ste) != 0 && ste_2lvl(ste)) {
		unsigned int shift = SMMUV3_GET(SMMUV3_STE0_S1FMT, ste->dw[0]) ==
			SMMUV3_S1FMT_2LVL_4K ? SMMUV3_CD_LEAF_4K_LOG2 : SMMUV3_CD_LEAF_64K_LOG2;
		uint32_t low = idx & (uint32_t)low_bits(shift);

		addr += 8 * (uint64_t)(idx >> shift);
		if (smmuv3_cfg_get(m, SMMUV3_CFG_L1CD, sid, idx - low, addr, &e) !=
				SMMUV3_FETCH_OK)
			return fail(fault, SMMUV3_F_CD_FETCH, addr);
		addr = e->dw[0] & SMMUV3_L1CD_L2PTR & ~low_bits(shift + 6);
		if (!(e->dw[0] & SMMUV3_L1CD_V) || addr >> m->oas_bits != 0)
			return bad_substreamid(fault);
		idx = low;
		addr += sizeof(*cd) * idx;
		idx += (uint32_t)e->idx;
	} else {
		addr += sizeof(*cd) * (uint64_t)idx;
	}
	switch (smmuv3_cfg_get(m, SMMUV3_CFG_CD, sid, idx, addr, &e)) {
	case SMMUV3_FETCH_ABORT:
		return fail(fault, SMMUV3_F_CD_FETCH, addr);
	case SMMUV3_FETCH_BUSY:
		return SMMUV3_BUSY;
	default:
		memcpy(cd->dw, e->dw, sizeof(cd->dw));
		*born = e->born;
		return SMMUV3_OK;
	}
}

/* log2 of the granule, 0 if reserved or not in IDR5. */
static unsigned int
granule(const struct smmuv3_model *m, unsigned int tg, bool ttb1)
{
	static const uint8_t bits[2][4] = {
		{ [SMMUV3_TG0_4K] = 12, [SMMUV3_TG0_64K] = 16, [SMMUV3_TG0_16K] = 14 },
		{ [SMMUV3_TG1_16K] = 14, [SMMUV3_TG1_4K] = 12, [SMMUV3_TG1_64K] = 16 },
	};
	unsigned int g = bits[ttb1][tg];
	uint64_t have = g == 12 ? SMMUV3_IDR5_GRAN4K : g == 14 ? SMMUV3_IDR5_GRAN16K :
		SMMUV3_IDR5_GRAN64K;

	return g != 0 && m->fe.val[SMMUV3_FE_IDR5] & have ? g : 0;
}

/* One half of the address range; its fields matter only with EPDx = 0. */
static bool
half_make(const struct smmuv3_model *m, unsigned int out_bits, unsigned int tsz, unsigned int tg,
		uint64_t ttb, bool ttb1, struct smmuv3_half *half)
{
	unsigned int bits, table;

	if (half->epd)
		return true;
	half->gran = (uint8_t)granule(m, tg, ttb1);
	if (tsz < 16 || tsz > 39 || half->gran == 0 || ttb >> out_bits != 0)
		return false;						/* 10, 11, 12 */
	bits = 64 - tsz;
	half->tsz = (uint8_t)tsz;
	/* 4 - ceil((bits - gran) / (gran - 3)) */
	half->start = (uint8_t)(4 - (bits - 4) / (half->gran - 3));
	table = bits - (half->gran + (3 - half->start) * (half->gran - 3)) + 3;
	half->ttb = ttb & ~low_bits(table < 6 ? 6 : table);
	return true;
}

/* [5.4; 7.3 of the facts, by number] */
static bool
cd_make(const struct smmuv3_model *m, const struct smmuv3_ste *ste, const struct smmuv3_cd *cd,
		struct smmuv3_ctx *ctx)
{
	uint64_t dw0 = cd->dw[0], idr0 = m->fe.val[SMMUV3_FE_IDR0];
	unsigned int stall_model = SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0);
	unsigned int ips;
	bool s = dw0 & SMMUV3_CD0_S;

	if (!(dw0 & SMMUV3_CD0_V))
		return false;						/* 1 */
	if (s && ste->dw[1] & SMMUV3_STE1_S1STALLD)
		return false;						/* 2 */
	if (!(dw0 & SMMUV3_CD0_A) && idr0 & SMMUV3_IDR0_TERM_MODEL)
		return false;						/* 3 */
	if ((s && stall_model == SMMUV3_STALL_MODEL_TERM) ||
			(!s && stall_model == SMMUV3_STALL_MODEL_FORCED))
		return false;						/* 4, 5 */
	if (dw0 & SMMUV3_CD0_ENDI && (~dw0 & (SMMUV3_CD0_EPD0 | SMMUV3_CD0_EPD1)))
		return false;						/* 6: little-endian only */
	if (!(dw0 & SMMUV3_CD0_AA64))
		return false;						/* 7 */
	if (dw0 & (SMMUV3_CD0_HA | SMMUV3_CD0_HD))
		return false;						/* 8: HTTU = 0 */
	ctx->asid = (uint16_t)SMMUV3_GET(SMMUV3_CD0_ASID, dw0);
	if (ctx->asid > 0xff && !(idr0 & SMMUV3_IDR0_ASID16))
		return false;						/* 9 */

	ctx->stall = s;
	ctx->record = dw0 & SMMUV3_CD0_R;
	ctx->abort = dw0 & SMMUV3_CD0_A;
	if (s && m->choices & SMMUV3_MODEL_NO_STALL_SUPPORT) {
		ctx->stall = false;
		ctx->record = true;
		ctx->abort = true;
	}
	ctx->affd = dw0 & SMMUV3_CD0_AFFD;
	ctx->wxn = dw0 & SMMUV3_CD0_WXN;
	ctx->pan = dw0 & SMMUV3_CD0_PAN;
	ips = smmuv3_oas_bits(SMMUV3_GET(SMMUV3_CD0_IPS, dw0));
	ctx->out_bits = (uint8_t)(ips < m->oas_bits ? ips : m->oas_bits);
	ctx->half[0].epd = dw0 & SMMUV3_CD0_EPD0;
	ctx->half[1].epd = dw0 & SMMUV3_CD0_EPD1;
	ctx->half[0].tbi = dw0 & SMMUV3_CD0_TBI0;
	ctx->half[1].tbi = dw0 & SMMUV3_CD0_TBI1;
	ctx->half[0].had = cd->dw[1] & SMMUV3_CD1_HAD0;
	ctx->half[1].had = cd->dw[2] & SMMUV3_CD2_HAD1;
	return half_make(m, ctx->out_bits, SMMUV3_GET(SMMUV3_CD0_T0SZ, dw0),
			SMMUV3_GET(SMMUV3_CD0_TG0, dw0), cd->dw[1] & SMMUV3_CD1_TTB0, false,
			&ctx->half[0]) &&
		half_make(m, ctx->out_bits, SMMUV3_GET(SMMUV3_CD0_T1SZ, dw0),
			SMMUV3_GET(SMMUV3_CD0_TG1, dw0), cd->dw[2] & SMMUV3_CD2_TTB1, true,
			&ctx->half[1]);
}

/* Make dma->ctx. The order of the checks is that of 4.4 of the facts. */
enum smmuv3_result
smmuv3_ctx_make(struct smmuv3_model *m, struct smmuv3_model_dma *dma, struct smmuv3_fault *fault)
{
	const struct smmuv3_model_dma_conf *who = &dma->conf;
	struct smmuv3_ctx *ctx = &dma->ctx;
	struct smmuv3_ste ste;
	struct smmuv3_cd cd;
	enum smmuv3_result r;
	bool bypass;
	uint32_t idx;

	memset(ctx, 0, sizeof(*ctx));
	ctx->sid = who->sid;
	r = ste_get(m, who->sid, &ste, &ctx->ste_born, fault);
	if (r != SMMUV3_OK)
		return r;
	if (!(ste.dw[0] & SMMUV3_STE0_V))
		return fail(fault, SMMUV3_C_BAD_STE, 0);
	if (SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) < SMMUV3_STE_BYPASS) {
		ctx->ste = SMMUV3_STE_SAYS_ABORT;
		return fail(fault, 0, 0);
	}
	if (!ste_legal(m, &ste))
		return fail(fault, SMMUV3_C_BAD_STE, 0);
	ctx->ste = SMMUV3_STE_SAYS_GO;
	/* EATS has no effect with Config = 100; 2 is not legal here and 3 is reserved. */
	ctx->ats = SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) != SMMUV3_STE_BYPASS &&
		SMMUV3_GET(SMMUV3_STE1_EATS, ste.dw[1]) == SMMUV3_EATS_FULL;
	ctx->privcfg = (uint8_t)SMMUV3_GET(SMMUV3_STE1_PRIVCFG, ste.dw[1]);
	ctx->instcfg = (uint8_t)SMMUV3_GET(SMMUV3_STE1_INSTCFG, ste.dw[1]);
	r = cd_choose(m, who, &ste, &bypass, &idx, fault);
	if (r != SMMUV3_OK)
		return r;
	if (bypass) {
		ctx->kind = SMMUV3_CTX_BYPASS;
	} else {
		r = cd_get(m, who->sid, &ste, idx, &cd, &ctx->cd_born, fault);
		if (r != SMMUV3_OK)
			return r;
		if (!cd_make(m, &ste, &cd, ctx))
			return fail(fault, SMMUV3_C_BAD_CD, 0);
		ctx->kind = SMMUV3_CTX_S1;
	}
	ctx->checked = ctx->ste_born;
	if (ctx->kind == SMMUV3_CTX_S1 && ctx->cd_born < ctx->checked)
		ctx->checked = ctx->cd_born;
	/* Taken last: making room for the CD may have moved it. */
	ctx->gen = m->cfg_gen;
	return SMMUV3_OK;
}

/* For an automatic response [3.5.3, 8.3]: the STE alone, as it is cached. */
bool
smmuv3_ste_ppar(struct smmuv3_model *m, uint32_t sid, bool *ppar, struct smmuv3_fault *fault)
{
	enum smmuv3_result r;
	struct smmuv3_ste ste;
	uint64_t born;

	*fault = (struct smmuv3_fault){ 0 };
	/* Each try gets another word. */
	do
		r = ste_get(m, sid, &ste, &born, fault);
	while (r == SMMUV3_BUSY);
	if (r != SMMUV3_OK)
		return false;
	if (!(ste.dw[0] & SMMUV3_STE0_V) ||
			(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]) >= SMMUV3_STE_BYPASS &&
			 !ste_legal(m, &ste))) {
		fault->id = SMMUV3_C_BAD_STE;
		return false;
	}
	*ppar = ste.dw[1] & SMMUV3_STE1_PPAR;
	return true;
}
