/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * More than fits: a budget, eviction, write-back. The pager's store is the test's memory; no byte
 * that a device or a CPU has written may be lost.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
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
	uint8_t *bytes;
	_Atomic unsigned int fills, writes;
	_Atomic unsigned int fills_of_first;	/* of the first block */
	_Atomic int fill_error;
	_Atomic int write_error;
	_Atomic bool hold_writes;
	_Atomic bool hold_copied;	/* writes do not return, and have copied */
	_Atomic bool hold_fills;
	_Atomic uint64_t order[NB_BLOCKS];	/* offsets of the first fills */
	_Atomic unsigned int in_write;
};

static struct store store;
static struct mmem_space *space;
static _Atomic unsigned int nb_reports;
static _Atomic int last_error;

static int
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
	memcpy(dst, s->bytes + offset, len);
	return 0;
}

static int
store_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	struct store *s = ctx;
	int error;

	atomic_fetch_add(&s->writes, 1);
	atomic_fetch_add(&s->in_write, 1);
	while (atomic_load(&s->hold_writes))
		usleep(100);
	error = atomic_load(&s->write_error);
	if (error == 0)
		memcpy(s->bytes + offset, src, len);
	while (atomic_load(&s->hold_copied))
		usleep(100);
	atomic_fetch_sub(&s->in_write, 1);
	return error;
}

static void
on_report(struct mmem_space *s, const struct mmem_report *report, void *ctx)
{
	(void)s;
	(void)ctx;
	atomic_store(&last_error, report->error);
	atomic_fetch_add(&nb_reports, 1);
}

static const struct mmem_pager pager_rw = { .fill = store_fill, .write = store_write,
	.ctx = &store, .fetch_size = BLOCK, .nb_threads = 2 };
static const struct mmem_pager pager_ro = { .fill = store_fill, .ctx = &store,
	.fetch_size = BLOCK };

static int
setup(void **state)
{
	size_t i;

	pg_setup(state);
	memset(&store, 0, sizeof(store));
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

static int
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

static uint8_t *
alloc(const struct mmem_pager *pager, unsigned int flags)
{
	uint8_t *p = mmem_alloc_paged(space, REGION, flags, pager);

	assert_non_null(p);
	return p;
}

static enum smmuv3_model_status
dev_read(const uint8_t *addr, size_t len)
{
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, addr, pg_bytes, len);
	return pg_await(pg.other_dma);
}

static void
dev_write(const uint8_t *addr, uint8_t byte)
{
	memset(pg_bytes, byte, 8);
	assert_int_equal(pg_dev_write(pg.other_dma, addr), SMMUV3_MODEL_OK);
}

static uint64_t
stat(enum mmem_stat s)
{
	return mmem_stat(space, s);
}

static uint64_t
get_resident(void)
{
	uint64_t bytes;

	pthread_mutex_lock(&pg.pool->lock);
	bytes = space->budget.resident;
	pthread_mutex_unlock(&pg.pool->lock);
	return bytes;
}

static void
test_a_device_uses_more_than_the_budget(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	unsigned int round;
	size_t off;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (off = 0; off < REGION; off += PAGE) {
			dev_write(p + off + 8 * round, 0x80 + round + off / PAGE % 64);
			assert_true(get_resident() <= BUDGET);
		}
		for (off = 0; off < REGION; off += PAGE) {
			assert_int_equal(dev_read(p + off, 64), SMMUV3_MODEL_OK);
			assert_int_equal(pg_bytes[8 * round],
					0x80 + round + off / PAGE % 64);
			assert_int_equal(pg_bytes[63], off / PAGE & 0xff);
		}
	}
	assert_true(stat(MMEM_STAT_EVICTED) >= (REGION - BUDGET) / PAGE);
	assert_true(stat(MMEM_STAT_WRITTEN) >= (REGION - BUDGET) / PAGE);
	assert_true(stat(MMEM_STAT_REFILLED) >= (REGION - BUDGET) / PAGE);
	assert_int_equal(atomic_load(&nb_reports), 0);
}

/* The SMMU has the block in its TLB, and sets its access flag only when it reads the entry again. */
static void
test_a_block_that_a_device_uses_all_the_time_stays(void **state)
{
	uint8_t *p = alloc(&pager_ro, MMEM_READ);
	size_t off;
	unsigned int round;

	(void)state;
	for (round = 0; round < 8; round++) {
		for (off = BLOCK; off < REGION; off += BLOCK) {
			assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
			assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		}
	}
	assert_true(stat(MMEM_STAT_EVICTED) >= 8 * (NB_BLOCKS - 1 - 8) / 2);
	assert_in_range(atomic_load(&store.fills_of_first), 1, 8);
}

static void
test_a_cpu_uses_more_than_the_budget(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	for (off = 0; off < REGION; off += PAGE)
		p[off + 1] = 0x91;
	assert_true(get_resident() <= BUDGET);
	for (off = 0; off < REGION; off += PAGE) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[1], 0x91);
		assert_int_equal(pg_bytes[2], off / PAGE & 0xff);
		dev_write(p + off + 16, 0x92);
	}
	for (off = 0; off < REGION; off += PAGE) {
		assert_int_equal(p[off + 1], 0x91);
		assert_int_equal(p[off + 16], 0x92);
	}
	assert_true(get_resident() <= BUDGET);
}

