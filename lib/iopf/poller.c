/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Pollers: which queues a poll thread reads. */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "fault_queue.h"
#include "iommu.h"
#include "iopf_log.h"
#include "iopf_poller.h"
#include "pass.h"
#include "poller.h"
#include "rcu.h"

static pthread_mutex_t pollers_lock = PTHREAD_MUTEX_INITIALIZER;

struct iopf_poller *
iopf_poller_create(const struct iopf_poller_conf *conf)
{
	static const struct iopf_poller_conf defaults;
	struct iopf_poller_queues *queues;
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
	struct iopf_poller_queues *old = NULL, *new = calloc(1, sizeof(*new));
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
	if (add && new->nb == IOPF_POLLER_MAX_QUEUES) {
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
				"added; use another poller", poller->name, IOPF_POLLER_MAX_QUEUES, q->id, name);
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
	struct iopf_poller_queues *queues;
	unsigned int n = 0;

	if (unlikely(poller == NULL || iopf_self.in_fast))
		return poll_refuse(poller);
	atomic_store_explicit(&poller->inside, poller->inside + 1, memory_order_relaxed);
	iopf_rcu_read_lock();
	/* Acquire: with the release in poller_change_queue(). */
	queues = atomic_load_explicit(&poller->queues, memory_order_acquire);
	for (unsigned int i = 0; i < queues->nb; i++)
		n += iopf_queue_run_pass(queues->queues[i], poller->burst, poller->bursts);
	iopf_rcu_read_unlock();
	atomic_store_explicit(&poller->inside, poller->inside - 1, memory_order_relaxed);
	return n;
}
