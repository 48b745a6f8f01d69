// SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
/* Copyright(c) 2026 The iopf authors */

/* The DMA API, and domains that change under DMA. */

#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/random.h>
#include <linux/slab.h>

#include "smmulab.h"

#define BUF	0x4000

void
lab_test_coherent(struct lab_dev *t)
{
	const size_t len = 0x8000;
	dma_addr_t iova;
	void *p = dma_alloc_coherent(t->dev, len, &iova, GFP_KERNEL);

	if (!LAB_CHECK(p, "coherent memory", ""))
		return;
	LAB_CHECK(lab_write(t, iova, len, 0x11000000) == 0, "write", "%u", lab_mb->status);
	LAB_CHECK(lab_same(p, len, 0x11000000), "bytes written", "");
	lab_fill(p, len, 0x22000000);
	LAB_CHECK(lab_read(t, iova, len) == 0, "read", "%u", lab_mb->status);
	LAB_CHECK(lab_same(lab_data(), len, 0x22000000), "bytes read", "");
	dma_free_coherent(t->dev, len, p, iova);
	LAB_CHECK(lab_read(t, iova, 0x100) != 0, "read after free is refused", "");
}

static void
map_twice(struct lab_dev *t, void *p, void *q, u32 pattern, bool touch_unmapped)
{
	dma_addr_t a = dma_map_single(t->dev, p, BUF, DMA_BIDIRECTIONAL), b;

	LAB_CHECK(!dma_mapping_error(t->dev, a), "map", "");
	LAB_CHECK(lab_write(t, a, BUF, pattern) == 0, "write", "%u", lab_mb->status);
	LAB_CHECK(lab_same(p, BUF, pattern), "bytes written", "");
	dma_unmap_single(t->dev, a, BUF, DMA_BIDIRECTIONAL);
	if (touch_unmapped)
		LAB_CHECK(lab_write(t, a + 0x1000, 64, 0xdead0000) != 0,
			"write after unmap is refused", "");
	/* The same IOVA is allocated again, for other memory. */
	b = dma_map_single(t->dev, q, BUF, DMA_BIDIRECTIONAL);
	LAB_CHECK(lab_write(t, b, BUF, pattern + 77) == 0, "write", "%u", lab_mb->status);
	LAB_CHECK(lab_same(q, BUF, pattern + 77), "bytes written", "");
	LAB_CHECK(lab_same(p, BUF, pattern), "memory unmapped is left alone", "");
	dma_unmap_single(t->dev, b, BUF, DMA_BIDIRECTIONAL);
}

void
lab_test_streaming(struct lab_dev *t)
{
	void *p = kmalloc(BUF, GFP_KERNEL), *q = kmalloc(BUF, GFP_KERNEL);
	dma_addr_t a;
	int i;

	for (i = 0; i < 20; i++)
		map_twice(t, p, q, 0x1000000 * i, i < 3);
	a = dma_map_single(t->dev, p, 0x1000, DMA_TO_DEVICE);
	LAB_CHECK(lab_read(t, a, 0x100) == 0, "read", "%u", lab_mb->status);
	LAB_CHECK(lab_write(t, a, 0x100, 0) != 0, "write to DMA_TO_DEVICE is refused", "");
	dma_unmap_single(t->dev, a, 0x1000, DMA_TO_DEVICE);
	kfree(p);
	kfree(q);
}

/* Compares the pages of a domain with a table of their expected frames. */
#define PAGES	1024
#define FRAMES	256

struct stress {
	struct lab_dev *t;
	struct iommu_domain *d;
	void *mem;
	u64 pa;
	u16 frame[PAGES];	/* frame + 1; 0 is not mapped */
	u32 nb_ok, nb_refused;
};

static void
stress_map(struct stress *s, int v, int end)
{
	for (; v < end; v++) {
		if (s->frame[v])
			continue;
		s->frame[v] = 1 + get_random_u32_below(FRAMES);
		lab_map(s->d, LAB_VA + v * 0x1000ull, s->pa + (s->frame[v] - 1) * 0x1000ull, 0x1000,
			LAB_RW);
	}
}

static void
stress_unmap(struct stress *s, int v, int end)
{
	int j = v;
	size_t len;

	while (j < end && s->frame[j])
		j++;
	len = (j - v) * 0x1000ull;
	if (len == 0)
		return;
	LAB_CHECK(iommu_unmap(s->d, LAB_VA + v * 0x1000ull, len) == len, "unmap", "");
	while (j-- > v)
		s->frame[j] = 0;
}

static void
stress_access(struct stress *s, int v, u32 pattern)
{
	int ret = lab_write(s->t, LAB_VA + v * 0x1000ull + 0x80, 64, pattern);

	if (!s->frame[v]) {
		LAB_CHECK(ret != 0, "page not mapped is refused", "page %d", v);
		s->nb_refused++;
		return;
	}
	LAB_CHECK(ret == 0, "page mapped is reached", "page %d status %d", v, ret);
	LAB_CHECK(lab_same(s->mem + (s->frame[v] - 1) * 0x1000 + 0x80, 64, pattern),
		"bytes of a mapped page", "page %d", v);
	s->nb_ok++;
}

void
lab_test_stress(struct lab_dev *t)
{
	struct stress *s = kzalloc(sizeof(*s), GFP_KERNEL);
	struct page *pages = alloc_pages(GFP_KERNEL, 8);
	int i;

	s->t = t;
	s->mem = page_address(pages);
	s->pa = page_to_phys(pages);
	s->d = lab_domain(t);
	if (s->d && lab_attach(s->d, t) == 0) {
		for (i = 0; i < 1500; i++) {
			int v = get_random_u32_below(PAGES);
			int end = min(v + 1 + (int)get_random_u32_below(70), PAGES);

			switch (get_random_u32_below(4)) {
			case 0:
				stress_map(s, v, end);
				break;
			case 1:
				stress_unmap(s, v, end);
				break;
			default:
				stress_access(s, v, i * 0x1000);
			}
		}
		pr_info("lab: stress: %u accesses succeeded, %u were refused\n", s->nb_ok,
			s->nb_refused);
		lab_detach(s->d, t);
	}
	if (s->d)
		iommu_domain_free(s->d);
	__free_pages(pages, 8);
	kfree(s);
}

/* Alternate two domains and the default domain under DMA: STE and CD updates. */
void
lab_test_switch(struct lab_dev *t)
{
	struct iommu_domain *d[2];
	struct page *page[2];
	int i, turn;

	for (i = 0; i < 2; i++) {
		d[i] = lab_domain(t);
		if (!d[i])
			return;
		page[i] = alloc_page(GFP_KERNEL);
		lab_fill(page_address(page[i]), 0x1000, 0x1000 * i);
		lab_map(d[i], LAB_VA, page_to_phys(page[i]), 0x1000, IOMMU_READ | IOMMU_CACHE);
	}
	lab_stream_on(t, LAB_VA, false, 300);
	for (turn = 0; turn < 10; turn++) {
		for (i = 0; i < 2; i++) {
			lab_attach(d[i], t);
			LAB_CHECK(lab_read(t, LAB_VA, 64) == 0, "read in the domain", "%u",
				lab_mb->status);
			LAB_CHECK(lab_same(lab_data(), 64, 0x1000 * i), "bytes of the domain",
				"domain %d", i);
			lab_detach(d[i], t);
			LAB_CHECK(lab_read(t, LAB_VA, 64) != 0, "read after detach is refused", "");
		}
	}
	lab_stream_off(t);
	for (i = 0; i < 2; i++) {
		iommu_domain_free(d[i]);
		__free_page(page[i]);
	}
}
