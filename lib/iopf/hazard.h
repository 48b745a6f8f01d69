/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_HAZARD_H
#define IOPF_HAZARD_H

/*
 * Hazard pointers: a reader keeps an object from being freed while it waits for a device,
 * without a lock, and without a grace period of the process waiting for that device too.
 *
 * A reader shows the object's address on a line, then looks whether the object is still
 * published. A writer takes it back, then waits until no line shows it:
 *
 *	reader			writer
 *	line = p		published = NULL
 *	p == published ?	line == p ?
 *
 * All four are sequentially consistent, so not both find the other's old value: either
 * the reader does without, or the writer waits for it. (These are operations and no
 * fences, for ThreadSanitizer does not see fences.) A reader that comes later finds
 * nothing published, so a writer waits for those under way and is not starved. The model
 * is devtools/spin/hazard.pml.
 *
 * The lines are a fixed array, so that nothing is allocated or registered and a thread can
 * end at any time. A thread begins to look for a free line at one of its own: with fewer
 * threads than lines no line is written by two.
 */

#include <stdatomic.h>

#include <rte_common.h>

struct iopf_hazard {
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic(void *) shown;
};

/*
 * What is published at @p at, kept until iopf_hazard_drop(); or NULL, and nothing to drop.
 * With more threads at it than there are lines it waits for one of them.
 */
void *iopf_hazard_take(_Atomic(void *) *at, struct iopf_hazard **line);
void iopf_hazard_drop(struct iopf_hazard *line);

/* No reader has @p object, which is not published any more. */
void iopf_hazard_wait(const void *object);

#endif /* IOPF_HAZARD_H */
