/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_TRACE_H
#define IOPF_TRACE_H

/*
 * Trace points, written as CTF with --trace=lib.iopf.*. Those of the control path are always
 * compiled in; that of the fault path only with IOPF_TRACE_FP (meson option trace_fp). DPDK's own
 * switch cannot be used: the configuration header of DPDK's build undefines it.
 */

#include <rte_trace_point.h>

#include "iopf.h"

#ifdef IOPF_TRACE_FP
#define IOPF_TRACE_POINT_FP RTE_TRACE_POINT
#else
#define IOPF_TRACE_POINT_FP RTE_TRACE_POINT_FP
#endif

RTE_TRACE_POINT(
	iopf_trace_open,
	RTE_TRACE_POINT_ARGS(const char *devstr, int ret),
	rte_trace_point_emit_string(devstr);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_start,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_stop,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_suspend,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_resume,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_attach,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, uint32_t sid, uint32_t pasid, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_u32(sid);
	rte_trace_point_emit_u32(pasid);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_detach,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, uint32_t sid, uint32_t pasid, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_u32(sid);
	rte_trace_point_emit_u32(pasid);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_replace,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, uint32_t sid, uint32_t pasid, int ret),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_u32(sid);
	rte_trace_point_emit_u32(pasid);
	rte_trace_point_emit_int(ret);
)

RTE_TRACE_POINT(
	iopf_trace_invalidate,
	RTE_TRACE_POINT_ARGS(uint32_t nb_inv, uint32_t done, int ret),
	rte_trace_point_emit_u32(nb_inv);
	rte_trace_point_emit_u32(done);
	rte_trace_point_emit_int(ret);
)

IOPF_TRACE_POINT_FP(
	iopf_trace_fault,
	RTE_TRACE_POINT_ARGS(uint16_t iommu, uint32_t sid, uint32_t pasid, uint64_t addr,
		uint8_t perm),
	rte_trace_point_emit_u16(iommu);
	rte_trace_point_emit_u32(sid);
	rte_trace_point_emit_u32(pasid);
	rte_trace_point_emit_u64(addr);
	rte_trace_point_emit_u8(perm);
)

#endif /* IOPF_TRACE_H */
