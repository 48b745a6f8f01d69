/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ATS_H
#define SMMUV3_MODEL_ATS_H

#include "model_translate.h"

/*
 * A Translation Request. OK: *page, perhaps without permissions. FAULT: Unsupported Request
 * or Completer Abort.
 */
enum smmuv3_result smmuv3_ats_request(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault);
/*
 * A translated transaction to address @p to->pa. OK: it accesses memory at @p to->pa, which
 * stage 2 has translated with split-stage ATS.
 */
enum smmuv3_result smmuv3_ats_check_translated(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		bool write, struct smmuv3_target *to);

#endif /* SMMUV3_MODEL_ATS_H */
