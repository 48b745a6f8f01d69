/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Calls at the wrong moment, and objects of an earlier session: each is refused and changes
 * nothing.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_errno.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

static struct {
	struct smmuv3_model *model;
	struct smmuv3_model_dma *dma;
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct iopf_poller *poller, *inner;
	enum iopf_verdict verdict;
	void (*in_handler)(void);
	uint64_t id;
	unsigned int calls;
} t;

static enum iopf_verdict
handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	t.id = group->id;
	t.calls++;
	if (t.in_handler != NULL)
		t.in_handler();
	return t.verdict;
}

/* The model has no thread: it moves while the test polls. */
static void
open_all(void)
{
	const uint32_t sid = 8;

	t.iommu = iopf_iommu_open("smmuv3,model=misuse");
	assert_non_null(t.iommu);
	t.dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(t.dev);
	t.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = handler });
	assert_non_null(t.domain);
	assert_int_equal(0, iopf_domain_attach(t.domain, t.dev, IOPF_NO_PASID));
	t.poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(t.iommu));
}

static void
close_all(void)
{
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, iopf_dev_remove(t.dev));
	assert_int_equal(0, iopf_domain_destroy(t.domain));
	assert_int_equal(0, iopf_poller_destroy(t.poller));
	assert_int_equal(0, iopf_iommu_close(t.iommu));
}

static int
setup(void **state)
{
	(void)state;
	memset(&t, 0, sizeof(t));
	t.verdict = IOPF_ANSWER(IOPF_INVALID);
	t.model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "misuse",
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	assert_non_null(t.model);
	t.dma = smmuv3_model_dma_create(t.model, &(struct smmuv3_model_dma_conf){ .sid = 8 });
	assert_non_null(t.dma);
	open_all();
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	close_all();
	smmuv3_model_dma_destroy(t.dma);
	assert_int_equal(0, smmuv3_model_driver_errors(t.model));
	smmuv3_model_destroy(t.model);
	return 0;
}

static void
start_read(void)
{
	static uint8_t buf[8];

	assert_int_equal(0, smmuv3_model_dma_submit(t.dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = 0x1000, .buf = buf,
			.len = sizeof(buf) }));
}

/* One access that is not mapped, until the handler has run. */
static void
fault(void)
{
	unsigned int before = t.calls;

	start_read();
	while (t.calls == before) {
		smmuv3_model_step(t.model, 16);
		iopf_poll(t.poller);
	}
}

static void
end_read(void)
{
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(t.dma, &done, 1) == 0) {
		smmuv3_model_step(t.model, 16);
		iopf_poll(t.poller);
	}
}

static void
poll_and_ask(void)
{
	SAYS("iopf_poll() in a fast handler does nothing",
		assert_int_equal(0, iopf_poll(t.inner)));
	assert_int_equal(EDEADLK, rte_errno);
	assert_int_equal(-EDEADLK, iopf_poller_run(t.inner));
	/* The handler is a handler still. */
	assert_int_equal(-EDEADLK, iopf_may_wait());
	assert_int_equal(-EDEADLK, iopf_quiesce());
	assert_int_equal(-EDEADLK, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
}

static void
a_poll_in_a_handler_does_nothing(void **state)
{
	(void)state;
	t.inner = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_REQUESTS));
	assert_int_equal(0, iopf_poller_add(t.inner, t.iommu, IOPF_QUEUE_REQUESTS));
	t.in_handler = poll_and_ask;
	fault();
	t.in_handler = NULL;
	end_read();
	assert_int_equal(0, iopf_poller_destroy(t.inner));
}

static void
all_queues_are_added_or_none(void **state)
{
	struct iopf_poller *other = iopf_poller_create(NULL);

	(void)state;
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_EVENTS));
	SAYS("is in a poller already",
		assert_int_equal(-EEXIST, iopf_poller_add(other, t.iommu, IOPF_QUEUE_ALL)));
	/* The event queue is still free. */
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_EVENTS));
	SAYS("is not in this poller",
		assert_int_equal(-EINVAL, iopf_poller_remove(other, t.iommu, IOPF_QUEUE_ALL)));
	/* To remove all is to remove those that are there. */
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_EVENTS));
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_add(other, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_remove(other, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_destroy(other));
}

static void
a_detach_of_another_domain_detaches_nothing(void **state)
{
	struct iopf_domain *other = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = handler });

	(void)state;
	/* 0: it is not attached there. The domain that is stays. */
	assert_int_equal(0, iopf_domain_detach(other, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(other, t.dev, 77));
	fault();
	end_read();
	assert_int_equal(0, iopf_domain_detach(t.domain, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(other, t.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(other));
}

static void
an_id_of_a_closed_iommu_names_no_fault_of_the_next(void **state)
{
	uint64_t old;

	(void)state;
	t.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < 3; i++) {
		fault();
		old = t.id;
		close_all();
		assert_int_equal(-ESTALE, iopf_group_respond(old, IOPF_INVALID));
		open_all();
		end_read();
		fault();
		assert_int_equal(-ESTALE, iopf_group_respond(old, IOPF_INVALID));
		assert_int_equal(-ESTALE, iopf_group_defer(old));
		assert_int_equal(0, iopf_group_respond(t.id, IOPF_INVALID));
		end_read();
	}
}

static void
a_failed_iommu_is_no_reason_to_poll_again(void **state)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	(void)state;
	smmuv3_model_knob(t.model, SMMUV3_MODEL_KNOB_SFM, 1);
	log_lines_begin();
	while (iopf_iommu_stat(t.iommu, IOPF_IOMMU_STAT_RESETS) == 0) {
		smmuv3_model_step(t.model, 16);
		iopf_poll(t.poller);
	}
	free(log_lines_end());
	SAYS("has failed, and no record will wake",
		assert_int_equal(-EIO, iopf_iommu_idle(t.iommu, fd)));
	/* Sleeping ends as ever. */
	assert_int_equal(0, iopf_iommu_idle(t.iommu, -1));
	close(fd);
}

