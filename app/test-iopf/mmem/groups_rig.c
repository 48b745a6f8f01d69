/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "groups_rig.h"
#include "iopf_handler.h"
#include "smmuv3_pmd.h"
#include "test.h"

struct gr gr;

/*
 * The driver for the SMMUv3, with its ranges of invalidations counted. It asserts nothing: a failed
 * assertion here would leave lib/iopf in the middle of an invalidation.
 */
static struct iopf_driver overheard;

static int
overheard_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	gr.invs += n;
	gr.inv = inv[n - 1];
	return smmuv3_pmd.ops.invalidate(priv, domain, inv, n, result);
}

static uint16_t
overheard_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n)
{
	if (n_inv != 0) {
		gr.answers_after += n_inv;
		gr.after = inv[n_inv - 1];
	}
	return smmuv3_pmd.ops.answer_after(priv, domain, inv, n_inv, answers, n);
}

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	(void)space;
	(void)ctx;
	gr.reports++;
	gr.report = *report;
}

int
gr_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	(void)ctx;
	(void)offset;
	atomic_fetch_add(&gr.fills, 1);
	memset(dst, 0x5a, len);
	return gr.fill_result;
}

int
gr_setup_queue(uint8_t priq_log2)
{
	static unsigned int serial;
	uint32_t sid = SID;
	char devstr[64];

	if (overheard.name == NULL) {
		overheard = smmuv3_pmd;
		overheard.name = "overheard";
		overheard.ops.invalidate = overheard_invalidate;
		overheard.ops.answer_after = overheard_answer_after;
		iopf_driver_register(&overheard);
	}
	memset(&gr, 0, sizeof(gr));
	snprintf(devstr, sizeof(devstr), "overheard,model=groups%u", serial++);
	gr.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
			.priq_log2 = priq_log2 });
	gr.smmu = iopf_iommu_open(devstr);
	assert_non_null(gr.smmu);
	gr.pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "g", .iommu = gr.smmu,
			.size = 16 * CHUNK, .no_hugepages = true });
	gr.space = mmem_space_create(&(struct mmem_space_conf){ .name = "g", .pool = gr.pool,
			.window = 1, .report = on_report });
	assert_non_null(gr.space);
	gr.dev = iopf_dev_add(gr.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_int_equal(mmem_attach(gr.space, gr.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_start(gr.smmu), 0);
	return 0;
}

int
gr_setup(void **state)
{
	(void)state;
	return gr_setup_queue(0);
}

int
gr_teardown(void **state)
{
	(void)state;
	assert_int_equal(mmem_detach(gr.space, gr.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_space_destroy(gr.space), 0);
	assert_int_equal(iopf_dev_remove(gr.dev), 0);
	assert_int_equal(mmem_pool_destroy(gr.pool), 0);
	assert_int_equal(iopf_iommu_stop(gr.smmu), 0);
	assert_int_equal(iopf_iommu_close(gr.smmu), 0);
	assert_int_equal(smmuv3_model_driver_errors(gr.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(gr.model), 0);
	smmuv3_model_destroy(gr.model);
	return 0;
}

uint8_t *
gr_alloc(size_t size, unsigned int flags)
{
	uint8_t *p = mmem_alloc(gr.space, size, flags);

	assert_non_null(p);
	return p;
}

uint8_t *
gr_alloc_paged(size_t size)
{
	uint8_t *p = mmem_alloc_paged(gr.space, size, RW, &(struct mmem_pager){ .fill = gr_fill });

	assert_non_null(p);
	return p;
}

uint64_t
gr_stat(enum mmem_stat stat)
{
	return mmem_stat(gr.space, stat);
}

uint32_t
gr_rights_at(const void *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(gr.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf.prot & MMEM_RIGHTS;
}

void
gr_expect_inv(const struct iopf_inv *inv, const uint8_t *addr, size_t pages)
{
	assert_false(inv->all);
	assert_int_equal(inv->addr, (uintptr_t)addr);
	assert_int_equal(inv->size, pages * PAGE);
	assert_int_equal(inv->leaf_log2, 12);
	assert_true(inv->leaf_only);
}

void
hand_clear(struct hand *h)
{
	h->nb = 0;
}

struct iopf_fault *
hand_add(struct hand *h, const void *addr, uint8_t perm)
{
	struct iopf_fault *f = &h->fault[h->nb];

	*f = (struct iopf_fault){ .addr = (uintptr_t)addr, .time = rte_rdtsc(), .sid = SID,
		.pasid = IOPF_NO_PASID, .perm = perm, .flags = IOPF_FAULT_PAGE_REQUEST,
		.reason = IOPF_REASON_OTHER };
	h->faults[h->nb++] = f;
	return f;
}

void
hand_add_pages(struct hand *h, uint8_t *addr, unsigned int n, uint8_t perm)
{
	for (unsigned int i = 0; i < n; i++)
		hand_add(h, addr + i * PAGE, perm);
}

void
hand_make_stall(struct hand *h, const void *addr, uint8_t perm, enum iopf_reason reason)
{
	struct iopf_fault *f;

	hand_clear(h);
	f = hand_add(h, addr, perm);
	f->flags = IOPF_FAULT_STALLED;
	f->reason = reason;
}

struct iopf_group
hand_make_group(struct hand *h)
{
	return (struct iopf_group){ .id = 1, .dev = gr.dev, .pasid = IOPF_NO_PASID,
		.nb_faults = (uint16_t)h->nb, .faults = h->faults };
}

enum iopf_verdict
hand_run_fast(struct hand *h)
{
	struct iopf_group group = hand_make_group(h);
	enum iopf_verdict verdict;

	memset(&h->pass, 0, sizeof(h->pass));
	iopf_self.in_fast = true;
	iopf_self.pass = &h->pass;
	verdict = mmem_handle_fault(mmem_space_domain(gr.space), &group, gr.space);
	iopf_self.in_fast = false;
	iopf_self.pass = NULL;
	return verdict;
}

enum iopf_verdict
hand_run_deferred(struct hand *h)
{
	struct iopf_group group = hand_make_group(h);
	enum iopf_verdict verdict;

	/*
	 * The handler takes the group until its bytes are there. The library would defer it again;
	 * here the loop calls the handler again.
	 */
	while ((verdict = mmem_handle_deferred(mmem_space_domain(gr.space), &group, gr.space)) ==
			IOPF_TAKEN)
		sched_yield();
	return verdict;
}
