/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>

#include "call.h"
#include "domain.h"
#include "hazard.h"
#include "iommu.h"
#include "iopf_guest.h"
#include "iopf_log.h"
#include "iopf_trace.h"

/* The driver has checked the commands, or a check of the library's refuses them all. */
static int
end(struct iopf_inv_result *out, const struct iopf_inv_result *result, unsigned int n, int ret)
{
	if (out != NULL)
		*out = *result;
	iopf_trace_invalidate(n, result->done, ret);
	return iopf_ret(ret);
}

static int
refuse(struct iopf_inv_result *out, unsigned int n, int err)
{
	return end(out, &(struct iopf_inv_result){ .failed = n, .error = IOPF_INV_REFUSED }, n,
			err);
}

int
iopf_invalidate_guest(struct iopf_iommu *iommu, struct iopf_domain *parent,
		const struct iopf_guest_cmd *cmds, unsigned int n, struct iopf_inv_result *out)
{
	struct iopf_inv_result result = { .done = n, .failed = n };
	const struct iopf_driver_ops *ops;
	const char *why = NULL;
	struct iopf_hazard *line;
	struct iopf_hw *hw;
	int ret;

	if (iommu == NULL || parent == NULL || (cmds == NULL && n != 0))
		return refuse(out, n, -EINVAL);
	if (iopf_self.in_fast)
		return refuse(out, n, -EDEADLK);
	ops = &iommu->driver->ops;
	if (ops->invalidate_guest == NULL)
		return refuse(out, n, -ENOTSUP);
	if (parent->conf.translation.format != IOPF_FORMAT_ARM64_S2) {
		IOPF_LOG_LIMITED(&parent->log, "%s: iopf_invalidate_guest(): it is not of stage 2: "
				"use the parent of the guest's nested domains", parent->name);
		return refuse(out, n, -EINVAL);
	}
	/* The guest's change of its tables is visible first: see iopf_invalidate(). */
	atomic_thread_fence(memory_order_seq_cst);
	hw = iopf_hazard_take(&parent->hw[iommu->id], &line);
	if (hw == NULL)
		return refuse(out, n, -ENOTCONN);
	ret = ops->invalidate_guest(iommu->priv, hw->priv, cmds, n, &result, &why);
	iopf_hazard_drop(line);
	if (ret == -EINVAL)
		/* A guest can cause it for each command. */
		IOPF_LOG_LIMITED(&parent->log, "%s: guest's command %u of %u, %#" PRIx64 " %#"
				PRIx64 ": %s", parent->name, result.failed, n,
				cmds[result.failed].dw[0], cmds[result.failed].dw[1], why);
	return end(out, &result, n, ret);
}
