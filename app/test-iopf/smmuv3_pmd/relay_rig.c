/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>

#include "arena.h"
#include "backend_rig.h"
#include "iopf_iommu.h"
#include "iopf_pci.h"
#include "relay.h"
#include "relay_priv.h"
#include "relay_rig.h"
#include "relay_wrap.h"
#include "smmuv3_model_test.h"
#include "smmuv3_spec.h"
#include "test.h"

#define ARENA_SIZE	((size_t)2 << 20)
#define IPA_BITS	36
#define NB_RIGS		8
/* A turn waits for nothing but this machine. */
#define TURN_MS		10000
/* A thread that yields may hold what the turn waits for. */
#define YIELD_MS	1

/* StreamIDs of the guest's devices, in the tests. */
static const struct { uint32_t first, nb; } sids[] = { { 1, 31 }, { 0x42, 1 },
	{ 0x345, 1 } };

struct relay_rig {
	struct smmuv3_model *m;		/* the host's */
	struct iopf_iommu *smmu;
	struct iopf_poller *poller;
	struct iopf_dev *dev[RELAY_DEVS];
	unsigned int nb_devs;
	struct arena arena;
	struct pgt *pgt;
	struct iopf_domain *stage2;
	struct relay *relay;
	struct smmuv3_model_page page;

	/* The VMM. */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wanted_more, done_more;
	unsigned int wanted, done;	/* turns */
	unsigned int budget;		/* of the model in the next turn */
	unsigned int work;		/* of the last turn */
	_Atomic bool is_free;		/* the model has a thread, and turns need no call */
	bool stop;
};

static _Atomic(struct relay_rig *) rigs[NB_RIGS];
static _Thread_local bool is_vmm;

WRAPPED(unsigned int, smmuv3_model_step, struct smmuv3_model *m, unsigned int budget);
WRAPPED(int, smmuv3_model_start, struct smmuv3_model *m, int cpu);
WRAPPED(int, smmuv3_model_stop, struct smmuv3_model *m);

/*
 * The VMM
 */

static unsigned int
take_turn(struct relay_rig *r, unsigned int budget)
{
	unsigned int n = relay_step(r->relay);

	if (budget != 0)
		n += __real_smmuv3_model_step(r->m, budget);
	return n + iopf_poll(r->poller);
}

