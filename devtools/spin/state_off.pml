/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Invalidations that return without a command because the SMMU is off, against a stop and starts
 * (drivers/smmuv3_pmd/state.h).
 *
 *	spin -a state_off.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *	spin -DCALLER_OWNS -a state_off.pml		the caller reads the state as the owner
 *
 * Each of these must be found wrong:
 *	spin -DNO_CALLER_BARRIER -a state_off.pml	no barrier before the state is read (C2)
 *	spin -DNO_START_BARRIER -a state_off.pml	no barrier after STARTING (S2)
 *	spin -DNO_EPOCH -a state_off.pml		starts are not counted: waits forever
 *	spin -DOFF_TOO_EARLY -a state_off.pml		OFF before SMMUEN reads 0
 *	spin -DCALLER_OWNS -DNO_WMB -a state_off.pml	its PROD store does not order C1
 *	spin -DCALLER_OWNS -DSTART_OWNS_NOT -a state_off.pml	start does not own the queue
 *
 * Two stores wait in their thread's buffer until Memory() takes them out: the caller's store to the
 * table (C1) and start's STARTING (S1). The SMMU walks at any moment while SMMUEN is 1, and caches
 * the entry until a TLBI.
 */

#if defined(CALLER_OWNS) && !defined(START_OWNS_NOT)
#define START_OWNS
#endif

#define OFF		0
#define STARTING	1
#define RUNNING		2
#define STOPPING	3

byte state = RUNNING;
byte epoch;
bool starting;			/* S1 is in the buffer */

bool table = true;		/* the old entry is valid */
bool unmapping;			/* C1 is in the buffer */
bool cached;			/* the old entry is in the TLB */
bool smmuen = true;

bool owner;			/* of the queue */
byte queued;			/* 1: the caller's TLBI is in the queue */
bool executed;
bool promised;			/* the invalidation has returned 0 */

inline set_starting()
{
	atomic { starting = true; epoch++ };
#ifndef NO_START_BARRIER
	(!starting);
#endif
}

active proctype Control()
{
	byte turns;

	do
	:: turns < 2 ->
		/* stop */
		state = STOPPING;
#ifdef OFF_TOO_EARLY
		state = OFF;
#endif
		smmuen = false;
		/* The queue's owner, which changes the state, drops the queue. Then start. */
#ifdef START_OWNS
		atomic { !owner -> owner = true };
#endif
		atomic { state = OFF; queued = 0 };
#ifdef START_OWNS
		owner = false;
		atomic { !owner -> owner = true };
#endif
		set_starting();
#ifdef START_OWNS
		atomic { (!starting) -> owner = false };
#endif
		cached = false;
		smmuen = true;
		(!starting);
		state = RUNNING;
		turns++
	:: else -> break
	od
}

active proctype Caller()
{
	byte mine;
	bool posted;

	unmapping = true;
#ifdef CALLER_OWNS
	atomic { !owner -> owner = true };
	/* The word of state and epoch is not yet that of S1. */
	mine = epoch - starting;
	if
	:: state != OFF ->
#ifndef NO_WMB
		(!unmapping);
#endif
		atomic { queued = 1; posted = true };
		owner = false
	:: else ->
		/* Once more, as a caller that does not own the queue. */
		owner = false;
		(!unmapping);
		mine = epoch
	fi;
#else
#ifndef NO_CALLER_BARRIER
	(!unmapping);
#endif
	mine = epoch;
#endif
	do
	:: executed -> break
#ifndef NO_EPOCH
	:: epoch != mine && !starting -> break
#endif
	:: state == OFF -> break
	:: atomic { !posted && state != OFF -> queued = 1; posted = true }
	od;
	promised = true
}

active proctype SMMU()
{
end:	do
	:: atomic { queued == 1 -> cached = false; executed = true; queued = 0 }
	:: atomic { smmuen && table -> cached = true }
	:: atomic { smmuen && promised -> assert(!cached && !table) }
	od
}

active proctype Memory()
{
end:	do
	:: atomic { unmapping -> unmapping = false; table = false }
	:: atomic { starting -> starting = false; state = STARTING }
	od
}
