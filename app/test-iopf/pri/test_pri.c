/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests from a function's access to its answer, through the public interface:
 * contracts 8 and 9 of the design. Nothing happens between two calls of a test.
 */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>
#include <rte_log.h>

#include "mmem.h"
#include "pcie_rig.h"
#include "test.h"

#define SID	8
#define AT(page) (PCIE_VA + (uint64_t)(page) * PCIE_PAGE)

static const struct smmuv3_model_conf small_queue = { .priq_log2 = 3 };	/* 8, of which 7 */
static const struct smmuv3_model_conf with_pps = { .features = SMMUV3_MODEL_PPS };

static struct pcie r;

/* An engine of a PASID. */
static struct smmuv3_model_dma *
tagged(struct pcie_fn *f, uint32_t pasid, unsigned int group_pages, unsigned int prg_indices,
		bool prg_pasid)
{
	return pcie_engine(&r, f, &(struct smmuv3_model_dma_conf){
		.has_ssid = true,
		.ssid = pasid,
		.group_pages = group_pages,
		.prg_indices = prg_indices,
		.prg_pasid = prg_pasid,
	});
}

/* A function with one engine, untagged, attached. */
static struct smmuv3_model_dma *
function(struct pcie_fn *f, struct pcie_space *s, uint32_t sid, unsigned int group_pages,
		unsigned int prg_indices, const struct iopf_dev_conf *conf)
{
	pcie_fn(&r, f, sid, conf);
	pcie_engine(&r, f, &(struct smmuv3_model_dma_conf){
		.group_pages = group_pages,
		.prg_indices = prg_indices,
	});
	pcie_space(&r, s);
	pcie_attach(s, f, IOPF_NO_PASID);
	return f->dma[0];
}

static const struct iopf_dev_conf over_committed = { .pri_requests = 32, .pri_overcommit = true };

/* The driver and the library say what a test does to them. */
static void
quiet(bool on)
{
	rte_log_set_level_pattern("lib.iopf", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
	rte_log_set_level_pattern("lib.mmem", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
	rte_log_set_level_pattern("pmd.smmuv3", on ? RTE_LOG_EMERG : RTE_LOG_INFO);
}

/*
 * Groups
 */

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
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 32);
	assert_string_equal(f.log, "AP");
	assert_int_equal(f.stu, 12);
	assert_int_equal(f.credits, 32);
	for (unsigned int i = 0; i < RTE_DIM(sizes); i++) {
		unsigned int n = sizes[i];

		pcie_write(&r, dma, page, n);
		pcie_run(&r);
		done = pcie_ended(dma, SMMUV3_MODEL_OK);
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
		pcie_intact(&r, &s, page, n);
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
what_an_access_wants_is_what_the_handler_sees(void **state)
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
	pcie_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	dma = tagged(&f, 3, 1, 0, false);
	pcie_space(&r, &s);
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
		pcie_ended(dma, SMMUV3_MODEL_ABORTED);
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
			function(&f[i], &s[i], SID + i, 2 + i, 2, NULL);
			used[i] = 0;
		}
		for (unsigned int i = 0; i < FNS; i++)
			pcie_write(&r, f[i].dma[0], 10 * used[i]++, 2 * (2 + i));
		/* The first request of each, before the second of one. */
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
			/* Each group whole: the handler looked at its addresses. */
			assert_int_equal(s[i].calls, 2 * DMAS);
			assert_int_equal(iopf_domain_stat(s[i].domain, IOPF_STAT_REQUESTS),
					2 * DMAS * (2 + i));
			for (n = 0; n < DMAS; n++)
				pcie_intact(&r, &s[i], 10 * n, 2 * (2 + i));
		}
		pcie_close(&r);
	}
}

static void
a_prg_index_can_be_used_again_at_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = function(&f, &s, SID, 2, 1, NULL);
	for (unsigned int i = 0; i < 16; i++)
		pcie_write(&r, dma, 3 * i, 3);
	pcie_run(&r);
	for (unsigned int i = 0; i < 16; i++) {
		assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_OK).nb_groups, 2);
		pcie_intact(&r, &s, 3 * i, 3);
	}
	assert_int_equal(s.calls, 32);
	assert_int_equal(s.fault[0].token, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
	pcie_close(&r);
}

/* Both with index 0, pending at the same time, answered in the other order. */
static void
same_index(bool prg_pasid, const struct smmuv3_model_conf *conf)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f;

	pcie_open(&r, conf, NULL);
	pcie_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8, .prg_pasid = prg_pasid });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = tagged(&f, 1 + i, 2, 1, prg_pasid);
		pcie_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
		s[i].verdict = IOPF_TAKEN;
	}
	assert_string_equal(f.log, "AP");
	for (unsigned int i = 0; i < 2; i++)
		pcie_write(&r, dma[i], 4 * i, 2);
	pcie_run(&r);
	if (!prg_pasid) {
		/* One index, and no PASID to tell them apart by: one after the other. */
		unsigned int first = s[1].calls;

		assert_int_equal(s[0].calls + s[1].calls, 1);
		for (unsigned int i = 0; i < 2; i++) {
			unsigned int k = i ^ first;

			assert_int_equal(s[k].calls, 1);
			assert_int_equal(iopf_group_respond(s[k].group.id, IOPF_SUCCESS), 0);
			pcie_run(&r);
			pcie_ended(dma[k], SMMUV3_MODEL_OK);
			pcie_intact(&r, &s[k], 4 * k, 2);
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
	pcie_ended(dma[1], SMMUV3_MODEL_OK);
	assert_int_equal(smmuv3_model_dma_outstanding(dma[0]), 1);
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_OK);
	pcie_intact(&r, &s[0], 0, 2);
	pcie_intact(&r, &s[1], 4, 2);
	pcie_close(&r);
}

static void
two_pasids_may_use_the_same_index_where_answers_have_the_pasid(void **state)
{
	(void)state;
	same_index(true, NULL);
	same_index(true, &with_pps);
}

static void
an_answer_has_the_pasid_only_where_it_is_wanted(void **state)
{
	(void)state;
	/* The model knows what the function wants. */
	same_index(false, NULL);
	same_index(false, &with_pps);
}

static void
requests_of_an_unattached_pasid_are_invalid_and_answered_once(void **state)
{
	struct smmuv3_model_dma *stray;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	pcie_space(&r, &s);
	stray = tagged(&f, 5, 4, 0, false);
	pcie_attach(&s, &f, 1);
	pcie_write(&r, stray, 0, 4);
	pcie_run(&r);
	pcie_ended(stray, SMMUV3_MODEL_ABORTED);
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS),
			pcie_stat(&r, IOPF_IOMMU_STAT_NO_DOMAIN));
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_REPORTS),
			pcie_stat(&r, IOPF_IOMMU_STAT_ABORTED_NO_DOMAIN));
	assert_true(iopf_dev_stat(f.dev, IOPF_DEV_STAT_NO_DOMAIN) > 0);
	assert_false(smmuv3_model_dma_pri_failed(stray));
	pcie_close(&r);
}

/*
 * Last lost, Last twice, stop markers
 */

static void
a_group_without_last_is_aged_reported_and_keeps_pri_from_draining(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, &(struct iopf_iommu_conf){ .partial_ms = 1 });
	dma = pcie_simple(&r, &f, &s, SID, 4);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	quiet(true);
	for (unsigned int i = 0; i < 2000 && pcie_stat(&r, IOPF_IOMMU_STAT_AGED) == 0; i++)
		pcie_run_ms(&r, 5);
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_AGED), 3);
	assert_int_equal(r.nb_reports, 3);
	assert_int_equal(r.report.flags, IOPF_FAULT_PAGE_REQUEST);
	assert_int_equal(r.report.sid, SID);
	assert_in_range(r.report.addr, AT(8), AT(10));

	/* The function waits for an answer that nobody owes it. */
	smmuv3_model_dma_quirks(dma, 0, 0);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), -ETIMEDOUT);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 32);
	assert_string_equal(f.log, "APp");
	pcie_fn_reset(&r, &f);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	quiet(false);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);

	memset(f.log, 0, sizeof(f.log));
	pcie_attach(&s, &f, IOPF_NO_PASID);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 8, 4);
	pcie_close(&r);
	assert_string_equal(f.log, "APpa");
}

