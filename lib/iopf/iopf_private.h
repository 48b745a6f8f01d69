/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_PRIVATE_H
#define IOPF_PRIVATE_H

/*
 * The library's own objects. What is called by whom:
 *
 *	poll.c		iopf_poll(): whose turn it is to drain a queue
 *	pass.c		a burst of records: calls fast handlers, answers
 *	prg.c		page requests become groups
 *	slot.c		the state of each fault, and who may answer it
 *	worker.c	deferred handlers
 *	iommu.c dev.c domain.c	control path
 *	pri.c		ATS and PRI of devices, and the budget of page requests
 *	hazard.c	handles of domains, kept while an invalidation waits
 *	telemetry.c stats.c	inspection
 *
 * Locks of the control path, in this order:
 *	iommu->state_lock	configure, start, stop, idle, close: one at a time
 *	dev->lock		attach, detach, PRI, removal of that device: one at a time
 *	iommu->lock		lists, tables, the budget of page requests. Held for no wait:
 *				not for the driver, a device, a handler, a grace period
 *	domain->lock		handles of a domain; held for the driver's domain_add alone
 *	domains_lock, registry_lock, pollers_lock	inside it no other lock is taken
 * So what a device's control call waits for costs that device alone, and what an IOMMU's
 * start or stop waits for, that IOMMU.
 */

#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <rte_ring.h>

#include "hazard.h"
#include "hist.h"
#include "iopf.h"
#include "iopf_driver.h"
#include "rcu.h"
#include "table.h"

#define IOPF_MAX_IOMMUS		64
#define IOPF_MAX_QUEUES		2
#define IOPF_MAX_BURST		64
#define IOPF_MAX_REQUESTS	4096
#define IOPF_MAX_GROUP_INV	4
#define IOPF_MAX_POLLER_QUEUES	64

extern int iopf_logtype;
#define IOPF_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, iopf_logtype, "iopf: " fmt "\n", ## __VA_ARGS__)

/* Give a result back the way the public functions do. */
static inline int
iopf_ret(int ret)
{
	if (ret < 0)
		rte_errno = -ret;
	return ret;
}

/* The same where a pointer is returned, and a handle is NULL. */
static inline void *
iopf_ret_null(void)
{
	rte_errno = EINVAL;
	return NULL;
}

/*
 * A fault's slot
 *
 *	FREE ---> HANDLING ---> QUEUED (for a worker) ---> HANDLING
 *	 |            |
 *	 |            '-------> TAKEN (somebody will answer)
 *	 '-> PARTIAL -> HANDLING	page requests, when Last comes
 *
 * Who answers moves the state by compare-and-swap, so there is one answer:
 *	HANDLING -> FREE	the handler's caller, with the verdict
 *	HANDLING -> SENDING	the same for page requests; FREE when it was sent
 *	TAKEN -> FREE		iopf_group_respond(), a detach, a deadline
 *	TAKEN -> HANDLING	a worker, behind iopf_group_defer()
 *	QUEUED -> FREE		an answer that is not the worker's, which will find another
 *			generation
 *	HANDLING -> DONE	the same, while a thread still handles the slot; that
 *			thread finds DONE, and frees it
 *	PARTIAL -> DROPPED	a detach: no answer, for there was no Last; the queue's
 *			owner finds and frees it
 *
 * The state shares its word with a generation that counts the slot's uses: a
 * late answer finds another generation. A group of page requests has the state of
 * the slot of its first; the others' words stay FREE and mean nothing (prg.c).
 */
enum iopf_slot_state {
	IOPF_SLOT_FREE,
	IOPF_SLOT_HANDLING,
	IOPF_SLOT_QUEUED,
	IOPF_SLOT_TAKEN,
	IOPF_SLOT_DONE,
	IOPF_SLOT_PARTIAL,
	IOPF_SLOT_DROPPED,
	IOPF_SLOT_SENDING,
};
#define IOPF_SLOT_STATE_BITS	3
#define IOPF_SLOT_STATE(word)	((enum iopf_slot_state)((word) & 7))
#define IOPF_SLOT_GEN(word)	((word) >> IOPF_SLOT_STATE_BITS)
#define IOPF_SLOT_WORD(gen, state) ((uint32_t)(gen) << IOPF_SLOT_STATE_BITS | (state))

