/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef FIRE_H
#define FIRE_H

/*
 * The parts of the soak test_firesoak.c: one harsh software SMMU with stalls and page requests,
 * devices that come and go, address spaces with handlers of the test and of lib/mmem, and threads
 * that change everything while the devices fault.
 *
 *	fire_world.c	the SMMU, devices, address spaces, threads: from open to close
 *	fire_space.c	address spaces: made, destroyed, unmapped
 *	fire_handlers.c	the handlers of the test, and the threads that answer taken groups
 *	fire_traffic.c	DMA of all engines, and what an engine may have seen
 *	fire_control.c	threads that attach, detach, replace, remove, move, stop, lose
 *	fire_policy.c	policies: breakers, limits and quarantines of devices, handlers replaced
 *	fire_listen.c	listeners for events, and the thread that reads them
 *	fire_check.c	counters at the end of a round
 *
 * A seat is a (device, PASID) with one engine. Locks, in this order: a space's (life, memory,
 * regions), a device's, a seat's.
 *
 * The owner of an address space is a number that each life of a space has for itself. The frames of
 * the space have this owner, their contents begin with it, and the engine of a seat has it from
 * before the attach until the detach has returned. So the oracle sees an access after the detach,
 * and the test sees contents of another space.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "iopf.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "pgtable.h"
#include "smmuv3_model_test.h"
#include "soak.h"

#define FIRE_PAGE	4096
#define FIRE_PAGES	256	/* of a space; the first half is read only, the second written */
#define FIRE_VA		UINT64_C(0x1234400000)	/* no frame has an address there */
#define FIRE_END	(FIRE_VA + (uint64_t)FIRE_PAGES * FIRE_PAGE)
#define FIRE_TABLES	24	/* of a space */
#define FIRE_GUEST	4	/* pages of a guest's CDs and tables, of a nested space */

enum fire_kind {
	FIRE_STALL,
	FIRE_RETRY,	/* accesses terminate, the device would retry */
	FIRE_PRI,
};

#define FIRE_DEVS	10	/* two of them with domains of stage 2, two with nested ones */
#define FIRE_FIRST_PRI	5
#define FIRE_NB_PRI	4
#define FIRE_SEATS	3	/* of a device: untagged, PASID 1, PASID 2 */
#define FIRE_STAGE1	5	/* spaces with handlers of the test */
#define FIRE_STAGE2	4	/* ... and tables of stage 2 */
/* The last of these are behind a guest's stage 1: of a stalling device, and one with PRI. */
#define FIRE_NESTED	(FIRE_STAGE1 + FIRE_STAGE2 - 2)
#define FIRE_OWN	(FIRE_STAGE1 + FIRE_STAGE2)
#define FIRE_MANAGED	3	/* spaces of lib/mmem */
#define FIRE_SPACES	(FIRE_OWN + FIRE_MANAGED)
#define FIRE_GHOSTS	2	/* engines with StreamIDs that the IOMMU does not know */
#define FIRE_POLLERS	2
#define FIRE_CONTROLS	3
#define FIRE_RESPONDERS	2
#define FIRE_DEPTH	16
#define FIRE_MAX_PAGES	8	/* of one DMA */
#define FIRE_TAKEN	4096	/* groups that wait for a responder */
#define FIRE_LISTENERS	2	/* that are open for the whole round */

/* The owner of an engine that is attached nowhere. No frame has it. */
#define FIRE_NO_OWNER	UINT32_MAX

struct fire_space;

/* The context of a space's handlers. A space has two, of which one is in use. */
struct fire_ctx {
	struct fire_space *space;
	_Atomic bool retired;		/* iopf_domain_set_handler() has returned */
};

struct fire_space {
	bool managed, stage2, nested;
	uint32_t index;
	pthread_rwlock_t life;		/* write: to destroy and create */
	pthread_mutex_t memory;		/* one thread at a time unmaps */
	_Atomic bool retiring;		/* no attach begins */
	_Atomic bool hog;		/* its handler takes each fault, and no thread answers */
	_Atomic uint32_t owner;
	_Atomic uint64_t base;		/* of its pages; 0: none */
	_Atomic unsigned int dmas;	/* submitted to this base */
	struct iopf_domain *domain;
	struct iopf_domain *parent;	/* nested: whose table pgt is */
	struct mmem_space *mmem;	/* managed */
	struct pgt *pgt;		/* not managed */
	struct fire_ctx ctx[2];		/* not managed */
	unsigned int ctx_used;		/* under memory */
	uint8_t *data, *tables, *guest;
	bool table_used[FIRE_TABLES];
};

