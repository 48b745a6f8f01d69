/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A device that cannot stall: each fault ends with a call of retry(). */

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "test.h"

static enum iopf_verdict
invalidate(const struct iopf_group *group)
{
	assert_int_equal(0, iopf_group_invalidate(group, &(struct iopf_inv){ .size = 4096 }));
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static struct iopf_retry retried[64];
static _Atomic unsigned int nb_retried;

static void
on_retry(struct iopf_dev *dev, const struct iopf_retry *retry, void *ctx)
{
	assert_ptr_equal(iopf_dev_ctx(dev), ctx);
	assert_int_equal(-EDEADLK, iopf_dev_remove(dev));
	retried[nb_retried % 64] = *retry;
	nb_retried++;
}

static void
a_device_that_cannot_stall_gets_a_retry(void **state)
{
	const uint32_t sid = 30;
	struct iopf_event ev = { .addr = 0x9000, .sid = sid, .pasid = IOPF_NO_PASID,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_TRANSLATION, .raw_id = 0x10 };
	struct iopf_dev *dev;

	(void)state;
	nb_retried = 0;
	one_mute_log(true);
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.ops = { .retry = on_retry } }));
	assert_int_equal(EINVAL, rte_errno);
	one_mute_log(false);
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry }, .ctx = &one });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));

	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(1, one.called);
	assert_int_equal(1, nb_retried);
	assert_int_equal(0x9000, retried[0].addr);
	assert_int_equal(IOPF_PERM_WRITE, retried[0].perm);
	assert_int_equal(IOPF_SUCCESS, retried[0].code);
	assert_int_equal(0, hw.nb_out);

	/* After an invalidation, from a worker, from the owner, and by detach. */
	one.in_handler = invalidate;
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(2, nb_retried);
	one.in_handler = NULL;
	one.verdict = IOPF_DEFER;
	one_put(ev);
	iopf_poll(one.poller);
	while (nb_retried < 3)
		usleep(100);
	one.verdict = IOPF_TAKEN;
	one_put(ev);
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(0, iopf_group_respond(one.last_id, IOPF_INVALID));
	assert_int_equal(4, nb_retried);
	assert_int_equal(IOPF_INVALID, retried[3].code);
	assert_int_equal(0, iopf_domain_detach(one.domain, dev, IOPF_NO_PASID));
	assert_int_equal(5, nb_retried);

	/*
	 * A fault that no handler can resolve and a fault of a PASID that is not attached are
	 * reported.
	 */
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	ev.reason = IOPF_REASON_CONFIG;
	one_put(ev);
	ev.reason = IOPF_REASON_TRANSLATION;
	ev.pasid = 1;
	one_put(ev);
	iopf_poll(one.poller);
	assert_int_equal(5, nb_retried);
	assert_int_equal(2, one.reported);
	assert_int_equal(0, hw.nb_out);
	assert_int_equal(0, iopf_dev_remove(dev));
}

/* One of two counters: the fault would end twice, and hide one that still waits. */
static void
a_retry_by_a_stop_is_an_answer_and_no_termination(void **state)
{
	const uint32_t sid = 30;
	struct iopf_dev *dev;

	(void)state;
	nb_retried = 0;
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = IOPF_TERMINATE, .ops = { .retry = on_retry }, .ctx = &one });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	one.verdict = IOPF_TAKEN;
	one_put((struct iopf_event){ .addr = 0x9000, .sid = sid, .pasid = IOPF_NO_PASID,
			.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_TRANSLATION });
	iopf_poll(one.poller);
	assert_int_equal(1, iopf_domain_pending(one.domain));
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(1, nb_retried);
	assert_int_equal(IOPF_INVALID, retried[0].code);
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_FAULTS));
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
	assert_int_equal(1, iopf_domain_stat(one.domain, IOPF_STAT_CANCELLED));
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_TERMINATED));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
	assert_int_equal(0, iopf_dev_remove(dev));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(a_device_that_cannot_stall_gets_a_retry),
	ONE_TEST(a_retry_by_a_stop_is_an_answer_and_no_termination),
};

TEST_SUITE(iopf_retry, tests, NULL, NULL);
