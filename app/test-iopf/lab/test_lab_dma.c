/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The whole of it on QEMU's SMMUv3, through VFIO, on arm64: a device whose DMA into
 * memory that is not mapped faults, is recorded, resolved, started again and lands.
 */

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_errno.h>
#include <rte_malloc.h>

#include <mmem.h>
#include <pgtable.h>

#include "lab_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

#define POOL_SIZE	((size_t)32 << 20)
#define PAGE		4096
/* A device address of a test's own tables; a multiple of 2 MiB. */
#define VA		UINT64_C(0x1234600000)

static struct mmem_pool *pool;
static struct mmem_space *space;
static struct mmem_report report;
static unsigned int nb_refusals;

static void
on_refusal(struct mmem_space *which, const struct mmem_report *r, void *ctx)
{
	(void)which;
	(void)ctx;
	nb_refusals++;
	report = *r;
}

static void
space_up(const struct iopf_iommu_conf *conf)
{
	lab_up(conf, false);
	nb_refusals = 0;
	pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = lab.smmu, .size = POOL_SIZE });
	if (pool == NULL)
		fail_msg("no pool of %zu MiB in hugepages: %s", POOL_SIZE >> 20,
				rte_strerror(rte_errno));
	assert_true(mmem_pool_hugepages(pool));
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pool, .report = on_refusal });
	assert_non_null(space);
	assert_int_equal(mmem_attach(space, lab.dev, IOPF_NO_PASID), 0);
}

static int
space_down(void **state)
{
	int ret = 0;

	if (space != NULL) {
		ret |= mmem_detach(space, lab.dev, IOPF_NO_PASID);
		ret |= mmem_space_destroy(space);
	}
	if (pool != NULL)
		ret |= mmem_pool_destroy(pool);
	space = NULL;
	pool = NULL;
	return ret | lab_down(state);
}

static uint8_t
byte_of(unsigned int seed, size_t i)
{
	return (seed * 2654435761u + i * 40503u) >> 7;
}

static void
fill(uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = byte_of(seed, i);
}

static void
check_bytes(const uint8_t *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != byte_of(seed, i))
			fail_msg("byte %zu of %zu is 0x%02x, not 0x%02x", i, len, p[i],
					byte_of(seed, i));
}

/* The device reads @p len bytes at src, then writes them at dst. */
static void
copy(uint8_t *src, uint8_t *dst, uint32_t len, unsigned int seed)
{
	fill(src, len, seed);
	assert_int_equal(lab_move(false, (uintptr_t)src, len), 0);
	assert_int_equal(lab_move(true, (uintptr_t)dst, len), 0);
	check_bytes(dst, len, seed);
}

static void
test_the_smmu_found_is_described(void **state)
{
	const struct iopf_iommu_info *info;

	(void)state;
	lab_need();
	lab_up(NULL, false);
	info = iopf_iommu_info(lab.smmu);
	iopf_iommu_dump(lab.smmu, stdout);
	assert_string_equal(info->driver, "smmuv3");
	assert_string_equal(info->backend, "vfio");
	assert_int_equal(info->sid_bits, 16);
	assert_int_equal(info->pasid_bits, 0);
	assert_true(info->addr_bits >= 40 && info->addr_bits <= 48);
	assert_true(info->granules & 1u << 12);
	/* It only terminates, and only with an abort. */
	assert_int_equal(info->max_stalls, 0);
	assert_false(info->stall_forced);
	assert_false(info->razwi);
}

