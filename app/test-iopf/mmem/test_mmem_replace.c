/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A device moves from one space to another while it runs. The oracle of the model looks on. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_stats.h"
#include "mmem_rig.h"
#include "test.h"

#define REPLACES 100

static struct mmem_space *next;
static uint8_t *old_buf, *next_buf;
static unsigned int nb_reports;
static struct mmem_report last;
static int in_report;		/* the result of a replace in a report */
static _Atomic bool ended;

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	(void)ctx;
	assert_ptr_equal(space, next);
	last = *report;
	nb_reports++;
	in_report = mmem_replace(mm.space, mm.dev, PASID);
}

static void
open_spaces(void)
{
	nb_reports = 0;
	in_report = 0;
	next = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool,
			.report = on_report });
	assert_non_null(next);
	next_buf = mmem_alloc(next, CHUNK, RW);
	assert_non_null(next_buf);
	old_buf = mm_alloc(CHUNK, RW);
}

static void
expect_write(uint8_t *addr, enum smmuv3_model_status status, uint8_t byte)
{
	mm_scratch[0] = byte;
	mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, addr, mm_scratch, 1);
	assert_int_equal(mm_await(mm.dma_pasid).status, status);
	if (status == SMMUV3_MODEL_OK)
		assert_int_equal(*addr, byte);
	else
		assert_int_not_equal(*addr, byte);
}

static void
after_a_replace_accesses_use_the_other_space(void **state)
{
	(void)state;
	open_spaces();
	expect_write(old_buf, SMMUV3_MODEL_OK, 1);
	assert_int_equal(mmem_replace(next, mm.dev, PASID), 0);
	expect_write(next_buf, SMMUV3_MODEL_OK, 2);
	/* Nothing of the old space is cached. */
	expect_write(old_buf, SMMUV3_MODEL_ABORTED, 3);
	assert_int_equal(nb_reports, 1);
	assert_int_equal(last.addr, (uintptr_t)old_buf);
	assert_int_equal(last.error, -EFAULT);
	assert_int_equal(last.pasid, PASID);
	assert_int_equal(in_report, -EDEADLK);
	/* The other PASID of the device stays. */
	mm_dev_set(old_buf, 4, 1);
	/* That space again: nothing to do. */
	assert_int_equal(mmem_replace(next, mm.dev, PASID), 0);
	expect_write(next_buf, SMMUV3_MODEL_OK, 5);
	assert_int_equal(mmem_space_destroy(next), -EBUSY);
	assert_int_equal(mmem_replace(mm.space, mm.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(next), 0);
	expect_write(old_buf, SMMUV3_MODEL_OK, 6);
}

/* The access waits for a page that its pager does not bring. */
static int
start_never(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	struct mmem_fetch *_Atomic *kept = ctx;

	(void)offset;
	(void)dst;
	(void)len;
	*kept = fetch;
	return 0;
}

static void
a_replace_does_not_wait_for_a_pager(void **state)
{
	struct mmem_fetch *_Atomic fetch = NULL;
	struct smmuv3_model_done done;
	uint8_t *slow;

	(void)state;
	open_spaces();
	slow = mmem_alloc_paged(mm.space, CHUNK, RW, &(struct mmem_pager){ .start = start_never,
			.ctx = &fetch });
	assert_non_null(slow);
	mm_submit(mm.dma_pasid, SMMUV3_MODEL_READ, slow, mm_scratch, 1);
	while (fetch == NULL)
		mm_run_turn();
	assert_int_equal(mmem_replace(next, mm.dev, PASID), 0);
	/* The device has tried again, and this space refuses. */
	done = mm_await(mm.dma_pasid);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(nb_reports, 1);
	assert_int_equal(iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_RETRIED), 1);
	mmem_fetch_done(fetch, 0);
	assert_int_equal(mmem_free(mm.space, slow), 0);
	assert_int_equal(mmem_replace(mm.space, mm.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(next), 0);
}

/* Writes that succeeded, to the memory of each space. */
static _Atomic unsigned int ok[2];

/* An even number of times, until the device has written to each space. */
static void *
replace_often(void *arg)
{
	int ret = 0;

	(void)arg;
	for (unsigned int i = 0; ret == 0 && (i < REPLACES || i % 2 != 0 ||
			((ok[0] == 0 || ok[1] == 0) && i < 1000 * REPLACES)); i++) {
		ret = mmem_replace(i % 2 == 0 ? next : mm.space, mm.dev, PASID);
		usleep(100);
	}
	ended = true;
	return (void *)(intptr_t)ret;
}

/* A write that succeeds is in the memory of its space; the other PASID does not notice. */
static void
it_replaces_while_the_device_writes(void **state)
{
	pthread_t thread;
	uint8_t byte = 0;
	void *ret;

	(void)state;
	open_spaces();
	ended = false;
	ok[0] = ok[1] = 0;
	assert_int_equal(pthread_create(&thread, NULL, replace_often, NULL), 0);
	for (unsigned int i = 0; !ended; i++) {
		uint8_t *addr = (i % 2 == 0 ? old_buf : next_buf) + i % CHUNK;

		mm_scratch[0] = ++byte;
		mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, addr, mm_scratch, 1);
		if (mm_await(mm.dma_pasid).status == SMMUV3_MODEL_OK) {
			assert_int_equal(*addr, byte);
			ok[i % 2]++;
		}
		mm_dev_set(old_buf + CHUNK / 2, byte, 8);
		assert_int_equal(old_buf[CHUNK / 2], byte);
	}
	pthread_join(thread, &ret);
	assert_int_equal((intptr_t)ret, 0);
	assert_true(ok[0] > 0 && ok[1] > 0);
	/* The number of replaces is even. */
	expect_write(old_buf, SMMUV3_MODEL_OK, 77);
	assert_int_equal(mmem_space_destroy(next), 0);
}

static void
it_refuses_what_an_attach_refuses(void **state)
{
	const uint32_t sid = 1;
	struct iopf_iommu *other;
	struct iopf_dev *dev;

	(void)state;
	open_spaces();
	assert_int_equal(mmem_replace(next, mm.dev, PASID - 1), -ENOTCONN);
	other = iopf_iommu_open("smmuv3,model=mmem-other");
	assert_non_null(other);
	dev = iopf_dev_add(other, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	mm_mute_log(true);
	assert_int_equal(mmem_replace(next, dev, IOPF_NO_PASID), -EXDEV);
	mm_mute_log(false);
	assert_int_equal(iopf_dev_remove(dev), 0);
	assert_int_equal(iopf_iommu_close(other), 0);
	assert_int_equal(mmem_space_destroy(next), 0);
}

static const struct CMUnitTest tests[] = {
	MM_TEST(after_a_replace_accesses_use_the_other_space),
	MM_TEST(a_replace_does_not_wait_for_a_pager),
	MM_TEST(it_replaces_while_the_device_writes),
	MM_TEST(it_refuses_what_an_attach_refuses),
};

TEST_SUITE(mmem_replace, tests, NULL, NULL);
