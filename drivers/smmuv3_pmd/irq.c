/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Interrupts [3.18, 6.3.15 - 6.3.24]: words in memory that the poll looks at, where the
 * SMMU has MSIs, and otherwise none, for nobody would hear a wired one. Somebody who
 * wants to sleep changes to wired ones: an MSI address switches the wire off, and
 * may be changed only with IRQ_CTRL off and acknowledged.
 *
 * Nothing is lost on the way. To sleep: the wires are on, then PROD and GERROR are
 * read, which show whatever came before; what comes after finds an empty queue and
 * pulls the wire. Back: the words are set as if an MSI had come, so that the next
 * passes read the registers.
 *
 * No interrupt comes for what other threads leave to poll() and check(): answers that found
 * the command queue full. One that goes to sleep with such is refused, and one that sleeps
 * already is woken by the thread that leaves them:
 *
 *	sleeper				caller of answer
 *	store asleep			publish in the backlog, or recovery_wanted
 *	full barrier			full barrier
 *	load the backlog		load asleep
 *
 * Not both loads miss the other's store.
 */

#include <fcntl.h>
#include <unistd.h>

#include "backend.h"
#include "backlog.h"
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
	smmuv3_write64(s->regs, cfg0, (s->words_mem.addr + word) & SMMUV3_IRQ_CFG0_ADDR);
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
	/* LO = 0: on empty to not empty, not on each Last [6.3.39]. */
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

/* More entries than poll has read. */
static bool
inq_has_entries(struct smmuv3_inq *q)
{
	uint64_t cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	uint32_t prod = smmuv3_load_status(q->regs, q->prod_reg);

	return smmuv3_q_pos(q->log2, prod) != smmuv3_q_pos(q->log2, cons);
}

/* An overflow that is not acknowledged too: nothing is written then, and no edge comes. */
static bool
priq_has_work(struct smmuv3 *s)
{
	return inq_has_entries(&s->priq.q) || smmuv3_priq_has_unreported_loss(s) ||
		((smmuv3_read32(s->regs, SMMUV3_PRIQ_PROD) ^
		smmuv3_read32(s->regs, SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG) != 0;
}

/* Something that no edge will come for. */
static bool
has_unreported_work(struct smmuv3 *s)
{
	uint32_t gerror;

	/*
	 * CONS, stored by poll, before PROD is read: an event after it finds the queue empty.
	 * And asleep before the backlog and recovery_wanted.
	 */
	smmuv3_io_mb();
	gerror = smmuv3_load_status(s->regs, SMMUV3_GERROR);
	return inq_has_entries(&s->evtq.q) || (s->pri && priq_has_work(s)) ||
		((gerror ^ smmuv3_read32(s->regs, SMMUV3_GERRORN)) & SMMUV3_GERROR_ALL) != 0 ||
		s->recovery != SMMUV3_RECOVERY_NONE || smmuv3_backlog_has_cmd(&s->cmdq.backlog) ||
		atomic_load_explicit(&s->recovery_wanted, memory_order_relaxed);
}

void
smmuv3_wake_poll_thread(struct smmuv3 *s)
{
	const uint64_t one = 1;

	smmuv3_io_mb();
	if (likely(!atomic_load_explicit(&s->asleep, memory_order_acquire)))
		return;
	/* EAGAIN: it is woken. */
	if (write(atomic_load_explicit(&s->wake_fd, memory_order_relaxed), &one, sizeof(one)) < 0)
		return;
}

/* The sleeper may close its own while another thread is about to write to it. */
static int
copy_fd(struct smmuv3 *s, int fd)
{
	int copy = atomic_load_explicit(&s->wake_fd, memory_order_relaxed);

	copy = copy < 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : dup3(fd, copy, O_CLOEXEC);
	if (copy < 0)
		return -errno;
	atomic_store_explicit(&s->wake_fd, copy, memory_order_relaxed);
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
	/* Releases wake_fd, for smmuv3_wake_poll_thread(). */
	atomic_store_explicit(&s->asleep, true, memory_order_release);
	return has_unreported_work(s);
}

static int
end_sleep(struct smmuv3 *s)
{
	int ret = write_irq_ctrl(s, false);

	atomic_store_explicit(&s->asleep, false, memory_order_relaxed);
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
		SMMUV3_LOG(ERR, s, "cannot sleep on fd %d: an eventfd, or -1 to poll again", fd);
		return -EINVAL;
	}
	ret = smmuv3_ctl_lock(s);
	if (ret < 0)
		return ret;
	ret = fd >= 0 ? begin_sleep(s, fd) : end_sleep(s);
	smmuv3_ctl_unlock(s);
	return ret;
}
