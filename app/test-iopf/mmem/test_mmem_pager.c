/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Pagers that are slow, late, dead or curious: each costs its own region and nothing else.
 * Two devices, a thread each for the SMMU and the poller, and two address spaces.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "mmem.h"
#include "smmuv3_model.h"
#include "log_lines.h"
#include "test.h"

#define SID		8
#define OTHER_SID	9
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define NB_CHUNKS	64
#define RW		(MMEM_READ | MMEM_WRITE)
#define PATIENCE_S	30
/* For what must not come: the pager is not asked to be fast. */
#define WAIT_MS		20
#define MAX_PAGERS	8
#define MAX_FETCHES	64

struct test_pager {
	struct mmem_pager conf;
	_Atomic bool hold;		/* calls do not return */
	_Atomic int error;
	_Atomic unsigned int calls, inside, most, releases;
	_Atomic size_t asked;
	/* of the asynchronous form */
	pthread_mutex_t lock;
	struct { struct mmem_fetch *fetch; void *dst; uint64_t off; size_t len; } fetches[MAX_FETCHES];
	unsigned int nb_fetches;
	bool at_once;			/* done before start returns */
};

static struct {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev, *other_dev;
	struct iopf_poller *poller;
	struct iopf_worker *worker;
	struct mmem_pool *pool;
	struct mmem_space *space, *other;
	struct smmuv3_model_dma *dma, *other_dma;
	struct test_pager pagers[MAX_PAGERS];
	unsigned int nb_pagers;
	_Atomic unsigned int nb_reports;
	_Atomic int error;		/* of the last report */
	_Atomic bool quit;
	pthread_t thread;
} rig;

static uint8_t bytes[2 * MMEM_CHUNK_SIZE];

/* Called once in a callback, with what the callback is told. */
static void (*_Atomic in_callback)(void);

static void
call_in_callback(void)
{
	void (*f)(void) = atomic_exchange(&in_callback, NULL);

	if (f != NULL)
		f();
}

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	(void)space;
	(void)ctx;
	atomic_store(&rig.error, report->error);
	call_in_callback();
	atomic_fetch_add(&rig.nb_reports, 1);
}

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&rig.quit))
		if (iopf_poll(rig.poller) == 0)
			sched_yield();
	return NULL;
}

static struct iopf_dev *
add(uint32_t sid)
{
	return iopf_dev_add(rig.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
}

static int
setup_worker(unsigned int nb_threads)
{
	static unsigned int serial;
	char devstr[64];

	memset(&rig, 0, sizeof(rig));
	atomic_store(&in_callback, NULL);
	snprintf(devstr, sizeof(devstr), "smmuv3,model=pager%u", serial++);
	rig.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB });
	assert_non_null(rig.model);
	rig.smmu = iopf_iommu_open(devstr);
	assert_non_null(rig.smmu);
	rig.pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "p", .iommu = rig.smmu,
			.size = NB_CHUNKS * CHUNK, .ahead = 2, .no_hugepages = true });
	assert_non_null(rig.pool);
	if (nb_threads != 0)
		rig.worker = iopf_worker_create(&(struct iopf_worker_conf){
				.nb_threads = nb_threads });
	rig.space = mmem_space_create(&(struct mmem_space_conf){ .name = "p", .pool = rig.pool,
			.worker = rig.worker, .report = on_report, .wait_ms = WAIT_MS });
	rig.other = mmem_space_create(&(struct mmem_space_conf){ .name = "o", .pool = rig.pool,
			.worker = rig.worker, .report = on_report, .wait_ms = WAIT_MS });
	assert_non_null(rig.space);
	assert_non_null(rig.other);
	rig.dev = add(SID);
	rig.other_dev = add(OTHER_SID);
	assert_non_null(rig.dev);
	assert_non_null(rig.other_dev);
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	rig.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(rig.poller, rig.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(rig.smmu), 0);
	rig.dma = smmuv3_model_dma_create(rig.model, &(struct smmuv3_model_dma_conf){
			.sid = SID, .depth = 256 });
	rig.other_dma = smmuv3_model_dma_create(rig.model, &(struct smmuv3_model_dma_conf){
			.sid = OTHER_SID, .depth = 256 });
	assert_int_equal(smmuv3_model_start(rig.model, -1), 0);
	assert_int_equal(pthread_create(&rig.thread, NULL, poller_main, NULL), 0);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	return 0;
}

static int
setup(void **state)
{
	(void)state;
	return setup_worker(0);
}

static int
setup_own_worker(void **state)
{
	(void)state;
	return setup_worker(1);
}

