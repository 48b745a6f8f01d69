/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Listeners: see iopf_listener.h.
 *
 * The ring has one writer, the owner of the event queue, and one reader, the application's thread.
 * Positions count records; an entry is position & mask.
 *
 *	writer					reader
 *	W1 load tail (acquire): not full	R1 load head (acquire)
 *	W2 store the record, count = 1		R2 copy the record
 *	W3 store head + 1 (release)		R3 exchange count with 0
 *						R4 store tail + 1 (release)
 *
 * R1 acquires W3: the reader copies whole records. W1 acquires R4: an entry is written again only
 * after the reader has copied it. The fields of one writer go to the next with the ownership of the
 * queue (iopf_queue_disown(), iopf_queue_own()).
 *
 * Merging changes only the count of a record that the writer wrote itself, by compare-and-swap from
 * a value that is not 0. R3 makes it 0 once and for all, until W2 of the entry's next record, which
 * only the writer does. So an event is either in the count that the reader took, or the swap fails
 * and the event gets a record of its own. The record's other fields do not change, so the swap and
 * R3 need no order. The reader takes a record only when its merge_ms are over, and the writer does
 * not merge into it any more; both read the same clock, and where they differ the swap decides.
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_bitops.h>
#include <rte_common.h>
#include <rte_cycles.h>

#include "call.h"
#include "dev.h"
#include "iopf_log.h"
#include "listener.h"
#include "rcu.h"

#define DEFAULT_SIZE	1024
#define MAX_SIZE	(UINT32_C(1) << 20)
#define MAX_MERGE_MS	10000
/* Merging looks at the last record of each hash. Power of two. */
#define NB_RECENT	1024

struct listener_entry {
	struct iopf_record record;	/* its count is not used */
	_Atomic uint32_t count;		/* 0: the reader has taken the record */
};

struct iopf_listener {
	struct iopf_iommu *iommu;	/* under listeners_lock; NULL: it has ended */
	bool ending;			/* the same: iopf_listeners_end() still uses it */
	const struct iopf_dev *dev;	/* or NULL: all */
	uint32_t mask;
	uint32_t rate;
	uint64_t merge_cycles;
	struct listener_entry *ring;
	_Atomic bool ended;

	/* Of the owner of the event queue. */
	_Alignas(RTE_CACHE_LINE_SIZE) uint64_t seq;	/* the next number */
	uint64_t second;		/* begin of the second that nb_second is for */
	uint32_t nb_second;
	uint32_t *recent;		/* with merging, by hash: the entry last written */
	_Atomic uint64_t head;
	_Atomic uint64_t stats[IOPF_NB_LISTENER_STATS];	/* READ is the reader's */

	_Alignas(RTE_CACHE_LINE_SIZE) _Atomic uint64_t tail;
};

/*
 * Of the tables iommu->listeners, and of iommu and ending in each listener. No thread waits for a
 * grace period with it.
 */
static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t listeners_ended = PTHREAD_COND_INITIALIZER;

const char *
iopf_event_class_name(enum iopf_event_class event_class)
{
	static const char *const names[IOPF_NB_CLASSES] = {
		[IOPF_CLASS_NONE] = "none",
		[IOPF_CLASS_CD] = "cd",
		[IOPF_CLASS_TT] = "tt",
		[IOPF_CLASS_IN] = "in",
	};

	return (unsigned int)event_class < IOPF_NB_CLASSES ? names[event_class] : "unknown";
}

const char *
iopf_listener_stat_name(enum iopf_listener_stat stat)
{
	static const char *const names[IOPF_NB_LISTENER_STATS] = {
		[IOPF_LISTENER_STAT_EVENTS] = "events",
		[IOPF_LISTENER_STAT_MERGED] = "merged",
		[IOPF_LISTENER_STAT_FULL] = "full",
		[IOPF_LISTENER_STAT_LIMITED] = "limited",
		[IOPF_LISTENER_STAT_LOSSES] = "losses",
		[IOPF_LISTENER_STAT_READ] = "read",
	};

	return (unsigned int)stat < IOPF_NB_LISTENER_STATS ? names[stat] : "unknown";
}

uint64_t
iopf_listener_stat(const struct iopf_listener *listener, enum iopf_listener_stat stat)
{
	if (listener == NULL || (unsigned int)stat >= IOPF_NB_LISTENER_STATS) {
		rte_errno = EINVAL;
		return 0;
	}
	return atomic_load_explicit(&listener->stats[stat], memory_order_relaxed);
}

/* Each counter has one writer at a time. */
static void
count(struct iopf_listener *l, enum iopf_listener_stat stat, uint64_t n)
{
	atomic_store_explicit(&l->stats[stat], atomic_load_explicit(&l->stats[stat],
			memory_order_relaxed) + n, memory_order_relaxed);
}

