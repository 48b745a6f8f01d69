/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define OPTIONS_MAX_LANES	65536
#define OPTIONS_MAX_CONTEXTS	16

struct options {
	bool help;
	uint32_t lanes;
	uint32_t stalls;
	uint32_t contexts;
	uint32_t ms;
	uint32_t hang_ms;
	uint32_t breaker;
};

/* Returns 0, or -1 after one line on stderr. */
int options_parse(struct options *options, int argc, char **argv);
void options_print(void);

/* Print "gpu-hang: ..." on stderr. Returns -1. */
int fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif /* OPTIONS_H */
