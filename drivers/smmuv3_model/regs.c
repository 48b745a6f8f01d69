/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Registers: their values at reset, their guards, and the poll of each step.
 *
 * The register page is passive memory. The front end compares each register that software
 * may not write with its expected value, restores it and reports the write by name [6.2].
 */

#include <stddef.h>
#include <string.h>

#include "front.h"
#include "model_cr0.h"
#include "model_ecmdq.h"
#include "model_evtq.h"
#include "model_gbpa.h"
#include "model_gerror.h"
#include "model_log.h"
#include "model_priq.h"

/* The condition under which software may write a register. */
enum guard {
	GUARD_RO,	/* never */
	GUARD_RES0,	/* never: reserved */
	GUARD_SMMUEN,
	GUARD_CMDQEN,
	GUARD_EVENTQEN,
	GUARD_IRQ_GERROR,
	GUARD_IRQ_EVENTQ,
	GUARD_CR1,	/* each field has its own condition */
	GUARD_PRIQEN,	/* this and the next two: RES0 without PRI */
	GUARD_IRQ_PRIQ,
	GUARD_PRI,	/* always */
};

static const struct {
	const char *name;
	uint32_t offset;
	uint8_t size;
	uint8_t guard;
	uint64_t mask;
} reg_info[SMMUV3_FE_NB_REGS] = {
#define REG(n, size, guard, mask) [SMMUV3_FE_ ## n] = { #n, SMMUV3_ ## n, size, guard, mask }
	REG(IDR0, 4, GUARD_RO, 0), REG(IDR1, 4, GUARD_RO, 0), REG(IDR2, 4, GUARD_RO, 0),
	REG(IDR3, 4, GUARD_RO, 0), REG(IDR4, 4, GUARD_RO, 0), REG(IDR5, 4, GUARD_RO, 0),
	REG(IIDR, 4, GUARD_RO, 0), REG(AIDR, 4, GUARD_RO, 0),
	REG(CR0ACK, 4, GUARD_RO, 0),
	REG(CR1, 4, GUARD_CR1, 0xfff),
	REG(CR2, 4, GUARD_SMMUEN, 0xf),
	REG(STATUSR, 4, GUARD_RO, 0),
	REG(AGBPA, 4, GUARD_RES0, 0),
	REG(IRQ_CTRLACK, 4, GUARD_RO, 0),
	REG(GERROR, 4, GUARD_RO, 0),
	REG(GERROR_IRQ_CFG0, 8, GUARD_IRQ_GERROR, SMMUV3_IRQ_CFG0_ADDR),
	REG(GERROR_IRQ_CFG1, 4, GUARD_IRQ_GERROR, UINT32_MAX),
	REG(GERROR_IRQ_CFG2, 4, GUARD_IRQ_GERROR, 0x3f),
	REG(STRTAB_BASE, 8, GUARD_SMMUEN, SMMUV3_STRTAB_BASE_ADDR | SMMUV3_STRTAB_BASE_RA),
	REG(STRTAB_BASE_CFG, 4, GUARD_SMMUEN, 0x307ff),
	REG(CMDQ_BASE, 8, GUARD_CMDQEN,
			SMMUV3_Q_BASE_LOG2SIZE | SMMUV3_Q_BASE_ADDR | SMMUV3_Q_BASE_RWA),
	REG(CMDQ_CONS, 4, GUARD_CMDQEN, SMMUV3_Q_IDX | SMMUV3_CMDQ_CONS_ERR),
	REG(EVENTQ_BASE, 8, GUARD_EVENTQEN,
			SMMUV3_Q_BASE_LOG2SIZE | SMMUV3_Q_BASE_ADDR | SMMUV3_Q_BASE_RWA),
	REG(EVENTQ_PROD, 4, GUARD_EVENTQEN, SMMUV3_Q_IDX | SMMUV3_Q_OVFLG),
	REG(EVENTQ_IRQ_CFG0, 8, GUARD_IRQ_EVENTQ, SMMUV3_IRQ_CFG0_ADDR),
	REG(EVENTQ_IRQ_CFG1, 4, GUARD_IRQ_EVENTQ, UINT32_MAX),
	REG(EVENTQ_IRQ_CFG2, 4, GUARD_IRQ_EVENTQ, 0x3f),
	REG(PRIQ_BASE, 8, GUARD_PRIQEN,
			SMMUV3_Q_BASE_LOG2SIZE | SMMUV3_Q_BASE_ADDR | SMMUV3_Q_BASE_RWA),
	REG(PRIQ_PROD, 4, GUARD_PRIQEN, SMMUV3_Q_IDX | SMMUV3_Q_OVFLG),
	REG(PRIQ_CONS, 4, GUARD_PRI, SMMUV3_Q_IDX | SMMUV3_Q_OVFLG),
	REG(PRIQ_IRQ_CFG0, 8, GUARD_IRQ_PRIQ, SMMUV3_IRQ_CFG0_ADDR),
	REG(PRIQ_IRQ_CFG1, 4, GUARD_IRQ_PRIQ, UINT32_MAX),
	REG(PRIQ_IRQ_CFG2, 4, GUARD_IRQ_PRIQ, SMMUV3_PRIQ_IRQ_CFG2_LO | 0x3f),
#undef REG
	/* The indices are on page 1. This SMMU has no aliases of them on page 0. */
	[SMMUV3_FE_ALIAS_EVENTQ_PROD] = { "EVENTQ_PROD of page 0",
		SMMUV3_EVENTQ_PROD - SMMUV3_PAGE_SIZE, 4, GUARD_RES0, 0 },
	[SMMUV3_FE_ALIAS_EVENTQ_CONS] = { "EVENTQ_CONS of page 0",
		SMMUV3_EVENTQ_CONS - SMMUV3_PAGE_SIZE, 4, GUARD_RES0, 0 },
};