static void *
run_vmm(void *arg)
{
	struct relay_rig *r = arg;

	is_vmm = true;
	pthread_mutex_lock(&r->lock);
	while (!r->stop) {
		unsigned int turn = r->wanted, budget = r->is_free ? 0 : r->budget, n;

		if (turn == r->done && !r->is_free) {
			pthread_cond_wait(&r->wanted_more, &r->lock);
			continue;
		}
		pthread_mutex_unlock(&r->lock);
		n = take_turn(r, budget);
		if (n == 0 && r->is_free)
			syscall(SYS_sched_yield);
		pthread_mutex_lock(&r->lock);
		r->work = n;
		r->done = turn;
		pthread_cond_broadcast(&r->done_more);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

/* Returns the work of a turn, at least 1 if it has not ended in time. */
static unsigned int
want_turn(struct relay_rig *r, unsigned int budget, unsigned int ms)
{
	unsigned int turn, n = 1;
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	end.tv_sec += ms / 1000 + end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	pthread_mutex_lock(&r->lock);
	r->budget = budget;
	turn = ++r->wanted;
	pthread_cond_signal(&r->wanted_more);
	while ((int)(r->done - turn) < 0)
		if (pthread_cond_timedwait(&r->done_more, &r->lock, &end) != 0)
			break;
	if ((int)(r->done - turn) >= 0)
		n = r->work;
	pthread_mutex_unlock(&r->lock);
	return n;
}

static struct relay_rig *
find_rig(const struct smmuv3_model *m)
{
	for (unsigned int i = 0; i < NB_RIGS && !is_vmm; i++) {
		struct relay_rig *r = atomic_load(&rigs[i]);

		if (r != NULL && r->m == m)
			return r;
	}
	return NULL;
}

unsigned int
__wrap_smmuv3_model_step(struct smmuv3_model *m, unsigned int budget)
{
	struct relay_rig *r = find_rig(m);

	return r == NULL ? __real_smmuv3_model_step(m, budget) : want_turn(r, budget, TURN_MS);
}

static void
set_free(struct relay_rig *r, bool is_free)
{
	if (r == NULL)
		return;
	pthread_mutex_lock(&r->lock);
	r->is_free = is_free;
	pthread_cond_signal(&r->wanted_more);
	pthread_mutex_unlock(&r->lock);
	/* No turn that began before is still running. */
	if (!is_free)
		want_turn(r, 0, TURN_MS);
}

int
__wrap_smmuv3_model_start(struct smmuv3_model *m, int cpu)
{
	int ret = __real_smmuv3_model_start(m, cpu);

	if (ret == 0)
		set_free(find_rig(m), true);
	return ret;
}

int
__wrap_smmuv3_model_stop(struct smmuv3_model *m)
{
	int ret = __real_smmuv3_model_stop(m);

	if (ret == 0)
		set_free(find_rig(m), false);
	return ret;
}

struct smmuv3_front *
relay_rig_find_front(const struct smmuv3_model *m)
{
	struct relay_rig *r = find_rig(m);

	return r == NULL ? NULL : r->relay->front;
}

static void
yield(struct smmuv3_model *m)
{
	struct relay_rig *r = find_rig(m);

	if (r != NULL && !r->is_free)
		want_turn(r, 64, YIELD_MS);
}

/*
 * The host
 */

static void
on_report(struct iopf_iommu *smmu, const struct iopf_fault *fault, void *ctx)
{
	struct relay_rig *r = ctx;

	RTE_SET_USED(smmu);
	relay_report(r->relay, fault);
}

/* All of the guest's memory is mapped. */
static enum iopf_verdict
on_stage2_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(group);
	RTE_SET_USED(ctx);
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
make_stage2(struct relay_rig *r)
{
	uint64_t addr;

	r->arena = (struct arena){ .mem = aligned_alloc(1 << 16, ARENA_SIZE), .size = ARENA_SIZE };
	assert_non_null(r->arena.mem);
	memset(r->arena.mem, 0, ARENA_SIZE);
	assert_int_equal(iopf_dma_map(r->smmu, r->arena.mem, ARENA_SIZE, &addr), 0);
	assert_int_equal(iopf_dma_map(r->smmu, r->page.mem, r->page.mem_size, &addr), 0);
	assert_int_not_equal(addr, r->page.mem_addr);
	r->pgt = pgt_create(&(struct pgt_conf){ .stage2 = true, .va_bits = IPA_BITS,
		.mem = arena_pgt_mem(&r->arena) });
	assert_non_null(r->pgt);
	assert_int_equal(pgt_map(r->pgt, r->page.mem_addr, addr, r->page.mem_size,
			PGT_READ | PGT_WRITE), 0);
	r->stage2 = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_stage2_fault,
		.translation = { .format = IOPF_FORMAT_ARM64_S2, .root = pgt_root(r->pgt),
			.va_bits = IPA_BITS, .granule_log2 = pgt_granule_log2(r->pgt) } });
	assert_non_null(r->stage2);
}

/* The guest's driver of an endpoint switches its ATS and PRI on and off, in the test. */
static int
leave_ats_on(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(stu);
	RTE_SET_USED(ctx);
	return 0;
}

static int
leave_pri_on(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(n);
	RTE_SET_USED(ctx);
	return 0;
}

static int
leave(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return 0;
}

static bool
is_drained(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return true;
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = leave_ats_on,
	.ats_disable = leave,
	.pri_enable = leave_pri_on,
	.pri_disable = leave,
	.pri_drained = is_drained,
};

static void
add_dev(struct relay_rig *r, uint32_t sid)
{
	const unsigned int bits = iopf_iommu_info(r->smmu)->pasid_bits;
	struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1,
		.nb_pasids = bits == 0 ? 0 : 1u << bits };
	struct iopf_dev *dev;

	if (r->relay->conf.smmu.features & SMMUV3_MODEL_PRI) {
		conf.recover = IOPF_PRI;
		conf.pci = &pci_ops;
		conf.pri_overcommit = true;
	} else if (r->relay->conf.smmu.stall_model == SMMUV3_STALL_MODEL_TERM) {
		conf.recover = IOPF_TERMINATE;
	}
	dev = iopf_dev_add(r->smmu, &conf);
	assert_non_null(dev);
	r->dev[r->nb_devs++] = dev;
	assert_int_equal(relay_add_dev(r->relay, sid, dev, sid), 0);
}

struct smmuv3_model_conf
relay_rig_make_host_conf(const struct smmuv3_model_conf *conf)
{
	return (struct smmuv3_model_conf){
		.name = conf->name,
		.ssid_bits = conf->ssid_bits,
		.stall_model = conf->stall_model,
		.stall_max = conf->stall_max != 0 ? RTE_MIN(conf->stall_max, RELAY_STALLS) :
			RELAY_STALLS,
		.features = SMMUV3_MODEL_S2 | (conf->features & (SMMUV3_MODEL_ATS |
			SMMUV3_MODEL_PRI | SMMUV3_MODEL_PPS)),
		.atc_timeout_ms = conf->atc_timeout_ms,
		.choices = conf->choices,
		.harsh = conf->harsh,
		.tlb_log2 = conf->tlb_log2,
		.seed = conf->seed,
	};
}

