/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"
#include "progress.h"

#define FULL		"##############################"
#define EMPTY		".............................."
#define BAR_WIDTH	(sizeof(FULL) - 1)
#define BAR_COLUMNS	80	/* a narrower terminal has no room for the bar beside a name */
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

/* The kernel knows 0 columns of some serial lines. */
static unsigned int
get_columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return BAR_COLUMNS;
	return size.ws_col;
}

static void
print_left(const struct progress *p, double now, char *text, size_t size)
{
	double seconds = progress_get_left(p, now);

	text[0] = '\0';
	if (seconds >= 0)
		snprintf(text, size, "%u:%02u left", (unsigned int)(seconds + 0.5) / 60,
				(unsigned int)(seconds + 0.5) % 60);
}

void
progress_print(const struct progress *p, const char *name, double now, unsigned int columns,
		char *line, size_t size)
{
	unsigned int total = p->cells * p->rounds, fill = p->done * BAR_WIDTH / total;
	char left[32];
	int at = 0;

	print_left(p, now, left, sizeof(left));
	if (columns >= BAR_COLUMNS)
		at = snprintf(line, size, "[%.*s%.*s] ", (int)fill, FULL,
				(int)(BAR_WIDTH - fill), EMPTY);
	snprintf(line + at, size - at, "%3u%%  %-10s  %s", p->done * 100 / total, left, name);
	/* A terminal that has to wrap the line keeps its first part at the next carriage return. */
	if (strlen(line) >= columns)
		line[columns > 0 ? columns - 1 : 0] = '\0';
}

void
progress_show(struct progress *p, const char *name, double now)
{
	char line[PROGRESS_LINE], left[32];

	if (p->done % p->cells == 0)
		p->rounds_end = now;
	if (p->bar) {
		progress_print(p, name, now, get_columns(), line, sizeof(line));
		/* The name before may have been longer. */
		fprintf(stderr, "\r%s\033[K", line);
		fflush(stderr);
	} else if (now - p->said >= LINE_SECONDS) {
		print_left(p, now, left, sizeof(left));
		fprintf(stderr, "iopf-bench: %u%% after %.0f s%s%s\n",
				p->done * 100 / (p->cells * p->rounds), now - p->start,
				left[0] != '\0' ? ", " : "", left);
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
