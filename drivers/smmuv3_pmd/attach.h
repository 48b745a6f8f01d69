/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ATTACH_H
#define SMMUV3_ATTACH_H

/**
 * @file
 * Domains, attachments, and the ATCs that an attachment concerns.
 *
 * An attachment is written by the one thread that attaches or detaches its device. The table
 * of ATCs, the domains' lists of them and their references are written under
 * smmuv3.tables_lock; the fast path reads the lists without it (ats.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "smmuv3_cmd.h"

struct smmuv3;
struct smmuv3_dev;

/* No domain's: the TLB has nothing of it. */
#define SMMUV3_ASID_NONE	0

/* (StreamID, PASID) pairs with ATS that one domain can be attached to; all domains together. */
#define SMMUV3_MAX_ATCS		32
#define SMMUV3_NB_ATCS		1024

struct smmuv3_domain {
	struct iopf_translation tr;
	uint16_t asid;
	uint32_t refs;			/* the library's, and one for each attachment */
	/* Indices into smmuv3.atcs, plus one; 0: none. */
	_Atomic uint32_t atc_end;
	_Atomic uint32_t atc[SMMUV3_MAX_ATCS];
};

/* Of one (StreamID, PASID) that is attached with ATS: see ats.c. */
struct smmuv3_atc {
	_Atomic uint64_t word;		/* 0: none */
};

/*
 * How far an attachment is undone; each stage has been synchronised. All before the last hold
 * the ASID, the CD, the ATC records and the domain.
 */
enum smmuv3_stage {
	SMMUV3_ATTACHED,	/* it may translate */
	SMMUV3_CD_STOPPED,	/* nothing walks through its CD any more */
	SMMUV3_TLB_EMPTIED,	/* ... nor is anything of it in the TLB */
	SMMUV3_STES_STOPPED,	/* if it was the device's last one */
	SMMUV3_ATCS_EMPTIED,	/* nothing of it is left: to be released */
};

/* A (device, SubstreamID) that uses a domain. */
struct smmuv3_attachment {
	struct smmuv3_dev *dev;
	struct smmuv3_domain *domain;
	uint32_t ssid;
	enum smmuv3_stage stage;
	bool everything;	/* all that the device's ATCs have is to go */
	unsigned int nb_atcs;
	uint16_t atcs[SMMUV3_MAX_ATCS];	/* indices into smmuv3.atcs: one for each StreamID */
};

/* attach.c */
int smmuv3_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
int smmuv3_detach(void *priv, void *attachment);

/* domain.c */
int smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void **domain);
/* Its ASID can be given to another once the last attachment is released. */
void smmuv3_domain_del(void *priv, void *domain);
void smmuv3_domain_get(struct smmuv3 *s, struct smmuv3_domain *domain);
void smmuv3_domain_put(struct smmuv3 *s, struct smmuv3_domain *domain);

/* ats.c */
int smmuv3_atc_open(struct smmuv3 *s);
void smmuv3_atc_close(struct smmuv3 *s);
/* Put the device's ATCs on the domain's list. -ENOSPC, -EIO (cut off). */
int smmuv3_atc_add(struct smmuv3 *s, struct smmuv3_attachment *a);
void smmuv3_atc_del(struct smmuv3 *s, struct smmuv3_attachment *a);
/* One of the device's ATCs did not answer: its accesses abort until all of it was detached. */
bool smmuv3_atc_is_cut(const struct smmuv3 *s, const struct smmuv3_dev *dev);
/*
 * Empty the device's ATCs of this PASID, or of everything, and wait for it. 0: they are
 * empty, or cut off, which the SMMU has been told.
 */
int smmuv3_atc_empty(struct smmuv3 *s, const struct smmuv3_attachment *a);
/* ... of all; for start. */
int smmuv3_atc_inv_all(struct smmuv3 *s);
/* ... without waiting. */
void smmuv3_atc_post_all(struct smmuv3 *s);
/* Behind a TLBI and CMD_SYNC that are complete. -EIO: one did not answer. */
int smmuv3_atc_invalidate(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n);
/* What comes behind these, their CMD_SYNC, with its own. */
unsigned int smmuv3_atc_cmds(struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, unsigned int n,
		struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS]);
/* The CMD_SYNC at this position failed, and nothing is executed now. Owner of the queue. */
void smmuv3_atc_timeout(struct smmuv3 *s, uint64_t pos);

#endif /* SMMUV3_ATTACH_H */
