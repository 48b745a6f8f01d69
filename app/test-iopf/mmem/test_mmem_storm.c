/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The policies of a space for faults in numbers. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "iopf_policy.h"
#include "iopf_stats.h"
#include "mmem_rig.h"
#include "test.h"

static unsigned int nb_reports;
static struct mmem_report last;
static struct mmem_space *space;
static _Atomic unsigned int nb_tripped;

static void
on_report(struct mmem_space *of, const struct mmem_report *report, void *ctx)
{
	assert_ptr_equal(of, space);
	assert_null(ctx);
	last = *report;
	nb_reports++;
}

static void
on_tripped(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		const struct iopf_episode *episode, void *ctx)
{
	assert_ptr_equal(domain, mmem_space_domain(space));
	assert_ptr_equal(dev, mm.dev);
	assert_int_equal(pasid, PASID);
	assert_non_null(episode);
	assert_ptr_equal(ctx, &nb_tripped);
	nb_tripped++;
}

/* In place of the space of the PASID. */
static void
open_space(const struct iopf_storm_conf *conf)
{
	struct iopf_storm_conf storm = *conf;

	nb_reports = 0;
	nb_tripped = 0;
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool,
			.report = on_report, .storm = &storm });
	assert_non_null(space);
	/* The space has a copy. */
	memset(&storm, 0, sizeof(storm));
	assert_int_equal(mmem_detach(mm.space, mm.dev, PASID), 0);
	assert_int_equal(mmem_attach(space, mm.dev, PASID), 0);
}

static void
close_space(void)
{
	assert_int_equal(mmem_detach(space, mm.dev, PASID), 0);
	assert_int_equal(mmem_space_destroy(space), 0);
	assert_int_equal(mmem_attach(mm.space, mm.dev, PASID), 0);
}

static enum smmuv3_model_status
write_at(void *addr)
{
	mm_submit(mm.dma_pasid, SMMUV3_MODEL_WRITE, addr, mm_scratch, 8);
	return mm_await(mm.dma_pasid).status;
}

static void
refused_accesses_after_the_first_are_counted(void **state)
{
	uint8_t *buf, *wrong;
	struct iopf_episode episode;
	struct iopf_domain *domain;

	(void)state;
	open_space(&(struct iopf_storm_conf){ .report_first = true });
	domain = mmem_space_domain(space);
	buf = mmem_alloc(space, CHUNK, RW);
	assert_non_null(buf);
	/* A region of the other space. */
	wrong = mm_alloc(CHUNK, RW);
	assert_int_equal(write_at(buf), SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_episode(domain, mm.dev, PASID, NULL), -ENOENT);
	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(write_at(wrong + i * PAGE), SMMUV3_MODEL_ABORTED);
	/* A page that is mapped does not fault; one that is not faults, and is counted. */
	assert_int_equal(write_at(buf), SMMUV3_MODEL_OK);
	assert_int_equal(write_at(buf + PAGE), SMMUV3_MODEL_ABORTED);
	assert_int_equal(nb_reports, 1);
	assert_ptr_equal((void *)(uintptr_t)last.addr, wrong);
	assert_int_equal(last.error, -EFAULT);
	assert_int_equal(mmem_stat(space, MMEM_STAT_NO_REGION), 1);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_COUNTED), 5);
	/* The other PASID of the device is served. */
	mm_dev_set(wrong, 1, PAGE);
	assert_int_equal(iopf_domain_rearm(domain, mm.dev, PASID, &episode), 0);
	assert_int_equal(episode.first.addr, (uintptr_t)wrong);
	assert_int_equal(episode.faults, 5);
	assert_int_equal(write_at(buf + PAGE), SMMUV3_MODEL_OK);
	close_space();
}

static void
a_breaker_trips(void **state)
{
	struct iopf_episode episode;
	struct iopf_domain *domain;
	unsigned int i;
	uint8_t *buf;

	(void)state;
	open_space(&(struct iopf_storm_conf){ .max_rate = 4, .tripped = on_tripped,
			.ctx = &nb_tripped });
	domain = mmem_space_domain(space);
	buf = mmem_alloc(space, CHUNK, RW);
	assert_non_null(buf);
	for (i = 0; i < 10000 && write_at(buf) == SMMUV3_MODEL_OK; i++)
		assert_int_equal(mmem_unmap(space, buf, PAGE), 0);
	assert_in_range(i, 4, 9999);
	while (nb_tripped == 0)
		mm_run_turn();
	assert_true(iopf_domain_is_tripped(domain, mm.dev, PASID));
	assert_int_equal(iopf_dev_fence(mm.dev), 0);
	assert_int_equal(iopf_domain_rearm(domain, mm.dev, PASID, &episode), 0);
	assert_true(episode.trip_time != 0);
	assert_int_equal(episode.first.addr, (uintptr_t)buf);
	while (iopf_domain_is_tripped(domain, mm.dev, PASID))
		mm_run_turn();
	assert_int_equal(write_at(buf), SMMUV3_MODEL_OK);
	close_space();
}

static const struct CMUnitTest tests[] = {
	MM_TEST(refused_accesses_after_the_first_are_counted),
	MM_TEST(a_breaker_trips),
};

TEST_SUITE(mmem_storm, tests, NULL, NULL);
