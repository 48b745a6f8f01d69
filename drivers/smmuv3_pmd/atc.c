/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATCs: the list of them for each domain, and their invalidation [3.9, 4.5.1]. atc_cut.c
 * handles an ATC that does not answer.
 *
 * For each (StreamID, PASID) of an attachment with ATS there is a word in s->atcs, and its
 * index in the domain's list. A nested domain has one for untagged traffic and one for all PASIDs,
 * in its parent's list. attach and detach write them under s->tables_lock; invalidate()
 * and answer_after() read them on any thread, without a lock.
 *
 * No ATC that may have an old translation is missed:
 *
 *   attach	A1 word and index; A2 TLBI by ASID or VMID given to the queue, a release of A1;
 *		A3 its CMD_SYNC complete; A4 the CD and STE become live
 *   invalidate	I1 the table was changed; I2 TLBI, CMD_SYNC complete; I3 list read
 *   answer_after	B1 the table was changed; B2 full barrier; B3 list read; B4 TLBI,
 *		CMD_SYNC, ATC_INV, CMD_SYNC are given to the queue
 *
 * invalidate(): an endpoint that got an old translation got it before I2 was complete,
 * through a CD and STE that became live in A4: so A1 came before I3. answer_after() does not
 * wait. If B3 misses A1 then B1, which B2 keeps before B3, came before A2. So walks find the
 * table of B1 from A2 on, and after A3 the TLB has no entry from before: for example another
 * device's old entry, which B4 may not have reached yet. An ATC that detach removes from the
 * list is empty: its CD has stopped, and its ATC_INV is complete.
 * devtools/spin/atc_list.pml checks this, and fails if A1 is not first, and without B2 or A2.
 */

#include <stdlib.h>

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "cmdq.h"
#include "dev.h"
#include "domain.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"

/* The range of one ATC_INV. */
struct span {
	uint64_t addr;
	unsigned int size;
};

static const struct span whole_space = { 0, SMMUV3_ATC_SIZE_ALL };

static uint64_t
make_word(uint32_t sid, uint32_t ssid)
{
	/* Untagged traffic uses CD 0. */
	return SMMUV3_ATC_USED | (ssid != 0 ? SMMUV3_ATC_SSV : 0) |
		SMMUV3_PUT(SMMUV3_ATC_SSID, ssid) | SMMUV3_PUT(SMMUV3_ATC_SID, sid);
}

static struct smmuv3_cmd
make_inv_cmd(uint64_t word, struct span span)
{
	if (word & SMMUV3_ATC_WHOLE)
		span = whole_space;
	return smmuv3_cmd_atc_inv(SMMUV3_GET(SMMUV3_ATC_SID, word), word & SMMUV3_ATC_SSV,
			SMMUV3_GET(SMMUV3_ATC_SSID, word), word & SMMUV3_ATC_GLOBAL, span.addr,
			span.size);
}

int
smmuv3_atc_open(struct smmuv3 *s)
{
	if (!s->pri)
		return 0;
	s->atcs = calloc(SMMUV3_NB_ATCS, sizeof(*s->atcs));
	return s->atcs == NULL ? -ENOMEM : 0;
}

void
smmuv3_atc_close(struct smmuv3 *s)
{
	free(s->atcs);
}

/* tables_lock is held. */
static int
add_atc(struct smmuv3 *s, struct smmuv3_attachment *a, uint64_t word)
{
	struct smmuv3_domain *domain = smmuv3_domain_owner(a->domain);
	uint32_t i, k, end = atomic_load_explicit(&domain->atc_end, memory_order_relaxed);

	for (i = 0; i < SMMUV3_NB_ATCS && smmuv3_atc_load(s->atcs, i) != 0; i++)
		;
	for (k = 0; k < end; k++)
		if (atomic_load_explicit(&domain->atc[k], memory_order_relaxed) == 0)
			break;
	if (i == SMMUV3_NB_ATCS || k == SMMUV3_MAX_ATCS)
		return -ENOSPC;
	/* In this order for collect_words(): the word, its index, the end of the list. */
	atomic_store_explicit(&s->atcs[i].word, word, memory_order_release);
	atomic_store_explicit(&domain->atc[k], i + 1, memory_order_release);
	if (k == end)
		atomic_store_explicit(&domain->atc_end, k + 1, memory_order_release);
	a->atcs[a->nb_atcs++] = i;
	return 0;
}

