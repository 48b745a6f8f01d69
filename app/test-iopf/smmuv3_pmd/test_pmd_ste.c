/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Changes of an STE or CD that the SMMU may fetch at any time. The SMMU may assemble an entry from
 * words read at any time between two SYNCs, and keep it until the next SYNC. Each such entry must
 * be the old one, the new one, or not valid.
 */

#include <errno.h>
#include <string.h>

#include "pmd_rig.h"
#include "test.h"

#define V	UINT64_C(1)

/*
 * The values of each word since the last SYNC. Until then the SMMU may also keep any of these from
 * an invalid entry.
 */
struct seen {
	uint64_t values[8][4];
	unsigned int nb[8];
	uint64_t now[8];
	const uint64_t *old, *next;
	unsigned int syncs;
};

static void
add_value(struct seen *seen, unsigned int word, uint64_t value)
{
	assert_in_range(seen->nb[word], 0, 3);
	seen->values[word][seen->nb[word]++] = value;
	seen->now[word] = value;
}

static bool
is_entry_seen(const struct seen *seen, const uint64_t *entry, uint64_t word0)
{
	if (entry[0] != word0)
		return false;
	for (unsigned int w = 1; w < 8; w++)
		for (unsigned int i = 0; i < seen->nb[w]; i++)
			if (seen->values[w][i] != entry[w])
				return false;
	return true;
}

/* Check every mixture of these values. */
static void
check_mixes(const struct seen *seen)
{
	unsigned int mixed = 0, w;

	for (w = 1; w < 8; w++)
		mixed += seen->nb[w] > 1;
	for (unsigned int i = 0; i < seen->nb[0]; i++) {
		uint64_t word0 = seen->values[0][i];

		if (!(word0 & V))
			continue;
		/* Valid: one word may have two values if word 0 has one value. */
		if (mixed == 1 && seen->nb[0] == 1) {
			for (w = 1; w < 8; w++)
				for (unsigned int k = 0; k < seen->nb[w]; k++)
					assert_true(seen->values[w][k] == seen->old[w] ||
							seen->values[w][k] == seen->next[w]);
			assert_true(seen->old[0] == word0 && seen->next[0] == word0);
			continue;
		}
		assert_true(is_entry_seen(seen, seen->old, word0) ||
				is_entry_seen(seen, seen->next, word0));
	}
}

static void
restart_values(struct seen *seen)
{
	for (unsigned int w = 0; w < 8; w++) {
		seen->nb[w] = 1;
		seen->values[w][0] = seen->now[w];
	}
}

static void
check_plan(const uint64_t old[8], const uint64_t next[8])
{
	struct smmuv3_step steps[SMMUV3_NB_STEPS];
	struct seen seen = { .old = old, .next = next };
	unsigned int n, i;

	memcpy(seen.now, old, sizeof(seen.now));
	n = smmuv3_entry_plan(old, next, V, steps);
	assert_in_range(n, 1, SMMUV3_NB_STEPS);
	restart_values(&seen);
	for (i = 0; i < n; i++) {
		assert_in_range(steps[i].word, 0, SMMUV3_STEP_SYNC);
		if (steps[i].word == SMMUV3_STEP_SYNC) {
			check_mixes(&seen);
			restart_values(&seen);
			seen.syncs++;
		} else {
			add_value(&seen, steps[i].word, steps[i].value);
		}
	}
	/* After the last step the SMMU can see the new entry only. */
	assert_int_equal(steps[n - 1].word, SMMUV3_STEP_SYNC);
	assert_memory_equal(seen.now, next, sizeof(seen.now));
}

static void
test_no_mix_of_old_and_new_is_ever_valid(void **state)
{
	uint64_t old[8], next[8], seed = 1;
	unsigned int round, w;

	(void)state;
	for (round = 0; round < 100000; round++) {
		for (w = 0; w < 8; w++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
			old[w] = seed >> 40;
			/* Many words stay the same, so that there are plans of each length. */
			next[w] = seed >> 33 & 3 ? old[w] : seed >> 20;
		}
		old[0] = (old[0] & ~V) | (seed >> 50 & 1);
		next[0] = (next[0] & ~V) | (seed >> 51 & 1);
		check_plan(old, next);
	}
	memset(old, 0, sizeof(old));
	check_plan(old, old);
}

