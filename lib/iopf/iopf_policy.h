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
 * @code
 *	domain = iopf_domain_create(&(struct iopf_domain_conf){
 *		.handler = on_fault,			// its first IOPF_INVALID opens the episode
 *		.storm = &(struct iopf_storm_conf){ .report_first = true },
 *	});
 *	...
 *	reset_context(gpu, pasid);			// any thread
 *	if (iopf_domain_rearm(domain, gpu, pasid, &episode) == 0)
 *		dump_crash(&episode.first, episode.faults, episode.pages, episode.nb_pages);
 * @endcode
 */

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Policies of a domain for storms, for each attachment on its own. */
struct iopf_storm_conf {
	bool report_first;	/**< a fatal verdict opens an episode */
};

/** A page of 4 KiB, and its faults. */
struct iopf_episode_page {
	uint64_t addr;
	uint64_t faults;	/**< page requests of a group are counted one by one */
};

/** The most pages that an episode tells apart. */
#define IOPF_EPISODE_PAGES 64

/** Each fault is either given to a handler or counted in one episode. */
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

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POLICY_H */
