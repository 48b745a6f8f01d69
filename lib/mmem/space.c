/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A space: a domain, its page table, its counters. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pgtable.h>

#include "iopf_iommu.h"
#include "mmem_dma.h"
#include "mmem_evict.h"
#include "mmem_fault.h"
#include "mmem_import.h"
#include "mmem_log.h"
#include "mmem_pool.h"
#include "mmem_prefetch.h"
#include "mmem_region.h"
#include "mmem_space.h"
#include "mmem_thread.h"
#include "mmem_waiting.h"

#define DEFAULT_WAIT_MS 5000
#define DEFAULT_WINDOW 512

_Thread_local struct mmem_thread mmem_self;

static const char * const stat_names[] = {
	[MMEM_STAT_MAPPED] = "mapped",
	[MMEM_STAT_PREFETCHED] = "prefetched",
	[MMEM_STAT_AHEAD] = "ahead",
	[MMEM_STAT_JOINED] = "joined",
	[MMEM_STAT_UPGRADED] = "upgraded",
	[MMEM_STAT_DEFERRED] = "deferred",
	[MMEM_STAT_ZEROED] = "zeroed",
	[MMEM_STAT_FILLED] = "filled",
	[MMEM_STAT_REFILLED] = "refilled",
	[MMEM_STAT_THROTTLED] = "throttled",
	[MMEM_STAT_EVICTED] = "evicted",
	[MMEM_STAT_WRITTEN] = "written",
	[MMEM_STAT_LATE_WRITES] = "late_writes",
	[MMEM_STAT_UNMAPPED] = "unmapped",
	[MMEM_STAT_NO_REGION] = "no_region",
	[MMEM_STAT_FORBIDDEN] = "forbidden",
	[MMEM_STAT_FAILED] = "failed",
	[MMEM_STAT_KEPT] = "kept",
	[MMEM_STAT_EXPIRED] = "expired",
	[MMEM_STAT_LOG_LEFT_OUT] = "log_left_out",
};
_Static_assert(RTE_DIM(stat_names) == MMEM_NB_STATS, "a name for each counter");

const char *
mmem_stat_name(enum mmem_stat stat)
{
	return (unsigned int)stat < RTE_DIM(stat_names) ? stat_names[stat] : "?";
}

