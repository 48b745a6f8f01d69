/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "test.h"
#include "trip_rig.h"

struct trip_calls tripped;

static void
tell(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	assert_ptr_equal(domain, ctl.domain[0]);
	assert_ptr_equal(dev, ctl.dev[0]);
	assert_int_equal(pasid, IOPF_NO_PASID);
	assert_ptr_equal(ctx, &tripped);
	tripped.episode = *episode;
	tripped.ret = iopf_domain_detach(domain, dev, pasid);
	if (tripped.rearm)
		assert_int_equal(0, iopf_domain_rearm(domain, dev, pasid, NULL));
	tripped.times++;
	while (tripped.hold)
		usleep(100);
}

const struct iopf_storm_conf trip_by_number = {
	.max_held = LIMIT, .tripped = tell, .ctx = &tripped,
};
const struct iopf_storm_conf trip_by_rate = {
	.max_rate = LIMIT, .tripped = tell, .ctx = &tripped,
};

int
trip_setup(void **state)
{
	memset(&tripped, 0, sizeof(tripped));
	return ctl_setup(state);
}

int
trip_teardown(void **state)
{
	tripped.hold = false;
	return ctl_teardown(state);
}

void
trip_poll_all(void)
{
	while (iopf_poll(ctl.poller) != 0)
		;
}

void
trip_put(uint32_t sid, uint32_t pasid, uint16_t token, uint8_t flags)
{
	array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = ADDR + 0x1000 * token,
			.sid = sid, .pasid = pasid, .token = token, .perm = IOPF_PERM_WRITE,
			.reason = IOPF_REASON_PERMISSION, .flags = flags, .raw_id = 0x13 });
}

void
trip_put_stalls(unsigned int from, unsigned int n)
{
	for (unsigned int i = from; i < from + n; i++)
		trip_put(SID, IOPF_NO_PASID, i, IOPF_EVENT_STALL);
}

void
trip_await(_Atomic bool *word, bool value)
{
	for (unsigned int i = 0; i < 200000 && *word != value; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_int_equal(value, *word);
}

void
trip_await_calls(unsigned int times)
{
	for (unsigned int i = 0; i < 200000 && tripped.times < times; i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_int_equal(times, tripped.times);
}

int
trip_read_episode(struct iopf_episode *episode)
{
	return iopf_domain_episode(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, episode);
}

bool
trip_is_tripped(void)
{
	return iopf_domain_is_tripped(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID);
}

int
trip_rearm(struct iopf_episode *episode)
{
	return iopf_domain_rearm(ctl.domain[0], ctl.dev[0], IOPF_NO_PASID, episode);
}

void
trip_await_end(void)
{
	for (unsigned int i = 0; i < 200000 && trip_is_tripped(); i++) {
		iopf_poll(ctl.poller);
		usleep(100);
	}
	assert_false(trip_is_tripped());
}

void
trip_expect_served(unsigned int dev)
{
	uint64_t before = iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS);

	ctl.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	trip_put(SID + dev, IOPF_NO_PASID, 99, IOPF_EVENT_STALL);
	trip_poll_all();
	assert_int_equal(before + 1, iopf_domain_stat(ctl.domain[dev], IOPF_STAT_SUCCESS));
}

void
trip_expect_first(const struct iopf_episode *episode)
{
	assert_int_equal(ADDR, episode->first.addr);
	assert_int_equal(SID, episode->first.sid);
	assert_int_equal(IOPF_NO_PASID, episode->first.pasid);
	assert_int_equal(0, episode->first.token);
	assert_int_equal(IOPF_PERM_WRITE, episode->first.perm);
	assert_int_equal(IOPF_REASON_PERMISSION, episode->first.reason);
	assert_int_equal(IOPF_FAULT_STALLED, episode->first.flags);
	assert_int_equal(0x13, episode->first.raw_id);
	assert_int_equal(IOPF_QUEUE_EVENTS, episode->first.queue);
	assert_true(episode->first.time != 0 && episode->first.time <= episode->counted_from);
}

void
trip_open(const struct iopf_storm_conf *storm)
{
	ctl.storm = storm;
	ctl_open(false, true);
	ctl.verdict = storm->max_held != 0 ? IOPF_TAKEN : IOPF_ANSWER(IOPF_SUCCESS);
	trip_put_stalls(0, LIMIT);
	/* A pass has one time. Between two passes a rate may allow another fault. */
	if (storm->max_rate == 0) {
		trip_poll_all();
		assert_int_equal(-ENOENT, trip_read_episode(NULL));
		assert_false(trip_is_tripped());
	}
	trip_put_stalls(LIMIT, 3);
	trip_poll_all();
}
