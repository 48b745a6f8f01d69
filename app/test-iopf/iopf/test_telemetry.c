/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Every telemetry command, through the socket of DPDK, with valid and invalid arguments. */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iopf.h"
#include "iopf_handler.h"
#include "iopf_listener.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "smmuv3_model.h"
#include "telemetry_rig.h"
#include "test.h"

static const char *const commands[] = {
	"/iopf/list", "/iopf/info", "/iopf/stats", "/iopf/latency", "/iopf/outstanding",
	"/iopf/listeners", "/iopf/devices", "/iopf/queues",
};

static struct tel_servicer t;
static uint64_t taken;

static enum iopf_verdict
take(struct iopf_domain *d, const struct iopf_group *group, void *ctx)
{
	(void)d;
	(void)ctx;
	taken = group->id;
	return IOPF_TAKEN;
}

static int
setup(void **state)
{
	(void)state;
	tel_open(&t, "telemetry", take, NULL);
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
every_command_is_listed_and_has_a_help(void **state)
{
	char help[64];

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	tel_send_command("/");
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		assert_non_null(strstr(tel_answer, commands[i]));
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		snprintf(help, sizeof(help), "/help,%s", commands[i]);
		assert_non_null(strstr(tel_send_command(help), "."));
	}
}

static void
invalid_arguments_get_null(void **state)
{
	static const char *const junk[] = {
		"", ",", ",z", ",-1", ",64", ",99999999999999999999", ",0x0", ",0,1,2", ",0 ",
		", 0",
		",0,", ",0,-1", ",0,x", ",0, 1", ",0,99999999999999999999", ",,0", ",0,1 ",
		",\xff\xfe", ",%s%n", ",../../etc", ",00000000000000000000000000000000000063",
	};
	char cmd[128];

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		for (unsigned int k = 0; k < sizeof(junk) / sizeof(junk[0]); k++) {
			snprintf(cmd, sizeof(cmd), "%s%s", commands[i], junk[k]);
			tel_send_command(cmd);
			if (strcmp(commands[i], "/iopf/list") != 0)
				assert_non_null(strstr(tel_answer, "null"));
		}
	}
	snprintf(cmd, sizeof(cmd), "/iopf/info,%u,1", t.iommu_id);
	assert_non_null(strstr(tel_send_command(cmd), "null"));
	/* An unused id, then a used one. */
	assert_non_null(strstr(tel_send_command("/iopf/info,63"), "null"));
	assert_non_null(strstr(tel_send_to("/iopf/info", t.iommu_id), "smmuv3,model=telemetry"));
}

static void
stats_latency_and_outstanding_show_a_fault_that_waits(void **state)
{
	struct smmuv3_model_done done;
	char id[32], byte = 1;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	assert_int_equal(0, smmuv3_model_dma_submit(t.dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_WRITE, .addr = 0xabcd000, .buf = &byte, .len = 1 }));
	while (iopf_poll(t.poller) == 0)
		smmuv3_model_step(t.model, 16);
	snprintf(id, sizeof(id), "%016llx", (unsigned long long)taken);
	tel_send_to("/iopf/outstanding", t.iommu_id);
	assert_non_null(strstr(tel_answer, id));
	assert_non_null(strstr(tel_answer, "\"taken\""));
	assert_non_null(strstr(tel_answer, "180146176"));	/* 0xabcd000 */
	assert_non_null(strstr(tel_answer, "\"dev_sid\":5"));
	tel_send_to("/iopf/stats", t.iommu_id);
	for (unsigned int i = 0; i < IOPF_NB_IOMMU_STATS; i++)
		assert_non_null(strstr(tel_answer, iopf_iommu_stat_name(i)));
	for (unsigned int i = 0; i < IOPF_NB_STATS; i++)
		assert_non_null(strstr(tel_answer, iopf_stat_name(i)));
	assert_non_null(strstr(tel_answer, "nic0"));
	assert_non_null(strstr(tel_answer, "\"pending\":1"));

	assert_int_equal(0, iopf_group_respond(taken, IOPF_INVALID));
	while (smmuv3_model_dma_poll(t.dma, &done, 1) == 0)
		smmuv3_model_step(t.model, 16);
	assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
	assert_null(strstr(tel_send_to("/iopf/outstanding", t.iommu_id), id));
	assert_non_null(strstr(tel_send_to("/iopf/latency", t.iommu_id), "\"samples\":1"));
	assert_non_null(strstr(tel_send_to("/iopf/stats", t.iommu_id), "\"pending\":0"));
}

