/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* On QEMU's SMMUv3: more records than the event queue holds, and a thread that sleeps. */

#include <inttypes.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <iopf_stats.h>
#include <iopf_iommu.h>
#include <mmem.h>

#include "lab_space.h"
#include "test.h"

/* One record for each 4 bytes of a page. */
static void
test_a_storm_maps_once_and_reports_each_record(void **state)
{
	uint64_t records;
	uint8_t *buf;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(&(struct iopf_iommu_conf){ .event_queue_size = 4096 });
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_clear();
	records = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RECORDS);
	lab_try(true, (uintptr_t)buf, 4088);
	records = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RECORDS) - records;
	print_message("  %" PRIu64 " records of one DMA of 4088 bytes\n", records);
	assert_true(records >= 2);
	assert_int_equal(lab.nb_retries, records);
	assert_int_equal(mmem_stat(lab_space, MMEM_STAT_MAPPED), 1);
	assert_int_equal(mmem_stat(lab_space, MMEM_STAT_JOINED), records - 1);
	assert_int_equal(lab_read_stat("evtq_aborts"), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf, 4088), 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(lab_space)), 0);
}

static void
test_a_queue_too_small_for_a_storm_recovers(void **state)
{
	uint64_t resets;
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(&(struct iopf_iommu_conf){ .event_queue_size = 16 });
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	resets = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RESETS);
	for (i = 0; i < 3; i++) {
		uint64_t lost = lab_read_stat("evtq_aborts") + lab_read_stat("event_overflows");

		lab_clear();
		lab_try(true, (uintptr_t)buf + i * PAGE, 4088);
		/* Some records were reported and others lost, and the driver counted that. */
		assert_true(lab.nb_retries > 0);
		assert_true(lab.nb_retries < 1022);
		assert_true(lab_read_stat("evtq_aborts") + lab_read_stat("event_overflows") > lost);
		/* The SMMU still works: the same page again, and another one. */
		lab_copy(buf + (16 + 2 * i) * PAGE, buf + i * PAGE, 512, i);
	}
	/* Nothing stalls, so the driver needed no recovery. */
	assert_int_equal(iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RESETS), resets);
}

/* Sleep until the interrupt. False: no interrupt within 5 s. */
static bool
wait_for_interrupt(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, 5000) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void
test_an_interrupt_wakes_a_sleeper(void **state)
{
	uint8_t *buf;
	unsigned int i;
	int fd;

	(void)state;
	lab_skip_elsewhere();
	lab_space_open(&(struct iopf_iommu_conf){ .event_queue_size = 16 });
	buf = mmem_alloc(lab_space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(fd >= 0);
	for (i = 0; i < 3; i++) {
		lab_clear();
		assert_int_equal(iopf_iommu_idle(lab.smmu, fd), 0);
		/* One record; in the last round so many that there is an error too. */
		lab_edu_start(&lab.edu, true, (uintptr_t)buf + i * PAGE, 0, i == 2 ? 4088 : 4);
		assert_true(wait_for_interrupt(fd));
		lab_edu_wait(&lab.edu);
		assert_int_equal(iopf_iommu_idle(lab.smmu, -1), 0);
		lab_drain();
		assert_true(lab.nb_retries > 0);
		assert_int_equal(lab_read_stat("evtq_aborts") + lab_read_stat("event_overflows"),
				i == 2);
		assert_int_equal(lab_move(true, (uintptr_t)buf + i * PAGE, 4), 0);
	}
	/* A record is in the queue: idle() forbids sleep. */
	lab_edu_start(&lab.edu, true, (uintptr_t)buf + 8 * PAGE, 0, 4);
	while (lab_edu_busy(&lab.edu))
		usleep(1000);
	assert_int_equal(iopf_iommu_idle(lab.smmu, fd), 1);
	assert_int_equal(iopf_iommu_idle(lab.smmu, -1), 0);
	lab_drain();
	close(fd);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_a_storm_maps_once_and_reports_each_record, lab_space_close),
	cmocka_unit_test_teardown(test_a_queue_too_small_for_a_storm_recovers, lab_space_close),
	cmocka_unit_test_teardown(test_an_interrupt_wakes_a_sleeper, lab_space_close),
};

TEST_SUITE(lab_storm, tests, NULL, NULL);
