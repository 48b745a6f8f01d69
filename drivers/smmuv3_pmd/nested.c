/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The guest's STE is untrusted. Its S1ContextPtr, and all addresses behind it, are IPAs, which the
 * parent's table bounds. Its ASIDs and PASIDs are its own, under the parent's VMID.
 */

#include <errno.h>
#include <inttypes.h>

#include "base.h"
#include "dev.h"
#include "domain.h"
#include "nested.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* What a guest may set. STRW is 0: EL1. EATS is checked, and the driver's in the STE. */
#define GUEST_STAGE1	(SMMUV3_STE0_S1FMT | SMMUV3_STE0_S1CONTEXTPTR | SMMUV3_STE0_S1CDMAX)
#define GUEST_WORD0	(SMMUV3_STE0_V | SMMUV3_STE0_CONFIG | GUEST_STAGE1)
#define GUEST_CDS	(SMMUV3_STE1_S1DSS | SMMUV3_STE1_S1CIR | SMMUV3_STE1_S1COR | \
			SMMUV3_STE1_S1CSH | SMMUV3_STE1_MEV | SMMUV3_STE1_S1STALLD)
#define GUEST_WORD1	(GUEST_CDS | SMMUV3_STE1_EATS)

/* Why the words are refused, or NULL [5.2, 6.4]. */
static const char *
find_fault(const struct smmuv3 *s, const uint64_t words[2], const struct smmuv3_domain *parent)
{
	unsigned int cdmax = SMMUV3_GET(SMMUV3_STE0_S1CDMAX, words[0]);
	unsigned int fmt = SMMUV3_GET(SMMUV3_STE0_S1FMT, words[0]);
	unsigned int eats = SMMUV3_GET(SMMUV3_STE1_EATS, words[1]);

	if (words[0] & ~GUEST_WORD0 || words[1] & ~GUEST_WORD1)
		return "it has bits that a guest must leave 0";
	if (!(words[0] & SMMUV3_STE0_V) ||
			SMMUV3_GET(SMMUV3_STE0_CONFIG, words[0]) != SMMUV3_STE_S1)
		return "V must be 1 and Config stage 1; for a bypass attach the parent";
	if ((words[0] & SMMUV3_STE0_S1CONTEXTPTR) >> parent->tr.va_bits != 0)
		return "S1ContextPtr is no IPA of the parent";
	if (cdmax > s->ssid_bits)
		return "S1CDMax is more than the SMMU has";
	if (cdmax != 0 && (fmt == SMMUV3_S1FMT_2LVL_4K || fmt == SMMUV3_S1FMT_2LVL_64K) &&
			!(s->idr0 & SMMUV3_IDR0_CD2L))
		return "the SMMU has no CDs of two levels (S1Fmt)";
	if (words[1] & SMMUV3_STE1_S1STALLD && s->stall_model != SMMUV3_STALL_MODEL_BOTH)
		return "S1STALLD is illegal with this STALL_MODEL";
	if (eats > SMMUV3_EATS_FULL)
		return "EATS must be 0 or 1";
	return NULL;
}

int
smmuv3_nested_check_translation(struct smmuv3 *s, const struct iopf_translation *tr,
		const struct smmuv3_domain *parent)
{
	const uint64_t *words = tr->guest_ste;
	const char *why;

	if (parent == NULL || !smmuv3_domain_is_stage2(parent)) {
		SMMUV3_LOG(ERR, s, "nested domain: its parent must be a stage-2 domain");
		return -EINVAL;
	}
	why = find_fault(s, words, parent);
	if (why == NULL)
		return 0;
	SMMUV3_LOG_LIMITED(ERR, s, &s->guest_log, "guest's STE 0x%" PRIx64 " 0x%" PRIx64 ": %s",
			words[0], words[1], why);
	return -EINVAL;
}

int
smmuv3_nested_check_dev(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct smmuv3_dev *dev)
{
	const uint64_t *words = domain->tr.guest_ste;
	unsigned int cdmax = SMMUV3_GET(SMMUV3_STE0_S1CDMAX, words[0]);

	if (cdmax > dev->cds.log2) {
		SMMUV3_LOG_LIMITED(ERR, s, &s->guest_log, "StreamID %u: S1CDMax %u of the "
				"guest's STE is too large: the device was added with %u PASIDs",
				dev->sids[0], cdmax, dev->nb_pasids);
		return -EINVAL;
	}
	if (words[1] & SMMUV3_STE1_EATS && !dev->pri) {
		SMMUV3_LOG_LIMITED(ERR, s, &s->guest_log, "StreamID %u: EATS of the guest's "
				"STE is set, and the device has no ATS: add it with IOPF_PRI, or "
				"show the guest none", dev->sids[0]);
		return -EINVAL;
	}
	return 0;
}

uint64_t
smmuv3_nested_make_word0(const struct smmuv3_domain *domain)
{
	return SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1_S2) |
		(domain->tr.guest_ste[0] & GUEST_STAGE1);
}

uint64_t
smmuv3_nested_make_word1(const struct smmuv3_domain *domain)
{
	return domain->tr.guest_ste[1] & GUEST_CDS;
}
