/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Control calls: refusals, invalidations, devices with several StreamIDs, and the dump.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_listener.h"
#include "iopf_poller.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "iopf_iommu.h"
#include "test.h"

static void
each_refusal_logs_its_reason_in_one_line(void **state)
{
	const uint32_t sid = SID;
	struct iopf_poller *other;
	unsigned int nb = 0;
	char *text, *line;

	(void)state;
	SAYS("has no queue 2: 0 to 0",
		assert_int_equal(-EINVAL, iopf_poller_add(one.poller, one.iommu, 2)));
	SAYS("has no queue 1",
		assert_int_equal(-EINVAL, iopf_poller_remove(one.poller, one.iommu, 1)));
	SAYS("is in a poller already",
		assert_int_equal(-EEXIST, iopf_poller_add(one.poller, one.iommu, 0)));
	other = iopf_poller_create(NULL);
	SAYS("is not in this poller",
		assert_int_equal(-EINVAL, iopf_poller_remove(other, one.iommu, 0)));
	assert_int_equal(0, iopf_poller_destroy(other));
	SAYS("1 domains use it",
		assert_int_equal(-EBUSY, iopf_worker_destroy(one.worker)));
	/* The new device gets the same name. */
	SAYS("sid:7: StreamID 7 is another device's: remove the device \"sid:7\" that was added "
			"before, or use another StreamID",
		assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid,
				.nb_sids = 1 })));
	SAYS("device: 0 StreamIDs: set sids and nb_sids",
		assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid })));
	SAYS("nic: 65537 StreamIDs: use at most 65536",
		assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .name = "nic",
				.sids = &sid, .nb_sids = 65537 })));
	SAYS("nic: recover is 3: use IOPF_STALL (0), IOPF_TERMINATE (1) or IOPF_PRI (2)",
		assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .name = "nic",
				.sids = &sid, .nb_sids = 1, .recover = (enum iopf_recover)3 })));
	SAYS("is running: stop it, then configure it",
		assert_int_equal(-EBUSY, iopf_iommu_configure(one.iommu, NULL)));

	SAYS("domain: has neither a handler nor a deferred handler",
		assert_null(iopf_domain_create(&(struct iopf_domain_conf){ .name = NULL })));
	assert_int_equal(EINVAL, rte_errno);
	SAYS("idle: has neither a handler",
		assert_null(iopf_domain_create(&(struct iopf_domain_conf){ .name = "idle" })));

	/* One whole line for each driver. */
	log_lines_begin();
	assert_null(iopf_iommu_open("nodriver,x=1"));
	text = log_lines_end();
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		assert_non_null(strstr(line, "\"nodriver,x=1\": no driver \"nodriver\"; "
				"begin with \""));
		nb += strstr(line, "begin with \"smmuv3,\"") != NULL;
		nb += strstr(line, "begin with \"arrays,\"") != NULL;
	}
	assert_int_equal(2, nb);
	free(text);
	/* The whole list of keys is in the line. */
	SAYS("[,model_seed=N]\"\n", assert_null(iopf_iommu_open("smmuv3,nokey=1")));
}

static void
a_queue_size_that_is_no_power_of_two_is_named(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	SAYS("event_queue_size 100 is no power of two: use 64 or 128",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .event_queue_size = 100 })));
	SAYS("command_queue_size 3 is no power of two: use 2 or 4",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .command_queue_size = 3 })));
	/* The driver does not say its maximum. */
	SAYS("command_queue_size 2147483649 is no power of two: use 2147483648",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .command_queue_size = 0x80000001 })));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
}

/* A size that the line names is not refused in turn. */
static void
a_queue_size_above_the_maximum_is_refused_with_the_maximum(void **state)
{
	(void)state;
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	SAYS("event_queue_size 4294967295 is too large; use at most 4096",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .event_queue_size = UINT32_MAX })));
	SAYS("event_queue_size 8192 is too large; use at most 4096",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .event_queue_size = 8192 })));
	SAYS("event_queue_size 4095 is no power of two: use 2048 or 4096",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .event_queue_size = 4095 })));
	SAYS("request_queue_size 2147483649 is too large; use at most 4096",
		assert_int_equal(-EINVAL, iopf_iommu_configure(one.iommu,
				&(struct iopf_iommu_conf){ .request_queue_size = 0x80000001 })));
	assert_int_equal(0, iopf_iommu_configure(one.iommu,
			&(struct iopf_iommu_conf){ .event_queue_size = 4096 }));
	assert_int_equal(0, iopf_iommu_start(one.iommu));
}

