/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "ecmdq_rig.h"
#include "test.h"

void
ecmdq_open_rig(struct rig *r, const struct smmuv3_model_conf *conf)
{
	struct smmuv3_model_conf c = { 0 };

	if (conf != NULL)
		c = *conf;
	c.features |= SMMUV3_MODEL_ECMDQ;
	rig_open(r, &c);
	rig_start(r);
}

uint64_t
ecmdq_read64(const struct rig *r, uint32_t offset)
{
	return rig_read(r, offset) | (uint64_t)rig_read(r, offset + 4) << 32;
}

void
ecmdq_init(struct ecmdq *q, struct rig *r, unsigned int n, unsigned int log2, uint32_t pos)
{
	uint32_t idr6 = rig_read(r, SMMUV3_IDR6);
	unsigned int per_page = SMMUV3_GET(SMMUV3_IDR6_LOG2NUMQ, idr6);
	unsigned int page = n >> per_page;
	uint64_t base = ecmdq_read64(r, SMMUV3_CMDQ_CP_BASE(page)) &
		SMMUV3_CMDQ_CP_BASE_ADDR;

	*q = (struct ecmdq){ .r = r, .log2 = log2, .prod = pos };
	q->at = (uint32_t)base + (n & ((1u << per_page) - 1)) * (0x10000 >> per_page);
	q->ring = rig_alloc(r, sizeof(*q->ring) << log2, log2 == 0 ? 32 :
			sizeof(*q->ring) << log2);
	smmuv3_write64(r->regs, q->at + SMMUV3_ECMDQ_BASE, rig_get_addr(r, q->ring) | log2);
	smmuv3_write32(r->regs, q->at + SMMUV3_ECMDQ_PROD, pos);
	smmuv3_write32(r->regs, q->at + SMMUV3_ECMDQ_CONS, pos);
}

void
ecmdq_enable(struct ecmdq *q, bool on)
{
	q->flags = (q->flags & ~ECMDQ_EN) | (on ? ECMDQ_EN : 0);
	ecmdq_ring(q);
	rig_run(q->r);
	assert_int_equal(ecmdq_read_cons(q) & ECMDQ_ENACK, on ? ECMDQ_ENACK : 0);
}

void
ecmdq_start(struct ecmdq *q, struct rig *r, unsigned int n)
{
	ecmdq_init(q, r, n, 4, 0);
	ecmdq_enable(q, true);
}

uint32_t
ecmdq_read_cons(const struct ecmdq *q)
{
	return rig_read(q->r, q->at + SMMUV3_ECMDQ_CONS);
}

uint32_t
ecmdq_read_pos(const struct ecmdq *q)
{
	return smmuv3_q_pos(q->log2, ecmdq_read_cons(q));
}

void
ecmdq_put(struct ecmdq *q, struct smmuv3_cmd cmd)
{
	assert_false(smmuv3_q_full(q->log2, q->prod, ecmdq_read_cons(q)));
	q->ring[smmuv3_q_slot(q->log2, q->prod)] = cmd;
	q->prod = smmuv3_q_add(q->log2, q->prod, 1);
}

void
ecmdq_ring(struct ecmdq *q)
{
	smmuv3_store_prod(q->r->regs, q->at + SMMUV3_ECMDQ_PROD, q->prod | q->flags);
}

void
ecmdq_send(struct ecmdq *q, struct smmuv3_cmd cmd)
{
	ecmdq_put(q, cmd);
	ecmdq_ring(q);
	rig_run(q->r);
	assert_int_equal(ecmdq_read_pos(q), q->prod);
}

void
ecmdq_expect_error(const struct ecmdq *q, unsigned int reason, uint32_t pos)
{
	uint32_t cons = ecmdq_read_cons(q);

	assert_int_equal(cons & ECMDQ_ERR, ~q->flags & ECMDQ_ERR);
	assert_int_equal(SMMUV3_GET(SMMUV3_ECMDQ_CONS_ERR_REASON, cons), reason);
	assert_int_equal(smmuv3_q_pos(q->log2, cons), pos);
}

void
ecmdq_ack_error(struct ecmdq *q)
{
	q->flags ^= ECMDQ_ERRACK;
	ecmdq_ring(q);
	rig_run(q->r);
}
