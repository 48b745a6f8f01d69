/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_pause.h>

#include <iopf_iommu.h>

#include "latency.h"
#include "vmm.h"

#define DIRECT_SID	(HOST_SID + HOST_DEVS)
#define DIRECT_MEM	((size_t)64 << 20)
#define WARM_UP		10		/* faults of a turn that are not counted */
#define NB_THREADS	3		/* that poll: SMMU, VMM, guest */
#define PAGE		((uint64_t)GUEST_PAGE)

enum level { HOST, GUEST, NB_LEVELS };

struct sample {
	uint64_t service, end_to_end;	/* ticks */
};

static struct {
	struct sample *samples;
	unsigned int nb, next;		/* next: page that was not accessed yet */
	uint64_t faults;		/* with those that warm up */
	uint64_t host_events, host_commands, stalls, resumes, commands;
} of[NB_LEVELS];

/* The device whose faults the host handles. */
static struct {
	struct iopf_dev *dev;
	struct iopf_domain *domain;
	struct smmuv3_model_dma *engine;
	struct arena arena;
	struct pgt *pgt;
} direct;

/* Each polling thread has a CPU. */
static bool has_cpus;

static enum iopf_verdict
on_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const uint64_t va = group->faults[0]->addr & ~(PAGE - 1);
	void *page = arena_alloc(&direct.arena, GUEST_PAGE);

	RTE_SET_USED(domain);
	RTE_SET_USED(ctx);
	if (page == NULL || pgt_map(direct.pgt, va, (uintptr_t)page, GUEST_PAGE,
			PGT_READ | PGT_WRITE) < 0)
		return IOPF_ANSWER(IOPF_INVALID);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
add_direct(void)
{
	const uint32_t sid = DIRECT_SID;
	uint64_t addr;

	direct.arena = (struct arena){ .mem = aligned_alloc(1 << 16, DIRECT_MEM),
		.size = DIRECT_MEM };
	vmm_must(direct.arena.mem != NULL, "allocate memory");
	memset(direct.arena.mem, 0, DIRECT_MEM);
	vmm_must(iopf_dma_map(vmm.host.smmu, direct.arena.mem, DIRECT_MEM, &addr) == 0,
			"map memory for DMA");
	direct.dev = iopf_dev_add(vmm.host.smmu, &(struct iopf_dev_conf){ .sids = &sid,
			.nb_sids = 1 });
	direct.pgt = pgt_create(&(struct pgt_conf){ .mem = arena_pgt_mem(&direct.arena) });
	vmm_must(direct.dev != NULL && direct.pgt != NULL, "add a device of the host's own");
	direct.domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = on_fault,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(direct.pgt),
			.va_bits = pgt_va_bits(direct.pgt),
			.granule_log2 = pgt_granule_log2(direct.pgt) } });
	direct.engine = smmuv3_model_dma_create(vmm.host.model,
			&(struct smmuv3_model_dma_conf){ .sid = DIRECT_SID });
	vmm_must(direct.domain != NULL && direct.engine != NULL && iopf_domain_attach(
			direct.domain, direct.dev, IOPF_NO_PASID) == 0,
			"attach a device of the host's own");
}

static void
remove_direct(void)
{
	smmuv3_model_dma_destroy(direct.engine);
	vmm_must(iopf_dev_remove(direct.dev) == 0 && iopf_domain_destroy(direct.domain) == 0 &&
			iopf_dma_unmap(vmm.host.smmu, direct.arena.mem, DIRECT_MEM,
				(uintptr_t)direct.arena.mem) == 0, "remove the host's own device");
	pgt_destroy(direct.pgt);
	free(direct.arena.mem);
}

static struct smmuv3_model_done
access_page(enum level level, unsigned int page)
{
	static char text[64] = "a page that was not there";
	struct smmuv3_model_dma *engine = level == HOST ? direct.engine :
			vmm.host.dev[HOST_STALLS].engine;
	const uint64_t end = vmm_get_end();
	struct smmuv3_model_done done;

	vmm_submit(engine, SMMUV3_MODEL_WRITE, GUEST_VA + page * PAGE, text, sizeof(text));
	while (smmuv3_model_dma_poll(engine, &done, 1) == 0) {
		unsigned int n = iopf_poll(vmm.host.poller);

		if (level == GUEST)
			n += relay_step(vmm.host.relay);
		if (n == 0 && !has_cpus)
			sched_yield();
		else if (n == 0)
			rte_pause();
		vmm_must(rte_rdtsc() < end, "end a DMA in time");
		vmm_must(vmm_guest_runs(), "keep the guest alive");
	}
	vmm_must(done.status == SMMUV3_MODEL_OK && done.nb_stalls == 1, "serve one fault");
	return done;
}

/* Add the counters, or take them away. */
static void
count(enum level level, uint64_t sign)
{
	const struct relay_stats *stats = relay_get_stats(vmm.host.relay);
	struct smmuv3_model *m = vmm.host.model;

	of[level].host_events += sign * smmuv3_model_stat(m, SMMUV3_MODEL_STAT_EVENTS);
	of[level].host_commands += sign * smmuv3_model_stat(m, SMMUV3_MODEL_STAT_COMMANDS);
	of[level].stalls += sign * stats->stalls;
	of[level].resumes += sign * stats->resumes;
	of[level].commands += sign * stats->commands;
}

