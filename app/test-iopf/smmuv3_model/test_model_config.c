/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's stream table, STEs, CD tables and CDs: legality, events, caching. */

#include <string.h>

#include "model_rig.h"
#include "test.h"

static uint8_t buf[64];

/* An access of (sid, ssid) that must end. Returns the first two words of its event, or 0. */
static enum smmuv3_model_status
access_as(struct rig *r, uint32_t sid, int32_t ssid, struct smmuv3_evt *evt)
{
	struct smmuv3_model_dma *dma = rig_add_dma(r, sid, ssid);
	enum smmuv3_model_status status;

	memset(evt, 0, sizeof(*evt));
	status = rig_access(r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8);
	if (rig_take_evt(r, evt))
		assert_int_equal(rig_take_evt(r, evt), false);
	smmuv3_model_dma_destroy(dma);
	return status;
}

/* RIG_SID with 16 substreams in a linear CD table. SSID i has ASID i. All terminate. */
static struct smmuv3_cd *
set_up_substreams(struct rig *r, unsigned int dss)
{
	struct smmuv3_cd *cds = rig_alloc(r, 16 * sizeof(*cds), 16 * sizeof(*cds));
	struct smmuv3_ste ste = { .dw = {
		SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		rig_get_addr(r, cds) | SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 4), dss } };

	for (uint16_t i = 0; i < 16; i++) {
		cds[i] = rig_make_cd(r, i);
		cds[i].dw[0] &= ~SMMUV3_CD0_S;
	}
	rig_map(r, 0x1000, RIG_DATA, RIG_RW);
	rig_set_ste(r, RIG_SID, &ste);
	return cds;
}

static void
test_config_s1dss_and_substream_select_the_cd(void **state)
{
	/*
	 * The CD that a transaction uses [5.2]. -1: no substream. The event id with dw0 beyond ID
	 * and SID.
	 */
	static const struct {
		unsigned int dss;
		int32_t ssid;
		uint32_t evt;
	} rows[] = {
		{ 0, -1, SMMUV3_F_STREAM_DISABLED },
		{ 3, -1, SMMUV3_F_STREAM_DISABLED },
		{ 0, 0, 0 }, { 0, 5, 0 }, { 0, 15, 0 },
		{ 0, 16, SMMUV3_C_BAD_SUBSTREAMID | 16 << 12 },
		{ 1, 3, 0 }, { 1, 0xfffff, SMMUV3_C_BAD_SUBSTREAMID | 0xfffffu << 12 },
		{ 2, -1, 0 }, { 2, 0, SMMUV3_F_STREAM_DISABLED }, { 2, 1, 0 },
	};
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		set_up_substreams(&r, rows[i].dss);
		if (access_as(&r, RIG_SID, rows[i].ssid, &evt) !=
				(rows[i].evt == 0 ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED) ||
				evt.dw[0] != (rows[i].evt == 0 ? 0 :
				(UINT64_C(8) << 32 | rows[i].evt)) || evt.dw[1] != 0)
			fail_msg("row %zu: event 0x%llx", i, (unsigned long long)evt.dw[0]);
	}
	/* S1DSS = 1: traffic without substream bypasses. No window has 0x1000. */
	set_up_substreams(&r, 1);
	assert_int_equal(access_as(&r, RIG_SID, -1, &evt), SMMUV3_MODEL_ABORTED);
	assert_int_equal(evt.dw[0], 0);
	/* One CD only: SSIDs have no CD. */
	rig_set_s1(&r, 0);
	assert_int_equal(access_as(&r, RIG_SID, 2, &evt), SMMUV3_MODEL_ABORTED);
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | 2 << 12 | SMMUV3_C_BAD_SUBSTREAMID);
	rig_close(&r);
}

static void
test_config_substream_is_in_the_record(void **state)
{
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	set_up_substreams(&r, 0);
	rig_unmap(&r, 0x1000);
	access_as(&r, RIG_SID, 9, &evt);
	/* F_TRANSLATION, SSV, SSID 9, SID 8 */
	assert_int_equal(evt.dw[0], UINT64_C(0x0000000800009810));
	rig_close(&r);
}

