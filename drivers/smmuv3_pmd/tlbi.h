/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_TLBI_H
#define SMMUV3_TLBI_H

/**
 * @file
 * Invalidation of TLBs [4.4], and of ATCs after them.
 */

#include <stdint.h>

#include <iopf_driver.h>

struct smmuv3;
struct smmuv3_cmd;
struct smmuv3_domain;

/* Commands for one range into cmds[], at most max; 0 when it takes more. */
unsigned int smmuv3_tlbi_make_cmds(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max);
int smmuv3_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done);

#endif /* SMMUV3_TLBI_H */
