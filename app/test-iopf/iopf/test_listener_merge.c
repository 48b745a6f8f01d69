/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Listeners that merge equal events, or limit their rate. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "listener_rig.h"
#include "test.h"

static void
test_equal_events_are_merged(void **state)
{
	/* Long enough that the window does not end during the test. */
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .merge_ms = 10000 });
	struct iopf_record r[16];

	(void)state;
	for (unsigned int i = 0; i < 10; i++) {
		listen_put_abort(SID, 0x5000 + i);		/* one page */
		listen_put_abort(OTHER_SID, 0x5000);		/* another StreamID */
		listen_put_abort(SID, 0x6000);			/* another page */
		one_put((struct iopf_event){ .addr = 0x5000, .sid = SID, .pasid = 2,
				.raw_id = 0x10 });	/* another PASID */
		one_put((struct iopf_event){ .addr = 0x5000, .sid = SID, .pasid = IOPF_NO_PASID,
				.raw_id = 0x13 });	/* another event */
	}
	listen_poll_all();
	listen_expect_stats(l, (const uint64_t[]){ 50, 45, 0, 0, 0, 0 });
	/* Not before the window is over. */
	assert_int_equal(iopf_listener_read(l, r, 16), 0);
	/* The end of the device's IOMMU ends the window. */
	one_mute_log(true);
	assert_int_equal(iopf_dev_remove(one.dev), 0);
	assert_int_equal(iopf_listener_read(l, r, 16), 0);
	assert_int_equal(iopf_listener_close(l), 0);
	one_mute_log(false);
	one.dev = NULL;
}

/* Merged until a record's window is over; then a record of its own, with the next number. */
static void
test_a_merged_record_has_its_count_and_no_gap(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .dev = one.dev,
			.merge_ms = 10000 });
	struct iopf_record r[16];

	(void)state;
	for (unsigned int i = 0; i < 7; i++)
		listen_put_abort(SID, 0x5000 + i);
	listen_put_abort(SID, 0x8000);
	listen_put_abort(SID, 0x5fff);
	listen_poll_all();
	assert_int_equal(iopf_dev_remove(one.dev), 0);
	one.dev = NULL;
	assert_int_equal(iopf_listener_read(l, r, 16), 2);
	assert_int_equal(r[0].seq, 0);
	assert_int_equal(r[0].count, 8);
	assert_int_equal(r[0].addr, 0x5000);
	assert_int_equal(r[1].seq, 1);
	assert_int_equal(r[1].count, 1);
	assert_int_equal(iopf_listener_read(l, r, 16), -ENODEV);
	assert_int_equal(iopf_listener_close(l), 0);
}

static void
test_a_window_ends(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .merge_ms = 1 });
	struct iopf_record r[16];

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		listen_put_abort(SID, 0x5000);
		listen_put_abort(SID, 0x5000);
		listen_poll_all();
		usleep(2000);
		assert_int_equal(iopf_listener_read(l, r, 16), 1);
		assert_int_equal(r[0].seq, i);
		assert_int_equal(r[0].count, 2);
	}
	/* Also if the record was not read. */
	for (unsigned int i = 0; i < 3; i++) {
		listen_put_abort(SID, 0x5000);
		listen_poll_all();
		usleep(2000);
	}
	assert_int_equal(iopf_listener_read(l, r, 16), 3);
	assert_int_equal(r[2].count, 1);
	assert_int_equal(iopf_listener_close(l), 0);
}

/* An entry that was written again is no record of the event before it. */
static void
test_an_old_entry_is_not_merged_into(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 2,
			.merge_ms = 10000 });

	(void)state;
	listen_put_abort(SID, 0x1000);
	listen_put_abort(SID, 0x2000);
	listen_put_abort(SID, 0x3000);		/* full */
	listen_put_abort(SID, 0x3000);
	listen_put_abort(SID, 0x1000);
	listen_poll_all();
	listen_expect_stats(l, (const uint64_t[]){ 5, 1, 2, 0, 0, 0 });
	assert_int_equal(iopf_listener_close(l), 0);
}

/* So many events that differ in one field only that their hashes collide. */
static void
test_different_events_are_not_merged(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 4096,
			.merge_ms = 10000 });

	(void)state;
	for (unsigned int i = 0; i < 4000; i++) {
		struct iopf_event ev = { .addr = 0x1000, .sid = OTHER_SID, .pasid = 1,
			.raw_id = 0x10 };

		switch (i % 4) {
		case 0:
			ev.pasid = 2 + i;
			break;
		case 1:
			ev.sid = 100 + i;
			break;
		case 2:
			ev.addr += (uint64_t)i << 12;
			break;
		default:
			ev.pasid = 0x10000 + i / 1024;
			ev.raw_id = i / 4;
			break;
		}
		one_put(ev);
		iopf_poll(one.poller);
	}
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_EVENTS), 4000);
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_MERGED), 0);
	assert_int_equal(iopf_listener_close(l), 0);
}

static void
test_a_rate_leaves_a_gap(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .rate = 3 });
	struct iopf_record r[16];
	int n;

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		listen_put_abort(SID, i << 12);
	listen_poll_all();
	/* The second may end between two passes, not within one. */
	n = iopf_listener_read(l, r, 16);
	assert_in_range(n, 3, 6);
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_LIMITED), 10 - n);
	assert_int_equal(r[2].seq, 2);
	usleep(1100000);
	listen_put_abort(SID, 0);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(l, r, 16), 1);
	assert_int_equal(r[0].seq, 10);
	assert_int_equal(iopf_listener_close(l), 0);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(test_equal_events_are_merged),
	ONE_TEST(test_a_merged_record_has_its_count_and_no_gap),
	ONE_TEST(test_a_window_ends),
	ONE_TEST(test_an_old_entry_is_not_merged_into),
	ONE_TEST(test_different_events_are_not_merged),
	ONE_TEST(test_a_rate_leaves_a_gap),
};

TEST_SUITE(listener_merge, tests, NULL, NULL);
