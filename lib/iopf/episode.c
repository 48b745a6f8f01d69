/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_common.h>

#include "attachment.h"
#include "breaker.h"
#include "call.h"
#include "domain.h"
#include "episode.h"
#include "rcu.h"

/* The word of the episodes: see episode.h. */
#define STATE_CLOSED	UINT64_C(0)
#define STATE_OPENING	UINT64_C(1)
#define STATE_OPEN	UINT64_C(2)
#define STATE(word)	((word) & 3)
#define READING(record)	(UINT64_C(4) << (record))
#define ANY_READING	(READING(0) | READING(1))
#define NUMBER(word)	((word) >> 4)
#define WORD(number, state) ((uint64_t)(number) << 4 | (state))

/* The word of a tally. */
#define TALLY_CURRENT	UINT64_C(1)
#define TALLY_CLOSED	UINT64_C(2)
#define TALLY_NUMBER(word) ((word) >> 2)
#define TALLY_WORD(number, bits) ((uint64_t)(number) << 2 | (bits))

/* Each failed attempt is another thread's progress: a close, an open. */
#define MAX_ATTEMPTS	4
#define PAGE_MASK	(~UINT64_C(0xfff))
/* Twice the pages: a probe ends at a free entry. */
#define NB_BUCKETS	(2 * IOPF_EPISODE_PAGES)
#define FAULT_WORDS	(sizeof(struct iopf_fault) / sizeof(uint64_t))

static_assert(sizeof(struct iopf_fault) % sizeof(uint64_t) == 0, "a fault is copied by words");
static_assert(IOPF_EPISODE_PAGES < UINT8_MAX, "an index of a page has 8 bits");

/*
 * Written by the owner of the queue. Atomic, since iopf_episode_read() may read them meanwhile; the
 * tally's word orders them for a close.
 */
struct counts {
	uint64_t faults;
	uint64_t stalls;
	uint64_t aborted;
	uint64_t requests;
	uint64_t counted_from, counted_to;
	uint64_t trip_time;
	uint64_t lowest, highest;
	uint64_t other_faults;
	uint64_t nb_pages;
	uint64_t page_faults[IOPF_EPISODE_PAGES];
};

struct tally {
	_Atomic uint64_t word;
	struct counts counts[2];
	uint64_t pages[IOPF_EPISODE_PAGES];	/* only appended to */
	/* Owner: a hash of pages[], indices plus one. */
	uint8_t buckets[NB_BUCKETS];
};

struct record {
	uint64_t first[FAULT_WORDS];
	struct tally tallies[IOPF_MAX_QUEUES];
};

struct iopf_episodes {
	_Atomic uint64_t word;
	struct record records[2];
};

bool
iopf_storm_has_episodes(const struct iopf_storm_conf *conf)
{
	return conf->report_first || iopf_storm_has_breaker(conf);
}

struct iopf_episodes *
iopf_episodes_create(void)
{
	return iopf_zalloc(sizeof(struct iopf_episodes));
}

void
iopf_episodes_destroy(struct iopf_episodes *episodes)
{
	free(episodes);
}

static inline uint64_t
load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline void
store(uint64_t *p, uint64_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELAXED);
}

static void
words_store(uint64_t *to, const void *from, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t word;

		memcpy(&word, (const char *)from + i * sizeof(word), sizeof(word));
		store(&to[i], word);
	}
}

static void
words_load(void *to, const uint64_t *from, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint64_t word = load(&from[i]);

		memcpy((char *)to + i * sizeof(word), &word, sizeof(word));
	}
}

uint64_t
iopf_episode_open(struct iopf_attachment *attachment, const struct iopf_fault *first)
{
	struct iopf_episodes *episodes = attachment->episodes;
	uint64_t word = atomic_load_explicit(&episodes->word, memory_order_relaxed), number;

	for (unsigned int i = 0; i < MAX_ATTEMPTS; i++) {
		number = NUMBER(word) + 1;
		if (STATE(word) != STATE_CLOSED || (word & READING(number & 1)) != 0)
			return 0;
		/* Acquire: with the release in iopf_episode_close(), which has read the record. */
		if (!atomic_compare_exchange_strong_explicit(&episodes->word, &word,
				WORD(number, STATE_OPENING | (word & ANY_READING)),
				memory_order_acquire, memory_order_relaxed))
			continue;
		words_store(episodes->records[number & 1].first, first, FAULT_WORDS);
		/* Release: a thread that finds the episode open finds the first fault. */
		atomic_fetch_add_explicit(&episodes->word, STATE_OPEN - STATE_OPENING,
				memory_order_release);
		iopf_domain_count(attachment->domain, IOPF_STAT_EPISODES, 1);
		return number;
	}
	return 0;
}

