/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef RUN_H
#define RUN_H

/* The phases of the run: frames, the frame that hangs, the reset, frames again. */

#include <stdint.h>

#include "machine.h"
#include "report.h"

struct run {
	struct machine *machine;
	uint64_t start;		/* rte_rdtsc() */
	uint64_t moved;		/* when an access ended last */
	enum phase phase;
	uint64_t phase_begin;
	double seconds[NB_PHASES];
	struct report_row rows[1 + OPTIONS_MAX_CONTEXTS];	/* first the one that hangs */
	struct report_crash crash;
};

/* Returns 0, or -1 after one line on stderr. */
int run_phases(struct run *run, struct machine *machine, uint64_t start);

#endif /* RUN_H */
