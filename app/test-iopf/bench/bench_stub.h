/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BENCH_STUB_H
#define BENCH_STUB_H

/* bench_error() and bench_pin_thread() in place of those of iopf-bench. */

/* The last line of bench_error(), or "". */
extern char bench_stub_error[256];

#endif /* BENCH_STUB_H */
