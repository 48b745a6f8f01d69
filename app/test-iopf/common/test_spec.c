/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The SMMUv3 headers that driver and model share, compared with hexadecimal values that were worked
 * out by hand from the architecture. Driver and model would share an error in these headers.
 */

#include "smmuv3_cmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "test.h"

static void
test_spec_register_offsets(void **state)
{
	static const struct { uint32_t got, want; } regs[] = {
		{ SMMUV3_IDR0, 0x0 }, { SMMUV3_IDR1, 0x4 }, { SMMUV3_IDR2, 0x8 },
		{ SMMUV3_IDR3, 0xc }, { SMMUV3_IDR4, 0x10 }, { SMMUV3_IDR5, 0x14 },
		{ SMMUV3_IIDR, 0x18 }, { SMMUV3_AIDR, 0x1c }, { SMMUV3_CR0, 0x20 },
		{ SMMUV3_CR0ACK, 0x24 }, { SMMUV3_CR1, 0x28 }, { SMMUV3_CR2, 0x2c },
		{ SMMUV3_STATUSR, 0x40 }, { SMMUV3_GBPA, 0x44 }, { SMMUV3_AGBPA, 0x48 },
		{ SMMUV3_IRQ_CTRL, 0x50 }, { SMMUV3_IRQ_CTRLACK, 0x54 },
		{ SMMUV3_GERROR, 0x60 }, { SMMUV3_GERRORN, 0x64 },
		{ SMMUV3_GERROR_IRQ_CFG0, 0x68 }, { SMMUV3_GERROR_IRQ_CFG1, 0x70 },
		{ SMMUV3_GERROR_IRQ_CFG2, 0x74 }, { SMMUV3_STRTAB_BASE, 0x80 },
		{ SMMUV3_STRTAB_BASE_CFG, 0x88 }, { SMMUV3_CMDQ_BASE, 0x90 },
		{ SMMUV3_CMDQ_PROD, 0x98 }, { SMMUV3_CMDQ_CONS, 0x9c },
		{ SMMUV3_EVENTQ_BASE, 0xa0 }, { SMMUV3_EVENTQ_IRQ_CFG0, 0xb0 },
		{ SMMUV3_EVENTQ_IRQ_CFG1, 0xb8 }, { SMMUV3_EVENTQ_IRQ_CFG2, 0xbc },
		{ SMMUV3_PRIQ_BASE, 0xc0 }, { SMMUV3_PRIQ_IRQ_CFG0, 0xd0 },
		{ SMMUV3_PRIQ_IRQ_CFG1, 0xd8 }, { SMMUV3_PRIQ_IRQ_CFG2, 0xdc },
		{ SMMUV3_IDR6, 0x190 },
		{ SMMUV3_CMDQ_CP_BASE(0), 0x4000 }, { SMMUV3_CMDQ_CP_BASE(255), 0x5fe0 },
		{ SMMUV3_CMDQ_CP_CFG(3), 0x4068 }, { SMMUV3_CMDQ_CP_STATUS(3), 0x406c },
		{ SMMUV3_ECMDQ_BASE, 0 }, { SMMUV3_ECMDQ_PROD, 8 }, { SMMUV3_ECMDQ_CONS, 12 },
		{ SMMUV3_EVENTQ_PROD, 0x100a8 }, { SMMUV3_EVENTQ_CONS, 0x100ac },
		{ SMMUV3_PRIQ_PROD, 0x100c8 }, { SMMUV3_PRIQ_CONS, 0x100cc },
		{ SMMUV3_REGS_SIZE, 0x20000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(regs[i].got, regs[i].want);
}

static void
test_spec_register_fields(void **state)
{
	static const struct { uint64_t got, want; } fields[] = {
		{ SMMUV3_IDR0_S2P, 0x1 }, { SMMUV3_IDR0_S1P, 0x2 }, { SMMUV3_IDR0_TTF, 0xc },
		{ SMMUV3_IDR0_COHACC, 0x10 }, { SMMUV3_IDR0_BTM, 0x20 },
		{ SMMUV3_IDR0_HTTU, 0xc0 }, { SMMUV3_IDR0_HYP, 0x200 },
		{ SMMUV3_IDR0_ATS, 0x400 }, { SMMUV3_IDR0_ASID16, 0x1000 },
		{ SMMUV3_IDR0_MSI, 0x2000 }, { SMMUV3_IDR0_SEV, 0x4000 },
		{ SMMUV3_IDR0_PRI, 0x10000 }, { SMMUV3_IDR0_VMID16, 0x40000 },
		{ SMMUV3_IDR0_CD2L, 0x80000 }, { SMMUV3_IDR0_TTENDIAN, 0x600000 },
		{ SMMUV3_IDR0_STALL_MODEL, 0x3000000 }, { SMMUV3_IDR0_TERM_MODEL, 0x4000000 },
		{ SMMUV3_IDR0_ST_LEVEL, 0x18000000 },
		{ SMMUV3_IDR1_SIDSIZE, 0x3f }, { SMMUV3_IDR1_SSIDSIZE, 0x7c0 },
		{ SMMUV3_IDR1_PRIQS, 0xf800 }, { SMMUV3_IDR1_EVENTQS, 0x1f0000 },
		{ SMMUV3_IDR1_CMDQS, 0x3e00000 }, { SMMUV3_IDR1_ATTR_PERMS_OVR, 0x4000000 },
		{ SMMUV3_IDR1_ATTR_TYPES_OVR, 0x8000000 }, { SMMUV3_IDR1_REL, 0x10000000 },
		{ SMMUV3_IDR1_QUEUES_PRESET, 0x20000000 },
		{ SMMUV3_IDR1_TABLES_PRESET, 0x40000000 },
		{ SMMUV3_IDR3_HAD, 0x4 }, { SMMUV3_IDR3_PPS, 0x20 }, { SMMUV3_IDR3_RIL, 0x400 },
		{ SMMUV3_IDR3_BBML, 0x1800 },
		{ SMMUV3_IDR5_OAS, 0x7 }, { SMMUV3_IDR5_GRAN4K, 0x10 },
		{ SMMUV3_IDR5_GRAN16K, 0x20 }, { SMMUV3_IDR5_GRAN64K, 0x40 },
		{ SMMUV3_IDR5_VAX, 0xc00 }, { SMMUV3_IDR5_STALL_MAX, 0xffff0000 },
		{ SMMUV3_IDR1_ECMDQ, 0x80000000 },
		{ SMMUV3_IDR6_LOG2NUMQ, 0x000f0000 }, { SMMUV3_IDR6_LOG2NUMP, 0x0f000000 },
		{ SMMUV3_CMDQ_CP_BASE_PRESET, 0x1 }, { SMMUV3_CMDQ_CP_BASE_CMDQGS, 0x6 },
		{ SMMUV3_CMDQ_CP_BASE_ADDR, UINT64_C(0x00ffffffffff0000) },
		{ SMMUV3_CMDQ_CP_EN, 0x1 },
		{ SMMUV3_ECMDQ_PROD_ERRACK, 0x00800000 }, { SMMUV3_ECMDQ_PROD_EN, 0x80000000 },
		{ SMMUV3_ECMDQ_CONS_ERR, 0x00800000 },
		{ SMMUV3_ECMDQ_CONS_ERR_REASON, 0x07000000 },
		{ SMMUV3_ECMDQ_CONS_ENACK, 0x80000000 }, { SMMUV3_GERROR_CMDQP_ERR, 0x200 },
		{ SMMUV3_CR0_SMMUEN, 0x1 }, { SMMUV3_CR0_PRIQEN, 0x2 },
		{ SMMUV3_CR0_EVENTQEN, 0x4 }, { SMMUV3_CR0_CMDQEN, 0x8 },
		{ SMMUV3_CR0_ATSCHK, 0x10 }, { SMMUV3_CR0_VMW, 0x1c0 },
		{ SMMUV3_CR1_QUEUE_IC, 0x3 }, { SMMUV3_CR1_QUEUE_SH, 0x30 },
		{ SMMUV3_CR1_TABLE_IC, 0xc0 }, { SMMUV3_CR1_TABLE_SH, 0xc00 },
		{ SMMUV3_CR2_E2H, 0x1 }, { SMMUV3_CR2_RECINVSID, 0x2 }, { SMMUV3_CR2_PTM, 0x4 },
		{ SMMUV3_CR2_REC_CFG_ATS, 0x8 },
		{ SMMUV3_GBPA_SHCFG, 0x3000 }, { SMMUV3_GBPA_ABORT, 0x100000 },
		{ SMMUV3_GBPA_UPDATE, 0x80000000 },
		{ SMMUV3_IRQ_CTRL_GERROR, 0x1 }, { SMMUV3_IRQ_CTRL_PRIQ, 0x2 },
		{ SMMUV3_IRQ_CTRL_EVENTQ, 0x4 },
		{ SMMUV3_IRQ_CFG0_ADDR, UINT64_C(0x00fffffffffffffc) },
		{ SMMUV3_GERROR_CMDQ_ERR, 0x1 }, { SMMUV3_GERROR_EVENTQ_ABT, 0x4 },
		{ SMMUV3_GERROR_PRIQ_ABT, 0x8 }, { SMMUV3_GERROR_MSI_CMDQ_ABT, 0x10 },
		{ SMMUV3_GERROR_MSI_EVENTQ_ABT, 0x20 }, { SMMUV3_GERROR_MSI_PRIQ_ABT, 0x40 },
		{ SMMUV3_GERROR_MSI_GERROR_ABT, 0x80 }, { SMMUV3_GERROR_SFM, 0x100 },
		{ SMMUV3_GERROR_ALL, 0x3fd },
		{ SMMUV3_STRTAB_BASE_ADDR, UINT64_C(0x00ffffffffffffc0) },
		{ SMMUV3_STRTAB_BASE_RA, UINT64_C(0x4000000000000000) },
		{ SMMUV3_STRTAB_CFG_LOG2SIZE, 0x3f }, { SMMUV3_STRTAB_CFG_SPLIT, 0x7c0 },
		{ SMMUV3_STRTAB_CFG_FMT, 0x30000 },
		{ SMMUV3_Q_BASE_LOG2SIZE, 0x1f },
		{ SMMUV3_Q_BASE_ADDR, UINT64_C(0x00ffffffffffffe0) },
		{ SMMUV3_Q_IDX, 0xfffff }, { SMMUV3_Q_OVFLG, 0x80000000 },
		{ SMMUV3_CMDQ_CONS_ERR, 0x7f000000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].got != fields[i].want)
			fail_msg("field %zu: 0x%llx, not 0x%llx", i,
					(unsigned long long)fields[i].got,
					(unsigned long long)fields[i].want);
	assert_int_equal(smmuv3_oas_bits(0), 32);
	assert_int_equal(smmuv3_oas_bits(2), 40);
	assert_int_equal(smmuv3_oas_bits(5), 48);
	assert_int_equal(smmuv3_oas_bits(6), 52);
	assert_int_equal(smmuv3_oas_bits(8), 0);
}

static void
check_cmd(struct smmuv3_cmd cmd, uint64_t dw0, uint64_t dw1)
{
	assert_int_equal(cmd.dw[0], dw0);
	assert_int_equal(cmd.dw[1], dw1);
}

static void
test_spec_commands(void **state)
{
	(void)state;
	check_cmd(smmuv3_cmd_cfgi_ste(0x12345678, true), UINT64_C(0x1234567800000003), 1);
	check_cmd(smmuv3_cmd_cfgi_ste(8, false), UINT64_C(0x0000000800000003), 0);
	check_cmd(smmuv3_cmd_cfgi_all(), 0x04, 31);
	check_cmd(smmuv3_cmd_cfgi_cd(8, 0xfffff, true), UINT64_C(0x00000008fffff005), 1);
	check_cmd(smmuv3_cmd_cfgi_cd_all(0xffffffff), UINT64_C(0xffffffff00000006), 0);
	check_cmd(smmuv3_cmd_tlbi_nsnh_all(), 0x30, 0);
	check_cmd(smmuv3_cmd_tlbi_el2_all(), 0x20, 0);
	check_cmd(smmuv3_cmd_tlbi_nh_asid(0x1234, 0xabcd), UINT64_C(0xabcd123400000011), 0);
	check_cmd(smmuv3_cmd_tlbi_nh_va(0, 5, UINT64_C(0xffff800012345678), true),
			UINT64_C(0x0005000000000012), UINT64_C(0xffff800012345001));
	/* NUM 31, SCALE 31, TTL 3, TG 64K */
	check_cmd(smmuv3_cmd_tlbi_nh_va_range(0, 5, 0x40000000, false, 3, 31, 31, 3),
			UINT64_C(0x0005000001f1f012), UINT64_C(0x0000000040000f00));
	/* NUM 3, SCALE 9, TTL 2, TG 4K, Leaf */
	check_cmd(smmuv3_cmd_tlbi_nh_va_range(7, 5, 0x40000000, true, 1, 3, 9, 2),
			UINT64_C(0x0005000700903012), UINT64_C(0x0000000040000601));
	check_cmd(smmuv3_cmd_tlbi_nh_all(0x1234), UINT64_C(0x0000123400000010), 0);
	check_cmd(smmuv3_cmd_tlbi_nh_vaa(0x1234, UINT64_C(0xffff800012345678), true),
			UINT64_C(0x0000123400000013), UINT64_C(0xffff800012345001));
	check_cmd(smmuv3_cmd_tlbi_s12_vmall(0xabcd), UINT64_C(0x0000abcd00000028), 0);
	check_cmd(smmuv3_cmd_tlbi_s2_ipa(0x1234, UINT64_C(0x0000800012345678), true),
			UINT64_C(0x000012340000002a), UINT64_C(0x0000800012345001));
	/* NUM 3, SCALE 9, TTL 2, TG 4K */
	check_cmd(smmuv3_cmd_tlbi_s2_ipa_range(7, 0x40000000, false, 1, 3, 9, 2),
			UINT64_C(0x000000070090302a), UINT64_C(0x0000000040000600));
	check_cmd(smmuv3_cmd_resume(8, 0xbeef, true, false), UINT64_C(0x0000000800001044), 0xbeef);
	check_cmd(smmuv3_cmd_resume(8, 1, false, true), UINT64_C(0x0000000800002044), 1);
	check_cmd(smmuv3_cmd_resume(8, 1, false, false), UINT64_C(0x0000000800000044), 1);
	check_cmd(smmuv3_cmd_stall_term(9), UINT64_C(0x0000000900000045), 0);
	check_cmd(smmuv3_cmd_sync(), 0x46, 0);
	/* CS 1, MSH inner, MSIAttr 0xf */
	check_cmd(smmuv3_cmd_sync_msi(UINT64_C(0x0000123456789abc), 0xdeadbeef),
			UINT64_C(0xdeadbeef0fc01046), UINT64_C(0x0000123456789abc));
}

static void
test_spec_commands_of_pci(void **state)
{
	(void)state;
	assert_int_equal(SMMUV3_OP_ATC_INV, 0x40);
	assert_int_equal(SMMUV3_ATC0_GLOBAL, 0x200);
	assert_int_equal(SMMUV3_ATC1_SIZE, 0x3f);
	assert_int_equal(SMMUV3_OP_PRI_RESP, 0x41);
	assert_int_equal(SMMUV3_PRI1_PRGINDEX, 0x1ff);
	/* 13:12, not QEMU's 12:11 */
	assert_int_equal(SMMUV3_PRI1_RESP, 0x3000);
	assert_int_equal(SMMUV3_PUT(SMMUV3_PRI1_RESP, SMMUV3_PRI_RESP_SUCCESS), 0x2000);

	/* ATC_INV of everything without PASID: SSV 0, Size 52; the SSID has no meaning */
	check_cmd(smmuv3_cmd_atc_inv(0x12345678, false, 0xfffff, true, 0, 52),
			UINT64_C(0x1234567800000040), 0x34);
	/* 64 KiB of PASID 0xabcde: SSV */
	check_cmd(smmuv3_cmd_atc_inv(8, true, 0xabcde, false, UINT64_C(0xffff800012340abc), 4),
			UINT64_C(0x00000008abcde840), UINT64_C(0xffff800012340004));
	/* The same of any PASID: SSV, Global */
	check_cmd(smmuv3_cmd_atc_inv(8, true, 1, true, 0x1000, 0),
			UINT64_C(0x0000000800001a40), 0x1000);
	check_cmd(smmuv3_cmd_pri_resp(8, false, 0x12345, 0x1a5, SMMUV3_PRI_RESP_SUCCESS),
			UINT64_C(0x0000000800000041), 0x21a5);
	check_cmd(smmuv3_cmd_pri_resp(0xa0b0c0d0, true, 0x12345, 0x1ff, SMMUV3_PRI_RESP_INVALID),
			UINT64_C(0xa0b0c0d012345841), 0x11ff);
	check_cmd(smmuv3_cmd_pri_resp(8, true, 0xfffff, 0, SMMUV3_PRI_RESP_FAILURE),
			UINT64_C(0x00000008fffff841), 0);
}

static void
test_spec_event_records(void **state)
{
	/* F_PERMISSION, SSV, SSID 0xabcde, SID 0x01020304; STALL, STAG 0x1234, PnU, RnW = 0 */
	const struct smmuv3_evt perm = { .dw = {
		UINT64_C(0x01020304abcde813), UINT64_C(0x0000020280001234),
		UINT64_C(0xff00123456789abc), UINT64_C(0x00fffffffffff000) } };
	/* F_WALK_EABT, SID 8; Reason 0x5678, InD, RnW, CLASS = TT; FetchAddr */
	const struct smmuv3_evt eabt = { .dw = {
		UINT64_C(0x000000080000000b), UINT64_C(0x0000010c00005678), 0x1000,
		UINT64_C(0x0012345678abcdf8) } };

	(void)state;
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_ID, perm.dw[0]), SMMUV3_F_PERMISSION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SSV, perm.dw[0]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SSID, perm.dw[0]), 0xabcde);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT0_SID, perm.dw[0]), 0x01020304);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STAG, perm.dw[1]), 0x1234);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STALL, perm.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_PNU, perm.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_IND, perm.dw[1]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_RNW, perm.dw[1]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_S2, perm.dw[1]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_CLASS, perm.dw[1]), SMMUV3_CLASS_IN);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT2_ADDR, perm.dw[2]), UINT64_C(0xff00123456789abc));
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT3_IPA, perm.dw[3]), UINT64_C(0xfffffffffff));
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_IND, eabt.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_RNW, eabt.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STALL, eabt.dw[1]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_REASON, eabt.dw[1]), 0x5678);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_CLASS, eabt.dw[1]), SMMUV3_CLASS_TT);
	assert_int_equal(eabt.dw[3] & SMMUV3_EVT3_FETCHADDR, eabt.dw[3]);
	/* NSIPA 38, S2 39, TTRnW 44 */
	/* F_BAD_ATS_TREQ: Span 3:0, P 28, X 29, W 30, R 31 */
	assert_int_equal(SMMUV3_EVT1_TREQ_SPAN, 0xf);
	assert_int_equal(SMMUV3_EVT1_TREQ_P, 0x10000000);
	assert_int_equal(SMMUV3_EVT1_TREQ_X, 0x20000000);
	assert_int_equal(SMMUV3_EVT1_TREQ_W, 0x40000000);
	assert_int_equal(SMMUV3_EVT1_TREQ_R, 0x80000000);
	assert_int_equal(SMMUV3_EVT1_NSIPA, UINT64_C(0x4000000000));
	assert_int_equal(SMMUV3_EVT1_S2, UINT64_C(0x8000000000));
	assert_int_equal(SMMUV3_EVT1_TTRNW, UINT64_C(0x100000000000));
}

