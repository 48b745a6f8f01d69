/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Context descriptors [5.3, 5.4]: one table for each device, used by all its StreamIDs. It is
 * linear for up to 64 CDs, or without IDR0.CD2L; else it has two levels, with leaves of 64 CDs
 * that are allocated when needed.
 */

#include <stdlib.h>

#include <rte_bitops.h>

#include "base.h"
#include "cd.h"
#include "cmdq.h"
#include "dev.h"
#include "domain.h"
#include "entry.h"
#include "ids.h"
#include "mem.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

#define LEAF_LOG2	SMMUV3_CD_LEAF_4K_LOG2

int
smmuv3_cdtab_create(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	struct smmuv3_cdtab *t = &dev->cds;
	size_t size;

	t->fmt = SMMUV3_S1FMT_LINEAR;
	/* S1CDMax = 0: a device without PASIDs. */
	t->log2 = dev->nb_pasids == 0 ? 0 : RTE_MAX(rte_log2_u32(dev->nb_pasids), 1u);
	size = sizeof(struct smmuv3_cd) << t->log2;
	if (t->log2 > LEAF_LOG2 && s->idr0 & SMMUV3_IDR0_CD2L) {
		t->fmt = SMMUV3_S1FMT_2LVL_4K;
		size = sizeof(uint64_t) << (t->log2 - LEAF_LOG2);
		t->leaves = calloc((size_t)1 << (t->log2 - LEAF_LOG2), sizeof(*t->leaves));
		if (t->leaves == NULL)
			return -ENOMEM;
	}
	return smmuv3_mem_alloc(s, size, &t->mem);
}

void
smmuv3_cdtab_destroy(struct smmuv3 *s, struct smmuv3_dev *dev)
{
	struct smmuv3_cdtab *t = &dev->cds;
	size_t i;

	if (t->leaves != NULL)
		for (i = 0; i < (size_t)1 << (t->log2 - LEAF_LOG2); i++)
			smmuv3_mem_free(s, &t->leaves[i]);
	free(t->leaves);
	t->leaves = NULL;
	smmuv3_mem_free(s, &t->spare);
	smmuv3_mem_free(s, &t->mem);
}

/* The CD exists: smmuv3_cdtab_ensure_cd() was called before. */
static struct smmuv3_cd *
find_cd(const struct smmuv3_dev *dev, uint32_t ssid)
{
	const struct smmuv3_cdtab *t = &dev->cds;

	if (t->fmt == SMMUV3_S1FMT_LINEAR)
		return (struct smmuv3_cd *)t->mem.va + ssid;
	return (struct smmuv3_cd *)t->leaves[ssid >> LEAF_LOG2].va +
			(ssid & RTE_LEN2MASK(LEAF_LOG2, uint32_t));
}

int
smmuv3_cdtab_ensure_cd(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid)
{
	struct smmuv3_cdtab *t = &dev->cds;
	uint32_t i = ssid >> LEAF_LOG2;
	int ret;

	if (t->fmt == SMMUV3_S1FMT_LINEAR || t->leaves[i].va != NULL)
		return 0;
	ret = smmuv3_mem_alloc(s, sizeof(struct smmuv3_cd) << LEAF_LOG2, &t->leaves[i]);
	if (ret < 0)
		return ret;
	/*
	 * No CD of the leaf is valid. The next write of one invalidates this first-level entry
	 * too.
	 */
	smmuv3_io_wmb();
	smmuv3_set_dw((uint64_t *)t->mem.va + i, SMMUV3_L1CD_V |
			(t->leaves[i].addr & SMMUV3_L1CD_L2PTR));
	return 0;
}

struct cd_sync {
	struct smmuv3 *s;
	const struct smmuv3_dev *dev;
	uint32_t ssid;
};

