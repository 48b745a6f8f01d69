/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_common.h>

#include <iopf_driver.h>

#include "atc.h"
#include "attach.h"
#include "base.h"
#include "chunk.h"
#include "dev.h"
#include "domain.h"
#include "inval_typed.h"
#include "smmuv3_cmd.h"
#include "smmuv3_pmd.h"
#include "tlbi.h"

/*
 * Of one request in one step. More become one that invalidates more. A domain has no more ATCs, and
 * its attachments share them.
 */
#define MAX_CMDS	SMMUV3_MAX_ATCS

/*
 * The commands of a step for one request: their number, at most MAX_CMDS. They are written behind
 * those of the chunk, which has room.
 */
typedef unsigned int (*step_t)(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_chunk *c);

/* An attachment of @p domain, or of a domain nested in it, that the request concerns. */
static bool
concerns(const struct iopf_inv *inv, const struct smmuv3_domain *domain,
		const struct smmuv3_attachment *a)
{
	uint32_t pasid = a->ssid != 0 ? a->ssid : IOPF_NO_PASID;

	if (a->domain != domain && a->domain->parent != domain)
		return false;
	if (inv->type == IOPF_INV_RANGE || inv->type == IOPF_INV_TAG || inv->dev == NULL)
		return true;
	/* A domain of the STE has each PASID of its device. */
	return a->dev == iopf_dev_handle(inv->dev) &&
		(smmuv3_domain_stage2(a->domain) != NULL || pasid == inv->pasid);
}

static struct smmuv3_cmd
make_cfgi(const struct iopf_inv *inv, uint32_t sid)
{
	/* Untagged traffic uses CD 0. */
	uint32_t ssid = inv->pasid != IOPF_NO_PASID ? inv->pasid : 0;

	if (inv->type == IOPF_INV_CONFIG && inv->all)
		return smmuv3_cmd_cfgi_cd_all(sid);
	return smmuv3_cmd_cfgi_cd(sid, ssid, inv->type == IOPF_INV_CONFIG && inv->leaf_only);
}

/*
 * Of a device that is detached meanwhile they invalidate too much. So the chunk does not hold its
 * attachment.
 */
static unsigned int
make_cfgis(struct smmuv3 *s, const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_chunk *c)
{
	struct smmuv3_cmd *cmds = c->cmds + c->used;
	const struct smmuv3_attachment *a;
	unsigned int n = 0, i;

	if (domain->parent == NULL ||
			(inv->type != IOPF_INV_CONFIG && inv->type != IOPF_INV_PASID))
		return 0;
	pthread_mutex_lock(&s->tables_lock);
	for (a = domain->parent->attachments; a != NULL && n <= MAX_CMDS; a = a->next)
		for (i = 0; concerns(inv, domain, a) && i < a->dev->nb_sids && n <= MAX_CMDS; i++)
			if (n++ < MAX_CMDS)
				cmds[n - 1] = make_cfgi(inv, a->dev->sids[i]);
	pthread_mutex_unlock(&s->tables_lock);
	if (n <= MAX_CMDS)
		return n;
	cmds[0] = smmuv3_cmd_cfgi_all();
	return 1;
}

/* That of tables with entries of this size, or 0. */
static unsigned int
find_granule_log2(const struct smmuv3 *s, unsigned int leaf_log2)
{
	unsigned int g;

	for (g = 12; g <= 16; g += 2)
		if (s->granules >> g & 1 && leaf_log2 >= g && leaf_log2 < g + 3 * (g - 3) &&
				(leaf_log2 - g) % (g - 3) == 0)
			return g;
	return 0;
}

/* A range, or all, in a guest's tables. Its granule is not known to the driver. */
static unsigned int
make_guest_tlbis(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds)
{
	/* No entry has more bits of the ASID than the SMMU. */
	uint16_t asid = s->idr0 & SMMUV3_IDR0_ASID16 ? inv->tag : inv->tag & 0xff;
	struct smmuv3_domain guest = { .vmid = domain->vmid, .asid = asid,
		.tr = { .format = IOPF_FORMAT_ARM64_S1 } };
	unsigned int n = 0, i;

	guest.tr.granule_log2 = find_granule_log2(s, inv->leaf_log2);
	if (!inv->all && guest.tr.granule_log2 != 0) {
		n = smmuv3_tlbi_make_cmds(s, &guest, inv, cmds, MAX_CMDS);
	} else if (!inv->all) {
		guest.tr.granule_log2 = 12;
		n = smmuv3_tlbi_make_page_cmds(&guest, &(struct iopf_inv){ .addr = inv->addr,
				.size = inv->size, .leaf_only = inv->leaf_only }, cmds, MAX_CMDS);
	}
	/* NH_ASID leaves global entries, which a range includes. */
	if (n == 0)
		cmds[n++] = inv->type == IOPF_INV_TAG && inv->all ?
			smmuv3_cmd_tlbi_nh_asid(guest.vmid, asid) :
			smmuv3_cmd_tlbi_nh_all(guest.vmid);
	else if (inv->type == IOPF_INV_RANGE)
		for (i = 0; i < n; i++)
			cmds[i].dw[0] = (cmds[i].dw[0] & ~(SMMUV3_CMD0_OP | SMMUV3_TLBI0_ASID)) |
				SMMUV3_PUT(SMMUV3_CMD0_OP, SMMUV3_OP_TLBI_NH_VAA);
	return n;
}