/* Free, for the next use. Generation 0 is left out: an id is never 0. */
static inline uint32_t
iopf_slot_free_word(uint32_t gen)
{
	uint32_t word = IOPF_SLOT_WORD(gen + 1, IOPF_SLOT_FREE);

	return word >> IOPF_SLOT_STATE_BITS != 0 ? word : IOPF_SLOT_WORD(1, IOPF_SLOT_FREE);
}

struct iopf_queue {
	struct iopf_iommu *iommu;
	uint16_t id;
	_Atomic uint32_t nb_slots;	/* in use; a power of two; written while nothing is held */
	uint32_t max_slots;
	struct iopf_fault *slots;
	struct iopf_prg *prg;		/* page requests only */
	_Atomic(struct iopf_poller *) poller;	/* written under pollers_lock */

	/*
	 * Slots freed by others than the owner: a stack that anybody pushes onto and the
	 * owner takes whole, so that there is no ABA. IOPF_NO_SLOT ends it.
	 */
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t freed;

	/*
	 * Who drains, for one pass. Never waited for: a pass that finds it taken
	 * leaves. Released with release, taken with acquire: the owner's fields below
	 * go from one to the next.
	 */
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint32_t owned;
	uint32_t nb_free;		/* the owner's */
	uint32_t *free;
	uint64_t next_check;
	uint64_t next_error_check;	/* of the queue of events */
	_Atomic uint32_t passes;	/* read by whoever waits for the owner */
	uint32_t scan;			/* where the deadline scan goes on */
};

/* In the order of what an IOMMU may do: see the two questions below. */
enum iopf_state {
	IOPF_STATE_OFF,
	IOPF_STATE_STARTING,
	IOPF_STATE_STOPPING,
	/* A start or a stop failed: whether it translates the driver alone knows. */
	IOPF_STATE_STUCK,
	/* check() has given it up; until a stop. */
	IOPF_STATE_FAILED,
	IOPF_STATE_RUNNING,
	/* The devices' PRI goes off, in front of a stop. */
	IOPF_STATE_QUIESCING,
};

struct iopf_iommu {
	uint16_t id;
	char *name;
	struct iopf_driver *driver;
	void *priv;
	struct iopf_iommu_info info;
	struct iopf_iommu_conf conf;
	_Atomic uint32_t state;		/* enum iopf_state */
	bool recovering;		/* check() has terminated the stalls; queue 0's owner's */
	_Atomic uint32_t answering;	/* answers claimed and not yet sent, but the poller's */
	_Atomic uint32_t nb_deadlines;	/* attachments whose domain has one */
	_Atomic uint32_t nb_attached;	/* devices with an attachment */
	uint32_t default_requests;	/* request_queue_size as the driver said */
	uint64_t partial_cycles;	/* a group may wait for its Last, in TSC cycles */
	uint64_t share_cycles;		/* a device over its share keeps a stall as long */
	_Atomic uint32_t granted;	/* page requests given out to devices; written under lock */

	pthread_mutex_t state_lock;
	pthread_mutex_t lock;
	pthread_mutex_t dma_lock;
	uint32_t nb_dma;		/* areas mapped; under dma_lock */
	LIST_HEAD(, iopf_dev) devs;
	struct iopf_table sids;		/* StreamID -> iopf_dev */
	struct iopf_table attached;	/* iopf_attachment_key() -> iopf_attachment */
	struct iopf_queue queues[IOPF_MAX_QUEUES];

	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t stats[IOPF_NB_IOMMU_STATS];
};

/* Polled, be it that nothing comes. */
static inline bool
iopf_iommu_is_polled(const struct iopf_iommu *iommu)
{
	/* Acquire: with the store in iopf_iommu_start(). */
	return atomic_load_explicit(&iommu->state, memory_order_acquire) >= IOPF_STATE_FAILED;
}

/* Polled, and faults come and are answered. */
static inline bool
iopf_iommu_is_serving(const struct iopf_iommu *iommu)
{
	return atomic_load_explicit(&iommu->state, memory_order_acquire) >= IOPF_STATE_RUNNING;
}