/* A stop switches ATS off at it all the same; a start does not take it for drained. */
static void
a_device_that_did_not_drain_is_asked_again_behind_a_start(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	quiet(true);
	smmuv3_model_dma_quirks(dma, 0, 0);
	assert_int_equal(iopf_iommu_stop(r.iommu), 0);
	assert_string_equal(f.log, "APpa");
	/* Not switched on, and not switched off again while it waits. */
	assert_int_equal(iopf_iommu_start(r.iommu), 0);
	assert_string_equal(f.log, "APpa");
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), -ETIMEDOUT);
	pcie_fn_reset(&r, &f);
	memset(f.log, 0, sizeof(f.log));
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	/* Off at the device after its reset, which the operation takes for done. */
	assert_string_equal(f.log, "aAP");
	memset(f.log, 0, sizeof(f.log));
	quiet(false);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_write(&r, dma, 8, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 8, 4);
	/* The stop, which does not wait for good. */
	assert_int_equal(smmuv3_model_driver_errors(r.m), 1);
	smmuv3_model_driver_errors_clear(r.m);
	pcie_close(&r);
}

static void
a_last_that_comes_twice_is_answered_once(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 2);
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DUP_LAST, 0);
	/* In one pass. */
	pcie_write(&r, dma, 0, 2);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.group.nb_faults, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 1);
	/* While the group is somebody's. */
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 4, 2);
	pcie_run(&r);
	assert_int_equal(s.calls, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 2);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 2);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);
	pcie_close(&r);
}

/* Of three functions, one PASID each, one is left without its Last. */
static void
a_stop_marker_forgets_what_is_partial_of_its_pasid_and_wants_no_answer(void **state)
{
	struct smmuv3_model_dma *dma[2], *other;
	struct pcie_space s[2], so;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = tagged(&f, 1 + i, 3, 0, false);
		pcie_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
	}
	pcie_fn(&r, &fo, SID + 1, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	other = tagged(&fo, 1, 3, 0, false);
	pcie_space(&r, &so);
	pcie_attach(&so, &fo, 1);

	/* PASID 1: partial, and a group that is somebody's. */
	smmuv3_model_dma_quirks(dma[0], SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, dma[0], 0, 3);
	pcie_run(&r);
	smmuv3_model_dma_quirks(dma[0], 0, 0);
	s[0].verdict = IOPF_TAKEN;
	pcie_write(&r, dma[0], 8, 3);
	pcie_run(&r);
	assert_int_equal(s[0].calls, 1);
	/* Its PASID 2, and PASID 1 of another: partial. */
	pcie_write(&r, dma[1], 0, 3);
	pcie_write(&r, other, 0, 3);
	smmuv3_model_step(r.m, 2);
	assert_int_equal(pcie_poll(&r), 2);
	assert_int_equal(s[1].calls + so.calls, 0);

	assert_int_equal(smmuv3_model_dma_stop_marker(dma[0]), 0);
	pcie_poll(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_STOP_MARKERS), 1);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 2);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);

	pcie_run(&r);
	pcie_ended(dma[1], SMMUV3_MODEL_OK);
	pcie_ended(other, SMMUV3_MODEL_OK);
	assert_int_equal(s[1].group.nb_faults, 3);
	assert_int_equal(so.group.nb_faults, 3);
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_OK);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_ANSWERS), 3);
	/* The one without Last. */
	pcie_fn_reset(&r, &f);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
a_stop_marker_without_pasid_is_a_request_and_is_answered(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 2);
	assert_int_equal(smmuv3_model_dma_stop_marker(dma), 0);
	pcie_run(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_STOP_MARKERS), 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.fault[0].addr, 0);
	assert_int_equal(s.fault[0].perm, 0);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 0);
	pcie_close(&r);
}

/*
 * Overflow
 */

/*
 * A queue of eight. One group is somebody's, one is partial in the library, fill single
 * requests and the first k of a group of three fit; the next message does not.
 */
static void
overflow_at(unsigned int k)
{
	struct smmuv3_model_dma *victim, *filler, *partial, *taken;
	struct pcie_space sv, sf, sp, st;
	struct pcie_fn fv, ff, fp, ft;
	unsigned int fill = 8 - k;
	uint64_t before;

	pcie_open(&r, &small_queue, NULL);
	victim = function(&fv, &sv, SID, 3, 1, &over_committed);
	filler = function(&ff, &sf, SID + 1, 1, 0, &over_committed);
	partial = function(&fp, &sp, SID + 2, 2, 1, &over_committed);
	taken = function(&ft, &st, SID + 3, 2, 1, &over_committed);

	st.verdict = IOPF_TAKEN;
	pcie_write(&r, taken, 0, 2);
	pcie_run(&r);
	assert_int_equal(st.calls, 1);
	smmuv3_model_dma_quirks(partial, SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	pcie_write(&r, partial, 0, 2);
	pcie_run(&r);
	smmuv3_model_dma_quirks(partial, 0, 0);

	before = pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS);
	for (unsigned int i = 0; i < fill; i++)
		pcie_write(&r, filler, i, 1);
	pcie_sent(&r, before + fill);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + fill);
	pcie_write(&r, victim, 0, 3);
	if (k == 3) {
		/* Between two groups. */
		pcie_sent(&r, before + 8);
		pcie_write(&r, filler, 20, 1);
	}
	pcie_sent(&r, before + 9);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + 8);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 1);
	/* They ask again and again, and the SMMU answers: nothing is let in. */
	pcie_step(&r);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PPRS), before + 8);
	assert_int_not_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_AUTO_RESPS), 0);

	pcie_poll(&r);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 1);
	/* What is partial is forgotten; what was complete is not. */
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 1 + (k < 3 ? k : 0));
	assert_int_equal(sp.lost, 1);
	assert_int_equal(sv.lost, k < 3 ? k : 0);
	assert_int_equal(sf.lost + st.lost, 0);
	assert_int_equal(sf.calls, fill);
	assert_int_equal(sv.calls, k == 3);
	assert_int_equal(st.calls, 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);

	pcie_run(&r);
	pcie_ended(victim, SMMUV3_MODEL_OK);
	pcie_intact(&r, &sv, 0, 3);
	for (unsigned int i = 0; i < fill + (k == 3); i++)
		pcie_ended(filler, SMMUV3_MODEL_OK);
	pcie_intact(&r, &sf, 0, fill);
	assert_int_equal(smmuv3_model_dma_outstanding(taken), 1);
	assert_int_equal(iopf_group_respond(st.group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_ended(taken, SMMUV3_MODEL_OK);
	pcie_intact(&r, &st, 0, 2);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);

	pcie_fn_reset(&r, &fp);
	pcie_run(&r);
	pcie_ended(partial, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
overflow_at_the_first_request_of_a_group(void **state)
{
	(void)state;
	overflow_at(0);
}

static void
overflow_in_the_middle_of_a_group(void **state)
{
	(void)state;
	overflow_at(1);
}

static void
overflow_at_the_last_request_of_a_group(void **state)
{
	(void)state;
	overflow_at(2);
}

static void
overflow_between_two_groups(void **state)
{
	(void)state;
	overflow_at(3);
}

/* Groups begun before an overflow and ended behind it among them. */
static void
overflow_anywhere_and_again_loses_nothing(void **state)
{
	enum { FNS = 3, DMAS = 8 };
	uint64_t overflows = 0, discarded = 0;
	struct smmuv3_model_done d;
	struct pcie_space s[FNS];
	struct pcie_fn f[FNS];
	unsigned int seed = 7;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		unsigned int used[FNS] = { 0 }, done = 0;

		pcie_open(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 + round % 3,
				.seed = round + 1,
				.features = round % 2 != 0 ? SMMUV3_MODEL_PPS : 0 }, NULL);
		for (unsigned int i = 0; i < FNS; i++)
			function(&f[i], &s[i], SID + i, 1 + i * 2, 1 + round % 4, &over_committed);
		while (done < FNS * DMAS) {
			unsigned int i = (unsigned int)rand_r(&seed) % FNS;

			switch (rand_r(&seed) % 8) {
			case 0:
				if (used[i] < DMAS)
					pcie_write(&r, f[i].dma[0], 10 * used[i]++, 2 * (1 + i));
				break;
			case 1:
				iopf_poll(r.poller);
				break;
			default:
				smmuv3_model_step(r.m, (unsigned int)rand_r(&seed) % 4);
				break;
			}
			for (i = 0; i < FNS; i++) {
				if (smmuv3_model_dma_poll(f[i].dma[0], &d, 1) == 0)
					continue;
				assert_int_equal(d.status, SMMUV3_MODEL_OK);
				done++;
			}
		}
		for (unsigned int i = 0; i < FNS; i++)
			for (unsigned int n = 0; n < DMAS; n++)
				pcie_intact(&r, &s[i], 10 * n, 2 * (1 + i));
		overflows += pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS);
		discarded += pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS),
				pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS));
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DUPLICATES), 0);
		pcie_close(&r);
	}
	/* It happened. */
	assert_true(overflows > 100);
	assert_true(discarded > 100);
}

