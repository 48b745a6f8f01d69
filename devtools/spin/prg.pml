/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Page request groups over a request queue that overflows: the SMMU's part, the driver's (priq.c)
 * and the library's (prg.c).
 *
 *	Device	sends groups of two requests, the second with Last, at most CREDITS
 *		requests outstanding; reuses an index after the answer. Its step includes
 *		the SMMU's handling of a request: written; or lost, and with Last answered
 *		by the SMMU itself.
 *	Poller	reads PROD and OVFLG at once, takes the entries, writes CONS, together
 *		with OVACKFLG if they were the last before an overflow, and only then
 *		processes the requests in order, the marker LOST after them; answers last
 *	Owner	answers taken groups, at any time
 *	Detach	ends the domain: partial groups become DROPPED, pending ones are answered
 *
 * Assertions:
 *	- each group is answered once, by the library or by the SMMU, never before its Last;
 *	- a handler's group has requests of one group only;
 *	- with CREDITS within the queue it never overflows;
 *	- no thread uses the domain after the detach has returned.
 * The device does not wait for a missing answer (invalid end state).
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -DCREDITS=4 -DQUEUE=2 -a prg.pml	over-committed: it overflows
 *	spin -DCREDITS=2 -DQUEUE=2 -DINDICES=1 -a prg.pml	within the budget
 * Each of these must be found wrong, else the model has no value:
 *	spin -DCREDITS=4 -DQUEUE=2 -DNO_DISCARD -a ...	LOST leaves partial groups
 *	spin -DCREDITS=4 -DQUEUE=2 -DLOST_LATE -a ...	LOST comes a burst too late
 *	spin -DCREDITS=4 -DQUEUE=2 -DANSWER_PARTIAL -a ...	a partial group is answered at LOST
 *	spin -DCREDITS=2 -DQUEUE=2 -DINDICES=1 -DANSWER_FIRST -a ...	answers before CONS
 *	spin -DCREDITS=4 -DQUEUE=2 -DBLIND_LAST -a ...	Last does not compare the state
 */

#ifndef INDICES
#define INDICES		2
#endif
#define GROUPS		3	/* sent by the device */

#define FREE		0
#define PARTIAL		1
#define HANDLING	2
#define TAKEN		3
#define DROPPED		4
#define DONE		5

/* The request queue: index, Last, and the true group. */
byte q_index[QUEUE], q_group[QUEUE];
bool q_last[QUEUE];
byte prod, cons;		/* entries written and read */
bool overflow;			/* OVFLG differs from OVACKFLG */

/* The library: one slot for each index. */
byte state[INDICES];
byte members[INDICES];		/* group + 1 of its requests */
bool attached = true;
bool gone;

/* The device. */
byte now[INDICES];		/* the group + 1 that uses the index; 0: none */
byte sent[INDICES];		/* requests sent of its two */
byte outstanding;
byte next_group;

/* The device gets an answer. */
inline answer(i)
{
	d_step {
		assert(now[i] != 0);		/* otherwise a second answer */
		assert(sent[i] == 2);		/* otherwise an answer before its Last */
		outstanding = outstanding - 2;
		now[i] = 0;
		sent[i] = 0
	}
}

/* One request, and the SMMU's handling of it. */
inline send(i, last)
{
	sent[i]++;
	if
	:: overflow || prod - cons == QUEUE ->
#if CREDITS <= QUEUE
		assert(false);		/* the budget prevents an overflow */
#endif
		overflow = true;
		if
		:: last -> answer(i)
		:: else -> skip
		fi
	:: else ->
		q_index[prod % QUEUE] = i;
		q_group[prod % QUEUE] = now[i];
		q_last[prod % QUEUE] = last;
		prod++
	fi
}

proctype Device()
{
	byte i;

	do
	:: next_group < GROUPS ->
		if
		:: atomic { outstanding + 2 <= CREDITS && next_group < GROUPS ->
			/* A free index. */
			i = 0;
			do
			:: i < INDICES && now[i] != 0 -> i++
			:: else -> break
			od;
			assert(i < INDICES);	/* CREDITS are twice the indices */
			next_group++;
			now[i] = next_group;
			outstanding = outstanding + 2;
			send(i, false);
			i = 0 }
		:: atomic { sent[0] == 1 -> send(0, true) }
#if INDICES > 1
		:: atomic { sent[1] == 1 -> send(1, true) }
#endif
		fi
	:: atomic { sent[0] == 1 -> send(0, true) }
#if INDICES > 1
	:: atomic { sent[1] == 1 -> send(1, true) }
#endif
	:: atomic { next_group == GROUPS && outstanding == 0 -> break }
	od
}

/* The handler of a complete group, with any verdict. */
inline call(i)
{
	assert(!gone);
	if
	:: atomic { state[i] == HANDLING -> state[i] = FREE; members[i] = 0; todo[i] = true }
	:: atomic { state[i] == HANDLING -> state[i] = TAKEN }
	:: atomic { state[i] == DONE -> state[i] = FREE; members[i] = 0 }
	fi
}

