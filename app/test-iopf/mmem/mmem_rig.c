/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <rte_cycles.h>
#include <rte_log.h>

#include "iommu.h"
#include "iopf_stats.h"
#include "mmem_rig.h"
#include "pieces.h"
#include "smmuv3_model_test.h"
#include "smmuv3_pmd.h"
#include "test.h"

#define SID		8

struct mm mm;

/* The driver: memory has one device address, or one for each piece. */
static const char *driver = "smmuv3";

uint8_t mm_scratch[2 * MMEM_CHUNK_SIZE];

void (*mm_in_handler)(void);

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	unsigned int n = atomic_load(&mm.nb_reports);

	assert_ptr_equal(space, mm.space);
	assert_ptr_equal(ctx, &mm);
	if (n < MAX_REPORTS)
		mm.reports[n] = *report;
	atomic_store(&mm.nb_reports, n + 1);
	if (mm_in_handler != NULL)
		mm_in_handler();
}

struct mmem_pool *
mm_make_pool(void)
{
	return mmem_pool_create(&(struct mmem_pool_conf){
			.name = "t", .iommu = mm.smmu, .size = NB_CHUNKS * CHUNK, .ahead = 2,
			.no_hugepages = true });
}

struct mmem_space *
mm_make_space(void)
{
	return mmem_space_create(&(struct mmem_space_conf){
			.name = "t", .pool = mm.pool, .window = 1, .report = on_report,
			.ctx = &mm });
}

int
mm_setup(void **state)
{
	static unsigned int serial;
	uint32_t sid = SID;
	char devstr[64];

	(void)state;
	memset(&mm, 0, sizeof(mm));
	mm_in_handler = NULL;
	/* A failed test leaves its model behind: the next test uses another name. */
	snprintf(devstr, sizeof(devstr), "%s,model=mmem%u", driver, serial++);
	mm.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB });
	assert_non_null(mm.model);
	mm.smmu = iopf_iommu_open(devstr);
	assert_non_null(mm.smmu);
	mm.pool = mm_make_pool();
	assert_non_null(mm.pool);
	mm.space = mm_make_space();
	assert_non_null(mm.space);
	mm.dev = iopf_dev_add(mm.smmu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = PASID + 1 });
	assert_non_null(mm.dev);
	assert_int_equal(mmem_attach(mm.space, mm.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(mm.space, mm.dev, PASID), 0);
	mm.poller = iopf_poller_create(NULL);
	assert_non_null(mm.poller);
	assert_int_equal(iopf_poller_add(mm.poller, mm.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(mm.smmu), 0);
	mm.dma = smmuv3_model_dma_create(mm.model,
			&(struct smmuv3_model_dma_conf){ .sid = SID });
	mm.dma_pasid = smmuv3_model_dma_create(mm.model,
			&(struct smmuv3_model_dma_conf){ .sid = SID, .has_ssid = true,
				.ssid = PASID });
	assert_non_null(mm.dma);
	assert_non_null(mm.dma_pasid);
	return 0;
}

int
mm_teardown(void **state)
{
	unsigned int i;

	(void)state;
	smmuv3_model_dma_destroy(mm.dma);
	smmuv3_model_dma_destroy(mm.dma_pasid);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(mm.space)), 0);
	assert_int_equal(mmem_detach(mm.space, mm.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_detach(mm.space, mm.dev, PASID), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(mm.model), 0);
	assert_int_equal(mmem_space_destroy(mm.space), 0);
	assert_int_equal(iopf_dev_remove(mm.dev), 0);
	assert_int_equal(mmem_pool_destroy(mm.pool), 0);
	assert_int_equal(iopf_poller_remove(mm.poller, mm.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_poller_destroy(mm.poller), 0);
	assert_int_equal(iopf_iommu_stop(mm.smmu), 0);
	assert_int_equal(iopf_iommu_close(mm.smmu), 0);
	for (i = 0; smmuv3_model_driver_error(mm.model, i) != NULL; i++)
		print_error("driver: %s\n", smmuv3_model_driver_error(mm.model, i));
	for (i = 0; smmuv3_model_oracle_error(mm.model, i) != NULL; i++)
		print_error("oracle: %s\n", smmuv3_model_oracle_error(mm.model, i));
	assert_int_equal(smmuv3_model_driver_errors(mm.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(mm.model), 0);
	smmuv3_model_destroy(mm.model);
	return 0;
}

void
mm_run_turn(void)
{
	smmuv3_model_wait(mm.model);
	if (iopf_poll(mm.poller) == 0)
		sched_yield();
}

void
mm_submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr, void *buf,
		size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = buf, .len = len }), 0);
}

