/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_TRANSACT_H
#define SMMUV3_MODEL_TRANSACT_H

#include "model_slot.h"
#include "smmuv3_spec.h"

/* The event record of a fault. */
void smmuv3_evt_make(const struct smmuv3_model_dma_conf *client, const struct smmuv3_access *acc,
		const struct smmuv3_fault *fault, struct smmuv3_evt *evt);
/* The address of the current transaction of a DMA. */
uint64_t smmuv3_slot_addr(const struct smmuv3_slot *s);
/* Run up to @p max transactions of a READY slot. Returns their number. */
unsigned int smmuv3_slot_run(struct smmuv3_model *m, struct smmuv3_slot *s, unsigned int max);
/* Try a stalled transaction again; a fault changes nothing. True: the transaction ended. */
bool smmuv3_slot_try(struct smmuv3_model *m, struct smmuv3_slot *s);
/* A transaction in flight accesses memory. */
void smmuv3_slot_land(struct smmuv3_model *m, struct smmuv3_slot *s);
/* End a transaction without a retry. */
void smmuv3_slot_end(struct smmuv3_model *m, struct smmuv3_slot *s,
		enum smmuv3_model_status status);
void smmuv3_ready_add(struct smmuv3_model *m, struct smmuv3_slot *s);

#endif /* SMMUV3_MODEL_TRANSACT_H */
