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
 * table entry, one answer. If memory must be taken from the kernel, the fault is
 * deferred to a worker, which populates a whole 2 MiB chunk, so that its other pages
 * are resolved on the poll core. A control thread keeps the chunks ahead populated.
 * If bytes must be fetched, the worker has them fetched and does not wait: pagers run
 * on threads of their own, one for each region that fetches. A slow pager, or one that
 * never returns, holds up the faults on its own region and nothing else.
 *
 * An access outside every region, or one that a region forbids, is answered
 * IOPF_INVALID and reported.
 *
 * Call order
 *   1. an IOMMU is open; mmem_pool_create(), mmem_space_create()
 *   2. mmem_alloc() ..., mmem_attach(), in any order, any time
 *   3. mmem_detach(), mmem_space_destroy(), mmem_pool_destroy()
 *
 * Threads. Everything may be called from any thread, and serialises per space; the
 * fault path itself takes no lock. Callbacks are the exception. A function that is
 * forbidden where it is called returns -EDEADLK before anything has changed:
 *   - in a report, and in any fast fault handler: all functions but mmem_stat(),
 *     mmem_stat_name(), mmem_space_domain(), mmem_pool_hugepages(), mmem_fetch_done();
 *   - in fill or start of a pager: mmem_free() of its own region, mmem_space_destroy()
 *     of its own space, and mmem_resolve() of a page whose bytes are not there.
 *     mmem_prefetch() there has the bytes fetched later and returns at once. All else
 *     works: to allocate, to unmap, to free another region, to attach, to detach;
 *   - in release of a pager: mmem_space_destroy() of its own space.
 *
 * fork(). A child has no part of a pool's memory and none of its threads. It must not
 * call this library, and must not touch a region (SIGSEGV); devices go on in the
 * parent. A child that calls exec or _exit is what is meant to be possible.
 *
 * mlockall(). With MCL_FUTURE the kernel populates and locks a pool as a whole when it
 * is made; RLIMIT_MEMLOCK must allow that. With MCL_FUTURE | MCL_ONFAULT memory is
 * locked as it is needed.
 *
 * Errors: 0 or -errno with rte_errno; NULL with rte_errno. NULL where an object is expected
 * is EINVAL (a counter is 0 then); to destroy NULL is 0. An argument that is refused has a line
 * in the log: at most 10 in a second for a space, with all others about it.
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

/**
 * @return NULL with rte_errno EINVAL, ENOMEM, EAGAIN (a thread, or memory that must be
 *   locked), EDEADLK, or what iopf_dma_map() said. The log names the limit that was hit.
 */
struct mmem_pool *mmem_pool_create(const struct mmem_pool_conf *conf);

/** -EBUSY while a space uses it. Its IOMMU is closed after that: -EBUSY before. NULL: 0. */
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

/**
 * An access that the space refused: it was answered IOPF_INVALID. Those that lib/iopf answers so
 * in place of the space are not reported, and not among the space's counters:
 *   - given up because its device is over its share of the stalls (iopf_iommu_conf.share_ms):
 *     IOPF_IOMMU_STAT_OVER_SHARE, IOPF_DEV_STAT_OVER_SHARE, and IOPF_STAT_EXPIRED of the domain;
 *   - answered by a detach: IOPF_STAT_CANCELLED of the domain;
 *   - without a slot, a device or an attachment: IOPF_IOMMU_STAT_NO_SLOT and those beside it.
 */
struct mmem_report {
	struct iopf_dev *dev;
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint64_t addr;
	uint8_t perm;		/**< IOPF_PERM_*: what was wanted */
	int error;		/**< -EFAULT: no region; -EACCES: the region forbids it; -EIO: the pager
				  * failed; -ETIMEDOUT: its deadline has passed; -ENOMEM */
};

struct mmem_space_conf {
	const char *name;
	struct mmem_pool *pool;
	struct iopf_worker *worker;	/**< for what must block: to populate memory [the pool's, one
					  * thread for all its spaces] */
	unsigned int wait_ms;		/**< that mmem_free() and mmem_space_destroy() wait for a
					  * pager to return [5000] */
	/** Called on the poll core or a worker; must not block. */
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
};

struct mmem_space *mmem_space_create(const struct mmem_space_conf *conf);

/**
 * Detached everywhere: frees its regions and all else. NULL: 0. -EBUSY while attached.
 * -ETIMEDOUT: a pager has not returned. The space is half destroyed then: it has no domain any
 * more, mmem_alloc() and its like, mmem_attach() and mmem_detach() are ESHUTDOWN, and this is to
 * be called again.
 */
int mmem_space_destroy(struct mmem_space *space);

/** The domain behind it, for statistics, latency and invalidation. NULL: half destroyed. */
struct iopf_domain *mmem_space_domain(struct mmem_space *space);

/**
 * As iopf_domain_attach() and iopf_domain_detach(). -EXDEV: not the pool's IOMMU. -ESHUTDOWN: the
 * space is half destroyed.
 */
int mmem_attach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);
int mmem_detach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);

