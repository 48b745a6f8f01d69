/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ENDPOINT_H
#define SMMUV3_MODEL_ENDPOINT_H

/* Endpoints. */

#include "model_atc.h"
#include "model_prg.h"

struct smmuv3_ep {
	struct smmuv3_ep *next;		/* in its bucket */
	struct smmuv3_model *m;
	uint32_t sid;
	unsigned int refs;		/* engines */
	unsigned int nb_prgs;
	bool prg_pasid;
	bool ats, pri, failed;
	uint8_t stu;
	uint32_t quirks, one_in;
	uint32_t atc_delay;		/* ms until the ATC answers an ATC_INV */
	uint32_t allowed, used;		/* page request credits */
	uint32_t nb_open;		/* open groups */
	uint64_t started, ended;	/* groups */
	struct smmuv3_prgs *prgs;
	struct smmuv3_list waiting;	/* slots that wait for a credit */
	uint64_t early_seq;		/* a TLBI whose ATC_INV came before its SYNC; 0: none */
	struct smmuv3_atc_entry early;	/* the entry of that ATC_INV */
	uint32_t atc_gen;
	struct smmuv3_atc_entry atc[1 << SMMUV3_ATC_LOG2];
};

/* Add an engine to its endpoint, or create the endpoint. Returns an errno. */
int smmuv3_ep_join(struct smmuv3_model_dma *dma);
void smmuv3_ep_leave(struct smmuv3_model_dma *dma);
void smmuv3_ep_free_all(struct smmuv3_model *m);
/* NULL: no endpoint has this StreamID. */
struct smmuv3_ep *smmuv3_ep_find(struct smmuv3_model *m, uint32_t sid);
/* Translate the access of a slot whose engine belongs to an endpoint. */
enum smmuv3_result smmuv3_ep_access(struct smmuv3_model *m, struct smmuv3_slot *s,
		struct smmuv3_access *acc, struct smmuv3_target *to, struct smmuv3_fault *fault);

#endif /* SMMUV3_MODEL_ENDPOINT_H */