#define CR0_QUEUES	(SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_CMDQEN | SMMUV3_CR0_PRIQEN)
#define CR1_TABLE	(SMMUV3_CR1_TABLE_IC | SMMUV3_CR1_TABLE_OC | SMMUV3_CR1_TABLE_SH)
#define CR1_QUEUE	(SMMUV3_CR1_QUEUE_IC | SMMUV3_CR1_QUEUE_OC | SMMUV3_CR1_QUEUE_SH)

static uint64_t
reg_load(const struct smmuv3_fe *f, enum smmuv3_fe_reg reg)
{
	uint32_t offset = reg_info[reg].offset;

	if (reg_info[reg].size == 8)
		return atomic_load_explicit(smmuv3_reg64(f->regs, offset), memory_order_relaxed);
	return atomic_load_explicit(smmuv3_reg32(f->regs, offset), memory_order_relaxed);
}

/* Replace the value @p seen with @p want, unless software has written another value since. */
static void
reg_restore(const struct smmuv3_fe *f, enum smmuv3_fe_reg reg, uint64_t seen, uint64_t want)
{
	uint32_t offset = reg_info[reg].offset;
	uint32_t seen32 = (uint32_t)seen;

	if (reg_info[reg].size == 8)
		atomic_compare_exchange_strong_explicit(smmuv3_reg64(f->regs, offset), &seen,
				want, memory_order_relaxed, memory_order_relaxed);
	else
		atomic_compare_exchange_strong_explicit(smmuv3_reg32(f->regs, offset), &seen32,
				(uint32_t)want, memory_order_relaxed, memory_order_relaxed);
}

void
smmuv3_fe_store_reg(struct smmuv3_fe *f, enum smmuv3_fe_reg reg, uint32_t v)
{
	f->val[reg] = v;
	/*
	 * Release: what the register reports is visible before it. Pairs with
	 * smmuv3_load_status() and smmuv3_load_prod().
	 */
	atomic_store_explicit(smmuv3_reg32(f->regs, reg_info[reg].offset), v,
			memory_order_release);
}

