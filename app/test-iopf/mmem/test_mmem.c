/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Managed memory, seen from both ends: by the CPU through its pointers and by a
 * device of the software SMMU. Its TLB forgets nothing by itself, so each missing
 * invalidation shows.
 */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_log.h>

#include "mmem.h"
#include "mmem_chunk.h"
#include "mmem_pool.h"
#include "mmem_space.h"
#include "pgtable.h"
#include "smmuv3_model.h"
#include "interpose.h"
#include "log_lines.h"
#include "pieces.h"
#include "test.h"

#define SID		8
#define PASID		3
#define PAGE		((size_t)4096)
#define CHUNK		MMEM_CHUNK_SIZE
#define NB_CHUNKS	16
#define RW		(MMEM_READ | MMEM_WRITE)
#define MAX_REPORTS	64
/* Nothing here takes a hundredth of it; a machine with much else to do may. */
#define PATIENCE_S	20

static struct rig {
	struct smmuv3_model *model;
	struct iopf_iommu *smmu;
	struct iopf_dev *dev;
	struct iopf_poller *poller;
	struct mmem_pool *pool;
	struct mmem_space *space;
	struct smmuv3_model_dma *dma;		/* without PASID */
	struct smmuv3_model_dma *dma_pasid;
	struct mmem_report reports[MAX_REPORTS];
	_Atomic unsigned int nb_reports;
} rig;

/* How memory is reached: at one address, or by pieces. */
static const char *driver = "smmuv3";

static uint8_t scratch[2 * MMEM_CHUNK_SIZE];

/* On the poll core, in the middle of a handler. */
static void (*in_handler)(void);

static void
on_report(struct mmem_space *space, const struct mmem_report *report, void *ctx)
{
	unsigned int n = atomic_load(&rig.nb_reports);

	assert_ptr_equal(space, rig.space);
	assert_ptr_equal(ctx, &rig);
	if (n < MAX_REPORTS)
		rig.reports[n] = *report;
	atomic_store(&rig.nb_reports, n + 1);
	if (in_handler != NULL)
		in_handler();
}

static struct mmem_pool *
make_pool(void)
{
	return mmem_pool_create(&(struct mmem_pool_conf){
			.name = "t", .iommu = rig.smmu, .size = NB_CHUNKS * CHUNK, .ahead = 2,
			.no_hugepages = true });
}

static struct mmem_space *
make_space(void)
{
	return mmem_space_create(&(struct mmem_space_conf){
			.name = "t", .pool = rig.pool, .report = on_report, .ctx = &rig });
}

static int
setup(void **state)
{
	static unsigned int serial;
	uint32_t sid = SID;
	char devstr[64];

	(void)state;
	memset(&rig, 0, sizeof(rig));
	in_handler = NULL;
	/* A test that failed leaves its model behind: the next has another. */
	snprintf(devstr, sizeof(devstr), "%s,model=mmem%u", driver, serial++);
	rig.model = smmuv3_model_create(&(struct smmuv3_model_conf){
			.name = strchr(devstr, '=') + 1, .choices = SMMUV3_MODEL_STICKY_TLB });
	assert_non_null(rig.model);
	rig.smmu = iopf_iommu_open(devstr);
	assert_non_null(rig.smmu);
	rig.pool = make_pool();
	assert_non_null(rig.pool);
	rig.space = make_space();
	assert_non_null(rig.space);
	rig.dev = iopf_dev_add(rig.smmu, &(struct iopf_dev_conf){
			.sids = &sid, .nb_sids = 1, .nb_pasids = PASID + 1 });
	assert_non_null(rig.dev);
	assert_int_equal(mmem_attach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(rig.space, rig.dev, PASID), 0);
	rig.poller = iopf_poller_create(NULL);
	assert_non_null(rig.poller);
	assert_int_equal(iopf_poller_add(rig.poller, rig.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_iommu_start(rig.smmu), 0);
	rig.dma = smmuv3_model_dma_create(rig.model,
			&(struct smmuv3_model_dma_conf){ .sid = SID });
	rig.dma_pasid = smmuv3_model_dma_create(rig.model,
			&(struct smmuv3_model_dma_conf){ .sid = SID, .has_ssid = true, .ssid = PASID });
	assert_non_null(rig.dma);
	assert_non_null(rig.dma_pasid);
	return 0;
}

static int
teardown(void **state)
{
	unsigned int i;

	(void)state;
	smmuv3_model_dma_destroy(rig.dma);
	smmuv3_model_dma_destroy(rig.dma_pasid);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(rig.space)), 0);
	assert_int_equal(mmem_detach(rig.space, rig.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_detach(rig.space, rig.dev, PASID), 0);
	assert_int_equal(smmuv3_model_stalls_outstanding(rig.model), 0);
	assert_int_equal(mmem_space_destroy(rig.space), 0);
	assert_int_equal(iopf_dev_remove(rig.dev), 0);
	assert_int_equal(mmem_pool_destroy(rig.pool), 0);
	assert_int_equal(iopf_poller_remove(rig.poller, rig.smmu, IOPF_QUEUE_ALL), 0);
	assert_int_equal(iopf_poller_destroy(rig.poller), 0);
	assert_int_equal(iopf_iommu_stop(rig.smmu), 0);
	assert_int_equal(iopf_iommu_close(rig.smmu), 0);
	for (i = 0; smmuv3_model_driver_error(rig.model, i) != NULL; i++)
		print_error("driver: %s\n", smmuv3_model_driver_error(rig.model, i));
	for (i = 0; smmuv3_model_oracle_error(rig.model, i) != NULL; i++)
		print_error("oracle: %s\n", smmuv3_model_oracle_error(rig.model, i));
	assert_int_equal(smmuv3_model_driver_errors(rig.model), 0);
	assert_int_equal(smmuv3_model_oracle_errors(rig.model), 0);
	smmuv3_model_destroy(rig.model);
	return 0;
}

/*
 * The device at work. This thread is the SMMU and the poll core, in turns.
 */

static void
turn(void)
{
	smmuv3_model_wait(rig.model);
	if (iopf_poll(rig.poller) == 0)
		sched_yield();
}

static void
submit(struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type, const void *addr, void *buf,
		size_t len)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = (uintptr_t)addr, .buf = buf, .len = len }), 0);
}

static struct smmuv3_model_done
await(struct smmuv3_model_dma *dma)
{
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(dma, &done, 1) == 0) {
		assert_true(rte_rdtsc() < end);
		turn();
	}
	return done;
}

static struct smmuv3_model_done
run(enum smmuv3_model_op_type type, const void *addr, void *buf, size_t len)
{
	submit(rig.dma, type, addr, buf, len);
	return await(rig.dma);
}

static struct smmuv3_model_done
dev_read(const void *addr, void *buf, size_t len)
{
	return run(SMMUV3_MODEL_READ, addr, buf, len);
}

static struct smmuv3_model_done
dev_write(const void *addr, const void *buf, size_t len)
{
	return run(SMMUV3_MODEL_WRITE, addr, (void *)(uintptr_t)buf, len);
}

static void
dev_set(const void *addr, uint8_t byte, size_t len)
{
	struct smmuv3_model_done done;

	memset(scratch, byte, len);
	done = dev_write(addr, scratch, len);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
}

