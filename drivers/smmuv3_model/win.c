/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/* Memory windows: the memory that the SMMU and the devices may access. */

#include <errno.h>
#include <string.h>

#include "model_win.h"

/* The index of the first window that ends after addr. */
static unsigned int
win_index(const struct smmuv3_wins *ws, uint64_t addr)
{
	unsigned int lo = 0, hi = ws->nb;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;

		if (ws->win[mid].addr + ws->win[mid].len <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void *
smmuv3_win_search(const struct smmuv3_wins *ws, unsigned int *hint, uint64_t addr, uint64_t len)
{
	unsigned int i = win_index(ws, addr);
	uint64_t off;

	if (i == ws->nb || addr < ws->win[i].addr)
		return NULL;
	off = addr - ws->win[i].addr;
	if (len > ws->win[i].len - off)
		return NULL;
	*hint = i;
	return ws->win[i].ptr + off;
}

int
smmuv3_win_add(struct smmuv3_wins *ws, uint64_t addr, void *ptr, uint64_t len)
{
	unsigned int i = win_index(ws, addr);

	if (i < ws->nb && ws->win[i].addr < addr + len)
		return -EEXIST;
	if (ws->nb == SMMUV3_WIN_MAX)
		return -ENOSPC;
	memmove(&ws->win[i + 1], &ws->win[i], (ws->nb - i) * sizeof(ws->win[0]));
	ws->win[i] = (struct smmuv3_win){ .addr = addr, .len = len, .ptr = ptr };
	ws->nb++;
	return 0;
}

int
smmuv3_win_del(struct smmuv3_wins *ws, uint64_t addr)
{
	unsigned int i = win_index(ws, addr);

	if (i == ws->nb || ws->win[i].addr != addr)
		return -ENOENT;
	ws->nb--;
	memmove(&ws->win[i], &ws->win[i + 1], (ws->nb - i) * sizeof(ws->win[0]));
	memset(&ws->win[ws->nb], 0, sizeof(ws->win[0]));
	ws->gen++;
	return 0;
}
