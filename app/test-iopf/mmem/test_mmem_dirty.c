/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The harvest of written pages: each page that a device or a CPU has written is given, before and
 * while blocks are evicted, written back and unmapped.
 */

#include "interpose.h"
#include "mmem_cpu_view.h"
#include "mmem_dirty.h"
#include "writers_rig.h"

#define WORDS		MMEM_DIRTY_WORDS(REGION)

static uint64_t bitmap[WORDS];

/* Where the kernel does not protect shared memory for userfaultfd, nothing can be tracked. */
static void
start(uint8_t *p)
{
	int rc = mmem_dirty_start(space, p);

	if (rc == -ENOTSUP)
		test_skip("userfaultfd with write protection of shared memory is needed");
	assert_int_equal(rc, 0);
}

static bool
is_dirty(size_t page)
{
	return bitmap[page / 64] >> page % 64 & 1;
}

static unsigned int
harvest(uint8_t *p, size_t len)
{
	unsigned int i, n = 0;

	memset(bitmap, 0xff, sizeof(bitmap));
	assert_int_equal(mmem_dirty_harvest(space, p, len, bitmap), 0);
	for (i = 0; i < MMEM_DIRTY_WORDS(len); i++)
		n += __builtin_popcountll(bitmap[i]);
	return n;
}

/* More blocks than fit are used. */
static void
evict_all(uint8_t *p, size_t but)
{
	size_t off;

	for (off = 0; off < REGION; off += BLOCK)
		if (off < but || off >= but + 4 * BLOCK)
			assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
}

/* For each kind of region: exactly the pages that were written since the last harvest. */
static void
expect_exact(uint8_t *p)
{
	unsigned int round;

	p[9 * PAGE] = 1;
	dev_write(p + 8 * PAGE, 1);
	start(p);
	assert_int_equal(mmem_dirty_start(space, p), -EALREADY);
	assert_int_equal(harvest(p, REGION), 0);
	for (round = 0; round < 3; round++) {
		dev_write(p + 3 * PAGE, round);
		dev_write(p + 8 * PAGE, round);
		p[5 * PAGE + 1] = round;
		p[9 * PAGE + 1] = round;
		assert_int_equal(dev_read(p + 7 * PAGE, 8), SMMUV3_MODEL_OK);
		assert_int_not_equal(p[6 * PAGE + 2], 0x77);
		assert_int_equal(harvest(p, REGION), 4);
		assert_true(is_dirty(3) && is_dirty(5) && is_dirty(8) && is_dirty(9));
		assert_int_equal(harvest(p, REGION), 0);
	}
	/* A read came first. */
	dev_write(p + 7 * PAGE, 1);
	p[6 * PAGE] = 1;
	assert_int_equal(harvest(p, REGION), 2);
	assert_true(is_dirty(6) && is_dirty(7));
}

static void
test_a_harvest_gives_exactly_the_written_pages(void **state)
{
	uint8_t *p;

	(void)state;
	p = alloc(&pager_rw, RW);
	expect_exact(p);
	assert_int_equal(mmem_dirty_stop(space, p), 0);
	assert_int_equal(mmem_dirty_stop(space, p), -EINVAL);
	assert_int_equal(mmem_free(space, p), 0);
	/* No block, and no pager. */
	p = mmem_alloc(space, REGION, RW);
	assert_non_null(p);
	expect_exact(p);
	/* The tracking ends with the region. */
	assert_int_equal(mmem_free(space, p), 0);
	p = mmem_alloc(space, REGION, RW);
	assert_non_null(p);
	assert_int_equal(mmem_dirty_harvest(space, p, PAGE, bitmap), -EINVAL);
	p[PAGE] = 1;
}

/* Without a budget. */
static void
test_a_region_with_a_pager_is_tracked_without_a_budget(void **state)
{
	struct mmem_space *limited = space;
	uint8_t *p;

	(void)state;
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	space = pg.other;
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
	p = alloc(&pager_ro, RW);
	expect_exact(p);
	assert_int_equal(mmem_dirty_stop(space, p), 0);
	/* Pages that are protected still take writes. */
	p[6 * PAGE] = 2;
	p[20 * PAGE] = 2;
	start(p);
	p[6 * PAGE] = 3;
	assert_int_equal(harvest(p, REGION), 1);
	assert_int_equal(mmem_free(space, p), 0);
	p = alloc(&pager_rw, RW);
	expect_exact(p);
	assert_int_equal(mmem_free(space, p), 0);
	p = mmem_alloc_paged(space, REGION, RW | MMEM_CPU_LATER, &pager_ro);
	assert_non_null(p);
	assert_int_equal(mmem_prefetch(space, p, REGION), 0);
	expect_exact(p);
	assert_int_equal(mmem_free(space, p), 0);
	assert_int_equal(mmem_detach(space, pg.other_dev, IOPF_NO_PASID), 0);
	space = limited;
	assert_int_equal(mmem_attach(space, pg.other_dev, IOPF_NO_PASID), 0);
}