/* tables_lock is held. */
static int
add_atcs_of_sid(struct smmuv3 *s, struct smmuv3_attachment *a, uint32_t sid)
{
	uint64_t word = make_word(sid, a->ssid);
	int ret;

	if (a->domain->parent == NULL)
		return add_atc(s, a, word);
	ret = add_atc(s, a, word | SMMUV3_ATC_WHOLE);
	if (ret == 0 && a->dev->nb_pasids > 0)
		ret = add_atc(s, a, word | SMMUV3_ATC_WHOLE | SMMUV3_ATC_SSV | SMMUV3_ATC_GLOBAL);
	return ret;
}

/* tables_lock is held. */
static void
del_atcs(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	struct smmuv3_domain *domain = smmuv3_domain_owner(a->domain);
	unsigned int i, k;

	while (a->nb_atcs > 0) {
		i = a->atcs[--a->nb_atcs];
		for (k = 0; k < SMMUV3_MAX_ATCS; k++)
			if (atomic_load_explicit(&domain->atc[k], memory_order_relaxed) == i + 1)
				atomic_store_explicit(&domain->atc[k], 0, memory_order_relaxed);
		/* Pairs with the release in mark_cut(), which has counted the word before. */
		if (atomic_exchange_explicit(&s->atcs[i].word, 0, memory_order_acq_rel) &
				SMMUV3_ATC_CUT)
			atomic_fetch_sub_explicit(&s->nb_cut_atcs, 1, memory_order_relaxed);
	}
}

int
smmuv3_atc_add(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	const struct smmuv3_dev *dev = a->dev;
	unsigned int i;
	int ret = 0;

	if (smmuv3_atc_is_cut(s, dev)) {
		SMMUV3_LOG(ERR, s, "StreamID %u and the device's others are cut off, because an "
				"ATC did not answer; detach the whole device, reset it, and "
				"attach it again", dev->sids[0]);
		return -EIO;
	}
	pthread_mutex_lock(&s->tables_lock);
	for (i = 0; i < dev->nb_sids && ret == 0; i++)
		ret = add_atcs_of_sid(s, a, dev->sids[i]);
	if (ret < 0)
		del_atcs(s, a);
	pthread_mutex_unlock(&s->tables_lock);
	if (ret < 0)
		SMMUV3_LOG(ERR, s, "StreamID %u: too many ATCs: a domain can have %u pairs of "
				"StreamID and PASID with ATS, all domains together %u; detach "
				"others first", dev->sids[i - 1],
				SMMUV3_MAX_ATCS, SMMUV3_NB_ATCS);
	return ret;
}

void
smmuv3_atc_del(struct smmuv3 *s, struct smmuv3_attachment *a)
{
	if (a->nb_atcs == 0)
		return;
	pthread_mutex_lock(&s->tables_lock);
	del_atcs(s, a);
	pthread_mutex_unlock(&s->tables_lock);
}

/*
 * Issue commands for one StreamID. 0: the ATC is invalidated, or cut off and none of its accesses
 * reaches memory.
 */
static int
inv_sid(struct smmuv3 *s, const struct smmuv3_cmd *cmds, unsigned int n, uint32_t sid)
{
	struct iopf_inv_result result;
	int ret = smmuv3_atc_probe_sid(s, cmds, n, sid, &result);

	return ret < 0 && result.error == IOPF_INV_ATC && smmuv3_atc_is_sid_cut(s, sid) ? 0 : ret;
}

