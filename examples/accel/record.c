/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The pages of the device's DMAs in the order of their submission, as a trace for iopf-bench:
 * app/iopf-bench/traces/README.md.
 */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "internal.h"

/* Limits of the format. */
#define MAX_PAGES	((uint64_t)1 << 20)
#define MAX_ACCESSES	((size_t)1 << 26)

/* Accesses to one page in a row. */
struct access {
	uint64_t page;		/* of the address space */
	uint32_t times;
	bool write;		/* at least one */
};

/* Of the process. Queues add to it at the same time, under the lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	const char *path;	/* NULL: nothing is kept */
	struct access *accesses;
	size_t nb;
	size_t room;
} record;

void
accel_record(const char *path)
{
	record.path = path;
}

static int
add_page(uint64_t page, bool write)
{
	struct access *last = record.nb == 0 ? NULL : &record.accesses[record.nb - 1];
	struct access *accesses;

	if (last != NULL && last->page == page) {
		last->times++;
		last->write |= write;
		return 0;
	}
	if (record.nb == record.room) {
		record.room = record.nb == 0 ? 1 << 16 : 2 * record.nb;
		accesses = record.room > MAX_ACCESSES ? NULL :
				realloc(record.accesses, record.room * sizeof(*accesses));
		if (accesses == NULL)
			return accel_fail("%s: more than 2^26 accesses, or out of memory; give a "
					"smaller file", record.path);
		record.accesses = accesses;
	}
	record.accesses[record.nb++] = (struct access){ .page = page, .times = 1,
		.write = write };
	return 0;
}

int
record_add(uint64_t addr, size_t len, bool write)
{
	uint64_t page;
	int ret = 0;

	if (record.path == NULL || len == 0)
		return 0;
	pthread_mutex_lock(&lock);
	for (page = addr / PAGE_SIZE; ret == 0 && page <= (addr + len - 1) / PAGE_SIZE; page++)
		ret = add_page(page, write);
	pthread_mutex_unlock(&lock);
	return ret;
}

/* Number the pages by their first access. Returns their number, and them in the order of it. */
static uint32_t
number_pages(uint64_t first, uint32_t *numbers, uint64_t *pages)
{
	const struct access *a = record.accesses;
	uint32_t n = 0;

	/* From 1: 0 is a page without one. */
	for (; a < record.accesses + record.nb; a++) {
		if (numbers[a->page - first] != 0)
			continue;
		pages[n++] = a->page;
		numbers[a->page - first] = n;
	}
	return n;
}

static int
write_lines(uint64_t first, const uint32_t *numbers, const uint64_t *pages, uint32_t nb_pages)
{
	const struct access *a, *end = record.accesses + record.nb;
	FILE *f = fopen(record.path, "w");
	uint64_t sum = 0;
	uint32_t i;
	bool ok;

	if (f == NULL)
		return accel_fail("%s: cannot write: %s", record.path, strerror(errno));
	for (a = record.accesses; a < end; a++)
		sum += a->times;
	fprintf(f, "# iopf trace 1 page_size=%d pages=%" PRIu32 " accesses=%" PRIu64
			" lines=%zu program=\"accel\"\n", PAGE_SIZE, nb_pages, sum, record.nb);
	for (a = record.accesses; a < end; a++) {
		fprintf(f, "%" PRIu32 " %c", numbers[a->page - first] - 1, a->write ? 'W' : 'R');
		fprintf(f, a->times > 1 ? " %" PRIu32 "\n" : "\n", a->times);
	}
	for (i = 1; i < nb_pages; i++)
		fprintf(f, "#M %" PRIu32 " %" PRId64 "\n", i, (int64_t)(pages[i] - pages[i - 1]));
	ok = !ferror(f);
	if (fclose(f) != 0 || !ok)
		return accel_fail("%s: cannot write: %s", record.path, strerror(errno));
	return 0;
}

int
accel_save_record(void)
{
	uint64_t first = UINT64_MAX, last = 0, *pages;
	uint32_t *numbers;
	int ret = -1;
	size_t i;

	if (record.path == NULL || record.nb == 0)
		return 0;
	for (i = 0; i < record.nb; i++) {
		first = RTE_MIN(first, record.accesses[i].page);
		last = RTE_MAX(last, record.accesses[i].page);
	}
	if (last - first >= MAX_PAGES)
		return accel_fail("%s: a trace has at most 2^20 pages; give a smaller file",
				record.path);
	numbers = calloc(last - first + 1, sizeof(*numbers));
	pages = calloc(last - first + 1, sizeof(*pages));
	if (numbers == NULL || pages == NULL)
		accel_fail("%s: out of memory", record.path);
	else
		ret = write_lines(first, numbers, pages,
				number_pages(first, numbers, pages));
	free(numbers);
	free(pages);
	free(record.accesses);
	record.accesses = NULL;
	record.nb = record.room = 0;
	return ret;
}
