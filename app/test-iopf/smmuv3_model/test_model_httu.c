/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* HTTU of the model: updates of the access flag and the dirty state [3.13]. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "atc_rig.h"
#include "s2_rig.h"
#include "test.h"
#include "walk_rig.h"

#define HTTU_1	SMMUV3_MODEL_HTTU_AF
#define HTTU_2	(SMMUV3_MODEL_HTTU_AF | SMMUV3_MODEL_HTTU_DIRTY)
#define HA_HD	(SMMUV3_CD0_HA | SMMUV3_CD0_HD)
#define DBM	(UINT64_C(1) << 51)
#define PAGE	UINT64_C(0x1000)
/* A leaf that is neither accessed nor dirty; the same with AF; the same dirty. */
#define CLEAN	(RIG_DATA | RIG_NG | RIG_UNPRIV | RIG_RO | DBM | 3)
#define USED	(CLEAN | RIG_AF)
#define DIRTY	(USED & ~RIG_RO)

static uint64_t *
httu_open(struct rig *r, struct smmuv3_model_dma **dma, uint32_t features, uint32_t choices,
		uint64_t cd0)
{
	*dma = walk_open(r, &(struct smmuv3_model_conf){ .features = features,
			.choices = choices });
	r->cd->dw[0] |= cd0;
	rig_flush(r);
	*rig_get_pte(r, r->ttb0, PAGE) = CLEAN;
	return rig_get_pte(r, r->ttb0, PAGE);
}

static void
test_httu_idr0_has_the_features_asked_for(void **state)
{
	static const struct { uint32_t features, idr0; } rows[] = {
		{ 0, 0 }, { HTTU_1, 0x40 }, { HTTU_2, 0x80 },
	};
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		rig_open(&r, &(struct smmuv3_model_conf){ .features = rows[i].features });
		assert_int_equal(rig_read(&r, SMMUV3_IDR0) & 0xc0, rows[i].idr0);
		rig_start(&r);
		rig_close(&r);
	}
	assert_null(smmuv3_model_create(&(struct smmuv3_model_conf){
			.features = SMMUV3_MODEL_HTTU_DIRTY }));
	assert_int_equal(errno, EINVAL);
	assert_null(smmuv3_model_create(&(struct smmuv3_model_conf){ .choices = 1 << 13 }));
	assert_int_equal(errno, EINVAL);
}

/* What the SMMU has not is illegal. HD without HA is reserved, and has no effect [5.4]. */
static void
test_httu_cd_legality(void **state)
{
	static const struct { uint32_t features; uint64_t cd0; bool ok; } rows[] = {
		{ 0, SMMUV3_CD0_HA, false }, { 0, SMMUV3_CD0_HD, false },
		{ HTTU_1, SMMUV3_CD0_HA, true }, { HTTU_1, HA_HD, false },
		{ HTTU_1, SMMUV3_CD0_HD, false }, { HTTU_2, SMMUV3_CD0_HA, true },
		{ HTTU_2, HA_HD, true }, { HTTU_2, SMMUV3_CD0_HD, true },
	};
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		*httu_open(&r, &dma, rows[i].features, 0, rows[i].cd0) = USED;
		assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), rows[i].ok ? 0 :
				SMMUV3_C_BAD_CD);
		walk_close(&r, dma);
	}
}

static void
test_httu_ha_sets_af_and_nothing_else(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_1, 0, SMMUV3_CD0_HA | SMMUV3_CD0_AFFD);

	(void)state;
	/* AFFD is ignored with HA. */
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	assert_int_equal(*pte, USED);
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ACCESS_UPDATES), 1);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS), 1);
	/* Without HD a writable-clean page is read-only. */
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_PERMISSION);
	assert_int_equal(*pte, USED);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_DIRTY_UPDATES), 0);
	walk_close(&r, dma);
}

static void
test_httu_without_ha_is_off(void **state)
{
	static const uint64_t cd0[] = { 0, SMMUV3_CD0_HD };
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (size_t i = 0; i < sizeof(cd0) / sizeof(cd0[0]); i++) {
		uint64_t *pte = httu_open(&r, &dma, HTTU_2, 0, cd0[i]);

		assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), SMMUV3_F_ACCESS);
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_ACCESS);
		assert_int_equal(*pte, CLEAN);
		*pte = USED;
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_PERMISSION);
		assert_int_equal(*pte, USED);
		walk_close(&r, dma);
	}
}