static int
setup_four_threads(void **state)
{
	(void)state;
	return setup_worker(4);
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < rig.nb_pagers; i++)
		atomic_store(&rig.pagers[i].hold, false);
	assert_int_equal(iopf_dev_remove(rig.dev), 0);
	assert_int_equal(iopf_dev_remove(rig.other_dev), 0);
	smmuv3_model_dma_destroy(rig.dma);
	smmuv3_model_dma_destroy(rig.other_dma);
	assert_int_equal(smmuv3_model_stalls_outstanding(rig.model), 0);
	/* A pager that was held may need a while to return. */
	if (rig.space != NULL)
		while (mmem_space_destroy(rig.space) == -ETIMEDOUT)
			;
	assert_int_equal(mmem_space_destroy(rig.other), 0);
	if (rig.worker != NULL)
		assert_int_equal(iopf_worker_destroy(rig.worker), 0);
	assert_int_equal(mmem_pool_destroy(rig.pool), 0);
	atomic_store(&rig.quit, true);
	assert_int_equal(pthread_join(rig.thread, NULL), 0);
	assert_int_equal(iopf_poller_destroy(rig.poller), 0);
	assert_int_equal(iopf_iommu_stop(rig.smmu), 0);
	assert_int_equal(smmuv3_model_stop(rig.model), 0);
	assert_int_equal(iopf_iommu_close(rig.smmu), 0);
	for (i = 0; i < rig.nb_pagers; i++) {
		assert_int_equal(atomic_load(&rig.pagers[i].inside), 0);
		assert_int_equal(atomic_load(&rig.pagers[i].releases), 1);
	}
	for (i = 0; smmuv3_model_oracle_error(rig.model, i) != NULL; i++)
		print_error("oracle: %s\n", smmuv3_model_oracle_error(rig.model, i));
	assert_int_equal(smmuv3_model_driver_errors(rig.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(rig.model), 0);
	smmuv3_model_destroy(rig.model);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	return 0;
}

/*
 * The device
 */

static void
submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr, void *buf,
		size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = buf, .len = len }), 0);
}

static uint64_t
end_of_patience(void)
{
	return rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
}

#define AWAIT(condition) do {						\
	uint64_t end_ = end_of_patience();				\
									\
	while (!(condition)) {						\
		assert_true(rte_rdtsc() < end_);			\
		usleep(100);						\
	}								\
} while (0)

static enum smmuv3_model_status
await(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done;

	AWAIT(smmuv3_model_dma_poll(dma, &done, 1) != 0);
	return done.status;
}

static enum smmuv3_model_status
dev_read(const void *addr, size_t len)
{
	submit(rig.dma, SMMUV3_MODEL_READ, addr, bytes, len);
	return await(rig.dma);
}

static bool
all_are(const uint8_t *p, uint8_t byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/*
 * The pagers: byte 0x40 + the index of the fetch in the region
 */

static uint8_t
byte_at(const struct test_pager *pager, uint64_t off)
{
	size_t size = pager->conf.fetch_size ? pager->conf.fetch_size : CHUNK;

	return 0x40 + off / size;
}

static void
pager_enter(struct test_pager *pager, size_t len)
{
	unsigned int inside = atomic_fetch_add(&pager->inside, 1) + 1;
	unsigned int most = atomic_load(&pager->most);

	while (most < inside && !atomic_compare_exchange_weak(&pager->most, &most, inside))
		;
	atomic_fetch_add(&pager->asked, len);
	atomic_fetch_add(&pager->calls, 1);
}

static int
fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error;

	pager_enter(pager, len);
	call_in_callback();
	while (atomic_load(&pager->hold))
		usleep(100);
	error = atomic_load(&pager->error);
	if (error == 0)
		memset(dst, byte_at(pager, offset), len);
	atomic_fetch_sub(&pager->inside, 1);
	return error;
}

static int
start(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error = atomic_load(&pager->error);

	pager_enter(pager, len);
	call_in_callback();
	if (error == 0 && pager->at_once) {
		memset(dst, byte_at(pager, offset), len);
		mmem_fetch_done(fetch, 0);
	} else if (error == 0) {
		pthread_mutex_lock(&pager->lock);
		if (pager->nb_fetches < MAX_FETCHES) {
			pager->fetches[pager->nb_fetches].fetch = fetch;
			pager->fetches[pager->nb_fetches].dst = dst;
			pager->fetches[pager->nb_fetches].off = offset;
			pager->fetches[pager->nb_fetches].len = len;
		}
		pager->nb_fetches++;
		pthread_mutex_unlock(&pager->lock);
	}
	atomic_fetch_sub(&pager->inside, 1);
	return error;
}

static unsigned int
nb_started(struct test_pager *pager)
{
	unsigned int n;

	pthread_mutex_lock(&pager->lock);
	n = pager->nb_fetches;
	pthread_mutex_unlock(&pager->lock);
	return n;
}

/* The last one that was started. */
static void
finish(struct test_pager *pager, int error)
{
	unsigned int i = nb_started(pager);

	assert_in_range(i, 1, MAX_FETCHES);
	i--;
	if (error == 0)
		memset(pager->fetches[i].dst, byte_at(pager, pager->fetches[i].off),
				pager->fetches[i].len);
	pthread_mutex_lock(&pager->lock);
	pager->nb_fetches--;
	pthread_mutex_unlock(&pager->lock);
	mmem_fetch_done(pager->fetches[i].fetch, error);
}

static void
release(void *ctx)
{
	struct test_pager *pager = ctx;

	atomic_fetch_add(&pager->releases, 1);
	call_in_callback();
}

static struct test_pager *
new_pager(const struct mmem_pager *conf)
{
	struct test_pager *pager = &rig.pagers[rig.nb_pagers++];

	assert_in_range(rig.nb_pagers, 1, MAX_PAGERS);
	pthread_mutex_init(&pager->lock, NULL);
	pager->conf = *conf;
	if (conf->start == NULL)
		pager->conf.fill = fill;
	pager->conf.release = release;
	pager->conf.ctx = pager;
	return pager;
}

