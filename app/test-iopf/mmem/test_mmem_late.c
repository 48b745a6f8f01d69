/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A pager whose write is slow, or never returns: it costs its own region alone. */

#include "evict_rig.h"
#include "mmem_fetch.h"
#include "mmem_region.h"

/* Beside store: its pager's writes end. */
static struct store alive;
static struct mmem_space *neighbour;

static struct mmem_pager pager_alive;

static int
setup_late(void **state)
{
	int rc = setup(state);

	memset(&alive, 0, sizeof(alive));
	pthread_mutex_init(&alive.lock, NULL);
	alive.bytes = calloc(1, REGION);
	assert_non_null(alive.bytes);
	pager_alive = pager_rw;
	pager_alive.ctx = &alive;
	neighbour = NULL;
	return rc;
}

static int
teardown_late(void **state)
{
	int rc;

	atomic_store(&store.hold_writes, false);
	if (neighbour != NULL)
		assert_int_equal(mmem_space_destroy(neighbour), 0);
	rc = teardown(state);
	free(alive.bytes);
	return rc;
}

static uint8_t *
alloc_in(struct mmem_space *where, const struct mmem_pager *pager)
{
	uint8_t *p = mmem_alloc_paged(where, REGION, RW, pager);

	assert_non_null(p);
	return p;
}

/* Bytes of the CPU, in all blocks, more than the budget: each must come back. */
static void
use_all(uint8_t *p, uint8_t byte)
{
	size_t off;

	for (off = 0; off < REGION; off += BLOCK)
		p[off] = byte;
	for (off = 0; off < REGION; off += BLOCK)
		assert_int_equal(p[off], byte);
}

/* Both regions count in the budget of one space. */
static void
test_a_dead_writer_does_not_hold_up_other_regions(void **state)
{
	uint8_t *dead = alloc(&pager_rw, RW), *p = alloc_in(space, &pager_alive);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET / 2; off += BLOCK)
		dev_write(dead + off, 0x91);
	atomic_store(&store.hold_writes, true);
	use_all(p, 0x92);
	use_all(p, 0x93);
	assert_true(get_resident() <= BUDGET);
	assert_true(atomic_load(&store.in_write) != 0);
	assert_true(stat(MMEM_STAT_LATE_WRITES) != 0);
	assert_int_equal(atomic_load(&nb_reports), 0);
	atomic_store(&store.hold_writes, false);
	for (off = 0; off < BUDGET / 2; off += BLOCK) {
		assert_int_equal(dev_read(dead + off, 8), SMMUV3_MODEL_OK);
		assert_int_equal(pg_bytes[0], 0x91);
	}
}

/* Write-backs of a region that are late now. */
static unsigned int
count_late(const uint8_t *p)
{
	unsigned int n;

	pthread_mutex_lock(&pg.pool->lock);
	n = pg.pool->chunks[(p - pg.pool->mem) / CHUNK].region->nb_late;
	pthread_mutex_unlock(&pg.pool->lock);
	return n;
}

/* A block of its that a write has not begun for is in memory, and in use. */
static void
test_a_dead_writer_keeps_only_the_blocks_that_it_has(void **state)
{
	uint8_t *dead = alloc(&pager_rw, RW), *p = alloc_in(space, &pager_alive);
	unsigned int inside;
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET / 2; off += BLOCK)
		dead[off] = 0xa1;
	atomic_store(&store.hold_writes, true);
	use_all(p, 0xa2);
	AWAIT(count_late(dead) != 0 && count_late(dead) == atomic_load(&store.in_write));
	inside = count_late(dead);
	assert_in_range(inside, 1, pager_rw.nb_threads);
	use_all(p, 0xa3);
	assert_int_equal(count_late(dead), inside);
	/* The others are in memory. */
	pthread_mutex_lock(&pg.pool->lock);
	assert_int_equal(pg.pool->chunks[(dead - pg.pool->mem) / CHUNK].region->nb_leaving, inside);
	pthread_mutex_unlock(&pg.pool->lock);
	atomic_store(&store.hold_writes, false);
	assert_int_equal(mmem_sync(space, dead, REGION), 0);
	for (off = 0; off < BUDGET / 2; off += BLOCK)
		assert_int_equal(store.bytes[off], 0xa1);
}

/*
 * A space with most memory of a pool, whose write-backs do not succeed, and a neighbour that uses
 * more than the pool has. @p begin and @p end are the trouble.
 */
static void
neighbour_goes_on(void (*begin)(uint8_t *p), void (*end)(void))
{
	struct mmem_pool *pool = replace_pool(&(struct mmem_pool_conf){ .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .budget = BUDGET });
	uint8_t *bad = alloc(&pager_rw, RW), *p;
	size_t off;

	neighbour = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(neighbour);
	p = alloc_in(neighbour, &pager_alive);
	for (off = 0; off < BUDGET / 4 * 3; off += BLOCK)
		bad[off] = 0xb1;
	begin(bad);
	use_all(p, 0xb2);
	use_all(p, 0xb3);
	assert_true(atomic_load(&store.writes) != 0);
	end();
	for (off = 0; off < BUDGET / 4 * 3; off += BLOCK)
		assert_int_equal(bad[off], 0xb1);
	assert_int_equal(mmem_space_destroy(neighbour), 0);
	neighbour = NULL;
	drop_swapping(pool);
}

