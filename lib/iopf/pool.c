/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>
#include <string.h>

#include "pool.h"

#define CHUNK_SIZE	((size_t)16384)

/* AddressSanitizer reports a use of a free object. */
#if defined(__SANITIZE_ADDRESS__)
#define IOPF_POOL_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define IOPF_POOL_ASAN
#endif
#endif
#ifdef IOPF_POOL_ASAN
#include <sanitizer/asan_interface.h>
#define object_hide(object, size)	__asan_poison_memory_region(object, size)
#define object_show(object, size)	__asan_unpoison_memory_region(object, size)
#else
#define object_hide(object, size)	((void)(object), (void)(size))
#define object_show(object, size)	((void)(object), (void)(size))
#endif

static void
push(struct iopf_pool *pool, void *object)
{
	*(void **)object = pool->free;
	pool->free = object;
	object_hide(object, pool->size);
}

static void *
pop(struct iopf_pool *pool)
{
	void *object = pool->free;

	if (object == NULL)
		return NULL;
	object_show(object, pool->size);
	pool->free = *(void **)object;
	return object;
}

/* The first line of a chunk links it. */
static void
add_chunk(struct iopf_pool *pool)
{
	char *chunk = aligned_alloc(RTE_CACHE_LINE_SIZE, CHUNK_SIZE);
	size_t first = RTE_CACHE_LINE_SIZE, nb;

	if (chunk == NULL)
		return;
	*(void **)chunk = pool->chunks;
	pool->chunks = chunk;
	nb = (CHUNK_SIZE - first) / pool->size;
	/* In order of their addresses. */
	while (nb-- > 0)
		push(pool, chunk + first + nb * pool->size);
}

void *
iopf_pool_zalloc(struct iopf_pool *pool)
{
	void *object;

	pthread_mutex_lock(&pool->lock);
	if (pool->free == NULL)
		add_chunk(pool);
	object = pop(pool);
	pthread_mutex_unlock(&pool->lock);
	if (object != NULL)
		memset(object, 0, pool->size);
	return object;
}

void
iopf_pool_free(struct iopf_pool *pool, void *object)
{
	if (object == NULL)
		return;
	pthread_mutex_lock(&pool->lock);
	push(pool, object);
	pthread_mutex_unlock(&pool->lock);
}
