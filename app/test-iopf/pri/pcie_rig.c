/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include "iopf_handler.h"
#include "iopf_pci.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "smmuv3_model_test.h"
#include "iopf_iommu.h"
#include "test.h"

#define ARENA	((size_t)32 << 20)

/*
 * An endpoint's driver
 */

static void
log_call(struct pcie_fn *f, char what)
{
	size_t len = strlen(f->log);

	if (f->silent)
		return;
	assert_true(len + 1 < sizeof(f->log));
	f->log[len] = what;
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	struct pcie_fn *f = ctx;

	RTE_SET_USED(dev);
	log_call(f, 'A');
	f->stu = stu;
	return smmuv3_model_dma_ats_enable(f->dma[0], stu);
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	struct pcie_fn *f = ctx;

	RTE_SET_USED(dev);
	log_call(f, 'a');
	if (f->resets && !smmuv3_model_dma_pri_drained(f->dma[0])) {
		smmuv3_model_dma_reset(f->dma[0]);
		f->nb_resets++;
	}
	/* An error means that ATS is off already, which the library expects as 0. */
	smmuv3_model_dma_ats_disable(f->dma[0]);
	return 0;
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	struct pcie_fn *f = ctx;

	RTE_SET_USED(dev);
	log_call(f, 'P');
	f->credits = n;
	return smmuv3_model_dma_pri_enable(f->dma[0], n);
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	struct pcie_fn *f = ctx;

	RTE_SET_USED(dev);
	log_call(f, 'p');
	/* An error means that PRI is off already. */
	smmuv3_model_dma_pri_disable(f->dma[0]);
	return 0;
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	const struct pcie_fn *f = ctx;

	RTE_SET_USED(dev);
	return smmuv3_model_dma_pri_drained(f->dma[0]);
}

const struct iopf_pci_ops pcie_fn_ops = {
	.ats_enable = ats_enable,
	.ats_disable = ats_disable,
	.pri_enable = pri_enable,
	.pri_disable = pri_disable,
	.pri_drained = pri_drained,
};

/*
 * Address spaces
 */

static void *
take_memory(struct pcie *r, size_t len, size_t align)
{
	size_t at = RTE_ALIGN_CEIL(r->used, align);

	assert_true(at + len <= ARENA);
	r->used = at + len;
	return r->arena + at;
}

static void *
table_alloc(void *ctx, size_t size)
{
	struct pcie *r = ctx;
	void *p = take_memory(r, size, size);

	/* A walk through a freed table is an oracle error. */
	assert_int_equal(smmuv3_model_frame_give(r->m, (uintptr_t)p, size, 0), 0);
	return p;
}

static void
table_free(void *ctx, void *p, size_t size)
{
	struct pcie *r = ctx;

	/* The arena keeps the memory. */
	assert_int_equal(smmuv3_model_frame_free(r->m, (uintptr_t)p, size), 0);
}

static uint64_t
table_pa(void *ctx, const void *p)
{
	RTE_SET_USED(ctx);
	return (uintptr_t)p;
}

void
pcie_map(struct pcie_space *s, const struct iopf_fault *fault)
{
	uint64_t addr = fault->flags & IOPF_FAULT_STAGE2 ? fault->ipa : fault->addr;
	int rc = pgt_resolve(s->pgt, addr, (uintptr_t)s->data +
			(addr & ~(uint64_t)(PCIE_PAGE - 1)) - PCIE_VA, s->prot);

	assert_true(rc == 0 || rc == -EALREADY);
}

static enum iopf_verdict
handler(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct pcie_space *s = ctx;

	RTE_SET_USED(domain);
	s->calls++;
	s->group = *group;
	s->group.faults = NULL;
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		const struct iopf_fault *fault = group->faults[i];

		s->fault[i] = *fault;
		/* All requests of a group have one StreamID, PASID and index, in address order. */
		assert_int_equal(fault->pasid, group->pasid);
		assert_int_equal(fault->sid, group->faults[0]->sid);
		assert_int_equal(fault->token, group->faults[0]->token);
		if (fault->flags & IOPF_FAULT_PAGE_REQUEST)
			assert_int_equal(fault->addr, group->faults[0]->addr + i * PCIE_PAGE);
		if (!s->leave_unmapped && fault->addr != 0)
			pcie_map(s, fault);
	}
	return s->verdict;
}

