/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BUSY_RIG_H
#define BUSY_RIG_H

/*
 * The model, the poll thread and the control calls of a test at the same time, over mmem_rig.h: a
 * device writes words of a buffer at random. The oracle checks each translation.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct busy {
	_Atomic bool quit;
	_Atomic uint64_t done, aborted;		/* accesses of the device */
	uint8_t *buf;
	size_t len;
	pthread_t poller, writer;
};

extern struct busy busy;

void busy_start(uint8_t *buf, size_t len);
void busy_stop(void);
/* Wait until a counter has grown by n. */
void busy_await(_Atomic uint64_t *count, uint64_t n);

#endif /* BUSY_RIG_H */
