/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The traces in memory that holds all of their pages: a cold run, which records the hot set, and a
 * run after a fetch of it.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "mem_rig.h"
#include "mem_suite.h"
#include "progress.h"
#include "suite.h"

#define MAX_ACCESSES	60000
#define PATIENCE_MS	10000

struct run {
	double faults;
	double page_ins;
};

static int
log_error(const char *what, int ret)
{
	if (ret < 0)
		bench_error("%s: %s", what, strerror(-ret));
	return ret;
}

static int
compare_addresses(const void *a, const void *b)
{
	const struct trace_page *p = a, *q = b;

	return p->vpn < q->vpn ? -1 : p->vpn > q->vpn;
}

/*
 * A trace numbers its pages by their first access, so that a cold run would be a stream. Number
 * them by their addresses, without the holes.
 */
static int
number_by_address(struct trace *trace)
{
	uint32_t *numbers = malloc(trace->nb_pages * sizeof(*numbers));
	uint32_t i;

	if (numbers == NULL)
		return log_error("a trace", -ENOMEM);
	qsort(trace->pages, trace->nb_pages, sizeof(*trace->pages), compare_addresses);
	for (i = 0; i < trace->nb_pages; i++)
		numbers[trace->pages[i].nb] = i;
	for (i = 0; i < trace->nb_accesses; i++)
		trace->accesses[i] = numbers[trace->accesses[i]];
	free(numbers);
	return 0;
}

static int
prepare(struct mmem_space *space, const char *path, bool hot)
{
	struct mmem_completion done;
	int ret;

	if (!hot)
		return log_error("mmem_hotset_record()", mmem_hotset_record(space));
	ret = log_error("mmem_hotset_replay()", mmem_hotset_replay(space, path, &done));
	return ret < 0 ? ret : log_error("the fetch of a hot set",
			mmem_completion_wait(&done, PATIENCE_MS));
}

static int
replay(const struct trace *trace, const char *path, bool hot, struct run *run)
{
	struct mmem_space *space;
	struct mem_rig rig;
	uint32_t i;
	int ret;

	ret = mem_rig_open(&rig, &(struct mem_rig_conf){ .nb_pages = trace->nb_pages });
	if (ret == 0)
		ret = mem_rig_add(&rig, &(struct mem_dev_conf){ .nb_pages = trace->nb_pages,
				.pager = &mem_zero_pager });
	space = rig.devs[0].space;
	if (ret == 0)
		ret = prepare(space, path, hot);
	for (i = 0; ret == 0 && i < trace->nb_accesses; i++)
		ret = interrupt_is_asked() ? -EINTR : mem_access(&rig.devs[0], trace->accesses[i]);
	if (ret == 0 && !hot)
		ret = log_error("mmem_hotset_save()", mmem_hotset_save(space, path));
	if (ret == 0) {
		run->faults = mem_count_faults(&rig.devs[0]);
		run->page_ins = mmem_stat(space, MMEM_STAT_FILLED);
	}
	return mem_rig_close(&rig, ret);
}

/* The worst trace of each ratio. */
static int
compare_runs(struct suite *suite, const struct mem_file *file, const char *path,
		struct run *worst)
{
	struct run cold = { 0 }, hot = { 0 };
	struct trace trace;
	int ret;

	ret = mem_read_trace(file, &trace);
	trace.nb_accesses = RTE_MIN(trace.nb_accesses, (uint32_t)MAX_ACCESSES);
	if (ret == 0)
		ret = number_by_address(&trace);
	if (ret == 0)
		ret = replay(&trace, path, false, &cold);
	if (ret == 0)
		ret = replay(&trace, path, true, &hot);
	if (ret == 0) {
		suite_put(suite, cold.faults, "hotset.%s.faults_cold", file->name);
		suite_put(suite, hot.faults, "hotset.%s.faults_hot", file->name);
		suite_put(suite, cold.page_ins, "hotset.%s.page_ins_cold", file->name);
		suite_put(suite, hot.page_ins, "hotset.%s.page_ins_hot", file->name);
		worst->faults = RTE_MAX(worst->faults, hot.faults / cold.faults);
		worst->page_ins = RTE_MAX(worst->page_ins, hot.page_ins / cold.page_ins);
	}
	trace_free(&trace);
	return ret;
}

int
mem_suite_hotset(struct suite *suite)
{
	char path[] = P_tmpdir "/iopf-bench-XXXXXX";
	struct run worst = { 0 };
	int ret = 0, fd = mkstemp(path);
	unsigned int i;

	if (fd < 0)
		return log_error("a temporary file for hot sets", -errno);
	close(fd);
	for (i = 0; ret == 0 && i < mem_nb_files; i++)
		ret = compare_runs(suite, &mem_files[i], path, &worst);
	unlink(path);
	if (ret < 0)
		return ret;
	suite_put(suite, worst.faults, "hot_set_faults_over_cold");
	suite_put(suite, worst.page_ins, "hot_set_page_ins_over_cold");
	return 0;
}
