/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The order in which the pages of a cell fault. A recorded trace numbers the pages of a program by
 * their first touch and tells where they lie in its address space; here the region has these pages
 * in the order of their addresses, without the gaps, and they fault in the order of the first
 * touches. The other accesses of the trace do not fault and are left out.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "options.h"

#define MAX_PAGES	(1u << 20)	/* of a trace */
#define MAX_LINE	640

const char *const pattern_names[BENCH_NB_PATTERNS] = {
	[PATTERN_SEQUENTIAL] = "sequential",
	[PATTERN_RANDOM] = "random",
	[PATTERN_TRACE] = "trace",
};

struct page {
	int64_t vpn;
	uint32_t nb;	/* by first touch */
};

static int
compare_pages(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	return (x->vpn > y->vpn) - (x->vpn < y->vpn);
}

/* The same in each run. */
static void
shuffle(uint32_t *order, uint32_t n)
{
	uint64_t state = 1;
	uint32_t i, k, page;

	for (i = 0; i < n; i++)
		order[i] = i;
	for (i = n; i-- > 1;) {
		k = bench_next_random(&state) % (i + 1);
		page = order[i];
		order[i] = order[k];
		order[k] = page;
	}
}

static bool
report_line(const char *path, unsigned long line, const char *what)
{
	bench_error("trace: %s: line %lu: %s", path, line, what);
	return false;
}

/*
 * Read the file: its pages in *pages, in the order of their first touch, with their distance in
 * the program's address space.
 */
static bool
read_lines(const char *path, gzFile f, struct page **pages, uint32_t *nb)
{
	unsigned int version, size, n = 0, page, touched = 0, placed = 1;
	char text[MAX_LINE], kind, rest;
	unsigned long line = 1;
	unsigned int repeat;
	long long delta;
	int got;

	if (gzgets(f, text, sizeof(text)) == NULL || sscanf(text, "# iopf trace %u page_size=%u "
			"pages=%u", &version, &size, &n) != 3 || version != 1)
		return report_line(path, 1, "no header of a trace; record one with "
				"iopf-trace-record");
	if (size != BENCH_PAGE_SIZE || n == 0 || n > MAX_PAGES)
		return report_line(path, 1, "a trace has pages of 4096 bytes, and 1 to 2^20 of "
				"them");
	*nb = n;
	*pages = calloc(n, sizeof(**pages));
	if (*pages == NULL)
		return report_line(path, 1, "no memory for the pages");
	while (gzgets(f, text, sizeof(text)) != NULL) {
		line++;
		if (strncmp(text, "#M ", 3) == 0) {
			if (sscanf(text, "#M %u %lld %c", &page, &delta, &rest) != 2 ||
					page != placed || page >= n || delta > INT32_MAX ||
					delta < INT32_MIN)
				return report_line(path, line, "not \"#M PAGE DELTA\" of the next "
						"page");
			(*pages)[page].vpn = (*pages)[page - 1].vpn + delta;
			(*pages)[page].nb = page;
			placed++;
		} else if (text[0] != '#') {
			got = sscanf(text, "%u %c %u %c", &page, &kind, &repeat, &rest);
			if ((got != 2 && got != 3) || (kind != 'R' && kind != 'W') ||
					page > touched || page >= n)
				return report_line(path, line, "not \"PAGE R|W [REPEAT]\" with a "
						"page that was touched, or the next");
			touched += page == touched;
		}
	}
	if (gzerror(f, &got) != NULL && got != Z_OK && got != Z_STREAM_END)
		return report_line(path, line, "the compressed data is damaged or ends early");
	if (touched != n || placed != n)
		return report_line(path, line, touched != n ? "the file has fewer pages than its "
				"header says" : "a page has no \"#M\" line: where it lies is not "
				"known");
	return true;
}

/* Let order[i] be the place of the page that is touched first as the i-th one. */
static bool
place_pages(const char *path, struct page *pages, uint32_t *order, uint32_t n)
{
	uint32_t i;

	qsort(pages, n, sizeof(*pages), compare_pages);
	for (i = 0; i < n; i++) {
		if (i != 0 && pages[i].vpn == pages[i - 1].vpn) {
			bench_error("trace: %s: pages %u and %u lie at one place", path,
					pages[i - 1].nb, pages[i].nb);
			return false;
		}
		order[pages[i].nb] = i;
	}
	return true;
}

static bool
make_order(struct bench_conf *conf)
{
	conf->order = malloc(conf->faults * sizeof(*conf->order));
	if (conf->order == NULL)
		bench_error("pattern: no memory for the order of %u pages", conf->faults);
	return conf->order != NULL;
}

static bool
read_trace(struct bench_conf *conf)
{
	struct page *pages = NULL;
	uint32_t n = 0;
	gzFile f;
	bool ok;

	f = gzopen(conf->trace, "rb");
	if (f == NULL) {
		bench_error("trace: %s: cannot read: %s", conf->trace,
				errno != 0 ? strerror(errno) : "no memory");
		return false;
	}
	ok = read_lines(conf->trace, f, &pages, &n);
	gzclose(f);
	if (ok && conf->faults == 0)
		conf->faults = n < BENCH_MAX_FAULTS ? n : BENCH_MAX_FAULTS;
	if (ok && (n < conf->faults || n < BENCH_MIN_FAULTS)) {
		bench_error("trace: %s has %u pages, and %u faults were asked for; at least %d "
				"are needed", conf->trace, n, conf->faults, BENCH_MIN_FAULTS);
		ok = false;
	}
	ok = ok && make_order(conf) && place_pages(conf->trace, pages, conf->order, conf->faults);
	free(pages);
	return ok;
}

bool
pattern_read(struct bench_conf *conf)
{
	if ((conf->pattern == PATTERN_TRACE) != (conf->trace != NULL)) {
		bench_error("the pattern trace needs a file, by the option or key trace, and a file "
				"needs the pattern trace");
		return false;
	}
	return conf->pattern != PATTERN_TRACE || read_trace(conf);
}

bool
pattern_make(struct bench_conf *conf)
{
	if (conf->pattern != PATTERN_RANDOM)
		return true;
	if (!make_order(conf))
		return false;
	shuffle(conf->order, conf->faults);
	return true;
}
