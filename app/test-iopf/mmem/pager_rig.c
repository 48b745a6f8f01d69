/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_log.h>

#include "iopf_handler.h"
#include "pager_rig.h"
#include "test.h"

#define SID		8

struct pg pg;

uint8_t pg_bytes[2 * MMEM_CHUNK_SIZE];

uint32_t pg_features;

bool pg_traps;

void (*_Atomic pg_call_inside)(void);

static void
call_inside(void)
{
	void (*f)(void) = atomic_exchange(&pg_call_inside, NULL);

	if (f != NULL)
		f();
}

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	(void)space;
	(void)ctx;
	atomic_store(&pg.error, report->error);
	call_inside();
	atomic_fetch_add(&pg.nb_reports, 1);
}

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&pg.quit))
		if (iopf_poll(pg.poller) == 0)
			sched_yield();
	return NULL;
}

struct iopf_dev *
pg_add_dev(uint32_t sid)
{
	return iopf_dev_add(pg.smmu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
}

static int
setup_worker(unsigned int nb_threads)
{
	static unsigned int serial;
	char devstr[64];

	memset(&pg, 0, sizeof(pg));
	atomic_store(&pg_call_inside, NULL);
	snprintf(devstr, sizeof(devstr), "smmuv3,model=pager%u", serial++);
	pg.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB,
			.features = pg_features });
	assert_non_null(pg.model);
	pg.smmu = iopf_iommu_open(devstr);
	assert_non_null(pg.smmu);
	pg.pool = mmem_pool_create(&(struct mmem_pool_conf){ .name = "p", .iommu = pg.smmu,
			.size = NB_CHUNKS * CHUNK, .ahead = 2, .no_hugepages = true,
			.no_userfaultfd = pg_traps });
	assert_non_null(pg.pool);
	if (nb_threads != 0)
		pg.worker = iopf_worker_create(&(struct iopf_worker_conf){
				.nb_threads = nb_threads });
	pg.space = mmem_space_create(&(struct mmem_space_conf){ .name = "p", .pool = pg.pool,
			.worker = pg.worker, .window = 1, .report = on_report,
			.wait_ms = WAIT_MS });
	pg.other = mmem_space_create(&(struct mmem_space_conf){ .name = "o", .pool = pg.pool,
			.worker = pg.worker, .window = 1, .report = on_report,
			.wait_ms = WAIT_MS });
	assert_non_null(pg.space);
	assert_non_null(pg.other);
	pg.dev = pg_add_dev(SID);
	pg.other_dev = pg_add_dev(OTHER_SID);
	assert_non_null(pg.dev);
	assert_non_null(pg.other_dev);
	assert_int_equal(mmem_attach(pg.space, pg.dev, IOPF_NO_PASID), 0);
	pg.poller = iopf_poller_create(NULL);
	assert_int_equal(iopf_poller_add(pg.poller, pg.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(pg.smmu), 0);
	pg.dma = smmuv3_model_dma_create(pg.model, &(struct smmuv3_model_dma_conf){
			.sid = SID, .depth = 256 });
	pg.other_dma = smmuv3_model_dma_create(pg.model, &(struct smmuv3_model_dma_conf){
			.sid = OTHER_SID, .depth = 256 });
	assert_int_equal(smmuv3_model_start(pg.model, -1), 0);
	assert_int_equal(pthread_create(&pg.thread, NULL, poller_main, NULL), 0);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_EMERG);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_EMERG);
	return 0;
}

int
pg_setup(void **state)
{
	(void)state;
	return setup_worker(0);
}

int
pg_setup_own_worker(void **state)
{
	(void)state;
	return setup_worker(1);
}

int
pg_setup_four_threads(void **state)
{
	(void)state;
	return setup_worker(4);
}

int
pg_teardown(void **state)
{
	unsigned int i;

	(void)state;
	for (i = 0; i < pg.nb_pagers; i++)
		atomic_store(&pg.pagers[i].hold, false);
	assert_int_equal(iopf_dev_remove(pg.dev), 0);
	assert_int_equal(iopf_dev_remove(pg.other_dev), 0);
	smmuv3_model_dma_destroy(pg.dma);
	smmuv3_model_dma_destroy(pg.other_dma);
	assert_int_equal(smmuv3_model_stalls_outstanding(pg.model), 0);
	/* A pager that was held may not have returned yet. */
	if (pg.space != NULL)
		while (mmem_space_destroy(pg.space) == -ETIMEDOUT)
			;
	assert_int_equal(mmem_space_destroy(pg.other), 0);
	if (pg.worker != NULL)
		assert_int_equal(iopf_worker_destroy(pg.worker), 0);
	assert_int_equal(mmem_pool_destroy(pg.pool), 0);
	atomic_store(&pg.quit, true);
	assert_int_equal(pthread_join(pg.thread, NULL), 0);
	assert_int_equal(iopf_poller_destroy(pg.poller), 0);
	assert_int_equal(iopf_iommu_stop(pg.smmu), 0);
	assert_int_equal(smmuv3_model_stop(pg.model), 0);
	assert_int_equal(iopf_iommu_close(pg.smmu), 0);
	for (i = 0; i < pg.nb_pagers; i++) {
		assert_int_equal(atomic_load(&pg.pagers[i].inside), 0);
		assert_int_equal(atomic_load(&pg.pagers[i].releases), 1);
	}
	for (i = 0; smmuv3_model_oracle_error(pg.model, i) != NULL; i++)
		print_error("oracle: %s\n", smmuv3_model_oracle_error(pg.model, i));
	assert_int_equal(smmuv3_model_driver_errors(pg.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(pg.model), 0);
	smmuv3_model_destroy(pg.model);
	rte_log_set_level_pattern("lib.mmem", RTE_LOG_NOTICE);
	rte_log_set_level_pattern("lib.iopf", RTE_LOG_INFO);
	return 0;
}

/*
 * The device
 */

void
pg_submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr, void *buf,
		size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = buf, .len = len }), 0);
}

