/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Address spaces of the soak: see fire.h. */

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "fire.h"
#include "iopf_pgtable.h"
#include "iopf_stats.h"
#include "smmuv3_spec.h"
#include "test.h"

#define LEN ((size_t)FIRE_PAGES * FIRE_PAGE)
/* Endpoints that may die, one after the other, during one call. */
#define MAX_DEAD 16

/* The driver has cut off an endpoint; or, on a machine under load, the model's thread is late. */
static bool
is_again(int ret)
{
	return ret == -EIO || ret == -ETIMEDOUT;
}

static void *
table_alloc(void *ctx, size_t size)
{
	struct fire_space *s = ctx;

	FIRE_CHECK(size == FIRE_PAGE, "%zu", size);
	for (unsigned int i = 0; i < FIRE_TABLES; i++) {
		uint8_t *p = s->tables + i * FIRE_PAGE;

		if (s->table_used[i])
			continue;
		s->table_used[i] = true;
		/* Atomic: the model may read an old descriptor to guess what to prefetch. */
		for (unsigned int k = 0; k < FIRE_PAGE / sizeof(uint64_t); k++)
			atomic_store_explicit((_Atomic uint64_t *)(void *)p + k, 0,
					memory_order_relaxed);
		/* A walk through a freed table is an oracle error. */
		FIRE_CHECK(smmuv3_model_frame_give(fire.m, (uintptr_t)p, size, 0) == 0, "%u", i);
		return p;
	}
	return NULL;
}

static void
table_free(void *ctx, void *p, size_t size)
{
	struct fire_space *s = ctx;

	s->table_used[((uint8_t *)p - s->tables) / FIRE_PAGE] = false;
	FIRE_CHECK(smmuv3_model_frame_free(fire.m, (uintptr_t)p, size) == 0, "%p", p);
}

static uint64_t
table_pa(void *ctx, const void *p)
{
	RTE_SET_USED(ctx);
	return (uintptr_t)p;
}

static void
stamp_pages(uint8_t *mem, uint32_t owner)
{
	for (unsigned int i = 0; i < FIRE_PAGES; i++)
		*(uint64_t *)(void *)(mem + (size_t)i * FIRE_PAGE) = fire_stamp(owner, i);
}

/*
 * A guest's CD and tables of 39 bits, behind the pages at IPAs that are the VAs. S of the CD would
 * be illegal for a device that must not stall.
 */
static void
guest_create(struct fire_space *s)
{
	struct smmuv3_cd *cd = (struct smmuv3_cd *)(void *)s->guest;
	uint64_t *l1 = (uint64_t *)(void *)(s->guest + FIRE_PAGE);
	uint64_t *l2 = l1 + 512, *l3 = l2 + 512, ipa = FIRE_END;

	memset(s->guest, 0, FIRE_GUEST * FIRE_PAGE);
	*cd = (struct smmuv3_cd){
		.dw[0] = SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |
			SMMUV3_CD0_A | SMMUV3_CD0_ASET |
			(s->index == FIRE_NESTED ? SMMUV3_CD0_S : 0) |
			SMMUV3_PUT(SMMUV3_CD0_ASID, 1) | SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 2),
		.dw[1] = ipa + FIRE_PAGE,
		.dw[3] = 0xff,
	};
	l1[(FIRE_VA >> 30) & 511] = (ipa + 2 * FIRE_PAGE) | 3;
	l2[(FIRE_VA >> 21) & 511] = (ipa + 3 * FIRE_PAGE) | 3;
	/* Valid, AF, ISH, unprivileged. */
	for (unsigned int i = 0; i < FIRE_PAGES; i++)
		l3[((FIRE_VA >> 12) & 511) + i] = (FIRE_VA + (uint64_t)i * FIRE_PAGE) | 0x743;
	FIRE_CHECK(smmuv3_model_frame_give(fire.m, (uintptr_t)s->guest, FIRE_GUEST * FIRE_PAGE,
			0) == 0, "%u", s->index);
	s->parent = s->domain;
	s->domain = NULL;
}

void
fire_map_guest(const struct fire_space *s)
{
	for (unsigned int i = 0; i < FIRE_GUEST; i++) {
		int ret = pgt_resolve(s->pgt, FIRE_END + i * FIRE_PAGE,
				(uintptr_t)s->guest + i * FIRE_PAGE, PGT_READ);

		FIRE_CHECK(ret == 0 || ret == -EALREADY || ret == -ECANCELED, "%d", ret);
	}
}

