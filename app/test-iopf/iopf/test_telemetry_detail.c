/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Telemetry of histograms, queues, pollers, the backlog of commands, and pools. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_cycles.h>

#include "../../../lib/iopf/domain.h"
#include "iopf.h"
#include "iopf_handler.h"
#include "iopf_poller.h"
#include "mmem.h"
#include "poller.h"
#include "smmuv3_model.h"
#include "smmuv3_pmd.h"
#include "telemetry_rig.h"
#include "test.h"

static struct tel_servicer t;
static enum iopf_verdict verdict;
static uint64_t last_id;

static enum iopf_verdict
on_fault(struct iopf_domain *d, const struct iopf_group *group, void *ctx)
{
	(void)d;
	(void)ctx;
	last_id = group->id;
	return verdict;
}

static int
setup(void **state)
{
	(void)state;
	verdict = IOPF_ANSWER(IOPF_INVALID);
	tel_open(&t, "detail", on_fault, &(struct iopf_poller_conf){
			.name = "detail\"poller", .idle = IOPF_IDLE_YIELD });
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (tel_is_on())
		tel_end(&t);
	return 0;
}

static void
submit_fault(void)
{
	static char byte = 1;

	assert_int_equal(0, smmuv3_model_dma_submit(t.dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = 0xabcd000, .buf = &byte, .len = 1 }));
	while (iopf_poll(t.poller) == 0)
		smmuv3_model_step(t.model, 16);
}

static void
await_done(void)
{
	struct smmuv3_model_done done;

	while (smmuv3_model_dma_poll(t.dma, &done, 1) == 0)
		smmuv3_model_step(t.model, 16);
}

/* The samples of all pages of the histogram, and the number of pages. */
static uint64_t
sum_histogram(unsigned int *pages)
{
	uint64_t sum = 0, step = 0;
	char cmd[64];

	for (*pages = 1;; (*pages)++) {
		const cJSON *bounds, *samples, *item;
		uint64_t last = 0;

		snprintf(cmd, sizeof(cmd), "/iopf/histogram,%u,0,%llu", t.iommu_id,
				(unsigned long long)step);
		tel_send_command(cmd);
		assert_int_equal(tel_get_number(tel_value(), "attachments"), 1);
		assert_int_equal(tel_get_number(tel_value(), "domain_id"), t.domain->id);
		bounds = cJSON_GetObjectItem(tel_value(), "max_ns");
		samples = cJSON_GetObjectItem(tel_value(), "samples");
		assert_int_equal(cJSON_GetArraySize(bounds), cJSON_GetArraySize(samples));
		cJSON_ArrayForEach(item, bounds) {
			assert_true(item->valuedouble >= (double)last);
			last = (uint64_t)item->valuedouble;
		}
		cJSON_ArrayForEach(item, samples) {
			assert_true(item->valuedouble >= 1);
			sum += (uint64_t)item->valuedouble;
		}
		if (cJSON_GetObjectItem(tel_value(), "next") == NULL)
			return sum;
		assert_true(tel_get_number(tel_value(), "next") > step);
		step = tel_get_number(tel_value(), "next");
	}
}

static void
a_histogram_has_the_samples_of_the_latency(void **state)
{
	unsigned int pages;
	uint64_t added = 0;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	assert_int_equal(0, sum_histogram(&pages));
	for (unsigned int i = 0; i < 3; i++) {
		submit_fault();
		await_done();
	}
	assert_int_equal(3, sum_histogram(&pages));
	assert_int_equal(1, pages);
	/* Each step, so that the histogram has the most pages. */
	for (unsigned int i = 0; i < IOPF_HIST_STEPS; i++) {
		iopf_hist_add(&t.domain->latency, iopf_hist_value(i), i + 1);
		added += i + 1;
	}
	assert_int_equal(3 + added, sum_histogram(&pages));
	assert_true(pages > 1);
	tel_send_to("/iopf/latency", t.iommu_id);
	assert_int_equal(3 + added, tel_get_number(tel_value()->child, "samples"));
}

