/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STALL_H
#define SMMUV3_MODEL_STALL_H

/*
 * Stalls: one for each STAG.
 */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3_access;
struct smmuv3_fault;
struct smmuv3_model;
struct smmuv3_slot;

struct smmuv3_stall {
	struct smmuv3_slot *slot;	/* NULL when free, or gone by an early retry */
	struct smmuv3_slot *dups;
	uint32_t sid;
	bool used;			/* the STAG is taken */
	bool shown;			/* its record was published */
	bool resumed;			/* last freed by a RESUME */
	bool terminated;		/* last freed by STALL_TERM or SMMUEN */
};

int smmuv3_stall_init(struct smmuv3_model *m);
void smmuv3_stall_begin(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault);
unsigned int smmuv3_stall_held(struct smmuv3_model *m, unsigned int max);
void smmuv3_stall_resume(struct smmuv3_model *m, uint32_t sid, uint16_t stag, bool retry,
		bool abort);
void smmuv3_stall_term(struct smmuv3_model *m, uint32_t sid);
void smmuv3_stall_all_end(struct smmuv3_model *m);
void smmuv3_stall_publish(struct smmuv3_model *m);
unsigned int smmuv3_stall_early(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_STALL_H */
