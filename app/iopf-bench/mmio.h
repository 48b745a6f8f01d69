/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef MMIO_H
#define MMIO_H

/*
 * The simulated cost of a register read. The registers of the model are memory; a read of real ones
 * stalls the processor for hundreds of nanoseconds. With mmio-ns each read of a register by a
 * servicer takes that much longer: one half before the load, on the way to the SMMU, and one half
 * after it. Writes are posted and cost nothing here.
 *
 * The driver that is measured without mmio-ns has no code for this. Its sources are compiled once
 * more with mmio_driver.h. All symbols of this copy are local (meson.build), and device strings
 * name it "smmuv3_mmio" once mmio_set_ns() was called with a cost. The baselines call mmio_begin()
 * and mmio_end() themselves.
 *
 * The thread that watches the queue's registers for mode local, in place of the interrupt, has no
 * such cost.
 */

#include <stdatomic.h>
#include <stdint.h>

/* The cost of a read in cycles; 0: none. Changed while no servicer runs. */
extern uint64_t mmio_cycles;
/* Reads that had a cost. */
extern _Atomic uint64_t mmio_nb_reads;

/* Set the cost. On the main thread, after rte_eal_init() and before the modes are set up. */
void mmio_set_ns(unsigned int ns);
/* With a cost: wait for its first half, and until all of it has passed since @p begin. */
uint64_t mmio_wait_first(void);
void mmio_wait_all(uint64_t begin);

/* Around the load of a register: mmio_end() gets what mmio_begin() returned. */
static inline uint64_t
mmio_begin(void)
{
	return mmio_cycles != 0 ? mmio_wait_first() : 0;
}

static inline void
mmio_end(uint64_t begin)
{
	if (mmio_cycles != 0)
		mmio_wait_all(begin);
}

#endif /* MMIO_H */
