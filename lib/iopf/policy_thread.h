/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

#ifndef POLICY_THREAD_H
#define POLICY_THREAD_H

/*
 * The policy thread: one thread of the process for everything of a policy that waits. A poll thread
 * decides, answers in software from then on, and calls iopf_policy_want(), which stores two atomic
 * words. At its next tick the policy thread calls the device's serve, which changes the IOMMU. It
 * ticks each millisecond, later on a busy machine.
 *
 * The thread is made when the first device joins, and ended when the last one leaves.
 *
 * Locks. The policy thread never waits for a lock that a control call may hold while it waits: it
 * only tries the device's lock, and returns at the next tick if it is taken. So
 *	- a control call of one device does not delay the policies of the others, nor can it
 *	  deadlock with the policy thread, whatever it waits for;
 *	- iopf_policy_leave() may wait until serve has returned. Its caller holds no device's lock,
 *	  and has waited in bounded time until serve is in no callback of the application.
 * The driver's operations that serve calls have bounded waits, for this device's IOMMU. They are
 * the time by which policies of other devices can be late. The faults of those are answered in
 * software meanwhile.
 *
 * Callbacks run with no lock held, and with iopf_self.in_handler set: control calls return -EDEADLK
 * in them, so that a callback cannot wait for its own end.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct iopf_policy_client {
	_Atomic bool wanted;	/* any thread sets it, the policy thread clears it */
	/* under the lock of policy_thread.c */
	bool joined;
	bool busy;		/* serve runs */
	bool active;		/* serve runs in each tick */
	/* Returns true if it needs the next tick too. */
	bool (*serve)(struct iopf_policy_client *client, uint64_t now);
	LIST_ENTRY(iopf_policy_client) next;
};

/* serve is set. Without effect if the client has joined. 0, or -errno of the thread's creation. */
int iopf_policy_join(struct iopf_policy_client *client);
/* serve runs: it may be in a callback. */
bool iopf_policy_is_busy(const struct iopf_policy_client *client);
/* After this serve is not called any more. Without effect if the client has not joined. */
void iopf_policy_leave(struct iopf_policy_client *client);
/* Have serve called in the next tick. Any thread; never waits. */
void iopf_policy_want(struct iopf_policy_client *client);

#endif /* POLICY_THREAD_H */
