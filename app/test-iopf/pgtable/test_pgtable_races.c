/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Races of resolve, unmap and prealloc: threads on a few pages.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "table_rig.h"
#include "test.h"

#define RACE_PAGES	8
#define RACE_RESOLVERS	3
#define RACE_ROUNDS	20000u
/* At least, of each resolver: on a busy machine a resolver starts late. */
#define RACE_PASSES	1000u
#define RACE_MAX_ROUNDS	(500 * RACE_ROUNDS)

struct race {
	struct pgt *pgt;
	uint64_t va;			/* of the first page */
	uint32_t unmap_flags;
	_Atomic bool stop;
	/* Passes of each resolver: one that has advanced by two holds no table it saw before. */
	_Atomic uint64_t pass[RACE_RESOLVERS];
	_Atomic bool has_resolved;
	_Atomic uint64_t resolved;
	_Atomic uint64_t odd;		/* results that are not possible */
};

struct race_arg {
	struct race *race;
	unsigned int id;
};

static void *
race_resolver(void *p)
{
	struct race_arg *a = p;
	struct race *race = a->race;
	struct pgt_ticket ticket;
	uint64_t n = 0, done = 0, odd = 0;
	uint64_t va;
	int rc;

	while (!atomic_load_explicit(&race->stop, memory_order_relaxed)) {
		n++;
		va = race->va + (n * 5 + a->id) % RACE_PAGES * K4;
		if (a->id == 0) {
			rc = pgt_prealloc(race->pgt, race->va, RACE_PAGES * K4);
			odd += rc != 0 && rc != -ECANCELED;
		}
		if (n & 1) {
			rc = pgt_resolve(race->pgt, va, va + M2, PGT_READ);
			done += rc == 0;
			odd += rc == -EACCES || rc == -EINVAL;
		} else if (pgt_resolve_begin(race->pgt, va, PGT_READ, (n * 4 + a->id) * 4,
				&ticket) == 0) {
			if (n % 16 == 0) {
				rc = pgt_resolve_cancel(&ticket);
			} else {
				if (n % 8 == 0)
					sched_yield();
				rc = pgt_resolve_commit(&ticket, va + M2, PGT_READ);
				done += rc == 0;
			}
			odd += rc != 0 && rc != -ECANCELED;
		}
		if (done != 0)
			atomic_store_explicit(&race->has_resolved, true, memory_order_relaxed);
		/* Between two sections: pairs with the acquire in wait_for_grace_period(). */
		atomic_store_explicit(&race->pass[a->id], n, memory_order_release);
		if (n % 64 == 0)
			sched_yield();
	}
	/* A thread that has ended holds no table: let the grace period end. */
	atomic_store_explicit(&race->pass[a->id], UINT64_MAX, memory_order_release);
	atomic_fetch_add(&race->resolved, done);
	atomic_fetch_add(&race->odd, odd);
	return NULL;
}

static bool
race_has_run(struct race *race)
{
	unsigned int i;

	for (i = 0; i < RACE_RESOLVERS; i++)
		if (atomic_load_explicit(&race->pass[i], memory_order_relaxed) < RACE_PASSES)
			return false;
	return true;
}

static void
wait_for_grace_period(struct race *race)
{
	uint64_t seen;
	unsigned int i;

	for (i = 0; i < RACE_RESOLVERS; i++) {
		seen = atomic_load_explicit(&race->pass[i], memory_order_acquire);
		/* Two passes: the current one may have begun before the unlink. */
		while (atomic_load_explicit(&race->pass[i], memory_order_acquire) < seen + 2)
			sched_yield();
	}
}

