/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "report_json.h"
#include "suite.h"

#define EXIT_USAGE	2
#define EXIT_INTERRUPTED	3
#define MAX_FAULTS	262144

static const char usage[] =
"Usage: iopf-bench [EAL options --] [options]\n"
"\n"
"Serves the same page faults of a software SMMUv3 in several ways, alternately, and\n"
"compares them. Two CPUs are needed: one for the model and its engines, one for\n"
"the servicer.\n"
"\n"
"  --quick             depths 1, 16 and 256; 9 rounds of 16384 faults (under 40 s;\n"
"                      a suite: 2 to 3 minutes)\n"
"  --modes LIST        from polled, null, eventfd, local, pri [all]\n"
"  --depths LIST       pending writes, each from 1 to 512 [1,2,4,...,256]\n"
"  --rounds N          1 to 200 [15]\n"
"  --faults N          pages per round and case; 256 to 262144 [32768]\n"
"  --loop LIST         closed (a number of pending writes), open (faults at a rate)\n"
"                      [closed,open]\n"
"  --loads LIST        rates of the open loop in percent of what was reached at most,\n"
"                      each from 1 to 400 [10,...,120]\n"
"  --arrival LIST      times of these faults: poisson, constant [poisson]\n"
"  --json FILE         also write the results to FILE\n"
"  --csv FILE          also write a line of CSV for each case to FILE\n"
"  --hgrm DIR          also write the histograms to DIR, as HdrHistogram's percentiles\n"
"  --html FILE         also write a report with figures to FILE\n"
"  --compare A B       instead: compare two results of --json\n"
"  --suite NAME        instead: fault-path (storms, fairness, overload and others) or\n"
"                      cmdq (a command queue with 1 to 32 threads): see the guide\n"
"  --parts LIST        of fault-path: storm, fairness, overload, duplicate, breaker,\n"
"                      replace, sids, smmus, idle; of cmdq: traffic, resume,\n"
"                      atomics [all]\n"
"  --cpu-model N       CPU of the model [the first one allowed]\n"
"  --cpu-servicer N    CPU of the servicer [the next one allowed]\n"
"  --help              print this text\n"
"\n"
"Without EAL options: --no-huge -m 64 --no-pci --no-telemetry --no-shconf\n"
"Exit status: 0; 1 if a step failed or a fault was not answered exactly once;\n"
"2 for wrong options; 3 if it was interrupted (Ctrl-C), after the complete rounds\n"
"were reported and written.\n";

static char *eal_default[] = { "iopf-bench", "--no-huge", "-m", "64", "--no-pci",
	"--no-telemetry", "--no-shconf", "--log-level=lib.eal:warning", NULL };

