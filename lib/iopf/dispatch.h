/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DISPATCH_H
#define IOPF_DISPATCH_H

/* Read records of a queue and dispatch them. */

#include <stdint.h>

#include "fault_queue.h"

/*
 * Owner of the queue. Dispatches up to @p bursts bursts of @p burst records, and fewer if the queue
 * is empty before. Returns the events of the driver, IOPF_EVENT_LOST included.
 */
unsigned int iopf_queue_run_bursts(struct iopf_queue *q, uint16_t burst, uint16_t bursts);

#endif /* IOPF_DISPATCH_H */
