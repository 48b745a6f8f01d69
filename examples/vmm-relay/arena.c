/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "arena.h"

void *
arena_alloc(struct arena *a, size_t size)
{
	uintptr_t base = (uintptr_t)a->mem;
	size_t at = ((base + a->used + size - 1) & ~(uintptr_t)(size - 1)) - base;

	if (at > a->size || size > a->size - at)
		return NULL;
	a->used = at + size;
	return a->mem + at;
}

static void *
table_alloc(void *ctx, size_t size)
{
	return arena_alloc(ctx, size);
}

static void
table_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)p;
	(void)size;
}

static uint64_t
table_addr(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

struct pgt_mem
arena_pgt_mem(struct arena *a)
{
	return (struct pgt_mem){ .ctx = a, .alloc = table_alloc, .free = table_free,
		.va_to_pa = table_addr };
}
