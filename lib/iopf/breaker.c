/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include "attachment.h"
#include "breaker.h"
#include "cancel.h"
#include "domain.h"
#include "episode.h"
#include "iopf_log.h"
#include "quarantine.h"
#include "rcu.h"

struct iopf_breaker *
iopf_breaker_create(const struct iopf_storm_conf *conf)
{
	struct iopf_breaker *breaker = calloc(1, sizeof(*breaker));

	if (breaker == NULL)
		return NULL;
	bucket_init(&breaker->rate, rte_get_tsc_hz(), conf->max_rate, conf->max_rate);
	breaker->max_held = conf->max_held != 0 ? conf->max_held : UINT32_MAX;
	return breaker;
}

void
iopf_breaker_destroy(struct iopf_breaker *breaker)
{
	free(breaker);
}

static bool
breaker_trip(struct iopf_attachment *attachment)
{
	struct iopf_breaker *breaker = attachment->breaker;

	breaker->episode = iopf_episode_open(attachment, &breaker->first);
	breaker->has_opened = breaker->episode != 0;
	if (!breaker->has_opened)
		breaker->episode = iopf_episode_number(attachment);
	/* Both records of episodes are being read: the next fault trips. */
	if (breaker->episode == 0)
		return false;
	iopf_dev_count(attachment->dev, IOPF_DEV_STAT_TRIPS, 1);
	return true;
}

void
iopf_breaker_publish_trip(struct iopf_attachment *attachment)
{
	/* Release: with the acquire in iopf_breaker_serve(). */
	atomic_store_explicit(&attachment->breaker->state, IOPF_BREAKER_TRIPPED,
			memory_order_release);
	iopf_policy_want(&attachment->dev->policy);
}

bool
iopf_breaker_count(struct iopf_attachment *attachment, const struct iopf_fault *const *faults)
{
	struct iopf_breaker *breaker = attachment->breaker;
	uint64_t now = faults[0]->time;
	uint32_t held = 0;

	/* Acquire: with the release in breaker_close(). */
	if (atomic_load_explicit(&breaker->state, memory_order_acquire) != IOPF_BREAKER_CLOSED)
		return false;
	if (!(faults[0]->flags & IOPF_FAULT_PAGE_REQUEST))
		held = atomic_load_explicit(&breaker->held, memory_order_relaxed);
	if (held == 0 && bucket_is_full(&breaker->rate, now))
		breaker->first = *faults[0];
	if (bucket_take(&breaker->rate, now) && held < breaker->max_held)
		return false;
	return breaker_trip(attachment);
}

/* Accesses can abort instead of stalling. Of a nested domain a guest says which ones stall. */
static bool
can_set_stall(const struct iopf_attachment *attachment)
{
	const struct iopf_iommu *iommu = attachment->dev->iommu;

	return !iommu->info.stall_forced && iommu->driver->ops.stall_set != NULL &&
		attachment->domain->conf.parent == NULL;
}

/*
 * A fault trips it that comes while max_held are held. So one stall of the IOMMU is free then, and
 * the device's share does not end before.
 */
static void
warn_of_max_held(struct iopf_attachment *attachment)
{
	const struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	uint32_t all = dev->iommu->info.max_stalls, most = all - RTE_MAX(all / 8, 1u);
	char tail[IOPF_LOG_TAIL];
	uint64_t before;

	if (dev->limits.conf.stalls != 0)
		most = RTE_MIN(dev->limits.conf.stalls, all - 1);
	if (dev->conf.recover != IOPF_STALL || domain->storm.max_held <= most ||
			!iopf_log_take(&dev->log, &before))
		return;
	IOPF_LOG(WARNING, "%s: storm.max_held %u of %s is more than handlers can hold of the "
			"device%s, and does not trip the breaker: use at most %u%s", dev->name,
			domain->storm.max_held, domain->name, dev->limits.conf.stalls != 0 ? "" :
			" while another is attached", most, iopf_log_tail(tail, before));
}

