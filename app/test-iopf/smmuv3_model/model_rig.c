/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdlib.h>
#include <string.h>

#include "model_rig.h"
#include "smmuv3_model_test.h"
#include "test.h"

void
rig_open(struct rig *r, const struct smmuv3_model_conf *conf)
{
	memset(r, 0, sizeof(*r));
	r->m = smmuv3_model_create(conf);
	assert_non_null(r->m);
	r->regs = smmuv3_model_regs(r->m);
	r->arena = aligned_alloc(1 << 20, RIG_ARENA_LEN);
	r->data = aligned_alloc(1 << 20, RIG_DATA_LEN);
	assert_non_null(r->arena);
	assert_non_null(r->data);
	memset(r->data, 0, RIG_DATA_LEN);
	assert_int_equal(smmuv3_model_mem_add(r->m, RIG_ARENA, r->arena, RIG_ARENA_LEN), 0);
	assert_int_equal(smmuv3_model_mem_add(r->m, RIG_DATA, r->data, RIG_DATA_LEN), 0);
}

static void
logs_empty(const struct rig *r)
{
	for (unsigned int i = 0; i < smmuv3_model_driver_errors(r->m) && i < 64; i++)
		print_error("driver error: %s\n", smmuv3_model_driver_error(r->m, i));
	for (unsigned int i = 0; i < smmuv3_model_oracle_errors(r->m) && i < 64; i++)
		print_error("oracle error: %s\n", smmuv3_model_oracle_error(r->m, i));
	assert_int_equal(smmuv3_model_driver_errors(r->m), 0);
	assert_int_equal(smmuv3_model_oracle_errors(r->m), 0);
}

void
rig_close(struct rig *r)
{
	logs_empty(r);
	smmuv3_model_destroy(r->m);
	free(r->arena);
	free(r->data);
}

void *
rig_alloc(struct rig *r, size_t len, size_t align)
{
	size_t at = (r->used + align - 1) & ~(align - 1);

	assert_true(at + len <= RIG_ARENA_LEN);
	r->used = at + len;
	memset(r->arena + at, 0, len);
	return r->arena + at;
}

uint64_t
rig_get_addr(const struct rig *r, const void *ptr)
{
	return RIG_ARENA + (uint64_t)((const uint8_t *)ptr - r->arena);
}

void *
rig_get_ptr(const struct rig *r, uint64_t addr)
{
	assert_true(addr >= RIG_ARENA && addr < RIG_ARENA + RIG_ARENA_LEN);
	return r->arena + (addr - RIG_ARENA);
}

uint32_t
rig_read(const struct rig *r, uint32_t offset)
{
	return smmuv3_load_status(r->regs, offset);
}

void
rig_write(const struct rig *r, uint32_t offset, uint32_t v)
{
	smmuv3_store_prod(r->regs, offset, v);
}

void
rig_run(struct rig *r)
{
	for (unsigned int i = 0; smmuv3_model_step(r->m, 64) != 0; i++)
		assert_true(i < 100000);
}

void
rig_set_cr0(struct rig *r, uint32_t v)
{
	rig_write(r, SMMUV3_CR0, v);
	rig_run(r);
	assert_int_equal(rig_read(r, SMMUV3_CR0ACK), v);
}

