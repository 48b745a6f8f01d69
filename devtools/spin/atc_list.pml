/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * No ATC keeps an old translation (drivers/smmuv3_pmd/atc.c): a device is attached to a domain
 * while an entry of its table changes, and another device of the domain may bring the entry into
 * the TLB at any time.
 *
 *	spin -a atc_list.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan	answer_after()
 *	spin -DWAITS -a atc_list.pml					invalidate()
 *	spin -DWAITS -DNO_TLBI -a atc_list.pml		... needs of A2 and A3 the release only
 *
 * Each of these must be found wrong:
 *	spin -DNO_BARRIER -a atc_list.pml	no barrier between table and list (B2)
 *	spin -DNO_TLBI -a atc_list.pml		no TLBI before the CD is live (A2, A3)
 *	spin -DLIVE_FIRST -a atc_list.pml	on the list after that (A1)
 *	spin -DWAITS -DLIVE_FIRST -a atc_list.pml
 *	spin -DWAITS -DNO_TLBI -DLIST_FIRST -a atc_list.pml	list read before the SYNC (I3)
 *	spin -DATC_FIRST -a atc_list.pml	ATC_INV before the TLBI's SYNC
 *
 * Stores wait in their thread's buffer until Memory() takes one out, in any order. Posting commands
 * to the queue is a release, which waits for the thread's own stores; so is a barrier. A TLBI or
 * ATC_INV takes effect at its SYNC, which waits for the current walk.
 */

#define NONE	0
#define OLD	1
#define NEW	2

#define TLBI	0
#define ATC_INV	1
#define SYNC	2

#define ATTACH	0
#define CHANGE	1

byte pte = OLD;
bool word, live;		/* on the list; the CD is live */
bool pte_waits, word_waits, live_waits;	/* stores in the buffer of their thread */

chan queue = [6] of { byte, byte };
bool tlbi, atc_inv;		/* pending until the next SYNC */
bool synced[2];

byte tlb = OLD, atc = NONE;	/* cached translations of the entry */
byte walk = NONE;		/* read by the walk, not in the TLB yet */
byte finished;

inline barrier(me)
{
	if
	:: me == ATTACH -> (!word_waits && !live_waits)
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
	word_waits = true;
#endif
#ifdef NO_TLBI
	barrier(ATTACH);
#else
	give(ATTACH, TLBI);
	sync(ATTACH);
#endif
	live_waits = true;
	/* CFGI_CD */
	sync(ATTACH);
#ifdef LIVE_FIRST
	word_waits = true;
	barrier(ATTACH);
#endif
	finished++
}

active proctype Change()
{
	bool seen;

	pte_waits = true;
#ifdef WAITS
	give(CHANGE, TLBI);
#ifdef LIST_FIRST
	seen = word;
#endif
	sync(CHANGE);
#ifndef LIST_FIRST
	seen = word;
#endif
#else
#ifndef NO_BARRIER
	barrier(CHANGE);
#endif
	seen = word;
#ifdef ATC_FIRST
	give(CHANGE, TLBI);
#else
	give(CHANGE, TLBI);
	give(CHANGE, SYNC);
#endif
#endif
	if
	:: seen ->
		give(CHANGE, ATC_INV);
		give(CHANGE, SYNC)
	:: else
#ifdef ATC_FIRST
		-> give(CHANGE, SYNC)
#endif
	fi;
	finished++
}

active proctype Smmu()
{
	byte command, whose;

end:	do
	:: queue?command, whose ->
		if
		:: command == TLBI -> tlbi = true
		:: command == ATC_INV -> atc_inv = true
		:: else ->
			atomic {
				(walk == NONE);
				if
				:: tlbi -> tlb = NONE
				:: else
				fi;
				if
				:: atc_inv -> atc = NONE
				:: else
				fi;
				tlbi = false;
				atc_inv = false;
				synced[whose] = true
			}
		fi
#ifdef ATC_FIRST
	/* An ATC_INV may take effect before the SYNC. */
	:: atc_inv -> atc = NONE; atc_inv = false
#endif
	od
}

/* The other device, and the device that is attached, as soon as its CD is live. */
active proctype Devices()
{
end:	do
	:: atomic { tlb == NONE && walk == NONE -> walk = pte }
	:: atomic { walk != NONE -> tlb = walk; walk = NONE }
	:: atomic { live && atc == NONE && tlb != NONE -> atc = tlb }
	od
}

active proctype Memory()
{
end:	do
	:: atomic { pte_waits -> pte_waits = false; pte = NEW }
	:: atomic { word_waits -> word_waits = false; word = true }
	:: atomic { live_waits -> live_waits = false; live = true }
	od
}

active proctype Judge()
{
	atomic {
		(finished == 2 && empty(queue) && !tlbi && !atc_inv && walk == NONE &&
			!pte_waits && !word_waits && !live_waits);
		assert(tlb != OLD);
		assert(atc != OLD)
	}
}
