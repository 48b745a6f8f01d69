/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Records and answers of the IOMMU made of arrays. */

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "array_parts.h"
#include "test.h"

bool array_slow_poll;
bool array_has_peek;

void
array_put(unsigned int queue, const struct iopf_event *ev)
{
	struct array_queue *q = &hw.q[queue];

	q->events[q->prod % QUEUE] = *ev;
	atomic_fetch_add_explicit(&q->prod, 1, memory_order_release);
}

uint16_t
array_poll(void *priv, uint16_t queue, struct iopf_event *events, uint16_t n)
{
	struct array_queue *q = &hw.q[queue];
	unsigned int cons = atomic_load_explicit(&q->cons, memory_order_relaxed);
	unsigned int prod = atomic_load_explicit(&q->prod, memory_order_acquire);
	uint16_t got = 0;

	(void)priv;
	q->polls++;
	while (got < n && cons != prod)
		events[got++] = q->events[cons++ % QUEUE];
	atomic_store_explicit(&q->cons, cons, memory_order_release);
	if (array_slow_poll && got != 0)
		usleep(2000);
	iopf_peek_set(&q->peek, got == 0 ? prod : IOPF_PEEK_POLL);
	return got;
}

const struct iopf_peek *
array_peek(void *priv, uint16_t queue)
{
	(void)priv;
	return array_has_peek ? &hw.q[queue].peek : NULL;
}

uint64_t
array_mark(void *priv, uint16_t queue)
{
	(void)priv;
	array_apply_knob(ARRAY_MARK);
	return atomic_load(&hw.q[queue].prod);
}

bool
array_passed(void *priv, uint16_t queue, uint64_t mark)
{
	(void)priv;
	return atomic_load(&hw.q[queue].cons) >= mark;
}

static void
record_answers(const struct iopf_inv *inv, unsigned int nb_inv, const struct iopf_answer *answers,
		uint16_t n)
{
	pthread_mutex_lock(&hw.lock);
	for (unsigned int i = 0; i < n; i++) {
		hw.out[hw.nb_out % QUEUE] = (struct out){
			.answer = answers[i],
			.nb_inv = nb_inv,
			.inv_addr = nb_inv != 0 ? inv[0].addr : 0,
		};
		atomic_fetch_add(&hw.nb_out, 1);
	}
	pthread_mutex_unlock(&hw.lock);
}

uint16_t
array_answer(void *priv, const struct iopf_answer *answers, uint16_t n)
{
	(void)priv;
	if (hw.on_answer != NULL)
		hw.on_answer();
	record_answers(NULL, 0, answers, n);
	return n;
}

uint16_t
array_answer_after(void *priv, void *domain, const struct iopf_inv *inv, uint16_t n_inv,
		const struct iopf_answer *answers, uint16_t n)
{
	(void)priv;
	assert_in_range(n_inv, 0, 64);
	assert_true(n_inv + n != 0);
	assert_non_null(domain);
	array_use_domain(domain);
	pthread_mutex_lock(&hw.lock);
	hw.posts++;
	hw.posted_invs += n_inv;
	pthread_mutex_unlock(&hw.lock);
	record_answers(inv, n_inv, answers, n);
	array_leave_domain(domain);
	return n;
}
