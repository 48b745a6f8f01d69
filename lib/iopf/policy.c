/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stddef.h>

#include "call.h"
#include "dev.h"
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

bool
iopf_dev_serve(struct iopf_policy_client *client, uint64_t now)
{
	struct iopf_dev *dev = RTE_PTR_SUB(client, offsetof(struct iopf_dev, policy));
	struct iopf_quarantine_note note = { .is_due = false };
	bool active = false;

	/* See policy_thread.h: never wait for this lock. */
	if (pthread_mutex_trylock(&dev->lock) != 0)
		return true;
	if (!dev->deleted)
		active = iopf_quarantine_serve(dev, now, &note);
	pthread_mutex_unlock(&dev->lock);
	quarantine_tell(dev, &note);
	return active;
}
