/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* TLB entries with VMIDs and IPAs: the reach of each TLBI, and the oracle. */

#include <stdlib.h>
#include <string.h>

#include "../../../drivers/smmuv3_model/model_oracle.h"
#include "../../../drivers/smmuv3_model/model_tlb.h"
#include "s2_rig.h"
#include "test.h"

#define STICKY	.choices = SMMUV3_MODEL_STICKY_TLB

/* StreamIDs with the rig's CD, or its stage 2. Those of VMID 9 share the tables. */
enum { ALONE2 = 16, ALONE1, BOTH_9, ALONE2_9, NB_SIDS = 5 };

struct vm_rig {
	struct s2_rig s;
	struct smmuv3_model_dma *dma[NB_SIDS];	/* [0] is both stages of S2_VMID */
};

static const struct { unsigned int sid, config; uint16_t vmid; uint64_t va; } kinds[NB_SIDS] = {
	{ RIG_SID, SMMUV3_STE_S1_S2, S2_VMID, S2_VA },
	{ ALONE2, SMMUV3_STE_S2, S2_VMID, S2_DATA + 0x1000 },
	{ ALONE1, SMMUV3_STE_S1, S2_VMID, 0x7000 },
	{ BOTH_9, SMMUV3_STE_S1_S2, 9, S2_VA },
	{ ALONE2_9, SMMUV3_STE_S2, 9, S2_DATA + 0x1000 },
};

/* Stage 1 alone has its own CD, with addresses, and ASID 6. */
static void
vm_open(struct vm_rig *v, const struct smmuv3_model_conf *conf)
{
	struct smmuv3_cd *cd;

	s2_open(&v->s, conf, SMMUV3_STE_S1_S2);
	v->dma[0] = v->s.dma;
	cd = rig_alloc(&v->s.r, sizeof(*cd), 64);
	*cd = rig_make_cd(&v->s.r, RIG_ASID + 1);
	cd->dw[0] &= ~(uint64_t)SMMUV3_CD0_S;
	rig_map(&v->s.r, 0x7000, RIG_DATA, RIG_RW);
	for (unsigned int i = 1; i < NB_SIDS; i++) {
		struct smmuv3_ste ste = { .dw = { SMMUV3_STE0_V |
			SMMUV3_PUT(SMMUV3_STE0_CONFIG, kinds[i].config) } };

		s2_fill_ste(&v->s, &ste, kinds[i].vmid);
		if (kinds[i].config != SMMUV3_STE_S2)
			ste.dw[0] |= kinds[i].config == SMMUV3_STE_S1 ?
				rig_get_addr(&v->s.r, cd) : s2_get_ipa(&v->s, v->s.cd);
		rig_set_ste(&v->s.r, kinds[i].sid, &ste);
		v->dma[i] = rig_add_dma(&v->s.r, kinds[i].sid, -1);
	}
}

static void
vm_close(struct vm_rig *v)
{
	for (unsigned int i = 1; i < NB_SIDS; i++)
		smmuv3_model_dma_destroy(v->dma[i]);
	s2_close(&v->s);
}

/* Bit i: the access of kind i succeeds. */
static unsigned int
probe(struct vm_rig *v)
{
	unsigned int ok = 0;

	for (unsigned int i = 0; i < NB_SIDS; i++)
		if (walk_access(&v->s.r, v->dma[i], kinds[i].va, rd, NULL) == 0)
			ok |= 1u << i;
	return ok;
}

static void
set_pages(struct vm_rig *v, bool mapped)
{
	/* Both stages and stage 2 alone use other pages. */
	smmuv3_set_dw(s2_get_pte(&v->s, S2_DATA), mapped ? RIG_DATA | S2_RW | 3 : 0);
	smmuv3_set_dw(s2_get_pte(&v->s, S2_DATA + 0x1000), mapped ? RIG_DATA | S2_RW | 3 : 0);
	smmuv3_set_dw(rig_get_pte(&v->s.r, v->s.r.ttb0, 0x7000), mapped ? RIG_DATA | RIG_RW | 3 :
			0);
}

enum { BOTH = 1, S2 = 2, S1 = 4, BOTH9 = 8, S2_9 = 16, ALL = 31 };

