/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_IRQ_H
#define SMMUV3_IRQ_H

/**
 * @file
 * Interrupts: MSI words that the poll thread reads, and wired ones for a sleeping poll thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <iopf_driver.h>

#include "base.h"
#include "smmuv3_order.h"

struct smmuv3;

/*
 * Words that the SMMU writes (MSIs) and software polls, each in cache lines of its own. Beside that
 * of a queue is what a poll thread compares it with: an idle pass reads one line.
 */
struct smmuv3_word {
	smmuv3_reg32_t v;
	struct iopf_peek peek;		/* evtq, priq */
} __rte_aligned(SMMUV3_ALIGN);

struct smmuv3_words {
	struct smmuv3_word evtq;
	struct smmuv3_word priq;
	struct smmuv3_word gerror;
	struct smmuv3_word sync;	/* number of the last CMD_SYNC completed */
};

/* Of a poll thread that sleeps: see irq.c. */
struct smmuv3_sleep {
	_Atomic bool asleep;
	_Atomic int wake_fd;	/* copy of the sleeping thread's eventfd; -1: none */
};

int smmuv3_irqs_disable(struct smmuv3 *s);
int smmuv3_irqs_enable(struct smmuv3 *s);
int smmuv3_idle(void *priv, int fd);
/* Wake a sleeping poll thread: poll() or check() has work that no interrupt reports. Any thread. */
void smmuv3_wake_poll_thread(struct smmuv3 *s);

#endif /* SMMUV3_IRQ_H */
