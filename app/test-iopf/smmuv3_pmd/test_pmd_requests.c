/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page requests through the driver, from functions of the model, with what the library
 * does of them in a few lines: groups, answers, what is forgotten when requests were lost.
 * The model says when a group was answered twice, or too early, or never.
 */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <rte_log.h>

#include "pmd_rig.h"
#include "test.h"

#define PAGE		4096
#define NB_FNS		3
#define CREDITS		16

struct group {
	uint32_t pasid;
	uint16_t index;
	unsigned int nb_pages;
	uint64_t first;
};

struct pri {
	struct pmd p;
	/* One function: engines of PASID 1, PASID 2 and none. */
	struct smmuv3_model_dma *fns[NB_FNS];
	bool prg_pasid;
	uint32_t credits;
	uint8_t *data;
	struct group partial[64];
	unsigned int nb_partial;
	/* complete, not answered */
	struct iopf_answer waiting[1024];
	unsigned int nb_waiting;
	unsigned int groups, lost, markers, bad, discarded;
};

/* What the functions are, zero for the model's defaults. */
struct fns {
	unsigned int group_pages, prg_indices;
	bool prg_pasid;
	uint32_t credits;
};

static void
pri_on(struct pri *r)
{
	assert_int_equal(smmuv3_model_dma_ats_enable(r->fns[0], 0), 0);
	assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
}

static void
setup_conf(struct pri *r, const struct smmuv3_model_conf *conf, const struct fns *fns)
{
	static const struct fns one_page;
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
	pmd_dev_up(&r->p, IOPF_PRI, 4, 1);
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
	pri_on(r);
}

static void
setup(struct pri *r)
{
	setup_conf(r, &(struct smmuv3_model_conf){ .priq_log2 = 4 }, NULL);
}

static void send_answers(struct pri *r, unsigned int n);
static unsigned int serve(struct pri *r, uint16_t n);

/* PRI off, drained, ATS off, then the driver. */
static void
teardown(struct pri *r)
{
	/* Response Failure or not, it is on. */
	smmuv3_model_dma_pri_disable(r->fns[0]);
	for (unsigned int i = 0; i < 1000 && !smmuv3_model_dma_pri_drained(r->fns[0]); i++) {
		pmd_step(&r->p);
		serve(r, 32);
		send_answers(r, r->nb_waiting);
		r->p.ops->check(r->p.s);
	}
	assert_true(smmuv3_model_dma_pri_drained(r->fns[0]));
	smmuv3_model_dma_ats_disable(r->fns[0]);
	for (unsigned int i = 0; i < NB_FNS; i++)
		smmuv3_model_dma_destroy(r->fns[i]);
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->p.dev, 2), 0);
	assert_int_equal(rig_detach(r->p.ops, r->p.s, r->p.dev, IOPF_NO_PASID), 0);
	pmd_down(&r->p, 1);
}

/* A DMA that needs @p pages pages. */
static void
ask(struct pri *r, unsigned int fn, uint64_t va, unsigned int pages)
{
	static uint8_t buf[64 * PAGE];

	assert_int_equal(smmuv3_model_dma_submit(r->fns[fn], &(struct smmuv3_model_op){
		.type = SMMUV3_MODEL_WRITE, .addr = va, .buf = buf, .len = pages * PAGE }), 0);
}

/* DMAs that ended; all with this status. */
static unsigned int
ended(struct pri *r, enum smmuv3_model_status status)
{
	struct smmuv3_model_done done[64];
	unsigned int n = 0, got, i, k;

	for (i = 0; i < NB_FNS; i++)
		while ((got = smmuv3_model_dma_poll(r->fns[i], done, 64)) > 0)
			for (k = 0; k < got; k++, n++)
				assert_int_equal(done[k].status, status);
	return n;
}

static void
send_answers(struct pri *r, unsigned int n)
{
	assert_true(n <= r->nb_waiting);
	if (n > 0)
		r->p.ops->answer(r->p.s, r->waiting, n);
	r->nb_waiting -= n;
	memmove(r->waiting, r->waiting + n, r->nb_waiting * sizeof(r->waiting[0]));
}

static void
take(struct pri *r, const struct iopf_event *e)
{
	struct group *g;
	unsigned int i;

	assert_int_equal(e->sid, PMD_SID);
	for (i = 0; i < r->nb_partial; i++)
		if (r->partial[i].pasid == e->pasid && r->partial[i].index == e->token)
			break;
	g = &r->partial[i];
	if (i == r->nb_partial) {
		assert_true(++r->nb_partial <= RTE_DIM(r->partial));
		*g = (struct group){ .pasid = e->pasid, .index = e->token, .first = e->addr };
	}
	/* Nothing of an older group with this index. */
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

/* One burst. Answers wait. */
static unsigned int
serve(struct pri *r, uint16_t n)
{
	struct iopf_event events[64];
	uint16_t got, i;

	got = r->p.ops->poll(r->p.s, IOPF_QUEUE_REQUESTS, events, n);
	for (i = 0; i < got; i++) {
		if (events[i].flags & IOPF_EVENT_PAGE_REQUEST) {
			take(r, &events[i]);
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

/* All there is, with answers. */
static void
serve_all(struct pri *r)
{
	for (unsigned int i = 0, idle = 0; i < 20000 && idle < 70; i++) {
		pmd_step(&r->p);
		idle = serve(r, 32) > 0 ? 0 : idle + 1;
		send_answers(r, r->nb_waiting);
	}
}

static void
check(struct pri *r, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		assert_int_equal(r->p.ops->check(r->p.s), 0);
		pmd_step(&r->p);
	}
}

static bool
unacknowledged(struct pri *r)
{
	return (smmuv3_read32(r->p.s->regs, SMMUV3_PRIQ_PROD) ^
			smmuv3_read32(r->p.s->regs, SMMUV3_PRIQ_CONS)) & SMMUV3_Q_OVFLG;
}

static uint64_t
model_stat(struct pri *r, enum smmuv3_model_stat stat)
{
	return smmuv3_model_stat(r->p.m, stat);
}

static void
test_a_group_is_asked_for_and_answered(void **state)
{
	struct pri r;

	(void)state;
	for (unsigned int k = 0; k < 8; k++) {
		setup_conf(&r, &(struct smmuv3_model_conf){
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.features = k & 2 ? SMMUV3_MODEL_PPS : 0,
			.ack_delay = k & 1 ? 3 : 0 },
			&(struct fns){ .group_pages = 4, .prg_pasid = k & 4 });
		for (unsigned int i = 0; i < 6; i++)
			ask(&r, i % NB_FNS, PMD_VA + i * 16 * PAGE, 1 + i);
		serve_all(&r);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 6);
		assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), r.groups);
		assert_int_equal(pmd_stat(&r.p, "requests"), 1 + 2 + 3 + 4 + 5 + 6);
		assert_int_equal(pmd_stat(&r.p, "missed_priq_msis"), 0);
		assert_int_equal(r.lost + r.bad + r.markers, 0);
		teardown(&r);
	}
}