static void
test_a_change_of_one_word_keeps_the_entry_valid(void **state)
{
	const uint64_t old[8] = { 0x11, 2, 3, 4, 5, 6, 7, 8 };
	struct smmuv3_step steps[SMMUV3_NB_STEPS];
	uint64_t next[8];

	(void)state;
	for (unsigned int w = 0; w < 8; w++) {
		memcpy(next, old, sizeof(next));
		next[w] ^= 0x100;
		assert_int_equal(smmuv3_entry_plan(old, next, V, steps), 2);
		assert_int_equal(steps[0].word, w);
		assert_int_equal(steps[0].value, next[w]);
		assert_int_equal(steps[1].word, SMMUV3_STEP_SYNC);
	}
}

/* After a failed SYNC the change is tried again. */
static int
fail_sync(void *ctx)
{
	unsigned int *left = ctx;

	return (*left)-- == 0 ? -ETIMEDOUT : 0;
}

static void
test_a_failed_change_can_be_tried_again(void **state)
{
	const uint64_t old[8] = { 0x11, 2, 3, 4, 5, 6, 7, 8 };
	const uint64_t next[8] = { 0x21, 9, 3, 4, 5, 6, 7, 1 };
	uint64_t live[8];
	unsigned int fail_at, left;

	(void)state;
	for (fail_at = 0; fail_at < 3; fail_at++) {
		memcpy(live, old, sizeof(live));
		left = fail_at;
		assert_int_equal(smmuv3_entry_write(live, next, V, fail_sync, &left),
				-ETIMEDOUT);
		/*
		 * A valid entry is never half old and half new. The rest of the change needs a
		 * SYNC.
		 */
		if (live[0] & V)
			assert_memory_equal(live, next, sizeof(live));
		check_plan(live, next);
		left = 100;
		assert_int_equal(smmuv3_entry_write(live, next, V, fail_sync, &left), 0);
		assert_true(left < 100);
		assert_memory_equal(live, next, sizeof(live));
	}
}

/*
 * Other domains are attached and detached while the device does DMA: the SMMU uses complete entries
 * only.
 */
static void
test_attach_and_detach_are_atomic_for_dma(void **state)
{
	uint8_t buf[4] = { 1, 2, 3, 4 };
	struct iopf_event event;
	struct pmd p;
	unsigned int i;

	(void)state;
	for (unsigned int kind = 0; kind < 3; kind++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.stall_model = kind,
			.choices = SMMUV3_MODEL_TORN_FETCH | SMMUV3_MODEL_STICKY_TLB,
			.seed = 7 + kind });
		pmd_start(&p, kind == SMMUV3_STALL_MODEL_TERM ? IOPF_TERMINATE : IOPF_STALL);
		pmd_map(&p, PMD_VA, pmd_alloc(&p, 4096, 4096));
		for (i = 0; i < 200; i++) {
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
			smmuv3_model_step(p.m, 1 + i % 5);
			assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
			smmuv3_model_step(p.m, 1 + i % 3);
			assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
			pmd_wait_done(&p);
			pmd_wait_done(&p);
			/* The page is mapped: the entries were valid and complete, or not valid. */
			while (p.ops->poll(p.s, 0, &event, 1) == 1)
				assert_true(event.raw_id == SMMUV3_C_BAD_STE ||
						event.raw_id == SMMUV3_C_BAD_CD);
			/* No mixture is left in a cache. */
			pmd_write(&p, PMD_VA, buf, sizeof(buf));
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		}
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* The STE at each wait for the SMMU. */
static struct {
	const struct smmuv3_backend *real;
	const uint64_t *ste;
	uint64_t before[8];
	bool live;		/* it translates, or did since the last look */
	unsigned int looks, changes;
} spy;

static bool
can_translate(uint64_t dw0)
{
	return dw0 & V && dw0 & 1 << 3;
}

/*
 * Other words than word 0 change only while the STE does not translate, at this wait and the one
 * before.
 */
static void
look_at_ste(void *ctx)
{
	unsigned int other = 0, w;

	spy.looks++;
	for (w = 1; w < 8; w++)
		other += spy.ste[w] != spy.before[w];
	spy.changes += other > 0;
	if (other > 0) {
		assert_false(can_translate(spy.before[0]));
		assert_false(can_translate(spy.ste[0]));
	}
	memcpy(spy.before, spy.ste, sizeof(spy.before));
	spy.real->wait(ctx);
}

