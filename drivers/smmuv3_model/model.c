/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Making a model, stepping it, its control calls. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model_cmdq.h"
#include "model_command.h"
#include "model_dma.h"
#include "model_endpoint.h"
#include "model_evtq.h"
#include "model_flight.h"
#include "model_frames.h"
#include "model_irq.h"
#include "model_power.h"
#include "model_pri.h"
#include "model_priq.h"
#include "model_resume.h"
#include "model_slot.h"
#include "model_stall.h"
#include "model_tlb.h"
#include "model_transact.h"
#include "model_win.h"

#define HARSH_ALL	(SMMUV3_MODEL_HARSH_ASIDS | SMMUV3_MODEL_HARSH_LATE |			\
			SMMUV3_MODEL_HARSH_FLIGHT | SMMUV3_MODEL_HARSH_PREFETCH |		\
			SMMUV3_MODEL_HARSH_SLOW_ATC | SMMUV3_MODEL_HARSH_RANDOM)

/* The model whose step this thread is in. */
static _Thread_local const struct smmuv3_model *stepping;

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct smmuv3_model *registry;

bool
smmuv3_inside_step(const struct smmuv3_model *m)
{
	return stepping == m;
}

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

	/* Contexts depend on STRTAB_BASE and CR2; what is cached survives [3.21]. */
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
	.command = smmuv3_be_command,
	.sync = smmuv3_be_sync,
	.smmu_off = be_smmu_off,
	.smmu_on = be_smmu_on,
	.publish = be_publish,
	.publish_pri = be_publish_pri,
};

/* A value of a configuration, where 0 is a default and MAX may mean 0. */
static bool
pick(unsigned int v, unsigned int dflt, unsigned int max, bool none, unsigned int *out)
{
	*out = v == 0 ? dflt : v;
	if (none && v == SMMUV3_MODEL_NONE)
		*out = 0;
	return *out <= max;
}

static bool
ids_make(struct smmuv3_model *m, const struct smmuv3_model_conf *conf,
		struct smmuv3_fe_ids *ids)
{
	static const struct { uint32_t no; uint64_t idr5; } grans[] = {
		{ SMMUV3_MODEL_NO_4K, SMMUV3_IDR5_GRAN4K },
		{ SMMUV3_MODEL_NO_16K, SMMUV3_IDR5_GRAN16K },
		{ SMMUV3_MODEL_NO_64K, SMMUV3_IDR5_GRAN64K },
	};
	unsigned int cmdq, evtq, priq, oas;
	uint32_t no = conf->no_features, with = conf->features;
	uint64_t idr0, idr5;

