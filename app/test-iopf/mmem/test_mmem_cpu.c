/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * CPU accesses to regions with a pager: one pointer, the same bytes for CPU and devices.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_errno.h>

#include "mmem_space.h"
#include "pager_rig.h"
#include "test.h"

#define NB_CPUS		4

/* A thread that reads, or adds 1 to, one byte at a time. */
struct cpu {
	pthread_t thread;
	volatile uint8_t *addr;
	bool write;
	uint8_t value;			/* that it read */
	atomic_bool done;
};

static void *
cpu_main(void *arg)
{
	struct cpu *cpu = arg;

	cpu->value = *cpu->addr;
	if (cpu->write)
		*cpu->addr = cpu->value + 1;
	atomic_store(&cpu->done, true);
	return NULL;
}

static void
cpu_begin(struct cpu *cpu, uint8_t *addr, bool write)
{
	*cpu = (struct cpu){ .addr = addr, .write = write };
	assert_int_equal(pthread_create(&cpu->thread, NULL, cpu_main, cpu), 0);
}

static uint8_t
cpu_end(struct cpu *cpu)
{
	AWAIT(atomic_load(&cpu->done));
	assert_int_equal(pthread_join(cpu->thread, NULL), 0);
	return cpu->value;
}

static void
test_the_cpu_reads_contents_that_no_device_has_accessed(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = 16 * PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	size_t off;

	(void)state;
	for (off = 0; off < CHUNK; off += CHUNK / 8)
		assert_int_equal(p[off + 5], pg_byte_at(pager, off));
	assert_true(pg_is_filled_with(p, pg_byte_at(pager, 0), 16 * PAGE));
	assert_int_equal(atomic_load(&pager->calls), 8);
	/* The device finds them without a fetch. */
	assert_int_equal(pg_dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, pg_byte_at(pager, 0), 8));
	assert_int_equal(atomic_load(&pager->calls), 8);
	assert_int_equal(atomic_load(&pg.nb_reports), 0);
}

/* An IOMMU may reach the memory in pieces of 2 MiB. */
static void
test_both_views_are_aligned_to_chunks(void **state)
{
	struct mmem_pool *pools[8];
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(pools); i++) {
		pools[i] = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu,
				.size = (i + 1) * CHUNK, .no_hugepages = true });
		assert_non_null(pools[i]);
		assert_ptr_not_equal(pools[i]->dev, pools[i]->mem);
		assert_int_equal((uintptr_t)pools[i]->dev % CHUNK, 0);
		/* Moves what the kernel maps next by a page. */
		assert_ptr_not_equal(mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				0), MAP_FAILED);
	}
	for (i = 0; i < RTE_DIM(pools); i++)
		assert_int_equal(mmem_pool_destroy(pools[i]), 0);
}

static void
test_a_write_of_the_cpu_before_the_device_is_kept(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);

	(void)state;
	p[PAGE + 3] = 1;
	assert_int_equal(pg_dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(pg_bytes[3], 1);
	assert_int_equal(pg_bytes[4], pg_byte_at(pager, PAGE));
	/* A write of the device is seen at once. */
	memset(pg_bytes, 2, 8);
	assert_int_equal(pg_dev_write(pg.dma, p + PAGE), SMMUV3_MODEL_OK);
	assert_int_equal(p[PAGE + 3], 2);
	assert_int_equal(p[PAGE + 8], pg_byte_at(pager, PAGE));
}

static void
test_cpus_and_a_device_share_one_fetch(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = CHUNK });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct cpu cpus[NB_CPUS];
	unsigned int i;

	(void)state;
	pg_hold_fetch(pager, p);
	for (i = 0; i < NB_CPUS; i++)
		cpu_begin(&cpus[i], p + i, false);
	usleep(WAIT_MS * 1000);
	for (i = 0; i < NB_CPUS; i++)
		assert_false(atomic_load(&cpus[i].done));
	atomic_store(&pager->hold, false);
	for (i = 0; i < NB_CPUS; i++)
		assert_int_equal(cpu_end(&cpus[i]), pg_byte_at(pager, 0));
	assert_int_equal(pg_await(pg.dma), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->calls), 1);
}