/* Registers, before the first request. */
static void
test_the_queue_is_there_when_the_smmu_has_one(void **state)
{
	static const struct {
		uint32_t features, cr0, irqs;
	} kinds[] = {
		{ 0, 0xd, 0x5 },
		{ SMMUV3_MODEL_ATS, 0x1d, 0x5 },
		{ SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI, 0x1f, 0x7 },
	};
	struct iopf_event event;
	struct pmd p;

	(void)state;
	for (unsigned int i = 0; i < RTE_DIM(kinds); i++)
		for (unsigned int msi = 0; msi < 2; msi++) {
			pmd_open(&p, &(struct smmuv3_model_conf){ .features = kinds[i].features,
				.no_features = msi ? 0 : SMMUV3_MODEL_NO_MSI, .ack_delay = 4 });
			for (unsigned int round = 0; round < 2; round++) {
				assert_int_equal(p.ops->start(p.s), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0),
						kinds[i].cr0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK),
						kinds[i].cr0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_IRQ_CTRLACK),
						msi ? kinds[i].irqs : 0);
				for (unsigned int k = 0; k < 3; k++)
					assert_int_equal(p.ops->poll(p.s, 1, &event, 1), 0);
				assert_true(p.ops->queue_passed(p.s, 1,
						p.ops->queue_mark(p.s, 1)));
				assert_int_equal(p.ops->stop(p.s), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_CR0ACK), 0);
				assert_int_equal(smmuv3_read32(p.s->regs, SMMUV3_IRQ_CTRLACK), 0);
			}
			pmd_close(&p);
		}
}

static void
test_the_queue_has_the_size_that_was_asked_for(void **state)
{
	struct pmd p;

	(void)state;
	for (uint32_t size = 1; size <= 4096; size *= 8) {
		pmd_open(&p, &(struct smmuv3_model_conf){ .priq_log2 = 14,
			.features = SMMUV3_MODEL_ATS | SMMUV3_MODEL_PRI });
		for (unsigned int round = 0; round < 2; round++) {
			uint32_t want = round == 0 ? size : 0;
			uint64_t base;

			assert_int_equal(p.ops->configure(p.s, &(struct iopf_iommu_conf){
				.request_queue_size = want }), 0);
			assert_int_equal(p.ops->start(p.s), 0);
			base = atomic_load(smmuv3_reg64(p.s->regs, SMMUV3_PRIQ_BASE));
			assert_int_equal(1u << SMMUV3_GET(SMMUV3_Q_BASE_LOG2SIZE, base),
					round == 0 ? size : 1024);
			assert_int_equal(base & SMMUV3_Q_BASE_ADDR, p.s->priq.q.mem.addr);
			assert_int_equal(p.ops->stop(p.s), 0);
		}
		pmd_close(&p);
	}
}

/*
 * Functions that ask for more than the queue holds, groups of every size: the overflow is at
 * each position of a group, and two PASIDs have the same indices. Every DMA gets its pages,
 * each group one answer, from us or from the SMMU.
 */
static void
test_every_group_is_answered_once_whatever_overflows(void **state)
{
	unsigned int seed = 7, overflows = 0, discarded = 0;
	struct pri r;

	(void)state;
	for (unsigned int k = 0; k < 60; k++) {
		unsigned int log2 = k % 5, pages = 1 + k % 7, done = 0, nb = 100, sent = 0;

		setup_conf(&r, &(struct smmuv3_model_conf){
			.priq_log2 = log2 == 0 ? SMMUV3_MODEL_NONE : log2,
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0,
			.features = k & 2 ? SMMUV3_MODEL_PPS : 0,
			.seed = k + 1 },
			&(struct fns){ .group_pages = pages, .prg_indices = k % 3 == 0 ? 1 : 4,
				.prg_pasid = k & 4, .credits = 1u << log2 });
		for (unsigned int i = 0; i < 200000 && done < nb; i++) {
			/* What is larger than the queue never gets through while others ask too. */
			if (i % 1000 == 900)
				smmuv3_model_dma_quirks(r.fns[0], 0, 1);
			if (i % 1000 == 0)
				smmuv3_model_dma_quirks(r.fns[0], SMMUV3_MODEL_QUIRK_CREDITS, 1);
			if (sent < nb && rand_r(&seed) % 4 == 0) {
				ask(&r, sent % NB_FNS, PMD_VA + sent * 16 * PAGE,
						1 + (unsigned int)rand_r(&seed) % 9);
				sent++;
			}
			smmuv3_model_step(r.p.m, 1 + (unsigned int)rand_r(&seed) % 8);
			if (rand_r(&seed) % 3 == 0)
				serve(&r, 1 + (unsigned int)rand_r(&seed) %
						((k & 8) != 0 ? 3 : 40));
			if (r.nb_waiting > 0 && rand_r(&seed) % 2 == 0)
				send_answers(&r, 1 + (unsigned int)rand_r(&seed) % r.nb_waiting);
			done += ended(&r, SMMUV3_MODEL_OK);
		}
		assert_int_equal(done, nb);
		serve_all(&r);
		/* Lost partial groups were all forgotten: their indices came back. */
		assert_int_equal(r.nb_partial, 0);
		assert_false(unacknowledged(&r));
		assert_int_equal(r.lost, model_stat(&r, SMMUV3_MODEL_STAT_PRIQ_OVERFLOWS));
		assert_int_equal(pmd_stat(&r.p, "priq_overflows"), r.lost);
		assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), r.groups);
		assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS_STALE), 0);
		assert_int_equal(r.bad, 0);
		overflows += r.lost;
		discarded += r.discarded;
		teardown(&r);
	}
	assert_true(overflows > 500);
	assert_true(discarded > 100);
}

