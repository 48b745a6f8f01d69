/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model's features and choices by the names in the list "rows". */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

#define CONF(field) offsetof(struct lab_options, conf.field)

/* Options with a number, as in evtq=4. */
static const struct {
	const char *name;
	size_t offset;
} numbers[] = {
	{ "sid_bits", CONF(sid_bits) },
	{ "ssid_bits", CONF(ssid_bits) },
	{ "cmdq", CONF(cmdq_log2) },
	{ "evtq", CONF(evtq_log2) },
	{ "priq", CONF(priq_log2) },
	{ "oas", CONF(oas_bits) },
	{ "stall_model", CONF(stall_model) },
	{ "stall_max", CONF(stall_max) },
	{ "ack_delay", CONF(ack_delay) },
	{ "tlb_log2", CONF(tlb_log2) },
	{ "seed", CONF(seed) },
	{ "limit", offsetof(struct lab_options, limit) },
	{ "cpu", offsetof(struct lab_options, cpu) },
};

/* Options without a value. */
static const struct {
	const char *name;
	size_t offset;
	uint32_t bit;
} words[] = {
	{ "no_msi", CONF(no_features), SMMUV3_MODEL_NO_MSI },
	{ "no_2lvl_strtab", CONF(no_features), SMMUV3_MODEL_NO_2LVL_STRTAB },
	{ "no_2lvl_cd", CONF(no_features), SMMUV3_MODEL_NO_2LVL_CD },
	{ "no_ril", CONF(no_features), SMMUV3_MODEL_NO_RIL },
	{ "no_asid16", CONF(no_features), SMMUV3_MODEL_NO_ASID16 },
	{ "no_16k", CONF(no_features), SMMUV3_MODEL_NO_16K },
	{ "no_64k", CONF(no_features), SMMUV3_MODEL_NO_64K },
	{ "no_cohacc", CONF(no_features), SMMUV3_MODEL_NO_COHACC },
	{ "term_abort_only", CONF(no_features), SMMUV3_MODEL_TERM_ABORT_ONLY },
	{ "ats", CONF(features), SMMUV3_MODEL_ATS },
	{ "pri", CONF(features), SMMUV3_MODEL_PRI },
	{ "pps", CONF(features), SMMUV3_MODEL_PPS },
	{ "retry_held", CONF(choices), SMMUV3_MODEL_RETRY_HELD },
	{ "early_retry", CONF(choices), SMMUV3_MODEL_EARLY_RETRY },
	{ "suppress_dup", CONF(choices), SMMUV3_MODEL_SUPPRESS_DUP },
	{ "over_invalidate", CONF(choices), SMMUV3_MODEL_OVER_INVALIDATE },
	{ "sticky", CONF(choices), SMMUV3_MODEL_STICKY_TLB },
	{ "lax_res0", CONF(choices), SMMUV3_MODEL_LAX_RES0 },
	{ "torn", CONF(choices), SMMUV3_MODEL_TORN_FETCH },
	{ "no_stall_support", CONF(choices), SMMUV3_MODEL_NO_STALL_SUPPORT },
	{ "fail_each_ppr", CONF(choices), SMMUV3_MODEL_FAIL_EACH_PPR },
};

#define NB(array) (sizeof(array) / sizeof((array)[0]))

void
lab_usage(void)
{
	size_t i;

	printf("usage: host RAM-FILE QTEST-SOCKET QMP-SOCKET [option ...]\n"
		"Serves QEMU's guest as its SMMUv3. RAM-FILE is the guest's memory.\n"
		"Options of the model (smmuv3_model.h):\n ");
	for (i = 0; i < NB(words); i++)
		printf(" %s", words[i].name);
	for (i = 0; i < NB(numbers); i++)
		printf(" %s=N", numbers[i].name);
	printf("\nand of the lab:\n"
		"  early=SID  read through SID as soon as the SMMU is on\n"
		"  preon      switch the SMMU on before the guest starts\n"
		"  trace      print each DMA\n"
		"  no_irqs    raise no interrupt\n"
		"ssid_bits=0 is an SMMU without SubstreamIDs. limit is in seconds.\n");
}

static uint32_t *
field(struct lab_options *opt, size_t offset)
{
	return (uint32_t *)((char *)opt + offset);
}

static bool
parse_number(struct lab_options *opt, const char *arg, size_t len, uint32_t value)
{
	size_t i;

	for (i = 0; i < NB(numbers); i++) {
		if (strlen(numbers[i].name) == len && strncmp(arg, numbers[i].name, len) == 0) {
			*field(opt, numbers[i].offset) = value;
			return true;
		}
	}
	if (len == strlen("early") && strncmp(arg, "early", len) == 0) {
		opt->early = true;
		opt->early_sid = value;
		return true;
	}
	return false;
}

static bool
parse_word(struct lab_options *opt, const char *arg)
{
	size_t i;

	for (i = 0; i < NB(words); i++) {
		if (strcmp(arg, words[i].name) == 0) {
			*field(opt, words[i].offset) |= words[i].bit;
			return true;
		}
	}
	opt->preon |= strcmp(arg, "preon") == 0;
	opt->trace |= strcmp(arg, "trace") == 0;
	opt->no_irqs |= strcmp(arg, "no_irqs") == 0;
	return strcmp(arg, "preon") == 0 || strcmp(arg, "trace") == 0 ||
		strcmp(arg, "no_irqs") == 0;
}

static bool
parse(struct lab_options *opt, const char *arg)
{
	const char *equals = strchr(arg, '=');
	unsigned long value;
	char *end;

	if (equals == NULL)
		return parse_word(opt, arg);
	value = strtoul(equals + 1, &end, 0);
	if (end == equals + 1 || *end != '\0' || value > UINT32_MAX)
		return false;
	if (value == 0 && strncmp(arg, "ssid_bits", (size_t)(equals - arg)) == 0)
		value = SMMUV3_MODEL_NONE;
	return parse_number(opt, arg, (size_t)(equals - arg), (uint32_t)value);
}

bool
lab_parse(struct lab_options *opt, int argc, char **argv)
{
	int i;

	*opt = (struct lab_options){ .limit = 300, .cpu = UINT32_MAX };
	for (i = 0; i < argc; i++) {
		if (!parse(opt, argv[i])) {
			fprintf(stderr, "host: %s: unknown option, or not a number; "
				"--help lists the options\n", argv[i]);
			return false;
		}
	}
	return true;
}