static void
test_a_slow_pager_holds_only_cpus_that_need_it(void **state)
{
	struct test_pager *slow = pg_new_pager(&(struct mmem_pager){ .start = pg_start });
	struct test_pager *fast = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, slow), *q = pg_alloc(CHUNK, fast);
	struct cpu waits, writes;

	(void)state;
	cpu_begin(&waits, p + 1, true);
	AWAIT(pg_nb_started(slow) == 1);
	cpu_begin(&writes, q + 1, true);
	assert_int_equal(cpu_end(&writes), pg_byte_at(fast, 0));
	assert_int_equal(q[PAGE], pg_byte_at(fast, PAGE));
	assert_false(atomic_load(&waits.done));
	pg_finish_fetch(slow, 0);
	assert_int_equal(cpu_end(&waits), pg_byte_at(slow, 0));
	assert_int_equal(p[1], pg_byte_at(slow, 0) + 1);
}

static void
test_an_access_whose_fetch_fails_is_reported_and_repeated(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct cpu cpu;

	(void)state;
	atomic_store(&pager->error, -ENXIO);
	cpu_begin(&cpu, p + 7, true);
	AWAIT(atomic_load(&pg.nb_reports) != 0);
	assert_int_equal(atomic_load(&pg.error), -EIO);
	assert_false(atomic_load(&cpu.done));
	atomic_store(&pager->error, 0);
	assert_int_equal(cpu_end(&cpu), pg_byte_at(pager, 0));
	assert_int_equal(p[7], pg_byte_at(pager, 0) + 1);
}

/* After it the bytes are undefined, but the thread lives. */
static void
test_free_lets_a_waiting_cpu_continue(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager);
	struct cpu cpu;

	(void)state;
	atomic_store(&pager->error, -ENXIO);
	cpu_begin(&cpu, p + 7, false);
	AWAIT(atomic_load(&pg.nb_reports) != 0);
	assert_int_equal(mmem_free(pg.space, p), 0);
	cpu_end(&cpu);
}

static void
test_pages_of_an_earlier_region_are_not_seen(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = mmem_alloc(pg.space, CHUNK, RW | MMEM_ZERO_INLINE), *q;

	(void)state;
	assert_non_null(p);
	memset(p, 0xee, CHUNK);
	assert_int_equal(mmem_free(pg.space, p), 0);
	q = pg_alloc(CHUNK, pager);
	assert_ptr_equal(p, q);
	assert_int_equal(q[2 * PAGE], pg_byte_at(pager, 2 * PAGE));
	assert_int_equal(mmem_free(pg.space, q), 0);
	/* And without a pager the next region is zero, and unwatched. */
	p = mmem_alloc(pg.space, CHUNK, RW);
	assert_ptr_equal(p, q);
	assert_true(pg_is_filled_with(p, 0, CHUNK));
}

/* The chunk is too far ahead to be populated for a device. */
static void
test_memory_that_only_a_cpu_has_written_is_zeroed(void **state)
{
	uint8_t *p = mmem_alloc(pg.space, 8 * CHUNK, RW | MMEM_ZERO_INLINE), *q;

	(void)state;
	assert_non_null(p);
	memset(p, 0xee, 8 * CHUNK);
	assert_int_equal(mmem_free(pg.space, p), 0);
	q = mmem_alloc(pg.space, 8 * CHUNK, RW | MMEM_ZERO_INLINE);
	assert_ptr_equal(p, q);
	assert_int_equal(pg_dev_read(q + 7 * CHUNK, 64), SMMUV3_MODEL_OK);
	assert_true(pg_is_filled_with(pg_bytes, 0, 64));
}

