/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ATC_H
#define SMMUV3_ATC_H

/**
 * @file
 * The ATCs that an attachment concerns. The table of them is written under
 * smmuv3.tables_lock; the fast path reads it without (atc.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "smmuv3_cmd.h"
#include "smmuv3_spec.h"

struct smmuv3;
struct smmuv3_attachment;
struct smmuv3_dev;
struct smmuv3_domain;

/* (StreamID, PASID) pairs with ATS that one domain can be attached to; all domains together. */
#define SMMUV3_MAX_ATCS		32
#define SMMUV3_NB_ATCS		1024

/* Of one (StreamID, PASID) that is attached with ATS: see atc.c. */
struct smmuv3_atc {
	_Atomic uint64_t word;		/* 0: none */
};

#define SMMUV3_ATC_SID	SMMUV3_BITS(31, 0)
#define SMMUV3_ATC_SSID	SMMUV3_BITS(51, 32)
#define SMMUV3_ATC_SSV	SMMUV3_BIT(52)
#define SMMUV3_ATC_USED	SMMUV3_BIT(53)
#define SMMUV3_ATC_CUT	SMMUV3_BIT(54)

static inline uint64_t
smmuv3_atc_load(const struct smmuv3_atc *atcs, unsigned int i)
{
	/* Acquires the release of add_one(), del_all() or cut_off(). */
	return atomic_load_explicit(&atcs[i].word, memory_order_acquire);
}

/* ATC_INVs are sent to it. */
static inline bool
smmuv3_atc_takes_inv(uint64_t word)
{
	return (word & (SMMUV3_ATC_USED | SMMUV3_ATC_CUT)) == SMMUV3_ATC_USED;
}

int smmuv3_atc_open(struct smmuv3 *s);
void smmuv3_atc_close(struct smmuv3 *s);
/* Put the device's ATCs on the domain's list. -ENOSPC, -EIO (cut off). */
int smmuv3_atc_add(struct smmuv3 *s, struct smmuv3_attachment *a);
void smmuv3_atc_del(struct smmuv3 *s, struct smmuv3_attachment *a);
/*
 * Empty the device's ATCs of this PASID, or of everything, and wait for it. 0: they are
 * empty, or cut off, which the SMMU has been told.
 */
int smmuv3_atc_inv_attachment(struct smmuv3 *s, const struct smmuv3_attachment *a);
/* ... of all; for start. */
int smmuv3_atc_inv_all(struct smmuv3 *s);
/* ... without waiting. */
void smmuv3_atc_post_inv_all(struct smmuv3 *s);
/* Behind a TLBI and CMD_SYNC that are complete. -EIO: one did not answer. */
int smmuv3_atc_inv_ranges(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n);
/* What comes behind these, their CMD_SYNC, with its own. */
unsigned int smmuv3_atc_make_cmds(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n,
		struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS]);

/* atc_cut.c */
/* One of the device's ATCs did not answer: its accesses abort until all of it was detached. */
bool smmuv3_atc_is_cut(const struct smmuv3 *s, const struct smmuv3_dev *dev);
/* The CMD_SYNC at this position failed, and nothing is executed now. Owner of the queue. */
void smmuv3_atc_handle_timeout(struct smmuv3 *s, uint64_t pos);

#endif /* SMMUV3_ATC_H */
