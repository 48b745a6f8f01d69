/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A GPU, one context of which hangs: options, EAL, the run. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf_stats.h>

#include "check.h"
#include "machine.h"
#include "options.h"
#include "report.h"
#include "run.h"

#define WRONG_INPUT	2

/* Needs no hugepages, devices or privileges and leaves no files. */
static const char *const eal_defaults[] = {
	"--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
	"--log-level=lib.eal:warning",
};

static void
print_help(void)
{
	unsigned int i;

	printf("Usage: gpu-hang [EAL options --] [options]\n\n"
			"A software GPU has several contexts, each with a PASID. The shader of one\n"
			"gets a wrong pointer, and all its lanes fault at once. One report has the\n"
			"first fault and the counts of the others; the other contexts work on.\n"
			"Past a number of faults a second its accesses abort instead of stalling, and\n"
			"the context is killed. Then it is reset and works again.\n\n");
	options_print();
	printf("\nWithout EAL options:");
	for (i = 0; i < RTE_DIM(eal_defaults); i++)
		printf(" %s", eal_defaults[i]);
	printf("\nExit status: 0 when one report came, each fault is counted in it, the results of\n"
			"all contexts are right and no access of another context was aborted; 2 for\n"
			"wrong input; else 1.\n");
}

static int
init_eal(char *name, int argc, char **argv)
{
	char *args[64] = { name };
	int i, n = 1;

	if (argc > (int)RTE_DIM(args) - 2)
		return fail("more than %d EAL options", (int)RTE_DIM(args) - 2);
	for (i = 0; i < argc; i++)
		args[n++] = argv[i];
	if (argc == 0) {
		for (i = 0; i < (int)RTE_DIM(eal_defaults); i++)
			args[n++] = (char *)(uintptr_t)eal_defaults[i];
	}
	if (rte_eal_init(n, args) < 0)
		return fail("EAL does not start: %s; without hugepages use "
				"--no-huge -m 64 --no-pci", rte_strerror(rte_errno));
	return 0;
}

static int
run_example(const struct options *options)
{
	uint64_t start = rte_rdtsc();
	struct machine machine;
	struct run run;
	int ret;

	ret = machine_open(&machine, options);
	if (ret == 0)
		ret = run_phases(&run, &machine, start);
	if (ret == 0) {
		report_print_rates(run.rows, 1 + machine.nb_computes, run.seconds);
		ret = check_run(&run);
	}
	if (ret < 0 && iopf_iommu_stat(machine.smmu, IOPF_IOMMU_STAT_RESETS) > 0)
		fail("the SMMU was given up: run it again on a quieter machine");
	machine_close(&machine, ret < 0);
	return ret;
}

int
main(int argc, char **argv)
{
	int first = 1, nb_eal = 0, i, ret;
	struct options options;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") != 0)
			continue;
		nb_eal = i - 1;
		first = i + 1;
		break;
	}
	if (options_parse(&options, argc - first, argv + first) < 0)
		return WRONG_INPUT;
	if (options.help) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (init_eal(argv[0], nb_eal, argv + 1) < 0)
		return WRONG_INPUT;
	ret = run_example(&options);
	rte_eal_cleanup();
	if (ret == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		ret = fail("cannot write the output: %s", strerror(errno));
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