bool
iopf_episode_is_open(const struct iopf_attachment *attachment)
{
	return STATE(atomic_load_explicit(&attachment->episodes->word, memory_order_relaxed)) ==
		STATE_OPEN;
}

uint64_t
iopf_episode_number(const struct iopf_attachment *attachment)
{
	uint64_t word = atomic_load_explicit(&attachment->episodes->word, memory_order_relaxed);

	return STATE(word) == STATE_OPEN ? NUMBER(word) : 0;
}

/* The index of the page in pages[], which it may be appended to; IOPF_EPISODE_PAGES: no room. */
static unsigned int
page_index(struct tally *tally, uint64_t page, uint64_t nb_pages)
{
	unsigned int bucket = iopf_table_hash(page) % NB_BUCKETS;

	for (; tally->buckets[bucket] != 0; bucket = (bucket + 1) % NB_BUCKETS)
		if (tally->pages[tally->buckets[bucket] - 1] == page)
			return tally->buckets[bucket] - 1;
	if (nb_pages == IOPF_EPISODE_PAGES)
		return IOPF_EPISODE_PAGES;
	store(&tally->pages[nb_pages], page);
	tally->buckets[bucket] = nb_pages + 1;
	return nb_pages;
}

static void
counts_add(struct tally *tally, struct counts *counts, const struct iopf_fault *const *faults,
		uint16_t n, bool trips)
{
	uint64_t nb_pages = counts->nb_pages, lowest = counts->lowest, highest = counts->highest;

	if (counts->faults == 0) {
		lowest = UINT64_MAX;
		store(&counts->counted_from, faults[0]->time);
	}
	for (uint16_t i = 0; i < n; i++) {
		uint64_t addr = faults[i]->addr;
		unsigned int page = page_index(tally, faults[i]->flags & IOPF_FAULT_STAGE2 ?
				faults[i]->ipa : addr & PAGE_MASK, nb_pages);

		lowest = RTE_MIN(lowest, addr);
		highest = RTE_MAX(highest, addr);
		if (page == IOPF_EPISODE_PAGES) {
			store(&counts->other_faults, counts->other_faults + 1);
			continue;
		}
		if (page == nb_pages)
			nb_pages++;
		store(&counts->page_faults[page], counts->page_faults[page] + 1);
	}
	store(&counts->nb_pages, nb_pages);
	store(&counts->lowest, lowest);
	store(&counts->highest, highest);
	store(&counts->counted_to, faults[0]->time);
	if (trips && counts->trip_time == 0)
		store(&counts->trip_time, faults[0]->time);
	if (faults[0]->flags & IOPF_FAULT_PAGE_REQUEST)
		store(&counts->requests, counts->requests + n);
	else if (faults[0]->flags & IOPF_FAULT_STALLED)
		store(&counts->stalls, counts->stalls + 1);
	else
		store(&counts->aborted, counts->aborted + 1);
	store(&counts->faults, counts->faults + 1);
}

static void
tally_reset(struct tally *tally)
{
	for (unsigned int i = 0; i < 2; i++)
		for (unsigned int j = 0; j < sizeof(struct counts) / sizeof(uint64_t); j++)
			store((uint64_t *)&tally->counts[i] + j, 0);
	memset(tally->buckets, 0, sizeof(tally->buckets));
}

/* Add the faults to the tally of an episode. False: the episode is closed. */
static bool
tally_add(struct tally *tally, uint64_t number, const struct iopf_fault *const *faults, uint16_t n,
		bool trips)
{
	uint64_t was = atomic_load_explicit(&tally->word, memory_order_relaxed), word = was;

	if (TALLY_NUMBER(was) > number || was == TALLY_WORD(number, TALLY_CLOSED) ||
			was == TALLY_WORD(number, TALLY_CLOSED | TALLY_CURRENT))
		return false;
	if (TALLY_NUMBER(was) != number) {
		tally_reset(tally);
		word = TALLY_WORD(number, 0);
	}
	word ^= TALLY_CURRENT;
	counts_add(tally, &tally->counts[word & TALLY_CURRENT], faults, n, trips);
	/* Release: with the acquire in tally_close(). */
	if (!atomic_compare_exchange_strong_explicit(&tally->word, &was, word,
			memory_order_release, memory_order_relaxed))
		return false;
	counts_add(tally, &tally->counts[~word & TALLY_CURRENT], faults, n, trips);
	return true;
}

