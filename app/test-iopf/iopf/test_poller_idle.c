/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The idle policies of iopf_poller_run(). A poll thread that sleeps has no timeout: a wake-up that
 * is lost is a test that hangs, until the rig's bound ends it.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_errno.h>

#include "array_iommu.h"
#include "iommu.h"
#include "iopf_driver.h"
#include "iopf_handler.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "smmuv3_model_test.h"
#include "test.h"
#include "topo_rig.h"

#define ROUNDS	200

static uint64_t
sleeps(unsigned int i)
{
	return iopf_poller_stat(topo.pollers[i].poller, IOPF_POLLER_STAT_SLEEPS);
}

/*
 * The poll thread of poller 0 sleeps, or is about to, after an event that has woken it. @p before
 * is sleeps(0) from before the event.
 */
static void
await_sleep(uint64_t before)
{
	topo_wait_stat(0, IOPF_POLLER_STAT_SLEEPS, before + 1);
}

/* One poll thread that sleeps after 4 passes, for all SMMUs. */
static void
open_sleeper(unsigned int nb)
{
	topo_open(nb, NULL);
	topo_poller(0, IOPF_IDLE_SLEEP, 4);
	for (unsigned int i = 0; i < nb; i++)
		assert_int_equal(0, iopf_poller_add(topo.pollers[0].poller, topo.smmu[i]->iommu,
				IOPF_QUEUE_ALL));
	topo_run(0);
	topo_wait_stat(0, IOPF_POLLER_STAT_SLEEPS, 1);
}

static void
a_record_of_any_of_its_iommus_wakes_the_poll_thread(void **state)
{
	(void)state;
	open_sleeper(3);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t before = sleeps(0);

		topo_submit(round % 3);
		topo_finish();
		/* Each second record comes while the thread is anywhere between. */
		if (round % 2)
			await_sleep(before);
	}
	topo_close();
}

static void
a_stop_wakes_the_poll_thread(void **state)
{
	(void)state;
	open_sleeper(2);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t before = sleeps(0);

		topo_stop(0);
		topo_run(0);
		if (round % 2)
			await_sleep(before);
	}
	/* A stop before the loop ends the next one. */
	topo_stop(0);
	iopf_poller_stop(topo.pollers[0].poller);
	assert_int_equal(0, iopf_poller_run(topo.pollers[0].poller));
	topo_close();
}

static void
queues_added_and_removed_wake_the_poll_thread(void **state)
{
	struct iopf_poller *poller;

	(void)state;
	open_sleeper(2);
	poller = topo.pollers[0].poller;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t before = sleeps(0);

		assert_int_equal(0, iopf_poller_remove(poller, topo.smmu[1]->iommu,
				IOPF_QUEUE_ALL));
		if (round % 3 == 0)
			await_sleep(before);
		/* The record is in the queue before the poller gets the queue, or comes after it. */
		if (round % 2)
			topo_submit(1);
		topo_step();
		assert_int_equal(0, iopf_poller_add(poller, topo.smmu[1]->iommu, IOPF_QUEUE_ALL));
		topo_submit(1);
		topo_finish();
	}
	topo_close();
}

/* The poll thread uses the IOMMU's sleep until the removal returns, and not after it. */
static void
an_iommu_that_is_removed_from_a_sleeper_can_be_closed(void **state)
{
	struct topo_smmu *s;

	(void)state;
	open_sleeper(2);
	s = topo.smmu[1];
	assert_int_equal(0, iopf_poller_remove(topo.pollers[0].poller, s->iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_dev_remove(s->dev));
	assert_int_equal(0, iopf_iommu_stop(s->iommu));
	assert_int_equal(0, iopf_iommu_close(s->iommu));
	smmuv3_model_dma_destroy(s->dma);
	smmuv3_model_destroy(s->model);
	free(s);
	topo.nb = 1;
	topo_submit(0);
	topo_finish();
	topo_close();
}

static _Atomic unsigned int removed;

static void *
remove_queues(void *smmu)
{
	assert_int_equal(0, iopf_poller_remove(topo.pollers[0].poller,
			((struct topo_smmu *)smmu)->iommu, IOPF_QUEUE_ALL));
	atomic_fetch_add(&removed, 1);
	return NULL;
}

/*
 * The poll thread cannot end its sleep, which uses the list with both IOMMUs. The first removal
 * replaces that list and waits. The second one replaces another list, and has to wait too.
 */
static void
each_of_two_removals_waits_for_the_end_of_the_sleep(void **state)
{
	pthread_t threads[2];

	(void)state;
	open_sleeper(3);
	atomic_store(&removed, 0);
	pthread_mutex_lock(&topo.smmu[0]->iommu->idle_lock);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(0, pthread_create(&threads[i], NULL, remove_queues,
				topo.smmu[1 + i]));
		usleep(20000);
	}
	assert_int_equal(0, atomic_load(&removed));
	pthread_mutex_unlock(&topo.smmu[0]->iommu->idle_lock);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(2, atomic_load(&removed));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_poller_add(topo.pollers[0].poller,
				topo.smmu[1 + i]->iommu, IOPF_QUEUE_ALL));
	topo_close();
}

