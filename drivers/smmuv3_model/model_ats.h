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
/* A translated transaction. OK: it accesses memory at @p pa. */
enum smmuv3_result smmuv3_ats_check_translated(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		uint64_t pa, bool write);

#endif /* SMMUV3_MODEL_ATS_H */
