/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef WALK_RIG_H
#define WALK_RIG_H

/* The rig with an engine whose accesses terminate: each access ends, each fault leaves a record. */

#include <stdbool.h>
#include <stdint.h>

#include "model_rig.h"

struct walk_how {
	bool write, priv, instr;
};

extern const struct walk_how rd, wr;
/* The data of each access. */
extern uint8_t walk_buf[64];

/* RIG_SID terminates: each access ends, each fault leaves a record. */
struct smmuv3_model_dma *walk_open(struct rig *r, const struct smmuv3_model_conf *conf);
void walk_close(struct rig *r, struct smmuv3_model_dma *dma);
/* Returns the id of the access's event, or 0 if the access succeeds. */
unsigned int walk_access(struct rig *r, struct smmuv3_model_dma *dma, uint64_t va,
		struct walk_how how, struct smmuv3_evt *evt);

#endif /* WALK_RIG_H */
