/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * versus-iopf [EAL options] -- SPEC...: iopf's side of versus.sh, in the guest. The driver has the
 * SMMU through VFIO, and each DMA of the device touches a page of managed memory for the first
 * time. SPEC is COUNT:BATCH:PAUSE_US. The program starts on the processor that polls.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf.h>
#include <mmem.h>

#include "../guest/mailbox.h"

#define SID		5
#define PASID		1
#define PAGE		4096
#define PASSES		256	/* between two looks at the mailbox */
#define MAX_TICKS	8192

static struct lab_mailbox *mb;
static struct iopf_poller *poller;
/* The guest's counter: passes that found one fault. */
static uint32_t ticks[MAX_TICKS];
static unsigned int nb_ticks;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	printf("versus: FAILED: cannot %s: %s\n", what,
			rte_strerror(rte_errno != 0 ? rte_errno : errno));
	exit(EXIT_FAILURE);
}

static void
map_mailbox(void)
{
	int fd = open("/dev/smmulab", O_RDWR);

	must(fd >= 0, "open /dev/smmulab");
	mb = mmap(NULL, LAB_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(mb != MAP_FAILED, "map the mailbox");
}

/* The loop of a poll thread, until the host has answered. */
static void
go(enum lab_op op)
{
	unsigned int seq = mb->seq + 1;

	mb->op = op;
	__atomic_store_n(&mb->seq, seq, __ATOMIC_RELEASE);
	while (__atomic_load_n(&mb->done, __ATOMIC_ACQUIRE) != seq) {
		for (unsigned int i = 0; i < PASSES; i++) {
			uint64_t begin = rte_rdtsc();

			if (iopf_poll(poller) == 1 && nb_ticks < MAX_TICKS)
				ticks[nb_ticks++] = (uint32_t)(rte_rdtsc() - begin);
		}
	}
}

static void
measure(struct mmem_space *space, const char *spec)
{
	unsigned int count, batch, pause_us, wrong = 0;
	unsigned char *p;
	size_t len;

	must(sscanf(spec, "%u:%u:%u", &count, &batch, &pause_us) == 3, spec);
	len = (count + 1ul) * PAGE;
	p = mmem_alloc(space, len, MMEM_READ | MMEM_WRITE);
	must(p != NULL, "allocate managed memory");
	mb->sid = SID;
	mb->has_pasid = 1;
	mb->pasid = PASID;
	mb->addr = (uintptr_t)p;
	mb->stride = PAGE;
	mb->count = count;
	mb->arg = batch;
	mb->pause_us = pause_us;
	go(LAB_BENCH);
	for (size_t i = 0; i < len; i++)
		wrong += p[i] != (i % PAGE < 8 ? 0x5a : 0);
	printf("versus: %s: %u failed, %u stalls, %u bytes wrong\n", spec, mb->status,
			mb->nb_stalls, wrong);
	must(mmem_free(space, p) == 0, "free the memory");
}

int
main(int argc, char **argv)
{
	const uint32_t sid = SID;
	struct iopf_iommu *smmu;
	struct mmem_space *space;
	struct mmem_pool *pool;
	struct iopf_dev *dev;
	int nb_eal;

	setvbuf(stdout, NULL, _IOLBF, 0);
	nb_eal = rte_eal_init(argc, argv);
	must(nb_eal >= 0, "start EAL");
	map_mailbox();
	smmu = iopf_iommu_open("smmuv3,vfio=7f000000.smmu");
	must(smmu != NULL, "open the SMMU");
	dev = iopf_dev_add(smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = PASID + 1 });
	must(dev != NULL, "add the device");
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = smmu, .size = 64 << 20 });
	must(pool != NULL, "create a pool");
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .window = 1 });
	must(space != NULL, "create a space");
	must(mmem_attach(space, dev, PASID) == 0, "attach the space");
	poller = iopf_poller_create(NULL);
	must(poller != NULL, "create a poller");
	must(iopf_poller_add(poller, smmu, IOPF_QUEUE_ALL) == 0, "add the SMMU to it");
	must(iopf_iommu_start(smmu) == 0, "start the SMMU");
	for (int i = nb_eal + 1; i < argc; i++)
		measure(space, argv[i]);
	for (unsigned int i = 0; i < nb_ticks; i++)
		printf("versus: ticks %u\n", ticks[i]);
	must(mmem_detach(space, dev, PASID) == 0, "detach the space");
	must(mmem_space_destroy(space) == 0, "destroy the space");
	must(mmem_pool_destroy(pool) == 0, "destroy the pool");
	must(iopf_dev_remove(dev) == 0, "remove the device");
	must(iopf_poller_destroy(poller) == 0, "destroy the poller");
	must(iopf_iommu_stop(smmu) == 0, "stop the SMMU");
	must(iopf_iommu_close(smmu) == 0, "close the SMMU");
	/* The host ends QEMU. */
	mb->op = LAB_END;
	__atomic_store_n(&mb->seq, mb->seq + 1, __ATOMIC_RELEASE);
	return 0;
}
