/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The execution of commands [4]. The front end has checked that they are legal. */

#include "model.h"
#include "model_access.h"
#include "model_atc.h"
#include "model_command.h"
#include "model_evtq.h"
#include "model_flight.h"
#include "model_inval.h"
#include "model_log.h"
#include "model_oracle.h"
#include "model_pri.h"
#include "model_resume.h"
#include "model_silent.h"

static const uint8_t tg_shift[4] = { 0, 12, 14, 16 };

static bool
is_sid_known(struct smmuv3_model *m, const struct smmuv3_cmd *cmd, const char *name)
{
	uint64_t sid = SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]);

	if (sid >> m->sid_bits == 0)
		return true;
	smmuv3_log_add(&m->driver_log, "%s for SID %llu, which exceeds IDR1.SIDSIZE %u", name,
			(unsigned long long)sid, m->sid_bits);
	return false;
}

/* Without stage 2 the VMID of a command has no effect [4.4]. */
static uint32_t
decode_space(const struct smmuv3_model *m, const struct smmuv3_cmd *cmd, uint64_t asid)
{
	uint64_t vmid = m->features & SMMUV3_MODEL_S2 ?
		SMMUV3_GET(SMMUV3_TLBI0_VMID, cmd->dw[0]) : 0;

	return smmuv3_space_make((uint16_t)vmid, (uint16_t)asid);
}

/* The addresses of a TLBI by address [4.4.1.1]. */
static void
decode_tlbi_range(struct smmuv3_model *m, const struct smmuv3_cmd *cmd, struct smmuv3_inv *inv)
{
	unsigned int tg = SMMUV3_GET(SMMUV3_TLBI1_TG, cmd->dw[1]);
	unsigned int ttl = SMMUV3_GET(SMMUV3_TLBI1_TTL, cmd->dw[1]);
	uint64_t bytes = UINT64_C(1) << SMMUV3_PAGE_SHIFT, align;
	unsigned int gran;

	/* The IPA is at the place of the VA's lower bits. */
	inv->leaf = cmd->dw[1] & SMMUV3_TLBI1_LEAF;
	inv->va = cmd->dw[1] & SMMUV3_TLBI1_VA & SMMUV3_BITS(55, 0);
	if (!(m->fe.val[SMMUV3_FE_IDR3] & SMMUV3_IDR3_RIL))
		tg = 0;
	gran = tg_shift[tg];
	if (gran != 0) {
		if (gran == 14 && ttl == 1)
			ttl = 0;
		inv->tg = (uint8_t)gran;
		inv->ttl = (uint8_t)ttl;
		bytes = ((SMMUV3_GET(SMMUV3_TLBI0_NUM, cmd->dw[0]) + 1) <<
				SMMUV3_GET(SMMUV3_TLBI0_SCALE, cmd->dw[0])) << gran;
		align = UINT64_C(1) << (ttl == 0 ? gran : gran + (3 - ttl) * (gran - 3));
		if (inv->va & (align - 1))
			smmuv3_log_add(&m->driver_log, "TLBI of %s 0x%llx, which is not aligned "
					"to the 0x%llx bytes that TG and TTL select",
					inv->kind == SMMUV3_INV_TLB_IPA ? "IPA" : "VA",
					(unsigned long long)inv->va,
					(unsigned long long)align);
	}
	inv->last = inv->va + bytes - 1;
	/* A range does not wrap into the lower half. */
	if (inv->last > SMMUV3_BITS(55, 0))
		inv->last = SMMUV3_BITS(55, 0);
}

static void
invalidate_ste_range(struct smmuv3_model *m, unsigned int queue, const struct smmuv3_cmd *cmd)
{
	struct smmuv3_inv inv = { .kind = SMMUV3_INV_CFG_SIDS, .queue = (uint16_t)queue };
	unsigned int range = SMMUV3_GET(SMMUV3_CFGI1_RANGE, cmd->dw[1]);
	uint64_t low = (UINT64_C(2) << range) - 1;

	if (range == SMMUV3_CFGI_RANGE_ALL) {
		inv.kind = SMMUV3_INV_CFG_ALL;
	} else {
		if (!is_sid_known(m, cmd, "CFGI_STE_RANGE"))
			return;
		inv.sid = (uint32_t)(SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]) & ~low);
		inv.sid_last = inv.sid | (uint32_t)low;
	}
	smmuv3_inv_issue(m, &inv);
}

