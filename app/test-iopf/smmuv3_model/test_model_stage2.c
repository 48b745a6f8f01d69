/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's stage 2 alone: STEs, start levels, faults, stalls. */

#include <string.h>

#include "s2_rig.h"
#include "test.h"

#define CLASS_IN	SMMUV3_CLASS_IN

static const struct walk_how ex = { .instr = true };

static void
test_stage2_exists_only_when_configured(void **state)
{
	struct s2_rig s;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	assert_int_equal(rig_read(&r, SMMUV3_IDR0) & 0x40001, 0);
	rig_close(&r);
	s2_open(&s, NULL, SMMUV3_STE_S2);
	assert_int_equal(rig_read(&s.r, SMMUV3_IDR0) & 0x40001, 1);
	s2_close(&s);
	s2_open(&s, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_VMID16 },
			SMMUV3_STE_S2);
	assert_int_equal(rig_read(&s.r, SMMUV3_IDR0) & 0x40001, 0x40001);
	s2_close(&s);
}

/* Is the command legal? */
static bool
is_legal(struct rig *r, struct smmuv3_cmd cmd)
{
	bool bad;

	rig_put(r, cmd);
	rig_ring(r);
	rig_run(r);
	bad = rig_read(r, SMMUV3_GERROR) != rig_read(r, SMMUV3_GERRORN);
	if (bad) {
		r->cmdq[smmuv3_q_slot(r->cmdq_log2, r->cmd_prod - 1)] = smmuv3_cmd_sync();
		rig_write(r, SMMUV3_GERRORN, rig_read(r, SMMUV3_GERROR));
		rig_run(r);
	}
	return !bad;
}

static void
test_stage2_commands(void **state)
{
	(void)state;
	for (int wide = 0; wide < 2; wide++) {
		struct s2_rig s;

		s2_open(&s, &(struct smmuv3_model_conf){ .features = wide ?
				SMMUV3_MODEL_VMID16 : 0 }, SMMUV3_STE_S2);
		assert_true(is_legal(&s.r, smmuv3_cmd_tlbi_s12_vmall(0xff)));
		assert_true(is_legal(&s.r, smmuv3_cmd_tlbi_s2_ipa(0xff, S2_DATA, true)));
		assert_true(is_legal(&s.r, smmuv3_cmd_tlbi_s2_ipa_range(0xff, S2_DATA, false,
				SMMUV3_TLBI_TG_4K, 3, 1, 3)));
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_s12_vmall(0x100)), wide);
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_s2_ipa(0x100, 0, true)), wide);
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_nh_all(0x100)), wide);
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_nh_vaa(0x100, 0, true)), wide);
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_nh_va(0x100, 1, 0, true)), wide);
		assert_int_equal(is_legal(&s.r, smmuv3_cmd_tlbi_nh_asid(0x100, 1)), wide);
		/* TG without NUM, SCALE and TTL; an ASID; a too large IPA */
		assert_false(is_legal(&s.r, (struct smmuv3_cmd){ { 0x2a, 0x400 } }));
		assert_false(is_legal(&s.r, (struct smmuv3_cmd){ { 0x2a | UINT64_C(1) << 48 } }));
		assert_false(is_legal(&s.r, (struct smmuv3_cmd){ { 0x28, 1 } }));
		assert_false(is_legal(&s.r, (struct smmuv3_cmd){ { 0x2a, UINT64_C(1) << 52 } }));
		s2_close(&s);
	}
}

