/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_PMD_H
#define SMMUV3_PMD_H

/**
 * @file
 * Inside the driver: one struct smmuv3 for each open SMMU.
 *
 * Who writes what
 *	cmdq, gerrorn	whoever holds cmdq.owner (smmuv3_cmdq_own())
 *	evtq, priq	the thread that polls it; start and configure while nobody does
 *	cr0, check	whoever holds ctl: check() tries, start and stop wait for it
 *	state		see state.h
 *	tables		see tables.h and attach.h
 */

#include <pthread.h>

#include <iopf_driver.h>

#include "attach.h"
#include "backend.h"
#include "base.h"
#include "cmdq.h"
#include "smmuv3_cmd.h"
#include "smmuv3_order.h"
#include "smmuv3_queue.h"
#include "smmuv3_spec.h"
#include "tables.h"

/* For tests, which call its operations themselves. */
extern struct iopf_driver smmuv3_pmd;

/*
 * Page requests that the queue for them holds at most: answers to all, and to as many again
 * that the library has, must find room in the backlog.
 */
#define SMMUV3_PRIQ_LOG2_CAP	12

/*
 * Words that the SMMU writes and software polls (MSIs), each in lines of its own.
 */
struct smmuv3_word {
	smmuv3_reg32_t v;
	uint8_t pad[SMMUV3_ALIGN - sizeof(uint32_t)];
};

struct smmuv3_words {
	struct smmuv3_word evtq;
	struct smmuv3_word priq;
	struct smmuv3_word gerror;
	struct smmuv3_word sync;	/* number of the last CMD_SYNC completed */
};

/* A queue that the SMMU writes. See inq.h. */
struct smmuv3_inq {
	_Atomic bool on;
	bool msi;		/* its word is written on empty to non-empty */
	bool trust;		/* ... and 0 in it means that the queue is empty */
	bool unsaid;		/* entries came and the word did not say so, yet */
	uint8_t odd;		/* SMMUV3_INQ_*: what PROD said beside a number of entries */
	unsigned int log2;
	void *ring;
	smmuv3_reg32_t *word;
	void *regs;
	uint32_t prod_reg, cons_reg;
	uint64_t prod;		/* PROD as last read, 64-bit position */
	uint32_t ovackflg;	/* OVACKFLG as last written */
	uint32_t idle;
	_Atomic uint64_t cons;		/* read up to here */
	_Atomic uint64_t returned;	/* ... by calls that have returned */
	/* counters, written by the thread that polls */
	_Atomic uint64_t entries;
	_Atomic uint64_t bursts;
	_Atomic uint64_t overflows;
	_Atomic uint64_t bad;
	_Atomic uint64_t bad_prod;
	_Atomic uint64_t missed_msis;

	struct smmuv3_mem mem;
};

struct smmuv3_evtq {
	struct smmuv3_inq q;
	_Atomic uint64_t stale;		/* stalls before this position have ended already */
	/* counters, written by the thread that polls */
	_Atomic uint64_t stalls;
	_Atomic uint64_t stale_stalls;
	_Atomic uint64_t unwritten;
} __rte_aligned(SMMUV3_ALIGN);

struct smmuv3_priq {
	struct smmuv3_inq q;
	bool overflow;			/* seen, to be acknowledged behind q.prod */
	_Atomic bool pause;		/* recovery: poll takes nothing. Written by check() */
	/* Requests were lost otherwise, the last time before this position: see priq.c. */
	_Atomic uint64_t lost_pos;
	_Atomic uint32_t lost;		/* so many times */
	_Atomic uint32_t told;		/* ... which poll has said */
	/* counters, written by the thread that polls */
	_Atomic uint64_t markers;
	_Atomic uint64_t losses;
	_Atomic uint64_t aborts;	/* written by check() */
} __rte_aligned(SMMUV3_ALIGN);