static void
test_spec_event_ids(void **state)
{
	static const struct { unsigned int got, want; } ids[] = {
		{ SMMUV3_F_UUT, 0x01 }, { SMMUV3_C_BAD_STREAMID, 0x02 },
		{ SMMUV3_F_STE_FETCH, 0x03 }, { SMMUV3_C_BAD_STE, 0x04 },
		{ SMMUV3_F_BAD_ATS_TREQ, 0x05 }, { SMMUV3_F_STREAM_DISABLED, 0x06 },
		{ SMMUV3_F_TRANSL_FORBIDDEN, 0x07 }, { SMMUV3_C_BAD_SUBSTREAMID, 0x08 },
		{ SMMUV3_F_CD_FETCH, 0x09 }, { SMMUV3_C_BAD_CD, 0x0a },
		{ SMMUV3_F_WALK_EABT, 0x0b }, { SMMUV3_F_TRANSLATION, 0x10 },
		{ SMMUV3_F_ADDR_SIZE, 0x11 }, { SMMUV3_F_ACCESS, 0x12 },
		{ SMMUV3_F_PERMISSION, 0x13 }, { SMMUV3_F_TLB_CONFLICT, 0x20 },
		{ SMMUV3_F_CFG_CONFLICT, 0x21 }, { SMMUV3_E_PAGE_REQUEST, 0x24 },
		{ SMMUV3_F_VMS_FETCH, 0x25 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_int_equal(ids[i].got, ids[i].want);
}

static void
test_spec_page_request_records(void **state)
{
	/* SSV, Last, W; SSID 0x12345, SID 0xa0b0c0d0; PRG index 0x1a5 */
	const struct smmuv3_ppr ppr = { .dw = {
		UINT64_C(0xe0012345a0b0c0d0), UINT64_C(0x00007fff123451a5) } };

	(void)state;
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_SID, ppr.dw[0]), 0xa0b0c0d0);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_SSID, ppr.dw[0]), 0x12345);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_SSV, ppr.dw[0]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_LAST, ppr.dw[0]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_W, ppr.dw[0]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_R, ppr.dw[0]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_X, ppr.dw[0]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR0_PRIV, ppr.dw[0]), 0);
	assert_int_equal(SMMUV3_PPR0_PRIV, UINT64_C(0x0400000000000000));
	assert_int_equal(SMMUV3_PPR0_X, UINT64_C(0x0800000000000000));
	assert_int_equal(SMMUV3_PPR0_R, UINT64_C(0x1000000000000000));
	assert_int_equal(SMMUV3_GET(SMMUV3_PPR1_PRGINDEX, ppr.dw[1]), 0x1a5);
	assert_int_equal(ppr.dw[1] & SMMUV3_PPR1_ADDR, UINT64_C(0x00007fff12345000));
}

