/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PRI_RESP_H
#define SMMUV3_PRI_RESP_H

/**
 * @file
 * The answer to a page request group [4.5.2].
 */

#include <stdbool.h>

#include <iopf_driver.h>

#include "smmuv3_cmd.h"
#include "smmuv3_spec.h"

/*
 * The library decides whether the answer has a PASID: it knows what the endpoint expects. After
 * Success the endpoint translates again, after Invalid Request its access aborts, and Response
 * Failure also ends its PRI [4.5.2].
 */
static inline struct smmuv3_cmd
smmuv3_pri_resp_make_cmd(const struct iopf_answer *a)
{
	bool ssv = a->pasid != IOPF_NO_PASID;

	return smmuv3_cmd_pri_resp(a->sid, ssv, ssv ? a->pasid : 0, a->token,
			a->code == IOPF_SUCCESS ? SMMUV3_PRI_RESP_SUCCESS :
			a->code == IOPF_FAILURE ? SMMUV3_PRI_RESP_FAILURE :
			SMMUV3_PRI_RESP_INVALID);
}

#endif /* SMMUV3_PRI_RESP_H */