/* Groups so large that none fits in before the queue is full of others' again. */
static void
overflow_every_time_still_lets_devices_get_on(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f[2];
	unsigned int passes, seed = 1;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = function(&f[i], &s[i], SID + i, 32, 0, &over_committed);
		s[i].map_lost = true;
		smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_CREDITS, 0);
		for (unsigned int k = 0; k < 4; k++)
			pcie_write(&r, dma[i], 32 * k, 32);
	}
	/* Polled at any moment: what is in the queue then is not always the same. */
	for (passes = 0; passes < 4096; passes++) {
		smmuv3_model_step(r.m, 256 + (unsigned int)rand_r(&seed) % 256);
		if (pcie_poll(&r) == 0)
			break;
	}
	assert_in_range(passes, 16, 4095);
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int k = 0; k < 4; k++)
			pcie_ended(dma[i], SMMUV3_MODEL_OK);
		pcie_intact(&r, &s[i], 0, 128);
	}
	assert_true(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS) > 16);
	pcie_close(&r);
}

/*
 * Credits
 */

static void
credits_are_given_at_attach_and_come_back_at_detach(void **state)
{
	static const struct iopf_dev_conf five = { .pri_requests = 5 };
	struct smmuv3_model_dma *dma;
	struct pcie_space s[3];
	struct pcie_fn f[3];

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	assert_int_equal(iopf_iommu_info(r.iommu)->request_queue_size, 8);
	assert_int_equal(iopf_iommu_info(r.iommu)->max_requests, 7);
	for (unsigned int i = 0; i < 3; i++) {
		pcie_fn(&r, &f[i], SID + i, i == 2 ? &over_committed : &five);
		pcie_engine(&r, &f[i], &(struct smmuv3_model_dma_conf){ .group_pages = 8 });
		pcie_space(&r, &s[i]);
	}
	pcie_attach(&s[0], &f[0], IOPF_NO_PASID);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 5);
	assert_int_equal(f[0].credits, 5);
	/* Too little is left: nothing was touched. */
	quiet(true);
	assert_int_equal(iopf_domain_attach(s[1].domain, f[1].dev, IOPF_NO_PASID), -ENOSPC);
	quiet(false);
	assert_string_equal(f[1].log, "");
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 5);
	assert_int_equal(iopf_domain_detach(s[0].domain, f[0].dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	pcie_attach(&s[1], &f[1], IOPF_NO_PASID);
	assert_string_equal(f[1].log, "AP");
	/* Asked for, it is given although it is not there. */
	pcie_attach(&s[2], &f[2], IOPF_NO_PASID);
	assert_int_equal(f[2].credits, 32);
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 37);

	/* Nobody has more outstanding than was given. */
	dma = f[1].dma[0];
	pcie_write(&r, dma, 0, 8);
	pcie_step(&r);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(dma), 5);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS), 0);
	pcie_write(&r, f[2].dma[0], 0, 32);
	pcie_run(&r);
	pcie_ended(f[2].dma[0], SMMUV3_MODEL_OK);
	pcie_intact(&r, &s[2], 0, 32);
	pcie_close(&r);
}

static void
a_device_that_ignores_its_credits_loses_nothing(void **state)
{
	struct smmuv3_model_dma *dma, *good;
	struct pcie_space s, sg;
	struct pcie_fn f, fg;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	dma = function(&f, &s, SID, 1, 0, &(struct iopf_dev_conf){ .pri_requests = 2 });
	good = function(&fg, &sg, SID + 1, 4, 0, &(struct iopf_dev_conf){ .pri_requests = 4 });
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_CREDITS, 0);
	for (unsigned int i = 0; i < 16; i++)
		pcie_write(&r, dma, 4 * i, 4);
	pcie_write(&r, good, 0, 16);
	pcie_run(&r);
	for (unsigned int i = 0; i < 16; i++)
		pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_ended(good, SMMUV3_MODEL_OK);
	assert_int_not_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 0);
	pcie_intact(&r, &s, 0, 64);
	pcie_intact(&r, &sg, 0, 16);
	pcie_close(&r);
}

/* Slots are twice the queue's entries, at least 64. */
static void
more_groups_than_slots_are_asked_for_again(void **state)
{
	/* An over-committed device has half of the 64 there are. */
	enum { DMAS = 80, SLOTS = 32 };
	struct smmuv3_model_dma *dma;
	struct smmuv3_model_done d;
	uint64_t answered = 0;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, &small_queue, NULL);
	dma = function(&f, &s, SID, 1, 0, &(struct iopf_dev_conf){ .pri_requests = 128,
			.pri_overcommit = true });
	s.verdict = IOPF_TAKEN;
	for (unsigned int i = 0; i < DMAS; i++)
		pcie_write(&r, dma, i, 1);
	for (unsigned int i = 0; i < 100; i++) {
		smmuv3_model_step(r.m, 64);
		pcie_poll(&r);
	}
	assert_int_equal(s.calls, SLOTS);
	assert_int_equal(iopf_domain_pending(s.domain), SLOTS);
	/* Answered Success, and asked again, and again. */
	assert_true(pcie_stat(&r, IOPF_IOMMU_STAT_NO_SLOT) > DMAS - SLOTS);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), DMAS);
	/* Once there is room they are served. */
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	for (unsigned int i = 0; i < 1000; i++) {
		smmuv3_model_step(r.m, 64);
		pcie_poll(&r);
		while (smmuv3_model_dma_poll(dma, &d, 1) == 1) {
			assert_int_equal(d.status, SMMUV3_MODEL_OK);
			answered++;
		}
	}
	assert_int_equal(answered, DMAS - SLOTS + 1);
	/* The rest is the detach's. */
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_CANCELLED), SLOTS - 1);
	pcie_run(&r);
	for (unsigned int i = 0; i < SLOTS - 1; i++)
		pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
