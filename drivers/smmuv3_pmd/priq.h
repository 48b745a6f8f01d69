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
 * Page requests that the queue for them holds at most: answers to all, and to as many again
 * that the library has, must find room in the backlog.
 */
#define SMMUV3_PRIQ_LOG2_CAP	12

struct smmuv3_priq {
	struct smmuv3_inq q;
	bool overflow_seen;		/* seen, to be acknowledged behind q.prod */
	_Atomic bool paused;		/* recovery: poll takes nothing. Written by check() */
	/* Requests were lost otherwise, the last time before this position: see priq.c. */
	_Atomic uint64_t loss_pos;
	_Atomic uint32_t losses_seen;	/* so many times */
	_Atomic uint32_t losses_reported; /* ... which poll has said */
	/* counters, written by the thread that polls */
	_Atomic uint64_t markers;
	_Atomic uint64_t losses;
	_Atomic uint64_t aborts;	/* written by check() */
} __rte_aligned(SMMUV3_ALIGN);

int smmuv3_priq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_priq_setup(struct smmuv3 *s);
uint16_t smmuv3_priq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n);
/* Requests that are not in the queue were lost. Nothing is written into it now. */
void smmuv3_priq_record_loss(struct smmuv3 *s);
/* ... and poll has not said so yet. */
bool smmuv3_priq_has_unreported_loss(const struct smmuv3 *s);

#endif /* SMMUV3_PRIQ_H */
