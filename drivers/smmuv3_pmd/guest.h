/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GUEST_H
#define SMMUV3_GUEST_H

/**
 * @file
 * A guest's commands: the StreamIDs that they may name, and their execution.
 *
 * A guest may name the StreamIDs of the attachments of its stage-2 domain and of the domains nested
 * in it. They are a list of the stage-2 domain, which tables_lock protects. A call holds the
 * attachments that the commands of a chunk name, from before the chunk is given to the queue until
 * its CMD_SYNC is complete; a detach takes its attachment from the list and waits until no call
 * holds it. So no command reaches a device after it was detached, when it may be another guest's.
 * The wait ends: no call takes hold of it any more, and a chunk has a time limit.
 */

#include <stdint.h>

#include <iopf_driver.h>
#include <iopf_guest.h>

struct smmuv3;
struct smmuv3_attachment;

/* Of a stage-2 or nested domain; else nothing. Before its STEs translate. */
void smmuv3_guest_add_attachment(struct smmuv3 *s, struct smmuv3_attachment *a);
/* When it returns no call holds the attachment. Its STEs do not translate. */
void smmuv3_guest_del_attachment(struct smmuv3 *s, struct smmuv3_attachment *a);

/* The operation invalidate_guest. */
int smmuv3_invalidate_guest(void *priv, void *parent, const struct iopf_guest_cmd *cmds,
		unsigned int n, struct iopf_inv_result *result, const char **why);

#endif /* SMMUV3_GUEST_H */
