/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Every telemetry command, through DPDK's own socket, with arguments good and bad. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>

#include "iopf.h"
#include "smmuv3_model.h"
#include "test.h"

static const char *const commands[] = {
	"/iopf/list", "/iopf/info", "/iopf/stats", "/iopf/latency", "/iopf/outstanding",
};

static struct smmuv3_model *model;
static struct iopf_iommu *iommu;
static struct iopf_dev *dev;
static struct iopf_domain *domain;
static struct iopf_poller *poller;
static struct smmuv3_model_dma *dma;
static uint64_t taken;
static int sock = -1;
static char answer[1 << 18];

static const char *
ask(const char *what)
{
	ssize_t n;

	assert_int_equal(strlen(what), send(sock, what, strlen(what), 0));
	n = recv(sock, answer, sizeof(answer) - 1, 0);
	assert_true(n > 0);
	answer[n] = '\0';
	assert_int_equal('{', answer[0]);
	assert_int_equal('}', answer[n - 1]);
	return answer;
}

static enum iopf_verdict
take(struct iopf_domain *d, const struct iopf_group *group, void *ctx)
{
	(void)d;
	(void)ctx;
	taken = iopf_group_id(group);
	return IOPF_TAKEN;
}

static int
setup(void **state)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const uint32_t sid = 5;

	(void)state;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/dpdk_telemetry.v2",
			rte_eal_get_runtime_dir());
	sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	assert_true(sock >= 0);
	if (connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		print_message("no telemetry at %s\n", addr.sun_path);
		close(sock);
		sock = -1;
		return 0;
	}
	assert_true(recv(sock, answer, sizeof(answer), 0) > 0);
	model = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "telemetry" });
	iommu = iopf_iommu_open("smmuv3,model=telemetry");
	assert_non_null(iommu);
	dev = iopf_dev_add(iommu, &(struct iopf_dev_conf){ .name = "nic0", .sids = &sid,
			.nb_sids = 1 });
	assert_non_null(dev);
	domain = iopf_domain_create(&(struct iopf_domain_conf){ .name = "owner",
			.handler = take });
	assert_int_equal(0, iopf_domain_attach(domain, dev, IOPF_NO_PASID));
	poller = iopf_poller_create(NULL);
	assert_int_equal(0, iopf_poller_add(poller, iommu, IOPF_QUEUE_ALL));
	assert_int_equal(0, iopf_iommu_start(iommu));
	dma = smmuv3_model_dma_create(model, &(struct smmuv3_model_dma_conf){ .sid = sid });
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	if (sock < 0)
		return 0;
	smmuv3_model_dma_destroy(dma);
	assert_int_equal(0, iopf_dev_remove(dev));
	assert_int_equal(0, iopf_iommu_stop(iommu));
	assert_int_equal(0, iopf_domain_destroy(domain));
	assert_int_equal(0, iopf_poller_destroy(poller));
	assert_int_equal(0, iopf_iommu_close(iommu));
	assert_int_equal(0, smmuv3_model_driver_errors(model));
	smmuv3_model_destroy(model);
	close(sock);
	return 0;
}

static void
every_command_is_listed_and_has_a_help(void **state)
{
	char help[64];

	(void)state;
	if (sock < 0)
		test_skip("telemetry is off");
	ask("/");
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_non_null(strstr(answer, commands[i]));
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		snprintf(help, sizeof(help), "/help,%s", commands[i]);
		assert_non_null(strstr(ask(help), "."));
	}
}

static void
junk_arguments_get_null_and_harm_nothing(void **state)
{
	static const char *const junk[] = {
		"", ",", ",z", ",-1", ",64", ",99999999999999999999", ",0x0", ",0,1", ",0 ", ", 0",
		",\xff\xfe", ",%s%n", ",../../etc", ",00000000000000000000000000000000000001",
	};
	char cmd[128], id[16];

	(void)state;
	if (sock < 0)
		test_skip("telemetry is off");
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		for (unsigned int k = 0; k < sizeof(junk) / sizeof(junk[0]); k++) {
			snprintf(cmd, sizeof(cmd), "%s%s", commands[i], junk[k]);
			ask(cmd);
			if (strcmp(commands[i], "/iopf/list") != 0)
				assert_non_null(strstr(answer, "null"));
		}
	}
	/* An id that nobody has, and the one that somebody has. */
	assert_non_null(strstr(ask("/iopf/info,63"), "null"));
	snprintf(id, sizeof(id), "[%d]", 0);
	assert_non_null(strstr(ask("/iopf/list"), id));
	assert_non_null(strstr(ask("/iopf/info,0"), "smmuv3,model=telemetry"));
}

static void
stats_latency_and_outstanding_show_a_fault_that_waits(void **state)
{
	struct smmuv3_model_done done;
	char id[32], byte = 1;

	(void)state;
	if (sock < 0)
		test_skip("telemetry is off");
	assert_int_equal(0, smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = 0xabcd000, .buf = &byte, .len = 1 }));
	while (iopf_poll(poller) == 0)
		smmuv3_model_step(model, 16);
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)taken);
	ask("/iopf/outstanding,0");
	assert_non_null(strstr(answer, id));
	assert_non_null(strstr(answer, "\"taken\""));
	assert_non_null(strstr(answer, "180146176"));	/* 0xabcd000 */
	ask("/iopf/stats,0");
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		assert_non_null(strstr(answer, iopf_iommu_stat_name(i)));
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		assert_non_null(strstr(answer, iopf_stat_name(i)));
	assert_non_null(strstr(answer, "nic0"));
	assert_non_null(strstr(answer, "\"pending\":1"));

	assert_int_equal(0, iopf_group_respond(taken, IOPF_INVALID));
	while (smmuv3_model_dma_poll(dma, &done, 1) == 0)
		smmuv3_model_step(model, 16);
	assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
	assert_null(strstr(ask("/iopf/outstanding,0"), id));
	assert_non_null(strstr(ask("/iopf/latency,0"), "\"samples\":1"));
	assert_non_null(strstr(ask("/iopf/stats,0"), "\"pending\":0"));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_command_is_listed_and_has_a_help),
	cmocka_unit_test(junk_arguments_get_null_and_harm_nothing),
	cmocka_unit_test(stats_latency_and_outstanding_show_a_fault_that_waits),
};
TEST_SUITE(telemetry, tests, setup, teardown);
