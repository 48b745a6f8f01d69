/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Command queues: fetch, legality, SYNC, errors [3.5.1, 4, 7.1]. */

#include "front.h"
#include "model_cmdq.h"
#include "model_ecmdq.h"
#include "model_gerror.h"
#include "model_irq.h"
#include "model_log.h"
#include "model_win.h"

/* Commands in a cache line of 64 bytes, and commands that are prefetched at most. */
#define LINE_CMDS	4
#define MAX_PREFETCH	64

#define C0_COMMON	(SMMUV3_CMD0_OP | SMMUV3_CMD0_SSEC)
#define C0_VMID		SMMUV3_TLBI0_VMID	/* 8 bits with VMID16 = 0 */
#define C1_IPA		(SMMUV3_TLBI1_LEAF | C1_RANGE | SMMUV3_BITS(51, 12))
#define C0_VMID_HIGH	SMMUV3_BITS(47, 40)
#define C0_RANGE	(SMMUV3_TLBI0_NUM | SMMUV3_TLBI0_SCALE)
#define C1_RANGE	(SMMUV3_TLBI1_TTL | SMMUV3_TLBI1_TG)
#define C1_VA		(SMMUV3_TLBI1_LEAF | C1_RANGE | SMMUV3_TLBI1_VA)

/* The bits of each command; all others are RES0. A command that is not listed is illegal. */
static const struct cmd_info {
	bool known;
	uint64_t dw0, dw1;
} cmd_info[256] = {
#define CMD(op, dw0, dw1) [SMMUV3_OP_ ## op] = { true, dw0, dw1 }
	CMD(PREFETCH_CONFIG, SMMUV3_CMD0_SSV | SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID, 0),
	CMD(PREFETCH_ADDR, SMMUV3_CMD0_SSV | SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID,
			SMMUV3_BITS(9, 0) | SMMUV3_BITS(63, 12)),
	CMD(CFGI_STE, SMMUV3_CMD0_SID, SMMUV3_CFGI1_LEAF),
	CMD(CFGI_STE_RANGE, SMMUV3_CMD0_SID, SMMUV3_CFGI1_RANGE),
	CMD(CFGI_CD, SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID, SMMUV3_CFGI1_LEAF),
	CMD(CFGI_CD_ALL, SMMUV3_CMD0_SID, 0),
	CMD(TLBI_NH_ALL, C0_VMID, 0),
	CMD(TLBI_NH_ASID, C0_VMID | SMMUV3_TLBI0_ASID, 0),
	CMD(TLBI_NH_VA, C0_RANGE | C0_VMID | SMMUV3_TLBI0_ASID, C1_VA),
	CMD(TLBI_NH_VAA, C0_RANGE | C0_VMID, C1_VA),
	CMD(TLBI_S12_VMALL, C0_VMID, 0),
	CMD(TLBI_S2_IPA, C0_RANGE | C0_VMID, C1_IPA),
	CMD(TLBI_NSNH_ALL, 0, 0),
	CMD(ATC_INV, SMMUV3_CMD0_SSV | SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID | SMMUV3_ATC0_GLOBAL,
			SMMUV3_ATC1_SIZE | SMMUV3_ATC1_ADDR),
	CMD(PRI_RESP, SMMUV3_CMD0_SSV | SMMUV3_CMD0_SSID | SMMUV3_CMD0_SID,
			SMMUV3_PRI1_PRGINDEX | SMMUV3_PRI1_RESP),
	CMD(RESUME, SMMUV3_RESUME0_AC | SMMUV3_RESUME0_AB | SMMUV3_CMD0_SID, SMMUV3_RESUME1_STAG),
	CMD(STALL_TERM, SMMUV3_CMD0_SID, 0),
	CMD(SYNC, SMMUV3_SYNC0_CS | SMMUV3_SYNC0_MSH | SMMUV3_SYNC0_MSIATTR |
			SMMUV3_SYNC0_MSIDATA, SMMUV3_SYNC1_MSIADDR),
#undef CMD
};

void
smmuv3_fe_cmdq_begin(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, uint64_t base, uint32_t cons)
{
	uint32_t max = SMMUV3_GET(SMMUV3_IDR1_CMDQS, f->val[SMMUV3_FE_IDR1]);
	uint64_t size;

	q->log2 = SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base);
	if (q->log2 > max)
		q->log2 = max;
	size = sizeof(struct smmuv3_cmd) << q->log2;
	if (size < 32)
		size = 32;
	q->base = base & SMMUV3_Q_BASE_ADDR & ~(size - 1);
	q->cons = smmuv3_q_pos(q->log2, cons);
	q->prod = q->cons;
	q->stopped = false;
	smmuv3_fe_fetch_drop(q);
}

