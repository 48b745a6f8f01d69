/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The driver's operations for lib/iopf: open, configure, DMA memory, poll. */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_bitops.h>
#include <rte_cycles.h>
#include <rte_kvargs.h>

#include "atc.h"
#include "attach.h"
#include "backend.h"
#include "base.h"
#include "bringup.h"
#include "check.h"
#include "cmdq.h"
#include "dev.h"
#include "domain.h"
#include "ecmdq.h"
#include "evtq.h"
#include "gbpa.h"
#include "guest.h"
#include "inval_typed.h"
#include "idr.h"
#include "inq.h"
#include "irq.h"
#include "main_cmdq.h"
#include "mem.h"
#include "priq.h"
#include "resume.h"
#include "smmuv3_order.h"
#include "smmuv3_pmd.h"
#include "smmuv3_spec.h"
#include "state.h"
#include "stats.h"
#include "strtab.h"
#include "tlbi.h"
#include "wait.h"

RTE_LOG_REGISTER(smmuv3_logtype, pmd.smmuv3, NOTICE);

/* Together a page of 4 KiB. */
#define NB_WORDS_OFFSETS	8

static const struct smmuv3_backend *const backends[] = {
	&smmuv3_backend_model,
	&smmuv3_backend_vfio,
	&smmuv3_backend_page,
};

static const char *const params[] = {
	"vfio",
	"page",
	"close",
	"model",
	"model_sid_bits",
	"model_ssid_bits",
	"model_stall_max",
	"model_stall_model",
	"model_evtq",
	"model_cmdq",
	"model_pri",
	"model_pps",
	"model_priq",
	"model_s2",
	"model_ecmdq",
	"model_httu",
	"model_cpu",
	"model_harsh",
	"model_seed",
	NULL
};

/* The backend whose name is a key of the device string; NULL: none, or several. */
static const struct smmuv3_backend *
choose_backend(const struct rte_kvargs *args)
{
	const struct smmuv3_backend *chosen = NULL;
	unsigned int i;

	for (i = 0; i < RTE_DIM(backends); i++) {
		if (rte_kvargs_count(args, backends[i]->name) == 0)
			continue;
		if (chosen != NULL)
			return NULL;
		chosen = backends[i];
	}
	return chosen;
}

/* A key is a backend's name, begins with it, or is for all backends. */
static int
check_keys(const struct rte_kvargs *args, const struct smmuv3_backend *chosen)
{
	unsigned int i, k;
	size_t len;

	for (k = 0; k < args->count; k++)
		for (i = 0; i < RTE_DIM(backends); i++) {
			len = strlen(backends[i]->name);
			if (backends[i] == chosen ||
					strncmp(args->pairs[k].key, backends[i]->name, len) != 0)
				continue;
			rte_log(RTE_LOG_ERR, smmuv3_logtype, "smmuv3: %s is a key of \"%s=\", and "
					"the device string has \"%s=\"\n", args->pairs[k].key,
					backends[i]->name, chosen->name);
			return -EINVAL;
		}
	return 0;
}

static int
parse_close(const struct rte_kvargs *args, bool *restore)
{
	const char *value = rte_kvargs_get(args, "close");

	*restore = value != NULL && strcmp(value, "restore") == 0;
	if (rte_kvargs_count(args, "close") == 0 || *restore ||
			(value != NULL && strcmp(value, "block") == 0))
		return 0;
	rte_log(RTE_LOG_ERR, smmuv3_logtype, "smmuv3: close=%s: \"block\" (DMA stays blocked after "
			"close) or \"restore\" (as found) is needed\n", value == NULL ? "" : value);
	return -EINVAL;
}

/* Room for twice all stalls: their records, and other events meanwhile. */
static unsigned int
get_evtq_log2_default(const struct smmuv3 *s)
{
	unsigned int log2 = s->max_stalls == 0 ? 9 : rte_log2_u32(2 * s->max_stalls);

	return RTE_MIN(log2, s->evtq_log2_max);
}

/*
 * At different offsets for different SMMUs. A poll thread of many SMMUs reads a word of each in a
 * pass; at the same offset in their pages the words would share the sets of the first-level cache.
 */
