/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "table_rig.h"
#include "test.h"

bool table_stage2;

static void *
mem_alloc(void *ctx, size_t size)
{
	struct mem *mem = ctx;
	void (*hook)(struct mem *mem) = mem->hook;
	unsigned int granules, n;

	if (hook != NULL) {
		mem->hook = NULL;
		hook(mem);
	}
	/* Only the root of stage 2 is more than a granule. */
	assert_true(size == mem->granule || (table_stage2 && size <= 16 * mem->granule));
	assert_int_equal(size & (size - 1), 0);
	n = atomic_fetch_add(&mem->nb_alloc, 1);
	if (mem->fail_from && n + 1 >= mem->fail_from) {
		atomic_fetch_sub(&mem->nb_alloc, 1);
		return NULL;
	}
	/*
	 * Freed granules are not reused, so that a stale pointer to one is seen. A block of several
	 * is aligned to its size.
	 */
	granules = (unsigned int)(size / mem->granule);
	if (granules > 1)
		mem->next = (mem->next + granules - 1) / granules * granules;
	n = atomic_fetch_add(&mem->next, granules);
	assert_true(n + granules <= NB_TABLES);
	return mem->base + n * mem->granule + mem->skew;
}

static void
mem_free(void *ctx, void *p, size_t size)
{
	struct mem *mem = ctx;

	/* All bits set: a walk into a freed table finds descriptors that point nowhere. */
	memset((void *)((uintptr_t)p & ~(uintptr_t)(size - 1)), 0xff, size);
	atomic_fetch_add(&mem->nb_free, 1);
}

uint64_t
mem_va_to_pa(void *ctx, const void *p)
{
	struct mem *mem = ctx;

	return (uint64_t)((const uint8_t *)p - mem->base) + TABLE_PA;
}

static void *
mem_pa_to_va(void *ctx, uint64_t pa)
{
	struct mem *mem = ctx;

	assert_true(pa >= TABLE_PA && pa - TABLE_PA < NB_TABLES * mem->granule);
	return mem->base + (pa - TABLE_PA);
}

void
mem_init(struct mem *mem, unsigned int granule_log2)
{
	*mem = (struct mem){ .granule = (size_t)1 << granule_log2 };
	mem->base = aligned_alloc(16 * mem->granule, NB_TABLES * mem->granule);
	assert_non_null(mem->base);
	memset(mem->base, 0, NB_TABLES * mem->granule);
}

struct pgt_conf
mem_conf(struct mem *mem, unsigned int granule_log2, unsigned int va_bits)
{
	return (struct pgt_conf){
		.granule_log2 = granule_log2,
		.va_bits = va_bits,
		.stage2 = table_stage2,
		.mem = { mem, mem_alloc, mem_free, mem_va_to_pa, mem_pa_to_va },
	};
}

struct pgt *
table_open(struct mem *mem, unsigned int granule_log2, unsigned int va_bits)
{
	struct pgt_conf conf;

	mem_init(mem, granule_log2);
	conf = mem_conf(mem, granule_log2, va_bits);
	mem->pgt = pgt_create(&conf);
	assert_non_null(mem->pgt);
	return mem->pgt;
}

struct pgt *
table_open_heap(struct mem *mem, unsigned int granule_log2, unsigned int va_bits)
{
	*mem = (struct mem){ .granule = (size_t)1 << granule_log2 };
	mem->pgt = pgt_create(&(struct pgt_conf){
		.granule_log2 = granule_log2,
		.va_bits = va_bits,
		.stage2 = table_stage2,
		.mem = mem_heap(mem),
	});
	assert_non_null(mem->pgt);
	return mem->pgt;
}

void
table_close(struct mem *mem)
{
	pgt_destroy(mem->pgt);
	assert_int_equal(mem->nb_alloc, mem->nb_free);
	free(mem->base);
}

int
table_use_stage2(void **state)
{
	(void)state;
	table_stage2 = true;
	return 0;
}

int
table_use_stage1(void **state)
{
	(void)state;
	table_stage2 = false;
	return 0;
}

uint64_t
table_page(uint64_t pa, uint32_t prot)
{
	if (table_stage2)
		return pa | (prot & PGT_WRITE ? 0x00400000000007ff : 0x004000000000077f);
	return pa | (prot & PGT_WRITE ? 0x0060000000000f43 : 0x0060000000000fc3);
}

static void *
heap_alloc(void *ctx, size_t size)
{
	struct mem *mem = ctx;
	void *p = aligned_alloc(size, size);

	if (p != NULL) {
		memset(p, 0, size);
		atomic_fetch_add(&mem->nb_alloc, 1);
	}
	return p;
}

static void
heap_free(void *ctx, void *p, size_t size)
{
	struct mem *mem = ctx;

	(void)size;
	atomic_fetch_add(&mem->nb_free, 1);
	free(p);
}

static uint64_t
heap_va_to_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

struct pgt_mem
mem_heap(struct mem *mem)
{
	return (struct pgt_mem){ mem, heap_alloc, heap_free, heap_va_to_pa, NULL };
}

uint64_t
table_desc(struct mem *mem, uint64_t pa, unsigned int index)
{
	const uint8_t *p = (uint8_t *)mem_pa_to_va(mem, pa) + index * 8;
	uint64_t v = 0;
	int i;

	for (i = 7; i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

struct pgt_leaf
table_walk(struct pgt *pgt, uint64_t va)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(pgt, va, &leaf), 0);
	assert_true(leaf.va <= va && va - leaf.va < leaf.size);
	return leaf;
}

enum pgt_state
table_state(struct pgt *pgt, uint64_t va)
{
	return table_walk(pgt, va).state;
}
