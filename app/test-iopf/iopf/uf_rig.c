/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_log.h>

#include "uf_rig.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "test.h"

#define SID	7
#define SID2	9

struct uf uf;

/*
 * Handlers
 */

static void
enter(struct uf_space *s)
{
	s->running++;
	s->violations += s->over;
}

static void
leave(struct uf_space *s)
{
	s->violations += s->over;
	s->running--;
}

enum iopf_verdict
uf_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct uf_space *s = ctx;
	uint16_t token = group->faults[0]->token;
	enum iopf_verdict verdict = s->verdict;

	(void)domain;
	enter(s);
	s->calls++;
	if (token == TOKEN)
		s->id = group->id;
	if (token == TOKEN_LEADER)
		s->leader_id = group->id;
	if (token == s->hold_fast) {
		s->in_fast = true;
		while (!uf.release_fast)
			usleep(50);
	}
	leave(s);
	return verdict;
}

enum iopf_verdict
uf_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct uf_space *s = ctx;

	(void)domain;
	(void)group;
	enter(s);
	s->deferred_calls++;
	s->in_deferred = true;
	while (s->hold_deferred)
		usleep(50);
	leave(s);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/*
 * The device
 */

static int
dev_op(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return 0;
}

static int
dev_op_n(struct iopf_dev *dev, unsigned int n, void *ctx)
{
	(void)dev;
	(void)n;
	(void)ctx;
	return 0;
}

/* The device waits for the answers to its groups that are complete. */
static bool
dev_drained(struct iopf_dev *dev, void *ctx)
{
	unsigned int answers = 0;

	(void)ctx;
	if (dev != uf.dev)
		return true;
	pthread_mutex_lock(&hw.lock);
	for (unsigned int i = 0; i < hw.nb_out; i++)
		answers += hw.out[i].answer.sid == SID;
	pthread_mutex_unlock(&hw.lock);
	return answers == uf.groups;
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = dev_op_n, .ats_disable = dev_op,
	.pri_enable = dev_op_n, .pri_disable = dev_op, .pri_drained = dev_drained,
};

static struct iopf_dev *
add_dev(uint32_t sid)
{
	struct iopf_dev_conf conf = {
		.sids = &sid, .nb_sids = 1, .nb_pasids = 8,
		.recover = uf.requests ? IOPF_PRI : IOPF_STALL,
		.pri_requests = uf.requests ? 4 : 0,
		.wait_ms = 60000,	/* longer than any test */
		.pci = uf.requests ? &pci_ops : NULL,
	};
	struct iopf_dev *dev = iopf_dev_add(uf.iommu, &conf);

	assert_non_null(dev);
	return dev;
}

static void
space_create(struct uf_space *s, const char *name)
{
	s->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s->domain = iopf_domain_create(&(struct iopf_domain_conf){ .name = name,
			.handler = uf_fast, .deferred = uf_deferred, .worker = uf.worker,
			.ctx = s, .storm = uf.place == UF_JOINED ?
			&(struct iopf_storm_conf){ .join_log2 = 12 } : NULL });
	assert_non_null(s->domain);
}