static void
test_s2_tlb_reach_of_each_command(void **state)
{
	const struct {
		struct smmuv3_cmd cmd[2];
		unsigned int removed;
	} rows[] = {
		{ { smmuv3_cmd_tlbi_nsnh_all() }, ALL },
		{ { smmuv3_cmd_tlbi_s12_vmall(S2_VMID) }, BOTH | S2 | S1 },
		{ { smmuv3_cmd_tlbi_s12_vmall(9) }, BOTH9 | S2_9 },
		{ { smmuv3_cmd_tlbi_s12_vmall(8) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_all(S2_VMID) }, BOTH | S1 },
		{ { smmuv3_cmd_tlbi_nh_all(9) }, BOTH9 },
		{ { smmuv3_cmd_tlbi_nh_all(0) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_asid(S2_VMID, RIG_ASID) }, BOTH },
		{ { smmuv3_cmd_tlbi_nh_asid(S2_VMID, RIG_ASID + 1) }, S1 },
		{ { smmuv3_cmd_tlbi_nh_asid(9, RIG_ASID) }, BOTH9 },
		{ { smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, S2_VA, true) }, BOTH },
		{ { smmuv3_cmd_tlbi_nh_va(9, RIG_ASID, S2_VA, false) }, BOTH9 },
		{ { smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID + 1, S2_VA, true) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, S2_VA + 4096, true) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, S2_DATA, true) }, 0 },
		{ { smmuv3_cmd_tlbi_nh_vaa(S2_VMID, S2_VA, true) }, BOTH },
		{ { smmuv3_cmd_tlbi_nh_vaa(S2_VMID, 0x7000, true) }, S1 },
		{ { smmuv3_cmd_tlbi_nh_vaa(9, S2_VA, true) }, BOTH9 },
		/* TLBI_S2_IPA reaches entries of stage 2 alone. */
		{ { smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA + 0x1000, true) }, S2 },
		{ { smmuv3_cmd_tlbi_s2_ipa(9, S2_DATA + 0x1000, false) }, S2_9 },
		{ { smmuv3_cmd_tlbi_s2_ipa(8, S2_DATA + 0x1000, false) }, 0 },
		{ { smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA + 0x2000, false) }, 0 },
		{ { smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true) }, 0 },
		{ { smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_VA, true) }, 0 },
		/* Ranges, with TG and TTL. */
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_4K, 1, 0,
			0) }, S2 },
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_4K, 1, 0,
			3) }, S2 },
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_4K, 31, 9,
			2) }, 0 },
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_64K, 1, 0,
			0) }, 0 },
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_4K, 0, 0,
			3) }, 0 },
		/* The two that a change of stage 2 needs. */
		{ { smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, S2_DATA, true, SMMUV3_TLBI_TG_4K, 1, 0,
			3), smmuv3_cmd_tlbi_nh_all(S2_VMID) }, BOTH | S2 | S1 },
	};
	struct vm_rig v;

	(void)state;
	for (unsigned int late = 0; late < 2; late++) {
		vm_open(&v, &(struct smmuv3_model_conf){ STICKY,
				.harsh = late ? SMMUV3_MODEL_HARSH_LATE : 0 });
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			unsigned int left;

			set_pages(&v, true);
			rig_flush(&v.s.r);
			assert_int_equal(probe(&v), ALL);
			set_pages(&v, false);
			assert_int_equal(probe(&v), ALL);
			rig_send(&v.s.r, rows[i].cmd[0]);
			if (rows[i].cmd[1].dw[0] != 0)
				rig_send(&v.s.r, rows[i].cmd[1]);
			/* A late invalidation waits for its SYNC. */
			if (late)
				assert_int_equal(probe(&v), ALL);
			/*
			 * NH_* removes the entry of both stages, but the walk then finds the page
			 * in the entries of stage 2, unless they are removed too.
			 */
			rig_send(&v.s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true));
			rig_send(&v.s.r, smmuv3_cmd_tlbi_s2_ipa(9, S2_DATA, true));
			rig_sync(&v.s.r);
			left = probe(&v);
			if (left != (ALL & ~rows[i].removed))
				fail_msg("row %zu: left 0x%x, removed 0x%x", i, left,
						rows[i].removed);
		}
		vm_close(&v);
	}
}

/* Global entries belong to their VMID. */
static void
test_s2_tlb_global_entries_have_a_vmid(void **state)
{
	struct vm_rig v;

	(void)state;
	vm_open(&v, &(struct smmuv3_model_conf){ STICKY });
	s2_map_s1(&v.s, S2_VA, S2_DATA, RIG_RW & ~RIG_NG);
	assert_int_equal(probe(&v), ALL);
	set_pages(&v, false);
	rig_send(&v.s.r, smmuv3_cmd_tlbi_nh_asid(S2_VMID, RIG_ASID));
	rig_send(&v.s.r, smmuv3_cmd_tlbi_nh_va(9, RIG_ASID + 3, S2_VA, true));
	rig_send(&v.s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true));
	rig_send(&v.s.r, smmuv3_cmd_tlbi_s2_ipa(9, S2_DATA, true));
	rig_sync(&v.s.r);
	assert_int_equal(probe(&v), ALL & ~BOTH9);
	vm_close(&v);
}

