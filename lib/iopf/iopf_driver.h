/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DRIVER_H
#define IOPF_DRIVER_H

/**
 * @file
 * For authors of drivers: what the library asks of one.
 *
 * A driver is a struct iopf_driver given to iopf_driver_register() by a
 * constructor (IOPF_DRIVER), linked whole or loaded with EAL's -d. The library
 * has checked arguments, states and capabilities before it calls. The four fast
 * operations poll, answer, answer_after and check must take no lock, allocate
 * nothing, make no system call and loop only within bounds. (A driver whose queues
 * are file descriptors cannot avoid the system call; its guide says so.)
 *
 * A driver turns what its queues hold into struct iopf_event, and struct
 * iopf_answer into commands. It owns the device tables and address space ids.
 *
 *	poll	 reads up to n records, publishes the consumer index once, and only
 *		 then returns: the entries are free before any answer is sent.
 *	answer	 returns how many it took. A driver with a command queue takes all: its
 *		 backlog is as large as max_stalls and request_queue_size need, and it
 *		 stores the producer index once per call. An answer that was not taken
 *		 cannot be given any more (the device is gone); the library counts it.
 *	check	 is called at least every millisecond by the poller: error state.
 *
 * Page requests are events of queue IOPF_QUEUE_REQUESTS. When requests were lost
 * (the queue overflowed, an entry could not be written, the IOMMU was reset), poll
 * returns IOPF_EVENT_LOST behind all requests that came before and in front of all
 * that came after; what acknowledges the overflow is the consumer index store that
 * frees those before. The library then forgets all partial groups.
 *
 * Of a device with IOPF_PRI, attach allows ATS and empties what the IOMMU and the
 * device may remember, before the library switches ATS on at the device; detach
 * finds ATS off at the device when it takes the last one. invalidate and answer_after
 * include the ATCs of the devices that the domain is attached to.
 *
 * An attachment is an object of the driver's, made by attach and released by the
 * detach that returns 0. A detach that fails has stopped somewhere between "still
 * translates" and "released"; it can be called again and goes on from there. An
 * attach that fails half-way may leave an attachment too: the library then detaches
 * it until that succeeds. Until then the attachment holds all that the IOMMU may
 * still use: the domain with its address space id, the device's tables, its ATCs.
 * In the same way dev_del and close keep what they could not release, and can be
 * called again.
 *
 * Absent operations. A driver whose queues are not registers may leave out, as NULL:
 *   - answer_after: the library calls invalidate, which then waits on the poll core, and
 *     answer; a failed invalidation turns the answers into IOPF_INVALID.
 *   - queue_mark and queue_passed, both: the library reads the queue until poll returns less
 *     than it was asked for.
 *   - check: no error state. idle: -ENOTSUP. wait: the thread yields. dump: nothing; stat: no
 *     counters, and nb_stats is 0.
 *
 * Threads.
 *   - poll of one queue: one thread at a time.
 *   - answer, answer_after, invalidate, queue_mark, queue_passed, wait: any thread,
 *     concurrently.
 *   - dev_del, attach, detach: one thread at a time for each device; threads of
 *     different devices call them concurrently, also while the IOMMU starts or stops.
 *     No such call may wait for another device's.
 *   - dev_add, domain_add, domain_del, dma_map, dma_unmap: any thread, concurrently.
 *   - configure, start, stop, idle, close: one thread at a time for each IOMMU.
 */

#include <stdio.h>

#include <rte_common.h>
#include <rte_kvargs.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The event waits for an answer. */
#define IOPF_EVENT_STALL	(1u << 0)
#define IOPF_EVENT_STAGE2	(1u << 1)
/** Not something an IOMMU writes (a reserved id, a stall where none can be). */
#define IOPF_EVENT_BAD		(1u << 2)
/** A page request; token is its PRG index. */
#define IOPF_EVENT_PAGE_REQUEST	(1u << 3)
/** ... that closes its group. */
#define IOPF_EVENT_LAST		(1u << 4)
/** The PASID of this StreamID will ask no more. Not a request: wants no answer. */
#define IOPF_EVENT_STOP_MARKER	(1u << 5)
/** No record: page requests were lost here. */
#define IOPF_EVENT_LOST		(1u << 6)

/** One record, decoded and range-checked. */
struct iopf_event {
	uint64_t addr;
	uint64_t ipa;
	uint32_t sid;
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint16_t token;
	uint8_t perm;		/**< IOPF_PERM_* */
	uint8_t reason;		/**< enum iopf_reason */
	uint8_t flags;		/**< IOPF_EVENT_* */
	uint8_t raw_id;
};

