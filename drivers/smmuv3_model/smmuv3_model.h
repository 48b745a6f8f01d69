/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_H
#define SMMUV3_MODEL_H

/**
 * @file
 * A software SMMUv3, and software devices whose DMA goes through it.
 *
 * @code
 *	       registers, queues, tables: memory shared with a driver
 *	                     |
 *	  smmuv3_model: front end (registers, queues) -- back end (STE, CD, walk, TLB)
 *	                     |
 *	  smmuv3_model_dma: engines, one StreamID and PASID each, that read, write
 *	                    and copy real bytes at virtual addresses; engines of an
 *	                    endpoint have an ATC and send page requests
 * @endcode
 *
 * The model is a passive register page, a set of memory windows and a step
 * function. A driver writes registers and queue memory as it would those of a
 * device; smmuv3_model_step() reads the changes, does a bounded amount of work and
 * returns. Either the application calls smmuv3_model_step() (deterministic: nothing
 * happens between two calls), or smmuv3_model_start() starts a thread that does.
 * The model reports each error of the driver by name in a log
 * (smmuv3_model_driver_error()). An oracle checks each access of the devices
 * (smmuv3_model_oracle_errors()). Functions for tests only are in smmuv3_model_test.h.
 *
 * Call order
 *   1. smmuv3_model_create()
 *   2. smmuv3_model_mem_add() for each piece of memory the SMMU may access
 *      (tables, queues, MSI words, data). An access elsewhere is an external
 *      abort: the model never dereferences an address outside a window.
 *   3. a driver configures and enables the SMMU through smmuv3_model_regs()
 *   4. smmuv3_model_dma_create() and its submissions
 *   5. smmuv3_model_dma_destroy(), smmuv3_model_destroy()
 *
 * Threads. One thread at a time steps the model. All other functions may be called
 * from any thread at any time, with two exceptions: an engine has one submitting and
 * one completing thread (which may be the same), and no other call may run during
 * smmuv3_model_destroy(). on_done of an engine runs on the stepping thread. It may
 * submit to its own engine and must call no other function of the model.
 *
 * With NULL for a model or an engine a function returns -EINVAL. A function without an
 * error code returns NULL or 0, or does nothing.
 *
 * Example: one write through a stepped model.
 * @code
 *	struct smmuv3_model *m = smmuv3_model_create(NULL);
 *	... the driver maps memory, enables the SMMU, attaches StreamID 8 ...
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

/** Features an SMMU may lack: each bit removes its feature. */
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

/** Features the SMMU has only if the bit is set. */
#define SMMUV3_MODEL_ATS		(UINT32_C(1) << 0)	/**< IDR0.ATS and ATSRECERR */
#define SMMUV3_MODEL_PRI		(UINT32_C(1) << 1)	/**< IDR0.PRI; needs ATS */
#define SMMUV3_MODEL_PPS		(UINT32_C(1) << 2)
		/**< IDR3.PPS: automatic responses carry the PASID of the request; needs PRI */
#define SMMUV3_MODEL_S2			(UINT32_C(1) << 3)
		/**< IDR0.S2P: stage 2, alone or behind stage 1 (nested), with VMIDs of 8 bits */
#define SMMUV3_MODEL_VMID16		(UINT32_C(1) << 4)	/**< IDR0.VMID16; needs S2 */
#define SMMUV3_MODEL_ECMDQ		(UINT32_C(1) << 5)
		/**< IDR1.ECMDQ: command queues in control pages behind the two register pages;
		  * not with NO_MSI or NO_COHACC */
#define SMMUV3_MODEL_HTTU_AF		(UINT32_C(1) << 6)
		/**< IDR0.HTTU = 1: the SMMU sets access flags (CD.HA, STE.S2HA) [3.13] */
#define SMMUV3_MODEL_HTTU_DIRTY		(UINT32_C(1) << 7)
		/**< IDR0.HTTU = 2: and the dirty state (CD.HD, STE.S2HD); needs HTTU_AF */