/* Space alone does not help the SMMU: it writes nothing until it is acknowledged. */
static void
test_nothing_is_accepted_before_the_marker_is_told(void **state)
{
	struct iopf_event e[8];
	struct pri r;
	unsigned int i;

	(void)state;
	setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 }, NULL);
	for (i = 0; i < 6; i++)
		ask(&r, 0, PMD_VA + i * PAGE, 1);
	/* Those over the queue's size are told Success, and ask again and again. */
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_true(unacknowledged(&r));
	assert_int_equal(r.p.ops->poll(r.p.s, 1, e, 3), 3);
	assert_true(unacknowledged(&r));
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) & ~SMMUV3_Q_OVFLG, 4);
	/* The fourth and the marker, one store. */
	assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 3, 3), 2);
	assert_int_equal(e[3].flags, IOPF_EVENT_PAGE_REQUEST | IOPF_EVENT_LAST);
	assert_int_equal(e[4].flags, IOPF_EVENT_LOST);
	assert_false(unacknowledged(&r));
	for (i = 0; i < 50; i++)
		smmuv3_model_step(r.p.m, 4);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) & ~SMMUV3_Q_OVFLG, 6);
	for (i = 0; i < 4; i++)
		take(&r, &e[i]);
	serve_all(&r);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 6);
	teardown(&r);
}

/* [8.1]: one has no answer, the other needs one. */
static void
test_stop_marker_and_request_for_nothing(void **state)
{
	struct pri r;

	(void)state;
	setup(&r);
	assert_int_equal(smmuv3_model_dma_stop_marker(r.fns[0]), 0);
	serve_all(&r);
	assert_int_equal(r.markers, 1);
	assert_int_equal(r.groups, 0);
	/* With SSV = 0 it uses a credit until it is answered. */
	assert_int_equal(smmuv3_model_dma_stop_marker(r.fns[2]), 0);
	pmd_step(&r.p);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(r.fns[0]), 1);
	serve_all(&r);
	assert_int_equal(r.markers, 1);
	assert_int_equal(r.groups, 1);
	assert_int_equal(smmuv3_model_dma_pri_outstanding(r.fns[0]), 0);
	assert_int_equal(pmd_stat(&r.p, "priq_stop_markers"), 1);
	teardown(&r);
}

/* The function lost PRI, and its driver switches it off and on. */
static void
pri_again(struct pri *r)
{
	assert_true(smmuv3_model_dma_pri_failed(r->fns[0]));
	assert_int_equal(smmuv3_model_dma_pri_disable(r->fns[0]), 0);
	assert_true(smmuv3_model_dma_pri_drained(r->fns[0]));
	assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
}

static void
test_an_aborted_write_loses_requests_and_the_queue_goes_on(void **state)
{
	struct pri r;

	(void)state;
	for (unsigned int k = 0; k < 6; k++) {
		setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4,
			.no_features = k & 1 ? SMMUV3_MODEL_NO_MSI : 0 },
			&(struct fns){ .group_pages = 3 });
		for (unsigned int round = 1; round <= 20; round++) {
			/* In the queue before, half of a group too. */
			ask(&r, 0, PMD_VA + round * 64 * PAGE, 1);
			pmd_step(&r.p);
			ask(&r, 1, PMD_VA + (round * 64 + 16) * PAGE, 3);
			for (unsigned int i = 0; i < k; i++)
				smmuv3_model_step(r.p.m, 1);
			smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
			ask(&r, 2, PMD_VA + (round * 64 + 32) * PAGE, 1);
			pmd_step(&r.p);
			assert_true((smmuv3_read32(r.p.s->regs, SMMUV3_GERROR) ^
					smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN)) &
					SMMUV3_GERROR_PRIQ_ABT);
			check(&r, 17);
			assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_GERROR),
					smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN));
			assert_int_equal(pmd_stat(&r.p, "priq_aborts"), round);
			serve_all(&r);
			assert_int_equal(r.lost, round);
			assert_int_equal(r.nb_partial, 0);
			pri_again(&r);
			for (struct smmuv3_model_done done; ;) {
				unsigned int got = 0;

				for (unsigned int i = 0; i < NB_FNS; i++)
					got += smmuv3_model_dma_poll(r.fns[i], &done, 1);
				if (got == 0)
					break;
			}
			ask(&r, round % NB_FNS, PMD_VA + (round * 64 + 48) * PAGE, 5);
			serve_all(&r);
			assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
		}
		assert_int_equal(pmd_stat(&r.p, "resets"), 0);
		teardown(&r);
	}
}

/* Not acknowledged before the loss before it was told: no two become one. */
static void
test_a_second_abort_waits_for_the_first_to_be_told(void **state)
{
	struct pri r;

	(void)state;
	setup(&r);
	for (unsigned int i = 0; i < 2; i++) {
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		ask(&r, 0, PMD_VA, 1);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_ABORTED), 1);
		check(&r, 40);
		pri_again(&r);
	}
	assert_int_equal(pmd_stat(&r.p, "priq_aborts"), 1);
	assert_true(smmuv3_read32(r.p.s->regs, SMMUV3_GERROR) !=
			smmuv3_read32(r.p.s->regs, SMMUV3_GERRORN));
	serve_all(&r);
	assert_int_equal(r.lost, 1);
	check(&r, 40);
	serve_all(&r);
	assert_int_equal(r.lost, 2);
	assert_int_equal(pmd_stat(&r.p, "priq_aborts"), 2);
	ask(&r, 0, PMD_VA, 1);
	serve_all(&r);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
	teardown(&r);
}

