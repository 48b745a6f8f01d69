/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_CMD_H
#define SMMUV3_CMD_H

/**
 * @file
 * One function for each command [4]. Arguments are the architecture's fields. Bits that
 * do not fit a field are lost, so the caller checks ranges.
 */

#include <stdbool.h>
#include <stdint.h>

#include "smmuv3_spec.h"

static inline struct smmuv3_cmd
smmuv3_cmd(enum smmuv3_cmd_op op, uint64_t dw0, uint64_t dw1)
{
	return (struct smmuv3_cmd){ .dw = { SMMUV3_PUT(SMMUV3_CMD0_OP, op) | dw0, dw1 } };
}

static inline struct smmuv3_cmd
smmuv3_cmd_cfgi_ste(uint32_t sid, bool leaf)
{
	return smmuv3_cmd(SMMUV3_OP_CFGI_STE, SMMUV3_PUT(SMMUV3_CMD0_SID, sid),
			SMMUV3_PUT(SMMUV3_CFGI1_LEAF, leaf));
}

static inline struct smmuv3_cmd
smmuv3_cmd_cfgi_all(void)
{
	return smmuv3_cmd(SMMUV3_OP_CFGI_STE_RANGE, 0,
			SMMUV3_PUT(SMMUV3_CFGI1_RANGE, SMMUV3_CFGI_RANGE_ALL));
}

static inline struct smmuv3_cmd
smmuv3_cmd_cfgi_cd(uint32_t sid, uint32_t ssid, bool leaf)
{
	return smmuv3_cmd(SMMUV3_OP_CFGI_CD, SMMUV3_PUT(SMMUV3_CMD0_SID, sid) |
			SMMUV3_PUT(SMMUV3_CMD0_SSID, ssid),
			SMMUV3_PUT(SMMUV3_CFGI1_LEAF, leaf));
}

static inline struct smmuv3_cmd
smmuv3_cmd_cfgi_cd_all(uint32_t sid)
{
	return smmuv3_cmd(SMMUV3_OP_CFGI_CD_ALL, SMMUV3_PUT(SMMUV3_CMD0_SID, sid), 0);
}

static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nsnh_all(void)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_NSNH_ALL, 0, 0);
}

static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_el2_all(void)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_EL2_ALL, 0, 0);
}

static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nh_asid(uint16_t vmid, uint16_t asid)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_NH_ASID, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid) |
			SMMUV3_PUT(SMMUV3_TLBI0_ASID, asid), 0);
}

/* One address, any granule, any level. */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nh_va(uint16_t vmid, uint16_t asid, uint64_t va, bool leaf)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_NH_VA, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid) |
			SMMUV3_PUT(SMMUV3_TLBI0_ASID, asid),
			(va & SMMUV3_TLBI1_VA) | SMMUV3_PUT(SMMUV3_TLBI1_LEAF, leaf));
}

/*
 * (num + 1) << scale granules from va up; needs IDR3.RIL. num, scale and ttl
 * must not all be 0 [4.4.1.1].
 */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nh_va_range(uint16_t vmid, uint16_t asid, uint64_t va, bool leaf,
		unsigned int tg, unsigned int num, unsigned int scale, unsigned int ttl)
{
	struct smmuv3_cmd cmd = smmuv3_cmd_tlbi_nh_va(vmid, asid, va, leaf);

	cmd.dw[0] |= SMMUV3_PUT(SMMUV3_TLBI0_NUM, num) | SMMUV3_PUT(SMMUV3_TLBI0_SCALE, scale);
	cmd.dw[1] |= SMMUV3_PUT(SMMUV3_TLBI1_TG, tg) | SMMUV3_PUT(SMMUV3_TLBI1_TTL, ttl);
	return cmd;
}

/* All stage-1 entries of a VMID, and those that combine both stages. */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nh_all(uint16_t vmid)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_NH_ALL, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid), 0);
}

/* As TLBI_NH_VA, of all ASIDs. */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_nh_vaa(uint16_t vmid, uint64_t va, bool leaf)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_NH_VAA, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid),
			(va & SMMUV3_TLBI1_VA) | SMMUV3_PUT(SMMUV3_TLBI1_LEAF, leaf));
}

/* All entries of a VMID; needs IDR0.S2P. */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_s12_vmall(uint16_t vmid)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_S12_VMALL, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid), 0);
}

/*
 * The stage-2 entries of one IPA, any granule, any level; needs IDR0.S2P. Entries that combine
 * both stages remain: TLBI_NH_ALL or TLBI_NH_VAA removes them [4.4].
 */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_s2_ipa(uint16_t vmid, uint64_t ipa, bool leaf)
{
	return smmuv3_cmd(SMMUV3_OP_TLBI_S2_IPA, SMMUV3_PUT(SMMUV3_TLBI0_VMID, vmid),
			(ipa & SMMUV3_TLBI1_IPA) | SMMUV3_PUT(SMMUV3_TLBI1_LEAF, leaf));
}