void
uf_open(enum uf_place place, bool requests, bool other_pasid)
{
	static unsigned int serial;
	char devstr[32];

	memset(&uf, 0, sizeof(uf));
	array_iommu_reset();
	hw.requests = true;
	uf.place = place;
	uf.requests = requests;
	uf.left_attached = hw.attached;
	uf.left_domains = hw.domains;
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	/* A cell that failed leaves its IOMMU. */
	snprintf(devstr, sizeof(devstr), "arrays,n=%u", serial++);
	uf.iommu = iopf_iommu_open(devstr);
	assert_non_null(uf.iommu);
	uf.worker = iopf_worker_create(NULL);
	assert_non_null(uf.worker);
	space_create(&uf.space, "space");
	space_create(&uf.other, "other");
	space_create(&uf.by, "by");
	space_create(&uf.next, "next");
	uf.spare.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	uf.dev = add_dev(SID);
	uf.bystander = add_dev(SID2);
	assert_int_equal(0, iopf_domain_attach(uf.space.domain, uf.dev, 1));
	if (other_pasid)
		assert_int_equal(0, iopf_domain_attach(uf.other.domain, uf.dev, 2));
	assert_int_equal(0, iopf_domain_attach(uf.by.domain, uf.bystander, 1));
	if (place == UF_JOINED)
		assert_int_equal(0, iopf_domain_attach(uf.space.domain, uf.bystander, 2));
	for (unsigned int i = 0; i < 2; i++) {
		uf.pollers[i] = iopf_poller_create(NULL);
		assert_non_null(uf.pollers[i]);
	}
	assert_int_equal(0, iopf_poller_add(uf.pollers[0], uf.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(uf.iommu));
	uf_poll_begin(0);
}

void
uf_close(void)
{
	uf_poll_end(0);
	uf_poll_end(1);
	assert_int_equal(0, iopf_dev_remove(uf.dev));
	assert_int_equal(0, iopf_dev_remove(uf.bystander));
	assert_int_equal(0, iopf_domain_pending(uf.space.domain));
	assert_int_equal(0, iopf_domain_pending(uf.other.domain));
	assert_int_equal(0, iopf_domain_pending(uf.by.domain));
	assert_int_equal(0, iopf_domain_pending(uf.next.domain));
	for (unsigned int i = 0; uf.iommu != NULL && i < 2; i++)
		assert_int_equal(0, iopf_queue_nb_held(&uf.iommu->queues[i]));
	if (uf.iommu != NULL)
		assert_int_equal(0, iopf_iommu_stop(uf.iommu));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, iopf_poller_destroy(uf.pollers[i]));
	assert_int_equal(0, iopf_domain_destroy(uf.space.domain));
	assert_int_equal(0, iopf_domain_destroy(uf.other.domain));
	assert_int_equal(0, iopf_domain_destroy(uf.by.domain));
	assert_int_equal(0, iopf_domain_destroy(uf.next.domain));
	assert_int_equal(0, iopf_worker_destroy(uf.worker));
	assert_int_equal(0, iopf_iommu_close(uf.iommu));
	assert_int_equal(0, uf.space.violations);
	assert_int_equal(0, hw.misused);
	assert_int_equal(uf.left_attached, hw.attached);
	assert_int_equal(uf.left_domains, hw.domains);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
}

/*
 * The poll threads
 */

static void *
poll_main(void *arg)
{
	uintptr_t i = (uintptr_t)arg;

	while (!uf.poll_end[i])
		if (iopf_poll(uf.pollers[i]) == 0)
			usleep(20);
	return NULL;
}

void
uf_poll_begin(unsigned int poller)
{
	uf.poll_end[poller] = false;
	uf.polls[poller] = true;
	pthread_create(&uf.poll_threads[poller], NULL, poll_main, (void *)(uintptr_t)poller);
}

void
uf_poll_end(unsigned int poller)
{
	if (!uf.polls[poller])
		return;
	uf.poll_end[poller] = true;
	pthread_join(uf.poll_threads[poller], NULL);
	uf.polls[poller] = false;
}

/*
 * Faults
 */

static void
put_request(uint32_t sid, uint32_t pasid, uint16_t token, uint64_t addr, uint8_t flags)
{
	uf.groups += sid == SID && (flags & IOPF_EVENT_LAST);
	array_put(IOPF_QUEUE_REQUESTS, &(struct iopf_event){ .addr = addr, .sid = sid,
			.pasid = pasid, .token = token, .perm = IOPF_PERM_READ,
			.flags = IOPF_EVENT_PAGE_REQUEST | flags });
}

void
uf_put(struct iopf_dev *dev, uint32_t pasid, uint16_t token)
{
	uint32_t sid = dev == uf.dev ? SID : SID2;

	if (uf.requests) {
		put_request(sid, pasid, token, 0x1000, 0);
		put_request(sid, pasid, token, 0x2000, IOPF_EVENT_LAST);
	} else {
		array_put(IOPF_QUEUE_EVENTS, &(struct iopf_event){ .addr = 0x1000, .sid = sid,
				.pasid = pasid, .token = token, .perm = IOPF_PERM_READ,
				.flags = IOPF_EVENT_STALL, .raw_id = 0x10 });
	}
}

