/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_INTERNAL_H
#define SMMUV3_MODEL_INTERNAL_H

/*
 * The translation back end and the software devices.
 *
 *	cfg.c		configuration cache: words of L1STDs, STEs, L1CDs, CDs
 *	ctx.c		StreamID and SubstreamID to a translation context: legality
 *	walk.c		stage-1 walks, and the cache of table pointers
 *	tlb.c		leaves, tagged with ASID
 *	translate.c	one address through all of them; permissions
 *	oracle.c	what completed SYNCs promised
 *	silent.c	reports of what is no mistake by itself
 *	frames.c	page frames: given to an owner, or freed
 *	command.c	what commands mean here
 *	late.c		invalidations that wait for their SYNC
 *	flight.c	transactions between translation and memory
 *	stall.c		STAGs, held records, RESUME, STALL_TERM
 *	ats.c		Translation Requests and Translated transactions
 *	pri.c		page requests: to the PRIQ or answered here; PRI_RESP
 *	atc.c		a function's cache of translations
 *	endpoint.c	functions: groups, credits, what their driver switches
 *	transact.c	one DMA's transactions: data, events, ends
 *	dma.c		engines: submission and completion rings
 *	power.c		the register pages: there or not
 *	model.c		creation, control calls, a step
 *	thread.c	the thread, and waiting for it
 *	info.c		counters, logs, names
 *
 * Everything here runs on the stepping thread unless it says otherwise.
 */

#include <pthread.h>

#include "front.h"

#define SMMUV3_PAGE_SHIFT	12	/* transactions do not cross this */
#define SMMUV3_BATCH		32	/* transactions until records are published */

/*
 * Faults and events
 */
struct smmuv3_fault {
	uint8_t id;		/* enum smmuv3_evt_id, 0 for an abort without event */
	bool no_ssid;		/* F_STREAM_DISABLED: SID only */
	bool ssid_no_ssv;	/* C_BAD_SUBSTREAMID */
	uint64_t fetch;		/* FetchAddr */
	const void *desc;	/* the descriptor that faulted, for prefetches only */
};

/* One access of a client. */
struct smmuv3_access {
	uint64_t va;
	bool write;
	bool priv;		/* after STE overrides, as is instr */
	bool instr;
};

/*
 * Oracle: invalidations executed are numbered from 1; a completed SYNC covers
 * all up to `completed`.
 */
#define SMMUV3_PROMISES 1024

/* The first four are of the TLB. */
enum smmuv3_inv_kind {
	SMMUV3_INV_TLB_ALL,
	SMMUV3_INV_TLB_ASID,
	SMMUV3_INV_TLB_VA,
	SMMUV3_INV_TLB_VAA,
	SMMUV3_INV_CFG_ALL,
	SMMUV3_INV_CFG_SIDS,	/* STEs from sid to sid_last and all below them */
	SMMUV3_INV_CFG_CDS,	/* all CDs of sid */
	SMMUV3_INV_CFG_CD,
	SMMUV3_INV_ATC,		/* sid; ssv, global, ssid; va to last */
	SMMUV3_INV_VOID,	/* an ATC invalidation whose SYNC failed */
};

struct smmuv3_inv {
	uint64_t seq;
	enum smmuv3_inv_kind kind;
	bool leaf;
	bool ssv, global;	/* ATC only */
	uint8_t tg;		/* granule shift, 0 for any */
	uint8_t ttl;		/* 0 for any */
	uint16_t asid;
	uint32_t sid, sid_last, ssid;
	uint64_t va, last;	/* inclusive; 56 bits but for the ATC */
};

struct smmuv3_oracle {
	struct smmuv3_inv inv[SMMUV3_PROMISES];
	uint64_t seq;		/* of the newest invalidation */
	uint64_t tlb_seq;	/* of the newest of the TLB */
	uint64_t completed;	/* of the newest that a SYNC covers */
	struct smmuv3_log log;
};

/*
 * Configuration cache
 */
enum smmuv3_cfg_kind {
	SMMUV3_CFG_L1STD,
	SMMUV3_CFG_STE,
	SMMUV3_CFG_L1CD,
	SMMUV3_CFG_CD,
};

struct smmuv3_cfg_entry {
	uint32_t next;		/* in its bucket, + 1; 0 ends */
	uint8_t kind;
	bool used;
	uint8_t have;		/* words fetched, one bit each; whole when == want */
	uint8_t want;
	uint32_t sid;		/* of an L1STD: the first SID it serves */
	uint32_t idx;		/* SSID, or the first SSID an L1CD serves */
	uint64_t born;		/* oracle sequence of the first word fetched */
	uint64_t addr;
	bool reported;		/* as differing from memory */
	uint64_t dw[8];
};

