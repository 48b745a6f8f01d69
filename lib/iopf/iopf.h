/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_H
#define IOPF_H

/**
 * @file
 * I/O page faults, served by polling.
 *
 * A device behind an IOMMU accesses memory that is not mapped. The IOMMU stalls the access, or
 * the device requests the pages (PCIe page requests), and a record appears in a queue. The poll
 * thread reads the record, finds the domain that the device and PASID are attached to, calls the
 * domain's handler, and sends the answer. Each fault is answered exactly once, or ended by a stop
 * or a recovery of the IOMMU; without a device or a domain the answer is IOPF_INVALID.
 *
 * @code
 *	iommu --- dev --- (PASID) --- domain --- handler, on the poll thread
 *	  |                              '------ deferred handler, on a worker thread
 *	  '--- poller: iopf_poll()
 * @endcode
 *
 * An example, in C as all examples of these headers; without its error checks:
 * @code
 *	static enum iopf_verdict
 *	on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
 *	{
 *		if (map_page(ctx, group->faults[0]->addr) < 0)
 *			return IOPF_ANSWER(IOPF_INVALID);
 *		return IOPF_ANSWER(IOPF_SUCCESS);
 *	}
 *
 *	rte_eal_init(argc, argv);			// --no-huge -m 64 --no-pci
 *	smmu = iopf_iommu_open("smmuv3,model=1");
 *	iopf_dma_map(smmu, memory, len, &addr);		// begins with the root table; iopf_iommu.h
 *	dev = iopf_dev_add(smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
 *	domain = iopf_domain_create(&(struct iopf_domain_conf){
 *			.handler = on_fault, .ctx = memory, .translation = {
 *				.format = IOPF_FORMAT_ARM64_S1, .root = addr,
 *				.va_bits = 48, .granule_log2 = 12 } });
 *	iopf_domain_attach(domain, dev, IOPF_NO_PASID);
 *	poller = iopf_poller_create(NULL);
 *	iopf_poller_add(poller, smmu, IOPF_QUEUE_ALL);
 *	iopf_iommu_start(smmu);
 *	while (!quit)
 *		iopf_poll(poller);
 * @endcode
 *
 * Devices and domains are added, attached, detached and removed any time between open and close. At
 * the end: iopf_domain_detach(), iopf_domain_destroy(), iopf_dev_remove(), iopf_poller_destroy(),
 * iopf_iommu_stop(), iopf_dma_unmap(), iopf_iommu_close().
 *
 * Threads. A fast handler runs on the poll thread, inside an RCU read section, and must not block.
 * If the poll thread has not polled for 20 ms, it runs on a thread that waits for the queue to be
 * read, such as one in iopf_domain_detach(). A deferred handler runs on a worker thread and may
 * block. One thread at a time calls iopf_poll() of a poller. Any thread calls the other functions:
 * none has to be registered. The control calls, which the guide iopf.rst lists, are serialised for
 * one device or IOMMU, and return -EDEADLK in a handler. Another function that waits returns it in
 * a handler that must not wait: its comment says so.
 *
 * Waits are bounded: wait_ms of iopf_dev_conf bounds each wait for a device, its handlers, its
 * policies' callbacks and its queue, the driver those for the IOMMU. One is not: control calls wait
 * until fast handlers, and the passes of poll threads, return: on a machine with more threads than
 * processors that can take seconds. A control call that failed goes on where it was when it is made
 * again. Until it returns 0 nothing is released that the IOMMU or a handler may still use.
 *
 * Errors. Functions that return int return 0 or -errno and set rte_errno; pointers are NULL with
 * rte_errno. In the option structs zero means the default, in [brackets]. NULL where an object is
 * expected is EINVAL; to destroy, remove or close NULL is 0.
 *
 * Other headers: iopf_iommu.h (sizes, capabilities, sleep, memory of an IOMMU), iopf_handler.h
 * (handlers that do more than answer), iopf_poller.h (poll threads), iopf_pci.h (ATS and PRI),
 * iopf_power.h (suspend and resume), iopf_policy.h (devices that may go wrong), iopf_listener.h
 * (events that need no answer), iopf_inval.h (invalidations), iopf_guest.h (commands of guests),
 * iopf_stats.h (counters), iopf_driver.h (drivers of IOMMUs), iopf_pgtable.h (lib/pgtable). It
 * includes iopf_translation.h (formats of tables).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iopf_translation.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_iommu;
struct iopf_dev;
struct iopf_pci_ops;
struct iopf_dev_limits;
struct iopf_retry;
struct iopf_storm_conf;
struct iopf_domain;
struct iopf_poller;
struct iopf_poller_conf;
struct iopf_worker;

/** The PASID of a fault without one, and of the untagged traffic of a device. */
#define IOPF_NO_PASID UINT32_MAX

