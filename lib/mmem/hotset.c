/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The hot set of a space, recorded in one run and fetched in the next. The file is text:
 *
 *	mmem hotset 1
 *	region SIZE			for each region, in the order of allocation
 *	...
 *	pages REGION FIRST NB		the region's number from 0; pages of 4 KiB; in this order
 *	...
 *	end
 *
 * A file is untrusted: each line is checked against the regions of the space.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pgtable.h>

#include "mmem_budget.h"
#include "mmem_hotset.h"
#include "mmem_io.h"
#include "mmem_pool.h"
#include "mmem_prefetch.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"

#define HEADER		"mmem hotset 1"
#define FOOTER		"end"
#define MAX_LINE	128

/* The regions of a space in the order of allocation, and pages of them. */
struct hotset_file {
	struct mmem_region **regions;
	size_t nb_regions;
	struct mmem_range *ranges;	/* in the pool */
	size_t nb, max;
};

/*
 * Recording
 */

void
mmem_hotset_add(struct mmem_space *space, uint64_t off, size_t len)
{
	struct mmem_hotset *h = &space->hotset;
	uint64_t page = off >> MMEM_PAGE_LOG2;
	size_t max = h->max != 0 ? h->max * 2 : 1024;
	uint32_t *pages;

	if (h->seen[page / 64] & UINT64_C(1) << page % 64)
		return;
	if (h->nb == h->max) {
		pages = realloc(h->pages, max * 2 * sizeof(*pages));
		if (pages == NULL) {
			h->incomplete = true;
			return;
		}
		h->pages = pages;
		h->max = max;
	}
	h->seen[page / 64] |= UINT64_C(1) << page % 64;
	h->pages[2 * h->nb] = page;
	h->pages[2 * h->nb + 1] = len >> MMEM_PAGE_LOG2;
	h->nb++;
}

void
mmem_hotset_free(struct mmem_space *space)
{
	free(space->hotset.seen);
	free(space->hotset.pages);
	memset(&space->hotset, 0, sizeof(space->hotset));
}

