/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include "options.h"

static const struct {
	const char *name;
	int (*run)(const char *path, struct outcome *out);
	const char *text;
} kernels[] = {
	{ "copy", kernel_copy, "copy FILE into fresh memory; SHA-256 of the copy" },
	{ "sha256", kernel_sha256, "SHA-256 of FILE, read through DMA" },
	{ "bfs", kernel_bfs, "breadth-first search from vertex 1 of a Matrix Market file" },
	{ "spmv", kernel_spmv, "a Matrix Market file times the all-ones vector" },
};

/* Needs no hugepages, devices or privileges and leaves no files. */
static const char *const eal_defaults[] = {
	"--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
	"--log-level=lib.eal:warning",
};

static void
print_help(void)
{
	unsigned int i;

	printf("Usage: accel [EAL options --] [options] KERNEL FILE\n\n"
			"Run KERNEL on software devices whose memory is neither pinned nor\n"
			"mapped, and on the CPU, and compare. The first access to a page\n"
			"faults, unless a fault before it in a stream has mapped the page.\n\n");
	for (i = 0; i < RTE_DIM(kernels); i++)
		printf("  %-8s%s\n", kernels[i].name, kernels[i].text);
	options_print_help();
	printf("\nMatrix Market: coordinate, pattern or integer, general or symmetric;\n"
			"plain or gzip. Without EAL options:");
	for (i = 0; i < RTE_DIM(eal_defaults); i++)
		printf(" %s", eal_defaults[i]);
	printf("\nExit status: 0 when device and CPU agree and all pages faulted, else 1.\n");
}

static int
init_eal(char *name, int argc, char **argv)
{
	char *args[64] = { name };
	int i, n = 1;

	if (argc > (int)RTE_DIM(args) - 2)
		return accel_fail("more than %d EAL options", (int)RTE_DIM(args) - 2);
	for (i = 0; i < argc; i++)
		args[n++] = argv[i];
	if (argc == 0) {
		for (i = 0; i < (int)RTE_DIM(eal_defaults); i++)
			args[n++] = (char *)(uintptr_t)eal_defaults[i];
	}
	if (rte_eal_init(n, args) < 0)
		return accel_fail("EAL does not start: %s; without hugepages use "
				"--no-huge -m 64 --no-pci", rte_strerror(rte_errno));
	return 0;
}

static void
print_figures(const struct outcome *out)
{
	const struct accel_figures *f = &out->figures;
	bool pri = out->setup.pri;

	printf("pages touched: %" PRIu64 "\n", f->touched);
	if (pri)
		printf("groups: %" PRIu64 "\n", f->groups);
	printf("%s: %" PRIu64 "\n", pri ? "page requests" : "faults", f->faults);
	printf("mapped by faults: %" PRIu64 "\n", f->mapped);
	printf("mapped ahead of them: %" PRIu64 "\n", f->ahead);
	printf("prefetched: %" PRIu64 "\n", f->prefetched);
	printf("deferred: %" PRIu64 "\n", f->deferred);
	if (out->setup.budget != 0)
		printf("fetched: %" PRIu64 "\nevicted: %" PRIu64 "\n", f->filled, f->evicted);
	printf("latency: p50 %.1f us, p99 %.1f us (%" PRIu64 " %s, record read to answer)\n",
			f->latency.p50_ns / 1e3, f->latency.p99_ns / 1e3, f->latency.samples,
			pri ? "groups" : "faults");
	printf("rate: %.0f MB/s (%" PRIu64 " bytes in %.3f s)\n",
			f->seconds > 0 ? f->bytes / f->seconds / 1e6 : 0, f->bytes, f->seconds);
}