/* CDs are cached per StreamID [4.3.3]. Leaf = 0 invalidates the first-level entry too. */
static int
sync_cd(void *ctx)
{
	const struct cd_sync *sync = ctx;
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n;
	int ret;

	for (i = 0; i < sync->dev->nb_sids; i += n) {
		for (n = 0; n < SMMUV3_CHUNK && i + n < sync->dev->nb_sids; n++)
			cmds[n] = smmuv3_cmd_cfgi_cd(sync->dev->sids[i + n], sync->ssid, false);
		ret = smmuv3_cmdq_sync(&sync->s->cmdq, cmds, n, NULL);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static unsigned int
encode_tg0(unsigned int granule_log2)
{
	return granule_log2 == 12 ? SMMUV3_TG0_4K :
		granule_log2 == 14 ? SMMUV3_TG0_16K : SMMUV3_TG0_64K;
}

/* The smallest IPS that covers the addresses of the tables. */
unsigned int
smmuv3_encode_ips(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	unsigned int oas = SMMUV3_GET(SMMUV3_IDR5_OAS, s->idr5), enc = 0;

	while (enc < oas && (tr->pa_bits == 0 || smmuv3_oas_bits(enc) < tr->pa_bits))
		enc++;
	return enc;
}

static unsigned int
get_table_log2(const struct iopf_translation *tr)
{
	unsigned int bits = tr->granule_log2 - 3;
	unsigned int levels = (tr->va_bits - tr->granule_log2 + bits - 1) / bits;

	return 3 + tr->va_bits - tr->granule_log2 - (levels - 1) * bits;
}

int
smmuv3_check_granule(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	if (tr->granule_log2 <= 16 && s->granules & 1u << tr->granule_log2)
		return 0;
	SMMUV3_LOG(ERR, s, "granule_log2 %u of a translation: use one that the SMMU has:%s%s%s",
			tr->granule_log2, s->granules & 1u << 12 ? " 12 (4 KiB)" : "",
			s->granules & 1u << 14 ? " 14 (16 KiB)" : "",
			s->granules & 1u << 16 ? " 16 (64 KiB)" : "");
	return -EINVAL;
}

int
smmuv3_check_root(const struct smmuv3 *s, const struct iopf_translation *tr,
		unsigned int align_log2)
{
	uint64_t align = UINT64_C(1) << align_log2;
	unsigned int bits = smmuv3_oas_bits(smmuv3_encode_ips(s, tr));

	if (!(tr->root & (align - 1)) && tr->root >> bits == 0)
		return 0;
	SMMUV3_LOG(ERR, s, "root table at 0x%" PRIx64 ": a multiple of 0x%" PRIx64
			" below 2^%u is needed", tr->root, align, bits);
	return -EINVAL;
}

int
smmuv3_cd_check_translation(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	if (tr->format == IOPF_FORMAT_NONE)
		return 0;
	if (tr->format != IOPF_FORMAT_ARM64_S1) {
		SMMUV3_LOG(ERR, s, "translation format %d is unknown: use IOPF_FORMAT_ARM64_S1 "
				"or IOPF_FORMAT_ARM64_S2", tr->format);
		return -EINVAL;
	}
	if (smmuv3_check_granule(s, tr) < 0)
		return -EINVAL;
	if (tr->va_bits < 25 || tr->va_bits > 48) {
		SMMUV3_LOG(ERR, s, "translation of %u address bits: use 25 to 48",
				tr->va_bits);
		return -EINVAL;
	}
	/* The SMMU ignores lower bits, and a larger address is illegal [5.4]. */
	return smmuv3_check_root(s, tr, RTE_MAX(get_table_log2(tr), 6u));
}

bool
smmuv3_sets_access_flag(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	return tr->access_flag && s->httu >= SMMUV3_HTTU_AF;
}

bool
smmuv3_sets_dirty(const struct smmuv3 *s, const struct iopf_translation *tr)
{
	return smmuv3_sets_access_flag(s, tr) && tr->dirty && s->httu >= SMMUV3_HTTU_DIRTY;
}

void
smmuv3_cd_make(const struct smmuv3 *s, const struct smmuv3_dev *dev,
		const struct smmuv3_domain *domain, struct smmuv3_cd *cd)
{
	const struct iopf_translation *tr = &domain->tr;

	/*
	 * A fault stalls, or aborts and is recorded. A is always set: TERM_MODEL = 1 needs it, and
	 * RAZ/WI is possible by an answer only.
	 */
	*cd = (struct smmuv3_cd){
		.dw[0] = SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | (dev->stall ? SMMUV3_CD0_S : 0) | SMMUV3_CD0_ASET |
			SMMUV3_PUT(SMMUV3_CD0_ASID, domain->asid),
	};
	if (tr->format == IOPF_FORMAT_NONE) {
		cd->dw[0] |= SMMUV3_CD0_EPD0;
		return;
	}
	cd->dw[0] |= SMMUV3_PUT(SMMUV3_CD0_T0SZ, 64 - tr->va_bits) |
		SMMUV3_PUT(SMMUV3_CD0_TG0, encode_tg0(tr->granule_log2)) |
		SMMUV3_PUT(SMMUV3_CD0_IR0, SMMUV3_CD_RGN_WBWA) |
		SMMUV3_PUT(SMMUV3_CD0_OR0, SMMUV3_CD_RGN_WBWA) |
		SMMUV3_PUT(SMMUV3_CD0_SH0, SMMUV3_SH_ISH) |
		SMMUV3_PUT(SMMUV3_CD0_IPS, smmuv3_encode_ips(s, tr)) |
		(smmuv3_sets_access_flag(s, tr) ? SMMUV3_CD0_HA : 0) |
		(smmuv3_sets_dirty(s, tr) ? SMMUV3_CD0_HD : 0);
	cd->dw[1] = tr->root & SMMUV3_CD1_TTB0;
	cd->dw[3] = tr->mair != 0 ? tr->mair : 0xff;
}

int
smmuv3_cd_start(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid,
		const struct smmuv3_domain *domain)
{
	struct cd_sync sync = { s, dev, ssid };
	struct smmuv3_cd cd;
	int ret;

	/* Otherwise the SMMU may use the CD in the table from before a switch. */
	ret = smmuv3_cd_finish_switch(s, dev);
	if (ret < 0)
		return ret;
	smmuv3_cd_make(s, dev, domain, &cd);
	return smmuv3_entry_write(find_cd(dev, ssid)->dw, cd.dw, SMMUV3_CD0_V, sync_cd, &sync);
}

/*
 * After this accesses abort and are recorded, none stalls, and the SMMU walks no table for the
 * ASID. One word changes, so the CD may be live.
 *
 * Without ATS the CD becomes not valid: C_BAD_CD. With ATS it stays valid: the SMMU would
 * answer a Translation Request that finds an invalid CD with a Completer Abort, which an
 * endpoint treats as an error. With EPD0 the request finds no page; other accesses are recorded
 * as F_TRANSLATION. EPD0 only stops walks: other devices may be attached to the domain, and
 * fill the TLB with its ASID at any time. So the CD gets the ASID that no domain has.
 */
int
smmuv3_cd_stop(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid)
{
	struct cd_sync sync = { s, dev, ssid };
	struct smmuv3_cd *live = find_cd(dev, ssid);
	struct smmuv3_cd cd = *live;
	int ret;

	ret = smmuv3_cd_finish_switch(s, dev);
	if (ret < 0)
		return ret;
	if (dev->pri)
		cd.dw[0] = (cd.dw[0] & ~SMMUV3_CD0_ASID) | SMMUV3_CD0_EPD0 |
			SMMUV3_PUT(SMMUV3_CD0_ASID, SMMUV3_ASID_NONE);
	else
		cd.dw[0] = 0;
	return smmuv3_entry_write(live->dw, cd.dw, SMMUV3_CD0_V, sync_cd, &sync);
}

/*
 * One word changes, so the CD may be live. Accesses that stalled before still wait for their
 * RESUME; one that is retried and faults again aborts.
 *
 * S is a state of the live CD, and of no other object. A table that takes the place of the live one
 * gets its CDs as they are now, so that S stays clear for the PASIDs that are not replaced. The CD
 * of a domain that replaces another one is a new CD: its accesses stall.
 */
int
smmuv3_cd_set_stall(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid, bool on)
{
	struct cd_sync sync = { s, dev, ssid };
	struct smmuv3_cd *live = find_cd(dev, ssid);
	struct smmuv3_cd cd = *live;
	int ret;

	ret = smmuv3_cd_finish_switch(s, dev);
	if (ret < 0)
		return ret;
	if (on)
		cd.dw[0] |= SMMUV3_CD0_S;
	else
		cd.dw[0] &= ~SMMUV3_CD0_S;
	return smmuv3_entry_write(live->dw, cd.dw, SMMUV3_CD0_V, sync_cd, &sync);
}
