/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Handlers of the soak. They choose at random: map and answer, raise a permission before the
 * answer, defer, take (a responder answers later, or no thread ever does), refuse. A handler never
 * runs for a (device, PASID) after the detach there has returned.
 */

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <unistd.h>

#include <rte_common.h>

#include "fire.h"
#include "iopf_pgtable.h"

static struct fire_seat *
seat_of(const struct iopf_dev *dev, uint32_t pasid)
{
	struct fire_dev *d = iopf_dev_ctx(dev);

	for (unsigned int i = 0; i < d->nb_seats; i++)
		if (d->seat[i].pasid == pasid)
			return &d->seat[i];
	return NULL;
}

void
fire_check_attached(const struct fire_space *s, const struct iopf_dev *dev, uint32_t pasid)
{
	const struct fire_seat *seat = seat_of(dev, pasid);
	/* The next owner first: it is cleared after the change of tenure. */
	uint32_t next = seat != NULL ? atomic_load(&seat->next_owner) : 0;
	uint32_t owner = seat != NULL ? (uint32_t)atomic_load(&seat->tenure) : 0;

	FIRE_CHECK(owner == atomic_load(&s->owner) || next == atomic_load(&s->owner),
			"%s, PASID %u: a callback of owner %u runs, but the domain there has "
			"owner %u", iopf_dev_name(dev), pasid, atomic_load(&s->owner), owner);
}

/* A handler ends: the detach, and iopf_domain_set_handler(), have not returned. */
static void
check_end(const struct fire_ctx *c, const struct iopf_group *group)
{
	fire_check_attached(c->space, group->dev, group->pasid);
	FIRE_CHECK(!atomic_load(&c->retired), "%s: a replaced handler runs",
			iopf_dev_name(group->dev));
}

static bool
is_mapped(const struct iopf_fault *fault)
{
	return fault->addr >= FIRE_VA && fault->addr < FIRE_END;
}

/* Map the page. -EACCES: mapped, but read-only. -EFAULT: no page of the space. */
static int
map_fault(const struct fire_space *s, const struct iopf_fault *fault, bool read_only)
{
	uint64_t off = (fault->addr & ~(uint64_t)(FIRE_PAGE - 1)) - FIRE_VA;
	int ret;

	if (fault->perm == 0)
		return 0;
	/* The address of a page request has no stage. */
	if (fault->fault_class == IOPF_CLASS_CD || fault->fault_class == IOPF_CLASS_TT ||
			(s->nested && fault->flags & IOPF_FAULT_PAGE_REQUEST)) {
		FIRE_CHECK(s->nested && (fault->flags & IOPF_FAULT_PAGE_REQUEST || (fault->ipa >=
				FIRE_END && fault->ipa < FIRE_END + FIRE_GUEST * FIRE_PAGE)),
				"class %u, IPA %#" PRIx64, fault->fault_class, fault->ipa);
		fire_map_guest(s);
		if (!(fault->flags & IOPF_FAULT_PAGE_REQUEST))
			return 0;
	}
	/* Stage 1 of a guest lacks the pages of a storm. */
	FIRE_CHECK(!(fault->flags & IOPF_FAULT_STAGE2) ?
			!s->stage2 || fault->flags & IOPF_FAULT_PAGE_REQUEST ||
			(s->nested && !is_mapped(fault)) :
			s->stage2 && fault->fault_class == IOPF_CLASS_IN &&
			fault->ipa == (fault->addr & ~(uint64_t)(FIRE_PAGE - 1)),
			"flags %#x, class %u", fault->flags, fault->fault_class);
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

static void
set_deadline(uint64_t id)
{
	int ret = iopf_group_set_deadline(id, fire_pick(16) == 0 ? 0 : 1 + fire_pick(5));

	/* A detach may have answered the group. */
	FIRE_CHECK(ret == 0 || ret == -ESTALE, "%d", ret);
	if (ret == 0)
		fire_count(&fire.n.deadlines);
}

static bool
put_taken(uint64_t id)
{
	struct fire_ring *r = &fire.taken;
	bool fits;

	pthread_mutex_lock(&r->lock);
	fits = r->head - r->tail < FIRE_TAKEN;
	if (fits)
		r->ids[r->head++ % FIRE_TAKEN] = id;
	pthread_mutex_unlock(&r->lock);
	return fits;
}

static bool
get_taken(uint64_t *id)
{
	struct fire_ring *r = &fire.taken;
	bool found;

	pthread_mutex_lock(&r->lock);
	found = r->head != r->tail;
	if (found)
		*id = r->ids[r->tail++ % FIRE_TAKEN];
	pthread_mutex_unlock(&r->lock);
	return found;
}

static enum iopf_verdict
take(const struct iopf_group *group)
{
	if (fire_pick(8) == 0)
		set_deadline(group->id);
	if (!put_taken(group->id))
		return IOPF_ANSWER(IOPF_SUCCESS);
	return IOPF_TAKEN;
}

static enum iopf_verdict
take_for_ever(const struct iopf_group *group)
{
	if (fire_pick(4) == 0)
		set_deadline(group->id);
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
		return take_for_ever(group);
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
		return take_for_ever(group);
	return group->faults[0]->flags & IOPF_FAULT_PAGE_REQUEST ? IOPF_ANSWER(IOPF_FAILURE) :
		IOPF_ANSWER(IOPF_RAZWI);
}

enum iopf_verdict
fire_handle(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct fire_ctx *c = ctx;
	enum iopf_verdict verdict;

	RTE_SET_USED(domain);
	fire_note_fault(iopf_dev_ctx(group->dev), group->faults[0]);
	verdict = choose(c->space, group);
	check_end(c, group);
	return verdict;
}

enum iopf_verdict
fire_handle_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct fire_ctx *c = ctx;
	struct fire_space *s = c->space;
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
			ret = iopf_invalidate(fire_owner(s), &inv, 1, NULL);
			FIRE_CHECK(ret == 0 || ret == -EIO || ret == -ETIMEDOUT, "%d", ret);
		}
	}
	check_end(c, group);
	if (gentle)
		return IOPF_ANSWER(IOPF_SUCCESS);
	switch (fire_pick(64)) {
	case 0:
		return take_for_ever(group);
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
	struct fire_ctx *c = ctx;

	RTE_SET_USED(domain);
	FIRE_CHECK(group->id == 0, "%llu", (unsigned long long)group->id);
	for (unsigned int i = 0; i < group->nb_faults; i++)
		map_fault(c->space, group->faults[i], false);
	check_end(c, group);
}

/* Answer a group, and a second time: only the first answer may be taken. */
static void
respond(uint64_t id)
{
	int ret;

	if (fire_pick(16) == 0)
		set_deadline(id);
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
	uint64_t id;

	RTE_SET_USED(arg);
	for (;;) {
		if (get_taken(&id)) {
			if (fire_pick(64) == 0)
				usleep(fire_pick(200));
			respond(id);
		} else if (atomic_load(&fire.stop_responders)) {
			return NULL;
		} else {
			usleep(20);
		}
	}
}
