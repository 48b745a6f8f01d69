/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_lcore.h>
#include <rte_ring_elem.h>

#include "iopf_private.h"
#include "iopf_support.h"

#define DEFAULT_SIZE	65536
/* A nap grows from the first to the second while there is nothing to do. */
#define NAP_MIN_NS	5000
#define NAP_MAX_NS	200000

static enum iopf_verdict
call_deferred(struct iopf_domain *domain, const struct iopf_group *group)
{
	enum iopf_verdict verdict;

	iopf_self.in_handler = true;
	verdict = domain->conf.deferred(domain, group, domain->conf.ctx);
	iopf_self.in_handler = false;
	return verdict;
}

static void
work(uint64_t id)
{
	uint32_t gen = IOPF_ID_GEN(id);
	uint32_t handling = IOPF_SLOT_WORD(gen, IOPF_SLOT_HANDLING);
	struct iopf_attachment *attachment;
	struct iopf_fault *slot;
	struct iopf_queue *q;
	enum iopf_verdict verdict;

	/* Until this thread gives the slot back its IOMMU is not closed. */
	slot = iopf_slot_find(id, &q);
	if (slot == NULL)
		return;
	if (iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_QUEUED), handling)) {
		const struct iopf_fault *faults[IOPF_MAX_GROUP_FAULTS];
		struct iopf_group group = {
			.id = id,
			.nb_faults = iopf_prg_faults(q, slot, faults),
			.faults = faults,
		};

		attachment = slot->attachment;
		group.dev = attachment->dev;
		group.pasid = attachment->pasid;
		verdict = call_deferred(attachment->domain, &group);
		if (verdict == IOPF_TAKEN) {
			iopf_domain_count(attachment->domain, IOPF_STAT_TAKEN, 1);
			if (iopf_slot_cas(slot, handling, IOPF_SLOT_WORD(gen, IOPF_SLOT_TAKEN)))
				return;
		} else {
			enum iopf_code code = verdict & 0xff;

			/* Only answers are left to a deferred handler. */
			if ((verdict & ~0xff) != IOPF_VERDICT_ANSWER || code >= IOPF_NB_CODES)
				code = IOPF_INVALID;
			iopf_group_respond(id, code);
		}
	}
	/*
	 * Answered, by us or by somebody else, and left to us to free. A detach that finds the
	 * slot free waits for a grace period before it lets the queue go.
	 */
	iopf_rcu_read_lock();
	if (iopf_slot_cas(slot, IOPF_SLOT_WORD(gen, IOPF_SLOT_DONE),
			iopf_slot_free_word(gen)))
		iopf_slot_free(q, slot);
	iopf_rcu_read_unlock();
}

static void *
worker_run(void *arg)
{
	struct iopf_worker *worker = arg;
	struct timespec nap = { .tv_nsec = NAP_MIN_NS };
	uint64_t id;

	while (!atomic_load_explicit(&worker->stop, memory_order_acquire)) {
		if (rte_ring_dequeue_elem(worker->ring, &id, sizeof(id)) == 0) {
			work(id);
			nap.tv_nsec = NAP_MIN_NS;
			continue;
		}
		clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
		nap.tv_nsec = RTE_MIN(nap.tv_nsec * 2, (long)NAP_MAX_NS);
	}
	return NULL;
}

int
iopf_worker_defer(struct iopf_worker *worker, uint64_t id)
{
	return rte_ring_enqueue_elem(worker->ring, &id, sizeof(id));
}

struct iopf_worker *
iopf_worker_create(const struct iopf_worker_conf *conf)
{
	static _Atomic unsigned int serial;
	static const struct iopf_worker_conf defaults;
	unsigned int nb_threads, size;
	struct iopf_worker *worker;
	char name[RTE_RING_NAMESIZE];
	int ret = 0;

	if (conf == NULL)
		conf = &defaults;
	nb_threads = conf->nb_threads != 0 ? conf->nb_threads : 1;
	size = conf->size != 0 ? conf->size : DEFAULT_SIZE;
	if (nb_threads > 64 || size > IOPF_MAX_SLOTS) {
		IOPF_LOG(ERR, "worker: %u threads and %u groups; at most 64 and %u", nb_threads,
				size, IOPF_MAX_SLOTS);
		rte_errno = EINVAL;
		return NULL;
	}
	size = rte_align32pow2(size);
	worker = calloc(1, sizeof(*worker) + nb_threads * sizeof(worker->threads[0]));
	if (worker == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	worker->name = strdup(conf->name != NULL ? conf->name : "worker");
	snprintf(name, sizeof(name), "iopf_worker_%u", atomic_fetch_add(&serial, 1));
	worker->ring = rte_ring_create_elem(name, sizeof(uint64_t), size * 2, SOCKET_ID_ANY,
			RING_F_MP_HTS_ENQ | RING_F_MC_HTS_DEQ);
	if (worker->name == NULL || worker->ring == NULL) {
		IOPF_LOG(ERR, "worker: no memory for a ring of %u groups: give EAL more (-m), or "
				"the worker a smaller size", size);
		ret = -ENOMEM;
	}
	for (unsigned int i = 0; i < nb_threads && ret == 0; i++) {
		ret = iopf_thread_create(&worker->threads[i], "iopf-worker", worker_run, worker);
		if (ret == 0)
			worker->nb_threads++;
	}
	if (ret != 0) {
		iopf_worker_destroy(worker);
		rte_errno = ret == -ENOMEM ? ENOMEM : EAGAIN;
		return NULL;
	}
	return worker;
}

int
iopf_worker_destroy(struct iopf_worker *worker)
{
	if (worker == NULL)
		return 0;
	if (atomic_load(&worker->nb_domains) != 0)
		return iopf_ret(-EBUSY);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	atomic_store_explicit(&worker->stop, true, memory_order_release);
	for (unsigned int i = 0; i < worker->nb_threads; i++)
		pthread_join(worker->threads[i], NULL);
	rte_ring_free(worker->ring);
	free(worker->name);
	free(worker);
	return 0;
}