static void
test_config_two_level_cd_tables(void **state)
{
	static const unsigned int shift[3] = { 0, 6, 10 };
	struct smmuv3_evt evt;

	(void)state;
	for (unsigned int fmt = 1; fmt <= 2; fmt++) {
		uint32_t ssid = (3u << shift[fmt]) + 5;
		struct smmuv3_ste ste;
		struct smmuv3_cd *leaf;
		uint64_t *l1;
		struct rig r;

		rig_open(&r, NULL);
		rig_start(&r);
		leaf = rig_alloc(&r, sizeof(*leaf) << shift[fmt], sizeof(*leaf) << shift[fmt]);
		l1 = rig_alloc(&r, 8192, 8192);
		l1[3] = rig_get_addr(&r, leaf) | 1;
		l1[4] = UINT64_C(0x7000000000) | 1;
		leaf[5] = rig_make_cd(&r, 7);
		leaf[5].dw[0] &= ~SMMUV3_CD0_S;
		rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
		ste = (struct smmuv3_ste){ .dw = {
			SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
			rig_get_addr(&r, l1) | SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 16) |
			SMMUV3_PUT(SMMUV3_STE0_S1FMT, fmt) } };
		rig_set_ste(&r, RIG_SID, &ste);
		assert_int_equal(access_as(&r, RIG_SID, ssid, &evt), SMMUV3_MODEL_OK);
		/* L1CD.V = 0 */
		access_as(&r, RIG_SID, 5, &evt);
		assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | 5 << 12 |
				SMMUV3_C_BAD_SUBSTREAMID);
		/* a CD with V = 0 */
		access_as(&r, RIG_SID, ssid + 1, &evt);
		assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | (ssid + 1) << 12 |
				SMMUV3_EVT0_SSV | SMMUV3_C_BAD_CD);
		/* a leaf table outside memory */
		access_as(&r, RIG_SID, 4u << shift[fmt], &evt);
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_CD_FETCH);
		assert_int_equal(evt.dw[3], UINT64_C(0x7000000000));
		/* The L1CD is cached until a CFGI_CD without Leaf. */
		l1[3] = 0;
		rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, ssid, true));
		rig_sync(&r);
		assert_int_equal(access_as(&r, RIG_SID, ssid, &evt), SMMUV3_MODEL_OK);
		rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, ssid, false));
		rig_sync(&r);
		access_as(&r, RIG_SID, ssid, &evt);
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_SUBSTREAMID);
		rig_close(&r);
	}
}

static void
test_config_bad_streamid(void **state)
{
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.split = true;
	r.strtab_log2 = 12;
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	assert_int_equal(access_as(&r, RIG_SID, -1, &evt), SMMUV3_MODEL_OK);
	/* beyond LOG2SIZE; Span 0 */
	assert_int_equal(access_as(&r, 4096, -1, &evt), SMMUV3_MODEL_ABORTED);
	assert_int_equal(evt.dw[0], UINT64_C(4096) << 32 | SMMUV3_C_BAD_STREAMID);
	access_as(&r, 0x300, 1, &evt);
	assert_int_equal(evt.dw[0], UINT64_C(0x300) << 32 | 1 << 12 | SMMUV3_EVT0_SSV |
			SMMUV3_C_BAD_STREAMID);
	/* Span 4: eight STEs. The cached L1STD is invalidated only by a CFGI_STE without Leaf. */
	smmuv3_set_dw(&r.l1strtab[0], (r.l1strtab[0] & SMMUV3_L1STD_L2PTR) | 4);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_sync(&r);
	assert_int_equal(access_as(&r, RIG_SID, -1, &evt), SMMUV3_MODEL_OK);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, false));
	rig_sync(&r);
	access_as(&r, RIG_SID, -1, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STREAMID);
	access_as(&r, 7, -1, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	/* Spans above SPLIT + 1, and reserved spans */
	for (unsigned int span = 10; span < 32; span++) {
		smmuv3_set_dw(&r.l1strtab[0], (r.l1strtab[0] & SMMUV3_L1STD_L2PTR) | span);
		rig_flush(&r);
		access_as(&r, 7, -1, &evt);
		assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STREAMID);
	}
	/* Without RECINVSID: an abort without an event. */
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	rig_write(&r, SMMUV3_CR2, 0);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	assert_int_equal(access_as(&r, 4096, -1, &evt), SMMUV3_MODEL_ABORTED);
	assert_int_equal(evt.dw[0], 0);
	rig_close(&r);
}

