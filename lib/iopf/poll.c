/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "iopf_private.h"
#include "iopf_trace.h"

/* Passes between looks at the clock: rte_rdtsc() is a good part of an idle pass. */
#define CLOCK_PASSES	16
#define CHECKS_PER_S	1000
/* A poller that made no pass for 1/n s does not run. */
#define STANDS_STILL	50
/* Idle passes until the core is offered to others: nothing to a core of one's own. */
#define YIELD_PASSES	1024
/* Slots looked at for their deadline, per check. */
#define EXPIRE_SLOTS	256

struct poller_queues {
	unsigned int nb;
	struct iopf_queue *queues[IOPF_MAX_POLLER_QUEUES];
};

struct iopf_poller {
	char name[32];
	uint16_t burst;
	uint16_t bursts;
	_Atomic(struct poller_queues *) queues;
	_Atomic bool stop;
	_Atomic unsigned int inside;	/* calls under way: run, poll, and a handler's poll */
};

_Thread_local struct iopf_thread iopf_self;

static pthread_mutex_t pollers_lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * The burst
 */

static void
run_flush(struct iopf_pass *pass, uint64_t latency)
{
	static const enum iopf_stat code_stat[IOPF_NB_CODES] = {
		IOPF_STAT_SUCCESS, IOPF_STAT_INVALID, IOPF_STAT_FAILURE, IOPF_STAT_RAZWI,
	};
	struct iopf_domain *domain = pass->run_domain;

	if (domain == NULL)
		return;
	iopf_domain_count(domain, IOPF_STAT_FAULTS, pass->run_faults);
	if (pass->run_answers != 0) {
		iopf_hist_add(&domain->latency, latency, pass->run_answers);
		for (unsigned int i = 0; i < IOPF_NB_CODES; i++)
			if (pass->run_codes[i] != 0)
				iopf_domain_count(domain, code_stat[i], pass->run_codes[i]);
	}
	pass->run_domain = NULL;
	pass->run_faults = 0;
	pass->run_answers = 0;
	memset(pass->run_codes, 0, sizeof(pass->run_codes));
}

/* Send what has gathered. The slots are free only after that: a detach that finds none waits
 * for this pass, and then all is answered. */
static void
pass_flush(struct iopf_pass *pass)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	const struct iopf_driver_ops *ops = &iommu->driver->ops;
	unsigned int n = pass->nb_answers + pass->nb_after + pass->nb_retries;

	if (pass->nb_answers != 0)
		ops->answer(iommu->priv, pass->answers, pass->nb_answers);
	if (pass->nb_inv != 0 || pass->nb_after != 0)
		ops->answer_after(iommu->priv, pass->after_hw, pass->inv, pass->nb_inv,
				pass->after, pass->nb_after);
	for (unsigned int i = 0; i < pass->nb_retries; i++)
		iopf_dev_retry(pass->retries[i].dev, &pass->retries[i].retry);
	if (n != 0)
		iopf_count(iommu, IOPF_IOMMU_STAT_ANSWERS, n);
	run_flush(pass, rte_rdtsc() - pass->now);
	for (unsigned int i = 0; i < pass->nb_frees; i++)
		q->free[q->nb_free++] = pass->frees[i];
	pass->nb_answers = 0;
	pass->nb_after = 0;
	pass->nb_retries = 0;
	pass->nb_inv = 0;
	pass->nb_frees = 0;
}

/* An answer to what has no slot. */
static void
refuse(struct iopf_pass *pass, const struct iopf_event *ev, enum iopf_iommu_stat why)
{
	iopf_count(pass->queue->iommu, why, 1);
	pass->answers[pass->nb_answers++] = (struct iopf_answer){
		.sid = ev->sid,
		.pasid = ev->pasid,
		.token = ev->token,
		.code = IOPF_INVALID,
	};
}

