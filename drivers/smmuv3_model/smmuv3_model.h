/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_H
#define SMMUV3_MODEL_H

/**
 * @file
 * A software SMMUv3, and software devices whose DMA goes through it.
 *
 * @code
 *	       registers (128 KiB), queues, tables: memory shared with a driver
 *	                     |
 *	  smmuv3_model: front end (registers, CMDQ, EVTQ, PRIQ) -- back end (STE, CD, walk, TLB)
 *	                     |
 *	  smmuv3_model_dma: engines, one StreamID and PASID each, that read, write
 *	                    and copy real bytes at virtual addresses; as PCIe
 *	                    functions they have an ATC and ask for pages
 * @endcode
 *
 * The model is a passive register page, a set of memory windows and a step
 * function. A driver writes registers and queue memory as it would a device's;
 * smmuv3_model_step() looks at what changed, does a bounded amount of work and
 * returns. Either somebody calls it (deterministic: nothing happens between two
 * calls), or smmuv3_model_start() gives it a thread. Everything a driver must not
 * do is not tolerated but reported, by name, in the error log; everything that
 * the devices see is checked by an oracle (see smmuv3_model_oracle_errors()).
 *
 * Call order
 *   1. smmuv3_model_create()
 *   2. smmuv3_model_mem_add() for each piece of memory the SMMU may reach
 *      (tables, queues, MSI words, data). An access elsewhere is an external
 *      abort: nothing is ever dereferenced outside a window.
 *   3. a driver brings the SMMU up through smmuv3_model_regs()
 *   4. smmuv3_model_dma_create() and its submissions
 *   5. smmuv3_model_dma_destroy(), smmuv3_model_destroy()
 *
 * Threads. One thread at a time steps. All other functions may be called from
 * any thread at any time, except that an engine has one submitting and one
 * completing thread (which may be the same), and destroy excludes all others.
 * An engine's on_done callback runs on the stepping thread and may submit to
 * its own engine; it must not call anything else of the model.
 *
 * NULL where a model or an engine is expected is -EINVAL, or NULL, 0 and nothing done where
 * there is no error code.
 *
 * Example: one write through a stepped model.
 * @code
 *	struct smmuv3_model *m = smmuv3_model_create(NULL);
 *	... driver maps memory, brings the SMMU up, attaches StreamID 8 ...
 *	struct smmuv3_model_dma *e = smmuv3_model_dma_create(m,
 *			&(struct smmuv3_model_dma_conf){ .sid = 8 });
 *	smmuv3_model_dma_submit(e, &(struct smmuv3_model_op){
 *			.type = SMMUV3_MODEL_WRITE, .addr = va, .buf = "hello", .len = 5 });
 *	while (smmuv3_model_dma_poll(e, &done, 1) == 0)
 *		smmuv3_model_step(m, 64);
 *	assert(done.status == SMMUV3_MODEL_OK);
 * @endcode
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct smmuv3_model;
struct smmuv3_model_dma;

/** Features an SMMU may lack: set bits take the feature away. */
#define SMMUV3_MODEL_NO_MSI		(UINT32_C(1) << 0)
#define SMMUV3_MODEL_NO_2LVL_STRTAB	(UINT32_C(1) << 1)
#define SMMUV3_MODEL_NO_2LVL_CD		(UINT32_C(1) << 2)
#define SMMUV3_MODEL_NO_RIL		(UINT32_C(1) << 3)
#define SMMUV3_MODEL_NO_ASID16		(UINT32_C(1) << 4)
#define SMMUV3_MODEL_NO_4K		(UINT32_C(1) << 5)
#define SMMUV3_MODEL_NO_16K		(UINT32_C(1) << 6)
#define SMMUV3_MODEL_NO_64K		(UINT32_C(1) << 7)
#define SMMUV3_MODEL_NO_COHACC		(UINT32_C(1) << 8)
#define SMMUV3_MODEL_TERM_ABORT_ONLY	(UINT32_C(1) << 9)	/**< TERM_MODEL = 1 */

/** Features an SMMU has only when asked for. */
#define SMMUV3_MODEL_ATS		(UINT32_C(1) << 0)	/**< IDR0.ATS and ATSRECERR */
#define SMMUV3_MODEL_PRI		(UINT32_C(1) << 1)	/**< IDR0.PRI; needs ATS */
#define SMMUV3_MODEL_PPS		(UINT32_C(1) << 2)
		/**< IDR3.PPS: responses have the PASID of their request; needs PRI */