static void
the_start_of_an_iommu_wakes_the_poll_thread(void **state)
{
	(void)state;
	open_sleeper(2);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t before = sleeps(0);

		assert_int_equal(0, iopf_iommu_stop(topo.smmu[1]->iommu));
		/* The other IOMMU is served, and the stopped one does not keep it awake. */
		topo_submit(0);
		topo_finish();
		if (round % 2)
			await_sleep(before);
		before = sleeps(0);
		assert_int_equal(0, iopf_iommu_start(topo.smmu[1]->iommu));
		topo_submit(1);
		topo_finish();
		/* A stop may find it asleep or awake. */
		if (round % 4 == 3)
			await_sleep(before);
	}
	topo_close();
}

static void
a_failed_iommu_does_not_keep_the_poll_thread_awake(void **state)
{
	uint64_t before;

	(void)state;
	open_sleeper(2);
	before = sleeps(0);
	log_lines_begin();
	smmuv3_model_knob(topo.smmu[1]->model, SMMUV3_MODEL_KNOB_SFM, 1);
	while (iopf_iommu_stat(topo.smmu[1]->iommu, IOPF_IOMMU_STAT_RESETS) == 0)
		topo_step();
	await_sleep(before);
	before = sleeps(0);
	topo_submit(0);
	topo_finish();
	await_sleep(before);
	free(log_lines_end());
	topo_close();
}

/* Each of the two poll threads has one queue of the SMMU, and the SMMU reports to one of them. */
static void
two_poll_threads_sleep_on_one_iommu(void **state)
{
	(void)state;
	topo_open(2, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		topo_poller(i, IOPF_IDLE_SLEEP, 4);
		/* Poller 0 has the events of SMMU 0 and the requests of SMMU 1. */
		assert_int_equal(0, iopf_poller_add(topo.pollers[i].poller, topo.smmu[i]->iommu,
				IOPF_QUEUE_EVENTS));
		assert_int_equal(0, iopf_poller_add(topo.pollers[i].poller,
				topo.smmu[1 - i]->iommu, IOPF_QUEUE_REQUESTS));
	}
	topo_run(0);
	topo_run(1);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		/* Each of the two is woken, by the record or by the other. Either is the last. */
		uint64_t before[2] = { sleeps(0), sleeps(1) };

		topo_submit(round / 2 % 2);
		topo_finish();
		if (round % 2) {
			topo_wait_stat(0, IOPF_POLLER_STAT_SLEEPS, before[0] + 1);
			topo_wait_stat(1, IOPF_POLLER_STAT_SLEEPS, before[1] + 1);
		}
	}
	topo_close();
}

static enum iopf_verdict
take(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	topo_handler(domain, group, ctx);
	return IOPF_TAKEN;
}

static void
deadlines_are_kept_during_a_sleep(void **state)
{
	(void)state;
	topo_open(1, &(struct iopf_domain_conf){ .handler = take, .deadline_ms = 20 });
	topo_poller(0, IOPF_IDLE_SLEEP, 4);
	assert_int_equal(0, iopf_poller_add(topo.pollers[0].poller, topo.smmu[0]->iommu,
			IOPF_QUEUE_ALL));
	topo_run(0);
	/* On a busy machine the deadline may come before the sleep. */
	for (unsigned int i = 0; i < 3 || (i < 1000 && iopf_poller_stat(topo.pollers[0].poller,
			IOPF_POLLER_STAT_TIMED) == 0); i++) {
		topo_submit(0);
		topo_finish();
		assert_int_equal(i + 1, iopf_domain_stat(topo.domain, IOPF_STAT_EXPIRED));
	}
	assert_true(iopf_poller_stat(topo.pollers[0].poller, IOPF_POLLER_STAT_TIMED) > 0);
	topo_close();
}