/* A range of IPAs, as smmuv3_cmd_tlbi_nh_va_range(). */
static inline struct smmuv3_cmd
smmuv3_cmd_tlbi_s2_ipa_range(uint16_t vmid, uint64_t ipa, bool leaf, unsigned int tg,
		unsigned int num, unsigned int scale, unsigned int ttl)
{
	struct smmuv3_cmd cmd = smmuv3_cmd_tlbi_s2_ipa(vmid, ipa, leaf);

	cmd.dw[0] |= SMMUV3_PUT(SMMUV3_TLBI0_NUM, num) | SMMUV3_PUT(SMMUV3_TLBI0_SCALE, scale);
	cmd.dw[1] |= SMMUV3_PUT(SMMUV3_TLBI1_TG, tg) | SMMUV3_PUT(SMMUV3_TLBI1_TTL, ttl);
	return cmd;
}

static inline struct smmuv3_cmd
smmuv3_cmd_resume(uint32_t sid, uint16_t stag, bool retry, bool abort)
{
	uint64_t action = retry ? SMMUV3_RESUME0_AC : 0;

	if (abort)
		action |= SMMUV3_RESUME0_AB;
	return smmuv3_cmd(SMMUV3_OP_RESUME, SMMUV3_PUT(SMMUV3_CMD0_SID, sid) | action,
			SMMUV3_PUT(SMMUV3_RESUME1_STAG, stag));
}

static inline struct smmuv3_cmd
smmuv3_cmd_stall_term(uint32_t sid)
{
	return smmuv3_cmd(SMMUV3_OP_STALL_TERM, SMMUV3_PUT(SMMUV3_CMD0_SID, sid), 0);
}

/*
 * 4096 << size bytes around addr, whose lower bits are taken as 0. Without ssv: the entries of
 * untagged requests. Global, with ssv only: the entries of all PASIDs [4.5.1].
 */
static inline struct smmuv3_cmd
smmuv3_cmd_atc_inv(uint32_t sid, bool ssv, uint32_t ssid, bool global, uint64_t addr,
		unsigned int size)
{
	return smmuv3_cmd(SMMUV3_OP_ATC_INV, SMMUV3_PUT(SMMUV3_CMD0_SID, sid) |
			SMMUV3_PUT(SMMUV3_CMD0_SSV, ssv) |
			SMMUV3_PUT(SMMUV3_CMD0_SSID, ssv ? ssid : 0) |
			SMMUV3_PUT(SMMUV3_ATC0_GLOBAL, ssv && global),
			(addr & SMMUV3_ATC1_ADDR) | SMMUV3_PUT(SMMUV3_ATC1_SIZE, size));
}

/* @p resp is one of SMMUV3_PRI_RESP_* [4.5.2]. */
static inline struct smmuv3_cmd
smmuv3_cmd_pri_resp(uint32_t sid, bool ssv, uint32_t ssid, unsigned int prg_index,
		unsigned int resp)
{
	return smmuv3_cmd(SMMUV3_OP_PRI_RESP, SMMUV3_PUT(SMMUV3_CMD0_SID, sid) |
			SMMUV3_PUT(SMMUV3_CMD0_SSV, ssv) |
			SMMUV3_PUT(SMMUV3_CMD0_SSID, ssv ? ssid : 0),
			SMMUV3_PUT(SMMUV3_PRI1_PRGINDEX, prg_index) |
			SMMUV3_PUT(SMMUV3_PRI1_RESP, resp));
}

/* The completion is visible in CMDQ_CONS only. */
static inline struct smmuv3_cmd
smmuv3_cmd_sync(void)
{
	return smmuv3_cmd(SMMUV3_OP_SYNC, SMMUV3_PUT(SMMUV3_SYNC0_CS, SMMUV3_SYNC_CS_NONE), 0);
}

/* On completion the SMMU writes @p data to the device address @p addr; needs IDR0.MSI. */
static inline struct smmuv3_cmd
smmuv3_cmd_sync_msi(uint64_t addr, uint32_t data)
{
	return smmuv3_cmd(SMMUV3_OP_SYNC, SMMUV3_PUT(SMMUV3_SYNC0_CS, SMMUV3_SYNC_CS_IRQ) |
			SMMUV3_PUT(SMMUV3_SYNC0_MSH, SMMUV3_SH_ISH) |
			SMMUV3_PUT(SMMUV3_SYNC0_MSIATTR, SMMUV3_MEMATTR_OIWB) |
			SMMUV3_PUT(SMMUV3_SYNC0_MSIDATA, data),
			addr & SMMUV3_SYNC1_MSIADDR);
}

#endif /* SMMUV3_CMD_H */