static void
test_config_fetch_aborts_name_the_address_and_are_not_cached(void **state)
{
	struct smmuv3_evt evt;
	struct smmuv3_ste ste;
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	r.split = true;
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	smmuv3_set_dw(&r.l1strtab[1], UINT64_C(0x7000000000) | 9);
	access_as(&r, 0x123, -1, &evt);
	assert_int_equal(evt.dw[0], UINT64_C(0x123) << 32 | SMMUV3_F_STE_FETCH);
	assert_int_equal(evt.dw[1], 0);
	assert_int_equal(evt.dw[3], UINT64_C(0x7000000000) + 0x23 * 64);
	/* The memory is added. The SMMU needs no command. */
	assert_int_equal(smmuv3_model_mem_add(r.m, UINT64_C(0x7000000000), r.data, 16384), 0);
	memcpy(r.data + 0x23 * 64, rig_get_ste(&r, RIG_SID), 64);
	assert_int_equal(access_as(&r, 0x123, -1, &evt), SMMUV3_MODEL_OK);
	/* A CD outside memory. */
	ste = *rig_get_ste(&r, RIG_SID);
	ste.dw[0] = (ste.dw[0] & ~SMMUV3_STE0_S1CONTEXTPTR) | UINT64_C(0x6000000040);
	rig_set_ste(&r, 9, &ste);
	access_as(&r, 9, -1, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_CD_FETCH);
	assert_int_equal(evt.dw[2], 0);
	assert_int_equal(evt.dw[3], UINT64_C(0x6000000040));
	rig_close(&r);
}

static void
test_config_ste_legality(void **state)
{
	static const struct {
		uint64_t clear0, set0, set1;
		uint8_t evt;
		bool ok;
	} rows[] = {
		{ 0, 0, 0, 0, true },
		{ SMMUV3_STE0_V, 0, 0, SMMUV3_C_BAD_STE, false },
		/* Config 0xx: aborts without an event, whatever the other fields */
		{ SMMUV3_STE0_CONFIG, 0, ~UINT64_C(0), 0, false },
		{ SMMUV3_STE0_CONFIG, 3 << 1, 0, 0, false },
		/* this SMMU has no stage 2 */
		{ SMMUV3_STE0_CONFIG, 6 << 1, 0, SMMUV3_C_BAD_STE, false },
		{ SMMUV3_STE0_CONFIG, 7 << 1, 0, SMMUV3_C_BAD_STE, false },
		/* S1CDMax above SSIDSIZE */
		{ 0, UINT64_C(9) << 59, 0, SMMUV3_C_BAD_STE, false },
		/* S1ContextPtr beyond OAS */
		{ 0, UINT64_C(1) << 40, 0, SMMUV3_C_BAD_STE, false },
		/* two levels without CD2L; with one CD the format has no effect */
		{ 0, UINT64_C(8) << 59 | 1 << 4, 2, SMMUV3_C_BAD_STE, false },
		{ 0, 2 << 4, 0, 0, true },
		/* S1Fmt 3 behaves as 0; S1DSS 2 takes CD 0 */
		{ 0, UINT64_C(8) << 59 | 3 << 4, 2, 0, true },
		/* EATS without ATS, STRW without HYP: ignored */
		{ 0, 0, SMMUV3_STE1_EATS | SMMUV3_STE1_STRW, 0, true },
	};
	struct smmuv3_ste ste, base;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .ssid_bits = 8, .oas_bits = 40,
			.no_features = SMMUV3_MODEL_NO_2LVL_CD });
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
	base = *rig_get_ste(&r, RIG_SID);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ste = base;
		ste.dw[0] = (ste.dw[0] & ~rows[i].clear0) | rows[i].set0;
		ste.dw[1] |= rows[i].set1;
		rig_set_ste(&r, RIG_SID, &ste);
		if ((access_as(&r, RIG_SID, -1, &evt) == SMMUV3_MODEL_OK) != rows[i].ok ||
				(evt.dw[0] & 0xff) != rows[i].evt)
			fail_msg("row %zu: event 0x%llx", i, (unsigned long long)evt.dw[0]);
	}
	rig_close(&r);
}

