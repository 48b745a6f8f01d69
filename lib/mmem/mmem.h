/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_H
#define MMEM_H

/**
 * @file
 * Managed memory: buffers that devices use without anybody pinning or mapping
 * them. A device's first touch of a page faults, and the fault maps it.
 *
 * @code
 *	mmem_pool    memory in 2 MiB chunks, mapped once by the CPU, reachable by
 *	   |         one IOMMU; hugepages where reserved, ordinary memory otherwise
 *	mmem_space   an address space for devices: a domain and its page table
 *	   |
 *	regions      runs of chunks of the pool. A region's pointer is its device
 *	             address: CPU and device share pointer and bytes, always.
 * @endcode
 *
 * A region's bytes come from one of
 *   - nowhere: they are zero (mmem_alloc());
 *   - a file (mmem_map_file());
 *   - a pager of the caller's (mmem_alloc_paged()).
 *
 * Zero-filled memory is the CPU's and the device's from the start: what the CPU
 * writes before the device's first touch is what the device finds. Memory with a
 * pager has its contents once a page has been touched by a device or by
 * mmem_prefetch(); the CPU reads it after that.
 *
 * A fault on a page whose bytes are there is resolved on the poll core: one page
 * table entry, one answer. If bytes must be fetched, or memory must be taken from
 * the kernel, it is deferred to a worker, which does a whole 2 MiB chunk, so that
 * its other pages are resolved on the poll core. A control thread keeps the
 * chunks ahead populated.
 *
 * An access outside every region, or one that a region forbids, is answered
 * IOPF_INVALID and reported.
 *
 * Call order
 *   1. an IOMMU is open; mmem_pool_create(), mmem_space_create()
 *   2. mmem_alloc() ..., mmem_attach(), in any order, any time
 *   3. mmem_detach(), mmem_space_destroy(), mmem_pool_destroy()
 *
 * Threads. Everything may be called from any thread but a fault handler, and
 * serialises per space; the fault path itself takes no lock.
 *
 * Errors: 0 or -errno with rte_errno; NULL with rte_errno.
 *
 * Example
 * @code
 *	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu });
 *	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
 *	buf = mmem_alloc(space, 1 << 30, MMEM_READ | MMEM_WRITE);
 *	mmem_attach(space, dev, IOPF_NO_PASID);
 *	... the device reads and writes at buf ...
 *	mmem_free(space, buf);
 * @endcode
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <iopf.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mmem_pool;
struct mmem_space;

#define MMEM_CHUNK_SIZE ((size_t)2 << 20)

struct mmem_pool_conf {
	const char *name;
	struct iopf_iommu *iommu;	/**< that reaches it; must outlive the pool */
	size_t size;			/**< a multiple of 2 MiB, also for page tables: 4 KiB for each
					  * 2 MiB of regions and space. Hugepages are taken at once,
					  * ordinary memory as it is needed [4 GiB] */
	unsigned int ahead;		/**< chunks populated ahead of the last one touched [8] */
	bool no_hugepages;		/**< ordinary memory even where hugepages are reserved */
};

/** @return NULL with rte_errno EINVAL, ENOMEM, or what iopf_dma_map() said. */
struct mmem_pool *mmem_pool_create(const struct mmem_pool_conf *conf);

/** -EBUSY while a space uses it. */
int mmem_pool_destroy(struct mmem_pool *pool);

/** True when its memory comes from reserved hugepages. */
bool mmem_pool_hugepages(const struct mmem_pool *pool);

/** Access rights and options of a region. Write includes read. */
#define MMEM_READ		(1u << 0)
#define MMEM_WRITE		(1u << 1)
#define MMEM_EXEC		(1u << 2)
/** A read maps read-only, so that the first write of each page is seen (as an upgrade). */
#define MMEM_TRACK_WRITES	(1u << 3)
/**
 * Memory used before is zeroed at a page's first fault, on the poll core, rather
 * than before mmem_alloc() returns; freed, it is kept for the next such region. For
 * buffers the device writes first: the CPU must not write a page before the device
 * touched it.
 */
#define MMEM_ZERO_INLINE	(1u << 4)
/** Populate all of it now, before the first fault. */
#define MMEM_POPULATE		(1u << 5)

/** An access that was answered IOPF_INVALID. */
struct mmem_report {
	struct iopf_dev *dev;
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint64_t addr;
	uint8_t perm;		/**< IOPF_PERM_*: what was wanted */
	int error;		/**< -EFAULT: no region; -EACCES: the region forbids it; -EIO: the pager
				  * failed; -ENOMEM */
};