void
rig_start(struct rig *r)
{
	if (r->cmdq_log2 == 0 && !r->queue_size_1)
		r->cmdq_log2 = 8;
	if (r->evtq_log2 == 0 && !r->queue_size_1)
		r->evtq_log2 = 7;
	if (r->strtab_log2 == 0)
		r->strtab_log2 = 10;
	r->cmdq = rig_alloc(r, sizeof(*r->cmdq) << r->cmdq_log2,
			r->cmdq_log2 == 0 ? 32 : sizeof(*r->cmdq) << r->cmdq_log2);
	r->evtq = rig_alloc(r, sizeof(*r->evtq) << r->evtq_log2,
			sizeof(*r->evtq) << r->evtq_log2);
	smmuv3_write32(r->regs, SMMUV3_CR1, 0xd75);
	smmuv3_write32(r->regs, SMMUV3_CR2, SMMUV3_CR2_RECINVSID | SMMUV3_CR2_PTM);
	if (r->split) {
		size_t len = UINT64_C(8) << (r->strtab_log2 - 8);

		r->l1strtab = rig_alloc(r, len, len < 64 ? 64 : len);
		smmuv3_write64(r->regs, SMMUV3_STRTAB_BASE, rig_get_addr(r, r->l1strtab));
		smmuv3_write32(r->regs, SMMUV3_STRTAB_BASE_CFG, r->strtab_log2 | 8 << 6 | 1 << 16);
	} else {
		size_t len = sizeof(struct smmuv3_ste) << r->strtab_log2;

		r->strtab = rig_alloc(r, len, len);
		smmuv3_write64(r->regs, SMMUV3_STRTAB_BASE, rig_get_addr(r, r->strtab));
		smmuv3_write32(r->regs, SMMUV3_STRTAB_BASE_CFG, r->strtab_log2);
	}
	smmuv3_write64(r->regs, SMMUV3_CMDQ_BASE, rig_get_addr(r, r->cmdq) | r->cmdq_log2);
	smmuv3_write32(r->regs, SMMUV3_CMDQ_PROD, r->cmd_prod);
	smmuv3_write32(r->regs, SMMUV3_CMDQ_CONS, r->cmd_prod);
	rig_set_cr0(r, SMMUV3_CR0_CMDQEN);
	rig_send(r, smmuv3_cmd_cfgi_all());
	rig_send(r, smmuv3_cmd_tlbi_nsnh_all());
	rig_sync(r);
	smmuv3_write64(r->regs, SMMUV3_EVENTQ_BASE, rig_get_addr(r, r->evtq) | r->evtq_log2);
	smmuv3_write32(r->regs, SMMUV3_EVENTQ_PROD, r->evt_cons);
	smmuv3_write32(r->regs, SMMUV3_EVENTQ_CONS, r->evt_cons);
	rig_set_cr0(r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN);
	rig_set_cr0(r, SMMUV3_CR0_CMDQEN | SMMUV3_CR0_EVENTQEN | SMMUV3_CR0_SMMUEN);
	logs_empty(r);
}

void
rig_put(struct rig *r, struct smmuv3_cmd cmd)
{
	uint32_t cons = smmuv3_load_status(r->regs, SMMUV3_CMDQ_CONS);

	assert_false(smmuv3_q_full(r->cmdq_log2, r->cmd_prod, cons));
	r->cmdq[smmuv3_q_slot(r->cmdq_log2, r->cmd_prod)] = cmd;
	r->cmd_prod = smmuv3_q_add(r->cmdq_log2, r->cmd_prod, 1);
}

void
rig_ring(struct rig *r)
{
	smmuv3_store_prod(r->regs, SMMUV3_CMDQ_PROD, r->cmd_prod);
}

void
rig_send(struct rig *r, struct smmuv3_cmd cmd)
{
	rig_put(r, cmd);
	rig_ring(r);
	rig_run(r);
	assert_int_equal(smmuv3_q_pos(r->cmdq_log2, rig_read(r, SMMUV3_CMDQ_CONS)), r->cmd_prod);
}

void
rig_sync(struct rig *r)
{
	rig_send(r, smmuv3_cmd_sync());
}

void
rig_flush(struct rig *r)
{
	rig_send(r, smmuv3_cmd_cfgi_all());
	rig_send(r, smmuv3_cmd_tlbi_nsnh_all());
	rig_sync(r);
}

bool
rig_peek_evt(struct rig *r, struct smmuv3_evt *evt)
{
	uint32_t prod = smmuv3_load_prod(r->regs, SMMUV3_EVENTQ_PROD);

	if (smmuv3_q_empty(r->evtq_log2, prod, r->evt_cons))
		return false;
	*evt = r->evtq[smmuv3_q_slot(r->evtq_log2, r->evt_cons)];
	return true;
}

