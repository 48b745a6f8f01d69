/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_H
#define MMEM_H

/**
 * @file
 * Managed memory: buffers that a device uses without pinning or mapping them first. The device's
 * first access to a page faults, and mmem maps the page in answer.
 *
 * @code
 *	mmem_pool    memory in 2 MiB chunks, mapped once by the CPU, reachable through
 *	   |         one IOMMU or several; hugepages where reserved, else ordinary memory
 *	mmem_space   an address space for devices: a domain and its page table
 *	   |
 *	regions      runs of chunks of the pool. A region's pointer is its device
 *	             address: CPU and device share pointer and contents, always.
 * @endcode
 *
 * A region's contents come from one of
 *   - no source: they are zero (mmem_alloc());
 *   - a file (mmem_map_file());
 *   - a pager of the caller (mmem_alloc_paged()).
 * Memory that the application has mapped already is imported into a space (mmem_import()): outside
 * of the pool, at the same pointer for CPU and devices.
 *
 * CPU and device share zero-filled memory from the start: the device finds what the CPU wrote
 * before the device's first access. In a region with a pager, the first access to a page fetches
 * its contents, a device's access and the CPU's alike: the thread that accesses an absent page
 * waits. userfaultfd stops it, or, where that is not allowed, page protection and a handler of
 * SIGSEGV, which the first such region sets: set handlers of your own before, and do not block
 * SIGSEGV. If the fetch fails, the CPU's access is repeated until a fetch succeeds or the region is
 * freed: report is called with dev NULL.
 *
 * A fault on a page whose contents are present is resolved on the poll thread: one page table
 * entry, one answer; with MMEM_HUGE the entry maps 2 MiB. If the page has no memory yet, the fault
 * is deferred to a worker thread, which populates a whole 2 MiB chunk, so that the poll thread
 * resolves faults on its other pages. A control thread populates chunks ahead of the devices. If
 * the contents must be fetched, the worker thread starts the fetch and does not wait for it: a
 * pager runs on threads of its own. A slow pager, or a pager that never returns, delays faults on
 * its own region only.
 *
 * More than fits. A budget, of a pool or a space, limits the memory of regions with a pager. A
 * fetch without room waits until a thread of the pool has evicted other blocks: devices and CPUs
 * lose them, what was written is written back (mmem_pager.write), and the next access fetches them
 * again. If nothing can be evicted, accesses are refused with -ENOMEM.
 *
 * Faults on adjacent pages, or at equal distances, are a stream. A fault that continues a stream
 * maps pages ahead of it, more each time, up to 128 on the poll thread and 512 (2 MiB) on a worker
 * thread, and has absent contents ahead fetched. So a device that streams over a region faults once
 * in 128 pages or less often. Pages that other faults would map are not: accesses at random cost
 * what they cost without streams. See mmem_space_conf.window.
 *
 * An access outside every region, or an access that the region forbids, is answered IOPF_INVALID
 * and reported.
 *
 * Call order
 *   1. open an IOMMU; mmem_pool_create(), mmem_space_create()
 *   2. mmem_alloc() ..., mmem_attach(), mmem_replace(), in any order, at any time
 *   3. mmem_detach(), mmem_space_destroy(), mmem_pool_destroy()
 *
 * Threads. Any thread may call any function. Calls on one space serialise; the fault path takes no
 * lock. Handlers, report and pagers are the exception. A function that is forbidden there returns
 * -EDEADLK before it changes anything:
 *   - in report, and in any fast handler: all functions but mmem_stat(),
 *     mmem_stat_name(), mmem_space_domain(), mmem_pool_hugepages(), mmem_fetch_done(),
 *     mmem_write_done(), mmem_completion_poll();
 *   - in fill, start, write or write_start of a pager: mmem_free() of its own region,
 *     mmem_space_destroy() of its own space, and mmem_resolve() of a page whose contents are
 *     absent. mmem_prefetch() starts the fetch there and returns at once. All other calls work:
 *     allocate, unmap, free another region, attach, detach;
 *   - in release of a pager: mmem_space_destroy() of its own space.
 *
 * fork(). The child does not inherit a pool's memory or threads. It must not call this library and
 * must not access a region (SIGSEGV); the devices continue in the parent. The child may call exec()
 * or _exit(). It inherits memory of mmem_import() as the caller has mapped it.
 *
 * mlockall(). With MCL_FUTURE the kernel populates and locks the whole pool in mmem_pool_create();
 * RLIMIT_MEMLOCK must allow that. With MCL_FUTURE | MCL_ONFAULT the kernel locks memory as it is
 * populated.
 *
 * Errors: 0 or -errno with rte_errno; NULL with rte_errno. NULL in place of an object is EINVAL (a
 * counter then reads 0); to destroy NULL returns 0. Each refused argument is logged: at most 10
 * lines a second for a space, together with all other lines about the space.
 *
 * Example
 * @code
 *	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu });
 *	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
 *	buf = mmem_alloc(space, 1 << 30, MMEM_READ | MMEM_WRITE);
 *	mmem_attach(space, dev, IOPF_NO_PASID);
 *	...					// the device reads and writes at buf
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

/** How files and the swap file are read and written. Default: io_uring if the kernel allows it. */
#define MMEM_IO_THREADS		(1u << 0)	/**< by threads that block, not io_uring */
#define MMEM_IO_DIRECT		(1u << 1)	/**< past the page cache (O_DIRECT) where the file
						 * system can; the last bytes of a file that is
						 * no multiple of 4 KiB through it */