void
smmuv3_fe_cmdq_enable(struct smmuv3_fe *f)
{
	f->cmdq.name = "CMDQ";
	f->cmdq.prod_offset = SMMUV3_CMDQ_PROD;
	smmuv3_fe_cmdq_begin(f, &f->cmdq, f->val[SMMUV3_FE_CMDQ_BASE],
			(uint32_t)f->val[SMMUV3_FE_CMDQ_CONS]);
}

/* The range fields of a TLBI by address [4.4.1.1]. */
static bool
is_tlbi_range_legal(const struct smmuv3_fe *f, const struct smmuv3_cmd *cmd)
{
	unsigned int tg = SMMUV3_GET(SMMUV3_TLBI1_TG, cmd->dw[1]);
	unsigned int ttl = SMMUV3_GET(SMMUV3_TLBI1_TTL, cmd->dw[1]);
	bool ril = f->val[SMMUV3_FE_IDR3] & SMMUV3_IDR3_RIL;
	bool none;

	if (tg == SMMUV3_TLBI_TG_16K && ttl == 1)
		ttl = 0;
	none = !(cmd->dw[0] & C0_RANGE) && ttl == 0;
	if (!ril)
		return (f->choices & SMMUV3_MODEL_LAX_RES0) || (none && tg == 0);
	if (tg == SMMUV3_TLBI_TG_NONE)
		return (f->choices & SMMUV3_MODEL_LAX_RES0) || none;
	return !none;
}

/* Does the command have a VMID? */
static bool
is_tlbi_by_vmid(uint8_t op)
{
	return op >= SMMUV3_OP_TLBI_NH_ALL && op <= SMMUV3_OP_TLBI_S2_IPA;
}

static bool
is_cmd_legal(const struct smmuv3_fe *f, const struct smmuv3_cmd *cmd)
{
	uint8_t op = (uint8_t)SMMUV3_GET(SMMUV3_CMD0_OP, cmd->dw[0]);
	const struct cmd_info *info = &cmd_info[op];
	uint64_t idr0 = f->val[SMMUV3_FE_IDR0];
	uint64_t dw0 = info->dw0 | C0_COMMON;

	if (!info->known || cmd->dw[0] & SMMUV3_CMD0_SSEC)
		return false;
	switch (op) {
	case SMMUV3_OP_RESUME:
	case SMMUV3_OP_STALL_TERM:
		if (SMMUV3_GET(SMMUV3_IDR0_STALL_MODEL, idr0) == SMMUV3_STALL_MODEL_TERM)
			return false;
		break;
	case SMMUV3_OP_ATC_INV:
		if (!(idr0 & SMMUV3_IDR0_ATS) || SMMUV3_GET(SMMUV3_ATC1_SIZE, cmd->dw[1]) >
				SMMUV3_ATC_SIZE_ALL)
			return false;
		break;
	case SMMUV3_OP_PRI_RESP:
		if (!(idr0 & SMMUV3_IDR0_PRI) || SMMUV3_GET(SMMUV3_PRI1_RESP, cmd->dw[1]) == 3)
			return false;
		break;
	case SMMUV3_OP_SYNC:
		if (SMMUV3_GET(SMMUV3_SYNC0_CS, cmd->dw[0]) == 3)
			return false;
		break;
	case SMMUV3_OP_TLBI_S2_IPA:
	case SMMUV3_OP_TLBI_S12_VMALL:
		if (!(idr0 & SMMUV3_IDR0_S2P))
			return false;
		if (op == SMMUV3_OP_TLBI_S12_VMALL)
			break;
		/* fall through */
	case SMMUV3_OP_TLBI_NH_VA:
	case SMMUV3_OP_TLBI_NH_VAA:
		if (!is_tlbi_range_legal(f, cmd))
			return false;
		/* fall through */
	case SMMUV3_OP_TLBI_NH_ASID:
		if (!(idr0 & SMMUV3_IDR0_ASID16))
			dw0 &= ~SMMUV3_BITS(63, 56);
		break;
	}
	if (f->choices & SMMUV3_MODEL_LAX_RES0)
		return true;
	if (is_tlbi_by_vmid(op) && !(idr0 & SMMUV3_IDR0_VMID16))
		dw0 &= ~C0_VMID_HIGH;
	return !(cmd->dw[0] & ~dw0) && !(cmd->dw[1] & ~info->dw1);
}

/* False: the SYNC waits. */
static bool
execute_sync(struct smmuv3_fe *f, const struct smmuv3_fe_cmdq *q, const struct smmuv3_cmd *cmd,
		enum smmuv3_cerror *err)
{
	uint64_t addr = cmd->dw[1] & SMMUV3_SYNC1_MSIADDR;

