/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "iopf_policy.h"
#include "test.h"
#include "uf_smmu.h"

#define SID		8
#define BY_SID		9
#define EVTQ_LOG2	2

struct sm sm;

#define AWAIT(what)							\
	do {								\
		for (unsigned int i_ = 0; i_ < 200000 && !(what); i_++)	\
			usleep(50);					\
		assert_true(what);					\
	} while (0)

/*
 * Handlers
 */

static void
map_page(struct pcie_space *s, uint64_t addr)
{
	uint64_t page = (addr - PCIE_VA) / PCIE_PAGE;
	int ret = pgt_resolve(s->pgt, addr, (uintptr_t)s->data + page * PCIE_PAGE, s->prot);

	assert_true(ret == 0 || ret == -EALREADY);
}

static void
map_group(struct sm_space *s, const struct iopf_group *group)
{
	struct sm_space *of = s == &sm.spare ? &sm.space : s;

	for (unsigned int i = 0; i < group->nb_faults; i++)
		map_page(&of->space, group->faults[i]->addr);
}

enum iopf_verdict
sm_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct sm_space *s = ctx;
	enum iopf_verdict verdict = s->verdict;

	(void)domain;
	s->id = group->id;
	if (verdict == IOPF_ANSWER(IOPF_SUCCESS))
		map_group(s, group);
	s->calls++;
	return verdict;
}

enum iopf_verdict
sm_deferred(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct sm_space *s = ctx;

	(void)domain;
	s->deferred_calls++;
	while (s->hold)
		usleep(50);
	/* Not for an access that the change has ended: the memory stays untouched. */
	map_group(s, group);
	s->deferred_ends++;
	return IOPF_ANSWER(IOPF_SUCCESS);
}

/* With the tables of the rig, and handlers of this file. */
static void
space_create(struct sm_space *s)
{
	struct pgt_info info;

	pcie_create_space(&sm.r, &s->space);
	assert_int_equal(0, iopf_domain_destroy(s->space.domain));
	pgt_info(s->space.pgt, &info);
	s->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s->space.domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = sm_fast, .deferred = sm_deferred, .worker = sm.worker, .ctx = s,
		.storm = sm.place == SM_JOINED ?
			&(struct iopf_storm_conf){ .join_log2 = 12 } : NULL,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = info.root,
			.va_bits = info.va_bits, .granule_log2 = info.granule_log2 } });
	assert_non_null(s->space.domain);
}

void
sm_map_first(struct sm_space *s)
{
	for (unsigned int i = 0; i < sm.pages; i++)
		map_page(&s->space, PCIE_VA + (uint64_t)i * PCIE_PAGE);
}

bool
sm_is_untouched(const struct sm_space *s)
{
	static const uint8_t zeros[PCIE_PAGE];

	for (unsigned int i = 0; i < PCIE_PAGES; i++)
		if (memcmp(s->space.data + (size_t)i * PCIE_PAGE, zeros, PCIE_PAGE) != 0)
			return false;
	return true;
}

/*
 * Devices
 */

static struct iopf_dev *
add_stalling_dev(uint32_t sid)
{
	struct iopf_dev *dev = iopf_dev_add(sm.r.iommu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1, .nb_pasids = 8, .wait_ms = 60000 });

	assert_non_null(dev);
	return dev;
}

static struct smmuv3_model_dma *
create_stalling_engine(uint32_t sid, uint32_t pasid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(sm.r.m,
			&(struct smmuv3_model_dma_conf){ .sid = sid, .has_ssid = true,
			.ssid = pasid });

	assert_non_null(dma);
	return dma;
}

void
sm_open(enum sm_place place, bool requests, bool other_pasid)
{
	memset(&sm, 0, sizeof(sm));
	sm.place = place;
	sm.requests = requests;
	/* A leader is one stall: a group joins with one page. */
	sm.pages = requests && place != SM_JOINED ? 4 : 1;
	sm.spare.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	pcie_mute_log(true);
	pcie_open(&sm.r, &(struct smmuv3_model_conf){ .evtq_log2 = EVTQ_LOG2,
			.choices = SMMUV3_MODEL_TORN_FETCH }, NULL);
	sm.worker = iopf_worker_create(NULL);
	assert_non_null(sm.worker);
	space_create(&sm.space);
	space_create(&sm.other);
	space_create(&sm.by);
	space_create(&sm.next);
	if (requests) {
		pcie_add_fn(&sm.r, &sm.fn, SID, &(struct iopf_dev_conf){ .nb_pasids = 8,
				.wait_ms = 60000 });
		sm.dev = sm.fn.dev;
		sm.dma = pcie_create_pasid_engine(&sm.r, &sm.fn, 1, 4, 0, false);
		sm.other_dma = pcie_create_pasid_engine(&sm.r, &sm.fn, 2, 4, 0, false);
	} else {
		sm.dev = add_stalling_dev(SID);
		sm.dma = create_stalling_engine(SID, 1);
		sm.other_dma = create_stalling_engine(SID, 2);
	}
	sm.bystander = add_stalling_dev(BY_SID);
	sm.by_dma = create_stalling_engine(BY_SID, 1);
	sm.leader_dma = create_stalling_engine(BY_SID, 2);
	assert_int_equal(0, iopf_domain_attach(sm.space.space.domain, sm.dev, 1));
	if (other_pasid)
		assert_int_equal(0, iopf_domain_attach(sm.other.space.domain, sm.dev, 2));
	assert_int_equal(0, iopf_domain_attach(sm.by.space.domain, sm.bystander, 1));
	if (place == SM_JOINED)
		assert_int_equal(0, iopf_domain_attach(sm.space.space.domain, sm.bystander, 2));
	sm.second = iopf_poller_create(NULL);
	assert_non_null(sm.second);
}

