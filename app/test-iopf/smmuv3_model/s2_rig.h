/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef S2_RIG_H
#define S2_RIG_H

/*
 * The rig with stage 2 for RIG_SID. The IPA of each byte of the arena and of the data is its
 * address plus S2_OFF, so that an IPA that is used as an address aborts. Stage 2 has 40 bits and
 * starts at level 1 with two concatenated tables; the IPAs are in the second. All faults
 * terminate and are recorded.
 */

#include <stdbool.h>
#include <stdint.h>

#include "walk_rig.h"

#define S2_OFF		(UINT64_C(1) << 39)
#define S2_VMID		7
#define S2_VA		UINT64_C(0x4040201000)	/* index 0, 257, 1, 1 at levels 0 to 3 */
#define S2_DATA		(RIG_DATA + S2_OFF)	/* the IPA of the data */

/* Attributes of a stage-2 leaf. */
#define S2_READ		(UINT64_C(1) << 6)
#define S2_WRITE	(UINT64_C(2) << 6)
#define S2_XN		(UINT64_C(1) << 54)
#define S2_NORMAL	(UINT64_C(0xf) << 2)
#define S2_RW		(RIG_AF | S2_READ | S2_WRITE | S2_NORMAL)

struct s2_rig {
	struct rig r;
	uint64_t *ttb2;			/* two tables of level 1 */
	uint64_t *ttb1;			/* level 0 of stage 1; holds IPAs */
	struct smmuv3_cd *cd;
	struct smmuv3_ste ste;		/* as installed */
	struct smmuv3_model_dma *dma;	/* of RIG_SID, without a PASID */
};

/* @p config: SMMUV3_STE_S2 or SMMUV3_STE_S1_S2. conf.features gets SMMUV3_MODEL_S2. */
void s2_open(struct s2_rig *s, const struct smmuv3_model_conf *conf, unsigned int config);
/* The same with 2^evtq_log2 entries in the EVTQ. */
void s2_open_small(struct s2_rig *s, const struct smmuv3_model_conf *conf, unsigned int config,
		unsigned int evtq_log2);
void s2_close(struct s2_rig *s);
/* The words 2 and 3 of an STE with the rig's stage 2. */
void s2_fill_ste(struct s2_rig *s, struct smmuv3_ste *ste, uint16_t vmid);
/* Change the installed STE, CFGI_STE, SYNC. */
void s2_change_ste(struct s2_rig *s, unsigned int dw, uint64_t clear, uint64_t set);
/* The level 3 entry of an IPA in stage 2, or of a VA in stage 1. Missing tables are added. */
uint64_t *s2_get_pte(struct s2_rig *s, uint64_t ipa);
uint64_t *s2_get_s1_pte(struct s2_rig *s, uint64_t va);
/* Map a page in stage 1 or 2. @p ipa, @p pa: the output. */
void s2_map_s1(struct s2_rig *s, uint64_t va, uint64_t ipa, uint64_t attrs);
void s2_map(struct s2_rig *s, uint64_t ipa, uint64_t pa, uint64_t attrs);
/* The IPA of memory from the arena. */
uint64_t s2_get_ipa(const struct s2_rig *s, const void *ptr);
/* As walk_access(). */
unsigned int s2_access(struct s2_rig *s, uint64_t va, struct walk_how how, struct smmuv3_evt *evt);
/* The access has this stage-2 fault. */
void s2_expect_fault(struct s2_rig *s, uint64_t va, struct walk_how how, uint8_t id,
		unsigned int why, uint64_t ipa);

#endif /* S2_RIG_H */