static void
test_dma_into_unmapped_memory_lands_after_a_retry(void **state)
{
	static const uint32_t sizes[] = { 1, 4, 7, 100, LAB_DMA_MAX };
	uint8_t *src, *dst;
	unsigned int i;

	(void)state;
	lab_need();
	space_up(NULL);
	src = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	dst = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(src);
	assert_non_null(dst);
	for (i = 0; i < RTE_DIM(sizes); i++) {
		uint64_t mapped = mmem_stat(space, MMEM_STAT_MAPPED);

		/* A page of its own for each, and for the last two a second. */
		copy(src + i * 2 * PAGE + (i >= 3 ? PAGE / 2 : 0),
				dst + i * 2 * PAGE + (i >= 3 ? PAGE - 10 : 0), sizes[i], i);
		assert_true(mmem_stat(space, MMEM_STAT_MAPPED) >= mapped + 2);
	}
	assert_int_equal(nb_refusals, 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(space)), 0);
	/* Mapped now: no fault. */
	lab_clear();
	lab_try(false, (uintptr_t)src, 64);
	assert_int_equal(lab.nb_retries, 0);
}

static void
test_each_fault_is_told_with_what_was_wanted(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_need();
	space_up(NULL);
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	fill(buf, PAGE, 1);
	lab_clear();
	lab_try(false, (uintptr_t)buf + 8, 4);
	assert_int_equal(lab.nb_retries, 1);
	assert_int_equal(lab.retry.addr, (uintptr_t)buf + 8);
	assert_int_equal(lab.retry.sid, lab.edu.sid);
	assert_int_equal(lab.retry.pasid, IOPF_NO_PASID);
	assert_true(lab.retry.perm & IOPF_PERM_READ);
	assert_false(lab.retry.perm & IOPF_PERM_WRITE);
	assert_int_equal(lab.retry.code, IOPF_SUCCESS);

	lab_clear();
	lab_try(true, (uintptr_t)buf + 2 * PAGE, 4);
	assert_int_equal(lab.nb_retries, 1);
	assert_true(lab.retry.perm & IOPF_PERM_WRITE);
	assert_int_equal(lab.retry.addr, (uintptr_t)buf + 2 * PAGE);
	/* What faulted did not land. */
	assert_int_equal(buf[2 * PAGE], 0);
}

/* Tables of a test's own: pages of one granule, or blocks. */
struct table {
	struct lab_table table;
	struct lab_zone data;
	uint64_t unit;			/* bytes mapped by one fault */
	unsigned int nb_faults;
};

static enum iopf_verdict
map_unit(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	uint64_t va = group->faults[0]->addr;
	struct table *t = ctx;
	int rc;

	(void)domain;
	va &= ~(t->unit - 1);
	if (va < VA || va - VA >= LAB_ZONE_SIZE)
		return IOPF_ANSWER(IOPF_INVALID);
	rc = pgt_map(t->table.pgt, va, t->data.addr + (va - VA), t->unit, PGT_READ | PGT_WRITE);
	if (rc == 0)
		t->nb_faults++;
	return IOPF_ANSWER(rc == 0 || rc == -EEXIST ? IOPF_SUCCESS : IOPF_INVALID);
}

