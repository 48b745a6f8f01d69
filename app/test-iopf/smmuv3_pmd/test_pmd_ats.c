/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * ATS in the driver: devices of the model that have ATCs. Its oracle reports an access
 * through an ATC entry whose invalidation is complete, and its log what a driver must
 * not do; both are empty at the end of each test (pmd_close()).
 */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "pmd_rig.h"
#include "test.h"

#define SID	PMD_SID
#define VA	PMD_VA
#define PAGE	((uint64_t)1 << 12)

static const struct smmuv3_model_conf with_pri = {
	.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI,
	.choices = SMMUV3_MODEL_STICKY_TLB,
};

/* Opened and started. */
static void
up(struct pmd *p, const struct smmuv3_model_conf *conf)
{
	pmd_open(p, conf != NULL ? conf : &with_pri);
	assert_int_equal(p->ops->start(p->s), 0);
}

/* The model gets a thread, and machines are busy: waits are not to end before a minute. */
static void
run_model(struct pmd *p)
{
	p->s->timeout *= 60;
	assert_int_equal(smmuv3_model_start(p->m, -1), 0);
}

static void *
add_dev_sids(struct pmd *p, const uint32_t *sids, unsigned int n, uint32_t nb_pasids,
		bool prg_pasid)
{
	const struct iopf_dev_conf conf = {
		.sids = sids,
		.nb_sids = n,
		.nb_pasids = nb_pasids,
		.recover = IOPF_PRI,
		.prg_pasid = prg_pasid,
	};
	void *dev;

	assert_int_equal(p->ops->dev_add(p->s, &conf, &dev), 0);
	return dev;
}

static void *
add_dev(struct pmd *p, uint32_t sid, uint32_t nb_pasids)
{
	return add_dev_sids(p, &sid, 1, nb_pasids, false);
}

/* With a table of its own, which is that of pmd_map() and pmd_pte() from here on. */
static void *
add_domain(struct pmd *p)
{
	struct iopf_translation tr = {
		.format = IOPF_FORMAT_ARM64_S1,
		.va_bits = 48,
		.granule_log2 = p->granule_log2,
	};
	void *domain;

	p->root = pmd_alloc(p, (size_t)1 << p->granule_log2, (size_t)1 << p->granule_log2);
	tr.root = (uintptr_t)p->root;
	assert_int_equal(p->ops->domain_add(p->s, &tr, &domain), 0);
	return domain;
}

static void
attach(struct pmd *p, void *dev, uint32_t pasid, void *domain)
{
	assert_int_equal(rig_attach(p->ops, p->s, dev, pasid, domain), 0);
}

static void
detach(struct pmd *p, void *dev, uint32_t pasid)
{
	assert_int_equal(rig_detach(p->ops, p->s, dev, pasid), 0);
}

static struct smmuv3_model_dma *
engine(struct pmd *p, uint32_t sid, uint32_t pasid, bool prg_pasid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(p->m,
			&(struct smmuv3_model_dma_conf){
		.sid = sid,
		.has_ssid = pasid != IOPF_NO_PASID,
		.ssid = pasid != IOPF_NO_PASID ? pasid : 0,
		.kind = SMMUV3_MODEL_DMA_ATS,
		.prg_pasid = prg_pasid,
	});
	int ret;

	assert_non_null(dma);
	ret = smmuv3_model_dma_ats_enable(dma, __builtin_ctz(p->info.granules));
	/* A second engine is of the same function. */
	assert_true(ret == 0 || ret == -EBUSY);
	return dma;
}

static enum smmuv3_model_status
touch(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va)
{
	uint8_t byte = 0x5a;

	p->dma = dma;
	pmd_write(p, va, &byte, 1);
	return pmd_done(p);
}

static bool
reaches(struct pmd *p, struct smmuv3_model_dma *dma, uint64_t va)
{
	return touch(p, dma, va) == SMMUV3_MODEL_OK;
}

static void *
map(struct pmd *p, uint64_t va)
{
	size_t size = (size_t)1 << p->granule_log2;
	void *page = pmd_alloc(p, size, size);

	pmd_map(p, va, page);
	return page;
}

static void
unmap(struct pmd *p, uint64_t va)
{
	__atomic_store_n(pmd_pte(p, va), 0, __ATOMIC_RELEASE);
}

static int
invalidate(struct pmd *p, void *domain, uint64_t va, unsigned int *done)
{
	const struct iopf_inv inv = { .addr = va, .size = (uint64_t)1 << p->granule_log2,
		.leaf_only = true };

	return p->ops->invalidate(p->s, domain, &inv, 1, done);
}

static void
gone(struct pmd *p, void *domain, uint64_t va)
{
	unsigned int done = 0;

	assert_int_equal(invalidate(p, domain, va, &done), 0);
	assert_int_equal(done, 1);
}

/* Steps and checks until the driver has recovered from what there was. */
static void
settle(struct pmd *p)
{
	for (unsigned int i = 0; i < 200; i++) {
		p->ops->check(p->s);
		smmuv3_model_step(p->m, 64);
	}
}

static void
close_ats(struct pmd *p)
{
	assert_int_equal(p->ops->stop(p->s), 0);
	pmd_close(p);
}

static const struct smmuv3_ste *
ste_of(const struct pmd *p, uint32_t sid)
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
	struct smmuv3_model_conf forced = with_pri, ats = with_pri;
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

/* Bit by bit: EATS 29:28 of word 1, S1STALLD 27, PPAR 18; S 44 of CD word 0. */
static void
test_ats_is_allowed_while_something_is_attached(void **state)
{
	const uint32_t sids[3] = { SID, SID + 1, 0x345 };
	const struct smmuv3_cd *cds;
	struct pmd p;
	void *dev, *domain;

	(void)state;
	for (unsigned int k = 0; k < 4; k++) {
		struct smmuv3_model_conf conf = with_pri;
		uint64_t eats = UINT64_C(1) << 28, word1 = (k & 1 ? 1 << 18 : 0);

		/* With the terminate model S1STALLD is illegal. */
		conf.stall_model = k & 2 ? 1 : 0;
		word1 |= k & 2 ? 0 : 1 << 27;
		up(&p, &conf);
		dev = add_dev_sids(&p, sids, 3, 8, k & 1);
		domain = add_domain(&p);
		cds = ((struct smmuv3_dev *)dev)->cds.mem.va;
		for (unsigned int round = 0; round < 2; round++) {
			for (unsigned int i = 0; i < 3; i++)
				assert_int_equal(ste_of(&p, sids[i])->dw[0], 0);
			attach(&p, dev, 1, domain);
			attach(&p, dev, IOPF_NO_PASID, domain);
			for (unsigned int i = 0; i < 3; i++) {
				assert_int_equal(ste_of(&p, sids[i])->dw[0] & 0xf, 0xb);
				assert_int_equal(ste_of(&p, sids[i])->dw[1] & 0x380c0000,
						word1 | eats);
				assert_int_equal(cds[0].dw[0] & UINT64_C(1) << 44, 0);
				assert_int_equal(cds[1].dw[0] & UINT64_C(1) << 44, 0);
			}
			detach(&p, dev, 1);
			for (unsigned int i = 0; i < 3; i++)
				assert_int_equal(ste_of(&p, sids[i])->dw[1] & eats, eats);
			detach(&p, dev, IOPF_NO_PASID);
		}
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		close_ats(&p);
	}
}

