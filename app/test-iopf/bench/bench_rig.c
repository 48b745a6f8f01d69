/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "bench_rig.h"
#include "mmio.h"
#include "test.h"

struct mode bench_mode;

void
bench_rig_set_conf(struct bench_conf *conf, unsigned int faults)
{
	bench_stub_error[0] = '\0';
	memset(conf, 0, sizeof(*conf));
	/* Any: on a busy machine a thread that is pinned may have none for long. */
	conf->cpu_model = conf->cpu_servicer = -1;
	conf->faults = faults;
	conf->budget_ms = 10000;
	conf->rounds = 1;
	conf->max_depth = 1;
	conf->open = true;
	conf->arrivals[ARRIVAL_POISSON] = true;
	conf->requesters = conf->sids = 1;
}

void
bench_rig_open(const struct mode_ops *ops, const struct bench_conf *conf)
{
	mmio_set_ns(conf->mmio_ns);
	bench_mode = (struct mode){ .ops = ops };
	assert_int_equal(0, ops->setup(&bench_mode, conf));
	bench_mode.loop = loop_create(&bench_mode, conf);
	assert_non_null(bench_mode.loop);
}

void
bench_rig_close(void)
{
	if (bench_mode.ops == NULL)
		return;
	loop_destroy(bench_mode.loop);
	bench_mode.ops->teardown(&bench_mode);
	bench_mode.ops = NULL;
}

int
bench_rig_teardown(void **state)
{
	(void)state;
	bench_rig_close();
	return 0;
}
