/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Interrupts [3.18, 6.3.15 - 6.3.24]. While a thread polls: MSIs to words in memory, which poll
 * reads, if the SMMU has MSIs; otherwise none, since no thread would wait for a wired one. A
 * poll thread that sleeps uses wired interrupts. An MSI address disables the wire, and may be
 * changed only while IRQ_CTRL is 0 and acknowledged.
 *
 * No event is lost when the mode changes. To sleep: the wires are enabled, then PROD and GERROR
 * are read, which show all events before; a later event finds an empty queue and asserts the
 * wire. To poll again: the words are set as if an MSI had come, so that the next passes read
 * the registers.
 *
 * No interrupt reports answers in the backlog, or a wanted recovery. A poll thread that tries
 * to sleep while there is such work is refused. If it sleeps already, the thread that adds the
 * work wakes it:
 *
 *	sleeper				caller of answer
 *	store asleep			publish in the backlog, or recovery.wanted
 *	full barrier			full barrier
 *	load the backlog		load asleep
 *
 * At least one of the two loads sees the other thread's store.
 */

#include <fcntl.h>
#include <unistd.h>

#include "backend.h"
#include "backlog.h"
#include "base.h"
#include "ecmdq.h"
#include "inq.h"
#include "irq.h"
#include "priq.h"
#include "recovery.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "wait.h"

#define IRQS	(SMMUV3_IRQ_CTRL_GERROR | SMMUV3_IRQ_CTRL_EVENTQ | SMMUV3_IRQ_CTRL_PRIQ)

static int
write_irq_ctrl(struct smmuv3 *s, bool on)
{
	uint32_t irqs = !on ? 0 : s->pri ? IRQS : IRQS & ~SMMUV3_IRQ_CTRL_PRIQ;

	smmuv3_store_prod(s->regs, SMMUV3_IRQ_CTRL, irqs);
	return smmuv3_wait_reg(s, "IRQ_CTRLACK", SMMUV3_IRQ_CTRLACK, IRQS, irqs);
}

int
smmuv3_irqs_disable(struct smmuv3 *s)
{
	return write_irq_ctrl(s, false);
}

static void
configure_msi(struct smmuv3 *s, uint32_t cfg0, uint32_t cfg1, uint32_t cfg2, size_t word)
{
	smmuv3_write64(s->regs, cfg0, (s->words_addr + word) & SMMUV3_IRQ_CFG0_ADDR);
	smmuv3_write32(s->regs, cfg1, 1);
	smmuv3_write32(s->regs, cfg2, SMMUV3_PUT(SMMUV3_IRQ_CFG2_SH, SMMUV3_SH_ISH) |
			SMMUV3_PUT(SMMUV3_IRQ_CFG2_MEMATTR, SMMUV3_MEMATTR_OIWB));
}

int
smmuv3_irqs_enable(struct smmuv3 *s)
{
	if (!(s->idr0 & SMMUV3_IDR0_MSI))
		return 0;
	atomic_store_explicit(&s->words->evtq.v, 0, memory_order_relaxed);
	atomic_store_explicit(&s->words->priq.v, 0, memory_order_relaxed);
	atomic_store_explicit(&s->words->gerror.v, 0, memory_order_relaxed);
	configure_msi(s, SMMUV3_GERROR_IRQ_CFG0, SMMUV3_GERROR_IRQ_CFG1, SMMUV3_GERROR_IRQ_CFG2,
			offsetof(struct smmuv3_words, gerror));
	configure_msi(s, SMMUV3_EVENTQ_IRQ_CFG0, SMMUV3_EVENTQ_IRQ_CFG1, SMMUV3_EVENTQ_IRQ_CFG2,
			offsetof(struct smmuv3_words, evtq));
	/* LO = 0: an MSI on empty to not empty, not on each Last [6.3.39]. */
	if (s->pri)
		configure_msi(s, SMMUV3_PRIQ_IRQ_CFG0, SMMUV3_PRIQ_IRQ_CFG1, SMMUV3_PRIQ_IRQ_CFG2,
				offsetof(struct smmuv3_words, priq));
	return write_irq_ctrl(s, true);
}

static int
enable_wires(struct smmuv3 *s)
{
	int ret = write_irq_ctrl(s, false);

	if (ret < 0)
		return ret;
	if (s->idr0 & SMMUV3_IDR0_MSI) {
		smmuv3_write64(s->regs, SMMUV3_GERROR_IRQ_CFG0, 0);
		smmuv3_write64(s->regs, SMMUV3_EVENTQ_IRQ_CFG0, 0);
		if (s->pri)
			smmuv3_write64(s->regs, SMMUV3_PRIQ_IRQ_CFG0, 0);
	}
	return write_irq_ctrl(s, true);
}