static uint8_t *
alloc_paged(size_t size, struct test_pager *pager)
{
	uint8_t *p = mmem_alloc_paged(rig.space, size, RW, &pager->conf);

	assert_non_null(p);
	return p;
}

static uint64_t
stat_of(enum mmem_stat stat)
{
	return mmem_stat(rig.space, stat);
}

/*
 * A slow pager holds up only what waits for its bytes
 */

static void
test_a_slow_pager_holds_up_only_what_waits_for_its_bytes(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *paged = alloc_paged(8 * CHUNK, pager);
	uint8_t *plain = mmem_alloc(rig.space, 20 * CHUNK, RW), *theirs;
	unsigned int i;

	(void)state;
	assert_non_null(plain);
	theirs = mmem_alloc(rig.other, 20 * CHUNK, RW);
	assert_non_null(theirs);
	atomic_store(&pager->hold, true);
	for (i = 0; i < 8; i++)
		submit(rig.dma, SMMUV3_MODEL_READ, paged + i * CHUNK, bytes, 8);
	AWAIT(stat_of(MMEM_STAT_DEFERRED) == 8 && atomic_load(&pager->inside) != 0);

	/* Another device, of the same space: memory that nothing has populated. */
	assert_int_equal(mmem_attach(rig.space, rig.other_dev, IOPF_NO_PASID), 0);
	submit(rig.other_dma, SMMUV3_MODEL_WRITE, plain + 15 * CHUNK, bytes, 8);
	assert_int_equal(await(rig.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 9);
	/* The same device. */
	submit(rig.dma, SMMUV3_MODEL_WRITE, plain + 10 * CHUNK, bytes, 8);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	/* Control. */
	assert_int_equal(mmem_unmap(rig.space, paged, 8 * CHUNK), 0);
	assert_int_equal(mmem_protect(rig.space, paged, 8 * CHUNK, MMEM_READ), 0);
	assert_int_equal(mmem_prefetch(rig.space, plain, CHUNK), 0);
	assert_int_equal(mmem_detach(rig.space, rig.other_dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_free(rig.space, plain), 0);
	/* Another space. */
	assert_int_equal(mmem_attach(rig.other, rig.other_dev, IOPF_NO_PASID), 0);
	submit(rig.other_dma, SMMUV3_MODEL_WRITE, theirs + 15 * CHUNK, bytes, 8);
	assert_int_equal(await(rig.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(rig.other, theirs), 0);

	assert_int_equal(atomic_load(&pager->calls), 1);
	atomic_store(&pager->hold, false);
	for (i = 0; i < 8; i++)
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->calls), 8);
	assert_int_equal(atomic_load(&pager->most), 1);
	assert_int_equal(stat_of(MMEM_STAT_FILLED), 8 * CHUNK / PAGE);
	assert_int_equal(atomic_load(&rig.nb_reports), 0);
}

static void
test_pagers_of_two_regions_run_beside_each_other(void **state)
{
	struct test_pager *slow = new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *quick = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = alloc_paged(CHUNK, slow), *q = alloc_paged(2 * CHUNK, quick);

	(void)state;
	atomic_store(&slow->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(atomic_load(&slow->inside) != 0);
	submit(rig.dma, SMMUV3_MODEL_READ, q, bytes, 8);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_prefetch(rig.space, q, 2 * CHUNK), 0);
	assert_true(all_are(q + CHUNK, 0x41, CHUNK));
	assert_int_equal(mmem_free(rig.space, q), 0);
	atomic_store(&slow->hold, false);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
}

/* One idle thread, and two regions that want it. */
static void
test_two_regions_that_are_ready_at_once_get_a_thread_each(void **state)
{
	struct test_pager *a = new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	struct test_pager *b = new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = alloc_paged(CHUNK, a), *q = alloc_paged(CHUNK, b);
	unsigned int i;

	(void)state;
	/* So that memory is there, and a thread. */
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	assert_int_equal(dev_read(q, 8), SMMUV3_MODEL_OK);
	for (i = 1; i <= 64; i++) {
		atomic_store(&a->hold, true);
		atomic_store(&b->hold, true);
		submit(rig.dma, SMMUV3_MODEL_READ, p + i * PAGE, bytes, 8);
		submit(rig.dma, SMMUV3_MODEL_READ, q + i * PAGE, bytes, 8);
		AWAIT(atomic_load(&a->inside) == 1 && atomic_load(&b->inside) == 1);
		atomic_store(&a->hold, false);
		atomic_store(&b->hold, false);
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	}
}

/*
 * One that never returns
 */

static void
test_a_dead_pager_stops_no_other_device(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = alloc_paged(2 * CHUNK, pager), *b;
	struct iopf_dev *third;

	(void)state;
	b = mmem_alloc(rig.other, 2 * CHUNK, RW);
	assert_non_null(b);
	atomic_store(&pager->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	submit(rig.dma, SMMUV3_MODEL_READ, p + CHUNK, bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0 && stat_of(MMEM_STAT_DEFERRED) == 2);

	/* Its own device can leave: what waits is given up. */
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_not_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_not_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(rig.space)), 0);
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);

	assert_int_equal(mmem_attach(rig.other, rig.other_dev, IOPF_NO_PASID), 0);
	submit(rig.other_dma, SMMUV3_MODEL_WRITE, b, bytes, 8);
	assert_int_equal(await(rig.other_dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_unmap(rig.other, b, CHUNK), 0);
	assert_int_equal(mmem_free(rig.other, b), 0);
	assert_int_equal(mmem_detach(rig.other, rig.other_dev, IOPF_NO_PASID), 0);
	third = add(OTHER_SID + 1);
	assert_non_null(third);
	assert_int_equal(mmem_attach(rig.other, third, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_dev_remove(third), 0);
	assert_int_equal(iopf_iommu_stop(rig.smmu), 0);
	assert_int_equal(iopf_iommu_start(rig.smmu), 0);
}

/* Its faults are answered, its memory is kept, and the free can be called again. */
static void
test_a_region_of_a_dead_pager_can_be_given_up(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = alloc_paged(2 * CHUNK, pager), *q;
	unsigned int i, n = 0;
	uint8_t *all[NB_CHUNKS];

	(void)state;
	atomic_store(&pager->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
	/* No wait is needed to take pages away. */
	assert_int_equal(mmem_unmap(rig.space, p, 2 * CHUNK), 0);
	assert_int_equal(mmem_free(rig.space, p), -ETIMEDOUT);
	assert_int_equal(rte_errno, ETIMEDOUT);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&rig.error), -EFAULT);
	assert_int_equal(dev_read(p + CHUNK, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 2);
	assert_int_equal(mmem_free(rig.space, p), -ETIMEDOUT);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 2);
	assert_int_equal(mmem_unmap(rig.space, p, PAGE), -EINVAL);
	assert_int_equal(mmem_prefetch(rig.space, p, PAGE), -EINVAL);
	/* The pager may write there whenever it likes. */
	while ((q = mmem_alloc(rig.other, CHUNK, RW)) != NULL) {
		assert_true(q != p && q != p + CHUNK);
		all[n++] = q;
	}
	for (i = 0; i < n; i++)
		assert_int_equal(mmem_free(rig.other, all[i]), 0);
	assert_int_equal(atomic_load(&pager->releases), 0);
	assert_int_equal(mmem_pool_destroy(rig.pool), -EBUSY);

	atomic_store(&pager->hold, false);
	AWAIT(mmem_free(rig.space, p) == 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
	q = mmem_alloc(rig.space, 2 * CHUNK, RW);
	assert_ptr_equal(q, p);
	assert_true(all_are(q, 0, 2 * CHUNK));
}

/* A free that gave up is completed by a later call, if it is not called again. */
static void
test_a_region_that_was_given_up_is_freed_in_passing(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = alloc_paged(CHUNK, pager), *b = mmem_alloc(rig.space, CHUNK, RW);

	(void)state;
	atomic_store(&pager->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
	assert_int_equal(mmem_free(rig.space, p), -ETIMEDOUT);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_unmap(rig.space, b, PAGE), 0);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 1);
	atomic_store(&pager->hold, false);
	AWAIT(mmem_unmap(rig.space, b, PAGE) == 0 && stat_of(MMEM_STAT_KEPT) == 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
	assert_int_equal(mmem_free(rig.space, p), -EINVAL);
}

static void
test_a_space_with_a_dead_pager_can_be_given_up(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ 0 });
	uint8_t *p = alloc_paged(CHUNK, pager);

	(void)state;
	atomic_store(&pager->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
	assert_int_equal(mmem_space_destroy(rig.space), -EBUSY);
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_not_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_space_destroy(rig.space), -ETIMEDOUT);
	assert_int_equal(mmem_space_destroy(rig.space), -ETIMEDOUT);
	/* Half destroyed: nothing can use it any more, and nothing crashes. */
	assert_null(mmem_space_domain(rig.space));
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), -ESHUTDOWN);
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), -ESHUTDOWN);
	SAYS("half destroyed", assert_null(mmem_alloc(rig.space, PAGE, RW)));
	assert_int_equal(rte_errno, ESHUTDOWN);
	assert_null(mmem_alloc_paged(rig.space, PAGE, RW, &pager->conf));
	assert_int_equal(rte_errno, ESHUTDOWN);
	assert_null(mmem_map_file(rig.space, "/proc/self/exe", 0, PAGE, RW));
	assert_int_equal(rte_errno, ESHUTDOWN);
	assert_int_equal(mmem_free(rig.space, p), -ETIMEDOUT);
	assert_int_equal(mmem_pool_destroy(rig.pool), -EBUSY);
	atomic_store(&pager->hold, false);
	AWAIT(mmem_space_destroy(rig.space) == 0);
	rig.space = NULL;
	assert_int_equal(atomic_load(&pager->releases), 1);
}