void
bench_error(const char *fmt, ...)
{
	va_list ap;

	fputs("iopf-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int
bench_pin_thread(const char *name, int cpu)
{
	cpu_set_t set;

	pthread_setname_np(pthread_self(), name);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

static bool
parse_number(const char *option, const char *text, unsigned long min, unsigned long max,
		unsigned int *value)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v < min || v > max) {
		bench_error("%s: '%s' is not a number from %lu to %lu", option, text, min, max);
		return false;
	}
	*value = v;
	return true;
}

static bool
parse_depths(char *text, struct bench_conf *conf)
{
	unsigned int i;
	char *save, *word;

	conf->nb_depths = 0;
	for (word = strtok_r(text, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
		if (conf->nb_depths == BENCH_MAX_DEPTHS) {
			bench_error("--depths: more than %d depths; give fewer", BENCH_MAX_DEPTHS);
			return false;
		}
		if (!parse_number("--depths", word, 1, BENCH_MAX_DEPTH,
				&conf->depths[conf->nb_depths]))
			return false;
		for (i = 0; i < conf->nb_depths; i++) {
			if (conf->depths[i] == conf->depths[conf->nb_depths]) {
				bench_error("--depths: %s is given twice", word);
				return false;
			}
		}
		conf->nb_depths++;
	}
	if (conf->nb_depths == 0)
		bench_error("--depths: the list is empty; give one such as 1,16,256");
	return conf->nb_depths > 0;
}

static bool
parse_modes(char *text, struct bench_conf *conf)
{
	unsigned int i, k;
	char *save, *word;

	conf->nb_modes = 0;
	for (word = strtok_r(text, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
		for (i = 0; i < bench_nb_modes; i++)
			if (strcmp(word, bench_modes[i]->name) == 0)
				break;
		if (i == bench_nb_modes) {
			bench_error("--modes: unknown mode '%s'; use polled, null, eventfd, "
					"local or pri", word);
			return false;
		}
		for (k = 0; k < conf->nb_modes; k++) {
			if (conf->modes[k] == i) {
				bench_error("--modes: %s is given twice", word);
				return false;
			}
		}
		conf->modes[conf->nb_modes++] = i;
	}
	if (conf->nb_modes == 0)
		bench_error("--modes: the list is empty; give one such as polled,eventfd");
	return conf->nb_modes > 0;
}

static bool
parse_suite(const char *text, struct bench_conf *conf)
{
	static const struct suite_def *const suites[] = { &suite_fault_path, &suite_cmdq };
	unsigned int i;

	for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		if (strcmp(text, suites[i]->name) == 0) {
			conf->suite = suites[i];
			return true;
		}
	}
	bench_error("--suite: unknown suite '%s'; use fault-path or cmdq", text);
	return false;
}

/* After all options: the parts are those of the suite. */
static bool
parse_parts(char *text, struct bench_conf *conf)
{
	const struct suite_def *def = conf->suite;
	unsigned int i;
	char *word, *next;

	if (def == NULL) {
		bench_error("--parts is for --suite");
		return false;
	}
	for (word = text; word != NULL; word = next) {
		next = strchr(word, ',');
		if (next != NULL)
			*next++ = '\0';
		for (i = 0; i < def->nb_parts; i++)
			if (strcmp(word, def->parts[i].name) == 0)
				break;
		if (i == def->nb_parts || conf->parts & UINT32_C(1) << i) {
			bench_error("--parts: %s part '%s' of suite %s; see iopf-bench --help",
					i == def->nb_parts ? "unknown" : "twice the", word,
					def->name);
			return false;
		}
		conf->parts |= UINT32_C(1) << i;
	}
	return true;
}

/* Options of the modes and of the suite exclude each other. */
static bool
check_suite(const struct bench_conf *conf)
{
	if (conf->suite != NULL && (conf->nb_modes != 0 || conf->nb_depths != 0 ||
			conf->faults != 0 || conf->nb_loads != 0 || conf->loop_given ||
			conf->arrival_given)) {
		bench_error("--modes, --depths, --faults, --loop, --loads and --arrival are not "
				"for --suite: leave them out");
		return false;
	}
	if (conf->suite != NULL && conf->hgrm != NULL) {
		bench_error("--hgrm is not for --suite, which reports no histograms: leave it out");
		return false;
	}
	return true;
}

/* Set what the options left out: all modes; a quick or a full set of depths and rounds. */
static void
conf_set_defaults(struct bench_conf *conf)
{
	static const unsigned int quick_depths[] = { 1, 16, 256 };
	unsigned int i;

	if (conf->nb_modes == 0)
		for (; conf->nb_modes < bench_nb_modes; conf->nb_modes++)
			conf->modes[conf->nb_modes] = conf->nb_modes;
	if (conf->nb_depths == 0 && conf->quick) {
		memcpy(conf->depths, quick_depths, sizeof(quick_depths));
		conf->nb_depths = sizeof(quick_depths) / sizeof(quick_depths[0]);
	}
	if (conf->nb_depths == 0)
		for (i = 1; i <= 256; i *= 2)
			conf->depths[conf->nb_depths++] = i;
	if (conf->rounds == 0)
		conf->rounds = conf->quick ? 9 : 15;
	if (conf->faults == 0)
		conf->faults = conf->quick ? 16384 : 32768;
	open_set_defaults(conf);
	conf->budget_ms = conf->quick ? 250 : 400;
	conf->max_depth = 0;
	for (i = 0; i < conf->nb_depths; i++)
		if (conf->depths[i] > conf->max_depth)
			conf->max_depth = conf->depths[i];
}

/* Choose two of the CPUs that this process may use. */
static bool
choose_cpus(struct bench_conf *conf)
{
	cpu_set_t set;
	int i;

	if (sched_getaffinity(0, sizeof(set), &set) < 0) {
		bench_error("cannot read the CPU affinity: %s", strerror(errno));
		return false;
	}
	if (CPU_COUNT(&set) < 2) {
		bench_error("this process may use %d CPU only, and two are needed: the model on "
				"one and the servicer on the other, or every figure would be of "
				"the scheduler; allow more (taskset, cpuset)", CPU_COUNT(&set));
		return false;
	}
	for (i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &set))
			continue;
		if (conf->cpu_model < 0 && i != conf->cpu_servicer)
			conf->cpu_model = i;
		else if (conf->cpu_servicer < 0 && i != conf->cpu_model)
			conf->cpu_servicer = i;
	}
	if (conf->cpu_model == conf->cpu_servicer) {
		bench_error("--cpu-model and --cpu-servicer are both %d; give two different CPUs",
				conf->cpu_model);
		return false;
	}
	if (!CPU_ISSET(conf->cpu_model, &set) || !CPU_ISSET(conf->cpu_servicer, &set)) {
		bench_error("this process may not use CPU %d; see `taskset -cp $$`",
				CPU_ISSET(conf->cpu_model, &set) ? conf->cpu_servicer :
				conf->cpu_model);
		return false;
	}
	return true;
}

