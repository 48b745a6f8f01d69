/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The traces once more, by a device of the software SMMU in a space with a budget of half of the
 * pages: what the library fetches, beside what the simulator counts for the same policy.
 */

#include <errno.h>

#include <rte_common.h>

#include "mem_rig.h"
#include "mem_suite.h"
#include "progress.h"
#include "suite.h"

/* Accesses of a trace that are made; with more the part would take minutes. */
#define MAX_ACCESSES	60000

struct variant {
	const char *name;
	unsigned int tlb_log2;	/* the entries of the SMMU's TLB */
	unsigned int window;	/* mmem_space_conf.window; 1: nothing is fetched ahead */
};

static const struct variant variants[] = {
	{ "page_ins", 12, 1 },
	{ "page_ins_small_tlb", 6, 1 },
	{ "page_ins_ahead", 12, 0 },
};
enum { ALONE, SMALL_TLB, AHEAD, NB_VARIANTS };

/* The page-ins of the library. */
static int
replay(const struct trace *trace, const struct variant *variant, double *page_ins)
{
	struct mem_rig rig;
	uint32_t i;
	int ret;

	ret = mem_rig_open(&rig, &(struct mem_rig_conf){ .nb_pages = trace->nb_pages,
			.tlb_log2 = variant->tlb_log2 });
	if (ret == 0)
		ret = mem_rig_add(&rig, &(struct mem_dev_conf){ .nb_pages = trace->nb_pages,
				.budget = trace->nb_pages / 2, .window = variant->window,
				.pager = &mem_zero_pager });
	for (i = 0; ret == 0 && i < trace->nb_accesses; i++)
		ret = interrupt_is_asked() ? -EINTR : mem_access(&rig.devs[0], trace->accesses[i]);
	if (ret == 0)
		*page_ins = mmem_stat(rig.devs[0].space, MMEM_STAT_FILLED);
	return mem_rig_close(&rig, ret);
}

/* Page-ins of the variants over those of the simulator. */
static int
compare_product(struct suite *suite, const struct mem_file *file, double *over)
{
	double page_ins[NB_VARIANTS];
	struct mem_result r;
	struct trace trace;
	unsigned int i;
	int ret;

	ret = mem_read_trace(file, &trace);
	trace.nb_accesses = RTE_MIN(trace.nb_accesses, (uint32_t)MAX_ACCESSES);
	if (ret == 0)
		ret = mem_simulate(&trace, trace.nb_pages / 2, MEM_OURS, 0, &r);
	for (i = 0; ret == 0 && i < NB_VARIANTS; i++)
		ret = replay(&trace, &variants[i], &page_ins[i]);
	if (ret == 0)
		suite_put(suite, r.page_ins, "product.%s.page_ins_simulated", file->name);
	for (i = 0; ret == 0 && i < NB_VARIANTS; i++) {
		suite_put(suite, page_ins[i], "product.%s.%s", file->name, variants[i].name);
		over[i] = page_ins[i] / r.page_ins;
	}
	trace_free(&trace);
	return ret;
}

int
mem_suite_product(struct suite *suite)
{
	double worst[NB_VARIANTS] = { 0 }, over[NB_VARIANTS] = { 0 };
	unsigned int i, k;
	int ret;

	for (i = 0; i < mem_nb_files; i++) {
		ret = compare_product(suite, &mem_files[i], over);
		if (ret < 0)
			return ret;
		for (k = 0; k < NB_VARIANTS; k++)
			worst[k] = RTE_MAX(worst[k], over[k]);
	}
	suite_put(suite, worst[ALONE], "product_page_ins_over_simulated");
	suite_put(suite, worst[SMALL_TLB], "product_page_ins_over_simulated_small_tlb");
	suite_put(suite, worst[AHEAD], "product_page_ins_over_simulated_ahead");
	return 0;
}