/* The numbers are those of the list of illegal STEs. */
static void
test_stage2_ste_legality(void **state)
{
	enum { S2 = SMMUV3_STE_S2, BOTH = SMMUV3_STE_S1_S2, S1 = SMMUV3_STE_S1,
		BYPASS = SMMUV3_STE_BYPASS };
	const uint64_t full = SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_FULL);
	const uint64_t split = SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_SPLIT);
	const uint64_t s2s = SMMUV3_STE2_S2S, vmid9 = UINT64_C(0x100);
	const uint64_t psz = SMMUV3_STE2_S2PS;
	const struct {
		unsigned int config;
		uint64_t set0, set1, clear2, set2, set3;
		struct smmuv3_model_conf conf;
		bool ok;
	} rows[] = {
		{ S2, 0, 0, 0, 0, 0, { 0 }, true },
		{ BOTH, 0, 0, 0, 0, 0, { 0 }, true },
		/* 4: split-stage ATS with both stages and without S2S only */
		{ BOTH, 0, split, 0, 0, 0, { .features = SMMUV3_MODEL_ATS }, true },
		{ BOTH, 0, split, 0, s2s, 0, { .features = SMMUV3_MODEL_ATS }, false },
		{ S2, 0, split, 0, 0, 0, { .features = SMMUV3_MODEL_ATS }, false },
		{ S2, 0, split, 0, 0, 0, { 0 }, true },
		{ BYPASS, 0, split, 0, 0, 0, { .features = SMMUV3_MODEL_ATS }, true },
		/* 5: no ATS with S2S */
		{ BOTH, 0, full, 0, 0, 0, { .features = SMMUV3_MODEL_ATS }, true },
		{ S2, 0, full, 0, 0, 0, { .features = SMMUV3_MODEL_ATS }, true },
		{ BOTH, 0, full, 0, s2s, 0, { .features = SMMUV3_MODEL_ATS }, false },
		{ S2, 0, full, 0, s2s, 0, { .features = SMMUV3_MODEL_ATS }, false },
		{ S2, 0, full, 0, s2s, 0, { 0 }, true },
		/* 8 to 11: fields of stage 1; without it they are ignored */
		{ BOTH, 0, SMMUV3_STE1_S1STALLD, 0, s2s, 0, { .stall_model = 2 }, false },
		{ S2, 0, SMMUV3_STE1_S1STALLD, 0, s2s, 0, { .stall_model = 2 }, true },
		{ BOTH, UINT64_C(9) << 59, 0, 0, 0, 0, { .ssid_bits = 8 }, false },
		{ S2, UINT64_C(9) << 59, 0, 0, 0, 0, { .ssid_bits = 8 }, true },
		{ BOTH, UINT64_C(8) << 59 | 1 << 4, 0, 0, 0, 0,
			{ .no_features = SMMUV3_MODEL_NO_2LVL_CD }, false },
		{ S2, UINT64_C(8) << 59 | 1 << 4, 0, 0, 0, 0,
			{ .no_features = SMMUV3_MODEL_NO_2LVL_CD }, true },
		{ BOTH, UINT64_C(1) << 40, 0, 0, 0, 0, { .oas_bits = 40 }, false },
		{ S2, UINT64_C(1) << 40, 0, 0, 0, 0, { .oas_bits = 40 }, true },
		/* 12, 13: S2S and STALL_MODEL */
		{ S2, 0, 0, 0, s2s, 0, { .stall_model = 1 }, false },
		{ S2, 0, 0, 0, 0, 0, { .stall_model = 1 }, true },
		{ S2, 0, 0, 0, 0, 0, { .stall_model = 2 }, false },
		{ S2, 0, 0, 0, s2s, 0, { .stall_model = 2 }, true },
		/* 14: S2AA64 */
		{ S2, 0, 0, SMMUV3_STE2_S2AA64, 0, 0, { 0 }, false },
		/* 15: HTTU */
		{ S2, 0, 0, 0, SMMUV3_STE2_S2HA, 0, { 0 }, false },
		{ S2, 0, 0, 0, SMMUV3_STE2_S2HD, 0, { 0 }, false },
		{ S2, 0, 0, 0, SMMUV3_STE2_S2HA, 0, { .features = SMMUV3_MODEL_HTTU_AF }, true },
		{ S2, 0, 0, 0, SMMUV3_STE2_S2HA | SMMUV3_STE2_S2HD, 0,
			{ .features = SMMUV3_MODEL_HTTU_AF }, false },
		{ S2, 0, 0, 0, SMMUV3_STE2_S2HA | SMMUV3_STE2_S2HD, 0,
			{ .features = SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY }, true },
		/* 16: S2TG */
		{ S2, 0, 0, 0, SMMUV3_STE2_S2TG, 0, { 0 }, false },
		{ S2, 0, 0, 0, 0, 0, { .no_features = SMMUV3_MODEL_NO_4K }, false },
		/* 17: S2TTB beyond S2PS or OAS; a larger S2PS is as OAS */
		{ S2, 0, 0, psz, SMMUV3_PUT(psz, 1), UINT64_C(1) << 36, { 0 }, false },
		{ S2, 0, 0, psz, SMMUV3_PUT(psz, 1), 0, { 0 }, true },
		{ S2, 0, 0, 0, 0, UINT64_C(1) << 40, { .oas_bits = 40 }, false },
		{ S2, 0, 0, psz, SMMUV3_PUT(psz, 7), 0, { .oas_bits = 40 }, true },
		/* 18: S2T0SZ of more bits than IAS */
		{ S2, 0, 0, 0, 0, 0, { .oas_bits = 36 }, false },
		/* 20: S2ENDI */
		{ S2, 0, 0, 0, SMMUV3_STE2_S2ENDI, 0, { 0 }, false },
		/* 21: S2VMID; also of stage 1 alone, not in bypass */
		{ S2, 0, 0, 0, vmid9, 0, { 0 }, false },
		{ BOTH, 0, 0, 0, vmid9, 0, { 0 }, false },
		{ S1, 0, 0, 0, vmid9, 0, { 0 }, false },
		{ BYPASS, 0, 0, 0, vmid9, 0, { 0 }, true },
		{ S2, 0, 0, 0, vmid9, 0, { .features = SMMUV3_MODEL_VMID16 }, true },
		/* Without stage 2 its fields are ignored. */
		{ BYPASS, 0, 0, 0, ~UINT64_C(0), ~UINT64_C(0), { 0 }, true },
		{ S1, 0, 0, 0, ~UINT64_C(0xff00), ~UINT64_C(0), { 0 }, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_evt evt;
		struct s2_rig s;
		unsigned int id;

		s2_open(&s, &rows[i].conf, SMMUV3_STE_S1_S2);
		s.cd[0].dw[0] |= rows[i].conf.stall_model == 2 ? SMMUV3_CD0_S : 0;
		s.ste.dw[0] = (s.ste.dw[0] & ~SMMUV3_STE0_CONFIG) | rows[i].set0 |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, rows[i].config);
		s.ste.dw[1] = rows[i].set1;
		s.ste.dw[2] = (s.ste.dw[2] & ~rows[i].clear2) | rows[i].set2;
		s.ste.dw[3] |= rows[i].set3;
		rig_set_ste(&s.r, RIG_SID, &s.ste);
		/* A legal STE may lead to any other event, or to a stall. */
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, RIG_DATA, walk_buf, 8);
		rig_run(&s.r);
		id = rig_take_evt(&s.r, &evt) ? evt.dw[0] & 0xff : 0;
		if ((id == SMMUV3_C_BAD_STE) == rows[i].ok)
			fail_msg("row %zu: event 0x%x", i, id);
		rig_set_cr0(&s.r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
		rig_poll(&s.r, s.dma);
		s2_close(&s);
	}
}

