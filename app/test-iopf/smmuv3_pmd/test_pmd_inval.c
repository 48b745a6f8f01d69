/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Invalidations: their commands, the ranges that these cover, and the reported errors. */

#include <errno.h>

#include "ecmdq.h"
#include "iopf_handler.h"
#include "pmd_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

static uint64_t seed = 1;

static uint64_t
rnd(void)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return seed >> 16;
}

/* One command covers [from, to), by the meaning of its bits [4.4.1]. */
static void
decode_tlbi(const struct smmuv3_cmd *cmd, bool ril, unsigned int g, uint64_t *from, uint64_t *to)
{
	unsigned int num = cmd->dw[0] >> 12 & 31, scale = cmd->dw[0] >> 20 & 31;
	unsigned int ttl = cmd->dw[1] >> 8 & 3, tg = cmd->dw[1] >> 10 & 3;
	unsigned int tg_log2 = 10 + 2 * tg;
	uint64_t va = cmd->dw[1] & ~UINT64_C(0xfff);

	assert_int_equal(cmd->dw[0] & 0xff, SMMUV3_OP_TLBI_NH_VA);
	/* RES0 */
	assert_int_equal(cmd->dw[0] << 16 >> 16 & ~(uint64_t)(0xff | 31 << 12 | 31 << 20), 0);
	assert_int_equal(cmd->dw[1] & (0xfff & ~(1 | 3 << 8 | 3 << 10)), 0);
	*from = va;
	if (tg == 0 || !ril) {
		assert_int_equal(num | scale | ttl | tg, 0);
		/* One address covers the whole page. */
		*from = va >> g << g;
		*to = *from + (UINT64_C(1) << g);
		return;
	}
	assert_int_equal(tg_log2, g);
	assert_true(num + scale + ttl > 0);
	assert_int_equal(va & ((UINT64_C(1) << g) - 1), 0);
	if (ttl != 0) {
		unsigned int block = g + (3 - ttl) * (g - 3);

		assert_false(g == 14 && ttl == 1);
		/* Leaf entries of one level only, which must be covered completely. */
		assert_int_equal(cmd->dw[1] & 1, 1);
		assert_int_equal(va & ((UINT64_C(1) << block) - 1), 0);
		assert_int_equal((((uint64_t)num + 1) << (scale + g)) &
				((UINT64_C(1) << block) - 1), 0);
	}
	*to = va + (((uint64_t)num + 1) << (scale + g));
}

static void
test_ranges_are_covered_by_legal_commands(void **state)
{
	static const unsigned int granules[] = { 12, 14, 16 };
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct smmuv3_domain domain = { .asid = 0x1234 };
	unsigned int n, i, round, whole = 0;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 6; k++) {
		bool ril = k < 3;

		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = ril ? 0 : SMMUV3_MODEL_NO_RIL });
		domain.tr = (struct iopf_translation){ .format = IOPF_FORMAT_ARM64_S1,
			.granule_log2 = granules[k % 3], .va_bits = 48 };
		for (round = 0; round < 20000; round++) {
			unsigned int g = domain.tr.granule_log2, up = rnd() % 4;
			unsigned int max = 1 + rnd() % 64;
			struct iopf_inv inv = {
				.addr = rnd() & UINT64_C(0xfffffffff000),
				.size = ((rnd() >> rnd() % 40) & UINT64_C(0xfffffffff000)) + 4096,
				.leaf_only = rnd() & 1,
				.leaf_log2 = up == 3 ? rnd() % 64 : g + up * (g - 3),
			};
			uint64_t at, from, to;

			if (up < 3 && rnd() & 1) {
				/* Like a caller: whole entries. */
				inv.addr &= ~((UINT64_C(1) << inv.leaf_log2) - 1);
				inv.size = (1 + rnd() % 600) << inv.leaf_log2;
			}
			if (up == 3 && !ril)
				inv.leaf_log2 = 0;
			n = smmuv3_tlbi_make_cmds(p.s, &domain, &inv, cmds, max);
			assert_in_range(n, 0, max);
			if (n == 0) {
				whole++;
				/* A range of this size is possible. */
				assert_true(max < 12 || !ril || inv.size >> g >> 31 != 0);
				continue;
			}
			at = inv.addr;
			for (i = 0; i < n; i++) {
				assert_int_equal(cmds[i].dw[0] >> 48, 0x1234);
				assert_int_equal(cmds[i].dw[1] & 1, inv.leaf_only);
				decode_tlbi(&cmds[i], ril, g, &from, &to);
				if (!ril && inv.leaf_only && inv.leaf_log2 > g) {
					/* Any address of a block is enough. */
					from = from >> inv.leaf_log2 << inv.leaf_log2;
					to = from + (UINT64_C(1) << inv.leaf_log2);
				}
				assert_true(from <= at && at < to);
				at = to;
			}
			assert_true(at >= inv.addr + inv.size);
		}
		n = smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){ .all = true }, cmds, 1);
		assert_int_equal(n, 1);
		assert_int_equal(cmds[0].dw[0], SMMUV3_OP_TLBI_NH_ASID | UINT64_C(0x1234) << 48);
		assert_int_equal(cmds[0].dw[1], 0);
		pmd_close(&p);
	}
	assert_true(whole > 0);
}