/*
 * What is in the queue when a device comes and goes: 9.6 of the facts. A structure that
 * takes several steps is invalidated after each; one is shown here.
 */
static void
test_attach_and_detach_issue_their_commands_in_order(void **state)
{
	static const struct {
		const char *ops;	/* opcodes */
		uint64_t inv[3];	/* the ATC_INVs, all of the whole space; StreamID 8 */
	} steps[] = {
		/* TLBI by ASID, CD, STE, PASID 5 and untagged and Global */
		{ "\x11\x46\x05\x46\x03\x46\x40\x40\x40\x46", { UINT64_C(0x0000000800005840),
			UINT64_C(0x0000000800000040), UINT64_C(0x0000000800005a40) } },
		{ "\x11\x46\x05\x46\x40\x46", { UINT64_C(0x0000000800000040) } },
		/* Not the last: CD, TLBI, this PASID. */
		{ "\x05\x46\x11\x46\x40\x46", { UINT64_C(0x0000000800005840) } },
		{ "\x05\x46\x11\x46\x03\x46\x40\x40\x46", { UINT64_C(0x0000000800000040),
			UINT64_C(0x0000000800000a40) } },
	};
	void *dev, *domain;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 8);
	domain = add_domain(&p);
	for (unsigned int k = 0; k < RTE_DIM(steps); k++) {
		uint64_t at = p.s->cmdq.tail;
		unsigned int inv = 0, n = 0;
		char ops[64] = "";

		if (k == 0)
			attach(&p, dev, 5, domain);
		else if (k == 1)
			attach(&p, dev, IOPF_NO_PASID, domain);
		else
			detach(&p, dev, k == 2 ? 5 : IOPF_NO_PASID);
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
	close_ats(&p);
}

/* The TLB forgets, the ATC does not; after invalidate() both have. */
static void
test_an_unmapped_page_is_out_of_reach_of_its_atc(void **state)
{
	static const uint32_t without[] = { 0, SMMUV3_MODEL_NO_RIL, SMMUV3_MODEL_NO_MSI,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_64K };
	const uint32_t pasids[] = { IOPF_NO_PASID, 3 };
	void *dev, *domain, *pages[20];
	struct iopf_inv inv[20];
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2 * RTE_DIM(without); k++) {
		struct smmuv3_model_conf conf = with_pri;
		struct smmuv3_model_dma *dma;
		uint32_t pasid = pasids[k & 1];
		struct smmuv3_cmd tlbi;
		unsigned int done, i;
		uint64_t size;

		conf.no_features = without[k / 2];
		up(&p, &conf);
		size = UINT64_C(1) << p.granule_log2;
		dev = add_dev(&p, SID, 4);
		domain = add_domain(&p);
		attach(&p, dev, pasid, domain);
		dma = engine(&p, SID, pasid, false);
		for (unsigned int round = 0; round < 4; round++) {
			unsigned int nb = 20;

			for (i = 0; i < nb; i++) {
				uint64_t va = VA + i * 7 * size;

				if (round == 0)
					pages[i] = map(&p, va);
				else
					pmd_map(&p, va, pages[i]);
				assert_true(reaches(&p, dma, va));
				inv[i] = (struct iopf_inv){ .addr = va, .size = size,
					.leaf_only = round & 1 };
			}
			for (i = 0; i < nb; i++)
				unmap(&p, inv[i].addr);
			tlbi = smmuv3_cmd_tlbi_nh_asid(0, ((struct smmuv3_domain *)domain)->asid);
			assert_int_equal(smmuv3_cmdq_sync(&p.s->cmdq, &tlbi, 1, NULL), 0);
			assert_true(reaches(&p, dma, VA));
			if (round == 3) {
				inv[0] = (struct iopf_inv){ .all = true };
				nb = 1;
			}
			done = 77;
			assert_int_equal(p.ops->invalidate(p.s, domain, inv, nb, &done), 0);
			assert_int_equal(done, nb);
			for (i = 0; i < 20; i++)
				assert_int_equal(touch(&p, dma, VA + i * 7 * size),
						SMMUV3_MODEL_ABORTED);
		}
		smmuv3_model_dma_destroy(dma);
		detach(&p, dev, pasid);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		close_ats(&p);
	}
}

