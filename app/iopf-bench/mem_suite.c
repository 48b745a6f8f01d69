/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_common.h>

#include "mem_suite.h"
#include "suite.h"

static const struct suite_part parts[] = {
	{ "policy", "page-ins of the policies with half of a trace's pages", mem_suite_policy },
	{ "product", "page-ins of the library beside those of the simulator", mem_suite_product },
	{ "ahead", "faults of streams, page-ins of random accesses", mem_suite_ahead },
	{ "hotset", "faults and page-ins after a fetch of the hot set", mem_suite_hotset },
	{ "slow", "faults beside a slow pager", mem_suite_slow },
};

static const struct suite_ratio ratios[] = {
	{ "policy_gap_closed", "policy", AT_LEAST, 0.3 },
	{ "page_ins_over_best_plain", "policy", AT_MOST, 1.02 },
	{ "product_page_ins_over_simulated", "product", NO_TARGET, 0 },
	{ "product_page_ins_over_simulated_small_tlb", "product", NO_TARGET, 0 },
	{ "product_page_ins_over_simulated_ahead", "product", NO_TARGET, 0 },
	{ "sequential_faults_per_page", "ahead", AT_MOST, 1.0 / 64 },
	{ "sequential_faults_per_page_small_blocks", "ahead", NO_TARGET, 0 },
	{ "sequential_faults_per_page_no_httu", "ahead", NO_TARGET, 0 },
	{ "random_with_over_without_prefetch", "ahead", AT_MOST, 1.05 },
	{ "hot_set_faults_over_cold", "hotset", AT_MOST, 0.05 },
	{ "hot_set_page_ins_over_cold", "hotset", AT_MOST, 1.05 },
	{ "slow_pager_neighbour_over_alone", "slow", AT_MOST, 1.05 },
};

const struct suite_def suite_mmem = {
	.name = "mmem",
	.parts = parts,
	.nb_parts = RTE_DIM(parts),
	.ratios = ratios,
	.nb_ratios = RTE_DIM(ratios),
};

int
mem_read_trace(const struct mem_file *file, struct trace *trace)
{
	int fd = memfd_create(file->name, MFD_CLOEXEC), error;

	memset(trace, 0, sizeof(*trace));
	if (fd < 0 || write(fd, file->data, file->size) != (ssize_t)file->size ||
			lseek(fd, 0, SEEK_SET) != 0) {
		error = errno != 0 ? errno : EIO;
		bench_error("trace %s: cannot make a file in memory: %s", file->name,
				strerror(error));
		if (fd >= 0)
			close(fd);
		return -error;
	}
	return trace_read_fd(fd, file->name, trace) ? 0 : -EINVAL;
}

/* Page-ins of the policies with one trace. */
struct outcome {
	double best;	/* of FIFO, LRU and CLOCK */
	double ours;
	double belady;
};

static int
compare_policies(struct suite *suite, const struct mem_file *file, struct outcome *out)
{
	struct mem_result r[MEM_NB_POLICIES];
	struct trace trace;
	unsigned int i;
	int ret;

	ret = mem_read_trace(file, &trace);
	for (i = 0; ret == 0 && i < MEM_NB_POLICIES; i++)
		ret = mem_simulate(&trace, trace.nb_pages / 2, i, suite->round, &r[i]);
	if (ret == 0) {
		suite_put(suite, trace.nb_pages, "policy.%s.pages", file->name);
		for (i = 0; i < MEM_NB_POLICIES; i++)
			suite_put(suite, r[i].page_ins, "policy.%s.page_ins_%s", file->name,
					mem_policy_names[i]);
		out->best = RTE_MIN(r[MEM_FIFO].page_ins, RTE_MIN(r[MEM_LRU].page_ins,
				r[MEM_CLOCK].page_ins));
		out->ours = r[MEM_OURS].page_ins;
		out->belady = r[MEM_BELADY].page_ins;
		suite_put(suite, r[MEM_OURS].looks / out->ours, "policy.%s.looks_per_page_in",
				file->name);
		suite_put(suite, r[MEM_OURS].cleared / out->ours,
				"policy.%s.cleared_per_page_in", file->name);
	}
	trace_free(&trace);
	return ret;
}

int
mem_suite_policy(struct suite *suite)
{
	double closed = 0, worst = 0, gap;
	unsigned int i, nb_gaps = 0;
	struct outcome out = { 0 };
	int ret;

	for (i = 0; i < mem_nb_files; i++) {
		ret = compare_policies(suite, &mem_files[i], &out);
		if (ret < 0)
			return ret;
		worst = RTE_MAX(worst, out.ours / out.best);
		/* Where a plain policy is optimal there is no gap. */
		gap = out.best - out.belady;
		if (gap <= 0)
			continue;
		suite_put(suite, (out.best - out.ours) / gap, "policy.%s.gap_closed",
				mem_files[i].name);
		closed += (out.best - out.ours) / gap;
		nb_gaps++;
	}
	if (nb_gaps != 0)
		suite_put(suite, closed / nb_gaps, "policy_gap_closed");
	suite_put(suite, worst, "page_ins_over_best_plain");
	return 0;
}
