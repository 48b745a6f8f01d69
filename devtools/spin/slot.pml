/* SPDX-License-Identifier: BSD-3-Clause */
/* Copyright(c) 2026 The iopf authors */

/*
 * lib/iopf: who answers a fault, and who frees its slot (slot.h, answer.c, cancel.c,
 * verdict.h, poll.c, worker.c, attachment.c).
 *
 * A slot's state and generation share one word, as in the code. Each statement
 * between two program points is one atomic access, as each is in the code.
 *
 *	Device	stalls, at most STALLS at a time, until it is detached
 *	Poller	reads a burst, publishes the consumer index, handles each record,
 *		then answers all and frees its slots (iopf_pass_flush())
 *	Worker	deferred handlers, out of a ring of one that may be full
 *	Owner	iopf_group_respond() with ids at random: early ones, late ones, both.
 *		A deadline does the same with the id that a slot has just then. Or
 *		iopf_group_defer(), which has the id looked at again.
 *	Detach	stops the device, fences the queue, clears the table, answers what is
 *		outstanding until nobody holds a slot, waits for a grace period, and
 *		frees the attachment
 *
 * Held (by assertions):
 *	- each fault is answered exactly once, and never as another generation's;
 *	- a slot is freed by one, once, and used by nobody who does not own it;
 *	- when detach returns all is answered, all slots are free and none is lost;
 *	- nobody looks at the attachment after that.
 * And detach comes to its end if the others keep running (the ltl property).
 *
 * Run, green (devtools/check-spin.sh does it all):
 *	spin -a slot.pml
 *	spin -DFAULTS=3 -DSLOTS=1 -a slot.pml	the same slot again and again
 *	spin -DFAULTS=1 -DSLOTS=1 -DLIVE -a slot.pml	detach comes to its end
 * Each of these must be found wrong, else the model sees nothing:
 *	spin -DNO_GENERATION -a ...	an answer does not compare the generation
 *	spin -DBLIND_VERDICT -a ...	a verdict stores the state instead of comparing it
 *	spin -DFREE_TWICE -a ...	who answers a slot in a handler's hands frees it
 *	spin -DBLIND_PUSH -a ...	the freed stack is pushed onto by a plain store
 *	spin -DNO_FENCE -a ...		detach does not wait for what the queue holds
 *	spin -DNO_TABLE_GRACE -a ...	nor for passes that found the attachment
 *	spin -DNO_LAST_GRACE -a ...	nor for those that claimed a fault
 *	spin -DNO_FIRST_SECTION -a ...	a worker looks at a slot outside of a read section
 *	spin -DHOLD_BLINDLY -a ...	an id out of the ring is handled in any state
 *	spin -DNO_WORKER_SECTION -a ...	a worker frees a slot outside of a read section
 *	spin -DFREE_BEFORE_ANSWER -a ...	a pass frees its slots, and ends, too early
 */

#ifndef FAULTS
#define FAULTS		2
#define SLOTS		2
#endif
#define STALLS		2
#define TRIES		1	/* of Owner */
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
byte free[SLOTS];		/* the poller's */
byte nb_free;

/* The event queue, and the workers' ring of slot and generation; true: to be deferred again. */
byte produced;
byte consumed;
chan ring = [1] of { byte, byte, bool };

bool stalling = true;		/* the device may */
bool attached = true;		/* in the table */
bool gone;			/* the attachment is freed */
bool registered = true;		/* iopf_iommu_get() finds the IOMMU */
bool closed;			/* and its memory is freed */
byte ended;			/* threads that are through */

/* What is true, beside what the code knows. */
byte answered[FAULTS];
byte nb_answered;
bool is_free[SLOTS] = true;
byte was[SLOTS * (MAX_GEN + 1)];	/* fault + 1, by slot and generation */

/* Read-side sections. A grace period, of Detach alone, waits for those it found open. */
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

/* CAS() is the state's only way from one to the next; ok says whether it moved. */
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

/* iopf_slot_claim(); then iopf_answer_send(); then the slot is freed if it is ours. */
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

/* A slot that the poller still owns goes with the pass. */
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

/* The handler's verdict is any; then verdict_apply() and verdict_defer(). */
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
				:: else -> skip		/* answered, and freed */
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
		/* ops.poll(): the records are ours, and count as passed. */
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
		/* What was answered meanwhile may be of an IOMMU that closes. */
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
				:: full(ring) -> skip	/* the code answers: Owner does, or Detach */
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
			 * In a section: with the state FREE a close need not wait for
			 * this thread any more, and the push is still to come.
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

/* iopf_group_defer(): the same generation before and behind the look at the attachment. */
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
			:: else -> skip		/* no handler has seen it */
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
	grace();	/* in iopf_table_del() */
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
	/* What detach promises. */
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
	/* A worker sleeps; one that still works must not look any more. */
	closed = true;
	/* All is quiet: every slot is in the poller's list or on the stack, once. */
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
