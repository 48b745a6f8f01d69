/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_LOG_H
#define MMEM_LOG_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>

#include <rte_log.h>

extern int mmem_logtype;
#define MMEM_LOG(level, fmt, ...) \
	rte_log(RTE_LOG_ ## level, mmem_logtype, "mmem: " fmt "\n", ## __VA_ARGS__)

/* Log lines put "pool" or "space" in front of a name; an object without a name gets a number. */
static inline void
mmem_name_init(char *name, size_t size, const char *conf_name, atomic_uint *serial)
{
	if (conf_name != NULL)
		snprintf(name, size, "%s", conf_name);
	else
		snprintf(name, size, "%u", atomic_fetch_add(serial, 1));
}

#endif /* MMEM_LOG_H */
