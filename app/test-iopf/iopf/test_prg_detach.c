/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9 with page requests: attach, detach, stop and start, ATS and PRI of the device.
 */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>

#include "interpose.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "prg_rig.h"
#include "iopf_iommu.h"
#include "test.h"

#define SID3	40

static bool
pasid_drained(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	(void)dev;
	(void)pasid;
	(void)ctx;
	if (strchr(prg.log, 'D') == NULL)
		prg_log_call('D');
	return !prg.not_drained;
}

/* The device's Last arrives while it reports that it has drained. */
static bool last_at_drained;
static unsigned int drained_calls;

static bool
pasid_drained_counted(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	(void)dev;
	(void)ctx;
	drained_calls++;
	if (last_at_drained)
		prg_put(SID3, pasid, 1, 0x2000, LAST);
	last_at_drained = false;
	return !prg.not_drained;
}

static void
a_detach_discards_partial_groups_and_answers_pending_groups(void **state)
{
	uint64_t id;

	(void)state;
	prg_shorten_waits();
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_put(SID, 1, 2, 0x1000, 0);
	prg_put(SID, 2, 2, 0x1000, 0);
	prg_poll_all();
	id = prg.last_id;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, 1));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, hw.out[0].answer.token);
	assert_int_equal(-ESTALE, iopf_group_respond(id, IOPF_SUCCESS));
	/* The Last of the partial group has no domain and is answered. */
	prg_put(SID, 1, 2, 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(2, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[1].answer.code);
	/* The group of PASID 2 goes on. */
	prg.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	prg_put(SID, 2, 2, 0x2000, LAST);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
	/* PRI stays on while a PASID is attached. */
	assert_string_equal("a", prg.log);
}

static void
a_domain_attached_anew_does_not_see_requests_from_before(void **state)
{
	(void)state;
	prg_shorten_waits();
	prg_put(SID, 1, 2, 0x1000, 0);
	prg_poll_all();
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, 1));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, 1));
	prg_put(SID, 1, 2, 0x2000, 0);
	prg_put(SID, 1, 2, 0x3000, LAST);
	prg_poll_all();
	assert_int_equal(2, prg.nb_faults);
	assert_int_equal(0x2000, prg.addrs[0]);
	assert_int_equal(1, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
}

static void
ats_and_pri_are_enabled_after_attach_and_disabled_before_detach(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_string_equal("pdta", prg.log);
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
	assert_string_equal("ATP", prg.log);
	assert_int_equal(2, prg.credits);
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 2));
	assert_string_equal("A", prg.log);
}

static void
ats_and_pri_are_off_while_the_iommu_is_stopped(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_string_equal("ppdtdt", prg.log);
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
	assert_string_equal("aA", prg.log);
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	assert_string_equal("TPTP", prg.log);
}

static void
pending_groups_are_answered_before_pri_is_drained(void **state)
{
	(void)state;
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID2, 1, 1, 1);
	prg_poll_all();
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_string_equal("pdta", prg.log);
}

static void
a_wait_for_a_device_drives_a_recovery(void **state)
{
	(void)state;
	prg.until_recovery = true;
	hw.check = IOPF_CHECK_TERMINATED;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	prg.until_recovery = false;
}

static void
a_device_that_does_not_drain_stays_attached(void **state)
{
	(void)state;
	prg_shorten_waits();
	prg_mute_log(true);
	prg.not_drained = true;
	prg_put(SID2, 1, 1, 0x1000, 0);
	prg_poll_all();
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_string_equal("pd", prg.log);
	prg_put_group(SID2, 1, 2, 1);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	prg.not_drained = false;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_string_equal("pdta", prg.log);
}

static void
a_stop_waits_a_limited_time_for_a_device(void **state)
{
	(void)state;
	prg_mute_log(true);
	prg.not_drained = true;
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, 1));
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_string_equal("ppdtdt", prg.log);
}

static void *
attach_one(void *arg)
{
	(void)arg;
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, 4));
	return NULL;
}

