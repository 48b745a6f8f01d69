/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The IOMMU made of arrays: its state, the calls that a test holds or fails, and the drivers. */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "array_parts.h"

struct array_iommu hw = { .lock = PTHREAD_MUTEX_INITIALIZER };

int
array_apply_knob(enum array_call call)
{
	struct array_knob *k = &hw.knobs[call];
	unsigned int n = k->hold;

	k->calls++;
	while (n != 0 && !atomic_compare_exchange_strong(&k->hold, &n, n - 1))
		;
	if (n != 0) {
		k->held++;
		while (k->held != 0)
			usleep(100);
	}
	n = k->nb_fail;
	while (n != 0 && !atomic_compare_exchange_strong(&k->nb_fail, &n, n - 1))
		;
	return n != 0 ? k->fail : 0;
}

void
array_release(enum array_call call)
{
	hw.knobs[call].hold = 0;
	hw.knobs[call].held = 0;
}

bool
array_wait_held(enum array_call call, unsigned int n)
{
	for (unsigned int i = 0; i < 100000 && hw.knobs[call].held < n; i++)
		usleep(100);
	return hw.knobs[call].held >= n;
}

void
array_iommu_reset(void)
{
	for (unsigned int i = 0; i < 2; i++) {
		hw.q[i].prod = hw.q[i].cons = 0;
		hw.q[i].polls = 0;
		hw.q[i].peek = (struct iopf_peek){ .word = (const void *)&hw.q[i].prod,
				.idle = IOPF_PEEK_POLL };
	}
	hw.nb_out = hw.check = 0;
	hw.posts = hw.posted_invs = 0;
	hw.invalidate_fails_at = UINT32_MAX;
	hw.invalidate_us = 0;
	hw.fail_attach = 0;
	hw.attach_half = false;
	hw.can_idle = false;
	hw.replace_half = false;
	hw.on_replace = NULL;
	hw.on_dev_add = NULL;
	hw.on_sync = NULL;
	hw.on_answer = NULL;
	hw.misused = 0;
	hw.blocked = false;
	hw.stalls = true;
	hw.sid_bits = 8;
	hw.max_stalls = MAX_STALLS;
	memset(hw.knobs, 0, sizeof(hw.knobs));
	array_free_handles();
	hw.requests = false;
	hw.pri_pasid = false;
	hw.on_attach = NULL;
	hw.on_block = NULL;
}

static int
hw_open(const struct rte_kvargs *args, struct iopf_iommu_info *info, void **priv)
{
	(void)args;
	*info = (struct iopf_iommu_info){
		.backend = "test",
		.sid_bits = hw.sid_bits,
		.pasid_bits = 4,
		.addr_bits = 48,
		.va_bits = 48,
		.granules = 1 << 12,
		.max_stalls = hw.max_stalls,
		.stall_forced = hw.stall_forced,
		.razwi = hw.requests,
		.nb_queues = hw.requests ? 2 : 1,
		.request_queue_size = hw.requests ? REQUESTS : 0,
		.pri_pasid = hw.pri_pasid,
		.nb_stats = 1,
		.max_event_queue = 4096,
	};
	*priv = &hw;
	return 0;
}

static int
hw_close(void *priv)
{
	(void)priv;
	return array_apply_knob(ARRAY_CLOSE);
}

static int
hw_configure(void *priv, const struct iopf_iommu_conf *conf)
{
	(void)priv;
	return conf->event_queue_size > 4096 ? -EINVAL : 0;
}

static int
hw_start(void *priv)
{
	(void)priv;
	return array_apply_knob(ARRAY_START);
}

static int
hw_stop(void *priv)
{
	(void)priv;
	return array_apply_knob(ARRAY_STOP);
}

static int
hw_dma_map(void *priv, void *ptr, size_t len, uint64_t *addr)
{
	(void)priv;
	(void)len;
	*addr = (uintptr_t)ptr;
	return 0;
}

