/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Handlers of the soak. They choose at random: map and answer, raise a permission before the
 * answer, defer, take (a responder answers later, or no thread ever does), refuse. A handler never
 * runs for a (device, PASID) after the detach there has returned.
 */

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include <rte_common.h>

#include "fire.h"
#include "iopf_pgtable.h"

static struct fire_seat *
seat_of(const struct iopf_group *group)
{
	struct fire_dev *d = iopf_dev_ctx(group->dev);

	for (unsigned int i = 0; i < d->nb_seats; i++)
		if (d->seat[i].pasid == group->pasid)
			return &d->seat[i];
	return NULL;
}

/* The seat belongs to the space: its detach has not returned. */
static void
check_seat(const struct fire_space *s, const struct iopf_group *group)
{
	const struct fire_seat *seat = seat_of(group);
	uint32_t owner = seat != NULL ? (uint32_t)atomic_load(&seat->tenure) : 0;

	FIRE_CHECK(owner == atomic_load(&s->owner), "%s, PASID %u: a handler of owner %u runs, but "
			"the domain there has owner %u", iopf_dev_name(group->dev), group->pasid,
			atomic_load(&s->owner), owner);
}

static bool
is_mapped(const struct iopf_fault *fault)
{
	return fault->addr >= FIRE_VA &&
		fault->addr < FIRE_VA + (uint64_t)FIRE_PAGES * FIRE_PAGE;
}

/* Map the page. -EACCES: mapped, but read-only. -EFAULT: no page of the space. */
static int
map_fault(const struct fire_space *s, const struct iopf_fault *fault, bool read_only)
{
	uint64_t off = (fault->addr & ~(uint64_t)(FIRE_PAGE - 1)) - FIRE_VA;
	int ret;

	if (fault->perm == 0)
		return 0;
	if (!is_mapped(fault))
		return -EFAULT;
	ret = pgt_resolve(s->pgt, fault->addr, (uintptr_t)s->data + off, PGT_READ |
			(read_only && !(fault->perm & IOPF_PERM_WRITE) ? 0 : PGT_WRITE));
	FIRE_CHECK(ret == 0 || ret == -EALREADY || ret == -ECANCELED || ret == -EACCES, "%d", ret);
	return ret;
}

/* Make a page writable. Returns the number of invalidations. */
static unsigned int
raise_permission(const struct fire_space *s, const struct iopf_fault *fault, struct iopf_inv *inv)
{
	struct pgt_inv pinv;
	struct pgt_unmapped out;
	int ret;

	pgt_unmapped_init(&out, &pinv, 1);
	ret = pgt_protect(s->pgt, fault->addr & ~(uint64_t)(FIRE_PAGE - 1), FIRE_PAGE,
			PGT_READ | PGT_WRITE, &out);
	FIRE_CHECK(ret == 0 || ret == -EAGAIN, "%d", ret);
	if (out.nb_inv != 0)
		*inv = iopf_inv_from_pgt(&pinv);
	return out.nb_inv;
}

/* Map all pages, and raise permissions with invalidations before the answer. */
static enum iopf_verdict
map_group(const struct fire_space *s, const struct iopf_group *group)
{
	bool read_only = fire_pick(2) != 0, after = false;
	unsigned int nb = 0;

	for (unsigned int i = 0; i < group->nb_faults; i++) {
		const struct iopf_fault *fault = group->faults[i];
		int ret = map_fault(s, fault, read_only);
		struct iopf_inv inv;

		if (ret == -EFAULT)
			return IOPF_ANSWER(IOPF_INVALID);
		/* With a fifth page to invalidate the device faults again. */
		if (ret != -EACCES || nb == 4)
			continue;
		after = true;
		if (raise_permission(s, fault, &inv) == 0)
			continue;
		ret = iopf_group_invalidate(group, &inv);
		FIRE_CHECK(ret == 0, "%d", ret);
		nb++;
	}
	return after ? IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS) : IOPF_ANSWER(IOPF_SUCCESS);
}

static enum iopf_verdict
take(const struct iopf_group *group)
{
	if (rte_ring_enqueue(fire.taken, (void *)(uintptr_t)group->id) != 0)
		return IOPF_ANSWER(IOPF_SUCCESS);
	return IOPF_TAKEN;
}

static enum iopf_verdict
take_for_ever(void)
{
	fire_count(&fire.n.never);
	return IOPF_TAKEN;
}

