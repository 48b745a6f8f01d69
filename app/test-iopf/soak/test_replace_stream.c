/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Contract 9: a stream of DMA reads while the domain is replaced every 20 ms. Each new domain has
 * another ASID, root and T0SZ, and its pages hold its serial number. No read is aborted, and each
 * holds one number: not older than the last completed replace when it was submitted, not newer than
 * the replace under way when it ended. After each replace the old domain's tables and pages are
 * freed, so that the model's oracle reports each access to them.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iopf.h>
#include <iopf_handler.h>
#include <iopf_iommu.h>
#include <iopf_pci.h>
#include <iopf_poller.h>
#include <iopf_stats.h>

#include <rte_common.h>
#include <rte_cycles.h>

#include "iommu.h"
#include "pgtable.h"
#include "smmuv3_model.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "soak.h"
#include "test.h"

#define PAGE		4096u
#define PAGES		16u			/* of a domain */
#define VA		UINT64_C(0x1234560000)	/* below 2^39 */
#define ARENA_PAGES	512u
#define DEPTH		8u			/* DMAs at a time */
#define REPLACES	10u
#define PERIOD_MS	20u
#define MIN_READS	32u			/* between two replaces */

struct kind {
	const char *name;
	enum iopf_recover recover;
	uint32_t nb_pasids, pasid;
	bool mapped;		/* all pages are mapped before: no read faults */
	bool deferred;		/* a worker answers */
};

static const struct kind kinds[] = {
	{ "stall", IOPF_STALL, 0, IOPF_NO_PASID, false, false },
	{ "stall, 8 PASIDs, worker", IOPF_STALL, 8, 1, false, true },
	{ "stall, 1024 PASIDs", IOPF_STALL, 1024, 700, false, false },
	{ "terminate", IOPF_TERMINATE, 1024, 700, true, false },
	{ "page requests", IOPF_PRI, 0, IOPF_NO_PASID, false, false },
	{ "page requests, 1024 PASIDs, worker", IOPF_PRI, 1024, 700, false, true },
};

struct space {
	uint32_t serial;
	struct iopf_domain *domain;
	struct pgt *pgt;
	uint8_t *data;
};

struct read {
	uint32_t buf[PAGE / 4];
	uint32_t oldest;	/* number that it may hold */
	size_t len;
};

static struct stream {
	const struct kind *kind;
	struct smmuv3_model *m;
	struct iopf_iommu *iommu;
	struct iopf_poller *poller;
	struct iopf_worker *worker;
	struct iopf_dev *dev;
	struct smmuv3_model_dma *dma;
	struct space spaces[2];
	uint8_t *arena;
	pthread_mutex_t lock;
	bool used[ARENA_PAGES];
	struct read reads[DEPTH];
	uint32_t seed;
	_Atomic bool stop;
	_Atomic uint32_t begun, settled;	/* serial numbers */
	_Atomic uint64_t nb_reads, nb_aborted, nb_wrong;
} st = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* The first pages that are free, one after another. */
static uint8_t *
take_pages(unsigned int n)
{
	unsigned int at = 0, run = 0;
	uint8_t *p;

	pthread_mutex_lock(&st.lock);
	while (run < n) {
		assert_in_range(at, 0, ARENA_PAGES - 1);
		run = st.used[at++] ? 0 : run + 1;
	}
	for (unsigned int i = at - n; i < at; i++)
		st.used[i] = true;
	pthread_mutex_unlock(&st.lock);
	p = st.arena + (size_t)(at - n) * PAGE;
	memset(p, 0, (size_t)n * PAGE);
	assert_int_equal(0, smmuv3_model_frame_give(st.m, (uintptr_t)p, (size_t)n * PAGE, 0));
	return p;
}

static void
return_pages(uint8_t *p, unsigned int n)
{
	/* An SMMU that still walks or reads them finds garbage, and the oracle reports it. */
	assert_int_equal(0, smmuv3_model_frame_free(st.m, (uintptr_t)p, (size_t)n * PAGE));
	memset(p, 0xff, (size_t)n * PAGE);
	pthread_mutex_lock(&st.lock);
	for (unsigned int i = 0; i < n; i++)
		st.used[(p - st.arena) / PAGE + i] = false;
	pthread_mutex_unlock(&st.lock);
}

