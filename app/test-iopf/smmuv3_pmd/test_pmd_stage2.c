/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Stage-2 domains: each table and its faults, what is refused, and which TLB entries may remain. */

#include <errno.h>
#include <string.h>

#include "log_lines.h"
#include "pmd_s2_rig.h"
#include "test.h"

#define IPA	UINT64_C(0x1234123)	/* below 2^25 */

static int
attach(struct pmd *p, void *dev, struct pmd_s2_space *s)
{
	return rig_attach(p->ops, p->s, dev, IOPF_NO_PASID, s->domain);
}

static void
detach(struct pmd *p, void *dev)
{
	assert_int_equal(rig_detach(p->ops, p->s, dev, IOPF_NO_PASID), 0);
}

/* A device at PMD_SID, its engine, and a domain that is not attached. Returns the device. */
static void *
open_one(struct pmd *p, struct pmd_s2_space *s)
{
	void *dev;

	pmd_s2_open(p, NULL);
	dev = pmd_s2_add_dev(p, 0, IOPF_STALL, 0);
	p->dma = pmd_s2_add_engine(p, 0);
	pmd_s2_create(p, s, 12, 40);
	return dev;
}

static void
close_one(struct pmd *p, void *dev, struct pmd_s2_space *s)
{
	detach(p, dev);
	assert_int_equal(p->ops->dev_del(p->s, dev), 0);
	pmd_s2_destroy(p, s);
	smmuv3_model_dma_destroy(p->dma);
	pmd_s2_close(p);
}

/* Granules, widths at both ends of each number of levels, and TLBIs with ranges and without. */
static void
test_faults_are_served_with_each_table(void **state)
{
	static const unsigned int bits[] = { 25, 29, 30, 33, 34, 35, 40, 41, 43, 44, 46, 47, 48 };
	struct smmuv3_model_dma *dma;
	struct pmd_s2_space s;
	struct pmd p;
	void *dev;

	(void)state;
	for (unsigned int g = 12; g <= 16; g += 2)
		for (unsigned int k = 0; k < 2 * RTE_DIM(bits); k++) {
			unsigned int ipa_bits = bits[k / 2];
			uint64_t ipa = (UINT64_C(1) << ipa_bits) - (UINT64_C(1) << 24) + 0x123;

			pmd_s2_open(&p, &(struct smmuv3_model_conf){ .oas_bits = 48,
				.no_features = k % 2 ? SMMUV3_MODEL_NO_RIL : 0 });
			assert_int_equal(p.info.ipa_bits, 48);
			assert_int_equal(p.info.vmid_bits, 8);
			dev = pmd_s2_add_dev(&p, 0, IOPF_STALL, 0);
			dma = pmd_s2_add_engine(&p, 0);
			pmd_s2_create(&p, &s, g, ipa_bits);
			assert_int_equal(attach(&p, dev, &s), 0);
			pmd_s2_serve(&p, &s, dma, ipa);
			pmd_s2_serve(&p, &s, dma, IPA);
			/* The TLB has it; after the invalidation it faults again. */
			assert_int_equal(pmd_s2_touch(&p, dma, ipa), SMMUV3_MODEL_OK);
			pmd_s2_unmap(&p, &s, ipa);
			pmd_s2_serve(&p, &s, dma, ipa);
			assert_int_equal(pmd_s2_touch(&p, dma, IPA), SMMUV3_MODEL_OK);
			detach(&p, dev);
			assert_int_equal(pmd_s2_touch(&p, dma, IPA), SMMUV3_MODEL_ABORTED);
			assert_int_equal(p.ops->dev_del(p.s, dev), 0);
			pmd_s2_destroy(&p, &s);
			smmuv3_model_dma_destroy(dma);
			pmd_s2_close(&p);
		}
}

/* 40 bits of 4 KiB pages: a first level of two entries above the usual two tables. */
static void
test_a_table_may_have_more_levels(void **state)
{
	struct iopf_translation tr;
	struct pmd_s2_space s;
	uint64_t *root;
	struct pmd p;
	void *dev;

	(void)state;
	dev = open_one(&p, &s);
	assert_int_equal(s.info.root_tables, 2);
	p.ops->domain_del(p.s, s.domain);
	root = pmd_alloc(&p, 64, 64);
	root[0] = s.info.root | 3;
	root[1] = (s.info.root + 4096) | 3;
	tr = pmd_s2_translation(&s);
	tr.root = (uintptr_t)root;
	tr.levels = 4;
	assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &s.domain), 0);
	assert_int_equal(attach(&p, dev, &s), 0);
	pmd_s2_serve(&p, &s, p.dma, IPA);
	pmd_s2_serve(&p, &s, p.dma, IPA + (UINT64_C(1) << 39));
	close_one(&p, dev, &s);
}

