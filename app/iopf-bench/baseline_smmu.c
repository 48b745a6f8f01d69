/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "baseline_smmu.h"

/* Queues 16 + 32 KiB, stream table and CD, each aligned to its size. */
#define FIXED_BYTES	(256 << 10)
#define STRTAB_LOG2	4	/* StreamIDs 0 to 15 */
#define STRTAB_LOG2_MANY 7	/* 0 to 127 */
#define MAIR_WB		0xff
#define WAIT_MS		1000

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Map the kind of memory that lib/mmem's pools use without hugepages: a memfd. */
static void *
map_memory(const char *name, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, size) == 0)
		p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

void *
baseline_smmu_alloc(struct baseline_smmu *smmu, size_t size)
{
	uintptr_t base = (uintptr_t)smmu->arena;
	uintptr_t at = (base + smmu->arena_used + size - 1) & ~(uintptr_t)(size - 1);

	if (at + size > base + smmu->arena_size)
		return NULL;
	smmu->arena_used = at + size - base;
	return (void *)at;
}

int
baseline_smmu_create(struct baseline_smmu *smmu, const char *name,
		const struct bench_conf *conf, size_t table_bytes)
{
	int ret;

	memset(smmu, 0, sizeof(*smmu));
	smmu->arena_size = FIXED_BYTES + table_bytes;
	smmu->mem_size = (size_t)conf->faults * BENCH_PAGE_SIZE;
	smmu->nb_sids = conf->sids;
	smmu->zero_pool = conf->zero_pool;
	smmu->model = bench_create_model(name, conf, 0);
	if (smmu->model == NULL)
		return -errno;
	smmu->regs = smmuv3_model_regs(smmu->model);
	smmu->arena = map_memory(name, smmu->arena_size);
	smmu->mem = map_memory(name, smmu->mem_size);
	if (smmu->arena == NULL || smmu->mem == NULL)
		return -ENOMEM;
	ret = smmuv3_model_mem_add(smmu->model, (uintptr_t)smmu->arena, smmu->arena,
			smmu->arena_size);
	if (ret == 0)
		ret = smmuv3_model_mem_add(smmu->model, (uintptr_t)smmu->mem, smmu->mem,
				smmu->mem_size);
	return ret;
}

void
baseline_smmu_destroy(struct baseline_smmu *smmu)
{
	smmuv3_model_destroy(smmu->model);
	if (smmu->arena != NULL)
		munmap(smmu->arena, smmu->arena_size);
	if (smmu->mem != NULL)
		munmap(smmu->mem, smmu->mem_size);
	memset(smmu, 0, sizeof(*smmu));
}

/* Write a register and wait until its acknowledge register has the value [6.3.10, 6.3.17]. */
static int
write_and_await_ack(struct baseline_smmu *smmu, uint32_t reg, uint32_t ack, uint32_t value)
{
	uint64_t end = now_ms() + WAIT_MS;

	smmuv3_write32(smmu->regs, reg, value);
	while (smmuv3_load_status(smmu->regs, ack) != value) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		smmuv3_model_wait(smmu->model);
	}
	return 0;
}

/* Publish the commands, add a SYNC and wait until CONS has passed it. */
static int
send_sync(struct baseline_smmu *smmu)
{
	uint64_t end = now_ms() + WAIT_MS;
	uint32_t pos = smmu->cmdq_prod;

	baseline_smmu_put_command(smmu, smmuv3_cmd_sync());
	baseline_smmu_publish_prod(smmu);
	while (!smmuv3_q_consumed(smmu->cmdq_log2,
			smmuv3_load_status(smmu->regs, SMMUV3_CMDQ_CONS), pos)) {
		if (now_ms() > end)
			return -ETIMEDOUT;
		smmuv3_model_wait(smmu->model);
	}
	return 0;
}

static unsigned int
get_strtab_log2(const struct baseline_smmu *smmu)
{
	return BENCH_SID + smmu->nb_sids <= 1u << STRTAB_LOG2 ? STRTAB_LOG2 : STRTAB_LOG2_MANY;
}