attach_is_undone_when_the_device_refuses(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 4 });
	pcie_space(&r, &s);
	/* ATS is on already. */
	assert_int_equal(smmuv3_model_dma_ats_enable(dma, 12), 0);
	quiet(true);
	assert_int_equal(iopf_domain_attach(s.domain, f.dev, IOPF_NO_PASID), -EBUSY);
	quiet(false);
	assert_string_equal(f.log, "A");
	assert_int_equal(iopf_iommu_requests_granted(r.iommu), 0);
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
	memset(f.log, 0, sizeof(f.log));
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_attach(&s, &f, IOPF_NO_PASID);
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_close(&r);
}

/*
 * Codes and verdicts
 */

static void
an_invalid_group_aborts_and_the_device_goes_on_asking(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_ANSWER(IOPF_INVALID);
	s.leave_unmapped = true;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_ABORTED).bytes, 0);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s.leave_unmapped = false;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_INVALID), 1);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_SUCCESS), 1);
	pcie_close(&r);
}

static void
a_success_that_maps_nothing_is_asked_again(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	s.leave_unmapped = true;
	pcie_write(&r, dma, 0, 4);
	for (unsigned int i = 0; i < 5; i++) {
		pcie_step(&r);
		pcie_poll(&r);
	}
	assert_int_equal(s.calls, 5);
	s.leave_unmapped = false;
	pcie_run(&r);
	assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_OK).nb_groups, 6);
	pcie_close(&r);
}

static void
a_response_failure_ends_pri_until_it_is_restarted(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;
	uint64_t groups;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_ANSWER(IOPF_FAILURE);
	s.leave_unmapped = true;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_FAILURE), 1);
	s.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	s.leave_unmapped = false;
	groups = pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS);
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_GROUPS), groups);

	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	assert_string_equal(f.log, "APpaAP");
	assert_int_equal(f.credits, 32);
	assert_false(smmuv3_model_dma_pri_failed(dma));
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 0, 4);

	/* Where there is nothing to restart. */
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	quiet(true);
	assert_int_equal(iopf_dev_pri_restart(f.dev), -ENOTCONN);
	quiet(false);
	assert_string_equal(f.log, "APpaAPpa");
	pcie_close(&r);
}

static void
a_taken_group_is_answered_once_by_whoever_took_it(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 8);
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 8);
	pcie_run(&r);
	assert_int_equal(s.calls, 1);
	assert_int_equal(s.group.nb_faults, 8);
	assert_int_equal(iopf_domain_pending(s.domain), 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	assert_int_equal(iopf_domain_pending(s.domain), 0);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	/* RAZ/WI is nothing that a page request can have: it is Invalid. */
	pcie_write(&r, dma, 16, 1);
	pcie_run(&r);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_RAZWI), 0);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

/* A domain that writes need: reads map read-only. */
static enum iopf_verdict
upgrades(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	const struct iopf_fault *fault = group->faults[0];
	struct pcie_space *s = ctx;
	struct pgt_unmapped out;
	struct pgt_inv inv;
	int rc;

	(void)domain;
	s->calls++;
	rc = pgt_resolve(s->pgt, fault->addr, (uintptr_t)s->data + fault->addr - PCIE_VA,
			fault->perm & IOPF_PERM_WRITE ? PGT_READ | PGT_WRITE : PGT_READ);
	if (rc != -EACCES) {
		assert_int_equal(rc, 0);
		return IOPF_ANSWER(IOPF_SUCCESS);
	}
	pgt_unmapped_init(&out, &inv, 1);
	assert_int_equal(pgt_protect(s->pgt, fault->addr, (uint64_t)group->nb_faults * PCIE_PAGE,
			PGT_READ | PGT_WRITE, &out), 0);
	assert_int_equal(iopf_group_invalidate(group, &(struct iopf_inv){
			.addr = inv.va, .size = inv.size, .leaf_log2 = 12, .leaf_only = true }), 0);
	return IOPF_ANSWER_AFTER_INV(IOPF_SUCCESS);
}

static void
an_upgrade_is_answered_behind_its_invalidation_of_the_atc(void **state)
{
	struct smmuv3_model_dma *dma;
	struct iopf_domain *domain;
	struct pcie_space s;
	struct pcie_fn f;
	uint64_t invs;
	uint8_t buf[8];

	(void)state;
	pcie_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB }, NULL);
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 1 });
	pcie_space(&r, &s);
	domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = upgrades,
		.ctx = &s,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(s.pgt),
			.va_bits = pgt_va_bits(s.pgt), .granule_log2 = pgt_granule_log2(s.pgt) },
	});
	assert_non_null(domain);
	assert_int_equal(iopf_domain_attach(domain, f.dev, IOPF_NO_PASID), 0);
	for (unsigned int i = 0; i < 8; i++) {
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = AT(i), .buf = buf, .len = 8 }), 0);
		pcie_run(&r);
		pcie_ended(dma, SMMUV3_MODEL_OK);
		invs = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS);
		pcie_write(&r, dma, i, 1);
		pcie_run(&r);
		/* Not asked twice: the ATC and the TLB had forgotten before the answer. */
		assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_OK).nb_groups, 1);
		assert_true(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_INVS) > invs);
	}
	pcie_intact(&r, &s, 0, 8);
	assert_int_equal(s.calls, 16);
	assert_int_equal(iopf_domain_stat(domain, IOPF_STAT_AFTER_INV), 8);
	assert_int_equal(iopf_domain_detach(domain, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(domain), 0);
	pcie_close(&r);
}

static struct {
	sem_t in, go;
	unsigned int nb;
} deferred;

static enum iopf_verdict
defers(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_DEFER;
}

static enum iopf_verdict
on_worker(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	struct pcie_space *s = ctx;

	(void)domain;
	deferred.nb = group->nb_faults;
	for (unsigned int i = 0; i < group->nb_faults; i++)
		pgt_resolve(s->pgt, group->faults[i]->addr, (uintptr_t)s->data +
				group->faults[i]->addr - PCIE_VA, PGT_READ | PGT_WRITE);
	sem_post(&deferred.in);
	sem_wait(&deferred.go);
	return IOPF_ANSWER(IOPF_SUCCESS);
}

struct deferring {
	struct iopf_domain *domain;
	struct iopf_worker *worker;
	struct pcie_space s;
	struct pcie_fn f;
	struct smmuv3_model_dma *dma;
	_Atomic bool detached;
	int rc;
};

static void
deferring_open(struct deferring *d)
{
	pcie_open(&r, NULL, NULL);
	sem_init(&deferred.in, 0, 0);
	sem_init(&deferred.go, 0, 0);
	d->worker = iopf_worker_create(NULL);
	assert_non_null(d->worker);
	pcie_fn(&r, &d->f, SID, NULL);
	d->dma = pcie_engine(&r, &d->f, &(struct smmuv3_model_dma_conf){ .group_pages = 16 });
	pcie_space(&r, &d->s);
	d->domain = iopf_domain_create(&(struct iopf_domain_conf){
		.handler = defers,
		.deferred = on_worker,
		.worker = d->worker,
		.ctx = &d->s,
		.translation = { .format = IOPF_FORMAT_ARM64_S1, .root = pgt_root(d->s.pgt),
			.va_bits = pgt_va_bits(d->s.pgt),
			.granule_log2 = pgt_granule_log2(d->s.pgt) },
	});
	assert_non_null(d->domain);
	assert_int_equal(iopf_domain_attach(d->domain, d->f.dev, IOPF_NO_PASID), 0);
}