/** Choices that the architecture leaves open: each bit changes the default. */
#define SMMUV3_MODEL_RETRY_HELD		(UINT32_C(1) << 0)
		/**< a stall held back by a full EVTQ is retried instead of recorded [3.5.4, 7.2] */
#define SMMUV3_MODEL_EARLY_RETRY	(UINT32_C(1) << 1)
		/**< a stalled transaction is sometimes retried without a RESUME */
#define SMMUV3_MODEL_SUPPRESS_DUP	(UINT32_C(1) << 2)
		/**< no record for a stall that equals an outstanding stall */
#define SMMUV3_MODEL_OVER_INVALIDATE	(UINT32_C(1) << 3)
		/**< each invalidation empties all caches */
#define SMMUV3_MODEL_STICKY_TLB		(UINT32_C(1) << 4)
		/**< only invalidations remove TLB and configuration cache entries: the strictest */
#define SMMUV3_MODEL_LAX_RES0		(UINT32_C(1) << 5)
		/**< RES0 bits of commands are ignored; default: CERROR_ILL */
#define SMMUV3_MODEL_TORN_FETCH		(UINT32_C(1) << 6)
		/**< the words of an STE or CD are fetched in several steps, in random order */
#define SMMUV3_MODEL_NO_STALL_SUPPORT	(UINT32_C(1) << 7)
		/**< transactions terminate although CD.S is set: the client cannot stall [5.5] */
#define SMMUV3_MODEL_FAIL_EACH_PPR	(UINT32_C(1) << 8)
		/**< while the PRIQ is disabled or aborts, requests without Last are answered too */
#define SMMUV3_MODEL_MERGE_EVENTS	(UINT32_C(1) << 9)
		/**< with STE.MEV a terminated access whose record would equal the last one in the
		  * EVTQ, but for InputAddr[11:0], leaves no record [5.2, 7.3] */
#define SMMUV3_MODEL_GBPA_RESET_ABORT	(UINT32_C(1) << 10)
		/**< GBPA.ABORT resets to 1; default: to 0, so that transactions bypass the SMMU
		  * until software has set it [6.3.14] */
#define SMMUV3_MODEL_REFUSED_SETS_AF	(UINT32_C(1) << 11)
		/**< an access that is refused by the permissions sets AF too [3.13.2] */
#define SMMUV3_MODEL_SPECULATE_AF	(UINT32_C(1) << 12)
		/**< AF of the next page is set too at random, as for an access that the SMMU
		  * speculates; without stage 2 */

/** Stricter models: each bit removes a behaviour on which no driver may rely. */
#define SMMUV3_MODEL_HARSH_ALL		(UINT32_C(1) << 0)
		/**< all bits that devices do not notice if the driver is correct: ASIDS, LATE,
		  * FLIGHT, PREFETCH and SLOW_ATC, with RANDOM; and, unless an order of STAGs is
		  * given, STAG_LIFO, STAG_RANDOM or neither, by seed */
#define SMMUV3_MODEL_HARSH_ASIDS	(UINT32_C(1) << 1)
		/**< one more oracle error: an access used a TLB entry with the ASID of its CD, or
		  * the VMID of its STE, but from another table: the driver reused the ASID or
		  * VMID without a TLBI */
#define SMMUV3_MODEL_HARSH_LATE		(UINT32_C(1) << 2)
		/**< TLBI, CFGI and ATC_INV have no effect before the next CMD_SYNC completes */
#define SMMUV3_MODEL_HARSH_FLIGHT	(UINT32_C(1) << 3)
		/**< a transaction accesses memory 8 steps after its translation, but before a SYNC
		  * completes and before CR0ACK shows SMMUEN = 0 */
#define SMMUV3_MODEL_HARSH_STAG_LIFO	(UINT32_C(1) << 4)
		/**< the STAG freed last is used first; default: the one that is free longest */
#define SMMUV3_MODEL_HARSH_STAG_RANDOM	(UINT32_C(1) << 5)
		/**< a random free STAG is used next */
