/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <rte_trace_point_register.h>

#include "iopf_trace.h"

RTE_TRACE_POINT_REGISTER(iopf_trace_open, lib.iopf.open)
RTE_TRACE_POINT_REGISTER(iopf_trace_start, lib.iopf.start)
RTE_TRACE_POINT_REGISTER(iopf_trace_stop, lib.iopf.stop)
RTE_TRACE_POINT_REGISTER(iopf_trace_suspend, lib.iopf.suspend)
RTE_TRACE_POINT_REGISTER(iopf_trace_resume, lib.iopf.resume)
RTE_TRACE_POINT_REGISTER(iopf_trace_attach, lib.iopf.attach)
RTE_TRACE_POINT_REGISTER(iopf_trace_detach, lib.iopf.detach)
RTE_TRACE_POINT_REGISTER(iopf_trace_replace, lib.iopf.replace)
RTE_TRACE_POINT_REGISTER(iopf_trace_invalidate, lib.iopf.invalidate)
RTE_TRACE_POINT_REGISTER(iopf_trace_fault, lib.iopf.fault)
