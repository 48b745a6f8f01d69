/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef LOG_LINES_H
#define LOG_LINES_H

/*
 * Capture the lines that one call logs, at an application's log level, whatever level the suite has
 * set. No other thread may log during the call.
 */
void log_lines_begin(void);

/* Returns all captured lines, to be freed. log_lines_one() or this function ends a capture. */
char *log_lines_end(void);

/* End the capture. The call logged exactly one line, and it contains @p part. */
void log_lines_one(const char *part);

/* Make @p call and check that it logs one line that contains @p part. */
#define SAYS(part, call)		\
	do {				\
		log_lines_begin();	\
		call;			\
		log_lines_one(part);	\
	} while (0)

#endif /* LOG_LINES_H */
