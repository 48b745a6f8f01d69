/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The page request queue: entries are decoded, a burst has one CONS store. */

#include <stdlib.h>

#include "fake_priq.h"
#include "test.h"

static void
test_requests_are_decoded(void **state)
{
	struct iopf_event e;
	struct fake_priq fake;

	(void)state;
	fq_open(&fake, 3, false);

	/* SSV, Last, W; SSID 5; SID 8; index 0x1ff. */
	fq_add(REQUEST, UINT64_C(0xe000000500000008), UINT64_C(0xfedcba98765431ff));
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.sid, 8);
	assert_int_equal(e.pasid, 5);
	assert_int_equal(e.token, 0x1ff);
	assert_int_equal(e.addr, UINT64_C(0xfedcba9876543000));
	assert_int_equal(e.ipa, 0);
	assert_int_equal(e.perm, IOPF_PERM_WRITE);
	assert_int_equal(e.reason, IOPF_REASON_TRANSLATION);
	assert_int_equal(e.raw_id, 0);

	/* SSV, R, X, privileged; the largest SSID and SID. */
	fq_add(REQUEST, UINT64_C(0x9c0fffff0000ffff), 0);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST);
	assert_int_equal(e.sid, 0xffff);
	assert_int_equal(e.pasid, 0xfffff);
	assert_int_equal(e.token, 0);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_EXEC | IOPF_PERM_PRIV);

	/* Without SSV the SSID, X and Priv fields have no meaning. */
	fq_add(REQUEST, UINT64_C(0x7c00012300000008), 0x1000);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.perm, IOPF_PERM_READ | IOPF_PERM_WRITE);
	fq_close();
}

/* [8.1]: without SSV the same bits are a request without access rights, which needs an answer. */
static void
test_a_stop_marker_has_a_pasid(void **state)
{
	struct iopf_event e;
	struct fake_priq fake;

	(void)state;
	fq_open(&fake, 3, false);
	/* X, Priv, index and address have no meaning in a stop marker. */
	fq_add(REQUEST, SSV | LAST | SMMUV3_PPR0_X | SMMUV3_PPR0_PRIV | UINT64_C(7) << 32 | SID,
			0xabcd1ff);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_STOP_MARKER);
	assert_int_equal(e.sid, SID);
	assert_int_equal(e.pasid, 7);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.addr, 0);
	assert_int_equal(e.token, 0);
	assert_int_equal(pmd_read_stat(&fake.p, "priq_stop_markers"), 1);

	fq_add(REQUEST, LAST | SID, 0x1003);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.pasid, IOPF_NO_PASID);
	assert_int_equal(e.perm, 0);
	assert_int_equal(e.token, 3);
	assert_int_equal(e.addr, 0x1000);

	/* With R or W it is a request. */
	fq_add(REQUEST, SSV | LAST | R | SID, 0);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	fq_add(REQUEST, SSV | LAST | W | SID, 0);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(pmd_read_stat(&fake.p, "priq_stop_markers"), 1);
	fq_close();
}

static void
test_impossible_entries_are_bad(void **state)
{
	static const uint64_t bad[] = {
		0,				/* was never written */
		SID,				/* neither a request nor the end of a group */
		SSV | SID,
		SSV | SMMUV3_PPR0_X | SID,
		LAST | W | UINT64_C(0x10000),	/* a StreamID that the SMMU does not have */
		SSV | LAST | UINT64_C(0xffffffff),
		UINT64_C(0x03f0000000000000) | SID,	/* RES0 bits alone */
	};
	struct iopf_event e;
	struct fake_priq fake;
	unsigned int i;

	(void)state;
	fq_open(&fake, 3, false);
	for (i = 0; i < RTE_DIM(bad); i++) {
		fq_add(REQUEST, bad[i], 0x1007);
		assert_int_equal(fq_poll(&e, 1), 1);
		assert_int_equal(e.flags, IOPF_EVENT_BAD);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		assert_int_equal(pmd_read_stat(&fake.p, "bad_requests"), i + 1);
	}
	/* RES0 bits have no meaning. */
	fq_add(REQUEST, UINT64_C(0x03f0000000000000) | W | SID, 0xe00);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST);
	assert_int_equal(e.token, 0);
	assert_int_equal(pmd_read_stat(&fake.p, "bad_requests"), i);
	assert_int_equal(pmd_read_stat(&fake.p, "requests"), i + 1);
	fq_close();
}

