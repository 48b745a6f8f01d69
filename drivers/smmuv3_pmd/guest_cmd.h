/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_GUEST_CMD_H
#define SMMUV3_GUEST_CMD_H

/**
 * @file
 * Commands that a guest wrote [4]. They are untrusted: only these opcodes, only the bits that the
 * architecture gives them, and only values that this SMMU has.
 *
 *	CFGI_CD, CFGI_CD_ALL			the caller checks the StreamID
 *	TLBI_NH_ALL, NH_ASID, NH_VA, NH_VAA	their VMID becomes the guest's
 *	TLBI_NSNH_ALL				becomes TLBI_NH_ALL of the VMID
 *	ATC_INV					the caller checks the StreamID
 *
 * All other commands are refused: those that reach beyond the guest, and those that the caller
 * handles itself (CMD_SYNC, CFGI_STE, RESUME, PRI_RESP, PREFETCH).
 *
 * An ASID needs no check: it is the guest's own, since the VMID tells the guest's TLB entries from
 * all others.
 */

#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_spec.h"

struct smmuv3;

/*
 * NULL: *cmd is as the SMMU may get it, of the guest with this VMID. Otherwise why it is refused.
 * Reads the ID registers of @p s only.
 */
const char *smmuv3_guest_cmd_check(const struct smmuv3 *s, uint16_t vmid, struct smmuv3_cmd *cmd);

static inline unsigned int
smmuv3_guest_cmd_op(const struct smmuv3_cmd *cmd)
{
	return SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);
}

/* The command names a StreamID. */
static inline bool
smmuv3_guest_cmd_has_sid(const struct smmuv3_cmd *cmd)
{
	return smmuv3_guest_cmd_op(cmd) < SMMUV3_OP_TLBI_NH_ALL ||
		smmuv3_guest_cmd_op(cmd) == SMMUV3_OP_ATC_INV;
}

#endif /* SMMUV3_GUEST_CMD_H */