/* The answer is behind the TLBI of its batch, so that the retry finds the new page. */
static void
test_an_answer_follows_the_invalidation_of_its_batch(void **state)
{
	struct pmd_s2_space s;
	struct iopf_event event;
	struct iopf_answer answer;
	struct pgt_unmapped out;
	struct pgt_inv ranges[2];
	uint8_t *page;
	struct pmd p;
	void *dev;

	(void)state;
	dev = open_one(&p, &s);
	assert_int_equal(attach(&p, dev, &s), 0);
	page = pmd_alloc(&p, 4096, 4096);
	assert_int_equal(pgt_map(s.pgt, IPA & ~UINT64_C(0xfff), (uintptr_t)page, 4096, PGT_READ), 0);
	pmd_write(&p, IPA, page, 1);
	pmd_wait_event(&p, &event);
	assert_int_equal(event.reason, IOPF_REASON_PERMISSION);
	assert_true(event.flags & IOPF_EVENT_STAGE2);
	pgt_unmapped_init(&out, ranges, RTE_DIM(ranges));
	assert_int_equal(pgt_protect(s.pgt, IPA & ~UINT64_C(0xfff), 4096, PGT_READ | PGT_WRITE,
			&out), 0);
	answer = (struct iopf_answer){ .sid = event.sid, .pasid = event.pasid,
		.token = event.token, .code = IOPF_SUCCESS };
	assert_int_equal(p.ops->answer_after(p.s, s.domain, &(struct iopf_inv){
		.addr = IPA & ~UINT64_C(0xfff), .size = 4096, .leaf_only = true }, 1, &answer, 1),
			1);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
	close_one(&p, dev, &s);
}

/* One page and 1 MiB, as hexadecimal commands; VMID in bits 47:32. */
static void
test_commands_match_the_architecture(void **state)
{
	struct smmuv3_domain domain = { .vmid = 7, .tr = { .format = IOPF_FORMAT_ARM64_S2,
		.granule_log2 = 12, .va_bits = 40 } };
	struct smmuv3_cmd cmds[4];
	struct pmd p;

	(void)state;
	for (unsigned int ril = 0; ril < 2; ril++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_S2,
			.no_features = ril ? 0 : SMMUV3_MODEL_NO_RIL });
		assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
			.addr = 0x5000, .size = 0x1000 }, cmds, 4), 1);
		assert_int_equal(cmds[0].dw[0], 0x2a | UINT64_C(7) << 32);
		assert_int_equal(cmds[0].dw[1], 0x5000);
		/* 256 pages: SCALE 8, NUM 0, TG 1, TTL 3; or too many commands. */
		assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
			.addr = 0x100000, .size = 0x100000, .leaf_only = true,
			.leaf_log2 = 12 }, cmds, 4), ril);
		if (ril) {
			assert_int_equal(cmds[0].dw[0], 0x2a | 8 << 20 | UINT64_C(7) << 32);
			assert_int_equal(cmds[0].dw[1], 0x100000 | 1 << 10 | 3 << 8 | 1);
		}
		assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain,
				&(struct iopf_inv){ .all = true }, cmds, 4), 1);
		assert_int_equal(cmds[0].dw[0], 0x28 | UINT64_C(7) << 32);
		assert_int_equal(cmds[0].dw[1], 0);
		pmd_close(&p);
	}
}

/* TLBI_S2_IPA has no place for such an address: the whole VMID is invalidated. */
static void
test_a_range_beyond_the_ipas_is_no_illegal_command(void **state)
{
	static const struct iopf_inv ranges[] = {
		{ .addr = UINT64_C(1) << 52, .size = 4096 },
		{ .addr = UINT64_C(1) << 55, .size = 4096, .leaf_only = true, .leaf_log2 = 12 },
		{ .addr = UINT64_C(1) << 60, .size = UINT64_C(1) << 59 },
		{ .addr = (UINT64_C(1) << 52) - 4096, .size = 8192 },
		{ .addr = UINT64_MAX - 4095, .size = 4096 },
	};
	struct smmuv3_cmd cmds[4];
	struct pmd_s2_space s;
	struct pmd p;

	(void)state;
	for (unsigned int ril = 0; ril < 2; ril++) {
		struct iopf_inv_result result;

		pmd_s2_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_S2,
			.no_features = ril ? 0 : SMMUV3_MODEL_NO_RIL });
		pmd_s2_create(&p, &s, 12, 40);
		for (unsigned int i = 0; i < RTE_DIM(ranges); i++) {
			assert_int_equal(smmuv3_tlbi_make_cmds(p.s, s.domain, &ranges[i], cmds, 4),
					0);
			assert_int_equal(p.ops->invalidate(p.s, s.domain, &ranges[i], 1, &result),
					0);
		}
		assert_int_equal(atomic_load(&p.s->cmdq.cerror_ill), 0);
		pmd_s2_destroy(&p, &s);
		pmd_s2_close(&p);
	}
}

