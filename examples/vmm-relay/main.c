/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A virtual SMMU for a guest. The guest is a process that drives the SMMU of a page file with the
 * driver of this project, and serves the faults of its device. The VMM, this process, relays: the
 * device is one of the host's SMMU, and its accesses go through the guest's tables and then through
 * the stage 2 of the VMM. In the end the guest is killed with a stall outstanding.
 */

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>

#include "guest.h"
#include "host.h"

#define PATIENCE_S	30

static struct host host;
static struct smmuv3_model_page page;
static pid_t guest_pid;
static bool guest_runs;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "vmm-relay: cannot %s\n", what);
	if (guest_runs)
		kill(guest_pid, SIGKILL);
	exit(EXIT_FAILURE);
}

static void
start_guest(void)
{
	guest_pid = fork();
	must(guest_pid >= 0, "start the guest's process");
	if (guest_pid == 0) {
		execl("/proc/self/exe", "vmm-relay", "--guest", page.path, (char *)NULL);
		_exit(127);
	}
	guest_runs = true;
}

/* One turn of the VMM: the guest's commands, then the faults of the host's SMMU. */
static void
run_once(void)
{
	int status;

	if (relay_step(host.relay) + iopf_poll(host.poller) == 0)
		sched_yield();
	if (guest_runs && waitpid(guest_pid, &status, WNOHANG) == guest_pid) {
		guest_runs = false;
		/* A guest that dies leaves nothing stalled. */
		must(relay_reset(host.relay) == 0, "cut off the devices of the guest");
	}
}

static uint64_t
get_end(void)
{
	return rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
}

static void
submit(enum smmuv3_model_op_type type, uint64_t va, char *text, size_t len)
{
	must(smmuv3_model_dma_submit(host.engine, &(struct smmuv3_model_op){
			.type = type, .addr = va, .buf = text, .len = len }) == 0, "submit a DMA");
}

static enum smmuv3_model_status
wait_dma(void)
{
	const uint64_t end = get_end();
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(host.engine, &done, 1) == 0) {
		must(rte_rdtsc() < end, "end a DMA in time");
		run_once();
	}
	return done.status;
}

/* The device writes where the guest has mapped nothing, and reads it back. */
static void
show_two_levels(struct guest_mailbox *mailbox)
{
	static char text[] = "through two levels", back[sizeof(text)];
	enum smmuv3_model_status status;
	uint64_t ipa;

	submit(SMMUV3_MODEL_WRITE, GUEST_VA, text, sizeof(text));
	status = wait_dma();
	printf("the device's write to the guest's 0x%" PRIx64 " ended: %s\n", GUEST_VA,
			smmuv3_model_status_name(status));
	must(status == SMMUV3_MODEL_OK, "write through two levels");
	submit(SMMUV3_MODEL_READ, GUEST_VA, back, sizeof(back));
	must(wait_dma() == SMMUV3_MODEL_OK && strcmp(text, back) == 0, "read it back");
	ipa = atomic_load(&mailbox->last_page);
	must(ipa >= page.mem_addr && ipa - page.mem_addr < page.mem_size - GUEST_PAGE &&
			memcmp((char *)page.mem + (ipa - page.mem_addr), text, sizeof(text)) == 0,
			"find the text in the guest's memory");
	printf("the guest served %u fault with its page at IPA 0x%" PRIx64 ": \"%s\"\n",
			atomic_load(&mailbox->nb_faults), ipa,
			(char *)page.mem + (ipa - page.mem_addr));
}

/* A guest that takes a fault and dies. */
static void
show_death(struct guest_mailbox *mailbox)
{
	static char text[] = "without an answer";
	const uint64_t end = get_end();

	atomic_store(&mailbox->slow, 1);
	submit(SMMUV3_MODEL_WRITE, GUEST_VA + (1 << 20), text, sizeof(text));
	while (relay_count_stalls(host.relay) == 0) {
		must(rte_rdtsc() < end, "see a stall in time");
		run_once();
	}
	printf("the guest is killed with %u stall outstanding\n",
			relay_count_stalls(host.relay));
	kill(guest_pid, SIGKILL);
	must(wait_dma() == SMMUV3_MODEL_ABORTED, "end the stall of a killed guest");
	printf("its access ended: aborted; %u stalls outstanding\n",
			relay_count_stalls(host.relay));
}

static void
run_vmm(void)
{
	struct guest_mailbox *mailbox = guest_find_mailbox(page.mem);
	const struct relay_stats *stats;
	const uint64_t end = get_end();

	start_guest();
	while (!atomic_load(&mailbox->ready)) {
		must(guest_runs && rte_rdtsc() < end, "bring up the guest");
		run_once();
	}
	printf("the guest's driver is up on smmuv3,page=%s; its StreamID %u is the host's %u\n",
			page.path, GUEST_VSID, HOST_SID);
	show_two_levels(mailbox);
	stats = relay_get_stats(host.relay);
	printf("relayed: %" PRIu64 " STEs, %" PRIu64 " invalidations, %" PRIu64 " stalls, %" PRIu64
			" answers, %" PRIu64 " refused\n", stats->stes, stats->invalidations,
			stats->stalls, stats->resumes, stats->refused);
	show_death(mailbox);
	must(smmuv3_model_driver_errors(host.model) == 0 &&
			smmuv3_model_oracle_errors(host.model) == 0, "keep the host's SMMU in order");
}

int
main(int argc, char **argv)
{
	char *eal[] = { argv[0], "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
		"--no-shconf", "--log-level=lib.eal:warning" };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && strcmp(argv[1], "--guest") == 0)
		return guest_main(argv[2]);
	if (argc > 1) {
		fprintf(stderr, "vmm-relay: unknown argument %s; usage: vmm-relay\n", argv[1]);
		return EXIT_FAILURE;
	}
	must(rte_eal_init(RTE_DIM(eal), eal) >= 0, "start EAL");
	must(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
		.mem_addr = GUEST_MEM_ADDR, .mem_size = GUEST_MEM_SIZE,
		.mem_driver = GUEST_MEM_DRIVER }, &page) == 0, "make the guest's page file");
	must(host_open(&host, &page) == 0, "set up the host");
	host.relay = relay_create(&(struct relay_conf){ .iommu = host.smmu, .parent = host.stage2,
		.regs = page.regs, .regs_size = page.regs_size, .mem_addr = page.mem_addr,
		.mem = page.mem, .mem_size = page.mem_size, .deadline_ms = 5000 });
	must(host.relay != NULL && relay_add_dev(host.relay, GUEST_VSID, host.dev, HOST_SID) == 0,
			"make the virtual SMMU");
	run_vmm();
	must(relay_destroy(host.relay) == 0, "destroy the virtual SMMU");
	host.relay = NULL;
	must(host_close(&host, &page) == 0, "close the host");
	smmuv3_model_page_destroy(&page);
	rte_eal_cleanup();
	must(fflush(stdout) == 0 && !ferror(stdout), "write the output");
	return EXIT_SUCCESS;
}