static void
test_spec_stream_table(void **state)
{
	/* V, stage 1, two-level CDs with 64K leaves, 2^16 of them at 0x123456000 */
	const struct smmuv3_ste ste = { .dw = {
		UINT64_C(0x800000012345602b),
		/* S1DSS 2, S1CIR 1, S1COR 1, S1CSH 3, S1STALLD, EATS 1, SHCFG 1 */
		UINT64_C(0x00001000180000d6) } };

	(void)state;
	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_V, ste.dw[0]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]), SMMUV3_STE_S1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_S1FMT, ste.dw[0]), SMMUV3_S1FMT_2LVL_64K);
	assert_int_equal(ste.dw[0] & SMMUV3_STE0_S1CONTEXTPTR, UINT64_C(0x123456000));
	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_S1CDMAX, ste.dw[0]), 16);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1DSS, ste.dw[1]), SMMUV3_S1DSS_SSID0);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1CIR, ste.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1COR, ste.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1CSH, ste.dw[1]), 3);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_S1STALLD, ste.dw[1]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_EATS, ste.dw[1]), SMMUV3_EATS_FULL);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE1_SHCFG, ste.dw[1]), SMMUV3_SHCFG_INCOMING);
	assert_int_equal(SMMUV3_STE1_PPAR, 0x40000);
	assert_int_equal(SMMUV3_STE1_MEV, 0x80000);
	assert_int_equal(SMMUV3_STE1_STRW, UINT64_C(0xc0000000));
	assert_int_equal(SMMUV3_STE1_PRIVCFG, UINT64_C(0x0003000000000000));
	assert_int_equal(SMMUV3_STE1_INSTCFG, UINT64_C(0x000c000000000000));
	assert_int_equal(SMMUV3_L1STD_SPAN, 0x1f);
	assert_int_equal(SMMUV3_L1STD_L2PTR, UINT64_C(0x00ffffffffffffc0));
}

