/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 7, report first, for page requests; and episodes that two poll threads count in while
 * other threads open and re-arm them.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_poller.h"
#include "prg_rig.h"
#include "test.h"

#define RACE_SID	3
#define RACE_FAULTS	30000

static unsigned int lost_calls;

static void
on_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	lost_calls++;
}

static int
setup(void **state)
{
	prg_setup(state);
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, 1));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev, 2));
	assert_int_equal(0, iopf_domain_detach(prg.domain, prg.dev2, 1));
	assert_int_equal(0, iopf_domain_destroy(prg.domain));
	prg.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = prg_fast,
			.lost = on_lost,
			.storm = &(struct iopf_storm_conf){ .report_first = true } });
	assert_non_null(prg.domain);
	assert_int_equal(0, iopf_domain_attach(prg.domain, prg.dev, 1));
	prg.verdict = IOPF_ANSWER(IOPF_INVALID);
	lost_calls = 0;
	return 0;
}

static void
groups_after_the_first_fatal_one_are_counted_not_handled(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	prg_put_group(SID, 1, 1, 2);
	prg_put_group(SID, 1, 2, 3);
	prg_put_group(SID, 1, 3, 1);
	prg_poll_all();
	assert_int_equal(1, prg.called);
	assert_int_equal(3, hw.nb_out);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(IOPF_INVALID, hw.out[i].answer.code);
		assert_int_equal(i + 1, hw.out[i].answer.token);
		assert_true(hw.out[i].answer.page_request);
	}
	assert_int_equal(0, iopf_domain_rearm(prg.domain, prg.dev, 1, &episode));
	assert_int_equal(IOPF_FAULT_PAGE_REQUEST, episode.first.flags);
	assert_int_equal(1, episode.first.token);
	assert_int_equal(0x1000, episode.first.addr);
	assert_int_equal(IOPF_QUEUE_REQUESTS, episode.first.queue);
	assert_int_equal(2, episode.faults);
	assert_int_equal(4, episode.requests);
	assert_int_equal(0, episode.stalls);
	assert_int_equal(0, episode.aborted);
	assert_int_equal(3, episode.nb_pages);
	assert_int_equal(0x1000, episode.pages[0].addr);
	assert_int_equal(2, episode.pages[0].faults);
	assert_int_equal(1, episode.pages[2].faults);
	assert_int_equal(0x3000, episode.highest);
	prg_put_group(SID, 1, 4, 1);
	prg_poll_all();
	assert_int_equal(2, prg.called);
}

/* The device's aborted accesses are in the event queue, its page requests in the other. */
static void
an_episode_has_the_faults_of_both_queues(void **state)
{
	static struct iopf_episode episode;

	(void)state;
	prg_put_group(SID, 1, 1, 1);
	prg_poll_all();
	prg_put_group(SID, 1, 2, 2);
	for (unsigned int i = 0; i < 3; i++)
		array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x2000 + 0x8000 * i,
				.sid = SID, .pasid = 1, .raw_id = 0x10 });
	prg_poll_all();
	assert_int_equal(0, prg.reported);
	assert_int_equal(0, iopf_domain_rearm(prg.domain, prg.dev, 1, &episode));
	assert_int_equal(4, episode.faults);
	assert_int_equal(3, episode.aborted);
	assert_int_equal(2, episode.requests);
	assert_int_equal(4, episode.nb_pages);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(episode.pages[i].addr == 0x2000 ? 2 : 1,
				episode.pages[i].faults);
	assert_int_equal(0x1000, episode.lowest);
	assert_int_equal(0x12000, episode.highest);
}

static void
lost_is_not_called_in_an_episode(void **state)
{
	(void)state;
	prg_put(SID, 1, 1, 0x1000, 0);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(1, lost_calls);
	prg_put_group(SID, 1, 2, 1);
	prg_put(SID, 1, 3, 0x1000, 0);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(1, lost_calls);
	assert_int_equal(0, iopf_domain_rearm(prg.domain, prg.dev, 1, NULL));
	prg_put(SID, 1, 4, 0x1000, 0);
	prg_put_mark(0, 0, IOPF_EVENT_LOST);
	prg_poll_all();
	assert_int_equal(2, lost_calls);
}

/*
 * The race: a poll thread for each queue, two threads that re-arm, one that answers taken faults
 * and one that reads.
 */

static struct race {
	struct iopf_domain *domain;
	struct iopf_poller *pollers[2];
	_Atomic uint64_t handled;		/* faults given to the handler */
	_Atomic uint64_t counted, episodes;
	_Atomic uint64_t taken;			/* id of a taken fault; 0: none */
	_Atomic bool stop;
	_Atomic unsigned int wrong;
} race;

static enum iopf_verdict
race_handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	uint64_t n = race.handled++, none = 0;

	(void)domain;
	(void)ctx;
	if (n % 8 == 5 && atomic_compare_exchange_strong(&race.taken, &none, group->id))
		return IOPF_TAKEN;
	return IOPF_ANSWER(n % 4 == 0 ? IOPF_INVALID : IOPF_SUCCESS);
}

static void *
race_poll(void *poller)
{
	iopf_poller_run(poller);
	return NULL;
}

