/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DRIVER_H
#define IOPF_DRIVER_H

/**
 * @file
 * For authors of drivers: the operations that the library calls.
 *
 * A driver is a struct iopf_driver that a constructor (IOPF_DRIVER) gives to
 * iopf_driver_register(). It is linked whole or loaded with EAL's -d. The library checks arguments,
 * states and capabilities before it calls an operation. The four fast operations poll, answer,
 * answer_after and check must take no lock, allocate nothing, make no system call and have only
 * bounded loops. (A driver whose queues are file descriptors cannot avoid the system call; its
 * guide says so.)
 *
 * A driver converts the records of its queues to struct iopf_event, and struct iopf_answer to
 * commands. It owns the device tables and the address space ids.
 *
 *	poll	 reads up to n records, publishes the consumer index once, and only
 *		 then returns: the entries are free before any answer is sent.
 *	answer	 returns how many it took. A driver with a command queue takes all: its
 *		 backlog is as large as max_stalls and request_queue_size need, and it
 *		 stores the producer index once per call. An answer that was not taken
 *		 cannot be delivered any more (the device is gone); the library counts it.
 *	check	 checks for errors; the poll thread calls it about once a millisecond:
 *		 see doc/guides/iopf.rst, Pollers.
 *
 * Page requests are events of queue IOPF_QUEUE_REQUESTS. After a loss of requests (the queue
 * overflowed, an entry could not be written, the IOMMU was reset) poll returns IOPF_EVENT_LOST
 * between the requests that came before the loss and those that came after. The store of the
 * consumer index that frees the former acknowledges the overflow. The library discards all partial
 * groups. On the event queue IOPF_EVENT_LOST is for the listeners: stalls are not
 * lost, or check returns IOPF_CHECK_TERMINATED.
 *
 * For a device with IOPF_PRI, attach allows ATS, and invalidates the entries of the IOMMU and of
 * the device's ATC, before the library switches ATS on at the device. When detach is called for the
 * last attachment, ATS is off at the device. invalidate and answer_after include the ATCs of the
 * devices that the domain is attached to.
 *
 * An attachment is an object of the driver: attach makes it, and a detach that returns 0 releases
 * it. A detach that fails has stopped at a stage between "still translates" and "released"; the
 * next detach goes on from there. An attach that fails may leave an attachment too: the library
 * detaches it until that succeeds. Until then the attachment keeps everything that the IOMMU may
 * still use: the domain with its address space id, the device's tables, its ATCs. In the same way
 * dev_del and close keep the objects that they could not release, and can be called again.
 *
 * Absent operations. A driver whose queues are not registers may set these to NULL:
 *   - stall_set, dev_block: policies that need them are refused (-ENOTSUP).
 *   - sync: the record of an access is in its queue when the device sees the access end.
 *   - invalidate_guest: iopf_invalidate_guest() returns -ENOTSUP.
 *   - invalidate_typed: so does iopf_invalidate() of an array that needs it.
 *   - answer_after: the library calls invalidate, which then waits on the poll thread, and
 *     answer; after a failed invalidation the answers are IOPF_INVALID.
 *   - queue_mark and queue_passed, both: the library reads the queue until poll returns fewer
 *     records than the library asked for.
 *   - dev_usable: no device is cut off. replace: -ENOTSUP. peek: each pass calls poll.
 *   - check: no error state. is_recovering: false. idle: -ENOTSUP. wait: the thread yields.
 *     dump: no text; stat: no counters, and nb_stats is 0.
 *   - suspend and resume, both: the IOMMU cannot be suspended.
 *
 * Threads.
 *   - poll of one queue: one thread at a time.
 *   - answer, answer_after, invalidate, invalidate_typed, invalidate_guest, sync, queue_mark,
 *     queue_passed, is_recovering, wait: any thread, concurrently.
 *   - dev_del, dev_usable, attach, detach, replace, stall_set, dev_block: one thread at a time for
 *     each device; threads of different devices call them concurrently, also while the IOMMU
 *     starts, stops, suspends or resumes. A call must not wait for a call of another device.
 *   - dev_add, domain_add, domain_del, dma_map, dma_unmap: any thread, concurrently.
 *   - configure, start, stop, suspend, resume, idle, close: one thread at a time for each IOMMU.
 *   - peek: before the IOMMU is started for the first time.
 */

#include <stdio.h>

#include <rte_common.h>
#include <rte_kvargs.h>