static void
test_httu_hd_makes_a_written_page_dirty(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_2, 0, HA_HD);

	(void)state;
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	assert_int_equal(*pte, USED);
	/* The TLB has the clean leaf: the write walks again, and replaces it. */
	walk_buf[0] = 77;
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), 0);
	assert_int_equal(*pte, DIRTY);
	assert_int_equal(r.data[0], 77);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS), 2);
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), 0);
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS), 2);
	/* Both flags in one update. */
	*rig_get_pte(&r, r.ttb0, 2 * PAGE) = CLEAN;
	assert_int_equal(walk_access(&r, dma, 2 * PAGE, wr, NULL), 0);
	assert_int_equal(*rig_get_pte(&r, r.ttb0, 2 * PAGE), DIRTY);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ACCESS_UPDATES), 2);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_DIRTY_UPDATES), 2);
	/* Cleaned, and invalidated: the next write is seen. */
	*pte = USED;
	rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, PAGE, true));
	rig_sync(&r);
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), 0);
	assert_int_equal(*pte, DIRTY);
	walk_close(&r, dma);
}

static void
test_httu_never_changes_what_is_not_a_clean_leaf(void **state)
{
	static const uint64_t descs[] = {
		/* Read-only; only for privileged accesses; invalid, and closed by software. */
		USED & ~DBM, USED & ~RIG_UNPRIV, 0, USED & ~UINT64_C(1), 2,
	};
	struct smmuv3_model_dma *dma;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_2, 0, HA_HD);

	(void)state;
	for (size_t i = 0; i < sizeof(descs) / sizeof(descs[0]); i++) {
		*pte = descs[i];
		rig_flush(&r);
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), descs[i] & 1 ?
				SMMUV3_F_PERMISSION : SMMUV3_F_TRANSLATION);
		assert_int_equal(*pte, descs[i]);
	}
	/* APTable makes the page read-only. */
	*pte = USED;
	r.ttb0[0] |= UINT64_C(2) << 61;
	rig_flush(&r);
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_PERMISSION);
	assert_int_equal(*pte, USED);
	walk_close(&r, dma);
}

/* A TLB entry of a page that was clean does not let a write pass after the leaf has gone. */
static void
test_httu_write_compares_the_descriptor(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_2, 0, HA_HD);

	(void)state;
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	*pte = 2;
	assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_TRANSLATION);
	assert_int_equal(*pte, 2);
	/* The entry is still there, for reads. */
	assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
	walk_close(&r, dma);
}

static void
test_httu_refused_access_sets_af_by_choice(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int set = 0; set < 2; set++) {
		uint64_t *pte = httu_open(&r, &dma, HTTU_2,
				set ? SMMUV3_MODEL_REFUSED_SETS_AF : 0, HA_HD);

		*pte = CLEAN & ~DBM;
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), SMMUV3_F_PERMISSION);
		assert_int_equal(*pte, (set ? USED : CLEAN) & ~DBM);
		assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
		assert_int_equal(*pte, USED & ~DBM);
		walk_close(&r, dma);
	}
}

static void
test_httu_clean_page_counts_as_writable_for_execution(void **state)
{
	const struct walk_how fetch = { .instr = true }, priv_fetch = { .instr = true,
		.priv = true };
	struct smmuv3_model_dma *dma;
	struct rig r;

	(void)state;
	for (unsigned int hd = 0; hd < 2; hd++) {
		httu_open(&r, &dma, HTTU_2, 0, SMMUV3_CD0_HA | (hd ? SMMUV3_CD0_HD : 0));
		assert_int_equal(walk_access(&r, dma, PAGE, fetch, NULL), 0);
		assert_int_equal(walk_access(&r, dma, PAGE, priv_fetch, NULL),
				hd ? SMMUV3_F_PERMISSION : 0);
		r.cd->dw[0] |= SMMUV3_CD0_WXN;
		rig_flush(&r);
		assert_int_equal(walk_access(&r, dma, PAGE, fetch, NULL),
				hd ? SMMUV3_F_PERMISSION : 0);
		walk_close(&r, dma);
	}
}

