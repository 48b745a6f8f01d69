/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* A small data plane: bring-up, the loop, and the figures. */

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <iopf.h>
#include <iopf_poller.h>
#include <iopf_stats.h>
#include <mmem.h>
#include <smmuv3_model.h>

#include "device.h"
#include "forward.h"
#include "options.h"

#define DEVSTR		"smmuv3,model=1"
#define STUCK_SECONDS	10
#define WRONG_INPUT	2

/* Needs no hugepages, devices or privileges and leaves no files. */
static const char *const eal_defaults[] = {
	"--no-huge", "-m", "64", "--no-pci", "--no-telemetry", "--no-shconf",
	"--log-level=lib.eal:warning",
};

struct plane {
	const char *devstr;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct iopf_poller *poller;
	struct smmuv3_model *model;	/* NULL with edu */
	struct dma *dma;
	struct device *device;
	struct forward forward;
	bool attached;
	bool failed;
	bool polling;
	unsigned int lcore;	/* of the poll thread; RTE_MAX_LCORE if thread polls */
	pthread_t thread;
	atomic_bool quit;
	double seconds;
};

static void
print_help(void)
{
	unsigned int i;

	printf("Usage: dataplane [EAL options --] [options]\n\n"
			"A software device receives packets into buffers that are neither\n"
			"pinned nor mapped; the CPU checks them and gives them back; the device\n"
			"sends them. It accesses descriptors, completions and packets through an\n"
			"SMMUv3, in software or, with --edu and --iommu, QEMU's.\n\n");
	options_print();
	printf("\nWithout EAL options:");
	for (i = 0; i < RTE_DIM(eal_defaults); i++)
		printf(" %s", eal_defaults[i]);
	printf("\nExit status: 0 when each packet came back, whole and in order, except for the\n"
			"packets that --bad-every lost; 2 for wrong input; else 1.\n");
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

/* For a single core: the poll thread must yield it. */
static void *
poll_and_yield(void *arg)
{
	struct plane *plane = arg;

	while (!atomic_load_explicit(&plane->quit, memory_order_relaxed)) {
		if (iopf_poll(plane->poller) == 0)
			sched_yield();
	}
	return NULL;
}

static int
start_polling(struct plane *plane, const struct options *options)
{
	int ret;

	if (options->edu != NULL)
		return 0;	/* its engine polls */

	/*
	 * The model's thread and the data plane share the first core; the poll thread has its own.
	 */
	plane->lcore = rte_get_next_lcore(-1, 1, 0);
	if (plane->lcore < RTE_MAX_LCORE)
		ret = -rte_eal_remote_launch(iopf_poller_run, plane->poller, plane->lcore);
	else
		ret = pthread_create(&plane->thread, NULL, poll_and_yield, plane);
	plane->polling = ret == 0;
	return ret == 0 ? 0 : fail("cannot start the poller: %s", strerror(ret));
}

static void
stop_polling(struct plane *plane)
{
	if (!plane->polling)
		return;
	if (plane->lcore < RTE_MAX_LCORE) {
		iopf_poller_stop(plane->poller);
		rte_eal_wait_lcore(plane->lcore);
	} else {
		atomic_store_explicit(&plane->quit, true, memory_order_relaxed);
		pthread_join(plane->thread, NULL);
	}
}

static int
open_smmu(struct plane *plane, const struct options *options, size_t memory)
{
	plane->devstr = options->iommu != NULL ? options->iommu : DEVSTR;
	plane->smmu = iopf_iommu_open(plane->devstr);
	if (plane->smmu == NULL)
		return fail("cannot open %s: %s", plane->devstr, rte_strerror(rte_errno));
	if (options->edu == NULL) {
		plane->model = smmuv3_model_lookup("1");
		if (plane->model == NULL)
			return fail("%s is open, but no model has the name 1", plane->devstr);
	}
	/* Chunks beyond the regions are for page tables and edu's stage. */
	plane->pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = plane->smmu,
			.size = memory + 4 * MMEM_CHUNK_SIZE });
	if (plane->pool == NULL)
		return fail("cannot make a pool of %zu bytes: %s; use fewer --buffers", memory,
				rte_strerror(rte_errno));
	plane->space = mmem_space_create(&(struct mmem_space_conf){ .pool = plane->pool });
	if (plane->space == NULL)
		return fail("cannot make an address space: %s", rte_strerror(rte_errno));
	plane->poller = iopf_poller_create(&(struct iopf_poller_conf){ .name = "dataplane" });
	if (plane->poller == NULL ||
			iopf_poller_add(plane->poller, plane->smmu, IOPF_QUEUE_ALL) < 0)
		return fail("cannot make a poller: %s", rte_strerror(rte_errno));
	if (iopf_iommu_start(plane->smmu) < 0)
		return fail("cannot start %s: %s", plane->devstr, rte_strerror(rte_errno));
	return 0;
}

