/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf: which thread answers a fault, and which frees its slot (slot.h, answer.c, cancel.c,
 * verdict.h, poll.c, worker.c, attachment.c).
 *
 * A slot's state and generation share one word, as in the code. Each statement between two program
 * points is one atomic access, as each is in the code.
 *
 *	Device	stalls, at most STALLS at a time, until it is detached
 *	Poller	reads a burst, publishes the consumer index, handles each record,
 *		then answers all and frees its slots (iopf_pass_flush())
 *	Worker	deferred handlers, from a ring of one entry that may be full
 *	Owner	iopf_group_respond() with random ids: too early, too late, or both.
 *		A deadline does the same with the current id of a slot. Or
 *		iopf_group_defer(), which queues the id again.
 *	Detach	stops the device, fences the queue, clears the table, answers outstanding
 *		faults until no slot is held, waits for a grace period, and frees the
 *		attachment
 *
 * Assertions:
 *	- each fault is answered exactly once, and never as another generation's;
 *	- one thread frees a slot, once, and only its owner uses it;
 *	- when detach returns all faults are answered, all slots free and none lost;
 *	- no thread uses the attachment after that.
 * The ltl property: detach ends if the other threads keep running.
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a slot.pml
 *	spin -DFAULTS=3 -DSLOTS=1 -a slot.pml	the same slot repeatedly
 *	spin -DFAULTS=1 -DSLOTS=1 -DLIVE -a slot.pml	detach ends
 * Each of these must be found wrong, else the model has no value:
 *	spin -DNO_GENERATION -a ...	an answer does not compare the generation
 *	spin -DBLIND_VERDICT -a ...	a verdict stores the state instead of comparing it
 *	spin -DFREE_TWICE -a ...	a thread that answers a slot in a handler frees it
 *	spin -DBLIND_PUSH -a ...	the freed stack is pushed onto by a plain store
 *	spin -DNO_FENCE -a ...		detach does not wait for the records in the queue
 *	spin -DNO_TABLE_GRACE -a ...	... nor for passes that found the attachment
 *	spin -DNO_LAST_GRACE -a ...	... nor for threads that claimed a fault
 *	spin -DNO_FIRST_SECTION -a ...	a worker reads a slot outside of a read section
 *	spin -DHOLD_BLINDLY -a ...	an id from the ring is handled in any state
 *	spin -DNO_WORKER_SECTION -a ...	a worker frees a slot outside of a read section
 *	spin -DFREE_BEFORE_ANSWER -a ...	a pass frees its slots, and ends, too early
 */

#ifndef FAULTS
#define FAULTS		2
#define SLOTS		2
#endif
#define STALLS		2
#define TRIES		1	/* attempts of Owner */
#define MAX_MOVES	8
#define NB_READERS	3

#define FREE		0
#define HANDLING	1
#define QUEUED		2
#define TAKEN		3
#define DONE		4
#define WORD(g, s)	((g) * 8 + (s))
#define GEN(w)		((w) / 8)
#define STATE(w)	((w) % 8)
#define MAX_GEN		(FAULTS + 1)
#define NO_SLOT		255

/* The slots. */
byte word[SLOTS] = WORD(1, FREE);
byte fault[SLOTS];
byte next[SLOTS];
byte freed = NO_SLOT;
byte free[SLOTS];		/* the poller's free list */
byte nb_free;

/* The event queue, and the workers' ring of slot and generation; true: defer it again. */
byte produced;
byte consumed;
chan ring = [1] of { byte, byte, bool };

bool stalling = true;		/* the device may stall */
bool attached = true;		/* in the table */
bool gone;			/* the attachment is freed */
bool registered = true;		/* iopf_iommu_get() finds the IOMMU */
bool closed;			/* the IOMMU's memory is freed */
byte ended;			/* number of threads that ended */

/* The true state, beside the state that the code knows. */
byte answered[FAULTS];
byte nb_answered;
bool is_free[SLOTS] = true;
byte was[SLOTS * (MAX_GEN + 1)];	/* fault + 1, by slot and generation */

/* Read-side sections. Detach's grace period waits for the sections open at its start. */
bool in_section[NB_READERS];
bool waited_for[NB_READERS];

