/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_DOMAIN_H
#define SMMUV3_DOMAIN_H

/**
 * @file
 * Domains. Their lists of ATCs and their references are written under smmuv3.tables_lock;
 * the fast path reads the lists without it (atc.c).
 */

#include <stdatomic.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "atc.h"

struct smmuv3;

struct smmuv3_domain {
	struct iopf_translation tr;
	uint16_t asid;
	uint32_t refs;			/* the library's, and one for each attachment */
	/* Indices into smmuv3.atcs, plus one; 0: none. */
	_Atomic uint32_t atc_end;
	_Atomic uint32_t atc[SMMUV3_MAX_ATCS];
};

int smmuv3_domain_add(void *priv, const struct iopf_translation *tr, void **domain);
/* Its ASID can be given to another once the last attachment is released. */
void smmuv3_domain_del(void *priv, void *domain);
void smmuv3_domain_get(struct smmuv3 *s, struct smmuv3_domain *domain);
void smmuv3_domain_put(struct smmuv3 *s, struct smmuv3_domain *domain);

#endif /* SMMUV3_DOMAIN_H */
