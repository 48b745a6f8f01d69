/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_LOG_H
#define IOPF_LOG_H

/* Log lines of the library, and the texts in them. */

#include <stdint.h>

#include <rte_log.h>

#include "iopf_support.h"

extern int iopf_logtype;
#define IOPF_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, iopf_logtype, "iopf: " fmt "\n", ## __VA_ARGS__)

/* A line that a caller can cause for each fault: @p limit is a struct iopf_log_limit. */
#define IOPF_LOG_LIMITED(limit, fmt, ...) do {						\
	char tail_[IOPF_LOG_TAIL];							\
	uint64_t before_;								\
											\
	if (iopf_log_take(limit, &before_))						\
		IOPF_LOG(ERR, fmt "%s", ## __VA_ARGS__, iopf_log_tail(tail_, before_));	\
} while (0)

/* "PASID 3", or "untagged traffic" for IOPF_NO_PASID. */
#define IOPF_PASID_TEXT 24
const char *iopf_pasid_text(char text[IOPF_PASID_TEXT], uint32_t pasid);

#endif /* IOPF_LOG_H */