static void
test_httu_speculation_sets_af_of_the_next_page(void **state)
{
	struct smmuv3_model_dma *dma;
	unsigned int i, nb = 0;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_2, SMMUV3_MODEL_SPECULATE_AF, HA_HD);

	(void)state;
	for (i = 0; i < 64; i++) {
		pte[0] = pte[1] = CLEAN;
		pte[2] = CLEAN;
		rig_flush(&r);
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), 0);
		assert_int_equal(pte[0], DIRTY);
		assert_true(pte[1] == CLEAN || pte[1] == USED);
		assert_int_equal(pte[2], CLEAN);
		nb += pte[1] == USED;
	}
	assert_true(nb > 0 && nb < 64);
	/* Not invalid entries, and none behind the table. */
	pte[0] = CLEAN;
	pte[1] = CLEAN & ~UINT64_C(1);
	pte[510] = CLEAN;
	for (i = 0; i < 16; i++) {
		rig_flush(&r);
		assert_int_equal(walk_access(&r, dma, PAGE, rd, NULL), 0);
		assert_int_equal(walk_access(&r, dma, 511 * PAGE, rd, NULL), 0);
		pte[0] = pte[510] = CLEAN;
	}
	assert_int_equal(pte[1], CLEAN & ~UINT64_C(1));
	walk_close(&r, dma);
}

/* Accesses at most, and of these, those whose descriptor changed in the middle of the walk. */
#define RACE_ACCESSES	200000u
#define RACE_CONFLICTS	100u

struct flipper {
	_Atomic uint64_t *pte;
	_Atomic bool stop;
	uint64_t dirty;
	bool lost;
};

/* Software counts in bits 58:55, and cleans the page, by compare-and-swap. */
static void *
flip(void *p)
{
	struct flipper *f = p;
	uint64_t d, n;

	for (n = 0; !f->stop; n++) {
		d = atomic_load(f->pte);
		while (!atomic_compare_exchange_weak(f->pte, &d, ((d & ~(UINT64_C(15) << 55)) |
				(n & 15) << 55 | RIG_RO) & ~RIG_AF))
			;
		/* The last value, but for the flags, is what this thread wrote. */
		if (n > 0 && (d >> 55 & 15) != ((n - 1) & 15))
			f->lost = true;
		f->dirty += !(d & RIG_RO);
	}
	return NULL;
}

static void
test_httu_loses_no_change_of_software(void **state)
{
	struct smmuv3_model_dma *dma;
	struct flipper f = { .pte = NULL };
	unsigned int i;
	pthread_t t;
	struct rig r;
	uint64_t *pte = httu_open(&r, &dma, HTTU_2, 0, HA_HD);

	(void)state;
	f.pte = (_Atomic uint64_t *)pte;
	assert_int_equal(pthread_create(&t, NULL, flip, &f), 0);
	/* Each conflict is one more walk. */
	for (i = 0; i < RACE_ACCESSES &&
			rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS) < i + RACE_CONFLICTS; i++) {
		assert_int_equal(walk_access(&r, dma, PAGE, wr, NULL), 0);
		rig_send(&r, smmuv3_cmd_tlbi_nh_va(0, RIG_ASID, PAGE, true));
		rig_sync(&r);
	}
	f.stop = true;
	pthread_join(t, NULL);
	f.dirty += !(*pte & RIG_RO);
	assert_false(f.lost);
	assert_int_equal(f.dirty, rig_get_stat(&r, SMMUV3_MODEL_STAT_DIRTY_UPDATES));
	walk_close(&r, dma);
}

/* Of stage 2 */
#define S2_CLEAN	(RIG_DATA | S2_NORMAL | S2_READ | DBM | 3)
#define S2_USED		(S2_CLEAN | RIG_AF)
#define S2_DIRTY	(S2_USED | S2_WRITE)
#define S2_HA_HD	(SMMUV3_STE2_S2HA | SMMUV3_STE2_S2HD)

