/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page request groups through the public interface: groups as the handler sees them, PRG indices,
 * and the PASID of an answer (contract 8).
 */

#include <stdlib.h>

#include <rte_common.h>

#include "iopf_handler.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "test.h"

#define SID	8
#define AT(page) (PCIE_VA + (uint64_t)(page) * PCIE_PAGE)

static const struct smmuv3_model_conf with_pps = { .features = SMMUV3_MODEL_PPS };

static struct pcie r;

static void
a_group_of_any_size_is_handled_at_once_and_answered_once(void **state)
{
	static const unsigned int sizes[] = { 1, 2, 32 };
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_done done;
	struct pcie_space s;
	struct pcie_fn f;
	unsigned int page = 0;

	(void)state;
	dma = pcie_open_simple(&r, &f, &s, SID, 32);
	assert_string_equal(f.log, "AP");
	assert_int_equal(f.stu, 12);
	assert_int_equal(f.credits, 32);
	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		unsigned int n = sizes[i];

		done = pcie_write_and_wait(&r, dma, page, n, SMMUV3_MODEL_OK);
		assert_int_equal(done.nb_groups, 1);
		assert_int_equal(done.nb_stalls, 0);
		assert_int_equal(s.calls, i + 1);
		assert_ptr_equal(s.group.dev, f.dev);
		assert_int_equal(s.group.pasid, IOPF_NO_PASID);
		assert_int_equal(s.group.nb_faults, n);
		for (unsigned int k = 0; k < n; k++) {
			assert_int_equal(s.fault[k].addr, AT(page + k));
			assert_int_equal(s.fault[k].sid, SID);
			assert_int_equal(s.fault[k].perm, IOPF_PERM_WRITE);
			assert_int_equal(s.fault[k].flags, IOPF_FAULT_PAGE_REQUEST);
			assert_int_equal(s.fault[k].reason, IOPF_REASON_TRANSLATION);
			assert_int_equal(s.fault[k].queue, IOPF_QUEUE_REQUESTS);
		}
		pcie_expect_pattern(&r, &s, page, n);
		page += n;
	}
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_GROUPS), 3);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_RECORDS), 35);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_ANSWERS), 3);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_FAULTS), 3);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_SUCCESS), 3);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_REQUESTS), 35);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 3);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);
	pcie_close(&r);
	assert_string_equal(f.log, "APpa");
}

static void
the_handler_sees_the_permissions_of_the_access(void **state)
{
	static const struct {
		struct smmuv3_model_op op;
		uint8_t perm;
	} rows[] = {
		{ { .type = SMMUV3_MODEL_READ }, IOPF_PERM_READ },
		{ { .type = SMMUV3_MODEL_WRITE }, IOPF_PERM_WRITE },
		{ { .type = SMMUV3_MODEL_READ, .privileged = true },
			IOPF_PERM_READ | IOPF_PERM_PRIV },
		{ { .type = SMMUV3_MODEL_READ, .instruction = true },
			IOPF_PERM_READ | IOPF_PERM_EXEC },
	};
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;
	uint8_t buf[8];

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	dma = pcie_create_pasid_engine(&r, &f, 3, 1, 0, false);
	pcie_create_space(&r, &s);
	pcie_attach(&s, &f, 3);
	s.leave_unmapped = true;
	s.verdict = IOPF_ANSWER(IOPF_INVALID);
	for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
		struct smmuv3_model_op op = rows[i].op;

		op.addr = AT(i) + 5;
		op.buf = buf;
		op.len = sizeof(buf);
		assert_int_equal(smmuv3_model_dma_submit(dma, &op), 0);
		pcie_run(&r);
		pcie_expect_end(dma, SMMUV3_MODEL_ABORTED);
		assert_int_equal(s.calls, i + 1);
		assert_int_equal(s.group.pasid, 3);
		assert_int_equal(s.fault[0].addr, AT(i));
		assert_int_equal(s.fault[0].perm, rows[i].perm);
	}
	pcie_close(&r);
}

static void
groups_of_several_devices_may_interleave_in_any_order(void **state)
{
	enum { FNS = 3, DMAS = 6 };
	struct pcie_space s[FNS];
	struct pcie_fn f[FNS];
	unsigned int seed = 1, used[FNS], done, n;
	struct smmuv3_model_done d;

	(void)state;
	for (unsigned int round = 0; round < 40; round++) {
		pcie_open(&r, &(struct smmuv3_model_conf){ .seed = round + 1 }, NULL);
		for (unsigned int i = 0; i < FNS; i++) {
			pcie_add_attached_fn(&r, &f[i], &s[i], SID + i, 2 + i, 2, NULL);
			used[i] = 0;
		}
		for (unsigned int i = 0; i < FNS; i++)
			pcie_write(&r, f[i].dma[0], 10 * used[i]++, 2 * (2 + i));
		/* One request of each endpoint, before the second of any. */
		smmuv3_model_step(r.m, FNS);
		assert_int_equal(pcie_poll(&r), FNS);
		assert_int_equal(s[0].calls + s[1].calls + s[2].calls, 0);
		for (done = 0; done < FNS * DMAS;) {
			unsigned int i;

			switch (rand_r(&seed) % 4) {
			case 0:
				for (i = 0; i < FNS; i++)
					if (used[i] < DMAS)
						pcie_write(&r, f[i].dma[0], 10 * used[i]++,
								2 * (2 + i));
				break;
			case 1:
				iopf_poll(r.poller);
				break;
			default:
				smmuv3_model_step(r.m, (unsigned int)rand_r(&seed) % 8);
				break;
			}
			for (i = 0; i < FNS; i++) {
				if (smmuv3_model_dma_poll(f[i].dma[0], &d, 1) == 0)
					continue;
				assert_int_equal(d.status, SMMUV3_MODEL_OK);
				assert_int_equal(d.nb_groups, 2);
				done++;
			}
		}
		for (unsigned int i = 0; i < FNS; i++) {
			/* Each group is whole: the handler of the rig checks the addresses. */
			assert_int_equal(s[i].calls, 2 * DMAS);
			assert_int_equal(iopf_domain_stat(s[i].domain, IOPF_STAT_REQUESTS),
					2 * DMAS * (2 + i));
			for (n = 0; n < DMAS; n++)
				pcie_expect_pattern(&r, &s[i], 10 * n, 2 * (2 + i));
		}
		pcie_close(&r);
	}
}