/*
 * The writer
 */

/* W1 to W3, with the number @p seq. False: the ring is full. */
static bool
ring_write(struct iopf_listener *l, const struct iopf_record *record)
{
	uint64_t head = atomic_load_explicit(&l->head, memory_order_relaxed);
	struct listener_entry *entry = &l->ring[head & l->mask];

	/* Acquire: with the release in iopf_listener_read(). */
	if (head - atomic_load_explicit(&l->tail, memory_order_acquire) > l->mask)
		return false;
	entry->record = *record;
	atomic_store_explicit(&entry->count, 1, memory_order_relaxed);
	/* Release: with the acquire in iopf_listener_read(). */
	atomic_store_explicit(&l->head, head + 1, memory_order_release);
	return true;
}

static uint32_t *
find_recent(struct iopf_listener *l, const struct iopf_event *ev)
{
	uint64_t key = (ev->addr >> 12) * UINT64_C(0x9e3779b97f4a7c15) ^
		((uint64_t)ev->pasid << 40 ^ (uint64_t)ev->sid << 8 ^ ev->raw_id);

	return &l->recent[(key * UINT64_C(0x9e3779b97f4a7c15)) >> 32 & (NB_RECENT - 1)];
}

/* Add the event to the record of an equal one. False: there is none, or the reader has taken it. */
static bool
merge(struct iopf_listener *l, const struct iopf_event *ev, uint64_t now)
{
	/* It may have any record by now, or none: then the count is 0. */
	struct listener_entry *entry = &l->ring[*find_recent(l, ev)];
	const struct iopf_record *r = &entry->record;
	uint32_t n;

	if (r->raw_id != ev->raw_id || r->sid != ev->sid || r->pasid != ev->pasid ||
			r->addr >> 12 != ev->addr >> 12 || r->flags & IOPF_RECORD_LOST ||
			now - r->time > l->merge_cycles)
		return false;
	n = atomic_load_explicit(&entry->count, memory_order_relaxed);
	return n != 0 && n != UINT32_MAX && atomic_compare_exchange_strong_explicit(&entry->count,
			&n, n + 1, memory_order_relaxed, memory_order_relaxed);
}

static bool
is_over_rate(struct iopf_listener *l, uint64_t now)
{
	if (now - l->second >= rte_get_tsc_hz()) {
		l->second = now;
		l->nb_second = 0;
	}
	if (l->nb_second == l->rate)
		return true;
	l->nb_second++;
	return false;
}

static void
listener_write(struct iopf_listener *l, const struct iopf_event *ev, uint64_t now)
{
	uint64_t pos = atomic_load_explicit(&l->head, memory_order_relaxed);
	struct iopf_record record;

	count(l, IOPF_LISTENER_STAT_EVENTS, 1);
	if (l->recent != NULL && merge(l, ev, now)) {
		count(l, IOPF_LISTENER_STAT_MERGED, 1);
		return;
	}
	record = (struct iopf_record){
		.seq = l->seq++,
		.time = now,
		.addr = ev->addr,
		.ipa = ev->ipa,
		.fetch_addr = ev->fetch_addr,
		.sid = ev->sid,
		.pasid = ev->pasid,
		.syndrome = ev->syndrome,
		.raw_id = ev->raw_id,
		.reason = ev->reason,
		.stage = ev->stage,
		.event_class = ev->event_class,
		.perm = ev->perm,
		.perm_priv = ev->perm_priv,
		.span = ev->span,
		.flags = ev->record_flags,
	};
	if (l->rate != 0 && is_over_rate(l, now))
		count(l, IOPF_LISTENER_STAT_LIMITED, 1);
	else if (!ring_write(l, &record))
		count(l, IOPF_LISTENER_STAT_FULL, 1);
	else if (l->recent != NULL)
		*find_recent(l, ev) = pos & l->mask;
}

void
iopf_listeners_write(struct iopf_iommu *iommu, const struct iopf_event *ev, uint64_t now)
{
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++) {
		/* Acquire: with the release in iopf_listener_open(). */
		struct iopf_listener *l = atomic_load_explicit(&iommu->listeners[i],
				memory_order_acquire);

		if (l != NULL && (l->dev == NULL ||
				l->dev == iopf_table_find(&iommu->sids, ev->sid)))
			listener_write(l, ev, now);
	}
}

