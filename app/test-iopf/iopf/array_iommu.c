/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "array_iommu.h"
#include "iopf_handler.h"
#include "iopf_iommu.h"
#include "test.h"

struct array_iommu hw = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The handles. A released handle is kept, so that its use is seen. */
struct array_domain {
	_Atomic unsigned int users;	/* attachments, and invalidations under way */
	_Atomic bool released;
	struct array_domain *next;
};

struct array_attachment {
	struct array_domain *domain;
	_Atomic bool released;
	struct array_attachment *next;
};

static struct array_domain *domains;
static struct array_attachment *attachments;

static void
free_handles(void)
{
	while (domains != NULL) {
		struct array_domain *next = domains->next;

		free(domains);
		domains = next;
	}
	while (attachments != NULL) {
		struct array_attachment *next = attachments->next;

		free(attachments);
		attachments = next;
	}
}

static void
use_domain(struct array_domain *domain)
{
	if (domain->released)
		hw.misused++;
	domain->users++;
}

static int
apply_knob(enum array_call call)
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
	hw.misused = 0;
	hw.blocked = false;
	hw.stalls = true;
	hw.sid_bits = 8;
	hw.max_stalls = MAX_STALLS;
	memset(hw.knobs, 0, sizeof(hw.knobs));
	free_handles();
	hw.requests = false;
	hw.pri_pasid = false;
	hw.on_attach = NULL;
	hw.on_block = NULL;
}

void
array_put(unsigned int queue, const struct iopf_event *ev)
{
	struct array_queue *q = &hw.q[queue];

	q->events[q->prod % QUEUE] = *ev;
	atomic_fetch_add_explicit(&q->prod, 1, memory_order_release);
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
	return apply_knob(ARRAY_CLOSE);
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
	return apply_knob(ARRAY_START);
}

static int
hw_stop(void *priv)
{
	(void)priv;
	return apply_knob(ARRAY_STOP);
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
	ret = apply_knob(ARRAY_DEV_ADD);
	if (ret == 0)
		*dev = priv;
	return ret;
}

static int
hw_dev_del(void *priv, void *dev)
{
	(void)priv;
	(void)dev;
	return apply_knob(ARRAY_DEV_DEL);
}

static int
hw_domain_add(void *priv, const struct iopf_translation *translation, void **domain)
{
	struct array_domain *d = calloc(1, sizeof(*d));

	(void)priv;
	(void)translation;
	if (d == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&hw.lock);
	d->next = domains;
	domains = d;
	pthread_mutex_unlock(&hw.lock);
	*domain = d;
	hw.domains++;
	return 0;
}

static void
hw_domain_del(void *priv, void *domain)
{
	struct array_domain *d = domain;

	(void)priv;
	if (d->users != 0 || d->released)
		hw.misused++;
	d->released = true;
	hw.domains--;
}

static struct array_attachment *
new_attachment(struct array_domain *domain)
{
	struct array_attachment *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->domain = domain;
	use_domain(domain);
	pthread_mutex_lock(&hw.lock);
	a->next = attachments;
	attachments = a;
	pthread_mutex_unlock(&hw.lock);
	hw.attached++;
	return a;
}

static int
hw_attach(void *priv, void *dev, uint32_t pasid, void *domain, void **attachment)
{
	struct array_attachment *a;
	int ret;

	(void)priv;
	(void)dev;
	(void)pasid;
	*attachment = NULL;
	ret = apply_knob(ARRAY_ATTACH);
	if (hw.fail_attach != 0)
		ret = hw.fail_attach;
	if (ret != 0 && !hw.attach_half)
		return ret;
	a = new_attachment(domain);
	if (a == NULL)
		return -ENOMEM;
	*attachment = a;
	if (hw.on_attach != NULL)
		hw.on_attach(true);
	return ret;
}

static int
hw_detach(void *priv, void *attachment)
{
	struct array_attachment *a = attachment;
	int ret;

	(void)priv;
	if (a->released)
		hw.misused++;
	ret = apply_knob(ARRAY_DETACH);
	if (ret != 0)
		return ret;
	a->released = true;
	a->domain->users--;
	hw.attached--;
	if (hw.on_attach != NULL)
		hw.on_attach(false);
	return 0;
}

static int
hw_stall_set(void *priv, void *attachment, bool on)
{
	int ret = apply_knob(ARRAY_STALL_SET);

	(void)priv;
	if (((struct array_attachment *)attachment)->released)
		hw.misused++;
	if (ret == 0 && hw.stall_forced && !on)
		ret = -ENOTSUP;
	if (ret == 0)
		hw.stalls = on;
	return ret;
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
	ret = apply_knob(ARRAY_DEV_BLOCK);
	if (ret == 0)
		hw.blocked = on;
	return ret;
}