/* Each S2T0SZ with each S2SL0 and S2TG: its legality, and the ends of the IPA range. */
static void
test_stage2_start_levels_and_concatenated_tables(void **state)
{
	static const struct {
		unsigned int tg, gran, sl0, start, min, max;
	} rows[] = {
		{ SMMUV3_S2TG_4K, 12, 2, 0, 16, 24 }, { SMMUV3_S2TG_4K, 12, 1, 1, 21, 33 },
		{ SMMUV3_S2TG_4K, 12, 0, 2, 30, 39 }, { SMMUV3_S2TG_4K, 12, 3, 3, 64, 0 },
		{ SMMUV3_S2TG_16K, 14, 2, 1, 16, 27 }, { SMMUV3_S2TG_16K, 14, 1, 2, 24, 38 },
		{ SMMUV3_S2TG_16K, 14, 0, 3, 35, 39 }, { SMMUV3_S2TG_16K, 14, 3, 0, 64, 0 },
		{ SMMUV3_S2TG_64K, 16, 2, 1, 16, 21 }, { SMMUV3_S2TG_64K, 16, 1, 2, 18, 34 },
		{ SMMUV3_S2TG_64K, 16, 0, 3, 31, 39 }, { SMMUV3_S2TG_64K, 16, 3, 0, 64, 0 },
	};
	struct smmuv3_evt evt;
	struct s2_rig s;
	uint64_t *first;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	/* Up to 16 tables of 64 KiB. */
	first = rig_alloc(&s.r, 1 << 20, 1 << 20);
	s.ste.dw[3] = rig_get_addr(&s.r, first);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (unsigned int tsz = 0; tsz < 64; tsz++) {
			bool ok = tsz >= rows[i].min && tsz <= rows[i].max;
			unsigned int gran = rows[i].gran, bits = gran - 3, level = rows[i].start;
			uint64_t ipa, *e;
			unsigned int shift = gran + (3 - level) * bits;

			s.ste.dw[2] = (s.ste.dw[2] & ~(SMMUV3_STE2_S2T0SZ | SMMUV3_STE2_S2SL0 |
						SMMUV3_STE2_S2TG)) |
				SMMUV3_PUT(SMMUV3_STE2_S2T0SZ, tsz) |
				SMMUV3_PUT(SMMUV3_STE2_S2SL0, rows[i].sl0) |
				SMMUV3_PUT(SMMUV3_STE2_S2TG, rows[i].tg);
			rig_set_ste(&s.r, RIG_SID, &s.ste);
			rig_flush(&s.r);
			if (!ok) {
				if (s2_access(&s, 0, rd, NULL) != SMMUV3_C_BAD_STE)
					fail_msg("row %zu S2T0SZ %u is legal", i, tsz);
				continue;
			}
			/* The last page of the range; a table for each level below the first. */
			ipa = (UINT64_C(1) << (64 - tsz)) - 4096;
			e = &first[ipa >> shift];
			for (; level < 3; level++) {
				uint64_t *table = rig_get_ptr(&s.r, RIG_ARENA + (8u << 20) +
						(level << 16));

				memset(table, 0, 65536);
				*e = rig_get_addr(&s.r, table) | 3;
				shift -= bits;
				e = &table[(ipa >> shift) & ((1u << bits) - 1)];
			}
			*e = RIG_DATA | S2_RW | 3;
			assert_int_equal(s2_access(&s, ipa, rd, NULL), 0);
			s2_expect_fault(&s, 0, rd, SMMUV3_F_TRANSLATION, CLASS_IN, 0);
			if (tsz > 16)
				s2_expect_fault(&s, ipa + 4096, rd, SMMUV3_F_TRANSLATION,
						CLASS_IN, ipa + 4096);
			first[ipa >> (gran + (3 - rows[i].start) * bits)] = 0;
		}
	/* Beyond IAS: a fault of stage 1 [3.4]. */
	assert_int_equal(s2_access(&s, UINT64_C(1) << 48, rd, &evt), SMMUV3_C_BAD_STE);
	s2_close(&s);
}