static void
test_a_harvest_gives_its_range_only(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	size_t first, nb;

	(void)state;
	start(p);
	for (first = 61; first < 67; first++) {
		for (nb = 1; nb < 10; nb++) {
			p[first * PAGE] = nb;
			dev_write(p + (first + nb - 1) * PAGE, nb);
			p[(first - 1) * PAGE] = nb;
			dev_write(p + (first + nb) * PAGE, nb);
			assert_int_equal(harvest(p + first * PAGE, nb * PAGE), nb == 1 ? 1 : 2);
			assert_true(is_dirty(0) && is_dirty(nb - 1));
			assert_int_equal(harvest(p, REGION), 2);
			assert_true(is_dirty(first - 1) && is_dirty(first + nb));
		}
	}
	assert_int_equal(mmem_dirty_harvest(space, p, 0, bitmap), -EINVAL);
	assert_int_equal(mmem_dirty_harvest(space, p + 1, PAGE, bitmap), -EINVAL);
	assert_int_equal(mmem_dirty_harvest(space, p, REGION + CHUNK, bitmap), -EINVAL);
}

/* The dirty state of an entry that an eviction, an unmap or a write-back takes goes to the bit. */
static void
test_a_page_that_lost_its_mapping_counts_as_written(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);

	(void)state;
	start(p);
	dev_write(p, 1);
	p[PAGE] = 1;
	evict_all(p, 0);
	assert_true(stat(MMEM_STAT_WRITTEN) != 0);
	assert_int_equal(harvest(p, REGION), 2);
	assert_true(is_dirty(0) && is_dirty(1));
	assert_int_equal(p[0], 1);

	dev_write(p + 2 * PAGE, 2);
	p[3 * PAGE] = 2;
	assert_int_equal(mmem_unmap(space, p, REGION), 0);
	dev_write(p + 5 * PAGE, 2);
	assert_int_equal(mmem_protect(space, p + 5 * PAGE, PAGE, MMEM_READ), 0);
	assert_int_equal(harvest(p, REGION), 3);
	assert_true(is_dirty(2) && is_dirty(3) && is_dirty(5));

	dev_write(p + 2 * PAGE, 3);
	p[4 * PAGE] = 3;
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(harvest(p, REGION), 2);
	assert_true(is_dirty(2) && is_dirty(4));
}

/* What a harvest makes clean is still written back, by an eviction and by a sync. */
static void
test_a_harvested_page_is_written_back(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);

	(void)state;
	start(p);
	dev_write(p, 0x51);
	p[BLOCK] = 0x52;
	assert_int_equal(harvest(p, REGION), 2);
	evict_all(p, 0);
	AWAIT(stat(MMEM_STAT_WRITTEN) >= 2 * BLOCK / PAGE);
	assert_int_equal(store_get(0), 0x51);
	assert_int_equal(store_get(BLOCK), 0x52);

	dev_write(p, 0x53);
	p[BLOCK] = 0x54;
	assert_int_equal(harvest(p, REGION), 2);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(store_get(0), 0x53);
	assert_int_equal(store_get(BLOCK), 0x54);
}

/* Each faulted page upgrades once more if its writes are tracked, and not after the end. */
static void
test_the_rights_of_the_caller_return(void **state)
{
	uint8_t *p = mmem_alloc(space, REGION, RW);
	uint64_t upgraded;

	(void)state;
	assert_non_null(p);
	start(p);
	assert_int_equal(mmem_protect(space, p, PAGE, RW | MMEM_TRACK_WRITES), 0);
	assert_int_equal(mmem_protect(space, p + PAGE, PAGE, RW), 0);
	assert_int_equal(dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	dev_write(p + PAGE, 1);
	assert_int_equal(harvest(p, REGION), 1);
	assert_true(is_dirty(1));
	assert_int_equal(mmem_dirty_stop(space, p), 0);
	assert_int_equal(mmem_unmap(space, p, REGION), 0);
	upgraded = stat(MMEM_STAT_UPGRADED);
	assert_int_equal(dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	dev_write(p + PAGE, 1);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), upgraded);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	dev_write(p, 1);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), upgraded + 1);
}

