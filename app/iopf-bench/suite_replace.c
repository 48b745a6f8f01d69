/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Part replace: a device whose domain is replaced again and again while its accesses fault. */

#include <errno.h>

#include <rte_errno.h>

#include "suite.h"

#define SID		8
#define DEPTH		16
#define REPLACE_MS	20
#define FINISH_MS	30000

static int
replace_domain(struct source *source, struct hist *calls)
{
	uint64_t start = smmuv3_model_cycles();
	int ret;

	source->attached ^= 1;
	ret = iopf_domain_replace(source->domains[source->attached], source->dev, IOPF_NO_PASID);
	if (ret < 0)
		bench_error("iopf_domain_replace(): %s", rte_strerror(-ret));
	hist_add(calls, smmuv3_model_cycles() - start);
	return ret;
}

/* The same slices without and with the replace; the rate is over both slices and calls. */
static int
run_cell(struct suite *suite, bool replace, double *rate)
{
	static struct hist calls;
	struct source *source;
	uint64_t start;
	struct rig rig;
	unsigned int i;
	double seconds;
	int ret;

	hist_reset(&calls);
	ret = rig_open(&rig, suite, 1, IOPF_IDLE_SPIN);
	if (ret < 0)
		return rig_close(&rig, ret);
	source = rig_add_source(&rig, &(struct source_conf){ .sid = SID, .depth = DEPTH,
			.work_ns = SUITE_WORK_NS, .second_domain = true });
	if (source == NULL)
		return rig_close(&rig, -EIO);
	ret = rig_begin(&rig);
	if (ret < 0)
		return rig_close(&rig, ret);
	rig_run(&rig, REPLACE_MS, false);
	start = smmuv3_model_cycles();
	for (i = 0; ret == 0 && i < 2 * suite->cell_ms / REPLACE_MS; i++) {
		rig_run(&rig, REPLACE_MS, true);
		source->recording = true;
		if (replace)
			ret = replace_domain(source, &calls);
	}
	seconds = (double)(smmuv3_model_cycles() - start) / suite->cycles_per_ns * 1e-9;
	*rate = (double)source->served / seconds;
	suite_put(suite, *rate, "replace.%s.served_per_s", replace ? "with" : "without");
	if (ret == 0)
		ret = rig_finish(&rig, source, FINISH_MS);
	if (replace) {
		suite_put(suite, (double)source->aborted, "replace.aborted");
		suite_put(suite, hist_get_percentile(&calls, 0.5) / suite->cycles_per_ns * 1e-3,
				"replace.call_us");
		suite_put(suite, hist_get_percentile(&calls, 1) / suite->cycles_per_ns * 1e-3,
				"replace.call_max_us");
	}
	if (ret == 0 && source->aborted != 0) {
		bench_error("replace: %lu accesses aborted", (unsigned long)source->aborted);
		ret = -EIO;
	}
	return rig_close(&rig, ret);
}

int
suite_replace(struct suite *suite)
{
	double without, with;
	int ret;

	ret = run_cell(suite, false, &without);
	if (ret == 0)
		ret = run_cell(suite, true, &with);
	if (ret == 0)
		suite_put(suite, with / without, "replace_rate_over_without");
	return ret;
}
