/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Which poll thread serves which queue of which SMMU, and which worker which domain: in each
 * arrangement each fault is handled and answered once.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "iopf_pci.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "prg_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"
#include "topo_rig.h"

#define NB_SMMUS	4
#define ACCESSES	300	/* of each SMMU */
#define DEPTH		32
#define UNKNOWN_SID	99

static void
add(unsigned int poller, unsigned int smmu, uint32_t queue)
{
	assert_int_equal(0, iopf_poller_add(topo.pollers[poller].poller, topo.smmu[smmu]->iommu,
			queue));
}

/* Keep the accesses of all SMMUs in flight, and call @p meanwhile now and then. */
static void
run_load(unsigned int accesses, void (*meanwhile)(unsigned int round))
{
	unsigned int round = 0, running = topo.nb;

	while (running > 0) {
		running = 0;
		for (unsigned int i = 0; i < topo.nb; i++) {
			struct topo_smmu *s = topo.smmu[i];

			while (s->submitted < accesses && s->submitted - s->done < DEPTH)
				topo_submit(i);
			running += s->done < accesses;
		}
		topo_step();
		if (meanwhile != NULL)
			meanwhile(round++);
		else
			sched_yield();
	}
	topo_finish();
}

static void
one_poller_serves_all_queues_of_several_smmus(void **state)
{
	(void)state;
	topo_open(NB_SMMUS, NULL);
	topo_poller(0, IOPF_IDLE_YIELD, 0);
	for (unsigned int i = 0; i < NB_SMMUS; i++)
		add(0, i, IOPF_QUEUE_ALL);
	topo_run(0);
	run_load(ACCESSES, NULL);
	assert_int_equal(NB_SMMUS * ACCESSES, iopf_domain_stat(topo.domain, IOPF_STAT_FAULTS));
	topo_close();
}

static void
each_smmu_has_a_poller(void **state)
{
	(void)state;
	topo_open(NB_SMMUS, NULL);
	for (unsigned int i = 0; i < NB_SMMUS; i++) {
		topo_poller(i, IOPF_IDLE_YIELD, 0);
		add(i, i, IOPF_QUEUE_ALL);
		topo_run(i);
	}
	run_load(ACCESSES, NULL);
	topo_close();
}

/* On arrays with events and page requests: each poller reads its own queue only. */
static void
each_queue_has_a_poller(void **state)
{
	struct iopf_poller *events = iopf_poller_create(NULL);
	struct iopf_poller *requests = iopf_poller_create(NULL);

	(void)state;
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_add(events, prg.iommu, IOPF_QUEUE_EVENTS));
	assert_int_equal(0, iopf_poller_add(requests, prg.iommu, IOPF_QUEUE_REQUESTS));
	for (unsigned int i = 0; i < 20; i++) {
		struct iopf_event ev = { .addr = 0x1000, .sid = SID, .pasid = IOPF_NO_PASID,
			.token = i % 8, .perm = IOPF_PERM_READ };

		ev.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST;
		array_put(IOPF_QUEUE_REQUESTS, &ev);
		/* A stall of a StreamID without a device, which is answered too. */
		ev.sid = UNKNOWN_SID;
		ev.flags = IOPF_EVENT_STALL;
		array_put(IOPF_QUEUE_EVENTS, &ev);
		assert_int_equal(1, iopf_poll(events));
		assert_int_equal(0, iopf_poll(events));
		assert_int_equal(2 * i + 1, hw.nb_out);
		assert_false(hw.out[hw.nb_out - 1].answer.page_request);
		assert_int_equal(1, iopf_poll(requests));
		assert_int_equal(2 * i + 2, hw.nb_out);
		assert_true(hw.out[hw.nb_out - 1].answer.page_request);
	}
	assert_int_equal(0, iopf_poller_destroy(events));
	assert_int_equal(0, iopf_poller_destroy(requests));
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
}

/*
 * Workers
 */

static struct iopf_worker *workers[TOPO_MAX];
static struct iopf_domain *domains[TOPO_MAX];