static unsigned int
times_in(const char *text, const char *what)
{
	unsigned int n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text += strlen(what);
		n++;
	}
	return n;
}

static void
test_aborts_are_said_once_per_start(void **state)
{
	FILE *before = rte_log_get_stream();
	char *text = NULL;
	size_t len;
	FILE *log = open_memstream(&text, &len);
	struct pri r;

	(void)state;
	assert_non_null(log);
	setup(&r);
	rte_openlog_stream(log);
	for (unsigned int i = 0; i < 4; i++) {
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		ask(&r, 0, PMD_VA, 1);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_ABORTED), 1);
		check(&r, 40);
		serve_all(&r);
		pri_again(&r);
		fflush(log);
		assert_int_equal(times_in(text, "PRIQ_ABT_ERR"), i < 2 ? 1 : 2);
		if (i == 1) {
			assert_int_equal(r.p.ops->stop(r.p.s), 0);
			assert_int_equal(r.p.ops->start(r.p.s), 0);
		}
	}
	rte_openlog_stream(before == stderr ? NULL : before);
	assert_int_equal(times_in(text, "iopf_dev_pri_restart()"), 2);
	assert_int_equal(times_in(text, "priq_aborts"), 2);
	assert_int_equal(pmd_stat(&r.p, "priq_aborts"), 4);
	teardown(&r);
	fclose(log);
	free(text);
}

/* Seen too late: PROD passed an entry that is not there, and nobody answers for it. */
static void
test_a_request_lost_in_the_middle_of_a_burst(void **state)
{
	struct pri r;

	(void)state;
	for (unsigned int at = 0; at < 4; at++) {
		setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 2 }, NULL);
		/* Go round: there are old requests where the lost one would be. */
		for (unsigned int i = 0; i < 8; i++)
			ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
		serve_all(&r);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 8);
		r.lost = 0;
		for (unsigned int i = 0; i < at; i++) {
			ask(&r, 0, PMD_VA + (16 + i) * PAGE, 1);
			pmd_step(&r.p);
		}
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_LOSE, 1);
		ask(&r, 1, PMD_VA + 32 * PAGE, 1);
		pmd_step(&r.p);
		assert_int_equal(smmuv3_q_pos(2, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD) -
				smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_CONS)), at + 1);
		check(&r, 17);
		serve_all(&r);
		assert_int_equal(r.groups, 8 + at);
		assert_int_equal(r.bad, 1);
		assert_int_equal(r.lost, 1);
		assert_int_equal(pmd_stat(&r.p, "bad_requests"), 1);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), at);
		/* Its group is not answered by anybody: the function has to be reset. */
		assert_int_equal(smmuv3_model_dma_pri_disable(r.fns[0]), 0);
		assert_false(smmuv3_model_dma_pri_drained(r.fns[0]));
		smmuv3_model_dma_reset(r.fns[0]);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_ABORTED), 1);
		pri_on(&r);
		ask(&r, 1, PMD_VA + 32 * PAGE, 1);
		serve_all(&r);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
		teardown(&r);
	}
}

/* An event that cannot be written: all stalls are ended by SMMUEN 1 -> 0 -> 1. */
static void
abort_an_event(struct pri *r)
{
	static uint8_t buf[4];

	smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
	pmd_write(&r->p, PMD_VA + (UINT64_C(1) << 40), buf, sizeof(buf));
	assert_int_equal(pmd_done(&r->p), SMMUV3_MODEL_ABORTED);
}

static bool
smmuen(struct pri *r)
{
	return smmuv3_read32(r->p.s->regs, SMMUV3_CR0ACK) & SMMUV3_CR0_SMMUEN;
}

/* Answers given at each moment of a recovery arrive, once. */
static void
test_answers_are_held_back_while_the_smmu_is_off(void **state)
{
	struct pri r;

	(void)state;
	for (unsigned int k = 0; k < 2; k++)
		for (unsigned int when = 0; when < 30; when++) {
			unsigned int told = 0, i;
			bool was_off = false;

			setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4,
				.cmdq_log2 = k == 0 ? 0 : 2, .ack_delay = 3 }, NULL);
			for (i = 0; i < 9; i++)
				ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
			pmd_step(&r.p);
			while (serve(&r, 4) > 0)
				;
			assert_int_equal(r.nb_waiting, 9);
			abort_an_event(&r);
			send_answers(&r, 2);
			for (i = 0; i < 100; i++) {
				if (i == when)
					send_answers(&r, r.nb_waiting);
				told |= r.p.ops->check(r.p.s);
				smmuv3_model_step(r.p.m, 1);
				was_off |= !smmuen(&r);
			}
			assert_true(was_off);
			assert_true(smmuen(&r));
			assert_int_equal(told, IOPF_CHECK_TERMINATED);
			assert_int_equal(pmd_stat(&r.p, "resets"), 1);
			pmd_step(&r.p);
			/* All of them, and none was sent in vain. */
			assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
			assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 9);
			if (when == 5)
				assert_int_equal(pmd_stat(&r.p, "answers_held"), 7);
			assert_int_equal(pmd_stat(&r.p, "answers_dropped"), 0);
			assert_int_equal(pmd_stat(&r.p, "backlog_lost"), 0);
			/* What came meanwhile was told Response Failure. */
			serve_all(&r);
			assert_int_equal(r.lost, 1);
			ask(&r, 0, PMD_VA + 20 * PAGE, 1);
			serve_all(&r);
			assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
			teardown(&r);
		}
}

