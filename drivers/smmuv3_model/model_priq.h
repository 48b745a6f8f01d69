/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_PRIQ_H
#define SMMUV3_MODEL_PRIQ_H

#include "front.h"

enum smmuv3_fe_ppr {
	SMMUV3_FE_PPR_PUT,
	SMMUV3_FE_PPR_OVERFLOW,	/* discarded: overflow is active, perhaps from now on */
	SMMUV3_FE_PPR_OFF,	/* discarded: disabled, or PRIQ_ABT_ERR is active */
	SMMUV3_FE_PPR_ABORTED,	/* the write aborted */
	SMMUV3_FE_PPR_LOST,	/* the same, but found out when the record counted as written */
};
enum smmuv3_fe_ppr smmuv3_fe_ppr_put(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr);
/* Did software free the entry of record number @p nb (as f->nb_pprs counts) by CONS? */
bool smmuv3_fe_is_ppr_freed(struct smmuv3_fe *f, uint64_t nb);
void smmuv3_fe_priq_store_prod(struct smmuv3_fe *f);
void smmuv3_fe_priq_enable(struct smmuv3_fe *f);

static inline void
smmuv3_fe_priq_publish(struct smmuv3_fe *f)
{
	if (f->priq.prod != f->priq.shown)
		smmuv3_fe_priq_store_prod(f);
}

#endif /* SMMUV3_MODEL_PRIQ_H */