/* ATC_INVs name an aligned power of two that has the range in it, and no less than a page. */
static void
test_spans_cover_their_ranges(void **state)
{
	static const struct {
		struct iopf_inv inv[3];
		unsigned int n;
		uint64_t addr;
		unsigned int size;
	} rows[] = {
		{ { { .addr = 0x5000, .size = 0x1000 } }, 1, 0x5000, 0 },
		{ { { .addr = 0x5000, .size = 0x2000 } }, 1, 0x4000, 2 },
		{ { { .addr = 0x6000, .size = 0x2000 } }, 1, 0x6000, 1 },
		{ { { .addr = 0x7ffff000, .size = 0x2000 } }, 1, 0, 20 },
		{ { { .addr = 0x5000, .size = 0x1000 }, { .addr = 0x40000000, .size = 0x1000 },
			{ .addr = 0x40005000, .size = 0x200000 } }, 3, 0, 19 },
		{ { { .addr = UINT64_C(0x7fffffff0000), .size = 0x10000 } }, 1,
			UINT64_C(0x7fffffff0000), 4 },
		{ { { .addr = 0, .size = UINT64_C(1) << 48 } }, 1, 0, 36 },
		{ { { .addr = 0x5000, .size = 0x1000 }, { .all = true } }, 2, 0, 52 },
		{ { { .addr = 0, .size = UINT64_C(0xfffffffffffff000) } }, 1, 0, 52 },
	};
	struct smmuv3_cmd cmds[2 * SMMUV3_MAX_ATCS];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		struct smmuv3_model_conf conf = with_pri;

		/* Where the smallest page is 64 KiB, no ATC_INV is of less. */
		conf.no_features = k ? SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K : 0;
		up(&p, &conf);
		dev = add_dev(&p, SID, 0);
		domain = add_domain(&p);
		attach(&p, dev, IOPF_NO_PASID, domain);
		for (unsigned int i = 0; i < RTE_DIM(rows); i++) {
			unsigned int size = k ? RTE_MAX(rows[i].size, 4u) : rows[i].size;

			assert_int_equal(smmuv3_atc_cmds(p.s, domain, rows[i].inv, rows[i].n,
					cmds), 2);
			assert_int_equal(cmds[0].dw[0], UINT64_C(0x0000000800000040));
			assert_int_equal(cmds[0].dw[1] & 0x3f, size);
			assert_int_equal(cmds[0].dw[1] & ~UINT64_C(0xfff), k && size == 4 ?
					rows[i].addr & ~UINT64_C(0xffff) : rows[i].addr);
			assert_int_equal(cmds[1].dw[0], SMMUV3_OP_SYNC);
		}
		detach(&p, dev, IOPF_NO_PASID);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		close_ats(&p);
	}
}

/* Each ATC gets a share of the 64 commands of a batch: neighbours are forgotten together. */
static void
test_many_ranges_take_one_batch(void **state)
{
	struct smmuv3_model_dma *dma[3];
	static struct iopf_inv inv[300];
	void *dev[3], *domain, *page;
	unsigned int done, i, k;
	uint64_t before;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	domain = add_domain(&p);
	page = map(&p, VA);
	for (i = 0; i < RTE_DIM(inv); i++) {
		inv[i] = (struct iopf_inv){ .addr = VA + 3 * i * PAGE, .size = PAGE,
			.leaf_only = true, .leaf_log2 = 12 };
		pmd_map(&p, inv[i].addr, page);
	}
	for (k = 0; k < 3; k++) {
		dev[k] = add_dev(&p, SID + k, 0);
		attach(&p, dev[k], IOPF_NO_PASID, domain);
		dma[k] = engine(&p, SID + k, IOPF_NO_PASID, false);
		for (i = 0; i < RTE_DIM(inv); i++)
			assert_true(reaches(&p, dma[k], inv[i].addr));
	}
	for (i = 0; i < RTE_DIM(inv); i++)
		unmap(&p, inv[i].addr);
	before = smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS);
	assert_int_equal(p.ops->invalidate(p.s, domain, inv, RTE_DIM(inv), &done), 0);
	assert_int_equal(done, RTE_DIM(inv));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_INVS) - before, 63);
	for (k = 0; k < 3; k++) {
		for (i = 0; i < RTE_DIM(inv); i++)
			assert_false(reaches(&p, dma[k], inv[i].addr));
		smmuv3_model_dma_destroy(dma[k]);
		detach(&p, dev[k], IOPF_NO_PASID);
		p.ops->dev_del(p.s, dev[k]);
	}
	p.ops->domain_del(p.s, domain);
	close_ats(&p);
}

static void
test_all_atcs_of_a_domain_forget_and_no_others(void **state)
{
	const uint32_t sids[2] = { SID + 1, SID + 2 };
	struct smmuv3_model_dma *dma[5];
	void *one, *two, *shared, *other;
	uint64_t *root;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	one = add_dev(&p, SID, 8);
	two = add_dev_sids(&p, sids, 2, 8, false);
	other = add_domain(&p);
	map(&p, VA);
	root = p.root;
	shared = add_domain(&p);
	map(&p, VA);
	attach(&p, one, 1, shared);
	attach(&p, one, 2, other);
	attach(&p, two, IOPF_NO_PASID, shared);
	attach(&p, two, 7, shared);
	dma[0] = engine(&p, SID, 1, false);
	dma[1] = engine(&p, SID + 1, IOPF_NO_PASID, false);
	dma[2] = engine(&p, SID + 2, IOPF_NO_PASID, false);
	dma[3] = engine(&p, SID + 2, 7, false);
	dma[4] = engine(&p, SID, 2, false);
	for (unsigned int i = 0; i < 5; i++)
		assert_true(reaches(&p, dma[i], VA));
	unmap(&p, VA);
	gone(&p, shared, VA);
	for (unsigned int i = 0; i < 4; i++)
		assert_false(reaches(&p, dma[i], VA));
	assert_true(reaches(&p, dma[4], VA));
	p.root = root;
	unmap(&p, VA);
	gone(&p, other, VA);
	assert_false(reaches(&p, dma[4], VA));
	for (unsigned int i = 0; i < 5; i++)
		smmuv3_model_dma_destroy(dma[i]);
	detach(&p, two, 7);
	detach(&p, one, 1);
	detach(&p, two, IOPF_NO_PASID);
	detach(&p, one, 2);
	p.ops->domain_del(p.s, shared);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, one);
	p.ops->dev_del(p.s, two);
	close_ats(&p);
}

/* A function that keeps ATS on, and its ATC: what the driver alone sees to. */
static void
test_a_detached_device_reaches_nothing(void **state)
{
	struct smmuv3_model_dma *untagged, *dma[2];
	struct iopf_event event;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 8);
	domain = add_domain(&p);
	map(&p, VA);
	map(&p, VA + PAGE);
	attach(&p, dev, 1, domain);
	attach(&p, dev, 2, domain);
	attach(&p, dev, IOPF_NO_PASID, domain);
	dma[0] = engine(&p, SID, 1, false);
	dma[1] = engine(&p, SID, 2, false);
	untagged = engine(&p, SID, IOPF_NO_PASID, false);
	for (unsigned int i = 0; i < 2; i++)
		assert_true(reaches(&p, dma[i], VA));
	assert_true(reaches(&p, untagged, VA));
	/* One PASID: the others go on. */
	detach(&p, dev, 1);
	assert_false(reaches(&p, dma[0], VA));
	assert_false(reaches(&p, dma[0], VA + PAGE));
	assert_true(reaches(&p, dma[1], VA));
	assert_true(reaches(&p, untagged, VA));
	detach(&p, dev, IOPF_NO_PASID);
	assert_false(reaches(&p, untagged, VA));
	assert_true(reaches(&p, dma[1], VA));
	/* So far requests found no page, of which there is no record. */
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	/* The last: each Translation Request leaves one. */
	detach(&p, dev, 2);
	for (unsigned int i = 0; i < 3; i++) {
		assert_false(reaches(&p, i < 2 ? dma[i] : untagged, VA));
		assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 1);
		assert_int_equal(event.raw_id, SMMUV3_C_BAD_STE);
		assert_int_equal(event.flags, 0);
	}
	assert_int_equal(p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1), 0);
	/* And back: nothing of the time before is left in the ATC. */
	unmap(&p, VA);
	attach(&p, dev, 2, domain);
	attach(&p, dev, 1, domain);
	for (unsigned int i = 0; i < 2; i++) {
		assert_false(reaches(&p, dma[i], VA));
		assert_true(reaches(&p, dma[i], VA + PAGE));
	}
	detach(&p, dev, 2);
	detach(&p, dev, 1);
	for (unsigned int i = 0; i < 2; i++)
		smmuv3_model_dma_destroy(dma[i]);
	smmuv3_model_dma_destroy(untagged);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	close_ats(&p);
}