static void
on_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct pcie_space *s = ctx;

	RTE_SET_USED(domain);
	assert_int_equal(group->id, 0);
	assert_int_equal(iopf_group_respond(group->id, IOPF_SUCCESS), -ESTALE);
	s->lost += group->nb_faults;
	for (unsigned int i = 0; i < group->nb_faults && s->map_lost; i++)
		pcie_map(s, group->faults[i]);
}

static void
create_space(struct pcie *r, struct pcie_space *s, const struct iopf_storm_conf *storm, bool stage2)
{
	struct pgt_info info;

	memset(s, 0, sizeof(*s));
	s->verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s->prot = PGT_READ | PGT_WRITE;
	s->data = take_memory(r, (size_t)PCIE_PAGES * PCIE_PAGE, PCIE_PAGE);
	s->pgt = pgt_create(&(struct pgt_conf){ .stage2 = stage2, .mem = {
		.ctx = r,
		.alloc = table_alloc,
		.free = table_free,
		.va_to_pa = table_pa,
	} });
	assert_non_null(s->pgt);
	assert_int_equal(pgt_prealloc(s->pgt, PCIE_VA, (uint64_t)PCIE_PAGES * PCIE_PAGE), 0);
	pgt_info(s->pgt, &info);
	s->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = handler,
		.lost = on_lost,
		.ctx = s,
		.storm = storm,
		.translation = {
			.format = stage2 ? IOPF_FORMAT_ARM64_S2 : IOPF_FORMAT_ARM64_S1,
			.root = info.root,
			.va_bits = info.va_bits,
			.granule_log2 = info.granule_log2,
		},
	});
	assert_non_null(s->domain);
	assert_true(r->nb_spaces < RTE_DIM(r->space));
	r->space[r->nb_spaces++] = s;
}

void
pcie_create_storm_space(struct pcie *r, struct pcie_space *s, const struct iopf_storm_conf *storm)
{
	create_space(r, s, storm, false);
}

void
pcie_create_stage2_space(struct pcie *r, struct pcie_space *s, const struct iopf_storm_conf *storm)
{
	create_space(r, s, storm, true);
}

void
pcie_create_space(struct pcie *r, struct pcie_space *s)
{
	pcie_create_storm_space(r, s, NULL);
}

/*
 * Set-up and teardown
 */

static void
on_report(struct iopf_iommu *iommu, const struct iopf_fault *fault, void *ctx)
{
	struct pcie *r = ctx;

	RTE_SET_USED(iommu);
	r->nb_reports++;
	r->report = *fault;
}