/*
 * Deadlines
 */

static void
test_an_access_waits_no_longer_than_the_deadline(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .deadline_ms = WAIT_MS });
	uint8_t *p = alloc_paged(3 * CHUNK, pager);

	(void)state;
	atomic_store(&pager->hold, true);
	/* The second is behind it, and never begins. */
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
	submit(rig.dma, SMMUV3_MODEL_READ, p + CHUNK, bytes, 8);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&rig.error), -ETIMEDOUT);
	assert_int_equal(stat_of(MMEM_STAT_EXPIRED), 2);
	/* Those that come after it do not wait again. */
	assert_int_equal(dev_read(p + 8, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(dev_read(p + 2 * CHUNK, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)p, IOPF_PERM_READ), -ETIMEDOUT);
	assert_int_equal(mmem_prefetch(rig.space, p, PAGE), -ETIMEDOUT);
	assert_int_equal(stat_of(MMEM_STAT_EXPIRED), 5);
	assert_int_equal(atomic_load(&rig.nb_reports), 4);
	assert_int_equal(atomic_load(&pager->calls), 1);
	assert_int_equal(stat_of(MMEM_STAT_FAILED), 0);
	/* Bytes that come late are taken. */
	atomic_store(&pager->hold, false);
	AWAIT(stat_of(MMEM_STAT_FILLED) == CHUNK / PAGE);
	assert_int_equal(dev_read(p, CHUNK), SMMUV3_MODEL_OK);
	assert_true(all_are(bytes, 0x40, CHUNK));
	assert_int_equal(atomic_load(&pager->calls), 1);
	assert_int_equal(mmem_free(rig.space, p), 0);
}

