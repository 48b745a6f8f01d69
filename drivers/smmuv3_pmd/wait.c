/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Waits for the SMMU, at most SMMUV3_TIMEOUT_MS. */

#include <rte_common.h>
#include <rte_cycles.h>

#include "backend.h"
#include "base.h"
#include "gerror.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "wait.h"

void
smmuv3_wait_begin(const struct smmuv3 *s, struct smmuv3_wait *w)
{
	w->left = s->timeout;
	w->last = rte_get_tsc_cycles();
	w->n = 0;
}

bool
smmuv3_wait_count(const struct smmuv3 *s, struct smmuv3_wait *w)
{
	uint64_t now = rte_get_tsc_cycles();
	uint64_t passed = RTE_MIN(now - w->last, s->timeout / SMMUV3_WAIT_STEPS + 1);

	w->last = now;
	w->left -= RTE_MIN(w->left, passed);
	return w->left != 0;
}

bool
smmuv3_wait(struct smmuv3 *s, struct smmuv3_wait *w)
{
	s->backend->wait(s->backend_ctx);
	/* Each call tests the MSI word; every 64th call reads the register GERROR. */
	smmuv3_gerror_check_cmdq(s, ++w->n % 64 == 0);
	return smmuv3_wait_count(s, w);
}

int
smmuv3_wait_reg(struct smmuv3 *s, const char *name, uint32_t offset, uint32_t mask,
		uint32_t want)
{
	struct smmuv3_wait w;
	uint32_t v;

	smmuv3_wait_begin(s, &w);
	while (((v = smmuv3_load_status(s->regs, offset)) & mask) != want) {
		if (smmuv3_wait(s, &w))
			continue;
		v = smmuv3_load_status(s->regs, offset);
		if ((v & mask) == want)
			break;
		SMMUV3_LOG(ERR, s, "%s is 0x%x after %u ms, waiting for 0x%x in 0x%x: "
				"the SMMU does not respond; check its clock and power and try "
				"again, or reset it", name, v, SMMUV3_TIMEOUT_MS, want, mask);
		return -ETIMEDOUT;
	}
	return 0;
}

bool
smmuv3_ctl_trylock(struct smmuv3 *s)
{
	/* Pairs with the release in smmuv3_ctl_unlock(). */
	return atomic_exchange_explicit(&s->ctl, 1, memory_order_acquire) == 0;
}

int
smmuv3_ctl_lock(struct smmuv3 *s)
{
	struct smmuv3_wait w;

	smmuv3_wait_begin(s, &w);
	while (!smmuv3_ctl_trylock(s))
		if (!smmuv3_wait(s, &w))
			return -ETIMEDOUT;
	return 0;
}

void
smmuv3_ctl_unlock(struct smmuv3 *s)
{
	atomic_store_explicit(&s->ctl, 0, memory_order_release);
}
