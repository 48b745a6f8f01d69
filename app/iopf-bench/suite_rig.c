/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * SMMUs, devices with engines, a poll thread. No address is mapped, so each access faults; the
 * handler's answer ends it.
 *
 * A closed loop goes on in the function that the engine calls for a finished access, so that it
 * does not stop while a control call steps the model. An open loop is submitted by rig_run() alone.
 */

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_pause.h>

#include "suite.h"

#define ACCESS_SIZE	8
#define FIRST_ADDR	(UINT64_C(1) << 32)
#define PAGES		(UINT64_C(1) << 20)
#define STEP_BUDGET	32

static int
rig_log_error(const char *what)
{
	bench_error("%s: %s", what, rte_strerror(rte_errno));
	return -rte_errno;
}

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct source *source = ctx;
	uint64_t end;

	(void)domain;
	atomic_store_explicit(&source->handled, atomic_load_explicit(&source->handled,
			memory_order_relaxed) + 1, memory_order_relaxed);
	if (source->phases != NULL) {
		/* The look-ups are done: later than a plain read of the clock, which overtakes them. */
		source->phases->t_handler = rte_rdtsc_precise();
		source->phases->t_read = group->faults[0]->time;
	}
	if (source->work != 0)
		for (end = rte_rdtsc() + source->work; rte_rdtsc() < end;)
			rte_pause();
	return source->conf.verdict;
}

/* Of the only access under way. */
static void
record_phases(struct phases *phases, const struct smmuv3_model_done *done)
{
	hist_add(&phases->seen, phases->t_read - done->t_event);
	hist_add(&phases->dispatched, phases->t_handler - phases->t_read);
	hist_add(&phases->answered, done->t_resume - phases->t_handler);
}

/* The device's side of all accesses; the handler lets none of them move a byte. */
static uint64_t access_bytes;

static int
source_submit(struct source *source, uint64_t due)
{
	struct smmuv3_model_op op = {
		.type = SMMUV3_MODEL_READ,
		.addr = FIRST_ADDR + (source->next % PAGES) * BENCH_PAGE_SIZE,
		.buf = &access_bytes,
		.len = ACCESS_SIZE,
		.cookie = due,
	};
	int ret = smmuv3_model_dma_submit(source->dma, &op);

	if (ret == 0)
		source->next++;
	return ret;
}

static void
on_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	struct source *source = ctx;

	(void)dma;
	if (source->recording && done->status == SMMUV3_MODEL_ABORTED) {
		source->aborted++;
	} else if (source->recording) {
		source->served++;
		if (source->rig->phases != NULL)
			record_phases(source->rig->phases, done);
		hist_add(&source->service, done->t_resume - done->t_event);
		hist_add(&source->whole, done->t_end - done->cookie);
	}
	if (source->interval == 0 && !source->conf.once &&
			!atomic_load_explicit(&source->stopped, memory_order_relaxed))
		source_submit(source, smmuv3_model_cycles());
}

static void *
rig_run_poller(void *arg)
{
	struct rig *rig = arg;

	bench_pin_thread("poller", rig->suite->conf->cpu_servicer);
	iopf_poller_run(rig->poller);
	return NULL;
}

void
rig_stop_poller(struct rig *rig)
{
	if (!rig->running)
		return;
	iopf_poller_stop(rig->poller);
	pthread_join(rig->thread, NULL);
	rig->running = false;
}

double
rig_get_cpu_seconds(const struct rig *rig)
{
	clockid_t clock;
	struct timespec ts;

	if (pthread_getcpuclockid(rig->thread, &clock) != 0 || clock_gettime(clock, &ts) != 0)
		return 0;
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int
rig_open_smmu(struct rig *rig, unsigned int i)
{
	char name[32], devstr[64];

	snprintf(name, sizeof(name), "iopf-bench-suite%u", i);
	rig->models[i] = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = name,
			.stall_max = SUITE_STALLS, .tlb_log2 = 6 });
	if (rig->models[i] == NULL) {
		bench_error("cannot create SMMU %u: %s", i, strerror(errno));
		return -errno;
	}
	snprintf(devstr, sizeof(devstr), "smmuv3,model=%s", name);
	rig->iommus[i] = iopf_iommu_open(devstr);
	if (rig->iommus[i] == NULL)
		return rig_log_error("iopf_iommu_open()");
	if (iopf_poller_add(rig->poller, rig->iommus[i], IOPF_QUEUE_ALL) < 0)
		return rig_log_error("iopf_poller_add()");
	if (iopf_iommu_start(rig->iommus[i]) < 0)
		return rig_log_error("iopf_iommu_start()");
	rig->started[i] = true;
	return 0;
}

