/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_STALL_H
#define SMMUV3_MODEL_STALL_H

/* Stalled transactions and their records. */

#include <stdbool.h>
#include <stdint.h>

struct smmuv3_access;
struct smmuv3_fault;
struct smmuv3_model;
struct smmuv3_slot;

/* 0 or -ENOMEM. */
int smmuv3_stall_init(struct smmuv3_model *m);
void smmuv3_stall_begin(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault);
/* Write records that were held back. Returns the units of work done. */
unsigned int smmuv3_stall_record_held(struct smmuv3_model *m, unsigned int max);
/* Before the store of EVTQ PROD. */
void smmuv3_stall_publish(struct smmuv3_model *m);
/* SMMUV3_MODEL_EARLY_RETRY. Returns the units of work done. */
unsigned int smmuv3_stall_retry_early(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_STALL_H */
