/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * iopf_domain_set_handler(): a handler runs with its own context only; when the call returns, the
 * former handlers do not run and are not called; no fault is lost.
 */

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "iopf_handler.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "prg_rig.h"
#include "test.h"

/* A context. It is dead after the call that replaces it has returned. */
struct context {
	_Atomic unsigned int fast, deferred;
	_Atomic unsigned int wrong;	/* calls of another context's handler, or after the end */
	_Atomic bool dead;
	_Atomic bool hold;		/* its handlers wait while set */
	_Atomic unsigned int inside;
	enum iopf_verdict verdict;
};

static struct context a, b;

static void
enter(struct context *own, const void *ctx)
{
	if (ctx != own || own->dead)
		own->wrong++;
	own->inside++;
	while (own->hold)
		usleep(50);
}

static void
leave(struct context *own)
{
	if (own->dead)
		own->wrong++;
	own->inside--;
}

#define HANDLERS(name)									\
	static enum iopf_verdict							\
	name ## _fast(struct iopf_domain *domain, const struct iopf_group *group,	\
			void *ctx)							\
	{										\
		(void)domain;								\
		one.last_id = group->id;					\
		if (name.verdict != IOPF_DEFER)						\
			enter(&name, ctx);						\
		name.fast++;								\
		if (name.verdict != IOPF_DEFER)						\
			leave(&name);							\
		return name.verdict;							\
	}										\
	static enum iopf_verdict							\
	name ## _deferred(struct iopf_domain *domain, const struct iopf_group *group,	\
			void *ctx)							\
	{										\
		(void)domain;								\
		(void)group;								\
		enter(&name, ctx);							\
		name.deferred++;							\
		leave(&name);								\
		return IOPF_ANSWER(IOPF_SUCCESS);					\
	}

HANDLERS(a)
HANDLERS(b)

static int
setup(void **state)
{
	one_setup(state);
	a = (struct context){ .verdict = IOPF_ANSWER(IOPF_SUCCESS) };
	b = (struct context){ .verdict = IOPF_ANSWER(IOPF_SUCCESS) };
	return iopf_domain_set_handler(one.domain, a_fast, a_deferred, &a);
}

static int
teardown(void **state)
{
	a.hold = b.hold = false;
	assert_int_equal(0, a.wrong + b.wrong);
	return one_teardown(state);
}

static void
await(_Atomic unsigned int *what, unsigned int n)
{
	for (unsigned int i = 0; i < 200000 && *what < n; i++)
		usleep(50);
	assert_int_equal(n, *what);
}

/* The change on a thread of its own. */
static pthread_t changer;
static _Atomic bool changed;

static void *
change_main(void *arg)
{
	int ret = iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b);

	(void)arg;
	a.dead = true;
	changed = true;
	return ret == 0 ? &changer : NULL;
}

/* Returns when the new handlers are in force: on a busy machine that takes time. */
static void
change_begin(void)
{
	changed = false;
	pthread_create(&changer, NULL, change_main, NULL);
	for (unsigned int i = 0; i < 200000 && iopf_domain_ctx(one.domain) != &b; i++)
		usleep(50);
	assert_ptr_equal(&b, iopf_domain_ctx(one.domain));
}

static void
change_end(void)
{
	void *ok;

	pthread_join(changer, &ok);
	assert_non_null(ok);
}

static void
the_next_fault_gets_the_new_handler_with_its_context(void **state)
{
	(void)state;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	assert_int_equal(1, a.fast);
	assert_ptr_equal(&a, iopf_domain_ctx(one.domain));
	assert_int_equal(0, iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b));
	a.dead = true;
	assert_ptr_equal(&b, iopf_domain_ctx(one.domain));
	one_put_stall(2, 0);
	iopf_poll(one.poller);
	b.verdict = IOPF_DEFER;
	one_put_stall(3, 0);
	one_await_answers(3);
	assert_int_equal(1, a.fast);
	assert_int_equal(2, b.fast);
	assert_int_equal(1, b.deferred);
	/* The same again changes nothing; back again. */
	assert_int_equal(0, iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b));
	a.dead = false;
	assert_int_equal(0, iopf_domain_set_handler(one.domain, a_fast, a_deferred, &a));
	one_put_stall(4, 0);
	iopf_poll(one.poller);
	assert_int_equal(2, a.fast);
	/* Without a fast handler all faults are deferred. */
	assert_int_equal(0, iopf_domain_set_handler(one.domain, NULL, a_deferred, &a));
	one_put_stall(5, 0);
	one_await_answers(5);
	assert_int_equal(1, a.deferred);
}

