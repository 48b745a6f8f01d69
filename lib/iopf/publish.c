/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Attachments in the IOMMU's table: by StreamID and PASID, and for a domain of the device also by
 * StreamID and IOPF_ANY_PASID, which the other PASIDs find.
 */

#include <errno.h>

#include "attachment.h"
#include "cancel.h"
#include "domain.h"
#include "rcu.h"

void
iopf_attachment_unpublish(struct iopf_attachment *attachment, unsigned int nb_sids,
		struct iopf_table_trash *trash)
{
	struct iopf_dev *dev = attachment->dev;

	for (unsigned int i = 0; i < nb_sids; i++) {
		iopf_table_del(&dev->iommu->attached,
				iopf_attachment_key(dev->sids[i], attachment->pasid), trash);
		if (iopf_domain_is_of_device(attachment->domain))
			iopf_table_del(&dev->iommu->attached,
					iopf_attachment_key(dev->sids[i], IOPF_ANY_PASID), trash);
	}
}

/* The caller holds iommu->lock. After an error one of two keys may be in the table. */
static int
attachment_publish_sid(struct iopf_attachment *attachment, uint32_t sid,
		struct iopf_table_trash *trash)
{
	struct iopf_table *table = &attachment->dev->iommu->attached;
	int ret;

	ret = iopf_table_add(table, iopf_attachment_key(sid, attachment->pasid), attachment,
			trash);
	if (ret == 0 && iopf_domain_is_of_device(attachment->domain))
		ret = iopf_table_add(table, iopf_attachment_key(sid, IOPF_ANY_PASID), attachment,
				trash);
	return ret;
}

/* No fault finds the attachment any more, and its gate was closed: no handler has one of them. */
static void
attachment_drop_groups(const struct iopf_attachment *attachment)
{
	struct iopf_iommu *iommu = attachment->dev->iommu;

	for (unsigned int i = 0; i < iommu->info.nb_queues; i++)
		iopf_queue_cancel(&iommu->queues[i], attachment, IOPF_CANCEL_DETACH);
	/* A pass that found a partial group before may still use its attachment. */
	iopf_rcu_synchronize();
}

int
iopf_attachment_publish(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;
	struct iopf_iommu *iommu = dev->iommu;
	struct iopf_table_trash trash = { NULL, false };
	unsigned int i;
	int ret = 0;

	atomic_fetch_or_explicit(&attachment->gate, IOPF_GATE_CLOSED, memory_order_relaxed);
	pthread_mutex_lock(&iommu->lock);
	for (i = 0; i < dev->conf.nb_sids && ret == 0; i++)
		ret = attachment_publish_sid(attachment, dev->sids[i], &trash);
	if (ret < 0) {
		iopf_attachment_unpublish(attachment, i, &trash);
	} else {
		if (LIST_EMPTY(&dev->attachments))
			iopf_iommu_count_attached(iommu, 1);
		LIST_INSERT_HEAD(&dev->attachments, attachment, next);
	}
	pthread_mutex_unlock(&iommu->lock);
	iopf_table_empty(&trash);
	if (ret < 0) {
		attachment_drop_groups(attachment);
		return ret;
	}
	atomic_fetch_and_explicit(&attachment->gate, ~IOPF_GATE_CLOSED, memory_order_relaxed);
	if (attachment->domain->conf.deadline_ms != 0)
		atomic_fetch_add(&iommu->nb_deadlines, 1);
	return 0;
}

struct iopf_attachment *
iopf_attachment_of_device(const struct iopf_iommu *iommu, uint32_t sid)
{
	return iopf_table_find(&iommu->attached, iopf_attachment_key(sid, IOPF_ANY_PASID));
}

void
iopf_attachment_take_place(struct iopf_attachment *attachment)
{
	struct iopf_dev *dev = attachment->dev;

	for (unsigned int i = 0; i < dev->conf.nb_sids; i++) {
		iopf_table_set(&dev->iommu->attached,
				iopf_attachment_key(dev->sids[i], attachment->pasid), attachment);
		/* Both are of the device, or neither. */
		if (iopf_domain_is_of_device(attachment->domain))
			iopf_table_set(&dev->iommu->attached,
					iopf_attachment_key(dev->sids[i], IOPF_ANY_PASID),
					attachment);
	}
}