static void
deferring_close(struct deferring *d)
{
	assert_int_equal(iopf_domain_detach(d->domain, d->f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_domain_destroy(d->domain), 0);
	assert_int_equal(iopf_worker_destroy(d->worker), 0);
	pcie_close(&r);
}

static void
a_deferred_group_is_whole_on_the_worker_and_answered_once(void **state)
{
	struct deferring d = { .rc = 0 };

	(void)state;
	deferring_open(&d);
	pcie_write(&r, d.dma, 0, 16);
	pcie_run(&r);
	sem_wait(&deferred.in);
	assert_int_equal(deferred.nb, 16);
	assert_int_equal(smmuv3_model_dma_outstanding(d.dma), 1);
	sem_post(&deferred.go);
	while (iopf_domain_pending(d.domain) != 0)
		usleep(100);
	pcie_run(&r);
	pcie_ended(d.dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &d.s, 0, 16);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	deferring_close(&d);
}

/*
 * Detach, stop, start
 */

static void *
detach_thread(void *arg)
{
	struct deferring *d = arg;

	d->rc = iopf_domain_detach(d->domain, d->f.dev, IOPF_NO_PASID);
	atomic_store(&d->detached, true);
	return NULL;
}

static void
detach_answers_what_a_worker_has_and_waits_for_it(void **state)
{
	struct deferring d = { .rc = 0 };
	struct smmuv3_model_done done;
	pthread_t thread;

	(void)state;
	deferring_open(&d);
	pcie_write(&r, d.dma, 0, 16);
	pcie_run(&r);
	sem_wait(&deferred.in);
	assert_int_equal(pthread_create(&thread, NULL, detach_thread, &d), 0);
	/* Answered while the handler is still at it. */
	while (smmuv3_model_dma_poll(d.dma, &done, 1) == 0)
		usleep(100);
	assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	usleep(10000);
	assert_false(atomic_load(&d.detached));
	sem_post(&deferred.go);
	pthread_join(thread, NULL);
	assert_int_equal(d.rc, 0);
	assert_string_equal(d.f.log, "APpa");
	assert_int_equal(iopf_domain_stat(d.domain, IOPF_STAT_CANCELLED), 1);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 1);
	deferring_close(&d);
}

static void
detach_answers_what_was_taken_and_the_taker_comes_too_late(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	s.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_string_equal(f.log, "APpa");
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_stat(s.domain, IOPF_STAT_CANCELLED), 1);
	/* Nothing is asked any more, nothing succeeds. */
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(s.calls, 1);
	pcie_close(&r);
}

/* A group of six, of which this many have been sent and polled, some more only sent. */
static void
detach_from_partial(unsigned int polled, unsigned int sent)
{
	struct smmuv3_model_done done;
	struct smmuv3_model_dma *dma;
	struct pcie_space s;
	struct pcie_fn f;

	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 6);
	pcie_write(&r, dma, 0, 6);
	pcie_sent(&r, polled);
	pcie_poll(&r);
	pcie_sent(&r, sent);
	assert_int_equal(iopf_domain_detach(s.domain, f.dev, IOPF_NO_PASID), 0);
	assert_string_equal(f.log, "APpa");
	assert_true(smmuv3_model_dma_pri_drained(dma));
	pcie_run(&r);
	/* It may have been served in time. */
	assert_int_equal(smmuv3_model_dma_poll(dma, &done, 1), 1);
	if (done.status == SMMUV3_MODEL_OK)
		pcie_intact(&r, &s, 0, 6);
	else
		assert_int_equal(done.status, SMMUV3_MODEL_ABORTED);
	pcie_write(&r, dma, 0, 6);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_close(&r);
}

static void
detach_drains_a_group_that_is_being_sent(void **state)
{
	(void)state;
	for (unsigned int polled = 0; polled <= 5; polled++)
		for (unsigned int sent = polled; sent <= 6; sent++)
			detach_from_partial(polled, sent);
}

static void
detaching_one_pasid_leaves_the_others_requests_alone(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	pcie_fn(&r, &f, SID, &(struct iopf_dev_conf){ .nb_pasids = 8 });
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = tagged(&f, 1 + i, 3, 0, false);
		pcie_space(&r, &s[i]);
		pcie_attach(&s[i], &f, 1 + i);
		s[i].verdict = IOPF_TAKEN;
		pcie_write(&r, dma[i], 0, 3);
	}
	pcie_run(&r);
	assert_int_equal(iopf_domain_detach(s[0].domain, f.dev, 1), 0);
	assert_string_equal(f.log, "AP");
	assert_int_equal(iopf_group_respond(s[0].group.id, IOPF_SUCCESS), -ESTALE);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_group_respond(s[1].group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_ended(dma[1], SMMUV3_MODEL_OK);
	/* What the ATC had of the one that is gone was forgotten. */
	pcie_attach(&s[0], &f, 1);
	s[0].verdict = IOPF_ANSWER(IOPF_SUCCESS);
	pcie_write(&r, dma[0], 0, 3);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_OK);
	assert_int_equal(iopf_domain_detach(s[0].domain, f.dev, 1), 0);
	pcie_write(&r, dma[0], 0, 3);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_ABORTED);
	assert_string_equal(f.log, "AP");
	pcie_close(&r);
	assert_string_equal(f.log, "APpa");
}

static void
stop_and_start_switch_ats_and_pri_off_and_on(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pcie_space s[2];
	struct pcie_fn f[2];

	(void)state;
	pcie_open(&r, NULL, NULL);
	for (unsigned int i = 0; i < 2; i++) {
		dma[i] = pcie_simple(&r, &f[i], &s[i], SID + i, 4);
		pcie_write(&r, dma[i], 0, 4);
	}
	/* One is answered, one is somebody's when it stops. */
	s[1].verdict = IOPF_TAKEN;
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_OK);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(iopf_iommu_stop(r.iommu), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_string_equal(f[k].log, "APpa");
			memset(f[k].log, 0, sizeof(f[k].log));
		}
		if (i == 0) {
			assert_int_equal(iopf_group_respond(s[1].group.id, IOPF_SUCCESS),
					-ESTALE);
			pcie_step(&r);
			pcie_ended(dma[1], SMMUV3_MODEL_ABORTED);
		}
		/* Nothing is remembered across it. */
		pcie_write(&r, dma[0], 0, 4);
		pcie_step(&r);
		pcie_ended(dma[0], SMMUV3_MODEL_ABORTED);
		assert_int_equal(iopf_iommu_start(r.iommu), 0);
		for (unsigned int k = 0; k < 2; k++) {
			assert_string_equal(f[k].log, "AP");
			s[k].verdict = IOPF_ANSWER(IOPF_SUCCESS);
			pcie_write(&r, dma[k], 8 * (i + 1), 4);
		}
		pcie_run(&r);
		for (unsigned int k = 0; k < 2; k++) {
			pcie_ended(dma[k], SMMUV3_MODEL_OK);
			pcie_intact(&r, &s[k], 8 * (i + 1), 4);
		}
	}
	/* Attached while stopped: on with the start. */
	assert_int_equal(iopf_domain_detach(s[0].domain, f[0].dev, IOPF_NO_PASID), 0);
	assert_int_equal(iopf_iommu_stop(r.iommu), 0);
	memset(f[0].log, 0, sizeof(f[0].log));
	pcie_attach(&s[0], &f[0], IOPF_NO_PASID);
	assert_string_equal(f[0].log, "");
	assert_int_equal(iopf_iommu_start(r.iommu), 0);
	assert_string_equal(f[0].log, "AP");
	pcie_write(&r, dma[0], 40, 4);
	pcie_run(&r);
	pcie_ended(dma[0], SMMUV3_MODEL_OK);
	pcie_close(&r);
}

/*
 * The queue breaks down
 */

static void
a_request_that_cannot_be_written_costs_its_device_a_restart(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s, so;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	other = pcie_simple(&r, &fo, &so, SID + 1, 4);
	pcie_write(&r, dma, 0, 4);
	pcie_sent(&r, 3);
	pcie_poll(&r);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
	quiet(true);
	/* The driver looks every millisecond. */
	pcie_run_ms(&r, 5);
	quiet(false);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_true(smmuv3_model_dma_pri_failed(dma));
	assert_int_equal(s.calls, 0);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_OVERFLOWS), 1);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 3);
	/* Others did not notice. */
	pcie_write(&r, other, 0, 4);
	pcie_run(&r);
	pcie_ended(other, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_write(&r, dma, 0, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 0, 4);
	pcie_intact(&r, &so, 0, 4);
	pcie_close(&r);
}