int
iopf_breaker_prepare(struct iopf_attachment *attachment)
{
	const struct iopf_domain *domain = attachment->domain;
	struct iopf_dev *dev = attachment->dev;
	const struct iopf_iommu *iommu = dev->iommu;

	if (attachment->breaker == NULL)
		return 0;
	if (dev->conf.recover == IOPF_STALL && !can_set_stall(attachment) &&
			(!domain->storm.abort_device || iommu->driver->ops.dev_block == NULL)) {
		if (domain->conf.parent != NULL)
			IOPF_LOG(ERR, "%s: %s has a stall breaker, and a nested domain can only "
					"stall: set abort_device, or neither max_held nor max_rate",
					dev->name, domain->name);
		else
			IOPF_LOG(ERR, "%s: %s has a stall breaker, and \"%s\" can only stall: set "
					"abort_device to have it abort all accesses of the device, "
					"or neither max_held nor max_rate", dev->name,
					domain->name, iommu->name);
		return -ENOTSUP;
	}
	warn_of_max_held(attachment);
	return iopf_policy_join(&dev->policy);
}

/* Where accesses of the device stall: have them abort, or stall again. */
static int
breaker_switch(struct iopf_attachment *attachment, bool cut)
{
	struct iopf_breaker *breaker = attachment->breaker;
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;

	if (dev->conf.recover != IOPF_STALL)
		return 0;
	if (can_set_stall(attachment))
		return iommu->driver->ops.stall_set(iommu->priv, attachment->priv, !cut);
	if (breaker->blocks != cut)
		dev->nb_blocks += cut ? 1 : -1;
	breaker->blocks = cut;
	return cut ? iopf_dev_begin_block(dev) : iopf_dev_end_block(dev);
}

void
iopf_breaker_release(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	int ret;

	if (attachment->breaker == NULL || !attachment->breaker->blocks)
		return;
	ret = breaker_switch(attachment, false);
	if (ret == 0)
		return;
	/* The device's other PASIDs need it: iopf_dev_serve(). */
	IOPF_LOG_LIMITED(&dev->log, "%s: the block of its breaker could not be ended (%s): the "
			"accesses of all its PASIDs abort; the policy thread tries it again",
			dev->name, strerror(-ret));
	iopf_policy_want(&dev->policy);
}

static void
breaker_answer_faults(struct iopf_attachment *attachment)
{
	struct iopf_iommu *iommu = attachment->dev->iommu;

	if (attachment->breaker->blocks) {
		/* The stalls of all attachments have ended. */
		iopf_dev_answer_faults(attachment->dev);
		return;
	}
	if (!iopf_iommu_is_serving(iommu))
		return;
	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		iopf_queue_cancel(&iommu->queues[i], attachment, IOPF_CANCEL_DRAIN);
}

/*
 * What handlers hold is answered when accesses have begun to abort, so that no answer makes room
 * for another stall. A block ends the stalls itself, and an answer after it has no effect: they are
 * answered before it too.
 */
static bool
breaker_cut(struct iopf_attachment *attachment)
{
	struct iopf_breaker *breaker = attachment->breaker;
	char text[IOPF_PASID_TEXT];
	int ret;

	if (!can_set_stall(attachment))
		breaker_answer_faults(attachment);
	ret = breaker_switch(attachment, true);
	if (ret < 0) {
		IOPF_LOG_LIMITED(&attachment->dev->log, "%s: the driver could not end the stalls "
				"of %s (%s): its faults are refused", attachment->dev->name,
				iopf_pasid_text(text, attachment->pasid), strerror(-ret));
		return false;
	}
	breaker_answer_faults(attachment);
	breaker->cut_at = rte_rdtsc();
	atomic_store_explicit(&breaker->state, IOPF_BREAKER_CUT, memory_order_relaxed);
	return true;
}