/* A Translated transaction whose STE aborts needs CR0.ATSCHK to be stopped. */
static void
test_translated_traffic_is_checked(void **state)
{
	struct smmuv3_model_dma *dma;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 0);
	domain = add_domain(&p);
	map(&p, VA);
	attach(&p, dev, IOPF_NO_PASID, domain);
	dma = engine(&p, SID, IOPF_NO_PASID, false);
	assert_true(reaches(&p, dma, VA));
	/* It keeps what it has, and is stopped all the same. */
	smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	detach(&p, dev, IOPF_NO_PASID);
	assert_false(reaches(&p, dma, VA));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_HITS), 1);
	smmuv3_model_dma_destroy(dma);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	close_ats(&p);
}

static void
test_what_was_invalidated_while_off_is_gone_after_the_start(void **state)
{
	struct smmuv3_model_dma *dma[2];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 8);
	domain = add_domain(&p);
	map(&p, VA);
	attach(&p, dev, IOPF_NO_PASID, domain);
	attach(&p, dev, 5, domain);
	dma[0] = engine(&p, SID, IOPF_NO_PASID, false);
	dma[1] = engine(&p, SID, 5, false);
	assert_true(reaches(&p, dma[0], VA));
	assert_true(reaches(&p, dma[1], VA));
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_false(reaches(&p, dma[0], VA));
	unmap(&p, VA);
	gone(&p, domain, VA);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(reaches(&p, dma[0], VA));
	assert_false(reaches(&p, dma[1], VA));
	/* Attached while it is off. */
	map(&p, VA);
	assert_true(reaches(&p, dma[1], VA));
	assert_int_equal(p.ops->stop(p.s), 0);
	detach(&p, dev, 5);
	detach(&p, dev, IOPF_NO_PASID);
	unmap(&p, VA);
	attach(&p, dev, 5, domain);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(reaches(&p, dma[1], VA));
	detach(&p, dev, 5);
	smmuv3_model_dma_destroy(dma[0]);
	smmuv3_model_dma_destroy(dma[1]);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	close_ats(&p);
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
	up(&p, NULL);
	many = add_dev_sids(&p, sids, RTE_DIM(sids) - 1, 8, false);
	one = add_dev(&p, SID, 8);
	domain = add_domain(&p);
	other = add_domain(&p);
	for (unsigned int round = 0; round < 3; round++) {
		attach(&p, many, 1, domain);
		assert_int_equal(rig_attach(p.ops, p.s, many, 2, domain), -ENOSPC);
		attach(&p, many, 2, other);
		attach(&p, one, 3, domain);
		assert_int_equal(rig_attach(p.ops, p.s, one, 4, domain), -ENOSPC);
		gone(&p, domain, VA);
		gone(&p, other, VA);
		detach(&p, many, 1);
		attach(&p, one, 4, domain);
		detach(&p, one, 3);
		detach(&p, one, 4);
		detach(&p, many, 2);
	}
	/* And 1024 of all domains. */
	for (unsigned int i = 0; i < SMMUV3_NB_ATCS - 1; i++)
		atomic_store(&p.s->atcs[i].word, UINT64_MAX >> 8);
	assert_int_equal(rig_attach(p.ops, p.s, many, 1, domain), -ENOSPC);
	attach(&p, one, 1, domain);
	assert_int_equal(rig_attach(p.ops, p.s, one, 2, domain), -ENOSPC);
	detach(&p, one, 1);
	for (unsigned int i = 0; i < SMMUV3_NB_ATCS; i++)
		assert_int_equal(atomic_exchange(&p.s->atcs[i].word, 0) != 0,
				i < SMMUV3_NB_ATCS - 1);
	p.ops->domain_del(p.s, domain);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, many);
	p.ops->dev_del(p.s, one);
	close_ats(&p);
}

/*
 * Contract 10: its error is told once, it is cut off, and others do not wait for it
 * again.
 */
