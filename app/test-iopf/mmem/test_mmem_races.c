/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Concurrent faults, and faults concurrent with unmap, protect and free.
 */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "mmem_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static void
test_a_storm_on_a_page_maps_it_once(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	for (i = 0; i < 64; i++)
		mm_submit(mm.dma, SMMUV3_MODEL_READ, buf + i * 8, mm_scratch + i * 8, 8);
	for (i = 0; i < 64; i++)
		assert_int_equal(mm_await(mm.dma).status, SMMUV3_MODEL_OK);
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 1);
	for (i = 0; i < 64; i++)
		mm_submit(mm.dma, SMMUV3_MODEL_WRITE, buf + i * 8, mm_scratch + i * 8, 8);
	for (i = 0; i < 64; i++) {
		done = mm_await(mm.dma);
		assert_int_equal(done.status, SMMUV3_MODEL_OK);
		/*
		 * The answer comes after the invalidation, so that the device does not fault again.
		 */
		assert_in_range(done.nb_stalls, 0, 1);
	}
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(atomic_load(&mm.nb_reports), 0);
}

static struct {
	uint8_t *buf;
	int (*change)(uint8_t *buf);
	_Atomic bool started, done;
	pthread_t thread;
} changer;

static int
change_free(uint8_t *buf)
{
	return mmem_free(mm.space, buf);
}

static int
change_protect(uint8_t *buf)
{
	return mmem_protect(mm.space, buf, PAGE, MMEM_READ);
}

static int
change_unmap(uint8_t *buf)
{
	return mmem_unmap(mm.space, buf, CHUNK);
}

static void *
changer_main(void *arg)
{
	(void)arg;
	atomic_store(&changer.started, true);
	assert_int_equal(changer.change(changer.buf), 0);
	atomic_store(&changer.done, true);
	return NULL;
}

static void
changer_start(uint8_t *buf, int (*change)(uint8_t *buf))
{
	changer.buf = buf;
	changer.change = change;
	atomic_store(&changer.started, false);
	atomic_store(&changer.done, false);
	assert_int_equal(pthread_create(&changer.thread, NULL, changer_main, NULL), 0);
}

static void
changer_join(void)
{
	while (!atomic_load(&changer.done))
		mm_run_turn();
	assert_int_equal(pthread_join(changer.thread, NULL), 0);
}

/* A handler may have seen the old rights: the change does not return before the handler. */
static void
change_in_handler(void)
{
	unsigned int i;

	mm_in_handler = NULL;
	pthread_create(&changer.thread, NULL, changer_main, NULL);
	while (!atomic_load(&changer.started))
		sched_yield();
	for (i = 0; i < 20 && !atomic_load(&changer.done); i++)
		usleep(2000);
	assert_false(atomic_load(&changer.done));
}

static void
test_free_and_protect_wait_for_running_handlers(void **state)
{
	int (*change[])(uint8_t *) = { change_protect, change_free };
	unsigned int i;

	(void)state;
	changer.buf = mm_alloc(CHUNK, RW);
	for (i = 0; i < RTE_DIM(change); i++) {
		changer.change = change[i];
		atomic_store(&changer.started, false);
		atomic_store(&changer.done, false);
		mm_in_handler = change_in_handler;
		assert_int_equal(mm_dev_read((void *)PAGE, mm_scratch, 8).status,
				SMMUV3_MODEL_ABORTED);
		changer_join();
	}
}

static enum pgt_state
state_of(const void *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(mm.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf.state;
}

/*
 * Another thread has upgraded the entry and has not invalidated it yet. An answer without an
 * invalidation would make the device fault again.
 */
static void
test_a_fault_behind_an_upgrade_is_answered_after_an_invalidation(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct smmuv3_model_done done;
	struct pgt_unmapped out;
	struct pgt_inv inv;

	(void)state;
	mm_dev_expect(buf, 0, PAGE);
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_protect(mm.space->pgt, (uintptr_t)buf, PAGE, PGT_READ | PGT_WRITE,
			&out), 0);
	done = mm_dev_write(buf, "x", 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(mm_stat(MMEM_STAT_JOINED), 1);
	assert_int_equal(mm_stat(MMEM_STAT_UPGRADED), 0);
}

/*
 * A fault on a page between the removal of its entry and the end of the invalidation waits on a
 * worker. No page is mapped before the end.
 */
static void
test_a_fault_during_unmap_waits_for_its_end(void **state)
{
	uint8_t *buf = mm_alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	mm_dev_set(buf, 1, PAGE);
	/* The event is queued now, so that it is polled while the unmap waits for the SMMU. */
	mm_submit(mm.dma, SMMUV3_MODEL_READ, buf + PAGE, mm_scratch, 8);
	while (smmuv3_model_stalls_outstanding(mm.model) == 0)
		smmuv3_model_wait(mm.model);
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	changer_start(buf, change_unmap);
	while (state_of(buf + PAGE) != PGT_CLOSED)
		sched_yield();
	while (mm_stat(MMEM_STAT_DEFERRED) == 0)
		mm_run_turn();
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 1);
	assert_false(atomic_load(&changer.done));
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(mm_await(mm.dma).status, SMMUV3_MODEL_OK);
	changer_join();
	assert_int_equal(mm_stat(MMEM_STAT_MAPPED), 2);
	mm_dev_expect(buf, 1, PAGE);
}

