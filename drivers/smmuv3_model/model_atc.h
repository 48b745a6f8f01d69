/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ATC_H
#define SMMUV3_MODEL_ATC_H

#include <stdbool.h>
#include <stdint.h>

#include "model_access.h"
#include "smmuv3_spec.h"

struct smmuv3_ep;
struct smmuv3_inv;
struct smmuv3_model;
struct smmuv3_page;

#define SMMUV3_ATC_LOG2 12

struct smmuv3_atc_entry {
	uint64_t vpn;
	uint64_t pa;
	uint64_t checked;	/* the oracle has checked invalidations up to this number */
	uint32_t gen;		/* 0: not valid */
	uint32_t ssid;
	uint32_t space;		/* VMID and ASID of the TLB entry */
	uint64_t ipa;		/* if stage 2 translated it */
	bool s1, s2;		/* the stages that translated it */
	bool ssv, priv;
	bool read, write, exec;
	bool stale;		/* used after the TLBI and SYNC of its page */
	uint64_t born;		/* oracle.seq when it was inserted */
};

struct smmuv3_atc_entry *smmuv3_atc_find(struct smmuv3_ep *ep, bool ssv, uint32_t ssid,
		const struct smmuv3_access *acc);
void smmuv3_atc_insert(struct smmuv3_ep *ep, bool ssv, uint32_t ssid,
		const struct smmuv3_access *acc, const struct smmuv3_page *page);
void smmuv3_atc_clear(struct smmuv3_ep *ep);
void smmuv3_atc_drop_pages(struct smmuv3_ep *ep, const struct smmuv3_inv *inv);
void smmuv3_execute_atc_inv(struct smmuv3_model *m, unsigned int queue,
		const struct smmuv3_cmd *cmd);
/* No ATC_INV follows for this endpoint: report missing ones. */
void smmuv3_atc_check_end(struct smmuv3_ep *ep);

#endif /* SMMUV3_MODEL_ATC_H */
