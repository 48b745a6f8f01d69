/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* The model with a thread: another thread serves faults, a third one makes control calls. */

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "model_rig.h"
#include "test.h"

#define VA	UINT64_C(0x100000000)
#define PAGES	512u

struct served {
	struct rig r;
	uint64_t *pte[PAGES];
	atomic_bool quit;
	unsigned int served;
};

static void
ring(struct rig *r)
{
	rig_ring(r);
	while (smmuv3_q_space(r->cmdq_log2, r->cmd_prod,
			smmuv3_load_status(r->regs, SMMUV3_CMDQ_CONS)) < 64)
		smmuv3_model_wait(r->m);
}

/* Map each page that faults. */
static void *
serve(void *arg)
{
	struct served *s = arg;
	struct rig *r = &s->r;

	while (!atomic_load_explicit(&s->quit, memory_order_relaxed)) {
		uint32_t prod = smmuv3_load_prod(r->regs, SMMUV3_EVENTQ_PROD);
		unsigned int n = smmuv3_q_count(r->evtq_log2, prod, r->evt_cons);

		if (n > 32)
			n = 32;
		for (unsigned int i = 0; i < n; i++) {
			const struct smmuv3_evt *e = &r->evtq[smmuv3_q_slot(r->evtq_log2,
					r->evt_cons)];
			uint64_t page = (e->dw[2] - VA) >> 12;
			bool known = page < PAGES;

			if (known)
				smmuv3_set_dw(s->pte[page], (RIG_DATA + page * 4096) | RIG_RW | 3);
			r->cmdq[smmuv3_q_slot(r->cmdq_log2, r->cmd_prod)] = smmuv3_cmd_resume(
					(uint32_t)(e->dw[0] >> 32), (uint16_t)e->dw[1], known,
					true);
			r->cmd_prod = smmuv3_q_add(r->cmdq_log2, r->cmd_prod, 1);
			r->evt_cons = smmuv3_q_add(r->evtq_log2, r->evt_cons, 1);
			s->served++;
		}
		if (n == 0) {
			smmuv3_model_wait(r->m);
			continue;
		}
		smmuv3_store_cons(r->regs, SMMUV3_EVENTQ_CONS, r->evt_cons);
		ring(r);
	}
	return NULL;
}

static void
start(struct served *s, pthread_t *thread, const struct smmuv3_model_conf *conf)
{
	memset(s, 0, sizeof(*s));
	rig_open(&s->r, conf);
	rig_start(&s->r);
	rig_set_s1(&s->r, 0);
	for (unsigned int i = 0; i < PAGES; i++)
		s->pte[i] = rig_get_pte(&s->r, s->r.ttb0, VA + i * 4096);
	assert_int_equal(smmuv3_model_start(s->r.m, -1), 0);
	assert_int_equal(pthread_create(thread, NULL, serve, s), 0);
}

static void
finish(struct served *s, pthread_t thread)
{
	atomic_store(&s->quit, true);
	pthread_join(thread, NULL);
	assert_int_equal(smmuv3_model_stop(s->r.m), 0);
	rig_close(&s->r);
}

static void
test_thread_starts_and_stops(void **state)
{
	struct smmuv3_model *m = smmuv3_model_create(NULL);

	(void)state;
	assert_int_equal(smmuv3_model_stop(m), -EINVAL);
	assert_int_equal(smmuv3_model_start(m, -1), 0);
	assert_int_equal(smmuv3_model_start(m, -1), -EBUSY);
	assert_int_equal(smmuv3_model_stop(m), 0);
	assert_int_equal(smmuv3_model_start(m, 100000), -EINVAL);
	assert_int_equal(smmuv3_model_start(m, 0), 0);
	smmuv3_model_destroy(m);
}

static void
check_faults_are_served(uint32_t choices, uint32_t harsh)
{
	static struct served s;
	static uint8_t out[PAGES * 4096], in[PAGES * 4096];
	struct smmuv3_model_dma *dma;
	pthread_t thread;

	start(&s, &thread, &(struct smmuv3_model_conf){ .choices = choices, .harsh = harsh });
	dma = rig_add_dma(&s.r, RIG_SID, -1);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + (i >> 12));
	/* Many at once, each of several pages. */
	for (unsigned int i = 0; i < 32; i++)
		rig_submit(&s.r, dma, SMMUV3_MODEL_WRITE, VA + i * sizeof(out) / 32,
				out + i * sizeof(out) / 32, sizeof(out) / 32);
	for (unsigned int n = 0; n < 32; n += smmuv3_model_dma_poll(dma, s.r.done, 64))
		smmuv3_model_wait(s.r.m);
	assert_memory_equal(s.r.data, out, sizeof(out));
	assert_int_equal(smmuv3_model_dma_read(dma, in, VA, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(in));
	assert_int_equal(smmuv3_model_dma_copy(dma, VA + 5, VA + 100 * 4096, 50 * 4096), 0);
	assert_memory_equal(s.r.data + 5, out + 100 * 4096, 50 * 4096);
	/* Beyond the pages that the servicer maps. */
	assert_int_equal(smmuv3_model_dma_write(dma, VA + PAGES * 4096, out, 8), -EFAULT);
	if (!(choices & SMMUV3_MODEL_SUPPRESS_DUP))
		assert_true(smmuv3_model_stat(s.r.m, SMMUV3_MODEL_STAT_STALLS) >= PAGES);
	smmuv3_model_dma_destroy(dma);
	finish(&s, thread);
}

static void
test_thread_faults_are_served(void **state)
{
	(void)state;
	check_faults_are_served(0, 0);
}

