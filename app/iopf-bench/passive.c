/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_errno.h>

#include <iopf.h>
#include <iopf_handler.h>
#include <iopf_poller.h>
#include <iopf_stats.h>
#include <mmem.h>

#include "mailbox_load.h"
#include "passive.h"
#include "progress.h"

/* A pool's chunk has the tables of so many. */
#define CHUNKS_PER_TABLES	512
/* An interrupt ends a wait within this time. */
#define INTERRUPT_MS		100

struct passive {
	const struct bench_conf *conf;
	struct iopf_iommu *iommu;
	struct iopf_dev *devs[BENCH_MAX_STREAMS];
	unsigned int nb_attached;	/* of devs */
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	uint8_t *region;
	size_t size;
	bool started;
	bool polling;
	pthread_t thread;
	atomic_bool stop;
	atomic_bool ended;
	uint64_t latencies[IOPF_LATENCY_STEPS];	/* the last reading */
};

const struct passive_count passive_counts[PASSIVE_NB_COUNTS] = {
	{ PASSIVE_DOMAIN, IOPF_STAT_FAULTS },
	{ PASSIVE_DOMAIN, IOPF_STAT_SUCCESS },
	{ PASSIVE_DOMAIN, IOPF_STAT_INVALID },
	{ PASSIVE_DOMAIN, IOPF_STAT_DEFERRED },
	{ PASSIVE_DOMAIN, IOPF_STAT_JOINED },
	{ PASSIVE_MEMORY, MMEM_STAT_MAPPED },
	{ PASSIVE_MEMORY, MMEM_STAT_NO_REGION },
	{ PASSIVE_MEMORY, MMEM_STAT_FORBIDDEN },
	{ PASSIVE_IOMMU, IOPF_IOMMU_STAT_UNKNOWN_SID },
	{ PASSIVE_IOMMU, IOPF_IOMMU_STAT_NO_DOMAIN },
	{ PASSIVE_IOMMU, IOPF_IOMMU_STAT_NO_SLOT },
	{ PASSIVE_IOMMU, IOPF_IOMMU_STAT_EVENT_LOSSES },
	{ PASSIVE_IOMMU, IOPF_IOMMU_STAT_RESETS },
};

const char *
passive_count_name(const struct passive_count *count)
{
	switch (count->of) {
	case PASSIVE_DOMAIN:
		return iopf_stat_name(count->stat);
	case PASSIVE_MEMORY:
		return mmem_stat_name(count->stat);
	case PASSIVE_IOMMU:
		break;
	}
	return iopf_iommu_stat_name(count->stat);
}

static uint64_t
read_count(const struct passive *p, const struct passive_count *count)
{
	switch (count->of) {
	case PASSIVE_DOMAIN:
		return iopf_domain_stat(mmem_space_domain(p->space), count->stat);
	case PASSIVE_MEMORY:
		return mmem_stat(p->space, count->stat);
	case PASSIVE_IOMMU:
		break;
	}
	return iopf_iommu_stat(p->iommu, count->stat);
}

void *
passive_get_region(const struct passive *p, size_t *size)
{
	*size = p->size;
	return p->region;
}

static void *
run_poller(void *arg)
{
	struct passive *p = arg;

	bench_pin_thread("polled", p->conf->cpu_servicer);
	if (p->conf->idle != IDLE_POLL)
		iopf_poller_run(p->poller);
	else
		while (!atomic_load_explicit(&p->stop, memory_order_relaxed))
			iopf_poll(p->poller);
	return NULL;
}

/* The libraries log what is wrong with a device string, a StreamID or a size. */
static int
fail(const struct passive *p, const char *what)
{
	int error = rte_errno;

	bench_error("--device %s: %s: %s", p->conf->passive.device, what, rte_strerror(error));
	return -error;
}

static int
make_memory(struct passive *p)
{
	size_t chunks = p->size / MMEM_CHUNK_SIZE;

	p->pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "bench", .iommu = p->iommu,
			.size = (chunks + chunks / CHUNKS_PER_TABLES + 2) * MMEM_CHUNK_SIZE });
	if (p->pool == NULL)
		return -rte_errno;
	p->space = mmem_space_create(&(struct mmem_space_conf){ .name = "bench",
			.pool = p->pool, .window = 1 });
	if (p->space == NULL)
		return fail(p, "cannot create a space");
	p->region = mmem_alloc(p->space, p->size, MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	return p->region == NULL ? fail(p, "cannot allocate the region") : 0;
}

