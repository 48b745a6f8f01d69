/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Software DMA engines of the model. */

#include <errno.h>
#include <string.h>

#include "model_rig.h"
#include "test.h"

#define VA UINT64_C(0x10000000)

static void
setup(struct rig *r, const struct smmuv3_model_conf *conf)
{
	rig_open(r, conf);
	rig_start(r);
	rig_set_s1(r, 0);
	for (uint64_t off = 0; off < 0x40000; off += 0x1000)
		rig_map(r, VA + off, RIG_DATA + off, RIG_RW);
}

static void
test_dma_moves_bytes_across_pages(void **state)
{
	static uint8_t out[10000], in[10000];
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_WRITE, VA + 100, out, sizeof(out)),
			SMMUV3_MODEL_OK);
	assert_memory_equal(r.data + 100, out, sizeof(out));
	assert_int_equal(r.done[0].bytes, sizeof(out));
	assert_int_equal(r.done[0].cookie, VA + 100);
	assert_int_equal(r.done[0].nb_stalls, 0);
	assert_true(r.done[0].t_end >= r.done[0].t_start);
	/* 100..4095, 4096..8191, 8192..10099 */
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_TRANSACTIONS), 3);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 100, in, sizeof(in)),
			SMMUV3_MODEL_OK);
	assert_memory_equal(in, out, sizeof(out));
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_copies_between_unaligned_places(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (size_t i = 0; i < 9000; i++)
		r.data[77 + i] = (uint8_t)(i * 13 + 1);
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_COPY, .addr = VA + 77, .dst = VA + 0x20555,
			.len = 9000 }), 0);
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(r.done[0].bytes, 9000);
	assert_memory_equal(r.data + 0x20555, r.data + 77, 9000);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_of_others_goes_on_behind_a_stall(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint8_t a[64], b[64];
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	memset(a, 0xaa, sizeof(a));
	memset(b, 0xbb, sizeof(b));
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA + 0x80000, a, sizeof(a));
	rig_submit(&r, dma, SMMUV3_MODEL_WRITE, VA, b, sizeof(b));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].cookie, VA);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 1);
	assert_true(rig_take_evt(&r, &evt));
	rig_map(&r, VA + 0x80000, RIG_DATA + 0x80000, RIG_RW);
	rig_send(&r, smmuv3_cmd_resume(RIG_SID, (uint16_t)evt.dw[1], true, false));
	assert_int_equal(rig_poll(&r, dma), 1);
	assert_int_equal(r.done[0].nb_stalls, 1);
	assert_true(r.done[0].t_event >= r.done[0].t_start);
	assert_true(r.done[0].t_resume >= r.done[0].t_event);
	assert_true(r.done[0].t_end >= r.done[0].t_resume);
	assert_memory_equal(r.data + 0x80000, a, sizeof(a));
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_depth_bounds_what_is_outstanding(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_done done[4];
	uint8_t buf[8];
	struct smmuv3_model_op op = { .type = SMMUV3_MODEL_READ, .addr = VA, .buf = buf, .len = 8 };
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.depth = 3 });
	for (int i = 0; i < 3; i++)
		assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), -EAGAIN);
	rig_run(&r);
	/* A DMA that has ended counts until it is polled. */
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), -EAGAIN);
	assert_int_equal(smmuv3_model_dma_poll(dma, done, 2), 2);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
	assert_int_equal(smmuv3_model_dma_submit(dma, &op), -EAGAIN);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_rejects_bad_operations(void **state)
{
	uint8_t buf[8];
	const struct smmuv3_model_op bad[] = {
		{ .type = SMMUV3_MODEL_READ, .addr = VA, .buf = buf, .len = 0 },
		{ .type = SMMUV3_MODEL_READ, .addr = UINT64_MAX - 3, .buf = buf, .len = 8 },
		{ .type = SMMUV3_MODEL_READ, .addr = VA, .len = 8 },
		{ .type = SMMUV3_MODEL_WRITE, .addr = VA, .buf = buf, .len = 8,
			.instruction = true },
		{ .type = SMMUV3_MODEL_COPY, .addr = VA, .dst = UINT64_MAX - 3, .len = 8 },
		{ .type = (enum smmuv3_model_op_type)7, .addr = VA, .buf = buf, .len = 8 },
	};
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(smmuv3_model_dma_submit(dma, &bad[i]), -EINVAL);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 0);
	assert_null(smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){
			.depth = 65537 }));
	assert_int_equal(errno, EINVAL);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

struct chain {
	unsigned int left, seen;
	uint8_t buf[64];
};

static void
chain_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	struct chain *c = ctx;

	assert_int_equal(done->status, SMMUV3_MODEL_OK);
	c->seen++;
	if (c->left == 0)
		return;
	c->left--;
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = VA, .buf = c->buf, .len = 64 }), 0);
}

