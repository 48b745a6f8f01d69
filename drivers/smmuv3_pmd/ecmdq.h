/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_ECMDQ_H
#define SMMUV3_ECMDQ_H

/**
 * @file
 * ECMDQs: command queues beside the CMDQ [3.5.6]. Each is one more struct smmuv3_cmdq. A thread
 * uses one of them, so that threads do not wait for each other's commands. An SMMU without ECMDQs,
 * or whose backend maps the first two register pages only, has none: all commands go into the CMDQ.
 *
 *	thread's queue	RESUMEs; on an SMMU without page requests also TLBIs with the CMD_SYNC of a
 *			caller that waits, and for an answer after invalidations TLBIs, CMD_SYNC and
 *			RESUMEs in one batch
 *	CMDQ		all else: PRI_RESPs, ATC_INVs, CFGIs, STALL_TERMs, all commands of control
 *			calls
 *
 * The SMMU executes the commands of different queues in any order, and a CMD_SYNC covers its own
 * queue only [3.5.6.1]. These are the places where the order between queues counts:
 *
 *	- An answer that follows an invalidation is in one queue with it and its CMD_SYNC
 *	  (smmuv3_answer_after()).
 *	- A RESUME names a StreamID and a STAG. STALL_TERM and SMMUEN = 0 free STAGs. So older
 *	  RESUMEs have to be consumed before a stall of the same StreamID can have the STAG again:
 *	  smmuv3_ecmdqs_sync() before STEs translate again, and the steps of a recovery, which
 *	  diverts the answers of all queues and waits for all queues.
 *	- A RESUME may be consumed after a younger invalidation of another thread. This does no
 *	  harm: the access translates again, with the tables as they are then.
 *	- An ATC_INV follows the CMD_SYNC of the TLBIs of its page. With page requests both are in
 *	  the CMDQ. Else a detach could send its ATC_INV while another thread's TLBI is under way,
 *	  and that thread would find the device detached and send none.
 *	- ATC_INVs are in the CMDQ only: cutting an endpoint off concerns one queue.
 *	- The SMMU is stopped: all queues are drained, and each is disabled by its owner. A thread
 *	  that owns a queue reads registers, so that no stop completes meanwhile.
 *
 * The control calls of the driver order:
 *	open	smmuv3_ecmdqs_probe(), take over, smmuv3_ecmdqs_open()
 *	start	smmuv3_ecmdqs_disable(), smmuv3_ecmdqs_alloc(); with the CMDQ owned and the state
 *		OFF smmuv3_ecmdqs_enable(), the state STARTING, smmuv3_ecmdqs_disown()
 *	stop	smmuv3_ecmdqs_drop_resumes(), smmuv3_ecmdqs_drain(), the state OFF,
 *		smmuv3_ecmdqs_disable()
 *	close	smmuv3_ecmdqs_close()
 *
 * Errors [3.5.6.3]: an ECMDQ that stops has CONS.ERR differ from PROD.ERRACK; GERROR.CMDQP_ERR
 * says that some ECMDQ has. The owner of the CMDQ acknowledges CMDQP_ERR first and then marks the
 * queues to be looked at, so that a later error is not missed. The owner of each queue repairs it
 * as that of the CMDQ does, and stores ERRACK.
 *
 * Threads. smmuv3_thread_cmdq(), smmuv3_ecmdqs_sync(), smmuv3_ecmdqs_repair(): any; the last does
 * not wait. The other functions: the holder of ctl, or open and close.
 *
 * Example: a RESUME.
 *	smmuv3_cmdq_post(smmuv3_thread_cmdq(s), &resume, 1);
 */

#include <stdbool.h>
#include <stdint.h>

#include <rte_branch_prediction.h>

#include "cmdq.h"
#include "smmuv3_pmd.h"

/* The driver uses at most as many; threads share them. */
#define SMMUV3_MAX_ECMDQS	16

struct smmuv3_ecmdq {
	struct smmuv3_cmdq q;
	struct smmuv3 *s;
	uint32_t offset;		/* of its registers */
	char name[80];
	_Atomic uint64_t synced;	/* commands before this position are known to be consumed */
	/* of a recovery */
	uint64_t pos;			/* commands up to here are to be consumed */
	uint64_t backlog_end;		/* of answers to old stalls; UINT64_MAX: not set */
	bool diverts;
};

/* Read the geometry. After smmuv3_idr_read(). */
void smmuv3_ecmdqs_probe(struct smmuv3 *s);
int smmuv3_ecmdqs_open(struct smmuv3 *s);
void smmuv3_ecmdqs_close(struct smmuv3 *s);
/* Rings of 2^log2 commands. All queues are off. */
int smmuv3_ecmdqs_alloc(struct smmuv3 *s, unsigned int log2);

/* Own all queues, drop their commands, set up their registers and enable them. -ETIMEDOUT. */
int smmuv3_ecmdqs_enable(struct smmuv3 *s);
/* Give up the ownership of smmuv3_ecmdqs_enable(), also after an error. */
void smmuv3_ecmdqs_disown(struct smmuv3 *s);
/* Disable all queues of the SMMU, also those that another driver has left on. -ETIMEDOUT. */
int smmuv3_ecmdqs_disable(struct smmuv3 *s);
/* Is a queue of the SMMU on? Reads registers. */
bool smmuv3_ecmdqs_are_on(struct smmuv3 *s);
/* smmuv3_cmdq_drop_resumes() and smmuv3_cmdq_drain() of all queues. The first error. */
int smmuv3_ecmdqs_drop_resumes(struct smmuv3 *s);
int smmuv3_ecmdqs_drain(struct smmuv3 *s);
/* Wait until all commands posted so far are consumed. As smmuv3_cmdq_sync(). */
int smmuv3_ecmdqs_sync(struct smmuv3 *s);

/* The check: repair queues, move backlogs to them. False: a queue is stuck. */
bool smmuv3_ecmdqs_check(struct smmuv3 *s);
bool smmuv3_ecmdqs_have_backlog(struct smmuv3 *s);

/* GERROR.CMDQP_ERR is active: acknowledge it. Owner of the CMDQ. */
void smmuv3_ecmdqs_note_error(struct smmuv3 *s);
/* Repair the queues that have an error, if one was noted. Owner of none. */
void smmuv3_ecmdqs_repair(struct smmuv3 *s);

/*
 * Steps of a recovery. Each is called until it returns true, and does not wait.
 *	divert		answers to stalls are dropped from here on
 *	have_passed	the answers sent before are consumed
 *	undivert	the answers to old stalls have left the backlogs; later ones are for new
 *			stalls
 */
bool smmuv3_ecmdqs_divert(struct smmuv3 *s);
bool smmuv3_ecmdqs_have_passed(struct smmuv3 *s);
bool smmuv3_ecmdqs_undivert(struct smmuv3 *s);

struct smmuv3_cmdq *smmuv3_ecmdq_of_thread(struct smmuv3 *s);

/* The queue for RESUMEs and TLBIs of this thread. */
static inline struct smmuv3_cmdq *
smmuv3_thread_cmdq(struct smmuv3 *s)
{
	return likely(s->nb_ecmdqs == 0) ? &s->cmdq : smmuv3_ecmdq_of_thread(s);
}

#endif /* SMMUV3_ECMDQ_H */