static _Atomic bool hold, held;

static void
hold_poll_thread(void)
{
	held = true;
	while (hold)
		sched_yield();
}

static void *
poll_thread(void *arg)
{
	(void)arg;
	fault();
	return NULL;
}

/* The driver has released it before the wait for the poll thread. */
static void
a_device_whose_removal_failed_can_only_be_removed(void **state)
{
	const uint32_t sid = 9;
	struct iopf_dev *dev = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1, .wait_ms = 300 });
	pthread_t thread;

	(void)state;
	assert_non_null(dev);
	hold = true;
	held = false;
	t.in_handler = hold_poll_thread;
	assert_int_equal(0, pthread_create(&thread, NULL, poll_thread, NULL));
	while (!held)
		sched_yield();
	assert_int_equal(-ETIMEDOUT, iopf_dev_remove(dev));
	SAYS("its removal has begun",
		assert_int_equal(-ENODEV, iopf_domain_attach(t.domain, dev, IOPF_NO_PASID)));
	assert_int_equal(0, iopf_domain_detach(t.domain, dev, IOPF_NO_PASID));
	hold = false;
	pthread_join(thread, NULL);
	t.in_handler = NULL;
	assert_int_equal(0, iopf_dev_remove(dev));
	end_read();
}

/* A register access while the power is off is SIGSEGV. */
static void
a_stopped_iommu_without_power_can_be_dumped_and_closed(void **state)
{
	FILE *f = fopen("/dev/null", "w");

	(void)state;
	assert_non_null(f);
	assert_int_equal(0, iopf_iommu_stop(t.iommu));
	assert_int_equal(0, smmuv3_model_power_off(t.model));
	iopf_iommu_dump(t.iommu, f);
	close_all();
	assert_int_equal(0, smmuv3_model_power_on(t.model));
	open_all();
	fclose(f);
}

/* The engine would be freed with the model. */
static void
a_model_of_the_driver_is_not_closed_with_engines(void **state)
{
	struct iopf_iommu *iommu = iopf_iommu_open("smmuv3,model=own");
	struct smmuv3_model_dma *dma;

	(void)state;
	assert_non_null(iommu);
	dma = smmuv3_model_dma_create(smmuv3_model_lookup("own"),
			&(struct smmuv3_model_dma_conf){ .sid = 8 });
	assert_non_null(dma);
	SAYS("has engines: smmuv3_model_dma_destroy() them first",
		assert_int_equal(-EBUSY, iopf_iommu_close(iommu)));
	smmuv3_model_dma_destroy(dma);
	assert_int_equal(0, iopf_iommu_close(iommu));
	assert_null(smmuv3_model_lookup("own"));
}

static struct {
	struct iopf_iommu *iommu;
	int err;
	char *lines;
} before_eal;

static void
open_before_eal(void)
{
	log_lines_begin();
	before_eal.iommu = iopf_iommu_open("smmuv3,model=early");
	before_eal.err = rte_errno;
	before_eal.lines = log_lines_end();
}

__attribute__((constructor)) static void
register_open_before_eal(void)
{
	test_before_eal = open_before_eal;
}

/* Without EAL there is no TSC frequency, so that each wait would be over at once. */
static void
an_iommu_is_not_opened_before_eal(void **state)
{
	(void)state;
	assert_null(before_eal.iommu);
	assert_int_equal(EINVAL, before_eal.err);
	assert_string_equal("iopf: \"smmuv3,model=early\": EAL is not initialised: call "
			"rte_eal_init() first\n", before_eal.lines);
	free(before_eal.lines);
	before_eal.lines = NULL;
}

#define MISUSE_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
static const struct CMUnitTest tests[] = {
	cmocka_unit_test(an_iommu_is_not_opened_before_eal),
	cmocka_unit_test(a_model_of_the_driver_is_not_closed_with_engines),
	MISUSE_TEST(a_poll_in_a_handler_does_nothing),
	MISUSE_TEST(all_queues_are_added_or_none),
	MISUSE_TEST(a_detach_of_another_domain_detaches_nothing),
	MISUSE_TEST(an_id_of_a_closed_iommu_names_no_fault_of_the_next),
	MISUSE_TEST(a_failed_iommu_is_no_reason_to_poll_again),
	MISUSE_TEST(a_device_whose_removal_failed_can_only_be_removed),
	MISUSE_TEST(a_stopped_iommu_without_power_can_be_dumped_and_closed),
};
TEST_SUITE(iopf_misuse, tests, NULL, NULL);
