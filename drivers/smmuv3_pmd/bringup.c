/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Start and stop [6.3.9, 6.3.14]; suspend and resume, which are the same but for what may be left
 * to do meanwhile. A suspended SMMU may lose its registers, so that a resume writes them all, and
 * may also keep all that it has cached: SMMUEN = 0 invalidates nothing. Commands that are not
 * issued meanwhile are made good by invalidate_all(), before SMMUEN is set, and by
 * smmuv3_atc_inv_all() after it: see state.h. So no ASID, CD or STE that a detach has released
 * meanwhile, and that another attach has got, is used before that.
 *
 * The driver that ran this SMMU before may have left it on, with errors not acknowledged and queues
 * in memory that now belongs to another process. So DMA is blocked first, then everything is
 * switched off.
 */

#include "atc.h"
#include "base.h"
#include "bringup.h"
#include "cmdq.h"
#include "cr0.h"
#include "ecmdq.h"
#include "evtq.h"
#include "gbpa.h"
#include "gerror.h"
#include "irq.h"
#include "main_cmdq.h"
#include "priq.h"
#include "recovery.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "strtab.h"
#include "wait.h"

/* Block DMA, switch everything off, acknowledge all errors. */
static int
disable_smmu(struct smmuv3 *s)
{
	uint32_t cr0, gerror;
	int ret;

	ret = smmuv3_gbpa_block(s);
	if (ret < 0)
		return ret;
	/* The last driver may have left CR0 fields not acknowledged: wait for them. */
	cr0 = smmuv3_read32(s->regs, SMMUV3_CR0);
	ret = smmuv3_wait_reg(s, "CR0ACK", SMMUV3_CR0ACK, smmuv3_cr0_fields(s),
			cr0 & smmuv3_cr0_fields(s));
	if (ret < 0)
		return ret;
	s->cr0 = cr0 & smmuv3_cr0_fields(s);
	ret = smmuv3_cr0_write(s, 0);
	if (ret < 0)
		return ret;
	ret = smmuv3_ecmdqs_disable(s);
	if (ret < 0)
		return ret;
	ret = smmuv3_irqs_disable(s);
	if (ret < 0)
		return ret;

	gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	if (gerror == UINT32_MAX) {
		SMMUV3_LOG(ERR, s, "registers read as all ones: the SMMU is absent or unpowered");
		return -ENODEV;
	}
	s->gerrorn = smmuv3_read32(s->regs, SMMUV3_GERRORN);
	if ((gerror ^ s->gerrorn) & SMMUV3_GERROR_SFM) {
		SMMUV3_LOG(ERR, s, "the SMMU is in Service Failure Mode (GERROR 0x%x): "
				"reset it", gerror);
		return -EIO;
	}
	smmuv3_gerror_ack(s, gerror ^ s->gerrorn);
	return 0;
}

/* CMDQEN is 0. From here on commands are accepted, and executed once CMDQEN is acknowledged. */
static int
open_cmdq(struct smmuv3 *s)
{
	int ret = smmuv3_cmdq_wait_own(&s->cmdq);

	if (ret < 0)
		return ret;
	/* disable_smmu() has read SMMUEN = 0: older commands have no purpose. */
	smmuv3_state_set(&s->state, SMMUV3_STATE_OFF);
	smmuv3_cmdq_setup(&s->cmdq);
	ret = smmuv3_ecmdqs_enable(s);
	/* S1 and S2 of state.h. The next owner acquires the queue's positions. */
	if (ret == 0)
		smmuv3_state_set(&s->state, SMMUV3_STATE_STARTING);
	smmuv3_ecmdqs_disown(s);
	smmuv3_cmdq_disown(&s->cmdq);
	return ret;
}

static int
invalidate_all(struct smmuv3 *s)
{
	const struct smmuv3_cmd cfgi = smmuv3_cmd_cfgi_all();
	struct smmuv3_cmd tlbi[2] = { smmuv3_cmd_tlbi_nsnh_all() };
	unsigned int n = 1;
	int ret;

	/* Configuration first: an old one could fill the TLB again. */
	ret = smmuv3_cmdq_sync(&s->cmdq, &cfgi, 1, NULL);
	if (ret < 0)
		return ret;
	if (s->idr0 & SMMUV3_IDR0_HYP)
		tlbi[n++] = smmuv3_cmd_tlbi_el2_all();
	return smmuv3_cmdq_sync(&s->cmdq, tlbi, n, NULL);
}

/* The SMMU is off: it uses none of the rings that these replace. */
static int
alloc_queues(struct smmuv3 *s)
{
	int ret = smmuv3_main_cmdq_alloc(s, s->cmdq_log2);

	if (ret == 0)
		ret = smmuv3_ecmdqs_alloc(s, s->cmdq_log2);
	if (ret == 0)
		ret = smmuv3_evtq_alloc(s, s->evtq_log2);
	return ret < 0 || !s->pri ? ret : smmuv3_priq_alloc(s, s->priq_log2);
}