static void
test_dma_on_done_may_submit_at_full_depth(void **state)
{
	struct chain c = { .left = 1000 };
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_done done;
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.depth = 2, .on_done = chain_done, .ctx = &c });
	for (int i = 0; i < 2; i++)
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .addr = VA, .buf = c.buf,
				.len = 64 }), 0);
	rig_run(&r);
	assert_int_equal(c.seen, 1002);
	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 0);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_outside_windows_is_an_external_abort(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint8_t buf[64];
	struct rig r;

	(void)state;
	setup(&r, NULL);
	dma = rig_add_dma(&r, RIG_SID, -1);
	rig_map(&r, VA + 0x90000, UINT64_C(0x7000000000), RIG_RW);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 0x90000, buf, 64),
			SMMUV3_MODEL_ABORTED);
	assert_false(rig_take_evt(&r, &evt));
	/* The window is removed while the TLB still has the page. */
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 64), SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_mem_del(r.m, RIG_DATA), 0);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA, buf, 64),
			SMMUV3_MODEL_ABORTED);
	assert_int_equal(smmuv3_model_mem_del(r.m, RIG_DATA), -ENOENT);
	/* Two windows that meet inside a page. */
	assert_int_equal(smmuv3_model_mem_add(r.m, RIG_DATA, r.data, 100), 0);
	assert_int_equal(smmuv3_model_mem_add(r.m, RIG_DATA + 100, r.data + 100, 4000), 0);
	memset(r.data, 0x5a, 200);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, VA + 90, buf, 64),
			SMMUV3_MODEL_OK);
	for (int i = 0; i < 64; i++)
		assert_int_equal(buf[i], 0x5a);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_windows_are_checked(void **state)
{
	static uint8_t mem[8192];
	struct smmuv3_model *m = smmuv3_model_create(&(struct smmuv3_model_conf){
			.oas_bits = 36 });

	(void)state;
	assert_int_equal(smmuv3_model_mem_add(m, 0x1000, mem, 0x1000), 0);
	assert_int_equal(smmuv3_model_mem_add(m, 0x1fff, mem, 0x1000), -EEXIST);
	assert_int_equal(smmuv3_model_mem_add(m, 0xfff, mem, 2), -EEXIST);
	assert_int_equal(smmuv3_model_mem_add(m, 0x800, mem, 0x2000), -EEXIST);
	assert_int_equal(smmuv3_model_mem_add(m, 0x2000, mem, 0x1000), 0);
	assert_int_equal(smmuv3_model_mem_add(m, 0, mem, 0x1000), 0);
	assert_int_equal(smmuv3_model_mem_add(m, 0x3000, mem, 0), -EINVAL);
	assert_int_equal(smmuv3_model_mem_add(m, 0x3000, NULL, 1), -EINVAL);
	assert_int_equal(smmuv3_model_mem_add(m, UINT64_C(1) << 36, mem, 1), -EINVAL);
	assert_int_equal(smmuv3_model_mem_add(m, (UINT64_C(1) << 36) - 1, mem, 2), -EINVAL);
	assert_int_equal(smmuv3_model_mem_del(m, 0x1001), -ENOENT);
	assert_int_equal(smmuv3_model_mem_del(m, 0x1000), 0);
	assert_int_equal(smmuv3_model_mem_add(m, 0x1800, mem, 0x800), 0);
	for (unsigned int i = 3; i < 1024; i++)
		assert_int_equal(smmuv3_model_mem_add(m, 0x10000 + i * 16, mem, 16), 0);
	assert_int_equal(smmuv3_model_mem_add(m, 0x8000, mem, 16), -ENOSPC);
	smmuv3_model_destroy(m);
}

static void
test_dma_without_smmuen_follows_gbpa(void **state)
{
	struct smmuv3_model_dma *dma;
	uint8_t buf[16];
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .oas_bits = 40 });
	dma = rig_add_dma(&r, RIG_SID, 3);
	memset(r.data, 0x42, 16);
	/* After reset: bypass. */
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, RIG_DATA, buf, 16),
			SMMUV3_MODEL_OK);
	assert_int_equal(buf[15], 0x42);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, UINT64_C(1) << 40, buf, 16),
			SMMUV3_MODEL_ABORTED);
	rig_write(&r, SMMUV3_GBPA, (uint32_t)(SMMUV3_GBPA_UPDATE | SMMUV3_GBPA_ABORT));
	rig_run(&r);
	assert_int_equal(rig_read(&r, SMMUV3_GBPA), (uint32_t)SMMUV3_GBPA_ABORT);
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, RIG_DATA, buf, 16),
			SMMUV3_MODEL_ABORTED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_EVENTS), 0);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_dma_many_engines_each_own_stream(void **state)
{
	enum { N = 300 };
	static struct smmuv3_model_dma *dma[N];
	static uint8_t buf[N][8];
	struct smmuv3_model_done done;
	struct smmuv3_ste ste;
	struct rig r;

	(void)state;
	setup(&r, NULL);
	ste = *rig_get_ste(&r, RIG_SID);
	for (int i = 0; i < N; i++) {
		*rig_get_ste(&r, 100 + i) = ste;
		dma[i] = rig_add_dma(&r, 100 + i, -1);
	}
	rig_flush(&r);
	for (int i = 0; i < N; i++)
		rig_submit(&r, dma[i], SMMUV3_MODEL_READ, VA + 8 * i, buf[i], 8);
	for (int i = 0; i < 4096; i++)
		r.data[i] = (uint8_t)(i >> 3);
	rig_run(&r);
	for (int i = 0; i < N; i++) {
		assert_int_equal(smmuv3_model_dma_poll(dma[i], &done, 1), 1);
		assert_int_equal(done.status, SMMUV3_MODEL_OK);
		assert_int_equal(buf[i][0], (uint8_t)i);
		smmuv3_model_dma_destroy(dma[i]);
	}
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_dma_moves_bytes_across_pages),
	cmocka_unit_test(test_dma_copies_between_unaligned_places),
	cmocka_unit_test(test_dma_of_others_goes_on_behind_a_stall),
	cmocka_unit_test(test_dma_depth_bounds_what_is_outstanding),
	cmocka_unit_test(test_dma_rejects_bad_operations),
	cmocka_unit_test(test_dma_on_done_may_submit_at_full_depth),
	cmocka_unit_test(test_dma_outside_windows_is_an_external_abort),
	cmocka_unit_test(test_dma_windows_are_checked),
	cmocka_unit_test(test_dma_without_smmuen_follows_gbpa),
	cmocka_unit_test(test_dma_many_engines_each_own_stream),
};

TEST_SUITE(model_dma, tests, NULL, NULL);