/** Choices the architecture leaves open: set bits change the default. */
#define SMMUV3_MODEL_RETRY_HELD		(UINT32_C(1) << 0)
		/**< a stall held back by a full EVTQ is retried, not replayed [3.5.4, 7.2] */
#define SMMUV3_MODEL_EARLY_RETRY	(UINT32_C(1) << 1)
		/**< stalled transactions are retried now and then without a RESUME */
#define SMMUV3_MODEL_SUPPRESS_DUP	(UINT32_C(1) << 2)
		/**< no record for a stall that equals one outstanding */
#define SMMUV3_MODEL_OVER_INVALIDATE	(UINT32_C(1) << 3)
		/**< each invalidation empties everything */
#define SMMUV3_MODEL_STICKY_TLB		(UINT32_C(1) << 4)
		/**< no TLB or configuration cache entry is lost but by invalidation: strictest */
#define SMMUV3_MODEL_LAX_RES0		(UINT32_C(1) << 5)
		/**< RES0 bits of commands are ignored; by default CERROR_ILL */
#define SMMUV3_MODEL_TORN_FETCH		(UINT32_C(1) << 6)
		/**< words of an STE or CD are fetched in several steps, in varying order */
#define SMMUV3_MODEL_NO_STALL_SUPPORT	(UINT32_C(1) << 7)
		/**< transactions terminate although CD.S is set [7.4 of the facts: STALL=0] */
#define SMMUV3_MODEL_FAIL_EACH_PPR	(UINT32_C(1) << 8)
		/**< with the PRIQ off or aborted requests without Last are answered too */

/** How the model is harder on a driver than it need be: set bits take a kindness away. */
#define SMMUV3_MODEL_HARSH_ALL		(UINT32_C(1) << 0)
		/**< all that a driver can bear without its devices noticing: ASIDS, LATE, FLIGHT,
		  * PREFETCH and SLOW_ATC, with RANDOM; and unless the order of STAGs is given,
		  * STAG_LIFO, STAG_RANDOM or none of them, by seed */
#define SMMUV3_MODEL_HARSH_ASIDS	(UINT32_C(1) << 1)
		/**< an oracle error by itself: a TLB entry used in a context with the ASID of its
		  * entry and another table: the ASID was given to another address space without
		  * a TLBI */
#define SMMUV3_MODEL_HARSH_LATE		(UINT32_C(1) << 2)
		/**< TLBI, CFGI and ATC_INV have no effect before the next CMD_SYNC completes */
#define SMMUV3_MODEL_HARSH_FLIGHT	(UINT32_C(1) << 3)
		/**< a transaction reaches memory 8 steps after its translation, but before a SYNC
		  * completes meanwhile, or SMMUEN = 0 */
#define SMMUV3_MODEL_HARSH_STAG_LIFO	(UINT32_C(1) << 4)
		/**< the STAG freed last is used first, not the one free longest */
#define SMMUV3_MODEL_HARSH_STAG_RANDOM	(UINT32_C(1) << 5)
		/**< any free STAG is used next */
#define SMMUV3_MODEL_HARSH_PREFETCH	(UINT32_C(1) << 6)
		/**< up to 16 commands are fetched at a time, and executed as fetched; a slot that
		  * was rewritten meanwhile is a driver error */
#define SMMUV3_MODEL_HARSH_RANDOM	(UINT32_C(1) << 7)
		/**< LATE, FLIGHT, PREFETCH and SLOW_ATC as it happens, by seed */
#define SMMUV3_MODEL_HARSH_LEVEL_IRQ	(UINT32_C(1) << 8)
		/**< wired interrupts are levels: see smmuv3_model_irq_unmask() */
#define SMMUV3_MODEL_HARSH_GBPA		(UINT32_C(1) << 9)
		/**< GBPA.ABORT is RAZ/WI: with SMMUEN = 0 all transactions bypass the SMMU */
#define SMMUV3_MODEL_HARSH_REPORT	(UINT32_C(1) << 10)
		/**< no harder, but it reports more: see smmuv3_model_silent_reports() */
#define SMMUV3_MODEL_HARSH_SLOW_ATC	(UINT32_C(1) << 11)
		/**< functions answer ATC_INVs after 20 ms; with RANDOM one in 512, after up to
		  * that */

