/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMEM_THREAD_H
#define MMEM_THREAD_H

#include <errno.h>
#include <stdbool.h>

#include <rte_errno.h>

#include <iopf.h>
#include <iopf_handler.h>

struct mmem_region;
struct mmem_space;

/* The functions of the application that this thread is in. */
struct mmem_thread {
	bool in_report;
	struct mmem_region *paging;	/* region whose fill or start runs */
	struct mmem_space *releasing;	/* space of the pager whose release runs */
};
/* See iopf_self. */
extern _Thread_local struct mmem_thread mmem_self __attribute__((tls_model("initial-exec")));

/* Returns 0, or -EDEADLK in report or a fast handler, which must not block. */
static inline int
mmem_may_wait(void)
{
	return mmem_self.in_report ? -EDEADLK : iopf_may_wait();
}

/* Return rc and set rte_errno from it. */
static inline int
mmem_ret(int rc)
{
	if (rc < 0)
		rte_errno = -rc;
	return rc;
}

#endif /* MMEM_THREAD_H */