/** A NUMA node as a member of an option struct, where 0 is any; -1 (SOCKET_ID_ANY) too. */
#define MMEM_NODE(n) ((unsigned int)((n) + 1))

struct mmem_pool_conf {
	const char *name;		/**< in log lines [a number] */
	struct iopf_iommu *iommu;	/**< the IOMMU of its devices; must outlive the pool */
	struct iopf_iommu * const *others; /**< more IOMMUs that devices of its spaces may be
					 * behind. The memory must have the same device address
					 * behind each; all must outlive the pool [none] */
	unsigned int nb_others;
	size_t size;			/**< a multiple of 2 MiB, page tables included: 4 KiB for
					 * each 2 MiB of regions and space. Hugepages are
					 * reserved at once, ordinary memory is populated on
					 * demand [4 GiB] */
	unsigned int ahead;		/**< chunks to populate ahead of the last accessed chunk
					 * [8] */
	unsigned int node;		/**< MMEM_NODE(n): take memory of NUMA node n, and of
					 * others when it has none left [any node] */
	bool no_hugepages;		/**< use ordinary memory even where hugepages are
					 * reserved */
	bool no_userfaultfd;		/**< watch the CPU's accesses by page protection and a
					 * handler of SIGSEGV even where userfaultfd is allowed */
	const char *swap;		/**< a file, which is made if it does not exist, or a block
					 * device: what was written of regions that cannot be
					 * written back leaves memory to it. With a budget,
					 * mmem_alloc() then makes regions that can be evicted.
					 * What it holds is of no use later [none] */
	unsigned int io;		/**< MMEM_IO_* [0] */
	uint64_t budget;		/**< bytes in memory that regions with a pager may have
					 * together. With a budget, here or in a space, size is
					 * address space only, and the memory is ordinary. Blocks
					 * (mmem_pager.fetch_size) are evicted to make room [no
					 * limit] */
};

/**
 * @return NULL with rte_errno EINVAL, ENOMEM, EAGAIN (no thread, or RLIMIT_MEMLOCK), EDEADLK,
 *   ENOTSUP (the memory has different device addresses behind two IOMMUs), EPERM (node, where a
 *   container forbids it), or the error of iopf_dma_map(). The log names the limit that was
 *   reached.
 */
struct mmem_pool *mmem_pool_create(const struct mmem_pool_conf *conf);

/** -EBUSY while a space uses the pool. Close the IOMMU after that. NULL: 0. */
int mmem_pool_destroy(struct mmem_pool *pool);

/** True if the pool's memory comes from reserved hugepages. */
bool mmem_pool_hugepages(const struct mmem_pool *pool);

/**
 * The devices' rights, and options of a region. Write includes read. The CPU may read and write
 * each region in any case.
 */
