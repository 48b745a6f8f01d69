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

/* All entries of the domain: of its ASID, or of its VMID. */
struct smmuv3_cmd smmuv3_tlbi_make_all(const struct smmuv3_domain *domain);
/* After TLBIs of ranges and their CMD_SYNC: TLBI_NH_ALL by VMID is needed too. */
bool smmuv3_tlbi_has_combined(const struct smmuv3_domain *domain);
/*
 * Write the commands for one range to cmds[], at most max. 0: it takes more, or no command has bits
 * for it.
 */
unsigned int smmuv3_tlbi_make_cmds(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max);
/* The same without range commands: one for each entry. */
unsigned int smmuv3_tlbi_make_page_cmds(const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max);
/* TLBI, CMD_SYNC, ATC_INV, CMD_SYNC. */
int smmuv3_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result);

#endif /* SMMUV3_TLBI_H */
