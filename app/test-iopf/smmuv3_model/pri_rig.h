/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PRI_RIG_H
#define PRI_RIG_H

/*
 * The rig with an endpoint of StreamID RIG_SID that has ATS and PRI, shared by the tests of groups
 * and those of the PRIQ. The PRIQ has 4 entries.
 */

#include "model_rig.h"

#define PRI_VA		UINT64_C(0x10000000)
#define PRI_EATS	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL)
#define PRI_CR0_ON	0xfu
#define FAILURE		SMMUV3_PRI_RESP_FAILURE
#define INVALID		SMMUV3_PRI_RESP_INVALID
#define SUCCESS		SMMUV3_PRI_RESP_SUCCESS

extern const struct smmuv3_model_conf pri_conf;
/* Data of the endpoint's DMA. Only the test that wrote it reads it. */
extern uint8_t pri_buf[64][8 * 4096];

/* Open, enable the PRIQ, give RIG_SID 16 PASIDs and ATS. @p ste1: more bits for the STE. */
void pri_setup_conf(struct rig *r, const struct smmuv3_model_conf *conf, uint64_t ste1);
void pri_setup(struct rig *r);

/* Add an engine of the endpoint. The first engine enables ATS and PRI. ssid < 0: no PASID. */
struct smmuv3_model_dma *pri_add_engine(struct rig *r, int32_t ssid, unsigned int pages,
		unsigned int indices, bool prg_pasid, uint32_t credits);
/* Set up, and add an engine with PASID 1. */
struct smmuv3_model_dma *pri_open(struct rig *r, unsigned int pages, uint32_t credits);
/* Disable and enable PRI. */
void pri_restart(struct smmuv3_model_dma *dma, uint32_t credits);
void pri_close(struct rig *r, struct smmuv3_model_dma *dma);

/* Start a write of @p pages pages. */
void pri_start(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages);
/* The same, but run only one unit of work of the model. */
void pri_begin(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va, unsigned int pages);
/* Take the next request from the queue, which must have one. */
struct smmuv3_ppr pri_take(struct rig *r);
/* Start a write of one page and take its request. */
struct smmuv3_ppr pri_ask(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va);
void pri_check_empty(struct rig *r);
void pri_map(struct rig *r, uint64_t va, unsigned int pages);
/* One DMA ended with @p status. */
void pri_check_ended(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_status status);
/* Answer INVALID, without PASID: the DMA aborts. */
void pri_refuse(struct rig *r, struct smmuv3_model_dma *dma, const struct smmuv3_ppr *ppr);
/* Answer INVALID to each request in the queue that has Last. */
void pri_refuse_all(struct rig *r);
unsigned int pri_get_index(const struct smmuv3_ppr *ppr);

/* Fill the queue with @p n groups of one page, without an overflow. */
void pri_fill(struct rig *r, struct smmuv3_model_dma *dma, unsigned int n);
/* A group of two requests of which the first was sent, into a full queue or an empty one. */
struct smmuv3_model_dma *pri_send_half(struct rig *r, int32_t ssid, bool full);

#endif /* PRI_RIG_H */