static void
test_an_atc_that_does_not_answer_is_cut_off(void **state)
{
	struct smmuv3_model_dma *dead, *alive;
	void *dev[2], *domain, *other;
	unsigned int done = 77;
	uint64_t syncs;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev[0] = add_dev(&p, SID, 4);
	dev[1] = add_dev(&p, SID + 1, 0);
	domain = add_domain(&p);
	map(&p, VA);
	other = add_domain(&p);
	map(&p, VA);
	attach(&p, dev[0], 1, domain);
	attach(&p, dev[1], IOPF_NO_PASID, other);
	dead = engine(&p, SID, 1, false);
	alive = engine(&p, SID + 1, IOPF_NO_PASID, false);
	assert_true(reaches(&p, dead, VA));
	assert_true(reaches(&p, alive, VA));
	smmuv3_model_dma_quirks(dead, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	assert_int_equal(invalidate(&p, domain, VA, &done), -EIO);
	assert_int_equal(done, 0);
	assert_int_equal(pmd_stat(&p, "cerror_atc"), 1);
	assert_int_equal(pmd_stat(&p, "atc_cuts"), 1);
	/* Its ATC has the page; it cannot use it. So the promise is kept now. */
	gone(&p, domain, VA);
	assert_false(reaches(&p, dead, VA));
	assert_false(reaches(&p, dead, VA + PAGE));
	unmap(&p, VA);
	gone(&p, other, VA);
	assert_false(reaches(&p, alive, VA));
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	/* It stays so, for other PASIDs and over a restart, until all of it is detached. */
	syncs = pmd_stat(&p, "syncs");
	assert_int_equal(rig_attach(p.ops, p.s, dev[0], 2, other), -EIO);
	assert_int_equal(pmd_stat(&p, "syncs"), syncs);
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	assert_false(reaches(&p, dead, VA));
	detach(&p, dev[0], 1);
	/* Still dead: not attached. */
	assert_int_equal(rig_attach(p.ops, p.s, dev[0], 1, other), -EIO);
	smmuv3_model_dma_quirks(dead, 0, 0);
	smmuv3_model_dma_reset(dead);
	attach(&p, dev[0], 1, other);
	assert_int_equal(smmuv3_model_dma_ats_enable(dead, 0), 0);
	map(&p, VA + PAGE);
	assert_true(reaches(&p, dead, VA + PAGE));
	unmap(&p, VA + PAGE);
	gone(&p, other, VA + PAGE);
	assert_false(reaches(&p, dead, VA + PAGE));
	detach(&p, dev[0], 1);
	detach(&p, dev[1], IOPF_NO_PASID);
	smmuv3_model_dma_destroy(dead);
	smmuv3_model_dma_destroy(alive);
	p.ops->domain_del(p.s, domain);
	p.ops->domain_del(p.s, other);
	p.ops->dev_del(p.s, dev[0]);
	p.ops->dev_del(p.s, dev[1]);
	close_ats(&p);
}

/* Who of several it was shows once each has a CMD_SYNC of its own. */
static void
test_the_dead_atc_among_several_is_found(void **state)
{
	struct smmuv3_model_dma *dma[4];
	void *dev[4], *domain;
	unsigned int done;
	struct pmd p;

	(void)state;
	for (unsigned int bad = 1; bad < 16; bad++) {
		unsigned int nb_bad = __builtin_popcount(bad), errors = 0;

		up(&p, NULL);
		domain = add_domain(&p);
		map(&p, VA);
		for (unsigned int i = 0; i < 4; i++) {
			dev[i] = add_dev(&p, SID + i, 0);
			attach(&p, dev[i], IOPF_NO_PASID, domain);
			dma[i] = engine(&p, SID + i, IOPF_NO_PASID, false);
			assert_true(reaches(&p, dma[i], VA));
			if (bad & 1 << i)
				smmuv3_model_dma_quirks(dma[i], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		}
		unmap(&p, VA);
		while (invalidate(&p, domain, VA, &done) == -EIO) {
			assert_int_equal(done, 0);
			assert_in_range(++errors, 1, nb_bad + 1);
		}
		assert_int_equal(done, 1);
		assert_int_equal(pmd_stat(&p, "atc_cuts"), nb_bad);
		for (unsigned int i = 0; i < 4; i++)
			assert_false(reaches(&p, dma[i], VA));
		/* Those that answer go on. */
		map(&p, VA + PAGE);
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(reaches(&p, dma[i], VA + PAGE), !(bad & 1 << i));
		for (unsigned int i = 0; i < 4; i++) {
			detach(&p, dev[i], IOPF_NO_PASID);
			smmuv3_model_dma_destroy(dma[i]);
			p.ops->dev_del(p.s, dev[i]);
		}
		p.ops->domain_del(p.s, domain);
		close_ats(&p);
	}
}

static void
test_a_pasid_of_a_dead_atc_can_be_detached(void **state)
{
	struct smmuv3_model_dma *dma[2];
	void *dev, *domain;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 4);
	domain = add_domain(&p);
	map(&p, VA);
	attach(&p, dev, 1, domain);
	attach(&p, dev, 2, domain);
	dma[0] = engine(&p, SID, 1, false);
	dma[1] = engine(&p, SID, 2, false);
	assert_true(reaches(&p, dma[0], VA));
	assert_true(reaches(&p, dma[1], VA));
	smmuv3_model_dma_quirks(dma[0], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
	/* No access of it succeeds: not of this PASID, and of no other of the function. */
	detach(&p, dev, 1);
	assert_false(reaches(&p, dma[0], VA));
	assert_false(reaches(&p, dma[1], VA));
	gone(&p, domain, VA);
	detach(&p, dev, 2);
	assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
	smmuv3_model_dma_destroy(dma[0]);
	smmuv3_model_dma_destroy(dma[1]);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	close_ats(&p);
}

/* Answers that nobody waits for: found by whoever looks at GERROR next. */
static void
test_a_dead_atc_does_not_hold_up_answers_for_good(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	struct smmuv3_model_dma *dma;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		struct smmuv3_model_conf conf = with_pri;

		/* All in the queue, or most in the backlog. */
		conf.cmdq_log2 = k == 0 ? 10 : 3;
		up(&p, &conf);
		dev = add_dev(&p, SID, 0);
		domain = add_domain(&p);
		map(&p, VA);
		attach(&p, dev, IOPF_NO_PASID, domain);
		dma = engine(&p, SID, IOPF_NO_PASID, false);
		assert_true(reaches(&p, dma, VA));
		smmuv3_model_dma_quirks(dma, SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
		for (unsigned int i = 0; i < 50; i++)
			p.ops->answer_after(p.s, domain, &inv, 1, NULL, 0);
		assert_int_equal(pmd_stat(&p, "backlog_pushes") > 0, k);
		smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
		settle(&p);
		/* What waited for it was rewritten. */
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_ATC_TIMEOUTS), 1);
		assert_int_equal(pmd_stat(&p, "atc_cuts"), 1);
		assert_false(reaches(&p, dma, VA));
		gone(&p, domain, VA);
		smmuv3_model_dma_destroy(dma);
		detach(&p, dev, IOPF_NO_PASID);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		close_ats(&p);
	}
}

static void
pri_enable(struct smmuv3_model_dma *dma)
{
	assert_int_equal(smmuv3_model_dma_pri_enable(dma, 8), 0);
}

static void
pri_disable(struct pmd *p, struct smmuv3_model_dma *dma)
{
	assert_int_equal(smmuv3_model_dma_pri_disable(dma), 0);
	pmd_step(p);
	assert_true(smmuv3_model_dma_pri_drained(dma));
	assert_int_equal(smmuv3_model_dma_ats_disable(dma), 0);
}

