/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_H
#define IOPF_H

/**
 * @file
 * I/O page faults, served by polling.
 *
 * A device behind an IOMMU touches memory that is not mapped. The IOMMU stalls
 * the access, or the device asks for the pages itself (PCIe page requests), and a
 * record appears in a queue. A poller, on a core of the application's choice,
 * reads the record, finds the domain that the device and PASID are attached to,
 * asks the domain's handler, and sends the answer.
 *
 * @code
 *	iommu --- dev --- (PASID) --- domain --- handler, on the poll core
 *	  |                              '------ deferred handler, on a worker
 *	  '--- poller: iopf_poll()
 * @endcode
 *
 * Call order
 *   1. rte_eal_init()
 *   2. iopf_iommu_open(), optionally iopf_iommu_configure()
 *   3. iopf_iommu_start(); iopf_poller_create(), iopf_poller_add()
 *   4. iopf_dev_add(), iopf_domain_create(), iopf_domain_attach(), at any time
 *      between open and close
 *   5. iopf_poll() again and again, from one thread per poller
 *   6. iopf_domain_detach(), iopf_domain_destroy(), iopf_dev_remove()
 *   7. iopf_poller_destroy(), iopf_iommu_stop(), iopf_iommu_close()
 *
 * What a handler says (enum iopf_verdict)
 *   - IOPF_ANSWER(code): answered in this burst.
 *   - IOPF_ANSWER_AFTER_INV(code): the same, once the invalidations given to
 *     iopf_group_invalidate() are complete. Nothing waits on the core for it.
 *   - IOPF_DEFER: the domain's deferred handler is to be called on a worker.
 *   - IOPF_TAKEN: somebody will call iopf_group_respond() with the group's id.
 *
 * Each fault is answered exactly once, whatever happens: without a device or a
 * domain to ask, the answer is IOPF_INVALID.
 *
 * Page requests (IOPF_PRI) come in groups, named by StreamID, PASID and PRG index
 * and closed by a request that says Last. A handler is called once for a group,
 * with all its requests, and there is one answer. Until Last a group is partial;
 * when the queue overflows, the IOMMU answers for what it could not write, and all
 * partial groups are discarded: their devices ask again. A request queue has room
 * for a number of requests, given out to devices while their PRI is on
 * (iopf_dev_conf.pri_requests). ATS and PRI of a device are on while it is attached
 * and the IOMMU started, switched by the device's own operations.
 *
 * Threads. A handler runs on the thread that polls, inside an RCU read section,
 * and must not block; a deferred handler runs on a worker and may. Where no poller
 * runs, a fast handler is called by the thread that detaches. Neither may attach,
 * detach, add, remove, destroy, configure, start, stop or close (-EDEADLK).
 * iopf_poll() of one poller is for one thread at a time. iopf_group_respond() and
 * iopf_invalidate() are for any thread, handlers included (but a fast handler must
 * not call iopf_invalidate(), which waits: -EDEADLK). All else is for any thread,
 * and serialises inside: the calls for one device, and configure, start, stop, idle and
 * close of one IOMMU. What a call waits for costs that device, or that IOMMU, alone; an
 * attach waits for no invalidation. Threads are made known to RCU at their first call; a
 * thread that stops polling holds nothing up, but one that never returns from a fast handler
 * does.
 *
 * Waits are bounded: those for a device, its handlers and its queue by iopf_dev_conf.wait_ms,
 * those for the IOMMU by its driver. A control call that failed, with -ETIMEDOUT or what the
 * driver or the device's operations said, can be made again and goes on from where it was;
 * until it returns 0 nothing is released that the IOMMU or a handler may still use.
 *
 * Errors. Functions that return int return 0 or -errno and set rte_errno;
 * pointers are NULL with rte_errno. In the option structs zero means default. NULL where
 * an object is expected is EINVAL (a counter is 0 then, and what returns nothing does
 * nothing); to destroy, remove or close NULL is 0.
 *
 * Example: a domain that maps what is missing.
 * @code
 *	static enum iopf_verdict
 *	on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
 *	{
 *		if (map_page(ctx, group->faults[0]->addr) < 0)
 *			return IOPF_ANSWER(IOPF_INVALID);
 *		return IOPF_ANSWER(IOPF_SUCCESS);
 *	}
 *
 *	smmu = iopf_iommu_open("smmuv3,model=1");
 *	dev = iopf_dev_add(smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
 *	domain = iopf_domain_create(&(struct iopf_domain_conf){
 *			.handler = on_fault, .ctx = table, .translation = root_of(table) });
 *	iopf_domain_attach(domain, dev, IOPF_NO_PASID);
 *	poller = iopf_poller_create(NULL);
 *	iopf_poller_add(poller, smmu, IOPF_QUEUE_ALL);
 *	iopf_iommu_start(smmu);
 *	while (!quit)
 *		iopf_poll(poller);
 * @endcode
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_iommu;
struct iopf_dev;
struct iopf_pci_ops;
struct iopf_domain;
struct iopf_poller;
struct iopf_worker;

/** For a fault without PASID, and for attaching a device's untagged traffic. */
#define IOPF_NO_PASID UINT32_MAX

