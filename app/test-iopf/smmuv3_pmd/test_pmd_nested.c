/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Nested domains: what a guest's STE may ask for, and what becomes of it in the driver's. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "log_lines.h"
#include "pmd_s2_rig.h"
#include "smmuv3_spec.h"
#include "test.h"

#define CDS	UINT64_C(0x1234000)	/* an IPA */
/* V, Config = S1, and a table of 2^4 CDs. */
#define WORD0	(UINT64_C(0x2000000000000000) | CDS | 0xb)

static int
add(struct pmd *p, const struct pmd_s2_space *s, uint64_t word0, uint64_t word1, void **domain)
{
	const struct iopf_translation tr = { .format = IOPF_FORMAT_ARM64_GUEST,
		.guest_ste = { word0, word1 } };

	return p->ops->domain_add(p->s, &tr, s->domain, domain);
}

/* The same, whatever was logged before. */
static int
add_and_log(struct pmd *p, const struct pmd_s2_space *s, uint64_t word0, uint64_t word1,
		void **domain)
{
	p->s->guest_log = (struct iopf_log_limit){ .begin = 0 };
	return add(p, s, word0, word1, domain);
}

/* Each single bit, and each field at its limits. */
static void
test_a_guest_may_set_fields_of_stage_1_only(void **state)
{
	/* S1Fmt, S1ContextPtr below 2^40, S1CDMax; S1DSS, S1CIR, S1COR, S1CSH, MEV, S1STALLD, EATS. */
	const uint64_t may[2] = { UINT64_C(0xf80000ffffffffc0) | 0x30, 0x180800ff };
	struct pmd_s2_space s, none;
	struct pmd p;
	void *domain;

	(void)state;
	pmd_s2_open(&p, &(struct smmuv3_model_conf){ .ssid_bits = 20 });
	pmd_s2_create(&p, &s, 12, 40);
	p.untidy = true;
	for (unsigned int w = 0; w < 2; w++)
		for (unsigned int bit = 0; bit < 64; bit++) {
			uint64_t word[2] = { WORD0, 0 };
			bool good;

			/* V and Config are needed as they are; S1CDMax of 31 or 16 + 4 is too large. */
			word[w] ^= UINT64_C(1) << bit;
			good = may[w] >> bit & 1 && SMMUV3_GET(SMMUV3_STE0_S1CDMAX, word[0]) <= 20;
			if (good) {
				assert_int_equal(add(&p, &s, word[0], word[1], &domain), 0);
				p.ops->domain_del(p.s, domain);
			} else {
				SAYS("guest's STE 0x", assert_int_equal(add_and_log(&p, &s,
						word[0], word[1], &domain), -EINVAL));
			}
		}
#define REFUSED(why_, word0_, word1_)						\
	SAYS(why_, assert_int_equal(add_and_log(&p, &s, word0_, word1_, &domain), -EINVAL))
	REFUSED("it has bits that a guest must leave 0", WORD0, UINT64_C(1) << 31);
	REFUSED("V must be 1 and Config stage 1", WORD0 & ~UINT64_C(1), 0);
	REFUSED("V must be 1 and Config stage 1", (WORD0 & ~UINT64_C(0xe)) | 0xe, 0);
	REFUSED("S1ContextPtr is no IPA of the parent", WORD0 | UINT64_C(1) << 40, 0);
	REFUSED("S1CDMax is more than the SMMU has", CDS | 0xb | UINT64_C(21) << 59, 0);
	REFUSED("EATS must be 0 or 1", WORD0, UINT64_C(2) << 28);
	assert_int_equal(p.ops->domain_add(p.s, &(struct iopf_translation){
		.format = IOPF_FORMAT_NONE }, NULL, &none.domain), 0);
	SAYS("its parent must be a stage-2 domain", assert_int_equal(add(&p, &none, WORD0, 0,
			&domain), -EINVAL));
	p.ops->domain_del(p.s, none.domain);
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

/* A guest writes STEs as fast as it can, also without a device that keeps its stage 2. */
static void
test_a_guest_cannot_flood_the_log(void **state)
{
	unsigned int nb = 0;
	struct pmd_s2_space s;
	char *lines, *line;
	struct pmd p;
	void *domain;

	(void)state;
	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	log_lines_begin();
	for (unsigned int i = 0; i < 1000; i++) {
		pmd_s2_destroy(&p, &s);
		pmd_s2_create(&p, &s, 12, 40);
		assert_int_equal(add(&p, &s, 0, i, &domain), -EINVAL);
	}
	lines = log_lines_end();
	for (line = lines; (line = strchr(line, '\n')) != NULL; line++)
		nb++;
	free(lines);
	assert_in_range(nb, 1, 500);
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

static void
test_what_the_smmu_or_the_device_lacks_is_refused(void **state)
{
	struct pmd_s2_space s;
	void *domain, *dev[2];
	struct pmd p;

	(void)state;
	pmd_s2_open(&p, &(struct smmuv3_model_conf){ .stall_model = SMMUV3_STALL_MODEL_FORCED });
	pmd_s2_create(&p, &s, 12, 40);
	/* The model has them. */
	p.s->idr0 &= ~SMMUV3_IDR0_CD2L;
	REFUSED("the SMMU has no CDs of two levels", WORD0 | 0x10, 0);
	REFUSED("the SMMU has no CDs of two levels", WORD0 | 0x20, 0);
	REFUSED("S1STALLD is illegal with this STALL_MODEL", WORD0, 1 << 27);
	/* S1Fmt is ignored without SubstreamIDs. */
	assert_int_equal(add(&p, &s, CDS | 0x1b, 0, &domain), 0);
	p.ops->domain_del(p.s, domain);
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);

	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	dev[0] = pmd_s2_add_dev(&p, 0, IOPF_STALL, 8);
	dev[1] = pmd_s2_add_dev(&p, 1, IOPF_STALL, 16);
	assert_int_equal(add(&p, &s, WORD0, 0, &domain), 0);
	SAYS("S1CDMax 4 of the guest's STE is too large: the device was added with 8 PASIDs",
			assert_int_equal(rig_attach(p.ops, p.s, dev[0], IOPF_NO_PASID, domain),
			-EINVAL));
	assert_int_equal(rig_attach(p.ops, p.s, dev[1], IOPF_NO_PASID, domain), 0);
	assert_int_equal(rig_detach(p.ops, p.s, dev[1], IOPF_NO_PASID), 0);
	p.ops->domain_del(p.s, domain);
	assert_int_equal(add(&p, &s, WORD0, 1 << 28, &domain), 0);
	SAYS("EATS of the guest's STE is set, and the device has no ATS", assert_int_equal(
			rig_attach(p.ops, p.s, dev[1], IOPF_NO_PASID, domain), -EINVAL));
	p.ops->domain_del(p.s, domain);
	for (unsigned int i = 0; i < 2; i++)
		assert_int_equal(p.ops->dev_del(p.s, dev[i]), 0);
	pmd_s2_destroy(&p, &s);
	pmd_s2_close(&p);
}

/* The guest's fields, and the driver's for all else: as literal words. */
static void
test_the_ste_is_the_guests_in_front_and_the_drivers_behind(void **state)
{
	static const struct {
		enum iopf_recover recover;
		uint64_t guest, dw1;	/* word 1 */
	} rows[] = {
		/* SHCFG is 1; the guest's S1DSS, S1CIR, S1COR, S1CSH, MEV. */
		{ IOPF_STALL, 0x800f6, UINT64_C(1) << 44 | 0x800f6 },
		{ IOPF_STALL, 1 << 27, UINT64_C(1) << 44 | 1 << 27 },
		/* A device that must not stall gets S1STALLD, whatever the guest says. */
		{ IOPF_TERMINATE, 2, UINT64_C(1) << 44 | 1 << 27 | 2 },
		/* ATS is on as long as the device is attached. */
		{ IOPF_PRI, 2, UINT64_C(1) << 44 | 1 << 28 | 1 << 27 | 2 },
		{ IOPF_PRI, 1 << 28 | 2, UINT64_C(1) << 44 | 1 << 28 | 1 << 27 | 2 },
	};
	const struct smmuv3_ste *ste;
	struct pmd_s2_space s;
	void *domain, *dev;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
		bool stalls = rows[i].recover == IOPF_STALL;

		pmd_s2_open(&p, &(struct smmuv3_model_conf){
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
		pmd_s2_create(&p, &s, 12, 40);
		dev = pmd_s2_add_dev(&p, 0, rows[i].recover, 16);
		assert_int_equal(add(&p, &s, WORD0 | 0x10, rows[i].guest, &domain), 0);
		assert_int_equal(rig_attach(p.ops, p.s, dev, IOPF_NO_PASID, domain), 0);
		ste = smmuv3_strtab_ste(&p.s->strtab, PMD_SID);
		/* Config becomes both stages. */
		assert_int_equal(ste->dw[0], UINT64_C(0x2000000000000000) | CDS | 0x1f);
		assert_int_equal(ste->dw[1], rows[i].dw1);
		assert_int_equal(SMMUV3_GET(SMMUV3_STE2_S2VMID, ste->dw[2]),
				((struct smmuv3_domain *)s.domain)->vmid);
		assert_int_equal(!!(ste->dw[2] & SMMUV3_STE2_S2S), stalls);
		assert_int_equal(ste->dw[3], s.info.root);
		/* Accesses cannot be kept from stalling but by a block. */
		assert_int_equal(rig_detach(p.ops, p.s, dev, IOPF_NO_PASID), 0);
		assert_int_equal(ste->dw[0], 0);
		p.ops->domain_del(p.s, domain);
		assert_int_equal(p.ops->dev_del(p.s, dev), 0);
		pmd_s2_destroy(&p, &s);
		pmd_s2_close(&p);
	}
}

/* The parent is deleted first by its owner: the nested domain holds it, and its VMID. */
static void
test_a_nested_domain_holds_the_vmid(void **state)
{
	struct pmd_s2_space s;
	struct pmd p;
	void *domain, *dev, *attachment;
	uint16_t vmid;

	(void)state;
	pmd_s2_open(&p, NULL);
	pmd_s2_create(&p, &s, 12, 40);
	dev = pmd_s2_add_dev(&p, 0, IOPF_STALL, 16);
	vmid = ((struct smmuv3_domain *)s.domain)->vmid;
	assert_int_equal(add(&p, &s, WORD0, 0, &domain), 0);
	assert_int_equal(((struct smmuv3_domain *)domain)->vmid, vmid);
	assert_int_equal(((struct smmuv3_domain *)domain)->asid, SMMUV3_ASID_NONE);
	assert_int_equal(p.ops->attach(p.s, dev, IOPF_NO_PASID, domain, &attachment), 0);
	assert_int_equal(p.ops->stall_set(p.s, attachment, true), 0);
	assert_int_equal(p.ops->stall_set(p.s, attachment, false), -ENOTSUP);
	p.ops->domain_del(p.s, s.domain);
	p.ops->domain_del(p.s, domain);
	assert_true(p.s->vmids.used[vmid / 64] & UINT64_C(1) << vmid % 64);
	assert_int_equal(p.ops->detach(p.s, attachment), 0);
	assert_false(p.s->vmids.used[vmid / 64] & UINT64_C(1) << vmid % 64);
	assert_int_equal(p.ops->dev_del(p.s, dev), 0);
	pgt_destroy(s.pgt);
	pmd_s2_close(&p);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_guest_may_set_fields_of_stage_1_only),
	cmocka_unit_test(test_a_guest_cannot_flood_the_log),
	cmocka_unit_test(test_what_the_smmu_or_the_device_lacks_is_refused),
	cmocka_unit_test(test_the_ste_is_the_guests_in_front_and_the_drivers_behind),
	cmocka_unit_test(test_a_nested_domain_holds_the_vmid),
};

TEST_SUITE(pmd_nested, tests, NULL, NULL);
