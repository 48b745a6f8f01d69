/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf: an episode's counts, between the owners of queues that count, threads that open and
 * threads that re-arm (episode.c).
 *
 * Each statement between two program points is one atomic access, as each is in the code. A copy of
 * the counts has two fields, which an owner adds to one after the other: a reader in between would
 * find them different.
 *
 *	Owner	of a queue: counts a fault, or gives it to a handler, whose fatal verdict opens an
 *		episode
 *	Rearm	closes an episode and reads its counts
 *
 * Assertions:
 *	- the counts that a re-arm reads are whole, and do not change while it reads;
 *	- at the end each fault is handled or in the counts of one episode.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a episode.pml
 * Each of these must be found wrong, else the model has no value:
 *	spin -DONE_COPY -a ...		an owner adds to the current copy
 *	spin -DBLIND_COMMIT -a ...	... and makes its copy current with a plain store
 *	spin -DNO_NUMBER -a ...		a close leaves a tally without a fault of the episode as it is
 *	spin -DNO_READING -a ...	an episode opens while its record is being read
 *	spin -DNO_RESET -a ...		a first fault keeps the counts of an earlier episode
 *	spin -DNO_CLOSE -a ...		a close reads the tallies without closing them
 */

#define QUEUES	2
#ifndef FAULTS
#define FAULTS	2
#endif
#define ROUNDS	2
#define CLOSED	0
#define OPENING	1
#define OPEN	2

/* The word of the episodes. */
byte number;
byte state;
bool reading[2];

/* A tally's word; tallies of record r are r * QUEUES + queue. */
byte tnumber[4];
bool tclosed[4];
bit tcurrent[4];
/* Copy c of tally t is 2 * t + c. */
byte field_a[8];
byte field_b[8];

byte handled;
byte counted;
byte owners_left = QUEUES;

inline open_episode()
{
	/* A compare-and-swap of the word. */
	atomic {
		if
#ifdef NO_READING
		:: state == CLOSED ->
#else
		:: state == CLOSED && !reading[(number + 1) % 2] ->
#endif
			number++;
			state = OPENING
		:: else -> goto opened
		fi
	}
	state = OPEN;
opened:	skip
}

inline reset_copies()
{
	atomic {
		if
		:: tnumber[t] != number_seen ->
#ifndef NO_RESET
			field_a[2 * t] = 0; field_b[2 * t] = 0;
			field_a[2 * t + 1] = 0; field_b[2 * t + 1] = 0;
#endif
			to = 0
		:: else -> to = was_current
		fi
	}
}

proctype Owner(bit q)
{
	byte n, number_seen, t, was_number;
	bit was_current, to;
	bool was_closed, ok;

	do
	:: n == FAULTS -> break
	:: n < FAULTS ->
		ok = false;
		atomic {
			number_seen = number;
			if
			:: state != OPEN -> goto handle
			:: else -> t = (number_seen % 2) * QUEUES + q
			fi
		}
		atomic {
			was_number = tnumber[t];
			was_closed = tclosed[t];
			was_current = tcurrent[t];
			if
			:: was_number > number_seen -> goto handle
			:: was_number == number_seen && was_closed -> goto handle
			:: else
			fi
		}
		reset_copies();
#ifndef ONE_COPY
		to = 1 - to;
#endif
		field_a[2 * t + to]++;
		field_b[2 * t + to]++;
		/* The commit. */
		atomic {
			if
#ifdef BLIND_COMMIT
			:: true ->
#else
			:: tnumber[t] == was_number && tclosed[t] == was_closed &&
					tcurrent[t] == was_current ->
#endif
				tnumber[t] = number_seen;
				tclosed[t] = false;
				tcurrent[t] = to;
				ok = true
			:: else
			fi
		}
		if
		:: !ok -> goto handle
		:: else
		fi;
#ifndef ONE_COPY
		field_a[2 * t + 1 - to]++;
		field_b[2 * t + 1 - to]++;
#endif
		goto next;
handle:		atomic { handled++; ok = false }
		open_episode();
next:		n++
	od;
	owners_left--
}

/* Close a tally of the episode, and add its counts. */
inline close_tally()
{
	c = 2;
	atomic {
		if
#ifndef NO_NUMBER
		:: tnumber[t] != mine ->
			tnumber[t] = mine;
			tclosed[t] = true;
			tcurrent[t] = 0
#else
		:: tnumber[t] != mine -> skip
#endif
		:: else ->
#ifndef NO_CLOSE
			tclosed[t] = true;
#endif
			c = tcurrent[t]
		fi
	}
	if
	:: c < 2 ->
		a = field_a[2 * t + c];
		b = field_b[2 * t + c];
		assert(a == b);
		assert(a == field_a[2 * t + c]);
		atomic { counted = counted + a; a = 0; b = 0 }
	:: else
	fi
}

proctype Rearm()
{
	byte rounds, mine, t, c, a, b;

	do
	:: rounds == ROUNDS -> break
	:: rounds < ROUNDS ->
		atomic {
			if
			:: state == OPEN ->
				mine = number;
				state = CLOSED;
				reading[mine % 2] = true
			:: state != OPEN && owners_left == 0 -> break
			fi
		}
		t = (mine % 2) * QUEUES;
		close_tally();
		t++;
		close_tally();
		reading[mine % 2] = false;
		rounds++
	od
}

init
{
	byte mine, t, c, a, b;

	atomic {
		run Owner(0);
		run Owner(1);
		run Rearm();
		run Rearm()
	}
	(_nr_pr == 1);
	/* The episode that is still open. */
	if
	:: state == OPEN ->
		mine = number;
		t = (mine % 2) * QUEUES;
		close_tally();
		t++;
		close_tally()
	:: else
	fi;
	assert(handled + counted == QUEUES * FAULTS)
}