/** The fault queues of an IOMMU: events, stalls among them, and page requests. */
#define IOPF_QUEUE_EVENTS 0
#define IOPF_QUEUE_REQUESTS 1
#define IOPF_QUEUE_ALL UINT32_MAX

/** Answers. */
enum iopf_code {
	IOPF_SUCCESS,	/**< resolved: the access is tried again */
	IOPF_INVALID,	/**< the access is aborted */
	IOPF_FAILURE,	/**< aborted; PRI of the device is off: see iopf_pci.h */
	IOPF_RAZWI,	/**< reads as zero, writes are ignored; stalls only, where the IOMMU can */
};
#define IOPF_NB_CODES 4
const char *iopf_code_name(enum iopf_code code);

/** What was wanted. */
#define IOPF_PERM_READ	(1u << 0)
#define IOPF_PERM_WRITE	(1u << 1)
#define IOPF_PERM_EXEC	(1u << 2)
#define IOPF_PERM_PRIV	(1u << 3)

/** Why it faulted. */
enum iopf_reason {
	IOPF_REASON_TRANSLATION,	/**< nothing is mapped there */
	IOPF_REASON_ADDR_SIZE,		/**< an address in the tables is too large */
	IOPF_REASON_ACCESS,		/**< the access flag is clear */
	IOPF_REASON_PERMISSION,		/**< mapped, but not for this */
	IOPF_REASON_CONFIG,		/**< the IOMMU's own tables forbid or lack the device */
	IOPF_REASON_OTHER,		/**< see the raw id */
};
#define IOPF_NB_REASONS 6
const char *iopf_reason_name(enum iopf_reason reason);

/** The fault concerns a second stage: ipa is valid. */
#define IOPF_FAULT_STAGE2	(1u << 0)
/** The access waits for an answer. */
#define IOPF_FAULT_STALLED	(1u << 1)
/** A page request of a group. One without any of IOPF_PERM_* wants nothing but the answer. */
#define IOPF_FAULT_PAGE_REQUEST	(1u << 2)

/**
 * One outstanding fault: preallocated, read-only for handlers and valid only inside their
 * callback.
 */
struct iopf_fault {
	uint64_t addr;		/**< input address, as the device sent it */
	uint64_t ipa;		/**< with IOPF_FAULT_STAGE2 */
	uint64_t time;		/**< rte_rdtsc() when its record was read */
	uint32_t sid;		/**< StreamID */
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint16_t token;		/**< STAG, or the PRG index of a page request */
	uint8_t perm;		/**< IOPF_PERM_* */
	uint8_t reason;		/**< enum iopf_reason */
	uint8_t flags;		/**< IOPF_FAULT_* */
	uint8_t raw_id;		/**< the record's own number */
	uint16_t queue;		/**< that it came from */
};

