/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Listeners: what they get, gaps, and how they end. */

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_listener.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "listener_rig.h"
#include "test.h"

static void
put_lost(void)
{
	one_put((struct iopf_event){ .pasid = IOPF_NO_PASID, .flags = IOPF_EVENT_LOST });
	iopf_poll(one.poller);
}

static enum iopf_verdict
refuse(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
test_all_fields_come_through(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ 0 });
	struct iopf_record r[4];
	uint64_t before = rte_rdtsc();

	(void)state;
	one_put((struct iopf_event){ .addr = 0x1122334455667788, .ipa = 0x99000, .sid = OTHER_SID,
			.pasid = 3, .perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_OTHER,
			.raw_id = 0x0b, .stage = 2, .event_class = IOPF_CLASS_TT,
			.fetch_addr = 0x88008, .syndrome = 0xabcdef01, .perm_priv = IOPF_PERM_READ,
			.span = 17, .record_flags = IOPF_RECORD_FETCH | IOPF_RECORD_GPC });
	/* Not events: malformed, a stall, a stall without a device. */
	one_put((struct iopf_event){ .sid = SID, .raw_id = 0xff, .flags = IOPF_EVENT_BAD });
	one_put_stall(1, 0x1000);
	one_put((struct iopf_event){ .sid = OTHER_SID, .pasid = IOPF_NO_PASID, .raw_id = 0x10,
			.flags = IOPF_EVENT_STALL });
	listen_poll_all();
	assert_int_equal(iopf_listener_read(l, r, 4), 1);
	assert_int_equal(r[0].seq, 0);
	assert_true(r[0].time >= before && r[0].time <= rte_rdtsc());
	assert_int_equal(r[0].addr, 0x1122334455667788);
	assert_int_equal(r[0].ipa, 0x99000);
	assert_int_equal(r[0].fetch_addr, 0x88008);
	assert_int_equal(r[0].count, 1);
	assert_int_equal(r[0].sid, OTHER_SID);
	assert_int_equal(r[0].pasid, 3);
	assert_int_equal(r[0].syndrome, 0xabcdef01);
	assert_int_equal(r[0].raw_id, 0x0b);
	assert_int_equal(r[0].reason, IOPF_REASON_OTHER);
	assert_int_equal(r[0].stage, 2);
	assert_int_equal(r[0].event_class, IOPF_CLASS_TT);
	assert_int_equal(r[0].perm, IOPF_PERM_WRITE);
	assert_int_equal(r[0].perm_priv, IOPF_PERM_READ);
	assert_int_equal(r[0].span, 17);
	assert_int_equal(r[0].flags, IOPF_RECORD_FETCH | IOPF_RECORD_GPC);
	assert_int_equal(iopf_listener_read(l, r, 4), 0);
	/* report gets the same event. */
	assert_int_equal(one.reported, 1);
	listen_expect_stats(l, (const uint64_t[]){ 1, 0, 0, 0, 0, 1 });
	assert_int_equal(iopf_listener_close(l), 0);
}

/* Each listener has its own ring. The one for all gets StreamIDs without a device too. */
static void
test_a_listener_gets_the_events_of_its_device_or_all(void **state)
{
	struct iopf_listener *all = listen_with((struct iopf_listener_conf){ 0 });
	struct iopf_listener *dev = listen_with((struct iopf_listener_conf){ .dev = one.dev });
	struct iopf_record r[16];

	(void)state;
	for (unsigned int i = 0; i < 6; i++)
		listen_put_abort(i % 3 == 0 ? SID : OTHER_SID, i << 12);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(all, r, 16), 6);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(r[i].seq, i);
		assert_int_equal(r[i].addr, i << 12);
	}
	assert_int_equal(iopf_listener_read(dev, r, 16), 2);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(r[i].seq, i);
		assert_int_equal(r[i].sid, SID);
	}
	/* One that is opened later begins at 0. */
	assert_int_equal(iopf_listener_close(dev), 0);
	dev = listen_with((struct iopf_listener_conf){ .dev = one.dev });
	listen_put_abort(SID, 0);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(dev, r, 16), 1);
	assert_int_equal(r[0].seq, 0);
	assert_int_equal(iopf_listener_close(all), 0);
	assert_int_equal(iopf_listener_close(dev), 0);
}