static int
words_alloc(struct smmuv3 *s)
{
	static _Atomic unsigned int nb_opened;
	size_t offset;
	int ret;

	ret = smmuv3_mem_alloc(s, NB_WORDS_OFFSETS * sizeof(*s->words), &s->words_mem);
	if (ret < 0)
		return ret;
	offset = atomic_fetch_add_explicit(&nb_opened, 1, memory_order_relaxed) %
			NB_WORDS_OFFSETS * sizeof(*s->words);
	s->words = RTE_PTR_ADD(s->words_mem.va, offset);
	s->words_addr = s->words_mem.addr + offset;
	return 0;
}

static void
close_all(struct smmuv3 *s)
{
	smmuv3_atc_close(s);
	smmuv3_strtab_close(s);
	smmuv3_ecmdqs_close(s);
	smmuv3_main_cmdq_close(s);
	smmuv3_mem_free(s, &s->evtq.q.mem);
	smmuv3_mem_free(s, &s->priq.q.mem);
	smmuv3_mem_free(s, &s->words_mem);
	smmuv3_mem_fini(s);
	s->backend->close(s->backend_ctx);
	if (atomic_load_explicit(&s->sleep.wake_fd, memory_order_relaxed) >= 0)
		close(atomic_load_explicit(&s->sleep.wake_fd, memory_order_relaxed));
	smmuv3_ids_close(&s->asids);
	smmuv3_ids_close(&s->vmids);
	pthread_cond_destroy(&s->chunk_done);
	pthread_mutex_destroy(&s->tables_lock);
	free(s);
}

static int
pmd_open(const struct rte_kvargs *args, struct iopf_iommu_info *info, void **priv)
{
	const struct smmuv3_backend *backend = choose_backend(args);
	struct smmuv3 *s;
	bool restore;
	int ret;

	if (backend == NULL) {
		rte_log(RTE_LOG_ERR, smmuv3_logtype, "smmuv3: the device string needs one of: %s\n",
				smmuv3_pmd.usage);
		return -EINVAL;
	}
	ret = check_keys(args, backend);
	if (ret == 0)
		ret = parse_close(args, &restore);
	if (ret < 0)
		return ret;
	s = aligned_alloc(alignof(struct smmuv3), sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->tables_lock, NULL);
	pthread_cond_init(&s->chunk_done, NULL);
	s->backend = backend;
	atomic_store_explicit(&s->sleep.wake_fd, -1, memory_order_relaxed);
	s->restore_gbpa = restore;
	s->timeout = rte_get_tsc_hz() * SMMUV3_TIMEOUT_MS / 1000;
	snprintf(s->name, sizeof(s->name), "%s=%s", backend->name,
			rte_kvargs_get(args, backend->name));
	ret = backend->open(args, &s->regs, &s->backend_ctx);
	if (ret < 0) {
		free(s);
		return ret;
	}
	ret = smmuv3_idr_read(s);
	if (ret < 0)
		goto fail;
	smmuv3_ecmdqs_probe(s);
	ret = smmuv3_take_over(s);
	if (ret < 0)
		goto fail;
	ret = smmuv3_ids_open(&s->asids, s->idr0 & SMMUV3_IDR0_ASID16 ? 16 : 8);
	if (ret == 0 && s->vmid_bits != 0)
		ret = smmuv3_ids_open(&s->vmids, s->vmid_bits);
	if (ret < 0)
		goto fail;
	ret = words_alloc(s);
	if (ret < 0)
		goto fail;
	smmuv3_inq_init(s, &s->evtq.q, SMMUV3_EVENTQ_BASE, &s->words->evtq);
	smmuv3_inq_init(s, &s->priq.q, SMMUV3_PRIQ_BASE, &s->words->priq);
	ret = smmuv3_atc_open(s);
	if (ret < 0)
		goto fail;
	ret = smmuv3_main_cmdq_open(s);
	if (ret < 0)
		goto fail;
	ret = smmuv3_ecmdqs_open(s);
	if (ret < 0)
		goto fail;
	ret = smmuv3_strtab_open(s);
	if (ret < 0)
		goto fail;
	s->cmdq_log2 = RTE_MIN(10u, s->cmdq_log2_max);
	s->evtq_log2 = get_evtq_log2_default(s);
	s->priq_log2 = RTE_MIN(10u, s->priq_log2_max);
	smmuv3_idr_fill_info(s, info);
	info->nb_stats = smmuv3_nb_stats;
	*priv = s;
	return 0;

fail:
	close_all(s);
	return ret;
}

