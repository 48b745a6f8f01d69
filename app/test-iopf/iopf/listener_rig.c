/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "iopf_stats.h"
#include "listener_rig.h"
#include "test.h"

struct iopf_listener *
listen_with(struct iopf_listener_conf conf)
{
	struct iopf_listener *l;

	if (conf.dev == NULL)
		conf.iommu = one.iommu;
	l = iopf_listener_open(&conf);
	assert_non_null(l);
	return l;
}

void
listen_put_abort(uint32_t sid, uint64_t addr)
{
	one_put((struct iopf_event){ .addr = addr, .sid = sid, .pasid = IOPF_NO_PASID,
			.perm = IOPF_PERM_READ, .raw_id = 0x10 });
}

void
listen_poll_all(void)
{
	while (iopf_poll(one.poller) != 0)
		;
}

void
listen_expect_stats(const struct iopf_listener *l, const uint64_t want[IOPF_NB_LISTENER_STATS])
{
	for (unsigned int i = 0; i < IOPF_NB_LISTENER_STATS; i++)
		assert_int_equal(iopf_listener_stat(l, i), want[i]);
}