/* Only this function, dma.c and the engines differ between kinds of devices. */
static int
add_device(struct plane *plane, const struct options *options)
{
	struct iopf_dev_conf conf = { .name = "dataplane", .sids = &options->sid, .nb_sids = 1,
			.recover = IOPF_STALL };

	plane->dma = dma_open(&(struct dma_conf){ .model = plane->model, .sid = options->sid,
			.edu = options->edu, .iommu = plane->smmu, .poller = plane->poller,
			.space = plane->space, .depth = DEVICE_DEPTH(options->ring),
			.retry = options->retry, .max_retries = options->retries });
	if (plane->dma == NULL && options->edu != NULL)
		return fail("cannot open edu at %s: %s; give an edu that is bound to vfio-pci",
				options->edu, rte_strerror(rte_errno));
	if (plane->dma == NULL)
		return fail("cannot make a DMA engine: %s", rte_strerror(rte_errno));
	if (options->retry) {
		conf.recover = IOPF_TERMINATE;
		conf.ops.retry = dma_notify;
		conf.ctx = plane->dma;
	}
	plane->dev = iopf_dev_add(plane->smmu, &conf);
	if (plane->dev == NULL)
		return fail("cannot add the device: %s", rte_strerror(rte_errno));
	if (mmem_attach(plane->space, plane->dev, IOPF_NO_PASID) < 0)
		return fail("cannot attach the device: %s", rte_strerror(rte_errno));
	plane->attached = true;
	return 0;
}

static int
open_plane(struct plane *plane, const struct options *options)
{
	struct forward_conf conf = { .ring_size = options->ring, .nb_buffers = options->buffers,
			.packet_size = options->size, .unmap_every = options->unmap_every,
			.bad_every = options->bad_every };
	struct forward *forward = &plane->forward;
	int ret;

	if (open_smmu(plane, options, forward_get_memory_size(&conf)) < 0 ||
			add_device(plane, options) < 0)
		return -1;
	conf.space = plane->space;
	ret = forward_open(forward, &conf);
	if (ret < 0)
		return fail("cannot make rings and buffers: %s; use a smaller --ring or fewer "
				"--buffers", strerror(-ret));
	plane->device = device_open(&(struct device_conf){ .dma = plane->dma,
			.ring_size = options->ring, .packet_size = options->size,
			.nb_packets = options->packets,
			.rings = {
				[DEVICE_RX] = { (uintptr_t)forward->rx.desc,
						(uintptr_t)forward->rx.comp },
				[DEVICE_TX] = { (uintptr_t)forward->tx.desc,
						(uintptr_t)forward->tx.comp },
			} });
	if (plane->device == NULL)
		return fail("cannot make the device: %s", rte_strerror(rte_errno));
	return start_polling(plane, options);
}

static void
close_plane(struct plane *plane)
{
	/* Stalls without an answer end with the SMMU; then the engine can drain. */
	if (plane->failed)
		iopf_iommu_stop(plane->smmu);
	if (plane->attached)
		mmem_detach(plane->space, plane->dev, IOPF_NO_PASID);
	if (plane->dev != NULL)
		iopf_dev_remove(plane->dev);
	dma_close(plane->dma);
	device_close(plane->device);
	stop_polling(plane);
	if (plane->poller != NULL)
		iopf_poller_destroy(plane->poller);
	if (plane->space != NULL)
		mmem_space_destroy(plane->space);
	if (plane->pool != NULL)
		mmem_pool_destroy(plane->pool);
	if (plane->smmu != NULL) {
		iopf_iommu_stop(plane->smmu);
		if (iopf_iommu_close(plane->smmu) < 0)
			fail("cannot close %s: %s", plane->devstr, rte_strerror(rte_errno));
	}
	forward_close(&plane->forward);
}

static unsigned int
step_plane(struct plane *plane)
{
	struct forward *forward = &plane->forward;
	unsigned int n = forward_poll(forward);

	device_doorbell(plane->device, DEVICE_RX, forward->rx.posted);
	device_doorbell(plane->device, DEVICE_TX, forward->tx.posted);
	return n + device_poll(plane->device);
}

static bool
have_packets_ended(const struct plane *plane, uint64_t packets)
{
	const struct forward_stats *stats = &plane->forward.stats;

	return stats->sent + stats->expected + stats->dropped + stats->damaged >= packets;
}

