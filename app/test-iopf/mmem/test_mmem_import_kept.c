/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Imported memory between the closing of its entries and their end: a call that the SMMU does not
 * confirm keeps the memory, and faults meanwhile wait, are refused, or change nothing.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_errno.h>
#include <rte_log.h>

#include <iopf_iommu.h>

#include "iommu.h"
#include "log_lines.h"
#include "mmem_import.h"
#include "mmem_rig.h"
#include "mmem_window.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"

/* Four pages on both sides of a multiple of 2 MiB, where device addresses may jump. */
static uint8_t *
map_across(void)
{
	return mm_map_shared(2 * CHUNK) + CHUNK - 2 * PAGE;
}

static void
unmap_across(uint8_t *p)
{
	assert_int_equal(munmap(p + 2 * PAGE - CHUNK, 2 * CHUNK), 0);
}

/*
 * The SMMU does not answer for a while: the import stays the space's, and a second call makes the
 * missing invalidation.
 */
static void
test_memory_is_kept_when_the_iommu_does_not_confirm(void **state)
{
	uint8_t *p = map_across();
	unsigned int i;
	uint64_t syncs;

	(void)state;
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	assert_int_equal(mmem_import(mm.space, p + 2 * PAGE, 2 * PAGE, RW), 0);
	mm_dev_set(p, 1, 4 * PAGE);
	mm_smmu_stick(true);
	assert_true(mmem_unmap(mm.space, p + 2 * PAGE, PAGE) < 0);
	for (i = 0; i < 2; i++)
		assert_true(mmem_release(mm.space, p) < 0);
	/* Not a range any more, and not free to be imported again. */
	assert_int_equal(mmem_unmap(mm.space, p, PAGE), -EINVAL);
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), -EEXIST);
	mm_smmu_stick(false);
	SAYS("its release failed: release it again",
			assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), -EEXIST));
	syncs = smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS);
	assert_int_equal(mmem_release(mm.space, p), 0);
	assert_true(smmuv3_model_stat(mm.model, SMMUV3_MODEL_STAT_SYNCS) > syncs);
	assert_int_equal(mm_dev_read(p, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_unmap(mm.space, p + 2 * PAGE, PAGE), 0);
	assert_int_equal(mm_dev_read(p + 2 * PAGE, mm_scratch, 8).nb_stalls, 1);
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	mm_dev_expect(p, 1, 2 * PAGE);
	assert_int_equal(mmem_release(mm.space, p), 0);
	assert_int_equal(mmem_release(mm.space, p + 2 * PAGE), 0);
	unmap_across(p);
}

static struct {
	uint8_t *ptr;
	int (*change)(uint8_t *ptr);
	_Atomic bool done;
	pthread_t thread;
} changer;

static void *
changer_main(void *arg)
{
	(void)arg;
	assert_int_equal(changer.change(changer.ptr), 0);
	atomic_store(&changer.done, true);
	return NULL;
}

static int
change_unmap(uint8_t *ptr)
{
	return mmem_unmap(mm.space, ptr, 2 * PAGE);
}

static int
change_release(uint8_t *ptr)
{
	return mmem_release(mm.space, ptr);
}

static enum pgt_state
state_of(const void *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(mm.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf.state;
}

/* Read a page whose entry is closed, while the SMMU has not confirmed the invalidation. */
static struct smmuv3_model_done
read_during(int (*change)(uint8_t *ptr), uint8_t *p)
{
	struct smmuv3_model_done done;

	mm_dev_set(p, 1, PAGE);
	mm_submit(mm.dma, SMMUV3_MODEL_READ, p + PAGE, mm_scratch, 8);
	while (smmuv3_model_stalls_outstanding(mm.model) == 0)
		smmuv3_model_wait(mm.model);
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	changer.ptr = p;
	changer.change = change;
	atomic_store(&changer.done, false);
	assert_int_equal(pthread_create(&changer.thread, NULL, changer_main, NULL), 0);
	while (state_of(p + PAGE) != PGT_CLOSED)
		sched_yield();
	while (mm_stat(MMEM_STAT_DEFERRED) + atomic_load(&mm.nb_reports) == 0)
		mm_run_turn();
	assert_int_equal(state_of(p + PAGE), PGT_CLOSED);
	assert_false(atomic_load(&changer.done));
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	done = mm_await(mm.dma);
	while (!atomic_load(&changer.done))
		mm_run_turn();
	assert_int_equal(pthread_join(changer.thread, NULL), 0);
	return done;
}

static void
test_a_fault_during_unmap_waits_and_one_during_release_is_refused(void **state)
{
	uint8_t *p = map_across();

	(void)state;
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	assert_int_equal(read_during(change_unmap, p).status, SMMUV3_MODEL_OK);
	assert_int_equal(mm_stat(MMEM_STAT_DEFERRED), 1);
	assert_int_equal(mmem_unmap(mm.space, p, 2 * PAGE), 0);
	assert_int_equal(read_during(change_release, p).status, SMMUV3_MODEL_ABORTED);
	mm_expect_report(p + PAGE, IOPF_NO_PASID, MMEM_READ, -EFAULT);
	unmap_across(p);
}

/* A handler that runs may have found the import: the release does not return before it. */
static void
release_in_handler(void)
{
	mm_in_handler = NULL;
	assert_int_equal(pthread_create(&changer.thread, NULL, changer_main, NULL), 0);
	while (mmem_import_find(mm.space, (uintptr_t)changer.ptr) != NULL)
		sched_yield();
	for (unsigned int i = 0; i < 20 && !atomic_load(&changer.done); i++)
		usleep(2000);
	assert_false(atomic_load(&changer.done));
}

static void
test_a_release_waits_for_running_handlers(void **state)
{
	uint8_t *p = map_across();

	(void)state;
	mm_import(p, PAGE, RW);
	changer.ptr = p;
	changer.change = change_release;
	atomic_store(&changer.done, false);
	mm_in_handler = release_in_handler;
	assert_int_equal(mm_dev_read((void *)PAGE, mm_scratch, 8).status, SMMUV3_MODEL_ABORTED);
	while (!atomic_load(&changer.done))
		mm_run_turn();
	assert_int_equal(pthread_join(changer.thread, NULL), 0);
	unmap_across(p);
}

/* A page request group that an overflow discards, on a page that is being unmapped. */
static void
test_a_lost_request_on_a_closed_page_of_an_import_changes_nothing(void **state)
{
	uint8_t *p = map_across();
	struct iopf_fault fault = {
		.addr = (uintptr_t)p, .perm = IOPF_PERM_READ, .flags = IOPF_FAULT_PAGE_REQUEST,
	};
	const struct iopf_fault *faults[] = { &fault };
	struct iopf_group group = { .nb_faults = 1, .faults = faults };
	struct pgt_unmapped out;
	struct pgt_inv inv;

	(void)state;
	assert_int_equal(mmem_import(mm.space, p, 2 * PAGE, RW), 0);
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_unmap(mm.space->pgt, (uintptr_t)p, PAGE, PGT_CLOSE, &out), 0);
	mmem_handle_lost(mmem_space_domain(mm.space), &group, mm.space);
	assert_int_equal(state_of(p), PGT_CLOSED);
	assert_false(atomic_load(&mm.pool->wanted));
	assert_int_equal(pgt_open(mm.space->pgt, (uintptr_t)p, PAGE), 0);
	mmem_handle_lost(mmem_space_domain(mm.space), &group, mm.space);
	assert_int_equal(state_of(p), PGT_VALID);
	assert_int_equal(mmem_release(mm.space, p), 0);
	unmap_across(p);
}

