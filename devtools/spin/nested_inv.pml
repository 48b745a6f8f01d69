/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * No TLB entry that combines two stages keeps an old translation of stage 2
 * (drivers/smmuv3_pmd/tlbi.c): a nested domain is attached while an entry of its parent's table
 * changes. Another device of the parent may bring the entry into the TLB at any time, and a walk of
 * the nested device combines what the TLB has.
 *
 *	spin -a nested_inv.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan	answer_after()
 *	spin -DWAITS -a nested_inv.pml					invalidate()
 *	spin -DWAITS -DNO_TLBI -a nested_inv.pml	... needs of A2 and A3 the release only
 *
 * Each of these must be found wrong:
 *	spin -DNO_BARRIER -a nested_inv.pml	no barrier between table and nb_nested (B2)
 *	spin -DNO_TLBI -a nested_inv.pml	no TLBI before the STE is nested (A2, A3)
 *	spin -DLIVE_FIRST -a nested_inv.pml	nb_nested is raised after that (A1)
 *	spin -DWAITS -DLIVE_FIRST -a nested_inv.pml
 *	spin -DWAITS -DNO_TLBI -DREAD_FIRST -a nested_inv.pml	nb_nested read before the SYNC (I3)
 *	spin -DONE_SYNC -a nested_inv.pml	no SYNC between TLBI_S2_IPA and TLBI_NH_ALL
 *	spin -DWAITS -DONE_SYNC -a nested_inv.pml
 *	spin -DNH_FIRST -a nested_inv.pml	TLBI_NH_ALL before TLBI_S2_IPA
 *
 * Stores wait in their thread's buffer until Memory() takes one out, in any order. Giving commands
 * to the queue is a release, which waits for the thread's own stores; so is a barrier. A TLBI takes
 * effect when no walk is under way, at its SYNC at the latest.
 */

#define NONE	0
#define OLD	1
#define NEW	2

#define TLBI_S2	0	/* TLBI_S2_IPA: entries of stage 2 alone */
#define NH_ALL	1	/* combined entries */
#define VMALL	2	/* TLBI_S12_VMALL: both */
#define SYNC	3

#define ATTACH	0
#define CHANGE	1

byte pte = OLD;
bool nested, live;		/* nb_nested is not 0; the STE is nested */
bool pte_waits, nested_waits, live_waits;	/* stores in the buffer of their thread */

chan queue = [6] of { byte, byte };
bool tlbi_s2, nh_all;		/* pending until the next SYNC */
bool synced[2];

byte s2 = OLD, combined = NONE;	/* cached translations of the entry */
byte walk = NONE, cwalk = NONE;	/* read by a walk, not in the TLB yet */
byte finished;

inline barrier(me)
{
	if
	:: me == ATTACH -> (!nested_waits && !live_waits)
	:: else -> (!pte_waits)
	fi
}

inline give(me, command)
{
	barrier(me);
	queue!command, me
}

inline sync(me)
{
	synced[me] = false;
	give(me, SYNC);
	(synced[me])
}

active proctype Attach()
{
#ifndef LIVE_FIRST
	nested_waits = true;
#endif
#ifdef NO_TLBI
	barrier(ATTACH);
#else
	give(ATTACH, VMALL);
	sync(ATTACH);
#endif
	live_waits = true;
	/* CFGI_STE */
	sync(ATTACH);
#ifdef LIVE_FIRST
	nested_waits = true;
	barrier(ATTACH);
#endif
	finished++
}

active proctype Change()
{
	bool seen;

	pte_waits = true;
#ifdef WAITS
	give(CHANGE, TLBI_S2);
#ifdef READ_FIRST
	seen = nested;
#endif
#ifndef ONE_SYNC
	sync(CHANGE);
#endif
#ifndef READ_FIRST
	seen = nested;
#endif
	if
	:: seen -> give(CHANGE, NH_ALL)
	:: else
	fi;
	sync(CHANGE);
#else
#ifndef NO_BARRIER
	barrier(CHANGE);
#endif
	seen = nested;
#ifdef NH_FIRST
	if
	:: seen ->
		give(CHANGE, NH_ALL);
		give(CHANGE, SYNC)
	:: else
	fi;
#endif
	give(CHANGE, TLBI_S2);
#ifndef ONE_SYNC
	give(CHANGE, SYNC);
#endif
#ifndef NH_FIRST
	if
	:: seen -> give(CHANGE, NH_ALL)
	:: else
	fi;
	give(CHANGE, SYNC);
#endif
#endif
	finished++
}

active proctype Smmu()
{
	byte command, whose;

end:	do
	:: queue?command, whose ->
		if
		:: command == TLBI_S2 -> tlbi_s2 = true
		:: command == NH_ALL -> nh_all = true
		:: command == VMALL -> tlbi_s2 = true; nh_all = true
		:: else ->
			atomic {
				(walk == NONE && cwalk == NONE);
				if
				:: tlbi_s2 -> s2 = NONE
				:: else
				fi;
				if
				:: nh_all -> combined = NONE
				:: else
				fi;
				tlbi_s2 = false;
				nh_all = false;
				synced[whose] = true
			}
		fi
	/* Either may be complete before the SYNC. */
	:: atomic { tlbi_s2 && walk == NONE && cwalk == NONE -> s2 = NONE; tlbi_s2 = false }
	:: atomic { nh_all && walk == NONE && cwalk == NONE -> combined = NONE; nh_all = false }
	od
}

/* A device of the parent itself, and the nested one as soon as its STE is. */
active proctype Devices()
{
end:	do
	:: atomic { s2 == NONE && walk == NONE -> walk = pte }
	:: atomic { walk != NONE -> s2 = walk; walk = NONE }
	:: atomic { live && combined == NONE && cwalk == NONE && s2 != NONE -> cwalk = s2 }
	:: atomic { cwalk != NONE -> combined = cwalk; cwalk = NONE }
	od
}

active proctype Memory()
{
end:	do
	:: atomic { pte_waits -> pte_waits = false; pte = NEW }
	:: atomic { nested_waits -> nested_waits = false; nested = true }
	:: atomic { live_waits -> live_waits = false; live = true }
	od
}

active proctype Judge()
{
	atomic {
		(finished == 2 && empty(queue) && !tlbi_s2 && !nh_all && walk == NONE &&
			cwalk == NONE && !pte_waits && !nested_waits && !live_waits);
		assert(s2 != OLD);
		assert(combined != OLD)
	}
}
