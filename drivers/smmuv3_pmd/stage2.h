/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STAGE2_H
#define SMMUV3_STAGE2_H

/**
 * @file
 * Translations of stage 2, and their fields in words 2 and 3 of an STE [5.2].
 */

#include <stdbool.h>
#include <stdint.h>

struct iopf_translation;
struct smmuv3;
struct smmuv3_domain;

/* -ENOTSUP (the SMMU has no stage 2) or -EINVAL, and a line in the log. */
int smmuv3_stage2_check_translation(const struct smmuv3 *s, const struct iopf_translation *tr);
/* @p stall: S2S. */
void smmuv3_stage2_make_words(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		bool stall, uint64_t *dw2, uint64_t *dw3);

#endif /* SMMUV3_STAGE2_H */