#define MMEM_READ		(1u << 0)
#define MMEM_WRITE		(1u << 1)
#define MMEM_EXEC		(1u << 2)
/** Map read-only on a read, so that the first write to each page faults (an upgrade). */
#define MMEM_TRACK_WRITES	(1u << 3)
/**
 * Zero reused memory at a page's first fault, on the poll thread, rather than before mmem_alloc()
 * returns; when the region is freed, keep its memory for the next such region. For buffers that the
 * device writes first: the CPU must not write a page before the device has accessed it.
 */
#define MMEM_ZERO_INLINE	(1u << 4)
/** Populate the whole region now, before the first fault. */
#define MMEM_POPULATE		(1u << 5)
/**
 * For regions with a pager: do not watch the CPU's accesses. A CPU access to a page whose contents
 * are absent then reads zeros, and a write there is lost. For processes that must have neither
 * userfaultfd nor a handler of SIGSEGV.
 */
#define MMEM_CPU_LATER		(1u << 6)
/** For mmem_map_file(): what is written to the region is written to the file. */
#define MMEM_SHARED		(1u << 7)
/**
 * For mmem_alloc(): a fault maps 2 MiB by one entry of the page table, where nothing else is mapped
 * in them. A device that streams over the region so faults once in 2 MiB, and needs one entry of
 * the TLB for it. mmem_unmap() and mmem_protect() of a part of such 2 MiB split the entry into
 * pages, which faults then map one by one; mmem_advise() with MMEM_ADVISE_HUGE joins them again.
 * No effect with MMEM_TRACK_WRITES, and on the last part of the region that is less than 2 MiB.
 * Not with a pager or MMEM_ZERO_INLINE.
 */
#define MMEM_HUGE		(1u << 8)

/**
 * An access that the space refused: it was answered IOPF_INVALID. Accesses that lib/iopf refuses in
 * place of the space are not reported and not counted by the space:
 *   - the device is over its share of the stalls (iopf_iommu_conf.share_ms):
 *     IOPF_IOMMU_STAT_OVER_SHARE, IOPF_DEV_STAT_OVER_SHARE, and IOPF_STAT_EXPIRED of the domain;
 *   - the device is past a limit or quarantined (iopf_dev_limits): IOPF_DEV_STAT_REFUSED_SHARE,
 *     IOPF_DEV_STAT_REFUSED_RATE, IOPF_DEV_STAT_REFUSED_QUARANTINE;
 *   - a detach, a breaker or a quarantine answered it: IOPF_STAT_CANCELLED of the domain;
 *   - an episode counts it, with mmem_space_conf.storm: IOPF_STAT_COUNTED of the domain;
 *   - no slot, device or attachment: IOPF_IOMMU_STAT_NO_SLOT and the counters beside it.
 */
struct mmem_report {
	struct iopf_dev *dev;	/**< NULL: an access of the CPU, which is repeated */
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint64_t addr;
	uint8_t perm;		/**< IOPF_PERM_*: the rights that the access needs */
	int error;		/**< -EFAULT: no region; -EACCES: the region forbids it; -EIO:
				 * the pager failed; -ETIMEDOUT: the pager's deadline passed;
				 * -ENOMEM */
};

struct mmem_space_conf {
	const char *name;		/**< in log lines [a number] */
	struct mmem_pool *pool;
	struct iopf_worker *worker;	/**< for faults that need memory or contents [the pool's,
					 * one thread for all its spaces] */
	unsigned int wait_ms;		/**< how long mmem_free() and mmem_space_destroy() wait
					 * for a pager to return [5000] */
	unsigned int window;		/**< the most pages that one fault maps: more than its
					 * own if it continues a stream; 1: its own only [512] */
	/** Called on the poll thread or a worker thread; must not block. */
	void (*report)(struct mmem_space *space, const struct mmem_report *report, void *ctx);
	void *ctx;
	uint64_t budget;	/**< as mmem_pool_conf.budget, for the regions of this space; use
				 * no hugepages in the pool [no limit] */
	/**
	 * Policies for faults in numbers: iopf_policy.h, with the domain of mmem_space_domain().
	 * Copied. [all off]
	 */
	const struct iopf_storm_conf *storm;
};

struct mmem_space *mmem_space_create(const struct mmem_space_conf *conf);

/**
 * Free the space and its regions. The space must be detached everywhere: -EBUSY otherwise. NULL: 0.
 * -ETIMEDOUT: a pager has not returned; -EIO: a region cannot be written back, and its bytes are
 * still in memory. The space is then half destroyed: it has no domain;
 * mmem_alloc(), mmem_alloc_paged(), mmem_map_file(), mmem_attach(), mmem_replace() and
 * mmem_detach() fail with ESHUTDOWN; call this function again.
 */