static struct smmuv3_ste *
make_tables(struct baseline_smmu *smmu, uint64_t root, uint32_t oas)
{
	struct smmuv3_ste *strtab = baseline_smmu_alloc(smmu, sizeof(*strtab) <<
			get_strtab_log2(smmu));
	struct smmuv3_cd *cd = baseline_smmu_alloc(smmu, sizeof(*cd));
	struct smmuv3_ste *ste;
	unsigned int i;

	if (strtab == NULL || cd == NULL)
		return NULL;
	cd->dw[0] = SMMUV3_PUT(SMMUV3_CD0_T0SZ, 64 - BASELINE_VA_BITS) |
			SMMUV3_PUT(SMMUV3_CD0_TG0, SMMUV3_TG0_4K) |
			SMMUV3_PUT(SMMUV3_CD0_IR0, SMMUV3_CD_RGN_WBWA) |
			SMMUV3_PUT(SMMUV3_CD0_OR0, SMMUV3_CD_RGN_WBWA) |
			SMMUV3_PUT(SMMUV3_CD0_SH0, SMMUV3_SH_ISH) |
			SMMUV3_CD0_EPD1 | SMMUV3_CD0_V | SMMUV3_PUT(SMMUV3_CD0_IPS, oas) |
			SMMUV3_CD0_AA64 | SMMUV3_CD0_S | SMMUV3_CD0_R | SMMUV3_CD0_A |
			SMMUV3_CD0_ASET | SMMUV3_PUT(SMMUV3_CD0_ASID, BASELINE_ASID);
	cd->dw[1] = root & SMMUV3_CD1_TTB0;
	cd->dw[3] = MAIR_WB;

	for (i = 0; i < smmu->nb_sids; i++) {
		ste = &strtab[BENCH_SID + i];
		ste->dw[1] = SMMUV3_PUT(SMMUV3_STE1_S1CIR, SMMUV3_S1C_WBRA) |
				SMMUV3_PUT(SMMUV3_STE1_S1COR, SMMUV3_S1C_WBRA) |
				SMMUV3_PUT(SMMUV3_STE1_S1CSH, SMMUV3_SH_ISH) |
				SMMUV3_PUT(SMMUV3_STE1_SHCFG, SMMUV3_SHCFG_INCOMING);
		ste->dw[0] = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
				((uintptr_t)cd & SMMUV3_STE0_S1CONTEXTPTR);
	}
	return strtab;
}

