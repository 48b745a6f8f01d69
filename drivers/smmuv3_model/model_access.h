/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ACCESS_H
#define SMMUV3_MODEL_ACCESS_H

/* One access of a client: its address and permissions, its fault, its target. */

#include <stdbool.h>
#include <stdint.h>

#define SMMUV3_PAGE_SHIFT	12	/* transactions do not cross this */

struct smmuv3_fault {
	uint8_t id;		/* enum smmuv3_evt_id; 0: an abort without an event */
	bool no_ssid;		/* F_STREAM_DISABLED: SID only */
	bool ssid_no_ssv;	/* C_BAD_SUBSTREAMID */
	bool s2;		/* a fault of stage 2 */
	bool s2_update;		/* of it: the SMMU was to update a descriptor of stage 1 */
	uint8_t s2_class;	/* of it: SMMUV3_CLASS_*, the reason for the access to the IPA */
	uint64_t fetch;		/* FetchAddr, or the IPA that stage 2 did not translate */
	const void *desc;	/* the descriptor that faulted; for prefetches only */
};

/* One access of a client. */
struct smmuv3_access {
	uint64_t va;
	bool write;
	bool priv;		/* priv and instr: after STE.PRIVCFG and INSTCFG */
	bool instr;
};

/* The memory of a transaction. */
struct smmuv3_target {
	uint8_t *host;		/* NULL: not known, use pa */
	uint64_t pa;
	bool bypass;		/* SMMUEN is 0 */
};

enum smmuv3_result {
	SMMUV3_OK,
	SMMUV3_FAULT,		/* see struct smmuv3_fault */
	SMMUV3_BUSY,		/* a fetch is incomplete: try again in the next step */
	SMMUV3_WAIT,		/* the slot is in a list, or waits for an answer */
};

/*
 * VMID and ASID in one number, the tag of cached translations. Global entries and those of
 * stage 2 have SMMUV3_ANY_ASID in place of the ASID. Without IDR0.S2P the VMID is 0.
 */
#define SMMUV3_ANY_ASID		UINT32_C(0xffff)

static inline uint32_t
smmuv3_space_make(uint16_t vmid, uint16_t asid)
{
	return (uint32_t)vmid << 16 | asid;
}

static inline bool
smmuv3_space_is_same_vm(uint32_t a, uint32_t b)
{
	return (a ^ b) >> 16 == 0;
}

static inline enum smmuv3_result
smmuv3_fault_set(struct smmuv3_fault *fault, uint8_t id, uint64_t fetch)
{
	fault->id = id;
	fault->fetch = fetch;
	return SMMUV3_FAULT;
}

#endif /* SMMUV3_MODEL_ACCESS_H */