static void
own_create(struct fire_space *s)
{
	struct iopf_domain_conf conf = {
		.handler = fire_handle,
		.deferred = fire_handle_deferred,
		.lost = fire_handle_lost,
		.worker = fire.worker[s->index % 2],
		.ctx = &s->ctx[0],
	};
	uint32_t owner = atomic_load(&s->owner);
	struct iopf_storm_conf storm;

	stamp_pages(s->data, owner);
	FIRE_CHECK(smmuv3_model_frame_give(fire.m, (uintptr_t)s->data, LEN, owner) == 0, "%u",
			s->index);
	s->pgt = pgt_create(&(struct pgt_conf){ .stage2 = s->stage2, .mem = {
		.ctx = s,
		.alloc = table_alloc,
		.free = table_free,
		.va_to_pa = table_pa,
	} });
	FIRE_CHECK(s->pgt != NULL && pgt_prealloc(s->pgt, FIRE_VA, LEN + FIRE_GUEST * FIRE_PAGE) ==
			0, "%u", s->index);
	for (unsigned int i = 0; i < RTE_DIM(s->ctx); i++) {
		s->ctx[i].space = s;
		atomic_store(&s->ctx[i].retired, i != 0);
	}
	s->ctx_used = 0;
	conf.translation = (struct iopf_translation){ .root = pgt_root(s->pgt),
		.format = s->stage2 ? IOPF_FORMAT_ARM64_S2 : IOPF_FORMAT_ARM64_S1,
		.va_bits = pgt_va_bits(s->pgt), .granule_log2 = pgt_granule_log2(s->pgt) };
	if (s->nested) {
		s->domain = iopf_domain_create(&conf);
		guest_create(s);
		conf.parent = s->parent;
		conf.translation = (struct iopf_translation){ .format = IOPF_FORMAT_ARM64_GUEST,
			.guest_ste = { SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG,
				SMMUV3_STE_S1) | FIRE_END } };
	}
	conf.storm = fire_choose_storm(s, &storm);
	conf.deadline_ms = s->index % 2 != 0 ? 1 + fire_pick(100) : 0;
	s->domain = iopf_domain_create(&conf);
	FIRE_CHECK(s->domain != NULL, "%u", s->index);
	atomic_store(&s->base, FIRE_VA);
}

static void
own_destroy(struct fire_space *s)
{
	FIRE_CHECK(iopf_domain_destroy(s->domain) == 0, "%s", iopf_domain_name(s->domain));
	if (s->nested) {
		FIRE_CHECK(iopf_domain_destroy(s->parent) == 0, "%u", s->index);
		FIRE_CHECK(smmuv3_model_frame_free(fire.m, (uintptr_t)s->guest,
				FIRE_GUEST * FIRE_PAGE) == 0, "%u", s->index);
	}
	pgt_destroy(s->pgt);
	FIRE_CHECK(smmuv3_model_frame_free(fire.m, (uintptr_t)s->data, LEN) == 0, "%u", s->index);
}

void
fire_space_wait(const struct fire_space *s)
{
	uint64_t passes = atomic_load(&fire.passes), begin = rte_rdtsc();

	/* The traffic thread may be about to submit: see its second pass begin. */
	while (atomic_load(&s->dmas) != 0 || (atomic_load(&fire.quiet) &&
			atomic_load(&fire.passes) < passes + 2)) {
		usleep(20);
		/*
		 * A domain that answers no fault, and has no deadline, may have all stalls, or all
		 * credits of an endpoint.
		 */
		if (!atomic_load(&fire.quiet) && fire_pick(100) == 0)
			fire_free_seat();
		if (fire_is_late(begin))
			fire_hang("DMA to a region");
	}
}

/* The caller holds fire.regions. */
static void
region_alloc(struct fire_space *s)
{
	uint32_t owner = atomic_load(&s->owner);
	uint8_t *mem = mmem_alloc(s->mmem, LEN, MMEM_READ | MMEM_WRITE |
			(fire_pick(2) != 0 ? MMEM_TRACK_WRITES : 0));

	FIRE_CHECK(mem != NULL, "%u", s->index);
	FIRE_CHECK(smmuv3_model_frame_give(fire.m, (uintptr_t)mem, LEN, owner) == 0, "%u",
			s->index);
	stamp_pages(mem, owner);
	s->data = mem;
	atomic_store(&s->base, (uintptr_t)mem);
}

