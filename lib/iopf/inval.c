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

const char *
iopf_inv_error_name(enum iopf_inv_error error)
{
	static const char *const names[IOPF_NB_INV_ERRORS] = {
		[IOPF_INV_OK] = "ok",
		[IOPF_INV_REFUSED] = "refused",
		[IOPF_INV_ILL] = "illegal",
		[IOPF_INV_ABT] = "aborted",
		[IOPF_INV_ATC] = "atc",
		[IOPF_INV_TIMEOUT] = "timeout",
	};

	return (unsigned int)error < IOPF_NB_INV_ERRORS ? names[error] : "unknown";
}

const char *
iopf_inv_fault_text(const struct iopf_inv *inv)
{
	if (inv->size == 0)
		return "the size is 0: use a multiple of 4096, or all";
	if (((inv->addr | inv->size) & 0xfff) != 0)
		return "use an address and a size that are multiples of 4096";
	return "the range ends beyond 2^64: use a smaller size, or all";
}

static int
refuse(struct iopf_inv_result *result, unsigned int failed, int err)
{
	if (result != NULL)
		*result = (struct iopf_inv_result){ .failed = failed, .error = IOPF_INV_REFUSED };
	return iopf_ret(err);
}

int
iopf_invalidate(struct iopf_domain *domain, const struct iopf_inv *inv, unsigned int n,
		struct iopf_inv_result *result)
{
	struct iopf_inv_result least = { .done = n, .failed = n };
	int ret = 0;

	if (domain == NULL || (inv == NULL && n != 0))
		return refuse(result, n, -EINVAL);
	if (iopf_self.in_fast)
		return refuse(result, n, -EDEADLK);
	if (domain->conf.parent != NULL) {
		IOPF_LOG_LIMITED(&domain->log, "%s: iopf_invalidate() of a nested domain: its "
				"tables are a guest's; invalidate IPAs in its parent %s",
				domain->name, domain->conf.parent->name);
		return refuse(result, n, -EINVAL);
	}
	for (unsigned int i = 0; i < n; i++) {
		if (!iopf_inv_is_valid(&inv[i])) {
			/* A deferred handler can cause it for each fault. */
			IOPF_LOG_LIMITED(&domain->log, "%s: invalidation %u of %u, %#" PRIx64
					" + %#" PRIx64 ": %s", domain->name, i, n, inv[i].addr,
					inv[i].size, iopf_inv_fault_text(&inv[i]));
			return refuse(result, i, -EINVAL);
		}
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
		err = hw->iommu->driver->ops.invalidate(hw->iommu->priv, hw->priv, inv, n, &here);
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
