/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SPMV_H
#define SPMV_H

/*
 * A sparse matrix times a vector, in blocks of rows. The kernel is the same whether columns and
 * values are in managed memory of any size, or the program copies them to buffers that are pinned
 * (spmv_copies.c).
 */

#include "accel_device.h"
#include "graph.h"

struct spmv_store;

struct spmv {
	uint32_t cols;
	const uint64_t *ptr;		/* managed memory, like x and y */
	const int64_t *x;
	uint64_t *y;
	int64_t *local_x[ACCEL_MAX_DEVICES * ACCEL_MAX_QUEUES];	/* x in local memory, by queue,
					 * from a queue's first kernel on */
	struct spmv_store *store;	/* of spmv_copies.c */
};

/* Rows of the matrix; a kernel's arguments. */
struct spmv_block {
	struct spmv *product;
	unsigned int queue;
	uint32_t row;
	uint32_t nb_rows;
	uint64_t nb_entries;
	const uint32_t *col;		/* of the block's first entry */
	const int64_t *val;
};

/* A kernel's local memory. */
struct spmv_local {
	const int64_t *x;
	uint64_t *ptr;
	uint64_t *y;
	struct accel_stream cols;
	struct accel_stream vals;
};

void spmv_multiply_on_cpu(const struct csr *csr, uint64_t *y);

/* The same from a file mapping, as often as the options say. Sets data and seconds. */
int spmv_mapping_run(const struct csr *own, struct outcome *out, uint64_t *y);

/* The kernel. */
int spmv_multiply(struct accel_queue *queue, void *args);
/* Later than machine_close(): devices access local memory until then. */
void spmv_free(struct spmv *p);

/*
 * A block from a row on: as many rows as have so many entries together, one at least if there is
 * one. Returns the row behind it.
 */
uint32_t spmv_cut(const struct csr *csr, uint32_t row, uint64_t nb_entries, struct spmv_block *b);

#define SPMV_BLOCK_ENTRIES	((uint64_t)16384)	/* 192 KiB */

/*
 * All rows in blocks of so many entries, except a row that has more; queues take turns. Without col
 * and val. Free it; NULL after an error.
 */
struct spmv_block *spmv_cut_all(const struct csr *csr, struct spmv *p, unsigned int nb_queues,
		unsigned int *nb);

/* Managed memory, with a queue that fetches ahead of another one. The machine has two or more. */
int spmv_hints_run(struct machine *m, struct graph *graph, struct spmv *p);

/*
 * Explicit copies: columns and values are in a file. The budget is divided into buffers of a fixed
 * number of entries. All but two for each queue keep a block of the matrix; the other blocks are
 * read into these two in turn, while the device works on the one before.
 */
int spmv_copies_open(struct machine *m, struct graph *graph, struct spmv *p);
int spmv_copies_run(struct machine *m, struct graph *graph, struct spmv *p);
void spmv_copies_free(struct spmv_store *store);

#endif /* SPMV_H */