/* Everything includes each PASID, by the Global form if the device has PASIDs. */
static int
inv_atc(struct smmuv3 *s, unsigned int i, bool everything, bool pasids)
{
	uint64_t word = smmuv3_atc_load(s->atcs, i);
	uint32_t sid = SMMUV3_GET(SMMUV3_ATC_SID, word), ssid = SMMUV3_GET(SMMUV3_ATC_SSID, word);
	struct smmuv3_cmd cmds[3] = { make_inv_cmd(word, whole_space) };
	unsigned int n = 1;

	if (everything && word & SMMUV3_ATC_SSV)
		cmds[n++] = smmuv3_cmd_atc_inv(sid, false, 0, false, whole_space.addr,
				whole_space.size);
	if (everything && pasids)
		cmds[n++] = smmuv3_cmd_atc_inv(sid, true, ssid, true, whole_space.addr,
				whole_space.size);
	return inv_sid(s, cmds, n, sid);
}

int
smmuv3_atc_inv_attachment(struct smmuv3 *s, const struct smmuv3_attachment *a)
{
	unsigned int k;
	int ret, first = 0;

	for (k = 0; k < a->nb_atcs; k++) {
		ret = inv_atc(s, a->atcs[k], a->inv_all_pasids, a->dev->nb_pasids > 0);
		first = first < 0 ? first : ret;
	}
	return first;
}