static void
test_config_cd_legality(void **state)
{
	static const struct {
		uint64_t clear0, set0, set1, set2;
		uint32_t no_features;
		bool ok;
	} rows[] = {
		{ 0, 0, 0, 0, 0, true },
		{ SMMUV3_CD0_V, 0, 0, 0, 0, false },
		{ SMMUV3_CD0_A, 0, 0, 0, 0, true },
		{ SMMUV3_CD0_A, 0, 0, 0, SMMUV3_MODEL_TERM_ABORT_ONLY, false },
		{ 0, SMMUV3_CD0_ENDI, 0, 0, 0, false },
		{ SMMUV3_CD0_AA64, 0, 0, 0, 0, false },
		{ 0, SMMUV3_CD0_HA, 0, 0, 0, false },
		{ 0, SMMUV3_CD0_HD, 0, 0, 0, false },
		{ 0, UINT64_C(0x100) << 48, 0, 0, 0, true },
		{ 0, UINT64_C(0x100) << 48, 0, 0, SMMUV3_MODEL_NO_ASID16, false },
		/* T0SZ 15, 40; T1SZ only with EPD1 = 0, and then for any address */
		{ SMMUV3_CD0_T0SZ, 15, 0, 0, 0, false },
		{ SMMUV3_CD0_T0SZ, 40, 0, 0, 0, false },
		{ 0, SMMUV3_PUT(SMMUV3_CD0_T1SZ, 40), 0, 0, 0, true },
		{ SMMUV3_CD0_EPD1, SMMUV3_PUT(SMMUV3_CD0_T1SZ, 40) |
			SMMUV3_PUT(SMMUV3_CD0_TG1, 2), 0, 0, 0, false },
		{ SMMUV3_CD0_EPD1, SMMUV3_PUT(SMMUV3_CD0_T1SZ, 16) |
			SMMUV3_PUT(SMMUV3_CD0_TG1, 2), 0, 0, 0, true },
		/* TG1 = 0 and TG0 = 3 are reserved */
		{ SMMUV3_CD0_EPD1, SMMUV3_PUT(SMMUV3_CD0_T1SZ, 16), 0, 0, 0, false },
		{ 0, SMMUV3_PUT(SMMUV3_CD0_TG0, 3), 0, 0, 0, false },
		{ 0, 0, 0, 0, SMMUV3_MODEL_NO_4K, false },
		/* TTB beyond IPS (36 bits here), at either half */
		{ SMMUV3_CD0_IPS, UINT64_C(1) << 32, UINT64_C(1) << 36, 0, 0, false },
		{ SMMUV3_CD0_IPS, UINT64_C(1) << 32, 0, UINT64_C(1) << 36, 0, true },
		{ SMMUV3_CD0_IPS | SMMUV3_CD0_EPD1, UINT64_C(1) << 32 |
			SMMUV3_PUT(SMMUV3_CD0_T1SZ, 16) | SMMUV3_PUT(SMMUV3_CD0_TG1, 2), 0,
			UINT64_C(1) << 36, 0, false },
	};
	struct smmuv3_evt evt;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rig r;

		rig_open(&r, &(struct smmuv3_model_conf){ .no_features = rows[i].no_features });
		rig_start(&r);
		rig_set_s1(&r, 0);
		rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
		r.cd->dw[0] = (r.cd->dw[0] & ~(SMMUV3_CD0_S | rows[i].clear0)) | rows[i].set0;
		r.cd->dw[1] |= rows[i].set1;
		r.cd->dw[2] |= rows[i].set2;
		rig_flush(&r);
		if ((access_as(&r, RIG_SID, -1, &evt) == SMMUV3_MODEL_OK) != rows[i].ok ||
				(evt.dw[0] & 0xff) != (rows[i].ok ? 0 : SMMUV3_C_BAD_CD))
			fail_msg("row %zu: event 0x%llx", i, (unsigned long long)evt.dw[0]);
		rig_close(&r);
	}
}

