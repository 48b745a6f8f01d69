/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ATTACH_H
#define SMMUV3_ATTACH_H

/**
 * @file
 * Attachments. One thread at a time attaches or detaches a device and writes its attachments.
 */

#include <stdbool.h>
#include <stdint.h>

#include "atc.h"

struct smmuv3;
struct smmuv3_dev;
struct smmuv3_domain;

/*
 * Stages of a detach; each is complete with its CMD_SYNC. In all but the last stage the attachment
 * holds the ASID, the CD, the ATC words and the domain.
 */
enum smmuv3_stage {
	SMMUV3_REPLACED,	/* another has its SubstreamID; the SMMU may use the CD */
	SMMUV3_ATTACHED,	/* the CD may translate */
	SMMUV3_CD_STOPPED,	/* the SMMU walks no table through the CD, or stage 2 of the STE */
	SMMUV3_TLB_EMPTIED,	/* the TLB has no entry of the ASID, or VMID, from there either */
	SMMUV3_STES_STOPPED,	/* the STEs have stopped, if no other attachment needs them */
	SMMUV3_ATCS_EMPTIED,	/* the ATCs are invalidated: the attachment can be released */
};

/* A (device, SubstreamID) attached to a domain. */
struct smmuv3_attachment {
	struct smmuv3_dev *dev;
	struct smmuv3_domain *domain;
	uint32_t ssid;
	enum smmuv3_stage stage;
	bool inv_all_pasids;	/* invalidate everything in the device's ATCs */
	/* Under tables_lock: see chunk.h. */
	struct smmuv3_attachment *next;	/* in the list of the domain, or of its parent */
	unsigned int holds;
	unsigned int nb_atcs;
	uint16_t atcs[SMMUV3_MAX_ATCS];	/* indices into smmuv3.atcs, one for each StreamID */
};

/* For the attachment of this domain; it has no ATCs, and the SMMU does not know it. */
struct smmuv3_attachment *smmuv3_attachment_new(struct smmuv3 *s, struct smmuv3_dev *dev,
		struct smmuv3_domain *domain, uint32_t ssid);
void smmuv3_attachment_release(struct smmuv3 *s, struct smmuv3_attachment *a);
/* Before its CD becomes live: the ATC words, and TLBI by ASID (ATS only: see atc.c). */
int smmuv3_attachment_prepare(struct smmuv3 *s, struct smmuv3_attachment *a);

int smmuv3_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment);
int smmuv3_detach(void *priv, void *attachment);
/* block.c */
int smmuv3_stall_set(void *priv, void *attachment, bool on);
/* replace.c */
int smmuv3_replace(void *priv, void *attachment, void *domain, void **next);
/* After it no access uses a stage-2 or nested domain that was replaced. Can be repeated. */
int smmuv3_replace_finish(struct smmuv3 *s, struct smmuv3_attachment *old);

#endif /* SMMUV3_ATTACH_H */
