/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GUEST_H
#define SMMUV3_GUEST_H

/**
 * @file
 * A guest's commands: the StreamIDs that they may name, and their execution.
 *
 * A guest may name the StreamIDs of the attachments of its stage-2 domain and of the domains nested
 * in it. A chunk holds the attachments that its commands name: chunk.h.
 */

#include <stdint.h>

#include <iopf_driver.h>
#include <iopf_guest.h>

/* The operation invalidate_guest. */
int smmuv3_invalidate_guest(void *priv, void *parent, const struct iopf_guest_cmd *cmds,
		unsigned int n, struct iopf_inv_result *result, const char **why);

#endif /* SMMUV3_GUEST_H */
