/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "attachment.h"
#include "breaker.h"
#include "domain.h"
#include "episode.h"
#include "iopf_log.h"
#include "iopf_pci.h"
#include "iopf_policy.h"
#include "iopf_support.h"
#include "listener.h"
#include "stats.h"

/* Length of a name in the dump; encoded as in telemetry. */
#define MAX_NAME 128

/* The dump, telemetry and the guides use these tables. */

const char *
iopf_code_name(enum iopf_code code)
{
	static const char *const names[IOPF_NB_CODES] = {
		[IOPF_SUCCESS] = "success",
		[IOPF_INVALID] = "invalid",
		[IOPF_FAILURE] = "failure",
		[IOPF_RAZWI] = "razwi",
	};

	return (unsigned int)code < IOPF_NB_CODES ? names[code] : "unknown";
}

const char *
iopf_reason_name(enum iopf_reason reason)
{
	static const char *const names[IOPF_NB_REASONS] = {
		[IOPF_REASON_TRANSLATION] = "translation",
		[IOPF_REASON_ADDR_SIZE] = "addr_size",
		[IOPF_REASON_ACCESS] = "access",
		[IOPF_REASON_PERMISSION] = "permission",
		[IOPF_REASON_CONFIG] = "config",
		[IOPF_REASON_OTHER] = "other",
	};

	return (unsigned int)reason < IOPF_NB_REASONS ? names[reason] : "unknown";
}

const char *
iopf_state_name(enum iopf_state state)
{
	static const char *const names[] = {
		[IOPF_STATE_OFF] = "off",
		[IOPF_STATE_STARTING] = "starting",
		[IOPF_STATE_STOPPING] = "stopping",
		[IOPF_STATE_STUCK] = "stuck",
		[IOPF_STATE_SUSPENDED] = "suspended",
		[IOPF_STATE_FAILED] = "failed",
		[IOPF_STATE_RUNNING] = "running",
		[IOPF_STATE_QUIESCING] = "quiescing",
	};

	return (unsigned int)state < RTE_DIM(names) ? names[state] : "unknown";
}

const char *
iopf_stat_name(enum iopf_stat stat)
{
	static const char *const names[IOPF_NB_STATS] = {
		[IOPF_STAT_FAULTS] = "faults",
		[IOPF_STAT_SUCCESS] = "answered_success",
		[IOPF_STAT_INVALID] = "answered_invalid",
		[IOPF_STAT_FAILURE] = "answered_failure",
		[IOPF_STAT_RAZWI] = "answered_razwi",
		[IOPF_STAT_DEFERRED] = "deferred",
		[IOPF_STAT_TAKEN] = "taken",
		[IOPF_STAT_AFTER_INV] = "answered_after_inv",
		[IOPF_STAT_CANCELLED] = "cancelled",
		[IOPF_STAT_EXPIRED] = "expired",
		[IOPF_STAT_TERMINATED] = "terminated",
		[IOPF_STAT_REQUESTS] = "requests",
		[IOPF_STAT_EPISODES] = "episodes",
		[IOPF_STAT_COUNTED] = "counted",
		[IOPF_STAT_JOINED] = "joined",
		[IOPF_STAT_RETRIED] = "retried",
	};

	return (unsigned int)stat < IOPF_NB_STATS ? names[stat] : "unknown";
}

