/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * DMA and page requests of the endpoints of pcie_rig.h.
 */

#include <sched.h>

#include <rte_cycles.h>

#include "pcie_rig.h"
#include "test.h"

#define MIN_PASSES 20000

void
pcie_write(struct pcie *r, struct smmuv3_model_dma *dma, unsigned int page, unsigned int pages)
{
	assert_true(page + pages <= PCIE_PAGES);
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE,
		.addr = PCIE_VA + (uint64_t)page * PCIE_PAGE,
		.buf = r->pattern + (size_t)page * PCIE_PAGE,
		.len = (size_t)pages * PCIE_PAGE,
	}), 0);
}

void
pcie_run_model(struct pcie *r)
{
	/*
	 * The model does not come to rest while the PRIQ overflows: endpoints repeat their
	 * requests.
	 */
	for (unsigned int i = 0; i < 64 && smmuv3_model_step(r->m, 64) > 0; i++)
		;
}

void
pcie_run_until_sent(struct pcie *r, uint64_t n)
{
	for (unsigned int i = 0; i < 100000; i++) {
		if (pcie_model_stat(r, SMMUV3_MODEL_STAT_PPRS) +
				pcie_model_stat(r, SMMUV3_MODEL_STAT_PPRS_LOST) >= n)
			return;
		smmuv3_model_step(r->m, 1);
	}
	fail_msg("the model sends no more page requests");
}

unsigned int
pcie_poll(struct pcie *r)
{
	unsigned int all = 0, n;

	while ((n = iopf_poll(r->poller)) > 0)
		all += n;
	return all;
}

void
pcie_run(struct pcie *r)
{
	for (unsigned int i = 0; i < 1000; i++) {
		bool rests;

		pcie_run_model(r);
		rests = pcie_poll(r) == 0;
		if (smmuv3_model_step(r->m, 64) == 0 && rests)
			return;
	}
	fail_msg("the model and the poller do not come to rest");
}

void
pcie_run_ms(struct pcie *r, unsigned int ms)
{
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 1000 * ms;
	unsigned int pass;

	/* A minimum of passes: this thread may not run for some of the time. */
	for (pass = 0; pass < MIN_PASSES || rte_rdtsc() < end; pass++) {
		smmuv3_model_step(r->m, 64);
		iopf_poll(r->poller);
	}
	pcie_run(r);
}

void
pcie_run_until(struct pcie *r, bool (*is)(const void *arg), const void *arg)
{
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz() * 60;

	while (!is(arg)) {
		if (rte_rdtsc() > end)
			fail_msg("it does not happen within a minute");
		smmuv3_model_step(r->m, 64);
		iopf_poll(r->poller);
		/* The policy thread needs the model's lock, or this processor. */
		sched_yield();
	}
}

struct smmuv3_model_done
pcie_expect_end(struct smmuv3_model_dma *dma, enum smmuv3_model_status status)
{
	struct smmuv3_model_done done;

	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
	assert_string_equal(smmuv3_model_status_name(done.status),
			smmuv3_model_status_name(status));
	return done;
}

struct smmuv3_model_done
pcie_write_and_wait(struct pcie *r, struct smmuv3_model_dma *dma, unsigned int page,
		unsigned int pages, enum smmuv3_model_status status)
{
	pcie_write(r, dma, page, pages);
	pcie_run(r);
	return pcie_expect_end(dma, status);
}

void
pcie_expect_pattern(const struct pcie *r, const struct pcie_space *s, unsigned int page,
		unsigned int pages)
{
	assert_memory_equal(s->data + (size_t)page * PCIE_PAGE,
			r->pattern + (size_t)page * PCIE_PAGE, (size_t)pages * PCIE_PAGE);
}

void
pcie_leave_in_recovery(struct pcie *r, struct smmuv3_model_dma *stalling)
{
	const uint64_t resets = pcie_stat(r, IOPF_IOMMU_STAT_RESETS);

	smmuv3_model_knob(r->m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pcie_write(r, stalling, 0, 1);
	while (pcie_stat(r, IOPF_IOMMU_STAT_RESETS) == resets) {
		pcie_run_model(r);
		iopf_poll(r->poller);
	}
}
