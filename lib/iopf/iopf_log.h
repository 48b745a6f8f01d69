/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_LOG_H
#define IOPF_LOG_H

/* Log lines of the library, and the texts in them. */

#include <stdint.h>

#include <rte_log.h>

extern int iopf_logtype;
#define IOPF_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, iopf_logtype, "iopf: " fmt "\n", ## __VA_ARGS__)

/* "PASID 3", or "untagged traffic" for IOPF_NO_PASID. */
#define IOPF_PASID_TEXT 24
const char *iopf_pasid_text(char text[IOPF_PASID_TEXT], uint32_t pasid);

#endif /* IOPF_LOG_H */