int mmem_space_destroy(struct mmem_space *space);

/**
 * The space's domain, for statistics, latency and invalidation. NULL: the space is half destroyed.
 */
struct iopf_domain *mmem_space_domain(struct mmem_space *space);

/**
 * As iopf_domain_attach() and iopf_domain_detach(). -EXDEV: not one of the pool's IOMMUs.
 * -ESHUTDOWN: the space is half destroyed.
 */
int mmem_attach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);
int mmem_detach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);

/**
 * Replace the domain that is attached there by this space, while the device accesses memory. The
 * old domain may be another space's, or any. As iopf_domain_replace(); -EXDEV and -ESHUTDOWN as
 * above. Each access uses the old domain or this space, and an access that is allowed in both is
 * not aborted. Spaces share no region: an access to a region of the old space that has not ended
 * before is refused, and reported by this one.
 * @code
 *	next = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
 *	copy = mmem_alloc(next, size, MMEM_READ | MMEM_WRITE);
 *	ret = mmem_replace(next, dev, pasid);
 *	if (ret == 0)
 *		mmem_space_destroy(old);	// if it is attached nowhere else
 * @endcode
 */
int mmem_replace(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid);

/**
 * Allocate a region filled with zeros.
 * @param size bytes; rounded up to 4 KiB. The region takes whole chunks of the pool.
 * @return its pointer, aligned to 2 MiB; NULL with rte_errno EINVAL, ENOMEM (the pool is too small,
 *   full or fragmented), ESHUTDOWN (the space is half destroyed); with MMEM_HUGE also EIO,
 *   ETIMEDOUT (the IOMMU did not confirm an invalidation).
 */
void *mmem_alloc(struct mmem_space *space, size_t size, unsigned int flags);

/**
 * Allocate a region with the contents of a file from @p offset (a multiple of 4 KiB). Contents
 * beyond the end of the file are zero, also after the file has shrunk. Writes stay in memory, or,
 * with MMEM_SHARED, are written to the file: by mmem_sync(), by mmem_free(), and when a block is
 * evicted. They do not extend the file.
 * @return NULL with rte_errno from open(2), or as mmem_alloc().
 */
void *mmem_map_file(struct mmem_space *space, const char *path, off_t offset, size_t size,
		unsigned int flags);

/** A pending fetch and a pending write of an asynchronous pager. */
struct mmem_fetch;
struct mmem_write;

/**
 * The source of a region's contents. Set either fill or start, and at most one of write and
 * write_start.
 *
 * An asynchronous pager (start, write_start) has any number of requests under way with one fetch
 * thread: start and write_start hand a request to a queue of the pager's own and return, and
 * mmem_fetch_done() and mmem_write_done() end it, from any thread, in any order.
 * @code
 *	static int
 *	net_write_start(void *ctx, struct mmem_write *write, uint64_t offset, const void *src,
 *			size_t len)
 *	{
 *		return net_send(ctx, offset, src, len, write);	// -errno: not started
 *	}
 *	...						// the thread that receives
 *	while ((reply = net_receive(ctx)) != NULL)
 *		mmem_write_done(reply->cookie, reply->error);
 * @endcode
 */