static void
a_request_that_was_lost_on_the_way_is_nobodys_until_the_device_is_reset(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s, so;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 1);
	other = pcie_simple(&r, &fo, &so, SID + 1, 4);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
	pcie_write(&r, dma, 0, 1);
	quiet(true);
	/* The driver looks every millisecond. */
	pcie_run_ms(&r, 5);
	assert_int_equal(s.calls, 0);
	pcie_write(&r, other, 0, 4);
	pcie_run(&r);
	pcie_ended(other, SMMUV3_MODEL_OK);
	assert_int_equal(iopf_dev_pri_restart(f.dev), -ETIMEDOUT);
	quiet(false);
	pcie_fn_reset(&r, &f);
	assert_int_equal(iopf_dev_pri_restart(f.dev), 0);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	pcie_write(&r, dma, 0, 1);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 0, 1);
	pcie_close(&r);
}

/* SMMUEN goes off and on: for page requests nobody else answers. */
static void
groups_stay_pending_when_lost_stalls_are_terminated(void **state)
{
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct pcie_space s, ss;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	dma = pcie_simple(&r, &f, &s, SID, 4);
	pcie_space(&r, &ss);
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	assert_int_equal(iopf_domain_attach(ss.domain, dev, IOPF_NO_PASID), 0);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	s.verdict = ss.verdict = IOPF_TAKEN;
	pcie_write(&r, dma, 0, 4);
	pcie_write(&r, stalling, 0, 1);
	pcie_run(&r);
	assert_int_equal(s.calls, 1);
	assert_int_equal(ss.calls, 1);
	smmuv3_model_knob(r.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pcie_write(&r, stalling, 4, 1);
	quiet(true);
	pcie_run_ms(&r, 20);
	quiet(false);
	assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_RESETS), 1);
	assert_int_equal(iopf_group_respond(ss.group.id, IOPF_SUCCESS), -ESTALE);
	pcie_ended(stalling, SMMUV3_MODEL_ABORTED);
	pcie_ended(stalling, SMMUV3_MODEL_ABORTED);
	assert_int_equal(iopf_domain_pending(s.domain), 1);
	assert_int_equal(smmuv3_model_dma_outstanding(dma), 1);
	assert_int_equal(iopf_group_respond(s.group.id, IOPF_SUCCESS), 0);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 0, 4);
	/* Both go on. */
	s.verdict = ss.verdict = IOPF_ANSWER(IOPF_SUCCESS);
	pcie_write(&r, dma, 8, 4);
	pcie_write(&r, stalling, 8, 4);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	pcie_ended(stalling, SMMUV3_MODEL_OK);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	pcie_close(&r);
}

/*
 * Managed memory
 */

static struct {
	struct mmem_pool *pool;
	struct mmem_space *space;
	uint8_t *buf;
} mm;

static void
mm_open(unsigned int pages)
{
	mm.pool = mmem_pool_create(&(struct mmem_pool_conf){ .iommu = r.iommu,
			.size = 64 << 20 });
	assert_non_null(mm.pool);
	mm.space = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool });
	assert_non_null(mm.space);
	mm.buf = mmem_alloc(mm.space, (size_t)pages * PCIE_PAGE,
			MMEM_READ | MMEM_WRITE | MMEM_POPULATE);
	assert_non_null(mm.buf);
}

static void
mm_close(void)
{
	assert_int_equal(mmem_space_destroy(mm.space), 0);
	assert_int_equal(mmem_pool_destroy(mm.pool), 0);
}

static void
mm_write(struct smmuv3_model_dma *dma, unsigned int page, unsigned int pages)
{
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE,
		.addr = (uintptr_t)mm.buf + (size_t)page * PCIE_PAGE,
		.buf = r.pattern + (size_t)page * PCIE_PAGE,
		.len = (size_t)pages * PCIE_PAGE,
	}), 0);
}

static void
no_access_after_unmap_though_the_atc_held_the_page(void **state)
{
	struct smmuv3_model_dma *dma;
	uint64_t hits, bytes, asked;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, &(struct smmuv3_model_conf){ .choices = SMMUV3_MODEL_STICKY_TLB }, NULL);
	mm_open(64);
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 32 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_write(dma, 0, 32);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 32);
	/* The ATC has them. */
	asked = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS);
	mm_write(dma, 0, 32);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATS_REQUESTS), asked);

	assert_int_equal(mmem_unmap(mm.space, mm.buf + 8 * PCIE_PAGE, 8 * PCIE_PAGE), 0);
	memset(mm.buf, 0xee, 32 * PCIE_PAGE);
	hits = pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS);
	bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
	mm_write(dma, 8, 8);
	pcie_step(&r);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_ATC_HITS), hits);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
	for (unsigned int i = 0; i < 32 * PCIE_PAGE; i++)
		assert_int_equal(mm.buf[i], 0xee);
	pcie_run(&r);
	assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_OK).nb_groups, 1);
	assert_memory_equal(mm.buf + 8 * PCIE_PAGE, r.pattern + 8 * PCIE_PAGE, 8 * PCIE_PAGE);

	/* With DMA under way. */
	for (unsigned int round = 0; round < 20; round++) {
		mm_write(dma, 0, 64);
		for (unsigned int i = 0; i < round * 3; i++) {
			smmuv3_model_step(r.m, 1);
			if (i % 5 == 0)
				iopf_poll(r.poller);
		}
		assert_int_equal(mmem_unmap(mm.space, mm.buf, 64 * PCIE_PAGE), 0);
		bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
		memset(mm.buf, round, 64 * PCIE_PAGE);
		/* A group under way may be answered now: polled by nobody, it is not. */
		pcie_step(&r);
		assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
		for (unsigned int i = 0; i < 64 * PCIE_PAGE; i += 64)
			assert_int_equal(mm.buf[i], round);
		pcie_run(&r);
		pcie_ended(dma, SMMUV3_MODEL_OK);
	}

	/* The region goes altogether. */
	mm_write(dma, 0, 64);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);
	assert_int_equal(mmem_free(mm.space, mm.buf), 0);
	bytes = pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES);
	mm_write(dma, 0, 64);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_ABORTED);
	assert_int_equal(pcie_model_stat(&r, SMMUV3_MODEL_STAT_BYTES), bytes);
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_close();
	pcie_close(&r);
}

/* Contract 11: the memory is kept where it is not known that the device let go of it. */
static void
memory_that_a_dead_atc_may_still_use_is_kept(void **state)
{
	struct smmuv3_model_dma *dma, *other;
	struct pcie_space s;
	struct pcie_fn f, fo;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(64);
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 32 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	other = pcie_simple(&r, &fo, &s, SID + 1, 8);
	mm_write(dma, 0, 32);
	pcie_run(&r);
	pcie_ended(dma, SMMUV3_MODEL_OK);

	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	quiet(true);
	assert_int_equal(mmem_free(mm.space, mm.buf), -EIO);
	assert_int_not_equal(mmem_stat(mm.space, MMEM_STAT_KEPT), 0);
	/* Others go on. */
	pcie_write(&r, other, 0, 16);
	pcie_run(&r);
	pcie_ended(other, SMMUV3_MODEL_OK);
	pcie_intact(&r, &s, 0, 16);
	/* Its driver resets it. */
	pcie_fn_reset(&r, &f);
	smmuv3_model_dma_quirks(dma, 0, 0);
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	quiet(false);
	pcie_run(&r);
	mm_close();
	pcie_close(&r);
}

/*
 * One PASID of a function goes to another address space
 */

