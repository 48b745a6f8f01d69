/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include <rte_common.h>

#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "test.h"
#include "vmm_hostile.h"
#include "vmm_hostile_world.h"

#define CMDQ_MAX_LOG2	10	/* IDR1.CMDQS */
#define CD0		(SMMUV3_CD0_V | SMMUV3_CD0_AA64 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_R |	\
			SMMUV3_CD0_A | SMMUV3_CD0_ASET | SMMUV3_CD0_S |			\
			SMMUV3_PUT(SMMUV3_CD0_ASID, VM_ASID) |				\
			SMMUV3_PUT(SMMUV3_CD0_T0SZ, 25) | SMMUV3_PUT(SMMUV3_CD0_IPS, 2))

/* 64-bit registers first. */
#define NB_REGS_64	7
static const uint32_t regs[] = {
	SMMUV3_GERROR_IRQ_CFG0, SMMUV3_STRTAB_BASE, SMMUV3_CMDQ_BASE, SMMUV3_EVENTQ_BASE,
	SMMUV3_EVENTQ_IRQ_CFG0, SMMUV3_PRIQ_BASE, SMMUV3_PRIQ_IRQ_CFG0,
	SMMUV3_CR0, SMMUV3_CMDQ_PROD, SMMUV3_CMDQ_CONS, SMMUV3_EVENTQ_PROD, SMMUV3_EVENTQ_CONS,
	SMMUV3_PRIQ_PROD, SMMUV3_PRIQ_CONS, SMMUV3_STRTAB_BASE_CFG, SMMUV3_GBPA, SMMUV3_GERRORN,
	SMMUV3_IRQ_CTRL, SMMUV3_CR1, SMMUV3_CR2, SMMUV3_GERROR, SMMUV3_CR0ACK,
	SMMUV3_IRQ_CTRLACK, SMMUV3_GERROR_IRQ_CFG1, SMMUV3_GERROR_IRQ_CFG2,
	SMMUV3_EVENTQ_IRQ_CFG1, SMMUV3_EVENTQ_IRQ_CFG2, SMMUV3_PRIQ_IRQ_CFG1,
	SMMUV3_PRIQ_IRQ_CFG2, SMMUV3_IDR0, SMMUV3_IDR1, SMMUV3_IDR5, SMMUV3_STATUSR,
	SMMUV3_AGBPA, SMMUV3_IDR6, SMMUV3_EVENTQ_PROD - SMMUV3_PAGE_SIZE,
	SMMUV3_EVENTQ_CONS - SMMUV3_PAGE_SIZE, SMMUV3_CMDQ_CP_BASE(0),
};

const uint8_t hostile_cmds[16] = {
	SMMUV3_OP_CFGI_STE, SMMUV3_OP_CFGI_STE_RANGE, SMMUV3_OP_CFGI_CD, SMMUV3_OP_CFGI_CD_ALL,
	SMMUV3_OP_TLBI_NH_ALL, SMMUV3_OP_TLBI_NH_ASID, SMMUV3_OP_TLBI_NH_VA,
	SMMUV3_OP_TLBI_NH_VAA, SMMUV3_OP_TLBI_NSNH_ALL, SMMUV3_OP_ATC_INV, SMMUV3_OP_PRI_RESP,
	SMMUV3_OP_RESUME, SMMUV3_OP_STALL_TERM, SMMUV3_OP_SYNC, SMMUV3_OP_TLBI_S12_VMALL,
	SMMUV3_OP_PREFETCH_CONFIG,
};

static const uint32_t structures[] = { VM_STRTAB, VM_STRTAB + VM_SID * 64, VM_CDS, VM_L1, VM_L2,
	VM_L3, VM_CMDQ, VM_EVTQ, VM_PRIQ, VM_DATA };

/* The words that reach deep: bits 4 to 0 of @p i, with the bits to set that the others select. */
static uint64_t
get_value(const struct vm *v, uint8_t i)
{
	static const uint64_t set[8] = { 0, 1, 3, VM_LEAF, VM_CMDQ_LOG2, 31, 0xfff,
		UINT64_C(1) << 63 };
	const uint64_t values[32] = {
		0, hostile.acc, UINT64_MAX,
		vm_get_ipa(v, VM_CMDQ), vm_get_ipa(v, VM_EVTQ), vm_get_ipa(v, VM_STRTAB),
		vm_get_ipa(v, VM_CDS), vm_get_ipa(v, VM_L1), vm_get_ipa(v, VM_L2),
		vm_get_ipa(v, VM_L3), vm_get_ipa(v, VM_DATA), vm_get_ipa(v, VM_DATA + VM_PAGE),
		/* The last page, beyond it, before the memory. */
		vm_get_ipa(v, VM_MEM_SIZE - VM_PAGE), vm_get_ipa(v, VM_MEM_SIZE),
		v->page.mem_addr - VM_PAGE,
		/* Where the host has tables, the other guest, this one, its registers. */
		(uintptr_t)vm_host.arena.mem, (uintptr_t)vm_host.vm[1].mem,
		(uintptr_t)v->mem, (uintptr_t)v->regs,
		VM_VA(0), VM_VA(511), UINT64_C(1) << 31, UINT64_C(1) << 36, UINT64_C(1) << 48,
		UINT64_C(1) << 55,
		SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
			vm_get_ipa(v, VM_CDS),
		SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_BYPASS),
		SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1_S2) |
			vm_get_ipa(v, VM_CDS),
		CD0,
		/* STRTAB_BASE_CFG */
		SMMUV3_PUT(SMMUV3_STRTAB_CFG_FMT, SMMUV3_STRTAB_2LVL) |
			SMMUV3_PUT(SMMUV3_STRTAB_CFG_SPLIT, 8) | 16,
		SMMUV3_CR0_SMMUEN | SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN,
		SMMUV3_IRQ_CTRL_GERROR | SMMUV3_IRQ_CTRL_EVENTQ,
	};

	return values[i & 31] | set[i >> 5];
}

