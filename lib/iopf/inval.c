/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Invalidation arrays: checked as a whole, then issued in each IOMMU of the domain. */

#include <errno.h>
#include <inttypes.h>

#include "call.h"
#include "domain.h"
#include "hazard.h"
#include "iopf_inval.h"
#include "iopf_log.h"
#include "iopf_trace.h"

static int
refuse(struct iopf_inv_result *result, unsigned int failed, int err)
{
	if (result != NULL)
		*result = (struct iopf_inv_result){ .failed = failed, .error = IOPF_INV_REFUSED };
	return iopf_ret(err);
}

static __rte_noinline int
invalidate_typed(const struct iopf_hw *hw, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	const struct iopf_driver_ops *ops = &hw->iommu->driver->ops;

	if (ops->invalidate_typed != NULL)
		return ops->invalidate_typed(hw->iommu->priv, hw->priv, inv, n, result);
	*result = (struct iopf_inv_result){ .failed = n, .error = IOPF_INV_REFUSED };
	return -ENOTSUP;
}

int
iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	struct iopf_inv_result least = { .done = n, .failed = n };
	bool nested, typed = false;
	int ret = 0;

	if (domain == NULL || (inv == NULL && n != 0))
		return refuse(result, n, -EINVAL);
	if (iopf_self.in_fast)
		return refuse(result, n, -EDEADLK);
	nested = domain->conf.parent != NULL;
	for (unsigned int i = 0; i < n; i++) {
		const char *why;

		if (likely(!nested && iopf_inv_is_plain(&inv[i])))
			continue;
		typed = true;
		why = iopf_inv_find_fault(domain, &inv[i]);
		if (why == NULL)
			continue;
		/* A deferred handler can cause it for each fault. */
		IOPF_LOG_LIMITED(&domain->log, "%s: invalidation %u of %u, %s %#" PRIx64 " + %#"
				PRIx64 ": %s", domain->name, i, n, iopf_inv_type_name(inv[i].type),
				inv[i].addr, inv[i].size, why);
		return refuse(result, i, -EINVAL);
	}
	/*
	 * The caller's change of the tables is visible before the handles are read. Pairs with
	 * the fence in attachment_attach().
	 */
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned int i = 0; i < IOPF_MAX_IOMMUS; i++) {
		struct iopf_inv_result here;
		struct iopf_hazard *line;
		struct iopf_hw *hw;
		int err;

		if (atomic_load_explicit(&domain->hw[i], memory_order_relaxed) == NULL)
			continue;
		hw = iopf_hazard_take(&domain->hw[i], &line);
		if (hw == NULL)
			continue;
		/*
		 * Also while the IOMMU starts or stops: only the driver knows whether it
		 * translates. It is not closed, since the domain is attached.
		 */
		err = likely(!typed) ? hw->iommu->driver->ops.invalidate(hw->iommu->priv, hw->priv,
				inv, n, &here) : invalidate_typed(hw, inv, n, &here);
		iopf_hazard_drop(line);
		if (unlikely(err < 0) && (ret == 0 || here.done < least.done)) {
			least = here;
			ret = err;
		}
	}
	if (result != NULL)
		*result = least;
	iopf_trace_invalidate(n, least.done, ret);
	return iopf_ret(ret);
}