#define LONG_DMA	96	/* pages, in groups of 8 */

static struct {
	struct pcie_fn f;
	struct smmuv3_model_dma *dma[2];	/* of PASIDs 1 and 2 */
	struct mmem_space *other;		/* of PASID 2 */
	unsigned int ended;			/* DMAs of PASID 1 */
	enum smmuv3_model_status status;
} mv;

static void
on_end(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	RTE_SET_USED(dma);
	RTE_SET_USED(ctx);
	mv.ended++;
	mv.status = done->status;
}

/* An engine with a callback has outstanding what has not ended. */
static bool
pasid_drained(struct iopf_dev *dev, uint32_t pasid, void *ctx)
{
	RTE_SET_USED(dev);
	RTE_SET_USED(ctx);
	assert_int_equal(pasid, 1);
	return smmuv3_model_dma_outstanding(mv.dma[0]) == 0;
}

static void
mv_open(bool tells, unsigned int group_pages)
{
	memset(&mv, 0, sizeof(mv));
	pcie_open(&r, NULL, NULL);
	mm_open(LONG_DMA);
	mv.other = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool });
	assert_non_null(mv.other);
	pcie_fn(&r, &mv.f, SID, &(struct iopf_dev_conf){ .nb_pasids = 4,
			.ops = { .pasid_drained = tells ? pasid_drained : NULL } });
	mv.dma[0] = pcie_engine(&r, &mv.f, &(struct smmuv3_model_dma_conf){
		.has_ssid = true,
		.ssid = 1,
		.group_pages = group_pages,
		.on_done = on_end,
	});
	mv.dma[1] = tagged(&mv.f, 2, group_pages, 0, false);
	assert_int_equal(mmem_attach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mmem_attach(mv.other, mv.f.dev, 2), 0);
}

static void
mv_close(void)
{
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mmem_detach(mv.other, mv.f.dev, 2), 0);
	assert_int_equal(mmem_space_destroy(mv.other), 0);
	mm_close();
	pcie_close(&r);
}

/* PASID 2's, which never notices. */
static void
other_goes_on(void)
{
	uint8_t *buf = mmem_alloc(mv.other, 4 * PCIE_PAGE, MMEM_READ | MMEM_WRITE |
			MMEM_POPULATE);

	assert_non_null(buf);
	assert_int_equal(smmuv3_model_dma_submit(mv.dma[1], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = (uintptr_t)buf, .buf = r.pattern,
		.len = 4 * PCIE_PAGE }), 0);
	pcie_run(&r);
	pcie_ended(mv.dma[1], SMMUV3_MODEL_OK);
	assert_memory_equal(buf, r.pattern, 4 * PCIE_PAGE);
	assert_int_equal(mmem_free(mv.other, buf), 0);
}

/* The PASID gets a new space, where the old one was. */
static void
mv_next(void)
{
	uint8_t *was = mm.buf;

	assert_int_equal(mmem_space_destroy(mm.space), 0);
	mm.space = mmem_space_create(&(struct mmem_space_conf){ .pool = mm.pool });
	assert_non_null(mm.space);
	mm.buf = mmem_alloc(mm.space, LONG_DMA * PCIE_PAGE, MMEM_READ | MMEM_WRITE |
			MMEM_POPULATE);
	assert_ptr_equal(mm.buf, was);
	assert_int_equal(mmem_attach(mm.space, mv.f.dev, 1), 0);
	pcie_run(&r);
}

static void
nothing_of_the_old_dma_is_in_the_new_space(void)
{
	for (size_t i = 0; i < LONG_DMA * PCIE_PAGE; i++)
		assert_int_equal(mm.buf[i], 0);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 0);
	/* Which is the device's at once. */
	mm_write(mv.dma[0], 0, LONG_DMA);
	pcie_run(&r);
	assert_int_equal(mv.ended, 2);
	assert_int_equal(mv.status, SMMUV3_MODEL_OK);
	assert_memory_equal(mm.buf, r.pattern, LONG_DMA * PCIE_PAGE);
	other_goes_on();
	assert_string_equal(mv.f.log, "AP");
}

/* Until this many requests of the long DMA have come. */
static void
long_dma_until(unsigned int n)
{
	mm_write(mv.dma[0], 0, LONG_DMA);
	for (unsigned int i = 8; i < n; i += 8) {
		pcie_sent(&r, i);
		pcie_poll(&r);
	}
	pcie_sent(&r, n);
	pcie_poll(&r);
}

/* Wherever it was: translated, asking, answered, writing. */
static void
a_pasid_that_moves_takes_no_dma_along(void **state)
{
	unsigned int steps = 0, aborted = 0;

	(void)state;
	for (bool over = false; !over; steps += 1 + steps / 2) {
		mv_open(true, 8);
		mm_write(mv.dma[0], 0, LONG_DMA);
		for (unsigned int i = 0; i < steps; i++) {
			smmuv3_model_step(r.m, 1);
			if (i % 5 == 0)
				iopf_poll(r.poller);
		}
		over = mv.ended > 0;
		assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
		assert_int_equal(mv.ended, 1);
		assert_int_equal(mv.status, over ? SMMUV3_MODEL_OK : SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 0);
		aborted += !over;
		mv_next();
		nothing_of_the_old_dma_is_in_the_new_space();
		mv_close();
	}
	assert_true(aborted >= 8);
}

static void
groups_that_are_partial_when_their_pasid_moves_are_answered(void **state)
{
	static const unsigned int sent[] = { 1, 4, 7, 9, 12, 15, 29 };

	(void)state;
	for (unsigned int i = 0; i < 2 * RTE_DIM(sent); i++) {
		bool tells = i % 2 == 0;

		mv_open(tells, 8);
		long_dma_until(sent[i / 2]);
		assert_int_equal(mv.ended, 0);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 8);
		assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_GROUPS), sent[i / 2] / 8 + 1);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_ANSWERS), sent[i / 2] / 8 + 1);
		assert_int_equal(pcie_stat(&r, IOPF_IOMMU_STAT_DISCARDED), 0);
		/* Where nobody tells, its answer may still be on the way; the attach is behind it. */
		if (tells)
			assert_int_equal(mv.ended, 1);
		mv_next();
		assert_int_equal(mv.ended, 1);
		assert_int_equal(mv.status, SMMUV3_MODEL_ABORTED);
		assert_int_equal(smmuv3_model_dma_pri_outstanding(mv.dma[0]), 0);
		nothing_of_the_old_dma_is_in_the_new_space();
		mv_close();
	}
}

static void
a_pasid_that_lost_its_last_moves_after_a_reset(void **state)
{
	(void)state;
	mv_open(true, 4);
	smmuv3_model_dma_quirks(mv.dma[0], SMMUV3_MODEL_QUIRK_LOSE_LAST, 0);
	mm_write(mv.dma[0], 0, 4);
	pcie_run(&r);
	smmuv3_model_dma_quirks(mv.dma[0], 0, 0);
	quiet(true);
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), -ETIMEDOUT);
	assert_int_equal(mv.ended, 0);
	/* It is not free for another. */
	assert_int_equal(mmem_attach(mv.other, mv.f.dev, 1), -EEXIST);
	quiet(false);
	assert_string_equal(mv.f.log, "AP");
	other_goes_on();

	pcie_fn_reset(&r, &mv.f);
	assert_int_equal(mmem_detach(mm.space, mv.f.dev, 1), 0);
	assert_int_equal(mv.ended, 1);
	assert_int_equal(mv.status, SMMUV3_MODEL_ABORTED);
	/* The reset took ATS and PRI from the other too. */
	assert_int_equal(iopf_dev_pri_restart(mv.f.dev), 0);
	memset(mv.f.log + 2, 0, sizeof(mv.f.log) - 2);
	mv_next();
	nothing_of_the_old_dma_is_in_the_new_space();
	mv_close();
}

