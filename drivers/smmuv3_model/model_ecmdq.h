/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_ECMDQ_H
#define SMMUV3_MODEL_ECMDQ_H

/*
 * ECMDQs: command queues whose registers are in control pages behind page 1 [3.5.6, 6.2.5]. Each
 * is one more struct smmuv3_fe_cmdq: cmdq.c fetches, checks and executes its commands.
 *
 *	PROD	EN	software enables and disables the queue
 *		ERRACK	software acknowledges an error: ERRACK = ERR
 *		WR	index
 *	CONS	ENACK	the SMMU acknowledges EN
 *		ERR	the SMMU changes it at an error, and stops until ERRACK equals it
 *		ERR_REASON, RD
 *
 * A queue depends neither on CR0.CMDQEN and SMMUEN nor on GERROR: an error of an ECMDQ also
 * activates GERROR.CMDQP_ERR, whose acknowledgement has no effect on the queue [3.5.6.3]. Software
 * may write BASE and CONS while EN = ENACK = 0, and PROD while EN = ENACK. Other writes are
 * reported and undone. These are reported too, and what the SMMU does then is CONSTRAINED
 * UNPREDICTABLE; here it does not consume until ERRACK = ERR:
 *	- ERRACK changes while no error is active;
 *	- the queue is enabled while ERRACK differs from ERR.
 *
 * Queues take turns, the CMDQ among them: none waits for more than a turn of each other queue, and
 * none waits for the SYNC of another. A SYNC covers the commands of its own queue only.
 */

#include "front.h"
#include "model_cmdq.h"

struct smmuv3_fe_ecmdq {
	struct smmuv3_fe_cmdq q;	/* first: ecmdq.c finds the whole from it */
	char name[16];
	uint32_t offset;		/* of its registers */
	/* Lost with the power: the registers as the SMMU knows them. */
	uint64_t base;
	uint32_t prod, cons;
	uint32_t wait;			/* steps until EN is acknowledged */
};

/* The bytes of the control pages; 0 without ECMDQs. */
size_t smmuv3_fe_get_ecmdq_pages_size(const struct smmuv3_fe *f);
/* Allocate the queues that the ID registers name. -1: no memory. */
int smmuv3_fe_init_ecmdqs(struct smmuv3_fe *f);
/* Reset all registers, as smmuv3_fe_reset(). */
void smmuv3_fe_reset_ecmdqs(struct smmuv3_fe *f, bool unknown);
/* Process writes of software. Returns the units of work done. @p full: check all registers. */
unsigned int smmuv3_fe_poll_ecmdqs(struct smmuv3_fe *f, bool full);
/* Has an enabled queue commands that are not consumed? */
bool smmuv3_fe_have_ecmdqs_work(const struct smmuv3_fe *f);

/* For cmdq.c: store CONS; report an error in CONS. */
void smmuv3_fe_ecmdq_store_cons(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q);
void smmuv3_fe_ecmdq_raise(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, enum smmuv3_cerror err);

/* Consume up to @p max commands of all queues, in turns. Returns their number. */
unsigned int smmuv3_fe_consume_in_turns(struct smmuv3_fe *f, unsigned int max);

static inline unsigned int
smmuv3_fe_consume_all(struct smmuv3_fe *f, unsigned int max)
{
	if (__builtin_expect(f->nb_ecmdqs_on == 0, 1))
		return smmuv3_fe_consume_commands(f, max);
	return smmuv3_fe_consume_in_turns(f, max);
}

#endif /* SMMUV3_MODEL_ECMDQ_H */