static void
test_an_ste_changes_while_it_does_not_translate(void **state)
{
	static struct smmuv3_backend backend;
	const uint32_t sid = PMD_SID;
	struct iopf_dev_conf conf = { .sids = &sid, .nb_sids = 1 };
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_2LVL_STRTAB,
		.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
	pmd_start(&p, IOPF_STALL);
	spy.real = p.s->backend;
	spy.ste = ((const struct smmuv3_ste *)p.s->strtab.mem.va + PMD_SID)->dw;
	memcpy(spy.before, spy.ste, sizeof(spy.before));
	spy.changes = spy.looks = 0;
	backend = *spy.real;
	backend.wait = look_at_ste;
	p.s->backend = &backend;
	for (unsigned int i = 0; i < 6; i++) {
		/* Another kind of device with the same StreamID: word 1 differs. */
		assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
		assert_int_equal(p.ops->dev_del(p.s, p.dev), 0);
		conf.recover = i % 2 ? IOPF_STALL : IOPF_PRI;
		assert_int_equal(p.ops->dev_add(p.s, &conf, &p.dev), 0);
		assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
	}
	assert_true(spy.looks > 0);
	assert_int_equal(spy.changes, 6);
	p.s->backend = spy.real;
	pmd_finish(&p, IOPF_NO_PASID);
}

static void
test_entries_are_what_the_architecture_says(void **state)
{
	struct smmuv3_domain domain;
	const struct smmuv3_cd *cd;
	const struct smmuv3_ste *ste;
	struct smmuv3_dev *dev;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_2LVL_STRTAB });
	pmd_start(&p, IOPF_STALL);
	dev = p.dev;
	domain = *(struct smmuv3_domain *)p.domain;
	ste = (const struct smmuv3_ste *)p.s->strtab.mem.va + PMD_SID;
	cd = dev->cds.mem.va;
	/* V, Config = 5, S1Fmt 0, S1CDMax 0 and the CD. */
	assert_int_equal(ste->dw[0], (uintptr_t)cd | 0xb);
	/* S1DSS 2, S1CIR 1, S1COR 1, S1CSH 3, SHCFG 1. */
	assert_int_equal(ste->dw[1], 0x2 | 1 << 2 | 1 << 4 | 3 << 6 | UINT64_C(1) << 44);
	/* T0SZ 16, IR0 1, OR0 1, SH0 3, EPD1, V, IPS 48, AA64, S, R, A, ASET, ASID. */
	assert_int_equal(cd->dw[0], 0x10 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 |
			UINT64_C(1) << 31 | UINT64_C(5) << 32 | UINT64_C(1) << 41 |
			UINT64_C(0xf) << 44 | (uint64_t)domain.asid << 48);
	assert_int_equal(cd->dw[1], (uintptr_t)p.root);
	assert_int_equal(cd->dw[3], 0xff);
	assert_int_equal(rig_detach(p.ops, p.s, p.dev, IOPF_NO_PASID), 0);
	/* Neither is valid. */
	assert_int_equal(ste->dw[0], 0);
	assert_int_equal(cd->dw[0], 0);
	assert_int_equal(rig_attach(p.ops, p.s, p.dev, IOPF_NO_PASID, p.domain), 0);
	pmd_finish(&p, IOPF_NO_PASID);

	/* S1STALLD for devices without stalls, unless the SMMU makes it illegal; CD.S clear. */
	for (unsigned int kind = 0; kind < 2; kind++) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .stall_model = kind,
			.no_features = SMMUV3_MODEL_NO_2LVL_STRTAB });
		pmd_start(&p, IOPF_TERMINATE);
		ste = (const struct smmuv3_ste *)p.s->strtab.mem.va + PMD_SID;
		cd = ((struct smmuv3_dev *)p.dev)->cds.mem.va;
		assert_int_equal(ste->dw[1] >> 27 & 1, kind == 0);
		assert_int_equal(cd->dw[0] >> 44 & 7, 6);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_no_mix_of_old_and_new_is_ever_valid),
	cmocka_unit_test(test_a_change_of_one_word_keeps_the_entry_valid),
	cmocka_unit_test(test_a_failed_change_can_be_tried_again),
	cmocka_unit_test(test_attach_and_detach_are_atomic_for_dma),
	cmocka_unit_test(test_an_ste_changes_while_it_does_not_translate),
	cmocka_unit_test(test_entries_are_what_the_architecture_says),
};

TEST_SUITE(pmd_ste, tests, NULL, NULL);
