/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The sleep of a poll thread, for all IOMMUs of its poller on one eventfd.
 *
 * No wake-up is lost. A thread that changes what the poll thread serves makes the change, then
 * writes to the eventfd, whether the poll thread sleeps or not. The poll thread reads the eventfd
 * before it reads what may have changed:
 *
 *	poll thread				another thread
 *	read the eventfd (now 0)		change stop, queues or the IOMMU's state
 *	read stop, queues, states		write the eventfd
 *	poll(2) on the eventfd
 *
 * A write before the read of the eventfd comes after its change, which the poll thread then reads:
 * the kernel orders the two by the eventfd's lock. A write after it ends poll(2), also if the poll
 * thread is not there yet.
 *
 * Records and errors: after the read of the eventfd each IOMMU is told to write to it, and answers
 * whether it has work that it will not report; then there is no sleep. The driver has the argument
 * for the change between polling and interrupts.
 *
 * An IOMMU has one eventfd, and two pollers may share it. It reports to the poller that began to
 * sleep last. A poll thread that ends its sleep wakes the other poller of the IOMMU, which then
 * begins its sleep anew.
 *
 * The list of queues is used outside of an RCU read section. A hazard pointer keeps it and its
 * IOMMUs: iopf_poller_remove() publishes another list, wakes the poll thread, and waits until the
 * thread has ended its sleep.
 */

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "call.h"
#include "fault_queue.h"
#include "hazard.h"
#include "idle.h"
#include "iommu.h"
#include "iopf_log.h"
#include "poller.h"
#include "rcu.h"

/* Between passes for deadlines, which are in milliseconds. */
#define TIMED_MS	1

static void
stat_add(struct iopf_poller *poller, enum iopf_poller_stat stat)
{
	atomic_fetch_add_explicit(&poller->stats[stat], 1, memory_order_relaxed);
}

void
iopf_poller_wake(const struct iopf_poller *poller)
{
	const uint64_t one = 1;

	/* EAGAIN: the eventfd is set already. */
	if (poller->fd >= 0 && write(poller->fd, &one, sizeof(one)) < 0)
		return;
}

/* The first queue of the list that is of this IOMMU. */
static bool
is_first(const struct iopf_poller_queues *queues, unsigned int i)
{
	for (unsigned int j = 0; j < i; j++)
		if (queues->queues[j]->iommu == queues->queues[i]->iommu)
			return false;
	return true;
}

/* An attempt with the present queues has failed: each further one would cost system calls. */
static bool
is_known_unsupported(struct iopf_poller *poller)
{
	const struct iopf_poller_queues *queues;
	bool known;

	iopf_rcu_read_lock();
	/* Acquire: with the release in queues_publish(). */
	queues = atomic_load_explicit(&poller->queues, memory_order_acquire);
	known = poller->unsupported == queues->change + 1;
	iopf_rcu_read_unlock();
	return known;
}

static void
log_unsupported(struct iopf_poller *poller, const struct iopf_poller_queues *queues,
		const struct iopf_iommu *iommu)
{
	if (poller->unsupported == queues->change + 1)
		return;
	poller->unsupported = queues->change + 1;
	stat_add(poller, IOPF_POLLER_STAT_UNSUPPORTED);
	IOPF_LOG(NOTICE, "%s: \"%s\" has no interrupts, so the poll thread cannot sleep and "
			"yields instead", poller->name, iommu->name);
}

/* Returns 0: all IOMMUs write to the eventfd. */
static int
iommus_begin_idle(struct iopf_poller *poller, const struct iopf_poller_queues *queues)
{
	for (unsigned int i = 0; i < queues->nb; i++) {
		struct iopf_iommu *iommu = queues->queues[i]->iommu;
		int ret = is_first(queues, i) ? iopf_idle_begin(iommu, poller->fd) : 0;

		if (ret == -ENOTSUP) {
			log_unsupported(poller, queues, iommu);
			return ret;
		}
		if (ret != 0)
			return -EAGAIN;
	}
	return 0;
}

/* A handler has a fault, or a group is partial: time may end it. */
static bool
has_timed_work(const struct iopf_poller_queues *queues)
{
	for (unsigned int i = 0; i < queues->nb; i++)
		if (iopf_queue_has_faults(queues->queues[i]))
			return true;
	return false;
}

/* Passes until one looks at the clock, for each of @p nb queues. */
static unsigned int
run_timed_passes(struct iopf_poller *poller, unsigned int nb)
{
	unsigned int n = 0;

	stat_add(poller, IOPF_POLLER_STAT_TIMED);
	for (unsigned int i = 0; i < IOPF_CLOCK_PASSES + nb; i++)
		n += iopf_poll(poller);
	return n;
}

/* Returns 0: it is time for passes. */
static int
wait_for_wake(struct iopf_poller *poller, struct pollfd *pfd,
		const struct iopf_poller_queues *queues)
{
	int timeout = has_timed_work(queues) ? TIMED_MS : -1;
	uint64_t begin = rte_rdtsc();
	int ret = poll(pfd, 1, timeout);

	atomic_fetch_add_explicit(&poller->away_cycles, rte_rdtsc() - begin, memory_order_relaxed);
	return ret;
}

int
iopf_poller_sleep(struct iopf_poller *poller)
{
	struct pollfd pfd = { .fd = poller->fd, .events = POLLIN };
	struct iopf_poller_queues *queues;
	uint64_t count;
	int ret;

	if (is_known_unsupported(poller))
		return -ENOTSUP;
	iopf_poller_end_sleep(poller);
	/* EAGAIN: it is 0 already. */
	if (read(poller->fd, &count, sizeof(count)) < 0)
		count = 0;
	if (atomic_load(&poller->stop))
		return -EAGAIN;
	queues = iopf_hazard_take(&poller->queues, &poller->line);
	poller->slept = queues;
	ret = iommus_begin_idle(poller, queues);
	if (ret < 0) {
		if (ret == -EAGAIN)
			stat_add(poller, IOPF_POLLER_STAT_REFUSED);
		return ret;
	}
	stat_add(poller, IOPF_POLLER_STAT_SLEEPS);
	/* A signal ends the sleep too. */
	while (wait_for_wake(poller, &pfd, queues) == 0)
		if (run_timed_passes(poller, queues->nb) != 0)
			break;
	return 0;
}

void
iopf_poller_end_sleep(struct iopf_poller *poller)
{
	struct iopf_poller_queues *queues = poller->slept;

	if (queues == NULL)
		return;
	for (unsigned int i = 0; i < queues->nb; i++)
		if (is_first(queues, i))
			iopf_idle_end(queues->queues[i]->iommu, poller);
	poller->slept = NULL;
	iopf_hazard_drop(poller->line);
}