static void *
table_alloc(void *ctx, size_t size)
{
	(void)ctx;
	assert_int_equal(size, PAGE);
	return take_pages(1);
}

static void
table_free(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	return_pages(p, 1);
}

static uint64_t
table_pa(void *ctx, const void *p)
{
	(void)ctx;
	return (uintptr_t)p;
}

static enum iopf_verdict
map_fault(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct space *s = ctx;

	assert_ptr_equal(domain, s->domain);
	for (unsigned int i = 0; i < group->nb_faults; i++) {
		uint64_t page = (group->faults[i]->addr - VA) / PAGE;
		int ret;

		if (page >= PAGES)
			return IOPF_ANSWER(IOPF_INVALID);
		ret = pgt_resolve(s->pgt, group->faults[i]->addr,
				(uintptr_t)s->data + page * PAGE, PGT_READ | PGT_WRITE);
		assert_true(ret == 0 || ret == -EALREADY);
	}
	return IOPF_ANSWER(IOPF_SUCCESS);
}

static void
space_open(struct space *s, uint32_t serial)
{
	struct pgt_info info;

	s->serial = serial;
	s->data = take_pages(PAGES);
	for (unsigned int i = 0; i < PAGES * PAGE / 4; i++)
		((uint32_t *)(void *)s->data)[i] = serial;
	s->pgt = pgt_create(&(struct pgt_conf){ .va_bits = serial % 2 ? 48 : 39, .mem = {
		.alloc = table_alloc, .free = table_free, .va_to_pa = table_pa } });
	assert_non_null(s->pgt);
	assert_int_equal(0, pgt_prealloc(s->pgt, VA, PAGES * PAGE));
	if (st.kind->mapped)
		assert_int_equal(0, pgt_map(s->pgt, VA, (uintptr_t)s->data, PAGES * PAGE,
				PGT_READ | PGT_WRITE));
	pgt_info(s->pgt, &info);
	s->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = st.kind->deferred ? NULL : map_fault,
		.deferred = st.kind->deferred ? map_fault : NULL,
		.worker = st.kind->deferred ? st.worker : NULL,
		.ctx = s,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = info.root,
			.va_bits = info.va_bits, .granule_log2 = info.granule_log2 } });
	assert_non_null(s->domain);
}

static void
space_close(struct space *s)
{
	assert_int_equal(0, iopf_domain_pending(s->domain));
	assert_int_equal(0, iopf_domain_destroy(s->domain));
	pgt_destroy(s->pgt);
	return_pages(s->data, PAGES);
}

static int
ats_enable(struct iopf_dev *dev, unsigned int stu, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_enable(st.dma, stu);
}

static int
ats_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_ats_disable(st.dma);
}

static int
pri_enable(struct iopf_dev *dev, uint32_t n, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_enable(st.dma, n);
}

static int
pri_disable(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_disable(st.dma);
}

static bool
pri_drained(struct iopf_dev *dev, void *ctx)
{
	(void)dev;
	(void)ctx;
	return smmuv3_model_dma_pri_drained(st.dma);
}

static const struct iopf_pci_ops pci_ops = {
	.ats_enable = ats_enable, .ats_disable = ats_disable, .pri_enable = pri_enable,
	.pri_disable = pri_disable, .pri_drained = pri_drained,
};

/* The DMA engine's driver: a thread that keeps DEPTH reads outstanding. */
static uint32_t
choose(uint32_t n)
{
	st.seed ^= st.seed << 13;
	st.seed ^= st.seed >> 17;
	st.seed ^= st.seed << 5;
	return st.seed % n;
}

static void
submit(unsigned int i)
{
	struct read *r = &st.reads[i];
	uint32_t first = choose(PAGE / 4);

	if (choose(4) == 0)
		first = 0;
	r->len = first == 0 ? PAGE : RTE_MIN(64u, PAGE - 4 * first);
	r->oldest = atomic_load(&st.settled);
	assert_int_equal(0, smmuv3_model_dma_submit(st.dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_READ, .addr = VA + choose(PAGES) * PAGE + 4 * first,
		.buf = r->buf, .len = r->len, .cookie = i }));
}

