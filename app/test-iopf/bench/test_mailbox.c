/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The engine "mailbox" of iopf-bench. The other side is that of the Linux lab, on a thread of this
 * process: devtools/linux-lab/host/mailbox.c, with the model that the driver has opened.
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iopf_stats.h>
#include <mmem.h>

#include "../../../devtools/linux-lab/host/host.h"
#include "bench_stub.h"
#include "mailbox_load.h"
#include "options.h"
#include "test.h"

#define PAGES		512u	/* of the region */
#define BURST		100u	/* does not divide it */
#define PASID		3

static struct bench_conf conf;
static struct results res;
static struct passive *passive;
static struct mailbox *mailbox;
static struct lab_host host;
static struct lab_mailbox *shared;
static pthread_t thread;
static atomic_bool ended;
static int fd;

/* What lab_mailbox_serve() needs of the host program. */

double
lab_now(void)
{
	return 0;
}

void
lab_say(const char *fmt, ...)
{
	(void)fmt;
}

uint32_t
lab_smmu_get_sid(uint32_t sid)
{
	return sid;
}

bool
lab_qemu_ended(struct lab_host *h)
{
	(void)h;
	return false;
}

void
lab_bench_run(struct lab_host *h, struct lab_mailbox *mb)
{
	(void)h;
	(void)mb;
}

static void *
run_host(void *arg)
{
	(void)arg;
	while (!atomic_load(&ended))
		if (!lab_mailbox_serve(&host))
			sched_yield();
	return NULL;
}

static void
open_all(unsigned int sid)
{
	char path[32];

	bench_stub_error[0] = '\0';
	memset(&conf, 0, sizeof(conf));
	fd = memfd_create("mailbox", MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(0, ftruncate(fd, LAB_MAILBOX_SIZE));
	shared = mmap(NULL, LAB_MAILBOX_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(shared != MAP_FAILED);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	conf.engine = ENGINE_MAILBOX;
	conf.cpu_servicer = -1;
	conf.idle = IDLE_YIELD;
	conf.passive = (struct passive_conf){ .mailbox = strdup(path),
		.device = strdup("smmuv3,model=mailbox"), .streams = { sid }, .nb_streams = 1,
		.pasid = PASID, .region_mib = 2, .interval_ms = 100, .burst = BURST };
	assert_true(conf_fill_in(&conf));
	mailbox = mailbox_open(&conf);
	assert_non_null(mailbox);
	passive = passive_open(&conf);
	assert_non_null(passive);
	host = (struct lab_host){ .opt = { .limit = 1 },
		.model = smmuv3_model_lookup("mailbox"),
		.ram = (uint8_t *)shared - (LAB_MAILBOX - LAB_RAM) };
	assert_non_null(host.model);
	atomic_store(&ended, false);
	assert_int_equal(0, pthread_create(&thread, NULL, run_host, NULL));
}

static void
close_all(unsigned int sid)
{
	struct smmuv3_model_dma *dma = lab_find_engine(&host, &(struct smmuv3_model_dma_conf){
			.sid = sid, .has_ssid = true, .ssid = PASID });

	atomic_store(&ended, true);
	pthread_join(thread, NULL);
	/* The host program keeps it: other tests use other StreamIDs. */
	smmuv3_model_dma_destroy(dma);
	assert_int_equal(0, passive_close(passive));
	mailbox_close(mailbox);
	results_free(&res);
	munmap(shared, LAB_MAILBOX_SIZE);
	close(fd);
	free(conf.passive.mailbox);
	free(conf.passive.device);
}

/* Until the region was used up twice. */
static void
end_after_two_rounds(const struct results *now, unsigned int i, uint64_t waiting)
{
	(void)now;
	(void)i;
	(void)waiting;
	if (smmuv3_model_stat(host.model, SMMUV3_MODEL_STAT_STALLS) > 2 * PAGES)
		passive_end(passive);
}

static void
each_write_of_a_burst_faults_once(void **state)
{
	static struct cell sum;
	uint64_t stalls;

	(void)state;
	open_all(9);
	assert_int_equal(0, mailbox_start(mailbox, passive));
	assert_int_equal(0, passive_measure(passive, &res, end_after_two_rounds));
	assert_int_equal(0, mailbox_stop(mailbox));
	assert_string_equal("", bench_stub_error);
	stalls = smmuv3_model_stat(host.model, SMMUV3_MODEL_STAT_STALLS);
	assert_int_equal(stalls, smmuv3_model_stat(host.model, SMMUV3_MODEL_STAT_RESUMES));
	/* Whole bursts, and each time round a shorter one at the end. */
	assert_true(stalls % PAGES % BURST == 0);
	results_sum_cells(&res, 0, &sum);
	assert_true(sum.service.samples > 2 * PAGES && sum.service.samples <= stalls);
	close_all(9);
}

static void
a_write_that_fails_ends_the_run(void **state)
{
	(void)state;
	open_all(10);
	/* A StreamID that is not attached. */
	conf.passive.streams[0] = 11;
	assert_int_equal(0, mailbox_start(mailbox, passive));
	assert_int_equal(-ENODATA, passive_measure(passive, &res, NULL));
	assert_int_equal(-EIO, mailbox_stop(mailbox));
	assert_true(res.nb_rounds < BENCH_MAX_INTERVALS);
	assert_non_null(strstr(bench_stub_error, "of 100 writes 100 failed"));
	close_all(11);
}

static void
a_file_that_is_no_mailbox_is_refused(void **state)
{
	char path[] = "/tmp/test-mailbox.XXXXXX";

	(void)state;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	conf.passive.mailbox = path;
	assert_null(mailbox_open(&conf));
	assert_non_null(strstr(bench_stub_error, "shorter than a mailbox"));
	unlink(path);
	assert_null(mailbox_open(&conf));
	assert_non_null(strstr(bench_stub_error, "cannot map it: No such file"));
	close(fd);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_write_of_a_burst_faults_once),
	cmocka_unit_test(a_write_that_fails_ends_the_run),
	cmocka_unit_test(a_file_that_is_no_mailbox_is_refused),
};

TEST_SUITE(bench_mailbox, tests, NULL, NULL);
