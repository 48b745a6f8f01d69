/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Pollers: which queues a poll thread reads. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "call.h"
#include "fault_queue.h"
#include "hazard.h"
#include "iommu.h"
#include "iopf_log.h"
#include "pass.h"
#include "poller.h"
#include "rcu.h"

static pthread_mutex_t pollers_lock = PTHREAD_MUTEX_INITIALIZER;
/*
 * Taken before pollers_lock. One change of lists at a time, until no poll thread uses the old ones:
 * so a poll thread that sleeps has the list of now or the one that is being replaced, for which
 * that change waits. Poll threads do not take it.
 */
static pthread_mutex_t changes_lock = PTHREAD_MUTEX_INITIALIZER;

static bool
conf_is_valid(const struct iopf_poller_conf *conf)
{
	if (conf->burst > IOPF_MAX_BURST) {
		IOPF_LOG(ERR, "poller: a burst of %u is too large; use at most %u", conf->burst,
				IOPF_MAX_BURST);
		return false;
	}
	if ((unsigned int)conf->idle > IOPF_IDLE_SLEEP) {
		IOPF_LOG(ERR, "poller: %u is no idle policy; use one of enum iopf_idle",
				(unsigned int)conf->idle);
		return false;
	}
	return true;
}

static void
poller_free(struct iopf_poller *poller)
{
	if (poller->fd >= 0)
		close(poller->fd);
	free(atomic_load(&poller->queues));
	free(poller);
}

struct iopf_poller *
iopf_poller_create(const struct iopf_poller_conf *conf)
{
	static const struct iopf_poller_conf defaults;
	static _Atomic unsigned int serial;
	struct iopf_poller *poller;
	int error = 0;

	if (conf == NULL)
		conf = &defaults;
	if (!conf_is_valid(conf)) {
		rte_errno = EINVAL;
		return NULL;
	}
	poller = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*poller), RTE_CACHE_LINE_SIZE));
	if (poller == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(poller, 0, sizeof(*poller));
	poller->id = atomic_fetch_add(&serial, 1);
	snprintf(poller->name, sizeof(poller->name), "%s",
			conf->name != NULL ? conf->name : "poller");
	poller->burst = conf->burst != 0 ? conf->burst : 32;
	poller->bursts = conf->bursts != 0 ? conf->bursts : 4;
	poller->idle = conf->idle;
	poller->idle_passes = conf->idle_passes;
	if (poller->idle_passes == 0)
		poller->idle_passes = conf->idle == IOPF_IDLE_SLEEP ? 4096 : 16;
	poller->fd = -1;
	atomic_init(&poller->queues, calloc(1, sizeof(struct iopf_poller_queues)));
	if (atomic_load(&poller->queues) == NULL)
		error = ENOMEM;
	if (error == 0 && poller->idle == IOPF_IDLE_SLEEP) {
		poller->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (poller->fd < 0)
			error = errno;
	}
	if (error != 0) {
		poller_free(poller);
		rte_errno = error;
		return NULL;
	}
	return poller;
}

/* A list without these queues. NULL: no memory. */
static struct iopf_poller_queues *
queues_copy_without(const struct iopf_poller *poller, struct iopf_queue *const *qs, unsigned int n)
{
	const struct iopf_poller_queues *old = atomic_load(&poller->queues);
	struct iopf_poller_queues *new = calloc(1, sizeof(*new));

	if (new == NULL)
		return NULL;
	new->change = old->change + 1;
	for (unsigned int i = 0; i < old->nb; i++) {
		bool out = false;

		for (unsigned int j = 0; j < n; j++)
			out |= old->queues[i] == qs[j];
		if (!out)
			new->queues[new->nb++] = old->queues[i];
	}
	return new;
}

/* Under pollers_lock. Returns the old list. */
static struct iopf_poller_queues *
queues_publish(struct iopf_poller *poller, struct iopf_poller_queues *new)
{
	struct iopf_poller_queues *old;

	for (unsigned int i = 0; i < new->nb; i++)
		new->peeks[i] = new->queues[i]->peek;
	/*
	 * Release: with the acquire in iopf_poll(). Sequentially consistent: with the hazard
	 * pointer of a poll thread that sleeps.
	 */
	old = atomic_exchange(&poller->queues, new);
	iopf_poller_wake(poller);
	return old;
}

/* Under changes_lock alone. No poll thread uses the old lists any more when it returns. */
static void
queues_free(struct iopf_poller_queues *const *old, unsigned int n)
{
	iopf_rcu_synchronize();
	for (unsigned int i = 0; i < n; i++) {
		/* A poll thread that slept with this list was woken. */
		iopf_hazard_wait(old[i]);
		free(old[i]);
	}
}