static void
test_stage2_input_beyond_ias_is_an_address_size_fault_of_stage_1(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	/* With S2R = 0 too, and with S2S: it always terminates and is recorded. */
	for (unsigned int k = 0; k < 3; k++) {
		s2_change_ste(&s, 2, SMMUV3_STE2_S2R | SMMUV3_STE2_S2S, k == 1 ? SMMUV3_STE2_S2R :
				k == 2 ? SMMUV3_STE2_S2S : 0);
		assert_int_equal(s2_access(&s, UINT64_C(1) << 48, rd, &evt), SMMUV3_F_ADDR_SIZE);
		/* RnW, CLASS IN, S2 = 0 */
		assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	}
	/* Inside IAS and outside S2T0SZ: a fault of stage 2. */
	s2_change_ste(&s, 2, SMMUV3_STE2_S2S, SMMUV3_STE2_S2R);
	s2_expect_fault(&s, UINT64_C(1) << 40 | S2_DATA, rd, SMMUV3_F_TRANSLATION, CLASS_IN,
			UINT64_C(1) << 40 | S2_DATA);
	s2_close(&s);
}

static void
test_stage2_a_substream_is_refused(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	dma = rig_add_dma(&s.r, RIG_SID, 3);
	assert_int_equal(walk_access(&s.r, dma, S2_DATA, rd, &evt), SMMUV3_C_BAD_SUBSTREAMID);
	smmuv3_model_dma_destroy(dma);
	s2_close(&s);
}

