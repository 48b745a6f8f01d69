/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stddef.h>

#include "hazard.h"

#define NB_LINES 256

static struct iopf_hazard lines[NB_LINES];

static struct iopf_hazard *
line_show(void *object)
{
	static _Atomic unsigned int threads;
	static _Thread_local unsigned int mine;	/* index + 1; 0: not chosen yet */

	if (mine == 0)
		mine = atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % NB_LINES + 1;
	for (unsigned int i = 0;; i++) {
		struct iopf_hazard *line = &lines[(mine - 1 + i) % NB_LINES];
		void *none = NULL;

		if (atomic_compare_exchange_strong(&line->shown, &none, object))
			return line;
		if (i % NB_LINES == NB_LINES - 1)
			sched_yield();
	}
}

void *
iopf_hazard_take(_Atomic(void *) *at, struct iopf_hazard **line)
{
	void *object;

	for (;;) {
		object = atomic_load(at);
		if (object == NULL)
			return NULL;
		*line = line_show(object);
		if (atomic_load(at) == object)
			return object;
		iopf_hazard_drop(*line);
	}
}

void
iopf_hazard_drop(struct iopf_hazard *line)
{
	/* Release: with the load in iopf_hazard_wait(), after which the object is freed. */
	atomic_store_explicit(&line->shown, NULL, memory_order_release);
}

void
iopf_hazard_wait(const void *object)
{
	for (unsigned int i = 0; i < NB_LINES; i++)
		while (atomic_load(&lines[i].shown) == object)
			sched_yield();
}
