/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests become groups.
 *
 * StreamID, PASID and PRG index name a group. Each of its requests has a slot. The slot of the
 * first request, the head, has the state and the id of the group. A hash of the name finds a head
 * from the first request until its slot is free again. So a request of a group that still waits for
 * its answer is a duplicate: a device uses an index again only after the answer.
 *
 * Groups that wait for Last are also in a list, oldest first. They are discarded without an answer:
 * a group has one answer, after Last, and the IOMMU may already have answered a Last that it could
 * not write. So every partial group is in doubt when a request was lost, and all are discarded
 * (IOPF_EVENT_LOST).
 *
 * The queue's owner uses all of this: indices of slots, in arrays beside the slots. A cancel on
 * another thread only changes the state of a head, from PARTIAL to DROPPED.
 */

#include <stdlib.h>

#include "attachment.h"
#include "domain.h"
#include "episode.h"
#include "handler.h"
#include "prg.h"

struct iopf_prg_link {
	uint32_t hash_next;		/* next head in the bucket */
	uint32_t older, newer;		/* in the list of partial groups */
	uint32_t member;		/* next request of the group */
	/* of heads only */
	uint32_t bucket;
	uint32_t tail;
	uint16_t nb;
	bool partial;			/* in the list */
};

struct iopf_prg {
	uint32_t oldest, newest;
	uint32_t mask;
	uint32_t *buckets;
	const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
	struct iopf_prg_link links[];
};

int
iopf_prg_init(struct iopf_queue *q)
{
	struct iopf_prg *prg = iopf_zalloc(sizeof(*prg) +
			q->max_slots * (sizeof(prg->links[0]) + sizeof(prg->buckets[0])));

	q->prg = prg;
	if (prg == NULL)
		return -ENOMEM;
	prg->buckets = (uint32_t *)&prg->links[q->max_slots];
	return 0;
}

void
iopf_prg_reset(struct iopf_queue *q)
{
	struct iopf_prg *prg = q->prg;
	uint32_t nb_slots = q->nb_slots;

	prg->mask = nb_slots - 1;
	prg->oldest = prg->newest = IOPF_NO_SLOT;
	for (uint32_t i = 0; i < nb_slots; i++)
		prg->buckets[i] = IOPF_NO_SLOT;
}

void
iopf_prg_fini(struct iopf_queue *q)
{
	free(q->prg);
	q->prg = NULL;
}

static inline uint32_t
bucket_of(const struct iopf_prg *prg, const struct iopf_event *ev)
{
	/* The hash keeps nothing of a difference in the key's upper bits: see iopf_table_hash(). */
	uint64_t index = (uint64_t)ev->token << 20;

	return iopf_table_hash(iopf_attachment_key(ev->sid, ev->pasid) ^ index) & prg->mask;
}

static inline uint16_t
group_list_faults(const struct iopf_queue *q, const struct iopf_slot *head,
		const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS])
{
	uint32_t i = head->index;
	uint16_t n = 0;

	do {
		faults[n++] = &q->slots[i].fault;
		i = q->prg->links[i].member;
	} while (i != IOPF_NO_SLOT && n < IOPF_MAX_GROUP_FAULTS);
	return n;
}

static inline bool
group_has_request(const struct iopf_slot *head, const struct iopf_event *ev)
{
	return head->fault.sid == ev->sid && head->fault.pasid == ev->pasid &&
		head->fault.token == ev->token;
}

/*
 * The group of a request that is not answered yet. The bucket may also have a stale head, which
 * another thread has answered and whose slot is not reclaimed yet.
 */
static struct iopf_slot *
group_find(struct iopf_queue *q, const struct iopf_event *ev, uint32_t bucket,
		enum iopf_slot_state *state)
{
	for (uint32_t i = q->prg->buckets[bucket]; i != IOPF_NO_SLOT;
			i = q->prg->links[i].hash_next) {
		struct iopf_slot *head = &q->slots[i];

		if (!group_has_request(head, ev))
			continue;
		*state = IOPF_SLOT_STATE(iopf_slot_load(head));
		if (*state != IOPF_SLOT_FREE && *state != IOPF_SLOT_DONE &&
				*state != IOPF_SLOT_LEFT)
			return head;
	}
	return NULL;
}

static void
group_unhash(struct iopf_queue *q, const struct iopf_slot *head)
{
	uint32_t *link = &q->prg->buckets[q->prg->links[head->index].bucket];

	while (*link != head->index)
		link = &q->prg->links[*link].hash_next;
	*link = q->prg->links[head->index].hash_next;
}

