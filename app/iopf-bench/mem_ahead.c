/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * What is fetched and mapped ahead of faults: the faults of a device that streams over a region,
 * and the page-ins of one whose accesses are random, with and without it.
 */

#include <errno.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "mem_rig.h"
#include "mem_suite.h"
#include "progress.h"
#include "suite.h"

#define NB_PAGES	8192
/* Random: each page eight times in the mean. */
#define RANDOM_PAGES	2048
#define NB_RANDOM	(8 * RANDOM_PAGES)
#define WARM_UP		RANDOM_PAGES
#define LCG_MULTIPLIER	UINT64_C(6364136223846793005)
#define LCG_INCREMENT	UINT64_C(1442695040888963407)

enum kind {
	LARGE,			/* contents in memory, or in blocks of 2 MiB */
	SMALL,			/* in smaller blocks */
	NO_HTTU,		/* LARGE, but the SMMU sets no access flags */
	NB_KINDS
};

struct stream {
	const char *name;
	enum kind kind;
	const struct mmem_pager *pager;	/* [contents in memory] */
	uint32_t budget;
};

static const struct stream streams[] = {
	{ "memory", LARGE, NULL, 0 },
	{ "2m", LARGE, &mem_zero_pager_2m, 0 },
	{ "2m_budget", LARGE, &mem_zero_pager_2m, NB_PAGES / 4 },
	{ "64k", SMALL, &mem_zero_pager_64k, 0 },
	{ "64k_budget", SMALL, &mem_zero_pager_64k, NB_PAGES / 4 },
	{ "4k", SMALL, &mem_zero_pager, 0 },
	{ "4k_budget", SMALL, &mem_zero_pager, NB_PAGES / 4 },
	{ "2m_budget_no_httu", NO_HTTU, &mem_zero_pager_2m, NB_PAGES / 4 },
};

static int
stream(struct suite *suite, const struct stream *s, double *worst)
{
	struct mem_rig rig;
	double faults = 0;
	uint32_t i;
	int ret;

	ret = mem_rig_open(&rig, &(struct mem_rig_conf){ .nb_pages = NB_PAGES,
			.no_httu = s->kind == NO_HTTU });
	if (ret == 0)
		ret = mem_rig_add(&rig, &(struct mem_dev_conf){ .nb_pages = NB_PAGES,
				.budget = s->budget, .pager = s->pager });
	for (i = 0; ret == 0 && i < NB_PAGES; i++)
		ret = interrupt_is_asked() ? -EINTR : mem_access(&rig.devs[0], i);
	if (ret == 0) {
		faults = mem_count_faults(&rig.devs[0]);
		suite_put(suite, faults, "ahead.%s.faults", s->name);
		worst[s->kind] = RTE_MAX(worst[s->kind], faults / NB_PAGES);
	}
	return mem_rig_close(&rig, ret);
}

/* Uniformly random accesses with a budget of half of the pages. */
static int
access_at_random(struct suite *suite, unsigned int window, double *page_ins, double *seconds)
{
	uint64_t x = suite->round + 1, begin = 0, first = 0;
	struct mem_rig rig;
	uint32_t i;
	int ret;

	ret = mem_rig_open(&rig, &(struct mem_rig_conf){ .nb_pages = RANDOM_PAGES });
	if (ret == 0)
		ret = mem_rig_add(&rig, &(struct mem_dev_conf){ .nb_pages = RANDOM_PAGES,
				.budget = RANDOM_PAGES / 2, .window = window,
				.pager = &mem_zero_pager });
	for (i = 0; ret == 0 && i < NB_RANDOM; i++) {
		if (i == WARM_UP) {
			first = mmem_stat(rig.devs[0].space, MMEM_STAT_FILLED);
			begin = rte_rdtsc();
		}
		x = LCG_MULTIPLIER * x + LCG_INCREMENT;
		ret = interrupt_is_asked() ? -EINTR :
				mem_access(&rig.devs[0], (x >> 33) % RANDOM_PAGES);
	}
	if (ret == 0) {
		*seconds = (double)(rte_rdtsc() - begin) / rte_get_tsc_hz();
		*page_ins = mmem_stat(rig.devs[0].space, MMEM_STAT_FILLED) - first;
	}
	return mem_rig_close(&rig, ret);
}

int
mem_suite_ahead(struct suite *suite)
{
	double worst[NB_KINDS] = { 0 };
	double with = 0, without = 0, s_with = 0, s_without = 0;
	unsigned int i;
	int ret = 0;

	for (i = 0; ret == 0 && i < RTE_DIM(streams); i++)
		ret = stream(suite, &streams[i], worst);
	if (ret == 0)
		ret = access_at_random(suite, 1, &without, &s_without);
	if (ret == 0)
		ret = access_at_random(suite, 0, &with, &s_with);
	if (ret < 0)
		return ret;
	suite_put(suite, without, "ahead.random.page_ins_without");
	suite_put(suite, with, "ahead.random.page_ins_with");
	suite_put(suite, s_with / s_without, "ahead.random.time_with_over_without");
	suite_put(suite, worst[LARGE], "sequential_faults_per_page");
	suite_put(suite, worst[SMALL], "sequential_faults_per_page_small_blocks");
	suite_put(suite, worst[NO_HTTU], "sequential_faults_per_page_no_httu");
	suite_put(suite, with / without, "random_with_over_without_prefetch");
	return 0;
}
