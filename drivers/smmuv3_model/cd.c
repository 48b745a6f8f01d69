/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Context descriptors (CD): the choice of a CD, its place in the CD table, its fields,
 * illegal values [5.4, 7.3].
 */

#include <string.h>

#include "model.h"
#include "model_access.h"
#include "model_cd.h"
#include "model_cfg_cache.h"
#include "model_ctx.h"
#include "model_stage2.h"
#include "model_ste.h"

static enum smmuv3_result
fault_bad_substreamid(struct smmuv3_fault *fault)
{
	fault->ssid_no_ssv = true;
	return smmuv3_fault_set(fault, SMMUV3_C_BAD_SUBSTREAMID, 0);
}

static enum smmuv3_result
fault_stream_disabled(struct smmuv3_fault *fault)
{
	fault->no_ssid = true;
	return smmuv3_fault_set(fault, SMMUV3_F_STREAM_DISABLED, 0);
}

enum smmuv3_result
smmuv3_cd_choose(const struct smmuv3_model *m, const struct smmuv3_model_dma_conf *client,
		const struct smmuv3_ste *ste, bool *bypass, uint32_t *idx,
		struct smmuv3_fault *fault)
{
	unsigned int cdmax = smmuv3_ste_cdmax(m, ste);
	unsigned int dss = SMMUV3_GET(SMMUV3_STE1_S1DSS, ste->dw[1]);

	/* Config 100 and 110 */
	*bypass = !(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste->dw[0]) & 1);
	*idx = 0;
	if (*bypass || cdmax == 0)
		return client->has_ssid ? fault_bad_substreamid(fault) : SMMUV3_OK;
	if (client->has_ssid) {
		if ((uint64_t)client->ssid >> cdmax != 0)
			return fault_bad_substreamid(fault);
		if (dss == SMMUV3_S1DSS_SSID0 && client->ssid == 0)
			return fault_stream_disabled(fault);
		*idx = client->ssid;
		return SMMUV3_OK;
	}
	switch (dss) {
	case SMMUV3_S1DSS_BYPASS:
		*bypass = true;
		return SMMUV3_OK;
	case SMMUV3_S1DSS_SSID0:
		return SMMUV3_OK;
	default:
		return fault_stream_disabled(fault);
	}
}

/*
 * An L1CD or CD, from the cache or from @p addr. With stage 2 @p addr is an IPA. A fetch that
 * faults at stage 2 is not cached, not even the words that were fetched before [3.21].
 */
static enum smmuv3_result
fetch_entry(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, enum smmuv3_cfg_kind kind,
		uint32_t sid, uint32_t idx, uint64_t addr, const struct smmuv3_cfg_entry **e,
		struct smmuv3_fault *fault)
{
	enum smmuv3_result r;

	if (ctx->s2.on && smmuv3_cfg_peek(m, kind, sid, idx) == NULL) {
		r = smmuv3_s2_read(m, ctx, addr, SMMUV3_CLASS_CD, 0, &addr, fault);
		if (r != SMMUV3_OK) {
			smmuv3_cfg_forget(m, kind, sid, idx);
			return r;
		}
	}
	switch (smmuv3_cfg_get(m, kind, sid, idx, addr, e)) {
	case SMMUV3_FETCH_ABORT:
		return smmuv3_fault_set(fault, SMMUV3_F_CD_FETCH, addr);
	case SMMUV3_FETCH_BUSY:
		return SMMUV3_BUSY;
	default:
		return SMMUV3_OK;
	}
}

enum smmuv3_result
smmuv3_cd_fetch(struct smmuv3_model *m, uint32_t sid, const struct smmuv3_ste *ste,
		const struct smmuv3_ctx *ctx, uint32_t idx, struct smmuv3_cd *cd, uint64_t *born,
		struct smmuv3_fault *fault)
{
	uint64_t addr = ste->dw[0] & SMMUV3_STE0_S1CONTEXTPTR;
	const struct smmuv3_cfg_entry *e;
	enum smmuv3_result r;

