/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <string.h>

#include "requests_rig.h"
#include "test.h"

#define CREDITS		16

void
requests_enable_pri(struct requests *r)
{
	assert_int_equal(smmuv3_model_dma_ats_enable(r->fns[0], 0), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
}

void
requests_open_conf(struct requests *r, const struct smmuv3_model_conf *conf,
		const struct requests_fns *fns)
{
	static const struct requests_fns one_page;
	struct smmuv3_model_conf mine = *conf;

	memset(r, 0, sizeof(*r));
	if (fns == NULL)
		fns = &one_page;
	r->prg_pasid = fns->prg_pasid;
	mine.features |= SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI;
	pmd_open(&r->p, &mine);
	assert_int_equal(r->p.granule_log2, 12);
	assert_int_equal(r->p.ops->start(r->p.s), 0);
	r->p.prg_pasid = fns->prg_pasid;
	pmd_add_dev(&r->p, IOPF_PRI, 4, 1);
	assert_int_equal(rig_attach(r->p.ops, r->p.s, r->p.dev, 2, r->p.domain), 0);
	assert_int_equal(rig_attach(r->p.ops, r->p.s, r->p.dev, IOPF_NO_PASID, r->p.domain), 0);
	for (unsigned int i = 0; i < NB_FNS; i++) {
		r->fns[i] = smmuv3_model_dma_create(r->p.m, &(struct smmuv3_model_dma_conf){
			.sid = PMD_SID,
			.has_ssid = i < 2,
			.ssid = i < 2 ? i + 1 : 0,
			.depth = 1024,
			.kind = SMMUV3_MODEL_DMA_ATS,
			.group_pages = fns->group_pages,
			.prg_indices = fns->prg_indices,
			.prg_pasid = fns->prg_pasid,
		});
		assert_non_null(r->fns[i]);
	}
	r->data = pmd_alloc(&r->p, PAGE, PAGE);
	r->credits = fns->credits != 0 ? fns->credits : CREDITS;
	requests_enable_pri(r);
}

void
requests_open(struct requests *r)
{
	requests_open_conf(r, &(struct smmuv3_model_conf){ .priq_log2 = 4 }, NULL);
}

void
requests_close(struct requests *r)
{
	/* PRI stays enabled after a Response Failure too. */
	smmuv3_model_dma_pri_disable(r->fns[0]);
	for (unsigned int i = 0; i < 1000 && !smmuv3_model_dma_pri_drained(r->fns[0]); i++) {
		pmd_step(&r->p);
		requests_serve(r, 32);
		requests_send_answers(r, r->nb_waiting);
		r->p.ops->check(r->p.s);
	}
	assert_true(smmuv3_model_dma_pri_drained(r->fns[0]));
	smmuv3_model_dma_ats_disable(r->fns[0]);
	for (unsigned int i = 0; i < NB_FNS; i++)
		smmuv3_model_dma_destroy(r->fns[i]);
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->p.dev, 2), 0);
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->p.dev, IOPF_NO_PASID), 0);
	pmd_finish(&r->p, 1);
}

void
requests_ask(struct requests *r, unsigned int fn, uint64_t va, unsigned int pages)
{
	static uint8_t buf[64 * PAGE];

	assert_int_equal(smmuv3_model_dma_submit(r->fns[fn], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = va, .buf = buf, .len = pages * PAGE }), 0);
}

unsigned int
requests_count_ended(struct requests *r, enum smmuv3_model_status status)
{
	struct smmuv3_model_done done[64];
	unsigned int n = 0, got, i, k;

	for (i = 0; i < NB_FNS; i++)
		while ((got = smmuv3_model_dma_poll(r->fns[i], done, 64)) > 0)
			for (k = 0; k < got; k++, n++)
				assert_int_equal(done[k].status, status);
	return n;
}

void
requests_send_answers(struct requests *r, unsigned int n)
{
	assert_true(n <= r->nb_waiting);
	if (n > 0)
		r->p.ops->answer(r->p.s, r->waiting, n);
	r->nb_waiting -= n;
	memmove(r->waiting, r->waiting + n, r->nb_waiting * sizeof(r->waiting[0]));
}

void
requests_take(struct requests *r, const struct iopf_event *e)
{
	struct requests_group *g;
	unsigned int i;

	assert_int_equal(e->sid, PMD_SID);
	for (i = 0; i < r->nb_partial; i++)
		if (r->partial[i].pasid == e->pasid && r->partial[i].index == e->token)
			break;
	g = &r->partial[i];
	if (i == r->nb_partial) {
		assert_true(++r->nb_partial <= RTE_DIM(r->partial));
		*g = (struct requests_group){ .pasid = e->pasid, .index = e->token,
			.first = e->addr };
	}
	/* The group has no page of an older group with this index. */
	assert_int_equal(e->addr, g->first + g->nb_pages * PAGE);
	g->nb_pages++;
	if (!(e->flags & IOPF_EVENT_LAST))
		return;
	for (i = 0; i < g->nb_pages; i++)
		pmd_map(&r->p, g->first + i * PAGE, r->data);
	assert_true(r->nb_waiting < RTE_DIM(r->waiting));
	r->waiting[r->nb_waiting++] = (struct iopf_answer){
		.sid = e->sid,
		.pasid = r->prg_pasid || r->p.info.pri_pasid ? e->pasid : IOPF_NO_PASID,
		.token = e->token,
		.code = IOPF_SUCCESS,
		.page_request = true,
	};
	*g = r->partial[--r->nb_partial];
	r->groups++;
}

unsigned int
requests_serve(struct requests *r, uint16_t n)
{
	struct iopf_event events[64];
	uint16_t got, i;

	got = r->p.ops->poll(r->p.s, IOPF_QUEUE_REQUESTS, events, n);
	for (i = 0; i < got; i++) {
		if (events[i].flags & IOPF_EVENT_PAGE_REQUEST) {
			requests_take(r, &events[i]);
		} else if (events[i].flags == IOPF_EVENT_LOST) {
			r->discarded += r->nb_partial;
			r->nb_partial = 0;
			r->lost++;
		} else if (events[i].flags == IOPF_EVENT_STOP_MARKER) {
			r->markers++;
		} else {
			assert_int_equal(events[i].flags, IOPF_EVENT_BAD);
			r->bad++;
		}
	}
	return got;
}

void
requests_serve_all(struct requests *r)
{
	for (unsigned int i = 0, idle = 0; i < 20000 && idle < 70; i++) {
		pmd_step(&r->p);
		idle = requests_serve(r, 32) > 0 ? 0 : idle + 1;
		requests_send_answers(r, r->nb_waiting);
	}
}

void
requests_check(struct requests *r, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		assert_int_equal(r->p.ops->check(r->p.s), 0);
		pmd_step(&r->p);
	}
}

bool
requests_has_overflow(struct requests *r)
{
	return (smmuv3_read32(r->p.s->regs, SMMUV3_PRIQ_PROD) ^
			smmuv3_read32(r->p.s->regs, SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG;
}

uint64_t
requests_model_stat(struct requests *r, enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(r->p.m, stat);
}