static void
a_prg_index_can_be_reused_at_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_add_attached_fn(&r, &f, &s, SID, 2, 1, NULL);
	for (unsigned int i = 0; i < 16; i++)
		pcie_write(&r, dma, 3 * i, 3);
	pcie_run(&r);
	for (unsigned int i = 0; i < 16; i++) {
		assert_int_equal(pcie_expect_end(dma, SMMUV3_MODEL_OK).nb_groups, 2);
		pcie_expect_pattern(&r, &s, 3 * i, 3);
	}
	assert_int_equal(s.calls, 32);
	assert_int_equal(s.fault[0].token, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
	pcie_close(&r);
}

/* Two groups with index 0, pending at the same time, answered in reverse order. */
static void
check_same_index(bool prg_pasid, const struct smmuv3_model_conf *conf)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f;

	pcie_open(&r, conf, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8, .prg_pasid = prg_pasid });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_create_pasid_engine(&r, &f, 1 + i, 2, 1, prg_pasid);
		pcie_create_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
		s[i].verdict = IOPF_TAKEN;
	}
	assert_string_equal(f.log, "AP");
	for (unsigned int i = 0; i < 2; i++)
		pcie_write(&r, dma[i], 4 * i, 2);
	pcie_run(&r);
	if (!prg_pasid) {
		/* Without a PASID in the answer one index serves one group at a time. */
		unsigned int first = s[1].calls;

		assert_int_equal(s[0].calls + s[1].calls, 1);
		for (unsigned int i = 0; i < 2; i++) {
			unsigned int k = i ^ first;

			assert_int_equal(s[k].calls, 1);
			assert_int_equal(iopf_group_respond(s[k].group.id, IOPF_SUCCESS), 0);
			pcie_run(&r);
			pcie_expect_end(dma[k], SMMUV3_MODEL_OK);
			pcie_expect_pattern(&r, &s[k], 4 * k, 2);
		}
		pcie_close(&r);
		return;
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(s[i].calls, 1);
		assert_int_equal(s[i].group.pasid, 1 + i);
		assert_int_equal(s[i].fault[0].token, 0);
	}
	assert_int_equal(iopf_group_respond(s[1].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(dma[1], SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_dma_outstanding(dma[0]), 1);
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_expect_end(dma[0], SMMUV3_MODEL_OK);
	pcie_expect_pattern(&r, &s[0], 0, 2);
	pcie_expect_pattern(&r, &s[1], 4, 2);
	pcie_close(&r);
}

static void
two_pasids_can_share_an_index_if_answers_carry_the_pasid(void **state)
{
	(void)state;
	check_same_index(true, NULL);
	check_same_index(true, &with_pps);
}

static void
an_answer_carries_the_pasid_only_if_the_function_requires_it(void **state)
{
	(void)state;
	/* The model checks that the answer has the form that the endpoint requires. */
	check_same_index(false, NULL);
	check_same_index(false, &with_pps);
}

static void
requests_of_an_unattached_pasid_are_answered_invalid_once(void **state)
{
	struct smmuv3_model_dma *stray;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_add_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	pcie_create_space(&r, &s);
	stray = pcie_create_pasid_engine(&r, &f, 5, 4, 0, false);
	pcie_attach(&s, &f, 1);
	pcie_write_and_wait(&r, stray, 0, 4, SMMUV3_MODEL_ABORTED);
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS),
			pcie_stat(&r, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_REPORTS),
			pcie_stat(&r, IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN));
	assert_true(iopf_dev_stat(f.dev, IOPF_DEV_STAT_NO_DOMAIN) > 0);
	assert_false(smmuv3_model_dma_pri_failed(stray));
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_group_of_any_size_is_handled_at_once_and_answered_once),
	cmocka_unit_test(the_handler_sees_the_permissions_of_the_access),
	cmocka_unit_test(groups_of_several_devices_may_interleave_in_any_order),
	cmocka_unit_test(a_prg_index_can_be_reused_at_once),
	cmocka_unit_test(two_pasids_can_share_an_index_if_answers_carry_the_pasid),
	cmocka_unit_test(an_answer_carries_the_pasid_only_if_the_function_requires_it),
	cmocka_unit_test(requests_of_an_unattached_pasid_are_answered_invalid_once),
};
TEST_SUITE(pri_groups, tests, NULL, NULL);
