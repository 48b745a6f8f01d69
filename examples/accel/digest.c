/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <stdio.h>

#include <openssl/evp.h>

#include "digest.h"

/* Wraps OpenSSL's context. */
struct digest *
digest_new(void)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	if (ctx == NULL || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(ctx);
		return NULL;
	}
	return (struct digest *)ctx;
}

int
digest_add(struct digest *digest, const void *data, size_t len)
{
	if (digest == NULL)
		return -1;
	return EVP_DigestUpdate((EVP_MD_CTX *)digest, data, len) == 1 ? 0 : -1;
}

int
digest_finish(struct digest *digest, char text[DIGEST_LEN])
{
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned int i, len;
	int ret;

	if (digest == NULL)
		return -1;
	ret = EVP_DigestFinal_ex((EVP_MD_CTX *)digest, md, &len);
	EVP_MD_CTX_free((EVP_MD_CTX *)digest);
	if (ret != 1 || len * 2 + 1 != DIGEST_LEN)
		return -1;
	for (i = 0; i < len; i++)
		snprintf(text + 2 * i, 3, "%02x", md[i]);
	return 0;
}

int
digest_compute(const void *data, size_t len, char text[DIGEST_LEN])
{
	struct digest *digest = digest_new();

	digest_add(digest, data, len);
	return digest_finish(digest, text);
}
