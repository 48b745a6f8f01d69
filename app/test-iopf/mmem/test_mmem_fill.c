/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Content of a region: filled by its pager, by a prefetch, and ahead of the device.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_log.h>

#include "mmem_rig.h"
#include "test.h"

/*
 * Pagers
 */

struct test_pager {
	_Atomic int error;
	_Atomic unsigned int fills;
	_Atomic unsigned int releases;
	_Atomic bool block;
	_Atomic bool inside;
	_Atomic size_t len;
};

static int
test_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error = atomic_load(&pager->error);

	atomic_store(&pager->inside, true);
	while (atomic_load(&pager->block))
		sched_yield();
	atomic_store(&pager->len, len);
	atomic_fetch_add(&pager->fills, 1);
	if (error == 0)
		memset(dst, 0x10 + offset / CHUNK, len);
	atomic_store(&pager->inside, false);
	return error;
}

static void
test_release(void *ctx)
{
	struct test_pager *pager = ctx;

	assert_false(atomic_load(&pager->inside));
	atomic_fetch_add(&pager->releases, 1);
}

static uint8_t *
alloc_paged(struct test_pager *pager, size_t size)
{
	uint8_t *p = mmem_alloc_paged(mm.space, size, RW, &(struct mmem_pager){
			.fill = test_fill, .release = test_release, .ctx = pager });

	assert_non_null(p);
	return p;
}

static void
test_pager_fills_a_chunk_once(void **state)
{
	struct test_pager pager = { 0 };
	uint8_t *buf = alloc_paged(&pager, CHUNK + 3 * PAGE);

	(void)state;
	mm_dev_expect(buf + 5 * PAGE, 0x10, PAGE);
	mm_dev_expect(buf, 0x10, CHUNK);
	assert_int_equal(atomic_load(&pager.fills), 1);
	assert_int_equal(atomic_load(&pager.len), CHUNK);
	mm_dev_expect(buf + CHUNK, 0x11, 3 * PAGE);
	assert_int_equal(atomic_load(&pager.fills), 2);
	assert_int_equal(atomic_load(&pager.len), 3 * PAGE);
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 2);
	/* An unmap keeps the content. */
	mm_dev_set(buf, 0x33, 1);
	assert_int_equal(mmem_unmap(mm.space, buf, CHUNK), 0);
	mm_dev_expect(buf, 0x33, 1);
	assert_int_equal(atomic_load(&pager.fills), 2);
	assert_int_equal(mmem_free(mm.space, buf), 0);
	assert_int_equal(atomic_load(&pager.releases), 1);
}

