/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdarg.h>
#include <stdio.h>

#include "bench.h"
#include "bench_stub.h"
#include "options.h"

char bench_stub_error[BENCH_STUB_SIZE];

void
bench_error(const char *fmt, ...)
{
	va_list ap;
	int n;

	n = snprintf(bench_stub_error, sizeof(bench_stub_error), "%s", options_context);
	va_start(ap, fmt);
	vsnprintf(bench_stub_error + n, sizeof(bench_stub_error) - n, fmt, ap);
	va_end(ap);
}

int
bench_pin_thread(const char *name, int cpu)
{
	(void)name;
	(void)cpu;
	return 0;
}