/*
 * Free under fire. No space gets these frames while DMA to them is outstanding: it would read them
 * before this thread has written their stamps. The caller holds fire.regions.
 */
static void
region_free(struct fire_space *s)
{
	uintptr_t mem = (uintptr_t)s->data;
	int ret;

	atomic_store(&s->base, 0);
	ret = mmem_free(s->mmem, s->data);
	for (unsigned int i = 0; i < MAX_DEAD && is_again(ret); i++)
		ret = mmem_free(s->mmem, s->data);
	FIRE_CHECK(ret == 0, "%d", ret);
	FIRE_CHECK(smmuv3_model_frame_free(fire.m, mem, LEN) == 0, "%u", s->index);
	fire_space_wait(s);
}

struct fire_space *
fire_choose_space(const struct fire_seat *seat)
{
	unsigned int i = fire_pick(FIRE_SPACES - FIRE_STAGE2);

	if (seat->dev->nested)
		return &fire.space[FIRE_NESTED + (seat->dev->kind == FIRE_PRI)];
	if (seat->dev->stage2)
		return &fire.space[FIRE_STAGE1 + fire_pick(FIRE_NESTED - FIRE_STAGE1)];
	return &fire.space[i < FIRE_STAGE1 ? i : i + FIRE_STAGE2];
}

bool
fire_space_fits(const struct fire_space *s, const struct fire_seat *seat)
{
	return s->stage2 == seat->dev->stage2 && s->nested == seat->dev->nested &&
		(!s->stage2 || seat->pasid == IOPF_NO_PASID);
}

void
fire_space_create(struct fire_space *s)
{
	uint32_t owner = atomic_fetch_add(&fire.next_owner, 1);

	atomic_store(&s->owner, owner);
	if (s->managed) {
		s->mmem = mmem_space_create(&(struct mmem_space_conf){ .pool = fire.pool });
		FIRE_CHECK(s->mmem != NULL, "%u", s->index);
		s->domain = mmem_space_domain(s->mmem);
		pthread_mutex_lock(&fire.regions);
		region_alloc(s);
		pthread_mutex_unlock(&fire.regions);
	} else {
		own_create(s);
	}
}

uint64_t
fire_space_stat(const struct fire_space *s, enum iopf_stat stat)
{
	return iopf_domain_stat(s->domain, stat) +
		(s->nested ? iopf_domain_stat(s->parent, stat) : 0);
}

static void
replace_until_done(struct iopf_domain *domain, const struct fire_seat *seat)
{
	uint64_t begin = rte_rdtsc();
	int ret;

	do {
		ret = iopf_domain_replace(domain, seat->dev->fn.dev, seat->pasid);
		if (fire_is_late(begin))
			fire_hang("a replace by a parent, or back");
	} while (is_again(ret));
	FIRE_CHECK(ret == 0, "SID %u: %d", seat->dev->fn.sid, ret);
}

void
fire_bypass(void)
{
	struct fire_dev *d = &fire.dev[fire_pick(FIRE_DEVS)];
	struct fire_seat *seat = &d->seat[0];

	if (!d->nested)
		return;
	pthread_rwlock_rdlock(&d->lock);
	pthread_mutex_lock(&seat->lock);
	if (seat->space != NULL) {
		replace_until_done(seat->space->parent, seat);
		usleep(fire_pick(300));
		replace_until_done(seat->space->domain, seat);
		fire_count(&fire.n.bypasses);
	}
	pthread_mutex_unlock(&seat->lock);
	pthread_rwlock_unlock(&d->lock);
}

static void
keep_counts(const struct fire_space *s)
{
	uint64_t n = 0, faults = fire_space_stat(s, IOPF_STAT_FAULTS);
	uint64_t terminated = fire_space_stat(s, IOPF_STAT_TERMINATED);

	for (enum iopf_stat i = IOPF_STAT_SUCCESS; i <= IOPF_STAT_RAZWI; i++)
		n += fire_space_stat(s, i);
	fire.old_answers += n;
	fire.old_faults += faults;
	fire.old_terminated += terminated;
	fire.old_joined += fire_space_stat(s, IOPF_STAT_JOINED);
	fire.old_counted += fire_space_stat(s, IOPF_STAT_COUNTED);
	FIRE_CHECK(faults == n + terminated, "%s: %llu faults, %llu answers, %llu terminated",
			iopf_domain_name(s->domain), (unsigned long long)faults,
			(unsigned long long)n, (unsigned long long)terminated);
}