int
mmem_hotset_record(struct mmem_space *space)
{
	uint64_t *seen;
	int rc;

	if (space == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	seen = calloc((space->size >> MMEM_PAGE_LOG2) / 64, sizeof(*seen));
	if (seen == NULL)
		return mmem_ret(-ENOMEM);
	pthread_mutex_lock(&space->pool->lock);
	mmem_hotset_free(space);
	space->hotset.seen = seen;
	pthread_mutex_unlock(&space->pool->lock);
	return 0;
}

/*
 * Both directions
 */

static void
file_fini(struct hotset_file *f)
{
	free(f->regions);
	free(f->ranges);
}

/* Under space->lock, so that the regions stay. */
static int
file_list_regions(struct mmem_space *space, struct hotset_file *f)
{
	struct mmem_pool *pool = space->pool;
	struct mmem_region *region;
	size_t max = 0;

	pthread_mutex_lock(&pool->lock);
	TAILQ_FOREACH(region, &pool->regions, next)
		max++;
	f->regions = calloc(max + 1, sizeof(*f->regions));
	if (f->regions != NULL)
		TAILQ_FOREACH(region, &pool->regions, next)
			if (region->space == space && !region->hidden)
				f->regions[f->nb_regions++] = region;
	pthread_mutex_unlock(&pool->lock);
	return f->regions != NULL ? 0 : -ENOMEM;
}

/* Add pages; adjacent ranges become one. */
static int
file_add(struct hotset_file *f, uint64_t off, uint64_t len)
{
	struct mmem_range *last = f->nb != 0 ? &f->ranges[f->nb - 1] : NULL;
	size_t max = f->max != 0 ? f->max * 2 : 1024;
	struct mmem_range *ranges;

	if (last != NULL && last->off + last->len == off && off % MMEM_CHUNK_SIZE != 0) {
		last->len += len;
		return 0;
	}
	if (f->nb == f->max) {
		ranges = realloc(f->ranges, max * sizeof(*ranges));
		if (ranges == NULL)
			return -ENOMEM;
		f->ranges = ranges;
		f->max = max;
	}
	f->ranges[f->nb++] = (struct mmem_range){ .off = off, .len = len };
	return 0;
}

/*
 * Saving
 */

/* The blocks that were fetched. Those of regions that are gone are left out. */
static int
collect_fetched(struct mmem_space *space, struct hotset_file *f)
{
	const struct mmem_hotset *h = &space->hotset;
	const struct mmem_chunk *chunk;
	uint64_t off;
	int rc = 0;
	size_t i;

	pthread_mutex_lock(&space->pool->lock);
	if (h->seen == NULL)
		rc = -EINVAL;
	else if (h->incomplete)
		rc = -ENOMEM;
	for (i = 0; i < h->nb && rc == 0; i++) {
		off = (uint64_t)h->pages[2 * i] << MMEM_PAGE_LOG2;
		chunk = &space->chunks[off >> MMEM_CHUNK_LOG2];
		if (atomic_load_explicit(&chunk->space, memory_order_relaxed) == space &&
				mmem_region_has_pager(chunk->region) && off - mmem_region_off(
				chunk->region) < chunk->region->size)
			rc = file_add(f, off, (uint64_t)h->pages[2 * i + 1] << MMEM_PAGE_LOG2);
	}
	pthread_mutex_unlock(&space->pool->lock);
	return rc;
}

/* The mapped pages of a region. Under space->lock. */
static int
collect_mapped(struct mmem_space *space, const struct mmem_region *region, struct hotset_file *f)
{
	uint64_t off = mmem_region_off(region), end = off + region->size;
	struct pgt_leaf leaf;
	int rc = 0;

	for (; off < end && rc == 0; off += MMEM_PAGE_SIZE)
		if (pgt_walk(space->pgt, mmem_off_to_va(space, off), &leaf) == 0 &&
				leaf.state == PGT_VALID)
			rc = file_add(f, off, MMEM_PAGE_SIZE);
	return rc;
}

static size_t
find_index(const struct hotset_file *f, uint64_t off)
{
	size_t i;

	for (i = 0; i < f->nb_regions; i++)
		if (off - mmem_region_off(f->regions[i]) < f->regions[i]->size)
			break;
	return i;
}

static void
write_text(const struct hotset_file *f, FILE *out)
{
	uint64_t in_region;
	size_t i, n;

	fprintf(out, HEADER "\n");
	for (i = 0; i < f->nb_regions; i++)
		fprintf(out, "region %zu\n", f->regions[i]->size);
	for (i = 0; i < f->nb; i++) {
		n = find_index(f, f->ranges[i].off);
		in_region = f->ranges[i].off - mmem_region_off(f->regions[n]);
		fprintf(out, "pages %zu %" PRIu64 " %" PRIu64 "\n", n, in_region >> MMEM_PAGE_LOG2,
				f->ranges[i].len >> MMEM_PAGE_LOG2);
	}
	fprintf(out, FOOTER "\n");
}

/* Replace the file only after all is written. */
static int
write_file(const char *path, const char *text, size_t len)
{
	char temp[PATH_MAX];
	FILE *out;
	int rc = 0;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.new", path) >= sizeof(temp))
		return -ENAMETOOLONG;
	out = fopen(temp, "we");
	if (out == NULL)
		return -errno;
	if (fwrite(text, 1, len, out) != len)
		rc = errno != 0 ? -errno : -EIO;
	if (fclose(out) != 0 && rc == 0)
		rc = -errno;
	if (rc == 0 && rename(temp, path) < 0)
		rc = -errno;
	if (rc < 0)
		unlink(temp);
	return rc;
}

static int
save_text(struct mmem_space *space, char **text, size_t *len)
{
	struct hotset_file f = { 0 };
	FILE *out;
	size_t i;
	int rc;

	pthread_mutex_lock(&space->lock);
	rc = file_list_regions(space, &f);
	if (rc == 0)
		rc = collect_fetched(space, &f);
	for (i = 0; i < f.nb_regions && rc == 0; i++)
		if (!mmem_region_has_pager(f.regions[i]))
			rc = collect_mapped(space, f.regions[i], &f);
	out = rc == 0 ? open_memstream(text, len) : NULL;
	if (out != NULL) {
		write_text(&f, out);
		rc = ferror(out) ? -ENOMEM : 0;
		fclose(out);
	} else if (rc == 0) {
		rc = -ENOMEM;
	}
	mmem_space_unlock(space);
	file_fini(&f);
	return rc;
}

int
mmem_hotset_save(struct mmem_space *space, const char *path)
{
	char *text = NULL;
	size_t len = 0;
	int rc;

	if (space == NULL || path == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	rc = save_text(space, &text, &len);
	if (rc == -EINVAL) {
		MMEM_LOG_LIMITED(space, "no hot set to save: call mmem_hotset_record() first");
	} else if (rc == 0) {
		rc = write_file(path, text, len);
		if (rc < 0)
			MMEM_LOG_LIMITED(space, "cannot write the hot set %s: %s", path,
					rte_strerror(-rc));
	}
	free(text);
	return mmem_ret(rc);
}

/*
 * Replay
 */

/* Decimal digits, and the end of the line or one space and another number. */
static bool
parse_number(const char **at, uint64_t *n)
{
	const char *p = *at;

	for (*n = 0; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(*n, UINT64_C(10), n) ||
				__builtin_add_overflow(*n, (uint64_t)(*p - '0'), n))
			return false;
	if (p == *at || (*p != '\0' && (*p != ' ' || p[1] < '0' || p[1] > '9')))
		return false;
	*at = *p == ' ' ? p + 1 : p;
	return true;
}

/* Returns NULL, or why the line is wrong. */
static const char *
parse_region(const struct hotset_file *f, size_t *nb, const char *at)
{
	uint64_t size;

	if (!parse_number(&at, &size) || *at != '\0')
		return "is no size of a region";
	if (*nb >= f->nb_regions)
		return "is a region that the space does not have";
	if (size != f->regions[(*nb)++]->size)
		return "is not the size of the space's region";
	return NULL;
}

static const char *
parse_pages(struct hotset_file *f, size_t most, const char *at, uint64_t *room)
{
	uint64_t n, first, nb, pages;
	struct mmem_region *region;

	if (!parse_number(&at, &n) || !parse_number(&at, &first) || !parse_number(&at, &nb) ||
			*at != '\0' || nb == 0)
		return "is not: pages REGION FIRST NB";
	if (f->nb >= most)
		return "is one too many";
	if (n >= f->nb_regions)
		return "names a region that the space does not have";
	region = f->regions[n];
	pages = region->size >> MMEM_PAGE_LOG2;
	if (first >= pages || nb > pages - first)
		return "is outside its region";
	if (mmem_region_has_pager(region)) {
		if (*room < nb << MMEM_PAGE_LOG2)
			return NULL;
		*room -= nb << MMEM_PAGE_LOG2;
	}
	return file_add(f, mmem_region_off(region) + (first << MMEM_PAGE_LOG2),
			nb << MMEM_PAGE_LOG2) < 0 ? "is one too many: no memory" : NULL;
}

/* Returns 0 or -errno, logged. Under space->lock. */
static int
read_text(struct mmem_space *space, struct hotset_file *f, FILE *in, const char *path)
{
	uint64_t room = space->budget.limit ? space->budget.limit : space->pool->budget.limit;
	const char *why = NULL;
	unsigned long number = 0;
	size_t nb_regions = 0;
	char line[MAX_LINE];
	bool ended = false;

	if (room == 0)
		room = UINT64_MAX;
	while (why == NULL && fgets(line, sizeof(line), in) != NULL) {
		number++;
		if (strchr(line, '\n') == NULL)
			why = "is too long, or the file's end is missing";
		line[strcspn(line, "\n")] = '\0';
		if (why != NULL)
			break;
		if (ended)
			why = "follows the end";
		else if (number == 1)
			why = strcmp(line, HEADER) == 0 ? NULL : "is not: " HEADER;
		else if (strncmp(line, "region ", 7) == 0 && f->nb == 0)
			why = parse_region(f, &nb_regions, line + 7);
		else if (nb_regions != f->nb_regions)
			why = "comes before all regions of the space are named";
		else if (strcmp(line, FOOTER) == 0)
			ended = true;
		else if (strncmp(line, "pages ", 6) == 0)
			why = parse_pages(f, space->size >> MMEM_PAGE_LOG2, line + 6,
					&room);
		else
			why = "is unknown";
	}
	if (why == NULL && ferror(in)) {
		MMEM_LOG_LIMITED(space, "cannot read the hot set %s: %s", path, rte_strerror(EIO));
		return -EIO;
	}
	if (why == NULL && !ended)
		why = "is the last one: the end is missing";
	if (why == NULL)
		return 0;
	MMEM_LOG_LIMITED(space, "hot set %s: line %lu %s: record it again", path, number, why);
	return -EINVAL;
}

/* The whole file, read before any lock is taken: it may be slow. Returns 0 or -errno. */
static int
read_file(const char *path, size_t max, char **text, size_t *len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), rc = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		rc = -EINVAL;
	*len = st.st_size;
	*text = rc == 0 ? malloc(*len + 1) : NULL;
	if (rc == 0)
		rc = *text == NULL ? -ENOMEM :
				mmem_file_read(&(struct mmem_file){ fd, -1, 0 }, *text, *len, 0);
	close(fd);
	return rc;
}

int
mmem_hotset_replay(struct mmem_space *space, const char *path, struct mmem_completion *completion)
{
	struct hotset_file f = { 0 };
	char *text = NULL;
	size_t size = 0;
	FILE *in = NULL;
	int rc;

	if (space == NULL || path == NULL)
		return mmem_ret(-EINVAL);
	rc = mmem_may_wait();
	if (rc < 0)
		return mmem_ret(rc);
	rc = read_file(path, MAX_LINE * (2 * (space->size >> MMEM_PAGE_LOG2) + 2), &text, &size);
	if (rc == 0) {
		in = fmemopen(text, size, "r");
		rc = in == NULL ? -ENOMEM : 0;
	}
	if (rc < 0) {
		free(text);
		MMEM_LOG_LIMITED(space, "cannot read the hot set %s: %s", path, rte_strerror(-rc));
		return mmem_ret(rc);
	}
	pthread_mutex_lock(&space->lock);
	rc = file_list_regions(space, &f);
	if (rc == 0)
		rc = read_text(space, &f, in, path);
	if (rc == 0 && f.nb != 0)
		rc = mmem_prefetch_ranges(space, f.ranges, f.nb, completion);
	else if (rc == 0)
		mmem_completion_set(completion, 0);
	mmem_space_unlock(space);
	fclose(in);
	free(text);
	/* The prefetch has the ranges. */
	if (rc == 0 && f.nb != 0)
		f.ranges = NULL;
	file_fini(&f);
	return mmem_ret(rc);
}