static void
test_stage2_faults_and_their_order(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;
	uint64_t *pte;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .oas_bits = 40 }, SMMUV3_STE_S2);
	s.r.data[5] = 77;
	assert_int_equal(s2_access(&s, S2_DATA, rd, NULL), 0);
	assert_int_equal(walk_buf[5], 77);
	assert_int_equal(s2_access(&s, S2_DATA, wr, NULL), 0);
	pte = s2_get_pte(&s, S2_DATA + 0x5000);
	/* The record in full: S2, CLASS IN, RnW; the IPA without its offset in the page. */
	*pte = 0;
	assert_int_equal(s2_access(&s, S2_DATA + 0x5678, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000028800000000));
	assert_int_equal(evt.dw[2], S2_DATA + 0x5678);
	assert_int_equal(evt.dw[3], S2_DATA + 0x5000);
	/* A reserved descriptor; beyond the address size; AF; permission. */
	*pte = RIG_DATA | S2_RW | 1;
	s2_expect_fault(&s, S2_DATA + 0x5000, rd, SMMUV3_F_TRANSLATION, CLASS_IN,
			S2_DATA + 0x5000);
	*pte = UINT64_C(1) << 40 | S2_NORMAL | S2_READ | 3;
	s2_expect_fault(&s, S2_DATA + 0x5000, wr, SMMUV3_F_ADDR_SIZE, CLASS_IN, S2_DATA + 0x5000);
	*pte = RIG_DATA | S2_NORMAL | S2_READ | 3;
	s2_expect_fault(&s, S2_DATA + 0x5000, wr, SMMUV3_F_ACCESS, CLASS_IN, S2_DATA + 0x5000);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2AFFD);
	s2_expect_fault(&s, S2_DATA + 0x5000, wr, SMMUV3_F_PERMISSION, CLASS_IN,
			S2_DATA + 0x5000);
	assert_int_equal(s2_access(&s, S2_DATA + 0x5000, rd, NULL), 0);
	s2_change_ste(&s, 2, SMMUV3_STE2_S2AFFD, 0);
	/* S2PS below OAS is the limit, for a page and for a table. */
	s2_change_ste(&s, 2, SMMUV3_STE2_S2PS, SMMUV3_PUT(SMMUV3_STE2_S2PS, 1));
	rig_flush(&s.r);
	*pte = UINT64_C(1) << 36 | S2_RW | 3;
	s2_expect_fault(&s, S2_DATA + 0x5000, rd, SMMUV3_F_ADDR_SIZE, CLASS_IN, S2_DATA + 0x5000);
	s.ttb2[3] = UINT64_C(1) << 36 | 3;
	s2_expect_fault(&s, UINT64_C(3) << 30, rd, SMMUV3_F_ADDR_SIZE, CLASS_IN,
			UINT64_C(3) << 30);
	/* The walk aborts: FetchAddr is an address, not an IPA; no S2R, no stall. */
	s2_change_ste(&s, 2, SMMUV3_STE2_S2R, SMMUV3_STE2_S2S);
	s.ttb2[3] = UINT64_C(0x7000000) | 3;
	assert_int_equal(s2_access(&s, (UINT64_C(3) << 30) + (5 << 21), rd, &evt),
			SMMUV3_F_WALK_EABT);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000028800000000));
	assert_int_equal(evt.dw[3], UINT64_C(0x7000028));
	s2_close(&s);
}