struct iopf_answer {
	uint32_t sid;
	uint32_t pasid;		/**< or IOPF_NO_PASID: also where a page request had one and its
				  * answer must not */
	uint16_t token;
	uint8_t code;		/**< enum iopf_code; never IOPF_RAZWI for page requests */
	bool page_request;	/**< else a stall */
};

/**
 * check(): all stalls of the IOMMU were terminated; their answers must not be sent. Page
 * requests still wait for theirs.
 */
#define IOPF_CHECK_TERMINATED	(1u << 0)
/** check(): it has failed for good; nothing will come or be answered any more. */
#define IOPF_CHECK_DEAD		(1u << 1)

struct iopf_driver_ops {
	/**
	 * @param args the device string's pairs, already checked against params.
	 * @param[out] priv the driver's own, handed back in each call.
	 * @param[out] info filled, except driver.
	 */
	int (*open)(const struct rte_kvargs *args, struct iopf_iommu_info *info, void **priv);
	/**
	 * Release all. -EBUSY: the IOMMU has not acknowledged that it is off and may use its
	 * memory; nothing was released, and stop() followed by close() can be tried again.
	 */
	int (*close)(void *priv);
	int (*configure)(void *priv, const struct iopf_iommu_conf *conf);
	int (*start)(void *priv);
	/**
	 * DMA is blocked, all stalls terminated, all queues off when it returns 0. After an
	 * error the IOMMU may still translate: invalidate() fails while it does, and stop() can
	 * be called again.
	 */
	int (*stop)(void *priv);

	int (*dma_map)(void *priv, void *ptr, size_t len, uint64_t *addr);
	int (*dma_unmap)(void *priv, void *ptr, size_t len, uint64_t addr);

	/** A device's streams abort until something is attached. */
	int (*dev_add)(void *priv, const struct iopf_dev_conf *conf, void **dev);
	/**
	 * Nothing is attached. Its stalls have ended when it returns 0. After an error the device
	 * is as before, its accesses abort, and dev_del can be called again.
	 */
	int (*dev_del)(void *priv, void *dev);

	int (*domain_add)(void *priv, const struct iopf_translation *translation, void **domain);
	void (*domain_del)(void *priv, void *domain);

	/**
	 * @param[out] attachment its handle. After an error NULL, or what detach has to be called
	 *   for until it succeeds.
	 */
	int (*attach)(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
	/**
	 * When it returns 0 no access of the attachment succeeds or stalls any more, no
	 * translation of it is cached, and the handle is released. After an error (-ETIMEDOUT,
	 * -EIO) the handle is valid, and detach can be called again.
	 */
	int (*detach)(void *priv, void *attachment);

	uint16_t (*poll)(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n);
	/** Returns how many of the answers it took, from the first on. */
	uint16_t (*answer)(void *priv, const struct iopf_answer *answers, uint16_t n);
	/**
	 * Behind a completed synchronisation of n_inv (at most 64) invalidations, without
	 * waiting. n may be 0. At most one for each event of the burst. Returns as answer does.
	 */
	uint16_t (*answer_after)(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
			const struct iopf_answer *answers, uint16_t n);
	/** Returns IOPF_CHECK_*; recovers what it can. */
	unsigned int (*check)(void *priv);

	/** The producer's position; passed when poll has returned everything before it. */
	uint64_t (*queue_mark)(void *priv, uint16_t queue);
	bool (*queue_passed)(void *priv, uint16_t queue, uint64_t mark);

	/** Waits until done. *done as in iopf_invalidate(). */
	int (*invalidate)(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
			unsigned int *done);

	/**
	 * Interrupts in place of polling: a record or an error writes to fd, an eventfd;
	 * -1: poll again. 1: there is something already, do not sleep; 0; -ENOTSUP, ...
	 */
	int (*idle)(void *priv, int fd);

	/** Called in loops that wait for the IOMMU: give it time. */
	void (*wait)(void *priv);

	/** Counter i below info.nb_stats. */
	uint64_t (*stat)(const void *priv, unsigned int i, const char **name);
	void (*dump)(const void *priv, FILE *f);
};

struct iopf_driver {
	const char *name;
	const char *const *params;	/**< keys it knows, NULL at the end */
	const char *usage;		/**< one line: "model=NAME | vfio=DEVICE ..." */
	struct iopf_driver_ops ops;	/**< see "Absent operations" */
};

/** Any time; a constructor calls it. @p driver stays the caller's and must stay valid. */
void iopf_driver_register(struct iopf_driver *driver);

#define IOPF_DRIVER(driver)					\
	RTE_INIT(iopf_driver_init_ ## driver)			\
	{							\
		iopf_driver_register(&driver);			\
	}

#ifdef __cplusplus
}
#endif

#endif /* IOPF_DRIVER_H */