void
iopf_listeners_write_lost(struct iopf_iommu *iommu, uint8_t flags)
{
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++) {
		/* Acquire: with the release in iopf_listener_open(). */
		struct iopf_listener *l = atomic_load_explicit(&iommu->listeners[i],
				memory_order_acquire);
		struct iopf_record record = { .time = rte_rdtsc(), .pasid = IOPF_NO_PASID,
			.reason = IOPF_REASON_OTHER, .flags = flags };

		if (l == NULL)
			continue;
		count(l, IOPF_LISTENER_STAT_LOSSES, 1);
		/* The events that were lost have the number before. */
		record.seq = l->seq + 1;
		l->seq += 2;
		/* Without room the gap alone tells of the loss. */
		ring_write(l, &record);
	}
}

/*
 * The reader
 */

int
iopf_listener_read(struct iopf_listener *listener, struct iopf_record *records, uint16_t n)
{
	uint64_t head, tail, now = rte_rdtsc();
	bool ended;
	uint16_t got;

	if (listener == NULL || (records == NULL && n != 0))
		return iopf_ret(-EINVAL);
	/* Acquire: with the release in iopf_listeners_end(). Before head, which is then final. */
	ended = atomic_load_explicit(&listener->ended, memory_order_acquire);
	/* Acquire: with the release in ring_write(). */
	head = atomic_load_explicit(&listener->head, memory_order_acquire);
	tail = atomic_load_explicit(&listener->tail, memory_order_relaxed);
	for (got = 0; got < n && tail != head; got++, tail++) {
		struct listener_entry *entry = &listener->ring[tail & listener->mask];

		/* The clock of another thread may be ahead: the difference is signed. */
		if (listener->merge_cycles != 0 && !ended &&
				(int64_t)(now - entry->record.time) <=
				(int64_t)listener->merge_cycles)
			break;
		records[got] = entry->record;
		records[got].count = atomic_exchange_explicit(&entry->count, 0,
				memory_order_relaxed);
	}
	if (got == 0)
		return ended && tail == head ? iopf_ret(-ENODEV) : 0;
	count(listener, IOPF_LISTENER_STAT_READ, got);
	/* Release: with the acquire in ring_write(). */
	atomic_store_explicit(&listener->tail, tail, memory_order_release);
	return got;
}

/*
 * Open and close
 */

static int
conf_check(const struct iopf_listener_conf *conf, const struct iopf_iommu *iommu)
{
	if (conf->dev != NULL && conf->dev->iommu != iommu) {
		IOPF_LOG(ERR, "listener: the device \"%s\" is not behind \"%s\": use its IOMMU, or "
				"NULL", conf->dev->name, iommu->name);
		return -EINVAL;
	}
	if (conf->size > MAX_SIZE || (conf->size & (conf->size - 1)) != 0) {
		IOPF_LOG(ERR, "listener of \"%s\": size %u: use a power of two up to %u",
				iommu->name, conf->size, MAX_SIZE);
		return -EINVAL;
	}
	if (conf->merge_ms > MAX_MERGE_MS) {
		IOPF_LOG(ERR, "listener of \"%s\": merge_ms %u: use at most %u", iommu->name,
				conf->merge_ms, MAX_MERGE_MS);
		return -EINVAL;
	}
	return 0;
}

static void
listener_free(struct iopf_listener *l)
{
	free(l->ring);
	free(l->recent);
	free(l);
}

static struct iopf_listener *
listener_new(const struct iopf_listener_conf *conf)
{
	struct iopf_listener *l = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*l), RTE_CACHE_LINE_SIZE));
	uint32_t size = conf->size != 0 ? conf->size : DEFAULT_SIZE;

	if (l == NULL)
		return NULL;
	memset(l, 0, sizeof(*l));
	l->dev = conf->dev;
	l->mask = size - 1;
	l->rate = conf->rate;
	l->merge_cycles = rte_get_tsc_hz() / 1000 * conf->merge_ms;
	l->ring = malloc(size * sizeof(l->ring[0]));
	if (conf->merge_ms != 0)
		l->recent = calloc(NB_RECENT, sizeof(l->recent[0]));
	if (l->ring == NULL || (conf->merge_ms != 0 && l->recent == NULL)) {
		listener_free(l);
		return NULL;
	}
	/* Written here: the poll thread takes no page fault. */
	memset(l->ring, 0, size * sizeof(l->ring[0]));
	return l;
}

/* -ENOSPC: none is free. */
static int
listener_add(struct iopf_iommu *iommu, struct iopf_listener *l)
{
	int ret = -ENOSPC;

	pthread_mutex_lock(&listeners_lock);
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS && ret < 0; i++) {
		if (atomic_load(&iommu->listeners[i]) != NULL)
			continue;
		l->iommu = iommu;
		/* Release: with the acquire in iopf_listeners_write(). */
		atomic_store_explicit(&iommu->listeners[i], l, memory_order_release);
		ret = 0;
	}
	pthread_mutex_unlock(&listeners_lock);
	if (ret < 0)
		IOPF_LOG(ERR, "\"%s\" has %u listeners already: close one first", iommu->name,
				IOPF_MAX_LISTENERS);
	return ret;
}

