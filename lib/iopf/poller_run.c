/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The loop of a poll thread. */

#include <errno.h>
#include <sched.h>

#include <rte_pause.h>

#include "call.h"
#include "iopf_poller.h"
#include "poller.h"

/* Idle passes between yields: without effect on a core that has no other thread. */
#define YIELD_PASSES	1024

int
iopf_poller_run(void *arg)
{
	struct iopf_poller *poller = arg;
	unsigned int idle = 0;

	if (poller == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	atomic_fetch_add(&poller->inside, 1);
	while (!atomic_load_explicit(&poller->stop, memory_order_relaxed)) {
		if (iopf_poll(poller) != 0) {
			idle = 0;
			continue;
		}
		/* Another thread, such as one of the model, may need this core. */
		if (++idle % YIELD_PASSES == 0)
			sched_yield();
		else
			rte_pause();
	}
	atomic_store(&poller->stop, false);
	atomic_fetch_sub(&poller->inside, 1);
	return 0;
}

void
iopf_poller_stop(struct iopf_poller *poller)
{
	if (poller != NULL)
		atomic_store(&poller->stop, true);
}
