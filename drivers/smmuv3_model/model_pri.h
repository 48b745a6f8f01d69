/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_PRI_H
#define SMMUV3_MODEL_PRI_H

#include "model_endpoint.h"
#include "smmuv3_spec.h"

/* A page request reaches the SMMU. */
void smmuv3_pri_send(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		const struct smmuv3_ppr *ppr);
void smmuv3_execute_pri_resp(struct smmuv3_model *m, const struct smmuv3_cmd *cmd);
/* Before the store of PRIQ PROD. */
void smmuv3_pri_publish(struct smmuv3_model *m);

#endif /* SMMUV3_MODEL_PRI_H */
