/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef BENCH_H
#define BENCH_H

/*
 * iopf-bench measures several ways ("modes") to serve the same page faults, in alternation.
 *
 *	main.c		options
 *	cases.c		rounds: a cell is one case, a mode at a depth, in one round
 *	loop.c		one cell: engines in a closed loop, their latencies
 *	open.c		one cell of an open loop: a generator that offers faults at a rate
 *	cpu.c		the CPU time of the servicer in an open loop
 *	pattern.c	the order in which pages fault
 *	trace.c		recorded traces: trace.h
 *	mmio.c		the simulated cost of register reads
 *	mailbox_load.h	a passive run with a device that another program drives
 *	passive.h	faults of a device of the user's, instead of rounds
 *	options.h	the settings of a run, on the command line or in a file
 *	mode_polled.c	modes "polled" and "pri": iopf, for stalls and for page requests
 *	baseline_*.c	baselines for these two, behind an SMMU of their own
 *	mode_uffd.c	a baseline without an SMMU: uffd.h
 *	progress.c	the bar, Ctrl-C
 *	report.c	the table; report_*.c: files (report_json.h)
 *	suite*.c	the suite fault-path: suite.h
 *	cmdq_*.c	the suite cmdq: cmdq_suite.h
 *	scale_*.c	the suite scaling: scale_suite.h
 *	mem_*.c		the suite mmem: mem_suite.h
 *
 * It uses two cores: the model with its engines on one, the servicer on the other.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <smmuv3_model.h>

#define BENCH_PAGE_SIZE		4096
#define BENCH_OP_SIZE		64
#define BENCH_SID		8
#define BENCH_MAX_DEPTH		512	/* STALL_MAX of the models; also page requests */
#define BENCH_MAX_DEPTHS	16
#define BENCH_MAX_ROUNDS	200
#define BENCH_MAX_INTERVALS	3600	/* the rounds of a passive run */
#define BENCH_MAX_SECONDS	3600	/* of a passive run */
#define BENCH_MAX_MMIO_NS	10000
#define BENCH_MAX_STREAMS	64
#define BENCH_MAX_LOADS		16
#define BENCH_MAX_LOAD		400	/* percent */
#define BENCH_MAX_CASES		512
#define BENCH_NB_GROUPS		6	/* of 1, 2, 4, ... pages */
#define BENCH_GROUP_LOG2	3	/* at all depths */
#define BENCH_MIN_WRITES	8	/* for each pending write */
#define BENCH_BURST		32	/* the default of struct iopf_poller_conf */
#define BENCH_MIN_FAULTS	256	/* of a cell */
#define BENCH_MAX_FAULTS	262144
#define BENCH_MAX_REQUESTERS	64
#define BENCH_HALF_LOAD		50	/* the load whose ratios have a target */

/* A round is not counted if other processes used more than this share of one core. */
#define BENCH_FOREIGN_LIMIT	0.20
/* If fewer rounds are left, all rounds count. */
#define BENCH_MIN_ROUNDS	3
/* The cores count as close below this round trip of a cache line. */
#define BENCH_FAST_NS		200.0

/* Print one line on standard error: "iopf-bench: ...". */
void bench_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Name the calling thread, for top and perf, and pin it. Returns 0 or a positive errno. */
int bench_pin_thread(const char *name, int cpu);

/*
 * A log-linear histogram: 64 buckets per power of two, so that a value is known to 1/64. Reports
 * use the middle of a bucket (0.8 %).
 */
#define HIST_SUB_LOG2	6
#define HIST_MAX_LOG2	40
#define HIST_BUCKETS	((HIST_MAX_LOG2 - HIST_SUB_LOG2 + 1) << HIST_SUB_LOG2)
/* A percentile with fewer samples beyond it is not reported. */
#define HIST_MIN_BEYOND	10

struct hist {
	uint64_t samples;
	uint32_t count[HIST_BUCKETS];
};

