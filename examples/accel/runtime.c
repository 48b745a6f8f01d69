/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Managed memory and its poller; errors and figures. */

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <iopf_poller.h>

#include "internal.h"

int
accel_fail(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fflush(stdout);
	/* One call: queues may fail at the same time. */
	fprintf(stderr, "accel: %s\n", line);
	return -1;
}

static const char *const smmu_names[2][2] = {	/* [pri][no_httu] */
	{ "smmuv3,model=1,model_httu=2", "smmuv3,model=1" },
	{ "smmuv3,model=1,model_httu=2,model_pri=1", "smmuv3,model=1,model_pri=1" },
};

/* For a single core: the poll thread must yield it. */
static void *
poll_and_yield(void *arg)
{
	struct accel *accel = arg;

	while (!atomic_load_explicit(&accel->quit, memory_order_relaxed)) {
		if (iopf_poll(accel->poller) == 0)
			sched_yield();
	}
	return NULL;
}

static int
start_polling(struct accel *accel)
{
	int ret;

	/* The model's thread and the queues share the first core; the poll thread has its own. */
	accel->lcore = rte_get_next_lcore(-1, 1, 0);
	if (accel->lcore < RTE_MAX_LCORE)
		ret = -rte_eal_remote_launch(iopf_poller_run, accel->poller, accel->lcore);
	else
		ret = pthread_create(&accel->thread, NULL, poll_and_yield, accel);
	accel->polling = ret == 0;
	return ret == 0 ? 0 : accel_fail("cannot start the poller: %s", strerror(ret));
}

static void
stop_polling(struct accel *accel)
{
	if (!accel->polling)
		return;
	if (accel->lcore < RTE_MAX_LCORE) {
		iopf_poller_stop(accel->poller);
		rte_eal_wait_lcore(accel->lcore);
	} else {
		atomic_store_explicit(&accel->quit, true, memory_order_relaxed);
		pthread_join(accel->thread, NULL);
	}
	accel->polling = false;
}

static void
on_report(struct mmem_space *space __rte_unused, const struct mmem_report *report, void *ctx)
{
	struct accel *accel = ctx;
	int none = 0;

	atomic_compare_exchange_strong(&accel->refused, &none, report->error);
}

/* With a budget the pool needs a swap file: one without a name. */
static int
create_pool(struct accel *accel, const struct accel_conf *conf)
{
	struct mmem_pool_conf pool = { .iommu = accel->smmu, .budget = conf->budget,
		.size = RTE_ALIGN_CEIL(conf->size, MMEM_CHUNK_SIZE) +
				ACCEL_MAX_BUFFERS * MMEM_CHUNK_SIZE };
	const char *dir = getenv("TMPDIR");
	char swap[4096];
	int fd;

	if (conf->budget != 0) {
		snprintf(swap, sizeof(swap), "%s/accel-XXXXXX", dir != NULL ? dir : "/var/tmp");
		fd = mkstemp(swap);
		if (fd < 0)
			return accel_fail("%s: cannot make a swap file: %s; set TMPDIR", swap,
					strerror(errno));
		close(fd);
		pool.swap = swap;
	}
	accel->pool = mmem_pool_create(&pool);
	if (conf->budget != 0)
		unlink(swap);
	return accel->pool != NULL ? 0 : accel_fail("cannot make a pool of %zu bytes: %s; give a "
			"smaller file", conf->size, rte_strerror(rte_errno));
}

