/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mmem_policy.h>

#include "bench.h"
#include "mem_suite.h"

#define NONE	UINT32_MAX
/* An access that will not be. */
#define NEVER	UINT32_MAX

const char *const mem_policy_names[MEM_NB_POLICIES] = {
	[MEM_FIFO] = "fifo",
	[MEM_LRU] = "lru",
	[MEM_CLOCK] = "clock",
	[MEM_OURS] = "ours",
	[MEM_BELADY] = "belady",
};

struct page {
	bool resident;
	bool accessed;		/* the access flag */
	uint32_t older, newer;	/* in the queue of FIFO, LRU and CLOCK */
	uint32_t next;		/* BELADY: the access after the present one */
};

struct memory {
	const struct trace *trace;
	enum mem_policy kind;
	uint32_t capacity;
	uint32_t nb_resident;
	struct page *pages;
	uint32_t oldest, newest;
	uint32_t *next;		/* BELADY: by access, the next one to its page */
	struct mmem_policy policy;
	struct mem_result *result;
};

static void
append(struct memory *m, uint32_t page)
{
	m->pages[page].older = m->newest;
	m->pages[page].newer = NONE;
	if (m->newest != NONE)
		m->pages[m->newest].newer = page;
	else
		m->oldest = page;
	m->newest = page;
}

static void
take_out(struct memory *m, uint32_t page)
{
	const struct page *p = &m->pages[page];

	if (p->older != NONE)
		m->pages[p->older].newer = p->newer;
	else
		m->oldest = p->newer;
	if (p->newer != NONE)
		m->pages[p->newer].older = p->older;
	else
		m->newest = p->older;
}

static bool
test_and_clear(struct memory *m, uint32_t page)
{
	bool accessed = m->pages[page].accessed;

	m->result->looks++;
	m->result->cleared += accessed;
	m->pages[page].accessed = false;
	return accessed;
}

/* That of lib/mmem calls it with its context. */
static bool
test_and_clear_block(void *ctx, uint32_t block)
{
	return test_and_clear(ctx, block);
}

static uint32_t
find_latest(const struct memory *m)
{
	uint32_t i, latest = NONE;

	for (i = 0; i < m->trace->nb_pages; i++)
		if (m->pages[i].resident && (latest == NONE ||
				m->pages[i].next > m->pages[latest].next))
			latest = i;
	return latest;
}

static uint32_t
find_victim(struct memory *m)
{
	uint32_t page = NONE;

	switch (m->kind) {
	case MEM_CLOCK:
		while (test_and_clear(m, m->oldest)) {
			page = m->oldest;
			take_out(m, page);
			append(m, page);
		}
		/* fallthrough */
	case MEM_FIFO:
	case MEM_LRU:
		page = m->oldest;
		take_out(m, page);
		break;
	case MEM_OURS:
		/* Each call without a victim clears 32 flags, so that this ends. */
		while (page == NONE)
			page = mmem_policy_name_victim(&m->policy, 32);
		mmem_policy_evicted(&m->policy, page);
		break;
	case MEM_BELADY:
		page = find_latest(m);
		break;
	case MEM_NB_POLICIES:
		break;
	}
	return page;
}

static void
page_in(struct memory *m, uint32_t page)
{
	uint32_t victim;

	if (m->nb_resident == m->capacity) {
		victim = find_victim(m);
		m->pages[victim].resident = false;
		m->pages[victim].accessed = false;
		m->nb_resident--;
	}
	m->pages[page].resident = true;
	m->nb_resident++;
	m->result->page_ins++;
	if (m->kind == MEM_OURS) {
		/* The access is repeated when the page is there. */
		m->pages[page].accessed = true;
		mmem_policy_add(&m->policy, page, false);
		mmem_policy_watch(&m->policy, MMEM_POLICY_LOOKS);
	} else if (m->kind != MEM_BELADY) {
		append(m, page);
	}
}

static void
replay(struct memory *m)
{
	const struct trace *trace = m->trace;
	uint32_t i, page;

	for (i = 0; i < trace->nb_accesses; i++) {
		page = trace->accesses[i];
		if (!m->pages[page].resident) {
			page_in(m, page);
		} else {
			m->pages[page].accessed = true;
			if (m->kind == MEM_LRU) {
				take_out(m, page);
				append(m, page);
			}
		}
		if (m->next != NULL)
			m->pages[page].next = m->next[i];
	}
}

/* Returns NULL without memory. */
static uint32_t *
make_next(const struct trace *trace)
{
	uint32_t *next = malloc(trace->nb_accesses * sizeof(*next));
	uint32_t *last = malloc(trace->nb_pages * sizeof(*last));
	uint32_t i;

	if (next == NULL || last == NULL) {
		free(next);
		free(last);
		return NULL;
	}
	memset(last, 0xff, trace->nb_pages * sizeof(*last));
	for (i = trace->nb_accesses; i-- > 0;) {
		next[i] = last[trace->accesses[i]];
		last[trace->accesses[i]] = i;
	}
	free(last);
	return next;
}

int
mem_simulate(const struct trace *trace, uint32_t capacity, enum mem_policy policy, uint64_t seed,
		struct mem_result *result)
{
	struct memory m = { .trace = trace, .kind = policy, .capacity = capacity, .oldest = NONE,
		.newest = NONE, .result = result };
	int ret = 0;

	memset(result, 0, sizeof(*result));
	m.pages = calloc(trace->nb_pages, sizeof(*m.pages));
	if (policy == MEM_BELADY)
		m.next = make_next(trace);
	if (m.pages == NULL || (policy == MEM_BELADY && m.next == NULL))
		ret = -ENOMEM;
	if (ret == 0 && policy == MEM_OURS)
		ret = mmem_policy_init(&m.policy, &(struct mmem_policy_conf){
				.nb_blocks = trace->nb_pages, .capacity = capacity, .seed = seed,
				.accessed = test_and_clear_block, .ctx = &m });
	if (ret == 0)
		replay(&m);
	else
		bench_error("no memory for a trace of %u pages", trace->nb_pages);
	mmem_policy_fini(&m.policy);
	free(m.next);
	free(m.pages);
	return ret;
}
