/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ATC_RIG_H
#define ATC_RIG_H

/* The rig with an endpoint of StreamID RIG_SID that has ATS, and with one mapped page. */

#include <stdbool.h>
#include <stdint.h>

#include "model_rig.h"

#define VA	UINT64_C(0x10000000)
#define EATS	SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL)

void atc_open(struct rig *r);
struct smmuv3_model_dma *atc_add_engine(struct rig *r, int32_t ssid);
enum smmuv3_model_status atc_access(struct rig *r, struct smmuv3_model_dma *dma, bool write,
		uint64_t va);
void atc_check_no_event(struct rig *r);
void atc_close(struct rig *r, struct smmuv3_model_dma *dma);

#endif /* ATC_RIG_H */