static void
take_turn(enum level level, unsigned int nb)
{
	struct smmuv3_model_done done;

	atomic_store(&vmm.mailbox->rest, level == HOST);
	count(level, -UINT64_C(1));
	for (unsigned int i = 0; i < WARM_UP + nb; i++) {
		done = access_page(level, of[level].next++);
		of[level].faults++;
		if (i >= WARM_UP)
			of[level].samples[of[level].nb++] = (struct sample){
				.service = done.t_resume - done.t_event,
				.end_to_end = done.t_end - done.t_start };
	}
	count(level, 1);
}

static int
compare_service(const void *a, const void *b)
{
	uint64_t x = ((const struct sample *)a)->service, y = ((const struct sample *)b)->service;

	return x < y ? -1 : x > y;
}

static int
compare_end_to_end(const void *a, const void *b)
{
	uint64_t x = ((const struct sample *)a)->end_to_end;
	uint64_t y = ((const struct sample *)b)->end_to_end;

	return x < y ? -1 : x > y;
}

static double
to_ns(uint64_t ticks)
{
	return (double)ticks * 1e9 / (double)rte_get_tsc_hz();
}

/* p50 and p99 of service, then of end to end, in ns. */
static void
summarize(enum level level, double ns[4])
{
	const unsigned int n = of[level].nb, p50 = n / 2, p99 = n - 1 - n / 100;
	struct sample *s = of[level].samples;

	qsort(s, n, sizeof(*s), compare_service);
	ns[0] = to_ns(s[p50].service);
	ns[1] = to_ns(s[p99].service);
	qsort(s, n, sizeof(*s), compare_end_to_end);
	ns[2] = to_ns(s[p50].end_to_end);
	ns[3] = to_ns(s[p99].end_to_end);
}

static void
print_counts(const char *name, enum level level)
{
	const double n = (double)of[level].faults;

	printf("%-8s %8.2f %8.2f %8.2f %8.2f %8.2f\n", name, (double)of[level].host_events / n,
			(double)of[level].host_commands / n, (double)of[level].stalls / n,
			(double)of[level].commands / n, (double)of[level].resumes / n);
}

static void
print(void)
{
	static const char row[] = "%-8s %8.0f %8.0f %8.0f %8.0f\n";
	double host[4], guest[4];

	summarize(HOST, host);
	summarize(GUEST, guest);
	printf("answer by     service ns       end to end ns\n"
			"              p50      p99      p50      p99\n");
	printf(row, "host", host[0], host[1], host[2], host[3]);
	printf(row, "guest", guest[0], guest[1], guest[2], guest[3]);
	printf("ratio    %8.2f %8.2f %8.2f %8.2f\n", guest[0] / host[0], guest[1] / host[1],
			guest[2] / host[2], guest[3] / host[3]);
	printf("for each fault: host's SMMU        relayed\n"
			"           events commands   stalls commands  answers\n");
	print_counts("host", HOST);
	print_counts("guest", GUEST);
}

/* So that no device is the first to access a page. */
static void
touch_guest_memory(void)
{
	uint8_t *mem = vmm.page.mem;

	for (size_t at = 0; at < GUEST_MEM_SIZE; at += GUEST_PAGE)
		(void)__atomic_load_n(&mem[at], __ATOMIC_RELAXED);
}

static void
stop_guest(void)
{
	const uint64_t end = vmm_get_end();

	atomic_store(&vmm.mailbox->rest, 0);
	atomic_store(&vmm.mailbox->stop, 1);
	while (vmm.guest_runs) {
		vmm_must(rte_rdtsc() < end, "stop the guest in time");
		vmm_run_once();
	}
}

/* A CPU for each thread that polls: SMMU, VMM, guest. Without so many the threads share all. */
static void
choose_cpus(int cpu[NB_THREADS])
{
	unsigned int n = 0;
	cpu_set_t cpus;

	vmm_must(pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) == 0,
			"read the CPU affinity");
	for (int i = 0; i < CPU_SETSIZE && n < NB_THREADS; i++)
		if (CPU_ISSET((unsigned int)i, &cpus))
			cpu[n++] = i;
	has_cpus = n == NB_THREADS;
	if (has_cpus) {
		printf("SMMU on CPU %d, VMM on %d, guest on %d\n", cpu[0], cpu[1], cpu[2]);
		return;
	}
	printf("SMMU, VMM and guest share %u CPUs: the times contain waits for a CPU\n", n);
	for (unsigned int i = 0; i < NB_THREADS; i++)
		cpu[i] = VMM_ANY_CPU;
}

static void
pin_this_thread(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned int)cpu, &set);
	vmm_must(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0,
			"choose a CPU");
}

void
latency_measure(unsigned int nb_faults)
{
	int cpu[NB_THREADS];

	choose_cpus(cpu);
	printf("%u faults answered by the host, %u by the guest, by turns of %d\n", nb_faults,
			nb_faults, LATENCY_TURN);
	for (unsigned int i = 0; i < NB_LEVELS; i++) {
		of[i].samples = calloc(nb_faults, sizeof(struct sample));
		vmm_must(of[i].samples != NULL, "allocate memory");
	}
	vmm_start(cpu[0], cpu[2]);
	if (has_cpus)
		pin_this_thread(cpu[1]);
	atomic_store(&vmm.mailbox->has_cpu, has_cpus);
	touch_guest_memory();
	add_direct();
	while (of[GUEST].nb < nb_faults)
		for (enum level level = HOST; level < NB_LEVELS; level++)
			take_turn(level, RTE_MIN((unsigned int)LATENCY_TURN,
					nb_faults - of[level].nb));
	print();
	remove_direct();
	stop_guest();
	vmm_stop();
	for (unsigned int i = 0; i < NB_LEVELS; i++)
		free(of[i].samples);
}