bool
iopf_episode_count(struct iopf_attachment *attachment, const struct iopf_fault *const *faults,
		uint16_t n, bool trips)
{
	struct iopf_episodes *episodes = attachment->episodes;

	for (unsigned int i = 0; i < MAX_ATTEMPTS; i++) {
		/* Acquire: with the release in iopf_episode_open(), which has the record's. */
		uint64_t word = atomic_load_explicit(&episodes->word, memory_order_acquire);
		uint64_t number = NUMBER(word);

		if (STATE(word) != STATE_OPEN)
			return false;
		if (tally_add(&episodes->records[number & 1].tallies[faults[0]->queue], number,
				faults, n, trips)) {
			iopf_domain_count(attachment->domain, IOPF_STAT_COUNTED, 1);
			return true;
		}
	}
	return false;
}

/* No later fault is added. Returns the current counts, or NULL: the queue has counted no fault. */
static const struct counts *
tally_close(struct tally *tally, uint64_t number)
{
	uint64_t was = atomic_load_explicit(&tally->word, memory_order_relaxed);

	/* If it fails, the owner of the queue has put this number there. */
	if (TALLY_NUMBER(was) != number && atomic_compare_exchange_strong_explicit(&tally->word,
			&was, TALLY_WORD(number, TALLY_CLOSED), memory_order_relaxed,
			memory_order_relaxed))
		return NULL;
	/* Acquire: with the release in tally_add(). */
	was = atomic_fetch_or_explicit(&tally->word, TALLY_CLOSED, memory_order_acquire);
	return &tally->counts[was & TALLY_CURRENT];
}

static void
page_merge(struct iopf_episode *episode, uint64_t addr, uint64_t faults)
{
	uint32_t i;

	for (i = 0; i < episode->nb_pages && episode->pages[i].addr != addr; i++)
		;
	if (i == IOPF_EPISODE_PAGES) {
		episode->other_faults += faults;
		return;
	}
	if (i == episode->nb_pages) {
		episode->nb_pages++;
		episode->pages[i].addr = addr;
		episode->pages[i].faults = 0;
	}
	episode->pages[i].faults += faults;
}

static void
counts_merge(struct iopf_episode *episode, const struct tally *tally, const struct counts *counts)
{
	uint64_t faults = load(&counts->faults), first = load(&counts->counted_from);
	uint64_t trip_time = load(&counts->trip_time), lowest = load(&counts->lowest), nb_pages;

	if (faults == 0)
		return;
	if (episode->faults == 0 || first < episode->counted_from)
		episode->counted_from = first;
	if (episode->faults == 0 || lowest < episode->lowest)
		episode->lowest = lowest;
	if (trip_time != 0 && (episode->trip_time == 0 || trip_time < episode->trip_time))
		episode->trip_time = trip_time;
	episode->counted_to = RTE_MAX(episode->counted_to, load(&counts->counted_to));
	episode->highest = RTE_MAX(episode->highest, load(&counts->highest));
	episode->faults += faults;
	episode->stalls += load(&counts->stalls);
	episode->aborted += load(&counts->aborted);
	episode->requests += load(&counts->requests);
	episode->other_faults += load(&counts->other_faults);
	nb_pages = RTE_MIN(load(&counts->nb_pages), (uint64_t)IOPF_EPISODE_PAGES);
	for (uint64_t i = 0; i < nb_pages; i++)
		page_merge(episode, load(&tally->pages[i]), load(&counts->page_faults[i]));
}

static void
episode_begin(struct iopf_episode *episode, const struct record *record)
{
	memset(episode, 0, sizeof(*episode));
	words_load(&episode->first, record->first, FAULT_WORDS);
}

