/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_STATS_H
#define IOPF_STATS_H

/**
 * @file
 * Counters, latencies and the dump. The same counters are in telemetry: /iopf/list,
 * /iopf/info, /iopf/devices, /iopf/stats, /iopf/latency, /iopf/histogram, /iopf/outstanding,
 * /iopf/queues, /iopf/listeners; and /iopf/pools of lib/mmem.
 * The dump and telemetry also show which devices are quarantined, which breakers have tripped and
 * which episodes are open.
 *
 * The functions that read a counter return 0 with rte_errno EINVAL if the object is NULL or there
 * is no such counter. A counter may be 0: set rte_errno to 0 before, where that matters.
 */

#include <stdint.h>
#include <stdio.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Counters of a domain. Each of its faults waits for an answer or is in one of SUCCESS, INVALID,
 * FAILURE, RAZWI and TERMINATED. Other counters overlap with these: CANCELLED, EXPIRED, and the
 * faults in COUNTED are in INVALID too, RETRIED is in SUCCESS, AFTER_INV and JOINED are in that of
 * the answer. DEFERRED and TAKEN count verdicts. Aborted accesses are in COUNTED only.
 */
enum iopf_stat {
	IOPF_STAT_FAULTS,	/**< of attached devices; a page request group counts as one */
	IOPF_STAT_SUCCESS,	/**< answered with this code */
	IOPF_STAT_INVALID,
	IOPF_STAT_FAILURE,
	IOPF_STAT_RAZWI,
	IOPF_STAT_DEFERRED,
	IOPF_STAT_TAKEN,
	IOPF_STAT_AFTER_INV,	/**< answered after an invalidation */
	IOPF_STAT_CANCELLED,	/**< given to a handler, or joined, and answered INVALID in its
				  * place by a detach, a breaker, a quarantine or a stop */
	IOPF_STAT_EXPIRED,	/**< answered by the deadline, or given up by a device over its
				  * share: INVALID */
	IOPF_STAT_TERMINATED,	/**< ended by the IOMMU */
	IOPF_STAT_REQUESTS,	/**< page requests in the groups among the faults */
	IOPF_STAT_EPISODES,	/**< opened: see iopf_policy.h */
	IOPF_STAT_COUNTED,	/**< counted in an episode, without a handler or report: faults,
				  * answered INVALID, and aborted accesses */
	IOPF_STAT_JOINED,	/**< waited for a fault on the same page, or got its answer, without
				  * a handler */
	IOPF_STAT_RETRIED,	/**< answered SUCCESS by a replace instead of the handler: the
				  * access is tried again in the next domain */
};
#define IOPF_NB_STATS 16
const char *iopf_stat_name(enum iopf_stat stat);
uint64_t iopf_domain_stat(const struct iopf_domain *domain, enum iopf_stat stat);

/**
 * Faults of the domain that wait for an answer. Those of a burst under way are not among them: a
 * fault is counted when the burst's fast handlers have returned. /iopf/outstanding has them too.
 */
uint64_t iopf_domain_pending(const struct iopf_domain *domain);

/** Counters of an IOMMU. */
enum iopf_iommu_stat {
	IOPF_IOMMU_STAT_RECORDS,	/**< records read from its queues */
	IOPF_IOMMU_STAT_BURSTS,		/**< reads that found records */
	IOPF_IOMMU_STAT_FAULTS,		/**< faults that need an answer */
	IOPF_IOMMU_STAT_ANSWERS,	/**< answers sent */
	IOPF_IOMMU_STAT_REPORTS,	/**< given to report: records that need no answer, and
					  * faults past their deadline */
	IOPF_IOMMU_STAT_UNKNOWN_SID,	/**< faults of an unknown StreamID: INVALID */
	IOPF_IOMMU_STAT_NO_DOMAIN,	/**< faults without a domain: INVALID */
	IOPF_IOMMU_STAT_NO_SLOT,	/**< faults without a free slot: a stall gets INVALID, a
					  * page request with Last SUCCESS (INVALID if all slots
					  * are retired) */
	IOPF_IOMMU_STAT_BAD_RECORD,	/**< records that no IOMMU writes: only counted */
	IOPF_IOMMU_STAT_STALE_ANSWERS,	/**< iopf_group_respond() with the id of a group that was
					  * answered or cancelled */
	IOPF_IOMMU_STAT_RESETS,		/**< recoveries, which end all stalls, and failures for
					  * good */
	IOPF_IOMMU_STAT_GROUPS,		/**< complete page request groups */
	IOPF_IOMMU_STAT_STOP_MARKERS,
	IOPF_IOMMU_STAT_OVERFLOWS,	/**< losses of page requests, by an overflow or otherwise */
	IOPF_IOMMU_STAT_DISCARDED,	/**< page requests of partial groups: overflow, stop marker,
					  * detach */
	IOPF_IOMMU_STAT_AGED,		/**< page requests of groups whose Last did not come in
					  * time (partial_ms) */
	IOPF_IOMMU_STAT_DUPLICATES,	/**< page requests of a group that waits for its answer:
					  * dropped */
	IOPF_IOMMU_STAT_CUT,		/**< page requests beyond a group's size or without a slot:
					  * dropped, the device requests them again */
	IOPF_IOMMU_STAT_ANSWERS_LOST,	/**< answers that the driver could not deliver */
	IOPF_IOMMU_STAT_OVER_SHARE,	/**< stalls that a device over its share gave up: INVALID */
	IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID, /**< aborted accesses of an unknown StreamID: among
					  * the reports */
	IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN, /**< aborted accesses without a domain */
	IOPF_IOMMU_STAT_SLOTS_RETIRED,	/**< slots that have served 2^40 faults and are not used
					  * again, so that each group id is unique */
	IOPF_IOMMU_STAT_EVENT_LOSSES,	/**< times that the IOMMU may have lost events that need
					  * no answer */
	IOPF_IOMMU_STAT_REPORTS_LEFT_OUT, /**< not given to report: aborted accesses of unknown
					  * StreamIDs, past unknown_sid_rate or muted */
	IOPF_IOMMU_STAT_SUSPENDS,	/**< suspends that were not refused: iopf_power.h */
	IOPF_IOMMU_STAT_SUSPENDS_REFUSED, /**< at rest: in use, or a fault waited for its answer */
	IOPF_IOMMU_STAT_RESUMES,
};
#define IOPF_NB_IOMMU_STATS 28
const char *iopf_iommu_stat_name(enum iopf_iommu_stat stat);
uint64_t iopf_iommu_stat(const struct iopf_iommu *iommu, enum iopf_iommu_stat stat);

