/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef OPTIONS_H
#define OPTIONS_H

#include "kernels.h"

struct options {
	struct setup setup;
	const char *record;	/* or NULL, like json */
	const char *json;
	const char *kernel;
	const char *file;
};

/* argv has the options, then a kernel and a file. Returns 0, or -1 after one line on stderr. */
int options_read(int argc, char **argv, struct options *options);
void options_print_help(void);

#endif /* OPTIONS_H */
