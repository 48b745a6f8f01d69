/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef KERNELS_H
#define KERNELS_H

/* Programs for the runtime: each runs a kernel on the devices, and the same on the CPU. */

#include "accel.h"

/* The result as text, made once from the devices' output and once from the CPU's. */
#define RESULT_LEN 160

struct setup {
	bool pri;		/* devices with page requests */
	bool no_httu;		/* the SMMU sets no flags of its own */
	unsigned int nb_devices;
	unsigned int nb_queues;	/* of each device */
	size_t budget;		/* of the managed memory; 0: none */
	bool prefetch;		/* all of the data, before the start */
	bool copies;		/* spmv: the program copies its data to pinned buffers */
	bool hints;		/* spmv: fetch ahead in another queue */
	bool mapping;		/* spmv: no device; the matrix is in a file mapping */
	unsigned int repeat;	/* how often the kernel runs */
};

struct outcome {
	struct setup setup;
	char device[RESULT_LEN];
	char cpu[RESULT_LEN];
	size_t data;		/* bytes of its buffers */
	size_t private;		/* with mapping: bytes that the process has beside them */
	double seconds;		/* from the first launch to the end of the last kernel */
	struct accel_figures figures;
};

/* Returns 0, or -1 after one line on stderr. */
int kernel_copy(const char *path, struct outcome *out);
int kernel_sha256(const char *path, struct outcome *out);
int kernel_bfs(const char *path, struct outcome *out);
int kernel_spmv(const char *path, struct outcome *out);

#endif /* KERNELS_H */
