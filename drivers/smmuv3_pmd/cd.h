/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CD_H
#define SMMUV3_CD_H

/**
 * @file
 * Context descriptors [5.3, 5.4]: a table of them for each device. One thread at a time adds,
 * removes, attaches or detaches a device and writes its CDs; threads of different devices do so
 * concurrently.
 */

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

struct iopf_translation;
struct smmuv3;
struct smmuv3_cd;
struct smmuv3_dev;
struct smmuv3_domain;

/* The CD table of a device. */
struct smmuv3_cdtab {
	struct smmuv3_mem mem;		/* the CDs, or the first level */
	unsigned int fmt;		/* SMMUV3_S1FMT_* */
	unsigned int log2;		/* S1CDMax */
	struct smmuv3_mem *leaves;	/* by first-level index */
	/* A second table, or a second leaf, for cd_switch.c; allocated with the first switch. */
	struct smmuv3_mem spare;
	bool spare_in_use;		/* the SMMU may still read it: see cd_switch.c */
};

int smmuv3_cdtab_create(struct smmuv3 *s, struct smmuv3_dev *dev);
void smmuv3_cdtab_destroy(struct smmuv3 *s, struct smmuv3_dev *dev);
/* After this the CD of the SubstreamID exists; a new one is not valid. -ENOMEM. */
int smmuv3_cdtab_ensure_cd(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid);
/* These issue CFGI_CD and CMD_SYNC; both can be repeated after an error, as for STEs. */
int smmuv3_cd_start(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid,
		const struct smmuv3_domain *domain);
int smmuv3_cd_stop(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid);
/* Accesses that fault stall, or abort with a record. */
int smmuv3_cd_set_stall(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid, bool on);
void smmuv3_cd_make(const struct smmuv3 *s, const struct smmuv3_dev *dev,
		const struct smmuv3_domain *domain, struct smmuv3_cd *cd);

/* cd_switch.c */
/*
 * The CD of an attached SubstreamID becomes that of this domain, without a moment in which it is
 * not valid. No CFGI yet: until smmuv3_cd_finish_switch() returns 0 the SMMU may use the old CD. An
 * error: nothing has changed.
 */
int smmuv3_cd_switch(struct smmuv3 *s, struct smmuv3_dev *dev, uint32_t ssid,
		const struct smmuv3_domain *domain);
/* 0: the SMMU uses no CD from before the last switch. Can be repeated after an error. */
int smmuv3_cd_finish_switch(struct smmuv3 *s, struct smmuv3_dev *dev);

/* These are for tables of stage 2 too (stage2.c). */
/* IPS or S2PS: the smallest that covers the addresses of the tables. */
unsigned int smmuv3_encode_ips(const struct smmuv3 *s, const struct iopf_translation *tr);
/* -EINVAL, and a line in the log. */
int smmuv3_check_granule(const struct smmuv3 *s, const struct iopf_translation *tr);
int smmuv3_check_root(const struct smmuv3 *s, const struct iopf_translation *tr,
		unsigned int align_log2);

/* HA or S2HA, HD or S2HD: where the translation asks for it and the SMMU can [3.13]. */
bool smmuv3_sets_access_flag(const struct smmuv3 *s, const struct iopf_translation *tr);
bool smmuv3_sets_dirty(const struct smmuv3 *s, const struct iopf_translation *tr);

int smmuv3_cd_check_translation(const struct smmuv3 *s, const struct iopf_translation *tr);

#endif /* SMMUV3_CD_H */
