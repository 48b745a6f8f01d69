/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_FRONT_H
#define SMMUV3_FRONT_H

/**
 * @file
 * The front end of an SMMUv3, for a VMM: registers and queues of the SMMU that a guest sees. It is
 * that of the software SMMUv3 without the translation.
 *
 * @code
 *	guest: registers, queues in its memory
 *	   |  ^
 *	   v  | CONS, GERROR; event and page request records
 *	smmuv3_front  --- commands, SYNC, on, off ---> the caller's operations
 *	              <-- smmuv3_front_event(), smmuv3_front_request() --- the caller
 * @endcode
 *
 * The front end reads commands from the guest's queue, once each, and checks that they are legal: a
 * known opcode of this SMMU, reserved bits 0. It passes them on as arrays, each up to the next
 * SYNC. The caller checks what the architecture leaves to it (StreamIDs), executes the commands
 * and says how many it has executed. CMDQ_CONS and GERROR then show the guest exactly the command
 * that failed, and its error. Commands behind it are executed after the guest has acknowledged it.
 *
 * The caller owns stalls and page requests: it puts their records, and finds RESUME and PRI_RESP
 * among the commands. When the guest clears SMMUEN it has to end all of them (off).
 *
 * Call order: create; mem_add for the guest's memory; then step again and again, on one thread.
 * All other functions run on that thread too, and inside of the operations; destroy does not. What
 * the guest writes costs it alone: an address outside of its memory is an external abort, each step
 * does a bounded amount of work, and the guest's errors are in a log of a bounded size.
 *
 * Example:
 * @code
 *	static unsigned int
 *	commands(void *ctx, const struct smmuv3_front_cmd *cmds, unsigned int n,
 *			enum smmuv3_front_error *error)
 *	{
 *		for (unsigned int i = 0; i < n; i++)
 *			if (!execute(ctx, &cmds[i])) {
 *				*error = SMMUV3_FRONT_ILL;
 *				return i;
 *			}
 *		return n;
 *	}
 *	...
 *	front = smmuv3_front_create(&(struct smmuv3_front_conf){ .ops = &ops, .ctx = guest,
 *			.smmu = { .regs = page.regs, .regs_size = page.regs_size } });
 *	smmuv3_front_mem_add(front, page.mem_addr, page.mem, page.mem_size);
 *	while (!quit)
 *		smmuv3_front_step(front, 64);
 * @endcode
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "smmuv3_model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct smmuv3_front;

/** A command as in the queue [4]. */
struct smmuv3_front_cmd {
	uint64_t dw[2];
};

/** CMDQ_CONS.ERR [7.1]. */
enum smmuv3_front_error {
	SMMUV3_FRONT_NONE = 0,
	SMMUV3_FRONT_ILL = 1,	/**< the command is illegal */
	SMMUV3_FRONT_ABT = 2,	/**< the command could not be read */
};

enum smmuv3_front_sync {
	SMMUV3_FRONT_DONE,
	SMMUV3_FRONT_WAIT,	/**< ask again in the next step; later commands wait */
	SMMUV3_FRONT_ATC,	/**< an ATC_INV before it timed out: CERROR_ATC_INV_SYNC */
};

/** Most commands of an array. */
#define SMMUV3_FRONT_MAX_CMDS	64

/** All are required. They run inside of smmuv3_front_step(). */
struct smmuv3_front_ops {
	/**
	 * Execute up to @p n legal commands, none of them a SYNC, in order.
	 * @param[out] error of the next command, if the result is less than @p n; ILL before.
	 * @return the commands executed.
	 */
	unsigned int (*commands)(void *ctx, const struct smmuv3_front_cmd *cmds, unsigned int n,
			enum smmuv3_front_error *error);
	/** A SYNC: have all earlier commands taken effect? */
	enum smmuv3_front_sync (*sync)(void *ctx);
	/** SMMUEN is set now: STRTAB_BASE, its CFG and CR2 take effect. */
	void (*on)(void *ctx);
	/** SMMUEN is clear now: nothing of the guest may be stalled when this returns. */
	void (*off)(void *ctx);
};

