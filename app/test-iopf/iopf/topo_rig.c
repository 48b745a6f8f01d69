/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "iommu.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"
#include "topo_rig.h"

/* A bound for hangs, beyond what a busy machine takes. */
#define MAX_WAIT_S 600

struct topo topo;

static uint64_t
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

enum iopf_verdict
topo_handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct topo_smmu *s = iopf_dev_ctx(group->dev);
	uint64_t access = group->faults[0]->addr >> 12;

	(void)domain;
	(void)ctx;
	if (access < TOPO_ACCESSES)
		s->seen[access]++;
	else
		topo.wrong++;
	s->calls++;
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
open_smmu(unsigned int i)
{
	struct topo_smmu *s = calloc(1, sizeof(*s));
	const uint32_t sid = TOPO_SID;
	char name[32], devstr[64];

	assert_non_null(s);
	topo.smmu[i] = s;
	snprintf(name, sizeof(name), "topo%u", i);
	snprintf(devstr, sizeof(devstr), "smmuv3,model=%s", name);
	s->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = name,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	assert_non_null(s->model);
	s->dma = smmuv3_model_dma_create(s->model, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(s->dma);
	s->iommu = iopf_iommu_open(devstr);
	assert_non_null(s->iommu);
	/* The machine may be busy. */
	((struct smmuv3 *)s->iommu->priv)->timeout *= 60;
	s->dev = iopf_dev_add(s->iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.ctx = s });
	assert_non_null(s->dev);
	assert_int_equal(0, iopf_domain_attach(topo.domain, s->dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_iommu_start(s->iommu));
}

void
topo_open(unsigned int nb, const struct iopf_domain_conf *conf)
{
	memset(&topo, 0, sizeof(topo));
	topo.nb = nb;
	topo.domain = iopf_domain_create(conf != NULL ? conf :
			&(struct iopf_domain_conf){ .handler = topo_handler });
	assert_non_null(topo.domain);
	for (unsigned int i = 0; i < nb; i++)
		open_smmu(i);
}

static void
close_smmu(struct topo_smmu *s)
{
	assert_int_equal(0, iopf_dev_remove(s->dev));
	assert_int_equal(0, iopf_iommu_stop(s->iommu));
	assert_int_equal(0, iopf_iommu_close(s->iommu));
	smmuv3_model_dma_destroy(s->dma);
	assert_int_equal(0, smmuv3_model_driver_errors(s->model));
	assert_int_equal(0, smmuv3_model_oracle_errors(s->model));
	smmuv3_model_destroy(s->model);
	free(s);
}

void
topo_close(void)
{
	for (unsigned int i = 0; i < TOPO_MAX; i++) {
		if (topo.pollers[i].runs)
			topo_stop(i);
		assert_int_equal(0, iopf_poller_destroy(topo.pollers[i].poller));
	}
	for (unsigned int i = 0; i < topo.nb; i++)
		close_smmu(topo.smmu[i]);
	assert_int_equal(0, iopf_domain_destroy(topo.domain));
	assert_int_equal(0, topo.wrong);
}

struct iopf_poller *
topo_poller(unsigned int i, enum iopf_idle idle, uint32_t idle_passes)
{
	struct topo_poller *p = &topo.pollers[i];

	p->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "topo", .idle = idle,
			.idle_passes = idle_passes });
	assert_non_null(p->poller);
	return p->poller;
}

static void *
run(void *arg)
{
	iopf_poller_run(arg);
	return NULL;
}

void
topo_run(unsigned int i)
{
	struct topo_poller *p = &topo.pollers[i];

	assert_int_equal(0, pthread_create(&p->thread, NULL, run, p->poller));
	p->runs = true;
}

void
topo_stop(unsigned int i)
{
	struct topo_poller *p = &topo.pollers[i];

	iopf_poller_stop(p->poller);
	assert_int_equal(0, pthread_join(p->thread, NULL));
	p->runs = false;
}

void
topo_submit(unsigned int i)
{
	struct topo_smmu *s = topo.smmu[i];
	static uint64_t word;

	assert_in_range(s->submitted, 0, TOPO_ACCESSES - 1);
	assert_int_equal(0, smmuv3_model_dma_submit(s->dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .buf = &word, .len = sizeof(word),
			.addr = (uint64_t)s->submitted << 12 }));
	s->submitted++;
}

void
topo_step(void)
{
	struct smmuv3_model_done done[64];

	for (unsigned int i = 0; i < topo.nb; i++) {
		struct topo_smmu *s = topo.smmu[i];
		unsigned int n;

		smmuv3_model_step(s->model, 64);
		n = smmuv3_model_dma_poll(s->dma, done, 64);
		for (unsigned int k = 0; k < n; k++)
			assert_int_equal(SMMUV3_MODEL_ABORTED, done[k].status);
		s->done += n;
	}
}

void
topo_finish(void)
{
	uint64_t end = seconds() + MAX_WAIT_S;

	for (unsigned int i = 0; i < topo.nb; i++) {
		struct topo_smmu *s = topo.smmu[i];

		while (s->done < s->submitted) {
			assert_true(seconds() < end);
			topo_step();
		}
		assert_int_equal(s->done, s->calls);
		for (unsigned int k = 0; k < s->submitted; k++)
			assert_int_equal(1, s->seen[k]);
	}
}

void
topo_wait_stat(unsigned int i, enum iopf_poller_stat stat, uint64_t n)
{
	uint64_t end = seconds() + MAX_WAIT_S;

	while (iopf_poller_stat(topo.pollers[i].poller, stat) < n) {
		assert_true(seconds() < end);
		topo_step();
	}
}