static void
check_table(unsigned int granule_log2, uint64_t unit)
{
	struct table t = { .unit = unit };
	const struct iopf_iommu_info *info = iopf_iommu_info(lab.smmu);
	struct pgt_unmapped out;
	struct pgt_leaf leaf;
	struct pgt_inv inv[4];
	struct iopf_domain *domain;
	uint64_t at = unit == PAGE ? 0 : unit - 3 * PAGE;
	unsigned int i;

	print_message("  granule 2^%u, mapped by %" PRIu64 " KiB\n", granule_log2, unit >> 10);
	lab_table_make(&t.table, granule_log2, info->addr_bits);
	lab_zone_make(&t.data);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .handler = map_unit, .ctx = &t,
			.translation = { .format = IOPF_FORMAT_ARM64_S1,
			.root = pgt_root(t.table.pgt), .va_bits = 48, .granule_log2 = granule_log2 } });
	assert_non_null(domain);
	assert_int_equal(iopf_domain_attach(domain, lab.dev, IOPF_NO_PASID), 0);

	/* Both directions, at the start and near the end of what one fault maps. */
	fill(t.data.va, 512, granule_log2);
	assert_int_equal(lab_move(false, VA, 512), 0);
	assert_int_equal(t.nb_faults, 1);
	assert_int_equal(lab_move(true, VA + at + 1024, 512), 0);
	check_bytes(t.data.va + at + 1024, 512, granule_log2);
	assert_int_equal(t.nb_faults, 1);
	assert_int_equal(pgt_walk(t.table.pgt, VA, &leaf), 0);
	assert_int_equal(leaf.state, PGT_VALID);
	assert_int_equal(leaf.size, unit);

	/* Taken away: the next access faults, and does not land. */
	pgt_unmapped_init(&out, inv, RTE_DIM(inv));
	assert_int_equal(pgt_unmap(t.table.pgt, VA, unit, 0, &out), 0);
	assert_int_equal(out.nb_inv, 1);
	assert_int_equal(iopf_invalidate(domain, &(struct iopf_inv){ .addr = inv[0].va,
			.size = inv[0].size, .leaf_log2 = rte_log2_u64(unit), .leaf_only = true },
			1, NULL), 0);
	memset(t.data.va, 0xee, 512);
	lab_clear();
	lab_try(true, VA, 64);
	assert_true(lab.nb_retries > 0);
	assert_int_equal(t.nb_faults, 2);
	for (i = 0; i < 64; i++)
		assert_int_equal(t.data.va[i], 0xee);
	assert_int_equal(lab_move(true, VA, 64), 0);
	check_bytes(t.data.va, 64, granule_log2);

	assert_int_equal(iopf_domain_detach(domain, lab.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	lab_zone_free(&t.data);
	lab_table_free(&t.table);
}

static void
test_pages_and_blocks_of_every_granule_translate(void **state)
{
	static const unsigned int granules[] = { 12, 14, 16 };
	unsigned int i, done = 0;

	(void)state;
	lab_need();
	lab_up(NULL, false);
	for (i = 0; i < RTE_DIM(granules); i++) {
		if (!(iopf_iommu_info(lab.smmu)->granules & 1u << granules[i])) {
			print_message("  granule 2^%u: this SMMU does not have it\n", granules[i]);
			continue;
		}
		check_table(granules[i], UINT64_C(1) << granules[i]);
		done++;
	}
	check_table(12, 2 << 20);
	assert_true(done >= 1);
}

static void
test_a_forbidden_write_is_refused_and_reported(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_need();
	space_up(NULL);
	buf = mmem_alloc(space, 1 << 20, MMEM_READ);
	assert_non_null(buf);
	fill(buf, 64, 5);
	assert_int_equal(lab_move(false, (uintptr_t)buf, 64), 0);
	/* The page is there, read-only: a permission fault. */
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), -EFAULT);
	assert_true(nb_refusals > 0);
	assert_int_equal(report.error, -EACCES);
	assert_ptr_equal(report.dev, lab.dev);
	assert_true(report.perm & IOPF_PERM_WRITE);
	assert_int_equal(buf[128], 0);
	/* Allowed from now on: the next fault raises the entry's rights. */
	assert_int_equal(mmem_protect(space, buf, 1 << 20, MMEM_READ | MMEM_WRITE), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), 0);
	check_bytes(buf + 128, 64, 5);
	/* And forbidden again. */
	assert_int_equal(mmem_protect(space, buf, 1 << 20, MMEM_READ), 0);
	memset(buf + 128, 0, 64);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 128, 64), -EFAULT);
	assert_int_equal(buf[128], 0);
}

static void
test_the_first_write_of_a_read_page_raises_its_rights(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_need();
	space_up(NULL);
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE | MMEM_TRACK_WRITES);
	assert_non_null(buf);
	fill(buf, 64, 6);
	assert_int_equal(lab_move(false, (uintptr_t)buf, 64), 0);
	assert_int_equal(mmem_stat(space, MMEM_STAT_UPGRADED), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + 512, 64), 0);
	check_bytes(buf + 512, 64, 6);
	assert_int_equal(mmem_stat(space, MMEM_STAT_UPGRADED), 1);
}

