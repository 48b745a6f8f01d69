/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A soak of managed memory that does not fit. All at once and at random: devices and a CPU write
 * and read, blocks are evicted, ranges are unmapped, protected, advised, prefetched and written
 * back, moved and copied by the pages that were written, the store fails, a file is truncated under
 * its region, and regions come and go.
 *
 * Accounting. Each page of a region has two counters of 8 bytes, for one writer each: the device
 * (this thread), and the CPU (a second thread). The writer remembers the last value, so that each
 * read of its own counter has one right value. After mmem_sync() the store has each counter's value
 * of before the call, or a later one. Both regions have a copy: a harvest of written pages tells
 * which of its counters to read again. At the end all counters are compared, of the copies too.
 */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mmem_dirty.h"
#include "mmem_move.h"
#include "mmem_space.h"
#include "pager_rig.h"
#include "test.h"

#define BLOCK		(4 * PAGE)
#define NB_PAGES	512
#define REGION		(NB_PAGES * PAGE)
#define BUDGET		(REGION / 4)
#define FILE_PAGES	64
#define NB_STEPS	300
#define OF_DEV		64	/* offsets of the counters in a page */
#define OF_CPU		128

/* A store that fails at random. */
struct store {
	pthread_mutex_t lock;		/* of bytes */
	uint8_t bytes[REGION];
	_Atomic unsigned int seed;
	_Atomic bool fails;
};

struct soak {
	struct mmem_space *space;
	struct store store;
	uint8_t *p;			/* over the store */
	uint8_t *swapped;		/* without a pager */
	uint8_t *file;
	char path[32];
	int fd;
	uint64_t dev[2][NB_PAGES];	/* the device's counters, of p and swapped */
	_Atomic uint64_t cpu[2][NB_PAGES];
	bool is_tracked;		/* the kernel can */
	uint64_t dev_copy[2][NB_PAGES], cpu_copy[2][NB_PAGES];
	uint64_t nb_copied, nb_moves;
	atomic_bool quit;
	pthread_t cpu_thread;
	unsigned int rng;
	uint64_t refused;		/* accesses that the failing store made fail */
};

static struct soak s;

static unsigned int
draw(unsigned int n)
{
	return rand_r(&s.rng) % n;
}

static bool
store_is_to_fail(struct store *store)
{
	unsigned int seed;

	if (!atomic_load(&store->fails))
		return false;
	seed = atomic_fetch_add(&store->seed, 1);
	return rand_r(&seed) % 8 == 0;
}

static int
store_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct store *store = ctx;

	if (store_is_to_fail(store))
		return -EIO;
	pthread_mutex_lock(&store->lock);
	memcpy(dst, store->bytes + offset, len);
	pthread_mutex_unlock(&store->lock);
	return 0;
}

static int
store_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	struct store *store = ctx;

	if (store_is_to_fail(store))
		return -ENOSPC;
	pthread_mutex_lock(&store->lock);
	memcpy(store->bytes + offset, src, len);
	pthread_mutex_unlock(&store->lock);
	return 0;
}

static uint64_t
store_get(unsigned int page, size_t of)
{
	uint64_t word;

	pthread_mutex_lock(&s.store.lock);
	memcpy(&word, s.store.bytes + page * PAGE + of, sizeof(word));
	pthread_mutex_unlock(&s.store.lock);
	return word;
}

static uint8_t *
region_at(unsigned int which)
{
	return which == 0 ? s.p : s.swapped;
}

static void *
cpu_main(void *arg)
{
	unsigned int seed = s.rng + 1, which, page;
	volatile uint64_t *word;
	uint64_t before;

	(void)arg;
	while (!atomic_load(&s.quit)) {
		which = rand_r(&seed) % 2;
		page = rand_r(&seed) % NB_PAGES;
		word = (volatile uint64_t *)(region_at(which) + page * PAGE + OF_CPU);
		before = atomic_load(&s.cpu[which][page]);
		if (*word != before) {
			print_error("the CPU wrote %" PRIu64 " to page %u of region %u and reads "
					"%" PRIu64 "\n", before, page, which, *word);
			abort();
		}
		if (rand_r(&seed) % 2 == 0) {
			*word = before + 1;
			atomic_store(&s.cpu[which][page], before + 1);
		}
	}
	return NULL;
}

/* A device's access, until it succeeds: a store that fails makes it fail. */
static void
dev_access(enum smmuv3_model_op_type type, const uint8_t *addr, void *buf)
{
	enum smmuv3_model_status status;

	for (;;) {
		pg_submit(pg.other_dma, type, addr, buf, 8);
		status = pg_await(pg.other_dma);
		if (status == SMMUV3_MODEL_OK)
			return;
		assert_true(atomic_load(&s.store.fails));
		s.refused++;
	}
}