/* An open episode counts aborted accesses in place of report. A listener gets them all the same. */
static void
test_a_listener_gets_what_an_episode_counts(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ 0 });
	struct iopf_storm_conf storm = { .report_first = true };
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = refuse, .storm = &storm });
	struct iopf_episode episode;
	struct iopf_record r[4];

	(void)state;
	assert_non_null(domain);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(domain, one.dev, IOPF_NO_PASID));
	one_put_stall(1, 0x1000);
	listen_put_abort(SID, 0x2000);
	listen_poll_all();
	assert_int_equal(one.reported, 0);
	assert_int_equal(iopf_listener_read(l, r, 4), 1);
	assert_int_equal(r[0].addr, 0x2000);
	assert_int_equal(0, iopf_domain_rearm(domain, one.dev, IOPF_NO_PASID, &episode));
	listen_put_abort(SID, 0x3000);
	listen_poll_all();
	assert_int_equal(one.reported, 1);
	assert_int_equal(iopf_listener_read(l, r, 4), 1);
	assert_int_equal(0, iopf_domain_detach(domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(domain));
	assert_int_equal(iopf_listener_close(l), 0);
}

static void
test_a_slow_listener_sees_a_gap(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 4 });
	struct iopf_record r[16];
	uint64_t next = 0, lost = 0;

	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		unsigned int n = 1 + round % 7;

		for (unsigned int i = 0; i < n; i++)
			listen_put_abort(SID, i << 12);
		listen_poll_all();
		assert_int_equal(iopf_listener_read(l, r, 16), n < 4 ? n : 4);
		for (unsigned int i = 0; i < (n < 4 ? n : 4); i++) {
			lost += r[i].seq - next;
			next = r[i].seq + 1;
			assert_int_equal(r[i].addr, i << 12);
		}
		if (n > 4)
			assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_FULL),
					lost + n - 4);
	}
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_EVENTS),
			iopf_listener_stat(l, IOPF_LISTENER_STAT_READ) +
			iopf_listener_stat(l, IOPF_LISTENER_STAT_FULL));
	assert_true(lost > 0);
	assert_int_equal(iopf_listener_close(l), 0);
}

/* Read in bursts smaller than what is there. */
static void
test_bursts_keep_the_order(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 64 });
	struct iopf_record r[5];
	unsigned int seen = 0;
	int n;

	(void)state;
	for (unsigned int i = 0; i < 64; i++)
		listen_put_abort(SID, i << 12);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(l, r, 0), 0);
	assert_int_equal(iopf_listener_read(l, NULL, 0), 0);
	while ((n = iopf_listener_read(l, r, 5)) > 0)
		for (int i = 0; i < n; i++, seen++) {
			assert_int_equal(r[i].seq, seen);
			assert_int_equal(r[i].addr, seen << 12);
		}
	assert_int_equal(seen, 64);
	assert_int_equal(iopf_listener_close(l), 0);
}

static void
test_a_loss_of_the_hardware_is_a_record(void **state)
{
	struct iopf_listener *all = listen_with((struct iopf_listener_conf){ 0 });
	struct iopf_listener *dev = listen_with((struct iopf_listener_conf){ .dev = one.dev });
	uint64_t records = iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_RECORDS);
	struct iopf_record r[16];

	(void)state;
	listen_put_abort(SID, 0x1000);
	listen_poll_all();
	put_lost();
	listen_put_abort(SID, 0x2000);
	listen_poll_all();
	assert_int_equal(iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_EVENT_LOSSES), 1);
	assert_int_equal(iopf_iommu_stat(one.iommu, IOPF_IOMMU_STAT_RECORDS), records + 2);
	assert_int_equal(one.reported, 2);
	for (unsigned int k = 0; k < 2; k++) {
		struct iopf_listener *l = k == 0 ? all : dev;

		assert_int_equal(iopf_listener_read(l, r, 16), 3);
		assert_int_equal(r[0].seq, 0);
		assert_int_equal(r[1].seq, 2);
		assert_int_equal(r[1].flags, IOPF_RECORD_LOST);
		assert_int_equal(r[1].count, 1);
		assert_int_equal(r[2].seq, 3);
		assert_int_equal(r[2].flags, 0);
		listen_expect_stats(l, (const uint64_t[]){ 2, 0, 0, 0, 1, 3 });
		assert_int_equal(iopf_listener_close(l), 0);
	}
}

