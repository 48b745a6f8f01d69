/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Policies of the soak: breakers and episodes of spaces, limits and quarantines of devices, and
 * handlers that are replaced.
 */

#include <errno.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "fire.h"
#include "test.h"

/*
 * Spaces
 */

static void
on_tripped(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	const struct fire_space *s = ctx;

	RTE_SET_USED(domain);
	/* A detach waits for this callback. */
	fire_check_attached(s, dev, pasid);
	FIRE_CHECK(episode->nb_pages <= IOPF_EPISODE_PAGES, "%u", episode->nb_pages);
	fire_count(&fire.n.trips);
}

/*
 * A space of each kind, so that each round has all, and spaces without a policy. The calm moment
 * trips no breaker: its handlers hold no fault, and it has fewer than a thousand faults for a seat.
 */
const struct iopf_storm_conf *
fire_choose_storm(struct fire_space *s, struct iopf_storm_conf *storm)
{
	*storm = (struct iopf_storm_conf){ .tripped = on_tripped, .ctx = s };
	switch (s->index) {
	case 0:
	case FIRE_STAGE1:	/* of stage 2 */
		storm->max_held = 1 + fire_pick(8);
		storm->quiet_ms = fire_pick(2) != 0 ? 1 + fire_pick(5) : 0;
		break;
	case FIRE_NESTED:	/* a breaker would block the device */
		storm->join_log2 = 12;
		storm->tripped = NULL;
		break;
	case 1:
		storm->report_first = true;
		storm->join_log2 = 12;
		storm->tripped = NULL;
		break;
	case 2:
		storm->join_log2 = 12 + fire_pick(4);
		storm->max_rate = 2000;
		storm->quiet_ms = 1 + fire_pick(20);
		break;
	default:
		return NULL;
	}
	return storm;
}

/* Any thread may call it, also while the seat is detached or attached elsewhere. */
void
fire_rearm(void)
{
	unsigned int pick = fire_pick(4);
	struct fire_space *s = &fire.space[pick < 3 ? pick : FIRE_STAGE1];
	struct iopf_episode episode;

	pthread_rwlock_rdlock(&s->life);
	for (unsigned int i = 0; i < FIRE_DEVS; i++) {
		struct fire_dev *d = &fire.dev[i];

		/* A thread that waits with this lock for a space would wait for this one. */
		if (pthread_rwlock_tryrdlock(&d->lock) != 0)
			continue;
		for (unsigned int k = 0; k < FIRE_SEATS; k++) {
			int ret = fire_pick(2) != 0 ?
				iopf_domain_episode(s->domain, d->fn.dev, d->seat[k].pasid, NULL) :
				-ENOENT;

			FIRE_CHECK(ret == 0 || ret == -ENOENT, "%d", ret);
			ret = iopf_domain_rearm(s->domain, d->fn.dev, d->seat[k].pasid, &episode);
			FIRE_CHECK(ret == 0 || ret == -ENOENT, "%d", ret);
			if (ret != 0)
				continue;
			FIRE_CHECK(episode.stalls + episode.aborted <= episode.faults &&
					episode.lowest <= episode.highest, "%llu faults",
					(unsigned long long)episode.faults);
			fire_count(&fire.n.rearms);
		}
		pthread_rwlock_unlock(&d->lock);
	}
	pthread_rwlock_unlock(&s->life);
}

void
fire_set_handler(void)
{
	struct fire_space *s = &fire.space[fire_pick(FIRE_OWN)];
	uint64_t begin = rte_rdtsc();
	struct fire_ctx *old, *next;
	int ret;

	pthread_rwlock_rdlock(&s->life);
	pthread_mutex_lock(&s->memory);
	old = &s->ctx[s->ctx_used];
	s->ctx_used = 1 - s->ctx_used;
	next = &s->ctx[s->ctx_used];
	atomic_store(&next->retired, false);
	do {
		ret = iopf_domain_set_handler(s->domain, fire_handle, fire_handle_deferred, next);
		if (fire_is_late(begin))
			fire_hang("a change of handlers");
	} while (ret == -ETIMEDOUT);
	FIRE_CHECK(ret == 0, "%u: %d", s->index, ret);
	while (s->nested && iopf_domain_set_handler(s->parent, fire_handle, fire_handle_deferred,
			next) == -ETIMEDOUT)
		if (fire_is_late(begin))
			fire_hang("a change of a parent's handlers");
	atomic_store(&old->retired, true);
	pthread_mutex_unlock(&s->memory);
	pthread_rwlock_unlock(&s->life);
	fire_count(&fire.n.handlers);
}

