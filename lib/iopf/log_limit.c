/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include <rte_cycles.h>

#include "iopf_support.h"

bool
iopf_log_take(struct iopf_log_limit *limit, uint64_t *before)
{
	uint64_t begin = atomic_load_explicit(&limit->begin, memory_order_relaxed);
	uint64_t now = rte_rdtsc();

	/* One thread begins the next second. Lines of other threads count in either second. */
	if ((begin == 0 || now - begin >= rte_get_tsc_hz()) &&
			atomic_compare_exchange_strong_explicit(&limit->begin, &begin, now,
				memory_order_relaxed, memory_order_relaxed))
		atomic_store_explicit(&limit->lines, 0, memory_order_relaxed);
	if (atomic_fetch_add_explicit(&limit->lines, 1, memory_order_relaxed) <
			IOPF_LOG_LINES_PER_S) {
		*before = atomic_exchange_explicit(&limit->unsaid, 0, memory_order_relaxed);
		return true;
	}
	atomic_fetch_add_explicit(&limit->unsaid, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&limit->left_out, 1, memory_order_relaxed);
	return false;
}

const char *
iopf_log_tail(char text[IOPF_LOG_TAIL], uint64_t before)
{
	text[0] = '\0';
	if (before != 0)
		snprintf(text, IOPF_LOG_TAIL, " (%" PRIu64 " line%s left out before)", before,
				before == 1 ? "" : "s");
	return text;
}