void
pcie_open(struct pcie *r, const struct smmuv3_model_conf *conf,
		const struct iopf_iommu_conf *iommu_conf)
{
	struct smmuv3_model_conf mine = { .name = NULL };
	struct iopf_iommu_conf how = { .report = NULL };
	char str[80];
	uint64_t addr;

	memset(r, 0, sizeof(*r));
	if (conf != NULL)
		mine = *conf;
	mine.features |= SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI;
	r->m = backend_rig_create(&r->backend, &mine, NULL);
	snprintf(str, sizeof(str), "smmuv3,%s", r->backend.devstr);
	r->iommu = iopf_iommu_open(str);
	assert_non_null(r->iommu);
	if (iommu_conf != NULL)
		how = *iommu_conf;
	how.report = on_report;
	how.report_ctx = r;
	assert_int_equal(iopf_iommu_configure(r->iommu, &how), 0);
	r->arena = backend_rig_alloc(&r->backend, ARENA);
	assert_int_equal(iopf_dma_map(r->iommu, r->arena, ARENA, &addr), 0);
	assert_int_equal(addr, (uintptr_t)r->arena);
	r->pattern = malloc((size_t)PCIE_PAGES * PCIE_PAGE);
	assert_non_null(r->pattern);
	for (size_t i = 0; i < (size_t)PCIE_PAGES * PCIE_PAGE / 4; i++)
		((uint32_t *)(void *)r->pattern)[i] = (uint32_t)(i + 1) * UINT32_C(0x9e3779b9);
	r->poller = iopf_poller_create(NULL);
	assert_non_null(r->poller);
	assert_int_equal(iopf_poller_add(r->poller, r->iommu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(r->iommu), 0);
}

void
pcie_close(struct pcie *r)
{
	uint64_t terminated = 0;

	for (unsigned int i = 0; i < r->nb_fns; i++) {
		assert_int_equal(iopf_dev_remove(r->fn[i]->dev), 0);
		/* Each enable has its disable. */
		assert_int_equal(strlen(r->fn[i]->log) % 2, 0);
		for (unsigned int k = 0; k < r->fn[i]->nb_engines; k++)
			smmuv3_model_dma_destroy(r->fn[i]->dma[k]);
	}
	for (unsigned int i = 0; i < r->nb_spaces; i++) {
		assert_int_equal(iopf_domain_pending(r->space[i]->domain), 0);
		terminated += iopf_domain_stat(r->space[i]->domain, IOPF_STAT_TERMINATED);
		assert_int_equal(iopf_domain_destroy(r->space[i]->domain), 0);
		pgt_destroy(r->space[i]->pgt);
	}
	assert_int_equal(iopf_iommu_requests_granted(r->iommu), 0);
	assert_int_equal(pcie_stat(r, IOPF_IOMMU_STAT_FAULTS),
			pcie_stat(r, IOPF_IOMMU_STAT_ANSWERS) + terminated);
	assert_int_equal(iopf_iommu_stop(r->iommu), 0);
	assert_int_equal(iopf_poller_destroy(r->poller), 0);
	assert_int_equal(iopf_dma_unmap(r->iommu, r->arena, ARENA, (uintptr_t)r->arena), 0);
	assert_int_equal(iopf_iommu_close(r->iommu), 0);
	assert_int_equal(pcie_model_stat(r, SMMUV3_MODEL_STAT_PRI_GROUPS),
			pcie_model_stat(r, SMMUV3_MODEL_STAT_PRI_RESPS) +
			pcie_model_stat(r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) +
			pcie_model_stat(r, SMMUV3_MODEL_STAT_PRI_FORGOTTEN));
	for (unsigned int i = 0; smmuv3_model_driver_error(r->m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(r->m, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(r->m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(r->m, i));
	assert_int_equal(smmuv3_model_driver_errors(r->m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(r->m), 0);
	backend_rig_destroy(&r->backend);
	free(r->pattern);
}

static void
add_fn(struct pcie *r, struct pcie_fn *f, const struct iopf_dev_conf *conf)
{
	f->dev = iopf_dev_add(r->iommu, conf);
	assert_non_null(f->dev);
	assert_true(r->nb_fns < RTE_DIM(r->fn));
	r->fn[r->nb_fns++] = f;
}

void
pcie_add_stalling_fn(struct pcie *r, struct pcie_fn *f, uint32_t sid,
		const struct iopf_dev_conf *conf)
{
	struct iopf_dev_conf mine = { .name = NULL };

	memset(f, 0, sizeof(*f));
	if (conf != NULL)
		mine = *conf;
	f->sid = sid;
	f->stalls = true;
	mine.sids = &f->sid;
	mine.nb_sids = 1;
	mine.recover = IOPF_STALL;
	mine.ctx = f;
	add_fn(r, f, &mine);
}

void
pcie_add_fn(struct pcie *r, struct pcie_fn *f, uint32_t sid, const struct iopf_dev_conf *conf)
{
	struct iopf_dev_conf mine = { .name = NULL };
	struct iopf_pci_ops ops = pcie_fn_ops;

	memset(f, 0, sizeof(*f));
	if (conf != NULL)
		mine = *conf;
	f->sid = sid;
	mine.sids = &f->sid;
	mine.nb_sids = 1;
	mine.recover = IOPF_PRI;
	if (mine.pci != NULL)
		ops.pasid_drained = mine.pci->pasid_drained;
	mine.pci = &ops;
	mine.ctx = f;
	/* Some tests wait until this time has passed. */
	if (mine.wait_ms == 0)
		mine.wait_ms = 1000;
	add_fn(r, f, &mine);
}

struct smmuv3_model_dma *
pcie_create_engine(struct pcie *r, struct pcie_fn *f, const struct smmuv3_model_dma_conf *conf)
{
	struct smmuv3_model_dma_conf mine = *conf;

	mine.sid = f->sid;
	mine.kind = f->stalls ? SMMUV3_MODEL_DMA_PLAIN : SMMUV3_MODEL_DMA_ATS;
	assert_true(f->nb_engines < PCIE_MAX_ENGINES);
	f->dma[f->nb_engines] = smmuv3_model_dma_create(r->m, &mine);
	assert_non_null(f->dma[f->nb_engines]);
	return f->dma[f->nb_engines++];
}

void
pcie_attach(struct pcie_space *s, struct pcie_fn *f, uint32_t pasid)
{
	assert_int_equal(iopf_domain_attach(s->domain, f->dev, pasid), 0);
}

struct smmuv3_model_dma *
pcie_add_simple(struct pcie *r, struct pcie_fn *f, struct pcie_space *s, uint32_t sid,
		unsigned int group_pages)
{
	pcie_add_fn(r, f, sid, NULL);
	pcie_create_engine(r, f, &(struct smmuv3_model_dma_conf){ .group_pages = group_pages });
	pcie_create_space(r, s);
	pcie_attach(s, f, IOPF_NO_PASID);
	return f->dma[0];
}

struct smmuv3_model_dma *
pcie_open_simple(struct pcie *r, struct pcie_fn *f, struct pcie_space *s, uint32_t sid,
		unsigned int group_pages)
{
	pcie_open(r, NULL, NULL);
	return pcie_add_simple(r, f, s, sid, group_pages);
}

struct smmuv3_model_dma *
pcie_create_pasid_engine(struct pcie *r, struct pcie_fn *f, uint32_t pasid,
		unsigned int group_pages, unsigned int prg_indices, bool prg_pasid)
{
	return pcie_create_engine(r, f, &(struct smmuv3_model_dma_conf){
		.has_ssid = true,
		.ssid = pasid,
		.group_pages = group_pages,
		.prg_indices = prg_indices,
		.prg_pasid = prg_pasid,
	});
}

struct smmuv3_model_dma *
pcie_add_attached_fn(struct pcie *r, struct pcie_fn *f, struct pcie_space *s, uint32_t sid,
		unsigned int group_pages, unsigned int prg_indices,
		const struct iopf_dev_conf *conf)
{
	pcie_add_fn(r, f, sid, conf);
	pcie_create_engine(r, f, &(struct smmuv3_model_dma_conf){
		.group_pages = group_pages,
		.prg_indices = prg_indices,
	});
	pcie_create_space(r, s);
	pcie_attach(s, f, IOPF_NO_PASID);
	return f->dma[0];
}

void
pcie_mute_log(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
	rte_log_set_level_pattern("lib.mmem", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}

void
pcie_reset_fn(struct pcie *r, struct pcie_fn *f)
{
	RTE_SET_USED(r);
	smmuv3_model_dma_reset(f->dma[0]);
}

uint64_t
pcie_model_stat(const struct pcie *r, enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(r->m, stat);
}

uint64_t
pcie_stat(const struct pcie *r, enum iopf_iommu_stat stat)
{
	return iopf_iommu_stat(r->iommu, stat);
}
