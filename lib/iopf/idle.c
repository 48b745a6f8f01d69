/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A thread that sleeps by iopf_iommu_idle() is woken, as a poll thread is (poller_sleep.c), by all
 * that ends the interrupts and by each change of the state. idle_lock orders the two: the thread
 * finds the state as changed, or its eventfd is written to after the change. The eventfd is a copy,
 * since the thread may close its own.
 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "call.h"
#include "idle.h"
#include "iommu.h"
#include "iopf_log.h"
#include "poller.h"

/* The caller has idle_lock. A stop or a start is under way, and ends the sleep. */
static bool
is_changing(struct iopf_iommu *iommu)
{
	uint32_t state = atomic_load(&iommu->state);

	return state == IOPF_STATE_QUIESCING || state == IOPF_STATE_STOPPING ||
			state == IOPF_STATE_STARTING;
}

/*
 * The caller has idle_lock. An error begins no sleep (see iopf_driver.h), and may not have ended
 * one that had begun.
 */
static int
driver_idle(struct iopf_iommu *iommu, int fd)
{
	int ret = iommu->driver->ops.idle(iommu->priv, fd);

	if (ret >= 0)
		iommu->idle = fd >= 0;
	return ret;
}

void
iopf_idle_init(struct iopf_iommu *iommu)
{
	pthread_mutex_init(&iommu->idle_lock, NULL);
	iommu->sleep_fd = -1;
}

void
iopf_idle_fini(struct iopf_iommu *iommu)
{
	if (iommu->sleep_fd >= 0)
		close(iommu->sleep_fd);
	pthread_mutex_destroy(&iommu->idle_lock);
}

/* The caller has idle_lock. */
static int
sleep_fd_set(struct iopf_iommu *iommu, int fd)
{
	int copy = iommu->sleep_fd;

	if (fd < 0)
		return 0;
	copy = copy < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : dup3(fd, copy, O_CLOEXEC);
	if (copy < 0)
		return -errno;
	iommu->sleep_fd = copy;
	return 0;
}

/* The caller has idle_lock. */
static void
sleeper_wake(struct iopf_iommu *iommu)
{
	const uint64_t one = 1;

	/* EAGAIN: the eventfd is set already. */
	if (iommu->sleeps && write(iommu->sleep_fd, &one, sizeof(one)) < 0)
		return;
}

/* The caller has idle_lock. */
static int
sleep_change(struct iopf_iommu *iommu, int fd)
{
	int ret = sleep_fd_set(iommu, fd);

	if (ret == 0 && iopf_iommu_is_polled(iommu))
		ret = driver_idle(iommu, fd);
	iommu->sleeps = ret == 0 && fd >= 0;
	if (ret == -EBADF)
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_idle(): %d is no open file "
				"descriptor: give it an eventfd", iommu->name, fd);
	return ret;
}

int
iopf_iommu_idle(struct iopf_iommu *iommu, int fd)
{
	int ret = -EINVAL;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (fd < -1) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_idle(): fd is %d: use an "
				"eventfd, or -1 to poll again", iommu->name, fd);
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&iommu->idle_lock);
	iommu->sleeps = false;
	if (is_changing(iommu)) {
		ret = fd >= 0 ? 1 : 0;
	} else if (iommu->driver->ops.idle == NULL) {
		ret = -ENOTSUP;
	} else if (fd >= 0 && atomic_load(&iommu->state) == IOPF_STATE_FAILED) {
		IOPF_LOG(ERR, "\"%s\" has failed, and no record will wake the poll thread: stop "
				"it, then start it again", iommu->name);
		ret = -EIO;
	} else if (iopf_iommu_is_polled(iommu) ||
			atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED) {
		ret = sleep_change(iommu, fd);
	} else if (fd >= 0) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_idle(): it is not running, and "
				"no record would wake the thread: start it", iommu->name);
	}
	pthread_mutex_unlock(&iommu->idle_lock);
	return ret == 1 ? 1 : iopf_ret(ret);
}

int
iopf_idle_begin(struct iopf_iommu *iommu, int fd)
{
	int ret = 0;

	pthread_mutex_lock(&iommu->idle_lock);
	if (is_changing(iommu)) {
		ret = 1;
	} else if (iopf_iommu_is_serving(iommu)) {
		ret = iommu->driver->ops.idle != NULL ? driver_idle(iommu, fd) : -ENOTSUP;
	}
	pthread_mutex_unlock(&iommu->idle_lock);
	return ret;
}

void
iopf_idle_end(struct iopf_iommu *iommu, const struct iopf_poller *self)
{
	bool was_idle;

	pthread_mutex_lock(&iommu->idle_lock);
	was_idle = iommu->idle;
	/* The driver logs an error, and then finds records without interrupts. */
	if (was_idle && iopf_iommu_is_polled(iommu))
		iommu->driver->ops.idle(iommu->priv, -1);
	iommu->idle = false;
	if (was_idle)
		sleeper_wake(iommu);
	pthread_mutex_unlock(&iommu->idle_lock);
	/* Another poller may sleep on the same IOMMU, which does not report to it any more. */
	if (was_idle)
		iopf_pollers_wake(iommu, self);
}

void
iopf_idle_wake(struct iopf_iommu *iommu)
{
	pthread_mutex_lock(&iommu->idle_lock);
	sleeper_wake(iommu);
	pthread_mutex_unlock(&iommu->idle_lock);
	iopf_pollers_wake(iommu, NULL);
}