static void
test_blocks_that_are_only_read_are_not_written_back(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	for (off = 0; off < REGION; off += PAGE)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
	assert_true(stat(MMEM_STAT_EVICTED) != 0);
	assert_int_equal(atomic_load(&store.writes), 0);
	if (!pg.pool->cpu_protects)
		return;
	for (off = 0; off < REGION; off += PAGE)
		assert_int_equal(p[off], off / PAGE & 0xff);
	/* The first access finds out whether the kernel can map protected. */
	if (pg.pool->cpu_protects)
		assert_int_equal(atomic_load(&store.writes), 0);
}

/* The CPU's first write comes after a read, which maps the page. */
static void
test_a_write_after_a_read_of_the_cpu_is_kept(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	assert_int_equal(p[PAGE + 5], 1);
	p[PAGE + 5] = 0xa1;
	for (off = BLOCK; off < REGION; off += BLOCK)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
	AWAIT(stat(MMEM_STAT_WRITTEN) != 0);
	get_resident();		/* takes the lock: the write is complete */
	assert_int_equal(p[PAGE + 5], 0xa1);
	assert_int_equal(store.bytes[PAGE + 5], 0xa1);
}

/* A device wrote the page, and then the page lost its mapping or its rights. */
static void
test_unmap_and_protect_keep_what_was_written(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	dev_write(p, 0xb1);
	assert_int_equal(mmem_unmap(space, p, PAGE), 0);
	dev_write(p + BLOCK, 0xb2);
	assert_int_equal(mmem_protect(space, p + BLOCK, PAGE, MMEM_READ), 0);
	for (off = 2 * BLOCK; off < REGION; off += BLOCK)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0xb1);
	assert_int_equal(dev_read(p + BLOCK, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0xb2);
}

static void
test_written_blocks_without_write_back_stay(void **state)
{
	uint8_t *p = alloc(&pager_ro, RW);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xc1);
	/* No room is left: a defined answer, an error to the owner. */
	assert_int_equal(dev_read(p + BUDGET, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -ENOMEM);
	for (off = 0; off < BUDGET; off += BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0xc1);
		assert_int_equal(p[off], 0xc1);
	}
	assert_int_equal(mmem_free(space, p), 0);
	assert_int_equal(get_resident(), 0);
	p = alloc(&pager_ro, RW);
	assert_int_equal(dev_read(p + BUDGET, 8), SMMUV3_MODEL_OK);
}

static void
test_a_failed_write_loses_nothing(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	atomic_store(&store.write_error, -ENOSPC);
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xd1);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(atomic_load(&store.writes) >= BUDGET / BLOCK);
	for (off = 0; off < BUDGET; off += BLOCK)
		assert_int_equal(p[off], 0xd1);
	atomic_store(&store.write_error, 0);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	for (off = 0; off < BUDGET; off += BLOCK) {
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0xd1);
	}
}

/* An access to a block that is being written back waits, and then finds its bytes. */
static void
test_an_access_to_a_leaving_block_fetches_it_again(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	unsigned int i;
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xe1);
	atomic_store(&store.hold_writes, true);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(atomic_load(&store.in_write) != 0);
	for (i = 0; i < BUDGET / BLOCK; i++)
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + i * BLOCK, pg_bytes + 64 * i, 8);
	usleep(WAIT_MS * 1000);
	atomic_store(&store.hold_writes, false);
	for (i = 0; i < BUDGET / BLOCK + 1; i++)
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	for (i = 1; i < BUDGET / BLOCK; i++)
		assert_int_equal(pg_bytes[64 * i], 0xe1);
}

static void *
write_main(void *p)
{
	*(volatile uint8_t *)p = 0xe5;
	return p;
}

/* The write-back has copied the block, and its memory is not released yet. */
static void
test_a_write_of_the_cpu_during_a_write_back_is_kept(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	pthread_t thread;
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		p[off] = 0xe4;
	atomic_store(&store.hold_copied, true);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(atomic_load(&store.in_write) == 1);
	for (off = 0; store.bytes[off] != 0xe4; off += BLOCK)
		assert_true(off < BUDGET);
	assert_int_equal(pthread_create(&thread, NULL, write_main, p + off), 0);
	usleep(WAIT_MS * 1000);
	atomic_store(&store.hold_copied, false);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(p[off], 0xe5);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(store.bytes[off], 0xe5);
}

/* A dead pager: the device gets an answer at the deadline, and the bytes stay. */
static void
test_a_write_that_does_not_end_meets_the_deadline(void **state)
{
	struct mmem_pager pager = pager_rw;
	uint8_t *p;
	size_t off;

	(void)state;
	pager.deadline_ms = WAIT_MS;
	p = alloc(&pager, RW);
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xe2);
	atomic_store(&store.hold_writes, true);
	assert_int_equal(dev_read(p + BUDGET, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -ETIMEDOUT);
	atomic_store(&store.hold_writes, false);
	for (off = 0; off < BUDGET; off += BLOCK) {
		AWAIT(dev_read(p + off, 8) == SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0xe2);
	}
}

static void
test_a_region_is_freed_while_its_blocks_leave(void **state)
{
	uint8_t *p;
	size_t off;
	int i;

	(void)state;
	for (i = 0; i < 20; i++) {
		p = alloc(&pager_rw, RW);
		for (off = 0; off < BUDGET; off += BLOCK)
			dev_write(p + off, 0xf1);
		pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
		assert_int_equal(mmem_free(space, p), 0);
		pg_await(pg.other_dma);
		assert_int_equal(get_resident(), 0);
	}
}

static void
test_a_fetch_that_fails_returns_its_memory(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	atomic_store(&store.fill_error, -EIO);
	for (off = 0; off < 2 * BUDGET; off += BLOCK)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -EIO);
	assert_int_equal(get_resident(), 0);
	atomic_store(&store.fill_error, 0);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(get_resident(), BLOCK);
}

