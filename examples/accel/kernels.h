/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef KERNELS_H
#define KERNELS_H

#include "runtime.h"

/* What came out: the same text, made from the device's work and from the CPU's. */
#define RESULT_LEN 160

struct outcome {
	bool pri;	/* to be run on a device that asks for pages */
	char device[RESULT_LEN];
	char cpu[RESULT_LEN];
	struct accel_figures figures;
};

/* Each runs on the device and on the CPU. 0, or -1 with one line on stderr. */
int kernel_copy(const char *path, struct outcome *out);
int kernel_sha256(const char *path, struct outcome *out);
int kernel_bfs(const char *path, struct outcome *out);
int kernel_spmv(const char *path, struct outcome *out);

#endif /* KERNELS_H */
