/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef CMDQ_SUITE_H
#define CMDQ_SUITE_H

/*
 * iopf-bench --suite cmdq: a command queue that 1 to 32 threads use at a time.
 *
 *	cmdq_suite.c	the parts and their ratios
 *	cmdq_traffic.c	a cell: threads that map, unmap, invalidate and resume
 *	cmdq_rig.c	the SMMU: a model and the thread that steps it
 *	cmdq_driver.c	the queue of the driver: struct smmuv3_cmdq, unchanged
 *	cmdq_spinlock.c	baseline: a lock
 *	cmdq_gather.c	baseline: compare-and-swap, and an owner that gathers
 *	cmdq_count.h	the same three, built again to count their atomic operations
 *
 * Model. A cell is one queue with one kind of traffic and a number of threads. All queues get the
 * same SMMU, memory, wait (cmdq_wait()) and threads. They differ in struct cmdq_impl alone.
 *
 * Call order. cmdq_cell_run() does all: cmdq_rig_open(), which opens the queue and starts the
 * SMMU's thread; threads that call impl->post() and impl->sync(); cmdq_rig_close(), which waits
 * until all commands are executed and reports what the audit found.
 *
 *	struct cmdq_cell cell = { .impl = &cmdq_driver, .kind = CMDQ_MIXED, .threads = 4 };
 *
 *	ret = cmdq_cell_run(suite, &cell);
 *	rate = cell.rate;
 *
 * Threads. The SMMU's thread is pinned to conf->cpu_model. The callers may run on all other CPUs.
 * post() and sync() are called by any of them.
 *
 * Audit. Each command names its caller and its number: a TLBI_NH_VA by ASID and VA, a RESUME by
 * StreamID and STAG. Before the SMMU's thread lets the model execute commands it reads them. It
 * checks that each is the next one of its caller, so that none is lost, repeated or published
 * before it is written. It checks that the TLBI of the caller's call before is executed: if not,
 * a sync() returned too early. So each cell is a test of its queue.
 */

#include <pthread.h>

#include <smmuv3_cmd.h>
#include <smmuv3_order.h>
#include <smmuv3_queue.h>
#include <smmuv3_spec.h>

#include "bench.h"

struct suite;

#define CMDQ_MAX_THREADS	32
#define CMDQ_LOG2		10	/* entries of a queue: no traffic here fills it */
#define CMDQ_ALIGN		128
/* RESUMEs in one call of post(): a burst of faults. */
#define CMDQ_BURST		8
/* RESUMEs that are not executed yet, at most: the stalls of an SMMU. */
#define CMDQ_STALLS		512
/* TLBIs in one call of sync() beside a thread whose RESUMEs are measured. */
#define CMDQ_LONG		16
/* STAGs with this bit are not used by the model: a RESUME of them has no effect. */
#define CMDQ_STAG_BIT		0x8000u
#define CMDQ_STAGS		0x8000u

enum cmdq_kind {
	CMDQ_MAP,	/* map and unmap a page; sync() of its TLBI */
	CMDQ_MIXED,	/* post() of a burst of RESUMEs; sync() of a TLBI */
	/* The first thread posts bursts by the clock; the others sync() CMDQ_LONG TLBIs. */
	CMDQ_RESUME,
};

struct cmdq_rig;

struct cmdq_impl {
	const char *name;
	/* Returns NULL and reports the error. The queue writes BASE, PROD and CONS. */
	void *(*open)(struct cmdq_rig *rig);
	/* Commands that need no CMD_SYNC. Returns 0 or -errno. */
	int (*post)(void *queue, const struct smmuv3_cmd *cmds, unsigned int n);
	/* Commands and a CMD_SYNC; waits until it is complete. Returns 0 or -errno. */
	int (*sync)(void *queue, const struct smmuv3_cmd *cmds, unsigned int n);
	/* No thread calls post() or sync() any more: publish what is left. Returns 0 or -errno. */
	int (*finish)(void *queue);
	/* Stores of CMDQ_PROD so far. */
	uint64_t (*count_prod_writes)(void *queue);
	void (*close)(void *queue);
};

