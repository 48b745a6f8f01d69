/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "fake_evtq.h"
#include "test.h"

void
fake_open(struct pmd *p, unsigned int evtq_log2)
{
	pmd_open(p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_MSI,
		.sid_bits = 16,
		.ssid_bits = 8,
		.evtq_log2 = evtq_log2 == 0 ? SMMUV3_MODEL_NONE : evtq_log2 });
	assert_int_equal(p->ops->start(p->s), 0);
	p->untidy = true;
}

void
fake_close(struct pmd *p)
{
	smmuv3_write32(p->s->regs, SMMUV3_EVENTQ_PROD,
			smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_CONS));
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

void
fake_write_prod(struct pmd *p, uint32_t prod)
{
	smmuv3_store_prod(p->s->regs, SMMUV3_EVENTQ_PROD, prod);
}

struct smmuv3_evt *
fake_get_slot(struct pmd *p, unsigned int i)
{
	struct smmuv3_evt *ring = p->s->evtq.q.mem.va;

	return &ring[i & ((1u << p->s->evtq.q.log2) - 1)];
}

struct iopf_event
fake_decode(struct pmd *p, uint64_t dw0, uint64_t dw1, uint64_t dw2, uint64_t dw3)
{
	uint32_t prod = smmuv3_read32(p->s->regs, SMMUV3_EVENTQ_PROD);
	struct iopf_event event;

	*fake_get_slot(p, prod) = (struct smmuv3_evt){ .dw = { dw0, dw1, dw2, dw3 } };
	fake_write_prod(p, smmuv3_q_add(p->s->evtq.q.log2, prod, 1) | (prod & SMMUV3_Q_OVFLG));
	memset(&event, 0xa5, sizeof(event));
	assert_int_equal(p->ops->poll(p->s, 0, &event, 1), 1);
	return event;
}