/* Its PRI stays on. But a device would wait for ever for an answer that the stop has forgotten. */
static void
a_stop_answers_the_groups_of_a_device_that_another_call_keeps(void **state)
{
	pthread_t thread;

	(void)state;
	prg_mute_log(true);
	prg.verdict = IOPF_TAKEN;
	prg_put_group(SID, 1, 1, 2);
	prg_poll_all();
	hw.knobs[ARRAY_ATTACH].hold = 1;
	assert_int_equal(0, pthread_create(&thread, NULL, attach_one, NULL));
	assert_true(array_wait_held(ARRAY_ATTACH, 1));
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	array_release(ARRAY_ATTACH);
	pthread_join(thread, NULL);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(1, hw.out[0].answer.token);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(1, iopf_domain_stat(prg.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_stat(prg.domain, IOPF_STAT_TERMINATED));
	assert_int_equal(-ESTALE, iopf_group_respond(prg.last_id, IOPF_SUCCESS));
}

static void
after_a_response_failure_pri_is_restarted(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_dev_pri_restart(prg.dev));
	assert_string_equal("pdtTP", prg.log);
	assert_int_equal(8, prg.credits);
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(-ENOTCONN, iopf_dev_pri_restart(prg.dev2));
}

static void
a_device_operation_that_fails_undoes_the_attach(void **state)
{
	(void)state;
	prg_mute_log(true);
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	for (unsigned int i = 0; i < 2; i++) {
		memset(prg.log, 0, sizeof(prg.log));
		prg.fail_op = "TP"[i];
		prg.fail = -EIO;
		assert_int_equal(-EIO, iopf_domain_attach(prg.domain, prg.dev2, 1));
		assert_string_equal(i == 0 ? "ATa" : "ATPta", prg.log);
		assert_int_equal(8, iopf_iommu_requests_granted(prg.iommu));
	}
	prg.fail = 0;
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
}

static void
a_device_that_fails_does_not_keep_others_from_starting(void **state)
{
	(void)state;
	prg_mute_log(true);
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	prg.fail_op = 'P';
	prg.fail = -EIO;
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	prg.fail = 0;
	assert_int_equal(0, iopf_dev_pri_restart(prg.dev));
	assert_int_equal(0, iopf_dev_pri_restart(prg.dev2));
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_string_equal("pdta", prg.log);
}

static void
an_attach_does_not_hide_that_pri_is_off(void **state)
{
	(void)state;
	prg_shorten_waits();
	prg_mute_log(true);
	prg.not_drained = true;
	assert_int_equal(-ETIMEDOUT, iopf_dev_pri_restart(prg.dev2));
	assert_int_equal(-ETIMEDOUT, iopf_domain_attach(prg.domain, prg.dev2, 2));
	prg.not_drained = false;
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 2));
	assert_string_equal("AdtTP", prg.log);
}

static void *
detach_one(void *ret)
{
	*(int *)ret = iopf_domain_detach(prg.domain, prg.dev, 1);
	return NULL;
}

static void
a_detach_of_one_pasid_waits_for_groups_that_have_begun(void **state)
{
	pthread_t thread;
	int ret = 1;

	(void)state;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_poll_all();
	assert_int_equal(0, pthread_create(&thread, NULL, detach_one, &ret));
	/* Accesses of the device abort. Now its Last comes. */
	usleep(20000);
	assert_int_equal(0, hw.nb_out);
	prg_put(SID, 1, 1, 0x2000, LAST);
	pthread_join(thread, NULL);
	assert_int_equal(0, ret);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_DISCARDED));
}

/*
 * A device that has nothing outstanding of the PASID sends no Last: the detach does not wait for
 * it. The queue is read once more, since the Last may be in it.
 */