/** Page requests of a group that a handler sees; it answers for the rest too, which are
 * counted (IOPF_IOMMU_STAT_CUT), and the device asks for them again. */
#define IOPF_MAX_GROUP_FAULTS 512

/**
 * Faults that are answered together: one stall, or the page requests of a group in
 * the order they came, all of one StreamID and PASID. Valid only inside a callback;
 * its id is valid until the answer.
 */
struct iopf_group {
	uint64_t id;		/**< slot and generation; 0 only where nothing is to be answered */
	struct iopf_dev *dev;
	uint32_t pasid;
	uint16_t nb_faults;
	const struct iopf_fault *const *faults;
};

static inline uint64_t
iopf_group_id(const struct iopf_group *group)
{
	return group->id;
}

/** What a handler says; made with the macros below. */
enum iopf_verdict {
	IOPF_DEFER = 0x100,	/**< call the deferred handler on a worker; fast handlers only */
	IOPF_TAKEN = 0x101,	/**< iopf_group_respond() will be called, or has been */
	IOPF_VERDICT_ANSWER = 0x200,
	IOPF_VERDICT_AFTER_INV = 0x300,
	IOPF_VERDICT_MAX = INT32_MAX,
};
#ifdef __cplusplus
#define IOPF_ANSWER(code) \
	static_cast<enum iopf_verdict>(static_cast<int>(IOPF_VERDICT_ANSWER) | \
			static_cast<int>(code))
#define IOPF_ANSWER_AFTER_INV(code) \
	static_cast<enum iopf_verdict>(static_cast<int>(IOPF_VERDICT_AFTER_INV) | \
			static_cast<int>(code))
#else
#define IOPF_ANSWER(code)		((enum iopf_verdict)((int)IOPF_VERDICT_ANSWER | (int)(code)))
#define IOPF_ANSWER_AFTER_INV(code) \
	((enum iopf_verdict)((int)IOPF_VERDICT_AFTER_INV | (int)(code)))
#endif

typedef enum iopf_verdict (*iopf_handler_t)(struct iopf_domain *domain,
		const struct iopf_group *group, void *ctx);

/*
 * IOMMUs
 */

/** What one can do. */
struct iopf_iommu_info {
	const char *driver;
	const char *backend;	/**< how the registers are reached */
	uint8_t sid_bits;
	uint8_t pasid_bits;	/**< 0: no PASIDs */
	uint8_t addr_bits;	/**< of device addresses of memory */
	uint8_t va_bits;
	uint32_t granules;	/**< bit n: pages of 2^n bytes */
	uint32_t max_stalls;	/**< outstanding; 0: it cannot stall */
	bool stall_forced;	/**< it cannot do anything else */
	bool razwi;		/**< IOPF_RAZWI is possible */
	uint32_t request_queue_size; /**< page requests that it can hold; 0: no page requests */
	uint32_t max_requests;	/**< of these, what devices may have outstanding together; the
				  * rest is for stop markers */
	bool pri_pasid;		/**< answers have the PASID of their request in any case */
	uint16_t nb_queues;	/**< of faults; 2 with page requests */
	uint16_t nb_stats;	/**< counters of the driver */
};

struct iopf_iommu_conf {
	uint32_t event_queue_size;	/**< entries, a power of two [holds all stalls twice] */
	uint32_t command_queue_size;	/**< entries, a power of two [1024, or what there is] */
	uint32_t request_queue_size;	/**< entries, a power of two [1024, or what there is] */
	uint32_t partial_ms;		/**< a group without Last for longer is discarded, its
					  * requests reported; at least 1 [1000] */
	uint32_t share_ms;		/**< while 7/8 of max_stalls are pending and several devices
					  * are attached, a device that holds more than an equal
					  * share gives up stalls that are older: INVALID, counted
					  * as over_share [1000] */
	/** Called by the poller for each record that needs no answer, and for page requests
	 * whose Last did not come. */
	void (*report)(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx);
	void *report_ctx;
};