static void *
poll_once(void *arg)
{
	iopf_poll(arg);
	return NULL;
}

static void
it_waits_for_a_fast_handler_that_runs(void **state)
{
	pthread_t poller;

	(void)state;
	a.hold = true;
	one_put_stall(1, 0);
	pthread_create(&poller, NULL, poll_once, one.poller);
	await(&a.inside, 1);
	change_begin();
	usleep(2000);
	assert_false(changed);
	a.hold = false;
	change_end();
	assert_int_equal(0, a.inside);
	pthread_join(poller, NULL);
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_SUCCESS, hw.out[0].answer.code);
}

/* The group that the ring has goes to the new handler. */
static void
it_waits_for_a_deferred_handler_that_runs(void **state)
{
	(void)state;
	a.hold = true;
	a.verdict = IOPF_DEFER;
	one_put_stall(1, 0);
	one_put_stall(2, 0);
	iopf_poll(one.poller);
	await(&a.inside, 1);
	change_begin();
	usleep(2000);
	assert_false(changed);
	a.hold = false;
	change_end();
	one_await_answers(2);
	assert_int_equal(1, a.deferred);
	assert_int_equal(1, b.deferred);
}

static void
a_taken_group_stays_taken(void **state)
{
	uint64_t id;

	(void)state;
	a.verdict = IOPF_TAKEN;
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	id = one.last_id;
	assert_int_equal(0, iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b));
	a.dead = true;
	assert_int_equal(1, iopf_domain_pending(one.domain));
	/* A worker thread continues with the new handler. */
	assert_int_equal(0, iopf_group_defer(id));
	one_await_answers(1);
	assert_int_equal(1, b.deferred);
}

static enum iopf_verdict
change_inside(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)group;
	(void)ctx;
	assert_int_equal(-EDEADLK, iopf_domain_set_handler(domain, a_fast, a_deferred, &a));
	/* The third call is that of the deferred handler. */
	return ++a.fast < 3 ? a.verdict : IOPF_ANSWER(IOPF_SUCCESS);
}

static void
a_wrong_call_is_refused_with_a_line(void **state)
{
	struct iopf_domain *plain = iopf_domain_create(&(struct iopf_domain_conf){
			.name = "plain", .handler = b_fast, .ctx = &b });

	(void)state;
	SAYS("it has a worker, and needs a deferred handler",
		assert_int_equal(-EINVAL, iopf_domain_set_handler(one.domain, a_fast, NULL, &a)));
	SAYS("plain: iopf_domain_set_handler(): it was created without a worker",
		assert_int_equal(-EINVAL, iopf_domain_set_handler(plain, a_fast, a_deferred, &a)));
	SAYS("it needs a handler",
		assert_int_equal(-EINVAL, iopf_domain_set_handler(plain, NULL, NULL, &a)));
	assert_int_equal(0, iopf_domain_destroy(plain));
	assert_int_equal(0, iopf_domain_set_handler(one.domain, change_inside, change_inside, &a));
	one_put_stall(1, 0);
	iopf_poll(one.poller);
	a.verdict = IOPF_DEFER;
	one_put_stall(2, 0);
	iopf_poll(one.poller);
	await(&a.fast, 3);
	a.verdict = IOPF_ANSWER(IOPF_SUCCESS);
}

static void *lost_ctx;

static void
on_lost(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	lost_ctx = ctx;
}

