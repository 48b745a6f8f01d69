/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef GRAPH_H
#define GRAPH_H

#include "csr.h"
#include "machine.h"

/* A Matrix Market file and its arrays for both sides. */
struct graph {
	struct mtx mtx;
	struct csr shared;	/* in managed memory: the CPU writes it, the device reads it */
	struct csr own;		/* in the CPU's private memory */
};

/* Read and check the file, and make the CPU's own arrays. */
int graph_open(struct graph *graph, const char *path, bool values);
void graph_close(struct graph *graph);

/* Bytes of managed memory for the shared arrays, each in its own chunks. */
size_t graph_get_shared_size(const struct graph *graph);

/* Make the shared arrays. */
int graph_share(struct graph *graph, struct machine *m);

#endif /* GRAPH_H */
