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

#include "options.h"
#include "passive.h"
#include "report_json.h"
#include "suite.h"

#define EXIT_USAGE	2
#define EXIT_INTERRUPTED	3

static const char usage[] =
"Usage: iopf-bench [EAL options --] [options]\n"
"\n"
"Serves the same page faults of a software SMMUv3 in several ways, alternately, and\n"
"compares them. Two CPUs are needed: one for the model and its engines, one for\n"
"the servicer.\n"
"\n"
"  --quick             depths 1, 16 and 256; 9 rounds of 16384 faults (under 40 s;\n"
"                      a suite: 2 to 3 minutes)\n"
"  --modes LIST        from polled, null, eventfd, local, pri, uffd [all]\n"
"  --depths LIST       pending writes, each from 1 to 512 [1,2,4,...,256]\n"
"  --rounds N          1 to 200 [15]\n"
"  --faults N          pages per round and case; 256 to 262144 [32768]\n"
"  --loop LIST         closed (a number of pending writes), open (faults at a rate)\n"
"                      [closed,open]\n"
"  --loads LIST        rates of the open loop in percent of what was reached at most,\n"
"                      each from 1 to 400 [10,...,120]\n"
"  --arrival LIST      times of these faults: poisson, constant [poisson]\n"
"  --requesters N      engines that take the writes in turn, 1 to 64 [1]\n"
"  --sids N            their StreamIDs, 1 to the number of engines [1]\n"
"  --pattern NAME      order of the pages: sequential, random, trace [sequential]\n"
"  --trace FILE        the trace, of iopf-trace-record\n"
"  --zero NAME         zero the pages: none; pool, beforehand; inline, at the fault [none]\n"
"  --msi NAME          doorbell words for iopf: on; registers: off [on]\n"
"  --mmio-ns N         simulated cost of a register read, 0 to 10000 ns [0]\n"
"  --ats NAME          ATS and PRI of the SMMU of each mode: on; of mode pri alone: off [off]\n"
"  --idle NAME         of iopf's poll thread: poll, pause, spin, yield, sleep [poll]\n"
"  --engine NAME       source of the faults: model; none: a device of yours; mailbox=PATH: a\n"
"                      device that another program drives. The last two have the next eight\n"
"                      options, --idle and --cpu-servicer [model]\n"
"  --device DEVSTR     its SMMU, such as smmuv3,vfio=9050000.smmuv3\n"
"  --streams LIST      its StreamIDs\n"
"  --pasid N           its PASID [none]\n"
"  --region MIB        memory that it may access, 2 to 65536 [64]\n"
"  --seconds N         1 to 3600 [until Ctrl-C, an hour at most]\n"
"  --interval MS       a line of results each so many milliseconds, 100 to 60000 [1000]\n"
"  --burst N           of mailbox: writes of a request, 1 to 65536 [256]\n"
"  --refault MS        of none: unmap the memory each so many milliseconds, 1 to 60000 [never]\n"
"  --json FILE         also write the results to FILE\n"
"  --csv FILE          also write a line of CSV for each case to FILE\n"
"  --hgrm DIR          also write the histograms to DIR, as HdrHistogram's percentiles\n"
"  --html FILE         also write a report with figures to FILE\n"
"  --compare A B       instead: compare two results of --json\n"
"  --suite NAME        instead: fault-path (storms, fairness, overload and others),\n"
"                      cmdq (a command queue with 1 to 32 threads), scaling (one and\n"
"                      two servicers, 1 to 64 SMMUs) or mmem (memory that is smaller\n"
"                      than its contents): see the guides\n"
"  --parts LIST        of fault-path: storm, fairness, overload, duplicate, breaker,\n"
"                      replace, sids, smmus, idle; of cmdq: traffic, resume,\n"
"                      atomics; of scaling: private, shared, smmus, idle; of mmem:\n"
"                      policy, product, ahead, hotset, slow [all]\n"
"  --config FILE       run the cases of a file: see the guide; all options above but --quick\n"
"                      and files are keys of it, and override it on the command line\n"
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

	fprintf(stderr, "iopf-bench: %s", options_context);
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
parse_suite(const char *text, struct bench_conf *conf)
{
	static const struct suite_def *const suites[] = { &suite_fault_path, &suite_cmdq,
		&suite_scaling, &suite_mmem };
	unsigned int i;

	for (i = 0; i < sizeof(suites) / sizeof(suites[0]); i++) {
		if (strcmp(text, suites[i]->name) == 0) {
			conf->suite = suites[i];
			return true;
		}
	}
	bench_error("--suite: unknown suite '%s'; use fault-path, cmdq, scaling or mmem", text);
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

/* Returns 0: continue; -1: wrong option; 1: help was printed. */
static int
parse_options(int argc, char **argv, struct bench_conf *conf, struct given *given,
		const char **config)
{
	enum { QUICK = 256, SETTING, CONFIG, JSON, CSV, HGRM, HTML, COMPARE, SUITE, PARTS, HELP };
	static const struct option options[] = {
		{ "quick", no_argument, NULL, QUICK },
		{ "modes", required_argument, NULL, SETTING },
		{ "depths", required_argument, NULL, SETTING },
		{ "rounds", required_argument, NULL, SETTING },
		{ "faults", required_argument, NULL, SETTING },
		{ "loop", required_argument, NULL, SETTING },
		{ "loads", required_argument, NULL, SETTING },
		{ "arrival", required_argument, NULL, SETTING },
		{ "requesters", required_argument, NULL, SETTING },
		{ "sids", required_argument, NULL, SETTING },
		{ "pattern", required_argument, NULL, SETTING },
		{ "trace", required_argument, NULL, SETTING },
		{ "zero", required_argument, NULL, SETTING },
		{ "msi", required_argument, NULL, SETTING },
		{ "mmio-ns", required_argument, NULL, SETTING },
		{ "ats", required_argument, NULL, SETTING },
		{ "idle", required_argument, NULL, SETTING },
		{ "engine", required_argument, NULL, SETTING },
		{ "device", required_argument, NULL, SETTING },
		{ "streams", required_argument, NULL, SETTING },
		{ "pasid", required_argument, NULL, SETTING },
		{ "region", required_argument, NULL, SETTING },
		{ "seconds", required_argument, NULL, SETTING },
		{ "interval", required_argument, NULL, SETTING },
		{ "burst", required_argument, NULL, SETTING },
		{ "refault", required_argument, NULL, SETTING },
		{ "cpu-model", required_argument, NULL, SETTING },
		{ "cpu-servicer", required_argument, NULL, SETTING },
		{ "config", required_argument, NULL, CONFIG },
		{ "json", required_argument, NULL, JSON },
		{ "csv", required_argument, NULL, CSV },
		{ "hgrm", required_argument, NULL, HGRM },
		{ "html", required_argument, NULL, HTML },
		{ "compare", required_argument, NULL, COMPARE },
		{ "suite", required_argument, NULL, SUITE },
		{ "parts", required_argument, NULL, PARTS },
		{ "help", no_argument, NULL, HELP },
		{ NULL, 0, NULL, 0 },
	};
	char *parts = NULL;
	bool ok = true;
	int c, index;

	opterr = 0;
	optind = 1;
	while (ok && (c = getopt_long(argc, argv, ":", options, &index)) != -1) {
		switch (c) {
		case QUICK:
			conf->quick = true;
			break;
		case SETTING:
			ok = given_add(given, settings_find(options[index].name), optarg);
			break;
		case CONFIG:
			*config = optarg;
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
	if (ok && conf->suite != NULL && conf->hgrm != NULL) {
		bench_error("--hgrm is not for --suite, which reports no histograms: leave it out");
		ok = false;
	}
	if (ok && *config != NULL && conf->suite != NULL) {
		bench_error("--config is not for --suite: leave it out");
		ok = false;
	}
	return ok ? 0 : -1;
}

/* Each of several runs has files of its own. */
static bool
name_files(struct bench_conf *run)
{
	const char **path[] = { &run->json, &run->csv, &run->hgrm, &run->html };
	unsigned int i;

	for (i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
		if (*path[i] == NULL)
			continue;
		*path[i] = config_name_file(*path[i], run->run);
		if (*path[i] == NULL) {
			bench_error("no memory for the names of files");
			return false;
		}
	}
	return true;
}

/* Make one run, or those of the configuration file. Returns their number, or negative. */
static int
make_runs(struct bench_conf *base, const struct given *given, const char *config,
		struct bench_conf **runs)
{
	int i, n = 1;

	*runs = base;
	if (config != NULL)
		n = config_read(config, base, given, runs);
	else if (!given_apply(given, base) || !conf_fill_in(base))
		return -1;
	for (i = 0; i < n; i++)
		if ((n > 1 && !name_files(&(*runs)[i])) || !report_probe_files(&(*runs)[i]))
			return -1;
	return n;
}

static int
run(const struct bench_conf *conf)
{
	struct results res;
	int ret;

	if (conf->suite != NULL)
		return suite_run(conf);
	ret = conf->engine != ENGINE_MODEL ? passive_run(conf, &res) : cases_run(conf, &res);
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
	static struct given given;
	const char *config = NULL;
	static struct bench_conf *runs;
	cpu_set_t allowed;
	int eal_argc = sizeof(eal_default) / sizeof(eal_default[0]) - 1;
	char **eal_argv = eal_default;
	int i, ret, nb_runs;

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
	ret = i < argc ? parse_options(argc - i, argv + i, &conf, &given, &config) :
			parse_options(argc, argv, &conf, &given, &config);
	if (ret > 0) {
		fputs(usage, stdout);
		return EXIT_SUCCESS;
	}
	if (ret == 0 && conf.compare[0] != NULL) {
		report_compare(conf.compare[0], conf.compare[1]);
		return EXIT_USAGE;
	}
	nb_runs = ret < 0 ? ret : make_runs(&conf, &given, config, &runs);
	if (nb_runs < 0)
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
	for (i = 0, ret = 0; i < nb_runs && ret == 0; i++) {
		if (runs[i].run[0] != '\0')
			printf("%s[%s]\n\n", i == 0 ? "" : "\n", runs[i].run);
		ret = run(&runs[i]);
	}
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