static int
run_plane(struct plane *plane, uint64_t packets)
{
	uint64_t begin = rte_rdtsc(), moved = begin;

	/* The last completions are still pending when the last packet has ended. */
	while (!have_packets_ended(plane, packets) || !dma_is_idle(plane->dma)) {
		if (step_plane(plane) > 0) {
			moved = rte_rdtsc();
			continue;
		}
		if (plane->forward.error < 0)
			return fail("cannot unmap a buffer from the device: %s",
					strerror(-plane->forward.error));
		if (device_is_broken(plane->device))
			return fail("the device cannot access its rings: an access was refused, "
					"or failed --retries times");
		if (rte_rdtsc() - moved > STUCK_SECONDS * rte_get_tsc_hz())
			return fail("no progress for " RTE_STR(STUCK_SECONDS) " seconds: faults "
					"are not answered; try EAL option --log-level=*:debug");
		dma_wait(plane->dma);
	}
	plane->seconds = (double)(rte_rdtsc() - begin) / rte_get_tsc_hz();
	return 0;
}

static void
print_figures(struct plane *plane, const struct options *options)
{
	const struct device_stats *device = device_stats(plane->device);
	const struct iopf_domain *domain = mmem_space_domain(plane->space);
	const struct dma_stats *dma = dma_stats(plane->dma);
	struct iopf_latency latency;

	iopf_domain_latency(domain, &latency);
	printf("recover: %s\n", options->retry ? "retry" : "stall");
	printf("packets: %" PRIu64 " received, %" PRIu64 " came back\n", device->received,
			device->sent);
	printf("bytes: %" PRIu64 "\n", device->bytes);
	printf("faults: %" PRIu64 "; pages mapped %" PRIu64 ", unmapped %" PRIu64 "\n",
			iopf_domain_stat(domain, IOPF_STAT_FAULTS),
			mmem_stat(plane->space, MMEM_STAT_MAPPED),
			mmem_stat(plane->space, MMEM_STAT_UNMAPPED));
	printf("retries: %" PRIu64 ", of these %" PRIu64 " without an answer\n", dma->retries,
			dma->unanswered);
	printf("drops: %" PRIu64 " rx, %" PRIu64 " tx; %" PRIu64 " accesses refused, %" PRIu64
			" given up\n", device->dropped[DEVICE_RX], device->dropped[DEVICE_TX],
			dma->refused, dma->given_up);
	printf("fault latency: p50 %.1f us, p99 %.1f us (record read to answer)\n",
			latency.p50_ns / 1e3, latency.p99_ns / 1e3);
	printf("packet latency: p50 %.1f us, p99 %.1f us (received to sent, full rings)\n",
			device_get_latency(plane->device, 50) / 1e3,
			device_get_latency(plane->device, 99) / 1e3);
	printf("rate: %.3f Mpps (%.3f s)\n", device->sent / plane->seconds / 1e6,
			plane->seconds);
}

static int
check_model(const struct smmuv3_model *model)
{
	unsigned int mistakes = smmuv3_model_driver_errors(model) +
			smmuv3_model_oracle_errors(model);
	const char *text = smmuv3_model_driver_error(model, 0);

	if (text == NULL)
		text = smmuv3_model_oracle_error(model, 0);
	if (mistakes != 0)
		return fail("the model reports %u errors of the driver, first: %s", mistakes,
				text);
	return 0;
}

static int
check_figures(const struct plane *plane, uint64_t packets)
{
	const struct device_stats *device = device_stats(plane->device);
	const struct forward_stats *stats = &plane->forward.stats;
	uint64_t ended = device->sent + stats->expected + stats->damaged + device->damaged;
	int ret = 0;

	if (ended != packets)
		ret = fail("%" PRIu64 " packets lost: %" PRIu64 " of %" PRIu64 " are accounted for",
				packets - ended, ended, packets);
	if (stats->damaged + device->damaged > 0)
		ret = fail("%" PRIu64 " packets damaged on receive, %" PRIu64 " on send",
				stats->damaged, device->damaged);
	if (stats->disordered + device->disordered > 0)
		ret = fail("%" PRIu64 " packets out of order on receive, %" PRIu64 " on send",
				stats->disordered, device->disordered);
	if (plane->model != NULL && check_model(plane->model) < 0)
		ret = -1;
	return ret;
}

static int
run_example(const struct options *options)
{
	struct plane plane = { 0 };
	int ret = open_plane(&plane, options);

	if (ret == 0) {
		ret = run_plane(&plane, options->packets);
		if (ret == 0) {
			print_figures(&plane, options);
			ret = check_figures(&plane, options->packets);
		}
		plane.failed = ret < 0;
		if (ret < 0 && iopf_iommu_stat(plane.smmu, IOPF_IOMMU_STAT_RESETS) > 0)
			fail("the SMMU was given up: run it again on a quieter machine");
	}
	close_plane(&plane);
	return ret;
}

int
main(int argc, char **argv)
{
	struct options options;
	int first = 1, nb_eal = 0, i, ret;

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
