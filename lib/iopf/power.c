/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Suspend, resume, use counts, and the thread that suspends and resumes by them. */

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "call.h"
#include "dev.h"
#include "idle.h"
#include "iopf_log.h"
#include "iopf_trace.h"
#include "power.h"
#include "pri.h"
#include "shut_down.h"

/* Between looks whether a device whose PRI is to go on has drained. */
#define PRI_DUE_MS	2

void
iopf_power_init(struct iopf_power *power)
{
	atomic_init(&power->fd, -1);
}

static void
thread_wake(const struct iopf_power *power)
{
	const uint64_t one = 1;
	int fd = atomic_load(&power->fd);

	/* EAGAIN: the eventfd is set already. */
	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		return;
}

void
iopf_power_fini(struct iopf_power *power)
{
	int fd = atomic_load(&power->fd);

	if (fd < 0)
		return;
	atomic_store(&power->stop, true);
	thread_wake(power);
	pthread_join(power->thread, NULL);
	close(fd);
}

static inline int
error_of(uint64_t word)
{
	return (int32_t)word;
}

/* Set the error, unless a get has cleared that of an older attempt since @p word was read. */
static void
error_set(struct iopf_power *power, uint64_t word, int ret)
{
	uint64_t now = word;

	while (now >> 32 == word >> 32 && !atomic_compare_exchange_weak(&power->error, &now,
			(word >> 32) << 32 | (uint32_t)ret))
		;
}

/* True: the error was @p ret, and is cleared: power_on is tried again. */
static bool
error_clear(struct iopf_power *power, int ret)
{
	uint64_t word = atomic_load(&power->error);

	while (error_of(word) == ret)
		if (atomic_compare_exchange_weak(&power->error, &word,
				((word >> 32) + 1) << 32))
			return true;
	return false;
}

/* The application's callbacks run under state_lock: control calls in them are refused. */
static int
call_power_on(struct iopf_iommu *iommu)
{
	struct iopf_power *power = &iommu->power;
	bool in_handler = iopf_self.in_handler;
	int ret;

	if (!power->is_off)
		return 0;
	iopf_self.in_handler = true;
	ret = power->conf.power_on(iommu, power->conf.ctx);
	iopf_self.in_handler = in_handler;
	if (ret == 0) {
		power->is_off = false;
		return 0;
	}
	ret = ret < 0 ? ret : -EIO;
	IOPF_LOG_LIMITED(&iommu->log, "\"%s\": power_on returned %d: it stays without power; see "
			"to its power, then resume or start it again", iommu->name, ret);
	return ret;
}

static void
call_power_off(struct iopf_iommu *iommu)
{
	struct iopf_power *power = &iommu->power;
	bool in_handler = iopf_self.in_handler;

	if (power->conf.power_off == NULL)
		return;
	iopf_self.in_handler = true;
	power->conf.power_off(iommu, power->conf.ctx);
	iopf_self.in_handler = in_handler;
	power->is_off = true;
}

static void
call_resumed(struct iopf_iommu *iommu, int ret)
{
	struct iopf_power *power = &iommu->power;

	if (power->conf.resumed == NULL)
		return;
	iopf_self.in_handler = true;
	power->conf.resumed(iommu, ret, power->conf.ctx);
	iopf_self.in_handler = false;
}

int
iopf_iommu_start_up(struct iopf_iommu *iommu)
{
	bool suspended = atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED;
	struct iopf_power *power = &iommu->power;
	uint64_t word = atomic_load(&power->error);
	int ret;

	ret = call_power_on(iommu);
	error_set(power, word, suspended ? ret : 0);
	if (ret < 0)
		return ret;
	atomic_store(&iommu->state, IOPF_STATE_STARTING);
	atomic_store(&power->forced, false);
	ret = suspended ? iommu->driver->ops.resume(iommu->priv) :
		iommu->driver->ops.start(iommu->priv);
	atomic_store(&power->idle_since, rte_rdtsc());
	atomic_store(&power->settling, true);
	/* Release: with the acquire in iopf_iommu_is_polled(). */
	atomic_store(&iommu->state, ret == 0 ? IOPF_STATE_RUNNING : IOPF_STATE_STUCK);
	/* A thread that sleeps has not told this IOMMU to wake it. */
	iopf_idle_wake(iommu);
	if (ret == 0) {
		if (suspended)
			iopf_iommu_count(iommu, IOPF_IOMMU_STAT_RESUMES, 1);
		iopf_pri_switch_on_all(iommu);
	}
	atomic_store(&power->settling, false);
	thread_wake(power);
	return ret;
}

