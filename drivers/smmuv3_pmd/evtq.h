/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_EVTQ_H
#define SMMUV3_EVTQ_H

/**
 * @file
 * The event queue [3.5, 7.2, 7.3].
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "base.h"
#include "inq.h"

struct smmuv3_evtq {
	struct smmuv3_inq q;
	_Atomic uint64_t stale_end;	/* stalls before this position have been terminated */
	/* counters, written by the poll thread */
	_Atomic uint64_t stalls;
	_Atomic uint64_t stale_stalls;
	_Atomic uint64_t unwritten;
} __rte_aligned(SMMUV3_ALIGN);

int smmuv3_evtq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_evtq_setup(struct smmuv3 *s);
/*
 * Events without a stall were lost, or their records are in the queue and were not polled. The
 * queue is off, its registers can be read, and no thread polls.
 */
bool smmuv3_evtq_has_lost_events(struct smmuv3 *s);
uint16_t smmuv3_evtq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n);

#endif /* SMMUV3_EVTQ_H */