int
rig_open(struct rig *rig, struct suite *suite, unsigned int nb_smmus, enum iopf_idle idle)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	unsigned int i;
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->suite = suite;
	rig->nb_smmus = nb_smmus;
	bench_pin_thread("devices", suite->conf->cpu_model);
	rig->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "bench",
			.burst = BENCH_BURST, .idle = idle });
	if (rig->poller == NULL)
		return rig_log_error("iopf_poller_create()");
	for (i = 0; i < nb_smmus; i++) {
		ret = rig_open_smmu(rig, i);
		if (ret < 0)
			return ret;
	}
	/* It must not need the devices' CPU to begin: their thread never waits. */
	CPU_ZERO(&cpus);
	CPU_SET(suite->conf->cpu_servicer, &cpus);
	pthread_attr_init(&attr);
	ret = pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	if (ret == 0)
		ret = pthread_create(&rig->thread, &attr, rig_run_poller, rig);
	pthread_attr_destroy(&attr);
	if (ret != 0) {
		bench_error("cannot create a thread: %s", strerror(ret));
		return -ret;
	}
	rig->running = true;
	return 0;
}

static int
source_open(struct source *source)
{
	const struct source_conf *conf = &source->conf;
	struct rig *rig = source->rig;
	unsigned int i;

	source->dma = smmuv3_model_dma_create(rig->models[conf->smmu],
			&(struct smmuv3_model_dma_conf){ .sid = conf->sid, .depth = conf->depth,
					.on_done = on_done, .ctx = source });
	if (source->dma == NULL) {
		bench_error("cannot create an engine: %s", strerror(errno));
		return -errno;
	}
	source->dev = iopf_dev_add(rig->iommus[conf->smmu], &(struct iopf_dev_conf){
			.sids = &conf->sid, .nb_sids = 1, .limits = conf->limits });
	if (source->dev == NULL)
		return rig_log_error("iopf_dev_add()");
	for (i = 0; conf->domain == NULL && i <= conf->second_domain; i++) {
		source->domains[i] = iopf_domain_create(&(struct iopf_domain_conf){
				.handler = on_fault, .ctx = source, .storm = conf->storm });
		if (source->domains[i] == NULL)
			return rig_log_error("iopf_domain_create()");
	}
	if (iopf_domain_attach(conf->domain != NULL ? conf->domain : source->domains[0],
			source->dev, IOPF_NO_PASID) < 0)
		return rig_log_error("iopf_domain_attach()");
	source->is_attached = true;
	return 0;
}

struct source *
rig_add_source(struct rig *rig, const struct source_conf *conf)
{
	struct source **sources = realloc(rig->sources, (rig->nb_sources + 1) * sizeof(*sources));
	struct source *source = calloc(1, sizeof(*source));

	if (sources != NULL)
		rig->sources = sources;
	if (sources == NULL || source == NULL) {
		bench_error("no memory for %u devices", rig->nb_sources + 1);
		free(source);
		return NULL;
	}
	source->rig = rig;
	source->conf = *conf;
	if (source->conf.verdict == 0)
		source->conf.verdict = IOPF_ANSWER(IOPF_RAZWI);
	source->work = (uint64_t)(conf->work_ns * rig->suite->cycles_per_ns);
	source->interval = (uint64_t)(conf->interval_ns * rig->suite->cycles_per_ns);
	rig->sources[rig->nb_sources++] = source;
	return source_open(source) < 0 ? NULL : source;
}

static int
source_begin(struct source *source)
{
	uint64_t now = smmuv3_model_cycles();
	unsigned int i;
	int ret;

	source->due = now + source->interval;
	for (i = 0; source->interval == 0 && i < source->conf.depth; i++) {
		ret = source_submit(source, now);
		if (ret < 0) {
			bench_error("an engine accepts only %u accesses", i);
			return ret;
		}
	}
	return 0;
}

int
rig_begin(struct rig *rig)
{
	unsigned int i;
	int ret = 0;

	for (i = 0; i < rig->nb_sources && ret == 0; i++)
		ret = source_begin(rig->sources[i]);
	return ret;
}

static void
source_submit_due(struct source *source, uint64_t now)
{
	bool full;

	if (source->interval == 0 ||
			atomic_load_explicit(&source->stopped, memory_order_relaxed))
		return;
	for (; source->due <= now; source->due += source->interval) {
		full = source_submit(source, source->due) < 0;
		source->offered += source->recording;
		source->refused += source->recording && full;
	}
}

static void
rig_set_recording(struct rig *rig, bool recording)
{
	unsigned int i;

	for (i = 0; i < rig->nb_sources; i++)
		rig->sources[i]->recording = recording;
}

static void
rig_step(struct rig *rig)
{
	uint64_t now = smmuv3_model_cycles();
	unsigned int i;

	for (i = 0; i < rig->nb_sources; i++)
		source_submit_due(rig->sources[i], now);
	for (i = 0; i < rig->nb_smmus; i++)
		smmuv3_model_step(rig->models[i], STEP_BUDGET);
}

