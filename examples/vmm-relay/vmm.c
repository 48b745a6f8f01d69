/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_cycles.h>

#include "vmm.h"

#define PATIENCE_S	30

struct vmm vmm;

void
vmm_must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "vmm-relay: cannot %s\n", what);
	if (vmm.guest_runs)
		kill(vmm.guest_pid, SIGKILL);
	exit(EXIT_FAILURE);
}

uint64_t
vmm_get_end(void)
{
	return rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
}

static void
start_guest(int cpu)
{
	const pid_t self = getpid();
	cpu_set_t set;

	vmm.guest_pid = fork();
	vmm_must(vmm.guest_pid >= 0, "start the guest's process");
	if (vmm.guest_pid == 0) {
		/* However the VMM ends, its guest does not go on. */
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != self)
			_exit(127);
		CPU_ZERO(&set);
		if (cpu != VMM_ANY_CPU)
			CPU_SET((unsigned int)cpu, &set);
		/* EAL keeps to these. */
		if (cpu != VMM_ANY_CPU && sched_setaffinity(0, sizeof(set), &set) < 0)
			_exit(127);
		execl("/proc/self/exe", "vmm-relay", "--guest", vmm.page.path, (char *)NULL);
		_exit(127);
	}
	vmm.guest_runs = true;
}

bool
vmm_guest_runs(void)
{
	int status;

	if (vmm.guest_runs && waitpid(vmm.guest_pid, &status, WNOHANG) == vmm.guest_pid)
		vmm.guest_runs = false;
	return vmm.guest_runs;
}

void
vmm_run_once(void)
{
	const bool ran = vmm.guest_runs;

	atomic_store(&vmm.mailbox->nb_requests,
			smmuv3_model_dma_pri_outstanding(vmm.host.dev[HOST_PRI].engine));
	if (relay_step(vmm.host.relay) + iopf_poll(vmm.host.poller) == 0)
		sched_yield();
	/* A guest that dies leaves nothing stalled. */
	if (ran && !vmm_guest_runs())
		vmm_must(relay_reset(vmm.host.relay) == 0, "cut off the devices of the guest");
}

void
vmm_submit(struct smmuv3_model_dma *engine, enum smmuv3_model_op_type type, uint64_t va,
		char *buf, size_t len)
{
	vmm_must(smmuv3_model_dma_submit(engine, &(struct smmuv3_model_op){
			.type = type, .addr = va, .buf = buf, .len = len }) == 0, "submit a DMA");
}

void
vmm_start(int smmu_cpu, int guest_cpu)
{
	struct smmuv3_model_page *page = &vmm.page;
	struct host *host = &vmm.host;
	uint64_t end;

	vmm_must(smmuv3_model_page_create(&(struct smmuv3_model_page_conf){
		.mem_addr = GUEST_MEM_ADDR, .mem_size = GUEST_MEM_SIZE,
		.mem_driver = GUEST_MEM_DRIVER }, page) == 0, "make the guest's page file");
	vmm_must(host_open(host, page, smmu_cpu) == 0, "set up the host");
	host->relay = relay_create(&(struct relay_conf){ .iommu = host->smmu,
		.parent = host->stage2, .regs = page->regs, .regs_size = page->regs_size,
		.mem_addr = page->mem_addr, .mem = page->mem, .mem_size = page->mem_size,
		.deadline_ms = 5000 });
	vmm_must(host->relay != NULL && relay_add_dev(host->relay, GUEST_VSID,
			host->dev[HOST_STALLS].dev, HOST_SID + HOST_STALLS) == 0 &&
			relay_add_dev(host->relay, GUEST_VSID_PRI, host->dev[HOST_PRI].dev,
			HOST_SID + HOST_PRI) == 0, "make the virtual SMMU");
	vmm.mailbox = guest_find_mailbox(page->mem);
	start_guest(guest_cpu);
	end = vmm_get_end();
	while (!atomic_load(&vmm.mailbox->ready)) {
		vmm_must(vmm.guest_runs && rte_rdtsc() < end, "bring up the guest");
		vmm_run_once();
	}
}

void
vmm_stop(void)
{
	vmm_must(smmuv3_model_driver_errors(vmm.host.model) == 0 &&
			smmuv3_model_oracle_errors(vmm.host.model) == 0,
			"keep the host's SMMU in order");
	vmm_must(relay_destroy(vmm.host.relay) == 0, "destroy the virtual SMMU");
	vmm.host.relay = NULL;
	vmm_must(host_close(&vmm.host, &vmm.page) == 0, "close the host");
	smmuv3_model_page_destroy(&vmm.page);
}
