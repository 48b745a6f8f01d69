/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * More than fits: a budget, eviction, write-back. No byte that a device or a CPU has written may be
 * lost.
 */

#include "evict_rig.h"

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

/* The SMMU has the block in its TLB, and sets its access flag when it reads the entry again. */
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
	atomic_store(&store.copied_at, UINT64_MAX);
	atomic_store(&store.hold_copied, true);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(atomic_load(&store.copied_at) != UINT64_MAX);
	off = atomic_load(&store.copied_at);
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

#define NB_WRITES	1000

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
		assert_int_equal(store_get(page * PAGE + 128), i & 0xff);
	}
	assert_int_equal(pthread_join(w.thread, NULL), 0);
	assert_int_equal(mmem_free(space, p), 0);
	for (i = 0; i < NB_BLOCKS * 4; i++)
		assert_int_equal(store.bytes[i * PAGE + 40], w.counts[i]);
}

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
TEST_SUITE(mmem_evict_traps, tests, pg_set_traps, pg_set_no_traps);

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
