/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <assert.h>
#include <errno.h>

#include <rte_cycles.h>

#include "call.h"
#include "deadline.h"
#include "domain.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "prg.h"
#include "rcu.h"

#define MS_BITS		24
#define MS_MASK		((UINT64_C(1) << MS_BITS) - 1)

static_assert(IOPF_ID_GEN_BITS + MS_BITS <= 64, "a generation and a deadline share a word");
static_assert(IOPF_ID_GEN_SHIFT == MS_BITS, "the generation is where it is in an id");
/*
 * The time is modulo 2^24 ms. A deadline that is at most 2^23 ms (two hours) in the past is told
 * from one in the future, which may be an hour away by the clock of another thread.
 */
static_assert(IOPF_MAX_DEADLINE_MS <= (MS_MASK + 1) / 4, "it leaves an hour for clocks");

static inline uint64_t
tsc_to_ms(uint64_t tsc)
{
	return tsc / (rte_get_tsc_hz() / 1000);
}

/* The word for a deadline @p ms from now, or for none. */
static uint64_t
deadline_make(uint64_t id, uint32_t ms)
{
	uint64_t end = 0;

	if (ms != 0) {
		/* One more: never early. 0 means none. */
		end = (tsc_to_ms(rte_rdtsc()) + ms + 1) & MS_MASK;
		end += end == 0;
	}
	return (id & ~MS_MASK) | end;
}

/*
 * A call for a later fault of the slot may have been faster: its word stays. A compare-and-swap
 * fails because of another call. If that was for the same fault, it counts as the later one. If it
 * was for an older fault, its caller found the fault before the slot was used again: there is at
 * most one such failure for each thread.
 */
static int
deadline_store(_Atomic uint64_t *deadline, uint64_t new)
{
	uint64_t old = atomic_load_explicit(deadline, memory_order_relaxed);

	do {
		if ((old | MS_MASK) > (new | MS_MASK))
			return -ESTALE;
		if (atomic_compare_exchange_strong_explicit(deadline, &old, new,
				memory_order_relaxed, memory_order_relaxed))
			return 0;
	} while ((old | MS_MASK) != (new | MS_MASK));
	return 0;
}

static __rte_noinline __rte_cold int
deadline_refuse(uint32_t ms)
{
	static struct iopf_log_limit limit;

	IOPF_LOG_LIMITED(&limit, "iopf_group_set_deadline(): %u ms is too long: use at most %u, or "
			"0 for no deadline", ms, IOPF_MAX_DEADLINE_MS);
	return iopf_ret(-ERANGE);
}

int
iopf_group_set_deadline(uint64_t id, uint32_t ms)
{
	struct iopf_slot *slot;
	struct iopf_queue *q;
	int ret = -ESTALE;
	uint64_t word;

	if (unlikely(ms > IOPF_MAX_DEADLINE_MS))
		return deadline_refuse(ms);
	iopf_rcu_read_lock();
	slot = iopf_slot_find(id, &q);
	if (slot != NULL) {
		word = iopf_slot_load(slot);
		if (IOPF_SLOT_GEN(word) == IOPF_ID_GEN(id) &&
				iopf_slot_is_pending(IOPF_SLOT_STATE(word)))
			ret = deadline_store(&q->deadlines[slot->index], deadline_make(id, ms));
		/* Release: with the acquire in iopf_deadlines_begin_sweep(). */
		if (ret == 0)
			atomic_fetch_add_explicit(&q->deadlines_set, 1, memory_order_release);
	}
	iopf_rcu_read_unlock();
	return iopf_ret(ret);
}

bool
iopf_queue_has_deadlines(const struct iopf_queue *q)
{
	return atomic_load_explicit(&q->iommu->nb_deadlines, memory_order_relaxed) != 0 ||
		q->scan != 0 || q->deadlines_found ||
		atomic_load_explicit(&q->deadlines_set, memory_order_relaxed) !=
			q->deadlines_seen;
}

void
iopf_deadlines_begin_sweep(struct iopf_queue *q)
{
	q->deadlines_found = false;
	/*
	 * Acquire: with the release in iopf_group_set_deadline(). The calls are a release sequence,
	 * so this sweep finds the words of all calls that it has counted.
	 */
	q->deadlines_seen = atomic_load_explicit(&q->deadlines_set, memory_order_acquire);
}

bool
iopf_deadline_is_over(struct iopf_queue *q, uint32_t i, uint64_t word,
		const struct iopf_attachment *attachment, uint64_t now)
{
	uint64_t own = atomic_load_explicit(&q->deadlines[i], memory_order_relaxed);
	uint64_t limit, left;

	if (own >> MS_BITS == IOPF_SLOT_GEN(word)) {
		if ((own & MS_MASK) == 0)
			return false;
		q->deadlines_found = true;
		left = (own - tsc_to_ms(now)) & MS_MASK;
		return left == 0 || left > MS_MASK / 2;
	}
	limit = attachment->domain->conf.deadline_ms * rte_get_tsc_hz() / 1000;
	return limit != 0 && iopf_slot_is_older(&q->slots[i], now, limit);
}

/*
 * The slots are free or are freed by their handler, and keep the faults until this thread, the
 * owner, takes them back.
 */
void
iopf_deadline_report(struct iopf_queue *q, const struct iopf_slot *head, struct iopf_dev *dev)
{
	const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
	uint16_t n = iopf_prg_list_faults(q, head, faults);

	iopf_dev_count(dev, IOPF_DEV_STAT_EXPIRED, 1);
	iopf_self.in_fast = true;
	for (uint16_t i = 0; i < n; i++) {
		struct iopf_fault fault = *faults[i];

		fault.flags |= IOPF_FAULT_EXPIRED;
		iopf_fault_report(q->iommu, &fault);
	}
	iopf_self.in_fast = false;
}
