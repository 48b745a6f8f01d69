/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef PROGRESS_H
#define PROGRESS_H

/*
 * Progress of a run, and its early end. On a terminal a bar with the time that is left (without the
 * bar if there are fewer than 80 columns), else a line each five seconds. Rounds are alike, so the time left is known once the first one has ended.
 *
 * interrupt_catch() makes SIGINT and SIGTERM ask for an end: the caller looks at
 * interrupt_is_asked() between cells. The second such signal ends the process at once. All on the
 * main thread.
 */

#include <stdbool.h>
#include <stddef.h>

#define PROGRESS_LINE	128

struct progress {
	unsigned int cells;	/* of a round */
	unsigned int rounds;
	unsigned int done;	/* cells of the whole run */
	double start;		/* seconds, of any clock */
	double rounds_end;	/* when the last complete round ended */
	double said;
	bool bar;
};

/* Seconds left at @p now; negative: unknown, as the first round has not ended. */
double progress_get_left(const struct progress *p, double now);
/* Put what a terminal of @p columns shows into @p line, without a wrap. */
void progress_print(const struct progress *p, const char *name, double now, unsigned int columns,
		char *line, size_t size);
void progress_show(struct progress *p, const char *name, double now);
void progress_clear(const struct progress *p);

void interrupt_catch(void);
bool interrupt_is_asked(void);
/* For a test that goes on after one. */
void interrupt_forget(void);

#endif /* PROGRESS_H */