void
sm_close(void)
{
	if (!sm.requests) {
		assert_int_equal(0, iopf_dev_remove(sm.dev));
		smmuv3_model_dma_destroy(sm.dma);
		smmuv3_model_dma_destroy(sm.other_dma);
	}
	assert_int_equal(0, iopf_dev_remove(sm.bystander));
	smmuv3_model_dma_destroy(sm.by_dma);
	smmuv3_model_dma_destroy(sm.leader_dma);
	assert_int_equal(0, iopf_poller_destroy(sm.second));
	/* The oracle and the log of driver errors are checked there. */
	pcie_close(&sm.r);
	assert_int_equal(0, iopf_worker_destroy(sm.worker));
	pcie_mute_log(false);
}

/*
 * Places
 */

static void
submit(void)
{
	pcie_write(&sm.r, sm.dma, 0, sm.pages);
}

/* All entries of the event queue are faults of the bystander. */
static void
fill_event_queue(void)
{
	for (unsigned int i = 0; i < 1u << EVTQ_LOG2; i++)
		pcie_write(&sm.r, sm.by_dma, i, 1);
	pcie_run_model(&sm.r);
	assert_int_equal(1u << EVTQ_LOG2, pcie_model_stat(&sm.r, SMMUV3_MODEL_STAT_STALLS));
}

void
sm_put_in_place(void)
{
	struct sm_space *s = &sm.space;

	switch (sm.place) {
	case SM_UNSENT:
		submit();
		break;
	case SM_HELD:
		fill_event_queue();
		submit();
		pcie_run_model(&sm.r);
		assert_int_equal(1u << EVTQ_LOG2,
				pcie_model_stat(&sm.r, SMMUV3_MODEL_STAT_STALLS));
		assert_int_equal(1, pcie_model_stat(&sm.r, SMMUV3_MODEL_STAT_STALLS_HELD));
		break;
	case SM_PARTIAL:
		submit();
		pcie_run_until_sent(&sm.r, 2);
		assert_int_equal(2, pcie_poll(&sm.r));
		break;
	case SM_QUEUE:
		submit();
		pcie_run_model(&sm.r);
		break;
	case SM_RING:
		sm.by.hold = true;
		sm.by.verdict = IOPF_DEFER;
		pcie_write(&sm.r, sm.by_dma, 0, 1);
		pcie_run(&sm.r);
		AWAIT(sm.by.deferred_calls == 1);
		sm.by.verdict = IOPF_ANSWER(IOPF_SUCCESS);
		s->verdict = IOPF_DEFER;
		submit();
		pcie_run(&sm.r);
		assert_int_equal(1, s->calls);
		break;
	case SM_WORKER:
		s->hold = true;
		s->verdict = IOPF_DEFER;
		submit();
		pcie_run(&sm.r);
		AWAIT(s->deferred_calls == 1);
		break;
	case SM_TAKEN:
		s->verdict = IOPF_TAKEN;
		submit();
		pcie_run(&sm.r);
		assert_int_equal(1, s->calls);
		break;
	case SM_JOINED:
		s->verdict = IOPF_TAKEN;
		pcie_write(&sm.r, sm.leader_dma, 0, 1);
		pcie_run(&sm.r);
		submit();
		pcie_run(&sm.r);
		assert_int_equal(1, s->calls);
		assert_int_equal(1, iopf_domain_stat(s->space.domain, IOPF_STAT_JOINED));
		break;
	}
	s->verdict = IOPF_ANSWER(IOPF_SUCCESS);
}

void
sm_run(void)
{
	do {
		pcie_run(&sm.r);
	} while (iopf_poll(sm.second) != 0);
}

enum smmuv3_model_status
sm_take_end(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done;
	unsigned int n = 0;

	/* A worker thread may have to answer. */
	for (unsigned int i = 0; i < 20000 && n == 0; i++) {
		if (i != 0)
			usleep(50);
		sm_run();
		n = smmuv3_model_dma_poll(dma, &done, 1);
	}
	assert_int_equal(1, n);
	assert_int_equal(0, smmuv3_model_dma_outstanding(dma));
	return done.status;
}

enum smmuv3_model_status
sm_access(struct smmuv3_model_dma *dma, unsigned int page)
{
	pcie_write(&sm.r, dma, page, dma == sm.by_dma ? 1 : sm.pages);
	return sm_take_end(dma);
}