/* Each SMMU's device gets a domain of its own, whose worker is worker @p of[i]. */
static void
run_with_workers(const unsigned int of[NB_SMMUS])
{
	topo_open(NB_SMMUS, NULL);
	topo_poller(0, IOPF_IDLE_YIELD, 0);
	for (unsigned int i = 0; i < NB_SMMUS; i++) {
		struct iopf_dev *dev = topo.smmu[i]->dev;

		if (workers[of[i]] == NULL)
			workers[of[i]] = iopf_worker_create(&(struct iopf_worker_conf){
					.nb_threads = 1 });
		domains[i] = iopf_domain_create(&(struct iopf_domain_conf){
				.deferred = topo_handler, .worker = workers[of[i]] });
		assert_non_null(domains[i]);
		assert_int_equal(0, iopf_domain_detach(topo.domain, dev, IOPF_NO_PASID));
		assert_int_equal(0, iopf_domain_attach(domains[i], dev, IOPF_NO_PASID));
		add(0, i, IOPF_QUEUE_ALL);
	}
	topo_run(0);
	run_load(ACCESSES / 4, NULL);
	for (unsigned int i = 0; i < NB_SMMUS; i++) {
		assert_int_equal(ACCESSES / 4, iopf_domain_stat(domains[i], IOPF_STAT_DEFERRED));
		assert_int_equal(0, iopf_domain_detach(domains[i], topo.smmu[i]->dev,
				IOPF_NO_PASID));
		assert_int_equal(0, iopf_domain_destroy(domains[i]));
	}
	for (unsigned int i = 0; i < TOPO_MAX; i++) {
		assert_int_equal(0, iopf_worker_destroy(workers[i]));
		workers[i] = NULL;
	}
	topo_close();
}

static void
a_worker_serves_one_domain_or_some_or_all(void **state)
{
	(void)state;
	run_with_workers((const unsigned int[]){ 0, 1, 2, 3 });
	run_with_workers((const unsigned int[]){ 0, 0, 1, 1 });
	run_with_workers((const unsigned int[]){ 0, 0, 0, 0 });
}