static int
create_memory(struct accel *accel, const struct accel_conf *conf)
{
	accel->smmu_name = smmu_names[conf->pri][conf->no_httu];
	accel->smmu = iopf_iommu_open(accel->smmu_name);
	if (accel->smmu == NULL)
		return accel_fail("cannot open %s: %s", accel->smmu_name, rte_strerror(rte_errno));
	accel->model = smmuv3_model_lookup("1");
	if (accel->model == NULL)
		return accel_fail("%s is open, but no model has the name 1", accel->smmu_name);
	if (create_pool(accel, conf) < 0)
		return -1;
	accel->space = mmem_space_create(&(struct mmem_space_conf){ .pool = accel->pool,
			.report = on_report, .ctx = accel });
	if (accel->space == NULL)
		return accel_fail("cannot make an address space: %s", rte_strerror(rte_errno));
	if (iopf_iommu_start(accel->smmu) < 0)
		return accel_fail("cannot start %s: %s", accel->smmu_name,
				rte_strerror(rte_errno));
	accel->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "accel" });
	if (accel->poller == NULL ||
			iopf_poller_add(accel->poller, accel->smmu, IOPF_QUEUE_ALL) < 0)
		return accel_fail("cannot make a poller: %s", rte_strerror(rte_errno));
	return start_polling(accel);
}

struct accel *
accel_create(const struct accel_conf *conf)
{
	struct accel *accel = calloc(1, sizeof(*accel));

	if (accel == NULL) {
		accel_fail("out of memory");
		return NULL;
	}
	accel->pri = conf->pri;
	pthread_mutex_init(&accel->lock, NULL);
	pthread_cond_init(&accel->changed, NULL);
	if (create_memory(accel, conf) < 0) {
		accel_destroy(accel);
		return NULL;
	}
	return accel;
}

static void
destroy_devices(struct accel *accel)
{
	struct accel_device *device;
	unsigned int i, j;

	for (i = 0; i < accel->nb_devices; i++) {
		for (j = 0; j < accel->devices[i].nb_queues; j++)
			accel_queue_stop(&accel->devices[i].queues[j]);
	}
	/* DMAs without an answer end with the SMMU; then the queues can drain. */
	if (atomic_load(&accel->hung))
		iopf_iommu_stop(accel->smmu);
	for (i = 0; i < accel->nb_devices; i++) {
		device = &accel->devices[i];
		for (j = 0; j < device->nb_queues; j++)
			accel_queue_destroy(&device->queues[j]);
		accel_close(device);
	}
}

void
accel_destroy(struct accel *accel)
{
	unsigned int i;

	if (accel == NULL)
		return;
	destroy_devices(accel);
	stop_polling(accel);
	if (accel->poller != NULL)
		iopf_poller_destroy(accel->poller);
	if (accel->space != NULL)
		mmem_space_destroy(accel->space);
	if (accel->pool != NULL)
		mmem_pool_destroy(accel->pool);
	if (accel->smmu != NULL) {
		iopf_iommu_stop(accel->smmu);
		if (iopf_iommu_close(accel->smmu) < 0)
			accel_fail("cannot close %s: %s", accel->smmu_name,
					rte_strerror(rte_errno));
	}
	for (i = 0; i < accel->nb_bufs; i++)
		free(accel->bufs[i].touched);
	pthread_cond_destroy(&accel->changed);
	pthread_mutex_destroy(&accel->lock);
	free(accel);
}

static void *
add_buf(struct accel *accel, void *ptr, size_t size)
{
	struct buf *buf = &accel->bufs[atomic_load(&accel->nb_bufs)];

	buf->touched = calloc((size + PAGE_SIZE - 1) / PAGE_SIZE, sizeof(*buf->touched));
	if (buf->touched == NULL) {
		accel_fail("out of memory");
		return NULL;
	}
	atomic_store(&buf->ptr, ptr);
	buf->size = size;
	/* Pairs with the acquire in mark_touched(): the buffer. */
	atomic_fetch_add_explicit(&accel->nb_bufs, 1, memory_order_release);
	return ptr;
}

static bool
has_room_for_buf(const struct accel *accel)
{
	if (accel->nb_bufs == ACCEL_MAX_BUFFERS)
		accel_fail("more than %d buffers", ACCEL_MAX_BUFFERS);
	return accel->nb_bufs < ACCEL_MAX_BUFFERS;
}

