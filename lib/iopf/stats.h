/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_STATS_TEXT_H
#define IOPF_STATS_TEXT_H

/* Names in dumps and telemetry. */

#include <stddef.h>

/*
 * Write a name that an application has given as printable ASCII, cut to @p size with "..." at
 * its end: other bytes, and the characters ", \ and %, become %XX.
 */
void iopf_name_encode(char *buf, size_t size, const char *name);

#endif /* IOPF_STATS_TEXT_H */
