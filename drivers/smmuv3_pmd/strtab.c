/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The stream table [5.1, 5.2]: linear, or two levels whose second is made when
 * the first of its 256 StreamIDs is needed, and then stays.
 */

#include <stdlib.h>

#include "cmdq.h"
#include "dev.h"
#include "mem.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "strtab.h"

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
	bool have;
	int ret;

	if (!t->two_level)
		return 0;
	pthread_mutex_lock(&s->tables_lock);
	have = t->l2[i] != NULL;
	pthread_mutex_unlock(&s->tables_lock);
	if (have)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_ste) << SMMUV3_SPLIT, &mem);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&s->tables_lock);
	if (t->l2[i] == NULL) {
		t->l2[i] = mem.va;
		/*
		 * An empty table: each of its STEs is not valid. The first-level entry may
		 * be cached as it was; each CFGI_STE invalidates that as well.
		 */
		smmuv3_io_wmb();
		smmuv3_set_dw((uint64_t *)t->mem.va + i, (mem.addr & SMMUV3_L1STD_L2PTR) |
				SMMUV3_PUT(SMMUV3_L1STD_SPAN, SMMUV3_SPLIT + 1));
		mem.va = NULL;
	}
	pthread_mutex_unlock(&s->tables_lock);
	/* Another thread was first. */
	smmuv3_mem_free(s, &mem);
	return 0;
}

static struct smmuv3_ste *
ste_of(const struct smmuv3 *s, uint32_t sid)
{
	const struct smmuv3_strtab *t = &s->strtab;

	return t->two_level ?
		&t->l2[sid >> SMMUV3_SPLIT][sid & RTE_LEN2MASK(SMMUV3_SPLIT, uint32_t)] :
		(struct smmuv3_ste *)t->mem.va + sid;
}

/*
 * One word of all STEs of a device, then a CMD_SYNC for each 64. All are stored even if a
 * CMD_SYNC fails: fewer streams that pass is never worse.
 */
static int
set_word(struct smmuv3 *s, const struct smmuv3_dev *dev, unsigned int word, uint64_t value)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret = 0;

	for (i = 0; i < dev->nb_sids; i++)
		smmuv3_set_dw(&ste_of(s, dev->sids[i])->dw[word], value);
	for (i = 0; i < dev->nb_sids && ret == 0; i += n) {
		/* Leaf = 0: the first-level entry too. And all CDs cached through it. */
		for (n = 0; n < SMMUV3_CHUNK && i + n < dev->nb_sids; n++)
			cmds[n] = smmuv3_cmd_cfgi_ste(dev->sids[i + n], false);
		ret = smmuv3_cmdq_sync(&s->cmdq, cmds, n, NULL);
	}
	return ret;
}

/*
 * Word 1 changes, EATS with it, while word 0 does not let the SMMU use it (entry.c); a
 * CMD_SYNC is in between, for words of an STE that is not valid may be cached too. Words 2
 * to 7 are of stage 2, and 0.
 */
int
smmuv3_stes_start(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	uint64_t dw0 = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		SMMUV3_PUT(SMMUV3_STE0_S1FMT, dev->cds.fmt) |
		SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, dev->cds.log2) |
		(dev->cds.mem.addr & SMMUV3_STE0_S1CONTEXTPTR);
	uint64_t dw1 = SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0) |
		SMMUV3_PUT(SMMUV3_STE1_S1CIR, SMMUV3_S1C_WBRA) |
		SMMUV3_PUT(SMMUV3_STE1_S1COR, SMMUV3_S1C_WBRA) |
		SMMUV3_PUT(SMMUV3_STE1_S1CSH, SMMUV3_SH_ISH) |
		SMMUV3_PUT(SMMUV3_STE1_STRW, SMMUV3_STRW_EL1) |
		SMMUV3_PUT(SMMUV3_STE1_SHCFG, SMMUV3_SHCFG_INCOMING);
	int ret;

	/* Anything else is illegal elsewhere [5.2]. */
	if (!dev->stall && s->stall_model == SMMUV3_STALL_MODEL_BOTH)
		dw1 |= SMMUV3_STE1_S1STALLD;
	if (dev->pri)
		dw1 |= SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL);
	/* For what the SMMU answers by itself when its queue overflows [8.1]. */
	if (dev->pri && dev->prg_pasid)
		dw1 |= SMMUV3_STE1_PPAR;
	if (!dev->described) {
		ret = set_word(s, dev, 1, dw1);
		if (ret < 0)
			return ret;
		dev->described = true;
	}
	return set_word(s, dev, 0, dw0);
}

int
smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	return set_word(s, dev, 0, 0);
}

int
smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	return set_word(s, dev, 0, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_ABORT));
}

void
smmuv3_ste_cut(struct smmuv3 *s, uint32_t sid)
{
	/*
	 * Config = abort; nothing else matters then [5.2]. The thread that attaches or
	 * detaches the device may store the word at the same time: its store stays whole.
	 */
	atomic_fetch_and_explicit((smmuv3_reg64_t *)(void *)&ste_of(s, sid)->dw[0],
			~SMMUV3_STE0_CONFIG, memory_order_relaxed);
	smmuv3_io_wmb();
}
