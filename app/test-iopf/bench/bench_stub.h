/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BENCH_STUB_H
#define BENCH_STUB_H

/* bench_error() and bench_pin_thread() in place of those of iopf-bench. */

/* The last line of bench_error(), or "". */
#define BENCH_STUB_SIZE 1024
extern char bench_stub_error[BENCH_STUB_SIZE];

#endif /* BENCH_STUB_H */
