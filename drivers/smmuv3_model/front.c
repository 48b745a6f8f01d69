/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The front end for a VMM (smmuv3_front.h): its operations are another back end. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "front.h"
#include "model_cmdq.h"
#include "model_evtq.h"
#include "model_frames.h"
#include "model_idr.h"
#include "model_log.h"
#include "model_power.h"
#include "model_priq.h"
#include "model_win.h"
#include "smmuv3_front.h"

#define SMALL_PAGE	4096

struct smmuv3_front {
	struct smmuv3_fe fe;
	struct smmuv3_wins wins;
	struct smmuv3_log log;
	struct smmuv3_stats stats;
	struct smmuv3_frames frames;	/* none is ever given */
	uint64_t rand;
	unsigned int oas_bits;
	unsigned int win;
	const struct smmuv3_front_ops *ops;
	void *ctx;
};

static_assert(sizeof(struct smmuv3_front_cmd) == sizeof(struct smmuv3_cmd), "one command");
static_assert((int)SMMUV3_FRONT_ILL == SMMUV3_CERROR_ILL, "CMDQ_CONS.ERR");
static_assert((int)SMMUV3_FRONT_ABT == SMMUV3_CERROR_ABT, "CMDQ_CONS.ERR");
static_assert(SMMUV3_FRONT_MAX_CMDS == SMMUV3_FE_MAX_RUN, "an array is a run");

static unsigned int
be_commands(void *be, const struct smmuv3_cmd *cmds, unsigned int n, enum smmuv3_cerror *err)
{
	enum smmuv3_front_error error = SMMUV3_FRONT_ILL;
	struct smmuv3_front_cmd copy[SMMUV3_FRONT_MAX_CMDS];
	struct smmuv3_front *f = be;
	unsigned int done;

	for (unsigned int i = 0; i < n; i++)
		copy[i] = (struct smmuv3_front_cmd){ .dw = { cmds[i].dw[0], cmds[i].dw[1] } };
	done = f->ops->commands(f->ctx, copy, n, &error);
	*err = error == SMMUV3_FRONT_ABT ? SMMUV3_CERROR_ABT : SMMUV3_CERROR_ILL;
	return done < n ? done : n;
}

static enum smmuv3_fe_sync
be_sync(void *be, unsigned int queue)
{
	struct smmuv3_front *f = be;

	(void)queue;
	switch (f->ops->sync(f->ctx)) {
	case SMMUV3_FRONT_WAIT:
		return SMMUV3_FE_SYNC_WAIT;
	case SMMUV3_FRONT_ATC:
		return SMMUV3_FE_SYNC_FAILED;
	default:
		return SMMUV3_FE_SYNC_DONE;
	}
}

static void
be_on(void *be)
{
	struct smmuv3_front *f = be;

	f->ops->on(f->ctx);
}

static void
be_off(void *be)
{
	struct smmuv3_front *f = be;

	f->ops->off(f->ctx);
}

/* Records are published one by one, and nothing else waits for that. */
static void
be_publish(void *be)
{
	(void)be;
}

static const struct smmuv3_fe_ops be_ops = {
	.commands = be_commands,
	.sync = be_sync,
	.smmu_on = be_on,
	.smmu_off = be_off,
	.publish = be_publish,
	.publish_pri = be_publish,
};

static bool
is_conf_good(const struct smmuv3_front_conf *conf)
{
	const struct smmuv3_model_conf *c = &conf->smmu;

	return conf->ops != NULL && conf->ops->commands != NULL && conf->ops->sync != NULL &&
		conf->ops->on != NULL && conf->ops->off != NULL && c->name == NULL &&
		c->harsh == 0 && c->seed == 0 && c->tlb_log2 == 0 && c->atc_timeout_ms == 0 &&
		!(c->choices & ~SMMUV3_MODEL_LAX_RES0) && !(c->features & SMMUV3_MODEL_ECMDQ);
}