bool
rig_take_evt(struct rig *r, struct smmuv3_evt *evt)
{
	uint32_t ack = smmuv3_read32(r->regs, SMMUV3_EVENTQ_CONS) & (uint32_t)SMMUV3_Q_OVFLG;

	if (!rig_peek_evt(r, evt))
		return false;
	r->evt_cons = smmuv3_q_add(r->evtq_log2, r->evt_cons, 1);
	smmuv3_store_cons(r->regs, SMMUV3_EVENTQ_CONS, r->evt_cons | ack);
	return true;
}

void
rig_enable_priq(struct rig *r)
{
	size_t len;

	if (r->priq_log2 == 0 && !r->queue_size_1)
		r->priq_log2 = 2;
	len = sizeof(*r->priq) << r->priq_log2;
	r->priq = rig_alloc(r, len, len < 32 ? 32 : len);
	smmuv3_write64(r->regs, SMMUV3_PRIQ_BASE, rig_get_addr(r, r->priq) | r->priq_log2);
	smmuv3_write32(r->regs, SMMUV3_PRIQ_PROD, r->pri_cons);
	smmuv3_write32(r->regs, SMMUV3_PRIQ_CONS, r->pri_cons);
	rig_set_cr0(r, rig_read(r, SMMUV3_CR0) | (uint32_t)SMMUV3_CR0_PRIQEN);
	logs_empty(r);
}

bool
rig_take_ppr(struct rig *r, struct smmuv3_ppr *ppr)
{
	uint32_t ack = smmuv3_read32(r->regs, SMMUV3_PRIQ_CONS) & (uint32_t)SMMUV3_Q_OVFLG;
	uint32_t prod = smmuv3_load_prod(r->regs, SMMUV3_PRIQ_PROD);

	if (smmuv3_q_empty(r->priq_log2, prod, r->pri_cons))
		return false;
	*ppr = r->priq[smmuv3_q_slot(r->priq_log2, r->pri_cons)];
	r->pri_cons = smmuv3_q_add(r->priq_log2, r->pri_cons, 1);
	smmuv3_store_cons(r->regs, SMMUV3_PRIQ_CONS, r->pri_cons | ack);
	return true;
}

