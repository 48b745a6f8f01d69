/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests for managed memory: unmap invalidates the ATC, memory is kept while the ATC may
 * hold it (contract 11), and a PASID moves to another address space.
 */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

#include "attachment.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "mmem.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define SID	8

static struct pcie r;

static struct {
	struct mmem_pool *pool;
	struct mmem_space *space;
	uint8_t *buf;
} mm;

static void
mm_open(unsigned int pages)
{
	mm.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = r.iommu,
			.size = 64 << 20 });
	assert_non_null(mm.pool);
	mm.space = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool, .window = 1 });
	assert_non_null(mm.space);
	mm.buf = mmem_alloc(mm.space, (size_t)pages * PCIE_PAGE,
			MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	assert_non_null(mm.buf);
}

static void
mm_close(void)
{
	assert_int_equal(mmem_space_destroy(mm.space), 0);
	assert_int_equal(mmem_pool_destroy(mm.pool), 0);
}

static void
mm_write(struct smmuv3_model_dma *dma, unsigned int page, unsigned int pages)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE,
		.addr = (uintptr_t)mm.buf + (size_t)page * PCIE_PAGE,
		.buf = r.pattern + (size_t)page * PCIE_PAGE,
		.len = (size_t)pages * PCIE_PAGE,
	}), 0);
}

static void
mm_write_and_wait(struct smmuv3_model_dma *dma, unsigned int page, unsigned int pages,
		enum smmuv3_model_status status)
{
	mm_write(dma, page, pages);
	pcie_run(&r);
	pcie_expect_end(dma, status);
}

static void
the_atc_makes_no_access_after_unmap(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t hits, bytes, asked;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB }, NULL);
	mm_open(64);
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 32 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_write_and_wait(dma, 0, 32, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 32);
	/* The ATC holds the translations. */
	asked = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS);
	mm_write_and_wait(dma, 0, 32, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), asked);

	assert_int_equal(mmem_unmap(mm.space, mm.buf + 8 * PCIE_PAGE, 8 * PCIE_PAGE), 0);
	memset(mm.buf, 0xee, 32 * PCIE_PAGE);
	hits = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS);
	bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
	mm_write(dma, 8, 8);
	pcie_run_model(&r);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), hits);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
	for (unsigned int i = 0; i < 32 * PCIE_PAGE; i++)
		assert_int_equal(mm.buf[i], 0xee);
	pcie_run(&r);
	assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_OK).nb_groups, 1);
	assert_memory_equal(mm.buf + 8 * PCIE_PAGE, r.pattern + 8 * PCIE_PAGE, 8 * PCIE_PAGE);

	/* Unmap while a DMA is under way. */
	for (unsigned int round = 0; round < 20; round++) {
		mm_write(dma, 0, 64);
		for (unsigned int i = 0; i < round * 3; i++) {
			smmuv3_model_step(r.m, 1);
			if (i % 5 == 0)
				iopf_poll(r.poller);
		}
		assert_int_equal(mmem_unmap(mm.space, mm.buf, 64 * PCIE_PAGE), 0);
		bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
		memset(mm.buf, round, 64 * PCIE_PAGE);
		/* No thread polls here, so no answer lets the DMA continue. */
		pcie_run_model(&r);
		assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
		for (unsigned int i = 0; i < 64 * PCIE_PAGE; i += 64)
			assert_int_equal(mm.buf[i], round);
		pcie_run(&r);
		pcie_expect_end(dma, SMMUV3_MODEL_OK);
	}

	/* Free the region. */
	mm_write_and_wait(dma, 0, 64, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(mm.space, mm.buf), 0);
	bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
	mm_write_and_wait(dma, 0, 64, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_close();
	pcie_close(&r);
}

/* Contract 11: memory is kept until it is certain that the device cannot use it. */
static void
memory_is_kept_while_a_dead_atc_may_use_it(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(64);
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 32 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	other = pcie_add_simple(&r, &fo, &s, SID + 1, 8);
	mm_write_and_wait(dma, 0, 32, SMMUV3_MODEL_OK);

	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	pcie_mute_log(true);
	assert_int_equal(mmem_free(mm.space, mm.buf), -EIO);
	assert_int_not_equal(mmem_stat(mm.space, MMEM_STAT_KEPT), 0);
	/* The other endpoint goes on. */
	pcie_write_and_wait(&r, other, 0, 16, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 16);
	/* The driver of the endpoint resets it. */
	pcie_reset_fn(&r, &f);
	smmuv3_model_dma_quirks(dma, 0, 0);
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	pcie_mute_log(false);
	pcie_run(&r);
	mm_close();
	pcie_close(&r);
}

