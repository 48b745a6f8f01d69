/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Page files on the side of the SMMU: layout, seals, registers that the creator gives, garbage. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smmuv3_model.h"
#include "smmuv3_model_page.h"
#include "smmuv3_model_test.h"
#include "smmuv3_order.h"
#include "smmuv3_page.h"
#include "smmuv3_spec.h"
#include "test.h"

static struct smmuv3_model *
serve(struct smmuv3_model_page *page, struct smmuv3_model_conf conf)
{
	struct smmuv3_model *m;

	conf.regs = page->regs;
	conf.regs_size = page->regs_size;
	m = smmuv3_model_create(&conf);
	assert_non_null(m);
	assert_int_equal(smmuv3_model_mem_add(m, page->mem_addr, page->mem, page->mem_size), 0);
	return m;
}

/* Literal offsets: driver and server could agree on a wrong header. */
static void
test_a_page_file_has_the_documented_layout(void **state)
{
	const struct smmuv3_model_page_conf conf = { .regs_size = 0x30000, .mem_addr = 0x50000000,
		.mem_size = 0x400000, .mem_driver = 0x80000 };
	struct smmuv3_model_page page;
	uint8_t head[64];
	struct stat st;
	int fd;

	(void)state;
	assert_int_equal(smmuv3_model_page_create(&conf, &page), 0);
	fd = open(page.path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, head, 64, 0), 64);
	assert_memory_equal(head, "iopfpage\1\0\0\0\0\0\0\0" "\0\0\1\0\0\0\0\0" "\0\0\3\0\0\0\0\0"
			"\0\0\4\0\0\0\0\0" "\0\0\100\0\0\0\0\0" "\0\0\0\120\0\0\0\0"
			"\0\0\010\0\0\0\0\0", 64);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0x440000);
	/* The two mappings are the parts that the header names. */
	assert_int_equal(pwrite(fd, "r", 1, 0x10000), 1);
	assert_int_equal(pwrite(fd, "m", 1, 0x40000), 1);
	assert_int_equal(*(char *)page.regs, 'r');
	assert_int_equal(*(char *)page.mem, 'm');
	assert_int_equal(page.regs_size, 0x30000);
	assert_int_equal(page.mem_addr, 0x50000000);
	assert_int_equal(page.mem_size, 0x400000);
	close(fd);
	smmuv3_model_page_destroy(&page);
	assert_int_equal(page.fd, -1);
	/* Defaults. */
	assert_int_equal(smmuv3_model_page_create(NULL, &page), 0);
	assert_int_equal(page.regs_size, 128 << 10);
	assert_int_equal(page.mem_size, 64 << 20);
	assert_int_equal(page.mem_addr, 1 << 30);
	smmuv3_model_page_destroy(&page);
}

static void
test_values_out_of_range_make_no_page_file(void **state)
{
	static const struct smmuv3_model_page_conf bad[] = {
		{ .regs_size = 0x10000 }, { .regs_size = 0x20001 }, { .regs_size = 65 << 20 },
		{ .regs_size = SIZE_MAX & ~0xffffUL },
		{ .mem_size = 0x1000 }, { .mem_size = 0x10001 }, { .mem_size = 0x10000 },
		{ .mem_size = SIZE_MAX & ~0xffffUL }, { .mem_size = UINT64_C(1) << 63 },
		{ .mem_addr = 0x1000 }, { .mem_addr = 0x40001000 },
		{ .mem_addr = UINT64_C(1) << 52 }, { .mem_addr = (UINT64_C(1) << 52) - 0x10000 },
		{ .mem_driver = 0x1000 }, { .mem_driver = (64 << 20) + 0x10000 },
	};
	struct smmuv3_model_page page = { .fd = 77 };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(smmuv3_model_page_create(&bad[i], &page), -EINVAL);
	assert_int_equal(smmuv3_model_page_create(NULL, NULL), -EINVAL);
	assert_int_equal(page.fd, 77);
	smmuv3_model_page_destroy(NULL);
}

/* A file that shrinks would be a SIGBUS in the server. */
static void
test_no_process_changes_the_size_of_a_page_file(void **state)
{
	struct smmuv3_model_page page;
	int fd;

	(void)state;
	assert_int_equal(smmuv3_model_page_create(NULL, &page), 0);
	fd = open(page.path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, UINT64_C(1) << 30), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	/* A hole reads as zero. */
	((uint8_t *)page.mem)[0] = 1;
	assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x30000, 0x10000),
			0);
	assert_int_equal(((uint8_t *)page.mem)[0], 0);
	close(fd);
	smmuv3_model_page_destroy(&page);
}