int
baseline_smmu_start(struct baseline_smmu *smmu, uint64_t root, int irq_fd)
{
	uint32_t idr1 = smmuv3_read32(smmu->regs, SMMUV3_IDR1);
	uint32_t idr5 = smmuv3_read32(smmu->regs, SMMUV3_IDR5);
	uint32_t cr0 = 0, irqs = 0;
	struct smmuv3_ste *strtab;
	int ret;

	smmu->cmdq_log2 = SMMUV3_GET(SMMUV3_IDR1_CMDQS, idr1);
	smmu->evtq_log2 = SMMUV3_GET(SMMUV3_IDR1_EVENTQS, idr1);
	smmu->cmdq = baseline_smmu_alloc(smmu, sizeof(*smmu->cmdq) << smmu->cmdq_log2);
	smmu->evtq = baseline_smmu_alloc(smmu, sizeof(*smmu->evtq) << smmu->evtq_log2);
	strtab = make_tables(smmu, root, SMMUV3_GET(SMMUV3_IDR5_OAS, idr5));
	if (smmu->cmdq == NULL || smmu->evtq == NULL || strtab == NULL)
		return -ENOMEM;

	/* Bring-up in the order that Linux uses. */
	ret = write_and_await_ack(smmu, SMMUV3_CR0, SMMUV3_CR0ACK, cr0);
	if (ret < 0)
		return ret;
	smmuv3_write32(smmu->regs, SMMUV3_CR1,
			SMMUV3_PUT(SMMUV3_CR1_QUEUE_IC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_QUEUE_OC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_QUEUE_SH, SMMUV3_SH_ISH) |
			SMMUV3_PUT(SMMUV3_CR1_TABLE_IC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_TABLE_OC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_TABLE_SH, SMMUV3_SH_ISH));
	smmuv3_write32(smmu->regs, SMMUV3_CR2, SMMUV3_CR2_PTM | SMMUV3_CR2_RECINVSID);
	smmuv3_write64(smmu->regs, SMMUV3_STRTAB_BASE, (uintptr_t)strtab & SMMUV3_STRTAB_BASE_ADDR);
	smmuv3_write32(smmu->regs, SMMUV3_STRTAB_BASE_CFG,
			SMMUV3_PUT(SMMUV3_STRTAB_CFG_FMT, SMMUV3_STRTAB_LINEAR) |
			SMMUV3_PUT(SMMUV3_STRTAB_CFG_LOG2SIZE, get_strtab_log2(smmu)));
	smmuv3_write64(smmu->regs, SMMUV3_CMDQ_BASE,
			((uintptr_t)smmu->cmdq & SMMUV3_Q_BASE_ADDR) | SMMUV3_Q_BASE_RWA |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, smmu->cmdq_log2));
	smmuv3_write32(smmu->regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(smmu->regs, SMMUV3_CMDQ_CONS, 0);
	cr0 |= SMMUV3_CR0_CMDQEN;
	ret = write_and_await_ack(smmu, SMMUV3_CR0, SMMUV3_CR0ACK, cr0);
	if (ret < 0)
		return ret;
	baseline_smmu_put_command(smmu, smmuv3_cmd_cfgi_all());
	baseline_smmu_put_command(smmu, smmuv3_cmd_tlbi_nsnh_all());
	ret = send_sync(smmu);
	if (ret < 0)
		return ret;

	smmuv3_write64(smmu->regs, SMMUV3_EVENTQ_BASE,
			((uintptr_t)smmu->evtq & SMMUV3_Q_BASE_ADDR) | SMMUV3_Q_BASE_RWA |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, smmu->evtq_log2));
	smmuv3_write32(smmu->regs, SMMUV3_EVENTQ_PROD, 0);
	smmuv3_write32(smmu->regs, SMMUV3_EVENTQ_CONS, 0);
	cr0 |= SMMUV3_CR0_EVENTQEN;
	ret = write_and_await_ack(smmu, SMMUV3_CR0, SMMUV3_CR0ACK, cr0);
	if (ret < 0)
		return ret;

	ret = write_and_await_ack(smmu, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRLACK, irqs);
	if (ret == 0 && irq_fd >= 0) {
		/* No MSI address: the wired interrupt [6.3.31]. */
		smmuv3_write64(smmu->regs, SMMUV3_EVENTQ_IRQ_CFG0, 0);
		smmuv3_write32(smmu->regs, SMMUV3_EVENTQ_IRQ_CFG1, 0);
		smmuv3_write32(smmu->regs, SMMUV3_EVENTQ_IRQ_CFG2, 0);
		smmuv3_model_irq_fd(smmu->model, SMMUV3_MODEL_IRQ_EVTQ, irq_fd);
		irqs = SMMUV3_IRQ_CTRL_EVENTQ;
		ret = write_and_await_ack(smmu, SMMUV3_IRQ_CTRL, SMMUV3_IRQ_CTRLACK, irqs);
	}
	if (ret < 0)
		return ret;
	return write_and_await_ack(smmu, SMMUV3_CR0, SMMUV3_CR0ACK, cr0 | SMMUV3_CR0_SMMUEN);
}

int
baseline_smmu_flush(struct baseline_smmu *smmu)
{
	int ret;

	baseline_smmu_put_command(smmu, smmuv3_cmd_tlbi_nh_asid(0, BASELINE_ASID));
	ret = send_sync(smmu);
	if (ret == 0 && smmu->zero_pool)
		memset(smmu->mem, 0, smmu->mem_size);
	return ret;
}

bool
baseline_smmu_check(struct baseline_smmu *smmu)
{
	uint32_t gerror = smmuv3_load_status(smmu->regs, SMMUV3_GERROR);

	if (gerror == smmuv3_read32(smmu->regs, SMMUV3_GERRORN))
		return true;
	bench_error("the model reports errors: GERROR 0x%x", gerror);
	return false;
}
