/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model with both stages: walks, permissions, the class and IPA of faults, stalls. */

#include <string.h>

#include "s2_rig.h"
#include "test.h"

#define CLASS_CD	SMMUV3_CLASS_CD
#define CLASS_TT	SMMUV3_CLASS_TT
#define CLASS_IN	SMMUV3_CLASS_IN

static const struct walk_how ex = { .instr = true };

/* The IPA of the descriptor of S2_VA at a level. */
static uint64_t
get_desc_ipa(struct s2_rig *s, unsigned int level)
{
	uint64_t table = s2_get_ipa(s, s->ttb1);

	for (unsigned int l = 0;; l++) {
		uint64_t at = table + 8 * ((S2_VA >> (39 - 9 * l)) & 511);

		if (l == level)
			return at;
		table = *(uint64_t *)rig_get_ptr(&s->r, at - S2_OFF) & SMMUV3_BITS(47, 12);
	}
}

/* Unmap a page of stage 2, and let the change take effect. Returns the old descriptor. */
static uint64_t
hide(struct s2_rig *s, uint64_t ipa, uint64_t desc)
{
	uint64_t *pte = s2_get_pte(s, ipa), old = *pte;

	smmuv3_set_dw(pte, desc);
	rig_flush(&s->r);
	return old;
}

static void
test_nested_all_addresses_of_stage_1_are_ipas(void **state)
{
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	s.r.data[2] = 55;
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	assert_int_equal(walk_buf[2], 55);
	assert_int_equal(s2_access(&s, S2_VA + 8, wr, NULL), 0);
	assert_int_equal(s.r.data[10], 55);
	s2_close(&s);
}

static void
test_nested_fault_of_the_input_address(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	*s2_get_pte(&s, S2_DATA) = 0;
	/* The record in full: InputAddr is the VA, IPA the output of stage 1. */
	assert_int_equal(s2_access(&s, S2_VA + 0x18, wr, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000028000000000));
	assert_int_equal(evt.dw[2], S2_VA + 0x18);
	assert_int_equal(evt.dw[3], S2_DATA);
	s2_map(&s, S2_DATA, RIG_DATA, S2_NORMAL | S2_READ | S2_WRITE);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_ACCESS, CLASS_IN, S2_DATA);
	s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | S2_READ);
	s2_expect_fault(&s, S2_VA, wr, SMMUV3_F_PERMISSION, CLASS_IN, S2_DATA);
	/* From the TLB too. */
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	s2_expect_fault(&s, S2_VA + 0x700, wr, SMMUV3_F_PERMISSION, CLASS_IN, S2_DATA);
	/* An IPA that S2T0SZ does not have, above one that is mapped. */
	s2_map_s1(&s, S2_VA + 4096, UINT64_C(3) << 40 | S2_DATA, RIG_RW);
	s2_expect_fault(&s, S2_VA + 4096, rd, SMMUV3_F_TRANSLATION, CLASS_IN,
			UINT64_C(3) << 40 | S2_DATA);
	s2_close(&s);
}

static void
test_nested_fault_of_each_descriptor(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	for (unsigned int level = 0; level < 4; level++) {
		uint64_t ipa = get_desc_ipa(&s, level), old;

		/* S2, CLASS TT, RnW of the transaction; IPA: of the descriptor, not of the data. */
		old = hide(&s, ipa, 0);
		assert_int_equal(s2_access(&s, S2_VA, wr, &evt), SMMUV3_F_TRANSLATION);
		assert_int_equal(evt.dw[1], UINT64_C(0x0000018000000000));
		assert_int_equal(evt.dw[2], S2_VA);
		assert_int_equal(evt.dw[3], ipa & ~UINT64_C(0xfff));
		hide(&s, ipa, old & ~RIG_AF);
		s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_ACCESS, CLASS_TT, ipa);
		/* The SMMU reads descriptors: stage 2 must permit reads, not writes. TTRnW is 1. */
		hide(&s, ipa, old & ~S2_READ);
		s2_expect_fault(&s, S2_VA, wr, SMMUV3_F_PERMISSION, CLASS_TT, ipa);
		hide(&s, ipa, old & ~S2_WRITE);
		assert_int_equal(s2_access(&s, S2_VA, wr, NULL), 0);
		/* Stage 2 leads outside memory: a fault of the read, not of stage 2. */
		hide(&s, ipa, UINT64_C(0x7000000000) | S2_RW | 3);
		assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_WALK_EABT);
		assert_int_equal(evt.dw[1], UINT64_C(0x0000010800000000));
		assert_int_equal(evt.dw[3], UINT64_C(0x7000000000) | (ipa & 0xfff));
		/* A walk of stage 2 for the descriptor aborts: S2 and CLASS TT. */
		hide(&s, ipa, old);
	}
	s2_map_s1(&s, S2_VA, S2_DATA, RIG_RW);
	s.ttb2[1] = UINT64_C(0x7000000000) | 3;
	s2_get_s1_pte(&s, S2_VA)[0] = (UINT64_C(1) << 30) | RIG_RW | 3;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_WALK_EABT);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000028800000000));
	assert_int_equal(evt.dw[3], UINT64_C(0x7000000000));
	s2_close(&s);
}