/* The episode of the trip was re-armed; another one may be open since. */
static bool
breaker_is_rearmed(const struct iopf_attachment *attachment)
{
	return iopf_episode_number(attachment) != attachment->breaker->episode;
}

/* False: the episode of the trip was re-armed. */
static bool
breaker_read_episode(const struct iopf_attachment *attachment, struct iopf_episode *episode)
{
	int ret;

	iopf_rcu_read_lock();
	ret = iopf_episode_read(attachment, episode);
	iopf_rcu_read_unlock();
	/* Numbers only rise: if it is open now, what was read is of no other one. */
	return ret == 0 && !breaker_is_rearmed(attachment);
}

/* The episode was re-armed, or no fault has come for quiet_ms. */
static bool
breaker_is_over(const struct iopf_attachment *attachment, uint64_t now)
{
	const struct iopf_storm_conf *conf = &attachment->domain->storm;
	uint64_t last = attachment->breaker->cut_at;
	struct iopf_episode episode;

	if (conf->quiet_ms == 0 || !breaker_read_episode(attachment, &episode))
		return breaker_is_rearmed(attachment);
	if (episode.faults != 0 && (int64_t)(episode.counted_to - last) > 0)
		last = episode.counted_to;
	return (int64_t)(now - last) >= (int64_t)(rte_get_tsc_hz() / 1000 * conf->quiet_ms);
}

/*
 * Accesses stall again, then the episode is closed: aborted accesses from before are counted in it,
 * and not reported one by one. An episode that a fatal verdict has opened, before the trip or after
 * the re-arm, stays open: only iopf_domain_rearm() closes it.
 */
static bool
breaker_close(struct iopf_attachment *attachment)
{
	struct iopf_breaker *breaker = attachment->breaker;

	if (breaker_switch(attachment, false) < 0)
		return false;
	if (breaker->has_opened) {
		iopf_rcu_read_lock();
		iopf_episode_close(attachment, breaker->episode, NULL);
		iopf_rcu_read_unlock();
	}
	bucket_fill(&breaker->rate);
	/* Release: with the acquire in iopf_breaker_count(). */
	atomic_store_explicit(&breaker->state, IOPF_BREAKER_CLOSED, memory_order_release);
	return true;
}

bool
iopf_breaker_serve(struct iopf_attachment *attachment, uint64_t now, struct iopf_episode *episode,
		bool *has_tripped)
{
	struct iopf_breaker *breaker = attachment->breaker;

	*has_tripped = false;
	/* Acquire: with the release in iopf_breaker_publish_trip(). */
	switch ((enum iopf_breaker_state)atomic_load_explicit(&breaker->state,
			memory_order_acquire)) {
	case IOPF_BREAKER_CLOSED:
		return false;
	case IOPF_BREAKER_TRIPPED:
		*has_tripped = breaker_cut(attachment) && breaker_read_episode(attachment, episode);
		return true;
	case IOPF_BREAKER_CUT:
		return !breaker_is_over(attachment, now) || !breaker_close(attachment);
	}
	return false;
}

bool
iopf_domain_is_tripped(const struct iopf_domain *domain, const struct iopf_dev *dev,
		uint32_t pasid)
{
	const struct iopf_attachment *attachment;
	bool is_tripped = false;

	if (domain == NULL || dev == NULL) {
		rte_errno = EINVAL;
		return false;
	}
	iopf_rcu_read_lock();
	attachment = iopf_table_find(&dev->iommu->attached,
			iopf_attachment_key(dev->sids[0], pasid));
	if (attachment != NULL && attachment->domain == domain && attachment->breaker != NULL)
		/* Acquire: with the release in breaker_close(), after which accesses stall. */
		is_tripped = atomic_load_explicit(&attachment->breaker->state,
				memory_order_acquire) != IOPF_BREAKER_CLOSED;
	iopf_rcu_read_unlock();
	return is_tripped;
}