/** Zero in any field means the value in brackets. */
struct smmuv3_model_conf {
	const char *name;	/**< for smmuv3_model_lookup(), unique [none] */
	unsigned int sid_bits;	/**< IDR1.SIDSIZE, 1..32 [16] */
	unsigned int ssid_bits;	/**< IDR1.SSIDSIZE, 1..20 [16]; SMMUV3_MODEL_NONE for 0 */
	unsigned int cmdq_log2;	/**< IDR1.CMDQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int evtq_log2;	/**< IDR1.EVENTQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int priq_log2;	/**< IDR1.PRIQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int oas_bits;	/**< 32, 36, 40, 42, 44 or 48 [48] */
	unsigned int stall_model; /**< IDR0.STALL_MODEL, 0..2 [0] */
	unsigned int stall_max;	/**< IDR5.STALL_MAX, 1..65535 [512] */
	uint32_t no_features;	/**< SMMUV3_MODEL_NO_* [0: everything] */
	uint32_t features;	/**< SMMUV3_MODEL_ATS ... [0: none of them] */
	uint32_t choices;	/**< SMMUV3_MODEL_RETRY_HELD ... [0] */
	uint32_t harsh;		/**< SMMUV3_MODEL_HARSH_ALL ... [0: kind] */
	unsigned int ack_delay;	/**< steps until a CR0 or IRQ_CTRL bit is acknowledged, each bit
				  * one step after the one before; 0 acknowledges in the next step */
	unsigned int atc_timeout_ms; /**< from an ATC_INV to CERROR_ATC_INV_SYNC, if the function
				  * does not answer; the SYNC waits meanwhile [0] */
	unsigned int tlb_log2;	/**< TLB entries, 1..20 [12] */
	uint32_t seed;		/**< of every choice made at random [1] */
};
#define SMMUV3_MODEL_NONE UINT32_MAX

/** SMMUV3_MODEL_HARSH_* that are on: of ALL all that it stands for. */
uint32_t smmuv3_model_harsh(const struct smmuv3_model *m);

/**
 * Make a model. It has no thread and its registers are at reset.
 *
 * @param conf NULL for all defaults.
 * @return NULL with errno EINVAL (a value out of range), EEXIST (the name) or ENOMEM.
 */
struct smmuv3_model *smmuv3_model_create(const struct smmuv3_model_conf *conf);

/** Stop the thread if there is one and free all, engines too. NULL is allowed. */
void smmuv3_model_destroy(struct smmuv3_model *m);

/** The model made with this name, or NULL. It stays the creator's. */
struct smmuv3_model *smmuv3_model_lookup(const char *name);

/** The two register pages: 128 KiB, aligned to 64 KiB. */
void *smmuv3_model_regs(struct smmuv3_model *m);

/**
 * Let the SMMU reach [@p ptr, @p ptr + @p len) at device addresses from @p addr.
 * Windows must not overlap and must lie below the output address size. At most
 * 1024 at a time.
 *
 * @return 0, or -EINVAL, -EEXIST (overlap), -ENOSPC.
 */
int smmuv3_model_mem_add(struct smmuv3_model *m, uint64_t addr, void *ptr, size_t len);

/**
 * Take the window that starts at @p addr away. When this returns, the model will
 * not touch its memory again.
 * @return 0 or -ENOENT.
 */
int smmuv3_model_mem_del(struct smmuv3_model *m, uint64_t addr);

/**
 * Do up to @p budget units of work (a command, a transaction, a retry, an event).
 * Must not be called while the model has a thread.
 * @return the units done; 0 means that nothing will happen until software writes, or the
 *	time is over that an ATC takes to answer.
 */
unsigned int smmuv3_model_step(struct smmuv3_model *m, unsigned int budget);

/**
 * Give the model a thread, pinned to @p cpu (or -1).
 * @return 0, -EBUSY if it has one, or what pthread_create said, negative.
 */
int smmuv3_model_start(struct smmuv3_model *m, int cpu);

/** End the thread. 0, or -EINVAL when there is none. */
int smmuv3_model_stop(struct smmuv3_model *m);

/**
 * What whoever waits for the SMMU calls in its loop: steps a model that has no
 * thread (unless this thread is inside a step already), gives the processor away
 * when a thread shares it, pauses otherwise.
 */
void smmuv3_model_wait(struct smmuv3_model *m);

/** Wired interrupts: an eventfd that the model writes on each edge; -1 to have none. */
enum smmuv3_model_irq {
	SMMUV3_MODEL_IRQ_EVTQ,
	SMMUV3_MODEL_IRQ_GERROR,
	SMMUV3_MODEL_IRQ_CMD_SYNC,
	SMMUV3_MODEL_IRQ_PRIQ,
};
#define SMMUV3_MODEL_NB_IRQS 4
void smmuv3_model_irq_fd(struct smmuv3_model *m, enum smmuv3_model_irq irq, int fd);