static void
test_regions_that_cannot_be_tracked_are_refused(void **state)
{
	uint8_t *p = mmem_alloc(space, REGION, RW | MMEM_ZERO_INLINE);
	uint8_t *import = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			0);

	(void)state;
	assert_non_null(p);
	assert_ptr_not_equal(import, MAP_FAILED);
	assert_int_equal(mmem_dirty_start(space, p), -ENOTSUP);
	assert_int_equal(mmem_dirty_start(space, p + PAGE), -EINVAL);
	assert_int_equal(mmem_import(space, import, PAGE, RW), 0);
	assert_int_equal(mmem_dirty_start(space, import), -EINVAL);
	assert_int_equal(mmem_dirty_harvest(space, import, PAGE, bitmap), -EINVAL);
	assert_int_equal(mmem_dirty_harvest(space, p, PAGE, NULL), -EINVAL);
	assert_int_equal(mmem_dirty_stop(space, p), -EINVAL);
	assert_int_equal(mmem_release(space, import), 0);
	munmap(import, PAGE);
}

static void
test_a_start_without_memory_can_be_repeated(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	unsigned int n;
	bool failed;
	int rc;

	(void)state;
	start(p);
	assert_int_equal(mmem_dirty_stop(space, p), 0);
	for (n = 1;; n++) {
		interpose_fail(n);
		rc = mmem_dirty_start(space, p);
		failed = interpose_failed();
		interpose_fail(0);
		if (!failed)
			break;
		assert_int_equal(rc, -ENOMEM);
		assert_int_equal(mmem_dirty_stop(space, p), -EINVAL);
	}
	assert_int_equal(rc, 0);
#ifndef INTERPOSE_OFF
	assert_true(n > 1);
#endif
	p[0] = 1;
	assert_int_equal(harvest(p, REGION), 1);
}

/* The caller wants to see the first write as a fault, also where the SMMU sets the dirty state. */
static void
test_protect_tracks_writes_by_faults(void **state)
{
	uint8_t *p = alloc(&pager_rw, RW);
	unsigned int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		assert_int_equal(mmem_protect(space, p, PAGE, RW | MMEM_TRACK_WRITES), 0);
		assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
		dev_write(p, 1);
		assert_int_equal(stat(MMEM_STAT_UPGRADED), i + 1);
	}
	assert_int_equal(mmem_advise(space, p + PAGE, PAGE, MMEM_ADVISE_READ_MOSTLY), 0);
	assert_int_equal(dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	dev_write(p + PAGE, 1);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), 3);
	/* And the SMMU again, after it is taken back. */
	assert_int_equal(mmem_protect(space, p, PAGE, RW), 0);
	assert_int_equal(mmem_unmap(space, p, PAGE), 0);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	dev_write(p, 2);
	assert_int_equal(stat(MMEM_STAT_UPGRADED), pg_features & SMMUV3_MODEL_HTTU_DIRTY ? 3 : 4);
	assert_int_equal(mmem_sync(space, p, REGION), 0);
	assert_int_equal(store_get(0), 2);
	assert_int_equal(store_get(PAGE), 1);
}

/* A block of 2 MiB has one dirty state: pages that were made writable again are mapped one by one. */
static void
test_pages_that_become_writable_are_tracked_by_page(void **state)
{
	uint8_t *p = mmem_alloc(space, CHUNK, RW | MMEM_HUGE);
	size_t off;

	(void)state;
	assert_non_null(p);
	start(p);
	assert_int_equal(mmem_protect(space, p, CHUNK, MMEM_READ), 0);
	for (off = 0; off < CHUNK; off += PAGE)
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_advise(space, p, CHUNK, MMEM_ADVISE_HUGE), 0);
	assert_int_equal(mmem_protect(space, p, CHUNK, RW), 0);
	dev_write(p + 3 * PAGE, 1);
	dev_write(p + 5 * PAGE, 1);
	assert_int_equal(harvest(p, 4 * PAGE), 1);
	assert_true(is_dirty(3));
	dev_write(p + 3 * PAGE, 2);
	assert_int_equal(harvest(p, 8 * PAGE), 2);
	assert_true(is_dirty(3) && is_dirty(5));
}

/*
 * While a region is being placed elsewhere the kernel refuses to change the protection of pages:
 * the write is repeated.
 */

