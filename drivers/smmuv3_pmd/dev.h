/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_DEV_H
#define SMMUV3_DEV_H

/**
 * @file
 * Devices. One thread at a time adds, removes, attaches or detaches a device and writes its fields.
 */

#include <stdbool.h>
#include <stdint.h>

#include "cd.h"

struct iopf_dev_conf;
struct smmuv3;
struct smmuv3_domain;

struct smmuv3_dev {
	struct smmuv3_cdtab cds;
	bool stall;
	bool pri;			/* ATS is on while a domain is attached */
	bool prg_pasid;
	bool merge_events;
	/* Words 1 to 3 of its STEs are written for stage2, CMD_SYNC complete. */
	bool words_written;
	uint64_t word1;			/* that word 1, or of a switch since */
	bool stalls_off;		/* S2S is clear, and would be set: block.c */
	bool live;			/* its STEs translate, CMD_SYNC complete */
	bool blocked;			/* its STEs abort whatever is attached: block.c */
	bool may_stall;			/* its STEs have translated since the last STALL_TERM */
	/*
	 * The stage-2 domain of its only attachment, and the nested domain in front of it, or NULL.
	 * Without the first its attachments are of stage 1.
	 */
	const struct smmuv3_domain *stage2, *nested;
	uint32_t nb_pasids;
	unsigned int nb_attachments;	/* attachments that are not released */
	unsigned int nb_live;		/* ... that need translating STEs */
	unsigned int nb_sids;
	uint32_t sids[];
};

int smmuv3_dev_add(void *priv, const struct iopf_dev_conf *conf, void **dev);
int smmuv3_dev_del(void *priv, void *dev);
int smmuv3_dev_usable(void *priv, void *dev);
/* End all stalls of the device. Its STEs abort, CMD_SYNC complete. */
int smmuv3_dev_end_stalls(struct smmuv3 *s, const struct smmuv3_dev *dev);

/* block.c */
int smmuv3_dev_block(void *priv, void *dev, bool on);

#endif /* SMMUV3_DEV_H */
