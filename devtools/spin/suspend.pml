/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * A thread that unmaps, one that checks for errors, and one that suspends the SMMU and takes its
 * power: no register is accessed without power, and an unmap that issues no command since the SMMU
 * is off is made good by the resume (drivers/smmuv3_pmd/state.h, tlbi.c). state_off.pml has the
 * argument for a caller that finds the SMMU off later.
 *
 *	spin -a suspend.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *
 * Each of these must be found wrong:
 *	spin -DNO_OWN -a suspend.pml		the suspend stores OFF and does not own the queue
 *	spin -DNO_OWNED_LOAD -a suspend.pml	an owner relies on the state that it loaded before
 *	spin -DNO_CTL -a suspend.pml		the check of errors takes no ctl
 *	spin -DLATE_POWER -a suspend.pml	the resume stores STARTING before the power is on
 *	spin -DNO_CALLER_BARRIER -a suspend.pml	no barrier before the load that counts
 *	spin -DNO_SECOND_LOAD -a suspend.pml	the load before the barrier counts
 *	spin -DNO_START_BARRIER -a suspend.pml	no barrier after STARTING
 *	spin -DNO_INVALIDATION -a suspend.pml	the resume invalidates nothing
 *
 * Stores wait in their thread's buffer until Memory() takes them out: the caller's store to the
 * table, and the resume's STARTING. The SMMU walks at any moment while SMMUEN is 1, and caches the
 * entry until a TLBI; without power it may keep what it has cached.
 */

#define OFF		0
#define STARTING	1
#define RUNNING		2
#define STOPPING	3

byte state = RUNNING;
byte epoch;
bool starting;			/* STARTING is in the buffer */
bool ctl, owner;
bool power = true;

bool table = true;		/* the old entry is valid */
bool unmapping;			/* the store that ends that is in the buffer */
bool cached;			/* the old entry is in the TLB */
bool smmuen = true;

bool queued;			/* the caller's TLBI is in the queue */
bool executed;
bool promised;			/* the invalidation has returned 0 */

inline own()
{
	atomic { !owner -> owner = true }
}

inline access_register()
{
	assert(power)
}

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
		/* suspend */
		atomic { !ctl -> ctl = true };
		state = STOPPING;
		access_register();
		smmuen = false;
#ifdef NO_OWN
		state = OFF;
		queued = false;
#else
		own();
		/* The owner drops the queue. */
		atomic { state = OFF; queued = false };
		owner = false;
#endif
		access_register();
		ctl = false;
		power = false;
		/* resume */
#ifndef LATE_POWER
		power = true;
#endif
		atomic { !ctl -> ctl = true };
		own();
		set_starting();
		owner = false;
#ifdef LATE_POWER
		power = true;
#endif
		access_register();
#ifndef NO_INVALIDATION
		cached = false;
#endif
		smmuen = true;
		(!starting);
		state = RUNNING;
		ctl = false;
		turns++
	:: else -> break
	od
}

/* check(), a dump: anything that is done under ctl. */
active proctype Checker()
{
	byte turns;

	do
	:: turns < 2 ->
		if
		:: state == RUNNING ->
#ifndef NO_CTL
			if
			:: atomic { !ctl -> ctl = true } ->
				if
				:: state == RUNNING -> access_register()
				:: else
				fi;
				ctl = false
			:: ctl
			fi
#else
			access_register()
#endif
		:: else
		fi;
		turns++
	:: else -> break
	od
}

active proctype Caller()
{
	byte mine;
	bool posted, takes;

	unmapping = true;
	/* is_off() in tlbi.c */
	if
	:: state == OFF ->
#ifndef NO_CALLER_BARRIER
		(!unmapping);
#endif
#ifndef NO_SECOND_LOAD
		if
		:: state == OFF -> promised = true; goto end
		:: else
		fi
#else
		promised = true;
		goto end
#endif
	:: else
	fi;
	/* smmuv3_cmdq_sync() */
	(!unmapping);
	mine = epoch;
	do
	:: executed -> break
	:: epoch != mine && !starting -> break
	:: state == OFF -> break
	:: !posted ->
#ifdef NO_OWNED_LOAD
		takes = state != OFF;
		own();
#else
		own();
		takes = state != OFF;
#endif
		if
		:: takes -> access_register(); queued = true; posted = true
		:: else
		fi;
		owner = false
	od;
	promised = true;
end:	skip
}

active proctype SMMU()
{
end:	do
	:: atomic { power && queued -> cached = false; executed = true; queued = false }
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
