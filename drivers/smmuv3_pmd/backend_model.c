/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * "model=NAME": the software SMMUv3 of that name in this process. If there is none, open creates
 * it with a thread. Device addresses are CPU addresses.
 */

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_log.h>

#include <smmuv3_model.h>

#include "backend.h"
#include "base.h"

#define LOG(level, fmt, ...)							\
	rte_log(RTE_LOG_ ## level, smmuv3_logtype, "smmuv3: " fmt "\n", ##__VA_ARGS__)

struct model {
	struct smmuv3_model *m;
	bool created;
	struct model *next;
};

/* The models that this process has open. */
static struct model *models;
static pthread_mutex_t models_lock = PTHREAD_MUTEX_INITIALIZER;

/* The configuration of a new model. */
struct model_args {
	unsigned int sid_bits, ssid_bits, stall_max, stall_model, evtq, cmdq, pri, pps, priq, cpu;
	unsigned int s2, ecmdq, httu, harsh, seed;
};

static const struct {
	const char *key;
	size_t offset;
	unsigned int min, max;
} keys[] = {
	{ "model_sid_bits", offsetof(struct model_args, sid_bits), 1, 32 },
	{ "model_ssid_bits", offsetof(struct model_args, ssid_bits), 0, 20 },
	{ "model_stall_max", offsetof(struct model_args, stall_max), 1, 65535 },
	{ "model_stall_model", offsetof(struct model_args, stall_model), 0, 2 },
	{ "model_evtq", offsetof(struct model_args, evtq), 0, 19 },
	{ "model_cmdq", offsetof(struct model_args, cmdq), 0, 19 },
	{ "model_pri", offsetof(struct model_args, pri), 0, 1 },
	{ "model_pps", offsetof(struct model_args, pps), 0, 1 },
	{ "model_priq", offsetof(struct model_args, priq), 0, 19 },
	{ "model_s2", offsetof(struct model_args, s2), 0, 1 },
	{ "model_ecmdq", offsetof(struct model_args, ecmdq), 0, 8 },
	{ "model_httu", offsetof(struct model_args, httu), 0, 2 },
	{ "model_cpu", offsetof(struct model_args, cpu), 0, 1023 },
	{ "model_harsh", offsetof(struct model_args, harsh), 0, 0xfff },
	{ "model_seed", offsetof(struct model_args, seed), 1, UINT_MAX - 2 },
};

#define UNSET (UINT_MAX - 1)

static int
parse_args(const struct rte_kvargs *args, struct model_args *out, const char **key)
{
	unsigned int i;

	for (i = 0; i < RTE_DIM(keys); i++) {
		const char *value = rte_kvargs_get(args, keys[i].key);
		unsigned int *v = RTE_PTR_ADD(out, keys[i].offset);
		unsigned long ul;
		char *end;

		*v = UNSET;
		if (rte_kvargs_count(args, keys[i].key) == 0)
			continue;
		*key = keys[i].key;
		if (value == NULL)
			value = "";
		errno = 0;
		ul = strtoul(value, &end, 0);
		if (errno != 0 || end == value || *end != '\0' || strchr(value, '-') != NULL ||
				ul < keys[i].min || ul > keys[i].max) {
			LOG(ERR, "%s=%s: a number from %u to %u is needed", keys[i].key, value,
					keys[i].min, keys[i].max);
			return -EINVAL;
		}
		*v = ul;
	}
	if (out->pri != 1 && (out->pps == 1 || out->priq != UNSET)) {
		LOG(ERR, "%s needs model_pri=1", out->pps == 1 ? "model_pps=1" : "model_priq");
		return -EINVAL;
	}
	return 0;
}

/* In struct smmuv3_model_conf 0 selects the default, and SMMUV3_MODEL_NONE stands for 0. */
static unsigned int
make_conf_value(unsigned int v)
{
	return v == UNSET ? 0 : v == 0 ? SMMUV3_MODEL_NONE : v;
}

static uint32_t
make_features(const struct model_args *args)
{
	uint32_t features = (args->s2 == 1 ? SMMUV3_MODEL_S2 : 0) |
		(args->ecmdq != UNSET ? SMMUV3_MODEL_ECMDQ : 0) |
		(args->httu == 1 || args->httu == 2 ? SMMUV3_MODEL_HTTU_AF : 0) |
		(args->httu == 2 ? SMMUV3_MODEL_HTTU_DIRTY : 0);

	if (args->pri == 1)
		features |= SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI |
			(args->pps == 1 ? SMMUV3_MODEL_PPS : 0);
	return features;
}

static struct smmuv3_model *
make_model(const char *name, const struct model_args *args)
{
	const struct smmuv3_model_conf conf = {
		.name = name,
		.sid_bits = make_conf_value(args->sid_bits),
		.ssid_bits = make_conf_value(args->ssid_bits),
		.stall_max = make_conf_value(args->stall_max),
		.stall_model = args->stall_model == UNSET ? 0 : args->stall_model,
		.evtq_log2 = make_conf_value(args->evtq),
		.cmdq_log2 = make_conf_value(args->cmdq),
		.priq_log2 = make_conf_value(args->priq),
		.ecmdq_log2 = make_conf_value(args->ecmdq),
		.features = make_features(args),
		.harsh = args->harsh == UNSET ? 0 : args->harsh,
		.seed = args->seed == UNSET ? 0 : args->seed,
	};
	struct smmuv3_model *m = smmuv3_model_create(&conf);
	int ret;

	if (m == NULL) {
		LOG(ERR, "cannot create model '%s': %s", name, strerror(errno));
		return NULL;
	}
	ret = smmuv3_model_start(m, args->cpu == UNSET ? -1 : (int)args->cpu);
	if (ret < 0) {
		LOG(ERR, "cannot start the thread of model '%s'%s: %s", name,
				args->cpu == UNSET ? "" : " on model_cpu", strerror(-ret));
		smmuv3_model_destroy(m);
		errno = -ret;
		return NULL;
	}
	if (conf.harsh != 0)
		LOG(NOTICE, "model '%s': model_harsh=0x%x, model_seed=%u", name, conf.harsh,
				conf.seed == 0 ? 1 : conf.seed);
	return m;
}

static int
open_locked(const char *name, const struct model_args *args, const char *key, struct model *model)
{
	const struct model *other;

	model->m = smmuv3_model_lookup(name);
	if (model->m == NULL) {
		model->m = make_model(name, args);
		model->created = true;
		return model->m == NULL ? -errno : 0;
	}
	for (other = models; other != NULL; other = other->next)
		if (other->m == model->m) {
			LOG(ERR, "model '%s' is open already; close it first, or use another "
					"name", name);
			return -EBUSY;
		}
	if (key != NULL) {
		LOG(ERR, "%s: model '%s' exists, and this key configures a new one", key, name);
		return -EINVAL;
	}
	return 0;
}

static int
model_open(const struct rte_kvargs *args, void **regs, void **ctx)
{
	const char *name = rte_kvargs_get(args, smmuv3_backend_model.name);
	struct model_args conf;
	const char *key = NULL;
	struct model *model;
	int ret;

	if (name == NULL || name[0] == '\0') {
		LOG(ERR, "model=: a name is needed");
		return -EINVAL;
	}
	ret = parse_args(args, &conf, &key);
	if (ret < 0)
		return ret;
	model = calloc(1, sizeof(*model));
	if (model == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&models_lock);
	ret = open_locked(name, &conf, key, model);
	if (ret == 0) {
		model->next = models;
		models = model;
	}
	pthread_mutex_unlock(&models_lock);
	if (ret < 0) {
		free(model);
		return ret;
	}
	*regs = smmuv3_model_regs(model->m);
	*ctx = model;
	return 0;
}

static size_t
model_get_regs_size(void *ctx)
{
	const struct model *model = ctx;

	return smmuv3_model_regs_size(model->m);
}

static bool
model_has_engines(void *ctx)
{
	const struct model *model = ctx;

	return model->created && smmuv3_model_has_dma(model->m);
}

static void
model_close(void *ctx)
{
	struct model *model = ctx, **at;

	pthread_mutex_lock(&models_lock);
	for (at = &models; *at != model; at = &(*at)->next)
		;
	*at = model->next;
	if (model->created)
		smmuv3_model_destroy(model->m);
	pthread_mutex_unlock(&models_lock);
	free(model);
}

/* The model accesses all memory of the process, and goes on after rte_eal_cleanup(). */
static void *
model_alloc(void *ctx, size_t align, size_t len)
{
	RTE_SET_USED(ctx);
	return aligned_alloc(align, RTE_ALIGN_CEIL(len, align));
}

static void
model_free(void *ctx, void *ptr, size_t len)
{
	RTE_SET_USED(ctx);
	RTE_SET_USED(len);
	free(ptr);
}

static int
model_dma_map(void *ctx, void *ptr, size_t len, uint64_t limit, uint64_t *addr)
{
	struct model *model = ctx;

	*addr = (uintptr_t)ptr;
	if (*addr >= limit || len > limit - *addr)
		return -ERANGE;
	return smmuv3_model_mem_add(model->m, *addr, ptr, len);
}

static int
model_dma_unmap(void *ctx, void *ptr, size_t len, uint64_t addr)
{
	struct model *model = ctx;

	RTE_SET_USED(ptr);
	RTE_SET_USED(len);
	return smmuv3_model_mem_del(model->m, addr);
}

static int
model_connect_irq(void *ctx, enum smmuv3_irq irq, int fd)
{
	static const enum smmuv3_model_irq irqs[] = {
		[SMMUV3_IRQ_EVTQ] = SMMUV3_MODEL_IRQ_EVTQ,
		[SMMUV3_IRQ_PRIQ] = SMMUV3_MODEL_IRQ_PRIQ,
		[SMMUV3_IRQ_GERROR] = SMMUV3_MODEL_IRQ_GERROR,
	};
	struct model *model = ctx;

	smmuv3_model_irq_fd(model->m, irqs[irq], fd);
	if (fd >= 0)
		smmuv3_model_irq_unmask(model->m, irqs[irq]);
	return 0;
}

static void
model_wait(void *ctx)
{
	struct model *model = ctx;

	smmuv3_model_wait(model->m);
}

const struct smmuv3_backend smmuv3_backend_model = {
	.name = "model",
	.alloc = model_alloc,
	.free = model_free,
	.open = model_open,
	.get_regs_size = model_get_regs_size,
	.has_engines = model_has_engines,
	.close = model_close,
	.dma_map = model_dma_map,
	.dma_unmap = model_dma_unmap,
	.connect_irq = model_connect_irq,
	.wait = model_wait,
};