void
rig_run(struct rig *rig, double ms, bool record)
{
	uint64_t start = smmuv3_model_cycles(), now;
	uint64_t end = start + (uint64_t)(ms * 1e6 * rig->suite->cycles_per_ns);

	rig_set_recording(rig, record);
	do {
		rig_step(rig);
		now = smmuv3_model_cycles();
	} while (now < end);
	rig_set_recording(rig, false);
	rig->seconds = (double)(now - start) / rig->suite->cycles_per_ns * 1e-9;
}

int
rig_run_in_turn(struct rig *rig, unsigned int n, struct phases *phases)
{
	struct source *source, *first = rig->sources[0];
	uint64_t before = first->served, warm_up = n / 16;
	unsigned int i;

	/* No access is under way. The poll thread sees this before the record of the next one. */
	first->phases = rig->phases = phases;
	for (i = 0; i < n; i++) {
		source = rig->sources[i % rig->nb_sources];
		source->recording = i >= warm_up;
		source_submit(source, smmuv3_model_cycles());
		while (smmuv3_model_dma_outstanding(source->dma) != 0)
			smmuv3_model_step(rig->models[source->conf.smmu], STEP_BUDGET);
	}
	for (i = 1; i < rig->nb_sources; i++) {
		hist_merge(&first->service, &rig->sources[i]->service);
		first->served += rig->sources[i]->served;
		rig->sources[i]->served = 0;
	}
	if (first->served - before != n - warm_up) {
		bench_error("%" PRIu64 " of %" PRIu64 " accesses were answered by the handler",
				first->served - before, n - warm_up);
		return -EIO;
	}
	return 0;
}

int
rig_finish(struct rig *rig, struct source *source, double ms)
{
	uint64_t end = smmuv3_model_cycles() + (uint64_t)(ms * 1e6 * rig->suite->cycles_per_ns);

	atomic_store(&source->stopped, true);
	while (smmuv3_model_dma_outstanding(source->dma) != 0) {
		rig_step(rig);
		if (smmuv3_model_cycles() > end) {
			bench_error("%u accesses have not ended after %.0f ms; this is a defect, "
					"please report it",
					smmuv3_model_dma_outstanding(source->dma), ms);
			return -ETIMEDOUT;
		}
	}
	return 0;
}

static int
source_close(struct source *source)
{
	unsigned int i;

	if (source->is_attached && iopf_dev_remove(source->dev) < 0)
		return rig_log_error("iopf_dev_remove()");
	if (!source->is_attached && source->dev != NULL)
		iopf_dev_remove(source->dev);
	smmuv3_model_dma_destroy(source->dma);
	for (i = 0; i < 2; i++)
		if (source->domains[i] != NULL && iopf_domain_destroy(source->domains[i]) < 0)
			return rig_log_error("iopf_domain_destroy()");
	free(source);
	return 0;
}

/* A recovery, or the end of an SMMU that is given up, ends stalls without an answer. */
static int
check_iommu(const struct iopf_iommu *iommu)
{
	if (iopf_iommu_stat(iommu, IOPF_IOMMU_STAT_RESETS) == 0)
		return 0;
	bench_error("\"%s\" recovered from an error, or was given up: its figures are wrong; run "
			"it again on a quieter machine", iopf_iommu_name(iommu));
	return -EIO;
}

static int
check_model(struct smmuv3_model *model)
{
	if (smmuv3_model_driver_errors(model) != 0) {
		bench_error("%u driver errors, the first: %s", smmuv3_model_driver_errors(model),
				smmuv3_model_driver_error(model, 0));
		return -EIO;
	}
	if (smmuv3_model_oracle_errors(model) != 0) {
		bench_error("%u oracle errors, the first: %s", smmuv3_model_oracle_errors(model),
				smmuv3_model_oracle_error(model, 0));
		return -EIO;
	}
	return 0;
}

int
rig_close_smmu(struct iopf_iommu *iommu, struct smmuv3_model *model, int ret)
{
	if (iommu != NULL && ret == 0)
		ret = check_iommu(iommu);
	if (iommu != NULL)
		iopf_iommu_close(iommu);
	if (model != NULL && ret == 0)
		ret = check_model(model);
	smmuv3_model_destroy(model);
	return ret;
}

int
rig_close(struct rig *rig, int ret)
{
	unsigned int i;

	for (i = 0; i < rig->nb_sources; i++)
		atomic_store(&rig->sources[i]->stopped, true);
	/* The source that owns a shared domain is the first one. */
	for (i = rig->nb_sources; i-- > 0;)
		if (source_close(rig->sources[i]) < 0)
			return -ETIMEDOUT;
	free(rig->sources);
	rig_stop_poller(rig);
	for (i = 0; i < rig->nb_smmus; i++)
		if (rig->started[i])
			iopf_iommu_stop(rig->iommus[i]);
	iopf_poller_destroy(rig->poller);
	for (i = 0; i < rig->nb_smmus; i++)
		ret = rig_close_smmu(rig->iommus[i], rig->models[i], ret);
	return ret;
}
