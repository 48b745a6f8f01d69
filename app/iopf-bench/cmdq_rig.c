/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_pause.h>

#include "cmdq_suite.h"
#include "suite.h"

#define ENTRIES		(1u << CMDQ_LOG2)
#define ARENA		(64u << 10)
#define WORD_AT		(32u << 10)	/* behind the ring, in a cache line of its own */
#define STEPS_MAX	1000		/* without progress */
#define WAIT_SPIN	64
#define TIMEOUT_NS	1e10		/* other programs may use the CPU of the SMMU's thread */
#define WAIT_STEPS	16

void
cmdq_wait_begin(const struct cmdq_rig *rig, struct cmdq_wait *w)
{
	w->left = (uint64_t)(TIMEOUT_NS * rig->cycles_per_ns);
	w->last = rte_get_tsc_cycles();
	w->n = 0;
}

bool
cmdq_wait(const struct cmdq_rig *rig, struct cmdq_wait *w)
{
	uint64_t most = (uint64_t)(TIMEOUT_NS * rig->cycles_per_ns) / WAIT_STEPS, now, passed;

	if (++w->n % WAIT_SPIN == 0)
		sched_yield();
	else
		rte_pause();
	/* A thread that was not scheduled for long has given the SMMU no time. */
	now = rte_get_tsc_cycles();
	passed = now - w->last < most ? now - w->last : most;
	w->last = now;
	w->left -= passed < w->left ? passed : w->left;
	return w->left != 0;
}

static __attribute__((format(printf, 2, 3))) void
add_error(struct cmdq_rig *rig, const char *fmt, ...)
{
	va_list ap;

	if (rig->nb_errors++ != 0)
		return;
	va_start(ap, fmt);
	vsnprintf(rig->error, sizeof(rig->error), fmt, ap);
	va_end(ap);
}

static struct cmdq_audit *
find_source(struct cmdq_rig *rig, const struct smmuv3_cmd *cmd, uint64_t id)
{
	if (id >= 1 && id <= CMDQ_MAX_THREADS)
		return &rig->sources[id - 1];
	add_error(rig, "a command of no caller: 0x%016" PRIx64 " 0x%016" PRIx64, cmd->dw[0],
			cmd->dw[1]);
	return NULL;
}

static void
audit_tlbi(struct cmdq_rig *rig, const struct smmuv3_cmd *cmd)
{
	struct cmdq_audit *s = find_source(rig, cmd, SMMUV3_GET(SMMUV3_TLBI0_ASID, cmd->dw[0]));
	uint64_t nb = (cmd->dw[1] & SMMUV3_TLBI1_VA) >> 12;

	rig->tlbis++;
	if (s == NULL)
		return;
	if (nb != s->tlbis)
		add_error(rig, "TLBI %" PRIu64 " of caller %d where %" PRIu64 " was due", nb,
				(int)(s - rig->sources), s->tlbis);
	/* The first TLBI of a call: the CMD_SYNC of the call before was complete. */
	if (nb % rig->tlbis_per_sync == 0 && nb > 0 && s->call_end > rig->consumed)
		add_error(rig, "caller %d went on before its TLBI %" PRIu64 " was executed",
				(int)(s - rig->sources), nb - 1);
	s->tlbis = nb + 1;
	s->call_end = rig->audited + 1;
}

static void
audit_resume(struct cmdq_rig *rig, const struct smmuv3_cmd *cmd)
{
	struct cmdq_audit *s = find_source(rig, cmd, SMMUV3_GET(SMMUV3_CMD0_SID, cmd->dw[0]));
	uint64_t stag = SMMUV3_GET(SMMUV3_RESUME1_STAG, cmd->dw[1]) & ~(uint64_t)CMDQ_STAG_BIT;

	rig->resumes++;
	if (s == NULL)
		return;
	if (stag != s->resumes % CMDQ_STAGS)
		add_error(rig, "RESUME %" PRIu64 " of caller %d where %" PRIu64 " was due", stag,
				(int)(s - rig->sources), s->resumes % CMDQ_STAGS);
	/* The PROD that the caller stored after its stamp was acquired. */
	if (rig->stamps != NULL && stag % CMDQ_BURST == 0)
		hist_add(&rig->ahead, rig->audited - rig->stamps[stag]);
	s->resumes = (s->resumes - s->resumes % CMDQ_STAGS) + stag + 1;
}