static void
test_a_region_may_be_unwatched(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = mmem_alloc_paged(pg.space, CHUNK, RW | MMEM_CPU_LATER, &pager->conf);

	(void)state;
	assert_non_null(p);
	assert_int_equal(p[PAGE], 0);
	assert_int_equal(atomic_load(&pager->calls), 0);
	assert_int_equal(pg_dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(p[PAGE], pg_byte_at(pager, PAGE));
}

/* Where the kernel lets system calls wait; elsewhere they fail, and read no zeros. */
static void
test_a_system_call_reads_contents_or_fails(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = pg_alloc(CHUNK, pager), byte;
	int fds[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	n = write(fds[1], p + 5 * PAGE, 1);
	if (n == 1) {
		assert_int_equal(read(fds[0], &byte, 1), 1);
		assert_int_equal(byte, pg_byte_at(pager, 5 * PAGE));
	} else {
		assert_int_equal(errno, EFAULT);
		assert_int_equal(p[5 * PAGE], pg_byte_at(pager, 5 * PAGE));
		assert_int_equal(write(fds[1], p + 5 * PAGE, 1), 1);
	}
	close(fds[0]);
	close(fds[1]);
}

static void
test_a_pager_is_refused_where_the_cpu_cannot_be_watched(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct rlimit limit, none;
	uint8_t *p;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	p = mmem_alloc_paged(pg.space, CHUNK, RW, &pager->conf);
	assert_int_equal(rte_errno, EMFILE);
	assert_null(p);
	/* Unwatched it needs no descriptor. */
	p = mmem_alloc_paged(pg.space, CHUNK, RW | MMEM_CPU_LATER, &pager->conf);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_non_null(p);
	assert_int_equal(mmem_free(pg.space, p), 0);
	atomic_store(&pager->releases, 0);
	p = pg_alloc(CHUNK, pager);
	assert_int_equal(p[0], pg_byte_at(pager, 0));
}

/* With hugepages the CPU's view has 2 MiB at a time, of several blocks. */
static void
test_hugepages_have_contents_too(void **state)
{
	struct test_pager *pager = pg_new_pager(&(struct mmem_pager){ .fetch_size = CHUNK / 4 });
	struct mmem_space *space;
	struct mmem_pool *pool;
	uint8_t *p;
	bool huge;

	(void)state;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = pg.smmu, .size = 4 * CHUNK });
	assert_non_null(pool);
	huge = mmem_pool_hugepages(pool);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(space);
	p = mmem_alloc_paged(space, CHUNK + PAGE, RW, &pager->conf);
	assert_non_null(p);
	assert_int_equal(p[CHUNK / 2], pg_byte_at(pager, CHUNK / 2));
	assert_int_equal(p[3 * CHUNK / 4], pg_byte_at(pager, 3 * CHUNK / 4));
	p[CHUNK] = 3;
	assert_int_equal(p[CHUNK + 1], pg_byte_at(pager, CHUNK));
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
	if (!huge)
		test_skip("four hugepages of 2 MiB are needed");
}

static const struct CMUnitTest tests[] = {
	PG_TEST(test_the_cpu_reads_contents_that_no_device_has_accessed),
	PG_TEST(test_both_views_are_aligned_to_chunks),
	PG_TEST(test_a_write_of_the_cpu_before_the_device_is_kept),
	PG_TEST(test_cpus_and_a_device_share_one_fetch),
	PG_TEST(test_a_slow_pager_holds_only_cpus_that_need_it),
	PG_TEST(test_an_access_whose_fetch_fails_is_reported_and_repeated),
	PG_TEST(test_free_lets_a_waiting_cpu_continue),
	PG_TEST(test_pages_of_an_earlier_region_are_not_seen),
	PG_TEST(test_memory_that_only_a_cpu_has_written_is_zeroed),
	PG_TEST(test_a_region_may_be_unwatched),
	PG_TEST(test_a_system_call_reads_contents_or_fails),
	PG_TEST(test_a_pager_is_refused_where_the_cpu_cannot_be_watched),
	PG_TEST(test_hugepages_have_contents_too),
};
TEST_SUITE(mmem_cpu, tests, NULL, NULL);
TEST_SUITE(mmem_cpu_traps, tests, pg_set_traps, pg_set_no_traps);