static void
test_config_bypass(void **state)
{
	const struct smmuv3_ste bypass = { .dw = { SMMUV3_STE0_V |
		SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS) } };
	struct smmuv3_model_dma *dma;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .oas_bits = 40 });
	rig_start(&r);
	rig_set_ste(&r, RIG_SID, &bypass);
	dma = rig_add_dma(&r, RIG_SID, -1);
	r.data[3] = 99;
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, RIG_DATA, buf, 8),
			SMMUV3_MODEL_OK);
	assert_int_equal(buf[3], 99);
	/* Too large an address: F_ADDR_SIZE, S2 = 0, CLASS = IN, always terminated. */
	assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, UINT64_C(1) << 40, buf, 8),
			SMMUV3_MODEL_ABORTED);
	assert_true(rig_take_evt(&r, &evt));
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | SMMUV3_F_ADDR_SIZE);
	assert_int_equal(evt.dw[1], UINT64_C(0x0000020800000000));
	access_as(&r, RIG_SID, 4, &evt);
	assert_int_equal(evt.dw[0], UINT64_C(8) << 32 | 4 << 12 | SMMUV3_C_BAD_SUBSTREAMID);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static void
test_config_is_cached_also_when_invalid(void **state)
{
	struct smmuv3_cd *cds, good;
	struct smmuv3_evt evt;
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB });
	rig_start(&r);
	cds = set_up_substreams(&r, 0);
	/* SID 20 has no STE: C_BAD_STE, which stays cached. */
	access_as(&r, 20, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	*rig_get_ste(&r, 20) = *rig_get_ste(&r, RIG_SID);
	access_as(&r, 20, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	rig_send(&r, smmuv3_cmd_cfgi_ste(21, true));
	rig_sync(&r);
	access_as(&r, 20, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	/* A range that ends below SID 20, and the range 16..31, which contains it. */
	rig_send(&r, (struct smmuv3_cmd){ { 0x04 | UINT64_C(15) << 32, 3 } });
	access_as(&r, 20, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_STE);
	rig_send(&r, (struct smmuv3_cmd){ { 0x04 | UINT64_C(31) << 32, 3 } });
	rig_sync(&r);
	assert_int_equal(access_as(&r, 20, 3, &evt), SMMUV3_MODEL_OK);

	/* The same with a CD, through two streams: one command each. */
	assert_int_equal(access_as(&r, RIG_SID, 3, &evt), SMMUV3_MODEL_OK);
	good = cds[3];
	cds[3].dw[0] = 0;
	assert_int_equal(access_as(&r, RIG_SID, 3, &evt), SMMUV3_MODEL_OK);
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 4, true));
	rig_sync(&r);
	assert_int_equal(access_as(&r, RIG_SID, 3, &evt), SMMUV3_MODEL_OK);
	rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 3, true));
	rig_sync(&r);
	access_as(&r, RIG_SID, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_CD);
	assert_int_equal(access_as(&r, 20, 3, &evt), SMMUV3_MODEL_OK);
	rig_send(&r, smmuv3_cmd_cfgi_cd_all(20));
	rig_sync(&r);
	access_as(&r, 20, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_CD);
	/* CFGI_STE invalidates the CDs of its stream too. */
	cds[3] = good;
	access_as(&r, RIG_SID, 3, &evt);
	assert_int_equal(evt.dw[0] & 0xff, SMMUV3_C_BAD_CD);
	rig_send(&r, smmuv3_cmd_cfgi_ste(RIG_SID, true));
	rig_sync(&r);
	assert_int_equal(access_as(&r, RIG_SID, 3, &evt), SMMUV3_MODEL_OK);
	/* SMMUEN 0 and 1: cached entries survive. */
	*rig_get_ste(&r, RIG_SID) = (struct smmuv3_ste){ 0 };
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	rig_set_cr0(&r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	assert_int_equal(access_as(&r, RIG_SID, 3, &evt), SMMUV3_MODEL_OK);
	rig_close(&r);
}