/* A pager that keeps its deadline is not disturbed by one that does not. */
static void
test_a_deadline_is_of_one_region(void **state)
{
	struct test_pager *late = new_pager(&(struct mmem_pager){ .deadline_ms = 1 });
	struct test_pager *good = new_pager(&(struct mmem_pager){ .deadline_ms = 1000000 });
	uint8_t *p = alloc_paged(CHUNK, late), *q = alloc_paged(CHUNK, good);

	(void)state;
	atomic_store(&late->hold, true);
	atomic_store(&good->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, q, bytes, 8);
	AWAIT(atomic_load(&good->inside) != 0);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	atomic_store(&good->hold, false);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(stat_of(MMEM_STAT_EXPIRED), 1);
}

/*
 * How much at a time
 */

static void
test_a_pager_is_asked_for_its_fetch_size(void **state)
{
	static const size_t sizes[] = { PAGE, 16 * PAGE, CHUNK / 2, CHUNK };
	const size_t len = 3 * CHUNK + 5 * PAGE;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(sizes); i++) {
		struct test_pager *pager = new_pager(&(struct mmem_pager){
				.fetch_size = sizes[i] });
		uint64_t filled = stat_of(MMEM_STAT_FILLED);
		uint8_t *p = alloc_paged(len, pager);
		size_t off = CHUNK + CHUNK / 2 + 3 * PAGE, first = off & ~(sizes[i] - 1);

		/* One page of it: the block around it, once. */
		assert_int_equal(dev_read(p + off, 8), SMMUV3_MODEL_OK);
		assert_true(all_are(bytes, byte_at(pager, off), 8));
		assert_int_equal(atomic_load(&pager->asked), sizes[i]);
		assert_int_equal(stat_of(MMEM_STAT_FILLED) - filled, sizes[i] / PAGE);
		submit(rig.dma, SMMUV3_MODEL_READ, p + first, bytes, sizes[i]);
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
		assert_true(all_are(bytes, byte_at(pager, off), sizes[i]));
		assert_int_equal(atomic_load(&pager->calls), 1);
		/* An access over the edge of two. */
		assert_int_equal(dev_read(p + first + sizes[i] - 4, 8), SMMUV3_MODEL_OK);
		assert_int_equal(atomic_load(&pager->calls), 2);
		/* The last is what is left of the region. */
		assert_int_equal(dev_read(p + len - 8, 8), SMMUV3_MODEL_OK);
		assert_int_equal(atomic_load(&pager->asked), 2 * sizes[i] +
				RTE_MIN(sizes[i], 5 * PAGE));
		assert_int_equal(mmem_prefetch(rig.space, p, len), 0);
		assert_int_equal(atomic_load(&pager->asked), len);
		assert_int_equal(stat_of(MMEM_STAT_FILLED) - filled, len / PAGE);
		assert_int_equal(mmem_free(rig.space, p), 0);
	}
	assert_int_equal(atomic_load(&rig.nb_reports), 0);
}

/* What fails is one block. */
static void
test_a_failure_is_of_one_block(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .fetch_size = PAGE });
	uint8_t *p = alloc_paged(CHUNK, pager);

	(void)state;
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(dev_read(p + PAGE, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&rig.error), -EIO);
	assert_int_equal(dev_read(p + 8, 8), SMMUV3_MODEL_OK);
	atomic_store(&pager->error, 0);
	assert_int_equal(dev_read(p + PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->calls), 3);
}

static void
test_a_pager_may_have_more_threads(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .fetch_size = PAGE,
			.nb_threads = 3 });
	uint8_t *p = alloc_paged(CHUNK, pager);
	unsigned int i;

	(void)state;
	atomic_store(&pager->hold, true);
	for (i = 0; i < 8; i++)
		submit(rig.dma, SMMUV3_MODEL_READ, p + i * PAGE, bytes, 8);
	AWAIT(atomic_load(&pager->inside) == 3 && stat_of(MMEM_STAT_DEFERRED) == 8);
	atomic_store(&pager->hold, false);
	for (i = 0; i < 8; i++)
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_int_equal(atomic_load(&pager->most), 3);
}

static void
test_a_pager_out_of_range_is_refused(void **state)
{
	static const struct mmem_pager bad[] = {
		{ 0 },
		{ .fill = fill, .start = start },
		{ .fill = fill, .fetch_size = PAGE / 2 },
		{ .fill = fill, .fetch_size = 3 * PAGE },
		{ .fill = fill, .fetch_size = 2 * CHUNK },
	};
	/* And no second line about the pool. */
	static const char *const why[] = {
		"fill or start: one of them is needed", "fill or start: only one of them",
		"fetch_size 2048", "fetch_size 12288", "fetch_size 4194304",
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		rte_errno = 0;
		SAYS(why[i], assert_null(mmem_alloc_paged(rig.space, CHUNK, RW, &bad[i])));
		assert_int_equal(rte_errno, EINVAL);
	}
}

