/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CTX_H
#define SMMUV3_MODEL_CTX_H

/* Translation contexts: the STE and CD of a StreamID and SubstreamID, decoded. */

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"

struct smmuv3_model;
struct smmuv3_model_dma;

/* The TTB0 or TTB1 half of a context's address range. */
struct smmuv3_half {
	bool epd, tbi, had;
	uint8_t tsz, gran, start;	/* gran: log2 of the granule */
	uint64_t ttb;
};

/* Stage 2 of an STE. */
struct smmuv3_s2 {
	bool on;
	bool affd, ptw, stall, record;	/* affd: also with ha */
	bool ha, hd;
	uint8_t gran, start;	/* gran: log2 of the granule */
	uint8_t bits;		/* of an IPA */
	uint8_t out_bits;	/* of an output address */
	uint32_t space;		/* VMID, SMMUV3_ANY_ASID */
	uint64_t ttb;
};

/* The stages that translate. From NESTED on stage 1 does. */
enum smmuv3_ctx_kind {
	SMMUV3_CTX_NONE,
	SMMUV3_CTX_BYPASS,
	SMMUV3_CTX_S2,
	SMMUV3_CTX_NESTED,
	SMMUV3_CTX_S1,
};

/* The STE alone, for ATS. */
enum smmuv3_ctx_ste {
	SMMUV3_CTX_STE_NONE,	/* no STE, or an illegal one */
	SMMUV3_CTX_STE_ABORTS,
	SMMUV3_CTX_STE_LEGAL,
};

struct smmuv3_ctx {
	uint32_t gen;		/* cfg_gen when the context was made */
	uint8_t kind;
	uint8_t ste;		/* enum smmuv3_ctx_ste, also if there is no context */
	uint8_t ats;		/* SMMUV3_EATS_*; SPLIT has no effect without CR0.ATSCHK */
	uint8_t privcfg, instcfg;
	bool stall, record, abort;
	bool merge;		/* STE.MEV */
	bool affd, wxn, pan;	/* affd: also with ha */
	bool ha, hd;		/* hd only with ha */
	uint8_t out_bits;	/* bits of an output address */
	uint16_t asid;
	uint32_t space;		/* VMID and ASID */
	uint32_t sid;
	uint64_t checked;	/* the oracle has checked invalidations up to this number */
	uint64_t ste_born, cd_born;	/* oracle.seq when they were fetched */
	struct smmuv3_half half[2];
	struct smmuv3_s2 s2;	/* valid with a legal STE, also if there is no context */
};

/* A number for the tables where a walk starts; for the comparison of TLB entries only. */
static inline uint64_t
smmuv3_ctx_root(const struct smmuv3_ctx *ctx, const struct smmuv3_half *half)
{
	return half->ttb ^ ctx->s2.ttb << 16;
}

/* Make dma->ctx. */
enum smmuv3_result smmuv3_ctx_make(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_fault *fault);

#endif /* SMMUV3_MODEL_CTX_H */