static void
next_request(struct pmd *p, struct iopf_event *event)
{
	for (unsigned int i = 0; i < 10000; i++) {
		if (p->ops->poll(p->s, IOPF_QUEUE_REQUESTS, event, 1) == 1) {
			assert_int_equal(event->flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
			return;
		}
		smmuv3_model_step(p->m, 64);
	}
	fail_msg("no page request");
}

/* The retry finds the new page, and other pages of the range are forgotten too. */
static void
test_an_answer_behind_an_invalidation_comes_behind_the_atc(void **state)
{
	const struct iopf_inv inv[2] = { { .addr = VA, .size = PAGE },
		{ .addr = VA + PAGE, .size = PAGE } };
	struct smmuv3_model_dma *dma[2];
	struct iopf_answer answer;
	uint8_t byte = 9, *page;
	void *dev[2], *domain;
	struct iopf_event event;
	uint64_t batches;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	domain = add_domain(&p);
	for (unsigned int i = 0; i < 2; i++) {
		dev[i] = add_dev(&p, SID + i, 4);
		attach(&p, dev[i], 3, domain);
		dma[i] = engine(&p, SID + i, 3, false);
		pri_enable(dma[i]);
	}
	/* VA is read-only: it is asked for with write. VA + PAGE moves. */
	pmd_map(&p, VA, pmd_alloc(&p, PAGE, PAGE));
	*pmd_pte(&p, VA) |= 1 << 7;
	map(&p, VA + PAGE);
	p.dma = dma[0];
	assert_int_equal(smmuv3_model_dma_submit(dma[0], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_READ, .addr = VA, .buf = &byte, .len = 1 }), 0);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_OK);
	assert_true(reaches(&p, dma[0], VA + PAGE));
	assert_true(reaches(&p, dma[1], VA + PAGE));
	p.dma = dma[0];
	byte = 9;
	pmd_write(&p, VA, &byte, 1);
	next_request(&p, &event);
	assert_int_equal(event.addr, VA);
	page = map(&p, VA);
	pmd_map(&p, VA + PAGE, page);
	answer = (struct iopf_answer){ .sid = event.sid, .pasid = IOPF_NO_PASID,
		.token = event.token, .code = IOPF_SUCCESS, .page_request = true };
	batches = pmd_stat(&p, "batches");
	p.ops->answer_after(p.s, domain, inv, 2, &answer, 1);
	assert_int_equal(pmd_stat(&p, "batches"), batches + 1);
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_OK);
	assert_int_equal(page[0], 9);
	for (unsigned int i = 0; i < 2; i++) {
		page[0] = 0;
		assert_true(reaches(&p, dma[i], VA + PAGE));
		assert_int_equal(page[0], 0x5a);
	}
	for (unsigned int i = 0; i < 2; i++) {
		pri_disable(&p, dma[i]);
		detach(&p, dev[i], 3);
		smmuv3_model_dma_destroy(dma[i]);
		p.ops->dev_del(p.s, dev[i]);
	}
	p.ops->domain_del(p.s, domain);
	close_ats(&p);
}

/* TLBI, SYNC, ATC_INV for each, SYNC, answers: one batch, bit by bit. */
static void
test_the_batch_of_an_answer_behind_an_invalidation(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = 2 * PAGE };
	const struct iopf_answer answers[2] = {
		{ .sid = SID, .pasid = 3, .token = 0x1a5, .page_request = true },
		{ .sid = SID, .pasid = IOPF_NO_PASID, .token = 1, .page_request = true,
			.code = IOPF_INVALID } };
	static const uint64_t want[][2] = {
		{ UINT64_C(0x0000000000000046), 0 },
		{ UINT64_C(0x0000000800003840), VA | 1 },
		{ UINT64_C(0x0000000900000040), VA | 1 },
		{ UINT64_C(0x0000000000000046), 0 },
		{ UINT64_C(0x0000000800003841), 0x21a5 },
		{ UINT64_C(0x0000000800000041), 0x1001 },
	};
	void *dev[2], *domain;
	const struct smmuv3_cmd *ring;
	uint64_t at;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	domain = add_domain(&p);
	dev[0] = add_dev(&p, SID, 4);
	dev[1] = add_dev(&p, SID + 1, 4);
	attach(&p, dev[0], 3, domain);
	attach(&p, dev[1], IOPF_NO_PASID, domain);
	at = p.s->cmdq.tail;
	ring = p.s->cmdq.ring;
	p.ops->answer_after(p.s, domain, &inv, 1, answers, 2);
	assert_int_equal(p.s->cmdq.tail, at + 1 + RTE_DIM(want));
	at &= (1u << p.s->cmdq.log2) - 1;
	assert_true((ring[at].dw[0] & 0xff) == SMMUV3_OP_TLBI_NH_VA ||
			(ring[at].dw[0] & 0xff) == SMMUV3_OP_TLBI_NH_ASID);
	for (unsigned int i = 0; i < RTE_DIM(want); i++) {
		assert_int_equal(ring[at + 1 + i].dw[0], want[i][0]);
		assert_int_equal(ring[at + 1 + i].dw[1], want[i][1]);
	}
	/* Nobody had asked. */
	pmd_step(&p);
	p.untidy = true;
	detach(&p, dev[0], 3);
	detach(&p, dev[1], IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev[0]);
	p.ops->dev_del(p.s, dev[1]);
	close_ats(&p);
}

/*
 * With IDR3.PPS the SMMU's, with "PRG Response PASID Required" the function's: a PRI_RESP
 * that is not as they want it is a driver error of the model's.
 */
static void
test_answers_have_a_pasid_where_it_is_wanted(void **state)
{
	static const struct {
		enum iopf_code code;
		enum smmuv3_model_status status;
	} codes[] = {
		{ IOPF_SUCCESS, SMMUV3_MODEL_OK },
		{ IOPF_INVALID, SMMUV3_MODEL_ABORTED },
		{ IOPF_RAZWI, SMMUV3_MODEL_ABORTED },
		{ IOPF_FAILURE, SMMUV3_MODEL_ABORTED },
	};
	struct iopf_event event;
	void *dev, *domain;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 8; k++) {
		struct smmuv3_model_conf conf = with_pri;
		bool pps = k & 1, prg_pasid = k & 2;
		uint32_t sid = SID, pasid = k & 4 ? 2 : IOPF_NO_PASID;
		struct smmuv3_model_dma *dma;

		conf.features |= pps ? SMMUV3_MODEL_PPS : 0;
		up(&p, &conf);
		assert_int_equal(p.info.pri_pasid, pps);
		dev = add_dev_sids(&p, &sid, 1, 4, prg_pasid);
		domain = add_domain(&p);
		attach(&p, dev, pasid, domain);
		dma = engine(&p, SID, pasid, prg_pasid);
		pri_enable(dma);
		for (unsigned int i = 0; i < RTE_DIM(codes); i++) {
			uint64_t va = VA + i * PAGE;
			struct iopf_answer answer = { .sid = SID, .code = codes[i].code,
				.page_request = true };
			uint8_t byte = 1;

			p.dma = dma;
			pmd_write(&p, va, &byte, 1);
			next_request(&p, &event);
			assert_int_equal(event.addr, va);
			assert_int_equal(event.pasid, pasid);
			if (codes[i].code == IOPF_SUCCESS)
				map(&p, va);
			answer.token = event.token;
			/* As the library does. */
			answer.pasid = pps || prg_pasid ? event.pasid : IOPF_NO_PASID;
			p.ops->answer(p.s, &answer, 1);
			assert_int_equal(pmd_done(&p), codes[i].status);
		}
		assert_true(smmuv3_model_dma_pri_failed(dma));
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_PRI_RESPS), 4);
		pri_disable(&p, dma);
		detach(&p, dev, pasid);
		smmuv3_model_dma_destroy(dma);
		p.ops->domain_del(p.s, domain);
		p.ops->dev_del(p.s, dev);
		close_ats(&p);
	}
}

