/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* CR0 and CR0ACK [6.3.9]. */

#include "cr0.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "wait.h"

uint32_t
smmuv3_cr0_fields(const struct smmuv3 *s)
{
	return SMMUV3_CR0_SMMUEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN |
		(s->pri ? SMMUV3_CR0_PRIQEN : 0) | (s->ats ? SMMUV3_CR0_ATSCHK : 0);
}

uint32_t
smmuv3_cr0_get_unacked(struct smmuv3 *s)
{
	return smmuv3_load_status(s->regs, SMMUV3_CR0ACK) ^ smmuv3_read32(s->regs, SMMUV3_CR0);
}

/* A write to CR0 may not have taken effect yet: read both [6.3.9]. */
bool
smmuv3_smmuen_is_off(struct smmuv3 *s)
{
	return !((smmuv3_load_status(s->regs, SMMUV3_CR0ACK) |
			smmuv3_read32(s->regs, SMMUV3_CR0)) & SMMUV3_CR0_SMMUEN);
}

void
smmuv3_cr0_store(struct smmuv3 *s, uint32_t cr0)
{
	s->cr0 = cr0;
	/* Tables, queues and their registers are visible before CR0 enables them. */
	smmuv3_store_prod(s->regs, SMMUV3_CR0, cr0);
}

int
smmuv3_cr0_write(struct smmuv3 *s, uint32_t cr0)
{
	uint32_t moving = (s->cr0 ^ cr0) & smmuv3_cr0_get_unacked(s);
	int ret = 0;

	if (moving != 0) {
		ret = smmuv3_wait_reg(s, "CR0ACK", SMMUV3_CR0ACK, moving, s->cr0 & moving);
		cr0 ^= moving & smmuv3_cr0_get_unacked(s);
	}
	smmuv3_cr0_store(s, cr0);
	if (ret < 0)
		return ret;
	return smmuv3_wait_reg(s, "CR0ACK", SMMUV3_CR0ACK, smmuv3_cr0_fields(s), cr0);
}
