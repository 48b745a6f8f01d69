/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The check of a guest's commands: every opcode, every bit, and the values that have rules. */

#include <string.h>

#include "guest_cmd.h"
#include "smmuv3_pmd.h"
#include "test.h"

#define VMID	UINT64_C(0xbeef)
#define VMID_AT	UINT64_C(0x0000ffff00000000)

/* Literal bits of each command that a guest may use [4.3 to 4.5], of an SMMU that has them all. */
static const struct row {
	uint8_t op;
	bool vmid;		/* bits [47:32] are replaced */
	uint64_t may[2];
	uint64_t base[2];	/* makes each single bit of may[] a good value */
} rows[] = {
	{ 0x05, false, { 0xfffffffffffff000, 0x1 }, { 0, 0 } },
	{ 0x06, false, { 0xffffffff00000000, 0x0 }, { 0, 0 } },
	{ 0x10, true, { 0x0000ffff00000000, 0x0 }, { 0, 0 } },
	{ 0x11, true, { 0xffffffff00000000, 0x0 }, { 0, 0 } },
	/* TG of 4 KiB, and SCALE 1. */
	{ 0x12, true, { 0xffffffff01f1f000, 0xffffffffffffff01 }, { 0x100000, 0x400 } },
	{ 0x13, true, { 0x0000ffff01f1f000, 0xffffffffffffff01 }, { 0x100000, 0x400 } },
	{ 0x30, true, { 0, 0 }, { 0, 0 } },
	/* SSV */
	{ 0x40, false, { 0xfffffffffffffa00, 0xfffffffffffff03f }, { 0x800, 0 } },
};

static struct smmuv3 smmu;	/* its ID registers */

static int
setup(void **state)
{
	(void)state;
	memset(&smmu, 0, sizeof(smmu));
	smmu.idr0 = 1 << 12;		/* ASID16 */
	smmu.idr3 = 1 << 10;		/* RIL */
	smmu.granules = 1 << 12 | 1 << 14 | 1 << 16;
	return 0;
}

static const struct row *
find_row(unsigned int op)
{
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].op == op)
			return &rows[i];
	return NULL;
}

static void
expect_refused(uint64_t dw0, uint64_t dw1, const char *part)
{
	struct smmuv3_cmd cmd = { { dw0, dw1 } };
	const char *why = smmuv3_guest_cmd_check(&smmu, VMID, &cmd);

	if (why == NULL || strstr(why, part) == NULL)
		fail_msg("command %#llx %#llx: \"%s\", not \"%s\"", (unsigned long long)dw0,
				(unsigned long long)dw1, why != NULL ? why : "passed", part);
}

/* It passes, and becomes this. */
static void
expect_passed_as(uint64_t dw0, uint64_t dw1, uint64_t dw0_as, uint64_t dw1_as)
{
	struct smmuv3_cmd cmd = { { dw0, dw1 } };
	const char *why = smmuv3_guest_cmd_check(&smmu, VMID, &cmd);

	if (why != NULL || cmd.dw[0] != dw0_as || cmd.dw[1] != dw1_as)
		fail_msg("command %#llx %#llx: \"%s\", %#llx %#llx", (unsigned long long)dw0,
				(unsigned long long)dw1, why != NULL ? why : "passed",
				(unsigned long long)cmd.dw[0], (unsigned long long)cmd.dw[1]);
}

static void
test_a_guest_may_set_the_bits_of_its_invalidations_only(void **state)
{
	(void)state;
	for (unsigned int op = 0; op < 256; op++) {
		const struct row *row = find_row(op);

		for (unsigned int bit = 8; bit < 128; bit++) {
			const uint64_t one[2] = { bit < 64 ? UINT64_C(1) << bit : 0,
				bit < 64 ? 0 : UINT64_C(1) << (bit - 64) };
			uint64_t dw[2];

			if (row == NULL) {
				expect_refused(op | one[0], one[1], "opcode");
				continue;
			}
			dw[0] = op | row->base[0] | one[0];
			dw[1] = row->base[1] | one[1];
			if (one[0] & ~row->may[0] || one[1] & ~row->may[1])
				expect_refused(dw[0], dw[1], "bits that must be 0");
			else
				expect_passed_as(dw[0], dw[1], row->vmid ? (dw[0] & ~VMID_AT) |
						VMID << 32 : dw[0], dw[1]);
		}
	}
}

static void
test_bits_that_the_smmu_lacks_must_be_0(void **state)
{
	(void)state;
	smmu.idr3 = 0;
	for (unsigned int op = 0x12; op <= 0x13; op++) {
		expect_refused(op | 1 << 12, 0, "bits that must be 0");
		expect_refused(op | 1 << 24, 0, "bits that must be 0");
		for (unsigned int bit = 8; bit < 12; bit++)
			expect_refused(op, 1 << bit, "bits that must be 0");
		expect_passed_as(op, 0xfffffffffffff001, op | VMID << 32, 0xfffffffffffff001);
	}
	smmu.idr0 = 0;
	expect_refused(0x11 | UINT64_C(1) << 56, 0, "bits that must be 0");
	expect_refused(0x12 | UINT64_C(1) << 63, 0, "bits that must be 0");
	expect_passed_as(0x12 | 0xffULL << 48, 0, 0x12 | 0xffULL << 48 | VMID << 32, 0);
	/* The StreamID of the others is at these bits. */
	for (unsigned int bit = 56; bit < 64; bit++) {
		expect_passed_as(0x05 | UINT64_C(1) << bit, 0, 0x05 | UINT64_C(1) << bit, 0);
		expect_passed_as(0x840 | UINT64_C(1) << bit, 0, 0x840 | UINT64_C(1) << bit, 0);
		expect_refused(0x12 | UINT64_C(1) << bit, 0, "bits that must be 0");
	}
}