static void
test_nested_fault_of_a_cd(void **state)
{
	struct smmuv3_evt evt;
	uint64_t ipa, old;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	ipa = s2_get_ipa(&s, s.cd);
	old = hide(&s, ipa, 0);
	assert_int_equal(s2_access(&s, S2_VA, wr, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000008000000000));
	assert_int_equal(evt.dw[2], S2_VA);
	assert_int_equal(evt.dw[3], ipa);
	hide(&s, ipa, old & ~RIG_AF);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_ACCESS, CLASS_CD, ipa);
	hide(&s, ipa, old & ~S2_READ);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_PERMISSION, CLASS_CD, ipa);
	hide(&s, ipa, UINT64_C(0x7000000000) | S2_RW | 3);
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_CD_FETCH);
	assert_int_equal(evt.dw[1], 0);
	assert_int_equal(evt.dw[3], UINT64_C(0x7000000000));
	/* A fetch that failed is not cached: no CFGI is necessary. A CD that was read is. */
	smmuv3_set_dw(s2_get_pte(&s, ipa), old);
	rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, ipa, true));
	rig_sync(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	smmuv3_set_dw(s2_get_pte(&s, ipa), 0);
	rig_send(&s.r, smmuv3_cmd_tlbi_s12_vmall(S2_VMID));
	rig_sync(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	rig_send(&s.r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
	rig_sync(&s.r);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_TRANSLATION, CLASS_CD, ipa);
	s2_close(&s);
}

static void
test_nested_two_level_cd_table(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint64_t *l1, old, ipa;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	l1 = rig_alloc(&s.r, 4096, 4096);
	l1[1] = s2_get_ipa(&s, s.cd) | 1;
	l1[2] = UINT64_C(1) << 45 | 1;
	s2_change_ste(&s, 0, SMMUV3_STE0_S1CONTEXTPTR, s2_get_ipa(&s, l1) |
			SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 10) |
			SMMUV3_PUT(SMMUV3_STE0_S1FMT, SMMUV3_S1FMT_2LVL_4K));
	dma = rig_add_dma(&s.r, RIG_SID, 64);
	assert_int_equal(walk_access(&s.r, dma, S2_VA, rd, NULL), 0);
	/* The L1CD, then the CD. */
	ipa = s2_get_ipa(&s, l1);
	old = hide(&s, ipa, 0);
	assert_int_equal(walk_access(&s.r, dma, S2_VA, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | 64 << 12 | SMMUV3_EVT0_SSV |
			SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000008800000000));
	assert_int_equal(evt.dw[3], ipa);
	hide(&s, ipa, old);
	ipa = s2_get_ipa(&s, s.cd);
	old = hide(&s, ipa, 0);
	assert_int_equal(walk_access(&s.r, dma, S2_VA, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[3], ipa);
	hide(&s, ipa, old);
	smmuv3_model_dma_destroy(dma);
	/* An IPA that S2T0SZ does not have is a fault of stage 2. */
	dma = rig_add_dma(&s.r, RIG_SID, 128);
	assert_int_equal(walk_access(&s.r, dma, S2_VA, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[3], UINT64_C(1) << 45);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_CLASS, evt.dw[1]), CLASS_CD);
	smmuv3_model_dma_destroy(dma);
	s2_close(&s);
}

static void
test_nested_faults_of_stage_1_have_no_s2(void **state)
{
	struct smmuv3_evt evt;
	uint64_t *pte;
	struct s2_rig s;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .oas_bits = 42 }, SMMUV3_STE_S1_S2);
	pte = s2_get_s1_pte(&s, S2_VA);
	*pte = 0;
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	/* The IPA is limited by CD.IPS and IAS, not by S2PS. */
	*pte = UINT64_C(1) << 42 | RIG_RW | 3;
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_ADDR_SIZE);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	s2_change_ste(&s, 2, SMMUV3_STE2_S2PS, SMMUV3_PUT(SMMUV3_STE2_S2PS, 1));
	*pte = S2_DATA | RIG_RW | 3;
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	s2_close(&s);
}