void
smmuv3_be_execute(void *be, unsigned int queue, const struct smmuv3_cmd *cmd)
{
	uint32_t sid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]);
	struct smmuv3_inv inv = { .sid = sid, .sid_last = sid, .queue = (uint16_t)queue };
	struct smmuv3_model *m = be;

	switch (SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0])) {
	case SMMUV3_OP_CFGI_STE:
		inv.kind = SMMUV3_INV_CFG_SIDS;
		inv.leaf = cmd->dw[1] & SMMUV3_CFGI1_LEAF;
		if (is_sid_known(m, cmd, "CFGI_STE"))
			smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_CFGI_STE_RANGE:
		invalidate_ste_range(m, queue, cmd);
		break;
	case SMMUV3_OP_CFGI_CD:
		inv.kind = SMMUV3_INV_CFG_CD;
		inv.ssid = (uint32_t)SMMUV3_GET(SMMUV3_CMD0_SSID, cmd->dw[0]);
		inv.leaf = cmd->dw[1] & SMMUV3_CFGI1_LEAF;
		if (inv.ssid >> m->ssid_bits != 0)
			smmuv3_log_add(&m->driver_log, "CFGI_CD for SSID %u, which exceeds "
					"IDR1.SSIDSIZE %u", inv.ssid, m->ssid_bits);
		else if (is_sid_known(m, cmd, "CFGI_CD"))
			smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_CFGI_CD_ALL:
		inv.kind = SMMUV3_INV_CFG_CDS;
		if (is_sid_known(m, cmd, "CFGI_CD_ALL"))
			smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_NSNH_ALL:
		inv.kind = SMMUV3_INV_TLB_ALL;
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_NH_ALL:
		inv.kind = SMMUV3_INV_TLB_ALL;
		if (m->features & SMMUV3_MODEL_S2)
			inv.kind = SMMUV3_INV_TLB_VM_S1;
		inv.space = decode_space(m, cmd, SMMUV3_ANY_ASID);
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_S12_VMALL:
		inv.kind = SMMUV3_INV_TLB_VM;
		inv.space = decode_space(m, cmd, SMMUV3_ANY_ASID);
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_S2_IPA:
		inv.kind = SMMUV3_INV_TLB_IPA;
		inv.space = decode_space(m, cmd, SMMUV3_ANY_ASID);
		decode_tlbi_range(m, cmd, &inv);
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_NH_ASID:
		inv.kind = SMMUV3_INV_TLB_ASID;
		inv.space = decode_space(m, cmd, SMMUV3_GET(SMMUV3_TLBI0_ASID, cmd->dw[0]));
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_NH_VA:
		inv.kind = SMMUV3_INV_TLB_VA;
		inv.space = decode_space(m, cmd, SMMUV3_GET(SMMUV3_TLBI0_ASID, cmd->dw[0]));
		decode_tlbi_range(m, cmd, &inv);
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_TLBI_NH_VAA:
		inv.kind = SMMUV3_INV_TLB_VAA;
		inv.space = decode_space(m, cmd, SMMUV3_ANY_ASID);
		decode_tlbi_range(m, cmd, &inv);
		smmuv3_inv_issue(m, &inv);
		break;
	case SMMUV3_OP_ATC_INV:
		if (is_sid_known(m, cmd, "ATC_INV"))
			smmuv3_execute_atc_inv(m, queue, cmd);
		break;
	case SMMUV3_OP_PRI_RESP:
		if (is_sid_known(m, cmd, "PRI_RESP"))
			smmuv3_execute_pri_resp(m, cmd);
		break;
	case SMMUV3_OP_RESUME:
		if (is_sid_known(m, cmd, "RESUME"))
			smmuv3_execute_resume(m, sid,
					(uint16_t)SMMUV3_GET(SMMUV3_RESUME1_STAG, cmd->dw[1]),
					cmd->dw[0] & SMMUV3_RESUME0_AC,
					cmd->dw[0] & SMMUV3_RESUME0_AB);
		break;
	case SMMUV3_OP_STALL_TERM:
		if (is_sid_known(m, cmd, "STALL_TERM"))
			smmuv3_execute_stall_term(m, sid);
		break;
	default:
		/* Prefetch commands are hints and have no effect here [4.2]. */
		break;
	}
}

/* Most commands complete when they are executed. The SYNC waits for the others. */
enum smmuv3_fe_sync
smmuv3_be_sync(void *be, unsigned int queue)
{
	enum smmuv3_fe_sync r = SMMUV3_FE_SYNC_DONE;
	struct smmuv3_model *m = be;

	if (m->inval.nb != 0)
		r = smmuv3_inv_complete(m, queue);
	if (r == SMMUV3_FE_SYNC_WAIT)
		return r;
	if (r == SMMUV3_FE_SYNC_FAILED) {
		smmuv3_oracle_void_atc_invs(&m->oracle, queue);
		return r;
	}
	smmuv3_flight_land_all(m);
	/* The record of an access that has ended is visible before the SYNC completes [4.7.3]. */
	smmuv3_fe_evtq_publish(&m->fe);
	smmuv3_oracle_note_sync(&m->oracle, queue);
	if (m->harsh & SMMUV3_MODEL_HARSH_REPORT)
		smmuv3_silent_check_cfg(m);
	return r;
}
