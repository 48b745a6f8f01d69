/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POWER_H
#define IOPF_POWER_H

/**
 * @file
 * Suspend and resume of an IOMMU, and use counts of its devices.
 *
 * While an IOMMU is suspended it may be without clock and power. Accesses of its devices abort, and
 * leave no record. After a suspend has returned, no call of this library reads or writes a register
 * of the IOMMU until the resume, whatever call that is: iopf_poll(), a late answer, counters, the
 * dump, telemetry, iopf_invalidate(), attach, detach, removal, stop, close.
 *
 * Tables may be changed meanwhile by any thread, without a lock. iopf_invalidate() then returns 0
 * at once: the resume invalidates everything before the IOMMU translates again. An attach, a
 * replace, a detach and a removal have their effect with the resume, and a detach releases what it
 * releases else: no access can use it, since there is none before the resume has invalidated it.
 *
 * Order. Suspend: PRI goes off at the devices and drains, ATS goes off, accesses abort,
 * translation goes off, the queues go off. Resume: the reverse, and all that is cached is
 * invalidated: configuration and translations before translation goes on, the ATCs of devices after
 * it; then ATS and PRI go on.
 *
 * There are two ways to suspend:
 *   - At rest: by iopf_iommu_suspend() without IOPF_SUSPEND_FORCE, or by itself after
 *     autosuspend_ms without a use. It is refused while a device is in use, or a fault waits
 *     for its answer. The next iopf_dev_get() ends it.
 *   - Forced: for the sleep of the system. Uses do not prevent it. Outstanding faults end, and a
 *     later iopf_group_respond() returns -ESTALE. Only iopf_iommu_resume() ends it, or
 *     iopf_iommu_start(). Stop the DMA of the devices before, if the IOMMU loses its power: some
 *     let accesses pass untranslated from their reset to the resume (SMMUv3: GBPA.ABORT is 0).
 *
 * A device is in use from iopf_dev_get() to iopf_dev_put(). The owner of a device takes a use
 * before the device starts DMA, and drops it when no DMA is outstanding:
 *
 *	ret = iopf_dev_get(dev);
 *	while (ret == -EINPROGRESS)
 *		ret = iopf_dev_active(dev);		or other work; conf.resumed tells too
 *	if (ret == 0)
 *		start_dma(dev);
 *	...
 *	iopf_dev_put(dev);				also after iopf_dev_active() has failed
 *
 * A thread of the library, one for each IOMMU that needs it, suspends after autosuspend_ms and
 * resumes for iopf_dev_get(). Poll threads go on polling; a pass over an IOMMU that is suspended
 * reads memory only.
 *
 * Threads. iopf_dev_get(), iopf_dev_put(), iopf_dev_active() and iopf_iommu_is_suspended(): any
 * thread, in a handler too. They never wait; iopf_dev_get() may write to an eventfd. The other
 * calls are control calls: in a handler or a callback they return -EDEADLK.
 */

#include <stdbool.h>
#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Suspend whatever is in use or outstanding; hold it until iopf_iommu_resume(). */
#define IOPF_SUSPEND_FORCE		(1u << 0)
/**
 * Unsafe. Accesses of all devices of the IOMMU pass untranslated while it is suspended: each device
 * reaches all of memory. They abort while the suspend and the resume run.
 */
#define IOPF_SUSPEND_UNSAFE_BYPASS	(1u << 1)

struct iopf_power_conf {
	uint32_t autosuspend_ms;	/**< suspend after so long without a use [never] */
	bool unsafe_bypass;		/**< IOPF_SUSPEND_UNSAFE_BYPASS when it does so [abort] */
	/**
	 * Switch clock and power of the IOMMU. On comes before the first access of a register, off
	 * after the last one. They may wait, and must make no control call. A power_on that returns
	 * other than 0 makes the resume fail with this -errno, and the IOMMU stays suspended.
	 * NULL: both [power stays on, or the application switches it around the calls].
	 */
	int (*power_on)(struct iopf_iommu *iommu, void *ctx);
	void (*power_off)(struct iopf_iommu *iommu, void *ctx);
	/**
	 * After an iopf_dev_get() that returned -EINPROGRESS: what was under way has ended. @p ret:
	 * 0, or -errno, as of iopf_dev_active() or of the resume. One call may be for several gets,
	 * and a call may be made that is for none. May be NULL.
	 */
	void (*resumed)(struct iopf_iommu *iommu, int ret, void *ctx);
	void *ctx;			/**< of all three */
};

/**
 * Set options; NULL: the defaults.
 * @return 0; -ENOTSUP (its driver cannot suspend it); -EINVAL (one of power_on and power_off only);
 *   -EBUSY (suspended: resume it); -EDEADLK; or the error of making the thread.
 */
int iopf_iommu_set_power(struct iopf_iommu *iommu, const struct iopf_power_conf *conf);

/**
 * @param flags IOPF_SUSPEND_*.
 * @return 0, also if suspended already (IOPF_SUSPEND_FORCE then holds it, and accesses abort or
 *   pass as before); -EBUSY without IOPF_SUSPEND_FORCE: a device is in use, a fault or group waits
 *   for its answer, a device has not drained, or a recovery is under way: the IOMMU runs on (PRI of
 *   such a device is off until it has drained); -ENOTCONN (not started); -EIO (it has
 *   failed: stop it); -EINVAL (flags); -ENOTSUP; -EDEADLK; or the driver's error, after which the
 *   IOMMU may still translate and serves no fault: stop or start it again.
 */
int iopf_iommu_suspend(struct iopf_iommu *iommu, uint32_t flags);

/**
 * End a suspend. A device whose ATS or PRI cannot be switched on has none until
 * iopf_dev_pri_restart(); the log names it.
 * @return 0, also if it runs already; -ENOTCONN (not suspended, and not started); the error of
 *   power_on, after which it is suspended; -EDEADLK; or the driver's error, after which it is as
 *   after a start that failed.
 */
int iopf_iommu_resume(struct iopf_iommu *iommu);

bool iopf_iommu_is_suspended(const struct iopf_iommu *iommu);

/**
 * Take a use of the device, and start the resume if its IOMMU is suspended at rest.
 * @return 0: the IOMMU runs, and is not suspended at rest before the iopf_dev_put(); -EINPROGRESS:
 *   the use is taken, and a resume was started, a change of state is under way, or PRI is off until
 *   the device has drained: iopf_dev_active() tells of its end. Any other error: no use is taken:
 *   -ESHUTDOWN (suspended by force), -ENOTCONN (not started), -EIO (the IOMMU has failed), -EINVAL.
 */
int iopf_dev_get(struct iopf_dev *dev);

/** Drop a use. @return 0; -EINVAL (none is taken). */
int iopf_dev_put(struct iopf_dev *dev);

/**
 * @return 0: accesses of the device are translated; -EINPROGRESS; -ESHUTDOWN, -ENOTCONN or -EIO as
 *   of iopf_dev_get(): no resume is under way, one that was may have failed.
 */
int iopf_dev_active(const struct iopf_dev *dev);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POWER_H */