/* The number of pages resolved equals the number unmapped plus the number still valid. */
static void
race_unmap(uint32_t flags)
{
	struct mem mem = { 0 };
	/*
	 * Stage 2 has a root of 16 tables, and half of the pages lie on each side of a boundary of
	 * two of them, which is one of two tables of pages too.
	 */
	struct pgt_conf conf = {
		.va_bits = table_stage2 ? 34 : 48,
		.stage2 = table_stage2,
		.mem = mem_heap(&mem),
	};
	struct race race = {
		.pgt = pgt_create(&conf),
		.va = table_stage2 ? 3 * G1 - RACE_PAGES / 2 * K4 : 0,
		.unmap_flags = flags,
	};
	struct race_arg args[RACE_RESOLVERS];
	pthread_t threads[RACE_RESOLVERS];
	uint64_t first = race.va, size = RACE_PAGES * K4;
	uint64_t taken = 0, broken = 0;
	struct pgt_unmapped out;
	struct pgt_inv inv[4];
	unsigned int i, round;

	if (flags & PGT_TABLES) {
		size = table_stage2 ? 2 * M2 : M2;
		first &= ~(M2 - 1);
	}
	assert_non_null(race.pgt);
	for (i = 0; i < RACE_RESOLVERS; i++) {
		args[i] = (struct race_arg){ &race, i };
		assert_int_equal(pthread_create(&threads[i], NULL, race_resolver, &args[i]), 0);
	}
	for (round = 0; round < RACE_ROUNDS * test_scale() ||
			(round < RACE_MAX_ROUNDS && !race_has_run(&race)); round++) {
		pgt_unmapped_init(&out, inv, 4);
		if (pgt_unmap(race.pgt, first, size, flags, &out))
			broken++;
		taken += out.bytes / K4;
		if (flags & PGT_CLOSE) {
			if (round % 4 == 0)
				sched_yield();
			for (i = 0; i < 2 * RACE_PAGES; i++)
				broken += table_state(race.pgt, race.va + i % RACE_PAGES * K4) !=
						PGT_CLOSED;
		}
		if (out.tables.nb) {
			wait_for_grace_period(&race);
			pgt_free_tables(race.pgt, &out.tables);
		}
		if ((flags & PGT_CLOSE) && pgt_open(race.pgt, first, size))
			broken++;
		if (round % 8 == 0 || round >= RACE_ROUNDS)
			sched_yield();
	}
	/* On a busy machine each attempt so far may have met an unmap. */
	for (i = 0; i < 100000 && !race.has_resolved; i++)
		usleep(100);
	atomic_store(&race.stop, true);
	for (i = 0; i < RACE_RESOLVERS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < RACE_PAGES; i++)
		taken += table_state(race.pgt, race.va + i * K4) == PGT_VALID;
	assert_int_equal(broken, 0);
	assert_int_equal(race.odd, 0);
	assert_int_equal(taken, race.resolved);
	assert_true(race.resolved > 0);
	pgt_destroy(race.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
}

static void
race_resolve_with_close(void **arg)
{
	(void)arg;
	race_unmap(PGT_CLOSE);
}

static void
race_resolve_with_plain_unmap(void **arg)
{
	(void)arg;
	race_unmap(0);
}

static void
race_resolve_with_unlinked_tables(void **arg)
{
	(void)arg;
	race_unmap(PGT_CLOSE | PGT_TABLES);
}

static void *
race_preallocator(void *p)
{
	struct race_arg *a = p;
	uint64_t i;

	/* Neighbours and overlaps: each takes four 2M slots, beginning with its own. */
	for (i = 0; i < 64; i++)
		if (pgt_prealloc(a->race->pgt, i * G1 + a->id * M2, 4 * M2) ||
		    pgt_resolve(a->race->pgt, i * G1 + a->id * M2 + a->id * K4, a->id * K4,
				PGT_WRITE))
			atomic_fetch_add(&a->race->odd, 1);
	return NULL;
}

static void
race_prealloc_of_neighbours(void **arg)
{
	struct mem mem = { 0 };
	struct pgt_conf conf = {
		.va_bits = 39,
		.stage2 = table_stage2,
		.mem = mem_heap(&mem),
	};
	struct race race = { .pgt = pgt_create(&conf) };
	struct race_arg args[RACE_RESOLVERS];
	pthread_t threads[RACE_RESOLVERS];
	struct pgt_info info;
	uint64_t i, n;

	(void)arg;
	assert_non_null(race.pgt);
	for (i = 0; i < RACE_RESOLVERS; i++) {
		args[i] = (struct race_arg){ &race, i };
		assert_int_equal(pthread_create(&threads[i], NULL, race_preallocator, &args[i]), 0);
	}
	for (i = 0; i < RACE_RESOLVERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(race.odd, 0);
	for (i = 0; i < 64; i++)
		for (n = 0; n < RACE_RESOLVERS; n++)
			assert_int_equal(table_walk(race.pgt, i * G1 + n * M2 + n * K4).pa, n * K4);
	pgt_info(race.pgt, &info);
	/* The root, 64 tables of level 2, and slots 0 to 5 below each. */
	assert_int_equal(info.nb_tables, 1 + 64 + 64 * 6);
	assert_int_equal(mem.nb_alloc - mem.nb_free, info.nb_tables);
	pgt_destroy(race.pgt);
	assert_int_equal(mem.nb_alloc, mem.nb_free);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(race_resolve_with_close),
	cmocka_unit_test(race_resolve_with_plain_unmap),
	cmocka_unit_test(race_resolve_with_unlinked_tables),
	cmocka_unit_test(race_prealloc_of_neighbours),
};
TEST_SUITE(pgtable_races, tests, NULL, NULL);
TEST_SUITE(pgtable_races_stage2, tests, table_use_stage2, table_use_stage1);
