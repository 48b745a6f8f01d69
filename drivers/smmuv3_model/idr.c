/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The ID registers of a configuration [6.3.1 to 6.3.6, 6.3.45]. */

#include "model.h"
#include "model_idr.h"

bool
smmuv3_conf_pick(unsigned int v, unsigned int dflt, unsigned int max, bool none, unsigned int *out)
{
	*out = v == 0 ? dflt : v;
	if (none && v == SMMUV3_MODEL_NONE)
		*out = 0;
	return *out <= max;
}

bool
smmuv3_ids_make(const struct smmuv3_model_conf *conf, struct smmuv3_fe_ids *ids)
{
	static const struct { uint32_t no; uint64_t idr5; } grans[] = {
		{ SMMUV3_MODEL_NO_4K, SMMUV3_IDR5_GRAN4K },
		{ SMMUV3_MODEL_NO_16K, SMMUV3_IDR5_GRAN16K },
		{ SMMUV3_MODEL_NO_64K, SMMUV3_IDR5_GRAN64K },
	};
	unsigned int sid, ssid, cmdq, evtq, priq, oas_bits, oas, stall_max, ecmdqs;
	uint32_t no = conf->no_features, with = conf->features;
	uint64_t idr0, idr5;

	if (!smmuv3_conf_pick(conf->sid_bits, 16, 32, false, &sid) ||
			!smmuv3_conf_pick(conf->ssid_bits, 16, 20, true, &ssid) ||
			!smmuv3_conf_pick(conf->cmdq_log2, 10, 19, true, &cmdq) ||
			!smmuv3_conf_pick(conf->evtq_log2, 10, 19, true, &evtq) ||
			!smmuv3_conf_pick(conf->priq_log2, 10, 19, true, &priq) ||
			!smmuv3_conf_pick(conf->oas_bits, 48, 48, false, &oas_bits) ||
			!smmuv3_conf_pick(conf->stall_max, 512, 65535, false, &stall_max) ||
			!smmuv3_conf_pick(conf->ecmdq_log2, 4, SMMUV3_ECMDQS_LOG2, true, &ecmdqs) ||
			conf->ecmdq_pages_log2 > SMMUV3_ECMDQS_LOG2 - ecmdqs ||
			conf->stall_model > 2 || no & ~UINT32_C(0x3ff) ||
			conf->choices & ~UINT32_C(0x1fff) ||
			conf->harsh & ~UINT32_C(0xfff) || with & ~UINT32_C(0xff) ||
			(with & SMMUV3_MODEL_PRI && !(with & SMMUV3_MODEL_ATS)) ||
			(with & SMMUV3_MODEL_PPS && !(with & SMMUV3_MODEL_PRI)) ||
			(with & SMMUV3_MODEL_VMID16 && !(with & SMMUV3_MODEL_S2)) ||
			(with & SMMUV3_MODEL_HTTU_DIRTY && !(with & SMMUV3_MODEL_HTTU_AF)) ||
			(with & SMMUV3_MODEL_ECMDQ &&
			 no & (SMMUV3_MODEL_NO_MSI | SMMUV3_MODEL_NO_COHACC)))
		return false;
	for (oas = 0; oas < 6 && smmuv3_oas_bits(oas) != oas_bits; oas++)
		;
	if (oas == 6)
		return false;
	idr0 = SMMUV3_IDR0_S1P | SMMUV3_PUT(SMMUV3_IDR0_TTF, SMMUV3_TTF_AARCH64) |
		SMMUV3_PUT(SMMUV3_IDR0_TTENDIAN, SMMUV3_TTENDIAN_LE) |
		SMMUV3_PUT(SMMUV3_IDR0_STALL_MODEL, conf->stall_model) |
		SMMUV3_PUT(SMMUV3_IDR0_TERM_MODEL, !!(no & SMMUV3_MODEL_TERM_ABORT_ONLY)) |
		SMMUV3_PUT(SMMUV3_IDR0_COHACC, !(no & SMMUV3_MODEL_NO_COHACC)) |
		SMMUV3_PUT(SMMUV3_IDR0_ASID16, !(no & SMMUV3_MODEL_NO_ASID16)) |
		SMMUV3_PUT(SMMUV3_IDR0_MSI, !(no & SMMUV3_MODEL_NO_MSI)) |
		SMMUV3_PUT(SMMUV3_IDR0_ATS, !!(with & SMMUV3_MODEL_ATS)) |
		SMMUV3_PUT(SMMUV3_IDR0_ATSRECERR, !!(with & SMMUV3_MODEL_ATS)) |
		SMMUV3_PUT(SMMUV3_IDR0_S2P, !!(with & SMMUV3_MODEL_S2)) |
		SMMUV3_PUT(SMMUV3_IDR0_HTTU, with & SMMUV3_MODEL_HTTU_DIRTY ? SMMUV3_HTTU_DIRTY :
			with & SMMUV3_MODEL_HTTU_AF ? SMMUV3_HTTU_AF : SMMUV3_HTTU_NONE) |
		SMMUV3_PUT(SMMUV3_IDR0_VMID16, !!(with & SMMUV3_MODEL_VMID16)) |
		SMMUV3_PUT(SMMUV3_IDR0_PRI, !!(with & SMMUV3_MODEL_PRI)) |
		SMMUV3_PUT(SMMUV3_IDR0_CD2L, !(no & SMMUV3_MODEL_NO_2LVL_CD)) |
		SMMUV3_PUT(SMMUV3_IDR0_ST_LEVEL, !(no & SMMUV3_MODEL_NO_2LVL_STRTAB));
	idr5 = SMMUV3_PUT(SMMUV3_IDR5_OAS, oas) |
		SMMUV3_PUT(SMMUV3_IDR5_STALL_MAX, stall_max);
	for (unsigned int i = 0; i < 3; i++)
		if (!(no & grans[i].no))
			idr5 |= grans[i].idr5;
	ids->idr0 = (uint32_t)idr0;
	ids->idr1 = (uint32_t)(SMMUV3_PUT(SMMUV3_IDR1_SIDSIZE, sid) |
		SMMUV3_PUT(SMMUV3_IDR1_SSIDSIZE, ssid) |
		SMMUV3_PUT(SMMUV3_IDR1_CMDQS, cmdq) | SMMUV3_PUT(SMMUV3_IDR1_EVENTQS, evtq) |
		SMMUV3_PUT(SMMUV3_IDR1_PRIQS, with & SMMUV3_MODEL_PRI ? priq : 0) |
		SMMUV3_PUT(SMMUV3_IDR1_ECMDQ, !!(with & SMMUV3_MODEL_ECMDQ)) |
		SMMUV3_IDR1_ATTR_PERMS_OVR | SMMUV3_IDR1_ATTR_TYPES_OVR);
	ids->idr3 = (uint32_t)(SMMUV3_IDR3_HAD |
		SMMUV3_PUT(SMMUV3_IDR3_PPS, !!(with & SMMUV3_MODEL_PPS)) |
		SMMUV3_PUT(SMMUV3_IDR3_RIL, !(no & SMMUV3_MODEL_NO_RIL)));
	ids->idr5 = (uint32_t)idr5;
	ids->idr6 = (uint32_t)(!(with & SMMUV3_MODEL_ECMDQ) ? 0 :
		SMMUV3_PUT(SMMUV3_IDR6_LOG2NUMQ, ecmdqs) |
		SMMUV3_PUT(SMMUV3_IDR6_LOG2NUMP, conf->ecmdq_pages_log2));
	return true;
}