/* The priorities within a walk [7.3]. */
static void
test_nested_order_of_faults(void **state)
{
	uint64_t ipa, old, *pte;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	pte = s2_get_s1_pte(&s, S2_VA);
	*s2_get_pte(&s, S2_DATA) = 0;
	/* F_ADDR_SIZE, F_ACCESS, F_PERMISSION of stage 1 come before the final IPA's walk. */
	*pte = S2_DATA | RIG_NG | RIG_UNPRIV | RIG_RO | 3;
	assert_int_equal(s2_access(&s, S2_VA, wr, &evt), SMMUV3_F_ACCESS);
	assert_int_equal(evt.dw[1] & SMMUV3_EVT1_S2, 0);
	*pte |= RIG_AF;
	assert_int_equal(s2_access(&s, S2_VA, wr, &evt), SMMUV3_F_PERMISSION);
	assert_int_equal(evt.dw[1] & SMMUV3_EVT1_S2, 0);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_TRANSLATION, CLASS_IN, S2_DATA);
	/* The read of a descriptor comes before its contents, and after the ones above it. */
	*pte = 0;
	ipa = get_desc_ipa(&s, 3);
	old = hide(&s, ipa, 0);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_TRANSLATION, CLASS_TT, ipa);
	*(uint64_t *)rig_get_ptr(&s.r, get_desc_ipa(&s, 2) - S2_OFF) = 0;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	hide(&s, ipa, old);
	/* A range check of stage 1 needs no descriptor. */
	hide(&s, s2_get_ipa(&s, s.ttb1), 0);
	assert_int_equal(s2_access(&s, UINT64_C(1) << 50, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1] & SMMUV3_EVT1_S2, 0);
	s2_close(&s);
}

static void
test_nested_permissions_of_both_stages(void **state)
{
	static const uint64_t s1[] = { RIG_UNPRIV, RIG_UNPRIV | RIG_RO, RIG_UNPRIV | RIG_UXN, 0 };
	static const uint64_t s2[] = { S2_READ | S2_WRITE, S2_READ, S2_WRITE, S2_READ | S2_XN };
	/* r 1, w 2, x 4, without privilege */
	static const unsigned int by_s1[] = { 7, 5, 3, 0 }, by_s2[] = { 7, 5, 2, 1 };
	static const struct walk_how hows[] = { { 0 }, { .write = true }, { .instr = true } };

	(void)state;
	for (unsigned int i = 0; i < 16; i++) {
		struct s2_rig s;

		s2_open(&s, NULL, SMMUV3_STE_S1_S2);
		s2_map_s1(&s, S2_VA, S2_DATA, RIG_AF | RIG_NG | s1[i / 4]);
		s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | s2[i % 4]);
		for (unsigned int k = 0; k < 6; k++) {
			struct smmuv3_evt evt = { 0 };
			unsigned int id = s2_access(&s, S2_VA, hows[k % 3], &evt);
			unsigned int bit = 1u << k % 3;

			if ((id == 0) != ((by_s1[i / 4] & by_s2[i % 4] & bit) != 0) ||
					(id != 0 && id != SMMUV3_F_PERMISSION))
				fail_msg("pair %u access %u: event 0x%x", i, k, id);
			/* The fault of stage 1 comes first. */
			if (id != 0)
				assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_S2, evt.dw[1]),
						(by_s1[i / 4] & bit) != 0);
		}
		s2_close(&s);
	}
}

static void
test_nested_s2ptw_protects_device_memory_from_walks(void **state)
{
	uint64_t table, old;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	table = get_desc_ipa(&s, 1);
	old = hide(&s, table, *s2_get_pte(&s, table) & ~S2_NORMAL);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2PTW);
	rig_flush(&s.r);
	s2_expect_fault(&s, S2_VA, wr, SMMUV3_F_PERMISSION, CLASS_TT, table);
	hide(&s, table, old);
	/* The data may be Device memory. */
	hide(&s, S2_DATA, *s2_get_pte(&s, S2_DATA) & ~S2_NORMAL);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	s2_close(&s);
}

