/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * insn-guard CASE COUNT: serves COUNT faults of one case on a stepped model, for callgrind to
 * count. Only the library's calls are counted: counting is off while the model is stepped, also
 * where the driver waits for it (the linker wraps smmuv3_model_wait()). Prints the number of served
 * faults; devtools/insn-guard.py does the rest.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <valgrind/callgrind.h>

#include <rte_common.h>
#include <rte_eal.h>
#include <rte_errno.h>

#include <iopf.h>
#include <iopf_iommu.h>
#include <iopf_handler.h>
#include <iopf_pci.h>
#include <iopf_policy.h>
#include <mmem.h>
#include <smmuv3_model.h>

#define SID		8
#define PAGE		((size_t)4096)
#define GROUP		8
#define BURST		32
#ifdef __clang__
#define COMPILER	"clang"
#else
#define COMPILER	"gcc"
#endif
/* Faults of each case before counting starts: they bind functions and touch memory. */
#define WARM_UP		64
#define MAX_COUNT	4096
/*
 * The poller reads the clock in one of this many passes; that pass is an idle one and not counted.
 */
#define CLOCK_PASSES	16

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *iommu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct iopf_worker *worker;
	struct iopf_domain *domain;
	struct smmuv3_model_dma *dma;
	uint8_t *buf;
	size_t used;			/* pages of buf that were accessed */
	unsigned int polls;
	bool counting;			/* the case is past its warm-up */
} g;

static _Thread_local bool on;

static void
must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "insn-guard: cannot %s: %s\n", what,
			rte_strerror(rte_errno != 0 ? rte_errno : errno));
	exit(EXIT_FAILURE);
}

static void
count_on(void)
{
	on = g.counting;
	if (on)
		CALLGRIND_TOGGLE_COLLECT;
}

static void
count_off(void)
{
	if (on)
		CALLGRIND_TOGGLE_COLLECT;
	on = false;
}

void __real_smmuv3_model_wait(struct smmuv3_model *m);
void __wrap_smmuv3_model_wait(struct smmuv3_model *m);

void
__wrap_smmuv3_model_wait(struct smmuv3_model *m)
{
	bool was_on = on;

	count_off();
	__real_smmuv3_model_wait(m);
	if (was_on)
		count_on();
}

/*
 * The servicer
 */

static void
step_model(void)
{
	while (smmuv3_model_step(g.model, 64) != 0)
		;
}

/* One poll that finds @p n records. */
static void
poll_counted(unsigned int n)
{
	unsigned int got;

	/* The model has not been stepped, so there are no records yet. */
	if (++g.polls % CLOCK_PASSES == 0) {
		must(iopf_poll(g.poller) == 0, "find the queues empty");
		g.polls++;
	}
	step_model();
	count_on();
	got = iopf_poll(g.poller);
	count_off();
	must(got == n, "find the records of this case in one poll");
	step_model();
}

static void
submit_write(void *addr, size_t len)
{
	static uint8_t data[GROUP * PAGE];

	must(smmuv3_model_dma_submit(g.dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)addr, .buf = data,
			.len = len }) == 0, "submit a DMA");
}

static void
expect_done(unsigned int n, enum smmuv3_model_status status)
{
	struct smmuv3_model_done done[BURST];

	must(smmuv3_model_dma_poll(g.dma, done, BURST) == n, "complete the DMA");
	for (unsigned int i = 0; i < n; i++)
		must(done[i].status == status, "complete the DMA as this case does");
}

static void *
take_fresh_pages(size_t pages)
{
	uint8_t *p = g.buf + g.used * PAGE;

	g.used += pages;
	return p;
}

/*
 * Cases
 */

static void
serve_page(void)
{
	submit_write(take_fresh_pages(1), 64);
	poll_counted(1);
	expect_done(1, SMMUV3_MODEL_OK);
}

static void
serve_page_burst(void)
{
	for (unsigned int i = 0; i < BURST; i++)
		submit_write(take_fresh_pages(1), 64);
	poll_counted(BURST);
	expect_done(BURST, SMMUV3_MODEL_OK);
}

static void
serve_group(void)
{
	submit_write(take_fresh_pages(GROUP), GROUP * PAGE);
	poll_counted(GROUP);
	expect_done(1, SMMUV3_MODEL_OK);
}

static void
unmap_page(void)
{
	int rc;

	count_on();
	rc = mmem_unmap(g.space, take_fresh_pages(1), PAGE);
	count_off();
	must(rc == 0, "unmap a page");
}

/*
 * A burst of faults that are deferred and refused. The worker thread waits in the first handler
 * until all are in its ring, then handles one after the other without finding the ring empty:
 * counting starts in the first handler's call and ends in the last handler's.
 */
static _Atomic bool gate_open;
static _Atomic unsigned int nb_deferred;
static bool count_worker;

