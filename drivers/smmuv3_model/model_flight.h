/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_FLIGHT_H
#define SMMUV3_MODEL_FLIGHT_H

/* Transactions in flight: translated, and not yet at memory. */

#include "model_slot.h"

struct smmuv3_flight {
	struct smmuv3_list list;
	uint64_t steps;
};

/* False: the transaction accesses memory at once. */
bool smmuv3_flight_start(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_target *to);
/* One step of time. Returns the number of transactions that were in flight. */
unsigned int smmuv3_flight_step(struct smmuv3_model *m);
void smmuv3_flight_land_all(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_FLIGHT_H */
