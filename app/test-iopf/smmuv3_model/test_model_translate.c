/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's walker and permissions. */

#include <string.h>

#include "test.h"
#include "walk_rig.h"

/* Change the first word of the CD and let the change take effect. */
static void
change_cd0(struct rig *r, uint64_t clear, uint64_t set)
{
	smmuv3_set_dw(&r->cd->dw[0], (r->cd->dw[0] & ~clear) | set);
	rig_flush(r);
}

static void
test_translate_every_granule_level_and_half(void **state)
{
	static const struct {
		unsigned int gran, start, level, tg0, tg1;
	} rows[] = {
		{ 12, 0, 3, SMMUV3_TG0_4K, SMMUV3_TG1_4K },
		{ 12, 0, 2, SMMUV3_TG0_4K, SMMUV3_TG1_4K },
		{ 12, 0, 1, SMMUV3_TG0_4K, SMMUV3_TG1_4K },
		{ 14, 0, 3, SMMUV3_TG0_16K, SMMUV3_TG1_16K },
		{ 14, 0, 2, SMMUV3_TG0_16K, SMMUV3_TG1_16K },
		{ 16, 1, 3, SMMUV3_TG0_64K, SMMUV3_TG1_64K },
		{ 16, 1, 2, SMMUV3_TG0_64K, SMMUV3_TG1_64K },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (unsigned int half = 0; half < 2; half++) {
			unsigned int shift = rows[i].gran + (3 - rows[i].level) *
				(rows[i].gran - 3);
			uint64_t size = UINT64_C(1) << shift;
			uint64_t va = half ? UINT64_C(0xffff) << 48 | UINT64_C(0x123) << 39 :
				UINT64_C(0x123) << 38;
			uint64_t pa = RIG_DATA & ~(size - 1);
			struct smmuv3_model_dma *dma;
			uint64_t *table, *e;
			struct rig r;

			dma = walk_open(&r, NULL);
			/* A granule that the first level may use in full. */
			table = rig_alloc(&r, 65536, 65536);
			change_cd0(&r, SMMUV3_CD0_TG0 | SMMUV3_CD0_EPD1, SMMUV3_PUT(SMMUV3_CD0_TG0,
					rows[i].tg0) | SMMUV3_PUT(SMMUV3_CD0_TG1, rows[i].tg1) |
					SMMUV3_PUT(SMMUV3_CD0_T1SZ, 16) |
					SMMUV3_PUT(SMMUV3_CD0_EPD0, half) |
					SMMUV3_PUT(SMMUV3_CD0_EPD1, !half));
			smmuv3_set_dw(&r.cd->dw[1 + half], rig_get_addr(&r, table));
			rig_flush(&r);
			e = rig_get_entry(&r, table, rows[i].gran, rows[i].start, rows[i].level,
					va);
			*e = pa | RIG_RW | (rows[i].level == 3 ? 3 : 1);
			memset(r.data, 0x10 + i, RIG_DATA_LEN);
			memset(walk_buf, 0, sizeof(walk_buf));
			/*
			 * An address inside the data window, because a block may be larger than the
			 * window.
			 */
			va |= RIG_DATA - pa;
			assert_int_equal(walk_access(&r, dma, va, rd, NULL), 0);
			assert_int_equal(walk_buf[0], 0x10 + i);
			assert_int_equal(walk_access(&r, dma, va + 4096 - 8, rd, NULL), 0);
			assert_int_equal(walk_access(&r, dma, va ^ size, rd, NULL),
					SMMUV3_F_TRANSLATION);
			/* The other half is disabled. */
			assert_int_equal(walk_access(&r, dma, ~va & ~UINT64_C(7), rd, NULL),
					SMMUV3_F_TRANSLATION);
			walk_close(&r, dma);
		}
	}
}

static void
test_translate_short_ranges_start_lower(void **state)
{
	/* T0SZ 25, 4K: 39 bits, level 1. T0SZ 34: 30 bits, level 2. T0SZ 39: 25 bits. */
	static const struct { unsigned int tsz, start; } rows[] = { {25, 1}, {34, 2}, {39, 2} };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint64_t va = (UINT64_C(1) << (64 - rows[i].tsz)) - 4096;
		struct smmuv3_model_dma *dma;
		uint64_t *table, *e;
		struct rig r;

		dma = walk_open(&r, NULL);
		table = rig_alloc(&r, 4096, 4096);
		change_cd0(&r, SMMUV3_CD0_T0SZ, rows[i].tsz);
		smmuv3_set_dw(&r.cd->dw[1], rig_get_addr(&r, table));
		rig_flush(&r);
		e = rig_get_entry(&r, table, 12, rows[i].start, 3, va);
		*e = RIG_DATA | RIG_RW | 3;
		assert_int_equal(walk_access(&r, dma, va, rd, NULL), 0);
		/* One bit beyond the range. */
		assert_int_equal(walk_access(&r, dma, va + (UINT64_C(1) << (64 - rows[i].tsz)), rd,
				NULL), SMMUV3_F_TRANSLATION);
		walk_close(&r, dma);
	}
}