/* A recovery, a stop, and the end of an IOMMU that has failed. */
static void
test_resets_and_failures_are_losses(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ 0 });
	struct iopf_record r[16];
	uint64_t end = rte_rdtsc() + 120 * rte_get_tsc_hz();
	int n = 0;

	(void)state;
	one_mute_log(true);
	hw.check = IOPF_CHECK_TERMINATED;
	while (n == 0 && rte_rdtsc() < end) {
		iopf_poll(one.poller);
		n = iopf_listener_read(l, r, 16);
	}
	assert_int_equal(n, 1);
	assert_int_equal(r[0].flags, IOPF_RECORD_LOST);
	assert_int_equal(iopf_iommu_stop(one.iommu), 0);
	assert_int_equal(iopf_listener_read(l, r, 16), 1);
	assert_int_equal(r[0].flags, IOPF_RECORD_LOST);
	/* The listener goes on after a start. */
	assert_int_equal(iopf_iommu_start(one.iommu), 0);
	listen_put_abort(SID, 0x1000);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(l, r, 16), 1);
	assert_int_equal(r[0].flags, 0);
	hw.check = IOPF_CHECK_DEAD;
	for (n = 0; n == 0 && rte_rdtsc() < end;) {
		iopf_poll(one.poller);
		n = iopf_listener_read(l, r, 16);
	}
	assert_int_equal(n, 1);
	assert_int_equal(r[0].flags, IOPF_RECORD_LOST | IOPF_RECORD_FAILED);
	assert_int_equal(iopf_iommu_stop(one.iommu), 0);
	assert_int_equal(iopf_iommu_start(one.iommu), 0);
	listen_put_abort(SID, 0x1000);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(l, r, 16), 2);
	assert_int_equal(r[0].flags, IOPF_RECORD_LOST);
	assert_int_equal(r[1].flags, 0);
	one_mute_log(false);
	assert_int_equal(iopf_listener_close(l), 0);
}

/* The removal of the device, and the close of the IOMMU; what is left can be read. */
static void
test_a_listener_ends_with_its_device_or_iommu(void **state)
{
	const uint32_t sid = OTHER_SID;
	struct iopf_listener *of_dev, *of_iommu;
	struct iopf_iommu *iommu;
	struct iopf_record r[4];
	struct iopf_dev *dev;

	(void)state;
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	of_dev = listen_with((struct iopf_listener_conf){ .dev = dev });
	listen_put_abort(OTHER_SID, 0x1000);
	listen_poll_all();
	assert_int_equal(iopf_dev_remove(dev), 0);
	/* Another device with this StreamID is not its. */
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	listen_put_abort(OTHER_SID, 0x2000);
	listen_poll_all();
	assert_int_equal(iopf_listener_read(of_dev, r, 4), 1);
	assert_int_equal(r[0].addr, 0x1000);
	assert_int_equal(iopf_listener_read(of_dev, r, 4), -ENODEV);
	assert_int_equal(rte_errno, ENODEV);
	assert_int_equal(iopf_listener_close(of_dev), 0);
	assert_int_equal(iopf_dev_remove(dev), 0);

	iommu = iopf_iommu_open("arrays,n=2");
	assert_non_null(iommu);
	of_iommu = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = iommu });
	assert_non_null(of_iommu);
	assert_int_equal(iopf_listener_read(of_iommu, r, 4), 0);
	assert_int_equal(iopf_iommu_close(iommu), 0);
	assert_int_equal(iopf_listener_read(of_iommu, r, 4), -ENODEV);
	assert_int_equal(iopf_listener_close(of_iommu), 0);
}