const char *
iopf_iommu_stat_name(enum iopf_iommu_stat stat)
{
	static const char *const names[IOPF_NB_IOMMU_STATS] = {
		[IOPF_IOMMU_STAT_RECORDS] = "records",
		[IOPF_IOMMU_STAT_BURSTS] = "bursts",
		[IOPF_IOMMU_STAT_FAULTS] = "faults",
		[IOPF_IOMMU_STAT_ANSWERS] = "answers",
		[IOPF_IOMMU_STAT_REPORTS] = "reports",
		[IOPF_IOMMU_STAT_UNKNOWN_SID] = "unknown_sid",
		[IOPF_IOMMU_STAT_NO_DOMAIN] = "no_domain",
		[IOPF_IOMMU_STAT_NO_SLOT] = "no_slot",
		[IOPF_IOMMU_STAT_BAD_RECORD] = "bad_records",
		[IOPF_IOMMU_STAT_STALE_ANSWERS] = "stale_answers",
		[IOPF_IOMMU_STAT_RESETS] = "recoveries",
		[IOPF_IOMMU_STAT_GROUPS] = "groups",
		[IOPF_IOMMU_STAT_STOP_MARKERS] = "stop_markers",
		[IOPF_IOMMU_STAT_OVERFLOWS] = "request_overflows",
		[IOPF_IOMMU_STAT_DISCARDED] = "requests_discarded",
		[IOPF_IOMMU_STAT_AGED] = "requests_aged",
		[IOPF_IOMMU_STAT_DUPLICATES] = "requests_duplicate",
		[IOPF_IOMMU_STAT_CUT] = "requests_cut",
		[IOPF_IOMMU_STAT_ANSWERS_LOST] = "answers_lost",
		[IOPF_IOMMU_STAT_OVER_SHARE] = "over_share",
		[IOPF_IOMMU_STAT_ABORTED_UNKNOWN_SID] = "aborted_unknown_sid",
		[IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN] = "aborted_no_domain",
		[IOPF_IOMMU_STAT_SLOTS_RETIRED] = "slots_retired",
		[IOPF_IOMMU_STAT_EVENT_LOSSES] = "event_losses",
		[IOPF_IOMMU_STAT_REPORTS_LEFT_OUT] = "reports_left_out",
		[IOPF_IOMMU_STAT_SUSPENDS] = "suspends",
		[IOPF_IOMMU_STAT_SUSPENDS_REFUSED] = "suspends_refused",
		[IOPF_IOMMU_STAT_RESUMES] = "resumes",
	};

	return (unsigned int)stat < IOPF_NB_IOMMU_STATS ? names[stat] : "unknown";
}

const char *
iopf_dev_stat_name(enum iopf_dev_stat stat)
{
	static const char *const names[IOPF_NB_DEV_STATS] = {
		[IOPF_DEV_STAT_NO_DOMAIN] = "dev_no_domain",
		[IOPF_DEV_STAT_REPORTS] = "dev_reports",
		[IOPF_DEV_STAT_OVER_SHARE] = "dev_over_share",
		[IOPF_DEV_STAT_EXPIRED] = "dev_expired",
		[IOPF_DEV_STAT_REFUSED_SHARE] = "dev_refused_share",
		[IOPF_DEV_STAT_REFUSED_RATE] = "dev_refused_rate",
		[IOPF_DEV_STAT_REFUSED_QUARANTINE] = "dev_refused_quarantine",
		[IOPF_DEV_STAT_QUARANTINES] = "dev_quarantines",
		[IOPF_DEV_STAT_TRIPS] = "dev_trips",
	};

	return (unsigned int)stat < IOPF_NB_DEV_STATS ? names[stat] : "unknown";
}

static bool
is_tripped(const struct iopf_attachment *attachment)
{
	return attachment->breaker != NULL && atomic_load_explicit(&attachment->breaker->state,
			memory_order_relaxed) != IOPF_BREAKER_CLOSED;
}

static bool
has_open_episode(const struct iopf_attachment *attachment)
{
	return attachment->episodes != NULL && iopf_episode_is_open(attachment);
}

const struct iopf_shown_state iopf_shown_states[IOPF_NB_SHOWN_STATES] = {
	{ "dev_quarantined", iopf_dev_is_quarantined, NULL },
	{ "tripped", NULL, is_tripped },
	{ "episode_open", NULL, has_open_episode },
};

const char *
iopf_pasid_text(char text[IOPF_PASID_TEXT], uint32_t pasid)
{
	if (pasid == IOPF_NO_PASID)
		snprintf(text, IOPF_PASID_TEXT, "untagged traffic");
	else
		snprintf(text, IOPF_PASID_TEXT, "PASID %u", pasid);
	return text;
}

