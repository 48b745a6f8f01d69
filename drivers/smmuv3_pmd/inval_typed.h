/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_INVAL_TYPED_H
#define SMMUV3_INVAL_TYPED_H

/**
 * @file
 * Requests of iopf_invalidate() with a type, and those of nested domains.
 *
 * Ranges of other domains than nested ones are those of tlbi.c. The others are issued in three
 * steps: CFGI_CD, TLBI, ATC_INV. Each step is of all requests that follow each other and are no
 * such ranges, in the order of the array, in chunks with a CMD_SYNC each, and starts after the
 * CMD_SYNCs of the step before: a CD that is cached could fill the TLB again, and the TLB an ATC
 * [3.9.1]. After an error of a step the others go on for the requests before it, so that these are
 * complete.
 *
 *	type		CFGI		TLBI, under the VMID of a nested domain	ATC_INV
 *	RANGE				NH_VAA; NH_ALL				each PASID
 *	TAG				NH_VA, NH_ASID by ASID (of all), NH_ALL	each PASID
 *	PASID		CD (nested)	NH_ASID (nested: of the tag), S12_VMALL	of (dev, pasid)
 *	DEVICE_TLB							of (dev, pasid), or each
 *	CONFIG		CD, CD_ALL
 */

#include <iopf_inval.h>

/* The operation invalidate_typed. */
int smmuv3_invalidate_typed(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result);

#endif /* SMMUV3_INVAL_TYPED_H */
