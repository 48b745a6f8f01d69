/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_POLLER_H
#define IOPF_POLLER_H

/**
 * @file
 * For an application that gives its poll threads a size and a loop. iopf_poller_create(NULL) and
 * iopf_poll() of iopf.h do without.
 */

#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_poller_conf {
	const char *name;
	uint16_t burst;		/**< records taken from a queue at a time, at most 64 [32] */
	uint16_t bursts;	/**< at most so many in one pass over a queue [4] */
};

/** Call iopf_poll() until iopf_poller_stop(). Returns 0, for rte_eal_remote_launch(). */
int iopf_poller_run(void *poller);
void iopf_poller_stop(struct iopf_poller *poller);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_POLLER_H */