static void
step_access(void)
{
	unsigned int which = draw(2), page = draw(8) == 0 ? draw(NB_PAGES) : draw(NB_PAGES / 8);
	uint8_t *addr = region_at(which) + page * PAGE + OF_DEV;
	uint64_t word;

	dev_access(SMMUV3_MODEL_READ, addr, &word);
	assert_int_equal(word, s.dev[which][page]);
	if (draw(2) == 0)
		return;
	word++;
	dev_access(SMMUV3_MODEL_WRITE, addr, &word);
	s.dev[which][page] = word;
}

static void
step_unmap(void)
{
	unsigned int page = draw(NB_PAGES - 8);

	assert_int_equal(mmem_unmap(s.space, region_at(draw(2)) + page * PAGE,
			(1 + draw(8)) * PAGE), 0);
}

/* Take the right to write away, and give it back. */
static void
step_protect(void)
{
	uint8_t *addr = region_at(draw(2)) + draw(NB_PAGES - 8) * PAGE;
	size_t len = (1 + draw(8)) * PAGE;

	assert_int_equal(mmem_protect(s.space, addr, len, MMEM_READ), 0);
	assert_int_equal(mmem_protect(s.space, addr, len, RW), 0);
}

static void
step_sync(void)
{
	unsigned int page = draw(NB_PAGES - 32), nb = 1 + draw(32), i;
	uint64_t cpu[32], word;
	int rc;

	for (i = 0; i < nb; i++)
		cpu[i] = atomic_load(&s.cpu[0][page + i]);
	rc = mmem_sync(s.space, s.p + page * PAGE, nb * PAGE);
	if (rc < 0) {
		assert_true(atomic_load(&s.store.fails));
		assert_int_equal(rc, -EIO);
		return;
	}
	for (i = 0; i < nb; i++) {
		assert_int_equal(store_get(page + i, OF_DEV), s.dev[0][page + i]);
		word = store_get(page + i, OF_CPU);
		assert_true(word >= cpu[i]);
	}
}

static void
step_prefetch(void)
{
	size_t len = (1 + draw(16)) * PAGE;
	uint8_t *addr = region_at(draw(2)) + draw(NB_PAGES - 16) * PAGE;
	int rc = mmem_prefetch(s.space, addr, len);

	assert_true(rc == 0 || (rc == -EIO && atomic_load(&s.store.fails)));
}

/* The file loses its end and gets it back: bytes beyond its end are zero, and no access fails. */
static void
step_truncate(void)
{
	uint8_t bytes[8];
	unsigned int page = draw(FILE_PAGES);

	assert_int_equal(ftruncate(s.fd, draw(FILE_PAGES) * PAGE), 0);
	dev_access(SMMUV3_MODEL_READ, s.file + page * PAGE, bytes);
	dev_access(SMMUV3_MODEL_WRITE, s.file + page * PAGE + 8, bytes);
	assert_int_equal(mmem_sync(s.space, s.file, FILE_PAGES * PAGE), 0);
	assert_int_equal(ftruncate(s.fd, FILE_PAGES * PAGE), 0);
	if (draw(4) != 0)
		return;
	assert_int_equal(mmem_free(s.space, s.file), 0);
	s.file = mmem_map_file(s.space, s.path, 0, FILE_PAGES * PAGE, RW | MMEM_SHARED);
	assert_non_null(s.file);
}

static void
step_region(void)
{
	uint8_t *q = mmem_alloc(s.space, 8 * PAGE, RW), byte = 0;
	uint64_t word = 7;

	assert_non_null(q);
	dev_access(SMMUV3_MODEL_READ, q + PAGE, &word);
	assert_int_equal(word, 0);
	word = 7;
	dev_access(SMMUV3_MODEL_WRITE, q + PAGE, &word);
	byte = q[PAGE];
	assert_int_equal(byte, 7);
	assert_int_equal(mmem_free(s.space, q), 0);
}

static void
step_move(void)
{
	int rc = mmem_move(s.space, region_at(draw(2)), PAGE, MMEM_ANY_NODE);

	assert_true(rc == 0 || (rc == -ENOTSUP && !s.is_tracked));
	s.nb_moves += rc == 0;
}

/* Copy the pages of a range that were written. */
static void
harvest(unsigned int which, unsigned int first, unsigned int nb)
{
	uint64_t map[MMEM_DIRTY_WORDS(REGION)];
	uint8_t *p = region_at(which) + first * PAGE;
	unsigned int i;

	if (!s.is_tracked)
		return;
	assert_int_equal(mmem_dirty_harvest(s.space, p, nb * PAGE, map), 0);
	for (i = 0; i < nb; i++) {
		if (!(map[i / 64] >> i % 64 & 1))
			continue;
		dev_access(SMMUV3_MODEL_READ, p + i * PAGE + OF_DEV, &s.dev_copy[which][first + i]);
		dev_access(SMMUV3_MODEL_READ, p + i * PAGE + OF_CPU, &s.cpu_copy[which][first + i]);
		s.nb_copied++;
	}
}

static void
step_harvest(void)
{
	unsigned int first = draw(NB_PAGES - 64);

	harvest(draw(2), first, 1 + draw(64));
}

static void (*const steps[])(void) = {
	step_unmap, step_protect, step_sync, step_prefetch, step_truncate, step_region, step_move,
	step_harvest,
};

