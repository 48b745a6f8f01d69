/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include "s2_rig.h"
#include "test.h"

uint64_t
s2_get_ipa(const struct s2_rig *s, const void *ptr)
{
	return rig_get_addr(&s->r, ptr) + S2_OFF;
}

static uint64_t *
get_table(struct s2_rig *s, uint64_t *e, uint64_t off)
{
	if (*e == 0)
		smmuv3_set_dw(e, (rig_get_addr(&s->r, rig_alloc(&s->r, 4096, 4096)) + off) | 3);
	return rig_get_ptr(&s->r, (*e & SMMUV3_BITS(47, 12)) - off);
}

uint64_t *
s2_get_pte(struct s2_rig *s, uint64_t ipa)
{
	uint64_t *table = get_table(s, &s->ttb2[(ipa >> 30) & 1023], 0);

	table = get_table(s, &table[(ipa >> 21) & 511], 0);
	return &table[(ipa >> 12) & 511];
}

uint64_t *
s2_get_s1_pte(struct s2_rig *s, uint64_t va)
{
	uint64_t *table = s->ttb1;

	for (unsigned int shift = 39; shift > 12; shift -= 9)
		table = get_table(s, &table[(va >> shift) & 511], S2_OFF);
	return &table[(va >> 12) & 511];
}

void
s2_map(struct s2_rig *s, uint64_t ipa, uint64_t pa, uint64_t attrs)
{
	smmuv3_set_dw(s2_get_pte(s, ipa), pa | attrs | 3);
}

void
s2_map_s1(struct s2_rig *s, uint64_t va, uint64_t ipa, uint64_t attrs)
{
	smmuv3_set_dw(s2_get_s1_pte(s, va), ipa | attrs | 3);
}

void
s2_fill_ste(struct s2_rig *s, struct smmuv3_ste *ste, uint16_t vmid)
{
	ste->dw[2] = SMMUV3_PUT(SMMUV3_STE2_S2VMID, vmid) | SMMUV3_PUT(SMMUV3_STE2_S2T0SZ, 24) |
		SMMUV3_PUT(SMMUV3_STE2_S2SL0, 1) | SMMUV3_PUT(SMMUV3_STE2_S2PS, 5) |
		SMMUV3_STE2_S2AA64 | SMMUV3_STE2_S2R;
	ste->dw[3] = rig_get_addr(&s->r, s->ttb2);
}

void
s2_open(struct s2_rig *s, const struct smmuv3_model_conf *conf, unsigned int config)
{
	s2_open_small(s, conf, config, 0);
}

void
s2_open_small(struct s2_rig *s, const struct smmuv3_model_conf *conf, unsigned int config,
		unsigned int evtq_log2)
{
	struct smmuv3_model_conf c = { 0 };

	*s = (struct s2_rig){ 0 };
	if (conf != NULL)
		c = *conf;
	c.features |= SMMUV3_MODEL_S2;
	rig_open(&s->r, &c);
	s->r.evtq_log2 = evtq_log2;
	rig_start(&s->r);
	s->ttb2 = rig_alloc(&s->r, 8192, 8192);
	s->ttb1 = rig_alloc(&s->r, 4096, 4096);
	s->cd = rig_alloc(&s->r, 4096, 4096);
	for (uint64_t off = 0; off < RIG_ARENA_LEN; off += 4096)
		s2_map(s, RIG_ARENA + S2_OFF + off, RIG_ARENA + off, S2_RW);
	for (uint64_t off = 0; off < RIG_DATA_LEN; off += 4096)
		s2_map(s, S2_DATA + off, RIG_DATA + off, S2_RW);
	s->cd[0] = rig_make_cd(&s->r, RIG_ASID);
	s->cd[0].dw[0] &= ~(uint64_t)SMMUV3_CD0_S;
	s->cd[0].dw[1] = s2_get_ipa(s, s->ttb1);
	s->ste.dw[0] = SMMUV3_STE0_V | SMMUV3_PUT(SMMUV3_STE0_CONFIG, config);
	if (config == SMMUV3_STE_S1_S2)
		s->ste.dw[0] |= s2_get_ipa(s, s->cd);
	s2_fill_ste(s, &s->ste, S2_VMID);
	rig_set_ste(&s->r, RIG_SID, &s->ste);
	s2_map_s1(s, S2_VA, S2_DATA, RIG_RW);
	s->dma = rig_add_dma(&s->r, RIG_SID, -1);
}

void
s2_close(struct s2_rig *s)
{
	walk_close(&s->r, s->dma);
}

void
s2_change_ste(struct s2_rig *s, unsigned int dw, uint64_t clear, uint64_t set)
{
	s->ste.dw[dw] = (s->ste.dw[dw] & ~clear) | set;
	rig_set_ste(&s->r, RIG_SID, &s->ste);
}

unsigned int
s2_access(struct s2_rig *s, uint64_t va, struct walk_how how, struct smmuv3_evt *evt)
{
	return walk_access(&s->r, s->dma, va, how, evt);
}

void
s2_expect_fault(struct s2_rig *s, uint64_t va, struct walk_how how, uint8_t id, unsigned int why,
		uint64_t ipa)
{
	struct smmuv3_evt evt = { 0 };
	unsigned int got = s2_access(s, va, how, &evt);

	if (got != id || SMMUV3_GET(SMMUV3_EVT1_S2, evt.dw[1]) != 1 ||
			SMMUV3_GET(SMMUV3_EVT1_CLASS, evt.dw[1]) != why ||
			evt.dw[3] != (ipa & ~UINT64_C(0xfff)))
		fail_msg("VA 0x%llx: event 0x%x, words 0x%llx 0x%llx 0x%llx, expected 0x%x class "
				"%u IPA 0x%llx", (unsigned long long)va, got,
				(unsigned long long)evt.dw[1], (unsigned long long)evt.dw[2],
				(unsigned long long)evt.dw[3], id, why, (unsigned long long)ipa);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_RNW, evt.dw[1]), !how.write);
	assert_int_equal(SMMUV3_GET(SMMUV3_EVT1_TTRNW, evt.dw[1]), id == SMMUV3_F_PERMISSION &&
			why == SMMUV3_CLASS_TT);
	assert_int_equal(evt.dw[1] & SMMUV3_EVT1_STALL, 0);
}