static int
connect_wires(struct smmuv3 *s, int fd)
{
	int ret = s->backend->connect_irq(s->backend_ctx, SMMUV3_IRQ_EVTQ, fd);

	if (ret == 0 && s->pri)
		ret = s->backend->connect_irq(s->backend_ctx, SMMUV3_IRQ_PRIQ, fd);
	return ret < 0 ? ret : s->backend->connect_irq(s->backend_ctx, SMMUV3_IRQ_GERROR, fd);
}

/* The queue has entries that poll has not read. */
static bool
inq_has_entries(struct smmuv3_inq *q)
{
	uint64_t cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	uint32_t prod = smmuv3_load_status(q->regs, q->prod_reg);

	return smmuv3_q_pos(q->log2, prod) != smmuv3_q_pos(q->log2, cons);
}

/*
 * An overflow that is not acknowledged counts too: the SMMU writes no entry then, so no interrupt
 * comes.
 */
static bool
priq_has_work(struct smmuv3 *s)
{
	return inq_has_entries(&s->priq.q) || smmuv3_priq_has_unreported_loss(s) ||
		((smmuv3_read32(s->regs, SMMUV3_PRIQ_PROD) ^
		smmuv3_read32(s->regs, SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG) != 0;
}

/* There is work that no interrupt reports. */
static bool
has_unreported_work(struct smmuv3 *s)
{
	uint32_t gerror;

	/*
	 * Full barrier. Poll's store of CONS comes before the read of PROD: the SMMU finds an
	 * empty queue for a later event. And the store of asleep comes before the loads of the
	 * backlog and of recovery.wanted.
	 */
	smmuv3_io_mb();
	gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	return inq_has_entries(&s->evtq.q) || (s->pri && priq_has_work(s)) ||
		((gerror ^ smmuv3_read32(s->regs, SMMUV3_GERRORN)) & SMMUV3_GERROR_ALL) != 0 ||
		s->recovery.step != SMMUV3_RECOVERY_NONE ||
		smmuv3_backlog_has_cmd(&s->cmdq.backlog) || smmuv3_ecmdqs_have_backlog(s) ||
		atomic_load_explicit(&s->recovery.wanted, memory_order_relaxed);
}

void
smmuv3_wake_poll_thread(struct smmuv3 *s)
{
	const uint64_t one = 1;

	smmuv3_io_mb();
	/* Pairs with the release in begin_sleep(): wake_fd. */
	if (likely(!atomic_load_explicit(&s->sleep.asleep, memory_order_acquire)))
		return;
	/* EAGAIN: the eventfd is set already. */
	if (write(atomic_load_explicit(&s->sleep.wake_fd, memory_order_relaxed), &one,
			sizeof(one)) < 0)
		return;
}

/*
 * Copy the eventfd: the sleeping thread may close its own while another thread is about to write
 * to it.
 */
static int
copy_fd(struct smmuv3 *s, int fd)
{
	int copy = atomic_load_explicit(&s->sleep.wake_fd, memory_order_relaxed);

	copy = copy < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : dup3(fd, copy, O_CLOEXEC);
	if (copy < 0)
		return -errno;
	atomic_store_explicit(&s->sleep.wake_fd, copy, memory_order_relaxed);
	return 0;
}

static int
begin_sleep(struct smmuv3 *s, int fd)
{
	int ret = copy_fd(s, fd);

	if (ret == 0)
		ret = connect_wires(s, fd);
	if (ret == 0)
		ret = enable_wires(s);
	if (ret < 0) {
		connect_wires(s, -1);
		return ret;
	}
	/* Release wake_fd, for smmuv3_wake_poll_thread(). */
	atomic_store_explicit(&s->sleep.asleep, true, memory_order_release);
	return has_unreported_work(s);
}

static int
end_sleep(struct smmuv3 *s)
{
	int ret = write_irq_ctrl(s, false);

	atomic_store_explicit(&s->sleep.asleep, false, memory_order_relaxed);
	connect_wires(s, -1);
	if (ret == 0)
		ret = smmuv3_irqs_enable(s);
	atomic_store_explicit(&s->words->evtq.v, 1, memory_order_relaxed);
	atomic_store_explicit(&s->words->priq.v, 1, memory_order_relaxed);
	atomic_store_explicit(&s->words->gerror.v, 1, memory_order_relaxed);
	return ret;
}

int
smmuv3_idle(void *priv, int fd)
{
	struct smmuv3 *s = priv;
	int ret;

	if (fd < -1) {
		SMMUV3_LOG(ERR, s, "cannot sleep on fd %d: use an eventfd, or -1 to poll again",
				fd);
		return -EINVAL;
	}
	ret = smmuv3_ctl_lock(s);
	if (ret < 0)
		return ret;
	ret = fd >= 0 ? begin_sleep(s, fd) : end_sleep(s);
	smmuv3_ctl_unlock(s);
	return ret;
}