/**
 * Levels instead of edges (SMMUV3_MODEL_HARSH_LEVEL_IRQ): a line is high while its queue
 * has an entry, or an error of GERROR is active. The eventfd is written once when it goes
 * high and the line is masked then, as VFIO does with a level; this unmasks it. If it is
 * still high (or high again), the eventfd is written again. CMD_SYNC stays an edge. Any
 * thread.
 */
void smmuv3_model_irq_unmask(struct smmuv3_model *m, enum smmuv3_model_irq irq);

/*
 * Devices
 */

enum smmuv3_model_op_type {
	SMMUV3_MODEL_READ,	/**< memory to buf */
	SMMUV3_MODEL_WRITE,	/**< buf to memory */
	SMMUV3_MODEL_COPY,	/**< memory at addr to memory at dst */
};

/** How a DMA ended. Each has a name: smmuv3_model_status_name(). */
enum smmuv3_model_status {
	SMMUV3_MODEL_OK,
	SMMUV3_MODEL_ABORTED,	/**< the client saw an abort; bytes before may have moved */
	SMMUV3_MODEL_RAZWI,	/**< some part read as zero or was not written */
};

/** One DMA: any length; it is cut into transactions that do not cross 4 KiB. */
struct smmuv3_model_op {
	enum smmuv3_model_op_type type;
	bool privileged;
	bool instruction;	/**< READ only */
	uint64_t addr;		/**< virtual address */
	uint64_t dst;		/**< COPY only */
	void *buf;		/**< READ and WRITE: the device's side; yours until it is done */
	size_t len;
	uint64_t cookie;
};

/** One finished DMA. Times are in smmuv3_model_cycles(). */
struct smmuv3_model_done {
	uint64_t cookie;
	enum smmuv3_model_status status;
	uint32_t nb_stalls;	/**< recorded stalls this DMA went through */
	uint64_t bytes;		/**< moved */
	uint64_t t_start;	/**< first transaction tried */
	uint64_t t_event;	/**< its last stall record's EVTQ PROD store, or that of the
				  * PRIQ for the Last of its last group */
	uint64_t t_resume;	/**< that stall's RESUME, or that group's PRI_RESP, consumed */
	uint64_t t_end;		/**< now */
	uint32_t nb_groups;	/**< page request groups this DMA waited for */
};

/** What an engine is. */
enum smmuv3_model_dma_kind {
	SMMUV3_MODEL_DMA_PLAIN,	/**< sends untranslated addresses; faults stall or terminate */
	SMMUV3_MODEL_DMA_ATS,	/**< a PCIe function with an ATC, which asks for pages (PRI) */
};

struct smmuv3_model_dma_conf {
	uint32_t sid;		/**< StreamID; one the SMMU does not know is a test, not an error */
	bool has_ssid;
	uint32_t ssid;		/**< SubstreamID/PASID */
	unsigned int depth;	/**< DMAs outstanding, 1..65536 [256] */
	enum smmuv3_model_dma_kind kind; /**< [plain]; an ATS one needs SMMUV3_MODEL_ATS */
	unsigned int group_pages; /**< ATS: pages of a DMA asked for in one group, 1..512 [1] */
	unsigned int prg_indices; /**< ATS: PRG indices of the function, 1..512 [512] */
	bool prg_pasid;		/**< ATS: PRG Response PASID Required; each PASID then has PRG
				  * indices of its own */
	/** Called on the stepping thread for each finished DMA; then poll returns none. */
	void (*on_done)(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done,
			void *ctx);
	void *ctx;
};

/** @return NULL with errno EINVAL or ENOMEM. */
struct smmuv3_model_dma *smmuv3_model_dma_create(struct smmuv3_model *m,
		const struct smmuv3_model_dma_conf *conf);

/*
 * PCIe functions: engines of kind ATS with one StreamID are one function, with one
 * ATC, one allocation of page requests, and the same prg_indices and prg_pasid.
 * Its DMA is translated by the ATC, else by a Translation Request; what is not
 * mapped is asked for in page request groups (if PRI is on), and translated again
 * when the group was answered. On Success it goes on, on Invalid the DMA aborts, a
 * Response Failure stops the function from asking until PRI was disabled and
 * enabled again. These are the operations of the device's driver.
 */