void
iopf_iommu_stop_suspended(struct iopf_iommu *iommu)
{
	atomic_store(&iommu->state, IOPF_STATE_OFF);
	iopf_idle_wake(iommu);
	atomic_store(&iommu->power.forced, false);
	error_set(&iommu->power, atomic_load(&iommu->power.error), 0);
}

/* The caller holds state_lock, and the state is RUNNING. */
static int
iommu_suspend(struct iopf_iommu *iommu, uint32_t flags)
{
	bool bypass = flags & IOPF_SUSPEND_UNSAFE_BYPASS;
	int ret;

	error_set(&iommu->power, atomic_load(&iommu->power.error), 0);
	if (flags & IOPF_SUSPEND_FORCE) {
		/* Before the state changes: a get that sees that sees this too. */
		atomic_store(&iommu->power.forced, true);
		ret = iopf_iommu_suspend_forced(iommu, bypass);
		if (ret < 0)
			atomic_store(&iommu->power.forced, false);
	} else {
		ret = iopf_iommu_suspend_at_rest(iommu, bypass);
	}
	if (ret == -EBUSY)
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_SUSPENDS_REFUSED, 1);
	if (ret < 0)
		return ret;
	iopf_iommu_count(iommu, IOPF_IOMMU_STAT_SUSPENDS, 1);
	call_power_off(iommu);
	return 0;
}

/* Whether devices of the IOMMU can be used: 0, -EINPROGRESS, or why not. */
static int
iommu_usable(const struct iopf_iommu *iommu)
{
	enum iopf_state state = atomic_load(&iommu->state);
	int ret;

	switch (state) {
	case IOPF_STATE_RUNNING:
		return unlikely(atomic_load(&iommu->power.settling)) ? -EINPROGRESS : 0;
	case IOPF_STATE_SUSPENDED:
	case IOPF_STATE_QUIESCING:
	case IOPF_STATE_STOPPING:
		if (atomic_load(&iommu->power.forced))
			return -ESHUTDOWN;
		ret = error_of(atomic_load(&iommu->power.error));
		return state == IOPF_STATE_SUSPENDED && ret < 0 ? ret : -EINPROGRESS;
	case IOPF_STATE_STARTING:
		return -EINPROGRESS;
	case IOPF_STATE_FAILED:
		return -EIO;
	default:
		return -ENOTCONN;
	}
}

/*
 * The thread
 */

/* Suspend it if it is time. Returns the milliseconds until the next look. */
static int
autosuspend_step(struct iopf_iommu *iommu)
{
	struct iopf_power *power = &iommu->power;
	int64_t ms = rte_get_tsc_hz() / 1000, passed;

	if (atomic_load(&power->uses) != 0)
		return RTE_MIN(power->conf.autosuspend_ms, (uint32_t)INT32_MAX);
	/* The clock of another thread may be ahead: the difference is signed. */
	passed = (int64_t)(rte_rdtsc() - atomic_load(&power->idle_since)) / ms;
	if (passed < power->conf.autosuspend_ms)
		return RTE_MIN(power->conf.autosuspend_ms - RTE_MAX(passed, 0), INT32_MAX);
	if (iommu_suspend(iommu, power->conf.unsafe_bypass ? IOPF_SUSPEND_UNSAFE_BYPASS : 0) ==
			-EBUSY)
		atomic_store(&power->idle_since, rte_rdtsc());
	return RTE_MIN(power->conf.autosuspend_ms, (uint32_t)INT32_MAX);
}

