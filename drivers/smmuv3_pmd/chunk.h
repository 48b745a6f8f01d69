/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CHUNK_H
#define SMMUV3_CHUNK_H

/**
 * @file
 * Commands under one CMD_SYNC that name devices, and the attachments that they are for.
 *
 * A domain has a list of attachments: its own, and those of the domains nested in it. A chunk holds
 * the attachments that its commands name, from before it is given to the queue until its CMD_SYNC
 * is complete. A detach takes its attachment from the list and waits until no chunk holds it. So
 * no command reaches a device after it was detached, when it may be another guest's or not be
 * there. The wait ends: no chunk takes hold of it any more, and a chunk has a time limit.
 */

#include <stdbool.h>

#include <iopf_inval.h>

#include "cmdq.h"

struct smmuv3;
struct smmuv3_attachment;

/* Zeroed at first: empty. Either all of its commands are ATC_INVs, or none is. */
struct smmuv3_chunk {
	unsigned int used, nb_held;
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	unsigned int index[SMMUV3_CHUNK];	/* of each in the caller's array */
	struct smmuv3_attachment *held[SMMUV3_CHUNK];
};

/*
 * Of a stage-2 or nested domain, or with ATS; no chunk names others. Before the STEs or CD of the
 * attachment translate.
 */
void smmuv3_attachment_list(struct smmuv3 *s, struct smmuv3_attachment *a);
/* When it returns no chunk holds the attachment. Its STEs or CD do not translate. */
void smmuv3_attachment_unlist(struct smmuv3 *s, struct smmuv3_attachment *a);

/* tables_lock is held. At most once for each command of the chunk. */
void smmuv3_chunk_hold(struct smmuv3_chunk *c, struct smmuv3_attachment *a);
/*
 * Issue the commands, wait, and release what the chunk holds: it is empty then. An error becomes
 * one of the caller's array.
 */
int smmuv3_chunk_issue(struct smmuv3 *s, struct smmuv3_chunk *c, bool atc,
		struct iopf_inv_result *result);

#endif /* SMMUV3_CHUNK_H */