/* The rest of the test's. */
static struct smmuv3_model_conf
make_guest_conf(const struct smmuv3_model_conf *conf)
{
	return (struct smmuv3_model_conf){
		.sid_bits = conf->sid_bits,
		.cmdq_log2 = conf->cmdq_log2,
		.evtq_log2 = conf->evtq_log2,
		.priq_log2 = conf->priq_log2,
		.features = conf->features & SMMUV3_MODEL_PPS,
		.oas_bits = conf->oas_bits,
		.stall_model = conf->stall_model,
		.stall_max = conf->stall_max,
		.no_features = conf->no_features,
		.choices = conf->choices & SMMUV3_MODEL_LAX_RES0,
		.ack_delay = conf->ack_delay,
	};
}

struct relay_rig *
relay_rig_create(struct smmuv3_model *m, const struct smmuv3_model_conf *conf,
		const struct smmuv3_model_page *page)
{
	struct relay_rig *r = calloc(1, sizeof(*r));
	unsigned int at = 0;
	char devstr[64];

	assert_non_null(r);
	r->m = m;
	r->page = *page;
	snprintf(devstr, sizeof(devstr), "smmuv3,model=%s", conf->name);
	r->smmu = iopf_iommu_open(devstr);
	assert_non_null(r->smmu);
	assert_int_equal(iopf_iommu_configure(r->smmu, &(struct iopf_iommu_conf){
		.report = on_report, .report_ctx = r }), 0);
	make_stage2(r);
	r->poller = iopf_poller_create(NULL);
	assert_non_null(r->poller);
	assert_int_equal(iopf_poller_add(r->poller, r->smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(r->smmu), 0);
	r->relay = relay_create(&(struct relay_conf){ .iommu = r->smmu, .parent = r->stage2,
		.regs = page->regs, .regs_size = page->regs_size, .mem_addr = page->mem_addr,
		.mem = page->mem, .mem_size = page->mem_size, .smmu = make_guest_conf(conf) });
	assert_non_null(r->relay);
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		for (uint32_t sid = sids[i].first; sid < sids[i].first + sids[i].nb; sid++)
			if ((uint64_t)sid >> r->relay->conf.smmu.sid_bits == 0)
				add_dev(r, sid);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->wanted_more, NULL);
	pthread_cond_init(&r->done_more, NULL);
	assert_int_equal(pthread_create(&r->thread, NULL, run_vmm, r), 0);
	while (at < NB_RIGS && atomic_load(&rigs[at]) != NULL)
		at++;
	assert_int_not_equal(at, NB_RIGS);
	atomic_store(&rigs[at], r);
	return r;
}

void
relay_rig_destroy(struct relay_rig *r)
{
	for (unsigned int i = 0; i < NB_RIGS; i++)
		if (atomic_load(&rigs[i]) == r)
			atomic_store(&rigs[i], NULL);
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_signal(&r->wanted_more);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	assert_int_equal(relay_count_stalls(r->relay) + relay_count_groups(r->relay), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(r->m), 0);
	assert_int_equal(relay_destroy(r->relay), 0);
	for (unsigned int i = 0; i < r->nb_devs; i++)
		assert_int_equal(iopf_dev_remove(r->dev[i]), 0);
	assert_int_equal(iopf_domain_destroy(r->stage2), 0);
	assert_int_equal(iopf_iommu_stop(r->smmu), 0);
	assert_int_equal(iopf_poller_destroy(r->poller), 0);
	assert_int_equal(iopf_dma_unmap(r->smmu, r->page.mem, r->page.mem_size,
			(uintptr_t)r->page.mem), 0);
	assert_int_equal(iopf_dma_unmap(r->smmu, r->arena.mem, ARENA_SIZE,
			(uintptr_t)r->arena.mem), 0);
	assert_int_equal(iopf_iommu_close(r->smmu), 0);
	for (unsigned int i = 0; smmuv3_model_driver_error(r->m, i) != NULL; i++)
		print_error("host's driver error: %s\n", smmuv3_model_driver_error(r->m, i));
	assert_int_equal(smmuv3_model_driver_errors(r->m), 0);
	pgt_destroy(r->pgt);
	free(r->arena.mem);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wanted_more);
	pthread_cond_destroy(&r->done_more);
	free(r);
}

static const struct backend_rig_relay ops = {
	.find_missing = relay_rig_find_missing,
	.make_host_conf = relay_rig_make_host_conf,
	.create = relay_rig_create,
	.destroy = relay_rig_destroy,
	.yield = yield,
};

__attribute__((constructor)) static void
relay_rig_register(void)
{
	backend_rig_relay = &ops;
}