static void
test_translations_are_checked(void **state)
{
	struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_S2, .va_bits = 40,
		.granule_log2 = 12, .root = 0x10000 }, bad;
	struct pmd p;
	void *domain;

	(void)state;
	pmd_open(&p, NULL);
	assert_false(p.info.stage2);
	assert_int_equal(p.info.ipa_bits, 0);
	assert_int_equal(p.info.vmid_bits, 0);
	SAYS("the SMMU has no stage 2 (IDR0.S2P): use IOPF_FORMAT_ARM64_S1",
			assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domain), -ENOTSUP));
	pmd_close(&p);
	pmd_open(&p, &(struct smmuv3_model_conf){ .features = SMMUV3_MODEL_S2, .oas_bits = 48,
		.no_features = SMMUV3_MODEL_NO_16K });
	assert_int_equal(p.info.ipa_bits, 48);
	/* The model's OAS cannot be less than the addresses of this process. */
	p.s->ipa_bits = 44;
#define GOOD(...) do {								\
		bad = tr;							\
		__VA_ARGS__;							\
		assert_int_equal(p.ops->domain_add(p.s, &bad, NULL, &domain), 0);	\
		p.ops->domain_del(p.s, domain);					\
	} while (0)
#define BAD(line, ...) do {							\
		bad = tr;							\
		__VA_ARGS__;							\
		SAYS(line, assert_int_equal(p.ops->domain_add(p.s, &bad, NULL, &domain), \
				-EINVAL));					\
	} while (0)
	GOOD((void)0);
	GOOD(bad.va_bits = 44);
	GOOD(bad.va_bits = 25);
	BAD("granule_log2 14 of a translation", bad.granule_log2 = 14);
	BAD("stage-2 translation of 45 IPA bits: use 25 to 44", bad.va_bits = 45);
	BAD("stage-2 translation of 24 IPA bits: use 25 to 44", bad.va_bits = 24);
	/* Two tables of 4 KiB, or 2 entries above them. */
	BAD("a multiple of 0x2000 below 2^48", bad.root = 0x11000);
	GOOD(bad.root = 0x10040, bad.levels = 4);
	BAD("a multiple of 0x40 below 2^48", bad.root = 0x10020, bad.levels = 4);
	BAD("below 2^48 is needed", bad.root = UINT64_C(1) << 48);
	BAD("below 2^36 is needed", bad.root = UINT64_C(1) << 36, bad.pa_bits = 36);
	BAD("stage-2 table of 2 levels for 40 IPA bits", bad.levels = 2);
	BAD("stage-2 table of 5 levels for 40 IPA bits", bad.levels = 5);
	BAD("stage-2 table of 200 levels for 40 IPA bits", bad.levels = 200);
	BAD("stage-2 table of 1 levels for 25 IPA bits", bad.levels = 1, bad.va_bits = 25);
	BAD("stage-2 table of 4 levels for 39 IPA bits", bad.levels = 4, bad.va_bits = 39);
	GOOD(bad.granule_log2 = 16, bad.levels = 1, bad.va_bits = 33, bad.root = 0x100000);
	BAD("stage-2 table of 1 levels for 34 IPA bits", bad.granule_log2 = 16, bad.levels = 1,
			bad.va_bits = 34);
	/* The first level of so many is too high for small addresses. */
	p.s->oas_bits = 42;
	p.s->ipa_bits = 42;
	GOOD((void)0);
	BAD("stage-2 table of 4 levels: too many for an SMMU with addresses of 42 bits",
			bad.levels = 4, bad.root = 0x10040);
	p.s->oas_bits = p.s->ipa_bits = 48;
	pmd_close(&p);
}

