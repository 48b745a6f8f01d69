/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Devices with ATS come and go: STE and CD, commands, limits, checked traffic. */

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "ats_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static const struct smmuv3_ste *
get_ste(const struct pmd *p, uint32_t sid)
{
	const struct smmuv3_strtab *t = &p->s->strtab;

	assert_true(t->two_level);
	return &t->l2[sid >> SMMUV3_SPLIT][sid & ((1 << SMMUV3_SPLIT) - 1)];
}

static void
test_a_pri_device_needs_page_requests_and_no_forced_stalls(void **state)
{
	const uint32_t sid = SID;
	const struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1, .recover = IOPF_PRI };
	struct smmuv3_model_conf forced = ats_conf, ats = ats_conf;
	struct pmd p;
	void *dev;

	(void)state;
	pmd_open(&p, NULL);
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), -ENOTSUP);
	pmd_close(&p);
	ats.features = SMMUV3_MODEL_ATS;
	pmd_open(&p, &ats);
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), -ENOTSUP);
	pmd_close(&p);
	forced.stall_model = SMMUV3_STALL_MODEL_FORCED;
	pmd_open(&p, &forced);
	assert_int_equal(p.ops->dev_add(p.s, &conf, &dev), -ENOTSUP);
	pmd_close(&p);
}

/* Fields: EATS 29:28 of STE word 1, S1STALLD 27, PPAR 18; S 44 of CD word 0. */
static void
test_ats_is_allowed_while_a_domain_is_attached(void **state)
{
	const uint32_t sids[3] = { SID, SID + 1, 0x345 };
	const struct smmuv3_cd *cds;
	struct pmd p;
	void *dev, *domain;

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		struct smmuv3_model_conf conf = ats_conf;
		uint64_t eats = UINT64_C(1) << 28, word1 = (k & 1 ? 1 << 18 : 0);

		/* With the terminate model S1STALLD is illegal. */
		conf.stall_model = k & 2 ? 1 : 0;
		word1 |= k & 2 ? 0 : 1 << 27;
		ats_open(&p, &conf);
		dev = ats_add_dev_sids(&p, sids, 3, 8, k & 1);
		domain = ats_add_domain(&p);
		cds = ((struct smmuv3_dev *)dev)->cds.mem.va;
		for (unsigned int round = 0; round < 2; round++) {
			for (unsigned int i = 0; i < 3; i++)
				assert_int_equal(get_ste(&p, sids[i])->dw[0], 0);
			ats_attach(&p, dev, 1, domain);
			ats_attach(&p, dev, IOPF_NO_PASID, domain);
			for (unsigned int i = 0; i < 3; i++) {
				assert_int_equal(get_ste(&p, sids[i])->dw[0] & 0xf, 0xb);
				assert_int_equal(get_ste(&p, sids[i])->dw[1] & 0x380c0000,
						word1 | eats);
				assert_int_equal(cds[0].dw[0] & UINT64_C(1) << 44, 0);
				assert_int_equal(cds[1].dw[0] & UINT64_C(1) << 44, 0);
			}
			ats_detach(&p, dev, 1);
			for (unsigned int i = 0; i < 3; i++)
				assert_int_equal(get_ste(&p, sids[i])->dw[1] & eats, eats);
			ats_detach(&p, dev, IOPF_NO_PASID);
		}
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		ats_close(&p);
	}
}

/*
 * The commands when a device comes and goes. A structure that changes in several steps is
 * invalidated after each step; the table shows one of these.
 */
