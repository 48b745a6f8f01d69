/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CD_H
#define SMMUV3_MODEL_CD_H

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"
#include "smmuv3_spec.h"

struct smmuv3_ctx;
struct smmuv3_model;
struct smmuv3_model_dma_conf;

/* Choose the CD of a transaction [5.2, 3.9.2.1]: OK with *idx, or with *bypass. */
enum smmuv3_result smmuv3_cd_choose(const struct smmuv3_model *m,
		const struct smmuv3_model_dma_conf *client, const struct smmuv3_ste *ste,
		bool *bypass, uint32_t *idx, struct smmuv3_fault *fault);
enum smmuv3_result smmuv3_cd_fetch(struct smmuv3_model *m, uint32_t sid,
		const struct smmuv3_ste *ste, const struct smmuv3_ctx *ctx, uint32_t idx,
		struct smmuv3_cd *cd, uint64_t *born, struct smmuv3_fault *fault);
/* log2 of the granule; 0 if TG (of TTB1, or else of TTB0 or stage 2) is not supported. */
unsigned int smmuv3_granule_log2(const struct smmuv3_model *m, unsigned int tg, bool ttb1);
/* Decode a CD into a context. False: the CD is illegal. */
bool smmuv3_cd_decode(const struct smmuv3_model *m, const struct smmuv3_ste *ste,
		const struct smmuv3_cd *cd, struct smmuv3_ctx *ctx);

#endif /* SMMUV3_MODEL_CD_H */
