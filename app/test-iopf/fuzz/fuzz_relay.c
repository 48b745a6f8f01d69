/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A libFuzzer target: a guest with a virtual SMMU (examples/vmm-relay), whose registers, queues,
 * tables, DMA and death are the input, as operations of four bytes (pri/vmm_hostile.h). Another
 * guest has the same addresses, StreamIDs and ASID, and works on.
 *
 * After each input all that hostile_check() and fuzz_check() check holds. Each event record for the
 * hostile guest is one that its SMMU can have, and GERROR has no bit that it has not.
 *
 *	CC=clang meson setup build-fuzz -Dfuzzers=true -Db_sanitize=address,undefined \
 *		-Db_lundef=false -Ddefault_library=static
 *	build-fuzz/app/test-iopf/fuzz-relay -max_total_time=3600 -max_len=512 -detect_leaks=0 \
 *		-entropic=0 CORPUS
 *
 * With --pri the devices of all guests have ATS and PRI.
 */

#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include <smmuv3_front.h>

#include "fuzz.h"
#include "smmuv3_order.h"
#include "vmm_hostile.h"
#include "vmm_hostile_world.h"

#define RELAY_STALLS	64	/* STALL_MAX of the virtual SMMU */

/* What a mutation seldom finds. */
static const uint8_t seeds[][8][sizeof(struct hostile_op)] = {
	/* An access that is mapped, and one that faults, stalls and is mapped. */
	{ { HOSTILE_BOOT }, { HOSTILE_MAP, 1, 1 }, { HOSTILE_DMA, 4, 1 }, { HOSTILE_RUN } },
	{ { HOSTILE_BOOT }, { HOSTILE_DMA, 4, 2 }, { HOSTILE_RUN }, { HOSTILE_MAP, 2, 2 },
	  { HOSTILE_CMD, 11, 0x40 }, { HOSTILE_CMD, 13 }, { HOSTILE_RUN }, { HOSTILE_CONSUME } },
	/* Bypass; the second device. */
	{ { HOSTILE_BOOT }, { HOSTILE_TABLE, 1, 0, 26 }, { HOSTILE_CMD, 0 }, { HOSTILE_CMD, 13 },
	  { HOSTILE_RUN }, { HOSTILE_DMA, 4, 74 }, { HOSTILE_RUN } },
	{ { HOSTILE_TABLE, 0, (VM_SID + 1) * 8, 25 }, { HOSTILE_CMD, 0x10, 0, VM_SID + 1 },
	  { HOSTILE_RUN }, { HOSTILE_DMA, 6, 1 }, { HOSTILE_RUN } },
	/* A page request, and its answer. */
	{ { HOSTILE_BOOT }, { HOSTILE_DMA, 4, 3 }, { HOSTILE_RUN }, { HOSTILE_MAP, 3, 3 },
	  { HOSTILE_CMD, 10, 0, 2 }, { HOSTILE_CMD, 13 }, { HOSTILE_RUN }, { HOSTILE_CMD, 9, 3 } },
	/* An illegal command, and its end. */
	{ { HOSTILE_CMD_RAW, 7 }, { HOSTILE_RUN }, { HOSTILE_ACK, 1 }, { HOSTILE_RUN } },
	/* An event queue that is nowhere; a stream table that is nowhere. */
	{ { HOSTILE_BOOT }, { HOSTILE_REG, 7 }, { HOSTILE_RUN }, { HOSTILE_REG, 3, 0x8d },
	  { HOSTILE_REG, 1, 13 }, { HOSTILE_REG, 7, 30 }, { HOSTILE_RUN }, { HOSTILE_DMA, 4, 2 } },
	/* A stream table as large as STRTAB_BASE_CFG can say. */
	{ { HOSTILE_REG, 7 }, { HOSTILE_RUN }, { HOSTILE_REG, 14, 2 }, { HOSTILE_REG, 7, 30 },
	  { HOSTILE_RUN } },
	/* A stall, and a guest that ends it in each way. */
	{ { HOSTILE_BOOT }, { HOSTILE_DMA, 4, 2 }, { HOSTILE_RUN }, { HOSTILE_REG, 7 },
	  { HOSTILE_RUN } },
	{ { HOSTILE_DMA, 4, 2 }, { HOSTILE_RUN }, { HOSTILE_CMD, 12 }, { HOSTILE_RUN } },
	{ { HOSTILE_DMA, 4, 2 }, { HOSTILE_RUN }, { HOSTILE_RESET, 1 }, { HOSTILE_BOOT } },
	/* More stalls than it has STAGs. */
	{ { HOSTILE_BOOT }, { HOSTILE_DMA, 0xc4, 2 }, { HOSTILE_RUN } },
	/* MSIs into its own queue. */
	{ { HOSTILE_REG, 0, 3 }, { HOSTILE_REG, 4, 5 }, { HOSTILE_REG, 17, 31 }, { HOSTILE_RUN },
	  { HOSTILE_CMD, 13, 3, 1 }, { HOSTILE_RUN } },
};

int __wrap_smmuv3_front_request(struct smmuv3_front *f, const uint64_t record[2]);
int __real_smmuv3_front_request(struct smmuv3_front *f, const uint64_t record[2]);
int __wrap_smmuv3_front_event(struct smmuv3_front *f, const uint64_t record[4]);
int __real_smmuv3_front_event(struct smmuv3_front *f, const uint64_t record[4]);

static void
check_sid(uint64_t sid)
{
	if (sid < VM_SID || sid >= VM_SID + VM_DEVS)
		fuzz_die("a record of a StreamID that the guest has not");
}