struct fire_op {
	uint64_t tenure;		/* of the seat at the submission */
	uint32_t blocks;		/* of the device at the submission */
	uint16_t page, pages;
	bool check;			/* contents are known */
	struct fire_space *aim;		/* whose pages it accesses; NULL: none */
};

struct fire_seat {
	struct fire_dev *dev;
	uint32_t pasid;
	pthread_mutex_t lock;
	struct fire_space *space;	/* attached; under the lock */
	_Atomic uint64_t tenure;	/* number of changes << 32 | owner */
	/* During a replace the next owner: set before it, cleared after the change of tenure. */
	_Atomic uint32_t next_owner;
	_Atomic(struct fire_space *) aim;	/* of the engine's addresses */
	_Atomic bool storm;		/* the engine accesses pages that no space has */
	/* The rest is the traffic thread's. */
	struct smmuv3_model_dma *dma;
	uint8_t *local;			/* FIRE_DEPTH * FIRE_MAX_PAGES pages of the device */
	struct fire_op op[FIRE_DEPTH];
	unsigned int nb_free;
	uint16_t free[FIRE_DEPTH];
};

struct fire_dev {
	struct pcie_fn fn;		/* first: the context of its operations */
	enum fire_kind kind;
	bool stage2, nested;		/* its only seat is that of untagged traffic */
	pthread_rwlock_t lock;		/* write: to remove and add */
	pthread_mutex_t quarantine;	/* one thread at a time quarantines it */
	_Atomic uint32_t blocks;	/* odd: each access aborts */
	bool rated;			/* most of its lives have a rate that it passes */
	_Atomic bool is_back;		/* its rate had it quarantined, and no fault since */
	struct fire_seat seat[FIRE_SEATS];
	unsigned int nb_seats;
};

struct fire_listener {
	struct iopf_listener *listener;
	uint64_t next;			/* sequence number */
	uint64_t read, events;		/* events: merged ones too */
	uint64_t gaps, lost;
};

struct fire_ghost {
	struct smmuv3_model_dma *dma;
	_Atomic bool storm;
	uint64_t word;
};

/* What happened, for the test to check that it did, and to print. */
struct fire_counts {
	_Atomic uint64_t ok, aborted, razwi, checked;
	_Atomic uint64_t late, stale, never, retries, reports;
	_Atomic uint64_t attaches, refused, detaches, timeouts, removals, spaces, unmaps;
	_Atomic uint64_t moves, halts, holds, storms, hogs, losses, aborts, stops, cycles, cuts;
	_Atomic uint64_t pri_restarts, replaces, bypasses, handlers, deadlines;
	_Atomic uint64_t trips, rearms, quarantines, releases, blocked, listened;
	/* Quarantines past a rate, their ends, and devices that fault again after them. */
	_Atomic uint64_t rate_begins, rate_ends, stalls_back, pri_back;
};

/* Ids between threads. Under a lock, unlike rte_ring: TSan does not know the barriers of that. */
struct fire_ring {
	pthread_mutex_t lock;
	uint64_t ids[FIRE_TAKEN];
	unsigned int head, tail;
};

struct fire {
	struct smmuv3_model *m;
	struct smmuv3_model_conf conf;
	struct iopf_iommu *iommu;
	struct mmem_pool *pool;
	struct iopf_worker *worker[2];
	struct soak_poller poller[FIRE_POLLERS];
	struct fire_dev dev[FIRE_DEVS];
	struct fire_space space[FIRE_SPACES];
	struct fire_ghost ghost[FIRE_GHOSTS];
	struct fire_listener listener[FIRE_LISTENERS];
	uint8_t *arena;
	size_t arena_len;
	uint32_t seed;
	_Atomic uint32_t next_owner, next_thread;

	struct fire_ring taken;		/* groups for the responders */
	pthread_t responder[FIRE_RESPONDERS], control[FIRE_CONTROLS], reader;
	_Atomic bool stop_control, stop_responders;
	_Atomic bool gentle;		/* handlers map and answer at once */
	_Atomic bool hold;		/* deferred handlers wait */
	_Atomic bool quiet;		/* no DMA to managed memory is submitted */
	_Atomic uint64_t passes;	/* of the traffic thread */
	unsigned int hits;		/* DMAs that did not fault, since the last unmap */
	pthread_mutex_t power;		/* stop, start, power */
	pthread_mutex_t regions;	/* allocate and free managed memory */
	pthread_mutex_t moving;		/* pollers */
	unsigned int poller_of[2];
	struct fire_counts n;
	/* Of domains that were destroyed. */
	_Atomic uint64_t old_faults, old_answers, old_terminated, old_joined, old_counted;
	_Atomic unsigned int errors;
};

