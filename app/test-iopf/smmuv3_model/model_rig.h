/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MODEL_RIG_H
#define MODEL_RIG_H

/*
 * A minimal driver on the register page, for tests of the software SMMUv3: queues and tables in one
 * arena, a device address for each byte. The test steps the model, so the model does nothing
 * between two steps.
 */

#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_cmd.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"

#define RIG_ARENA	UINT64_C(0x40000000)	/* device address of tables and queues */
#define RIG_ARENA_LEN	(16u << 20)
#define RIG_DATA	UINT64_C(0x80000000)	/* of data pages */
#define RIG_DATA_LEN	(4u << 20)
#define RIG_SID		8
#define RIG_ASID	5

struct rig {
	struct smmuv3_model *m;
	uint8_t *regs;
	uint8_t *arena;
	size_t used;
	uint8_t *data;
	/* set before rig_start(); 0 selects a default */
	unsigned int cmdq_log2, evtq_log2, priq_log2, strtab_log2;
	bool queue_size_1;		/* a log2 of 0 means 0 */
	bool split;			/* 2-level stream table, SPLIT = 8 */
	struct smmuv3_cmd *cmdq;
	struct smmuv3_evt *evtq;
	struct smmuv3_ste *strtab;	/* linear */
	uint64_t *l1strtab;		/* 2-level */
	struct smmuv3_ppr *priq;
	uint32_t cmd_prod, evt_cons, pri_cons;
	struct smmuv3_cd *cd;		/* of RIG_SID, after rig_set_s1() */
	uint64_t *ttb0;			/* level 0, 4K, T0SZ = 16 */
	unsigned int nb_done;
	struct smmuv3_model_done done[64];
};

/* Make a model with its memory. Its registers have their reset values. */
void rig_open(struct rig *r, const struct smmuv3_model_conf *conf);
/* Switch everything off. Fails the test if the model's log or its oracle has an error. */
void rig_close(struct rig *r);
/* Set up queues and stream table, without interrupts, and set SMMUEN. */
void rig_start(struct rig *r);

/* Memory from the arena, zeroed, aligned to @p align. */
void *rig_alloc(struct rig *r, size_t len, size_t align);
uint64_t rig_get_addr(const struct rig *r, const void *ptr);
void *rig_get_ptr(const struct rig *r, uint64_t addr);

uint32_t rig_read(const struct rig *r, uint32_t offset);
void rig_write(const struct rig *r, uint32_t offset, uint32_t v);
/* Step until the model has nothing left to do. */
void rig_run(struct rig *r);
/* Write CR0 and wait for CR0ACK. */
void rig_set_cr0(struct rig *r, uint32_t v);

/* Write a command into the queue; write PROD; do both. */
void rig_put(struct rig *r, struct smmuv3_cmd cmd);
void rig_ring(struct rig *r);
void rig_send(struct rig *r, struct smmuv3_cmd cmd);
void rig_sync(struct rig *r);
/* CFGI_ALL, TLBI of all, SYNC. */
void rig_flush(struct rig *r);

/* Take the next event from the queue. False if there is none. */
bool rig_take_evt(struct rig *r, struct smmuv3_evt *evt);
/* The same without writing CONS. */
bool rig_peek_evt(struct rig *r, struct smmuv3_evt *evt);

/* Set up the PRIQ, after rig_start(), with 2^priq_log2 entries [4]. */
void rig_enable_priq(struct rig *r);
/* Take the next page request from the queue. False if there is none. */
bool rig_take_ppr(struct rig *r, struct smmuv3_ppr *ppr);
/* True while an overflow is not acknowledged. */
bool rig_has_overflow(struct rig *r);
/* Acknowledge the overflow and free the consumed entries in one store. */
void rig_ack_overflow(struct rig *r);
/* Answer @p ppr, with its PASID or without. */
void rig_send_pri_resp(struct rig *r, const struct smmuv3_ppr *ppr, bool pasid, unsigned int code);
/* ssid < 0: SSV = 0. */
struct smmuv3_cmd rig_make_atc_inv(uint32_t sid, int32_t ssid, uint64_t flags, uint64_t addr,
		unsigned int size);
/* An engine that is an endpoint; ssid < 0: no PASID. */
struct smmuv3_model_dma *rig_add_ats_dma(struct rig *r, int32_t ssid, unsigned int group_pages,
		unsigned int prg_indices, bool prg_pasid);

/* RIG_SID: stage 1, one CD, 4K granule, 48 bits. @p cd0: more bits for the CD's first word. */
void rig_set_s1(struct rig *r, uint64_t cd0);
/*
 * RIG_SID: stage 1 with 16 CDs that terminate and share one table. Traffic without PASID uses CD 0.
 */
void rig_set_s1_pasids(struct rig *r, uint64_t ste1);
void rig_set_ste(struct rig *r, uint32_t sid, const struct smmuv3_ste *ste);
struct smmuv3_ste *rig_get_ste(struct rig *r, uint32_t sid);

/* A valid CD for the rig's tables that stalls. */
struct smmuv3_cd rig_make_cd(struct rig *r, uint16_t asid);

/* Attributes of a leaf. */
#define RIG_AF		(UINT64_C(1) << 10)
#define RIG_NG		(UINT64_C(1) << 11)
#define RIG_UNPRIV	(UINT64_C(1) << 6)
#define RIG_RO		(UINT64_C(1) << 7)
#define RIG_PXN		(UINT64_C(1) << 53)
#define RIG_UXN		(UINT64_C(1) << 54)
#define RIG_RW		(RIG_AF | RIG_NG | RIG_UNPRIV)

/* The level 3 entry of @p va (4K). Missing tables are added. */
uint64_t *rig_get_pte(struct rig *r, uint64_t *ttb, uint64_t va);
/* The entry of @p va at @p level of any granule (log2). Missing tables above it are added. */
uint64_t *rig_get_entry(struct rig *r, uint64_t *ttb, unsigned int gran, unsigned int start,
		unsigned int level, uint64_t va);
void rig_map(struct rig *r, uint64_t va, uint64_t pa, uint64_t attrs);
void rig_unmap(struct rig *r, uint64_t va);

/* Run one access until it ends or stalls. If it ended, it is in done[]. */
struct smmuv3_model_dma *rig_add_dma(struct rig *r, uint32_t sid, int32_t ssid);
void rig_submit(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type,
		uint64_t addr, void *buf, size_t len);
/* Poll ended accesses. Returns their number; the last one is done[nb_done - 1]. */
unsigned int rig_poll(struct rig *r, struct smmuv3_model_dma *dma);
/* Submit, run, and expect the end. */
enum smmuv3_model_status rig_access(struct rig *r, struct smmuv3_model_dma *dma,
		enum smmuv3_model_op_type type, uint64_t addr, void *buf, size_t len);

/* The log has exactly one error, which contains @p text. Clears the log. */
void rig_expect_error(struct rig *r, const char *text);
/* The same for the oracle's log. */
void rig_expect_oracle(struct rig *r, const char *text);
uint64_t rig_get_stat(const struct rig *r, enum smmuv3_model_stat stat);

#endif /* MODEL_RIG_H */