#define SMMUV3_CFG_BUCKETS 4096

struct smmuv3_cfg {
	uint32_t bucket[SMMUV3_CFG_BUCKETS];
	struct smmuv3_cfg_entry *entry;
	uint32_t nb, cap, free;		/* free: index + 1 */
};

/* One half of a context's address range. */
struct smmuv3_half {
	bool epd, tbi, had;
	uint8_t tsz, gran, start;	/* gran: log2 of the granule */
	uint64_t ttb;
};

enum smmuv3_ctx_kind {
	SMMUV3_CTX_NONE,
	SMMUV3_CTX_BYPASS,
	SMMUV3_CTX_S1,
};

/* What matters of the STE alone. */
enum smmuv3_ste_says {
	SMMUV3_STE_SAYS_NOTHING,	/* none, or not a legal one */
	SMMUV3_STE_SAYS_ABORT,
	SMMUV3_STE_SAYS_GO,
};

struct smmuv3_ctx {
	uint32_t gen;		/* of the configuration this was made from */
	uint8_t kind;
	uint8_t ste;		/* enum smmuv3_ste_says, also if there is no context */
	bool ats;		/* effective EATS is 1 */
	uint8_t privcfg, instcfg;
	bool stall, record, abort;
	bool affd, wxn, pan;
	uint8_t out_bits;	/* of an output address */
	uint16_t asid;
	uint32_t sid;
	uint64_t checked;	/* oracle: promises up to here were looked at */
	uint64_t ste_born, cd_born;
	struct smmuv3_half half[2];
};

/*
 * TLB
 */
#define SMMUV3_TLB_WAYS 4

struct smmuv3_tlb_entry {
	uint64_t vpn;		/* address bits 55..shift */
	uint64_t pa;
	uint8_t *host;		/* NULL if not inside one window */
	uint64_t root;		/* the table that it was walked from */
	uint64_t checked;	/* oracle */
	uint32_t asid_gen;
	uint32_t win_gen;
	uint16_t asid;
	uint8_t shift, level, gran;
	uint8_t valid : 1;
	uint8_t global : 1;
	uint8_t unpriv : 1;	/* AP[1] */
	uint8_t ro : 1;		/* AP[2] */
	uint8_t uxn : 1;
	uint8_t pxn : 1;
};

struct smmuv3_tlb_kind {
	uint8_t shift;
	bool global;
	uint32_t nb;		/* entries of this kind, some perhaps dead */
};
#define SMMUV3_TLB_KINDS 16

struct smmuv3_tlb {
	struct smmuv3_tlb_entry *entry;
	uint32_t sets_log2;
	uint32_t *asid_gen;	/* [65536] */
	struct smmuv3_tlb_kind kind[SMMUV3_TLB_KINDS];
	unsigned int nb_kinds;
};

/* Pointers to last-level tables. */
#define SMMUV3_WC_LOG2 10

struct smmuv3_wc_entry {
	uint64_t tag;		/* address bits 55.. above the table's reach */
	uint64_t table;
	uint64_t checked;
	uint32_t gen;		/* 0: not valid */
	uint16_t asid;
	uint8_t gran;
	uint8_t apt;		/* APTable */
	bool uxnt, pxnt;
};

struct smmuv3_wc {
	uint32_t gen;
	struct smmuv3_wc_entry entry[1 << SMMUV3_WC_LOG2];
};

/*
 * DMA
 */
enum smmuv3_slot_state {
	SMMUV3_SLOT_FREE,
	SMMUV3_SLOT_READY,	/* running, or in the list of those to run */
	SMMUV3_SLOT_STALLED,	/* recorded, waits for a RESUME */
	SMMUV3_SLOT_HELD,	/* stalled, its record waits for a writable queue */
	SMMUV3_SLOT_DUP,	/* stalled, its record suppressed */
	SMMUV3_SLOT_ASKING,	/* in a page request group, or waits for one */
	SMMUV3_SLOT_FLYING,	/* translated, not yet at memory */
};

/* Where a transaction goes. */
struct smmuv3_target {
	uint8_t *host;		/* NULL: see pa */
	uint64_t pa;
	bool bypass;		/* SMMUEN is 0 */
};

