/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A region moves to other memory while devices and CPUs use it: no write is lost, and no device
 * reaches the old memory.
 */

#include "mmem_dirty.h"
#include "mmem_frame.h"
#include "mmem_move.h"
#include "writers_rig.h"

static unsigned int
get_frame(const uint8_t *p)
{
	return mmem_chunk_get_frame(pg.pool, (size_t)(p - pg.pool->mem) >> MMEM_CHUNK_LOG2);
}

static void
move(uint8_t *p, size_t len)
{
	unsigned int before = get_frame(p);
	int rc = mmem_move(space, p, len, MMEM_ANY_NODE);

	if (rc == -ENOTSUP)
		test_skip("userfaultfd with write protection of shared memory is needed");
	assert_int_equal(rc, 0);
	assert_int_not_equal(get_frame(p), before);
}

/* CPU and device read and write the same bytes. */
static void
expect_one_memory(uint8_t *p, uint8_t seed)
{
	size_t off;

	for (off = 0; off < REGION; off += 5 * PAGE) {
		p[off] = seed;
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], seed);
		dev_write(p + off + 8, seed + 1);
		assert_int_equal(p[off + 8], (uint8_t)(seed + 1));
		assert_int_equal(p[off], seed);
	}
}

static void
move_with_contents(unsigned int flags)
{
	uint8_t *p = mmem_alloc(space, 2 * CHUNK + PAGE, RW | flags);
	unsigned int i;
	size_t off;

	assert_non_null(p);
	for (off = 0; off <= 2 * CHUNK; off += PAGE)
		p[off] = 1 + off / PAGE % 251;
	for (i = 0; i < 3; i++) {
		for (off = 0; off <= 2 * CHUNK; off += 17 * PAGE)
			dev_write(p + off + 8 + 8 * i, 0x30 + i);
		move(p, 2 * CHUNK + PAGE);
		for (off = 0; off <= 2 * CHUNK; off += PAGE)
			assert_int_equal(p[off], 1 + off / PAGE % 251);
		for (off = 0; off <= 2 * CHUNK; off += 17 * PAGE) {
			assert_int_equal(dev_read(p + off, 64), SMMUV3_MODEL_OK);
			assert_int_equal(pg_bytes[0], 1 + off / PAGE % 251);
			assert_int_equal(pg_bytes[8 + 8 * i], 0x30 + i);
		}
		expect_one_memory(p, 0x70 + i);
		for (off = 0; off <= 2 * CHUNK; off += PAGE)
			p[off] = 1 + off / PAGE % 251;
	}
	assert_int_equal(mmem_free(space, p), 0);
	/* The next region there has its memory, which is zero. */
	p = mmem_alloc(space, 2 * CHUNK, RW);
	assert_non_null(p);
	assert_true(pg_is_filled_with(p, 0, 2 * CHUNK));
	expect_one_memory(p, 0x11);
	assert_int_equal(mmem_free(space, p), 0);
}

static void
test_a_region_has_other_memory_and_the_same_contents(void **state)
{
	(void)state;
	move_with_contents(0);
	move_with_contents(MMEM_HUGE);
}