/* Stage 2 divides a block of stage 1: any address of the block removes all parts. */
static void
test_s2_tlb_parts_of_a_stage_1_block_go_together(void **state)
{
	const uint64_t va = S2_VA & ~SMMUV3_BITS(20, 0);
	struct s2_rig s;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ STICKY }, SMMUV3_STE_S1_S2);
	/* A block of 2 MiB at level 2, in place of the table. */
	for (unsigned int k = 0; k < 4; k++) {
		uint64_t *l1 = rig_get_ptr(&s.r, (s.ttb1[(va >> 39) & 511] & SMMUV3_BITS(47, 12)) -
				S2_OFF);
		uint64_t *l2 = rig_get_ptr(&s.r, (l1[(va >> 30) & 511] & SMMUV3_BITS(47, 12)) -
				S2_OFF);
		uint64_t *e = &l2[(va >> 21) & 511];

		smmuv3_set_dw(e, S2_DATA | RIG_RW | 1);
		rig_flush(&s.r);
		s.r.data[0x3004] = 3;
		s.r.data[0x1f0004] = 4;
		assert_int_equal(s2_access(&s, va + 0x3000, rd, NULL), 0);
		assert_int_equal(walk_buf[4], 3);
		assert_int_equal(s2_access(&s, va + 0x1f0000, rd, NULL), 0);
		assert_int_equal(walk_buf[4], 4);
		smmuv3_set_dw(e, 0);
		if (k == 0)
			rig_send(&s.r, smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, va, true));
		else if (k == 1)
			rig_send(&s.r, smmuv3_cmd_tlbi_nh_va_range(S2_VMID, RIG_ASID, va, true,
					SMMUV3_TLBI_TG_4K, 0, 0, 2));
		else if (k == 2)
			rig_send(&s.r, smmuv3_cmd_tlbi_nh_vaa(S2_VMID, va + 0x7000, true));
		else
			rig_send(&s.r, smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, va + (2 << 20),
					true));
		rig_sync(&s.r);
		assert_int_equal(s2_access(&s, va + 0x3000, rd, NULL), k == 3 ? 0 :
				SMMUV3_F_TRANSLATION);
		assert_int_equal(s2_access(&s, va + 0x1f0000, rd, NULL), k == 3 ? 0 :
				SMMUV3_F_TRANSLATION);
	}
	s2_close(&s);
}

/* The cached pointers to last-level tables: Leaf, VMID, and the stage of the command. */
static void
test_s2_tlb_cached_table_pointers(void **state)
{
	struct s2_rig s;

	(void)state;
	for (unsigned int k = 0; k < 6; k++) {
		const struct smmuv3_cmd cmd[] = {
			smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true),
			smmuv3_cmd_tlbi_s2_ipa(9, S2_DATA, false),
			smmuv3_cmd_tlbi_nh_all(S2_VMID),
			smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, false),
			smmuv3_cmd_tlbi_s12_vmall(S2_VMID),
			smmuv3_cmd_tlbi_nsnh_all(),
		};
		uint64_t *table;

		s2_open(&s, &(struct smmuv3_model_conf){ STICKY }, SMMUV3_STE_S2);
		assert_int_equal(s2_access(&s, S2_DATA, rd, NULL), 0);
		/* The table of level 3 goes. Its other page is reached through the pointer only. */
		table = rig_get_ptr(&s.r, s.ttb2[(S2_DATA >> 30) & 1023] & SMMUV3_BITS(47, 12));
		smmuv3_set_dw(&table[(S2_DATA >> 21) & 511], 0);
		rig_send(&s.r, cmd[k]);
		rig_sync(&s.r);
		assert_int_equal(s2_access(&s, S2_DATA + 0x9000, rd, NULL), k < 3 ? 0 :
				SMMUV3_F_TRANSLATION);
		s2_close(&s);
	}
	/* The same of stage 1 behind stage 2. */
	for (unsigned int k = 0; k < 5; k++) {
		const struct smmuv3_cmd cmd[] = {
			smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, S2_VA, true),
			smmuv3_cmd_tlbi_nh_all(9),
			smmuv3_cmd_tlbi_s2_ipa_range(S2_VMID, 0, false, SMMUV3_TLBI_TG_4K, 31, 23,
					0),
			smmuv3_cmd_tlbi_nh_va(S2_VMID, RIG_ASID, S2_VA, false),
			smmuv3_cmd_tlbi_nh_all(S2_VMID),
		};

		s2_open(&s, &(struct smmuv3_model_conf){ STICKY }, SMMUV3_STE_S1_S2);
		s2_map_s1(&s, S2_VA + 4096, S2_DATA, RIG_RW);
		assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
		s.ttb1[(S2_VA >> 39) & 511] = 0;
		rig_send(&s.r, cmd[k]);
		rig_sync(&s.r);
		assert_int_equal(s2_access(&s, S2_VA + 4096, rd, NULL), k < 3 ? 0 :
				SMMUV3_F_TRANSLATION);
		s2_close(&s);
	}
}