void *
accel_malloc_managed(struct accel *accel, size_t size, unsigned int flags)
{
	void *ptr;

	if (!has_room_for_buf(accel))
		return NULL;
	ptr = mmem_alloc(accel->space, size, flags);
	if (ptr == NULL) {
		accel_fail("cannot allocate %zu bytes: %s; give a smaller file", size,
				rte_strerror(rte_errno));
		return NULL;
	}
	return add_buf(accel, ptr, size);
}

void *
accel_map_file(struct accel *accel, const char *path, size_t size, unsigned int flags)
{
	void *ptr;

	if (!has_room_for_buf(accel))
		return NULL;
	ptr = mmem_map_file(accel->space, path, 0, size, flags);
	if (ptr == NULL) {
		accel_fail("%s: cannot map %zu bytes: %s; give a readable file", path, size,
				rte_strerror(rte_errno));
		return NULL;
	}
	return add_buf(accel, ptr, size);
}

int
accel_free(struct accel *accel, void *ptr)
{
	unsigned int i;

	if (mmem_free(accel->space, ptr) < 0)
		return accel_fail("cannot free a buffer: %s", rte_strerror(rte_errno));
	/* Its pages stay in the figures. */
	for (i = 0; i < accel->nb_bufs; i++) {
		if (accel->bufs[i].ptr == ptr)
			atomic_store(&accel->bufs[i].ptr, NULL);
	}
	return 0;
}

int
accel_advise(struct accel *accel, void *ptr, size_t size, enum mmem_advice advice)
{
	if (mmem_advise(accel->space, ptr, RTE_ALIGN_CEIL(size, PAGE_SIZE), advice) < 0)
		return accel_fail("advice for %zu bytes: %s", size, rte_strerror(rte_errno));
	return 0;
}

static void
add_up_queues(const struct accel *accel, struct accel_figures *figures)
{
	const struct accel_queue *queue;
	uint64_t begin = UINT64_MAX, end = 0;
	unsigned int i, j;

	for (i = 0; i < accel->nb_devices; i++) {
		for (j = 0; j < accel->devices[i].nb_queues; j++) {
			queue = &accel->devices[i].queues[j];
			figures->bytes += queue->bytes;
			if (queue->t_start == 0)
				continue;
			begin = RTE_MIN(begin, queue->t_start);
			end = RTE_MAX(end, queue->t_end);
		}
	}
	if (end > begin)
		figures->seconds = (double)(end - begin) / rte_get_tsc_hz();
}

void
accel_get_figures(const struct accel *accel, struct accel_figures *figures)
{
	const struct iopf_domain *domain = mmem_space_domain(accel->space);
	unsigned int i;
	size_t page;

	memset(figures, 0, sizeof(*figures));
	for (i = 0; i < accel->nb_bufs; i++) {
		for (page = 0; page * PAGE_SIZE < accel->bufs[i].size; page++)
			figures->touched += atomic_load_explicit(&accel->bufs[i].touched[page],
					memory_order_relaxed);
	}
	add_up_queues(accel, figures);
	figures->groups = iopf_domain_stat(domain, IOPF_STAT_FAULTS);
	figures->faults = accel->pri ? iopf_domain_stat(domain, IOPF_STAT_REQUESTS) :
			figures->groups;
	figures->mapped = mmem_stat(accel->space, MMEM_STAT_MAPPED);
	figures->ahead = mmem_stat(accel->space, MMEM_STAT_AHEAD);
	figures->prefetched = mmem_stat(accel->space, MMEM_STAT_PREFETCHED);
	figures->deferred = mmem_stat(accel->space, MMEM_STAT_DEFERRED);
	figures->filled = mmem_stat(accel->space, MMEM_STAT_FILLED);
	figures->evicted = mmem_stat(accel->space, MMEM_STAT_EVICTED);
	figures->mistakes = smmuv3_model_driver_errors(accel->model) +
			smmuv3_model_oracle_errors(accel->model);
	iopf_domain_latency(domain, &figures->latency);
}