/**
 * Open an IOMMU through the driver that the string names: "smmuv3,model=1".
 *
 * @param devstr "driver,key=value,...". An unknown driver or key is an error that
 *   names those there are.
 * @return NULL with rte_errno: ENODEV (no such driver or device), EINVAL (string),
 *   EBUSY (open already), ENOTSUP (an SMMU that cannot be driven), ENOSPC (64 are open).
 */
struct iopf_iommu *iopf_iommu_open(const char *devstr);

/**
 * Before the first start, or after a stop, also one that failed: the next start that succeeds has
 * what is configured here. -EINVAL for a size; -EBUSY when running, or while a deferred handler has
 * not returned a fault from before the stop.
 */
int iopf_iommu_configure(struct iopf_iommu *iommu, const struct iopf_iommu_conf *conf);

/**
 * Bring it up. Started already: 0 and a warning. A device whose ATS or PRI cannot be switched
 * on is named in the log, and has none until iopf_dev_pri_restart().
 * @return 0; -EIO (it has failed since it was started, and is to be stopped first); what the
 *   driver met.
 */
int iopf_iommu_start(struct iopf_iommu *iommu);

/**
 * Block DMA, end all stalls, shut down. Everything outstanding is answered or
 * terminated when it returns. It waits for devices with PRI, a second for all together, and
 * for no deferred handler: what that answers is -ESTALE.
 *
 * @return 0; -EDEADLK in a handler; what the driver said, -ETIMEDOUT for one: the IOMMU may
 *   still translate then, iopf_invalidate() fails while it does, and the stop can be called
 *   again, or the IOMMU started. Until one of both succeeds the queues are not read: no fault
 *   of its devices is served, and an access that stalls waits.
 */
int iopf_iommu_stop(struct iopf_iommu *iommu);

/**
 * @return 0; -EBUSY while running, with devices, in a poller, or with memory mapped
 *   (iopf_dma_map(): managed memory's pools have it); -EBUSY also where the IOMMU does not
 *   acknowledge that it is off and may use its memory: nothing is released then, and stop and
 *   close can be called again; -EDEADLK in a handler.
 */
int iopf_iommu_close(struct iopf_iommu *iommu);

/**
 * Sleep instead of polling: from now on the next record or error writes to @p fd, an
 * eventfd of the caller's, which goes into its own poll(2) or epoll. With -1 it is
 * polled again; do that first once awake. After a write to @p fd the next one may come only
 * when this has been called again (an interrupt that is a level is masked until then).
 * iopf_poll() may be called meanwhile. A stop or a start ends it and does not write to @p fd:
 * sleep with a timeout.
 *
 * @return 1: there is something already, do not sleep; 0; -ENOTSUP (no such
 *   interrupt); -EINVAL (not started, or @p fd below -1); -EDEADLK in a handler;
 *   -ETIMEDOUT.
 */
int iopf_iommu_idle(struct iopf_iommu *iommu, int fd);

const struct iopf_iommu_info *iopf_iommu_info(const struct iopf_iommu *iommu);

/** The string it was opened with. */
const char *iopf_iommu_name(const struct iopf_iommu *iommu);

/**
 * Let the IOMMU and the devices behind it reach [@p ptr, @p ptr + @p len).
 * @param[out] addr its device address; contiguous.
 * @return 0, -EINVAL, -ENOSPC, -ENOMEM, or -ENOTSUP for memory without one.
 */
int iopf_dma_map(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t *addr);
int iopf_dma_unmap(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t addr);

/*
 * Devices
 */

