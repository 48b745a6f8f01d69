/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Parts sids and smmus: one access at a time, of many devices in turn. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

#define FIRST_SID	8
#define NB_SIDS		4096
#define NB_ACCESSES	8192
/* A batch is short, so that in most of them no other thread had the CPU. */
#define NB_BATCHES	101
#define NB_PASSES	128

static int
compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

double
suite_measure_pass_ns(const struct suite *suite, struct iopf_poller *poller)
{
	uint64_t batches[NB_BATCHES], start;
	unsigned int b, i;

	for (b = 0; b < NB_BATCHES; b++) {
		start = smmuv3_model_cycles();
		for (i = 0; i < NB_PASSES; i++)
			iopf_poll(poller);
		batches[b] = smmuv3_model_cycles() - start;
	}
	qsort(batches, NB_BATCHES, sizeof(batches[0]), compare);
	return (double)batches[NB_BATCHES / 2] / suite->cycles_per_ns / NB_PASSES;
}

/*
 * Where the time goes. The record is late by the SMMU's and the devices' part: their stores of
 * before are on their way. Look-ups are the library's part. The handler's stores of these times are
 * in the last phase, so they are measured apart from the ratio.
 */
static int
measure_phases(struct rig *rig, const char *part, unsigned int devices, unsigned int n)
{
	static struct phases phases;
	const struct source *first = rig->sources[0];
	int ret;

	memset(&phases, 0, sizeof(phases));
	ret = rig_run_in_turn(rig, n, &phases);
	suite_put(rig->suite, source_get_ns(first, &phases.seen, 0.5), "%s.%u.seen_p50_ns", part,
			devices);
	suite_put(rig->suite, source_get_ns(first, &phases.dispatched, 0.5),
			"%s.%u.dispatched_p50_ns", part, devices);
	suite_put(rig->suite, source_get_ns(first, &phases.answered, 0.5),
			"%s.%u.answered_p50_ns", part, devices);
	return ret;
}

static int
run_cell(struct suite *suite, const char *part, unsigned int nb_smmus, unsigned int nb_sids,
		double *p50)
{
	struct source_conf conf = { .sid = FIRST_SID, .depth = 1, .once = true };
	struct source *source;
	unsigned int i;
	struct rig rig;
	int ret;

	ret = rig_open(&rig, suite, nb_smmus, IOPF_IDLE_SPIN);
	for (i = 0; ret == 0 && i < nb_smmus * nb_sids; i++) {
		conf.smmu = i / nb_sids;
		conf.sid = FIRST_SID + i % nb_sids;
		source = rig_add_source(&rig, &conf);
		if (source == NULL)
			ret = -EIO;
		else
			conf.domain = rig.sources[0]->domains[0];
	}
	if (ret < 0)
		return rig_close(&rig, ret);
	ret = rig_run_in_turn(&rig, NB_ACCESSES * (suite->conf->quick ? 1 : 4), NULL);
	source = rig.sources[0];
	*p50 = source_get_ns(source, &source->service, 0.5);
	suite_put(suite, *p50, "%s.%u.p50_ns", part, nb_smmus * nb_sids);
	suite_put(suite, source_get_ns(source, &source->service, 0.99), "%s.%u.p99_ns", part,
			nb_smmus * nb_sids);
	suite_put(suite, (double)source->served, "%s.%u.served", part, nb_smmus * nb_sids);
	if (ret == 0)
		ret = measure_phases(&rig, part, nb_smmus * nb_sids, NB_ACCESSES);
	/* What is in the way of many SMMUs: half a pass on average until a record is seen. */
	rig_stop_poller(&rig);
	suite_put(suite, suite_measure_pass_ns(suite, rig.poller), "%s.%u.idle_pass_ns", part,
			nb_smmus * nb_sids);
	return rig_close(&rig, ret);
}

int
suite_sids(struct suite *suite)
{
	double one, many;
	int ret;

	ret = run_cell(suite, "sids", 1, 1, &one);
	if (ret == 0)
		ret = run_cell(suite, "sids", 1, NB_SIDS, &many);
	if (ret == 0)
		suite_put(suite, many / one, "p50_4096_sids_over_1");
	return ret;
}

int
suite_smmus(struct suite *suite)
{
	double one, many;
	int ret;

	ret = run_cell(suite, "smmus", 1, 1, &one);
	if (ret == 0)
		ret = run_cell(suite, "smmus", RIG_MAX_SMMUS, 1, &many);
	if (ret == 0)
		suite_put(suite, many / one, "p50_64_smmus_over_1");
	return ret;
}