static void
audit_cmd(struct cmdq_rig *rig)
{
	const struct smmuv3_cmd cmd = rig->ring[rig->audited % ENTRIES];

	switch (SMMUV3_GET(SMMUV3_CMD0_OP, cmd.dw[0])) {
	case SMMUV3_OP_TLBI_NH_VA:
		audit_tlbi(rig, &cmd);
		break;
	case SMMUV3_OP_RESUME:
		audit_resume(rig, &cmd);
		break;
	case SMMUV3_OP_SYNC:
		rig->syncs++;
		break;
	default:
		add_error(rig, "an unknown command: 0x%016" PRIx64 " 0x%016" PRIx64, cmd.dw[0],
				cmd.dw[1]);
	}
	rig->audited++;
}

/* Execute what was audited, and nothing else. False: the model has stopped. */
static bool
execute(struct cmdq_rig *rig)
{
	unsigned int idle = 0;
	uint32_t cons, n;

	while (rig->consumed != rig->audited) {
		smmuv3_model_step(rig->model, (unsigned int)(rig->audited - rig->consumed));
		cons = smmuv3_read32(rig->regs, SMMUV3_CMDQ_CONS);
		n = smmuv3_q_count(CMDQ_LOG2, cons, (uint32_t)rig->consumed);
		if (n > rig->audited - rig->consumed || (n == 0 && ++idle == STEPS_MAX)) {
			add_error(rig, "CMDQ_CONS 0x%x after %" PRIu64 " commands: the SMMU has "
					"stopped", cons, rig->consumed);
			return false;
		}
		rig->consumed += n;
	}
	atomic_store_explicit(&rig->shown, rig->consumed, memory_order_relaxed);
	atomic_store_explicit(&rig->answered, rig->resumes, memory_order_relaxed);
	return true;
}

/* The callers have no other CPU: only in tests. */
static bool
has_one_cpu(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) == 1;
}

static void *
smmu_main(void *arg)
{
	struct cmdq_rig *rig = arg;
	bool stopping, shared = has_one_cpu();
	uint32_t n;

	bench_pin_thread("smmu", rig->conf->cpu_model);
	for (;;) {
		/* Acquires the release of cmdq_rig_close(): PROD is the last one. */
		stopping = atomic_load_explicit(&rig->stop, memory_order_acquire);
		n = smmuv3_q_count(CMDQ_LOG2, smmuv3_load_prod(rig->regs, SMMUV3_CMDQ_PROD),
				(uint32_t)rig->audited);
		if (n > ENTRIES) {
			add_error(rig, "CMDQ_PROD 0x%x moved back, or beyond CMDQ_CONS",
					smmuv3_read32(rig->regs, SMMUV3_CMDQ_PROD));
			return NULL;
		}
		if (n == 0 && stopping)
			return NULL;
		/* Other threads of this CPU, if any, are not of this program: no yield to them. */
		if (n == 0 && !shared)
			rte_pause();
		else if (n == 0)
			sched_yield();
		for (; n > 0; n--)
			audit_cmd(rig);
		if (!execute(rig))
			return NULL;
	}
}

void
cmdq_rig_write_regs(struct cmdq_rig *rig)
{
	smmuv3_write64(rig->regs, SMMUV3_CMDQ_BASE, SMMUV3_Q_BASE_RWA |
			((uintptr_t)rig->ring & SMMUV3_Q_BASE_ADDR) |
			SMMUV3_PUT(SMMUV3_Q_BASE_LOG2SIZE, CMDQ_LOG2));
	smmuv3_write32(rig->regs, SMMUV3_CMDQ_PROD, 0);
	smmuv3_write32(rig->regs, SMMUV3_CMDQ_CONS, 0);
}

