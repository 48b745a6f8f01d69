/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Creation of a model, and its control calls. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_command.h"
#include "model_dma.h"
#include "model_ecmdq.h"
#include "model_endpoint.h"
#include "model_flight.h"
#include "model_frames.h"
#include "model_idr.h"
#include "model_power.h"
#include "model_pri.h"
#include "model_resume.h"
#include "model_stall.h"
#include "model_tlb.h"
#include "model_win.h"

#define HARSH_ALL	(SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE |			\
			SMMUV3_MODEL_HARSH_FLIGHT | SMMUV3_MODEL_HARSH_PREFETCH |		\
			SMMUV3_MODEL_HARSH_SLOW_ATC | SMMUV3_MODEL_HARSH_RANDOM)

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct smmuv3_model *registry;

static void
be_smmu_off(void *be)
{
	struct smmuv3_model *m = be;

	smmuv3_flight_land_all(m);
	smmuv3_stalls_end_all(m);
}

static void
be_smmu_on(void *be)
{
	struct smmuv3_model *m = be;

	/* Contexts depend on STRTAB_BASE and CR2. The caches keep their contents [3.21]. */
	m->cfg_gen++;
}

static void
be_publish(void *be)
{
	smmuv3_stall_publish(be);
}

static void
be_publish_pri(void *be)
{
	smmuv3_pri_publish(be);
}

static const struct smmuv3_fe_ops be_ops = {
	.command = smmuv3_be_execute,
	.sync = smmuv3_be_sync,
	.smmu_off = be_smmu_off,
	.smmu_on = be_smmu_on,
	.publish = be_publish,
	.publish_pri = be_publish_pri,
};

static int
registry_add(struct smmuv3_model *m, const char *name)
{
	struct smmuv3_model *other;
	int ret = 0;

	m->name_copy = strdup(name);
	if (m->name_copy == NULL)
		return ENOMEM;
	pthread_mutex_lock(&registry_lock);
	for (other = registry; other != NULL; other = other->reg_next)
		if (strcmp(other->name, name) == 0)
			ret = EEXIST;
	if (ret == 0) {
		m->name = m->name_copy;
		m->reg_next = registry;
		registry = m;
	}
	pthread_mutex_unlock(&registry_lock);
	return ret;
}

static void
registry_del(struct smmuv3_model *m)
{
	struct smmuv3_model **link;

	if (m->name == NULL)
		return;
	pthread_mutex_lock(&registry_lock);
	for (link = &registry; *link != m; link = &(*link)->reg_next)
		;
	*link = m->reg_next;
	pthread_mutex_unlock(&registry_lock);
}

struct smmuv3_model *
smmuv3_model_lookup(const char *name)
{
	struct smmuv3_model *m;

	if (name == NULL)
		return NULL;
	pthread_mutex_lock(&registry_lock);
	for (m = registry; m != NULL && strcmp(m->name, name) != 0; m = m->reg_next)
		;
	pthread_mutex_unlock(&registry_lock);
	return m;
}

