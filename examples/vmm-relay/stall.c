/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Faults of the guest's devices: records with the guest's StreamID and STAG. */

#include <errno.h>

#include <iopf_handler.h>

#include "relay_priv.h"
#include "smmuv3_spec.h"

/* A stall's record waits for room in the guest's queue. */
static void
show_stall(struct relay *r, struct relay_stall *s)
{
	s->shown = smmuv3_front_event(r->front, s->record) != -EAGAIN;
}

void
relay_show_stalls(struct relay *r)
{
	for (unsigned int i = 0; i < RELAY_STALLS; i++)
		if (r->stall[i].used && !r->stall[i].shown)
			show_stall(r, &r->stall[i]);
}

enum iopf_verdict
relay_handle_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_fault *fault = group->faults[0];
	struct relay_dev *d = ctx;
	struct relay *r = d->relay;
	unsigned int stag = 0;

	(void)domain;
	/* On a thread that waits for the queue: the access is repeated, and faults again. */
	if (!relay_is_on_thread(r))
		return IOPF_ANSWER(IOPF_SUCCESS);
	if (fault->flags & IOPF_FAULT_PAGE_REQUEST)
		return relay_handle_group(d, group);
	/* Stage 2 has all of the guest's memory: the guest's tables name an address outside. */
	if (fault->flags & IOPF_FAULT_STAGE2) {
		relay_report_stage2(d, fault);
		return IOPF_ANSWER(IOPF_INVALID);
	}
	while (stag < RELAY_STALLS && r->stall[stag].used)
		stag++;
	/* A guest that leaves answers to the deadline uses up its own STAGs. */
	if (stag == RELAY_STALLS)
		return IOPF_ANSWER(IOPF_INVALID);
	r->stall[stag] = (struct relay_stall){ .used = true, .dev = d, .group = group->id };
	relay_make_record(d, fault, r->stall[stag].record);
	r->stall[stag].record[1] |= SMMUV3_EVT1_STALL | SMMUV3_PUT(SMMUV3_EVT1_STAG, stag);
	show_stall(r, &r->stall[stag]);
	r->stats.stalls++;
	return IOPF_TAKEN;
}

/* The library refuses an answer to what is answered already: by its deadline, or by a detach. */
static void
answer(struct relay_stall *s, enum iopf_code code)
{
	iopf_group_respond(s->group, code);
	s->used = false;
}

/* A RESUME of no stall, or of another device's, has no effect [4.6.1]. */
void
relay_resume(struct relay *r, const struct relay_dev *dev, uint16_t stag, enum iopf_code code)
{
	struct relay_stall *s = stag < RELAY_STALLS ? &r->stall[stag] : NULL;

	if (s == NULL || dev == NULL || !s->used || !s->shown || s->dev != dev) {
		r->stats.refused++;
		return;
	}
	answer(s, code);
	r->stats.resumes++;
}

void
relay_end_stalls(struct relay *r, const struct relay_dev *dev)
{
	for (unsigned int i = 0; i < RELAY_STALLS; i++)
		if (r->stall[i].used && (dev == NULL || r->stall[i].dev == dev))
			answer(&r->stall[i], IOPF_INVALID);
}

unsigned int
relay_count_stalls(const struct relay *r)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < RELAY_STALLS; i++)
		n += r->stall[i].used;
	return n;
}