static int
open_model(struct cmdq_rig *rig)
{
	rig->model = smmuv3_model_create(&(struct smmuv3_model_conf){ .cmdq_log2 = CMDQ_LOG2,
			.stall_max = 8, .tlb_log2 = 6 });
	rig->arena = aligned_alloc(ARENA, ARENA);
	if (rig->model == NULL || rig->arena == NULL) {
		bench_error("no memory for a model and its queue");
		return -ENOMEM;
	}
	memset(rig->arena, 0, ARENA);
	rig->regs = smmuv3_model_regs(rig->model);
	rig->ring = rig->arena;
	rig->word = (smmuv3_reg32_t *)(void *)((char *)rig->arena + WORD_AT);
	return smmuv3_model_mem_add(rig->model, (uintptr_t)rig->arena, rig->arena, ARENA);
}

static int
enable_queue(struct cmdq_rig *rig)
{
	unsigned int i;

	smmuv3_write32(rig->regs, SMMUV3_CR1, SMMUV3_PUT(SMMUV3_CR1_QUEUE_IC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_QUEUE_OC, SMMUV3_CR1_WB) |
			SMMUV3_PUT(SMMUV3_CR1_QUEUE_SH, SMMUV3_SH_ISH));
	smmuv3_write32(rig->regs, SMMUV3_CR0, SMMUV3_CR0_CMDQEN);
	for (i = 0; i < STEPS_MAX; i++) {
		if (smmuv3_load_status(rig->regs, SMMUV3_CR0ACK) == SMMUV3_CR0_CMDQEN)
			return 0;
		smmuv3_model_step(rig->model, 1);
	}
	bench_error("the model does not acknowledge CMDQEN");
	return -EIO;
}

int
cmdq_rig_open(struct cmdq_rig *rig, const struct suite *suite, const struct cmdq_impl *impl,
		unsigned int tlbis_per_sync, uint64_t *stamps)
{
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->conf = suite->conf;
	rig->cycles_per_ns = suite->cycles_per_ns;
	rig->impl = impl;
	rig->tlbis_per_sync = tlbis_per_sync;
	rig->stamps = stamps;
	ret = open_model(rig);
	if (ret < 0)
		return ret;
	rig->queue = impl->open(rig);
	if (rig->queue == NULL)
		return -ENOMEM;
	ret = enable_queue(rig);
	if (ret < 0)
		return ret;
	ret = pthread_create(&rig->thread, NULL, smmu_main, rig);
	if (ret != 0) {
		bench_error("cannot start a thread: %s", strerror(ret));
		return -ret;
	}
	rig->started = true;
	return 0;
}

static int
check(const struct cmdq_rig *rig)
{
	if (rig->nb_errors != 0) {
		bench_error("%s: %u errors, the first: %s", rig->impl->name, rig->nb_errors,
				rig->error);
		return -EIO;
	}
	if (smmuv3_model_driver_errors(rig->model) != 0) {
		bench_error("%s: %u driver errors, the first: %s", rig->impl->name,
				smmuv3_model_driver_errors(rig->model),
				smmuv3_model_driver_error(rig->model, 0));
		return -EIO;
	}
	if (smmuv3_model_stat(rig->model, SMMUV3_MODEL_STAT_COMMANDS) != rig->audited) {
		bench_error("%s: the SMMU has executed %" PRIu64 " of %" PRIu64 " commands",
				rig->impl->name, smmuv3_model_stat(rig->model,
				SMMUV3_MODEL_STAT_COMMANDS), rig->audited);
		return -EIO;
	}
	return 0;
}

int
cmdq_rig_close(struct cmdq_rig *rig, int ret)
{
	if (rig->started) {
		int left = rig->impl->finish(rig->queue);

		if (left < 0 && ret == 0) {
			bench_error("%s: commands are left: %s", rig->impl->name, strerror(-left));
			ret = left;
		}
		atomic_store_explicit(&rig->stop, true, memory_order_release);
		pthread_join(rig->thread, NULL);
		if (ret == 0)
			ret = check(rig);
		else if (rig->nb_errors != 0)
			check(rig);
	}
	if (rig->queue != NULL)
		rig->impl->close(rig->queue);
	smmuv3_model_destroy(rig->model);
	free(rig->arena);
	return ret;
}
