/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * y = A x in 64-bit integers (modulo 2^64), x all ones. The rows are divided among the queues. A
 * kernel loads x and its row pointers into local memory, streams columns and values, and stores its
 * part of y.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_byteorder.h>

#include "digest.h"
#include "spmv.h"

/* Entries come in order; row is the row of the previous entry. */
static int
add_entry(const struct spmv_block *b, const struct spmv_local *l, uint32_t *row, uint64_t pos,
		uint32_t col, int64_t val)
{
	while (*row < b->nb_rows && pos >= l->ptr[*row + 1] - l->ptr[0])
		(*row)++;
	if (*row == b->nb_rows || col >= b->product->cols)
		return accel_fail("the device read column %" PRIu32 " of %" PRIu32 " at entry %"
				PRIu64 ": its data is damaged", col, b->product->cols, pos);
	l->y[*row] += (uint64_t)val * (uint64_t)l->x[col];
	return 0;
}

/* Once for each queue. */
static int
load_vector(struct accel_queue *queue, const struct spmv_block *b)
{
	struct spmv *p = b->product;
	size_t size = p->cols * sizeof(*p->x);

	if (p->local_x[b->queue] != NULL)
		return 0;
	p->local_x[b->queue] = malloc(size + 1);
	if (p->local_x[b->queue] == NULL)
		return accel_fail("out of memory for the vector; give a smaller file");
	return accel_load(queue, p->local_x[b->queue], p->x, size);
}

static int
load_block(struct accel_queue *queue, const struct spmv_block *b, struct spmv_local *l)
{
	const struct spmv *p = b->product;
	size_t ptr_size = (b->nb_rows + UINT64_C(1)) * sizeof(*l->ptr);

	if (load_vector(queue, b) < 0)
		return -1;
	l->x = p->local_x[b->queue];
	l->ptr = accel_local(queue, ptr_size);
	l->y = accel_local(queue, b->nb_rows * sizeof(*l->y));
	if (l->ptr == NULL || l->y == NULL ||
			accel_load(queue, l->ptr, p->ptr + b->row, ptr_size) < 0 ||
			accel_stream_open(&l->cols, queue, b->col,
			b->nb_entries * sizeof(*b->col)) < 0 ||
			accel_stream_open(&l->vals, queue, b->val,
			b->nb_entries * sizeof(*b->val)) < 0)
		return -1;
	return 0;
}

int
spmv_multiply(struct accel_queue *queue, void *args)
{
	const struct spmv_block *b = args;
	const int64_t *vals = NULL;
	const uint32_t *cols = NULL;
	const void *tile;
	uint64_t pos, nb_cols = 0, nb_vals = 0;
	struct spmv_local l = { 0 };
	uint32_t row = 0;
	long n;

	if (load_block(queue, b, &l) < 0)
		return -1;
	for (pos = 0; pos < b->nb_entries; pos++, nb_cols--, nb_vals--) {
		if (nb_cols == 0) {
			n = accel_stream_next(&l.cols, &tile);
			if (n < 0)
				return -1;
			cols = tile;
			nb_cols = n / sizeof(*cols);
		}
		if (nb_vals == 0) {
			n = accel_stream_next(&l.vals, &tile);
			if (n < 0)
				return -1;
			vals = tile;
			nb_vals = n / sizeof(*vals);
		}
		if (add_entry(b, &l, &row, pos, *cols++, *vals++) < 0)
			return -1;
	}
	return accel_store(queue, b->product->y + b->row, l.y, b->nb_rows * sizeof(*l.y));
}

uint32_t
spmv_cut(const struct csr *csr, uint32_t row, uint64_t nb_entries, struct spmv_block *b)
{
	uint32_t end = row;

	while (end < csr->rows && (end == row || csr->ptr[end + 1] - csr->ptr[row] <= nb_entries))
		end++;
	b->row = row;
	b->nb_rows = end - row;
	b->nb_entries = csr->ptr[end] - csr->ptr[row];
	return end;
}

void
spmv_multiply_on_cpu(const struct csr *csr, uint64_t *y)
{
	uint64_t i, sum;
	uint32_t row;

	for (row = 0; row < csr->rows; row++) {
		sum = 0;
		for (i = csr->ptr[row]; i < csr->ptr[row + 1]; i++)
			sum += (uint64_t)csr->val[i];
		y[row] = sum;
	}
}

static int
put_result(char *text, const uint64_t *y, uint32_t n)
{
	struct digest *digest = digest_new();
	char sha[DIGEST_LEN];
	uint64_t sum = 0, word;
	uint32_t i;

	for (i = 0; i < n; i++) {
		sum += y[i];
		word = rte_cpu_to_le_64(y[i]);
		digest_add(digest, &word, sizeof(word));
	}
	if (digest_finish(digest, sha) < 0)
		return accel_fail("libcrypto cannot compute SHA-256");
	snprintf(text, RESULT_LEN, "%" PRIu32 " rows, sum %" PRId64 ", sha256 %s", n, (int64_t)sum,
			sha);
	return 0;
}