struct smmuv3_front_conf {
	const struct smmuv3_front_ops *ops;
	void *ctx;
	/**
	 * The SMMU: the values of its ID registers, no_features and features (but for ECMDQs),
	 * LAX_RES0 of choices, ack_delay, regs and regs_size. All else must be 0.
	 */
	struct smmuv3_model_conf smmu;
};

/** @return NULL with errno EINVAL or ENOMEM. */
struct smmuv3_front *smmuv3_front_create(const struct smmuv3_front_conf *conf);

/**
 * Reset the registers: what the guest has written is forgotten, its commands too. Calls no
 * operation: the caller has ended what is stalled. Not inside of an operation.
 */
void smmuv3_front_reset(struct smmuv3_front *f);

/** NULL is allowed. Calls no operation. */
void smmuv3_front_destroy(struct smmuv3_front *f);

/** The registers: conf.smmu.regs, or the front end's own. */
void *smmuv3_front_regs(struct smmuv3_front *f);

/**
 * As smmuv3_model_mem_add(): the guest's memory, for its queues, tables and MSI words. All values
 * are multiples of 4 KiB.
 */
int smmuv3_front_mem_add(struct smmuv3_front *f, uint64_t addr, void *ptr, size_t len);

/**
 * Process what the guest has written, with up to @p budget commands.
 * @return the units of work done; 0: nothing until the guest writes, or a SYNC is done.
 */
unsigned int smmuv3_front_step(struct smmuv3_front *f, unsigned int budget);

/**
 * Put an event record, visible to the guest when this returns [7.3].
 * @return 0; -EAGAIN: a stall record, and the queue is full or not enabled: put it again later;
 *	-ENOSPC: another record, which is lost, and the guest sees an overflow if its queue is
 *	full; -EIO: the write aborted, and the record is lost (EVENTQ_ABT_ERR).
 */
int smmuv3_front_event(struct smmuv3_front *f, const uint64_t record[4]);

/**
 * Put a page request [8.1], visible to the guest when this returns.
 * @return 0; -ENOSPC: an overflow; -EAGAIN: the queue is off, or has an error that is not
 *	acknowledged; -EIO: the write aborted (PRIQ_ABT_ERR). After an error the request is lost,
 *	and the caller answers its group as the SMMU does [8.2].
 */
int smmuv3_front_request(struct smmuv3_front *f, const uint64_t record[2]);

/**
 * As smmuv3_model_irq_fd(): the front end writes the eventfd on each edge of this wired interrupt.
 * Interrupts with an MSI address are stores to the guest's memory instead. Any thread; a step that
 * runs meanwhile may still write the former eventfd.
 */
void smmuv3_front_irq_fd(struct smmuv3_front *f, enum smmuv3_model_irq irq, int fd);

/** Has the SMMU acknowledged SMMUEN = 1? */
bool smmuv3_front_is_on(const struct smmuv3_front *f);

/** Do transactions bypass the SMMU while SMMUEN is 0 (GBPA.ABORT = 0)? */
bool smmuv3_front_bypasses(const struct smmuv3_front *f);

/** STRTAB_BASE and STRTAB_BASE_CFG; they do not change while the SMMU is on. */
void smmuv3_front_strtab(const struct smmuv3_front *f, uint64_t *base, uint32_t *cfg);

/** CR2.RECINVSID: is C_BAD_STREAMID recorded? It does not change while the SMMU is on. */
bool smmuv3_front_records_sids(const struct smmuv3_front *f);

/**
 * Read the guest's memory, 8 bytes at a time, each at once.
 * @param addr,len multiples of 8.
 * @return 0, -EINVAL, or -EFAULT: not all of it is the guest's memory.
 */
int smmuv3_front_read(struct smmuv3_front *f, uint64_t addr, void *buf, size_t len);

/** The errors of the guest's driver, as smmuv3_model_driver_errors(). */
unsigned int smmuv3_front_errors(const struct smmuv3_front *f);
const char *smmuv3_front_error(const struct smmuv3_front *f, unsigned int i);

#ifdef __cplusplus
}
#endif

#endif /* SMMUV3_FRONT_H */