bool
smmuv3_fe_knob_take(struct smmuv3_fe *f, enum smmuv3_model_knob knob)
{
	uint32_t n = atomic_load_explicit(&f->knob[knob], memory_order_relaxed);

	while (n != 0)
		if (atomic_compare_exchange_weak_explicit(&f->knob[knob], &n, n - 1,
				memory_order_relaxed, memory_order_relaxed))
			return true;
	return false;
}

/* Registers that software configures have an UNKNOWN reset value [6.3]. */
static void
set_unknown(struct smmuv3_fe *f)
{
	for (unsigned int i = 0; i < SMMUV3_FE_NB_REGS; i++) {
		uint64_t v = (uint64_t)smmuv3_xorshift(f->rand) << 32 | smmuv3_xorshift(f->rand);

		if (reg_info[i].guard == GUARD_RO || reg_info[i].guard == GUARD_RES0 ||
				(reg_info[i].guard >= GUARD_PRIQEN &&
				 !smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI)))
			continue;
		f->val[i] = v & reg_info[i].mask;
		/* OVFLG of the PRIQ resets to 0. */
		if (i == SMMUV3_FE_PRIQ_PROD)
			f->val[i] &= SMMUV3_Q_IDX;
		reg_restore(f, i, 0, f->val[i]);
	}
	atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_CMDQ_PROD),
			smmuv3_xorshift(f->rand) & SMMUV3_Q_IDX, memory_order_relaxed);
	atomic_store_explicit(smmuv3_reg32(f->regs, SMMUV3_EVENTQ_CONS),
			smmuv3_xorshift(f->rand) & (SMMUV3_Q_IDX | SMMUV3_Q_OVFLG),
			memory_order_relaxed);
}

void
smmuv3_fe_forget(struct smmuv3_fe *f)
{
	size_t kept = offsetof(struct smmuv3_fe, val);

	memset((uint8_t *)f + kept, 0, sizeof(*f) - kept);
	f->gbpa = SMMUV3_GBPA_ABORT;
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_IRQS; i++)
		atomic_store_explicit(&f->irq_masked[i], false, memory_order_relaxed);
}

void
smmuv3_fe_reset(struct smmuv3_fe *f, bool unknown)
{
	f->val[SMMUV3_FE_IDR0] = f->ids.idr0;
	f->val[SMMUV3_FE_IDR1] = f->ids.idr1;
	f->val[SMMUV3_FE_IDR3] = f->ids.idr3;
	f->val[SMMUV3_FE_IDR5] = f->ids.idr5;
	/* SMMUv3.2; ECMDQs came with SMMUv3.3. */
	f->val[SMMUV3_FE_AIDR] = f->ecmdq != NULL ? 3 : 2;
	for (unsigned int i = 0; i < SMMUV3_FE_NB_REGS; i++)
		if (f->val[i] != 0)
			smmuv3_fe_store_reg(f, i, (uint32_t)f->val[i]);
	smmuv3_fe_reset_gbpa(f);
	if (unknown)
		set_unknown(f);
	if (f->ecmdq != NULL)
		smmuv3_fe_reset_ecmdqs(f, unknown);
}

/* A guard is lifted when both the bit and its acknowledgement are 0. */
static bool
is_ctrl_held(const struct smmuv3_fe_ctrl *ctrl, uint32_t bits)
{
	return (ctrl->value | ctrl->ack) & bits;
}

