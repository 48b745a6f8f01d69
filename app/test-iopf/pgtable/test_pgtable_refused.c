/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Arguments and configurations that are refused, and allocations that fail.
 */

#include <errno.h>
#include <stdlib.h>

#include "table_rig.h"
#include "test.h"

static void
out_of_range_and_misaligned_is_refused(void **arg)
{
	struct mem mem;
	struct pgt_conf conf;
	struct pgt_inv inv[1];
	struct pgt_unmapped out;
	struct pgt_ticket ticket;
	struct pgt_leaf leaf;
	struct pgt *pgt;
	uint64_t top = UINT64_C(1) << 39, ptop = UINT64_C(1) << 40;
	unsigned int i;
	static const struct {
		uint64_t va, size;
	} bad[] = {
		{ 0, 0 }, { 1, K4 }, { 0, K4 + 1 }, { UINT64_C(1) << 39, K4 },
		{ (UINT64_C(1) << 39) - K4, 2 * K4 }, { K4, UINT64_MAX - K4 + 1 },
		{ UINT64_MAX - K4 + 1, K4 }, { UINT64_MAX - K4 + 1, 2 * K4 },
	};

	(void)arg;
	mem_init(&mem, 12);
	conf = mem_conf(&mem, 12, 39);
	conf.pa_bits = 40;
	mem.pgt = pgt = pgt_create(&conf);
	assert_non_null(pgt);
	pgt_unmapped_init(&out, inv, 1);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(pgt_prealloc(pgt, bad[i].va, bad[i].size), -EINVAL);
		assert_int_equal(pgt_map(pgt, bad[i].va, 0, bad[i].size, PGT_READ), -EINVAL);
		assert_int_equal(pgt_unmap(pgt, bad[i].va, bad[i].size, 0, &out), -EINVAL);
		assert_int_equal(pgt_protect(pgt, bad[i].va, bad[i].size, PGT_READ, &out), -EINVAL);
		assert_int_equal(pgt_open(pgt, bad[i].va, bad[i].size), -EINVAL);
	}
	assert_int_equal(pgt_map(pgt, 0, 1, K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, ptop, K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, ptop - K4, 2 * K4, PGT_READ), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, 0), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_PRIV), -EINVAL);
	assert_int_equal(pgt_map(pgt, 0, 0, K4, PGT_READ | 1u << 30), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, 0, K4, 1u << 30, &out), -EINVAL);
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, NULL), -EINVAL);
	out.max_inv = 0;
	assert_int_equal(pgt_unmap(pgt, 0, K4, 0, &out), -EINVAL);
	assert_int_equal(pgt_protect(pgt, 0, K4, PGT_READ, &out), -EINVAL);
	assert_int_equal(pgt_walk(pgt, top, &leaf), -EINVAL);
	assert_int_equal(mem.nb_alloc, 1);

	assert_int_equal(pgt_prealloc(pgt, 0, K4), 0);
	assert_int_equal(pgt_resolve(pgt, top, 0, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, UINT64_MAX, 0, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, ptop, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, 8, PGT_READ), -EINVAL);
	assert_int_equal(pgt_resolve(pgt, 0, 0, 0), -EINVAL);
	assert_int_equal(pgt_resolve_begin(pgt, top, PGT_READ, 4, &ticket), -EINVAL);
	for (i = 0; i < 4; i++)
		assert_int_equal(pgt_resolve_begin(pgt, 0, PGT_READ, i, &ticket), -EINVAL);
	assert_int_equal(table_state(pgt, 0), PGT_INVALID);
	table_close(&mem);
}

static void
configuration_is_checked(void **arg)
{
	struct pgt_conf good, conf;
	struct mem mem;

	(void)arg;
	mem_init(&mem, 12);
	good = mem_conf(&mem, 0, 0);
	mem.pgt = pgt_create(&good);
	assert_non_null(mem.pgt);
	assert_int_equal(pgt_va_bits(mem.pgt), 48);
	assert_int_equal(pgt_granule_log2(mem.pgt), 12);
	pgt_destroy(mem.pgt);

#define REFUSED(err, ...) do {							\
		conf = good;							\
		__VA_ARGS__;							\
		errno = 0;							\
		assert_null(pgt_create(&conf));					\
		assert_int_equal(errno, err);					\
	} while (0)
	REFUSED(EINVAL, conf.granule_log2 = 13);
	REFUSED(EINVAL, conf.va_bits = 24);
	REFUSED(EINVAL, conf.va_bits = 49);
	REFUSED(EINVAL, conf.pa_bits = 31);
	REFUSED(EINVAL, conf.pa_bits = 52);
	REFUSED(EINVAL, conf.mem.alloc = NULL);
	REFUSED(EINVAL, conf.mem.free = NULL);
	REFUSED(EINVAL, conf.mem.va_to_pa = NULL);
	mem.skew = 64;
	REFUSED(EFAULT, conf = good);
	mem.skew = 0;
	mem.fail_from = 1;
	mem.nb_alloc = mem.nb_free = 0;
	REFUSED(ENOMEM, conf = good);
	mem.fail_from = 0;