#define SMMUV3_MODEL_HARSH_PREFETCH	(UINT32_C(1) << 6)
		/**< up to 16 commands are fetched at a time and executed as fetched; an entry that
		  * is rewritten after its fetch is a driver error */
#define SMMUV3_MODEL_HARSH_RANDOM	(UINT32_C(1) << 7)
		/**< LATE, FLIGHT, PREFETCH and SLOW_ATC take effect at random, by seed */
#define SMMUV3_MODEL_HARSH_LEVEL_IRQ	(UINT32_C(1) << 8)
		/**< wired interrupts are level-triggered: see smmuv3_model_irq_unmask() */
#define SMMUV3_MODEL_HARSH_GBPA		(UINT32_C(1) << 9)
		/**< GBPA.ABORT is RAZ/WI: with SMMUEN = 0 all transactions bypass the SMMU */
#define SMMUV3_MODEL_HARSH_REPORT	(UINT32_C(1) << 10)
		/**< not stricter, but more reports: see smmuv3_model_silent_reports() */
#define SMMUV3_MODEL_HARSH_SLOW_ATC	(UINT32_C(1) << 11)
		/**< endpoints answer ATC_INVs after 20 ms; with RANDOM, one ATC_INV in 512 is
		  * answered after up to 20 ms */

/** Zero in a field selects the default in brackets. */
struct smmuv3_model_conf {
	const char *name;	/**< for smmuv3_model_lookup(), unique [none] */
	unsigned int sid_bits;	/**< IDR1.SIDSIZE, 1..32 [16] */
	unsigned int ssid_bits;	/**< IDR1.SSIDSIZE, 1..20 [16]; SMMUV3_MODEL_NONE for 0 */
	unsigned int cmdq_log2;	/**< IDR1.CMDQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int evtq_log2;	/**< IDR1.EVENTQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int priq_log2;	/**< IDR1.PRIQS, 1..19 [10]; SMMUV3_MODEL_NONE for 0 */
	unsigned int ecmdq_log2; /**< ECMDQ: IDR6.LOG2NUMQ, 1..8 [4]; SMMUV3_MODEL_NONE for 0 */
	unsigned int ecmdq_pages_log2; /**< ECMDQ: IDR6.LOG2NUMP; at most 8 - ecmdq_log2 [0] */
	unsigned int oas_bits;	/**< 32, 36, 40, 42, 44 or 48 [48] */
	unsigned int stall_model; /**< IDR0.STALL_MODEL, 0..2 [0] */
	unsigned int stall_max;	/**< IDR5.STALL_MAX, 1..65535 [512] */
	uint32_t no_features;	/**< SMMUV3_MODEL_NO_* [0: everything] */
	uint32_t features;	/**< SMMUV3_MODEL_ATS ... [0: none of them] */
	uint32_t choices;	/**< SMMUV3_MODEL_RETRY_HELD ... [0] */
	uint32_t harsh;		/**< SMMUV3_MODEL_HARSH_ALL ... [0] */
	unsigned int ack_delay;	/**< steps until a CR0 or IRQ_CTRL bit is acknowledged, one bit a
				  * step; 0 acknowledges all bits in the next step */
	unsigned int atc_timeout_ms; /**< from an ATC_INV to CERROR_ATC_INV_SYNC if the endpoint
				  * does not answer; the SYNC waits until then [0] */
	unsigned int tlb_log2;	/**< TLB entries, 1..20 [12] */
	uint32_t seed;		/**< of all random choices [1] */
	void *regs;		/**< memory for the register pages, a multiple of 4 KiB, which the
				  * caller keeps until the model is destroyed [the model's own] */
	size_t regs_size;	/**< of it; smmuv3_model_regs_size() bytes are used */
};
#define SMMUV3_MODEL_NONE UINT32_MAX

/** The SMMUV3_MODEL_HARSH_* bits in effect; ALL is expanded. */
uint32_t smmuv3_model_harsh(const struct smmuv3_model *m);