/* Answers that were sent before are consumed while the SMMU is still on. */
static void
test_the_smmu_stays_on_until_answers_are_consumed(void **state)
{
	unsigned int told = 0, i;
	struct pri r;

	(void)state;
	setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = 2 }, NULL);
	for (i = 0; i < 9; i++)
		ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	serve(&r, 32);
	assert_int_equal(r.nb_waiting, 9);
	abort_an_event(&r);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	/* Four fit, five are in the backlog: these are held back when they leave it. */
	send_answers(&r, 9);
	for (i = 0; i < 50; i++) {
		assert_int_equal(r.p.ops->check(r.p.s), 0);
		smmuv3_model_step(r.p.m, 1);
		assert_true(smmuen(&r));
	}
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	for (i = 0; i < 50; i++) {
		told |= r.p.ops->check(r.p.s);
		smmuv3_model_step(r.p.m, 1);
	}
	assert_int_equal(told, IOPF_CHECK_TERMINATED);
	assert_true(smmuen(&r));
	pmd_step(&r.p);
	assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 9);
	serve_all(&r);
	assert_int_equal(r.lost, 1);
	teardown(&r);
}

/* Groups of one page, one request at a time: however small the queue, all are taken. */
static void
take_groups(struct pri *r, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		ask(r, i % NB_FNS, PMD_VA + i * PAGE, 1);
		pmd_step(&r->p);
		while (serve(r, 4) > 0)
			;
	}
	assert_int_equal(r->nb_waiting, n);
}

/* Until answers are held back, SMMUEN = 0 is acknowledged, and the library is told. */
static void
recovery_begins(struct pri *r)
{
	unsigned int i;

	abort_an_event(r);
	for (i = 0; i < 100 && r->p.ops->check(r->p.s) != IOPF_CHECK_TERMINATED; i++)
		smmuv3_model_step(r->p.m, 1);
	assert_true(i < 100);
	assert_false(smmuen(r));
}

/* All were answered, once, and it works. */
static void
recovery_ends(struct pri *r, unsigned int answers)
{
	check(r, 40);
	assert_true(smmuen(r));
	for (unsigned int i = 0; i < 20000; i++) {
		smmuv3_model_step(r->p.m, 1);
		r->p.ops->poll(r->p.s, IOPF_QUEUE_EVENTS, &(struct iopf_event){ 0 }, 1);
	}
	assert_int_equal(model_stat(r, SMMUV3_MODEL_STAT_PRI_RESPS), answers);
	assert_int_equal(ended(r, SMMUV3_MODEL_OK), answers);
	assert_int_equal(pmd_stat(&r->p, "backlog_lost"), 0);
	serve_all(r);
	assert_int_equal(r->lost, 1);
	ask(r, 0, PMD_VA + 4000 * PAGE, 1);
	serve_all(r);
	assert_int_equal(ended(r, SMMUV3_MODEL_OK), 1);
}

/* The library has 64 slots for a queue of two, and twice as many as entries for any other. */
static void
test_all_answers_that_there_can_be_are_held_back(void **state)
{
	struct pri r;

	(void)state;
	for (unsigned int log2 = 1; log2 < 8; log2 += 2)
		for (unsigned int k = 0; k < 3; k++) {
			unsigned int slots = RTE_MAX(64u, 2u << log2), i;

			setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = log2,
				.cmdq_log2 = k }, &(struct fns){ .prg_indices = 512,
				.credits = slots });
			take_groups(&r, slots);
			recovery_begins(&r);
			for (i = 0; i < slots; i += 8)
				send_answers(&r, 8);
			assert_int_equal(r.nb_waiting, 0);
			if (k == 0)
				assert_int_equal(pmd_stat(&r.p, "answers_held"), slots);
			recovery_ends(&r, slots);
			teardown(&r);
		}
}

/* A request that is refused needs an answer without having a slot. */
static void
test_no_requests_are_taken_while_answers_are_held_back(void **state)
{
	unsigned int i;
	uint64_t mark;
	struct pri r;

	(void)state;
	setup(&r);
	ask(&r, 0, PMD_VA, 1);
	pmd_step(&r.p);
	recovery_begins(&r);
	mark = r.p.ops->queue_mark(r.p.s, IOPF_QUEUE_REQUESTS);
	for (i = 0; i < 10; i++) {
		assert_int_equal(serve(&r, 4), 0);
		assert_false(r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark));
	}
	/* Who waits for that polls and checks. */
	for (i = 0; i < 100 && !r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark); i++) {
		serve(&r, 4);
		check(&r, 1);
	}
	assert_true(i < 100);
	assert_int_equal(r.nb_waiting, 1);
	send_answers(&r, 1);
	pmd_step(&r.p);
	recovery_ends(&r, 1);
	teardown(&r);
}

/* It dies on the way: a detach waits for the queue all the same. */
static void
test_requests_are_taken_when_a_recovery_fails(void **state)
{
	unsigned int told = 0, i;
	uint64_t mark;
	struct pri r;

	(void)state;
	setup(&r);
	ask(&r, 0, PMD_VA, 1);
	pmd_step(&r.p);
	abort_an_event(&r);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 1);
	smmuv3_cmdq_post(&r.p.s->cmdq, &(struct smmuv3_cmd){ .dw = { SMMUV3_OP_SYNC } }, 1);
	r.p.s->timeout /= 100;
	mark = r.p.ops->queue_mark(r.p.s, IOPF_QUEUE_REQUESTS);
	for (i = 0; i < 10000000 && !(told & IOPF_CHECK_DEAD); i++)
		told |= r.p.ops->check(r.p.s);
	assert_true(told & IOPF_CHECK_DEAD);
	assert_int_equal(serve(&r, 4), 1);
	serve(&r, 4);
	assert_true(r.p.ops->queue_passed(r.p.s, IOPF_QUEUE_REQUESTS, mark));
	r.p.s->timeout *= 100;
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_CMDQ_STUCK, 0);
	r.nb_waiting = 0;
	assert_int_equal(r.p.ops->stop(r.p.s), 0);
	smmuv3_model_dma_reset(r.fns[0]);
	assert_int_equal(r.p.ops->start(r.p.s), 0);
	pri_on(&r);
	pmd_step(&r.p);
	while (smmuv3_model_dma_poll(r.fns[0], &(struct smmuv3_model_done){ 0 }, 1) > 0)
		;
	teardown(&r);
}

