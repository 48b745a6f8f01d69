/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "hazard.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "join.h"
#include "rcu.h"
#include "worker.h"

/* Guards nb_attached of all domains: no domain is destroyed while it is being attached. */
static pthread_mutex_t domains_lock = PTHREAD_MUTEX_INITIALIZER;

static bool
storm_conf_is_valid(const struct iopf_storm_conf *conf, const char *name)
{
	if (conf->join_log2 != 0 && (conf->join_log2 < IOPF_JOIN_MIN_LOG2 ||
			conf->join_log2 > IOPF_JOIN_MAX_LOG2)) {
		IOPF_LOG(ERR, "%s: storm.join_log2 is %u: use %u to %u (2^12 is 4 KiB), or 0",
				name, conf->join_log2, IOPF_JOIN_MIN_LOG2, IOPF_JOIN_MAX_LOG2);
		return false;
	}
	if (!iopf_storm_has_breaker(conf) && (conf->tripped != NULL || conf->quiet_ms != 0 ||
			conf->abort_device)) {
		IOPF_LOG(ERR, "%s: storm.%s is for a stall breaker: set max_held or max_rate too",
				name, conf->tripped != NULL ? "tripped" : conf->quiet_ms != 0 ?
				"quiet_ms" : "abort_device");
		return false;
	}
	return true;
}

/* A nested domain has a parent, a stage-2 domain, and no other domain has one. */
static bool
parent_is_valid(const struct iopf_domain_conf *conf, const char *name)
{
	const struct iopf_domain *parent = conf->parent;

	if ((conf->translation.format == IOPF_FORMAT_ARM64_GUEST) != (parent != NULL)) {
		IOPF_LOG(ERR, "%s: a nested domain needs both IOPF_FORMAT_ARM64_GUEST and parent; "
				"set both, or neither", name);
		return false;
	}
	if (parent != NULL && parent->conf.translation.format != IOPF_FORMAT_ARM64_S2) {
		IOPF_LOG(ERR, "%s: its parent %s is not of stage 2: use one with "
				"IOPF_FORMAT_ARM64_S2", name, parent->name);
		return false;
	}
	return true;
}

static void
parent_count_nested(struct iopf_domain *parent, int n)
{
	if (parent == NULL)
		return;
	pthread_mutex_lock(&domains_lock);
	parent->nb_nested += n;
	pthread_mutex_unlock(&domains_lock);
}

struct iopf_domain *
iopf_domain_create(const struct iopf_domain_conf *conf)
{
	static _Atomic unsigned int serial;
	struct iopf_domain *domain;
	char name[32];

	if (conf == NULL)
		return iopf_ret_null();
	if ((conf->deferred != NULL) != (conf->worker != NULL)) {
		IOPF_LOG(ERR, "domain: a deferred handler needs a worker, and a worker a deferred "
				"handler; set both");
		rte_errno = EINVAL;
		return NULL;
	}
	if (conf->handler == NULL && conf->deferred == NULL) {
		IOPF_LOG(ERR, "%s: has neither a handler nor a deferred handler: no fault of it "
				"could be resolved; set handler",
				conf->name != NULL ? conf->name : "domain");
		rte_errno = EINVAL;
		return NULL;
	}
	if (conf->storm != NULL && !storm_conf_is_valid(conf->storm,
			conf->name != NULL ? conf->name : "domain")) {
		rte_errno = EINVAL;
		return NULL;
	}
	if (!parent_is_valid(conf, conf->name != NULL ? conf->name : "domain")) {
		rte_errno = EINVAL;
		return NULL;
	}
	if (conf->deadline_ms > IOPF_MAX_DEADLINE_MS) {
		IOPF_LOG(ERR, "%s: deadline_ms %u is too long: use at most %u, or 0 for no "
				"deadline", conf->name != NULL ? conf->name : "domain",
				conf->deadline_ms, IOPF_MAX_DEADLINE_MS);
		rte_errno = EINVAL;
		return NULL;
	}
	domain = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*domain), RTE_CACHE_LINE_SIZE));
	if (domain == NULL) {
		rte_errno = ENOMEM;
		return NULL;
	}
	memset(domain, 0, sizeof(*domain));
	domain->conf = *conf;
	if (conf->storm != NULL)
		domain->storm = *conf->storm;
	domain->id = atomic_fetch_add(&serial, 1);
	snprintf(name, sizeof(name), "domain:%u", domain->id);
	domain->name = strdup(conf->name != NULL ? conf->name : name);
	if (domain->name == NULL) {
		free(domain);
		rte_errno = ENOMEM;
		return NULL;
	}
	pthread_mutex_init(&domain->lock, NULL);
	iopf_handlers_init(domain, conf);
	if (conf->worker != NULL)
		atomic_fetch_add(&conf->worker->nb_domains, 1);
	parent_count_nested(conf->parent, 1);
	return domain;
}

