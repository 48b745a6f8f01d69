/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Part idle: a fault now and then, for each idle policy. */

#include <errno.h>

#include "suite.h"

#define SID		8
#define INTERVAL_NS	2e6
#define FINISH_MS	30000

static int
run_policy(struct suite *suite, const char *name, enum iopf_idle idle)
{
	struct source *source;
	double cpu;
	struct rig rig;
	int ret;

	ret = rig_open(&rig, suite, 1, idle);
	if (ret < 0)
		return rig_close(&rig, ret);
	source = rig_add_source(&rig, &(struct source_conf){ .sid = SID, .depth = 16,
			.interval_ns = INTERVAL_NS });
	if (source == NULL)
		return rig_close(&rig, -EIO);
	ret = rig_begin(&rig);
	if (ret < 0)
		return rig_close(&rig, ret);
	cpu = -rig_get_cpu_seconds(&rig);
	rig_run(&rig, 2 * suite->cell_ms, true);
	cpu += rig_get_cpu_seconds(&rig);
	suite_put(suite, cpu / rig.seconds, "idle.%s.cpu", name);
	suite_put(suite, source_get_ns(source, &source->service, 0.5) * 1e-3,
			"idle.%s.wake_p50_us", name);
	suite_put(suite, source_get_ns(source, &source->service, 0.99) * 1e-3,
			"idle.%s.wake_p99_us", name);
	suite_put(suite, (double)iopf_poller_stat(rig.poller, IOPF_POLLER_STAT_SLEEPS),
			"idle.%s.sleeps", name);
	return rig_close(&rig, rig_finish(&rig, source, FINISH_MS));
}

int
suite_idle(struct suite *suite)
{
	static const struct {
		const char *name;
		enum iopf_idle idle;
	} policies[] = {
		{ "spin", IOPF_IDLE_SPIN },
		{ "pause", IOPF_IDLE_PAUSE },
		{ "yield", IOPF_IDLE_YIELD },
		{ "sleep", IOPF_IDLE_SLEEP },
	};
	unsigned int i;
	int ret = 0;

	for (i = 0; ret == 0 && i < sizeof(policies) / sizeof(policies[0]); i++)
		ret = run_policy(suite, policies[i].name, policies[i].idle);
	return ret;
}
