/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Overflow of the PRIQ, the credits that avoid it, and groups that find no slot.
 */

#include <errno.h>
#include <stdlib.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

#define SID	8

/* 8 entries, 7 of them for requests. */
static const struct smmuv3_model_conf small_queue = { .priq_log2 = 3 };

static const struct iopf_dev_conf over_committed = { .pri_requests = 32, .pri_overcommit = true };

static struct pcie r;

/*
 * A PRIQ of eight entries. One group is taken and one is partial in the library. Single requests of
 * the filler and the first k requests of a group of three fill the queue; the next request
 * overflows.
 */
static void
check_overflow_at(unsigned int k)
{
	struct smmuv3_model_dma *victim, *filler, *partial, *taken;
	struct pcie_space sv, sf, sp, st;
	struct pcie_fn fv, ff, fp, ft;
	unsigned int fill = 8 - k;
	uint64_t before;

	pcie_open(&r, &small_queue, NULL);
	victim = pcie_add_attached_fn(&r, &fv, &sv, SID, 3, 1, &over_committed);
	filler = pcie_add_attached_fn(&r, &ff, &sf, SID + 1, 1, 0, &over_committed);
	partial = pcie_add_attached_fn(&r, &fp, &sp, SID + 2, 2, 1, &over_committed);
	taken = pcie_add_attached_fn(&r, &ft, &st, SID + 3, 2, 1, &over_committed);

	st.verdict = IOPF_TAKEN;
	pcie_write(&r, taken, 0, 2);
	pcie_run(&r);
	assert_int_equal(st.calls, 1);
	smmuv3_model_dma_quirks(partial, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, partial, 0, 2);
	pcie_run(&r);
	smmuv3_model_dma_quirks(partial, 0, 0);

	before = pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS);
	for (unsigned int i = 0; i < fill; i++)
		pcie_write(&r, filler, i, 1);
	pcie_run_until_sent(&r, before + fill);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + fill);
	pcie_write(&r, victim, 0, 3);
	if (k == 3) {
		/* Between two groups. */
		pcie_run_until_sent(&r, before + 8);
		pcie_write(&r, filler, 20, 1);
	}
	pcie_run_until_sent(&r, before + 9);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + 8);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	/*
	 * The endpoints repeat their requests and the SMMU answers them itself: no request enters
	 * the queue.
	 */
	pcie_run_model(&r);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + 8);
	assert_int_not_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);

	pcie_poll(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 1);
	/* Partial groups are discarded, complete ones are not. */
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 1 + (k < 3 ? k : 0));
	assert_int_equal(sp.lost, 1);
	assert_int_equal(sv.lost, k < 3 ? k : 0);
	assert_int_equal(sf.lost + st.lost, 0);
	assert_int_equal(sf.calls, fill);
	assert_int_equal(sv.calls, k == 3);
	assert_int_equal(st.calls, 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);

	pcie_run(&r);
	pcie_expect_end(victim, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &sv, 0, 3);
	for (unsigned int i = 0; i < fill + (k == 3); i++)
		pcie_expect_end(filler, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &sf, 0, fill);
	assert_int_equal(smmuv3_model_dma_outstanding(taken), 1);
	assert_int_equal(iopf_group_respond(st.group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(taken, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &st, 0, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);

	pcie_reset_fn(&r, &fp);
	pcie_run(&r);
	pcie_expect_end(partial, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
overflow_at_the_first_request_of_a_group(void **state)
{
	(void)state;
	check_overflow_at(0);
}

static void
overflow_in_the_middle_of_a_group(void **state)
{
	(void)state;
	check_overflow_at(1);
}

static void
overflow_at_the_last_request_of_a_group(void **state)
{
	(void)state;
	check_overflow_at(2);
}

static void
overflow_between_two_groups(void **state)
{
	(void)state;
	check_overflow_at(3);
}

/* Some groups begin before an overflow and end after it. */
static void
repeated_overflows_lose_no_group(void **state)
{
	enum { FNS = 3, DMAS = 8 };
	uint64_t overflows = 0, discarded = 0;
	struct smmuv3_model_done d;
	struct pcie_space s[FNS];
	struct pcie_fn f[FNS];
	unsigned int seed = 7;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		unsigned int used[FNS] = { 0 }, done = 0;

		pcie_open(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 + round % 3,
				.seed = round + 1,
				.features = round % 2 != 0 ? SMMUV3_MODEL_PPS : 0 }, NULL);
		for (unsigned int i = 0; i < FNS; i++)
			pcie_add_attached_fn(&r, &f[i], &s[i], SID + i, 1 + i * 2, 1 + round % 4,
					&over_committed);
		while (done < FNS * DMAS) {
			unsigned int i = (unsigned int)rand_r(&seed) % FNS;

			switch (rand_r(&seed) % 8) {
			case 0:
				if (used[i] < DMAS)
					pcie_write(&r, f[i].dma[0], 10 * used[i]++, 2 * (1 + i));
				break;
			case 1:
				iopf_poll(r.poller);
				break;
			default:
				smmuv3_model_step(r.m, (unsigned int)rand_r(&seed) % 4);
				break;
			}
			for (i = 0; i < FNS; i++) {
				if (smmuv3_model_dma_poll(f[i].dma[0], &d, 1) == 0)
					continue;
				assert_int_equal(d.status, SMMUV3_MODEL_OK);
				done++;
			}
		}
		for (unsigned int i = 0; i < FNS; i++)
			for (unsigned int n = 0; n < DMAS; n++)
				pcie_expect_pattern(&r, &s[i], 10 * n, 2 * (1 + i));
		overflows += pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS);
		discarded += pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS),
				pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS));
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
		pcie_close(&r);
	}
	/* Overflows happened. */
	assert_true(overflows > 100);
	assert_true(discarded > 100);
}