/* One page and 1 MiB, as hexadecimal commands. */
static void
test_commands_match_the_architecture(void **state)
{
	struct smmuv3_domain domain = { .asid = 7, .tr = { .format = IOPF_FORMAT_ARM64_S1,
		.granule_log2 = 12, .va_bits = 48 } };
	struct smmuv3_cmd cmds[4];
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	/* Table entries too: no TTL, and a range command of one page would be illegal. */
	assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
		.addr = 0x5000, .size = 0x1000 }, cmds, 4), 1);
	assert_int_equal(cmds[0].dw[0], 0x12 | UINT64_C(7) << 48);
	assert_int_equal(cmds[0].dw[1], 0x5000);
	/* A leaf: TG 1, TTL 3, Leaf. */
	assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
		.addr = 0x5000, .size = 0x1000, .leaf_only = true, .leaf_log2 = 12 }, cmds, 4), 1);
	assert_int_equal(cmds[0].dw[0], 0x12 | UINT64_C(7) << 48);
	assert_int_equal(cmds[0].dw[1], 0x5000 | 1 << 10 | 3 << 8 | 1);
	/* 1 MiB: 256 pages, SCALE 8, NUM 0. */
	assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
		.addr = 0x100000, .size = 0x100000, .leaf_only = true,
		.leaf_log2 = 12 }, cmds, 4), 1);
	assert_int_equal(cmds[0].dw[0], 0x12 | 8 << 20 | UINT64_C(7) << 48);
	/* 33 pages: one, then 1 << 5. */
	assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
		.addr = 0x10000, .size = 33 << 12, .leaf_only = true,
		.leaf_log2 = 12 }, cmds, 4), 2);
	assert_int_equal(cmds[0].dw[0], 0x12 | UINT64_C(7) << 48);
	assert_int_equal(cmds[1].dw[0], 0x12 | 5 << 20 | UINT64_C(7) << 48);
	assert_int_equal(cmds[1].dw[1] & ~UINT64_C(0xfff), 0x11000);
	/* A 2 MiB block: TTL 2, the whole block though the range is a part of it. */
	assert_int_equal(smmuv3_tlbi_make_cmds(p.s, &domain, &(struct iopf_inv){
		.addr = 0x201000, .size = 0x1000, .leaf_only = true,
		.leaf_log2 = 21 }, cmds, 4), 1);
	assert_int_equal(cmds[0].dw[0], 0x12 | 9 << 20 | UINT64_C(7) << 48);
	assert_int_equal(cmds[0].dw[1], 0x200000 | 1 << 10 | 2 << 8 | 1);
	pmd_close(&p);
}