static int
hw_replace(void *priv, void *attachment, void *domain, void **next)
{
	struct array_attachment *old = attachment;
	int ret;

	(void)priv;
	*next = NULL;
	if (old->released)
		hw.misused++;
	if (hw.on_replace != NULL)
		hw.on_replace();
	ret = apply_knob(ARRAY_REPLACE);
	if (ret != 0 && !hw.replace_half)
		return ret;
	*next = new_attachment(domain);
	if (*next == NULL)
		return -ENOMEM;
	if (hw.on_replace != NULL)
		hw.on_replace();
	if (ret != 0)
		return ret;
	old->released = true;
	old->domain->users--;
	hw.attached--;
	return 0;
}

bool array_slow_poll;
bool array_has_peek;

static uint16_t
hw_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n)
{
	struct array_queue *q = &hw.q[queue];
	unsigned int cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	unsigned int prod = atomic_load_explicit(&q->prod, memory_order_acquire);
	uint16_t got = 0;

	(void)priv;
	q->polls++;
	while (got < n && cons != prod)
		events[got++] = q->events[cons++ % QUEUE];
	atomic_store_explicit(&q->cons, cons, memory_order_release);
	if (array_slow_poll && got != 0)
		usleep(2000);
	iopf_peek_set(&q->peek, got == 0 ? prod : IOPF_PEEK_POLL);
	return got;
}

static const struct iopf_peek *
hw_peek(void *priv, uint16_t queue)
{
	(void)priv;
	return array_has_peek ? &hw.q[queue].peek : NULL;
}

static void
record_answers(const struct iopf_inv *inv, unsigned int nb_inv, const struct iopf_answer *answers,
		uint16_t n)
{
	pthread_mutex_lock(&hw.lock);
	for (unsigned int i = 0; i < n; i++) {
		hw.out[hw.nb_out % QUEUE] = (struct out){
			.answer = answers[i],
			.nb_inv = nb_inv,
			.inv_addr = nb_inv != 0 ? inv[0].addr : 0,
		};
		atomic_fetch_add(&hw.nb_out, 1);
	}
	pthread_mutex_unlock(&hw.lock);
}

static uint16_t
hw_answer(void *priv, const struct iopf_answer *answers, uint16_t n)
{
	(void)priv;
	record_answers(NULL, 0, answers, n);
	return n;
}

static uint16_t
hw_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n)
{
	(void)priv;
	assert_in_range(n_inv, 0, 64);
	assert_true(n_inv + n != 0);
	assert_non_null(domain);
	use_domain(domain);
	pthread_mutex_lock(&hw.lock);
	hw.posts++;
	hw.posted_invs += n_inv;
	pthread_mutex_unlock(&hw.lock);
	record_answers(inv, n_inv, answers, n);
	((struct array_domain *)domain)->users--;
	return n;
}

static unsigned int
hw_check(void *priv)
{
	(void)priv;
	return atomic_exchange(&hw.check, 0);
}

static uint64_t
hw_mark(void *priv, uint16_t queue)
{
	(void)priv;
	apply_knob(ARRAY_MARK);
	return atomic_load(&hw.q[queue].prod);
}

static bool
hw_passed(void *priv, uint16_t queue, uint64_t mark)
{
	(void)priv;
	return atomic_load(&hw.q[queue].cons) >= mark;
}

static int
hw_invalidate(void *priv, void *domain, const struct iopf_inv *inv, unsigned int n,
		unsigned int *done)
{
	int ret;

	(void)priv;
	(void)inv;
	hw.invalidated++;
	use_domain(domain);
	ret = apply_knob(ARRAY_INVALIDATE);
	if (hw.invalidate_us != 0)
		usleep(hw.invalidate_us);
	((struct array_domain *)domain)->users--;
	*done = 0;
	if (ret != 0)
		return ret;
	if (hw.invalidate_fails_at < n) {
		*done = hw.invalidate_fails_at;
		return -EIO;
	}
	*done = n;
	return 0;
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
	(void)priv;
	(void)fd;
	return hw.can_idle ? 0 : -ENOTSUP;
}

static int
hw_sync(void *priv)
{
	(void)priv;
	if (hw.on_sync != NULL)
		hw.on_sync();
	return apply_knob(ARRAY_SYNC);
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
		.domain_add = hw_domain_add, .domain_del = hw_domain_del,
		.attach = hw_attach, .detach = hw_detach, .replace = hw_replace,
		.stall_set = hw_stall_set, .dev_block = hw_dev_block,
		.poll = hw_poll, .peek = hw_peek,
		.answer = hw_answer, .answer_after = hw_answer_after,
		.check = hw_check, .sync = hw_sync,
		.queue_mark = hw_mark, .queue_passed = hw_passed,
		.invalidate = hw_invalidate, .idle = hw_idle, .wait = hw_wait, .stat = hw_stat,
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
		.domain_add = hw_domain_add, .domain_del = hw_domain_del,
		.attach = hw_attach, .detach = hw_detach,
		.poll = hw_poll, .answer = hw_answer, .invalidate = hw_invalidate,
	},
};
IOPF_DRIVER(bare_driver);
