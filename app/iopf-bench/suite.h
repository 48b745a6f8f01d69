/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SUITE_H
#define SUITE_H

/*
 * iopf-bench --suite fault-path: how the library behaves under load, in parts.
 * The suites cmdq (cmdq_suite.h), scaling (scale_suite.h) and mmem (mem_suite.h) have rounds,
 * figures and report in common with it.
 *
 *	suite.c		the table of parts, that of ratios with their targets, rounds
 *	suite_report.c	the table on the screen, JSON
 *	suite_rig.c	SMMUs, devices with engines, a poll thread
 *	suite_*.c	the parts
 *
 * A round runs each part once. A part builds its rig, measures its cases one after the other,
 * and gives its figures with suite_put(). A ratio is a figure of one round; the report has the
 * median of the rounds. doc/guides/bench.rst defines each ratio.
 *
 * Threads. The main thread is the device side: it steps the models and submits the accesses, on
 * conf->cpu_model. The poll thread runs iopf_poller_run() on conf->cpu_servicer.
 */

#include <pthread.h>

#include <iopf.h>
#include <iopf_handler.h>
#include <iopf_policy.h>
#include <iopf_poller.h>
#include <iopf_stats.h>

#include "bench.h"

#define SUITE_MAX_FIGURES	320
#define SUITE_NAME_LEN		48

/* The work of a handler for a fault: about that of zeroing and mapping a page. */
#define SUITE_WORK_NS		1000
/* A victim has a fault each 20 us, 50,000 in a second. */
#define SUITE_VICTIM_NS		20000
/* Accesses that an attacker has under way: twice the stalls of the SMMU. */
#define SUITE_STALLS		512
#define SUITE_ATTACKER_DEPTH	(2 * SUITE_STALLS)
/* Faults in a second past which the policies act on it: twice those of the victim. */
#define SUITE_ATTACKER_RATE	100000

struct suite_figure {
	char name[SUITE_NAME_LEN];	/* "part.case.what" or a ratio's name */
	double values[BENCH_MAX_ROUNDS];
	bool measured[BENCH_MAX_ROUNDS];
};

enum suite_target { NO_TARGET, AT_MOST, AT_LEAST };

/* A figure that is a ratio. */
struct suite_ratio {
	const char *name;
	const char *part;
	enum suite_target kind;
	double target;
};

struct suite;

struct suite_part {
	const char *name;
	const char *what;
	/* One round. Returns 0, or -errno after reporting the error. */
	int (*run)(struct suite *suite);
};

struct suite {
	const struct bench_conf *conf;
	double cycles_per_ns;
	unsigned int cell_ms;	/* of a case in a round */
	unsigned int round;	/* the present one */
	struct results rounds;	/* which rounds count; without cases */
	struct suite_figure figures[SUITE_MAX_FIGURES];
	unsigned int nb_figures;
};

struct suite_def {
	const char *name;	/* of --suite */
	const struct suite_part *parts;
	unsigned int nb_parts;
	const struct suite_ratio *ratios;
	unsigned int nb_ratios;
};

extern const struct suite_def suite_fault_path;
extern const struct suite_def suite_cmdq;	/* cmdq_suite.h */
extern const struct suite_def suite_scaling;	/* scale_suite.h */
extern const struct suite_def suite_mmem;	/* mem_suite.h */

/* Set a figure of the present round. */
void suite_put(struct suite *suite, double value, const char *name, ...)
		__attribute__((format(printf, 3, 4)));
/* Over the rounds that count. */
struct spread suite_get_spread(const struct suite *suite, const char *name);
static inline bool
suite_is_missed(const struct suite_ratio *ratio, const struct spread *s)
{
	return s->rounds != 0 && ((ratio->kind == AT_MOST && s->median > ratio->target) ||
			(ratio->kind == AT_LEAST && s->median < ratio->target));
}

/* Run the suite and print it. Returns 0, or -errno after reporting the error. */
int suite_run(const struct bench_conf *conf);
void suite_print(const struct suite *suite);
/* The tree for report_write_files() (report_json.h). */
struct cJSON *suite_make_json(const struct suite *suite);

/*
 * A rig
 */

#define RIG_MAX_SMMUS	64

struct rig;

/* Of accesses that are made one at a time. */
struct phases {
	uint64_t t_read;	/* poll() returned the record; by the handler */
	uint64_t t_handler;	/* the handler was called; by the handler */
	struct hist seen;	/* from the event to t_read */
	struct hist dispatched;	/* from there to the handler */
	struct hist answered;	/* from there to the answer consumed */
};

