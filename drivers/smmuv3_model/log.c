/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdarg.h>
#include <stdio.h>

#include "model_log.h"

void
smmuv3_log_add(struct smmuv3_log *log, const char *fmt, ...)
{
	unsigned int n = atomic_load_explicit(&log->nb, memory_order_relaxed);
	va_list ap;

	if (n < SMMUV3_LOG_TEXTS) {
		va_start(ap, fmt);
		vsnprintf(log->text[n], sizeof(log->text[n]), fmt, ap);
		va_end(ap);
	}
	/* Pairs with the acquire in smmuv3_log_text(): the text is complete. */
	atomic_store_explicit(&log->nb, n + 1, memory_order_release);
}

const char *
smmuv3_log_text(const struct smmuv3_log *log, unsigned int i)
{
	/* Pairs with the release in smmuv3_log_add(). */
	if (i >= atomic_load_explicit(&log->nb, memory_order_acquire) || i >= SMMUV3_LOG_TEXTS)
		return NULL;
	return log->text[i];
}