static void
test_spec_stage2_fields(void **state)
{
	/*
	 * S2VMID 0xbeef, S2T0SZ 24, S2SL0 1, S2IR0 S2OR0 1, S2SH0 3, S2TG 16K, S2PS 48 bits,
	 * S2AA64, S2AFFD, S2PTW, S2S, S2R; S2TTB 0x123456780000
	 */
	const struct smmuv3_ste ste = { .dw = { 0xf, 0, UINT64_C(0x066db5580000beef),
		UINT64_C(0x0000123456780000) } };

	(void)state;
	assert_int_equal(SMMUV3_GET(SMMUV3_STE0_CONFIG, ste.dw[0]), SMMUV3_STE_S1_S2);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2VMID, ste.dw[2]), 0xbeef);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2T0SZ, ste.dw[2]), 24);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2SL0, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2IR0, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2OR0, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2SH0, ste.dw[2]), SMMUV3_SH_ISH);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2TG, ste.dw[2]), SMMUV3_S2TG_16K);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2PS, ste.dw[2]), 5);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2AA64, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2ENDI, ste.dw[2]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2AFFD, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2PTW, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2HD, ste.dw[2]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2HA, ste.dw[2]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2S, ste.dw[2]), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2R, ste.dw[2]), 1);
	assert_int_equal(ste.dw[3] & SMMUV3_STE3_S2TTB, UINT64_C(0x123456780000));
	assert_int_equal(SMMUV3_STE2_S2ENDI, UINT64_C(0x0010000000000000));
	assert_int_equal(SMMUV3_STE2_S2HD, UINT64_C(0x0080000000000000));
	assert_int_equal(SMMUV3_STE2_S2HA, UINT64_C(0x0100000000000000));
}