static void
test_a_model_uses_the_registers_that_it_is_given(void **state)
{
	struct smmuv3_model_conf conf = { .regs_size = 0x20000 };
	struct smmuv3_model_page page;
	struct smmuv3_model *m;
	uint8_t *regs;

	(void)state;
	assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
			.regs_size = 0x40000 }, &page), 0);
	regs = page.regs;
	memset(regs, 0xa5, page.regs_size);
	m = serve(&page, (struct smmuv3_model_conf){ .features = SMMUV3_MODEL_ECMDQ });
	assert_ptr_equal(smmuv3_model_regs(m), regs);
	assert_int_equal(smmuv3_model_regs_size(m), 0x30000);
	assert_int_not_equal(smmuv3_read32(regs, SMMUV3_IDR1), 0xa5a5a5a5);
	assert_int_equal(smmuv3_read32(regs, SMMUV3_CR0), 0);
	/* The memory behind its registers is not the model's. */
	assert_int_equal(regs[0x30000], 0xa5);
	smmuv3_write32(regs, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRL_EVENTQ);
	smmuv3_model_step(m, 64);
	assert_int_equal(smmuv3_read32(regs, SMMUV3_IRQ_CTRLACK), SMMUV3_IRQ_CTRL_EVENTQ);
	/* They outlive it. */
	smmuv3_model_destroy(m);
	assert_int_equal(smmuv3_read32(regs, SMMUV3_IRQ_CTRLACK), SMMUV3_IRQ_CTRL_EVENTQ);

	conf.regs = regs + 64;
	assert_null(smmuv3_model_create(&conf));
	assert_int_equal(errno, EINVAL);
	conf.regs = regs;
	conf.regs_size = 0x1ffff;
	assert_null(smmuv3_model_create(&conf));
	assert_int_equal(errno, EINVAL);
	conf.regs_size = 0x20000;
	conf.features = SMMUV3_MODEL_ECMDQ;
	assert_null(smmuv3_model_create(&conf));
	assert_int_equal(errno, EINVAL);
	smmuv3_model_page_destroy(&page);
}

static uint64_t
next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/*
 * A register of a hostile driver: often one that starts something, with a base in the memory, or a
 * value with few bits.
 */
static void
write_garbage(uint8_t *regs, size_t size, uint64_t mem_addr, uint64_t *x)
{
	static const uint32_t starts[] = { SMMUV3_CR0, SMMUV3_CMDQ_BASE, SMMUV3_CMDQ_PROD,
		SMMUV3_EVENTQ_BASE, SMMUV3_EVENTQ_CONS, SMMUV3_STRTAB_BASE, SMMUV3_STRTAB_BASE_CFG,
		SMMUV3_PRIQ_BASE, SMMUV3_PRIQ_CONS, SMMUV3_GERRORN, SMMUV3_IRQ_CTRL, SMMUV3_GBPA };
	uint64_t r = next_random(x), value = next_random(x);
	uint32_t offset = (uint32_t)(r >> 8) % (size / 8) * 8;

	if (r % 4 != 0)
		offset = starts[(r >> 8) % (sizeof(starts) / sizeof(starts[0]))];
	switch (r >> 40 & 3) {
	case 0:
		value = (mem_addr + (value % 64 << 12)) | (value >> 40 & 0x1f);
		break;
	case 1:
		value &= 0x1f;
		break;
	case 2:
		value = UINT64_MAX;
		break;
	default:
		break;
	}
	if (offset % 8 == 0 && r >> 50 & 1)
		atomic_store_explicit(smmuv3_reg64(regs, offset), value, memory_order_relaxed);
	else
		atomic_store_explicit(smmuv3_reg32(regs, offset), (uint32_t)value,
				memory_order_relaxed);
}

#define CMDS	(128 << 10)	/* offsets in the memory */
#define EVTS	(256 << 10)
#define CDS	(384 << 10)

/*
 * Tables and queues at random, right often enough to get far: a linear stream table and CDs that are
 * valid, commands with known opcodes, elsewhere addresses, valid entries and noise.
 */
