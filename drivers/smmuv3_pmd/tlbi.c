/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Invalidation of TLBs [4.4], and of ATCs after them. */

#include "atc.h"
#include "base.h"
#include "cmdq.h"
#include "domain.h"
#include "ecmdq.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "tlbi.h"

#define MAX_IPA_BITS	52

/* Level of entries of this size: 3 for pages, less for blocks; 0: unknown. */
static unsigned int
get_level(unsigned int granule_log2, unsigned int leaf_log2)
{
	unsigned int bits = granule_log2 - 3;
	unsigned int up = (leaf_log2 - granule_log2) / bits;

	if (leaf_log2 < granule_log2 || (leaf_log2 - granule_log2) % bits != 0 || up > 2)
		return 0;
	/* TTL 1 is reserved with 16 KiB granules [4.4.1]. */
	return granule_log2 == 14 && up == 2 ? 0 : 3 - up;
}

static struct smmuv3_cmd
make_cmd(const struct smmuv3_domain *domain, uint64_t addr, bool leaf)
{
	return smmuv3_domain_is_stage2(domain) ?
		smmuv3_cmd_tlbi_s2_ipa(domain->vmid, addr, leaf) :
		smmuv3_cmd_tlbi_nh_va(domain->vmid, domain->asid, addr, leaf);
}

static struct smmuv3_cmd
make_range_cmd(const struct smmuv3_domain *domain, uint64_t addr, bool leaf, unsigned int tg,
		unsigned int num, unsigned int scale, unsigned int ttl)
{
	return smmuv3_domain_is_stage2(domain) ?
		smmuv3_cmd_tlbi_s2_ipa_range(domain->vmid, addr, leaf, tg, num, scale, ttl) :
		smmuv3_cmd_tlbi_nh_va_range(domain->vmid, domain->asid, addr, leaf, tg, num, scale,
				ttl);
}

struct smmuv3_cmd
smmuv3_tlbi_make_all(const struct smmuv3_domain *domain)
{
	return domain->vmid != SMMUV3_VMID_NONE ? smmuv3_cmd_tlbi_s12_vmall(domain->vmid) :
		smmuv3_cmd_tlbi_nh_asid(domain->vmid, domain->asid);
}

/*
 * Ranges of (NUM + 1) << SCALE granules, from the lowest set bit of the length up, five bits at a
 * time. With a level given, start and end must be multiples of the size of its entries, or the
 * result is unpredictable. NUM, SCALE and TTL all 0 is illegal, so one granule without a level is
 * sent without a range.
 */
static unsigned int
make_range_cmds(const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_cmd *cmds, unsigned int max)
{
	unsigned int g = domain->tr.granule_log2, tg = (g - 10) / 2, n = 0;
	unsigned int ttl = inv->leaf_only ? get_level(g, inv->leaf_log2) : 0;
	unsigned int unit = ttl != 0 ? inv->leaf_log2 : g;
	uint64_t start = inv->addr >> unit, end = (inv->addr + inv->size - 1) >> unit;
	uint64_t va = start << unit, left = (end - start + 1) << (unit - g);

	while (left > 0) {
		unsigned int scale = __builtin_ctzll(left);
		uint64_t num = left >> scale & 31;

		/* SCALE has five bits; 2^48 bytes cannot be encoded as a range. */
		if (n == max || scale > 31)
			return 0;
		if (num == 1 && scale == 0 && ttl == 0)
			cmds[n++] = make_cmd(domain, va, inv->leaf_only);
		else
			cmds[n++] = make_range_cmd(domain, va, inv->leaf_only, tg, num - 1, scale,
					ttl);
		va += num << (scale + g);
		left -= num << scale;
	}
	return n;
}

unsigned int
smmuv3_tlbi_make_page_cmds(const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_cmd *cmds, unsigned int max)
{
	unsigned int g = domain->tr.granule_log2, n = 0;
	unsigned int unit = inv->leaf_only && inv->leaf_log2 > g ? inv->leaf_log2 : g;
	uint64_t va = inv->addr >> unit, end = (inv->addr + inv->size - 1) >> unit;

	if (unit > 63 || end - va >= max)
		return 0;
	for (; va <= end; va++)
		cmds[n++] = make_cmd(domain, va << unit, inv->leaf_only);
	return n;
}

