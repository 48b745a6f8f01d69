/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LATENCY_H
#define LATENCY_H

/*
 * The latency that a level adds. Two devices of the host's SMMU fault one page after the other:
 *
 *	host	device -> host's SMMU -> handler of the host's domain
 *	guest	device -> host's SMMU -> relay -> guest's SMMU -> handler of the guest's domain
 *
 * by turns of LATENCY_TURN faults, of which the first ones warm up. Both handlers map a page. While
 * the host's turn lasts, the guest sleeps and the relay is not stepped.
 */

#define LATENCY_FAULTS		2000
#define LATENCY_MAX_FAULTS	10000	/* a page of the guest's memory each */
#define LATENCY_TURN		50

/* Measure @p nb_faults of each and print. */
void latency_measure(unsigned int nb_faults);

#endif /* LATENCY_H */
