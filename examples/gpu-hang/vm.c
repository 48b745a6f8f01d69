/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
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
	struct vm_conf conf;
	struct iopf_domain *domain;
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
	/* Written on the policy thread of the library. */
	struct vm_trip trip;
	atomic_uint_fast64_t trips;	/* its release orders trip */
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

/*
 * On the policy thread: accesses abort now. A runtime wakes its reset thread here, which kills the
 * context and detaches the domain; the callback itself may not detach it.
 */
static void
on_tripped(struct iopf_domain *domain __rte_unused, struct iopf_dev *dev __rte_unused,
		uint32_t pasid __rte_unused, const struct iopf_episode *episode, void *ctx)
{
	struct vm *vm = ctx;

	vm->trip.time = rte_rdtsc();
	vm->trip.stalls = episode->stalls;
	/* Release: with the acquire in vm_reset(). */
	atomic_fetch_add_explicit(&vm->trips, 1, memory_order_release);
}

static int
open_memory(struct vm *vm)
{
	vm->mem = aligned_alloc(PAGE_SIZE, MEM_SIZE);
	if (vm->mem == NULL)
		return fail("out of memory");
	/* The poll thread finds populated memory. */
	memset(vm->mem, 0, MEM_SIZE);
	if (iopf_dma_map(vm->conf.iommu, vm->mem, MEM_SIZE, &vm->dma) < 0)
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
attach(struct vm *vm)
{
	if (iopf_domain_attach(vm->domain, vm->conf.dev, vm->conf.pasid) < 0)
		return fail("cannot attach PASID %u: %s", vm->conf.pasid,
				rte_strerror(rte_errno));
	vm->attached = true;
	return 0;
}

static int
open_domain(struct vm *vm)
{
	vm->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.name = "render",
		.handler = on_fault,
		.ctx = vm,
		.storm = &(struct iopf_storm_conf){
			.report_first = true,
			.max_rate = vm->conf.breaker,
			.tripped = vm->conf.breaker != 0 ? on_tripped : NULL,
			.ctx = vm,
		},
		.translation = {
			.format = IOPF_FORMAT_ARM64_S1,
			.root = pgt_root(vm->pgt),
			.va_bits = VA_BITS,
			.granule_log2 = PAGE_LOG2,
		},
	});
	if (vm->domain == NULL)
		return fail("cannot make a domain: %s", rte_strerror(rte_errno));
	return attach(vm);
}

struct vm *
vm_open(const struct vm_conf *conf)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (vm == NULL) {
		fail("out of memory");
		return NULL;
	}
	vm->conf = *conf;
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
		iopf_domain_detach(vm->domain, vm->conf.dev, vm->conf.pasid);
	iopf_domain_destroy(vm->domain);
	pgt_destroy(vm->pgt);
	if (vm->dma_mapped)
		iopf_dma_unmap(vm->conf.iommu, vm->mem, MEM_SIZE, vm->dma);
	free(vm->mem);
	free(vm);
}

void *
vm_buffer(const struct vm *vm)
{
	return vm->mem;
}

/* The domain is attached nowhere: nothing that it maps is cached. */
static int
unmap_all(struct vm *vm)
{
	struct pgt_unmapped out;
	struct pgt_inv range;

	pgt_unmapped_init(&out, &range, 1);
	if (pgt_unmap(vm->pgt, VM_BASE, VM_BUFFER_MAX, PGT_CLOSE, &out) < 0 ||
			pgt_open(vm->pgt, VM_BASE, VM_BUFFER_MAX) < 0)
		return fail("cannot change the page tables of PASID %u", vm->conf.pasid);
	return 0;
}

bool
vm_is_hung(const struct vm *vm)
{
	return atomic_load_explicit(&vm->hung, memory_order_relaxed);
}

bool
vm_has_tripped(const struct vm *vm)
{
	return atomic_load_explicit(&vm->trips, memory_order_relaxed) != 0;
}

int
vm_reset(struct vm *vm, struct iopf_episode *episode, struct vm_trip *trip)
{
	uint32_t pasid = vm->conf.pasid;
	int ret;

	/* The record of an access may come after its end: all are counted after this. */
	ret = iopf_dev_fence(vm->conf.dev);
	if (ret < 0)
		return fail("the last faults of PASID %u do not come: %s", pasid, strerror(-ret));
	ret = iopf_domain_rearm(vm->domain, vm->conf.dev, pasid, episode);
	if (ret == -ENOENT)
		return fail("PASID %u has hung, but counts no faults: set report_first in its "
				"struct iopf_storm_conf", pasid);
	if (ret < 0)
		return fail("cannot re-arm PASID %u: %s", pasid, strerror(-ret));
	/* After this no callback of the breaker runs. */
	ret = iopf_domain_detach(vm->domain, vm->conf.dev, pasid);
	if (ret < 0)
		return fail("cannot detach PASID %u: %s", pasid, strerror(-ret));
	vm->attached = false;
	*trip = (struct vm_trip){ .time = 0 };
	/* Acquire: with the release in on_tripped(). */
	if (atomic_load_explicit(&vm->trips, memory_order_acquire) != 0)
		*trip = vm->trip;
	atomic_store_explicit(&vm->hung, false, memory_order_relaxed);
	if (unmap_all(vm) < 0)
		return -1;
	return attach(vm);
}

bool
vm_is_cut_off(const struct vm *vm)
{
	return iopf_domain_episode(vm->domain, vm->conf.dev, vm->conf.pasid, NULL) == 0 ||
		iopf_domain_is_tripped(vm->domain, vm->conf.dev, vm->conf.pasid);
}

void
vm_get_stats(const struct vm *vm, struct vm_stats *stats)
{
	stats->mapped = atomic_load_explicit(&vm->mapped, memory_order_relaxed);
	stats->fatal = atomic_load_explicit(&vm->fatal, memory_order_relaxed);
	stats->trips = atomic_load_explicit(&vm->trips, memory_order_relaxed);
}