static int
pmd_close(void *priv)
{
	struct smmuv3 *s = priv;

	if (smmuv3_uses_memory(s)) {
		SMMUV3_LOG(ERR, s, "not closed: the SMMU is %s, CR0ACK 0x%x; its memory is kept; "
				"stop it (again if the stop failed), or reset it",
				smmuv3_state_name(smmuv3_state_get(&s->state)),
				smmuv3_read32(s->regs, SMMUV3_CR0ACK));
		return -EBUSY;
	}
	if (s->backend->has_engines != NULL && s->backend->has_engines(s->backend_ctx)) {
		SMMUV3_LOG(ERR, s, "not closed: this would destroy the model, which has engines: "
				"smmuv3_model_dma_destroy() them first");
		return -EBUSY;
	}
	smmuv3_gbpa_restore(s);
	close_all(s);
	return 0;
}

static int
parse_queue_size(const struct smmuv3 *s, const char *name, uint32_t size, unsigned int log2_max,
		unsigned int log2_default, unsigned int *log2)
{
	*log2 = log2_default;
	if (size == 0)
		return 0;
	if (!rte_is_power_of_2(size) || rte_log2_u32(size) > log2_max) {
		SMMUV3_LOG(ERR, s, "%s of %u entries: a power of two up to %u is needed", name,
				size, 1u << log2_max);
		return -EINVAL;
	}
	*log2 = rte_log2_u32(size);
	return 0;
}

static int
pmd_configure(void *priv, const struct iopf_iommu_conf *conf)
{
	unsigned int cmdq_log2, evtq_log2, priq_log2;
	struct smmuv3 *s = priv;
	int ret;

	ret = parse_queue_size(s, "command queue", conf->command_queue_size, s->cmdq_log2_max,
			RTE_MIN(10u, s->cmdq_log2_max), &cmdq_log2);
	if (ret < 0)
		return ret;
	ret = parse_queue_size(s, "event queue", conf->event_queue_size, s->evtq_log2_max,
			get_evtq_log2_default(s), &evtq_log2);
	if (ret < 0)
		return ret;
	if (!s->pri && conf->request_queue_size != 0) {
		SMMUV3_LOG(ERR, s, "page request queue of %u entries: the SMMU has none",
				conf->request_queue_size);
		return -EINVAL;
	}
	ret = parse_queue_size(s, "page request queue", conf->request_queue_size, s->priq_log2_max,
			RTE_MIN(10u, s->priq_log2_max), &priq_log2);
	if (ret < 0)
		return ret;
	if (1u << evtq_log2 < 2 * s->max_stalls)
		SMMUV3_LOG(NOTICE, s, "event queue of %u entries: less than twice the %u stalls "
				"there can be, so other events may be lost in a storm; "
				"the SMMU can have up to %u", 1u << evtq_log2, s->max_stalls,
				1u << s->evtq_log2_max);
	s->cmdq_log2 = cmdq_log2;
	s->evtq_log2 = evtq_log2;
	s->priq_log2 = priq_log2;
	return 0;
}

static int
pmd_dma_map(void *priv, void *ptr, size_t len, uint64_t *addr)
{
	struct smmuv3 *s = priv;
	int ret = s->backend->dma_map(s->backend_ctx, ptr, len, UINT64_C(1) << s->oas_bits, addr);

	if (ret == -ERANGE)
		SMMUV3_LOG(ERR, s, "memory at %p, %zu bytes, has no device address below 2^%u, "
				"the SMMU's limit: allocate it at a lower address", ptr, len,
				s->oas_bits);
	else if (ret < 0 && ret != -ENOTSUP)
		SMMUV3_LOG(ERR, s, "cannot map memory at %p, %zu bytes, for DMA: %s", ptr, len,
				strerror(-ret));
	return ret;
}