static void
test_a_budget_smaller_than_a_block_is_refused(void **state)
{
	struct mmem_pager pager = pager_rw;

	(void)state;
	pager.fetch_size = 2 * BUDGET;
	assert_null(mmem_alloc_paged(space, REGION, RW, &pager));
	assert_int_equal(rte_errno, EINVAL);
}

static void
test_the_smmu_marks_written_pages_without_a_fault(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	dev_write(p, 0xa5);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), 0);
	for (off = BLOCK; off < REGION; off += BLOCK)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), 0);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0xa5);
	assert_int_equal(atomic_load(&store.writes), 1);
}

static void *
prefetch_main(void *p)
{
	return mmem_prefetch(space, p, BUDGET / 2) == 0 ? p : NULL;
}

static void
test_an_access_goes_before_what_is_fetched_ahead(void **state)
{
	uint8_t *p = alloc(&pager_ro, MMEM_READ);
	pthread_t thread;
	void *done;

	(void)state;
	atomic_store(&store.hold_fills, true);
	assert_int_equal(pthread_create(&thread, NULL, prefetch_main, p), 0);
	AWAIT(atomic_load(&store.fills) == 1);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + 20 * BLOCK, pg_bytes, 8);
	AWAIT(mmem_stat(space, MMEM_STAT_DEFERRED) != 0);
	usleep(WAIT_MS * 1000);
	atomic_store(&store.hold_fills, false);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	assert_int_equal(atomic_load(&store.order[1]), 20 * BLOCK);
}

/*
 * Races
 */

#define NB_WRITES	3000

struct writer {
	pthread_t thread;
	uint8_t *p;
	uint8_t counts[NB_BLOCKS * 4];
	unsigned int seed;
};

/* A CPU adds 1 to byte 40 of random pages. */
static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	unsigned int i, page;

	for (i = 0; i < NB_WRITES; i++) {
		page = rand_r(&w->seed) % (NB_BLOCKS * 4);
		w->p[page * PAGE + 40]++;
		w->counts[page]++;
	}
	return NULL;
}

static void
test_cpu_and_device_writes_race_with_eviction(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW), bytes[8], last[NB_BLOCKS * 4] = { 0 };
	struct writer w = { .p = p, .seed = 7 };
	unsigned int i, page, seed = 9;

	(void)state;
	for (i = 0; i < NB_BLOCKS * 4; i++)
		w.counts[i] = i;
	assert_int_equal(pthread_create(&w.thread, NULL, writer_main, &w), 0);
	for (i = 1; i <= NB_WRITES; i++) {
		page = rand_r(&seed) % (NB_BLOCKS * 4);
		memset(bytes, i, sizeof(bytes));
		last[page] = i;
		pg_submit(pg.other_dma, SMMUV3_MODEL_WRITE, p + page * PAGE + 128, bytes, 8);
		assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
		if (i % 64 == 0)
			assert_int_equal(mmem_unmap(space, p + page * PAGE, PAGE), 0);
	}
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	for (i = 0; i < NB_BLOCKS * 4; i++) {
		assert_int_equal(p[i * PAGE + 40], w.counts[i]);
		assert_int_equal(dev_read(p + i * PAGE, 256), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[40], w.counts[i]);
		if (last[i] != 0)
			assert_int_equal(pg_bytes[128], last[i]);
	}
	assert_true(get_resident() <= BUDGET);
	assert_int_equal(atomic_load(&nb_reports), 0);
}

/*
 * Swap, shared files, mmem_sync()
 */

/* Replace the space by one of a pool that swaps. */
static struct mmem_pool *
make_swapping(const char *path)
{
	struct mmem_pool *pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = 8 * SWAP_BLOCK, .swap = path });

	assert_non_null(pool);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .report = on_report,
			.window = 1 });
	assert_non_null(space);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	return pool;
}