uint64_t
iopf_dev_stat(const struct iopf_dev *dev, enum iopf_dev_stat stat)
{
	if (dev == NULL || (unsigned int)stat >= IOPF_NB_DEV_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	return atomic_load_explicit(&dev->stats[stat], memory_order_relaxed);
}

uint64_t
iopf_domain_stat(const struct iopf_domain *domain, enum iopf_stat stat)
{
	if (domain == NULL || (unsigned int)stat >= IOPF_NB_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	return atomic_load_explicit(&domain->stats[stat], memory_order_relaxed);
}

uint64_t
iopf_domain_pending(const struct iopf_domain *domain)
{
	/* Read the answers first: so the difference is not negative. */
	uint64_t ended = iopf_domain_stat(domain, IOPF_STAT_SUCCESS) +
		iopf_domain_stat(domain, IOPF_STAT_INVALID) +
		iopf_domain_stat(domain, IOPF_STAT_FAILURE) +
		iopf_domain_stat(domain, IOPF_STAT_RAZWI) +
		iopf_domain_stat(domain, IOPF_STAT_TERMINATED);
	uint64_t faults = iopf_domain_stat(domain, IOPF_STAT_FAULTS);

	return faults > ended ? faults - ended : 0;
}

uint64_t
iopf_iommu_stat(const struct iopf_iommu *iommu, enum iopf_iommu_stat stat)
{
	uint64_t n;

	if (iommu == NULL || (unsigned int)stat >= IOPF_NB_IOMMU_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	n = atomic_load_explicit(&iommu->stats[stat], memory_order_relaxed);
	for (unsigned int i = 0; i < IOPF_MAX_QUEUES && stat < IOPF_NB_QUEUE_STATS; i++)
		n += atomic_load_explicit(&iommu->queues[i].stats[stat], memory_order_relaxed);
	return n;
}

uint64_t
iopf_iommu_driver_stat(const struct iopf_iommu *iommu, unsigned int i, const char **name)
{
	const char *unused;

	if (iommu == NULL || i >= iommu->info.nb_stats) {
		rte_errno = EINVAL;
		return 0;
	}
	return iommu->driver->ops.stat(iommu->priv, i, name != NULL ? name : &unused);
}

uint64_t
iopf_cycles_to_ns(uint64_t cycles)
{
	return (uint64_t)((double)cycles * 1e9 / (double)rte_get_tsc_hz());
}

void
iopf_domain_latency(const struct iopf_domain *domain, struct iopf_latency *latency)
{
	const struct iopf_hist *hist;
	uint64_t n;

	if (latency == NULL)
		return;
	memset(latency, 0, sizeof(*latency));
	if (domain == NULL)
		return;
	hist = &domain->latency;
	n = iopf_hist_samples(hist);
	*latency = (struct iopf_latency){
		.samples = n,
		.min_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 0)),
		.p50_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 500)),
		.p90_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 900)),
		.p99_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 990)),
		.p999_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 999)),
		.max_ns = iopf_cycles_to_ns(iopf_hist_permille(hist, n, 1000)),
	};
}

static_assert(IOPF_LATENCY_STEPS == IOPF_HIST_STEPS, "a reading has all steps");

void
iopf_domain_histogram(const struct iopf_domain *domain, uint64_t samples[IOPF_LATENCY_STEPS])
{
	if (samples == NULL)
		return;
	for (unsigned int i = 0; i < IOPF_LATENCY_STEPS; i++)
		samples[i] = domain == NULL ? 0 : atomic_load_explicit(&domain->latency.count[i],
				memory_order_relaxed);
}

uint64_t
iopf_latency_step_cycles(unsigned int step)
{
	if (step < IOPF_LATENCY_STEPS)
		return iopf_hist_value(step);
	rte_errno = EINVAL;
	return 0;
}