struct mmem_pager {
	/**
	 * Fill @p len bytes (a multiple of 4 KiB, at most fetch_size) of the region from @p offset.
	 * Runs on a fetch thread of the pool; may block. Two calls at the same time never have the
	 * same bytes.
	 * @return 0 or -errno: each access that waits for these bytes is then answered INVALID, and
	 *   the next access asks again.
	 */
	int (*fill)(void *ctx, uint64_t offset, void *dst, size_t len);
	/**
	 * The asynchronous form of fill: start the fetch; mmem_fetch_done() completes it. @p dst
	 * stays valid until then.
	 * @return 0, or -errno: not started, as if completed with this error. After
	 *   mmem_fetch_done() an error is ignored.
	 */
	int (*start)(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len);
	/**
	 * Write back @p len bytes at @p offset, a block, which a device or a CPU has written.
	 * Called on a fetch thread, before the block leaves memory and in mmem_sync(); may block.
	 * A later fill or start of the block gives these bytes.
	 * NULL: blocks that were written stay in memory.
	 * @return 0; -errno: the block stays in memory, and is written again later.
	 */
	int (*write)(void *ctx, uint64_t offset, const void *src, size_t len);
	/**
	 * The asynchronous form of write: start it; mmem_write_done() completes it. @p src stays
	 * valid, and its bytes the same if the block is leaving, until then.
	 * @return 0, or -errno: not started, as if completed with this error. After
	 *   mmem_write_done() an error is ignored.
	 */
	int (*write_start)(void *ctx, struct mmem_write *write, uint64_t offset, const void *src,
			size_t len);
	/** Make durable what was written. Called at the end of mmem_sync(). May be NULL. */
	int (*flush)(void *ctx);
	/** The region is freed. Called on the thread that frees it. May be NULL. */
	void (*release)(void *ctx);
	void *ctx;
	size_t fetch_size;	/**< bytes of one fetch: a power of two, 4 KiB to 2 MiB [2 MiB] */
	unsigned int nb_threads;/**< calls of fill, start, write and write_start at the same time
				 * [1] */
	/**
	 * The longest time that an access waits for its contents. After it the access is answered
	 * INVALID, reported (-ETIMEDOUT) and counted (MMEM_STAT_EXPIRED). Until the pager completes
	 * the late fetch, other accesses to the same bytes are refused at once. Accesses to other
	 * bytes of the region are refused at once while at least nb_threads fetches are late and
	 * all nb_threads threads are in fill or start: with fill and one thread, while the one call
	 * is late. The memory stays the region's, and contents that come late are used. [no
	 * deadline]
	 */
	unsigned int deadline_ms;
};
/** @return NULL with rte_errno EINVAL (a pager field out of range), or as mmem_alloc(). */
void *mmem_alloc_paged(struct mmem_space *space, size_t size, unsigned int flags,
		const struct mmem_pager *pager);

/**
 * Complete a fetch: its contents are present (0), or not available (-errno). Call it once for each
 * start that returned 0, from any thread, also before start has returned. @p fetch is invalid
 * afterwards.
 */
void mmem_fetch_done(struct mmem_fetch *fetch, int error);

/**
 * Complete a write: the store has its bytes (0), or not (-errno): the block stays in memory, and is
 * written again later. Call it once for each write_start that returned 0, from any thread, also
 * before write_start has returned. @p write is invalid afterwards.
 */
void mmem_write_done(struct mmem_write *write, int error);

/**
 * Free a region. When this returns 0, no access to the region succeeds, and its memory is free.
 * What was written is written back first, as by mmem_sync(); if that fails, the region stays as it
 * is.
 *
 * On any error but -EINVAL and -EDEADLK no fault finds the region any more. Its memory is kept
 * (MMEM_STAT_KEPT) and not used again until a call succeeds: call this function again, or a later
 * successful call for the space frees the region.
 * @param ptr the pointer that mmem_alloc(), mmem_alloc_paged() or mmem_map_file() returned. -EINVAL
 *   otherwise.
 * @return 0, -EINVAL, -EDEADLK; -ETIMEDOUT, -EIO: the IOMMU did not confirm the invalidation, or
 *   (-ETIMEDOUT) a pager did not return within mmem_space_conf.wait_ms.
 */
int mmem_free(struct mmem_space *space, void *ptr);

/**
 * Unmap pages from the devices; the contents stay, and the next access faults again. When this
 * returns 0, no access through the old mapping can succeed. Does not wait for a pager. After an
 * error of the IOMMU, call it again.
 * @param ptr,len within one region, multiples of 4 KiB.
 */
int mmem_unmap(struct mmem_space *space, void *ptr, size_t len);

/**
 * Write back what devices and CPUs have written in a range of a region whose pager has write, also
 * while they write on: each byte that was written before this call. Then make it durable
 * (mmem_pager.flush). For other regions it does nothing. Waits for the pager.
 * @param ptr,len within one region, multiples of 4 KiB.
 * @return 0, -EINVAL, -EDEADLK; -EIO: a write or flush failed (its block stays written), or the
 *   IOMMU did not confirm an invalidation; -ENOMEM, -ETIMEDOUT. Call it again.
 */
