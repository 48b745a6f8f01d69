/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_DESC_H
#define SMMUV3_MODEL_DESC_H

/* Bits of VMSAv8-64 descriptors. */

#include "smmuv3_spec.h"

#define DESC_VALID	SMMUV3_BIT(0)
#define DESC_TABLE	SMMUV3_BIT(1)	/* a page at level 3 */
#define DESC_UNPRIV	SMMUV3_BIT(6)	/* AP[1] */
#define DESC_RO		SMMUV3_BIT(7)	/* AP[2] */
#define DESC_S2_READ	SMMUV3_BIT(6)	/* S2AP[0] */
#define DESC_S2_WRITE	SMMUV3_BIT(7)	/* S2AP[1] */
#define DESC_S2_NORMAL	SMMUV3_BITS(5, 4)	/* MemAttr[3:2]; 0: Device memory */
#define DESC_S2_XN	SMMUV3_BIT(54)	/* XNX = 0 */
#define DESC_AF		SMMUV3_BIT(10)
#define DESC_NG		SMMUV3_BIT(11)
#define DESC_DBM	SMMUV3_BIT(51)
#define DESC_PXN	SMMUV3_BIT(53)
#define DESC_UXN	SMMUV3_BIT(54)
#define TABLE_PXN	SMMUV3_BIT(59)
#define TABLE_UXN	SMMUV3_BIT(60)
#define TABLE_AP	SMMUV3_BITS(62, 61)
#define   APT_NO_UNPRIV	1
#define   APT_NO_WRITE	2

#endif /* SMMUV3_MODEL_DESC_H */
