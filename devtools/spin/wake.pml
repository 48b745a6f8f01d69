/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf/worker.c: no group is left in the ring of a worker that sleeps, and the poll thread
 * posts the semaphore only for a thread that sleeps or is about to.
 *
 * Stores wait in their thread's buffer: that of the ring's index, and none other, since the
 * counter of sleepers is changed by atomic read-modify-writes, which act at once. A full barrier
 * waits for the thread's own buffer. Loads of a thread without a barrier may be early: here the
 * store is late, which is the same to the other thread.
 *
 *	Poller	enqueue; barrier; take a sleeper; post
 *	Worker	dequeue, or announce; barrier; look again; take one back, or wait
 *
 * Held: when the poller is through and no thread can move, the ring is empty and all workers
 * wait (else an invalid end state); posts and waits come out even; there are never more posts
 * than sleepers that were taken.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a wake.pml
 *	spin -DWORKERS=1 -DGROUPS=4 -a wake.pml
 * Each of these must be found wrong:
 *	spin -DNO_POLLER_BARRIER -a ...	the poller looks at the counter before its enqueue is seen
 *	spin -DNO_SECOND_LOOK -a ...	a worker sleeps without another look at the ring
 *	spin -DNO_TAKE_BACK -a ...	one that found something leaves itself counted
 *	spin -DNO_TAKE -a ...		the poller posts without taking a sleeper
 */

#ifndef WORKERS
#define WORKERS	2
#define GROUPS	3
#endif

byte ring;			/* groups in it, as other threads see it */
byte waiting_store;		/* enqueued, and not yet seen */
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
		/* take_sleeper() */
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

	do
	:: atomic { ring > 0 -> ring--; done++ }
	:: ring == 0 ->
		nb_asleep++;
		/* The counter's change is a read-modify-write, and a full barrier is behind it. */
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
end:			atomic { semaphore > 0 -> semaphore--; waits++ }
		:: else
		fi
	od
}

/* All that was put is done when nothing moves any more. */
active proctype Judge()
{
	timeout;
	assert(done == GROUPS);
	assert(ring == 0 && waiting_store == 0 && semaphore == 0);
	assert(nb_asleep == WORKERS)
}