int mmem_sync(struct mmem_space *space, void *ptr, size_t len);

/**
 * Change rights. Removed rights are gone when this returns; the device's next access finds added
 * rights.
 */
int mmem_protect(struct mmem_space *space, void *ptr, size_t len, unsigned int flags);

/**
 * Fetch and map pages ahead of the devices. In fill or start: start the fetch and return.
 * @return 0, -EINVAL, -EIO, -ENOMEM, -ETIMEDOUT (the pager's deadline), -EDEADLK.
 */
int mmem_prefetch(struct mmem_space *space, void *ptr, size_t len);

/**
 * The state of a call that goes on after it has returned. The caller's memory; not to be moved or
 * freed while mmem_completion_poll() returns -EINPROGRESS. The members are private.
 */
struct mmem_completion {
	int status;
	struct mmem_pool *pool;
};

/**
 * Start mmem_prefetch() and return. Prefetches of several regions proceed side by side: a slow
 * pager delays only its own. Accesses that fault go first where a pager has a choice.
 * @code
 *	struct mmem_completion done;
 *
 *	mmem_prefetch_start(space, weights, size, &done);
 *	...						// the device may start now
 *	rc = mmem_completion_wait(&done, 1000);
 * @endcode
 * @param completion may be NULL. It ends as mmem_prefetch() returns; with -ECANCELED if the region
 *   is freed or the space destroyed before.
 * @return 0: started; -EINVAL, -ENOMEM, -EDEADLK: @p completion is not used.
 */
int mmem_prefetch_start(struct mmem_space *space, void *ptr, size_t len,
		struct mmem_completion *completion);

/** @return -EINPROGRESS, or the result. Never blocks; allowed in handlers. */
int mmem_completion_poll(struct mmem_completion *completion);

/**
 * Wait at most @p wait_ms milliseconds.
 * @return the result; -EINPROGRESS: the time is over; -EDEADLK: in fill or start of a pager, in
 *   report or in a fast handler.
 */
int mmem_completion_wait(struct mmem_completion *completion, unsigned int wait_ms);

/** What an application knows about its accesses. Advice changes no contents and no rights. */
enum mmem_advice {
	/* Until the next of these three, for the chunks of 2 MiB that the range touches. */
	MMEM_ADVISE_NORMAL,	/**< look for streams; the default, and again after RANDOM */
	MMEM_ADVISE_SEQUENTIAL,	/**< each fault outside all streams begins one, forward, with a
				 * window of full size */
	MMEM_ADVISE_RANDOM,	/**< a fault maps its own page only, at the least cost */
	/* At once. */
	MMEM_ADVISE_READ_MOSTLY,/**< as mmem_protect() with MMEM_TRACK_WRITES added: a page is
				 * mapped read-only until its first write. mmem_protect() without
				 * it takes it back */
	MMEM_ADVISE_WILL_NEED,	/**< as mmem_prefetch_start() without a completion */
	MMEM_ADVISE_DONT_NEED,	/**< as mmem_unmap(): the contents stay, and leave soon under a
				 * budget */
	MMEM_ADVISE_HUGE,	/**< of a region with MMEM_HUGE: each 2 MiB of the range whose pages
				 * are all mapped, with the same rights, is mapped by one entry
				 * from now on. Devices that access it meanwhile fault and retry.
				 * -ENOMEM, -EIO, -ETIMEDOUT: call it again */
};

/**
 * @param ptr,len as for mmem_unmap().
 * @return 0, -EINVAL, -EDEADLK; the errors of the function that the advice names.
 */
int mmem_advise(struct mmem_space *space, void *ptr, size_t len, enum mmem_advice advice);

/**
 * Fetch and map a range as mmem_prefetch(), and keep its blocks in memory until as many calls of
 * mmem_unpin(). For data that must not be late; at most half of each budget. mmem_unmap(),
 * mmem_protect() and mmem_free() work as usual; a free takes back the pins.
 * @return 0, -ENOMEM (over half of the budget), -EOVERFLOW (65535 pins of a block), or as
 *   mmem_prefetch(), -EDEADLK also in fill, start or write of a pager. After an error nothing is
 *   pinned by this call.
 */
int mmem_pin(struct mmem_space *space, void *ptr, size_t len);