/* One STE holds one stage-2 domain, and has CDs or not. */
static void
test_a_stage2_domain_is_the_only_one_of_its_device(void **state)
{
	struct pmd_s2_space s, other;
	struct pmd p;
	void *dev;

	(void)state;
	pmd_s2_open(&p, NULL);
	dev = pmd_s2_add_dev(&p, 0, IOPF_STALL, 8);
	pmd_s2_create(&p, &s, 12, 40);
	pmd_s2_create(&p, &other, 12, 40);
	assert_int_equal(p.ops->domain_add(p.s, &(struct iopf_translation){
		.format = IOPF_FORMAT_NONE }, NULL, &p.domain), 0);
	SAYS("PASID 3: a stage-2 or nested domain is not for a PASID",
			assert_int_equal(rig_attach(p.ops, p.s, dev, 3, s.domain), -ERANGE));
	assert_int_equal(rig_attach(p.ops, p.s, dev, 3, p.domain), 0);
	SAYS("domain must be the device's only one, and others are attached: detach those first",
			assert_int_equal(attach(&p, dev, &s), -EINVAL));
	assert_int_equal(rig_detach(p.ops, p.s, dev, 3), 0);
	assert_int_equal(attach(&p, dev, &s), 0);
	SAYS("domain must be the device's only one, and one is attached: detach it first",
			assert_int_equal(rig_attach(p.ops, p.s, dev, 3, p.domain), -EINVAL));
	SAYS("domain must be the device's only one, and one is attached: detach it first",
			assert_int_equal(attach(&p, dev, &other), -EINVAL));
	SAYS("a stage-2 domain cannot be replaced", assert_int_equal(rig_replace(p.ops, p.s, dev,
			IOPF_NO_PASID, other.domain), -ENOTSUP));
	SAYS("a stage-2 domain cannot be replaced", assert_int_equal(rig_replace(p.ops, p.s, dev,
			IOPF_NO_PASID, p.domain), -ENOTSUP));
	detach(&p, dev);
	assert_int_equal(rig_attach(p.ops, p.s, dev, IOPF_NO_PASID, p.domain), 0);
	SAYS("nor replace another", assert_int_equal(rig_replace(p.ops, p.s, dev,
			IOPF_NO_PASID, s.domain), -ENOTSUP));
	detach(&p, dev);
	assert_int_equal(p.ops->dev_del(p.s, dev), 0);
	pmd_s2_destroy(&p, &s);
	pmd_s2_destroy(&p, &other);
	p.ops->domain_del(p.s, p.domain);
	pmd_s2_close(&p);
}

/* Stage 1, stage 2 and stage 1 again: with stage 1 alone the VMID is 0, which no domain has. */
static void
test_stages_follow_each_other_on_a_device(void **state)
{
	const struct smmuv3_ste *ste;
	struct smmuv3_model_dma *dma;
	struct pmd_s2_space s;
	struct pmd p;

	(void)state;
	pmd_s2_open(&p, NULL);
	pmd_add_dev(&p, IOPF_STALL, 8, IOPF_NO_PASID);
	dma = p.dma;
	pmd_s2_create(&p, &s, 12, 40);
	ste = smmuv3_strtab_ste(&p.s->strtab, PMD_SID);
	for (unsigned int i = 0; i < 3; i++) {
		p.dma = dma;
		pmd_serve_fault(&p, PMD_VA + i * 0x10000);
		assert_int_equal(ste->dw[2], 0);
		assert_int_equal(ste->dw[3], 0);
		detach(&p, p.dev);
		assert_int_equal(attach(&p, p.dev, &s), 0);
		pmd_s2_serve(&p, &s, dma, IPA + i * 0x10000);
		assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2VMID, ste->dw[2]),
				((struct smmuv3_domain *)s.domain)->vmid);
		detach(&p, p.dev);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
	}
	p.dma = dma;
	pmd_s2_destroy(&p, &s);
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_each_stage2_domain_has_a_vmid(void **state)
{
	struct iopf_translation tr;
	struct pmd_s2_space s;
	void *domains[256];
	bool used[256];
	struct pmd p;

	(void)state;
	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	tr = pmd_s2_translation(&s);
	p.ops->domain_del(p.s, s.domain);
	memset(used, 0, sizeof(used));
	/* VMID 0 is that of stage 1 alone. */
	used[0] = true;
	for (unsigned int i = 0; i < 255; i++) {
		uint16_t vmid;

		assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domains[i]), 0);
		vmid = ((struct smmuv3_domain *)domains[i])->vmid;
		assert_in_range(vmid, 1, 255);
		assert_false(used[vmid]);
		used[vmid] = true;
	}
	SAYS("all 255 VMIDs are in use, one for each stage-2 domain: detach one from its last device",
			assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domains[255]), -ENOSPC));
	/* They are apart from ASIDs. */
	assert_int_equal(p.ops->domain_add(p.s, &(struct iopf_translation){
		.format = IOPF_FORMAT_NONE }, NULL, &domains[255]), 0);
	p.ops->domain_del(p.s, domains[255]);
	p.ops->domain_del(p.s, domains[77]);
	assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domains[77]), 0);
	for (unsigned int i = 0; i < 255; i++)
		p.ops->domain_del(p.s, domains[i]);
	pgt_destroy(s.pgt);
	pmd_s2_close(&p);
	pmd_open(&p, &(struct smmuv3_model_conf){
		.features = SMMUV3_MODEL_S2 | SMMUV3_MODEL_VMID16 });
	assert_int_equal(p.info.vmid_bits, 16);
	for (unsigned int i = 0; i < 256; i++)
		assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &domains[i]), 0);
	assert_true(((struct smmuv3_domain *)domains[255])->vmid > 255);
	for (unsigned int i = 0; i < 256; i++)
		p.ops->domain_del(p.s, domains[i]);
	pmd_close(&p);
}

