/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Groups whose Last is lost or repeated, and stop markers.
 */

#include <errno.h>
#include <string.h>

#include "attachment.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

#define SID	8
#define AT(page) (PCIE_VA + (uint64_t)(page) * PCIE_PAGE)

static struct pcie r;

static void
a_group_without_last_is_aged_reported_and_keeps_pri_from_draining(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, &(struct iopf_iommu_conf){ .partial_ms = 1 });
	dma = pcie_add_simple(&r, &f, &s, SID, 4);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	pcie_mute_log(true);
	for (unsigned int i = 0; i < 2000 && pcie_stat(&r, IOPF_IOMMU_STAT_AGED) == 0; i++)
		pcie_run_ms(&r, 5);
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_AGED), 3);
	assert_int_equal(r.nb_reports, 3);
	assert_int_equal(r.report.flags, IOPF_FAULT_PAGE_REQUEST);
	assert_int_equal(r.report.sid, SID);
	assert_in_range(r.report.addr, AT(8), AT(10));

	/* The endpoint waits for an answer that will not come. */
	smmuv3_model_dma_quirks(dma, 0, 0);
	f.dev->conf.wait_ms = SHORT_WAIT_MS;
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), -ETIMEDOUT);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 32);
	assert_string_equal(f.log, "APp");
	pcie_reset_fn(&r, &f);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_mute_log(false);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);

	memset(f.log, 0, sizeof(f.log));
	pcie_attach(&s, &f, IOPF_NO_PASID);
	pcie_write_and_wait(&r, dma, 8, 4, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 8, 4);
	pcie_close(&r);
	assert_string_equal(f.log, "APpa");
}

/* A stop disables ATS although PRI has not drained. A start does not enable them again. */
static void
a_start_does_not_enable_pri_on_a_device_that_did_not_drain(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	pcie_mute_log(true);
	smmuv3_model_dma_quirks(dma, 0, 0);
	f.dev->conf.wait_ms = SHORT_WAIT_MS;
	assert_int_equal(iopf_iommu_stop(r.iommu), 0);
	assert_string_equal(f.log, "APpa");
	/* The start enables nothing, and the detach disables nothing while it waits. */
	assert_int_equal(iopf_iommu_start(r.iommu), 0);
	assert_string_equal(f.log, "APpa");
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), -ETIMEDOUT);
	pcie_reset_fn(&r, &f);
	memset(f.log, 0, sizeof(f.log));
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	/* After the reset ats_disable returns 0 without a call to the model. */
	assert_string_equal(f.log, "aAP");
	memset(f.log, 0, sizeof(f.log));
	pcie_mute_log(false);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	pcie_write_and_wait(&r, dma, 8, 4, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 8, 4);
	/* The driver error is of the stop: its wait for the endpoint has a time limit. */
	assert_int_equal(smmuv3_model_driver_errors(r.m), 1);
	smmuv3_model_driver_errors_clear(r.m);
	pcie_close(&r);
}

/* A stop and a quarantine wait for a time only. Then the driver of the device resets it. */
static void
a_device_that_does_not_drain_is_reset_and_comes_back(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .wait_ms = 1 });
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 4 });
	pcie_create_space(&r, &s);
	pcie_attach(&s, &f, IOPF_NO_PASID);
	f.resets = true;
	for (unsigned int i = 0; i < 2; i++) {
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
		pcie_write(&r, dma, 8 + 4 * i, 4);
		pcie_run(&r);
		smmuv3_model_dma_quirks(dma, 0, 0);
		memset(f.log, 0, sizeof(f.log));
		pcie_mute_log(true);
		assert_int_equal(i == 0 ? iopf_dev_quarantine(f.dev) :
				iopf_iommu_stop(r.iommu), 0);
		pcie_mute_log(false);
		assert_string_equal(f.log, "pa");
		assert_int_equal(f.nb_resets, i + 1);
		assert_int_equal(i == 0 ? iopf_dev_release(f.dev) :
				iopf_iommu_start(r.iommu), 0);
		/* The library cannot know of the reset, and disables ATS again. */
		assert_string_equal(f.log, "paaAP");
		pcie_run(&r);
		pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
		pcie_write_and_wait(&r, dma, 8 + 4 * i, 4, SMMUV3_MODEL_OK);
		pcie_expect_pattern(&r, &s, 8 + 4 * i, 4);
	}
	memset(f.log, 0, sizeof(f.log));
	f.log[0] = 'P';		/* the detach has the other half */
	f.log[1] = 'A';
	pcie_close(&r);
}