/*
 * Devices
 */

static void
on_quarantined(struct iopf_dev *dev, uint32_t ms, void *ctx)
{
	struct fire_dev *d = ctx;

	FIRE_CHECK(iopf_dev_ctx(dev) == d, "%s", iopf_dev_name(dev));
	atomic_store(&d->is_back, ms == 0);
	fire_count(ms != 0 ? &fire.n.rate_begins : &fire.n.rate_ends);
}

void
fire_choose_rated(void)
{
	unsigned int other = fire_pick(FIRE_DEVS - FIRE_NB_PRI);

	fire.dev[FIRE_FIRST_PRI + fire_pick(FIRE_NB_PRI)].rated = true;
	fire.dev[other < FIRE_FIRST_PRI ? other : other + FIRE_NB_PRI].rated = true;
}

void
fire_note_fault(struct fire_dev *d, const struct iopf_fault *fault)
{
	if (!atomic_load_explicit(&d->is_back, memory_order_relaxed) ||
			!atomic_exchange(&d->is_back, false))
		return;
	fire_count(fault->flags & IOPF_FAULT_PAGE_REQUEST ? &fire.n.pri_back :
			&fire.n.stalls_back);
}

const struct iopf_dev_limits *
fire_choose_limits(struct fire_dev *d, struct iopf_dev_limits *limits)
{
	if (atomic_load(&fire.gentle))
		return NULL;
	*limits = (struct iopf_dev_limits){ .ctx = d };
	/* Numbers that the devices pass soon, so that no round lasts longer for it. */
	if (d->rated && fire_pick(4) != 0) {
		limits->quarantine_rate = d->kind == FIRE_PRI ? 20 + fire_pick(200) :
				100 + fire_pick(900);
		limits->quarantine_ms = 1 + fire_pick(3);
		limits->quarantined = on_quarantined;
		return limits;
	}
	switch (fire_pick(8)) {
	case 0:
		limits->stalls = 1 + fire_pick(16);
		break;
	case 1:
		limits->rate = 10000;
		limits->burst = 1 + fire_pick(100);
		break;
	case 2:
		limits->quarantine_rate = 10000;
		limits->quarantine_ms = 1 + fire_pick(3);
		limits->quarantined = on_quarantined;
		break;
	default:
		return NULL;
	}
	return limits;
}

/* While blocks is odd, each access that is submitted aborts: see end_dma(). */
void
fire_quarantine(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	uint64_t begin = rte_rdtsc();
	int ret;

	pthread_rwlock_rdlock(&d->lock);
	pthread_mutex_lock(&d->quarantine);
	do {
		ret = iopf_dev_quarantine(d->fn.dev);
		if (fire_is_late(begin))
			fire_hang("a quarantine");
	} while (ret == -ETIMEDOUT);
	FIRE_CHECK(ret == 0 && iopf_dev_is_quarantined(d->fn.dev), "SID %u: %d", d->fn.sid, ret);
	atomic_fetch_add(&d->blocks, 1);
	usleep(fire_pick(5000));
	atomic_fetch_add(&d->blocks, 1);
	/* Page requests may be off for another reason, or a group may wait for its handler. */
	do {
		ret = iopf_dev_release(d->fn.dev);
		if (fire_is_late(begin))
			fire_hang("the end of a quarantine");
	} while (ret == -ETIMEDOUT && iopf_dev_is_quarantined(d->fn.dev));
	FIRE_CHECK(ret == 0 || (d->kind == FIRE_PRI && (ret == -ETIMEDOUT || ret == -EIO)),
			"SID %u: %d", d->fn.sid, ret);
	if (ret == 0)
		fire_count(&fire.n.releases);
	pthread_mutex_unlock(&d->quarantine);
	pthread_rwlock_unlock(&d->lock);
	fire_count(&fire.n.quarantines);
}