/* The model's TLB evicts nothing: only invalidated translations change. */
static void
test_an_invalidated_page_cannot_be_reached(void **state)
{
	static const uint32_t without[] = { 0, SMMUV3_MODEL_NO_RIL, SMMUV3_MODEL_NO_MSI,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_16K,
		SMMUV3_MODEL_NO_4K | SMMUV3_MODEL_NO_64K };
	struct iopf_inv inv[100];
	uint8_t byte = 1, *pages[100];
	struct pmd p;
	struct iopf_inv_result result;
	unsigned int i, k;

	(void)state;
	for (k = 0; k < RTE_DIM(without); k++) {
		uint64_t size;

		pmd_open(&p, &(struct smmuv3_model_conf){ .no_features = without[k],
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_start(&p, IOPF_TERMINATE);
		size = UINT64_C(1) << p.granule_log2;
		for (unsigned int round = 0; round < 4; round++) {
			unsigned int nb = 20;

			for (i = 0; i < nb; i++) {
				if (round == 0)
					pages[i] = pmd_alloc(&p, size, size);
				pages[i][0] = 0;
				pmd_map(&p, PMD_VA + i * size, pages[i]);
				pmd_write(&p, PMD_VA + i * size, &byte, 1);
				assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
				assert_int_equal(pages[i][0], 1);
				inv[i] = (struct iopf_inv){ .addr = PMD_VA + i * size,
					.size = size, .leaf_only = round & 1,
					.leaf_log2 = round & 2 ? p.granule_log2 : 0 };
			}
			for (i = 0; i < nb; i++)
				*pmd_get_pte(&p, PMD_VA + i * size) = 0;
			if (round == 0) {
				/* The access still succeeds: the TLB has the entry. */
				pmd_write(&p, PMD_VA, &byte, 1);
				assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
			}
			if (round == 3) {
				inv[0] = (struct iopf_inv){ .all = true };
				nb = 1;
			}
			assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, nb, &result), 0);
			for (i = 0; i < 20; i++) {
				struct iopf_event event;

				pmd_write(&p, PMD_VA + i * size, &byte, 1);
				assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
				pmd_wait_event(&p, &event);
				assert_int_equal(event.addr, PMD_VA + i * size);
			}
		}
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_the_covered_prefix_is_exact(void **state)
{
	struct iopf_inv inv[300];
	struct smmuv3_cmd cmds[SMMUV3_CHUNK];
	struct iopf_inv_result result;
	unsigned int i, chunk;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	/* Two commands each: 32 ranges to a SYNC. */
	for (i = 0; i < RTE_DIM(inv); i++)
		inv[i] = (struct iopf_inv){ .addr = PMD_VA, .size = 33 << 12 };
	chunk = SMMUV3_CHUNK / smmuv3_tlbi_make_cmds(p.s, p.domain, &inv[0], cmds, SMMUV3_CHUNK);
	assert_int_equal(chunk, 32);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, RTE_DIM(inv), &result), 0);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, 0, &result), 0);

	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 1000);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, RTE_DIM(inv), &result), -EIO);
	assert_int_equal(result.done, 0);
	assert_int_equal(result.error, IOPF_INV_ABT);
	smmuv3_model_knob(p.m, SMMUV3_MODEL_KNOB_CMD_ABORT, 0);

	/* SMMUEN is 0: there is nothing to invalidate. */
	assert_int_equal(p.ops->stop(p.s), 0);
	assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, RTE_DIM(inv), &result), 0);
	assert_int_equal(p.ops->start(p.s), 0);
	pmd_finish(&p, IOPF_NO_PASID);
}