static void
test_httu_stage_2_has_flags_of_its_own(void **state)
{
	struct s2_rig s;
	uint64_t *pte;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .features = HTTU_2 }, SMMUV3_STE_S2);
	pte = s2_get_pte(&s, S2_DATA);
	*pte = S2_CLEAN;
	rig_flush(&s.r);
	s2_expect_fault(&s, S2_DATA, rd, SMMUV3_F_ACCESS, SMMUV3_CLASS_IN, S2_DATA);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2HA);
	assert_int_equal(s2_access(&s, S2_DATA, rd, NULL), 0);
	assert_int_equal(*pte, S2_USED);
	s2_expect_fault(&s, S2_DATA, wr, SMMUV3_F_PERMISSION, SMMUV3_CLASS_IN, S2_DATA);
	s2_change_ste(&s, 2, 0, SMMUV3_STE2_S2HD);
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_DATA, rd, NULL), 0);
	assert_int_equal(*pte, S2_USED);
	assert_int_equal(s2_access(&s, S2_DATA, wr, NULL), 0);
	assert_int_equal(*pte, S2_DIRTY);
	*pte = S2_CLEAN & ~DBM;
	rig_flush(&s.r);
	s2_expect_fault(&s, S2_DATA, wr, SMMUV3_F_PERMISSION, SMMUV3_CLASS_IN, S2_DATA);
	s2_close(&s);
}

static void
test_httu_nested_updates_need_both_stages(void **state)
{
	struct smmuv3_evt evt;
	struct s2_rig s;
	uint64_t *s1, *s2, *tt, table, cd;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .features = HTTU_2 }, SMMUV3_STE_S1_S2);
	s.cd->dw[0] |= HA_HD;
	s1 = s2_get_s1_pte(&s, S2_VA);
	s2 = s2_get_pte(&s, S2_DATA);
	table = s2_get_ipa(&s, s1) & ~UINT64_C(0xfff);
	tt = s2_get_pte(&s, table);
	cd = *s2_get_pte(&s, s2_get_ipa(&s, s.cd));
	*s1 = (CLEAN & ~SMMUV3_BITS(47, 12)) | S2_DATA;
	*s2 = S2_USED;
	rig_flush(&s.r);
	/* Stage 2 refuses the write: stage 1 does not become dirty. */
	s2_expect_fault(&s, S2_VA, wr, SMMUV3_F_PERMISSION, SMMUV3_CLASS_IN, S2_DATA);
	assert_true(*s1 & RIG_RO);
	/* Stage 2 protects the table: the event says that the SMMU was to write (TTRnW = 0). */
	*s1 &= ~RIG_AF;
	*tt &= ~S2_WRITE;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, &evt), SMMUV3_F_PERMISSION);
	/* RnW, S2, CLASS = TT */
	assert_int_equal(evt.dw[1], UINT64_C(0x0000018800000000));
	assert_int_equal(evt.dw[3], s2_get_ipa(&s, s1) & ~UINT64_C(0xfff));
	assert_false(*s1 & RIG_AF);
	/* With S2HD and DBM the table becomes dirty, then stage 1, then stage 2. */
	*tt |= DBM;
	s2_change_ste(&s, 2, 0, S2_HA_HD);
	rig_flush(&s.r);
	*s2 = S2_CLEAN;
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	assert_true(*tt & S2_WRITE);
	assert_int_equal(*s1, (USED & ~SMMUV3_BITS(47, 12)) | S2_DATA);
	assert_int_equal(*s2, S2_USED);
	/* The combined entry is clean in both stages. */
	assert_int_equal(s2_access(&s, S2_VA, wr, NULL), 0);
	assert_int_equal(*s1, (DIRTY & ~SMMUV3_BITS(47, 12)) | S2_DATA);
	assert_int_equal(*s2, S2_DIRTY);
	/* Only stage 2 is clean; then only stage 1. */
	*s2 = S2_USED;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, rd, NULL), 0);
	assert_int_equal(s2_access(&s, S2_VA, wr, NULL), 0);
	assert_int_equal(*s2, S2_DIRTY);
	*s1 |= RIG_RO;
	*s2 = S2_DIRTY & ~DBM;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, wr, NULL), 0);
	assert_false(*s1 & RIG_RO);
	/* The fetch of a CD sets AF and makes nothing dirty. */
	assert_int_equal(*s2_get_pte(&s, s2_get_ipa(&s, s.cd)), cd);
	*s2_get_pte(&s, s2_get_ipa(&s, s.cd)) = (cd & ~(S2_WRITE | RIG_AF)) | DBM;
	rig_flush(&s.r);
	assert_int_equal(s2_access(&s, S2_VA, wr, NULL), 0);
	assert_int_equal(*s2_get_pte(&s, s2_get_ipa(&s, s.cd)), (cd & ~S2_WRITE) | DBM);
	s2_close(&s);
}