	if (smmuv3_ste_cdmax(m, ste) != 0 && smmuv3_ste_is_2lvl(ste)) {
		unsigned int shift = SMMUV3_GET(SMMUV3_STE0_S1FMT, ste->dw[0]) ==
			SMMUV3_S1FMT_2LVL_4K ? SMMUV3_CD_LEAF_4K_LOG2 : SMMUV3_CD_LEAF_64K_LOG2;
		uint32_t low = idx & (uint32_t)smmuv3_low_bits(shift);

		addr += 8 * (uint64_t)(idx >> shift);
		r = fetch_entry(m, ctx, SMMUV3_CFG_L1CD, sid, idx - low, addr, &e, fault);
		if (r != SMMUV3_OK)
			return r;
		addr = e->dw[0] & SMMUV3_L1CD_L2PTR & ~smmuv3_low_bits(shift + 6);
		if (!(e->dw[0] & SMMUV3_L1CD_V) || addr >> m->oas_bits != 0)
			return fault_bad_substreamid(fault);
		idx = low;
		addr += sizeof(*cd) * idx;
		idx += (uint32_t)e->idx;
	} else {
		addr += sizeof(*cd) * (uint64_t)idx;
	}
	r = fetch_entry(m, ctx, SMMUV3_CFG_CD, sid, idx, addr, &e, fault);
	if (r != SMMUV3_OK)
		return r;
	memcpy(cd->dw, e->dw, sizeof(cd->dw));
	*born = e->born;
	return SMMUV3_OK;
}

unsigned int
smmuv3_granule_log2(const struct smmuv3_model *m, unsigned int tg, bool ttb1)
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

/* Decode one half of the address range. Its fields are used only with EPDx = 0. */
static bool
half_make(const struct smmuv3_model *m, unsigned int out_bits, unsigned int tsz, unsigned int tg,
		uint64_t ttb, bool ttb1, struct smmuv3_half *half)
{
	unsigned int bits, table;

	if (half->epd)
		return true;
	half->gran = (uint8_t)smmuv3_granule_log2(m, tg, ttb1);
	if (tsz < 16 || tsz > 39 || half->gran == 0 || ttb >> out_bits != 0)
		return false;						/* TxSZ, TGx, TTBx */
	bits = 64 - tsz;
	half->tsz = (uint8_t)tsz;
	/* 4 - ceil((bits - gran) / (gran - 3)) */
	half->start = (uint8_t)(4 - (bits - 4) / (half->gran - 3));
	table = bits - (half->gran + (3 - half->start) * (half->gran - 3)) + 3;
	half->ttb = ttb & ~smmuv3_low_bits(table < 6 ? 6 : table);
	return true;
}

bool
smmuv3_cd_decode(const struct smmuv3_model *m, const struct smmuv3_ste *ste,
		const struct smmuv3_cd *cd, struct smmuv3_ctx *ctx)
{
	uint64_t dw0 = cd->dw[0], idr0 = m->fe.val[SMMUV3_FE_IDR0];
	unsigned int stall_model = SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0);
	unsigned int httu = SMMUV3_GET(SMMUV3_IDR0_HTTU, idr0), ips;
	bool s = dw0 & SMMUV3_CD0_S;

	if (!(dw0 & SMMUV3_CD0_V))
		return false;						/* V */
	if (s && ste->dw[1] & SMMUV3_STE1_S1STALLD)
		return false;						/* S, STE.S1STALLD */
	if (!(dw0 & SMMUV3_CD0_A) && idr0 & SMMUV3_IDR0_TERM_MODEL)
		return false;						/* A, TERM_MODEL */
	if ((s && stall_model == SMMUV3_STALL_MODEL_TERM) ||
			(!s && stall_model == SMMUV3_STALL_MODEL_FORCED))
		return false;						/* S, STALL_MODEL */
	if (dw0 & SMMUV3_CD0_ENDI && (~dw0 & (SMMUV3_CD0_EPD0 | SMMUV3_CD0_EPD1)))
		return false;						/* ENDI: LE only */
	if (!(dw0 & SMMUV3_CD0_AA64))
		return false;						/* AA64 */
	if ((dw0 & SMMUV3_CD0_HA && httu < SMMUV3_HTTU_AF) ||
			(dw0 & SMMUV3_CD0_HD && httu < SMMUV3_HTTU_DIRTY))
		return false;						/* HA, HD, HTTU */
	ctx->asid = (uint16_t)SMMUV3_GET(SMMUV3_CD0_ASID, dw0);
	if (ctx->asid > 0xff && !(idr0 & SMMUV3_IDR0_ASID16))
		return false;						/* ASID */

	ctx->stall = s;
	ctx->record = dw0 & SMMUV3_CD0_R;
	ctx->abort = dw0 & SMMUV3_CD0_A;
	if (s && m->choices & SMMUV3_MODEL_NO_STALL_SUPPORT) {
		ctx->stall = false;
		ctx->record = true;
		ctx->abort = true;
	}
	/* With HA AFFD is ignored. HD without HA has no effect [5.4]. */
	ctx->ha = dw0 & SMMUV3_CD0_HA;
	ctx->hd = ctx->ha && dw0 & SMMUV3_CD0_HD;
	ctx->affd = ctx->ha || dw0 & SMMUV3_CD0_AFFD;
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
