/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include "hitless_rig.h"
#include "smmuv3_order.h"
#include "smmuv3_spec.h"
#include "strtab.h"
#include "test.h"

#define MAX_VALUES	8
#define MAX_PLACES	4
#define MAX_VIEWS	16
#define MAX_SEEN	64
#define MAX_KNOWN	4

/* The values that the SMMU may have of one word. */
struct values {
	uint64_t v[MAX_VALUES];
	unsigned int n;
};

/* A structure at one address. */
struct place {
	const uint64_t *at;
	struct values words[8];
};

struct config {
	uint64_t ste[8];	/* without the fields that only locate the CD */
	uint64_t cd[8];
};

/* A (StreamID, SubstreamID). */
struct view {
	uint32_t sid, ssid;
	struct values l1std, ste[8];
	struct place l1cd[MAX_PLACES], cd[MAX_PLACES];
	struct config seen[MAX_SEEN];
	unsigned int nb_seen;
	bool invalid;
	struct config known[MAX_KNOWN];
	unsigned int nb_known;
	struct config first;
	bool first_valid;
};

static struct {
	struct pmd *p;
	struct view views[MAX_VIEWS];
	unsigned int nb_views;
	unsigned int fail_at;
	bool fail_done, failed;
} rig;

#define LOCATION	(SMMUV3_STE0_S1CONTEXTPTR | SMMUV3_STE0_S1FMT | SMMUV3_STE0_S1CDMAX)

static void
add_value(struct values *values, uint64_t v)
{
	for (unsigned int i = 0; i < values->n; i++)
		if (values->v[i] == v)
			return;
	assert_in_range(values->n, 0, MAX_VALUES - 1);
	values->v[values->n++] = v;
}

static struct place *
find_place(struct place *places, const uint64_t *at)
{
	for (unsigned int i = 0; i < MAX_PLACES; i++) {
		if (places[i].at == NULL)
			places[i].at = at;
		if (places[i].at == at)
			return &places[i];
	}
	fail_msg("more than %u places of a structure", MAX_PLACES);
	return NULL;
}

static bool
ste_has_cds(uint64_t dw0)
{
	return dw0 & SMMUV3_STE0_V && SMMUV3_GET(SMMUV3_STE0_CONFIG, dw0) == SMMUV3_STE_S1;
}

/* Alone, or behind the CDs of a guest, which are not looked at. */
static bool
ste_has_stage2(uint64_t dw0)
{
	unsigned int config = SMMUV3_GET(SMMUV3_STE0_CONFIG, dw0);

	return dw0 & SMMUV3_STE0_V && (config == SMMUV3_STE_S2 || config == SMMUV3_STE_S1_S2);
}

/* It is as good as not valid: see smmuv3_cd_stop(). */
static bool
cd_translates(uint64_t dw0)
{
	return dw0 & SMMUV3_CD0_V && !(dw0 & SMMUV3_CD0_EPD0 &&
			SMMUV3_GET(SMMUV3_CD0_ASID, dw0) == SMMUV3_ASID_NONE);
}

static const uint64_t *
locate_l1cd(uint64_t dw0, uint32_t ssid)
{
	return (const uint64_t *)(uintptr_t)(dw0 & SMMUV3_STE0_S1CONTEXTPTR) +
		(ssid >> SMMUV3_CD_LEAF_4K_LOG2);
}

static bool
has_two_levels(uint64_t dw0)
{
	return SMMUV3_GET(SMMUV3_STE0_S1FMT, dw0) == SMMUV3_S1FMT_2LVL_4K;
}

static const uint64_t *
locate_leaf_cd(uint64_t l1cd, uint32_t ssid)
{
	return (const uint64_t *)(uintptr_t)(l1cd & SMMUV3_L1CD_L2PTR) +
		8 * (ssid & ((1u << SMMUV3_CD_LEAF_4K_LOG2) - 1));
}

static const uint64_t *
locate_linear_cd(uint64_t dw0, uint32_t ssid)
{
	return (const uint64_t *)(uintptr_t)(dw0 & SMMUV3_STE0_S1CONTEXTPTR) + 8 * ssid;
}

static void
read_cd(struct view *view, const uint64_t *at)
{
	struct place *cd = find_place(view->cd, at);

	for (unsigned int w = 0; w < 8; w++)
		add_value(&cd->words[w], smmuv3_get_dw(&at[w]));
}

static void
add_config(struct view *view, const struct config *config)
{
	for (unsigned int i = 0; i < view->nb_seen; i++)
		if (memcmp(&view->seen[i], config, sizeof(*config)) == 0)
			return;
	assert_in_range(view->nb_seen, 0, MAX_SEEN - 1);
	view->seen[view->nb_seen++] = *config;
}