static void
settle(struct iopf_pass *pass, struct iopf_fault *slot, enum iopf_code code, bool after)
{
	struct iopf_answer answer = {
		.sid = slot->sid,
		.pasid = slot->pasid,
		.token = slot->token,
		.code = code,
	};

	if (unlikely(!(slot->flags & IOPF_FAULT_STALLED)))
		pass->retries[pass->nb_retries++] = (struct iopf_pass_retry){
			.dev = ((struct iopf_attachment *)slot->attachment)->dev,
			.retry = {
				.addr = slot->addr,
				.sid = slot->sid,
				.pasid = slot->pasid,
				.perm = slot->perm,
				.code = code,
			},
		};
	else if (after)
		pass->after[pass->nb_after++] = answer;
	else
		pass->answers[pass->nb_answers++] = answer;
	pass->run_answers++;
	pass->run_codes[code]++;
}

static void
defer(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_fault *slot, uint64_t id,
		uint32_t gen)
{
	uint32_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint32_t queued = IOPF_SLOT_WORD(gen, IOPF_SLOT_QUEUED);

	if (!iopf_slot_cas(slot, handling, queued)) {
		/* Answered meanwhile. */
		__atomic_store_n(&slot->state, iopf_slot_free_word(gen),
				__ATOMIC_RELEASE);
		pass->frees[pass->nb_frees++] = slot->slot;
		return;
	}
	if (domain->conf.deferred != NULL && iopf_worker_defer(domain->conf.worker, id) == 0) {
		iopf_domain_count(domain, IOPF_STAT_DEFERRED, 1);
		return;
	}
	/* No worker, or no place: it is still ours unless somebody answered it. */
	if (iopf_slot_cas(slot, queued, iopf_slot_free_word(gen)))
		settle(pass, slot, IOPF_INVALID, false);
	else
		__atomic_store_n(&slot->state, iopf_slot_free_word(gen),
				__ATOMIC_RELEASE);
	pass->frees[pass->nb_frees++] = slot->slot;
}

static void
conclude(struct iopf_pass *pass, struct iopf_domain *domain, struct iopf_fault *slot,
		uint64_t id, uint32_t gen, enum iopf_verdict verdict)
{
	uint32_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	uint32_t free_word = iopf_slot_free_word(gen);
	enum iopf_code code = verdict & 0xff;
	bool after = (verdict & ~0xff) == IOPF_VERDICT_AFTER_INV;

	if (verdict == IOPF_DEFER) {
		defer(pass, domain, slot, id, gen);
		return;
	}
	if (verdict == IOPF_TAKEN) {
		iopf_domain_count(domain, IOPF_STAT_TAKEN, 1);
		if (iopf_slot_cas(slot, handling, IOPF_SLOT_WORD(gen, IOPF_SLOT_TAKEN)))
			return;
		/* Answered before the handler returned: the slot was left to us. */
		__atomic_store_n(&slot->state, free_word, __ATOMIC_RELEASE);
		pass->frees[pass->nb_frees++] = slot->slot;
		return;
	}
	if (unlikely((!after && (verdict & ~0xff) != IOPF_VERDICT_ANSWER) ||
			code >= IOPF_NB_CODES ||
			(code == IOPF_RAZWI && !pass->queue->iommu->info.razwi)))
		code = IOPF_INVALID;
	if (likely(iopf_slot_cas(slot, handling, free_word))) {
		settle(pass, slot, code, after);
		if (after)
			iopf_domain_count(domain, IOPF_STAT_AFTER_INV, 1);
	} else {
		/* Cancelled meanwhile: this answer goes into nothing. */
		__atomic_store_n(&slot->state, free_word, __ATOMIC_RELEASE);
	}
	pass->frees[pass->nb_frees++] = slot->slot;
}

