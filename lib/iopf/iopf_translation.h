/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_TRANSLATION_H
#define IOPF_TRANSLATION_H

/**
 * @file
 * The tables of a domain: iopf_domain_conf.translation. The application has them, and changes them
 * while devices access memory; lib/pgtable builds some. iopf.h includes this header.
 */

#include <stdbool.h>
#include <stdint.h>

/** Formats of address translation that drivers may know. */
enum iopf_format {
	IOPF_FORMAT_NONE,	/**< no address is mapped: each access faults */
	IOPF_FORMAT_ARM64_S1,	/**< VMSAv8-64 stage 1, lower half */
	/**
	 * VMSAv8-64 stage 2: the addresses of accesses, faults and invalidations are IPAs. Such a
	 * domain is attached with IOPF_NO_PASID, and is the device's only one.
	 */
	IOPF_FORMAT_ARM64_S2,
	/**
	 * Nested: stage 1 by the context descriptors of a guest, behind the stage 2 of
	 * iopf_domain_conf.parent. All that a guest writes, also the addresses of its tables, is
	 * read at IPAs of the parent. As for the parent itself, such a domain is attached with
	 * IOPF_NO_PASID, is the device's only one, and translates all its traffic, here with each
	 * PASID. Its faults have the PASIDs of the accesses. With IOPF_FAULT_STAGE2 map ipa in the
	 * parent, never addr; without it the fault is the guest's own.
	 */
	IOPF_FORMAT_ARM64_GUEST,
};

/** For the driver; the library reads the format only. */
struct iopf_translation {
	enum iopf_format format;
	uint64_t root;		/**< device address of the first table */
	uint64_t mair;		/**< memory attributes by index [index 0: normal write-back]; stage
				  * 2 has none */
	uint8_t va_bits;	/**< no default; in stage 2 the width of IPAs */
	uint8_t granule_log2;	/**< no default; one of iopf_iommu_info.granules */
	uint8_t pa_bits;	/**< [the IOMMU's] */
	uint8_t levels;		/**< stage 2: of the table, whose first level has 1 to 16
				  * concatenated tables [as few as possible, as lib/pgtable] */
	/**
	 * ARM64_S1 and S2: the IOMMU sets the access flag of a leaf that it uses. Without it, or
	 * where the IOMMU cannot (iopf_iommu_info.access_flag), the access is a fault with
	 * IOPF_REASON_ACCESS.
	 */
	bool access_flag;
	/**
	 * With access_flag: and makes a writable-clean leaf (DBM) dirty when it is written. Without
	 * it, or where the IOMMU cannot, the write is a fault with IOPF_REASON_PERMISSION.
	 */
	bool dirty;
	/**
	 * IOPF_FORMAT_ARM64_GUEST, the only field of that: words 0 and 1 of the STE that the guest
	 * wrote. Config must be that of stage 1; what a guest must not choose must be 0.
	 */
	uint64_t guest_ste[2];
};

#endif /* IOPF_TRANSLATION_H */