/* Check the results, and that each page was mapped by a fault, of its own or of its stream. */
static int
check_outcome(const struct outcome *out)
{
	const struct accel_figures *f = &out->figures;
	int ret = 0;

	if (strcmp(out->device, out->cpu) != 0)
		ret = accel_fail("device and CPU differ");
	if (f->mapped + f->ahead + f->prefetched < f->touched)
		ret = accel_fail("%" PRIu64 " pages touched but %" PRIu64 " mapped", f->touched,
				f->mapped + f->ahead + f->prefetched);
	if (f->faults < f->mapped)
		ret = accel_fail("fewer faults than pages that they mapped");
	if (f->prefetched != 0 && !out->setup.prefetch && !out->setup.hints)
		ret = accel_fail("%" PRIu64 " pages were mapped otherwise than by a fault",
				f->prefetched);
	if (f->mistakes != 0)
		ret = accel_fail("the model reports %u errors of the driver", f->mistakes);
	return ret;
}

/* For oversubscribe.py. */
static int
write_json(const char *path, const char *kernel, const struct outcome *out)
{
	const struct accel_figures *f = &out->figures;
	FILE *file = fopen(path, "w");
	bool ok;

	if (file == NULL)
		return accel_fail("%s: cannot write: %s", path, strerror(errno));
	fprintf(file, "{\"kernel\": \"%s\", \"data\": %zu, \"budget\": %zu, "
			"\"private\": %zu, \"seconds\": %.6f, "
			"\"faults\": %" PRIu64 ", \"fetched\": %" PRIu64 ", \"evicted\": %" PRIu64
			"}\n", kernel, out->data, out->setup.budget, out->private,
			out->seconds, f->faults,
			f->filled, f->evicted);
	ok = !ferror(file);
	if (fclose(file) != 0 || !ok)
		return accel_fail("%s: cannot write: %s", path, strerror(errno));
	return 0;
}

static int
run_kernel(unsigned int kernel, const struct options *options)
{
	struct outcome out = { .setup = options->setup };

	if (kernels[kernel].run(options->file, &out) < 0)
		return -1;
	printf("device: %s\n", out.device);
	printf("cpu: %s\n", out.cpu);
	if (!out.setup.mapping)
		print_figures(&out);
	if (check_outcome(&out) < 0 || accel_save_record() < 0)
		return -1;
	return options->json == NULL ? 0 : write_json(options->json, kernels[kernel].name, &out);
}

static int
check_setup(const struct setup *setup, bool spmv)
{
	if (!spmv && (setup->copies || setup->hints || setup->mapping))
		return accel_fail("--copies, --hints and --mapping are for spmv only");
	if (setup->copies + setup->hints + setup->mapping > 1)
		return accel_fail("give one of --copies, --hints and --mapping");
	if (setup->hints && setup->nb_devices * setup->nb_queues < 2)
		return accel_fail("--hints needs two queues; give --queues 2");
	return 0;
}

int
main(int argc, char **argv)
{
	struct options options;
	int first = 1, nb_eal = 0, i, ret;
	unsigned int k;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") != 0)
			continue;
		nb_eal = i - 1;
		first = i + 1;
		break;
	}
	if (first < argc &&
			(strcmp(argv[first], "--help") == 0 || strcmp(argv[first], "-h") == 0)) {
		print_help();
		return EXIT_SUCCESS;
	}
	if (options_read(argc - first, argv + first, &options) < 0)
		return EXIT_FAILURE;
	for (k = 0; k < RTE_DIM(kernels); k++) {
		if (strcmp(options.kernel, kernels[k].name) == 0)
			break;
	}
	if (k == RTE_DIM(kernels)) {
		accel_fail("unknown kernel \"%s\"; use copy, sha256, bfs or spmv",
				options.kernel);
		return EXIT_FAILURE;
	}
	if (check_setup(&options.setup, kernels[k].run == kernel_spmv) < 0)
		return EXIT_FAILURE;
	if (options.record != NULL)
		accel_record(options.record);
	if (init_eal(argv[0], nb_eal, argv + 1) < 0)
		return EXIT_FAILURE;
	ret = run_kernel(k, &options);
	rte_eal_cleanup();
	if (ret == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		ret = accel_fail("cannot write the output: %s", strerror(errno));
	return ret == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
