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
 * while IOMMUs start, stop, suspend or resume. Arrays with other types than IOPF_INV_RANGE, and
 * those of nested domains, take a lock for a short time, and a detach waits for those under way
 * that concern its attachment.
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
 *
 * Types. Most owners need ranges only. The other types are for a domain nested in another, whose
 * context descriptors and tables are a guest's, and for the devices' TLBs alone. They are requests
 * of a trusted caller, such as a VMM that shows its guest a paravirtual IOMMU. A VMM that has the
 * guest's commands passes these instead: iopf_guest.h.
 *
 *	type		stage 1		stage 2			nested
 *	RANGE		its tables	its tables, and all of	the guest's tables, with each tag
 *					the domains nested in it
 *	TAG		-		-			the guest's tables, with this tag
 *	PASID		all of (dev, pasid)	all of dev	its descriptor, all of the tag,
 *							and its entries in the ATC
 *	DEVICE_TLB	ATCs		ATCs			ATCs
 *	CONFIG		-		-			the guest's descriptors
 *
 * Those with "-" are refused: the driver owns tags and descriptors there. RANGE, TAG and PASID
 * include the ATCs after the TLBs of the IOMMU: of RANGE and TAG those of all devices that have the
 * domain, for all PASIDs. TLBs and descriptors are invalidated before the ATCs, so that nothing is
 * filled with what they were. Devices of another domain are not meant, even if it has the same
 * parent: their ATCs need a request for that domain.
 *
 * Example: a guest has removed PASID 5 of a device, whose table had tag 40, and a page of tag 41.
 * @code
 *	const struct iopf_inv inv[] = {
 *		{ .type = IOPF_INV_PASID, .dev = dev, .pasid = 5, .tag = 40 },
 *		{ .type = IOPF_INV_TAG, .tag = 41, .addr = va, .size = 4096, .leaf_only = true },
 *	};
 *
 *	iopf_invalidate(nested, inv, 2, &r);
 * @endcode
 */

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_dev;
struct iopf_domain;

/** What a request invalidates. See the table above for the domains that have it. */
enum iopf_inv_type {
	IOPF_INV_RANGE,		/**< translations of a range, or of everything */
	IOPF_INV_TAG,		/**< the same, of one tag. With all not those that the guest's
				  * tables make global: they have no tag */
	IOPF_INV_PASID,		/**< everything of one PASID of a device; global translations as
				  * for IOPF_INV_TAG */
	IOPF_INV_DEVICE_TLB,	/**< a range, or everything, in the devices' ATCs alone */
	IOPF_INV_CONFIG,	/**< the descriptor of one PASID of a device; with all each of its
				  * descriptors, or without dev of all devices. Translations
				  * that were made with it remain */
};
#define IOPF_NB_INV_TYPES 5
const char *iopf_inv_type_name(enum iopf_inv_type type);

/**
 * A request. With type 0 a range of input addresses whose translation changed: IPAs in a stage-2
 * domain, addresses of the guest's tables in a nested one. A change of an IPA is a request for the
 * parent. Let an initializer set the fields that the type does not have to 0.
 */
struct iopf_inv {
	uint64_t addr;		/**< aligned to 4 KiB; ignored with all */
	uint64_t size;		/**< bytes, a multiple of 4 KiB, not 0 */
	uint8_t leaf_log2;	/**< log2 of the size of each entry that changed [unknown] */
	bool leaf_only;		/**< no table was removed */
	bool all;		/**< everything of the domain, tag or device */
	enum iopf_inv_type type;
	/**
	 * PASID, DEVICE_TLB, CONFIG: the device, which must not be removed during the call. If it
	 * has another domain, nothing is cached for it, and the request is complete. DEVICE_TLB and
	 * CONFIG: [all devices that have the domain, with all their PASIDs].
	 */
	struct iopf_dev *dev;
	/**
	 * With dev; IOPF_NO_PASID: untagged traffic. 0 is PASID 0, which only a nested domain has.
	 */
	uint32_t pasid;
	/**
	 * TAG, and PASID of a nested domain: the number by which the guest's tables tell address
	 * spaces apart, as its descriptor has or had it. On Arm an ASID.
	 */
	uint16_t tag;
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
 * invalidated too.
 * @param[out] result may be NULL. With 0: n, n and IOPF_INV_OK.
 * @return 0; -EINVAL (with a line in the log), -EDEADLK (in a fast handler) or -ENOTSUP (the driver
 *   has IOPF_INV_RANGE only, and no nested domains): IOPF_INV_REFUSED; -ETIMEDOUT:
 *   IOPF_INV_TIMEOUT; -EIO: the others.
 */
int iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_INVAL_H */
