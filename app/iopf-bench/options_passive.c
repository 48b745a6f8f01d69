/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The settings of the engines "none" and "mailbox". */

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "passive.h"

#define MAX_REGION_MIB	65536
#define MAX_BURST	65536
#define MAX_PASID	((1u << 20) - 1)

const char *const engine_names[BENCH_NB_ENGINES] = {
	[ENGINE_MODEL] = "model",
	[ENGINE_NONE] = "none",
	[ENGINE_MAILBOX] = "mailbox",
};

/* The run keeps the string until the program ends. */
static bool
keep_text(const char *where, const char *text, char **to)
{
	free(*to);
	*to = strdup(text);
	if (*to == NULL)
		bench_error("%s: no memory", where);
	return *to != NULL;
}

bool
set_engine(struct bench_conf *conf, const char *where, char *text)
{
	static const char mailbox[] = "mailbox=";
	unsigned int i;

	if (strncmp(text, mailbox, sizeof(mailbox) - 1) == 0) {
		if (text[sizeof(mailbox) - 1] == '\0') {
			bench_error("%s: '%s' has no path; use mailbox=PATH", where, text);
			return false;
		}
		conf->engine = ENGINE_MAILBOX;
		return keep_text(where, text + sizeof(mailbox) - 1, &conf->passive.mailbox);
	}
	for (i = 0; i < ENGINE_MAILBOX && strcmp(text, engine_names[i]) != 0; i++)
		;
	if (i == ENGINE_MAILBOX) {
		bench_error("%s: '%s' is unknown; use model, none or mailbox=PATH", where, text);
		return false;
	}
	conf->engine = i;
	return true;
}

bool
set_device(struct bench_conf *conf, const char *where, char *text)
{
	return keep_text(where, text, &conf->passive.device);
}

bool
set_streams(struct bench_conf *conf, const char *where, char *text)
{
	return parse_numbers(where, text, 0, UINT32_MAX, conf->passive.streams, BENCH_MAX_STREAMS,
			&conf->passive.nb_streams);
}

bool
set_pasid(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, MAX_PASID, &conf->passive.pasid);
}

bool
set_region(struct bench_conf *conf, const char *where, char *text)
{
	/* All of it gets memory, and the rest of the machine needs some. */
	unsigned long phys = (unsigned long)sysconf(_SC_PHYS_PAGES) / 1024 *
			(unsigned long)sysconf(_SC_PAGESIZE) / 1024;

	if (!parse_number(where, text, 2, MAX_REGION_MIB, &conf->passive.region_mib))
		return false;
	if (conf->passive.region_mib > phys / 4 * 3) {
		bench_error("%s: %u MiB are more than three quarters of the memory of this "
				"machine; use at most %lu", where, conf->passive.region_mib,
				phys / 8 * 3 * 2);
		return false;
	}
	if (conf->passive.region_mib % 2 == 0)
		return true;
	bench_error("%s: '%s' is odd; a region is a multiple of 2 MiB", where, text);
	return false;
}

bool
set_seconds(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, BENCH_MAX_SECONDS, &conf->passive.seconds);
}

bool
set_interval(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 100, 60000, &conf->passive.interval_ms);
}

bool
set_burst(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, MAX_BURST, &conf->passive.burst);
}

bool
set_refault(struct bench_conf *conf, const char *where, char *text)
{
	return parse_number(where, text, 1, 60000, &conf->passive.refault_ms);
}

/* The second CPU, as in other runs, or the only one. */
static bool
choose_cpu(struct bench_conf *conf)
{
	cpu_set_t set;
	int i, first = -1;

	if (sched_getaffinity(0, sizeof(set), &set) < 0) {
		bench_error("cannot read the CPU affinity: %s", strerror(errno));
		return false;
	}
	for (i = 0; i < CPU_SETSIZE && conf->cpu_servicer < 0; i++) {
		if (CPU_ISSET(i, &set) && first < 0)
			first = i;
		else if (CPU_ISSET(i, &set))
			conf->cpu_servicer = i;
	}
	if (conf->cpu_servicer < 0)
		conf->cpu_servicer = first;
	if (CPU_ISSET(conf->cpu_servicer, &set))
		return true;
	bench_error("this process may not use CPU %d; see `taskset -cp $$`", conf->cpu_servicer);
	return false;
}

/* An hour, or as many intervals as there may be, without a time. */
static bool
set_intervals(struct bench_conf *conf)
{
	const struct passive_conf *passive = &conf->passive;
	unsigned int seconds = passive->seconds, n;

	if (seconds == 0)
		seconds = BENCH_MAX_SECONDS;
	n = (seconds * 1000 + passive->interval_ms - 1) / passive->interval_ms;
	conf->rounds = n;
	if (n <= BENCH_MAX_INTERVALS)
		return true;
	conf->rounds = BENCH_MAX_INTERVALS;
	if (passive->seconds == 0)
		return true;
	bench_error("interval: %u s have %u intervals of %u ms, more than %d; give a longer "
			"interval", seconds, n, passive->interval_ms, BENCH_MAX_INTERVALS);
	return false;
}

bool
passive_fill_in(struct bench_conf *conf)
{
	struct passive_conf *passive = &conf->passive;

	if (passive->device == NULL || passive->nb_streams == 0) {
		bench_error("engine %s: %s; see the guide", engine_names[conf->engine],
				passive->device == NULL ? "give the SMMU with --device, such as "
				"smmuv3,vfio=9050000.smmuv3" :
				"give the StreamIDs of your devices with --streams");
		return false;
	}
	if (conf->engine == ENGINE_MAILBOX && passive->nb_streams > 1) {
		bench_error("streams: the mailbox drives one device: give one StreamID, not %u",
				passive->nb_streams);
		return false;
	}
	if (conf->quick) {
		bench_error("--quick is not for engine %s: leave it out",
				engine_names[conf->engine]);
		return false;
	}
	if (passive->region_mib == 0)
		passive->region_mib = 64;
	if (passive->burst == 0)
		passive->burst = 256;
	if (passive->interval_ms == 0)
		passive->interval_ms = 1000;
	conf->nb_modes = 1;
	conf->modes[0] = 0;
	cases_make_passive(conf);
	return set_intervals(conf) && choose_cpu(conf);
}