/**
 * Create a model. It has no thread and its registers have their reset values.
 *
 * @param conf NULL for all defaults.
 * @return NULL with errno EINVAL (a value out of range), EEXIST (the name) or ENOMEM.
 */
struct smmuv3_model *smmuv3_model_create(const struct smmuv3_model_conf *conf);

/**
 * Stop the model's thread, if it has one, and free the model with its engines. NULL is allowed. Not
 * for a model that a driver has created: closing the IOMMU destroys it.
 */
void smmuv3_model_destroy(struct smmuv3_model *m);

/** The model created with this name, or NULL. The creator keeps its ownership. */
struct smmuv3_model *smmuv3_model_lookup(const char *name);

/**
 * The two register pages: 128 KiB, aligned to 64 KiB. With SMMUV3_MODEL_ECMDQ the control pages
 * follow, 64 KiB each. conf.regs, if the creator has given that.
 */
void *smmuv3_model_regs(struct smmuv3_model *m);

/**
 * The size of all register pages, in bytes: 128 KiB, and 64 KiB << ecmdq_pages_log2 with
 * SMMUV3_MODEL_ECMDQ.
 */
size_t smmuv3_model_regs_size(const struct smmuv3_model *m);

/**
 * Let the SMMU access [@p ptr, @p ptr + @p len) at device addresses from @p addr.
 * Windows must not overlap and must lie below the output address size. At most
 * 1024 at a time.
 *
 * @return 0, or -EINVAL, -EEXIST (overlap), -ENOSPC.
 */
int smmuv3_model_mem_add(struct smmuv3_model *m, uint64_t addr, void *ptr, size_t len);

/**
 * Remove the window that starts at @p addr. After the return the model does not
 * access its memory again.
 * @return 0 or -ENOENT.
 */
int smmuv3_model_mem_del(struct smmuv3_model *m, uint64_t addr);

/**
 * Do up to @p budget units of work (a command, a transaction, a retry, an event).
 * Must not be called while the model has a thread.
 * @return the units done; after 0 nothing happens until software writes a register or
 *	queue, or until the delay of an ATC ends.
 */
unsigned int smmuv3_model_step(struct smmuv3_model *m, unsigned int budget);

/**
 * Start the model's thread, pinned to @p cpu (-1: not pinned).
 * @return 0, -EBUSY if the model has a thread, or the negated error of pthread_create().
 */
int smmuv3_model_start(struct smmuv3_model *m, int cpu);

/** Stop the model's thread. @return 0, or -EINVAL if the model has none. */
int smmuv3_model_stop(struct smmuv3_model *m);

/**
 * To be called in each loop that waits for the SMMU. Steps a model that has no thread,
 * unless the caller is inside a step. Otherwise yields the processor if the model's
 * thread shares it, or pauses.
 */
void smmuv3_model_wait(struct smmuv3_model *m);

/** Wired interrupts: the model writes the eventfd on each edge; -1 removes it. */
enum smmuv3_model_irq {
	SMMUV3_MODEL_IRQ_EVTQ,
	SMMUV3_MODEL_IRQ_GERROR,
	SMMUV3_MODEL_IRQ_CMD_SYNC,
	SMMUV3_MODEL_IRQ_PRIQ,
};
#define SMMUV3_MODEL_NB_IRQS 4
void smmuv3_model_irq_fd(struct smmuv3_model *m, enum smmuv3_model_irq irq, int fd);

/**
 * Unmask a level-triggered line (SMMUV3_MODEL_HARSH_LEVEL_IRQ). A line is high while its
 * queue has an entry, or while an error of GERROR is active. When the line goes high, the
 * model writes the eventfd once and masks the line, as VFIO does. If the line is high
 * after this call, the model writes the eventfd again. CMD_SYNC stays edge-triggered.
 * Any thread.
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
	SMMUV3_MODEL_ABORTED,	/**< the client received an abort; earlier bytes may have moved */
	SMMUV3_MODEL_RAZWI,	/**< a part was read as zero or not written */
};

