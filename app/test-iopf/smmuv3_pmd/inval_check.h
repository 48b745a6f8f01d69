/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef INVAL_CHECK_H
#define INVAL_CHECK_H

/*
 * What invalidate() must report, from the commands that the model executed. A request is complete
 * when TLBIs of the domain that a completed CMD_SYNC covers contain all of it, and after that
 * CMD_SYNC ATC_INVs that were answered contain all of it for each ATC of the domain.
 *
 * Of a type that names one ATC, that ATC counts alone; DEVICE_TLB needs no TLBI. CONFIG, and PASID
 * of a nested domain, need CFGI_CDs first.
 *
 * The requests of an array are disjoint and no two share a TLBI, but for a request of everything:
 * TLBIs of everything count for that alone, and in an array with types ATC_INVs too. This is not
 * the driver's code, nor does it look into the driver.
 */

#include <stdbool.h>
#include <stdint.h>

#include <iopf_inval.h>

#include "cmd_trace.h"

#define CHECK_MAX_ATCS 16

/* One ATC that the domain uses and that was not cut off before the call. */
struct check_atc {
	const struct iopf_dev *dev;
	uint32_t sid;
	uint32_t pasid;		/* IOPF_NO_PASID: untagged */
	bool each_pasid;	/* of a nested domain: all but untagged */
};

/* A device that the domain is attached to. */
struct check_dev {
	const struct iopf_dev *dev;
	uint32_t sid;
};

struct check_domain {
	bool stage2;
	bool nested;
	bool typed;		/* the array has types, or the domain is nested */
	uint16_t asid, vmid;
	struct check_dev devs[CHECK_MAX_ATCS];
	unsigned int nb_devs;
	struct check_atc atcs[CHECK_MAX_ATCS];
	unsigned int nb_atcs;
	/*
	 * A request of more entries becomes one of everything; UINT64_MAX: none. Of a nested domain
	 * the driver knows the granule, and has range commands, only with leaf_log2.
	 */
	uint64_t max_entries, max_unknown;
};

struct check_result {
	unsigned int first;	/* the first request that is not complete; n: none */
	bool tlb;		/* its TLBIs or CFGI_CDs are not */
	uint32_t missing;	/* ATCs of the domain, a bit each, that lack its ATC_INV */
};

/* The driver issues the TLBI of everything for it. */
bool check_is_everything(const struct check_domain *d, const struct iopf_inv *inv);
struct check_result check_array(const struct check_domain *d, const struct iopf_inv *inv,
		unsigned int n, const struct cmd_trace *t);

#endif /* INVAL_CHECK_H */