/* At the index that the registers say now, if the queue is in the guest's memory. */
static void
put(struct vm *v, struct smmuv3_cmd cmd)
{
	uint64_t base = smmuv3_get_dw((uint64_t *)(void *)(v->regs + SMMUV3_CMDQ_BASE)), offset;
	uint32_t prod = smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD);
	unsigned int log2 = RTE_MIN(SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base),
			CMDQ_MAX_LOG2);

	offset = (base & SMMUV3_Q_BASE_ADDR) + smmuv3_q_slot(log2, prod) * sizeof(cmd) -
		v->page.mem_addr;
	if (offset <= VM_MEM_SIZE - sizeof(cmd))
		memcpy(v->mem + offset, &cmd, sizeof(cmd));
	smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, smmuv3_q_add(log2, prod, 1));
}

static void
write_reg(struct vm *v, const struct hostile_op *op)
{
	unsigned int i = op->a % RTE_DIM(regs);
	uint64_t value = get_value(v, op->b) ^ op->c;

	if (i < NB_REGS_64)
		smmuv3_write64(v->regs, regs[i], value);
	else
		smmuv3_write32(v->regs, regs[i], (uint32_t)value);
}

static void
poke(struct vm *v, const struct hostile_op *op)
{
	uint32_t offset = (uint32_t)(op->a & 1) << 16 | (uint32_t)op->b << 8 | op->c;
	size_t len = (size_t)1 << (op->a >> 1 & 3);

	memcpy(v->regs + RTE_MIN(offset, v->page.regs_size - len), &hostile.acc, len);
}

static uint32_t
get_structure(uint8_t a)
{
	return structures[(a & 15) % RTE_DIM(structures)];
}

static void
flip(struct vm *v, const struct hostile_op *op)
{
	v->mem[get_structure(op->a) + (op->c >> 3 & 15) * 256u + op->b] ^= 1u << (op->c & 7);
}

static void
put_cmd(struct vm *v, const struct hostile_op *op)
{
	const uint8_t code = hostile_cmds[op->a & 15];
	const uint32_t sid = op->a & HOSTILE_CMD_SID_OF_C ? op->c : VM_SID;
	uint64_t asid = SMMUV3_PUT(SMMUV3_TLBI0_ASID, op->c & 1 ? op->c : VM_ASID);
	struct smmuv3_cmd cmd = { .dw = { code | SMMUV3_PUT(SMMUV3_CMD0_SID, sid), 0 } };

	switch (code) {
	case SMMUV3_OP_CFGI_STE:
		break;
	case SMMUV3_OP_CFGI_STE_RANGE:
		cmd.dw[1] = SMMUV3_PUT(SMMUV3_CFGI1_RANGE, op->b);
		break;
	case SMMUV3_OP_CFGI_CD:
		cmd.dw[0] |= SMMUV3_PUT(SMMUV3_CMD0_SSID, op->b);
		break;
	case SMMUV3_OP_TLBI_NH_ALL:
	case SMMUV3_OP_TLBI_NSNH_ALL:
	case SMMUV3_OP_TLBI_S12_VMALL:
		cmd.dw[0] = code;
		break;
	case SMMUV3_OP_TLBI_NH_ASID:
		cmd.dw[0] = code | asid;
		break;
	case SMMUV3_OP_TLBI_NH_VA:
		cmd = (struct smmuv3_cmd){ .dw = { code | asid, VM_VA(op->b & 63) } };
		break;
	case SMMUV3_OP_TLBI_NH_VAA:
		cmd = (struct smmuv3_cmd){ .dw = { code, get_value(v, op->b) & SMMUV3_TLBI1_VA } };
		break;
	case SMMUV3_OP_ATC_INV:
		cmd.dw[1] = VM_VA(op->b & 63) | SMMUV3_PUT(SMMUV3_ATC1_SIZE, op->c);
		break;
	case SMMUV3_OP_PRI_RESP:
		cmd.dw[1] = SMMUV3_PUT(SMMUV3_PRI1_PRGINDEX, op->b) |
			SMMUV3_PUT(SMMUV3_PRI1_RESP, op->c);
		break;
	case SMMUV3_OP_RESUME:
		cmd.dw[0] |= SMMUV3_PUT(SMMUV3_RESUME0_AC, op->b >> 6) |
			SMMUV3_PUT(SMMUV3_RESUME0_AB, op->b >> 7);
		cmd.dw[1] = SMMUV3_PUT(SMMUV3_RESUME1_STAG, op->b & 63);
		break;
	case SMMUV3_OP_SYNC:
		cmd = (struct smmuv3_cmd){ .dw = { code | SMMUV3_PUT(SMMUV3_SYNC0_CS, op->c),
			get_value(v, op->b) & SMMUV3_SYNC1_MSIADDR } };
		break;
	}
	if (op->a & HOSTILE_CMD_NOISE_0)
		cmd.dw[0] ^= hostile.acc;
	if (op->a & HOSTILE_CMD_NOISE_1)
		cmd.dw[1] ^= hostile.acc;
	put(v, cmd);
}

