/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf: faults that join a leader, between the owners of the two queues, a thread that answers
 * the leader, and one that cancels faults (join.c, answer.c, cancel.c).
 *
 * Each statement between two program points is one atomic access, as each is in the code.
 *
 *	Lead	the owner of slot 0: its handler takes each fault, or the owner answers it itself
 *		(the ring of the worker is full); then it publishes it
 *	Joiner	the owner of the slots 1 and 2: each fault joins the leader that the table names,
 *		or is answered
 *	Answer	iopf_group_respond() for the leader, too early, too late, or both
 *	Cancel	cancels faults: a detach or a deadline
 *
 * Assertions:
 *	- each fault is answered exactly once, a joined one after its leader;
 *	- one thread frees a slot, once, and not before its fault is answered;
 *	- a fault is answered by the close of the leader that it has joined;
 *	- at the end, when the leader is answered, all slots are free.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a join.pml
 * Each of these must be found wrong, else the model has no value:
 *	spin -DBLIND_OPEN -a ...	a stack is opened without a look at its word
 *	spin -DNO_LOOK -a ...		a fault that its owner has answered is published
 *	spin -DNO_GENERATION -a ...	a push does not compare the generation
 *	spin -DBLIND_PUSH -a ...	a push is a plain store
 *	spin -DLATE_STATE -a ...	the state is JOINED only after the push
 *	spin -DBLIND_REVERT -a ...	after a push that failed the state is stored
 *	spin -DBLIND_POP -a ...		a popped fault is answered in any state
 *	spin -DFREE_LEFT -a ...		a cancel frees the slot of a joined fault
 *	spin -DEARLY_CLOSE -a ...	the joined faults are answered before the leader
 *	spin -DNO_CLOSE -a ...		a cancel of the leader does not close its stack
 */

#ifndef LEADERS
#define LEADERS	2
#endif
#ifndef JOINS
#define JOINS	2
#endif
#define NONE	255

#define FREE		0
#define HANDLING	1
#define TAKEN		2
#define DONE		3
#define JOINED		4
#define LEFT		5

/* The words of the slots, and what the model knows of them. */
byte state[3];
byte gen[3] = 1;
byte answers[3];
bool available[3] = true;
byte joined_to[3];
byte next[3];

/* The stack of slot 0. */
byte stack_gen;
bool stack_open;
byte top = NONE;

/* The table's entry: a generation of slot 0; 0: none. */
byte entry;

bool leader_answered[LEADERS + 2];

/* The claim of the answer; it is sent later, from a copy. */
inline claim(i)
{
	answers[i]++;
	assert(answers[i] == 1)
}

/* Onto the stack of freed slots; the owner takes it from there. */
inline free_slot(i)
{
	d_step {
		assert(!available[i] && answers[i] == 1 && state[i] == FREE);
		available[i] = true
	}
}

inline alloc_slot(i)
{
	atomic {
		available[i] -> available[i] = false;
		answers[i] = 0;
		state[i] = HANDLING
	}
}

/* Close the stack of generation g, and answer the faults in it. */
inline close_stack()
{
	d_step {
		at = NONE;
		if
		:: stack_gen > g
		:: else ->
			if :: stack_gen == g -> at = top :: else fi;
			stack_gen = g;
			stack_open = false;
			top = NONE
		fi
	}
	do
	:: at == NONE -> break
	:: else ->
		k = at;
		at = next[k];
		d_step {
			assert(joined_to[k] == g);
#ifdef BLIND_POP
			was = JOINED;
			state[k] = FREE;
			gen[k]++;
			claim(k)
#else
			was = state[k];
			assert(was == JOINED || was == LEFT);
			if
			:: was == JOINED -> state[k] = FREE; gen[k]++; claim(k)
			:: else
			fi
#endif
		}
		if
		:: was == JOINED -> assert(leader_answered[g])	/* sent */
		:: else -> d_step { state[k] = FREE; gen[k]++ }
		fi;
		free_slot(k)
	od;
	k = NONE; was = FREE
}

/* Claim and answer the fault of slot i and generation g. */
inline respond(i, closes)
{
	d_step {
		was = FREE;
		if
		:: gen[i] == g ->
			if
			:: state[i] == TAKEN -> was = TAKEN; state[i] = FREE; gen[i]++; claim(i)
			:: state[i] == HANDLING -> was = HANDLING; state[i] = DONE; claim(i)
#ifdef FREE_LEFT
			:: state[i] == JOINED -> was = TAKEN; state[i] = FREE; gen[i]++; claim(i)
#else
			:: state[i] == JOINED -> was = JOINED; state[i] = LEFT; claim(i)
#endif
			:: else
			fi
		:: else
		fi
	}
	if
	:: was != FREE ->
		mine = (was == TAKEN);
#ifdef EARLY_CLOSE
		if :: i == 0 -> close_stack() :: else fi;
		if :: i == 0 -> leader_answered[g] = true :: else fi;
#else
		if :: i == 0 -> leader_answered[g] = true :: else fi;
		if :: i == 0 && closes -> close_stack() :: else fi;
#endif
		if :: mine -> free_slot(i) :: else fi
	:: else
	fi;
	mine = false; was = FREE
}