static void
test_attach_and_detach_issue_their_commands_in_order(void **state)
{
	static const struct {
		const char *ops;	/* opcodes */
		uint64_t inv[3];	/* the ATC_INVs, each of the whole space; StreamID 8 */
	} steps[] = {
		/* TLBI by ASID, CD, STE; ATC_INV of PASID 5, without PASID, and Global */
		{ "\x11\x46\x05\x46\x03\x46\x40\x40\x40\x46", { UINT64_C(0x0000000800005840),
			UINT64_C(0x0000000800000040), UINT64_C(0x0000000800005a40) } },
		{ "\x11\x46\x05\x46\x40\x46", { UINT64_C(0x0000000800000040) } },
		/* Another PASID stays attached: CD, TLBI, ATC_INV of this PASID. */
		{ "\x05\x46\x11\x46\x40\x46", { UINT64_C(0x0000000800005840) } },
		{ "\x05\x46\x11\x46\x03\x46\x40\x40\x46", { UINT64_C(0x0000000800000040),
			UINT64_C(0x0000000800000a40) } },
	};
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 8);
	domain = ats_add_domain(&p);
	for (unsigned int k = 0; k < RTE_DIM(steps); k++) {
		uint64_t at = p.s->cmdq.tail;
		unsigned int inv = 0, n = 0;
		char ops[64] = "";

		if (k == 0)
			ats_attach(&p, dev, 5, domain);
		else if (k == 1)
			ats_attach(&p, dev, IOPF_NO_PASID, domain);
		else
			ats_detach(&p, dev, k == 2 ? 5 : IOPF_NO_PASID);
		for (; at < p.s->cmdq.tail; at++) {
			const struct smmuv3_cmd *cmd =
				&p.s->cmdq.ring[at & ((1u << p.s->cmdq.log2) - 1)];

			assert_in_range(n, 0, sizeof(ops) - 2);
			ops[n++] = cmd->dw[0] & 0xff;
			if ((cmd->dw[0] & 0xff) == SMMUV3_OP_ATC_INV) {
				assert_int_equal(cmd->dw[0], steps[k].inv[inv++]);
				assert_int_equal(cmd->dw[1], 0x34);
			}
			if (n >= 4 && ops[n - 1] == SMMUV3_OP_SYNC &&
					memcmp(&ops[n - 2], &ops[n - 4], 2) == 0)
				n -= 2;
		}
		ops[n] = '\0';
		assert_string_equal(ops, steps[k].ops);
	}
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

/* The endpoint keeps ATS on, and its ATC: the driver alone stops it. */
static void
test_a_detached_device_reaches_nothing(void **state)
{
	struct smmuv3_model_dma *untagged, *dma[2];
	struct iopf_event event;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 8);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_map(&p, VA + PAGE);
	ats_attach(&p, dev, 1, domain);
	ats_attach(&p, dev, 2, domain);
	ats_attach(&p, dev, IOPF_NO_PASID, domain);
	dma[0] = ats_add_engine(&p, SID, 1, false);
	dma[1] = ats_add_engine(&p, SID, 2, false);
	untagged = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(ats_can_reach(&p, dma[i], VA));
	assert_true(ats_can_reach(&p, untagged, VA));
	/* One PASID is detached: the others stay in use. */
	ats_detach(&p, dev, 1);
	assert_false(ats_can_reach(&p, dma[0], VA));
	assert_false(ats_can_reach(&p, dma[0], VA + PAGE));
	assert_true(ats_can_reach(&p, dma[1], VA));
	assert_true(ats_can_reach(&p, untagged, VA));
	ats_detach(&p, dev, IOPF_NO_PASID);
	assert_false(ats_can_reach(&p, untagged, VA));
	assert_true(ats_can_reach(&p, dma[1], VA));
	/* These Translation Requests found no page, which leaves no record. */
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	/* The last PASID is detached: each Translation Request leaves a record. */
	ats_detach(&p, dev, 2);
	for (unsigned int i = 0; i < 3; i++) {
		assert_false(ats_can_reach(&p, i < 2 ? dma[i] : untagged, VA));
		assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
		assert_int_equal(event.flags, 0);
	}
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	/* Attached again: no entry from before is left in the ATC. */
	ats_unmap(&p, VA);
	ats_attach(&p, dev, 2, domain);
	ats_attach(&p, dev, 1, domain);
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(ats_can_reach(&p, dma[i], VA));
		assert_true(ats_can_reach(&p, dma[i], VA + PAGE));
	}
	ats_detach(&p, dev, 2);
	ats_detach(&p, dev, 1);
	for (unsigned int i = 0; i < 2; i++)
		smmuv3_model_dma_destroy(dma[i]);
	smmuv3_model_dma_destroy(untagged);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