/** One DMA of any length. The engine cuts it into transactions that do not cross 4 KiB. */
struct smmuv3_model_op {
	enum smmuv3_model_op_type type;
	bool privileged;
	bool instruction;	/**< READ only */
	uint64_t addr;		/**< virtual address */
	uint64_t dst;		/**< COPY only */
	void *buf;		/**< READ and WRITE: the device's side; must stay until done */
	size_t len;
	uint64_t cookie;
};

/** One finished DMA. Times are in smmuv3_model_cycles(). */
struct smmuv3_model_done {
	uint64_t cookie;
	enum smmuv3_model_status status;
	uint32_t nb_stalls;	/**< recorded stalls of this DMA */
	uint64_t bytes;		/**< moved */
	uint64_t t_start;	/**< first transaction tried */
	uint64_t t_event;	/**< EVTQ PROD store of its last stall record, or PRIQ PROD
				  * store of the Last request of its last group */
	uint64_t t_resume;	/**< the SMMU consumed that stall's RESUME or group's PRI_RESP */
	uint64_t t_end;		/**< the DMA ended */
	uint32_t nb_groups;	/**< page request groups this DMA waited for */
};

/** The kind of an engine. */
enum smmuv3_model_dma_kind {
	SMMUV3_MODEL_DMA_PLAIN,	/**< sends untranslated addresses; faults stall or terminate */
	SMMUV3_MODEL_DMA_ATS,	/**< an endpoint: a PCIe function with an ATC and page requests */
};

struct smmuv3_model_dma_conf {
	uint32_t sid;		/**< StreamID; may be one that the SMMU does not know */
	bool has_ssid;
	uint32_t ssid;		/**< SubstreamID/PASID */
	unsigned int depth;	/**< DMAs outstanding, 1..65536 [256] */
	enum smmuv3_model_dma_kind kind; /**< [plain]; an ATS one needs SMMUV3_MODEL_ATS */
	unsigned int group_pages; /**< ATS: pages of a DMA requested in one group, 1..512 [1] */
	unsigned int prg_indices; /**< ATS: PRG indices of the endpoint, 1..512 [512] */
	bool prg_pasid;		/**< ATS: PRG Response PASID Required; each PASID then has its
				  * own PRG indices */
	/** Called on the stepping thread for each finished DMA; poll then returns none. */
	void (*on_done)(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done,
			void *ctx);
	void *ctx;
};

/** @return NULL with errno EINVAL or ENOMEM. */
struct smmuv3_model_dma *smmuv3_model_dma_create(struct smmuv3_model *m,
		const struct smmuv3_model_dma_conf *conf);

/*
 * Endpoints: the engines of kind ATS with one StreamID form one endpoint (a PCIe function),
 * with one ATC, one allocation of page requests, one prg_indices and one prg_pasid. The ATC
 * translates the DMA of the endpoint, or else a Translation Request does. If PRI is
 * enabled, the endpoint requests a page that is not mapped in a page request group. On
 * Success it translates again. On Invalid the DMA aborts. After a Response Failure the
 * endpoint sends no page request until PRI is disabled and enabled again. The functions
 * below are operations of the device's driver.
 */

/**
 * Enable ATS, with an empty ATC. While ATS is off the endpoint sends untranslated addresses.
 * @param stu log2 of the smallest translation unit, 12 to 30; 0 for 12. A smaller
 *	invalidation has no effect.
 * @return 0, -EINVAL (not an endpoint with ATS; stu), -EBUSY (ATS is on).
 */
int smmuv3_model_dma_ats_enable(struct smmuv3_model_dma *dma, unsigned int stu);

/**
 * Disable ATS. This is a driver error while PRI is on or not drained.
 * @return 0, or -EINVAL if ATS is off.
 */
int smmuv3_model_dma_ats_disable(struct smmuv3_model_dma *dma);

/**
 * Enable PRI. The endpoint may have @p n page requests outstanding.
 * @return 0, -EINVAL (n is 0; ATS is off; no SMMUV3_MODEL_PRI), -EBUSY (PRI is on or not
 *	drained).
 */
