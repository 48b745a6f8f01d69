/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STE_H
#define SMMUV3_MODEL_STE_H

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"
#include "smmuv3_spec.h"

struct smmuv3_model;
struct smmuv3_s2;

enum smmuv3_result smmuv3_ste_fetch(struct smmuv3_model *m, uint32_t sid, struct smmuv3_ste *ste,
		uint64_t *born, struct smmuv3_fault *fault);
/* For a valid STE with Config[2] set [5.2]. */
bool smmuv3_ste_is_legal(const struct smmuv3_model *m, const struct smmuv3_ste *ste);
/* Decode stage 2. False: its fields are illegal. With Config[1] = 0 stage 2 is off. */
bool smmuv3_ste_decode_s2(const struct smmuv3_model *m, const struct smmuv3_ste *ste,
		struct smmuv3_s2 *s2);
bool smmuv3_ste_is_2lvl(const struct smmuv3_ste *ste);
unsigned int smmuv3_ste_cdmax(const struct smmuv3_model *m, const struct smmuv3_ste *ste);
/* STE.PPAR of a legal STE. False: a fault; there is no legal STE. */
bool smmuv3_ste_ppar(struct smmuv3_model *m, uint32_t sid, bool *ppar, struct smmuv3_fault *fault);
/* Does the STE terminate all transactions? It is cached, or read from memory. */
bool smmuv3_ste_aborts(struct smmuv3_model *m, uint32_t sid);

#endif /* SMMUV3_MODEL_STE_H */