/* All other chunks are given back, and each frame has one chunk. */
static void
test_the_pool_stays_whole(void **state)
{
	struct mmem_pool *pool = pg.pool;
	uint8_t *p = mmem_alloc(space, CHUNK, RW), *all[NB_CHUNKS];
	bool used[NB_CHUNKS] = { false };
	unsigned int i, n;

	(void)state;
	assert_non_null(p);
	for (n = 0; n < NB_CHUNKS; n++) {
		all[n] = mmem_alloc(space, CHUNK, RW);
		if (all[n] == NULL)
			break;
		all[n][0] = 0xee;
	}
	assert_int_equal(mmem_move(space, p, CHUNK, MMEM_ANY_NODE), -ENOMEM);
	expect_one_memory(p, 0x21);
	for (i = 0; i < n; i++)
		assert_int_equal(mmem_free(space, all[i]), 0);
	for (i = 0; i < 5; i++)
		move(p, PAGE);
	for (i = 0; i < NB_CHUNKS; i++) {
		assert_false(used[mmem_chunk_get_frame(pool, i)]);
		used[mmem_chunk_get_frame(pool, i)] = true;
		assert_int_equal(pool->chunks[i].dma, pool->frame_dma[mmem_chunk_get_frame(pool,
				i)]);
	}
	for (i = 0; i < n; i++) {
		all[i] = mmem_alloc(space, CHUNK, RW);
		assert_non_null(all[i]);
		assert_int_equal(all[i][0], 0);
		dev_write(all[i], i + 1);
		assert_int_equal(all[i][0], i + 1);
	}
	/* Tables are in chunks that have exchanged frames, too. */
	expect_one_memory(p, 0x22);
}

/* Absent contents stay absent, and are fetched to the new memory. */
static void
test_a_region_with_a_pager_moves(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	unsigned int i, fills;
	size_t off;

	(void)state;
	dev_write(p + PAGE, 0x41);
	p[2 * PAGE] = 0x42;
	assert_int_equal(mmem_pin(space, p + BLOCK, BLOCK), 0);
	p[BLOCK] = 0x43;
	fills = atomic_load(&store.fills);
	move(p, REGION);
	assert_int_equal(get_resident(), 2 * BLOCK);
	assert_int_equal(p[PAGE], 0x41);
	assert_int_equal(p[2 * PAGE], 0x42);
	assert_int_equal(p[BLOCK], 0x43);
	assert_int_equal(p[3 * PAGE], 3);
	assert_int_equal(atomic_load(&store.fills), fills);
	assert_int_equal(mmem_unpin(space, p + BLOCK, BLOCK), 0);
	for (i = 0; i < 3; i++) {
		for (off = 3 * BLOCK; off < REGION; off += PAGE) {
			dev_write(p + off + 16, off / PAGE);
			assert_int_equal(p[off + 1], off / PAGE & 0xff);
			p[off + 30] = i;
		}
		move(p, REGION);
		assert_true(get_resident() <= BUDGET);
	}
	for (off = 3 * BLOCK; off < REGION; off += PAGE) {
		assert_int_equal(dev_read(p + off, 64), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[16], off / PAGE & 0xff);
		assert_int_equal(pg_bytes[30], 2);
	}
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(store_get(PAGE), 0x41);
	assert_int_equal(store_get(BLOCK), 0x43);
}