static int
bring_up(struct smmuv3 *s)
{
	uint32_t attrs = SMMUV3_PUT(SMMUV3_CR1_QUEUE_IC, SMMUV3_CR1_WB) |
		SMMUV3_PUT(SMMUV3_CR1_QUEUE_OC, SMMUV3_CR1_WB) |
		SMMUV3_PUT(SMMUV3_CR1_QUEUE_SH, SMMUV3_SH_ISH) |
		SMMUV3_PUT(SMMUV3_CR1_TABLE_IC, SMMUV3_CR1_WB) |
		SMMUV3_PUT(SMMUV3_CR1_TABLE_OC, SMMUV3_CR1_WB) |
		SMMUV3_PUT(SMMUV3_CR1_TABLE_SH, SMMUV3_SH_ISH);
	int ret;

	ret = disable_smmu(s);
	if (ret < 0)
		return ret;
	ret = alloc_queues(s);
	if (ret < 0)
		return ret;
	smmuv3_write32(s->regs, SMMUV3_CR1, attrs);
	/* Record refused Translation Requests if the SMMU can. */
	smmuv3_write32(s->regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID | SMMUV3_CR2_PTM |
			(s->idr0 & SMMUV3_IDR0_ATSRECERR ? SMMUV3_CR2_REC_CFG_ATS : 0));
	smmuv3_strtab_setup(s);

	ret = open_cmdq(s);
	if (ret < 0)
		return ret;
	/*
	 * Cached STEs do not follow a change of ATSCHK: set it before they are invalidated
	 * [6.3.9].
	 */
	ret = smmuv3_cr0_write(s, SMMUV3_CR0_CMDQEN | (s->ats ? SMMUV3_CR0_ATSCHK : 0));
	if (ret < 0)
		return ret;
	ret = invalidate_all(s);
	if (ret < 0)
		return ret;

	smmuv3_evtq_setup(s);
	if (s->pri)
		smmuv3_priq_setup(s);
	ret = smmuv3_cr0_write(s, s->cr0 | SMMUV3_CR0_EVENTQEN | (s->pri ? SMMUV3_CR0_PRIQEN : 0));
	if (ret < 0)
		return ret;
	ret = smmuv3_irqs_enable(s);
	if (ret < 0)
		return ret;
	ret = smmuv3_cr0_write(s, s->cr0 | SMMUV3_CR0_SMMUEN);
	if (ret < 0)
		return ret;
	/* After SMMUEN: an ATC_INV is ignored while SMMUEN is 0 [4.5.1]. */
	return smmuv3_atc_inv_all(s);
}

/*
 * Commands are dropped from here on. A caller that waits for one gets 0 if SMMUEN is 0 (no
 * invalidation is needed), else an error.
 */
static int
close_cmdq(struct smmuv3 *s)
{
	int ret = smmuv3_cmdq_wait_own(&s->cmdq);

	smmuv3_state_set(&s->state, smmuv3_smmuen_is_off(s) ? SMMUV3_STATE_OFF :
			SMMUV3_STATE_UNSAFE);
	if (ret < 0)
		return ret;
	smmuv3_cmdq_drop_held(&s->cmdq);
	smmuv3_cmdq_disown(&s->cmdq);
	return 0;
}

/* Every step, whatever fails on the way; returns the first error. In any state. */
static int
shut_down(struct smmuv3 *s)
{
	bool executes = smmuv3_state_takes_cmds(&s->state);
	int ret, first;

	if (executes)
		smmuv3_state_set(&s->state, SMMUV3_STATE_STOPPING);
	first = smmuv3_gbpa_block(s);
	/*
	 * A PRI_RESP that is consumed after SMMUEN = 0 is ignored, and its endpoint waits forever
	 * [4.5.2].
	 */
	if (s->pri && executes)
		smmuv3_cmdq_drain(&s->cmdq);
	/* This ends all stalls and frees their STAGs [6.3.9]. */
	ret = smmuv3_cr0_write(s, s->cr0 & ~SMMUV3_CR0_SMMUEN);
	first = first < 0 ? first : ret;
	if (executes) {
		ret = smmuv3_cmdq_drop_resumes(&s->cmdq);
		first = first < 0 ? first : ret;
		ret = smmuv3_ecmdqs_drop_resumes(s);
		first = first < 0 ? first : ret;
		ret = smmuv3_cmdq_drain(&s->cmdq);
		first = first < 0 ? first : ret;
		ret = smmuv3_ecmdqs_drain(s);
		first = first < 0 ? first : ret;
	}
	ret = close_cmdq(s);
	first = first < 0 ? first : ret;
	ret = smmuv3_ecmdqs_disable(s);
	first = first < 0 ? first : ret;
	ret = smmuv3_cr0_write(s, s->cr0 & ~(SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_PRIQEN));
	first = first < 0 ? first : ret;
	ret = smmuv3_irqs_disable(s);
	first = first < 0 ? first : ret;
	ret = smmuv3_cr0_write(s, 0);
	return first < 0 ? first : ret;
}