static void
acknowledge(struct vm *v, bool replace)
{
	uint32_t prod = smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD);

	if (replace && smmuv3_read32(v->regs, SMMUV3_CMDQ_CONS) & SMMUV3_CMDQ_CONS_ERR) {
		smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, smmuv3_read32(v->regs,
				SMMUV3_CMDQ_CONS) & SMMUV3_Q_IDX);
		put(v, vm_sync_cmd);
		smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD, prod);
	}
	smmuv3_write32(v->regs, SMMUV3_GERRORN, smmuv3_read32(v->regs, SMMUV3_GERROR));
}

/*
 * An endpoint whose requests find the guest's PRIQ full never rests: each is answered Success, and
 * it asks again [8.2].
 */
static void
run_all(void)
{
	if (vm_host.conf.pri)
		vm_run_some(64);
	else
		vm_run();
}

static void
run_part(struct vm *v, unsigned int part)
{
	switch (part & 3) {
	case 0:
		run_all();
		break;
	case 1:
		relay_step(v->relay);
		break;
	case 2:
		smmuv3_model_step(vm_host.m, 16);
		break;
	default:
		iopf_poll(vm_host.poller);
		break;
	}
}

static void
do_op(struct vm *v, const struct hostile_op *op)
{
	switch (op->what % HOSTILE_NB) {
	case HOSTILE_LITERAL:
		hostile.acc = hostile.acc << 24 | (uint64_t)op->a << 16 | (uint64_t)op->b << 8 |
			op->c;
		break;
	case HOSTILE_REG:
		write_reg(v, op);
		break;
	case HOSTILE_POKE:
		poke(v, op);
		break;
	case HOSTILE_TABLE:
		vm_set_dw(v, get_structure(op->a) + (op->a & 0x80u) * 16 + op->b * 8u,
				get_value(v, op->c));
		break;
	case HOSTILE_FLIP:
		flip(v, op);
		break;
	case HOSTILE_CMD:
		put_cmd(v, op);
		break;
	case HOSTILE_CMD_RAW:
		put(v, (struct smmuv3_cmd){ .dw = { hostile.acc ^ op->a,
				get_value(v, op->b) ^ op->c } });
		break;
	case HOSTILE_JUMP:
		smmuv3_write32(v->regs, SMMUV3_CMDQ_PROD,
				smmuv3_read32(v->regs, SMMUV3_CMDQ_PROD) + op->a);
		break;
	case HOSTILE_DMA:
		/* Or a storm: more than the guest has STAGs. */
		for (unsigned int i = 0; i < (op->a >> 6 == 3 ? 80 : 1); i++)
			hostile_submit(op->a, (op->b < 64 ? VM_VA(op->b) : get_value(v, op->b)) +
					(uint64_t)i * VM_PAGE, op->c);
		break;
	case HOSTILE_RUN:
		run_part(v, op->a);
		break;
	case HOSTILE_ACK:
		acknowledge(v, op->a & 1);
		break;
	case HOSTILE_CONSUME:
		smmuv3_write32(v->regs, SMMUV3_EVENTQ_CONS,
				smmuv3_read32(v->regs, SMMUV3_EVENTQ_PROD));
		break;
	case HOSTILE_BOOT:
		vm_boot(v);
		break;
	case HOSTILE_MAP:
		vm_map(v, op->a & 63, op->b & 31);
		vm_set_dw(v, VM_L3 + (VM_VA(op->a & 63) >> 12 & 511) * 8, op->c ^
				(vm_get_ipa(v, VM_DATA + (op->b & 31) * VM_PAGE) | VM_LEAF));
		break;
	case HOSTILE_RESET:
		if (op->a & 1)
			hostile_replace_guest();
		else
			assert_int_equal(relay_reset(v->relay), 0);
		break;
	case HOSTILE_OTHER:
		/* It is slow, and waits until all rests. */
		if (op->a == 0 && !vm_host.conf.pri)
			hostile_run_other();
		break;
	}
}

void
hostile_run(const uint8_t *ops, size_t size)
{
	struct hostile_op op;

	for (; size >= sizeof(op); ops += sizeof(op), size -= sizeof(op)) {
		memcpy(&op, ops, sizeof(op));
		do_op(&vm_host.vm[0], &op);
	}
	run_all();
}