static int
pmd_dma_unmap(void *priv, void *ptr, size_t len, uint64_t addr)
{
	struct smmuv3 *s = priv;

	return s->backend->dma_unmap(s->backend_ctx, ptr, len, addr);
}

static uint16_t
pmd_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n)
{
	if (likely(queue == IOPF_QUEUE_EVENTS))
		return smmuv3_evtq_poll(priv, events, n);
	return smmuv3_priq_poll(priv, events, n);
}

static struct smmuv3_inq *
get_inq(struct smmuv3 *s, uint16_t queue)
{
	return queue == IOPF_QUEUE_EVENTS ? &s->evtq.q : &s->priq.q;
}

static const struct iopf_peek *
pmd_peek(void *priv, uint16_t queue)
{
	const struct smmuv3_inq *q = get_inq(priv, queue);

	return q->msi ? q->peek : NULL;
}

/* A CMD_SYNC makes the records visible of accesses that had ended before it [4.7.3]. */
static int
pmd_sync(void *priv)
{
	struct smmuv3 *s = priv;

	return smmuv3_cmdq_sync(&s->cmdq, NULL, 0, NULL);
}

static uint64_t
pmd_queue_mark(void *priv, uint16_t queue)
{
	return smmuv3_inq_take_mark(get_inq(priv, queue));
}

static bool
pmd_queue_passed(void *priv, uint16_t queue, uint64_t mark)
{
	return smmuv3_inq_has_passed(get_inq(priv, queue), mark);
}

static void
pmd_wait(void *priv)
{
	struct smmuv3 *s = priv;

	s->backend->wait(s->backend_ctx);
}

struct iopf_driver smmuv3_pmd = {
	.name = "smmuv3",
	.params = params,
	.usage = "vfio=DEVICE[,close=block|restore] | page=FILE[,close=...] | "
		"model=NAME[,close=...]"
		"[,model_sid_bits=N][,model_ssid_bits=N][,model_stall_max=N]"
		"[,model_stall_model=N][,model_evtq=LOG2][,model_cmdq=LOG2][,model_pri=1]"
		"[,model_pps=1][,model_priq=LOG2][,model_s2=1][,model_ecmdq=LOG2][,model_httu=N]"
		"[,model_cpu=N][,model_harsh=MASK][,model_seed=N]",
	.ops = {
		.open = pmd_open,
		.close = pmd_close,
		.configure = pmd_configure,
		.start = smmuv3_start,
		.stop = smmuv3_stop,
		.suspend = smmuv3_suspend,
		.resume = smmuv3_start,
		.dma_map = pmd_dma_map,
		.dma_unmap = pmd_dma_unmap,
		.dev_add = smmuv3_dev_add,
		.dev_del = smmuv3_dev_del,
		.dev_usable = smmuv3_dev_usable,
		.domain_add = smmuv3_domain_add,
		.domain_del = smmuv3_domain_del,
		.attach = smmuv3_attach,
		.detach = smmuv3_detach,
		.replace = smmuv3_replace,
		.stall_set = smmuv3_stall_set,
		.dev_block = smmuv3_dev_block,
		.poll = pmd_poll,
		.peek = pmd_peek,
		.answer = smmuv3_answer,
		.answer_after = smmuv3_answer_after,
		.check = smmuv3_check,
		.is_recovering = smmuv3_is_recovering,
		.sync = pmd_sync,
		.queue_mark = pmd_queue_mark,
		.queue_passed = pmd_queue_passed,
		.invalidate = smmuv3_invalidate,
		.invalidate_guest = smmuv3_invalidate_guest,
		.invalidate_typed = smmuv3_invalidate_typed,
		.idle = smmuv3_idle,
		.wait = pmd_wait,
		.stat = smmuv3_stat,
		.dump = smmuv3_dump,
	},
};

IOPF_DRIVER(smmuv3_pmd)