static void
test_memory_that_was_unmapped_faults_again(void **state)
{
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_need();
	space_up(NULL);
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	copy(buf, buf + PAGE, 64, 7);
	for (i = 0; i < 3; i++) {
		assert_int_equal(mmem_unmap(space, buf + PAGE, PAGE), 0);
		memset(buf + PAGE, 0xdd, 64);
		lab_clear();
		lab_try(true, (uintptr_t)buf + PAGE, 64);
		assert_true(lab.nb_retries > 0);
		/* Not even a byte of it. */
		for (unsigned int k = 0; k < 64; k++)
			assert_int_equal(buf[PAGE + k], 0xdd);
		assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), 0);
		check_bytes(buf + PAGE, 64, 7);
	}
	/* Freed: for good. */
	assert_int_equal(mmem_free(space, buf), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), -EFAULT);
	assert_int_equal(report.error, -EFAULT);
}

static void
test_an_access_outside_every_region_is_refused(void **state)
{
	(void)state;
	lab_need();
	space_up(NULL);
	assert_int_equal(lab_move(true, UINT64_C(0x1000), 16), -EFAULT);
	assert_int_equal(report.error, -EFAULT);
	assert_int_equal(report.addr & ~UINT64_C(15), 0x1000);
	assert_int_equal(lab_move(false, (UINT64_C(1) << 47) + 64, 16), -EFAULT);
	assert_true(nb_refusals >= 2);
}

static void
test_a_detached_device_reaches_nothing(void **state)
{
	uint8_t *buf;

	(void)state;
	lab_need();
	space_up(NULL);
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	copy(buf, buf + PAGE, 64, 8);
	assert_int_equal(mmem_detach(space, lab.dev, IOPF_NO_PASID), 0);
	memset(buf + PAGE, 0xcc, 64);
	lab_clear();
	lab_try(true, (uintptr_t)buf + PAGE, 64);
	assert_int_equal(buf[PAGE], 0xcc);
	/* Its STE is not valid: reported (C_BAD_STE), and nothing that a retry would mend. */
	assert_int_equal(lab.nb_retries, 0);
	assert_true(lab.nb_reports > 0);
	assert_int_equal(mmem_attach(space, lab.dev, IOPF_NO_PASID), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf + PAGE, 64), 0);
	check_bytes(buf + PAGE, 64, 8);
}

static void
test_an_unknown_stream_is_reported(void **state)
{
	static const uint32_t other = 0x40, far_away = 0x4000;
	struct iopf_dev *dev;
	unsigned int round;

	(void)state;
	lab_need();
	lab_up(NULL, true);
	dev = iopf_dev_add(lab.smmu, &(struct iopf_dev_conf){ .sids = &far_away, .nb_sids = 1,
			.recover = IOPF_TERMINATE });
	assert_non_null(dev);
	/* First no table has it; then one that was made for a neighbour. */
	for (round = 0; round < 2; round++) {
		lab_clear();
		lab_try(true, VA, 4);
		assert_true(lab.nb_reports > 0);
		assert_int_equal(lab.report.sid, lab.edu.sid);
		assert_int_equal(lab.report.reason, IOPF_REASON_CONFIG);
		assert_int_equal(lab.report.raw_id, round == 0 ? SMMUV3_C_BAD_STREAMID :
				SMMUV3_C_BAD_STE);
		if (round == 0) {
			assert_int_equal(iopf_dev_remove(dev), 0);
			dev = iopf_dev_add(lab.smmu, &(struct iopf_dev_conf){ .sids = &other,
					.nb_sids = 1, .recover = IOPF_TERMINATE });
			assert_non_null(dev);
		}
	}
	assert_int_equal(iopf_dev_remove(dev), 0);
}

