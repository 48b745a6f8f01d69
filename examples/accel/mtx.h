/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MTX_H
#define MTX_H

/*
 * Matrix Market files, plain or gzip: coordinate; pattern or integer; general or symmetric. All
 * other files are refused, and so are files that differ from their first lines.
 */

#include <stddef.h>
#include <stdint.h>

/* Limits the memory that a few bytes of a file can make this program ask for. */
#define MTX_MAX_SIDE	(UINT64_C(1) << 26)
#define MTX_MAX_ENTRIES	(UINT64_C(1) << 28)

struct mtx_entry {
	uint32_t row;	/* from 0 */
	uint32_t col;
	int64_t val;	/* 1 in a pattern */
};

struct mtx {
	uint32_t rows;
	uint32_t cols;
	uint64_t nb_entries;	/* both halves of a symmetric matrix; in file order */
	struct mtx_entry *entries;
};

/*
 * Returns 0, or -errno with one line in err that names the error, its place, the reason and the
 * remedy; *mtx is then empty. A repeated entry is kept twice.
 */
int mtx_read(const char *path, struct mtx *mtx, char *err, size_t len);

void mtx_free(struct mtx *mtx);

#endif /* MTX_H */
