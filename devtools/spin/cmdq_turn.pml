/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The turns of callers that wait for a command queue (drivers/smmuv3_pmd/turn.h, cmdq_sync.c): each
 * takes a turn, and either waits until it has come or leaves at any moment.
 *
 *	spin -a cmdq_turn.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *	spin -DCALLERS=2 -DCALLS=3 -a cmdq_turn.pml
 *
 * Each of these must be found wrong:
 *	spin -DNO_MARK -a cmdq_turn.pml		a caller that leaves does not mark its slot
 *	spin -DNO_ADVANCE -a cmdq_turn.pml	a caller that leaves moves nothing
 *	spin -DONE_STEP -a cmdq_turn.pml	the end of a turn moves "now" by one at most
 *	spin -DNO_BARRIER -a cmdq_turn.pml	no barrier between the mark and "now" (E2)
 *	spin -DNO_NUMBER -a cmdq_turn.pml	a mark does not say of which turn it is
 *	spin -DNO_LIMIT -a cmdq_turn.pml	more turns than slots are taken
 *	spin -DCALLERS=2 -DCALLS=3 -DNO_LOOK -a cmdq_turn.pml	a caller without a turn does not look
 *								whether others have one
 *
 * The checks: one turn has come at a time; they come in the order in which they were taken; each
 * caller without a turn passes one that waits at most once; at the end no turn is left, so that no
 * caller waits for one that has ended.
 *
 * The memory order is weaker than x86's: a mark, and the new "now" of a compare-and-swap, wait in
 * their thread's buffer until Memory() takes them out, in any order. A barrier waits for the
 * thread's own. Two threads do not replace the same value of "now".
 */

#ifndef CALLERS
#define CALLERS	3
#endif
#ifndef CALLS
#define CALLS	1	/* of each caller */
#endif
#ifdef NO_LIMIT
#define SLOTS	1
#else
#define SLOTS	2
#endif

#ifdef NO_NUMBER
#define MARK(turn)	1
#else
#define MARK(turn)	((turn) + 1)
#endif

byte next, now;
byte ended[SLOTS];
/* Stores in the buffers. */
byte mark[CALLERS], mark_of[CALLERS];	/* value, 0: none; and its turn */
byte moved[CALLERS];			/* the new "now", 0: none */

/* For the checks. */
byte inside;		/* callers whose turn has come, and who have not ended it */
bool waits[CALLERS];	/* this caller has a turn that it waits for, and */
byte passed[CALLERS];	/* so often one without a turn has passed it */
byte last;		/* 1 + the last turn that came */
byte finished;

inline barrier(me)
{
	(mark[me] == 0 && moved[me] == 0)
}

/* A thread reads its own stores; no other thread replaces a value that one has replaced. */
inline end_turn(me, turn)
{
	atomic { mark[me] = MARK(turn); mark_of[me] = turn };
#ifndef NO_BARRIER
	barrier(me);
#endif
	do
	:: true ->
		atomic { at = (moved[me] != 0 -> moved[me] : now) };
		atomic {
			if
			:: mark[me] != 0 && mark_of[me] % SLOTS == at % SLOTS -> seen = mark[me]
			:: else -> seen = ended[at % SLOTS]
			fi
		};
		if
		:: seen != MARK(at) -> break
		:: else
		fi;
		atomic {
			if
			:: now == at && moved[0] != at + 1 && moved[1] != at + 1 &&
					moved[CALLERS - 1] != at + 1 && moved[me] == 0 ->
				assert(at < next);
				moved[me] = at + 1
			:: else
			fi
		};
#ifdef ONE_STEP
		break
#endif
	od;
	atomic { at = 0; seen = 0 }
}

inline pass(i)
{
	if
	:: waits[i] -> passed[i]++; assert(passed[i] < CALLERS)
	:: else
	fi
}

proctype Caller(byte me)
{
	byte call, turn, before, at, seen;

	do
	:: call < CALLS ->
		if
		:: true ->
#ifndef NO_LOOK
			(next == now);
#endif
			atomic {
				pass(0);
				pass(1);
#if CALLERS == 3
				pass(2)
#endif
			}
		:: true ->
			do
			:: true ->
				before = now;
				atomic {
					if
#ifdef NO_LIMIT
					:: true ->
#else
					:: next - before < SLOTS ->
#endif
						turn = next;
						next++;
						waits[me] = true;
						passed[me] = 0;
						break
					:: else
					fi
				}
			od;
			before = 0;
			if
			:: atomic {
				now == turn ->
				inside++;
				waits[me] = false;
				assert(inside == 1);
				assert(turn >= last);
				last = turn + 1
			   };
				inside--;
				end_turn(me, turn)
			:: true ->
				/* It leaves. Its turn may have come. */
				waits[me] = false;
#ifdef NO_MARK
				skip
#else
#ifdef NO_ADVANCE
				atomic { mark[me] = MARK(turn); mark_of[me] = turn };
				barrier(me)
#else
				end_turn(me, turn)
#endif
#endif
			fi
		fi;
		call++
	:: else -> break
	od;
	finished++
}

inline take_out(i)
{
	if
	:: mark[i] != 0 ->
		ended[mark_of[i] % SLOTS] = mark[i];
		mark[i] = 0;
		mark_of[i] = 0
	:: moved[i] != 0 ->
		now = moved[i];
		moved[i] = 0
	fi
}

/* Buffered stores reach memory at any time, in any order. */
active proctype Memory()
{
end:	do
	:: atomic { take_out(0) }
	:: atomic { take_out(1) }
	:: atomic { take_out(CALLERS - 1) }
	od
}

active proctype Judge()
{
	byte i;

	(finished == CALLERS);
	do
	:: i < CALLERS -> (mark[i] == 0 && moved[i] == 0); i++
	:: else -> break
	od;
	assert(now == next)
}

init {
	byte i;

	atomic {
		do
		:: i < CALLERS -> run Caller(i); i++
		:: else -> break
		od
	}
}
