/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Attach, detach, stop and start with page requests under way, and errors of the PRIQ.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attachment.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define SID	8

static struct pcie r;

static void
attach_is_undone_if_ats_enable_fails(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, NULL);
	dma = pcie_create_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 4 });
	pcie_create_space(&r, &s);
	/* ats_enable fails: ATS is on already. */
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 12), 0);
	pcie_mute_log(true);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, IOPF_NO_PASID), -EBUSY);
	pcie_mute_log(false);
	assert_string_equal(f.log, "A");
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	memset(f.log, 0, sizeof(f.log));
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_ABORTED);
	pcie_attach(&s, &f, IOPF_NO_PASID);
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_OK);
	pcie_close(&r);
}

static void
detach_answers_a_taken_group_and_a_later_answer_is_stale(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_string_equal(f.log, "APpa");
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_CANCELLED), 1);
	/* The endpoint sends no request and its DMA aborts. */
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_ABORTED);
	assert_int_equal(s.calls, 1);
	pcie_close(&r);
}

/* A group of six requests: the first are sent and polled, up to sent are only sent. */
static void
check_detach_of_partial(unsigned int polled, unsigned int sent)
{
	struct smmuv3_model_done done;
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	dma = pcie_open_simple(&r, &f, &s, SID, 6);
	pcie_write(&r, dma, 0, 6);
	pcie_run_until_sent(&r, polled);
	pcie_poll(&r);
	pcie_run_until_sent(&r, sent);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_string_equal(f.log, "APpa");
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pcie_run(&r);
	/* The handler may have served the group before the detach. */
	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
	if (done.status == SMMUV3_MODEL_OK)
		pcie_expect_pattern(&r, &s, 0, 6);
	else
		assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	pcie_write_and_wait(&r, dma, 0, 6, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
detach_drains_a_group_that_is_being_sent(void **state)
{
	(void)state;
	for (unsigned int polled = 0; polled <= 5; polled++)
		for (unsigned int sent = polled; sent <= 6; sent++)
			check_detach_of_partial(polled, sent);
}

static void
detach_of_one_pasid_keeps_the_requests_of_others(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_create_pasid_engine(&r, &f, 1 + i, 3, 0, false);
		pcie_create_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
		s[i].verdict = IOPF_TAKEN;
		pcie_write(&r, dma[i], 0, 3);
	}
	pcie_run(&r);
	assert_int_equal(iopf_domain_detach(s[0].domain, f.dev, 1), 0);
	assert_string_equal(f.log, "AP");
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_expect_end(dma[0], SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_group_respond(s[1].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(dma[1], SMMUV3_MODEL_OK);
	/* The detach invalidated the entries of PASID 1 in the ATC. */
	pcie_attach(&s[0], &f, 1);
	s[0].verdict = IOPF_ANSWER(IOPF_SUCCESS);
	pcie_write_and_wait(&r, dma[0], 0, 3, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_detach(s[0].domain, f.dev, 1), 0);
	pcie_write_and_wait(&r, dma[0], 0, 3, SMMUV3_MODEL_ABORTED);
	assert_string_equal(f.log, "AP");
	pcie_close(&r);
	assert_string_equal(f.log, "APpa");
}

static void
stop_and_start_switch_ats_and_pri_off_and_on(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f[2];

	(void)state;
	pcie_open(&r, NULL, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_add_simple(&r, &f[i], &s[i], SID + i, 4);
		pcie_write(&r, dma[i], 0, 4);
	}
	/* At the stop one group is answered, the other is taken. */
	s[1].verdict = IOPF_TAKEN;
	pcie_run(&r);
	pcie_expect_end(dma[0], SMMUV3_MODEL_OK);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(iopf_iommu_stop(r.iommu), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_string_equal(f[k].log, "APpa");
			memset(f[k].log, 0, sizeof(f[k].log));
		}
		if (i == 0) {
			assert_int_equal(iopf_group_respond(s[1].group.id, IOPF_SUCCESS),
					-ESTALE);
			pcie_run_model(&r);
			pcie_expect_end(dma[1], SMMUV3_MODEL_ABORTED);
		}
		/* No translation survives the stop. */
		pcie_write(&r, dma[0], 0, 4);
		pcie_run_model(&r);
		pcie_expect_end(dma[0], SMMUV3_MODEL_ABORTED);
		assert_int_equal(iopf_iommu_start(r.iommu), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_string_equal(f[k].log, "AP");
			s[k].verdict = IOPF_ANSWER(IOPF_SUCCESS);
			pcie_write(&r, dma[k], 8 * (i + 1), 4);
		}
		pcie_run(&r);
		for (unsigned int k = 0; k < 2; k++) {
			pcie_expect_end(dma[k], SMMUV3_MODEL_OK);
			pcie_expect_pattern(&r, &s[k], 8 * (i + 1), 4);
		}
	}
	/* An endpoint attached while the IOMMU is stopped is enabled by the start. */
	assert_int_equal(iopf_domain_detach(s[0].domain, f[0].dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_stop(r.iommu), 0);
	memset(f[0].log, 0, sizeof(f[0].log));
	pcie_attach(&s[0], &f[0], IOPF_NO_PASID);
	assert_string_equal(f[0].log, "");
	assert_int_equal(iopf_iommu_start(r.iommu), 0);
	assert_string_equal(f[0].log, "AP");
	pcie_write_and_wait(&r, dma[0], 40, 4, SMMUV3_MODEL_OK);
	pcie_close(&r);
}

/*
 * Errors of the PRIQ
 */

static void
a_priq_write_abort_disables_pri_of_its_device_until_a_restart(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s, so;
	struct pcie_fn f, fo;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	other = pcie_add_simple(&r, &fo, &so, SID + 1, 4);
	pcie_write(&r, dma, 0, 4);
	pcie_run_until_sent(&r, 3);
	pcie_poll(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	pcie_mute_log(true);
	/* The driver checks for errors every millisecond. 20 s are for a machine that is busy. */
	for (unsigned int i = 0; i < 1000 && pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED) == 0; i++)
		pcie_run_ms(&r, 20);
	pcie_mute_log(false);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 1);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 3);
	/* The other endpoint goes on. */
	pcie_write_and_wait(&r, other, 0, 4, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 4);
	pcie_expect_pattern(&r, &so, 0, 4);
	pcie_close(&r);
}

static void
a_lost_request_keeps_pri_from_restarting_until_a_reset(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s, so;
	struct pcie_fn f, fo;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 1);
	other = pcie_add_simple(&r, &fo, &so, SID + 1, 4);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pcie_write(&r, dma, 0, 1);
	pcie_mute_log(true);
	f.dev->conf.wait_ms = SHORT_WAIT_MS;
	/* Error checks do not find the loss. */
	pcie_run_ms(&r, 5);
	assert_int_equal(s.calls, 0);
	pcie_write_and_wait(&r, other, 0, 4, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_dev_pri_restart(f.dev), -ETIMEDOUT);
	pcie_mute_log(false);
	pcie_reset_fn(&r, &f);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
	pcie_write_and_wait(&r, dma, 0, 1, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 1);
	pcie_close(&r);
}

