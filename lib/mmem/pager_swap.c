/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A pager over another one, or over zeros: blocks that were written go to the pool's swap file, at
 * the offset that they have in the pool, and come back from there. Other blocks come from the pager
 * below.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "mmem_block.h"
#include "mmem_io.h"
#include "mmem_log.h"
#include "mmem_swap.h"
#include "mmem_uring.h"

#define ZERO_FETCH_SIZE	((size_t)64 << 10)
#define ZERO_NB_THREADS	4

struct pager_swap {
	struct mmem_pager below;
	const struct mmem_file *file;
	struct mmem_uring *ring;	/* NULL: threads read and write */
	uint64_t base;			/* of the region in the pool and in the file */
	size_t fetch_size;
	size_t size;
	_Atomic bool in_swap[];		/* by block */
};

static bool
is_in_swap(const struct pager_swap *swap, uint64_t offset)
{
	/* Pairs with the release in set_in_swap(): the bytes in the file. */
	return atomic_load_explicit(&swap->in_swap[offset / swap->fetch_size],
			memory_order_acquire);
}

static void
set_in_swap(struct pager_swap *swap, uint64_t offset)
{
	/* Pairs with the acquire in is_in_swap(). */
	atomic_store_explicit(&swap->in_swap[offset / swap->fetch_size], true,
			memory_order_release);
}

/* The memory of a block that is fetched is zero. */
static int
fill_below(const struct pager_swap *swap, uint64_t offset, void *dst, size_t len)
{
	return swap->below.fill != NULL ?
			swap->below.fill(swap->below.ctx, offset, dst, len) : 0;
}

static int
swap_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	const struct pager_swap *swap = ctx;

	return is_in_swap(swap, offset) ?
			mmem_file_read(swap->file, dst, len, swap->base + offset) :
			fill_below(swap, offset, dst, len);
}

static void
note_written(void *ctx, off_t at)
{
	struct pager_swap *swap = ctx;

	set_in_swap(swap, at - swap->base);
}

static int
swap_start(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	struct pager_swap *swap = ctx;

	if (is_in_swap(swap, offset) && swap->ring != NULL)
		return mmem_uring_fetch(swap->ring, swap->file, swap->base + offset, dst, len,
				fetch);
	if (is_in_swap(swap, offset))
		mmem_fetch_done(fetch, mmem_file_read(swap->file, dst, len, swap->base + offset));
	else if (swap->below.start != NULL)
		return swap->below.start(swap->below.ctx, fetch, offset, dst, len);
	else
		mmem_fetch_done(fetch, fill_below(swap, offset, dst, len));
	return 0;
}

static int
swap_write(void *ctx, uint64_t offset, const void *src, size_t len)
{
	struct pager_swap *swap = ctx;
	int rc = mmem_file_write(swap->file, src, len, swap->base + offset);

	if (rc == 0)
		set_in_swap(swap, offset);
	return rc;
}

static int
swap_write_start(void *ctx, struct mmem_write *write, uint64_t offset, const void *src, size_t len)
{
	struct pager_swap *swap = ctx;

	return mmem_uring_write(swap->ring, swap->file, swap->base + offset, src, len, write,
			note_written, swap);
}

static void
swap_release(void *ctx)
{
	struct pager_swap *swap = ctx;

	/* Only to give room back: a file system may not have it. */
	fallocate(swap->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, swap->base,
			swap->size);
	if (swap->below.release != NULL)
		swap->below.release(swap->below.ctx);
	free(swap);
}

int
mmem_swap_cover(struct mmem_pool *pool, const struct mmem_pager *below, size_t size,
		struct mmem_pager *pager)
{
	struct pager_swap *swap;
	size_t fetch_size;

	*pager = below != NULL ? *below : (struct mmem_pager){ .fetch_size = ZERO_FETCH_SIZE,
			.nb_threads = ZERO_NB_THREADS };
	fetch_size = pager->fetch_size != 0 ? pager->fetch_size : MMEM_CHUNK_SIZE;
	/* A wrong size is refused by mmem_pager_init(). */
	if (fetch_size < MMEM_PAGE_SIZE)
		return 0;
	swap = calloc(1, sizeof(*swap) + (size / fetch_size + 1) * sizeof(swap->in_swap[0]));
	if (swap == NULL)
		return -ENOMEM;
	if (below != NULL)
		swap->below = *below;
	swap->file = &pool->swap;
	swap->ring = mmem_uring_get(pool);
	swap->fetch_size = fetch_size;
	swap->size = size;
	pager->start = swap->ring != NULL || swap->below.start != NULL ? swap_start : NULL;
	pager->fill = pager->start == NULL ? swap_fill : NULL;
	pager->write_start = swap->ring != NULL ? swap_write_start : NULL;
	pager->write = swap->ring == NULL ? swap_write : NULL;
	pager->flush = NULL;
	pager->release = swap_release;
	pager->ctx = swap;
	return 0;
}

bool
mmem_pager_is_swap(const struct mmem_pager *pager)
{
	return pager->release == swap_release;
}

void
mmem_swap_set_base(const struct mmem_pager *pager, uint64_t off)
{
	if (mmem_pager_is_swap(pager))
		((struct pager_swap *)pager->ctx)->base = off;
}

void
mmem_swap_uncover(const struct mmem_pager *pager)
{
	if (mmem_pager_is_swap(pager))
		free(pager->ctx);
}

int
mmem_swap_open(struct mmem_pool *pool, const char *path)
{
	struct mmem_file *file = &pool->swap;
	int rc;

	file->fd = file->direct_fd = -1;
	if (path == NULL)
		return 0;
	rc = mmem_file_open(file, path, O_RDWR | O_CREAT, pool->io & MMEM_IO_DIRECT);
	if (rc == 0 && file->size != 0 && (uint64_t)file->size < pool->size)
		rc = -ENOSPC;
	/* Two pools would overwrite each other's blocks. */
	if (rc == 0 && flock(file->fd, LOCK_EX | LOCK_NB) < 0)
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (rc < 0) {
		MMEM_LOG(ERR, "pool %s: cannot swap to %s: %s: use a regular file, or a block "
				"device as large as the pool (%zu MiB)", pool->name, path,
				strerror(-rc), pool->size >> 20);
		mmem_file_close(file);
	}
	return rc;
}

void
mmem_swap_close(struct mmem_pool *pool)
{
	mmem_file_close(&pool->swap);
}
