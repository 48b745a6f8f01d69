/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The STEs of a device [5.2]. */

#include "cmdq.h"
#include "dev.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "ste.h"
#include "strtab.h"

/*
 * Store one word of all STEs of a device, then issue a CMD_SYNC for each 64. All words are stored
 * before the first CMD_SYNC, so that after a failure no STE has the old word.
 */
static int
set_word(struct smmuv3 *s, const struct smmuv3_dev *dev, unsigned int word, uint64_t value)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret = 0;

	for (i = 0; i < dev->nb_sids; i++)
		smmuv3_set_dw(&smmuv3_strtab_ste(&s->strtab, dev->sids[i])->dw[word], value);
	for (i = 0; i < dev->nb_sids && ret == 0; i += n) {
		/*
		 * Leaf = 0 invalidates the first-level entry too, and all CDs cached through the
		 * STE.
		 */
		for (n = 0; n < SMMUV3_CHUNK && i + n < dev->nb_sids; n++)
			cmds[n] = smmuv3_cmd_cfgi_ste(dev->sids[i + n], false);
		ret = smmuv3_cmdq_sync(&s->cmdq, cmds, n, NULL);
	}
	return ret;
}

/* Store word 0; the STEs of a device that is blocked abort whatever is attached. */
static int
set_word0(struct smmuv3 *s, const struct smmuv3_dev *dev, uint64_t value)
{
	return set_word(s, dev, 0, dev->blocked ? SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_ABORT) : value);
}

/*
 * Word 1 (with EATS) changes while word 0 does not let the SMMU use it (entry.c). A CMD_SYNC
 * follows, because the SMMU may cache words of an STE that is not valid. Words 2 to 7 are for
 * stage 2, and 0.
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

	/* With another STALL_MODEL this is illegal [5.2]. */
	if (!dev->stall && s->stall_model == SMMUV3_STALL_MODEL_BOTH)
		dw1 |= SMMUV3_STE1_S1STALLD;
	if (dev->pri)
		dw1 |= SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL);
	/* Records of stalls are never merged. No IDR tells whether the SMMU merges at all [5.2]. */
	if (dev->merge_events)
		dw1 |= SMMUV3_STE1_MEV;
	/* For the automatic responses of the SMMU when the PRIQ overflows [8.1]. */
	if (dev->pri && dev->prg_pasid)
		dw1 |= SMMUV3_STE1_PPAR;
	if (!dev->word1_written) {
		ret = set_word(s, dev, 1, dw1);
		if (ret < 0)
			return ret;
		dev->word1_written = true;
	}
	return set_word0(s, dev, dw0);
}

int
smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	return set_word0(s, dev, 0);
}

int
smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	return set_word(s, dev, 0, SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_ABORT));
}

void
smmuv3_stes_set_table(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	uint64_t table = dev->cds.mem.addr & SMMUV3_STE0_S1CONTEXTPTR;

	for (unsigned int i = 0; i < dev->nb_sids; i++) {
		uint64_t *dw0 = &smmuv3_strtab_ste(&s->strtab, dev->sids[i])->dw[0];
		uint64_t old = smmuv3_get_dw(dw0);

		smmuv3_order_log(SMMUV3_ORDER_DW, dw0);
		/*
		 * smmuv3_ste_set_abort() may change Config meanwhile. Release: as smmuv3_set_dw().
		 */
		while (!atomic_compare_exchange_weak_explicit((smmuv3_reg64_t *)(void *)dw0, &old,
				(old & ~SMMUV3_STE0_S1CONTEXTPTR) | table, memory_order_release,
				memory_order_relaxed))
			;
	}
}

void
smmuv3_ste_set_abort(struct smmuv3 *s, uint32_t sid)
{
	smmuv3_reg64_t *dw0 =
			(smmuv3_reg64_t *)(void *)&smmuv3_strtab_ste(&s->strtab, sid)->dw[0];

	/*
	 * Config = abort; the SMMU ignores the other fields then [5.2]. The thread that attaches
	 * or detaches the device may store the word at the same time: this atomic AND keeps its
	 * store.
	 */
	atomic_fetch_and_explicit(dw0, ~SMMUV3_STE0_CONFIG, memory_order_relaxed);
	smmuv3_io_wmb();
}
