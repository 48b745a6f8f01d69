/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_LOG_H
#define MMEM_LOG_H

#include <rte_log.h>

extern int mmem_logtype;
#define MMEM_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, mmem_logtype, "mmem: " fmt "\n", ## __VA_ARGS__)

#endif /* MMEM_LOG_H */
