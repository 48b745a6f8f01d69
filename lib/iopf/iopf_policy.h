/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POLICY_H
#define IOPF_POLICY_H

/**
 * @file
 * For an application whose devices may go wrong: policies for faults in numbers. Those of a domain
 * are off by default. Of a device's limits only its share of the stalls has a default that acts.
 *
 * Report first. A shader that goes wrong raises thousands of faults, of which the first tells the
 * cause. An episode of an attachment, that is of a (device, PASID), begins with a fatal answer: the
 * handler, the deferred handler or iopf_group_respond() answers a fault IOPF_INVALID or
 * IOPF_FAILURE. Until iopf_domain_rearm() the further faults of the attachment are counted and
 * answered IOPF_INVALID, and no handler is called for them. Records of accesses that the IOMMU
 * terminated are counted too, and not given to iopf_iommu_conf.report. Faults that a handler has
 * deferred or taken before stay with it. Other attachments, also of the same device, are not
 * concerned.
 *
 * Join. Many accesses fault on a page before it is there. The first fault on a page that a handler
 * defers or takes is the leader of the page: further faults of the domain there, stalls and page
 * requests of devices behind the same IOMMU, wait for it and get its answer, without a handler.
 * They join if the leader needs the same permissions or more, and the same privilege; a group joins
 * if all its pages have one leader. The page of a stage-2 fault is that of its ipa, whatever its
 * input address is, and is none of the pages of input addresses. If the leader is answered
 * IOPF_INVALID, also by a deadline, its breaker, or the quarantine or detach of its device, so are
 * the joined faults, those of other devices too. IOPF_FAILURE is IOPF_INVALID for them. A replace
 * of the leader's domain answers all IOPF_SUCCESS: the devices try again. A joined fault's own
 * detach or deadline answers it earlier.
 * A fault on the page, under the same conditions, that is read in the same burst as one that the
 * handler answers gets its answer too, after the same invalidations, but for IOPF_FAILURE.
 *
 * Stall breaker. A storm of stalls fills the IOMMU's pool of stalls, and a device whose accesses
 * wait may hang. Past max_held or max_rate the breaker of the attachment trips and opens an
 * episode, if none is open. The faults are counted and answered IOPF_INVALID from then on, as for
 * report first. At its next tick, where no other control call has the device, the policy thread has
 * accesses abort instead of stalling, and answers all that handlers hold of the attachment. (It
 * ticks each millisecond, later on a busy machine.) The trip ends when iopf_domain_rearm() closes
 * the episode: at the next tick accesses stall again, and those that abort before are given to
 * report. Or it ends after quiet_ms without a fault, but for an episode that a fatal answer has
 * opened. For page requests and IOPF_TERMINATE the IOMMU is not changed: faults are counted and
 * answered, what handlers hold is answered, and tripped is called.
 *
 * @code
 *	domain = iopf_domain_create(&(struct iopf_domain_conf){
 *		.handler = on_fault,			// its first IOPF_INVALID opens the episode
 *		.storm = &(struct iopf_storm_conf){ .report_first = true, .join_log2 = 12 },
 *	});
 *	...
 *	reset_context(gpu, pasid);			// its accesses have ended
 *	if (iopf_dev_fence(gpu) == 0 &&			// the last ones are counted
 *			iopf_domain_rearm(domain, gpu, pasid, &episode) == 0)
 *		dump_crash(&episode.first, episode.faults, episode.pages, episode.nb_pages);
 * @endcode
 */

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_episode;

/**
 * Policies of a domain for storms, for each attachment on its own; join_log2 for all attachments of
 * the domain on an IOMMU together. Without max_held and max_rate there is no breaker, and
 * iopf_domain_create() refuses its fields quiet_ms, abort_device and tripped (EINVAL).
 */
struct iopf_storm_conf {
	bool report_first;	/**< a fatal answer opens an episode */
	uint8_t join_log2;	/**< faults on a page of 2^join_log2 bytes join the first: 12 to 48
				  * [0: each goes to a handler] */
	uint32_t max_held;	/**< stalls, and accesses that retry gets, of (device, PASID) that
				  * wait for an answer longer than a pass, joined ones too, past
				  * which its breaker trips: at most the device's share, and
				  * fewer than the IOMMU's stalls, as the log warns at the
				  * attach [no limit] */
	uint32_t max_rate;	/**< faults a second past which it trips, served ones included; so
				  * many may come at once [no limit] */
	uint32_t quiet_ms;	/**< without a fault for so long, the trip ends: accesses stall
				  * again, the episode that it opened is closed and its counts
				  * are lost [only iopf_domain_rearm() ends it] */
	bool abort_device;	/**< where the IOMMU can only stall, abort all accesses of the
				  * device instead [the attach fails: -ENOTSUP] */
	/**
	 * A breaker has tripped: accesses abort, and what handlers held is answered. On the policy
	 * thread of the library. It should not block: policies of other devices wait. It must not
	 * wait for a detach or a replace of this (device, PASID), or the device's removal: these
	 * wait for its return, for wait_ms at most.
	 * Control calls and iopf_dev_fence() in it return -EDEADLK: wake a thread that resets the
	 * device. iopf_domain_rearm() works. May be NULL.
	 */
	void (*tripped)(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
			const struct iopf_episode *episode, void *ctx);
	void *ctx;		/**< of tripped */
};