/* One record for each 4 bytes: a page of them. */
static void
test_a_storm_of_records_maps_once_and_tells_each(void **state)
{
	uint64_t records;
	uint8_t *buf;

	(void)state;
	lab_need();
	space_up(&(struct iopf_iommu_conf){ .event_queue_size = 4096 });
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_clear();
	records = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RECORDS);
	lab_try(true, (uintptr_t)buf, 4088);
	records = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RECORDS) - records;
	print_message("  %" PRIu64 " records of one DMA of 4088 bytes\n", records);
	assert_true(records >= 2);
	assert_int_equal(lab.nb_retries, records);
	assert_int_equal(mmem_stat(space, MMEM_STAT_MAPPED), 1);
	assert_int_equal(mmem_stat(space, MMEM_STAT_JOINED), records - 1);
	assert_int_equal(lab_stat("evtq_aborts"), 0);
	assert_int_equal(lab_move(true, (uintptr_t)buf, 4088), 0);
	assert_int_equal(iopf_domain_pending(mmem_space_domain(space)), 0);
}

static void
test_a_queue_too_small_for_a_storm_recovers(void **state)
{
	uint64_t resets;
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_need();
	space_up(&(struct iopf_iommu_conf){ .event_queue_size = 16 });
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	resets = iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RESETS);
	for (i = 0; i < 3; i++) {
		uint64_t lost = lab_stat("evtq_aborts") + lab_stat("event_overflows");

		lab_clear();
		lab_try(true, (uintptr_t)buf + i * PAGE, 4088);
		/* Some were told, others lost, and it was noticed. */
		assert_true(lab.nb_retries > 0);
		assert_true(lab.nb_retries < 1022);
		assert_true(lab_stat("evtq_aborts") + lab_stat("event_overflows") > lost);
		/* Nothing is stuck: the same again, and another page. */
		copy(buf + (16 + 2 * i) * PAGE, buf + i * PAGE, 512, i);
	}
	/* Nothing stalls, so nothing had to be ended. */
	assert_int_equal(iopf_iommu_stat(lab.smmu, IOPF_IOMMU_STAT_RESETS), resets);
}

/* Sleeps until the interrupt. False: none came. */
static bool
wakes(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint64_t n;

	return poll(&p, 1, 5000) == 1 && read(fd, &n, sizeof(n)) == sizeof(n);
}

static void
test_an_interrupt_wakes_a_sleeper(void **state)
{
	uint8_t *buf;
	unsigned int i;
	int fd;

	(void)state;
	lab_need();
	space_up(&(struct iopf_iommu_conf){ .event_queue_size = 16 });
	buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	assert_true(fd >= 0);
	for (i = 0; i < 3; i++) {
		lab_clear();
		assert_int_equal(iopf_iommu_idle(lab.smmu, fd), 0);
		/* One record; then so many that there is an error too. */
		lab_edu_start(&lab.edu, true, (uintptr_t)buf + i * PAGE, 0, i == 2 ? 4088 : 4);
		assert_true(wakes(fd));
		lab_edu_wait(&lab.edu);
		assert_int_equal(iopf_iommu_idle(lab.smmu, -1), 0);
		lab_drain();
		assert_true(lab.nb_retries > 0);
		assert_int_equal(lab_stat("evtq_aborts") + lab_stat("event_overflows"), i == 2);
		assert_int_equal(lab_move(true, (uintptr_t)buf + i * PAGE, 4), 0);
	}
	/* Something is there already. */
	lab_edu_start(&lab.edu, true, (uintptr_t)buf + 8 * PAGE, 0, 4);
	while (lab_edu_busy(&lab.edu))
		usleep(1000);
	assert_int_equal(iopf_iommu_idle(lab.smmu, fd), 1);
	assert_int_equal(iopf_iommu_idle(lab.smmu, -1), 0);
	lab_drain();
	close(fd);
}