/* All of them, or the application finds one after the other. */
static void
a_close_names_each_obstacle(void **state)
{
	char memory[64];
	uint64_t addr;

	(void)state;
	assert_int_equal(0, iopf_dma_map(one.iommu, memory, sizeof(memory), &addr));
	SAYS("\"arrays,n=1\" is not closed: stop it; remove its devices; remove it from its "
			"poller; unmap its memory, or destroy the pools that mapped it; then "
			"close it",
		assert_int_equal(-EBUSY, iopf_iommu_close(one.iommu)));
	SAYS(", is not mapped: pass what iopf_dma_map() got and returned",
		assert_int_equal(-ENOENT, iopf_dma_unmap(one.iommu, memory, 64, addr + 1)));
	assert_int_equal(0, iopf_dma_unmap(one.iommu, memory, sizeof(memory), addr));
}

static void
a_stopped_smmu_lets_no_thread_sleep(void **state)
{
	const uint32_t sid = 1;
	struct iopf_iommu *smmu;
	char *text;

	(void)state;
	smmu = iopf_iommu_open("smmuv3,model=stopped");
	assert_non_null(smmu);
	SAYS("iopf_iommu_idle(): it is not running, and no record would wake the thread: start it",
		assert_int_equal(-EINVAL, iopf_iommu_idle(smmu, 0)));
	/* A stop has ended the sleep: nothing is wrong. */
	log_lines_begin();
	assert_int_equal(-EINVAL, iopf_iommu_idle(smmu, -1));
	text = log_lines_end();
	assert_string_equal("", text);
	free(text);
	SAYS("has no page requests: use IOPF_TERMINATE or IOPF_STALL; the software SMMU has them "
			"with model_pri=1",
		assert_null(iopf_dev_add(smmu, &(struct iopf_dev_conf){ .sids = &sid,
				.nb_sids = 1, .recover = IOPF_PRI })));
	assert_int_equal(0, iopf_iommu_start(smmu));
	SAYS("iopf_iommu_idle(): fd is -2: use an eventfd, or -1 to poll again",
		assert_int_equal(-EINVAL, iopf_iommu_idle(smmu, -2)));
	SAYS("iopf_iommu_idle(): 555 is no open file descriptor: give it an eventfd",
		assert_int_equal(-EBADF, iopf_iommu_idle(smmu, 555)));
	assert_int_equal(0, iopf_iommu_stop(smmu));
	assert_int_equal(0, iopf_iommu_close(smmu));
}

static void
a_driver_that_does_not_know_its_queues_is_refused(void **state)
{
	(void)state;
	array_iommu_reset();
	hw.max_stalls = 65537;
	SAYS("\"arrays,n=2\": the driver has 1 queues, 65537 stalls and a request queue of 0: "
			"correct the driver: at most 65536 stalls",
		assert_null(iopf_iommu_open("arrays,n=2")));
	assert_int_equal(EINVAL, rte_errno);
	array_iommu_reset();
}

static void
arguments_out_of_range_are_refused(void **state)
{
	const uint32_t big = 256, sid = SID, other = 8;

	(void)state;
	one_mute_log(true);
	assert_null(iopf_iommu_open("nodriver,x=1"));
	assert_int_equal(ENODEV, rte_errno);
	assert_null(iopf_iommu_open("arrays,nokey=1"));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_iommu_open("arrays,n=2,n=3"));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_worker_create(&(struct iopf_worker_conf){ .size = UINT32_MAX }));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_domain_create(NULL));
	assert_null(iopf_iommu_open("arrays,,=,=="));
	assert_int_equal(EINVAL, rte_errno);
	assert_null(iopf_iommu_open(NULL));
	assert_null(iopf_iommu_open("arrays,n=1"));
	assert_int_equal(EBUSY, rte_errno);
	assert_int_equal(-EBUSY, iopf_iommu_close(one.iommu));
	assert_int_equal(-EBUSY, iopf_iommu_configure(one.iommu, NULL));
	assert_int_equal(-EBUSY, iopf_domain_destroy(one.domain));
	assert_int_equal(-EBUSY, iopf_worker_destroy(one.worker));
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &big, .nb_sids = 1 }));
	assert_int_equal(ERANGE, rte_errno);
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 }));
	assert_int_equal(EEXIST, rte_errno);
	assert_null(iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = &other, .nb_sids = 1,
			.nb_pasids = 17 }));
	assert_int_equal(ERANGE, rte_errno);
	assert_int_equal(-ERANGE, iopf_domain_attach(one.domain, one.dev, NB_PASIDS));
	assert_null(iopf_domain_create(&(struct iopf_domain_conf){ .deferred = one_deferred }));
	assert_int_equal(EINVAL, rte_errno);
	assert_int_equal(-EEXIST, iopf_poller_add(one.poller, one.iommu, 0));
	assert_int_equal(-EINVAL, iopf_poller_add(one.poller, one.iommu, 5));
	one_mute_log(false);
}