static void
test_spec_context_descriptors(void **state)
{
	/*
	 * T0SZ 16, TG0 64K, IR0 OR0 WBWA, SH0 inner, T1SZ 25, TG1 4K, EPD1, V; IPS 48,
	 * AFFD, AA64, S, R, A, ASET, ASID 0xbeef
	 */
	const uint64_t dw0 = UINT64_C(0xbeeff20dc0993550);

	(void)state;
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_T0SZ, dw0), 16);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_TG0, dw0), SMMUV3_TG0_64K);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_IR0, dw0), SMMUV3_CD_RGN_WBWA);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_OR0, dw0), SMMUV3_CD_RGN_WBWA);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_SH0, dw0), SMMUV3_SH_ISH);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_EPD0, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_ENDI, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_T1SZ, dw0), 25);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_TG1, dw0), SMMUV3_TG1_4K);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_EPD1, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_V, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_IPS, dw0), 5);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_AFFD, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_WXN, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_TBI0, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_AA64, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_HD, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_HA, dw0), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_S, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_R, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_A, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_ASET, dw0), 1);
	assert_int_equal(SMMUV3_GET(SMMUV3_CD0_ASID, dw0), 0xbeef);
	assert_int_equal(SMMUV3_CD0_HD, UINT64_C(0x0000040000000000));
	assert_int_equal(SMMUV3_CD0_HA, UINT64_C(0x0000080000000000));
	assert_int_equal(SMMUV3_CD0_WXN, UINT64_C(0x0000001000000000));
	assert_int_equal(SMMUV3_CD0_TBI0, UINT64_C(0x0000004000000000));
	assert_int_equal(SMMUV3_CD0_TBI1, UINT64_C(0x0000008000000000));
	assert_int_equal(SMMUV3_CD0_PAN, UINT64_C(0x0000010000000000));
	assert_int_equal(SMMUV3_CD1_TTB0, UINT64_C(0x00fffffffffffff0));
	assert_int_equal(SMMUV3_CD2_TTB1, UINT64_C(0x00fffffffffffff0));
	assert_int_equal(SMMUV3_CD1_HAD0, 2);
	assert_int_equal(SMMUV3_L1CD_V, 1);
	assert_int_equal(SMMUV3_L1CD_L2PTR, UINT64_C(0x00fffffffffff000));
	/* TG0 and TG1 have different encodings. */
	assert_int_equal(SMMUV3_TG0_4K, 0);
	assert_int_equal(SMMUV3_TG0_16K, 2);
	assert_int_equal(SMMUV3_TG1_16K, 1);
	assert_int_equal(SMMUV3_TG1_64K, 3);
}

