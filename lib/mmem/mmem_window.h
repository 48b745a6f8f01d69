/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_WINDOW_H
#define MMEM_WINDOW_H

/*
 * Memory of the application that an IOMMU reaches. An IOMMU maps memory once, so all spaces that
 * import the same range use one window.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct iopf_iommu;

/* What the kernel says about a mapping of this process. */
struct mmem_mapping {
	size_t page_size;		/* the smallest in the range */
	bool is_writable;
};

struct mmem_window {
	LIST_ENTRY(mmem_window) next;
	struct iopf_iommu *iommu;
	uint8_t *ptr;
	size_t size;
	unsigned int users;		/* imports */
	bool is_whole;			/* the IOMMU maps it as one range, else piece by piece */
	unsigned int piece_log2;	/* pieces have one device address range each */
	/*
	 * By piece: the device address of the piece's first byte, which may lie before the window.
	 */
	uint64_t *dma;
};

/* The device address of a CPU address in the window. Any thread, no lock: it never changes. */
static inline uint64_t
mmem_window_to_pa(const struct mmem_window *window, uint64_t va)
{
	unsigned int log2 = window->piece_log2;

	return window->dma[(va >> log2) - ((uintptr_t)window->ptr >> log2)] +
			(va & ((UINT64_C(1) << log2) - 1));
}

/* True if two windows of one range have the same device addresses. */
bool mmem_window_is_same(const struct mmem_window *a, const struct mmem_window *b);

/* True if each 2 MiB of it, and of its device addresses, is aligned and contiguous. */
bool mmem_window_has_blocks(const struct mmem_window *window);

/*
 * The window of a range, in pieces of @p page_size (at most 2 MiB) if the IOMMU does not map it as
 * one. Release it with mmem_window_put(). Returns 0, -EEXIST (another window overlaps it, or the
 * IOMMU maps a part of it already), -ENOTSUP (no device address), -ENOMEM, or the error of
 * iopf_dma_map().
 */
int mmem_window_get(struct iopf_iommu *iommu, void *ptr, size_t size, size_t page_size,
		struct mmem_window **window);
/* Returns 0, or the error of iopf_dma_unmap(): the window stays, call this again. */
int mmem_window_put(struct mmem_window *window);

/*
 * Check that a range is mapped with these rights, and that the kernel keeps each page in place when
 * the process forks or writes. Returns 0, or -EINVAL, -EACCES, -ENOTSUP and the reason.
 */
int mmem_mapping_check(const void *ptr, size_t size, bool write, struct mmem_mapping *mapping,
		const char **why);
/* Give each page of it memory. Returns 0, or -ENOMEM, -ENOTSUP, -EFAULT and the reason. */
int mmem_mapping_populate(void *ptr, size_t size, const struct mmem_mapping *mapping,
		const char **why);

#endif /* MMEM_WINDOW_H */