/* The callback itself stays. */
static void
lost_gets_the_new_context(void **state)
{
	struct iopf_domain *domain = iopf_domain_create(&(struct iopf_domain_conf){
			.handler = prg_fast, .lost = on_lost, .ctx = &a });

	(void)state;
	assert_int_equal(0, iopf_domain_attach(domain, prg.dev, 3));
	for (unsigned int i = 0; i < 2; i++) {
		struct context *ctx = i == 0 ? &a : &b;

		/* Also for a group that has begun before. */
		prg_put(SID, 3, 1, 0x1000, 0);
		prg_poll_all();
		assert_int_equal(0, iopf_domain_set_handler(domain, prg_fast, NULL, ctx));
		prg_put_mark(SID, 3, IOPF_EVENT_LOST);
		prg_poll_all();
		assert_ptr_equal(ctx, lost_ctx);
	}
	assert_int_equal(0, iopf_domain_detach(domain, prg.dev, 3));
	assert_int_equal(0, iopf_domain_destroy(domain));
}

/* Handlers are replaced all the time: none runs with another's context, and no fault is lost. */
static _Atomic bool poll_end;

static void *
poll_main(void *arg)
{
	while (!poll_end)
		iopf_poll(arg);
	return NULL;
}

static void
handlers_are_replaced_during_faults(void **state)
{
	pthread_t poller;

	(void)state;
	poll_end = false;
	b.verdict = IOPF_DEFER;
	pthread_create(&poller, NULL, poll_main, one.poller);
	for (unsigned int i = 0; i < 200 * test_scale(); i++) {
		struct context *old = i % 2 == 0 ? &a : &b, *new = i % 2 == 0 ? &b : &a;

		one_put_stall(0, 0);
		one_put_stall(1, 0);
		new->dead = false;
		assert_int_equal(0, new == &a ?
			iopf_domain_set_handler(one.domain, a_fast, a_deferred, &a) :
			iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b));
		old->dead = true;
		await(&hw.nb_out, 2 * i + 2);
	}
	poll_end = true;
	pthread_join(poller, NULL);
	one_await_counts();
	a.dead = b.dead = false;
}

static _Atomic bool read_end;
static _Atomic unsigned int nb_read;

static void *
read_contexts(void *arg)
{
	while (!atomic_load_explicit(&read_end, memory_order_relaxed)) {
		void *ctx = iopf_domain_ctx(arg);

		if (ctx != &a && ctx != &b)
			a.wrong++;
		atomic_fetch_add_explicit(&nb_read, 1, memory_order_relaxed);
		usleep(50);
	}
	return NULL;
}

/* A build with TSan finds a read that no grace period waits for. */
static void
the_context_can_be_read_during_changes(void **state)
{
	pthread_t reader;

	(void)state;
	read_end = false;
	nb_read = 0;
	pthread_create(&reader, NULL, read_contexts, one.domain);
	for (unsigned int i = 0; i < 20; i++) {
		unsigned int n = atomic_load_explicit(&nb_read, memory_order_relaxed);

		assert_int_equal(0, i % 2 == 0 ?
			iopf_domain_set_handler(one.domain, b_fast, b_deferred, &b) :
			iopf_domain_set_handler(one.domain, a_fast, a_deferred, &a));
		while (atomic_load_explicit(&nb_read, memory_order_relaxed) == n)
			usleep(50);
	}
	read_end = true;
	pthread_join(reader, NULL);
}

#define SET_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static const struct CMUnitTest tests[] = {
	SET_TEST(the_next_fault_gets_the_new_handler_with_its_context),
	SET_TEST(it_waits_for_a_fast_handler_that_runs),
	SET_TEST(it_waits_for_a_deferred_handler_that_runs),
	SET_TEST(a_taken_group_stays_taken),
	SET_TEST(a_wrong_call_is_refused_with_a_line),
	PRG_TEST(lost_gets_the_new_context),
	SET_TEST(handlers_are_replaced_during_faults),
	SET_TEST(the_context_can_be_read_during_changes),
};

TEST_SUITE(set_handler, tests, NULL, NULL);