static unsigned int
make_tlbis(struct smmuv3 *s, const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_chunk *c)
{
	const struct iopf_inv tag = { .type = IOPF_INV_TAG, .tag = inv->tag, .all = true };
	struct smmuv3_cmd *cmds = c->cmds + c->used;

	switch (inv->type) {
	case IOPF_INV_RANGE:
	case IOPF_INV_TAG:
		return make_guest_tlbis(s, domain, inv, cmds);
	case IOPF_INV_PASID:
		if (domain->parent != NULL)
			return make_guest_tlbis(s, domain, &tag, cmds);
		cmds[0] = smmuv3_tlbi_make_all(domain);
		return 1;
	default:
		return 0;
	}
}

/* The list is read after the CMD_SYNCs of the TLBIs: I3 of atc.c. */
static unsigned int
make_atc_invs(struct smmuv3 *s, const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		struct smmuv3_chunk *c)
{
	const struct smmuv3_domain *owner = domain->parent != NULL ? domain->parent : domain;
	struct smmuv3_attachment *a;
	unsigned int n = 0, nb;

	if (inv->type == IOPF_INV_CONFIG)
		return 0;
	pthread_mutex_lock(&s->tables_lock);
	for (a = owner->attachments; a != NULL; a = a->next) {
		if (!concerns(inv, domain, a))
			continue;
		nb = smmuv3_atc_make_invs(s, a, domain, inv, c->cmds + c->used + n);
		if (nb > 0)
			smmuv3_chunk_hold(c, a);
		n += nb;
	}
	pthread_mutex_unlock(&s->tables_lock);
	return n;
}

static int
run_step(struct smmuv3 *s, const struct smmuv3_domain *domain, step_t make,
		const struct iopf_inv *inv, unsigned int n, struct iopf_inv_result *result)
{
	bool atc = make == make_atc_invs;
	struct smmuv3_chunk c;
	unsigned int i, nb;
	int ret = 0;

	c.used = 0;
	c.nb_held = 0;
	for (i = 0; i < n && ret == 0; i++) {
		for (nb = make(s, domain, &inv[i], &c); nb > 0; nb--)
			c.index[c.used++] = i;
		if (c.used + MAX_CMDS > SMMUV3_CHUNK || i + 1 == n)
			ret = smmuv3_chunk_issue(s, &c, atc, result);
	}
	return ret;
}

static int
run_steps(struct smmuv3 *s, const struct smmuv3_domain *domain, const struct iopf_inv *inv,
		unsigned int n, struct iopf_inv_result *result)
{
	static const step_t steps[] = { make_cfgis, make_tlbis, make_atc_invs };
	struct iopf_inv_result here;
	unsigned int i;
	int ret = 0, err;

	for (i = 0; i < RTE_DIM(steps); i++) {
		err = run_step(s, domain, steps[i], inv, n, &here);
		if (err == 0)
			continue;
		/* It concerns a request before the errors of the steps before. */
		*result = here;
		n = here.done;
		ret = err;
	}
	return ret;
}

static bool
is_plain(const struct smmuv3_domain *domain, const struct iopf_inv *inv)
{
	return domain->parent == NULL && inv->type == IOPF_INV_RANGE;
}

int
smmuv3_invalidate_typed(void *priv, void *handle, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	const struct smmuv3_domain *domain = handle;
	struct smmuv3 *s = priv;
	unsigned int i, end;
	int ret;

	for (i = 0; i < n; i = end) {
		bool plain = is_plain(domain, &inv[i]);

		for (end = i + 1; end < n && is_plain(domain, &inv[end]) == plain; end++)
			;
		ret = plain ? smmuv3_invalidate(s, handle, inv + i, end - i, result) :
			run_steps(s, domain, inv + i, end - i, result);
		if (ret < 0) {
			result->done += i;
			result->failed += i;
			return ret;
		}
	}
	return 0;
}
