/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_IOMMU_H
#define IOPF_IOMMU_H

/**
 * @file
 * For an application that sizes an IOMMU, reads its capabilities, sleeps on it, or gives it memory:
 * what iopf.h does by default.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Capabilities of an IOMMU. */
struct iopf_iommu_info {
	const char *driver;
	const char *backend;	/**< how the registers are reached */
	uint8_t sid_bits;
	uint8_t pasid_bits;	/**< 0: no PASIDs */
	uint8_t addr_bits;	/**< of device addresses of memory */
	uint8_t va_bits;
	uint32_t granules;	/**< bit n: pages of 2^n bytes */
	bool stage2;		/**< it translates IOPF_FORMAT_ARM64_S2, and nested domains */
	uint8_t ipa_bits;	/**< with stage2: limit of va_bits of that format */
	uint8_t vmid_bits;	/**< with stage2: 2^n - 1 domains of that format at once */
	bool access_flag;	/**< it sets access flags in tables: iopf_translation.access_flag */
	bool dirty;		/**< and the dirty state: iopf_translation.dirty */
	uint32_t max_stalls;	/**< of all devices at once (STALL_MAX); 0: it cannot stall */
	bool stall_forced;	/**< it can only stall */
	bool razwi;		/**< IOPF_RAZWI is possible */
	bool fixed_memory;	/**< memory has the physical address that iopf_dma_map() found: do
				 * not return it to the kernel before iopf_dma_unmap() */
	uint32_t request_queue_size; /**< page requests that it can hold; 0: no page requests */
	uint32_t max_requests;	/**< page requests that all devices together may have
				  * outstanding; the rest of the queue is for stop markers */
	bool pri_pasid;		/**< each answer has the PASID of its request */
	uint16_t nb_queues;	/**< of faults; 2 with page requests */
	uint16_t nb_stats;	/**< counters of the driver */
	uint32_t max_event_queue;	/**< entries; of the maxima 0: the driver does not say */
	uint32_t max_command_queue;
	uint32_t max_request_queue;
};

const struct iopf_iommu_info *iopf_iommu_info(const struct iopf_iommu *iommu);

struct iopf_iommu_conf {
	uint32_t event_queue_size;	/**< entries, a power of two [holds all stalls twice] */
	uint32_t command_queue_size;	/**< entries, a power of two [1024, or the maximum] */
	uint32_t request_queue_size;	/**< entries, a power of two [1024, or the maximum] */
	uint32_t partial_ms;		/**< a group without Last for longer is discarded and
					  * reported; at least 1 [1000] */
	uint32_t share_ms;		/**< when stalls run out, a device with more than an equal
					  * share gives up older ones: INVALID [1000] */
	/** The poll thread calls it for each record that needs no answer and that no handler
	 * gets, but not for malformed records and stop markers; for the page requests of a group
	 * whose Last has not come within partial_ms; and for faults that were answered at their
	 * deadline (IOPF_FAULT_EXPIRED). */
	void (*report)(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx);
	void *report_ctx;
	/**
	 * A StreamID of no device may flood the event queue, and each report costs the poll thread
	 * a call. Its reports that are left out are counted (reports_left_out); listeners get all
	 * events (iopf_listener.h).
	 */
	uint32_t unknown_sid_rate;	/**< reports of unknown StreamIDs a second, and so many at
					  * once: up to twice as many in the first second of a
					  * flood [no limit] */
	bool mute_unknown_sids;		/**< no reports of unknown StreamIDs */
};

/**
 * Set options for the next start that succeeds.
 * @return 0; -EINVAL (a size); -EBUSY (started, or a deferred handler still has a fault from
 *   before the stop).
 */
int iopf_iommu_configure(struct iopf_iommu *iommu, const struct iopf_iommu_conf *conf);

/**
 * Sleep instead of polling: a record or an error writes to @p fd, an eventfd of the caller's (one
 * for each IOMMU: the last call counts). After the wake-up the caller calls it with -1, before
 * iopf_poll(), to end this. iopf_poll() may be called meanwhile. A stop, a start, a suspend, also
 * one that is refused, and a resume end it with a wake-up. It does not wait for one of these, which
 * may need passes of the caller. While the IOMMU is suspended no record comes, and its resume wakes
 * the caller.
 * @return 0; 1 (do not sleep: a record is there already, or one of these is under way);
 *   -ENOTSUP (no such interrupt); -EINVAL (not started, or @p fd below -1); -EIO (it has failed:
 *   stop it); -EDEADLK in a handler; -ETIMEDOUT; or the error of duplicating @p fd.
 */
int iopf_iommu_idle(struct iopf_iommu *iommu, int fd);

/**
 * Let the IOMMU and its devices reach [@p ptr, @p ptr + @p len).
 * @param[out] addr its device address; contiguous.
 * @return 0, -EINVAL, -ENOSPC, -ENOMEM, -ERANGE (the device address has more bits than addr_bits:
 *   the SMMU cannot reach it), -EEXIST (the software model: part of it is mapped already), or
 *   -ENOTSUP (the memory has no device address).
 */
int iopf_dma_map(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t *addr);
/** @return 0; -ENOENT (not mapped at this device address); or the driver's error. */
int iopf_dma_unmap(struct iopf_iommu *iommu, void *ptr, size_t len, uint64_t addr);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_IOMMU_H */