/* Returns 0: continue; -1: wrong option; 1: help was printed. */
static int
parse_options(int argc, char **argv, struct bench_conf *conf)
{
	enum { QUICK = 256, MODES, DEPTHS, ROUNDS, FAULTS, JSON, CSV, HGRM, HTML, COMPARE,
		SUITE, PARTS, CPU_MODEL, CPU_SERVICER, LOOP, LOADS, ARRIVAL, HELP };
	static const struct option options[] = {
		{ "quick", no_argument, NULL, QUICK },
		{ "modes", required_argument, NULL, MODES },
		{ "depths", required_argument, NULL, DEPTHS },
		{ "rounds", required_argument, NULL, ROUNDS },
		{ "faults", required_argument, NULL, FAULTS },
		{ "json", required_argument, NULL, JSON },
		{ "csv", required_argument, NULL, CSV },
		{ "hgrm", required_argument, NULL, HGRM },
		{ "html", required_argument, NULL, HTML },
		{ "compare", required_argument, NULL, COMPARE },
		{ "suite", required_argument, NULL, SUITE },
		{ "parts", required_argument, NULL, PARTS },
		{ "cpu-model", required_argument, NULL, CPU_MODEL },
		{ "cpu-servicer", required_argument, NULL, CPU_SERVICER },
		{ "loop", required_argument, NULL, LOOP },
		{ "loads", required_argument, NULL, LOADS },
		{ "arrival", required_argument, NULL, ARRIVAL },
		{ "help", no_argument, NULL, HELP },
		{ NULL, 0, NULL, 0 },
	};
	char *parts = NULL;
	unsigned int cpu;
	bool ok = true;
	int c;

	opterr = 0;
	optind = 1;
	while (ok && (c = getopt_long(argc, argv, ":", options, NULL)) != -1) {
		switch (c) {
		case QUICK:
			conf->quick = true;
			break;
		case MODES:
			ok = parse_modes(optarg, conf);
			break;
		case DEPTHS:
			ok = parse_depths(optarg, conf);
			break;
		case ROUNDS:
			ok = parse_number("--rounds", optarg, 1, BENCH_MAX_ROUNDS, &conf->rounds);
			break;
		case FAULTS:
			ok = parse_number("--faults", optarg, BENCH_MIN_FAULTS, MAX_FAULTS,
					&conf->faults);
			break;
		case JSON:
			conf->json = optarg;
			break;
		case CSV:
			conf->csv = optarg;
			break;
		case HGRM:
			conf->hgrm = optarg;
			break;
		case HTML:
			conf->html = optarg;
			break;
		case COMPARE:
			conf->compare[0] = optarg;
			break;
		case SUITE:
			ok = parse_suite(optarg, conf);
			break;
		case PARTS:
			parts = optarg;
			break;
		case CPU_MODEL:
			ok = parse_number("--cpu-model", optarg, 0, CPU_SETSIZE - 1, &cpu);
			conf->cpu_model = cpu;
			break;
		case CPU_SERVICER:
			ok = parse_number("--cpu-servicer", optarg, 0, CPU_SETSIZE - 1, &cpu);
			conf->cpu_servicer = cpu;
			break;
		case LOOP:
			ok = open_parse_loop(optarg, conf);
			break;
		case LOADS:
			ok = open_parse_loads(optarg, conf);
			break;
		case ARRIVAL:
			ok = open_parse_arrival(optarg, conf);
			break;
		case HELP:
			return 1;
		case ':':
			bench_error("%s needs a value; see iopf-bench --help", argv[optind - 1]);
			return -1;
		default:
			bench_error("unknown option '%s'; see iopf-bench --help (EAL options go "
					"first and end with --)", argv[optind - 1]);
			return -1;
		}
	}
	if (ok && conf->compare[0] != NULL) {
		conf->compare[1] = optind < argc ? argv[optind++] : NULL;
		ok = conf->compare[1] != NULL;
		if (!ok)
			bench_error("--compare %s: give a second file to compare it with",
					conf->compare[0]);
	}
	if (ok && optind < argc) {
		bench_error("unknown argument '%s'; EAL options go first and end with --",
				argv[optind]);
		ok = false;
	}
	if (ok && parts != NULL)
		ok = parse_parts(parts, conf);
	return ok ? 0 : -1;
}

