// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* Page sizes, splitting of blocks, permissions, the limits of the address space. */

#include <linux/sizes.h>

#include "compat.h"
#include "smmulab.h"

#define ORDER	10		/* 4 MiB of memory */
#define GIB_VA	(8ull * SZ_1G)

struct blocks {
	struct lab_dev *t;
	struct iommu_domain *d;
	void *mem;
	u64 pa;
};

static bool
reaches(struct blocks *b, u64 va, u64 offset, u64 len, u32 pattern)
{
	return lab_write(b->t, va, len, pattern) == 0 && lab_same(b->mem + offset, len, pattern);
}

static bool
refused(struct blocks *b, u64 va)
{
	return lab_write(b->t, va, 64, 0) != 0;
}

static void
split_block(struct blocks *b)
{
	u64 i;

	lab_map(b->d, LAB_VA, b->pa, SZ_4M, LAB_RW);
	for (i = 0; i < SZ_4M; i += SZ_1M)
		LAB_CHECK(reaches(b, LAB_VA + i + 0xd158, i + 0xd158, 0x2000, (u32)i),
			"write in a block", "");
	if (LAB_SPLITS_BLOCKS) {
		LAB_CHECK(iommu_unmap(b->d, LAB_VA + 0x10000, 0x1000) == 0x1000,
			"unmap of a page of a block", "");
		LAB_CHECK(refused(b, LAB_VA + 0x10000),
			"page unmapped out of a block is refused", "");
		LAB_CHECK(reaches(b, LAB_VA + 0x11000, 0x11000, 64, 5), "page after it", "");
		LAB_CHECK(reaches(b, LAB_VA + 0xf000, 0xf000, 64, 6), "page before it", "");
	}
	iommu_unmap(b->d, LAB_VA, SZ_2M);
	LAB_CHECK(refused(b, LAB_VA + 0x20000), "block unmapped is refused", "");
	LAB_CHECK(reaches(b, LAB_VA + SZ_2M + 0x20000, SZ_2M + 0x20000, 64, 9), "next block", "");
}

/* Map pages in place of a block, then a block in place of a table. */
static void
change_size(struct blocks *b)
{
	int i;

	for (i = 0; i < 512; i++)
		lab_map(b->d, LAB_VA + i * 0x1000ull, b->pa + (511 - i) * 0x1000ull, 0x1000,
			LAB_RW);
	LAB_CHECK(reaches(b, LAB_VA + 0x5000, 506 * 0x1000, 0x1000, 0x777), "pages in reverse", "");
	LAB_CHECK(iommu_unmap(b->d, LAB_VA, SZ_2M) == SZ_2M, "unmap of 512 pages", "");
	lab_map(b->d, LAB_VA, b->pa, SZ_2M, LAB_RW);
	LAB_CHECK(reaches(b, LAB_VA + 0x5000, 0x5000, 0x1000, 0x778), "block where pages were", "");
	LAB_CHECK(iommu_unmap(b->d, LAB_VA, SZ_4M) == SZ_4M, "unmap of blocks", "");
}

static void
odd_range(struct blocks *b)
{
	const u64 start = 0x3000, len = 0x21d000, last = start + len - 0x100;

	lab_map(b->d, LAB_VA + start, b->pa + start, len, LAB_RW);
	LAB_CHECK(reaches(b, LAB_VA + start, start, 64, 1), "start of an odd range", "");
	LAB_CHECK(reaches(b, LAB_VA + last, last, 0x100, 2), "end of an odd range", "");
	LAB_CHECK(iommu_unmap(b->d, LAB_VA + start, len) == len, "unmap of an odd range", "");
	LAB_CHECK(refused(b, LAB_VA + start), "start of an odd range is refused", "");
	LAB_CHECK(refused(b, LAB_VA + last), "end of an odd range is refused", "");
}

/* Map all of the guest's memory as one block. */
static void
gib(struct blocks *b)
{
	u64 va = GIB_VA + (b->pa - LAB_RAM) + 0x7000;

	lab_map(b->d, GIB_VA, LAB_RAM, SZ_1G, LAB_RW);
	LAB_CHECK(reaches(b, va, 0x7000, 0x1000, 0x999), "1 GiB block", "");
	LAB_CHECK(iommu_unmap(b->d, GIB_VA, SZ_1G) == SZ_1G, "unmap of a 1 GiB block", "");
	LAB_CHECK(refused(b, va), "1 GiB block unmapped is refused", "");
}

static void
ends(struct blocks *b)
{
	u64 top = b->d->geometry.aperture_end - 0xfff;

	lab_map(b->d, top, b->pa, 0x1000, LAB_RW);
	LAB_CHECK(reaches(b, top, 0, 0x1000, 3), "top page", "");
	iommu_unmap(b->d, top, 0x1000);
	LAB_CHECK(lab_read(b->t, top + 0x1000, 64) != 0, "beyond the top is refused", "");
	LAB_CHECK(lab_read(b->t, 0xffff000000001000ull, 64) != 0, "upper half is refused", "");
}

static int
fetch(struct blocks *b, u64 va)
{
	lab_init(b->t, LAB_READ);
	lab_mb->addr = va;
	lab_mb->len = 64;
	lab_mb->instruction = 1;
	return lab_go();
}

static int
privileged_read(struct blocks *b, u64 va)
{
	lab_init(b->t, LAB_READ);
	lab_mb->addr = va;
	lab_mb->len = 64;
	lab_mb->privileged = 1;
	return lab_go();
}

static void
permissions(struct blocks *b)
{
	const u64 r = LAB_VA, w = r + 0x1000, nx = r + 0x2000, priv = r + 0x3000;

	lab_map(b->d, r, b->pa, 0x1000, IOMMU_READ | IOMMU_CACHE);
	lab_map(b->d, w, b->pa, 0x1000, IOMMU_WRITE | IOMMU_CACHE);
	lab_map(b->d, nx, b->pa, 0x1000, LAB_RW | IOMMU_NOEXEC);
	lab_map(b->d, priv, b->pa, 0x1000, LAB_RW | IOMMU_PRIV);
	LAB_CHECK(lab_read(b->t, r, 64) == 0, "read of a read-only page", "");
	LAB_CHECK(refused(b, r), "write to a read-only page is refused", "");
	LAB_CHECK(lab_write(b->t, w, 64, 0) == 0, "write to a writable page", "");
	LAB_CHECK(lab_read(b->t, nx, 64) == 0, "read of a no-execute page", "");
	LAB_CHECK(fetch(b, nx) != 0, "fetch from a no-execute page is refused", "");
	LAB_CHECK(fetch(b, r) == 0, "fetch from a page", "");
	LAB_CHECK(lab_read(b->t, priv, 64) != 0, "unprivileged read is refused", "");
	LAB_CHECK(privileged_read(b, priv) == 0, "privileged read", "");
}

void
lab_test_blocks(struct lab_dev *t)
{
	struct blocks b = { .t = t, .d = lab_domain(t) };
	struct page *pages = alloc_pages(GFP_KERNEL, ORDER);

	if (!LAB_CHECK(pages, "memory", "") || !b.d)
		return;
	b.pa = page_to_phys(pages);
	b.mem = page_address(pages);
	pr_info("lab: page sizes %lx, aperture end %pad\n", b.d->pgsize_bitmap,
		&b.d->geometry.aperture_end);
	if (lab_attach(b.d, t) == 0) {
		split_block(&b);
		change_size(&b);
		odd_range(&b);
		gib(&b);
		ends(&b);
		permissions(&b);
		lab_detach(b.d, t);
	}
	iommu_domain_free(b.d);
	__free_pages(pages, ORDER);
}