/* Recovery cycles SMMUEN. This terminates stalls; page requests still need an answer. */
static void
groups_stay_pending_if_recovery_terminates_stalls(void **state)
{
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct pcie_space s, ss;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 4);
	pcie_create_space(&r, &ss);
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	assert_int_equal(iopf_domain_attach(ss.domain, dev, IOPF_NO_PASID), 0);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	s.verdict = ss.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 4);
	pcie_write(&r, stalling, 0, 1);
	pcie_run(&r);
	assert_int_equal(s.calls, 1);
	assert_int_equal(ss.calls, 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pcie_write(&r, stalling, 4, 1);
	pcie_mute_log(true);
	/* At most 20 s, as above. */
	for (unsigned int i = 0; i < 1000 && pcie_stat(&r, IOPF_IOMMU_STAT_RESETS) == 0; i++)
		pcie_run_ms(&r, 20);
	pcie_mute_log(false);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_RESETS), 1);
	assert_int_equal(iopf_group_respond(ss.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_expect_end(stalling, SMMUV3_MODEL_ABORTED);
	pcie_expect_end(stalling, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_pending(s.domain), 1);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 4);
	/* Both devices go on. */
	s.verdict = ss.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	pcie_write(&r, dma, 8, 4);
	pcie_write(&r, stalling, 8, 4);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	pcie_expect_end(stalling, SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	pcie_close(&r);
}

/* The thread of the control call polls where no poll thread runs. */
static void
control_calls_during_a_recovery_need_no_poll(void **state)
{
	const struct iopf_dev_conf conf = { .nb_pasids = 4 };
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct pcie_space s, ss;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_add_attached_fn(&r, &f, &s, SID, 4, 0, &conf);
	pcie_create_space(&r, &ss);
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	assert_int_equal(iopf_domain_attach(ss.domain, dev, IOPF_NO_PASID), 0);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	pcie_mute_log(true);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, 3), 0);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, 3), 0);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_leave_in_recovery(&r, stalling);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_run_ms(&r, 20);
	pcie_mute_log(false);
	pcie_write_and_wait(&r, dma, 0, 4, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 0, 4);
	for (unsigned int i = 0; i < 5; i++)
		pcie_expect_end(stalling, SMMUV3_MODEL_ABORTED);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	pcie_close(&r);
}

