/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A device writes to memory that is not mapped for it. The access stalls in the IOMMU (here a
 * software SMMUv3), iopf_poll() finds the fault, managed memory maps the page, and the write
 * completes.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf.h>
#include <iopf_stats.h>
#include <mmem.h>
#include <smmuv3_model.h>

#define STREAM_ID 8

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "hello: cannot %s: %s\n", what,
			rte_strerror(rte_errno != 0 ? rte_errno : errno));
	exit(EXIT_FAILURE);
}

static void
init_eal(int argc, char **argv)
{
	char *defaults[] = { argv[0], "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
			"--no-shconf", "--log-level=lib.eal:warning" };

	if (argc > 1 && argv[1][0] != '-') {
		fprintf(stderr, "hello: unknown argument %s; usage: hello [EAL options]\n", argv[1]);
		exit(EXIT_FAILURE);
	}
	if (argc > 1)
		must(rte_eal_init(argc, argv) >= 0, "start EAL with these options");
	else
		must(rte_eal_init(RTE_DIM(defaults), defaults) >= 0, "start EAL");
}

int
main(int argc, char **argv)
{
	static char text[] = "hello, memory";
	const uint32_t sid = STREAM_ID;
	struct smmuv3_model_done done;
	struct smmuv3_model_dma *engine;
	struct smmuv3_model *model;
	struct iopf_latency latency;
	struct iopf_poller *poller;
	struct mmem_space *space;
	struct iopf_iommu *smmu;
	struct mmem_pool *pool;
	struct iopf_dev *dev;
	char *buf;

	init_eal(argc, argv);

	smmu = iopf_iommu_open("smmuv3,model=1");
	must(smmu != NULL, "open smmuv3,model=1");
	dev = iopf_dev_add(smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	must(dev != NULL, "add the device");

	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu });
	must(pool != NULL, "make a pool of memory");
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	must(space != NULL, "make an address space");
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	must(buf != NULL, "allocate");
	must(mmem_attach(space, dev, IOPF_NO_PASID) == 0, "attach the device");

	poller = iopf_poller_create(NULL);
	must(poller != NULL, "make a poller");
	must(iopf_poller_add(poller, smmu, IOPF_QUEUE_ALL) == 0, "add the queues to it");
	must(iopf_iommu_start(smmu) == 0, "start the SMMU");
	printf("smmuv3,model=1 is up; StreamID %d may use %p, and nothing is mapped there\n",
			STREAM_ID, (void *)buf);

	/* The device side: here a software device. */
	model = smmuv3_model_lookup("1");
	must(model != NULL, "find the model");
	engine = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){ .sid = sid });
	must(engine != NULL, "make a DMA engine");
	must(smmuv3_model_dma_submit(engine, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)buf,
			.buf = text, .len = sizeof(text) }) == 0, "submit a DMA");

	/* A real program calls iopf_poll() all the time, on a core of its own. */
	while (smmuv3_model_dma_poll(engine, &done, 1) == 0) {
		/* Let the thread of the software SMMU run. */
		if (iopf_poll(poller) == 0)
			smmuv3_model_wait(model);
	}

	iopf_domain_latency(mmem_space_domain(space), &latency);
	printf("the device's write of %zu bytes ended: %s\n", sizeof(text),
			smmuv3_model_status_name(done.status));
	printf("faults served: %" PRIu64 ", pages mapped: %" PRIu64 ", in %.1f us\n",
			iopf_domain_stat(mmem_space_domain(space), IOPF_STAT_SUCCESS),
			mmem_stat(space, MMEM_STAT_MAPPED), latency.max_ns / 1e3);
	printf("the CPU reads at the same pointer: \"%s\"\n", buf);

	smmuv3_model_dma_destroy(engine);
	must(mmem_detach(space, dev, IOPF_NO_PASID) == 0, "detach");
	must(mmem_space_destroy(space) == 0, "free the address space");
	must(mmem_pool_destroy(pool) == 0, "free the pool");
	must(iopf_dev_remove(dev) == 0, "remove the device");
	must(iopf_poller_destroy(poller) == 0, "free the poller");
	must(iopf_iommu_stop(smmu) == 0, "stop the SMMU");
	must(iopf_iommu_close(smmu) == 0, "close it");
	rte_eal_cleanup();
	must(fflush(stdout) == 0 && !ferror(stdout), "write the output");
	return done.status == SMMUV3_MODEL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