static void
test_translate_top_byte_is_ignored_by_tbi_only(void **state)
{
	const uint64_t tag = UINT64_C(0xa5) << 56;
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = walk_open(&r, NULL);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	assert_int_equal(walk_access(&r, dma, tag | 0x1000, rd, NULL), SMMUV3_F_TRANSLATION);
	change_cd0(&r, 0, SMMUV3_CD0_TBI0);
	assert_int_equal(walk_access(&r, dma, tag | 0x1000, rd, NULL), 0);
	/* The record has the top byte. */
	assert_int_equal(walk_access(&r, dma, tag | 0x2000, rd, &evt), SMMUV3_F_TRANSLATION);
	assert_int_equal(evt.dw[2], tag | 0x2000);
	/* Bits 55..48 are not ignored. */
	assert_int_equal(walk_access(&r, dma, UINT64_C(1) << 48 | 0x1000, rd, NULL),
			SMMUV3_F_TRANSLATION);
	walk_close(&r, dma);
}

static void
test_translate_reserved_and_invalid_descriptors(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	dma = walk_open(&r, NULL);
	/* A "block" at level 3, a block at level 0. */
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	*rig_get_pte(&r, r.ttb0, 0x1000) = RIG_DATA | RIG_RW | 1;
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_TRANSLATION);
	r.ttb0[3] = RIG_RW | 1;
	assert_int_equal(walk_access(&r, dma, UINT64_C(3) << 39, rd, NULL), SMMUV3_F_TRANSLATION);
	walk_close(&r, dma);
}

static void
test_translate_fault_order_within_a_walk(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	uint64_t *pte;
	struct rig r;

	(void)state;
	dma = walk_open(&r, &(struct smmuv3_model_conf){ .oas_bits = 40 });
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	pte = rig_get_pte(&r, r.ttb0, 0x1000);
	/* Too large, AF clear, read-only: first F_ADDR_SIZE, then F_ACCESS, then F_PERMISSION. */
	*pte = UINT64_C(1) << 40 | RIG_NG | RIG_UNPRIV | RIG_RO | 3;
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), SMMUV3_F_ADDR_SIZE);
	*pte = RIG_DATA | RIG_NG | RIG_UNPRIV | RIG_RO | 3;
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), SMMUV3_F_ACCESS);
	*pte = RIG_DATA | RIG_AF | RIG_NG | RIG_UNPRIV | RIG_RO | 3;
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, &evt), SMMUV3_F_PERMISSION);
	/* A write of an unprivileged client: RnW 0, CLASS IN */
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020000000000));
	/* AFFD = 1: AF has no effect. */
	*pte = RIG_DATA | RIG_NG | RIG_UNPRIV | 3;
	change_cd0(&r, 0, SMMUV3_CD0_AFFD);
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, NULL), 0);
	/* A table pointer beyond IPS. */
	r.ttb0[1] = UINT64_C(1) << 40 | 3;
	assert_int_equal(walk_access(&r, dma, UINT64_C(1) << 39, rd, NULL), SMMUV3_F_ADDR_SIZE);
	/* CD.IPS below OAS is the limit; above OAS it has no effect. */
	*pte = UINT64_C(1) << 36 | RIG_RW | 3;
	change_cd0(&r, SMMUV3_CD0_IPS, SMMUV3_PUT(SMMUV3_CD0_IPS, 1));
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_ADDR_SIZE);
	walk_close(&r, dma);
}

static void
test_translate_walk_abort_names_the_descriptor(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	dma = walk_open(&r, NULL);
	/* With CD.S too: such a fault never stalls. */
	change_cd0(&r, 0, SMMUV3_CD0_S);
	r.ttb0[2] = UINT64_C(0x7000000000) | 3;
	assert_int_equal(walk_access(&r, dma, UINT64_C(2) << 39 | UINT64_C(5) << 30, rd, &evt),
			SMMUV3_F_WALK_EABT);
	/* RnW, CLASS = TT */
	assert_int_equal(evt.dw[1], UINT64_C(0x0000010800000000));
	assert_int_equal(evt.dw[2], UINT64_C(2) << 39 | UINT64_C(5) << 30);
	assert_int_equal(evt.dw[3], UINT64_C(0x7000000028));
	walk_close(&r, dma);
}

