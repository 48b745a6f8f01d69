/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_MOVE_H
#define MMEM_MOVE_H

/**
 * @file
 * Move a region to other memory while devices and CPUs use it: to a NUMA node, or to other physical
 * addresses. Pointers, contents, rights and pins stay.
 *
 * A region moves in chunks of 2 MiB, one after the other. Each needs a free chunk of the pool for
 * its time, also beyond the budget. For a chunk
 *
 *	1  fetches of its region wait, and those under way end
 *	2  its page table entries are closed and invalidated: devices' accesses wait
 *	3  its pages are write-protected for CPUs: a write waits, a read does not
 *	4  the contents are copied
 *	5  the CPU's pointer gets the new memory, and the page table the new addresses
 *	6  accesses that waited continue, and the old memory is the free chunk's
 *
 * So no access reaches the old memory after the copy, and none sees the new memory before it.
 *
 * Needs userfaultfd with write protection of shared memory, or no_userfaultfd of mmem_pool_conf.
 * With the latter, and where userfaultfd is only for accesses in user mode, a system call that
 * writes to a chunk while it moves returns EFAULT. Memory that the kernel has pinned for a system
 * call under way (O_DIRECT, io_uring) must not move.
 *
 * Example: bring a region to the node of its device.
 * @code
 *	rc = mmem_move(space, buf, size, node_of_device);
 *	if (rc < 0)
 *		...				// a part may have moved; all of it is valid
 * @endcode
 *
 * Threads and errors: as mmem.h.
 */

#include <stddef.h>

#include <mmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Any other memory of the pool. */
#define MMEM_ANY_NODE	(-1)

/**
 * Move a range to other memory of the pool. Waits for the pager.
 * @param ptr,len within one region, multiples of 4 KiB; extended to multiples of 2 MiB.
 * @param node the number of a NUMA node, or MMEM_ANY_NODE. Memory that the region gets later in
 *   chunks that have moved comes from the node too, if it has some.
 * @return 0; -EINVAL (no range of a region, or no such node), -EDEADLK; -ENOTSUP (a pool with
 *   hugepages or without a second mapping, or no write protection); -ENOMEM (no free chunk, no
 *   memory on the node, or too many mappings: vm.max_map_count); -ETIMEDOUT (a pager has not
 *   returned within mmem_space_conf.wait_ms); -ECANCELED (the space is being destroyed); -EIO,
 *   -ETIMEDOUT (the IOMMU did not confirm the invalidation). After an error the chunks before it
 *   have moved, and the others are as before.
 */
int mmem_move(struct mmem_space *space, void *ptr, size_t len, int node);

#ifdef __cplusplus
}
#endif

#endif /* MMEM_MOVE_H */