/** A page of 4 KiB, and its faults. Of a stage-2 fault it is the page of the ipa. */
struct iopf_episode_page {
	uint64_t addr;
	uint64_t faults;	/**< page requests of a group are counted one by one */
};

/** The most pages that an episode tells apart. */
#define IOPF_EPISODE_PAGES 64

/**
 * A fault of the attachment is given to a handler, joins one that was, or is counted in exactly one
 * episode, unless a quarantine, the rate, a detach, a replace or a lack of slots answers it first:
 * each of these has a counter. Aborted accesses whose records the IOMMU lost are not counted.
 */
struct iopf_episode {
	/**
	 * The whole record of a fault that a handler has had, of a group its first request. After a
	 * fatal answer it is the fault answered so. After a trip it is the last that came while no
	 * stall was held and the rate was unused: the first of the storm, or an honest fault
	 * shortly before it. Faults between it and the trip went to the handler. The counts below
	 * are of the faults after the opening.
	 */
	struct iopf_fault first;
	uint64_t faults;	/**< a page request group counts as one */
	uint64_t stalls;	/**< of these: stalled accesses */
	uint64_t aborted;	/**< of these: accesses that the IOMMU aborted, with a record */
	uint64_t requests;	/**< page requests in the groups among them */
	uint64_t counted_from;	/**< rte_rdtsc() when the first record was read; 0 if faults is 0 */
	uint64_t counted_to;	/**< when the last record was read */
	uint64_t trip_time;	/**< rte_rdtsc() when the breaker tripped in it; 0: it has not */
	uint64_t lowest;	/**< addresses; 0 if faults is 0 */
	uint64_t highest;
	uint64_t other_faults;	/**< on pages that are not in pages[] */
	uint32_t nb_pages;
	struct iopf_episode_page pages[IOPF_EPISODE_PAGES]; /**< the first distinct ones */
};

/**
 * Read the open episode of (device, PASID). While faults arrive the counts may be some faults
 * apart from each other. Any thread, handlers included; never waits.
 * @param[out] episode may be NULL.
 * @return 0; -ENOENT: no episode is open, the domain is not attached there, or it has no policy
 *   with episodes (report_first, max_held, max_rate).
 */
int iopf_domain_episode(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode);

/**
 * End the episode of (device, PASID): the next fault goes to the handler again. The counts are
 * exact: see struct iopf_episode. Any thread, handlers included; never waits. Of several callers
 * one gets the episode. A detach and a replace end it too, and its counts are lost.
 * @param[out] episode may be NULL.
 * @return 0; -ENOENT as of iopf_domain_episode().
 */
int iopf_domain_rearm(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode);

/**
 * True from the trip of the breaker of (device, PASID) until accesses stall again: after the re-arm
 * at the next tick of the policy thread, where no other control call has the device and the IOMMU
 * completes its commands. Also false: the domain is not attached there, or has no breaker. Any
 * thread; never waits.
 */
bool iopf_domain_is_tripped(const struct iopf_domain *domain, const struct iopf_dev *dev,
		uint32_t pasid);

/*
 * Devices
 */

/**
 * Wait until the faults of all accesses of which the device has seen the end are counted, or were
 * given to their handlers or to report. Before a re-arm: no record from before can open the next
 * episode. Any thread but a handler's; waits for poll threads, and for a start of the IOMMU that
 * another thread has begun, for wait_ms at most; then, without a bound, until the fast handlers
 * and passes that run have ended (iopf.h).
 * @code
 *	reset_context(gpu, pasid);		// its accesses have ended
 *	if (iopf_dev_fence(gpu) == 0)
 *		iopf_domain_rearm(domain, gpu, pasid, &episode);
 * @endcode
 * @return 0, also if the IOMMU is stopped; -EDEADLK in a handler; -ETIMEDOUT (a poll thread, a
 *   fast handler or a start does not return, or the IOMMU does not complete its commands), -EIO.
 */
int iopf_dev_fence(struct iopf_dev *dev);