/* Returns how long the thread may wait for a wake-up; -1: for ever. */
static int
power_step(struct iopf_iommu *iommu)
{
	struct iopf_power *power = &iommu->power;
	bool asked, tried, was_due = false;
	int wait = -1, ret;

	pthread_mutex_lock(&iommu->state_lock);
	if (atomic_load(&iommu->state) == IOPF_STATE_RUNNING && power->conf.autosuspend_ms != 0)
		wait = autosuspend_step(iommu);
	if (atomic_load(&iommu->state) == IOPF_STATE_RUNNING && power->pri_due) {
		power->pri_due = iopf_pri_switch_on_due(iommu);
		was_due = !power->pri_due;
		if (power->pri_due)
			wait = wait < 0 ? PRI_DUE_MS : RTE_MIN(wait, PRI_DUE_MS);
	}
	/* Also for a use that was taken during that suspend. */
	tried = atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED &&
		!atomic_load(&power->forced) && atomic_load(&power->uses) != 0;
	ret = tried ? iopf_iommu_start_up(iommu) : iommu_usable(iommu);
	/* After the attempt: it is that of all gets which have asked by now. */
	asked = atomic_exchange(&power->asked, false);
	/* Suspended without a use: it was dropped. */
	if ((asked || tried || was_due) && ret != -EINPROGRESS)
		call_resumed(iommu, ret);
	pthread_mutex_unlock(&iommu->state_lock);
	return wait;
}

static void *
power_thread_run(void *arg)
{
	struct iopf_iommu *iommu = arg;
	struct iopf_power *power = &iommu->power;
	struct pollfd pfd = { .fd = atomic_load(&power->fd), .events = POLLIN };
	uint64_t count;

	while (!atomic_load(&power->stop)) {
		/* EAGAIN: it is 0 already. */
		if (read(pfd.fd, &count, sizeof(count)) < 0)
			count = 0;
		poll(&pfd, 1, power_step(iommu));
	}
	return NULL;
}

/* The caller holds state_lock. */
static int
thread_ensure(struct iopf_iommu *iommu)
{
	struct iopf_power *power = &iommu->power;
	int fd, ret;

	if (atomic_load(&power->fd) >= 0)
		return 0;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ret = fd < 0 ? -errno : 0;
	if (ret == 0) {
		atomic_store(&power->fd, fd);
		ret = iopf_thread_create(&power->thread, "iopf-power", power_thread_run, iommu);
	}
	if (ret == 0)
		return 0;
	IOPF_LOG(ERR, "\"%s\": the thread that resumes it cannot be made: error %d; raise the "
			"limit of threads or files", iommu->name, -ret);
	if (fd >= 0) {
		atomic_store(&power->fd, -1);
		close(fd);
	}
	return ret;
}

/*
 * The interface
 */

static int
check_call(const struct iopf_iommu *iommu)
{
	if (iommu == NULL)
		return -EINVAL;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return -EDEADLK;
	return iommu->driver->ops.suspend == NULL ? -ENOTSUP : 0;
}

int
iopf_iommu_set_power(struct iopf_iommu *iommu, const struct iopf_power_conf *conf)
{
	static const struct iopf_power_conf defaults;
	int ret = check_call(iommu);

	if (ret < 0)
		return iopf_ret(ret);
	if (conf == NULL)
		conf = &defaults;
	if ((conf->power_on == NULL) != (conf->power_off == NULL)) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_set_power(): %s is NULL: set "
				"both of power_on and power_off, or none", iommu->name,
				conf->power_on == NULL ? "power_on" : "power_off");
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&iommu->state_lock);
	if (atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED || iommu->power.is_off) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_set_power(): it is suspended: "
				"resume it first", iommu->name);
		ret = -EBUSY;
	} else {
		ret = conf->autosuspend_ms != 0 || conf->resumed != NULL ?
			thread_ensure(iommu) : 0;
	}
	if (ret == 0) {
		iommu->power.conf = *conf;
		atomic_store(&iommu->power.idle_since, rte_rdtsc());
		thread_wake(&iommu->power);
	}
	pthread_mutex_unlock(&iommu->state_lock);
	return iopf_ret(ret);
}

