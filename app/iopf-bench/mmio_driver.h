/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMIO_DRIVER_H
#define MMIO_DRIVER_H

/* Included before everything else in the second build of the driver: mmio.h. */

#include <smmuv3_order.h>

#include "mmio.h"

#define MMIO_SLOW(read)							\
	static inline uint32_t						\
	mmio_ ## read(void *regs, uint32_t offset)			\
	{								\
		uint64_t begin = mmio_begin();				\
		uint32_t v = smmuv3_ ## read(regs, offset);		\
									\
		mmio_end(begin);					\
		return v;						\
	}

MMIO_SLOW(read32)
MMIO_SLOW(load_prod)
MMIO_SLOW(load_status)

#define smmuv3_read32(regs, offset) mmio_read32(regs, offset)
#define smmuv3_load_prod(regs, offset) mmio_load_prod(regs, offset)
#define smmuv3_load_status(regs, offset) mmio_load_status(regs, offset)

#endif /* MMIO_DRIVER_H */