/* Stalls were lost: SMMUEN is 0 for a while, and ATC_INVs are ignored meanwhile. */
static void
test_a_recovery_empties_all_atcs(void **state)
{
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	const uint32_t sid = SID + 1;
	const struct iopf_dev_conf stalls = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct smmuv3_model_dma *dma, *plain;
	void *dev, *domain, *staller;
	struct iopf_event event;
	unsigned int told = 0;
	uint8_t byte = 1;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 4);
	domain = add_domain(&p);
	map(&p, VA);
	attach(&p, dev, 1, domain);
	assert_int_equal(p.ops->dev_add(p.s, &stalls, &staller), 0);
	attach(&p, staller, IOPF_NO_PASID, domain);
	dma = engine(&p, SID, 1, false);
	plain = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	assert_true(reaches(&p, dma, VA));
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	p.dma = plain;
	pmd_write(&p, VA + 64 * PAGE, &byte, 1);
	for (unsigned int i = 0; i < 1000 && told == 0; i++) {
		smmuv3_model_step(p.m, 64);
		told = p.ops->check(p.s);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	/* Here it is off. */
	assert_int_equal(p.s->reset, SMMUV3_RESET_STOPPED);
	unmap(&p, VA);
	p.ops->answer_after(p.s, domain, &inv, 1, NULL, 0);
	pmd_step(&p);
	settle(&p);
	assert_int_equal(p.s->reset, SMMUV3_RESET_NONE);
	assert_false(reaches(&p, dma, VA));
	p.dma = plain;
	assert_int_equal(pmd_done(&p), SMMUV3_MODEL_ABORTED);
	while (p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1) > 0)
		;
	while (p.ops->poll(p.s, IOPF_QUEUE_REQUESTS, &event, 1) > 0)
		assert_int_equal(event.flags, IOPF_EVENT_LOST);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(plain);
	detach(&p, dev, 1);
	detach(&p, staller, IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	p.ops->dev_del(p.s, staller);
	close_ats(&p);
}

struct waiter {
	struct pmd *p;
	void *domain;
	_Atomic bool done;
	int ret;
};

static void *
wait_for_invalidation(void *arg)
{
	struct waiter *w = arg;
	unsigned int done;

	w->ret = invalidate(w->p, w->domain, VA, &done);
	atomic_store(&w->done, true);
	return NULL;
}