static void
invalidate_returns_the_number_done(void **state)
{
	struct iopf_inv inv[4] = {
		{ .addr = 0x1000, .size = 4096 }, { .addr = 0x2000, .size = 4096 },
		{ .addr = 0x3000, .size = 4096 }, { .addr = 0x4000, .size = 4096 },
	};
	struct iopf_inv_result result;

	(void)state;
	assert_int_equal(0, iopf_invalidate(one.domain, inv, 4, &result));
	assert_int_equal(4, result.done);
	assert_int_equal(4, result.failed);
	assert_int_equal(IOPF_INV_OK, result.error);
	hw.invalidate_fails_at = 2;
	assert_int_equal(-EIO, iopf_invalidate(one.domain, inv, 4, &result));
	assert_int_equal(2, result.done);
	assert_int_equal(2, result.failed);
	assert_int_equal(IOPF_INV_ILL, result.error);
	hw.invalidate_fails_at = UINT32_MAX;
	inv[3].size = 5;
	SAYS("invalidation 3 of 4, range 0x4000 + 0x5: use an address and a size that are multiples of "
			"4096",
		assert_int_equal(-EINVAL, iopf_invalidate(one.domain, inv, 4, &result)));
	assert_int_equal(0, result.done);
	assert_int_equal(3, result.failed);
	assert_int_equal(IOPF_INV_REFUSED, result.error);
	inv[3].size = 0;
	SAYS("0x4000 + 0: the size is 0",
		assert_int_equal(-EINVAL, iopf_invalidate(one.domain, inv, 4, &result)));
	inv[3] = (struct iopf_inv){ .addr = 0xfffffffffffff000, .size = 0x2000 };
	SAYS("0xfffffffffffff000 + 0x2000: the range ends beyond 2^64",
		assert_int_equal(-EINVAL, iopf_invalidate(one.domain, inv, 4, &result)));
	/* The last page. */
	inv[3].size = 0x1000;
	assert_int_equal(0, iopf_invalidate(one.domain, inv, 4, &result));
	assert_int_equal(4, result.done);
}

static void
invalidate_reaches_an_iommu_that_starts_or_stops(void **state)
{
	struct iopf_inv inv = { .all = true };
	unsigned int before = hw.invalidated;

	(void)state;
	/* Only the driver knows whether the IOMMU translates at this time. */
	assert_int_equal(0, iopf_iommu_stop(one.iommu));
	assert_int_equal(0, iopf_invalidate(one.domain, &inv, 1, NULL));
	assert_int_equal(before + 1, hw.invalidated);
	assert_int_equal(0, iopf_iommu_start(one.iommu));
}

static void
a_device_of_many_streamids_is_one_device(void **state)
{
	const uint32_t sids[] = { 20, 21, 22 };
	struct iopf_dev *dev;

	(void)state;
	dev = iopf_dev_add(one.iommu, &(struct iopf_dev_conf){ .sids = sids, .nb_sids = 3 });
	assert_non_null(dev);
	assert_int_equal(0, iopf_domain_attach(one.domain, dev, IOPF_NO_PASID));
	for (unsigned int i = 0; i < 3; i++)
		one_put((struct iopf_event){ .sid = sids[i], .pasid = IOPF_NO_PASID, .token = i,
				.flags = IOPF_EVENT_STALL });
	iopf_poll(one.poller);
	assert_int_equal(3, hw.nb_out);
	assert_int_equal(3, one.called);
	assert_int_equal(0, iopf_dev_remove(dev));
}

static void
dump_names_every_counter(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	struct iopf_latency latency;

	(void)state;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	iopf_iommu_dump(one.iommu, f);
	fclose(f);
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		assert_non_null(strstr(text, iopf_stat_name(i)));
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		assert_non_null(strstr(text, iopf_iommu_stat_name(i)));
	assert_non_null(strstr(text, "test_counter 42"));
	free(text);
	iopf_domain_latency(one.domain, &latency);
	assert_int_equal(1, latency.samples);
	assert_true(latency.p50_ns > 0 && latency.p50_ns <= latency.max_ns);
	assert_string_equal("unknown", iopf_stat_name(IOPF_NB_STATS));
	assert_string_equal("unknown", iopf_code_name(IOPF_NB_CODES));
	assert_string_equal("unknown", iopf_reason_name(IOPF_NB_REASONS));
	assert_string_equal("unknown", iopf_iommu_stat_name(IOPF_NB_IOMMU_STATS));
}

