/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>

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
	if (is_changing(iommu)) {
		ret = fd >= 0 ? 1 : 0;
	} else if (iommu->driver->ops.idle == NULL) {
		ret = -ENOTSUP;
	} else if (fd >= 0 && atomic_load(&iommu->state) == IOPF_STATE_FAILED) {
		IOPF_LOG(ERR, "\"%s\" has failed, and no record will wake the poll thread: stop "
				"it, then start it again", iommu->name);
		ret = -EIO;
	} else if (iopf_iommu_is_polled(iommu)) {
		ret = driver_idle(iommu, fd);
		if (ret == -EBADF)
			IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_idle(): %d is no open "
					"file descriptor: give it an eventfd", iommu->name, fd);
	} else if (atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED) {
		ret = 0;
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
	pthread_mutex_unlock(&iommu->idle_lock);
	/* Another poller may sleep on the same IOMMU, which does not report to it any more. */
	if (was_idle)
		iopf_pollers_wake(iommu, self);
}