static void
drop_swapping(struct mmem_pool *pool)
{
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = NULL;
	assert_int_equal(pool->budget.resident, 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

static void
make_file(char *path, size_t size)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	close(fd);
}

static void
test_memory_without_a_pager_goes_to_the_swap_file(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	const size_t size = 64 * SWAP_BLOCK;
	struct mmem_pool *pool;
	uint8_t *p, *q;
	size_t off;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	p = mmem_alloc(space, size, RW);
	assert_non_null(p);
	for (off = 0; off < size; off += SWAP_BLOCK) {
		p[off] = 1 + off / SWAP_BLOCK;
		dev_write(p + off + PAGE, 0x40 + off / SWAP_BLOCK);
	}
	for (off = 0; off < size; off += SWAP_BLOCK) {
		assert_int_equal(dev_read(p + off, PAGE + 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 1 + off / SWAP_BLOCK);
		assert_int_equal(pg_bytes[1], 0);
		assert_int_equal(p[off + PAGE], 0x40 + off / SWAP_BLOCK);
	}
	assert_true(pool->budget.resident <= 8 * SWAP_BLOCK);
	assert_true(stat(MMEM_STAT_WRITTEN) != 0);
	/* The next region there is zero. */
	assert_int_equal(mmem_free(space, p), 0);
	q = mmem_alloc(space, size, RW);
	assert_ptr_equal(p, q);
	for (off = 0; off < size; off += SWAP_BLOCK)
		assert_true(q[off] == 0 && q[off + PAGE] == 0);
	drop_swapping(pool);
	unlink(path);
}

static void
test_a_private_file_and_a_pager_go_to_the_swap_file(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX", file[] = "/tmp/iopf-file-XXXXXX";
	struct mmem_pool *pool;
	uint8_t *p, *q;
	size_t off;

	(void)state;
	make_file(path, 0);
	make_file(file, REGION);
	pool = make_swapping(path);
	/* Blocks of 4 pages. */
	q = alloc(&pager_ro, RW);
	for (off = 0; off < REGION; off += BLOCK)
		dev_write(q + off, 0x71);
	for (off = 0; off < REGION; off += BLOCK) {
		assert_int_equal(dev_read(q + off, PAGE + 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0x71);
		assert_int_equal(pg_bytes[PAGE], (off + PAGE) / PAGE & 0xff);
	}
	assert_int_equal(mmem_free(space, q), 0);
	assert_int_equal(atomic_load(&store.writes), 0);
	/* A file has blocks of 2 MiB: more than this budget. */
	p = mmem_map_file(space, file, 0, REGION, RW);
	assert_null(p);
	assert_int_equal(rte_errno, EINVAL);
	drop_swapping(pool);
	unlink(path);
	unlink(file);
}

static void
test_a_shared_file_gets_what_was_written(void **state)
{
	char file[] = "/tmp/iopf-file-XXXXXX";
	uint8_t bytes[2 * PAGE], *p;
	int fd;

	(void)state;
	make_file(file, REGION + 5);
	fd = open(file, O_RDONLY);
	assert_true(fd >= 0);
	/* Without a budget. */
	p = mmem_map_file(pg.space, file, 0, REGION + PAGE, RW | MMEM_SHARED);
	assert_non_null(p);
	p[3] = 0x21;
	memset(pg_bytes, 0x22, 8);
	assert_int_equal(pg_dev_write(pg.dma, p + PAGE), SMMUV3_MODEL_OK);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(bytes[3], 0);
	assert_int_equal(mmem_sync(pg.space, p, REGION), 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(bytes[3], 0x21);
	assert_int_equal(bytes[PAGE], 0x22);
	/* Later writes are noticed again, of both. */
	p[4] = 0x23;
	memset(pg_bytes, 0x24, 8);
	assert_int_equal(pg_dev_write(pg.dma, p + PAGE), SMMUV3_MODEL_OK);
	/* The file is not extended. */
	memset(p + REGION, 0x25, 16);
	assert_int_equal(mmem_free(pg.space, p), 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(bytes[4], 0x23);
	assert_int_equal(bytes[PAGE], 0x24);
	assert_int_equal(pread(fd, bytes, 16, REGION), 5);
	assert_int_equal(bytes[4], 0x25);
	close(fd);
	unlink(file);
}

static void
test_sync_writes_only_what_was_written(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);

	(void)state;
	dev_write(p, 0x31);
	assert_int_equal(dev_read(p + BLOCK, 8), SMMUV3_MODEL_OK);
	p[2 * BLOCK] = 0x32;
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(atomic_load(&store.writes), 2);
	assert_int_equal(store.bytes[0], 0x31);
	assert_int_equal(store.bytes[2 * BLOCK], 0x32);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(atomic_load(&store.writes), 2);
	dev_write(p, 0x33);
	assert_int_equal(mmem_sync(space, p, PAGE), 0);
	assert_int_equal(store.bytes[0], 0x33);
	assert_int_equal(mmem_sync(space, p, 0), -EINVAL);
	assert_int_equal(mmem_sync(space, p + 1, PAGE), -EINVAL);
}

static void
test_a_sync_or_free_that_fails_can_be_repeated(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);

	(void)state;
	dev_write(p, 0x41);
	p[BLOCK] = 0x42;
	atomic_store(&store.write_error, -EIO);
	assert_int_equal(mmem_sync(space, p, REGION), -EIO);
	assert_int_equal(mmem_free(space, p), -EIO);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0x41);
	assert_int_equal(p[BLOCK], 0x42);
	atomic_store(&store.write_error, 0);
	assert_int_equal(mmem_free(space, p), 0);
	assert_int_equal(store.bytes[0], 0x41);
	assert_int_equal(store.bytes[BLOCK], 0x42);
}

/* What was written before a sync is in the store after it, whatever comes meanwhile. */
static void
test_syncs_race_with_writes_and_evictions(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	struct writer w = { .p = p, .seed = 11 };
	unsigned int i, page, seed = 13;

	(void)state;
	for (i = 0; i < NB_BLOCKS * 4; i++)
		w.counts[i] = i;
	assert_int_equal(pthread_create(&w.thread, NULL, writer_main, &w), 0);
	for (i = 1; i <= NB_WRITES / 30; i++) {
		page = rand_r(&seed) % (NB_BLOCKS * 4);
		dev_write(p + page * PAGE + 128, i);
		assert_int_equal(mmem_sync(space, p + page / 4 * BLOCK, BLOCK), 0);
		assert_int_equal(store.bytes[page * PAGE + 128], i & 0xff);
	}
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	assert_int_equal(mmem_free(space, p), 0);
	for (i = 0; i < NB_BLOCKS * 4; i++)
		assert_int_equal(store.bytes[i * PAGE + 40], w.counts[i]);
}

#define EV_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	EV_TEST(test_a_device_uses_more_than_the_budget),
	EV_TEST(test_a_block_that_a_device_uses_all_the_time_stays),
	EV_TEST(test_a_cpu_uses_more_than_the_budget),
	EV_TEST(test_blocks_that_are_only_read_are_not_written_back),
	EV_TEST(test_a_write_after_a_read_of_the_cpu_is_kept),
	EV_TEST(test_unmap_and_protect_keep_what_was_written),
	EV_TEST(test_written_blocks_without_write_back_stay),
	EV_TEST(test_a_failed_write_loses_nothing),
	EV_TEST(test_an_access_to_a_leaving_block_fetches_it_again),
	EV_TEST(test_a_write_of_the_cpu_during_a_write_back_is_kept),
	EV_TEST(test_a_write_that_does_not_end_meets_the_deadline),
	EV_TEST(test_a_region_is_freed_while_its_blocks_leave),
	EV_TEST(test_a_fetch_that_fails_returns_its_memory),
	EV_TEST(test_a_budget_smaller_than_a_block_is_refused),
	EV_TEST(test_an_access_goes_before_what_is_fetched_ahead),
	EV_TEST(test_cpu_and_device_writes_race_with_eviction),
	EV_TEST(test_memory_without_a_pager_goes_to_the_swap_file),
	EV_TEST(test_a_private_file_and_a_pager_go_to_the_swap_file),
	EV_TEST(test_a_shared_file_gets_what_was_written),
	EV_TEST(test_sync_writes_only_what_was_written),
	EV_TEST(test_a_sync_or_free_that_fails_can_be_repeated),
	EV_TEST(test_syncs_race_with_writes_and_evictions),
};
TEST_SUITE(mmem_evict, tests, NULL, NULL);

/* The SMMU sets access flags and the dirty state. */
static int
set_httu(void **state)
{
	(void)state;
	pg_features = SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY;
	return 0;
}

static int
set_no_httu(void **state)
{
	(void)state;
	pg_features = 0;
	return 0;
}

static const struct CMUnitTest httu_tests[] = {
	EV_TEST(test_a_device_uses_more_than_the_budget),
	EV_TEST(test_a_cpu_uses_more_than_the_budget),
	EV_TEST(test_blocks_that_are_only_read_are_not_written_back),
	EV_TEST(test_unmap_and_protect_keep_what_was_written),
	EV_TEST(test_a_failed_write_loses_nothing),
	EV_TEST(test_the_smmu_marks_written_pages_without_a_fault),
	EV_TEST(test_cpu_and_device_writes_race_with_eviction),
	EV_TEST(test_memory_without_a_pager_goes_to_the_swap_file),
	EV_TEST(test_sync_writes_only_what_was_written),
	EV_TEST(test_syncs_race_with_writes_and_evictions),
};
TEST_SUITE(mmem_evict_httu, httu_tests, set_httu, set_no_httu);

/*
 * rev4
 */
#include <sched.h>
#include <sys/mman.h>
int mkfifo(const char *path, mode_t mode);
#include <sys/syscall.h>

/* -1: no answer in this time. */
static int
await_ms(unsigned int ms)
{
	struct smmuv3_model_done done;

	for (; ms != 0; ms--) {
		if (smmuv3_model_dma_poll(pg.other_dma, &done, 1) != 0)
			return done.status;
		usleep(1000);
	}
	return -1;
}

static void
read_start(const uint8_t *p)
{
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p, pg_bytes, 8);
}