void
uf_put_last(void)
{
	put_request(SID, 1, TOKEN, 0x2000, IOPF_EVENT_LAST);
}

/* The IOMMU changes the device's entry: it writes the records of all stalls before that. */
static void
put_at_change(bool attached)
{
	(void)attached;
	if (uf.put_at != 0 && hw.attached != uf.left_attached + uf.put_at)
		return;
	hw.on_attach = NULL;
	hw.on_replace = NULL;
	uf_put(uf.dev, 1, TOKEN);
}

/* Before the switch: the fault is of the old domain. */
static void
put_at_replace(void)
{
	put_at_change(true);
}

void
uf_put_in_place(void)
{
	struct uf_space *s = &uf.space;

	switch (uf.place) {
	case UF_PARTIAL:
		put_request(SID, 1, TOKEN, 0x1000, 0);
		UF_AWAIT(hw.q[IOPF_QUEUE_REQUESTS].cons == 1);
		break;
	case UF_QUEUE:
		uf_poll_end(0);
		uf_put(uf.dev, 1, TOKEN);
		break;
	case UF_FAST:
		s->hold_fast = TOKEN;
		uf_put(uf.dev, 1, TOKEN);
		UF_AWAIT(s->in_fast);
		break;
	case UF_RING:
		uf.by.hold_deferred = true;
		uf.by.verdict = IOPF_DEFER;
		uf_put(uf.bystander, 1, TOKEN_RING);
		UF_AWAIT(uf.by.in_deferred);
		uf.by.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		s->verdict = IOPF_DEFER;
		uf_put(uf.dev, 1, TOKEN);
		UF_AWAIT(iopf_domain_stat(s->domain, IOPF_STAT_DEFERRED) == 1);
		break;
	case UF_WORKER:
		s->hold_deferred = true;
		s->verdict = IOPF_DEFER;
		uf_put(uf.dev, 1, TOKEN);
		UF_AWAIT(s->in_deferred);
		break;
	case UF_TAKEN:
		s->verdict = IOPF_TAKEN;
		uf_put(uf.dev, 1, TOKEN);
		UF_AWAIT(iopf_domain_stat(s->domain, IOPF_STAT_TAKEN) == 1);
		break;
	case UF_JOINED:
		s->verdict = IOPF_TAKEN;
		uf_put(uf.bystander, 2, TOKEN_LEADER);
		UF_AWAIT(iopf_domain_stat(s->domain, IOPF_STAT_TAKEN) == 1);
		uf_put(uf.dev, 1, TOKEN);
		UF_AWAIT(iopf_domain_stat(s->domain, IOPF_STAT_JOINED) == 1);
		break;
	case UF_STAGED:
		/* Both in one burst. */
		uf_poll_end(0);
		s->hold_fast = TOKEN_BEHIND;
		uf_put(uf.dev, 1, TOKEN);
		uf_put(uf.dev, 1, TOKEN_BEHIND);
		uf_poll_begin(0);
		UF_AWAIT(s->in_fast);
		break;
	case UF_STALLED:
		hw.on_attach = put_at_change;
		hw.on_replace = put_at_replace;
		break;
	}
}

/*
 * The change
 */

static void *
change_main(void *arg)
{
	(void)arg;
	uf.ret = uf.change();
	uf.changed = true;
	return NULL;
}

void
uf_change_begin(int (*change)(void))
{
	uf.change = change;
	pthread_create(&uf.changer, NULL, change_main, NULL);
}

int
uf_change_end(void)
{
	pthread_join(uf.changer, NULL);
	return uf.ret;
}

/*
 * Answers
 */

unsigned int
uf_answers(uint16_t token, enum iopf_code *code)
{
	unsigned int n = 0;

	pthread_mutex_lock(&hw.lock);
	for (unsigned int i = 0; i < hw.nb_out; i++) {
		if (hw.out[i].answer.token != token)
			continue;
		n++;
		if (code != NULL)
			*code = hw.out[i].answer.code;
	}
	pthread_mutex_unlock(&hw.lock);
	return n;
}