/* A restart does not enable a device that was cut off: it has to be attached again. */
static void
a_device_that_was_cut_off_is_not_restarted(void **state)
{
	const struct iopf_inv inv = { .all = true };
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;
	char *lines;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_add_simple(&r, &f, &s, SID, 8);
	pcie_write(&r, dma, 0, 8);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	assert_string_equal(f.log, "APpaAP");
	pcie_mute_log(true);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	assert_int_equal(iopf_invalidate(s.domain, &inv, 1, NULL), -EIO);
	pcie_mute_log(false);
	/* Nothing is changed at the device. */
	SAYS("cut off, since its ATC did not answer",
		assert_int_equal(iopf_dev_pri_restart(f.dev), -EIO));
	assert_string_equal(f.log, "APpaAP");
	/* A start does not enable it either. */
	pcie_mute_log(true);
	assert_int_equal(iopf_iommu_stop(r.iommu), 0);
	log_lines_begin();
	assert_int_equal(iopf_iommu_start(r.iommu), 0);
	lines = log_lines_end();
	/* The line must not advise a restart, which would fail for this device. */
	assert_null(strstr(lines, "then call iopf_dev_pri_restart()"));
	free(lines);
	assert_string_equal(f.log, "APpaAPpa");
	assert_int_equal(iopf_dev_pri_restart(f.dev), -EIO);
	pcie_mute_log(false);
	pcie_reset_fn(&r, &f);
	smmuv3_model_dma_quirks(dma, 0, 0);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_attach(&s, &f, IOPF_NO_PASID);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_write(&r, dma, 8, 8);
	pcie_run(&r);
	pcie_expect_end(dma, SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s, 8, 8);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(attach_is_undone_if_ats_enable_fails),
	cmocka_unit_test(detach_answers_a_taken_group_and_a_later_answer_is_stale),
	cmocka_unit_test(detach_drains_a_group_that_is_being_sent),
	cmocka_unit_test(detach_of_one_pasid_keeps_the_requests_of_others),
	cmocka_unit_test(stop_and_start_switch_ats_and_pri_off_and_on),
	cmocka_unit_test(a_priq_write_abort_disables_pri_of_its_device_until_a_restart),
	cmocka_unit_test(a_lost_request_keeps_pri_from_restarting_until_a_reset),
	cmocka_unit_test(groups_stay_pending_if_recovery_terminates_stalls),
	cmocka_unit_test(control_calls_during_a_recovery_need_no_poll),
	cmocka_unit_test(a_device_that_was_cut_off_is_not_restarted),
};
TEST_SUITE(pri_control, tests, NULL, NULL);