extern struct fire fire;

/* An error of any thread: printed, and counted in fire.errors. */
#define FIRE_CHECK(cond_, ...)							\
	do {									\
		if (!(cond_))							\
			fire_fail(__FILE__, __LINE__, #cond_, __VA_ARGS__);	\
	} while (0)
void fire_fail(const char *file, int line, const char *what, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* A wait that does not end: dump everything and abort. */
void fire_hang(const char *what);
/* A bound for waits of minutes: true once it is over. */
bool fire_is_late(uint64_t since);

/* A random number below n, by the seed and the thread. */
unsigned int fire_pick(unsigned int n);
static inline void
fire_count(_Atomic uint64_t *n)
{
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

void fire_open(const char *name, uint32_t seed);
void fire_close(void);
uint64_t fire_faults(void);

/* Whose table is changed: the parent of a nested space. */
static inline struct iopf_domain *
fire_owner(const struct fire_space *s)
{
	return s->nested ? s->parent : s->domain;
}

/* Any space that the seat's device can have, or one that it could. */
struct fire_space *fire_choose_space(const struct fire_seat *seat);
bool fire_space_fits(const struct fire_space *s, const struct fire_seat *seat);
/* A counter of the space, and of a nested one's parent. */
uint64_t fire_space_stat(const struct fire_space *s, enum iopf_stat stat);
/* A guest's bypass of stage 1, and its end: IPAs are the VAs, so that nothing else changes. */
void fire_bypass(void);
/* Map the guest's pages of a nested space. */
void fire_map_guest(const struct fire_space *s);
void fire_space_create(struct fire_space *s);
void fire_space_destroy(struct fire_space *s);
/*
 * Let some pages fault again. Their frames are free for a moment. Without @p wait it does not wait
 * for other threads of the test. False: one has a lock of the space.
 */
bool fire_space_unmap(struct fire_space *s, bool wait);
/* Wait until no DMA to the pages of the space is outstanding. Its base is 0, or fire.quiet set. */
void fire_space_wait(const struct fire_space *s);

enum iopf_verdict fire_handle(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);
enum iopf_verdict fire_handle_deferred(struct iopf_domain *domain,
		const struct iopf_group *group, void *ctx);
void fire_handle_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
void *fire_respond(void *arg);

/* The first words of page @p page of a space. */
uint64_t fire_stamp(uint32_t owner, unsigned int page);
/* Take the DMAs that ended and submit others, if asked to. Returns those outstanding. */
unsigned int fire_traffic(bool more);
/* Each attached engine reads each page: all succeed. */
void fire_traffic_calm(void);

/* Choose policies for a space; @p storm must live until the domain is created. */
const struct iopf_storm_conf *fire_choose_storm(struct fire_space *s,
		struct iopf_storm_conf *storm);
/* Two devices, one with PRI, pass a rate in this round. */
void fire_choose_rated(void);
/* A handler has a fault of the device. */
void fire_note_fault(struct fire_dev *d, const struct iopf_fault *fault);
/* Choose limits for a device, or none: NULL. */
const struct iopf_dev_limits *fire_choose_limits(struct fire_dev *d,
		struct iopf_dev_limits *limits);
/* Deeds of the control threads. */
void fire_rearm(void);
void fire_quarantine(void);
void fire_set_handler(void);
void fire_listen_to_dev(void);

void fire_listen_open(void);
void *fire_listen(void *arg);
/* The IOMMU is stopped: read what is left, and check the counters. */
void fire_listen_close(void);

/* Its detach has not returned: the caller is a callback of an attachment of the space. */
void fire_check_attached(const struct fire_space *s, const struct iopf_dev *dev, uint32_t pasid);

void fire_dev_add(struct fire_dev *d);
int fire_attach(struct fire_seat *seat, struct fire_space *s);
void fire_detach(struct fire_seat *seat);
/* Detach any seat: faults that wait for ever end. The caller may hold the locks of a space. */
void fire_free_seat(void);
void *fire_control(void *arg);
/* Detach all seats. No control thread runs. */
void fire_detach_all(void);
/* Remove the devices and add them again, without limits if handlers are gentle. */
void fire_renew_devs(void);
void fire_attach_all(void);

/* Each kind of change and each policy has been there. */
bool fire_had_all(void);
void fire_check_round(void);

#endif /* FIRE_H */
