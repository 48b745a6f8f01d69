/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MODEL_RIG_H
#define MODEL_RIG_H

/*
 * A tiny driver written by hand on the register page, for tests of the software
 * SMMUv3: queues and tables in one arena, a device address for each byte. The
 * model is stepped by the test, so nothing happens in between.
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
	/* set before rig_up(); 0: a default */
	unsigned int cmdq_log2, evtq_log2, priq_log2, strtab_log2;
	bool queue_size_1;		/* log2 of 0 is meant */
	bool split;			/* 2-level stream table, SPLIT = 8 */
	struct smmuv3_cmd *cmdq;
	struct smmuv3_evt *evtq;
	struct smmuv3_ste *strtab;	/* linear */
	uint64_t *l1strtab;		/* 2-level */
	struct smmuv3_ppr *priq;
	uint32_t cmd_prod, evt_cons, pri_cons;
	struct smmuv3_cd *cd;		/* of RIG_SID, with rig_s1() */
	uint64_t *ttb0;			/* level 0, 4K, T0SZ = 16 */
	unsigned int nb_done;
	struct smmuv3_model_done done[64];
};

/* A model with its memory, its registers at reset. */
void rig_open(struct rig *r, const struct smmuv3_model_conf *conf);
/* Everything off, nothing wrong: fails the test if there is an error in a log. */
void rig_close(struct rig *r);
/* Queues, stream table, interrupts off, SMMUEN. */
void rig_up(struct rig *r);

/* Memory from the arena, zeroed, aligned to @p align. */
void *rig_alloc(struct rig *r, size_t len, size_t align);
uint64_t rig_addr(const struct rig *r, const void *ptr);
void *rig_ptr(const struct rig *r, uint64_t addr);

uint32_t rig_read(const struct rig *r, uint32_t offset);
void rig_write(const struct rig *r, uint32_t offset, uint32_t v);
/* Step until nothing happens. */
void rig_run(struct rig *r);
/* Write CR0 and wait for CR0ACK. */
void rig_cr0(struct rig *r, uint32_t v);

/* Put a command, without and with telling the SMMU. */
void rig_put(struct rig *r, struct smmuv3_cmd cmd);
void rig_ring(struct rig *r);
void rig_cmd(struct rig *r, struct smmuv3_cmd cmd);
void rig_sync(struct rig *r);
/* CFGI of everything, TLBI of everything, SYNC. */
void rig_flush(struct rig *r);

/* The next event, consumed; false if there is none. */
bool rig_evt(struct rig *r, struct smmuv3_evt *evt);
/* The same without writing CONS. */
bool rig_evt_peek(struct rig *r, struct smmuv3_evt *evt);

/* The PRIQ, after rig_up(), of 2^priq_log2 entries [4]. */
void rig_priq_up(struct rig *r);
/* The next page request, consumed; false if there is none. */
bool rig_ppr(struct rig *r, struct smmuv3_ppr *ppr);
/* Overflow seen and not acknowledged. */
bool rig_priq_over(struct rig *r);
/* Acknowledge it, and free what was consumed, in one store. */
void rig_priq_ack(struct rig *r);
/* An answer to @p ppr, with its PASID or without. */
void rig_pri_resp(struct rig *r, const struct smmuv3_ppr *ppr, bool pasid, unsigned int code);
/* ssid < 0: SSV = 0. */
struct smmuv3_cmd rig_atc_inv(uint32_t sid, int32_t ssid, uint64_t flags, uint64_t addr,
		unsigned int size);
/* An engine that is a PCIe function; ssid < 0: none. */
struct smmuv3_model_dma *rig_ats_dma(struct rig *r, int32_t ssid, unsigned int group_pages,
		unsigned int prg_indices, bool prg_pasid);

/* RIG_SID: stage 1, one CD, 4K granule, 48 bits. @p cd0: more bits for its first word. */
void rig_s1(struct rig *r, uint64_t cd0);
/* RIG_SID: stage 1 with 16 CDs of the same tables that terminate, untagged traffic to CD 0. */
void rig_s1_pasids(struct rig *r, uint64_t ste1);
void rig_ste(struct rig *r, uint32_t sid, const struct smmuv3_ste *ste);
struct smmuv3_ste *rig_ste_ptr(struct rig *r, uint32_t sid);

/* A valid CD for the rig's tables, stalling. */
struct smmuv3_cd rig_cd_make(struct rig *r, uint16_t asid);

/* Attributes of a leaf. */
#define RIG_AF		(UINT64_C(1) << 10)
#define RIG_NG		(UINT64_C(1) << 11)
#define RIG_UNPRIV	(UINT64_C(1) << 6)
#define RIG_RO		(UINT64_C(1) << 7)
#define RIG_PXN		(UINT64_C(1) << 53)
#define RIG_UXN		(UINT64_C(1) << 54)
#define RIG_RW		(RIG_AF | RIG_NG | RIG_UNPRIV)

/* The level 3 entry of @p va (4K), tables made as needed. */
uint64_t *rig_pte(struct rig *r, uint64_t *ttb, uint64_t va);
/* The entry of @p va at @p level of any granule (log2), tables made down to it. */
uint64_t *rig_entry(struct rig *r, uint64_t *ttb, unsigned int gran, unsigned int start,
		unsigned int level, uint64_t va);
void rig_map(struct rig *r, uint64_t va, uint64_t pa, uint64_t attrs);
void rig_unmap(struct rig *r, uint64_t va);

/* One access from start to its end or its stall; done[] holds it if it ended. */
struct smmuv3_model_dma *rig_dma(struct rig *r, uint32_t sid, int32_t ssid);
void rig_submit(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type,
		uint64_t addr, void *buf, size_t len);
/* Poll what is done. Returns how many; the last is done[nb_done - 1]. */
unsigned int rig_poll(struct rig *r, struct smmuv3_model_dma *dma);
/* Submit, run, expect an end. */
enum smmuv3_model_status rig_access(struct rig *r, struct smmuv3_model_dma *dma,
		enum smmuv3_model_op_type type, uint64_t addr, void *buf, size_t len);

/* Exactly one mistake was logged and it contains @p text; forget it. */
void rig_expect_error(struct rig *r, const char *text);
/* The same of the oracle. */
void rig_expect_oracle(struct rig *r, const char *text);
uint64_t rig_stat(const struct rig *r, enum smmuv3_model_stat stat);

#endif /* MODEL_RIG_H */
