/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Device strings and the sizes of queues: which ones the driver accepts, and which it refuses. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_kvargs.h>

#include "log_lines.h"
#include "pmd_rig.h"
#include "iopf_iommu.h"
#include "test.h"

static int
open_string(const char *str, struct iopf_iommu_info *info, void **priv)
{
	struct rte_kvargs *args = rte_kvargs_parse(str, smmuv3_pmd.params);
	int ret;

	assert_non_null(args);
	ret = smmuv3_pmd.ops.open(args, info, priv);
	rte_kvargs_free(args);
	return ret;
}

static void
test_device_strings_are_parsed_strictly(void **state)
{
	static const char *const bad[] = {
		"model=", "model=a,model_sid_bits=", "model=a,model_sid_bits=0",
		"model=a,model_sid_bits=33", "model=a,model_sid_bits=8x",
		"model=a,model_sid_bits=-8", "model=a,model_ssid_bits=21",
		"model=a,model_stall_max=0", "model=a,model_stall_max=65536",
		"model=a,model_stall_model=3", "model=a,model_evtq=20", "model=a,model_cmdq=20",
		"model=a,model_cpu=1024", "model=a,model_cmdq=18446744073709551616",
		"model_cmdq=4", "model=a,model_pri=2", "model=a,model_pps=1",
		"model=a,model_priq=4", "model=a,model_pri=0,model_priq=4",
		"model=a,model_pri=1,model_priq=20", "model=a,model_harsh=0x1000",
		"model=a,model_seed=0", "model=a,model_s2=2", "model=a,model_ecmdq=9",
		"model=a,model_httu=3",
	};
	struct iopf_iommu_info info;
	void *priv, *again;
	unsigned int i;

	(void)state;
	for (i = 0; i < RTE_DIM(bad); i++) {
		assert_int_equal(open_string(bad[i], &info, &priv), -EINVAL);
		assert_null(smmuv3_model_lookup("a"));
	}
	memset(&info, 0, sizeof(info));
	assert_int_equal(open_string("model=a,model_sid_bits=9,model_ssid_bits=0,model_stall_max=3,"
			"model_stall_model=2,model_evtq=0,model_cmdq=0x2", &info, &priv), 0);
	assert_non_null(smmuv3_model_lookup("a"));
	assert_string_equal(info.backend, "model");
	assert_int_equal(info.sid_bits, 9);
	assert_int_equal(info.pasid_bits, 0);
	assert_int_equal(info.max_stalls, 3);
	assert_true(info.stall_forced);
	assert_int_equal(info.nb_queues, 1);
	assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
	SAYS("model 'a' is open already; close it first",
		assert_int_equal(open_string("model=a", &info, &again), -EBUSY));
	assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
	smmuv3_pmd.ops.close(priv);
	assert_null(smmuv3_model_lookup("a"));
}

