/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MTX_H
#define MTX_H

/*
 * Matrix Market files, plain or gzip: coordinate; pattern or integer; general or
 * symmetric. Everything else is refused, as is every file that is not exactly
 * what its first lines say.
 */

#include <stddef.h>
#include <stdint.h>

/* More than any machine this runs on should be asked for by a few bytes of a file. */
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
 * Returns 0, or -errno with one line in err that says what, where, why and what
 * to do; *mtx holds nothing then. An entry that occurs twice is kept twice.
 */
int mtx_read(const char *path, struct mtx *mtx, char *err, size_t len);

void mtx_free(struct mtx *mtx);

#endif /* MTX_H */