static struct mmem_pool *
make_pool_budget(struct mmem_space **a)
{
	struct mmem_pool *pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = BUDGET });

	assert_non_null(pool);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	*a = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .window = 1 });
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .report = on_report,
			.window = 1 });
	assert_non_null(space);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	return pool;
}

static void
r4_a_failed_fetch_gives_its_room_to_the_next(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .start = pg_start,
			.fetch_size = BLOCK });
	uint8_t *p = mmem_alloc_paged(space, REGION, RW, &pager->conf);
	unsigned int i, ms;

	(void)state;
	assert_non_null(p);
	for (i = 0; i < 9; i++)
		read_start(p + i * BLOCK);
	AWAIT(pg_nb_started(pager) == 8);
	usleep(50000);
	assert_int_equal(pg_nb_started(pager), 8);
	pg_finish_fetch(pager, -EIO);
	for (ms = 0; ms < 3000 && pg_nb_started(pager) != 8; ms++)
		usleep(1000);
	i = pg_nb_started(pager);
	print_message("started: %u, resident %lu of %lu\n", i, get_resident(),
			(unsigned long)BUDGET);
	while (pg_nb_started(pager) != 0)
		pg_finish_fetch(pager, 0);
	print_message("after all others ended: %s\n", pg_nb_started(pager) ? "started" : "still");
	usleep(100000);
	print_message("after all others ended: %s\n", pg_nb_started(pager) ? "started" : "still");
	while (pg_nb_started(pager) != 0)
		pg_finish_fetch(pager, 0);
	mmem_free(space, p);
	assert_int_equal(i, 8);
}

