/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/pgtable: resolvers against unmap, while a device keeps walking.
 *
 * One page. Its last-level entry is E[t] of the table t that the entry P of the level above points
 * to. A table is used once, so that an access to a freed table shows. Each statement between two
 * program points is one atomic access, as each is in the code.
 *
 *	Fast	pgt_prealloc(), then pgt_resolve()
 *	Slow	pgt_resolve_begin(), a pause outside of any read-side section,
 *		pgt_resolve_commit(), which walks again, or pgt_resolve_cancel()
 *	Unmap	pgt_unmap(PGT_CLOSE), with and without PGT_TABLES; TLBI and SYNC;
 *		grace period; pgt_free_tables(); pgt_open()
 *	Smmu	walks P, E and keeps both in a walk cache and a TLB
 *
 * With NESTED the table is one of stage 2 under a stage 1: the SMMU makes a combined entry out of
 * the entry that it has for the IPA, and uses the combined one. The invalidation is TLBI_S2_IPA,
 * SYNC, TLBI_NH_ALL, SYNC.
 *
 * Assertions:
 *	- from SYNC to open no valid entry is reachable and the TLB stays empty;
 *	- no entry becomes valid while the TLB holds an older translation
 *	  (break-before-make);
 *	- no thread and no device accesses a freed table;
 *	- the pages that resolvers mapped are those that unmap removed plus those left.
 * No thread gets stuck (no invalid end state).
 *
 * Run, green:
 *	spin -a pgtable_resolve.pml && gcc -O2 -DSAFETY -o pan pan.c && ./pan -m100000
 *	spin -DNESTED -a ...
 * Each of these must be found wrong, else the model has no value:
 *	spin -DNO_CLOSE -a ...		unmap leaves the entries invalid
 *	spin -DNO_POISON -a ...		entries of an unlinked table are not closed
 *	spin -DNO_GRACE -a ...		tables are freed right after SYNC
 *	spin -DNO_SYNC -a ...		tables are freed, the range opened, without SYNC
 *	spin -DBLIND_COMMIT -a ...	commit stores instead of comparing the marker
 *	spin -DNESTED -DIPA_ONLY -a ...	TLBI_S2_IPA alone: combined entries stay
 *	spin -DNESTED -DNH_FIRST -a ...	TLBI_NH_ALL in front of TLBI_S2_IPA
 */

#define ROUNDS		2	/* rounds of Unmap */
#define TRIES		2	/* attempts of Fast and of Slow */
#define TABLES		6	/* the first table, and at most one per prealloc */
#define NB_READERS	2

/* Values of an entry; tags and valid values name their writer. */
#define INVALID		0
#define CLOSED		1
#define VALID		2
#define TAG(n)		(3 + (n))
#define POINTER(t)	(10 + (t))
#define IS_POINTER(v)	((v) >= 10)

#ifdef NO_CLOSE
#define GONE		INVALID
#else
#define GONE		CLOSED
#endif

byte P = POINTER(0);
byte E[TABLES];
bool freed[TABLES];
byte next_table = 1;

/* The device. */
bool walking;
bool tlb;			/* with NESTED: a combined entry */
bool ipa_tlb;			/* NESTED: an entry of stage 2 */
byte cached_table;		/* POINTER(t), or 0 */

/* Read-side sections: a grace period waits for the sections open at its start. */
bool in_section[NB_READERS];
byte section[NB_READERS];

bool promised;			/* SYNC done, range not opened yet */
byte mapped;
byte taken;
byte done;

#define LOCK(r)		d_step { in_section[r] = true; section[r]++ }
#define UNLOCK(r)	in_section[r] = false
#define TOUCH(v)	assert(!freed[(v) - 10])

/* An entry becomes valid. */
#define MADE_VALID()	assert(!tlb && !ipa_tlb); mapped++

proctype Fast(byte id)
{
	byte try_nb, p, t;

	do
	:: try_nb < TRIES ->
		try_nb++;
		LOCK(id);
		p = P;
		if
		:: p == INVALID && next_table < TABLES ->
			/*
			 * pgt_table_make(): a thread that loses frees its own table, which no other
			 * has seen.
			 */
			d_step {
				t = next_table;
				next_table++;
				E[t] = INVALID
			};
			d_step {
				if
				:: P == INVALID -> P = POINTER(t)
				:: else -> skip
				fi
			};
			p = P
		:: else -> skip
		fi;
		if
		:: IS_POINTER(p) ->
			d_step {
				TOUCH(p);
				if
				:: E[p - 10] == INVALID ->
					MADE_VALID();
					E[p - 10] = VALID
				:: else -> skip	/* -EALREADY, -EBUSY, -ECANCELED */
				fi
			}
		:: else -> skip		/* -ENOENT, -ECANCELED */
		fi;
		p = 0; t = 0;
		UNLOCK(id)
	:: else -> break
	od;
	done++
}