static void
a_repeated_last_is_answered_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 2);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DUP_LAST, 0);
	/* Both in one pass. */
	pcie_write_and_wait(&r, dma, 0, 2, SMMUV3_MODEL_OK);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.group.nb_faults, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 1);
	/* The repeated Last comes while the group is taken. */
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 4, 2);
	pcie_run(&r);
	assert_int_equal(s.calls, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 2);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 2);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);
	pcie_close(&r);
}

/*
 * PASIDs 1 and 2 of one endpoint and PASID 1 of another; PASID 1 of the first has a group without
 * Last.
 */
static void
a_stop_marker_discards_partial_groups_of_its_pasid_without_an_answer(void **state)
{
	struct smmuv3_model_dma *dma[2], *other;
	struct pcie_space s[2], so;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_create_pasid_engine(&r, &f, 1 + i, 3, 0, false);
		pcie_create_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
	}
	pcie_add_fn(&r, &fo, SID + 1, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	other = pcie_create_pasid_engine(&r, &fo, 1, 3, 0, false);
	pcie_create_space(&r, &so);
	pcie_attach(&so, &fo, 1);

	/* PASID 1: a partial group and a taken one. */
	smmuv3_model_dma_quirks(dma[0], SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma[0], 0, 3);
	pcie_run(&r);
	smmuv3_model_dma_quirks(dma[0], 0, 0);
	s[0].verdict = IOPF_TAKEN;
	pcie_write(&r, dma[0], 8, 3);
	pcie_run(&r);
	assert_int_equal(s[0].calls, 1);
	/* PASID 2, and PASID 1 of the other endpoint: partial groups. */
	pcie_write(&r, dma[1], 0, 3);
	pcie_write(&r, other, 0, 3);
	smmuv3_model_step(r.m, 2);
	assert_int_equal(pcie_poll(&r), 2);
	assert_int_equal(s[1].calls + so.calls, 0);

	assert_int_equal(smmuv3_model_dma_stop_marker(dma[0]), 0);
	pcie_poll(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_STOP_MARKERS), 1);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 2);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);

	pcie_run(&r);
	pcie_expect_end(dma[1], SMMUV3_MODEL_OK);
	pcie_expect_end(other, SMMUV3_MODEL_OK);
	assert_int_equal(s[1].group.nb_faults, 3);
	assert_int_equal(so.group.nb_faults, 3);
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(dma[0], SMMUV3_MODEL_OK);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_ANSWERS), 3);
	/* Only a reset ends the DMA without Last. */
	pcie_reset_fn(&r, &f);
	pcie_run(&r);
	pcie_expect_end(dma[0], SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
a_stop_marker_without_pasid_is_a_request_and_is_answered(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 2);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	pcie_run(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_STOP_MARKERS), 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.fault[0].addr, 0);
	assert_int_equal(s.fault[0].perm, 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_group_without_last_is_aged_reported_and_keeps_pri_from_draining),
	cmocka_unit_test(a_start_does_not_enable_pri_on_a_device_that_did_not_drain),
	cmocka_unit_test(a_device_that_does_not_drain_is_reset_and_comes_back),
	cmocka_unit_test(a_repeated_last_is_answered_once),
	cmocka_unit_test(a_stop_marker_discards_partial_groups_of_its_pasid_without_an_answer),
	cmocka_unit_test(a_stop_marker_without_pasid_is_a_request_and_is_answered),
};
TEST_SUITE(pri_last, tests, NULL, NULL);
