// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/*
 * For versus.sh: an interrupt of the event queue that no hardware and no other process raises. Only
 * the accesses to the GIC are on its way. A process of the lowest priority (SCHED_IDLE) on the processor
 * that serves the faults takes the place of the idle loop: it watches the queue's registers and
 * sets the interrupt pending at the GIC. It goes on when this processor has nothing else to do: the
 * time between is that of the whole service, in ticks of the guest's counter.
 */

#include <linux/delay.h>
#include <linux/io.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "ioctl.h"
#include "smmulab.h"

#define EVTQ_PROD	0x100a8
#define EVTQ_CONS	0x100ac
#define QUEUE_INDEX	0x7fffffff	/* without OVFLG */
#define GICD		0x08000000	/* of QEMU's virt */
#define GICD_ISPENDR	0x200
#define EVTQ_INTID	(32 + 0x4a)	/* the device tree of row.sh */

static void __iomem *evtq, *pending;

static bool
is_empty(void)
{
	return ((readl_relaxed(evtq) ^ readl_relaxed(evtq + EVTQ_CONS - EVTQ_PROD)) &
			QUEUE_INDEX) == 0;
}

/* Until a signal comes. */
static long
watch(u32 __user *ticks, u32 max)
{
	u32 nb = 0;
	u64 begin;

	while (!signal_pending(current)) {
		if (is_empty()) {
			cond_resched();
			continue;
		}
		begin = read_sysreg(cntvct_el0);
		writel(BIT(EVTQ_INTID % 32), pending);
		/* The interrupt is taken before this read ends: its thread is ready to run. */
		readl(pending);
		cond_resched();
		if (nb < max && put_user((u32)(read_sysreg(cntvct_el0) - begin), ticks + nb))
			return -EFAULT;
		nb++;
	}
	return min(nb, max);
}

long
lab_watch(void __user *arg)
{
	struct lab_watch w;
	long ret;

	if (copy_from_user(&w, arg, sizeof(w)))
		return -EFAULT;
	evtq = ioremap(LAB_REGS + EVTQ_PROD, 8);
	pending = ioremap(GICD + GICD_ISPENDR + EVTQ_INTID / 32 * 4, 4);
	ret = evtq && pending ? watch(u64_to_user_ptr(w.ticks), w.max) : -ENOMEM;
	if (evtq)
		iounmap(evtq);
	if (pending)
		iounmap(pending);
	if (ret < 0)
		return ret;
	w.nb = ret;
	return copy_to_user(arg, &w, sizeof(w)) ? -EFAULT : 0;
}

/* The host is not asked often whether it is done: that would disturb what it measures. */
long
lab_bench(struct lab_dev *t, void __user *arg)
{
	struct lab_bench b;
	u32 seq;

	if (!t->dev)
		return -ENODEV;
	if (copy_from_user(&b, arg, sizeof(b)))
		return -EFAULT;
	lab_init(t, LAB_BENCH);
	lab_mb->addr = b.addr;
	lab_mb->stride = b.stride;
	lab_mb->count = b.count;
	lab_mb->arg = b.batch;
	lab_mb->pause_us = b.pause_us;
	lab_mb->has_pasid = 1;
	lab_mb->pasid = b.pasid;
	seq = lab_mb->seq + 1;
	smp_store_release(&lab_mb->seq, seq);
	while (smp_load_acquire(&lab_mb->done) != seq)
		if (msleep_interruptible(20))
			return -EINTR;
	b.nb_failed = lab_mb->status;
	b.nb_stalls = lab_mb->nb_stalls;
	return copy_to_user(arg, &b, sizeof(b)) ? -EFAULT : 0;
}