/**
 * Switch ATS on, with an empty ATC. Until then the function sends untranslated addresses.
 * @param stu log2 of the smallest translation unit, 12 to 30; 0 for 12. Invalidations of less
 *	do nothing.
 * @return 0, -EINVAL (not a function with ATS; stu), -EBUSY (on already).
 */
int smmuv3_model_dma_ats_enable(struct smmuv3_model_dma *dma, unsigned int stu);

/** 0, or -EINVAL when it is not on. With PRI on, or not drained, that is a driver error. */
int smmuv3_model_dma_ats_disable(struct smmuv3_model_dma *dma);

/**
 * Let the function have @p n page requests outstanding.
 * @return 0, -EINVAL (0; ATS is off; no SMMUV3_MODEL_PRI), -EBUSY (on, or not drained).
 */
int smmuv3_model_dma_pri_enable(struct smmuv3_model_dma *dma, uint32_t n);

/**
 * Start no more groups: what needs one aborts. Those under way are sent to their end.
 * @return 0, or -EINVAL when it is not on.
 */
int smmuv3_model_dma_pri_disable(struct smmuv3_model_dma *dma);

/** PRI is off and each group of the function has been answered. */
bool smmuv3_model_dma_pri_drained(const struct smmuv3_model_dma *dma);

/** A Response Failure arrived since PRI was enabled. */
bool smmuv3_model_dma_pri_failed(const struct smmuv3_model_dma *dma);

/** Page requests of the function that are outstanding: credits in use. */
uint32_t smmuv3_model_dma_pri_outstanding(const struct smmuv3_model_dma *dma);

/**
 * Send a stop marker for the engine's PASID. Without a PASID the same message is a page
 * request like another, for address 0 with no permission, and wants an answer.
 * @return 0, -EINVAL (PRI is off), -EAGAIN (a group of the PASID is being sent; no index or
 *	no credit for a page request).
 */
int smmuv3_model_dma_stop_marker(struct smmuv3_model_dma *dma);

/**
 * Reset the function: its DMAs abort, groups are forgotten, the ATC is empty, ATS and PRI
 * are off.
 */
void smmuv3_model_dma_reset(struct smmuv3_model_dma *dma);

/** Waits for what is outstanding (it must be able to end), then frees. NULL is allowed. */
void smmuv3_model_dma_destroy(struct smmuv3_model_dma *dma);

/**
 * Hand one DMA to the engine. Outstanding DMAs proceed independently: one that
 * is stalled does not hold up the next.
 * @return 0, -EAGAIN when depth are outstanding, -EINVAL.
 */
int smmuv3_model_dma_submit(struct smmuv3_model_dma *dma, const struct smmuv3_model_op *op);

/** Take up to @p n finished DMAs. Returns how many. */
unsigned int smmuv3_model_dma_poll(struct smmuv3_model_dma *dma, struct smmuv3_model_done *done,
		unsigned int n);

/** DMAs submitted and not yet polled (or given to on_done). */
unsigned int smmuv3_model_dma_outstanding(const struct smmuv3_model_dma *dma);

/**
 * One DMA from start to end: submit, wait, poll. For engines without on_done and
 * without other DMAs under way. With a model that is stepped by hand somebody
 * else must serve its faults meanwhile, so these are for a model with a thread.
 * @return 0, -EFAULT (aborted), -EIO (RAZ/WI), -EINVAL.
 */
int smmuv3_model_dma_read(struct smmuv3_model_dma *dma, void *buf, uint64_t addr, size_t len);
int smmuv3_model_dma_write(struct smmuv3_model_dma *dma, uint64_t addr, const void *buf,
		size_t len);
int smmuv3_model_dma_copy(struct smmuv3_model_dma *dma, uint64_t dst, uint64_t src, size_t len);

/*
 * What went on
 */

