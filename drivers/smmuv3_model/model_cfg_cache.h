/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_CFG_CACHE_H
#define SMMUV3_MODEL_CFG_CACHE_H

/* The configuration cache: L1STDs, STEs, L1CDs and CDs. */

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
	uint32_t next;		/* index of the next in the bucket, plus 1; 0: none */
	uint8_t kind;
	bool used;
	uint8_t have;		/* one bit for each fetched word; complete when equal to want */
	uint8_t want;
	uint32_t sid;		/* of an L1STD: its first SID */
	uint32_t idx;		/* SSID; of an L1CD: its first SSID */
	uint64_t born;		/* oracle.seq when its first word was fetched */
	uint64_t addr;
	bool reported;		/* its difference from memory is reported */
	uint64_t dw[8];
};

#define SMMUV3_CFG_BUCKETS 4096

struct smmuv3_cfg {
	uint32_t bucket[SMMUV3_CFG_BUCKETS];
	struct smmuv3_cfg_entry *entry;
	uint32_t nb, cap, free;		/* free: index of the first free entry, plus 1 */
};

enum smmuv3_fetch {
	SMMUV3_FETCH_OK,
	SMMUV3_FETCH_BUSY,	/* incomplete: call again in the next step */
	SMMUV3_FETCH_ABORT,
};
/* Find an entry, or fetch it from @p addr. */
enum smmuv3_fetch smmuv3_cfg_get(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid,
		uint32_t idx, uint64_t addr, const struct smmuv3_cfg_entry **entry);
/* The complete cached entry, or NULL. */
const struct smmuv3_cfg_entry *smmuv3_cfg_peek(struct smmuv3_model *m, enum smmuv3_cfg_kind kind,
		uint32_t sid, uint32_t idx);
/* Remove an entry, if there is one, because its fetch failed. */
void smmuv3_cfg_forget(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid,
		uint32_t idx);
void smmuv3_cfg_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_cfg_clear(struct smmuv3_model *m);

/* The address bits inside a table of 2^log2 bytes. */
static inline uint64_t
smmuv3_low_bits(unsigned int log2)
{
	return log2 >= 64 ? UINT64_MAX : (UINT64_C(1) << log2) - 1;
}

#endif /* SMMUV3_MODEL_CFG_CACHE_H */