static void
fill_garbage(uint8_t *mem, size_t len, uint64_t mem_addr, uint64_t *x)
{
	static const uint8_t ops[] = { SMMUV3_OP_CFGI_STE, SMMUV3_OP_CFGI_STE_RANGE,
		SMMUV3_OP_CFGI_CD, SMMUV3_OP_TLBI_NH_ALL, SMMUV3_OP_TLBI_NH_VA,
		SMMUV3_OP_TLBI_S2_IPA, SMMUV3_OP_TLBI_S12_VMALL, SMMUV3_OP_TLBI_NSNH_ALL,
		SMMUV3_OP_ATC_INV, SMMUV3_OP_PRI_RESP, SMMUV3_OP_RESUME, SMMUV3_OP_STALL_TERM,
		SMMUV3_OP_PREFETCH_CONFIG, SMMUV3_OP_SYNC };
	uint64_t *dw = (uint64_t *)(void *)mem;

	for (size_t i = 0; i < len / 8; i++) {
		dw[i] = next_random(x);
		if (dw[i] % 3 == 0)
			dw[i] = mem_addr + (dw[i] >> 32) % (1 << 20) / 64 * 64 + (dw[i] >> 20) % 16;
		else if (dw[i] % 3 == 1)
			dw[i] &= UINT64_C(0x0fff00ff00ff00ff);
	}
	for (size_t i = 0; i < 256; i++) {
		dw[i * 8] = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, 5 + i % 3) |
			(mem_addr + CDS + i % 64 * 64);
		dw[i * 8 + 1] = SMMUV3_PUT(SMMUV3_STE1_EATS, i % 2);
		dw[i * 8 + 2] = SMMUV3_STE2_S2AA64 | SMMUV3_PUT(SMMUV3_STE2_S2T0SZ, 24) |
			SMMUV3_PUT(SMMUV3_STE2_S2SL0, 1) | SMMUV3_PUT(SMMUV3_STE2_S2PS, 5) |
			(dw[i * 8 + 2] & (SMMUV3_STE2_S2VMID | SMMUV3_STE2_S2S | SMMUV3_STE2_S2R));
		dw[i * 8 + 3] = mem_addr + next_random(x) % 256 * 4096;
	}
	for (size_t i = 0; i < 64; i++) {
		dw[CDS / 8 + i * 8] = SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | 16 |
			SMMUV3_PUT(SMMUV3_CD0_IPS, 5) | SMMUV3_CD0_A | SMMUV3_CD0_R |
			(next_random(x) & (SMMUV3_CD0_S | SMMUV3_CD0_ASID));
		dw[CDS / 8 + i * 8 + 1] = mem_addr + next_random(x) % 256 * 4096;
	}
	for (size_t i = 0; i < 4096; i++) {
		dw[CMDS / 8 + i * 2] = ops[next_random(x) % sizeof(ops)] |
			(next_random(x) & (i % 2 != 0 ? UINT64_C(0x0000000f00000000) : ~UINT64_C(0xff)));
		if (i % 4 != 0)
			dw[CMDS / 8 + i * 2 + 1] &= i % 3 == 0 ? 0 : UINT64_C(0xfffff007);
	}
}

/* What a driver does to go on: replace a refused command, acknowledge errors, issue commands. */
static void
go_on(uint8_t *regs, uint8_t *mem, uint64_t mem_addr, uint64_t *x)
{
	uint32_t cons = smmuv3_read32(regs, SMMUV3_CMDQ_CONS) & SMMUV3_Q_IDX;
	uint64_t sync[2] = { SMMUV3_OP_SYNC, 0 };

	memcpy(mem + CMDS + cons % 256 * 16, sync, 16);
	smmuv3_write64(regs, SMMUV3_STRTAB_BASE, mem_addr);
	smmuv3_write32(regs, SMMUV3_STRTAB_BASE_CFG, 8);
	smmuv3_write64(regs, SMMUV3_CMDQ_BASE, (mem_addr + CMDS) | 8);
	smmuv3_write64(regs, SMMUV3_EVENTQ_BASE, (mem_addr + EVTS) | 6);
	smmuv3_write32(regs, SMMUV3_EVENTQ_CONS, smmuv3_read32(regs, SMMUV3_EVENTQ_PROD));
	smmuv3_write32(regs, SMMUV3_PRIQ_CONS, smmuv3_read32(regs, SMMUV3_PRIQ_PROD));
	smmuv3_write32(regs, SMMUV3_GERRORN, smmuv3_read32(regs, SMMUV3_GERROR));
	smmuv3_write32(regs, SMMUV3_CMDQ_PROD, (cons + 1 + (uint32_t)next_random(x) % 8) & 0x1ff);
	smmuv3_write32(regs, SMMUV3_CR0, next_random(x) % 8 == 0 ? 0 : 0x1f);
}

/*
 * Random registers, queues and tables, with devices at work. The model's accesses stay inside of the
 * registers and the window (a sanitizer and the guard bytes see others), each step ends, and
 * another SMMU of the same process works on.
 */