/**
 * Limits of a device (iopf_dev_conf.limits). stalls and rate bound what it holds and what reaches
 * its handlers. The event queue is served in order: only a quarantine ends the delay that its
 * records cause to other devices. rate and quarantine_rate count stalls, page request groups, and
 * accesses that retry gets, of all PASIDs together.
 *
 * A fault past rate or quarantine_rate is answered IOPF_INVALID without a handler: the access
 * aborts, the device is not slowed down. Past stalls the fast handler runs, since it may answer at
 * once; if it defers or takes, the answer is IOPF_INVALID (iopf_group_has_room()). Then the next
 * faults of the same PASID are refused without the handler for 200 us, unless an answer makes room
 * before. enum iopf_dev_stat counts both.
 *
 * A device is quarantined past quarantine_rate, or by iopf_dev_quarantine(). From then on each of
 * its faults is answered IOPF_INVALID. At the next tick of the policy thread, where no other
 * control call has the device, its PRI and ATS are switched off, the IOMMU aborts its accesses
 * without a record, and all that its handlers hold is answered. It stays attached, and can be
 * attached, detached and removed, and its domains replaced. After quarantine_ms it comes back by
 * itself, at the next tick where no other control call has the device, and when the passes that run
 * have ended: later on a busy machine. Each further quarantine lasts twice as long, at most 64
 * times quarantine_ms. When the device has been free for as long as the last one lasted, one
 * doubling is taken back.
 */
struct iopf_dev_limits {
	uint32_t stalls;	/**< that handlers may hold, deferred or taken; more than the IOMMU
				  * has limit nothing, as the log warns [7/8 of the IOMMU's while
				  * another device is attached too, otherwise all] */
	uint32_t rate;		/**< faults a second that reach a handler [no limit] */
	uint32_t burst;		/**< of these, at once, after burst / rate seconds without a fault;
				  * needs rate [rate] */
	uint32_t quarantine_rate; /**< faults a second, refused ones and aborted accesses included,
				  * past which it is quarantined; so many may come at once
				  * [never] */
	uint32_t quarantine_ms;	/**< needs quarantine_rate [1000] */
	/**
	 * The device was quarantined past quarantine_rate, for @p ms; or (ms is 0) has come back by
	 * itself, with its PRI: if that cannot be switched on, the library tries again each
	 * quarantine_ms, and calls this when it is on. If the IOMMU is stopped, that is after its
	 * start. A device without a domain has come back without PRI, which it gets with the
	 * attach. On the policy thread of the library. It
	 * should not block: the policies of other devices wait. Control calls in it return
	 * -EDEADLK. May be called before iopf_dev_add() returns: its accesses without a domain
	 * count. May be NULL.
	 */
	void (*quarantined)(struct iopf_dev *dev, uint32_t ms, void *ctx);
	void *ctx;
};

/**
 * Quarantine the device until iopf_dev_release(). When it returns 0, its accesses abort and each of
 * its faults is answered. Any thread but a handler's. After an error the faults are refused, and it
 * can be called again.
 * @return 0; -ENOTSUP (the driver); -EDEADLK in a handler; -ENODEV (its removal has begun);
 *   -ETIMEDOUT; or the driver's error.
 */
int iopf_dev_quarantine(struct iopf_dev *dev);

/**
 * End the device's quarantine, also one that its rate caused. Its quarantine_rate holds from then
 * on, and may quarantine it again before this returns. 0, also if it is free; -EDEADLK in a
 * handler; or an error as of iopf_dev_quarantine(), after which it can be called again. If only PRI
 * could not be switched on: the error of iopf_dev_pri_restart(), which is to be called then; the
 * device is free. If the IOMMU is stopped, PRI comes back with its start.
 */
int iopf_dev_release(struct iopf_dev *dev);

/**
 * True if a handler may return IOPF_DEFER or IOPF_TAKEN for this group: its device holds fewer
 * stalls than its limit (iopf_dev_limits.stalls). Call it in the handler of the group before the
 * handler gives work away: without room the answer is IOPF_INVALID and the id is stale. If it is
 * false, give no work away and return IOPF_DEFER: the library refuses the fault and counts it
 * (IOPF_DEV_STAT_REFUSED_SHARE). That opens no episode, as an answer IOPF_INVALID of the handler
 * would with report_first. An answer of another thread may have made room meanwhile: then the
 * deferred handler is called, or without one the library answers IOPF_INVALID. After IOPF_TAKEN the
 * fault would wait in that case. The room is kept until the handler returns, unless another device
 * is attached meanwhile. Always true in a deferred handler and for page requests. false with
 * rte_errno EINVAL: @p group is NULL.
 */
bool iopf_group_has_room(const struct iopf_group *group);

/**
 * True while the device is quarantined: its faults are refused, and once the IOMMU has been changed
 * its accesses abort. Any thread.
 */
bool iopf_dev_is_quarantined(const struct iopf_dev *dev);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POLICY_H */
