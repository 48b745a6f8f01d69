/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_RESUME_H
#define SMMUV3_MODEL_RESUME_H

#include <stdbool.h>
#include <stdint.h>

struct smmuv3_model;

void smmuv3_execute_resume(struct smmuv3_model *m, uint32_t sid, uint16_t stag, bool retry,
		bool abort);
void smmuv3_execute_stall_term(struct smmuv3_model *m, uint32_t sid);
/* SMMUEN changed to 0, or the power is off [6.3.9.1]. */
void smmuv3_stalls_end_all(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_RESUME_H */
