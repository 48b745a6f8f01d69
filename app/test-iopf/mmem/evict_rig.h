/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef EVICT_RIG_H
#define EVICT_RIG_H

/*
 * A space with a budget, whose pager's store is the test's memory. For the suites of evictions:
 * each has its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_errno.h>

#include "mmem_space.h"
#include "pager_rig.h"
#include "test.h"

#define BLOCK		(4 * PAGE)
#define NB_BLOCKS	64
#define REGION		(NB_BLOCKS * BLOCK)
#define BUDGET		(8 * BLOCK)
/* Of memory without a pager. */
#define SWAP_BLOCK	(16 * PAGE)

/* A pager over memory. */
struct store {
	pthread_mutex_t lock;		/* of bytes */
	uint8_t *bytes;
	_Atomic unsigned int fills, writes;
	_Atomic unsigned int fills_of_first;	/* of the first block */
	_Atomic int fill_error;
	_Atomic int write_error;
	_Atomic bool hold_writes;
	_Atomic uint64_t copied_at;	/* the last write */
	_Atomic bool hold_copied;	/* writes do not return, and have copied */
	_Atomic bool hold_fills;
	_Atomic uint64_t order[NB_BLOCKS];	/* offsets of the first fills */
	_Atomic unsigned int in_write;
};

static struct store store;
static struct mmem_space *space;
static _Atomic unsigned int nb_reports;
static _Atomic int last_error;

static inline int
store_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct store *s = ctx;
	unsigned int n = atomic_fetch_add(&s->fills, 1);

	if (offset == 0)
		atomic_fetch_add(&s->fills_of_first, 1);
	if (n < NB_BLOCKS)
		atomic_store(&s->order[n], offset);
	while (atomic_load(&s->hold_fills))
		usleep(100);
	if (atomic_load(&s->fill_error) != 0)
		return atomic_load(&s->fill_error);
	pthread_mutex_lock(&s->lock);
	memcpy(dst, s->bytes + offset, len);
	pthread_mutex_unlock(&s->lock);
	return 0;
}

static inline int
store_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	struct store *s = ctx;
	int error;

	atomic_fetch_add(&s->writes, 1);
	atomic_fetch_add(&s->in_write, 1);
	while (atomic_load(&s->hold_writes))
		usleep(100);
	error = atomic_load(&s->write_error);
	if (error == 0) {
		pthread_mutex_lock(&s->lock);
		memcpy(s->bytes + offset, src, len);
		pthread_mutex_unlock(&s->lock);
	}
	atomic_store(&s->copied_at, offset);
	while (atomic_load(&s->hold_copied))
		usleep(100);
	atomic_fetch_sub(&s->in_write, 1);
	return error;
}

static inline void
on_report(struct mmem_space *s, const struct mmem_report *report, void *ctx)
{
	(void)s;
	(void)ctx;
	atomic_store(&last_error, report->error);
	atomic_fetch_add(&nb_reports, 1);
}

/* While writers go on. */
static inline uint8_t
store_get(size_t offset)
{
	uint8_t byte;

	pthread_mutex_lock(&store.lock);
	byte = store.bytes[offset];
	pthread_mutex_unlock(&store.lock);
	return byte;
}

static const struct mmem_pager pager_rw = { .fill = store_fill, .write = store_write,
	.ctx = &store, .fetch_size = BLOCK, .nb_threads = 2 };
static const struct mmem_pager pager_ro = { .fill = store_fill, .ctx = &store,
	.fetch_size = BLOCK };

static inline int
setup(void **state)
{
	size_t i;

	pg_setup(state);
	memset(&store, 0, sizeof(store));
	pthread_mutex_init(&store.lock, NULL);
	store.bytes = malloc(REGION);
	assert_non_null(store.bytes);
	for (i = 0; i < REGION; i++)
		store.bytes[i] = i / PAGE;
	atomic_store(&nb_reports, 0);
	space = mmem_space_create(&(struct mmem_space_conf){ .name = "e", .pool = pg.pool,
			.report = on_report, .budget = BUDGET, .window = 1 });
	assert_non_null(space);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	return 0;
}

static inline int
teardown(void **state)
{
	if (space != NULL) {
		assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
		assert_int_equal(mmem_space_destroy(space), 0);
	}
	assert_true(pg.pool->budget.resident == 0);
	free(store.bytes);
	return pg_teardown(state);
}

static inline uint8_t *
alloc(const struct mmem_pager *pager, unsigned int flags)
{
	uint8_t *p = mmem_alloc_paged(space, REGION, flags, pager);

	assert_non_null(p);
	return p;
}

static inline enum smmuv3_model_status
dev_read(const uint8_t *addr, size_t len)
{
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, addr, pg_bytes, len);
	return pg_await(pg.other_dma);
}

static inline void
dev_write(const uint8_t *addr, uint8_t byte)
{
	memset(pg_bytes, byte, 8);
	assert_int_equal(pg_dev_write(pg.other_dma, addr), SMMUV3_MODEL_OK);
}

static inline uint64_t
stat(enum mmem_stat s)
{
	return mmem_stat(space, s);
}

static inline uint64_t
get_resident(void)
{
	uint64_t bytes;

	pthread_mutex_lock(&pg.pool->lock);
	bytes = space->budget.resident;
	pthread_mutex_unlock(&pg.pool->lock);
	return bytes;
}

/* Replace the space by one of another pool. */
static inline struct mmem_pool *
replace_pool(const struct mmem_pool_conf *conf)
{
	struct mmem_pool_conf copy = *conf;
	struct mmem_pool *pool;

	copy.no_userfaultfd = pg_traps;
	pool = mmem_pool_create(&copy);
	assert_non_null(pool);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .report = on_report,
			.window = 1 });
	assert_non_null(space);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	return pool;
}

static inline struct mmem_pool *
make_swapping(const char *path)
{
	return replace_pool(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = 8 * SWAP_BLOCK, .swap = path });
}

static inline void
drop_swapping(struct mmem_pool *pool)
{
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = NULL;
	assert_int_equal(pool->budget.resident, 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

static inline void
make_file(char *path, size_t size)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

#define EV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif /* EVICT_RIG_H */
