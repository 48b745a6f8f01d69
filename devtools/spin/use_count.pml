/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Uses of devices, against a suspend at rest and the thread that resumes (lib/iopf/power.h).
 *
 *	spin -a use_count.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *
 * Each of these must be found wrong:
 *	spin -DNO_GET_ORDER -a use_count.pml	the load of the state may overtake the count
 *	spin -DNO_SUSPEND_ORDER -a use_count.pml	the load of the count may overtake the state
 *	spin -DNO_WAKE -a use_count.pml		a get that finds no RUNNING wakes no thread
 *	spin -DREAD_LAST -a use_count.pml	the thread reads its eventfd after the count
 *	spin -DNO_COUNT -a use_count.pml	the suspend does not look at the count
 *
 * The store of a state and the increment wait in their thread's buffer until Memory() takes them
 * out; a thread that orders its load after its store waits for that. The power thread and a call
 * of the application suspend; state_lock keeps one out while the other does.
 */

#define USERS	2

#define RUNNING		0
#define QUIESCING	1
#define SUSPENDED	2

byte state = RUNNING;
byte storing;			/* a state + 1 that waits in the suspend's buffer; 0: none */
byte uses;
bool counting[USERS];		/* an increment waits in the buffer of this user */
byte in_use;			/* users that have been told that the IOMMU runs */
bool fd;			/* the eventfd is set */
bool lock;
byte finished;

inline take_lock()
{
	atomic { !lock -> lock = true }
}

inline suspend()
{
	assert(state == RUNNING);
	storing = QUIESCING + 1;
#ifndef NO_SUSPEND_ORDER
	(storing == 0);
#endif
	if
#ifdef NO_COUNT
	:: true -> (storing == 0); assert(in_use == 0); state = SUSPENDED
#else
	:: uses == 0 -> (storing == 0); assert(in_use == 0); state = SUSPENDED
	:: uses != 0 -> (storing == 0); state = RUNNING
#endif
	fi
}

/* iopf_iommu_suspend(), by the application, and an autosuspend are the same here. */
active proctype Suspender()
{
	byte turns;

	do
	:: turns < 2 ->
		take_lock();
		if
		:: state == RUNNING -> suspend()
		:: else
		fi;
		lock = false;
		turns++
	:: else -> break
	od
}

active proctype Power()
{
end:	do
	:: fd ->
#ifndef READ_LAST
		fd = false;
#endif
		take_lock();
		if
		:: state == SUSPENDED && uses != 0 -> state = RUNNING
		:: else
		fi;
		lock = false
#ifdef READ_LAST
		; fd = false
#endif
	od
}

proctype User(byte me)
{
	byte turns;

	do
	:: turns < 2 ->
		counting[me] = true;
#ifndef NO_GET_ORDER
		(!counting[me]);
#endif
		if
		:: state == RUNNING -> in_use++
		:: else ->
#ifndef NO_WAKE
			(!counting[me]);
			fd = true;
#endif
			/* iopf_dev_active(): an end state if nobody resumes. */
			(state == RUNNING && !counting[me]);
			in_use++
		fi;
		/* DMA. The Suspender asserts that no user is here. */
		assert(state != SUSPENDED);
		in_use--;
		(!counting[me]);
		uses--;
		turns++
	:: else -> break
	od;
	finished++
}

active proctype Memory()
{
end:	do
	:: atomic { storing != 0 -> state = storing - 1; storing = 0 }
	:: atomic { counting[0] -> counting[0] = false; uses++ }
	:: atomic { counting[1] -> counting[1] = false; uses++ }
	od
}

init {
	byte i;

	atomic {
		do
		:: i < USERS -> run User(i); i++
		:: else -> break
		od
	}
}