static bool is_pieces;

/* An owner of one page has it in the way: the pages in front of it are unmapped again. */
static void
test_an_import_that_fails_halfway_leaves_nothing_mapped(void **state)
{
	uint8_t *p = map_across();
	uint64_t addr;

	(void)state;
	assert_int_equal(iopf_dma_map(mm.smmu, p + 2 * PAGE, PAGE, &addr), 0);
	mm_mute_log(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	assert_int_equal(mmem_import(mm.space, p, 4 * PAGE, RW), -EEXIST);
	mm_mute_log(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(iopf_dma_unmap(mm.smmu, p + 2 * PAGE, PAGE, addr), 0);
	mm_import(p, 4 * PAGE, RW);
	mm_dev_set(p, 1, 4 * PAGE);
	mm_cpu_expect(p, 1, 4 * PAGE);
	mm_release(p);
	unmap_across(p);
}

/* The driver refuses to unmap memory that it does not have: the import stays until it has. */
static void
test_memory_is_kept_when_the_driver_does_not_unmap_it(void **state)
{
	struct mmem_space *space = mmem_space_create(&(struct mmem_space_conf){
			.name = "kept", .pool = mm.pool });
	uint8_t *p = map_across(), *part;
	const struct mmem_window *window;
	uint64_t addr, again;
	size_t len;

	(void)state;
	assert_non_null(space);
	assert_int_equal(mmem_import(space, p, 4 * PAGE, RW), 0);
	window = TAILQ_FIRST(&space->imports)->window;
	assert_int_equal(window->is_whole, !is_pieces);
	/* The second of four pages, each mapped alone: two of them are unmapped before it. */
	part = window->is_whole ? p : p + PAGE;
	len = window->is_whole ? 4 * PAGE : PAGE;
	addr = mmem_window_to_pa(window, (uintptr_t)part);
	assert_int_equal(iopf_dma_unmap(mm.smmu, part, len, addr), 0);
	mm_mute_log(true);
	assert_int_equal(mmem_release(space, p), -ENOENT);
	assert_int_equal(mmem_release(space, p), -ENOENT);
	assert_int_equal(mmem_space_destroy(space), -ENOENT);
	assert_int_equal(mmem_import(space, p, PAGE, RW), -ESHUTDOWN);
	mm_mute_log(false);
	assert_int_equal(iopf_dma_map(mm.smmu, part, len, &again), 0);
	assert_int_equal(again, addr);
	assert_int_equal(mmem_space_destroy(space), 0);
	mm_import(p, 4 * PAGE, RW);
	mm_dev_set(p, 1, 4 * PAGE);
	mm_release(p);
	unmap_across(p);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(test_memory_is_kept_when_the_iommu_does_not_confirm),
	MM_TEST(test_a_fault_during_unmap_waits_and_one_during_release_is_refused),
	MM_TEST(test_a_release_waits_for_running_handlers),
	MM_TEST(test_a_lost_request_on_a_closed_page_of_an_import_changes_nothing),
	MM_TEST(test_an_import_that_fails_halfway_leaves_nothing_mapped),
	MM_TEST(test_memory_is_kept_when_the_driver_does_not_unmap_it),
};
TEST_SUITE(mmem_import_kept, tests, NULL, NULL);

static int
set_pieces(void **state)
{
	is_pieces = true;
	return mm_set_pieces(state);
}

static int
set_address(void **state)
{
	is_pieces = false;
	return mm_set_address(state);
}

TEST_SUITE(mmem_pieces_import_kept, tests, set_pieces, set_address);