/** What happens to an access that faults. */
enum iopf_recover {
	IOPF_STALL,	/**< it waits for the answer */
	IOPF_TERMINATE,	/**< it is aborted; with the operation retry, resolved and told */
	IOPF_PRI,	/**< the device has ATS and PRI, and asks for pages */
};

/** An access that was aborted, and what became of its fault. */
struct iopf_retry {
	uint64_t addr;
	uint32_t sid;
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint8_t perm;		/**< IOPF_PERM_*: what was wanted */
	enum iopf_code code;	/**< IOPF_SUCCESS: resolved. Behind IOPF_ANSWER_AFTER_INV the
				  * invalidation is under way, and the access may fail once more */
};

/**
 * Operations of the device, given by its driver.
 */
struct iopf_dev_ops {
	/**
	 * Stop issuing; return when nothing is outstanding. 0 or -errno. Called only where the
	 * IOMMU can do nothing but stall (iopf_iommu_info.stall_forced), before a detach or
	 * removal asks the driver to let go; elsewhere accesses simply abort. May be NULL.
	 */
	int (*quiesce)(struct iopf_dev *dev, void *ctx);
	/**
	 * For IOPF_TERMINATE: the faults of an attached (device, PASID) go to the domain's
	 * handler like stalls, and this takes the place of the answer: once for each record,
	 * of which one access may leave many. On the poll core or whatever thread answers;
	 * must not block. NULL: its faults are only reported.
	 */
	void (*retry)(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx);
};

struct iopf_dev_conf {
	const char *name;		/**< for lists ["sid:N"] */
	const uint32_t *sids;		/**< copied */
	unsigned int nb_sids;
	uint32_t nb_pasids;		/**< PASIDs below it can be attached, but for 0 where the
					  * IOMMU keeps that for untagged traffic [0] */
	enum iopf_recover recover;
	uint32_t pri_requests;		/**< IOPF_PRI: outstanding page requests [32]; this much of
					  * the IOMMU's max_requests is the device's while
					  * it is attached */
	bool pri_overcommit;		/**< ... also where less is left: the queue may overflow
					  * then, which costs time and loses nothing; see lost in
					  * struct iopf_domain_conf */
	bool prg_pasid;			/**< its answers must have the PASID: the device's "PRG
					  * Response PASID Required" */
	uint32_t wait_ms;		/**< what a detach, a removal or iopf_dev_pri_restart() of it
					  * waits at most, for its handlers, for the device and for
					  * its queue to be read: then -ETIMEDOUT, and the call can
					  * be made again [10000] */
	struct iopf_dev_ops ops;
	const struct iopf_pci_ops *pci;	/**< IOPF_PRI: iopf_pci.h; copied */
	void *ctx;			/**< of all operations */
};

/**
 * Make a requester known. Until it is attached, its accesses are aborted.
 * @return NULL with rte_errno: EINVAL, ERANGE (a StreamID, the PASIDs or pri_requests do
 *   not fit the IOMMU), EEXIST (a StreamID is another device's), ENOTSUP (the recovery),
 *   ENOMEM.
 */
struct iopf_dev *iopf_dev_add(struct iopf_iommu *iommu, const struct iopf_dev_conf *conf);

/**
 * Detaches what is attached, then forgets it. After an error, those of a detach among them,
 * the device is there and its accesses abort; the removal can be called again.
 */
int iopf_dev_remove(struct iopf_dev *dev);

const char *iopf_dev_name(const struct iopf_dev *dev);
struct iopf_iommu *iopf_dev_iommu(const struct iopf_dev *dev);
void *iopf_dev_ctx(const struct iopf_dev *dev);

/*
 * Domains
 */

/** Formats of address translation that drivers may know. */
enum iopf_format {
	IOPF_FORMAT_NONE,	/**< nothing is ever mapped: each access faults */
	IOPF_FORMAT_ARM64_S1,	/**< VMSAv8-64 stage 1, lower half */
};

