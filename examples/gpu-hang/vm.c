/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_errno.h>

#include <iopf_iommu.h>
#include <iopf_pgtable.h>

#include "options.h"
#include "vm.h"

#define PAGE_LOG2	12
#define PAGE_SIZE	(UINT64_C(1) << PAGE_LOG2)
#define VA_BITS		48
#define TABLES_SIZE	(16 * PAGE_SIZE)	/* four levels need four pages */
#define MEM_SIZE	(VM_BUFFER_MAX + TABLES_SIZE)

struct vm {
	struct iopf_domain *domain;
	struct iopf_dev *dev;
	struct iopf_iommu *iommu;
	uint32_t pasid;
	bool attached;
	bool dma_mapped;
	char *mem;		/* the buffer, then the page tables */
	uint64_t dma;		/* device address of mem */
	size_t tables_used;
	struct pgt *pgt;
	/* Written on the poll thread. */
	atomic_bool hung;
	atomic_uint_fast64_t mapped;
	atomic_uint_fast64_t fatal;
};

static void *
table_alloc(void *ctx, size_t size)
{
	struct vm *vm = ctx;
	void *table = vm->mem + VM_BUFFER_MAX + vm->tables_used;

	if (size > TABLES_SIZE - vm->tables_used)
		return NULL;
	vm->tables_used += size;
	return table;
}

/* All tables are freed together with vm->mem. */
static void
table_free(void *ctx __rte_unused, void *table __rte_unused, size_t size __rte_unused)
{
}

static uint64_t
table_va_to_pa(void *ctx, const void *table)
{
	const struct vm *vm = ctx;

	return vm->dma + ((const char *)table - vm->mem);
}

/* True if the page is mapped now. */
static bool
map_page(struct vm *vm, const struct iopf_fault *fault)
{
	uint64_t page = fault->addr & ~(PAGE_SIZE - 1);
	int ret;

	if (page < VM_BASE || page - VM_BASE >= VM_BUFFER_MAX || (fault->perm & IOPF_PERM_EXEC))
		return false;
	ret = pgt_resolve(vm->pgt, page, vm->dma + (page - VM_BASE), PGT_READ | PGT_WRITE);
	return ret == 0 || ret == -EALREADY;
}

/* On the poll thread; must not block. A stalled access has one fault. */
static enum iopf_verdict
on_fault(struct iopf_domain *domain __rte_unused, const struct iopf_group *group, void *ctx)
{
	struct vm *vm = ctx;

	if (map_page(vm, group->faults[0])) {
		atomic_fetch_add_explicit(&vm->mapped, 1, memory_order_relaxed);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	atomic_fetch_add_explicit(&vm->fatal, 1, memory_order_relaxed);
	/* A runtime wakes its reset thread here. This one looks at the flag in its loop. */
	atomic_store_explicit(&vm->hung, true, memory_order_relaxed);
	return IOPF_ANSWER(IOPF_INVALID);
}

static int
open_memory(struct vm *vm)
{
	vm->mem = aligned_alloc(PAGE_SIZE, MEM_SIZE);
	if (vm->mem == NULL)
		return fail("out of memory");
	/* The poll thread finds populated memory. */
	memset(vm->mem, 0, MEM_SIZE);
	if (iopf_dma_map(vm->iommu, vm->mem, MEM_SIZE, &vm->dma) < 0)
		return fail("cannot map memory for DMA: %s", rte_strerror(rte_errno));
	vm->dma_mapped = true;
	vm->pgt = pgt_create(&(struct pgt_conf){ .granule_log2 = PAGE_LOG2, .va_bits = VA_BITS,
			.mem = { .ctx = vm, .alloc = table_alloc, .free = table_free,
				.va_to_pa = table_va_to_pa } });
	if (vm->pgt == NULL || pgt_prealloc(vm->pgt, VM_BASE, VM_BUFFER_MAX) < 0)
		return fail("cannot make page tables");
	return 0;
}

static int
open_domain(struct vm *vm)
{
	vm->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.name = "render",
		.handler = on_fault,
		.ctx = vm,
		.storm = &(struct iopf_storm_conf){ .report_first = true },
		.translation = {
			.format = IOPF_FORMAT_ARM64_S1,
			.root = pgt_root(vm->pgt),
			.va_bits = VA_BITS,
			.granule_log2 = PAGE_LOG2,
		},
	});
	if (vm->domain == NULL)
		return fail("cannot make a domain: %s", rte_strerror(rte_errno));
	if (iopf_domain_attach(vm->domain, vm->dev, vm->pasid) < 0)
		return fail("cannot attach PASID %u: %s", vm->pasid, rte_strerror(rte_errno));
	vm->attached = true;
	return 0;
}

struct vm *
vm_open(struct iopf_iommu *iommu, struct iopf_dev *dev, uint32_t pasid)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL) {
		fail("out of memory");
		return NULL;
	}
	vm->iommu = iommu;
	vm->dev = dev;
	vm->pasid = pasid;
	if (open_memory(vm) < 0 || open_domain(vm) < 0) {
		vm_close(vm);
		return NULL;
	}
	return vm;
}

void
vm_close(struct vm *vm)
{
	if (vm == NULL)
		return;
	if (vm->attached)
		iopf_domain_detach(vm->domain, vm->dev, vm->pasid);
	iopf_domain_destroy(vm->domain);
	pgt_destroy(vm->pgt);
	if (vm->dma_mapped)
		iopf_dma_unmap(vm->iommu, vm->mem, MEM_SIZE, vm->dma);
	free(vm->mem);
	free(vm);
}

void *
vm_buffer(const struct vm *vm)
{
	return vm->mem;
}

int
vm_unmap(struct vm *vm)
{
	struct pgt_unmapped out;
	struct pgt_inv range;
	struct iopf_inv inv;

	pgt_unmapped_init(&out, &range, 1);
	if (pgt_unmap(vm->pgt, VM_BASE, VM_BUFFER_MAX, PGT_CLOSE, &out) < 0)
		return fail("cannot change the page tables of PASID %u", vm->pasid);
	if (out.nb_inv > 0) {
		inv = iopf_inv_from_pgt(&range);
		if (iopf_invalidate(vm->domain, &inv, 1, NULL) < 0)
			return fail("cannot invalidate PASID %u: %s", vm->pasid,
					rte_strerror(rte_errno));
	}
	if (pgt_open(vm->pgt, VM_BASE, VM_BUFFER_MAX) < 0)
		return fail("cannot change the page tables of PASID %u", vm->pasid);
	return 0;
}

bool
vm_is_hung(const struct vm *vm)
{
	return atomic_load_explicit(&vm->hung, memory_order_relaxed);
}

int
vm_rearm(struct vm *vm, struct iopf_episode *episode)
{
	/* Before the re-arm, after which the next fatal fault may set it again. */
	atomic_store_explicit(&vm->hung, false, memory_order_relaxed);
	return iopf_domain_rearm(vm->domain, vm->dev, vm->pasid, episode);
}

bool
vm_has_episode(const struct vm *vm)
{
	return iopf_domain_episode(vm->domain, vm->dev, vm->pasid, NULL) == 0;
}

void
vm_get_stats(const struct vm *vm, struct vm_stats *stats)
{
	stats->mapped = atomic_load_explicit(&vm->mapped, memory_order_relaxed);
	stats->fatal = atomic_load_explicit(&vm->fatal, memory_order_relaxed);
}