static void
a_histogram_of_no_attachment_has_no_samples(void **state)
{
	char cmd[64];

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	snprintf(cmd, sizeof(cmd), "/iopf/histogram,%u,1", t.iommu_id);
	tel_send_command(cmd);
	assert_int_equal(tel_get_number(tel_value(), "attachments"), 1);
	assert_null(cJSON_GetObjectItem(tel_value(), "samples"));
	snprintf(cmd, sizeof(cmd), "/iopf/histogram,%u,0,18446744073709551615", t.iommu_id);
	tel_send_command(cmd);
	assert_int_equal(0, cJSON_GetArraySize(cJSON_GetObjectItem(tel_value(), "samples")));
	assert_null(cJSON_GetObjectItem(tel_value(), "next"));
	snprintf(cmd, sizeof(cmd), "/iopf/histogram,%u,0,0,0", t.iommu_id);
	assert_non_null(strstr(tel_send_command(cmd), "null"));
	snprintf(cmd, sizeof(cmd), "/iopf/histogram,%u,0,", t.iommu_id);
	assert_non_null(strstr(tel_send_command(cmd), "null"));
	assert_non_null(strstr(tel_send_command("/iopf/histogram,x"), "null"));
}

static const cJSON *
get_queue(void)
{
	tel_send_to("/iopf/queues", t.iommu_id);
	assert_int_equal(1, tel_get_number(tel_value(), "queues"));
	return tel_value()->child;
}