static void
listeners_show_their_counters(void **state)
{
	struct iopf_listener *all, *of_dev;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	all = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = t.iommu, .size = 512 });
	of_dev = iopf_listener_open(&(struct iopf_listener_conf){ .dev = t.dev, .size = 2048 });
	assert_non_null(all);
	assert_non_null(of_dev);
	tel_send_to("/iopf/listeners", t.iommu_id);
	assert_non_null(strstr(tel_answer, "\"listeners\":2"));
	assert_non_null(strstr(tel_answer, "\"size\":512"));
	assert_non_null(strstr(tel_answer, "\"size\":2048"));
	assert_non_null(strstr(tel_answer, "nic0"));
	for (unsigned int i = 0; i < IOPF_NB_LISTENER_STATS; i++)
		assert_non_null(strstr(tel_answer, iopf_listener_stat_name(i)));
	assert_int_equal(0, iopf_listener_close(all));
	tel_send_to("/iopf/listeners", t.iommu_id);
	assert_non_null(strstr(tel_answer, "\"listeners\":1"));
	assert_null(strstr(tel_answer, "\"size\":512"));
	assert_int_equal(0, iopf_listener_close(of_dev));
	assert_non_null(strstr(tel_send_to("/iopf/listeners", t.iommu_id), "\"listeners\":0"));
}

/* The answer to any arguments is JSON: tel_send_command() parses it. */
static void
random_arguments_get_json(void **state)
{
	static const char alphabet[] = "012345678901234567890123456789,,,,,-+ xX%\"\\{}\n\xff\xc3";
	unsigned int seed = 20261128;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	for (unsigned int i = 0; i < 5000; i++) {
		char cmd[1000];
		unsigned int max = i % 50 == 0 ? sizeof(cmd) - 32 : 12, len = rand_r(&seed) % max;
		int at = snprintf(cmd, sizeof(cmd), "%s,", commands[rand_r(&seed) %
				(sizeof(commands) / sizeof(commands[0]))]);

		for (unsigned int k = 0; k < len; k++)
			cmd[at++] = alphabet[rand_r(&seed) % (sizeof(alphabet) - 1)];
		cmd[at] = '\0';
		tel_send_command(cmd);
	}
}

#define NB_DEVS 300
#define LONG_NAME 1000

static char *
name_of(unsigned int i)
{
	static const char *const names[] = {
		"dev", "", "say \"hello\"", "two\nlines", "tab\there", "back\\slash",
		"caf\xc3\xa9 \xe6\xbc\xa2\xe5\xad\x97", "not UTF-8: \xff\xfe", "100%",
		"%41", "a/b_c:d", "\x01\x7f", "null", "{\"a\":1}", "next",
	};
	static char name[LONG_NAME + 1];

	if (i % 16 == 15) {
		memset(name, i % 32 == 15 ? 'x' : '"', LONG_NAME);
		name[LONG_NAME] = '\0';
	} else {
		snprintf(name, sizeof(name), "%s", names[i % 16]);
	}
	return name;
}

static const cJSON *
find_entry(const char *device)
{
	const cJSON *item;

	cJSON_ArrayForEach(item, tel_value())
		if (cJSON_IsObject(item) && tel_is_name(cJSON_GetObjectItem(item,
				"device")->valuestring, device))
			return item;
	fail_msg("no entry of %s", device);
	return NULL;
}

static uint64_t
get_state(const char *command, const char *device, const char *key)
{
	tel_send_to(command, t.iommu_id);
	return tel_get_number(find_entry(device), key);
}

