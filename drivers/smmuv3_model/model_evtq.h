/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_EVTQ_H
#define SMMUV3_MODEL_EVTQ_H

#include "front.h"

enum smmuv3_fe_put {
	SMMUV3_FE_PUT_OK,
	SMMUV3_FE_PUT_UNWRITABLE,	/* not written: try again when the queue is writable */
	SMMUV3_FE_PUT_ABORTED,		/* the write aborted: the record is lost */
};
bool smmuv3_fe_evtq_is_writable(struct smmuv3_fe *f);
enum smmuv3_fe_put smmuv3_fe_evt_put(struct smmuv3_fe *f, const struct smmuv3_evt *evt);
/* Write a record, or lose it if the queue is not writable. */
void smmuv3_fe_evt_report(struct smmuv3_fe *f, const struct smmuv3_evt *evt);
/*
 * SMMUV3_MODEL_MERGE_EVENTS: the record equals the last one, which software has not read. Then it
 * is not to be written.
 */
bool smmuv3_fe_evt_is_merged(struct smmuv3_fe *f, const struct smmuv3_evt *evt);
/* Store PROD if a record was put: the records put so far become visible. */
void smmuv3_fe_evtq_publish(struct smmuv3_fe *f);
/* Raise EVENTQ_ABT_ERR for a late abort. */
void smmuv3_fe_evtq_abort(struct smmuv3_fe *f);
void smmuv3_fe_evtq_enable(struct smmuv3_fe *f);

#endif /* SMMUV3_MODEL_EVTQ_H */