/* A domain gets the VMID of an earlier domain. The TLB must hold no entry of the earlier one. */
static void
test_a_reused_vmid_has_no_tlb_entries(void **state)
{
	struct pmd_s2_space s, heir;
	struct iopf_event event;
	uint16_t vmid;
	struct pmd p;
	void *dev;

	(void)state;
	dev = open_one(&p, &s);
	assert_int_equal(attach(&p, dev, &s), 0);
	pmd_s2_serve(&p, &s, p.dma, IPA);
	vmid = ((struct smmuv3_domain *)s.domain)->vmid;
	detach(&p, dev);
	pmd_s2_destroy(&p, &s);
	pmd_s2_create(&p, &heir, 12, 40);
	for (unsigned int i = 0; ((struct smmuv3_domain *)heir.domain)->vmid != vmid; i++) {
		struct iopf_translation tr = pmd_s2_translation(&heir);

		assert_in_range(i, 0, 255);
		p.ops->domain_del(p.s, heir.domain);
		assert_int_equal(p.ops->domain_add(p.s, &tr, NULL, &heir.domain), 0);
	}
	assert_int_equal(attach(&p, dev, &heir), 0);
	event = pmd_s2_fault(&p, p.dma, IPA);
	pmd_answer(&p, &event, IOPF_INVALID);
	assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
	close_one(&p, dev, &heir);
}

/* A detached device must not use TLB entries that another device of the domain fills. */
static void
test_devices_share_a_domain(void **state)
{
	struct smmuv3_model_dma *dma[2];
	struct pmd_s2_space s;
	struct iopf_event event;
	struct pmd p;
	void *dev[2];

	(void)state;
	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i] = pmd_s2_add_dev(&p, i, IOPF_STALL, 0);
		dma[i] = pmd_s2_add_engine(&p, i);
		assert_int_equal(attach(&p, dev[i], &s), 0);
	}
	pmd_s2_serve(&p, &s, dma[0], IPA);
	assert_int_equal(pmd_s2_touch(&p, dma[1], IPA), SMMUV3_MODEL_OK);
	/* The TLBI reaches the entries of both. */
	pmd_s2_unmap(&p, &s, IPA);
	pmd_s2_serve(&p, &s, dma[1], IPA);
	detach(&p, dev[0]);
	assert_int_equal(pmd_s2_touch(&p, dma[1], IPA), SMMUV3_MODEL_OK);
	assert_int_equal(pmd_s2_touch(&p, dma[0], IPA), SMMUV3_MODEL_ABORTED);
	pmd_wait_event(&p, &event);
	assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
	detach(&p, dev[1]);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(p.ops->dev_del(p.s, dev[i]), 0);
		smmuv3_model_dma_destroy(dma[i]);
	}
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_faults_are_served_with_each_table),
	cmocka_unit_test(test_a_table_may_have_more_levels),
	cmocka_unit_test(test_an_answer_follows_the_invalidation_of_its_batch),
	cmocka_unit_test(test_commands_match_the_architecture),
	cmocka_unit_test(test_a_range_beyond_the_ipas_is_no_illegal_command),
	cmocka_unit_test(test_translations_are_checked),
	cmocka_unit_test(test_a_stage2_domain_is_the_only_one_of_its_device),
	cmocka_unit_test(test_stages_follow_each_other_on_a_device),
	cmocka_unit_test(test_each_stage2_domain_has_a_vmid),
	cmocka_unit_test(test_a_reused_vmid_has_no_tlb_entries),
	cmocka_unit_test(test_devices_share_a_domain),
};

TEST_SUITE(pmd_stage2, tests, NULL, NULL);
