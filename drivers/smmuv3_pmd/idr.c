/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* ID registers: what this SMMU has, and whether the driver can use it [6.3.1 - 6.3.6]. */

#include "base.h"
#include "idr.h"
#include "priq.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "strtab.h"

static int
refuse(const struct smmuv3 *s, const char *what)
{
	SMMUV3_LOG(ERR, s, "the driver cannot use this SMMU: %s (IDR0 0x%08x, IDR1 0x%08x, "
			"IDR3 0x%08x, IDR5 0x%08x)", what, s->idr0, s->idr1, s->idr3, s->idr5);
	return -ENOTSUP;
}

/* IIDR */
#define ARM		0x43b
#define MMU_700		0x487

/* Errata by product; @p from and @p to are variant << 4 | revision. */
static const struct {
	uint16_t implementer, product;
	uint8_t from, to;
	uint32_t errata;
	const char *name;
} errata[] = {
	{ ARM, MMU_700, 0x00, 0xff, SMMUV3_ERRATUM_SYNC_BATCHES,
		"MMU-700, 2812531" },
};

uint32_t
smmuv3_errata_lookup(uint32_t iidr, const char **name)
{
	uint8_t version = SMMUV3_GET(SMMUV3_IIDR_VARIANT, iidr) << 4 |
		SMMUV3_GET(SMMUV3_IIDR_REVISION, iidr);
	unsigned int i;

	for (i = 0; i < RTE_DIM(errata); i++)
		if (SMMUV3_GET(SMMUV3_IIDR_IMPLEMENTER, iidr) == errata[i].implementer &&
				SMMUV3_GET(SMMUV3_IIDR_PRODUCTID, iidr) == errata[i].product &&
				version >= errata[i].from && version <= errata[i].to) {
			*name = errata[i].name;
			return errata[i].errata;
		}
	return 0;
}

static uint32_t
decode_granules(uint32_t idr5)
{
	return (idr5 & SMMUV3_IDR5_GRAN4K ? 1u << 12 : 0) |
		(idr5 & SMMUV3_IDR5_GRAN16K ? 1u << 14 : 0) |
		(idr5 & SMMUV3_IDR5_GRAN64K ? 1u << 16 : 0);
}

