/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The busy time of a queue is that of its own records. On an IOMMU made of arrays. */

#include <stdatomic.h>

#include "control_rig.h"
#include "fault_queue.h"
#include "iommu.h"
#include "iopf_poller.h"
#include "test.h"

static uint64_t
get_busy(unsigned int queue)
{
	return atomic_load(&ctl.iommu->queues[queue].busy.cycles);
}

static void
a_queue_without_records_is_not_busy_while_another_is(void **state)
{
	(void)state;
	ctl_open(true, true);
	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	for (unsigned int i = 0; i < 16 * IOPF_CLOCK_PASSES; i++) {
		array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
				.pasid = IOPF_NO_PASID, .token = 1, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
		iopf_poll(ctl.poller);
		hw.nb_out = 0;
	}
	assert_int_equal(0, get_busy(IOPF_QUEUE_EVENTS));
	assert_int_not_equal(0, get_busy(IOPF_QUEUE_REQUESTS));
}

static const struct CMUnitTest tests[] = {
	CTL_TEST(a_queue_without_records_is_not_busy_while_another_is),
};

TEST_SUITE(busy, tests, NULL, NULL);