int
__wrap_smmuv3_front_request(struct smmuv3_front *f, const uint64_t record[2])
{
	check_sid(SMMUV3_GET(SMMUV3_PPR0_SID, record[0]));
	return __real_smmuv3_front_request(f, record);
}

/* Each record that the relay puts. */
int
__wrap_smmuv3_front_event(struct smmuv3_front *f, const uint64_t record[4])
{
	bool fetch = false;

	check_sid(SMMUV3_GET(SMMUV3_EVT0_SID, record[0]));
	switch (SMMUV3_GET(SMMUV3_EVT0_ID, record[0])) {
	case SMMUV3_F_TRANSLATION:
	case SMMUV3_F_ADDR_SIZE:
	case SMMUV3_F_ACCESS:
	case SMMUV3_F_PERMISSION:
		if (record[1] & SMMUV3_EVT1_STALL &&
				SMMUV3_GET(SMMUV3_EVT1_STAG, record[1]) >= RELAY_STALLS)
			fuzz_die("a record with a STAG that the guest's SMMU has not");
		break;
	case SMMUV3_F_STE_FETCH:
	case SMMUV3_F_CD_FETCH:
	case SMMUV3_F_WALK_EABT:
		fetch = true;
		/* fall through */
	case SMMUV3_C_BAD_STREAMID:
	case SMMUV3_C_BAD_STE:
	case SMMUV3_F_BAD_ATS_TREQ:
	case SMMUV3_F_STREAM_DISABLED:
	case SMMUV3_F_TRANSL_FORBIDDEN:
	case SMMUV3_C_BAD_SUBSTREAMID:
	case SMMUV3_C_BAD_CD:
		if (record[1] & SMMUV3_EVT1_STALL)
			fuzz_die("a stall that is no fault of a translation");
		break;
	default:
		fuzz_die("a record that the guest's SMMU has not");
	}
	if (record[1] & SMMUV3_EVT1_S2 || (!fetch && record[3] != 0))
		fuzz_die("a record that tells of the host's stage 2");
	return __real_smmuv3_front_event(f, record);
}

static void
check_registers(void)
{
	uint8_t *regs = vm_host.vm[0].regs;
	uint32_t bits = SMMUV3_GERROR_CMDQ_ERR | SMMUV3_GERROR_EVENTQ_ABT |
		SMMUV3_GERROR_MSI_CMDQ_ABT | SMMUV3_GERROR_MSI_EVENTQ_ABT |
		SMMUV3_GERROR_MSI_GERROR_ABT;

	if (smmuv3_read32(regs, SMMUV3_IDR0) & SMMUV3_IDR0_PRI)
		bits |= SMMUV3_GERROR_PRIQ_ABT | SMMUV3_GERROR_MSI_PRIQ_ABT;
	if (smmuv3_read32(regs, SMMUV3_GERROR) & ~bits)
		fuzz_die("a bit of GERROR that the guest's SMMU has not");
	if (smmuv3_read32(regs, SMMUV3_IDR0) !=
			smmuv3_read32(vm_host.vm[1].regs, SMMUV3_IDR0))
		fuzz_die("the guest has changed its IDR0");
}

/* An operation or a whole seed at any place. */
static size_t
insert_ops(uint8_t *data, size_t size, size_t max, unsigned int rand)
{
	const struct hostile_op one = { (uint8_t)(rand >> 8) % HOSTILE_NB, (uint8_t)(rand >> 16),
		(uint8_t)(rand >> 20), (uint8_t)(rand >> 24) };
	const void *ops = &one;
	size_t at = (rand >> 4) % (size / sizeof(one) + 1) * sizeof(one), len = sizeof(one);

	if (rand & 8 || size < sizeof(one)) {
		ops = seeds[(rand >> 16) % RTE_DIM(seeds)];
		len = sizeof(seeds[0]);
	}
	if (size + len > max)
		return size;
	memmove(data + at + len, data + at, size - at);
	memcpy(data + at, ops, len);
	return size + len;
}

static size_t
remove_ops(uint8_t *data, size_t size, unsigned int rand)
{
	size_t nb = size / sizeof(struct hostile_op);
	size_t at = (rand >> 4) % nb * sizeof(struct hostile_op);
	size_t len = RTE_MIN(((rand >> 16 & 7) + 1) * sizeof(struct hostile_op), size - at);

	memmove(data + at, data + at + len, size - at - len);
	return size - len;
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned int seed)
{
	const unsigned int rand = seed * 2654435761u;

	size -= size % sizeof(struct hostile_op);
	max -= max % sizeof(struct hostile_op);
	switch (size < sizeof(struct hostile_op) ? 0 : rand >> 1 & 3) {
	case 0:
		return insert_ops(data, size, max, rand);
	case 1:
		if (size > 2 * sizeof(struct hostile_op))
			return remove_ops(data, size, rand);
		/* fall through */
	default:
		size = LLVMFuzzerMutate(data, size, max);
		return size - size % sizeof(struct hostile_op);
	}
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	bool pri = false;

	for (int i = 1; i < *argc; i++)
		pri |= strcmp((*argv)[i], "--pri") == 0;
	fuzz_init("fuzz-relay");
	vm_open(&(struct vm_conf){ .pri = pri, .any_asids = true, .tlb_log2 = 6 });
	hostile_open();
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	hostile_run(data, size);
	check_registers();
	hostile_check();
	fuzz_check(vm_host.m, vm_host.smmu);
	return 0;
}
