/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_THREAD_H
#define MMEM_THREAD_H

#include <errno.h>
#include <stdbool.h>

#include <rte_errno.h>

#include <iopf.h>

struct mmem_region;
struct mmem_space;

/* What this thread is doing. */
struct mmem_thread {
	bool in_report;
	struct mmem_region *paging;	/* in fill or start of its pager */
	struct mmem_space *releasing;	/* in release of a pager of its */
};
extern _Thread_local struct mmem_thread mmem_self;

/* 0, or -EDEADLK where a function that may wait is forbidden. */
static inline int
mmem_may_wait(void)
{
	return mmem_self.in_report ? -EDEADLK : iopf_may_wait();
}

/* An int function's way out: 0 or -errno, and rte_errno. */
static inline int
mmem_ret(int rc)
{
	if (rc < 0)
		rte_errno = -rc;
	return rc;
}

#endif /* MMEM_THREAD_H */