/* Without write-back, and unwatched. */
static void
test_a_region_without_blocks_moves(void **state)
{
	struct mmem_space *limited = space;
	unsigned int flags;
	uint8_t *p;

	(void)state;
	space = pg.other;
	assert_int_equal(mmem_detach(limited, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	for (flags = 0; flags <= MMEM_CPU_LATER; flags += MMEM_CPU_LATER) {
		p = alloc(&pager_ro, RW | flags);
		dev_write(p + PAGE, 0x51);
		p[PAGE + 8] = 0x52;
		move(p, REGION);
		assert_int_equal(p[PAGE], 0x51);
		assert_int_equal(p[PAGE + 8], 0x52);
		assert_int_equal(dev_read(p + 9 * BLOCK, 8), SMMUV3_MODEL_OK);
		assert_int_equal(p[9 * BLOCK], 9 * BLOCK / PAGE);
		dev_write(p + 9 * BLOCK, 0x53);
		assert_int_equal(p[9 * BLOCK], 0x53);
		assert_int_equal(mmem_free(space, p), 0);
	}
	p = mmem_alloc(space, REGION, RW | MMEM_ZERO_INLINE);
	assert_non_null(p);
	memset(p, 0xee, REGION);
	assert_int_equal(mmem_free(space, p), 0);
	p = mmem_alloc(space, REGION, RW | MMEM_ZERO_INLINE);
	assert_non_null(p);
	dev_write(p, 1);
	move(p, REGION);
	assert_int_equal(dev_read(p, 64), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[7], 1);
	assert_int_equal(pg_bytes[8], 0);
	assert_int_equal(dev_read(p + 7 * PAGE, 64), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, 0, 64));
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	space = limited;
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
}

/* A move writes no page, and the writes after it are seen. */
static void
test_a_tracked_region_moves(void **state)
{
	uint64_t map[MMEM_DIRTY_WORDS(REGION)];
	uint8_t *p;
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		p = i == 0 ? mmem_alloc(space, REGION, RW) : alloc(&pager_rw, RW);
		assert_non_null(p);
		if (mmem_dirty_start(space, p) == -ENOTSUP)
			test_skip("userfaultfd with write protection of shared memory is needed");
		p[PAGE] = 1;
		dev_write(p + 2 * PAGE, 1);
		move(p, REGION);
		assert_int_equal(mmem_dirty_harvest(space, p, REGION, map), 0);
		assert_int_equal(map[0], 6);
		move(p, REGION);
		assert_int_equal(mmem_dirty_harvest(space, p, REGION, map), 0);
		assert_int_equal(map[0], 0);
		move(p, REGION);
		p[PAGE] = 2;
		p[3 * PAGE] = 1;
		dev_write(p + 2 * PAGE, 2);
		assert_int_equal(mmem_dirty_harvest(space, p, REGION, map), 0);
		assert_int_equal(map[0], 14);
		assert_int_equal(mmem_free(space, p), 0);
	}
}

/* The code of doc/guides/moving.rst. */

/* Give a region memory of a node, as far as there is some. */
static int
bring_near(struct mmem_space *to, uint8_t *buf, size_t size, int node)
{
	const size_t step = 64 * MMEM_CHUNK_SIZE;
	size_t off;
	int rc = 0;

	for (off = 0; off < size && rc == 0; off += step)
		rc = mmem_move(to, buf + off, RTE_MIN(step, size - off), node);
	/* What has not moved is as before. */
	return rc == -ENOMEM ? 0 : rc;
}

static void
test_memory_comes_from_a_node(void **state)
{
	uint8_t *p = mmem_alloc(space, REGION, RW);
	int rc;

	(void)state;
	assert_non_null(p);
	p[PAGE] = 1;
	rc = bring_near(space, p, REGION, 0);
	if (rc == -EPERM || rc == -ENOTSUP)
		test_skip("mbind() and userfaultfd with write protection are needed");
	assert_int_equal(rc, 0);
	assert_int_equal(p[PAGE], 1);
	assert_int_equal(mmem_move(space, p, REGION, 1000), -EINVAL);
	assert_int_equal(mmem_move(space, p, REGION, 1 << 20), -EINVAL);
	assert_int_equal(mmem_move(space, p, REGION, -2), -EINVAL);
	expect_one_memory(p, 3);
}

static void
test_ranges_that_cannot_move_are_refused(void **state)
{
	uint8_t *p = mmem_alloc(space, REGION, RW);
	uint8_t *import = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			0);

	(void)state;
	assert_non_null(p);
	assert_ptr_not_equal(import, MAP_FAILED);
	assert_int_equal(mmem_import(space, import, PAGE, RW), 0);
	assert_int_equal(mmem_move(space, import, PAGE, MMEM_ANY_NODE), -EINVAL);
	assert_int_equal(mmem_move(space, p, 0, MMEM_ANY_NODE), -EINVAL);
	assert_int_equal(mmem_move(space, p + 1, PAGE, MMEM_ANY_NODE), -EINVAL);
	assert_int_equal(mmem_move(space, p, REGION + CHUNK, MMEM_ANY_NODE), -EINVAL);
	assert_int_equal(mmem_release(space, import), 0);
	munmap(import, PAGE);
}