bool
rig_has_overflow(struct rig *r)
{
	return (rig_read(r, SMMUV3_PRIQ_PROD) ^ rig_read(r, SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG;
}

void
rig_ack_overflow(struct rig *r)
{
	smmuv3_store_cons(r->regs, SMMUV3_PRIQ_CONS, r->pri_cons |
			(rig_read(r, SMMUV3_PRIQ_PROD) & (uint32_t)SMMUV3_Q_OVFLG));
}

void
rig_send_pri_resp(struct rig *r, const struct smmuv3_ppr *ppr, bool pasid, unsigned int code)
{
	uint64_t dw0 = SMMUV3_PUT(SMMUV3_CMD0_SID, SMMUV3_GET(SMMUV3_PPR0_SID, ppr->dw[0]));

	if (pasid)
		dw0 |= SMMUV3_CMD0_SSV | SMMUV3_PUT(SMMUV3_CMD0_SSID,
				SMMUV3_GET(SMMUV3_PPR0_SSID, ppr->dw[0]));
	rig_send(r, smmuv3_cmd(SMMUV3_OP_PRI_RESP, dw0, SMMUV3_PUT(SMMUV3_PRI1_RESP, code) |
			(ppr->dw[1] & SMMUV3_PPR1_PRGINDEX)));
}

struct smmuv3_cmd
rig_make_atc_inv(uint32_t sid, int32_t ssid, uint64_t flags, uint64_t addr, unsigned int size)
{
	uint64_t dw0 = SMMUV3_PUT(SMMUV3_CMD0_SID, sid) | flags;

	if (ssid >= 0)
		dw0 |= SMMUV3_CMD0_SSV | SMMUV3_PUT(SMMUV3_CMD0_SSID, (uint32_t)ssid);
	return smmuv3_cmd(SMMUV3_OP_ATC_INV, dw0, SMMUV3_PUT(SMMUV3_ATC1_SIZE, size) |
			(addr & SMMUV3_ATC1_ADDR));
}

struct smmuv3_model_dma *
rig_add_ats_dma(struct rig *r, int32_t ssid, unsigned int group_pages, unsigned int prg_indices,
		bool prg_pasid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(r->m,
			&(struct smmuv3_model_dma_conf){ .sid = RIG_SID, .has_ssid = ssid >= 0,
			.ssid = ssid < 0 ? 0 : (uint32_t)ssid, .depth = 64,
			.kind = SMMUV3_MODEL_DMA_ATS, .group_pages = group_pages,
			.prg_indices = prg_indices, .prg_pasid = prg_pasid });

	assert_non_null(dma);
	return dma;
}

struct smmuv3_ste *
rig_get_ste(struct rig *r, uint32_t sid)
{
	uint64_t *l1;

	if (!r->split)
		return &r->strtab[sid];
	l1 = &r->l1strtab[sid >> 8];
	if (*l1 == 0) {
		void *l2 = rig_alloc(r, 256 * sizeof(struct smmuv3_ste), 16384);

		smmuv3_set_dw(l1, rig_get_addr(r, l2) | 9);
	}
	return (struct smmuv3_ste *)rig_get_ptr(r, *l1 & SMMUV3_L1STD_L2PTR) + (sid & 255);
}

void
rig_set_ste(struct rig *r, uint32_t sid, const struct smmuv3_ste *ste)
{
	struct smmuv3_ste *to = rig_get_ste(r, sid);

	for (unsigned int i = 8; i-- > 0;)
		smmuv3_set_dw(&to->dw[i], ste->dw[i]);
	rig_send(r, smmuv3_cmd_cfgi_ste(sid, false));
	rig_sync(r);
}

struct smmuv3_cd
rig_make_cd(struct rig *r, uint16_t asid)
{
	if (r->ttb0 == NULL)
		r->ttb0 = rig_alloc(r, 4096, 4096);
	/* T0SZ 16, 4K, EPD1, IPS 48 bits, AArch64, S, R, A */
	return (struct smmuv3_cd){ .dw = {
		16 | SMMUV3_CD0_EPD1 | SMMUV3_CD0_V | SMMUV3_PUT(SMMUV3_CD0_IPS, 5) |
		SMMUV3_CD0_AA64 | SMMUV3_CD0_S | SMMUV3_CD0_R | SMMUV3_CD0_A |
		SMMUV3_PUT(SMMUV3_CD0_ASID, asid), rig_get_addr(r, r->ttb0) } };
}

void
rig_set_s1(struct rig *r, uint64_t cd0)
{
	struct smmuv3_ste ste = { 0 };

	r->cd = rig_alloc(r, sizeof(*r->cd), 64);
	*r->cd = rig_make_cd(r, RIG_ASID);
	r->cd->dw[0] |= cd0;
	ste.dw[0] = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		rig_get_addr(r, r->cd);
	rig_set_ste(r, RIG_SID, &ste);
}

void
rig_set_s1_pasids(struct rig *r, uint64_t ste1)
{
	struct smmuv3_ste ste = { 0 };

	r->cd = rig_alloc(r, 16 * sizeof(*r->cd), 64);
	for (unsigned int i = 0; i < 16; i++) {
		r->cd[i] = rig_make_cd(r, RIG_ASID);
		r->cd[i].dw[0] &= ~(uint64_t)SMMUV3_CD0_S;
	}
	ste.dw[0] = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, SMMUV3_STE_S1) |
		SMMUV3_PUT(SMMUV3_STE0_S1CDMAX, 4) | rig_get_addr(r, r->cd);
	ste.dw[1] = SMMUV3_PUT(SMMUV3_STE1_S1DSS, SMMUV3_S1DSS_SSID0) | ste1;
	rig_set_ste(r, RIG_SID, &ste);
}

uint64_t *
rig_get_entry(struct rig *r, uint64_t *ttb, unsigned int gran, unsigned int start,
		unsigned int level, uint64_t va)
{
	uint64_t *table = ttb;

	for (unsigned int l = start;; l++) {
		unsigned int shift = gran + (3 - l) * (gran - 3);
		uint64_t mask = (UINT64_C(1) << (gran - 3)) - 1;
		uint64_t *e;

		/* The first level of a 48-bit range is short. */
		if (l == start && shift + gran - 3 > 48)
			mask = (UINT64_C(1) << (48 - shift)) - 1;
		e = &table[(va >> shift) & mask];
		if (l == level)
			return e;
		if (*e == 0)
			smmuv3_set_dw(e, rig_get_addr(r, rig_alloc(r, UINT64_C(1) << gran,
					UINT64_C(1) << gran)) | 3);
		table = rig_get_ptr(r, *e & SMMUV3_BITS(47, gran));
	}
}

uint64_t *
rig_get_pte(struct rig *r, uint64_t *ttb, uint64_t va)
{
	return rig_get_entry(r, ttb, 12, 0, 3, va);
}

void
rig_map(struct rig *r, uint64_t va, uint64_t pa, uint64_t attrs)
{
	smmuv3_set_dw(rig_get_pte(r, r->ttb0, va), pa | attrs | 3);
}

void
rig_unmap(struct rig *r, uint64_t va)
{
	smmuv3_set_dw(rig_get_pte(r, r->ttb0, va), 0);
}

struct smmuv3_model_dma *
rig_add_dma(struct rig *r, uint32_t sid, int32_t ssid)
{
	struct smmuv3_model_dma *dma = smmuv3_model_dma_create(r->m,
			&(struct smmuv3_model_dma_conf){ .sid = sid, .has_ssid = ssid >= 0,
			.ssid = ssid < 0 ? 0 : (uint32_t)ssid, .depth = 64 });

	assert_non_null(dma);
	return dma;
}

void
rig_submit(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type,
		uint64_t addr, void *buf, size_t len)
{
	(void)r;
	assert_int_equal(smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
			.type = type, .addr = addr, .buf = buf, .len = len, .cookie = addr }), 0);
}