/** Counters of a device: refused faults and accesses, by reason. */
enum iopf_dev_stat {
	IOPF_DEV_STAT_NO_DOMAIN,	/**< faults and aborted accesses without a domain */
	IOPF_DEV_STAT_REPORTS,		/**< aborted accesses with a domain, which no handler gets:
					  * given to report */
	IOPF_DEV_STAT_OVER_SHARE,	/**< stalls that it gave up, since it was over its share:
					  * INVALID */
	IOPF_DEV_STAT_EXPIRED,		/**< faults past their deadline: INVALID, and given to
					  * report */
	IOPF_DEV_STAT_REFUSED_SHARE,	/**< stalls that no handler could hold, since it held its
					  * share: INVALID at once */
	IOPF_DEV_STAT_REFUSED_RATE,	/**< faults past its rate: INVALID at once */
	IOPF_DEV_STAT_REFUSED_QUARANTINE, /**< faults while it was quarantined: INVALID at once.
				  * Their records were read before the IOMMU was changed: later
				  * accesses abort without a record, and are not counted */
	IOPF_DEV_STAT_QUARANTINES,	/**< times that it was quarantined */
	IOPF_DEV_STAT_TRIPS,		/**< trips of the stall breakers of its attachments */
};
#define IOPF_NB_DEV_STATS 9
const char *iopf_dev_stat_name(enum iopf_dev_stat stat);
uint64_t iopf_dev_stat(const struct iopf_dev *dev, enum iopf_dev_stat stat);

/** Counter @p i of the driver, below info.nb_stats; its name through @p name. */
uint64_t iopf_iommu_driver_stat(const struct iopf_iommu *iommu, unsigned int i,
		const char **name);

/** From reading the record to sending the answer, in nanoseconds. */
struct iopf_latency {
	uint64_t samples;
	uint64_t min_ns, p50_ns, p90_ns, p99_ns, p999_ns, max_ns;
};
void iopf_domain_latency(const struct iopf_domain *domain, struct iopf_latency *latency);

/**
 * The histogram behind these: samples by step. Each power of two of rte_rdtsc() cycles has 32 steps
 * of the same width. The counts only grow, so the difference of two readings is the histogram of
 * the time between. A reading may miss samples that are added meanwhile; the next one has them. Any
 * thread.
 * @code
 *	static uint64_t before[IOPF_LATENCY_STEPS], after[IOPF_LATENCY_STEPS];
 *
 *	iopf_domain_histogram(domain, before);
 *	sleep(1);
 *	iopf_domain_histogram(domain, after);
 *	for (i = 0; i < IOPF_LATENCY_STEPS; i++)
 *		if (after[i] != before[i])
 *			printf("%" PRIu64 " faults: up to %" PRIu64 " cycles\n",
 *					after[i] - before[i], iopf_latency_step_cycles(i));
 * @endcode
 * @param[out] samples all 0 for the domain NULL.
 */
#define IOPF_LATENCY_STEPS 1152
void iopf_domain_histogram(const struct iopf_domain *domain,
		uint64_t samples[IOPF_LATENCY_STEPS]);
/** The longest latency of a step, in cycles; 0 with rte_errno EINVAL: no such step. */
uint64_t iopf_latency_step_cycles(unsigned int step);

/** Write the state and all counters of an IOMMU as text. */
void iopf_iommu_dump(const struct iopf_iommu *iommu, FILE *f);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_STATS_H */
