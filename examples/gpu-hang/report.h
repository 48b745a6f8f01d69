/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include <iopf_policy.h>

#include "vm.h"

/* Of the run. The first is in no table. */
enum phase { PHASE_START, PHASE_BEFORE, PHASE_DURING, PHASE_AFTER };
#define NB_PHASES 4

/* The accesses of a context in each phase. */
struct report_row {
	const char *name;
	uint32_t pasid;
	uint64_t ended[NB_PHASES];
	uint64_t aborted[NB_PHASES];	/* refused stalls included */
	uint64_t faults[NB_PHASES];	/* that were answered so that the access went on */
};

/* A context that hung. */
struct report_crash {
	struct iopf_episode episode;
	struct vm_trip trip;	/* time 0: the breaker's callback was not called */
	uint32_t breaker;	/* its limit; 0: off */
	uint64_t lost;		/* records that found the event queue full */
};

/* Print its report. Times are milliseconds since @p start (rte_rdtsc()). */
void report_print_crash(const struct report_crash *crash, uint64_t start);

/* Print a table of rates. @p seconds: of each phase. */
void report_print_rates(const struct report_row *rows, unsigned int n, const double *seconds);

#endif /* REPORT_H */