/* The oracle alone: it knows VMIDs, IPAs, and the two kinds of entries. */
static void
test_s2_tlb_oracle_knows_the_reach(void **state)
{
	const uint32_t both = 7u << 16 | 5, alone = 7u << 16 | 0xffff;
	const struct {
		struct smmuv3_inv inv;
		bool leaf, ipa, table;
	} rows[] = {
		{ { .kind = SMMUV3_INV_TLB_ALL }, true, true, true },
		{ { .kind = SMMUV3_INV_TLB_VM, .space = alone }, true, true, true },
		{ { .kind = SMMUV3_INV_TLB_VM, .space = 0xffff }, false, false, false },
		{ { .kind = SMMUV3_INV_TLB_VM_S1, .space = alone }, true, false, false },
		{ { .kind = SMMUV3_INV_TLB_VM_S1, .space = 8u << 16 }, false, false, false },
		{ { .kind = SMMUV3_INV_TLB_ASID, .space = both }, true, false, false },
		{ { .kind = SMMUV3_INV_TLB_ASID, .space = 5 }, false, false, false },
		{ { .kind = SMMUV3_INV_TLB_VAA, .space = alone, .last = 0xffff }, true, false,
			false },
		{ { .kind = SMMUV3_INV_TLB_VAA, .space = 0xffff, .last = 0xffff }, false, false,
			false },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = alone, .last = 0xffff }, false, true,
			true },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = alone, .leaf = true, .last = 0xffff },
			false, true, false },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = 0xffff, .last = 0xffff }, false, false,
			false },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = alone, .va = 0x2000, .last = 0x2fff },
			false, false, true },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = alone, .tg = 16, .last = 0xffff }, false,
			false, false },
		{ { .kind = SMMUV3_INV_TLB_IPA, .space = alone, .tg = 12, .ttl = 2,
			.last = 0xffff }, false, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_tlb_entry e = { .space = alone, .shift = 12, .level = 3,
			.gran = 12, .vpn = 1 };
		struct smmuv3_oracle *o = calloc(1, sizeof(*o));
		uint64_t checked = 0;
		unsigned int n;

		assert_non_null(o);
		smmuv3_oracle_note_invalidation(o, &rows[i].inv);
		smmuv3_oracle_check_ipa(o, &e, 0x1000);
		assert_int_equal(atomic_load(&o->log.nb), 0);
		smmuv3_oracle_note_sync(o, 0);
		smmuv3_oracle_check_leaf(o, &checked, both, false, 12, 3, 12, 0x1000);
		n = atomic_load(&o->log.nb);
		if (n != rows[i].leaf)
			fail_msg("row %zu: leaf %u", i, n);
		smmuv3_oracle_check_ipa(o, &e, 0x1000);
		if (atomic_load(&o->log.nb) - n != rows[i].ipa)
			fail_msg("row %zu: IPA", i);
		n = atomic_load(&o->log.nb);
		checked = 0;
		smmuv3_oracle_check_s2_table(o, &checked, alone, 12, 21, 0x1000);
		if (atomic_load(&o->log.nb) - n != rows[i].table)
			fail_msg("row %zu: table", i);
		assert_int_equal(checked, 1);
		free(o);
	}
}