/* What the device reads is this byte throughout. */
static void
dev_expect(const void *addr, uint8_t byte, size_t len)
{
	struct smmuv3_model_done done;
	size_t i;

	memset(scratch, ~byte, len);
	done = dev_read(addr, scratch, len);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	for (i = 0; i < len; i++)
		if (scratch[i] != byte)
			fail_msg("byte %zu is 0x%02x, not 0x%02x", i, scratch[i], byte);
}

static void
cpu_expect(const uint8_t *p, uint8_t byte, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != byte)
			fail_msg("byte %zu is 0x%02x, not 0x%02x", i, p[i], byte);
}

static uint64_t
stat_of(enum mmem_stat stat)
{
	return mmem_stat(rig.space, stat);
}

static uint64_t
faults(void)
{
	return iopf_domain_stat(mmem_space_domain(rig.space), IOPF_STAT_FAULTS);
}

/* The last report says this. */
static void
expect_report(const void *addr, uint32_t pasid, uint8_t perm, int error)
{
	unsigned int n = atomic_load(&rig.nb_reports);
	const struct mmem_report *report = &rig.reports[n - 1];

	assert_in_range(n, 1, MAX_REPORTS);
	assert_ptr_equal(report->dev, rig.dev);
	assert_int_equal(report->pasid, pasid);
	assert_int_equal(report->addr, (uintptr_t)addr);
	assert_int_equal(report->perm & (IOPF_PERM_READ | IOPF_PERM_WRITE | IOPF_PERM_EXEC), perm);
	assert_int_equal(report->error, error);
}

static uint8_t *
alloc(size_t size, unsigned int flags)
{
	uint8_t *p = mmem_alloc(rig.space, size, flags);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % CHUNK, 0);
	return p;
}

/* Errors made on purpose need not be read by people. */
static void
quiet(bool on)
{
	rte_log_set_level_pattern("lib.mmem", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_NOTICE);
}

/*
 * Contents
 */

static void
test_cpu_and_device_share_pointer_and_bytes(void **state)
{
	uint8_t *buf = alloc(3 * CHUNK + 5 * PAGE, RW);

	(void)state;
	memset(buf + PAGE, 0xa5, PAGE);
	dev_expect(buf, 0, PAGE);
	dev_expect(buf + PAGE, 0xa5, PAGE);
	dev_set(buf + 2 * CHUNK - 100, 0x5a, 200);
	cpu_expect(buf + 2 * CHUNK - 100, 0x5a, 200);
	cpu_expect(buf + 2 * CHUNK + 100, 0, CHUNK);
	dev_set(buf + 3 * CHUNK + 4 * PAGE, 0x11, PAGE);
	cpu_expect(buf + 3 * CHUNK + 4 * PAGE, 0x11, PAGE);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 5);
	assert_int_equal(atomic_load(&rig.nb_reports), 0);
}

static void
test_memory_is_zero_after_reuse(void **state)
{
	uint8_t *first = alloc(CHUNK + PAGE, RW), *again;

	(void)state;
	dev_set(first, 0xff, CHUNK + PAGE);
	assert_int_equal(mmem_free(rig.space, first), 0);
	again = alloc(2 * CHUNK, RW);
	assert_ptr_equal(again, first);
	cpu_expect(again, 0, CHUNK);
	dev_expect(again + CHUNK, 0, CHUNK);
}

static void
test_memory_is_zeroed_inline_at_the_first_fault_only(void **state)
{
	uint8_t *first = alloc(CHUNK, RW | MMEM_ZERO_INLINE), *again;

	(void)state;
	dev_set(first, 0xff, CHUNK);
	assert_int_equal(stat_of(MMEM_STAT_ZEROED), 0);
	assert_int_equal(mmem_free(rig.space, first), 0);

	again = alloc(CHUNK, RW | MMEM_ZERO_INLINE);
	assert_ptr_equal(again, first);
	dev_set(again + 7, 0x77, 1);
	dev_expect(again, 0, 7);
	dev_expect(again + 8, 0, PAGE - 8);
	assert_int_equal(stat_of(MMEM_STAT_ZEROED), 1);
	/* A second first fault of the page must not take the device's byte. */
	assert_int_equal(mmem_unmap(rig.space, again, PAGE), 0);
	dev_expect(again + 7, 0x77, 1);
	assert_int_equal(stat_of(MMEM_STAT_ZEROED), 1);
	/* The other ways to a page. */
	assert_int_equal(mmem_prefetch(rig.space, again + PAGE, PAGE), 0);
	cpu_expect(again + PAGE, 0, PAGE);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)again + 2 * PAGE, IOPF_PERM_READ), 0);
	cpu_expect(again + 2 * PAGE, 0, PAGE);
	assert_int_equal(stat_of(MMEM_STAT_ZEROED), 3);
	assert_int_equal(mmem_free(rig.space, again), 0);

	/* Who did not ask for it gets zeroes from the start. */
	again = alloc(CHUNK, RW);
	assert_ptr_equal(again, first);
	cpu_expect(again, 0, CHUNK);
	dev_expect(again, 0, CHUNK);
	assert_int_equal(stat_of(MMEM_STAT_ZEROED), 3);
}

static int
make_file(char *path, size_t size, uint8_t **bytes)
{
	int fd = mkstemp(path);
	size_t i;

	assert_true(fd >= 0);
	*bytes = malloc(size);
	assert_non_null(*bytes);
	for (i = 0; i < size; i++)
		(*bytes)[i] = (i * 2654435761u) >> 13;
	assert_int_equal(write(fd, *bytes, size), size);
	return fd;
}

static void
test_file_backed_bytes_equal_the_file_and_zero_beyond_it(void **state)
{
	const size_t size = 2 * CHUNK + 3 * PAGE + 123, offset = 2 * PAGE;
	const size_t len = size - offset;
	char path[] = "test-iopf-XXXXXX";
	uint8_t *bytes, *got, *p;
	uint8_t byte;
	int fd;

	(void)state;
	fd = make_file(path, size, &bytes);
	p = mmem_map_file(rig.space, path, offset, 2 * CHUNK + 6 * PAGE, RW);
	assert_int_equal(unlink(path), 0);
	assert_non_null(p);
	got = malloc(len);
	assert_non_null(got);
	assert_int_equal(dev_read(p, got, len).status, SMMUV3_MODEL_OK);
	assert_memory_equal(got, bytes + offset, len);
	assert_memory_equal(p, bytes + offset, len);
	dev_expect(p + len, 0, 2 * CHUNK + 6 * PAGE - len);
	assert_int_equal(stat_of(MMEM_STAT_FILLED), (2 * CHUNK + 6 * PAGE) / PAGE);
	/* Writes stay in memory. */
	dev_set(p, bytes[offset] ^ 0xff, 1);
	assert_int_equal(pread(fd, &byte, 1, offset), 1);
	assert_int_equal(byte, bytes[offset]);
	assert_int_equal(mmem_free(rig.space, p), 0);
	close(fd);
	free(got);
	free(bytes);
}