/* Contract 7: faults on a page join the fault that maps it, through both queues. */
static void
a_stall_and_a_request_for_a_page_map_it_once(void **state)
{
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(32);
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 8 });
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(mm.space, dev, IOPF_NO_PASID), 0);

	mm_write(dma, 0, 8);
	for (unsigned int i = 0; i < 4; i++)
		mm_write(stalling, 3, 1);
	pcie_run_model(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 4);
	pcie_poll(&r);
	/* A group of eight requests and four stalls: eight pages are mapped, four faults join. */
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 8);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_JOINED), 4);
	assert_int_equal(iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_FAULTS), 5);
	assert_int_equal(iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_SUCCESS), 5);
	pcie_run(&r);
	assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_OK).nb_groups, 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pcie_expect_end(stalling, SMMUV3_MODEL_OK).nb_stalls, 1);
	assert_memory_equal(mm.buf, r.pattern, 8 * PCIE_PAGE);

	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_detach(mm.space, dev, IOPF_NO_PASID), 0);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	mm_close();
	pcie_close(&r);
}

/* Writes to tracked pages that were mapped for reads: one invalidation, one answer. */
static void
a_group_is_upgraded_with_one_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_fn f;
	static uint8_t back[32 * PCIE_PAGE];
	void *buf;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(1);
	buf = mmem_alloc(mm.space, 32 * PCIE_PAGE, MMEM_READ | MMEM_WRITE | MMEM_TRACK_WRITES |
			MMEM_POPULATE);
	assert_non_null(buf);
	mm.buf = buf;
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 16 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	for (unsigned int n = 1; n <= 16; n *= 2) {
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = (uintptr_t)mm.buf, .buf = back,
			.len = n * PCIE_PAGE }), 0);
		pcie_run(&r);
		pcie_expect_end(dma, SMMUV3_MODEL_OK);
		mm_write(dma, 0, n);
		/* The worker upgrades more than four pages. */
		while (smmuv3_model_dma_outstanding(dma) == 1) {
			struct smmuv3_model_done d;

			pcie_run(&r);
			if (smmuv3_model_dma_poll(dma, &d, 1) == 1) {
				assert_int_equal(d.status, SMMUV3_MODEL_OK);
				assert_int_equal(d.nb_groups, 1);
				break;
			}
			usleep(100);
		}
		assert_memory_equal(mm.buf, r.pattern, n * PCIE_PAGE);
		assert_int_equal(mmem_unmap(mm.space, mm.buf, 32 * PCIE_PAGE), 0);
	}
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_close();
	pcie_close(&r);
}

/*
 * One PASID of an endpoint moves to another address space
 */

#define LONG_DMA	96	/* pages, in groups of 8 */

static struct {
	struct pcie_fn f;
	struct smmuv3_model_dma *dma[2];	/* of PASIDs 1 and 2 */
	struct mmem_space *other;		/* of PASID 2 */
	unsigned int ended;			/* DMAs of PASID 1 */
	enum smmuv3_model_status status;
} mv;

static void
note_end_of_dma(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	RTE_SET_USED(dma);
	RTE_SET_USED(ctx);
	mv.ended++;
	mv.status = done->status;
}

/* The engine calls note_end_of_dma(), so outstanding counts the DMAs that have not ended. */
static bool
pasid_drained(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	assert_int_equal(pasid, 1);
	return smmuv3_model_dma_outstanding(mv.dma[0]) == 0;
}

static void
mv_open(bool tells, unsigned int group_pages)
{
	memset(&mv, 0, sizeof(mv));
	pcie_open(&r, NULL, NULL);
	mm_open(LONG_DMA);
	mv.other = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool, .window = 1 });
	assert_non_null(mv.other);
	pcie_add_fn(&r, &mv.f, SID, &(struct iopf_dev_conf){ .nb_pasids = 4,
			.pci = &(struct iopf_pci_ops){
				.pasid_drained = tells ? pasid_drained : NULL } });
	mv.dma[0] = pcie_create_engine(&r, &mv.f, &(struct smmuv3_model_dma_conf){
		.has_ssid = true,
		.ssid = 1,
		.group_pages = group_pages,
		.on_done = note_end_of_dma,
	});
	mv.dma[1] = pcie_create_pasid_engine(&r, &mv.f, 2, group_pages, 0, false);
	assert_int_equal(mmem_attach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mmem_attach(mv.other, mv.f.dev, 2), 0);
}

static void
mv_close(void)
{
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mmem_detach(mv.other, mv.f.dev, 2), 0);
	assert_int_equal(mmem_space_destroy(mv.other), 0);
	mm_close();
	pcie_close(&r);
}

/* PASID 2 is not disturbed. */
static void
check_other_pasid(void)
{
	uint8_t *buf = mmem_alloc(mv.other, 4 * PCIE_PAGE, MMEM_READ | MMEM_WRITE |
			MMEM_POPULATE);

	assert_non_null(buf);
	assert_int_equal(smmuv3_model_dma_submit(mv.dma[1], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)buf, .buf = r.pattern,
		.len = 4 * PCIE_PAGE }), 0);
	pcie_run(&r);
	pcie_expect_end(mv.dma[1], SMMUV3_MODEL_OK);
	assert_memory_equal(buf, r.pattern, 4 * PCIE_PAGE);
	assert_int_equal(mmem_free(mv.other, buf), 0);
}