void hist_reset(struct hist *h);
void hist_add(struct hist *h, uint64_t v);
/* @p n samples of the same value. */
void hist_add_many(struct hist *h, uint64_t v, uint32_t n);
void hist_merge(struct hist *to, const struct hist *from);
/* The value that @p share (0 to 1) of the samples do not exceed; 0 without samples. */
double hist_get_percentile(const struct hist *h, double share);
/* The highest value of a bucket. */
uint64_t hist_get_upper(unsigned int bucket);
/* Are there HIST_MIN_BEYOND samples beyond the percentile? 9990 is p99.9. */
bool hist_supports(const struct hist *h, unsigned int per_10000);

/* Median round trip of a cache line between two cores in nanoseconds; negative on error. */
double pingpong_measure_ns(int cpu_a, int cpu_b);

enum case_kind {
	CASE_CLOSED,	/* loop_run() */
	CASE_DRAIN,	/* the servicer alone: drain_run() */
	CASE_OPEN_MAX,	/* open_run(): all faults are due at once */
	CASE_OPEN,	/* open_run(): faults at a rate */
	CASE_PASSIVE,	/* passive_measure(): faults that arrive */
};

/* The source of the faults. */
enum engine {
	ENGINE_MODEL,	/* engines of a software SMMU that the mode opens */
	ENGINE_NONE,	/* a device of the user's: passive.h */
	ENGINE_MAILBOX,	/* the same, driven through a mailbox: mailbox_load.h */
};
#define BENCH_NB_ENGINES	3

/* The times between the faults of an open loop. */
enum arrival {
	ARRIVAL_POISSON,	/* exponentially distributed */
	ARRIVAL_CONSTANT,
};
#define BENCH_NB_ARRIVALS	2

/* The order in which pages fault. */
enum pattern {
	PATTERN_SEQUENTIAL,
	PATTERN_RANDOM,
	PATTERN_TRACE,
};
#define BENCH_NB_PATTERNS	3

/* How the poll thread of iopf waits: it calls iopf_poll(), or iopf_poller_run() with a policy. */
enum idle {
	IDLE_POLL,
	IDLE_PAUSE,
	IDLE_SPIN,
	IDLE_YIELD,
	IDLE_SLEEP,
};
#define BENCH_NB_IDLES	5

struct bench_case {
	enum case_kind kind;
	unsigned int set;		/* the cases of a set alternate */
	unsigned int mode;		/* of this run */
	unsigned int depth;		/* closed: pending writes */
	unsigned int group_log2;	/* closed: pages of a write, requested in one group */
	unsigned int variant;		/* of the mode */
	enum arrival arrival;		/* open */
	unsigned int load;		/* open: offered, in percent of the capacity */
	char name[40];
};

struct suite_def;

/* ENGINE_NONE, ENGINE_MAILBOX */
struct passive_conf {
	char *mailbox;		/* path */
	unsigned int burst;	/* writes in a request; ENGINE_MAILBOX */
	char *device;		/* device string of the SMMU */
	unsigned int streams[BENCH_MAX_STREAMS];
	unsigned int nb_streams;
	unsigned int pasid;	/* 0: none */
	unsigned int region_mib;
	unsigned int seconds;	/* 0: until an interrupt */
	unsigned int interval_ms;
	unsigned int refault_ms;	/* 0: never */
};

