/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_IRQ_H
#define SMMUV3_MODEL_IRQ_H

#include "front.h"

/* False: the write aborted. */
bool smmuv3_fe_write_msi(struct smmuv3_fe *f, uint64_t addr, uint32_t data);
void smmuv3_fe_signal_edge(struct smmuv3_fe *f, enum smmuv3_model_irq irq);
/* Signal level-triggered lines that are high and not masked. */
void smmuv3_fe_update_levels(struct smmuv3_fe *f);
/* The interrupt of a queue or of GERROR: an MSI, or an edge of the wire. */
void smmuv3_fe_signal_evtq(struct smmuv3_fe *f);
void smmuv3_fe_signal_priq(struct smmuv3_fe *f);
void smmuv3_fe_signal_gerror(struct smmuv3_fe *f);

#endif /* SMMUV3_MODEL_IRQ_H */
