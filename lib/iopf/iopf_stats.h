/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_STATS_H
#define IOPF_STATS_H

/**
 * @file
 * Counters, latencies and the dump. The same counters are in telemetry: /iopf/list,
 * /iopf/info, /iopf/stats, /iopf/latency, /iopf/outstanding.
 */

#include <stdint.h>
#include <stdio.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Counters of a domain; each has a name. */
enum iopf_stat {
	IOPF_STAT_FAULTS,	/**< given to a handler; a group of page requests counts as one */
	IOPF_STAT_SUCCESS,	/**< answered so */
	IOPF_STAT_INVALID,
	IOPF_STAT_FAILURE,
	IOPF_STAT_RAZWI,
	IOPF_STAT_DEFERRED,
	IOPF_STAT_TAKEN,
	IOPF_STAT_AFTER_INV,	/**< answered behind an invalidation */
	IOPF_STAT_CANCELLED,	/**< answered by a detach or a stop in place of the handler */
	IOPF_STAT_EXPIRED,	/**< answered by the deadline */
	IOPF_STAT_TERMINATED,	/**< ended by the IOMMU itself */
	IOPF_STAT_REQUESTS,	/**< page requests of the groups among the faults */
};
#define IOPF_NB_STATS 12
const char *iopf_stat_name(enum iopf_stat stat);
uint64_t iopf_domain_stat(const struct iopf_domain *domain, enum iopf_stat stat);

/** Faults of the domain that are not answered yet. */
uint64_t iopf_domain_pending(const struct iopf_domain *domain);

/** Counters of an IOMMU; each has a name. */
enum iopf_iommu_stat {
	IOPF_IOMMU_STAT_RECORDS,	/**< read from its queues */
	IOPF_IOMMU_STAT_BURSTS,		/**< reads that found any */
	IOPF_IOMMU_STAT_FAULTS,		/**< that wanted an answer */
	IOPF_IOMMU_STAT_ANSWERS,	/**< sent */
	IOPF_IOMMU_STAT_REPORTS,	/**< that wanted none */
	IOPF_IOMMU_STAT_UNKNOWN_SID,	/**< faults of no known device: INVALID */
	IOPF_IOMMU_STAT_NO_DOMAIN,	/**< faults of a device or PASID not attached: INVALID */
	IOPF_IOMMU_STAT_NO_SLOT,	/**< more faults than the IOMMU may have: INVALID */
	IOPF_IOMMU_STAT_BAD_RECORD,	/**< not what an IOMMU writes: counted, nothing else */
	IOPF_IOMMU_STAT_STALE_ANSWERS,	/**< iopf_group_respond() without its group */
	IOPF_IOMMU_STAT_RESETS,		/**< recoveries that ended all stalls */
	IOPF_IOMMU_STAT_GROUPS,		/**< page request groups that were complete */
	IOPF_IOMMU_STAT_STOP_MARKERS,
	IOPF_IOMMU_STAT_OVERFLOWS,	/**< of the request queue, or requests lost otherwise */
	IOPF_IOMMU_STAT_DISCARDED,	/**< page requests of partial groups: overflow, stop marker,
					  * detach */
	IOPF_IOMMU_STAT_AGED,		/**< ... whose Last did not come in time */
	IOPF_IOMMU_STAT_DUPLICATES,	/**< page requests of a group that waits for its answer:
					  * dropped */
	IOPF_IOMMU_STAT_CUT,		/**< page requests beyond a group's size or without a slot:
					  * left out, the device asks again */
	IOPF_IOMMU_STAT_ANSWERS_LOST,	/**< answers that the driver could not give */
	IOPF_IOMMU_STAT_OVER_SHARE,	/**< faults that a device over its share of the stalls had to
					  * give up: INVALID */
	IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID, /**< accesses of no known device that the IOMMU
					  * aborted: among the reports */
	IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN, /**< the same of a device or PASID not attached */
};
#define IOPF_NB_IOMMU_STATS 22
const char *iopf_iommu_stat_name(enum iopf_iommu_stat stat);
uint64_t iopf_iommu_stat(const struct iopf_iommu *iommu, enum iopf_iommu_stat stat);

/** Counters of a device: what of it was refused, and why. Each has a name. */
enum iopf_dev_stat {
	IOPF_DEV_STAT_NO_DOMAIN,	/**< faults and aborted accesses of a PASID that is not
					  * attached (or without one) */
	IOPF_DEV_STAT_REPORTS,		/**< aborted accesses of what is attached, with no handler to
					  * ask: given to report */
	IOPF_DEV_STAT_OVER_SHARE,	/**< faults that it had to give up, being over its share of the
					  * IOMMU's stalls: INVALID */
};
#define IOPF_NB_DEV_STATS 3
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

/** Write all that is known of an IOMMU, for people. */
void iopf_iommu_dump(const struct iopf_iommu *iommu, FILE *f);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_STATS_H */
