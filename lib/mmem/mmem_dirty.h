/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_DIRTY_H
#define MMEM_DIRTY_H

/**
 * @file
 * The pages of a region that devices or CPUs have written, while they write on: for a checkpoint,
 * or to move the contents to another machine.
 *
 * A tracked region has a bit for each page. mmem_dirty_harvest() gives the bits of a range and
 * clears them.
 *
 *	a CPU writes		its view of the page is write-protected (userfaultfd). The first
 *				write sets the bit and then gets the right to write
 *	a device writes		its page table entry tells: an IOMMU that sets the dirty state does
 *				it itself; otherwise the first write faults
 *	the entry is removed	by an eviction, mmem_sync(), mmem_unmap() or mmem_protect(): its
 *				dirty state goes to the bit
 *
 * No write is lost. A harvest clears the bits first, then protects the CPU's view and makes the
 * entries clean, then invalidates the translations that devices have cached, and returns after
 * that. A write before the end of the invalidation is to a page whose bit was given, and the caller
 * copies the page after this call. A write after it is a first write, and sets the bit for the next
 * call. So the caller reads a page only after the harvest that gave its bit.
 *
 * A bit may be set for a page that has not been written: after mmem_unmap() of a page that the
 * device may write, for example. With hugepages a CPU's write sets the bits of 2 MiB.
 *
 * What a pager fetches is no write. A harvest fetches nothing; a copy of an evicted page does.
 *
 * With userfaultfd it needs write protection of shared memory: Linux 5.19, or 6.10 on Arm. With the
 * handler of SIGSEGV (mmem_pool_conf.no_userfaultfd, or where userfaultfd is not allowed) it works
 * on any Linux. There, and where userfaultfd is only for accesses in user mode, a system call that
 * writes to a page whose bit is clear, such as read(2), returns EFAULT: write to the page first.
 *
 * Example: copy a region while it is in use, and stop its users only for the rest.
 * @code
 *	mmem_dirty_start(space, buf);
 *	copy(buf, size);				// all of it, in use
 *	do {
 *		mmem_dirty_harvest(space, buf, size, bitmap);
 *		n = copy_pages(buf, bitmap);		// those whose bit is set
 *	} while (n > ENOUGH);
 *	...						// stop devices and threads
 *	mmem_dirty_harvest(space, buf, size, bitmap);
 *	copy_pages(buf, bitmap);			// the copy is equal
 *	mmem_dirty_stop(space, buf);
 * @endcode
 *
 * Threads and errors: as mmem.h.
 */

#include <stddef.h>
#include <stdint.h>

#include <mmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Size of a page, which one bit stands for. */
#define MMEM_DIRTY_PAGE		((size_t)4096)

/** 64-bit words of a bitmap for @p len bytes. */
#define MMEM_DIRTY_WORDS(len)	(((len) / MMEM_DIRTY_PAGE + 63) / 64)

/**
 * Track the writes to a region: all of its pages are clean when this returns.
 * @param ptr the pointer of the region; not of an import.
 * @return 0, -EINVAL, -EALREADY (it is tracked), -ENOTSUP (no write protection of the CPU's view,
 *   or a region with MMEM_ZERO_INLINE), -ENOMEM, -EDEADLK; the errors of mmem_unmap() and of
 *   userfaultfd(2): the region is not tracked.
 */
int mmem_dirty_start(struct mmem_space *space, void *ptr);

/**
 * Give the pages that were written since they were harvested last, and make them clean.
 * @param ptr,len within one region, multiples of 4 KiB.
 * @param bitmap MMEM_DIRTY_WORDS(@p len) words, which this call overwrites: bit n % 64 of word
 *   n / 64 is the page at @p ptr + n * 4 KiB.
 * @return 0; -EINVAL (also: the region is not tracked), -EDEADLK; -EAGAIN, -EIO, -ETIMEDOUT (the
 *   IOMMU did not confirm the invalidation): the bitmap is empty, and the next call gives its bits.
 */
int mmem_dirty_harvest(struct mmem_space *space, void *ptr, size_t len, uint64_t *bitmap);

/**
 * The reverse of mmem_dirty_start(). mmem_free() does it too.
 * @return 0, -EINVAL (also: the region is not tracked), -EDEADLK.
 */
int mmem_dirty_stop(struct mmem_space *space, void *ptr);

#ifdef __cplusplus
}
#endif

#endif /* MMEM_DIRTY_H */
