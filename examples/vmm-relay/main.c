/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A virtual SMMU for a guest. The guest is a process that drives the SMMU of a page file with the
 * driver of this project, and serves the faults of its devices. The VMM, this process, relays: the
 * devices are two of the host's SMMU, and their accesses go through the guest's tables and then
 * through the stage 2 of the VMM. In the end the guest is killed with faults outstanding.
 *
 * vmm-relay --latency [N]: see latency.c.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_eal.h>

#include "eal.h"
#include "latency.h"
#include "vmm.h"

static enum smmuv3_model_status
wait_dma(const struct host_dev *d)
{
	const uint64_t end = vmm_get_end();
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(d->engine, &done, 1) == 0) {
		vmm_must(rte_rdtsc() < end, "end a DMA in time");
		vmm_run_once();
	}
	return done.status;
}

/* The device writes where the guest has mapped nothing, and reads it back. */
static void
show_two_levels(const struct host_dev *d, const char *name, uint64_t va)
{
	static char text[] = "through two levels", back[sizeof(text)];
	const struct smmuv3_model_page *page = &vmm.page;
	enum smmuv3_model_status status;
	uint64_t ipa;

	vmm_submit(d->engine, SMMUV3_MODEL_WRITE, va, text, sizeof(text));
	status = wait_dma(d);
	printf("the write of %s to the guest's 0x%" PRIx64 " ended: %s\n", name, va,
			smmuv3_model_status_name(status));
	vmm_must(status == SMMUV3_MODEL_OK, "write through two levels");
	memset(back, 0, sizeof(back));
	vmm_submit(d->engine, SMMUV3_MODEL_READ, va, back, sizeof(back));
	vmm_must(wait_dma(d) == SMMUV3_MODEL_OK && strcmp(text, back) == 0, "read it back");
	ipa = atomic_load(&vmm.mailbox->last_page);
	vmm_must(ipa >= page->mem_addr && ipa - page->mem_addr < page->mem_size - GUEST_PAGE &&
			memcmp((char *)page->mem + (ipa - page->mem_addr), text, sizeof(text)) == 0,
			"find the text in the guest's memory");
	printf("the guest served fault %u with its page at IPA 0x%" PRIx64 ": \"%s\"\n",
			atomic_load(&vmm.mailbox->nb_faults), ipa, text);
}

/* A guest that takes faults and dies. */
static void
show_death(void)
{
	static char text[] = "without an answer";
	struct relay *relay = vmm.host.relay;
	const uint64_t end = vmm_get_end();

	atomic_store(&vmm.mailbox->slow, 1);
	for (unsigned int i = 0; i < HOST_DEVS; i++)
		vmm_submit(vmm.host.dev[i].engine, SMMUV3_MODEL_WRITE, GUEST_VA + (1 << 20), text,
				sizeof(text));
	while (relay_count_stalls(relay) == 0 || relay_count_groups(relay) == 0) {
		vmm_must(rte_rdtsc() < end, "see a stall and a page request in time");
		vmm_run_once();
	}
	printf("the guest is killed with %u stall and %u page request outstanding\n",
			relay_count_stalls(relay), relay_count_groups(relay));
	kill(vmm.guest_pid, SIGKILL);
	for (unsigned int i = 0; i < HOST_DEVS; i++)
		vmm_must(wait_dma(&vmm.host.dev[i]) == SMMUV3_MODEL_ABORTED,
				"end an access of a killed guest");
	printf("both accesses ended: aborted; %u stalls, %u page requests outstanding\n",
			relay_count_stalls(relay), relay_count_groups(relay));
}

static void
show(void)
{
	const struct relay_stats *stats;

	vmm_start(VMM_ANY_CPU, VMM_ANY_CPU);
	printf("the guest's driver is up on smmuv3,page=%s; its StreamID %u is the host's %u\n",
			vmm.page.path, GUEST_VSID, HOST_SID);
	show_two_levels(&vmm.host.dev[HOST_STALLS], "the device that stalls", GUEST_VA);
	show_two_levels(&vmm.host.dev[HOST_PRI], "the device with PRI", GUEST_VA + GUEST_PAGE);
	stats = relay_get_stats(vmm.host.relay);
	printf("relayed: %" PRIu64 " STEs, %" PRIu64 " invalidations, %" PRIu64 " stalls, %" PRIu64
			" page request groups, %" PRIu64 " answers, %" PRIu64 " refused\n",
			stats->stes, stats->invalidations, stats->stalls, stats->groups,
			stats->resumes + stats->responses, stats->refused);
	show_death();
	vmm_stop();
}

/* 0: the argument is wrong. */
static unsigned int
parse_faults(const char *s)
{
	unsigned long n;
	char *end;

	if (s == NULL)
		return LATENCY_FAULTS;
	n = strtoul(s, &end, 10);
	return *end == '\0' && n > 0 && n <= LATENCY_MAX_FAULTS ? (unsigned int)n : 0;
}

int
main(int argc, char **argv)
{
	const bool measure = argc > 1 && strcmp(argv[1], "--latency") == 0;
	unsigned int nb_faults = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "--guest") == 0)
		return guest_main(argv[2]);
	if (measure && argc <= 3)
		nb_faults = parse_faults(argv[2]);
	if (argc > 1 && nb_faults == 0) {
		fprintf(stderr, "vmm-relay: wrong argument %s; usage: vmm-relay [--latency [N]], "
				"with at most %u faults N\n", argv[argc - 1], LATENCY_MAX_FAULTS);
		return EXIT_FAILURE;
	}
	vmm_must(eal_start(argv[0]) == 0, "start EAL");
	if (measure)
		latency_measure(nb_faults);
	else
		show();
	rte_eal_cleanup();
	vmm_must(fflush(stdout) == 0 && !ferror(stdout), "write the output");
	return EXIT_SUCCESS;
}