static void
compare_copies(void)
{
	unsigned int which, page;

	for (which = 0; which < 2 && s.is_tracked; which++) {
		harvest(which, 0, NB_PAGES);
		for (page = 0; page < NB_PAGES; page++) {
			assert_int_equal(s.dev_copy[which][page], s.dev[which][page]);
			assert_int_equal(s.cpu_copy[which][page], atomic_load(&s.cpu[which][page]));
		}
	}
}

static void
compare_all(void)
{
	unsigned int which, page;
	uint64_t word;

	for (which = 0; which < 2; which++)
		for (page = 0; page < NB_PAGES; page++) {
			dev_access(SMMUV3_MODEL_READ, region_at(which) + page * PAGE + OF_DEV,
					&word);
			assert_int_equal(word, s.dev[which][page]);
			dev_access(SMMUV3_MODEL_READ, region_at(which) + page * PAGE + OF_CPU,
					&word);
			assert_int_equal(word, atomic_load(&s.cpu[which][page]));
		}
	assert_int_equal(mmem_free(s.space, s.p), 0);
	for (page = 0; page < NB_PAGES; page++) {
		memcpy(&word, s.store.bytes + page * PAGE + OF_DEV, sizeof(word));
		assert_int_equal(word, s.dev[0][page]);
		memcpy(&word, s.store.bytes + page * PAGE + OF_CPU, sizeof(word));
		assert_int_equal(word, atomic_load(&s.cpu[0][page]));
	}
}

static void
soak_run(uint64_t nb)
{
	uint64_t i;

	assert_int_equal(pthread_create(&s.cpu_thread, NULL, cpu_main, NULL), 0);
	for (i = 0; i < nb; i++) {
		if (i % 100 == 0)
			atomic_store(&s.store.fails, i / 100 % 3 == 1);
		step_access();
		if (draw(8) == 0)
			steps[draw(RTE_DIM(steps))]();
	}
	atomic_store(&s.store.fails, false);
	atomic_store(&s.quit, true);
	assert_int_equal(pthread_join(s.cpu_thread, NULL), 0);
	compare_copies();
	compare_all();
}

static void
test_nothing_that_was_written_is_lost(void **state)
{
	const struct mmem_pager pager = { .fill = store_fill, .write = store_write,
		.ctx = &s.store, .fetch_size = BLOCK, .nb_threads = 2 };
	char swap[] = "/tmp/iopf-soak-swap-XXXXXX";
	struct mmem_pool *pool;
	int fd;

	pg_setup(state);
	memset(&s, 0, sizeof(s));
	pthread_mutex_init(&s.store.lock, NULL);
	s.rng = test_seed("mmem_soak");
	fd = mkstemp(swap);
	assert_true(fd >= 0);
	close(fd);
	strcpy(s.path, "/tmp/iopf-soak-file-XXXXXX");
	s.fd = mkstemp(s.path);
	assert_true(s.fd >= 0);
	assert_int_equal(ftruncate(s.fd, FILE_PAGES * PAGE), 0);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = BUDGET + MMEM_CHUNK_SIZE,
			.swap = swap });
	assert_non_null(pool);
	s.space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool,
			.budget = BUDGET + MMEM_CHUNK_SIZE });
	assert_non_null(s.space);
	assert_int_equal(mmem_attach(s.space, pg.other_dev, IOPF_NO_PASID), 0);
	s.p = mmem_alloc_paged(s.space, REGION, RW, &pager);
	s.swapped = mmem_alloc(s.space, REGION, RW);
	s.file = mmem_map_file(s.space, s.path, 0, FILE_PAGES * PAGE, RW | MMEM_SHARED);
	assert_true(s.p != NULL && s.swapped != NULL && s.file != NULL);
	s.is_tracked = mmem_dirty_start(s.space, s.p) == 0;
	assert_int_equal(mmem_dirty_start(s.space, s.swapped) == 0, s.is_tracked);
	soak_run((uint64_t)NB_STEPS * test_scale());
	print_message("%" PRIu64 " pages fetched, %" PRIu64 " again; %" PRIu64 " evicted, %" PRIu64
			" written; %" PRIu64 " accesses refused; %" PRIu64 " moves, %" PRIu64
			" pages copied\n",
			mmem_stat(s.space, MMEM_STAT_FILLED),
			mmem_stat(s.space, MMEM_STAT_REFILLED),
			mmem_stat(s.space, MMEM_STAT_EVICTED),
			mmem_stat(s.space, MMEM_STAT_WRITTEN), s.refused, s.nb_moves,
			s.nb_copied);
	assert_true(mmem_stat(s.space, MMEM_STAT_EVICTED) != 0);
	assert_int_equal(mmem_detach(s.space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(s.space), 0);
	assert_int_equal(pool->budget.resident, 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
	close(s.fd);
	unlink(s.path);
	unlink(swap);
	pg_teardown(state);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_nothing_that_was_written_is_lost),
};
TEST_SUITE(mmem_soak, tests, NULL, NULL);