static void
partial_list_add(struct iopf_prg *prg, uint32_t i)
{
	prg->links[i].partial = true;
	prg->links[i].newer = IOPF_NO_SLOT;
	prg->links[i].older = prg->newest;
	*(prg->newest != IOPF_NO_SLOT ? &prg->links[prg->newest].newer : &prg->oldest) = i;
	prg->newest = i;
}

static void
partial_list_del(struct iopf_prg *prg, uint32_t i)
{
	struct iopf_prg_link *l = &prg->links[i];

	*(l->older != IOPF_NO_SLOT ? &prg->links[l->older].newer : &prg->oldest) = l->newer;
	*(l->newer != IOPF_NO_SLOT ? &prg->links[l->newer].older : &prg->newest) = l->older;
	l->partial = false;
}

void
iopf_prg_free(struct iopf_queue *q, uint32_t i)
{
	struct iopf_slot *head = &q->slots[i];
	uint64_t word = iopf_slot_load(head);

	group_unhash(q, head);
	if (IOPF_SLOT_STATE(word) != IOPF_SLOT_FREE)
		__atomic_store_n(&head->state, iopf_slot_next_free_word(IOPF_SLOT_GEN(word)),
				__ATOMIC_RELEASE);
	for (; i != IOPF_NO_SLOT; i = q->prg->links[i].member)
		q->free[q->nb_free++] = i;
}

/* No handler has the group, since it was never complete. */
static void
group_discard(struct iopf_queue *q, uint32_t i, enum iopf_iommu_stat why)
{
	iopf_iommu_count(q->iommu, why, q->prg->links[i].nb);
	partial_list_del(q->prg, i);
	iopf_prg_free(q, i);
}

void
iopf_prg_discard_all(struct iopf_queue *q)
{
	while (q->prg->oldest != IOPF_NO_SLOT)
		group_discard(q, q->prg->oldest, IOPF_IOMMU_STAT_DISCARDED);
}

/* No handler is called for its faults. */
static bool
attachment_has_open_episode(const struct iopf_attachment *attachment)
{
	return attachment->episodes != NULL && iopf_episode_is_open(attachment);
}

/*
 * Requests were lost. The domain's lost gets the requests of each partial group, so that it can map
 * their pages: otherwise endpoints whose groups interleave in a queue too small for them could
 * overflow it for ever, and no group would get its Last. The attachment of a group in state PARTIAL
 * is valid: a detach, or a replace that the driver refuses, drops the group, and frees it after a
 * grace period. A group for which the burst has no room to invalidate is not given to lost. At its
 * next loss other groups are older, and it gets its turn.
 */
static void
loss_handle(struct iopf_pass *pass, unsigned int left)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_prg *prg = q->prg;
	uint32_t i;

	for (i = prg->oldest; i != IOPF_NO_SLOT; i = prg->links[i].newer) {
		const struct iopf_slot *head = &q->slots[i];
		const struct iopf_attachment *attachment = head->attachment;
		struct iopf_domain *domain;
		struct iopf_group group;

		if (IOPF_SLOT_STATE(iopf_slot_load(head)) != IOPF_SLOT_PARTIAL ||
				attachment->domain->conf.lost == NULL ||
				attachment_has_open_episode(attachment) ||
				!iopf_inv_batch_begin(pass, attachment, left))
			continue;
		domain = attachment->domain;
		group = (struct iopf_group){
			.dev = attachment->dev,
			.pasid = head->fault.pasid,
			.nb_faults = group_list_faults(q, head, prg->faults),
			.faults = prg->faults,
		};
		domain->conf.lost(domain, &group, iopf_domain_handlers(domain)->ctx);
	}
	iopf_prg_discard_all(q);
}

static void
pasid_discard(struct iopf_queue *q, uint32_t sid, uint32_t pasid)
{
	uint32_t i, newer;

	for (i = q->prg->oldest; i != IOPF_NO_SLOT; i = newer) {
		newer = q->prg->links[i].newer;
		if (q->slots[i].fault.sid == sid && q->slots[i].fault.pasid == pasid)
			group_discard(q, i, IOPF_IOMMU_STAT_DISCARDED);
	}
}