int
iopf_iommu_suspend(struct iopf_iommu *iommu, uint32_t flags)
{
	int ret = check_call(iommu);

	if (ret < 0)
		return iopf_ret(ret);
	if (flags & ~(IOPF_SUSPEND_FORCE | IOPF_SUSPEND_UNSAFE_BYPASS)) {
		IOPF_LOG_LIMITED(&iommu->log, "\"%s\": iopf_iommu_suspend(): flags are 0x%x: use "
				"IOPF_SUSPEND_*", iommu->name, flags);
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&iommu->state_lock);
	switch ((enum iopf_state)atomic_load(&iommu->state)) {
	case IOPF_STATE_RUNNING:
		ret = flags & IOPF_SUSPEND_FORCE ? 0 : thread_ensure(iommu);
		if (ret == 0)
			ret = iommu_suspend(iommu, flags);
		break;
	case IOPF_STATE_SUSPENDED:
		if (flags & IOPF_SUSPEND_FORCE)
			atomic_store(&iommu->power.forced, true);
		break;
	case IOPF_STATE_FAILED:
		ret = -EIO;
		break;
	default:
		ret = -ENOTCONN;
		break;
	}
	pthread_mutex_unlock(&iommu->state_lock);
	/* A use that was taken meanwhile ends a suspend at rest. */
	thread_wake(&iommu->power);
	iopf_trace_suspend(iommu->id, ret);
	return iopf_ret(ret);
}

int
iopf_iommu_resume(struct iopf_iommu *iommu)
{
	int ret = check_call(iommu);

	if (ret < 0)
		return iopf_ret(ret);
	pthread_mutex_lock(&iommu->state_lock);
	if (atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED)
		ret = iopf_iommu_start_up(iommu);
	else
		ret = iopf_iommu_is_polled(iommu) ? 0 : -ENOTCONN;
	pthread_mutex_unlock(&iommu->state_lock);
	iopf_trace_resume(iommu->id, ret);
	return iopf_ret(ret);
}

bool
iopf_iommu_is_suspended(const struct iopf_iommu *iommu)
{
	if (iommu == NULL) {
		rte_errno = EINVAL;
		return false;
	}
	return atomic_load(&iommu->state) == IOPF_STATE_SUSPENDED;
}

/* The count of the device's uses goes down by up to @p n. Returns by how many. */
static uint32_t
uses_take(struct iopf_dev *dev, uint32_t n)
{
	uint32_t uses = atomic_load_explicit(&dev->uses, memory_order_relaxed), taken;

	do
		taken = RTE_MIN(uses, n);
	while (!atomic_compare_exchange_weak_explicit(&dev->uses, &uses, uses - taken,
			memory_order_relaxed, memory_order_relaxed));
	if (taken != 0) {
		/* Before the count: a suspend that finds no use finds the time of its end. */
		atomic_store(&dev->iommu->power.idle_since, rte_rdtsc());
		atomic_fetch_sub(&dev->iommu->power.uses, taken);
	}
	return taken;
}

void
iopf_dev_drop_uses(struct iopf_dev *dev)
{
	uses_take(dev, UINT32_MAX);
}

/* The same, of this device. */
static int
dev_usable(const struct iopf_dev *dev)
{
	int ret = iommu_usable(dev->iommu);

	/* After the state: a suspend that is refused sets it before the state is RUNNING. */
	return likely(ret == 0) && unlikely(atomic_load(&dev->pri_due)) ? -EINPROGRESS : ret;
}

int
iopf_dev_get(struct iopf_dev *dev)
{
	struct iopf_iommu *iommu;
	int ret;

	if (dev == NULL)
		return iopf_ret(-EINVAL);
	iommu = dev->iommu;
	atomic_fetch_add_explicit(&dev->uses, 1, memory_order_relaxed);
	/* Sequentially consistent, as the load of the state: see power.h. */
	atomic_fetch_add(&iommu->power.uses, 1);
	ret = dev_usable(dev);
	if (likely(ret == 0))
		return 0;
	if (ret < 0 && error_clear(&iommu->power, ret))
		ret = -EINPROGRESS;
	if (ret == -EINPROGRESS) {
		atomic_store(&iommu->power.asked, true);
		thread_wake(&iommu->power);
	} else {
		uses_take(dev, 1);
	}
	return iopf_ret(ret);
}

int
iopf_dev_put(struct iopf_dev *dev)
{
	if (dev == NULL)
		return iopf_ret(-EINVAL);
	if (uses_take(dev, 1) == 1)
		return 0;
	IOPF_LOG_LIMITED(&dev->log, "%s: iopf_dev_put() without iopf_dev_get(): put each use once",
			dev->name);
	return iopf_ret(-EINVAL);
}

int
iopf_dev_active(const struct iopf_dev *dev)
{
	return iopf_ret(dev == NULL ? -EINVAL : dev_usable(dev));
}