struct iopf_dev {
	struct iopf_iommu *iommu;
	char *name;
	struct iopf_dev_conf conf;
	uint32_t *sids;
	unsigned int refs;		/* under the IOMMU's lock; the last one frees */

	pthread_mutex_t lock;
	pthread_cond_t settled;		/* an attachment is not busy any more */
	void *priv;			/* the driver's, until deleted */
	bool deleted;			/* at the driver; the removal goes on behind it */
	bool removed;
	uint32_t granted;		/* page requests, of the IOMMU's budget */
	bool ats_on;			/* at the device */
	bool pri_on;
	/* Slots of events that outlive their pass: deferred or taken, and not yet free. */
	_Atomic uint32_t held;
	_Atomic uint64_t stats[IOPF_NB_DEV_STATS];
	/* Written under both locks, so read under either. */
	LIST_HEAD(, iopf_attachment) attachments;
	LIST_ENTRY(iopf_dev) next;	/* under the IOMMU's lock */
};

/*
 * An attachment's way. Each step can fail, and is then made again by the next detach:
 *	ATTACHED -> CUT		no handler is asked any more; ATS goes off at the device
 *	CUT -> DRAINING		the driver has let go: no access succeeds or stalls
 *	DRAINING -> freed	what was on its way is read and answered, and no handler has
 *				any of it
 */
enum iopf_attachment_state {
	IOPF_ATTACHED,
	IOPF_CUT,
	IOPF_DRAINING,
};

/* A (device, PASID) that uses a domain. In the table once per StreamID. */
struct iopf_attachment {
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	void *hw;			/* the driver's handle for the domain */
	void *priv;			/* the driver's handle for the attachment; NULL: none */
	uint32_t pasid;
	_Atomic uint32_t state;		/* enum iopf_attachment_state; under the device's lock */
	bool busy;			/* a detach waits for handlers without the device's lock */
	bool undo;			/* of an attach that failed: its caller has nothing */
	LIST_ENTRY(iopf_attachment) next;
};

/* The device has something that is not cut. Its lock is held. */
static inline bool
iopf_dev_is_attached(const struct iopf_dev *dev)
{
	const struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (attachment->state == IOPF_ATTACHED)
			return true;
	return false;
}

/* A domain on an IOMMU. */
struct iopf_hw {
	struct iopf_iommu *iommu;
	void *priv;			/* the driver's handle */
	unsigned int refs;		/* attachments; under the domain's lock */
};

struct iopf_domain {
	char *name;
	struct iopf_domain_conf conf;

	pthread_mutex_t lock;
	/* struct iopf_hw, by IOMMU; written under the lock, read with hazard.h. */
	_Atomic(void *) hw[IOPF_MAX_IOMMUS];
	unsigned int nb_attached;	/* under domains_lock; begun is counted */

	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t stats[IOPF_NB_STATS];
	struct iopf_hist latency;	/* in TSC cycles */
};

struct iopf_worker {
	char *name;
	struct rte_ring *ring;		/* group ids */
	_Atomic uint32_t nb_asleep;	/* threads that nothing has woken yet */
	sem_t wake;
	pthread_mutex_t again_lock;
	uint64_t *again;		/* groups to be deferred again */
	_Atomic uint32_t nb_again;
	uint32_t first_again;
	uint32_t max_again;
	_Atomic bool stop;
	_Atomic unsigned int nb_domains;
	unsigned int nb_threads;
	pthread_t threads[];
};

/* What goes out together: the answers of one burst. */
struct iopf_pass {
	struct iopf_queue *queue;
	uint64_t now;			/* when the burst was read */
	uint16_t nb_answers;
	uint16_t nb_after;
	uint16_t nb_inv;
	uint16_t nb_frees;
	uint16_t nb_faults;
	uint16_t nb_posts;		/* answer_after() of this burst, at most IOPF_MAX_BURST */
	uint16_t group_inv;		/* nb_inv when the present handler was called */

	/* Counted, and not yet added to run_domain. */
	struct iopf_domain *run_domain;
	uint32_t run_faults;
	uint32_t run_requests;
	uint32_t run_codes[IOPF_NB_CODES];
	uint32_t run_answers;