/* A device with one StreamID, its domain and its engine. Zero in a field: the default in []. */
struct source_conf {
	unsigned int smmu;	/* [the first] */
	uint32_t sid;
	unsigned int depth;	/* accesses under way, at most with an interval */
	double interval_ns;	/* between the starts of accesses [a closed loop] */
	bool once;		/* the accesses of a closed loop are not repeated */
	unsigned int work_ns;	/* of the handler [0] */
	enum iopf_verdict verdict;	/* [RAZWI: the access ends, and nothing is written] */
	const struct iopf_dev_limits *limits;
	const struct iopf_storm_conf *storm;
	struct iopf_domain *domain;	/* of another source [its own] */
	bool second_domain;	/* for iopf_domain_replace() */
};

struct source {
	struct source_conf conf;
	struct rig *rig;
	struct smmuv3_model_dma *dma;
	struct iopf_dev *dev;
	struct iopf_domain *domains[2];
	unsigned int attached;	/* the index of the domain that is */
	bool is_attached;
	uint64_t work;		/* cycles */
	uint64_t interval;
	uint64_t due;		/* when the next access starts */
	uint64_t next;		/* page */
	atomic_bool stopped;
	struct phases *phases;	/* NULL: the handler writes no times. Of the source in its ctx */
	_Atomic uint64_t handled;	/* calls of the handler, not of the cell alone */
	/* Written by the thread that steps the model, under its lock. */
	bool recording;
	uint64_t served;	/* accesses that a handler has answered */
	uint64_t aborted;
	uint64_t offered;	/* accesses that were due, of an open loop */
	uint64_t refused;	/* of these: the device had depth accesses under way already */
	struct hist service;	/* from the event to the answer consumed, of those served */
	struct hist whole;	/* from when the access was due to its end, of those served */
};

struct rig {
	struct suite *suite;
	unsigned int nb_smmus;
	struct smmuv3_model *models[RIG_MAX_SMMUS];
	struct iopf_iommu *iommus[RIG_MAX_SMMUS];
	bool started[RIG_MAX_SMMUS];
	struct iopf_poller *poller;
	struct source **sources;
	unsigned int nb_sources;
	struct phases *phases;	/* of the accesses now; or NULL */
	pthread_t thread;
	bool running;
	double seconds;			/* of the last rig_run() */
};

/*
 * Each returns 0, or -errno after reporting the error; rig_close() undoes what was done, also after
 * an error. The poll thread runs from rig_open() to rig_close().
 */
int rig_open(struct rig *rig, struct suite *suite, unsigned int nb_smmus, enum iopf_idle idle);
/* NULL after an error, which is reported. */
struct source *rig_add_source(struct rig *rig, const struct source_conf *conf);
/* Start the sources' accesses, once. */
int rig_begin(struct rig *rig);
/* Be the devices for so long, and record (or not) what the sources measure. */
void rig_run(struct rig *rig, double ms, bool record);
/*
 * Make @p n accesses, one at a time, of the sources in turn, which share a domain. Record those
 * after a warm-up, in the first source, and their phases if @p phases is not NULL. Returns 0, or
 * -EIO after reporting that the handler has not answered each of them.
 */
int rig_run_in_turn(struct rig *rig, unsigned int n, struct phases *phases);
/* Be the devices until each access of the source has ended, for @p ms at most. */
int rig_finish(struct rig *rig, struct source *source, double ms);
/* End the poll thread, so that the caller may poll. */
void rig_stop_poller(struct rig *rig);
/* CPU time of the poll thread so far. */
double rig_get_cpu_seconds(const struct rig *rig);
/*
 * Returns @p ret, or -EIO after reporting an error of a driver or of the oracle, or that an SMMU
 * has recovered or was given up.
 */
int rig_close(struct rig *rig, int ret);

/*
 * The same of one SMMU that was stopped, and of its model; either may be NULL. With a @p ret that is
 * an error already nothing is checked.
 */
int rig_close_smmu(struct iopf_iommu *iommu, struct smmuv3_model *model, int ret);

/* The time of iopf_poll() while nothing happens, the median of short batches. */
double suite_measure_pass_ns(const struct suite *suite, struct iopf_poller *poller);

static inline double
source_get_ns(const struct source *source, const struct hist *h, double share)
{
	return hist_get_percentile(h, share) / source->rig->suite->cycles_per_ns;
}

/* Faults served in a second. */
static inline double
source_get_rate(const struct source *source)
{
	return (double)source->served / source->rig->seconds;
}

int suite_storm(struct suite *suite);
int suite_fairness(struct suite *suite);
int suite_overload(struct suite *suite);
int suite_duplicate(struct suite *suite);
int suite_breaker(struct suite *suite);
int suite_replace(struct suite *suite);
int suite_sids(struct suite *suite);
int suite_smmus(struct suite *suite);
int suite_idle(struct suite *suite);

#endif /* SUITE_H */