static void
test_a_file_that_cannot_be_mapped_says_why(void **state)
{
	(void)state;
	quiet(true);
	assert_null(mmem_map_file(rig.space, "test-iopf-no-such-file", 0, PAGE, RW));
	assert_int_equal(rte_errno, ENOENT);
	assert_null(mmem_map_file(rig.space, ".", 0, PAGE, RW));
	assert_int_equal(rte_errno, EISDIR);
	assert_null(mmem_map_file(rig.space, "/dev/null", 0, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(rig.space, "/proc/self/exe", 1, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(rig.space, "/proc/self/exe", 0, PAGE, 0));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_map_file(rig.space, NULL, 0, PAGE, RW));
	assert_int_equal(rte_errno, EINVAL);
	quiet(false);
}

/*
 * What is taken from a device
 */

static void
test_unmap_is_a_promise(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW);
	struct smmuv3_model_done done;
	uint64_t before;

	(void)state;
	dev_set(buf, 0x42, 3 * PAGE);
	before = faults();
	assert_int_equal(dev_read(buf, scratch, PAGE).nb_stalls, 0);
	assert_int_equal(mmem_unmap(rig.space, buf, 2 * PAGE), 0);
	assert_int_equal(stat_of(MMEM_STAT_UNMAPPED), 2);
	assert_int_equal(faults(), before);

	done = dev_read(buf, scratch, PAGE);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(faults(), before + 1);
	dev_expect(buf, 0x42, 3 * PAGE);
	/* What was not unmapped did not fault. */
	assert_int_equal(faults(), before + 2);

	assert_int_equal(mmem_free(rig.space, buf), 0);
	done = dev_read(buf + PAGE + 8, scratch, 4);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&rig.nb_reports), 1);
	expect_report(buf + PAGE + 8, IOPF_NO_PASID, IOPF_PERM_READ, -EFAULT);
	assert_int_equal(dev_write(buf, scratch, 4).status, SMMUV3_MODEL_ABORTED);
	expect_report(buf, IOPF_NO_PASID, IOPF_PERM_WRITE, -EFAULT);
	assert_int_equal(stat_of(MMEM_STAT_NO_REGION), 2);
}

static void
test_protect_takes_and_gives(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW);

	(void)state;
	dev_set(buf, 1, 3 * PAGE);
	assert_int_equal(mmem_protect(rig.space, buf + PAGE, PAGE, MMEM_READ), 0);
	dev_set(buf, 2, PAGE);
	dev_set(buf + 2 * PAGE, 2, PAGE);
	dev_expect(buf + PAGE, 1, PAGE);
	assert_int_equal(dev_write(buf + PAGE, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	expect_report(buf + PAGE, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	assert_int_equal(stat_of(MMEM_STAT_FORBIDDEN), 1);

	assert_int_equal(mmem_protect(rig.space, buf + PAGE, PAGE, 0), 0);
	assert_int_equal(dev_read(buf + PAGE, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	expect_report(buf + PAGE, IOPF_NO_PASID, IOPF_PERM_READ, -EACCES);
	cpu_expect(buf + PAGE, 1, PAGE);

	assert_int_equal(mmem_protect(rig.space, buf + PAGE, PAGE, MMEM_WRITE), 0);
	dev_expect(buf + PAGE, 1, PAGE);
	dev_set(buf + PAGE, 3, PAGE);
	assert_int_equal(stat_of(MMEM_STAT_FORBIDDEN), 2);
	assert_int_equal(atomic_load(&rig.nb_reports), 2);
}

static void
test_permission_upgrade_is_one_batch(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct iopf_domain *domain = mmem_space_domain(rig.space);
	struct smmuv3_model_done done;
	uint64_t batches, syncs;

	(void)state;
	dev_expect(buf, 0, PAGE);
	batches = smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_CMDQ_BATCHES);
	syncs = smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_SYNCS);
	done = dev_write(buf, "x", 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_AFTER_INV), 1);
	assert_int_equal(smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_CMDQ_BATCHES),
			batches + 1);
	assert_int_equal(smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_SYNCS), syncs + 1);
	assert_int_equal(dev_write(buf + 1, "y", 1).nb_stalls, 0);
	assert_memory_equal(buf, "xy", 2);
}

static void
test_tracked_writes_are_seen_page_by_page(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_TRACK_WRITES);
	unsigned int round;

	(void)state;
	for (round = 1; round <= 3; round++) {
		dev_expect(buf + 8 * PAGE, 0, 8 * PAGE);
		dev_set(buf, round, 4 * PAGE);
		dev_set(buf, round, 4 * PAGE);
		dev_set(buf + 8 * PAGE, 0, PAGE);
		/* Again from the start: reads stay mapped, each first write is seen. */
		assert_int_equal(mmem_protect(rig.space, buf, CHUNK, RW | MMEM_TRACK_WRITES), 0);
		if (round == 1)	/* of unmapped pages the first access is a write */
			assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1);
		else
			assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1 + (round - 1) * 5);
	}
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 12);
}

/*
 * What is refused
 */

static void
test_access_outside_every_region_is_invalid_and_reported(void **state)
{
	uint8_t *buf = alloc(CHUNK + PAGE, RW);
	uint8_t *where[] = {
		(uint8_t *)0x1000,		/* far from the pool */
		buf - PAGE,			/* before it, or another's */
		buf + CHUNK + PAGE,		/* behind the end, in the same chunk */
		buf + 2 * CHUNK,		/* a free chunk */
		buf + NB_CHUNKS * CHUNK,
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(where); i++) {
		submit(rig.dma_pasid, SMMUV3_MODEL_WRITE, where[i], scratch, 8);
		assert_int_equal(await(rig.dma_pasid).status, SMMUV3_MODEL_ABORTED);
		expect_report(where[i], PASID, IOPF_PERM_WRITE, -EFAULT);
	}
	assert_int_equal(atomic_load(&rig.nb_reports), RTE_DIM(where));
	assert_int_equal(stat_of(MMEM_STAT_NO_REGION), RTE_DIM(where));
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 0);
}

static void
test_write_to_a_read_only_region_is_invalid(void **state)
{
	uint8_t *buf = alloc(CHUNK, MMEM_READ);

	(void)state;
	assert_int_equal(dev_write(buf, "x", 1).status, SMMUV3_MODEL_ABORTED);
	expect_report(buf, IOPF_NO_PASID, IOPF_PERM_WRITE, -EACCES);
	buf[1] = 0x99;		/* the CPU may */
	dev_expect(buf + 1, 0x99, 1);
	/* Mapped now; refused by the entry, not by its absence. */
	assert_int_equal(dev_write(buf, "x", 1).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(stat_of(MMEM_STAT_FORBIDDEN), 2);
	assert_int_equal(buf[0], 0);
}

static void
test_a_space_does_not_reach_the_regions_of_another(void **state)
{
	struct mmem_space *other = make_space();
	uint8_t *buf, *theirs;

	(void)state;
	assert_non_null(other);
	buf = alloc(CHUNK, RW);
	theirs = mmem_alloc(other, CHUNK, RW);
	assert_non_null(theirs);
	assert_ptr_not_equal(buf, theirs);
	dev_set(buf, 1, 8);
	assert_int_equal(dev_read(theirs, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_free(rig.space, theirs), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, theirs, PAGE), -EINVAL);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)theirs, IOPF_PERM_READ), -EFAULT);
	assert_int_equal(mmem_resolve(other, (uintptr_t)theirs, IOPF_PERM_READ), 0);
	/* With its region. */
	assert_int_equal(mmem_space_destroy(other), 0);
	assert_ptr_equal(mmem_alloc(rig.space, CHUNK, RW), theirs);
}