static void
a_detach_does_not_wait_for_a_last_after_the_pasid_has_drained(void **state)
{
	const uint32_t sid = SID3;
	struct iopf_pci_ops drains = prg_ops;
	struct iopf_dev *dev;

	(void)state;
	prg_mute_log(true);
	drains.pasid_drained = pasid_drained_counted;
	dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = 4, .recover = IOPF_PRI, .pci = &drains, .pri_requests = 2,
			.wait_ms = SHORT_WAIT_MS, .ctx = &prg });
	assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 2));
	for (unsigned int i = 0; i < 3; i++) {
		unsigned int out = hw.nb_out, discarded = prg_stat(IOPF_IOMMU_STAT_DISCARDED);

		assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 1));
		prg_put(SID3, 1, 1, 0x1000, 0);
		prg_poll_all();
		prg.not_drained = i == 2;
		last_at_drained = i == 1;
		drained_calls = 0;
		assert_int_equal(i == 2 ? -ETIMEDOUT : 0,
				iopf_domain_detach(prg.domain, dev, 1));
		/* Drained: one call before the queue is read, and one after. */
		if (i != 2)
			assert_int_equal(2, drained_calls);
		prg.not_drained = false;
		assert_int_equal(0, iopf_domain_detach(prg.domain, dev, 1));
		/* The group is discarded, or answered if its Last has come. */
		assert_int_equal(out + (i == 1), hw.nb_out);
		prg_put_group(SID3, 1, 1, 1);
		prg_poll_all();
		assert_int_equal(discarded + (i != 1), prg_stat(IOPF_IOMMU_STAT_DISCARDED));
		assert_int_equal(IOPF_INVALID, hw.out[hw.nb_out - 1].answer.code);
	}
	assert_int_equal(0, prg.called);
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
a_pasid_that_does_not_drain_stays_attached_and_cut(void **state)
{
	const uint32_t sid = 40;
	struct iopf_pci_ops drains = prg_ops;
	struct iopf_dev_conf conf = {
		.sids = &sid, .nb_sids = 1, .nb_pasids = 4, .recover = IOPF_PRI, .pci = &drains,
		.pri_requests = 1, .wait_ms = SHORT_WAIT_MS, .ctx = &prg,
	};
	struct iopf_dev *dev;

	(void)state;
	prg_mute_log(true);
	drains.pasid_drained = pasid_drained;
	dev = iopf_dev_add(prg.iommu, &conf);
	assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 1));
	assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 2));
	prg.not_drained = true;
	memset(prg.log, 0, sizeof(prg.log));
	assert_int_equal(-ETIMEDOUT, iopf_domain_detach(prg.domain, dev, 1));
	assert_string_equal("aD", prg.log);
	/* The group has no domain, and the PASID cannot be attached to another. */
	prg_put_group(40, 1, 1, 1);
	prg_poll_all();
	assert_int_equal(0, prg.called);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(-EEXIST, iopf_domain_attach(prg.domain, dev, 1));
	prg.not_drained = false;
	assert_int_equal(0, iopf_domain_detach(prg.domain, dev, 1));
	assert_string_equal("aD", prg.log);
	assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 1));
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
page_requests_are_granted_from_a_budget_and_returned(void **state)
{
	struct iopf_dev *dev, *greedy;

	(void)state;
	prg_mute_log(true);
	/* Of 16 entries two are reserved for stop markers, and ten are granted. */
	assert_int_equal(14, iopf_iommu_info(prg.iommu)->max_requests);
	assert_int_equal(10, iopf_iommu_requests_granted(prg.iommu));
	dev = prg_add_dev(20, (struct iopf_dev_conf){ .pri_requests = 5 });
	assert_non_null(dev);
	assert_int_equal(-ENOSPC, iopf_domain_attach(prg.domain, dev, 1));
	assert_int_equal(ENOSPC, rte_errno);
	assert_int_equal(10, iopf_iommu_requests_granted(prg.iommu));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(0, iopf_domain_attach(prg.domain, dev, 1));
	assert_int_equal(13, iopf_iommu_requests_granted(prg.iommu));
	assert_int_equal(-ENOSPC, iopf_domain_attach(prg.domain, prg.dev2, 1));
	/*
	 * With pri_overcommit the device can use half of the slots; the other devices keep the
	 * rest.
	 */
	greedy = prg_add_dev(21, (struct iopf_dev_conf){ .pri_requests = 100,
			.pri_overcommit = true });
	assert_non_null(greedy);
	assert_int_equal(0, iopf_domain_attach(prg.domain, greedy, 1));
	assert_int_equal(100, prg.credits);
	assert_int_equal(113, iopf_iommu_requests_granted(prg.iommu));
	prg.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < SLOTS; i++)
		prg_put_group(21, 1, i, 1);
	for (unsigned int i = 0; i < 16; i++)
		prg_put_group(SID, 1, i, 1);
	prg_poll_all();
	assert_int_equal(SLOTS / 2 + 16, prg.called);
	assert_int_equal(SLOTS / 2, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	/* The queue keeps its size, so the configuration is accepted. */
	assert_int_equal(0, iopf_iommu_stop(prg.iommu));
	assert_int_equal(0, iopf_iommu_configure(prg.iommu, NULL));
	assert_int_equal(0, iopf_iommu_start(prg.iommu));
	assert_int_equal(0, iopf_dev_remove(greedy));
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(8, iopf_iommu_requests_granted(prg.iommu));
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev2, 1));
}

