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

#include "options.h"
#include "trace.h"

const char *const pattern_names[BENCH_NB_PATTERNS] = {
	[PATTERN_SEQUENTIAL] = "sequential",
	[PATTERN_RANDOM] = "random",
	[PATTERN_TRACE] = "trace",
};

static int
compare_pages(const void *a, const void *b)
{
	const struct trace_page *x = a, *y = b;

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

/* Let order[i] be the place of the page that is touched first as the i-th one. */
static bool
place_pages(const char *path, struct trace_page *pages, uint32_t *order, uint32_t n)
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
	struct trace trace;
	uint32_t n;
	bool ok = trace_read(conf->trace, &trace);

	n = trace.nb_pages;
	if (ok && conf->faults == 0)
		conf->faults = n < BENCH_MAX_FAULTS ? n : BENCH_MAX_FAULTS;
	if (ok && (n < conf->faults || n < BENCH_MIN_FAULTS)) {
		bench_error("trace: %s has %u pages, and %u faults were asked for; at least %d "
				"are needed", conf->trace, n, conf->faults, BENCH_MIN_FAULTS);
		ok = false;
	}
	ok = ok && make_order(conf) &&
			place_pages(conf->trace, trace.pages, conf->order, conf->faults);
	trace_free(&trace);
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