	void *after_hw;
	uint16_t nb_retries;
	struct iopf_pass_retry {
		struct iopf_dev *dev;
		struct iopf_retry retry;
	} retries[IOPF_MAX_BURST];
	struct iopf_answer answers[IOPF_MAX_BURST];
	struct iopf_answer after[IOPF_MAX_BURST];
	struct iopf_inv inv[IOPF_MAX_BURST];
	uint32_t frees[IOPF_MAX_BURST];
};

/* What this thread is doing. */
struct iopf_thread {
	bool in_handler;		/* fast or deferred */
	bool in_fast;
};
extern _Thread_local struct iopf_thread iopf_self;

static inline bool
iopf_inv_is_valid(const struct iopf_inv *inv)
{
	return inv->all || (inv->size != 0 && ((inv->addr | inv->size) & 0xfff) == 0 &&
		inv->addr + inv->size - 1 >= inv->addr);
}

static inline uint64_t
iopf_attachment_key(uint32_t sid, uint32_t pasid)
{
	return (uint64_t)pasid << 32 | sid;
}

static inline void
iopf_iommu_count(struct iopf_iommu *iommu, enum iopf_iommu_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&iommu->stats[stat], n, memory_order_relaxed);
}

static inline void
iopf_domain_count(struct iopf_domain *domain, enum iopf_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&domain->stats[stat], n, memory_order_relaxed);
}

static inline void
iopf_dev_count(struct iopf_dev *dev, enum iopf_dev_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&dev->stats[stat], n, memory_order_relaxed);
}

/* Why no handler is asked, counted for the device too. */
static inline enum iopf_iommu_stat
iopf_no_attachment_count(const struct iopf_iommu *iommu, uint32_t sid)
{
	struct iopf_dev *dev = iopf_table_find(&iommu->sids, sid);

	if (dev == NULL)
		return IOPF_IOMMU_STAT_UNKNOWN_SID;
	iopf_dev_count(dev, IOPF_DEV_STAT_NO_DOMAIN, 1);
	return IOPF_IOMMU_STAT_NO_DOMAIN;
}

/* The PASID that the answer to a page request has. @p dev may be NULL: nobody's. */
static inline uint32_t
iopf_answer_pasid(const struct iopf_iommu *iommu, const struct iopf_dev *dev, uint32_t pasid)
{
	return iommu->info.pri_pasid || (dev != NULL && dev->conf.prg_pasid) ? pasid :
			IOPF_NO_PASID;
}

/* "PASID 3", or "untagged traffic" for IOPF_NO_PASID: for lines of the log. */
#define IOPF_PASID_TEXT 24
const char *iopf_pasid_text(char text[IOPF_PASID_TEXT], uint32_t pasid);

static inline void
iopf_dev_retry(struct iopf_dev *dev, const struct iopf_retry *retry)
{
	bool in_fast = iopf_self.in_fast;

	iopf_self.in_fast = true;
	dev->conf.ops.retry(dev, retry, dev->conf.ctx);
	iopf_self.in_fast = in_fast;
}

/* Group ids: generation, IOMMU, queue, slot. */
static inline uint64_t
iopf_group_make_id(const struct iopf_queue *q, uint32_t slot, uint32_t gen)
{
	return (uint64_t)gen << 32 | (uint64_t)q->iommu->id << 24 | (uint64_t)q->id << 20 | slot;
}
#define IOPF_ID_GEN(id)		((uint32_t)((id) >> 32))
#define IOPF_ID_IOMMU(id)	((uint32_t)(id) >> 24)
#define IOPF_ID_QUEUE(id)	((uint32_t)(id) >> 20 & 0xf)
#define IOPF_ID_SLOT(id)	((uint32_t)(id) & 0xfffff)
#define IOPF_MAX_SLOTS		(1u << 20)
#define IOPF_NO_SLOT		UINT32_MAX

/* iommu.c */
struct iopf_iommu *iopf_iommu_get(unsigned int id);
const char *iopf_state_name(enum iopf_state state);

