/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stddef.h>

#include "attachment.h"
#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "policy.h"
#include "quarantine.h"

static void
quarantine_tell(struct iopf_dev *dev, const struct iopf_quarantine_note *note)
{
	const struct iopf_dev_limits *conf = &dev->limits.conf;

	if (!note->is_due || conf->quarantined == NULL)
		return;
	iopf_self.in_handler = true;
	conf->quarantined(dev, note->ms, conf->ctx);
	iopf_self.in_handler = false;
}

/* The callback has returned: a detach of the attachment may go on. */
static void
told_release(struct iopf_dev *dev)
{
	if (dev->told == NULL)
		return;
	dev->told->busy = false;
	dev->told = NULL;
	pthread_cond_broadcast(&dev->settled);
}

/*
 * Serve the breakers of the device's attachments. *told: one of them has tripped, and its domain
 * has a callback for that; the others have their turn in the next tick. A detach waits while it is
 * busy.
 */
static bool
breakers_serve(struct iopf_dev *dev, uint64_t now, struct iopf_attachment **told,
		struct iopf_episode *episode)
{
	struct iopf_attachment *attachment;
	bool active = false, has_tripped;

	LIST_FOREACH(attachment, &dev->attachments, next) {
		if (attachment->breaker == NULL || attachment->state != IOPF_ATTACHED ||
				attachment->priv == NULL || attachment->busy)
			continue;
		active |= iopf_breaker_serve(attachment, now, episode, &has_tripped);
		if (!has_tripped || attachment->domain->storm.tripped == NULL)
			continue;
		*told = attachment;
		attachment->busy = true;
		dev->told = attachment;
		return true;
	}
	return active;
}

static void
trip_tell(struct iopf_attachment *attachment, const struct iopf_episode *episode)
{
	struct iopf_domain *domain = attachment->domain;

	iopf_self.in_handler = true;
	domain->storm.tripped(domain, attachment->dev, attachment->pasid, episode,
			domain->storm.ctx);
	iopf_self.in_handler = false;
}

bool
iopf_dev_serve(struct iopf_policy_client *client, uint64_t now)
{
	struct iopf_dev *dev = RTE_PTR_SUB(client, offsetof(struct iopf_dev, policy));
	struct iopf_quarantine_note note = { .is_due = false };
	struct iopf_attachment *told = NULL;
	struct iopf_episode episode;
	bool active = false;

	/* See policy_thread.h: never wait for this lock. */
	if (pthread_mutex_trylock(&dev->lock) != 0)
		return true;
	told_release(dev);
	if (!dev->deleted) {
		active = iopf_quarantine_serve(dev, now, &note);
		active |= breakers_serve(dev, now, &told, &episode);
	}
	pthread_mutex_unlock(&dev->lock);
	quarantine_tell(dev, &note);
	if (told != NULL)
		trip_tell(told, &episode);
	return active;
}