/* A VMID that is used again for other tables without a TLBI. */
static void
test_s2_tlb_reuse_of_a_vmid_is_reported(void **state)
{
	static const unsigned int configs[] = { SMMUV3_STE_S2, SMMUV3_STE_S1_S2 };

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		uint64_t *other;
		struct s2_rig s;
		uint64_t va;

		s2_open(&s, &(struct smmuv3_model_conf){ STICKY,
				.harsh = SMMUV3_MODEL_HARSH_ASIDS }, configs[k % 2]);
		va = k % 2 ? S2_VA : S2_DATA;
		assert_int_equal(s2_access(&s, va, rd, NULL), 0);
		other = rig_alloc(&s.r, 8192, 8192);
		memcpy(other, s.ttb2, 8192);
		s2_change_ste(&s, 3, SMMUV3_STE3_S2TTB, rig_get_addr(&s.r, other));
		if (k >= 2) {
			rig_send(&s.r, smmuv3_cmd_tlbi_s12_vmall(S2_VMID));
			rig_sync(&s.r);
		}
		assert_int_equal(s2_access(&s, va, rd, NULL), 0);
		if (k < 2)
			assert_true(smmuv3_model_oracle_errors(s.r.m) > 0);
		else
			assert_int_equal(smmuv3_model_oracle_errors(s.r.m), 0);
		if (k == 0)
			assert_non_null(strstr(smmuv3_model_oracle_error(s.r.m, 0),
					"VMID 7 has table"));
		if (k == 1)
			assert_non_null(strstr(smmuv3_model_oracle_error(s.r.m,
					smmuv3_model_oracle_errors(s.r.m) - 1),
					"does not come from"));
		smmuv3_model_oracle_errors_clear(s.r.m);
		s2_close(&s);
	}
}

/* Frames of tables and data that were freed without the TLBI. */
static void
test_s2_tlb_freed_frames_are_reported(void **state)
{
	uint64_t pa, *pte;
	struct s2_rig s;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ STICKY }, SMMUV3_STE_S1_S2);
	/* A page of data: without TLBI_NH_*, the entry of both stages still reaches it. */
	assert_int_equal(smmuv3_model_frame_give(s.r.m, RIG_DATA, 4096, 1), 0);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	*s2_get_pte(&s, S2_DATA) = 0;
	rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(S2_VMID, S2_DATA, true));
	rig_sync(&s.r);
	assert_int_equal(smmuv3_model_frame_free(s.r.m, RIG_DATA, 4096), 0);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	rig_expect_oracle(&s.r, "a read of SID 8");
	rig_send(&s.r, smmuv3_cmd_tlbi_nh_vaa(S2_VMID, S2_VA, true));
	rig_sync(&s.r);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_TRANSLATION, SMMUV3_CLASS_IN, S2_DATA);
	/* A table of stage 2. */
	pte = s2_get_pte(&s, S2_DATA);
	pa = rig_get_addr(&s.r, pte) & ~UINT64_C(0xfff);
	assert_int_equal(smmuv3_model_frame_give(s.r.m, pa, 4096, 0), 0);
	assert_int_equal(smmuv3_model_frame_free(s.r.m, pa, 4096), 0);
	s2_expect_fault(&s, S2_VA, rd, SMMUV3_F_TRANSLATION, SMMUV3_CLASS_IN, S2_DATA);
	rig_expect_oracle(&s.r, "a stage-2 table walk of SID 8");
	s2_close(&s);
}

/* HARSH_REPORT: an entry of both stages outlives the TLBI_S2_IPA of its IPA. */
static void
test_s2_tlb_entry_of_both_stages_that_outlives_is_reported(void **state)
{
	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		struct s2_rig s;

		s2_open(&s, &(struct smmuv3_model_conf){ STICKY,
				.harsh = SMMUV3_MODEL_HARSH_REPORT }, SMMUV3_STE_S1_S2);
		assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
		rig_send(&s.r, smmuv3_cmd_tlbi_s2_ipa(k == 2 ? 9 : S2_VMID, S2_DATA +
				(k == 1 ? 4096 : 0), true));
		if (k == 3)
			rig_send(&s.r, smmuv3_cmd_tlbi_nh_all(S2_VMID));
		rig_sync(&s.r);
		assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
		assert_int_equal(smmuv3_model_silent_reports(s.r.m), k == 0);
		if (k == 0)
			assert_non_null(strstr(smmuv3_model_silent_report(s.r.m, 0),
					"without a TLBI of stage 1"));
		/* Once. */
		assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
		assert_int_equal(smmuv3_model_silent_reports(s.r.m), k == 0);
		s2_close(&s);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_s2_tlb_reach_of_each_command),
	cmocka_unit_test(test_s2_tlb_global_entries_have_a_vmid),
	cmocka_unit_test(test_s2_tlb_parts_of_a_stage_1_block_go_together),
	cmocka_unit_test(test_s2_tlb_cached_table_pointers),
	cmocka_unit_test(test_s2_tlb_oracle_knows_the_reach),
	cmocka_unit_test(test_s2_tlb_reuse_of_a_vmid_is_reported),
	cmocka_unit_test(test_s2_tlb_freed_frames_are_reported),
	cmocka_unit_test(test_s2_tlb_entry_of_both_stages_that_outlives_is_reported),
};

TEST_SUITE(model_s2_tlb, tests, NULL, NULL);
