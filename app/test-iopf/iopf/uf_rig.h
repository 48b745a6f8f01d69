/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef UF_RIG_H
#define UF_RIG_H

/*
 * Changes under fire, on an IOMMU made of arrays: a fault is brought to a place, a change is made
 * on a thread of its own, and the fault goes on. The device has a domain for each of two PASIDs; a
 * bystander has a third domain. With UF_JOINED the bystander's PASID 2 has the domain of the fault.
 * A poll thread polls all the time unless it is paused.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "array_iommu.h"
#include "iopf.h"
#include "iopf_poller.h"

/* Where the fault is when the change begins. */
enum uf_place {
	UF_PARTIAL,	/* a group without its Last, which comes during the change */
	UF_QUEUE,	/* in the hardware's queue, not read */
	UF_FAST,	/* in the fast handler */
	UF_RING,	/* in a worker's ring */
	UF_WORKER,	/* in the deferred handler */
	UF_TAKEN,
	UF_JOINED,	/* it waits for its leader, a fault of the bystander that is taken */
	UF_STAGED,	/* answered, and the answer is in the batch of a burst that goes on */
	UF_STALLED,	/* the access waits, and the hardware has not written the record */
};
#define NB_UF_PLACES 9

/* The tokens of the faults. */
enum {
	TOKEN = 1,		/* the fault; with UF_STAGED the one that is staged */
	TOKEN_BEHIND,		/* UF_STAGED: the handler of the next fault of the burst waits */
	TOKEN_RING,		/* UF_RING: the bystander's, which the worker's thread has */
	TOKEN_LEADER,		/* UF_JOINED: the bystander's, PASID 2 */
	TOKEN_QUEUED,		/* the bystander's, in the queue while a poll thread changes */
	TOKEN_LATER,		/* after the change, of the same PASID */
	TOKEN_OTHER_PASID,	/* after the change */
	TOKEN_BYSTANDER,
	NB_TOKENS,
};

/* A domain and the context of its handlers. */
struct uf_space {
	struct iopf_domain *domain;
	_Atomic enum iopf_verdict verdict;
	int hold_fast;			/* the token whose fast handler waits */
	_Atomic bool hold_deferred;	/* the deferred handler waits */
	_Atomic bool over;		/* its handlers must not run any more */
	_Atomic unsigned int running, calls, deferred_calls;
	_Atomic unsigned int violations;	/* handlers that ran after that */
	_Atomic bool in_fast, in_deferred;
	_Atomic uint64_t id;		/* of the fault TOKEN */
	_Atomic uint64_t leader_id;	/* of the fault TOKEN_LEADER */
};

struct uf {
	bool requests;			/* page requests; otherwise stalls */
	enum uf_place place;
	unsigned int put_at;		/* UF_STALLED, detach: attachments that are left; 0: any */
	unsigned int left_attached, left_domains;	/* by cells that failed */
	struct iopf_iommu *iommu;
	struct iopf_dev *dev, *bystander;
	struct uf_space space;	/* of PASID 1, which has the fault */
	struct uf_space other;	/* of PASID 2 */
	struct uf_space spare;	/* the context of handlers that replace the first */
	struct uf_space next;	/* replaces the domain of PASID 1 */
	struct uf_space by;
	struct iopf_worker *worker;
	struct iopf_poller *pollers[2];
	pthread_t poll_threads[2];
	bool polls[2];
	_Atomic bool poll_end[2];
	_Atomic bool release_fast;

	_Atomic unsigned int groups;	/* that the device has sent, with their Last */

	int (*change)(void);
	pthread_t changer;
	_Atomic bool changed;
	int ret;
};

extern struct uf uf;

enum iopf_verdict uf_fast(struct iopf_domain *domain, const struct iopf_group *group, void *ctx);
enum iopf_verdict uf_deferred(struct iopf_domain *domain, const struct iopf_group *group,
		void *ctx);
void uf_open(enum uf_place place, bool requests, bool other_pasid);
/* Remove and close all that is still there. All faults are answered, and no slot is held. */
void uf_close(void);
void uf_poll_begin(unsigned int poller);
void uf_poll_end(unsigned int poller);
/* Bring the fault to its place. */
void uf_put_in_place(void);
void uf_put(struct iopf_dev *dev, uint32_t pasid, uint16_t token);
/* The Last of the fault that is UF_PARTIAL. */
void uf_put_last(void);
void uf_change_begin(int (*change)(void));
/* Returns the result of the change. */
int uf_change_end(void);
/* Answers that the device has got for this token; the code of the last one. */
unsigned int uf_answers(uint16_t token, enum iopf_code *code);
/* Wait until @p what is true. */
#define UF_AWAIT(what)						\
	do {								\
		for (unsigned int i_ = 0; i_ < 200000 && !(what); i_++)	\
			usleep(50);					\
		assert_true(what);					\
	} while (0)

#endif /* UF_RIG_H */