static int
add_devices(struct passive *p)
{
	const struct passive_conf *conf = &p->conf->passive;
	uint32_t pasid = conf->pasid == 0 ? IOPF_NO_PASID : conf->pasid;
	uint32_t sid;
	unsigned int i;

	for (i = 0; i < conf->nb_streams; i++) {
		sid = conf->streams[i];
		p->devs[i] = iopf_dev_add(p->iommu, &(struct iopf_dev_conf){ .sids = &sid,
				.nb_sids = 1,
				.nb_pasids = conf->pasid == 0 ? 0 : conf->pasid + 1 });
		if (p->devs[i] == NULL)
			return -rte_errno;
		if (mmem_attach(p->space, p->devs[i], pasid) < 0)
			return fail(p, "cannot attach the device to the space");
		p->nb_attached++;
	}
	return 0;
}

static int
start(struct passive *p)
{
	static const enum iopf_idle policies[BENCH_NB_IDLES] = {
		[IDLE_PAUSE] = IOPF_IDLE_PAUSE,
		[IDLE_SPIN] = IOPF_IDLE_SPIN,
		[IDLE_YIELD] = IOPF_IDLE_YIELD,
		[IDLE_SLEEP] = IOPF_IDLE_SLEEP,
	};
	int ret;

	p->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "bench",
			.burst = BENCH_BURST, .idle = policies[p->conf->idle] });
	if (p->poller == NULL)
		return fail(p, "cannot create a poller");
	if (iopf_poller_add(p->poller, p->iommu, IOPF_QUEUE_ALL) < 0)
		return fail(p, "cannot poll the SMMU");
	if (iopf_iommu_start(p->iommu) < 0)
		return fail(p, "cannot start the SMMU");
	p->started = true;
	ret = pthread_create(&p->thread, NULL, run_poller, p);
	if (ret != 0) {
		bench_error("cannot create the poll thread: %s", strerror(ret));
		return -ret;
	}
	p->polling = true;
	return 0;
}

struct passive *
passive_open(const struct bench_conf *conf)
{
	struct passive *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		bench_error("no memory for the SMMU");
		return NULL;
	}
	p->conf = conf;
	p->size = (size_t)conf->passive.region_mib << 20;
	p->iommu = iopf_iommu_open(conf->passive.device);
	if (p->iommu != NULL && make_memory(p) == 0 && add_devices(p) == 0 && start(p) == 0)
		return p;
	passive_close(p);
	return NULL;
}

int
passive_close(struct passive *p)
{
	unsigned int i;
	int ret = 0;

	/* The poll thread answers while the devices are detached. */
	for (i = 0; i < p->nb_attached && ret == 0; i++) {
		ret = mmem_detach(p->space, p->devs[i], p->conf->passive.pasid == 0 ?
				IOPF_NO_PASID : p->conf->passive.pasid);
		if (ret < 0)
			fail(p, "cannot detach a device");
	}
	if (p->polling) {
		atomic_store(&p->stop, true);
		iopf_poller_stop(p->poller);
		pthread_join(p->thread, NULL);
	}
	/* What the SMMU may still use is not freed: each call refuses that. */
	if (p->started && iopf_iommu_stop(p->iommu) < 0 && ret == 0)
		ret = fail(p, "cannot stop the SMMU");
	for (i = 0; i < p->conf->passive.nb_streams; i++)
		iopf_dev_remove(p->devs[i]);
	if (mmem_space_destroy(p->space) < 0 && ret == 0)
		ret = fail(p, "cannot destroy the space");
	mmem_pool_destroy(p->pool);
	iopf_poller_destroy(p->poller);
	if (iopf_iommu_close(p->iommu) < 0 && ret == 0)
		ret = fail(p, "cannot close the SMMU");
	free(p);
	return ret;
}

int
passive_unmap(struct passive *p)
{
	if (mmem_unmap(p->space, p->region, p->size) < 0)
		return fail(p, "cannot unmap the region");
	return 0;
}

void
passive_end(struct passive *p)
{
	atomic_store(&p->ended, true);
}

static bool
is_ended(struct passive *p)
{
	return interrupt_is_asked() || atomic_load(&p->ended);
}

/* What was answered since the last reading. */
static void
read_interval(struct passive *p, struct hist *h)
{
	static uint64_t now[IOPF_LATENCY_STEPS];
	uint64_t low = 0, high;
	unsigned int i;

	/* The poll thread counts at the end of its pass: have those whose access has ended. */
	iopf_quiesce();
	iopf_domain_histogram(mmem_space_domain(p->space), now);
	for (i = 0; i < IOPF_LATENCY_STEPS; i++) {
		high = iopf_latency_step_cycles(i);
		/* A sample is known to its step: take the middle. */
		if (now[i] != p->latencies[i])
			hist_add_many(h, low + (high - low) / 2, now[i] - p->latencies[i]);
		low = high + 1;
	}
	memcpy(p->latencies, now, sizeof(now));
}

