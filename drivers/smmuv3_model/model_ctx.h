/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CTX_H
#define SMMUV3_MODEL_CTX_H

/* Translation contexts: what a StreamID and a SubstreamID lead to. */

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"

struct smmuv3_model;
struct smmuv3_model_dma;

/* One half of a context's address range. */
struct smmuv3_half {
	bool epd, tbi, had;
	uint8_t tsz, gran, start;	/* gran: log2 of the granule */
	uint64_t ttb;
};

enum smmuv3_ctx_kind {
	SMMUV3_CTX_NONE,
	SMMUV3_CTX_BYPASS,
	SMMUV3_CTX_S1,
};

/* What matters of the STE alone. */
enum smmuv3_ctx_ste {
	SMMUV3_CTX_STE_NONE,	/* none, or not a legal one */
	SMMUV3_CTX_STE_ABORTS,
	SMMUV3_CTX_STE_LEGAL,
};

struct smmuv3_ctx {
	uint32_t gen;		/* of the configuration this was made from */
	uint8_t kind;
	uint8_t ste;		/* enum smmuv3_ctx_ste, also if there is no context */
	bool ats;		/* effective EATS is 1 */
	uint8_t privcfg, instcfg;
	bool stall, record, abort;
	bool affd, wxn, pan;
	uint8_t out_bits;	/* of an output address */
	uint16_t asid;
	uint32_t sid;
	uint64_t checked;	/* oracle: promises up to here were looked at */
	uint64_t ste_born, cd_born;
	struct smmuv3_half half[2];
};

enum smmuv3_result smmuv3_ctx_make(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_fault *fault);

#endif /* SMMUV3_MODEL_CTX_H */