/* Both words of a CD change without an invalid CD in between. */
static void
test_config_torn_fetch_caches_a_mixture(void **state)
{
	unsigned int mixed = 0;
	struct rig r;

	(void)state;
	for (uint32_t seed = 1; seed <= 200; seed++) {
		struct smmuv3_model_dma *dma;
		struct smmuv3_cd other;
		struct smmuv3_evt evt;

		rig_open(&r, &(struct smmuv3_model_conf){ .seed = seed,
				.choices = SMMUV3_MODEL_TORN_FETCH });
		rig_start(&r);
		rig_set_s1(&r, 0);
		smmuv3_set_dw(&r.cd->dw[0], r.cd->dw[0] & ~SMMUV3_CD0_S);
		rig_map(&r, 0x1000, RIG_DATA, RIG_RW);
		rig_flush(&r);
		dma = rig_add_dma(&r, RIG_SID, -1);
		rig_submit(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8);
		for (uint32_t i = 0; i < 3 + seed % 6; i++)
			smmuv3_model_step(r.m, 4);
		/* Word 0 disables walks, word 1 names an empty table. */
		other = *r.cd;
		other.dw[0] |= SMMUV3_CD0_EPD0;
		other.dw[1] = rig_get_addr(&r, rig_alloc(&r, 4096, 4096));
		smmuv3_set_dw(&r.cd->dw[0], other.dw[0]);
		smmuv3_set_dw(&r.cd->dw[1], other.dw[1]);
		assert_int_equal(rig_poll(&r, dma), 1);
		assert_true(r.done[0].status != SMMUV3_MODEL_RAZWI);
		if (rig_take_evt(&r, &evt))
			assert_int_equal(evt.dw[0] & 0xff, SMMUV3_F_TRANSLATION);
		/* The old word 0 with the new word 1: a walk that finds no entry. */
		if (r.done[0].status == SMMUV3_MODEL_ABORTED &&
				rig_get_stat(&r, SMMUV3_MODEL_STAT_WALKS) != 0)
			mixed++;
		/* After CFGI and SYNC the model uses the new CD only. */
		rig_send(&r, smmuv3_cmd_cfgi_cd(RIG_SID, 0, true));
		rig_send(&r, smmuv3_cmd_tlbi_nh_asid(0, RIG_ASID));
		rig_sync(&r);
		assert_int_equal(rig_access(&r, dma, SMMUV3_MODEL_READ, 0x1000, buf, 8),
				SMMUV3_MODEL_ABORTED);
		smmuv3_model_dma_destroy(dma);
		rig_close(&r);
	}
	assert_true(mixed > 0);
}

static void
test_config_format_errors_are_reported(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_write(&r, SMMUV3_STRTAB_BASE_CFG, 4 | 2 << 16);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN);
	rig_expect_error(&r, "STRTAB_BASE_CFG.FMT 2 is reserved");
	rig_set_cr0(&r, 0);
	rig_write(&r, SMMUV3_STRTAB_BASE_CFG, 10 | 7 << 6 | 1 << 16);
	rig_set_cr0(&r, SMMUV3_CR0_SMMUEN);
	rig_expect_error(&r, "STRTAB_BASE_CFG.SPLIT 7");
	rig_close(&r);
}

static void
test_config_commands_beyond_the_id_space_are_reported(void **state)
{
	struct rig r;

	(void)state;
	rig_open(&r, &(struct smmuv3_model_conf){ .sid_bits = 12, .ssid_bits = 6 });
	rig_start(&r);
	rig_send(&r, smmuv3_cmd_cfgi_ste(4096, true));
	rig_expect_error(&r, "CFGI_STE for SID 4096");
	rig_send(&r, smmuv3_cmd_cfgi_cd(1, 64, true));
	rig_expect_error(&r, "CFGI_CD for SSID 64");
	rig_send(&r, smmuv3_cmd_resume(1 << 20, 0, true, false));
	rig_expect_error(&r, "RESUME for SID 1048576");
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_config_s1dss_and_substream_select_the_cd),
	cmocka_unit_test(test_config_substream_is_in_the_record),
	cmocka_unit_test(test_config_two_level_cd_tables),
	cmocka_unit_test(test_config_bad_streamid),
	cmocka_unit_test(test_config_fetch_aborts_name_the_address_and_are_not_cached),
	cmocka_unit_test(test_config_ste_legality),
	cmocka_unit_test(test_config_cd_legality),
	cmocka_unit_test(test_config_bypass),
	cmocka_unit_test(test_config_is_cached_also_when_invalid),
	cmocka_unit_test(test_config_torn_fetch_caches_a_mixture),
	cmocka_unit_test(test_config_format_errors_are_reported),
	cmocka_unit_test(test_config_commands_beyond_the_id_space_are_reported),
};

TEST_SUITE(model_config, tests, NULL, NULL);