uint64_t
pg_deadline(void)
{
	return rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
}

enum smmuv3_model_status
pg_await(struct smmuv3_model_dma *dma)
{
	struct smmuv3_model_done done;

	AWAIT(smmuv3_model_dma_poll(dma, &done, 1) != 0);
	return done.status;
}

enum smmuv3_model_status
pg_dev_read(const void *addr, size_t len)
{
	pg_submit(pg.dma, SMMUV3_MODEL_READ, addr, pg_bytes, len);
	return pg_await(pg.dma);
}

enum smmuv3_model_status
pg_dev_write(struct smmuv3_model_dma *dma, const void *addr)
{
	pg_submit(dma, SMMUV3_MODEL_WRITE, addr, pg_bytes, 8);
	return pg_await(dma);
}

bool
pg_is_filled_with(const uint8_t *p, uint8_t byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != byte)
			return false;
	return true;
}

/*
 * The pagers fill with byte 0x40 + the index of the fetch in the region
 */

uint8_t
pg_byte_at(const struct test_pager *pager, uint64_t off)
{
	size_t size = pager->conf.fetch_size ? pager->conf.fetch_size : CHUNK;

	return 0x40 + off / size;
}

static void
count_call(struct test_pager *pager, size_t len)
{
	unsigned int inside = atomic_fetch_add(&pager->inside, 1) + 1;
	unsigned int most = atomic_load(&pager->most);

	while (most < inside && !atomic_compare_exchange_weak(&pager->most, &most, inside))
		;
	atomic_fetch_add(&pager->asked, len);
	atomic_fetch_add(&pager->calls, 1);
}

int
pg_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error;

	/* A test that awaits "inside" sets its next call after this one. */
	call_inside();
	count_call(pager, len);
	while (atomic_load(&pager->hold))
		usleep(100);
	error = atomic_load(&pager->error);
	if (error == 0)
		memset(dst, pg_byte_at(pager, offset), len);
	atomic_fetch_sub(&pager->inside, 1);
	return error;
}

int
pg_start(void *ctx, struct mmem_fetch *fetch, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error = atomic_load(&pager->error);

	count_call(pager, len);
	call_inside();
	if (error == 0 && pager->at_once) {
		memset(dst, pg_byte_at(pager, offset), len);
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

void
pg_hold_fetch(struct test_pager *pager, const void *addr)
{
	atomic_store(&pager->hold, true);
	pg_submit(pg.dma, SMMUV3_MODEL_READ, addr, pg_bytes, 8);
	AWAIT(atomic_load(&pager->inside) != 0);
}

unsigned int
pg_nb_started(struct test_pager *pager)
{
	unsigned int n;

	pthread_mutex_lock(&pager->lock);
	n = pager->nb_fetches;
	pthread_mutex_unlock(&pager->lock);
	return n;
}

void
pg_finish_fetch(struct test_pager *pager, int error)
{
	unsigned int i = pg_nb_started(pager);

	assert_in_range(i, 1, MAX_FETCHES);
	i--;
	if (error == 0)
		memset(pager->fetches[i].dst, pg_byte_at(pager, pager->fetches[i].off),
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
	call_inside();
}

struct test_pager *
pg_new_pager(const struct mmem_pager *conf)
{
	struct test_pager *pager = &pg.pagers[pg.nb_pagers++];

	assert_in_range(pg.nb_pagers, 1, MAX_PAGERS);
	pthread_mutex_init(&pager->lock, NULL);
	pager->conf = *conf;
	if (conf->start == NULL)
		pager->conf.fill = pg_fill;
	pager->conf.release = release;
	pager->conf.ctx = pager;
	return pager;
}

uint8_t *
pg_alloc(size_t size, struct test_pager *pager)
{
	uint8_t *p = mmem_alloc_paged(pg.space, size, RW, &pager->conf);

	assert_non_null(p);
	return p;
}

uint64_t
pg_stat(enum mmem_stat stat)
{
	return mmem_stat(pg.space, stat);
}

int
pg_set_traps(void **state)
{
	(void)state;
	pg_traps = true;
	return 0;
}

int
pg_set_no_traps(void **state)
{
	(void)state;
	pg_traps = false;
	return 0;
}
