/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The way Linux serves a stall: an interrupt wakes a thread, the thread reads the event queue entry
 * by entry (CONS written for each), allocates a record and queues it to a worker; the worker wakes,
 * resolves the fault, sends one RESUME with a PROD store of its own, and frees the record.
 *
 * It resolves a fault with pgt_resolve(), with which lib/mmem itself maps a page, on a table of the
 * same shape. mmem_resolve() would add the region lookup and statistics of lib/mmem, and its space
 * belongs to an IOMMU of lib/iopf. This baseline therefore does a little less than the mode
 * "polled", and far less than handle_mm_fault().
 *
 * All its threads run on the servicer's core, so that no wake-up between them crosses cores. A
 * woken worker does not preempt the interrupt thread (SCHED_BATCH; in Linux the interrupt thread
 * has a real-time priority), so that a full queue is drained at once. The interrupt comes in two
 * kinds:
 *
 *   - "eventfd": the model's wired interrupt. The device, on its own core, writes the
 *     eventfd; the interrupt thread waits for it in read(). In a virtual machine most
 *     of its cost is the wake-up across cores.
 *   - "local": an interrupt without cost. A thread that runs only when the servicer's
 *     core is otherwise idle (SCHED_IDLE, which also keeps the core from halting)
 *     watches the queue's indices and writes the eventfd there. No real interrupt is
 *     as cheap: this is the lower limit of the pipeline's cost.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_pause.h>

#include <pgtable.h>

#include "baseline_smmu.h"

struct work {
	struct work *next;
	uint64_t addr;
	uint32_t sid;
	uint16_t stag;
	bool write;
};

struct evfd {
	struct baseline_smmu smmu;
	struct pgt *pgt;
	uint32_t pages;
	bool zero;		/* each page */
	int cpu;
	int irq_fd;
	bool wired;
	atomic_bool stop;
	pthread_t threads[3];
	unsigned int nb_threads;
	pthread_mutex_t lock;	/* protects the list */
	pthread_cond_t wake;
	struct work *head;
	struct work **tail;
	pthread_mutex_t answer_lock;	/* protects the CMDQ */
	/*
	 * For evfd_drain_queue(): written by the draining thread before the worker runs, then by
	 * the worker.
	 */
	uint32_t drain_left;
	uint64_t drain_end;
	sem_t drained;
	uint32_t strange;	/* events that are no stall of the region; written by the worker */
	uint32_t lost;		/* events without memory for a record; written by the interrupt
				 * thread */
};

static void *
table_alloc(void *ctx, size_t size)
{
	return baseline_smmu_alloc(ctx, size);
}

/* The arena is freed as a whole. */
static void
table_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)p;
	(void)size;
}

static uint64_t
table_va_to_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

static int
evfd_create(struct mode *mode, const struct bench_conf *conf, const char *model, bool wired)
{
	struct evfd *e = calloc(1, sizeof(*e));
	uint64_t size = (uint64_t)conf->faults * BENCH_PAGE_SIZE;
	int ret;

	if (e == NULL)
		return -ENOMEM;
	mode->priv = e;
	e->wired = wired;
	e->cpu = conf->cpu_servicer;
	e->pages = conf->faults;
	e->zero = conf->zero_inline;
	e->tail = &e->head;
	pthread_mutex_init(&e->lock, NULL);
	pthread_mutex_init(&e->answer_lock, NULL);
	pthread_cond_init(&e->wake, NULL);
	sem_init(&e->drained, 0, 0);
	e->irq_fd = eventfd(0, EFD_CLOEXEC);
	if (e->irq_fd < 0)
		return -errno;
	ret = baseline_smmu_create(&e->smmu, model, conf,
			(size_t)e->pages * sizeof(uint64_t) + 8 * BENCH_PAGE_SIZE);
	if (ret < 0)
		return ret;
	e->pgt = pgt_create(&(struct pgt_conf){
			.va_bits = BASELINE_VA_BITS,
			.mem = { .ctx = &e->smmu, .alloc = table_alloc, .free = table_free,
				 .va_to_pa = table_va_to_pa } });
	if (e->pgt == NULL)
		return -errno;
	ret = pgt_prealloc(e->pgt, BASELINE_VA, size);
	if (ret < 0)
		return ret;
	mode->model = e->smmu.model;
	mode->va = BASELINE_VA;
	mode->mem = e->smmu.mem;
	return baseline_smmu_start(&e->smmu, pgt_root(e->pgt), wired ? e->irq_fd : -1);
}

static int
evfd_setup_local(struct mode *mode, const struct bench_conf *conf)
{
	return evfd_create(mode, conf, "iopf-bench-local", false);
}

