/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "csr.h"

void
csr_fill(struct csr *csr, const struct mtx *mtx)
{
	const struct mtx_entry *entry;
	uint64_t i, pos;

	csr->rows = mtx->rows;
	csr->cols = mtx->cols;
	csr->nb_entries = mtx->nb_entries;

	/* ptr[row + 1] counts row's entries, ... */
	memset(csr->ptr, 0, (mtx->rows + UINT64_C(1)) * sizeof(*csr->ptr));
	for (i = 0; i < mtx->nb_entries; i++)
		csr->ptr[mtx->entries[i].row + 1]++;
	for (i = 0; i < mtx->rows; i++)
		csr->ptr[i + 1] += csr->ptr[i];
	/*
	 * ... then ptr[row] is the position of row's next entry, and finally the start of row + 1.
	 */
	for (i = 0; i < mtx->nb_entries; i++) {
		entry = &mtx->entries[i];
		pos = csr->ptr[entry->row]++;
		csr->col[pos] = entry->col;
		if (csr->val != NULL)
			csr->val[pos] = entry->val;
	}
	memmove(csr->ptr + 1, csr->ptr, mtx->rows * sizeof(*csr->ptr));
	csr->ptr[0] = 0;
}
