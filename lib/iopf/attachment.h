/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_ATTACHMENT_H
#define IOPF_ATTACHMENT_H

/* A (device, PASID) that uses a domain. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "dev.h"

struct iopf_domain;
struct iopf_breaker;
struct iopf_episodes;
struct iopf_join;

/*
 * The states of an attachment. Each step can fail, and the next detach makes it again:
 *	ATTACHED -> CUT		no handler is called any more; ATS goes off at the device
 *	CUT -> DRAINING		the driver has detached: no access succeeds or stalls
 *	DRAINING -> freed	the queues are read up to there, all faults are answered, and no
 *				handler has any of them
 * One that was replaced (replace.c) is not in the table any more. It is in state CUT until the
 * driver has released it, and then in state DRAINING.
 */
enum iopf_attachment_state {
	IOPF_ATTACHED,
	IOPF_CUT,
	IOPF_DRAINING,
};

/* The state is not ATTACHED, or the table does not have all StreamIDs yet. */
#define IOPF_GATE_CLOSED	(1u << 0)
/* A replace is under way, or it was replaced: faults are answered SUCCESS, to be tried again. */
#define IOPF_GATE_REPLACING	(1u << 1)
/* The device has a rate, or is quarantined. */
#define IOPF_GATE_LIMIT		(1u << 2)
/* The attachment has a breaker. */
#define IOPF_GATE_BREAKER	(1u << 3)
/* The attachment has episodes; one may be open. */
#define IOPF_GATE_EPISODES	(1u << 4)
/* Faults join: attachment->join is not NULL. */
#define IOPF_GATE_JOIN		(1u << 5)
/*
 * The same, but for faults of stage 2 only: those of stage 1 are of many address spaces, a guest's,
 * which expects each of them.
 */
#define IOPF_GATE_JOIN_STAGE2	(1u << 7)
/* A stall past the device's share was refused after its handler had held it: see full_since. */
#define IOPF_GATE_FULL		(1u << 6)

/* In the IOMMU's table attached once for each StreamID; a domain of the device twice. */
struct iopf_attachment {
	/* What the poll thread reads is in the first cache line. */
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	void *hw;			/* the driver's handle for the domain */
	uint32_t pasid;
	/*
	 * IOPF_GATE_*; 0: faults go to the handler. One load tells the poll thread that no policy
	 * applies.
	 */
	_Atomic uint32_t gate;
	struct iopf_breaker *breaker;	/* NULL without IOPF_GATE_BREAKER */
	struct iopf_episodes *episodes;	/* NULL without IOPF_GATE_EPISODES */
	struct iopf_join *join;		/* of the domain on this IOMMU; NULL: no fault joins */
	uint64_t full_since;		/* IOPF_GATE_FULL: time of that stall; owner of queue 0 */

	void *priv;			/* the driver's handle for the attachment; NULL: none */
	uint32_t state;			/* enum iopf_attachment_state; under the device's lock */
	/* A detach waits for handlers, for wait_ms at most, without the device's lock. */
	bool busy;
	bool undo;			/* its attach failed: it is to be detached */
	bool replaced;			/* another has its place in the table */
	LIST_ENTRY(iopf_attachment) next;
};

/* The device has an attachment in state ATTACHED. The caller holds the device's lock. */
static inline bool
iopf_dev_is_attached(const struct iopf_dev *dev)
{
	const struct iopf_attachment *attachment;

	LIST_FOREACH(attachment, &dev->attachments, next)
		if (attachment->state == IOPF_ATTACHED)
			return true;
	return false;
}

/* The device can have the PASID, or untagged traffic. False: the log says so. */
bool iopf_pasid_is_in_range(const struct iopf_dev *dev, uint32_t pasid);
/* That of the PASID that was not replaced, or NULL. The caller holds the device's lock. */
struct iopf_attachment *iopf_attachment_find(const struct iopf_dev *dev, uint32_t pasid);
/* NULL: no memory. */
struct iopf_attachment *iopf_attachment_create(struct iopf_domain *domain, struct iopf_dev *dev,
		uint32_t pasid);
/*
 * Take the domain's handle on the IOMMU, and set the gate for the policies of the device and the
 * domain. The caller holds the device's lock. iopf_domain_handle_put() releases the handle.
 */
int iopf_attachment_get_handle(struct iopf_attachment *attachment);
/* publish.c */
/*
 * Add the attachment to the device, and to the table for each StreamID. The gate is closed until
 * all of them are in the table: if the memory does not suffice, no handler has a fault of the first
 * ones.
 */
int iopf_attachment_publish(struct iopf_attachment *attachment);
/*
 * Remove the attachment from the table, for the first nb_sids StreamIDs. The caller holds
 * iommu->lock. iopf_table_empty(trash) waits for a grace period: after it no fault finds the
 * attachment.
 */
void iopf_attachment_unpublish(struct iopf_attachment *attachment, unsigned int nb_sids,
		struct iopf_table_trash *trash);
/* In place of the other attachment of its PASID. The caller holds iommu->lock. */
void iopf_attachment_take_place(struct iopf_attachment *attachment);

/* Free one that is not attached. The domain's count of attachments goes down. */
void iopf_attachment_discard(struct iopf_attachment *attachment);
/*
 * Detach those of the PASID that were replaced. The caller holds the device's lock, which this may
 * drop meanwhile.
 */
int iopf_attachment_finish_replaced(struct iopf_dev *dev, uint32_t pasid);
/* The caller holds the device's lock, which this may drop meanwhile. 0: it is freed. */
int iopf_attachment_detach(struct iopf_attachment *attachment);

#endif /* IOPF_ATTACHMENT_H */
