/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_MODEL_H
#define SMMUV3_MODEL_MODEL_H

/*
 * The state of the model, and the files of the back end and of the software devices. The
 * front end (registers, queues, interrupts) is listed in front.h.
 *
 * Configuration and translation
 *	cfg_cache.c	cached words of L1STDs, STEs, L1CDs and CDs
 *	ste.c cd.c	STEs and CDs: their place, their fields, illegal values
 *	ctx.c		StreamID and SubstreamID to a translation context
 *	walk.c		walks of both stages, and their caches of table pointers
 *	httu.c		updates of access flags and dirty state
 *	stage2.c	IPAs, and TLB entries that combine both stages
 *	tlb.c		TLB entries, tagged with VMID and ASID
 *	translate.c	translation and permissions of one access
 * Commands
 *	command.c	executes the commands that the front end found legal
 *	inval.c		invalidations between their command and their SYNC
 *	resume.c	RESUME and STALL_TERM
 * Stalls, ATS, PRI
 *	stall.c		records of stalled transactions; model_stag.h: STAGs
 *	ats.c		Translation Requests and translated transactions at the SMMU
 *	pri.c		page requests and PRI_RESPs at the SMMU
 *	atc.c		the ATC of an endpoint, and ATC_INV
 *	endpoint.c	endpoints: their ATS, delays, errors, reset
 *	prg.c		page request groups of endpoints, with PRG indices and credits
 * Engines
 *	dma.c		submission and completion of DMAs
 *	transact.c	the transactions of a DMA: data, faults, events
 *	flight.c	transactions between their translation and their memory access
 * Oracle
 *	oracle.c	invalidations that completed SYNCs cover
 *	frames.c	page frames that are given to an owner, or freed
 *	silent.c	reports that are no errors
 * Control
 *	model.c idr.c	creation and control calls; IDR0 to IDR5
 *	front.c		the front end alone, for a VMM
 *	page.c		page files: registers and memory for a driver in another process
 *	step.c		one step
 *	thread.c	the model's thread, and waits for it
 *	power.c		power off and on
 *	info.c		counters, logs, names
 *
 * All functions run on the stepping thread unless their comment says otherwise.
 */

#include <pthread.h>
#include <stdatomic.h>

#include "front.h"
#include "model_cfg_cache.h"
#include "model_flight.h"
#include "model_inval.h"
#include "model_oracle.h"
#include "model_slot.h"
#include "model_tlb.h"
#include "model_walk.h"

struct smmuv3_ep;
struct smmuv3_stall;

#define SMMUV3_EP_BUCKETS	256
#define SMMUV3_BATCH		32	/* transactions until records are published */

struct smmuv3_model {
	struct smmuv3_fe fe;
	struct smmuv3_wins wins;
	struct smmuv3_log driver_log;
	struct smmuv3_log silent;	/* reports, not errors */
	struct smmuv3_frames frames;
	struct smmuv3_stats stats;
	uint32_t choices, no_features, features, harsh;
	unsigned int sid_bits, ssid_bits, oas_bits, stall_max;
	unsigned int table_win, cfg_win, data_win;	/* hints for smmuv3_win_find() */
	uint64_t rand;

	struct smmuv3_cfg cfg;
	uint32_t cfg_gen;
	struct smmuv3_tlb tlb;
	struct smmuv3_wc wc;
	struct smmuv3_tlb tlb2;		/* stage 2; has entries with SMMUV3_MODEL_S2 only */
	struct smmuv3_wc wc2;
	struct smmuv3_oracle oracle;

	struct smmuv3_stall *stall;
	uint16_t *stag_fifo;		/* free STAGs, longest free first */
	uint32_t stag_head, stag_nb;
	_Atomic uint32_t stalls_out;
	struct smmuv3_list held;
	bool held_first;		/* a held stall is retried: its record goes first */
	struct smmuv3_list ready;
	struct smmuv3_list later;	/* move to ready in the next step */
	struct smmuv3_slot *unshown[2 * SMMUV3_BATCH];	/* records put, EVTQ PROD not yet stored */
	unsigned int nb_unshown;
	struct smmuv3_ep *ep[SMMUV3_EP_BUCKETS];	/* by StreamID */
	struct smmuv3_slot *pri_unshown[2 * SMMUV3_BATCH];	/* the same of the PRIQ: Last */
	unsigned int nb_pri_unshown;
	struct smmuv3_inval_list inval;
	struct smmuv3_flight flight;
	uint32_t atc_timeout_ms;
	uint64_t now;			/* time of this batch of commands; 0: not read yet */
	uint64_t run_now;		/* time at the start of this batch of operations */

	struct smmuv3_model_dma *all;
	struct smmuv3_model_dma *run, **run_last;
	_Atomic(struct smmuv3_model_dma *) work;	/* engines with new work */

	bool off;			/* the power is off */

	/* control */
	pthread_mutex_t lock;
	_Atomic uint32_t waiting;
	atomic_bool threaded, stop;
	_Atomic int cpu;
	pthread_t thread;
	const char *name;
	char *name_copy;
	struct smmuv3_model *reg_next;
};

/*
 * One step, with the lock held. @p full: check all registers, not only those that start an
 * operation.
 */
unsigned int smmuv3_step(struct smmuv3_model *m, unsigned int budget, bool full);
/* A control call excludes stepping. Any thread. */
void smmuv3_ctl_enter(struct smmuv3_model *m);
void smmuv3_ctl_leave(struct smmuv3_model *m);
/* Is the caller inside a step of this model? Any thread. */
bool smmuv3_inside_step(const struct smmuv3_model *m);

static inline uint32_t
smmuv3_rand(struct smmuv3_model *m)
{
	return smmuv3_xorshift(&m->rand);
}

/* Does the behaviour of this HARSH bit occur now? With RANDOM by chance. */
static inline bool
smmuv3_harsh(struct smmuv3_model *m, uint32_t bit)
{
	if (__builtin_expect(!(m->harsh & bit), 1))
		return false;
	return !(m->harsh & SMMUV3_MODEL_HARSH_RANDOM) || smmuv3_rand(m) % 2 == 0;
}

#endif /* SMMUV3_MODEL_MODEL_H */
