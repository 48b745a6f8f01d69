/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>

#include "call.h"
#include "handler.h"
#include "iopf_handler.h"
#include "iopf_log.h"
#include "join.h"

bool
iopf_inv_batch_begin(struct iopf_pass *pass, const struct iopf_attachment *attachment,
		unsigned int left)
{
	unsigned int posts = pass->nb_posts + inv_batch_is_full(pass, attachment) + 1;

	if (posts + left > IOPF_MAX_BURST)
		return false;
	inv_batch_begin(pass, attachment);
	return true;
}

void
iopf_handler_run_gated(struct iopf_pass *pass, struct iopf_attachment *attachment,
		struct iopf_slot *head, const struct iopf_group *group)
{
	enum iopf_verdict verdict = iopf_gate_run(attachment, group);

	if (pass->joined) {
		/* Another thread may have answered the fault, and freed its slot. */
		pass->joined = false;
		return;
	}
	if ((verdict & ~0xff) != IOPF_VERDICT_AFTER_INV)
		pass->nb_inv = pass->group_inv;
	verdict_apply(pass, attachment->domain, head, group->id, IOPF_ID_GEN(group->id), verdict,
			head->fault.flags & IOPF_FAULT_PAGE_REQUEST);
	if (attachment->join != NULL && (verdict == IOPF_TAKEN || verdict == IOPF_DEFER))
		iopf_join_publish(attachment, group);
}

static __rte_noinline __rte_cold int
inv_refuse(const struct iopf_group *group, const struct iopf_inv *inv)
{
	IOPF_LOG_LIMITED(&group->dev->log, "%s: iopf_group_invalidate(): %#" PRIx64 " + %#" PRIx64
			": %s", group->dev->name, inv->addr, inv->size,
			iopf_inv_find_plain_fault(inv));
	return iopf_ret(-EINVAL);
}

int
iopf_group_invalidate(const struct iopf_group *group, const struct iopf_inv *inv)
{
	struct iopf_pass *pass;

	if (group == NULL || inv == NULL)
		return iopf_ret(-EINVAL);
	pass = iopf_self.pass;
	if (pass == NULL)
		return iopf_ret(-EPERM);
	if (unlikely(!iopf_inv_is_plain(inv)))
		return inv_refuse(group, inv);
	if (pass->nb_inv - pass->group_inv >= IOPF_MAX_GROUP_INV)
		return iopf_ret(-ENOSPC);
	pass->inv[pass->nb_inv++] = *inv;
	return 0;
}
