/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "call.h"
#include "cancel.h"
#include "dispatch.h"
#include "fault_queue.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "pass.h"
#include "prg.h"
#include "rcu.h"

/* Passes between reads of the clock: rte_rdtsc() is a large part of an idle pass. */
#define CLOCK_PASSES	16
#define CHECKS_PER_S	1000
/* A queue without a pass for 1/STANDSTILLS_PER_S seconds has no poll thread. */
#define STANDSTILLS_PER_S	50
/* Idle passes between yields: without effect on a core that has no other thread. */
#define YIELD_PASSES	1024
#define MAX_QUEUES	64
/* Slots whose deadline is checked at a time. */
#define EXPIRE_SLOTS	256

struct poller_queues {
	unsigned int nb;
	struct iopf_queue *queues[MAX_QUEUES];
};

struct iopf_poller {
	char name[32];
	uint16_t burst;
	uint16_t bursts;
	_Atomic(struct poller_queues *) queues;
	_Atomic bool stop;
	_Atomic unsigned int inside;	/* calls under way of iopf_poller_run() and iopf_poll() */
};

_Thread_local struct iopf_thread iopf_self;

static pthread_mutex_t pollers_lock = PTHREAD_MUTEX_INITIALIZER;

int
iopf_may_wait(void)
{
	return iopf_ret(iopf_self.in_fast ? -EDEADLK : 0);
}

/*
 * The queue
 */

bool
iopf_queue_own(struct iopf_queue *q)
{
	/* Acquire: with the release in iopf_queue_disown(). */
	return atomic_load_explicit(&q->owned, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owned, 1, memory_order_acquire) == 0;
}

void
iopf_queue_disown(struct iopf_queue *q)
{
	atomic_store_explicit(&q->owned, 0, memory_order_release);
}

/* False: it has failed already, or a stop is under way, which ends all outstanding faults. */
static bool
iommu_mark_failed(struct iopf_iommu *iommu)
{
	uint32_t state = atomic_load(&iommu->state);

	while (state >= IOPF_STATE_RUNNING)
		if (atomic_compare_exchange_weak(&iommu->state, &state, IOPF_STATE_FAILED))
			return true;
	return false;
}

/* @p q is the event queue: only its owner calls the driver's check(). */
static void
errors_check(struct iopf_queue *q, uint64_t now)
{
	struct iopf_iommu *iommu = q->iommu;
	unsigned int flags;

	if (now < q->next_error_check)
		return;
	q->next_error_check = now + rte_get_tsc_hz() / CHECKS_PER_S;
	/*
	 * Acquire: with the release in iopf_answering_end(). This check may enable the IOMMU
	 * again: answers that were claimed before its recovery must be out.
	 */
	if (iommu->recovering &&
			atomic_load_explicit(&iommu->answering, memory_order_acquire) != 0)
		return;
	flags = iommu->driver->ops.check(iommu->priv);
	iommu->recovering = flags & IOPF_CHECK_TERMINATED;
	if (likely(flags == 0))
		return;
	if ((flags & IOPF_CHECK_DEAD) && !iommu_mark_failed(iommu))
		return;
	if (flags & (IOPF_CHECK_TERMINATED | IOPF_CHECK_DEAD)) {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_RESETS, 1);
		iopf_queue_cancel(q, NULL, IOPF_CANCEL_TERMINATED);
	}
	if ((flags & IOPF_CHECK_DEAD) && iommu->info.nb_queues > IOPF_QUEUE_REQUESTS) {
		/* Page requests survive a recovery. A failed IOMMU delivers no answers. */
		iopf_queue_cancel(&iommu->queues[IOPF_QUEUE_REQUESTS], NULL,
				IOPF_CANCEL_TERMINATED);
	}
}