/*
 * Pagers
 */

struct test_pager {
	_Atomic int error;
	_Atomic unsigned int fills;
	_Atomic unsigned int releases;
	_Atomic bool block;
	_Atomic bool inside;
	_Atomic size_t len;
};

static int
test_fill(void *ctx, uint64_t offset, void *dst, size_t len)
{
	struct test_pager *pager = ctx;
	int error = atomic_load(&pager->error);

	atomic_store(&pager->inside, true);
	while (atomic_load(&pager->block))
		sched_yield();
	atomic_store(&pager->len, len);
	atomic_fetch_add(&pager->fills, 1);
	if (error == 0)
		memset(dst, 0x10 + offset / CHUNK, len);
	atomic_store(&pager->inside, false);
	return error;
}

static void
test_release(void *ctx)
{
	struct test_pager *pager = ctx;

	assert_false(atomic_load(&pager->inside));
	atomic_fetch_add(&pager->releases, 1);
}

static uint8_t *
alloc_paged(struct test_pager *pager, size_t size)
{
	uint8_t *p = mmem_alloc_paged(rig.space, size, RW, &(struct mmem_pager){
			.fill = test_fill, .release = test_release, .ctx = pager });

	assert_non_null(p);
	return p;
}

static void
test_pager_fills_a_chunk_once(void **state)
{
	struct test_pager pager = { 0 };
	uint8_t *buf = alloc_paged(&pager, CHUNK + 3 * PAGE);

	(void)state;
	dev_expect(buf + 5 * PAGE, 0x10, PAGE);
	dev_expect(buf, 0x10, CHUNK);
	assert_int_equal(atomic_load(&pager.fills), 1);
	assert_int_equal(atomic_load(&pager.len), CHUNK);
	dev_expect(buf + CHUNK, 0x11, 3 * PAGE);
	assert_int_equal(atomic_load(&pager.fills), 2);
	assert_int_equal(atomic_load(&pager.len), 3 * PAGE);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 2);
	/* Unmapping takes pages, not bytes. */
	dev_set(buf, 0x33, 1);
	assert_int_equal(mmem_unmap(rig.space, buf, CHUNK), 0);
	dev_expect(buf, 0x33, 1);
	assert_int_equal(atomic_load(&pager.fills), 2);
	assert_int_equal(mmem_free(rig.space, buf), 0);
	assert_int_equal(atomic_load(&pager.releases), 1);
}

static void
test_pager_failure_is_invalid_and_tried_again(void **state)
{
	struct test_pager pager = { .error = -EREMOTEIO };
	uint8_t *buf = alloc_paged(&pager, CHUNK);

	(void)state;
	quiet(true);
	assert_int_equal(dev_read(buf + 16, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	expect_report(buf + 16, IOPF_NO_PASID, IOPF_PERM_READ, -EIO);
	assert_int_equal(mmem_prefetch(rig.space, buf, PAGE), -EIO);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)buf, IOPF_PERM_READ), -EIO);
	assert_int_equal(atomic_load(&pager.fills), 3);
	assert_int_equal(stat_of(MMEM_STAT_FAILED), 2);
	quiet(false);
	atomic_store(&pager.error, 0);
	dev_expect(buf, 0x10, CHUNK);
	assert_int_equal(atomic_load(&pager.fills), 4);
	assert_int_equal(mmem_free(rig.space, buf), 0);
}

/* Faults that came before the pager failed share its answer: it is asked once. */
static void
test_pager_failure_answers_all_that_wait(void **state)
{
	struct test_pager pager = { .error = -EREMOTEIO, .block = true };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	unsigned int i;

	(void)state;
	quiet(true);
	for (i = 0; i < 32; i++)
		submit(rig.dma, SMMUV3_MODEL_READ, buf + i * PAGE, scratch, 8);
	while (stat_of(MMEM_STAT_DEFERRED) < 32)
		turn();
	atomic_store(&pager.block, false);
	for (i = 0; i < 32; i++)
		assert_int_equal(await(rig.dma).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(atomic_load(&pager.fills), 1);
	assert_int_equal(atomic_load(&rig.nb_reports), 32);
	quiet(false);
	assert_int_equal(mmem_free(rig.space, buf), 0);
}

/* A device that tries again and again does not fill the log with its pager's failures. */
static void
test_pager_failures_do_not_fill_the_log(void **state)
{
	enum { TIMES = 300 };
	struct test_pager pager = { .error = -EREMOTEIO };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	uint64_t began = rte_get_tsc_cycles(), seconds;
	FILE *before = rte_log_get_stream();
	unsigned int lines = 0;
	char *text = NULL;
	const char *at;
	size_t len;
	FILE *log = open_memstream(&text, &len);

	(void)state;
	assert_non_null(log);
	rte_openlog_stream(log);
	for (unsigned int i = 0; i < TIMES; i++)
		assert_int_equal(dev_read(buf, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	/* The region's last thread has written its line when it is free. */
	assert_int_equal(mmem_free(rig.space, buf), 0);
	rte_openlog_stream(before == stderr ? NULL : before);
	fclose(log);
	seconds = (rte_get_tsc_cycles() - began) / rte_get_tsc_hz() + 1;
	for (at = text; (at = strstr(at, "pager failed")) != NULL; at++)
		lines++;
	assert_null(strstr(text, "(0 lines"));
	free(text);
	assert_int_equal(atomic_load(&pager.fills), TIMES);
	assert_true(lines >= 1);
	assert_true(lines <= (seconds + 1) * IOPF_LOG_LINES_PER_S);
	assert_int_equal(lines + stat_of(MMEM_STAT_LOG_LEFT_OUT), TIMES);
	assert_int_equal(stat_of(MMEM_STAT_FAILED), TIMES);
}

static void *
free_main(void *buf)
{
	return (void *)(intptr_t)mmem_free(rig.space, buf);
}

/* A fault is waiting for its bytes when its region goes: unmap wins. */
static void
test_free_waits_for_the_pager_and_wins(void **state)
{
	struct test_pager pager = { .block = true };
	uint8_t *buf = alloc_paged(&pager, CHUNK);
	pthread_t thread;
	unsigned int i;
	void *rc;

	(void)state;
	submit(rig.dma, SMMUV3_MODEL_READ, buf, scratch, 8);
	while (!atomic_load(&pager.inside))
		turn();
	assert_int_equal(pthread_create(&thread, NULL, free_main, buf), 0);
	/* The thread has begun when the region is hidden. */
	while (atomic_load(&rig.space->chunks[(buf - (uint8_t *)rig.space->mem) /
			CHUNK].space) != NULL)
		turn();
	for (i = 0; i < 1000; i++)
		turn();
	assert_int_equal(atomic_load(&pager.releases), 0);
	atomic_store(&pager.block, false);
	assert_int_equal(await(rig.dma).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pthread_join(thread, &rc), 0);
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(atomic_load(&pager.releases), 1);
	expect_report(buf, IOPF_NO_PASID, IOPF_PERM_READ, -EFAULT);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 0);
}

/*
 * Ahead of the device
 */

static void
test_prefetch_makes_no_faults(void **state)
{
	struct test_pager pager = { 0 };
	uint8_t *buf = alloc_paged(&pager, 2 * CHUNK), *zeroes = alloc(CHUNK, RW);

	(void)state;
	assert_int_equal(mmem_prefetch(rig.space, buf + PAGE, 2 * CHUNK - PAGE), 0);
	assert_int_equal(mmem_prefetch(rig.space, zeroes, CHUNK), 0);
	assert_int_equal(stat_of(MMEM_STAT_PREFETCHED), 3 * CHUNK / PAGE - 1);
	dev_expect(buf + PAGE, 0x10, CHUNK - PAGE);
	dev_expect(buf + CHUNK, 0x11, CHUNK);
	dev_set(zeroes, 5, CHUNK);
	assert_int_equal(faults(), 0);
	/* Once more costs nothing and changes nothing. */
	assert_int_equal(mmem_prefetch(rig.space, zeroes, CHUNK), 0);
	assert_int_equal(stat_of(MMEM_STAT_PREFETCHED), 3 * CHUNK / PAGE - 1);
	assert_int_equal(mmem_prefetch(rig.space, buf + PAGE, 2 * CHUNK), -EINVAL);
	assert_int_equal(mmem_free(rig.space, buf), 0);
}

static void
test_populated_memory_defers_nothing(void **state)
{
	uint8_t *buf = alloc(4 * CHUNK, RW | MMEM_POPULATE);
	size_t off;

	(void)state;
	for (off = 0; off < 4 * CHUNK; off += CHUNK / 2)
		dev_set(buf + off, 1, 8);
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 8);
}

/* It has memory, without any access to it. */
static void
await_chunk(const uint8_t *p)
{
	struct mmem_chunk *chunk = &rig.pool->chunks[(p - rig.pool->mem) / CHUNK];
	uint64_t end = rte_rdtsc() + PATIENCE_S * rte_get_tsc_hz();

	while (!(atomic_load(&chunk->state) & CHUNK_POPULATED)) {
		assert_true(rte_rdtsc() < end);
		usleep(100);
	}
}

static void
test_chunks_ahead_are_populated_before_they_are_touched(void **state)
{
	uint8_t *buf = alloc(8 * CHUNK, RW);
	unsigned int i;

	(void)state;
	/* However slow the control thread, it is one chunk ahead some day. */
	for (i = 0; i < 8; i++) {
		await_chunk(buf + i * CHUNK);
		dev_set(buf + i * CHUNK, 1, 8);
	}
	assert_int_equal(stat_of(MMEM_STAT_DEFERRED), 0);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 8);
}