unsigned int
smmuv3_tlbi_make_cmds(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max)
{
	if (inv->all) {
		cmds[0] = smmuv3_tlbi_make_all(domain);
		return 1;
	}
	/* TLBI_S2_IPA has no bits for such an address, which would be illegal [4.4]. */
	if (smmuv3_domain_is_stage2(domain) &&
			(inv->addr | (inv->addr + (inv->size - 1))) >> MAX_IPA_BITS != 0)
		return 0;
	return s->idr3 & SMMUV3_IDR3_RIL ? make_range_cmds(domain, inv, cmds, max) :
			smmuv3_tlbi_make_page_cmds(domain, inv, cmds, max);
}

static int
tlb_invalidate(struct smmuv3 *s, const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		unsigned int n, struct iopf_inv_result *result)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK], more[SMMUV3_CHUNK];
	unsigned int range_of[SMMUV3_CHUNK];	/* index of the range of each command */
	unsigned int used = 0, nb_more, i, k;
	/* ATC_INVs follow, in the CMDQ: see ecmdq.h. */
	struct smmuv3_cmdq *q = s->pri ? &s->cmdq : smmuv3_thread_cmdq(s);
	int ret;

	for (i = 0; i <= n; i++) {
		nb_more = i < n ? smmuv3_tlbi_make_cmds(s, domain, &inv[i], more, SMMUV3_CHUNK) : 0;
		if (nb_more == 0 && i < n) {
			/* Too many commands: invalidate the whole domain. */
			more[0] = smmuv3_tlbi_make_all(domain);
			nb_more = 1;
		}
		/* The commands of a range are not divided: those before it are complete with it. */
		if (used > 0 && (i == n || used + nb_more > SMMUV3_CHUNK)) {
			ret = smmuv3_cmdq_sync(q, cmds, used, result);
			if (unlikely(ret < 0)) {
				result->done = range_of[result->done];
				result->failed = result->done;
				return ret;
			}
			used = 0;
		}
		for (k = 0; k < nb_more; k++) {
			range_of[used] = i;
			cmds[used++] = more[k];
		}
	}
	return 0;
}

bool
smmuv3_tlbi_has_combined(const struct smmuv3_domain *domain)
{
	return smmuv3_domain_is_stage2(domain) &&
		atomic_load_explicit(&domain->nb_nested, memory_order_relaxed) != 0;
}

/*
 * With nested domains the TLB may have entries that combine a VA and a PA, which TLBI_S2_IPA leaves
 * [4.4]: NH_ALL removes all of the VMID. It follows the CMD_SYNC of the others, or a walk for a VA
 * could combine an old entry of stage 2 again. nb_nested is read after that: see atc.c.
 * devtools/spin/nested_inv.pml checks this and answer_after().
 */
static __rte_noinline int
inv_combined(struct smmuv3 *s, const struct smmuv3_domain *domain, struct iopf_inv_result *result)
{
	const struct smmuv3_cmd tlbi = smmuv3_cmd_tlbi_nh_all(domain->vmid);

	return smmuv3_tlbi_has_combined(domain) ? smmuv3_cmdq_sync(&s->cmdq, &tlbi, 1, result) : 0;
}

/*
 * The SMMU is off, so that no command is needed: see state.h. The first load only tells whether the
 * barrier (C2) is worth its cost.
 */
static inline bool
is_off(struct smmuv3 *s)
{
	if (likely(SMMUV3_STATE_OF(atomic_load_explicit(&s->state, memory_order_relaxed)) !=
			SMMUV3_STATE_OFF))
		return false;
	smmuv3_io_mb();
	return smmuv3_state_get(&s->state) == SMMUV3_STATE_OFF;
}

/*
 * TLBs first, then ATCs: an endpoint whose ATC is invalidated first could fill it from the TLB
 * again [3.9.1]. After an error of the TLBs the ranges before it are completed.
 */
int
smmuv3_invalidate(void *priv, void *handle, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	const struct smmuv3_domain *domain = smmuv3_domain_owner(handle);
	struct iopf_inv_result more;
	struct smmuv3 *s = priv;
	int ret, err = 0;

	/* The domain never translates, or nothing does now. */
	if (domain->tr.format == IOPF_FORMAT_NONE || is_off(s))
		return 0;
	ret = tlb_invalidate(s, domain, inv, n, result);
	if (unlikely(ret < 0))
		n = result->done;
	if (unlikely(smmuv3_domain_is_stage2(domain)) && n > 0)
		err = inv_combined(s, domain, &more);
	if (err == 0)
		err = smmuv3_atc_inv_ranges(s, domain, inv, n, &more);
	if (likely(err == 0))
		return ret;
	/* It concerns a range before the error of the TLBs. */
	*result = more;
	return err;
}
