/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_SILENT_H
#define SMMUV3_MODEL_SILENT_H

#include <stdbool.h>
#include <stdint.h>

/* Reports of SMMUV3_MODEL_HARSH_REPORT. */
struct smmuv3_atc_entry;
struct smmuv3_ep;
struct smmuv3_inv;
struct smmuv3_model;
struct smmuv3_tlb_entry;

void smmuv3_silent_check_tlbi(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_silent_check_combined(struct smmuv3_model *m, const struct smmuv3_tlb_entry *e,
		uint64_t va);
void smmuv3_silent_check_cfg(struct smmuv3_model *m);
void smmuv3_silent_note_atc(struct smmuv3_model *m, struct smmuv3_atc_entry *e);
void smmuv3_silent_check_atc_end(struct smmuv3_ep *ep);

#endif /* SMMUV3_MODEL_SILENT_H */