/* What cannot be held waits in the backlog, and nobody behind it for that. */
static void
test_an_answer_that_cannot_be_held_is_not_lost(void **state)
{
	const struct smmuv3_cmd atc = smmuv3_cmd_atc_inv(PMD_SID, false, 0, false, 0,
			SMMUV3_ATC_SIZE_ALL);
	struct pri r;

	(void)state;
	for (unsigned int k = 0; k < 3; k++) {
		setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = k },
			&(struct fns){ .prg_indices = 512, .credits = 40 });
		r.p.s->cmdq.max_held = 3;
		take_groups(&r, 40);
		recovery_begins(&r);
		send_answers(&r, 20);
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &(struct smmuv3_cmd){
			.dw = { SMMUV3_OP_SYNC } }, 1, NULL), 0);
		send_answers(&r, 20);
		assert_int_equal(pmd_stat(&r.p, "answers_held"), 3);
		/* Ignored now, so it waits; for us, who do not check: but not for ever. */
		r.p.s->timeout /= 100;
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &atc, 1, NULL), -ETIMEDOUT);
		r.p.s->timeout *= 100;
		recovery_ends(&r, 40);
		assert_int_equal(smmuv3_cmdq_sync(&r.p.s->cmdq, &atc, 1, NULL), 0);
		teardown(&r);
	}
}

static void
test_a_refused_answer_ends_no_stalls(void **state)
{
	/* Resp = 3. */
	const struct smmuv3_cmd illegal = smmuv3_cmd_pri_resp(PMD_SID, false, 0, 0, 3);
	struct pri r;

	(void)state;
	setup(&r);
	r.p.untidy = true;
	smmuv3_cmdq_post(&r.p.s->cmdq, &illegal, 1);
	pmd_step(&r.p);
	check(&r, 40);
	assert_int_equal(pmd_stat(&r.p, "cerror_ill"), 1);
	assert_int_equal(pmd_stat(&r.p, "resets"), 0);
	ask(&r, 0, PMD_VA, 1);
	serve_all(&r);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
	teardown(&r);
}

/* Sent before the stop, which would make the SMMU ignore them. */
static void
test_answers_are_consumed_before_a_stop(void **state)
{
	unsigned int i;
	struct pri r;

	(void)state;
	setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 4, .cmdq_log2 = 1 }, NULL);
	for (i = 0; i < 9; i++)
		ask(&r, i % NB_FNS, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	serve(&r, 32);
	/* One that nobody reads. */
	ask(&r, 0, PMD_VA + 30 * PAGE, 1);
	pmd_step(&r.p);
	assert_int_equal(smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD), 10);
	send_answers(&r, 9);
	assert_int_equal(r.p.ops->stop(r.p.s), 0);
	assert_int_equal(model_stat(&r, SMMUV3_MODEL_STAT_PRI_RESPS), 9);
	assert_int_equal(pmd_stat(&r.p, "answers_dropped"), 0);
	/* Translation Requests were refused since; what it asked is over. */
	pmd_step(&r.p);
	smmuv3_model_dma_reset(r.fns[0]);
	assert_int_equal(r.p.ops->start(r.p.s), 0);
	r.p.ops->poll(r.p.s, 0, &(struct iopf_event){ 0 }, 1);
	for (i = 0; i < NB_FNS; i++)
		while (smmuv3_model_dma_poll(r.fns[i], &(struct smmuv3_model_done){ 0 }, 1) > 0)
			;
	/* Nothing of before is in the queue, and it works. */
	for (i = 0; i < 16; i++)
		assert_int_equal(((struct smmuv3_ppr *)r.p.s->priq.q.ring)[i].dw[0], 0);
	pri_on(&r);
	ask(&r, 0, PMD_VA + 20 * PAGE, 1);
	serve_all(&r);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
	assert_int_equal(r.bad + r.lost, 0);
	teardown(&r);
}

static void
test_an_idle_queue_wakes_up(void **state)
{
	struct pri r;
	unsigned int i, k;

	(void)state;
	setup(&r);
	for (i = 0; i < 200; i++) {
		for (k = 0; k < i; k++)
			assert_int_equal(serve(&r, 4), 0);
		if (i > 0)
			assert_int_equal(smmuv3_load_word(&r.p.s->words->priq.v), 0);
		ask(&r, 0, PMD_VA + i * PAGE, 1);
		for (k = 0; k < 100 && r.nb_waiting == 0; k++) {
			smmuv3_model_step(r.p.m, 1);
			serve(&r, 4);
		}
		assert_int_equal(r.nb_waiting, 1);
		send_answers(&r, 1);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
	}
	assert_int_equal(pmd_stat(&r.p, "missed_priq_msis"), 0);
	/* One that is lost is made up for. */
	serve(&r, 4);
	serve(&r, 4);
	smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_MSI_ABORT, 1);
	ask(&r, 0, PMD_VA + i * PAGE, 1);
	pmd_step(&r.p);
	for (k = 0; k < 64 && serve(&r, 4) == 0; k++)
		;
	assert_true(k < 64);
	send_answers(&r, 1);
	for (k = 0; k < 200; k++)
		assert_int_equal(serve(&r, 4), 0);
	assert_int_equal(pmd_stat(&r.p, "missed_priq_msis"), 1);
	check(&r, 17);
	assert_int_equal(pmd_stat(&r.p, "msi_aborts"), 1);
	assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
	teardown(&r);
}

static bool
rang(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n);
}