#define LOCK(r)		in_section[r] = true
#define UNLOCK(r)	d_step { in_section[r] = false; waited_for[r] = false }

inline grace()
{
	d_step {
		waited_for[0] = in_section[0];
		waited_for[1] = in_section[1];
		waited_for[2] = in_section[2]
	};
	!waited_for[0] && !waited_for[1] && !waited_for[2]
}

/* driver->ops.answer(). */
inline send(which)
{
	d_step {
		assert(which < produced);
		answered[which]++;
		nb_answered++;
		assert(answered[which] == 1)
	}
}

/* Only CAS() changes a state; ok tells whether it did. */
#define CAS(from, to) \
	d_step { \
		assert(!closed); \
		ok = (word[s] == (from)); \
		if \
		:: ok -> word[s] = (to) \
		:: else -> skip \
		fi \
	}

/* iopf_slot_free() */
inline slot_free()
{
	d_step { assert(!is_free[s]); is_free[s] = true };
	head = freed;
	do
	:: next[s] = head;
#ifdef BLIND_PUSH
		freed = s;
		break
#else
		d_step {
			assert(!closed);
			ok = (freed == head);
			if
			:: ok -> freed = s
			:: else -> head = freed
			fi
		};
		if
		:: ok -> break
		:: else -> skip
		fi
#endif
	od;
	head = 0
}

/* iopf_slot_claim(), iopf_answer_send(); then free the slot if this thread owns it. */
inline claim_and_answer()
{
	moves = 0;
	ok = false;
	do
#ifdef NO_GENERATION
	:: gen = GEN(w); ours = false;
#else
	:: GEN(w) != gen -> ok = false; break
	:: else ->
#endif
		if
		:: STATE(w) == TAKEN || STATE(w) == QUEUED -> ours = true
		:: STATE(w) == HANDLING -> ours = false
		:: else -> ok = false; break
		fi;
		f = fault[s];
		CAS(w, (ours -> WORD(gen + 1, FREE) : WORD(gen, DONE)));
		if
		:: ok -> break
		:: else -> moves++; assert(moves < MAX_MOVES); w = word[s]
		fi
	od;
	if
	:: ok ->
		d_step { assert(!gone); assert(was[s * (MAX_GEN + 1) + asked] == f + 1) };
		send(f);
#ifdef FREE_TWICE
		slot_free()
#else
		if
		:: ours -> slot_free()
		:: else -> skip
		fi
#endif
	:: else -> skip		/* -ESTALE */
	fi
}

proctype Device()
{
	do
	:: atomic { stalling && produced < FAULTS && produced - nb_answered < STALLS ->
		produced++ }
	:: atomic { !stalling -> break }
	od
}

/* The pass frees a slot that the poller still owns. */
inline free_later()
{
	d_step {
		assert(!is_free[s]);
		is_free[s] = true;
		frees[nb_frees] = s;
		nb_frees++
	}
}

inline store_free()
{
	d_step { assert(word[s] == WORD(gen, DONE)); word[s] = WORD(gen + 1, FREE) }
}

inline handle(record)
{
	if
	:: !attached -> answers[nb_answers] = record; nb_answers++	/* refuse() */
	:: else ->
		if
		:: nb_free == 0 && freed != NO_SLOT ->
			d_step { s = freed; freed = NO_SLOT };
			do
			:: s != NO_SLOT ->
				free[nb_free] = s; nb_free++;
				s = next[s]
			:: else -> break
			od
		:: else -> skip
		fi;
		if
		:: nb_free == 0 -> answers[nb_answers] = record; nb_answers++
		:: else ->
			d_step {
				nb_free--;
				s = free[nb_free];
				free[nb_free] = 0;
				assert(is_free[s] && STATE(word[s]) == FREE);
				is_free[s] = false;
				gen = GEN(word[s])
			};
			fault[s] = record;
			d_step {
				was[s * (MAX_GEN + 1) + gen] = record + 1;
				word[s] = WORD(gen, HANDLING)
			};
			assert(!gone);
			verdict_apply();
		fi
	fi;
	s = 0; gen = 0
}

