/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Types of invalidation requests: which of them a domain has. */

#include <stddef.h>

#include <rte_common.h>

#include "dev.h"
#include "domain.h"
#include "iopf_inval.h"

const char *
iopf_inv_error_name(enum iopf_inv_error error)
{
	static const char *const names[IOPF_NB_INV_ERRORS] = {
		[IOPF_INV_OK] = "ok",
		[IOPF_INV_REFUSED] = "refused",
		[IOPF_INV_ILL] = "illegal",
		[IOPF_INV_ABT] = "aborted",
		[IOPF_INV_ATC] = "atc",
		[IOPF_INV_TIMEOUT] = "timeout",
	};

	return (unsigned int)error < IOPF_NB_INV_ERRORS ? names[error] : "unknown";
}

const char *
iopf_inv_type_name(enum iopf_inv_type type)
{
	static const char *const names[IOPF_NB_INV_TYPES] = {
		[IOPF_INV_RANGE] = "range",
		[IOPF_INV_TAG] = "tag",
		[IOPF_INV_PASID] = "pasid",
		[IOPF_INV_DEVICE_TLB] = "device_tlb",
		[IOPF_INV_CONFIG] = "config",
	};

	return (unsigned int)type < IOPF_NB_INV_TYPES ? names[type] : "unknown";
}

static const char *
find_range_fault(const struct iopf_inv *inv)
{
	if (iopf_inv_has_range(inv))
		return NULL;
	if (inv->size == 0)
		return "the size is 0: use a multiple of 4096, or all";
	if (((inv->addr | inv->size) & 0xfff) != 0)
		return "use an address and a size that are multiples of 4096";
	return "the range ends beyond 2^64: use a smaller size, or all";
}

/* (dev, pasid) of a request that has a device. */
static const char *
find_pasid_fault(const struct iopf_domain *domain, const struct iopf_inv *inv)
{
	if (inv->pasid == IOPF_NO_PASID)
		return NULL;
	if (domain->conf.translation.format == IOPF_FORMAT_ARM64_S2)
		return "a stage-2 domain has no PASIDs: use IOPF_NO_PASID";
	if (inv->pasid == 0 && domain->conf.parent == NULL)
		return "PASID 0 cannot be attached: use IOPF_NO_PASID for untagged traffic";
	return inv->pasid < inv->dev->conf.nb_pasids ? NULL : "its pasid is more than the device "
			"was added with: use a smaller one, or IOPF_NO_PASID for untagged traffic";
}

const char *
iopf_inv_find_plain_fault(const struct iopf_inv *inv)
{
	return inv->type != IOPF_INV_RANGE ? "a handler can invalidate ranges only: defer the "
			"fault, and use iopf_invalidate()" : find_range_fault(inv);
}

const char *
iopf_inv_find_fault(const struct iopf_domain *domain, const struct iopf_inv *inv)
{
	bool nested = domain->conf.parent != NULL;
	const char *why = NULL;

	switch (inv->type) {
	case IOPF_INV_RANGE:
		return find_range_fault(inv);
	case IOPF_INV_TAG:
		return nested ? find_range_fault(inv) : "the domain is not nested, and its tag is "
			"the driver's: use a range, or all";
	case IOPF_INV_PASID:
		if (inv->dev == NULL)
			return "it needs a device";
		break;
	case IOPF_INV_DEVICE_TLB:
		why = find_range_fault(inv);
		break;
	case IOPF_INV_CONFIG:
		if (!nested)
			return "the domain is not nested, and its descriptors are the driver's";
		if (inv->all)
			return NULL;
		if (inv->dev == NULL)
			return "it needs a device, or all";
		break;
	default:
		return "its type is unknown: use one of enum iopf_inv_type";
	}
	return why != NULL || inv->dev == NULL ? why : find_pasid_fault(domain, inv);
}