/** Passed on to the driver, which alone understands it. */
struct iopf_translation {
	enum iopf_format format;
	uint64_t root;		/**< device address of the first table */
	uint64_t mair;		/**< memory attributes by index [index 0: normal write-back] */
	uint8_t va_bits;
	uint8_t granule_log2;
	uint8_t pa_bits;	/**< [what the IOMMU has] */
};

struct iopf_domain_conf {
	const char *name;		/**< for lists ["domain:N"] */
	iopf_handler_t handler;		/**< on the poll core; must not block */
	iopf_handler_t deferred;	/**< on a worker; may block */
	/**
	 * Called like handler with page requests whose group is discarded because requests
	 * were lost. Nobody waits for an answer (the group's id is 0), but the device will ask
	 * for these pages again, and who maps them now sees to it that devices get on however
	 * often the queue overflows. Where a right is raised it calls iopf_group_invalidate().
	 * What cannot be done here, have done elsewhere: a group that is too large for the
	 * queue may never get to the handlers. May be NULL.
	 */
	void (*lost)(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
	void *ctx;			/**< of all three */
	struct iopf_worker *worker;	/**< needed with deferred */
	uint32_t deadline_ms;		/**< unanswered for longer: IOPF_INVALID [never] */
	struct iopf_translation translation;
};

/** @return NULL with rte_errno EINVAL or ENOMEM. */
struct iopf_domain *iopf_domain_create(const struct iopf_domain_conf *conf);

/** -EBUSY while attached, -EDEADLK in a handler. */
int iopf_domain_destroy(struct iopf_domain *domain);

/**
 * Let the device's accesses with this PASID (or IOPF_NO_PASID) use the domain.
 * After an error nothing is attached. Where undoing it failed too, the domain counts as
 * attached (-EBUSY from iopf_domain_destroy()) until the next attach, detach or removal of
 * the device has done that, or a detach of what this has tried to attach.
 *
 * @return 0, -EEXIST (something is attached there, or a detach has yet to come to its end),
 *   -EBUSY (the same of an attach that failed), -ERANGE (no such PASID),
 *   -EINVAL (a translation that the IOMMU cannot do), -EDEADLK, -ENOMEM, -ENOSPC (of
 *   address spaces, of page requests: see iopf_dev_conf.pri_overcommit, or, with SMMUv3,
 *   of places for ATCs: 32 pairs of StreamID and PASID with ATS for a domain, 1024 for an
 *   SMMU), or what the driver or the device's operations met.
 */
int iopf_domain_attach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid);

/**
 * The reverse. When it returns 0, no access of (device, PASID) succeeds any more,
 * every fault of it has been answered, and no handler is at work for it. From its begin on
 * the handlers are not asked any more: faults are answered IOPF_INVALID. Waits for deferred
 * handlers. Safe for what was never attached.
 *
 * @return 0; -EDEADLK in a handler; or an error, after which it can be called again:
 *   - -ETIMEDOUT: a deferred handler has not returned within wait_ms, the device's PASID has
 *     not drained (groups that have begun, pasid_drained), or its queue is not read. Its
 *     accesses abort, its faults are answered, and nothing else can be attached there.
 *   - -ETIMEDOUT for the last attachment of an IOPF_PRI device that does not drain, for the
 *     Last of a group never came: PRI is off then, all else as before. Reset the device.
 *   - what the driver said: nothing of it is released, its faults are answered IOPF_INVALID,
 *     and its accesses may still succeed where they need no answer.
 *   - what quiesce or another operation of the device said: all is as before.
 */
int iopf_domain_detach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid);

void *iopf_domain_ctx(const struct iopf_domain *domain);
const char *iopf_domain_name(const struct iopf_domain *domain);

/** A range of input addresses whose translation changed. */
struct iopf_inv {
	uint64_t addr;		/**< aligned to 4 KiB; ignored with all */
	uint64_t size;		/**< bytes, a multiple of 4 KiB, not 0 */
	uint8_t leaf_log2;	/**< log2 of the size of each entry that changed [unknown] */
	bool leaf_only;		/**< no table was removed */
	bool all;		/**< everything of the domain */
};