int smmuv3_model_dma_pri_enable(struct smmuv3_model_dma *dma, uint32_t n);

/**
 * Disable PRI. A transaction that needs a new group aborts. The endpoint still sends the
 * remaining requests of the groups it has started.
 * @return 0, or -EINVAL if PRI is off.
 */
int smmuv3_model_dma_pri_disable(struct smmuv3_model_dma *dma);

/** Is PRI off, and is each group of the endpoint answered? */
bool smmuv3_model_dma_pri_drained(const struct smmuv3_model_dma *dma);

/** Has the endpoint received a Response Failure since PRI was enabled? */
bool smmuv3_model_dma_pri_failed(const struct smmuv3_model_dma *dma);

/** Outstanding page requests of the endpoint: credits in use. */
uint32_t smmuv3_model_dma_pri_outstanding(const struct smmuv3_model_dma *dma);

/**
 * Send a stop marker for the engine's PASID. Without a PASID the same message is a page
 * request for address 0 without permissions, and the SMMU must answer it.
 * @return 0, -EINVAL (PRI is off), -EAGAIN (the endpoint is sending a group of the PASID; it
 *	has no PRG index or no credit for a page request).
 */
int smmuv3_model_dma_stop_marker(struct smmuv3_model_dma *dma);

/**
 * Reset the endpoint: its DMAs abort, its groups end without an answer, its ATC is empty,
 * ATS and PRI are off.
 */
void smmuv3_model_dma_reset(struct smmuv3_model_dma *dma);

/**
 * Wait for the outstanding DMAs, which must be able to end, then free. NULL is allowed. Before its
 * model is destroyed: iopf_iommu_close() of a model that the driver has created returns -EBUSY
 * while the model has engines.
 */
void smmuv3_model_dma_destroy(struct smmuv3_model_dma *dma);

/** True while the model has engines. */
bool smmuv3_model_has_dma(struct smmuv3_model *m);

/**
 * Submit one DMA to the engine. Outstanding DMAs proceed independently: a stalled DMA
 * does not delay the next.
 * @return 0, -EAGAIN (conf.depth DMAs are outstanding), -EINVAL.
 */
int smmuv3_model_dma_submit(struct smmuv3_model_dma *dma, const struct smmuv3_model_op *op);

/** Take up to @p n finished DMAs. @return their number. */
unsigned int smmuv3_model_dma_poll(struct smmuv3_model_dma *dma, struct smmuv3_model_done *done,
		unsigned int n);

/** DMAs submitted and not yet taken by poll or passed to on_done. */
unsigned int smmuv3_model_dma_outstanding(const struct smmuv3_model_dma *dma);

/**
 * One DMA from start to end: submit, wait, poll. For engines without on_done and
 * without other outstanding DMAs. If the DMA can fault, another thread must answer its
 * faults while this call waits.
 * @return 0, -EFAULT (aborted), -EIO (RAZ/WI), -EINVAL.
 */
int smmuv3_model_dma_read(struct smmuv3_model_dma *dma, void *buf, uint64_t addr, size_t len);
int smmuv3_model_dma_write(struct smmuv3_model_dma *dma, uint64_t addr, const void *buf,
		size_t len);
int smmuv3_model_dma_copy(struct smmuv3_model_dma *dma, uint64_t dst, uint64_t src, size_t len);

