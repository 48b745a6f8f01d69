/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_PRIQ_H
#define SMMUV3_MODEL_PRIQ_H

#include "front.h"

enum smmuv3_fe_ppr {
	SMMUV3_FE_PPR_PUT,
	SMMUV3_FE_PPR_OVERFLOW,	/* discarded: an overflow is active or starts */
	SMMUV3_FE_PPR_OFF,	/* discarded: PRIQEN or SMMUEN is 0, SFM, or PRIQ_ABT_ERR */
	SMMUV3_FE_PPR_ABORTED,	/* the write aborted */
	SMMUV3_FE_PPR_LOST,	/* the write aborted late: PROD passes the entry */
};
enum smmuv3_fe_ppr smmuv3_fe_ppr_put(struct smmuv3_fe *f, const struct smmuv3_ppr *ppr);
/* Has CONS passed record number @p nb (as f->nb_pprs counts)? */
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