/*
 * The model, the poll thread and control calls at the same time
 */

static _Atomic bool poller_quit;

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&poller_quit))
		if (iopf_poll(mm.poller) == 0)
			sched_yield();
	return NULL;
}

struct writer {
	uint8_t *buf;
	size_t len;
	uint64_t value;
	_Atomic uint64_t done, aborted;
	_Atomic bool quit;
};

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	uint64_t i, seed = 1;
	int rc;

	for (i = 0; !atomic_load(&w->quit); i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		w->value = i;
		rc = smmuv3_model_dma_write(mm.dma,
				(uintptr_t)w->buf + (seed >> 33) % (w->len / 8) * 8, &w->value, 8);
		atomic_fetch_add(rc == 0 ? &w->done : &w->aborted, 1);
	}
	return NULL;
}

/*
 * Without rights no access of the device succeeds, and a resolution under way at the unmap loses.
 * The oracle of the model checks each translation.
 */
static void
test_unmap_wins_over_concurrent_faults(void **state)
{
	const size_t len = 64 * PAGE;
	unsigned int round, rounds = 100 * test_scale();
	struct writer w = { .len = len };
	pthread_t poller, writer;
	uint64_t before;
	uint8_t *copy;

	(void)state;
	w.buf = mm_alloc(len, RW | MMEM_POPULATE);
	copy = malloc(len);
	assert_non_null(copy);
	assert_int_equal(smmuv3_model_start(mm.model, -1), 0);
	atomic_store(&poller_quit, false);
	assert_int_equal(pthread_create(&poller, NULL, poller_main, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, writer_main, &w), 0);
	for (round = 0; round < rounds; round++) {
		assert_int_equal(mmem_unmap(mm.space, w.buf, len), 0);
		assert_int_equal(mmem_protect(mm.space, w.buf, len, round % 2 ? MMEM_READ : 0), 0);
		before = atomic_load(&w.aborted);
		memcpy(copy, w.buf, len);
		while (atomic_load(&w.aborted) < before + 2)
			sched_yield();
		assert_memory_equal(copy, w.buf, len);
		before = atomic_load(&w.done);
		assert_int_equal(mmem_protect(mm.space, w.buf, len,
				RW | (round % 3 ? MMEM_TRACK_WRITES : 0)), 0);
		while (atomic_load(&w.done) < before + 8)
			sched_yield();
	}
	atomic_store(&w.quit, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(mmem_free(mm.space, w.buf), 0);
	atomic_store(&poller_quit, true);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_int_equal(smmuv3_model_stop(mm.model), 0);
	free(copy);
}

/* Regions are allocated and freed while a device accesses them. */
static void
test_regions_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 100 * test_scale();
	struct writer w = { .len = 4 * CHUNK };
	pthread_t poller, writer;
	uint8_t *a, *b;

	(void)state;
	w.buf = mm_alloc(CHUNK, RW);
	assert_int_equal(mmem_free(mm.space, w.buf), 0);
	assert_int_equal(smmuv3_model_start(mm.model, -1), 0);
	atomic_store(&poller_quit, false);
	assert_int_equal(pthread_create(&poller, NULL, poller_main, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, writer_main, &w), 0);
	for (round = 0; round < rounds; round++) {
		a = mm_alloc(CHUNK + PAGE, RW | (round & 1 ? MMEM_ZERO_INLINE : 0));
		b = mm_alloc(PAGE, MMEM_READ | (round & 2 ? MMEM_POPULATE : 0));
		while (atomic_load(&w.done) == 0)
			sched_yield();
		atomic_store(&w.done, 0);
		mm_cpu_expect(b, 0, PAGE);
		assert_int_equal(mmem_free(mm.space, a), 0);
		assert_int_equal(mmem_free(mm.space, b), 0);
	}
	atomic_store(&w.quit, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	atomic_store(&poller_quit, true);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_int_equal(smmuv3_model_stop(mm.model), 0);
	assert_true(mm_stat(MMEM_STAT_MAPPED) > 0);
	assert_int_equal(mm_stat(MMEM_STAT_KEPT), 0);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_a_storm_on_a_page_maps_it_once),
	MM_TEST(test_free_and_protect_wait_for_running_handlers),
	MM_TEST(test_a_fault_behind_an_upgrade_is_answered_after_an_invalidation),
	MM_TEST(test_a_fault_during_unmap_waits_for_its_end),
	MM_TEST(test_unmap_wins_over_concurrent_faults),
	MM_TEST(test_regions_come_and_go_under_faults),
};
TEST_SUITE(mmem_races, tests, NULL, NULL);

TEST_SUITE(mmem_pieces_races, tests, mm_set_pieces, mm_set_address);
