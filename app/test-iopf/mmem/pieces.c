/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <string.h>

#include "pieces.h"
#include "smmuv3_model.h"
#include "smmuv3_pmd.h"

#define PIECE		(UINT64_C(2) << 20)
/* Far from the memory that the driver maps, with neighbouring pieces in another order. */
#define SCRAMBLE	(UINT64_C(1) << 40 | 5 * PIECE)

static struct iopf_driver pieces;

static struct smmuv3_model *
model_of(const struct smmuv3 *s)
{
	return smmuv3_model_lookup(strchr(s->name, '=') + 1);
}

static int
pieces_map(void *priv, void *ptr, size_t len, uint64_t *addr)
{
	uint64_t va = (uintptr_t)ptr;

	if (va / PIECE != (va + len - 1) / PIECE)
		return -ENOTSUP;
	*addr = va ^ SCRAMBLE;
	return smmuv3_model_mem_add(model_of(priv), *addr, ptr, len);
}

static int
pieces_unmap(void *priv, void *ptr, size_t len, uint64_t addr)
{
	if (addr != ((uintptr_t)ptr ^ SCRAMBLE) || len > PIECE)
		return -EINVAL;
	return smmuv3_model_mem_del(model_of(priv), addr);
}

void
pieces_register(void)
{
	if (pieces.name != NULL)
		return;
	pieces = smmuv3_pmd;
	pieces.name = "pieces";
	pieces.ops.dma_map = pieces_map;
	pieces.ops.dma_unmap = pieces_unmap;
	iopf_driver_register(&pieces);
}