/**
 * Make the IOMMUs that the domain is attached to forget. All are checked before
 * anything is issued. Nobody uses a translation covered by the prefix when it
 * returns.
 *
 * @param[out] done length of the prefix that a completed synchronisation covers;
 *   may be NULL. On error, inv[*done] is the first that is not known to be done.
 * @return 0, -EINVAL, -ETIMEDOUT, -EIO, -EDEADLK (in a fast handler).
 */
int iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done);

/**
 * Wait until every fast handler that is running now has returned and its answers
 * are sent: what they may have looked at can be freed. 0, or -EDEADLK in one.
 */
int iopf_quiesce(void);

/** 0, or -EDEADLK in a fast handler or a report: the caller must not wait for anything. */
int iopf_may_wait(void);

/**
 * In a fast handler that returns IOPF_ANSWER_AFTER_INV: what to invalidate first. In lost:
 * what to invalidate.
 * @return 0, -EINVAL, -ENOSPC (more than 4 for one group), -EPERM (not in a fast handler).
 */
int iopf_group_invalidate(const struct iopf_group *group, const struct iopf_inv *inv);

/**
 * Answer a group that was taken. From any thread, the handler included.
 * @return 0, -ESTALE (answered, cancelled or never was; counted), -EINVAL (code).
 */
int iopf_group_respond(uint64_t id, enum iopf_code code);

/**
 * Have the deferred handler called for a group that was taken, by the fast handler or the
 * deferred one: what the group waited for is there. From any thread but a fast handler, also
 * before the handler that took the group has returned. The group stays taken until then: an
 * answer, a detach or the deadline may come first.
 * @return 0, -EDEADLK in a fast handler, -ESTALE (answered, cancelled or never was), -EINVAL (the domain has no deferred
 *   handler), -ENOSPC (the worker's size; the group is still to be answered).
 */
int iopf_group_defer(uint64_t id);

/*
 * Pollers and workers
 */

struct iopf_poller_conf {
	const char *name;
	uint16_t burst;		/**< records taken from a queue at a time, at most 64 [32] */
	uint16_t bursts;	/**< per queue and iopf_poll() [4] */
};

struct iopf_poller *iopf_poller_create(const struct iopf_poller_conf *conf);

/** Its queues have no poller then. -EBUSY while a thread is inside iopf_poll(). */
int iopf_poller_destroy(struct iopf_poller *poller);

/**
 * @param queue 0 to info.nb_queues - 1, or IOPF_QUEUE_ALL.
 * @return 0, -EINVAL, -EEXIST (in a poller already), -ENOSPC (64 queues).
 */
int iopf_poller_add(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue);
int iopf_poller_remove(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue);

/**
 * One pass over the queues: read, handle, answer.
 * @return records taken, 0 when idle.
 */
unsigned int iopf_poll(struct iopf_poller *poller);

/**
 * iopf_poll() until iopf_poller_stop(); pauses when idle, and offers the core to others now
 * and then. Returns 0, for rte_eal_remote_launch().
 */
int iopf_poller_run(void *poller);
void iopf_poller_stop(struct iopf_poller *poller);

struct iopf_worker_conf {
	const char *name;
	unsigned int nb_threads;	/**< made by the library, not pinned to a poll core [1] */
	unsigned int size;		/**< groups waiting; enough for all slots [65536] */
};

/**
 * Threads that run deferred handlers. They sleep until there is something to do. The poll
 * thread makes a system call, to wake one, only when a fault is deferred while one sleeps.
 */
struct iopf_worker *iopf_worker_create(const struct iopf_worker_conf *conf);

/** -EBUSY while a domain uses it. */
int iopf_worker_destroy(struct iopf_worker *worker);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_H */
