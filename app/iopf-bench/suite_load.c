/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Part overload: one device that is offered as much as can be served, and twice as much. */

#include <errno.h>

#include "suite.h"

#define SID		8
#define OFFERED_DEPTH	4096
#define FINISH_MS	30000

static int
run_cell(struct suite *suite, const char *name, unsigned int depth, double offered, double *rate)
{
	struct source *source;
	struct rig rig;
	int ret;

	ret = rig_open(&rig, suite, 1, IOPF_IDLE_SPIN);
	if (ret < 0)
		return rig_close(&rig, ret);
	source = rig_add_source(&rig, &(struct source_conf){ .sid = SID, .depth = depth,
			.interval_ns = offered > 0 ? 1e9 / offered : 0,
			.work_ns = SUITE_WORK_NS });
	if (source == NULL)
		return rig_close(&rig, -EIO);
	ret = rig_begin(&rig);
	if (ret < 0)
		return rig_close(&rig, ret);
	rig_run(&rig, suite->cell_ms / 10.0, false);
	rig_run(&rig, suite->cell_ms, true);
	*rate = source_get_rate(source);
	suite_put(suite, *rate, "overload.%s.served_per_s", name);
	suite_put(suite, (double)source->offered / rig.seconds, "overload.%s.offered_per_s", name);
	suite_put(suite, (double)source->refused / rig.seconds, "overload.%s.not_started_per_s",
			name);
	suite_put(suite, (double)source->aborted, "overload.%s.aborted", name);
	suite_put(suite, source_get_ns(source, &source->service, 0.99), "overload.%s.p99_ns", name);
	return rig_close(&rig, rig_finish(&rig, source, FINISH_MS));
}

int
suite_overload(struct suite *suite)
{
	double peak, rate, offered;
	int ret;

	ret = run_cell(suite, "closed64", 64, 0, &peak);
	if (ret == 0)
		ret = run_cell(suite, "closed512", SUITE_STALLS, 0, &rate);
	if (ret < 0)
		return ret;
	if (rate > peak)
		peak = rate;
	offered = peak;
	ret = run_cell(suite, "once", OFFERED_DEPTH, offered, &rate);
	if (ret < 0)
		return ret;
	if (rate > peak)
		peak = rate;
	ret = run_cell(suite, "twice", OFFERED_DEPTH, 2 * peak, &rate);
	suite_put(suite, rate / peak, "overload_over_peak");
	return ret;
}