static void
queue_check(struct iopf_queue *q)
{
	struct iopf_iommu *iommu = q->iommu;
	uint64_t now = rte_rdtsc();

	if (now < q->next_check)
		return;
	q->next_check = now + rte_get_tsc_hz() / CHECKS_PER_S;
	if (atomic_load_explicit(&iommu->nb_deadlines, memory_order_relaxed) != 0 ||
			iopf_queue_is_pressed(q))
		iopf_queue_expire(q, now, RTE_MIN(q->nb_slots, (uint32_t)EXPIRE_SLOTS));
	if (q->prg != NULL) {
		iopf_self.in_fast = true;
		iopf_prg_discard_old(q, now - iommu->partial_cycles);
		iopf_self.in_fast = false;
		/* Check for errors also if no thread polls the event queue. */
		q = &iommu->queues[IOPF_QUEUE_EVENTS];
		if (!iopf_queue_own(q))
			return;
		errors_check(q, now);
		iopf_queue_disown(q);
		return;
	}
	errors_check(q, now);
}

static unsigned int
queue_run_pass(struct iopf_queue *q, uint16_t burst, uint16_t bursts)
{
	uint32_t passes;
	unsigned int n;

	if (!iopf_iommu_is_polled(q->iommu) || !iopf_queue_own(q))
		return 0;
	n = iopf_queue_run_bursts(q, burst, bursts);
	passes = atomic_load_explicit(&q->passes, memory_order_relaxed) + 1;
	atomic_store_explicit(&q->passes, passes, memory_order_relaxed);
	if ((passes & (CLOCK_PASSES - 1)) == 0)
		queue_check(q);
	iopf_queue_disown(q);
	return n;
}

void
iopf_stand_in_begin(const struct iopf_queue *q, struct iopf_stand_in *stand_in)
{
	stand_in->passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	stand_in->since = rte_rdtsc();
}

unsigned int
iopf_stand_in_poll(struct iopf_queue *q, struct iopf_stand_in *stand_in)
{
	uint64_t patience = q->poller != NULL ? rte_get_tsc_hz() / STANDSTILLS_PER_S : 0;
	uint32_t passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	unsigned int n;

	if (passes != stand_in->passes) {
		iopf_stand_in_begin(q, stand_in);
		return 0;
	}
	if (rte_rdtsc() - stand_in->since < patience)
		return 0;
	iopf_rcu_read_lock();
	n = queue_run_pass(q, IOPF_MAX_BURST, 4);
	iopf_rcu_read_unlock();
	stand_in->passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
	return n;
}

/*
 * For a driver without queue_mark: drain the queue. True: it is empty. False: records may be left,
 * or another thread owns the queue.
 */
static bool
queue_read_all(struct iopf_queue *q)
{
	bool empty = false;

	iopf_rcu_read_lock();
	if (iopf_iommu_is_polled(q->iommu) && iopf_queue_own(q)) {
		empty = iopf_queue_run_bursts(q, IOPF_MAX_BURST, 4) < 4 * IOPF_MAX_BURST;
		iopf_queue_disown(q);
	}
	iopf_rcu_read_unlock();
	return empty;
}

static bool
fence_is_passed(struct iopf_queue *q, uint64_t mark)
{
	const struct iopf_driver_ops *ops = &q->iommu->driver->ops;

	return ops->queue_mark != NULL ? ops->queue_passed(q->iommu->priv, q->id, mark) :
			queue_read_all(q);
}

int
iopf_queue_fence(struct iopf_queue *q, uint64_t end)
{
	const struct iopf_driver_ops *ops = &q->iommu->driver->ops;
	void *priv = q->iommu->priv;
	struct iopf_stand_in stand_in;
	uint64_t mark;

	if (!iopf_iommu_is_serving(q->iommu))
		return 0;
	mark = ops->queue_mark != NULL ? ops->queue_mark(priv, q->id) : 0;
	iopf_stand_in_begin(q, &stand_in);
	while (!fence_is_passed(q, mark)) {
		/* A stop ends the faults in the queue. */
		if (!iopf_iommu_is_serving(q->iommu))
			return 0;
		if (iopf_wait_is_over(end)) {
			IOPF_LOG(ERR, "\"%s\": queue %u was not read within wait_ms, since a fast "
					"handler or a poll thread does not return; detach or "
					"remove the device again", q->iommu->name, q->id);
			return -ETIMEDOUT;
		}
		if (iopf_stand_in_poll(q, &stand_in) == 0)
			ops->wait(priv);
	}
	return 0;
}