int
smmuv3_atc_inv_all(struct smmuv3 *s)
{
	unsigned int i;
	int ret;

	for (i = 0; s->pri && i < SMMUV3_NB_ATCS; i++) {
		if (!smmuv3_atc_takes_inv(smmuv3_atc_load(s->atcs, i)))
			continue;
		ret = inv_atc(s, i, true, s->ssid_bits > 0);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void
smmuv3_atc_post_inv_all(struct smmuv3 *s)
{
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int i, n = 0;
	uint64_t word;

	for (i = 0; s->pri && i <= SMMUV3_NB_ATCS; i++) {
		word = i < SMMUV3_NB_ATCS ? smmuv3_atc_load(s->atcs, i) : 0;
		if (smmuv3_atc_takes_inv(word))
			cmds[n++] = make_inv_cmd(word, whole_space);
		if (n == SMMUV3_CHUNK - 1 || (i == SMMUV3_NB_ATCS && n > 0)) {
			cmds[n++] = smmuv3_cmd_sync();
			smmuv3_cmdq_post(&s->cmdq, cmds, n);
			n = 0;
		}
	}
}

/* The words of the domain's ATCs that take ATC_INVs. Returns their number. */
static unsigned int
collect_words(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		uint64_t words[SMMUV3_MAX_ATCS], bool *cut)
{
	/* Acquires in the reverse order of the releases in add_atc(). */
	uint32_t k, end = atomic_load_explicit(&domain->atc_end, memory_order_acquire), i;
	unsigned int n = 0;

	*cut = false;
	for (k = 0; k < end; k++) {
		i = atomic_load_explicit(&domain->atc[k], memory_order_acquire);
		if (i == 0)
			continue;
		words[n] = smmuv3_atc_load(s->atcs, i - 1);
		if (words[n] & SMMUV3_ATC_CUT)
			*cut = true;
		else if (words[n] & SMMUV3_ATC_USED)
			n++;
	}
	return n;
}

/*
 * The smallest aligned power of two that covers these ranges; no less than the STU that ATS was
 * enabled with, the smallest granule.
 */
static struct span
find_span(const struct smmuv3 *s, const struct iopf_inv *inv, unsigned int n)
{
	unsigned int log2 = __builtin_ctz(s->granules), i;
	uint64_t from = UINT64_MAX, to = 0;

	for (i = 0; i < n; i++) {
		if (inv[i].all)
			return whole_space;
		from = RTE_MIN(from, inv[i].addr);
		to = RTE_MAX(to, inv[i].addr + inv[i].size - 1);
	}
	if (from >> log2 != to >> log2)
		log2 = 64 - __builtin_clzll(from ^ to);
	return log2 == 64 ? whole_space : (struct span){ from >> log2 << log2, log2 - 12 };
}

int
smmuv3_atc_inv_ranges(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n, struct iopf_inv_result *result)
{
	unsigned int nb, nb_spans, used = 0, w, i;
	uint64_t words[SMMUV3_MAX_ATCS];
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int range_of[SMMUV3_CHUNK];	/* the first range of each command */
	bool cut;
	int ret;

	if (!s->pri || n == 0)
		return 0;
	nb = collect_words(s, domain, words, &cut);
	if (nb == 0)
		/* After the CFGI_STE that cuts it off. */
		return cut ? smmuv3_cmdq_sync(&s->cmdq, NULL, 0, result) : 0;
	/* Adjacent ranges share a span, so that all ATC_INVs fit in one batch. */
	nb_spans = RTE_MIN(n, SMMUV3_CHUNK / nb);
	/* In the order of the ranges: the first command that fails tells the first range. */
	for (i = 0; i < nb_spans; i++) {
		uint64_t from = (uint64_t)i * n / nb_spans, to = ((uint64_t)i + 1) * n / nb_spans;
		struct span span = find_span(s, &inv[from], to - from);

		for (w = 0; w < nb; w++) {
			if (words[w] & SMMUV3_ATC_WHOLE && i > 0)
				continue;
			range_of[used] = from;
			cmds[used++] = make_inv_cmd(words[w], span);
		}
	}
	ret = smmuv3_atc_issue_invs(s, cmds, used, result);
	if (unlikely(ret < 0)) {
		result->done = range_of[result->done];
		result->failed = result->done;
	}
	return ret;
}

unsigned int
smmuv3_atc_make_cmds(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n,
		struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS])
{
	uint64_t words[SMMUV3_MAX_ATCS];
	unsigned int nb, used = 0, w;
	struct span span;
	bool cut, sync_each;

	if (!s->pri || n == 0)
		return 0;
	/* B2 */
	smmuv3_io_mb();
	nb = collect_words(s, domain, words, &cut);
	span = find_span(s, inv, n);
	sync_each = atomic_load_explicit(&s->atc_sync_each, memory_order_relaxed);
	for (w = 0; w < nb; w++) {
		cmds[used++] = make_inv_cmd(words[w], span);
		if (sync_each || w + 1 == nb)
			cmds[used++] = smmuv3_cmd_sync();
	}
	return used;
}

/* The part of a nested domain's word that is of one PASID; 0: it has none. */
static uint64_t
select_pasid(uint64_t word, uint32_t pasid)
{
	if (pasid == IOPF_NO_PASID)
		return word & SMMUV3_ATC_SSV ? 0 : word;
	return word & SMMUV3_ATC_GLOBAL ? (word & ~(SMMUV3_ATC_GLOBAL | SMMUV3_ATC_SSID)) |
		SMMUV3_PUT(SMMUV3_ATC_SSID, pasid) : 0;
}

unsigned int
smmuv3_atc_make_invs(const struct smmuv3 *s, const struct smmuv3_attachment *a,
		const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_cmd *cmds)
{
	bool one = inv->type == IOPF_INV_PASID ||
		(inv->type == IOPF_INV_DEVICE_TLB && inv->dev != NULL);
	struct span span = inv->type == IOPF_INV_PASID ? whole_space : find_span(s, inv, 1);
	unsigned int n = 0, k;
	uint64_t word;

	for (k = 0; k < a->nb_atcs; k++) {
		word = smmuv3_atc_load(s->atcs, a->atcs[k]);
		/* The addresses of a nested domain's own requests are those of its ATCs. */
		if (a->domain == domain)
			word &= ~SMMUV3_ATC_WHOLE;
		if (one && a->domain == domain && domain->parent != NULL)
			word = select_pasid(word, inv->pasid);
		if (word != 0)
			cmds[n++] = make_inv_cmd(word, span);
	}
	return n;
}