struct smmuv3_model_done
mm_await(struct smmuv3_model_dma *dma)
{
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(dma, &done, 1) == 0) {
		assert_true(rte_rdtsc() < end);
		mm_run_turn();
	}
	return done;
}

static struct smmuv3_model_done
run_dma(enum smmuv3_model_op_type type, const void *addr, void *buf, size_t len)
{
	mm_submit(mm.dma, type, addr, buf, len);
	return mm_await(mm.dma);
}

struct smmuv3_model_done
mm_dev_read(const void *addr, void *buf, size_t len)
{
	return run_dma(SMMUV3_MODEL_READ, addr, buf, len);
}

struct smmuv3_model_done
mm_dev_write(const void *addr, const void *buf, size_t len)
{
	return run_dma(SMMUV3_MODEL_WRITE, addr, (void *)(uintptr_t)buf, len);
}

void
mm_dev_set(const void *addr, uint8_t byte, size_t len)
{
	struct smmuv3_model_done done;

	memset(mm_scratch, byte, len);
	done = mm_dev_write(addr, mm_scratch, len);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
}

void
mm_dev_expect(const void *addr, uint8_t byte, size_t len)
{
	struct smmuv3_model_done done;
	size_t i;

	memset(mm_scratch, ~byte, len);
	done = mm_dev_read(addr, mm_scratch, len);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	for (i = 0; i < len; i++)
		if (mm_scratch[i] != byte)
			fail_msg("byte %zu is 0x%02x, not 0x%02x", i, mm_scratch[i], byte);
}

void
mm_cpu_expect(const uint8_t *p, uint8_t byte, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != byte)
			fail_msg("byte %zu is 0x%02x, not 0x%02x", i, p[i], byte);
}

uint64_t
mm_stat(enum mmem_stat stat)
{
	return mmem_stat(mm.space, stat);
}

uint64_t
mm_count_faults(void)
{
	return iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_FAULTS);
}

void
mm_expect_report(const void *addr, uint32_t pasid, uint8_t perm, int error)
{
	unsigned int n = atomic_load(&mm.nb_reports);
	const struct mmem_report *report = &mm.reports[n - 1];

	assert_in_range(n, 1, MAX_REPORTS);
	assert_ptr_equal(report->dev, mm.dev);
	assert_int_equal(report->pasid, pasid);
	assert_int_equal(report->addr, (uintptr_t)addr);
	assert_int_equal(report->perm & (IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_EXEC), perm);
	assert_int_equal(report->error, error);
}

uint8_t *
mm_alloc(size_t size, unsigned int flags)
{
	uint8_t *p = mmem_alloc(mm.space, size, flags);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % CHUNK, 0);
	return p;
}

uint8_t *
mm_map_shared(size_t len)
{
	uint8_t *room = mmap(NULL, len + CHUNK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint8_t *p;

	assert_ptr_not_equal(room, MAP_FAILED);
	p = RTE_PTR_ALIGN_CEIL(room, CHUNK);
	assert_ptr_equal(mmap(p, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS |
			MAP_FIXED, -1, 0), p);
	if (p != room)
		munmap(room, p - room);
	munmap(p + len, room + CHUNK - p);
	return p;
}

void
mm_import(uint8_t *p, size_t len, unsigned int flags)
{
	assert_int_equal(mmem_import(mm.space, p, len, flags), 0);
}

void
mm_release(uint8_t *p)
{
	assert_int_equal(mmem_release(mm.space, p), 0);
}

void
mm_mute_log(bool on)
{
	rte_log_set_level_pattern("lib.mmem", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
}

void
mm_smmu_stick(bool on)
{
	struct smmuv3 *s = (struct smmuv3 *)mm.smmu->priv;

	mm_mute_log(on);
	rte_log_set_level_pattern("pmd.smmuv3", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
	s->timeout = on ? s->timeout / 20 : s->timeout * 20;
	smmuv3_model_knob(mm.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, on);
}

int
mm_set_pieces(void **state)
{
	(void)state;
	pieces_register();
	driver = "pieces";
	return 0;
}

int
mm_set_address(void **state)
{
	(void)state;
	driver = "smmuv3";
	return 0;
}