/* Any verdict of the handler; then verdict_apply() and verdict_defer(). */
inline verdict_apply()
{
	if
	:: true ->		/* IOPF_ANSWER */
#ifdef BLIND_VERDICT
		ok = true; word[s] = WORD(gen + 1, FREE);
#else
		CAS(WORD(gen, HANDLING), WORD(gen + 1, FREE));
#endif
		if
		:: ok -> answers[nb_answers] = fault[s]; nb_answers++
		:: else -> store_free()
		fi;
		free_later()
	:: true ->		/* IOPF_TAKEN */
		CAS(WORD(gen, HANDLING), WORD(gen, TAKEN));
		if
		:: ok -> skip
		:: else -> store_free(); free_later()
		fi
	:: true ->		/* IOPF_DEFER */
		CAS(WORD(gen, HANDLING), WORD(gen, QUEUED));
		if
		:: !ok -> store_free(); free_later()
		:: else ->
			if
			:: atomic { nfull(ring) -> ring ! s, gen, false }
			:: full(ring) ->
				CAS(WORD(gen, QUEUED), WORD(gen + 1, FREE));
				if
				:: ok -> answers[nb_answers] = fault[s]; nb_answers++;
					free_later()
				:: else -> skip		/* answered and freed */
				fi
			fi
		fi
	fi
}

inline flush_answers()
{
	do
	:: i < nb_answers -> send(answers[i]); answers[i] = 0; i++
	:: else -> break
	od;
	nb_answers = 0; i = 0
}

proctype Poller()
{
	byte answers[2], frees[2];
	byte nb_answers, nb_frees, i, n, first, s, gen;
	bool ok;

	do
	:: consumed < produced ->
		LOCK(0);
		/* ops.poll(): this pass owns the records, and they count as passed. */
		d_step { first = consumed; n = produced - consumed; consumed = produced };
		do
		:: i < n -> handle(first + i); i++
		:: else -> break
		od;
		i = 0;
#ifndef FREE_BEFORE_ANSWER
		flush_answers();
#endif
		do
		:: i < nb_frees ->
			d_step { free[nb_free] = frees[i]; nb_free++; frees[i] = 0; i++ }
		:: else -> break
		od;
		nb_frees = 0;
		d_step { i = 0; n = 0; first = 0 };
		UNLOCK(0);
#ifdef FREE_BEFORE_ANSWER
		flush_answers()
#endif
	:: gone -> break
	od;
	ended++
}

/* group_run_deferred() */
proctype Worker()
{
	byte s, gen, w, f, moves, head, asked;
	bool ok, ours, kept, mine, again;

	do
	:: ring ? s, gen, again ->
		kept = true;
		/* A slot answered meanwhile may belong to an IOMMU that closes. */
#ifndef NO_FIRST_SECTION
		LOCK(2);
#endif
		ok = false;
		if
		:: registered ->
#ifdef HOLD_BLINDLY
			ok = true;
			word[s] = WORD(gen, HANDLING);
#else
			CAS((again -> WORD(gen, TAKEN) : WORD(gen, QUEUED)), WORD(gen, HANDLING));
#endif
			if
			:: !ok && again && (word[s] == WORD(gen, HANDLING) ||
					word[s] == WORD(gen, TAKEN)) ->
				if
				:: atomic { nfull(ring) -> ring ! s, gen, true }
				:: full(ring) -> skip	/* the code answers: in the model Owner
							 * or Detach does */
				fi
			:: else -> skip
			fi
		:: else -> skip
		fi;
		mine = ok;
#ifndef NO_FIRST_SECTION
		UNLOCK(2);
#endif
		if
		:: mine ->
			kept = false;
			assert(!gone);
			if
			:: true ->	/* the deferred handler takes it */
				CAS(WORD(gen, HANDLING), WORD(gen, TAKEN));
				kept = ok
			:: true ->	/* or answers it */
				LOCK(2);
				asked = gen;
				w = word[s];
				w = WORD(gen, STATE(w));
				claim_and_answer();
				gen = asked;
				UNLOCK(2)
			fi
		:: else -> skip
		fi;
		if
		:: !kept ->
			/*
			 * In a read section: after the state FREE a close need not wait for this
			 * thread, and the push follows.
			 */
#ifndef NO_WORKER_SECTION
			LOCK(2);
#endif
			CAS(WORD(gen, DONE), WORD(gen + 1, FREE));
			if
			:: ok -> slot_free()
			:: else -> skip
			fi;
#ifndef NO_WORKER_SECTION
			UNLOCK(2)
#else
			skip
#endif
		:: else -> skip
		fi;
		d_step { s = 0; gen = 0; w = 0; f = 0; moves = 0; asked = 0; ok = false; ours = false; mine = false;
			again = false }
	:: gone && empty(ring) -> break
	od;
	ended++
}