/** Counters, each with a name: smmuv3_model_stat_name(). */
enum smmuv3_model_stat {
	SMMUV3_MODEL_STAT_TRANSACTIONS,
	SMMUV3_MODEL_STAT_BYTES,
	SMMUV3_MODEL_STAT_TLB_HITS,
	SMMUV3_MODEL_STAT_WALKS,
	SMMUV3_MODEL_STAT_STE_FETCHES,
	SMMUV3_MODEL_STAT_CD_FETCHES,
	SMMUV3_MODEL_STAT_EVENTS,		/**< records written */
	SMMUV3_MODEL_STAT_EVENTS_LOST,		/**< discarded: full, disabled or aborted */
	SMMUV3_MODEL_STAT_STALLS,		/**< stall records written */
	SMMUV3_MODEL_STAT_STALLS_HELD,		/**< waited for a writable queue */
	SMMUV3_MODEL_STAT_STALLS_SUPPRESSED,
	SMMUV3_MODEL_STAT_RETRIES,
	SMMUV3_MODEL_STAT_COMMANDS,
	SMMUV3_MODEL_STAT_CMDQ_BATCHES,		/**< PROD movements seen */
	SMMUV3_MODEL_STAT_SYNCS,
	SMMUV3_MODEL_STAT_RESUMES,		/**< that named an outstanding stall */
	SMMUV3_MODEL_STAT_RESUMES_STALE,	/**< that named none */
	SMMUV3_MODEL_STAT_STALL_TERMS,
	SMMUV3_MODEL_STAT_TERMINATED,		/**< stalled transactions ended by STALL_TERM or SMMUEN */
	SMMUV3_MODEL_STAT_MSIS,
	SMMUV3_MODEL_STAT_IRQS,
	SMMUV3_MODEL_STAT_CERRORS,
	SMMUV3_MODEL_STAT_ATS_REQUESTS,		/**< Translation Requests */
	SMMUV3_MODEL_STAT_ATC_HITS,
	SMMUV3_MODEL_STAT_ATC_INVS,		/**< that reached a function */
	SMMUV3_MODEL_STAT_ATC_TIMEOUTS,		/**< that a function did not answer */
	SMMUV3_MODEL_STAT_PRI_GROUPS,		/**< page request groups started */
	SMMUV3_MODEL_STAT_PRI_WAITS,		/**< for a credit or a PRG index */
	SMMUV3_MODEL_STAT_PPRS,			/**< page requests and stop markers written */
	SMMUV3_MODEL_STAT_PPRS_LOST,		/**< discarded: overflow, disabled or aborted */
	SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS,
	SMMUV3_MODEL_STAT_PRI_RESPS,		/**< PRI_RESPs that answered a group */
	SMMUV3_MODEL_STAT_PRI_RESPS_STALE,	/**< that answered none */
	SMMUV3_MODEL_STAT_PRI_AUTO_RESPS,	/**< groups that the SMMU answered by itself */
	SMMUV3_MODEL_STAT_PRI_FORGOTTEN,	/**< groups not answered when their function was reset */
};
#define SMMUV3_MODEL_NB_STATS 35
uint64_t smmuv3_model_stat(const struct smmuv3_model *m, enum smmuv3_model_stat stat);
const char *smmuv3_model_stat_name(enum smmuv3_model_stat stat);
const char *smmuv3_model_status_name(enum smmuv3_model_status status);

/** Stalls recorded and not yet answered. */
unsigned int smmuv3_model_stalls_outstanding(const struct smmuv3_model *m);

/**
 * Mistakes of the driver, by name: "CMDQ_BASE written while CMDQEN is set",
 * "RESUME twice for SID 8 STAG 3", ... The log keeps the first 64 texts and counts
 * all.
 */
unsigned int smmuv3_model_driver_errors(const struct smmuv3_model *m);

/** Text @p i of the log, or NULL. Lives as long as the model. */
const char *smmuv3_model_driver_error(const struct smmuv3_model *m, unsigned int i);

/**
 * The oracle keeps, beside the TLB, what each completed SYNC promised: it counts
 * and logs transactions that were answered twice or never (an engine destroyed,
 * the model destroyed), page request groups likewise, and accesses through a
 * translation (in the TLB or an ATC) or a configuration whose invalidation had
 * completed. Accesses to frames that are free or of another owner count as well (see
 * smmuv3_model_frame_give()). Its texts follow the driver's in a log of
 * their own. Zero at the end of each test.
 */
unsigned int smmuv3_model_oracle_errors(const struct smmuv3_model *m);
const char *smmuv3_model_oracle_error(const struct smmuv3_model *m, unsigned int i);

/** The clock of struct smmuv3_model_done: TSC or CNTVCT. */
static inline uint64_t
smmuv3_model_cycles(void)
{
#if defined(__x86_64__)
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
#elif defined(__aarch64__)
	uint64_t v;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(v));
	return v;
#else
#error "no cycle counter known for this architecture"
#endif
}

#ifdef __cplusplus
}
#endif

#endif /* SMMUV3_MODEL_H */