static void
test_a_storm_on_a_page_maps_it_once(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct smmuv3_model_done done;
	unsigned int i;

	(void)state;
	for (i = 0; i < 64; i++)
		submit(rig.dma, SMMUV3_MODEL_READ, buf + i * 8, scratch + i * 8, 8);
	for (i = 0; i < 64; i++)
		assert_int_equal(await(rig.dma).status, SMMUV3_MODEL_OK);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 1);
	for (i = 0; i < 64; i++)
		submit(rig.dma, SMMUV3_MODEL_WRITE, buf + i * 8, scratch + i * 8, 8);
	for (i = 0; i < 64; i++) {
		done = await(rig.dma);
		assert_int_equal(done.status, SMMUV3_MODEL_OK);
		/* Not sent back to an entry that the SMMU still remembers. */
		assert_in_range(done.nb_stalls, 0, 1);
	}
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1);
	assert_int_equal(atomic_load(&rig.nb_reports), 0);
}

/*
 * By hand
 */

static void
test_resolve_by_hand_says_what_a_fault_would(void **state)
{
	uint8_t *buf = alloc(CHUNK, MMEM_READ), *rw = alloc(CHUNK, RW | MMEM_TRACK_WRITES);

	(void)state;
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)buf + 5, IOPF_PERM_READ), 0);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)buf + 9, IOPF_PERM_READ), 0);
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 1);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)buf, IOPF_PERM_WRITE), -EACCES);
	assert_int_equal(rte_errno, EACCES);
	assert_int_equal(mmem_resolve(rig.space, 4096, IOPF_PERM_READ), -EFAULT);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)rw, IOPF_PERM_READ), 0);
	assert_int_equal(mmem_resolve(rig.space, (uintptr_t)rw, IOPF_PERM_WRITE), 0);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 1);
	dev_expect(buf, 0, PAGE);
	dev_set(rw, 1, PAGE);
	assert_int_equal(faults(), 0);
	assert_int_equal(atomic_load(&rig.nb_reports), 0);
}

/*
 * Life
 */

static void
test_a_full_pool_says_so_and_recovers(void **state)
{
	uint8_t *p[NB_CHUNKS] = { NULL };
	unsigned int i, n;

	(void)state;
	quiet(true);
	assert_null(mmem_alloc(rig.space, (NB_CHUNKS + 1) * CHUNK, RW));
	assert_int_equal(rte_errno, ENOMEM);
	for (n = 0; n < NB_CHUNKS; n++) {
		p[n] = mmem_alloc(rig.space, PAGE, RW);
		if (p[n] == NULL)
			break;
	}
	/* The tables took one. */
	assert_int_equal(rte_errno, ENOMEM);
	assert_int_equal(n, NB_CHUNKS - 1);
	for (i = 0; i < n; i++)
		dev_set(p[i], i, PAGE);
	for (i = 0; i < n; i++)
		cpu_expect(p[i], i, PAGE);
	assert_int_equal(mmem_free(rig.space, p[3]), 0);
	assert_null(mmem_alloc(rig.space, 2 * CHUNK, RW));
	assert_int_equal(mmem_free(rig.space, p[4]), 0);
	assert_ptr_equal(mmem_alloc(rig.space, 2 * CHUNK, RW), p[3]);
	dev_expect(p[3], 0, 2 * CHUNK);
	quiet(false);
}

static void
test_what_is_in_use_is_not_destroyed(void **state)
{
	(void)state;
	quiet(true);
	assert_int_equal(mmem_pool_destroy(rig.pool), -EBUSY);
	assert_int_equal(mmem_space_destroy(rig.space), -EBUSY);
	quiet(false);
	dev_set(alloc(CHUNK, RW), 1, PAGE);
}