static void
an_invalid_device_configuration_is_refused(void **state)
{
	const uint32_t sid = 30;
	struct iopf_pci_ops lacking = prg_ops;
	struct iopf_dev_conf conf = {
		.sids = &sid, .nb_sids = 1, .recover = IOPF_PRI, .pci = &lacking, .ctx = &prg,
	};

	(void)state;
	prg_mute_log(true);
	lacking.pri_drained = NULL;
	assert_null(iopf_dev_add(prg.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
	conf.pci = &prg_ops;
	conf.pri_requests = 15;
	assert_null(iopf_dev_add(prg.iommu, &conf));
	assert_int_equal(ERANGE, rte_errno);
	conf.recover = IOPF_STALL;
	assert_null(iopf_dev_add(prg.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
	conf.recover = IOPF_PRI + 1;
	assert_null(iopf_dev_add(prg.iommu, &conf));
	assert_int_equal(EINVAL, rte_errno);
}

#ifndef INTERPOSE_OFF
/* One group begins, and another one is complete. */
static void
put_groups_of_sid3(void)
{
	prg_put(SID3, 1, 1, 0x1000, 0);
	prg_put(SID3, 1, 2, 0x1000, LAST);
	prg_poll_all();
}
#endif

#define MANY_SIDS 40

/*
 * Each allocation of an attach fails, and groups come at that time. So many StreamIDs need a larger
 * table: one of the allocations is for that, when the first StreamIDs are in the table already.
 */
static void
groups_that_find_half_an_attach_have_no_handler(void **state)
{
#ifdef INTERPOSE_OFF
	(void)state;
	test_skip("a sanitizer replaces the allocator");
#else
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = prg_fast });
	uint32_t sids[MANY_SIDS];
	struct iopf_dev *dev;
	int ret;

	(void)state;
	for (unsigned int i = 0; i < MANY_SIDS; i++)
		sids[i] = SID3 + i;
	dev = iopf_dev_add(prg.iommu, &(struct iopf_dev_conf){ .sids = sids,
			.nb_sids = MANY_SIDS, .nb_pasids = 4, .recover = IOPF_PRI,
			.pri_requests = 2, .pci = &prg_ops, .ctx = &prg });
	assert_non_null(domain);
	assert_non_null(dev);
	prg_mute_log(true);
	for (unsigned int n = 1;; n++) {
		interpose_on_fail = put_groups_of_sid3;
		interpose_fail(n);
		ret = iopf_domain_attach(domain, dev, 1);
		interpose_fail(0);
		interpose_on_fail = NULL;
		if (ret == 0)
			break;
		assert_int_equal(-ENOMEM, ret);
		prg_put(SID3, 1, 1, 0x2000, LAST);
		prg_poll_all();
		assert_int_equal(2 * n, hw.nb_out);
		assert_int_equal(IOPF_INVALID, hw.out[2 * n - 1].answer.code);
	}
	/* That of the driver's attach, when the table has all StreamIDs. */
	assert_int_equal(1, prg.called);
	/* That, and that of a later StreamID than the first. */
	assert_true(prg_stat(IOPF_IOMMU_STAT_DISCARDED) >= 2);
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(domain));
#endif
}

static const struct CMUnitTest tests[] = {
	PRG_TEST(a_detach_discards_partial_groups_and_answers_pending_groups),
	PRG_TEST(a_domain_attached_anew_does_not_see_requests_from_before),
	PRG_TEST(ats_and_pri_are_enabled_after_attach_and_disabled_before_detach),
	PRG_TEST(ats_and_pri_are_off_while_the_iommu_is_stopped),
	PRG_TEST(pending_groups_are_answered_before_pri_is_drained),
	PRG_TEST(a_wait_for_a_device_drives_a_recovery),
	PRG_TEST(a_device_that_does_not_drain_stays_attached),
	PRG_TEST(a_stop_waits_a_limited_time_for_a_device),
	PRG_TEST(a_stop_answers_the_groups_of_a_device_that_another_call_keeps),
	PRG_TEST(after_a_response_failure_pri_is_restarted),
	PRG_TEST(a_device_operation_that_fails_undoes_the_attach),
	PRG_TEST(a_device_that_fails_does_not_keep_others_from_starting),
	PRG_TEST(an_attach_does_not_hide_that_pri_is_off),
	PRG_TEST(a_detach_of_one_pasid_waits_for_groups_that_have_begun),
	PRG_TEST(a_detach_does_not_wait_for_a_last_after_the_pasid_has_drained),
	PRG_TEST(a_pasid_that_does_not_drain_stays_attached_and_cut),
	PRG_TEST(page_requests_are_granted_from_a_budget_and_returned),
	PRG_TEST(an_invalid_device_configuration_is_refused),
	PRG_TEST(groups_that_find_half_an_attach_have_no_handler),
};
TEST_SUITE(prg_detach, tests, NULL, NULL);