/* The stage of the fault selects CD.S, R, A or S2S, S2R [5.5]. */
static void
test_nested_the_stage_of_the_fault_selects_the_rule(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	for (unsigned int k = 0; k < 8; k++) {
		bool cd_s = k & 1, s2s = k & 2, of_s1 = k & 4, stall = of_s1 ? cd_s : s2s;

		s2_open(&s, NULL, SMMUV3_STE_S1_S2);
		s.cd[0].dw[0] &= ~(uint64_t)SMMUV3_CD0_A;
		s.cd[0].dw[0] |= cd_s ? SMMUV3_CD0_S : 0;
		s2_change_ste(&s, 2, SMMUV3_STE2_S2R, s2s ? SMMUV3_STE2_S2S : 0);
		*(of_s1 ? s2_get_s1_pte(&s, S2_VA) : s2_get_pte(&s, S2_DATA)) = 0;
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_VA, walk_buf, 8);
		assert_int_equal(rig_poll(&s.r, s.dma), !stall);
		/* S2R is 0, and CD.R is 1. CD.A is 0; stage 2 acts as with 1. */
		assert_int_equal(rig_take_evt(&s.r, &evt), stall || of_s1);
		if (!stall) {
			assert_int_equal(s.r.done[0].status, of_s1 ? SMMUV3_MODEL_RAZWI :
					SMMUV3_MODEL_ABORTED);
		} else {
			assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STALL, evt.dw[1]), 1);
			rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, (uint16_t)SMMUV3_GET(
					SMMUV3_EVT1_STAG, evt.dw[1]), false, true));
			assert_int_equal(rig_poll(&s.r, s.dma), 1);
		}
		s2_close(&s);
	}
}

/* One access stalls at its CD, at each descriptor, at the data, and then succeeds. */
static void
test_nested_stalls_of_one_access_until_all_is_mapped(void **state)
{
	static const unsigned int classes[] = { CLASS_CD, CLASS_TT, CLASS_TT, CLASS_TT, CLASS_TT,
		CLASS_IN };
	uint64_t ipas[6], old[6];
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2S);
	ipas[0] = s2_get_ipa(&s, s.cd);
	for (unsigned int i = 0; i < 4; i++)
		ipas[1 + i] = get_desc_ipa(&s, i);
	ipas[5] = S2_DATA;
	for (unsigned int i = 0; i < 6; i++)
		old[i] = hide(&s, ipas[i], 0);
	rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_VA, walk_buf, 8);
	for (unsigned int i = 0; i < 6; i++) {
		assert_int_equal(rig_poll(&s.r, s.dma), 0);
		assert_true(rig_take_evt(&s.r, &evt));
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_TRANSLATION);
		assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STALL, evt.dw[1]), 1);
		assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_S2, evt.dw[1]), 1);
		assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_CLASS, evt.dw[1]), classes[i]);
		assert_int_equal(evt.dw[2], S2_VA);
		assert_int_equal(evt.dw[3], ipas[i] & ~UINT64_C(0xfff));
		smmuv3_set_dw(s2_get_pte(&s, ipas[i]), old[i]);
		rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG,
				evt.dw[1]), true, false));
	}
	assert_int_equal(rig_poll(&s.r, s.dma), 1);
	assert_int_equal(s.r.done[0].status, SMMUV3_MODEL_OK);
	assert_int_equal(s.r.done[0].nb_stalls, 6);
	assert_int_equal(smmuv3_model_stalls_outstanding(s.r.m), 0);
	s2_close(&s);
}

/* A record that waits for room keeps S2, CLASS and IPA. */
static void
test_nested_held_stall_keeps_its_record(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open_small(&s, NULL, SMMUV3_STE_S1_S2, 1);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2S);
	hide(&s, get_desc_ipa(&s, 3), 0);
	for (unsigned int k = 0; k < 8; k++)
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_VA + 16 * k, walk_buf, 8);
	rig_run(&s.r);
	assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_STALLS_HELD), 6);
	for (unsigned int k = 0; k < 8; k++) {
		assert_true(rig_take_evt(&s.r, &evt));
		assert_int_equal(evt.dw[1] & ~SMMUV3_EVT1_STAG, SMMUV3_EVT1_STALL |
				UINT64_C(0x0000018800000000));
		assert_int_equal(evt.dw[2], S2_VA + 16 * k);
		assert_int_equal(evt.dw[3], get_desc_ipa(&s, 3) & ~UINT64_C(0xfff));
		rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG,
				evt.dw[1]), false, true));
	}
	assert_int_equal(rig_poll(&s.r, s.dma), 8);
	s2_close(&s);
}