static void
test_the_vmid_is_the_guests_own(void **state)
{
	(void)state;
	expect_passed_as(0x10 | UINT64_C(7) << 32, 0, 0x10 | VMID << 32, 0);
	expect_passed_as(0x11 | UINT64_C(0x1234ffff) << 32, 0, 0x11 | UINT64_C(0x1234) << 48 |
			VMID << 32, 0);
	/* That of all VMIDs too. */
	expect_passed_as(0x30, 0, 0x10 | VMID << 32, 0);
	for (unsigned int vmid = 0; vmid < 0x10000; vmid += 0x101) {
		struct smmuv3_cmd cmd = { { 0x12 | VMID << 32, 0x5000 } };

		assert_null(smmuv3_guest_cmd_check(&smmu, vmid, &cmd));
		assert_int_equal(cmd.dw[0], 0x12 | (uint64_t)vmid << 32);
	}
}

static void
test_a_range_is_legal_and_predictable(void **state)
{
	const uint64_t num = 1 << 12, scale = 1 << 20;

	(void)state;
	for (unsigned int op = 0x12; op <= 0x13; op++) {
		/* Without TG: one address, of any granule. */
		expect_passed_as(op, 0x1001, op | VMID << 32, 0x1001);
		expect_refused(op | num, 0x1000, "must be 0 without TG");
		expect_refused(op | scale, 0x1000, "must be 0 without TG");
		expect_refused(op, 0x1300, "must be 0 without TG");
		/* With TG all 0 is illegal, and TTL 1 of 16 KiB is as 0. */
		for (uint64_t tg = 1; tg <= 3; tg++)
			expect_refused(op, tg << 10, "must not all be 0 with TG");
		expect_refused(op, 2 << 10 | 1 << 8, "must not all be 0 with TG");
		expect_passed_as(op | num, 2 << 10 | 1 << 8 | 0x4000, op | num | VMID << 32,
				2 << 10 | 1 << 8 | 0x4000);
		/* Granule, level, and the size that an address must be a multiple of. */
		static const struct { uint64_t tg, ttl; unsigned int log2; } units[] = {
			{ 1, 0, 12 }, { 1, 3, 12 }, { 1, 2, 21 }, { 1, 1, 30 },
			{ 2, 0, 14 }, { 2, 3, 14 }, { 2, 2, 25 }, { 2, 1, 14 },
			{ 3, 0, 16 }, { 3, 3, 16 }, { 3, 2, 29 }, { 3, 1, 42 },
		};
		for (unsigned int i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			uint64_t dw1 = units[i].tg << 10 | units[i].ttl << 8;
			uint64_t unit = UINT64_C(1) << units[i].log2;

			expect_passed_as(op | num, dw1 | unit, op | num | VMID << 32, dw1 | unit);
			for (uint64_t off = 0x1000; off < unit; off <<= 1)
				expect_refused(op | num, dw1 | unit | off, "not aligned");
		}
	}
}

static void
test_an_atc_inv_has_a_size_and_a_pasid_of_sense(void **state)
{
	const uint64_t sid = UINT64_C(0x12345678) << 32;

	(void)state;
	for (unsigned int size = 0; size < 64; size++)
		if (size <= 52)
			expect_passed_as(0x40 | sid, 0x5000 | size, 0x40 | sid, 0x5000 | size);
		else
			expect_refused(0x40 | sid, 0x5000 | size, "Size is more than 52");
	/* Without SSV the SMMU ignores SSID and Global: they do not reach an endpoint. */
	expect_passed_as(0x40 | sid | 0x200 | 0xabcde000, 0, 0x40 | sid, 0);
	expect_passed_as(0x40 | sid | 0xa00 | 0xabcde000, 0, 0x40 | sid | 0xa00 | 0xabcde000, 0);
	/* A span is no smaller than the STU that ATS was enabled with. */
	smmu.granules = 1 << 16;
	expect_passed_as(0x40 | sid, 0x5003, 0x40 | sid, 0x5004);
	expect_passed_as(0x40 | sid, 0x5005, 0x40 | sid, 0x5005);
}

static void
test_a_command_that_names_a_stream_is_known_as_such(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(smmuv3_guest_cmd_has_sid(&(struct smmuv3_cmd){ { rows[i].op } }),
				!rows[i].vmid);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_setup(test_a_guest_may_set_the_bits_of_its_invalidations_only, setup),
	cmocka_unit_test_setup(test_bits_that_the_smmu_lacks_must_be_0, setup),
	cmocka_unit_test_setup(test_the_vmid_is_the_guests_own, setup),
	cmocka_unit_test_setup(test_a_range_is_legal_and_predictable, setup),
	cmocka_unit_test_setup(test_an_atc_inv_has_a_size_and_a_pasid_of_sense, setup),
	cmocka_unit_test_setup(test_a_command_that_names_a_stream_is_known_as_such, setup),
};

TEST_SUITE(pmd_guest_cmd, tests, NULL, NULL);