/* Put together each entry that these words allow, from word @p w on, and call next. */
static void
mix_words(struct view *view, struct config *config, uint64_t *entry, const struct values *words,
		unsigned int w, void (*next)(struct view *view, struct config *config, uint64_t dw0),
		uint64_t dw0)
{
	if (w == 8) {
		next(view, config, dw0);
		return;
	}
	for (unsigned int i = 0; i < words[w].n; i++) {
		entry[w] = words[w].v[i];
		mix_words(view, config, entry, words, w + 1, next, dw0);
	}
}

static void
finish_config(struct view *view, struct config *config, uint64_t dw0)
{
	(void)dw0;
	if (cd_translates(config->cd[0]))
		add_config(view, config);
	else
		view->invalid = true;
}

/* Stage 2 alone: the SMMU reads no CD, and ignores how it would. */
static void
finish_stage2(struct view *view, struct config *config, uint64_t dw0)
{
	if (SMMUV3_GET(SMMUV3_STE0_CONFIG, dw0) == SMMUV3_STE_S2)
		config->ste[1] &= ~(SMMUV3_STE1_S1DSS | SMMUV3_STE1_S1CIR | SMMUV3_STE1_S1COR |
				SMMUV3_STE1_S1CSH | SMMUV3_STE1_S1STALLD);
	memset(config->cd, 0, sizeof(config->cd));
	/* Illegal [5.2]. */
	assert_false(SMMUV3_GET(SMMUV3_STE1_EATS, config->ste[1]) != 0 &&
			config->ste[2] & SMMUV3_STE2_S2S);
	add_config(view, config);
}

static void
mix_cds(struct view *view, struct config *config, uint64_t dw0)
{
	struct place *l1cd;

	if (!has_two_levels(dw0)) {
		mix_words(view, config, config->cd, find_place(view->cd,
				locate_linear_cd(dw0, view->ssid))->words, 0, finish_config, 0);
		return;
	}
	l1cd = find_place(view->l1cd, locate_l1cd(dw0, view->ssid));
	for (unsigned int i = 0; i < l1cd->words[0].n; i++) {
		uint64_t l1 = l1cd->words[0].v[i];

		if (l1 & SMMUV3_L1CD_V)
			mix_words(view, config, config->cd, find_place(view->cd,
					locate_leaf_cd(l1, view->ssid))->words, 0, finish_config,
					0);
		else
			view->invalid = true;
	}
}

/* Read what the SMMU can reach now, then note each configuration it may have. */
static void
look(struct view *view)
{
	const struct smmuv3_strtab *t = &rig.p->s->strtab;
	struct config config;
	const uint64_t *ste;
	bool reachable = !t->two_level;

	if (t->two_level) {
		add_value(&view->l1std, smmuv3_get_dw((uint64_t *)t->mem.va +
				(view->sid >> SMMUV3_SPLIT)));
		for (unsigned int i = 0; i < view->l1std.n; i++) {
			if (SMMUV3_GET(SMMUV3_L1STD_SPAN, view->l1std.v[i]) != 0)
				reachable = true;
			else
				view->invalid = true;
		}
	}
	if (!reachable)
		return;
	ste = smmuv3_strtab_ste(t, view->sid)->dw;
	for (unsigned int w = 0; w < 8; w++)
		add_value(&view->ste[w], smmuv3_get_dw(&ste[w]));
	for (unsigned int i = 0; i < view->ste[0].n; i++) {
		uint64_t dw0 = view->ste[0].v[i];
		struct place *l1cd;

		if (ste_has_stage2(dw0))
			continue;
		if (!ste_has_cds(dw0)) {
			/* No bypass: it aborts, or is not valid. */
			assert_true(!(dw0 & SMMUV3_STE0_V) || SMMUV3_GET(SMMUV3_STE0_CONFIG, dw0) ==
					SMMUV3_STE_ABORT);
			view->invalid = true;
			continue;
		}
		if (!has_two_levels(dw0)) {
			read_cd(view, locate_linear_cd(dw0, view->ssid));
			continue;
		}
		l1cd = find_place(view->l1cd, locate_l1cd(dw0, view->ssid));
		add_value(&l1cd->words[0], smmuv3_get_dw(l1cd->at));
		for (unsigned int k = 0; k < l1cd->words[0].n; k++)
			if (l1cd->words[0].v[k] & SMMUV3_L1CD_V)
				read_cd(view, locate_leaf_cd(l1cd->words[0].v[k], view->ssid));
	}
	for (unsigned int i = 0; i < view->ste[0].n; i++) {
		uint64_t dw0 = view->ste[0].v[i];

		if (ste_has_stage2(dw0)) {
			config.ste[0] = dw0;
			mix_words(view, &config, config.ste, view->ste, 1, finish_stage2, dw0);
		}
		if (!ste_has_cds(dw0))
			continue;
		config.ste[0] = dw0 & ~LOCATION;
		mix_words(view, &config, config.ste, view->ste, 1, mix_cds, dw0);
	}
}

void
hitless_look(void)
{
	for (unsigned int i = 0; i < rig.nb_views; i++)
		look(&rig.views[i]);
}