static void
a_device_without_an_attachment_is_listed(void **state)
{
	const uint32_t sid = 9;
	struct iopf_dev *bare;
	const cJSON *entry;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	bare = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .name = "bare", .sids = &sid,
			.nb_sids = 1 });
	assert_non_null(bare);
	tel_send_to("/iopf/devices", t.iommu_id);
	assert_int_equal(2, tel_get_number(tel_value(), "devices"));
	entry = find_entry("bare");
	assert_int_equal(9, tel_get_number(entry, "sid"));
	assert_int_equal(0, tel_get_number(entry, "attachments"));
	for (unsigned int i = 0; i < IOPF_NB_DEV_STATS; i++)
		assert_int_equal(0, tel_get_number(entry, iopf_dev_stat_name(i)));
	assert_int_equal(1, tel_get_number(find_entry("nic0"), "attachments"));
	assert_int_equal(0, iopf_dev_quarantine(bare));
	assert_int_equal(1, get_state("/iopf/devices", "bare", "dev_quarantined"));
	assert_int_equal(0, get_state("/iopf/devices", "nic0", "dev_quarantined"));
	assert_int_equal(1, get_state("/iopf/devices", "bare", "dev_quarantines"));
	assert_int_equal(0, iopf_dev_release(bare));
	assert_int_equal(0, get_state("/iopf/devices", "bare", "dev_quarantined"));
	assert_int_equal(0, iopf_dev_remove(bare));
}

static void
stats_show_a_trip_and_its_episode(void **state)
{
	const uint32_t sid = 9;
	struct smmuv3_model_dma *engine;
	struct smmuv3_model_done done;
	struct iopf_domain *guarded;
	struct iopf_dev *gpu;
	unsigned int n = 0;
	char byte = 1;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	gpu = iopf_dev_add(t.iommu, &(struct iopf_dev_conf){ .name = "gpu", .sids = &sid,
			.nb_sids = 1 });
	guarded = iopf_domain_create(&(struct iopf_domain_conf){ .name = "guarded",
			.handler = take, .storm = &(struct iopf_storm_conf){ .max_held = 1 } });
	assert_int_equal(0, iopf_domain_attach(guarded, gpu, IOPF_NO_PASID));
	engine = smmuv3_model_dma_create(t.model, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_int_equal(0, get_state("/iopf/stats", "gpu", "tripped"));
	assert_int_equal(0, get_state("/iopf/stats", "gpu", "episode_open"));
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(0, smmuv3_model_dma_submit(engine, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = 0xabc000 + i * 4096,
				.buf = &byte, .len = 1 }));
	while (n < 2) {
		iopf_poll(t.poller);
		smmuv3_model_step(t.model, 16);
		n += smmuv3_model_dma_poll(engine, &done, 1);
	}
	assert_int_equal(1, get_state("/iopf/stats", "gpu", "tripped"));
	assert_int_equal(1, get_state("/iopf/stats", "gpu", "episode_open"));
	assert_int_equal(0, get_state("/iopf/stats", "nic0", "tripped"));
	smmuv3_model_dma_destroy(engine);
	assert_int_equal(0, iopf_dev_remove(gpu));
	assert_int_equal(0, iopf_domain_destroy(guarded));
}

/* Each device has one attachment, so both lists have the same length. */
static void
walk_pages(const char *command, const char *total, unsigned int id)
{
	bool seen[NB_DEVS] = { false };
	unsigned int nb_seen = 0, pages = 0;
	uint64_t next = 0;
	char cmd[64];

	for (;;) {
		const cJSON *item;

		snprintf(cmd, sizeof(cmd), "%s,%u,%llu", command, id, (unsigned long long)next);
		tel_send_command(cmd);
		pages++;
		assert_int_equal(tel_get_number(tel_value(), total), NB_DEVS);
		cJSON_ArrayForEach(item, tel_value()) {
			unsigned int i;

			if (!cJSON_IsObject(item))
				continue;
			i = tel_get_number(item, "sid") - 16;
			assert_true(i < NB_DEVS && !seen[i]);
			seen[i] = true;
			nb_seen++;
			assert_true(tel_is_name(cJSON_GetObjectItem(item, "device")->valuestring,
					name_of(i)));
			if (strcmp(total, "attachments") != 0)
				continue;
			assert_true(tel_is_name(cJSON_GetObjectItem(item, "domain")->valuestring,
					name_of(31)));
			assert_int_equal(tel_get_number(item, "pasid"), 1);
		}
		if (cJSON_GetObjectItem(tel_value(), "next") == NULL)
			break;
		assert_true(tel_get_number(tel_value(), "next") > next);
		next = tel_get_number(tel_value(), "next");
	}
	assert_int_equal(nb_seen, NB_DEVS);
	assert_true(pages > 1);
	/* A page beyond the end has no entries and no next page. */
	snprintf(cmd, sizeof(cmd), "%s,%u,18446744073709551615", command, id);
	tel_send_command(cmd);
	assert_int_equal(tel_get_number(tel_value(), total), NB_DEVS);
	assert_null(cJSON_GetObjectItem(tel_value(), "next"));
}