/* The driver uses range commands, whose bits are reserved in this SMMU. */
static void
test_the_first_range_that_was_refused_is_named(void **state)
{
	struct iopf_inv inv[300];
	struct iopf_inv_result result;
	unsigned int i, bad;
	struct pmd p;

	(void)state;
	pmd_open(&p, &(struct smmuv3_model_conf){
		.no_features = SMMUV3_MODEL_NO_RIL, .cmdq_log2 = 5 });
	pmd_start(&p, IOPF_STALL);
	p.s->idr3 |= SMMUV3_IDR3_RIL;
	for (bad = 0; bad < RTE_DIM(inv); bad += 23) {
		for (i = 0; i < RTE_DIM(inv); i++)
			inv[i] = (struct iopf_inv){ .addr = PMD_VA + i * 4096,
				.size = i == bad || i == bad + 70 ? 33 << 12 : 4096 };
		assert_int_equal(p.ops->invalidate(p.s, p.domain, inv, RTE_DIM(inv), &result), -EIO);
		assert_int_equal(result.done, bad);
		assert_int_equal(result.failed, bad);
		assert_int_equal(result.error, IOPF_INV_ILL);
	}
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

/* A permission upgrade: the retry must find the new entry and not the old TLB entry. */
static void
test_an_answer_behind_an_invalidation_sees_its_effect(void **state)
{
	struct iopf_answer answers[64];
	struct iopf_inv inv[64];
	struct iopf_event event;
	uint8_t byte = 7, *page;
	struct pmd p;
	unsigned int k, i;

	(void)state;
	for (k = 0; k < 8; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_RIL : 0,
			.cmdq_log2 = k & 2 ? 1 : 8,
			.choices = SMMUV3_MODEL_STICKY_TLB });
		pmd_start(&p, IOPF_STALL);
		for (i = 0; i < 64; i++) {
			uint64_t va = PMD_VA + i * 4096;

			page = pmd_alloc(&p, 4096, 4096);
			/* Read-only, and in the TLB. */
			pmd_map(&p, va, page);
			*pmd_get_pte(&p, va) |= 1 << 7;
			assert_int_equal(smmuv3_model_dma_submit(p.dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .addr = va, .buf = &byte,
				.len = 1 }), 0);
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		}
		byte = 7;
		for (i = 0; i < 64; i++) {
			uint64_t va = PMD_VA + i * 4096;

			pmd_write(&p, va, &byte, 1);
			pmd_wait_event(&p, &event);
			assert_int_equal(event.reason, IOPF_REASON_PERMISSION);
			*pmd_get_pte(&p, event.addr) &= ~(UINT64_C(1) << 7);
			answers[i] = (struct iopf_answer){ .sid = event.sid, .token = event.token,
				.code = IOPF_SUCCESS };
			inv[i] = (struct iopf_inv){ .addr = event.addr,
				.size = k & 4 ? 33 << 12 : 4096, .leaf_only = true };
		}
		p.ops->answer_after(p.s, p.domain, inv, 64, answers, 64);
		for (i = 0; i < 200; i++) {
			smmuv3_model_step(p.m, 64);
			assert_int_equal(p.ops->poll(p.s, 0, &event, 1), 0);
		}
		for (i = 0; i < 64; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_OK);
		assert_int_equal(smmuv3_model_stat(p.m, SMMUV3_MODEL_STAT_RESUMES), 64);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

