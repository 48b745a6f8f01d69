/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The engine "none" of iopf-bench measures each fault of a device that another thread drives. */

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <iopf_stats.h>
#include <mmem.h>

#include "bench_stub.h"
#include "options.h"
#include "passive.h"
#include "progress.h"
#include "report_json.h"
#include "smmuv3_model_page.h"
#include "smmuv3_model_test.h"
#include "test.h"

#define DEVICE		"smmuv3,model=passive"
#define PAGES		512u	/* of the region */
#define NB_STREAMS	2

static struct bench_conf conf;
static struct passive *passive;
static struct results res;

/* The user's program: it knows the model, and the addresses that iopf-bench prints. */
static struct device {
	struct smmuv3_model *model;
	struct smmuv3_model_dma *engines[NB_STREAMS];
	uint64_t addr;
	unsigned int writes;
	unsigned int failed;
} device;

static void
set_conf(void)
{
	bench_stub_error[0] = '\0';
	free(conf.passive.device);
	memset(&conf, 0, sizeof(conf));
	conf.engine = ENGINE_NONE;
	conf.cpu_servicer = -1;
	conf.idle = IDLE_YIELD;
	conf.passive.device = strdup(DEVICE);
	conf.passive.streams[0] = 8;
	conf.passive.streams[1] = 77;
	conf.passive.nb_streams = NB_STREAMS;
	conf.passive.region_mib = 2;
	conf.passive.interval_ms = 100;
}

static int
free_conf(void **state)
{
	(void)state;
	free(conf.passive.device);
	return 0;
}

static void
open_device(void)
{
	unsigned int i;
	size_t size;

	assert_true(conf_fill_in(&conf));
	passive = passive_open(&conf);
	assert_non_null(passive);
	memset(&device, 0, sizeof(device));
	device.addr = (uintptr_t)passive_get_region(passive, &size);
	assert_int_equal(PAGES * BENCH_PAGE_SIZE, size);
	device.model = smmuv3_model_lookup("passive");
	assert_non_null(device.model);
	for (i = 0; i < NB_STREAMS; i++) {
		device.engines[i] = smmuv3_model_dma_create(device.model,
				&(struct smmuv3_model_dma_conf){
				.sid = conf.passive.streams[i],
				.has_ssid = conf.passive.pasid != 0, .ssid = conf.passive.pasid });
		assert_non_null(device.engines[i]);
	}
}

static void
write_pages(unsigned int n)
{
	uint64_t word = 1;
	unsigned int i;

	for (i = 0; i < n; i++, device.writes++)
		device.failed += smmuv3_model_dma_write(device.engines[i % NB_STREAMS],
				device.addr + device.writes % PAGES * BENCH_PAGE_SIZE, &word,
				sizeof(word)) != 0;
}

static int
close_passive(void)
{
	unsigned int i;
	int ret;

	for (i = 0; i < NB_STREAMS; i++)
		smmuv3_model_dma_destroy(device.engines[i]);
	ret = passive_close(passive);
	passive = NULL;
	results_free(&res);
	return ret;
}

static void
close_device(void)
{
	assert_int_equal(0, device.failed);
	assert_int_equal(0, close_passive());
}

/* After a test that failed. */
static int
tear_down(void **state)
{
	(void)state;
	interrupt_forget();
	return passive == NULL ? 0 : close_passive();
}

static uint64_t
get_count(enum passive_object of, unsigned int stat)
{
	unsigned int i;

	for (i = 0; i < PASSIVE_NB_COUNTS; i++)
		if (passive_counts[i].of == of && passive_counts[i].stat == stat)
			return res.counts[i];
	fail_msg("counter %u is not in the report", stat);
	return 0;
}

static void
check_samples(unsigned int n)
{
	static struct cell sum;

	results_sum_cells(&res, 0, &sum);
	assert_int_equal(n, sum.service.samples);
	assert_true(hist_get_percentile(&sum.service, 0.5) > 0);
	assert_int_equal(n, get_count(PASSIVE_DOMAIN, IOPF_STAT_FAULTS));
	assert_int_equal(n, get_count(PASSIVE_DOMAIN, IOPF_STAT_SUCCESS));
	assert_int_equal(n, get_count(PASSIVE_MEMORY, MMEM_STAT_MAPPED));
	assert_string_equal("", bench_stub_error);
}

static double
get_number(const cJSON *in, const char *name)
{
	const cJSON *v = cJSON_GetObjectItem(in, name);

	assert_true(cJSON_IsNumber(v));
	return v->valuedouble;
}