/* Each group is larger than the queue, so that every pass overflows. */
static void
devices_progress_although_every_pass_overflows(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f[2];
	unsigned int passes, seed = 1;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_add_attached_fn(&r, &f[i], &s[i], SID + i, 32, 0, &over_committed);
		s[i].map_lost = true;
		smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_CREDITS, 0);
		for (unsigned int k = 0; k < 4; k++)
			pcie_write(&r, dma[i], 32 * k, 32);
	}
	/* Poll at random times, so that the content of the queue varies. */
	for (passes = 0; passes < 4096; passes++) {
		smmuv3_model_step(r.m, 256 + (unsigned int)rand_r(&seed) % 256);
		if (pcie_poll(&r) == 0)
			break;
	}
	assert_in_range(passes, 16, 4095);
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int k = 0; k < 4; k++)
			pcie_expect_end(dma[i], SMMUV3_MODEL_OK);
		pcie_expect_pattern(&r, &s[i], 0, 128);
	}
	assert_true(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS) > 16);
	pcie_close(&r);
}

/*
 * Credits
 */

static void
credits_are_granted_at_attach_and_returned_at_detach(void **state)
{
	static const struct iopf_dev_conf five = { .pri_requests = 5 };
	struct smmuv3_model_dma *dma;
	struct pcie_space s[3];
	struct pcie_fn f[3];

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	assert_int_equal(iopf_iommu_info(r.iommu)->request_queue_size, 8);
	assert_int_equal(iopf_iommu_info(r.iommu)->max_requests, 7);
	for (unsigned int i = 0; i < 3; i++) {
		pcie_add_fn(&r, &f[i], SID + i, i == 2 ? &over_committed : &five);
		pcie_create_engine(&r, &f[i], &(struct smmuv3_model_dma_conf){ .group_pages = 8 });
		pcie_create_space(&r, &s[i]);
	}
	pcie_attach(&s[0], &f[0], IOPF_NO_PASID);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 5);
	assert_int_equal(f[0].credits, 5);
	/* Too few credits are left: the attach changes nothing. */
	pcie_mute_log(true);
	assert_int_equal(iopf_domain_attach(s[1].domain, f[1].dev, IOPF_NO_PASID), -ENOSPC);
	pcie_mute_log(false);
	assert_string_equal(f[1].log, "");
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 5);
	assert_int_equal(iopf_domain_detach(s[0].domain, f[0].dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	pcie_attach(&s[1], &f[1], IOPF_NO_PASID);
	assert_string_equal(f[1].log, "AP");
	/* pri_overcommit grants credits beyond the size of the queue. */
	pcie_attach(&s[2], &f[2], IOPF_NO_PASID);
	assert_int_equal(f[2].credits, 32);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 37);

	/* No endpoint has more requests outstanding than it has credits. */
	dma = f[1].dma[0];
	pcie_write(&r, dma, 0, 8);
	pcie_run_model(&r);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 5);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 0);
	pcie_write_and_wait(&r, f[2].dma[0], 0, 32, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s[2], 0, 32);
	pcie_close(&r);
}