/* ... with one line each. */
static void
test_what_is_refused_says_why_in_one_line(void **state)
{
	uint8_t *buf = alloc(3 * PAGE, RW);

	(void)state;
	SAYS("a region of 0 bytes", assert_null(mmem_alloc(rig.space, 0, RW)));
	SAYS("flags 0x0 of a region", assert_null(mmem_alloc(rig.space, PAGE, 0)));
	SAYS("flags 0x80000003", assert_null(mmem_alloc(rig.space, PAGE, RW | 1u << 31)));
	SAYS("larger than the pool",
		assert_null(mmem_alloc(rig.space, (NB_CHUNKS + 1) * CHUNK, RW)));
	SAYS("free chunks of 2 MiB in a row",
		assert_null(mmem_alloc(rig.space, NB_CHUNKS * CHUNK, RW)));
	assert_int_equal(rte_errno, ENOMEM);
	SAYS("a pager is needed", assert_null(mmem_alloc_paged(rig.space, PAGE, RW, NULL)));
	/* Lines of one space are limited: another second. */
	memset(&rig.space->log, 0, sizeof(rig.space->log));
	SAYS("no region begins at", assert_int_equal(mmem_free(rig.space, buf + PAGE), -EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_unmap(rig.space, buf, PAGE + 1),
			-EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_protect(rig.space, buf, 4 * PAGE, RW),
			-EINVAL));
	SAYS("no range of a region", assert_int_equal(mmem_prefetch(rig.space, buf, 0), -EINVAL));
	SAYS("flags 0x20 to protect with", assert_int_equal(mmem_protect(rig.space, buf, PAGE,
			MMEM_POPULATE), -EINVAL));
	SAYS("a regular file or a block device",
		assert_null(mmem_map_file(rig.space, "/dev/null", 0, PAGE, RW)));
	SAYS("from offset 1", assert_null(mmem_map_file(rig.space, "/proc/self/exe", 1, PAGE, RW)));
	assert_int_equal(mmem_free(rig.space, buf), 0);
}

static void
test_arguments_out_of_range_are_refused(void **state)
{
	uint8_t *buf = alloc(3 * PAGE, RW);
	int inside;

	(void)state;
	quiet(true);
	assert_null(mmem_pool_create(NULL));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_pool_create(&(struct mmem_pool_conf){ .size = CHUNK }));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_pool_create(&(struct mmem_pool_conf){
			.iommu = rig.smmu, .size = CHUNK + PAGE }));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_space_create(NULL));
	assert_int_equal(rte_errno, EINVAL);

	assert_null(mmem_alloc(rig.space, 0, RW));
	assert_int_equal(rte_errno, EINVAL);
	assert_null(mmem_alloc(rig.space, SIZE_MAX, RW));
	assert_int_equal(rte_errno, ENOMEM);
	assert_null(mmem_alloc(rig.space, PAGE, 0));
	assert_null(mmem_alloc(rig.space, PAGE, RW | 1u << 31));
	assert_null(mmem_alloc_paged(rig.space, PAGE, RW, NULL));
	assert_null(mmem_alloc_paged(rig.space, PAGE, RW, &(struct mmem_pager){ 0 }));

	assert_int_equal(mmem_free(rig.space, NULL), -EINVAL);
	assert_int_equal(mmem_free(rig.space, buf + PAGE), -EINVAL);
	assert_int_equal(mmem_free(rig.space, buf + CHUNK), -EINVAL);
	assert_int_equal(mmem_free(rig.space, &inside), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, buf + 1, PAGE), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, buf, PAGE + 1), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, buf, 0), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, buf, 4 * PAGE), -EINVAL);
	assert_int_equal(mmem_unmap(rig.space, buf + PAGE, SIZE_MAX & ~(PAGE - 1)), -EINVAL);
	assert_int_equal(mmem_protect(rig.space, buf, PAGE, MMEM_POPULATE), -EINVAL);
	assert_int_equal(mmem_protect(rig.space, buf + 2 * PAGE, 2 * PAGE, RW), -EINVAL);
	assert_int_equal(mmem_prefetch(rig.space, buf, 0), -EINVAL);
	assert_int_equal(mmem_prefetch(rig.space, buf + CHUNK, PAGE), -EINVAL);
	assert_int_equal(mmem_free(rig.space, buf), 0);
	assert_int_equal(mmem_free(rig.space, buf), -EINVAL);
	quiet(false);
}

static void
test_counters_have_names(void **state)
{
	unsigned int i, j;

	(void)state;
	for (i = 0; i < MMEM_NB_STATS; i++) {
		assert_non_null(mmem_stat_name(i));
		for (j = 0; j < i; j++)
			assert_string_not_equal(mmem_stat_name(i), mmem_stat_name(j));
	}
	assert_string_equal(mmem_stat_name(MMEM_NB_STATS), "?");
	assert_int_equal(mmem_stat(rig.space, MMEM_NB_STATS), 0);
}

static struct {
	uint8_t *buf;
	int (*change)(uint8_t *buf);
	_Atomic bool started, done;
	pthread_t thread;
} changer;

static int
change_free(uint8_t *buf)
{
	return mmem_free(rig.space, buf);
}

static int
change_protect(uint8_t *buf)
{
	return mmem_protect(rig.space, buf, PAGE, MMEM_READ);
}

static int
change_unmap(uint8_t *buf)
{
	return mmem_unmap(rig.space, buf, CHUNK);
}

static void *
changer_main(void *arg)
{
	(void)arg;
	atomic_store(&changer.started, true);
	assert_int_equal(changer.change(changer.buf), 0);
	atomic_store(&changer.done, true);
	return NULL;
}

static void
changer_start(uint8_t *buf, int (*change)(uint8_t *buf))
{
	changer.buf = buf;
	changer.change = change;
	atomic_store(&changer.started, false);
	atomic_store(&changer.done, false);
	assert_int_equal(pthread_create(&changer.thread, NULL, changer_main, NULL), 0);
}

static void
changer_join(void)
{
	while (!atomic_load(&changer.done))
		turn();
	assert_int_equal(pthread_join(changer.thread, NULL), 0);
}

/* A handler may have seen the old rights: until it has returned, the change has not. */
static void
change_in_handler(void)
{
	unsigned int i;

	in_handler = NULL;
	pthread_create(&changer.thread, NULL, changer_main, NULL);
	while (!atomic_load(&changer.started))
		sched_yield();
	for (i = 0; i < 20 && !atomic_load(&changer.done); i++)
		usleep(2000);
	assert_false(atomic_load(&changer.done));
}

static void
test_free_and_protect_wait_for_running_handlers(void **state)
{
	int (*change[])(uint8_t *) = { change_protect, change_free };
	unsigned int i;

	(void)state;
	changer.buf = alloc(CHUNK, RW);
	for (i = 0; i < RTE_DIM(change); i++) {
		changer.change = change[i];
		atomic_store(&changer.started, false);
		atomic_store(&changer.done, false);
		in_handler = change_in_handler;
		assert_int_equal(dev_read((void *)PAGE, scratch, 8).status, SMMUV3_MODEL_ABORTED);
		changer_join();
	}
}

static enum pgt_state
state_of(const void *p)
{
	struct pgt_leaf leaf;

	assert_int_equal(pgt_walk(rig.space->pgt, (uintptr_t)p, &leaf), 0);
	return leaf.state;
}

/*
 * Another core has raised the rights of the entry, and its invalidation is not out
 * yet. To send the device back would be to send it back in vain.
 */
static void
test_a_fault_behind_an_upgrade_is_answered_after_an_invalidation(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_TRACK_WRITES | MMEM_POPULATE);
	struct smmuv3_model_done done;
	struct pgt_unmapped out;
	struct pgt_inv inv;

	(void)state;
	dev_expect(buf, 0, PAGE);
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_protect(rig.space->pgt, (uintptr_t)buf, PAGE, PGT_READ | PGT_WRITE,
			&out), 0);
	done = dev_write(buf, "x", 1);
	assert_int_equal(done.status, SMMUV3_MODEL_OK);
	assert_int_equal(done.nb_stalls, 1);
	assert_int_equal(stat_of(MMEM_STAT_JOINED), 1);
	assert_int_equal(stat_of(MMEM_STAT_UPGRADED), 0);
}