static int
evfd_setup(struct mode *mode, const struct bench_conf *conf)
{
	return evfd_create(mode, conf, "iopf-bench-eventfd", true);
}

static void
evfd_enqueue_record(struct evfd *e, const struct smmuv3_evt *evt)
{
	struct work *work = calloc(1, sizeof(*work));

	if (work == NULL) {
		e->lost++;
		return;
	}
	work->sid = SMMUV3_GET(SMMUV3_EVT0_SID, evt->dw[0]);
	work->stag = SMMUV3_GET(SMMUV3_EVT1_STAG, evt->dw[1]);
	work->write = (evt->dw[1] & SMMUV3_EVT1_RNW) == 0;
	work->addr = evt->dw[2];

	pthread_mutex_lock(&e->lock);
	*e->tail = work;
	e->tail = &work->next;
	pthread_mutex_unlock(&e->lock);
}

static void
evfd_drain_evtq(struct evfd *e)
{
	struct baseline_smmu *smmu = &e->smmu;
	struct smmuv3_evt evt;
	bool queued = false;
	uint32_t prod;

	for (;;) {
		/*
		 * The interrupt comes on empty to non-empty only: the preceding CONS store must be
		 * visible before PROD is read, or a record is missed. Pairs with the same order in
		 * the model: PROD store, then CONS load.
		 */
		smmuv3_io_mb();
		prod = baseline_smmu_load_prod(smmu);
		if (smmuv3_q_empty(smmu->evtq_log2, prod, smmu->evtq_cons))
			break;
		queued = true;
		do {
			evt = smmu->evtq[smmuv3_q_slot(smmu->evtq_log2, smmu->evtq_cons)];
			smmu->evtq_cons = smmuv3_q_add(smmu->evtq_log2, smmu->evtq_cons, 1);
			smmuv3_store_cons(smmu->regs, SMMUV3_EVENTQ_CONS, smmu->evtq_cons);
			evfd_enqueue_record(e, &evt);
		} while (!smmuv3_q_empty(smmu->evtq_log2, prod, smmu->evtq_cons));
	}
	if (queued)
		pthread_cond_signal(&e->wake);
}

/* Acts as an interrupt controller: tells this core that the queue is not empty. */
static void *
evfd_watch_evtq(void *arg)
{
	struct evfd *e = arg;
	void *regs = e->smmu.regs;
	struct sched_param param = { 0 };

	bench_pin_thread("eventfd-line", e->cpu);
	pthread_setschedparam(pthread_self(), SCHED_IDLE, &param);
	while (!atomic_load_explicit(&e->stop, memory_order_relaxed)) {
		if (smmuv3_read32(regs, SMMUV3_EVENTQ_PROD) !=
				smmuv3_read32(regs, SMMUV3_EVENTQ_CONS))
			eventfd_write(e->irq_fd, 1);
		else
			rte_pause();
	}
	return NULL;
}

static void *
evfd_wait_irq(void *arg)
{
	struct evfd *e = arg;
	uint64_t edges;

	bench_pin_thread("eventfd-irq", e->cpu);
	while (!atomic_load_explicit(&e->stop, memory_order_relaxed))
		if (read(e->irq_fd, &edges, sizeof(edges)) == sizeof(edges))
			evfd_drain_evtq(e);
	return NULL;
}

static void
evfd_resolve_fault(struct evfd *e, const struct work *work)
{
	uint64_t offset = (work->addr - BASELINE_VA) & ~(uint64_t)(BENCH_PAGE_SIZE - 1);
	int ret = -EFAULT;

	if (offset < (uint64_t)e->pages * BENCH_PAGE_SIZE) {
		if (e->zero)
			memset(e->smmu.mem + offset, 0, BENCH_PAGE_SIZE);
		ret = pgt_resolve(e->pgt, work->addr, (uintptr_t)e->smmu.mem + offset,
				PGT_READ | PGT_WRITE);
	}
	if (ret < 0)
		e->strange++;

	pthread_mutex_lock(&e->answer_lock);
	baseline_smmu_put_command(&e->smmu,
			smmuv3_cmd_resume(work->sid, work->stag, ret == 0, ret < 0));
	baseline_smmu_publish_prod(&e->smmu);
	pthread_mutex_unlock(&e->answer_lock);

	if (e->drain_left > 0 && --e->drain_left == 0) {
		e->drain_end = smmuv3_model_cycles();
		sem_post(&e->drained);
	}
}