static void
slot_fill(struct iopf_fault *slot, const struct iopf_event *ev, uint64_t now,
		struct iopf_attachment *attachment)
{
	/* Atomic, since a cancel or a list may be reading; ordered by the state word. */
	__atomic_store_n(&slot->addr, ev->addr, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->ipa, ev->ipa, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->time, now, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->sid, ev->sid, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->pasid, ev->pasid, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->token, ev->token, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->perm, ev->perm, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->reason, ev->reason, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->flags,
			(ev->flags & IOPF_EVENT_STALL ? IOPF_FAULT_STALLED : 0) |
			(ev->flags & IOPF_EVENT_STAGE2 ? IOPF_FAULT_STAGE2 : 0),
			__ATOMIC_RELAXED);
	__atomic_store_n(&slot->raw_id, ev->raw_id, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->attachment, attachment, __ATOMIC_RELAXED);
}

static void
report(struct iopf_pass *pass, const struct iopf_event *ev)
{
	struct iopf_iommu *iommu = pass->queue->iommu;
	const struct iopf_fault fault = {
		.addr = ev->addr,
		.ipa = ev->ipa,
		.time = pass->now,
		.sid = ev->sid,
		.pasid = ev->pasid,
		.perm = ev->perm,
		.reason = ev->reason,
		.flags = ev->flags & IOPF_EVENT_STAGE2 ? IOPF_FAULT_STAGE2 : 0,
		.raw_id = ev->raw_id,
		.queue = pass->queue->id,
	};

	iopf_count(iommu, IOPF_IOMMU_STAT_REPORTS, 1);
	if (iommu->conf.report != NULL)
		iommu->conf.report(iommu, &fault, iommu->conf.report_ctx);
}

/* Something that a handler can mend, of a device that will try again. */
static bool
can_retry(const struct iopf_dev *dev, const struct iopf_event *ev)
{
	return dev->conf.recover == IOPF_TERMINATE && dev->conf.ops.retry != NULL &&
		ev->reason <= IOPF_REASON_PERMISSION;
}

static void
handle(struct iopf_pass *pass, const struct iopf_event *ev)
{
	struct iopf_queue *q = pass->queue;
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_attachment *attachment;
	struct iopf_domain *domain;
	struct iopf_fault *slot;
	enum iopf_verdict verdict;
	uint32_t gen;

	if (unlikely(ev->flags & IOPF_EVENT_BAD)) {
		iopf_count(iommu, IOPF_IOMMU_STAT_BAD_RECORD, 1);
		return;
	}
	attachment = iopf_table_find(&iommu->attached, iopf_key(ev->sid, ev->pasid));
	if (unlikely(!(ev->flags & IOPF_EVENT_STALL)) &&
			(attachment == NULL || !can_retry(attachment->dev, ev))) {
		report(pass, ev);
		return;
	}
	pass->nb_faults++;
	if (unlikely(attachment == NULL)) {
		refuse(pass, ev, iopf_table_find(&iommu->sids, ev->sid) == NULL ?
				IOPF_IOMMU_STAT_UNKNOWN_SID : IOPF_IOMMU_STAT_NO_DOMAIN);
		return;
	}
	slot = iopf_slot_alloc(q);
	if (unlikely(slot == NULL)) {
		if (ev->flags & IOPF_EVENT_STALL) {
			refuse(pass, ev, IOPF_IOMMU_STAT_NO_SLOT);
		} else {
			/* Nothing waits; the access will fault again when it is tried again. */
			iopf_count(iommu, IOPF_IOMMU_STAT_NO_SLOT, 1);
			report(pass, ev);
		}
		return;
	}
	domain = attachment->domain;
	if (unlikely(pass->run_domain != domain)) {
		run_flush(pass, rte_rdtsc() - pass->now);
		pass->run_domain = domain;
	}
	pass->run_faults++;
	/* The invalidations of one answer_after() are one domain's. */
	if (unlikely(pass->nb_inv != 0 && (pass->after_hw != attachment->hw ||
			pass->nb_inv > IOPF_MAX_BURST - IOPF_MAX_GROUP_INV))) {
		pass_flush(pass);
		pass->run_domain = domain;
	}

	slot_fill(slot, ev, pass->now, attachment);
	gen = IOPF_SLOT_GEN(slot->state);
	/* Release: who finds this state (iopf_slot_load()) finds the fault's fields. */
	__atomic_store_n(&slot->state, IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING), __ATOMIC_RELEASE);
	iopf_trace_fault(iommu->id, ev->sid, ev->pasid, ev->addr, ev->perm);

	{
		const struct iopf_fault *faults[1] = { slot };
		const struct iopf_group group = {
			.id = iopf_group_make_id(q, slot->slot, gen),
			.dev = attachment->dev,
			.pasid = attachment->pasid,
			.nb_faults = 1,
			.faults = faults,
			.pass = pass,
		};

		pass->group_inv = pass->nb_inv;
		pass->after_hw = attachment->hw;
		if (domain->conf.handler != NULL)
			verdict = domain->conf.handler(domain, &group, domain->conf.ctx);
		else
			verdict = IOPF_DEFER;
		if ((verdict & ~0xff) != IOPF_VERDICT_AFTER_INV)
			pass->nb_inv = pass->group_inv;
		conclude(pass, domain, slot, group.id, gen, verdict);
	}
}