static void
test_it_can_be_closed_and_opened_again(void **state)
{
	uint8_t *buf;
	unsigned int i;

	(void)state;
	lab_need();
	for (i = 0; i < 3; i++) {
		space_up(&(struct iopf_iommu_conf){ .event_queue_size = 32u << i,
				.command_queue_size = 16u << i });
		buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
		assert_non_null(buf);
		copy(buf, buf + PAGE, 64, i);
		/* Stopped and started with all in place. */
		assert_int_equal(iopf_iommu_stop(lab.smmu), 0);
		assert_int_equal(iopf_iommu_start(lab.smmu), 0);
		copy(buf, buf + 2 * PAGE, 64, i + 10);
		/* A second opening of what is open is refused. */
		assert_null(iopf_iommu_open(lab_devstr()));
		assert_int_equal(rte_errno, EBUSY);
		assert_int_equal(space_down(NULL), 0);
	}
}

static void
test_memory_that_may_move_is_refused(void **state)
{
	static uint8_t in_image[PAGE];
	uint64_t addr;
	void *ptr;

	(void)state;
	lab_need();
	lab_up(NULL, false);
	ptr = aligned_alloc(PAGE, 16 * PAGE);
	assert_non_null(ptr);
	memset(ptr, 1, 16 * PAGE);
	assert_int_equal(iopf_dma_map(lab.smmu, ptr, 16 * PAGE, &addr), -ENOTSUP);
	in_image[0] = 1;
	in_image[PAGE - 1] = 1;
	assert_int_equal(iopf_dma_map(lab.smmu, in_image, PAGE, &addr), -ENOTSUP);
	free(ptr);
	ptr = rte_malloc(NULL, PAGE, PAGE);
	assert_non_null(ptr);
	assert_int_equal(iopf_dma_map(lab.smmu, ptr, PAGE, &addr), 0);
	assert_int_equal(addr, rte_malloc_virt2iova(ptr));
	assert_int_equal(iopf_dma_unmap(lab.smmu, ptr, PAGE, addr), 0);
	rte_free(ptr);
}

static void
test_another_device_name_is_refused_with_a_reason(void **state)
{
	(void)state;
	lab_need();
	assert_null(iopf_iommu_open("smmuv3,vfio=1234567.smmuv3"));
	assert_int_equal(rte_errno, ENODEV);
	assert_null(iopf_iommu_open("smmuv3,vfio=../x"));
	assert_int_equal(rte_errno, EINVAL);
}

/*
 * The victim: this program again, with the suite lab_victim, which never ends.
 */
#define MAX_ARGS 64

static pid_t
victim_start(int *ready)
{
	static char line[8192];
	char *args[MAX_ARGS], fd[16];
	unsigned int n = 0;
	int pipes[2];
	ssize_t len;
	FILE *f;
	pid_t pid;

	f = fopen("/proc/self/cmdline", "re");
	assert_non_null(f);
	len = fread(line, 1, sizeof(line) - 1, f);
	fclose(f);
	/* As this one was called, up to "--". */
	for (char *p = line; p < line + len && n < MAX_ARGS - 3; p += strlen(p) + 1) {
		if (strcmp(p, "--") == 0)
			break;
		args[n++] = p;
	}
	args[n++] = (char *)(uintptr_t)"--";
	args[n++] = (char *)(uintptr_t)"lab_victim";
	args[n] = NULL;
	assert_int_equal(pipe(pipes), 0);
	snprintf(fd, sizeof(fd), "%d", pipes[1]);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("IOPF_LAB_VICTIM", fd, 1);
		execv("/proc/self/exe", args);
		_exit(127);
	}
	close(pipes[1]);
	*ready = pipes[0];
	return pid;
}