/* GBPA.ABORT is RAZ/WI: the model is harsh. */
static void
test_device_string_makes_a_harsh_model(void **state)
{
	struct iopf_iommu_info info;
	void *priv;

	(void)state;
	for (unsigned int harsh = 0; harsh < 2; harsh++) {
		assert_int_equal(open_string(harsh ? "model=a,model_harsh=0x200,model_seed=7" :
				"model=a", &info, &priv), 0);
		assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
		assert_int_equal(!!(smmuv3_read32(smmuv3_model_regs(smmuv3_model_lookup("a")),
				SMMUV3_GBPA) & SMMUV3_GBPA_ABORT), !harsh);
		assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_page_requests_are_there_only_when_asked_for(void **state)
{
	static const struct {
		const char *keys;
		uint32_t size, max;
		bool pasid;
		uint32_t most;
	} models[] = {
		{ "", 0, 0, false, 0 },
		{ ",model_pri=0", 0, 0, false, 0 },
		{ ",model_pri=1", 1024, 896, false, 1024 },
		{ ",model_pri=1,model_pps=1,model_priq=19", 1024, 896, true, 4096 },
		{ ",model_pri=1,model_priq=5", 32, 28, false, 32 },
		{ ",model_pri=1,model_priq=2", 4, 3, false, 4 },
		{ ",model_pri=1,model_priq=0", 1, 1, false, 1 },
	};
	struct iopf_iommu_info info;
	struct iopf_event event;
	char str[64];
	void *priv;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(models); i++) {
		memset(&info, 0xff, sizeof(info));
		snprintf(str, sizeof(str), "model=a%s", models[i].keys);
		assert_int_equal(open_string(str, &info, &priv), 0);
		assert_int_equal(info.request_queue_size, models[i].size);
		assert_int_equal(info.max_requests, models[i].max);
		assert_int_equal(info.pri_pasid, models[i].pasid);
		assert_int_equal(info.nb_queues, models[i].size > 0 ? 2 : 1);
		assert_int_equal(info.max_event_queue, 1024);
		assert_int_equal(info.max_command_queue, 1024);
		assert_int_equal(info.max_request_queue, models[i].most);
		assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
		assert_int_equal(smmuv3_pmd.ops.poll(priv, IOPF_QUEUE_REQUESTS, &event, 1), 0);
		assert_true(smmuv3_pmd.ops.queue_passed(priv, IOPF_QUEUE_REQUESTS,
				smmuv3_pmd.ops.queue_mark(priv, IOPF_QUEUE_REQUESTS)));
		assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_stage2_is_there_only_when_asked_for(void **state)
{
	static const char *const strings[] = { "model=a", "model=a,model_s2=0",
		"model=a,model_s2=1", "model=a,model_s2=1,model_pri=1" };
	struct iopf_iommu_info info;
	void *priv;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(strings); i++) {
		memset(&info, 0xff, sizeof(info));
		assert_int_equal(open_string(strings[i], &info, &priv), 0);
		assert_int_equal(info.stage2, i >= 2);
		assert_int_equal(info.ipa_bits, i >= 2 ? 48 : 0);
		assert_int_equal(info.vmid_bits, i >= 2 ? 8 : 0);
		assert_int_equal(info.nb_queues, i == 3 ? 2 : 1);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_ecmdqs_are_there_only_when_asked_for(void **state)
{
	static const struct {
		const char *string;
		unsigned int nb, used;
	} rows[] = {
		{ "model=a", 0, 0 }, { "model=a,model_ecmdq=0", 1, 1 },
		{ "model=a,model_ecmdq=3", 8, 8 }, { "model=a,model_ecmdq=8,model_pri=1", 256, 16 },
	};
	struct iopf_iommu_info info;
	void *priv;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
		const struct smmuv3 *s;

		assert_int_equal(open_string(rows[i].string, &info, &priv), 0);
		s = priv;
		assert_int_equal(s->ecmdq_regs.nb, rows[i].nb);
		assert_int_equal(s->nb_ecmdqs, rows[i].used);
		assert_int_equal(smmuv3_pmd.ops.start(priv), 0);
		assert_int_equal(smmuv3_pmd.ops.stop(priv), 0);
		smmuv3_pmd.ops.close(priv);
	}
}

static void
test_the_request_queue_has_at_most_4096_entries(void **state)
{
	static const struct {
		uint32_t size;
		int ret;
	} sizes[] = {
		{ 0, 0 }, { 1, 0 }, { 1024, 0 }, { 4096, 0 }, { 8192, -EINVAL }, { 3, -EINVAL },
	};
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
			.request_queue_size = 1 }), -EINVAL);
	pmd_close(&p);
	pmd_open(&p, &(struct smmuv3_model_conf){ .priq_log2 = 14,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	for (i = 0; i < RTE_DIM(sizes); i++)
		assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
				.request_queue_size = sizes[i].size }), sizes[i].ret);
	pmd_close(&p);
}

static void
test_queue_sizes_are_checked(void **state)
{
	static const struct {
		uint32_t cmdq, evtq;
		int ret;
	} sizes[] = {
		{ 0, 0, 0 }, { 1, 1, 0 }, { 16, 64, 0 }, { 1024, 1024, 0 }, { 2, 0, 0 },
		{ 3, 0, -EINVAL }, { 2048, 0, -EINVAL }, { 0, 2048, -EINVAL }, { 0, 100, -EINVAL },
		{ 0, 0x80000000, -EINVAL },
	};
	struct pmd p;
	unsigned int i;

	(void)state;
	pmd_open(&p, NULL);
	pmd_add_dev(&p, IOPF_STALL, 0, IOPF_NO_PASID);
	for (i = 0; i < RTE_DIM(sizes); i++) {
		assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
			.command_queue_size = sizes[i].cmdq,
			.event_queue_size = sizes[i].evtq }), sizes[i].ret);
		assert_int_equal(p.ops->start(p.s), 0);
		pmd_serve_fault(&p, PMD_VA + i * 0x10000);
		if (sizes[i].ret == 0 && sizes[i].cmdq > 0)
			assert_int_equal(SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, smmuv3_read32(
					smmuv3_model_regs(p.m), SMMUV3_CMDQ_BASE)),
					rte_log2_u32(sizes[i].cmdq));
		assert_int_equal(p.ops->stop(p.s), 0);
	}
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_device_strings_are_parsed_strictly),
	cmocka_unit_test(test_device_string_makes_a_harsh_model),
	cmocka_unit_test(test_page_requests_are_there_only_when_asked_for),
	cmocka_unit_test(test_stage2_is_there_only_when_asked_for),
	TEST_WITHOUT_ECMDQS(test_ecmdqs_are_there_only_when_asked_for),
	cmocka_unit_test(test_the_request_queue_has_at_most_4096_entries),
	cmocka_unit_test(test_queue_sizes_are_checked),
};

TEST_SUITE(pmd_config, tests, NULL, NULL);