/* One DMA under way; it has one transaction at a time. */
struct smmuv3_slot {
	struct smmuv3_slot *next;
	struct smmuv3_model_dma *dma;
	uint64_t off;			/* bytes done */
	uint16_t stag;
	uint8_t state;
	bool open;			/* its transaction was started and not answered */
	bool dst_phase;			/* COPY: the bytes read are in the bounce buffer */
	bool has_stag;
	uint8_t fault_id;		/* of the stall */
	bool fault_priv, fault_instr;
	bool reset;			/* abort when next run */
	bool woken;			/* there is an index or a credit for it */
	uint64_t held_seq;		/* oracle.seq when it was held */
	const void *desc;		/* what it faulted on, as long as desc_gen is wins.gen */
	uint32_t desc_gen;
	struct smmuv3_model_done done;	/* filled on the way */
	struct smmuv3_model_op op;
	struct smmuv3_group *group;	/* being sent, or waited for */
	uint64_t land_at;		/* flight.steps at which it reaches memory */
	struct smmuv3_target target;	/* in flight only */
};

struct smmuv3_list {
	struct smmuv3_slot *first, **last;
};

struct smmuv3_ring {
	struct smmuv3_model_op *op;
	uint32_t mask;
	_Alignas(64) _Atomic uint32_t tail;	/* the submitter's */
	_Alignas(64) uint32_t head;		/* the stepping thread's */
};

/*
 * PCIe functions
 */
#define SMMUV3_PRG_MAX		512
#define SMMUV3_EP_BUCKETS	256

/* A page request group, one for each PRG index. */
struct smmuv3_group {
	struct smmuv3_slot *slot;	/* NULL for a stop message without PASID */
	uint64_t va;			/* of the first page */
	uint16_t idx;
	uint16_t nb, sent;		/* pages */
	bool open;			/* started and not answered */
	bool responded;			/* by a PRI_RESP, last time */
	bool ssv, priv, instr, read, write;
	uint32_t ssid;
	uint32_t owed;			/* records with Last that software has not answered */
	uint64_t first_nb, last_nb;	/* number of the oldest (0: not known) and newest of them */
};

/* PRG indices: of a function, or of one of its PASIDs. */
struct smmuv3_prgs {
	struct smmuv3_prgs *next;
	bool ssv;
	uint32_t ssid;
	unsigned int head, nb_free;
	uint16_t fifo[SMMUV3_PRG_MAX];	/* free ones, longest free first */
	struct smmuv3_list waiting;	/* slots that need one */
	struct smmuv3_group group[SMMUV3_PRG_MAX];
};

#define SMMUV3_ATC_LOG2 12

struct smmuv3_atc_entry {
	uint64_t vpn;
	uint64_t pa;
	uint64_t checked;	/* oracle */
	uint32_t gen;		/* 0: not valid */
	uint32_t ssid;
	int32_t asid;		/* of the TLB entry it came from; < 0: none */
	bool ssv, priv;
	bool read, write, exec;
	bool stale;		/* used after the TLBI and SYNC of its page */
	uint64_t born;		/* oracle sequence when it came */
};

struct smmuv3_ep {
	struct smmuv3_ep *next;		/* in its bucket */
	struct smmuv3_model *m;
	uint32_t sid;
	unsigned int refs;		/* engines */
	unsigned int nb_prgs;
	bool prg_pasid;
	bool ats, pri, failed;
	uint8_t stu;
	uint32_t quirks, one_in;
	uint32_t atc_delay;		/* ms until it answers an invalidation */
	uint32_t allowed, used;		/* page requests */
	uint32_t nb_open;		/* groups */
	uint64_t started, ended;	/* groups */
	struct smmuv3_prgs *prgs;
	struct smmuv3_list waiting;	/* slots that need a credit */
	uint64_t early_seq;		/* a TLBI whose SYNC was not waited for; 0: none */
	struct smmuv3_atc_entry early;	/* what was invalidated before it */
	uint32_t atc_gen;
	struct smmuv3_atc_entry atc[1 << SMMUV3_ATC_LOG2];
};

struct smmuv3_model_dma {
	struct smmuv3_model *m;
	struct smmuv3_model_dma_conf conf;
	struct smmuv3_model_dma *all_next;
	struct smmuv3_ep *ep;		/* the function it belongs to, or NULL */
	struct smmuv3_prgs *prgs;	/* its PRG indices */
	_Atomic uint32_t owner;		/* of the address space it works for, 0: not known */