static enum iopf_verdict
open_in_handler(const struct iopf_group *group)
{
	(void)group;
	assert_null(iopf_listener_open(&(struct iopf_listener_conf){ .iommu = one.iommu }));
	assert_int_equal(rte_errno, EDEADLK);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
test_bad_options_are_refused(void **state)
{
	static const struct iopf_listener_conf bad[] = {
		{ .size = 3 }, { .size = 1u << 21 }, { .merge_ms = 10001 },
	};
	struct iopf_listener *l[8];
	struct iopf_iommu *iommu;

	(void)state;
	one_mute_log(true);
	for (unsigned int i = 0; i < RTE_DIM(bad); i++) {
		struct iopf_listener_conf conf = bad[i];

		conf.iommu = one.iommu;
		rte_errno = 0;
		assert_null(iopf_listener_open(&conf));
		assert_int_equal(rte_errno, EINVAL);
	}
	iommu = iopf_iommu_open("arrays,n=2");
	assert_null(iopf_listener_open(&(struct iopf_listener_conf){ .iommu = iommu,
			.dev = one.dev }));
	assert_int_equal(rte_errno, EINVAL);
	assert_int_equal(iopf_iommu_close(iommu), 0);
	for (unsigned int i = 0; i < 8; i++)
		l[i] = listen_with((struct iopf_listener_conf){ .size = 1 });
	assert_null(iopf_listener_open(&(struct iopf_listener_conf){ .iommu = one.iommu }));
	assert_int_equal(rte_errno, ENOSPC);
	assert_int_equal(iopf_listener_close(l[3]), 0);
	l[3] = listen_with((struct iopf_listener_conf){ .size = 1 << 20 });
	for (unsigned int i = 0; i < 8; i++)
		assert_int_equal(iopf_listener_close(l[i]), 0);
	one_mute_log(false);
	one.in_handler = open_in_handler;
	one_put_stall(1, 0x1000);
	one_await_answers(1);
}

/*
 * Threads: one polls, one reads with merging, and this one opens and closes others. Every event is
 * in a record's count or in a gap: none is lost between.
 */
static _Atomic bool polling, reading;
static _Atomic uint64_t in_records, records_read;

static void *
poll_events(void *arg)
{
	uint32_t seed = 1;

	(void)arg;
	while (atomic_load(&polling)) {
		if (hw.q[0].prod - hw.q[0].cons < QUEUE / 2) {
			seed = seed * 1664525 + 1013904223;
			listen_put_abort(SID, (uint64_t)(seed >> 28) << 12);
		}
		iopf_poll(one.poller);
	}
	listen_poll_all();
	return NULL;
}

static void *
read_events(void *arg)
{
	struct iopf_record r[8];
	int n = 0;

	do {
		bool last = !atomic_load(&reading);

		n = iopf_listener_read(arg, r, 8);
		for (int i = 0; i < n; i++) {
			assert_true(r[i].count > 0);
			in_records += r[i].count;
		}
		records_read += n > 0 ? n : 0;
		if (last && n <= 0)
			break;
	} while (n != -ENODEV);
	return NULL;
}

static void
test_no_event_is_lost_between_the_threads(void **state)
{
	struct iopf_listener *l = listen_with((struct iopf_listener_conf){ .size = 64,
			.merge_ms = 1, .dev = one.dev });
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz();
	pthread_t poller, reader;

	(void)state;
	in_records = records_read = 0;
	polling = reading = true;
	pthread_create(&poller, NULL, poll_events, NULL);
	pthread_create(&reader, NULL, read_events, l);
	while (rte_rdtsc() < end) {
		struct iopf_listener *other = listen_with((struct iopf_listener_conf){
				.size = 2 });
		struct iopf_record r[2];

		for (unsigned int i = 0; i < 100; i++)
			assert_in_range(iopf_listener_read(other, r, 2), 0, 2);
		assert_int_equal(iopf_listener_close(other), 0);
	}
	polling = false;
	pthread_join(poller, NULL);
	/* Ends the last windows. */
	assert_int_equal(iopf_dev_remove(one.dev), 0);
	one.dev = NULL;
	pthread_join(reader, NULL);
	reading = false;
	assert_true(in_records > 0);
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_READ), records_read);
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_EVENTS),
			in_records + iopf_listener_stat(l, IOPF_LISTENER_STAT_FULL));
	assert_int_equal(iopf_listener_stat(l, IOPF_LISTENER_STAT_MERGED),
			in_records - records_read);
	assert_int_equal(iopf_listener_close(l), 0);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(test_all_fields_come_through),
	ONE_TEST(test_a_listener_gets_the_events_of_its_device_or_all),
	ONE_TEST(test_a_listener_gets_what_an_episode_counts),
	ONE_TEST(test_a_slow_listener_sees_a_gap),
	ONE_TEST(test_bursts_keep_the_order),
	ONE_TEST(test_a_loss_of_the_hardware_is_a_record),
	ONE_TEST(test_resets_and_failures_are_losses),
	ONE_TEST(test_a_listener_ends_with_its_device_or_iommu),
	ONE_TEST(test_bad_options_are_refused),
	ONE_TEST(test_no_event_is_lost_between_the_threads),
};

TEST_SUITE(listener, tests, NULL, NULL);