struct smmuv3_front *
smmuv3_front_create(const struct smmuv3_front_conf *conf)
{
	struct smmuv3_front *f;
	int err = EINVAL;

	if (conf == NULL || !is_conf_good(conf)) {
		errno = EINVAL;
		return NULL;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return NULL;
	smmuv3_frames_init(&f->frames, &f->log);
	if (!smmuv3_ids_make(&conf->smmu, &f->fe.ids))
		goto fail;
	err = smmuv3_fe_take_regs(&f->fe, &conf->smmu);
	if (err != 0)
		goto fail;
	f->oas_bits = smmuv3_oas_bits(SMMUV3_GET(SMMUV3_IDR5_OAS, f->fe.ids.idr5));
	f->rand = 1;
	f->ops = conf->ops;
	f->ctx = conf->ctx;
	f->fe.ops = &be_ops;
	f->fe.be = f;
	f->fe.wins = &f->wins;
	f->fe.log = &f->log;
	f->fe.stats = &f->stats;
	f->fe.frames = &f->frames;
	f->fe.ack_delay = conf->smmu.ack_delay;
	f->fe.choices = conf->smmu.choices;
	f->fe.rand = &f->rand;
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_IRQS; i++)
		atomic_store_explicit(&f->fe.irq_fd[i], -1, memory_order_relaxed);
	smmuv3_fe_reset(&f->fe, false);
	return f;
fail:
	smmuv3_frames_fini(&f->frames);
	free(f);
	errno = err;
	return NULL;
}

void
smmuv3_front_destroy(struct smmuv3_front *f)
{
	if (f == NULL)
		return;
	smmuv3_fe_free_regs(&f->fe);
	smmuv3_frames_fini(&f->frames);
	free(f);
}

void
smmuv3_front_reset(struct smmuv3_front *f)
{
	if (f != NULL) {
		smmuv3_fe_forget(&f->fe);
		memset(f->fe.regs, 0, f->fe.regs_size);
		smmuv3_fe_reset(&f->fe, false);
	}
}

void *
smmuv3_front_regs(struct smmuv3_front *f)
{
	return f != NULL ? f->fe.regs : NULL;
}

int
smmuv3_front_mem_add(struct smmuv3_front *f, uint64_t addr, void *ptr, size_t len)
{
	uint64_t limit;

	if (f == NULL)
		return -EINVAL;
	limit = UINT64_C(1) << f->oas_bits;
	if (ptr == NULL || len == 0 || addr >= limit || len > limit - addr ||
			((uintptr_t)ptr | addr | len) % SMALL_PAGE != 0)
		return -EINVAL;
	return smmuv3_win_add(&f->wins, addr, ptr, len);
}

unsigned int
smmuv3_front_step(struct smmuv3_front *f, unsigned int budget)
{
	unsigned int n;

	if (f == NULL)
		return 0;
	n = smmuv3_fe_poll_regs(&f->fe, true);
	return n + (budget != 0 ? smmuv3_fe_consume_commands(&f->fe, budget) : 0);
}

int
smmuv3_front_event(struct smmuv3_front *f, const uint64_t record[4])
{
	enum smmuv3_fe_put put;
	struct smmuv3_evt evt;
	bool writable;

	if (f == NULL || record == NULL)
		return -EINVAL;
	evt = (struct smmuv3_evt){ .dw = { record[0], record[1], record[2], record[3] } };
	writable = smmuv3_fe_evtq_is_writable(&f->fe);
	if (!writable) {
		if (evt.dw[1] & SMMUV3_EVT1_STALL)
			return -EAGAIN;
		smmuv3_fe_evt_report(&f->fe, &evt);
		return -ENOSPC;
	}
	put = smmuv3_fe_evt_put(&f->fe, &evt);
	/* PROD may pass an entry whose write aborts late [7.2]. */
	smmuv3_fe_evtq_publish(&f->fe);
	return put == SMMUV3_FE_PUT_OK ? 0 : -EIO;
}

