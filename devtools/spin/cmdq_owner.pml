/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * Which thread sends the answers in the backlog (drivers/smmuv3_pmd/cmdq_post.c, backlog.h).
 *
 *	spin -a cmdq_owner.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *	spin -DPOSTERS=2 -DEACH=3 -a cmdq_owner.pml
 *
 * Each of these must be found wrong:
 *	spin -DNO_RECHECK -a cmdq_owner.pml		backlog not checked again (O3)
 *	spin -DNO_OWNER_BARRIER -a cmdq_owner.pml	no barrier before that check (O2)
 *	spin -DNO_POSTER_BARRIER -a cmdq_owner.pml	no barrier before the flag is read (P2)
 *	spin -DNO_EXCHANGE -a cmdq_owner.pml		the flag is read, then written
 *
 * The memory order is weaker than x86's: the two stores that matter, the release of the flag (O1)
 * and the publication of a slot (P1), wait in their thread's buffer until Memory() takes one out,
 * in any order. A barrier waits for the thread's own stores. The exchange works on memory and does
 * not empty the buffer, as on arm64. The release orders the owner's other writes, so they take
 * effect at once here.
 */

#ifndef POSTERS
#define POSTERS	3
#endif
#ifndef EACH
#define EACH	1	/* commands of each poster */
#endif
#define SLOTS	(POSTERS * EACH)

byte owner;			/* the owner flag */
bool freeing[POSTERS];		/* O1 waits in this thread's buffer */

byte head, tail;		/* of the backlog */
byte slot[SLOTS];		/* the command in it */
bool published[SLOTS];
byte publishing[SLOTS];		/* P1 waits in the buffer of thread n - 1; 0: in none */
byte buffered[POSTERS];		/* number of stores in its buffer */

byte sent[SLOTS];		/* how often a command went into the queue */
byte owners;
byte finished;

inline barrier(me)
{
	(buffered[me] == 0);
}

/* Same location: a thread's exchange comes after its own store. */
inline try_own(me, got)
{
	atomic {
		if
		:: freeing[me] -> freeing[me] = false; buffered[me]--; owner = 0
		:: else
		fi
	}
#ifdef NO_EXCHANGE
	got = (owner == 0);
	if
	:: got -> owner = 1
	:: else
	fi
#else
	atomic {
		got = (owner == 0);
		owner = 1
	}
#endif
	if
	:: got -> owners++; assert(owners == 1)
	:: else
	fi
}

inline clear_owner(me)
{
	atomic {
		owners--;
		freeing[me] = true;
		buffered[me]++
	}
}

inline has_cmd(yes)
{
	yes = (tail < SLOTS && published[tail])
}

inline flush_backlog()
{
	do
	:: tail < SLOTS && published[tail] ->
		sent[slot[tail]]++;
		tail++
	:: else -> break
	od
}

inline release_and_recheck(me, flag)
{
	do
	:: true ->
		clear_owner(me);
#ifdef NO_RECHECK
		break;
#endif
#ifndef NO_OWNER_BARRIER
		barrier(me);
#endif
		has_cmd(flag);
		if
		:: !flag -> break
		:: else
		fi;
		try_own(me, flag);
		if
		:: !flag -> break
		:: else
		fi;
		flush_backlog()
	od
}

inline push_to_backlog(me, command)
{
	atomic {
		slot[head] = command;
		publishing[head] = me + 1;
		buffered[me]++;
		head++
	}
}

proctype Poster(byte me)
{
	byte n;
	bool flag;

	do
	:: n < EACH ->
		try_own(me, flag);
		if
		:: flag ->
			flush_backlog();
			sent[me * EACH + n]++;
			release_and_recheck(me, flag)
		:: else ->
			push_to_backlog(me, me * EACH + n);
#ifndef NO_POSTER_BARRIER
			barrier(me);
#endif
			has_cmd(flag);
			if
			:: flag ->
				try_own(me, flag);
				if
				:: flag -> flush_backlog(); release_and_recheck(me, flag)
				:: else
				fi
			:: else
			fi
		fi;
		n++
	:: else -> break
	od;
	finished++
}

/* Buffered stores reach memory at any time, in any order. */
active proctype Memory()
{
	byte i;

end:	do
	:: atomic {
		select (i : 0 .. POSTERS - 1);
		if
		:: freeing[i] -> freeing[i] = false; owner = 0; buffered[i]--
		:: else
		fi
	   }
	:: atomic {
		select (i : 0 .. SLOTS - 1);
		if
		:: publishing[i] != 0 ->
			buffered[publishing[i] - 1]--;
			publishing[i] = 0;
			published[i] = true
		:: else
		fi
	   }
	od
}

/* All threads have ended and all stores have arrived: each command was sent once. */
active proctype Judge()
{
	byte i;

	(finished == POSTERS);
	do
	:: i < POSTERS -> (buffered[i] == 0); i++
	:: else -> break
	od;
	assert(tail == head && owner == 0);
	i = 0;
	do
	:: i < SLOTS -> assert(sent[i] == 1); i++
	:: else -> break
	od
}

init {
	byte i;

	atomic {
		do
		:: i < POSTERS -> run Poster(i); i++
		:: else -> break
		od
	}
}