int
iopf_domain_destroy(struct iopf_domain *domain)
{
	unsigned int nested;
	bool busy;

	if (domain == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&domains_lock);
	busy = domain->nb_attached != 0;
	nested = domain->nb_nested;
	pthread_mutex_unlock(&domains_lock);
	if (busy) {
		IOPF_LOG(ERR, "%s is attached; detach it first", domain->name);
		return iopf_ret(-EBUSY);
	}
	if (nested != 0) {
		IOPF_LOG(ERR, "%s is the parent of %u nested domains; destroy those first",
				domain->name, nested);
		return iopf_ret(-EBUSY);
	}
	parent_count_nested(domain->conf.parent, -1);
	if (domain->conf.worker != NULL)
		atomic_fetch_sub(&domain->conf.worker->nb_domains, 1);
	pthread_mutex_destroy(&domain->lock);
	pthread_mutex_destroy(&domain->handlers_lock);
	free(domain->name);
	free(domain);
	return 0;
}

static uint32_t
iommu_nb_slots(struct iopf_iommu *iommu)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		n += iommu->queues[i].nb_slots;
	return n;
}

/* The caller holds the domain's lock. A nested domain's handle holds one of its parent. */
static int
hw_new(struct iopf_domain *domain, struct iopf_iommu *iommu, struct iopf_hw **out)
{
	struct iopf_hw *hw = calloc(1, sizeof(*hw));
	struct iopf_join *join_of_parent;
	void *parent = NULL;
	int ret = -ENOMEM;

	if (hw == NULL)
		return -ENOMEM;
	hw->iommu = iommu;
	if (domain->storm.join_log2 != 0) {
		hw->join = iopf_join_create(domain->storm.join_log2, iommu_nb_slots(iommu));
		if (hw->join == NULL)
			goto fail;
	}
	if (domain->conf.parent != NULL) {
		ret = iopf_domain_handle_get(domain->conf.parent, iommu, &parent, &join_of_parent);
		if (ret < 0)
			goto fail;
	}
	ret = iommu->driver->ops.domain_add(iommu->priv, &domain->conf.translation, parent,
			&hw->priv);
	if (ret < 0) {
		if (parent != NULL)
			iopf_domain_handle_put(domain->conf.parent, iommu);
		goto fail;
	}
	*out = hw;
	return 0;
fail:
	iopf_join_destroy(hw->join);
	free(hw);
	return ret;
}

int
iopf_domain_handle_get(struct iopf_domain *domain, struct iopf_iommu *iommu, void **priv,
		struct iopf_join **join)
{
	struct iopf_hw *hw;
	int ret = 0;

	pthread_mutex_lock(&domain->lock);
	hw = atomic_load_explicit(&domain->hw[iommu->id], memory_order_relaxed);
	if (hw == NULL) {
		ret = hw_new(domain, iommu, &hw);
		if (ret == 0)
			atomic_store(&domain->hw[iommu->id], hw);
	}
	if (ret == 0) {
		hw->refs++;
		*priv = hw->priv;
		*join = hw->join;
	}
	pthread_mutex_unlock(&domain->lock);
	return ret;
}

void
iopf_domain_handle_put(struct iopf_domain *domain, struct iopf_iommu *iommu)
{
	struct iopf_hw *hw;
	bool last;

	pthread_mutex_lock(&domain->lock);
	hw = atomic_load_explicit(&domain->hw[iommu->id], memory_order_relaxed);
	last = --hw->refs == 0;
	if (last)
		atomic_store(&domain->hw[iommu->id], NULL);
	pthread_mutex_unlock(&domain->lock);
	if (!last)
		return;
	iopf_hazard_wait(hw);
	iommu->driver->ops.domain_del(iommu->priv, hw->priv);
	iopf_join_destroy(hw->join);
	free(hw);
	if (domain->conf.parent != NULL)
		iopf_domain_handle_put(domain->conf.parent, iommu);
}

void
iopf_domain_count_attached(struct iopf_domain *domain, int n)
{
	pthread_mutex_lock(&domains_lock);
	domain->nb_attached += n;
	pthread_mutex_unlock(&domains_lock);
}

int
iopf_quiesce(void)
{
	if (iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	iopf_rcu_synchronize();
	return 0;
}

void *
iopf_domain_ctx(const struct iopf_domain *domain)
{
	void *ctx;

	if (domain == NULL)
		return iopf_ret_null();
	/* iopf_domain_set_handler() writes the other copy after a grace period. */
	iopf_rcu_read_lock();
	ctx = iopf_domain_handlers(domain)->ctx;
	iopf_rcu_read_unlock();
	return ctx;
}

const char *
iopf_domain_name(const struct iopf_domain *domain)
{
	if (domain == NULL)
		return iopf_ret_null();
	return domain->name;
}
