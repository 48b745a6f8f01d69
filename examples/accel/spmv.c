/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * y = A x in 64-bit integers (modulo 2^64), x all ones. The device loads x and the row pointers
 * into its local memory, streams columns and values, and stores y.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_byteorder.h>

#include "digest.h"
#include "graph.h"

/* The device's local memory. */
struct product {
	struct accel *accel;
	const struct csr *csr;
	const int64_t *x;	/* shared, like y */
	int64_t *y;
	int64_t *local_x;
	uint64_t *local_ptr;
	uint64_t *local_y;
	struct accel_stream cols;
	struct accel_stream vals;
};

/* Entries come in order; row is the row of the previous entry. */
static int
add_entry(struct product *p, uint32_t *row, uint64_t pos, uint32_t col, int64_t val)
{
	while (*row < p->csr->rows && pos >= p->local_ptr[*row + 1])
		(*row)++;
	if (*row == p->csr->rows || col >= p->csr->cols)
		return accel_fail("the device read column %" PRIu32 " of %" PRIu32 " at entry %"
				PRIu64 ": its data is damaged", col, p->csr->cols, pos);
	p->local_y[*row] += (uint64_t)val * (uint64_t)p->local_x[col];
	return 0;
}

static int
multiply_on_device(struct product *p)
{
	const int64_t *vals = NULL;
	const uint32_t *cols = NULL;
	const void *tile;
	uint64_t pos, nb_cols = 0, nb_vals = 0;
	uint32_t row = 0;
	long n;

	if (accel_load(p->accel, p->local_x, p->x, p->csr->cols * sizeof(*p->x)) < 0 ||
			accel_load(p->accel, p->local_ptr, p->csr->ptr,
			(p->csr->rows + UINT64_C(1)) * sizeof(*p->csr->ptr)) < 0 ||
			accel_stream_open(&p->cols, p->accel, p->csr->col,
			p->csr->nb_entries * sizeof(*p->csr->col)) < 0 ||
			accel_stream_open(&p->vals, p->accel, p->csr->val,
			p->csr->nb_entries * sizeof(*p->csr->val)) < 0)
		return -1;
	for (pos = 0; pos < p->csr->nb_entries; pos++, nb_cols--, nb_vals--) {
		if (nb_cols == 0) {
			n = accel_stream_next(&p->cols, &tile);
			if (n < 0)
				return -1;
			cols = tile;
			nb_cols = n / sizeof(*cols);
		}
		if (nb_vals == 0) {
			n = accel_stream_next(&p->vals, &tile);
			if (n < 0)
				return -1;
			vals = tile;
			nb_vals = n / sizeof(*vals);
		}
		if (add_entry(p, &row, pos, *cols++, *vals++) < 0)
			return -1;
	}
	return accel_store(p->accel, p->y, p->local_y, p->csr->rows * sizeof(*p->y));
}

static void
multiply_on_cpu(const struct csr *csr, uint64_t *y)
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

static int
run_device(struct product *p, struct graph *graph, struct outcome *out)
{
	size_t x_size = graph->mtx.cols * sizeof(*p->x);
	size_t y_size = graph->mtx.rows * sizeof(*p->y);
	int64_t *x;
	uint32_t i;

	p->accel = accel_open(graph_get_shared_size(graph) + x_size + y_size, out->pri);
	if (p->accel == NULL || graph_share(graph, p->accel) < 0)
		return -1;
	x = accel_alloc(p->accel, x_size, MMEM_READ);
	if (x == NULL)
		return -1;
	for (i = 0; i < graph->mtx.cols; i++)
		x[i] = 1;
	p->x = x;
	p->y = accel_alloc(p->accel, y_size, MMEM_WRITE);
	if (p->y == NULL)
		return -1;
	p->csr = &graph->shared;
	if (multiply_on_device(p) < 0)
		return -1;
	accel_get_figures(p->accel, &out->figures);
	return put_result(out->device, (const uint64_t *)p->y, graph->mtx.rows);
}

int
kernel_spmv(const char *path, struct outcome *out)
{
	struct graph graph = { 0 };
	struct product p = { 0 };
	int ret = -1;

	if (graph_open(&graph, path, true) < 0)
		goto out;
	p.local_x = malloc(graph.mtx.cols * sizeof(*p.local_x));
	p.local_ptr = malloc((graph.mtx.rows + UINT64_C(1)) * sizeof(*p.local_ptr));
	p.local_y = calloc(graph.mtx.rows, sizeof(*p.local_y));
	if (p.local_x == NULL || p.local_ptr == NULL || p.local_y == NULL) {
		accel_fail("%s: out of memory for its vectors; give a smaller file", path);
		goto out;
	}
	ret = run_device(&p, &graph, out);
	accel_close(p.accel);
	if (ret < 0)
		goto out;
	multiply_on_cpu(&graph.own, p.local_y);
	ret = put_result(out->cpu, p.local_y, graph.mtx.rows);
out:
	accel_stream_close(&p.cols);
	accel_stream_close(&p.vals);
	graph_close(&graph);
	free(p.local_x);
	free(p.local_ptr);
	free(p.local_y);
	return ret;
}
