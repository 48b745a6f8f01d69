/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PRI_RIG_H
#define PRI_RIG_H

/*
 * The rig with a PCIe function that has ATS and PRI, of StreamID RIG_SID: what the
 * tests of groups and those of the PRIQ have in common. The PRIQ has 4 entries.
 */

#include "model_rig.h"

#define PRI_VA		UINT64_C(0x10000000)
#define PRI_EATS	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL)
#define PRI_CR0_ON	0xfu
#define FAILURE		SMMUV3_PRI_RESP_FAILURE
#define INVALID		SMMUV3_PRI_RESP_INVALID
#define SUCCESS		SMMUV3_PRI_RESP_SUCCESS

extern const struct smmuv3_model_conf pri_conf;
/* Of the function's DMA; what is in it matters to no test but its own. */
extern uint8_t pri_buf[64][8 * 4096];

/* Open, PRIQ on, RIG_SID with 16 PASIDs and ATS; @p ste1: more bits for the STE. */
void pri_setup_conf(struct rig *r, const struct smmuv3_model_conf *conf, uint64_t ste1);
void pri_setup(struct rig *r);

/* An engine of the function; the first one switches ATS and PRI on. ssid < 0: none. */
struct smmuv3_model_dma *pri_function(struct rig *r, int32_t ssid, unsigned int pages,
		unsigned int indices, bool prg_pasid, uint32_t credits);
/* Set up, and one with PASID 1. */
struct smmuv3_model_dma *pri_up(struct rig *r, unsigned int pages, uint32_t credits);
/* PRI off and on again. */
void pri_restart(struct smmuv3_model_dma *dma, uint32_t credits);
void pri_close(struct rig *r, struct smmuv3_model_dma *dma);

/* A write of so many pages begins. */
void pri_start(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages);
/* The same up to one unit of work of the model. */
void pri_begin(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages);
/* The next request, consumed: there is one. */
struct smmuv3_ppr pri_take(struct rig *r);
/* A write of one page begins, and this is its request. */
struct smmuv3_ppr pri_ask(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va);
void pri_none(struct rig *r);
void pri_map(struct rig *r, uint64_t va, unsigned int pages);
/* One DMA ended so. */
void pri_ended(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_status status);
/* Answer INVALID, without PASID; a DMA aborts. */
void pri_refuse(struct rig *r, struct smmuv3_model_dma *dma, const struct smmuv3_ppr *ppr);
/* INVALID to all that is in the queue and has Last. */
void pri_refuse_all(struct rig *r);
unsigned int pri_index(const struct smmuv3_ppr *ppr);

/* So many groups of one page, which fill the queue; no overflow yet. */
void pri_fill(struct rig *r, struct smmuv3_model_dma *dma, unsigned int n);
/* A group of two of which the first was sent; into a full queue, or one that is empty. */
struct smmuv3_model_dma *pri_half_sent(struct rig *r, int32_t ssid, bool full);

#endif /* PRI_RIG_H */