#include "iopf.h"
#include "iopf_guest.h"
#include "iopf_iommu.h"
#include "iopf_handler.h"
#include "iopf_listener.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A fault of stage 2: ipa and event_class are valid. */
#define IOPF_EVENT_STAGE2	IOPF_FAULT_STAGE2
/** The event waits for an answer. */
#define IOPF_EVENT_STALL	IOPF_FAULT_STALLED
/** A page request; token is its PRG index. */
#define IOPF_EVENT_PAGE_REQUEST	IOPF_FAULT_PAGE_REQUEST
/** A record that no IOMMU writes (a reserved id, a stall of an event that cannot stall). */
#define IOPF_EVENT_BAD		(1u << 3)
/** With IOPF_EVENT_PAGE_REQUEST: the last request of its group. */
#define IOPF_EVENT_LAST		(1u << 4)
/** The PASID of this StreamID sends no more requests. Not a request: it needs no answer. */
#define IOPF_EVENT_STOP_MARKER	(1u << 5)
/**
 * Not a record: page requests were lost here. On the event queue: records that need no answer were
 * lost, around here; it is alone in its burst.
 */
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
	/* Of the event queue, without IOPF_EVENT_STALL and _LOST: see struct iopf_record. */
	uint8_t stage;
	uint8_t event_class;	/**< enum iopf_event_class; with IOPF_EVENT_STAGE2 of stalls too */
	uint64_t fetch_addr;
	uint32_t syndrome;
	uint8_t perm_priv;
	uint8_t span;
	uint8_t record_flags;	/**< IOPF_RECORD_*, but not LOST and FAILED */
};

struct iopf_answer {
	uint32_t sid;
	uint32_t pasid;		/**< or IOPF_NO_PASID: also where a page request had one and its
				  * answer must not */
	uint16_t token;
	uint8_t code;		/**< enum iopf_code; never IOPF_RAZWI for page requests */
	bool page_request;	/**< true: the answer to a page request; false: to a stall */
};

/**
 * check(): all stalls of the IOMMU were terminated; their answers must not be sent. Page
 * requests still wait for theirs.
 */
#define IOPF_CHECK_TERMINATED	(1u << 0)
/** check(): the IOMMU has failed for good: no records come, and no answers are delivered. */
#define IOPF_CHECK_DEAD		(1u << 1)

/** iopf_peek.idle: only poll() tells whether there are records. */
#define IOPF_PEEK_POLL	UINT64_MAX

/**
 * Lets a poll thread see without a call, and without the queue's ownership, that poll() would find
 * nothing: while *word has the value idle. An idle queue then costs two loads and no atomic
 * exchange.
 *
 * poll() writes idle with iopf_peek_set(): IOPF_PEEK_POLL from the call that returns records until
 * a call that finds the queue empty and has done all else that a call does. Any thread may read the
 * two at any time, so they are memory from open to close, and no register. Best is one cache line
 * for both that no other data is in.
 *
 * It is a hint, and nothing is ordered by it. A thread that reads an old value makes one pass too
 * many or one pass late. The library polls each queue all the same after at most as many passes as
 * the poller has queues.
 */
struct iopf_peek {
	const uint32_t *word;	/**< differs from idle when a record is in the queue */
	uint64_t idle;		/**< a value of *word, or IOPF_PEEK_POLL */
};

/** For poll(). Writes nothing if nothing has changed. */
static inline void
iopf_peek_set(struct iopf_peek *peek, uint64_t idle)
{
	if (__atomic_load_n(&peek->idle, __ATOMIC_RELAXED) != idle)
		__atomic_store_n(&peek->idle, idle, __ATOMIC_RELAXED);
}

