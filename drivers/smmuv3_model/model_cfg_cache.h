/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CFG_CACHE_H
#define SMMUV3_MODEL_CFG_CACHE_H

/* The configuration cache. */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3_inv;
struct smmuv3_model;

enum smmuv3_cfg_kind {
	SMMUV3_CFG_L1STD,
	SMMUV3_CFG_STE,
	SMMUV3_CFG_L1CD,
	SMMUV3_CFG_CD,
};

struct smmuv3_cfg_entry {
	uint32_t next;		/* in its bucket, + 1; 0 ends */
	uint8_t kind;
	bool used;
	uint8_t have;		/* words fetched, one bit each; whole when == want */
	uint8_t want;
	uint32_t sid;		/* of an L1STD: the first SID it serves */
	uint32_t idx;		/* SSID, or the first SSID an L1CD serves */
	uint64_t born;		/* oracle sequence of the first word fetched */
	uint64_t addr;
	bool reported;		/* as differing from memory */
	uint64_t dw[8];
};

#define SMMUV3_CFG_BUCKETS 4096

struct smmuv3_cfg {
	uint32_t bucket[SMMUV3_CFG_BUCKETS];
	struct smmuv3_cfg_entry *entry;
	uint32_t nb, cap, free;		/* free: index + 1 */
};

enum smmuv3_fetch {
	SMMUV3_FETCH_OK,
	SMMUV3_FETCH_BUSY,	/* some words are still to come: ask again in the next step */
	SMMUV3_FETCH_ABORT,
};
enum smmuv3_fetch smmuv3_cfg_get(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid,
		uint32_t idx, uint64_t addr, const struct smmuv3_cfg_entry **entry);
const struct smmuv3_cfg_entry *smmuv3_cfg_peek(struct smmuv3_model *m, enum smmuv3_cfg_kind kind,
		uint32_t sid, uint32_t idx);
void smmuv3_cfg_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_cfg_clear(struct smmuv3_model *m);

/* Address bits that a table of 2^log2 bytes has below its base. */
static inline uint64_t
smmuv3_low_bits(unsigned int log2)
{
	return log2 >= 64 ? UINT64_MAX : (UINT64_C(1) << log2) - 1;
}

#endif /* SMMUV3_MODEL_CFG_CACHE_H */
