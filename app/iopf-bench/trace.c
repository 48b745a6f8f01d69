/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "bench.h"
#include "trace.h"

#define MAX_PAGES	(1u << 20)
#define MAX_ACCESSES	(1u << 26)
#define MAX_LINE	640

static bool
report_line(const char *name, unsigned long line, const char *what)
{
	bench_error("trace: %s: line %lu: %s", name, line, what);
	return false;
}

static bool
add_access(struct trace *trace, uint32_t *room, uint32_t page)
{
	uint32_t *accesses, n = trace->nb_accesses;

	if (n != 0 && trace->accesses[n - 1] == page)
		return true;
	if (n == *room) {
		*room = n == 0 ? 1 << 16 : 2 * n;
		accesses = *room > MAX_ACCESSES ? NULL :
				realloc(trace->accesses, *room * sizeof(*accesses));
		if (accesses == NULL)
			return false;
		trace->accesses = accesses;
	}
	trace->accesses[trace->nb_accesses++] = page;
	return true;
}

static bool
read_lines(gzFile f, const char *name, struct trace *trace)
{
	unsigned int version, size, n = 0, page, repeat, touched = 0, placed = 1;
	char text[MAX_LINE], kind, rest;
	unsigned long line = 1;
	uint32_t room = 0;
	long long delta;
	int got;

	if (gzgets(f, text, sizeof(text)) == NULL || sscanf(text, "# iopf trace %u page_size=%u "
			"pages=%u", &version, &size, &n) != 3 || version != 1)
		return report_line(name, 1, "no header of a trace; record one with "
				"iopf-trace-record");
	if (size != BENCH_PAGE_SIZE || n == 0 || n > MAX_PAGES)
		return report_line(name, 1, "a trace has pages of 4096 bytes, and 1 to 2^20 of "
				"them");
	trace->nb_pages = n;
	trace->pages = calloc(n, sizeof(*trace->pages));
	if (trace->pages == NULL)
		return report_line(name, 1, "no memory for the pages");
	while (gzgets(f, text, sizeof(text)) != NULL) {
		line++;
		if (strncmp(text, "#M ", 3) == 0) {
			if (sscanf(text, "#M %u %lld %c", &page, &delta, &rest) != 2 ||
					page != placed || page >= n || delta > INT32_MAX ||
					delta < INT32_MIN)
				return report_line(name, line, "not \"#M PAGE DELTA\" of the next "
						"page");
			trace->pages[page].vpn = trace->pages[page - 1].vpn + delta;
			trace->pages[page].nb = page;
			placed++;
		} else if (text[0] != '#') {
			got = sscanf(text, "%u %c %u %c", &page, &kind, &repeat, &rest);
			if ((got != 2 && got != 3) || (kind != 'R' && kind != 'W') ||
					page > touched || page >= n)
				return report_line(name, line, "not \"PAGE R|W [REPEAT]\" with a "
						"page that was touched, or the next");
			touched += page == touched;
			if (!add_access(trace, &room, page))
				return report_line(name, line, "more than 2^26 accesses, or no "
						"memory for them");
		}
	}
	if (gzerror(f, &got) != NULL && got != Z_OK && got != Z_STREAM_END)
		return report_line(name, line, "the compressed data is damaged or ends early");
	if (touched != n || placed != n)
		return report_line(name, line, touched != n ? "the file has fewer pages than its "
				"header says" : "a page has no \"#M\" line: where it lies is not "
				"known");
	return true;
}

bool
trace_read_fd(int fd, const char *name, struct trace *trace)
{
	gzFile f;
	bool ok;

	memset(trace, 0, sizeof(*trace));
	f = gzdopen(fd, "rb");
	if (f == NULL) {
		bench_error("trace: %s: cannot read: no memory", name);
		close(fd);
		return false;
	}
	ok = read_lines(f, name, trace);
	gzclose(f);
	return ok;
}

bool
trace_read(const char *path, struct trace *trace)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	memset(trace, 0, sizeof(*trace));
	if (fd < 0) {
		bench_error("trace: %s: cannot read: %s", path, strerror(errno));
		return false;
	}
	return trace_read_fd(fd, path, trace);
}

void
trace_free(struct trace *trace)
{
	free(trace->pages);
	free(trace->accesses);
	memset(trace, 0, sizeof(*trace));
}