/**
 * A region of zeroes.
 * @param size bytes; rounded up to 4 KiB. It takes whole chunks of the pool.
 * @return its pointer, aligned to 2 MiB; NULL with rte_errno EINVAL, ENOMEM (the pool is too
 *   small, full, or in pieces), ESHUTDOWN (the space is half destroyed).
 */
void *mmem_alloc(struct mmem_space *space, size_t size, unsigned int flags);

/**
 * A region with the bytes of a file from @p offset (a multiple of 4 KiB); zero
 * beyond its end, also when that has moved since. Writes stay in memory.
 * @return NULL with rte_errno from open(2), or as mmem_alloc().
 */
void *mmem_map_file(struct mmem_space *space, const char *path, off_t offset, size_t size,
		unsigned int flags);

/** A fetch under way, of an asynchronous pager. */
struct mmem_fetch;

/** Where contents come from. Either fill or start is needed. */
struct mmem_pager {
	/**
	 * Fill @p len bytes (a multiple of 4 KiB, at most fetch_size) of the region from
	 * @p offset. On a thread of the pool's for this; may block. No two calls at a time are
	 * for the same bytes.
	 * @return 0 or -errno: each access that waits for these bytes is then INVALID, and the
	 * next one asks again.
	 */
	int (*fill)(void *ctx, uint64_t offset, void *dst, size_t len);
	/**
	 * The asynchronous form, in place of fill: begins, and mmem_fetch_done() ends it. @p dst
	 * stays until then. @return 0, or -errno: not begun, as if done with it.
	 */
	int (*start)(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len);
	/** The region is gone. On the thread that frees it. May be NULL. */
	void (*release)(void *ctx);
	void *ctx;
	size_t fetch_size;	/**< bytes fetched at a time: a power of two, 4 KiB to 2 MiB [2 MiB] */
	unsigned int nb_threads;/**< calls of fill or start at a time [1] */
	/**
	 * An access waits for bytes no longer than this: it is answered INVALID, reported
	 * (-ETIMEDOUT) and counted (MMEM_STAT_EXPIRED). Until the pager is done with these bytes
	 * others that need them are refused at once. So are those that need other bytes of the
	 * region, as long as nb_threads fetches or more are late and all nb_threads threads are
	 * in callbacks: with fill and one thread, while the one call is late. The memory stays
	 * the region's, and bytes that come late are taken. [for ever]
	 */
	unsigned int deadline_ms;
};
/** @return NULL with rte_errno EINVAL (a pager out of range), or as mmem_alloc(). */
void *mmem_alloc_paged(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager);

/**
 * The bytes of a fetch are there (0), or do not come (-errno). Once for each start that returned
 * 0, from any thread, also before start has returned. @p fetch is not valid after it.
 */
void mmem_fetch_done(struct mmem_fetch *fetch, int error);

/**
 * Give a region back. When it returns 0, no access to it succeeds, and its memory is free.
 *
 * On any error but -EINVAL and -EDEADLK no fault finds the region any more, its memory is kept
 * (MMEM_STAT_KEPT) and never given to anybody else, and this can be called again; if it is not,
 * a later call for the space that succeeds frees the region.
 * @param ptr what mmem_alloc() and the others returned. -EINVAL otherwise.
 * @return 0, -EINVAL, -EDEADLK; -ETIMEDOUT, -EIO: the IOMMU does not confirm, or (-ETIMEDOUT) a
 *   pager has not returned within mmem_space_conf.wait_ms.
 */
int mmem_free(struct mmem_space *space, void *ptr);

/**
 * Take pages from the devices; contents stay, and the next access faults again.
 * When it returns 0, no access through the old mapping can succeed. Does not wait for a
 * pager. On an error of the IOMMU it can be called again.
 * @param ptr,len within one region, multiples of 4 KiB.
 */
int mmem_unmap(struct mmem_space *space, void *ptr, size_t len);

/**
 * Change rights. Lost rights are lost when it returns; gained ones are found by the
 * device's next access.
 */
int mmem_protect(struct mmem_space *space, void *ptr, size_t len, unsigned int flags);

/**
 * Fetch and map ahead of the devices. In a pager's callback: have it fetched, and return.
 * @return 0, -EINVAL, -EIO, -ENOMEM, -ETIMEDOUT (the pager's deadline), -EDEADLK.
 */
int mmem_prefetch(struct mmem_space *space, void *ptr, size_t len);

/**
 * Resolve one access by hand: what the fault handler does. For devices that
 * report a fault and try again, and for servicers of one's own. May block when the
 * bytes are not there.
 * @return 0, -EFAULT, -EACCES, -EIO, -ENOMEM, -ETIMEDOUT, -EDEADLK.
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
	MMEM_STAT_KEPT,		/**< chunks that mmem_free() keeps now: see there */
	MMEM_STAT_EXPIRED,	/**< accesses refused because a pager's deadline has passed */
	MMEM_STAT_LOG_LEFT_OUT,	/**< lines of log that were left out: at most 10 in a second */
};
#define MMEM_NB_STATS 14
const char *mmem_stat_name(enum mmem_stat stat);
uint64_t mmem_stat(const struct mmem_space *space, enum mmem_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* MMEM_H */