static enum iopf_verdict
answer_first(const struct iopf_group *group)
{
	int ret = iopf_group_respond(group->id, IOPF_SUCCESS);

	/* A detach may have answered the group. */
	FIRE_CHECK(ret == 0 || ret == -ESTALE, "%d", ret);
	return IOPF_TAKEN;
}

static enum iopf_verdict
choose(const struct fire_space *s, const struct iopf_group *group)
{
	unsigned int what = fire_pick(1000);

	if (atomic_load_explicit(&fire.gentle, memory_order_relaxed))
		return map_group(s, group);
	if (atomic_load_explicit(&s->hog, memory_order_relaxed))
		return take_for_ever();
	if (what < 780)
		return map_group(s, group);
	if (what < 860)
		return IOPF_DEFER;
	if (what < 930)
		return take(group);
	if (what < 940)
		return answer_first(group);
	if (what < 965)
		return IOPF_ANSWER(IOPF_SUCCESS);
	if (what < 990)
		return IOPF_ANSWER(IOPF_INVALID);
	if (what < 995)
		return take_for_ever();
	return group->faults[0]->flags & IOPF_FAULT_PAGE_REQUEST ? IOPF_ANSWER(IOPF_FAILURE) :
		IOPF_ANSWER(IOPF_RAZWI);
}

enum iopf_verdict
fire_handle(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct fire_space *s = ctx;
	enum iopf_verdict verdict;

	RTE_SET_USED(domain);
	verdict = choose(s, group);
	check_seat(s, group);
	return verdict;
}

enum iopf_verdict
fire_handle_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct fire_space *s = ctx;
	struct iopf_inv inv;
	bool gentle;

	RTE_SET_USED(domain);
	while (atomic_load_explicit(&fire.hold, memory_order_relaxed))
		usleep(100);
	gentle = atomic_load_explicit(&fire.gentle, memory_order_relaxed);
	if (!gentle && fire_pick(32) == 0)
		usleep(fire_pick(300));
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		int ret = map_fault(s, group->faults[i], false);

		if (ret == -EFAULT)
			return IOPF_ANSWER(IOPF_INVALID);
		if (ret == -EACCES && raise_permission(s, group->faults[i], &inv) != 0) {
			ret = iopf_invalidate(s->domain, &inv, 1, NULL);
			FIRE_CHECK(ret == 0 || ret == -EIO, "%d", ret);
		}
	}
	check_seat(s, group);
	if (gentle)
		return IOPF_ANSWER(IOPF_SUCCESS);
	switch (fire_pick(64)) {
	case 0:
		return take_for_ever();
	case 1:
	case 2:
		return take(group);
	case 3:
		return IOPF_ANSWER(IOPF_INVALID);
	default:
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
}

void
fire_handle_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct fire_space *s = ctx;

	RTE_SET_USED(domain);
	FIRE_CHECK(group->id == 0, "%llu", (unsigned long long)group->id);
	for (unsigned int i = 0; i < group->nb_faults; i++)
		map_fault(s, group->faults[i], false);
	check_seat(s, group);
}

/* Answer a group, and a second time: only the first answer may be taken. */
static void
respond(uint64_t id)
{
	int ret;

	if (fire_pick(8) == 0) {
		ret = iopf_group_defer(id);
		FIRE_CHECK(ret == 0 || ret == -ESTALE || ret == -ENOSPC, "%d", ret);
		if (ret == 0)
			return;
	}
	ret = iopf_group_respond(id, fire_pick(8) == 0 ? IOPF_INVALID : IOPF_SUCCESS);
	FIRE_CHECK(ret == 0 || ret == -ESTALE, "%d", ret);
	fire_count(ret == 0 ? &fire.n.late : &fire.n.stale);
	ret = iopf_group_respond(id, IOPF_SUCCESS);
	FIRE_CHECK(ret == -ESTALE, "%d", ret);
}

void *
fire_respond(void *arg)
{
	void *id;

	RTE_SET_USED(arg);
	for (;;) {
		if (rte_ring_dequeue(fire.taken, &id) == 0) {
			if (fire_pick(64) == 0)
				usleep(fire_pick(200));
			respond((uintptr_t)id);
		} else if (atomic_load(&fire.stop_responders)) {
			return NULL;
		} else {
			usleep(20);
		}
	}
}
