/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POLICY_H
#define IOPF_POLICY_H

/**
 * @file
 * For an application whose devices may go wrong: policies for faults in numbers. All are off by
 * default.
 *
 * Report first. A shader that goes wrong raises thousands of faults, of which the first tells the
 * cause. An episode of an attachment, that is of a (device, PASID), begins with a fatal verdict:
 * the handler, the deferred handler or iopf_group_respond() answers a fault IOPF_INVALID or
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
 * if all its pages have one leader. If the leader is answered IOPF_INVALID, also by a deadline, its
 * breaker, or the quarantine or detach of its device, so are they, those of other devices included. A detach or a deadline of their own answers them before.
 * A fault that is read in the same burst as one that the handler answers gets its answer too, after
 * the same invalidations.
 *
 * Stall breaker. A storm of stalls fills the IOMMU's pool of stalls, and a device whose accesses wait
 * may hang. Past max_stalls or max_rate the breaker of the attachment trips and opens an episode, if
 * none is open: its first fault is the one with which the storm began, of which a handler had some.
 * The faults are counted and answered IOPF_INVALID from then on, as for report first. Within a
 * millisecond, where no other control call has the device, accesses abort instead of stalling, and
 * all that handlers hold of the attachment is answered. It ends when iopf_domain_rearm() closes the
 * episode (within a millisecond accesses stall again; those before that are reported), or after
 * quiet_ms without a fault. In a storm of page requests the faults are only counted and answered.
 * quiet_ms does not end an episode that a fatal verdict has opened.
 *
 * @code
 *	domain = iopf_domain_create(&(struct iopf_domain_conf){
 *		.handler = on_fault,			// its first IOPF_INVALID opens the episode
 *		.storm = &(struct iopf_storm_conf){ .report_first = true, .join_log2 = 12 },
 *	});
 *	...
 *	reset_context(gpu, pasid);			// its accesses have ended
 *	iopf_dev_fence(gpu);				// the last ones are counted
 *	if (iopf_domain_rearm(domain, gpu, pasid, &episode) == 0)
 *		dump_crash(&episode.first, episode.faults, episode.pages, episode.nb_pages);
 * @endcode
 */

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_episode;

/** Policies of a domain for storms, for each attachment on its own. */
struct iopf_storm_conf {
	bool report_first;	/**< a fatal verdict opens an episode */
	uint8_t join_log2;	/**< faults on a page of 2^join_log2 bytes join the first: 12 to 48
				  * [0: each goes to a handler] */
	uint32_t max_stalls;	/**< that handlers may hold of (device, PASID), past which its
				  * breaker trips [no limit] */
	uint32_t max_rate;	/**< faults in a second past which it trips [no limit] */
	uint32_t quiet_ms;	/**< without a fault for so long, accesses stall again [only
				  * iopf_domain_rearm() ends it] */
	bool abort_device;	/**< where the IOMMU can only stall, abort all accesses of the
				  * device instead [the attach fails: -ENOTSUP] */
	/**
	 * A breaker has tripped: accesses abort, and what handlers held is answered. On the policy
	 * thread of the library. It should not block: policies of other devices wait. It must not
	 * wait for a detach or a replace of this (device, PASID), which wait for its return.
	 * Control calls in it return -EDEADLK; iopf_domain_rearm() works. May be NULL.
	 */
	void (*tripped)(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
			const struct iopf_episode *episode, void *ctx);
	void *ctx;		/**< of tripped */
};

/** A page of 4 KiB, and its faults. */
struct iopf_episode_page {
	uint64_t addr;
	uint64_t faults;	/**< page requests of a group are counted one by one */
};

/** The most pages that an episode tells apart. */
#define IOPF_EPISODE_PAGES 64

/** Each fault is given to a handler, joins one that was, or is counted in one episode. */
struct iopf_episode {
	/**
	 * The whole record of the fault that opened the episode, of a group its first request. A
	 * handler has had it: the counts below are of the faults after it.
	 */
	struct iopf_fault first;
	uint64_t faults;	/**< a page request group counts as one */
	uint64_t stalls;	/**< of these: stalled accesses */
	uint64_t aborted;	/**< of these: accesses that the IOMMU terminated */
	uint64_t requests;	/**< page requests in the groups among them */
	uint64_t first_time;	/**< rte_rdtsc() when the first record was read; 0 if faults is 0 */
	uint64_t last_time;
	uint64_t tripped;	/**< rte_rdtsc() at which the breaker tripped in it; 0: it has not */
	uint64_t lowest;	/**< addresses; 0 if faults is 0 */
	uint64_t highest;
	uint64_t other_pages;	/**< faults on pages that are not in pages[] */
	uint32_t nb_pages;
	struct iopf_episode_page pages[IOPF_EPISODE_PAGES]; /**< the first distinct ones */
};