static int
hw_dma_unmap(void *priv, void *ptr, size_t len, uint64_t addr)
{
	(void)priv;
	(void)len;
	return addr == (uintptr_t)ptr ? 0 : -ENOENT;
}

static int
hw_dev_add(void *priv, const struct iopf_dev_conf *conf, void **dev)
{
	int ret;

	(void)conf;
	if (hw.on_dev_add != NULL)
		hw.on_dev_add();
	ret = array_apply_knob(ARRAY_DEV_ADD);
	if (ret == 0)
		*dev = priv;
	return ret;
}

static int
hw_dev_del(void *priv, void *dev)
{
	(void)priv;
	(void)dev;
	return array_apply_knob(ARRAY_DEV_DEL);
}

static int
hw_dev_block(void *priv, void *dev, bool on)
{
	int ret;

	(void)priv;
	if (dev == NULL)
		hw.misused++;
	if (hw.on_block != NULL)
		hw.on_block(on);
	ret = array_apply_knob(ARRAY_DEV_BLOCK);
	if (ret == 0)
		hw.blocked = on;
	return ret;
}

static unsigned int
hw_check(void *priv)
{
	(void)priv;
	return atomic_exchange(&hw.check, 0);
}

static void
hw_wait(void *priv)
{
	void (*on_wait)(void) = atomic_exchange(&hw.on_wait, NULL);

	(void)priv;
	if (on_wait != NULL)
		on_wait();
	usleep(10);
}

static uint64_t
hw_stat(const void *priv, unsigned int i, const char **name)
{
	(void)priv;
	(void)i;
	*name = "test_counter";
	return 42;
}

static void
hw_dump(const void *priv, FILE *f)
{
	(void)priv;
	fprintf(f, "  two arrays\n");
}

static int
hw_idle(void *priv, int fd)
{
	int ret = array_apply_knob(ARRAY_IDLE);

	(void)priv;
	(void)fd;
	return !hw.can_idle ? -ENOTSUP : ret;
}

static int
hw_sync(void *priv)
{
	(void)priv;
	if (hw.on_sync != NULL)
		hw.on_sync();
	return array_apply_knob(ARRAY_SYNC);
}

static const char *const params[] = { "n", NULL };
static struct iopf_driver test_driver = {
	.name = "arrays",
	.params = params,
	.usage = "n=NUMBER",
	.ops = {
		.open = hw_open, .close = hw_close, .configure = hw_configure,
		.start = hw_start, .stop = hw_stop,
		.dma_map = hw_dma_map, .dma_unmap = hw_dma_unmap,
		.dev_add = hw_dev_add, .dev_del = hw_dev_del,
		.domain_add = array_domain_add, .domain_del = array_domain_del,
		.attach = array_attach, .detach = array_detach, .replace = array_replace,
		.stall_set = array_stall_set, .dev_block = hw_dev_block,
		.poll = array_poll, .peek = array_peek,
		.answer = array_answer, .answer_after = array_answer_after,
		.check = hw_check, .sync = hw_sync,
		.queue_mark = array_mark, .queue_passed = array_passed,
		.invalidate = array_invalidate, .invalidate_typed = array_invalidate_typed,
		.idle = hw_idle, .wait = hw_wait, .stat = hw_stat,
		.dump = hw_dump,
	},
};
IOPF_DRIVER(test_driver);

/* The same driver without the optional operations. */
static struct iopf_driver bare_driver = {
	.name = "bare",
	.params = params,
	.usage = "n=NUMBER",
	.ops = {
		.open = hw_open, .close = hw_close, .configure = hw_configure,
		.start = hw_start, .stop = hw_stop,
		.dma_map = hw_dma_map, .dma_unmap = hw_dma_unmap,
		.dev_add = hw_dev_add, .dev_del = hw_dev_del,
		.domain_add = array_domain_add, .domain_del = array_domain_del,
		.attach = array_attach, .detach = array_detach,
		.poll = array_poll, .answer = array_answer, .invalidate = array_invalidate,
	},
};
IOPF_DRIVER(bare_driver);
