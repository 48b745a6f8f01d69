/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VMM_HOSTILE_WORLD_H
#define VMM_HOSTILE_WORLD_H

/* Between vmm_hostile.c, the operations, and vmm_hostile_world.c, what they must not change. */

#include <stdint.h>

#include "vmm_relay_rig.h"

/* Those of the rig, and one of device 0 with a PASID. */
#define HOSTILE_ENGINES	(VM_DEVS + 1)

struct hostile {
	uint64_t acc;
	struct smmuv3_model_dma *dma[HOSTILE_ENGINES];
	unsigned int submitted[HOSTILE_ENGINES];
};
extern struct hostile hostile;

/* Start an access of @p how: bits 1, 0: engine; 3, 2: type; 4: privileged; 5: instruction. */
void hostile_submit(uint8_t how, uint64_t addr, uint8_t len);
/* vm[0] dies, and another guest gets its devices. */
void hostile_replace_guest(void);
/* A DMA of vm[1] through its TLB entry, and one that faults. */
void hostile_run_other(void);

#endif /* VMM_HOSTILE_WORLD_H */