/* The tree has the intervals, and the faults of all of them. */
static void
check_json(unsigned int n)
{
	cJSON *root = report_make_json(&res), *c, *i, *only;
	double samples = 0;

	assert_string_equal("none", cJSON_GetStringValue(cJSON_GetObjectItem(
			cJSON_GetObjectItem(root, "options"), "engine")));
	assert_int_equal(1, cJSON_GetArraySize(cJSON_GetObjectItem(root, "cases")));
	c = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "cases"), 0);
	assert_string_equal("passive", cJSON_GetStringValue(cJSON_GetObjectItem(c, "loop")));
	assert_int_equal(n, get_number(c, "samples"));
	assert_int_equal(n, get_number(cJSON_GetObjectItem(c, "domain"),
			iopf_stat_name(IOPF_STAT_SUCCESS)));
	assert_true(get_number(c, "p50_ns") > 0);
	cJSON_ArrayForEach(i, cJSON_GetObjectItem(c, "histogram"))
		samples += cJSON_GetArrayItem(i, 1)->valuedouble;
	assert_int_equal(n, samples);
	samples = 0;
	assert_int_equal(res.nb_rounds, cJSON_GetArraySize(cJSON_GetObjectItem(root, "rounds")));
	cJSON_ArrayForEach(i, cJSON_GetObjectItem(root, "rounds")) {
		only = cJSON_GetObjectItem(cJSON_GetObjectItem(i, "cases"), "passive");
		samples += get_number(only, "samples");
		assert_true((get_number(only, "samples") > 0) ==
				(get_number(only, "faults_per_s") > 0));
	}
	assert_int_equal(n, samples);
	cJSON_Delete(root);
}

/* Called at the end of an interval, on the thread that measures. */
static void
write_more(const struct results *now, unsigned int i, uint64_t waiting)
{
	assert_ptr_equal(now, &res);
	assert_int_equal(0, waiting);
	if (i == 0)
		write_pages(3);
	if (i == 2)
		write_pages(5);
}

static void
an_interval_has_the_faults_of_its_time(void **state)
{
	static const unsigned int want[] = { 100, 3, 0, 5 };
	unsigned int i;

	(void)state;
	set_conf();
	conf.passive.seconds = 1;
	conf.passive.interval_ms = 250;
	open_device();
	write_pages(100);
	assert_int_equal(4, conf.rounds);
	assert_int_equal(0, passive_measure(passive, &res, write_more));
	assert_int_equal(4, res.nb_rounds);
	assert_false(res.interrupted);
	for (i = 0; i < 4; i++) {
		assert_int_equal(want[i], results_get_cell(&res, i, 0)->service.samples);
		assert_true(res.rounds[i].counted && res.rounds[i].seconds > 0);
	}
	assert_int_equal(3, results_get_spread(&res, 0, METRIC_P50).rounds);
	assert_int_equal(4, results_get_spread(&res, 0, METRIC_RATE).rounds);
	check_samples(108);
	check_json(108);
	close_device();
}

static void
a_pasid_is_attached_alone(void **state)
{
	(void)state;
	set_conf();
	conf.passive.pasid = 5;
	conf.passive.seconds = 1;
	conf.passive.interval_ms = 1000;
	open_device();
	write_pages(7);
	conf.passive.interval_ms = 10;
	assert_int_equal(0, passive_measure(passive, &res, NULL));
	check_samples(7);
	close_device();
}

static void *
run_device(void *arg)
{
	(void)arg;
	/* Until a page has faulted again. */
	while (smmuv3_model_stat(device.model, SMMUV3_MODEL_STAT_STALLS) <= PAGES)
		write_pages(PAGES);
	raise(SIGINT);
	return NULL;
}

static void
pages_fault_again_after_each_unmap_until_an_interrupt(void **state)
{
	static struct cell sum;
	uint64_t faults;
	pthread_t thread;

	(void)state;
	set_conf();
	conf.passive.refault_ms = 1;
	open_device();
	assert_int_equal(BENCH_MAX_INTERVALS, conf.rounds);
	interrupt_catch();
	assert_int_equal(0, pthread_create(&thread, NULL, run_device, NULL));
	assert_int_equal(0, passive_measure(passive, &res, NULL));
	pthread_join(thread, NULL);
	assert_false(res.interrupted);
	assert_true(res.nb_rounds > 0 && res.nb_rounds < BENCH_MAX_INTERVALS);
	faults = get_count(PASSIVE_DOMAIN, IOPF_STAT_FAULTS);
	assert_true(faults > PAGES);
	assert_int_equal(faults, get_count(PASSIVE_DOMAIN, IOPF_STAT_SUCCESS));
	results_sum_cells(&res, 0, &sum);
	assert_int_equal(faults, sum.service.samples);
	close_device();
}

static void
an_smmu_in_a_page_file_is_refused(void **state)
{
	struct smmuv3_model_page page;
	struct smmuv3_model *m;
	char device[64];

	(void)state;
	assert_int_equal(0, smmuv3_model_page_create(NULL, &page));
	m = smmuv3_model_create(&(struct smmuv3_model_conf){ .regs = page.regs,
			.regs_size = page.regs_size });
	assert_non_null(m);
	assert_int_equal(0, smmuv3_model_mem_add(m, page.mem_addr, page.mem, page.mem_size));
	assert_int_equal(0, smmuv3_model_start(m, -1));
	set_conf();
	snprintf(device, sizeof(device), "smmuv3,page=%s", page.path);
	free(conf.passive.device);
	conf.passive.device = strdup(device);
	assert_true(conf_fill_in(&conf));
	assert_null(passive_open(&conf));
	smmuv3_model_destroy(m);
	smmuv3_model_page_destroy(&page);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test_teardown(an_interval_has_the_faults_of_its_time, tear_down),
	cmocka_unit_test_teardown(a_pasid_is_attached_alone, tear_down),
	cmocka_unit_test_teardown(pages_fault_again_after_each_unmap_until_an_interrupt,
			tear_down),
	cmocka_unit_test(an_smmu_in_a_page_file_is_refused),
};

TEST_SUITE(bench_passive, tests, NULL, free_conf);
