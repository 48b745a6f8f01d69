/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * The ring of a command queue with several producers (drivers/smmuv3_pmd/cmdq_ring.h, cmdq_sync.c,
 * cmdq_error.c): full and wrapped ring, PROD, CONS, the word of CMD_SYNCs, an illegal command, and
 * a producer that stands still anywhere.
 *
 *	spin -a cmdq_ring.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan
 *	spin -DENTRIES=1 -a cmdq_ring.pml
 *	spin -DNO_MSI -a cmdq_ring.pml
 *
 * Each of these must be found wrong:
 *	spin -DNO_WMB -a cmdq_ring.pml		PROD is visible before the entries
 *	spin -DNO_RELEASE -a cmdq_ring.pml	the owner flag is cleared before PROD is visible
 *	spin -DNO_OWNER -a cmdq_ring.pml	each producer stores PROD itself
 *	spin -DNO_ROOM -a cmdq_ring.pml		the ring is never full
 *	spin -DNO_WRAP -a cmdq_ring.pml		the wrap bit is ignored
 *	spin -DSEQ_EARLY -a cmdq_ring.pml	CMD_SYNCs are numbered before the ring is owned
 *	spin -DNO_ERROR_CHECK -a cmdq_ring.pml	the owner does not look again for the error
 *	spin -DNO_ERROR_WMB -a cmdq_ring.pml	the acknowledgement is before the repair
 *	spin -DANY_ERROR -a cmdq_ring.pml	a caller takes an error for its own
 *
 * The checks: the SMMU reads at each position the command that was written there, so that none is
 * lost, fetched before it is written, or overwritten before it is consumed; PROD never moves back;
 * a call that waits returns after its command was executed, and with an error if and only if its
 * own command is the illegal one; at the end each command was executed once.
 *
 * The memory order is weaker than x86's. Stores to entries, PROD and the owner flag wait in their
 * thread's buffer until Memory() takes them out, in any order, except where the code waits for its
 * own stores: before PROD (smmuv3_store_prod()), before the release of the flag, before the
 * acknowledgement. Callers that find the ring owned wait for it here; cmdq_owner.pml is about
 * those that do not.
 */

#ifndef ENTRIES
#define ENTRIES		2
#endif
#define POSITIONS	(2 * ENTRIES)	/* that a register tells apart */
#define PRODUCERS	2
#define CALLS		2		/* of a producer: a post, then a command and a CMD_SYNC */
#define CMDS		(PRODUCERS * CALLS)
#define NONE		CMDS
#define SYNC		100		/* + its number; without one: replaced, or no MSIs */
#define LAST		12		/* more positions than are used */

#define WRAPPED(x)	((x) % POSITIONS)
#ifdef NO_WRAP
#define COUNT(p, c)	(((p) + POSITIONS - (c)) % ENTRIES)
#else
#define COUNT(p, c)	(((p) + POSITIONS - (c)) % POSITIONS)
#endif

/* Memory and registers. */
byte owner;
byte ring[ENTRIES];
byte prod, cons;		/* registers */
byte word;
bool gerror;

/* Stores in the buffers: of which thread + 1, and their values. */
byte entry_of[ENTRIES], entry_value[ENTRIES];
byte entries_left[PRODUCERS];
bool prod_left[PRODUCERS];
byte prod_value[PRODUCERS];
bool free_left[PRODUCERS];

/* The queue's fields: of its owner, and its prod, which all threads read. */
byte tail, known_cons, sync_seq;
byte q_prod;

/* For the checks. */
byte written[LAST];		/* the command at a position */
bool failed[LAST];		/* errors recorded by position */
byte nb_failed;
byte executed[CMDS];
byte illegal;			/* this command, or NONE */
byte consumed;			/* position */
byte finished;

inline own(me)
{
#ifndef NO_OWNER
	do
	:: atomic {
		if
		:: free_left[me] -> free_left[me] = false; owner = 0
		:: else
		fi;
		owner == 0 -> owner = 1; break
	   }
	od
#else
	skip
#endif
}

inline disown(me)
{
#ifndef NO_OWNER
#ifndef NO_RELEASE
	(entries_left[me] == 0 && !prod_left[me]);
#endif
	free_left[me] = true
#else
	skip
#endif
}

inline store_entry(me, pos, value)
{
	atomic {
		assert(entry_of[(pos) % ENTRIES] == 0);
		entry_of[(pos) % ENTRIES] = me + 1;
		entry_value[(pos) % ENTRIES] = value;
		entries_left[me]++;
		written[pos] = value
	}
}

/* The owner's steps are one where no other thread reads what they write. */
inline put(me, value)
{
	atomic {
		store_entry(me, tail, value);
		tail++
	}
}

inline publish(me)
{
	if
	:: tail != q_prod ->
#ifndef NO_WMB
		(entries_left[me] == 0);
#endif
		/* Stores of one thread to one register stay in order. */
		atomic {
			!prod_left[me];
			q_prod = tail;
			prod_value[me] = WRAPPED(tail);
			prod_left[me] = true
		}
	:: else
	fi
}

inline find_room(room)
{
	atomic {
		if
		:: tail - known_cons >= ENTRIES ->
			known_cons = q_prod - COUNT(WRAPPED(q_prod), cons)
		:: else
		fi;
#ifdef NO_ROOM
		room = 1
#else
		room = ENTRIES - (tail - known_cons)
#endif
	}
}