static void *
run_poller(void *arg)
{
	iopf_poller_run(arg);
	return NULL;
}

/* The driver "arrays" has no interrupts. */
static void
without_interrupts_the_poll_thread_yields(void **state)
{
	struct iopf_poller *poller = iopf_poller_create(&(struct iopf_poller_conf){
			.name = "no-irq", .idle = IOPF_IDLE_SLEEP, .idle_passes = 4 });
	pthread_t thread;

	(void)state;
	assert_non_null(poller);
	assert_int_equal(0, iopf_poller_remove(one.poller, one.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_add(poller, one.iommu, IOPF_QUEUE_ALL));
	log_lines_begin();
	assert_int_equal(0, pthread_create(&thread, NULL, run_poller, poller));
	while (iopf_poller_stat(poller, IOPF_POLLER_STAT_UNSUPPORTED) == 0)
		usleep(100);
	for (unsigned int i = 0; i < 50; i++) {
		one_put_stall(i % MAX_STALLS, 0x1000);
		while (hw.nb_out <= i)
			usleep(100);
	}
	log_lines_one("no-irq: \"arrays,n=1\" has no interrupts, so the poll thread cannot sleep and "
			"yields instead");
	assert_int_equal(1, iopf_poller_stat(poller, IOPF_POLLER_STAT_UNSUPPORTED));
	assert_int_equal(0, iopf_poller_stat(poller, IOPF_POLLER_STAT_SLEEPS));
	/* Without that IOMMU it sleeps. */
	assert_int_equal(0, iopf_poller_remove(poller, one.iommu, IOPF_QUEUE_ALL));
	while (iopf_poller_stat(poller, IOPF_POLLER_STAT_SLEEPS) == 0)
		usleep(100);
	iopf_poller_stop(poller);
	pthread_join(thread, NULL);
	assert_int_equal(0, iopf_poller_destroy(poller));
}

/*
 * The driver "restless": it has no records, and always work that forbids the sleep.
 */

static struct {
	unsigned int passes, refused;
	struct iopf_poller *stop;	/* after 10000 passes */
} restless;

static int
restless_open(const struct rte_kvargs *args, struct iopf_iommu_info *info, void **priv)
{
	(void)args;
	*info = (struct iopf_iommu_info){ .backend = "test", .sid_bits = 8, .addr_bits = 48,
		.va_bits = 48, .granules = 1 << 12, .max_stalls = 1, .nb_queues = 1 };
	*priv = &restless;
	return 0;
}

static int
restless_done(void *priv)
{
	(void)priv;
	return 0;
}

static int
restless_configure(void *priv, const struct iopf_iommu_conf *conf)
{
	(void)priv;
	(void)conf;
	return 0;
}

static uint16_t
restless_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n)
{
	(void)priv;
	(void)queue;
	(void)events;
	(void)n;
	if (++restless.passes == 10000)
		iopf_poller_stop(restless.stop);
	return 0;
}

static uint16_t
restless_answer(void *priv, const struct iopf_answer *answers, uint16_t n)
{
	(void)priv;
	(void)answers;
	return n;
}

static int
restless_idle(void *priv, int fd)
{
	(void)priv;
	restless.refused += fd >= 0;
	return fd >= 0 ? 1 : 0;
}

static int
restless_no(void)
{
	return -ENOTSUP;
}

static const char *const restless_params[] = { NULL };
static struct iopf_driver restless_driver = {
	.name = "restless",
	.params = restless_params,
	.usage = "",
	.ops = {
		.open = restless_open, .close = restless_done, .configure = restless_configure,
		.start = restless_done, .stop = restless_done, .poll = restless_poll,
		.answer = restless_answer, .idle = restless_idle,
		.dma_map = (void *)restless_no, .dma_unmap = (void *)restless_no,
		.dev_add = (void *)restless_no, .dev_del = (void *)restless_no,
		.domain_add = (void *)restless_no, .domain_del = (void *)restless_no,
		.attach = (void *)restless_no, .detach = (void *)restless_no,
		.invalidate = (void *)restless_no,
	},
};
IOPF_DRIVER(restless_driver);

