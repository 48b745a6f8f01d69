/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_INVAL_H
#define IOPF_INVAL_H

/**
 * @file
 * Invalidation arrays: after a change of its tables the owner of a domain gives the ranges that
 * changed, and waits until no device uses what they were.
 *
 * All requests of an array are checked before the first command is issued. Commands are issued in
 * batches, in the order of the array. An array that fails is complete up to result.done: for these
 * requests the call has kept its promise. The others may be issued again, in any order, as often as
 * necessary. A request that was not issued, or whose completion is not known, is never counted.
 *
 * A device's ATC that does not answer fails the array once. The device is cut off, so that none of
 * its accesses reaches memory, and the same array then succeeds.
 *
 * Threads: any but a fast handler, concurrently, without a lock, also while attachments change and
 * while IOMMUs start, stop, suspend or resume.
 *
 * Example: frames are freed when nothing uses them.
 * @code
 *	struct iopf_inv_result r;
 *
 *	if (iopf_invalidate(domain, inv, n, &r) < 0)
 *		log("%u of %u: %s", r.failed, n, iopf_inv_error_name(r.error));
 *	free_frames(frames, r.done);
 *	keep_frames(frames + r.done, n - r.done);
 * @endcode
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_domain;

/** A range of input addresses whose translation changed; IPAs in a stage-2 domain. */
struct iopf_inv {
	uint64_t addr;		/**< aligned to 4 KiB; ignored with all */
	uint64_t size;		/**< bytes, a multiple of 4 KiB, not 0 */
	uint8_t leaf_log2;	/**< log2 of the size of each entry that changed [unknown] */
	bool leaf_only;		/**< no table was removed */
	bool all;		/**< everything of the domain */
};

/** Why an array of invalidations failed. */
enum iopf_inv_error {
	IOPF_INV_OK,
	IOPF_INV_REFUSED,	/**< a check: nothing was issued */
	IOPF_INV_ILL,		/**< the IOMMU refused a command as illegal; it was skipped */
	IOPF_INV_ABT,		/**< the IOMMU could not read a command, also when it tried again,
				  * or has failed otherwise: it executes none any more */
	IOPF_INV_ATC,		/**< an ATC did not answer: its device is cut off from memory */
	IOPF_INV_TIMEOUT,	/**< not complete in time: it may be complete later */
};
#define IOPF_NB_INV_ERRORS 6
const char *iopf_inv_error_name(enum iopf_inv_error error);

struct iopf_inv_result {
	/** Length of the longest prefix that a completed synchronisation covers. */
	unsigned int done;
	/**
	 * The first request that failed; n: none. It equals done, but with IOPF_INV_REFUSED, where
	 * done is 0; then n, if no request is at fault.
	 */
	unsigned int failed;
	enum iopf_inv_error error;
	uint32_t sid;		/**< IOPF_INV_ATC: the StreamID; of several, the one of failed */
};

/**
 * Invalidate in all IOMMUs that the domain is attached to. When it returns, no device uses a
 * translation that the prefix of result->done requests covers. Of several IOMMUs that fail, the
 * result is that of the least prefix. Of a domain with IOPF_FORMAT_ARM64_S2 the nested domains are
 * invalidated too. A nested domain has no table of its own: -EINVAL.
 * @param[out] result may be NULL. With 0: n, n and IOPF_INV_OK.
 * @return 0; -EINVAL or -EDEADLK (in a fast handler): IOPF_INV_REFUSED; -ETIMEDOUT:
 *   IOPF_INV_TIMEOUT; -EIO: the others.
 */
int iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_INVAL_H */