static void *
evfd_run_worker(void *arg)
{
	struct evfd *e = arg;
	struct sched_param param = { 0 };
	struct work *work;

	bench_pin_thread("eventfd-worker", e->cpu);
	pthread_setschedparam(pthread_self(), SCHED_BATCH, &param);
	pthread_mutex_lock(&e->lock);
	for (;;) {
		while (e->head == NULL && !atomic_load_explicit(&e->stop, memory_order_relaxed))
			pthread_cond_wait(&e->wake, &e->lock);
		work = e->head;
		if (work == NULL)
			break;
		e->head = work->next;
		if (e->head == NULL)
			e->tail = &e->head;
		pthread_mutex_unlock(&e->lock);
		evfd_resolve_fault(e, work);
		free(work);
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

static void
evfd_stop(struct mode *mode)
{
	struct evfd *e = mode->priv;

	pthread_mutex_lock(&e->lock);
	atomic_store_explicit(&e->stop, true, memory_order_relaxed);
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	eventfd_write(e->irq_fd, 1);
	while (e->nb_threads > 0)
		pthread_join(e->threads[--e->nb_threads], NULL);
}

/*
 * Without the third thread, which raises the interrupt, nothing is served until evfd_drain_queue().
 */
static int
evfd_start_threads(struct mode *mode, unsigned int nb)
{
	static void *(*const run[])(void *) = { evfd_run_worker, evfd_wait_irq, evfd_watch_evtq };
	struct evfd *e = mode->priv;
	int ret;

	atomic_store_explicit(&e->stop, false, memory_order_relaxed);
	while (e->nb_threads < nb) {
		ret = pthread_create(&e->threads[e->nb_threads], NULL, run[e->nb_threads], e);
		if (ret != 0) {
			bench_error("%s: cannot create a thread: %s", mode->ops->name,
					strerror(ret));
			evfd_stop(mode);
			return -ret;
		}
		e->nb_threads++;
	}
	return 0;
}

static int
evfd_start(struct mode *mode)
{
	struct evfd *e = mode->priv;
	int ret;

	ret = evfd_start_threads(mode, e->wired ? 2 : 3);
	if (ret < 0)
		return ret;
	/* The third thread stands for the interrupt. */
	memcpy(mode->use.threads, e->threads, sizeof(mode->use.threads));
	mode->use.nb_threads = 2;
	mode->use.kind = CPU_SLEEPS;
	return 0;
}

static int
evfd_start_drain(struct mode *mode)
{
	return evfd_start_threads(mode, 2);
}

static uint64_t
evfd_drain_queue(struct mode *mode, unsigned int n)
{
	struct evfd *e = mode->priv;

	e->drain_left = n;
	eventfd_write(e->irq_fd, 1);
	while (sem_wait(&e->drained) < 0)
		;
	return e->drain_end;
}

static int
evfd_unmap_pages(struct mode *mode)
{
	struct evfd *e = mode->priv;
	struct pgt_inv inv[4];
	struct pgt_unmapped out;
	int ret;

	pgt_unmapped_init(&out, inv, 4);
	ret = pgt_unmap(e->pgt, BASELINE_VA, (uint64_t)e->pages * BENCH_PAGE_SIZE, 0, &out);
	return ret < 0 ? ret : baseline_smmu_flush(&e->smmu);
}

static bool
evfd_check_counts(struct mode *mode)
{
	struct evfd *e = mode->priv;

	if (e->strange != 0 || e->lost != 0)
		bench_error("%s: %u events could not be resolved, %u were lost", mode->ops->name,
				e->strange, e->lost);
	return baseline_smmu_check(&e->smmu) && e->strange == 0 && e->lost == 0;
}

static void
evfd_teardown(struct mode *mode)
{
	struct evfd *e = mode->priv;

	if (e == NULL)
		return;
	pgt_destroy(e->pgt);
	baseline_smmu_destroy(&e->smmu);
	if (e->irq_fd >= 0)
		close(e->irq_fd);
	sem_destroy(&e->drained);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->answer_lock);
	pthread_mutex_destroy(&e->lock);
	free(e);
	mode->priv = NULL;
}

const struct mode_ops mode_eventfd = {
	.name = "eventfd",
	.what = "as Linux does it: an interrupt wakes a thread, which queues work to another",
	.setup = evfd_setup,
	.start = evfd_start,
	.stop = evfd_stop,
	.unmap = evfd_unmap_pages,
	.check = evfd_check_counts,
	.teardown = evfd_teardown,
};

const struct mode_ops mode_local = {
	.name = "local",
	.what = "the same, with an interrupt that costs nothing: the least it can be",
	.setup = evfd_setup_local,
	.start = evfd_start,
	.stop = evfd_stop,
	.drain = evfd_drain_queue,
	.start_drain = evfd_start_drain,
	.unmap = evfd_unmap_pages,
	.check = evfd_check_counts,
	.teardown = evfd_teardown,
};