/*
 * Asynchronous
 */

static void
test_an_asynchronous_pager_has_many_under_way(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .start = start,
			.fetch_size = 4 * PAGE });
	uint8_t *p = alloc_paged(4 * CHUNK, pager);
	unsigned int i, failed = 0, aborted = 0;

	(void)state;
	for (i = 0; i < 16; i++)
		submit(rig.dma, SMMUV3_MODEL_READ, p + i * 4 * PAGE, bytes + i, 1);
	AWAIT(nb_started(pager) == 16);
	assert_int_equal(atomic_load(&pager->most), 1);
	/* In another order; one of them fails. */
	for (i = 0; i < 16; i++) {
		if (i == 3)
			failed = pager->fetches[15 - i].off / (4 * PAGE);
		finish(pager, i == 3 ? -EREMOTEIO : 0);
	}
	for (i = 0; i < 16; i++)
		aborted += await(rig.dma) == SMMUV3_MODEL_ABORTED;
	assert_int_equal(aborted, 1);
	for (i = 0; i < 16; i++)
		assert_true(i == failed || bytes[i] == 0x40 + i);
	assert_int_equal(atomic_load(&rig.nb_reports), 1);
	/* Asked again, and done before start returns. */
	pager->at_once = true;
	assert_int_equal(dev_read(p + failed * 4 * PAGE, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_prefetch(rig.space, p, 4 * CHUNK), 0);
	assert_int_equal(stat_of(MMEM_STAT_FILLED), 4 * CHUNK / PAGE);
	assert_int_equal(mmem_free(rig.space, p), 0);
}

static void
test_a_start_that_fails_is_a_failure(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .start = start });
	uint8_t *p = alloc_paged(CHUNK, pager);

	(void)state;
	atomic_store(&pager->error, -EREMOTEIO);
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_prefetch(rig.space, p, PAGE), -EIO);
	atomic_store(&pager->error, 0);
	pager->at_once = true;
	assert_int_equal(dev_read(p, 8), SMMUV3_MODEL_OK);
}

static void
test_a_region_stays_until_its_fetch_is_done(void **state)
{
	struct test_pager *pager = new_pager(&(struct mmem_pager){ .start = start,
			.deadline_ms = 1 });
	uint8_t *p = alloc_paged(CHUNK, pager);

	(void)state;
	submit(rig.dma, SMMUV3_MODEL_READ, p, bytes, 8);
	AWAIT(nb_started(pager) == 1);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_free(rig.space, p), -ETIMEDOUT);
	assert_int_equal(atomic_load(&pager->releases), 0);
	finish(pager, 0);
	assert_int_equal(mmem_free(rig.space, p), 0);
	assert_int_equal(atomic_load(&pager->releases), 1);
}

/*
 * What is called in a callback works, or is -EDEADLK and has changed nothing
 */

static struct {
	uint8_t *own, *plain, *paged;	/* regions: of the pager that is called, and two others */
	struct mmem_space *victim;	/* not attached */
	int alloc, free_own, free_other, unmap_own, unmap, protect, prefetch_own, prefetch, resolve,
		resolve_absent, attach, detach, space, destroy_own, destroy_other, pool, pool_destroy;
	void *allocated;
	_Atomic bool called;
} in;

static int
result(const void *p)
{
	return p != NULL ? 0 : -rte_errno;
}

static void
call_everything(void)
{
	struct mmem_space *space;
	struct mmem_pool *pool;

	in.allocated = mmem_alloc(rig.space, CHUNK, RW);
	in.alloc = result(in.allocated);
	in.unmap = mmem_unmap(rig.space, in.plain, PAGE);
	in.protect = mmem_protect(rig.space, in.plain, PAGE, MMEM_READ);
	in.prefetch = mmem_prefetch(rig.space, in.plain, PAGE);
	in.resolve = mmem_resolve(rig.space, (uintptr_t)in.plain, IOPF_PERM_READ);
	in.resolve_absent = mmem_resolve(rig.space, (uintptr_t)in.paged, IOPF_PERM_READ);
	in.prefetch_own = mmem_prefetch(rig.space, in.own, 2 * CHUNK);
	in.unmap_own = mmem_unmap(rig.space, in.own, PAGE);
	in.attach = mmem_attach(rig.space, rig.other_dev, IOPF_NO_PASID);
	in.detach = mmem_detach(rig.space, rig.other_dev, IOPF_NO_PASID);
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = rig.pool });
	in.space = result(space);
	if (space != NULL)
		in.destroy_other = mmem_space_destroy(space);
	else
		in.destroy_other = mmem_space_destroy(in.victim);
	in.destroy_own = mmem_space_destroy(rig.space);
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = rig.smmu, .size = 2 * CHUNK });
	in.pool = result(pool);
	in.pool_destroy = mmem_pool_destroy(pool != NULL ? pool : rig.pool);
	in.free_own = mmem_free(rig.space, in.own);
	in.free_other = mmem_free(rig.space, in.plain);
	atomic_store(&in.called, true);
}

