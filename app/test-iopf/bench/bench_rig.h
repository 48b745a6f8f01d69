/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BENCH_RIG_H
#define BENCH_RIG_H

/* One mode of iopf-bench in a test. A test that fails leaves it to bench_rig_teardown(). */

#include "bench.h"
#include "bench_stub.h"

extern struct mode bench_mode;

/* Settings of a short run on any CPUs: one requester, one StreamID, an open loop. */
void bench_rig_set_conf(struct bench_conf *conf, unsigned int faults);
/* bench_rig_close() ends it. */
void bench_rig_open(const struct mode_ops *ops, const struct bench_conf *conf);
void bench_rig_close(void);
/* Of each test that opens a mode. */
int bench_rig_teardown(void **state);

#endif /* BENCH_RIG_H */