static void
test_httu_translation_request_to_write_makes_the_page_dirty(void **state)
{
	struct smmuv3_model_dma *dma;
	struct rig r;
	uint64_t *pte;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS | HTTU_2 });
	rig_start(&r);
	rig_set_s1_pasids(&r, EATS);
	r.cd->dw[0] |= HA_HD;
	rig_flush(&r);
	pte = rig_get_pte(&r, r.ttb0, VA);
	*pte = CLEAN;
	dma = atc_add_engine(&r, -1);
	assert_int_equal(atc_access(&r, dma, false, VA), SMMUV3_MODEL_OK);
	assert_int_equal(*pte, USED);
	/* The ATC may not write: a second request, which grants it. */
	assert_int_equal(atc_access(&r, dma, true, VA), SMMUV3_MODEL_OK);
	assert_int_equal(*pte, DIRTY);
	assert_int_equal(rig_get_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 2);
	/* A page that is not to be written is not accessed by the refused write, but by the read. */
	pte[1] = CLEAN & ~DBM;
	assert_int_equal(atc_access(&r, dma, true, VA + PAGE), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pte[1], USED & ~DBM);
	/* Without HD the write is denied. */
	r.cd->dw[0] &= ~SMMUV3_CD0_HD;
	pte[2] = CLEAN;
	rig_flush(&r);
	assert_int_equal(atc_access(&r, dma, true, VA + 2 * PAGE), SMMUV3_MODEL_ABORTED);
	assert_int_equal(pte[2], USED);
	atc_close(&r, dma);
}

static void
test_httu_split_ats_makes_stage_2_dirty_when_the_write_arrives(void **state)
{
	struct smmuv3_model_dma *dma;
	struct s2_rig s;
	uint64_t *s2;

	(void)state;
	s2_open(&s, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ATS | HTTU_2 },
			SMMUV3_STE_S1_S2);
	s2_change_ste(&s, 1, 0, SMMUV3_PUT(SMMUV3_STE1_EATS, SMMUV3_EATS_SPLIT));
	s2_change_ste(&s, 2, 0, S2_HA_HD);
	rig_set_cr0(&s.r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN |
			SMMUV3_CR0_ATSCHK);
	dma = atc_add_engine(&s.r, -1);
	s2 = s2_get_pte(&s, S2_DATA);
	*s2 = S2_CLEAN;
	rig_flush(&s.r);
	assert_int_equal(atc_access(&s.r, dma, false, S2_VA), SMMUV3_MODEL_OK);
	assert_int_equal(*s2, S2_USED);
	/* The ATC may write already: only the translated write makes stage 2 dirty. */
	assert_int_equal(atc_access(&s.r, dma, true, S2_VA), SMMUV3_MODEL_OK);
	assert_int_equal(rig_get_stat(&s.r, SMMUV3_MODEL_STAT_ATS_REQUESTS), 1);
	assert_int_equal(*s2, S2_DIRTY);
	smmuv3_model_dma_destroy(dma);
	s2_close(&s);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_httu_idr0_has_the_features_asked_for),
	cmocka_unit_test(test_httu_cd_legality),
	cmocka_unit_test(test_httu_ha_sets_af_and_nothing_else),
	cmocka_unit_test(test_httu_without_ha_is_off),
	cmocka_unit_test(test_httu_hd_makes_a_written_page_dirty),
	cmocka_unit_test(test_httu_never_changes_what_is_not_a_clean_leaf),
	cmocka_unit_test(test_httu_write_compares_the_descriptor),
	cmocka_unit_test(test_httu_refused_access_sets_af_by_choice),
	cmocka_unit_test(test_httu_clean_page_counts_as_writable_for_execution),
	cmocka_unit_test(test_httu_speculation_sets_af_of_the_next_page),
	cmocka_unit_test(test_httu_loses_no_change_of_software),
	cmocka_unit_test(test_httu_stage_2_has_flags_of_its_own),
	cmocka_unit_test(test_httu_nested_updates_need_both_stages),
	cmocka_unit_test(test_httu_translation_request_to_write_makes_the_page_dirty),
	cmocka_unit_test(test_httu_split_ats_makes_stage_2_dirty_when_the_write_arrives),
};
TEST_SUITE(model_httu, tests, NULL, NULL);