static void
check_read(const struct smmuv3_model_done *done)
{
	const struct read *r = &st.reads[done->cookie];
	uint32_t newest = atomic_load(&st.begun);

	st.nb_reads++;
	if (done->status != SMMUV3_MODEL_OK) {
		st.nb_aborted++;
		return;
	}
	for (size_t i = 0; i < r->len / 4; i++)
		if (r->buf[i] != r->buf[0] || r->buf[i] < r->oldest || r->buf[i] > newest) {
			print_error("word %zu of a read of %zu bytes is %#x, word 0 is %#x; it may "
					"be %u to %u\n", i, r->len, r->buf[i], r->buf[0], r->oldest,
					newest);
			st.nb_wrong++;
			return;
		}
}

static void *
run_reads(void *arg)
{
	struct smmuv3_model_done done;

	(void)arg;
	for (unsigned int i = 0; i < DEPTH; i++)
		submit(i);
	for (unsigned int left = DEPTH; left > 0;) {
		if (smmuv3_model_dma_poll(st.dma, &done, 1) == 0) {
			smmuv3_model_wait(st.m);
			continue;
		}
		check_read(&done);
		if (st.stop)
			left--;
		else
			submit(done.cookie);
	}
	return NULL;
}

static void *
run_poller(void *arg)
{
	iopf_poller_run(arg);
	return NULL;
}

static void
stream_open(const struct kind *kind, bool harsh, uint32_t seed)
{
	static unsigned int serial;
	static const uint32_t sid = 8;
	struct smmuv3_model_conf conf = {
		.stall_model = kind->recover == IOPF_TERMINATE ? SMMUV3_STALL_MODEL_TERM : 0,
		.features = kind->recover == IOPF_PRI ? SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI : 0,
		.choices = SMMUV3_MODEL_TORN_FETCH | (harsh ? SMMUV3_MODEL_STICKY_TLB : 0),
		.harsh = harsh ? SMMUV3_MODEL_HARSH_ALL : 0,
		.seed = seed,
	};
	char name[32], str[64];
	uint64_t addr;

	snprintf(name, sizeof(name), "replace%u", serial++);
	snprintf(str, sizeof(str), "smmuv3,model=%s", name);
	conf.name = name;
	st.kind = kind;
	st.seed = seed;
	st.stop = false;
	st.nb_reads = st.nb_aborted = st.nb_wrong = 0;
	memset(st.used, 0, sizeof(st.used));
	st.m = smmuv3_model_create(&conf);
	assert_non_null(st.m);
	st.iommu = iopf_iommu_open(str);
	assert_non_null(st.iommu);
	soak_be_patient(st.iommu);
	st.arena = aligned_alloc(PAGE, (size_t)ARENA_PAGES * PAGE);
	assert_non_null(st.arena);
	assert_int_equal(0, iopf_dma_map(st.iommu, st.arena, (size_t)ARENA_PAGES * PAGE, &addr));
	assert_int_equal(addr, (uintptr_t)st.arena);
	st.worker = iopf_worker_create(NULL);
	assert_non_null(st.worker);
	st.dma = smmuv3_model_dma_create(st.m, &(struct smmuv3_model_dma_conf){ .sid = sid,
			.has_ssid = kind->pasid != IOPF_NO_PASID,
			.ssid = kind->pasid != IOPF_NO_PASID ? kind->pasid : 0, .depth = DEPTH,
			.kind = kind->recover == IOPF_PRI ? SMMUV3_MODEL_DMA_ATS :
				SMMUV3_MODEL_DMA_PLAIN });
	assert_non_null(st.dma);
	st.dev = iopf_dev_add(st.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1,
			.nb_pasids = kind->nb_pasids, .recover = kind->recover,
			.wait_ms = 60000, .pci = kind->recover == IOPF_PRI ? &pci_ops : NULL });
	assert_non_null(st.dev);
	st.poller = iopf_poller_create(NULL);
	assert_non_null(st.poller);
	assert_int_equal(0, iopf_poller_add(st.poller, st.iommu, IOPF_QUEUE_ALL));
	space_open(&st.spaces[1], 1);
	st.begun = st.settled = 1;
	assert_int_equal(0, smmuv3_model_start(st.m, -1));
	assert_int_equal(0, iopf_iommu_start(st.iommu));
	assert_int_equal(0, iopf_domain_attach(st.spaces[1].domain, st.dev, kind->pasid));
}