/* Every legal and illegal pair of indices of a small queue, compared with counting. */
static void
test_queue_arithmetic(void **state)
{
	static const unsigned int sizes[] = { 0, 1, 3 };

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		unsigned int log2 = sizes[k];
		uint32_t n = 1u << log2, wrap = n;

		for (uint32_t prod = 0; prod < 2 * n; prod++) {
			for (uint32_t cons = 0; cons < 2 * n; cons++) {
				uint32_t pi = prod & (n - 1), ci = cons & (n - 1);
				bool same = (prod & wrap) == (cons & wrap);
				/* The four legal pairs [3.5.1] */
				bool legal = pi == ci || (pi > ci && same) || (pi < ci && !same);
				uint32_t count = same ? pi - ci : n + pi - ci;

				assert_int_equal(smmuv3_q_legal(log2, prod, cons), legal);
				assert_int_equal(smmuv3_q_empty(log2, prod, cons),
						pi == ci && same);
				assert_int_equal(smmuv3_q_full(log2, prod, cons),
						pi == ci && !same);
				if (!legal)
					continue;
				assert_int_equal(smmuv3_q_count(log2, prod, cons), count);
				assert_int_equal(smmuv3_q_space(log2, prod, cons), n - count);
			}
			assert_int_equal(smmuv3_q_slot(log2, prod), prod & (n - 1));
			assert_int_equal(smmuv3_q_add(log2, prod, 1),
					prod + 1 == 2 * n ? 0 : prod + 1);
		}
	}
}