/* Two domains of one device, for two PASIDs, have workers of their own. */
static void
the_domains_of_a_device_have_workers_of_their_own(void **state)
{
	struct iopf_worker *second = iopf_worker_create(NULL);
	struct iopf_domain *other = iopf_domain_create(&(struct iopf_domain_conf){
			.deferred = one_deferred, .worker = second });

	(void)state;
	assert_non_null(other);
	assert_int_equal(0, iopf_domain_attach(other, one.dev, 3));
	one.verdict = IOPF_DEFER;
	for (unsigned int i = 0; i < 20; i++)
		one_put((struct iopf_event){ .addr = 0x1000, .sid = SID,
			.pasid = i % 2 ? 3 : IOPF_NO_PASID, .token = i, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
	one_await_answers(20);
	assert_int_equal(10, iopf_domain_stat(one.domain, IOPF_STAT_DEFERRED));
	assert_int_equal(10, iopf_domain_stat(other, IOPF_STAT_DEFERRED));
	assert_int_equal(0, iopf_domain_detach(other, one.dev, 3));
	assert_int_equal(0, iopf_domain_destroy(other));
	assert_int_equal(0, iopf_worker_destroy(second));
}

/*
 * Moves
 */

static unsigned int moves;

static void
move_one(unsigned int round)
{
	struct topo_smmu *s = topo.smmu[round % topo.nb];

	assert_int_equal(0, iopf_poller_move(topo.pollers[round / topo.nb % 3].poller, s->iommu,
			round % 5 == 0 ? IOPF_QUEUE_EVENTS : IOPF_QUEUE_ALL));
	moves++;
}

static void
run_moves(enum iopf_idle idle)
{
	moves = 0;
	topo_open(NB_SMMUS, NULL);
	for (unsigned int i = 0; i < 3; i++)
		topo_poller(i, idle, 4);
	for (unsigned int i = 0; i < NB_SMMUS; i++)
		add(i % 3, i, IOPF_QUEUE_ALL);
	for (unsigned int i = 0; i < 3; i++)
		topo_run(i);
	run_load(ACCESSES * 2, move_one);
	assert_true(moves > ACCESSES / 10);
	/* A device that is moved and then idle is served by the last poller. */
	for (unsigned int i = 0; i < 20; i++) {
		move_one(i);
		topo_submit(i % topo.nb);
		topo_finish();
	}
	topo_close();
}

static void
queues_move_between_running_pollers_and_each_fault_is_handled_once(void **state)
{
	(void)state;
	run_moves(IOPF_IDLE_YIELD);
}

static void
queues_move_between_sleeping_pollers_and_each_fault_is_handled_once(void **state)
{
	(void)state;
	run_moves(IOPF_IDLE_SLEEP);
}

static void
a_move_changes_which_poller_has_the_queue(void **state)
{
	struct iopf_poller *other = iopf_poller_create(&(struct iopf_poller_conf){
			.name = "other" });

	(void)state;
	one_put_stall(1, 0x1000);
	assert_int_equal(0, iopf_poller_move(other, one.iommu, IOPF_QUEUE_EVENTS));
	assert_int_equal(0, iopf_poll(one.poller));
	assert_int_equal(1, iopf_poll(other));
	/* It is there already. */
	assert_int_equal(0, iopf_poller_move(other, one.iommu, IOPF_QUEUE_ALL));
	one_put_stall(2, 0x1000);
	assert_int_equal(1, iopf_poll(other));
	SAYS("queue 0 of \"arrays,n=1\" is not in this poller",
		assert_int_equal(-EINVAL, iopf_poller_remove(one.poller, one.iommu, 0)));
	assert_int_equal(0, iopf_poller_move(one.poller, one.iommu, 0));
	assert_int_equal(0, iopf_poller_remove(one.poller, one.iommu, 0));
	SAYS("other: queue 0 of \"arrays,n=1\" is in no poller: use iopf_poller_add()",
		assert_int_equal(-EINVAL, iopf_poller_move(other, one.iommu, 0)));
	SAYS("has no queue 5", assert_int_equal(-EINVAL, iopf_poller_move(other, one.iommu, 5)));
	assert_int_equal(0, iopf_poller_destroy(other));
}

static struct {
	_Atomic bool hold;	/* the fast handler does not return while set */
	_Atomic bool entered;
	_Atomic bool returned;
} held;

static enum iopf_verdict
hold_pass(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	held.entered = true;
	while (held.hold)
		usleep(100);
	held.returned = true;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void *
poll_once(void *poller)
{
	iopf_poll(poller);
	return NULL;
}

static void *
release_later(void *arg)
{
	(void)arg;
	usleep(50000);
	held.hold = false;
	return NULL;
}

/* Until then the poll thread uses the list of queues, and its handlers run. */
static void
a_queue_leaves_its_poller_after_the_pass(void **state)
{
	struct iopf_poller *other = iopf_poller_create(NULL);
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = hold_pass });
	pthread_t poll, release;

	(void)state;
	assert_int_equal(0, iopf_domain_attach(domain, one.dev, 3));
	for (unsigned int move = 0; move < 2; move++) {
		held.hold = true;
		held.entered = held.returned = false;
		one_put((struct iopf_event){ .addr = 0x1000, .sid = SID, .pasid = 3,
			.token = 1, .perm = IOPF_PERM_READ, .flags = IOPF_EVENT_STALL,
			.raw_id = 0x10 });
		assert_int_equal(0, pthread_create(&poll, NULL, poll_once, one.poller));
		while (!held.entered)
			usleep(100);
		assert_int_equal(0, pthread_create(&release, NULL, release_later, NULL));
		assert_int_equal(0, move ? iopf_poller_move(other, one.iommu, IOPF_QUEUE_EVENTS) :
				iopf_poller_remove(one.poller, one.iommu, IOPF_QUEUE_EVENTS));
		assert_true(held.returned);
		pthread_join(poll, NULL);
		pthread_join(release, NULL);
		assert_int_equal(0, move ? iopf_poller_move(one.poller, one.iommu,
				IOPF_QUEUE_EVENTS) :
				iopf_poller_add(one.poller, one.iommu, IOPF_QUEUE_EVENTS));
	}
	assert_int_equal(0, iopf_domain_detach(domain, one.dev, 3));
	assert_int_equal(0, iopf_domain_destroy(domain));
	assert_int_equal(0, iopf_poller_destroy(other));
}

/* A pass of a poll thread that shares its core with other work ends also under a flood. */
static void
a_pass_is_bounded_and_starves_no_queue(void **state)
{
	struct iopf_poller *poller = iopf_poller_create(&(struct iopf_poller_conf){
			.burst = 4, .bursts = 2 });

	(void)state;
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_add(poller, prg.iommu, IOPF_QUEUE_ALL));
	for (unsigned int i = 0; i < 100; i++) {
		/* A record of an unknown StreamID that needs no answer. */
		struct iopf_event ev = { .addr = 0x1000, .sid = UNKNOWN_SID,
			.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ };

		array_put(IOPF_QUEUE_EVENTS, &ev);
	}
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = 0x1000, .sid = SID,
		.pasid = IOPF_NO_PASID, .perm = IOPF_PERM_READ,
		.flags = IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST });
	assert_int_equal(8 + 1, iopf_poll(poller));
	assert_int_equal(1, hw.nb_out);
	for (unsigned int i = 1; i < 12; i++)
		assert_int_equal(8, iopf_poll(poller));
	assert_int_equal(4, iopf_poll(poller));
	assert_int_equal(0, iopf_poll(poller));
	assert_int_equal(0, iopf_poller_destroy(poller));
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
}

