/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Events that do not stall: each field of each record [7.3], literal and random. */

#include <string.h>

#include "fake_evtq.h"
#include "test.h"

#define RWX (IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_EXEC)

/* Records in hexadecimal, written by hand from the tables of the architecture. */
static const struct {
	uint64_t dw[4];
	struct iopf_event want;
} literal[] = {
	/* F_UUT: SSID 0x12, reason 0xbeef, unprivileged read. */
	{ { 0x0000004200012801, 0x000000080000beef, 0xfedcba9876543210, 0x5555555555555555 },
		{ .addr = 0xfedcba9876543210, .sid = 0x42, .pasid = 0x12, .perm = IOPF_PERM_READ,
		.reason = IOPF_REASON_OTHER, .raw_id = 0x01, .syndrome = 0xbeef } },
	/* C_BAD_STREAMID: nothing but the ids, though all bits of the other words are set. */
	{ { 0x0000123400000002, 0xffffffff7fffffff, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x1234, .pasid = IOPF_NO_PASID, .reason = IOPF_REASON_CONFIG,
		.raw_id = 0x02 } },
	/* F_STE_FETCH: reason 0x1234, GPCF. */
	{ { 0x0000004200000003, 0x0000000000011234, 0xffffffffffffffff, 0xffaabbccddeeff0f },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .reason = IOPF_REASON_CONFIG, .raw_id = 0x03,
		.syndrome = 0x1234, .fetch_addr = 0x00aabbccddeeff08,
		.record_flags = IOPF_RECORD_FETCH | IOPF_RECORD_GPC } },
	{ { 0x0000004200000004, 0xffffffff7fffffff, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .reason = IOPF_REASON_CONFIG,
		.raw_id = 0x04 } },
	/* F_BAD_ATS_TREQ: R, W, P of two STUs. */
	{ { 0x0000004200012805, 0x00000000d0000002, 0x0000000012345fff, 0 },
		{ .addr = 0x12345000, .sid = 0x42, .pasid = 0x12, .reason = IOPF_REASON_CONFIG,
		.raw_id = 0x05, .span = 2,
		.perm = IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_PRIV } },
	/* F_BAD_ATS_TREQ: X and R. */
	{ { 0x0000004200000005, 0x00000000a000000f, 0x0000000012345fff, 0 },
		{ .addr = 0x12345000, .sid = 0x42, .pasid = IOPF_NO_PASID,
		.reason = IOPF_REASON_CONFIG, .raw_id = 0x05, .span = 15,
		.perm = IOPF_PERM_READ | IOPF_PERM_EXEC } },
	/* F_STREAM_DISABLED: the StreamID only. */
	{ { 0x0000004200012806, 0xffffffff7fffffff, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .reason = IOPF_REASON_CONFIG,
		.raw_id = 0x06 } },
	/* F_TRANSL_FORBIDDEN: a write; a read. */
	{ { 0x0000004200000007, 0x0000000600000000, 0x0000000012345678, 0 },
		{ .addr = 0x12345678, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x07,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_CONFIG } },
	{ { 0x0000004200000007, 0x0000000e00000000, 0x0000000012345678, 0 },
		{ .addr = 0x12345678, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x07,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_CONFIG } },
	/* C_BAD_SUBSTREAMID: the SSID is valid without SSV. */
	{ { 0x0000004200012008, 0xffffffff7fffffff, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = 0x12, .reason = IOPF_REASON_CONFIG, .raw_id = 0x08 } },
	/* F_CD_FETCH. */
	{ { 0x0000004200012809, 0x0000000000000001, 0, 0x00000000aabbccf8 },
		{ .sid = 0x42, .pasid = 0x12, .reason = IOPF_REASON_CONFIG, .raw_id = 0x09,
		.syndrome = 1, .fetch_addr = 0xaabbccf8, .record_flags = IOPF_RECORD_FETCH } },
	{ { 0x000000420001280a, 0xffffffff7fffffff, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = 0x12, .reason = IOPF_REASON_CONFIG, .raw_id = 0x0a } },
	/* F_WALK_EABT: stage 1, TT, privileged write, reason 5. */
	{ { 0x000000420001280b, 0x0000010200000005, 0x00007fff00001008, 0x0000000080001010 },
		{ .addr = 0x7fff00001008, .sid = 0x42, .pasid = 0x12, .raw_id = 0x0b,
		.perm = IOPF_PERM_WRITE | IOPF_PERM_PRIV, .reason = IOPF_REASON_OTHER,
		.syndrome = 5, .fetch_addr = 0x80001010, .stage = 1,
		.event_class = IOPF_CLASS_TT, .record_flags = IOPF_RECORD_FETCH } },
	/* F_WALK_EABT: stage 2, of a CD; it has no IPA. */
	{ { 0x000000420000000b, 0x0000008800000000, 0x0000000000001008, 0x0000000080001010 },
		{ .addr = 0x1008, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x0b,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_OTHER, .fetch_addr = 0x80001010,
		.stage = 2, .event_class = IOPF_CLASS_CD, .record_flags = IOPF_RECORD_FETCH } },
	/* F_TRANSLATION: stage 1, IN, syndrome 0xcafe; the IPA of a stage 1 fault is UNKNOWN. */
	{ { 0x0000004200012810, 0xcafe020800001234, 0x0000000087654321, 0xffffffffffffffff },
		{ .addr = 0x87654321, .sid = 0x42, .pasid = 0x12, .raw_id = 0x10,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_TRANSLATION, .syndrome = 0xcafe,
		.stage = 1, .event_class = IOPF_CLASS_IN } },
	/* F_ADDR_SIZE: stage 2, CD. */
	{ { 0x0000004200012811, 0x0000008800000000, 0x0000000087654321, 0xff12345678abcfff },
		{ .addr = 0x87654321, .sid = 0x42, .pasid = 0x12, .raw_id = 0x11,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_ADDR_SIZE, .stage = 2,
		.event_class = IOPF_CLASS_CD, .ipa = 0x0012345678abc000,
		.flags = IOPF_EVENT_STAGE2, .record_flags = IOPF_RECORD_IPA } },
	/* F_ACCESS: class 3 is reserved; InD of a read. */
	{ { 0x0000004200000012, 0x0000030c00000000, 0, 0 },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x12,
		.perm = IOPF_PERM_READ | IOPF_PERM_EXEC, .reason = IOPF_REASON_ACCESS,
		.stage = 1 } },
	/* F_PERMISSION: stage 2, TT, the table was read; and written. */
	{ { 0x0000004200000013, 0x0000118000000000, 0x0000000000005000, 0x0000000000007000 },
		{ .addr = 0x5000, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x13,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_PERMISSION, .stage = 2,
		.event_class = IOPF_CLASS_TT, .ipa = 0x7000, .flags = IOPF_EVENT_STAGE2,
		.record_flags = IOPF_RECORD_IPA | IOPF_RECORD_TABLE_READ } },
	{ { 0x0000004200000013, 0x0000018000000000, 0x0000000000005000, 0x0000000000007000 },
		{ .addr = 0x5000, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x13,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_PERMISSION, .stage = 2,
		.event_class = IOPF_CLASS_TT, .ipa = 0x7000, .flags = IOPF_EVENT_STAGE2,
		.record_flags = IOPF_RECORD_IPA } },
	/* F_PERMISSION: TTRnW has no meaning for class IN. */
	{ { 0x0000004200000013, 0x0000120000000000, 0x0000000000005000, 0 },
		{ .addr = 0x5000, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x13,
		.perm = IOPF_PERM_WRITE, .reason = IOPF_REASON_PERMISSION, .stage = 1,
		.event_class = IOPF_CLASS_IN } },
	/* F_TLB_CONFLICT: 32 bits of reason; stage 2 has an IPA. */
	{ { 0x0000004200012820, 0x00000088fedcba98, 0x0000000000005001, 0x0000000000007fff },
		{ .addr = 0x5001, .sid = 0x42, .pasid = 0x12, .raw_id = 0x20,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_OTHER, .syndrome = 0xfedcba98,
		.stage = 2, .ipa = 0x7000, .record_flags = IOPF_RECORD_IPA } },
	{ { 0x0000004200012820, 0x0000000800000001, 0x0000000000005001, 0x0000000000007fff },
		{ .addr = 0x5001, .sid = 0x42, .pasid = 0x12, .raw_id = 0x20,
		.perm = IOPF_PERM_READ, .reason = IOPF_REASON_OTHER, .syndrome = 1, .stage = 1 } },
	/* F_CFG_CONFLICT. */
	{ { 0x0000004200012821, 0xffffffff80000001, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = 0x12, .raw_id = 0x21, .reason = IOPF_REASON_CONFIG,
		.syndrome = 0x80000001 } },
	/* E_PAGE_REQUEST: pR, pX, uW, span 0xa5. */
	{ { 0x0000004200012824, 0x000a50a400000000, 0x0000000012345abc, 0 },
		{ .addr = 0x12345000, .sid = 0x42, .pasid = 0x12, .raw_id = 0x24,
		.reason = IOPF_REASON_OTHER, .perm = IOPF_PERM_WRITE,
		.perm_priv = IOPF_PERM_READ | IOPF_PERM_EXEC, .span = 0xa5 } },
	/* E_PAGE_REQUEST: pW, uR, uX. */
	{ { 0x0000004200000024, 0x0000104a00000000, 0x0000000012345abc, 0 },
		{ .addr = 0x12345000, .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x24,
		.reason = IOPF_REASON_OTHER, .perm = IOPF_PERM_READ | IOPF_PERM_EXEC,
		.perm_priv = IOPF_PERM_WRITE, .span = 1 } },
	/* F_VMS_FETCH. */
	{ { 0x0000004200000025, 0x000000000001ffff, 0, 0x0000000000001008 },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0x25, .syndrome = 0xffff,
		.reason = IOPF_REASON_CONFIG, .fetch_addr = 0x1008,
		.record_flags = IOPF_RECORD_FETCH | IOPF_RECORD_GPC } },
	/* Implementation defined. */
	{ { 0x00000042000000e7, 0xffffffffdeadbeef, 0xffffffffffffffff, 0xffffffffffffffff },
		{ .sid = 0x42, .pasid = IOPF_NO_PASID, .raw_id = 0xe7, .syndrome = 0xdeadbeef,
		.reason = IOPF_REASON_OTHER } },
};

