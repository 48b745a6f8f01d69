/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Harvests and unmaps against an SMMU with HTTU, which a thread plays: each update of a flag is
 * reported once.
 */

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "ref_walk.h"
#include "table_rig.h"
#include "test.h"

#define RACE_PAGES	8
#define RACE_ROUNDS	20000u
/* Updates at least: on a busy machine the threads start late. */
#define RACE_UPDATES	2000u
#define RACE_MAX_ROUNDS	(500 * RACE_ROUNDS)
#define DESC_AF		(UINT64_C(1) << 10)
#define DESC_AP2	(UINT64_C(1) << 7)
#define DESC_DBM	(UINT64_C(1) << 51)

struct flags_race {
	struct pgt *pgt;
	_Atomic uint64_t *desc;		/* of the first page; its table is never freed */
	_Atomic bool stop;
	_Atomic uint64_t accessed;	/* updates of the SMMU */
	_Atomic uint64_t dirty;
	_Atomic uint64_t odd;		/* results that are not possible */
	_Atomic uint64_t gone_accessed;	/* what unmaps reported */
	_Atomic uint64_t gone_dirty;
};

/* An atomic update of a valid descriptor that is still the same [SMMUv3 3.13]. */
static void *
play_smmu(void *p)
{
	struct flags_race *race = p;
	uint64_t raw, e, n = 0;

	for (; !atomic_load_explicit(&race->stop, memory_order_relaxed); n++) {
		_Atomic uint64_t *desc = &race->desc[n * 5 % RACE_PAGES];

		raw = atomic_load_explicit(desc, memory_order_acquire);
		e = le64toh(raw);
		if (!(e & 1))
			continue;
		if (!(e & DESC_AF)) {
			if (atomic_compare_exchange_strong(desc, &raw, htole64(e | DESC_AF)))
				atomic_fetch_add(&race->accessed, 1);
		} else if ((e & DESC_DBM) && (table_stage2 ? !(e & DESC_AP2) : e & DESC_AP2)) {
			if (atomic_compare_exchange_strong(desc, &raw, htole64(e ^ DESC_AP2)))
				atomic_fetch_add(&race->dirty, 1);
		}
		if (n % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* Maps pages, and takes them away; one of the pages stays. */
static void *
remap(void *p)
{
	static const uint32_t prot = PGT_READ | PGT_WRITE | PGT_OLD | PGT_CLEAN;
	struct flags_race *race = p;
	struct pgt_used used = { 0 };
	struct pgt_unmapped out;
	struct pgt_inv inv[1];
	uint64_t n, va;
	int rc;

	for (n = 0; !atomic_load_explicit(&race->stop, memory_order_relaxed); n++) {
		va = (1 + n % (RACE_PAGES - 1)) * K4;
		if (n % 16 < 4) {
			pgt_unmapped_init(&out, inv, 1);
			out.used = &used;
			rc = pgt_unmap(race->pgt, va, K4, n & 1 ? PGT_CLOSE : 0, &out);
			rc |= pgt_open(race->pgt, va, K4);
		} else {
			rc = pgt_resolve(race->pgt, va, M2, prot);
			rc = rc == -EALREADY ? 0 : rc;
		}
		if (rc)
			atomic_fetch_add(&race->odd, 1);
		if (n % 64 == 0)
			sched_yield();
	}
	atomic_store(&race->gone_accessed, used.accessed_bytes / K4);
	atomic_store(&race->gone_dirty, used.dirty_bytes / K4);
	return NULL;
}

static void
race_harvest_with_updates_and_unmaps(void **arg)
{
	struct mem mem = { 0 };
	struct pgt_conf conf = {
		.va_bits = 39,
		.stage2 = table_stage2,
		.mem = mem_heap(&mem),
	};
	struct flags_race race = { .pgt = pgt_create(&conf) };
	struct pgt_used used = { 0 };
	struct pgt_unmapped out;
	struct ref_table ref;
	struct ref_leaf leaf;
	pthread_t smmu, mapper;
	struct pgt_inv inv[1];
	unsigned int round, busy = 0;
	int rc;

	(void)arg;
	assert_non_null(race.pgt);
	assert_int_equal(pgt_map(race.pgt, 0, 0, K4, PGT_WRITE | PGT_OLD | PGT_CLEAN), 0);
	ref = ref_table_of(race.pgt, ref_read_pointer, NULL);
	assert_int_equal(ref_walk(&ref, 0, &leaf), REF_LEAF);
	race.desc = (_Atomic uint64_t *)(uintptr_t)leaf.desc;
	assert_int_equal(pthread_create(&smmu, NULL, play_smmu, &race), 0);
	assert_int_equal(pthread_create(&mapper, NULL, remap, &race), 0);
	for (round = 0; round < RACE_ROUNDS * test_scale() || (round < RACE_MAX_ROUNDS &&
			(race.accessed < RACE_UPDATES || race.dirty < RACE_UPDATES)); round++) {
		pgt_unmapped_init(&out, inv, 1);
		out.used = &used;
		rc = pgt_harvest(race.pgt, 0, RACE_PAGES * K4, round % 3 + 1, &out);
		/* A bounded number of attempts may end, on a busy machine. */
		busy += rc == -EAGAIN;
		if (rc && rc != -EAGAIN)
			atomic_fetch_add(&race.odd, 1);
		if (round % 8 == 0 || round >= RACE_ROUNDS)
			sched_yield();
	}
	atomic_store(&race.stop, true);
	pthread_join(smmu, NULL);
	pthread_join(mapper, NULL);
	assert_true(busy < round);
	pgt_unmapped_init(&out, inv, 1);
	out.used = &used;
	assert_int_equal(pgt_unmap(race.pgt, 0, RACE_PAGES * K4, 0, &out), 0);
	assert_int_equal(race.odd, 0);
	assert_int_equal(used.accessed_bytes / K4 + race.gone_accessed, race.accessed);
	assert_int_equal(used.dirty_bytes / K4 + race.gone_dirty, race.dirty);
	assert_true(race.dirty >= RACE_UPDATES);
	pgt_destroy(race.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(race_harvest_with_updates_and_unmaps),
};
TEST_SUITE(pgtable_flags_races, tests, NULL, NULL);
TEST_SUITE(pgtable_flags_races_stage2, tests, table_use_stage2, table_use_stage1);