/*
 * 65,536 StreamIDs
 */

static void
faults_of_65536_stream_ids_reach_their_devices(void **state)
{
	const unsigned int nb_devs = 16, per_dev = 4096;
	static uint32_t sids[16][4096];
	struct topo_smmu *s;
	struct iopf_dev *devs[16];
	static uint64_t word;

	(void)state;
	topo_open(1, NULL);
	s = topo.smmu[0];
	assert_int_equal(0, iopf_domain_detach(topo.domain, s->dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_dev_remove(s->dev));
	for (unsigned int d = 0; d < nb_devs; d++) {
		for (unsigned int i = 0; i < per_dev; i++)
			sids[d][i] = i * nb_devs + d;
		devs[d] = iopf_dev_add(s->iommu, &(struct iopf_dev_conf){ .sids = sids[d],
				.nb_sids = per_dev, .ctx = s });
		assert_non_null(devs[d]);
		assert_int_equal(0, iopf_domain_attach(topo.domain, devs[d], IOPF_NO_PASID));
	}
	topo_poller(0, IOPF_IDLE_YIELD, 0);
	add(0, 0, IOPF_QUEUE_ALL);
	/* Each 257th StreamID; the first and the last too. */
	for (unsigned int sid = 0; sid < 65536; sid += 257) {
		struct smmuv3_model_dma *dma = smmuv3_model_dma_create(s->model,
				&(struct smmuv3_model_dma_conf){ .sid = sid });
		struct smmuv3_model_done done;
		unsigned int calls = s->calls;

		assert_int_equal(0, smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .addr = (uint64_t)sid << 12,
				.buf = &word, .len = sizeof(word) }));
		while (smmuv3_model_dma_poll(dma, &done, 1) == 0) {
			smmuv3_model_step(s->model, 64);
			iopf_poll(topo.pollers[0].poller);
		}
		assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
		assert_int_equal(calls + 1, s->calls);
		assert_int_equal(1, s->seen[sid]);
		smmuv3_model_dma_destroy(dma);
	}
	for (unsigned int d = 1; d < nb_devs; d++)
		assert_int_equal(0, iopf_dev_remove(devs[d]));
	s->dev = devs[0];
	topo_close();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(one_poller_serves_all_queues_of_several_smmus),
	cmocka_unit_test(each_smmu_has_a_poller),
	PRG_TEST(each_queue_has_a_poller),
	cmocka_unit_test(a_worker_serves_one_domain_or_some_or_all),
	ONE_TEST(the_domains_of_a_device_have_workers_of_their_own),
	cmocka_unit_test(queues_move_between_running_pollers_and_each_fault_is_handled_once),
	cmocka_unit_test(queues_move_between_sleeping_pollers_and_each_fault_is_handled_once),
	ONE_TEST(a_move_changes_which_poller_has_the_queue),
	ONE_TEST(a_queue_leaves_its_poller_after_the_pass),
	PRG_TEST(a_pass_is_bounded_and_starves_no_queue),
	cmocka_unit_test(faults_of_65536_stream_ids_reach_their_devices),
};
TEST_SUITE(topology, tests, NULL, NULL);