int
iopf_group_invalidate(const struct iopf_group *group, const struct iopf_inv *inv)
{
	struct iopf_pass *pass = group->pass;

	if (pass == NULL || !iopf_self.in_fast)
		return iopf_ret(-EPERM);
	if (!iopf_inv_ok(inv))
		return iopf_ret(-EINVAL);
	if (pass->nb_inv - pass->group_inv >= IOPF_MAX_GROUP_INV)
		return iopf_ret(-ENOSPC);
	pass->inv[pass->nb_inv++] = *inv;
	return 0;
}

unsigned int
iopf_queue_drain(struct iopf_queue *q, uint16_t burst, uint16_t bursts)
{
	struct iopf_iommu *iommu = q->iommu;
	struct iopf_event events[IOPF_MAX_BURST];
	struct iopf_pass pass;
	unsigned int total = 0;

	pass.queue = NULL;
	for (unsigned int b = 0; b < bursts; b++) {
		uint16_t n = iommu->driver->ops.poll(iommu->priv, q->id, events, burst);

		if (n == 0)
			break;
		if (pass.queue == NULL) {
			pass.queue = q;
			pass.nb_answers = pass.nb_after = pass.nb_inv = pass.nb_frees = 0;
			pass.nb_retries = 0;
			pass.run_domain = NULL;
			pass.run_faults = pass.run_answers = 0;
			memset(pass.run_codes, 0, sizeof(pass.run_codes));
		}
		pass.now = rte_rdtsc();
		pass.nb_faults = 0;
		iopf_self.in_fast = true;
		for (unsigned int i = 0; i < n; i++)
			handle(&pass, &events[i]);
		iopf_self.in_fast = false;
		pass_flush(&pass);
		iopf_count(iommu, IOPF_IOMMU_STAT_RECORDS, n);
		iopf_count(iommu, IOPF_IOMMU_STAT_BURSTS, 1);
		if (pass.nb_faults != 0)
			iopf_count(iommu, IOPF_IOMMU_STAT_FAULTS, pass.nb_faults);
		total += n;
		if (n < burst)
			break;
	}
	return total;
}

/*
 * The queue
 */

static bool
queue_own(struct iopf_queue *q)
{
	/* Acquire: with the release in queue_disown(). */
	return atomic_load_explicit(&q->owned, memory_order_relaxed) == 0 &&
		atomic_exchange_explicit(&q->owned, 1, memory_order_acquire) == 0;
}

static void
queue_disown(struct iopf_queue *q)
{
	atomic_store_explicit(&q->owned, 0, memory_order_release);
}

