/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Replace a CD that the SMMU is using. ASID and TTB0 lie in different words of a CD, and the SMMU
 * reads the words separately [3.21.3], so a change in place would go through V = 0. Instead the new
 * CD is written to a second table, with copies of all other CDs, and one 64-bit word makes the SMMU
 * use that:
 *
 *	linear table	S1ContextPtr in word 0 of the STE, of each StreamID
 *	two levels	the L1CD, for all StreamIDs; the second table is a leaf
 *
 * The SMMU reads a structure through one pointer. So each translation uses the old CD or the new
 * one, both complete, and the SMMU may use either until the CFGI and CMD_SYNC are complete. Then
 * the old table is the spare for the next switch: until then no word of it changes.
 *
 * Between the switch and the end of its CFGI a change in the new table does not reach an SMMU that
 * still uses the old one. So each change of any CD of the device finishes the switch first.
 *
 * CFGI_STE invalidates all CDs cached through the STE [4.3.1]. With two levels CFGI_CD_ALL
 * invalidates the L1CDs of all SubstreamIDs of the leaf [4.3.4]: an SMMU may have an L1CD for each
 * SubstreamID that used it. The CDs of the other SubstreamIDs are fetched again, and are the same.
 */

#include <errno.h>

#include <rte_bitops.h>

#include "cd.h"
#include "cmdq.h"
#include "dev.h"
#include "mem.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "ste.h"

int
smmuv3_cd_finish_switch(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	bool linear = dev->cds.fmt == SMMUV3_S1FMT_LINEAR;
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret;

	if (!dev->cds.spare_in_use)
		return 0;
	for (i = 0; i < dev->nb_sids; i += n) {
		for (n = 0; n < SMMUV3_CHUNK && i + n < dev->nb_sids; n++)
			cmds[n] = linear ? smmuv3_cmd_cfgi_ste(dev->sids[i + n], false) :
					smmuv3_cmd_cfgi_cd_all(dev->sids[i + n]);
		ret = smmuv3_cmdq_sync(&s->cmdq, cmds, n, NULL);
		if (ret < 0)
			return ret;
	}
	dev->cds.spare_in_use = false;
	return 0;
}

/* Atomic words: the SMMU reads them with no lock. smmuv3_io_wmb() and the switch order them. */
static void
words_copy(void *to, const void *from, size_t size)
{
	const uint64_t *src = from;
	smmuv3_reg64_t *dst = to;

	for (size_t i = 0; i < size / sizeof(*src); i++)
		atomic_store_explicit(&dst[i], src[i], memory_order_relaxed);
}

int
smmuv3_cd_switch(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid,
		const struct smmuv3_domain *domain)
{
	struct smmuv3_cdtab *t = &dev->cds;
	bool linear = t->fmt == SMMUV3_S1FMT_LINEAR;
	uint32_t l1 = ssid >> SMMUV3_CD_LEAF_4K_LOG2;
	uint32_t i = linear ? ssid : ssid & RTE_LEN2MASK(SMMUV3_CD_LEAF_4K_LOG2, uint32_t);
	struct smmuv3_mem *live = linear ? &t->mem : &t->leaves[l1];
	struct smmuv3_mem old = *live;
	struct smmuv3_cd cd;
	int ret;

	ret = smmuv3_cd_finish_switch(s, dev);
	if (ret == 0 && t->spare.va == NULL)
		ret = smmuv3_mem_alloc(s, old.size, &t->spare);
	if (ret < 0)
		return ret;
	/* No other thread writes CDs of the device, and the SMMU cannot reach the spare. */
	words_copy(t->spare.va, old.va, old.size);
	smmuv3_cd_make(s, dev, domain, &cd);
	words_copy((struct smmuv3_cd *)t->spare.va + i, &cd, sizeof(cd));
	*live = t->spare;
	t->spare = old;
	t->spare_in_use = true;
	/* The table is complete before the word that makes it reachable. */
	smmuv3_io_wmb();
	if (linear)
		smmuv3_stes_set_table(s, dev);
	else
		smmuv3_set_dw((uint64_t *)t->mem.va + l1, SMMUV3_L1CD_V |
				(live->addr & SMMUV3_L1CD_L2PTR));
	return 0;
}
