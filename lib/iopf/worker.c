/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Worker threads sleep until woken. The poll thread puts an id into the ring, and wakes a worker
 * thread only if one sleeps:
 *
 *	poll thread			worker thread
 *	enqueue				nb_asleep++
 *	full barrier			full barrier
 *	nb_asleep != 0: nb_asleep--	ring empty: wait for the semaphore
 *	and post the semaphore		otherwise: nb_asleep--
 *
 * At least one of the two sees the other's store (devtools/spin/wake.pml). Each post is preceded by
 * a decrement of nb_asleep. So a worker thread that cannot decrement nb_asleep, which is 0,
 * waits for the post that is due to it.
 *
 * The post is the only system call of the poll thread. It is made only if a worker thread sleeps:
 * never for a fault that the fast handler answers, and never while the workers are busy. A worker
 * thread yields several times before it sleeps, so that faults deferred in close succession cost
 * one wake-up.
 *
 * A group can be deferred again before the handler that takes it has returned. The thread that
 * finds such a group puts it back. Once it has found as many in a row as the list has, it sleeps
 * for HANDLING_SLEEP_NS, or until it is woken. It must look again by itself: the poll thread, whose
 * handler may be the one that takes the group, wakes no thread when it returns. A thread whose time
 * is up decrements nb_asleep, or waits for the post that is due to it.
 *
 * Groups that are deferred again have a list of their own, with a lock, and do not use the ring: a
 * thread that is preempted in the middle of an enqueue blocks the other producers, and the poll
 * thread must not wait for a thread that has no core of its own.
 */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_bitops.h>
#include <rte_lcore.h>
#include <rte_ring_elem.h>

#include "answer.h"
#include "attachment.h"
#include "call.h"
#include "domain.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "iopf_support.h"
#include "prg.h"
#include "rcu.h"
#include "worker.h"

#define DEFAULT_SIZE	65536
#define MAX_SIZE	(1u << 20)
/* Looks that find no group, each followed by a yield, before a thread sleeps. */
#define YIELDS_BEFORE_SLEEP	32
#define HANDLING_SLEEP_NS	1000000

/* slot_enter_handling() has counted the call. */
static enum iopf_verdict
deferred_run(struct iopf_domain *domain, struct iopf_handlers *handlers,
		const struct iopf_group *group)
{
	enum iopf_verdict verdict;

	iopf_self.in_handler = true;
	verdict = handlers->deferred(domain, group, handlers->ctx);
	iopf_self.in_handler = false;
	/* Release: with the acquire in deferred_await(). */
	atomic_fetch_sub_explicit(&handlers->nb_running, 1, memory_order_release);
	return verdict;
}

static __rte_noinline __rte_cold void
deferred_log(struct iopf_domain *domain, enum iopf_verdict verdict)
{
	IOPF_LOG_LIMITED(&domain->log, "%s: its deferred handler returned %d (%#x): return "
			"IOPF_ANSWER(code) or IOPF_TAKEN", domain->name, (int)verdict,
			(unsigned int)verdict);
}

/* True: the caller must post once, for a thread that sleeps or is about to sleep. */
static bool
sleeper_claim(struct iopf_worker *worker)
{
	uint32_t n = atomic_load_explicit(&worker->nb_asleep, memory_order_relaxed);

	while (n != 0)
		if (atomic_compare_exchange_weak_explicit(&worker->nb_asleep, &n, n - 1,
				memory_order_relaxed, memory_order_relaxed))
			return true;
	return false;
}

/* Wake a thread, if one sleeps. The caller has enqueued the group before. */
static inline void
worker_wake(struct iopf_worker *worker)
{
	/* Pairs with the fences in sleep_until_woken() and sleep_during_handling(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (unlikely(sleeper_claim(worker)))
		sem_post(&worker->wake);
}

/* Returns 0 or -ENOSPC. The caller wakes a thread, or handles the group itself. */
static int
again_list_add(struct iopf_worker *worker, uint64_t id)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&worker->again_lock);
	if (worker->nb_again < worker->max_again) {
		worker->again[(worker->first_again + worker->nb_again) % worker->max_again] = id;
		/* Written under the lock, read without it. */
		atomic_store_explicit(&worker->nb_again, worker->nb_again + 1,
				memory_order_relaxed);
		ret = 0;
	}
	pthread_mutex_unlock(&worker->again_lock);
	return ret;
}