static void
assert_event_equal(const struct iopf_event *e, const struct iopf_event *want)
{
	assert_int_equal(e->raw_id, want->raw_id);
	assert_int_equal(e->addr, want->addr);
	assert_int_equal(e->ipa, want->ipa);
	assert_int_equal(e->sid, want->sid);
	assert_int_equal(e->pasid, want->pasid);
	assert_int_equal(e->token, want->token);
	assert_int_equal(e->perm, want->perm);
	assert_int_equal(e->reason, want->reason);
	assert_int_equal(e->flags, want->flags);
	assert_int_equal(e->stage, want->stage);
	assert_int_equal(e->event_class, want->event_class);
	assert_int_equal(e->fetch_addr, want->fetch_addr);
	assert_int_equal(e->syndrome, want->syndrome);
	assert_int_equal(e->perm_priv, want->perm_priv);
	assert_int_equal(e->span, want->span);
	assert_int_equal(e->record_flags, want->record_flags);
}

static void
test_each_field_of_each_event_is_decoded(void **state)
{
	struct iopf_event e;
	struct pmd p;

	(void)state;
	fake_open(&p, 4);
	for (unsigned int i = 0; i < RTE_DIM(literal); i++) {
		const uint64_t *dw = literal[i].dw;

		e = fake_decode(&p, dw[0], dw[1], dw[2], dw[3]);
		assert_event_equal(&e, &literal[i].want);
	}
	fake_close(&p);
}

