/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CSR_H
#define CSR_H

#include <stdint.h>

#include "mtx.h"

/* Compressed sparse rows: row i has entries ptr[i] to ptr[i + 1] - 1 of col and val. */
struct csr {
	uint32_t rows;
	uint32_t cols;
	uint64_t nb_entries;
	uint64_t *ptr;	/* rows + 1 */
	uint32_t *col;
	int64_t *val;	/* NULL if only the edges are needed */
};

/* Fill the arrays that the caller provides: managed memory or private memory. */
void csr_fill(struct csr *csr, const struct mtx *mtx);

#endif /* CSR_H */