struct iopf_listener *
iopf_listener_open(const struct iopf_listener_conf *conf)
{
	struct iopf_listener *l = NULL;
	struct iopf_iommu *iommu;
	int ret;

	if (conf == NULL || (conf->iommu == NULL && conf->dev == NULL))
		return iopf_ret_null();
	iommu = conf->iommu != NULL ? conf->iommu : conf->dev->iommu;
	ret = iopf_self.in_handler || iopf_self.in_fast ? -EDEADLK : conf_check(conf, iommu);
	if (ret == 0) {
		l = listener_new(conf);
		ret = l == NULL ? -ENOMEM : listener_add(iommu, l);
	}
	if (ret == 0)
		return l;
	if (l != NULL)
		listener_free(l);
	rte_errno = -ret;
	return NULL;
}

/* Under listeners_lock: no poll thread that begins a pass finds the listener any more. */
static bool
listener_unlink(struct iopf_listener *l)
{
	if (l->iommu == NULL)
		return false;
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++)
		if (atomic_load(&l->iommu->listeners[i]) == l)
			atomic_store(&l->iommu->listeners[i], NULL);
	l->iommu = NULL;
	return true;
}

int
iopf_listener_close(struct iopf_listener *listener)
{
	bool linked;

	if (listener == NULL)
		return 0;
	if (iopf_self.in_handler || iopf_self.in_fast)
		return iopf_ret(-EDEADLK);
	pthread_mutex_lock(&listeners_lock);
	linked = listener_unlink(listener);
	/* For a grace period. */
	while (listener->ending)
		pthread_cond_wait(&listeners_ended, &listeners_lock);
	pthread_mutex_unlock(&listeners_lock);
	if (linked)
		iopf_rcu_synchronize();
	listener_free(listener);
	return 0;
}

void
iopf_listeners_end(struct iopf_iommu *iommu, const struct iopf_dev *dev)
{
	struct iopf_listener *ended[IOPF_MAX_LISTENERS];
	unsigned int n = 0;

	pthread_mutex_lock(&listeners_lock);
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++) {
		struct iopf_listener *l = atomic_load(&iommu->listeners[i]);

		if (l == NULL || (dev != NULL && l->dev != dev))
			continue;
		listener_unlink(l);
		l->ending = true;
		ended[n++] = l;
	}
	pthread_mutex_unlock(&listeners_lock);
	if (n == 0)
		return;
	iopf_rcu_synchronize();
	pthread_mutex_lock(&listeners_lock);
	for (unsigned int i = 0; i < n; i++) {
		/*
		 * Release: with the acquire in iopf_listener_read(). No thread writes these any
		 * more.
		 */
		atomic_store_explicit(&ended[i]->ended, true, memory_order_release);
		ended[i]->ending = false;
	}
	pthread_cond_broadcast(&listeners_ended);
	pthread_mutex_unlock(&listeners_lock);
}

/*
 * Telemetry and dump
 */

const struct iopf_listener *
iopf_listener_get(const struct iopf_iommu *iommu, unsigned int i)
{
	/* Acquire: with the release in iopf_listener_open(). */
	return i < IOPF_MAX_LISTENERS ?
		atomic_load_explicit(&iommu->listeners[i], memory_order_acquire) : NULL;
}

const struct iopf_dev *
iopf_listener_dev(const struct iopf_listener *listener)
{
	return listener->dev;
}

uint32_t
iopf_listener_size(const struct iopf_listener *listener)
{
	return listener->mask + 1;
}

/* The caller's file may block, which no read section may: copy, then print. */
void
iopf_listeners_dump(const struct iopf_iommu *iommu, FILE *f)
{
	for (unsigned int i = 0; i < IOPF_MAX_LISTENERS; i++) {
		uint64_t stats[IOPF_NB_LISTENER_STATS] = { 0 };
		const struct iopf_listener *l;
		bool of_dev = false;

		iopf_rcu_read_lock();
		l = iopf_listener_get(iommu, i);
		if (l != NULL) {
			of_dev = l->dev != NULL;
			for (unsigned int k = 0; k < IOPF_NB_LISTENER_STATS; k++)
				stats[k] = iopf_listener_stat(l, k);
		}
		iopf_rcu_read_unlock();
		if (l == NULL)
			continue;
		fprintf(f, "  listener %u of %s:", i, of_dev ? "a device" : "all devices");
		for (unsigned int k = 0; k < IOPF_NB_LISTENER_STATS; k++)
			fprintf(f, " %s %" PRIu64, iopf_listener_stat_name(k), stats[k]);
		fprintf(f, "\n");
	}
}