int
iopf_iommu_fence(struct iopf_iommu *iommu, uint64_t end)
{
	int ret = 0;

	for (unsigned int i = 0; i < iommu->info.nb_queues && ret == 0; i++)
		ret = iopf_queue_fence(&iommu->queues[i], end);
	return ret;
}

/*
 * The poller
 */

struct iopf_poller *
iopf_poller_create(const struct iopf_poller_conf *conf)
{
	static const struct iopf_poller_conf defaults;
	struct poller_queues *queues;
	struct iopf_poller *poller;

	if (conf == NULL)
		conf = &defaults;
	if (conf->burst > IOPF_MAX_BURST) {
		IOPF_LOG(ERR, "poller: a burst of %u is too large; use at most %u", conf->burst,
				IOPF_MAX_BURST);
		rte_errno = EINVAL;
		return NULL;
	}
	poller = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*poller), RTE_CACHE_LINE_SIZE));
	queues = calloc(1, sizeof(*queues));
	if (poller == NULL || queues == NULL) {
		free(poller);
		free(queues);
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(poller, 0, sizeof(*poller));
	snprintf(poller->name, sizeof(poller->name), "%s",
			conf->name != NULL ? conf->name : "poller");
	poller->burst = conf->burst != 0 ? conf->burst : 32;
	poller->bursts = conf->bursts != 0 ? conf->bursts : 4;
	atomic_init(&poller->queues, queues);
	return poller;
}

static int
poller_change_queue(struct iopf_poller *poller, struct iopf_queue *q, bool add)
{
	struct poller_queues *old = NULL, *new = calloc(1, sizeof(*new));
	int ret = 0;

	if (new == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&pollers_lock);
	if (atomic_load(&q->poller) != (add ? NULL : poller)) {
		ret = add ? -EEXIST : -EINVAL;
		goto unlock;
	}
	old = atomic_load(&poller->queues);
	for (unsigned int i = 0; i < old->nb; i++)
		if (old->queues[i] != q)
			new->queues[new->nb++] = old->queues[i];
	if (add && new->nb == MAX_QUEUES) {
		ret = -ENOSPC;
		goto unlock;
	}
	if (add)
		new->queues[new->nb++] = q;
	/* Release: with the acquire in iopf_poll(). */
	atomic_store_explicit(&poller->queues, new, memory_order_release);
	atomic_store(&q->poller, add ? poller : NULL);
unlock:
	pthread_mutex_unlock(&pollers_lock);
	if (ret == 0)
		iopf_rcu_synchronize();
	free(ret == 0 ? old : new);
	return ret;
}

static void
log_queue_error(const struct iopf_poller *poller, const struct iopf_queue *q, int error)
{
	const char *name = q->iommu->name;

	if (error == -EEXIST)
		IOPF_LOG(ERR, "%s: queue %u of \"%s\" is in a poller already; remove it from there "
				"first", poller->name, q->id, name);
	else if (error == -ENOSPC)
		IOPF_LOG(ERR, "%s: has the maximum of %u queues, so queue %u of \"%s\" cannot be "
				"added; use another poller", poller->name, MAX_QUEUES, q->id, name);
	else if (error == -EINVAL)
		IOPF_LOG(ERR, "%s: queue %u of \"%s\" is not in this poller; remove it from its "
				"own", poller->name, q->id, name);
}

