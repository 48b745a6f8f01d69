/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Translations of stage 2 [5.2]. The first level of a table has up to 16 concatenated tables. So
 * one width of IPAs may have two numbers of levels: iopf_translation.levels says which, or it is
 * the smaller one.
 *
 *	granule	levels	S2SL0	IPA bits
 *	4K	2 3 4	0 1 2	25-34 31-43 40-48
 *	16K	1 2 3	0 1 2	25-29 26-40 37-48
 *	64K	1 2 3	0 1 2	25-33 30-46 43-48
 *
 * The largest number is illegal if OAS is below 44 bits, or with 16K below 42, as in
 * AArch64.S2InvalidSL() of the Arm ARM. The smallest that a width allows is always legal, since the
 * width is not more than OAS, or than 40.
 */

#include <errno.h>
#include <inttypes.h>

#include <rte_common.h>

#include "base.h"
#include "cd.h"
#include "domain.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "stage2.h"

#define MIN_IPA_BITS		25
#define MAX_CONCATENATED_LOG2	4

/* S2SL0 is the number of levels above these. */
static unsigned int
get_min_levels(const struct iopf_translation *tr)
{
	return tr->granule_log2 == 12 ? 2 : 1;
}

/* log2 of the entries of the first level, of all its tables. */
static int
get_first_level_log2(const struct iopf_translation *tr, unsigned int levels)
{
	unsigned int g = tr->granule_log2;

	return (int)(tr->va_bits - g) - (int)((levels - 1) * (g - 3));
}

static bool
has_levels(const struct iopf_translation *tr, unsigned int levels)
{
	unsigned int min = get_min_levels(tr);
	int log2 = get_first_level_log2(tr, levels);

	return levels >= min && levels <= min + 2 && log2 >= 1 &&
		log2 <= tr->granule_log2 - 3 + MAX_CONCATENATED_LOG2;
}

/* With a valid width there is one. */
static unsigned int
get_levels(const struct iopf_translation *tr)
{
	unsigned int levels = get_min_levels(tr);

	if (tr->levels != 0)
		return tr->levels;
	while (!has_levels(tr, levels))
		levels++;
	return levels;
}

/* The first level is too high for this OAS. */
static bool
is_too_high(const struct smmuv3 *s, const struct iopf_translation *tr, unsigned int levels)
{
	return levels == get_min_levels(tr) + 2 &&
		s->oas_bits < (tr->granule_log2 == 14 ? 42 : 44);
}

int
smmuv3_stage2_check_translation(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	unsigned int levels;

	if (s->vmid_bits == 0) {
		SMMUV3_LOG(ERR, s, "the SMMU has no stage 2 (IDR0.S2P): use IOPF_FORMAT_ARM64_S1");
		return -ENOTSUP;
	}
	if (smmuv3_check_granule(s, tr) < 0)
		return -EINVAL;
	/* S2T0SZ beyond these is illegal [5.2]. */
	if (tr->va_bits < MIN_IPA_BITS || tr->va_bits > s->ipa_bits) {
		SMMUV3_LOG(ERR, s, "stage-2 translation of %u IPA bits: use %u to %u",
				tr->va_bits, MIN_IPA_BITS, s->ipa_bits);
		return -EINVAL;
	}
	levels = get_levels(tr);
	if (!has_levels(tr, levels)) {
		SMMUV3_LOG(ERR, s, "stage-2 table of %u levels for %u IPA bits: its first level "
				"would not have one to 16 tables; set levels to 0 for the usual "
				"number", levels, tr->va_bits);
		return -EINVAL;
	}
	if (is_too_high(s, tr, levels)) {
		SMMUV3_LOG(ERR, s, "stage-2 table of %u levels: too many for an SMMU with "
				"addresses of %u bits; set levels to 0 for the usual number",
				levels, s->oas_bits);
		return -EINVAL;
	}
	return smmuv3_check_root(s, tr, RTE_MAX(3 + get_first_level_log2(tr, levels), 6));
}

static unsigned int
encode_s2tg(unsigned int granule_log2)
{
	return granule_log2 == 12 ? SMMUV3_S2TG_4K :
		granule_log2 == 14 ? SMMUV3_S2TG_16K : SMMUV3_S2TG_64K;
}

/*
 * A fault stalls, or aborts and is recorded (S2R). S2PTW has no effect without stage 1. Without
 * S2HA an access flag that is clear faults, as S2AFFD is 0.
 */
void
smmuv3_stage2_make_words(const struct smmuv3 *s, const struct smmuv3_domain *domain, bool stall,
		uint64_t *dw2, uint64_t *dw3)
{
	const struct iopf_translation *tr = &domain->tr;

	*dw2 = SMMUV3_PUT(SMMUV3_STE2_S2VMID, domain->vmid) |
		SMMUV3_PUT(SMMUV3_STE2_S2T0SZ, 64 - tr->va_bits) |
		SMMUV3_PUT(SMMUV3_STE2_S2SL0, get_levels(tr) - get_min_levels(tr)) |
		SMMUV3_PUT(SMMUV3_STE2_S2IR0, SMMUV3_CD_RGN_WBWA) |
		SMMUV3_PUT(SMMUV3_STE2_S2OR0, SMMUV3_CD_RGN_WBWA) |
		SMMUV3_PUT(SMMUV3_STE2_S2SH0, SMMUV3_SH_ISH) |
		SMMUV3_PUT(SMMUV3_STE2_S2TG, encode_s2tg(tr->granule_log2)) |
		SMMUV3_PUT(SMMUV3_STE2_S2PS, smmuv3_encode_ips(s, tr)) |
		SMMUV3_STE2_S2AA64 | SMMUV3_STE2_S2PTW | SMMUV3_STE2_S2R |
		(smmuv3_sets_access_flag(s, tr) ? SMMUV3_STE2_S2HA : 0) |
		(smmuv3_sets_dirty(s, tr) ? SMMUV3_STE2_S2HD : 0) |
		(stall ? SMMUV3_STE2_S2S : 0);
	*dw3 = tr->root & SMMUV3_STE3_S2TTB;
}