/* AP, UXN, PXN, WXN, PAN. Bits of `ok`: r w x, unprivileged then privileged. */
static void
test_translate_permissions(void **state)
{
	enum { UR = 1, UW = 2, UX = 4, PR = 8, PW = 16, PX = 32 };
	static const struct {
		uint64_t attrs, table, cd;
		unsigned int ok;
	} rows[] = {
		/*
		 * Privileged code does not execute from a page that is writable without privilege.
		 */
		{ RIG_UNPRIV, 0, 0, UR | UW | UX | PR | PW },
		{ RIG_UNPRIV | RIG_RO, 0, 0, UR | UX | PR | PX },
		{ 0, 0, 0, PR | PW | PX },
		{ RIG_RO, 0, 0, PR | PX },
		{ RIG_UNPRIV | RIG_UXN, 0, 0, UR | UW | PR | PW },
		{ RIG_UNPRIV | RIG_RO | RIG_PXN, 0, 0, UR | UX | PR },
		{ RIG_UNPRIV, 0, SMMUV3_CD0_WXN, UR | UW | PR | PW },
		{ 0, 0, SMMUV3_CD0_WXN, PR | PW },
		{ RIG_UNPRIV | RIG_RO, 0, SMMUV3_CD0_WXN, UR | UX | PR | PX },
		{ RIG_UNPRIV | RIG_RO, 0, SMMUV3_CD0_PAN, UR | UX | PX },
		{ RIG_UNPRIV, UINT64_C(1) << 61, 0, PR | PW | PX },
		{ RIG_UNPRIV, UINT64_C(2) << 61, 0, UR | UX | PR | PX },
		{ RIG_UNPRIV, UINT64_C(3) << 61, 0, PR | PX },
		{ RIG_UNPRIV | RIG_RO, UINT64_C(1) << 60, 0, UR | PR | PX },
		{ RIG_UNPRIV | RIG_RO, UINT64_C(1) << 59, 0, UR | UX | PR },
	};
	static const struct walk_how hows[6] = {
		{ 0 }, { .write = true }, { .instr = true },
		{ .priv = true }, { .priv = true, .write = true }, { .priv = true, .instr = true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct smmuv3_model_dma *dma;
		struct rig r;

		dma = walk_open(&r, NULL);
		rig_map(&r, 0x1000, RIG_DATA, RIG_AF | RIG_NG | rows[i].attrs);
		*rig_get_entry(&r, r.ttb0, 12, 0, 1, 0x1000) |= rows[i].table;
		change_cd0(&r, 0, rows[i].cd);
		/* Each twice: by a walk and from the TLB. */
		for (unsigned int k = 0; k < 12; k++) {
			unsigned int want = rows[i].ok & 1 << k % 6 ? 0 : SMMUV3_F_PERMISSION;
			struct smmuv3_evt evt = { 0 };
			const struct walk_how *how = &hows[k % 6];

			if (walk_access(&r, dma, 0x1000, *how, &evt) != want)
				fail_msg("row %zu access %u", i, k);
			if (want == 0)
				continue;
			assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_PNU, evt.dw[1]), how->priv);
			assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_IND, evt.dw[1]), how->instr);
			assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_RNW, evt.dw[1]), !how->write);
		}
		/* HAD0: attributes of the table have no effect. */
		if (rows[i].table != 0) {
			smmuv3_set_dw(&r.cd->dw[1], r.cd->dw[1] | SMMUV3_CD1_HAD0);
			rig_flush(&r);
			assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
		}
		walk_close(&r, dma);
	}
}

static void
test_translate_ste_overrides_attributes(void **state)
{
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct smmuv3_ste *ste;
	struct rig r;

	(void)state;
	dma = walk_open(&r, NULL);
	rig_map(&r, 0x1000, RIG_DATA, RIG_AF | RIG_NG);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), SMMUV3_F_PERMISSION);
	ste = rig_get_ste(&r, RIG_SID);
	ste->dw[1] = SMMUV3_PUT(SMMUV3_STE1_PRIVCFG, 3);
	rig_flush(&r);
	assert_int_equal(walk_access(&r, dma, 0x1000, rd, NULL), 0);
	ste->dw[1] = SMMUV3_PUT(SMMUV3_STE1_PRIVCFG, 2) | SMMUV3_PUT(SMMUV3_STE1_INSTCFG, 3);
	rig_flush(&r);
	assert_int_equal(walk_access(&r, dma, 0x1000, (struct walk_how){ .priv = true }, &evt),
			SMMUV3_F_PERMISSION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_PNU, evt.dw[1]), 0);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_IND, evt.dw[1]), 1);
	assert_int_equal(walk_access(&r, dma, 0x1000, wr, &evt), SMMUV3_F_PERMISSION);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_IND, evt.dw[1]), 0);
	walk_close(&r, dma);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_translate_every_granule_level_and_half),
	cmocka_unit_test(test_translate_short_ranges_start_lower),
	cmocka_unit_test(test_translate_top_byte_is_ignored_by_tbi_only),
	cmocka_unit_test(test_translate_reserved_and_invalid_descriptors),
	cmocka_unit_test(test_translate_fault_order_within_a_walk),
	cmocka_unit_test(test_translate_walk_abort_names_the_descriptor),
	cmocka_unit_test(test_translate_permissions),
	cmocka_unit_test(test_translate_ste_overrides_attributes),
};

TEST_SUITE(model_translate, tests, NULL, NULL);
