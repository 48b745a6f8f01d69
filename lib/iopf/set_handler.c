/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Replaces the handlers of a domain.
 *
 * A domain has two copies of its handlers. A pointer to the present one is replaced, so a handler
 * never gets the context of the other. The poll thread reads it in its pass, a worker thread in the
 * read section in which it takes the group and counts itself in nb_running. So after a grace period
 * no thread begins with the old copy, and none but the counted ones has it. When they have
 * returned, the copy is for the next call.
 */

#include <errno.h>

#include <rte_cycles.h>

#include "call.h"
#include "domain.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "rcu.h"

/* The wait for deferred handlers, as the default of iopf_dev_conf.wait_ms. */
#define WAIT_MS		10000
#define WAIT_US		50

void
iopf_handlers_init(struct iopf_domain *domain, const struct iopf_domain_conf *conf)
{
	pthread_mutex_init(&domain->handlers_lock, NULL);
	domain->both_handlers[0] = (struct iopf_handlers){
		.fast = conf->handler,
		.deferred = conf->deferred,
		.ctx = conf->ctx,
	};
	atomic_init(&domain->handlers, &domain->both_handlers[0]);
}

static int
deferred_await(const struct iopf_domain *domain, struct iopf_handlers *handlers)
{
	struct iopf_wait wait;
	uint32_t n;

	iopf_wait_begin(&wait, rte_get_tsc_hz() / 1000 * WAIT_MS);
	/* Acquire: with the release in deferred_run(). */
	while ((n = atomic_load_explicit(&handlers->nb_running, memory_order_acquire)) != 0) {
		if (iopf_wait_is_over(&wait)) {
			IOPF_LOG(ERR, "%s: iopf_domain_set_handler(): %u calls of the deferred "
					"handler from before the last change have not returned "
					"within 10 s: have them return, then call it again",
					domain->name, n);
			return -ETIMEDOUT;
		}
		rte_delay_us_sleep(WAIT_US);
	}
	return 0;
}

int
iopf_domain_set_handler(struct iopf_domain *domain, iopf_handler_t handler, iopf_handler_t deferred,
		void *ctx)
{
	struct iopf_handlers *old, *new;
	int ret;

	if (domain == NULL)
		return iopf_ret(-EINVAL);
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	if ((deferred != NULL) != (domain->conf.worker != NULL) ||
			(handler == NULL && deferred == NULL)) {
		IOPF_LOG(ERR, "%s: iopf_domain_set_handler(): %s", domain->name, deferred != NULL ?
				"it was created without a worker, so it can have no deferred "
				"handler" : domain->conf.worker != NULL ?
				"it has a worker, and needs a deferred handler" :
				"it needs a handler");
		return iopf_ret(-EINVAL);
	}
	pthread_mutex_lock(&domain->handlers_lock);
	old = atomic_load_explicit(&domain->handlers, memory_order_relaxed);
	new = &domain->both_handlers[old == &domain->both_handlers[0]];
	/* A call that timed out may have left handlers in the other copy. */
	ret = deferred_await(domain, new);
	if (ret == 0 && (old->fast != handler || old->deferred != deferred || old->ctx != ctx)) {
		new->fast = handler;
		new->deferred = deferred;
		new->ctx = ctx;
		/* Release: with the acquire in iopf_domain_handlers(). */
		atomic_store_explicit(&domain->handlers, new, memory_order_release);
		iopf_rcu_synchronize();
		ret = deferred_await(domain, old);
	}
	pthread_mutex_unlock(&domain->handlers_lock);
	return iopf_ret(ret);
}
