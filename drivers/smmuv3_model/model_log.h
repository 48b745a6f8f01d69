/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_LOG_H
#define SMMUV3_MODEL_LOG_H

/*
 * A log of errors. The stepping thread writes it, any thread reads it.
 */

#include <stdatomic.h>

#define SMMUV3_LOG_TEXTS 64
#define SMMUV3_LOG_LEN 160

struct smmuv3_log {
	_Atomic unsigned int nb;	/* all errors, also those without a text */
	char text[SMMUV3_LOG_TEXTS][SMMUV3_LOG_LEN];
};

void smmuv3_log_add(struct smmuv3_log *log, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const char *smmuv3_log_text(const struct smmuv3_log *log, unsigned int i);

#endif /* SMMUV3_MODEL_LOG_H */