/* After a failed start the SMMU must not write memory or translate. */
static void
undo_start(struct smmuv3 *s)
{
	smmuv3_cr0_write(s, 0);
	close_cmdq(s);
	smmuv3_ecmdqs_disable(s);
	smmuv3_irqs_disable(s);
}

int
smmuv3_start(void *priv)
{
	struct smmuv3 *s = priv;
	int ret;

	ret = smmuv3_ctl_lock(s);
	if (ret < 0)
		return ret;
	atomic_store_explicit(&s->stopped, false, memory_order_relaxed);
	s->suspended = false;
	s->recovery.step = SMMUV3_RECOVERY_NONE;
	s->priq_abort_logged = false;
	atomic_store_explicit(&s->recovery.wanted, false, memory_order_relaxed);
	ret = bring_up(s);
	if (ret == 0 && !smmuv3_state_set_running(&s->state))
		ret = -EIO;
	if (ret < 0) {
		undo_start(s);
		SMMUV3_LOG(ERR, s, "not started: %s; the SMMU is %s; correct the cause in the "
				"lines above, and start it again", strerror(-ret),
				smmuv3_state_name(smmuv3_state_get(&s->state)));
	} else {
		/* Pairs with the acquires in smmuv3_evtq_poll() and smmuv3_priq_poll(). */
		atomic_store_explicit(&s->evtq.q.on, true, memory_order_release);
		atomic_store_explicit(&s->priq.q.on, s->pri, memory_order_release);
	}
	smmuv3_ctl_unlock(s);
	return ret;
}

/* The holder of ctl. */
static int
stop_smmu(struct smmuv3 *s)
{
	int ret = shut_down(s);

	atomic_store_explicit(&s->evtq.q.on, false, memory_order_release);
	atomic_store_explicit(&s->priq.q.on, false, memory_order_release);
	return ret;
}

int
smmuv3_stop(void *priv)
{
	struct smmuv3 *s = priv;
	int ret;

	ret = smmuv3_ctl_lock(s);
	if (ret < 0)
		return ret;
	ret = stop_smmu(s);
	atomic_store_explicit(&s->stopped, ret == 0, memory_order_relaxed);
	if (ret < 0)
		SMMUV3_LOG(ERR, s, "not stopped in order: %s; the SMMU is %s, and DMA may not "
				"be blocked; stop it again", strerror(-ret),
				smmuv3_state_name(smmuv3_state_get(&s->state)));
	smmuv3_ctl_unlock(s);
	return ret;
}

int
smmuv3_suspend(void *priv, bool bypass)
{
	struct smmuv3 *s = priv;
	bool lost = false;
	int ret;

	ret = smmuv3_ctl_lock(s);
	if (ret < 0)
		return ret;
	ret = stop_smmu(s);
	if (ret == 0)
		lost = smmuv3_evtq_has_lost_events(s);
	/* Last: while the SMMU is switched off DMA is blocked. A resume blocks it again first. */
	if (ret == 0 && bypass)
		ret = smmuv3_gbpa_bypass(s);
	s->suspended = ret == 0;
	atomic_store_explicit(&s->stopped, ret == 0, memory_order_relaxed);
	if (ret < 0)
		SMMUV3_LOG(ERR, s, "not suspended: %s; the SMMU is %s, and DMA may not be "
				"blocked; stop it, or start it again", strerror(-ret),
				smmuv3_state_name(smmuv3_state_get(&s->state)));
	smmuv3_ctl_unlock(s);
	return ret < 0 ? ret : lost;
}

/*
 * Called at open, not at start: another process may use the memory of the SMMU's tables and queues
 * by now, and the start may come much later. Does not change an SMMU that is off.
 */
int
smmuv3_take_over(struct smmuv3 *s)
{
	uint32_t cr0 = smmuv3_read32(s->regs, SMMUV3_CR0);
	uint32_t ack = smmuv3_read32(s->regs, SMMUV3_CR0ACK);
	int ret;

	s->initial_gbpa = smmuv3_read32(s->regs, SMMUV3_GBPA);
	if (((cr0 | ack) & smmuv3_cr0_fields(s)) == 0 && !smmuv3_ecmdqs_are_on(s))
		return 0;
	/* The driver that set GBPA is gone, and its value may not be safe: do not restore it. */
	s->initial_gbpa = UINT32_MAX;
	SMMUV3_LOG(NOTICE, s, "the SMMU is running (CR0 0x%x): the driver takes it over", cr0);
	ret = disable_smmu(s);
	if (ret < 0)
		SMMUV3_LOG(ERR, s, "not taken over: %s; the SMMU may use memory of other programs: "
				"reset it, and open it again", strerror(-ret));
	return ret;
}