/** The fault queues of an IOMMU: events, stalls among them, and page requests. */
#define IOPF_QUEUE_EVENTS 0
#define IOPF_QUEUE_REQUESTS 1
#define IOPF_QUEUE_ALL UINT32_MAX

/** Answers. */
enum iopf_code {
	IOPF_SUCCESS,	/**< resolved: the device or IOMMU repeats the access */
	IOPF_INVALID,	/**< the access is aborted */
	IOPF_FAILURE,	/**< aborted; PRI of the device is off: see iopf_pci.h */
	IOPF_RAZWI,	/**< reads as zero, writes are ignored; stalls only, where the IOMMU can */
};
#define IOPF_NB_CODES 4
const char *iopf_code_name(enum iopf_code code);

/** Permissions that the access needs. */
#define IOPF_PERM_READ	(1u << 0)
#define IOPF_PERM_WRITE	(1u << 1)
#define IOPF_PERM_EXEC	(1u << 2)
#define IOPF_PERM_PRIV	(1u << 3)

/** Why the access faulted. */
enum iopf_reason {
	IOPF_REASON_TRANSLATION,	/**< the address is not mapped */
	IOPF_REASON_ADDR_SIZE,		/**< an address in the tables is too large */
	IOPF_REASON_ACCESS,		/**< the access flag is clear */
	IOPF_REASON_PERMISSION,		/**< mapped without this permission */
	IOPF_REASON_CONFIG,		/**< the IOMMU's own tables forbid or lack the device */
	IOPF_REASON_OTHER,		/**< see the raw id */
};
#define IOPF_NB_REASONS 6
const char *iopf_reason_name(enum iopf_reason reason);

/** The access of the IOMMU or device that faulted: CLASS of the SMMU. */
enum iopf_event_class {
	IOPF_CLASS_NONE,	/**< the event has none */
	IOPF_CLASS_CD,		/**< the IOMMU read its table of address spaces */
	IOPF_CLASS_TT,		/**< the IOMMU accessed a translation table */
	IOPF_CLASS_IN,		/**< the device's access itself */
};
#define IOPF_NB_CLASSES 4
const char *iopf_event_class_name(enum iopf_event_class event_class);

/** The fault is of a second stage: ipa and fault_class are valid. */
#define IOPF_FAULT_STAGE2	(1u << 0)
/** The access waits for an answer. */
#define IOPF_FAULT_STALLED	(1u << 1)
/** A page request of a group. A request without any of IOPF_PERM_* needs only the answer. */
#define IOPF_FAULT_PAGE_REQUEST	(1u << 2)
/** In a report: the deadline has passed, and the fault was answered IOPF_INVALID. */
#define IOPF_FAULT_EXPIRED	(1u << 3)

/** One outstanding fault: read-only for handlers, and valid only during their call. */
struct iopf_fault {
	uint64_t addr;		/**< input address, as the device sent it */
	uint64_t ipa;		/**< with IOPF_FAULT_STAGE2: the page that stage 2 did not
				  * translate; with IOPF_CLASS_IN that of the access */
	uint64_t time;		/**< rte_rdtsc() when its record was read */
	uint32_t sid;		/**< StreamID */
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint16_t token;		/**< STAG, or the PRG index of a page request */
	uint8_t perm;		/**< IOPF_PERM_* */
	uint8_t reason;		/**< enum iopf_reason */
	uint8_t flags;		/**< IOPF_FAULT_* */
	uint8_t raw_id;		/**< the record's own number */
	uint8_t queue;		/**< that it came from */
	uint8_t fault_class;	/**< with IOPF_FAULT_STAGE2: enum iopf_event_class, the access to
				  * the ipa; without it IOPF_CLASS_NONE */
};

/**
 * Faults that are answered together: one stall, or the page requests of a group in the order they
 * came, all of one StreamID and PASID. Valid during the handler's call only, and the id until the
 * answer.
 */
struct iopf_group {
	uint64_t id;		/**< of this group for ever; 0 only if no answer is needed */
	struct iopf_dev *dev;
	uint32_t pasid;
	uint16_t nb_faults;
	const struct iopf_fault *const *faults;
};

/**
 * What a handler returns:
 *   - IOPF_ANSWER(code): answered in this burst.
 *   - IOPF_ANSWER_AFTER_INV(code): the same, after the invalidations given to
 *     iopf_group_invalidate() are complete. The poll thread does not wait for them.
 *   - IOPF_DEFER: the domain's deferred handler is called on a worker thread.
 *   - IOPF_TAKEN: any thread calls iopf_group_respond() with the group's id, or has called it.
 * Any other value, a bare IOPF_SUCCESS too, is answered IOPF_INVALID, with a line in the log.
 */
