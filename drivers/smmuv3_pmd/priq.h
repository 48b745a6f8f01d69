/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PRIQ_H
#define SMMUV3_PRIQ_H

/**
 * @file
 * The page request queue [3.5, 8].
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "base.h"
#include "inq.h"

/*
 * Limit of the queue's size: the backlog must have room for the answers to all page requests in
 * the queue, and to as many again in the library.
 */
#define SMMUV3_PRIQ_LOG2_CAP	12

struct smmuv3_priq {
	struct smmuv3_inq q;
	bool overflow_seen;		/* acknowledge it when CONS reaches q.prod */
	_Atomic bool paused;		/* recovery: poll takes no entries. Written by check() */
	/* Losses without overflow, the last before this position: see priq.c. */
	_Atomic uint64_t loss_pos;
	_Atomic uint32_t losses_seen;	/* their number */
	_Atomic uint32_t losses_reported; /* the number that poll has reported */
	/* counters, written by the poll thread */
	_Atomic uint64_t markers;
	_Atomic uint64_t losses;
	_Atomic uint64_t aborts;	/* written by check() */
} __rte_aligned(SMMUV3_ALIGN);

int smmuv3_priq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_priq_setup(struct smmuv3 *s);
uint16_t smmuv3_priq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n);
/*
 * Record a loss of page requests that the SMMU did not write. The SMMU must not write the queue
 * now.
 */
void smmuv3_priq_record_loss(struct smmuv3 *s);
/* Poll has not reported the last such loss yet. */
bool smmuv3_priq_has_unreported_loss(const struct smmuv3 *s);

#endif /* SMMUV3_PRIQ_H */