static uint64_t
cycles_to_ns(uint64_t cycles)
{
	return (uint64_t)((double)cycles * 1e9 / (double)rte_get_tsc_hz());
}

static void
the_histogram_has_each_answer_in_the_step_of_its_latency(void **state)
{
	static uint64_t samples[IOPF_LATENCY_STEPS];
	uint64_t before = 0, cycles, sum = 0;
	struct iopf_latency latency;

	(void)state;
	for (unsigned int i = 0; i < 3; i++) {
		one_put_stall(1, i);
		iopf_poll(one.poller);
	}
	iopf_domain_latency(one.domain, &latency);
	iopf_domain_histogram(one.domain, samples);
	for (unsigned int i = 0; i < IOPF_LATENCY_STEPS; i++) {
		cycles = iopf_latency_step_cycles(i);
		assert_true(i == 0 || cycles > before);
		before = cycles;
		sum += samples[i];
		if (samples[i] != 0 && sum == samples[i])
			assert_int_equal(latency.min_ns, cycles_to_ns(cycles));
		if (samples[i] != 0 && sum == 3)
			assert_int_equal(latency.max_ns, cycles_to_ns(cycles));
	}
	assert_int_equal(3, sum);
	assert_int_equal(3, latency.samples);
}

static void
expect_no_counter(uint64_t value)
{
	assert_int_equal(0, value);
	assert_int_equal(EINVAL, rte_errno);
	rte_errno = 0;
}

static void
a_counter_that_does_not_exist_is_an_error(void **state)
{
	const char *name;
	struct iopf_listener *listener = iopf_listener_open(&(struct iopf_listener_conf){
			.iommu = one.iommu });

	(void)state;
	assert_non_null(listener);
	rte_errno = 0;
	expect_no_counter(iopf_domain_stat(one.domain, IOPF_NB_STATS));
	expect_no_counter(iopf_dev_stat(one.dev, IOPF_NB_DEV_STATS));
	expect_no_counter(iopf_iommu_stat(one.iommu, IOPF_NB_IOMMU_STATS));
	expect_no_counter(iopf_iommu_driver_stat(one.iommu, UINT32_MAX, &name));
	expect_no_counter(iopf_listener_stat(listener, IOPF_NB_LISTENER_STATS));
	expect_no_counter(iopf_poller_stat(one.poller, IOPF_NB_POLLER_STATS));
	/* 0 is also the value of a counter. */
	assert_int_equal(0, iopf_domain_stat(one.domain, IOPF_STAT_FAULTS));
	assert_int_equal(0, rte_errno);
	assert_int_equal(0, iopf_listener_close(listener));
}

static void
dump_has_each_counter_of_the_driver_once(void **state)
{
	struct iopf_iommu *smmu = iopf_iommu_open("smmuv3,model=dump");
	char *text = NULL, *at;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_non_null(smmu);
	iopf_iommu_dump(smmu, f);
	fclose(f);
	for (unsigned int i = 0; i < iopf_iommu_info(smmu)->nb_stats; i++) {
		char line[64];
		const char *name;

		iopf_iommu_driver_stat(smmu, i, &name);
		snprintf(line, sizeof(line), "\n  %s ", name);
		at = strstr(text, line);
		assert_non_null(at);
		assert_null(strstr(at + 1, line));
	}
	free(text);
	assert_int_equal(0, iopf_iommu_close(smmu));
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(each_refusal_logs_its_reason_in_one_line),
	ONE_TEST(a_queue_size_that_is_no_power_of_two_is_named),
	ONE_TEST(a_queue_size_above_the_maximum_is_refused_with_the_maximum),
	ONE_TEST(a_close_names_each_obstacle),
	ONE_TEST(a_stopped_smmu_lets_no_thread_sleep),
	cmocka_unit_test(a_driver_that_does_not_know_its_queues_is_refused),
	ONE_TEST(arguments_out_of_range_are_refused),
	ONE_TEST(invalidate_returns_the_number_done),
	ONE_TEST(invalidate_reaches_an_iommu_that_starts_or_stops),
	ONE_TEST(a_device_of_many_streamids_is_one_device),
	ONE_TEST(a_counter_that_does_not_exist_is_an_error),
	ONE_TEST(dump_names_every_counter),
	ONE_TEST(the_histogram_has_each_answer_in_the_step_of_its_latency),
	ONE_TEST(dump_has_each_counter_of_the_driver_once),
};
TEST_SUITE(iopf_control, tests, NULL, NULL);