static void
regions_to_be_called(struct test_pager *own, struct test_pager *paged)
{
	memset(&in, 0, sizeof(in));
	in.own = alloc_paged(2 * CHUNK, own);
	in.paged = alloc_paged(CHUNK, paged);
	in.plain = mmem_alloc(rig.space, CHUNK, RW);
	assert_non_null(in.plain);
	memset(in.plain, 0x77, PAGE);
	in.victim = mmem_space_create(&(struct mmem_space_conf){ .pool = rig.pool });
	assert_non_null(in.victim);
}

/* What was refused has changed nothing, and works now. */
static void
everything_works_now(bool freed_other)
{
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
	if (!freed_other) {
		submit(rig.dma, SMMUV3_MODEL_READ, in.plain, bytes, PAGE);
		assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
		assert_true(all_are(bytes, 0x77, PAGE));
		assert_int_equal(mmem_free(rig.space, in.plain), 0);
	}
	if (in.allocated != NULL)
		assert_int_equal(mmem_free(rig.space, in.allocated), 0);
	assert_int_equal(mmem_prefetch(rig.space, in.paged, PAGE), 0);
	assert_int_equal(mmem_free(rig.space, in.paged), 0);
	assert_int_equal(mmem_prefetch(rig.space, in.own, 2 * CHUNK), 0);
	assert_int_equal(dev_read(in.own, 8), SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(rig.space, in.own), 0);
}

static void
nothing_is_allowed(void)
{
	const int *rc = &in.alloc;

	assert_true(atomic_load(&in.called));
	for (; rc <= &in.pool_destroy; rc++)
		assert_int_equal(*rc, -EDEADLK);
}

static void
test_a_report_on_the_poll_core_may_do_nothing(void **state)
{
	struct test_pager *own = new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	regions_to_be_called(own, paged);
	atomic_store(&in_callback, call_everything);
	assert_int_equal(dev_read((void *)PAGE, 8), SMMUV3_MODEL_ABORTED);
	nothing_is_allowed();
	everything_works_now(false);
}

static void
test_a_report_on_a_worker_may_do_nothing(void **state)
{
	struct test_pager *own = new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	regions_to_be_called(own, paged);
	atomic_store(&own->error, -EREMOTEIO);
	atomic_store(&own->hold, true);
	submit(rig.dma, SMMUV3_MODEL_READ, in.own, bytes, 8);
	AWAIT(atomic_load(&own->inside) != 0);
	atomic_store(&in_callback, call_everything);
	atomic_store(&own->hold, false);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_ABORTED);
	nothing_is_allowed();
	atomic_store(&own->error, 0);
	everything_works_now(false);
}

/* In fill and start: all but what would wait for its own return. */
static void
what_a_pager_may_do(struct test_pager *own)
{
	struct test_pager *paged = new_pager(&(struct mmem_pager){ 0 });

	own->at_once = true;
	regions_to_be_called(own, paged);
	atomic_store(&in_callback, call_everything);
	submit(rig.dma, SMMUV3_MODEL_READ, in.own, bytes, 8);
	assert_int_equal(await(rig.dma), SMMUV3_MODEL_OK);
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.alloc, 0);
	assert_int_equal(in.unmap, 0);
	assert_int_equal(in.unmap_own, 0);
	assert_int_equal(in.protect, 0);
	assert_int_equal(in.prefetch, 0);
	assert_int_equal(in.prefetch_own, 0);
	assert_int_equal(in.resolve, 0);
	assert_int_equal(in.resolve_absent, -EDEADLK);
	assert_int_equal(in.attach, 0);
	assert_int_equal(in.detach, 0);
	assert_int_equal(in.space, 0);
	assert_int_equal(in.destroy_other, 0);
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.pool, 0);
	assert_int_equal(in.pool_destroy, 0);
	assert_int_equal(in.free_own, -EDEADLK);
	assert_int_equal(in.free_other, 0);
	/* What was read ahead is fetched. */
	AWAIT(stat_of(MMEM_STAT_FILLED) >= 2 * CHUNK / PAGE);
	everything_works_now(true);
}

static void
test_what_fill_may_do(void **state)
{
	(void)state;
	what_a_pager_may_do(new_pager(&(struct mmem_pager){ 0 }));
}

static void
test_what_start_may_do(void **state)
{
	(void)state;
	what_a_pager_may_do(new_pager(&(struct mmem_pager){ .start = start }));
}

/* In release its own region is gone: it cannot be freed. The space cannot be destroyed. */
static void
test_what_release_may_do(void **state)
{
	struct test_pager *own = new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	regions_to_be_called(own, paged);
	atomic_store(&in_callback, call_everything);
	assert_int_equal(mmem_free(rig.space, in.own), 0);
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.alloc, 0);
	assert_int_equal(in.unmap, 0);
	assert_int_equal(in.protect, 0);
	assert_int_equal(in.prefetch, 0);
	assert_int_equal(in.resolve, 0);
	assert_int_equal(in.resolve_absent, 0);
	assert_int_equal(in.attach, 0);
	assert_int_equal(in.detach, 0);
	assert_int_equal(in.space, 0);
	assert_int_equal(in.destroy_other, 0);
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.pool, 0);
	assert_int_equal(in.pool_destroy, 0);
	assert_int_equal(in.free_other, 0);
	/* The chunk may be the one that was allocated: freed with it. */
	if (in.allocated != in.own)
		assert_int_equal(in.free_own, -EINVAL);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
}