static void
episode_check(const struct iopf_episode *episode)
{
	uint64_t pages = episode->other_faults;

	for (uint32_t i = 0; i < episode->nb_pages; i++)
		pages += episode->pages[i].faults;
	/* Each group has two requests. */
	if (episode->faults != episode->stalls + episode->aborted + episode->requests / 2 ||
			pages != episode->stalls + episode->aborted + episode->requests ||
			episode->first.sid != RACE_SID || (episode->faults != 0 &&
			episode->lowest > episode->highest))
		race.wrong++;
	race.counted += episode->faults;
	race.episodes++;
}

static void *
race_rearm(void *arg)
{
	struct iopf_episode episode;

	while (!race.stop) {
		if (iopf_domain_rearm(race.domain, arg, 1, &episode) == 0)
			episode_check(&episode);
		usleep(20);
	}
	return NULL;
}

static void *
race_respond(void *arg)
{
	(void)arg;
	while (!race.stop) {
		uint64_t id = race.taken;

		if (id == 0 || iopf_group_respond(id, IOPF_INVALID) < 0)
			continue;	/* the handler may not have returned */
		race.taken = 0;
	}
	return NULL;
}

static void *
race_read(void *arg)
{
	struct iopf_episode episode;

	while (!race.stop)
		if (iopf_domain_episode(race.domain, arg, 1, &episode) == 0 &&
				(episode.first.sid != RACE_SID ||
				 episode.nb_pages > IOPF_EPISODE_PAGES))
			race.wrong++;
	return NULL;
}

static void
each_fault_is_handled_or_counted_in_one_episode(void **state)
{
	unsigned int n = RACE_FAULTS * test_scale(), stalls = 0, groups = 0, aborted = 0;
	struct iopf_episode episode;
	pthread_t threads[6];
	struct iopf_dev *dev;

	(void)state;
	race = (struct race){ 0 };
	dev = prg_add_dev(RACE_SID, (struct iopf_dev_conf){ .pri_requests = 4 });
	assert_non_null(dev);
	race.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = race_handler,
			.storm = &(struct iopf_storm_conf){ .report_first = true } });
	assert_int_equal(0, iopf_domain_attach(race.domain, dev, 1));
	assert_int_equal(0, iopf_poller_remove(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
	for (unsigned int i = 0; i < 2; i++) {
		race.pollers[i] = iopf_poller_create(NULL);
		assert_int_equal(0, iopf_poller_add(race.pollers[i], prg.iommu, i));
		pthread_create(&threads[i], NULL, race_poll, race.pollers[i]);
	}
	pthread_create(&threads[2], NULL, race_rearm, dev);
	pthread_create(&threads[3], NULL, race_rearm, dev);
	pthread_create(&threads[4], NULL, race_respond, NULL);
	pthread_create(&threads[5], NULL, race_read, dev);
	/* On a busy machine the threads that re-arm may not have run yet. */
	while (stalls + groups + aborted < n || (race.episodes < 2 &&
			stalls + groups + aborted < 100 * n)) {
		uint16_t index = groups % 512;

		if (hw.q[0].prod - hw.q[0].cons < QUEUE / 2) {
			bool stall = stalls <= aborted;

			array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .sid = RACE_SID,
					.addr = 0x1000 * (stalls % 80), .pasid = 1,
					.flags = stall ? IOPF_EVENT_STALL : 0 });
			stalls += stall;
			aborted += !stall;
		}
		if (hw.q[1].prod - hw.q[1].cons < QUEUE / 2) {
			prg_put(RACE_SID, 1, index, 0x1000 * (groups % 90), 0);
			prg_put(RACE_SID, 1, index, 0x1000 * (groups % 70), LAST);
			groups++;
		}
	}
	for (unsigned int i = 0; i < 100000 && (hw.q[0].prod != hw.q[0].cons ||
			hw.q[1].prod != hw.q[1].cons || race.taken != 0 ||
			iopf_domain_pending(race.domain) != 0); i++)
		usleep(100);
	for (unsigned int i = 0; i < 2; i++)
		iopf_poller_stop(race.pollers[i]);
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	race.stop = true;
	for (unsigned int i = 2; i < 6; i++)
		pthread_join(threads[i], NULL);
	if (iopf_domain_rearm(race.domain, dev, 1, &episode) == 0)
		episode_check(&episode);
	assert_int_equal(0, race.wrong);
	assert_true(race.episodes > 1);
	assert_int_equal(race.counted, iopf_domain_stat(race.domain, IOPF_STAT_COUNTED));
	assert_int_equal(race.episodes, iopf_domain_stat(race.domain, IOPF_STAT_EPISODES));
	/* Aborted accesses outside of an episode are reported. */
	assert_int_equal(stalls + groups + aborted, race.handled + race.counted + prg.reported +
			prg_stat(IOPF_IOMMU_STAT_DUPLICATES) / 2);
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_domain_destroy(race.domain));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_poller_destroy(race.pollers[i]));
	assert_int_equal(0, iopf_poller_add(prg.poller, prg.iommu, IOPF_QUEUE_ALL));
}

#define GROUPS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, prg_teardown)

static const struct CMUnitTest tests[] = {
	GROUPS_TEST(groups_after_the_first_fatal_one_are_counted_not_handled),
	GROUPS_TEST(an_episode_has_the_faults_of_both_queues),
	GROUPS_TEST(lost_is_not_called_in_an_episode),
	GROUPS_TEST(each_fault_is_handled_or_counted_in_one_episode),
};
TEST_SUITE(report_first_groups, tests, NULL, NULL);