	/* stepping thread */
	struct smmuv3_ctx ctx;
	struct smmuv3_model_dma *run_next;
	bool listed;			/* in the run list */
	bool starved;			/* operations wait for a slot */
	struct smmuv3_slot *slot, *free_slot;
	uint8_t *bounce;		/* one page a slot, touched by COPY only */
	uint64_t started, answered;	/* transactions */
	struct smmuv3_ring own;		/* submissions by on_done */
	struct smmuv3_model_done *done;	/* completion ring */
	uint32_t done_mask;
	_Alignas(64) _Atomic uint32_t done_tail;	/* = DMAs completed */

	/* completing thread */
	_Alignas(64) _Atomic uint32_t done_head;

	/* submitting thread */
	struct smmuv3_ring ring;
	_Alignas(64) atomic_bool queued;	/* in the list of engines with new work */
	_Atomic(struct smmuv3_model_dma *) work_next;
};

/*
 * Stalls: one for each STAG.
 */
struct smmuv3_stall {
	struct smmuv3_slot *slot;	/* NULL when free, or gone by an early retry */
	struct smmuv3_slot *dups;
	uint32_t sid;
	bool used;			/* the STAG is taken */
	bool shown;			/* its record was published */
	bool resumed;			/* last freed by a RESUME */
	bool terminated;		/* last freed by STALL_TERM or SMMUEN */
};

/*
 * Invalidations whose SYNC has not completed and that have no effect yet: late.c.
 */
struct smmuv3_pending {
	struct smmuv3_inv inv;
	bool slow, fails;	/* an ATC that answers at `due`, or does not */
	uint64_t due;		/* ms */
};

struct smmuv3_late {
	struct smmuv3_pending *pending;
	unsigned int nb, cap;
};

/* Transactions in flight: flight.c. */
struct smmuv3_flight {
	struct smmuv3_list list;
	uint64_t steps;
};

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
	struct smmuv3_slot *asked[2 * SMMUV3_BATCH];	/* Last put, PROD not yet stored */
	unsigned int nb_asked;
	struct smmuv3_late late;
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

/* model.c */
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

/* power.c */
uint8_t *smmuv3_regs_alloc(void);
void smmuv3_regs_free(uint8_t *regs);

/* late.c */
void smmuv3_late_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_late_answer(struct smmuv3_model *m, const struct smmuv3_inv *inv, uint32_t ms,
		bool fails);
enum smmuv3_fe_sync smmuv3_late_sync(struct smmuv3_model *m);

/* flight.c */
bool smmuv3_flight_begin(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_target *to);
unsigned int smmuv3_flight_step(struct smmuv3_model *m);
void smmuv3_flight_land_all(struct smmuv3_model *m);

/* oracle.c */
void smmuv3_oracle_invalidated(struct smmuv3_oracle *o, const struct smmuv3_inv *inv);
void smmuv3_oracle_synced(struct smmuv3_oracle *o);
/* Is this invalidation one of a leaf's addresses, as far as the ASID says? */
bool smmuv3_inv_reaches(const struct smmuv3_inv *p, uint16_t asid, bool global, uint64_t first,
		uint64_t last);
void smmuv3_oracle_leaf(struct smmuv3_oracle *o, uint64_t *checked, uint16_t asid, bool global,
		unsigned int gran, unsigned int level, unsigned int shift, uint64_t va);
void smmuv3_oracle_table(struct smmuv3_oracle *o, uint64_t *checked, uint16_t asid,
		unsigned int gran, unsigned int shift, uint64_t va);
void smmuv3_oracle_cfg(struct smmuv3_oracle *o, struct smmuv3_ctx *ctx, uint32_t sid,
		uint32_t ssid);

void smmuv3_oracle_atc_failed(struct smmuv3_oracle *o);
void smmuv3_oracle_atc(struct smmuv3_oracle *o, struct smmuv3_atc_entry *e, uint32_t sid,
		uint64_t va);

/* Was the leaf walked from the table that the context has? */
void smmuv3_oracle_root(struct smmuv3_oracle *o, const struct smmuv3_ctx *ctx,
		const struct smmuv3_tlb_entry *e, uint64_t va) __attribute__((cold));