/* The caches of this view that the command empties. */
static void
forget(struct view *view, const struct smmuv3_cmd *cmd)
{
	unsigned int op = cmd->dw[0] & 0xff;

	if (op != SMMUV3_OP_CFGI_STE && op != SMMUV3_OP_CFGI_CD && op != SMMUV3_OP_CFGI_CD_ALL)
		return;
	if (SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) != view->sid)
		return;
	if (op == SMMUV3_OP_CFGI_CD && SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]) != view->ssid)
		return;
	if (op == SMMUV3_OP_CFGI_STE) {
		memset(view->ste, 0, sizeof(view->ste));
		if (!(cmd->dw[1] & SMMUV3_CFGI1_LEAF))
			memset(&view->l1std, 0, sizeof(view->l1std));
	}
	if (op != SMMUV3_OP_CFGI_CD || !(cmd->dw[1] & SMMUV3_CFGI1_LEAF))
		memset(view->l1cd, 0, sizeof(view->l1cd));
	memset(view->cd, 0, sizeof(view->cd));
}

int __real_smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result);
int __wrap_smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result);

int
__wrap_smmuv3_cmdq_sync(struct smmuv3_cmdq *q, const struct smmuv3_cmd *cmds, unsigned int n,
		struct iopf_inv_result *result)
{
	bool fail = rig.nb_views > 0 && rig.fail_at > 0 && --rig.fail_at == 0;
	int ret = 0;

	hitless_look();
	if (!fail || rig.fail_done)
		ret = __real_smmuv3_cmdq_sync(q, cmds, n, result);
	if (fail) {
		rig.failed = true;
		if (result != NULL)
			*result = (struct iopf_inv_result){ .error = IOPF_INV_TIMEOUT };
		return -ETIMEDOUT;
	}
	for (unsigned int i = 0; i < rig.nb_views && ret == 0; i++)
		for (unsigned int k = 0; k < n; k++)
			forget(&rig.views[i], &cmds[k]);
	hitless_look();
	return ret;
}

void
hitless_fail_sync(unsigned int n, bool done)
{
	rig.fail_at = n;
	rig.fail_done = done;
	rig.failed = false;
}

bool
hitless_has_failed(void)
{
	return rig.failed;
}

void
hitless_watch(struct pmd *p, const uint32_t *sids, unsigned int nb_sids, const uint32_t *ssids,
		unsigned int nb_ssids)
{
	memset(&rig, 0, sizeof(rig));
	rig.p = p;
	assert_in_range(nb_sids * nb_ssids, 1, MAX_VIEWS);
	for (unsigned int i = 0; i < nb_sids; i++)
		for (unsigned int k = 0; k < nb_ssids; k++) {
			struct view *view = &rig.views[rig.nb_views++];

			view->sid = sids[i];
			view->ssid = ssids[k];
		}
	hitless_look();
}

void
hitless_unwatch(void)
{
	rig.nb_views = 0;
}

/* All that the SMMU may have now is one configuration. */
static bool
read_now(struct view *view, struct config *config)
{
	view->nb_seen = 0;
	view->invalid = false;
	look(view);
	if (view->nb_seen > 0)
		*config = view->seen[0];
	return view->nb_seen > 0;
}

static bool
is_known(const struct view *view, const struct config *config)
{
	for (unsigned int i = 0; i < view->nb_known; i++)
		if (memcmp(&view->known[i], config, sizeof(*config)) == 0)
			return true;
	return view->first_valid && memcmp(&view->first, config, sizeof(*config)) == 0;
}

void
hitless_learn(void)
{
	for (unsigned int i = 0; i < rig.nb_views; i++) {
		struct view *view = &rig.views[i];
		struct config now;

		if (!read_now(view, &now) || is_known(view, &now))
			continue;
		assert_in_range(view->nb_known, 0, MAX_KNOWN - 1);
		view->known[view->nb_known++] = now;
	}
}

void
hitless_begin(void)
{
	for (unsigned int i = 0; i < rig.nb_views; i++) {
		struct view *view = &rig.views[i];

		/* After an operation that failed it may have several. */
		view->first_valid = read_now(view, &view->first);
	}
}

struct hitless_seen
hitless_end(uint32_t sid, uint32_t ssid)
{
	struct hitless_seen seen = { .invalid = false };
	struct view *view = rig.views;
	struct view before;
	struct config last;

	while (view->sid != sid || view->ssid != ssid)
		view++;
	assert_in_range(view - rig.views, 0, rig.nb_views - 1);
	look(view);
	before = *view;
	seen.invalid = before.invalid;
	seen.ends_valid = read_now(view, &last);
	seen.left = view->nb_seen + view->invalid;
	seen.changed = seen.ends_valid != view->first_valid || (seen.ends_valid &&
			memcmp(&last, &view->first, sizeof(last)) != 0);
	for (unsigned int i = 0; i < before.nb_seen; i++)
		if (!is_known(view, &before.seen[i]) && !(seen.ends_valid &&
				memcmp(&before.seen[i], &last, sizeof(last)) == 0))
			seen.mixed = true;
	return seen;
}