static void
test_stage2_permissions(void **state)
{
	static const struct {
		uint64_t attrs;
		bool r, w, x;
	} rows[] = {
		{ S2_READ | S2_WRITE, true, true, true }, { S2_READ, true, false, true },
		{ S2_WRITE, false, true, false }, { 0, false, false, false },
		{ S2_READ | S2_XN, true, false, false },
		{ S2_READ | S2_WRITE | S2_XN, true, true, false },
	};
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | rows[i].attrs);
		rig_flush(&s.r);
		/* From a walk and from the TLB. There is no privilege in stage 2. */
		for (unsigned int k = 0; k < 4; k++) {
			struct walk_how how = { .priv = k % 2 };
			unsigned int no = SMMUV3_F_PERMISSION;

			assert_int_equal(s2_access(&s, S2_DATA, how, NULL), rows[i].r ? 0 : no);
			how.write = true;
			assert_int_equal(s2_access(&s, S2_DATA, how, NULL), rows[i].w ? 0 : no);
			how = (struct walk_how){ .priv = k % 2, .instr = true };
			assert_int_equal(s2_access(&s, S2_DATA, how, NULL), rows[i].x ? 0 : no);
		}
	}
	s2_map(&s, S2_DATA, RIG_DATA, RIG_AF | S2_NORMAL | S2_READ | S2_XN);
	rig_flush(&s.r);
	s2_expect_fault(&s, S2_DATA, ex, SMMUV3_F_PERMISSION, CLASS_IN, S2_DATA);
	s2_close(&s);
}

static void
test_stage2_blocks(void **state)
{
	struct s2_rig s;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	/* 1 GiB at level 1, 2 MiB at level 2. The data begin at 2 GiB. */
	s.ttb2[5] = (RIG_DATA & ~SMMUV3_BITS(29, 0)) | S2_RW | 1;
	s.r.data[0x3000] = 33;
	assert_int_equal(s2_access(&s, (UINT64_C(5) << 30) + 0x3000, rd, NULL), 0);
	assert_int_equal(walk_buf[0], 33);
	s.ttb2[6] = rig_get_addr(&s.r, rig_alloc(&s.r, 4096, 4096)) | 3;
	*(uint64_t *)rig_get_ptr(&s.r, s.ttb2[6] & ~UINT64_C(0xfff)) = RIG_DATA | S2_RW | 1;
	assert_int_equal(s2_access(&s, (UINT64_C(6) << 30) + 0x3000, rd, NULL), 0);
	s2_close(&s);
}

static void
test_stage2_record_and_stall(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;
	uint16_t stag;

	(void)state;
	s2_open(&s, NULL, SMMUV3_STE_S2);
	*s2_get_pte(&s, S2_DATA) = 0;
	/* S2S = 0, S2R = 0: an abort without a record. */
	s2_change_ste(&s, 2, SMMUV3_STE2_S2R, 0);
	assert_int_equal(rig_access(&s.r, s.dma, SMMUV3_MODEL_READ, S2_DATA, walk_buf, 8),
			SMMUV3_MODEL_ABORTED);
	assert_false(rig_take_evt(&s.r, &evt));
	/* S2S: a stall with a record, whatever S2R. */
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2S);
	for (unsigned int k = 0; k < 3; k++) {
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_WRITE, S2_DATA + 8, walk_buf, 8);
		assert_int_equal(rig_poll(&s.r, s.dma), 0);
		assert_true(rig_take_evt(&s.r, &evt));
		stag = (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]);
		assert_int_equal(evt.dw[1], SMMUV3_EVT1_STALL | stag |
				UINT64_C(0x0000028000000000));
		assert_int_equal(evt.dw[2], S2_DATA + 8);
		assert_int_equal(evt.dw[3], S2_DATA);
		if (k == 2)
			s2_map(&s, S2_DATA, RIG_DATA, S2_RW);
		rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, stag, k == 2, k == 0));
		assert_int_equal(rig_poll(&s.r, s.dma), 1);
		assert_int_equal(s.r.done[0].status, k == 2 ? SMMUV3_MODEL_OK :
				k == 1 ? SMMUV3_MODEL_RAZWI : SMMUV3_MODEL_ABORTED);
	}
	s2_close(&s);
}

