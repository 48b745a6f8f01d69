/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Listeners of the soak. A thread reads two of the IOMMU for the whole round, one of them slowly
 * enough to lose records. Control threads open others, of one device each. Numbers only rise, and
 * at the end each event is in a record, or in a counter of those without one.
 */

#include <errno.h>
#include <unistd.h>

#include <rte_common.h>

#include "fire.h"
#include "iopf_listener.h"
#include "test.h"

#define BURST		32
#define MERGE_MS	1

static const struct iopf_listener_conf confs[FIRE_LISTENERS] = {
	{ .size = 64 },
	{ .size = 1024, .merge_ms = MERGE_MS, .rate = 5000 },
};

void
fire_listen_open(void)
{
	for (unsigned int i = 0; i < FIRE_LISTENERS; i++) {
		struct iopf_listener_conf conf = confs[i];

		conf.iommu = fire.iommu;
		fire.listener[i].listener = iopf_listener_open(&conf);
		assert_non_null(fire.listener[i].listener);
	}
}

/* Returns that of iopf_listener_read(). @p sid: of all records, or UINT32_MAX. */
static int
read_burst(struct fire_listener *l, uint32_t sid)
{
	struct iopf_record records[BURST];
	int n = iopf_listener_read(l->listener, records, BURST);

	for (int i = 0; i < n; i++) {
		const struct iopf_record *r = &records[i];

		FIRE_CHECK(r->seq >= l->next, "number %llu after %llu", (unsigned long long)r->seq,
				(unsigned long long)l->next - 1);
		FIRE_CHECK(r->count > 0, "%llu", (unsigned long long)r->seq);
		l->gaps += r->seq - l->next;
		l->next = r->seq + 1;
		l->read++;
		if (r->flags & IOPF_RECORD_LOST) {
			l->lost++;
			continue;
		}
		l->events += r->count;
		FIRE_CHECK(sid == UINT32_MAX || r->sid == sid, "SID %u for a listener of SID %u",
				r->sid, sid);
	}
	return n;
}

void *
fire_listen(void *arg)
{
	RTE_SET_USED(arg);
	while (!atomic_load(&fire.stop_responders)) {
		for (unsigned int i = 0; i < FIRE_LISTENERS; i++) {
			int n = read_burst(&fire.listener[i], UINT32_MAX);

			FIRE_CHECK(n >= 0, "%d", n);
		}
		usleep(fire_pick(100) == 0 ? 5000 : fire_pick(300));
	}
	return NULL;
}

static void
check_listener(const struct fire_listener *l)
{
	const uint64_t events = iopf_listener_stat(l->listener, IOPF_LISTENER_STAT_EVENTS);
	const uint64_t without = iopf_listener_stat(l->listener, IOPF_LISTENER_STAT_FULL) +
		iopf_listener_stat(l->listener, IOPF_LISTENER_STAT_LIMITED);
	const uint64_t losses = iopf_listener_stat(l->listener, IOPF_LISTENER_STAT_LOSSES);

	FIRE_CHECK(events == l->events + without, "%llu events, %llu read, %llu without a record",
			(unsigned long long)events, (unsigned long long)l->events,
			(unsigned long long)without);
	/* A loss is a gap and a record, or a gap of two. Those after the last record are not seen. */
	FIRE_CHECK(l->gaps + l->lost <= without + 2 * losses && l->lost <= losses,
			"gaps of %llu, %llu records of losses; %llu without a record, %llu losses",
			(unsigned long long)l->gaps, (unsigned long long)l->lost,
			(unsigned long long)without, (unsigned long long)losses);
	FIRE_CHECK(l->read == iopf_listener_stat(l->listener, IOPF_LISTENER_STAT_READ), "%llu",
			(unsigned long long)l->read);
}

void
fire_listen_close(void)
{
	usleep(2 * MERGE_MS * 1000);
	for (unsigned int i = 0; i < FIRE_LISTENERS; i++) {
		struct fire_listener *l = &fire.listener[i];

		while (read_burst(l, UINT32_MAX) > 0)
			;
		check_listener(l);
		FIRE_CHECK(iopf_listener_close(l->listener) == 0, "%u", i);
	}
}

/* The device may be removed meanwhile. */
void
fire_listen_to_dev(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	struct fire_listener l = { .listener = NULL };
	uint32_t sid = d->fn.sid;
	int n = 0;

	pthread_rwlock_rdlock(&d->lock);
	l.listener = iopf_listener_open(&(struct iopf_listener_conf){ .dev = d->fn.dev,
			.size = 16, .merge_ms = fire_pick(2) });
	pthread_rwlock_unlock(&d->lock);
	FIRE_CHECK(l.listener != NULL, "SID %u", sid);
	for (unsigned int i = 0; n >= 0 && i < 20; i++) {
		n = read_burst(&l, sid);
		usleep(fire_pick(200));
	}
	FIRE_CHECK(n >= 0 || n == -ENODEV, "%d", n);
	FIRE_CHECK(iopf_listener_close(l.listener) == 0, "SID %u", sid);
	fire_count(&fire.n.listened);
}
