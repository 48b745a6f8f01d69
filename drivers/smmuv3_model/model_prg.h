/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_PRG_H
#define SMMUV3_MODEL_PRG_H

/* Page request groups. */

#include "model_slot.h"

struct smmuv3_ep;
struct smmuv3_model;

#define SMMUV3_PRG_MAX		512

/* A page request group, one for each PRG index. */
struct smmuv3_group {
	struct smmuv3_slot *slot;	/* NULL: a stop message without PASID */
	uint64_t va;			/* of the first page */
	uint16_t idx;
	uint16_t nb, sent;		/* page requests: all, and those sent */
	bool open;			/* started and not answered */
	bool responded;			/* a PRI_RESP ended the last group of this index */
	bool ssv, priv, instr, read, write;
	uint32_t ssid;
	uint32_t owed;			/* records with Last that software has not answered */
	uint64_t first_nb, last_nb;	/* numbers of the oldest (0: unknown) and newest one */
};

/* The PRG indices of an endpoint, or of one of its PASIDs. */
struct smmuv3_prgs {
	struct smmuv3_prgs *next;
	bool ssv;
	uint32_t ssid;
	unsigned int head, nb_free;
	uint16_t fifo[SMMUV3_PRG_MAX];	/* free indices, the longest free first */
	struct smmuv3_list waiting;	/* slots that wait for an index */
	struct smmuv3_group group[SMMUV3_PRG_MAX];
};

/* Find or create the PRG indices of an engine. NULL: no memory. */
struct smmuv3_prgs *smmuv3_prgs_get(struct smmuv3_ep *ep,
		const struct smmuv3_model_dma_conf *client);
void smmuv3_prgs_free_all(struct smmuv3_ep *ep);

/* Start a group for the page of an access. WAIT: started, or waiting for an index or credit. */
enum smmuv3_result smmuv3_prg_request(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc);
void smmuv3_prg_send_next(struct smmuv3_model *m, struct smmuv3_slot *s);
/* Answer an open group; @p code as in PRI_RESP. */
void smmuv3_prg_answer(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		unsigned int code);
/* A slot was woken and does not need the free index or credit: wake the next slot. */
void smmuv3_prg_wake_next(struct smmuv3_model *m, struct smmuv3_model_dma *dma);
void smmuv3_prg_wake_all(struct smmuv3_model *m, struct smmuv3_ep *ep);
void smmuv3_prg_reset_slots(struct smmuv3_model *m, struct smmuv3_model_dma *dma);
void smmuv3_prg_end_all(struct smmuv3_model *m, struct smmuv3_ep *ep);

#endif /* SMMUV3_MODEL_PRG_H */
