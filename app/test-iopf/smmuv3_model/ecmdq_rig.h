/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef ECMDQ_RIG_H
#define ECMDQ_RIG_H

/* The rig with ECMDQs: a minimal driver of each. */

#include <stdbool.h>
#include <stdint.h>

#include "model_rig.h"

#define ECMDQ_EN	((uint32_t)SMMUV3_ECMDQ_PROD_EN)
#define ECMDQ_ENACK	((uint32_t)SMMUV3_ECMDQ_CONS_ENACK)
#define ECMDQ_ERRACK	((uint32_t)SMMUV3_ECMDQ_PROD_ERRACK)
#define ECMDQ_ERR	((uint32_t)SMMUV3_ECMDQ_CONS_ERR)

struct ecmdq {
	struct rig *r;
	uint32_t at;		/* offset of its registers */
	unsigned int log2;
	struct smmuv3_cmd *ring;
	uint32_t prod;
	uint32_t flags;		/* EN and ERRACK, as last written */
};

/* rig_open() with SMMUV3_MODEL_ECMDQ, and rig_start(). @p conf may be NULL. */
void ecmdq_open_rig(struct rig *r, const struct smmuv3_model_conf *conf);
/* A register of 64 bits, by halves. */
uint64_t ecmdq_read64(const struct rig *r, uint32_t offset);
/* ECMDQ @p n with a ring of 2^log2 commands. Write its registers, from index @p pos on. */
void ecmdq_init(struct ecmdq *q, struct rig *r, unsigned int n, unsigned int log2, uint32_t pos);
/* Write EN, and expect ENACK. */
void ecmdq_enable(struct ecmdq *q, bool on);
/* ecmdq_init() with 16 entries, and ecmdq_enable(). */
void ecmdq_start(struct ecmdq *q, struct rig *r, unsigned int n);

uint32_t ecmdq_read_cons(const struct ecmdq *q);
/* CONS as an index with its wrap bit. */
uint32_t ecmdq_read_pos(const struct ecmdq *q);
/* Write a command into the ring; write PROD; do both, run and expect its consumption. */
void ecmdq_put(struct ecmdq *q, struct smmuv3_cmd cmd);
void ecmdq_ring(struct ecmdq *q);
void ecmdq_send(struct ecmdq *q, struct smmuv3_cmd cmd);
/* Expect an error of the queue that is not acknowledged. */
void ecmdq_expect_error(const struct ecmdq *q, unsigned int reason, uint32_t pos);
/* Write ERRACK = ERR, and run. */
void ecmdq_ack_error(struct ecmdq *q);

#endif /* ECMDQ_RIG_H */
