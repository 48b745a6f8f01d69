/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef IOPF_LISTENER_H
#define IOPF_LISTENER_H

/**
 * @file
 * For an application that logs or judges events that need no answer: aborted accesses, errors in
 * the tables of the IOMMU, unknown StreamIDs.
 *
 * A listener has a ring of records. The poll thread of the event queue writes it; one thread of the
 * application reads it, in bursts, when it wants to.
 *
 * @code
 *	struct iopf_record records[32];
 *	uint64_t next = 0;
 *	int n;
 *
 *	listener = iopf_listener_open(&(struct iopf_listener_conf){ .iommu = smmu });
 *	while ((n = iopf_listener_read(listener, records, 32)) >= 0) {
 *		if (n == 0)
 *			usleep(1000);			// or do other work
 *		for (int i = 0; i < n; i++) {
 *			if (records[i].seq != next)
 *				printf("%" PRIu64 " events lost\n", records[i].seq - next);
 *			next = records[i].seq + 1;
 *			print(&records[i]);
 *		}
 *	}
 *	iopf_listener_close(listener);
 * @endcode
 *
 * Which one. iopf_iommu_conf.report is called on the poll thread, at once, for each event: it must
 * not block, and a flood of events costs the poll thread a call for each. A listener may be slow,
 * may merge and limit what it gets, and has all fields of the event; it gets an event later, and
 * may lose it. Both can be used together. An IOMMU can have 8 listeners.
 *
 * Sequence numbers. Each record has the next number, from 0 on. A gap of n means that n events have
 * no record: the ring was full, or the listener's rate was reached; iopf_listener_stat() tells
 * which. An event that was merged has no number. A record with IOPF_RECORD_LOST stands for events
 * that the IOMMU itself may have lost, in unknown number; there is a gap of 1 in front of it.
 *
 * What it gets: each record of the event queue that does not stall and that no handler gets, but
 * not malformed ones, and not page requests.
 *
 * Threads. One thread at a time reads a listener; any thread opens, closes (no thread reads then)
 * and reads counters. The ring is allocated at open and never grows. The poll thread takes no lock,
 * makes no system call and waits for no reader.
 *
 * Lifetime. A stop or a start of the IOMMU keeps the listener. After the removal of its device or
 * the close of its IOMMU, the records that are left can be read; then iopf_listener_read() returns
 * -ENODEV. The listener must be closed all the same.
 */

#include <stdint.h>

#include "iopf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct iopf_listener;

/** fetch_addr is valid. */
#define IOPF_RECORD_FETCH	(1u << 0)
/** ipa is valid. */
#define IOPF_RECORD_IPA		(1u << 1)
/** With IOPF_CLASS_TT: the IOMMU read the table. Without the flag it wrote, or did not tell. */
#define IOPF_RECORD_TABLE_READ	(1u << 2)
/** The fetch failed a granule protection check. */
#define IOPF_RECORD_GPC		(1u << 3)
/** Not an event: the event queue overflowed, records were not written or not trusted, the IOMMU was
 * stopped or reset, or it was suspended before the last records were read. Events may be lost
 * around here. Of the fields only seq, time, count and flags are valid. */
#define IOPF_RECORD_LOST	(1u << 4)
/** With IOPF_RECORD_LOST: the IOMMU has failed; no event comes until it is stopped and started. */
#define IOPF_RECORD_FAILED	(1u << 5)

/** One event, or several that were merged. Fields that the event does not have are 0. */
struct iopf_record {
	uint64_t seq;
	uint64_t time;		/**< rte_rdtsc() when the first of them was read */
	uint64_t addr;		/**< input address */
	uint64_t ipa;		/**< with IOPF_RECORD_IPA */
	uint64_t fetch_addr;	/**< with IOPF_RECORD_FETCH: of the table entry */
	uint32_t count;		/**< events in this record; their other fields are the first's */
	uint32_t sid;		/**< StreamID, which may be of no device */
	uint32_t pasid;		/**< or IOPF_NO_PASID */
	uint32_t syndrome;	/**< reason or syndrome, defined by the implementation */
	uint8_t raw_id;		/**< the event's own number */
	uint8_t reason;		/**< enum iopf_reason */
	uint8_t stage;		/**< of translation, 1 or 2; 0: the event does not tell */
	uint8_t event_class;	/**< enum iopf_event_class */
	uint8_t perm;		/**< IOPF_PERM_* that the access needs */
	uint8_t perm_priv;	/**< of a page request hint: those of privileged accesses */
	uint8_t span;		/**< of a translation request or page request hint, in units */
	uint8_t flags;		/**< IOPF_RECORD_* */
};

struct iopf_listener_conf {
	struct iopf_iommu *iommu;	/**< [the device's] */
	struct iopf_dev *dev;		/**< its events only [all, unknown StreamIDs included] */
	uint32_t size;			/**< records that can wait, a power of two, at most 2^20
					  * [1024] */
	uint32_t merge_ms;		/**< an event raises the count of one with the same sid,
					  * pasid, raw_id and page (4 KiB) that is at most so old;
					  * so a record can be read only after this time, at most
					  * 10000 [no merging] */
	uint32_t rate;			/**< records in a second; the next second begins with the
					  * first event after its end, which may bring so many at
					  * once; the rest leave a gap [no limit] */
};

/**
 * @return NULL with rte_errno: EINVAL (no IOMMU, a size, merge_ms), ENOSPC (8 listeners), ENOMEM,
 *   EDEADLK in a handler.
 */
struct iopf_listener *iopf_listener_open(const struct iopf_listener_conf *conf);

/**
 * Read up to @p n records, oldest first. Does not wait.
 * @return how many; -EINVAL; -ENODEV (the device or the IOMMU is gone, and all records are read).
 */
int iopf_listener_read(struct iopf_listener *listener, struct iopf_record *records, uint16_t n);

/** Records not yet read are dropped. @return 0, or -EDEADLK in a handler. */
int iopf_listener_close(struct iopf_listener *listener);

/** Counters of a listener. */
enum iopf_listener_stat {
	IOPF_LISTENER_STAT_EVENTS,	/**< events that were its */
	IOPF_LISTENER_STAT_MERGED,	/**< among them: in the record of an earlier one */
	IOPF_LISTENER_STAT_FULL,	/**< without a record: the ring was full */
	IOPF_LISTENER_STAT_LIMITED,	/**< without a record: over the rate */
	IOPF_LISTENER_STAT_LOSSES,	/**< times that the IOMMU may have lost events */
	IOPF_LISTENER_STAT_READ,	/**< records read */
};
#define IOPF_NB_LISTENER_STATS 6
const char *iopf_listener_stat_name(enum iopf_listener_stat stat);
/** 0 with rte_errno EINVAL: no such counter. */
uint64_t iopf_listener_stat(const struct iopf_listener *listener, enum iopf_listener_stat stat);

#ifdef __cplusplus
}
#endif

#endif /* IOPF_LISTENER_H */