/*
 * The stream table has fewer StreamIDs [6.3.24], but a page request uses no STE and needs an
 * answer.
 */
static void
test_requests_of_all_streams_are_accepted(void **state)
{
	struct iopf_event e;
	struct fake_priq fake;

	(void)state;
	fq_open_sids(&fake, 3, false, 32);
	assert_true(fake.p.info.sid_bits < 32);
	fq_add(REQUEST, LAST | W | UINT64_C(0xffffffff), 0x1000);
	assert_int_equal(fq_poll(&e, 1), 1);
	assert_int_equal(e.flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e.sid, UINT32_MAX);
	fq_close();
}

static void
test_random_entries_are_decoded_within_bounds(void **state)
{
	struct iopf_event e;
	struct fake_priq fake;
	unsigned int seen[256] = { 0 };

	(void)state;
	fq_open(&fake, 3, false);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t dw[2] = { 0, 0 };

		for (unsigned int k = 0; k < 8; k++)
			dw[k / 4] = dw[k / 4] << 16 ^ (uint64_t)(rand_r(&fq->seed) & 0xffff);
		/* Half of the StreamIDs exist. */
		if (i & 1)
			dw[0] &= ~UINT64_C(0xffff0000);
		fq->head = fq->tail;
		fq_add(REQUEST, dw[0], dw[1]);
		assert_int_equal(fq_poll(&e, 1), 1);
		assert_true(e.flags == IOPF_EVENT_PAGE_REQUEST || e.flags == IOPF_EVENT_BAD ||
				e.flags == (IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST) ||
				e.flags == IOPF_EVENT_STOP_MARKER);
		assert_true(e.pasid == IOPF_NO_PASID || e.pasid < 1 << 20);
		assert_true(e.token < 512);
		assert_int_equal(e.addr & 0xfff, 0);
		assert_int_equal(e.perm & ~(IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_EXEC |
				IOPF_PERM_PRIV), 0);
		assert_in_range(e.reason, 0, IOPF_NB_REASONS - 1);
		if (e.flags != IOPF_EVENT_BAD)
			assert_true(e.sid < 1 << 16);
		seen[e.flags]++;
	}
	assert_true(seen[IOPF_EVENT_BAD] > 0 && seen[IOPF_EVENT_STOP_MARKER] > 0 &&
			seen[IOPF_EVENT_PAGE_REQUEST] > 0 &&
			seen[IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST] > 0);
	fq_close();
}

static void
test_a_burst_has_one_consumer_store(void **state)
{
	struct iopf_event e[8];
	struct fake_priq fake;
	unsigned int i, n, left;

	(void)state;
	for (unsigned int log2 = 0; log2 < 4; log2++) {
		fq_open(&fake, log2, false);
		for (unsigned int round = 0; round < 100; round++) {
			left = 1 + round % (1u << log2);
			for (i = 0; i < left; i++)
				fq_add_request();
			while (left > 0) {
				/* fq_poll() counts the stores. */
				n = fq_poll_stream(1 + round % 5);
				assert_int_equal(n, RTE_MIN(1 + round % 5, left));
				left -= n;
			}
			assert_int_equal(fq_poll(e, 8), 0);
		}
		assert_int_equal(pmd_read_stat(&fake.p, "priq_losses"), 0);
		fq_close();
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_requests_are_decoded),
	cmocka_unit_test(test_a_stop_marker_has_a_pasid),
	cmocka_unit_test(test_impossible_entries_are_bad),
	cmocka_unit_test(test_requests_of_all_streams_are_accepted),
	cmocka_unit_test(test_random_entries_are_decoded_within_bounds),
	cmocka_unit_test(test_a_burst_has_one_consumer_store),
};

TEST_SUITE(pmd_priq, tests, NULL, NULL);