static void
stream_close(struct space *last)
{
	assert_int_equal(0, iopf_dev_remove(st.dev));
	space_close(last);
	assert_int_equal(iopf_iommu_stat(st.iommu, IOPF_IOMMU_STAT_FAULTS),
			iopf_iommu_stat(st.iommu, IOPF_IOMMU_STAT_ANSWERS));
	assert_int_equal(0, iopf_iommu_stop(st.iommu));
	smmuv3_model_dma_destroy(st.dma);
	assert_int_equal(0, iopf_poller_destroy(st.poller));
	assert_int_equal(0, iopf_worker_destroy(st.worker));
	assert_int_equal(0, iopf_dma_unmap(st.iommu, st.arena, (size_t)ARENA_PAGES * PAGE,
			(uintptr_t)st.arena));
	assert_int_equal(0, iopf_iommu_close(st.iommu));
	for (unsigned int i = 0; smmuv3_model_driver_error(st.m, i) != NULL; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(st.m, i));
	for (unsigned int i = 0; smmuv3_model_oracle_error(st.m, i) != NULL; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(st.m, i));
	assert_int_equal(0, smmuv3_model_driver_errors(st.m));
	assert_int_equal(0, smmuv3_model_oracle_errors(st.m));
	smmuv3_model_destroy(st.m);
	free(st.arena);
}

static int
change_domain(struct space *from, struct space *to, bool replace)
{
	int ret;

	if (replace)
		return iopf_domain_replace(to->domain, st.dev, st.kind->pasid);
	ret = iopf_domain_detach(from->domain, st.dev, st.kind->pasid);
	return ret < 0 ? ret : iopf_domain_attach(to->domain, st.dev, st.kind->pasid);
}

static void
run_stream(const struct kind *kind, bool harsh, bool replace, uint32_t seed, uint64_t *aborted)
{
	uint32_t n = REPLACES * test_scale(), serial;
	pthread_t reads, poller;
	uint64_t retried = 0;

	stream_open(kind, harsh, seed);
	pthread_create(&poller, NULL, run_poller, st.poller);
	pthread_create(&reads, NULL, run_reads, NULL);
	for (serial = 2; serial < n + 2; serial++) {
		struct space *from = &st.spaces[(serial - 1) % 2], *to = &st.spaces[serial % 2];
		uint64_t before = st.nb_reads;

		usleep(PERIOD_MS * 1000);
		/* Also where the machine is busy. */
		while (st.nb_reads < before + MIN_READS)
			usleep(1000);
		space_open(to, serial);
		st.begun = serial;
		assert_int_equal(0, change_domain(from, to, replace));
		st.settled = serial;
		retried += iopf_domain_stat(from->domain, IOPF_STAT_RETRIED);
		space_close(from);
	}
	st.stop = true;
	pthread_join(reads, NULL);
	iopf_poller_stop(st.poller);
	pthread_join(poller, NULL);
	print_message("%s%s: %lu reads, %lu aborted, %lu faults of old domains sent back\n",
			kind->name, harsh ? ", harsh" : "", (unsigned long)st.nb_reads,
			(unsigned long)st.nb_aborted, (unsigned long)retried);
	*aborted = st.nb_aborted;
	assert_int_equal(0, st.nb_wrong);
	stream_close(&st.spaces[(serial - 1) % 2]);
}

static void
no_read_is_aborted_or_mixed_by_a_replace(void **state)
{
	uint32_t seed = test_seed("replace stream");
	uint64_t aborted;

	(void)state;
	for (unsigned int harsh = 0; harsh < 2; harsh++)
		for (unsigned int i = 0; i < RTE_DIM(kinds); i++) {
			run_stream(&kinds[i], harsh, true, seed + i, &aborted);
			assert_int_equal(0, aborted);
		}
}

/* The same stream shows the reads that a detach and an attach abort. */
static void
a_detach_and_an_attach_abort_reads(void **state)
{
	uint32_t seed = test_seed("detach and attach stream");
	uint64_t aborted;

	(void)state;
	run_stream(&kinds[0], false, false, seed, &aborted);
	assert_true(aborted > 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(no_read_is_aborted_or_mixed_by_a_replace),
	cmocka_unit_test(a_detach_and_an_attach_abort_reads),
};

TEST_SUITE(replace_stream, tests, NULL, NULL);