static void
test_queue_arithmetic_of_the_largest(void **state)
{
	const unsigned int log2 = 19;

	(void)state;
	assert_int_equal(smmuv3_q_slot(log2, 0xfffff), 0x7ffff);
	assert_int_equal(smmuv3_q_add(log2, 0x7ffff, 1), 0x80000);
	assert_int_equal(smmuv3_q_add(log2, 0xfffff, 1), 0);
	assert_int_equal(smmuv3_q_add(log2, 0xffff0, 0x20), 0x10);
	assert_true(smmuv3_q_full(log2, 0x80000, 0));
	assert_true(smmuv3_q_full(log2, 0x12345, 0x92345));
	assert_true(smmuv3_q_empty(log2, 0x92345, 0x92345));
	assert_int_equal(smmuv3_q_count(log2, 0x00001, 0xfffff), 2);
	assert_int_equal(smmuv3_q_space(log2, 0x00001, 0xfffff), 0x7fffe);
	assert_false(smmuv3_q_legal(log2, 0x00000, 0x00001));
	assert_false(smmuv3_q_legal(log2, 0x80001, 0x00000));
	/* OVFLG and ERR have no effect. */
	assert_true(smmuv3_q_empty(log2, 0x80000005, 0x00000005));
	assert_int_equal(smmuv3_q_count(3, 0x80000009, 0x7f000004), 5);
	assert_int_equal(smmuv3_q_pos(3, 0x8000001f), 0xf);
}