unsigned int
rig_poll(struct rig *r, struct smmuv3_model_dma *dma)
{
	unsigned int n;

	rig_run(r);
	n = smmuv3_model_dma_poll(dma, r->done, 64);
	r->nb_done = n;
	return n;
}

enum smmuv3_model_status
rig_access(struct rig *r, struct smmuv3_model_dma *dma, enum smmuv3_model_op_type type,
		uint64_t addr, void *buf, size_t len)
{
	rig_submit(r, dma, type, addr, buf, len);
	assert_int_equal(rig_poll(r, dma), 1);
	return r->done[0].status;
}

static void
expect_one(unsigned int nb, const char *got, const char *text)
{
	if (nb != 1 || got == NULL || strstr(got, text) == NULL)
		fail_msg("expected the one error \"%s\", got %u, first \"%s\"", text, nb,
				got == NULL ? "" : got);
}

void
rig_expect_error(struct rig *r, const char *text)
{
	expect_one(smmuv3_model_driver_errors(r->m), smmuv3_model_driver_error(r->m, 0), text);
	smmuv3_model_driver_errors_clear(r->m);
}

void
rig_expect_oracle(struct rig *r, const char *text)
{
	expect_one(smmuv3_model_oracle_errors(r->m), smmuv3_model_oracle_error(r->m, 0), text);
	smmuv3_model_oracle_errors_clear(r->m);
}

uint64_t
rig_get_stat(const struct rig *r, enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(r->m, stat);
}
