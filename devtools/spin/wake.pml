/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf/worker.c: no group stays in the ring of a worker that sleeps, and the poll thread posts
 * the semaphore only for a thread that sleeps or is about to sleep.
 *
 * A store to the ring's index waits in its thread's buffer. Other stores do not: the counter of
 * sleepers is changed by atomic read-modify-writes, which take effect at once. A full barrier waits
 * for the thread's own buffer. Without a barrier a thread's loads may be early: here the store is
 * late, which is the same to the other thread.
 *
 *	Poller	enqueue; barrier; take a sleeper; post
 *	Worker	dequeue, or announce; barrier; check again; retract, or wait
 *
 * A worker that waits for the end of a handler sleeps for a limited time: its wait may end without a
 * post, TIMED times for each worker. It then retracts, or waits for the post that is due to it.
 *
 * Assertions: when the poller has ended and no thread can move, the ring is empty and all workers
 * wait (else an invalid end state); posts and waits match; there are never more posts than taken
 * sleepers.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a wake.pml
 *	spin -DWORKERS=1 -DGROUPS=4 -a wake.pml
 * Each of these must be found wrong:
 *	spin -DNO_POLLER_BARRIER -a ...	the poller reads the counter before its enqueue is visible
 *	spin -DNO_SECOND_LOOK -a ...	a worker sleeps without checking the ring again
 *	spin -DNO_TAKE_BACK -a ...	a worker that found a group stays counted
 *	spin -DNO_TIMED_TAKE_BACK -a ...	a worker whose time is up stays counted
 *	spin -DNO_DUE_WAIT -a ...	a worker whose time is up leaves the post that is due
 *	spin -DNO_TAKE -a ...		the poller posts without taking a sleeper
 */

#ifndef WORKERS
#define WORKERS	2
#define GROUPS	3
#endif
#define TIMED	2

byte ring;			/* groups in it that other threads see */
byte waiting_store;		/* groups enqueued and not yet visible */
byte nb_asleep;
byte semaphore;
byte done;
byte posts, waits, taken;

/* The poller's buffer drains at any time. */
active proctype Memory()
{
end:	do
	:: atomic { waiting_store > 0 -> ring++; waiting_store-- }
	od
}

active proctype Poller()
{
	byte i;
	bool found;

	do
	:: i < GROUPS ->
		waiting_store++;
		i++;
#ifndef NO_POLLER_BARRIER
		(waiting_store == 0);
#endif
		/* sleeper_claim() */
		atomic {
			found = nb_asleep != 0;
#ifndef NO_TAKE
			if
			:: found -> nb_asleep--; taken++
			:: else
			fi
#endif
		}
		if
		:: found ->
			atomic {
				posts++;
				semaphore++;
				assert(posts <= taken);
				assert(semaphore <= WORKERS)
			}
		:: else
		fi
	:: else -> break
	od
}

active [WORKERS] proctype Worker()
{
	bool back;
	byte left = TIMED;

	do
	:: atomic { ring > 0 -> ring--; done++ }
	:: ring == 0 ->
		nb_asleep++;
		/* The change of the counter is a read-modify-write, followed by a full barrier. */
		back = false;
#ifndef NO_SECOND_LOOK
		if
		:: ring > 0 ->
#ifdef NO_TAKE_BACK
			back = true
#else
			atomic {
				if
				:: nb_asleep > 0 -> nb_asleep--; back = true
				:: else
				fi
			}
#endif
		:: ring == 0
		fi;
#endif
		if
		:: !back ->
end:			do
			:: atomic { semaphore > 0 -> semaphore--; waits++; break }
			:: atomic { left > 0 ->
				left--;
				if
#ifdef NO_TIMED_TAKE_BACK
				:: break
#else
				:: nb_asleep > 0 -> nb_asleep--; break
#ifdef NO_DUE_WAIT
				:: else -> break
#else
				:: else
#endif
#endif
				fi
			}
			od
		:: else
		fi
	od
}

/* When no thread can move, every group has been handled. */
active proctype Judge()
{
	timeout;
	assert(done == GROUPS);
	assert(ring == 0 && waiting_store == 0 && semaphore == 0);
	assert(nb_asleep == WORKERS)
}