struct mmem_space_conf {
	const char *name;
	struct mmem_pool *pool;
	struct iopf_worker *worker;	/**< for what must block [one of its own] */
	/** Called on the poll core or a worker; must not block or change the space. */
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
};

struct mmem_space *mmem_space_create(const struct mmem_space_conf *conf);

/** Detached everywhere: frees its regions and all else. -EBUSY while attached. */
int mmem_space_destroy(struct mmem_space *space);

/** The domain behind it, for statistics, latency and invalidation. */
struct iopf_domain *mmem_space_domain(struct mmem_space *space);

/** As iopf_domain_attach() and iopf_domain_detach(). -EXDEV: not the pool's IOMMU. */
int mmem_attach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);
int mmem_detach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);

/**
 * A region of zeroes.
 * @param size bytes; rounded up to 4 KiB. It takes whole chunks of the pool.
 * @return its pointer, aligned to 2 MiB; NULL with rte_errno EINVAL, ENOMEM (pool).
 */
void *mmem_alloc(struct mmem_space *space, size_t size, unsigned int flags);

/**
 * A region with the bytes of a file from @p offset (a multiple of 4 KiB); zero
 * beyond its end, also when that has moved since. Writes stay in memory.
 * @return NULL with rte_errno from open(2), or as mmem_alloc().
 */
void *mmem_map_file(struct mmem_space *space, const char *path, off_t offset, size_t size,
		unsigned int flags);

/** Where contents come from. */
struct mmem_pager {
	/**
	 * Fill @p len bytes (a multiple of 4 KiB, within one chunk) of the region from
	 * @p offset. On a worker, the pool's control thread or in mmem_prefetch(); may block;
	 * concurrent calls are for different chunks.
	 * @return 0 or -errno: each access to that chunk is then INVALID, and tried again
	 * at the next.
	 */
	int (*fill)(void *ctx, uint64_t offset, void *dst, size_t len);
	/** The region is gone. May be NULL. */
	void (*release)(void *ctx);
	void *ctx;
};
void *mmem_alloc_paged(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager);

/**
 * Give a region back. When it returns, no access to it succeeds, and its memory
 * is free.
 * @param ptr what mmem_alloc() and the others returned. -EINVAL otherwise. If the IOMMU
 *   does not confirm (-ETIMEDOUT, -EIO) the memory is kept, never reused.
 */
int mmem_free(struct mmem_space *space, void *ptr);

/**
 * Take pages from the devices; contents stay, and the next access faults again.
 * When it returns, no access through the old mapping can succeed.
 * @param ptr,len within one region, multiples of 4 KiB.
 */
int mmem_unmap(struct mmem_space *space, void *ptr, size_t len);

/**
 * Change rights. Lost rights are lost when it returns; gained ones are found by the
 * device's next access.
 */
int mmem_protect(struct mmem_space *space, void *ptr, size_t len, unsigned int flags);

/** Fetch and map ahead of the devices. */
int mmem_prefetch(struct mmem_space *space, void *ptr, size_t len);

/**
 * Resolve one access by hand: what the fault handler does. For devices that
 * report a fault and try again, and for servicers of one's own. May block when the
 * bytes are not there.
 * @return 0, -EFAULT, -EACCES, -EIO, -ENOMEM.
 */
int mmem_resolve(struct mmem_space *space, uint64_t addr, unsigned int perm);

/** Counters of a space; each has a name. */
enum mmem_stat {
	MMEM_STAT_MAPPED,	/**< pages mapped by faults */
	MMEM_STAT_PREFETCHED,	/**< pages mapped by mmem_prefetch() */
	MMEM_STAT_JOINED,	/**< faults on a page that was mapped meanwhile */
	MMEM_STAT_UPGRADED,	/**< pages made writable by a fault */
	MMEM_STAT_DEFERRED,	/**< faults (groups count once) that waited for bytes or memory */
	MMEM_STAT_ZEROED,	/**< pages zeroed on the poll core */
	MMEM_STAT_FILLED,	/**< pages filled by a pager */
	MMEM_STAT_UNMAPPED,	/**< pages taken from the devices */
	MMEM_STAT_NO_REGION,	/**< accesses outside every region */
	MMEM_STAT_FORBIDDEN,	/**< accesses a region forbids */
	MMEM_STAT_FAILED,	/**< no memory, or a pager failed */
	MMEM_STAT_KEPT,		/**< chunks that mmem_free() had to keep */
};
#define MMEM_NB_STATS 12
const char *mmem_stat_name(enum mmem_stat stat);
uint64_t mmem_stat(const struct mmem_space *space, enum mmem_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* MMEM_H */