static void
test_a_killed_run_can_be_followed_by_the_next(void **state)
{
	/* Milliseconds after it began; 0: when it has begun to move data. */
	static const unsigned int moments[] = { 0, 60, 0, 120, 200, 0, 300 };
	unsigned int i, running = 0;
	uint8_t *buf;
	char c;
	int ready, status;
	pid_t pid;

	(void)state;
	lab_need();
	for (i = 0; i < RTE_DIM(moments); i++) {
		pid = victim_start(&ready);
		if (moments[i] == 0) {
			assert_int_equal(read(ready, &c, 1), 1);
			usleep(30000 * i);
			running++;
		} else {
			usleep(1000 * moments[i]);
		}
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		close(ready);

		space_up(NULL);
		buf = mmem_alloc(space, 1 << 20, MMEM_READ | MMEM_WRITE);
		assert_non_null(buf);
		copy(buf, buf + PAGE, 256, i);
		assert_int_equal(nb_refusals, 0);
		assert_int_equal(space_down(NULL), 0);
	}
	assert_int_equal(running, 3);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(test_the_smmu_found_is_described, space_down),
	cmocka_unit_test_teardown(test_dma_into_unmapped_memory_lands_after_a_retry, space_down),
	cmocka_unit_test_teardown(test_each_fault_is_told_with_what_was_wanted, space_down),
	cmocka_unit_test_teardown(test_pages_and_blocks_of_every_granule_translate, space_down),
	cmocka_unit_test_teardown(test_a_forbidden_write_is_refused_and_reported, space_down),
	cmocka_unit_test_teardown(test_the_first_write_of_a_read_page_raises_its_rights,
			space_down),
	cmocka_unit_test_teardown(test_memory_that_was_unmapped_faults_again, space_down),
	cmocka_unit_test_teardown(test_an_access_outside_every_region_is_refused, space_down),
	cmocka_unit_test_teardown(test_a_detached_device_reaches_nothing, space_down),
	cmocka_unit_test_teardown(test_an_unknown_stream_is_reported, space_down),
	cmocka_unit_test_teardown(test_a_storm_of_records_maps_once_and_tells_each, space_down),
	cmocka_unit_test_teardown(test_a_queue_too_small_for_a_storm_recovers, space_down),
	cmocka_unit_test_teardown(test_an_interrupt_wakes_a_sleeper, space_down),
	cmocka_unit_test_teardown(test_it_can_be_closed_and_opened_again, space_down),
	cmocka_unit_test_teardown(test_memory_that_may_move_is_refused, space_down),
	cmocka_unit_test_teardown(test_another_device_name_is_refused_with_a_reason, space_down),
	cmocka_unit_test_teardown(test_a_killed_run_can_be_followed_by_the_next, space_down),
};

TEST_SUITE(lab_dma, tests, NULL, NULL);

/* Opens, starts, moves data, says so, and goes on until it is killed. */
static void
test_victim_runs_until_it_is_killed(void **state)
{
	const char *fd = getenv("IOPF_LAB_VICTIM");
	uint8_t *buf;
	unsigned int i;

	(void)state;
	if (fd == NULL)
		test_skip("IOPF_LAB_VICTIM is not set: the suite lab_dma runs this to kill it");
	space_up(NULL);
	buf = mmem_alloc(space, 8 << 20, MMEM_READ | MMEM_WRITE);
	assert_non_null(buf);
	lab_try(true, (uintptr_t)buf, LAB_DMA_MAX);
	assert_int_equal(write(atoi(fd), "r", 1), 1);
	for (i = 0; ; i++) {
		lab_edu_start(&lab.edu, true, (uintptr_t)buf + i % 512 * PAGE, 0, LAB_DMA_MAX);
		while (lab_edu_busy(&lab.edu)) {
			iopf_poll(lab.poller);
			usleep(500);
		}
	}
}

static const struct CMUnitTest victim_tests[] = {
	cmocka_unit_test_teardown(test_victim_runs_until_it_is_killed, space_down),
};

TEST_SUITE(lab_victim, victim_tests, NULL, NULL);
