/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MACHINE_H
#define MACHINE_H

/*
 * What the programs have in common: a runtime with the devices and queues that the options ask for.
 *
 *	machine_open(&m, out, size);
 *	... buffers of m.accel; machine_prefetch() of each
 *	machine_start(&m);
 *	... launches in m.queues
 *	machine_finish(&m);		// waits for all queues; out->seconds, out->figures
 *	... results
 *	machine_close(&m);
 */

#include "kernels.h"

struct machine {
	struct accel *accel;
	struct accel_queue *queues[ACCEL_MAX_DEVICES * ACCEL_MAX_QUEUES];
	unsigned int nb_queues;	/* queues of different devices alternate */
	struct outcome *out;
	uint64_t begin;		/* cycles */
};

/* For buffers of size bytes in all. All return 0, or -1 after one line on stderr. */
int machine_open(struct machine *m, struct outcome *out, size_t size);
/* If the options ask for it. */
int machine_prefetch(struct machine *m, void *ptr, size_t size);
int machine_start(struct machine *m);
int machine_finish(struct machine *m);
/* Also after an error. */
void machine_close(struct machine *m);

#endif /* MACHINE_H */