/* Words with few bits, many bits, or any bits set. */
static uint64_t
random_word(uint64_t *seed)
{
	uint64_t w[3];

	for (unsigned int i = 0; i < 3; i++) {
		*seed ^= *seed << 13;
		*seed ^= *seed >> 7;
		*seed ^= *seed << 17;
		w[i] = *seed;
	}
	switch (w[0] & 3) {
	case 0:
		return w[1] & w[2];
	case 1:
		return w[1] | w[2];
	default:
		return w[1];
	}
}

/*
 * Any 32 bytes: every field is set, in its range, and within the bits that the architecture gives
 * to it.
 */
static void
test_any_bytes_give_an_event_in_range(void **state)
{
	uint64_t seed = 88172645463325252u, dw[4];
	struct iopf_event e;
	struct pmd p;

	(void)state;
	fake_open(&p, 4);
	for (unsigned int i = 0; i < 300000; i++) {
		bool faults;

		for (unsigned int w = 0; w < 4; w++)
			dw[w] = random_word(&seed);
		/* Half of them: an id that exists. */
		if (i & 1)
			dw[0] = (dw[0] & ~UINT64_C(0xff)) |
				literal[i / 2 % RTE_DIM(literal)].want.raw_id;
		/* fake_decode() fills the event with 0xa5 before. */
		e = fake_decode(&p, dw[0], dw[1], dw[2], dw[3]);
		faults = e.raw_id >= 0x10 && e.raw_id <= 0x13;
		assert_int_equal(e.raw_id, dw[0] & 0xff);
		assert_int_equal(e.sid, dw[0] >> 32);
		assert_true(e.pasid == IOPF_NO_PASID || e.pasid < 1 << 20);
		assert_int_equal(e.perm & ~(RWX | IOPF_PERM_PRIV), 0);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		assert_true(e.addr == 0 || e.addr == dw[2] || e.addr == (dw[2] & ~UINT64_C(0xfff)));
		assert_int_equal(e.ipa & ~UINT64_C(0x00fffffffffff000), 0);
		assert_int_equal(e.flags & ~(IOPF_EVENT_STALL | IOPF_EVENT_STAGE2 |
				IOPF_EVENT_BAD), 0);
		if (e.flags & IOPF_EVENT_STALL) {
			assert_true(faults && dw[1] >> 31 & 1);
			assert_int_equal(e.token, dw[1] & 0xffff);
			continue;
		}
		assert_int_equal(e.token, 0);
		assert_in_range(e.stage, 0, 2);
		assert_in_range(e.event_class, IOPF_CLASS_NONE, IOPF_CLASS_IN);
		assert_int_equal(e.perm_priv & ~RWX, 0);
		assert_int_equal(e.fetch_addr & ~UINT64_C(0x00fffffffffffff8), 0);
		assert_true(e.fetch_addr == 0 || e.record_flags & IOPF_RECORD_FETCH);
		assert_true(e.ipa == 0 || e.record_flags & IOPF_RECORD_IPA);
		assert_int_equal(e.record_flags & ~(IOPF_RECORD_FETCH | IOPF_RECORD_IPA |
				IOPF_RECORD_TABLE_READ | IOPF_RECORD_GPC), 0);
		/* The flag of the faults, and IOPF_RECORD_IPA, mean the same for them. */
		if (faults)
			assert_int_equal(!(e.flags & IOPF_EVENT_STAGE2),
					!(e.record_flags & IOPF_RECORD_IPA));
	}
	fake_close(&p);
}