/**
 * Read the open episode of (device, PASID). While faults arrive the counts may be some faults
 * apart from each other. Any thread, handlers included; never waits.
 * @param[out] episode may be NULL.
 * @return 0; -ENOENT: no episode is open, or the domain is not attached there.
 */
int iopf_domain_episode(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode);

/**
 * End the episode of (device, PASID): the next fault goes to the handler again. The counts are
 * exact: a fault that is not in them is given to a handler or is counted in a later episode. Any
 * thread, handlers included; never waits. Of several callers one gets the episode. A detach ends
 * it too, and its counts are lost.
 * @param[out] episode may be NULL.
 * @return 0; -ENOENT: no episode is open, or the domain is not attached there.
 */
int iopf_domain_rearm(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode);

/**
 * The breaker of (device, PASID) has tripped, and accesses do not stall again yet. After the re-arm
 * that is false within a millisecond, where no other control call has the device and the IOMMU
 * completes its commands. False, too: the domain is not attached there, or has no breaker. Any
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
 * episode. Any thread but a handler's; waits for poll threads, for wait_ms at most.
 * @code
 *	reset_context(gpu, pasid);		// its accesses have ended
 *	iopf_dev_fence(gpu);
 *	iopf_domain_rearm(domain, gpu, pasid, &episode);
 * @endcode
 * @return 0, also if the IOMMU is stopped; -EDEADLK in a handler; -ETIMEDOUT (a poll thread or a
 *   fast handler does not return, or the IOMMU does not complete its commands), -EIO.
 */
int iopf_dev_fence(struct iopf_dev *dev);

/**
 * Limits of a device, so that it cannot hurt others (iopf_dev_conf.limits). A fault past a limit is
 * answered IOPF_INVALID at once and counted (enum iopf_dev_stat). Counted are stalls, page request
 * groups and faults for retry, over all PASIDs of the device.
 *
 * A device is quarantined past quarantine_rate, or by iopf_dev_quarantine(). From then on each of
 * its faults is answered IOPF_INVALID. Within a millisecond, where no other control call has the
 * device, its PRI and ATS are switched off, the IOMMU aborts its accesses without a record, and all
 * that its handlers hold is answered. It stays attached, and can be attached, detached and removed.
 * After quarantine_ms it comes back by itself. If it is quarantined again the time doubles, up to
 * 64 times; each such time in freedom halves it.
 */
struct iopf_dev_limits {
	uint32_t stalls;	/**< that handlers may hold, deferred or taken [7/8 of the IOMMU's
				  * while another device is attached too, otherwise all] */
	uint32_t rate;		/**< faults in a second that reach a handler [no limit] */
	uint32_t burst;		/**< of these, at once [rate] */
	uint32_t quarantine_rate; /**< faults in a second, refused ones and aborted accesses
				  * included, past which it is quarantined [never] */
	uint32_t quarantine_ms;	/**< [1000] */
	/**
	 * The device was quarantined past quarantine_rate, for @p ms; or (ms is 0) has come back by
	 * itself. On the policy thread of the library. It should not block: the policies of other
	 * devices wait. Control calls in it return -EDEADLK. May be NULL.
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
 * End the device's quarantine, also one that its rate caused. 0, also if it is free; -EDEADLK in a
 * handler; or an error as of iopf_dev_quarantine() or of iopf_dev_pri_restart(), after which it can
 * be called again.
 */
int iopf_dev_release(struct iopf_dev *dev);

/**
 * The device has room in its share (iopf_dev_limits.stalls) for this group. For a handler that gives
 * work away before it returns IOPF_DEFER or IOPF_TAKEN: without room the group is then answered
 * IOPF_INVALID, and its id is stale, as after a deadline. In the handler of the group, whose verdict
 * keeps the room unless the share becomes smaller meanwhile: another device is attached. A deferred
 * handler and page requests have room. false with rte_errno EINVAL: @p group is NULL.
 */
bool iopf_group_has_room(const struct iopf_group *group);

/** Its faults are refused, or its accesses abort. Any thread. */
bool iopf_dev_is_quarantined(const struct iopf_dev *dev);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POLICY_H */
