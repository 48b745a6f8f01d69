/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ATTACH_H
#define SMMUV3_ATTACH_H

/**
 * @file
 * Attachments. One is written by the one thread that attaches or detaches its device.
 */

#include <stdbool.h>
#include <stdint.h>

#include "atc.h"

struct smmuv3_dev;
struct smmuv3_domain;

/*
 * How far an attachment is undone; each stage has been synchronised. All before the last hold
 * the ASID, the CD, the ATC records and the domain.
 */
enum smmuv3_stage {
	SMMUV3_ATTACHED,	/* it may translate */
	SMMUV3_CD_STOPPED,	/* nothing walks through its CD any more */
	SMMUV3_TLB_EMPTIED,	/* ... nor is anything of it in the TLB */
	SMMUV3_STES_STOPPED,	/* if it was the device's last one */
	SMMUV3_ATCS_EMPTIED,	/* nothing of it is left: to be released */
};

/* A (device, SubstreamID) that uses a domain. */
struct smmuv3_attachment {
	struct smmuv3_dev *dev;
	struct smmuv3_domain *domain;
	uint32_t ssid;
	enum smmuv3_stage stage;
	bool inv_all_pasids;	/* all that the device's ATCs have is to go */
	unsigned int nb_atcs;
	uint16_t atcs[SMMUV3_MAX_ATCS];	/* indices into smmuv3.atcs: one for each StreamID */
};

int smmuv3_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
int smmuv3_detach(void *priv, void *attachment);

#endif /* SMMUV3_ATTACH_H */