struct iopf_driver_ops {
	/**
	 * @param args the device string's pairs, already checked against params.
	 * @param[out] priv the driver's object; the other operations get it.
	 * @param[out] info all fields but driver.
	 */
	int (*open)(const struct rte_kvargs *args, struct iopf_iommu_info *info, void **priv);
	/**
	 * Release everything. -EBUSY: the IOMMU has not acknowledged that it is off and may use
	 * its memory; nothing was released, and stop() followed by close() can be tried again.
	 */
	int (*close)(void *priv);
	int (*configure)(void *priv, const struct iopf_iommu_conf *conf);
	/** Also after a suspend. */
	int (*start)(void *priv);
	/**
	 * DMA is blocked, all stalls terminated, all queues off when it returns 0. After an
	 * error the IOMMU may still translate: invalidate() fails while it does, and stop() can
	 * be called again.
	 */
	int (*stop)(void *priv);
	/**
	 * As stop: PRI and ATS are off at the devices, and no thread polls. From its return with 0
	 * on the IOMMU may be without power: until resume no operation reads or writes a register,
	 * close included. invalidate, sync, attach, detach and the others that issue commands
	 * return 0 without: resume makes their effect good. @p bypass: unsafe; DMA passes
	 * untranslated instead of being blocked. 1 in place of 0: records that need no answer
	 * were lost, such as those that poll has not returned.
	 */
	int (*suspend)(void *priv, bool bypass);
	/**
	 * As start, after a suspend that returned 0: all registers are written. The IOMMU has
	 * forgotten all configuration and translations before it translates again, and devices
	 * with IOPF_PRI those in their ATCs when it returns.
	 */
	int (*resume)(void *priv);

	int (*dma_map)(void *priv, void *ptr, size_t len, uint64_t *addr);
	int (*dma_unmap)(void *priv, void *ptr, size_t len, uint64_t addr);

	/** The device's streams abort until a domain is attached. */
	int (*dev_add)(void *priv, const struct iopf_dev_conf *conf, void **dev);
	/**
	 * The device has no attachment. Its stalls have ended when this returns 0. After an error
	 * the device is as before, blocked if it was, its accesses abort, and dev_del can be called
	 * again.
	 */
	int (*dev_del)(void *priv, void *dev);
	/**
	 * For an attached device with IOPF_PRI, before the library switches ATS on. -EIO: the
	 * driver has cut the device off, since its ATC did not answer; only an attach after the
	 * last detach brings it back.
	 */
	int (*dev_usable)(void *priv, void *dev);

	/**
	 * @param parent of a nested domain: the handle of its stage-2 domain, which is deleted
	 *   later; or NULL.
	 * @return 0, -EINVAL or -ENOTSUP (the IOMMU cannot do the translation: the driver logs
	 *   why), -ENOMEM, -ENOSPC.
	 */
	int (*domain_add)(void *priv, const struct iopf_translation *translation, void *parent,
			void **domain);
	void (*domain_del)(void *priv, void *domain);