static int
poller_change_queues(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue, bool add)
{
	uint32_t first = queue == IOPF_QUEUE_ALL ? 0 : queue;
	uint32_t last = queue + 1;
	uint32_t i, changed = 0;
	int ret = 0;

	if (poller == NULL || iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (queue == IOPF_QUEUE_ALL)
		last = iommu->info.nb_queues;
	else if (queue >= iommu->info.nb_queues)
		ret = -EINVAL;
	if (ret < 0) {
		IOPF_LOG(ERR, "\"%s\" has no queue %u: 0 to %u, or IOPF_QUEUE_ALL", iommu->name,
				queue, iommu->info.nb_queues - 1);
		return iopf_ret(ret);
	}
	for (i = first; i < last && ret == 0; i++) {
		ret = poller_change_queue(poller, &iommu->queues[i], add);
		if (ret == 0)
			changed++;
		else if (ret == -EINVAL && queue == IOPF_QUEUE_ALL)
			ret = 0;	/* to remove all is to remove those that are there */
	}
	if (ret == 0 && changed == 0) {
		ret = -EINVAL;
		i = first + 1;
	}
	if (ret < 0)
		log_queue_error(poller, &iommu->queues[i - 1], ret);
	/* All or none. */
	for (i = first; add && ret < 0 && i < first + changed; i++)
		poller_change_queue(poller, &iommu->queues[i], false);
	return iopf_ret(ret);
}

int
iopf_poller_add(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue)
{
	return poller_change_queues(poller, iommu, queue, true);
}

int
iopf_poller_remove(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue)
{
	return poller_change_queues(poller, iommu, queue, false);
}

int
iopf_poller_destroy(struct iopf_poller *poller)
{
	struct poller_queues *queues;

	if (poller == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (atomic_load(&poller->inside) != 0) {
		IOPF_LOG(ERR, "%s: a thread is inside iopf_poll(); call iopf_poller_stop() and "
				"wait for the thread first", poller->name);
		return iopf_ret(-EBUSY);
	}
	for (queues = atomic_load(&poller->queues); queues->nb > 0;
			queues = atomic_load(&poller->queues)) {
		struct iopf_queue *q = queues->queues[0];
		int ret = iopf_poller_remove(poller, q->iommu, q->id);

		if (ret < 0)
			return ret;
	}
	free(queues);
	free(poller);
	return 0;
}

/* A pass inside a handler would end that handler's own: see iopf_self. */
static __rte_noinline unsigned int
poll_refuse(const struct iopf_poller *poller)
{
	static struct iopf_log_limit limit;

	rte_errno = poller == NULL ? EINVAL : EDEADLK;
	if (poller != NULL)
		IOPF_LOG_LIMITED(&limit, "%s: iopf_poll() in a fast handler does nothing: return "
				"from the handler first", poller->name);
	return 0;
}

unsigned int
iopf_poll(struct iopf_poller *poller)
{
	struct poller_queues *queues;
	unsigned int n = 0;

	if (unlikely(poller == NULL || iopf_self.in_fast))
		return poll_refuse(poller);
	atomic_store_explicit(&poller->inside, poller->inside + 1, memory_order_relaxed);
	iopf_rcu_read_lock();
	/* Acquire: with the release in poller_change_queue(). */
	queues = atomic_load_explicit(&poller->queues, memory_order_acquire);
	for (unsigned int i = 0; i < queues->nb; i++)
		n += queue_run_pass(queues->queues[i], poller->burst, poller->bursts);
	iopf_rcu_read_unlock();
	atomic_store_explicit(&poller->inside, poller->inside - 1, memory_order_relaxed);
	return n;
}

int
iopf_poller_run(void *arg)
{
	struct iopf_poller *poller = arg;
	unsigned int idle = 0;

	if (poller == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	atomic_fetch_add(&poller->inside, 1);
	while (!atomic_load_explicit(&poller->stop, memory_order_relaxed)) {
		if (iopf_poll(poller) != 0) {
			idle = 0;
			continue;
		}
		/* Another thread, such as one of the model, may need this core. */
		if (++idle % YIELD_PASSES == 0)
			sched_yield();
		else
			rte_pause();
	}
	atomic_store(&poller->stop, false);
	atomic_fetch_sub(&poller->inside, 1);
	return 0;
}

void
iopf_poller_stop(struct iopf_poller *poller)
{
	if (poller != NULL)
		atomic_store(&poller->stop, true);
}
