/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_STATS_H
#define SMMUV3_STATS_H

/**
 * @file
 * Counters, and a dump of them and of registers.
 */

#include <stdint.h>
#include <stdio.h>

extern const unsigned int smmuv3_nb_stats;

uint64_t smmuv3_stat(const void *priv, unsigned int i, const char **name);
void smmuv3_dump(const void *priv, FILE *f);

#endif /* SMMUV3_STATS_H */
