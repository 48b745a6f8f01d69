/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stddef.h>

#include "attachment.h"
#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "iopf_log.h"
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

static bool
is_told(const struct iopf_dev *dev, const struct iopf_attachment *attachment)
{
	/* Acquire: with the release in iopf_dev_serve(), which does not use it any more. */
	return atomic_load_explicit(&dev->told, memory_order_acquire) == attachment;
}

bool
iopf_attachment_is_told(const struct iopf_attachment *attachment)
{
	return is_told(attachment->dev, attachment);
}

bool
iopf_attachment_is_in_use(const struct iopf_attachment *attachment)
{
	return attachment->busy || iopf_attachment_is_told(attachment);
}

int
iopf_attachment_wait(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	uint32_t pasid = attachment->pasid;
	char text[IOPF_PASID_TEXT];
	struct iopf_wait wait;
	bool told;

	if (attachment->busy) {
		pthread_cond_wait(&dev->settled, &dev->lock);
		return 0;
	}
	iopf_dev_wait_begin(dev, &wait);
	pthread_mutex_unlock(&dev->lock);
	while ((told = is_told(dev, attachment)) && !iopf_wait_is_over(&wait))
		iommu->driver->ops.wait(iommu->priv);
	pthread_mutex_lock(&dev->lock);
	if (!told)
		return 0;
	IOPF_LOG(ERR, "%s: the callback tripped of %s has not returned within wait_ms: nothing has "
			"changed; have it return, then try again", dev->name,
			iopf_pasid_text(text, pasid));
	return -ETIMEDOUT;
}

/*
 * Serve the breakers of the device's attachments. *told: one of them has tripped, and its domain
 * has a callback for that; the others have their turn in the next tick. A detach waits until it is
 * not told any more.
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
		atomic_store_explicit(&dev->told, attachment, memory_order_relaxed);
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
	if (!dev->deleted) {
		active = iopf_quarantine_serve(dev, now, &note);
		active |= breakers_serve(dev, now, &told, &episode);
		/* A block that could not be ended when its breaker was released. */
		active |= iopf_dev_end_block(dev) < 0;
	}
	pthread_mutex_unlock(&dev->lock);
	quarantine_tell(dev, &note);
	if (told != NULL) {
		trip_tell(told, &episode);
		/*
		 * Release: a detach may free the attachment. Not when this thread has the device's
		 * lock again: it may call another device's callback before that.
		 */
		atomic_store_explicit(&dev->told, NULL, memory_order_release);
	}
	return active;
}
