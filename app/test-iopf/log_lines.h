/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LOG_LINES_H
#define LOG_LINES_H

/*
 * The lines of the log that one call writes, at the level that an application has, whatever
 * the suite has set. For calls during which no other thread writes one.
 */
void log_lines_begin(void);

/* All of them, to be freed; ended by log_lines_one() or this. */
char *log_lines_end(void);

/* There was exactly one, with @p part in it. */
void log_lines_one(const char *part);

/* A call of which that is so. */
#define SAYS(part, call)		\
	do {				\
		log_lines_begin();	\
		call;			\
		log_lines_one(part);	\
	} while (0)

#endif /* LOG_LINES_H */
