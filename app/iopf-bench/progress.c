/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "bench.h"
#include "progress.h"

#define BAR_WIDTH	30
#define LINE_SECONDS	5

/* The signal may come on any thread. */
static atomic_bool interrupt_asked;

static void
on_signal(int sig)
{
	(void)sig;
	atomic_store_explicit(&interrupt_asked, true, memory_order_relaxed);
}

void
interrupt_catch(void)
{
	/* SA_RESETHAND: the second signal ends the process. */
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

bool
interrupt_is_asked(void)
{
	return atomic_load_explicit(&interrupt_asked, memory_order_relaxed);
}

void
interrupt_forget(void)
{
	atomic_store(&interrupt_asked, false);
}

double
progress_get_left(const struct progress *p, double now)
{
	unsigned int rounds = p->done / p->cells;
	double left;

	if (rounds == 0)
		return -1;
	left = (p->rounds_end - p->start) / rounds * p->rounds - (now - p->start);
	return left > 0 ? left : 0;
}

void
progress_show(struct progress *p, const char *name, double now)
{
	unsigned int i, total = p->cells * p->rounds, fill = p->done * BAR_WIDTH / total;
	char left[32] = "";
	double seconds;

	if (p->done % p->cells == 0)
		p->rounds_end = now;
	seconds = progress_get_left(p, now);
	if (seconds >= 0)
		snprintf(left, sizeof(left), "%u:%02u left", (unsigned int)(seconds + 0.5) / 60,
				(unsigned int)(seconds + 0.5) % 60);
	if (p->bar) {
		fprintf(stderr, "\r[");
		for (i = 0; i < BAR_WIDTH; i++)
			fputc(i < fill ? '#' : '.', stderr);
		fprintf(stderr, "] %3u%%  %-10s  %-20s", p->done * 100 / total, left, name);
		fflush(stderr);
	} else if (now - p->said >= LINE_SECONDS) {
		fprintf(stderr, "iopf-bench: %u%% after %.0f s%s%s\n", p->done * 100 / total,
				now - p->start, left[0] != '\0' ? ", " : "", left);
		p->said = now;
	}
	p->done++;
}

void
progress_clear(const struct progress *p)
{
	if (p->bar)
		fprintf(stderr, "\r\033[K");
}