/* An early retry that faults at stage 2 again leaves the stall; one that succeeds ends it. */
static void
test_stage2_early_retry(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .stall_max = 4,
			.choices = SMMUV3_MODEL_EARLY_RETRY }, SMMUV3_STE_S2);
	*s2_get_pte(&s, S2_DATA) = 0;
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2S);
	rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_DATA, walk_buf, 8);
	for (unsigned int i = 0; i < 1000; i++)
		smmuv3_model_step(s.r.m, 4);
	assert_int_equal(rig_poll(&s.r, s.dma), 0);
	assert_true(rig_take_evt(&s.r, &evt));
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_STALL, evt.dw[1]), 1);
	s2_map(&s, S2_DATA, RIG_DATA, S2_RW);
	for (unsigned int i = 0; i < 1000; i++)
		smmuv3_model_step(s.r.m, 4);
	assert_int_equal(rig_poll(&s.r, s.dma), 1);
	assert_int_equal(s.r.done[0].status, SMMUV3_MODEL_OK);
	assert_false(rig_take_evt(&s.r, &evt));
	rig_send(&s.r, smmuv3_cmd_resume(RIG_SID, (uint16_t)SMMUV3_GET(SMMUV3_EVT1_STAG, evt.dw[1]),
			true, false));
	s2_close(&s);
}

/* A client that cannot stall: S2S acts as S2R. */
static void
test_stage2_no_stall_support(void **state)
{
	struct s2_rig s;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_NO_STALL_SUPPORT },
			SMMUV3_STE_S2);
	*s2_get_pte(&s, S2_DATA) = 0;
	s2_change_ste(&s, 2, SMMUV3_STE2_S2R, SMMUV3_STE2_S2S);
	s2_expect_fault(&s, S2_DATA, rd, SMMUV3_F_TRANSLATION, CLASS_IN, S2_DATA);
	s2_close(&s);
}

/* Two words of the STE change without an invalid STE in between: the SMMU may see a mixture. */
static void
test_stage2_torn_fetch_mixes_the_words(void **state)
{
	unsigned int mixed = 0;

	(void)state;
	for (uint32_t seed = 1; seed <= 100; seed++) {
		struct smmuv3_evt evt;
		struct s2_rig s;
		uint64_t *other;

		s2_open(&s, &(struct smmuv3_model_conf){ .seed = seed,
				.choices = SMMUV3_MODEL_TORN_FETCH }, SMMUV3_STE_S2);
		other = rig_alloc(&s.r, 8192, 8192);
		rig_submit(&s.r, s.dma, SMMUV3_MODEL_READ, S2_DATA, walk_buf, 8);
		for (uint32_t i = 0; i < 2 + seed % 6; i++)
			smmuv3_model_step(s.r.m, 4);
		/* Word 2 has no record, word 3 an empty table. */
		s.ste.dw[2] &= ~SMMUV3_STE2_S2R;
		s.ste.dw[3] = rig_get_addr(&s.r, other);
		smmuv3_set_dw(&rig_get_ste(&s.r, RIG_SID)->dw[2], s.ste.dw[2]);
		smmuv3_set_dw(&rig_get_ste(&s.r, RIG_SID)->dw[3], s.ste.dw[3]);
		assert_int_equal(rig_poll(&s.r, s.dma), 1);
		/* The old word 2 with the new word 3: a record of an access that never was one. */
		if (rig_take_evt(&s.r, &evt)) {
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_TRANSLATION);
			mixed++;
		}
		/* After CFGI, TLBI and SYNC only the new STE. */
		rig_flush(&s.r);
		assert_int_equal(rig_access(&s.r, s.dma, SMMUV3_MODEL_READ, S2_DATA, walk_buf, 8),
				SMMUV3_MODEL_ABORTED);
		assert_false(rig_take_evt(&s.r, &evt));
		s2_close(&s);
	}
	assert_true(mixed > 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_stage2_exists_only_when_configured),
	cmocka_unit_test(test_stage2_commands),
	cmocka_unit_test(test_stage2_ste_legality),
	cmocka_unit_test(test_stage2_start_levels_and_concatenated_tables),
	cmocka_unit_test(test_stage2_input_beyond_ias_is_an_address_size_fault_of_stage_1),
	cmocka_unit_test(test_stage2_a_substream_is_refused),
	cmocka_unit_test(test_stage2_faults_and_their_order),
	cmocka_unit_test(test_stage2_permissions),
	cmocka_unit_test(test_stage2_blocks),
	cmocka_unit_test(test_stage2_record_and_stall),
	cmocka_unit_test(test_stage2_early_retry),
	cmocka_unit_test(test_stage2_no_stall_support),
	cmocka_unit_test(test_stage2_torn_fetch_mixes_the_words),
};

TEST_SUITE(model_stage2, tests, NULL, NULL);