static int
worker_defer_again(struct iopf_worker *worker, uint64_t id)
{
	int ret = again_list_add(worker, id);

	if (ret == 0)
		worker_wake(worker);
	return ret;
}

static __rte_noinline bool
again_list_take(struct iopf_worker *worker, uint64_t *id)
{
	bool got;

	pthread_mutex_lock(&worker->again_lock);
	got = worker->nb_again != 0;
	if (got) {
		*id = worker->again[worker->first_again];
		worker->first_again = (worker->first_again + 1) % worker->max_again;
		atomic_store_explicit(&worker->nb_again, worker->nb_again - 1,
				memory_order_relaxed);
	}
	pthread_mutex_unlock(&worker->again_lock);
	return got;
}

/*
 * Take the slot of an id: its state becomes HANDLING. NULL: the group was answered meanwhile, and
 * the slot has another generation, and its IOMMU may be closed; or the group is in its handler
 * still, and back in the list.
 */
static struct iopf_slot *
slot_enter_handling(struct iopf_worker *worker, uint64_t id, bool again, struct iopf_queue **q,
		struct iopf_handlers **handlers, bool *in_handler)
{
	uint64_t gen = IOPF_ID_GEN(id);
	uint64_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint64_t from = IOPF_SLOT_WORD(gen, again ? IOPF_SLOT_TAKEN : IOPF_SLOT_QUEUED), word;
	struct iopf_slot *slot;

	iopf_rcu_read_lock();
	slot = iopf_slot_find(id, q);
	if (slot != NULL && !iopf_slot_cas(slot, from, handling)) {
		word = iopf_slot_load(slot);
		if (again && (word == handling || word == from)) {
			/* The handler that takes the group has not returned, or has just now. */
			if (again_list_add(worker, id) < 0)	/* or it would never be answered */
				iopf_group_respond(id, IOPF_INVALID);
			*in_handler = word == handling;
			atomic_fetch_add_explicit(&worker->nb_put_back, 1, memory_order_relaxed);
		}
		slot = NULL;
	} else if (slot != NULL) {
		/* A detach waits for this handler: the attachment stays, and its domain. */
		*handlers = iopf_domain_handlers(slot->attachment->domain);
		atomic_fetch_add_explicit(&(*handlers)->nb_running, 1, memory_order_relaxed);
	}
	iopf_rcu_read_unlock();
	return slot;
}

/* False: the group is in its handler still, and was put back. */
static bool
group_run_deferred(struct iopf_worker *worker, uint64_t id, bool again)
{
	bool in_handler = false;
	uint64_t gen = IOPF_ID_GEN(id);
	uint64_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	struct iopf_attachment *attachment;
	const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
	struct iopf_group group = { .id = id, .faults = faults };
	struct iopf_slot *slot;
	struct iopf_queue *q;
	struct iopf_handlers *handlers;
	enum iopf_verdict verdict;
	bool ours;

	slot = slot_enter_handling(worker, id, again, &q, &handlers, &in_handler);
	if (slot == NULL)
		return !in_handler;
	attachment = slot->attachment;
	group.nb_faults = iopf_prg_list_faults(q, slot, faults);
	group.dev = attachment->dev;
	group.pasid = slot->fault.pasid;
	verdict = deferred_run(attachment->domain, handlers, &group);
	iopf_rcu_read_lock();
	if (verdict == IOPF_TAKEN) {
		iopf_domain_count(attachment->domain, IOPF_STAT_TAKEN, 1);
		if (iopf_slot_cas(slot, handling, IOPF_SLOT_WORD(gen, IOPF_SLOT_TAKEN))) {
			iopf_rcu_read_unlock();
			return true;
		}
	} else {
		enum iopf_code code = verdict & 0xff, judged = code;

		/* A deferred handler can only answer or take. Another value judges nothing. */
		if (unlikely((verdict & ~0xff) != IOPF_VERDICT_ANSWER ||
				code >= IOPF_NB_CODES)) {
			deferred_log(attachment->domain, verdict);
			code = IOPF_INVALID;
			judged = IOPF_SUCCESS;
		}
		iopf_slot_respond(q, slot, gen, code, judged, &ours);
	}
	/*
	 * The group is answered, by this thread or another one during the handler: this thread
	 * frees the slot. A detach that finds the slot free waits for a grace period before it
	 * returns.
	 */
	if (iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_DONE),
			iopf_slot_next_free_word(gen)))
		iopf_slot_free(q, slot);
	iopf_rcu_read_unlock();
	return true;
}