void
iopf_pollers_wake(struct iopf_iommu *iommu, const struct iopf_poller *self)
{
	const struct iopf_poller *poller, *last = self;

	/* A poller that has a queue is not destroyed meanwhile. */
	pthread_mutex_lock(&pollers_lock);
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++) {
		poller = atomic_load(&iommu->queues[i].poller);
		if (poller != NULL && poller != self && poller != last)
			iopf_poller_wake(poller);
		last = poller;
	}
	pthread_mutex_unlock(&pollers_lock);
}

static int
poller_change_queue(struct iopf_poller *poller, struct iopf_queue *q, bool add)
{
	struct iopf_poller_queues *old, *new;
	int ret = 0;

	pthread_mutex_lock(&changes_lock);
	pthread_mutex_lock(&pollers_lock);
	new = queues_copy_without(poller, &q, 1);
	if (new == NULL)
		ret = -ENOMEM;
	else if (atomic_load(&q->poller) != (add ? NULL : poller))
		ret = add ? -EEXIST : -EINVAL;
	else if (add && new->nb == IOPF_POLLER_MAX_QUEUES)
		ret = -ENOSPC;
	if (ret == 0) {
		if (add)
			new->queues[new->nb++] = q;
		old = queues_publish(poller, new);
		atomic_store(&q->poller, add ? poller : NULL);
	}
	pthread_mutex_unlock(&pollers_lock);
	if (ret == 0)
		queues_free(&old, 1);
	else
		free(new);
	pthread_mutex_unlock(&changes_lock);
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
				"added; use another poller", poller->name, IOPF_POLLER_MAX_QUEUES,
				q->id, name);
	else if (error == -EINVAL)
		IOPF_LOG(ERR, "%s: queue %u of \"%s\" is not in this poller; remove it from its "
				"own", poller->name, q->id, name);
}

/* The queues [*first, *last) that an argument of the application names. */
static int
args_check(const struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue,
		uint32_t *first, uint32_t *last)
{
	if (poller == NULL || iommu == NULL)
		return -EINVAL;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return -EDEADLK;
	*first = queue == IOPF_QUEUE_ALL ? 0 : queue;
	*last = queue == IOPF_QUEUE_ALL ? iommu->info.nb_queues : queue + 1;
	if (*last <= iommu->info.nb_queues)
		return 0;
	IOPF_LOG(ERR, "\"%s\" has no queue %u: 0 to %u, or IOPF_QUEUE_ALL", iommu->name, queue,
			iommu->info.nb_queues - 1);
	return -EINVAL;
}

static int
poller_change_queues(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue, bool add)
{
	uint32_t i, first, last, changed = 0;
	int ret = args_check(poller, iommu, queue, &first, &last);

	if (ret < 0)
		return iopf_ret(ret);
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

/*
 * Under pollers_lock. The new poller gets the queues before the old ones lose them, so that no
 * moment is without a poll thread; iopf_queue_own() lets one of the two in at a time. Returns the
 * number of old lists, or -errno and changes nothing.
 */
static int
queues_move(struct iopf_poller *to, struct iopf_queue *const *qs, unsigned int n,
		struct iopf_poller_queues **old)
{
	struct iopf_poller *pollers[IOPF_MAX_QUEUES + 1] = { to };
	struct iopf_poller_queues *new[IOPF_MAX_QUEUES + 1] = { NULL };
	unsigned int nb = 1, made = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct iopf_poller *from = atomic_load(&qs[i]->poller);

		if (from != to && (nb == 1 || from != pollers[nb - 1]))
			pollers[nb++] = from;
	}
	while (made < nb && (new[made] = queues_copy_without(pollers[made], qs, n)) != NULL)
		made++;
	if (made < nb || new[0]->nb + n > IOPF_POLLER_MAX_QUEUES) {
		int ret = made < nb ? -ENOMEM : -ENOSPC;

		while (made > 0)
			free(new[--made]);
		return ret;
	}
	for (unsigned int i = 0; i < n; i++)
		new[0]->queues[new[0]->nb++] = qs[i];
	for (unsigned int i = 0; i < nb; i++)
		old[i] = queues_publish(pollers[i], new[i]);
	for (unsigned int i = 0; i < n; i++)
		atomic_store(&qs[i]->poller, to);
	return nb;
}

int
iopf_poller_move(struct iopf_poller *to, struct iopf_iommu *iommu, uint32_t queue)
{
	struct iopf_poller_queues *old[IOPF_MAX_QUEUES + 1];
	struct iopf_queue *qs[IOPF_MAX_QUEUES];
	uint32_t first, last;
	unsigned int n = 0;
	int ret = args_check(to, iommu, queue, &first, &last);

	if (ret < 0)
		return iopf_ret(ret);
	pthread_mutex_lock(&changes_lock);
	pthread_mutex_lock(&pollers_lock);
	/* To move all is to move those that are in a poller. */
	for (uint32_t i = first; i < last; i++)
		if (atomic_load(&iommu->queues[i].poller) != NULL)
			qs[n++] = &iommu->queues[i];
	ret = n != 0 ? queues_move(to, qs, n, old) : -EINVAL;
	pthread_mutex_unlock(&pollers_lock);
	if (ret > 0)
		queues_free(old, ret);
	pthread_mutex_unlock(&changes_lock);
	if (n == 0)
		IOPF_LOG(ERR, "%s: queue %u of \"%s\" is in no poller: use iopf_poller_add()",
				to->name, first, iommu->name);
	else if (ret < 0)
		log_queue_error(to, &iommu->queues[first], ret);
	return ret < 0 ? iopf_ret(ret) : 0;
}