/* The commands in the queue: invalidations, CMD_SYNC, answers. */
static void
test_invalidations_synchronisation_answers_are_one_batch(void **state)
{
	const struct iopf_inv inv[2] = {
		{ .addr = PMD_VA, .size = 4096 }, { .addr = PMD_VA + 8192, .size = 4096 } };
	const struct iopf_inv odd = { .addr = PMD_VA, .size = 33 << 12 };
	struct iopf_answer answers[3] = { { .sid = PMD_SID, .token = 1 },
		{ .sid = PMD_SID, .token = 2, .code = IOPF_INVALID },
		{ .sid = PMD_SID, .token = 3, .code = IOPF_RAZWI } };
	const struct smmuv3_cmd *ring;
	const struct smmuv3_cmdq *q;
	uint64_t at, batches;
	struct pmd p;

	(void)state;
	pmd_open(&p, NULL);
	pmd_start(&p, IOPF_STALL);
	q = smmuv3_thread_cmdq(p.s);
	ring = q->ring;
	at = q->tail & ((1u << q->log2) - 1);
	batches = pmd_read_stat(&p, "batches");
	p.ops->answer_after(p.s, p.domain, inv, 2, answers, 3);
	assert_int_equal(ring[at].dw[0] & 0xff, SMMUV3_OP_TLBI_NH_VA);
	assert_int_equal(ring[at].dw[1], PMD_VA);
	assert_int_equal(ring[at + 1].dw[0] & 0xff, SMMUV3_OP_TLBI_NH_VA);
	assert_int_equal(ring[at + 2].dw[0], SMMUV3_OP_SYNC);
	/* Retry: Ac; abort: Ab; RAZ/WI: neither. */
	assert_int_equal(ring[at + 3].dw[0], 0x44 | 1 << 12 | (uint64_t)PMD_SID << 32);
	assert_int_equal(ring[at + 3].dw[1], 1);
	assert_int_equal(ring[at + 4].dw[0], 0x44 | 1 << 13 | (uint64_t)PMD_SID << 32);
	assert_int_equal(ring[at + 5].dw[0], 0x44 | (uint64_t)PMD_SID << 32);
	assert_int_equal(q->tail & ((1u << q->log2) - 1), at + 6);
	/* If single commands do not fit, one command invalidates all. */
	p.ops->answer_after(p.s, p.domain, &odd, 1, answers, 1);
	assert_int_equal(ring[at + 6].dw[0] & 0xff, SMMUV3_OP_TLBI_NH_ASID);
	assert_int_equal(ring[at + 7].dw[0], SMMUV3_OP_SYNC);
	assert_int_equal(q->tail & ((1u << q->log2) - 1), at + 9);
	assert_int_equal(pmd_read_stat(&p, "batches"), batches + 2);
	/* No transaction was stalled: the answers name no stall. */
	pmd_step(&p);
	p.untidy = true;
	pmd_finish(&p, IOPF_NO_PASID);
}

#define MAX_CONSUMED	64

/* The commands that the model consumes while a caller waits, in order. */
static struct {
	struct smmuv3 *s;
	struct smmuv3_model *m;
	unsigned int nb;
	unsigned int op[MAX_CONSUMED];
} consumed;

/* A step of the model consumes at most one command. */
static void
wait_and_record(void *ctx)
{
	struct smmuv3_cmdq *q = smmuv3_thread_cmdq(consumed.s);
	uint64_t cons = smmuv3_cmdq_load_cons(q);
	/* No thread may write to the slot before CONS has passed it. */
	uint64_t cmd = q->ring[smmuv3_q_slot(q->log2, cons)].dw[0];

	(void)ctx;
	smmuv3_model_step(consumed.m, 1);
	if (smmuv3_cmdq_load_cons(q) == cons)
		return;
	assert_int_equal(smmuv3_cmdq_load_cons(q), cons + 1);
	assert_true(consumed.nb < MAX_CONSUMED);
	consumed.op[consumed.nb++] = SMMUV3_GET(SMMUV3_CMD0_OP, cmd);
}

/*
 * The answers found no room when they were given. A stall that is retried behind the invalidation
 * could find a page that the caller is about to free.
 */