proctype Lead()
{
	byte g, n;
	bool taken, look;

	do
	:: n == LEADERS -> break
	:: n < LEADERS ->
		alloc_slot(0);
		g = gen[0];
		if
		:: atomic { /* taken */
			if
			:: state[0] == HANDLING -> state[0] = TAKEN; taken = true
			:: else -> taken = false
			fi
		}
		:: atomic { /* answered by the owner */
			taken = false;
			if
			:: state[0] == HANDLING -> state[0] = DONE; claim(0)
			:: else
			fi
		}
		fi;
		if
		:: !taken -> atomic { state[0] = FREE; gen[0]++ }
		:: else
		fi;
		/* Publish; only this thread uses the slot again. */
#ifdef NO_LOOK
		look = true;
#else
		look = (gen[0] == g && (state[0] == TAKEN || state[0] == HANDLING));
#endif
		if
		:: look ->
			atomic {
				if
#ifdef BLIND_OPEN
				:: true ->
#else
				:: stack_gen < g && !stack_open ->
#endif
					stack_gen = g;
					stack_open = true;
					top = NONE
				:: else
				fi
			}
			entry = g
		:: else
		fi;
		if
		:: !taken -> free_slot(0)
		:: else
		fi;
		n++
	od
}

proctype Joiner()
{
	byte g, id, n, i = 1;
	byte old_gen, old_top;
	bool old_open, pushed;

	do
	:: n == JOINS -> break
	:: n < JOINS ->
		alloc_slot(i);
		g = gen[i];
		id = entry;
		pushed = false;
		if
		:: id == 0 -> goto handle
		:: else
		fi;
#ifndef LATE_STATE
		atomic {
			if
			:: state[i] == HANDLING -> state[i] = JOINED
			:: else -> goto handle
			fi
		}
#endif
		do
		:: d_step { old_gen = stack_gen; old_open = stack_open; old_top = top }
			if
#ifdef NO_GENERATION
			:: !old_open -> break
#else
			:: old_gen != id || !old_open -> break
#endif
			:: else
			fi;
			d_step { next[i] = old_top; joined_to[i] = id };
			d_step {
				if
#ifdef BLIND_PUSH
				:: true ->
#else
				:: stack_gen == old_gen && stack_open == old_open && top == old_top ->
#endif
					top = i;
					pushed = true
				:: else
				fi
			}
			if :: pushed -> break :: else fi
		od;
		if
		:: pushed ->
#ifdef LATE_STATE
			atomic {
				if
				:: state[i] == HANDLING -> state[i] = JOINED
				:: else
				fi
			}
#endif
			goto next_fault
		:: else
		fi;
		atomic {
#ifdef BLIND_REVERT
			state[i] = HANDLING
#else
			if
			:: state[i] == JOINED -> state[i] = HANDLING
			:: state[i] == LEFT -> state[i] = DONE
			:: else
			fi
#endif
		}
		/* The handler answers, or a cancel was first. */
handle:		atomic {
			if
			:: state[i] == HANDLING -> state[i] = FREE; gen[i]++; claim(i)
			:: else -> state[i] = FREE; gen[i]++
			fi
		}
		free_slot(i);
next_fault:	i = 3 - i;
		n++
	od
}

proctype Answer()
{
	byte g = 1, at, k, was;
	bool mine;

	/* Each generation, at any time. */
	do
	:: g > LEADERS -> break
	:: g <= LEADERS ->
		respond(0, true);
		if
		:: gen[0] > g -> g++
		:: else	/* not yet */
		fi
	od
}

proctype Cancel()
{
	byte g, at, k, was, i, n;
	bool mine;

	do
	:: n == 2 -> break
	:: n < 2 ->
		if :: i = 0 :: i = 1 :: i = 2 fi;
		g = gen[i];
#ifdef NO_CLOSE
		respond(i, false);
#else
		respond(i, true);
#endif
		n++
	od
}

init
{
	atomic {
		run Lead();
		run Joiner();
		run Answer();
		run Cancel()
	}
	(_nr_pr == 1);
	assert(available[0] && available[1] && available[2])
}