static void
test_pager_failure_is_invalid_and_tried_again(void **state)
{
	struct test_pager pager = { .error = -EREMOTEIO };
	uint8_t *buf = alloc_paged(&pager, CHUNK);

	(void)state;
	mm_mute_log(true);
	assert_int_equal(mm_dev_read(buf + 16, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(buf + 16, IOPF_NO_PASID, IOPF_PERM_READ, -EIO);
	assert_int_equal(mmem_prefetch(mm.space, buf, PAGE), -EIO);
	assert_int_equal(mmem_resolve(mm.space, (uintptr_t)buf, IOPF_PERM_READ), -EIO);
	assert_int_equal(atomic_load(&pager.fills), 3);
	assert_int_equal(mm_stat(MMEM_STAT_FAILED), 2);
	mm_mute_log(false);
	atomic_store(&pager.error, 0);
	mm_dev_expect(buf, 0x10, CHUNK);
	assert_int_equal(atomic_load(&pager.fills), 4);
	assert_int_equal(mmem_free(mm.space, buf), 0);
}

/* Faults that came before the pager failed share one call and its error. */
static void
test_a_pager_failure_answers_all_waiting_faults(void **state)
{
	struct test_pager pager = { .error = -EREMOTEIO, .block = true };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	unsigned int i;

	(void)state;
	mm_mute_log(true);
	for (i = 0; i < 32; i++)
		mm_submit(mm.dma, SMMUV3_MODEL_READ, buf + i * PAGE, mm_scratch, 8);
	while (mm_stat(MMEM_STAT_DEFERRED) < 32)
		mm_run_turn();
	atomic_store(&pager.block, false);
	for (i = 0; i < 32; i++)
		assert_int_equal(mm_await(mm.dma).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&pager.fills), 1);
	assert_int_equal(atomic_load(&mm.nb_reports), 32);
	mm_mute_log(false);
	assert_int_equal(mmem_free(mm.space, buf), 0);
}

/* A device that repeats its access does not fill the log with failures of the pager. */
static void
test_pager_failures_do_not_fill_the_log(void **state)
{
	enum { TIMES = 300 };
	struct test_pager pager = { .error = -EREMOTEIO };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	uint64_t began = rte_get_tsc_cycles(), seconds;
	FILE *before = rte_log_get_stream();
	unsigned int lines = 0;
	char *text = NULL;
	const char *at;
	size_t len;
	FILE *log = open_memstream(&text, &len);

	(void)state;
	assert_non_null(log);
	rte_openlog_stream(log);
	for (unsigned int i = 0; i < TIMES; i++)
		assert_int_equal(mm_dev_read(buf, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	/* After mmem_free() no thread of the region writes to the log. */
	assert_int_equal(mmem_free(mm.space, buf), 0);
	rte_openlog_stream(before == stderr ? NULL : before);
	fclose(log);
	seconds = (rte_get_tsc_cycles() - began) / rte_get_tsc_hz() + 1;
	for (at = text; (at = strstr(at, "pager failed")) != NULL; at++)
		lines++;
	assert_null(strstr(text, "(0 lines"));
	free(text);
	assert_int_equal(atomic_load(&pager.fills), TIMES);
	assert_true(lines >= 1);
	assert_true(lines <= (seconds + 1) * IOPF_LOG_LINES_PER_S);
	assert_int_equal(lines + mm_stat(MMEM_STAT_LOG_LEFT_OUT), TIMES);
	assert_int_equal(mm_stat(MMEM_STAT_FAILED), TIMES);
}

static void *
free_main(void *buf)
{
	return (void *)(intptr_t)mmem_free(mm.space, buf);
}

/* A fault waits for its bytes while its region is freed: the free wins. */
static void
test_free_waits_for_the_pager_and_wins(void **state)
{
	struct test_pager pager = { .block = true };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	pthread_t thread;
	unsigned int i;
	void *rc;

	(void)state;
	mm_submit(mm.dma, SMMUV3_MODEL_READ, buf, mm_scratch, 8);
	while (!atomic_load(&pager.inside))
		mm_run_turn();
	assert_int_equal(pthread_create(&thread, NULL, free_main, buf), 0);
	/* The free has begun when the region is hidden. */
	while (atomic_load(&mm.space->chunks[(buf - (uint8_t *)mm.space->mem) /
			CHUNK].space) != NULL)
		mm_run_turn();
	for (i = 0; i < 1000; i++)
		mm_run_turn();
	assert_int_equal(atomic_load(&pager.releases), 0);
	atomic_store(&pager.block, false);
	assert_int_equal(mm_await(mm.dma).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(atomic_load(&pager.releases), 1);
	mm_expect_report(buf, IOPF_NO_PASID, IOPF_PERM_READ, -EFAULT);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 0);
}

/*
 * Ahead of the device
 */

static void
test_prefetch_makes_no_faults(void **state)
{
	struct test_pager pager = { 0 };
	uint8_t *buf = alloc_paged(&pager, 2 * CHUNK), *zeroes = mm_alloc(CHUNK, RW);

	(void)state;
	assert_int_equal(mmem_prefetch(mm.space, buf + PAGE, 2 * CHUNK - PAGE), 0);
	assert_int_equal(mmem_prefetch(mm.space, zeroes, CHUNK), 0);
	assert_int_equal(mm_stat(MMEM_STAT_PREFETCHED), 3 * CHUNK / PAGE - 1);
	mm_dev_expect(buf + PAGE, 0x10, CHUNK - PAGE);
	mm_dev_expect(buf + CHUNK, 0x11, CHUNK);
	mm_dev_set(zeroes, 5, CHUNK);
	assert_int_equal(mm_count_faults(), 0);
	/* A second prefetch changes nothing. */
	assert_int_equal(mmem_prefetch(mm.space, zeroes, CHUNK), 0);
	assert_int_equal(mm_stat(MMEM_STAT_PREFETCHED), 3 * CHUNK / PAGE - 1);
	assert_int_equal(mmem_prefetch(mm.space, buf + PAGE, 2 * CHUNK), -EINVAL);
	assert_int_equal(mmem_free(mm.space, buf), 0);
}

static void
test_populated_memory_defers_nothing(void **state)
{
	uint8_t *buf = mm_alloc(4 * CHUNK, RW | MMEM_POPULATE);
	size_t off;

	(void)state;
	for (off = 0; off < 4 * CHUNK; off += CHUNK / 2)
		mm_dev_set(buf + off, 1, 8);
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 8);
}

/* Wait until the chunk has memory, without an access to it. */
static void
await_chunk(const uint8_t *p)
{
	struct mmem_chunk *chunk = &mm.pool->chunks[(p - mm.pool->mem) / CHUNK];
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();

	while (!(atomic_load(&chunk->state) & CHUNK_POPULATED)) {
		assert_true(rte_rdtsc() < end);
		usleep(100);
	}
}

static void
test_chunks_ahead_are_populated_before_they_are_touched(void **state)
{
	uint8_t *buf = mm_alloc(8 * CHUNK, RW);
	unsigned int i;

	(void)state;
	/* Wait for the control thread, so that it is always one chunk ahead. */
	for (i = 0; i < 8; i++) {
		await_chunk(buf + i * CHUNK);
		mm_dev_set(buf + i * CHUNK, 1, 8);
	}
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 8);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_pager_fills_a_chunk_once),
	MM_TEST(test_pager_failure_is_invalid_and_tried_again),
	MM_TEST(test_a_pager_failure_answers_all_waiting_faults),
	MM_TEST(test_pager_failures_do_not_fill_the_log),
	MM_TEST(test_free_waits_for_the_pager_and_wins),
	MM_TEST(test_prefetch_makes_no_faults),
	MM_TEST(test_populated_memory_defers_nothing),
	MM_TEST(test_chunks_ahead_are_populated_before_they_are_touched),
};
TEST_SUITE(mmem_fill, tests, NULL, NULL);

TEST_SUITE(mmem_pieces_fill, tests, mm_set_pieces, mm_set_address);