static void
test_answers_given_before_an_invalidation_go_in_front_of_it(void **state)
{
	enum { ANSWERS = 5 };
	const struct smmuv3_cmd filler = smmuv3_cmd_cfgi_all();
	const struct iopf_inv inv = { .addr = PMD_VA, .size = 4096, .leaf_log2 = 12 };
	struct iopf_answer answers[ANSWERS];
	const struct smmuv3_backend *before;
	struct smmuv3_backend backend;
	struct iopf_event event;
	uint8_t buf[ANSWERS] = { 0 };
	struct pmd p;

	(void)state;
	for (unsigned int log2 = 1; log2 <= 4; log2++) {
		unsigned int resumes = 0, invs = 0;
		struct iopf_inv_result result;

		pmd_open(&p, &(struct smmuv3_model_conf){ .cmdq_log2 = log2 });
		pmd_start(&p, IOPF_STALL);
		for (unsigned int i = 0; i < ANSWERS; i++) {
			pmd_write(&p, PMD_VA + ((uint64_t)i << 12), &buf[i], 1);
			pmd_wait_event(&p, &event);
			answers[i] = (struct iopf_answer){ .sid = event.sid, .pasid = event.pasid,
				.token = event.token, .code = IOPF_INVALID };
		}
		for (unsigned int i = 0; i < 1u << log2; i++)
			smmuv3_cmdq_post(smmuv3_thread_cmdq(p.s), &filler, 1);
		p.ops->answer(p.s, answers, ANSWERS);
		assert_int_equal(pmd_read_stat(&p, "backlog_pushes"), ANSWERS);
		consumed.s = p.s;
		consumed.m = p.m;
		consumed.nb = 0;
		before = p.s->backend;
		backend = *before;
		backend.wait = wait_and_record;
		p.s->backend = &backend;
		assert_int_equal(p.ops->invalidate(p.s, p.domain, &inv, 1, &result), 0);
		p.s->backend = before;
		for (unsigned int i = 0; i < consumed.nb; i++) {
			resumes += consumed.op[i] == SMMUV3_OP_RESUME;
			if (consumed.op[i] != SMMUV3_OP_TLBI_NH_VA)
				continue;
			invs++;
			assert_int_equal(resumes, ANSWERS);
		}
		assert_int_equal(invs, 1);
		for (unsigned int i = 0; i < ANSWERS; i++)
			assert_int_equal(pmd_wait_done(&p), SMMUV3_MODEL_ABORTED);
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static void
test_every_code_has_its_effect(void **state)
{
	static const struct {
		enum iopf_code code;
		enum smmuv3_model_status status[2];	/* TERM_MODEL 0 and 1 */
	} codes[] = {
		{ IOPF_INVALID, { SMMUV3_MODEL_ABORTED, SMMUV3_MODEL_ABORTED } },
		{ IOPF_FAILURE, { SMMUV3_MODEL_ABORTED, SMMUV3_MODEL_ABORTED } },
		{ IOPF_RAZWI, { SMMUV3_MODEL_RAZWI, SMMUV3_MODEL_ABORTED } },
		{ IOPF_SUCCESS, { SMMUV3_MODEL_OK, SMMUV3_MODEL_OK } },
	};
	struct iopf_event event;
	uint8_t byte = 7;
	struct pmd p;

	(void)state;
	for (unsigned int k = 0; k < 2; k++) {
		pmd_open(&p, &(struct smmuv3_model_conf){
			.no_features = k == 1 ? SMMUV3_MODEL_TERM_ABORT_ONLY : 0 });
		pmd_start(&p, IOPF_STALL);
		assert_int_equal(p.info.razwi, k == 0);
		for (unsigned int i = 0; i < RTE_DIM(codes); i++) {
			pmd_write(&p, PMD_VA, &byte, 1);
			pmd_wait_event(&p, &event);
			if (codes[i].code == IOPF_SUCCESS)
				pmd_map(&p, PMD_VA, pmd_alloc(&p, 4096, 4096));
			pmd_answer(&p, &event, codes[i].code);
			assert_int_equal(pmd_wait_done(&p), codes[i].status[k]);
		}
		pmd_finish(&p, IOPF_NO_PASID);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_ranges_are_covered_by_legal_commands),
	cmocka_unit_test(test_commands_match_the_architecture),
	cmocka_unit_test(test_an_invalidated_page_cannot_be_reached),
	cmocka_unit_test(test_the_covered_prefix_is_exact),
	cmocka_unit_test(test_the_first_range_that_was_refused_is_named),
	cmocka_unit_test(test_an_answer_behind_an_invalidation_sees_its_effect),
	cmocka_unit_test(test_invalidations_synchronisation_answers_are_one_batch),
	cmocka_unit_test(test_answers_given_before_an_invalidation_go_in_front_of_it),
	cmocka_unit_test(test_every_code_has_its_effect),
};

TEST_SUITE(pmd_inval, tests, NULL, NULL);