void
iopf_prg_discard_old(struct iopf_queue *q, uint64_t since)
{
	uint32_t i;

	while ((i = q->prg->oldest) != IOPF_NO_SLOT &&
			(int64_t)(q->slots[i].fault.time - since) < 0) {
		bool dropped = IOPF_SLOT_STATE(iopf_slot_load(&q->slots[i])) == IOPF_SLOT_DROPPED;
		uint32_t m;

		for (m = i; m != IOPF_NO_SLOT && !dropped; m = q->prg->links[m].member) {
			const struct iopf_slot *slot = &q->slots[m];
			const struct iopf_fault fault = {
				.addr = slot->fault.addr,
				.time = slot->fault.time,
				.sid = slot->fault.sid,
				.pasid = slot->fault.pasid,
				.token = slot->fault.token,
				.perm = slot->fault.perm,
				.reason = slot->fault.reason,
				.flags = slot->fault.flags,
				.queue = q->id,
			};

			iopf_fault_report(q->iommu, &fault);
		}
		group_discard(q, i, dropped ? IOPF_IOMMU_STAT_DISCARDED : IOPF_IOMMU_STAT_AGED);
	}
}

uint16_t
iopf_prg_list_faults(const struct iopf_queue *q, const struct iopf_slot *head,
		const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS])
{
	if (q->prg == NULL) {
		faults[0] = &head->fault;
		return 1;
	}
	return group_list_faults(q, head, faults);
}

uint32_t
iopf_prg_count_slots(const struct iopf_queue *q, const struct iopf_slot *head)
{
	return q->prg->links[head->index].nb;
}

/*
 * Devices with pri_overcommit leave half of the slots to the other devices. That is enough: the
 * budget of the other devices is at most half of the slots.
 */
static struct iopf_slot *
slot_take(struct iopf_queue *q, const struct iopf_attachment *attachment)
{
	if (attachment->dev->conf.pri_overcommit &&
			q->nb_free <= (q->nb_slots - q->nb_retired) / 2)
		return NULL;
	return iopf_slot_alloc(q);
}

/* Append a request to a group, if there is room. */
static void
request_append(struct iopf_pass *pass, const struct iopf_event *ev, const struct iopf_slot *head)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_prg_link *l = &q->prg->links[head->index];
	struct iopf_slot *slot = l->nb < IOPF_MAX_GROUP_FAULTS ?
			slot_take(q, head->attachment) : NULL;

	if (unlikely(slot == NULL)) {
		iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_CUT, 1);
		return;
	}
	iopf_slot_fill(slot, ev, q->id, pass->now, NULL);
	q->prg->links[slot->index].member = IOPF_NO_SLOT;
	q->prg->links[l->tail].member = slot->index;
	l->tail = slot->index;
	l->nb++;
}

static struct iopf_slot *
group_begin(struct iopf_pass *pass, const struct iopf_event *ev, uint32_t bucket,
		struct iopf_attachment *attachment)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_slot *head = slot_take(q, attachment);
	struct iopf_prg_link *l;
	bool last = ev->flags & IOPF_EVENT_LAST;

	if (unlikely(head == NULL))
		return NULL;
	iopf_slot_fill(head, ev, q->id, pass->now, attachment);
	l = &q->prg->links[head->index];
	l->member = IOPF_NO_SLOT;
	l->tail = head->index;
	l->nb = 1;
	l->bucket = bucket;
	l->hash_next = q->prg->buckets[bucket];
	q->prg->buckets[bucket] = head->index;
	if (last)
		l->partial = false;
	else
		partial_list_add(q->prg, head->index);
	/* Release: with the acquire in iopf_slot_load(). */
	__atomic_store_n(&head->state, IOPF_SLOT_WORD(IOPF_SLOT_GEN(iopf_slot_load(head)),
			last ? IOPF_SLOT_HANDLING : IOPF_SLOT_PARTIAL), __ATOMIC_RELEASE);
	return head;
}

/* Last has come. False: a detach or a replace has dropped the group. */
static bool
group_complete(struct iopf_pass *pass, struct iopf_slot *head)
{
	struct iopf_queue *q = pass->queue;
	uint64_t gen = IOPF_SLOT_GEN(iopf_slot_load(head));

	/* Latency counts from Last: before it the group cannot be answered. */
	__atomic_store_n(&head->fault.time, pass->now, __ATOMIC_RELAXED);
	if (!iopf_slot_cas(head, IOPF_SLOT_WORD(gen, IOPF_SLOT_PARTIAL),
			IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING)))
		return false;
	partial_list_del(q->prg, head->index);
	return true;
}