static uint64_t
get_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
sleep_until(uint64_t ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

/* Wait until the interval ends, or an interrupt, and unmap the region as often as asked for. */
static int
wait_interval(struct passive *p, uint64_t end, uint64_t *refault)
{
	unsigned int period = p->conf->passive.refault_ms;
	uint64_t now, wake;

	for (now = get_ms(); now < end && !is_ended(p); now = get_ms()) {
		if (period != 0 && now >= *refault) {
			int ret = passive_unmap(p);

			if (ret < 0)
				return ret;
			/* An unmap may take longer than the period. */
			*refault = get_ms() + period;
			continue;
		}
		/* The signal of an interrupt may come on another thread. */
		wake = now + INTERRUPT_MS;
		if (end < wake)
			wake = end;
		if (period != 0 && *refault < wake)
			wake = *refault;
		sleep_until(wake);
	}
	return 0;
}

static int
measure_intervals(struct passive *p, struct results *res,
		void (*on_interval)(const struct results *res, unsigned int i, uint64_t waiting))
{
	unsigned int ms = p->conf->passive.interval_ms, i;
	uint64_t begin = get_ms(), refault = begin + p->conf->passive.refault_ms;
	uint64_t before = rte_rdtsc(), now;
	struct cell *cell;
	int ret = 0;

	for (i = 0; i < p->conf->rounds && !is_ended(p) && ret == 0; i++) {
		ret = wait_interval(p, begin + (uint64_t)(i + 1) * ms, &refault);
		cell = results_get_cell(res, i, 0);
		read_interval(p, &cell->service);
		now = rte_rdtsc();
		cell->cycles = now - before;
		before = now;
		res->rounds[i] = (struct round){ .pingpong_ns = -1, .foreign = -1, .counted = true,
			.seconds = (double)cell->cycles * 1e-9 / res->cycles_per_ns };
		res->nb_rounds++;
		res->nb_counted++;
		if (on_interval != NULL)
			on_interval(res, i, iopf_domain_pending(mmem_space_domain(p->space)));
	}
	/* Without a time the interrupt is the end. */
	res->interrupted = interrupt_is_asked() && p->conf->passive.seconds != 0;
	return ret;
}

int
passive_measure(struct passive *p, struct results *res,
		void (*on_interval)(const struct results *res, unsigned int i, uint64_t waiting))
{
	uint64_t answered = 0;
	double seconds = 0;
	unsigned int i;
	int ret;

	*res = (struct results){ .conf = p->conf,
		.cycles_per_ns = (double)rte_get_tsc_hz() * 1e-9,
		.rounds = calloc(p->conf->rounds, sizeof(*res->rounds)),
		.cells = calloc(p->conf->rounds, sizeof(*res->cells)) };
	if (res->rounds == NULL || res->cells == NULL) {
		bench_error("no memory for the results of %u intervals; take fewer with --interval",
				p->conf->rounds);
		return -ENOMEM;
	}
	ret = measure_intervals(p, res, on_interval);
	for (i = 0; i < PASSIVE_NB_COUNTS; i++)
		res->counts[i] = read_count(p, &passive_counts[i]);
	for (i = 0; i < res->nb_rounds; i++) {
		answered += results_get_cell(res, i, 0)->service.samples;
		seconds += res->rounds[i].seconds;
	}
	if (ret < 0 || answered > 0)
		return ret;
	/* The caller of passive_end() has reported why. */
	if (!atomic_load(&p->ended))
		bench_error("no fault arrived in %.1f s; let the device access the region that is "
				"printed, with a StreamID of --streams", seconds);
	return -ENODATA;
}

int
passive_run(const struct bench_conf *conf, struct results *res)
{
	bool has_mailbox = conf->engine == ENGINE_MAILBOX;
	struct mailbox *mailbox = has_mailbox ? mailbox_open(conf) : NULL;
	struct passive *p = NULL;
	int ret = -EIO, ended = 0;

	memset(res, 0, sizeof(*res));
	if (mailbox != NULL || !has_mailbox)
		p = passive_open(conf);
	if (p != NULL) {
		interrupt_catch();
		passive_print_header(p, conf);
		ret = has_mailbox ? mailbox_start(mailbox, p) : 0;
		if (ret == 0) {
			ret = passive_measure(p, res, passive_print_interval);
			ended = has_mailbox ? mailbox_stop(mailbox) : 0;
		}
		ret = ended < 0 ? ended : ret;
		ended = passive_close(p);
		ret = ret < 0 ? ret : ended;
	}
	mailbox_close(mailbox);
	return ret;
}