int
iopf_episode_close(struct iopf_attachment *attachment, uint64_t number,
		struct iopf_episode *episode)
{
	struct iopf_episodes *episodes = attachment->episodes;
	uint64_t word = atomic_load_explicit(&episodes->word, memory_order_relaxed);
	struct record *record = NULL;

	for (unsigned int i = 0; i < MAX_ATTEMPTS && record == NULL; i++) {
		if (STATE(word) != STATE_OPEN || (number != 0 && NUMBER(word) != number))
			return -ENOENT;
		/* Acquire: with the release in iopf_episode_open(). */
		if (atomic_compare_exchange_strong_explicit(&episodes->word, &word,
				WORD(NUMBER(word), STATE_CLOSED | (word & ANY_READING) |
				READING(NUMBER(word) & 1)),
				memory_order_acquire, memory_order_relaxed))
			record = &episodes->records[NUMBER(word) & 1];
	}
	if (record == NULL)
		return -ENOENT;
	if (episode != NULL)
		episode_begin(episode, record);
	for (unsigned int i = 0; i < IOPF_MAX_QUEUES; i++) {
		const struct counts *counts = tally_close(&record->tallies[i], NUMBER(word));

		if (counts != NULL && episode != NULL)
			counts_merge(episode, &record->tallies[i], counts);
	}
	/* Release: with the acquire in iopf_episode_open(). */
	atomic_fetch_and_explicit(&episodes->word, ~READING(NUMBER(word) & 1),
			memory_order_release);
	return 0;
}

int
iopf_episode_read(const struct iopf_attachment *attachment, struct iopf_episode *episode)
{
	struct iopf_episodes *episodes = attachment->episodes;

	for (unsigned int i = 0; i < MAX_ATTEMPTS; i++) {
		/* Acquire: with the release in iopf_episode_open(). */
		uint64_t word = atomic_load_explicit(&episodes->word, memory_order_acquire), now;
		const struct record *record = &episodes->records[NUMBER(word) & 1];

		if (STATE(word) != STATE_OPEN)
			return -ENOENT;
		if (episode == NULL)
			return 0;
		episode_begin(episode, record);
		for (unsigned int j = 0; j < IOPF_MAX_QUEUES; j++) {
			const struct tally *tally = &record->tallies[j];
			/* Acquire: with the release in tally_add(). */
			uint64_t at = atomic_load_explicit(&tally->word, memory_order_acquire);

			if (TALLY_NUMBER(at) == NUMBER(word))
				counts_merge(episode, tally, &tally->counts[at & TALLY_CURRENT]);
		}
		/*
		 * If the episode is still open, its record had no other use meanwhile. An atomic
		 * addition of 0: its release orders the loads before it.
		 */
		now = atomic_fetch_add_explicit(&episodes->word, 0, memory_order_acq_rel);
		if (NUMBER(now) == NUMBER(word) && STATE(now) == STATE_OPEN)
			return 0;
	}
	return -ENOENT;
}

/* In an RCU read section. NULL: the domain is not attached there, or has no episodes. */
static struct iopf_attachment *
attachment_find_with_episodes(const struct iopf_domain *domain, const struct iopf_dev *dev,
		uint32_t pasid)
{
	struct iopf_attachment *attachment = iopf_table_find(&dev->iommu->attached,
			iopf_attachment_key(dev->sids[0], pasid));

	return attachment != NULL && attachment->domain == domain &&
		attachment->episodes != NULL ? attachment : NULL;
}

/* Read, or close, the episode of (device, PASID). */
static int
domain_episode(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid, bool close,
		struct iopf_episode *episode)
{
	struct iopf_attachment *attachment;
	int ret = -ENOENT;

	if (domain == NULL || dev == NULL)
		return iopf_ret(-EINVAL);
	iopf_rcu_read_lock();
	attachment = attachment_find_with_episodes(domain, dev, pasid);
	if (attachment != NULL)
		ret = close ? iopf_episode_close(attachment, 0, episode) :
			iopf_episode_read(attachment, episode);
	iopf_rcu_read_unlock();
	return iopf_ret(ret);
}

int
iopf_domain_episode(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode)
{
	return domain_episode(domain, dev, pasid, false, episode);
}

int
iopf_domain_rearm(struct iopf_domain *domain, struct iopf_dev *dev, uint32_t pasid,
		struct iopf_episode *episode)
{
	return domain_episode(domain, dev, pasid, true, episode);
}
