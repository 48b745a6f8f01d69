/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BREAKER_H
#define BREAKER_H

/*
 * The stall breaker of an attachment (iopf_policy.h).
 *
 *	CLOSED -> TRIPPED	the poll thread, at the fault that is past a limit: it opens an
 *				episode, in which this fault and the next ones are counted
 *	TRIPPED -> CUT		the policy thread: accesses abort instead of stalling, and what
 *				handlers hold is answered
 *	CUT -> CLOSED		the policy thread: the episode was re-armed, or no fault came for
 *				quiet_ms. Accesses stall again before the state changes. A fatal
 *				verdict may have opened the next episode by then, which stays open.
 *
 * Where the IOMMU can only stall, it blocks the whole device instead. The release of the attachment
 * ends that block; if it fails, the policy thread tries it again.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "attachment.h"
#include "bucket.h"
#include "iopf_policy.h"

enum iopf_breaker_state {
	IOPF_BREAKER_CLOSED,
	IOPF_BREAKER_TRIPPED,
	IOPF_BREAKER_CUT,
};

struct iopf_breaker {
	struct iopf_bucket rate;
	uint32_t max_held;		/* UINT32_MAX: no limit */
	/*
	 * Stalls that outlive their pass, as iopf_dev.held: counted in the gate, by the verdict.
	 */
	_Atomic uint32_t held;
	_Atomic uint32_t state;		/* enum iopf_breaker_state */
	/* Poll thread: the first fault since none was held and the rate was unused. */
	struct iopf_fault first;
	/* Of its trip; written before state TRIPPED. */
	uint64_t episode;		/* its number */
	bool has_opened;		/* the trip opened it */
	/* under the device's lock */
	bool blocks;			/* the device */
	uint64_t cut_at;
};

/* The domain has a breaker. */
static inline bool
iopf_storm_has_breaker(const struct iopf_storm_conf *conf)
{
	return conf->max_held != 0 || conf->max_rate != 0;
}

/* NULL: no memory. */
struct iopf_breaker *iopf_breaker_create(const struct iopf_storm_conf *conf);
void iopf_breaker_destroy(struct iopf_breaker *breaker);

/*
 * Poll thread: count a group or a stall. Returns true if it is past a limit: an episode is open,
 * and the caller counts the fault in it. Then it publishes the trip: the policy thread, which it
 * wakes, finds the fault in the counts.
 */
bool iopf_breaker_count(struct iopf_attachment *attachment,
		const struct iopf_fault *const *faults);
void iopf_breaker_publish_trip(struct iopf_attachment *attachment);

/* Poll thread: a handler has deferred or taken the fault. */
static inline void
iopf_breaker_count_held(struct iopf_attachment *attachment, const struct iopf_fault *fault)
{
	if (!(fault->flags & IOPF_FAULT_PAGE_REQUEST))
		atomic_fetch_add_explicit(&attachment->breaker->held, 1, memory_order_relaxed);
}

/* Any thread: a slot of the event queue is not held any more. */
static inline void
iopf_attachment_uncount_held(struct iopf_attachment *attachment)
{
	atomic_fetch_sub_explicit(&attachment->dev->held, 1, memory_order_relaxed);
	if (unlikely(attachment->breaker != NULL))
		atomic_fetch_sub_explicit(&attachment->breaker->held, 1, memory_order_relaxed);
}

/* The functions below: the caller holds the device's lock. */

/* Before the attach. 0, -ENOTSUP, or an error of the policy thread's creation. */
int iopf_breaker_prepare(struct iopf_attachment *attachment);
/* The attachment is released. */
void iopf_breaker_release(struct iopf_attachment *attachment);
/*
 * The policy thread's part. Returns true if it needs the next tick too. *has_tripped: *episode is
 * that of a trip, for the callback.
 */
bool iopf_breaker_serve(struct iopf_attachment *attachment, uint64_t now,
		struct iopf_episode *episode, bool *has_tripped);

#endif /* BREAKER_H */