static bool
conf_fill_in(struct bench_conf *conf)
{
	if (!check_suite(conf) || !open_check_options(conf))
		return false;
	conf_set_defaults(conf);
	if (conf->closed && conf->faults < BENCH_MIN_WRITES * conf->max_depth) {
		bench_error("--faults: %u are too few for depth %u; give at least %u", conf->faults,
				conf->max_depth, BENCH_MIN_WRITES * conf->max_depth);
		return false;
	}
	cases_make(conf);
	return choose_cpus(conf) && report_probe_files(conf);
}

static int
run(const struct bench_conf *conf)
{
	struct results res;
	int ret;

	if (conf->suite != NULL)
		return suite_run(conf);
	ret = cases_run(conf, &res);
	if (ret == 0) {
		report_print(&res);
		ret = report_write_files(conf, report_make_json(&res));
		if (ret == 0 && res.interrupted)
			ret = -EINTR;
	}
	results_free(&res);
	return ret;
}

int
main(int argc, char **argv)
{
	static struct bench_conf conf = { .cpu_model = -1, .cpu_servicer = -1 };
	cpu_set_t allowed;
	int eal_argc = sizeof(eal_default) / sizeof(eal_default[0]) - 1;
	char **eal_argv = eal_default;
	int i, ret;

	/* Before the options are parsed in place. */
	conf.command = report_quote_command(argc, argv);
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			argv[i] = argv[0];
			if (i > 1) {
				eal_argc = i;
				eal_argv = argv;
			}
			break;
		}
	}
	ret = i < argc ? parse_options(argc - i, argv + i, &conf) :
			parse_options(argc, argv, &conf);
	if (ret > 0) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (ret == 0 && conf.compare[0] != NULL) {
		report_compare(conf.compare[0], conf.compare[1]);
		return EXIT_USAGE;
	}
	if (ret < 0 || !conf_fill_in(&conf))
		return EXIT_USAGE;

	sched_getaffinity(0, sizeof(allowed), &allowed);
	/* EAL's own getopt reports unknown options. */
	opterr = 1;
	optind = 1;
	if (rte_eal_init(eal_argc, eal_argv) < 0) {
		bench_error("DPDK's EAL cannot start with these options: %s; the default "
				"options need no privilege", rte_strerror(rte_errno));
		return EXIT_FAILURE;
	}
	/*
	 * EAL has pinned this thread. It only waits during the measurement, so move it off the two
	 * measured CPUs if there is a third. Also, the model takes the CPU mask of the thread that
	 * starts it: with one CPU it would yield as if it shared that CPU.
	 */
	sched_setaffinity(0, sizeof(allowed), &allowed);
	ret = run(&conf);
	/* Threads that never end prevent an orderly clean-up. */
	if (ret == -ETIMEDOUT) {
		fflush(NULL);
		_Exit(EXIT_FAILURE);
	}
	rte_eal_cleanup();
	if (ret == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
		bench_error("cannot write the results: %s", strerror(errno));
		ret = -EIO;
	}
	return ret == 0 ? EXIT_SUCCESS : ret == -EINTR ? EXIT_INTERRUPTED : EXIT_FAILURE;
}