uint64_t
mmem_stat(const struct mmem_space *space, enum mmem_stat stat)
{
	uint64_t sum = 0;
	unsigned int i;

	if (space == NULL || (unsigned int)stat >= MMEM_NB_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	if (stat == MMEM_STAT_LOG_LEFT_OUT)
		return atomic_load_explicit(&space->log.left_out, memory_order_relaxed);
	for (i = 0; i < RTE_DIM(space->lanes); i++)
		sum += atomic_load_explicit(&space->lanes[i].stat[stat], memory_order_relaxed);
	return sum;
}

/* Use as many input address bits as all IOMMUs have, if they reach the pool. */
static int
table_create(struct mmem_space *space, unsigned int *va_bits)
{
	struct mmem_pool *pool = space->pool;
	struct pgt_conf conf = {
		.granule_log2 = MMEM_PAGE_LOG2,
		.va_bits = pool->va_bits,
		.pa_bits = RTE_MAX(pool->addr_bits, 32u),
		.mem = {
			.ctx = pool,
			.alloc = mmem_table_alloc,
			.free = mmem_table_free,
			.va_to_pa = mmem_table_va_to_pa,
			.pa_to_va = pool->by_addr ? mmem_table_pa_to_va : NULL,
		},
	};

	if (mmem_off_to_va(space, space->size - 1) >> conf.va_bits) {
		MMEM_LOG(ERR, "space %s: the pool's address %p needs more than the %u address bits "
				"of its IOMMU %s", space->name, space->mem, conf.va_bits,
				iopf_iommu_name(pool->iommus[0]));
		return -ENOTSUP;
	}
	space->pgt = pgt_create(&conf);
	*va_bits = conf.va_bits;
	return space->pgt ? 0 : -errno;
}

static int
domain_create(struct mmem_space *space, const struct mmem_space_conf *space_conf,
		unsigned int va_bits)
{
	const struct mmem_pool *pool = space->pool;
	char name[sizeof("space:") + sizeof(space->name)];
	struct iopf_domain_conf conf = {
		.name = name,
		.handler = mmem_handle_fault,
		.lost = mmem_handle_lost,
		.deferred = mmem_handle_deferred,
		.ctx = space,
		.worker = space_conf->worker,
		.storm = space_conf->storm,
		.translation = {
			.format = IOPF_FORMAT_ARM64_S1,
			.root = pgt_root(space->pgt),
			.va_bits = va_bits,
			.granule_log2 = MMEM_PAGE_LOG2,
		},
	};

	snprintf(name, sizeof(name), "%s%s", space_conf->name != NULL ? "" : "space:", space->name);
	if (conf.worker == NULL) {
		conf.worker = mmem_pool_get_worker(space->pool);
		if (conf.worker == NULL)
			return -rte_errno;
	}
	if (mmem_space_has_budget(space)) {
		conf.translation.access_flag = pool->access_flag;
		conf.translation.dirty = pool->access_flag && pool->dirty;
		space->hw_dirty = conf.translation.dirty;
	}
	space->domain = iopf_domain_create(&conf);
	return space->domain ? 0 : -rte_errno;
}

/* Memory that has a fixed physical address cannot be released. */
static int
space_init_budget(struct mmem_space *space)
{
	struct mmem_pool *pool = space->pool;
	int rc;

	if (!mmem_space_has_budget(space))
		return 0;
	if (pool->is_locked) {
		MMEM_LOG(ERR, "space %s: a budget needs memory that can be released, and "
				"mlockall() has locked it: use no budget, or no MCL_FUTURE",
				space->name);
		return -ENOTSUP;
	}
	if (pool->hugepages) {
		MMEM_LOG(ERR, "space %s: a budget needs a pool without hugepages: set "
				"no_hugepages or budget in its mmem_pool_conf", space->name);
		return -ENOTSUP;
	}
	if (pool->fixed_memory) {
		MMEM_LOG(ERR, "space %s: a budget needs memory that can be released, and %s "
				"has its physical addresses: use no budget", space->name,
				iopf_iommu_name(pool->iommus[0]));
		return -ENOTSUP;
	}
	rc = mmem_evict_start(pool);
	return rc < 0 ? rc : mmem_evict_init(space);
}

static void
pool_add_users(struct mmem_pool *pool, int by)
{
	pthread_mutex_lock(&pool->lock);
	pool->users += by;
	pthread_mutex_unlock(&pool->lock);
}

struct mmem_space *
mmem_space_create(const struct mmem_space_conf *conf)
{
	static atomic_uint serial;
	struct mmem_space *space;
	struct mmem_pool *pool;
	unsigned int va_bits;
	int rc;

	rc = mmem_may_wait();
	if (rc < 0) {
		rte_errno = -rc;
		return NULL;
	}
	if (conf == NULL || conf->pool == NULL) {
		MMEM_LOG(ERR, "space: mmem_space_conf needs a pool");
		rte_errno = EINVAL;
		return NULL;
	}
	if (posix_memalign((void **)&space, RTE_CACHE_LINE_SIZE, sizeof(*space))) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(space, 0, sizeof(*space));
	pool = conf->pool;
	space->mem = pool->mem;
	space->size = pool->size;
	space->chunks = pool->chunks;
	space->pages = pool->pages;
	space->pool = pool;
	space->report = conf->report;
	space->ctx = conf->ctx;
	TAILQ_INIT(&space->imports);
	space->wait_ms = conf->wait_ms ? conf->wait_ms : DEFAULT_WAIT_MS;
	space->window = conf->window ? conf->window : DEFAULT_WINDOW;
	mmem_name_init(space->name, sizeof(space->name), conf->name, &serial);

	space->budget.limit = conf->budget;
	mmem_throttle_init(&space->throttle);
	rc = space_init_budget(space);
	if (rc < 0)
		goto fail;
	rc = table_create(space, &va_bits);
	if (rc < 0)
		goto fail;
	rc = domain_create(space, conf, va_bits);
	if (rc < 0)
		goto fail;
	pthread_mutex_init(&space->lock, NULL);
	pool_add_users(pool, 1);
	return space;

fail:
	MMEM_LOG(ERR, "space %s: cannot create it: %s", space->name, rte_strerror(-rc));
	pgt_destroy(space->pgt);
	mmem_evict_fini(space);
	free(space);
	rte_errno = -rc;
	return NULL;
}

int
mmem_space_destroy(struct mmem_space *space)
{
	struct mmem_pool *pool;
	int rc;

	if (space == NULL)
		return 0;
	rc = mmem_may_wait();
	if (rc == 0 && (mmem_self.releasing == space ||
			(mmem_self.paging != NULL && mmem_self.paging->space == space)))
		rc = -EDEADLK;
	if (rc < 0)
		return mmem_ret(rc);
	/* An eviction uses the domain. */
	mmem_evict_end_space(space, true);
	if (space->domain != NULL)
		rc = iopf_domain_destroy(space->domain);
	if (rc < 0) {
		mmem_evict_end_space(space, false);
		return mmem_ret(rc);
	}
	/* No device and no handler uses the domain any more. */
	space->domain = NULL;
	mmem_prefetch_cancel(space);
	rc = mmem_imports_release_all(space);
	if (rc == 0)
		rc = mmem_regions_free_all(space);
	if (rc < 0) {
		/* The CPU has what is left, and that may be more than fits. */
		mmem_evict_end_space(space, false);
		return mmem_ret(rc);
	}
	pool = space->pool;
	free(space->import_table);
	free(space->import_spare);
	free(space->blocked.ids);
	mmem_hotset_free(space);
	pgt_free_tables(space->pgt, &space->retired);
	pgt_destroy(space->pgt);
	mmem_evict_fini(space);
	pthread_mutex_destroy(&space->lock);
	free(space);
	pool_add_users(pool, -1);
	return 0;
}

void
mmem_space_unlock(struct mmem_space *space)
{
	struct mmem_pool *pool = space->pool;

	pthread_mutex_unlock(&space->lock);
	/* Pairs with the fence in space_lock(). */
	atomic_thread_fence(memory_order_seq_cst);
	if (likely(!atomic_load_explicit(&space->is_blocked, memory_order_relaxed)))
		return;
	pthread_mutex_lock(&pool->lock);
	atomic_store_explicit(&space->is_blocked, false, memory_order_relaxed);
	mmem_waiting_defer(&space->blocked);
	pthread_mutex_unlock(&pool->lock);
}

struct iopf_domain *
mmem_space_domain(struct mmem_space *space)
{
	if (space == NULL) {
		rte_errno = EINVAL;
		return NULL;
	}
	return space->domain;
}

static int
refuse_half_destroyed(struct mmem_space *space)
{
	MMEM_LOG_LIMITED(space, "half destroyed, cannot attach or detach devices: destroy it "
			"again");
	return mmem_ret(-ESHUTDOWN);
}

/* What an attach and a replace need. */
static int
check_dev(struct mmem_space *space, struct iopf_dev *dev)
{
	const struct mmem_pool *pool;
	unsigned int i;

	if (space == NULL || dev == NULL)
		return -EINVAL;
	pool = space->pool;
	if (mmem_may_wait() < 0)
		return -EDEADLK;
	if (space->domain == NULL)
		return refuse_half_destroyed(space);
	for (i = 0; i < pool->nb_iommus; i++)
		if (iopf_dev_iommu(dev) == pool->iommus[i])
			return 0;
	MMEM_LOG(ERR, "space %s: device %s is behind %s, which the pool does not name: add it to "
			"mmem_pool_conf.others", space->name, iopf_dev_name(dev),
			iopf_iommu_name(iopf_dev_iommu(dev)));
	return -EXDEV;
}

int
mmem_attach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid)
{
	int ret = check_dev(space, dev);

	return mmem_ret(ret < 0 ? ret : iopf_domain_attach(space->domain, dev, pasid));
}

int
mmem_replace(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid)
{
	int ret = check_dev(space, dev);

	return mmem_ret(ret < 0 ? ret : iopf_domain_replace(space->domain, dev, pasid));
}

int
mmem_detach(struct mmem_space *space, struct iopf_dev *dev, uint32_t pasid)
{
	if (space == NULL || dev == NULL)
		return mmem_ret(-EINVAL);
	if (mmem_may_wait() < 0)
		return mmem_ret(-EDEADLK);
	if (space->domain == NULL)
		return refuse_half_destroyed(space);
	return mmem_ret(iopf_domain_detach(space->domain, dev, pasid));
}