static void
no_group_is_lost_if_a_device_ignores_its_credits(void **state)
{
	struct smmuv3_model_dma *dma, *good;
	struct pcie_space s, sg;
	struct pcie_fn f, fg;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	dma = pcie_add_attached_fn(&r, &f, &s, SID, 1, 0,
			&(struct iopf_dev_conf){ .pri_requests = 2 });
	good = pcie_add_attached_fn(&r, &fg, &sg, SID + 1, 4, 0,
			&(struct iopf_dev_conf){ .pri_requests = 4 });
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_CREDITS, 0);
	for (unsigned int i = 0; i < 16; i++)
		pcie_write(&r, dma, 4 * i, 4);
	pcie_write(&r, good, 0, 16);
	pcie_run(&r);
	for (unsigned int i = 0; i < 16; i++)
		pcie_expect_end(dma, SMMUV3_MODEL_OK);
	pcie_expect_end(good, SMMUV3_MODEL_OK);
	assert_int_not_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 0);
	pcie_expect_pattern(&r, &s, 0, 64);
	pcie_expect_pattern(&r, &sg, 0, 16);
	pcie_close(&r);
}

/* The library has two slots for each entry of the queue, at least 64. */
static void
groups_without_a_slot_are_requested_again(void **state)
{
	/* An over-committed device can use half of the 64 slots. */
	enum { DMAS = 80, SLOTS = 32 };
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_done d;
	uint64_t answered = 0;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	dma = pcie_add_attached_fn(&r, &f, &s, SID, 1, 0, &(struct iopf_dev_conf){
			.pri_requests = 128, .pri_overcommit = true });
	s.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < DMAS; i++)
		pcie_write(&r, dma, i, 1);
	for (unsigned int i = 0; i < 100; i++) {
		smmuv3_model_step(r.m, 64);
		pcie_poll(&r);
	}
	assert_int_equal(s.calls, SLOTS);
	assert_int_equal(iopf_domain_pending(s.domain), SLOTS);
	/* Answered Success without a map, and requested again. */
	assert_true(pcie_stat(&r, IOPF_IOMMU_STAT_NO_SLOT) > DMAS - SLOTS);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), DMAS);
	/* They are served as soon as slots are free. */
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		smmuv3_model_step(r.m, 64);
		pcie_poll(&r);
		while (smmuv3_model_dma_poll(dma, &d, 1) == 1) {
			assert_int_equal(d.status, SMMUV3_MODEL_OK);
			answered++;
		}
	}
	assert_int_equal(answered, DMAS - SLOTS + 1);
	/* The detach answers the rest. */
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_CANCELLED), SLOTS - 1);
	pcie_run(&r);
	for (unsigned int i = 0; i < SLOTS - 1; i++)
		pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(overflow_at_the_first_request_of_a_group),
	cmocka_unit_test(overflow_in_the_middle_of_a_group),
	cmocka_unit_test(overflow_at_the_last_request_of_a_group),
	cmocka_unit_test(overflow_between_two_groups),
	cmocka_unit_test(repeated_overflows_lose_no_group),
	cmocka_unit_test(devices_progress_although_every_pass_overflows),
	cmocka_unit_test(credits_are_granted_at_attach_and_returned_at_detach),
	cmocka_unit_test(no_group_is_lost_if_a_device_ignores_its_credits),
	cmocka_unit_test(groups_without_a_slot_are_requested_again),
};
TEST_SUITE(pri_overflow, tests, NULL, NULL);