static bool
ring_get(struct iopf_worker *worker, uint64_t *id, bool *again)
{
	*again = false;
	return rte_ring_dequeue_elem(worker->ring, id, sizeof(*id)) == 0;
}

/* Get a group to handle. */
static bool
work_get(struct iopf_worker *worker, uint64_t *id, bool *again)
{
	if (ring_get(worker, id, again))
		return true;
	if (likely(atomic_load_explicit(&worker->nb_again, memory_order_relaxed) == 0))
		return false;
	*again = true;
	return again_list_take(worker, id);
}

/* Sleep until woken. True: a group came before the sleep; see *id. */
static bool
sleep_until_woken(struct iopf_worker *worker, uint64_t *id, bool *again)
{
	bool found;

	atomic_fetch_add_explicit(&worker->nb_asleep, 1, memory_order_relaxed);
	/* Pairs with the fences in worker_wake() and iopf_worker_destroy(). */
	atomic_thread_fence(memory_order_seq_cst);
	found = work_get(worker, id, again);
	if ((found || atomic_load_explicit(&worker->stop, memory_order_relaxed)) &&
			sleeper_claim(worker))
		return found;
	while (sem_wait(&worker->wake) < 0)
		;	/* EINTR */
	return found;
}

/* True: woken. */
static bool
wait_for_handling(struct iopf_worker *worker)
{
	struct timespec end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += HANDLING_SLEEP_NS;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	return sem_clockwait(&worker->wake, CLOCK_MONOTONIC, &end) == 0;
}

/*
 * The groups of the list are in their handlers: sleep for a short time, or until woken. True: a
 * group came into the ring before the sleep. One that comes into the list then waits for the end of
 * the sleep, at most.
 */
static bool
sleep_during_handling(struct iopf_worker *worker, uint64_t *id, bool *again)
{
	bool found;

	atomic_fetch_add_explicit(&worker->nb_asleep, 1, memory_order_relaxed);
	/* Pairs with the fences in worker_wake() and iopf_worker_destroy(). */
	atomic_thread_fence(memory_order_seq_cst);
	found = ring_get(worker, id, again);
	if (!found && !atomic_load_explicit(&worker->stop, memory_order_relaxed) &&
			wait_for_handling(worker))
		return false;
	if (sleeper_claim(worker))
		return found;
	while (sem_wait(&worker->wake) < 0)
		;	/* EINTR */
	return found;
}

static void *
worker_run(void *arg)
{
	struct iopf_worker *worker = arg;
	unsigned int yields = 0, nb_handling = 0;
	bool again, found;
	uint64_t id;

	/* Acquire: with the release in iopf_worker_destroy(). */
	while (!atomic_load_explicit(&worker->stop, memory_order_acquire)) {
		found = work_get(worker, &id, &again);
		if (!found && ++yields < YIELDS_BEFORE_SLEEP) {
			sched_yield();
			continue;
		}
		if (!found)
			found = sleep_until_woken(worker, &id, &again);
		while (found) {
			nb_handling = group_run_deferred(worker, id, again) ? 0 : nb_handling + 1;
			found = false;
			if (nb_handling == 0 || nb_handling < atomic_load_explicit(
					&worker->nb_again, memory_order_relaxed))
				continue;
			nb_handling = 0;
			found = sleep_during_handling(worker, &id, &again);
		}
		yields = 0;
	}
	return NULL;
}

int
iopf_worker_defer(struct iopf_worker *worker, uint64_t id)
{
	int ret = rte_ring_enqueue_elem(worker->ring, &id, sizeof(id));

	if (ret == 0)
		worker_wake(worker);
	return ret;
}

/* In the read section that keeps the domain. */
static __rte_noinline __rte_cold int
defer_refuse(struct iopf_domain *domain)
{
	IOPF_LOG_LIMITED(&domain->log, "%s: iopf_group_defer(): the domain has no deferred "
			"handler: set deferred and worker of its conf; the group still waits for "
			"its answer", domain->name);
	return -EINVAL;
}

