/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stddef.h>

#include <rte_common.h>

#include "guest_cmd.h"
#include "smmuv3_pmd.h"

#define TLBI0_RANGE	(SMMUV3_TLBI0_NUM | SMMUV3_TLBI0_SCALE)
#define TLBI1_RANGE	(SMMUV3_TLBI1_TTL | SMMUV3_TLBI1_TG)
#define ASID_HIGH	SMMUV3_BITS(63, 56)

/* The bits that a guest may set, beside the opcode. False: no guest may use this opcode. */
static bool
get_bits(const struct smmuv3 *s, unsigned int op, uint64_t bits[2])
{
	uint64_t asid = SMMUV3_TLBI0_ASID & ~(s->idr0 & SMMUV3_IDR0_ASID16 ? 0 : ASID_HIGH);
	bool ril = s->idr3 & SMMUV3_IDR3_RIL;

	bits[0] = SMMUV3_TLBI0_VMID;
	bits[1] = 0;
	switch (op) {
	case SMMUV3_OP_CFGI_CD:
		bits[0] = SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID;
		bits[1] = SMMUV3_CFGI1_LEAF;
		return true;
	case SMMUV3_OP_CFGI_CD_ALL:
		bits[0] = SMMUV3_CMD0_SID;
		return true;
	case SMMUV3_OP_TLBI_NSNH_ALL:
		bits[0] = 0;
		return true;
	case SMMUV3_OP_TLBI_NH_ALL:
		return true;
	case SMMUV3_OP_TLBI_NH_ASID:
		bits[0] |= asid;
		return true;
	case SMMUV3_OP_TLBI_NH_VA:
		bits[0] |= asid;
		/* fallthrough */
	case SMMUV3_OP_TLBI_NH_VAA:
		bits[0] |= ril ? TLBI0_RANGE : 0;
		bits[1] = SMMUV3_TLBI1_VA | SMMUV3_TLBI1_LEAF | (ril ? TLBI1_RANGE : 0);
		return true;
	case SMMUV3_OP_ATC_INV:
		bits[0] = SMMUV3_CMD0_SSV | SMMUV3_CMD0_SSID | SMMUV3_ATC0_GLOBAL | SMMUV3_CMD0_SID;
		bits[1] = SMMUV3_ATC1_SIZE | SMMUV3_ATC1_ADDR;
		return true;
	default:
		return false;
	}
}

/*
 * NUM, SCALE, TTL and TG [4.4.1.1]. An address that is not a multiple of the entry's size would
 * invalidate an unpredictable range.
 */
static const char *
find_range_fault(const struct smmuv3_cmd *cmd)
{
	static const uint8_t granule_log2[] = {
		[SMMUV3_TLBI_TG_4K] = 12, [SMMUV3_TLBI_TG_16K] = 14, [SMMUV3_TLBI_TG_64K] = 16 };
	unsigned int tg = SMMUV3_GET(SMMUV3_TLBI1_TG, cmd->dw[1]), g = granule_log2[tg];
	unsigned int ttl = SMMUV3_GET(SMMUV3_TLBI1_TTL, cmd->dw[1]), unit;
	bool range = cmd->dw[0] & TLBI0_RANGE;

	if (tg == SMMUV3_TLBI_TG_NONE)
		return range || ttl != 0 ? "NUM, SCALE and TTL must be 0 without TG" : NULL;
	if (tg == SMMUV3_TLBI_TG_16K && ttl == 1)
		/* As if it were 0. */
		ttl = 0;
	if (!range && ttl == 0)
		return "NUM, SCALE and TTL must not all be 0 with TG";
	unit = ttl == 0 ? g : g + (3 - ttl) * (g - 3);
	return cmd->dw[1] & SMMUV3_TLBI1_VA & (SMMUV3_BIT(unit) - 1) ?
		"its address is not aligned to the size that TG and TTL select" : NULL;
}

/* Without SSV the endpoint gets no SubstreamID. A span below the STU may have no effect [4.5.1]. */
static const char *
check_atc_inv(const struct smmuv3 *s, struct smmuv3_cmd *cmd)
{
	unsigned int size = SMMUV3_GET(SMMUV3_ATC1_SIZE, cmd->dw[1]);
	unsigned int min = __builtin_ctz(s->granules) - 12;

	if (size > SMMUV3_ATC_SIZE_ALL)
		return "Size is more than 52";
	if (!(cmd->dw[0] & SMMUV3_CMD0_SSV))
		cmd->dw[0] &= ~(SMMUV3_CMD0_SSID | SMMUV3_ATC0_GLOBAL);
	if (size < min)
		cmd->dw[1] = (cmd->dw[1] & ~SMMUV3_ATC1_SIZE) | SMMUV3_PUT(SMMUV3_ATC1_SIZE, min);
	return NULL;
}

const char *
smmuv3_guest_cmd_check(const struct smmuv3 *s, uint16_t vmid, struct smmuv3_cmd *cmd)
{
	unsigned int op = smmuv3_guest_cmd_op(cmd);
	const char *why = NULL;
	uint64_t bits[2];

	if (!get_bits(s, op, bits))
		return "a guest may not use this opcode";
	if (cmd->dw[0] & ~(bits[0] | SMMUV3_CMD0_OP) || cmd->dw[1] & ~bits[1])
		return "it has bits that must be 0";
	if (op == SMMUV3_OP_TLBI_NH_VA || op == SMMUV3_OP_TLBI_NH_VAA)
		why = find_range_fault(cmd);
	else if (op == SMMUV3_OP_ATC_INV)
		why = check_atc_inv(s, cmd);
	else if (op == SMMUV3_OP_TLBI_NSNH_ALL)
		cmd->dw[0] = SMMUV3_PUT(SMMUV3_CMD0_OP, SMMUV3_OP_TLBI_NH_ALL);
	if (!smmuv3_guest_cmd_has_sid(cmd))
		cmd->dw[0] = (cmd->dw[0] & ~SMMUV3_TLBI0_VMID) |
			SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid);
	return why;
}
