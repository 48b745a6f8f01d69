/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_DOMAIN_H
#define IOPF_DOMAIN_H

/* A domain, and its handles on the IOMMUs. */

#include <pthread.h>
#include <stdatomic.h>

#include "hist.h"
#include "iommu.h"
#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_support.h"

struct iopf_join;

/* A domain on an IOMMU. */
struct iopf_hw {
	struct iopf_iommu *iommu;
	void *priv;			/* the driver's handle */
	struct iopf_join *join;		/* NULL: no fault joins */
	unsigned int refs;		/* attachments, and handles of nested domains; under the
					 * domain's lock */
};

/* What iopf_domain_set_handler() replaces: set_handler.c. */
struct iopf_handlers {
	iopf_handler_t fast;
	iopf_handler_t deferred;
	void *ctx;
	_Atomic uint32_t nb_running;	/* calls of the deferred handler */
};

struct iopf_domain {
	char *name;
	unsigned int id;		/* of this process; names may be equal */
	struct iopf_domain_conf conf;	/* without handler, deferred and ctx: see handlers */
	_Atomic(struct iopf_handlers *) handlers;	/* the present copy */
	struct iopf_storm_conf storm;	/* copied; all off if conf.storm was NULL */

	pthread_mutex_t lock;
	/* struct iopf_hw, by IOMMU; written under the lock, read with hazard.h. */
	_Atomic(void *) hw[IOPF_MAX_IOMMUS];
	unsigned int nb_attached;	/* under domains_lock; attaches under way are counted */
	unsigned int nb_nested;		/* domains of which it is the parent; under domains_lock */
	struct iopf_log_limit log;	/* of lines that its handlers can cause */
	pthread_mutex_t handlers_lock;	/* one change of the handlers at a time; no other lock */
	struct iopf_handlers both_handlers[2];

	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t stats[IOPF_NB_STATS];
	struct iopf_hist latency;	/* in TSC cycles */
};

static inline void
iopf_domain_count(struct iopf_domain *domain, enum iopf_stat stat, uint64_t n)
{
	atomic_fetch_add_explicit(&domain->stats[stat], n, memory_order_relaxed);
}

/* In a read section: no other copy is in use after a grace period. */
static inline struct iopf_handlers *
iopf_domain_handlers(const struct iopf_domain *domain)
{
	/* Acquire: with the release in iopf_domain_set_handler(). */
	return atomic_load_explicit(&domain->handlers, memory_order_acquire);
}

/* It is in the tables of the IOMMU's devices, and not of their PASIDs. */
static inline bool
iopf_domain_is_of_device(const struct iopf_domain *domain)
{
	return domain->conf.translation.format == IOPF_FORMAT_ARM64_S2 ||
		domain->conf.parent != NULL;
}

/* The stage-2 domain that its device has, or NULL. */
static inline const struct iopf_domain *
iopf_domain_stage2(const struct iopf_domain *domain)
{
	return domain->conf.translation.format == IOPF_FORMAT_ARM64_S2 ? domain :
		domain->conf.parent;
}

void iopf_handlers_init(struct iopf_domain *domain, const struct iopf_domain_conf *conf);

static inline bool
iopf_inv_has_range(const struct iopf_inv *inv)
{
	return inv->all || (inv->size != 0 && ((inv->addr | inv->size) & 0xfff) == 0 &&
		inv->addr + inv->size - 1 >= inv->addr);
}

/* A request that each domain with a table of its own has. */
static inline bool
iopf_inv_is_plain(const struct iopf_inv *inv)
{
	return inv->type == IOPF_INV_RANGE && iopf_inv_has_range(inv);
}

/* inv_type.c */
/* NULL: the domain has such a request. Else for a log line: why not, and what is right. */
const char *iopf_inv_find_fault(const struct iopf_domain *domain, const struct iopf_inv *inv);
/* The same for an invalidation in a handler, which can only be a plain one. */
const char *iopf_inv_find_plain_fault(const struct iopf_inv *inv);

/*
 * The driver's handle of the domain on this IOMMU, made at the first use, and the table of faults
 * that others may join, or NULL.
 */
int iopf_domain_handle_get(struct iopf_domain *domain, struct iopf_iommu *iommu, void **priv,
		struct iopf_join **join);
/* Waits for the invalidations that are under way on this handle, and for no later ones. */
void iopf_domain_handle_put(struct iopf_domain *domain, struct iopf_iommu *iommu);
/* Add to the attachments of the domain, which cannot be destroyed while it has any. */
void iopf_domain_count_attached(struct iopf_domain *domain, int n);

#endif /* IOPF_DOMAIN_H */