struct spmv_block *
spmv_cut_all(const struct csr *csr, struct spmv *p, unsigned int nb_queues, unsigned int *nb)
{
	/* Two blocks in a row have more than SPMV_BLOCK_ENTRIES together. */
	uint64_t most = 2 * csr->nb_entries / SPMV_BLOCK_ENTRIES + 2;
	struct spmv_block *blocks = calloc(most, sizeof(*blocks)), *b;
	uint32_t row = 0;

	*nb = 0;
	if (blocks == NULL) {
		accel_fail("out of memory for blocks of the matrix; give a smaller file");
		return NULL;
	}
	while (row < csr->rows) {
		b = &blocks[*nb];
		b->product = p;
		b->queue = (*nb)++ % nb_queues;
		row = spmv_cut(csr, row, SPMV_BLOCK_ENTRIES, b);
	}
	return blocks;
}

/* All of the matrix in managed memory: a block of rows for each queue. */
static int
run_managed(struct machine *m, struct graph *graph, struct spmv *p)
{
	struct spmv_block blocks[RTE_DIM(m->queues)];
	const struct csr *csr = &graph->own;
	uint32_t row = 0;
	unsigned int i, k;

	for (i = 0; i < m->nb_queues; i++) {
		blocks[i].product = p;
		blocks[i].queue = i;
		blocks[i].col = graph->shared.col + csr->ptr[row];
		blocks[i].val = graph->shared.val + csr->ptr[row];
		row = spmv_cut(csr, row, i + 1 == m->nb_queues ? UINT64_MAX :
				csr->nb_entries / m->nb_queues, &blocks[i]);
	}
	if (machine_start(m) < 0)
		return -1;
	for (k = 0; k < m->out->setup.repeat; k++) {
		for (i = 0; i < m->nb_queues; i++)
			accel_launch(m->queues[i], spmv_multiply, &blocks[i]);
	}
	return machine_finish(m);
}

static int
make_vectors(struct machine *m, struct spmv *p, size_t x_size, size_t y_size)
{
	int64_t *x = accel_malloc_managed(m->accel, x_size, MMEM_READ);
	uint32_t i;

	if (x == NULL)
		return -1;
	for (i = 0; i < p->cols; i++)
		x[i] = 1;
	p->x = x;
	p->y = accel_malloc_managed(m->accel, y_size, MMEM_WRITE);
	if (p->y == NULL || machine_prefetch(m, x, x_size) < 0)
		return -1;
	return machine_prefetch(m, p->y, y_size);
}

static int
run_device(struct machine *m, struct graph *graph, struct spmv *p, struct outcome *out)
{
	size_t x_size = graph->mtx.cols * sizeof(*p->x);
	size_t y_size = graph->mtx.rows * sizeof(*p->y);
	int ret;

	p->cols = graph->mtx.cols;
	if (machine_open(m, out, graph_get_shared_size(graph) + x_size + y_size) < 0)
		return -1;
	if (out->setup.copies)
		ret = spmv_copies_open(m, graph, p);
	else
		ret = graph_share(graph, m);
	p->ptr = graph->shared.ptr;
	if (ret == 0)
		ret = make_vectors(m, p, x_size, y_size);
	if (ret == 0)
		ret = out->setup.copies ? spmv_copies_run(m, graph, p) :
				out->setup.hints ? spmv_hints_run(m, graph, p) :
				run_managed(m, graph, p);
	if (ret == 0)
		ret = put_result(out->device, p->y, graph->mtx.rows);
	return ret;
}

void
spmv_free(struct spmv *p)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(p->local_x); i++)
		free(p->local_x[i]);
	spmv_copies_free(p->store);
}

static int
run_cpu(const struct graph *graph, struct outcome *out, uint64_t *y)
{
	uint32_t rows = graph->mtx.rows;

	if (out->setup.mapping && (spmv_mapping_run(&graph->own, out, y) < 0 ||
			put_result(out->device, y, rows) < 0))
		return -1;
	spmv_multiply_on_cpu(&graph->own, y);
	return put_result(out->cpu, y, rows);
}

int
kernel_spmv(const char *path, struct outcome *out)
{
	struct graph graph = { 0 };
	struct machine m = { 0 };
	struct spmv p = { 0 };
	uint64_t *y = NULL;
	int ret = -1;

	if (graph_open(&graph, path, true) < 0)
		goto out;
	y = malloc(graph.mtx.rows * sizeof(*y) + 1);
	if (y == NULL) {
		accel_fail("%s: out of memory for its vectors; give a smaller file", path);
		goto out;
	}
	ret = out->setup.mapping ? 0 : run_device(&m, &graph, &p, out);
	machine_close(&m);
	if (ret == 0)
		ret = run_cpu(&graph, out, y);
out:
	spmv_free(&p);
	graph_close(&graph);
	free(y);
	return ret;
}