	if (!pick(conf->sid_bits, 16, 32, false, &m->sid_bits) ||
			!pick(conf->ssid_bits, 16, 20, true, &m->ssid_bits) ||
			!pick(conf->cmdq_log2, 10, 19, true, &cmdq) ||
			!pick(conf->evtq_log2, 10, 19, true, &evtq) ||
			!pick(conf->priq_log2, 10, 19, true, &priq) ||
			!pick(conf->oas_bits, 48, 48, false, &m->oas_bits) ||
			!pick(conf->stall_max, 512, 65535, false, &m->stall_max) ||
			conf->stall_model > 2 || no & ~UINT32_C(0x3ff) ||
			conf->choices & ~UINT32_C(0x1ff) ||
			conf->harsh & ~UINT32_C(0xfff) || with & ~UINT32_C(7) ||
			(with & SMMUV3_MODEL_PRI && !(with & SMMUV3_MODEL_ATS)) ||
			(with & SMMUV3_MODEL_PPS && !(with & SMMUV3_MODEL_PRI)))
		return false;
	for (oas = 0; oas < 6 && smmuv3_oas_bits(oas) != m->oas_bits; oas++)
		;
	if (oas == 6)
		return false;
	idr0 = SMMUV3_IDR0_S1P | SMMUV3_PUT(SMMUV3_IDR0_TTF, SMMUV3_TTF_AARCH64) |
		SMMUV3_PUT(SMMUV3_IDR0_TTENDIAN, SMMUV3_TTENDIAN_LE) |
		SMMUV3_PUT(SMMUV3_IDR0_STALL_MODEL, conf->stall_model) |
		SMMUV3_PUT(SMMUV3_IDR0_TERM_MODEL, !!(no & SMMUV3_MODEL_TERM_ABORT_ONLY)) |
		SMMUV3_PUT(SMMUV3_IDR0_COHACC, !(no & SMMUV3_MODEL_NO_COHACC)) |
		SMMUV3_PUT(SMMUV3_IDR0_ASID16, !(no & SMMUV3_MODEL_NO_ASID16)) |
		SMMUV3_PUT(SMMUV3_IDR0_MSI, !(no & SMMUV3_MODEL_NO_MSI)) |
		SMMUV3_PUT(SMMUV3_IDR0_ATS, !!(with & SMMUV3_MODEL_ATS)) |
		SMMUV3_PUT(SMMUV3_IDR0_ATSRECERR, !!(with & SMMUV3_MODEL_ATS)) |
		SMMUV3_PUT(SMMUV3_IDR0_PRI, !!(with & SMMUV3_MODEL_PRI)) |
		SMMUV3_PUT(SMMUV3_IDR0_CD2L, !(no & SMMUV3_MODEL_NO_2LVL_CD)) |
		SMMUV3_PUT(SMMUV3_IDR0_ST_LEVEL, !(no & SMMUV3_MODEL_NO_2LVL_STRTAB));
	idr5 = SMMUV3_PUT(SMMUV3_IDR5_OAS, oas) |
		SMMUV3_PUT(SMMUV3_IDR5_STALL_MAX, m->stall_max);
	for (unsigned int i = 0; i < 3; i++)
		if (!(no & grans[i].no))
			idr5 |= grans[i].idr5;
	ids->idr0 = (uint32_t)idr0;
	ids->idr1 = (uint32_t)(SMMUV3_PUT(SMMUV3_IDR1_SIDSIZE, m->sid_bits) |
		SMMUV3_PUT(SMMUV3_IDR1_SSIDSIZE, m->ssid_bits) |
		SMMUV3_PUT(SMMUV3_IDR1_CMDQS, cmdq) | SMMUV3_PUT(SMMUV3_IDR1_EVENTQS, evtq) |
		SMMUV3_PUT(SMMUV3_IDR1_PRIQS, with & SMMUV3_MODEL_PRI ? priq : 0) |
		SMMUV3_IDR1_ATTR_PERMS_OVR | SMMUV3_IDR1_ATTR_TYPES_OVR);
	ids->idr3 = (uint32_t)(SMMUV3_IDR3_HAD |
		SMMUV3_PUT(SMMUV3_IDR3_PPS, !!(with & SMMUV3_MODEL_PPS)) |
		SMMUV3_PUT(SMMUV3_IDR3_RIL, !(no & SMMUV3_MODEL_NO_RIL)));
	ids->idr5 = (uint32_t)idr5;
	return true;
}

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
	smmuv3_frames_fini(&m->frames);
	free(m->cfg.entry);
	free(m->late.pending);
	free(m->stall);
	free(m->stag_fifo);
	smmuv3_regs_free(m->fe.regs);
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
	if (!ids_make(m, conf, &m->fe.ids) || !pick(conf->tlb_log2, 12, 20, false, &tlb_log2))
		goto fail;
	err = ENOMEM;
	m->fe.regs = smmuv3_regs_alloc();
	if (m->fe.regs == NULL || smmuv3_tlb_init(&m->tlb, tlb_log2) < 0 ||
			smmuv3_stall_init(m) < 0)
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
 * Control calls exclude stepping. A stepping thread gives the lock away when
 * somebody waits and does not take it back before all who waited had it.
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