/* iopf_group_defer(): the generation is the same before and after reading the attachment. */
inline group_defer()
{
	w = word[s];
	if
	:: GEN(w) == asked && (STATE(w) == TAKEN || STATE(w) == HANDLING || STATE(w) == QUEUED) ->
		assert(!gone);
		if
		:: atomic { nfull(ring) -> ring ! s, asked, true }
		:: full(ring) -> skip
		fi
	:: else -> skip		/* -ESTALE */
	fi
}

/* iopf_group_respond(), or iopf_group_defer() */
proctype Owner()
{
	byte s, gen, w, f, moves, head, asked, try_nb;
	bool ok, ours;

	do
	:: try_nb < TRIES ->
		atomic {
			try_nb++;
			select(s : 0 .. SLOTS - 1);
			select(gen : 1 .. FAULTS);
			if
			:: was[s * (MAX_GEN + 1) + gen] != 0 -> asked = gen
			:: else -> skip		/* no handler has had it */
			fi
		};
		LOCK(1);
		if
		:: registered && asked != 0 ->
			assert(!closed);
			if
			:: true ->
				w = word[s];
				w = WORD(gen, STATE(w));
				claim_and_answer()
			:: true -> group_defer()
			fi
		:: else -> skip
		fi;
		UNLOCK(1);
		d_step { s = 0; gen = 0; w = 0; f = 0; moves = 0; asked = 0; ok = false; ours = false }
	:: else -> break
	od;
	ended++
}

/* iopf_domain_detach(), then iopf_iommu_close() */
proctype Detach()
{
	byte s, gen, w, f, moves, head, asked, mark, held;
	bool ok, ours;

	/* The driver's detach: no access stalls any more. */
	stalling = false;
	mark = produced;
#ifndef NO_FENCE
	consumed >= mark;
#endif
	attached = false;
#ifndef NO_TABLE_GRACE
	grace();	/* the grace period in iopf_table_del() */
#endif
again:
	held = 0;
	s = 0;
	do
	:: s < SLOTS ->
		w = word[s];
		if
		:: STATE(w) == FREE -> skip
		:: else ->
			if
			:: STATE(w) != DONE ->
				gen = GEN(w);
				asked = gen;
				claim_and_answer()
			:: else -> skip
			fi;
			held = held + (STATE(word[s]) != FREE)
		fi;
		d_step { gen = 0; w = 0; f = 0; moves = 0; asked = 0; ok = false; ours = false };
		s++
	:: else -> break
	od;
	s = 0;
	if
	:: held != 0 -> goto again
	:: else -> skip
	fi;
#ifndef NO_LAST_GRACE
	grace();
#endif
	/* The promise of detach. */
	d_step {
		assert(nb_answered == mark);
		do
		:: s < SLOTS -> assert(STATE(word[s]) == FREE); s++
		:: else -> break
		od;
		s = 0;
		gone = true
	};
	registered = false;
	grace();
	/* A worker sleeps; a worker that still runs must not read the slot any more. */
	closed = true;
	/* All threads are idle: each slot is once in the poller's list or on the stack. */
	ended == 3;
	d_step {
		held = nb_free;
		s = freed;
		do
		:: s != NO_SLOT -> held++; assert(held <= SLOTS); s = next[s]
		:: else -> break
		od
	};
	assert(held == SLOTS)
}

init
{
	atomic {
		do
		:: nb_free < SLOTS -> free[nb_free] = SLOTS - 1 - nb_free; nb_free++
		:: else -> break
		od;
		run Device();
		run Poller();
		run Worker();
		run Owner();
		run Detach()
	}
}

#ifdef LIVE
ltl detach_ends { <> gone }
#endif