	/* Effects are observable before the signal, and the signal before CONS [4.7.3]. */
	switch (f->ops->sync(f->be, q->id)) {
	case SMMUV3_FE_SYNC_WAIT:
		return false;
	case SMMUV3_FE_SYNC_FAILED:
		*err = SMMUV3_CERROR_ATC_INV_SYNC;
		return true;
	default:
		break;
	}
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_SYNCS);
	if (SMMUV3_GET(SMMUV3_SYNC0_CS, cmd->dw[0]) != SMMUV3_SYNC_CS_IRQ)
		return true;
	if (f->val[SMMUV3_FE_IDR0] & SMMUV3_IDR0_MSI && addr != 0 &&
			!smmuv3_fe_write_msi(f, addr, (uint32_t)SMMUV3_GET(SMMUV3_SYNC0_MSIDATA,
					cmd->dw[0])))
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_MSI_CMDQ_ABT);
	smmuv3_fe_signal_edge(f, SMMUV3_MODEL_IRQ_CMD_SYNC);
	return true;
}

/* CONS points to the command in error and has ERR before GERROR changes [7.1]. */
static void
raise_error(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, enum smmuv3_cerror err)
{
	smmuv3_fe_fetch_drop(q);
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_CERRORS);
	if (q->id != 0) {
		smmuv3_fe_ecmdq_raise(f, q, err);
		/*
		 * One bit for all ECMDQs. Software that acknowledges it and then reads the CONS of
		 * each queue sees this error, or this sees the acknowledgement and sets the bit
		 * again: each stores before its barrier, and loads after it.
		 */
		atomic_thread_fence(memory_order_seq_cst);
		smmuv3_fe_poll_gerrorn(f);
		smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_CMDQP_ERR);
		return;
	}
	smmuv3_fe_store_reg(f, SMMUV3_FE_CMDQ_CONS,
			q->cons | (uint32_t)SMMUV3_PUT(SMMUV3_CMDQ_CONS_ERR, err));
	smmuv3_fe_raise_gerror(f, SMMUV3_GERROR_CMDQ_ERR);
}

/*
 * Load PROD. Software moves it forward only; while the queue has an error it may move it back
 * as far as CONS [3.5.1].
 */
static bool
cmdq_load_prod(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, bool error)
{
	/* Pairs with smmuv3_store_prod(): the commands before PROD are visible. */
	uint32_t prod = smmuv3_q_pos(q->log2, atomic_load_explicit(
			smmuv3_reg32(f->regs, q->prod_offset), memory_order_acquire));

	if (prod == q->prod)
		return true;
	if (!smmuv3_q_legal(q->log2, prod, q->cons)) {
		smmuv3_log_add(f->log, "%s_PROD 0x%x is out of range for CONS 0x%x", q->name,
				prod, q->cons);
		q->stopped = true;
		return false;
	}
	if (!error && smmuv3_q_count(q->log2, prod, q->cons) <
			smmuv3_q_count(q->log2, q->prod, q->cons)) {
		smmuv3_log_add(f->log, "%s_PROD moved back from 0x%x to 0x%x", q->name,
				q->prod, prod);
		q->stopped = true;
		return false;
	}
	q->prod = prod;
	smmuv3_count(f->stats, SMMUV3_MODEL_STAT_CMDQ_BATCHES);
	return true;
}

static inline bool
cmdq_fetch(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, struct smmuv3_cmd *cmd)
{
	if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_CMD_ABORT))
		return false;
	if (__builtin_expect(!(f->harsh & SMMUV3_MODEL_HARSH_PREFETCH), 1))
		return smmuv3_fe_read_command(f, q, q->cons, cmd);
	return smmuv3_fe_fetch_command(f, q, cmd);
}

/*
 * The cache lines of the commands are in the cache of the software's core. Prefetch all of
 * them at once instead of waiting for each.
 */
static void
cmdq_prefetch(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, unsigned int max)
{
	unsigned int n = smmuv3_q_count(q->log2, q->prod, q->cons);

	if (n > max)
		n = max;
	for (unsigned int i = LINE_CMDS; i < n; i += LINE_CMDS) {
		const void *at = smmuv3_win_find(f->wins, &q->win, q->base +
				sizeof(struct smmuv3_cmd) * smmuv3_q_slot(q->log2,
					q->cons + i), sizeof(struct smmuv3_cmd));

		if (at != NULL)
			__builtin_prefetch(at);
	}
}

static bool
is_refused(struct smmuv3_fe *f, const struct smmuv3_cmd *cmd)
{
	return !is_cmd_legal(f, cmd) || smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_CMD_ILL);
}

/* Execute commands one by one. Returns their number; the command at CONS has *err then. */
static unsigned int
consume_each(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, unsigned int max,
		enum smmuv3_cerror *err)
{
	unsigned int n = 0;