static void
r4_pins_of_one_space_do_not_stop_another(void **state)
{
	struct mmem_space *a;
	struct mmem_pool *pool = make_pool_budget(&a);
	uint8_t *pa = mmem_alloc_paged(a, REGION, MMEM_READ, &pager_ro), *p;
	unsigned int i;
	int rc;

	(void)state;
	assert_int_equal(mmem_pin(a, pa, 4 * BLOCK), 0);
	p = alloc(&pager_ro, MMEM_READ);
	for (i = 0; i < 4; i++)
		assert_int_equal(dev_read(p + i * BLOCK, 8), SMMUV3_MODEL_OK);
	read_start(p + 4 * BLOCK);
	rc = await_ms(4000);
	assert_int_equal(mmem_unpin(a, pa, 4 * BLOCK), 0);
	if (rc == -1)
		print_message("no answer in 4 s; after the unpin: %d\n", await_ms(4000));
	assert_int_equal(mmem_space_destroy(a), 0);
	drop_swapping(pool);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
r4_a_space_that_cannot_give_does_not_stop_another(void **state)
{
	struct mmem_space *a;
	struct mmem_pool *pool = make_pool_budget(&a);
	uint8_t *pa = mmem_alloc_paged(a, REGION, RW, &pager_ro), *p;
	unsigned int i;
	int rc;

	(void)state;
	for (i = 0; i < 5; i++)
		pa[i * BLOCK] = 1;
	p = alloc(&pager_ro, MMEM_READ);
	for (i = 0; i < 3; i++)
		assert_int_equal(dev_read(p + i * BLOCK, 8), SMMUV3_MODEL_OK);
	read_start(p + 4 * BLOCK);
	rc = await_ms(4000);
	print_message("status %d error %d\n", rc, atomic_load(&last_error));
	assert_int_equal(mmem_space_destroy(a), 0);
	drop_swapping(pool);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
r4_nothing_can_leave_because_of_pins(void **state)
{
	uint8_t *p = alloc(&pager_ro, RW);
	unsigned int i;
	int rc;

	(void)state;
	assert_int_equal(mmem_pin(space, p, 4 * BLOCK), 0);
	for (i = 4; i < 8; i++)
		dev_write(p + i * BLOCK, 1);
	read_start(p + 8 * BLOCK);
	rc = await_ms(4000);
	assert_int_equal(mmem_unpin(space, p, 4 * BLOCK), 0);
	if (rc == -1)
		print_message("no answer in 4 s; after the unpin: %d\n", await_ms(4000));
	assert_int_equal(rc, SMMUV3_MODEL_ABORTED);
}

static _Atomic unsigned int r4_writes;

static int
r4_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	if (atomic_fetch_add(&r4_writes, 1) != 0) {
		memcpy(store.bytes + offset, src, len);
		return 0;
	}
	(void)ctx;
	atomic_fetch_add(&store.in_write, 1);
	while (atomic_load(&store.hold_writes))
		usleep(100);
	return -EIO;
}

struct r4_call {
	pthread_t thread;
	uint8_t *p;
	const char *path;
	int what, rc;
	_Atomic bool done;
};

static void *
r4_call_main(void *arg)
{
	struct r4_call *c = arg;

	if (c->what == 0)
		c->rc = mmem_sync(space, c->p, BUDGET);
	else if (c->what == 1)
		c->rc = mmem_free(space, c->p);
	else if (c->what == 2)
		c->rc = mmem_hotset_replay(space, c->path, NULL);
	else if (c->what == 3)
		c->rc = mmem_unmap(space, c->p, PAGE);
	else
		c->rc = mmem_sync(space, c->p, REGION);
	atomic_store(&c->done, true);
	return NULL;
}

static void
r4_call_start(struct r4_call *c, int what, uint8_t *p)
{
	*c = (struct r4_call){ .p = p, .what = what, .path = c->path };
	assert_int_equal(pthread_create(&c->thread, NULL, r4_call_main, c), 0);
}

static bool
r4_call_ended(struct r4_call *c, unsigned int ms)
{
	for (; ms != 0 && !atomic_load(&c->done); ms--)
		usleep(1000);
	return atomic_load(&c->done);
}

static void
failed_eviction_write(int what)
{
	struct mmem_pager pager = pager_rw;
	struct r4_call c = { 0 };
	unsigned int i, lost = 0;
	uint8_t *p;

	pager.write = r4_write;
	atomic_store(&r4_writes, 0);
	p = alloc(&pager, RW);
	for (i = 0; i < 8; i++)
		dev_write(p + i * BLOCK, 0xd1);
	atomic_store(&store.hold_writes, true);
	read_start(p + BUDGET);
	AWAIT(atomic_load(&store.in_write) == 1);
	r4_call_start(&c, what, p);
	usleep(100000);
	atomic_store(&store.hold_writes, false);
	pthread_join(c.thread, NULL);
	for (i = 0; i < 8; i++)
		lost += store.bytes[i * BLOCK] != 0xd1;
	print_message("rc %d, written blocks that are not in the store: %u\n", c.rc, lost);
	await_ms(4000);
	assert_true(c.rc < 0 || lost == 0);
}

static void
r4_sync_tells_of_a_write_that_failed(void **state)
{
	(void)state;
	failed_eviction_write(0);
}

static void
r4_free_loses_nothing_if_a_write_failed(void **state)
{
	(void)state;
	failed_eviction_write(1);
}

static void
r4_a_dead_writer_costs_itself_alone(void **state)
{
	uint8_t *a = alloc(&pager_rw, RW), *b = alloc(&pager_ro, MMEM_READ);
	unsigned int i;
	int rc = 0;

	(void)state;
	for (i = 0; i < 2; i++)
		dev_write(a + i * BLOCK, 1);
	atomic_store(&store.hold_writes, true);
	for (i = 0; i < 640 && rc == SMMUV3_MODEL_OK; i++) {
		read_start(b + i % 64 * BLOCK);
		rc = await_ms(4000);
	}
	print_message("%u reads of the other region, last %d\n", i, rc);
	atomic_store(&store.hold_writes, false);
	if (rc == -1)
		print_message("no answer in 4 s; after the write: %d\n", await_ms(4000));
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
r4_free_waits_wait_ms_for_a_write(void **state)
{
	struct r4_call c = { 0 };
	bool ended;
	uint8_t *p;

	(void)state;
	space->wait_ms = 50;
	p = alloc(&pager_rw, RW);
	dev_write(p, 1);
	atomic_store(&store.hold_writes, true);
	r4_call_start(&c, 1, p);
	ended = r4_call_ended(&c, 4000);
	atomic_store(&store.hold_writes, false);
	pthread_join(c.thread, NULL);
	space->wait_ms = 5000;
	assert_true(ended);
}

static void
r4_a_hot_set_file_is_not_read_under_the_lock(void **state)
{
	char path[] = "/tmp/iopf-rev4-fifo";
	struct r4_call c = { .path = path }, u = { 0 };
	bool ended;
	uint8_t *p;
	int fd;

	(void)state;
	p = alloc(&pager_ro, MMEM_READ);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fd = open(path, O_RDWR);
	r4_call_start(&c, 2, p);
	usleep(100000);
	r4_call_start(&u, 3, p);
	ended = r4_call_ended(&u, 4000);
	assert_int_equal(write(fd, "x\n", 2), 2);
	pthread_join(c.thread, NULL);
	pthread_join(u.thread, NULL);
	close(fd);
	unlink(path);
	assert_true(ended);
}

static void
r4_a_swap_file_has_one_owner(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct mmem_pool *pool, *second;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	second = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = 8 * SWAP_BLOCK, .swap = path });
	if (second != NULL)
		mmem_pool_destroy(second);
	drop_swapping(pool);
	unlink(path);
	assert_null(second);
}