/* The storm of design 4.7, over both queues. */
static void
a_page_that_a_stall_and_a_request_want_is_mapped_once(void **state)
{
	const uint32_t sid = SID + 1;
	struct smmuv3_model_dma *dma, *stalling;
	struct iopf_dev *dev;
	struct pcie_fn f;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(32);
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 8 });
	dev = iopf_dev_add(r.iommu, &(struct iopf_dev_conf){ .sids = &sid, .nb_sids = 1 });
	assert_non_null(dev);
	stalling = smmuv3_model_dma_create(r.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_non_null(stalling);
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_attach(mm.space, dev, IOPF_NO_PASID), 0);

	mm_write(dma, 0, 8);
	for (unsigned int i = 0; i < 4; i++)
		mm_write(stalling, 3, 1);
	pcie_step(&r);
	assert_int_equal(smmuv3_model_stalls_outstanding(r.m), 4);
	pcie_poll(&r);
	/* The group of eight and four stalls: eight pages, the rest joined. */
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_MAPPED), 8);
	assert_int_equal(mmem_stat(mm.space, MMEM_STAT_JOINED), 4);
	assert_int_equal(iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_FAULTS), 5);
	assert_int_equal(iopf_domain_stat(mmem_space_domain(mm.space), IOPF_STAT_SUCCESS), 5);
	pcie_run(&r);
	assert_int_equal(pcie_ended(dma, SMMUV3_MODEL_OK).nb_groups, 1);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(pcie_ended(stalling, SMMUV3_MODEL_OK).nb_stalls, 1);
	assert_memory_equal(mm.buf, r.pattern, 8 * PCIE_PAGE);

	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	assert_int_equal(mmem_detach(mm.space, dev, IOPF_NO_PASID), 0);
	smmuv3_model_dma_destroy(stalling);
	assert_int_equal(iopf_dev_remove(dev), 0);
	mm_close();
	pcie_close(&r);
}

/* A group of reads of tracked memory becomes one of writes: one invalidation, one answer. */
static void
a_group_is_upgraded_with_one_answer(void **state)
{
	struct smmuv3_model_dma *dma;
	struct pcie_fn f;
	static uint8_t back[32 * PCIE_PAGE];
	void *buf;

	(void)state;
	pcie_open(&r, NULL, NULL);
	mm_open(1);
	buf = mmem_alloc(mm.space, 32 * PCIE_PAGE, MMEM_READ | MMEM_WRITE | MMEM_TRACK_WRITES |
			MMEM_POPULATE);
	assert_non_null(buf);
	mm.buf = buf;
	pcie_fn(&r, &f, SID, NULL);
	dma = pcie_engine(&r, &f, &(struct smmuv3_model_dma_conf){ .group_pages = 16 });
	assert_int_equal(mmem_attach(mm.space, f.dev, IOPF_NO_PASID), 0);
	for (unsigned int n = 1; n <= 16; n *= 2) {
		assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = (uintptr_t)mm.buf, .buf = back,
			.len = n * PCIE_PAGE }), 0);
		pcie_run(&r);
		pcie_ended(dma, SMMUV3_MODEL_OK);
		mm_write(dma, 0, n);
		/* More than four pages need the worker. */
		while (smmuv3_model_dma_outstanding(dma) == 1) {
			struct smmuv3_model_done d;

			pcie_run(&r);
			if (smmuv3_model_dma_poll(dma, &d, 1) == 1) {
				assert_int_equal(d.status, SMMUV3_MODEL_OK);
				assert_int_equal(d.nb_groups, 1);
				break;
			}
			usleep(100);
		}
		assert_memory_equal(mm.buf, r.pattern, n * PCIE_PAGE);
		assert_int_equal(mmem_unmap(mm.space, mm.buf, 32 * PCIE_PAGE), 0);
	}
	assert_int_equal(mmem_detach(mm.space, f.dev, IOPF_NO_PASID), 0);
	mm_close();
	pcie_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_group_of_any_size_is_handled_at_once_and_answered_once),
	cmocka_unit_test(what_an_access_wants_is_what_the_handler_sees),
	cmocka_unit_test(groups_of_several_devices_may_interleave_in_any_order),
	cmocka_unit_test(a_prg_index_can_be_used_again_at_once),
	cmocka_unit_test(two_pasids_may_use_the_same_index_where_answers_have_the_pasid),
	cmocka_unit_test(an_answer_has_the_pasid_only_where_it_is_wanted),
	cmocka_unit_test(requests_of_an_unattached_pasid_are_invalid_and_answered_once),
	cmocka_unit_test(a_group_without_last_is_aged_reported_and_keeps_pri_from_draining),
	cmocka_unit_test(a_device_that_did_not_drain_is_asked_again_behind_a_start),
	cmocka_unit_test(a_last_that_comes_twice_is_answered_once),
	cmocka_unit_test(a_stop_marker_forgets_what_is_partial_of_its_pasid_and_wants_no_answer),
	cmocka_unit_test(a_stop_marker_without_pasid_is_a_request_and_is_answered),
	cmocka_unit_test(overflow_at_the_first_request_of_a_group),
	cmocka_unit_test(overflow_in_the_middle_of_a_group),
	cmocka_unit_test(overflow_at_the_last_request_of_a_group),
	cmocka_unit_test(overflow_between_two_groups),
	cmocka_unit_test(overflow_anywhere_and_again_loses_nothing),
	cmocka_unit_test(overflow_every_time_still_lets_devices_get_on),
	cmocka_unit_test(credits_are_given_at_attach_and_come_back_at_detach),
	cmocka_unit_test(a_device_that_ignores_its_credits_loses_nothing),
	cmocka_unit_test(more_groups_than_slots_are_asked_for_again),
	cmocka_unit_test(attach_is_undone_when_the_device_refuses),
	cmocka_unit_test(an_invalid_group_aborts_and_the_device_goes_on_asking),
	cmocka_unit_test(a_success_that_maps_nothing_is_asked_again),
	cmocka_unit_test(a_response_failure_ends_pri_until_it_is_restarted),
	cmocka_unit_test(a_taken_group_is_answered_once_by_whoever_took_it),
	cmocka_unit_test(an_upgrade_is_answered_behind_its_invalidation_of_the_atc),
	cmocka_unit_test(a_deferred_group_is_whole_on_the_worker_and_answered_once),
	cmocka_unit_test(detach_answers_what_a_worker_has_and_waits_for_it),
	cmocka_unit_test(detach_answers_what_was_taken_and_the_taker_comes_too_late),
	cmocka_unit_test(detach_drains_a_group_that_is_being_sent),
	cmocka_unit_test(detaching_one_pasid_leaves_the_others_requests_alone),
	cmocka_unit_test(stop_and_start_switch_ats_and_pri_off_and_on),
	cmocka_unit_test(a_request_that_cannot_be_written_costs_its_device_a_restart),
	cmocka_unit_test(a_request_that_was_lost_on_the_way_is_nobodys_until_the_device_is_reset),
	cmocka_unit_test(groups_stay_pending_when_lost_stalls_are_terminated),
	cmocka_unit_test(no_access_after_unmap_though_the_atc_held_the_page),
	cmocka_unit_test(memory_that_a_dead_atc_may_still_use_is_kept),
	cmocka_unit_test(a_pasid_that_moves_takes_no_dma_along),
	cmocka_unit_test(groups_that_are_partial_when_their_pasid_moves_are_answered),
	cmocka_unit_test(a_pasid_that_lost_its_last_moves_after_a_reset),
	cmocka_unit_test(a_page_that_a_stall_and_a_request_want_is_mapped_once),
	cmocka_unit_test(a_group_is_upgraded_with_one_answer),
};
TEST_SUITE(pri, tests, NULL, NULL);
