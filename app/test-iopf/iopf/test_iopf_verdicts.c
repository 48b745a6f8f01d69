/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Contract 6: a value that a handler must not return is answered INVALID, and named in a line. */

#include <errno.h>
#include <stdlib.h>

#include "iopf_handler.h"
#include "iopf_rig.h"
#include "iopf_stats.h"
#include "log_lines.h"
#include "test.h"

static void
an_unknown_verdict_is_answered_invalid(void **state)
{
	(void)state;
	one.verdict = (enum iopf_verdict)12345;
	one_put_stall(1, 0);
	SAYS("domain:", iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

/* IOPF_ANSWER() forgotten, a negative errno, and a code that does not exist. */
static void
a_verdict_that_is_none_is_named_in_a_line(void **state)
{
	(void)state;
	one.verdict = (enum iopf_verdict)IOPF_SUCCESS;
	one_put_stall(1, 0);
	SAYS(": its handler returned 0 (0), which is no verdict: return IOPF_ANSWER(code)",
		iopf_poll(one.poller));
	one.verdict = (enum iopf_verdict)-EIO;
	one_put_stall(2, 0);
	SAYS(": its handler returned -5 (0xfffffffb), which is no verdict",
		iopf_poll(one.poller));
	one.verdict = IOPF_ANSWER(99);
	one_put_stall(3, 0);
	SAYS(": its handler returned 611 (0x263), which is no verdict", iopf_poll(one.poller));
	assert_int_equal(3, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
}

/* Each fault is one line too many. */
static void
lines_of_verdicts_that_are_none_are_limited(void **state)
{
	unsigned int lines = 0;
	char *text;

	(void)state;
	one.verdict = (enum iopf_verdict)IOPF_SUCCESS;
	log_lines_begin();
	for (unsigned int i = 0; i < 200; i++) {
		one_put_stall(i, 0);
		iopf_poll(one.poller);
	}
	text = log_lines_end();
	for (const char *at = text; *at != '\0'; at++)
		lines += *at == '\n';
	free(text);
	assert_true(lines > 0 && lines < 100);
	assert_int_equal(200, iopf_domain_stat(one.domain, IOPF_STAT_INVALID));
}

static enum iopf_verdict
defer_always(struct iopf_domain *domain, const struct iopf_group *group, void *ctx)
{
	(void)domain;
	(void)group;
	(void)ctx;
	return IOPF_DEFER;
}

static void
a_defer_without_a_deferred_handler_is_named_in_a_line(void **state)
{
	struct iopf_domain *plain = iopf_domain_create(&(struct iopf_domain_conf){
			.name = "plain", .handler = defer_always });

	(void)state;
	assert_non_null(plain);
	assert_int_equal(0, iopf_domain_detach(one.domain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_attach(plain, one.dev, IOPF_NO_PASID));
	one_put_stall(1, 0);
	SAYS("plain: its handler returned IOPF_DEFER, and the domain has no deferred handler: set "
			"deferred and worker", iopf_poll(one.poller));
	assert_int_equal(1, hw.nb_out);
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
	assert_int_equal(0, iopf_domain_detach(plain, one.dev, IOPF_NO_PASID));
	assert_int_equal(0, iopf_domain_destroy(plain));
	assert_int_equal(0, iopf_domain_attach(one.domain, one.dev, IOPF_NO_PASID));
}

static void
a_deferred_handler_that_defers_gets_invalid(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_DEFER;
	one_put_stall(4, 0);
	/* The worker thread logs before it answers. */
	SAYS(": its deferred handler returned 256 (0x100): return IOPF_ANSWER(code) or IOPF_TAKEN",
		one_await_answers(1));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static void
an_unknown_deferred_verdict_is_answered_invalid(void **state)
{
	(void)state;
	one.verdict = IOPF_DEFER;
	one.deferred_verdict = IOPF_ANSWER(99);
	one_put_stall(4, 0);
	SAYS(": its deferred handler returned 611 (0x263)", one_await_answers(1));
	assert_int_equal(IOPF_INVALID, hw.out[0].answer.code);
}

static const struct CMUnitTest tests[] = {
	ONE_TEST(an_unknown_verdict_is_answered_invalid),
	ONE_TEST(a_verdict_that_is_none_is_named_in_a_line),
	ONE_TEST(lines_of_verdicts_that_are_none_are_limited),
	ONE_TEST(a_defer_without_a_deferred_handler_is_named_in_a_line),
	ONE_TEST(a_deferred_handler_that_defers_gets_invalid),
	ONE_TEST(an_unknown_deferred_verdict_is_answered_invalid),
};

TEST_SUITE(iopf_verdicts, tests, NULL, NULL);