/* CMDQ_ERR: the owner replaces the command and acknowledges. */
inline handle_error(me)
{
	own(me);
	if
#ifdef NO_ERROR_CHECK
	:: true ->
#else
	:: gerror ->
#endif
		at = q_prod - COUNT(WRAPPED(q_prod), cons);
		if
		:: at < q_prod ->
			atomic { failed[at] = true; nb_failed++ };
			store_entry(me, at, SYNC);
#ifndef NO_ERROR_WMB
			(entries_left[me] == 0);
#endif
			gerror = false
		:: else
		fi;
		at = 0
	:: else
	fi;
	disown(me)
}

/* A position as smmuv3_cmdq_load_cons() finds it. */
inline load_cons(pos)
{
	do
	:: before = q_prod;
		pos = cons;
		if
		:: q_prod - before < ENTRIES ->
			/* The lowest is before - ENTRIES, here without a negative number. */
			pos = before + (pos + LAST * POSITIONS + ENTRIES - before) % POSITIONS;
			assert(pos - ENTRIES <= consumed);
			pos = pos - ENTRIES;
			break
		:: else
		fi
	od;
	before = 0
}

proctype Producer(byte me)
{
	byte call, put_so_far, room, at, before, seq, pos_cmd, pos_sync, errors;

	do
	:: call < CALLS ->
		put_so_far = 0;
		errors = nb_failed;
#ifdef SEQ_EARLY
		atomic { sync_seq++; seq = sync_seq };
#endif
		do
		:: put_so_far <= call ->
			own(me);
			find_room(room);
			do
			:: room > 0 && put_so_far <= call ->
				if
				:: put_so_far == 0 ->
					pos_cmd = tail;
					put(me, me * CALLS + call)
				:: else ->
					pos_sync = tail;
#ifdef NO_MSI
					put(me, SYNC);
#else
#ifndef SEQ_EARLY
					atomic { sync_seq++; seq = sync_seq };
#endif
					put(me, SYNC + seq);
#endif
				fi;
				put_so_far++;
				room--
			:: else -> break
			od;
			publish(me);
			disown(me)
		:: gerror -> handle_error(me)
		:: put_so_far > call -> break
		od;
		if
		:: call == 0
		:: else ->
			/* Wait for the CMD_SYNC. */
			do
			:: gerror -> handle_error(me)
#ifndef NO_MSI
			:: word >= seq -> break
#else
			:: load_cons(at);
				if
				:: at > pos_sync -> at = 0; break
				:: else -> at = 0
				fi
#endif
			od;
			assert(consumed > pos_cmd);
			assert(executed[me * CALLS + call] == (illegal != me * CALLS + call));
#ifdef ANY_ERROR
			assert((nb_failed != errors) == (illegal == me * CALLS + call));
#else
			assert(failed[pos_cmd] == (illegal == me * CALLS + call));
#endif
			assert(!failed[pos_sync])
		fi;
		call++
	:: else -> break
	od;
	finished++;
	/* A thread that polls handles errors; here it is one that has no call left. */
end:	do
	:: gerror -> handle_error(me)
	od
}

active proctype SMMU()
{
	byte seen, cmd;		/* the position of PROD as last read */

end:	do
	:: atomic {
		!gerror && prod != WRAPPED(seen) ->
		/* A PROD that moves back is one far ahead. */
		assert((prod + POSITIONS - cons) % POSITIONS <= ENTRIES);
		assert((prod + POSITIONS - cons) % POSITIONS >= seen - consumed);
		seen = consumed + (prod + POSITIONS - cons) % POSITIONS
	   }
	:: !gerror && consumed < seen ->
		atomic {
			cmd = ring[consumed % ENTRIES];
			assert(cmd == written[consumed])
		};
		if
		:: cmd == illegal -> gerror = true
		:: cmd != illegal ->
			if
			:: cmd > SYNC -> word = cmd - SYNC
			:: cmd < CMDS -> executed[cmd]++
			:: else
			fi;
			atomic { consumed++; cons = WRAPPED(consumed) }
		fi
	od
}

active proctype Memory()
{
	byte i;

end:	do
	:: atomic {
		select (i : 0 .. ENTRIES - 1);
		if
		:: entry_of[i] != 0 ->
			ring[i] = entry_value[i];
			entries_left[entry_of[i] - 1]--;
			entry_of[i] = 0;
			entry_value[i] = 0
		:: else
		fi;
		i = 0
	   }
	:: atomic {
		select (i : 0 .. PRODUCERS - 1);
		if
		:: prod_left[i] -> prod = prod_value[i]; prod_left[i] = false; prod_value[i] = 0
		:: else
		fi;
		i = 0
	   }
	:: atomic {
		select (i : 0 .. PRODUCERS - 1);
		if
		:: free_left[i] -> owner = 0; free_left[i] = false
		:: else
		fi;
		i = 0
	   }
	od
}

/* All calls have returned and the SMMU has consumed everything. */
active proctype Judge()
{
	byte i;

	(finished == PRODUCERS && consumed == tail && !gerror);
	do
	:: i < CMDS -> assert(executed[i] == (illegal != i)); i++
	:: else -> break
	od
}

init {
	atomic {
		select (illegal : 0 .. NONE);
		ring[0] = 255;
		run Producer(0);
		run Producer(1)
	}
}
