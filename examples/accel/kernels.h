/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef KERNELS_H
#define KERNELS_H

#include "runtime.h"

/* The result as text, made once from the device's output and once from the CPU's. */
#define RESULT_LEN 160

struct outcome {
	bool pri;	/* run on a device with page requests */
	char device[RESULT_LEN];
	char cpu[RESULT_LEN];
	struct accel_figures figures;
};

/* Each kernel runs on the device and on the CPU. Returns 0, or -1 after one line on stderr. */
int kernel_copy(const char *path, struct outcome *out);
int kernel_sha256(const char *path, struct outcome *out);
int kernel_bfs(const char *path, struct outcome *out);
int kernel_spmv(const char *path, struct outcome *out);

#endif /* KERNELS_H */