/*
 * A fault on a page that is being unmapped, between its entry's end and the end of
 * the invalidation: it waits on a worker, and nothing is mapped before.
 */
static void
test_a_fault_during_unmap_waits_for_its_end(void **state)
{
	uint8_t *buf = alloc(CHUNK, RW | MMEM_POPULATE);

	(void)state;
	dev_set(buf, 1, PAGE);
	/* So that the event is read while the unmap waits for the SMMU. */
	submit(rig.dma, SMMUV3_MODEL_READ, buf + PAGE, scratch, 8);
	while (smmuv3_model_stalls_outstanding(rig.model) == 0)
		smmuv3_model_wait(rig.model);
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	changer_start(buf, change_unmap);
	while (state_of(buf + PAGE) != PGT_CLOSED)
		sched_yield();
	while (stat_of(MMEM_STAT_DEFERRED) == 0)
		turn();
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 1);
	assert_false(atomic_load(&changer.done));
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	assert_int_equal(await(rig.dma).status, SMMUV3_MODEL_OK);
	changer_join();
	assert_int_equal(stat_of(MMEM_STAT_MAPPED), 2);
	dev_expect(buf, 1, PAGE);
}

/* Each allocation of a call fails in turn; then it says so, and nothing is left behind. */
static bool
make_all(void)
{
	struct mmem_space *space = NULL;
	struct mmem_pool *pool;
	void *p = NULL;
	bool made;

	pool = make_pool();
	if (pool != NULL)
		space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	if (space != NULL)
		p = mmem_map_file(space, "/proc/self/exe", 0, CHUNK, MMEM_READ);
	made = p != NULL;
	interpose_fail(0);
	if (!made)
		assert_true(rte_errno == ENOMEM || rte_errno == EAGAIN);
	if (p != NULL)
		assert_int_equal(mmem_free(space, p), 0);
	if (space != NULL)
		assert_int_equal(mmem_space_destroy(space), 0);
	if (pool != NULL)
		assert_int_equal(mmem_pool_destroy(pool), 0);
	return made;
}

static void
test_the_nth_allocation_fails(void **state)
{
	unsigned int n, failures = 0;
	bool failed;

	(void)state;
#ifdef INTERPOSE_OFF
	test_skip("the sanitizer interposes malloc itself");
#endif
	quiet(true);
	for (n = 1; n < 1000; n++) {
		interpose_fail(n);
		if (!make_all())
			failures++;
		failed = interpose_failed();
		if (!failed)
			break;
	}
	quiet(false);
	assert_false(failed);
	/* Pool: 4; space: 2; file and region: 2; and the library's own. */
	assert_true(failures >= 8);
}

static void
test_reserved_hugepages_are_used(void **state)
{
	struct mmem_space *space;
	struct mmem_pool *pool;
	uint8_t *buf;

	(void)state;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = rig.smmu, .size = 2 * CHUNK });
	assert_non_null(pool);
	if (!mmem_pool_hugepages(pool)) {
		assert_int_equal(mmem_pool_destroy(pool), 0);
		test_skip("two hugepages of 2 MiB are needed");
	}
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool });
	assert_non_null(space);
	buf = mmem_alloc(space, CHUNK, RW);
	assert_non_null(buf);
	assert_int_equal(mmem_detach(rig.space, rig.dev, PASID), 0);
	assert_int_equal(mmem_attach(space, rig.dev, PASID), 0);
	memset(scratch, 0xff, CHUNK);
	submit(rig.dma_pasid, SMMUV3_MODEL_WRITE, buf, scratch, CHUNK);
	assert_int_equal(await(rig.dma_pasid).status, SMMUV3_MODEL_OK);
	cpu_expect(buf, 0xff, CHUNK);
	assert_int_equal(mmem_stat(space, MMEM_STAT_DEFERRED), 0);
	assert_int_equal(mmem_free(space, buf), 0);
	assert_ptr_equal(mmem_alloc(space, CHUNK, RW), buf);
	cpu_expect(buf, 0, CHUNK);
	assert_int_equal(mmem_detach(space, rig.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_pool_destroy(pool), 0);
}

/*
 * An IOMMU that does not answer for a while: what a device may still use is not
 * given to anybody, and what was left out is made up for.
 */
