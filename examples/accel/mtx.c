/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <zlib.h>

#include "mtx.h"

#define LINE_LEN 1024	/* the format's own limit */

struct reader {
	gzFile file;
	const char *path;
	char *err;
	size_t err_len;
	uint64_t line;
	size_t pos;
	size_t fill;
	char text[LINE_LEN + 1];
	char buf[16384];
};

/* The numbers of the size line, against which entries are checked. */
struct shape {
	bool integer;
	bool symmetric;
	uint64_t rows;
	uint64_t cols;
	uint64_t nb_entries;	/* lines */
};

static int __attribute__((format(printf, 3, 4)))
refuse(struct reader *r, int error, const char *fmt, ...)
{
	va_list ap;
	int n;

	n = r->line == 0 ? snprintf(r->err, r->err_len, "%s: ", r->path) :
			snprintf(r->err, r->err_len, "%s:%" PRIu64 ": ", r->path, r->line);
	if (n >= 0 && (size_t)n < r->err_len) {
		va_start(ap, fmt);
		vsnprintf(r->err + n, r->err_len - n, fmt, ap);
		va_end(ap);
	}
	return error;
}

/* Returns 1: buf has more text; 0: a proper end of the file. */
static int
fill_buffer(struct reader *r)
{
	int code, n;

	errno = 0;
	n = gzread(r->file, r->buf, sizeof(r->buf));
	if (n > 0) {
		r->pos = 0;
		r->fill = n;
		return 1;
	}
	(void)gzerror(r->file, &code);
	switch (code) {
	case Z_OK:
	case Z_STREAM_END:
		return 0;
	case Z_BUF_ERROR:
		return refuse(r, -EINVAL,
				"the gzip stream ends early: it is truncated; fetch it again");
	case Z_ERRNO:
		code = errno != 0 ? errno : EIO;
		return refuse(r, -code, "cannot read: %s; give a readable file", strerror(code));
	case Z_MEM_ERROR:
		return refuse(r, -ENOMEM, "cannot read: out of memory");
	default:
		return refuse(r, -EINVAL, "the gzip stream is damaged; fetch the file again");
	}
}

/* Returns 1: text has a line, without its end; 0: no more lines. */
static int
read_line(struct reader *r)
{
	size_t n = 0;
	int ret;
	char c;

	r->line++;
	for (;;) {
		if (r->pos == r->fill) {
			ret = fill_buffer(r);
			if (ret < 0)
				return ret;
			if (ret == 0 && n == 0)
				return 0;
			if (ret == 0)
				break;
		}
		c = r->buf[r->pos++];
		if (c == '\n')
			break;
		if (n == LINE_LEN)
			return refuse(r, -EINVAL, "line longer than %d characters: "
					"not a Matrix Market file, or damaged", LINE_LEN);
		if ((unsigned char)c < ' ' && c != '\t' && c != '\r')
			return refuse(r, -EINVAL, "byte 0x%02x is not text: "
					"not a Matrix Market file, or damaged", (unsigned char)c);
		r->text[n++] = c;
	}
	if (n > 0 && r->text[n - 1] == '\r')
		n--;
	r->text[n] = '\0';
	return 1;
}

static const char *
skip_blanks(const char *p)
{
	return p + strspn(p, " \t\r");
}

static bool
is_at_end(const char *p)
{
	return *skip_blanks(p) == '\0';
}

static bool
parse_u64(const char **p, uint64_t *value)
{
	const char *s = skip_blanks(*p);
	char *end;

	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	*value = strtoull(s, &end, 10);
	if (errno != 0 || strchr(" \t\r", *end) == NULL)
		return false;
	*p = end;
	return true;
}

static bool
parse_i64(const char **p, int64_t *value)
{
	const char *s = skip_blanks(*p);
	const char *digits = s + (*s == '-' || *s == '+');
	char *end;

	if (*digits < '0' || *digits > '9')
		return false;
	errno = 0;
	*value = strtoll(s, &end, 10);
	if (errno != 0 || strchr(" \t\r", *end) == NULL)
		return false;
	*p = end;
	return true;
}