int
smmuv3_idr_read(struct smmuv3 *s)
{
	unsigned int ttf, endian, sid_max;
	const char *erratum;

	s->idr0 = smmuv3_read32(s->regs, SMMUV3_IDR0);
	s->idr1 = smmuv3_read32(s->regs, SMMUV3_IDR1);
	s->idr3 = smmuv3_read32(s->regs, SMMUV3_IDR3);
	s->idr5 = smmuv3_read32(s->regs, SMMUV3_IDR5);

	if (s->idr0 == UINT32_MAX && s->idr1 == UINT32_MAX)
		return refuse(s, "registers read as all ones: the SMMU is absent or unpowered");
	if (!(s->idr0 & SMMUV3_IDR0_S1P))
		return refuse(s, "no stage 1");
	ttf = SMMUV3_GET(SMMUV3_IDR0_TTF, s->idr0);
	if (ttf != SMMUV3_TTF_AARCH64 && ttf != SMMUV3_TTF_BOTH)
		return refuse(s, "no AArch64 translation tables");
	endian = SMMUV3_GET(SMMUV3_IDR0_TTENDIAN, s->idr0);
	if (endian != SMMUV3_TTENDIAN_MIXED && endian != SMMUV3_TTENDIAN_LE)
		return refuse(s, "no little-endian translation tables");
	if (!(s->idr0 & SMMUV3_IDR0_COHACC))
		return refuse(s, "its accesses to queues and tables are not coherent");
	if (s->idr1 & (SMMUV3_IDR1_TABLES_PRESET | SMMUV3_IDR1_QUEUES_PRESET))
		return refuse(s, "its tables or queues are at preset addresses");
	s->granules = decode_granules(s->idr5);
	if (s->granules == 0)
		return refuse(s, "no translation granule");
	s->stall_model = SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, s->idr0);
	if (s->stall_model > SMMUV3_STALL_MODEL_FORCED)
		return refuse(s, "a reserved STALL_MODEL");

	/* Also 3, which adds access flags of tables. */
	s->httu = SMMUV3_GET(SMMUV3_IDR0_HTTU, s->idr0);
	s->max_stalls = s->stall_model == SMMUV3_STALL_MODEL_TERM ? 0 :
			SMMUV3_GET(SMMUV3_IDR5_STALL_MAX, s->idr5);
	s->oas_bits = smmuv3_oas_bits(SMMUV3_GET(SMMUV3_IDR5_OAS, s->idr5));
	/* Tables of AArch32 have IPAs of 40 bits, whatever OAS is [3.4]. */
	if (s->idr0 & SMMUV3_IDR0_S2P) {
		s->ipa_bits = RTE_MIN(RTE_MAX(s->oas_bits, ttf == SMMUV3_TTF_BOTH ? 40u : 0), 48u);
		s->vmid_bits = s->idr0 & SMMUV3_IDR0_VMID16 ? 16 : 8;
	}
	s->ssid_bits = RTE_MIN(SMMUV3_GET(SMMUV3_IDR1_SSIDSIZE, s->idr1), 20u);
	s->cmdq_log2_max = RTE_MIN(SMMUV3_GET(SMMUV3_IDR1_CMDQS, s->idr1),
			(uint64_t)SMMUV3_QUEUE_LOG2_MAX);
	s->evtq_log2_max = RTE_MIN(SMMUV3_GET(SMMUV3_IDR1_EVENTQS, s->idr1),
			(uint64_t)SMMUV3_QUEUE_LOG2_MAX);

	/* PRI without ATS is RES0: no endpoint could send a page request. */
	s->ats = (s->idr0 & SMMUV3_IDR0_ATS) != 0;
	s->pri = s->ats && s->idr0 & SMMUV3_IDR0_PRI;
	s->priq_log2_max = s->pri ? RTE_MIN(SMMUV3_GET(SMMUV3_IDR1_PRIQS, s->idr1),
			(uint64_t)SMMUV3_PRIQ_LOG2_CAP) : 0;

	s->errata = smmuv3_errata_lookup(smmuv3_read32(s->regs, SMMUV3_IIDR), &erratum);
	if (s->errata != 0)
		SMMUV3_LOG(NOTICE, s, "the driver works around errata of %s", erratum);

	/* Two levels only if that saves memory [6.3.24]. */
	s->sid_bits = RTE_MIN(SMMUV3_GET(SMMUV3_IDR1_SIDSIZE, s->idr1), 32u);
	s->strtab.two_level = s->sid_bits > SMMUV3_SPLIT &&
		SMMUV3_GET(SMMUV3_IDR0_ST_LEVEL, s->idr0) == SMMUV3_ST_LEVEL_2LVL;
	sid_max = s->strtab.two_level ? SMMUV3_SPLIT + SMMUV3_L1_LOG2_MAX : SMMUV3_LINEAR_LOG2_MAX;
	if (s->sid_bits > sid_max) {
		SMMUV3_LOG(NOTICE, s, "only %u of the SMMU's %u StreamID bits are used: "
				"the stream table would be too large", sid_max, s->sid_bits);
		s->sid_bits = sid_max;
	}
	s->strtab.log2 = s->sid_bits;
	return 0;
}

void
smmuv3_idr_fill_info(const struct smmuv3 *s, struct iopf_iommu_info *info)
{
	info->backend = s->backend->name;
	info->sid_bits = s->sid_bits;
	info->pasid_bits = s->ssid_bits;
	info->addr_bits = s->oas_bits;
	info->va_bits = 48;
	info->granules = s->granules;
	info->stage2 = s->vmid_bits != 0;
	info->ipa_bits = s->ipa_bits;
	info->vmid_bits = s->vmid_bits;
	info->access_flag = s->httu >= SMMUV3_HTTU_AF;
	info->dirty = s->httu >= SMMUV3_HTTU_DIRTY;
	info->max_stalls = s->max_stalls;
	info->stall_forced = s->stall_model == SMMUV3_STALL_MODEL_FORCED;
	info->razwi = !(s->idr0 & SMMUV3_IDR0_TERM_MODEL);
	info->fixed_memory = s->backend->fixed_memory;
	info->request_queue_size = s->pri ? 1u << s->priq_log2 : 0;
	/* The rest of the queue is for stop markers, which use no credit. */
	info->max_requests = s->pri ? RTE_MAX(info->request_queue_size -
			RTE_MAX(info->request_queue_size / 8, 1u), 1u) : 0;
	info->pri_pasid = s->pri && s->idr3 & SMMUV3_IDR3_PPS;
	info->nb_queues = s->pri ? 2 : 1;
	info->max_event_queue = 1u << s->evtq_log2_max;
	info->max_command_queue = 1u << s->cmdq_log2_max;
	info->max_request_queue = s->pri ? 1u << s->priq_log2_max : 0;
}
