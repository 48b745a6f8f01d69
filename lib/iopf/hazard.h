/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_HAZARD_H
#define IOPF_HAZARD_H

/*
 * Hazard pointers: a reader that waits for a device keeps an object from being freed. It takes no
 * lock, and no grace period of the process waits for that device.
 *
 * A reader stores the object's address in a line, then reads whether the object is still published.
 * A writer unpublishes the object, then waits until no line has its address:
 *
 *	reader			writer
 *	line = p		published = NULL
 *	p == published ?	line == p ?
 *
 * All four are sequentially consistent: at least one of the two sees the other's store. Either
 * the reader does not use the object, or the writer waits for the reader. They are operations
 * and not fences: ThreadSanitizer does not understand fences, and the object is plain data. A later
 * reader finds no object, so the writer waits only for the readers under way. The model is
 * devtools/spin/hazard.pml.
 *
 * The lines are a fixed array: no thread allocates or registers a line, and a thread can end at any
 * time. Each thread starts its search for a free line at another line: with fewer threads than
 * lines no two threads write the same line.
 */

#include <stdatomic.h>

#include <rte_common.h>

struct iopf_hazard {
	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic(void *) shown;
};

/*
 * The object that is published at @p at, kept until iopf_hazard_drop(); or NULL, without a line.
 * Waits for a line if more threads use lines than there are.
 */
void *iopf_hazard_take(_Atomic(void *) *at, struct iopf_hazard **line);
void iopf_hazard_drop(struct iopf_hazard *line);

/* Wait until no reader uses @p object, which the caller has unpublished. */
void iopf_hazard_wait(const void *object);

#endif /* IOPF_HAZARD_H */