/* ... so an invalidation waits for its end. */
static void
test_an_invalidation_during_a_recovery_is_not_ignored(void **state)
{
	const uint32_t sid = SID + 1;
	const struct iopf_dev_conf stalls = { .sids = &sid, .nb_sids = 1, .recover = IOPF_STALL };
	struct smmuv3_model_dma *dma, *plain;
	void *dev, *domain, *staller;
	struct iopf_event event;
	struct waiter w;
	pthread_t thread;
	uint8_t byte = 1;
	struct pmd p;

	(void)state;
	up(&p, NULL);
	dev = add_dev(&p, SID, 4);
	domain = add_domain(&p);
	map(&p, VA);
	attach(&p, dev, 1, domain);
	assert_int_equal(p.ops->dev_add(p.s, &stalls, &staller), 0);
	attach(&p, staller, IOPF_NO_PASID, domain);
	dma = engine(&p, SID, 1, false);
	plain = smmuv3_model_dma_create(p.m, &(struct smmuv3_model_dma_conf){ .sid = sid });
	run_model(&p);
	assert_int_equal(smmuv3_model_dma_write(dma, VA, &byte, 1), 0);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	p.dma = plain;
	pmd_write(&p, VA + 64 * PAGE, &byte, 1);
	while (p.ops->check(p.s) != IOPF_CHECK_TERMINATED)
		sched_yield();
	unmap(&p, VA);
	w = (struct waiter){ .p = &p, .domain = domain };
	assert_int_equal(pthread_create(&thread, NULL, wait_for_invalidation, &w), 0);
	for (unsigned int i = 0; i < 1000; i++)
		sched_yield();
	assert_false(atomic_load(&w.done));
	while (!atomic_load(&w.done)) {
		p.ops->check(p.s);
		sched_yield();
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(w.ret, 0);
	assert_int_equal(smmuv3_model_dma_write(dma, VA, &byte, 1), -EFAULT);
	while (smmuv3_model_dma_poll(plain, &(struct smmuv3_model_done){ .cookie = 0 }, 1) == 0)
		sched_yield();
	while (p.ops->poll(p.s, IOPF_QUEUE_EVENTS, &event, 1) > 0)
		;
	assert_int_equal(smmuv3_model_stop(p.m), 0);
	smmuv3_model_dma_destroy(dma);
	smmuv3_model_dma_destroy(plain);
	detach(&p, dev, 1);
	detach(&p, staller, IOPF_NO_PASID);
	p.ops->domain_del(p.s, domain);
	p.ops->dev_del(p.s, dev);
	p.ops->dev_del(p.s, staller);
	close_ats(&p);
}

struct churn {
	struct pmd p;
	void *domain;
	uint8_t *page;
	_Atomic bool stop;
	bool deaths;			/* an ATC may not answer: invalidate() says so */
	uint64_t kept, broken, errors;	/* promises */
	struct smmuv3_model_dma *dma[2];
};

/* Contract 11: once it has returned 0, nobody writes the page. The oracle looks as well. */
static void *
invalidate_again_and_again(void *arg)
{
	struct churn *c = arg;
	uint64_t *pte = pmd_pte(&c->p, VA), value = *pte;
	const struct iopf_inv inv = { .addr = VA, .size = PAGE };
	unsigned int done, i;
	int ret;

	while (!atomic_load(&c->stop)) {
		__atomic_store_n(pte, value, __ATOMIC_RELEASE);
		for (i = 0; i < 4; i++)
			sched_yield();
		__atomic_store_n(pte, 0, __ATOMIC_RELEASE);
		if (c->kept & 1)
			c->p.ops->answer_after(c->p.s, c->domain, &inv, 1, NULL, 0);
		ret = invalidate(&c->p, c->domain, VA, &done);
		if (ret == -EIO && c->deaths) {
			c->errors++;
			continue;
		}
		if (ret != 0) {
			c->broken++;
			return NULL;
		}
		__atomic_store_n(c->page, 0, __ATOMIC_RELAXED);
		for (i = 0; i < 4; i++)
			sched_yield();
		if (__atomic_load_n(c->page, __ATOMIC_RELAXED) == 0)
			c->kept++;
		else
			c->broken++;
	}
	return NULL;
}

static void *
touch_again_and_again(void *arg)
{
	struct churn *c = arg;
	uint8_t byte = 3;

	while (!atomic_load(&c->stop)) {
		smmuv3_model_dma_write(c->dma[0], VA, &byte, 1);
		smmuv3_model_dma_write(c->dma[1], VA, &byte, 1);
		sched_yield();
	}
	return NULL;
}

static void
churn(bool deaths)
{
	static struct churn c;
	pthread_t inv, traffic;
	void *dev, *other, *stays;
	struct pmd *p = &c.p;
	unsigned int i, k;

	memset(&c, 0, sizeof(c));
	c.deaths = deaths;
	up(p, NULL);
	c.domain = add_domain(p);
	c.page = map(p, VA);
	stays = add_dev(p, SID, 8);
	dev = add_dev(p, SID + 1, 8);
	other = add_dev(p, SID + 2, 8);
	attach(p, stays, 7, c.domain);
	c.dma[0] = engine(p, SID + 1, 2, false);
	c.dma[1] = engine(p, SID + 2, IOPF_NO_PASID, false);
	run_model(p);
	assert_int_equal(pthread_create(&inv, NULL, invalidate_again_and_again, &c), 0);
	assert_int_equal(pthread_create(&traffic, NULL, touch_again_and_again, &c), 0);
	for (i = 0; i < 150; i++) {
		attach(p, dev, 2, c.domain);
		attach(p, other, IOPF_NO_PASID, c.domain);
		attach(p, dev, 1, c.domain);
		if (deaths && i % 3 != 0)
			smmuv3_model_dma_quirks(c.dma[1], SMMUV3_MODEL_QUIRK_DEAD_ATC, 0);
		for (k = 0; k < i % 8; k++) {
			p->ops->check(p->s);
			sched_yield();
		}
		detach(p, dev, i & 1 ? 2 : 1);
		detach(p, other, IOPF_NO_PASID);
		if (deaths) {
			smmuv3_model_dma_quirks(c.dma[1], 0, 0);
			smmuv3_model_dma_reset(c.dma[1]);
			smmuv3_model_dma_ats_enable(c.dma[1], 0);
		}
		detach(p, dev, i & 1 ? 1 : 2);
	}
	atomic_store(&c.stop, true);
	assert_int_equal(pthread_join(inv, NULL), 0);
	assert_int_equal(pthread_join(traffic, NULL), 0);
	print_message("  %u invalidations, %u errors, %u cut off\n", (unsigned int)c.kept,
			(unsigned int)c.errors, (unsigned int)pmd_stat(p, "atc_cuts"));
	assert_int_equal(c.broken, 0);
	assert_true(c.kept > 0);
	assert_int_equal(pmd_stat(p, "atc_cuts") > 0, deaths);
	assert_int_equal(smmuv3_model_stop(p->m), 0);
	for (i = 0; i < 2; i++)
		smmuv3_model_dma_destroy(c.dma[i]);
	detach(p, stays, 7);
	p->ops->domain_del(p->s, c.domain);
	p->ops->dev_del(p->s, stays);
	p->ops->dev_del(p->s, dev);
	p->ops->dev_del(p->s, other);
	close_ats(p);
}

static void
test_devices_come_and_go_under_invalidations(void **state)
{
	(void)state;
	churn(false);
}

static void
test_atcs_die_and_come_back_under_invalidations(void **state)
{
	(void)state;
	churn(true);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_pri_device_needs_page_requests_and_no_forced_stalls),
	cmocka_unit_test(test_ats_is_allowed_while_something_is_attached),
	cmocka_unit_test(test_attach_and_detach_issue_their_commands_in_order),
	cmocka_unit_test(test_an_unmapped_page_is_out_of_reach_of_its_atc),
	cmocka_unit_test(test_spans_cover_their_ranges),
	cmocka_unit_test(test_many_ranges_take_one_batch),
	cmocka_unit_test(test_all_atcs_of_a_domain_forget_and_no_others),
	cmocka_unit_test(test_a_detached_device_reaches_nothing),
	cmocka_unit_test(test_translated_traffic_is_checked),
	cmocka_unit_test(test_what_was_invalidated_while_off_is_gone_after_the_start),
	cmocka_unit_test(test_a_domain_has_at_most_32_atcs),
	cmocka_unit_test(test_an_atc_that_does_not_answer_is_cut_off),
	cmocka_unit_test(test_the_dead_atc_among_several_is_found),
	cmocka_unit_test(test_a_pasid_of_a_dead_atc_can_be_detached),
	cmocka_unit_test(test_a_dead_atc_does_not_hold_up_answers_for_good),
	cmocka_unit_test(test_an_answer_behind_an_invalidation_comes_behind_the_atc),
	cmocka_unit_test(test_the_batch_of_an_answer_behind_an_invalidation),
	cmocka_unit_test(test_answers_have_a_pasid_where_it_is_wanted),
	cmocka_unit_test(test_a_recovery_empties_all_atcs),
	cmocka_unit_test(test_an_invalidation_during_a_recovery_is_not_ignored),
	cmocka_unit_test(test_devices_come_and_go_under_invalidations),
	cmocka_unit_test(test_atcs_die_and_come_back_under_invalidations),
};

TEST_SUITE(pmd_ats, tests, NULL, NULL);