/* An SMMU that merges does so for a device with merge_events only, and never stalls. */
static void
test_equal_events_are_merged_where_asked(void **state)
{
	struct iopf_event events[16];
	uint8_t buf[4] = { 0 };
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		bool merge = k & 1, stall = k & 2;

		pmd_open(&p, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_MERGE_EVENTS });
		p.merge_events = merge;
		pmd_start(&p, stall ? IOPF_STALL : IOPF_TERMINATE);
		/* Six on one page, one on another, one on the first. */
		for (unsigned int i = 0; i < 6; i++)
			pmd_write(&p, PMD_VA + i * 8, buf, sizeof(buf));
		pmd_step(&p);
		pmd_write(&p, PMD_VA + 0x1000, buf, sizeof(buf));
		pmd_step(&p);
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		assert_int_equal(p.ops->poll(p.s, 0, events, 16), merge && !stall ? 3 : 8);
		/* A record that was read is no place to merge into. */
		pmd_write(&p, PMD_VA, buf, sizeof(buf));
		pmd_step(&p);
		assert_int_equal(p.ops->poll(p.s, 0, &events[8], 1), 1);
		if (stall)
			for (unsigned int i = 0; i < 9; i++)
				pmd_answer(&p, &events[i], IOPF_INVALID);
		for (unsigned int i = 0; i < 9; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_each_field_of_each_event_is_decoded),
	cmocka_unit_test(test_any_bytes_give_an_event_in_range),
	cmocka_unit_test(test_equal_events_are_merged_where_asked),
};

TEST_SUITE(pmd_event, tests, NULL, NULL);