	while (n < max && q->prod != q->cons && *err == SMMUV3_CERROR_NONE) {
		struct smmuv3_cmd cmd;

		if (!cmdq_fetch(f, q, &cmd))
			*err = SMMUV3_CERROR_ABT;
		else if (is_refused(f, &cmd))
			*err = SMMUV3_CERROR_ILL;
		else if ((cmd.dw[0] & SMMUV3_CMD0_OP) != SMMUV3_OP_SYNC)
			f->ops->command(f->be, q->id, &cmd);
		else if (!execute_sync(f, q, &cmd, err))
			break;
		if (*err == SMMUV3_CERROR_NONE) {
			q->cons = smmuv3_q_add(q->log2, q->cons, 1);
			n++;
			if (f->harsh & SMMUV3_MODEL_HARSH_PREFETCH &&
					!smmuv3_fe_fetch_advance(f, q))
				break;
		}
	}
	return n;
}

/*
 * The same in runs that end before a SYNC, or before a command with an error. Each command is read
 * once: software may change an entry between its check and its execution.
 */
static unsigned int
consume_runs(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, unsigned int max,
		enum smmuv3_cerror *err)
{
	struct smmuv3_cmd run[SMMUV3_FE_MAX_RUN];
	unsigned int n = 0;

	while (n < max && q->prod != q->cons && *err == SMMUV3_CERROR_NONE) {
		unsigned int left = smmuv3_q_count(q->log2, q->prod, q->cons), nb = 0, done;
		enum smmuv3_cerror next = SMMUV3_CERROR_NONE;
		bool sync = false;

		if (left > max - n)
			left = max - n;
		if (left > SMMUV3_FE_MAX_RUN)
			left = SMMUV3_FE_MAX_RUN;
		for (; nb < left; nb++) {
			if (smmuv3_fe_knob_take(f, SMMUV3_MODEL_KNOB_CMD_ABORT) ||
					!smmuv3_fe_read_command(f, q, q->cons + nb, &run[nb]))
				next = SMMUV3_CERROR_ABT;
			else if (is_refused(f, &run[nb]))
				next = SMMUV3_CERROR_ILL;
			else
				sync = (run[nb].dw[0] & SMMUV3_CMD0_OP) == SMMUV3_OP_SYNC;
			if (sync || next != SMMUV3_CERROR_NONE)
				break;
		}
		done = nb == 0 ? 0 : f->ops->commands(f->be, run, nb, err);
		if (done == nb)
			*err = next;
		if (*err == SMMUV3_CERROR_NONE && sync) {
			if (!execute_sync(f, q, &run[nb], err)) {
				q->cons = smmuv3_q_add(q->log2, q->cons, done);
				return n + done;
			}
			done += *err == SMMUV3_CERROR_NONE;
		}
		q->cons = smmuv3_q_add(q->log2, q->cons, done);
		n += done;
	}
	return n;
}

unsigned int
smmuv3_fe_cmdq_consume(struct smmuv3_fe *f, struct smmuv3_fe_cmdq *q, unsigned int max, bool error)
{
	enum smmuv3_cerror err = SMMUV3_CERROR_NONE;
	unsigned int n;

	if (q->stopped)
		return 0;
	if (!cmdq_load_prod(f, q, error) || q->prod == q->cons || error || f->sfm ||
			smmuv3_fe_knob(f, SMMUV3_MODEL_KNOB_CMDQ_STUCK))
		return 0;
	if (__builtin_expect(f->ops->commands != NULL, 0)) {
		n = consume_runs(f, q, max, &err);
	} else {
		cmdq_prefetch(f, q, max < MAX_PREFETCH ? max : MAX_PREFETCH);
		n = consume_each(f, q, max, &err);
	}
	smmuv3_count_add(f->stats, SMMUV3_MODEL_STAT_COMMANDS, n);
	if (err != SMMUV3_CERROR_NONE) {
		raise_error(f, q, err);
		return n + 1;
	}
	/* Pairs with the producer's smmuv3_load_status(): commands before CONS are consumed. */
	if (__builtin_expect(q->id == 0, 1))
		smmuv3_fe_store_reg(f, SMMUV3_FE_CMDQ_CONS, q->cons);
	else
		smmuv3_fe_ecmdq_store_cons(f, q);
	return n;
}

unsigned int
smmuv3_fe_consume_commands(struct smmuv3_fe *f, unsigned int max)
{
	if (!smmuv3_fe_is_on(f, SMMUV3_CR0_CMDQEN))
		return 0;
	return smmuv3_fe_cmdq_consume(f, &f->cmdq, max,
			smmuv3_fe_is_gerror_active(f, SMMUV3_GERROR_CMDQ_ERR));
}
