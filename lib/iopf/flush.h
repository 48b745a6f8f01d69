/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_FLUSH_H
#define IOPF_FLUSH_H

/* Send the answers that a pass has gathered. */

#include <stdint.h>

#include "pass.h"

/*
 * The slots become free after the answers are sent: a detach that finds no slot waits for the
 * pass, and then all is answered.
 */
void iopf_pass_flush(struct iopf_pass *pass);
/* Add the counted faults to the counters of their domain. */
void iopf_pass_flush_counts(struct iopf_pass *pass, uint64_t latency);

#endif /* IOPF_FLUSH_H */