inline discard_all()
{
#ifdef ANSWER_PARTIAL
	atomic {
		if
		:: state[0] == PARTIAL -> todo[0] = true
		:: else -> skip
		fi
	};
#endif
#ifndef NO_DISCARD
	atomic {
		i = 0;
		do
		:: i < INDICES ->
			if
			:: state[i] == PARTIAL || state[i] == DROPPED -> state[i] = FREE; members[i] = 0
			:: else -> skip
			fi;
			i++
		:: else -> break
		od;
		i = 0
	}
#else
	skip
#endif
}

inline flush_answers()
{
	i = 0;
	do
	:: i < INDICES ->
		if
		:: todo[i] -> todo[i] = false; answer(i)
		:: else -> skip
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

inline forget(i)
{
	atomic { state[i] = FREE; members[i] = 0 }
}

/* request_dispatch() of prg.c: reads the state once. */
inline request(i, last, g)
{
	was = state[i];
	if
	:: was == PARTIAL ->
		/* All requests of a group belong to one group. */
		assert(members[i] == g);
		assert(last);		/* groups have two requests */
#ifdef BLIND_LAST
		state[i] = HANDLING;
		call(i)
#else
		if
		:: atomic { state[i] == PARTIAL -> state[i] = HANDLING }; call(i)
		:: state[i] == DROPPED -> forget(i); begin(i, last, g)
		fi
#endif
	:: was == DROPPED -> forget(i); begin(i, last, g)
	:: else -> begin(i, last, g)
	fi
}

inline begin(i, last, g)
{
	assert(state[i] == FREE);
	if
	:: !attached ->
		if
		:: last -> todo[i] = true	/* iopf_event_refuse() */
		:: else -> skip
		fi
	:: else ->
		atomic { members[i] = g; state[i] = (last -> HANDLING : PARTIAL) };
		if
		:: last -> call(i)
		:: else -> skip
		fi
	fi
}

bool pass;			/* the poller is in a read section */
byte passes;

proctype Poller()
{
	byte got_index[QUEUE], got_group[QUEUE];
	bool got_last[QUEUE], todo[INDICES];
	byte i, n, k, was;
	bool lost, late;

end:
	do
	:: atomic { prod != cons || overflow || late -> pass = true };
		/* One load of PRIQ_PROD; the entries before it are complete. */
		d_step { n = prod - cons; lost = overflow };
		d_step {
			k = 0;
			do
			:: k < n ->
				got_index[k] = q_index[(cons + k) % QUEUE];
				got_group[k] = q_group[(cons + k) % QUEUE];
				got_last[k] = q_last[(cons + k) % QUEUE];
				k++
			:: else -> break
			od;
			k = 0
		};
#ifndef ANSWER_FIRST
		/* One store of PRIQ_CONS. */
		d_step {
			cons = cons + n;
			if
			:: lost -> overflow = false
			:: else -> skip
			fi
		};
#endif
#ifdef LOST_LATE
		if
		:: late -> late = false
		:: else -> skip
		fi;
#endif
		do
		:: k < n -> request(got_index[k], got_last[k], got_group[k]); k++
		:: else -> break
		od;
#ifdef LOST_LATE
		if
		:: lost -> late = true		/* handled a burst too late */
		:: else -> skip
		fi;
#else
		if
		:: lost -> discard_all()
		:: else -> skip
		fi;
#endif
		flush_answers();
#ifdef ANSWER_FIRST
		d_step {
			cons = cons + n;
			if
			:: lost -> overflow = false
			:: else -> skip
			fi
		};
#endif
		d_step {
			k = 0;
			do
			:: k < QUEUE -> got_index[k] = 0; got_group[k] = 0; got_last[k] = false; k++
			:: else -> break
			od;
			n = 0; k = 0; i = 0; was = 0; lost = false
		};
		atomic { pass = false; passes = 1 - passes }
	od
}

/* iopf_group_respond(). */
proctype Owner()
{
end:
	do
	:: atomic { state[0] == TAKEN -> assert(!gone); state[0] = FREE; members[0] = 0 }; answer(0)
#if INDICES > 1
	:: atomic { state[1] == TAKEN -> assert(!gone); state[1] = FREE; members[1] = 0 }; answer(1)
#endif
	od
}

inline cancel(i)
{
	do
	:: atomic { state[i] == PARTIAL -> state[i] = DROPPED }
	:: atomic { state[i] == TAKEN -> state[i] = FREE; members[i] = 0 }; answer(i)
	:: atomic { state[i] == HANDLING -> state[i] = DONE }; answer(i)
	:: state[i] == FREE || state[i] == DROPPED -> break
	od
}

proctype Detach()
{
	byte then;

	attached = false;
	/* The grace period of iopf_table_del(). */
	then = passes;
	!pass || passes != then;
	cancel(0);
#if INDICES > 1
	cancel(1);
#endif
	then = passes;
	!pass || passes != then;
	gone = true
}

init
{
	atomic { run Device(); run Poller(); run Owner(); run Detach() }
}
