/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stddef.h>

#include <rte_cycles.h>

#include <iopf_driver.h>

#include "mmio.h"

uint64_t mmio_cycles;
_Atomic uint64_t mmio_nb_reads;

/* The copy of the driver, until it is registered. */
static struct iopf_driver *copy;

/* What the copy's constructor calls in place of iopf_driver_register(). */
void mmio_keep_driver(struct iopf_driver *driver);

void
mmio_keep_driver(struct iopf_driver *driver)
{
	copy = driver;
}

uint64_t
mmio_wait_first(void)
{
	uint64_t begin = rte_rdtsc();

	atomic_fetch_add_explicit(&mmio_nb_reads, 1, memory_order_relaxed);
	while (rte_rdtsc() < begin + mmio_cycles / 2)
		;
	/* The load that follows must not begin during the wait. */
	atomic_thread_fence(memory_order_seq_cst);
	return begin;
}

void
mmio_wait_all(uint64_t begin)
{
	while (rte_rdtsc() < begin + mmio_cycles)
		;
}

void
mmio_set_ns(unsigned int ns)
{
	mmio_cycles = (uint64_t)((double)rte_get_tsc_hz() * 1e-9 * ns);
	if (ns == 0 || copy == NULL)
		return;
	copy->name = "smmuv3_mmio";
	iopf_driver_register(copy);
	copy = NULL;
}