/* The dead one's own accesses wait. */
static void
begin_death(uint8_t *p)
{
	atomic_store(&store.hold_writes, true);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
}

static void
end_death(void)
{
	assert_true(atomic_load(&store.in_write) != 0);
	atomic_store(&store.hold_writes, false);
	assert_int_equal(pg_await(pg.other_dma), SMMUV3_MODEL_OK);
}

static void
test_a_dead_writer_does_not_hold_up_other_spaces(void **state)
{
	(void)state;
	neighbour_goes_on(begin_death, end_death);
}

static void
begin_failures(uint8_t *p)
{
	(void)p;
	atomic_store(&store.write_error, -ENOSPC);
}

static void
end_failures(void)
{
	atomic_store(&store.write_error, 0);
}

/* The neighbour gives its own blocks, once the largest space cannot. */
static void
test_a_failing_writer_does_not_hold_up_other_spaces(void **state)
{
	(void)state;
	neighbour_goes_on(begin_failures, end_failures);
}

/* A defined answer where a dead pager has all memory; and room as soon as it lives again. */
static void
test_an_access_without_room_behind_a_dead_writer_is_refused(void **state)
{
	uint8_t *dead = alloc(&pager_rw, RW), *p = alloc_in(space, &pager_alive);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(dead + off, 0xc1);
	atomic_store(&store.hold_writes, true);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -ENOMEM);
	atomic_store(&store.hold_writes, false);
	AWAIT(dev_read(p, 8) == SMMUV3_MODEL_OK);
	for (off = 0; off < BUDGET; off += BLOCK)
		assert_int_equal(dead[off], 0xc1);
}

static void *
sync_main(void *p)
{
	return mmem_sync(space, p, REGION) == 0 ? p : NULL;
}

/* The offset of a block that leaves and whose write has not begun, or REGION. */
static size_t
find_queued(const uint8_t *p)
{
	struct mmem_region *region = pg.pool->chunks[(p - pg.pool->mem) / CHUNK].region;
	size_t i;

	pthread_mutex_lock(&pg.pool->lock);
	for (i = 0; i < NB_BLOCKS; i++)
		if (region->fetches[i] != NULL && region->fetches[i]->state == FETCH_WRITE_QUEUED)
			break;
	pthread_mutex_unlock(&pg.pool->lock);
	return i * BLOCK;
}

/* Its write waits behind one of mmem_sync(), which the pager does not end. */
static void
test_an_access_to_a_leaving_block_has_a_deadline(void **state)
{
	struct mmem_pager pager = pager_rw;
	pthread_t thread;
	uint8_t *p;
	void *done;
	size_t off;

	(void)state;
	pager.nb_threads = 1;
	pager.deadline_ms = 100;
	p = alloc(&pager, RW);
	for (off = 0; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xd1);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	dev_write(p, 0xd2);
	atomic_store(&store.hold_writes, true);
	assert_int_equal(pthread_create(&thread, NULL, sync_main, p), 0);
	AWAIT(atomic_load(&store.in_write) == 1);
	for (off = BLOCK; off < BUDGET; off += BLOCK)
		dev_write(p + off, 0xd3);
	pg_submit(pg.other_dma, SMMUV3_MODEL_READ, p + BUDGET, pg_bytes, 8);
	AWAIT(find_queued(p) != REGION);
	pg_await(pg.other_dma);
	off = find_queued(p);
	assert_int_not_equal(off, REGION);
	assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&last_error), -ETIMEDOUT);
	atomic_store(&store.hold_writes, false);
	assert_int_equal(pthread_join(thread, &done), 0);
	assert_ptr_equal(done, p);
	AWAIT(dev_read(p + off, 8) == SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[0], 0xd3);
}

/* The application saves what it can, and destroys the space again. */
static void
test_a_space_that_was_not_destroyed_has_its_contents(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t off;

	(void)state;
	for (off = 0; off < BUDGET / 2; off += BLOCK)
		p[off] = 0xe1;
	for (; off < BUDGET; off += BLOCK)
		assert_int_equal(p[off], (off / PAGE) & 0xff);
	atomic_store(&store.write_error, -EIO);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(space), -EIO);
	for (off = 0; off < REGION; off += BLOCK)
		assert_int_equal(p[off], off < BUDGET / 2 ? 0xe1 : (off / PAGE) & 0xff);
	atomic_store(&store.write_error, 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	space = NULL;
	for (off = 0; off < BUDGET / 2; off += BLOCK)
		assert_int_equal(store_get(off), 0xe1);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup_teardown(test_a_dead_writer_does_not_hold_up_other_regions,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_a_dead_writer_keeps_only_the_blocks_that_it_has,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_a_dead_writer_does_not_hold_up_other_spaces,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_a_failing_writer_does_not_hold_up_other_spaces,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_an_access_without_room_behind_a_dead_writer_is_refused,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_an_access_to_a_leaving_block_has_a_deadline,
			setup_late, teardown_late),
	cmocka_unit_test_setup_teardown(test_a_space_that_was_not_destroyed_has_its_contents,
			setup_late, teardown_late),
};
TEST_SUITE(mmem_late, tests, NULL, NULL);