static enum iopf_verdict
handle_deferred(struct iopf_domain *domain, const struct iopf_group *faults, void *ctx)
{
	unsigned int n;

	RTE_SET_USED(domain);
	RTE_SET_USED(faults);
	RTE_SET_USED(ctx);
	n = atomic_load_explicit(&nb_deferred, memory_order_relaxed) + 1;
	while (n == 1 && !atomic_load_explicit(&gate_open, memory_order_acquire))
		usleep(100);
	if (n == 1 && count_worker)
		count_on();
	if (n == BURST)
		count_off();
	/* Pairs with the acquire in serve_deferred(). */
	atomic_store_explicit(&nb_deferred, n, memory_order_release);
	return IOPF_ANSWER(IOPF_INVALID);
}

static void
serve_deferred(void)
{
	struct smmuv3_model_done done[BURST];
	unsigned int n = 0;
	bool counting = g.counting;

	atomic_store(&nb_deferred, 0);
	atomic_store(&gate_open, false);
	for (unsigned int i = 0; i < BURST; i++)
		submit_write(g.buf + i * PAGE, 64);
	g.counting = counting && !count_worker;
	poll_counted(BURST);
	g.counting = counting;
	atomic_store_explicit(&gate_open, true, memory_order_release);
	while (atomic_load_explicit(&nb_deferred, memory_order_acquire) != BURST)
		usleep(100);
	while (n < BURST) {
		step_model();
		n += smmuv3_model_dma_poll(g.dma, done + n, BURST - n);
		usleep(100);
	}
}

/*
 * A burst on one page: the handler answers the first, or takes it and answers it after the burst.
 * "echo" is the same without joining: what is not the handler's work.
 */
static enum iopf_verdict joined_verdict;
static uint64_t joined_id;

static enum iopf_verdict
handle_joined(struct iopf_domain *domain, const struct iopf_group *faults, void *ctx)
{
	RTE_SET_USED(domain);
	RTE_SET_USED(ctx);
	joined_id = faults->id;
	return joined_verdict;
}

static void
serve_joined(void)
{
	for (unsigned int i = 0; i < BURST; i++)
		submit_write(g.buf + i * 64, 64);
	poll_counted(BURST);
	if (joined_verdict == IOPF_TAKEN) {
		count_on();
		must(iopf_group_respond(joined_id, IOPF_INVALID) == 0, "answer the first");
		count_off();
		step_model();
	}
	expect_done(BURST, SMMUV3_MODEL_ABORTED);
}

/*
 * Set-up and clean-up
 */

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_ats_enable(g.dma, stu);
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_ats_disable(g.dma);
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_pri_enable(g.dma, n);
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_pri_disable(g.dma);
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	return smmuv3_model_dma_pri_drained(g.dma);
}

static void
open_iommu(bool pri)
{
	const uint32_t sid = SID;

	g.model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "guard",
			.features = pri ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0 });
	must(g.model != NULL, "make the model");
	g.iommu = iopf_iommu_open("smmuv3,model=guard");
	must(g.iommu != NULL, "open it");
	g.dma = smmuv3_model_dma_create(g.model, &(struct smmuv3_model_dma_conf){ .sid = SID,
			.kind = pri ? SMMUV3_MODEL_DMA_ATS : SMMUV3_MODEL_DMA_PLAIN,
			.group_pages = GROUP });
	must(g.dma != NULL, "make an engine");
	g.dev = iopf_dev_add(g.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.recover = pri ? IOPF_PRI : IOPF_STALL,
			.pci = &(struct iopf_pci_ops){
				.ats_enable = ats_enable,
				.ats_disable = ats_disable,
				.pri_enable = pri_enable,
				.pri_disable = pri_disable,
				.pri_drained = pri_drained,
			} });
	must(g.dev != NULL, "add the device");
	g.poller = iopf_poller_create(NULL);
	must(g.poller != NULL, "make a poller");
	must(iopf_poller_add(g.poller, g.iommu, IOPF_QUEUE_ALL) == 0, "add the queues");
	must(iopf_iommu_start(g.iommu) == 0, "start");
}

static void
open_space(size_t pages)
{
	g.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = g.iommu,
			.size = RTE_ALIGN_CEIL(pages * PAGE, MMEM_CHUNK_SIZE) + 8 * MMEM_CHUNK_SIZE,
			.no_hugepages = true });
	must(g.pool != NULL, "make a pool");
	g.space = mmem_space_create(&(struct mmem_space_conf){ .pool = g.pool, .window = 1 });
	must(g.space != NULL, "make a space");
	g.buf = mmem_alloc(g.space, pages * PAGE, MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	must(g.buf != NULL, "allocate");
	must(mmem_attach(g.space, g.dev, IOPF_NO_PASID) == 0, "attach");
}

static void
open_stall(size_t pages)
{
	open_iommu(false);
	open_space(pages);
}

static void
open_group(size_t pages)
{
	open_iommu(true);
	open_space(pages);
}

