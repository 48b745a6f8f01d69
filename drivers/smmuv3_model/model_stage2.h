/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STAGE2_H
#define SMMUV3_MODEL_STAGE2_H

/*
 * Stage 2: an IPA becomes an address. An IPA is the output of stage 1, the input address if
 * stage 1 is off, or, with both stages, the address of an L1CD, a CD or a stage-1 descriptor.
 */

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"

struct smmuv3_ctx;
struct smmuv3_model;
struct smmuv3_tlb_entry;

/* The fault of stage 2 @p id for the access to @p ipa of class @p why (SMMUV3_CLASS_*). */
static inline enum smmuv3_result
smmuv3_s2_fault(struct smmuv3_fault *fault, uint8_t id, unsigned int why, uint64_t ipa)
{
	fault->s2 = true;
	fault->s2_class = (uint8_t)why;
	return smmuv3_fault_set(fault, id, ipa);
}

/*
 * The stage-2 TLB entry of @p ipa, from the TLB or by a walk. It may permit nothing. @p write: make
 * a writable-clean leaf dirty, if the STE has S2HD.
 */
enum smmuv3_result smmuv3_s2_find(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		uint64_t ipa, unsigned int why, uint64_t va, bool write,
		struct smmuv3_tlb_entry **e, struct smmuv3_fault *fault);
/* Does stage 2 permit the access? @p e: an entry of stage 2, or of both. */
bool smmuv3_s2_is_permitted(const struct smmuv3_tlb_entry *e, bool write, bool instr);
/* The address of a descriptor or CD that the SMMU is to read at @p ipa. */
enum smmuv3_result smmuv3_s2_read(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		uint64_t ipa, unsigned int why, uint64_t va, uint64_t *pa,
		struct smmuv3_fault *fault);
/* May the SMMU update the stage-1 descriptor at @p ipa [3.13.5]? */
enum smmuv3_result smmuv3_s2_allow_update(struct smmuv3_model *m, const struct smmuv3_ctx *ctx,
		uint64_t ipa, uint64_t va, struct smmuv3_fault *fault);
/*
 * Make the stage-1 leaf of @p va, whose output is an IPA, an entry of both stages with the
 * smaller one's size.
 */
void smmuv3_s2_combine(struct smmuv3_model *m, struct smmuv3_tlb_entry *leaf,
		const struct smmuv3_tlb_entry *s2, uint64_t va);

#endif /* SMMUV3_MODEL_STAGE2_H */