#undef REFUSED

	/* Memory becomes misaligned after pgt_create(). */
	mem.pgt = pgt_create(&good);
	assert_non_null(mem.pgt);
	mem.skew = 8;
	assert_int_equal(pgt_prealloc(mem.pgt, 0, K4), -EFAULT);
	mem.skew = 0;
	assert_int_equal(pgt_prealloc(mem.pgt, 0, K4), 0);
	pgt_destroy(mem.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
	free(mem.base);
	pgt_destroy(NULL);

	assert_string_equal(pgt_state_name(PGT_ABSENT), "absent");
	assert_string_equal(pgt_state_name(PGT_CLOSED), "closed");
	assert_string_equal(pgt_state_name((enum pgt_state)99), "?");
}

static int
step_map(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_map(pgt, G1 - 2 * M2 - K4, G1 - 2 * M2 - K4, 4 * M2 + 2 * K4, PGT_READ);
}

static int
step_prealloc(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_prealloc(pgt, G1 - M2, 3 * M2);
}

static int
step_close(struct pgt *pgt, struct pgt_unmapped *out)
{
	return pgt_unmap(pgt, 7 * G1 - K4, 2 * G1 + 2 * K4, PGT_CLOSE, out);
}

static int
step_open_in_part(struct pgt *pgt, struct pgt_unmapped *out)
{
	(void)out;
	return pgt_open(pgt, 7 * G1 + M2, K4);
}

static void
nth_allocation_failure_leaves_a_consistent_table(void **arg)
{
	static int (* const steps[])(struct pgt *pgt, struct pgt_unmapped *out) = {
		step_map, step_prealloc, step_close, step_open_in_part,
	};
	/* Addresses where a failed map could leave an entry. */
	static const uint64_t probes[] = { G1 - 2 * M2 - K4, G1 - M2, G1, G1 + 2 * M2 };
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	struct pgt_info info;
	struct mem mem;
	struct pgt *pgt;
	unsigned int fail, s, i, failures = 0;
	bool all;
	int rc;

	(void)arg;
	for (fail = 2, all = false; !all; fail++) {
		pgt = table_open(&mem, 12, 48);
		pgt_unmapped_init(&out, inv, 4);
		all = true;
		for (s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
			mem.fail_from = fail;
			rc = steps[s](pgt, &out);
			mem.fail_from = 0;
			if (rc == 0)
				continue;
			assert_int_equal(rc, -ENOMEM);
			all = false;
			failures++;
			if (s == 0) {
				for (i = 0; i < 4; i++)
					assert_int_not_equal(table_state(pgt, probes[i]),
							PGT_VALID);
			} else if (s == 2) {
				assert_int_not_equal(table_state(pgt, 7 * G1 - K4), PGT_CLOSED);
				assert_int_not_equal(table_state(pgt, 7 * G1), PGT_CLOSED);
				assert_int_not_equal(table_state(pgt, 9 * G1), PGT_CLOSED);
			} else if (s == 3) {
				assert_int_equal(table_state(pgt, 7 * G1 + M2), PGT_CLOSED);
			}
			pgt_info(pgt, &info);
			assert_int_equal(info.nb_tables, mem.nb_alloc);
			assert_int_equal(out.nb_inv, 0);
			/* The same step succeeds with memory. */
			assert_int_equal(steps[s](pgt, &out), 0);
		}
		assert_int_equal(table_walk(pgt, G1 + M2).pa, G1 + M2);
		assert_int_equal(table_state(pgt, 7 * G1 + M2), PGT_INVALID);
		assert_int_equal(table_state(pgt, 7 * G1 + M2 - K4), PGT_CLOSED);
		table_close(&mem);
	}
	assert_true(failures > 8);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(out_of_range_and_misaligned_is_refused),
	cmocka_unit_test(configuration_is_checked),
	cmocka_unit_test(nth_allocation_failure_leaves_a_consistent_table),
};
TEST_SUITE(pgtable_refused, tests, NULL, NULL);
TEST_SUITE(pgtable_refused_stage2, tests, table_use_stage2, table_use_stage1);