enum iopf_verdict {
	IOPF_DEFER = 0x100,	/**< fast handlers only */
	IOPF_TAKEN = 0x101,
	IOPF_VERDICT_ANSWER = 0x200,
	IOPF_VERDICT_AFTER_INV = 0x300,
	IOPF_VERDICT_MAX = INT32_MAX,
};
#ifdef __cplusplus
#define IOPF_VERDICT(kind, code) \
	static_cast<enum iopf_verdict>(static_cast<int>(kind) | static_cast<int>(code))
#else
#define IOPF_VERDICT(kind, code)	((enum iopf_verdict)((int)(kind) | (int)(code)))
#endif
#define IOPF_ANSWER(code)		IOPF_VERDICT(IOPF_VERDICT_ANSWER, code)
#define IOPF_ANSWER_AFTER_INV(code)	IOPF_VERDICT(IOPF_VERDICT_AFTER_INV, code)

typedef enum iopf_verdict (*iopf_handler_t)(struct iopf_domain *domain,
		const struct iopf_group *group, void *ctx);

/* IOMMUs */

/**
 * Open an IOMMU through the driver that the string names: "smmuv3,model=1". After rte_eal_init().
 * @param devstr "driver,key=value,...". The log lists the drivers or keys if one is unknown.
 * @return NULL with rte_errno: ENODEV (no such driver or device), EINVAL (string, no rte_eal_init()
 *   before), EBUSY (open already), ENOTSUP (not with this driver), ENOSPC (64 are open).
 */
struct iopf_iommu *iopf_iommu_open(const char *devstr);

/**
 * Start translation and fault queues. A device whose ATS or PRI cannot be switched on has none
 * until iopf_dev_pri_restart(); the log names it.
 * @return 0, also if started already; -EIO (it has failed: stop it first); or the driver's error.
 */
int iopf_iommu_start(struct iopf_iommu *iommu);

/**
 * Block DMA, and answer or terminate all outstanding faults. Waits one second for all devices with
 * PRI together, and not for deferred handlers: a later iopf_group_respond() returns -ESTALE.
 * @return 0; -EDEADLK in a handler; or the driver's error, after which the IOMMU may still
 *   translate and serves no fault: stop or start it again.
 */
int iopf_iommu_stop(struct iopf_iommu *iommu);

/**
 * A software SMMU that iopf_iommu_open() has created is destroyed: its engines go first.
 * @return 0; -EDEADLK in a handler; -EBUSY (started, does not acknowledge that it is off, has
 *   devices or engines, is in a poller, or has memory mapped, as pools have): nothing is released.
 */
int iopf_iommu_close(struct iopf_iommu *iommu);

/** The string it was opened with. */
const char *iopf_iommu_name(const struct iopf_iommu *iommu);

/* Devices */

/** What happens to an access that faults. */
enum iopf_recover {
	IOPF_STALL,	/**< it waits for the answer */
	IOPF_TERMINATE,	/**< it is aborted; see the operation retry */
	IOPF_PRI,	/**< the device has ATS and PRI, and requests pages: iopf_pci.h */
};

/** Operations of the device, given by its driver. */
struct iopf_dev_ops {
	/** Stop, and return when no access is outstanding; 0 or -errno. For a detach or removal
	 * where the IOMMU can only stall (iopf_iommu_info.stall_forced). May be NULL. */
	int (*quiesce)(struct iopf_dev *dev, void *ctx);
	/** For IOPF_TERMINATE: called instead of an answer; must not block; iopf_handler.h. NULL:
	 * the faults are only reported, and the handlers are not called. */
	void (*retry)(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx);
};

struct iopf_dev_conf {
	const char *name;		/**< for lists ["sid:N"] */
	const uint32_t *sids;		/**< copied */
	unsigned int nb_sids;
	uint32_t nb_pasids;		/**< PASIDs below it can be attached (SMMUv3: but 0); at
					  * most 2^pasid_bits [only IOPF_NO_PASID, as always] */
	enum iopf_recover recover;	/**< [IOPF_STALL] */
	uint32_t pri_requests;		/**< IOPF_PRI: outstanding page requests [32]; iopf_pci.h */
	bool pri_overcommit;		/**< attach even if fewer are left: it may overflow */
	bool prg_pasid;			/**< IOPF_PRI: the device's "PRG Response PASID Required" */
	bool merge_events;		/**< let the IOMMU leave out records of aborted accesses
					  * that equal one in its queue, where it can */
	uint32_t wait_ms;		/**< bounds each wait of its control calls [10000] */
	struct iopf_dev_ops ops;
	const struct iopf_pci_ops *pci;	/**< IOPF_PRI: iopf_pci.h; copied */
	const struct iopf_dev_limits *limits; /**< iopf_policy.h; copied [the defaults there] */
	void *ctx;			/**< of all operations */
};