static void
queue_check(struct iopf_queue *q)
{
	struct iopf_iommu *iommu = q->iommu;
	uint64_t now = rte_rdtsc();
	unsigned int flags;

	if (now < q->next_check)
		return;
	q->next_check = now + rte_get_tsc_hz() / CHECKS_PER_S;
	if (atomic_load_explicit(&iommu->nb_deadlines, memory_order_relaxed) != 0)
		iopf_queue_expire(q, now, RTE_MIN(q->nb_slots, (uint32_t)EXPIRE_SLOTS));
	if (q->id != 0)
		return;
	/* Acquire: with the release in answering_end(). The next check may bring it up again. */
	if (iommu->recovering &&
			atomic_load_explicit(&iommu->answering, memory_order_acquire) != 0)
		return;
	flags = iommu->driver->ops.check(iommu->priv);
	iommu->recovering = flags & IOPF_CHECK_TERMINATED;
	if (likely(flags == 0))
		return;
	if ((flags & IOPF_CHECK_DEAD) && atomic_exchange(&iommu->dead, true))
		return;
	if (flags & (IOPF_CHECK_TERMINATED | IOPF_CHECK_DEAD)) {
		iopf_count(iommu, IOPF_IOMMU_STAT_RESETS, 1);
		for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
			iopf_queue_cancel(&iommu->queues[i], NULL, IOPF_CANCEL_TERMINATED);
	}
}

static unsigned int
queue_pass(struct iopf_queue *q, uint16_t burst, uint16_t bursts)
{
	uint32_t passes;
	unsigned int n;

	if (!atomic_load_explicit(&q->iommu->started, memory_order_acquire) || !queue_own(q))
		return 0;
	n = iopf_queue_drain(q, burst, bursts);
	passes = atomic_load_explicit(&q->passes, memory_order_relaxed) + 1;
	atomic_store_explicit(&q->passes, passes, memory_order_relaxed);
	if ((passes & (CLOCK_PASSES - 1)) == 0)
		queue_check(q);
	queue_disown(q);
	return n;
}

void
iopf_queue_fence(struct iopf_queue *q)
{
	const struct iopf_driver_ops *ops = &q->iommu->driver->ops;
	void *priv = q->iommu->priv;
	uint64_t mark = ops->queue_mark(priv, q->id);
	uint64_t patience = q->poller != NULL ? rte_get_tsc_hz() / STANDS_STILL : 0;
	uint64_t since = rte_rdtsc();
	uint32_t passes = atomic_load_explicit(&q->passes, memory_order_relaxed);

	while (!ops->queue_passed(priv, q->id, mark)) {
		uint32_t now = atomic_load_explicit(&q->passes, memory_order_relaxed);
		unsigned int n = 0;

		/* Without a running poller the one who waits drains. */
		if (now != passes) {
			passes = now;
			since = rte_rdtsc();
		} else if (rte_rdtsc() - since >= patience) {
			iopf_rcu_read_lock();
			n = queue_pass(q, IOPF_MAX_BURST, 4);
			iopf_rcu_read_unlock();
			passes = atomic_load_explicit(&q->passes, memory_order_relaxed);
		}
		if (n == 0)
			ops->wait(priv);
	}
}

/*
 * The poller
 */

struct iopf_poller *
iopf_poller_create(const struct iopf_poller_conf *conf)
{
	static const struct iopf_poller_conf defaults;
	struct poller_queues *queues;
	struct iopf_poller *poller;

	if (conf == NULL)
		conf = &defaults;
	if (conf->burst > IOPF_MAX_BURST) {
		IOPF_LOG(ERR, "poller: a burst of %u is more than %u", conf->burst,
				IOPF_MAX_BURST);
		rte_errno = EINVAL;
		return NULL;
	}
	poller = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*poller), RTE_CACHE_LINE_SIZE));
	queues = calloc(1, sizeof(*queues));
	if (poller == NULL || queues == NULL) {
		free(poller);
		free(queues);
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(poller, 0, sizeof(*poller));
	snprintf(poller->name, sizeof(poller->name), "%s",
			conf->name != NULL ? conf->name : "poller");
	poller->burst = conf->burst != 0 ? conf->burst : 32;
	poller->bursts = conf->bursts != 0 ? conf->bursts : 4;
	atomic_init(&poller->queues, queues);
	return poller;
}