static void
test_garbage_of_a_driver_stays_in_its_page_file(void **state)
{
	static uint8_t buf[3 * 4096];
	const unsigned int rounds = 60 * test_scale();
	uint64_t x = test_seed("garbage") * UINT64_C(0x9e3779b97f4a7c15);
	uint64_t commands = 0, walks = 0, events = 0, ended = 0;
	struct smmuv3_model_page page, other_page;
	struct smmuv3_model *m, *other;
	struct smmuv3_model_done done;
	struct smmuv3_model_dma *dma;

	(void)state;
	assert_int_equal(smmuv3_model_page_create(NULL, &other_page), 0);
	other = serve(&other_page, (struct smmuv3_model_conf){ .seed = 1 });
	for (unsigned int round = 0; round < rounds; round++) {
		assert_int_equal(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
				.regs_size = 0x40000, .mem_size = 1 << 20 }, &page), 0);
		m = serve(&page, (struct smmuv3_model_conf){ .sid_bits = 8,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI | SMMUV3_MODEL_S2 |
				(round % 2 != 0 ? SMMUV3_MODEL_ECMDQ : 0),
			.choices = round % 4 < 2 ? SMMUV3_MODEL_LAX_RES0 : 0,
			.harsh = round % 3 == 0 ? SMMUV3_MODEL_HARSH_ALL : 0, .seed = round + 1 });
		memset((uint8_t *)page.regs + 0x30000, 0x5a, 0x10000);
		dma = smmuv3_model_dma_create(m, &(struct smmuv3_model_dma_conf){
				.sid = round % 260, .kind = round % 2 });
		assert_non_null(dma);
		if (round % 2 != 0) {
			smmuv3_model_dma_ats_enable(dma, 0);
			smmuv3_model_dma_pri_enable(dma, 8);
		}
		fill_garbage(page.mem, page.mem_size, page.mem_addr, &x);
		for (unsigned int i = 0; i < 300; i++) {
			if (i % 4 == 0)
				go_on(page.regs, page.mem, page.mem_addr, &x);
			if (i % 8 == 7)
				write_garbage(page.regs, 0x30000, page.mem_addr, &x);
			if (i % 16 == 0)
				smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
					.type = i % 32 == 0 ? SMMUV3_MODEL_READ :
						SMMUV3_MODEL_WRITE,
					.addr = i % 64 == 0 ? page.mem_addr - 4096 :
						next_random(&x) >> (20 + i % 24),
					.buf = buf, .len = 1 + i * 40 });
			smmuv3_model_step(m, 256);
		}
		commands += smmuv3_model_stat(m, SMMUV3_MODEL_STAT_COMMANDS);
		walks += smmuv3_model_stat(m, SMMUV3_MODEL_STAT_WALKS);
		events += smmuv3_model_stat(m, SMMUV3_MODEL_STAT_EVENTS);
		for (unsigned int i = 0; i < 0x10000; i++)
			assert_int_equal(((uint8_t *)page.regs)[0x30000 + i], 0x5a);
		/* The owner of the machine ends it. */
		smmuv3_model_dma_reset(dma);
		smmuv3_write32(page.regs, SMMUV3_CR0, 0);
		for (unsigned int i = 0; smmuv3_model_dma_outstanding(dma) != 0; i++) {
			assert_in_range(i, 0, 10000);
			smmuv3_model_step(m, 256);
			ended += smmuv3_model_dma_poll(dma, &done, 1);
		}
		smmuv3_model_dma_destroy(dma);
		smmuv3_model_destroy(m);
		smmuv3_model_page_destroy(&page);
	}
	print_message("  %llu commands, %llu walks, %llu events, %llu DMAs ended\n",
			(unsigned long long)commands, (unsigned long long)walks,
			(unsigned long long)events, (unsigned long long)ended);
	/* It is garbage that gets far. */
	assert_true(commands > rounds && walks > rounds / 4 && events > rounds / 4);
	smmuv3_model_step(other, 64);
	assert_int_equal(smmuv3_model_driver_errors(other), 0);
	assert_int_equal(smmuv3_model_oracle_errors(other), 0);
	smmuv3_model_destroy(other);
	smmuv3_model_page_destroy(&other_page);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_page_file_has_the_documented_layout),
	cmocka_unit_test(test_values_out_of_range_make_no_page_file),
	cmocka_unit_test(test_no_process_changes_the_size_of_a_page_file),
	cmocka_unit_test(test_a_model_uses_the_registers_that_it_is_given),
	cmocka_unit_test(test_garbage_of_a_driver_stays_in_its_page_file),
};

TEST_SUITE(model_page, tests, NULL, NULL);