struct bench_conf {
	enum engine engine;
	uint64_t given;			/* bits: settings that are given */
	struct passive_conf passive;
	unsigned int modes[8];		/* indices into bench_modes[] */
	unsigned int nb_modes;
	unsigned int depths[BENCH_MAX_DEPTHS];
	unsigned int nb_depths;
	unsigned int max_depth;
	unsigned int loads[BENCH_MAX_LOADS];	/* of the open loop; in percent */
	unsigned int nb_loads;
	bool closed, open;
	bool arrivals[BENCH_NB_ARRIVALS];
	unsigned int requesters;	/* engines that take the writes in turn */
	unsigned int sids;		/* StreamIDs of the engines, from BENCH_SID on */
	enum pattern pattern;
	char *trace;		/* a file, for PATTERN_TRACE */
	uint32_t *order;	/* the page of the i-th fault; NULL: i */
	bool zero_inline;	/* the servicer zeroes each page before it maps it */
	bool zero_pool;		/* all pages are zeroed before each cell */
	bool ats;		/* each SMMU has ATS and PRI, not that of mode pri alone */
	bool no_msi;		/* the SMMU has no MSI: iopf polls its registers */
	unsigned int mmio_ns;	/* the simulated cost of a register read: mmio.h */
	enum idle idle;
	struct bench_case cases[BENCH_MAX_CASES]; /* cases of a set are adjacent */
	unsigned int nb_cases;
	unsigned int rounds;		/* of a passive run: intervals, at most */
	unsigned int faults;		/* pages of each mode's region, one fault each per cell */
	unsigned int budget_ms;		/* of a cell, after its warm-up */
	int cpu_model;
	int cpu_servicer;
	const char *json;
	const char *csv;
	const char *hgrm;	/* a folder */
	const char *html;
	const char *compare[2];	/* instead of a run */
	char *command;		/* the command line as given */
	char run[64];		/* of a configuration file: its name */
	bool quick;
	const struct suite_def *suite;	/* --suite; NULL: the modes */
	uint32_t parts;		/* of the suite: bits; 0: all */
};

/* A way to serve faults, with its own model, memory and servicer. */
struct mode;
struct cell;

struct mode_ops {
	const char *name;
	const char *what;
	bool requests;		/* page requests instead of stalls */
	/* NULL, or the name of each variant, which has cases of its own. */
	const char *const *variants;
	unsigned int nb_variants;
	unsigned int nb_drain_variants;	/* the first ones have a case CASE_DRAIN */
	unsigned int max_depth;		/* of a variant's cases */
	/* May be NULL. Returns why this machine cannot run the mode, and what to do; NULL: it can. */
	const char *(*find_obstacle)(void);
	/*
	 * NULL, or for a mode without an SMMU: run one cell of CASE_CLOSED or CASE_DRAIN. Of the
	 * other functions it has setup, check and teardown, and setup fills in none of the fields
	 * below. Returns 0, or -errno after reporting the error.
	 */
	int (*run)(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
			struct cell *cell);
	/*
	 * Fill model, va, mem and start the SMMU; map no page and start no thread. Returns 0 or
	 * -errno.
	 */
	int (*setup)(struct mode *mode, const struct bench_conf *conf);
	/* Start the servicer's threads for one cell. Returns 0 or -errno. */
	int (*start)(struct mode *mode);
	void (*stop)(struct mode *mode);
	/*
	 * Serve n faults that wait in the queue, on the calling thread, which is pinned to the
	 * servicer's CPU. Returns smmuv3_model_cycles() after the last CMDQ_PROD store. NULL: the
	 * mode cannot be stopped from serving before.
	 */
	uint64_t (*drain)(struct mode *mode, unsigned int n);
	/* Look once for faults where there are none, on that thread. NULL: the mode sleeps then. */
	void (*look)(struct mode *mode);
	/* Start the threads that drain needs; stop() ends them. May be NULL. */
	int (*start_drain)(struct mode *mode);
	/* Unmap all pages, so that each faults again. No thread may run. Returns 0 or -errno. */
	int (*unmap)(struct mode *mode);
	/* Check the counters against mode->faults and report errors. */
	bool (*check)(struct mode *mode);
	void (*teardown)(struct mode *mode);
};

/*
 * For the CPU time of a mode's servicer. Its start() fills it in, except for @p empty. The threads
 * are those that serve; one that stands for hardware is none. Without threads the time is unknown.
 */