static void
open_unmap(size_t pages)
{
	open_stall(pages);
	must(mmem_prefetch(g.space, g.buf, pages * PAGE) == 0, "map the pages");
}

/* A domain in which no page is mapped. */
static void
open_domain(struct iopf_domain_conf conf)
{
	uint64_t root;
	void *table;

	open_iommu(false);
	table = aligned_alloc(1 << 16, 1 << 16);
	must(table != NULL, "allocate a table");
	memset(table, 0, 1 << 16);
	must(iopf_dma_map(g.iommu, table, 1 << 16, &root) == 0, "map a table");
	conf.translation = (struct iopf_translation){ .format = IOPF_FORMAT_ARM64_S1, .root = root,
			.va_bits = 48, .granule_log2 = 12 };
	g.domain = iopf_domain_create(&conf);
	must(g.domain != NULL, "make a domain");
	must(iopf_domain_attach(g.domain, g.dev, IOPF_NO_PASID) == 0, "attach");
	g.buf = (uint8_t *)(uintptr_t)0x10000000;
}

static void
open_deferred(size_t pages)
{
	RTE_SET_USED(pages);
	g.worker = iopf_worker_create(&(struct iopf_worker_conf){ .size = 2 * BURST });
	must(g.worker != NULL, "make a worker");
	open_domain((struct iopf_domain_conf){ .deferred = handle_deferred, .worker = g.worker });
}

static void
open_joined(bool joins, enum iopf_verdict verdict)
{
	joined_verdict = verdict;
	open_domain((struct iopf_domain_conf){ .handler = handle_joined,
			.storm = &(struct iopf_storm_conf){ .join_log2 = joins ? 12 : 0 } });
}

static void
open_echo(size_t pages)
{
	RTE_SET_USED(pages);
	open_joined(false, IOPF_ANSWER(IOPF_INVALID));
}

static void
open_duplicate(size_t pages)
{
	RTE_SET_USED(pages);
	open_joined(true, IOPF_ANSWER(IOPF_INVALID));
}

static void
open_join(size_t pages)
{
	RTE_SET_USED(pages);
	open_joined(true, IOPF_TAKEN);
}

static void
open_worker(size_t pages)
{
	open_deferred(pages);
	count_worker = true;
}

static const struct {
	const char *name;
	void (*open)(size_t pages);
	void (*serve)(void);
	unsigned int pages;	/* pages that a run uses */
	unsigned int units;	/* faults that a run counts */
} cases[] = {
	{ "stall", open_stall, serve_page, 1, 1 },
	{ "stall-burst", open_stall, serve_page_burst, BURST, BURST },
	{ "group", open_group, serve_group, GROUP, 1 },
	{ "request", open_group, serve_page, 1, 1 },
	{ "request-burst", open_group, serve_page_burst, BURST, BURST },
	{ "deferred", open_deferred, serve_deferred, 0, BURST },
	{ "worker", open_worker, serve_deferred, 0, BURST - 1 },
	{ "echo", open_echo, serve_joined, 0, BURST },
	{ "duplicate", open_duplicate, serve_joined, 0, BURST },
	{ "joined", open_join, serve_joined, 0, BURST },
	{ "unmap", open_unmap, unmap_page, 1, 1 },
};

static void
init_eal(char *name)
{
	char *args[] = { name, "--no-huge", "-m", "64", "--no-pci", "--no-telemetry",
			"--no-shconf", "--log-level=lib.eal:warning" };

	must(rte_eal_init(RTE_DIM(args), args) >= 0, "start EAL");
}

int
main(int argc, char **argv)
{
	char *end = NULL;
	unsigned long times = 0;
	unsigned int c = 0, i;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (c = 0; c < RTE_DIM(cases); c++)
			printf("%s\n", cases[c].name);
		return EXIT_SUCCESS;
	}
	if (argc == 2 && strcmp(argv[1], "--compiler") == 0) {
		printf("%s %s\n", COMPILER, __VERSION__);
		return EXIT_SUCCESS;
	}
	if (argc == 3) {
		while (c < RTE_DIM(cases) && strcmp(cases[c].name, argv[1]) != 0)
			c++;
		times = strtoul(argv[2], &end, 10);
	}
	if (argc != 3 || c == RTE_DIM(cases) || *end != '\0' || times == 0 || times > MAX_COUNT) {
		fprintf(stderr, "usage: insn-guard --list | --compiler | CASE TIMES (1 to %u), "
				"under callgrind\n",
				MAX_COUNT);
		return 2;
	}

	init_eal(argv[0]);
	cases[c].open((WARM_UP + times) * cases[c].pages);
	for (i = 0; i < WARM_UP; i++)
		cases[c].serve();
	g.counting = true;
	for (i = 0; i < times; i++)
		cases[c].serve();
	printf("%lu\n", times * cases[c].units);
	return EXIT_SUCCESS;
}