/* Recovery from lost stall records, step by step in check(), while the state is RUNNING. */
enum smmuv3_reset {
	SMMUV3_RESET_NONE,
	SMMUV3_RESET_DRAINING,	/* PRI_RESPs sent before are being consumed */
	SMMUV3_RESET_STOPPING,	/* SMMUEN cleared, not acknowledged */
	SMMUV3_RESET_SYNCING,	/* ... and records of stalls that this ended become visible */
	SMMUV3_RESET_STOPPED,	/* all stalls have ended, the library has been told */
	SMMUV3_RESET_STARTING,	/* SMMUEN set, not acknowledged */
	SMMUV3_RESET_SENDING,	/* ... and what was held back is sent */
	SMMUV3_RESET_GIVEN_UP,	/* the state is FAILED, SMMUEN cleared, the library told */
};

struct smmuv3 {
	struct smmuv3_cmdq cmdq;
	struct smmuv3_evtq evtq;
	struct smmuv3_priq priq;

	/* Read only after open. */
	void *regs __rte_aligned(SMMUV3_ALIGN);
	const struct smmuv3_backend *backend;
	void *backend_ctx;
	struct smmuv3_words *words;
	uint64_t timeout;		/* TSC cycles */
	char name[64];
	uint32_t idr0, idr1, idr3, idr5;
	unsigned int sid_bits, ssid_bits, oas_bits, stall_model;
	uint32_t max_stalls, granules;
	unsigned int cmdq_log2_max, evtq_log2_max, priq_log2_max;
	bool ats, pri;
	uint32_t errata;		/* SMMUV3_ERRATUM_* */

	/* Read everywhere, written seldom: beside what is only read. */
	smmuv3_state_word_t state;

	/* Stall records or answers may be lost. */
	_Atomic bool reset_wanted __rte_aligned(SMMUV3_ALIGN);
	_Atomic bool asleep;		/* no thread polls: see irq.c */
	_Atomic int wake_fd;		/* a copy of the sleeper's eventfd, or -1; of the driver */
	_Atomic uint32_t ctl;		/* holder: see above */
	uint32_t cr0;			/* as last written */
	uint32_t gerrorn;		/* as last written */
	uint32_t found_gbpa;		/* at open; all ones when it is not to be restored */
	bool restore;			/* at close */
	bool gbpa_warned;
	enum smmuv3_reset reset;
	uint64_t reset_start;		/* SMMUEN changed, TSC */
	uint64_t reset_pos;
	uint32_t checks;
	bool priq_abort_said;
	_Atomic uint64_t resets;
	_Atomic uint64_t evtq_aborts;
	_Atomic uint64_t msi_aborts;
	_Atomic uint64_t atc_cuts;
	_Atomic bool atc_apart;		/* a CMD_SYNC for each ATC */
	struct smmuv3_atc *atcs;	/* SMMUV3_NB_ATCS, with page requests */

	/*
	 * Of pool, strtab.l2, asids, atcs, and the domains' lists and references. Never held
	 * across a wait for the SMMU.
	 */
	pthread_mutex_t tables_lock;
	struct smmuv3_mem_pool pool;
	struct smmuv3_mem words_mem;
	unsigned int cmdq_log2, evtq_log2, priq_log2;	/* as configured */
	struct smmuv3_strtab strtab;
	uint64_t *asids;			/* bit set: in use */
	unsigned int nb_asids, next_asid;
};

/* idr.c */
int smmuv3_idr_read(struct smmuv3 *s);
/* Invalidations of two batches must not follow each other without a CMD_SYNC between. */
#define SMMUV3_ERRATUM_SYNC_BATCHES	(1u << 0)
/* Of an SMMU with this IIDR; *name: of product and errata, when there are any. */
uint32_t smmuv3_errata_of(uint32_t iidr, const char **name);
void smmuv3_idr_info(const struct smmuv3 *s, struct iopf_iommu_info *info);

/*
 * wait.c: bounded waits. smmuv3_wait() gives the SMMU time, looks at GERROR now
 * and then, and returns false once the time is over.
 */
void smmuv3_wait_begin(const struct smmuv3 *s, struct smmuv3_wait *w);
bool smmuv3_wait(struct smmuv3 *s, struct smmuv3_wait *w);
/* Until (register & mask) == want. */
int smmuv3_wait_reg(struct smmuv3 *s, const char *name, uint32_t offset, uint32_t mask,
		uint32_t want);
