/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_DOMAIN_H
#define SMMUV3_DOMAIN_H

/**
 * @file
 * Domains. tables_lock protects writes of their lists of ATCs and of their references. The fast
 * path reads the lists without it (atc.c).
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "atc.h"

struct smmuv3;
struct smmuv3_attachment;

struct smmuv3_domain {
	struct iopf_translation tr;
	uint16_t asid;			/* SMMUV3_ASID_NONE: a stage-2 domain */
	uint16_t vmid;			/* SMMUV3_VMID_NONE: a stage-1 domain */
	struct smmuv3_domain *parent;	/* of a nested domain: its stage 2, which it holds */
	/*
	 * Domains of which it is the parent. With any the TLB may have entries that combine both
	 * stages. A1 and I3 or B3 of atc.c: raised before the STE of one becomes live, and read
	 * where the list of ATCs is read.
	 */
	_Atomic uint32_t nb_nested;
	uint32_t refs;			/* of the library, attachments and nested domains */
	/* Its own, and those of the domains nested in it; see chunk.h. */
	struct smmuv3_attachment *attachments;
	/* Indices into smmuv3.atcs, plus one; 0: unused. */
	_Atomic uint32_t atc_end;
	_Atomic uint32_t atc[SMMUV3_MAX_ATCS];
};

static inline bool
smmuv3_domain_is_stage2(const struct smmuv3_domain *domain)
{
	return domain->tr.format == IOPF_FORMAT_ARM64_S2;
}

/* The domain whose stage 2 the device has, or NULL. */
static inline struct smmuv3_domain *
smmuv3_domain_stage2(struct smmuv3_domain *domain)
{
	return smmuv3_domain_is_stage2(domain) ? domain : domain->parent;
}

/* The domain whose table is changed, and which has the list of ATCs. */
static inline struct smmuv3_domain *
smmuv3_domain_owner(struct smmuv3_domain *domain)
{
	return domain->parent != NULL ? domain->parent : domain;
}

int smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void *parent, void **domain);
/* Its ASID or VMID is free once the last attachment is released. */
void smmuv3_domain_del(void *priv, void *domain);
void smmuv3_domain_get(struct smmuv3 *s, struct smmuv3_domain *domain);
void smmuv3_domain_put(struct smmuv3 *s, struct smmuv3_domain *domain);

#endif /* SMMUV3_DOMAIN_H */