extern const struct cmdq_impl cmdq_driver, cmdq_spinlock, cmdq_gather;
/* The same with counters; see cmdq_count.h. */
extern const struct cmdq_impl counted_cmdq_driver, counted_cmdq_spinlock, counted_cmdq_gather;
/* Of the calling thread: atomic read-modify-writes, and full barriers. */
extern _Thread_local uint64_t cmdq_nb_rmws, cmdq_nb_barriers;

/* What the audit expects of one caller. The SMMU's thread alone uses it. */
struct cmdq_audit {
	uint64_t tlbis, resumes;	/* seen so far: the number of the next one */
	uint64_t call_end;		/* position after the last TLBI of a call of sync() */
};

struct cmdq_rig {
	const struct bench_conf *conf;
	double cycles_per_ns;
	struct smmuv3_model *model;
	void *regs;
	void *arena;
	struct smmuv3_cmd *ring;	/* 1 << CMDQ_LOG2 entries; device address: the pointer */
	smmuv3_reg32_t *word;		/* for MSIs */
	const struct cmdq_impl *impl;
	void *queue;
	unsigned int tlbis_per_sync;
	bool started;
	pthread_t thread;		/* of the SMMU */
	uint64_t *stamps;		/* by STAG: shown when its burst was posted; NULL: none */
	atomic_bool stop __attribute__((aligned(CMDQ_ALIGN)));
	/* Written by the SMMU's thread. */
	_Atomic uint64_t shown __attribute__((aligned(CMDQ_ALIGN)));	/* commands executed */
	_Atomic uint64_t answered;	/* RESUMEs executed */
	uint64_t audited, consumed;	/* positions */
	uint64_t tlbis, resumes, syncs;
	unsigned int nb_errors;
	char error[160];		/* the first */
	struct hist ahead;		/* commands executed between a post and its first RESUME */
	struct cmdq_audit sources[CMDQ_MAX_THREADS];
};

/* Both return 0, or -errno after reporting the error. */
int cmdq_rig_open(struct cmdq_rig *rig, const struct suite *suite, const struct cmdq_impl *impl,
		unsigned int tlbis_per_sync, uint64_t *stamps);
/* @p ret is the result so far: with an error, no further one is reported. */
int cmdq_rig_close(struct cmdq_rig *rig, int ret);
/* Write the registers of an empty queue. */
void cmdq_rig_write_regs(struct cmdq_rig *rig);

/* A bounded wait: ten seconds in which the thread runs, counted as in the driver (wait.h there). */
struct cmdq_wait {
	uint64_t left, last;	/* cycles */
	unsigned int n;
};

void cmdq_wait_begin(const struct cmdq_rig *rig, struct cmdq_wait *w);
/* Pauses; each 64th call of a wait yields the CPU. False: the time is over. */
bool cmdq_wait(const struct cmdq_rig *rig, struct cmdq_wait *w);

struct cmdq_cell {
	const struct cmdq_impl *impl;
	enum cmdq_kind kind;
	unsigned int threads;
	double rate;		/* calls of all threads in a second */
	/* Of the whole cell: commands of the callers, without CMD_SYNCs. */
	double syncs_per_call, prod_writes_per_cmd, rmws_per_cmd, barriers_per_cmd;
	struct hist ahead;	/* CMDQ_RESUME */
	struct hist post;	/* CMDQ_RESUME: cycles in post() */
};

/* Measure for @p ms. Returns 0, or -errno after reporting the error. */
int cmdq_cell_run(const struct suite *suite, struct cmdq_cell *cell, double ms);

int cmdq_suite_traffic(struct suite *suite);
int cmdq_suite_resume(struct suite *suite);
int cmdq_suite_atomics(struct suite *suite);

#endif /* CMDQ_SUITE_H */