static void
a_queue_shows_its_passes_its_busy_time_and_its_poller(void **state)
{
	uint64_t passes, busy;
	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	passes = tel_get_number(get_queue(), "passes");
	busy = tel_get_number(get_queue(), "busy_ns");
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(0, iopf_poll(t.poller));
	assert_int_equal(passes + 100, tel_get_number(get_queue(), "passes"));
	/* Passes without a record are not busy. */
	assert_int_equal(busy, tel_get_number(get_queue(), "busy_ns"));
	assert_string_equal("events", cJSON_GetObjectItem(get_queue(), "queue")->valuestring);
	assert_string_equal("yield", cJSON_GetObjectItem(get_queue(), "idle")->valuestring);
	assert_true(tel_is_name(cJSON_GetObjectItem(get_queue(), "poller")->valuestring,
			"detail\"poller"));
	for (unsigned int i = 0; i < IOPF_NB_POLLER_STATS; i++)
		assert_int_equal(0, tel_get_number(get_queue(), iopf_poller_stat_name(i)));
	assert_int_equal(0, iopf_poller_remove(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_null(cJSON_GetObjectItem(get_queue(), "poller"));
	assert_int_equal(0, iopf_poller_add(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_non_null(cJSON_GetObjectItem(get_queue(), "poller"));
}

/*
 * The clock is read after so many cycles and passes more, of which some found records; returns the
 * busy cycles more.
 */
static uint64_t
read_clock(uint64_t cycles, uint32_t passes, uint32_t found, uint64_t away)
{
	static uint64_t now = 1;
	struct iopf_queue *q = &t.iommu->queues[IOPF_QUEUE_EVENTS];
	uint64_t before = atomic_load(&q->busy.cycles);

	atomic_fetch_add(&q->passes, passes);
	atomic_fetch_add(&t.poller->away_cycles, away);
	q->busy.found += found;
	now += cycles;
	iopf_busy_update(q, now);
	return atomic_load(&q->busy.cycles) - before;
}

static void
busy_time_is_what_empty_passes_and_sleep_leave(void **state)
{
	struct iopf_poller *other;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	/* As if the clock had not been read before, nor with the real time after this test. */
	t.iommu->queues[IOPF_QUEUE_EVENTS].busy = (struct iopf_busy){ .poller = NULL };
	assert_int_equal(0, read_clock(5000, 16, 4, 0));
	/* As long as no pass was empty, all time is busy. */
	assert_int_equal(5000, read_clock(5000, 16, 4, 0));
	for (unsigned int i = 0; i < 100; i++)
		assert_int_equal(0, read_clock(1600, 16, 0, 0));
	assert_int_equal(3800, read_clock(5000, 16, 4, 0));
	assert_int_equal(3800, read_clock(105000, 16, 4, 100000));
	/* No pass was empty. */
	assert_int_equal(3000, read_clock(3000, 16, 16, 0));
	assert_int_equal(0, read_clock(1000, 16, 1, 0));
	/* The thread did not run for a while. */
	assert_int_equal(0, read_clock(UINT64_C(1) << 40, 16, 0, 0));
	assert_int_equal(5000 - 12 * 1675 / 16, read_clock(5000, 16, 4, 0));
	assert_int_equal(rte_get_tsc_hz() / 1000 - 12 * 1675 / 16,
			read_clock(UINT64_C(1) << 40, 16, 4, 0));
	/* Passes of another poll thread. */
	other = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_move(other, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, read_clock(5000, 16, 4, 0));
	assert_int_not_equal(0, read_clock(5000, 16, 4, 0));
	assert_int_equal(0, iopf_poller_move(t.poller, t.iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_poller_destroy(other));
	t.iommu->queues[IOPF_QUEUE_EVENTS].busy = (struct iopf_busy){ .poller = NULL };
}

static uint64_t
get_backlog(void)
{
	tel_send_to("/iopf/stats", t.iommu_id);
	return tel_get_number(tel_value(), "backlog");
}

static void
the_backlog_has_the_commands_that_wait_for_the_owner(void **state)
{
	struct smmuv3 *smmu;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	smmu = t.iommu->priv;
	verdict = IOPF_TAKEN;
	submit_fault();
	assert_int_equal(0, get_backlog());
	assert_true(smmuv3_cmdq_try_own(&smmu->cmdq));
	assert_int_equal(0, iopf_group_respond(last_id, IOPF_INVALID));
	assert_int_equal(1, get_backlog());
	smmuv3_cmdq_disown(&smmu->cmdq);
	assert_int_equal(0, get_backlog());
	await_done();
}

/* Pools whose names begin with @p prefix, on all pages; the last one's chunks that are taken. */
static unsigned int
count_pools(const char *prefix, uint64_t *taken)
{
	unsigned int n = 0;
	uint64_t next = 0;
	char cmd[64];

	for (;;) {
		const cJSON *item;

		snprintf(cmd, sizeof(cmd), "/iopf/pools,%llu", (unsigned long long)next);
		tel_send_command(cmd);
		cJSON_ArrayForEach(item, tel_value()) {
			if (!cJSON_IsObject(item) || strncmp(cJSON_GetObjectItem(item,
					"pool")->valuestring, prefix, strlen(prefix)) != 0)
				continue;
			n++;
			*taken = tel_get_number(item, "chunks_taken");
			assert_int_equal(4, tel_get_number(item, "chunks"));
			assert_true(tel_is_name(cJSON_GetObjectItem(item, "iommu")->valuestring,
					"smmuv3,model=detail"));
		}
		if (cJSON_GetObjectItem(tel_value(), "next") == NULL)
			return n;
		assert_true(tel_get_number(tel_value(), "next") > next);
		next = tel_get_number(tel_value(), "next");
	}
}

static void
every_pool_is_listed_until_it_is_destroyed(void **state)
{
	enum { NB = 30 };
	struct mmem_pool *pools[NB];
	struct mmem_space *space;
	uint64_t before, taken;
	char name[32];

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	assert_int_equal(0, count_pools("tel-", &taken));
	for (unsigned int i = 0; i < NB; i++) {
		snprintf(name, sizeof(name), "tel-%u", i);
		pools[i] = mmem_pool_create(&(struct mmem_pool_conf){ .name = name,
				.iommu = t.iommu, .size = 4 * MMEM_CHUNK_SIZE,
				.no_hugepages = true });
		assert_non_null(pools[i]);
	}
	assert_int_equal(NB, count_pools("tel-", &taken));
	space = mmem_space_create(&(struct mmem_space_conf){ .pool = pools[7] });
	assert_non_null(space);
	assert_int_equal(1, count_pools("tel-7", &before));
	assert_non_null(mmem_alloc(space, MMEM_CHUNK_SIZE, MMEM_READ));
	assert_int_equal(1, count_pools("tel-7", &taken));
	assert_int_equal(before + 1, taken);
	assert_int_equal(-EBUSY, mmem_pool_destroy(pools[7]));
	assert_int_equal(1, count_pools("tel-7", &taken));
	assert_int_equal(0, mmem_space_destroy(space));
	for (unsigned int i = 0; i < NB; i++)
		assert_int_equal(0, mmem_pool_destroy(pools[i]));
	assert_int_equal(0, count_pools("tel-", &taken));
	assert_non_null(strstr(tel_send_command("/iopf/pools,x"), "null"));
	assert_non_null(strstr(tel_send_command("/iopf/pools,-1"), "null"));
	assert_non_null(strstr(tel_send_command("/iopf/pools,0,0"), "null"));
	assert_non_null(strstr(tel_send_command("/help,/iopf/pools"), "."));
	assert_non_null(strstr(tel_send_command("/help,/iopf/histogram"), "."));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_histogram_has_the_samples_of_the_latency),
	cmocka_unit_test(a_histogram_of_no_attachment_has_no_samples),
	cmocka_unit_test(a_queue_shows_its_passes_its_busy_time_and_its_poller),
	cmocka_unit_test(busy_time_is_what_empty_passes_and_sleep_leave),
	cmocka_unit_test(the_backlog_has_the_commands_that_wait_for_the_owner),
	cmocka_unit_test(every_pool_is_listed_until_it_is_destroyed),
};
TEST_SUITE(telemetry_detail, tests, setup, teardown);