void
fire_space_destroy(struct fire_space *s)
{
	keep_counts(s);
	if (!s->managed) {
		own_destroy(s);
		return;
	}
	pthread_mutex_lock(&fire.regions);
	region_free(s);
	pthread_mutex_unlock(&fire.regions);
	FIRE_CHECK(mmem_space_destroy(s->mmem) == 0, "%u", s->index);
}

static void
own_unmap(struct fire_space *s)
{
	struct pgt_inv inv[4];
	struct iopf_inv iinv[4];
	struct pgt_unmapped out;
	unsigned int page = fire_pick(FIRE_PAGES), n = 1 + fire_pick(FIRE_PAGES - page);
	uint64_t va = FIRE_VA + (uint64_t)page * FIRE_PAGE, len = (uint64_t)n * FIRE_PAGE, all;
	uintptr_t frames = (uintptr_t)s->data + (size_t)page * FIRE_PAGE;
	int ret = 0;

	/* To the end, and a guest's CD and tables too. */
	all = s->nested && fire_pick(4) == 0 ? FIRE_END + FIRE_GUEST * FIRE_PAGE - va : len;
	if (all != len)
		len = FIRE_END - va;
	pgt_unmapped_init(&out, inv, RTE_DIM(inv));
	FIRE_CHECK(pgt_unmap(s->pgt, va, all, PGT_CLOSE, &out) == 0, "%u %u", page, n);
	for (unsigned int k = 0; k < out.nb_inv; k++)
		iinv[k] = iopf_inv_from_pgt(&inv[k]);
	if (out.nb_inv != 0) {
		ret = iopf_invalidate(fire_owner(s), iinv, out.nb_inv, NULL);
		/* The driver cuts off an endpoint whose ATC does not answer. */
		for (unsigned int i = 0; i < MAX_DEAD && is_again(ret); i++)
			ret = iopf_invalidate(fire_owner(s), iinv, out.nb_inv, NULL);
		FIRE_CHECK(ret == 0, "%d", ret);
	}
	/* No access can reach the frames, and no handler can map the pages: they are closed. */
	FIRE_CHECK(smmuv3_model_frame_free(fire.m, frames, len) == 0, "%u %u", page, n);
	if (fire_pick(8) == 0)
		usleep(fire_pick(20));
	FIRE_CHECK(smmuv3_model_frame_give(fire.m, frames, len, atomic_load(&s->owner)) == 0,
			"%u %u", page, n);
	FIRE_CHECK(pgt_open(s->pgt, va, all) == 0, "%u %u", page, n);
}

static void
managed_unmap(struct fire_space *s, bool wait)
{
	unsigned int page = fire_pick(FIRE_PAGES), n = 1 + fire_pick(FIRE_PAGES - page);
	unsigned int what = fire_pick(100);
	void *at = s->data + (size_t)page * FIRE_PAGE;
	size_t len = (size_t)n * FIRE_PAGE;
	int ret;

	if (what < 80 || !wait) {
		ret = mmem_unmap(s->mmem, at, len);
		for (unsigned int i = 0; i < MAX_DEAD && is_again(ret); i++)
			ret = mmem_unmap(s->mmem, at, len);
	} else if (what < 85) {
		ret = mmem_prefetch(s->mmem, at, len);
	} else if (what < 95) {
		ret = mmem_protect(s->mmem, at, len, MMEM_READ);
		if (ret == 0)
			ret = mmem_protect(s->mmem, at, len, MMEM_READ | MMEM_WRITE);
	} else {
		pthread_mutex_lock(&fire.regions);
		region_free(s);
		region_alloc(s);
		pthread_mutex_unlock(&fire.regions);
		return;
	}
	FIRE_CHECK(ret == 0 || (is_again(ret) && what >= 80), "%u: %d", what, ret);
}

bool
fire_space_unmap(struct fire_space *s, bool wait)
{
	if (wait) {
		pthread_rwlock_rdlock(&s->life);
		pthread_mutex_lock(&s->memory);
	} else if (pthread_rwlock_tryrdlock(&s->life) != 0) {
		return false;
	} else if (pthread_mutex_trylock(&s->memory) != 0) {
		pthread_rwlock_unlock(&s->life);
		return false;
	}
	if (s->managed)
		managed_unmap(s, wait);
	else
		own_unmap(s);
	pthread_mutex_unlock(&s->memory);
	pthread_rwlock_unlock(&s->life);
	fire_count(&fire.n.unmaps);
	return true;
}