/* The IOMMU's lock is held. */
static int
poller_change(struct iopf_poller *poller, struct iopf_queue *q, bool add)
{
	struct poller_queues *old, *new = calloc(1, sizeof(*new));
	int ret = 0;

	if (new == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&pollers_lock);
	old = atomic_load(&poller->queues);
	for (unsigned int i = 0; i < old->nb; i++)
		if (old->queues[i] != q)
			new->queues[new->nb++] = old->queues[i];
	if (add && new->nb == IOPF_MAX_POLLER_QUEUES)
		ret = -ENOSPC;
	else if (add)
		new->queues[new->nb++] = q;
	if (ret == 0) {
		/* Release: with the acquire in iopf_poll(). */
		atomic_store_explicit(&poller->queues, new, memory_order_release);
		q->poller = add ? poller : NULL;
	}
	pthread_mutex_unlock(&pollers_lock);
	if (ret == 0)
		iopf_rcu_synchronize();
	free(ret == 0 ? old : new);
	return ret;
}

static int
poller_queues_do(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue, bool add)
{
	uint32_t first = queue == IOPF_QUEUE_ALL ? 0 : queue;
	uint32_t last = queue == IOPF_QUEUE_ALL ? iommu->info.nb_queues : queue + 1;
	int ret = 0;

	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (queue != IOPF_QUEUE_ALL && queue >= iommu->info.nb_queues)
		return iopf_ret(-EINVAL);
	pthread_mutex_lock(&iommu->lock);
	for (uint32_t i = first; i < last && ret == 0; i++) {
		struct iopf_queue *q = &iommu->queues[i];

		if (q->poller != (add ? NULL : poller))
			ret = add ? -EEXIST : -EINVAL;
		else
			ret = poller_change(poller, q, add);
	}
	pthread_mutex_unlock(&iommu->lock);
	return iopf_ret(ret);
}

int
iopf_poller_add(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue)
{
	return poller_queues_do(poller, iommu, queue, true);
}

int
iopf_poller_remove(struct iopf_poller *poller, struct iopf_iommu *iommu, uint32_t queue)
{
	return poller_queues_do(poller, iommu, queue, false);
}

int
iopf_poller_destroy(struct iopf_poller *poller)
{
	struct poller_queues *queues;

	if (poller == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if (atomic_load(&poller->inside) != 0)
		return iopf_ret(-EBUSY);
	for (queues = atomic_load(&poller->queues); queues->nb > 0;
			queues = atomic_load(&poller->queues)) {
		struct iopf_queue *q = queues->queues[0];
		int ret = iopf_poller_remove(poller, q->iommu, q->id);

		if (ret < 0)
			return ret;
	}
	free(queues);
	free(poller);
	return 0;
}

unsigned int
iopf_poll(struct iopf_poller *poller)
{
	struct poller_queues *queues;
	unsigned int n = 0;

	atomic_store_explicit(&poller->inside, poller->inside + 1, memory_order_relaxed);
	iopf_rcu_read_lock();
	/* Acquire: with the release in poller_change(). */
	queues = atomic_load_explicit(&poller->queues, memory_order_acquire);
	for (unsigned int i = 0; i < queues->nb; i++)
		n += queue_pass(queues->queues[i], poller->burst, poller->bursts);
	iopf_rcu_read_unlock();
	atomic_store_explicit(&poller->inside, poller->inside - 1, memory_order_relaxed);
	return n;
}

int
iopf_poller_run(void *arg)
{
	struct iopf_poller *poller = arg;

	unsigned int idle = 0;

	atomic_fetch_add(&poller->inside, 1);
	while (!atomic_load_explicit(&poller->stop, memory_order_relaxed)) {
		if (iopf_poll(poller) != 0) {
			idle = 0;
			continue;
		}
		/* Whoever makes the faults may need this core. */
		if (++idle % YIELD_PASSES == 0)
			sched_yield();
		else
			rte_pause();
	}
	atomic_store(&poller->stop, false);
	atomic_fetch_sub(&poller->inside, 1);
	return 0;
}

void
iopf_poller_stop(struct iopf_poller *poller)
{
	atomic_store(&poller->stop, true);
}