proctype Slow(byte id)
{
	byte try_nb, p;
	bool marked;

	do
	:: try_nb < TRIES ->
		try_nb++;
		LOCK(id);
		p = P;
		if
		:: IS_POINTER(p) ->
			d_step {
				TOUCH(p);
				marked = (E[p - 10] == INVALID);
				if
				:: marked -> E[p - 10] = TAG(try_nb)
				:: else -> skip
				fi
			}
		:: else -> skip
		fi;
		p = 0;
		UNLOCK(id);
		/* Here Slow fetches the contents. */
		LOCK(id);
		if
		:: marked ->
			p = P;
			if
			:: IS_POINTER(p) ->
				if
				:: d_step {
					TOUCH(p);
#ifdef BLIND_COMMIT
					MADE_VALID();
					E[p - 10] = VALID
#else
					if
					:: E[p - 10] == TAG(try_nb) ->
						MADE_VALID();
						E[p - 10] = VALID
					:: else -> skip	/* -ECANCELED */
					fi
#endif
				   }
				:: d_step {
					TOUCH(p);
					if
					:: E[p - 10] == TAG(try_nb) -> E[p - 10] = INVALID
					:: else -> skip
					fi
				   }
				fi
			:: else -> skip		/* -ECANCELED */
			fi
		:: else -> skip
		fi;
		marked = false; p = 0;
		UNLOCK(id)
	:: else -> break
	od;
	done++
}

proctype Unmap()
{
	byte round, p, old, r;
	byte unlinked;		/* POINTER(t), or 0 */
	byte snapshot[NB_READERS];
	bool found_open[NB_READERS];
	bool tables;

	do
	:: round < ROUNDS ->
		round++;
		if
		:: tables = true
		:: tables = false
		fi;
		/* Repeats only when another thread has put a table here: TABLES bounds it. */
again:
		p = P;
		if
		:: IS_POINTER(p) && !tables ->
			d_step {
				TOUCH(p);
				old = E[p - 10];
				E[p - 10] = GONE;
				taken = taken + (old == VALID)
			}
		:: else ->
			d_step {
				old = (P == p);
				if
				:: old -> P = GONE
				:: else -> skip
				fi
			};
			if
			:: !old -> goto again
			:: old && IS_POINTER(p) ->
				unlinked = p;
				d_step {
					old = E[p - 10];
#ifndef NO_POISON
					E[p - 10] = CLOSED;
#endif
					taken = taken + (old == VALID)
				}
			:: else -> skip
			fi
		fi;
		/* TLBI, SYNC: walks that began before have ended. */
#ifndef NO_SYNC
#ifdef NESTED
#ifdef NH_FIRST
		atomic { !walking -> tlb = false };
		atomic { !walking -> ipa_tlb = false; cached_table = 0; promised = true };
#else
		atomic { !walking -> ipa_tlb = false; cached_table = 0 };
#ifdef IPA_ONLY
		promised = true;
#else
		atomic { !walking -> tlb = false; promised = true };
#endif
#endif
#else
		atomic { !walking -> tlb = false; cached_table = 0; promised = true };
#endif
#endif
		if
		:: unlinked != 0 ->
#ifndef NO_GRACE
			d_step {
				r = 0;
				do
				:: r < NB_READERS ->
					found_open[r] = in_section[r];
					snapshot[r] = section[r];
					r++
				:: else -> break
				od;
				r = 0
			};
			do
			:: r < NB_READERS ->
				(!found_open[r] || !in_section[r] || section[r] != snapshot[r]);
				found_open[r] = false; snapshot[r] = 0;
				r++
			:: else -> break
			od;
#endif
			freed[unlinked - 10] = true;
			unlinked = 0
		:: else -> skip
		fi;
		/* Opened at the level where it was closed. */
		d_step {
			promised = false;
			if
			:: P == CLOSED -> P = INVALID
			:: IS_POINTER(P) && E[P - 10] == CLOSED -> E[P - 10] = INVALID
			:: else -> skip
			fi
		};
		p = 0; old = 0; r = 0
	:: else -> break
	od;
	done++
}

proctype Smmu()
{
	byte p, e;

endwait:
	do
	:: atomic { done < 3 -> walking = true };
#ifdef NESTED
		if
		:: ipa_tlb -> tlb = true
		:: skip
		fi;
#endif
		if
		:: cached_table != 0 -> p = cached_table
		:: p = P
		fi;
		if
		:: IS_POINTER(p) ->
			cached_table = p;
			d_step { TOUCH(p); e = E[p - 10] };
			if
			:: e == VALID ->
				assert(!promised);
#ifdef NESTED
				ipa_tlb = true
#else
				tlb = true
#endif
			:: else -> skip
			fi
		:: else -> skip
		fi;
		d_step { p = 0; e = 0; walking = false }
	:: done == 3 -> break
	od;
	/* All threads are idle: the counts match. */
	assert(mapped == taken + (IS_POINTER(P) && E[P - 10 * IS_POINTER(P)] == VALID))
}

/* Checks the promise at any moment. */
active proctype Promise()
{
endwatch:
	do
	:: d_step {
		promised ->
		assert(!tlb && !ipa_tlb);
		assert(!IS_POINTER(P) || E[P - 10 * IS_POINTER(P)] != VALID)
	   }
	:: done == 3 -> break
	od
}

init
{
	atomic {
		run Fast(0);
		run Slow(1);
		run Unmap();
		run Smmu()
	}
}