static void
test_thread_faults_are_served_whatever_the_choices(void **state)
{
	(void)state;
	check_faults_are_served(SMMUV3_MODEL_RETRY_HELD | SMMUV3_MODEL_EARLY_RETRY |
			SMMUV3_MODEL_SUPPRESS_DUP | SMMUV3_MODEL_TORN_FETCH |
			SMMUV3_MODEL_STICKY_TLB, 0);
}

static void
test_thread_faults_are_served_by_a_harsh_model(void **state)
{
	(void)state;
	check_faults_are_served(SMMUV3_MODEL_RETRY_HELD | SMMUV3_MODEL_STICKY_TLB,
			SMMUV3_MODEL_HARSH_ALL);
}

struct echo {
	unsigned int left;
	_Atomic unsigned int seen;
	uint64_t next;
	uint8_t buf[64];
};

static void
echo_done(struct smmuv3_model_dma *dma, const struct smmuv3_model_done *done, void *ctx)
{
	struct echo *c = ctx;

	if (done->status == SMMUV3_MODEL_OK)
		atomic_fetch_add(&c->seen, 1);
	if (c->left == 0)
		return;
	c->left--;
	smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){ .type = SMMUV3_MODEL_READ,
			.addr = VA + c->next++ % PAGES * 4096, .buf = c->buf, .len = 64 });
}

/* The submitting thread and on_done() both submit. */
static void
test_thread_on_done_and_a_submitter_at_once(void **state)
{
	struct echo c = { .left = 20000 };
	static struct served s;
	struct smmuv3_model_dma *dma;
	pthread_t thread;
	unsigned int sent = 0;

	(void)state;
	start(&s, &thread, NULL);
	dma = smmuv3_model_dma_create(s.r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.depth = 64, .on_done = echo_done, .ctx = &c });
	while (sent < 1000) {
		if (smmuv3_model_dma_submit(dma, &(struct smmuv3_model_op){
				.type = SMMUV3_MODEL_READ, .addr = VA + sent % PAGES * 4096,
				.buf = c.buf, .len = 64 }) == 0)
			sent++;
		else
			smmuv3_model_wait(s.r.m);
	}
	while (smmuv3_model_dma_outstanding(dma) != 0)
		smmuv3_model_wait(s.r.m);
	assert_true(atomic_load(&c.seen) >= 1000);
	smmuv3_model_dma_destroy(dma);
	finish(&s, thread);
}

static void
test_thread_control_calls_while_it_is_busy(void **state)
{
	struct echo c = { .left = UINT32_MAX };
	static struct served s;
	static uint8_t more[4096];
	struct smmuv3_model_dma *busy;
	pthread_t thread;
	uint8_t in[8];

	(void)state;
	start(&s, &thread, NULL);
	busy = smmuv3_model_dma_create(s.r.m, &(struct smmuv3_model_dma_conf){ .sid = RIG_SID,
			.depth = 8, .on_done = echo_done, .ctx = &c });
	for (int i = 0; i < 8; i++)
		smmuv3_model_dma_submit(busy, &(struct smmuv3_model_op){
			.type = SMMUV3_MODEL_READ, .addr = VA, .buf = c.buf, .len = 64 });
	for (int i = 0; i < 300; i++) {
		struct smmuv3_model_dma *dma;

		assert_int_equal(smmuv3_model_mem_add(s.r.m, 0x1000, more, sizeof(more)), 0);
		dma = rig_add_dma(&s.r, RIG_SID, -1);
		assert_int_equal(smmuv3_model_dma_read(dma, in, VA + 4096 * (i % 16), 8), 0);
		smmuv3_model_dma_destroy(dma);
		/* No thread uses the window any more. */
		assert_int_equal(smmuv3_model_mem_del(s.r.m, 0x1000), 0);
		memset(more, i, sizeof(more));
	}
	/* SMMUEN = 0 ends the chain: GBPA decides the next DMA of on_done() at once. */
	atomic_store(&s.quit, true);
	pthread_join(thread, NULL);
	assert_int_equal(smmuv3_model_stop(s.r.m), 0);
	c.left = 0;
	rig_write(&s.r, SMMUV3_GBPA, (uint32_t)(SMMUV3_GBPA_UPDATE | SMMUV3_GBPA_ABORT));
	rig_run(&s.r);
	rig_set_cr0(&s.r, 0);
	smmuv3_model_dma_destroy(busy);
	rig_close(&s.r);
}

static void
test_thread_wait_steps_a_model_without_a_thread(void **state)
{
	struct smmuv3_model_dma *dma;
	uint8_t in[8];
	struct rig r;

	(void)state;
	rig_open(&r, NULL);
	rig_start(&r);
	rig_set_s1(&r, 0);
	rig_map(&r, VA, RIG_DATA, RIG_RW);
	dma = rig_add_dma(&r, RIG_SID, -1);
	r.data[1] = 7;
	assert_int_equal(smmuv3_model_dma_read(dma, in, VA, 8), 0);
	assert_int_equal(in[1], 7);
	smmuv3_model_dma_destroy(dma);
	rig_close(&r);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(test_thread_starts_and_stops),
	cmocka_unit_test(test_thread_faults_are_served),
	cmocka_unit_test(test_thread_faults_are_served_whatever_the_choices),
	cmocka_unit_test(test_thread_faults_are_served_by_a_harsh_model),
	cmocka_unit_test(test_thread_on_done_and_a_submitter_at_once),
	cmocka_unit_test(test_thread_control_calls_while_it_is_busy),
	cmocka_unit_test(test_thread_wait_steps_a_model_without_a_thread),
};

TEST_SUITE(model_thread, tests, NULL, NULL);