/* dev.c */
/* The device behind @p dev (NULL: the first), kept; @p dev is not any more. NULL: no more. */
struct iopf_dev *iopf_dev_next(struct iopf_iommu *iommu, struct iopf_dev *dev);
/* When a control call of this device has waited for long enough, in TSC cycles. */
uint64_t iopf_dev_wait_end(const struct iopf_dev *dev);

static inline bool
iopf_wait_is_over(uint64_t end)
{
	return (int64_t)(rte_rdtsc() - end) >= 0;
}

/* domain.c: with the device's lock, which it may drop meanwhile. 0: it is freed. */
int iopf_attachment_detach(struct iopf_attachment *attachment);

/* pass.c */
unsigned int iopf_queue_drain(struct iopf_queue *q, uint16_t burst, uint16_t bursts);
/* An answer to what has no slot. */
void iopf_event_refuse(struct iopf_pass *pass, const struct iopf_event *ev, enum iopf_code code,
		enum iopf_iommu_stat why);
/* Ask the domain's handler, and see to what it says. @p head's state is HANDLING. */
void iopf_handler_run(struct iopf_pass *pass, struct iopf_attachment *attachment,
		struct iopf_fault *head, const struct iopf_fault *const *faults, uint16_t n);
/*
 * A group may be given to lost, and invalidate. False: with @p left events to come the burst
 * could have more answer_after() than events, which is what drivers have room for.
 */
bool iopf_inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment,
		unsigned int left);
/* Fill a slot that nobody else knows. */
void iopf_slot_fill(struct iopf_fault *slot, const struct iopf_event *ev, uint64_t now,
		struct iopf_attachment *attachment);
void iopf_fault_report(struct iopf_iommu *iommu, const struct iopf_fault *fault);

/*
 * prg.c: page request groups. All are the queue's owner's, but iopf_prg_list_faults(), which
 * is also for the worker that has the group.
 */
int iopf_prg_init(struct iopf_queue *q);
void iopf_prg_fini(struct iopf_queue *q);
/* Nothing is partial or pending. */
void iopf_prg_reset(struct iopf_queue *q);
/* Returns how many of the events are records. */
unsigned int iopf_prg_dispatch(struct iopf_pass *pass, const struct iopf_event *events,
		unsigned int n);
/* The requests of a group whose first is @p head. */
uint16_t iopf_prg_list_faults(const struct iopf_queue *q, const struct iopf_fault *head,
		const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS]);
/* All slots of a group that was answered. */
void iopf_prg_free(struct iopf_queue *q, uint32_t head);
/* Discard, and report, what waits for its Last since before @p since. */
void iopf_prg_discard_old(struct iopf_queue *q, uint64_t since);
void iopf_prg_discard_all(struct iopf_queue *q);

/* pri.c */
int iopf_pri_check_conf(const struct iopf_iommu *iommu, const struct iopf_dev_conf *conf);
/* With the IOMMU's lock. */
int iopf_pri_reserve(struct iopf_dev *dev);
void iopf_pri_release(struct iopf_dev *dev);
/* With the device's lock. */
int iopf_pri_switch_on(struct iopf_dev *dev);
int iopf_pri_switch_off(struct iopf_dev *dev, uint64_t end);
/* An attachment that is cut: until the device has nothing of it any more. */
int iopf_pri_drain_pasid(struct iopf_attachment *attachment, uint64_t end);
/* All devices, behind a start and in front of a stop. */
void iopf_pri_switch_on_all(struct iopf_iommu *iommu);
void iopf_pri_switch_off_all(struct iopf_iommu *iommu);

/* poll.c */
/* Try to become the one who drains; never waits. */
bool iopf_queue_own(struct iopf_queue *q);
void iopf_queue_disown(struct iopf_queue *q);
/*
 * Who waits drains, where no poller runs: one that makes no pass for a while. Returns records.
 * Errors of the IOMMU are looked at that way, too.
 */
struct iopf_stand_in {
	uint32_t passes;
	uint64_t since;
};
void iopf_stand_in_begin(const struct iopf_queue *q, struct iopf_stand_in *stand_in);
unsigned int iopf_stand_in_poll(struct iopf_queue *q, struct iopf_stand_in *stand_in);
/*
 * Everything the hardware had written when this was called has been read, or the IOMMU does
 * not serve any more: 0; or -ETIMEDOUT.
 */
