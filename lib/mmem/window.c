/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The device addresses of memory of the application. */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include <iopf.h>
#include <iopf_iommu.h>

#include "mmem_chunk.h"
#include "mmem_window.h"

/* Taken after space->lock. */
static pthread_mutex_t windows_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, mmem_window) windows = LIST_HEAD_INITIALIZER(windows);

static size_t
count_pieces(const struct mmem_window *window)
{
	uintptr_t first = (uintptr_t)window->ptr, last = first + window->size - 1;

	return (last >> window->piece_log2) - (first >> window->piece_log2) + 1;
}

/* The part of a piece that lies in the window. */
static uint8_t *
piece_start(const struct mmem_window *window, size_t i, size_t *len)
{
	uintptr_t piece = ((uintptr_t)window->ptr >> window->piece_log2) + i;
	uintptr_t start = RTE_MAX(piece << window->piece_log2, (uintptr_t)window->ptr);
	uintptr_t end = RTE_MIN((piece + 1) << window->piece_log2,
			(uintptr_t)window->ptr + window->size);

	*len = end - start;
	return window->ptr + (start - (uintptr_t)window->ptr);
}

/* The device address of a piece's first byte, from that of an address in it. */
static uint64_t
piece_dma(const struct mmem_window *window, const uint8_t *start, uint64_t addr)
{
	return addr - ((uintptr_t)start & ((UINT64_C(1) << window->piece_log2) - 1));
}

static int
unmap_piece(const struct mmem_window *window, size_t i)
{
	size_t len;
	uint8_t *start = piece_start(window, i, &len);

	return iopf_dma_unmap(window->iommu, start, len,
			mmem_window_to_pa(window, (uintptr_t)start));
}

static int
map_piece(struct mmem_window *window, size_t i)
{
	uint64_t addr;
	size_t len;
	uint8_t *start = piece_start(window, i, &len);
	int rc;

	rc = iopf_dma_map(window->iommu, start, len, &addr);
	if (rc < 0)
		return rc;
	window->dma[i] = piece_dma(window, start, addr);
	if (addr & (MMEM_PAGE_SIZE - 1)) {
		unmap_piece(window, i);
		return -ENOTSUP;
	}
	return 0;
}

static int
map_pieces(struct mmem_window *window, unsigned int piece_log2)
{
	size_t i, n;
	int rc = 0;

	window->piece_log2 = piece_log2;
	n = count_pieces(window);
	free(window->dma);
	window->dma = calloc(n, sizeof(*window->dma));
	if (window->dma == NULL)
		return -ENOMEM;
	for (i = 0; i < n && rc == 0; i++)
		rc = map_piece(window, i);
	if (rc < 0)
		for (i--; i > 0; i--)
			unmap_piece(window, i - 1);
	return rc;
}

static int
map_whole(struct mmem_window *window)
{
	uint8_t *start;
	uint64_t addr;
	size_t i, n, len;
	int rc;

	window->piece_log2 = MMEM_CHUNK_LOG2;
	n = count_pieces(window);
	window->dma = calloc(n, sizeof(*window->dma));
	if (window->dma == NULL)
		return -ENOMEM;
	rc = iopf_dma_map(window->iommu, window->ptr, window->size, &addr);
	if (rc < 0)
		return rc;
	if (addr & (MMEM_PAGE_SIZE - 1)) {
		iopf_dma_unmap(window->iommu, window->ptr, window->size, addr);
		return -ENOTSUP;
	}
	for (i = 0; i < n; i++) {
		start = piece_start(window, i, &len);
		window->dma[i] = piece_dma(window, start, addr + (start - window->ptr));
	}
	window->is_whole = true;
	return 0;
}

static int
window_create(struct iopf_iommu *iommu, uint8_t *ptr, size_t size, size_t page_size,
		struct mmem_window **out)
{
	struct mmem_window *window = calloc(1, sizeof(*window));
	int rc;

	if (window == NULL)
		return -ENOMEM;
	window->iommu = iommu;
	window->ptr = ptr;
	window->size = size;
	rc = map_whole(window);
	if (rc == -ENOTSUP)
		rc = map_pieces(window, page_size < MMEM_CHUNK_SIZE ? MMEM_PAGE_LOG2 :
				MMEM_CHUNK_LOG2);
	if (rc < 0) {
		free(window->dma);
		free(window);
		return rc;
	}
	*out = window;
	return 0;
}

int
mmem_window_get(struct iopf_iommu *iommu, void *ptr, size_t size, size_t page_size,
		struct mmem_window **out)
{
	struct mmem_window *window;
	uint8_t *start = ptr;
	int rc = 0;

	pthread_mutex_lock(&windows_lock);
	LIST_FOREACH(window, &windows, next)
		if (window->iommu == iommu && start < window->ptr + window->size &&
				window->ptr < start + size)
			break;
	if (window == NULL) {
		rc = window_create(iommu, ptr, size, page_size, &window);
		if (rc == 0)
			LIST_INSERT_HEAD(&windows, window, next);
	} else if (window->ptr != ptr || window->size != size) {
		rc = -EEXIST;
	}
	if (rc == 0) {
		window->users++;
		*out = window;
	}
	pthread_mutex_unlock(&windows_lock);
	return rc;
}

/* From the end, so that after an error the window is what is left. */
static int
window_unmap(struct mmem_window *window)
{
	size_t last, len;
	int rc;

	if (window->is_whole)
		return iopf_dma_unmap(window->iommu, window->ptr, window->size,
				mmem_window_to_pa(window, (uintptr_t)window->ptr));
	while (window->size != 0) {
		last = count_pieces(window) - 1;
		rc = unmap_piece(window, last);
		if (rc < 0)
			return rc;
		piece_start(window, last, &len);
		window->size -= len;
	}
	return 0;
}

int
mmem_window_put(struct mmem_window *window)
{
	int rc = 0;

	pthread_mutex_lock(&windows_lock);
	if (window->users == 1)
		rc = window_unmap(window);
	if (rc == 0 && --window->users == 0) {
		LIST_REMOVE(window, next);
		free(window->dma);
		free(window);
	}
	pthread_mutex_unlock(&windows_lock);
	return rc;
}

bool
mmem_window_is_same(const struct mmem_window *a, const struct mmem_window *b)
{
	return a->piece_log2 == b->piece_log2 &&
			memcmp(a->dma, b->dma, count_pieces(a) * sizeof(*a->dma)) == 0;
}

bool
mmem_window_has_blocks(const struct mmem_window *window)
{
	size_t i, n = count_pieces(window);

	if (((uintptr_t)window->ptr | window->size) & (MMEM_CHUNK_SIZE - 1) ||
			window->piece_log2 < MMEM_CHUNK_LOG2)
		return false;
	for (i = 0; i < n; i++)
		if (window->dma[i] & (MMEM_CHUNK_SIZE - 1))
			return false;
	return true;
}
