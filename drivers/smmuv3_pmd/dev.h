/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_DEV_H
#define SMMUV3_DEV_H

/**
 * @file
 * Devices. A device's counts are written by the one thread that adds, removes, attaches or
 * detaches it.
 */

#include <stdbool.h>
#include <stdint.h>

#include "cd.h"

struct iopf_dev_conf;

struct smmuv3_dev {
	struct smmuv3_cdtab cds;
	bool stall;
	bool pri;			/* ATS while something is attached */
	bool prg_pasid;
	bool word1_written;		/* word 1 of its STEs is right; the SMMU was told */
	bool live;			/* its STEs translate; the SMMU was told */
	bool may_stall;			/* they did since the last STALL_TERM */
	uint32_t nb_pasids;
	unsigned int nb_attachments;	/* not released */
	unsigned int nb_live;		/* ... for which the STEs are to translate */
	unsigned int nb_sids;
	uint32_t sids[];
};

int smmuv3_dev_add(void *priv, const struct iopf_dev_conf *conf, void **dev);
int smmuv3_dev_del(void *priv, void *dev);

#endif /* SMMUV3_DEV_H */