int iopf_queue_fence(struct iopf_queue *q, uint64_t end);
/* All of them. */
int iopf_iommu_fence(struct iopf_iommu *iommu, uint64_t end);

/* slot.c */
/*
 * Zeroed and touched, so that the poll thread meets no page fault. Not EAL's memory, which is
 * gone behind rte_eal_cleanup() while workers may still look.
 */
void *iopf_zalloc(size_t size);
int iopf_queue_init(struct iopf_queue *q, struct iopf_iommu *iommu, uint16_t id,
		uint32_t max_slots);
/* Slots that are not free. No thread drains the queue. */
uint32_t iopf_queue_nb_held(struct iopf_queue *q);
/* Nobody drains, and nothing is outstanding. */
void iopf_queue_resize(struct iopf_queue *q, uint32_t nb_slots);
void iopf_queue_fini(struct iopf_queue *q);
struct iopf_fault *iopf_slot_alloc(struct iopf_queue *q);
/* Take what others have freed. */
void iopf_slot_reclaim(struct iopf_queue *q);
/* By anybody; the queue's owner puts its own back into free[]. */
void iopf_slot_free(struct iopf_queue *q, struct iopf_fault *slot);
struct iopf_fault *iopf_slot_find(uint64_t id, struct iopf_queue **q);

static inline uint32_t
iopf_slot_load(const struct iopf_fault *slot)
{
	/* Acquire: with the release in iopf_slot_cas() and iopf_slot_publish(). */
	return __atomic_load_n(&slot->state, __ATOMIC_ACQUIRE);
}

static inline bool
iopf_slot_cas(struct iopf_fault *slot, uint32_t from, uint32_t to)
{
	return __atomic_compare_exchange_n(&slot->state, &from, to, false, __ATOMIC_ACQ_REL,
			__ATOMIC_RELAXED);
}

/* Why a fault is answered by somebody else than its handler. */
enum iopf_cancel {
	IOPF_CANCEL_DETACH,	/* INVALID */
	IOPF_CANCEL_DRAIN,	/* the same; what is partial may still become a group */
	IOPF_CANCEL_DEADLINE,	/* INVALID */
	IOPF_CANCEL_TERMINATED,	/* no answer: the IOMMU has ended it */
};
/*
 * Answer what is outstanding of an attachment (or all, if NULL).
 * Returns how many slots are still in a handler's hands.
 */
unsigned int iopf_queue_cancel(struct iopf_queue *q, const struct iopf_attachment *attachment,
		enum iopf_cancel why);
/* Add the page request groups of an attachment that are partial, and that are pending. */
void iopf_queue_count_groups(const struct iopf_queue *q, const struct iopf_attachment *attachment,
		unsigned int *partial, unsigned int *pending);
/* So many stalls are pending that devices over their share give some up. Owner. */
bool iopf_queue_is_pressed(struct iopf_queue *q);
/*
 * Among the next n slots: INVALID to what is older than its domain's deadline, or than a device
 * over its share may keep.
 */
void iopf_queue_expire(struct iopf_queue *q, uint64_t now, uint32_t n);

/* worker.c */
int iopf_worker_defer(struct iopf_worker *worker, uint64_t id);

/*
 * telemetry.c: a name that came from the caller as printable ASCII, cut to @p size with "..." at
 * its end: the bytes that are not, and the characters ", \ and %, are %XX.
 */
void iopf_name_encode(char *buf, size_t size, const char *name);

/* Outstanding faults, for a list of them. */
struct iopf_outstanding {
	struct iopf_fault fault;
	enum iopf_slot_state state;
	uint64_t id;
};
/* Up to n of those from slot *from, which is moved on: to nb_slots when there are no more. */
unsigned int iopf_queue_list_outstanding(struct iopf_queue *q, uint32_t *from,
		struct iopf_outstanding *list, unsigned int n);
const char *iopf_slot_state_name(enum iopf_slot_state state);

#endif /* IOPF_PRIVATE_H */