int
smmuv3_front_request(struct smmuv3_front *f, const uint64_t record[2])
{
	struct smmuv3_ppr ppr;

	if (f == NULL || record == NULL)
		return -EINVAL;
	ppr = (struct smmuv3_ppr){ .dw = { record[0], record[1] } };
	switch (smmuv3_fe_ppr_put(&f->fe, &ppr)) {
	case SMMUV3_FE_PPR_PUT:
		smmuv3_fe_priq_publish(&f->fe);
		return 0;
	case SMMUV3_FE_PPR_OVERFLOW:
		return -ENOSPC;
	case SMMUV3_FE_PPR_OFF:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

void
smmuv3_front_irq_fd(struct smmuv3_front *f, enum smmuv3_model_irq irq, int fd)
{
	if (f != NULL && (unsigned int)irq < SMMUV3_MODEL_NB_IRQS)
		atomic_store_explicit(&f->fe.irq_fd[irq], fd, memory_order_relaxed);
}

bool
smmuv3_front_is_on(const struct smmuv3_front *f)
{
	return f != NULL && smmuv3_fe_is_on(&f->fe, SMMUV3_CR0_SMMUEN);
}

bool
smmuv3_front_bypasses(const struct smmuv3_front *f)
{
	return f != NULL && !smmuv3_front_is_on(f) && !(f->fe.gbpa & SMMUV3_GBPA_ABORT);
}

void
smmuv3_front_strtab(const struct smmuv3_front *f, uint64_t *base, uint32_t *cfg)
{
	if (base != NULL)
		*base = f != NULL ? f->fe.val[SMMUV3_FE_STRTAB_BASE] : 0;
	if (cfg != NULL)
		*cfg = f != NULL ? (uint32_t)f->fe.val[SMMUV3_FE_STRTAB_BASE_CFG] : 0;
}

bool
smmuv3_front_records_sids(const struct smmuv3_front *f)
{
	return f != NULL && f->fe.val[SMMUV3_FE_CR2] & SMMUV3_CR2_RECINVSID;
}

int
smmuv3_front_read(struct smmuv3_front *f, uint64_t addr, void *buf, size_t len)
{
	const uint64_t *from;
	uint64_t *to = buf;

	if (f == NULL || buf == NULL || (addr | len) % sizeof(*to) != 0)
		return -EINVAL;
	from = smmuv3_win_find(&f->wins, &f->win, addr, len);
	if (from == NULL)
		return -EFAULT;
	for (size_t i = 0; i < len / sizeof(*to); i++)
		to[i] = smmuv3_get_dw(&from[i]);
	return 0;
}

unsigned int
smmuv3_front_errors(const struct smmuv3_front *f)
{
	return f == NULL ? 0 : atomic_load_explicit(&f->log.nb, memory_order_relaxed);
}

const char *
smmuv3_front_error(const struct smmuv3_front *f, unsigned int i)
{
	return f == NULL ? NULL : smmuv3_log_text(&f->log, i);
}

void
smmuv3_front_knob(struct smmuv3_front *f, enum smmuv3_model_knob knob, uint32_t value)
{
	if (f != NULL && (unsigned int)knob < SMMUV3_MODEL_NB_KNOBS)
		atomic_store_explicit(&f->fe.knob[knob], value, memory_order_relaxed);
}

void
smmuv3_front_errors_clear(struct smmuv3_front *f)
{
	if (f != NULL)
		atomic_store_explicit(&f->log.nb, 0, memory_order_relaxed);
}

uint64_t
smmuv3_front_stat(const struct smmuv3_front *f, enum smmuv3_model_stat stat)
{
	if (f == NULL || (unsigned int)stat >= SMMUV3_MODEL_NB_STATS)
		return 0;
	return atomic_load_explicit(&f->stats.n[stat], memory_order_relaxed);
}
