/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>

/* SHA-256 as text. */
#define DIGEST_LEN 65

struct digest;

/* NULL when libcrypto has none; the others then return -1, so that only the end is checked. */
struct digest *digest_new(void);
int digest_add(struct digest *digest, const void *data, size_t len);

/* Frees it too. */
int digest_finish(struct digest *digest, char text[DIGEST_LEN]);

int digest_compute(const void *data, size_t len, char text[DIGEST_LEN]);

#endif /* DIGEST_H */
