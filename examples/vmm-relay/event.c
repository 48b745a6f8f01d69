/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Event records of the guest's devices, as its SMMU would write them [7.3]. */

#include "relay_priv.h"
#include "smmuv3_spec.h"

/* The fields of a record beside the StreamID. */
#define KNOWN	(1u << 0)
#define SSID	(1u << 1)	/* SubstreamID, and SSV but for C_BAD_SUBSTREAMID */
#define ADDR	(1u << 2)
#define RNW	(1u << 3)
#define ACCESS	(1u << 4 | RNW)	/* PnU, InD, RnW */
#define IN	(1u << 5)	/* CLASS is that of the access itself */
#define TREQ	(1u << 6)	/* of a Translation Request: R, W, X, P */

static const uint8_t fields[256] = {
	[SMMUV3_F_UUT] = KNOWN | SSID | ADDR | ACCESS,
	[SMMUV3_F_BAD_ATS_TREQ] = KNOWN | SSID | ADDR | TREQ,
	[SMMUV3_F_STREAM_DISABLED] = KNOWN,
	[SMMUV3_F_TRANSL_FORBIDDEN] = KNOWN | ADDR | RNW,
	[SMMUV3_C_BAD_SUBSTREAMID] = KNOWN | SSID,
	[SMMUV3_F_CD_FETCH] = KNOWN | SSID,
	[SMMUV3_C_BAD_CD] = KNOWN | SSID,
	[SMMUV3_F_WALK_EABT] = KNOWN | SSID | ADDR | ACCESS,
	[SMMUV3_F_TRANSLATION] = KNOWN | SSID | ADDR | ACCESS | IN,
	[SMMUV3_F_ADDR_SIZE] = KNOWN | SSID | ADDR | ACCESS | IN,
	[SMMUV3_F_ACCESS] = KNOWN | SSID | ADDR | ACCESS | IN,
	[SMMUV3_F_PERMISSION] = KNOWN | SSID | ADDR | ACCESS | IN,
	[SMMUV3_F_TLB_CONFLICT] = KNOWN | SSID | ADDR | ACCESS,
};

static uint64_t
make_ssid(uint8_t id, uint32_t pasid)
{
	if (pasid == IOPF_NO_PASID)
		return 0;
	return SMMUV3_PUT(SMMUV3_EVT0_SSID, pasid) |
		(id != SMMUV3_C_BAD_SUBSTREAMID ? SMMUV3_EVT0_SSV : 0);
}

static uint64_t
make_treq(uint8_t perm)
{
	return (perm & IOPF_PERM_READ ? SMMUV3_EVT1_TREQ_R : 0) |
		(perm & IOPF_PERM_WRITE ? SMMUV3_EVT1_TREQ_W : 0) |
		(perm & IOPF_PERM_EXEC ? SMMUV3_EVT1_TREQ_X : 0) |
		(perm & IOPF_PERM_PRIV ? SMMUV3_EVT1_TREQ_P : 0);
}

bool
relay_make_record(const struct relay_dev *d, const struct iopf_fault *fault, uint64_t record[4])
{
	const uint8_t with = fields[fault->raw_id];

	record[0] = SMMUV3_PUT(SMMUV3_EVT0_ID, fault->raw_id) |
		SMMUV3_PUT(SMMUV3_EVT0_SID, d->vsid);
	record[1] = record[2] = record[3] = 0;
	if (with & SSID)
		record[0] |= make_ssid(fault->raw_id, fault->pasid);
	if (with & ADDR)
		record[2] = fault->addr;
	if (with & IN)
		record[1] = SMMUV3_PUT(SMMUV3_EVT1_CLASS, SMMUV3_CLASS_IN);
	if (with & RNW && !(fault->perm & IOPF_PERM_WRITE))
		record[1] |= SMMUV3_EVT1_RNW;
	if ((with & ACCESS) == ACCESS && fault->perm & IOPF_PERM_PRIV)
		record[1] |= SMMUV3_EVT1_PNU;
	if ((with & ACCESS) == ACCESS && fault->perm & IOPF_PERM_EXEC)
		record[1] |= SMMUV3_EVT1_IND;
	if (with & TREQ)
		record[1] |= make_treq(fault->perm);
	return with & KNOWN;
}

/* The host's SMMU has no STE of a device that is cut off: what the guest's SMMU finds counts. */
static bool
make_ste_record(const struct relay_dev *d, const struct iopf_fault *fault, uint64_t record[4])
{
	record[0] = SMMUV3_PUT(SMMUV3_EVT0_ID, d->event) | SMMUV3_PUT(SMMUV3_EVT0_SID, d->vsid) |
		make_ssid(d->event, fault->pasid);
	record[1] = record[2] = 0;
	record[3] = d->event == SMMUV3_F_STE_FETCH ? d->ste.fetch_addr & SMMUV3_EVT3_FETCHADDR : 0;
	return d->event != 0;
}

/*
 * A fault of stage 2: the address is none of the guest's memory, and the guest's SMMU sees an
 * external abort. That of the access itself has no record. The page of FetchAddr is known only.
 */
static bool
make_abort_record(const struct relay_dev *d, const struct iopf_fault *fault, uint64_t record[4])
{
	struct iopf_fault abort = *fault;

	if (fault->fault_class != IOPF_CLASS_CD && fault->fault_class != IOPF_CLASS_TT)
		return false;
	abort.raw_id = fault->fault_class == IOPF_CLASS_CD ? SMMUV3_F_CD_FETCH :
		SMMUV3_F_WALK_EABT;
	relay_make_record(d, &abort, record);
	if (abort.raw_id == SMMUV3_F_WALK_EABT)
		record[1] |= SMMUV3_PUT(SMMUV3_EVT1_CLASS, SMMUV3_CLASS_TT);
	record[3] = fault->ipa & SMMUV3_EVT3_FETCHADDR;
	return true;
}

void
relay_report_stage2(const struct relay_dev *d, const struct iopf_fault *fault)
{
	uint64_t record[4];

	if (make_abort_record(d, fault, record))
		smmuv3_front_event(d->relay->front, record);
}

static bool
make_event(const struct relay_dev *d, const struct iopf_fault *fault, uint64_t record[4])
{
	if (fault->flags & IOPF_FAULT_STAGE2)
		return make_abort_record(d, fault, record);
	return fault->raw_id == SMMUV3_C_BAD_STE ? make_ste_record(d, fault, record) :
		relay_make_record(d, fault, record);
}

void
relay_report(struct relay *r, const struct iopf_fault *fault)
{
	uint64_t record[4];

	/* After the deadline the fault is still outstanding for the guest. */
	if (fault->flags & (IOPF_FAULT_EXPIRED | IOPF_FAULT_PAGE_REQUEST) ||
			!relay_is_on_thread(r))
		return;
	for (unsigned int i = 0; i < r->nb_devs; i++)
		if (r->dev[i].sid == fault->sid && make_event(&r->dev[i], fault, record))
			smmuv3_front_event(r->front, record);
}