static int
read_banner(struct reader *r, struct shape *shape)
{
	char word[5][LINE_LEN + 1];
	int n, ret;

	ret = read_line(r);
	if (ret < 0)
		return ret;
	r->line = ret == 0 ? 0 : r->line;
	if (ret == 0)
		return refuse(r, -EINVAL, "the file is empty; give a Matrix Market file");
	n = sscanf(r->text, "%1024s %1024s %1024s %1024s %1024s", word[0], word[1], word[2],
			word[3], word[4]);
	if (n < 1 || strcmp(word[0], "%%MatrixMarket") != 0)
		return refuse(r, -EINVAL, "no %%%%MatrixMarket in the first line: "
				"not a Matrix Market file; give one, plain or gzip");
	if (n != 5 || strcasecmp(word[1], "matrix") != 0)
		return refuse(r, -EINVAL, "the first line must be "
				"\"%%%%MatrixMarket matrix coordinate FIELD SYMMETRY\"");
	if (strcasecmp(word[2], "coordinate") != 0)
		return refuse(r, -ENOTSUP, "format \"%.32s\": only coordinate is read; "
				"convert the file", word[2]);
	shape->integer = strcasecmp(word[3], "integer") == 0;
	if (!shape->integer && strcasecmp(word[3], "pattern") != 0)
		return refuse(r, -ENOTSUP, "field \"%.32s\": only pattern and integer are read, "
				"because results are 64-bit integers; convert the file", word[3]);
	shape->symmetric = strcasecmp(word[4], "symmetric") == 0;
	if (!shape->symmetric && strcasecmp(word[4], "general") != 0)
		return refuse(r, -ENOTSUP, "symmetry \"%.32s\": only general and symmetric are "
				"read; convert the file", word[4]);
	return 0;
}

static int
read_size(struct reader *r, struct shape *shape)
{
	const char *p;
	int ret;

	do {
		ret = read_line(r);
		if (ret < 0)
			return ret;
		if (ret == 0)
			return refuse(r, -EINVAL, "the file ends before its size line: "
					"it is truncated; fetch it again");
	} while (r->text[0] == '%' || is_at_end(r->text));

	p = r->text;
	if (!parse_u64(&p, &shape->rows) || !parse_u64(&p, &shape->cols) ||
			!parse_u64(&p, &shape->nb_entries) || !is_at_end(p))
		return refuse(r, -EINVAL, "the size line \"%.64s\" must be "
				"\"ROWS COLUMNS ENTRIES\": the file is damaged", r->text);
	if (shape->rows == 0 || shape->cols == 0)
		return refuse(r, -EINVAL, "a matrix of %" PRIu64 " x %" PRIu64 " is empty; "
				"give a matrix with rows and columns", shape->rows, shape->cols);
	if (shape->rows > MTX_MAX_SIDE || shape->cols > MTX_MAX_SIDE ||
			shape->nb_entries > MTX_MAX_ENTRIES)
		return refuse(r, -EFBIG, "%" PRIu64 " x %" PRIu64 " with %" PRIu64 " entries is "
				"too large: give a matrix of at most %" PRIu64 " rows or columns "
				"and %" PRIu64 " entries",
				shape->rows, shape->cols, shape->nb_entries, MTX_MAX_SIDE,
				MTX_MAX_ENTRIES);
	if (shape->nb_entries > shape->rows * shape->cols)
		return refuse(r, -EINVAL, "%" PRIu64 " entries do not fit in %" PRIu64 " x %" PRIu64
				": the size line is damaged", shape->nb_entries, shape->rows,
				shape->cols);
	if (shape->symmetric && shape->rows != shape->cols)
		return refuse(r, -EINVAL, "a symmetric matrix of %" PRIu64 " x %" PRIu64
				" must be square: the file is damaged", shape->rows, shape->cols);
	return 0;
}