/* The pager has the memory as long as it has not returned. */
static void
test_a_move_waits_for_the_pager(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = BLOCK });
	uint8_t *p = pg_alloc(REGION, pager);

	(void)state;
	pg_hold_fetch(pager, p);
	assert_int_equal(mmem_move(pg.space, p, REGION, MMEM_ANY_NODE), -ETIMEDOUT);
	atomic_store(&pager->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_move(pg.space, p, REGION, MMEM_ANY_NODE), 0);
	assert_int_equal(p[5], pg_byte_at(pager, 0));
	assert_int_equal(p[BLOCK], pg_byte_at(pager, BLOCK));
}

/* A thread that populates the chunk goes on. */
static void
test_a_move_that_timed_out_leaves_the_chunk_to_its_user(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = BLOCK });
	uint8_t *p = pg_alloc(REGION, pager);
	struct mmem_chunk *chunk = &pg.pool->chunks[(p - pg.pool->mem) / CHUNK];

	(void)state;
	pg_hold_fetch(pager, p);
	atomic_fetch_or(&chunk->state, CHUNK_BUSY);
	assert_int_equal(mmem_move(pg.space, p, REGION, MMEM_ANY_NODE), -ETIMEDOUT);
	assert_true(atomic_fetch_and(&chunk->state, ~CHUNK_BUSY) & CHUNK_BUSY);
	atomic_store(&pager->hold, false);
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
}

/*
 * Races
 */

#define NB_WRITES	60

static void *
mover_main(void *p)
{
	while (!atomic_load(&writers_end)) {
		assert_int_equal(mmem_move(space, p, REGION, MMEM_ANY_NODE), 0);
		if (atomic_fetch_add(&nb_turns, 1) % 4 == 3)
			assert_int_equal(mmem_sync(space, p, REGION), 0);
		usleep(1000);
	}
	return NULL;
}

static void
move_while_it_is_written(uint8_t *p)
{
	unsigned int i;
	size_t page;

	move(p, REGION);
	write_beside(p, NB_WRITES, mover_main);
	for (page = 0; page < NB_PAGES; page++) {
		for (i = 0; i < NB_CPUS; i++)
			if (cpus[i].last[page] != 0)
				assert_int_equal(cpu_load(word_at(cpus[i].words, page, i)),
						cpus[i].last[page]);
		assert_int_equal(dev_read(p + page * PAGE, 64), SMMUV3_MODEL_OK);
		if (dev.last[page] != 0)
			assert_memory_equal(pg_bytes + 8 * NB_CPUS, &dev.last[page], 8);
	}
}

static void
test_devices_and_cpus_write_while_a_region_moves(void **state)
{
	uint8_t *p;

	(void)state;
	move_while_it_is_written(alloc(&pager_rw, RW));
	assert_true(stat(MMEM_STAT_EVICTED) != 0);
	p = mmem_alloc(space, REGION, RW);
	assert_non_null(p);
	move_while_it_is_written(p);
}

static const struct CMUnitTest tests[] = {
	EV_TEST(test_a_region_has_other_memory_and_the_same_contents),
	EV_TEST(test_the_pool_stays_whole),
	EV_TEST(test_a_region_with_a_pager_moves),
	EV_TEST(test_a_region_without_blocks_moves),
	EV_TEST(test_a_tracked_region_moves),
	EV_TEST(test_memory_comes_from_a_node),
	EV_TEST(test_ranges_that_cannot_move_are_refused),
	EV_TEST(test_a_move_waits_for_the_pager),
	EV_TEST(test_a_move_that_timed_out_leaves_the_chunk_to_its_user),
	EV_TEST(test_devices_and_cpus_write_while_a_region_moves),
};
TEST_SUITE(mmem_move, tests, NULL, NULL);
TEST_SUITE(mmem_move_traps, tests, pg_set_traps, pg_set_no_traps);
