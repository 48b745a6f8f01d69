/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>

#include "call.h"
#include "idle.h"
#include "iommu.h"
#include "iopf_log.h"
#include "poller.h"

/*
 * A stop may wait for passes of the caller, so the caller must not wait for the stop. False: a stop
 * or a start is under way, and ends the sleep.
 */
static bool
state_lock_to_idle(struct iopf_iommu *iommu, int fd)
{
	while (pthread_mutex_trylock(&iommu->state_lock) != 0) {
		uint32_t state = atomic_load(&iommu->state);

		/* To end the sleep, wait for calls that do not end it: these are short. */
		if (fd >= 0 || (state != IOPF_STATE_RUNNING && state != IOPF_STATE_FAILED))
			return false;
		sched_yield();
	}
	return true;
}

int
iopf_iommu_idle(struct iopf_iommu *iommu, int fd)
{
	int ret = -EINVAL;

	if (iommu == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (!state_lock_to_idle(iommu, fd))
		return fd >= 0 ? 1 : 0;
	if (iommu->driver->ops.idle == NULL) {
		ret = -ENOTSUP;
	} else if (fd >= 0 && atomic_load(&iommu->state) == IOPF_STATE_FAILED) {
		IOPF_LOG(ERR, "\"%s\" has failed, and no record will wake the poll thread: stop "
				"it, then start it again", iommu->name);
		ret = -EIO;
	} else if (iopf_iommu_is_polled(iommu)) {
		iommu->idle = fd >= 0;
		ret = iommu->driver->ops.idle(iommu->priv, fd);
	} else if (fd >= 0) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_idle(): it is not running, and "
				"no record would wake the thread: start it", iommu->name);
	}
	pthread_mutex_unlock(&iommu->state_lock);
	return iopf_ret(ret);
}

int
iopf_idle_begin(struct iopf_iommu *iommu, int fd)
{
	int ret = 0;

	/* A stop may hold the lock for a second: the other IOMMUs of the poller are served. */
	if (pthread_mutex_trylock(&iommu->state_lock) != 0)
		return 1;
	if (iopf_iommu_is_serving(iommu)) {
		ret = -ENOTSUP;
		if (iommu->driver->ops.idle != NULL) {
			iommu->idle = true;
			ret = iommu->driver->ops.idle(iommu->priv, fd);
		}
	}
	pthread_mutex_unlock(&iommu->state_lock);
	return ret;
}

static void
idle_end(struct iopf_iommu *iommu, const struct iopf_poller *self)
{
	if (!iommu->idle)
		return;
	iommu->idle = false;
	/* The driver logs an error, and then finds records without interrupts. */
	if (iopf_iommu_is_polled(iommu))
		iommu->driver->ops.idle(iommu->priv, -1);
	/* Another poller may sleep on the same IOMMU, which does not report to it any more. */
	iopf_pollers_wake(iommu, self);
}

bool
iopf_idle_end(struct iopf_iommu *iommu, const struct iopf_poller *self)
{
	if (pthread_mutex_trylock(&iommu->state_lock) != 0)
		return false;
	idle_end(iommu, self);
	pthread_mutex_unlock(&iommu->state_lock);
	return true;
}

void
iopf_idle_cancel(struct iopf_iommu *iommu)
{
	idle_end(iommu, NULL);
}
