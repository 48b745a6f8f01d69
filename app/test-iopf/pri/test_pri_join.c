/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Faults that join across stalls and page requests, on the software SMMUv3 with its oracle: a
 * device that stalls and an endpoint share a domain. No access goes on before its page is there,
 * and none faults a second time.
 */

#include <rte_common.h>

#include "iopf_handler.h"
#include "iopf_policy.h"
#include "iopf_stats.h"
#include "pcie_rig.h"
#include "test.h"

#define SID		8
#define ENDPOINT	0x345
#define WAITERS		8u
#define ENGINES		2u

static struct pcie r;
static struct pcie_fn fns[2];		/* one stalls, one requests pages */
static struct pcie_space space;

static const struct iopf_storm_conf joins = { .join_log2 = 12 };

static void
join_open(uint32_t harsh)
{
	pcie_open(&r, &(struct smmuv3_model_conf){ .harsh = harsh }, NULL);
	pcie_add_stalling_fn(&r, &fns[0], SID, NULL);
	pcie_add_fn(&r, &fns[1], ENDPOINT, NULL);
	pcie_create_storm_space(&r, &space, &joins);
	for (unsigned int i = 0; i < 2; i++) {
		for (unsigned int e = 0; e < ENGINES; e++)
			pcie_create_engine(&r, &fns[i], &(struct smmuv3_model_dma_conf){
					.depth = 64 });
		pcie_attach(&space, &fns[i], IOPF_NO_PASID);
	}
	space.verdict = IOPF_TAKEN;
	space.leave_unmapped = true;
}

/* DMAs that have ended. Each has succeeded, with one fault at most. */
static unsigned int
take_ended(void)
{
	struct smmuv3_model_done done;
	unsigned int n = 0;

	for (unsigned int i = 0; i < 2 * ENGINES; i++)
		while (smmuv3_model_dma_poll(fns[i / ENGINES].dma[i % ENGINES], &done, 1) == 1) {
			assert_int_equal(SMMUV3_MODEL_OK, done.status);
			assert_in_range(done.nb_stalls + done.nb_groups, 0, 1);
			n++;
		}
	return n;
}

/* The first fault on the page is of device @p leader. Those of both devices join it. */
static void
check_join(unsigned int leader, unsigned int page)
{
	uint64_t joined = iopf_domain_stat(space.domain, IOPF_STAT_JOINED);

	space.calls = 0;
	pcie_write(&r, fns[leader].dma[0], page, 1);
	pcie_run(&r);
	assert_int_equal(1, space.calls);
	for (unsigned int i = 0; i < WAITERS; i++)
		pcie_write(&r, fns[i % 2].dma[i / 2 % ENGINES], page, 1);
	pcie_run(&r);
	/* They wait, and no handler has them. */
	assert_int_equal(1, space.calls);
	assert_int_equal(0, take_ended());
	joined = iopf_domain_stat(space.domain, IOPF_STAT_JOINED) - joined;
	assert_in_range(joined, 2, WAITERS);
	assert_int_equal(1 + joined, iopf_domain_pending(space.domain));
	pcie_map(&space, &space.fault[0]);
	pcie_run(&r);
	/* The page is there, but the leader is not answered. */
	assert_int_equal(1 + joined, iopf_domain_pending(space.domain));
	assert_int_equal(0, iopf_group_respond(space.group.id, IOPF_SUCCESS));
	pcie_run(&r);
	assert_int_equal(1, space.calls);
	assert_int_equal(0, iopf_domain_pending(space.domain));
	assert_int_equal(1 + WAITERS, take_ended());
	pcie_expect_pattern(&r, &space, page, 1);
}

static void
faults_join_across_stalls_and_page_requests(void **state)
{
	static const uint32_t harsh[] = { 0, SMMUV3_MODEL_HARSH_LATE | SMMUV3_MODEL_HARSH_FLIGHT,
		SMMUV3_MODEL_HARSH_ALL };

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(harsh); i++) {
		join_open(harsh[i]);
		for (unsigned int page = 0; page < 16; page++)
			check_join(page % 2, page);
		pcie_close(&r);
	}
}

/* The leader is refused: so are those that joined it, and none has written. */
static void
joined_faults_are_refused_with_their_leader(void **state)
{
	struct smmuv3_model_done done;

	(void)state;
	for (unsigned int leader = 0; leader < 2; leader++) {
		join_open(SMMUV3_MODEL_HARSH_LATE);
		pcie_write(&r, fns[leader].dma[0], 0, 1);
		pcie_run(&r);
		pcie_write(&r, fns[!leader].dma[0], 0, 1);
		pcie_run(&r);
		assert_int_equal(1, space.calls);
		assert_int_equal(0, iopf_group_respond(space.group.id, IOPF_INVALID));
		pcie_run(&r);
		for (unsigned int i = 0; i < 2; i++) {
			assert_int_equal(1, smmuv3_model_dma_poll(fns[i].dma[0], &done, 1));
			assert_int_equal(SMMUV3_MODEL_ABORTED, done.status);
		}
		pcie_close(&r);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(faults_join_across_stalls_and_page_requests),
	cmocka_unit_test(joined_faults_are_refused_with_their_leader),
};

TEST_SUITE(pri_join, tests, NULL, NULL);