struct r4_sync {
	uint8_t *p;
	_Atomic unsigned int go, done;
	_Atomic bool quit;
};

static void *
r4_sync_main(void *arg)
{
	struct r4_sync *s = arg;
	unsigned int n = 0;

	while (!atomic_load(&s->quit)) {
		if (atomic_load(&s->go) == n) {
			sched_yield();
			continue;
		}
		n++;
		usleep(n % 64);
		mmem_sync(space, s->p, BLOCK);
		atomic_store(&s->done, n);
	}
	return NULL;
}

static void
r4_a_cpu_write_that_races_with_a_sync_is_kept(void **state)
{
	struct r4_sync s = { .p = alloc(&pager_rw, RW) };
	volatile uint8_t *p = s.p;
	unsigned int i, lost = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, r4_sync_main, &s), 0);
	for (i = 1; i < 6000; i++) {
		assert_int_equal(mmem_sync(space, s.p, BLOCK), 0);
		atomic_store(&s.go, i);
		p[0] = i;
		while (atomic_load(&s.done) != i)
			sched_yield();
		p[1] = i;
		assert_int_equal(mmem_sync(space, s.p, BLOCK), 0);
		lost += store.bytes[1] != (i & 0xff);
	}
	atomic_store(&s.quit, true);
	pthread_join(thread, NULL);
	print_message("lost %u of %u\n", lost, i);
	assert_int_equal(lost, 0);
}

static void (*r4_in_fallocate)(void);
int fallocate64(int fd, int mode, off64_t off, off64_t len);
int
fallocate64(int fd, int mode, off64_t off, off64_t len)
{
	void (*f)(void) = r4_in_fallocate;

	r4_in_fallocate = NULL;
	if (f != NULL)
		f();
	return syscall(SYS_fallocate, fd, mode, off, len);
}

static uint8_t *r4_new;
static void
r4_alloc_inside(void)
{
	size_t off;

	r4_new = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	for (off = 0; off < 64 * SWAP_BLOCK; off += SWAP_BLOCK)
		r4_new[off] = 0x5a;
}

static void
r4_a_free_does_not_touch_the_swap_of_the_next_region(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct mmem_pool *pool;
	unsigned int lost = 0;
	uint8_t *p;
	size_t off;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	r4_in_fallocate = r4_alloc_inside;
	assert_int_equal(mmem_free(space, p), 0);
	print_message("hook ran: %d, same chunks: %d\n", r4_in_fallocate == NULL, r4_new == p);
	for (off = 0; off < 64 * SWAP_BLOCK && r4_new != NULL; off += SWAP_BLOCK)
		lost += r4_new[off] != 0x5a;
	print_message("lost blocks %u of 64\n", lost);
	drop_swapping(pool);
	unlink(path);
	assert_int_equal(lost, 0);
}

static void
r4_populate_keeps_the_budget(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	static unsigned char vec[64 * 16];
	struct mmem_pool *pool;
	unsigned int i, n = 0;
	uint8_t *p;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW | MMEM_POPULATE);
	assert_non_null(p);
	assert_int_equal(mincore(pool->dev + (p - pool->mem), 64 * SWAP_BLOCK, vec), 0);
	for (i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	print_message("%u KiB in memory, budget %u KiB, resident %lu\n", n * 4,
			(unsigned int)(8 * SWAP_BLOCK / 1024), pool->budget.resident);
	drop_swapping(pool);
	unlink(path);
	assert_true(n * PAGE <= 8 * SWAP_BLOCK);
}

static int
r4_slow_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	(void)ctx;
	usleep(1000);
	memcpy(store.bytes + offset, src, len);
	return 0;
}

static void
r4_a_sync_ends_while_blocks_leave_all_the_time(void **state)
{
	struct mmem_pager pager = pager_rw;
	struct r4_call c = { 0 };
	struct smmuv3_model_done done;
	unsigned int i, busy = 0, seed = 3, ops = 0;
	static uint8_t bytes[8];
	bool ended;
	uint8_t *p;

	(void)state;
	pager.write = r4_slow_write;
	p = alloc(&pager, RW);
	for (i = 0; i < 10000 && !(i > 200 && atomic_load(&c.done)); i++) {
		while (busy < 32) {
			pg_submit(pg.other_dma, SMMUV3_MODEL_WRITE, p + rand_r(&seed) % 64 * BLOCK,
					bytes, 8);
			busy++;
		}
		while (smmuv3_model_dma_poll(pg.other_dma, &done, 1) != 0) {
			busy--;
			ops++;
		}
		if (i == 200)
			r4_call_start(&c, 4, p);
		usleep(1000);
	}
	ended = atomic_load(&c.done);
	print_message("sync ended: %d after %u ms, %u writes of the device\n", ended, i - 200, ops);
	while (busy-- != 0)
		pg_await(pg.other_dma);
	pthread_join(c.thread, NULL);
	assert_true(ended);
}