static void
dump_dev(const struct iopf_dev *dev, FILE *f)
{
	char name[MAX_NAME];

	iopf_name_encode(name, sizeof(name), dev->name);
	fprintf(f, "  device %s:", name);
	for (unsigned int i = 0; i < IOPF_NB_SHOWN_STATES; i++)
		if (iopf_shown_states[i].is_of_dev != NULL)
			fprintf(f, " %s %d", iopf_shown_states[i].name,
					iopf_shown_states[i].is_of_dev(dev));
	for (unsigned int i = 0; i < IOPF_NB_DEV_STATS; i++)
		fprintf(f, " %s %" PRIu64, iopf_dev_stat_name(i), iopf_dev_stat(dev, i));
	fprintf(f, "\n");
}

static void
dump_domain(const struct iopf_dev *dev, const struct iopf_attachment *attachment, FILE *f)
{
	const struct iopf_domain *domain = attachment->domain;
	char name[MAX_NAME], domain_name[MAX_NAME];
	struct iopf_latency l;

	iopf_name_encode(name, sizeof(name), dev->name);
	iopf_name_encode(domain_name, sizeof(domain_name), domain->name);
	fprintf(f, "  device %s ", name);
	if (attachment->pasid != IOPF_NO_PASID)
		fprintf(f, "PASID %u ", attachment->pasid);
	fprintf(f, "-> %s:", domain_name);
	for (unsigned int i = 0; i < IOPF_NB_SHOWN_STATES; i++)
		if (iopf_shown_states[i].is_of_attachment != NULL)
			fprintf(f, " %s %d", iopf_shown_states[i].name,
					iopf_shown_states[i].is_of_attachment(attachment));
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		fprintf(f, " %s %" PRIu64, iopf_stat_name(i), iopf_domain_stat(domain, i));
	iopf_domain_latency(domain, &l);
	fprintf(f, "\n    latency ns: p50 %" PRIu64 " p99 %" PRIu64 " p99.9 %" PRIu64
			" max %" PRIu64 " of %" PRIu64 "\n", l.p50_ns, l.p99_ns, l.p999_ns,
			l.max_ns, l.samples);
}

/* The caller's file may block, and no wait is made under the IOMMU's lock: to memory first. */
static void
dump_devs(const struct iopf_iommu *iommu, FILE *f)
{
	struct iopf_iommu *locked = (struct iopf_iommu *)(uintptr_t)iommu;
	const struct iopf_attachment *attachment;
	const struct iopf_dev *dev;
	char *text = NULL;
	size_t len = 0;
	FILE *memory = open_memstream(&text, &len);

	if (memory != NULL) {
		pthread_mutex_lock(&locked->lock);
		LIST_FOREACH(dev, &iommu->devs, next) {
			dump_dev(dev, memory);
			LIST_FOREACH(attachment, &dev->attachments, next)
				dump_domain(dev, attachment, memory);
		}
		pthread_mutex_unlock(&locked->lock);
	}
	if (memory == NULL || fclose(memory) != 0)
		fprintf(f, "  devices are not listed: no memory\n");
	else
		fwrite(text, 1, len, f);
	free(text);
}

void
iopf_iommu_dump(const struct iopf_iommu *iommu, FILE *f)
{
	char name[MAX_NAME];

	if (iommu == NULL || f == NULL)
		return;
	iopf_name_encode(name, sizeof(name), iommu->name);
	fprintf(f, "iommu %u \"%s\" driver %s backend %s %s\n", iommu->id, name,
			iommu->info.driver, iommu->info.backend,
			iopf_state_name(atomic_load(&iommu->state)));
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		fprintf(f, "  %s %" PRIu64 "\n", iopf_iommu_stat_name(i),
				iopf_iommu_stat(iommu, i));
	for (unsigned int i = 0; i < iommu->info.nb_stats; i++) {
		const char *name;
		uint64_t v = iopf_iommu_driver_stat(iommu, i, &name);

		fprintf(f, "  %s %" PRIu64 "\n", name, v);
	}
	if (iommu->info.request_queue_size != 0)
		fprintf(f, "  page requests: %u of %u given to devices\n",
				iopf_iommu_requests_granted(iommu), iommu->info.max_requests);
	dump_devs(iommu, f);
	iopf_listeners_dump(iommu, f);
	iommu->driver->ops.dump(iommu->priv, f);
}