/* Units that the next kind of work may take: none of them starves the others. */
static unsigned int
share(unsigned int budget, unsigned int n)
{
	if (n >= budget)
		return 0;
	return budget - n < SMMUV3_BATCH ? budget - n : SMMUV3_BATCH;
}

/* How far ahead of the retry that runs memory is asked for. */
#define READY_AHEAD 6

/*
 * Where a retry will read or write, if its page has been mapped meanwhile. A guess,
 * used for a prefetch and nothing else: the retry walks by itself.
 */
static void
prefetch_data(struct smmuv3_model *m, const struct smmuv3_slot *s)
{
	const smmuv3_reg64_t *desc = s->desc;
	uint64_t d, va = smmuv3_slot_addr(s);
	void *host;

	if (desc == NULL || s->desc_gen != m->wins.gen)
		return;
	d = atomic_load_explicit(desc, memory_order_relaxed);
	if (!(d & 1))
		return;
	host = smmuv3_win_find(&m->wins, &m->data_win, (d & SMMUV3_BITS(47, 12)) |
			(va & SMMUV3_BITS(11, 0)), 1);
	if (host != NULL)
		smmuv3_prefetch_write(host);
}

static unsigned int
run_ready(struct smmuv3_model *m, unsigned int max)
{
	const struct smmuv3_slot *ahead = m->ready.first;
	unsigned int n = 0;

	for (unsigned int i = 0; i < READY_AHEAD && ahead != NULL; i++)
		ahead = ahead->next;
	while (m->ready.first != NULL && n < max) {
		if (ahead != NULL) {
			prefetch_data(m, ahead);
			ahead = ahead->next;
		}
		n += smmuv3_slot_run(m, smmuv3_list_take(&m->ready), max - n);
	}
	return n;
}

/*
 * One step. Commands first, then what they resumed, then new work; records become
 * visible after at most SMMUV3_BATCH transactions.
 */
unsigned int
smmuv3_step(struct smmuv3_model *m, unsigned int budget, bool full)
{
	unsigned int n = 0, before;

	stepping = m;
	if (__builtin_expect(!m->off, 1))
		n = smmuv3_fe_poll_regs(&m->fe, full);
	else if (atomic_load_explicit(&m->stalls_out, memory_order_relaxed) != 0 ||
			m->held.first != NULL)
		smmuv3_stalls_end_all(m);
	if (m->later.first != NULL) {
		*m->ready.last = m->later.first;
		m->ready.last = m->later.last;
		m->later.first = NULL;
		m->later.last = &m->later.first;
	}
	if (m->flight.list.first != NULL)
		n += smmuv3_flight_step(m);
	do {
		before = n;
		m->now = 0;
		if (n < budget)
			n += smmuv3_fe_commands(&m->fe, share(budget, n));
		if (m->held.first != NULL)
			n += smmuv3_stall_held(m, share(budget, n));
		n += run_ready(m, share(budget, n));
		smmuv3_fe_evt_publish(&m->fe);
		smmuv3_fe_priq_publish(&m->fe);
		n += smmuv3_dma_run(m, share(budget, n));
		smmuv3_fe_evt_publish(&m->fe);
		smmuv3_fe_priq_publish(&m->fe);
	} while (n != before);
	if (m->choices & SMMUV3_MODEL_EARLY_RETRY)
		n += smmuv3_stall_early(m);
	if (m->harsh & SMMUV3_MODEL_HARSH_LEVEL_IRQ)
		smmuv3_fe_levels(&m->fe);
	stepping = NULL;
	return n;
}

unsigned int
smmuv3_model_step(struct smmuv3_model *m, unsigned int budget)
{
	unsigned int n;

	if (m == NULL)
		return 0;
	pthread_mutex_lock(&m->lock);
	n = smmuv3_step(m, budget, true);
	pthread_mutex_unlock(&m->lock);
	return n;
}