/* With thresholds of 4, 8, ... 256 passes; without growth there would be 2500 attempts. */
static void
sleeps_that_are_refused_become_rarer(void **state)
{
	struct iopf_iommu *iommu = iopf_iommu_open("restless");
	unsigned int growth = 0, passes = 0;

	(void)state;
	assert_non_null(iommu);
	memset(&restless, 0, sizeof(restless));
	restless.stop = iopf_poller_create(&(struct iopf_poller_conf){ .idle = IOPF_IDLE_SLEEP,
			.idle_passes = 4 });
	assert_int_equal(0, iopf_poller_add(restless.stop, iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(iommu));
	assert_int_equal(0, iopf_poller_run(restless.stop));
	for (unsigned int threshold = 4; passes + threshold <= restless.passes; growth++) {
		passes += threshold;
		threshold = threshold < 256 ? threshold * 2 : threshold;
	}
	assert_int_equal(10000, restless.passes);
	assert_in_range(restless.refused, growth - 1, growth);
	assert_int_equal(restless.refused,
			iopf_poller_stat(restless.stop, IOPF_POLLER_STAT_REFUSED));
	assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_poller_destroy(restless.stop));
	assert_int_equal(0, iopf_iommu_close(iommu));
}

static void
each_policy_serves_faults_and_stops(void **state)
{
	(void)state;
	for (unsigned int idle = IOPF_IDLE_PAUSE; idle <= IOPF_IDLE_SLEEP; idle++) {
		topo_open(1, NULL);
		topo_poller(0, idle, 0);
		assert_int_equal(0, iopf_poller_add(topo.pollers[0].poller, topo.smmu[0]->iommu,
				IOPF_QUEUE_ALL));
		topo_run(0);
		for (unsigned int i = 0; i < 20; i++) {
			topo_submit(0);
			topo_finish();
		}
		topo_close();
	}
}

static void
an_unknown_policy_or_counter_is_refused(void **state)
{
	struct iopf_poller *poller = iopf_poller_create(NULL);

	(void)state;
	SAYS("7 is no idle policy; use one of enum iopf_idle",
		assert_null(iopf_poller_create(&(struct iopf_poller_conf){
				.idle = (enum iopf_idle)7 })));
	assert_int_equal(EINVAL, rte_errno);
	rte_errno = 0;
	assert_int_equal(0, iopf_poller_stat(poller, IOPF_NB_POLLER_STATS));
	assert_int_equal(EINVAL, rte_errno);
	for (unsigned int i = 0; i < IOPF_NB_POLLER_STATS; i++)
		assert_string_not_equal("unknown", iopf_poller_stat_name(i));
	assert_int_equal(0, iopf_poller_destroy(poller));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_record_of_any_of_its_iommus_wakes_the_poll_thread),
	cmocka_unit_test(a_stop_wakes_the_poll_thread),
	cmocka_unit_test(queues_added_and_removed_wake_the_poll_thread),
	cmocka_unit_test(an_iommu_that_is_removed_from_a_sleeper_can_be_closed),
	cmocka_unit_test(each_of_two_removals_waits_for_the_end_of_the_sleep),
	cmocka_unit_test(the_start_of_an_iommu_wakes_the_poll_thread),
	cmocka_unit_test(a_failed_iommu_does_not_keep_the_poll_thread_awake),
	cmocka_unit_test(two_poll_threads_sleep_on_one_iommu),
	cmocka_unit_test(deadlines_are_kept_during_a_sleep),
	ONE_TEST(without_interrupts_the_poll_thread_yields),
	cmocka_unit_test(sleeps_that_are_refused_become_rarer),
	cmocka_unit_test(each_policy_serves_faults_and_stops),
	cmocka_unit_test(an_unknown_policy_or_counter_is_refused),
};
TEST_SUITE(poller_idle, tests, NULL, NULL);
