/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The stream table [5.1, 5.2]: linear, or two levels whose second is made when
 * the first of its 256 StreamIDs is needed, and then stays.
 */

#include <stdlib.h>

#include "smmuv3_pmd.h"

int
smmuv3_strtab_open(struct smmuv3 *s)
{
	struct smmuv3_strtab *t = &s->strtab;
	size_t size = t->two_level ? sizeof(uint64_t) << (t->log2 - SMMUV3_SPLIT) :
			sizeof(struct smmuv3_ste) << t->log2;

	if (t->two_level) {
		t->l2 = calloc((size_t)1 << (t->log2 - SMMUV3_SPLIT), sizeof(*t->l2));
		if (t->l2 == NULL)
			return -ENOMEM;
	}
	return smmuv3_mem_alloc(s, size, &t->mem);
}

void
smmuv3_strtab_close(struct smmuv3 *s)
{
	/* Second levels are pieces of chunks, which go as a whole. */
	smmuv3_mem_free(s, &s->strtab.mem);
	free(s->strtab.l2);
}

void
smmuv3_strtab_setup(struct smmuv3 *s)
{
	const struct smmuv3_strtab *t = &s->strtab;
	uint32_t cfg = SMMUV3_PUT(SMMUV3_STRTAB_CFG_LOG2SIZE, t->log2);

	if (t->two_level)
		cfg |= SMMUV3_PUT(SMMUV3_STRTAB_CFG_FMT, SMMUV3_STRTAB_2LVL) |
			SMMUV3_PUT(SMMUV3_STRTAB_CFG_SPLIT, SMMUV3_SPLIT);
	smmuv3_write64(s->regs, SMMUV3_STRTAB_BASE, SMMUV3_STRTAB_BASE_RA |
			(t->mem.addr & SMMUV3_STRTAB_BASE_ADDR));
	smmuv3_write32(s->regs, SMMUV3_STRTAB_BASE_CFG, cfg);
}

int
smmuv3_strtab_need(struct smmuv3 *s, uint32_t sid)
{
	struct smmuv3_strtab *t = &s->strtab;
	uint32_t i = sid >> SMMUV3_SPLIT;
	struct smmuv3_mem mem;
	int ret;

	if (!t->two_level || t->l2[i] != NULL)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_ste) << SMMUV3_SPLIT, &mem);
	if (ret < 0)
		return ret;
	t->l2[i] = mem.va;
	/*
	 * An empty table: each of its STEs is not valid. The first-level entry may
	 * be cached as it was; each smmuv3_ste_write() invalidates that as well.
	 */
	smmuv3_io_wmb();
	smmuv3_set_dw((uint64_t *)t->mem.va + i, (mem.addr & SMMUV3_L1STD_L2PTR) |
			SMMUV3_PUT(SMMUV3_L1STD_SPAN, SMMUV3_SPLIT + 1));
	return 0;
}

struct ste_sync {
	struct smmuv3 *s;
	uint32_t sid;
};

static int
sync_ste(void *ctx)
{
	const struct ste_sync *sync = ctx;
	/* Leaf = 0: the first-level entry too. And all CDs cached through it. */
	const struct smmuv3_cmd cmd = smmuv3_cmd_cfgi_ste(sync->sid, false);

	return smmuv3_cmdq_sync(&sync->s->cmdq, &cmd, 1, NULL);
}

static struct smmuv3_ste *
ste_of(const struct smmuv3 *s, uint32_t sid)
{
	const struct smmuv3_strtab *t = &s->strtab;

	return t->two_level ?
		&t->l2[sid >> SMMUV3_SPLIT][sid & RTE_LEN2MASK(SMMUV3_SPLIT, uint32_t)] :
		(struct smmuv3_ste *)t->mem.va + sid;
}

int
smmuv3_ste_write(struct smmuv3 *s, uint32_t sid, const struct smmuv3_ste *ste)
{
	struct ste_sync sync = { s, sid };

	return smmuv3_entry_write(ste_of(s, sid)->dw, ste->dw, SMMUV3_STE0_V, sync_ste, &sync);
}

void
smmuv3_ste_stop(struct smmuv3 *s, uint32_t sid)
{
	uint64_t *dw0 = &ste_of(s, sid)->dw[0];

	/* Config = abort; nothing else matters then [5.2]. */
	smmuv3_set_dw(dw0, smmuv3_get_dw(dw0) & ~SMMUV3_STE0_CONFIG);
	smmuv3_io_wmb();
}

/*
 * Word 1 is the same for both, but for EATS, and ignored with Config = abort, so that
 * going from one to the other changes word 0 alone.
 */
static void
ste_common(const struct smmuv3 *s, const struct smmuv3_dev *dev, struct smmuv3_ste *ste)
{
	*ste = (struct smmuv3_ste){
		.dw[0] = SMMUV3_STE0_V,
		.dw[1] = SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0) |
			SMMUV3_PUT(SMMUV3_STE1_S1CIR, SMMUV3_S1C_WBRA) |
			SMMUV3_PUT(SMMUV3_STE1_S1COR, SMMUV3_S1C_WBRA) |
			SMMUV3_PUT(SMMUV3_STE1_S1CSH, SMMUV3_SH_ISH) |
			SMMUV3_PUT(SMMUV3_STE1_STRW, SMMUV3_STRW_EL1) |
			SMMUV3_PUT(SMMUV3_STE1_SHCFG, SMMUV3_SHCFG_INCOMING),
	};
	/* Anything else is illegal elsewhere [5.2]. */
	if (!dev->stall && s->stall_model == SMMUV3_STALL_MODEL_BOTH)
		ste->dw[1] |= SMMUV3_STE1_S1STALLD;
	/* For what the SMMU answers by itself when its queue overflows [8.1]. */
	if (dev->pri && dev->prg_pasid)
		ste->dw[1] |= SMMUV3_STE1_PPAR;
}

void
smmuv3_ste_abort(const struct smmuv3 *s, const struct smmuv3_dev *dev, struct smmuv3_ste *ste)
{
	ste_common(s, dev, ste);
	ste->dw[0] |= SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_ABORT);
}

void
smmuv3_ste_s1(const struct smmuv3 *s, const struct smmuv3_dev *dev, struct smmuv3_ste *ste)
{
	ste_common(s, dev, ste);
	ste->dw[0] |= SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		SMMUV3_PUT(SMMUV3_STE0_S1FMT, dev->cds.fmt) |
		SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, dev->cds.log2) |
		(dev->cds.mem.addr & SMMUV3_STE0_S1CONTEXTPTR);
	if (dev->pri)
		ste->dw[1] |= SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL);
}