static void
test_a_request_wakes_the_sleeper(void **state)
{
	struct pri r;
	int fd;

	(void)state;
	for (unsigned int kind = 0; kind < 4; kind++) {
		bool level = kind & 2;

		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 1, .ack_delay = 2,
			.no_features = kind & 1 ? 0 : SMMUV3_MODEL_NO_MSI,
			.harsh = level ? SMMUV3_MODEL_HARSH_LEVEL_IRQ : 0 }, NULL);
		for (unsigned int i = 0; i < 3; i++) {
			ask(&r, 0, PMD_VA + (4 * i) * PAGE, 1);
			serve_all(&r);
			assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
			assert_false(rang(fd));
			assert_int_equal(r.p.ops->idle(r.p.s, fd), 0);
			pmd_step(&r.p);
			assert_false(rang(fd));
			ask(&r, 0, PMD_VA + (4 * i + 1) * PAGE, 1);
			pmd_step(&r.p);
			assert_true(rang(fd));
			/* There is something: no sleep. */
			assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
			assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
			/* A level that was unmasked while it was high has rung once more. */
			if (level)
				rang(fd);
			assert_int_equal(serve(&r, 4), 1);
			send_answers(&r, 1);
			pmd_step(&r.p);
			assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 1);
		}
		/* An overflow that is not acknowledged rings no more: it forbids to sleep. */
		for (unsigned int i = 0; i < 3; i++)
			ask(&r, 0, PMD_VA + (32 + i) * PAGE, 1);
		for (unsigned int i = 0; i < 20; i++)
			smmuv3_model_step(r.p.m, 4);
		assert_true(unacknowledged(&r));
		serve(&r, 1);
		serve(&r, 1);
		assert_true(unacknowledged(&r));
		assert_int_equal(smmuv3_q_pos(1, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_PROD)),
				smmuv3_q_pos(1, smmuv3_read32(r.p.s->regs, SMMUV3_PRIQ_CONS)));
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		serve_all(&r);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 3);
		/* And so does a loss that was not told. */
		smmuv3_model_knob(r.p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		ask(&r, 0, PMD_VA + 40 * PAGE, 1);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_ABORTED), 1);
		check(&r, 17);
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 1);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		r.lost = 0;
		serve_all(&r);
		assert_int_equal(r.lost, 1);
		assert_int_equal(r.p.ops->idle(r.p.s, fd), 0);
		assert_int_equal(r.p.ops->idle(r.p.s, -1), 0);
		teardown(&r);
		close(fd);
	}
}

static void
test_a_mark_is_passed_when_what_is_before_it_was_returned(void **state)
{
	struct iopf_event e[8];
	uint64_t mark, empty;
	struct pri r;
	unsigned int i;

	(void)state;
	setup_conf(&r, &(struct smmuv3_model_conf){ .priq_log2 = 3 }, NULL);
	for (unsigned int round = 0; round < 50; round++) {
		empty = r.p.ops->queue_mark(r.p.s, 1);
		assert_true(r.p.ops->queue_passed(r.p.s, 1, empty));
		for (i = 0; i < 5; i++)
			ask(&r, i % NB_FNS, PMD_VA + (round * 8 + i) * PAGE, 1);
		pmd_step(&r.p);
		mark = r.p.ops->queue_mark(r.p.s, 1);
		assert_int_equal(mark, empty + 5);
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e, 3), 3);
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 3, 5), 2);
		/* Returned to the caller, who may not have looked at it yet. */
		assert_false(r.p.ops->queue_passed(r.p.s, 1, mark));
		assert_int_equal(r.p.ops->poll(r.p.s, 1, e + 5, 3), 0);
		assert_true(r.p.ops->queue_passed(r.p.s, 1, mark));
		for (i = 0; i < 5; i++)
			take(&r, &e[i]);
		send_answers(&r, 5);
		pmd_step(&r.p);
		assert_int_equal(ended(&r, SMMUV3_MODEL_OK), 5);
	}
	/* The event queue's are its own. */
	mark = r.p.ops->queue_mark(r.p.s, 0);
	assert_true(r.p.ops->queue_passed(r.p.s, 0, mark));
	teardown(&r);
}

/* A poller that also checks, somebody else who answers, the model's thread, and us. */
struct crew {
	struct pri r;
	pthread_mutex_t lock;
	struct iopf_answer todo[1024];
	unsigned int nb_todo;
	_Atomic bool stop;
};

static void *
poller(void *arg)
{
	struct crew *c = arg;
	struct iopf_event events[8];
	struct pri *r = &c->r;

	while (!atomic_load(&c->stop)) {
		unsigned int n = serve(r, 8);

		r->p.ops->poll(r->p.s, IOPF_QUEUE_EVENTS, events, 8);
		r->p.ops->check(r->p.s);
		if (r->nb_waiting > 0) {
			pthread_mutex_lock(&c->lock);
			assert_true(c->nb_todo + r->nb_waiting <= RTE_DIM(c->todo));
			memcpy(&c->todo[c->nb_todo], r->waiting,
					r->nb_waiting * sizeof(c->todo[0]));
			c->nb_todo += r->nb_waiting;
			pthread_mutex_unlock(&c->lock);
			r->nb_waiting = 0;
		}
		if (n == 0)
			sched_yield();
	}
	return NULL;
}

static void *
answerer(void *arg)
{
	struct iopf_answer mine[1024];
	struct crew *c = arg;
	unsigned int n;

	while (!atomic_load(&c->stop)) {
		pthread_mutex_lock(&c->lock);
		n = c->nb_todo;
		memcpy(mine, c->todo, n * sizeof(mine[0]));
		c->nb_todo = 0;
		pthread_mutex_unlock(&c->lock);
		if (n > 0)
			c->r.p.ops->answer(c->r.p.s, mine, n);
		sched_yield();
	}
	return NULL;
}