struct cpu_use {
	pthread_t threads[2];
	unsigned int nb_threads;
	enum {
		CPU_UNKNOWN,	/* it is not known how much of its time a thread waits */
		CPU_SLEEPS,	/* a thread runs only while there are faults */
		CPU_POLLS,	/* one thread, which calls cpu_count_pass() */
	} kind;
	/* Passes without a fault. Written by the poll thread alone, read by the generator's. */
	_Alignas(64) _Atomic uint64_t empty;
};

/* Count a pass of the poll thread that found n faults. */
static inline void
cpu_count_pass(struct cpu_use *use, unsigned int n)
{
	if (n == 0)
		atomic_store_explicit(&use->empty, atomic_load_explicit(&use->empty,
				memory_order_relaxed) + 1, memory_order_relaxed);
}

/* Set it for a servicer of one thread that polls. */
static inline void
cpu_set_poll_thread(struct cpu_use *use, pthread_t thread)
{
	use->threads[0] = thread;
	use->nb_threads = 1;
	use->kind = CPU_POLLS;
}

struct mode {
	const struct mode_ops *ops;
	struct smmuv3_model *model;
	struct loop *loop;
	uint64_t va;		/* of the region, for the device */
	uint8_t *mem;		/* of the region, for the CPU */
	uint64_t faults;	/* answers of all cells so far */
	uint64_t pages;		/* pages of all cells so far: faults without groups */
	void *priv;
	struct cpu_use use;
};

/* ATS and PRI of an endpoint; ctx is an engine of it. */
struct iopf_pci_ops;
extern const struct iopf_pci_ops bench_pci_ops;

extern const struct mode_ops mode_polled;
extern const struct mode_ops mode_pri;
extern const struct mode_ops mode_null;
extern const struct mode_ops mode_eventfd;
extern const struct mode_ops mode_local;
extern const struct mode_ops mode_uffd;
extern const struct mode_ops *const bench_modes[];
extern const unsigned int bench_nb_modes;

/*
 * Create a model. All models have the same configuration except for their features
 * (SMMUV3_MODEL_PRI...). Returns NULL with errno on error.
 */
struct smmuv3_model *bench_create_model(const char *name, const struct bench_conf *conf,
		uint32_t features);

/*
 * The result of one cell. CASE_DRAIN sets service alone: the cycles of each drain of the queue. In
 * the mode "uffd" service and whole are equal: the cycles of the access.
 */
struct cell {
	struct hist service;	/* cycles from the queue's PROD store to the answer consumed */
	struct hist whole;	/* cycles from the first access to its completion */
	uint64_t cycles;	/* of the measured part */
	/* With a simulated cost of register reads; the warm-up counts. */
	uint64_t reads;		/* of registers, by the servicer */
	uint64_t faults;	/* answered meanwhile */
	double look;		/* drain_run(): mean cycles of a pass that finds nothing; or 0 */
	/* Of an open loop, where service and whole begin when the fault was due. */
	struct hist lag;	/* see open_run() */
	double interval;	/* mean cycles from one fault to the next, as offered */
	double cpu, busy;	/* see cpu_end(); negative: unknown */
};

struct cpu_reading {
	uint64_t cycles, empty;
	double ns;
};

/*
 * On the generator's thread, while the servicer's threads run: cpu_begin() before the first fault,
 * cpu_end() after the last. Sets cell->cpu, the CPU time of the servicer by the time between the
 * calls, and cell->busy, the same without the passes of a poll thread that found no fault. For
 * that it steps the model for about a millisecond, in which there must be no fault.
 */
void cpu_begin(const struct mode *mode, struct cpu_reading *begin);
void cpu_end(const struct mode *mode, const struct cpu_reading *begin, struct cell *cell);
/* The time without that of so many empty passes, not below 0. All in nanoseconds. */
double cpu_get_busy(double ns, double empty_passes, double empty_pass_ns);