static void
group_run_handler(struct iopf_pass *pass, struct iopf_slot *head)
{
	struct iopf_prg *prg = pass->queue->prg;

	handler_run(pass, head->attachment, head, IOPF_SLOT_GEN(iopf_slot_load(head)), prg->faults,
			group_list_faults(pass->queue, head, prg->faults), true);
}

/* The first request of a group. Returns the head, if the group waits for Last. */
static struct iopf_slot *
request_open_group(struct iopf_pass *pass, const struct iopf_event *ev, uint32_t bucket)
{
	struct iopf_iommu *iommu = pass->queue->iommu;
	struct iopf_attachment *attachment = iopf_attachment_of(iommu, ev->sid, ev->pasid);
	bool last = ev->flags & IOPF_EVENT_LAST;
	struct iopf_slot *head;

	if (unlikely(attachment == NULL)) {
		/* The group's one answer is for its Last. */
		if (last)
			iopf_event_refuse(pass, ev, IOPF_INVALID,
					iopf_count_no_attachment(iommu, ev->sid));
		return NULL;
	}
	head = group_begin(pass, ev, bucket, attachment);
	if (likely(head != NULL)) {
		if (!last)
			return head;
		group_run_handler(pass, head);
	} else if (last) {
		/* As for a full queue: the device requests the page again, unless in vain. */
		iopf_event_refuse(pass, ev, iopf_queue_is_retired(pass->queue) ? IOPF_INVALID :
				IOPF_SUCCESS, IOPF_IOMMU_STAT_NO_SLOT);
	} else {
		iopf_iommu_count(iommu, IOPF_IOMMU_STAT_CUT, 1);
	}
	return NULL;
}

/*
 * @p open: the head of the previous request's group, if that waits for Last; otherwise NULL. The
 * return value is the same for this request. The requests of a group mostly follow each other:
 * mostly only the first of them needs the hash.
 */
static struct iopf_slot *
request_dispatch(struct iopf_pass *pass, const struct iopf_event *ev, struct iopf_slot *open)
{
	struct iopf_queue *q = pass->queue;
	bool last = ev->flags & IOPF_EVENT_LAST;
	enum iopf_slot_state state;
	struct iopf_slot *head = open;
	uint32_t bucket;

	if (head != NULL && group_has_request(head, ev)) {
		state = IOPF_SLOT_STATE(iopf_slot_load(head));
	} else {
		bucket = bucket_of(q->prg, ev);
		head = group_find(q, ev, bucket, &state);
		if (head == NULL) {
			pass->nb_faults += last;
			return request_open_group(pass, ev, bucket);
		}
	}
	if (unlikely(state != IOPF_SLOT_PARTIAL && state != IOPF_SLOT_DROPPED)) {
		iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_DUPLICATES, 1);
		return NULL;
	}
	pass->nb_faults += last;
	if (likely(state == IOPF_SLOT_PARTIAL)) {
		request_append(pass, ev, head);
		if (!last)
			return head;
		if (likely(group_complete(pass, head))) {
			group_run_handler(pass, head);
			return NULL;
		}
	}
	group_discard(q, head->index, IOPF_IOMMU_STAT_DISCARDED);
	return request_open_group(pass, ev, bucket_of(q->prg, ev));
}

unsigned int
iopf_prg_dispatch(struct iopf_pass *pass, const struct iopf_event *events, unsigned int n)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_slot *open = NULL;
	unsigned int records = n;

	/* Stale heads make the chains longer. */
	iopf_slot_reclaim(q);
	for (unsigned int i = 0; i < n; i++) {
		const struct iopf_event *ev = &events[i];

		if (likely((ev->flags & (IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_BAD)) ==
				IOPF_EVENT_PAGE_REQUEST)) {
			open = request_dispatch(pass, ev, open);
			continue;
		}
		/* These records may end partial groups. */
		open = NULL;
		if (ev->flags & IOPF_EVENT_LOST) {
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_OVERFLOWS, 1);
			loss_handle(pass, n - i - 1);
			records--;
		} else if (ev->flags & IOPF_EVENT_STOP_MARKER) {
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_STOP_MARKERS, 1);
			pasid_discard(q, ev->sid, ev->pasid);
		} else {
			iopf_iommu_count(q->iommu, IOPF_IOMMU_STAT_BAD_RECORD, 1);
		}
	}
	return records;
}