/** @return 0, -EINVAL (also if a block of the range is not pinned: nothing changes), -EDEADLK. */
int mmem_unpin(struct mmem_space *space, void *ptr, size_t len);

/**
 * The hot set: what a run of an application used, for its next run to fetch before and while the
 * device starts.
 * @code
 *	// the first run, after its regions are allocated
 *	mmem_hotset_record(space);
 *	...
 *	mmem_hotset_save(space, "app.hotset");
 *
 *	// a later run, after the same regions are allocated in the same order
 *	mmem_hotset_replay(space, "app.hotset", &done);
 * @endcode
 * Of a region with a pager it has the blocks that were fetched, in this order; of other regions the
 * pages that are mapped for devices when it is saved. A block that was evicted since is included.
 */

/**
 * Start recording, or start again. Costs a bit for each page of the pool, and 8 bytes for each
 * block.
 * @return 0, -EINVAL, -ENOMEM, -EDEADLK.
 */
int mmem_hotset_record(struct mmem_space *space);

/**
 * Write the hot set to a file, which it replaces. Recording continues.
 * @return 0, -EINVAL (mmem_hotset_record() is missing), -ENOMEM, -EDEADLK, or the error of writing
 *   the file: it is as it was then.
 */
int mmem_hotset_save(struct mmem_space *space, const char *path);

/**
 * Prefetch what the file names, as mmem_prefetch_start(). Under a budget, no more bytes of regions
 * with a pager than the budget: the first ones.
 * @return 0: started; -EINVAL: the file is no hot set of these regions, by their order and sizes;
 *   the log has the line; -ENOMEM, -EDEADLK, or the error of reading the file.
 */
int mmem_hotset_replay(struct mmem_space *space, const char *path,
		struct mmem_completion *completion);

/**
 * Resolve one access as the fault handler does. For devices that report a fault and retry, and for
 * fault servicers outside this library. May block while the contents are absent.
 * @return 0, -EFAULT, -EACCES, -EIO, -ENOMEM, -ETIMEDOUT, -EDEADLK.
 */
int mmem_resolve(struct mmem_space *space, uint64_t addr, unsigned int perm);

/**
 * Import memory that the caller has mapped, for example memory of DPDK, a file on hugetlbfs, or a
 * memfd. Devices use it at the same pointer; their first access to a page faults and maps it. The
 * memory stays the caller's: until mmem_release() has returned 0, keep it mapped there, and do not
 * give its pages back (munmap, mremap, MADV_DONTNEED, MADV_REMOVE, ftruncate, or freeing it in
 * DPDK). Nothing is pinned: the IOMMU's driver refuses memory whose physical address may change.
 *
 * The call populates the range, so that no fault on it needs memory. It needs a shared mapping of
 * memory (anonymous, memfd, tmpfs, hugetlbfs), or a writable private one that fork() does not copy
 * (MADV_DONTFORK); a userfaultfd, MADV_MERGEABLE, device memory and files on disk are refused.
 *
 * Blocks. Where the pointer, the size and the device addresses are multiples of 2 MiB, a fault maps
 * 2 MiB, unless @p flags has MMEM_TRACK_WRITES. mmem_unmap() and mmem_prefetch() then extend their
 * range to multiples of 2 MiB, and mmem_protect() refuses other ranges.
 *
 * Several spaces may import a range: exactly the same one, if they have the same IOMMU. In one
 * space imports do not overlap. mmem_unmap(), mmem_protect(), mmem_resolve() and the two
 * prefetches work; mmem_free() does not: use mmem_release(). mmem_sync(), mmem_pin() and
 * mmem_unpin() refuse imports (-EINVAL), and mmem_advise() most advice. mmem_space_destroy()
 * releases all imports of the space. An import takes 4 KiB of the pool for each 2 MiB, or for each
 * 1 GiB of blocks.
 *
 * @code
 *	mz = rte_memzone_reserve_aligned("table", 1 << 20, SOCKET_ID_ANY, 0, 4096);
 *	mmem_import(space, mz->addr, 1 << 20, MMEM_READ | MMEM_WRITE);
 *	...					// devices access it at mz->addr
 *	if (mmem_release(space, mz->addr) == 0)
 *		rte_memzone_free(mz);
 * @endcode
 * @param ptr,len multiples of 4 KiB.
 * @param flags MMEM_READ, MMEM_WRITE, MMEM_EXEC, MMEM_TRACK_WRITES.
 * @return 0, -EINVAL (an argument, or not all of it is mapped, or a mapping that the kernel
 *   changes), -EACCES (the mapping has fewer rights), -EEXIST (a pool, another import or another
 *   owner has a part of it), -ENOTSUP (no device address, or not ordinary memory), -EFAULT (beyond
 *   the end of its file, or no hugepage), -ENOMEM, -ERANGE (beyond the IOMMU's address bits),
 *   -ESHUTDOWN, -EDEADLK.
 */