/*
 * Counters and logs
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
	SMMUV3_MODEL_STAT_EVENTS_MERGED,	/**< not written: SMMUV3_MODEL_MERGE_EVENTS */
	SMMUV3_MODEL_STAT_STALLS,		/**< stall records written */
	SMMUV3_MODEL_STAT_STALLS_HELD,		/**< waited for a writable queue */
	SMMUV3_MODEL_STAT_STALLS_SUPPRESSED,
	SMMUV3_MODEL_STAT_RETRIES,
	SMMUV3_MODEL_STAT_COMMANDS,
	SMMUV3_MODEL_STAT_CMDQ_BATCHES,		/**< changes of PROD of a command queue */
	SMMUV3_MODEL_STAT_SYNCS,
	SMMUV3_MODEL_STAT_RESUMES,		/**< that named an outstanding stall */
	SMMUV3_MODEL_STAT_RESUMES_STALE,	/**< that named no outstanding stall */
	SMMUV3_MODEL_STAT_STALL_TERMS,
	SMMUV3_MODEL_STAT_TERMINATED,		/**< stalls ended by STALL_TERM or SMMUEN */
	SMMUV3_MODEL_STAT_MSIS,
	SMMUV3_MODEL_STAT_IRQS,
	SMMUV3_MODEL_STAT_CERRORS,
	SMMUV3_MODEL_STAT_ATS_REQUESTS,		/**< Translation Requests */
	SMMUV3_MODEL_STAT_ATC_HITS,
	SMMUV3_MODEL_STAT_ATC_INVS,		/**< that reached an endpoint */
	SMMUV3_MODEL_STAT_ATC_TIMEOUTS,		/**< that an endpoint did not answer */
	SMMUV3_MODEL_STAT_PRI_GROUPS,		/**< page request groups started */
	SMMUV3_MODEL_STAT_PRI_WAITS,		/**< for a credit or a PRG index */
	SMMUV3_MODEL_STAT_PPRS,			/**< page requests and stop markers written */
	SMMUV3_MODEL_STAT_PPRS_LOST,		/**< discarded: overflow, disabled or aborted */
	SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS,
	SMMUV3_MODEL_STAT_PRI_RESPS,		/**< PRI_RESPs that answered a group */
	SMMUV3_MODEL_STAT_PRI_RESPS_STALE,	/**< that answered no group */
	SMMUV3_MODEL_STAT_PRI_AUTO_RESPS,	/**< automatic responses of the SMMU */
	SMMUV3_MODEL_STAT_PRI_FORGOTTEN,	/**< groups that a reset ended without an answer */
	SMMUV3_MODEL_STAT_ECMDQ_COMMANDS,	/**< of COMMANDS: those of ECMDQs */
	SMMUV3_MODEL_STAT_ACCESS_UPDATES,	/**< descriptors whose AF the SMMU has set */
	SMMUV3_MODEL_STAT_DIRTY_UPDATES,	/**< descriptors that it has made dirty */
};
#define SMMUV3_MODEL_NB_STATS 39
uint64_t smmuv3_model_stat(const struct smmuv3_model *m, enum smmuv3_model_stat stat);
const char *smmuv3_model_stat_name(enum smmuv3_model_stat stat);
const char *smmuv3_model_status_name(enum smmuv3_model_status status);

/** Recorded stalls that are not answered. */
unsigned int smmuv3_model_stalls_outstanding(const struct smmuv3_model *m);

/**
 * Errors of the driver, by name: "CMDQ_BASE written while CMDQEN is set",
 * "RESUME twice for SID 8 STAG 3", ... The log counts all errors and keeps the texts of
 * the first 64.
 */
unsigned int smmuv3_model_driver_errors(const struct smmuv3_model *m);

/** Text @p i of the log, or NULL. Valid as long as the model. */
const char *smmuv3_model_driver_error(const struct smmuv3_model *m, unsigned int i);

/**
 * The oracle records, apart from the caches, which invalidations a completed SYNC covers.
 * Its errors are:
 *   - a transaction or a page request group that is answered twice, or not at all when its
 *     engine is destroyed;
 *   - an access through a translation (in the TLB or an ATC), an STE or a CD after its
 *     invalidation completed;
 *   - an access to a frame that is free or has another owner (smmuv3_model_frame_give()).
 * They have their own log of the same form. A test expects 0 at its end.
 */
unsigned int smmuv3_model_oracle_errors(const struct smmuv3_model *m);
const char *smmuv3_model_oracle_error(const struct smmuv3_model *m, unsigned int i);

/** The clock of the times in struct smmuv3_model_done: TSC or CNTVCT. */
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