static void
model_free(struct smmuv3_model *m)
{
	while (m->all != NULL) {
		struct smmuv3_model_dma *next = m->all->all_next;

		smmuv3_dma_free(m->all);
		m->all = next;
	}
	smmuv3_ep_free_all(m);
	smmuv3_tlb_fini(&m->tlb);
	smmuv3_tlb_fini(&m->tlb2);
	smmuv3_frames_fini(&m->frames);
	free(m->cfg.entry);
	free(m->inval.pending);
	free(m->stall);
	free(m->stag_fifo);
	smmuv3_fe_free_regs(&m->fe);
	free(m->fe.ecmdq);
	free(m->name_copy);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static uint32_t
harsh_bits(uint32_t harsh, uint64_t rand)
{
	static const uint32_t stags[] = { 0, SMMUV3_MODEL_HARSH_STAG_LIFO,
		SMMUV3_MODEL_HARSH_STAG_RANDOM };
	const uint32_t any = SMMUV3_MODEL_HARSH_STAG_LIFO | SMMUV3_MODEL_HARSH_STAG_RANDOM;

	if (!(harsh & SMMUV3_MODEL_HARSH_ALL))
		return harsh;
	if (!(harsh & any))
		harsh |= stags[(rand >> 32) % 3];
	return harsh | HARSH_ALL;
}

struct smmuv3_model *
smmuv3_model_create(const struct smmuv3_model_conf *conf)
{
	static const struct smmuv3_model_conf dflt;
	struct smmuv3_model *m;
	unsigned int tlb_log2;
	int err = EINVAL;

	if (conf == NULL)
		conf = &dflt;
	m = calloc(1, sizeof(*m));
	if (m == NULL)
		return NULL;
	pthread_mutex_init(&m->lock, NULL);
	smmuv3_frames_init(&m->frames, &m->oracle.log);
	m->choices = conf->choices;
	m->no_features = conf->no_features;
	m->features = conf->features;
	m->rand = (conf->seed == 0 ? 1 : conf->seed) * UINT64_C(0x9e3779b97f4a7c15);
	m->harsh = harsh_bits(conf->harsh, m->rand);
	m->atc_timeout_ms = conf->atc_timeout_ms;
	if (!smmuv3_ids_make(conf, &m->fe.ids) ||
			!smmuv3_conf_pick(conf->tlb_log2, 12, 20, false, &tlb_log2))
		goto fail;
	m->sid_bits = SMMUV3_GET(SMMUV3_IDR1_SIDSIZE, m->fe.ids.idr1);
	m->ssid_bits = SMMUV3_GET(SMMUV3_IDR1_SSIDSIZE, m->fe.ids.idr1);
	m->oas_bits = smmuv3_oas_bits(SMMUV3_GET(SMMUV3_IDR5_OAS, m->fe.ids.idr5));
	m->stall_max = SMMUV3_GET(SMMUV3_IDR5_STALL_MAX, m->fe.ids.idr5);
	err = smmuv3_fe_take_regs(&m->fe, conf);
	if (err != 0)
		goto fail;
	err = ENOMEM;
	if (smmuv3_fe_init_ecmdqs(&m->fe) < 0 ||
			smmuv3_tlb_init(&m->tlb, tlb_log2) < 0 ||
			(m->features & SMMUV3_MODEL_S2 &&
			 smmuv3_tlb_init(&m->tlb2, tlb_log2) < 0) || smmuv3_stall_init(m) < 0)
		goto fail;
	m->fe.ops = &be_ops;
	m->fe.be = m;
	m->fe.wins = &m->wins;
	m->fe.log = &m->driver_log;
	m->fe.stats = &m->stats;
	m->fe.frames = &m->frames;
	m->fe.ack_delay = conf->ack_delay;
	m->fe.choices = conf->choices;
	m->fe.harsh = m->harsh;
	m->fe.rand = &m->rand;
	m->cfg_gen = 1;
	m->wc.gen = 1;
	m->wc2.gen = 1;
	m->ready.last = &m->ready.first;
	m->later.last = &m->later.first;
	m->run_last = &m->run;
	m->flight.list.last = &m->flight.list.first;
	atomic_store_explicit(&m->cpu, -1, memory_order_relaxed);
	for (unsigned int i = 0; i < SMMUV3_MODEL_NB_IRQS; i++)
		atomic_store_explicit(&m->fe.irq_fd[i], -1, memory_order_relaxed);
	smmuv3_fe_reset(&m->fe, false);
	if (conf->name != NULL) {
		err = registry_add(m, conf->name);
		if (err != 0)
			goto fail;
	}
	return m;
fail:
	model_free(m);
	errno = err;
	return NULL;
}

void
smmuv3_model_destroy(struct smmuv3_model *m)
{
	if (m == NULL)
		return;
	smmuv3_model_stop(m);
	registry_del(m);
	model_free(m);
}

void *
smmuv3_model_regs(struct smmuv3_model *m)
{
	if (m == NULL)
		return NULL;
	return m->fe.regs;
}

/*
 * Control calls exclude stepping. If a call waits, the model's thread releases the lock and
 * takes it back after all waiting calls have held it.
 */
void
smmuv3_ctl_enter(struct smmuv3_model *m)
{
	atomic_fetch_add_explicit(&m->waiting, 1, memory_order_relaxed);
	pthread_mutex_lock(&m->lock);
}

void
smmuv3_ctl_leave(struct smmuv3_model *m)
{
	atomic_fetch_sub_explicit(&m->waiting, 1, memory_order_relaxed);
	pthread_mutex_unlock(&m->lock);
}

int
smmuv3_model_mem_add(struct smmuv3_model *m, uint64_t addr, void *ptr, size_t len)
{
	uint64_t limit;
	int ret;

	if (m == NULL)
		return -EINVAL;
	limit = UINT64_C(1) << m->oas_bits;
	if (ptr == NULL || len == 0 || addr >= limit || len > limit - addr)
		return -EINVAL;
	smmuv3_ctl_enter(m);
	ret = smmuv3_win_add(&m->wins, addr, ptr, len);
	smmuv3_ctl_leave(m);
	return ret;
}

int
smmuv3_model_mem_del(struct smmuv3_model *m, uint64_t addr)
{
	int ret;

	if (m == NULL)
		return -EINVAL;
	smmuv3_ctl_enter(m);
	ret = smmuv3_win_del(&m->wins, addr);
	smmuv3_ctl_leave(m);
	return ret;
}

size_t
smmuv3_model_regs_size(const struct smmuv3_model *m)
{
	return m != NULL ? m->fe.regs_size : 0;
}

uint32_t
smmuv3_model_harsh(const struct smmuv3_model *m)
{
	return m != NULL ? m->harsh : 0;
}

void
smmuv3_model_irq_fd(struct smmuv3_model *m, enum smmuv3_model_irq irq, int fd)
{
	if (m == NULL)
		return;
	smmuv3_ctl_enter(m);
	if ((unsigned int)irq < SMMUV3_MODEL_NB_IRQS)
		atomic_store_explicit(&m->fe.irq_fd[irq], fd, memory_order_relaxed);
	smmuv3_ctl_leave(m);
}

void
smmuv3_model_irq_unmask(struct smmuv3_model *m, enum smmuv3_model_irq irq)
{
	if (m != NULL && (unsigned int)irq < SMMUV3_MODEL_NB_IRQS)
		atomic_store_explicit(&m->fe.irq_masked[irq], false, memory_order_relaxed);
}

void
smmuv3_model_knob(struct smmuv3_model *m, enum smmuv3_model_knob knob, uint32_t value)
{
	if (m != NULL && (unsigned int)knob < SMMUV3_MODEL_NB_KNOBS)
		atomic_store_explicit(&m->fe.knob[knob], value, memory_order_relaxed);
}
