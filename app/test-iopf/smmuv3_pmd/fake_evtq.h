/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FAKE_EVTQ_H
#define FAKE_EVTQ_H

/*
 * An event queue whose SMMU is the test: the model never steps, and the test writes records and
 * PROD. So there are no MSIs, and the model's log is not checked.
 */

#include <stdint.h>

#include "pmd_rig.h"

#define SID	(UINT64_C(0x1234) << 32)

void fake_open(struct pmd *p, unsigned int evtq_log2);
void fake_close(struct pmd *p);
void fake_write_prod(struct pmd *p, uint32_t prod);
struct smmuv3_evt *fake_get_slot(struct pmd *p, unsigned int i);
struct iopf_event fake_decode(struct pmd *p, uint64_t dw0, uint64_t dw1, uint64_t dw2,
		uint64_t dw3);

#endif /* FAKE_EVTQ_H */