static int
r4_slower_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	(void)ctx;
	usleep(60000);
	memcpy(store.bytes + offset, src, len);
	return 0;
}

static void
r4_accesses_do_not_wait_for_all_of_a_sync(void **state)
{
	struct mmem_pager pager = pager_rw;
	struct r4_call c = { 0 };
	unsigned int i;
	uint8_t *p;
	int rc;

	(void)state;
	pager.write = r4_slower_write;
	pager.nb_threads = 1;
	pager.deadline_ms = 200;
	p = alloc(&pager, RW);
	for (i = 0; i < 7; i++)
		dev_write(p + i * BLOCK, 1);
	r4_call_start(&c, 0, p);
	usleep(30000);
	read_start(p + 20 * BLOCK);
	rc = await_ms(4000);
	pthread_join(c.thread, NULL);
	print_message("status %d error %d, sync %d\n", rc, atomic_load(&last_error), c.rc);
	assert_int_equal(rc, SMMUV3_MODEL_OK);
}

static void
r4_mlockall_keeps_the_budget(void **state)
{
	static unsigned char vec[64 * 16];
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct mmem_pool *pool;
	unsigned int i, n = 0;
	uint8_t *p;
	size_t off;

	(void)state;
	make_file(path, 0);
	if (mlockall(MCL_FUTURE | MCL_ONFAULT) < 0)
		skip();
	pool = make_swapping(path);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	assert_non_null(p);
	for (off = 0; off < 64 * SWAP_BLOCK; off += SWAP_BLOCK)
		dev_write(p + off, 1);
	assert_int_equal(mincore(pool->dev + (p - pool->mem), 64 * SWAP_BLOCK, vec), 0);
	for (i = 0; i < sizeof(vec); i++)
		n += vec[i] & 1;
	print_message("%u KiB in memory, budget %u KiB, resident %lu\n", n * 4,
			(unsigned int)(8 * SWAP_BLOCK / 1024), pool->budget.resident);
	drop_swapping(pool);
	munlockall();
	unlink(path);
	assert_true(n * PAGE <= 8 * SWAP_BLOCK);
}

#include <signal.h>
#include <sys/resource.h>

static _Atomic unsigned int r4_signals;
static void
on_xfsz(int sig)
{
	(void)sig;
	atomic_fetch_add(&r4_signals, 1);
}

static void
r4_a_swap_file_past_rlimit_fsize_is_an_error_not_a_signal(void **state)
{
	char path[] = "/tmp/iopf-swap-XXXXXX";
	struct rlimit old, low;
	struct mmem_pool *pool;
	unsigned int i;
	uint8_t *p;

	(void)state;
	make_file(path, 0);
	pool = make_swapping(path);
	signal(SIGXFSZ, on_xfsz);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	low.rlim_cur = SWAP_BLOCK;
	setrlimit(RLIMIT_FSIZE, &low);
	p = mmem_alloc(space, 64 * SWAP_BLOCK, RW);
	for (i = 0; i < 8; i++)
		dev_write(p + i * SWAP_BLOCK, 1);
	for (i = 8; i < 14; i++) {
		read_start(p + i * SWAP_BLOCK);
		await_ms(300);
	}
	setrlimit(RLIMIT_FSIZE, &old);
	for (i = 0; i < 6; i++)
		await_ms(700);
	signal(SIGXFSZ, SIG_DFL);
	drop_swapping(pool);
	unlink(path);
	print_message("SIGXFSZ: %u\n", r4_signals);
	assert_int_equal(r4_signals, 0);
}

static const struct CMUnitTest r4_tests[] = {
	EV_TEST(r4_a_swap_file_past_rlimit_fsize_is_an_error_not_a_signal),
	EV_TEST(r4_accesses_do_not_wait_for_all_of_a_sync),
	EV_TEST(r4_mlockall_keeps_the_budget),
	EV_TEST(r4_a_failed_fetch_gives_its_room_to_the_next),
	EV_TEST(r4_pins_of_one_space_do_not_stop_another),
	EV_TEST(r4_a_space_that_cannot_give_does_not_stop_another),
	EV_TEST(r4_nothing_can_leave_because_of_pins),
	EV_TEST(r4_sync_tells_of_a_write_that_failed),
	EV_TEST(r4_free_loses_nothing_if_a_write_failed),
	EV_TEST(r4_a_dead_writer_costs_itself_alone),
	EV_TEST(r4_free_waits_wait_ms_for_a_write),
	EV_TEST(r4_a_hot_set_file_is_not_read_under_the_lock),
	EV_TEST(r4_a_swap_file_has_one_owner),
	EV_TEST(r4_a_cpu_write_that_races_with_a_sync_is_kept),
	EV_TEST(r4_a_free_does_not_touch_the_swap_of_the_next_region),
	EV_TEST(r4_populate_keeps_the_budget),
	EV_TEST(r4_a_sync_ends_while_blocks_leave_all_the_time),
};
TEST_SUITE(mmem_rev4, r4_tests, NULL, NULL);