static void
every_device_is_listed_whatever_its_name(void **state)
{
	static struct iopf_dev *devs[NB_DEVS];
	struct smmuv3_model *other;
	struct iopf_domain *shared;
	struct iopf_iommu *smmu;
	unsigned int i, id;

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	other = smmuv3_model_create(&(struct smmuv3_model_conf){ .name = "sm\"\xc3\xa9" });
	assert_non_null(other);
	smmu = iopf_iommu_open("smmuv3,model=sm\"\xc3\xa9");
	assert_non_null(smmu);
	id = tel_find_iommu("smmuv3,model=sm\"\xc3\xa9");
	shared = iopf_domain_create(&(struct iopf_domain_conf){ .name = name_of(31),
			.handler = take });
	assert_non_null(shared);
	for (i = 0; i < NB_DEVS; i++) {
		const uint32_t sid = 16 + i;

		devs[i] = iopf_dev_add(smmu, &(struct iopf_dev_conf){ .name = name_of(i),
				.sids = &sid, .nb_sids = 1, .nb_pasids = 2 });
		assert_non_null(devs[i]);
		assert_int_equal(0, iopf_domain_attach(shared, devs[i], 1));
	}
	walk_pages("/iopf/stats", "attachments", id);
	walk_pages("/iopf/latency", "attachments", id);
	walk_pages("/iopf/devices", "devices", id);
	for (i = 0; i < NB_DEVS; i++)
		assert_int_equal(0, iopf_dev_remove(devs[i]));
	assert_int_equal(0, iopf_domain_destroy(shared));
	assert_int_equal(0, iopf_iommu_close(smmu));
	smmuv3_model_destroy(other);
}

static void
every_outstanding_fault_is_listed(void **state)
{
	enum { NB = 150 };
	static uint64_t ids[NB];
	struct smmuv3_model_done done;
	unsigned int n = 0, listed = 0;
	uint64_t next = 0;
	char byte = 1, cmd[64];

	(void)state;
	if (!tel_is_on())
		test_skip("telemetry is off");
	for (unsigned int i = 0; i < NB; i++) {
		assert_int_equal(0, smmuv3_model_dma_submit(t.dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_WRITE, .addr = 0x1000000 + i * 4096,
				.buf = &byte, .len = 1 }));
		taken = 0;
		while (iopf_poll(t.poller) == 0)
			smmuv3_model_step(t.model, 16);
		assert_int_not_equal(taken, 0);
		ids[n++] = taken;
	}
	for (;;) {
		const cJSON *item;

		snprintf(cmd, sizeof(cmd), "/iopf/outstanding,%u,%llu", t.iommu_id,
				(unsigned long long)next);
		tel_send_command(cmd);
		assert_int_equal(tel_get_number(tel_value(), "outstanding"), NB);
		cJSON_ArrayForEach(item, tel_value())
			listed += cJSON_IsObject(item);
		if (cJSON_GetObjectItem(tel_value(), "next") == NULL)
			break;
		next = tel_get_number(tel_value(), "next");
		assert_int_equal(next, listed);
	}
	assert_int_equal(listed, NB);
	while (n > 0)
		assert_int_equal(0, iopf_group_respond(ids[--n], IOPF_INVALID));
	while (n < NB) {
		smmuv3_model_step(t.model, 16);
		n += smmuv3_model_dma_poll(t.dma, &done, 1);
	}
	tel_send_to("/iopf/outstanding", t.iommu_id);
	assert_int_equal(tel_get_number(tel_value(), "outstanding"), 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(every_command_is_listed_and_has_a_help),
	cmocka_unit_test(invalid_arguments_get_null),
	cmocka_unit_test(random_arguments_get_json),
	cmocka_unit_test(stats_latency_and_outstanding_show_a_fault_that_waits),
	cmocka_unit_test(listeners_show_their_counters),
	cmocka_unit_test(a_device_without_an_attachment_is_listed),
	cmocka_unit_test(stats_show_a_trip_and_its_episode),
	cmocka_unit_test(every_device_is_listed_whatever_its_name),
	cmocka_unit_test(every_outstanding_fault_is_listed),
};
TEST_SUITE(telemetry, tests, setup, teardown);
