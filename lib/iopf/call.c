/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "call.h"
#include "iopf_handler.h"

_Thread_local struct iopf_thread iopf_self;

int
iopf_may_wait(void)
{
	return iopf_ret(iopf_self.in_fast ? -EDEADLK : 0);
}