/* The SMMU stops a Translated transaction of an STE that aborts only if CR0.ATSCHK is 1. */
static void
test_translated_traffic_is_checked(void **state)
{
	struct smmuv3_model_dma *dma;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	ats_open(&p, NULL);
	dev = ats_add_dev(&p, SID, 0);
	domain = ats_add_domain(&p);
	ats_map(&p, VA);
	ats_attach(&p, dev, IOPF_NO_PASID, domain);
	dma = ats_add_engine(&p, SID, IOPF_NO_PASID, false);
	assert_true(ats_can_reach(&p, dma, VA));
	/* The ATC keeps its entry. The access is stopped nevertheless. */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	ats_detach(&p, dev, IOPF_NO_PASID);
	assert_false(ats_can_reach(&p, dma, VA));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	smmuv3_model_dma_destroy(dma);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	ats_close(&p);
}

static void
test_a_domain_has_at_most_32_atcs(void **state)
{
	uint32_t sids[SMMUV3_MAX_ATCS];
	void *many, *one, *domain, *other;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(sids); i++)
		sids[i] = SID + 1 + i;
	ats_open(&p, NULL);
	many = ats_add_dev_sids(&p, sids, RTE_DIM(sids) - 1, 8, false);
	one = ats_add_dev(&p, SID, 8);
	domain = ats_add_domain(&p);
	other = ats_add_domain(&p);
	for (unsigned int round = 0; round < 3; round++) {
		ats_attach(&p, many, 1, domain);
		assert_int_equal(rig_attach(p.ops, p.s, many, 2, domain), -ENOSPC);
		ats_attach(&p, many, 2, other);
		ats_attach(&p, one, 3, domain);
		assert_int_equal(rig_attach(p.ops, p.s, one, 4, domain), -ENOSPC);
		ats_invalidate_page(&p, domain, VA);
		ats_invalidate_page(&p, other, VA);
		ats_detach(&p, many, 1);
		ats_attach(&p, one, 4, domain);
		ats_detach(&p, one, 3);
		ats_detach(&p, one, 4);
		ats_detach(&p, many, 2);
	}
	/* At most 1024 ATCs of all domains. */
	for (unsigned int i = 0; i < SMMUV3_NB_ATCS - 1; i++)
		atomic_store(&p.s->atcs[i].word, UINT64_MAX >> 8);
	assert_int_equal(rig_attach(p.ops, p.s, many, 1, domain), -ENOSPC);
	ats_attach(&p, one, 1, domain);
	assert_int_equal(rig_attach(p.ops, p.s, one, 2, domain), -ENOSPC);
	ats_detach(&p, one, 1);
	for (unsigned int i = 0; i < SMMUV3_NB_ATCS; i++)
		assert_int_equal(atomic_exchange(&p.s->atcs[i].word, 0) != 0,
				i < SMMUV3_NB_ATCS - 1);
	p.ops->domain_del(p.s, domain);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, many);
	p.ops->dev_del(p.s, one);
	ats_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_pri_device_needs_page_requests_and_no_forced_stalls),
	cmocka_unit_test(test_ats_is_allowed_while_a_domain_is_attached),
	cmocka_unit_test(test_attach_and_detach_issue_their_commands_in_order),
	cmocka_unit_test(test_a_detached_device_reaches_nothing),
	cmocka_unit_test(test_translated_traffic_is_checked),
	cmocka_unit_test(test_a_domain_has_at_most_32_atcs),
};

TEST_SUITE(pmd_ats, tests, NULL, NULL);