/* The bits of a register that software may not write now, and the reason for the log. */
static uint64_t
reg_locked_bits(const struct smmuv3_fe *f, enum smmuv3_fe_reg reg, const char **why)
{
	uint64_t locked = 0;

	*why = "";
	switch (reg_info[reg].guard) {
	case GUARD_SMMUEN:
		*why = "while SMMUEN is set";
		return is_ctrl_held(&f->cr0, SMMUV3_CR0_SMMUEN) ? UINT64_MAX : 0;
	case GUARD_CMDQEN:
		*why = "while CMDQEN is set";
		return is_ctrl_held(&f->cr0, SMMUV3_CR0_CMDQEN) ? UINT64_MAX : 0;
	case GUARD_EVENTQEN:
		*why = "while EVENTQEN is set";
		return is_ctrl_held(&f->cr0, SMMUV3_CR0_EVENTQEN) ? UINT64_MAX : 0;
	case GUARD_IRQ_GERROR:
		*why = "while GERROR_IRQEN is set";
		return is_ctrl_held(&f->irq_ctrl, SMMUV3_IRQ_CTRL_GERROR) ? UINT64_MAX : 0;
	case GUARD_IRQ_EVENTQ:
		*why = "while EVENTQ_IRQEN is set";
		return is_ctrl_held(&f->irq_ctrl, SMMUV3_IRQ_CTRL_EVENTQ) ? UINT64_MAX : 0;
	case GUARD_CR1:
		*why = "while SMMUEN (TABLE_*) or a queue enable (QUEUE_*) is set";
		if (is_ctrl_held(&f->cr0, SMMUV3_CR0_SMMUEN))
			locked |= CR1_TABLE;
		if (is_ctrl_held(&f->cr0, CR0_QUEUES) || f->nb_ecmdqs_on != 0)
			locked |= CR1_QUEUE;
		return locked;
	case GUARD_PRIQEN:
		if (!smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI))
			break;
		*why = "while PRIQEN is set";
		return is_ctrl_held(&f->cr0, SMMUV3_CR0_PRIQEN) ? UINT64_MAX : 0;
	case GUARD_IRQ_PRIQ:
		if (!smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI))
			break;
		*why = "while PRIQ_IRQEN is set";
		return is_ctrl_held(&f->irq_ctrl, SMMUV3_IRQ_CTRL_PRIQ) ? UINT64_MAX : 0;
	case GUARD_PRI:
		if (!smmuv3_fe_has_feature(f, SMMUV3_IDR0_PRI))
			break;
		return 0;
	case GUARD_RES0:
		break;
	default:
		*why = "although it is read-only";
		return UINT64_MAX;
	}
	*why = "although it is reserved";
	return UINT64_MAX;
}

void
smmuv3_fe_check_guards(struct smmuv3_fe *f)
{
	for (unsigned int i = 0; i < SMMUV3_FE_NB_REGS; i++) {
		uint64_t v = reg_load(f, i), locked, want;
		const char *why;

		if (v == f->val[i])
			continue;
		locked = reg_locked_bits(f, i, &why);
		if ((v ^ f->val[i]) & locked)
			smmuv3_log_add(f->log, "%s written %s", reg_info[i].name, why);
		want = (f->val[i] & locked) | (v & reg_info[i].mask & ~locked);
		f->val[i] = want;
		if (v != want)
			reg_restore(f, i, v, want);
	}
}

static void
poll_sfm(struct smmuv3_fe *f)
{
	bool on = smmuv3_fe_knob(f, SMMUV3_MODEL_KNOB_SFM) != 0;

	if (on && !f->sfm) {
		smmuv3_fe_evtq_publish(f);
		smmuv3_fe_priq_publish(f);
		f->sfm = true;
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_SFM);
	} else if (!on) {
		f->sfm = false;
	}
}

unsigned int
smmuv3_fe_poll_regs(struct smmuv3_fe *f, bool full)
{
	unsigned int n;

	n = smmuv3_fe_poll_gerrorn(f);
	n += smmuv3_fe_poll_cr0(f);
	n += smmuv3_fe_poll_irq_ctrl(f);
	n += smmuv3_fe_poll_gbpa(f);
	if (__builtin_expect(f->ecmdq != NULL, 0))
		n += smmuv3_fe_poll_ecmdqs(f, full);
	if (f->evtq_abort != 0) {
		n++;
		if (--f->evtq_abort == 0)
			smmuv3_fe_evtq_abort(f);
	}
	poll_sfm(f);
	if (full)
		smmuv3_fe_check_guards(f);
	return n;
}