/*
 * The engines of one mode. Call loop_reset(), then loop_submit_writes() while no thread runs,
 * then loop_finish_cell(), which verifies and unmaps. With a depth, each completed write starts the
 * next.
 */
struct loop *loop_create(struct mode *mode, const struct bench_conf *conf);
void loop_destroy(struct loop *loop);
void loop_reset(struct loop *loop, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell);
bool loop_submit_writes(struct loop *loop, unsigned int n);
/* Submit one write, of the next page, with a buffer that no pending write uses. */
bool loop_submit_write(struct loop *loop, uint32_t slot);
/* Call @p fn for each write of this cell that ends, on the thread that steps the model. */
void loop_set_hook(struct loop *loop, void (*fn)(const struct smmuv3_model_done *done, void *ctx),
		void *ctx);
#define BENCH_WARM_SHARE	16
/* The number of pages that wait for an answer. */
unsigned int loop_count_waiting(const struct mode *mode);
/* The number of writes that have not ended. */
unsigned int loop_count_pending(const struct mode *mode);
#define BENCH_STUCK_SECONDS	10
/* Report that a cell made no progress for so long. Returns -ETIMEDOUT. */
int loop_report_stuck(struct mode *mode, const struct bench_case *c);
int loop_finish_cell(struct mode *mode, const struct bench_case *c);
/* Run one cell in a closed loop. Returns 0, or -errno after reporting the error. */
int loop_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell);

/*
 * Measure the servicer alone: the model fills the queue and stops, the servicer drains the queue.
 * Returns 0, or -errno after reporting the error.
 */
#define DRAIN_DEPTH	256
#define DRAIN_LOOKS	4096	/* passes without a fault, timed together */
int drain_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		struct cell *cell);

/*
 * Run one cell in an open loop: a generator thread on the model's CPU submits each write as soon as
 * it is due, however long the others take, and steps the model meanwhile. @p rate is in faults per
 * cycle; 0: CASE_OPEN_MAX. @p seed chooses the times of Poisson arrivals: the same in each mode.
 *
 * Times begin when a fault was due, so that a fault that waits because others are slow is not left
 * out of the percentiles (coordinated omission). The device has BENCH_MAX_DEPTH writes under way at
 * most, the stalls of the SMMU; a fault that is due meanwhile waits in the device. The generator's
 * lag is the time until the SMMU first tried the access: from when it was due, or from when the
 * device had room for it, if that was later. It has the work of the model in it.
 *
 * Returns 0, or -errno after reporting the error.
 */
int open_run(struct mode *mode, const struct bench_conf *conf, const struct bench_case *c,
		double rate, uint32_t seed, struct cell *cell);
/* Fill in when each fault is due, in cycles from the first. */
void open_make_schedule(uint64_t *due, unsigned int n, double interval, enum arrival arrival,
		uint32_t seed);
/* The generator was too slow for the rate if its median lag is more than this many intervals. */
#define OPEN_LATE	10
bool open_kept_up(const struct cell *cell);
extern const char *const open_arrival_names[BENCH_NB_ARRIVALS];
extern const char *const pattern_names[BENCH_NB_PATTERNS];
extern const char *const idle_names[BENCH_NB_IDLES];
extern const char *const engine_names[BENCH_NB_ENGINES];
/* The next number of a sequence that its first *state determines. */
uint64_t bench_next_random(uint64_t *state);

struct round {
	double pingpong_ns;	/* the longer of the two before and after */
	double foreign;		/* cores used by other processes; negative: unknown */
	double seconds;
	double busy_all, busy_own;	/* at its begin */
	bool counted;
};

/* Counters of the libraries in the report of a passive run: passive.h. */
#define PASSIVE_NB_COUNTS	13