static struct mmem_view_ops busy_view;
static _Atomic unsigned int nb_refused;

static int
protect_busy(struct mmem_pool *pool, uint64_t off, size_t len, bool protect)
{
	if (!protect && atomic_fetch_add(&nb_refused, 1) == 0)
		return -EAGAIN;
	return mmem_view_uffd.protect(pool, off, len, protect);
}

static void
set_view(const struct mmem_view_ops *view)
{
	pthread_mutex_lock(&pg.pool->cpu_lock);
	pg.pool->view = view;
	pthread_mutex_unlock(&pg.pool->cpu_lock);
}

static _Atomic bool has_written;

static void *
write_first_byte(void *p)
{
	*(volatile uint8_t *)p = 1;
	atomic_store(&has_written, true);
	return NULL;
}

static void
test_a_write_during_a_move_of_another_region_continues(void **state)
{
	uint8_t *p = mmem_alloc(space, REGION, RW);
	pthread_t thread;

	(void)state;
	assert_non_null(p);
	p[0] = 2;
	start(p);
	if (pg.pool->view != &mmem_view_uffd)
		test_skip("userfaultfd is needed");
	busy_view = mmem_view_uffd;
	busy_view.protect = protect_busy;
	atomic_store(&nb_refused, 0);
	atomic_store(&has_written, false);
	set_view(&busy_view);
	assert_int_equal(pthread_create(&thread, NULL, write_first_byte, p), 0);
	AWAIT(atomic_load(&has_written));
	assert_int_equal(pthread_join(thread, NULL), 0);
	set_view(&mmem_view_uffd);
	assert_true(atomic_load(&nb_refused) > 1);
	assert_int_equal(harvest(p, REGION), 1);
}

/* The code of doc/guides/tracking.rst. */

static size_t
copy_marked(uint8_t *to, const uint8_t *from, const uint64_t *map, size_t nb_pages)
{
	size_t i, n = 0;

	for (i = 0; i < nb_pages; i++) {
		if (!(map[i / 64] >> i % 64 & 1))
			continue;
		memcpy(to + i * MMEM_DIRTY_PAGE, from + i * MMEM_DIRTY_PAGE, MMEM_DIRTY_PAGE);
		n++;
	}
	return n;
}

/* Copy a region that devices and threads use. They stop when few pages are left. */
static int
migrate(struct mmem_space *from, uint8_t *buf, size_t size, uint8_t *to, void (*stop_users)(void))
{
	uint64_t *map = malloc(MMEM_DIRTY_WORDS(size) * sizeof(*map));
	unsigned int rounds = 0;
	size_t n = size / MMEM_DIRTY_PAGE;
	int rc = map == NULL ? -ENOMEM : mmem_dirty_start(from, buf);

	if (rc == 0) {
		memcpy(to, buf, size);
		while (rc == 0 && n > 16 && rounds++ < 10) {
			rc = mmem_dirty_harvest(from, buf, size, map);
			n = copy_marked(to, buf, map, size / MMEM_DIRTY_PAGE);
		}
		stop_users();
		if (rc == 0)
			rc = mmem_dirty_harvest(from, buf, size, map);
		if (rc == 0)
			copy_marked(to, buf, map, size / MMEM_DIRTY_PAGE);
		mmem_dirty_stop(from, buf);
	}
	free(map);
	return rc;
}

static uint8_t *migrated;

/* The last writes of the users. */
static void
write_and_stop(void)
{
	dev_write(migrated + 17 * PAGE, 0x61);
	migrated[REGION - 1] = 0x62;
}

static void
test_the_code_of_the_guide_copies_a_region(void **state)
{
	uint8_t *to = malloc(REGION);
	int rc;

	(void)state;
	assert_non_null(to);
	migrated = alloc(&pager_rw, RW);
	rc = migrate(space, migrated, REGION, to, write_and_stop);
	if (rc == 0) {
		assert_memory_equal(to, migrated, REGION);
		assert_int_equal(to[17 * PAGE], 0x61);
	}
	free(to);
	if (rc == -ENOTSUP)
		test_skip("userfaultfd with write protection of shared memory is needed");
	assert_int_equal(rc, 0);
}

/*
 * A copy is made while CPUs and a device write, blocks leave, and are written back: at the end it
 * is equal.
 */

#define NB_WRITES	150

static uint64_t copy[REGION / 8];