int
iopf_poller_destroy(struct iopf_poller *poller)
{
	struct iopf_poller_queues *queues;

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
	/* Each is at its last instructions: they do not wait. */
	while (atomic_load(&poller->stoppers) != 0)
		sched_yield();
	poller_free(poller);
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

/* Nothing is ordered by these loads: see struct iopf_peek. */
static inline bool
peek_is_idle(const struct iopf_peek *peek)
{
	return __atomic_load_n(peek->word, __ATOMIC_RELAXED) ==
		__atomic_load_n(&peek->idle, __ATOMIC_RELAXED);
}

/*
 * A pass over all queues. The ownership of a queue is an atomic exchange, the largest part of a
 * pass that finds nothing. So a queue that peeks idle is left out, but one of them, in turn, is
 * visited in any case: within nb passes each queue has all that a pass does, not its records alone.
 * A pass over one queue leaves nothing out.
 */
unsigned int
iopf_poll(struct iopf_poller *poller)
{
	struct iopf_poller_queues *queues;
	unsigned int n = 0, turn;

	if (unlikely(poller == NULL || iopf_self.in_fast))
		return poll_refuse(poller);
	atomic_store_explicit(&poller->inside, poller->inside + 1, memory_order_relaxed);
	iopf_rcu_read_lock();
	/* Acquire: with the release in queues_publish(). */
	queues = atomic_load_explicit(&poller->queues, memory_order_acquire);
	turn = poller->turn < queues->nb ? poller->turn : 0;
	poller->turn = turn + 1;
	for (unsigned int i = 0; i < queues->nb; i++) {
		if (i == turn)
			n += iopf_queue_run_pass(queues->queues[i], poller->burst, poller->bursts,
					queues->nb);
		else if (!peek_is_idle(queues->peeks[i]))
			n += iopf_queue_run_pass(queues->queues[i], poller->burst, poller->bursts,
					1);
	}
	iopf_rcu_read_unlock();
	atomic_store_explicit(&poller->inside, poller->inside - 1, memory_order_relaxed);
	return n;
}

const char *
iopf_idle_name(enum iopf_idle idle)
{
	static const char *const names[] = {
		[IOPF_IDLE_PAUSE] = "pause",
		[IOPF_IDLE_SPIN] = "spin",
		[IOPF_IDLE_YIELD] = "yield",
		[IOPF_IDLE_SLEEP] = "sleep",
	};

	return (unsigned int)idle < RTE_DIM(names) ? names[idle] : "unknown";
}

bool
iopf_queue_get_poller(const struct iopf_queue *q, struct iopf_poller_info *info)
{
	const struct iopf_poller *poller;

	/* The caller is in a read section, and must not wait. */
	if (pthread_mutex_trylock(&pollers_lock) != 0)
		return false;
	/* A poller that has a queue is not destroyed meanwhile. */
	poller = atomic_load(&q->poller);
	if (poller != NULL) {
		snprintf(info->name, sizeof(info->name), "%s", poller->name);
		info->id = poller->id;
		info->idle = poller->idle;
		for (unsigned int i = 0; i < IOPF_NB_POLLER_STATS; i++)
			info->stats[i] = iopf_poller_stat(poller, i);
	}
	pthread_mutex_unlock(&pollers_lock);
	return poller != NULL;
}

const char *
iopf_poller_stat_name(enum iopf_poller_stat stat)
{
	static const char *const names[IOPF_NB_POLLER_STATS] = {
		[IOPF_POLLER_STAT_SLEEPS] = "sleeps",
		[IOPF_POLLER_STAT_SHORT] = "short_sleeps",
		[IOPF_POLLER_STAT_REFUSED] = "refused_sleeps",
		[IOPF_POLLER_STAT_TIMED] = "timed_wakeups",
		[IOPF_POLLER_STAT_UNSUPPORTED] = "no_interrupts",
	};

	return (unsigned int)stat < IOPF_NB_POLLER_STATS ? names[stat] : "unknown";
}

uint64_t
iopf_poller_stat(const struct iopf_poller *poller, enum iopf_poller_stat stat)
{
	if (poller == NULL || (unsigned int)stat >= IOPF_NB_POLLER_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	return atomic_load_explicit(&poller->stats[stat], memory_order_relaxed);
}