static void
test_queue_consumed(void **state)
{
	(void)state;
	/* Size 8: the entry at 6, CONS from 6 on, around both wraps. */
	assert_false(smmuv3_q_consumed(3, 6, 6));
	for (uint32_t i = 1; i <= 8; i++)
		assert_true(smmuv3_q_consumed(3, smmuv3_q_add(3, 6, i), 6));
	assert_false(smmuv3_q_consumed(3, 5, 6));
	assert_true(smmuv3_q_consumed(3, 0, 15));
	assert_false(smmuv3_q_consumed(3, 15, 15));
	/* Size 1. */
	assert_false(smmuv3_q_consumed(0, 1, 1));
	assert_true(smmuv3_q_consumed(0, 0, 1));
	assert_true(smmuv3_q_consumed(0, 0x7f000001, 0));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_spec_register_offsets),
	cmocka_unit_test(test_spec_register_fields),
	cmocka_unit_test(test_spec_commands),
	cmocka_unit_test(test_spec_commands_of_pci),
	cmocka_unit_test(test_spec_event_records),
	cmocka_unit_test(test_spec_event_ids),
	cmocka_unit_test(test_spec_page_request_records),
	cmocka_unit_test(test_spec_stream_table),
	cmocka_unit_test(test_spec_stage2_fields),
	cmocka_unit_test(test_spec_context_descriptors),
	cmocka_unit_test(test_queue_arithmetic),
	cmocka_unit_test(test_queue_arithmetic_of_the_largest),
	cmocka_unit_test(test_queue_consumed),
};

TEST_SUITE(spec, tests, NULL, NULL);