static int
add_entry(struct reader *r, struct mtx *mtx, size_t *room, const struct mtx_entry *entry)
{
	struct mtx_entry *entries;

	/* Grow with the entries that the file holds, not with the number it announces. */
	if (mtx->nb_entries == *room) {
		*room = *room == 0 ? 4096 : *room * 2;
		entries = realloc(mtx->entries, *room * sizeof(*entries));
		if (entries == NULL)
			return refuse(r, -ENOMEM, "no memory for %zu entries; give a smaller file",
					*room);
		mtx->entries = entries;
	}
	mtx->entries[mtx->nb_entries++] = *entry;
	return 0;
}

static int
parse_entry(struct reader *r, const struct shape *shape, struct mtx_entry *entry)
{
	const char *p = r->text;
	uint64_t row, col;

	entry->val = 1;
	if (!parse_u64(&p, &row) || !parse_u64(&p, &col) ||
			(shape->integer && !parse_i64(&p, &entry->val)) || !is_at_end(p))
		return refuse(r, -EINVAL, "\"%.64s\" is not an entry \"ROW COLUMN%s\": "
				"the file is damaged", r->text, shape->integer ? " INTEGER" : "");
	if (row < 1 || row > shape->rows)
		return refuse(r, -ERANGE, "row %" PRIu64 " is outside 1 to %" PRIu64
				": the file is damaged", row, shape->rows);
	if (col < 1 || col > shape->cols)
		return refuse(r, -ERANGE, "column %" PRIu64 " is outside 1 to %" PRIu64
				": the file is damaged", col, shape->cols);
	if (shape->symmetric && col > row)
		return refuse(r, -EINVAL, "entry %" PRIu64 ",%" PRIu64 " is above the diagonal, "
				"but a symmetric file has only the lower half: the file is damaged",
				row, col);
	entry->row = row - 1;
	entry->col = col - 1;
	return 0;
}

static int
read_entries(struct reader *r, const struct shape *shape, struct mtx *mtx)
{
	struct mtx_entry entry;
	uint64_t nb_lines = 0;
	size_t room = 0;
	uint32_t row;
	int ret;

	while ((ret = read_line(r)) > 0) {
		if (is_at_end(r->text))
			continue;
		if (nb_lines++ == shape->nb_entries)
			return refuse(r, -EINVAL, "more than the %" PRIu64 " entries of the size "
					"line: the file is damaged", shape->nb_entries);
		ret = parse_entry(r, shape, &entry);
		if (ret == 0)
			ret = add_entry(r, mtx, &room, &entry);
		if (ret == 0 && shape->symmetric && entry.row != entry.col) {
			row = entry.row;
			entry.row = entry.col;
			entry.col = row;
			ret = add_entry(r, mtx, &room, &entry);
		}
		if (ret < 0)
			return ret;
	}
	if (ret < 0)
		return ret;
	if (nb_lines < shape->nb_entries)
		return refuse(r, -EINVAL, "the file ends after %" PRIu64 " of %" PRIu64 " entries: "
				"it is truncated; fetch it again", nb_lines, shape->nb_entries);
	return 0;
}

int
mtx_read(const char *path, struct mtx *mtx, char *err, size_t len)
{
	struct shape shape = { 0 };
	struct reader *r;
	int ret;

	memset(mtx, 0, sizeof(*mtx));
	r = calloc(1, sizeof(*r));
	if (r == NULL) {
		snprintf(err, len, "%s: cannot read: out of memory", path);
		return -ENOMEM;
	}
	r->path = path;
	r->err = err;
	r->err_len = len;
	errno = 0;
	r->file = gzopen(path, "rb");
	if (r->file == NULL) {
		ret = errno != 0 ? errno : ENOMEM;
		ret = refuse(r, -ret, "cannot open: %s; give a readable file", strerror(ret));
		goto out;
	}
	ret = read_banner(r, &shape);
	if (ret == 0)
		ret = read_size(r, &shape);
	if (ret == 0)
		ret = read_entries(r, &shape, mtx);
	gzclose_r(r->file);
	if (ret < 0)
		goto out;
	mtx->rows = shape.rows;
	mtx->cols = shape.cols;
out:
	if (ret < 0)
		mtx_free(mtx);
	free(r);
	return ret;
}

void
mtx_free(struct mtx *mtx)
{
	free(mtx->entries);
	memset(mtx, 0, sizeof(*mtx));
}
