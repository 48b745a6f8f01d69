/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef VMM_H
#define VMM_H

/* The VMM: one guest in a process of its own, the host, and the loop that serves both. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "guest.h"
#include "host.h"

#define VMM_ANY_CPU	(-1)

struct vmm {
	struct host host;
	struct smmuv3_model_page page;	/* the guest's registers and memory */
	struct guest_mailbox *mailbox;
	pid_t guest_pid;
	bool guest_runs;
};

extern struct vmm vmm;

/* If not @p ok print that the program cannot do @p what, kill the guest, and exit. */
void vmm_must(bool ok, const char *what);

/* Set up the host, the virtual SMMU and the guest, which has attached its devices then. */
void vmm_start(int smmu_cpu, int guest_cpu);
/* Undo that. The guest has ended. */
void vmm_stop(void);

/* Does the guest's process run? Its end is seen once, and sets vmm.guest_runs. */
bool vmm_guest_runs(void);

/* One turn: the guest's commands, then the faults of the host's SMMU. */
void vmm_run_once(void);

/* When a wait is over that takes no time by rights, in rte_rdtsc(). */
uint64_t vmm_get_end(void);
void vmm_submit(struct smmuv3_model_dma *engine, enum smmuv3_model_op_type type, uint64_t va,
		char *buf, size_t len);

#endif /* VMM_H */