int
iopf_group_defer(uint64_t id)
{
	struct iopf_attachment *attachment;
	struct iopf_domain *domain;
	struct iopf_slot *slot;
	struct iopf_queue *q;
	int ret = -ESTALE;

	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iopf_rcu_read_lock();
	slot = iopf_slot_find(id, &q);
	if (slot != NULL && IOPF_SLOT_GEN(iopf_slot_load(slot)) == IOPF_ID_GEN(id)) {
		/*
		 * Acquire: this load precedes that of the state below, as in a seqlock. If the
		 * generation has not changed, this is the group's attachment, stored before the
		 * release of the state. A detach frees it after this read section.
		 */
		attachment = __atomic_load_n(&slot->attachment, __ATOMIC_ACQUIRE);
		switch (iopf_slot_load(slot) ^ IOPF_SLOT_WORD(IOPF_ID_GEN(id), 0)) {
		case IOPF_SLOT_TAKEN:
		case IOPF_SLOT_HANDLING:
		case IOPF_SLOT_QUEUED:
			domain = attachment->domain;
			ret = domain->conf.worker == NULL ? defer_refuse(domain) :
				worker_defer_again(domain->conf.worker, id);
			break;
		default:
			break;
		}
	}
	iopf_rcu_read_unlock();
	return iopf_ret(ret);
}

static struct rte_ring *
ring_create(unsigned int size)
{
	ssize_t len = rte_ring_get_memsize_elem(sizeof(uint64_t), size);
	struct rte_ring *ring;

	if (len < 0)
		return NULL;
	ring = iopf_zalloc(len);
	if (ring == NULL)
		return NULL;
	if (rte_ring_init(ring, "iopf_worker", size, RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ) < 0) {
		free(ring);
		return NULL;
	}
	return ring;
}

struct iopf_worker *
iopf_worker_create(const struct iopf_worker_conf *conf)
{
	static const struct iopf_worker_conf defaults;
	unsigned int nb_threads, size;
	struct iopf_worker *worker;
	int ret = 0;

	if (conf == NULL)
		conf = &defaults;
	nb_threads = conf->nb_threads != 0 ? conf->nb_threads : 1;
	size = conf->size != 0 ? conf->size : DEFAULT_SIZE;
	if (nb_threads > 64 || size > MAX_SIZE) {
		IOPF_LOG(ERR, "worker: %u threads or a size of %u are too many; use at most 64 and "
				"%u", nb_threads,
				size, MAX_SIZE);
		rte_errno = EINVAL;
		return NULL;
	}
	size = rte_align32pow2(size);
	worker = calloc(1, sizeof(*worker) + nb_threads * sizeof(worker->threads[0]));
	if (worker == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	worker->name = strdup(conf->name != NULL ? conf->name : "worker");
	sem_init(&worker->wake, 0, 0);
	pthread_mutex_init(&worker->again_lock, NULL);
	worker->ring = ring_create(size * 2);
	worker->max_again = size;
	worker->again = calloc(size, sizeof(*worker->again));
	if (worker->name == NULL || worker->ring == NULL || worker->again == NULL) {
		IOPF_LOG(ERR, "worker: no memory for a ring of %u groups: use a smaller size",
				size);
		ret = -ENOMEM;
	}
	for (unsigned int i = 0; i < nb_threads && ret == 0; i++) {
		ret = iopf_thread_create(&worker->threads[i], "iopf-worker", worker_run, worker);
		if (ret == 0)
			worker->nb_threads++;
	}
	if (ret != 0) {
		if (ret != -ENOMEM)
			IOPF_LOG(ERR, "worker: no thread: %s: raise RLIMIT_NPROC (ulimit -u) or "
					"the control group's pids.max", rte_strerror(-ret));
		iopf_worker_destroy(worker);
		rte_errno = ret == -ENOMEM ? ENOMEM : EAGAIN;
		return NULL;
	}
	return worker;
}

int
iopf_worker_destroy(struct iopf_worker *worker)
{
	if (worker == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (atomic_load(&worker->nb_domains) != 0) {
		IOPF_LOG(ERR, "%s: %u domains use it; destroy them first", worker->name,
				atomic_load(&worker->nb_domains));
		return iopf_ret(-EBUSY);
	}
	atomic_store_explicit(&worker->stop, true, memory_order_release);
	/* Pairs with the fences in sleep_until_woken() and sleep_during_handling(). */
	atomic_thread_fence(memory_order_seq_cst);
	while (sleeper_claim(worker))
		sem_post(&worker->wake);
	for (unsigned int i = 0; i < worker->nb_threads; i++)
		pthread_join(worker->threads[i], NULL);
	sem_destroy(&worker->wake);
	pthread_mutex_destroy(&worker->again_lock);
	free(worker->again);
	free(worker->ring);
	free(worker->name);
	free(worker);
	return 0;
}