static void
test_memory_is_kept_when_the_iommu_does_not_confirm(void **state)
{
	uint8_t *a = alloc(CHUNK, RW), *b = alloc(CHUNK, RW);
	uint64_t syncs;

	(void)state;
	dev_set(a, 1, PAGE);
	dev_set(b, 1, PAGE);
	quiet(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	assert_true(mmem_unmap(rig.space, b, PAGE) < 0);
	assert_true(mmem_free(rig.space, a) < 0);
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	quiet(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 1);

	/* Nothing is mapped there any more, and yet it is not done with. */
	syncs = smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_SYNCS);
	assert_int_equal(mmem_unmap(rig.space, b, PAGE), 0);
	assert_true(smmuv3_model_stat(rig.model, SMMUV3_MODEL_STAT_SYNCS) > syncs);
	assert_int_equal(dev_read(b, scratch, 8).nb_stalls, 1);
	assert_int_equal(dev_read(a, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	/* The invalidation that succeeded was for it too. */
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
	assert_ptr_equal(alloc(CHUNK, RW), a);
	assert_int_equal(mmem_free(rig.space, b), 0);
}

/* Stuck for longer: each call says so, changes nothing more, and can be made again. */
static void
test_what_the_iommu_did_not_confirm_can_be_called_again(void **state)
{
	uint8_t *a = alloc(CHUNK, RW), *b = alloc(CHUNK, RW);
	unsigned int i;

	(void)state;
	dev_set(a, 1, PAGE);
	dev_set(b, 1, PAGE);
	quiet(true);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_EMERG);
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	for (i = 0; i < 2; i++) {
		assert_true(mmem_free(rig.space, a) < 0);
		assert_int_equal(stat_of(MMEM_STAT_KEPT), 1);
		assert_true(mmem_unmap(rig.space, b, PAGE) < 0);
	}
	/* Not the device's any more, and not given to anything else. */
	assert_int_equal(mmem_unmap(rig.space, a, PAGE), -EINVAL);
	assert_ptr_not_equal(alloc(CHUNK, RW), a);
	smmuv3_model_knob(rig.model, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	quiet(false);
	rte_log_set_level_pattern("pmd.smmuv3", RTE_LOG_NOTICE);
	assert_int_equal(mmem_free(rig.space, a), 0);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
	assert_int_equal(mmem_free(rig.space, a), -EINVAL);
	assert_int_equal(dev_read(a, scratch, 8).status, SMMUV3_MODEL_ABORTED);
	assert_int_equal(mmem_unmap(rig.space, b, PAGE), 0);
	assert_int_equal(dev_read(b, scratch, 8).nb_stalls, 1);
	assert_ptr_equal(alloc(CHUNK, RW), a);
	cpu_expect(a, 0, CHUNK);
	dev_expect(a, 0, CHUNK);
}

/*
 * All at once: the model, the poller and the control path each in a thread.
 */

static _Atomic bool poller_quit;

static void *
poller_main(void *arg)
{
	(void)arg;
	while (!atomic_load(&poller_quit))
		if (iopf_poll(rig.poller) == 0)
			sched_yield();
	return NULL;
}

struct writer {
	uint8_t *buf;
	size_t len;
	uint64_t value;
	_Atomic uint64_t done, aborted;
	_Atomic bool quit;
};

static void *
writer_main(void *arg)
{
	struct writer *w = arg;
	uint64_t i, seed = 1;
	int rc;

	for (i = 0; !atomic_load(&w->quit); i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		w->value = i;
		rc = smmuv3_model_dma_write(rig.dma, (uintptr_t)w->buf + (seed >> 33) % (w->len / 8) * 8,
				&w->value, 8);
		atomic_fetch_add(rc == 0 ? &w->done : &w->aborted, 1);
	}
	return NULL;
}

/*
 * While rights are gone, nothing the device does arrives; whatever was being
 * resolved when they went loses. The model's oracle watches each translation.
 */
static void
test_unmap_wins_over_concurrent_faults(void **state)
{
	const size_t len = 64 * PAGE;
	unsigned int round, rounds = 100 * test_scale();
	struct writer w = { .len = len };
	pthread_t poller, writer;
	uint64_t before;
	uint8_t *copy;

	(void)state;
	w.buf = alloc(len, RW | MMEM_POPULATE);
	copy = malloc(len);
	assert_non_null(copy);
	assert_int_equal(smmuv3_model_start(rig.model, -1), 0);
	atomic_store(&poller_quit, false);
	assert_int_equal(pthread_create(&poller, NULL, poller_main, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, writer_main, &w), 0);
	for (round = 0; round < rounds; round++) {
		assert_int_equal(mmem_unmap(rig.space, w.buf, len), 0);
		assert_int_equal(mmem_protect(rig.space, w.buf, len, round % 2 ? MMEM_READ : 0), 0);
		before = atomic_load(&w.aborted);
		memcpy(copy, w.buf, len);
		while (atomic_load(&w.aborted) < before + 2)
			sched_yield();
		assert_memory_equal(copy, w.buf, len);
		before = atomic_load(&w.done);
		assert_int_equal(mmem_protect(rig.space, w.buf, len,
				RW | (round % 3 ? MMEM_TRACK_WRITES : 0)), 0);
		while (atomic_load(&w.done) < before + 8)
			sched_yield();
	}
	atomic_store(&w.quit, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	assert_int_equal(mmem_free(rig.space, w.buf), 0);
	atomic_store(&poller_quit, true);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_int_equal(smmuv3_model_stop(rig.model), 0);
	free(copy);
}

/* Regions come and go under a device that does not care. */
static void
test_regions_come_and_go_under_faults(void **state)
{
	unsigned int round, rounds = 100 * test_scale();
	struct writer w = { .len = 4 * CHUNK };
	pthread_t poller, writer;
	uint8_t *a, *b;

	(void)state;
	w.buf = alloc(CHUNK, RW);
	assert_int_equal(mmem_free(rig.space, w.buf), 0);
	assert_int_equal(smmuv3_model_start(rig.model, -1), 0);
	atomic_store(&poller_quit, false);
	assert_int_equal(pthread_create(&poller, NULL, poller_main, NULL), 0);
	assert_int_equal(pthread_create(&writer, NULL, writer_main, &w), 0);
	for (round = 0; round < rounds; round++) {
		a = alloc(CHUNK + PAGE, RW | (round & 1 ? MMEM_ZERO_INLINE : 0));
		b = alloc(PAGE, MMEM_READ | (round & 2 ? MMEM_POPULATE : 0));
		while (atomic_load(&w.done) == 0)
			sched_yield();
		atomic_store(&w.done, 0);
		cpu_expect(b, 0, PAGE);
		assert_int_equal(mmem_free(rig.space, a), 0);
		assert_int_equal(mmem_free(rig.space, b), 0);
	}
	atomic_store(&w.quit, true);
	assert_int_equal(pthread_join(writer, NULL), 0);
	atomic_store(&poller_quit, true);
	assert_int_equal(pthread_join(poller, NULL), 0);
	assert_int_equal(smmuv3_model_stop(rig.model), 0);
	assert_true(stat_of(MMEM_STAT_MAPPED) > 0);
	assert_int_equal(stat_of(MMEM_STAT_KEPT), 0);
}

#define RIG_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	RIG_TEST(test_cpu_and_device_share_pointer_and_bytes),
	RIG_TEST(test_memory_is_zero_after_reuse),
	RIG_TEST(test_memory_is_zeroed_inline_at_the_first_fault_only),
	RIG_TEST(test_file_backed_bytes_equal_the_file_and_zero_beyond_it),
	RIG_TEST(test_a_file_that_cannot_be_mapped_says_why),
	RIG_TEST(test_unmap_is_a_promise),
	RIG_TEST(test_protect_takes_and_gives),
	RIG_TEST(test_permission_upgrade_is_one_batch),
	RIG_TEST(test_tracked_writes_are_seen_page_by_page),
	RIG_TEST(test_access_outside_every_region_is_invalid_and_reported),
	RIG_TEST(test_write_to_a_read_only_region_is_invalid),
	RIG_TEST(test_a_space_does_not_reach_the_regions_of_another),
	RIG_TEST(test_pager_fills_a_chunk_once),
	RIG_TEST(test_pager_failure_is_invalid_and_tried_again),
	RIG_TEST(test_pager_failure_answers_all_that_wait),
	RIG_TEST(test_pager_failures_do_not_fill_the_log),
	RIG_TEST(test_free_waits_for_the_pager_and_wins),
	RIG_TEST(test_prefetch_makes_no_faults),
	RIG_TEST(test_populated_memory_defers_nothing),
	RIG_TEST(test_chunks_ahead_are_populated_before_they_are_touched),
	RIG_TEST(test_a_storm_on_a_page_maps_it_once),
	RIG_TEST(test_resolve_by_hand_says_what_a_fault_would),
	RIG_TEST(test_a_full_pool_says_so_and_recovers),
	RIG_TEST(test_what_is_in_use_is_not_destroyed),
	RIG_TEST(test_what_is_refused_says_why_in_one_line),
	RIG_TEST(test_arguments_out_of_range_are_refused),
	RIG_TEST(test_counters_have_names),
	RIG_TEST(test_free_and_protect_wait_for_running_handlers),
	RIG_TEST(test_a_fault_behind_an_upgrade_is_answered_after_an_invalidation),
	RIG_TEST(test_a_fault_during_unmap_waits_for_its_end),
	RIG_TEST(test_the_nth_allocation_fails),
	RIG_TEST(test_reserved_hugepages_are_used),
	RIG_TEST(test_memory_is_kept_when_the_iommu_does_not_confirm),
	RIG_TEST(test_what_the_iommu_did_not_confirm_can_be_called_again),
	RIG_TEST(test_unmap_wins_over_concurrent_faults),
	RIG_TEST(test_regions_come_and_go_under_faults),
};

TEST_SUITE(mmem, tests, NULL, NULL);

static int
by_pieces(void **state)
{
	(void)state;
	pieces_register();
	driver = "pieces";
	return 0;
}

static int
by_address(void **state)
{
	(void)state;
	driver = "smmuv3";
	return 0;
}

TEST_SUITE(mmem_pieces, tests, by_pieces, by_address);
