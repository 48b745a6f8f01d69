/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The STEs of a device [5.2]. */

#include "cmdq.h"
#include "dev.h"
#include "ecmdq.h"
#include "nested.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "stage2.h"
#include "ste.h"
#include "strtab.h"

/*
 * Store n words of all STEs of a device, then issue a CMD_SYNC for each 64. All words are stored
 * before the first CMD_SYNC, so that after a failure no STE has an old word.
 */
static int
set_words(struct smmuv3 *s, const struct smmuv3_dev *dev, unsigned int first,
		const uint64_t *values, unsigned int nb_words)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret = 0;

	for (i = 0; i < dev->nb_sids; i++)
		for (n = 0; n < nb_words; n++)
			smmuv3_set_dw(&smmuv3_strtab_ste(&s->strtab, dev->sids[i])->dw[first + n],
					values[n]);
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

static uint64_t
make_abort_word(void)
{
	return SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_ABORT);
}

/* Store word 0; the STEs of a device that is blocked abort whatever is attached. */
static int
set_word0(struct smmuv3 *s, const struct smmuv3_dev *dev, uint64_t value)
{
	if (dev->blocked)
		value = make_abort_word();
	return set_words(s, dev, 0, &value, 1);
}

/* The SMMU ignores the fields of stage 1 in an STE for stage 2 only. */
static uint64_t
make_word0(const struct smmuv3_dev *dev)
{
	if (dev->nested != NULL)
		return smmuv3_nested_make_word0(dev->nested);
	if (dev->stage2 != NULL)
		return SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S2);
	return SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		SMMUV3_PUT(SMMUV3_STE0_S1FMT, dev->cds.fmt) |
		SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, dev->cds.log2) |
		(dev->cds.mem.addr & SMMUV3_STE0_S1CONTEXTPTR);
}

static uint64_t
make_word1(const struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	uint64_t dw1 = SMMUV3_PUT(SMMUV3_STE1_STRW, SMMUV3_STRW_EL1) |
		SMMUV3_PUT(SMMUV3_STE1_SHCFG, SMMUV3_SHCFG_INCOMING);

	if (dev->nested != NULL)
		dw1 |= smmuv3_nested_make_word1(dev->nested);
	else
		dw1 |= SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0) |
			SMMUV3_PUT(SMMUV3_STE1_S1CIR, SMMUV3_S1C_WBRA) |
			SMMUV3_PUT(SMMUV3_STE1_S1COR, SMMUV3_S1C_WBRA) |
			SMMUV3_PUT(SMMUV3_STE1_S1CSH, SMMUV3_SH_ISH);
	/*
	 * With another STALL_MODEL this is illegal [5.2]. No guest can make a device stall that
	 * must not: its CDs with S set are illegal then.
	 */
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
	return dw1;
}

/*
 * Words 1 to 3 change while word 0 does not let the SMMU use them (entry.c). A CMD_SYNC follows,
 * because the SMMU may cache words of an STE that is not valid.
 *
 * Word 1 has EATS, and is the same for all domains but nested ones. Words 2 and 3 are for stage 2.
 * Without it they are 0: S2VMID is used with stage 1 alone too. EATS with S2S is illegal [5.2]: a
 * device has page requests or stalls.
 */
int
smmuv3_stes_start(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	uint64_t words[3] = { make_word1(s, dev) };
	int ret;

	if (dev->stage2 != NULL)
		smmuv3_stage2_make_words(s, dev->stage2, dev->stall, &words[1], &words[2]);
	/*
	 * From here on accesses may stall. A RESUME for a stall that STALL_TERM has ended, in
	 * another queue, is in no order with the commands below: the SMMU has to consume it first.
	 */
	ret = smmuv3_ecmdqs_sync(s);
	if (ret < 0)
		return ret;
	/* After a switch that failed half-way word 1 may be of the former domain. */
	if (!dev->words_written || (dev->nested != NULL && words[0] != dev->word1)) {
		ret = set_words(s, dev, 1, words, RTE_DIM(words));
		if (ret < 0)
			return ret;
		dev->word1 = words[0];
		dev->words_written = true;
		dev->stalls_off = false;
	}
	return set_word0(s, dev, make_word0(dev));
}

int
smmuv3_stes_set_s2s(struct smmuv3 *s, struct smmuv3_dev *dev, bool on)
{
	uint64_t dw2, dw3;
	int ret;

	/* One word changes, so the STEs may translate. */
	smmuv3_stage2_make_words(s, dev->stage2, on, &dw2, &dw3);
	/* After an error the STEs may have either. */
	dev->stalls_off = true;
	ret = set_words(s, dev, 2, &dw2, 1);
	if (ret == 0)
		dev->stalls_off = !on;
	return ret;
}

/*
 * Words 2 and 3 are those of the parent before and after. Of word 1 the SMMU ignores what a guest
 * chooses while Config is stage 2 alone: it is written first then, and left as it is in a switch to
 * the parent. Then word 0 changes by one store. Between two nested domains whose words 1 differ no
 * order of stores is right, and the STEs are not valid meanwhile.
 */
int
smmuv3_stes_switch(struct smmuv3 *s, struct smmuv3_dev *dev, bool from_nested)
{
	uint64_t word1 = make_word1(s, dev);
	int ret = 0;

	if (dev->nested != NULL && word1 != dev->word1) {
		if (from_nested)
			ret = set_word0(s, dev, 0);
		if (ret == 0)
			ret = set_words(s, dev, 1, &word1, 1);
		if (ret < 0)
			return ret;
		dev->word1 = word1;
	}
	return set_word0(s, dev, make_word0(dev));
}

int
smmuv3_stes_stop(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	return set_word0(s, dev, 0);
}

int
smmuv3_stes_abort(struct smmuv3 *s, const struct smmuv3_dev *dev)
{
	const uint64_t value = make_abort_word();

	return set_words(s, dev, 0, &value, 1);
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
