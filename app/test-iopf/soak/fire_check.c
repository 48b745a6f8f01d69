/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The counters of library and model at the end of a round, when nothing is outstanding. */

#include "fire.h"
#include "iopf_stats.h"
#include "test.h"

#define LLU(x_) ((unsigned long long)(x_))

static uint64_t
model(enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(fire.m, stat);
}

static uint64_t
lib(enum iopf_iommu_stat stat)
{
	return iopf_iommu_stat(fire.iommu, stat);
}

/* Each fault given to a domain was answered once, or the SMMU ended it. */
static uint64_t
check_domains(void)
{
	uint64_t terminated = atomic_load(&fire.old_terminated);

	for (unsigned int i = 0; i < FIRE_SPACES; i++) {
		const struct fire_space *s = &fire.space[i];
		const struct iopf_domain *domain = s->domain;
		uint64_t answers = 0, ended = fire_space_stat(s, IOPF_STAT_TERMINATED);

		for (enum iopf_stat k = IOPF_STAT_SUCCESS; k <= IOPF_STAT_RAZWI; k++)
			answers += fire_space_stat(s, k);
		FIRE_CHECK(fire_space_stat(s, IOPF_STAT_FAULTS) == answers + ended,
				"space %u: %llu faults, %llu answers, %llu terminated", i,
				LLU(fire_space_stat(s, IOPF_STAT_FAULTS)), LLU(answers),
				LLU(ended));
		FIRE_CHECK(iopf_domain_pending(domain) == 0, "space %u: %llu", i,
				LLU(iopf_domain_pending(domain)));
		terminated += ended;
	}
	return terminated;
}

static void
check_library(uint64_t terminated)
{
	uint64_t faults = lib(IOPF_IOMMU_STAT_FAULTS), answers = lib(IOPF_IOMMU_STAT_ANSWERS);

	/* An aborted access without a slot is counted as a fault, and needs no answer. */
	FIRE_CHECK(faults >= answers + terminated &&
			faults - answers - terminated <= lib(IOPF_IOMMU_STAT_NO_SLOT),
			"%llu faults, %llu answers, %llu terminated, %llu without a slot",
			LLU(faults), LLU(answers), LLU(terminated), LLU(lib(IOPF_IOMMU_STAT_NO_SLOT)));
	/* A lost record leaves an old one in its entry. */
	FIRE_CHECK(lib(IOPF_IOMMU_STAT_BAD_RECORD) <= 3 * fire.n.losses, "%llu of %llu losses",
			LLU(lib(IOPF_IOMMU_STAT_BAD_RECORD)), LLU(fire.n.losses));
	FIRE_CHECK(lib(IOPF_IOMMU_STAT_REPORTS) == atomic_load(&fire.n.reports),
			"%llu reports counted, %llu made", LLU(lib(IOPF_IOMMU_STAT_REPORTS)),
			LLU(fire.n.reports));
	/* The second answer of a responder is always stale. */
	FIRE_CHECK(lib(IOPF_IOMMU_STAT_STALE_ANSWERS) >= fire.n.late + 2 * fire.n.stale,
			"%llu stale answers counted, %llu + 2 * %llu made",
			LLU(lib(IOPF_IOMMU_STAT_STALE_ANSWERS)), LLU(fire.n.late),
			LLU(fire.n.stale));
}

static void
check_model(uint64_t terminated)
{
	uint64_t stalls = model(SMMUV3_MODEL_STAT_STALLS);
	uint64_t resumes = model(SMMUV3_MODEL_STAT_RESUMES);

	FIRE_CHECK(smmuv3_model_stalls_outstanding(fire.m) == 0, "%u",
			smmuv3_model_stalls_outstanding(fire.m));
	/* TERMINATED also counts stalls without a record. */
	FIRE_CHECK(resumes + model(SMMUV3_MODEL_STAT_TERMINATED) >= stalls,
			"%llu stalls, %llu resumed, %llu terminated", LLU(stalls), LLU(resumes),
			LLU(model(SMMUV3_MODEL_STAT_TERMINATED)));
	FIRE_CHECK(resumes <= stalls, "%llu stalls, %llu resumed", LLU(stalls), LLU(resumes));
	FIRE_CHECK(terminated <= model(SMMUV3_MODEL_STAT_TERMINATED) +
			model(SMMUV3_MODEL_STAT_PRI_GROUPS), "%llu", LLU(terminated));
	FIRE_CHECK(model(SMMUV3_MODEL_STAT_PRI_GROUPS) == model(SMMUV3_MODEL_STAT_PRI_RESPS) +
			model(SMMUV3_MODEL_STAT_PRI_AUTO_RESPS) +
			model(SMMUV3_MODEL_STAT_PRI_FORGOTTEN),
			"%llu groups, %llu answered, %llu by the SMMU, %llu reset",
			LLU(model(SMMUV3_MODEL_STAT_PRI_GROUPS)),
			LLU(model(SMMUV3_MODEL_STAT_PRI_RESPS)),
			LLU(model(SMMUV3_MODEL_STAT_PRI_AUTO_RESPS)),
			LLU(model(SMMUV3_MODEL_STAT_PRI_FORGOTTEN)));
}