/* Attach PASID 1 to a new space with a region at the same address. */
static void
mv_replace_space(void)
{
	uint8_t *was = mm.buf;

	assert_int_equal(mmem_space_destroy(mm.space), 0);
	mm.space = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool, .window = 1 });
	assert_non_null(mm.space);
	mm.buf = mmem_alloc(mm.space, LONG_DMA * PCIE_PAGE, MMEM_READ | MMEM_WRITE |
			MMEM_POPULATE);
	assert_ptr_equal(mm.buf, was);
	assert_int_equal(mmem_attach(mm.space, mv.f.dev, 1), 0);
	pcie_run(&r);
}

static void
check_new_space(void)
{
	for (size_t i = 0; i < LONG_DMA * PCIE_PAGE; i++)
		assert_int_equal(mm.buf[i], 0);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 0);
	/* The device can use the new space at once. */
	mm_write(mv.dma[0], 0, LONG_DMA);
	pcie_run(&r);
	assert_int_equal(mv.ended, 2);
	assert_int_equal(mv.status, SMMUV3_MODEL_OK);
	assert_memory_equal(mm.buf, r.pattern, LONG_DMA * PCIE_PAGE);
	check_other_pasid();
	assert_string_equal(mv.f.log, "AP");
}

/* Start a long DMA and poll until n requests have come. */
static void
start_long_dma(unsigned int n)
{
	mm_write(mv.dma[0], 0, LONG_DMA);
	for (unsigned int i = 8; i < n; i += 8) {
		pcie_run_until_sent(&r, i);
		pcie_poll(&r);
	}
	pcie_run_until_sent(&r, n);
	pcie_poll(&r);
}

/* The detach comes at any step of the DMA: translation, request, answer, write. */
static void
no_dma_of_a_moved_pasid_reaches_its_new_space(void **state)
{
	unsigned int steps = 0, aborted = 0;

	(void)state;
	for (bool over = false; !over; steps += 1 + steps / 2) {
		mv_open(true, 8);
		mm_write(mv.dma[0], 0, LONG_DMA);
		for (unsigned int i = 0; i < steps; i++) {
			smmuv3_model_step(r.m, 1);
			if (i % 5 == 0)
				iopf_poll(r.poller);
		}
		over = mv.ended > 0;
		assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
		assert_int_equal(mv.ended, 1);
		assert_int_equal(mv.status, over ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 0);
		aborted += !over;
		mv_replace_space();
		check_new_space();
		mv_close();
	}
	assert_true(aborted >= 8);
}

static void
partial_groups_of_a_moved_pasid_are_answered(void **state)
{
	static const unsigned int sent[] = { 1, 4, 7, 9, 12, 15, 29 };

	(void)state;
	for (unsigned int i = 0; i < 2 * RTE_DIM(sent); i++) {
		bool tells = i % 2 == 0;

		mv_open(tells, 8);
		start_long_dma(sent[i / 2]);
		assert_int_equal(mv.ended, 0);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 8);
		assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_GROUPS), sent[i / 2] / 8 + 1);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_ANSWERS), sent[i / 2] / 8 + 1);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 0);
		/* Without pasid_drained the answer may still be on its way until the attach. */
		if (tells)
			assert_int_equal(mv.ended, 1);
		mv_replace_space();
		assert_int_equal(mv.ended, 1);
		assert_int_equal(mv.status, SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 0);
		check_new_space();
		mv_close();
	}
}

static void
a_pasid_with_a_lost_last_can_move_after_a_reset(void **state)
{
	(void)state;
	mv_open(true, 4);
	smmuv3_model_dma_quirks(mv.dma[0], SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	mm_write(mv.dma[0], 0, 4);
	pcie_run(&r);
	smmuv3_model_dma_quirks(mv.dma[0], 0, 0);
	pcie_mute_log(true);
	mv.f.dev->conf.wait_ms = SHORT_WAIT_MS;
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), -ETIMEDOUT);
	assert_int_equal(mv.ended, 0);
	/* The PASID cannot be attached to another space. */
	assert_int_equal(mmem_attach(mv.other, mv.f.dev, 1), -EEXIST);
	pcie_mute_log(false);
	assert_string_equal(mv.f.log, "AP");
	check_other_pasid();

	pcie_reset_fn(&r, &mv.f);
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mv.ended, 1);
	assert_int_equal(mv.status, SMMUV3_MODEL_ABORTED);
	/* The reset disabled ATS and PRI for PASID 2 too. */
	assert_int_equal(iopf_dev_pri_restart(mv.f.dev), 0);
	memset(mv.f.log + 2, 0, sizeof(mv.f.log) - 2);
	mv_replace_space();
	check_new_space();
	mv_close();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_atc_makes_no_access_after_unmap),
	cmocka_unit_test(memory_is_kept_while_a_dead_atc_may_use_it),
	cmocka_unit_test(no_dma_of_a_moved_pasid_reaches_its_new_space),
	cmocka_unit_test(partial_groups_of_a_moved_pasid_are_answered),
	cmocka_unit_test(a_pasid_with_a_lost_last_can_move_after_a_reset),
	cmocka_unit_test(a_stall_and_a_request_for_a_page_map_it_once),
	cmocka_unit_test(a_group_is_upgraded_with_one_answer),
};
TEST_SUITE(pri_mmem, tests, NULL, NULL);
