/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>

/* SHA-256 as text. */
#define DIGEST_LEN 65

struct digest;

/*
 * NULL without libcrypto; the other functions then return -1, so that only the last result needs a
 * check.
 */
struct digest *digest_new(void);
int digest_add(struct digest *digest, const void *data, size_t len);

/* Returns the digest and frees it. */
int digest_finish(struct digest *digest, char text[DIGEST_LEN]);

int digest_compute(const void *data, size_t len, char text[DIGEST_LEN]);

#endif /* DIGEST_H */