/**
 * Add a device. Until it is attached, its accesses are aborted.
 * @return NULL with rte_errno: EINVAL, ERANGE (a StreamID, the PASIDs or pri_requests),
 *   EEXIST (another device has a StreamID), ENOTSUP (the recovery), ENOMEM.
 */
struct iopf_dev *iopf_dev_add(struct iopf_iommu *iommu, const struct iopf_dev_conf *conf);

/**
 * Detach the device from all domains and remove it. After an error it can be called again.
 * @return 0; an error as of iopf_domain_detach(); -ETIMEDOUT also: its callback quarantined has not
 *   returned for wait_ms.
 */
int iopf_dev_remove(struct iopf_dev *dev);

const char *iopf_dev_name(const struct iopf_dev *dev);
struct iopf_iommu *iopf_dev_iommu(const struct iopf_dev *dev);
void *iopf_dev_ctx(const struct iopf_dev *dev);

/* Domains */

struct iopf_domain_conf {
	const char *name;		/**< for lists ["domain:N"] */
	iopf_handler_t handler;		/**< on the poll thread; must not block [IOPF_DEFER] */
	iopf_handler_t deferred;	/**< on a worker thread; may block */
	/** For page requests that are discarded; may be NULL: see iopf_handler.h. */
	void (*lost)(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
	void *ctx;			/**< of all three */
	struct iopf_worker *worker;	/**< needed with deferred */
	uint32_t deadline_ms;		/**< from the read of the record, as of
					  * iopf_group_set_deadline() (iopf_handler.h) [never] */
	const struct iopf_storm_conf *storm; /**< iopf_policy.h; copied [all off] */
	struct iopf_translation translation;
	/**
	 * IOPF_FORMAT_ARM64_GUEST: the domain with IOPF_FORMAT_ARM64_S2 that translates all of its
	 * IPAs, for as many nested domains as there are devices of the guest. It may be attached
	 * itself too, to other devices.
	 */
	struct iopf_domain *parent;
};

/**
 * A domain has a handler, a deferred handler with a worker, or both.
 * @return NULL with rte_errno EINVAL or ENOMEM.
 */
struct iopf_domain *iopf_domain_create(const struct iopf_domain_conf *conf);

/** -EBUSY while attached, or the parent of a domain; -EDEADLK in a handler. */
int iopf_domain_destroy(struct iopf_domain *domain);

/**
 * Let the device's accesses with this PASID (or IOPF_NO_PASID) use the domain. After an error it is
 * not attached. If the undo failed too, it is half attached until the next attach, detach or
 * removal of the device: accesses that fault abort, and no handler is called.
 * @return 0, -EEXIST (a domain is attached there, or its detach is not complete), -EBUSY (the undo
 *   of an attach is not complete), -ERANGE (no such PASID, or a PASID with a stage-2 or nested
 *   domain), -EINVAL (the IOMMU cannot do the translation, the guest's STE is illegal or asks for
 *   what a guest must not have, or a stage-2 or nested domain would not be the device's only one),
 *   -ENOTSUP (the IOMMU has no stage 2), -ENODEV (the device's removal has begun),
 *   -EDEADLK, -ENOMEM, -ENOSPC (of address spaces or page requests, or a limit of the driver), or
 *   the error of the driver or of an operation.
 */
int iopf_domain_attach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid);

/**
 * The reverse. When it returns 0, no access of (device, PASID) uses the domain any more, each fault
 * of it is answered, and no handler has any of them. Faults during the detach are answered
 * IOPF_INVALID without the handlers. If this domain is not attached there it returns 0.
 * @return 0; -EDEADLK in a handler; -ETIMEDOUT (a deferred handler, a breaker's callback, the PASID
 *   or the queue took longer than wait_ms, or the Last of a group never came) or the error of the
 *   driver or of an operation: nothing is released, and it can be called again. The guide has the
 *   states.
 */
int iopf_domain_detach(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid);

void *iopf_domain_ctx(const struct iopf_domain *domain);
const char *iopf_domain_name(const struct iopf_domain *domain);

/* Pollers */

/** @param conf iopf_poller.h; NULL: the defaults. */
struct iopf_poller *iopf_poller_create(const struct iopf_poller_conf *conf);

/** Removes its queues. -EBUSY while a thread is inside iopf_poll(). */
int iopf_poller_destroy(struct iopf_poller *poller);

/**
 * @param queue 0 to info.nb_queues - 1, or IOPF_QUEUE_ALL: add adds all or none, remove removes
 *   those that are in this poller.
 * @return 0, -EINVAL, -EEXIST (in a poller already), -ENOSPC (64 queues).
 */
int iopf_poller_add(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue);
int iopf_poller_remove(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue);

/**
 * One pass over each queue: read, handle, answer. Returns the records read, 0 when idle. In a fast
 * handler it does nothing: 0 with rte_errno EDEADLK.
 */
unsigned int iopf_poll(struct iopf_poller *poller);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_H */
