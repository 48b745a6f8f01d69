/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_MODEL_H
#define SMMUV3_MODEL_MODEL_H

/*
 * The translation back end and the software devices.
 *
 *	cfg_cache.c	configuration cache: words of L1STDs, STEs, L1CDs, CDs
 *	ste.c cd.c	STEs and CDs: where they are, what makes them illegal
 *	ctx.c		StreamID and SubstreamID to a translation context
 *	walk.c		stage-1 walks, and the cache of table pointers
 *	tlb.c		leaves, tagged with ASID
 *	translate.c	one address through all of them; permissions
 *	oracle.c	what completed SYNCs promised
 *	silent.c	reports of what is no mistake by itself
 *	frames.c	page frames: given to an owner, or freed
 *	command.c	what commands mean here
 *	inval.c		invalidations that wait for their SYNC
 *	flight.c	transactions between translation and memory
 *	stall.c		stalls: STAGs, records, held records
 *	resume.c	RESUME, STALL_TERM
 *	ats.c		Translation Requests and Translated transactions
 *	pri.c		page requests: to the PRIQ or answered here; PRI_RESP
 *	atc.c		a function's cache of translations
 *	endpoint.c	functions: ATS, what their driver switches
 *	prg.c		functions: page request groups, indices, credits
 *	transact.c	one DMA's transactions: data, events, ends
 *	dma.c		engines: submission and completion rings
 *	power.c		the register pages: there or not
 *	model.c		creation, control calls
 *	idr.c		IDR0 to IDR5 of a configuration
 *	step.c		a step
 *	thread.c	the thread, and waiting for it
 *	info.c		counters, logs, names
 *
 * Everything here runs on the stepping thread unless it says otherwise.
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
	struct smmuv3_log silent;	/* reports that are no errors */
	struct smmuv3_frames frames;
	struct smmuv3_stats stats;
	uint32_t choices, no_features, features, harsh;
	unsigned int sid_bits, ssid_bits, oas_bits, stall_max;
	unsigned int table_win, cfg_win, data_win;	/* hints */
	uint64_t rand;

	struct smmuv3_cfg cfg;
	uint32_t cfg_gen;
	struct smmuv3_tlb tlb;
	struct smmuv3_wc wc;
	struct smmuv3_oracle oracle;

	struct smmuv3_stall *stall;
	uint16_t *stag_fifo;		/* free STAGs, longest free first */
	uint32_t stag_head, stag_nb;
	_Atomic uint32_t stalls_out;
	struct smmuv3_list held;
	bool held_first;		/* one of them is being retried: its record goes first */
	struct smmuv3_list ready;
	struct smmuv3_list later;	/* ready in the next step */
	struct smmuv3_slot *unshown[2 * SMMUV3_BATCH];	/* put, PROD not yet stored */
	unsigned int nb_unshown;
	struct smmuv3_ep *ep[SMMUV3_EP_BUCKETS];	/* by StreamID */
	struct smmuv3_slot *pri_unshown[2 * SMMUV3_BATCH];	/* Last put, PROD not yet stored */
	unsigned int nb_pri_unshown;
	struct smmuv3_inval_list inval;
	struct smmuv3_flight flight;
	uint32_t atc_timeout_ms;
	uint64_t now;			/* time of this batch of commands, 0: not taken yet */
	uint64_t run_now;		/* time at which this batch of operations was begun */

	struct smmuv3_model_dma *all;
	struct smmuv3_model_dma *run, **run_last;
	_Atomic(struct smmuv3_model_dma *) work;	/* engines with new work */

	bool off;			/* no power */

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

/* With the lock held. @p full: look at every register, not only at those that start something. */
unsigned int smmuv3_step(struct smmuv3_model *m, unsigned int budget, bool full);
void smmuv3_ctl_enter(struct smmuv3_model *m);
void smmuv3_ctl_leave(struct smmuv3_model *m);
bool smmuv3_inside_step(const struct smmuv3_model *m);

static inline uint32_t
smmuv3_rand(struct smmuv3_model *m)
{
	return smmuv3_xorshift(&m->rand);
}

/* A harsh behaviour is chosen now: always, or by chance. */
static inline bool
smmuv3_harsh(struct smmuv3_model *m, uint32_t bit)
{
	if (__builtin_expect(!(m->harsh & bit), 1))
		return false;
	return !(m->harsh & SMMUV3_MODEL_HARSH_RANDOM) || smmuv3_rand(m) % 2 == 0;
}

#endif /* SMMUV3_MODEL_MODEL_H */