/* Ends are taken; false after ten seconds without one. */
static bool
all_end(struct crew *c, unsigned int left)
{
	struct smmuv3_model_dma *of[] = { c->r.fns[0], c->r.fns[1], c->r.fns[2], c->r.p.dma };
	struct smmuv3_model_done done;
	time_t end = time(NULL) + 10;

	while (left > 0 && time(NULL) < end) {
		for (unsigned int i = 0; i < RTE_DIM(of); i++)
			while (smmuv3_model_dma_poll(of[i], &done, 1) == 1)
				left--;
		sched_yield();
	}
	return left == 0;
}

/* Events and requests that cannot be written, at any moment: no answer is lost. */
static void
test_recovery_loses_no_answer_of_another_thread(void **state)
{
	static struct crew c;
	struct pri *r = &c.r;
	static uint8_t buf[4];
	pthread_t threads[2];
	unsigned int seed = 3, rounds = 150 * test_scale(), va = 0;
	uint64_t groups;

	(void)state;
	memset(&c, 0, sizeof(c));
	pthread_mutex_init(&c.lock, NULL);
	setup_conf(r, &(struct smmuv3_model_conf){ .priq_log2 = 3, .cmdq_log2 = 3,
		.ack_delay = 5 }, &(struct fns){ .group_pages = 3, .credits = 6 });
	assert_int_equal(smmuv3_model_start(r->p.m, -1), 0);
	assert_int_equal(pthread_create(&threads[0], NULL, poller, &c), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, answerer, &c), 0);
	for (unsigned int round = 0; round < rounds; round++) {
		unsigned int n = 0, kind = (unsigned int)rand_r(&seed) % 4;
		const char *counter = kind == 0 ? "resets" : "priq_aborts";
		uint64_t count = pmd_stat(&r->p, counter);
		time_t end = time(NULL) + 10;

		if (kind == 1)
			smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_PRIQ_ABORT, 1);
		for (unsigned int i = 0; i < 6; i++, n++, va = (va + 8) % 16384)
			ask(r, i % NB_FNS, PMD_VA + (uint64_t)va * PAGE,
					1 + (unsigned int)rand_r(&seed) % 6);
		if (kind == 0) {
			smmuv3_model_knob(r->p.m, SMMUV3_MODEL_KNOB_EVTQ_ABORT, 1);
			pmd_write(&r->p, PMD_VA + (UINT64_C(1) << 40), buf, sizeof(buf));
			n++;
		}
		assert_true(all_end(&c, n));
		/* The next ones would be refused while the SMMU is off: none would be aborted. */
		while (kind < 2 && (pmd_stat(&r->p, counter) == count || !smmuen(r))) {
			assert_true(time(NULL) < end);
			sched_yield();
		}
		if (!smmuv3_model_dma_pri_failed(r->fns[0]))
			continue;
		assert_int_equal(smmuv3_model_dma_pri_disable(r->fns[0]), 0);
		while (!smmuv3_model_dma_pri_drained(r->fns[0])) {
			assert_true(time(NULL) < end);
			sched_yield();
		}
		assert_int_equal(smmuv3_model_dma_pri_enable(r->fns[0], r->credits), 0);
	}
	atomic_store(&c.stop, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	assert_int_equal(smmuv3_model_stop(r->p.m), 0);
	assert_int_equal(c.nb_todo, 0);
	groups = r->groups;
	assert_int_equal(model_stat(r, SMMUV3_MODEL_STAT_PRI_RESPS), groups);
	assert_true(pmd_stat(&r->p, "resets") > 5 && pmd_stat(&r->p, "priq_aborts") > 5);
	assert_int_equal(pmd_stat(&r->p, "backlog_lost"), 0);
	print_message("  %u groups, %u resets, %u answers held\n", (unsigned int)groups,
			(unsigned int)pmd_stat(&r->p, "resets"),
			(unsigned int)pmd_stat(&r->p, "answers_held"));
	/* A recovery may be half-way. */
	for (unsigned int i = 0; i < 100; i++) {
		r->p.ops->check(r->p.s);
		pmd_step(&r->p);
	}
	teardown(r);
	pthread_mutex_destroy(&c.lock);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_a_group_is_asked_for_and_answered),
	cmocka_unit_test(test_the_queue_is_there_when_the_smmu_has_one),
	cmocka_unit_test(test_the_queue_has_the_size_that_was_asked_for),
	cmocka_unit_test(test_every_group_is_answered_once_whatever_overflows),
	cmocka_unit_test(test_nothing_is_accepted_before_the_marker_is_told),
	cmocka_unit_test(test_stop_marker_and_request_for_nothing),
	cmocka_unit_test(test_an_aborted_write_loses_requests_and_the_queue_goes_on),
	cmocka_unit_test(test_a_second_abort_waits_for_the_first_to_be_told),
	cmocka_unit_test(test_aborts_are_said_once_per_start),
	cmocka_unit_test(test_a_request_lost_in_the_middle_of_a_burst),
	cmocka_unit_test(test_answers_are_held_back_while_the_smmu_is_off),
	cmocka_unit_test(test_the_smmu_stays_on_until_answers_are_consumed),
	cmocka_unit_test(test_all_answers_that_there_can_be_are_held_back),
	cmocka_unit_test(test_no_requests_are_taken_while_answers_are_held_back),
	cmocka_unit_test(test_requests_are_taken_when_a_recovery_fails),
	cmocka_unit_test(test_an_answer_that_cannot_be_held_is_not_lost),
	cmocka_unit_test(test_recovery_loses_no_answer_of_another_thread),
	cmocka_unit_test(test_a_refused_answer_ends_no_stalls),
	cmocka_unit_test(test_answers_are_consumed_before_a_stop),
	cmocka_unit_test(test_an_idle_queue_wakes_up),
	cmocka_unit_test(test_a_request_wakes_the_sleeper),
	cmocka_unit_test(test_a_mark_is_passed_when_what_is_before_it_was_returned),
};

TEST_SUITE(pmd_requests, tests, NULL, NULL);