int smmuv3_ctl_take(struct smmuv3 *s);
bool smmuv3_ctl_try(struct smmuv3 *s);
void smmuv3_ctl_drop(struct smmuv3 *s);

/* main_cmdq.c: the command queue of CMDQ_BASE */
int smmuv3_main_cmdq_open(struct smmuv3 *s);
int smmuv3_main_cmdq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_main_cmdq_close(struct smmuv3 *s);

/* inq.c: what the queues that the SMMU writes have in common */
int smmuv3_inq_alloc(struct smmuv3 *s, struct smmuv3_inq *q, size_t entry, unsigned int log2);
/* Registers of a queue that is off. Returns where it begins. */
uint64_t smmuv3_inq_setup(struct smmuv3 *s, struct smmuv3_inq *q, uint32_t base,
		smmuv3_reg32_t *word);
uint64_t smmuv3_inq_mark(struct smmuv3_inq *q);
bool smmuv3_inq_passed(struct smmuv3_inq *q, uint64_t mark);

/* evtq.c */
int smmuv3_evtq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_evtq_setup(struct smmuv3 *s);
uint16_t smmuv3_evtq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n);

/* priq.c */
int smmuv3_priq_alloc(struct smmuv3 *s, unsigned int log2);
void smmuv3_priq_setup(struct smmuv3 *s);
uint16_t smmuv3_priq_poll(struct smmuv3 *s, struct iopf_event *events, uint16_t n);
/* Requests that are not in the queue were lost. Nothing is written into it now. */
void smmuv3_priq_lost(struct smmuv3 *s);
/* ... and poll has not said so yet. */
bool smmuv3_priq_losing(const struct smmuv3 *s);

/* state.c */
/* Fields of CR0 whose last change is not acknowledged. */
uint32_t smmuv3_cr0_moving(struct smmuv3 *s);
/* Both CR0 and CR0ACK say so. */
bool smmuv3_smmuen_is_off(struct smmuv3 *s);
/*
 * Something may be walked, or used from a cache. Any thread, behind a full barrier. Where the
 * state does not tell it reads CR0ACK, and takes an UNSAFE SMMU that it finds off to OFF.
 */
bool smmuv3_may_translate(struct smmuv3 *s);
/* ... or a queue or a word may be written. For close. */
bool smmuv3_uses_memory(struct smmuv3 *s);

/* gerror.c */
unsigned int smmuv3_check(void *priv);
/* In waits: recover the command queue if it stands still. */
void smmuv3_gerror_look(struct smmuv3 *s, bool force);
/* Acknowledge. Owner of the command queue. */
void smmuv3_gerror_ack(struct smmuv3 *s, uint32_t bits);

/* bringup.c */
/* At open: one that runs is somebody's before us, who has died, and is stopped. */
int smmuv3_take_over(struct smmuv3 *s);
/* At close: what becomes of DMA, as the device string says. */
void smmuv3_hand_back(struct smmuv3 *s);
int smmuv3_start(void *priv);
int smmuv3_stop(void *priv);

/* irq.c */
int smmuv3_irqs_off(struct smmuv3 *s);
int smmuv3_irqs_on(struct smmuv3 *s);
int smmuv3_idle(void *priv, int fd);
/* Something that poll() or check() has to do, and no interrupt tells. Any thread. */
void smmuv3_wake(struct smmuv3 *s);

/* inval.c */
/* Commands for one range into cmds[], at most max; 0 when it takes more. */
unsigned int smmuv3_inv_cmds(const struct smmuv3 *s, const struct smmuv3_domain *domain,
		const struct iopf_inv *inv, struct smmuv3_cmd *cmds, unsigned int max);
int smmuv3_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done);
uint16_t smmuv3_answer(void *priv, const struct iopf_answer *answers, uint16_t n);
uint16_t smmuv3_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n);

#endif /* SMMUV3_PMD_H */