static void
copy_pages(uint64_t *words, const uint64_t *map)
{
	size_t page, i;

	for (page = 0; page < NB_PAGES; page++)
		for (i = 0; i < PAGE / 8 && (map[page / 64] >> page % 64 & 1); i++)
			copy[page * (PAGE / 8) + i] = cpu_load(word_at(words, page, i));
}

static void *
copier_main(void *p)
{
	uint64_t map[WORDS];

	while (!atomic_load(&writers_end)) {
		assert_int_equal(mmem_dirty_harvest(space, p, REGION, map), 0);
		copy_pages(p, map);
		if (atomic_fetch_add(&nb_turns, 1) % 4 == 3)
			assert_int_equal(mmem_sync(space, p, REGION), 0);
		if (atomic_load(&nb_turns) % 4 == 1)
			assert_int_equal(mmem_unmap(space, p, REGION), 0);
	}
	return NULL;
}

static void
copy_while_it_is_written(uint8_t *p)
{
	unsigned int i;
	size_t page;

	start(p);
	memset(bitmap, 0xff, sizeof(bitmap));
	copy_pages((uint64_t *)p, bitmap);
	write_beside(p, NB_WRITES, copier_main);
	assert_int_equal(mmem_dirty_harvest(space, p, REGION, bitmap), 0);
	copy_pages((uint64_t *)p, bitmap);
	for (page = 0; page < NB_PAGES; page++) {
		for (i = 0; i < NB_CPUS; i++)
			if (cpus[i].last[page] != 0)
				assert_int_equal(copy[page * (PAGE / 8) + i],
						cpus[i].last[page]);
		if (dev.last[page] != 0)
			assert_int_equal(copy[page * (PAGE / 8) + NB_CPUS], dev.last[page]);
		for (i = 0; i < PAGE / 8; i++)
			assert_int_equal(copy[page * (PAGE / 8) + i],
					cpu_load(word_at((uint64_t *)p, page, i)));
	}
	assert_int_equal(mmem_dirty_stop(space, p), 0);
}

static void
test_a_copy_of_a_region_in_use_is_equal(void **state)
{
	uint8_t *p;

	(void)state;
	copy_while_it_is_written(alloc(&pager_rw, RW));
	assert_true(stat(MMEM_STAT_EVICTED) != 0);
	p = mmem_alloc(space, REGION, RW);
	assert_non_null(p);
	copy_while_it_is_written(p);
}

static int
set_httu(void **state)
{
	(void)state;
	pg_features = SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY;
	return 0;
}

static int
set_access_flag(void **state)
{
	(void)state;
	pg_features = SMMUV3_MODEL_HTTU_AF;
	return 0;
}

static int
set_no_httu(void **state)
{
	(void)state;
	pg_features = 0;
	return 0;
}

static const struct CMUnitTest tests[] = {
	EV_TEST(test_a_harvest_gives_exactly_the_written_pages),
	EV_TEST(test_a_region_with_a_pager_is_tracked_without_a_budget),
	EV_TEST(test_a_harvest_gives_its_range_only),
	EV_TEST(test_a_page_that_lost_its_mapping_counts_as_written),
	EV_TEST(test_a_harvested_page_is_written_back),
	EV_TEST(test_the_rights_of_the_caller_return),
	EV_TEST(test_pages_that_become_writable_are_tracked_by_page),
	EV_TEST(test_a_write_during_a_move_of_another_region_continues),
	EV_TEST(test_regions_that_cannot_be_tracked_are_refused),
	EV_TEST(test_a_start_without_memory_can_be_repeated),
	EV_TEST(test_the_code_of_the_guide_copies_a_region),
	EV_TEST(test_a_copy_of_a_region_in_use_is_equal),
};
TEST_SUITE(mmem_dirty, tests, NULL, NULL);
TEST_SUITE(mmem_dirty_traps, tests, pg_set_traps, pg_set_no_traps);

static const struct CMUnitTest httu_tests[] = {
	EV_TEST(test_protect_tracks_writes_by_faults),
	EV_TEST(test_a_harvest_gives_exactly_the_written_pages),
	EV_TEST(test_a_page_that_lost_its_mapping_counts_as_written),
	EV_TEST(test_a_harvested_page_is_written_back),
	EV_TEST(test_a_copy_of_a_region_in_use_is_equal),
};
TEST_SUITE(mmem_dirty_httu1, httu_tests, set_access_flag, set_no_httu);
TEST_SUITE(mmem_dirty_httu2, httu_tests, set_httu, set_no_httu);
