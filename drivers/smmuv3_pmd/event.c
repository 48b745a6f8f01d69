/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Events that do not stall: see event.h. */

#include "event.h"

uint8_t
smmuv3_event_decode_class(uint64_t dw1)
{
	switch (SMMUV3_GET(SMMUV3_EVT1_CLASS, dw1)) {
	case SMMUV3_CLASS_CD:
		return IOPF_CLASS_CD;
	case SMMUV3_CLASS_TT:
		return IOPF_CLASS_TT;
	case SMMUV3_CLASS_IN:
		return IOPF_CLASS_IN;
	default:
		return IOPF_CLASS_NONE;
	}
}

static uint8_t
decode_stage(uint64_t dw1)
{
	return dw1 & SMMUV3_EVT1_S2 ? 2 : 1;
}

static void
decode_fetch(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	event->fetch_addr = evt->dw[3] & SMMUV3_EVT3_FETCHADDR;
	event->record_flags |= IOPF_RECORD_FETCH;
	event->syndrome = SMMUV3_GET(SMMUV3_EVT1_REASON, evt->dw[1]);
	if (evt->dw[1] & SMMUV3_EVT1_GPCF)
		event->record_flags |= IOPF_RECORD_GPC;
}

static void
decode_ipa(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	event->ipa = evt->dw[3] & SMMUV3_EVT3_IPA;
	event->record_flags |= IOPF_RECORD_IPA;
}

/* F_TRANSLATION, F_ADDR_SIZE, F_ACCESS and F_PERMISSION. */
static void
decode_translation_fault(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	event->stage = decode_stage(dw1);
	event->event_class = smmuv3_event_decode_class(dw1);
	event->syndrome = SMMUV3_GET(SMMUV3_EVT1_SYNDROME, dw1);
	if (event->stage == 2)
		decode_ipa(evt, event);
	/* RES0 in early versions of the architecture. */
	if (event->raw_id == SMMUV3_F_PERMISSION && event->event_class == IOPF_CLASS_TT &&
			dw1 & SMMUV3_EVT1_TTRNW)
		event->record_flags |= IOPF_RECORD_TABLE_READ;
}

static void
decode_ats_request(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	event->addr = evt->dw[2] & SMMUV3_EVT2_PAGE;
	event->perm = (dw1 & SMMUV3_EVT1_TREQ_R ? IOPF_PERM_READ : 0) |
		(dw1 & SMMUV3_EVT1_TREQ_W ? IOPF_PERM_WRITE : 0) |
		(dw1 & SMMUV3_EVT1_TREQ_X ? IOPF_PERM_EXEC : 0) |
		(dw1 & SMMUV3_EVT1_TREQ_P ? IOPF_PERM_PRIV : 0);
	event->span = SMMUV3_GET(SMMUV3_EVT1_TREQ_SPAN, dw1);
}

static void
decode_page_request(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	event->addr = evt->dw[2] & SMMUV3_EVT2_PAGE;
	event->perm = (dw1 & SMMUV3_EVT1_PREQ_UR ? IOPF_PERM_READ : 0) |
		(dw1 & SMMUV3_EVT1_PREQ_UW ? IOPF_PERM_WRITE : 0) |
		(dw1 & SMMUV3_EVT1_PREQ_UX ? IOPF_PERM_EXEC : 0);
	event->perm_priv = (dw1 & SMMUV3_EVT1_PREQ_PR ? IOPF_PERM_READ : 0) |
		(dw1 & SMMUV3_EVT1_PREQ_PW ? IOPF_PERM_WRITE : 0) |
		(dw1 & SMMUV3_EVT1_PREQ_PX ? IOPF_PERM_EXEC : 0);
	event->span = SMMUV3_GET(SMMUV3_EVT1_PREQ_SPAN, dw1);
}

void
smmuv3_event_decode_rest(const struct smmuv3_evt *evt, struct iopf_event *event)
{
	uint64_t dw1 = evt->dw[1];

	event->stage = 0;
	event->event_class = IOPF_CLASS_NONE;
	event->fetch_addr = 0;
	event->syndrome = 0;
	event->perm_priv = 0;
	event->span = 0;
	event->record_flags = 0;
	switch (event->raw_id) {
	case SMMUV3_F_UUT:
		event->syndrome = SMMUV3_GET(SMMUV3_EVT1_REASON, dw1);
		break;
	case SMMUV3_F_STE_FETCH:
	case SMMUV3_F_CD_FETCH:
	case SMMUV3_F_VMS_FETCH:
		decode_fetch(evt, event);
		break;
	case SMMUV3_F_BAD_ATS_TREQ:
		decode_ats_request(evt, event);
		break;
	case SMMUV3_F_STREAM_DISABLED:
		/* The StreamID only [7.3]. */
		event->pasid = IOPF_NO_PASID;
		break;
	case SMMUV3_F_TRANSL_FORBIDDEN:
		/* No SubstreamID, no PnU, no InD. */
		event->pasid = IOPF_NO_PASID;
		event->perm = dw1 & SMMUV3_EVT1_RNW ? IOPF_PERM_READ : IOPF_PERM_WRITE;
		break;
	case SMMUV3_F_WALK_EABT:
		event->stage = decode_stage(dw1);
		event->event_class = smmuv3_event_decode_class(dw1);
		decode_fetch(evt, event);
		break;
	case SMMUV3_F_TRANSLATION:
	case SMMUV3_F_ADDR_SIZE:
	case SMMUV3_F_ACCESS:
	case SMMUV3_F_PERMISSION:
		decode_translation_fault(evt, event);
		break;
	case SMMUV3_F_TLB_CONFLICT:
		event->stage = decode_stage(dw1);
		event->syndrome = SMMUV3_GET(SMMUV3_EVT1_REASON_WIDE, dw1);
		if (event->stage == 2)
			decode_ipa(evt, event);
		break;
	case SMMUV3_F_CFG_CONFLICT:
	case 0xe0 ... 0xef:
		event->syndrome = SMMUV3_GET(SMMUV3_EVT1_REASON_WIDE, dw1);
		break;
	case SMMUV3_E_PAGE_REQUEST:
		decode_page_request(evt, event);
		break;
	default:
		break;
	}
}
