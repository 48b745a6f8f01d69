/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Stalls and page requests on the same pages, read by a poll thread for each queue, answered by the
 * handler, a worker and two other threads, while a device is detached and attached: each fault is
 * answered exactly once, and none with success before its page is mapped.
 */

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "iopf_handler.h"
#include "iopf_poller.h"
#include "join_rig.h"
#include "test.h"

#define NB_FAULTS	40000
#define TOKENS		16	/* of each device */
#define BOXES		32
#define WINDOW		4	/* pages that fault at a time */

static struct race {
	struct iopf_domain *domain;
	struct iopf_poller *pollers[2];
	_Atomic uint64_t boxes[BOXES];	/* ids of taken groups; 0: none */
	_Atomic uint64_t pages[BOXES];
	/* By page: one more than the answers there were when it was mapped; 0: it is not. */
	_Atomic uint32_t *mapped;
	_Atomic bool stop;
	_Atomic unsigned int full, verdicts;
} race;

static void
map_page(uint64_t page)
{
	uint32_t none = 0;

	atomic_compare_exchange_strong(&race.mapped[page], &none, hw.nb_out + 1);
}

static enum iopf_verdict
take(const struct iopf_group *group)
{
	uint64_t none = 0, busy = 1;

	for (unsigned int i = 0; i < BOXES; i++) {
		none = 0;
		if (!atomic_compare_exchange_strong(&race.boxes[i], &none, busy))
			continue;
		race.pages[i] = group->faults[0]->addr >> 12;
		race.boxes[i] = group->id;
		return IOPF_TAKEN;
	}
	race.full++;
	map_page(group->faults[0]->addr >> 12);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static enum iopf_verdict
race_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	uint64_t page = group->faults[0]->addr >> 12;

	(void)domain;
	(void)ctx;
	switch (race.verdicts++ % 6) {
	case 0:
		map_page(page);
		return IOPF_ANSWER(IOPF_SUCCESS);
	case 1:
		map_page(page);
		iopf_group_invalidate(group, &(struct iopf_inv){ .addr = page << 12,
				.size = 0x1000 });
		return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
	case 2:
		return IOPF_DEFER;
	default:
		return take(group);
	}
}

static enum iopf_verdict
race_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)ctx;
	if (race.verdicts++ % 2 == 0)
		return take(group);
	map_page(group->faults[0]->addr >> 12);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void *
race_respond(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!race.stop) {
		unsigned int i = rand_r(&seed) % BOXES;
		uint64_t id = race.boxes[i];

		if (id <= 1) {
			sched_yield();
			continue;
		}
		map_page(race.pages[i]);
		/* It may have been cancelled, or another thread was first. */
		iopf_group_respond(id, IOPF_SUCCESS);
		atomic_compare_exchange_strong(&race.boxes[i], &id, 0);
	}
	return NULL;
}

static void *
race_detach(void *arg)
{
	(void)arg;
	while (!race.stop) {
		assert_int_equal(0, iopf_domain_detach(race.domain, join.b, 1));
		sched_yield();
		assert_int_equal(0, iopf_domain_attach(race.domain, join.b, 1));
	}
	return NULL;
}

static void *
race_poll(void *poller)
{
	iopf_poller_run(poller);
	return NULL;
}

static void
joined_faults_are_answered_once_and_not_before_their_page(void **state)
{
	unsigned int n = NB_FAULTS * test_scale(), put = 0, seen = 0, successes = 0;
	/* By kind (stalls of A and B, page requests) and token: page + 1 of an outstanding fault. */
	uint64_t waiting[3][TOKENS] = { { 0 } };
	static const uint32_t sids[] = { SID_A, SID_B, SID };
	unsigned int seed = test_seed("pages and tokens");
	pthread_t threads[5];

	(void)state;
	memset(&race, 0, sizeof(race));
	race.mapped = calloc(n, sizeof(race.mapped[0]));
	join_close_domain();
	race.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = race_fast,
			.deferred = race_deferred, .worker = join.worker,
			.storm = &(struct iopf_storm_conf){ .join_log2 = 12 } });
	join.domain = race.domain;
	assert_int_equal(0, iopf_domain_attach(race.domain, prg.dev, 3));
	join_add_devs();
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	for (unsigned int i = 0; i < 2; i++) {
		race.pollers[i] = iopf_poller_create(NULL);
		assert_int_equal(0, iopf_poller_add(race.pollers[i], prg.iommu, i));
		pthread_create(&threads[i], NULL, race_poll, race.pollers[i]);
		pthread_create(&threads[2 + i], NULL, race_respond, (void *)(uintptr_t)(i + 1));
	}
	pthread_create(&threads[4], NULL, race_detach, NULL);
	while (seen < n) {
		pthread_mutex_lock(&hw.lock);
		for (; seen < hw.nb_out; seen++) {
			const struct iopf_answer *answer = &hw.out[seen % QUEUE].answer;
			unsigned int kind = answer->page_request ? 2 : answer->sid == SID_B;
			uint64_t *page = &waiting[kind][answer->token];

			assert_true(*page != 0);
			if (answer->code == IOPF_SUCCESS) {
				uint32_t mapped = race.mapped[*page - 1];

				assert_true(mapped != 0 && mapped <= seen + 1);
				successes++;
			} else {
				assert_int_equal(IOPF_INVALID, answer->code);
			}
			*page = 0;
		}
		pthread_mutex_unlock(&hw.lock);
		if (put == n) {
			sched_yield();
			continue;
		}
		for (unsigned int i = 0; i < 8 && put < n; i++) {
			unsigned int kind = rand_r(&seed) % 3, token = rand_r(&seed) % TOKENS;
			uint64_t page = put / 16 + rand_r(&seed) % WINDOW;

			if (waiting[kind][token] != 0)
				continue;
			waiting[kind][token] = page + 1;
			put++;
			if (kind == 2)
				prg_put(SID, 3, token, page << 12, LAST);
			else
				join_put_stall(sids[kind], token, page << 12, IOPF_PERM_READ);
		}
	}
	race.stop = true;
	for (unsigned int i = 2; i < 5; i++)
		pthread_join(threads[i], NULL);
	for (unsigned int i = 0; i < 2; i++) {
		iopf_poller_stop(race.pollers[i]);
		pthread_join(threads[i], NULL);
	}
	assert_int_equal(n, hw.nb_out);
	join_await_counts();
	assert_true(successes > 0);
	assert_true(join_stat(IOPF_STAT_JOINED) > 0);
	assert_int_equal(0, prg_stat(IOPF_IOMMU_STAT_NO_SLOT));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_poller_destroy(race.pollers[i]));
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	free(race.mapped);
}

static const struct CMUnitTest tests[] = {
	JOIN_TEST(joined_faults_are_answered_once_and_not_before_their_page),
};
TEST_SUITE(join_races, tests, NULL, NULL);