/* While a space is destroyed, too. */
static void
test_what_release_may_do_while_its_space_goes(void **state)
{
	struct test_pager *own = new_pager(&(struct mmem_pager){ 0 });
	struct test_pager *paged = new_pager(&(struct mmem_pager){ 0 });

	(void)state;
	regions_to_be_called(own, paged);
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	atomic_store(&in_callback, call_everything);
	assert_int_equal(mmem_space_destroy(rig.space), 0);
	rig.space = NULL;
	assert_true(atomic_load(&in.called));
	assert_int_equal(in.destroy_own, -EDEADLK);
	assert_int_equal(in.attach, -ESHUTDOWN);
	assert_null(in.allocated);
	assert_int_equal(mmem_space_destroy(in.victim), 0);
}

/*
 * All at once
 */

static _Atomic bool storm_quit;

static void *
control_main(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; !atomic_load(&storm_quit); i++) {
		uint8_t *p = mmem_alloc(rig.other, CHUNK, RW);

		if (p == NULL)
			continue;
		mmem_prefetch(rig.other, p, CHUNK);
		mmem_free(rig.other, p);
	}
	return NULL;
}

static int
storm_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	static _Atomic unsigned int seed;
	unsigned int n = atomic_fetch_add(&seed, 1) * 2654435761u >> 16;

	(void)ctx;
	if (n % 8 == 0)
		usleep(n % 2000);
	if (n % 16 == 1)
		return -EREMOTEIO;
	memset(dst, 0x40 + (offset / PAGE) % 64, len);
	return 0;
}

/* Regions with pagers come and go under faults, detaches, unmaps and deadlines. */
static void
test_regions_with_pagers_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 60 * test_scale(), i, done;
	struct smmuv3_model_done d[64];
	pthread_t thread;

	(void)state;
	atomic_store(&storm_quit, false);
	assert_int_equal(pthread_create(&thread, NULL, control_main, NULL), 0);
	for (round = 0; round < rounds; round++) {
		const struct mmem_pager pager = { .fill = storm_fill,
			.fetch_size = PAGE << round % 4, .nb_threads = 1 + round % 3,
			.deadline_ms = round % 5 ? 0 : 1 };
		uint8_t *p = mmem_alloc_paged(rig.space, CHUNK + 16 * PAGE, RW, &pager);

		assert_non_null(p);
		for (i = 0; i < 64; i++)
			submit(rig.dma, SMMUV3_MODEL_READ, p + (i * 37 % 528) * PAGE, bytes, 8);
		if (round % 2)
			assert_int_equal(mmem_unmap(rig.space, p, CHUNK), 0);
		if (round % 7 == 3) {
			assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
			assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);
		}
		if (round % 3 == 0)
			AWAIT(mmem_free(rig.space, p) == 0);
		for (done = 0; done < 64;)
			AWAIT((done += smmuv3_model_dma_poll(rig.dma, d, 64), done == 64));
		if (round % 3 != 0)
			AWAIT(mmem_free(rig.space, p) == 0);
	}
	atomic_store(&storm_quit, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(rig.space)), 0);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	RIG_TEST(test_a_slow_pager_holds_up_only_what_waits_for_its_bytes),
	{ "test_a_slow_pager_and_an_own_worker",
		test_a_slow_pager_holds_up_only_what_waits_for_its_bytes, setup_own_worker,
		teardown, NULL },
	{ "test_a_slow_pager_and_four_threads",
		test_a_slow_pager_holds_up_only_what_waits_for_its_bytes, setup_four_threads,
		teardown, NULL },
	RIG_TEST(test_pagers_of_two_regions_run_beside_each_other),
	RIG_TEST(test_two_regions_that_are_ready_at_once_get_a_thread_each),
	RIG_TEST(test_a_dead_pager_stops_no_other_device),
	RIG_TEST(test_a_region_of_a_dead_pager_can_be_given_up),
	RIG_TEST(test_a_region_that_was_given_up_is_freed_in_passing),
	RIG_TEST(test_a_space_with_a_dead_pager_can_be_given_up),
	RIG_TEST(test_an_access_waits_no_longer_than_the_deadline),
	RIG_TEST(test_a_deadline_is_of_one_region),
	RIG_TEST(test_a_pager_is_asked_for_its_fetch_size),
	RIG_TEST(test_a_failure_is_of_one_block),
	RIG_TEST(test_a_pager_may_have_more_threads),
	RIG_TEST(test_a_pager_out_of_range_is_refused),
	RIG_TEST(test_an_asynchronous_pager_has_many_under_way),
	RIG_TEST(test_a_start_that_fails_is_a_failure),
	RIG_TEST(test_a_region_stays_until_its_fetch_is_done),
	RIG_TEST(test_a_report_on_the_poll_core_may_do_nothing),
	RIG_TEST(test_a_report_on_a_worker_may_do_nothing),
	RIG_TEST(test_what_fill_may_do),
	RIG_TEST(test_what_start_may_do),
	RIG_TEST(test_what_release_may_do),
	RIG_TEST(test_what_release_may_do_while_its_space_goes),
	RIG_TEST(test_regions_with_pagers_come_and_go_under_faults),
};

TEST_SUITE(mmem_pager, tests, NULL, NULL);
