/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef SMMUV3_MODEL_WIN_H
#define SMMUV3_MODEL_WIN_H

/*
 * Memory windows. The model accesses memory through them only. Only control calls change
 * them, with stepping excluded.
 */

#include <stdint.h>

#define SMMUV3_WIN_MAX 1024

struct smmuv3_win {
	uint64_t addr;
	uint64_t len;
	uint8_t *ptr;
};

struct smmuv3_wins {
	struct smmuv3_win win[SMMUV3_WIN_MAX];	/* sorted; len is 0 from nb on */
	unsigned int nb;
	uint32_t gen;				/* changes when a window is removed */
};

int smmuv3_win_add(struct smmuv3_wins *ws, uint64_t addr, void *ptr, uint64_t len);
int smmuv3_win_del(struct smmuv3_wins *ws, uint64_t addr);
void *smmuv3_win_search(const struct smmuv3_wins *ws, unsigned int *hint, uint64_t addr,
		uint64_t len);

/*
 * The memory of [addr, addr + len), or NULL: an external abort. *hint is the window that the
 * last call found.
 */
static inline void *
smmuv3_win_find(const struct smmuv3_wins *ws, unsigned int *hint, uint64_t addr, uint64_t len)
{
	const struct smmuv3_win *w = &ws->win[*hint];
	uint64_t off = addr - w->addr;

	if (__builtin_expect(off < w->len && len <= w->len - off, 1))
		return w->ptr + off;
	return smmuv3_win_search(ws, hint, addr, len);
}

#endif /* SMMUV3_MODEL_WIN_H */