static void
test_nested_bypass_of_stage_1_in_front_of_stage_2(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S1_S2);
	s2_change_ste(&s, 0, 0, SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 4));
	s2_change_ste(&s, 1, 0, SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_BYPASS));
	/* Without a PASID the address is an IPA; no CD is read. */
	s.r.data[7] = 21;
	assert_int_equal(s2_access(&s, S2_DATA, rd, NULL), 0);
	assert_int_equal(walk_buf[7], 21);
	assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_CD_FETCHES), 0);
	s2_expect_fault(&s, UINT64_C(1) << 47, rd, SMMUV3_F_TRANSLATION, CLASS_IN,
			UINT64_C(1) << 47);
	assert_int_equal(s2_access(&s, UINT64_C(1) << 48, rd, &evt), SMMUV3_F_ADDR_SIZE);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	/* With a PASID both stages. */
	dma = rig_add_dma(&s.r, RIG_SID, 0);
	assert_int_equal(walk_access(&s.r, dma, S2_VA, rd, NULL), 0);
	smmuv3_model_dma_destroy(dma);
	s2_close(&s);
}

/* A CD on an IPA is fetched word by word too. */
static void
test_nested_torn_and_harsh_fetches(void **state)
{
	unsigned int faults = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 60; seed++) {
		struct smmuv3_evt evt;
		struct s2_rig s;
		unsigned int before = faults;
		uint64_t ipa, old;

		s2_open(&s, &(struct smmuv3_model_conf){ .seed = seed,
				.choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB,
				.harsh = SMMUV3_MODEL_HARSH_ALL }, SMMUV3_STE_S1_S2);
		ipa = s2_get_ipa(&s, s.cd);
		assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
		rig_flush(&s.r);
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_VA, walk_buf, 8);
		for (uint32_t i = 0; i < seed % 12; i++)
			smmuv3_model_step(s.r.m, 1);
		/* The page of the CD leaves stage 2 between two words. */
		old = *s2_get_pte(&s, ipa);
		smmuv3_set_dw(s2_get_pte(&s, ipa), 0);
		rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, ipa, true));
		rig_sync(&s.r);
		assert_int_equal(rig_poll(&s.r, s.dma), 1);
		if (rig_take_evt(&s.r, &evt)) {
			assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_CLASS, evt.dw[1]), CLASS_CD);
			assert_int_equal(evt.dw[3], ipa);
			faults++;
		}
		/*
		 * After a fault no word is cached, not even one that was fetched before it: the new
		 * CD, with an ASID and tables of its own, needs no CFGI.
		 */
		if (faults != before) {
			uint64_t *ttb1 = rig_alloc(&s.r, 4096, 4096);

			s.ttb1 = ttb1;
			s2_map_s1(&s, S2_VA, S2_DATA + 4096, RIG_RW);
			s.r.data[4096] = 99;
			s.cd[0].dw[1] = s2_get_ipa(&s, ttb1);
			s.cd[0].dw[0] += SMMUV3_PUT(SMMUV3_CD0_ASID, 1);
		}
		smmuv3_set_dw(s2_get_pte(&s, ipa), old);
		assert_int_equal(s2_access(&s, S2_VA, ex, NULL), 0);
		assert_int_equal(walk_buf[0], faults != before ? 99 : 0);
		s2_close(&s);
	}
	assert_true(faults > 0 && faults < 60);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_nested_all_addresses_of_stage_1_are_ipas),
	cmocka_unit_test(test_nested_fault_of_the_input_address),
	cmocka_unit_test(test_nested_fault_of_each_descriptor),
	cmocka_unit_test(test_nested_fault_of_a_cd),
	cmocka_unit_test(test_nested_two_level_cd_table),
	cmocka_unit_test(test_nested_faults_of_stage_1_have_no_s2),
	cmocka_unit_test(test_nested_order_of_faults),
	cmocka_unit_test(test_nested_permissions_of_both_stages),
	cmocka_unit_test(test_nested_s2ptw_protects_device_memory_from_walks),
	cmocka_unit_test(test_nested_the_stage_of_the_fault_selects_the_rule),
	cmocka_unit_test(test_nested_stalls_of_one_access_until_all_is_mapped),
	cmocka_unit_test(test_nested_held_stall_keeps_its_record),
	cmocka_unit_test(test_nested_bypass_of_stage_1_in_front_of_stage_2),
	cmocka_unit_test(test_nested_torn_and_harsh_fetches),
};

TEST_SUITE(model_nested, tests, NULL, NULL);