/* silent.c */
void smmuv3_silent_tlbi(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_silent_cfg(struct smmuv3_model *m);
void smmuv3_silent_atc(struct smmuv3_model *m, struct smmuv3_atc_entry *e);
void smmuv3_silent_atc_end(struct smmuv3_ep *ep);

/* cfg.c */
enum smmuv3_fetch {
	SMMUV3_FETCH_OK,
	SMMUV3_FETCH_BUSY,	/* some words are still to come: ask again in the next step */
	SMMUV3_FETCH_ABORT,
};
enum smmuv3_fetch smmuv3_cfg_get(struct smmuv3_model *m, enum smmuv3_cfg_kind kind, uint32_t sid,
		uint32_t idx, uint64_t addr, const struct smmuv3_cfg_entry **entry);
const struct smmuv3_cfg_entry *smmuv3_cfg_peek(struct smmuv3_model *m, enum smmuv3_cfg_kind kind,
		uint32_t sid, uint32_t idx);
void smmuv3_cfg_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_cfg_clear(struct smmuv3_model *m);

/* ctx.c */
enum smmuv3_result {
	SMMUV3_OK,
	SMMUV3_FAULT,		/* see struct smmuv3_fault */
	SMMUV3_BUSY,
	SMMUV3_WAIT,		/* the slot is in a list, or waits for an answer */
};
enum smmuv3_result smmuv3_ctx_make(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_fault *fault);
/* STE.PPAR of a legal STE; false with a fault if there is none. */
bool smmuv3_ste_ppar(struct smmuv3_model *m, uint32_t sid, bool *ppar, struct smmuv3_fault *fault);
bool smmuv3_ste_aborts(struct smmuv3_model *m, uint32_t sid);

/* tlb.c */
int smmuv3_tlb_init(struct smmuv3_tlb *tlb, unsigned int log2);
void smmuv3_tlb_fini(struct smmuv3_tlb *tlb);
struct smmuv3_tlb_entry *smmuv3_tlb_find(struct smmuv3_tlb *tlb, uint16_t asid, uint64_t va);
/* Put it in; the copy in the TLB, or @p e itself if there is no room. */
struct smmuv3_tlb_entry *smmuv3_tlb_insert(struct smmuv3_model *m, struct smmuv3_tlb_entry *e,
		uint64_t va);
void smmuv3_tlb_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_tlb_clear(struct smmuv3_model *m);
size_t smmuv3_tlb_size(const struct smmuv3_tlb *tlb);
/* Entry @p i, or NULL if it is not alive. */
const struct smmuv3_tlb_entry *smmuv3_tlb_at(const struct smmuv3_tlb *tlb, size_t i);

/* walk.c */
enum smmuv3_result smmuv3_walk(struct smmuv3_model *m, const struct smmuv3_ctx *ctx, uint64_t va,
		struct smmuv3_tlb_entry *leaf, struct smmuv3_fault *fault);
void smmuv3_wc_invalidate(struct smmuv3_model *m, const struct smmuv3_inv *inv);
void smmuv3_wc_clear(struct smmuv3_model *m);

/* translate.c */
enum smmuv3_result smmuv3_translate(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		struct smmuv3_access *acc, struct smmuv3_target *to, struct smmuv3_fault *fault);

/* The page of an address, for an ATC. */
struct smmuv3_page {
	uint64_t pa;
	int32_t asid;		/* < 0: stage 1 was bypassed */
	bool read, write, exec;
};
enum smmuv3_result smmuv3_translate_page(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault);

/* ats.c */
/* OK with the page (perhaps without permissions); FAULT for UR and CA; BUSY. */
enum smmuv3_result smmuv3_ats_request(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		const struct smmuv3_access *acc, struct smmuv3_page *page,
		struct smmuv3_fault *fault);
enum smmuv3_result smmuv3_ats_translated(struct smmuv3_model *m, struct smmuv3_model_dma *dma,
		uint64_t pa, bool write);

/* atc.c */
struct smmuv3_atc_entry *smmuv3_atc_find(struct smmuv3_ep *ep, bool ssv, uint32_t ssid,
		const struct smmuv3_access *acc);
void smmuv3_atc_insert(struct smmuv3_ep *ep, bool ssv, uint32_t ssid,
		const struct smmuv3_access *acc, const struct smmuv3_page *page);
void smmuv3_atc_clear(struct smmuv3_ep *ep);
void smmuv3_atc_forget(struct smmuv3_ep *ep, const struct smmuv3_inv *inv);
void smmuv3_atc_command(struct smmuv3_model *m, const struct smmuv3_cmd *cmd);
void smmuv3_atc_end(struct smmuv3_ep *ep);

/* pri.c */
void smmuv3_pri_send(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		const struct smmuv3_ppr *ppr);
void smmuv3_pri_command(struct smmuv3_model *m, const struct smmuv3_cmd *cmd);
void smmuv3_pri_publish(struct smmuv3_model *m);

/* endpoint.c */
int smmuv3_ep_join(struct smmuv3_model_dma *dma);
void smmuv3_ep_leave(struct smmuv3_model_dma *dma);
void smmuv3_ep_free_all(struct smmuv3_model *m);
struct smmuv3_ep *smmuv3_ep_find(struct smmuv3_model *m, uint32_t sid);
/* One access of a slot whose engine is a function's. */
enum smmuv3_result smmuv3_ep_access(struct smmuv3_model *m, struct smmuv3_slot *s,
		struct smmuv3_access *acc, struct smmuv3_target *to, struct smmuv3_fault *fault);
/* The answer to an open group; @p code as in PRI_RESP. */
void smmuv3_ep_answer(struct smmuv3_model *m, struct smmuv3_ep *ep, struct smmuv3_group *g,
		unsigned int code);

/* stall.c */
int smmuv3_stall_init(struct smmuv3_model *m);
void smmuv3_stall_begin(struct smmuv3_model *m, struct smmuv3_slot *s,
		const struct smmuv3_access *acc, const struct smmuv3_fault *fault);
unsigned int smmuv3_stall_held(struct smmuv3_model *m, unsigned int max);
void smmuv3_stall_resume(struct smmuv3_model *m, uint32_t sid, uint16_t stag, bool retry,
		bool abort);
void smmuv3_stall_term(struct smmuv3_model *m, uint32_t sid);
void smmuv3_stall_all_end(struct smmuv3_model *m);
void smmuv3_stall_publish(struct smmuv3_model *m);
unsigned int smmuv3_stall_early(struct smmuv3_model *m);

/* command.c */
void smmuv3_be_command(void *be, const struct smmuv3_cmd *cmd);
enum smmuv3_fe_sync smmuv3_be_sync(void *be);

/* transact.c */
void smmuv3_evt_make(const struct smmuv3_model_dma_conf *who, const struct smmuv3_access *acc,
		const struct smmuv3_fault *fault, struct smmuv3_evt *evt);
/* The address a DMA is at, and how many bytes from there its transaction has. */
uint64_t smmuv3_slot_addr(const struct smmuv3_slot *s);
/* Run a READY slot: up to @p max transactions. Returns how many it used. */
unsigned int smmuv3_slot_run(struct smmuv3_model *m, struct smmuv3_slot *s, unsigned int max);
/* One try without consequences if it faults. True: the DMA went on. */
bool smmuv3_slot_try(struct smmuv3_model *m, struct smmuv3_slot *s);
/* One that was in flight reaches memory. */
void smmuv3_slot_land(struct smmuv3_model *m, struct smmuv3_slot *s);
/* End a stalled transaction without a retry. */
void smmuv3_slot_end(struct smmuv3_model *m, struct smmuv3_slot *s,
		enum smmuv3_model_status status);
void smmuv3_ready_add(struct smmuv3_model *m, struct smmuv3_slot *s);

/* dma.c */
unsigned int smmuv3_dma_run(struct smmuv3_model *m, unsigned int max);
void smmuv3_dma_finish(struct smmuv3_model *m, struct smmuv3_slot *s);
void smmuv3_dma_free(struct smmuv3_model_dma *dma);

static inline enum smmuv3_result
smmuv3_ctx_get(struct smmuv3_model *m, struct smmuv3_model_dma *dma, struct smmuv3_fault *fault)
{
	struct smmuv3_ctx *ctx = &dma->ctx;
	enum smmuv3_result r;

	if (ctx->gen == m->cfg_gen && ctx->kind != SMMUV3_CTX_NONE)
		return SMMUV3_OK;
	r = smmuv3_ctx_make(m, dma, fault);
	if (r != SMMUV3_OK)
		ctx->kind = SMMUV3_CTX_NONE;
	return r;
}

static inline void
smmuv3_list_add(struct smmuv3_list *list, struct smmuv3_slot *s)
{
	s->next = NULL;
	*list->last = s;
	list->last = &s->next;
}

static inline struct smmuv3_slot *
smmuv3_list_take(struct smmuv3_list *list)
{
	struct smmuv3_slot *s = list->first;

	if (s != NULL) {
		list->first = s->next;
		if (s->next == NULL)
			list->last = &list->first;
	}
	return s;
}

#endif /* SMMUV3_MODEL_INTERNAL_H */