struct results {
	const struct bench_conf *conf;
	double cycles_per_ns;
	struct round *rounds;
	struct cell *cells;	/* [round][case] */
	uint64_t counts[PASSIVE_NB_COUNTS];	/* of a passive run */
	unsigned int nb_rounds;	/* complete; the others are zero and do not count */
	bool interrupted;
	unsigned int nb_counted;
	bool noisy;		/* too few quiet rounds: all count */
	/*
	 * Of mode "uffd", the variant with the lowest p50 at the smallest depth, and the one with the
	 * highest rate at any, the servicer alone among them. -1: there is none.
	 */
	int uffd_p50, uffd_rate;
};

static inline struct cell *
results_get_cell(const struct results *res, unsigned int round, unsigned int c)
{
	return &res->cells[(size_t)round * res->conf->nb_cases + c];
}

/* Make the list of cases from the modes, depths and loads. */
void cases_make(struct bench_conf *conf);
/* The one case of the engine none. */
void cases_make_passive(struct bench_conf *conf);
/* Measure the machine around a round. */
void round_begin(const struct bench_conf *conf, struct round *round);
void round_end(const struct bench_conf *conf, struct round *round);
/*
 * After an interrupt: keep the complete rounds. Returns 0, or -EINTR after reporting that there is
 * none.
 */
int rounds_keep(struct results *res);
/* Apply the rule for counting rounds, which is fixed before the first round. */
void rounds_select(struct results *res);
/*
 * The rate of a case with CASE_OPEN in a round, in faults per cycle: a share of the capacity that
 * CASE_OPEN_MAX of the mode had in the same round. "polled" and "null" get the same rate, that of
 * the one with less capacity.
 */
double cases_get_rate(const struct results *res, unsigned int round, unsigned int at);
/* Run all cases. Returns 0, or -errno after reporting the error. */
int cases_run(const struct bench_conf *conf, struct results *res);
void results_free(struct results *res);

/* Ratios between modes, computed in each round. */
enum metric {
	METRIC_P50,	/* of the service latency */
	METRIC_P50_PAGE, /* p50 divided by the pages of a group */
	METRIC_P99,
	METRIC_P999,
	METRIC_LOOK,	/* ns of a pass that finds no fault; the servicer alone */
	METRIC_WHOLE_P50, /* of the end-to-end latency */
	METRIC_RATE,	/* pages per microsecond; for the servicer alone its rate */
	METRIC_CPU,	/* of an open loop: cell->cpu, cell->busy */
	METRIC_BUSY,
};

struct spread {
	double median, min, max;
	unsigned int rounds;
};

struct ratio {
	char name[64];
	double at_most, at_least;	/* the target; 0: none */
	const char *variant;	/* the case of a mode with variants; NULL: there is none */
	struct spread all;	/* over the counted rounds */
	struct spread fast;	/* over the counted rounds with close cores */
};

/* Sorts the values. */
struct spread spread_make(double *values, unsigned int n);

#define BENCH_MAX_RATIOS	32
/*
 * Choose the variants for the ratios, by the median of the counted rounds, so that the ratios of all
 * rounds are of the same variant.
 */
void ratios_choose_variants(struct results *res);
bool ratio_is_met(const struct ratio *ratio);
/* Make the ratios that the modes and depths of this run allow. Returns their number. */
unsigned int ratios_make(const struct results *res, struct ratio *ratios);
double results_get_metric(const struct results *res, unsigned int round, unsigned int c,
		enum metric metric);
/* Over the counted rounds; for METRIC_CPU and METRIC_BUSY over those where it is known. */
struct spread results_get_spread(const struct results *res, unsigned int c, enum metric metric);
/* Sum all samples of the counted rounds. */
void results_sum_cells(const struct results *res, unsigned int c, struct cell *sum);
static inline const char *
results_get_mode(const struct results *res, unsigned int mode)
{
	return bench_modes[res->conf->modes[mode]]->name;
}

void report_print(const struct results *res);
/* The table of the open loop. */
void report_print_open(const struct results *res);

#endif /* BENCH_H */