static uint64_t
sum_of(enum iopf_stat stat)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < FIRE_SPACES; i++)
		n += fire_space_stat(&fire.space[i], stat);
	return n;
}

static void
print_counts(void)
{
	const struct fire_counts *n = &fire.n;

	print_message("%llu stalls, %llu page requests, %llu other records; DMAs: %llu ok, "
			"%llu aborted; %llu pages checked; answers: %llu late, %llu too late, "
			"%llu never\n", LLU(model(SMMUV3_MODEL_STAT_STALLS)),
			LLU(model(SMMUV3_MODEL_STAT_PPRS)),
			LLU(model(SMMUV3_MODEL_STAT_EVENTS) - model(SMMUV3_MODEL_STAT_STALLS)),
			LLU(n->ok), LLU(n->aborted), LLU(n->checked), LLU(n->late), LLU(n->stale),
			LLU(n->never));
	print_message("%llu attaches (%llu refused), %llu detaches, %llu removals, %llu spaces, %llu unmaps, "
			"%llu time-outs; %llu queues moved, %llu halts, %llu holds; %llu storms, "
			"%llu hogs; %llu losses, %llu aborts, %llu recoveries, %llu overflows; "
			"%llu stops, %llu power cycles; %llu ATCs died, PRI on again %llu times\n",
			LLU(n->attaches), LLU(n->refused), LLU(n->detaches), LLU(n->removals), LLU(n->spaces),
			LLU(n->unmaps), LLU(n->timeouts), LLU(n->moves), LLU(n->halts),
			LLU(n->holds), LLU(n->storms), LLU(n->hogs), LLU(n->losses),
			LLU(n->aborts), LLU(lib(IOPF_IOMMU_STAT_RESETS)),
			LLU(lib(IOPF_IOMMU_STAT_OVERFLOWS)), LLU(n->stops), LLU(n->cycles),
			LLU(n->cuts), LLU(n->pri_restarts));
	print_message("%llu replaces, %llu bypasses, %llu handlers replaced; %llu breakers tripped, %llu re-arms, "
			"%llu faults joined, %llu counted in episodes; %llu quarantines (%llu DMAs "
			"in them), %llu released; %llu past a rate, %llu of these ended, faults "
			"after that: %llu stalls, %llu page requests; %llu deadlines of "
			"groups\n", LLU(n->replaces), LLU(n->bypasses),
			LLU(n->handlers), LLU(n->trips), LLU(n->rearms),
			LLU(fire.old_joined + sum_of(IOPF_STAT_JOINED)),
			LLU(fire.old_counted + sum_of(IOPF_STAT_COUNTED)), LLU(n->quarantines),
			LLU(n->blocked), LLU(n->releases), LLU(n->rate_begins),
			LLU(n->rate_ends), LLU(n->stalls_back), LLU(n->pri_back),
			LLU(n->deadlines));
	for (unsigned int i = FIRE_STAGE1; i < FIRE_OWN; i++)
		print_message("space %u, stage 2%s: %llu faults\n", i, fire.space[i].nested ?
				", nested" : "",
				LLU(iopf_domain_stat(fire.space[i].domain, IOPF_STAT_FAULTS)));
	for (unsigned int i = FIRE_FIRST_PRI; i < FIRE_FIRST_PRI + FIRE_NB_PRI; i++)
		print_message("SID %u: reset %u times, since it had not drained\n",
				fire.dev[i].fn.sid, fire.dev[i].fn.nb_resets);
	for (unsigned int i = 0; i < FIRE_LISTENERS; i++)
		print_message("listener: %llu records of %llu events, gaps of %llu, %llu losses\n",
				LLU(fire.listener[i].read), LLU(fire.listener[i].events),
				LLU(fire.listener[i].gaps), LLU(fire.listener[i].lost));
}

bool
fire_had_all(void)
{
	const struct fire_counts *n = &fire.n;

	return n->ok > 0 && n->checked > 0 && n->late > 0 && n->never > 0 && n->deadlines > 0 &&
		n->detaches > 0 && n->replaces > 0 && n->bypasses > 0 && n->removals > 0 && n->spaces > 0 &&
		n->unmaps > 0 && n->moves > 0 && n->halts > 0 && n->holds > 0 && n->handlers > 0 &&
		n->storms > 0 && n->hogs > 0 && n->trips > 0 && n->rearms > 0 &&
		n->quarantines > 0 && n->releases > 0 && n->blocked > 0 && n->rate_begins > 0 &&
		n->rate_ends > 0 && n->stalls_back > 0 && n->pri_back > 0 &&
		n->listened > 0 && n->losses > 0 && n->stops > 0;
}

void
fire_check_round(void)
{
	uint64_t terminated = check_domains();

	print_counts();
	check_library(terminated);
	check_model(terminated);
	FIRE_CHECK(fire.old_joined + sum_of(IOPF_STAT_JOINED) > 0 &&
			fire.old_counted + sum_of(IOPF_STAT_COUNTED) > 0, "joins or episodes");
}
