/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_CALL_H
#define IOPF_CALL_H

/* A public function's begin and end: the state of the calling thread, and the result. */

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <rte_errno.h>

struct iopf_pass;

/* The calling thread's state. A control call in a handler returns -EDEADLK. */
struct iopf_thread {
	bool in_handler;		/* inside a deferred handler, or a callback of a policy */
	bool in_fast;			/* inside a fast handler, a report or a retry */
	struct iopf_pass *pass;		/* that calls handlers; NULL: none */
};
/*
 * initial-exec: the poll thread finds it without a call, in a shared library too. Not for variables
 * of other libraries: a program that loads them at run time has a few hundred bytes for all of
 * their variables (devtools/test-dlopen.py).
 */
extern _Thread_local struct iopf_thread iopf_self __attribute__((tls_model("initial-exec")));

/* Return a result as the public functions do: an error is in rte_errno too. */
static inline int
iopf_ret(int ret)
{
	if (ret < 0)
		rte_errno = -ret;
	return ret;
}

/* For functions that return a pointer: the error of a handle that is NULL. */
static inline void *
iopf_ret_null(void)
{
	rte_errno = EINVAL;
	return NULL;
}

#endif /* IOPF_CALL_H */