	/**
	 * @param[out] attachment its handle. After an error NULL, or a handle for which detach has
	 *   to be called until it succeeds.
	 */
	int (*attach)(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
	/**
	 * When it returns 0 no access of the attachment succeeds or stalls any more, no
	 * translation of it is cached, and the handle is released. After an error (-ETIMEDOUT,
	 * -EIO) the handle is valid, and detach can be called again.
	 */
	int (*detach)(void *priv, void *attachment);
	/**
	 * Replace the domain of an attachment, while the device accesses memory: each access finds
	 * the old domain or the new one, complete. When it returns 0 no access uses the old domain
	 * any more, no translation of it is cached, and its handle is released.
	 * @param[out] next the handle of the new attachment. After an error NULL, and everything is
	 *   as before; or a handle, and the new domain is attached: then accesses may still use the
	 *   old one until a detach of the old handle, which is still valid, returns 0. Either
	 *   handle can be detached first.
	 */
	int (*replace)(void *priv, void *attachment, void *domain, void **next);

	/**
	 * Accesses of the attachment that fault stall (@p on, as after an attach), or abort with a
	 * record. When it returns 0 no further access stalls; those that stalled before wait for
	 * their answers. May be called again after an error. -ENOTSUP: the IOMMU can only stall.
	 */
	int (*stall_set)(void *priv, void *attachment, bool on);
	/**
	 * All accesses of the device abort without a record, whatever is attached, also across an
	 * attach, a detach, a stop and a start; or do so no more. When it returns 0 after on, the
	 * device's stalls have ended: answers to them have no effect. Before accesses stall again,
	 * the IOMMU has processed the answers that it was given before this call: their tokens may
	 * be used again. For a device with IOPF_PRI, ATS is off at the device. May be called again
	 * after an error.
	 */
	int (*dev_block)(void *priv, void *dev, bool on);

	uint16_t (*poll)(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n);
	/** Returns where a poll thread sees that the queue is idle; or NULL. */
	const struct iopf_peek *(*peek)(void *priv, uint16_t queue);
	/** Returns how many of the answers it took, from the first on. */
	uint16_t (*answer)(void *priv, const struct iopf_answer *answers, uint16_t n);
	/**
	 * Answer after a completed synchronisation of n_inv (at most 64) invalidations, without
	 * waiting for it. n may be 0. At most one call for each event of the burst. Returns as
	 * answer does.
	 */
	uint16_t (*answer_after)(void *priv, void *domain, const struct iopf_inv *inv,
			uint16_t n_inv, const struct iopf_answer *answers, uint16_t n);
	/** Recovers from errors where possible. Returns IOPF_CHECK_*. */
	unsigned int (*check)(void *priv);
	/**
	 * A recovery is under way that only further calls of check() continue. Until its end an
	 * attach or detach of a device with IOPF_PRI would fail: where no poller runs, the library
	 * makes passes before it.
	 */
	bool (*is_recovering)(void *priv);

	/**
	 * When it returns 0, the queues have the records of all accesses of which a device had seen
	 * the end before the call, and the IOMMU has processed the answers that it was given before
	 * the call, but those that a recovery holds back. 0, too, if the IOMMU translates nothing.
	 */
	int (*sync)(void *priv);
	/** Returns the producer's position, as a mark for queue_passed. */
	uint64_t (*queue_mark)(void *priv, uint16_t queue);
	/** True: poll has returned all records before the mark. */
	bool (*queue_passed)(void *priv, uint16_t queue, uint64_t mark);

	/**
	 * Check commands that a guest wrote, in the format of the IOMMU, then carry them out in
	 * their order, as iopf_invalidate_guest() says. They are untrusted: none may reach what is
	 * cached of others than @p parent and the domains nested in it, or a device that has none
	 * of these; also if a detach runs at the same time. Each command is read again before it is
	 * issued, and is checked then too.
	 * @param parent the handle of a stage-2 domain.
	 * @param[out] result after an error; preset for 0.
	 * @param[out] why a constant text, with IOPF_INV_REFUSED.
	 * @return 0; -EINVAL (IOPF_INV_REFUSED: result->failed is not allowed, and nothing was
	 *   issued); -EIO, -ETIMEDOUT as for invalidate.
	 */
	int (*invalidate_guest)(void *priv, void *parent, const struct iopf_guest_cmd *cmds,
			unsigned int n, struct iopf_inv_result *result, const char **why);

	/**
	 * Returns after completion: 0, -EIO or -ETIMEDOUT as iopf_invalidate().
	 * @param[out] result with an error as in iopf_invalidate(), never IOPF_INV_REFUSED; with 0
	 *   it is not read.
	 */
	int (*invalidate)(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
			struct iopf_inv_result *result);
	/**
	 * As invalidate, of an array with requests of any type that this kind of domain has, or of
	 * a nested domain. The devices may be of another IOMMU, or have another domain: nothing is
	 * to be done for these. iopf_dev_handle() is to be compared only: it may be of another
	 * driver.
	 */
	int (*invalidate_typed)(void *priv, void *domain, const struct iopf_inv *inv,
			unsigned int n, struct iopf_inv_result *result);

	/**
	 * Interrupts instead of polling: a record or an error writes to fd, an eventfd; -1 ends it.
	 * Returns 1 if there is a record or an error already (do not sleep), 0, or -errno. After an
	 * error poll() and check() find records and errors without interrupts; if an earlier call
	 * was in force, at the latest once this was called with -1, whatever that returns.
	 */
	int (*idle)(void *priv, int fd);

	/** Called in loops that wait for the IOMMU, to give it time. */
	void (*wait)(void *priv);

	/** Counter i below info.nb_stats. */
	uint64_t (*stat)(const void *priv, unsigned int i, const char **name);
	void (*dump)(const void *priv, FILE *f);
};

struct iopf_driver {
	const char *name;
	const char *const *params;	/**< keys that it knows, NULL at the end */
	const char *usage;		/**< one line: "model=NAME | vfio=DEVICE ..." */
	struct iopf_driver_ops ops;	/**< see "Absent operations" */
};

/** Constructors call it: see IOPF_DRIVER. @p driver must stay valid. */
void iopf_driver_register(struct iopf_driver *driver);

/** The handle that dev_add returned for the device. While the device exists. */
void *iopf_dev_handle(const struct iopf_dev *dev);

#define IOPF_DRIVER(driver)					\
	RTE_INIT(iopf_driver_init_ ## driver)			\
	{							\
		iopf_driver_register(&driver);			\
	}

#ifdef __cplusplus
}
#endif

#endif /* IOPF_DRIVER_H */