int mmem_import(struct mmem_space *space, void *ptr, size_t len, unsigned int flags);

/**
 * Map a part of a memfd, or of a file on hugetlbfs, into the process and import it. Processes so
 * share it by descriptor: each maps it where it likes, and devices of this one use the pointer that
 * this call returns. A memfd is sealed against shrinking (F_SEAL_SHRINK), and refused if that is
 * impossible; a file of a hugetlbfs mount cannot be sealed: no process may truncate it. A child of
 * fork() does not inherit the mapping. The caller may close @p fd. mmem_release() removes the
 * mapping.
 * @param offset,size multiples of 4 KiB, or of the file's hugepage.
 * @return the pointer, aligned to 2 MiB and to the hugepage; NULL with rte_errno as mmem_import(),
 *   EPERM (not sealed), EBADF.
 */
void *mmem_import_fd(struct mmem_space *space, int fd, off_t offset, size_t size,
		unsigned int flags);

/**
 * The reverse of mmem_import() and mmem_import_fd(). When this returns 0, no access of a device of
 * this space to the memory succeeds, and the caller may free it.
 * @param ptr the pointer of the import.
 * @return 0, -EINVAL (no import begins there), -EDEADLK; -ETIMEDOUT, -EIO: the IOMMU did not
 *   confirm the invalidation. No fault finds the import any more, but a device may still access the
 *   memory: keep it, and call this function again.
 */
int mmem_release(struct mmem_space *space, void *ptr);

/** Counters of a space; each has a name. */
enum mmem_stat {
	MMEM_STAT_MAPPED,	/**< pages mapped by faults */
	MMEM_STAT_PREFETCHED,	/**< pages mapped by a prefetch */
	MMEM_STAT_AHEAD,	/**< pages mapped by a fault on another page of its stream */
	MMEM_STAT_JOINED,	/**< faults on a page that another fault had mapped */
	MMEM_STAT_UPGRADED,	/**< pages made writable by a fault */
	MMEM_STAT_DEFERRED,	/**< faults (a group counts once) that waited for contents or
				 * memory */
	MMEM_STAT_ZEROED,	/**< pages zeroed by a fault or mmem_prefetch() */
	MMEM_STAT_FILLED,	/**< pages filled by a pager */
	MMEM_STAT_REFILLED,	/**< of them, pages that had been evicted before */
	MMEM_STAT_THROTTLED,	/**< pages of fetches while the space thrashes: blocks come back as
				 * soon as they have left, so they stay longer, and accesses
				 * to others wait */
	MMEM_STAT_EVICTED,	/**< pages that left memory to make room */
	MMEM_STAT_WRITTEN,	/**< pages written back */
	MMEM_STAT_LATE_WRITES,	/**< write-backs of leaving blocks that took longer than 10 ms */
	MMEM_STAT_UNMAPPED,	/**< pages unmapped from the devices */
	MMEM_STAT_NO_REGION,	/**< accesses outside every region */
	MMEM_STAT_FORBIDDEN,	/**< accesses that a region forbids */
	MMEM_STAT_FAILED,	/**< accesses refused: no memory, or a pager failed */
	MMEM_STAT_KEPT,		/**< chunks that a failed mmem_free() keeps */
	MMEM_STAT_EXPIRED,	/**< accesses refused because a pager's deadline passed */
	MMEM_STAT_LOG_LEFT_OUT,	/**< log lines left out: at most 10 in a second */
};
#define MMEM_NB_STATS 20
const char *mmem_stat_name(enum mmem_stat stat);
uint64_t mmem_stat(const struct mmem_space *space, enum mmem_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* MMEM_H */
